//! The terms of VISReg (Wu et al., 2026, arXiv 2606.02572): where codes lie, how far they spread, and what shape they have, each apart
//! from the others. The spread's gradient is largest where codes collapse; SIGReg's vanishes there.

use burn::tensor::Tensor;
use foretell_ops as ops;

use crate::sigreg::project;

/// The smallest variance that has a gradient: the root's is infinite at 0, which would make every weight NaN.
const LEAST: f64 = 1e-36;

/// `mean μ²` over groups and dimensions (equation 6). `[V, N, D]` → `[1]`.
pub fn centre(z: Tensor<3>) -> Tensor<1> {
    z.mean_dim(1).square().mean()
}

/// `mean (1 − σ − eps)²` over groups and dimensions with the biased σ over the samples (equation 1): two-sided, without a hinge. 1 at
/// collapse, where its gradient has the norm 2/√(V D N) if codes differ at all, and 0 if they do not. `[V, N, D]` → `[1]`.
pub fn scale(z: Tensor<3>, eps: f64) -> Tensor<1> {
    let (_, deviation) = spread(z);
    (deviation + eps - 1.0).square().mean()
}

/// The sliced Wasserstein distance to N(0, I) of `(z − μ) / (σ + eps)`, where σ takes no gradient (equations 2 and 5):
/// `mean (sorted u − q)²` over groups, directions and samples, `q_i = Φ⁻¹(i / (N + 1))`. Its value does not change with the scale of z.
///
/// # Shapes
/// - `z`: `[V, N, D]`, each group judged apart; `directions`: `[D, M]` from [`directions`](crate::sigreg::directions); output: `[1]`
pub fn shape(z: Tensor<3>, directions: &[f32], eps: f64) -> Tensor<1> {
    let (centred, deviation) = spread(z);
    let projected = project(centred / (deviation.detach() + eps), directions);
    let quantiles = ops::normal_quantiles(projected.clone());
    ops::l2(projected, quantiles)
}

/// `z − μ` and σ over the samples, `[V, N, D]` and `[V, 1, D]`.
fn spread(z: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let centred = z.clone() - z.mean_dim(1);
    let deviation = centred.clone().square().mean_dim(1).clamp_min(LEAST).sqrt();
    (centred, deviation)
}
