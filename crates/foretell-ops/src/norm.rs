//! Layer normalisation over the last axis (Ba, Kiros and Hinton, 2016).

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::reduce::combine;
use crate::simd::{dispatch, rows_in_chunk};

/// `(x − mean) / √(var + eps) · weight + bias` over the last axis; `var` is the biased variance.
///
/// # Shapes
/// - `x` and output: `[.., D]`, `weight`, `bias`: `[D]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    if is_fused(&x) && is_fused(&weight) {
        let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
        return Tensor::from_dispatch(Dispatch::fused_layer_norm(x, weight, bias, eps as f32));
    }
    layer_norm_composed(x, weight, bias, eps)
}

/// The composed body of [`layer_norm`].
pub fn layer_norm_composed<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let mean = x.clone().mean_dim(D - 1);
    let centred = x - mean;
    let var = centred.clone().square().mean_dim(D - 1);
    centred / (var + eps).sqrt() * weight.unsqueeze() + bias.unsqueeze()
}

/// Sums in 16 lanes: vectors for the compiler, and rounding errors that grow with √D/16 and not D.
#[inline(always)]
pub(crate) fn lane_sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let mut groups = values.chunks_exact(16);
    for group in &mut groups {
        for (lane, x) in lanes.iter_mut().zip(group) {
            *lane += f(*x);
        }
    }
    let mut tail = 0.0;
    for x in groups.remainder() {
        tail += f(*x);
    }
    lanes.iter().sum::<f32>() + tail
}

/// `(mean, 1 / √(var + eps))` of a row.
#[inline(always)]
pub(crate) fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = lane_sum(
        x,
        #[inline(always)]
        |x| x,
    ) / width;
    let var = lane_sum(
        x,
        #[inline(always)]
        |x| (x - mean) * (x - mean),
    ) / width;
    (mean, 1.0 / (var + eps).sqrt())
}

/// Normalises whole rows, on the calling thread.
pub(crate) fn normalise_rows(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32]) {
    let width = weight.len();
    dispatch(
        #[inline(always)]
        || {
            for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let (mean, rstd) = moments(x, eps);
                for (((y, x), w), b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                    *y = ((x - mean) * rstd).mul_add(*w, *b);
                }
            }
        },
    );
}

/// The gradients of [`normalise_rows`], on the calling thread: added to `dw` and `db`; `dx` is replaced, or added to.
/// The rows' moments are computed again: cheaper than keeping them.
pub(crate) fn normalise_rows_backward<const ADD: bool>(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
    db: &mut [f32],
) {
    let width = weight.len();
    let (mut xhat, mut g) = (vec![0.0_f32; width], vec![0.0_f32; width]);
    // Of these rows alone first: short sums keep their digits.
    let (mut weight_sum, mut bias_sum) = (vec![0.0_f32; width], vec![0.0_f32; width]);
    dispatch(
        #[inline(always)]
        || {
            let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width));
            for ((dx, x), dy) in rows {
                let (mean, rstd) = moments(x, eps);
                for ((((g, xhat), x), dy), w) in g.iter_mut().zip(&mut xhat).zip(x).zip(dy).zip(weight) {
                    *xhat = (x - mean) * rstd;
                    *g = dy * w;
                }
                for (((dw, db), xhat), dy) in weight_sum.iter_mut().zip(&mut bias_sum).zip(&xhat).zip(dy) {
                    *dw = dy.mul_add(*xhat, *dw);
                    *db += dy;
                }
                let mean_g = lane_sum(
                    &g,
                    #[inline(always)]
                    |g| g,
                ) / width as f32;
                let mut lanes = [0.0_f32; 16];
                let (mut gs, mut xs) = (g.chunks_exact(16), xhat.chunks_exact(16));
                for (gs, xs) in (&mut gs).zip(&mut xs) {
                    for ((lane, g), x) in lanes.iter_mut().zip(gs).zip(xs) {
                        *lane = g.mul_add(*x, *lane);
                    }
                }
                let mut dot = lanes.iter().sum::<f32>();
                for (g, x) in gs.remainder().iter().zip(xs.remainder()) {
                    dot = g.mul_add(*x, dot);
                }
                let mean_gx = dot / width as f32;
                for ((dx, g), xhat) in dx.iter_mut().zip(&g).zip(&xhat) {
                    let slope = rstd * (g - mean_g - xhat * mean_gx);
                    *dx = if ADD { *dx + slope } else { slope };
                }
            }
            for (total, sum) in dw.iter_mut().zip(&weight_sum).chain(db.iter_mut().zip(&bias_sum)) {
                *total += sum;
            }
        },
    );
}

pub(crate) fn forward(x: &FlexTensor, weight: &FlexTensor, bias: &FlexTensor, eps: f32) -> FlexTensor {
    let (_, width) = rows(x);
    let (values, weight, bias) = (slice(x), slice(weight), slice(bias));
    let mut y = buffer(values.len());
    let chunk = (rows_in_chunk(width) * width).max(1);
    y.par_chunks_mut(chunk).zip(values.par_chunks(chunk)).for_each(|(y, x)| normalise_rows(x, weight, bias, eps, y));
    tensor(y, dims(x))
}

pub(crate) fn backward(
    x: &FlexTensor,
    weight: &FlexTensor,
    eps: f32,
    dy: &FlexTensor,
    want: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let (_, width) = rows(x);
    let (values, weight, dy) = (slice(x), slice(weight), slice(dy));
    let mut dx = buffer(values.len());
    let chunk = (rows_in_chunk(width) * width).max(1);
    let parts: Vec<(Vec<f32>, Vec<f32>)> = dx
        .par_chunks_mut(chunk)
        .zip(values.par_chunks(chunk).zip(dy.par_chunks(chunk)))
        .map(|(dx, (x, dy))| {
            let (mut dw, mut db) = (vec![0.0_f32; width], vec![0.0_f32; width]);
            normalise_rows_backward::<false>(x, weight, eps, dy, dx, &mut dw, &mut db);
            (dw, db)
        })
        .collect();
    let (dw, db): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    [
        want[0].then(|| tensor(dx, dims(x))),
        want[1].then(|| tensor(combine(&dw, width), [width])),
        want[2].then(|| tensor(combine(&db, width), [width])),
    ]
}
