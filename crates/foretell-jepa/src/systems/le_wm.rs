//! LeWorldModel (arXiv 2603.19312): frames to one vector each, the next foretold from a short history and the actions, and
//! SIGReg alone against collapse. No moving average, no stop-gradient, two terms and one weight.
//!
//! The composition is [`dynamics`](crate::dynamics); here are the settings.

use std::sync::Arc;

use foretell_data::random::{Stream, rng};
use foretell_nn::Backbone;
use foretell_nn::causal::{CausalConfig, Foretells};
use foretell_nn::framed::Framed;
use foretell_nn::observer::{Observer, ObserverConfig};
use foretell_nn::vit::{Vit, VitConfig};
use serde::{Deserialize, Serialize};

use super::{ActionScale, SystemError, WorldSetting, check_patch, check_width};
use crate::dynamics::{Causal, CausalNetworks, Slices, WindowCollator, causal::Regularised};

/// The encoder's architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FrameEncoder {
    /// Strided convolutions; for observations of plain numbers an MLP. The better choice for minutes on a CPU.
    Conv {
        /// Width of each convolution, stride 2.
        #[serde(default = "convolutions")]
        widths: Vec<usize>,
        /// Width of the features behind them.
        #[serde(default = "features")]
        features: usize,
    },
    /// A vision transformer, its tokens averaged.
    Vit {
        /// Side of a patch in pixels.
        #[serde(default = "patch")]
        patch: usize,
        /// Width of the tokens.
        #[serde(default = "tokens")]
        tokens: usize,
        /// Blocks.
        #[serde(default = "four")]
        depth: usize,
        /// Attention heads.
        #[serde(default = "four")]
        heads: usize,
    },
}

// The encoders for 32 to 64 pixels and minutes on a CPU.
fn convolutions() -> Vec<usize> {
    vec![16, 32, 64]
}
fn features() -> usize {
    128
}
fn patch() -> usize {
    8
}
fn tokens() -> usize {
    64
}
fn four() -> usize {
    4
}

/// The predictor's lengths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PredictorSizes {
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a head.
    pub head: usize,
    /// Hidden width of the blocks' MLPs.
    pub hidden: usize,
    /// Width to which an action block is brought before its MLP.
    pub action_width: usize,
    /// What its output says of the next latent.
    pub foretells: Foretells,
}

impl Default for PredictorSizes {
    fn default() -> Self {
        Self { depth: 2, heads: 4, head: 32, hidden: 256, action_width: 32, foretells: Foretells::Change }
    }
}

/// Settings of LeWorldModel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeWmConfig {
    /// Weight of SIGReg, λ, whose statistic grows with the batch: the same λ on half the batch is half the pull. 0 collapses.
    pub lambda: f64,
    /// Directions of SIGReg.
    pub slices: usize,
    /// Latents that the predictor looks back on; a window of one observation more is what the paper trains on.
    pub history: usize,
    /// Width of the latents, D.
    pub width: usize,
    /// Hidden width of the two projectors.
    pub projector: usize,
    /// What the networks are given of an action.
    pub actions: ActionScale,
    /// The encoder.
    pub encoder: FrameEncoder,
    /// The predictor.
    pub predictor: PredictorSizes,
}

impl Default for LeWmConfig {
    /// For 32 to 64 pixels and minutes on a CPU.
    fn default() -> Self {
        Self {
            lambda: 0.1,
            slices: 256,
            history: 3,
            width: 64,
            projector: 256,
            actions: ActionScale::Standard,
            encoder: FrameEncoder::Conv { widths: convolutions(), features: features() },
            predictor: PredictorSizes::default(),
        }
    }
}

/// An objective over either encoder.
pub enum LeWm {
    /// Over convolutions.
    Conv(Causal<Observer>),
    /// Over a vision transformer.
    Vit(Causal<Vit>),
}

