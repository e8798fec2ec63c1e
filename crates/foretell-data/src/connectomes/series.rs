//! What was measured of each region over time.

use std::sync::Arc;

/// One recording: T time points of N regions.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    regions: usize,
    /// `[T, N]`, each region brought to mean 0 and deviation 1 over what was measured of it; NaN where nothing was. 0 of a region that
    /// never changes.
    values: Arc<[f32]>,
}

/// What differs by less than this share of its size is the same number: rounding.
const CONSTANT: f64 = 1e-9;

impl Series {
    /// Of values `[T, N]`, NaN where nothing was measured.
    ///
    /// # Errors
    /// In words that go on from the file's name, where no region has a signal that changes.
    pub fn standardised(regions: usize, values: &[f64]) -> Result<Self, String> {
        let length = values.len() / regions.max(1);
        let mut out = vec![f32::NAN; length * regions];
        let mut changing = 0;
        for region in 0..regions {
            let all = || (0..length).map(|t| values[t * regions + region]).filter(|x| x.is_finite());
            let count = all().count();
            if count == 0 {
                continue;
            }
            let mean = all().sum::<f64>() / count as f64;
            let std = (all().map(|x| (x - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
            let changes = std > CONSTANT * mean.abs() && std.is_finite() && std > 0.0;
            changing += usize::from(changes);
            for t in 0..length {
                let value = values[t * regions + region];
                if value.is_finite() {
                    out[t * regions + region] = if changes { ((value - mean) / std) as f32 } else { 0.0 };
                }
            }
        }
        if changing < 2 {
            return Err(format!(
                "{changing} of its {regions} regions have a signal that changes over its {length} time points: expected 2 at least"
            ));
        }
        Ok(Self { regions, values: out.into() })
    }

    /// N.
    pub fn regions(&self) -> usize {
        self.regions
    }

    /// T.
    pub fn length(&self) -> usize {
        self.values.len() / self.regions.max(1)
    }

    /// `[T, N]`, NaN where nothing was measured.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_changes_is_zero_what_is_missing_stays_so_and_the_rest_is_standardised() {
        let nan = f64::NAN;
        // Four regions: one constant, one that was never measured, one with a hole.
        let values = [5.0, nan, 1.0, 1.0, 5.0, nan, nan, 2.0, 5.0, nan, 3.0, 6.0];
        let series = Series::standardised(4, &values).unwrap();
        let of = |region: usize| series.values().chunks_exact(4).map(|row| row[region]).collect::<Vec<f32>>();
        assert_eq!(of(0), [0.0; 3]);
        assert!(of(1).iter().all(|x| x.is_nan()));
        assert_eq!((of(2)[0], of(2)[2]), (-1.0, 1.0));
        assert!(of(2)[1].is_nan());
        assert!(of(3).iter().sum::<f32>().abs() < 1e-6);
        assert!(Series::standardised(2, &[1.0, 1.0, 1.0, 2.0]).unwrap_err().contains("1 of its 2 regions"));
    }
}
