//! Distances between latents.

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::reduce::sum_chunks;
use crate::simd::{dispatch, zip};

/// Smooth L1 (Girshick, 2015), mean over all elements: `d²/2β` where `|d| < β`, else `|d| − β/2`, with `d = prediction − target`.
///
/// # Shapes
/// - `prediction`, `target`: `[..]`, the same; output: `[1]`
pub fn smooth_l1<const D: usize>(prediction: Tensor<D>, target: Tensor<D>, beta: f64) -> Tensor<1> {
    if is_fused(&prediction) && is_fused(&target) {
        return Tensor::from_dispatch(Dispatch::fused_smooth_l1(
            prediction.into_dispatch(),
            target.into_dispatch(),
            beta as f32,
        ));
    }
    smooth_l1_composed(prediction, target, beta)
}

/// The composed body of [`smooth_l1`].
pub fn smooth_l1_composed<const D: usize>(prediction: Tensor<D>, target: Tensor<D>, beta: f64) -> Tensor<1> {
    let d = (prediction - target).abs();
    // With q = min(|d|, β) both branches are q²/2β + (|d| − q).
    let q = d.clone().clamp_max(beta);
    (q.clone().square() / (2.0 * beta) + (d - q)).mean()
}

pub(crate) fn forward(prediction: &FlexTensor, target: &FlexTensor, beta: f32) -> FlexTensor {
    let (a, b) = (slice(prediction), slice(target));
    let total = sum_chunks(a.len(), |range| {
        let (a, b) = (&a[range.clone()], &b[range]);
        dispatch(
            #[inline(always)]
            || {
                let mut lanes = [0.0_f32; 16];
                for (a, b) in a.chunks(16).zip(b.chunks(16)) {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        let d = (a - b).abs();
                        let q = if d < beta { d } else { beta };
                        *lane += (q * q).mul_add(0.5 / beta, d - q);
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
    beta: f32,
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
            move |a, b| ((a - b) / beta).clamp(-1.0, 1.0) * scale,
        );
        tensor(out, dims(prediction))
    };
    [want[0].then(|| gradient(1.0)), want[1].then(|| gradient(-1.0))]
}
