//! The networks of LaT-PFN (Verdenius et al., 2024, arXiv 2405.10093): an embedder of each step of a series, summaries of context series, a
//! transformer that predicts latents of steps to come from those summaries, and heads that decode them. Without dropout and without µP.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops::{self as ops, Ends, Sets};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{BatchNorm, LayerNorm, Linear, Pass};

/// ε of the layer norms, PyTorch's default.
const EPS: f64 = 1e-5;
/// Numbers that a step is given as: its time, its value, and whether the value is asked for.
pub const INPUTS: usize = 3;
/// Queries of a summary.
const QUERIES: usize = 3;

/// Lengths of a [`LatPfn`]. [`LatPfnConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct LatPfnConfig {
    /// Width D, a multiple of `heads`.
    pub width: usize,
    /// Convolutions behind the first, each with twice the dilation of the one before.
    pub dilations: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the transformer.
    pub hidden: usize,
    /// Layers of its encoder and of its decoder.
    pub layers: usize,
    /// Bins that a value falls into.
    pub bins: usize,
    /// Numbers that a summary is to tell.
    pub numbers: usize,
}

impl LatPfnConfig {
    /// A fresh network with PyTorch's default weights.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> LatPfn {
        let mut init = Init::new(rng, device);
        let Self { width, dilations, heads, hidden, layers, bins, numbers } = *self;
        let init = &mut init;
        LatPfn {
            embedder: Embedder {
                blocks: (0..=dilations)
                    .map(|i| MobileBlock::new(if i == 0 { INPUTS } else { width }, width, 1 << i, i == 0, init))
                    .collect(),
                ff: FeedForward::new(width, init),
                attention: AttentionBlock::new(width, heads, init),
                output: Linear::uniform(width, width, init),
            },
            summary: Summary {
                proj: FeedForward::new(width, init),
                query: init.truncated_normal([QUERIES, width], 1.0),
                embedding: Linear::uniform(width, width, init),
                embedding_norm: LayerNorm::new(width, EPS, init),
                attn: MultiHead::new(width, heads, init),
                output: Linear::uniform(QUERIES * width, width, init),
                output_norm: LayerNorm::new(width, EPS, init),
            },
            encoder: (0..layers).map(|_| EncoderLayer::new(width, heads, hidden, init)).collect(),
            decoder: (0..layers).map(|_| DecoderLayer::new(width, heads, hidden, init)).collect(),
            head: Head {
                layers: (0..layers).map(|_| FeedForward::new(width, init)).collect(),
                output: Linear::uniform(width, bins, init),
            },
            identify: Head {
                layers: (0..2).map(|_| FeedForward::new(width, init)).collect(),
                output: Linear::uniform(width, numbers, init),
            },
        }
    }
}

/// A depthwise and a pointwise convolution, each with batch normalisation and GELU, beside an affine map.
#[derive(Module, Debug)]
pub struct MobileBlock {
    /// `[C, 3]`.
    pub depthwise: Param<Tensor<2>>,
    /// `[C]`.
    pub depthwise_bias: Param<Tensor<1>>,
    /// Behind it.
    pub depthwise_norm: BatchNorm,
    /// C → D.
    pub pointwise: Linear,
    /// Behind it.
    pub pointwise_norm: BatchNorm,
    /// C → D, beside both.
    pub proj: Linear,
    dilation: usize,
    repeated: bool,
}

impl MobileBlock {
    fn new(inputs: usize, outputs: usize, dilation: usize, repeated: bool, init: &mut Init<'_>) -> Self {
        let bound = 1.0 / 3.0_f64.sqrt();
        Self {
            depthwise: init.uniform([inputs, 3], bound),
            depthwise_bias: init.uniform([inputs], bound),
            depthwise_norm: BatchNorm::new(inputs, init),
            pointwise: Linear::uniform(inputs, outputs, init),
            pointwise_norm: BatchNorm::new(outputs, init),
            proj: Linear::uniform(inputs, outputs, init),
            dilation,
            repeated,
        }
    }

    /// `[S, L, C]` → `[S, L, D]`.
    fn forward(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Tensor<3> {
        let ends = if self.repeated { Ends::Repeated } else { Ends::Zeros };
        let y = ops::depthwise(x.clone(), self.depthwise.val(), self.depthwise_bias.val(), self.dilation, ends);
        let y = ops::gelu(self.depthwise_norm.forward(y, pass));
        let y = ops::gelu(self.pointwise_norm.forward(self.pointwise.forward(y), pass));
        y + self.proj.forward(x)
    }
}

/// `x + LayerNorm(GELU(Linear(x)))`.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// D → D.
    pub linear: Linear,
    /// Behind GELU.
    pub norm: LayerNorm,
}

