//! The layers that every network here is made of, named and laid out as in the official checkpoints.

use burn::module::{Module, Param, ParamId};
use burn::tensor::Tensor;
use foretell_ops::{self as ops, Precision};

use crate::Init;
use crate::parameters::change;

/// `y = x Wᵀ + b`, `weight` `[O, I]`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[O, I]`.
    pub weight: Param<Tensor<2>>,
    /// `[O]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Weights truncated-normal with this standard deviation, bias 0 (the ViT convention).
    pub fn vit(inputs: usize, outputs: usize, std: f64, init: &mut Init<'_>) -> Self {
        Self { weight: init.truncated_normal([outputs, inputs], std), bias: init.constant([outputs], 0.0) }
    }

    /// Weights and bias uniform in ±1/√I (PyTorch's default).
    pub fn uniform(inputs: usize, outputs: usize, init: &mut Init<'_>) -> Self {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        Self { weight: init.uniform([outputs, inputs], bound), bias: init.uniform([outputs], bound) }
    }

    /// `[.., I]` → `[.., O]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::linear(x, self.weight.val(), self.bias.val())
    }
}

/// Layer normalisation over the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[D]`.
    pub weight: Param<Tensor<1>>,
    /// `[D]`.
    pub bias: Param<Tensor<1>>,
    eps: f64,
}

impl LayerNorm {
    /// Weight 1, bias 0.
    pub fn new(width: usize, eps: f64, init: &mut Init<'_>) -> Self {
        Self { weight: init.constant([width], 1.0), bias: init.constant([width], 0.0), eps }
    }

    /// Weight and bias, `[D]` each, and ε.
    pub fn parts(&self) -> (Tensor<1>, Tensor<1>, f64) {
        (self.weight.val(), self.bias.val(), self.eps)
    }

    /// `[.., D]` → `[.., D]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), self.eps)
    }
}

/// One batch normalisation's statistics of one batch, on their way into the running averages.
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    /// The running averages that they move: mean and variance.
    of: [ParamId; 2],
    mean: Tensor<1>,
    variance: Tensor<1>,
}

/// Weight of a new batch in the running averages, PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// A network whose running averages are moved towards every entry of `seen`, in order.
pub fn absorb<M: Module>(network: M, seen: &[BatchStatistics]) -> M {
    if seen.is_empty() {
        return network;
    }
    change(network, &mut |parameter, old| {
        seen.iter().fold(old, |old, batch| match batch.of.iter().position(|id| *id == parameter.id) {
            Some(0) => ops::lerp(old, batch.mean.clone(), MOMENTUM),
            Some(_) => ops::lerp(old, batch.variance.clone(), MOMENTUM),
            None => old,
        })
    })
}

/// How a network with batch statistics is run.
pub enum Pass<'a> {
    /// Normalise with the batch's own statistics, and collect them here.
    Training(&'a mut Vec<BatchStatistics>),
    /// Normalise with the running averages.
    Evaluation,
}

/// Batch normalisation over all axes but the last (features are channels-last).
///
/// Running averages are buffers: a training pass hands the batch's statistics out, [`absorb`] puts them in.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// `[C]`.
    pub weight: Param<Tensor<1>>,
    /// `[C]`.
    pub bias: Param<Tensor<1>>,
    /// `[C]`, a buffer.
    pub running_mean: Param<Tensor<1>>,
    /// `[C]`, a buffer; of the unbiased variance.
    pub running_var: Param<Tensor<1>>,
    eps: f64,
}

impl BatchNorm {
    /// Weight 1, bias 0, running statistics of N(0, 1), eps 1e-5.
    pub fn new(channels: usize, init: &mut Init<'_>) -> Self {
        Self {
            weight: init.constant([channels], 1.0),
            bias: init.constant([channels], 0.0),
            running_mean: init.buffer(vec![0.0; channels], [channels]),
            running_var: init.buffer(vec![1.0; channels], [channels]),
            eps: 1e-5,
        }
    }

