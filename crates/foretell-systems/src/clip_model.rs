//! What the masked systems over clips have in common: lengths, masks and targets, and the networks that they make.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Auto, Clips, Decision};
use foretell_eval::{Card, Finding, Grid as Marks, Pictures, Strip, Tile};
use foretell_jepa::clips::{
    ClipNetworks, ClipTarget, ClipTransform, ContextLoss, Early, ImagesAmong, LatentLoss, MaskToken, MaskedClips,
    TubeCollator,
};
use foretell_jepa::masked::Keep;
use foretell_jepa::masks::tubes::TubeConfig;
use foretell_jepa::target::EmaConfig;
use foretell_nn::clip_vit::{ClipVit, ClipVitConfig, Code, Dense, Positions};
use foretell_nn::masked_predictor::MaskedPredictorConfig;
use foretell_nn::positions::{Grid, Rope};
use foretell_nn::vit::Size;
use foretell_nn::{NamedTensors, weights};
use serde::{Deserialize, Serialize};

use crate::judges::{self, originals, rgb};
use crate::judging::Judging;
use crate::sizes::{Dials, Lengths, check_patch, check_width, resolved, settle_average, usual_patch};
use crate::system::{JudgeError, On, SystemError};

/// Settings that V-JEPA, V-JEPA 2 and 2.1 share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipModel {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a tubelet in pixels.
    pub patch: Auto<usize>,
    /// Frames of a tubelet.
    pub tubelet: usize,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks of the encoder.
    pub depth: Auto<usize>,
    /// Attention heads.
    pub heads: Auto<usize>,
    /// Width of the predictor.
    pub predictor_width: Auto<usize>,
    /// Blocks of the predictor.
    pub predictor_depth: Auto<usize>,
    /// Attention heads of the predictor.
    pub predictor_heads: Auto<usize>,
    /// Where targets come from.
    pub target: ClipTarget,
    /// Whose features are predicted where the target is `frozen`: the `encoder.safetensors` of a run of clips of this shape, or its
    /// folder.
    pub teacher: String,
    /// Attention heads of the teacher, which its file does not tell; as wide as ours where nothing is said.
    pub teacher_heads: Auto<usize>,
    /// What becomes of the target's tokens before they are predicted.
    pub target_transform: ClipTransform,
    /// How predictions are held against targets.
    pub loss: LatentLoss,
    /// Weight of SIGReg on the context's tokens: keeps dimensions from following a few. The released code has none: 0.
    pub sigreg: f64,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Who sees which tokens.
    pub masks: TubeConfig,
    /// The clock of the moving average.
    pub ema: EmaConfig,
    /// How the view is made, alike for all frames of a clip.
    pub augment: Augment,
}

impl Default for ClipModel {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            tubelet: 2,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
            predictor_width: Auto::Auto,
            predictor_depth: Auto::Auto,
            predictor_heads: Auto::Auto,
            target: ClipTarget::Ema,
            teacher: String::new(),
            teacher_heads: Auto::Auto,
            target_transform: ClipTransform::default(),
            loss: LatentLoss::L1,
            sigreg: 0.001,
            keep: Keep::Target,
            masks: TubeConfig::default(),
            ema: EmaConfig::default(),
            augment: Augment { crop_scale: (0.3, 1.0), crop_aspect: (0.75, 1.35), ..Augment::default() },
        }
    }
}

/// Clips that grow towards the end of a run: most of it learns from shorter and smaller ones at a fraction of the cost (V-JEPA 2,
/// arXiv 2506.09985, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grow {
    /// Share of the steps after which clips are full; 0 for full ones from the start.
    pub at: f64,
    /// Share of the frames before.
    pub frames: f64,
    /// Share of the side before.
    pub size: f64,
}

impl Default for Grow {
    /// Where the usual schedule begins to cool down.
    fn default() -> Self {
        Self { at: 0.9, frames: 0.5, size: 0.75 }
    }
}