impl FeedForward {
    fn new(width: usize, init: &mut Init<'_>) -> Self {
        Self { linear: Linear::uniform(width, width, init), norm: LayerNorm::new(width, EPS, init) }
    }

    /// `[.., D]` → the same.
    fn forward<const N: usize>(&self, x: Tensor<N>) -> Tensor<N> {
        x.clone() + self.norm.forward(ops::gelu(self.linear.forward(x)))
    }
}

/// Attention with packed maps, as PyTorch has it.
#[derive(Module, Debug)]
pub struct MultiHead {
    /// D → 3 D, rows `[q; k; v]`.
    pub in_proj: Linear,
    /// D → D.
    pub out_proj: Linear,
    heads: usize,
}

impl MultiHead {
    fn new(width: usize, heads: usize, init: &mut Init<'_>) -> Self {
        Self { in_proj: Linear::uniform(width, 3 * width, init), out_proj: Linear::uniform(width, width, init), heads }
    }

    /// Each set attends to itself: `[S, L, D]` → the same.
    fn itself(&self, x: Tensor<3>) -> Tensor<3> {
        let [sets, len, width] = x.dims();
        let qkv = self.in_proj.forward(x).reshape([sets * len, 3 * width]);
        let y = ops::attention(qkv, &Sets::uniform(sets, len), self.heads);
        self.out_proj.forward(y.reshape([sets, len, width]))
    }

    /// Queries `[B, Q, D]` of what is known `[B, N, D]`: `[B, Q, D]`.
    fn of(&self, queries: Tensor<3>, known: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = queries.dims();
        let (weight, bias) = (self.in_proj.weight.val(), self.in_proj.bias.val());
        let part = |from: usize, to: usize| {
            (weight.clone().slice([from * width..to * width, 0..width]), bias.clone().slice(from * width..to * width))
        };
        let ((q, q_bias), (kv, kv_bias)) = (part(0, 1), part(1, 3));
        let (queries, kv) = (ops::linear(queries, q, q_bias), ops::linear(known, kv, kv_bias));
        self.out_proj.forward(ops::cross_attention(queries, kv, self.heads))
    }

    /// Each row attends to itself alone, whose weight is then 1: `[.., D]` → the same.
    fn alone(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, width] = x.dims();
        let (weight, bias) = (self.in_proj.weight.val(), self.in_proj.bias.val());
        let value = weight.slice([2 * width..3 * width, 0..width]);
        self.out_proj.forward(ops::linear(x, value, bias.slice(2 * width..3 * width)))
    }
}

/// Attention over a series, then `x + LN(GELU(Linear(LN(x))))`.
#[derive(Module, Debug)]
pub struct AttentionBlock {
    /// Over the steps of a series.
    pub attn: MultiHead,
    /// Before the affine map.
    pub norm: LayerNorm,
    /// D → D.
    pub linear: Linear,
    /// Behind GELU.
    pub after: LayerNorm,
}

impl AttentionBlock {
    fn new(width: usize, heads: usize, init: &mut Init<'_>) -> Self {
        Self {
            attn: MultiHead::new(width, heads, init),
            norm: LayerNorm::new(width, EPS, init),
            linear: Linear::uniform(width, width, init),
            after: LayerNorm::new(width, EPS, init),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = x.clone() + self.attn.itself(x);
        x.clone() + self.after.forward(ops::gelu(self.linear.forward(self.norm.forward(x))))
    }
}

/// Each step of a series to a latent.
#[derive(Module, Debug)]
pub struct Embedder {
    /// The convolutions.
    pub blocks: Vec<MobileBlock>,
    /// Behind them.
    pub ff: FeedForward,
    /// Behind it.
    pub attention: AttentionBlock,
    /// D → D.
    pub output: Linear,
}

impl Embedder {
    /// Steps `[S, L, 3]` of series (time, value, whether it is asked for) → `[S, L, D]`.
    pub fn forward(&self, steps: Tensor<3>, pass: &mut Pass<'_>) -> Tensor<3> {
        let x = self.blocks.iter().fold(steps, |x, block| block.forward(x, pass));
        self.output.forward(self.attention.forward(self.ff.forward(x)))
    }
}

/// A series' latents to one vector: what three learnt queries find in them.
#[derive(Module, Debug)]
pub struct Summary {
    /// Before all.
    pub proj: FeedForward,
    /// `[3, D]`.
    pub query: Param<Tensor<2>>,
    /// D → D, with norm and GELU behind.
    pub embedding: Linear,
    /// Its norm.
    pub embedding_norm: LayerNorm,
    /// Queries over the steps.
    pub attn: MultiHead,
    /// 3 D → D, with norm and GELU behind.
    pub output: Linear,
    /// Its norm.
    pub output_norm: LayerNorm,
}

impl Summary {
    /// `[S, L, D]` → `[S, D]`.
    pub fn forward(&self, latents: Tensor<3>) -> Tensor<2> {
        let [series, _, width] = latents.dims();
        let x = self.embedding.forward(self.proj.forward(latents));
        let x = ops::gelu(self.embedding_norm.forward(x));
        let query = self.query.val().reshape([1, QUERIES, width]).repeat_dim(0, series);
        let found = self.attn.of(query, x).reshape([series, QUERIES * width]);
        ops::gelu(self.output_norm.forward(self.output.forward(found)))
    }
}

/// A post-norm layer over the summaries of a family's context.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Among summaries.
    pub self_attn: MultiHead,
    /// D → hidden, with a rectifier.
    pub linear1: Linear,
    /// Hidden → D.
    pub linear2: Linear,
    /// Behind attention.
    pub norm1: LayerNorm,
    /// Behind the maps.
    pub norm2: LayerNorm,
}

