//! Spectra of feature matrices: Gram matrices, eigenvalues and the entropy that turns a spectrum into a rank.
//!
//! Everything here is f64, sequential (`Par::Seq`) and on faer's aligned storage, so that the same input gives the same
//! bits in every run on a machine, whatever the number of threads: these figures enter `metrics.jsonl`.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Spec};

use crate::{EvalError, Features};

/// `features` in f64, `[N, D]`, with `shift` (`[D]`) taken from each row.
pub(crate) fn shifted(features: &Features, shift: &[f64]) -> Mat<f64> {
    Mat::from_fn(features.rows, features.dim, |row, dimension| {
        f64::from(features.values[row * features.dim + dimension]) - shift[dimension]
    })
}

/// The mean of each dimension, `[D]`, summed in the order of the rows.
pub(crate) fn mean(features: &Features) -> Vec<f64> {
    let mut sum = vec![0.0; features.dim];
    for row in features.values.chunks_exact(features.dim) {
        for (sum, &value) in sum.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    let rows = features.rows as f64;
    for sum in &mut sum {
        *sum /= rows;
    }
    sum
}

/// `xᵀx` `[D, D]` or `xxᵀ` `[N, N]`, whichever is smaller: both have the squared singular values of `x` `[N, D]` as
/// eigenvalues. Only the lower triangle is written.
pub(crate) fn gram(x: MatRef<'_, f64>) -> Mat<f64> {
    if x.nrows() < x.ncols() { product(x, x.transpose()) } else { product(x.transpose(), x) }
}

/// The lower triangle of `left · right`, which the caller knows to be symmetric.
pub(crate) fn product(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    let side = left.nrows();
    let mut out = Mat::zeros(side, side);
    triangular::matmul(
        &mut out,
        BlockStructure::TriangularLower,
        Accum::Replace,
        left,
        BlockStructure::Rectangular,
        right,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    out
}

/// The eigenvalues of a positive semi-definite matrix (lower triangle read), largest first, rounding below 0 clamped.
pub(crate) fn eigenvalues(matrix: MatRef<'_, f64>) -> Result<Vec<f64>, EvalError> {
    Ok(decompose(matrix, ComputeEigenvectors::No)?.0)
}

/// Eigenvalues, largest first, and the eigenvectors in the same order, one a column.
pub(crate) fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), EvalError> {
    decompose(matrix, ComputeEigenvectors::Yes)
}

fn decompose(matrix: MatRef<'_, f64>, vectors: ComputeEigenvectors) -> Result<(Vec<f64>, Mat<f64>), EvalError> {
    let side = matrix.nrows();
    let wanted = vectors == ComputeEigenvectors::Yes;
    let mut values = Diag::zeros(side);
    let mut columns = if wanted { Mat::zeros(side, side) } else { Mat::new() };
    let scratch = self_adjoint_evd_scratch::<f64>(side, vectors, Par::Seq, Spec::default());
    self_adjoint_evd(
        matrix,
        values.as_mut(),
        wanted.then(|| columns.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Spec::default(),
    )
    .map_err(|_| EvalError::Factorisation {
        what: "eigendecomposition of the feature covariance",
        hint: "the features are finite but too far apart in scale; normalise them first",
    })?;
    // faer gives them smallest first.
    let descending = values.column_vector().iter().rev().map(|value| value.max(0.0)).collect();
    let columns = if wanted { columns.as_ref().reverse_cols().to_owned() } else { columns };
    Ok((descending, columns))
}

/// `exp(−Σ p ln p)` with `p = share + ε` for each value's share of their sum; 0 for a spectrum of zeros. `p` is not
/// normalised again, as in the papers.
pub(crate) fn effective_count(values: &[f64], epsilon: f64) -> f64 {
    let total: f64 = values.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let entropy: f64 = values
        .iter()
        .map(|value| value / total + epsilon)
        .filter(|&share| share > 0.0)
        .map(|share| -share * share.ln())
        .sum();
    entropy.exp()
}

/// The α of `value_k ∝ k^−α` (k from 1, largest first) by least squares on logarithms, each value weighing 1 / k, from the third to
/// the hundredth: the first ones follow no law, and the tail is noise of few samples (Agrawal et al., 2022, and Stringer et al.,
/// 2019). `None` where fewer than three of those stand above rounding.
pub(crate) fn decay(values: &[f64]) -> Option<f64> {
    const RANGE: std::ops::Range<usize> = 2..100;
    /// Relative to the largest.
    const ROUNDING: f64 = 1e-12;
    let floor = values.first()? * ROUNDING;
    let points = values.iter().enumerate().skip(RANGE.start).take(RANGE.len()).take_while(|(_, value)| **value > floor);
    let points: Vec<(f64, f64, f64)> =
        points.map(|(i, value)| (((i + 1) as f64).ln(), value.ln(), 1.0 / (i + 1) as f64)).collect();
    if points.len() < 3 {
        return None;
    }
    let weight: f64 = points.iter().map(|(_, _, w)| w).sum();
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), (a, b, w)| (x + a * w / weight, y + b * w / weight));
    let sum = |of: fn(f64, f64) -> f64| points.iter().map(|(a, b, w)| w * of(a - x, b - y)).sum::<f64>();
    Some(-sum(|a, b| a * b) / sum(|a, _| a * a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    #[test]
    fn both_gram_matrices_have_one_spectrum() {
        let tall = shifted(&normal(40, 7, 3), &[0.0; 7]);
        let of_tall = eigenvalues(gram(tall.as_ref()).as_ref()).unwrap();
        let of_wide = eigenvalues(product(tall.as_ref(), tall.transpose()).as_ref()).unwrap();
        assert_eq!(of_tall.len(), 7);
        for (index, wide) in of_wide.iter().enumerate() {
            let tall = of_tall.get(index).copied().unwrap_or(0.0);
            assert!((wide - tall).abs() < 1e-10 * of_tall[0], "{index}: {wide} against {tall}");
        }
    }

    #[test]
    fn eigenvectors_reproduce_the_matrix() {
        let matrix = gram(shifted(&normal(30, 6, 5), &[0.0; 6]).as_ref());
        let (values, vectors) = eigen(matrix.as_ref()).unwrap();
        assert!(values.is_sorted_by(|a, b| a >= b));
        for i in 0..6 {
            for j in 0..=i {
                let entry: f64 = (0..6).map(|k| vectors[(i, k)] * values[k] * vectors[(j, k)]).sum();
                assert!((entry - matrix[(i, j)]).abs() < 1e-10, "({i}, {j})");
            }
        }
    }

    #[test]
    fn an_exact_power_law_is_found_to_the_digit() {
        for alpha in [0.0, 0.7, 1.0, 3.0] {
            let values: Vec<f64> = (1..=150).map(|k| 5.0 * f64::from(k).powf(-alpha)).collect();
            assert!((decay(&values).unwrap() - alpha).abs() < 1e-9, "{alpha}");
            // Whatever the first two are, and beyond a hundred.
            let mut other = values;
            (other[0], other[1]) = (900.0, 800.0);
            let tail = 1e-3 * other[99];
            other[100..].fill(tail);
            assert!((decay(&other).unwrap() - alpha).abs() < 1e-9, "{alpha}");
        }
        assert_eq!((decay(&[]), decay(&[3.0, 2.0, 1.0, 0.5]), decay(&[3.0; 2])), (None, None, None));
        // A value lost in rounding ends the law.
        assert_eq!(decay(&[1.0, 1.0, 0.5, 0.2, 1e-14, 1e-15]), None);
    }

    #[test]
    fn equal_shares_count_as_many_as_there_are() {
        assert!((effective_count(&[3.0; 5], 0.0) - 5.0).abs() < 1e-12);
        assert_eq!(effective_count(&[2.0, 0.0, 0.0], 0.0), 1.0);
        assert_eq!(effective_count(&[0.0; 4], 1e-7), 0.0);
    }
}
