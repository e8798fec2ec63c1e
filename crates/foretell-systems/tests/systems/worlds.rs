//! World models learn from play: what they foretell is nearer than what was seen last, and what acts stays in the latents.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::{Auto, Collate, Decision, Modality, Opening, Window};
use foretell_eval::{Finding, TRAINED};
use foretell_jepa::dynamics::model::STEPS_UNIT;
use foretell_jepa::dynamics::{Gauge, LatentVariable, Networks, Recurrent, RecurrentNetworks, Terms, WindowBatch};
use foretell_jepa::{Clock, Objective};
use foretell_nn::pair::Pair;
use foretell_nn::weights;
use foretell_ops as ops;
use foretell_systems::c_jepa::CJepaConfig;
use foretell_systems::eb_jepa::EbJepaConfig;
use foretell_systems::frame_model::FrameEncoder;
use foretell_systems::heads::{ActorConfig, ReachConfig};
use foretell_systems::le_wm::LeWmConfig;
use foretell_systems::{JudgeConfig, Judging, System};
use foretell_train::{Fit, Health, Learner, RunFolder, Silent, TrainConfig, Verdict, Which, fit, settle};
use foretell_world::{
    Control, DiscView, Experience, ExperienceConfig, ExploreSettings, Forecast, GoalPolicy, Play, PlayConfig,
    PlaySettings, Playground, PolicyConfig, Split, Trial, WorldConfig,
};

use crate::made::{Bench, imagination};

/// Samples in a batch.
const BATCH: usize = 64;

/// A run in the usual world.
fn bench(settings: PlaySettings, steps: u64) -> Bench<Experience> {
    let mut config = ExperienceConfig::Play(settings);
    let mut decisions: Vec<Decision> = Vec::new();
    let mut opening = Opening { seed: 1, batch: BATCH, threads: 1, decisions: &mut decisions };
    let data = Experience::open(&mut config, &mut opening).unwrap();
    Bench { seed: 1, ..Bench::new(Some(Arc::new(data)), config, (steps, BATCH)) }
}

fn play(bench: &Bench<Experience>) -> &Play {
    match bench.data.as_deref() {
        Some(Experience::Play(Playground { play, .. })) => play,
        _ => panic!("it is played"),
    }
}

/// A run of a system, those of a second stage included, and the judgement at its end.
fn trained(bench: &Bench<Experience>, system: &impl System<Data = Experience>) -> (Box<dyn Learner>, Health) {
    let mut train = TrainConfig {
        batch: BATCH,
        lr: 1e-3,
        weight_decay: 1e-5,
        final_weight_decay: 1e-5,
        clip: 2.0,
        health_every: Auto::Value(bench.steps),
        ..TrainConfig::default()
    };
    train.resolve(bench.steps, 2, &mut Vec::new());
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit { folder: &folder, config: &train, stop: &stop };
    let mut learner = bench.learner(system);
    settle(learner.as_mut(), &fitting).unwrap();
    let finished = fit(learner.as_mut(), &fitting, &mut Silent).unwrap();
    (learner, finished.health.health)
}

/// By finding, network and what is told: what chance does to a small EB-JEPA with this latent variable, on pegs.
fn on_pegs(z: LatentVariable, steps: u64) -> impl Fn(&str, &str) -> f64 {
    let world = WorldConfig::Galton { resolution: 16 };
    let bench = bench(PlaySettings { world, episode: 30, window: 3, ..PlaySettings::default() }, steps);
    let terms = Terms { reach: 0.0, reach_ahead: 0.0, time_similarity: 0.0, ..EbJepaConfig::default().terms };
    let config = EbJepaConfig {
        width: 32,
        widths: vec![8, 16],
        hidden: vec![64],
        mixer: vec![64],
        inverse: 32,
        rollout: 1,
        terms,
        z,
        ..EbJepaConfig::default()
    };
    let (learner, _) = trained(&bench, &config);
    let settings = JudgeConfig { episodes: 0, ..JudgeConfig::default() };
    let data = bench.data.clone().unwrap();
    let found = config.judge(&Judging::new(bench.on(), &data, &settings, learner.as_ref())).unwrap();
    move |key, of| {
        let figures = found.iter().find(|finding| finding.key == key).and_then(Finding::as_figures).unwrap();
        let wanted = [TRAINED.into(), of.into()];
        figures.rows.iter().find(|row| row.cells == wanted).unwrap().value
    }
}

