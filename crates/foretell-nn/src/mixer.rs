//! An MLP-Mixer (Tolstikhin et al., NeurIPS 2021, arXiv 2105.01601) over a fixed number of places.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{LayerNorm, Linear};

/// A layer: an MLP over places, then one over features, each behind a norm and with a residual sum.
#[derive(Module, Debug)]
pub struct MixerBlock {
    /// Before places are mixed.
    pub norm1: LayerNorm,
    /// N → N.
    pub places1: Linear,
    /// N → N.
    pub places2: Linear,
    /// Before features are mixed.
    pub norm2: LayerNorm,
    /// D → D.
    pub features1: Linear,
    /// D → D.
    pub features2: Linear,
}

impl MixerBlock {
    fn new(places: usize, width: usize, init: &mut Init<'_>) -> Self {
        Self {
            norm1: LayerNorm::new(width, 1e-5, init),
            places1: Linear::uniform(places, places, init),
            places2: Linear::uniform(places, places, init),
            norm2: LayerNorm::new(width, 1e-5, init),
            features1: Linear::uniform(width, width, init),
            features2: Linear::uniform(width, width, init),
        }
    }

    /// `[G, N, D]` → the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let turned = self.norm1.forward(x.clone()).swap_dims(1, 2);
        let mixed = self.places2.forward(ops::gelu(self.places1.forward(turned)));
        let x = x + mixed.swap_dims(1, 2);
        x.clone() + self.features2.forward(ops::gelu(self.features1.forward(self.norm2.forward(x))))
    }
}

/// Layers, a norm, and a last map.
#[derive(Module, Debug)]
pub struct Mixer {
    /// The layers.
    pub blocks: Vec<MixerBlock>,
    /// Behind them.
    pub norm: LayerNorm,
    /// D → D.
    pub output: Linear,
}

impl Mixer {
    /// Over N places, D wide; PyTorch's default weights.
    pub fn new(places: usize, width: usize, depth: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self {
            blocks: (0..depth).map(|_| MixerBlock::new(places, width, &mut init)).collect(),
            norm: LayerNorm::new(width, 1e-5, &mut init),
            output: Linear::uniform(width, width, &mut init),
        }
    }

    /// `[G, N, D]` → the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        self.output.forward(self.norm.forward(x))
    }
}
