//! What a policy knows that was cloned from demonstrations: what the expert does, what is seen then, and whether it gets there.

use burn::tensor::Tensor;
use foretell_data::{Modality, Part, Window};
use foretell_eval::{Better, FEATURES, Features, Figures, Finding, Ridge, TRAINED, UNTRAINED};
use foretell_jepa::dynamics::{TrainedPolicy, pooled};
use foretell_ops as ops;
use foretell_train::Which;
use foretell_world::{Agent, Control, Experience, ExperienceConfig, Imitation, Outcome, Playground, Trial};

use super::episodes::imitated;
use crate::imitator::Imitator;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Windows that a linear map learns from, and that it and the policy are judged on.
const WINDOWS: (usize, usize) = (512, 256);
/// Windows that go through a policy at a time.
const CHUNK: usize = 32;
/// Steps of the chunk that are shown, as far as it goes.
const SHOWN: [usize; 5] = [1, 2, 4, 8, 16];

/// Errors of actions on held-out demonstrations, and where `foretells` of the states that are read from what is foretold; in a world success in
/// held-out episodes, and some of them.
pub fn imitation(run: &Judging<'_, Experience>, foretells: bool) -> Result<Vec<Finding>, JudgeError> {
    let policies = [policy(run, Which::Trained)?, policy(run, Which::Untrained)?];
    let [learnt, judged] = [(Part::Train, WINDOWS.0), (Part::HeldOut, WINDOWS.1)];
    let [learnt, judged] = [windows(run, learnt)?, windows(run, judged)?];
    let mut found = vec![actions(&policies, &learnt, &judged)];
    if foretells && judged.iter().all(|window| !window.states.is_empty()) {
        found.push(states(&policies, &learnt, &judged)?);
    }
    let (ExperienceConfig::Play(settings), episodes @ 1..) = (run.on.config, run.settings.episodes as u64) else {
        return Ok(found);
    };
    let trial = Trial { episodes, steps: settings.episode as u64, seed: run.on.seed };
    let imitator = |imitation| -> Result<Imitator, JudgeError> {
        Ok(Imitator { playground: Playground::open(settings, run.on.seed)?, imitation, seed: run.on.seed })
    };
    let [trained, untrained] = policies;
    let [trained, untrained] = [imitator(trained)?, imitator(untrained)?];
    found.push(success(&trained, &untrained, &trial)?);
    found.push(imitated(&trained, &trial)?);
    Ok(found)
}

/// The policy of a run, as an agent takes it.
fn policy(run: &Judging<'_, Experience>, which: Which) -> Result<Imitation, JudgeError> {
    let policy = run.kept(which)?.model.and_then(|model| model.downcast::<TrainedPolicy>().ok());
    let policy = policy.ok_or_else(|| JudgeError::Other("the run has kept no policy".to_owned()))?;
    Ok(Imitation::of(*policy, run.on.config.form()?.frameskip))
}

/// At most so many windows of a part, evenly spread.
fn windows(run: &Judging<'_, Experience>, (part, most): (Part, usize)) -> Result<Vec<Window>, JudgeError> {
    let all = run.data.len(part).unwrap_or(most);
    let places = foretell_data::evenly(all, most);
    Ok(places.map(|place| run.data.load(part, place)).collect::<Result<_, _>>()?)
}

/// What a policy says of windows, a chunk after the other.
struct Said {
    /// `[W, n, A]`, in the world's units.
    actions: Vec<f32>,
    /// `[W, n, D]`: what is foretold.
    latents: Vec<f32>,
    /// `[W, D]`: what is seen at the beginning.
    seen: Vec<f32>,
}

