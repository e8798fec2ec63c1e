//! The systems over clips: what collapses is called so, settings that cannot be are refused, a short run learns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use foretell_data::{
    Auto, ClipSample, Clips, ClipsConfig, DataError, Description, Image, Meta, Modality, MovingConfig, Opening, Part,
    Unit,
};
use foretell_jepa::clips::{ClipTarget, ClipTransform, ContextLoss, ImagesAmong, LatentLoss};
use foretell_jepa::masks::tubes::{CausalTubes, OfficialTubes, RandomTubes, TubeConfig};
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_systems::clip_model::{ClipModel, Grow};
use foretell_systems::le_v_jepa::LeVJepaConfig;
use foretell_systems::v_jepa::VJepaConfig;
use foretell_systems::v_jepa_2::VJepa2Config;
use foretell_systems::v_jepa_2_1::VJepa21Config;
use foretell_train::{Fit, Ground, HealthRecord, Learner, RunFolder, Silent, TrainConfig, Verdict, Which, fit, settle};

use crate::made::Bench;

const SIZE: usize = 24;
const FRAMES: usize = 4;
const BATCH: usize = 32;
const STEPS: u64 = 150;

/// Moving scenes of 4 frames of 24 × 24 pixels.
fn scenes() -> (Arc<Clips>, ClipsConfig) {
    let mut config = ClipsConfig {
        frames: FRAMES,
        scenes: MovingConfig { size: Auto::Value(SIZE), train: 512, held_out: 128, ..MovingConfig::default() },
        ..ClipsConfig::default()
    };
    let mut opening = Opening { seed: 0, batch: 2, threads: 1, decisions: &mut Vec::new() };
    let clips = Clips::open(&mut config, &mut opening).unwrap();
    (Arc::new(clips), config)
}

/// The sizes of a test; everything else is the default.
fn small() -> ClipModel {
    ClipModel {
        patch: Auto::Value(6),
        width: Auto::Value(48),
        depth: Auto::Value(2),
        heads: Auto::Value(3),
        predictor_width: Auto::Value(24),
        predictor_depth: Auto::Value(1),
        ..ClipModel::default()
    }
}

fn bench(steps: u64) -> Bench<Clips> {
    let (clips, config) = scenes();
    Bench { seed: 0, ..Bench::new(Some(clips), config, (steps, BATCH)) }
}

/// The judgement of the untrained network and the one after the last step.
fn train(mut learner: Box<dyn Learner>, steps: u64) -> (HealthRecord, HealthRecord) {
    let mut config = TrainConfig { batch: BATCH, health_every: Auto::Value(steps), ..TrainConfig::default() };
    config.resolve(steps, 2, &mut Vec::new());
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit { folder: &folder, config: &config, stop: &stop };
    settle(learner.as_mut(), &fitting).unwrap();
    let finished = fit(learner.as_mut(), &fitting, &mut Silent).unwrap();
    let metrics = std::fs::read_to_string(folder.metrics()).unwrap();
    (serde_json::from_str(metrics.lines().next().unwrap()).unwrap(), finished.health)
}

/// Rules that are broken.
fn broken(health: &HealthRecord) -> Vec<&str> {
    health.health.thresholds.iter().filter(|rule| !rule.met).map(|rule| rule.measure.as_str()).collect()
}

#[test]
fn v_jepa_with_its_defaults_is_healthy_and_learns() {
    let (first, last) = train(bench(STEPS).learner(&VJepaConfig(small())), STEPS);
    assert_eq!((first.health.verdict, last.health.verdict), (Verdict::Healthy, Verdict::Healthy), "{last:#?}");
    assert!(last.held_out_loss < first.held_out_loss, "{} to {}", first.held_out_loss, last.held_out_loss);
    let distance = last.health.teacher_distance.unwrap();
    assert!(distance > 0.0 && distance < 0.5, "{distance}");
}

/// The published objective without average and stop-gradient: a constant is its best answer.
#[test]
fn v_jepa_without_stop_gradient_and_average_collapses() {
    let ablation = ClipModel { target: ClipTarget::Live, target_transform: ClipTransform::LayerNorm, ..small() };
    let (first, last) = train(bench(STEPS).learner(&VJepaConfig(ablation)), STEPS);
    assert_eq!((first.health.verdict, last.health.verdict), (Verdict::Healthy, Verdict::Collapse), "{last:#?}");
}

/// Clips as another kind of data shows them.
struct Shown(Arc<Clips>, fn(&ClipSample) -> ClipSample);

impl Modality for Shown {
    type Config = ClipsConfig;
    type Sample = ClipSample;
    const UNIT: Unit = Clips::UNIT;
    const BASELINE: &'static str = Clips::BASELINE;

