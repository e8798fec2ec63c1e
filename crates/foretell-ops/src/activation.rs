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

/// `x σ(x)` (Elfwing, Uchibe and Doya, 2017), for any shape: small ones, so that no fused body pays.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * activation::sigmoid(x)
}

/// Beyond this Φ is 0 or 1 to 1e-7.
const FAR: f32 = 5.2;

/// The normal distribution function: `Φ(x) = ½ + x P(x²)`, P a least-squares fit at Chebyshev's nodes of
/// `erf(√(u/2)) / (2 √u)` on [0, 5.2²], as a polynomial in `2u / 5.2² − 1`. The error is below 2.5e-7.
#[inline(always)]
fn normal(x: f32) -> f32 {
    let near = x.clamp(-FAR, FAR);
    let t = (near * near).mul_add(2.0 / (FAR * FAR), -1.0);
    let mut p = -5.824_338_3e-4_f32;
    p = p.mul_add(t, 1.319_198_6e-3);
    p = p.mul_add(t, -9.180_87e-4);
    p = p.mul_add(t, 1.660_736_6e-3);
    p = p.mul_add(t, -5.136_607_2e-3);
    p = p.mul_add(t, 8.702_516e-3);
    p = p.mul_add(t, -1.231_559_5e-2);
    p = p.mul_add(t, 1.788_826_8e-2);
    p = p.mul_add(t, -2.477_336_3e-2);
    p = p.mul_add(t, 3.200_381_6e-2);
    p = p.mul_add(t, -3.992_429_7e-2);
    p = p.mul_add(t, 5.002_348_1e-2);
    p = p.mul_add(t, -6.774_383_8e-2);
    p = p.mul_add(t, 1.359_5e-1);
    let inside = near.mul_add(p, 0.5);
    if x > FAR {
        1.0
    } else if x < -FAR {
        0.0
    } else {
        inside
    }
}

/// GELU of one value.
#[inline(always)]
pub(crate) fn gelu_at(x: f32) -> f32 {
    x * normal(x)
}

/// GELU of one value and its slope.
#[inline(always)]
pub(crate) fn gelu_and_slope(x: f32) -> (f32, f32) {
    let phi = normal(x);
    let density = 0.398_942_3 * exp(-0.5 * x * x); // 1/√(2π)
    (x * phi, x.mul_add(density, phi))
}

pub(crate) fn gelu_forward(x: &FlexTensor) -> FlexTensor {
    let values = slice(x);
    let mut y = buffer(values.len());
    map(values, &mut y, gelu_at);
    tensor(y, dims(x))
}

pub(crate) fn gelu_backward(x: &FlexTensor, dy: &FlexTensor) -> FlexTensor {
    let mut dx = buffer(slice(x).len());
    zip(
        slice(x),
        slice(dy),
        &mut dx,
        #[inline(always)]
        |x, dy| dy * gelu_and_slope(x).1,
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
