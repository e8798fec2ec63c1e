//! A world of one's own: a bead on a ring, seen as three numbers, pushed to and fro. A model learns it from play, and a planner
//! that knows nothing but the model brings the bead to rest where it is asked to.
//!
//! `cargo run --release -p foretell-systems --example own_world`

use std::error::Error;
use std::f32::consts::{PI, TAU};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foretell_data::{Auto, Window};
use foretell_jepa::Kept;
use foretell_jepa::dynamics::TrainedModel;
use foretell_systems::eb_jepa::EbJepaConfig;
use foretell_systems::{ActionScale, On, System};
use foretell_train::{Fit, LoopObserver, RunFolder, StepReport, TrainConfig, Which, fit, settle};
use foretell_world::{
    Budget, Control, Cost, Episode, EpisodesSettings, Experience, ExperienceConfig, Imagination, Planner,
    PlannerConfig, Planning, Play, PlayConfig, Playground, Reach, Spec, Split, Trial, World,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The state is `[angle, speed]`, the action a push.
struct Ring(Spec);

/// The way around from one angle to another, −π to π.
fn turn(from: f32, to: f32) -> f32 {
    (to - from + PI).rem_euclid(TAU) - PI
}

impl Ring {
    fn new() -> Self {
        // Three plain numbers instead of a picture: `[3, 1, 1]`.
        Self(Spec { name: "ring".to_owned(), observation: [3, 1, 1], state: 2, action: 1, reach: Reach::Box(0.1) })
    }
}

impl World for Ring {
    fn spec(&self) -> &Spec {
        &self.0
    }

    // There are no layouts here: what is held out are starts and goals, which are drawn anew.
    fn reset(&self, _: Split, rng: &mut ChaCha8Rng) -> Episode {
        let mut angle = || rng.random_range(-PI..PI);
        Episode { layout: Vec::new(), state: vec![angle(), 0.0], goal: vec![angle(), 0.0] }
    }

    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        state[1] = 0.9 * state[1] + action[0].clamp(-0.1, 0.1);
        state[0] = turn(0.0, state[0] + state[1]);
    }

    fn render(&self, _: &[f32], state: &[f32], out: &mut [f32]) {
        out.copy_from_slice(&[state[0].cos(), state[0].sin(), state[1]]);
    }

    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        turn(state[0], goal[0]).abs()
    }

    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        self.distance(state, goal) < 0.3
    }

    fn possible(&self, _: &[f32], state: &[f32]) -> bool {
        state.iter().all(|x| x.is_finite())
    }

    // Towards the goal, braking in time.
    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        Some(vec![(0.3 * turn(state[0], goal[0]) - state[1]).clamp(-0.1, 0.1)])
    }

    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        Some(vec![0.1 * turn(state[0], goal[0]).signum()])
    }

    // Pushes that last a while.
    fn behave(&self, _: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut push = 0.0;
        let mut draw = |_| {
            if rng.random_bool(0.2) {
                push = rng.random_range(-0.1..0.1);
            }
            push
        };
        (0..steps).map(&mut draw).collect()
    }
}

/// Samples in a batch.
const BATCH: usize = 64;

struct Progress;

impl LoopObserver for Progress {
    fn step(&mut self, report: &StepReport) {
        if report.step.is_multiple_of(200) {
            println!("step {} of {}: loss {:.3}", report.step, report.steps, report.loss);
        }
    }
    fn note(&mut self, _: &str) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let (world, device, seed): (Arc<dyn World>, _, _) = (Arc::new(Ring::new()), Device::flex(), 0);
    let play = Play::new(Arc::clone(&world), PlayConfig { episode: 60, ..PlayConfig::default() }, seed)?;
    // What networks are built for: what is seen, what is done, and how large it is.
    let config = ExperienceConfig::Episodes(EpisodesSettings {
        observation: world.spec().observation.to_vec(),
        frameskip: Auto::Value(1),
        normalise: play.normalise().clone(),
        normalise_actions: play.actions().clone(),
        ..EpisodesSettings::default()
    });
    let data = Arc::new(Experience::Play(Playground { world: Arc::clone(&world), play }));
    // Pushes are small numbers: what the networks are given of them is as large as everything else.
    let actions = ActionScale::Standard;
    // Nothing bars the way, so the published terms do.
    let mut model = EbJepaConfig { width: 32, widths: vec![64], actions, ..EbJepaConfig::official() };

    let steps = 1000;
    let mut train = TrainConfig { batch: BATCH, clip: 2.0, ..TrainConfig::default() };
    train.resolve(steps, 2, &mut Vec::new());
    let place = std::env::temp_dir().join(format!("ring-{}", std::process::id()));
    let folder = RunFolder::create(&place, "")?;
    let stop = AtomicBool::new(false);
    let fitting = Fit { folder: &folder, config: &train, stop: &stop };
    let on = On { data: Some(&data), config: &config, seed, steps, batch: BATCH, threads: 2, device: &device };
    let mut learner = model.init(&on, &mut Vec::new())?;
    settle(learner.as_mut(), &fitting)?;
    let run = fit(learner.as_mut(), &fitting, &mut Progress)?;
    println!("health: {}", run.health.health.verdict.word());

    let kept: Kept<Window> = *learner.kept(Which::Trained).downcast().expect("it learns from windows");
    let trained = kept.model.and_then(|model| model.downcast::<TrainedModel>().ok()).expect("a model to plan with");
    let imagination = Imagination::of(*trained, 1);
    let planner = Planner::named("icem").expect("a known planner");
    let config = PlannerConfig { horizon: 20, ..PlannerConfig::default() };
    let mut planning =
        Planning::new(planner, config, Budget { calls: 10_000 }, 2, imagination.pose(Cost::Sum, imagination.gauge()));
    let trial = Trial { episodes: 50, steps: 60, seed: 1 };
    let planned = trial.run(world.as_ref(), &mut planning)?;
    println!("{:.0} % of the beads begin at their goal", 100.0 * planned.solved_at_start());
    for (name, outcome) in [
        ("random", trial.run(world.as_ref(), &mut Control::Random)?),
        ("greedy", trial.run(world.as_ref(), &mut Control::Greedy)?),
        ("oracle", trial.run(world.as_ref(), &mut Control::Oracle)?),
        ("planner", planned),
    ] {
        let percent = |(share, [low, high]): (f64, [f64; 2])| {
            format!("{:3.0} % [{:.0}, {:.0}]", 100.0 * share, 100.0 * low, 100.0 * high)
        };
        let (end, ever) = (percent(outcome.success()), percent(outcome.ever()));
        println!("{name:8} is at {end} of the goals at the end, and comes by {ever}");
    }
    std::fs::remove_dir_all(place)?;
    Ok(())
}