impl EncoderLayer {
    fn new(width: usize, heads: usize, hidden: usize, init: &mut Init<'_>) -> Self {
        Self {
            self_attn: MultiHead::new(width, heads, init),
            linear1: Linear::uniform(width, hidden, init),
            linear2: Linear::uniform(hidden, width, init),
            norm1: LayerNorm::new(width, EPS, init),
            norm2: LayerNorm::new(width, EPS, init),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.norm1.forward(x.clone() + self.self_attn.itself(x));
        let y = self.linear2.forward(ops::relu(self.linear1.forward(x.clone())));
        self.norm2.forward(x + y)
    }
}

/// A post-norm layer over the steps that are asked for, none of which sees another.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Of a step with itself alone.
    pub self_attn: MultiHead,
    /// Over the context.
    pub multihead_attn: MultiHead,
    /// D → hidden, with a rectifier.
    pub linear1: Linear,
    /// Hidden → D.
    pub linear2: Linear,
    /// Behind the first attention.
    pub norm1: LayerNorm,
    /// Behind the second.
    pub norm2: LayerNorm,
    /// Behind the maps.
    pub norm3: LayerNorm,
}

impl DecoderLayer {
    fn new(width: usize, heads: usize, hidden: usize, init: &mut Init<'_>) -> Self {
        Self {
            self_attn: MultiHead::new(width, heads, init),
            multihead_attn: MultiHead::new(width, heads, init),
            linear1: Linear::uniform(width, hidden, init),
            linear2: Linear::uniform(hidden, width, init),
            norm1: LayerNorm::new(width, EPS, init),
            norm2: LayerNorm::new(width, EPS, init),
            norm3: LayerNorm::new(width, EPS, init),
        }
    }

    fn forward(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let x = self.norm1.forward(x.clone() + self.self_attn.alone(x));
        let x = self.norm2.forward(x.clone() + self.multihead_attn.of(x, context));
        let y = self.linear2.forward(ops::relu(self.linear1.forward(x.clone())));
        self.norm3.forward(x + y)
    }
}

/// Residual maps and a last one.
#[derive(Module, Debug)]
pub struct Head {
    /// The residual maps.
    pub layers: Vec<FeedForward>,
    /// D → what is decoded.
    pub output: Linear,
}

impl Head {
    /// `[R, D]` → `[R, O]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.layers.iter().fold(x, |x, layer| layer.forward(x)))
    }
}

/// See [`LatPfnConfig`].
#[derive(Module, Debug)]
pub struct LatPfn {
    /// Each step of a series to a latent.
    pub embedder: Embedder,
    /// A series' latents to one vector.
    pub summary: Summary,
    /// Over the summaries of a family's context.
    pub encoder: Vec<EncoderLayer>,
    /// Over the steps that are asked for.
    pub decoder: Vec<DecoderLayer>,
    /// Latents to bins.
    pub head: Head,
    /// Summaries to the numbers that a family was made by.
    pub identify: Head,
}

impl LatPfn {
    /// What is predicted of asked steps from a family's context.
    ///
    /// # Shapes
    /// - `summaries`: `[B, N, D]`; `asked`: embedded, `[B, Q, D]`
    /// - output: `[B, Q, D]`
    pub fn predict(&self, summaries: Tensor<3>, asked: Tensor<3>) -> Tensor<3> {
        let context = self.encoder.iter().fold(summaries, |x, layer| layer.forward(x));
        self.decoder.iter().fold(asked, |x, layer| layer.forward(x, context.clone()))
    }
}
