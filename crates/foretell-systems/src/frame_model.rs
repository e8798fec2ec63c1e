//! What models of one vector a frame have in common: an encoder with a projector behind it, a causal predictor that is told the actions,
//! SIGReg, and heads that plan. LeWorldModel is this; H-JEPA puts levels on top.

use foretell_jepa::dynamics::causal::Regularised;
use foretell_jepa::dynamics::{CausalNetworks, LatentVariable, Slices, WindowCollator};
use foretell_nn::Backbone;
use foretell_nn::causal::{CausalConfig, Foretells};
use foretell_nn::framed::Framed;
use foretell_nn::observer::{Observer, ObserverConfig};
use foretell_nn::pair::Pair;
use foretell_nn::prefixes::PrefixesConfig;
use foretell_nn::vit::{Vit, VitConfig};
use foretell_train::TrainConfig;
use foretell_world::{Experience, ExperienceConfig, Form};
use serde::{Deserialize, Serialize};

use crate::actions::ActionScale;
use crate::heads::{ActorConfig, ReachConfig};
use crate::sizes::{check_patch, check_width};
use crate::system::{On, SystemError};

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

/// A fresh encoder, of either architecture.
pub(crate) enum FreshEncoder {
    /// Of convolutions.
    Conv(Observer),
    /// Of patches.
    Vit(Vit),
}

impl FrameEncoder {
    /// For observations of this form.
    pub(crate) fn init(&self, form: &Form, on: &On<'_, Experience>) -> Result<FreshEncoder, SystemError> {
        let (device, mut weights) = (on.learning(), on.weights(0));
        let [channels, height, width] = form.observation;
        Ok(match self {
            Self::Conv { widths, features } => {
                if *features == 0 || widths.contains(&0) {
                    return Err(SystemError::Setting(
                        "`model.encoder.features` and every one of `model.encoder.widths` must be at least 1"
                            .to_owned(),
                    ));
                }
                let config = ObserverConfig {
                    observation: form.observation,
                    widths: widths.clone(),
                    maxima: false,
                    he: true,
                    hidden: Vec::new(),
                    width: *features,
                    norm: false,
                };
                FreshEncoder::Conv(config.init(&mut weights, &device))
            }
            Self::Vit { patch, tokens, depth, heads } => {
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
                FreshEncoder::Vit(config.init(&mut weights, &device))
            }
        })
    }
}

/// Settings of a model of one vector a frame: those of LeWorldModel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FrameModel {
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
    /// What may decide what comes beside what is done, and is not told: `codes` or `continuous`; none as published.
    pub z: LatentVariable,
    /// Weight of what is off in the steps between explored places that the latents tell; 0 for none, as published. Ours: distances of
    /// latents are none of ways, and a search by them walks into walls.
    pub reach: f64,
    /// Whether latents learn from that too; otherwise it is read from them as they are.
    pub reach_shapes: bool,
    /// How steps between places are told.
    pub reach_head: ReachConfig,
    /// What follows every prefix of a plan's actions, in one pass (arXiv 2606.26217); `horizon` 0 for none, as published.
    pub prefixes: PrefixesSettings,
    /// The actor, on frozen latents: where steps are told it learns from what led nearer, elsewhere from what was done on the way to
    /// each later frame of a window (arXiv 2605.08732).
    pub actor: ActorConfig,
}

impl Default for FrameModel {
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
            z: LatentVariable::None,
            reach: 1.0,
            reach_shapes: true,
            reach_head: ReachConfig::default(),
            prefixes: PrefixesSettings::default(),
            actor: ActorConfig::default(),
        }
    }
}

/// What follows every prefix of a plan's actions: a network beside the predictor that a search asks in its place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrefixesSettings {
    /// Blocks of actions that one pass goes ahead; a window has one observation more. 0 for none.
    pub horizon: usize,
    /// Weight of its error.
    pub weight: f64,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the blocks' MLPs.
    pub hidden: usize,
    /// Maps that a latent goes through, one after the other.
    pub maps: usize,
    /// Their hidden width.
    pub map_hidden: usize,
}

impl Default for PrefixesSettings {
    fn default() -> Self {
        Self { horizon: 0, weight: 1.0, depth: 2, heads: 4, hidden: 256, maps: 2, map_hidden: 256 }
    }
}

impl PrefixesSettings {
    /// An error for what cannot be.
    fn check(&self, width: usize) -> Result<(), SystemError> {
        let Self { horizon, weight, heads, hidden, maps, map_hidden, .. } = *self;
        if horizon == 0 {
            return Ok(());
        }
        if [heads, hidden, maps, map_hidden].contains(&0) || !width.is_multiple_of(heads.max(1)) || width % 2 == 1 {
            return Err(SystemError::Setting(format!(
                "`heads`, `hidden`, `maps` and `map_hidden` of `model.prefixes` must be at least 1, and `model.width` {width} even and a multiple of the {heads} heads"
            )));
        }
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(SystemError::Setting(format!("`model.prefixes.weight` must be above 0, found {weight}")));
        }
        Ok(())
    }
}