impl Grow {
    /// In whole tubelets, at least one in time and two in space.
    pub(crate) fn early(&self, on: &On<'_, Clips>, model: &ClipModel) -> Result<Option<Early>, SystemError> {
        let share = |x: f64| x > 0.0 && x <= 1.0;
        if !((0.0..=1.0).contains(&self.at) && share(self.frames) && share(self.size)) {
            return Err(SystemError::Setting(format!(
                "`model.grow` needs shares, 0 ≤ at ≤ 1 and 0 < frames, size ≤ 1, found at = {}, frames = {}, size = {}",
                self.at, self.frames, self.size
            )));
        }
        let (frames, size, _) = on.config.form()?;
        let whole = |share: f64, all: usize, unit: usize, least: usize| {
            ((share * all as f64 / unit.max(1) as f64).round() as usize).max(least) * unit
        };
        let early = Early {
            until: (self.at * on.steps as f64).round() as u64 + 1,
            frames: whole(self.frames, frames, model.tubelet, 1).min(frames),
            size: whole(self.size, size, resolved(model.patch), 2).min(size),
        };
        Ok((early.until > 1 && (early.frames, early.size) != (frames, size)).then_some(early))
    }
}

/// What tells the systems apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kind {
    /// Rotary codes; added ones where there are none.
    pub rope: Option<Rope>,
    /// Levels that are supervised beside the last block.
    pub dense: Option<Dense>,
    /// Which mask token stands for what is asked.
    pub mask_token: MaskToken,
    /// Supervision of the context.
    pub context_loss: Option<ContextLoss>,
    /// Single images among the clips.
    pub images: Option<ImagesAmong>,
    /// Shorter and smaller clips before the end.
    pub early: Option<Early>,
    /// Whether residual outputs begin smaller with depth.
    pub rescale: bool,
}

impl ClipModel {
    /// Chooses what is open, and says why.
    pub(crate) fn resolve(&mut self, on: &On<'_, Clips>, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let (_, image_size, _) = on.config.form()?;
        let dials =
            Dials { patch: &mut self.patch, width: &mut self.width, depth: &mut self.depth, heads: &mut self.heads };
        let Lengths { width, depth, heads, .. } = dials.settle(self.size, || usual_patch(image_size), on, decisions);
        let narrow = self.predictor_width.resolve("model.predictor_width", decisions, || {
            (width / 2, "half the encoder's width: the bottleneck".to_owned())
        });
        self.predictor_depth.resolve("model.predictor_depth", decisions, || {
            ((depth / 2).max(1), "half the encoder's depth".to_owned())
        });
        self.predictor_heads.resolve("model.predictor_heads", decisions, || {
            let fits = narrow.is_multiple_of(heads.max(1));
            if fits { (heads, "as many as the encoder's".to_owned()) } else { (1, "the width has no other".to_owned()) }
        });
        if self.target == ClipTarget::Ema {
            settle_average(&mut self.ema, on, decisions)?;
        }
        Ok(())
    }

    /// V-JEPA's objective with these settings and fresh networks: for those who bring clips of their own.
    pub fn masked(
        &mut self,
        on: &On<'_, Clips>,
        decisions: &mut Vec<Decision>,
    ) -> Result<(MaskedClips, ClipNetworks), SystemError> {
        self.resolve(on, decisions)?;
        self.build(on, &Kind::default())
    }

    /// Makes batches.
    pub(crate) fn collator(&self, on: &On<'_, Clips>, kind: &Kind) -> Result<TubeCollator, SystemError> {
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        let (frames, size, _) = on.config.form()?;
        let patch = resolved(self.patch);
        check_patch(size, patch)?;
        let least = kind.early.map_or(frames, |early| early.frames);
        if self.tubelet == 0 || least < self.tubelet || !frames.is_multiple_of(self.tubelet) {
            return Err(SystemError::Setting(format!(
                "clips of {frames} frames do not split into tubelets of {}: set `data.frames` to a multiple of it, or choose another `model.tubelet`",
                self.tubelet
            )));
        }
        if !(self.sigreg >= 0.0 && self.sigreg.is_finite()) {
            return Err(SystemError::Setting(format!("`model.sigreg` must be 0 or more, found {}", self.sigreg)));
        }
        let collator = TubeCollator {
            seed: on.seed,
            frames,
            size,
            tubelet: self.tubelet,
            patch,
            augment: self.augment.clone(),
            normalise: on.config.normalise.clone(),
            masks: self.masks.clone(),
            early: kind.early,
            images: kind.images.clone(),
            width: resolved(self.width),
            slices: if self.sigreg > 0.0 { 256 } else { 0 },
        };
        collator.check()?;
        Ok(collator)
    }

