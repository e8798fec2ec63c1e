//! World models learn from play: what they foretell is nearer than what was seen last, and what acts stays in the latents.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::{Demand, HeldOutDemand, Material, Window};
use foretell_jepa::dynamics::model::STEPS_UNIT;
use foretell_jepa::dynamics::{Causal, Dynamics, Gauge, Networks, Recurrent, Terms, WindowBatch, WorldModel};
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::eb_jepa::{ActorConfig, EbJepaConfig};
use foretell_jepa::systems::le_wm::{FrameEncoder, LeWm, LeWmConfig};
use foretell_jepa::{Auto, Clock, Objective};
use foretell_nn::observer::Observer as Convolutions;
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use foretell_train::{Fit, Health, Observer, Report, RunFolder, TrainConfig, Verdict, fit, settle};
use foretell_world::{
    Control, Explore, Forecast, GoalPolicy, Imagination, Play, PlayConfig, PolicyConfig, Split, Trial, WorldConfig,
    learn_actor,
};

struct Quiet;
impl Observer for Quiet {
    fn step(&mut self, _: &Report) {}
    fn note(&mut self, _: &str) {}
}

fn play(config: PlayConfig) -> Play {
    Play::new(WorldConfig::default().init().unwrap(), config, 1).unwrap()
}

fn setting(play: &Play) -> WorldSetting {
    let spec = play.world().spec();
    WorldSetting {
        observation: spec.observation,
        action: spec.action * play.config().frameskip,
        normalise: play.normalise().clone(),
        actions: play.actions().clone(),
        seed: 1,
        device: Device::flex(),
    }
}

fn trained<N: Networks>(
    material: &dyn Material<Sample = Window>,
    init: impl Fn() -> Dynamics<N>,
    steps: u64,
) -> (Dynamics<N>, Health) {
    let mut train = TrainConfig {
        batch: 64,
        lr: 1e-3,
        weight_decay: 1e-5,
        final_weight_decay: 1e-5,
        clip: 2.0,
        health_every: Auto::Value(steps),
        ..TrainConfig::default()
    };
    train.resolve(steps, 2, &mut Vec::new());
    train.steps = Auto::Value(steps);
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit {
        folder: &folder,
        config: &train,
        material,
        seed: 1,
        device: Device::flex(),
        initial_teacher_left: None,
        stop: &stop,
    };
    let untrained = settle(init(), &fitting).unwrap();
    let finished = fit(init(), &untrained, &fitting, &mut Quiet).unwrap();
    (finished.objective, finished.health.health)
}

/// The paper's terms and networks, at our sizes.
fn paper() -> EbJepaConfig {
    // So few steps get farther from He's weights.
    EbJepaConfig { width: EbJepaConfig::default().width, he: true, ..EbJepaConfig::official() }
}

fn eb_jepa(config: &EbJepaConfig, steps: u64) -> (Recurrent, Health, Play) {
    let play = play(PlayConfig::default());
    let setting = setting(&play);
    let (objective, health) = trained(&play, || config.init(&setting).unwrap(), steps);
    (objective, health, play)
}

/// LeWorldModel's windows: three latents to look back on, the one foretold, and four actions between two.
const STRIDES: PlayConfig = PlayConfig { episode: 91, window: 4, frameskip: 4 };

fn le_wm(config: &LeWmConfig, steps: u64) -> (Causal<Convolutions>, Health, Play) {
    let play = play(STRIDES);
    let setting = setting(&play);
    let init = || match config.init(&setting).unwrap() {
        LeWm::Conv(objective) => objective,
        LeWm::Vit(_) => panic!("convolutions were asked for"),
    };
    let (objective, health) = trained(&play, init, steps);
    (objective, health, play)
}

