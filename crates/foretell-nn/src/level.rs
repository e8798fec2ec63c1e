//! A level above another in a hierarchy of world models (H-JEPA, arXiv 2610.06805; without a map between, HWM, arXiv 2604.03208): its
//! states, its macro-actions, its predictor.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::causal::{CausalConfig, CausalPredictor};
use crate::layers::{BatchNorm, Linear, Mlp, Pass};

/// How far from 0 each number of a macro-action may lie that a planner asks for: between the quantiles of 2 and 98 % of the normal
/// distribution (H-JEPA clamps to those of macro-actions that it keeps).
pub const REACH: f32 = 2.0537;

/// Lengths of a [`Level`]. [`LevelConfig::init`] makes the networks.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelConfig {
    /// States below from one state to the next.
    pub stride: usize,
    /// Numbers in an action below.
    pub action: usize,
    /// Hidden width of what makes macro-actions.
    pub hidden: usize,
    /// Whether its states are a map of those below, or they themselves.
    pub lift: bool,
    /// Width of its states and numbers in a macro-action, among the rest.
    pub predictor: CausalConfig,
}

impl LevelConfig {
    /// Fresh networks.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Level {
        let Self { stride, action, hidden, lift, predictor } = self;
        let (width, said) = (predictor.width, predictor.action);
        let mut init = Init::new(rng, device);
        let lift = lift.then(|| Mlp {
            fc1: Linear::uniform(width, 2 * width, &mut init),
            fc2: Linear::uniform(2 * width, width, &mut init),
        });
        let macros = Mlp {
            fc1: Linear::uniform(stride * action, *hidden, &mut init),
            fc2: Linear::uniform(*hidden, said, &mut init),
        };
        let norm = BatchNorm::plain(said, &mut init);
        Level { lift, macros, norm, predictor: predictor.init(rng, device), stride: *stride }
    }
}

/// A level above another. All of it is kept after training.
#[derive(Module, Debug)]
pub struct Level {
    /// D → 2 D → D; `None` where states are those below.
    pub lift: Option<Mlp>,
    /// What was done below, `stride` actions side by side, to a macro-action.
    pub macros: Mlp,
    /// Behind it, without weights.
    pub norm: BatchNorm,
    /// Of its states.
    pub predictor: CausalPredictor,
    stride: usize,
}

impl Level {
    /// States below, `[N, D]`, as states here.
    pub fn lift(&self, below: Tensor<2>) -> Tensor<2> {
        match &self.lift {
            Some(lift) => lift.forward(below),
            None => below,
        }
    }

    /// What was done from one state to the next, `[N, stride · A]`, the first action first → `[N, M]`.
    pub fn act(&self, below: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        self.norm.forward(self.macros.forward(below), pass)
    }

    /// States below from one state to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Numbers in a macro-action, M.
    pub fn action(&self) -> usize {
        self.norm.weight.dims()[0]
    }
}