/// Chance sends a ball left or right: with a code that says which the model beats the best that does not know, the code holds most of the
/// bit, and it is silent where nothing is left to chance.
#[test]
fn a_latent_variable_says_which_of_two_futures_comes_and_nothing_else() {
    let found = on_pegs(LatentVariable::Codes { count: 2, weight: 0.01 }, 1200);
    assert!(found("chance", "z inferred") < 0.6, "{}", found("chance", "z inferred"));
    assert!(found("chance", "z = 0") > 1.0, "{}", found("chance", "z = 0"));
    assert!(found("chance_bits", "z inferred") > 0.6, "{}", found("chance_bits", "z inferred"));
    assert!(found("chance_bits", "z = 0") < 0.05, "{}", found("chance_bits", "z = 0"));
    let (forks, elsewhere) = (found("chance_said", "chance decides"), found("chance_said", "it does not"));
    assert!(forks > 0.25 && forks > 2.5 * elsewhere, "{forks} and {elsewhere}");
    // Where a code costs more than all that it can save, nothing is ever said.
    let dear = on_pegs(LatentVariable::Codes { count: 2, weight: 100.0 }, 60);
    assert_eq!((dear("chance_said", "chance decides"), dear("chance_said", "it does not")), (0.0, 0.0));
}

/// The paper's terms and networks, smaller.
fn paper() -> EbJepaConfig {
    // So few steps get farther from He's weights.
    EbJepaConfig { width: 64, inverse: 64, he: true, ..EbJepaConfig::official() }
}

/// Play in Two Rooms, in small pictures.
fn rooms() -> PlaySettings {
    PlaySettings { world: WorldConfig::two_rooms(16), ..PlaySettings::default() }
}

/// The objective, and the networks that a learner holds.
fn recurrent(
    bench: &Bench<Experience>,
    config: &EbJepaConfig,
    learner: &dyn Learner,
    which: Which,
) -> (Recurrent, RecurrentNetworks) {
    let (objective, networks) = config.build(&bench.on()).unwrap();
    (objective, weights::load_whole(networks, learner.state(which)).unwrap())
}

/// LeWorldModel's windows: three latents to look back on, the one foretold, and four actions between two.
fn strides() -> PlaySettings {
    PlaySettings { episode: 91, window: 4, frameskip: 4, ..PlaySettings::default() }
}

/// Held-out windows of so many observations.
fn windows(play: &Play, window: usize) -> Vec<Window> {
    let longer = PlayConfig { window, ..*play.config() };
    let longer = Play::new(Arc::clone(play.world()), longer, 1).unwrap();
    (0..64).map(|i| longer.window(Split::HeldOut, 0, i)).collect()
}

/// Mean squared error, `[N, D]`.
fn error(a: Tensor<2>, b: Tensor<2>) -> f32 {
    ops::l2(a.inner(), b.inner()).into_scalar::<f32>()
}

#[test]
fn what_is_foretold_is_nearer_than_what_was_seen_last() {
    // Small networks and pictures take longer to get there.
    let config = EbJepaConfig { width: EbJepaConfig::default().width, he: true, ..EbJepaConfig::official() };
    let bench = bench(PlaySettings::default(), 340);
    let (learner, health) = trained(&bench, &config);
    assert_eq!(health.verdict, Verdict::Healthy, "{health:#?}");
    let (objective, networks) = recurrent(&bench, &config, learner.as_ref(), Which::Trained);
    let play = play(&bench);
    let batch: WindowBatch = objective.collator.collate(1, &windows(play, play.config().window)).unwrap();
    let b = batch.samples;
    let steps = objective.unroll(&networks, &batch);
    let encoded = steps[0].1.clone();
    let ratios: Vec<f32> = (2..=steps.len())
        .map(|k| {
            // From the second observation on: what was encoded there is the first step's target.
            let (ahead, there) = steps[k - 1].clone();
            let rows = ahead.dims()[0] - b;
            let (ahead, there) = (ahead.narrow(0, b, rows), there.narrow(0, b, rows));
            error(ahead, there.clone()) / error(encoded.clone().narrow(0, 0, rows), there)
        })
        .collect();
    // Two minutes' worth of learning later the near future is foretold too; so soon it is the far one that copying misses.
    assert!(ratios.is_sorted_by(|a, b| a > b), "{ratios:?}");
    assert!(ratios.last().is_some_and(|r| *r < 0.95), "{ratios:?}");

    let windows = windows(play, 17);
    let model = imagination(learner.as_ref(), Which::Trained, 1);
    let curve = Forecast::of(&model, &windows).unwrap();
    assert_eq!((curve.model.len(), curve.copy_last.len(), curve.mean.len(), curve.windows), (16, 16, 16, 64));
    // The first step is the loss's own, from the first observation.
    let (ahead, there) = (steps[0].0.clone().narrow(0, 0, b), steps[0].1.clone().narrow(0, 0, b));
    assert!((curve.model[0] - f64::from(error(ahead, there))).abs() < 1e-4 * curve.model[0], "{curve:?}");
    assert!(curve.copy_last.is_sorted_by(|a, b| a < b) && curve.model[15] < 0.95 * curve.copy_last[15], "{curve:?}");
    let refused = Forecast::of(&model, &[]).unwrap_err().to_string();
    assert!(refused.contains("windows of one length"), "{refused}");
}

