//! I-JEPA (Assran et al., 2023, arXiv 2301.08243): from one context block of an image, predict the teacher's features of
//! several target blocks. No view augmentation but a crop.
//!
//! The composition is [`Masked`](crate::masked); here are the settings. The defaults are ours; the released code's are
//! `masks.kind = "official"`, `target_transform = "layer-norm"`, `sigreg = 0` and `ema.schedule = { kind = "ramp", start = 0.996 }`.

use std::sync::Arc;

use burn::module::Module;
use foretell_data::Augment;
use foretell_data::random::{Stream, rng};
use foretell_nn::predictor::PredictorConfig;
use foretell_nn::vit::{Size, VitConfig};
use serde::{Deserialize, Serialize};

use super::{Setting, SystemError, check_patch, check_width, usual_patch};
use crate::masked::{Keep, Masked, MaskedCollator, MaskedNetworks};
use crate::masks::MaskConfig;
use crate::target::{EmaConfig, TargetKind, TargetTransform};
use crate::{Auto, Decision};

/// Settings of I-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IJepaConfig {
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
    /// Blocks of the predictor.
    pub predictor_depth: Auto<usize>,
    /// Where targets come from.
    pub target: TargetKind,
    /// What becomes of the target's tokens before they are predicted.
    pub target_transform: TargetTransform,
    /// Weight of SIGReg on the context's tokens: keeps dimensions from following a few. The released code has none: 0.
    pub sigreg: f64,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Who sees which tokens.
    pub masks: MaskConfig,
    /// The clock of the moving average.
    pub ema: EmaConfig,
    /// How the view is made: the released code has a crop alone.
    pub augment: Augment,
}

impl Default for IJepaConfig {
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
            target_transform: TargetTransform::default(),
            sigreg: 0.001,
            keep: Keep::Target,
            masks: MaskConfig::default(),
            ema: EmaConfig::default(),
            augment: Augment { crop_scale: (0.3, 1.0), crop_aspect: (0.75, 4.0 / 3.0), ..Augment::default() },
        }
    }
}

impl IJepaConfig {
    /// Chooses what is open, and says why.
    pub fn resolve(&mut self, setting: &Setting, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let (width, depth, heads, _) = self.size.dimensions();
        self.patch.resolve("model.patch", decisions, || usual_patch(setting.image_size));
        let size = self.size;
        let of_size = move |value: usize| (value, format!("size = {size:?}").to_lowercase());
        let width = self.width.resolve("model.width", decisions, || of_size(width));
        let depth = self.depth.resolve("model.depth", decisions, || {
            if setting.on_cpu {
                (depth.min(6), "on a CPU: twice the images in the same time".to_owned())
            } else {
                of_size(depth)
            }
        });
        self.heads.resolve("model.heads", decisions, || of_size(heads));
        self.predictor_width.resolve("model.predictor_width", decisions, || {
            (width / 2, "half the encoder's width: the bottleneck".to_owned())
        });
        self.predictor_depth.resolve("model.predictor_depth", decisions, || {
            ((depth / 2).max(1), "half the encoder's depth".to_owned())
        });
        self.ema.resolve(setting.total_steps, setting.batch, decisions);
        let left = self.ema.initial_teacher_left(setting.total_steps, setting.total_steps, setting.batch);
        if self.target == TargetKind::Ema && left > self.ema.initial_teacher_limit {
            return Err(SystemError::Setting(format!(
                "{:.1} % of the random initial teacher would be left after {} steps, over the limit of {:.1} %: the kept encoder would be partly noise. Train for longer, shorten the average with `--set model.ema.schedule.samples=N`, or raise `--set model.ema.initial_teacher_limit=F`",
                100.0 * left,
                setting.total_steps,
                100.0 * self.ema.initial_teacher_limit
            )));
        }
        Ok(())
    }

    /// The objective, with fresh networks. Everything must be resolved.
    pub fn init(&self, setting: &Setting) -> Result<Masked, SystemError> {
        let resolved = |value: Auto<usize>| match value {
            Auto::Value(value) => value,
            Auto::Auto => 0,
        };
        let (patch, width, heads) = (resolved(self.patch), resolved(self.width), resolved(self.heads));
        let predictor_width = resolved(self.predictor_width);
        check_patch(setting.image_size, patch)?;
        check_width("encoder", width, heads)?;
        check_width("predictor", predictor_width, heads)?;
        if !(self.sigreg >= 0.0 && self.sigreg.is_finite()) {
            return Err(SystemError::Setting(format!("`model.sigreg` must be 0 or more, found {}", self.sigreg)));
        }
        self.augment.check().map_err(|e| SystemError::Setting(e.to_string()))?;
        let collator = MaskedCollator {
            seed: setting.seed,
            size: setting.image_size,
            patch,
            augment: self.augment.clone(),
            normalise: setting.normalise.clone(),
            masks: self.masks.clone(),
            width,
            slices: if self.sigreg > 0.0 { 256 } else { 0 },
        };
        self.masks.check(collator.grid())?;
        let (w, _, _, hidden) = self.size.dimensions();
        let vit = VitConfig {
            image: (setting.image_size, setting.image_size),
            patch,
            channels: setting.channels,
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
        };
        let device = setting.device.clone().autodiff();
        let encoder = vit.init(&mut rng(setting.seed, Stream::Init, 0, 0), &device);
        let predictor = predictor.init(&mut rng(setting.seed, Stream::Init, 0, 1), &device);
        Ok(Masked {
            target_encoder: encoder.valid(),
            networks: MaskedNetworks { encoder, predictor },
            target: self.target,
            transform: self.target_transform,
            sigreg: self.sigreg,
            ema: self.ema,
            keep: self.keep,
            collator: Arc::new(collator),
            device: setting.device.clone(),
        })
    }
}
