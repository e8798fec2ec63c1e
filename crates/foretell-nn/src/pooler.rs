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
                cross_attention_block: CrossAttentionBlock {
                    norm1: LayerNorm::new(width, eps, init),
                    xattn: CrossAttention {
                        q: Linear::vit(width, width, std, init),
                        kv: Linear::vit(width, 2 * width, std, init),
                        heads,
                    },
                    norm2: LayerNorm::new(width, eps, init),
                    mlp: Mlp { fc1: Linear::vit(width, hidden, std, init), fc2: Linear::vit(hidden, width, std, init) },
                },
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
    /// `queries` `[B, Q, D]`, `tokens` `[B, N, D]` → `[B, Q, D]`.
    pub fn forward(&self, queries: Tensor<3>, tokens: Tensor<3>) -> Tensor<3> {
        let kv = self.xattn.kv.forward(self.norm1.forward(tokens));
        let found = ops::cross_attention(self.xattn.q.forward(queries.clone()), kv, self.xattn.heads);
        let x = queries + found;
        x.clone() + self.mlp.forward(self.norm2.forward(x))
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
