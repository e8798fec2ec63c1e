//! One parameter's step: AdamW (Loshchilov and Hutter, 2019), and the moving average that makes a target network.

use burn::Tensor;
use burn::backend::Flex;
use rayon::prelude::*;

use crate::flex::{is_fused, owned, slice};
use crate::simd::{CHUNK, dispatch};

/// One step's numbers.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, already zero for biases and one-dimensional parameters.
    pub weight_decay: f64,
    /// The step, from 1, for the bias correction.
    pub step: u64,
    /// The gradient is multiplied by this first (global-norm clipping).
    pub gradient_scale: f64,
}

/// The parameter and its two moments after one AdamW step; none of the tensors is tracked.
///
/// # Shapes
/// - all `[..]`, the same
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
    step: &AdamW,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let bias1 = 1.0 - step.beta1.powi(i32::try_from(step.step).unwrap_or(i32::MAX));
    let bias2 = 1.0 - step.beta2.powi(i32::try_from(step.step).unwrap_or(i32::MAX));
    if !(is_fused(&parameter) && is_fused(&gradient) && is_fused(&m) && is_fused(&v)) {
        let g = gradient * step.gradient_scale;
        let m = m * step.beta1 + g.clone() * (1.0 - step.beta1);
        let v = v * step.beta2 + g.square() * (1.0 - step.beta2);
        let denominator = v.clone().sqrt() / bias2.sqrt() + step.eps;
        let parameter = parameter * (1.0 - step.lr * step.weight_decay) - m.clone() / denominator * (step.lr / bias1);
        return (parameter, m, v);
    }
    let take = |t: Tensor<D>| owned(t.try_into_primitive::<Flex>().expect("an untracked tensor on Flex"));
    let (mut p, mut m, mut v, g) = (take(parameter), take(m), take(v), take(gradient));
    let (b1, b2) = (step.beta1 as f32, step.beta2 as f32);
    let (c1, c2) = ((1.0 - step.beta1) as f32, (1.0 - step.beta2) as f32);
    let (scale, eps) = (step.gradient_scale as f32, step.eps as f32);
    let keep = (1.0 - step.lr * step.weight_decay) as f32;
    let (rate, root) = ((step.lr / bias1) as f32, (1.0 / bias2.sqrt()) as f32);
    let ps = p.storage_mut::<f32>().par_chunks_mut(CHUNK);
    let ms = m.storage_mut::<f32>().par_chunks_mut(CHUNK);
    let vs = v.storage_mut::<f32>().par_chunks_mut(CHUNK);
    ps.zip(ms).zip(vs).zip(slice(&g).par_chunks(CHUNK)).for_each(|(((p, m), v), g)| {
        dispatch(
            #[inline(always)]
            || {
                for (((p, m), v), g) in p.iter_mut().zip(m.iter_mut()).zip(v.iter_mut()).zip(g) {
                    let g = g * scale;
                    *m = m.mul_add(b1, g * c1);
                    *v = v.mul_add(b2, g * g * c2);
                    let denominator = v.sqrt().mul_add(root, eps);
                    *p = p.mul_add(keep, -(*m / denominator) * rate);
                }
            },
        );
    });
    (Tensor::from_primitive::<Flex>(p), Tensor::from_primitive::<Flex>(m), Tensor::from_primitive::<Flex>(v))
}

/// `target + (online − target) · weight`: one step of a moving average; neither tensor is tracked.
///
/// # Shapes
/// - both `[..]`, the same
pub fn lerp<const D: usize>(target: Tensor<D>, online: Tensor<D>, weight: f64) -> Tensor<D> {
    if !(is_fused(&target) && is_fused(&online)) {
        return target.clone() + (online - target) * weight;
    }
    let take = |t: Tensor<D>| owned(t.try_into_primitive::<Flex>().expect("an untracked tensor on Flex"));
    let (mut target, online) = (take(target), take(online));
    let weight = weight as f32;
    target.storage_mut::<f32>().par_chunks_mut(CHUNK).zip(slice(&online).par_chunks(CHUNK)).for_each(|(t, o)| {
        dispatch(
            #[inline(always)]
            || {
                for (t, o) in t.iter_mut().zip(o) {
                    *t = (o - *t).mul_add(weight, *t);
                }
            },
        );
    });
    Tensor::from_primitive::<Flex>(target)
}
