//! NEPA (arXiv 2512.16922): from the patches of an image up to one, predict the embedding of the next, as a language model predicts the
//! next word. Kept is the whole network; what labels make of it is read with attention in both directions.
//!
//! The objective is [`NextEmbedding`]; here are the settings. The defaults are ours; the released code's are [`NepaConfig::official`].

use std::sync::Arc;

use burn::module::Module;
use foretell_data::{Augment, Auto, Decision, Images, ImagesConfig};
use foretell_eval::Finding;
use foretell_jepa::next_embedding::{NextCollator, NextEmbedding, NextNetworks};
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_nn::causal_vit::{CausalVitConfig, Sight};
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::{Dials, Lengths, check_patch, check_width, settle_average, usual_patch};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 19,
    name: "nepa",
    title: "NEPA",
    one_line: "causal next-embedding prediction",
    papers: &["arXiv:2512.16922"],
    state: State::Partial("trains; foretells better than copying in one short run; not fine-tuned yet"),
};

/// Which network is kept after training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one that learns.
    #[default]
    Trained,
    /// A moving average of its weights, as released.
    Average,
}

/// How a patch embedding begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchStart {
    /// With weights of standard deviation 0.02, as released: whatever the patch, small beside what a step changes, so that the
    /// embedding learns as fast as the rest.
    #[default]
    Official,
    /// With unit variance out of unit variance in.
    UnitVariance,
}

/// Settings of NEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each switches one thing off that the paper finds to matter")]
pub struct NepaConfig {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a patch in pixels.
    pub patch: Auto<usize>,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks.
    pub depth: Auto<usize>,
    /// Attention heads.
    pub heads: Auto<usize>,
    /// A learnt token before the patches, from which the first patch is predicted.
    pub cls: bool,
    /// Whether targets are without gradient. Nothing else prevents collapse: an ablation.
    pub stop_gradient: bool,
    /// Whether the next embedding is predicted, or each position's own: an ablation.
    pub shift: bool,
    /// Whether a token sees only itself and those before it, or also what it is to predict: an ablation.
    pub causal: bool,
    /// Whether queries and keys are normalised.
    pub qk_norm: bool,
    /// What each residual branch is multiplied by at the start; 0: no factors.
    pub layer_scale: f64,
    /// ε of the layer norms.
    pub norm_eps: f64,
    /// How the patch embedding begins.
    pub patch_start: PatchStart,
    /// Largest factor by which the places of a batch's patches are stretched or shrunk; 1: they are not.
    pub stretch: f64,
    /// What a token sees when the network is fine-tuned, by `foretell probe RUN --probe finetune`.
    pub tuned: Sight,
    /// Which network is kept.
    pub keep: Keep,
    /// The clock of the moving average, where it is kept.
    pub ema: EmaConfig,
    /// How the view is made.
    pub augment: Augment,
}

impl Default for NepaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
            cls: true,
            stop_gradient: true,
            shift: true,
            causal: true,
            qk_norm: true,
            layer_scale: 1e-5,
            norm_eps: 1e-6,
            patch_start: PatchStart::Official,
            stretch: 1.0,
            tuned: Sight::Both,
            keep: Keep::Trained,
            ema: EmaConfig::default(),
            augment: Augment {
                crop_scale: (0.3, 1.0),
                crop_aspect: (0.75, 4.0 / 3.0),
                flip: 0.5,
                ..Augment::default()
            },
        }
    }
}

impl NepaConfig {
    /// The released code's: a ViT-B, places stretched by up to 2, an average of the weights with momentum 0.9999. It trains with
    /// `data.image_size = 224`, `model.patch = 14`, pixels at mean and deviation ½, `train.lr = 4.8e-3` for a batch of 4096,
    /// `train.warmup = 0.025`, 1600 epochs of ImageNet.
    pub fn official() -> Self {
        let ours = Self::default();
        Self {
            size: Size::Base,
            patch: Auto::Value(14),
            depth: Auto::Value(12),
            norm_eps: 1e-12,
            stretch: 2.0,
            keep: Keep::Average,
            ema: EmaConfig { schedule: EmaSchedule::Constant { momentum: 0.9999 }, ..EmaConfig::default() },
            augment: Augment { crop_scale: (0.2, 1.0), ..ours.augment.clone() },
            ..ours
        }
    }
}

impl System for NepaConfig {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    /// The released decay and second moment.
    fn train() -> TrainConfig {
        TrainConfig { weight_decay: 0.05, final_weight_decay: 0.05, beta2: 0.95, ..TrainConfig::default() }
    }

    /// A few minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ImagesConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (image_size, channels) = on.config.form()?;
        let dials =
            Dials { patch: &mut self.patch, width: &mut self.width, depth: &mut self.depth, heads: &mut self.heads };
        let Lengths { patch, width, depth, heads, hidden } =
            dials.settle(self.size, || usual_patch(image_size), on, decisions);
        if self.keep == Keep::Average {
            settle_average(&mut self.ema, on, decisions)?;
        }
        check_patch(image_size, patch)?;
        check_width("encoder", width, heads)?;
        self.check(width, depth, heads)?;
        let vit = CausalVitConfig {
            image: (image_size, image_size),
            patch,
            channels,
            width,
            depth,
            heads,
            hidden,
            eps: self.norm_eps,
            cls: self.cls,
            qk_norm: self.qk_norm,
            layer_scale: self.layer_scale,
            patch_std: (self.patch_start == PatchStart::Official).then_some(0.02),
            sight: if self.causal { Sight::Causal } else { Sight::Both },
            tuned: self.tuned,
        };
        let collator = NextCollator {
            seed: on.seed,
            size: image_size,
            patch,
            augment: self.augment.clone(),
            normalise: on.config.normalise.clone(),
            stretch: self.stretch,
        };
        let encoder = vit.init(&mut on.weights(0), &on.learning());
        let average = (self.keep == Keep::Average).then(|| encoder.valid());
        let objective = NextEmbedding {
            stop_gradient: self.stop_gradient,
            shift: self.shift,
            ema: self.ema,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, NextNetworks { encoder, average }))
    }

    /// The usual, LiDAR, and how well the next embedding is predicted.
    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::next_embedding(run)?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}

impl NepaConfig {
    /// An error if a setting is out of its range.
    fn check(&self, width: usize, depth: usize, heads: usize) -> Result<(), SystemError> {
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        let wrong = |message: String| Err(SystemError::Setting(message));
        if depth == 0 {
            return wrong("`model.depth` must be at least 1, found 0".to_owned());
        }
        if !(width / heads).is_multiple_of(4) {
            return wrong(format!(
                "a head of {} values cannot be turned by row and column: `model.width` ({width}) must be {heads} heads (`model.heads`) of a multiple of 4",
                width / heads
            ));
        }
        for (key, value, least) in
            [("layer_scale", self.layer_scale, 0.0), ("stretch", self.stretch, 1.0), ("norm_eps", self.norm_eps, 0.0)]
        {
            if !(value >= least && value.is_finite()) || (key == "norm_eps" && value == 0.0) {
                let of = if key == "norm_eps" { "above 0".to_owned() } else { format!("{least} or more") };
                return wrong(format!("`model.{key}` must be {of}, found {value}"));
            }
        }
        Ok(())
    }
}
