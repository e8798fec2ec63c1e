//! The terms of VICReg (Bardes et al., 2022, arXiv 2105.04906) in the conventions of EB-JEPA (arXiv 2602.03604): means
//! throughout, so that weights do not depend on the width.

use burn::tensor::{Bool, Tensor};
use foretell_ops as ops;

/// `mean relu(1 − √(var + 1e-4))` over the dimensions, and over groups where there are some: each should vary.
/// `[N, D]` or `[V, N, D]` → `[1]`.
pub fn variance<const R: usize>(z: Tensor<R>) -> Tensor<1> {
    let samples = z.dims()[R - 2];
    let centred = z.clone() - z.mean_dim(R - 2);
    let variance = centred.square().sum_dim(R - 2) / samples.saturating_sub(1).max(1) as f64;
    ops::relu((variance + 1e-4).sqrt().neg() + 1.0).mean()
}

/// The mean of the squared off-diagonal entries of the covariance matrix, and over groups where there are some (the paper divides by D,
/// not by D (D − 1)): no two dimensions should say the same. `[N, D]` or `[V, N, D]` → `[1]`.
pub fn covariance<const R: usize>(z: Tensor<R>) -> Tensor<1> {
    let dims = z.dims();
    let (samples, width) = (dims[R - 2], dims[R - 1]);
    let groups: usize = dims[..R - 2].iter().product();
    let centred = z.clone() - z.mean_dim(R - 2);
    let covariance = ops::matmul(centred.clone().transpose(), centred) / samples.saturating_sub(1).max(1) as f64;
    off_diagonal(covariance).square().sum() / (groups * width * width.saturating_sub(1)).max(1) as f64
}

/// Square matrices with zeros for their diagonals, `[.., D, D]`.
pub(crate) fn off_diagonal<const R: usize>(square: Tensor<R>) -> Tensor<R> {
    let width = square.dims()[R - 1];
    // True off the diagonal.
    let off = Tensor::<2, Bool>::diag_mask([width, width], 0, &square.device().inner());
    let on = off.bool_not().unsqueeze::<R>().expand(square.dims());
    square.mask_fill(on, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_terms_are_what_the_formulas_say() {
        // Columns: constant; ±1; twice the second. Unbiased variances 0, 4/3, 16/3; one covariance, 8/3, twice.
        let z = Tensor::<2>::from_data(
            [[5.0_f32, 1.0, 2.0], [5.0, -1.0, -2.0], [5.0, 1.0, 2.0], [5.0, -1.0, -2.0]],
            &Device::flex(),
        );
        let value = |t: Tensor<1>| t.into_scalar::<f32>();
        assert!((value(variance(z.clone())) - 0.99 / 3.0).abs() < 1e-6);
        assert!((value(covariance(z)) - 2.0 * (8.0_f32 / 3.0).powi(2) / 6.0).abs() < 1e-5);
    }
}
