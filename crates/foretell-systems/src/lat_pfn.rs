//! LaT-PFN (Verdenius et al., 2024, arXiv 2405.10093): forecasts of series that it was never trained on, from a few others like them. It
//! learns from synthetic families alone; the data that it is given are what it is judged on.
//!
//! The objective is [`PriorFitted`]; here are the settings. The defaults are ours; the released code's are [`LatPfnSettings::official`].

use std::sync::Arc;

use burn::module::Module;
use foretell_data::series::{Periods, PriorConfig, SHAPE_NUMBERS, Series, SeriesConfig};
use foretell_data::{Auto, Decision, Part};
use foretell_eval::Finding;
use foretell_jepa::lat_pfn::{FamilyCollator, LatPfnNetworks, PriorFitted, Spans, TeacherClock, Weights};
use foretell_jepa::target::{EmaConfig, TargetTransform};
use foretell_nn::lat_pfn::LatPfnConfig;
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::settle_average;
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 26,
    name: "lat-pfn",
    title: "LaT-PFN",
    one_line: "forecasting in latent space from context series",
    papers: &["arXiv:2405.10093"],
    state: State::Partial("trains; not measured yet"),
};

/// What becomes of the teacher's latents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// Layer normalisation without weights: what predicts ends in one.
    #[default]
    LayerNorm,
    /// As they come: the released code.
    Official,
}

/// Settings of LaT-PFN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LatPfnSettings {
    /// The dial that sets the width: 64, 128, and from `base` on the released 512.
    pub size: Size,
    /// Width of the latents.
    pub width: Auto<usize>,
    /// Convolutions behind the first, each of twice the dilation before it.
    pub dilations: Auto<usize>,
    /// Attention heads.
    pub heads: usize,
    /// Layers over context summaries, and over what is asked.
    pub layers: usize,
    /// Bins between -3.5 and 3.5 of a series' scale.
    pub bins: usize,
    /// Steps that are seen of a series.
    pub history: Auto<usize>,
    /// Steps that are asked for.
    pub horizon: Auto<usize>,
    /// Context series, at most.
    pub context: usize,
    /// Whether each step draws how many context series there are.
    pub vary_context: bool,
    /// Series of a family that are forecast.
    pub held_out: usize,
    /// Where families come from.
    pub prior: PriorConfig,
    /// Weights of the terms.
    pub weights: Weights,
    /// Whether the head's gradient stops before what predicts, as published; otherwise bins are what all of it learns from: an ablation.
    pub detached: bool,
    /// What becomes of the teacher's latents.
    pub targets: Targets,
    /// The teacher's moving average.
    pub ema: EmaConfig,
    /// Whether it follows by `ema` all along, or by the released clock.
    pub clock: TeacherClock,
}

impl Default for LatPfnSettings {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            width: Auto::Auto,
            dilations: Auto::Auto,
            heads: 4,
            layers: 2,
            bins: 100,
            history: Auto::Auto,
            horizon: Auto::Auto,
            context: 8,
            vary_context: true,
            held_out: 2,
            prior: PriorConfig::default(),
            weights: Weights::default(),
            detached: true,
            targets: Targets::LayerNorm,
            ema: EmaConfig::default(),
            clock: TeacherClock::Ema,
        }
    }
}

impl LatPfnSettings {
    /// The released code's: 180 steps seen and 60 asked for, 16 context series, calendar seasons, a teacher that freezes after a tenth of the
    /// run. It trains with batches of 32 families, `train.lr = 9e-4`, weight decay 1.77e-4 to 4.9e-2, 250,000 steps; without its µP and its
    /// restarts of the rate.
    pub fn official() -> Self {
        Self {
            width: Auto::Value(512),
            dilations: Auto::Value(8),
            layers: 3,
            history: Auto::Value(180),
            horizon: Auto::Value(60),
            context: 16,
            vary_context: false,
            held_out: 4,
            prior: PriorConfig { periods: Periods::Official, ..PriorConfig::default() },
            weights: Weights::official(),
            targets: Targets::Official,
            clock: TeacherClock::official(),
            ..Self::default()
        }
    }

    fn check(&self, width: usize, spans: Spans) -> Result<(), SystemError> {
        let wrong = |message: String| Err(SystemError::Setting(message));
        if width == 0 || self.heads == 0 || !width.is_multiple_of(self.heads) {
            return wrong(format!(
                "a width of {width} does not split into {} heads: make `model.width` a multiple of `model.heads`",
                self.heads
            ));
        }
        let counts = [("layers", self.layers), ("context", self.context), ("held_out", self.held_out)];
        if let Some((key, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return wrong(format!("`model.{key}` is 0: at least 1 is needed"));
        }
        if self.bins < 2 {
            return wrong(format!("`model.bins` must be 2 or more, found {}", self.bins));
        }
        for (key, value, least) in [("history", spans.history, 4), ("horizon", spans.horizon, 1)] {
            if !(least..=1 << 14).contains(&value) {
                return wrong(format!("`model.{key}` must be {least} to 16384 steps, found {value}"));
            }
        }
        let Weights { bins, latent, numbers } = self.weights;
        for (key, value) in [("bins", bins), ("latent", latent), ("numbers", numbers)] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(format!("`model.weights.{key}` must be 0 or more, found {value}"));
            }
        }
        if let TeacherClock::Official { start, share } = self.clock
            && !((0.0..=1.0).contains(&start) && share > 0.0 && share <= 1.0)
        {
            return wrong(format!(
                "`model.clock.start` must lie in 0 to 1 and `model.clock.share` above 0 up to 1, found {start} and {share}"
            ));
        }
        self.prior.check().map_err(|error| error.under("model.prior"))?;
        Ok(())
    }
}

