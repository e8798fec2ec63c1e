//! Batch normalisation over the rows of `[R, C]` (Ioffe and Szegedy, 2015). Convolutional features are channels-last
//! here, so `[B, H, W, C]` is such a matrix without a copy.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::{Dispatch, Flex};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::activation::relu_composed;
use crate::flex::{buffer, contiguous, dims, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::simd::{dispatch, rows_in_chunk};

/// Runs a function over a chunk of rows for 64 or 16 channels at a time and for the rest one by one: what is known of a channel
/// and summed over it stays in registers from row to row.
macro_rules! by_lanes {
    ($channels:expr, |$first:ident| $f:ident::<N>($($argument:expr),*)) => {{
        let mut $first = 0;
        while $first + 64 <= $channels {
            $f::<64>($($argument),*);
            $first += 64;
        }
        while $first + 16 <= $channels {
            $f::<16>($($argument),*);
            $first += 16;
        }
        while $first < $channels {
            $f::<1>($($argument),*);
            $first += 1;
        }
    }};
}

/// A batch, normalised with its own statistics, and those statistics for the running averages.
pub struct BatchNormOutput<const D: usize> {
    /// The normalised batch, `[.., C]`.
    pub output: Tensor<D>,
    /// Mean of each channel over the rows, `[C]`, untracked.
    pub mean: Tensor<1>,
    /// Unbiased variance of each channel over the rows, `[C]`, untracked (as PyTorch's running variance takes it).
    pub variance: Tensor<1>,
}

/// Training mode: `(x − mean) / √(var + eps) · weight + bias` with the batch's mean and biased variance over all axes
/// but the last.
///
/// # Shapes
/// - `x` and output: `[.., C]`, `weight`, `bias`: `[C]`
pub fn batch_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> BatchNormOutput<D> {
    normalised(x, weight, bias, eps, false)
}

/// [`batch_norm`] whose output is [rectified](crate::relu): one pass over memory less on the way forward and on the way back.
pub fn batch_norm_relu<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
) -> BatchNormOutput<D> {
    normalised(x, weight, bias, eps, true)
}

fn normalised<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
    rectified: bool,
) -> BatchNormOutput<D> {
    let plain = if x.device().is_autodiff() { x.clone().inner() } else { x.clone() };
    let channels = plain.shape()[D - 1];
    let n = plain.shape().num_elements() / channels.max(1);
    let (output, mean, variance) = if is_fused(&x) && is_fused(&weight) {
        let device = plain.device();
        let plain = contiguous(plain.try_into_primitive::<Flex>().expect("an untracked tensor on Flex"));
        let moments = moments(slice(&plain), channels);
        let tensor = |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [channels]), &device);
        let (mean, variance) = (tensor(&moments.mean), tensor(&moments.variance));
        let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
        let way = Way { moments: Arc::new(moments), eps: eps as f32, rectified };
        (Tensor::from_dispatch(Dispatch::fused_batch_norm(x, weight, bias, way)), mean, variance)
    } else {
        let plain = plain.reshape([n, channels]);
        let mean = plain.clone().mean_dim(0);
        let variance = (plain - mean.clone()).square().mean_dim(0);
        let y = batch_norm_composed(x, weight, bias, eps);
        let y = if rectified { relu_composed(y) } else { y };
        (y, mean.reshape([channels]), variance.reshape([channels]))
    };
    BatchNormOutput { output, mean, variance: variance * (n as f64 / (n as f64 - 1.0).max(1.0)) }
}

/// The composed body of [`batch_norm`], without the statistics.
pub fn batch_norm_composed<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let shape = x.shape();
    let channels = shape[D - 1];
    let x = x.reshape([shape.num_elements() / channels.max(1), channels]);
    let centred = x.clone() - x.mean_dim(0);
    let var = centred.clone().square().mean_dim(0);
    let y = centred / (var + eps).sqrt() * weight.unsqueeze() + bias.unsqueeze();
    y.reshape(shape)
}

/// Evaluation mode: the same map with given statistics.
///
/// # Shapes
/// - `x` and output: `[.., C]`, all others: `[C]`
pub fn normalise_with<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    mean: Tensor<1>,
    variance: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    let scale = weight / (variance + eps).sqrt();
    let shift = bias - mean * scale.clone();
    x * scale.unsqueeze() + shift.unsqueeze()
}

