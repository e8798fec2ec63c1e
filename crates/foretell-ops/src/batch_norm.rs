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
            || {
                for row in chunk.chunks_exact(channels) {
                    for (((s, q), x), o) in sums.iter_mut().zip(squares.iter_mut()).zip(row).zip(origin) {
                        let d = x - o;
                        *s += d;
                        *q = d.mul_add(d, *q);
                    }
                }
            },
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
    /// Reciprocal standard deviation of each channel.
    fn rstd(&self) -> Vec<f32> {
        self.moments.variance.iter().map(|v| 1.0 / (v + self.eps).sqrt()).collect()
    }

    /// That times the weights.
    fn scale(&self, weight: &[f32]) -> Vec<f32> {
        self.rstd().iter().zip(weight).map(|(r, w)| r * w).collect()
    }
}

pub(crate) fn forward(x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, way: &Way) -> FlexTensor {
    let (_, channels) = rows(x);
    let (values, scale, bias) = (slice(x), way.scale(slice(weight)), slice(bias));
    let mean = &way.moments.mean;
    let mut y = buffer(values.len());
    let chunk = rows_in_chunk(channels) * channels.max(1);
    // From here on the rectifier keeps what it is given.
    let least = if way.rectified { 0.0 } else { f32::NEG_INFINITY };
    y.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).for_each(|(y, x)| {
        dispatch(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    for ((((y, x), m), s), b) in y.iter_mut().zip(x).zip(mean).zip(&scale).zip(bias) {
                        let value = (x - m).mul_add(*s, *b);
                        *y = if value < least { least } else { value };
                    }
                }
            },
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
    let (values, weight, bias, dy) = (slice(x), slice(weight), slice(bias), slice(dy));
    let (mean, rstd, scale) = (&way.moments.mean, way.rstd(), way.scale(weight));
    let least = if way.rectified { 0.0 } else { f32::NEG_INFINITY };
    // Σ dy and Σ dy·x̂ over the rows; what the rectifier took away has no gradient.
    let (db, dw) = column_sums(values.len(), channels, |range, db, dw| {
        let (x, dy) = (&values[range.clone()], &dy[range]);
        dispatch(
            #[inline(always)]
            || {
                for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
                    let (sums, values) = (db.iter_mut().zip(dw.iter_mut()), x.iter().zip(dy));
                    let channel = mean.iter().zip(&rstd).zip(scale.iter().zip(bias));
                    for (((db, dw), (x, dy)), ((m, r), (s, b))) in sums.zip(values).zip(channel) {
                        let d = x - m;
                        let dy = if d.mul_add(*s, *b) > least { *dy } else { 0.0 };
                        *db += dy;
                        *dw = (d * r).mul_add(dy, *dw);
                    }
                }
            },
        );
    });
    let dx = want[0].then(|| {
        // dx = w·r·(dy − mean(dy) − x̂·mean(dy·x̂)) = dy·a + x·b + c, one triple a channel.
        let coefficients: Vec<[f32; 3]> = (0..channels)
            .map(|c| {
                let (r, m) = (f64::from(rstd[c]), f64::from(mean[c]));
                let a = f64::from(weight[c]) * r;
                let b = -a * r * dw[c] / n as f64;
                [a as f32, b as f32, (-a * db[c] / n as f64 - b * m) as f32]
            })
            .collect();
        let mut dx = buffer(values.len());
        let chunk = rows_in_chunk(channels) * channels.max(1);
        let (a, (b, c)): (Vec<f32>, (Vec<f32>, Vec<f32>)) =
            coefficients.into_iter().map(|[a, b, c]| (a, (b, c))).unzip();
        dx.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).zip(dy.par_chunks(chunk)).for_each(|((dx, x), dy)| {
            dispatch(
                #[inline(always)]
                || {
                    let rows =
                        dx.chunks_exact_mut(channels).zip(x.chunks_exact(channels)).zip(dy.chunks_exact(channels));
                    for ((dx, x), dy) in rows {
                        let channel = mean.iter().zip(scale.iter().zip(bias)).zip(a.iter().zip(b.iter().zip(&c)));
                        for (((dx, x), dy), ((m, (s, bias)), (a, (b, c)))) in dx.iter_mut().zip(x).zip(dy).zip(channel)
                        {
                            let dy = if (x - m).mul_add(*s, *bias) > least { *dy } else { 0.0 };
                            *dx = dy.mul_add(*a, x.mul_add(*b, *c));
                        }
                    }
                },
            );
        });
        tensor(dx, dims(x))
    });
    let narrow = |sums: Vec<f64>| tensor(sums.into_iter().map(|s| s as f32).collect(), [channels]);
    [dx, want[1].then(|| narrow(dw)), want[2].then(|| narrow(db))]
}