#[test]
fn without_its_variance_term_it_collapses() {
    let terms = Terms { variance: 0.0, covariance: 0.0, inverse_dynamics: 0.0, ..Terms::default() };
    let (_, health) = trained(&bench(rooms(), 150), &EbJepaConfig { terms, ..paper() });
    assert_ne!(health.verdict, Verdict::Healthy, "{health:#?}");
}

#[test]
fn le_wm_foretells_strides_better_than_copying_and_without_sigreg_it_collapses() {
    let bench = bench(strides(), 300);
    let published =
        LeWmConfig { reach: 0.0, actor: ActorConfig { steps: 0, ..ActorConfig::default() }, ..LeWmConfig::default() };
    let (learner, health) = trained(&bench, &published);
    assert_eq!(health.verdict, Verdict::Healthy, "{health:#?}");
    let model = imagination(learner.as_ref(), Which::Trained, strides().frameskip);
    let curve = Forecast::of(&model, &windows(play(&bench), 8)).unwrap();
    assert_eq!(curve.model.len(), 5);
    assert!(curve.model.iter().zip(&curve.copy_last).all(|(model, copy)| model < copy), "{curve:?}");
    assert!(curve.model[0] < curve.mean[0], "{curve:?}");
    let (_, health) = trained(&bench, &LeWmConfig { lambda: 0.0, ..published });
    assert_eq!(health.verdict, Verdict::Collapse, "{health:#?}");
}

#[test]
fn c_jepa_learns_where_hidden_discs_went() {
    let ExperienceConfig::Play(settings) = CJepaConfig::data() else { panic!("it is played") };
    let world = WorldConfig::Discs { discs: 4, view: Auto::Value(DiscView::Objects), resolution: 32 };
    let bench = bench(PlaySettings { world, ..settings }, 250);
    let (mut learner, health) = trained(&bench, &CJepaConfig::default());
    assert_eq!(health.verdict, Verdict::Healthy, "{health:#?}");
    // A fresh predictor says that all stay where they were last seen.
    let clock = Clock { step: 1, total: 1, batch: BATCH, health_due: true };
    let [before, after] =
        [Which::Untrained, Which::Trained].map(|which| learner.measure(which, &clock).unwrap().0.loss);
    assert!(after < 0.85 * before, "{after} and {before}");
}

#[test]
fn le_wm_looks_through_a_transformer_too() {
    let encoder: FrameEncoder = serde_json::from_str("{\"kind\":\"vit\"}").unwrap();
    let bench = bench(strides(), 1);
    let mut learner = bench.learner(&LeWmConfig { encoder, reach: 0.0, ..LeWmConfig::default() });
    let clock = Clock { step: 1, total: 1, batch: BATCH, health_due: true };
    let measured = learner.measure(Which::Trained, &clock).unwrap().0;
    // 128 windows of three steps each.
    let of = |statistics: &foretell_eval::Statistics| (statistics.rows, statistics.dim);
    assert_eq!((of(&measured.prediction), of(&measured.target)), ((384, 64), (384, 64)));
    assert!(measured.loss.is_finite());
    let before = learner.state(Which::Untrained);
    assert!(learner.settle(learner.feed().unwrap().batch(1).unwrap(), &clock).unwrap());
    let after = learner.state(Which::Untrained);
    let moved: Vec<&String> = after.keys().filter(|name| after[*name] != before[*name]).collect();
    let norms = ["encoder", "predictor"].into_iter().flat_map(|network| {
        ["running_mean", "running_var"].map(|buffer| format!("{network}.projector.norms.0.{buffer}"))
    });
    assert_eq!(moved, norms.collect::<Vec<_>>().iter().collect::<Vec<_>>(), "a batch norm behind each of the two");
}

