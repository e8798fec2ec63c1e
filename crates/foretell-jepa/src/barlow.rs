//! Barlow Twins (Zbontar et al., 2021, arXiv 2103.03230): the correlations of two views' codes should be the identity matrix.

use burn::tensor::Tensor;
use foretell_ops as ops;

use crate::vicreg::off_diagonal;

/// Of the batch normalisation, as released.
const EPS: f64 = 1e-5;

/// The loss's two sums, before the weight of the second.
pub struct Barlow {
    /// `Σ_i (C_ii − 1)²`, `[1]`: each dimension says the same of both views.
    pub diagonal: Tensor<1>,
    /// `Σ_{i≠j} C_ij²`, `[1]`: no two dimensions say the same.
    pub off_diagonal: Tensor<1>,
}

/// `C = BN(a)ᵀ BN(b) / N` with a batch normalisation without weights (biased variance, eps 1e-5). Sums, not means: they grow with the
/// width.
///
/// # Shapes
/// - `a`, `b`: `[N, D]`, row i of both of sample i
pub fn barlow(a: Tensor<2>, b: Tensor<2>) -> Barlow {
    let [samples, _] = a.dims();
    let (a, b) = (normalised(a), normalised(b));
    let agreement = (a.clone() * b.clone()).sum_dim(0) / samples as f64;
    let correlations = ops::matmul(a.transpose(), b) / samples as f64;
    Barlow { diagonal: (agreement - 1.0).square().sum(), off_diagonal: off_diagonal(correlations).square().sum() }
}

fn normalised(z: Tensor<2>) -> Tensor<2> {
    let [_, width] = z.dims();
    let device = z.device().inner();
    ops::batch_norm(z, Tensor::ones([width], &device), Tensor::zeros([width], &device), EPS).output
}
