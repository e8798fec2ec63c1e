//! MC-JEPA from outside: a short run finds what moves, features collapse without the terms at each level, what cannot be is refused.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use foretell_data::{Auto, Clips, ClipsConfig, Ground, Modality, MovingConfig, Opening};
use foretell_eval::{Finding, TRAINED, UNTRAINED};
use foretell_jepa::anti_collapse::VicregConfig;
use foretell_jepa::flow::{Photometric, Turns};
use foretell_systems::mc_jepa::McJepaConfig;
use foretell_systems::{JudgeConfig, Judging, judges};
use foretell_train::{Fit, RunFolder, Silent, TrainConfig, fit, settle};

use crate::made::Bench;

const SIZE: usize = 32;
const BATCH: usize = 16;

/// Moving scenes of 8 frames of 32 × 32 pixels on plain ground.
fn bench(steps: u64) -> Bench<Clips> {
    let scenes = MovingConfig {
        size: Auto::Value(SIZE),
        train: 256,
        held_out: 64,
        ground: Ground::Plain,
        ..MovingConfig::default()
    };
    let mut config = ClipsConfig { frames: 8, scenes, ..ClipsConfig::default() };
    let mut opening = Opening { seed: 0, batch: 2, threads: 1, decisions: &mut Vec::new() };
    let clips = Clips::open(&mut config, &mut opening).unwrap();
    Bench { seed: 0, ..Bench::new(Some(Arc::new(clips)), config, (steps, BATCH)) }
}

/// The sizes of a test; everything else is the default.
fn small() -> McJepaConfig {
    McJepaConfig {
        widths: vec![8, 12, 16, 24],
        estimator: vec![16, 16],
        projector: vec![32],
        code_width: 16,
        ..McJepaConfig::default()
    }
}

/// What a run of so many steps is found to have learnt: its flow, and its features' deviation.
fn found(system: &McJepaConfig, steps: u64) -> [Finding; 2] {
    let bench = bench(steps);
    let mut learner = bench.learner(system);
    let mut config = TrainConfig { batch: BATCH, lr: 3e-3, health_every: Auto::Value(steps), ..TrainConfig::default() };
    config.resolve(steps, 2, &mut Vec::new());
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit { folder: &folder, config: &config, stop: &stop };
    settle(learner.as_mut(), &fitting).unwrap();
    fit(learner.as_mut(), &fitting, &mut Silent).unwrap();
    let (data, settings) = (bench.data.clone().unwrap(), JudgeConfig::default());
    let judging = Judging::new(bench.on(), &data, &settings, learner.as_ref());
    [judges::flow(&judging).unwrap().unwrap(), judges::deviations(&judging).unwrap().unwrap()]
}

fn figure(finding: &Finding, of: &str, row: &str) -> f64 {
    let level = of.parse::<f64>();
    let first = level.map_or_else(|_| of.into(), Into::into);
    finding.as_figures().unwrap().get(&[first, row.into()]).unwrap()
}

#[test]
fn a_short_run_finds_what_moves_and_features_without_terms_of_their_own_collapse() {
    let alone = McJepaConfig { content: false, ..small() };
    let [flow, deviation] = found(&alone, 200);
    let of = |row| figure(&flow, "moving", row);
    println!("{} {} {}", of(TRAINED), of(UNTRAINED), of("zero flow"));
    assert!(of(TRAINED) < 0.8 * of("zero flow") && of(UNTRAINED) > 0.9 * of("zero flow"));
    let [_, without] = found(&McJepaConfig { level_variance: 0.0, ..alone }, 200);
    for level in ["1", "2", "3", "4"] {
        println!("{level}: {} {}", figure(&deviation, level, TRAINED), figure(&without, level, TRAINED));
    }
    let top = |finding| figure(finding, "4", TRAINED);
    // A third after 200 steps; how far it falls is a matter of time.
    assert!(top(&without) < 0.5 * top(&deviation), "{} {}", top(&without), top(&deviation));
}

#[test]
fn content_and_flow_take_steps_in_turn_or_together() {
    for turns in [Turns::Sum, Turns::Alternate] {
        let [flow, deviation] = found(&McJepaConfig { turns, flow_start: Auto::Value(0.5), ..small() }, 6);
        assert_eq!((flow.missing_control(), deviation.missing_control()), (None, None));
    }
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let of = |config: McJepaConfig| bench(4).refusal(&config);
    let negative = VicregConfig { variance: -1.0, ..VicregConfig::default() };
    let photometric = Photometric { ssim: -0.5, ..Photometric::default() };
    for (config, key) in [
        (McJepaConfig { widths: vec![8; 7], ..small() }, "a multiple of 64"),
        (McJepaConfig { widths: vec![8, 0], ..small() }, "`model.widths`"),
        (McJepaConfig { finest: 5, ..small() }, "`model.finest`"),
        (McJepaConfig { radius: 0, ..small() }, "`model.radius`"),
        (McJepaConfig { bound: 0.0, ..small() }, "`model.bound`"),
        (McJepaConfig { flow_start: Auto::Value(1.5), ..small() }, "`model.flow_start`"),
        (McJepaConfig { cycle: f64::NAN, ..small() }, "`model.cycle`"),
        (McJepaConfig { photometric, ..small() }, "`model.photometric.ssim`"),
        (McJepaConfig { vicreg: negative, ..small() }, "`model.vicreg.variance`"),
        (McJepaConfig { estimator: vec![0], ..small() }, "`model.estimator`"),
    ] {
        assert!(of(config.clone()).contains(key), "{key}: {}", of(config));
    }
    let one = Bench { batch: 1, ..bench(4) };
    assert!(one.refusal(&small()).contains("`train.batch`"));
    let mut still = bench(4);
    still.config.frames = 1;
    assert!(still.refusal(&small()).contains("`data.frames`"));
}
