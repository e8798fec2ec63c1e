//! An encoder of what a policy sees: a backbone's tokens, a transformer over them, a norm (ACT, arXiv 2304.13705; ACT-JEPA, arXiv 2501.14622).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::encode::{Backbone, FeatureMap, ImageNetwork};
use crate::layers::{Block, LayerNorm, Linear, Pass};

/// Lengths of what stands behind a backbone. [`ContextConfig::init`] makes the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextConfig {
    /// Width of the tokens, D, a multiple of `heads`.
    pub width: usize,
    /// Blocks of the transformer.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
}

impl ContextConfig {
    /// A fresh network behind a backbone.
    pub fn init<B: Backbone>(&self, backbone: B, rng: &mut ChaCha8Rng, device: &Device) -> ContextEncoder<B> {
        let Self { width, depth, heads } = *self;
        let mut init = Init::new(rng, device);
        ContextEncoder {
            embed: Linear::uniform(ImageNetwork::width(&backbone), width, &mut init),
            blocks: (0..depth).map(|_| Block::new(width, heads, 4 * width, &mut init)).collect(),
            norm: LayerNorm::new(width, 1e-6, &mut init),
            backbone,
            width,
        }
    }
}

/// See [`ContextConfig`].
#[derive(Module, Debug)]
pub struct ContextEncoder<B: Module> {
    /// Observations to tokens.
    pub backbone: B,
    /// Its width → D.
    pub embed: Linear,
    /// The transformer over the tokens of one observation.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    width: usize,
}

impl<B: Backbone> ContextEncoder<B> {
    /// Observations `[B, C, H, W]` → `[B, N, D]`.
    pub fn forward(&self, observations: Tensor<4>) -> Tensor<3> {
        self.learned(observations, &mut Pass::Evaluation).tokens
    }
}

impl<B: Backbone> ImageNetwork for ContextEncoder<B> {
    fn tokens(&self, observations: Tensor<4>) -> FeatureMap {
        self.learned(observations, &mut Pass::Evaluation)
    }

    fn learned(&self, observations: Tensor<4>, pass: &mut Pass<'_>) -> FeatureMap {
        let FeatureMap { tokens, grid } = self.backbone.learned(observations, pass);
        let tokens = self.blocks.iter().fold(self.embed.forward(tokens), |x, block| block.forward(x));
        FeatureMap { tokens: self.norm.forward(tokens), grid }
    }

    fn width(&self) -> usize {
        self.width
    }

    fn image(&self) -> (usize, usize) {
        self.backbone.image()
    }

    fn channels(&self) -> usize {
        self.backbone.channels()
    }
}