impl Said {
    fn of(imitation: &Imitation, windows: &[Window]) -> Self {
        let (mut actions, mut latents, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let pixels: usize = imitation.observation.iter().product();
        for chunk in windows.chunks(CHUNK) {
            let now = imitation.encode(chunk.iter().flat_map(|w| w.observations[..pixels].to_vec()).collect());
            let goal: Option<Tensor<3>> = imitation
                .policy
                .takes_goal()
                .then(|| imitation.encode(chunk.iter().flat_map(|w| w.goal.clone()).collect()));
            actions.extend(imitation.act(now.clone(), goal.clone()));
            latents.extend(ops::values(imitation.policy.foretell(now.clone(), goal)));
            seen.extend(ops::values(pooled(now)));
        }
        Self { actions, latents, seen }
    }
}

/// Steps of a window that were done.
fn done(window: &Window) -> usize {
    window.frames - 1 - window.padded
}

/// Mean absolute errors of actions by steps ahead, beside always doing the mean.
fn actions([trained, untrained]: &[Imitation; 2], learnt: &[Window], judged: &[Window]) -> Finding {
    let (width, chunk) = (trained.actions.mean.len(), trained.policy.chunk());
    let count = learnt.iter().map(done).sum::<usize>().max(1) as f32;
    let mean: Vec<f32> = (0..width)
        .map(|k| {
            let of = |w: &Window| w.actions[..done(w) * width].iter().skip(k).step_by(width).sum::<f32>();
            learnt.iter().map(of).sum::<f32>() / count
        })
        .collect();
    let told = [trained, untrained].map(|imitation| Said::of(imitation, judged).actions);
    let mut figures = Figures::new(&["ahead", FEATURES], "error", "", Better::Lower).along("ahead");
    for ahead in SHOWN.into_iter().filter(|ahead| *ahead <= chunk) {
        let there: Vec<usize> = (0..judged.len()).filter(|w| done(&judged[*w]) >= ahead).collect();
        let error = |said: &dyn Fn(usize) -> Vec<f32>| {
            let of = |w: &usize| -> f32 {
                let shown = &judged[*w].actions[(ahead - 1) * width..][..width];
                said(*w).iter().zip(shown).map(|(said, shown)| (said - shown).abs()).sum()
            };
            f64::from(there.iter().map(of).sum::<f32>()) / (there.len() * width).max(1) as f64
        };
        let told_by = |told: &[f32], w: usize| told[(w * chunk + ahead - 1) * width..][..width].to_vec();
        let rows = [
            (TRAINED, error(&|w| told_by(&told[0], w))),
            (UNTRAINED, error(&|w| told_by(&told[1], w))),
            ("mean action", error(&|_| mean.clone())),
        ];
        for (features, error) in rows {
            figures.push([ahead.into(), features.into()], error);
        }
    }
    let lead = format!(
        "Mean absolute error of the expert's actions, in the world's units, by steps ahead, over {} windows of held-out demonstrations. Steps \
         beyond a demonstration's end do not count. `mean action` always does the mean of the training demonstrations.",
        judged.len()
    );
    Finding::figures("imitated", "What the expert does", &lead, figures)
}

/// Errors of the states that a linear map reads from foretold latents, by steps ahead.
fn states(policies: &[Imitation; 2], learnt: &[Window], judged: &[Window]) -> Result<Finding, JudgeError> {
    let chunk = policies[0].policy.chunk();
    let width = learnt.first().map_or(0, |window| window.states.len() / window.frames);
    let first = |windows: &[Window]| -> Vec<f32> { windows.iter().flat_map(|w| w.states[..width].to_vec()).collect() };
    let scale = foretell_data::Normalise::of_columns(&first(learnt), width);
    let scaled = |mut states: Vec<f32>| {
        scale.scale(&mut states, 1);
        states
    };
    // From what is seen at a window's beginning to the state there.
    let told = policies
        .each_ref()
        .map(|imitation| -> Result<_, JudgeError> {
            let seen = Said::of(imitation, learnt).seen;
            let features = Features::new(learnt.len(), seen.len() / learnt.len().max(1), seen)?;
            Ok((Ridge::fit(&features, &scaled(first(learnt)))?, Said::of(imitation, judged)))
        })
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let read: Vec<(Vec<f32>, Vec<f32>)> =
        told.iter().map(|(reader, said)| (reader.predict(&said.latents), reader.predict(&said.seen))).collect();
    let mut figures = Figures::new(&["ahead", FEATURES], "error", "deviations", Better::Lower).along("ahead");
    for ahead in SHOWN.into_iter().filter(|ahead| *ahead <= chunk) {
        let there: Vec<usize> = (0..judged.len()).filter(|w| done(&judged[*w]) >= ahead).collect();
        let error = |read: &dyn Fn(usize) -> Vec<f32>| {
            let of = |w: &usize| -> f64 {
                let state = scaled(judged[*w].states[ahead * width..][..width].to_vec());
                read(*w).iter().zip(state).map(|(read, state)| f64::from(read - state).powi(2)).sum()
            };
            (there.iter().map(of).sum::<f64>() / (there.len() * width).max(1) as f64).sqrt()
        };
        let foretold = |policy: usize, w: usize| read[policy].0[(w * chunk + ahead - 1) * width..][..width].to_vec();
        let rows = [
            (TRAINED, error(&|w| foretold(0, w))),
            (UNTRAINED, error(&|w| foretold(1, w))),
            ("last observation", error(&|w| read[0].1[w * width..][..width].to_vec())),
            ("mean", error(&|_| vec![0.0; width])),
        ];
        for (features, error) in rows {
            figures.push([ahead.into(), features.into()], error);
        }
    }
    let lead = format!(
        "Root mean square error of the states that a linear map reads from foretold latents, in deviations of each number of a state, by \
         steps ahead, over {} windows of held-out demonstrations. The map learnt from what is seen and the state there, and only it sees \
         states. `last observation` reads the state from what is seen at the beginning, and says that it stays; `mean` always says the mean.",
        judged.len()
    );
    Ok(Finding::figures("foretold_states", "What is seen then", &lead, figures))
}

/// Success in held-out episodes by both rules, beside the untrained policy and those that learn nothing.
fn success(trained: &Imitator, untrained: &Imitator, trial: &Trial) -> Result<Finding, JudgeError> {
    let world = trained.playground.world.as_ref();
    let mut figures = Figures::new(&["rule", FEATURES], "success", Figures::PERCENT, Better::Higher);
    let mut agents: [(&str, Box<dyn Agent + '_>); 5] = [
        (TRAINED, Box::new(trained.agent(trained.execution()))),
        (UNTRAINED, Box::new(untrained.agent(untrained.execution()))),
        ("random actions", Box::new(Control::Random)),
        ("straight ahead", Box::new(Control::Greedy)),
        ("the expert", Box::new(Control::Oracle)),
    ];
    let mut outcomes = Vec::new();
    for (features, agent) in &mut agents {
        outcomes.push((*features, trial.run(world, agent.as_mut())?));
    }
    let end = |outcome: &Outcome| outcome.success().0;
    let ever = |outcome: &Outcome| outcome.ever().0;
    for (rule, share) in [("at the end", &end as &dyn Fn(&Outcome) -> f64), ("at any step", &ever)] {
        for (features, outcome) in &outcomes {
            figures.push([rule.into(), (*features).into()], share(outcome));
        }
    }
    let lead = format!(
        "Share of {} held-out episodes of {} steps that are at the goal. So few say little: `foretell plan` plays more, with intervals.",
        trial.episodes, trial.steps
    );
    Ok(Finding::figures("imitation", "Whether it gets there", &lead, figures.over(trial.episodes as usize)))
}
