//! EB-JEPA's video example from outside: a short run finds where things move some frames ahead, without its two terms its codes collapse,
//! what cannot be is refused.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use foretell_data::{Auto, Clips, ClipsConfig, Ground, Modality, MovingConfig, Opening};
use foretell_eval::{Finding, TRAINED, UNTRAINED};
use foretell_jepa::clips::maps::Unroll;
use foretell_systems::eb_jepa_video::EbJepaVideoConfig;
use foretell_systems::{JudgeConfig, Judging, System as _, judges};
use foretell_train::{Fit, HealthRecord, RunFolder, Silent, TrainConfig, Verdict, fit, settle};

use crate::made::Bench;

const SIZE: usize = 32;
const BATCH: usize = 8;

/// Moving scenes of 16 frames of 32 × 32 pixels on plain ground.
fn bench(steps: u64) -> Bench<Clips> {
    let scenes = MovingConfig {
        size: Auto::Value(SIZE),
        train: 256,
        held_out: 48,
        ground: Ground::Plain,
        ..MovingConfig::default()
    };
    let mut config = ClipsConfig { frames: 16, scenes, ..ClipsConfig::default() };
    let mut opening = Opening { seed: 0, batch: 2, threads: 1, decisions: &mut Vec::new() };
    let clips = Clips::open(&mut config, &mut opening).unwrap();
    Bench { seed: 0, ..Bench::new(Some(Arc::new(clips)), config, (steps, BATCH)) }
}

/// The sizes of a test; everything else is the default.
fn small() -> EbJepaVideoConfig {
    EbJepaVideoConfig {
        widths: vec![8, 8, 8],
        strides: vec![2, 1, 1],
        predictor: vec![16, 32],
        rollout: 2,
        window: Auto::Value(5),
        projector: vec![16],
        code_width: 16,
        ..EbJepaVideoConfig::default()
    }
}

/// What a run of so many steps is found to have learnt, and how it is.
fn found(system: &EbJepaVideoConfig, steps: u64) -> (Vec<Finding>, HealthRecord) {
    let bench = bench(steps);
    let mut learner = bench.learner(system);
    let mut config =
        TrainConfig { batch: BATCH, lr: 3e-3, health_every: Auto::Value(steps), ..EbJepaVideoConfig::train() };
    config.resolve(steps, 2, &mut Vec::new());
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit { folder: &folder, config: &config, stop: &stop };
    settle(learner.as_mut(), &fitting).unwrap();
    let health = fit(learner.as_mut(), &fitting, &mut Silent).unwrap().health;
    let (data, settings) = (bench.data.clone().unwrap(), JudgeConfig::default());
    let judging = Judging::new(bench.on(), &data, &settings, learner.as_ref());
    (judges::maps(&judging).unwrap(), health)
}

fn figure(findings: &[Finding], key: &str, ahead: usize, row: &str) -> f64 {
    let finding = findings.iter().find(|finding| finding.key == key).unwrap();
    finding.as_figures().unwrap().get(&[ahead.into(), row.into()]).unwrap()
}

#[test]
fn a_short_run_finds_what_moves_some_frames_ahead() {
    const COPIED: &str = "trained, last map copied";
    let (findings, health) = found(&small(), 280);
    let ap = |ahead, row| figure(&findings, "detection", ahead, row);
    let error = |ahead, row| figure(&findings, "rollout", ahead, row);
    for ahead in 0..=8 {
        let rows = [TRAINED, UNTRAINED, COPIED, "pixels, last frame copied", "trained, the frame itself seen"];
        println!("{ahead}: {:?}", rows.map(|row| ap(ahead, row)));
    }
    for ahead in 1..=8 {
        println!("{ahead}: {:?}", [TRAINED, COPIED, UNTRAINED].map(|row| error(ahead, row)));
    }
    assert_eq!(health.health.verdict, Verdict::Healthy, "{health:#?}");
    // Of the frame that is seen all rows of one network are one.
    assert_eq!(ap(0, TRAINED), ap(0, COPIED));
    assert!(ap(0, TRAINED) > 0.6, "{}", ap(0, TRAINED));
    assert!(ap(1, TRAINED) > ap(1, COPIED) + 0.03 && ap(2, TRAINED) > ap(2, COPIED) + 0.02);
    assert!(error(2, TRAINED) < 0.85 * error(2, COPIED));
    // An untrained predictor says that little changes.
    assert!((error(1, UNTRAINED) / error(1, "untrained, last map copied") - 1.0).abs() < 0.1);
}

#[test]
fn without_its_two_terms_codes_collapse() {
    let (_, health) = found(&EbJepaVideoConfig { variance: 0.0, covariance: 0.0, ..small() }, 150);
    assert_eq!(health.health.verdict, Verdict::Collapse, "{health:#?}");
}

#[test]
fn the_released_way_of_rolling_out_takes_steps_too() {
    let released = EbJepaVideoConfig { unroll: Unroll::Parallel, change: false, ..small() };
    let (findings, _) = found(&released, 4);
    assert_eq!(
        findings.iter().map(|finding| finding.key.as_str()).collect::<Vec<_>>(),
        ["detection", "detections", "rollout"]
    );
    assert!(findings.iter().all(|finding| finding.missing_control().is_none() && finding.fault().is_none()));
    let official = EbJepaVideoConfig::official();
    assert_eq!((official.rollout, official.variance, official.covariance), (4, 10.0, 100.0));
    assert_eq!(official.window, Auto::Value(10));
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let of = |config: EbJepaVideoConfig| bench(4).refusal(&config);
    for (config, key) in [
        (EbJepaVideoConfig { widths: vec![8, 8], ..small() }, "`model.strides`"),
        (EbJepaVideoConfig { widths: Vec::new(), strides: Vec::new(), ..small() }, "`model.widths`"),
        (EbJepaVideoConfig { strides: vec![2, 0, 1], ..small() }, "`model.strides`"),
        (EbJepaVideoConfig { strides: vec![3, 1, 1], ..small() }, "a multiple of 6"),
        (EbJepaVideoConfig { strides: vec![usize::MAX, 2, 1], ..small() }, "a multiple of their product"),
        (EbJepaVideoConfig { predictor: vec![8; 7], ..small() }, "a multiple of 128"),
        (EbJepaVideoConfig { predictor: Vec::new(), ..small() }, "`model.predictor`"),
        (EbJepaVideoConfig { rollout: 0, ..small() }, "`model.rollout`"),
        (EbJepaVideoConfig { rollout: 4, ..small() }, "`model.window`"),
        (EbJepaVideoConfig { window: Auto::Value(17), ..small() }, "the 16 frames of `data.frames`"),
        (EbJepaVideoConfig { rollout: 15, window: Auto::Auto, ..small() }, "`data.frames`"),
        (EbJepaVideoConfig { projector: vec![0], ..small() }, "`model.projector`"),
        (EbJepaVideoConfig { variance: f64::NAN, ..small() }, "`model.variance`"),
        (EbJepaVideoConfig { covariance: -1.0, ..small() }, "`model.covariance`"),
    ] {
        assert!(of(config.clone()).contains(key), "{key}: {}", of(config));
    }
    let one = Bench { batch: 1, ..bench(4) };
    assert!(one.refusal(&small()).contains("`train.batch`"));
}
