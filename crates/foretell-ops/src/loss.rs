//! Distances between latents.

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::reduce::sum_chunks;
use crate::simd::{dispatch, rows_in_chunk, zip};

/// A function of the difference of two values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Distance {
    SmoothL1(f32),
    L1,
    L2,
}

impl Distance {
    #[inline(always)]
    fn at(self, d: f32) -> f32 {
        match self {
            Distance::SmoothL1(beta) => {
                let d = d.abs();
                let q = if d < beta { d } else { beta };
                (q * q).mul_add(0.5 / beta, d - q)
            }
            Distance::L1 => d.abs(),
            Distance::L2 => d * d,
        }
    }

    #[inline(always)]
    fn slope(self, d: f32) -> f32 {
        match self {
            Distance::SmoothL1(beta) => (d / beta).clamp(-1.0, 1.0),
            // Zero at zero, as PyTorch has it.
            Distance::L1 => f32::from(d > 0.0) - f32::from(d < 0.0),
            Distance::L2 => 2.0 * d,
        }
    }
}

/// Smooth L1 (Girshick, 2015), mean over all elements: `d²/2β` where `|d| < β`, else `|d| − β/2`, with `d = prediction − target`.
///
/// # Shapes
/// - `prediction`, `target`: `[..]`, the same; output: `[1]`
pub fn smooth_l1<const D: usize>(prediction: Tensor<D>, target: Tensor<D>, beta: f64) -> Tensor<1> {
    if is_fused(&prediction) && is_fused(&target) {
        return fused(prediction, target, Distance::SmoothL1(beta as f32));
    }
    smooth_l1_composed(prediction, target, beta)
}

/// `|prediction − target|`, mean over all elements (V-JEPA's loss). Shapes as in [`smooth_l1`].
pub fn l1<const D: usize>(prediction: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
    if is_fused(&prediction) && is_fused(&target) {
        return fused(prediction, target, Distance::L1);
    }
    l1_composed(prediction, target)
}

/// `(prediction − target)²`, mean over all elements. Shapes as in [`smooth_l1`].
pub fn l2<const D: usize>(prediction: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
    if is_fused(&prediction) && is_fused(&target) {
        return fused(prediction, target, Distance::L2);
    }
    l2_composed(prediction, target)
}

/// `1 − cos(prediction, target)` of the last axis, mean over the rows; a row of zeros has the cosine 0.
///
/// # Shapes
/// - `prediction`, `target`: `[.., D]`, the same; output: `[1]`
pub fn cosine_distance<const D: usize>(prediction: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
    if is_fused(&prediction) && is_fused(&target) {
        return Tensor::from_dispatch(Dispatch::fused_cosine(prediction.into_dispatch(), target.into_dispatch()));
    }
    cosine_distance_composed(prediction, target)
}

fn fused<const D: usize>(prediction: Tensor<D>, target: Tensor<D>, distance: Distance) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::fused_distance(prediction.into_dispatch(), target.into_dispatch(), distance))
}

/// The composed body of [`smooth_l1`].
pub fn smooth_l1_composed<const D: usize>(prediction: Tensor<D>, target: Tensor<D>, beta: f64) -> Tensor<1> {
    let d = (prediction - target).abs();
    // With q = min(|d|, β) both branches are q²/2β + (|d| − q).
    let q = d.clone().clamp_max(beta);
    (q.clone().square() / (2.0 * beta) + (d - q)).mean()
}

/// The composed body of [`l1`].
pub fn l1_composed<const D: usize>(prediction: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
    (prediction - target).abs().mean()
}

/// The composed body of [`l2`].
pub fn l2_composed<const D: usize>(prediction: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
    (prediction - target).square().mean()
}

/// The composed body of [`cosine_distance`].
pub fn cosine_distance_composed<const D: usize>(prediction: Tensor<D>, target: Tensor<D>) -> Tensor<1> {
    let dot = (prediction.clone() * target.clone()).sum_dim(D - 1);
    let squares = |x: Tensor<D>| x.square().sum_dim(D - 1);
    let cosine = dot / (squares(prediction) * squares(target) + TINY).sqrt();
    1.0 - cosine.mean()
}

/// Keeps the cosine of a row of zeros at 0.
const TINY: f64 = 1e-24;

