//! Ridge regression: what numbers a linear map reads from frozen features, such as where something is.
//!
//! In f64 and sequential, like everything that enters a summary.

use crate::spectrum::{eigen, mean, product, shifted};
use crate::{EvalError, Features};

/// A fitted map `[D]` → `[K]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    /// `[K, D]`.
    weight: Vec<f64>,
    /// `[K]`.
    bias: Vec<f64>,
}

/// Added to the diagonal of the features' covariance, as a share of its mean: enough for dimensions that follow others.
const STRENGTH: f64 = 1e-4;

/// Of f32 and of sums of them, relative and squared.
const ROUNDING: f64 = 1e-12;

impl Ridge {
    /// Least squares from `features` `[N, D]` to `targets` `[N, K]`, row-major, with a little weight decay.
    ///
    /// # Errors
    /// Fewer than 2 rows, values that are not finite, targets that do not fill `[N, K]`.
    pub fn fit(features: &Features, targets: &[f32]) -> Result<Self, EvalError> {
        features.check("a ridge regression", 2)?;
        let outputs = targets.len() / features.rows;
        let targets = Features::new(features.rows, outputs, targets.to_vec())?;
        targets.check("a ridge regression's targets", 2)?;
        let (middle, offset) = (mean(features), mean(&targets));
        let (x, y) = (shifted(features, &middle), shifted(&targets, &offset));
        let (values, vectors) = eigen(product(x.transpose(), x.as_ref()).as_ref())?;
        // Features that do not vary but for rounding tell nothing.
        let size: f64 = features.values.iter().map(|x| f64::from(*x).powi(2)).sum();
        let decay = STRENGTH * values.iter().sum::<f64>() / features.dim as f64;
        let decay = decay.max(ROUNDING * size / features.dim as f64).max(f64::MIN_POSITIVE);
        let dims = 0..features.dim;
        let solve = |k: usize| -> Vec<f64> {
            let right: Vec<f64> =
                dims.clone().map(|d| (0..features.rows).map(|n| x[(n, d)] * y[(n, k)]).sum()).collect();
            let along = |j: usize| dims.clone().map(|d| vectors[(d, j)] * right[d]).sum::<f64>() / (values[j] + decay);
            let along: Vec<f64> = dims.clone().map(along).collect();
            dims.clone().map(|d| dims.clone().map(|j| vectors[(d, j)] * along[j]).sum()).collect()
        };
        let weight: Vec<f64> = (0..outputs).flat_map(solve).collect();
        let bias = weight
            .chunks_exact(features.dim)
            .zip(offset)
            .map(|(w, offset)| offset - w.iter().zip(&middle).map(|(w, m)| w * m).sum::<f64>())
            .collect();
        Ok(Self { weight, bias })
    }

    /// What is read from rows `[.., D]`: `[.., K]`.
    pub fn predict(&self, rows: &[f32]) -> Vec<f32> {
        let dim = self.weight.len() / self.bias.len().max(1);
        let read = |row: &[f32], k: usize| {
            let weight = &self.weight[k * dim..(k + 1) * dim];
            (self.bias[k] + weight.iter().zip(row).map(|(w, x)| w * f64::from(*x)).sum::<f64>()) as f32
        };
        rows.chunks_exact(dim.max(1)).flat_map(|row| (0..self.bias.len()).map(move |k| read(row, k))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    /// `y = (2 x₀ − x₁ + 3, 5 x₂)`.
    fn targets(features: &Features) -> Vec<f32> {
        features.values.chunks_exact(features.dim).flat_map(|x| [2.0 * x[0] - x[1] + 3.0, 5.0 * x[2]]).collect()
    }

    #[test]
    fn a_linear_map_is_found_again() {
        let (seen, unseen) = (normal(200, 5, 1), normal(50, 5, 2));
        let ridge = Ridge::fit(&seen, &targets(&seen)).unwrap();
        for (found, expected) in ridge.predict(&unseen.values).iter().zip(targets(&unseen)) {
            assert!((found - expected).abs() < 5e-3, "{found} and {expected}");
        }
    }

    #[test]
    fn dimensions_that_say_nothing_or_the_same_do_no_harm() {
        let seen = normal(100, 3, 1);
        let wide = |features: &Features| {
            let values = features.values.chunks_exact(3).flat_map(|x| [x[0], x[1], x[2], x[0], 7.0]).collect();
            Features::new(features.rows, 5, values).unwrap()
        };
        let ridge = Ridge::fit(&wide(&seen), &targets(&seen)).unwrap();
        let unseen = normal(20, 3, 2);
        for (found, expected) in ridge.predict(&wide(&unseen).values).iter().zip(targets(&unseen)) {
            assert!((found - expected).abs() < 5e-3, "{found} and {expected}");
        }
        // Constant features leave the mean.
        let constant = Features::new(4, 2, vec![1.0; 8]).unwrap();
        let ridge = Ridge::fit(&constant, &[0.0, 1.0, 2.0, 5.0]).unwrap();
        assert!((ridge.predict(&[1.0, 1.0])[0] - 2.0).abs() < 1e-6);
    }

    #[test]
    fn ill_matched_targets_are_refused() {
        let features = normal(4, 2, 1);
        assert!(Ridge::fit(&features, &[1.0; 5]).is_err());
        assert!(Ridge::fit(&features, &[]).is_err());
        assert!(Ridge::fit(&features, &[f32::NAN; 4]).is_err());
    }
}
