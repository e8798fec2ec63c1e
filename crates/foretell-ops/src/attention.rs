//! Scaled dot-product self-attention on packed queries, keys and values (Vaswani et al., 2017).

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::activation::softmax;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::matrix::{Matrix, Store, Threads, product};
use crate::simd::{dispatch, exp};

/// `softmax(q kᵀ / √d) v` for each head, on the packed output of one linear map.
///
/// # Shapes
/// - `qkv`: `[B, N, 3 D]`, the last axis `[q | k | v]`, each `[heads, D / heads]`
/// - output: `[B, N, D]`
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    if is_fused(&qkv) {
        return Tensor::from_dispatch(Dispatch::fused_attention(qkv.into_dispatch(), heads));
    }
    self_attention_composed(qkv, heads)
}

/// The composed body of [`self_attention`].
pub fn self_attention_composed(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [b, n, packed] = qkv.dims();
    let width = packed / 3;
    let head = width / heads;
    let part = |i: usize| -> Tensor<4> {
        qkv.clone().slice([0..b, 0..n, i * width..(i + 1) * width]).reshape([b, n, heads, head]).swap_dims(1, 2)
    };
    let scores = part(0).matmul(part(1).transpose()) / (head as f64).sqrt();
    softmax(scores, 3).matmul(part(2)).swap_dims(1, 2).reshape([b, n, width])
}

/// The lengths of one call.
#[derive(Clone, Copy)]
struct Lengths {
    tokens: usize,
    heads: usize,
    head: usize,
}

impl Lengths {
    fn of(qkv: &FlexTensor, heads: usize) -> Self {
        let dims = dims(qkv);
        Self { tokens: dims[1], heads, head: dims[2] / 3 / heads }
    }

    fn width(self) -> usize {
        self.heads * self.head
    }

    /// Query, key or value (`part` 0, 1, 2) of one head in one sample's packed rows.
    fn part(self, packed: &[f32], part: usize, head: usize) -> Matrix<'_> {
        let stride = 3 * self.width();
        Matrix::strided(&packed[part * self.width() + head * self.head..], self.tokens, self.head, stride)
    }

    fn scale(self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }
}

/// `softmax(q kᵀ · scale)` of one head, `[N, N]`.
fn probabilities(lengths: Lengths, packed: &[f32], head: usize, scores: &mut [f32]) {
    let n = lengths.tokens;
    let (q, k) = (lengths.part(packed, 0, head), lengths.part(packed, 1, head));
    product(scores, n, Store::Replace, lengths.scale(), q, k.t(), Threads::One);
    dispatch(
        #[inline(always)]
        || {
            for row in scores.chunks_exact_mut(n) {
                let mut highest = f32::NEG_INFINITY;
                for s in row.iter() {
                    highest = if *s > highest { *s } else { highest };
                }
                for s in row.iter_mut() {
                    *s = exp(*s - highest);
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

pub(crate) fn forward(qkv: &FlexTensor, heads: usize) -> FlexTensor {
    let lengths = Lengths::of(qkv, heads);
    let (n, width) = (lengths.tokens, lengths.width());
    let packed = slice(qkv);
    let mut out = buffer(packed.len() / 3);
    out.par_chunks_mut((n * width).max(1)).zip(packed.par_chunks((3 * n * width).max(1))).for_each_init(
        || buffer(n * n),
        |scores, (out, packed)| {
            for head in 0..heads {
                probabilities(lengths, packed, head, scores);
                let v = lengths.part(packed, 2, head);
                product(
                    &mut out[head * lengths.head..],
                    width,
                    Store::Replace,
                    1.0,
                    Matrix::new(scores, n, n),
                    v,
                    Threads::One,
                );
            }
        },
    );
    let mut shape = dims(qkv);
    shape[2] = width;
    tensor(out, shape)
}

/// The probabilities are computed again: cheaper than writing and reading `[B, heads, N, N]`.
pub(crate) fn backward(qkv: &FlexTensor, heads: usize, dy: &FlexTensor) -> FlexTensor {
    let lengths = Lengths::of(qkv, heads);
    let (n, width) = (lengths.tokens, lengths.width());
    let packed = slice(qkv);
    let mut dqkv = buffer(packed.len());
    let samples = dqkv.par_chunks_mut((3 * n * width).max(1)).zip(packed.par_chunks((3 * n * width).max(1)));
    samples.zip(slice(dy).par_chunks((n * width).max(1))).for_each_init(
        || (buffer(n * n), buffer(n * n)),
        |(p, dp), ((dpacked, packed), dy)| {
            for head in 0..heads {
                probabilities(lengths, packed, head, p);
                let (q, k, v) =
                    (lengths.part(packed, 0, head), lengths.part(packed, 1, head), lengths.part(packed, 2, head));
                let dy = Matrix::strided(&dy[head * lengths.head..], n, lengths.head, width);
                product(dp, n, Store::Replace, 1.0, dy, v.t(), Threads::One);
                let at = |part: usize| part * width + head * lengths.head;
                product(
                    &mut dpacked[at(2)..],
                    3 * width,
                    Store::Replace,
                    1.0,
                    Matrix::new(p, n, n).t(),
                    dy,
                    Threads::One,
                );
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
                                *d = p * (*d - dot);
                            }
                        }
                    },
                );
                let ds = Matrix::new(dp, n, n);
                product(&mut dpacked[at(0)..], 3 * width, Store::Replace, lengths.scale(), ds, k, Threads::One);
                product(&mut dpacked[at(1)..], 3 * width, Store::Replace, lengths.scale(), ds.t(), q, Threads::One);
            }
        },
    );
    tensor(dqkv, dims(qkv))
}
