//! Features on the host: one row for each sample (or token), `[N, D]`, row-major f32.

use rayon::prelude::*;

use crate::EvalError;

/// Values of one task that looks for what is not finite.
const CHUNK: usize = 1 << 16;

/// A matrix of features, `[rows, dim]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// N: samples or tokens.
    pub rows: usize,
    /// D: the width of one row.
    pub dim: usize,
    /// `rows * dim` values, a row after the other.
    pub values: Vec<f32>,
}

impl Features {
    /// A matrix `[rows, dim]` over `values`.
    ///
    /// # Errors
    /// [`EvalError::Shape`] where the lengths disagree, [`EvalError::NoDimensions`] where `dim` is 0.
    pub fn new(rows: usize, dim: usize, values: Vec<f32>) -> Result<Self, EvalError> {
        let features = Self { rows, dim, values };
        features.check_shape()?;
        Ok(features)
    }

    /// Row `index`, `[D]`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..(index + 1) * self.dim]
    }

    /// The rows named by `indices`, in that order, `[indices.len(), D]`.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut values = Vec::with_capacity(indices.len() * self.dim);
        for &index in indices {
            values.extend_from_slice(self.row(index));
        }
        Self { rows: indices.len(), dim: self.dim, values }
    }

    fn check_shape(&self) -> Result<(), EvalError> {
        if self.dim == 0 {
            return Err(EvalError::NoDimensions);
        }
        if self.rows.checked_mul(self.dim) != Some(self.values.len()) {
            return Err(EvalError::Shape { rows: self.rows, dim: self.dim, found: self.values.len() });
        }
        Ok(())
    }

    /// Shape, number of rows and finiteness: what every judgement asks for first.
    pub(crate) fn check(&self, what: &'static str, needed: usize) -> Result<(), EvalError> {
        self.check_shape()?;
        if self.rows < needed {
            return Err(EvalError::TooFewRows { what, needed, found: self.rows });
        }
        // A count vectorises where an early exit would not; a chunk in which one is wrong is gone through again.
        let wrong = |chunk: &[f32]| chunk.iter().map(|value| u32::from(!value.is_finite())).sum::<u32>() > 0;
        let Some(chunk) = self.values.par_chunks(CHUNK).position_first(wrong) else { return Ok(()) };
        let at = self.values.iter().skip(chunk * CHUNK).position(|value| !value.is_finite());
        let at = chunk * CHUNK + at.unwrap_or(0);
        let (row, dimension) = (at / self.dim, at % self.dim);
        Err(EvalError::NotFinite { row, dimension, value: self.values[at].to_string() })
    }
}

/// Both must be of one width.
pub(crate) fn check_same_width(
    (left, left_dim): (&'static str, usize),
    (right, right_dim): (&'static str, usize),
) -> Result<(), EvalError> {
    if left_dim == right_dim { Ok(()) } else { Err(EvalError::DimensionMismatch { left, left_dim, right, right_dim }) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// Standard normal features, a function of the seed.
    pub(crate) fn normal(rows: usize, dim: usize, seed: u64) -> Features {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let values = (0..rows * dim).map(|_| StandardNormal.sample(&mut random)).collect();
        Features { rows, dim, values }
    }

    /// `rows` points of `classes` isotropic clusters of unit variance, `distance` from the origin along an axis each,
    /// with their labels (row modulo classes).
    pub(crate) fn clusters(rows: usize, dim: usize, classes: usize, distance: f32, seed: u64) -> (Features, Vec<u32>) {
        let mut features = normal(rows, dim, seed);
        let labels: Vec<u32> = (0..rows).map(|row| (row % classes) as u32).collect();
        for (row, values) in features.values.chunks_exact_mut(dim).enumerate() {
            values[row % classes] += distance;
        }
        (features, labels)
    }

    #[test]
    fn lengths_must_agree() {
        assert!(Features::new(2, 3, vec![0.0; 6]).is_ok());
        assert_eq!(Features::new(2, 3, vec![0.0; 5]), Err(EvalError::Shape { rows: 2, dim: 3, found: 5 }));
        assert_eq!(Features::new(2, 0, vec![]), Err(EvalError::NoDimensions));
        assert!(Features::new(usize::MAX, 2, vec![]).is_err());
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let mut features = normal(30_000, 5, 1);
        features.values[149_000] = f32::NAN;
        assert!(matches!(features.check("this", 1), Err(EvalError::NotFinite { row: 29_800, dimension: 0, .. })));
        features.values[3001] = f32::NAN;
        features.values[3400] = f32::INFINITY;
        let error = features.check("this", 1).unwrap_err();
        assert_eq!(error, EvalError::NotFinite { row: 600, dimension: 1, value: "NaN".into() });
    }

    #[test]
    fn select_takes_rows_in_the_order_asked_for() {
        let features = Features::new(3, 2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(features.select(&[2, 0]).values, [4.0, 5.0, 0.0, 1.0]);
    }
}
