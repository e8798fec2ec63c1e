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

/// A parameter and what goes with it through a step; none of the tensors is tracked, all have the same shape.
#[derive(Clone, Debug)]
pub struct Stepped<const D: usize> {
    /// The parameter.
    pub parameter: Tensor<D>,
    /// The first moment: the gradient's moving average.
    pub first: Tensor<D>,
    /// The second moment: that of its square.
    pub second: Tensor<D>,
}

/// One AdamW step, in a single pass.
///
/// # Shapes
/// - `gradient`: `[..]`, as the parameter
pub fn adamw<const D: usize>(state: Stepped<D>, gradient: Tensor<D>, step: &AdamW) -> Stepped<D> {
    let Stepped { parameter, first: m, second: v } = state;
    let bias1 = 1.0 - step.beta1.powi(i32::try_from(step.step).unwrap_or(i32::MAX));
    let bias2 = 1.0 - step.beta2.powi(i32::try_from(step.step).unwrap_or(i32::MAX));
    if ![&parameter, &gradient, &m, &v].into_iter().all(is_fused) {
        let g = gradient * step.gradient_scale;
        let m = m * step.beta1 + g.clone() * (1.0 - step.beta1);
        let v = v * step.beta2 + g.square() * (1.0 - step.beta2);
        let denominator = v.clone().sqrt() / bias2.sqrt() + step.eps;
        let parameter = parameter * (1.0 - step.lr * step.weight_decay) - m.clone() / denominator * (step.lr / bias1);
        return Stepped { parameter, first: m, second: v };
    }
    let take = |t: Tensor<D>| owned(t.try_into_primitive::<Flex>().expect("an untracked tensor on Flex"));
    let (mut p, mut m, mut v, g) = (take(parameter), take(m), take(v), take(gradient));
    let (b1, b2) = (step.beta1 as f32, step.beta2 as f32);
    let (c1, c2) = ((1.0 - step.beta1) as f32, (1.0 - step.beta2) as f32);
    let (scale, eps) = (step.gradient_scale as f32, step.eps as f32);
    let keep = (1.0 - step.lr * step.weight_decay) as f32;
    let (rate, root) = ((step.lr / bias1) as f32, (1.0 / bias2.sqrt()) as f32);
    let move_chunk = move |p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]| {
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
    };
    let moments = m.storage_mut::<f32>().par_chunks_mut(CHUNK).zip(v.storage_mut::<f32>().par_chunks_mut(CHUNK));
    let chunks = p.storage_mut::<f32>().par_chunks_mut(CHUNK).zip(moments).zip(slice(&g).par_chunks(CHUNK));
    chunks.for_each(|((p, (m, v)), g)| move_chunk(p, m, v, g));
    let [parameter, first, second] = [p, m, v].map(Tensor::from_primitive::<Flex>);
    Stepped { parameter, first, second }
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
    let chunks = target.storage_mut::<f32>().par_chunks_mut(CHUNK).zip(slice(&online).par_chunks(CHUNK));
    chunks.for_each(|(target, online)| {
        dispatch(
            #[inline(always)]
            || {
                for (t, o) in target.iter_mut().zip(online) {
                    *t = (o - *t).mul_add(weight, *t);
                }
            },
        );
    });
    Tensor::from_primitive::<Flex>(target)
}