    fn open(_: &mut ClipsConfig, _: &mut Opening<'_>) -> Result<Self, DataError> {
        unreachable!("made by hand")
    }
    fn of_paths(_: &ClipsConfig, _: &[PathBuf]) -> Result<Self, DataError> {
        unreachable!("made by hand")
    }
    fn elsewhere(config: &ClipsConfig, _: &str) -> ClipsConfig {
        config.clone()
    }
    fn source(config: &ClipsConfig) -> String {
        Clips::source(config)
    }
    fn recognises(_: &Path) -> bool {
        false
    }
    fn describe(&self) -> Description {
        self.0.describe()
    }
    fn len(&self, part: Part) -> Option<usize> {
        self.0.len(part)
    }
    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        self.0.meta(part, index)
    }
    fn load(&self, part: Part, index: usize) -> Result<ClipSample, DataError> {
        Ok((self.1)(&self.0.load(part, index)?))
    }
    fn baseline(&self, sample: &ClipSample) -> Vec<f32> {
        self.0.baseline(sample)
    }
}

/// A run of V-JEPA on clips that are shown otherwise.
fn shown(as_what: fn(&ClipSample) -> ClipSample, steps: u64) -> (HealthRecord, HealthRecord) {
    let bench = bench(steps);
    let mut model = small();
    let (objective, networks) = model.masked(&bench.on(), &mut Vec::new()).unwrap();
    let data = Arc::new(Shown(bench.data.clone().unwrap(), as_what));
    let ground = Ground { data: Some(data), batch: BATCH, seed: 0, threads: 1, device: bench.device.clone() };
    train(Box::new(foretell_train::Learning::new(objective, networks, ground)), steps)
}

#[test]
fn a_static_camera_is_seen() {
    let still = |sample: &ClipSample| ClipSample::new(vec![sample.frames[0].clone(); sample.frames.len()]);
    let (_, last) = shown(still, 40);
    assert_eq!(last.health.verdict, Verdict::PartialCollapse, "{last:#?}");
    assert_eq!(broken(&last), ["change over time"]);
}

#[test]
fn a_constant_clip_is_a_collapse() {
    let grey = |sample: &ClipSample| {
        let plain = |frame: &Image| Image { pixels: vec![120; frame.pixels.len()], ..frame.clone() };
        ClipSample::new(sample.frames.iter().map(plain).collect())
    };
    let (_, last) = shown(grey, 40);
    assert_eq!(last.health.verdict, Verdict::Collapse, "{last:#?}");
    assert!(broken(&last).contains(&"change over time"));
}

#[test]
fn every_mask_target_and_loss_takes_a_step() {
    let masks = [
        TubeConfig::default(),
        TubeConfig::Random(RandomTubes::default()),
        TubeConfig::Causal(CausalTubes { seen: 0.5, ..CausalTubes::default() }),
        TubeConfig::Official(OfficialTubes { cut: false, ..OfficialTubes::default() }),
    ];
    for masks in masks {
        let (first, last) = train(bench(4).learner(&VJepaConfig(ClipModel { masks, ..open() })), 4);
        assert!(first.held_out_loss.is_finite() && last.held_out_loss.is_finite());
    }
    for target in [ClipTarget::StopGradient, ClipTarget::Pixels] {
        let model = ClipModel { target, loss: LatentLoss::L2, ..open() };
        let learner = bench(4).learner(&VJepaConfig(model));
        assert!(learner.state(Which::Trained).keys().all(|name| !name.starts_with("target_encoder")));
        train(learner, 4);
    }
}

/// Runs of few steps keep much of the first teacher.
fn open() -> ClipModel {
    let mut model = small();
    model.ema.initial_teacher_limit = 1.0;
    model
}

#[test]
fn v_jepa_2_grows_its_clips_and_v_jepa_2_1_learns_from_images_too() {
    let grow = Grow { at: 0.5, frames: 0.5, size: 0.5 };
    let two = VJepa2Config { model: open(), grow, ..VJepa2Config::default() };
    let (first, last) = train(bench(8).learner(&two), 8);
    assert!(last.held_out_loss.is_finite() && first.held_out_loss > 0.0);
    let images = ImagesAmong { share: 0.5, ..VJepa21Config::default().images };
    let loss = ContextLoss { from: 0.25, to: 0.5, ..ContextLoss::default() };
    let three = VJepa21Config { model: open(), grow, images, context_loss: loss, ..VJepa21Config::default() };
    let learner = bench(8).learner(&three);
    let state = learner.state(Which::Trained);
    for name in [
        "encoder.patch_embed_img.proj.weight",
        "encoder.norms_block.1.weight",
        "predictor.predictor_proj_context.weight",
    ] {
        assert!(state.contains_key(name), "{name}");
    }
    let (first, last) = train(learner, 8);
    assert!(last.held_out_loss.is_finite() && first.held_out_loss > 0.0);
}

