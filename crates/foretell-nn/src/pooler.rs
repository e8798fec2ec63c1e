//! The attentive probe of V-JEPA (arXiv 2404.08471, appendix; V-JEPA 2: with self-attention before): a learned query asks the tokens.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::clip_vit::{blocks_parameters, product};
use crate::layers::{Block, LayerNorm, Linear, Mlp};

/// Lengths of an [`AttentiveClassifier`]. [`AttentiveConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentiveConfig {
    /// Token width D, a multiple of `heads`.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLPs.
    pub hidden: usize,
    /// Blocks of self-attention before the query asks.
    pub depth: usize,
    /// ε of the layer norms: 1e-5 in the released probes, 1e-6 in transformers' classifiers.
    pub eps: f64,
    /// Classes.
    pub classes: usize,
}

impl AttentiveConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> AttentiveClassifier {
        self.build(&mut Init::new(rng, device))
    }

    /// The network whose parameters `init` gives.
    pub fn build(&self, init: &mut Init<'_>) -> AttentiveClassifier {
        let Self { width, heads, hidden, depth, eps, classes } = *self;
        let std = 0.02;
        AttentiveClassifier {
            pooler: AttentivePooler {
                query_tokens: init.truncated_normal([1, 1, width], std),
                cross_attention_block: CrossAttentionBlock::new(width, heads, hidden, eps, init),
                blocks: (0..depth).map(|_| Block::with_eps(width, heads, hidden, eps, init)).collect(),
            },
            linear: Linear::vit(width, classes, std, init),
        }
    }
}

impl AttentiveConfig {
    /// About how many numbers the network has; see [`ClipVitConfig::parameters`](crate::clip_vit::ClipVitConfig::parameters).
    pub fn parameters(&self) -> u128 {
        let [width, hidden, classes] = [self.width, self.hidden, self.classes].map(|n| n as u128);
        let asked = product(&[width, 3 * width + 2 * hidden + classes]);
        asked.saturating_add(blocks_parameters(self.width, self.hidden, self.depth))
    }
}

/// Queries over other tokens, without an output projection.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// D → D.
    pub q: Linear,
    /// D → 2 D, rows `[k; v]`.
    pub kv: Linear,
    heads: usize,
}

/// Cross-attention onto the queries, then an MLP. The queries themselves are not normalised.
#[derive(Module, Debug)]
pub struct CrossAttentionBlock {
    /// Of the tokens that are asked.
    pub norm1: LayerNorm,
    /// The attention.
    pub xattn: CrossAttention,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// The MLP.
    pub mlp: Mlp,
}

impl CrossAttentionBlock {
    /// Weights truncated-normal 0.02, as released. `width` must be a multiple of `heads`.
    pub fn new(width: usize, heads: usize, hidden: usize, eps: f64, init: &mut Init<'_>) -> Self {
        let std = 0.02;
        Self {
            norm1: LayerNorm::new(width, eps, init),
            xattn: CrossAttention {
                q: Linear::vit(width, width, std, init),
                kv: Linear::vit(width, 2 * width, std, init),
                heads,
            },
            norm2: LayerNorm::new(width, eps, init),
            mlp: Mlp { fc1: Linear::vit(width, hidden, std, init), fc2: Linear::vit(hidden, width, std, init) },
        }
    }

    /// `queries` `[B, Q, D]`, `tokens` `[B, N, D]` → `[B, Q, D]`.
    pub fn forward(&self, queries: Tensor<3>, tokens: Tensor<3>) -> Tensor<3> {
        let kv = self.xattn.kv.forward(self.norm1.forward(tokens));
        let found = ops::cross_attention(self.xattn.q.forward(queries.clone()), kv, self.xattn.heads);
        self.after(queries, found)
    }

    fn after(&self, queries: Tensor<3>, found: Tensor<3>) -> Tensor<3> {
        let x = queries + found;
        x.clone() + self.mlp.forward(self.norm2.forward(x))
    }

    /// Attention heads.
    pub(crate) fn heads(&self) -> usize {
        self.xattn.heads
    }

    /// Tokens `[T, D]` normalised without the gain and bias of a block: the same for all blocks.
    pub(crate) fn plain(&self, tokens: Tensor<2>) -> Tensor<2> {
        let (gain, _, eps) = self.norm1.parts();
        let (width, device) = (gain.dims()[0], tokens.device());
        ops::layer_norm(tokens, Tensor::ones([width], &device), Tensor::zeros([width], &device), eps)
    }

    /// What queries `[Q, D]` that are the same for all samples look for among [plain](Self::plain) tokens: `[heads·Q, D]`. Keys and
    /// their norm's gain are folded in; what a bias adds to all of a query's scores has no part in their softmax.
    pub(crate) fn sought(&self, queries: Tensor<2>) -> Tensor<2> {
        let ([asked, width], heads) = (queries.dims(), self.xattn.heads);
        let head = width / heads;
        let q = self.xattn.q.forward(queries).reshape([asked, heads, head]).swap_dims(0, 1);
        let keys = self.xattn.kv.weight.val().slice([0..width, 0..width]).reshape([heads, head, width]);
        let sought = ops::matmul(q, keys).reshape([heads * asked, width]);
        let gain = self.norm1.weight.val() / (head as f64).sqrt();
        sought * gain.unsqueeze()
    }

    /// The block's output `[B, Q, D]` of what its queries found: means of [plain](Self::plain) tokens `[B, heads, Q, D]`. Values, and
    /// their norm's gain and bias, are affine maps, and of a mean they are the mean of what they make.
    pub(crate) fn answered(&self, queries: Tensor<2>, found: Tensor<4>) -> Tensor<3> {
        let [b, heads, asked, width] = found.dims();
        let head = width / heads;
        let (gain, bias, _) = self.norm1.parts();
        let found = found.swap_dims(0, 1).reshape([heads, b * asked, width]) * gain.unsqueeze() + bias.unsqueeze();
        let values = self.xattn.kv.weight.val().slice([width..2 * width, 0..width]).reshape([heads, head, width]);
        let shift = self.xattn.kv.bias.val().narrow(0, width, width).reshape([heads, 1, head]);
        let told = ops::matmul(found, values.transpose()) + shift;
        let told = told.reshape([heads, b, asked, head]).permute([1, 2, 0, 3]).reshape([b, asked, width]);
        self.after(queries.unsqueeze::<3>().expand([b, asked, width]), told)
    }
}

/// Tokens to one vector.
#[derive(Module, Debug)]
pub struct AttentivePooler {
    /// `[1, 1, D]`, learnt.
    pub query_tokens: Param<Tensor<3>>,
    /// How the query asks.
    pub cross_attention_block: CrossAttentionBlock,
    /// Before it asks.
    pub blocks: Vec<Block>,
}

impl AttentivePooler {
    /// `[B, N, D]` → `[B, D]`.
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<2> {
        let [b, _, width] = tokens.dims();
        let tokens = self.blocks.iter().fold(tokens, |x, block| block.forward(x));
        let query = self.query_tokens.val().expand([b, 1, width]);
        self.cross_attention_block.forward(query, tokens).squeeze_dim(1)
    }
}

/// See [`AttentiveConfig`].
#[derive(Module, Debug)]
pub struct AttentiveClassifier {
    /// Tokens to one vector.
    pub pooler: AttentivePooler,
    /// D → classes.
    pub linear: Linear,
}

impl AttentiveClassifier {
    /// Tokens `[B, N, D]` → logits `[B, classes]`.
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<2> {
        self.linear.forward(self.pooler.forward(tokens))
    }
}
