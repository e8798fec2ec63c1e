//! Batch normalisation over the rows of `[R, C]` (Ioffe and Szegedy, 2015). Convolutional features are channels-last
//! here, so `[B, H, W, C]` is such a matrix without a copy.

use burn::Tensor;
use burn::backend::{Dispatch, Flex};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use rayon::prelude::*;

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
    let (mean, variance) = statistics(x.clone());
    let output = if is_fused(&x) && is_fused(&weight) {
        let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
        Tensor::from_dispatch(Dispatch::fused_batch_norm(x, weight, bias, eps as f32))
    } else {
        batch_norm_composed(x, weight, bias, eps)
    };
    BatchNormOutput { output, mean, variance }
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

/// Mean and unbiased variance over the rows, `[C]` each.
fn statistics<const D: usize>(x: Tensor<D>) -> (Tensor<1>, Tensor<1>) {
    let channels = x.shape()[D - 1];
    let x = if x.device().is_autodiff() { x.inner() } else { x };
    let n = x.shape().num_elements() / channels.max(1);
    let (mean, variance) = if is_fused(&x) {
        let device = x.device();
        let x = contiguous(x.try_into_primitive::<Flex>().expect("an untracked tensor on Flex"));
        let (mean, variance) = moments(slice(&x), channels);
        let tensor = |values| Tensor::from_data(TensorData::new(values, [channels]), &device);
        (tensor(mean), tensor(variance))
    } else {
        let x = x.reshape([n, channels]);
        let mean = x.clone().mean_dim(0);
        (mean.clone().reshape([channels]), (x - mean).square().mean_dim(0).reshape([channels]))
    };
    (mean, variance * (n as f64 / (n as f64 - 1.0).max(1.0)))
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
fn moments(x: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    if x.is_empty() {
        return (vec![0.0; channels], vec![0.0; channels]);
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
    let var = sums.iter().zip(&squares).map(|(s, q)| (q / n - (s / n) * (s / n)).max(0.0) as f32).collect();
    (mean, var)
}

/// What the backward pass needs: mean and reciprocal standard deviation of each channel.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    mean: Vec<f32>,
    rstd: Vec<f32>,
}

pub(crate) fn forward(x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, eps: f32) -> (FlexTensor, Saved) {
    let (_, channels) = rows(x);
    let (values, weight, bias) = (slice(x), slice(weight), slice(bias));
    let (mean, var) = moments(values, channels);
    let rstd: Vec<f32> = var.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
    let scale: Vec<f32> = rstd.iter().zip(weight).map(|(r, w)| r * w).collect();
    let mut y = buffer(values.len());
    let chunk = rows_in_chunk(channels) * channels.max(1);
    y.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).for_each(|(y, x)| {
        dispatch(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                    for ((((y, x), m), s), b) in y.iter_mut().zip(x).zip(&mean).zip(&scale).zip(bias) {
                        *y = (x - m).mul_add(*s, *b);
                    }
                }
            },
        );
    });
    (tensor(y, dims(x)), Saved { mean, rstd })
}

pub(crate) fn backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    saved: &Saved,
    dy: &FlexTensor,
    want: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let (n, channels) = rows(x);
    let (values, weight, dy) = (slice(x), slice(weight), slice(dy));
    let Saved { mean, rstd } = saved;
    // Σ dy and Σ dy·x̂ over the rows.
    let (db, dw) = column_sums(values.len(), channels, |range, db, dw| {
        let (x, dy) = (&values[range.clone()], &dy[range]);
        dispatch(
            #[inline(always)]
            || {
                for (x, dy) in x.chunks_exact(channels).zip(dy.chunks_exact(channels)) {
                    for (((((db, dw), x), dy), m), r) in
                        db.iter_mut().zip(dw.iter_mut()).zip(x).zip(dy).zip(mean).zip(rstd)
                    {
                        *db += dy;
                        *dw = ((x - m) * r).mul_add(*dy, *dw);
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
                        for (((((dx, x), dy), a), b), c) in dx.iter_mut().zip(x).zip(dy).zip(&a).zip(&b).zip(&c) {
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