/// Sums over the rows of the two functions that `f(row values, first sums, second sums)` adds.
fn column_sums(
    len: usize,
    channels: usize,
    f: impl Fn(std::ops::Range<usize>, &mut [f32], &mut [f32]) + Send + Sync,
) -> (Vec<f64>, Vec<f64>) {
    let chunk = rows_in_chunk(channels) * channels.max(1);
    let parts: Vec<(Vec<f32>, Vec<f32>)> = (0..len.div_ceil(chunk))
        .into_par_iter()
        .map(|i| {
            let (mut a, mut b) = (vec![0.0; channels], vec![0.0; channels]);
            f(i * chunk..((i + 1) * chunk).min(len), &mut a, &mut b);
            (a, b)
        })
        .collect();
    let (mut first, mut second) = (vec![0.0; channels], vec![0.0; channels]);
    for (a, b) in &parts {
        for c in 0..channels {
            first[c] += f64::from(a[c]);
            second[c] += f64::from(b[c]);
        }
    }
    (first, second)
}

/// Mean and biased variance of each column. The sums run about the first row's values, so that a large common offset
/// costs no digits.
fn moments(x: &[f32], channels: usize) -> Moments {
    if x.is_empty() {
        return Moments { mean: vec![0.0; channels], variance: vec![0.0; channels] };
    }
    let n = (x.len() / channels) as f64;
    let origin = &x[..channels];
    let (sums, squares) = column_sums(x.len(), channels, |range, sums, squares| {
        let chunk = &x[range];
        dispatch(
            #[inline(always)]
            || by_lanes!(channels, |first| add_moments::<N>(chunk, channels, first, origin, sums, squares)),
        );
    });
    let mean = sums.iter().zip(origin).map(|(s, o)| (f64::from(*o) + s / n) as f32).collect();
    let variance = sums.iter().zip(&squares).map(|(s, q)| (q / n - (s / n) * (s / n)).max(0.0) as f32).collect();
    Moments { mean, variance }
}

/// Mean and biased variance of each channel.
#[derive(Debug)]
struct Moments {
    mean: Vec<f32>,
    variance: Vec<f32>,
}

/// How a batch is normalised.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    moments: Arc<Moments>,
    eps: f32,
    /// Whether the output is rectified.
    rectified: bool,
}

impl Way {
    fn known<'a>(&'a self, weight: &'a [f32], bias: &'a [f32]) -> Known<'a> {
        let rstd: Vec<f32> = self.moments.variance.iter().map(|v| 1.0 / (v + self.eps).sqrt()).collect();
        let scale = rstd.iter().zip(weight).map(|(r, w)| r * w).collect();
        let least = if self.rectified { 0.0 } else { f32::NEG_INFINITY };
        Known { mean: &self.moments.mean, rstd, scale, weight, bias, least }
    }
}

/// What is known of the channels.
struct Known<'a> {
    mean: &'a [f32],
    /// Reciprocal standard deviations.
    rstd: Vec<f32>,
    /// Those times the weights.
    scale: Vec<f32>,
    weight: &'a [f32],
    bias: &'a [f32],
    /// What the rectifier lets through is above this.
    least: f32,
}

/// `N` values from `first` on.
#[inline(always)]
fn lanes<const N: usize>(values: &[f32], first: usize) -> &[f32; N] {
    values[first..first + N].try_into().expect("N values")
}

#[inline(always)]
fn add<const N: usize>(sums: &mut [f32], first: usize, values: [f32; N]) {
    for (sum, value) in sums[first..first + N].iter_mut().zip(values) {
        *sum += value;
    }
}

/// The value or 0, without a branch, which would keep the compiler from making vectors.
#[inline(always)]
fn kept(value: f32, keep: bool) -> f32 {
    f32::from_bits(value.to_bits() & u32::from(keep).wrapping_neg())
}

#[inline(always)]
fn add_moments<const N: usize>(
    x: &[f32],
    channels: usize,
    first: usize,
    origin: &[f32],
    sums: &mut [f32],
    squares: &mut [f32],
) {
    let origin = *lanes::<N>(origin, first);
    let (mut s, mut q) = ([0.0; N], [0.0; N]);
    for row in x.chunks_exact(channels) {
        let x = lanes::<N>(row, first);
        for i in 0..N {
            let d = x[i] - origin[i];
            s[i] += d;
            q[i] = d.mul_add(d, q[i]);
        }
    }
    add(sums, first, s);
    add(squares, first, q);
}

#[inline(always)]
fn normalise<const N: usize>(x: &[f32], y: &mut [f32], channels: usize, first: usize, known: &Known<'_>) {
    let (mean, scale, bias) =
        (*lanes::<N>(known.mean, first), *lanes::<N>(&known.scale, first), *lanes::<N>(known.bias, first));
    let least = known.least;
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact_mut(channels)) {
        let x = lanes::<N>(x, first);
        let mut out = [0.0; N];
        for i in 0..N {
            let value = (x[i] - mean[i]).mul_add(scale[i], bias[i]);
            out[i] = if value < least { least } else { value };
        }
        y[first..first + N].copy_from_slice(&out);
    }
}

