//! A world model learns from play: what it foretells is nearer than what it saw last, and its latents know where the dot is.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::{Device, Tensor};
use foretell_data::{Demand, HeldOutDemand, Material};
use foretell_jepa::dynamics::{Recurrent, Terms, WindowBatch};
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::eb_jepa::EbJepaConfig;
use foretell_jepa::{Auto, Objective};
use foretell_ops as ops;
use foretell_train::{Fit, Health, Observer, Report, RunFolder, TrainConfig, Verdict, fit, settle};
use foretell_world::{Play, PlayConfig, World, WorldConfig};

struct Quiet;
impl Observer for Quiet {
    fn step(&mut self, _: &Report) {}
    fn note(&mut self, _: &str) {}
}

fn trained(config: &EbJepaConfig, steps: u64) -> (Recurrent, Health, Play) {
    let world: Arc<dyn World> = WorldConfig::default().init().unwrap();
    let play = Play::new(Arc::clone(&world), PlayConfig::default(), 1).unwrap();
    let setting = WorldSetting {
        observation: world.spec().observation,
        action: world.spec().action,
        normalise: play.normalise().clone(),
        seed: 1,
        device: Device::flex(),
    };
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
        material: &play,
        seed: 1,
        device: Device::flex(),
        initial_teacher_left: None,
        stop: &stop,
    };
    let untrained = settle(config.init(&setting).unwrap(), &fitting).unwrap();
    let finished = fit(config.init(&setting).unwrap(), &untrained, &fitting, &mut Quiet).unwrap();
    (finished.objective, finished.health.health, play)
}

fn held_out(objective: &Recurrent, play: &Play) -> WindowBatch {
    let demand = HeldOutDemand { image: (32, 32), observations: 1, samples: 64 };
    objective.collator().collate(1, &play.held_out(&demand).unwrap().samples).unwrap()
}

/// Mean squared error, `[N, D]`.
fn error(a: Tensor<2>, b: Tensor<2>) -> f32 {
    ops::l2(a.inner(), b.inner()).into_scalar::<f32>()
}

#[test]
fn what_is_foretold_is_nearer_than_what_was_seen_last() {
    let (objective, health, play) = trained(&EbJepaConfig::default(), 150);
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
}

#[test]
fn without_its_variance_term_it_collapses() {
    let terms = Terms { variance: 0.0, covariance: 0.0, inverse_dynamics: 0.0, ..Terms::default() };
    let config = EbJepaConfig { terms, ..EbJepaConfig::default() };
    let (_, health, _) = trained(&config, 150);
    assert_ne!(health.verdict, Verdict::Healthy, "{health:#?}");
}

#[test]
fn a_window_that_does_not_fit_is_refused_in_a_sentence() {
    let (objective, _, play) = trained(&EbJepaConfig { rollout: 1, ..EbJepaConfig::default() }, 1);
    let demand = Demand { batch: 2, seed: 0, image: (32, 32), cache_bytes: 0 };
    let mut windows = play.training(&demand).unwrap().batch(1).unwrap();
    windows[1].actions.pop();
    let error = objective.collator().collate(1, &windows).err().unwrap().to_string();
    assert!(error.contains("does not fit 17 observations"), "{error}");
}
