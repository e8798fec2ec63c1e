//! LeVJEPA (2026, arXiv 2608.27395): codes of several small views of a clip pulled to that of a whole one while SIGReg forces their
//! distribution to N(0, I). No moving average, no predictor; most tokens of every view are dropped.
//!
//! The composition is [`ClipViews`]; here are the settings. The defaults are ours; the released code's are [`LeVJepaConfig::official`].

use std::sync::Arc;

use foretell_data::{Augment, Auto, Clips, ClipsConfig, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::views::{ClipViews, ClipViewsCollator, ClipViewsNetworks};
use foretell_nn::clip_summary::SummaryVit;
use foretell_nn::clip_vit::{ClipVitConfig, Positions};
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::positions::{Rope, RopeStyle};
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::{Dials, Lengths, check_patch, check_width, resolved, usual_patch};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 32,
    name: "le-v-jepa",
    title: "LeVJEPA",
    one_line: "SIGReg over clips; most tokens dropped, no teacher, no predictor",
    papers: &["arXiv:2608.27395"],
    state: State::Partial("trains; short runs do not learn motion"),
};

/// Settings of LeVJEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeVJepaConfig {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a tubelet in pixels.
    pub patch: Auto<usize>,
    /// Frames of a tubelet.
    pub tubelet: usize,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks.
    pub depth: Auto<usize>,
    /// Attention heads.
    pub heads: Auto<usize>,
    /// How the values of a head share the angles of the rotary codes; see V-JEPA 2.
    pub rope: RopeStyle,
    /// Whether tokens attend to their own and earlier frames alone.
    pub causal: bool,
    /// Share of a frame's tokens that is dropped in training, of every view.
    pub drop: f64,
    /// λ in `invariance + λ SIGReg`; 0 collapses.
    pub lambda: f64,
    /// Directions of SIGReg.
    pub slices: usize,
    /// Small views of each clip.
    pub small_views: usize,
    /// Side of the small views in pixels.
    pub small_size: Auto<usize>,
    /// Hidden widths of the projector.
    pub projector: Vec<usize>,
    /// Width of the codes.
    pub code_width: usize,
    /// How the whole view is made, alike for all frames.
    pub whole: Augment,
    /// How small views are made, alike for all frames. A flip makes left and right the same: the released code's half is left out.
    pub small: Augment,
}

impl Default for LeVJepaConfig {
    fn default() -> Self {
        let small = Augment { crop_scale: (0.1, 0.4), ..Augment::coloured() };
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            tubelet: 1,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
            rope: RopeStyle::Interleaved,
            causal: true,
            drop: 0.75,
            lambda: 0.02,
            slices: 256,
            small_views: 4,
            small_size: Auto::Auto,
            projector: vec![512],
            code_width: 64,
            whole: Augment { crop_scale: (0.8, 1.0), crop_aspect: (0.75, 4.0 / 3.0), ..Augment::default() },
            small,
        }
    }
}

impl LeVJepaConfig {
    /// The released code's: tiled angles, 95 % of the tokens dropped, ten small views with flips, wide codes. Its networks are a ViT-B
    /// of 16 × 16 pixels. It drops tokens of the whole grid, here as many of each frame.
    pub fn official() -> Self {
        let ours = Self::default();
        Self {
            rope: RopeStyle::Tiled,
            drop: 0.95,
            slices: 1024,
            small_views: 10,
            projector: vec![2048],
            code_width: 256,
            small: Augment { crop_scale: (0.02, 0.4), flip: 0.5, ..ours.small.clone() },
            ..ours
        }
    }

    fn resolve(&mut self, on: &On<'_, Clips>, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let (_, image_size, _) = on.config.form()?;
        let dials =
            Dials { patch: &mut self.patch, width: &mut self.width, depth: &mut self.depth, heads: &mut self.heads };
        let Lengths { patch, .. } = dials.settle(self.size, || usual_patch(image_size), on, decisions);
        self.small_size.resolve("model.small_size", decisions, || {
            let unit = patch.max(1);
            ((image_size / 2 / unit).max(1) * unit, format!("half of {image_size} pixels: a quarter of the work"))
        });
        Ok(())
    }

    fn check(&self, frames: usize, size: usize) -> Result<(), SystemError> {
        for (table, augment) in [("model.whole", &self.whole), ("model.small", &self.small)] {
            augment.check().map_err(|error| error.under(table))?;
        }
        let (patch, small) = (resolved(self.patch), resolved(self.small_size));
        check_patch(size, patch)?;
        check_width("encoder", resolved(self.width), resolved(self.heads))?;
        let wrong = |why: String| Err(SystemError::Setting(why));
        if self.tubelet == 0 || !frames.is_multiple_of(self.tubelet) {
            return wrong(format!(
                "clips of {frames} frames do not split into tubelets of {}: set `data.frames` to a multiple of it, or choose another `model.tubelet`",
                self.tubelet
            ));
        }
        if self.small_views == 0 || small < patch || !small.is_multiple_of(patch) {
            return wrong(format!(
                "`model.small_views` must be 1 or more, found {}, and small views of {small} pixels must split into patches of {patch}: choose another `model.small_size`",
                self.small_views
            ));
        }
        if !(0.0..1.0).contains(&self.drop) {
            return wrong(format!("`model.drop` must lie in 0 ≤ x < 1, found {}", self.drop));
        }
        if !(self.lambda >= 0.0 && self.lambda.is_finite())
            || self.slices == 0
            || self.code_width == 0
            || self.projector.contains(&0)
        {
            return wrong(format!(
                "`model.lambda` must be 0 or more (found {}), and `model.slices`, `model.code_width` and every width of `model.projector` must be positive",
                self.lambda
            ));
        }
        Ok(())
    }
}

impl System for LeVJepaConfig {
    type Data = Clips;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 32, weight_decay: 0.04, final_weight_decay: 0.04, ..TrainConfig::default() }
    }

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ClipsConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(200)
    }

    fn init(&mut self, on: &On<'_, Clips>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        self.resolve(on, decisions)?;
        let (frames, size, channels) = on.config.form()?;
        self.check(frames, size)?;
        let (w, _, _, hidden) = self.size.dimensions();
        let width = resolved(self.width);
        let config = ClipVitConfig {
            patch: resolved(self.patch),
            tubelet: self.tubelet,
            channels,
            width,
            depth: resolved(self.depth),
            heads: resolved(self.heads),
            hidden: if width == w { hidden } else { 4 * width },
            eps: 1e-6,
            positions: Positions::Turned(Rope { style: self.rope, counted: None, spread: None }),
            dense: None,
        };
        let device = on.learning();
        let encoder = SummaryVit::new(&config, self.causal, &mut on.weights(0), &device);
        let widths: Vec<usize> =
            [width].into_iter().chain(self.projector.iter().copied()).chain([self.code_width]).collect();
        let projector = Projector::new(&widths, Activation::Gelu, &mut on.weights(1), &device);
        let collator = ClipViewsCollator {
            seed: on.seed,
            frames,
            size,
            small_size: resolved(self.small_size),
            small_views: self.small_views,
            tubelet: (self.tubelet, resolved(self.patch)),
            drop: self.drop,
            whole: self.whole.clone(),
            small: self.small.clone(),
            normalise: on.config.normalise.clone(),
            code_width: self.code_width,
            slices: self.slices,
        };
        let objective = ClipViews {
            lambda: self.lambda,
            causal: self.causal,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, ClipViewsNetworks { encoder, projector }))
    }

    fn judge(&self, run: &Judging<'_, Clips>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::dense(run)?);
        findings.push(judges::lidar(run)?);
        Ok(findings)
    }
}
