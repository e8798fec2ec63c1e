//! Two-dimensional convolution on channels-last features: a matrix product of patches.
//!
//! A patch's row of `k·C` values lies without gaps in the padded input, and the patch beside it begins `stride·C` values
//! later: the kernel for AVX-512 reads patches [where they lie](crate::conv_in_place). Whoever else multiplies has them gathered.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::ops::ConvOptions;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::conv_in_place::{Back, Places, Scratch};
use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::kernel::Start;
use crate::matrix::{Matrix, Ready, Store, Threads, product, product_ready, room};
use crate::reduce::add_in_order;

/// Cross-correlation with zero padding, without a bias.
///
/// # Shapes
/// - `x`: `[B, H, W, C]`, `weight`: `[O, C, k, k]` as in the official checkpoints
/// - output: `[B, H', W', O]` with `H' = (H + 2 padding − k) / stride + 1`
///
/// The kernel must fit into the padded input.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    if is_fused(&x) && is_fused(&weight) {
        // Rows of patches are [k, k, C]: the weight follows, and autodiff carries its gradient back.
        let weight = weight.permute([0, 2, 3, 1]);
        return Tensor::from_dispatch(Dispatch::fused_conv2d(
            x.into_dispatch(),
            weight.into_dispatch(),
            stride,
            padding,
        ));
    }
    conv2d_composed(x, weight, stride, padding)
}

/// The composed body of [`conv2d`].
pub fn conv2d_composed(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    let options = ConvOptions::new([stride, stride], [padding, padding], [1, 1], 1);
    let y = burn::tensor::module::conv2d(x.permute([0, 3, 1, 2]), weight, None, options);
    y.permute([0, 2, 3, 1])
}

/// The lengths of one call.
#[derive(Clone, Copy)]
pub(crate) struct Lengths {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Lengths {
    fn of(x: &FlexTensor, weight: &FlexTensor, stride: usize, padding: usize) -> Self {
        let (x, w) = (dims(x), dims(weight));
        Self { batch: x[0], height: x[1], width: x[2], channels: x[3], outputs: w[0], kernel: w[1], stride, padding }
    }
    pub(crate) fn out_height(self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }
    pub(crate) fn out_width(self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }
    pub(crate) fn positions(self) -> usize {
        self.out_height() * self.out_width()
    }
    pub(crate) fn patch(self) -> usize {
        self.kernel * self.kernel * self.channels
    }
    pub(crate) fn sample(self) -> usize {
        self.height * self.width * self.channels
    }
    /// Whether the rows of patches are the input itself.
    pub(crate) fn is_pointwise(self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }

    /// For each output position and kernel row: `(row offset, columns of the kernel inside, input offset)`.
    fn for_each_run(self, mut f: impl FnMut(usize, usize, usize, usize)) {
        for oy in 0..self.out_height() {
            for ox in 0..self.out_width() {
                let row = (oy * self.out_width() + ox) * self.patch();
                for ky in 0..self.kernel {
                    let y = oy * self.stride + ky;
                    let left = ox * self.stride;
                    let first = self.padding.saturating_sub(left).min(self.kernel);
                    let last = (self.width + self.padding).saturating_sub(left).min(self.kernel);
                    let start = row + ky * self.kernel * self.channels;
                    if y < self.padding || y >= self.height + self.padding || first >= last {
                        f(start, 0, 0, 0);
                    } else {
                        let input = ((y - self.padding) * self.width + left + first - self.padding) * self.channels;
                        f(start, first, last, input);
                    }
                }
            }
        }
    }

    /// One sample's patches, `[H'·W', k·k·C]`.
    fn gather(self, x: &[f32], patches: &mut [f32]) {
        let (c, k) = (self.channels, self.kernel);
        self.for_each_run(|start, first, last, input| {
            let run = &mut patches[start..start + k * c];
            run[..first * c].fill(0.0);
            run[first * c..last * c].copy_from_slice(&x[input..input + (last - first) * c]);
            run[last * c..].fill(0.0);
        });
    }

    /// Adds one sample's patches back to where they came from.
    fn scatter(self, patches: &[f32], dx: &mut [f32]) {
        dx.fill(0.0);
        let c = self.channels;
        self.for_each_run(|start, first, last, input| {
            let run = &patches[start + first * c..start + last * c];
            for (dx, p) in dx[input..input + run.len()].iter_mut().zip(run) {
                *dx += p;
            }
        });
    }

    /// The patches of some samples, one after the other.
    fn gather_all(self, x: &[f32], patches: &mut [f32]) {
        let samples = x.chunks_exact(self.sample());
        patches.chunks_exact_mut(self.positions() * self.patch()).zip(samples).for_each(|(p, x)| self.gather(x, p));
    }

    /// `dw += dyᵀ patches` over some samples.
    fn add_weight_gradient(self, x: &[f32], dy: &[f32], dw: &mut [f32], own: &mut Vec<f32>) {
        let (n, patch) = (dy.len() / self.outputs, self.patch());
        let patches = if self.is_pointwise() {
            x
        } else {
            let patches = room(own, n * patch);
            self.gather_all(x, patches);
            patches
        };
        let dy = Matrix::new(dy, n, self.outputs);
        product(dw, patch, Store::Add, dy.t(), Matrix::new(patches, n, patch), Threads::One);
    }

