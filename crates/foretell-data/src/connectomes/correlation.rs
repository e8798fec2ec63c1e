//! How strongly regions go together within a window.

use serde::{Deserialize, Serialize};

use crate::connectomes::series::Series;

/// How the covariance of a window is estimated, from which correlations are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correlation {
    /// Pearson's: the sample's own.
    #[default]
    Pearson,
    /// Shrunk towards a multiple of the identity, as far as Ledoit and Wolf (2004, "A well-conditioned estimator for large-dimensional
    /// covariance matrices") say: short windows of many regions are noisy.
    LedoitWolf,
}

/// Less variance than this, of a series whose deviation is 1 over the recording, is none.
const LEAST_VARIANCE: f64 = 1e-10;

/// The correlations of a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlations {
    /// `[N, N]`; 0 beside regions that are not there.
    pub values: Vec<f32>,
    /// Regions that were measured at each point of the window, and change in it.
    pub present: Vec<bool>,
}

impl Correlation {
    /// Of the time points from `start` on.
    pub fn of(self, series: &Series, start: usize, length: usize) -> Correlations {
        let n = series.regions();
        let rows = &series.values()[start * n..(start + length) * n];
        let mut present = vec![false; n];
        // Centred columns of those that are there.
        let (mut there, mut columns) = (Vec::new(), Vec::new());
        for (region, is_there) in present.iter_mut().enumerate() {
            let column: Vec<f64> = rows.iter().skip(region).step_by(n).map(|x| f64::from(*x)).collect();
            let mean = column.iter().sum::<f64>() / length.max(1) as f64;
            let centred: Vec<f64> = column.iter().map(|x| x - mean).collect();
            let variance = centred.iter().map(|x| x * x).sum::<f64>() / length.max(1) as f64;
            if variance > LEAST_VARIANCE {
                *is_there = true;
                there.push(region);
                columns.push(centred);
            }
        }
        let p = there.len();
        let mut covariance = vec![0.0; p * p];
        for i in 0..p {
            for j in i..p {
                let sum: f64 = columns[i].iter().zip(&columns[j]).map(|(a, b)| a * b).sum();
                let value = sum / length as f64;
                (covariance[i * p + j], covariance[j * p + i]) = (value, value);
            }
        }
        if self == Self::LedoitWolf && p > 0 {
            let (share, mean) = shrinkage(&columns, &covariance);
            for x in &mut covariance {
                *x *= 1.0 - share;
            }
            (0..p).for_each(|i| covariance[i * p + i] += share * mean);
        }
        let mut values = vec![0.0; n * n];
        for (i, &u) in there.iter().enumerate() {
            for (j, &v) in there.iter().enumerate() {
                let scale = (covariance[i * p + i] * covariance[j * p + j]).sqrt();
                values[u * n + v] = (covariance[i * p + j] / scale).clamp(-1.0, 1.0) as f32;
            }
        }
        Correlations { values, present }
    }
}

/// How far a covariance `[P, P]` of centred columns is drawn to the identity, and the mean variance that it is drawn to.
fn shrinkage(columns: &[Vec<f64>], covariance: &[f64]) -> (f64, f64) {
    let (p, n) = (columns.len() as f64, columns[0].len() as f64);
    let trace: f64 = (0..columns.len()).map(|i| covariance[i * columns.len() + i]).sum();
    let mean = trace / p;
    let squares: f64 = covariance.iter().map(|x| x * x).sum();
    // Σ_t (Σ_i x_ti²)²: what one time point's own product differs by.
    let fourth: f64 =
        (0..columns[0].len()).map(|t| columns.iter().map(|column| column[t].powi(2)).sum::<f64>().powi(2)).sum();
    let off = (squares - 2.0 * mean * trace + p * mean * mean) / p;
    let noise = ((fourth / n - squares) / (p * n)).min(off);
    (if noise > 0.0 { noise / off } else { 0.0 }, mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five time points of three regions, of whose first four are the figures of NumPy 2.4.6 (`corrcoef`) and scikit-learn 1.9.1 (`LedoitWolf`) for them.
    const VALUES: [f64; 15] = [1.0, 2.0, -1.0, 2.0, 1.5, 0.5, 3.5, 4.0, 0.0, 2.5, 5.0, -2.0, 6.0, 5.5, 1.0];

    fn windows() -> [Correlations; 2] {
        let series = Series::standardised(3, &VALUES).unwrap();
        [Correlation::Pearson, Correlation::LedoitWolf].map(|method| method.of(&series, 0, 4))
    }

    #[test]
    fn correlations_are_those_of_numpy_and_shrunk_ones_those_of_scikit_learn() {
        let [plain, shrunk] = windows();
        let above = |c: &Correlations| [c.values[1], c.values[2], c.values[5]];
        for (got, expected) in [(above(&plain), PLAIN), (above(&shrunk), SHRUNK)] {
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {expected:?}");
        }
        assert!((plain.values[0] - 1.0).abs() < 1e-6 && plain.present == [true; 3]);
    }

    const PLAIN: [f32; 3] = [0.6542691, 0.1805395, -0.6256062];
    const SHRUNK: [f32; 3] = [0.2228086, 0.0612587, -0.298_523];

    #[test]
    fn a_region_with_a_hole_or_without_change_is_not_there_and_all_stays_finite() {
        let mut values = VALUES;
        values[5] = f64::NAN;
        for t in 0..5 {
            values[3 * t + 1] = 7.0;
        }
        values[3] = 2.5;
        let series = Series::standardised(3, &values).err();
        assert!(series.is_none(), "{series:?}");
        let series = Series::standardised(3, &values).unwrap();
        for method in [Correlation::Pearson, Correlation::LedoitWolf] {
            let window = method.of(&series, 0, 5);
            assert_eq!(window.present, [true, false, false]);
            assert!(window.values.iter().all(|x| x.is_finite()));
        }
        // Of the points behind the hole the region is there.
        assert_eq!(Correlation::Pearson.of(&series, 2, 3).present, [true, false, true]);
    }
}
