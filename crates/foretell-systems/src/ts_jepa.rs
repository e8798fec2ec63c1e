//! TS-JEPA (Ennadir et al., 2025, arXiv 2509.25449): hidden patches of a series predicted, in latent space, from those that are seen.
//!
//! The objective is [`MaskedSeries`]; here are the settings. The defaults are ours; the released code's, its gather that trains on one
//! series of a batch included, are [`TsJepaConfig::official`].

use std::sync::Arc;

use burn::module::Module;
use foretell_data::series::{Series, SeriesConfig};
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::Keep;
use foretell_jepa::series::masked::{Gathers, MaskedSeries, Predicts, SeriesCollator, SeriesNetworks, SpanMasks};
use foretell_jepa::target::{EmaConfig, EmaSchedule, TargetKind, TargetTransform};
use foretell_nn::series::SeriesPredictorConfig;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::series_model::{SeriesNetwork, Tail, usual_steps};
use crate::sizes::settle_average;
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 27,
    name: "ts-jepa",
    title: "TS-JEPA",
    one_line: "masked series; the paper of that name on remote control is another",
    papers: &["arXiv:2509.25449", "arXiv:2406.04853"],
    state: State::Partial("masked series; trains; not measured yet"),
};

/// When the average's momentum changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmaClock {
    /// With every step.
    #[default]
    Steps,
    /// Once an epoch, as released; the average follows with every step.
    Official,
}

/// What probes are given of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooled {
    /// The mean of its tokens.
    #[default]
    Mean,
    /// Their sum, as released: a longer series has larger features.
    Sum,
}

/// Settings of TS-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TsJepaConfig {
    /// What it shares with the other systems over series.
    #[serde(flatten)]
    pub network: SeriesNetwork,
    /// The predictor's width.
    pub predictor_width: Auto<usize>,
    /// Its blocks.
    pub predictor_depth: usize,
    /// What is hidden.
    pub masks: SpanMasks,
    /// Whose tokens a batch trains on.
    pub gathers: Gathers,
    /// Where targets come from.
    pub target: TargetKind,
    /// What is predicted: `values` makes it a masked autoencoder.
    pub predicts: Predicts,
    /// What becomes of the target's tokens before they are predicted.
    pub target_transform: TargetTransform,
    /// How predictions are held against targets.
    pub loss: LatentLoss,
    /// Weight of SIGReg on the context's tokens.
    pub sigreg: f64,
    /// The clock of the moving average.
    pub ema: EmaConfig,
    /// When its momentum changes.
    pub ema_clock: EmaClock,
    /// Which encoder is kept.
    pub keep: Keep,
    /// What probes are given.
    pub pooled: Pooled,
}

impl Default for TsJepaConfig {
    fn default() -> Self {
        Self {
            network: SeriesNetwork::default(),
            predictor_width: Auto::Auto,
            predictor_depth: 2,
            masks: SpanMasks::default(),
            gathers: Gathers::Each,
            target: TargetKind::Ema,
            predicts: Predicts::Latents,
            target_transform: TargetTransform::Standardise,
            loss: LatentLoss::L1,
            // Without it a few dimensions are all that is left after some hundred steps.
            sigreg: 0.005,
            ema: EmaConfig::default(),
            ema_clock: EmaClock::Steps,
            keep: Keep::Target,
            pooled: Pooled::Mean,
        }
    }
}

