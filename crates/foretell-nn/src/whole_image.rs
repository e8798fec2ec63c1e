//! A kept predictor as a network of images: what it predicts of every place of an image of which it sees all. What is learnt from labels is
//! the predictor's; the encoder below it stays as it is (IWM, arXiv 2403.00504, section 5).

use burn::module::Module;
use burn::tensor::Tensor;
use foretell_ops as ops;

use crate::encode::{FeatureMap, ImageNetwork};
use crate::layers::Pass;
use crate::predictor::Predictor;
use crate::vit::Vit;

/// See the module.
#[derive(Module, Debug)]
pub struct WholeImage {
    /// Sees the image.
    pub encoder: Vit,
    /// Predicts every token of it.
    pub predictor: Predictor,
}

impl WholeImage {
    /// What is predicted of tokens `[B, N, D]` of whole images under actions `[B, A]`, by itself that nothing is changed: `[B, N, D]`.
    pub fn predict(&self, tokens: Tensor<3>, actions: Option<Tensor<2>>) -> Tensor<3> {
        let [batch, count, _] = tokens.dims();
        let every: Vec<u32> = (0..batch).flat_map(|_| 0..count as u32).collect();
        self.predictor.forward_under(tokens, &every, &every, 1, actions)
    }
}

impl ImageNetwork for WholeImage {
    fn tokens(&self, images: Tensor<4>) -> FeatureMap {
        let FeatureMap { tokens, grid } = self.encoder.tokens(images);
        let device = tokens.device();
        FeatureMap { tokens: ops::together(&device, || self.predict(tokens, None)), grid }
    }

    fn learned(&self, images: Tensor<4>, _: &mut Pass<'_>) -> FeatureMap {
        let FeatureMap { tokens, grid } = self.encoder.valid().tokens(images);
        FeatureMap { tokens: self.predict(tokens, None), grid }
    }

    fn width(&self) -> usize {
        self.encoder.width()
    }

    fn image(&self) -> (usize, usize) {
        self.encoder.image()
    }

    fn channels(&self) -> usize {
        self.encoder.channels()
    }
}
