//! What is known of a logistic regression's curvature before its first step: the Gram matrix of its inputs.
//!
//! The Hessian of the mean loss is `A ⊗ XᵀX/N + λ I` where all rows have the same probabilities, A of them, and bounded by
//! `½ (I − 11ᵀ/C) ⊗ XᵀX/N + λ I` everywhere (Böhning 1992). L-BFGS begins with the inverse of `a XᵀX/N + λ I` for each class, a
//! being A's mean eigenvalue at the classes' shares, and need not find the inputs' scales and correlations by trying. All in
//! f64 and sequential.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, Mat, MatMut, MatRef, Par, Spec, linalg::matmul::matmul};

use crate::EvalError;
use crate::spectrum::product;
use crate::standard::{Inputs, stride};

/// Beyond this width the Gram matrix would be larger than what it saves.
const WIDE: usize = 4096;
/// Rows that tell the leading directions of wide inputs.
const SKETCH: usize = 1024;
/// Multiplications that the Gram matrix may cost: beyond them fewer rows make it, evenly spread.
const COST: usize = 80_000_000_000;
/// Rows that enter it at a time.
const BLOCK: usize = 512;
/// Added to the diagonal at least, as a share of its sum.
const ROUNDING: f64 = 1e-13;

/// `XᵀX/N` of standardised inputs, or what stands for it.
pub(crate) enum Curvature {
    /// `[D, D]`, the lower triangle.
    Gram(Mat<f64>),
    /// Fewer rows than dimensions: themselves over the root of their number, `[D, N]`, their inner products, `[N, N]`, and the
    /// variance of each direction that they do not tell.
    Rows { rows: Mat<f64>, products: Mat<f64>, unseen: f64 },
}

impl Curvature {
    /// Of all rows of `inputs`, or of some that are evenly spread.
    pub(crate) fn of(inputs: Inputs<'_>) -> Result<Self, EvalError> {
        let (all, dim) = (inputs.features.rows(), inputs.dim());
        let most = if dim > WIDE { SKETCH } else { (COST / (dim * dim)).max(dim) };
        let count = all.min(most);
        let rows: Vec<usize> = (0..count).map(|index| index * all / count).collect();
        if count < dim {
            let rows = read(inputs, &rows, (count as f64).sqrt().recip())?;
            let products = product(rows.transpose(), rows.as_ref());
            let unseen = if count == all { 0.0 } else { left_over(&products, dim)? };
            return Ok(Self::Rows { rows, products, unseen });
        }
        let mut gram = Mat::zeros(dim, dim);
        for block in rows.chunks(BLOCK) {
            let x = read(inputs, block, (count as f64).sqrt().recip())?;
            gram += product(x.as_ref(), x.transpose());
        }
        Ok(Self::Gram(gram))
    }

    /// Ready to multiply with the inverse of `scale · XᵀX/N + strength · I`.
    pub(crate) fn inverse(&self, scale: f64, strength: f64) -> Result<Inverse<'_>, EvalError> {
        match self {
            Self::Gram(gram) => Ok(Inverse::Gram { factor: factor(gram, scale, strength)?, scale }),
            Self::Rows { rows, products, unseen } => {
                let trace: f64 = (0..products.nrows()).map(|i| products[(i, i)]).sum();
                let rest = (strength + scale * unseen).max(scale * ROUNDING * trace).max(f64::MIN_POSITIVE);
                Ok(Inverse::Rows { rows: rows.as_ref(), factor: factor(products, scale, rest)?, scale, rest })
            }
        }
    }
}

/// The rows named, one a column, times `scale`.
fn read(inputs: Inputs<'_>, rows: &[usize], scale: f64) -> Result<Mat<f64>, EvalError> {
    let (dim, stride) = (inputs.dim(), stride(inputs.dim()));
    let mut out = Mat::zeros(dim, rows.len());
    let mut values = vec![0.0; BLOCK.min(rows.len()) * stride];
    for (block, rows) in rows.chunks(BLOCK).enumerate() {
        inputs.read(rows, &mut values)?;
        for (row, values) in values.chunks_exact(stride).take(rows.len()).enumerate() {
            let column = out.col_mut(block * BLOCK + row);
            for (out, value) in column.iter_mut().zip(values) {
                *out = scale * f64::from(*value);
            }
        }
    }
    Ok(out)
}

/// The variance of a direction outside the rows' span: what each row holds that the others do not tell, by the diagonal of
/// the inverse of their inner products.
fn left_over(products: &Mat<f64>, dim: usize) -> Result<f64, EvalError> {
    let count = products.nrows();
    let trace: f64 = (0..count).map(|i| products[(i, i)]).sum();
    let factor = factor(products, 1.0, 1e-9 * trace)?;
    let mut inverse = Mat::<f64>::identity(count, count);
    solve_lower_triangular_in_place(factor.as_ref(), inverse.as_mut(), Par::Seq);
    // (LLᵀ)⁻¹'s diagonal: the squares of the columns of L⁻¹.
    let held = |column: usize| inverse.col(column).iter().map(|value| value * value).sum::<f64>().recip();
    Ok((0..count).map(held).sum::<f64>() / (dim - count) as f64)
}