    /// The same with a weight and a bias that stay: what comes out has mean 0 and variance 1.
    pub fn plain(channels: usize, init: &mut Init<'_>) -> Self {
        Self {
            weight: init.buffer(vec![1.0; channels], [channels]),
            bias: init.buffer(vec![0.0; channels], [channels]),
            ..Self::new(channels, init)
        }
    }

    /// `[.., C]` → `[.., C]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, pass: &mut Pass<'_>) -> Tensor<D> {
        match pass {
            Pass::Training(seen) => self.seen(ops::batch_norm(x, self.weight.val(), self.bias.val(), self.eps), seen),
            Pass::Evaluation => self.evaluate(x),
        }
    }

    /// [`forward`](Self::forward) and a rectifier, `[.., C]` → `[.., C]`.
    pub fn forward_relu<const D: usize>(&self, x: Tensor<D>, pass: &mut Pass<'_>) -> Tensor<D> {
        match pass {
            Pass::Training(seen) => {
                self.seen(ops::batch_norm_relu(x, self.weight.val(), self.bias.val(), self.eps), seen)
            }
            Pass::Evaluation => ops::relu(self.evaluate(x)),
        }
    }

    fn seen<const D: usize>(&self, batch: ops::BatchNormOutput<D>, seen: &mut Vec<BatchStatistics>) -> Tensor<D> {
        seen.push(BatchStatistics {
            of: [self.running_mean.id, self.running_var.id],
            mean: batch.mean,
            variance: batch.variance,
        });
        batch.output
    }

    fn evaluate<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (mean, var) = (self.running_mean.val(), self.running_var.val());
        ops::normalise_with(x, self.weight.val(), self.bias.val(), mean, var, self.eps)
    }
}

/// A bias-free convolution on channels-last features, `weight` `[O, C, k, k]`.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[O, C, k, k]`.
    pub weight: Param<Tensor<4>>,
    stride: usize,
    padding: usize,
}

impl Conv {
    /// He-normal weights; padding `k / 2`.
    pub fn new(inputs: usize, outputs: usize, kernel: usize, stride: usize, init: &mut Init<'_>) -> Self {
        let weight = init.he([outputs, inputs, kernel, kernel], inputs * kernel * kernel);
        Self { weight, stride, padding: kernel / 2 }
    }

    /// Weights uniform in ±1/√(I·k²) (PyTorch's default); padding `k / 2`.
    pub fn uniform(inputs: usize, outputs: usize, kernel: usize, stride: usize, init: &mut Init<'_>) -> Self {
        let bound = 1.0 / ((inputs * kernel * kernel).max(1) as f64).sqrt();
        Self { weight: init.uniform([outputs, inputs, kernel, kernel], bound), stride, padding: kernel / 2 }
    }

    /// Weights truncated-normal with this standard deviation; stride 1, padding `k / 2`.
    pub fn small(inputs: usize, outputs: usize, kernel: usize, std: f64, init: &mut Init<'_>) -> Self {
        let weight = init.truncated_normal([outputs, inputs, kernel, kernel], std);
        Self { weight, stride: 1, padding: kernel / 2 }
    }

    /// `[B, H, W, C]` → `[B, H', W', O]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv2d(x, self.weight.val(), self.stride, self.padding)
    }
}

/// Two affine maps with GELU between; within a [`Block`] it is the block that runs them.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Width → hidden.
    pub fc1: Linear,
    /// Hidden → width.
    pub fc2: Linear,
}

impl Mlp {
    /// `[.., D]` → `[.., D]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.fc2.forward(ops::gelu(self.fc1.forward(x)))
    }
}

/// Self-attention with packed queries, keys and values; [`Block`] runs it.
#[derive(Module, Debug)]
pub struct Attention {
    /// D → 3 D, rows `[q; k; v]`.
    pub qkv: Linear,
    /// D → D.
    pub proj: Linear,
    heads: usize,
}

/// A pre-norm transformer block (Dosovitskiy et al., 2021).
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: Attention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// The MLP.
    pub mlp: Mlp,
    #[module(skip)]
    packed: Option<ops::PackedBlock>,
    #[module(skip)]
    lean: Option<ops::LeanBlock>,
}