impl TsJepaConfig {
    /// The released code's. It trains with `data.window = 320`, `data.standardise = "official"`, `train.lr = 1e-7`, weight decay 0.01 and
    /// 5001 epochs, over which the rate falls in a line to a half.
    pub fn official() -> Self {
        Self {
            network: SeriesNetwork {
                patch: Auto::Value(32),
                tail: Tail::Official,
                holes: false,
                width: Auto::Value(128),
                depth: Auto::Value(1),
                heads: Auto::Value(2),
                ..SeriesNetwork::default()
            },
            predictor_width: Auto::Value(128),
            predictor_depth: 1,
            gathers: Gathers::Official,
            target_transform: TargetTransform::LayerNorm,
            sigreg: 0.0,
            ema: EmaConfig { schedule: EmaSchedule::Ramp { start: 0.998 }, ..EmaConfig::default() },
            ema_clock: EmaClock::Official,
            keep: Keep::Context,
            pooled: Pooled::Sum,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), SystemError> {
        let wrong = |message: String| Err(SystemError::Setting(message));
        if !(self.masks.share > 0.0 && self.masks.share < 1.0) {
            return wrong(format!(
                "`model.masks.share` must lie between 0 and 1, so that something is seen and something predicted, found {}",
                self.masks.share
            ));
        }
        for (key, value) in [("masks.span", self.masks.span), ("predictor_depth", self.predictor_depth)] {
            if value == 0 {
                return wrong(format!("`model.{key}` is 0: at least 1 is needed"));
            }
        }
        if !(self.sigreg >= 0.0 && self.sigreg.is_finite()) {
            return wrong(format!("`model.sigreg` must be 0 or more, found {}", self.sigreg));
        }
        Ok(())
    }
}

/// Directions of SIGReg.
const SLICES: usize = 256;

impl System for TsJepaConfig {
    type Data = Series;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 64, ..TrainConfig::default() }
    }

    fn usual_steps(data: &SeriesConfig, series: Option<usize>) -> Option<u64> {
        usual_steps(data, series, Self::train().batch)
    }

    fn init(&mut self, on: &On<'_, Series>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let vit = self.network.settle(on, decisions)?;
        let heads = vit.heads;
        let narrow = self.predictor_width.resolve("model.predictor_width", decisions, || {
            let half = (vit.width / 2).next_multiple_of(2 * heads).min(vit.width);
            (half, "half of the encoder's".to_owned())
        });
        if narrow == 0 || !narrow.is_multiple_of(heads) || !narrow.is_multiple_of(2) {
            return Err(SystemError::Setting(format!(
                "the predictor's width {narrow} must be even (its position code) and a multiple of {heads} heads: choose another `model.predictor_width`"
            )));
        }
        self.check()?;
        let averages = self.target == TargetKind::Ema && self.predicts == Predicts::Latents;
        if averages {
            settle_average(&mut self.ema, on, decisions)?;
        }
        let predictor = SeriesPredictorConfig {
            encoder_width: vit.width,
            width: narrow,
            depth: self.predictor_depth,
            heads,
            outputs: if self.predicts == Predicts::Values { vit.cut.values() } else { vit.width },
        };
        let collator = SeriesCollator {
            seed: on.seed,
            cut: vit.cut,
            masks: self.masks,
            gathers: self.gathers,
            width: vit.width,
            slices: if self.sigreg > 0.0 { SLICES } else { 0 },
        };
        let epoch = on.train_len().unwrap_or(on.batch).div_ceil(on.batch.max(1)) as u64;
        let encoder = vit.init(&mut on.weights(0), &on.learning());
        let networks = SeriesNetworks {
            target_encoder: encoder.valid(),
            predictor: predictor.init(&mut on.weights(1), &on.learning()),
            encoder,
        };
        let objective = MaskedSeries {
            target: self.target,
            predicts: self.predicts,
            transform: self.target_transform,
            loss: self.loss,
            sigreg: self.sigreg,
            ema: self.ema,
            epoch: if self.ema_clock == EmaClock::Official { epoch.max(1) } else { 1 },
            keep: self.keep,
            sum: self.pooled == Pooled::Sum,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, networks))
    }

    /// Values in place of latents, the released gather, and LeNEPA beside it.
    fn ablations(&self) -> Vec<Ablation> {
        let own = |name, settings: &[&str], about| Ablation::new(name, ROW.name, settings, about);
        vec![
            own("latents", &[], "as it is set"),
            own("values", &["model.predicts=values"], "a masked autoencoder of the same size and budget"),
            own("no-sigreg", &["model.sigreg=0.0"], "nothing but the average against collapse"),
            own("layer-norm", &["model.target_transform=layer-norm"], "targets as released, not standardised"),
            own(
                "official-gather",
                &["model.gathers=official"],
                "each step trains on one series of its batch, as released",
            ),
            own("live", &["model.target=live"], "no average and no stop-gradient: should collapse"),
            Ablation::new("le-nepa", "le-nepa", &[], "the next embedding from those before it, SIGReg"),
        ]
    }

    /// The usual with random convolutions beside them, noise, forecasts, what is hidden, and LiDAR.
    fn judge(&self, run: &Judging<'_, Series>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::series(run)?;
        let cut = self.network.cut(run.on.config.channels());
        findings.extend(judges::hidden(run, self.masks, cut));
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
