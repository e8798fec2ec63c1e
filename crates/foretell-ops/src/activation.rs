//! Pointwise non-linearities.

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::activation;
use burn_flex::FlexTensor;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::simd::{exp, map, zip};

/// Exact GELU, `x Φ(x)` with the normal distribution function Φ (Hendrycks and Gimpel, 2016; no tanh approximation).
///
/// # Shapes
/// - `x` and output: `[..]`
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_fused(&x) {
        return Tensor::from_dispatch(Dispatch::fused_gelu(x.into_dispatch()));
    }
    gelu_composed(x)
}

/// The composed body of [`gelu`].
pub fn gelu_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let phi = (x.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() * 0.5 + 0.5;
    x * phi
}

/// `max(x, 0)`, for any shape.
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if is_fused(&x) {
        return Tensor::from_dispatch(Dispatch::fused_relu(x.into_dispatch()));
    }
    relu_composed(x)
}

/// The composed body of [`relu`].
pub fn relu_composed<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::relu(x)
}

/// `(Φ(x), exp(−x²/2))`. Φ after Abramowitz and Stegun 7.1.26, whose error is below 1.5e-7; both share one exponential.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / 0.327_591_1_f32.mul_add(z, 1.0);
    let mut p = 1.061_405_4_f32;
    p = p.mul_add(t, -1.453_152);
    p = p.mul_add(t, 1.421_413_7);
    p = p.mul_add(t, -0.284_496_74);
    p = p.mul_add(t, 0.254_829_6);
    let e = exp(-z * z);
    let tail = 0.5 * p * t * e; // 1 − Φ(|x|)
    (if x < 0.0 { tail } else { 1.0 - tail }, e)
}

pub(crate) fn gelu_forward(x: &FlexTensor) -> FlexTensor {
    let values = slice(x);
    let mut y = buffer(values.len());
    map(
        values,
        &mut y,
        #[inline(always)]
        |x| x * normal(x).0,
    );
    tensor(y, dims(x))
}

pub(crate) fn gelu_backward(x: &FlexTensor, dy: &FlexTensor) -> FlexTensor {
    let mut dx = buffer(slice(x).len());
    zip(
        slice(x),
        slice(dy),
        &mut dx,
        #[inline(always)]
        |x, dy| {
            let (phi, e) = normal(x);
            dy * (x * e).mul_add(0.398_942_3, phi) // 1/√(2π)
        },
    );
    tensor(dx, dims(x))
}

pub(crate) fn relu_forward(x: &FlexTensor) -> FlexTensor {
    let mut y = buffer(slice(x).len());
    map(
        slice(x),
        &mut y,
        #[inline(always)]
        |x| if x > 0.0 { x } else { 0.0 },
    );
    tensor(y, dims(x))
}

pub(crate) fn relu_backward(y: &FlexTensor, dy: &FlexTensor) -> FlexTensor {
    let mut dx = buffer(slice(y).len());
    zip(
        slice(y),
        slice(dy),
        &mut dx,
        #[inline(always)]
        |y, dy| if y > 0.0 { dy } else { 0.0 },
    );
    tensor(dx, dims(y))
}
