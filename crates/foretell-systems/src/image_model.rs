//! What the masked systems over images have in common: lengths, masks and targets, and the networks that they make. The defaults are ours;
//! the released I-JEPA's are `masks.kind = "official"`, `target_transform = "layer-norm"`, `sigreg = 0` and
//! `ema.schedule = { kind = "ramp", start = 0.996 }`.

use std::sync::Arc;

use burn::module::Module;
use foretell_data::{Augment, Auto, Decision, Images, ImagesConfig};
use foretell_eval::{Card, Finding, Grid, Tile};
use foretell_jepa::AntiCollapse;
use foretell_jepa::action;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::{Keep, Masked, MaskedCollator, MaskedNetworks, Predicts};
use foretell_jepa::masks::{MaskConfig, OfficialMasks};
use foretell_jepa::neighbours::Nearby;
use foretell_jepa::target::{EmaConfig, EmaSchedule, TargetKind, TargetTransform};
use foretell_nn::aggregation::Aggregation;
use foretell_nn::conditioner::{Conditioner, Conditioning};
use foretell_nn::predictor::PredictorConfig;
use foretell_nn::vit::{Size, VitConfig};
use serde::{Deserialize, Serialize};

use crate::judges::{self, originals, rgb};
use crate::judging::Judging;
use crate::sizes::{Dials, Lengths, check_patch, check_term, check_width, resolved, settle_average, usual_patch};
use crate::system::{JudgeError, On, SystemError};

/// Settings that the masked systems over images share: those of I-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageModel {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a patch in pixels.
    pub patch: Auto<usize>,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks of the encoder.
    pub depth: Auto<usize>,
    /// Attention heads, of the predictor too (as released).
    pub heads: Auto<usize>,
    /// Width of the predictor.
    pub predictor_width: Auto<usize>,
    /// Blocks of the predictor; 0: there is none, and the mean of the context's tokens stands for every hidden one (an ablation).
    pub predictor_depth: Auto<usize>,
    /// Where targets come from.
    pub target: TargetKind,
    /// What is predicted of hidden tokens.
    pub predicts: Predicts,
    /// What becomes of the target's tokens before they are predicted.
    pub target_transform: TargetTransform,
    /// Weight of SIGReg on the context's tokens: keeps dimensions from following a few. The released code has none: 0.
    pub sigreg: f64,
    /// A term on the mean prediction and the mean target of each sample. VICReg makes I-JEPA C-JEPA (arXiv 2410.19560).
    pub anti_collapse: AntiCollapse,
    /// Its weight.
    pub anti_collapse_weight: f64,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Who sees which tokens.
    pub masks: MaskConfig,
    /// The clock of the moving average.
    pub ema: EmaConfig,
    /// How the view is made: the released code has a crop alone.
    pub augment: Augment,
}

impl Default for ImageModel {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
            predictor_width: Auto::Auto,
            predictor_depth: Auto::Auto,
            target: TargetKind::Ema,
            predicts: Predicts::default(),
            target_transform: TargetTransform::default(),
            sigreg: 0.001,
            anti_collapse: AntiCollapse::None,
            anti_collapse_weight: 0.001,
            keep: Keep::Target,
            masks: MaskConfig::default(),
            ema: EmaConfig::default(),
            augment: Augment { crop_scale: (0.3, 1.0), crop_aspect: (0.75, 4.0 / 3.0), ..Augment::default() },
        }
    }
}

/// What tells the systems apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// How predictions are held against targets.
    pub loss: LatentLoss,
    /// Whether what is seen has colours of its own.
    pub coloured: bool,
    /// How the predictor is told what lies between the two, where it is.
    pub condition: Option<Conditioning>,
    /// Whether all blocks are predicted together.
    pub together: bool,
    /// Whose tokens are gathered into targets.
    pub neighbours: Option<Nearby>,
    /// Whether the predictor is kept, and as deep as the encoder where nothing is said.
    pub keep_predictor: bool,
}