/// The loop's settings where nothing is said.
pub(crate) fn train() -> TrainConfig {
    TrainConfig {
        batch: 64,
        lr: 1e-3,
        weight_decay: 1e-5,
        final_weight_decay: 1e-5,
        clip: 2.0,
        ..TrainConfig::default()
    }
}

impl FrameModel {
    /// LeWorldModel's released sizes and weights (for 224 pixels, batch 128, windows of four observations five actions apart, AdamW at
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
            reach: 0.0,
            actor: ActorConfig { steps: 0, ..ActorConfig::default() },
            ..Self::default()
        }
    }

    /// Those that fit these data: nothing is explored in recorded episodes.
    pub(crate) fn fitted(self, data: &ExperienceConfig) -> Self {
        match data {
            ExperienceConfig::Play(_) => self,
            // There is no world to act in.
            ExperienceConfig::Episodes(_) => Self { reach: 0.0, actor: ActorConfig { steps: 0, ..self.actor }, ..self },
        }
    }

    /// An error for what cannot be.
    pub(crate) fn check(&self) -> Result<(), SystemError> {
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
        if !(self.reach >= 0.0 && self.reach.is_finite()) {
            return Err(SystemError::Setting(format!("`model.reach` must be 0 or more, found {}", self.reach)));
        }
        if self.reach_head.width == 0 {
            return Err(SystemError::Setting("`model.reach_head.width` must be at least 1".to_owned()));
        }
        self.z.check("model.z").map_err(SystemError::Setting)?;
        self.prefixes.check(*width)?;
        self.actor.check("model.actor")
    }

    /// Observations of the best window: what is looked back on and the next, or as far as prefixes go.
    pub(crate) fn window(&self) -> (usize, String) {
        let (history, horizon) = (self.history, self.prefixes.horizon);
        if horizon > history {
            return (horizon + 1, format!("the first and the {horizon} that prefixes foretell"));
        }
        (history + 1, format!("the {history} looked back on and the next"))
    }

    /// A predictor of latents from those before and actions of so many numbers.
    pub(crate) fn predictor(&self, action: usize) -> CausalConfig {
        let PredictorSizes { depth, heads, head, hidden, action_width, foretells } = self.predictor;
        CausalConfig {
            width: self.width,
            action,
            action_width,
            history: self.history,
            depth,
            heads,
            head,
            hidden,
            projector: self.projector,
            foretells,
        }
    }

    /// What batches hold.
    pub(crate) fn collator(&self, form: &Form, seed: u64) -> WindowCollator {
        WindowCollator {
            observation: form.observation,
            action: form.action,
            normalise: form.normalise.clone(),
            actions: self.actions.of(form),
            poses: None,
            slices: Some(Slices { seed, width: self.width, count: self.slices }),
            places: self.reach > 0.0,
        }
    }

    /// The weights of its terms.
    pub(crate) fn terms(&self) -> Regularised {
        let prefixes = if self.prefixes.horizon > 0 { self.prefixes.weight } else { 0.0 };
        Regularised { lambda: self.lambda, reach: self.reach, shapes: self.reach_shapes, prefixes }
    }

    /// Fresh networks behind an encoder.
    pub(crate) fn networks<B: Backbone + 'static>(
        &self,
        backbone: B,
        form: &Form,
        on: &On<'_, Experience>,
    ) -> CausalNetworks<B> {
        let device = on.learning();
        let mut fourth = on.weights(3);
        let mut pair = |hidden, said| Pair::new(self.width, hidden, said, &mut fourth, &device);
        let reach = (self.reach > 0.0).then(|| pair(self.reach_head.width, 1));
        let actor = (self.actor.steps > 0).then(|| pair(self.actor.width, form.action));
        let PrefixesSettings { horizon, depth, heads, hidden, maps, map_hidden, .. } = self.prefixes;
        let (width, action) = (self.width, form.action);
        let prefixes = PrefixesConfig { width, action, horizon, depth, heads, hidden, maps, map_hidden };
        let prefixes = (horizon > 0).then(|| prefixes.init(&mut on.weights(4), &device));
        CausalNetworks {
            reach,
            actor,
            prefixes,
            encoder: Framed::new(backbone, self.projector, self.width, &mut on.weights(1), &device),
            predictor: self.predictor(form.action + self.z.width()).init(&mut on.weights(2), &device),
        }
    }
}