/// Steps of a whole series, where the data have as many.
const STEPS: usize = 288;

impl System for LatPfnSettings {
    type Data = Series;
    const ROW: &'static Row = &ROW;

    /// The released rate and decay. A batch is so many families.
    fn train() -> TrainConfig {
        TrainConfig { batch: 4, lr: 9e-4, weight_decay: 1.77e-4, final_weight_decay: 4.9e-2, ..TrainConfig::default() }
    }

    /// Whatever the data: they are no part of the training.
    fn usual_steps(_: &SeriesConfig, _: Option<usize>) -> Option<u64> {
        Some(600)
    }

    fn init(&mut self, on: &On<'_, Series>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let size = self.size;
        let width = self.width.resolve("model.width", decisions, || {
            let width = match size {
                Size::Tiny => 64,
                Size::Small => 128,
                _ => 512,
            };
            (width, format!("size = {size:?}").to_lowercase())
        });
        let longest = if on.config.steps.1 == 0 { STEPS } else { on.config.steps.1 };
        let whole = STEPS.min(longest).max(5);
        let horizon = self.horizon.resolve("model.horizon", decisions, || {
            ((whole / 3).max(1), format!("a third of {whole} steps; series have {longest}"))
        });
        let history = self.history.resolve("model.history", decisions, || {
            (whole.saturating_sub(horizon).max(4), format!("what is left of {whole} steps"))
        });
        let spans = Spans { history, horizon };
        self.check(width, spans)?;
        if let Some(data) = on.data {
            let channels = data.config().channels();
            let enough = data.stretches(Part::HeldOut, history, horizon, 8);
            let reason = if channels != 1 {
                Some(format!("series of one channel are forecast, and these have {channels} (`data.separate`)"))
            } else if enough.iter().filter(|stretch| stretch.history.steps() == history).count() < 2 {
                Some(format!(
                    "fewer than two stretches of {} steps (`model.history` and `model.horizon`) are held out",
                    spans.steps()
                ))
            } else {
                None
            };
            decisions.extend(reason.map(|reason| Decision {
                what: "forecasts of these data".to_owned(),
                value: "none".to_owned(),
                reason,
            }));
        }
        let dilations = self.dilations.resolve("model.dilations", decisions, || {
            let steps = spans.steps();
            (steps.ilog2().min(8) as usize, format!("the widest reaches across {steps} steps, 8 at most as released"))
        });
        if dilations > 20 {
            return Err(SystemError::Setting(format!("`model.dilations` must be 20 or less, found {dilations}")));
        }
        if self.clock == TeacherClock::Ema {
            settle_average(&mut self.ema, on, decisions)?;
        }
        let config = LatPfnConfig {
            width,
            dilations,
            heads: self.heads,
            hidden: 4 * width,
            layers: self.layers,
            bins: self.bins,
            numbers: SHAPE_NUMBERS,
        };
        let model = config.init(&mut on.weights(0), &on.learning());
        let networks = LatPfnNetworks { target_embedder: model.embedder.valid(), model };
        let collator = FamilyCollator {
            seed: on.seed,
            prior: self.prior,
            spans,
            context: self.context,
            vary: self.vary_context,
            held_out: self.held_out,
            bins: self.bins,
            width,
        };
        let objective = PriorFitted {
            weights: self.weights,
            detached: self.detached,
            transform: (self.targets == Targets::LayerNorm).then_some(TargetTransform::LayerNorm),
            ema: self.ema,
            clock: self.clock,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, networks))
    }

    /// Latents against bins alone, and the released clock and targets.
    fn ablations(&self) -> Vec<Ablation> {
        let own = |name, settings: &[&str], about| Ablation::new(name, ROW.name, settings, about);
        vec![
            own("latents", &[], "as it is set"),
            own("bins", &["model.detached=false"], "bins are what all of it learns from"),
            own("one-context", &["model.context=1"], "a single context series in training"),
            own("calendar", &["model.prior.periods=official"], "seasons of the calendar alone, as published"),
            own(
                "official-clock",
                &["model.clock.kind=official", "model.clock.start=0.9952", "model.clock.share=0.095"],
                "a teacher that is frozen for nine tenths of the run, as released",
            ),
        ]
    }

    /// What summaries know of labels, zero-shot forecasts, and what context series are worth.
    fn judge(&self, run: &Judging<'_, Series>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::described(run)?;
        findings.extend(judges::zero_shot(run, self.context)?);
        Ok(findings)
    }
}
