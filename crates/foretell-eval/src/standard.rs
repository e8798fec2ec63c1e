//! Standardised features, a block of rows at a time: nothing is held of them but means and deviations.

use rayon::prelude::*;

use crate::EvalError;
use crate::stored::FeatureRows;

/// A dimension whose standard deviation is below this part of the root mean square of all is scaled as if it were there.
const STD_FLOOR: f64 = 1e-2;
/// f32 rounding relative to a dimension's size: what varies less does not vary.
const ROUNDING: f64 = 1e-6;
/// Parts of the rows whose sums are kept apart; as many tasks at most.
pub(crate) const PARTS: usize = 24;

/// Rows of one part, in blocks of [`block_rows`].
pub(crate) fn part_rows(rows: usize) -> usize {
    rows.div_ceil(PARTS).next_multiple_of(64)
}

/// Rows of one product: they stay in the second-level cache between the forward and the backward product.
pub(crate) fn block_rows(dim: usize) -> usize {
    ((1 << 16) / dim.max(1)).clamp(32, 256) / 8 * 8
}

/// Values from one row of a block to the next: whole vectors, and rows do not fall on the same sets of a cache.
pub(crate) fn stride(dim: usize) -> usize {
    dim.next_multiple_of(16) + 16
}

/// The training rows' mean and scale.
pub(crate) struct Standardisation {
    mean: Vec<f32>,
    /// What deviations are multiplied by; 0 where a dimension does not vary, so that it tells nothing.
    scale: Vec<f32>,
}

impl Standardisation {
    pub(crate) fn of(features: &dyn FeatureRows) -> Result<Self, EvalError> {
        let rows = features.rows() as f64;
        let share = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / rows).collect::<Vec<f64>>();
        let mean = share(sums(features, &vec![0.0; features.dim()], |away| away)?);
        let std: Vec<f64> = share(sums(features, &mean, |away| away * away)?);
        let std: Vec<f64> = std.into_iter().map(f64::sqrt).collect();
        let floor = STD_FLOOR * (std.iter().map(|std| std * std).sum::<f64>() / std.len() as f64).sqrt();
        let varies = |(std, mean): (&f64, &f64)| *std > ROUNDING * mean.abs().max(f64::MIN_POSITIVE);
        let scale = |pair| if varies(pair) { pair.0.max(floor).recip() as f32 } else { 0.0 };
        let scale: Vec<f32> = std.iter().zip(&mean).map(scale).collect();
        Ok(Self { mean: mean.into_iter().map(|mean| mean as f32).collect(), scale })
    }
}

/// The sum over the rows of `of` a value's way from `middle`, by dimension: the same for any number of threads.
fn sums(
    features: &dyn FeatureRows,
    middle: &[f64],
    of: impl Fn(f64) -> f64 + Copy + Sync,
) -> Result<Vec<f64>, EvalError> {
    let (rows, dim) = (features.rows(), features.dim());
    let (part, block) = (part_rows(rows), block_rows(dim));
    let parts: Vec<Vec<f64>> = (0..rows.div_ceil(part))
        .into_par_iter()
        .map(|index| {
            let mut sums = vec![0.0; dim];
            let mut values = vec![0.0; block * dim];
            let all: Vec<usize> = (index * part..rows.min((index + 1) * part)).collect();
            for rows in all.chunks(block) {
                features.read(rows, &mut values, dim)?;
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for row in values.chunks_exact(dim.max(1)).take(rows.len()) {
                            for ((sum, value), middle) in sums.iter_mut().zip(row).zip(middle) {
                                *sum += of(f64::from(*value) - middle);
                            }
                        }
                    },
                );
            }
            Ok(sums)
        })
        .collect::<Result<_, EvalError>>()?;
    let mut total = vec![0.0; dim];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    Ok(total)
}

/// Features as a regression takes them.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) features: &'a dyn FeatureRows,
    pub(crate) scale: &'a Standardisation,
}

impl Inputs<'_> {
    /// D.
    pub(crate) fn dim(&self) -> usize {
        self.features.dim()
    }

    /// The rows named by `rows`, standardised, [`stride`] apart.
    pub(crate) fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), EvalError> {
        let stride = stride(self.dim());
        self.features.read(rows, out, stride)?;
        let Standardisation { mean, scale, .. } = self.scale;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for row in out.chunks_mut(stride).take(rows.len()) {
                    for ((value, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
                        *value = (*value - mean) * scale;
                    }
                }
            },
        );
        Ok(())
    }
}

/// Features that need no standardisation, for tests.
#[cfg(test)]
impl Standardisation {
    pub(crate) fn none(features: &crate::Features) -> Self {
        Self { mean: vec![0.0; features.dim], scale: vec![1.0; features.dim] }
    }
}