    /// The gradient of some samples, through that of their patches.
    fn input_gradient(self, dy: &[f32], w: &Ready, dx: &mut [f32], own: &mut Vec<f32>) {
        let (n, patch) = (dy.len() / self.outputs, self.patch());
        let dy = Matrix::new(dy, n, self.outputs);
        if self.is_pointwise() {
            return product_ready(dx, Start::Zero, dy, w);
        }
        let patches = room(own, n * patch);
        product_ready(patches, Start::Zero, dy, w);
        let of_samples = dx.chunks_exact_mut(self.sample()).zip(patches.chunks_exact(self.positions() * patch));
        of_samples.for_each(|(dx, patches)| self.scatter(patches, dx));
    }

    /// Samples in a piece of work, and pieces in a lane of weight gradients: functions of the shape alone.
    fn shares(self) -> (usize, usize) {
        let samples = (ROWS / self.positions().max(1)).clamp(1, self.batch.max(1));
        let lanes = 1 << (self.batch * self.positions() / LANE).clamp(2, LANES).ilog2();
        (samples, self.batch.div_ceil(samples).div_ceil(lanes).max(1))
    }
}

/// Output positions in a piece of work, about.
const ROWS: usize = 256;
/// Output positions that a lane of weight gradients has at least.
const LANE: usize = 2048;
/// Most lanes.
const LANES: usize = 8;

/// `weight` is `[O, k, k, C]` here and below.
pub(crate) fn forward(x: &FlexTensor, weight: &FlexTensor, stride: usize, padding: usize) -> FlexTensor {
    let l = Lengths::of(x, weight, stride, padding);
    let (rows, patch, (samples, _)) = (l.positions(), l.patch(), l.shares());
    let mut y = buffer(l.batch * rows * l.outputs);
    let shape = [l.batch, l.out_height(), l.out_width(), l.outputs];
    if y.is_empty() {
        return tensor(y, shape);
    }
    let w = Ready::of(Matrix::new(slice(weight), l.outputs, patch).t());
    let places = Places::of(l, samples);
    let pieces = y.par_chunks_mut(samples * rows * l.outputs).zip(slice(x).par_chunks(samples * l.sample()));
    pieces.for_each_init(Vec::new, |own, (y, x)| {
        if let Some(places) = &places {
            return places.product(places.pad(x, own), &w, y);
        }
        let n = y.len() / l.outputs;
        let patches = if l.is_pointwise() {
            x
        } else {
            let patches = room(own, n * patch);
            l.gather_all(x, patches);
            patches
        };
        product_ready(y, Start::Zero, Matrix::new(patches, n, patch), &w);
    });
    tensor(y, shape)
}

/// How the input's gradient is made.
enum Input {
    InPlace(Back),
    /// Through the patches' gradients.
    Gathered(Ready),
}

pub(crate) fn backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    stride: usize,
    padding: usize,
    dy: &FlexTensor,
    want: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let l = Lengths::of(x, weight, stride, padding);
    let (rows, patch, (samples, in_lane)) = (l.positions(), l.patch(), l.shares());
    let mut dx = want[0].then(|| buffer(l.batch * l.sample()));
    let per_lane = (samples * in_lane).max(1);
    let lanes = l.batch.div_ceil(per_lane);
    let places = Places::of(l, samples);
    let back = want[0].then(|| match Back::of(l, samples, slice(weight)) {
        Some(back) => Input::InPlace(back),
        None => Input::Gathered(Ready::of(Matrix::new(slice(weight), l.outputs, patch))),
    });
    let mut dxs: Vec<Option<&mut [f32]>> = match &mut dx {
        Some(dx) if !dx.is_empty() => dx.chunks_mut(per_lane * l.sample()).map(Some).collect(),
        _ => (0..lanes).map(|_| None).collect(),
    };
    let parts: Vec<Vec<f32>> = dxs
        .par_iter_mut()
        .zip(slice(x).par_chunks((per_lane * l.sample()).max(1)))
        .zip(slice(dy).par_chunks((per_lane * rows * l.outputs).max(1)))
        .map(|((dx, x), dy)| {
            let mut dw = vec![0.0_f32; if want[1] { l.outputs * patch } else { 0 }];
            let mut s = Scratch::default();
            let pieces = x.chunks(samples * l.sample()).zip(dy.chunks(samples * rows * l.outputs));
            for (i, (x, dy)) in pieces.enumerate() {
                if want[1] {
                    match &places {
                        Some(places) => places.add_weight_gradient(x, dy, &mut dw, &mut s),
                        None => l.add_weight_gradient(x, dy, &mut dw, &mut s.patches),
                    }
                }
                if let (Some(dx), Some(back)) = (dx.as_deref_mut(), &back) {
                    let dx = &mut dx[i * samples * l.sample()..][..x.len()];
                    match back {
                        Input::InPlace(back) => back.apply(dy, dx, &mut s.padded),
                        Input::Gathered(w) => l.input_gradient(dy, w, dx, &mut s.patches),
                    }
                }
            }
            dw
        })
        .collect();
    let dw = want[1].then(|| add_in_order(parts, l.outputs * patch));
    [dx.map(|dx| tensor(dx, dims(x))), dw.map(|dw| tensor(dw, dims(weight)))]
}