    /// Lengths of the encoder.
    fn encoder(&self, grid: Grid, channels: usize, kind: &Kind) -> ClipVitConfig {
        let (width, heads) = (resolved(self.width), resolved(self.heads));
        let (w, _, _, hidden) = self.size.dimensions();
        ClipVitConfig {
            patch: resolved(self.patch),
            tubelet: self.tubelet,
            channels,
            width,
            depth: resolved(self.depth),
            heads,
            hidden: if width == w { hidden } else { 4 * width },
            eps: 1e-6,
            positions: kind.rope.map_or(Positions::Added(grid, Code::Clip { uniform: true }), Positions::Turned),
            dense: kind.dense.clone(),
        }
    }

    /// The objective, and fresh networks. Everything must be resolved.
    pub(crate) fn build(&self, on: &On<'_, Clips>, kind: &Kind) -> Result<(MaskedClips, ClipNetworks), SystemError> {
        let collator = self.collator(on, kind)?;
        let (frames, size, channels) = on.config.form()?;
        let grid = collator.grid(frames, size);
        let encoder = self.encoder(grid, channels, kind);
        let (narrow, heads) = (resolved(self.predictor_width), resolved(self.predictor_heads));
        check_width("encoder", encoder.width, encoder.heads)?;
        check_width("predictor", narrow, heads)?;
        if let Some(loss) = kind.context_loss {
            loss.check().map_err(SystemError::Setting)?;
            if loss.by_distance && !matches!(self.loss, LatentLoss::L1 | LatentLoss::L2) {
                return Err(SystemError::Setting(
                    "`model.loss` = \"smooth-l1\" or \"cosine\" cannot be weighted by distance: take \"l1\" or \"l2\", or set `model.context_loss.by_distance` to false"
                        .to_owned(),
                ));
            }
        }
        let levels = kind.dense.as_ref().map_or(1, |dense| dense.levels.len());
        let pixels = self.target == ClipTarget::Pixels;
        if pixels && (levels > 1 || kind.images.is_some()) {
            return Err(SystemError::Setting(
                "`model.target` = \"pixels\" has no levels and one kind of tubelet: take `v-jepa` or `v-jepa-2` for it"
                    .to_owned(),
            ));
        }
        let tubelet = channels * self.tubelet * encoder.patch * encoder.patch;
        let mut predictor = MaskedPredictorConfig {
            encoder_width: encoder.width,
            levels,
            width: narrow,
            depth: resolved(self.predictor_depth),
            heads,
            hidden: 4 * narrow,
            out: if pixels { tubelet } else { levels * encoder.width },
            mask_tokens: self.masks.sets().max(kind.images.as_ref().map_or(1, |images| images.masks.sets())),
            eps: 1e-6,
            positions: match encoder.positions {
                Positions::Added(grid, _) => Positions::Added(grid, Code::Clip { uniform: true }),
                Positions::Turned(rope) => Positions::Turned(rope),
            },
            context_head: kind.context_loss.is_some(),
            modalities: kind.dense.is_some(),
        };
        let device = on.learning();
        let network = encoder.init(&mut on.weights(0), &device);
        let network = if kind.rescale { network.rescaled() } else { network };
        let given = !self.teacher.is_empty();
        let target_encoder = match self.target {
            ClipTarget::Ema => Some(network.valid()),
            ClipTarget::Frozen => Some(self.teacher(&encoder, on)?),
            _ => None,
        };
        if let (ClipTarget::Frozen, Some(teacher)) = (self.target, &target_encoder) {
            predictor.out = teacher.supervised().len() * teacher.config().width;
        }
        let predictor = predictor.init(&mut on.weights(1), &device);
        let predictor = if kind.rescale { predictor.rescaled() } else { predictor };
        let networks = ClipNetworks { encoder: network, predictor, target_encoder };
        let objective = MaskedClips {
            target: self.target,
            transform: self.target_transform,
            loss: self.loss,
            sigreg: self.sigreg,
            mask_token: kind.mask_token,
            context_loss: kind.context_loss,
            ema: self.ema,
            keep: self.keep,
            given,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok((objective, networks))
    }

    /// The frozen teacher that the settings name: of this kind, as wide and deep as its file says.
    fn teacher(&self, own: &ClipVitConfig, on: &On<'_, Clips>) -> Result<ClipVit, SystemError> {
        if self.teacher.is_empty() {
            return Err(SystemError::Setting(
                "`model.target` = \"frozen\" needs a teacher: name the folder of a run of clips, or its encoder.safetensors, with `model.teacher`"
                    .to_owned(),
            ));
        }
        let path = Path::new(&self.teacher);
        let path = if path.is_dir() { path.join("encoder.safetensors") } else { path.to_owned() };
        let tensors: NamedTensors = weights::read_file(&path)?;
        let wrong = |why: String| {
            SystemError::Setting(format!(
                "`model.teacher`: {} is no teacher of these clips: {why}. It must have learnt from clips of this shape with this `model.patch` and `model.tubelet`",
                path.display()
            ))
        };
        let first = |name: &str| tensors.get(name).and_then(|tensor| tensor.shape.first().copied());
        let (Some(width), Some(hidden)) = (first("patch_embed.proj.weight"), first("blocks.0.mlp.fc1.weight")) else {
            return Err(wrong("it holds no encoder of clips".to_owned()));
        };
        let depth =
            (0..tensors.len()).take_while(|i| tensors.contains_key(&format!("blocks.{i}.norm1.weight"))).count();
        let heads = match self.teacher_heads {
            Auto::Value(heads) => heads,
            Auto::Auto => width * own.heads / own.width.max(1),
        };
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(wrong(format!("its width {width} is no multiple of {heads} heads, see `model.teacher_heads`")));
        }
        let dense = own.dense.is_some().then(|| Dense::spread(depth));
        let config = ClipVitConfig { width, depth, heads, hidden, dense, ..own.clone() };
        weights::load_whole(config.init(&mut on.weights(2), on.device), tensors)
            .map_err(|error| wrong(error.to_string()))
    }

