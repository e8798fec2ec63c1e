//! Softmax over rows.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::activation;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{dims, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::simd::{dispatch, exp, rows_in_chunk};

/// `exp(x) / Σ exp(x)` over the last axis; the largest value is taken away first, so that nothing overflows.
///
/// # Shapes
/// - `x` and output: `[.., N]`
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_fused(&x) {
        return Tensor::from_dispatch(Dispatch::fused_softmax(x.into_dispatch()));
    }
    softmax_composed(x)
}

/// The composed body of [`softmax`].
pub fn softmax_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::softmax(x, D - 1)
}

pub(crate) fn forward(x: &FlexTensor) -> FlexTensor {
    let (_, n) = rows(x);
    let mut y = slice(x).to_vec();
    y.par_chunks_mut((rows_in_chunk(n) * n).max(1)).for_each(|y| softmax_rows(y, n, 1.0));
    tensor(y, dims(x))
}

/// `y` is the output of [`forward`].
pub(crate) fn backward(y: &FlexTensor, dy: &FlexTensor) -> FlexTensor {
    let (_, n) = rows(y);
    let mut dx = slice(dy).to_vec();
    let chunk = (rows_in_chunk(n) * n).max(1);
    let pieces = dx.par_chunks_mut(chunk).zip(slice(y).par_chunks(chunk));
    pieces.for_each(|(dx, y)| {
        // A constant added to a row's gradient changes nothing, and taken from that at the largest probability it spares
        // the difference of two nearly equal numbers where that probability is nearly one.
        for (dx, y) in dx.chunks_exact_mut(n).zip(y.chunks_exact(n)) {
            let top = y.iter().enumerate().fold(0, |top, (i, p)| if *p > y[top] { i } else { top });
            let shift = dx[top];
            for dx in dx.iter_mut() {
                *dx -= shift;
            }
        }
        softmax_rows_backward(y, dx, n, 1.0);
    });
    tensor(dx, dims(y))
}

/// Softmax of each row of `n` values times `scale` (positive), in place.
pub(crate) fn softmax_rows(scores: &mut [f32], n: usize, scale: f32) {
    dispatch(
        #[inline(always)]
        || {
            for row in scores.chunks_exact_mut(n) {
                let mut highest = [f32::NEG_INFINITY; 16];
                let mut groups = row.chunks_exact(16);
                for group in &mut groups {
                    for (lane, s) in highest.iter_mut().zip(group) {
                        *lane = if *s > *lane { *s } else { *lane };
                    }
                }
                let rest = groups.remainder().iter().copied();
                let highest = highest.into_iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
                for s in row.iter_mut() {
                    *s = exp((*s - highest) * scale);
                }
                let mut lanes = [0.0_f32; 16];
                let mut groups = row.chunks_exact(16);
                for group in &mut groups {
                    for (lane, s) in lanes.iter_mut().zip(group) {
                        *lane += s;
                    }
                }
                let total: f32 = lanes.iter().sum::<f32>() + groups.remainder().iter().sum::<f32>();
                let inverse = 1.0 / total;
                for s in row.iter_mut() {
                    *s *= inverse;
                }
            }
        },
    );
}

/// Turns the gradient of softmax's output, `dp`, into that of its input before the scale, given its output `p`.
pub(crate) fn softmax_rows_backward(p: &[f32], dp: &mut [f32], n: usize, scale: f32) {
    dispatch(
        #[inline(always)]
        || {
            for (p, dp) in p.chunks_exact(n).zip(dp.chunks_exact_mut(n)) {
                let mut lanes = [0.0_f32; 16];
                let (mut ps, mut ds) = (p.chunks_exact(16), dp.chunks_exact(16));
                for (ps, ds) in (&mut ps).zip(&mut ds) {
                    for ((lane, p), d) in lanes.iter_mut().zip(ps).zip(ds) {
                        *lane = p.mul_add(*d, *lane);
                    }
                }
                let mut dot: f32 = lanes.iter().sum();
                for (p, d) in ps.remainder().iter().zip(ds.remainder()) {
                    dot = p.mul_add(*d, dot);
                }
                for (p, d) in p.iter().zip(dp.iter_mut()) {
                    *d = p * (*d - dot) * scale;
                }
            }
        },
    );
}