fn held_out<N: Networks>(objective: &Dynamics<N>, play: &Play) -> WindowBatch {
    let demand = HeldOutDemand { image: (32, 32), observations: 1, samples: 64 };
    objective.collator().collate(1, &play.held_out(&demand).unwrap().samples).unwrap()
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
    let (objective, health, play) = eb_jepa(&paper(), 340);
    assert_eq!(health.verdict, Verdict::Healthy, "{health:#?}");
    let batch = held_out(&objective, &play);
    let b = batch.samples;
    let steps = objective.unroll(&batch);
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

    let windows = windows(&play, 17);
    let curve = Forecast::of(&Imagination::of(&objective, 1), &windows).unwrap();
    assert_eq!((curve.model.len(), curve.copy_last.len(), curve.mean.len(), curve.windows), (16, 16, 16, 64));
    // The first step is the loss's own, from the first observation.
    let (ahead, there) = (steps[0].0.clone().narrow(0, 0, b), steps[0].1.clone().narrow(0, 0, b));
    assert!((curve.model[0] - f64::from(error(ahead, there))).abs() < 1e-4 * curve.model[0], "{curve:?}");
    assert!(curve.copy_last.is_sorted_by(|a, b| a < b) && curve.model[15] < 0.95 * curve.copy_last[15], "{curve:?}");
    let refused = Forecast::of(&Imagination::of(&objective, 1), &[]).unwrap_err().to_string();
    assert!(refused.contains("windows of one length"), "{refused}");
}

#[test]
fn without_its_variance_term_it_collapses() {
    let terms = Terms { variance: 0.0, covariance: 0.0, inverse_dynamics: 0.0, ..Terms::default() };
    let (_, health, _) = eb_jepa(&EbJepaConfig { terms, ..paper() }, 150);
    assert_ne!(health.verdict, Verdict::Healthy, "{health:#?}");
}

#[test]
fn le_wm_foretells_strides_better_than_copying_and_without_sigreg_it_collapses() {
    let (objective, health, play) = le_wm(&LeWmConfig::default(), 300);
    assert_eq!(health.verdict, Verdict::Healthy, "{health:#?}");
    let curve = Forecast::of(&Imagination::of(&objective, STRIDES.frameskip), &windows(&play, 8)).unwrap();
    assert_eq!(curve.model.len(), 5);
    assert!(curve.model.iter().zip(&curve.copy_last).all(|(model, copy)| model < copy), "{curve:?}");
    assert!(curve.model[0] < curve.mean[0], "{curve:?}");
    let (_, health, _) = le_wm(&LeWmConfig { lambda: 0.0, ..LeWmConfig::default() }, 300);
    assert_eq!(health.verdict, Verdict::Collapse, "{health:#?}");
}

#[test]
fn le_wm_looks_through_a_transformer_too() {
    let encoder: FrameEncoder = serde_json::from_str("{\"kind\":\"vit\"}").unwrap();
    let play = play(STRIDES);
    let LeWm::Vit(objective) = LeWmConfig { encoder, ..LeWmConfig::default() }.init(&setting(&play)).unwrap() else {
        panic!("a transformer was asked for")
    };
    let clock = Clock { step: 1, total: 1, batch: 8, health_due: true };
    let batch = held_out(&objective, &play);
    let outcome = objective.loss(&batch, &clock);
    let latents = outcome.latents.unwrap();
    // 64 windows of three steps each.
    assert_eq!((latents.predictions.dims(), latents.targets.dims()), ([192, 64], [192, 64]));
    assert_eq!(outcome.seen.len(), 2, "a batch norm behind the encoder and one behind the predictor");
    assert!(outcome.loss.into_scalar::<f32>().is_finite());
}