impl Block {
    /// Weights truncated-normal 0.02, LayerNorm eps 1e-6, as released. `width` must be a multiple of `heads`.
    pub fn new(width: usize, heads: usize, hidden: usize, init: &mut Init<'_>) -> Self {
        Self::with_eps(width, heads, hidden, 1e-6, init)
    }

    /// The same with another ε.
    pub fn with_eps(width: usize, heads: usize, hidden: usize, eps: f64, init: &mut Init<'_>) -> Self {
        let std = 0.02;
        Self {
            norm1: LayerNorm::new(width, eps, init),
            attn: Attention {
                qkv: Linear::vit(width, 3 * width, std, init),
                proj: Linear::vit(width, width, std, init),
                heads,
            },
            norm2: LayerNorm::new(width, eps, init),
            mlp: Mlp { fc1: Linear::vit(width, hidden, std, init), fc2: Linear::vit(hidden, width, std, init) },
            packed: None,
            lean: None,
        }
    }

    /// `[B, N, D]` → `[B, N, D]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, n, d] = x.dims();
        self.forward_sets(x.reshape([b * n, d]), &ops::Sets::uniform(b, n)).reshape([b, n, d])
    }

    /// The same where some tokens attend to nothing, though others attend to them: `attends` `[B, N, 1]` is 0 for those, and 1.
    pub fn forward_where(&self, x: Tensor<3>, attends: Tensor<3>) -> Tensor<3> {
        let alone = x.clone() + self.mlp.forward(self.norm2.forward(x.clone()));
        let others = attends.clone().neg() + 1.0;
        self.forward(x) * attends + alone * others
    }

    /// Rows of several sets, each attending to itself: `[T, D]` → `[T, D]`.
    pub fn forward_sets(&self, x: Tensor<2>, sets: &ops::Sets) -> Tensor<2> {
        self.forward_turned(x, sets, None)
    }

    /// The same with queries and keys [turned](ops::turn) by where their tokens lie.
    pub fn forward_turned(&self, x: Tensor<2>, sets: &ops::Sets, turns: Option<&ops::Turns>) -> Tensor<2> {
        let (heads, eps) = (self.attn.heads, self.norm1.eps);
        match &self.lean {
            Some(lean) => lean.forward(x, sets, turns, heads, eps),
            None => ops::turned_block(x, sets, turns, self.weights(), heads, eps),
        }
    }

    /// Lays the maps out for many passes: for a block that is used and no longer trained. In fewer bits than f32 the maps' tensors
    /// are let go, so that the block has no state to be read any more. Whether it is at that precision now: it is not where the fused
    /// body does not run.
    pub fn pack(&mut self, precision: Precision) -> bool {
        if precision == Precision::F32 {
            self.packed = ops::PackedBlock::of(&self.weights());
            return true;
        }
        self.lean = ops::LeanBlock::of(&self.weights(), precision);
        if self.lean.is_some() {
            for map in [&mut self.attn.qkv, &mut self.attn.proj, &mut self.mlp.fc1, &mut self.mlp.fc2] {
                let device = map.weight.val().device();
                map.weight = Param::from_tensor(Tensor::zeros([0, 0], &device));
            }
        }
        self.lean.is_some()
    }

    fn weights(&self) -> ops::BlockWeights {
        ops::BlockWeights {
            norm1: (self.norm1.weight.val(), self.norm1.bias.val()),
            qkv: (self.attn.qkv.weight.val(), self.attn.qkv.bias.val()),
            proj: (self.attn.proj.weight.val(), self.attn.proj.bias.val()),
            norm2: (self.norm2.weight.val(), self.norm2.bias.val()),
            fc1: (self.mlp.fc1.weight.val(), self.mlp.fc1.bias.val()),
            fc2: (self.mlp.fc2.weight.val(), self.mlp.fc2.bias.val()),
            packed: self.packed.clone(),
        }
    }
}
