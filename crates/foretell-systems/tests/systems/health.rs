//! Short runs on generated scenes, two seeds each: what is known to collapse is called so, and the same run with the
//! defaults, as long and on the same images, is called healthy.

use std::sync::atomic::AtomicBool;

use foretell_data::{Auto, Images};
use foretell_jepa::AntiCollapse;
use foretell_jepa::anti_collapse::{BarlowConfig, Scaling, SigregConfig, VicregConfig, VisregConfig};
use foretell_jepa::target::{TargetKind, TargetTransform};
use foretell_nn::vit::Size;
use foretell_systems::System;
use foretell_systems::i_jepa::IJepaConfig;
use foretell_systems::le_jepa::{BackboneConfig, LeJepaConfig};
use foretell_systems::nepa::{NepaConfig, PatchStart};
use foretell_systems::s_jea::{FeatureSource, SJeaConfig};
use foretell_train::{Fit, HealthRecord, RunFolder, Silent, TrainConfig, Verdict, fit, settle};

use crate::made::{Bench, scenes};

const SEEDS: [u64; 2] = [0, 1];
const SIZE: usize = 24;
const BATCH: usize = 64;

/// I-JEPA at the size of a test; everything else is the default.
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

/// LeJEPA at the size of a test; everything else is the default.
fn le_jepa() -> LeJepaConfig {
    LeJepaConfig {
        size: Size::Tiny,
        backbone: BackboneConfig::Resnet { widths: vec![16, 32], blocks: 1, stem_kernel: 3, stem_stride: 2 },
        projector: vec![64],
        code_width: 16,
        slices: 64,
        ..LeJepaConfig::default()
    }
}

/// NEPA at the size of a test; everything else is the default.
fn nepa() -> NepaConfig {
    NepaConfig {
        width: Auto::Value(48),
        depth: Auto::Value(1),
        heads: Auto::Value(3),
        patch: Auto::Value(6),
        ..NepaConfig::default()
    }
}

/// The judgement of the untrained network and the one after the last step.
struct Judged {
    first: HealthRecord,
    last: HealthRecord,
}

/// A run of a system on the scenes.
fn run(system: &impl System<Data = Images>, steps: u64, lr: f64, seed: u64) -> Judged {
    let (images, config) = scenes(SIZE, 1024, 256);
    let bench = Bench { seed, ..Bench::new(Some(images), config, (steps, BATCH)) };
    let mut config = TrainConfig { batch: BATCH, lr, health_every: Auto::Value(steps), ..TrainConfig::default() };
    config.resolve(steps, 2, &mut Vec::new());
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit { folder: &folder, config: &config, stop: &stop };
    let mut learner = bench.learner(system);
    settle(learner.as_mut(), &fitting).unwrap();
    let finished = fit(learner.as_mut(), &fitting, &mut Silent).unwrap();
    assert!(!finished.stopped && finished.steps == steps);
    let metrics = std::fs::read_to_string(folder.metrics()).unwrap();
    let first = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    Judged { first, last: finished.health }
}

fn run_i_jepa(config: &IJepaConfig, steps: u64, seed: u64) -> Judged {
    run(config, steps, 1e-3, seed)
}

fn run_le_jepa(config: &LeJepaConfig, steps: u64, seed: u64) -> Judged {
    run(config, steps, 2e-3, seed)
}

#[track_caller]
fn assert_verdict(judged: &Judged, expected: Verdict, seed: u64) {
    let Judged { first, last } = judged;
    assert_eq!((first.step, first.health.verdict), (0, Verdict::Healthy), "the untrained network is its own measure");
    assert_eq!(last.health.verdict, expected, "seed {seed}: {:#?}", last.health);
    let broken = last.health.thresholds.iter().filter(|rule| !rule.met).count();
    assert_eq!(broken == 0, expected == Verdict::Healthy, "the verdict names its reasons");
}

/// Steps of I-JEPA's runs.
const I_JEPA: u64 = 200;
/// Steps of NEPA's runs.
const NEPA: u64 = 300;
/// Steps of LeJEPA's runs.
const LE_JEPA: u64 = 100;

#[test]
fn i_jepa_with_its_defaults_is_healthy() {
    for seed in SEEDS {
        let judged = run_i_jepa(&i_jepa(), I_JEPA, seed);
        assert_verdict(&judged, Verdict::Healthy, seed);
        assert!(judged.last.held_out_loss < judged.first.held_out_loss);
        // The teacher is another network than the student, and not far from it.
        let distance = judged.last.health.teacher_distance.unwrap();
        assert!(distance > 0.0 && distance < 0.5, "{distance}");
    }
}

/// The published objective with gradients through its targets: a constant is its best answer.
#[test]
fn i_jepa_without_stop_gradient_and_average_collapses() {
    for seed in SEEDS {
        let ablation = IJepaConfig {
            target: TargetKind::Live,
            target_transform: TargetTransform::LayerNorm,
            sigreg: 0.0,
            ..i_jepa()
        };
        assert_verdict(&run_i_jepa(&ablation, I_JEPA, seed), Verdict::Collapse, seed);
    }
}