#[test]
fn policies_learn_from_the_same_play_and_beat_chance() {
    let (objective, _, play) = eb_jepa(&paper(), 150);
    let imagination = Imagination::of(&objective, 1);
    let world = play.world().as_ref();
    // Near goals without a wall between would be no test: the trial's tasks are what planners get.
    let trial = Trial { episodes: 40, steps: 60, seed: 5 };
    let mean = |agent: &mut dyn foretell_world::Agent| {
        let outcome = trial.run(world, agent).unwrap();
        outcome.distance.iter().sum::<f32>() / 40.0
    };
    let random = mean(&mut Control::Random);
    let config = PolicyConfig { steps: 400, farthest: 30, ..PolicyConfig::default() };
    let cloned = mean(&mut GoalPolicy::cloned(&play, &config, &Device::flex()));
    let inverse = mean(&mut GoalPolicy::inverse_dynamics(&play, &config, &imagination));
    assert!(cloned < random && inverse < random, "random {random}, cloned {cloned}, inverse dynamics {inverse}");
}

#[test]
fn steps_between_places_are_learnt_from_play_that_explores() {
    let explore = Explore { layouts: 40, episodes: 12, steps: 91, places: 8 };
    let play = play(PlayConfig::default()).explored(explore).unwrap();
    let setting = setting(&play);
    let (objective, _) = trained(&play, || EbJepaConfig::default().init(&setting).unwrap(), 160);
    assert_eq!(Imagination::of(&objective, 1).gauge(), Gauge::Steps);
    // Other windows of the explored layouts, and one who always says the same number: the best there is, the median.
    let demand = Demand { batch: 64, seed: 0, image: (32, 32), cache_bytes: 0 };
    let windows = play.training(&demand).unwrap().batch(9999).unwrap();
    let batch = objective.collator().collate(1, &windows).unwrap();
    let clock = Clock { step: 1, total: 1, batch: 64, health_due: false };
    let outcome = objective.loss(&batch, &clock);
    let term = outcome.terms.iter().find(|(name, _)| *name == "reach").unwrap().1.clone();
    let mut steps: Vec<f32> = batch.place_steps.iter().copied().filter(|steps| steps.is_finite()).collect();
    steps.sort_by(f32::total_cmp);
    let median = steps[steps.len() / 2];
    let constant = steps.iter().map(|s| (s - median).abs()).sum::<f32>() / steps.len() as f32 / STEPS_UNIT as f32;
    let told = ops::values(term)[0];
    assert!(told < 0.7 * constant, "{told} and {constant}");
    // On latents that stand still it learns on, and can be stopped.
    let off = |actor: &Pair| ops::values(objective.model().acted(actor, &objective.seen(&batch)).unwrap())[0];
    let config = ActorConfig { steps: 120, ..ActorConfig::default() };
    let learn = |stop: bool| learn_actor(&objective, &play, &config, (32, 0), &AtomicBool::new(stop), &mut |_| ());
    let (before, after) = (objective.networks.actor().unwrap().valid(), learn(false).unwrap().unwrap());
    assert!(off(after.actor().unwrap()) < off(&before), "{} and {}", off(after.actor().unwrap()), off(&before));
    assert!(learn(true).unwrap().is_none());
    // Better than one who does nothing.
    let mut silent = before;
    silent.out.weight = silent.out.weight.map(|w| w.zeros_like());
    silent.out.bias = silent.out.bias.map(|b| b.zeros_like());
    assert!(off(after.actor().unwrap()) < 0.97 * off(&silent), "{} and {}", off(after.actor().unwrap()), off(&silent));
}

#[test]
fn a_window_that_does_not_fit_is_refused_in_a_sentence() {
    let play = play(PlayConfig::default());
    let objective = EbJepaConfig { rollout: 1, ..EbJepaConfig::default() }.init(&setting(&play)).unwrap();
    let demand = Demand { batch: 2, seed: 0, image: (32, 32), cache_bytes: 0 };
    let mut windows = play.training(&demand).unwrap().batch(1).unwrap();
    windows[1].actions.pop();
    let error = objective.collator().collate(1, &windows).err().unwrap().to_string();
    assert!(error.contains("does not fit 17 observations"), "{error}");
    let other = WorldSetting { action: 3, ..setting(&play) };
    let error = EbJepaConfig::default().init(&other).err().unwrap().to_string();
    assert!(error.contains("3 numbers of an action"), "{error}");
}
