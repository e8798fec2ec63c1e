//! One vector a frame: a backbone and behind it a projector whose batch norm is the last norm there is.
//!
//! A layer norm at the end pins every vector's length, which SIGReg wants to be free (LeWorldModel, arXiv 2603.19312).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::encode::{Backbone, FeatureMap, ImageNetwork};
use crate::layers::Pass;
use crate::mlp::{Activation, Projector};

/// Backbone and projector, kept together after training: a latent is what the projector gives.
#[derive(Module, Debug)]
pub struct Framed<B: Module> {
    /// Frames to features.
    pub backbone: B,
    /// Features to latents: one hidden layer with batch norm and GELU.
    pub projector: Projector,
    width: usize,
}

impl<B: Backbone> Framed<B> {
    /// Latents of `width` behind a backbone; the projector's hidden layer has `hidden`.
    pub fn new(backbone: B, hidden: usize, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let widths = [ImageNetwork::width(&backbone), hidden, width];
        Self { projector: Projector::new(&widths, Activation::Gelu, rng, device), backbone, width }
    }

    /// Frames `[B, C, H, W]` → latents `[B, D]`.
    pub fn forward(&self, frames: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<2> {
        let features = self.backbone.view(frames, pass);
        self.projector.forward(features, pass)
    }
}

impl<B: Backbone> ImageNetwork for Framed<B> {
    fn tokens(&self, frames: Tensor<4>) -> FeatureMap {
        self.learned(frames, &mut Pass::Evaluation)
    }

    fn learned(&self, frames: Tensor<4>, pass: &mut Pass<'_>) -> FeatureMap {
        let latents = self.forward(frames, pass);
        let [b, d] = latents.dims();
        FeatureMap { tokens: latents.reshape([b, 1, d]), grid: (1, 1) }
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