#[test]
fn le_jepa_with_its_defaults_is_healthy() {
    for seed in SEEDS {
        let judged = run_le_jepa(&le_jepa(), LE_JEPA, seed);
        assert_verdict(&judged, Verdict::Healthy, seed);
        assert!(judged.last.held_out_loss < judged.first.held_out_loss);
        // SIGReg's goal is a standard deviation of 1.
        assert!((0.5..1.5).contains(&judged.last.health.target_std), "{}", judged.last.health.target_std);
    }
}

#[test]
fn le_jepa_without_sigreg_collapses() {
    for seed in SEEDS {
        let judged = run_le_jepa(&LeJepaConfig { lambda: Auto::Value(0.0), ..le_jepa() }, LE_JEPA, seed);
        assert_verdict(&judged, Verdict::Collapse, seed);
    }
}

/// Every term in SIGReg's place, on either backbone, and nothing in its place.
#[test]
fn le_jepa_with_any_term_is_healthy_and_with_none_collapses() {
    let with = |anti_collapse| LeJepaConfig { anti_collapse, ..le_jepa() };
    for term in [
        AntiCollapse::Sigreg(SigregConfig { scaling: Scaling::None }),
        AntiCollapse::Vicreg(VicregConfig::default()),
        AntiCollapse::Vicreg(VicregConfig::eb_jepa()),
        AntiCollapse::BarlowTwins(BarlowConfig::default()),
        AntiCollapse::Visreg(VisregConfig::default()),
    ] {
        let judged = run_le_jepa(&with(term), LE_JEPA, 0);
        assert_eq!(judged.last.health.verdict, Verdict::Healthy, "{term:?}: {:#?}", judged.last.health);
        assert!(judged.last.held_out_loss < judged.first.held_out_loss, "{term:?}");
    }
    assert_verdict(&run_le_jepa(&with(AntiCollapse::None), LE_JEPA, 0), Verdict::Collapse, 0);
    let vit = BackboneConfig::Vit { patch: Auto::Value(6), depth: Auto::Value(1) };
    let vit = LeJepaConfig {
        backbone: vit,
        local_size: Auto::Value(12),
        ..with(AntiCollapse::Vicreg(VicregConfig::default()))
    };
    let judged = run_le_jepa(&vit, 30, 0);
    assert!(judged.last.held_out_loss < judged.first.held_out_loss);
}

/// S-JEA at the size of a test; everything else is the default.
fn s_jea() -> SJeaConfig {
    SJeaConfig { levels: vec![vec![16], vec![32]], projector: vec![64], code_width: 16, ..SJeaConfig::default() }
}

#[test]
fn s_jea_is_healthy_however_levels_are_stacked_and_without_a_term_it_collapses() {
    let ours = s_jea();
    for config in [
        ours.clone(),
        SJeaConfig { detach_lower: true, ..ours.clone() },
        SJeaConfig { flat: true, ..ours.clone() },
        SJeaConfig { feature_source: FeatureSource::Pooled, levels: vec![vec![16, 32], vec![32, 32]], ..ours.clone() },
    ] {
        let judged = run(&config, LE_JEPA, 2e-3, 0);
        assert_verdict(&judged, Verdict::Healthy, 0);
        assert!(judged.last.held_out_loss < judged.first.held_out_loss);
    }
    let without = SJeaConfig { anti_collapse: AntiCollapse::None, ..ours };
    assert_verdict(&run(&without, LE_JEPA, 2e-3, 0), Verdict::Collapse, 0);
}

#[test]
fn nepa_with_its_defaults_is_healthy() {
    for seed in SEEDS {
        let judged = run(&nepa(), NEPA, 1e-3, seed);
        assert_verdict(&judged, Verdict::Healthy, seed);
        assert!(judged.last.held_out_loss < judged.first.held_out_loss - 0.1);
        // What it has not seen it cannot say.
        assert!(judged.last.held_out_loss > -0.99, "{}", judged.last.held_out_loss);
    }
}

/// With gradients through the targets all embeddings take one direction: the loss is as low as it can be, and says nothing.
#[test]
fn nepa_without_stop_gradient_collapses() {
    for seed in SEEDS {
        let judged = run(&NepaConfig { stop_gradient: false, ..nepa() }, NEPA, 1e-3, seed);
        assert_verdict(&judged, Verdict::Collapse, seed);
        assert!(judged.last.held_out_loss < -0.99, "{}", judged.last.held_out_loss);
        let broken = judged.last.health.thresholds.iter().filter(|rule| !rule.met);
        let named: Vec<&str> = broken.map(|rule| rule.measure.as_str()).collect();
        assert!(named.iter().any(|name| name.contains("targets")), "{named:?}");
    }
}

/// A network that has seen what it predicts, as it is asked for its own input or sees all of the image, has nothing to learn.
#[test]
fn nepa_without_shift_or_causal_attention_predicts_what_it_sees() {
    let loss = |config: &NepaConfig| {
        let config = NepaConfig { patch_start: PatchStart::UnitVariance, ..config.clone() };
        run(&config, NEPA / 2, 1e-3, 0).last.held_out_loss
    };
    let whole = loss(&nepa());
    let (unshifted, open) =
        (loss(&NepaConfig { shift: false, ..nepa() }), loss(&NepaConfig { causal: false, ..nepa() }));
    assert!(unshifted < -0.98 && unshifted < whole - 0.02, "{whole} {unshifted}");
    assert!(open < whole - 0.02, "{whole} {open}");
}
