//! What the masked systems over sound have in common: lengths, masks and targets, and the networks that they make. A spectrogram is a
//! grid of patches, bands of frequency by moments; the composition is I-JEPA's.
//!
//! The settings are those of the design study of Riou et al. (2024, arXiv 2405.08679): which masks × whether the teacher's input or its
//! output is masked × which loss.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use foretell_data::sound::{SoundConfig, SoundSample, Sounds};
use foretell_data::{Auto, Decision};
use foretell_eval::{Card, Finding, Grid, Tile};
use foretell_jepa::AntiCollapse;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::{Keep, Masked, MaskedNetworks, OnGrid, Predicts};
use foretell_jepa::masks::SpectrogramMasks;
use foretell_jepa::spectrograms::SpectrogramCollator;
use foretell_jepa::target::{EmaConfig, TargetKind, TargetTransform};
use foretell_nn::parameters::change;
use foretell_nn::predictor::PredictorConfig;
use foretell_nn::vit::{Size, VitConfig};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::judges::{self, originals, rgb};
use crate::judging::Judging;
use crate::sizes::{Dials, Lengths, check_width, resolved, settle_average};
use crate::system::{JudgeError, On, SystemError};

/// How fresh weights are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// As transformers of images begin: truncated normal, no biases.
    #[default]
    Vit,
    /// PyTorch's own, uniform with biases: what the released Audio-JEPA begins with, whose initialisation is never called.
    Torch,
}

/// Settings that the masked systems over sound share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoundModel {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a patch, in bands and in moments.
    pub patch: Auto<usize>,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks of the encoder.
    pub depth: Auto<usize>,
    /// Attention heads, of the predictor too.
    pub heads: Auto<usize>,
    /// Width of the predictor.
    pub predictor_width: Auto<usize>,
    /// Blocks of the predictor.
    pub predictor_depth: Auto<usize>,
    /// How fresh weights are drawn.
    pub weights: Weights,
    /// Where targets come from.
    pub target: TargetKind,
    /// What is predicted of hidden tokens: `latents` of a teacher that sees all (its output is masked), or `latents-alone` of one that
    /// sees the hidden tokens and no others (its input is masked).
    pub predicts: Predicts,
    /// What becomes of the target's tokens before they are predicted.
    pub target_transform: TargetTransform,
    /// How predictions are held against targets.
    pub loss: LatentLoss,
    /// Whether all target blocks of a sample are predicted, and seen by a teacher whose input is masked, together.
    pub together: bool,
    /// Weight of SIGReg on the context's tokens; 0 in all published ones.
    pub sigreg: f64,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Who sees which tokens.
    pub masks: SpectrogramMasks,
    /// Decibels by which a recording is made louder or quieter at most.
    pub gain: f32,
    /// Share of tokens that in fine-tuning attend to nothing, drawn anew in each block (A-JEPA's regularised masking).
    pub spared: f64,
    /// The clock of the moving average.
    pub ema: EmaConfig,
}

impl Default for SoundModel {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
            predictor_width: Auto::Auto,
            predictor_depth: Auto::Auto,
            weights: Weights::Vit,
            target: TargetKind::Ema,
            predicts: Predicts::Latents,
            target_transform: TargetTransform::Standardise,
            loss: LatentLoss::SmoothL1,
            together: true,
            sigreg: 0.001,
            keep: Keep::Target,
            masks: SpectrogramMasks::default(),
            gain: 0.0,
            spared: 0.0,
            ema: EmaConfig::default(),
        }
    }
}

/// Directions along which tokens are looked at.
const SLICES: usize = 256;
/// Recordings whose masks are shown.
const SHOWN: usize = 6;
/// The step whose randomness draws them: no training step has this number.
const SHOWN_STEP: u64 = u64::MAX / 4;

impl SoundModel {
    /// Chooses what is open, says why, and builds the objective and fresh networks.
    pub fn made(
        &mut self,
        on: &On<'_, Sounds>,
        decisions: &mut Vec<Decision>,
    ) -> Result<(Masked<SpectrogramCollator>, MaskedNetworks), SystemError> {
        let form = on.config.form()?;
        self.resolve(on, form, decisions)?;
        self.build(on, form)
    }