#[test]
fn a_frozen_teacher_is_read_and_not_kept() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("teacher.safetensors");
    let teacher = bench(4).learner(&VJepaConfig(open())).encoder_state();
    std::fs::write(&path, foretell_nn::weights::to_bytes(&teacher)).unwrap();
    let model = ClipModel { target: ClipTarget::Frozen, teacher: path.to_string_lossy().into_owned(), ..open() };
    let learner = bench(4).learner(&VJepaConfig(model.clone()));
    assert!(learner.state(Which::Trained).keys().all(|name| !name.starts_with("target_encoder")));
    train(learner, 4);
    // A smaller student is taught too: the predictor is as wide as the teacher at its end.
    let small = ClipModel { width: Auto::Value(24), ..model.clone() };
    train(bench(4).learner(&VJepaConfig(small)), 4);
    let said = bench(4).refusal(&VJepaConfig(ClipModel { patch: Auto::Value(4), ..model.clone() }));
    assert!(said.contains("`model.teacher`"), "{said}");
    let said = bench(4).refusal(&VJepaConfig(ClipModel { teacher_heads: Auto::Value(5), ..model.clone() }));
    assert!(said.contains("`model.teacher_heads`"), "{said}");
    let nobody = ClipModel { teacher: String::new(), ..model };
    assert!(bench(4).refusal(&VJepaConfig(nobody)).contains("`model.teacher`"));
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let of = |model: ClipModel| bench(4).refusal(&VJepaConfig(model));
    assert!(of(ClipModel { tubelet: 3, ..open() }).contains("`model.tubelet`"));
    assert!(of(ClipModel { patch: Auto::Value(7), ..open() }).contains("patches of 7"));
    assert!(of(ClipModel { heads: Auto::Value(5), ..open() }).contains("multiple of its 5 heads"));
    assert!(
        of(ClipModel { masks: TubeConfig::Random(RandomTubes { share: 2.0, sets: 1 }), ..open() }).contains("`share`")
    );
    let slow = EmaConfig { schedule: EmaSchedule::Ramp { start: 0.998 }, ..EmaConfig::default() };
    assert!(of(ClipModel { ema: slow, ..small() }).contains("random initial teacher"));
    let two = |grow| bench(4).refusal(&VJepa2Config { model: open(), grow, ..VJepa2Config::default() });
    assert!(two(Grow { frames: 0.0, ..Grow::default() }).contains("`model.grow`"));
    let images = ImagesAmong { share: 1.0, ..VJepa21Config::default().images };
    let said = bench(4).refusal(&VJepa21Config { model: open(), images, ..VJepa21Config::default() });
    assert!(said.contains("`model.images.share`"), "{said}");
    let loss = ContextLoss { weight: -1.0, ..ContextLoss::default() };
    let said = bench(4).refusal(&VJepa21Config { model: open(), context_loss: loss, ..VJepa21Config::default() });
    assert!(said.contains("`model.context_loss`"), "{said}");
    let smooth = ClipModel { loss: LatentLoss::SmoothL1, ..open() };
    assert!(bench(4).refusal(&VJepa21Config { model: smooth, ..VJepa21Config::default() }).contains("by_distance"));
    let pixels = ClipModel { target: ClipTarget::Pixels, ..open() };
    assert!(bench(4).refusal(&VJepa21Config { model: pixels, ..VJepa21Config::default() }).contains("pixels"));
}

#[test]
fn official_settings_are_the_released_ones() {
    let VJepaConfig(one) = VJepaConfig::official();
    assert_eq!(one.masks, TubeConfig::official());
    assert_eq!((one.target_transform, one.loss), (ClipTransform::LayerNorm, LatentLoss::L1));
    assert!((one.ema.momentum(1, 10, 8) - 0.998).abs() < 1e-12);
    let two = VJepa2Config::official();
    assert!((two.model.ema.momentum(7, 10, 8) - 0.99925).abs() < 1e-12);
    let three = VJepa21Config::official();
    assert_eq!((three.spread, three.images.share), (Auto::Value(16), 0.5));
}

/// LeVJEPA at the size of a test; everything else is the default.
fn le_v_jepa() -> LeVJepaConfig {
    LeVJepaConfig {
        patch: Auto::Value(6),
        width: Auto::Value(48),
        depth: Auto::Value(2),
        heads: Auto::Value(3),
        small_views: 2,
        projector: vec![64],
        code_width: 16,
        slices: 64,
        ..LeVJepaConfig::default()
    }
}

#[test]
fn le_v_jepa_is_healthy_and_collapses_without_sigreg() {
    let (first, last) = train(bench(STEPS).learner(&le_v_jepa()), STEPS);
    assert_eq!(last.health.verdict, Verdict::Healthy, "{last:#?}");
    assert!(last.held_out_loss < first.held_out_loss);
    let without = LeVJepaConfig { lambda: 0.0, ..le_v_jepa() };
    let (_, last) = train(bench(STEPS).learner(&without), STEPS);
    assert_eq!(last.health.verdict, Verdict::Collapse, "{last:#?}");
}

#[test]
fn impossible_settings_of_le_v_jepa_are_refused() {
    let of = |config: LeVJepaConfig| bench(4).refusal(&config);
    assert!(of(LeVJepaConfig { drop: 1.0, ..le_v_jepa() }).contains("`model.drop`"));
    assert!(of(LeVJepaConfig { small_views: 0, ..le_v_jepa() }).contains("`model.small_views`"));
    assert!(of(LeVJepaConfig { small_size: Auto::Value(7), ..le_v_jepa() }).contains("`model.small_size`"));
    assert!(of(LeVJepaConfig { lambda: -1.0, ..le_v_jepa() }).contains("`model.lambda`"));
}
