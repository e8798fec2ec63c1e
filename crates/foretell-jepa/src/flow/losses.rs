//! What says that a flow is right where nobody knows it: warped, a frame looks like the other one, and flow changes where the image does.

use burn::tensor::Tensor;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

/// What a warped frame is held against the other one by, on pixels in 0..=1. The default is the usual mix of unsupervised depth and flow
/// (Godard et al., arXiv 1609.03677, equation 2): `0.85 (1 − SSIM) / 2 + 0.15 |a − b|`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Photometric {
    /// Weight of the absolute difference.
    pub l1: f64,
    /// Weight of the squared difference.
    pub l2: f64,
    /// Weight of the structural dissimilarity.
    pub ssim: f64,
}

impl Default for Photometric {
    fn default() -> Self {
        Self { l1: 0.15, l2: 0.0, ssim: 0.85 }
    }
}

impl Photometric {
    /// The mean over the pixels whose `inside` is 1, `[1]`; 0 where there are none.
    ///
    /// # Shapes
    /// - `a`, `b`: `[B, H, W, C]`; `inside`: `[B, H, W, 1]`
    pub fn loss(&self, a: Tensor<4>, b: Tensor<4>, inside: Tensor<4>) -> Tensor<1> {
        let [n, h, w, c] = a.dims();
        let mut sum: Option<Tensor<4>> = None;
        let mut add = |term: Tensor<4>, weight: f64| {
            let term = term * weight;
            sum = Some(match sum.take() {
                Some(sum) => sum + term,
                None => term,
            });
        };
        let difference = a.clone() - b.clone();
        if self.l1 > 0.0 {
            add(difference.clone().abs(), self.l1);
        }
        if self.l2 > 0.0 {
            add(difference.square(), self.l2);
        }
        if self.ssim > 0.0 {
            add(dissimilarity(a.clone(), b), self.ssim);
        }
        let Some(sum) = sum else { return Tensor::zeros([1], &a.device().inner()) };
        let pixels = inside.clone().sum() * c as f64 + 1e-6;
        (sum * inside.expand([n, h, w, c])).sum() / pixels
    }
}

/// `(1 − SSIM) / 2` of each pixel, of windows of three by three pixels with what lies on the edge beyond it (Wang et al., 2004; constants
/// 0.01² and 0.03² of pixels in 0..=1). `[B, H, W, C]`.
pub fn dissimilarity(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    const MEAN: f64 = 1e-4;
    const SPREAD: f64 = 9e-4;
    let (mean_a, mean_b) = (blurred(a.clone()), blurred(b.clone()));
    let (square_a, square_b) = (mean_a.clone().square(), mean_b.clone().square());
    let both = mean_a * mean_b;
    let variance = blurred(a.clone().square() + b.clone().square()) - square_a.clone() - square_b.clone();
    let covariance = blurred(a * b) - both.clone();
    let above = (both * 2.0 + MEAN) * (covariance * 2.0 + SPREAD);
    let below = (square_a + square_b + MEAN) * (variance + SPREAD);
    ((above / below).neg() + 1.0) * 0.5
}

/// Means of three by three pixels, the edge's repeated.
fn blurred(x: Tensor<4>) -> Tensor<4> {
    let along = |x: Tensor<4>, axis: usize| {
        let count = x.dims()[axis];
        if count == 1 {
            return x;
        }
        let (first, last) = (x.clone().narrow(axis, 0, 1), x.clone().narrow(axis, count - 1, 1));
        let before = Tensor::cat(vec![first, x.clone().narrow(axis, 0, count - 1)], axis);
        let after = Tensor::cat(vec![x.clone().narrow(axis, 1, count - 1), last], axis);
        (before + x + after) / 3.0
    };
    along(along(x, 1), 2)
}

/// `mean |∂ flow| e^(−β |∂ image|)` over both axes (first order): flow is smooth but where the image has an edge. `[1]`.
///
/// # Shapes
/// - `flow`: `[B, H, W, 2]`; `image`: `[B, H, W, C]`, pixels in 0..=1
pub fn smoothness(flow: Tensor<4>, image: Tensor<4>, edge: f64) -> Tensor<1> {
    let along = |axis: usize| {
        let step = |x: Tensor<4>| {
            let count = x.dims()[axis];
            (x.clone().narrow(axis, 1, count - 1) - x.narrow(axis, 0, count - 1)).abs()
        };
        (flow.dims()[axis] > 1).then(|| {
            let weight = (step(image.clone()).mean_dim(3) * -edge).exp();
            (step(flow.clone()).mean_dim(3) * weight).mean()
        })
    };
    let terms = [along(1), along(2)].into_iter().flatten();
    terms.reduce(|a, b| a + b).unwrap_or_else(|| Tensor::zeros([1], &flow.device().inner()))
}

/// The mean of `(a − b)²` over the places whose `inside` is 1, `[1]`. `a`, `b`: `[B, H, W, C]`; `inside`: `[B, H, W, 1]`.
pub fn regression(a: Tensor<4>, b: Tensor<4>, inside: Tensor<4>) -> Tensor<1> {
    let places = inside.clone().sum() + 1e-6;
    ((a - b).square().mean_dim(3) * inside).sum() / places
}

/// The mean deviation of a map's dimensions over samples and places: 0 where the features have become one. `[B, H, W, D]` → `[1]`.
pub fn deviation(map: Tensor<4>) -> Tensor<1> {
    let [b, h, w, d] = map.dims();
    let rows = map.reshape([b * h * w, d]);
    let centred = rows.clone() - rows.mean_dim(0);
    centred.square().mean_dim(0).sqrt().mean()
}

/// Features of each place as rows, `[1, B · H · W, D]`, for the terms of VICReg.
pub(super) fn places(map: Tensor<4>) -> Tensor<3> {
    let [b, h, w, d] = map.dims();
    map.reshape([1, b * h * w, d])
}

/// Of a frame in pixels in 0..=1 as many halved ones as there are levels, the frame first. `[B, H, W, C]`.
pub(super) fn halved(frames: Tensor<4>, levels: usize) -> Vec<Tensor<4>> {
    let mut all = vec![frames];
    while all.len() < levels {
        all.push(ops::downsample_twice(all[all.len() - 1].clone()));
    }
    all
}