impl Default for Kind {
    /// I-JEPA.
    fn default() -> Self {
        Self {
            loss: LatentLoss::SmoothL1,
            coloured: false,
            condition: None,
            together: false,
            neighbours: None,
            keep_predictor: false,
        }
    }
}

/// Directions along which tokens are looked at.
const SLICES: usize = 256;
/// Images whose masks are shown.
const MASKED: usize = 6;
/// The step whose randomness draws them: no training step has this number.
const SHOWN: u64 = u64::MAX / 4;

impl ImageModel {
    /// What the released I-JEPA has and the others took from it: its masks, targets without a batch's statistics, no SIGReg, a ramp.
    pub(crate) fn official() -> Self {
        Self {
            target_transform: TargetTransform::LayerNorm,
            sigreg: 0.0,
            masks: MaskConfig::Official(OfficialMasks::default()),
            ema: EmaConfig { schedule: EmaSchedule::Ramp { start: 0.996 }, ..EmaConfig::default() },
            ..Self::default()
        }
    }

    /// Chooses what is open, says why, and builds the objective and fresh networks.
    pub(crate) fn made(
        &mut self,
        on: &On<'_, Images>,
        kind: &Kind,
        decisions: &mut Vec<Decision>,
    ) -> Result<(Masked, MaskedNetworks), SystemError> {
        let (image_size, channels) = on.config.form()?;
        self.resolve(on, image_size, kind, decisions)?;
        self.build(on, (image_size, channels), kind)
    }

    fn resolve(
        &mut self,
        on: &On<'_, Images>,
        image_size: usize,
        kind: &Kind,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), SystemError> {
        let dials =
            Dials { patch: &mut self.patch, width: &mut self.width, depth: &mut self.depth, heads: &mut self.heads };
        let Lengths { width, depth, .. } = dials.settle(self.size, || usual_patch(image_size), on, decisions);
        self.predictor_width.resolve("model.predictor_width", decisions, || {
            (width / 2, "half the encoder's width: the bottleneck".to_owned())
        });
        self.predictor_depth.resolve("model.predictor_depth", decisions, || {
            if kind.keep_predictor {
                (depth, "the encoder's: what changes a picture takes depth to predict".to_owned())
            } else {
                ((depth / 2).max(1), "half the encoder's depth".to_owned())
            }
        });
        if self.target == TargetKind::Ema {
            return settle_average(&mut self.ema, on, decisions);
        }
        self.ema.resolve(on.steps, on.batch, decisions);
        Ok(())
    }

    /// Makes batches.
    pub(crate) fn collator(&self, seed: u64, data: &ImagesConfig, kind: &Kind) -> Result<MaskedCollator, SystemError> {
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        let (size, _) = data.form()?;
        let collator = MaskedCollator {
            seed,
            size,
            patch: resolved(self.patch),
            augment: self.augment.clone(),
            normalise: data.normalise.clone(),
            coloured: kind.coloured,
            masks: self.masks.clone(),
            together: kind.together,
            width: resolved(self.width),
            slices: if self.sigreg > 0.0 { SLICES } else { self.anti_collapse.directions(SLICES) },
        };
        self.masks.check(collator.grid())?;
        Ok(collator)
    }