/// L of `scale · matrix + strength · I`, of which the lower triangle is read.
fn factor(matrix: &Mat<f64>, scale: f64, strength: f64) -> Result<Mat<f64>, EvalError> {
    let side = matrix.nrows();
    let trace: f64 = (0..side).map(|i| matrix[(i, i)]).sum();
    let least = strength.max(scale * ROUNDING * trace).max(1e-200);
    let mut out = Mat::zeros(side, side);
    for column in 0..side {
        for row in column..side {
            out[(row, column)] = scale * matrix[(row, column)];
        }
        out[(column, column)] += least;
    }
    let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(side, Par::Seq, Spec::default()));
    let stack = MemStack::new(&mut memory);
    cholesky_in_place(out.as_mut(), LltRegularization::default(), Par::Seq, stack, Spec::default()).map_err(|_| {
        EvalError::Factorisation {
            what: "Cholesky decomposition of the features' Gram matrix",
            hint: "the features are finite but too far apart in scale; normalise them first",
        }
    })?;
    Ok(out)
}

/// What a gradient is multiplied with.
pub(crate) enum Inverse<'a> {
    Gram { factor: Mat<f64>, scale: f64 },
    Rows { rows: MatRef<'a, f64>, factor: Mat<f64>, scale: f64, rest: f64 },
}

impl Inverse<'_> {
    /// Multiplies a vector that is laid out as [`Logistic`](crate::logistic::Logistic)'s parameters: `[C, D]`, then `[C]`.
    pub(crate) fn apply(&self, vector: &mut [f64], classes: usize) {
        let dim = vector.len() / classes - 1;
        let (weights, bias) = vector.split_at_mut(classes * dim);
        let mut weights = MatMut::from_column_major_slice_mut(weights, dim, classes);
        let scale = match self {
            Self::Gram { factor, scale } => {
                solve(factor, weights);
                scale
            }
            // (a X Xᵀ + μ I)⁻¹ = (I − a X (a XᵀX + μ I)⁻¹ Xᵀ) / μ.
            Self::Rows { rows, factor, scale, rest } => {
                let mut along = Mat::zeros(rows.ncols(), classes);
                matmul(&mut along, Accum::Replace, rows.transpose(), weights.as_ref(), 1.0, Par::Seq);
                solve(factor, along.as_mut());
                matmul(&mut weights, Accum::Add, rows, along.as_ref(), -scale, Par::Seq);
                for column in weights.col_iter_mut() {
                    for value in column.iter_mut() {
                        *value /= rest;
                    }
                }
                scale
            }
        };
        for value in bias {
            *value /= scale;
        }
    }
}

fn solve(factor: &Mat<f64>, mut right: MatMut<'_, f64>) {
    solve_lower_triangular_in_place(factor.as_ref(), right.as_mut(), Par::Seq);
    solve_upper_triangular_in_place(factor.transpose(), right, Par::Seq);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;
    use crate::features::tests::normal;
    use crate::standard::Standardisation;

    /// `(a XᵀX/N + λ I) x` for each class, and `a x` of the bias.
    fn forth(features: &Features, scale: f64, strength: f64, vector: &[f64], classes: usize) -> Vec<f64> {
        let dim = features.dim;
        let mut out = Vec::new();
        for weights in vector[..classes * dim].chunks_exact(dim) {
            let mut product: Vec<f64> = weights.iter().map(|weight| strength * weight).collect();
            for row in features.values.chunks_exact(dim) {
                let along: f64 = row.iter().zip(weights).map(|(x, weight)| f64::from(*x) * weight).sum();
                for (product, x) in product.iter_mut().zip(row) {
                    *product += scale * along * f64::from(*x) / features.rows as f64;
                }
            }
            out.extend(product);
        }
        out.extend(vector[classes * dim..].iter().map(|bias| scale * bias));
        out
    }

    #[test]
    fn it_is_the_inverse_with_more_rows_and_with_more_dimensions() {
        for (rows, dim) in [(700, 5), (30, 30), (7, 40)] {
            let features = normal(rows, dim, 1);
            let scale = Standardisation::none(&features);
            let curvature = Curvature::of(Inputs { features: &features, scale: &scale }).unwrap();
            assert_eq!(matches!(curvature, Curvature::Rows { .. }), rows < dim);
            let vector: Vec<f64> = normal(1, 3 * (dim + 1), 2).values.into_iter().map(f64::from).collect();
            let mut found = forth(&features, 0.3, 1e-3, &vector, 3);
            curvature.inverse(0.3, 1e-3).unwrap().apply(&mut found, 3);
            for (found, right) in found.iter().zip(&vector) {
                assert!((found - right).abs() < 1e-8, "{rows} x {dim}: {found} and {right}");
            }
        }
    }

    #[test]
    fn what_a_sketch_does_not_see_is_estimated() {
        // 40 rows of independent numbers in 200 dimensions: each direction outside their span has the variance 1.
        let features = normal(40, 200, 3);
        let scale = Standardisation::none(&features);
        let inputs = Inputs { features: &features, scale: &scale };
        let rows = read(inputs, &(0..40).collect::<Vec<_>>(), 1.0).unwrap();
        let unseen = left_over(&product(rows.transpose(), rows.as_ref()), 200).unwrap();
        assert!((unseen / 40.0 - 1.0).abs() < 0.1, "{unseen}");
    }

    #[test]
    fn nothing_that_varies_is_no_matter() {
        for rows in [3, 20] {
            let features = Features::new(rows, 4, vec![0.0; rows * 4]).unwrap();
            let scale = Standardisation::none(&features);
            let curvature = Curvature::of(Inputs { features: &features, scale: &scale }).unwrap();
            for strength in [0.0, 0.5] {
                let mut vector = vec![0.0, 0.0, 0.0, 0.0, 2.0];
                curvature.inverse(0.5, strength).unwrap().apply(&mut vector, 1);
                assert_eq!(vector, [0.0, 0.0, 0.0, 0.0, 4.0]);
            }
        }
    }
}