    fn resolve(
        &mut self,
        on: &On<'_, Sounds>,
        (bands, frames): (usize, usize),
        decisions: &mut Vec<Decision>,
    ) -> Result<(), SystemError> {
        let dials =
            Dials { patch: &mut self.patch, width: &mut self.width, depth: &mut self.depth, heads: &mut self.heads };
        let Lengths { width, depth, .. } = dials.settle(self.size, || usual_patch(bands, frames), on, decisions);
        self.predictor_width.resolve("model.predictor_width", decisions, || {
            (width / 2, "half the encoder's width: the bottleneck".to_owned())
        });
        self.predictor_depth.resolve("model.predictor_depth", decisions, || {
            ((depth / 2).max(1), "half the encoder's depth".to_owned())
        });
        if self.target == TargetKind::Ema {
            return settle_average(&mut self.ema, on, decisions);
        }
        self.ema.resolve(on.steps, on.batch, decisions);
        Ok(())
    }

    fn check(&self, batch: usize) -> Result<(), SystemError> {
        let refuse = |message: String| Err(SystemError::Setting(message));
        if !(self.sigreg >= 0.0 && self.sigreg.is_finite()) {
            return refuse(format!("`model.sigreg` must be 0 or more, found {}", self.sigreg));
        }
        if !(0.0..=60.0).contains(&self.gain) {
            return refuse(format!("`model.gain` must be from 0 to 60 decibels, found {}", self.gain));
        }
        if !(0.0..1.0).contains(&self.spared) {
            return refuse(format!("`model.spared` must be a share from 0 to below 1, found {}", self.spared));
        }
        if resolved(self.predictor_depth) == 0 || resolved(self.depth) == 0 {
            return refuse("`model.depth` and `model.predictor_depth` must be 1 or more".to_owned());
        }
        if batch < 2 && self.target_transform == TargetTransform::Standardise {
            return refuse(
                "`train.batch` must be 2 or more where `model.target_transform` is \"standardise\", which looks at a batch: set \"layer-norm\" for one".to_owned(),
            );
        }
        Ok(())
    }

    /// Makes batches.
    pub(crate) fn collator(
        &self,
        (seed, steps): (u64, u64),
        data: &SoundConfig,
    ) -> Result<SpectrogramCollator, SystemError> {
        let ((bands, frames), patch) = (data.form()?, resolved(self.patch));
        check_patch(bands, frames, patch)?;
        let collator = SpectrogramCollator {
            seed,
            steps,
            bands,
            frames,
            patch,
            gain: self.gain,
            short: data.short,
            masks: self.masks.clone(),
            together: self.together,
            width: resolved(self.width),
            slices: if self.sigreg > 0.0 { SLICES } else { 0 },
        };
        self.masks.check(collator.grid())?;
        Ok(collator)
    }