/// What the rectifier took away has no gradient.
#[inline(always)]
fn add_gradients<const N: usize>(
    x: &[f32],
    dy: &[f32],
    channels: usize,
    first: usize,
    known: &Known<'_>,
    db: &mut [f32],
    dw: &mut [f32],
) {
    let (mean, rstd) = (*lanes::<N>(known.mean, first), *lanes::<N>(&known.rstd, first));
    let (scale, bias) = (*lanes::<N>(&known.scale, first), *lanes::<N>(known.bias, first));
    let least = known.least;
    let (mut b, mut w) = ([0.0; N], [0.0; N]);
    for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
        let (x, dy) = (lanes::<N>(x, first), lanes::<N>(dy, first));
        for i in 0..N {
            let d = x[i] - mean[i];
            let dy = kept(dy[i], d.mul_add(scale[i], bias[i]) > least);
            b[i] += dy;
            w[i] = (d * rstd[i]).mul_add(dy, w[i]);
        }
    }
    add(db, first, b);
    add(dw, first, w);
}

/// `dx = dy·a + x·b + c`.
#[inline(always)]
fn combine<const N: usize>(
    x: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    channels: usize,
    first: usize,
    known: &Known<'_>,
    triples: [&[f32]; 3],
) {
    let (mean, scale, bias) =
        (*lanes::<N>(known.mean, first), *lanes::<N>(&known.scale, first), *lanes::<N>(known.bias, first));
    let least = known.least;
    let [a, b, c] = triples.map(|values| *lanes::<N>(values, first));
    for ((x, dy), dx) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)).zip(dx.chunks_exact_mut(channels)) {
        let (x, dy) = (lanes::<N>(x, first), lanes::<N>(dy, first));
        let mut out = [0.0; N];
        for i in 0..N {
            let dy = kept(dy[i], (x[i] - mean[i]).mul_add(scale[i], bias[i]) > least);
            out[i] = dy.mul_add(a[i], x[i].mul_add(b[i], c[i]));
        }
        dx[first..first + N].copy_from_slice(&out);
    }
}

pub(crate) fn forward(x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, way: &Way) -> FlexTensor {
    let (_, channels) = rows(x);
    let values = slice(x);
    let known = way.known(slice(weight), slice(bias));
    let mut y = buffer(values.len());
    let chunk = rows_in_chunk(channels) * channels.max(1);
    y.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).for_each(|(y, x)| {
        dispatch(
            #[inline(always)]
            || by_lanes!(channels, |first| normalise::<N>(x, y, channels, first, &known)),
        );
    });
    tensor(y, dims(x))
}

pub(crate) fn backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    way: &Way,
    dy: &FlexTensor,
    want: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let (n, channels) = rows(x);
    let (values, dy) = (slice(x), slice(dy));
    let known = way.known(slice(weight), slice(bias));
    // Σ dy and Σ dy·x̂ over the rows.
    let (db, dw) = column_sums(values.len(), channels, |range, db, dw| {
        let (x, dy) = (&values[range.clone()], &dy[range]);
        dispatch(
            #[inline(always)]
            || by_lanes!(channels, |first| add_gradients::<N>(x, dy, channels, first, &known, db, dw)),
        );
    });
    let dx = want[0].then(|| {
        // dx = w·r·(dy − mean(dy) − x̂·mean(dy·x̂)) = dy·a + x·b + c, one triple a channel.
        let [mut a, mut b, mut c] = [(); 3].map(|()| Vec::with_capacity(channels));
        for i in 0..channels {
            let (r, m) = (f64::from(known.rstd[i]), f64::from(known.mean[i]));
            let of_dy = f64::from(known.weight[i]) * r;
            let of_x = -of_dy * r * dw[i] / n as f64;
            a.push(of_dy as f32);
            b.push(of_x as f32);
            c.push((-of_dy * db[i] / n as f64 - of_x * m) as f32);
        }
        let triples = [&a[..], &b, &c];
        let mut dx = buffer(values.len());
        let chunk = rows_in_chunk(channels) * channels.max(1);
        dx.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).zip(dy.par_chunks(chunk)).for_each(|((dx, x), dy)| {
            dispatch(
                #[inline(always)]
                || by_lanes!(channels, |first| combine::<N>(x, dy, dx, channels, first, &known, triples)),
            );
        });
        tensor(dx, dims(x))
    });
    let narrow = |sums: Vec<f64>| tensor(sums.into_iter().map(|s| s as f32).collect(), [channels]);
    [dx, want[1].then(|| narrow(dw)), want[2].then(|| narrow(db))]
}