#[test]
fn policies_learn_from_the_same_play_and_beat_chance() {
    let bench = bench(rooms(), 80);
    let (learner, _) = trained(&bench, &paper());
    let (imagination, play) = (imagination(learner.as_ref(), Which::Trained, 1), play(&bench));
    let world = play.world().as_ref();
    // Near goals without a wall between would be no test: the trial's tasks are what planners get.
    let trial = Trial { episodes: 40, steps: 60, seed: 5 };
    let mean = |agent: &mut dyn foretell_world::Agent| {
        let outcome = trial.run(world, agent).unwrap();
        outcome.distance.iter().sum::<f32>() / 40.0
    };
    let random = mean(&mut Control::Random);
    let config = PolicyConfig { steps: 300, farthest: 30, ..PolicyConfig::default() };
    let cloned = mean(&mut GoalPolicy::cloned(play, &config, &Device::flex()));
    let inverse = mean(&mut GoalPolicy::inverse_dynamics(play, &config, &imagination));
    assert!(cloned < random && inverse < random, "random {random}, cloned {cloned}, inverse dynamics {inverse}");
}

#[test]
fn steps_between_places_are_learnt_from_play_that_explores() {
    let explore = ExploreSettings { layouts: 40, episodes: 12, places: 8 };
    let bench = bench(PlaySettings { explore, ..rooms() }, 160);
    // Behind the steps of the rest follow those of the actor, on latents that stand still.
    let config = EbJepaConfig {
        width: 64,
        hidden: vec![128, 128],
        mixer: vec![64],
        inverse: 64,
        reach: ReachConfig { width: 128 },
        actor: ActorConfig { steps: 120, width: 128, ..ActorConfig::default() },
        ..EbJepaConfig::default()
    };
    let (learner, _) = trained(&bench, &config);
    assert_eq!(imagination(learner.as_ref(), Which::Trained, 1).gauge(), Gauge::Steps);
    // Other windows of the explored layouts, and one who always says the same number: the best there is, the median.
    let windows = play(&bench).training(BATCH).batch(9999).unwrap();
    let (objective, networks) = recurrent(&bench, &config, learner.as_ref(), Which::Trained);
    let batch = objective.collator.collate(1, &windows).unwrap();
    let clock = Clock { step: 1, total: 1, batch: BATCH, health_due: false };
    let outcome = objective.loss(&networks, &batch, &clock);
    let term = outcome.terms.iter().find(|(name, _)| *name == "reach").unwrap().1.clone();
    let mut steps: Vec<f32> = batch.place_steps.iter().copied().filter(|steps| steps.is_finite()).collect();
    steps.sort_by(f32::total_cmp);
    let median = steps[steps.len() / 2];
    let constant = steps.iter().map(|s| (s - median).abs()).sum::<f32>() / steps.len() as f32 / STEPS_UNIT as f32;
    let told = ops::values(term)[0];
    assert!(told < 0.7 * constant, "{told} and {constant}");
    let model = networks.valid();
    let off = |actor: &Pair| ops::values(model.acted(actor, &objective.seen(&batch)).unwrap())[0];
    let fresh = recurrent(&bench, &config, learner.as_ref(), Which::Untrained).1.valid();
    let (before, after) = (fresh.actor.unwrap(), model.actor.clone().unwrap());
    assert!(off(&after) < off(&before), "{} and {}", off(&after), off(&before));
    // Better than one who does nothing.
    let mut silent = before;
    silent.out.weight = silent.out.weight.map(|w| w.zeros_like());
    silent.out.bias = silent.out.bias.map(|b| b.zeros_like());
    assert!(off(&after) < 0.97 * off(&silent), "{} and {}", off(&after), off(&silent));
}

#[test]
fn a_window_that_does_not_fit_is_refused_in_a_sentence() {
    let bench = bench(PlaySettings::default(), 1);
    let terms = Terms::default();
    let (objective, _) = EbJepaConfig { rollout: 1, terms, ..EbJepaConfig::default() }.build(&bench.on()).unwrap();
    let mut windows = play(&bench).training(2).batch(1).unwrap();
    windows[1].actions.pop();
    let error = objective.collator.collate(1, &windows).err().unwrap().to_string();
    assert!(error.contains("does not fit 17 observations"), "{error}");
}
