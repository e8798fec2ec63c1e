//! Signal-JEPA (Guetschel, Moreau and Tangermann, 2024, arXiv 2403.11772): from the electrodes outside of a ball, the teacher's tokens of
//! those inside are predicted.
//!
//! The objective is [`SignalJepa`]; here are the settings. The defaults are ours; what the paper and `braindecode` have is
//! [`SignalJepaConfig::official`].

use std::sync::Arc;

use burn::module::Module;
use foretell_data::eeg::{Eeg, EegConfig};
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::signals::{BallConfig, SignalCollator, SignalJepa, SignalNetworks, SignalTarget};
use foretell_jepa::target::EmaConfig;
use foretell_nn::signal::{SignalConfig, SignalNorm, SignalPredictor, tokens_of};
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges;
use crate::judging::Judging;
use crate::recipe::ProbeKind;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 23,
    name: "signal-jepa",
    title: "Signal-JEPA",
    one_line: "EEG channels hidden by region",
    papers: &["arXiv:2403.11772"],
    state: State::Partial("trains; short runs know less than the untrained network"),
};

/// Settings of Signal-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignalJepaConfig {
    /// The dial: 64 wide and 4 deep; from `small` on 8 deep, and from `base` on 128 wide.
    pub size: Size,
    /// Width D, a multiple of 8 and of `heads`, 32 at least.
    pub width: Auto<usize>,
    /// Blocks of the encoder.
    pub depth: Auto<usize>,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the blocks.
    pub hidden: Auto<usize>,
    /// Blocks of the decoder that predicts.
    pub predictor_depth: Auto<usize>,
    /// What becomes of the first convolution's output.
    pub norm: SignalNorm,
    /// What is hidden.
    pub ball: BallConfig,
    /// What hidden tokens are predicted as.
    pub target: SignalTarget,
    /// How predictions are held against targets.
    pub loss: LatentLoss,
    /// How fast the teacher follows.
    pub ema: EmaConfig,
}

impl Default for SignalJepaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: 8,
            hidden: Auto::Auto,
            predictor_depth: Auto::Auto,
            norm: SignalNorm::Fixed,
            ball: BallConfig::default(),
            target: SignalTarget::Standardise,
            loss: LatentLoss::L1,
            ema: EmaConfig::default(),
        }
    }
}

impl SignalJepaConfig {
    /// The paper's and `braindecode`'s: each filter normalised over each electrode's window, blocks with a hidden width of 2048, tokens
    /// predicted as the teacher leaves them. How fast the teacher follows is not published.
    pub fn official() -> Self {
        Self {
            size: Size::Small,
            hidden: Auto::Value(2_048),
            norm: SignalNorm::Electrode,
            target: SignalTarget::AsTheyAre,
            ..Self::default()
        }
    }

    fn resolve(&mut self, on: &On<'_, Eeg>, decisions: &mut Vec<Decision>) {
        let (width, depth, decoder) = match self.size {
            Size::Tiny => (64, 4, 2),
            Size::Small => (64, 8, 4),
            _ => (128, 8, 4),
        };
        let reason = format!("size = {:?}", self.size).to_lowercase();
        self.depth.resolve("model.depth", decisions, || (depth, reason.clone()));
        self.predictor_depth.resolve("model.predictor_depth", decisions, || (decoder, reason.clone()));
        let width = self.width.resolve("model.width", decisions, || (width, reason));
        self.hidden.resolve("model.hidden", decisions, || (4 * width, "four times the width".to_owned()));
        self.ema.resolve(on.steps, on.batch, decisions);
    }

    /// The resolved lengths: width, depth, hidden width, the decoder's depth.
    fn lengths(&self) -> Result<(usize, usize, usize, usize), SystemError> {
        let refuse = |message: String| Err(SystemError::Setting(message));
        let Self { width, depth, hidden, predictor_depth, heads, .. } = *self;
        let (Auto::Value(width), Auto::Value(depth), Auto::Value(hidden), Auto::Value(decoder)) =
            (width, depth, hidden, predictor_depth)
        else {
            return refuse(
                "`model.width`, `model.depth`, `model.hidden` or `model.predictor_depth` is not resolved".to_owned(),
            );
        };
        if width < 32 || !width.is_multiple_of(8) {
            return refuse(format!(
                "`model.width` is {width}: it must be a multiple of 8, and 32 at least, for the convolutions' widths"
            ));
        }
        if heads == 0 || !width.is_multiple_of(heads) {
            return refuse(format!(
                "a width of {width} does not split into {heads} heads: make `model.width` a multiple of `model.heads`"
            ));
        }
        for (key, value) in [("depth", depth), ("hidden", hidden), ("predictor_depth", decoder)] {
            if value == 0 {
                return refuse(format!("`model.{key}` is 0: at least 1 is needed"));
            }
        }
        let diameter = self.ball.diameter;
        if !(diameter > 0.0 && diameter <= 2.0) {
            return refuse(format!(
                "`model.ball.diameter` is {diameter}: it must be above 0 and at most 2, where a ball around any electrode holds the whole head"
            ));
        }
        Ok((width, depth, hidden, decoder))
    }

    /// The objective, and fresh networks. Everything must be resolved.
    fn build(&self, on: &On<'_, Eeg>) -> Result<(SignalJepa, SignalNetworks), SystemError> {
        let (width, depth, hidden, decoder) = self.lengths()?;
        let config: &EegConfig = on.config;
        if config.channels.len() < 2 {
            return Err(SystemError::Setting(format!(
                "`data.channels` has {} electrodes: at least 2 are needed, one to see and one to predict",
                config.channels.len()
            )));
        }
        if tokens_of(config.samples()) == 0 {
            return Err(SystemError::Setting(format!(
                "a window of {} samples (`data.seconds` × `data.rate`) holds no token: the convolutions take 152 at least",
                config.samples()
            )));
        }
        let places = config.places();
        let network = SignalConfig { places: places.clone(), width, depth, heads: self.heads, hidden, norm: self.norm };
        let device = on.learning();
        let encoder = network.init(&mut on.weights(0), &device);
        let target_encoder = encoder.valid();
        let predictor = SignalPredictor::new(decoder, (width, self.heads, hidden), &mut on.weights(1), &device);
        let collator = SignalCollator { seed: on.seed, places, ball: self.ball };
        let objective = SignalJepa {
            target: self.target,
            loss: self.loss,
            ema: self.ema,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok((objective, SignalNetworks { encoder, predictor, target_encoder }))
    }
}

impl System for SignalJepaConfig {
    type Data = Eeg;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 64, lr: 1e-3, ..TrainConfig::default() }
    }

    /// Minutes on two cores, for the recordings that come with the program.
    fn usual_steps(data: &EegConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Eeg>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        self.resolve(on, decisions);
        let (objective, networks) = self.build(on)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Eeg>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        if run.settings.probes.contains(&ProbeKind::Finetune) {
            findings.extend(judges::signal_heads(run)?);
        }
        findings.extend(judges::hidden_electrodes(run, self.ball)?);
        findings.extend(judges::heads(run, self.ball)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
