//! QK norm: layer normalisation without weights of each head's queries and keys, within a block (Dehghani et al., 2023, arXiv 2302.05442;
//! the form without weights is that of NEPA, arXiv 2512.16922).

use burn::Tensor;

use crate::norm::{lane_sum, moments};
use crate::simd::dispatch;

/// Each head's queries and keys to mean 0 and variance 1; values as they are.
///
/// # Shapes
/// - `qkv` and output: `[T, 3 D]`, the last axis `[q | k | v]`, each `[heads, D / heads]`
pub fn head_norm_composed(qkv: Tensor<2>, heads: usize, eps: f64) -> Tensor<2> {
    let [rows, packed] = qkv.dims();
    let width = packed / 3;
    let both = qkv.clone().slice([0..rows, 0..2 * width]).reshape([rows, 2 * heads, width / heads]);
    let centred = both.clone() - both.mean_dim(2);
    let variance = centred.clone().square().mean_dim(2);
    let normed = (centred / (variance + eps).sqrt()).reshape([rows, 2 * width]);
    Tensor::cat(vec![normed, qkv.slice([0..rows, 2 * width..packed])], 1)
}

/// The same in place over rows of `3 · width` values with heads of `head`, on the calling thread; `inverses`, `[T, 2 heads]`, takes
/// 1 / √(variance + ε) of each.
pub(crate) fn normalise_heads(qkv: &mut [f32], width: usize, head: usize, eps: f32, mut inverses: Option<&mut [f32]>) {
    let heads = 2 * width / head;
    dispatch(
        #[inline(always)]
        || {
            for (row, values) in qkv.chunks_exact_mut(3 * width).enumerate() {
                for (at, values) in values[..2 * width].chunks_exact_mut(head).enumerate() {
                    let (mean, inverse) = moments(values, eps);
                    for value in values.iter_mut() {
                        *value = (*value - mean) * inverse;
                    }
                    if let Some(inverses) = &mut inverses {
                        inverses[row * heads + at] = inverse;
                    }
                }
            }
        },
    );
}

/// The gradients of what [`normalise_heads`] made become those of what it was given: `normed` is what it made.
pub(crate) fn normalise_heads_backward(
    dqkv: &mut [f32],
    normed: &[f32],
    inverses: &[f32],
    (width, head): (usize, usize),
) {
    let heads = 2 * width / head;
    dispatch(
        #[inline(always)]
        || {
            let rows = dqkv.chunks_exact_mut(3 * width).zip(normed.chunks_exact(3 * width));
            for ((gradients, values), inverses) in rows.zip(inverses.chunks_exact(heads)) {
                let each = gradients[..2 * width].chunks_exact_mut(head).zip(values[..2 * width].chunks_exact(head));
                for ((gradients, values), inverse) in each.zip(inverses) {
                    let mean = lane_sum(
                        gradients,
                        #[inline(always)]
                        |g| g,
                    ) / head as f32;
                    let mut dot = 0.0;
                    for (g, value) in gradients.iter().zip(values) {
                        dot = g.mul_add(*value, dot);
                    }
                    let along = dot / head as f32;
                    for (g, value) in gradients.iter_mut().zip(values) {
                        *g = inverse * (*g - mean - value * along);
                    }
                }
            }
        },
    );
}