    /// The objective, and fresh networks. Everything must be resolved.
    fn build(
        &self,
        on: &On<'_, Images>,
        (image_size, channels): (usize, usize),
        kind: &Kind,
    ) -> Result<(Masked, MaskedNetworks), SystemError> {
        let (patch, width, heads) = (resolved(self.patch), resolved(self.width), resolved(self.heads));
        let predictor_width = resolved(self.predictor_width);
        check_patch(image_size, patch)?;
        check_width("encoder", width, heads)?;
        check_width("predictor", predictor_width, heads)?;
        if !(self.sigreg >= 0.0 && self.sigreg.is_finite()) {
            return Err(SystemError::Setting(format!("`model.sigreg` must be 0 or more, found {}", self.sigreg)));
        }
        if !(self.anti_collapse_weight >= 0.0 && self.anti_collapse_weight.is_finite()) {
            return Err(SystemError::Setting(format!(
                "`model.anti_collapse_weight` must be 0 or more, found {}",
                self.anti_collapse_weight
            )));
        }
        check_term(self.anti_collapse, on.batch)?;
        let bare = self.predictor_depth == Auto::Value(0);
        if self.predicts == Predicts::Pixels && bare {
            return Err(SystemError::Setting(
                "`model.predicts` is pixels and `model.predictor_depth` 0: without a predictor latents alone can be predicted".to_owned(),
            ));
        }
        if (kind.keep_predictor || kind.neighbours.is_some()) && (self.predicts != Predicts::Latents || bare) {
            return Err(SystemError::Setting(
                "`model.predicts` must be latents and `model.predictor_depth` 1 or more here: other targets and no predictor are ablations of i-jepa".to_owned(),
            ));
        }
        let collator = self.collator(on.seed, on.config, kind)?;
        let (w, _, _, hidden) = self.size.dimensions();
        let vit = VitConfig {
            image: (image_size, image_size),
            patch,
            channels,
            width,
            depth: resolved(self.depth),
            heads,
            hidden: if width == w { hidden } else { 4 * width },
        };
        let predictor = PredictorConfig {
            grid: vit.grid(),
            encoder_width: width,
            width: predictor_width,
            depth: resolved(self.predictor_depth),
            heads,
            outputs: if self.predicts == Predicts::Pixels { channels * patch * patch } else { width },
        };
        let device = on.learning();
        let encoder = vit.init(&mut on.weights(0), &device);
        let mut predictor = predictor.init(&mut on.weights(1), &device);
        predictor.condition = kind.condition.map(|condition| {
            Conditioner::new(condition, action::NUMBERS, predictor_width, &mut on.weights(2), &device)
        });
        let head = kind.neighbours.map(|_| Aggregation::new(width, heads, vit.hidden, &mut on.weights(3), &device));
        let target_head = head.as_ref().map(Module::valid);
        let networks = MaskedNetworks { target_encoder: encoder.valid(), encoder, predictor, head, target_head };
        let objective = Masked {
            target: self.target,
            predicts: self.predicts,
            transform: self.target_transform,
            loss: kind.loss,
            neighbours: kind.neighbours,
            sigreg: self.sigreg,
            means: (self.anti_collapse != AntiCollapse::None)
                .then_some((self.anti_collapse, self.anti_collapse_weight)),
            ema: self.ema,
            keep: self.keep,
            keep_predictor: kind.keep_predictor,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok((objective, networks))
    }

    /// Who sees which tokens of some held-out images.
    pub(crate) fn masks(&self, run: &Judging<'_, Images>, kind: &Kind) -> Result<Option<Finding>, JudgeError> {
        let other = |error: SystemError| JudgeError::Other(error.to_string());
        let collator = self.collator(run.on.seed, run.on.config, kind).map_err(other)?;
        let (samples, grid) = (originals(run, MASKED), collator.grid());
        let drawn = collator.masks.draw(grid, samples.len(), collator.seed, SHOWN);
        let masks = drawn.map_err(|error| JudgeError::Other(error.to_string()))?;
        let card = |(i, sample): (usize, &foretell_data::Sample)| {
            let (view, source) = collator.views(&sample.image, SHOWN, i as u64);
            let grid = Grid { rows: grid.rows, columns: grid.cols, classes: masks.picture(i, grid) };
            // Where what is seen looks otherwise it stands beside what is predicted of it.
            let target = source.as_ref().map(|_| Tile::new(rgb(&view), "target"));
            let (view, name) = source.map_or((view, ""), |(view, _)| (view, "source"));
            let tiles = [Tile { grid: Some(grid), ..Tile::new(rgb(&view), name) }].into_iter().chain(target).collect();
            Card { tiles, strips: Vec::new() }
        };
        let cards = samples.iter().enumerate().map(card).collect();
        Ok(judges::hidden_tiles(
            cards,
            "Left the sample, right its mask. The context encoder sees only the part without a tint; from it the \
             predictor predicts the features of the targets.",
        ))
    }
}