impl LeWmConfig {
    /// The released sizes and weights (for 224 pixels, batch 128, windows of four observations five actions apart, AdamW at
    /// 5e-5 with decay 1e-3, clipped at 1, warm-up 1 %). What differs: the tokens are averaged where it reads a class token,
    /// their position code is fixed where its own is learnt, and nothing is dropped out where it drops 0.1 in the predictor.
    pub fn official() -> Self {
        Self {
            lambda: 0.09,
            slices: 1024,
            history: 3,
            width: 192,
            projector: 2048,
            actions: ActionScale::Standard,
            encoder: FrameEncoder::Vit { patch: 14, tokens: 192, depth: 12, heads: 3 },
            predictor: PredictorSizes {
                depth: 6,
                heads: 16,
                head: 64,
                hidden: 2048,
                action_width: 10,
                foretells: Foretells::Latent,
            },
        }
    }

    fn check(&self) -> Result<(), SystemError> {
        let Self { slices, history, width, projector, predictor, .. } = self;
        let PredictorSizes { heads, head, hidden, action_width, .. } = predictor;
        let lengths = [slices, history, width, projector, heads, head, hidden, action_width];
        if lengths.into_iter().any(|length| *length == 0) {
            return Err(SystemError::Setting(
                "`model.slices`, `model.history`, `model.width`, `model.projector` and `heads`, `head`, `hidden` and `action_width` of `model.predictor` must be at least 1".to_owned(),
            ));
        }
        if !(self.lambda >= 0.0 && self.lambda.is_finite()) {
            return Err(SystemError::Setting(format!("`model.lambda` must be 0 or more, found {}", self.lambda)));
        }
        Ok(())
    }

    /// The objective, with fresh networks.
    pub fn init(&self, setting: &WorldSetting) -> Result<LeWm, SystemError> {
        self.check()?;
        setting.check()?;
        let device = setting.device.clone().autodiff();
        let mut weights = rng(setting.seed, Stream::Init, 0, 0);
        let [channels, height, width] = setting.observation;
        match &self.encoder {
            FrameEncoder::Conv { widths, features } => {
                if *features == 0 || widths.contains(&0) {
                    return Err(SystemError::Setting(
                        "`model.encoder.features` and every one of `model.encoder.widths` must be at least 1"
                            .to_owned(),
                    ));
                }
                let config = ObserverConfig {
                    observation: setting.observation,
                    widths: widths.clone(),
                    maxima: false,
                    he: true,
                    hidden: Vec::new(),
                    width: *features,
                    norm: false,
                };
                Ok(LeWm::Conv(self.objective(config.init(&mut weights, &device), setting)))
            }
            FrameEncoder::Vit { patch, tokens, depth, heads } => {
                check_patch(height, *patch)?;
                check_patch(width, *patch)?;
                check_width("encoder", *tokens, *heads)?;
                let config = VitConfig {
                    image: (height, width),
                    patch: *patch,
                    channels,
                    width: *tokens,
                    depth: *depth,
                    heads: *heads,
                    hidden: 4 * tokens,
                };
                Ok(LeWm::Vit(self.objective(config.init(&mut weights, &device), setting)))
            }
        }
    }

    fn objective<B: Backbone + 'static>(&self, backbone: B, setting: &WorldSetting) -> Causal<B> {
        let device = setting.device.clone().autodiff();
        let PredictorSizes { depth, heads, head, hidden, action_width, foretells } = self.predictor;
        let predictor = CausalConfig {
            width: self.width,
            action: setting.action,
            action_width,
            history: self.history,
            depth,
            heads,
            head,
            hidden,
            projector: self.projector,
            foretells,
        };
        let mut projector = rng(setting.seed, Stream::Init, 0, 1);
        let collator = WindowCollator {
            observation: setting.observation,
            action: setting.action,
            normalise: setting.normalise.clone(),
            actions: setting.actions(self.actions),
            slices: Some(Slices { seed: setting.seed, width: self.width, count: self.slices }),
            places: false,
        };
        Causal {
            networks: CausalNetworks {
                encoder: Framed::new(backbone, self.projector, self.width, &mut projector, &device),
                predictor: predictor.init(&mut rng(setting.seed, Stream::Init, 0, 2), &device),
            },
            setting: Regularised { lambda: self.lambda },
            collator: Arc::new(collator),
            device: setting.device.clone(),
        }
    }
}
