//! Two-dimensional convolution on channels-last features: patches gathered into rows, then a matrix product.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::ops::ConvOptions;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::matrix::{Matrix, Store, Threads, product};

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
struct Lengths {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Lengths {
    fn of(x: &FlexTensor, weight: &FlexTensor, stride: usize, padding: usize) -> Self {
        let (x, w) = (dims(x), dims(weight));
        Self { batch: x[0], height: x[1], width: x[2], channels: x[3], outputs: w[0], kernel: w[1], stride, padding }
    }
    fn out_height(self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }
    fn out_width(self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }
    fn positions(self) -> usize {
        self.out_height() * self.out_width()
    }
    fn patch(self) -> usize {
        self.kernel * self.kernel * self.channels
    }
    fn sample(self) -> usize {
        self.height * self.width * self.channels
    }
    /// Samples whose patches are gathered at a time: about 4 MiB of rows.
    fn group(self) -> usize {
        ((1 << 20) / (self.positions() * self.patch()).max(1)).clamp(1, self.batch.max(1))
    }
    /// Whether the rows of patches are the input itself.
    fn is_pointwise(self) -> bool {
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

    fn gather_group(self, x: &[f32], patches: &mut [f32]) {
        let rows = (self.positions() * self.patch()).max(1);
        patches
            .par_chunks_mut(rows)
            .zip(x.par_chunks(self.sample().max(1)))
            .for_each(|(patches, x)| self.gather(x, patches));
    }
}

/// `weight` is `[O, k, k, C]` here and below.
pub(crate) fn forward(x: &FlexTensor, weight: &FlexTensor, stride: usize, padding: usize) -> FlexTensor {
    let l = Lengths::of(x, weight, stride, padding);
    let (rows, patch) = (l.positions(), l.patch());
    let mut y = buffer(l.batch * rows * l.outputs);
    let w = Matrix::new(slice(weight), l.outputs, patch).t();
    let shape = [l.batch, l.out_height(), l.out_width(), l.outputs];
    if l.is_pointwise() {
        product(&mut y, l.outputs, Store::Replace, 1.0, Matrix::new(slice(x), l.batch * rows, patch), w, Threads::All);
        return tensor(y, shape);
    }
    let mut patches = buffer(l.group() * rows * patch);
    let inputs = slice(x).chunks(l.group() * l.sample().max(1));
    for (x, y) in inputs.zip(y.chunks_mut((l.group() * rows * l.outputs).max(1))) {
        let n = x.len() / l.sample() * rows;
        l.gather_group(x, &mut patches[..n * patch]);
        product(y, l.outputs, Store::Replace, 1.0, Matrix::new(&patches, n, patch), w, Threads::All);
    }
    tensor(y, shape)
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
    let (rows, patch) = (l.positions(), l.patch());
    let w = Matrix::new(slice(weight), l.outputs, patch);
    let mut dw = want[1].then(|| vec![0.0_f32; l.outputs * patch]);
    let mut dx = want[0].then(|| buffer(l.batch * l.sample()));
    let mut patches = buffer(l.group() * rows * patch);
    for (g, dy) in slice(dy).chunks((l.group() * rows * l.outputs).max(1)).enumerate() {
        let samples = dy.len() / (rows * l.outputs);
        let n = samples * rows;
        let at = g * l.group() * l.sample();
        let dy = Matrix::new(dy, n, l.outputs);
        let patches = &mut patches[..n * patch];
        if let Some(dw) = &mut dw {
            l.gather_group(&slice(x)[at..at + samples * l.sample()], patches);
            product(dw, patch, Store::Add, 1.0, dy.t(), Matrix::new(patches, n, patch), Threads::All);
        }
        if let Some(dx) = &mut dx {
            product(patches, patch, Store::Replace, 1.0, dy, w, Threads::All);
            let dx = &mut dx[at..at + samples * l.sample()];
            dx.par_chunks_mut(l.sample().max(1))
                .zip(patches.par_chunks(rows * patch))
                .for_each(|(dx, patches)| l.scatter(patches, dx));
        }
    }
    [dx.map(|dx| tensor(dx, dims(x))), dw.map(|dw| tensor(dw, dims(weight)))]
}
