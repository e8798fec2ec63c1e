//! What every trained encoder offers to probes, `embed` and reports, whatever system made it.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::layers::{BatchStatistics, Pass};
use crate::vit::Vit;

/// Features of a batch of images.
pub struct FeatureMap {
    /// `[B, N, D]`, raster order.
    pub tokens: Tensor<3>,
    /// Rows and columns of the tokens' grid, `rows · cols = N`.
    pub grid: (usize, usize),
}

/// An encoder in evaluation mode, without gradients.
pub trait Encode: Send {
    /// Images `[B, C, H, W]`, normalised as in training, on the encoder's device → tokens.
    fn tokens(&self, images: Tensor<4>) -> FeatureMap;

    /// Width of the tokens, D.
    fn width(&self) -> usize;

    /// Height and width in pixels of the images that it takes.
    fn image(&self) -> (usize, usize);

    /// Channels of the images that it takes.
    fn channels(&self) -> usize;

    /// One vector an image, `[B, D]`: the mean of the tokens.
    fn pool(&self, map: &FeatureMap) -> Tensor<2> {
        map.tokens.clone().mean_dim(1).squeeze_dim(1)
    }

    /// The network itself, where it is a vision transformer of images.
    fn vit(&self) -> Option<&Vit> {
        None
    }

    /// Makes ready for many passes, at the cost of memory for the weights once more.
    fn prepare(&mut self) {}

    /// What probes are given of images `[B, C, H, W]`: `[B, F]`; [`pool`](Self::pool) unless the encoder's paper says
    /// otherwise.
    fn probed(&self, images: Tensor<4>) -> Tensor<2> {
        let map = self.tokens(images);
        self.pool(&map)
    }
}

/// An encoder that learns from whole views.
pub trait Backbone: Module + ModuleDisplay + Encode {
    /// One vector a view, `[B, C, H, W]` → `[B, D]`; H and W need not be [`Encode::image`]'s.
    fn view(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<2>;

    /// Puts a training pass's batch statistics into the running averages.
    fn absorb(self, seen: &[BatchStatistics], momentum: f64) -> Self;
}