    fn build(
        &self,
        on: &On<'_, Sounds>,
        (bands, frames): (usize, usize),
    ) -> Result<(Masked<SpectrogramCollator>, MaskedNetworks), SystemError> {
        self.check(on.batch)?;
        let collator = self.collator((on.seed, on.steps), on.config)?;
        let (width, heads, narrow) = (resolved(self.width), resolved(self.heads), resolved(self.predictor_width));
        check_width("encoder", width, heads)?;
        check_width("predictor", narrow, heads)?;
        let (usual, _, _, hidden) = self.size.dimensions();
        let patch = collator.patch;
        let vit = VitConfig {
            image: (bands, frames),
            patch,
            channels: 1,
            width,
            depth: resolved(self.depth),
            heads,
            hidden: if width == usual { hidden } else { 4 * width },
        };
        let predictor = PredictorConfig {
            grid: vit.grid(),
            encoder_width: width,
            width: narrow,
            depth: resolved(self.predictor_depth),
            heads,
            outputs: if self.predicts == Predicts::Pixels { patch * patch } else { width },
        };
        let device = on.learning();
        let encoder = vit.init(&mut on.weights(0), &device).sparing(self.spared, on.seed);
        let predictor = predictor.init(&mut on.weights(1), &device);
        let (encoder, predictor) = match self.weights {
            Weights::Vit => (encoder, predictor),
            Weights::Torch => (as_torch(encoder, on, 2), as_torch(predictor, on, 3)),
        };
        let networks =
            MaskedNetworks { target_encoder: encoder.valid(), encoder, predictor, head: None, target_head: None };
        let objective = Masked {
            target: self.target,
            predicts: self.predicts,
            transform: self.target_transform,
            loss: self.loss,
            neighbours: None,
            sigreg: self.sigreg,
            means: None::<(AntiCollapse, f64)>,
            ema: self.ema,
            keep: self.keep,
            keep_predictor: false,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok((objective, networks))
    }

    /// Who hears which tokens of some held-out recordings.
    pub(crate) fn masks(&self, run: &Judging<'_, Sounds>) -> Result<Option<Finding>, JudgeError> {
        let other = |error: SystemError| JudgeError::Other(error.to_string());
        let collator = self.collator((run.on.seed, run.on.steps), run.on.config).map_err(other)?;
        let (samples, grid) = (originals(run, SHOWN), collator.grid());
        // Of a curriculum the first recordings have masks of its beginning, the others of its end.
        let drawn = collator.masks.ends().map(|masks| masks.draw(grid, samples.len(), collator.seed, SHOWN_STEP, 1));
        let [early, late] = drawn.map(|masks| masks.map_err(|error| JudgeError::Other(error.to_string())));
        let (early, late) = (early?, late?);
        let card = |(i, sample): (usize, &SoundSample)| {
            let view = collator.view(sample, SHOWN_STEP, i as u64);
            let masks = if 2 * i < samples.len() { &early } else { &late };
            let classes = masks.picture(i, grid);
            let grid = Grid { rows: grid.rows, columns: grid.cols, classes };
            let tile = Tile { grid: Some(grid), ..Tile::new(rgb(&view.picture()), "") };
            Card { tiles: vec![tile], strips: Vec::new() }
        };
        let cards = samples.iter().enumerate().map(card).collect();
        Ok(judges::hidden_tiles(
            cards,
            "Spectrograms, high frequencies up and time to the right; beside each its mask. The context encoder hears only the part \
             without a tint; from it the predictor predicts the features of the targets.",
        ))
    }
}

/// The network with PyTorch's fresh weights: maps and their biases uniform in ±1/√I.
fn as_torch<M: Module>(network: M, on: &On<'_, Sounds>, number: u64) -> M {
    let mut rng = on.weights(number);
    let mut inputs = 1;
    change(network, &mut |parameter, old| {
        let is_map = parameter.shape.len() >= 2 && parameter.name.ends_with("weight");
        let is_bias = parameter.name.ends_with("bias") && !parameter.name.contains("norm");
        if is_map {
            inputs = parameter.shape[1..].iter().product::<usize>().max(1);
        }
        if !is_map && !is_bias {
            return old;
        }
        let (count, bound) = (parameter.shape.iter().product::<usize>(), 1.0 / (inputs as f32).sqrt());
        let values: Vec<f32> = (0..count).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)).collect();
        Tensor::from_data(TensorData::new(values, [count]), &old.device())
    })
}

/// The largest usual patch that divides bands and moments and leaves five tokens a side.
fn usual_patch(bands: usize, frames: usize) -> (usize, String) {
    let fits = |p: &usize| bands.is_multiple_of(*p) && frames.is_multiple_of(*p) && bands / p >= 5 && frames / p >= 5;
    let patch = [16, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
    (
        patch,
        format!(
            "the largest usual one that divides {bands} bands and {frames} moments and leaves 5 tokens a side: {} × {}",
            bands / patch,
            frames / patch
        ),
    )
}

fn check_patch(bands: usize, frames: usize, patch: usize) -> Result<(), SystemError> {
    let divides = |length: usize| length.is_multiple_of(patch) && length / patch >= 2;
    if patch > 0 && divides(bands) && divides(frames) {
        return Ok(());
    }
    let down = |length: usize| (length / patch.max(1)).max(2) * patch.max(1);
    Err(SystemError::Setting(format!(
        "spectrograms of {bands} bands and {frames} moments do not split into patches of {patch} × {patch}, at least two a side: set `data.mel.bands` to {} and `data.frames` to {}, or choose another `model.patch`",
        down(bands),
        down(frames)
    )))
}
