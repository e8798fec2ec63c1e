//! Short runs on generated scenes: what is known to collapse is called so, and the defaults are called healthy.

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foretell_data::{Dataset, Normalise, OnBadSample, ScenesConfig};
use foretell_jepa::systems::Setting;
use foretell_jepa::systems::i_jepa::IJepaConfig;
use foretell_jepa::systems::le_jepa::{BackboneConfig, LeJepa, LeJepaConfig};
use foretell_jepa::target::{TargetKind, TargetTransform};
use foretell_jepa::{Auto, Objective};
use foretell_train::{Finished, Fit, Health, Observer, Report, RunFolder, TrainConfig, Verdict, fit, settle};

struct Quiet;

impl Observer for Quiet {
    fn step(&mut self, _: &Report) {}
    fn note(&mut self, _: &str) {}
}

/// A system at the size of a test.
enum System {
    IJepa(IJepaConfig),
    LeJepa(LeJepaConfig),
}

struct Recipe {
    system: System,
    steps: u64,
    batch: usize,
    lr: f64,
    seed: u64,
}

fn i_jepa() -> IJepaConfig {
    IJepaConfig {
        width: Auto::Value(48),
        depth: Auto::Value(2),
        heads: Auto::Value(3),
        predictor_width: Auto::Value(24),
        predictor_depth: Auto::Value(1),
        patch: Auto::Value(4),
        ..IJepaConfig::default()
    }
}

fn le_jepa() -> LeJepaConfig {
    LeJepaConfig {
        backbone: BackboneConfig::Resnet { widths: vec![16, 32], blocks: 1, stem_kernel: 3, stem_stride: 2 },
        projector: vec![64],
        code_width: 16,
        slices: 64,
        ..LeJepaConfig::default()
    }
}

impl Recipe {
    fn run(self) -> Health {
        let dataset = Dataset::scenes(&ScenesConfig { size: 24, train: 1024, held_out: 256, seed: 0 });
        let normalise = Normalise::measure(&dataset, 24, 1, OnBadSample::Fail).unwrap();
        let setting = Setting {
            image_size: 24,
            channels: 3,
            normalise: normalise.clone(),
            seed: self.seed,
            total_steps: self.steps,
            batch: self.batch,
            device: Device::flex(),
            on_cpu: true,
        };
        let mut config = TrainConfig {
            batch: self.batch,
            lr: self.lr,
            health_every: Auto::Value(self.steps),
            checkpoint_every: Auto::Value(self.steps),
            ..TrainConfig::default()
        };
        config.resolve(self.steps, 2, &mut Vec::new());
        config.log_every = Auto::Value(1);
        match self.system {
            System::IJepa(mut system) => {
                system.resolve(&setting, &mut Vec::new()).unwrap();
                carry_out(|| system.init(&setting).unwrap(), &dataset, &normalise, &config, self.seed)
            }
            System::LeJepa(mut system) => {
                system.resolve(&setting, &mut Vec::new()).unwrap();
                let objective = || match system.init(&setting).unwrap() {
                    LeJepa::Resnet(objective) => objective,
                    LeJepa::Vit(_) => unreachable!("a residual network was asked for"),
                };
                carry_out(objective, &dataset, &normalise, &config, self.seed)
            }
        }
    }
}

fn carry_out<O: Objective>(
    objective: impl Fn() -> O,
    dataset: &Dataset,
    normalise: &Normalise,
    config: &TrainConfig,
    seed: u64,
) -> Health {
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit {
        folder: &folder,
        config,
        dataset,
        normalise,
        seed,
        on_bad: OnBadSample::Fail,
        device: Device::flex(),
        initial_teacher_left: None,
        stop: &stop,
    };
    let untrained = settle(objective(), &fitting).unwrap();
    let finished: Finished<O> = fit(objective(), &untrained, &fitting, &mut Quiet).unwrap();
    let h = finished.health.health;
    println!(
        "{:?}: rank {:.2}, untrained {:.2}, cosine {:.4}, target std {:.4}",
        h.verdict, h.effective_rank, h.untrained_effective_rank, h.cosine_mean, h.target_std
    );
    h
}

/// The verdicts of two seeds.
fn verdicts(system: impl Fn() -> System, steps: u64, lr: f64) -> [Verdict; 2] {
    [0, 1].map(|seed| Recipe { system: system(), steps, batch: 64, lr, seed }.run().verdict)
}

#[test]
fn i_jepa_without_stop_gradient_and_average_collapses() {
    // The released objective: ours has SIGReg and standardised targets, which hold even without a teacher.
    let live = || {
        System::IJepa(IJepaConfig {
            target: TargetKind::Live,
            target_transform: TargetTransform::LayerNorm,
            sigreg: 0.0,
            ..i_jepa()
        })
    };
    assert_eq!(verdicts(live, 150, 3e-3), [Verdict::Collapse; 2]);
}

#[test]
fn le_jepa_without_sigreg_collapses() {
    let invariance = || System::LeJepa(LeJepaConfig { lambda: 0.0, ..le_jepa() });
    assert_eq!(verdicts(invariance, 60, 2e-3), [Verdict::Collapse; 2]);
}

#[test]
fn the_defaults_are_healthy() {
    assert_eq!(verdicts(|| System::LeJepa(le_jepa()), 60, 2e-3), [Verdict::Healthy; 2]);
    assert_eq!(verdicts(|| System::IJepa(i_jepa()), 60, 1e-3), [Verdict::Healthy; 2]);
}