pub(crate) fn forward(prediction: &FlexTensor, target: &FlexTensor, distance: Distance) -> FlexTensor {
    let (a, b) = (slice(prediction), slice(target));
    let total = sum_chunks(a.len(), |range| {
        let (a, b) = (&a[range.clone()], &b[range]);
        dispatch(
            #[inline(always)]
            || {
                let mut lanes = [0.0_f32; 16];
                for (a, b) in a.chunks(16).zip(b.chunks(16)) {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        *lane += distance.at(a - b);
                    }
                }
                lanes.iter().map(|x| f64::from(*x)).sum()
            },
        )
    });
    tensor(vec![(total / a.len() as f64) as f32], [1])
}

pub(crate) fn backward(
    prediction: &FlexTensor,
    target: &FlexTensor,
    distance: Distance,
    dy: &FlexTensor,
    want: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let (a, b) = (slice(prediction), slice(target));
    let g = slice(dy)[0] / a.len() as f32;
    let gradient = |sign: f32| {
        let scale = sign * g;
        let mut out = buffer(a.len());
        zip(
            a,
            b,
            &mut out,
            #[inline(always)]
            move |a, b| distance.slope(a - b) * scale,
        );
        tensor(out, dims(prediction))
    };
    [want[0].then(|| gradient(1.0)), want[1].then(|| gradient(-1.0))]
}

/// `(a · b, a · a, b · b)` in f64 across 16 lanes: rows may be huge.
#[inline(always)]
fn products(a: &[f32], b: &[f32]) -> (f64, f64, f64) {
    let (mut ab, mut aa, mut bb) = ([0.0_f64; 16], [0.0_f64; 16], [0.0_f64; 16]);
    for (a, b) in a.chunks(16).zip(b.chunks(16)) {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let (a, b) = (f64::from(*a), f64::from(*b));
            ab[i] += a * b;
            aa[i] += a * a;
            bb[i] += b * b;
        }
    }
    (ab.iter().sum(), aa.iter().sum(), bb.iter().sum())
}

pub(crate) fn cosine_forward(prediction: &FlexTensor, target: &FlexTensor) -> FlexTensor {
    let (count, width) = rows(prediction);
    let chunk = (rows_in_chunk(width) * width).max(1);
    let (a, b) = (slice(prediction), slice(target));
    let parts: Vec<f64> = a
        .par_chunks(chunk)
        .zip(b.par_chunks(chunk))
        .map(|(a, b)| {
            let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
            let cosines = rows.map(|(a, b)| {
                let (ab, aa, bb) = dispatch(
                    #[inline(always)]
                    || products(a, b),
                );
                ab / (aa * bb + TINY).sqrt()
            });
            cosines.sum()
        })
        .collect();
    tensor(vec![(1.0 - parts.iter().sum::<f64>() / count as f64) as f32], [1])
}

pub(crate) fn cosine_backward(
    prediction: &FlexTensor,
    target: &FlexTensor,
    dy: &FlexTensor,
    want: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let (count, width) = rows(prediction);
    let g = -f64::from(slice(dy)[0]) / count as f64;
    let chunk = (rows_in_chunk(width) * width).max(1);
    // The gradient with respect to `a`; the cosine is the same either way round.
    let gradient = |a: &[f32], b: &[f32]| {
        let mut out = buffer(a.len());
        out.par_chunks_mut(chunk).zip(a.par_chunks(chunk).zip(b.par_chunks(chunk))).for_each(|(out, (a, b))| {
            let rows = out.chunks_exact_mut(width).zip(a.chunks_exact(width).zip(b.chunks_exact(width)));
            for (out, (a, b)) in rows {
                dispatch(
                    #[inline(always)]
                    || {
                        let (ab, aa, bb) = products(a, b);
                        let square = aa * bb + TINY;
                        let inverse = 1.0 / square.sqrt();
                        let (of_b, of_a) = ((g * inverse) as f32, (-g * ab * bb * inverse / square) as f32);
                        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                            *out = b.mul_add(of_b, a * of_a);
                        }
                    },
                );
            }
        });
        tensor(out, dims(prediction))
    };
    let (a, b) = (slice(prediction), slice(target));
    [want[0].then(|| gradient(a, b)), want[1].then(|| gradient(b, a))]
}