    /// What is found out about a trained network: the usual, what was hidden, and LiDAR.
    pub(crate) fn judge(&self, run: &Judging<'_, Clips>, kind: &Kind) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::dense(run)?);
        findings.extend(self.hidden(run, kind)?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }

    /// Who sees which tokens of some held-out clips, over time.
    fn hidden(&self, run: &Judging<'_, Clips>, kind: &Kind) -> Result<Option<Finding>, JudgeError> {
        let other = |error: SystemError| JudgeError::Other(error.to_string());
        let collator = self.collator(&run.on, kind).map_err(other)?;
        let samples = originals(run, SHOWN_CLIPS);
        if samples.is_empty() {
            return Ok(None);
        }
        let grid = collator.grid(collator.frames, collator.size);
        let sets = collator.masks.draw(grid, samples.len(), collator.seed, SHOWN);
        let sets = sets.map_err(|error| JudgeError::Other(error.to_string()))?;
        let area = grid.rows * grid.cols;
        let card = |(i, sample): (usize, &foretell_data::ClipSample)| {
            let mut rng = rng(collator.seed, Stream::Augment, SHOWN, i as u64);
            let view = sample.view(&collator.augment, collator.size, &mut rng);
            let strip = |(set, masks): (usize, &foretell_jepa::masks::tubes::TubeMasks)| {
                let classes = masks.picture(i, grid);
                let tile = |(at, classes): (usize, &[u8])| {
                    let frame = view.frames.get(at * collator.tubelet).and_then(rgb);
                    let marks = Marks { rows: grid.rows, columns: grid.cols, classes: classes.to_vec() };
                    Tile { grid: Some(marks), ..Tile::new(frame, "frame") }
                };
                let tiles = classes.chunks_exact(area).enumerate().map(tile).collect();
                let share = masks.target_of(i).len() as f64 / grid.len() as f64;
                Strip { name: format!("mask set {}", set + 1), note: format!("{:.0} % hidden", 100.0 * share), tiles }
            };
            let whole = Tile::new(view.frames.get(view.frames.len() / 2).and_then(rgb), "middle frame");
            Card { tiles: vec![whole], strips: sets.iter().enumerate().map(strip).collect() }
        };
        let cards = samples.iter().enumerate().map(card).collect();
        let legend = ["unused", "seen", "hidden"].map(str::to_owned).to_vec();
        Ok(Some(Finding::pictures(
            "masks",
            "What was hidden",
            "Each line shows a clip over time, one frame of each tubelet, under one of the step's mask sets. The context encoder sees \
             only the part without a tint; from it the predictor predicts the target's features of the rest.",
            Pictures { legend, cards },
        )))
    }
}

/// Clips whose masks are shown.
const SHOWN_CLIPS: usize = 4;
/// The step whose randomness draws them: no training step has this number.
const SHOWN: u64 = u64::MAX / 4;
