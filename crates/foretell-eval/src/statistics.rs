//! Label-free statistics of a feature matrix: rank, spread and alignment, the first signs of collapse.
//!
//! RankMe is Garrido et al. 2023 (arXiv 2210.02885, eq. 1), the effective rank is Roy & Vetterli 2007 on the
//! singular values of the centred matrix, α-ReQ is Agrawal et al. 2022 (the decay of the covariance's eigenvalues). Compare them
//! only within one method.

use serde::{Deserialize, Serialize};

use crate::spectrum::{decay, effective_count, eigenvalues, gram, mean, shifted};
use crate::{EvalError, Features};

/// RankMe's ε, added to each share.
const RANKME_EPSILON: f64 = 1e-7;
/// A dimension is constant below this part of the root mean square of all dimensions' standard deviations.
const CONSTANT_SHARE: f64 = 1e-2;
/// Rounding of an f32 relative to its value: spread below this is not spread.
const ROUNDING: f64 = 1e-7;

/// What can be said of features `[N, D]` without labels. Every figure is a function of the values alone, to the bit,
/// whatever the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// N: rows that were looked at.
    pub rows: usize,
    /// D: their width.
    pub dim: usize,
    /// RankMe: `exp(−Σ p ln p)`, `p = σ_k / ‖σ‖₁ + 1e-7`, σ the min(N, D) singular values of the matrix as it is, not
    /// centred. In [1, min(N, D)]; 0 where all features are 0. Needs N ≥ D to be able to reach D.
    pub rankme: f64,
    /// `exp(−Σ p ln p)`, `p = σ_k / ‖σ‖₁`, σ the singular values of the centred matrix (Roy & Vetterli's definition). Unlike
    /// RankMe it does not count the offset that all rows share. 0 where every row is the same up to f32 rounding. Always ≤ min(N − 1, D).
    pub effective_rank: f64,
    /// α-ReQ: the α of `λ_k ∝ k^−α`, fitted to the covariance's eigenvalues from the third to the hundredth, each weighing 1 / k; near
    /// 1 is best in the paper, far above it few directions hold the variance. `None` where too few eigenvalues stand above rounding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Mean over dimensions of the standard deviation (division by N), in the features' unit.
    pub std_mean: f64,
    /// The smallest standard deviation of a dimension.
    pub std_min: f64,
    /// The median standard deviation (the mean of the middle two for an even D).
    pub std_median: f64,
    /// Share of dimensions, in [0, 1], whose standard deviation is below 1e-2 of the root mean square of all standard
    /// deviations, or below f32 rounding (1e-7) of the root mean square value.
    pub constant_dims: f64,
    /// `√(E‖x − E x‖² / E‖x‖²)`, in [0, 1]: the part of the features' length that differs between rows. Near 0 is full
    /// collapse, whatever the dimensions look like beside each other; 1 is mean 0.
    pub std_over_norm: f64,
    /// `√(E‖x‖²)`, in the features' unit.
    pub norm: f64,
    /// Mean cosine over all pairs of different rows, exact from the sum of the unit rows. Rows of zeros count as equal to
    /// each other and at right angles to the rest. 1 is collapse to a direction.
    pub cosine_mean: f64,
    /// Standard deviation of that cosine over all pairs, exact from the unit rows' Gram matrix (cancellation leaves
    /// about 1e-8 of noise).
    pub cosine_std: f64,
}

impl Statistics {
    /// The statistics of `features` `[N, D]`, N ≥ 2. Costs three products of `N · D · min(N, D)` and two
    /// eigendecompositions of side `min(N, D)`, on one thread; made for N ≤ 8192, D ≤ 2048.
    ///
    /// # Errors
    /// Fewer than 2 rows, a value that is not finite, or a shape that does not fit.
    pub fn of(features: &Features) -> Result<Self, EvalError> {
        features.check("label-free statistics", 2)?;
        let (rows, dim) = (features.rows as f64, features.dim as f64);
        let mean = mean(features);
        let plain = shifted(features, &vec![0.0; features.dim]);
        let centred = shifted(features, &mean);

        let square_norm = plain.col_iter().map(|column| column.iter().map(|v| v * v).sum::<f64>()).sum::<f64>() / rows;
        let mut stds: Vec<f64> =
            centred.col_iter().map(|column| (column.iter().map(|v| v * v).sum::<f64>() / rows).sqrt()).collect();
        stds.sort_unstable_by(f64::total_cmp);
        let variance: f64 = stds.iter().map(|std| std * std).sum();
        let collapsed = variance <= ROUNDING * ROUNDING * square_norm;

        let singular: Vec<f64> = eigenvalues(gram(plain.as_ref()).as_ref())?.into_iter().map(f64::sqrt).collect();
        let (effective_rank, alpha) = if collapsed {
            (0.0, None)
        } else {
            let squares = eigenvalues(gram(centred.as_ref()).as_ref())?;
            let singular: Vec<f64> = squares.iter().copied().map(f64::sqrt).collect();
            (effective_count(&singular, 0.0), decay(&squares))
        };
        let floor = (CONSTANT_SHARE * (variance / dim).sqrt()).max(ROUNDING * (square_norm / dim).sqrt());
        let (cosine_mean, cosine_std) = pairwise_cosine(plain);
        Ok(Self {
            rows: features.rows,
            dim: features.dim,
            rankme: effective_count(&singular, RANKME_EPSILON),
            effective_rank,
            alpha,
            std_mean: stds.iter().sum::<f64>() / dim,
            std_min: stds[0],
            std_median: f64::midpoint(stds[(stds.len() - 1) / 2], stds[stds.len() / 2]),
            constant_dims: stds.iter().filter(|&&std| std <= floor).count() as f64 / dim,
            std_over_norm: if square_norm > 0.0 { (variance / square_norm).sqrt() } else { 0.0 },
            norm: square_norm.sqrt(),
            cosine_mean,
            cosine_std,
        })
    }
}

/// [`Statistics::rankme`] of `features` `[N, D]`, N ≥ 2, with another ε than the paper's 1e-7: stable-pretraining 0.1.8 adds 1e-5, by
/// which it counts faint dimensions for more.
///
/// # Errors
/// As [`Statistics::of`].
pub fn rankme(features: &Features, epsilon: f64) -> Result<f64, EvalError> {
    features.check("RankMe", 2)?;
    let plain = shifted(features, &vec![0.0; features.dim]);
    let singular: Vec<f64> = eigenvalues(gram(plain.as_ref()).as_ref())?.into_iter().map(f64::sqrt).collect();
    Ok(effective_count(&singular, epsilon))
}

/// Mean and standard deviation of the cosine over ordered pairs of different rows. With unit rows u and s their sum,
/// `Σ_{i≠j} cos = ‖s‖² − N` and `Σ_{i≠j} cos² = ‖uᵀu‖_F² − N`; zero rows form one more axis.
fn pairwise_cosine(mut rows: faer::Mat<f64>) -> (f64, f64) {
    let count = rows.nrows();
    let mut zeros = 0.0;
    for index in 0..count {
        let row = rows.row_mut(index);
        let norm = row.as_ref().iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|value| *value /= norm);
        } else {
            zeros += 1.0;
        }
    }
    let square_sum =
        rows.col_iter().map(|column| column.iter().sum::<f64>()).map(|sum| sum * sum).sum::<f64>() + zeros * zeros;
    let products = gram(rows.as_ref());
    let mut squares = zeros * zeros;
    for column in 0..products.ncols() {
        squares += products[(column, column)].powi(2);
        for row in column + 1..products.nrows() {
            squares += 2.0 * products[(row, column)].powi(2);
        }
    }
    let count = count as f64;
    let pairs = count * (count - 1.0);
    let mean = (square_sum - count) / pairs;
    let spread = ((squares - count) / pairs - mean * mean).max(0.0).sqrt();
    (mean.clamp(-1.0, 1.0), spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;
    use proptest::prelude::*;

    fn cosines(features: &Features) -> Vec<f64> {
        let mut out = Vec::new();
        for i in 0..features.rows {
            for j in (0..features.rows).filter(|&j| j != i) {
                let dot =
                    |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum() };
                let (a, b) = (features.row(i), features.row(j));
                out.push(dot(a, b) / (dot(a, a) * dot(b, b)).sqrt());
            }
        }
        out
    }

    #[test]
    fn an_orthonormal_matrix_has_full_rankme() {
        let mut values = vec![0.0; 64];
        (0..8).for_each(|index| values[index * 9] = -1.0);
        let found = Statistics::of(&Features::new(8, 8, values).unwrap()).unwrap();
        assert!((found.rankme - 8.0).abs() < 1e-4, "{}", found.rankme);
        // Eight points at right angles span a simplex of seven equal directions about their mean.
        assert!((found.effective_rank - 7.0).abs() < 1e-6, "{}", found.effective_rank);
        assert!((found.cosine_mean).abs() < 1e-12);
        assert!((found.cosine_std).abs() < 1e-7);
    }

    #[test]
    fn a_known_power_law_is_found() {
        // Independent columns whose variances fall as k^−α; the sample's eigenvalues are nearly those.
        for alpha in [0.5, 1.0, 2.0] {
            let mut features = normal(6000, 40, 9);
            for row in features.values.chunks_exact_mut(40) {
                row.iter_mut().enumerate().for_each(|(k, value)| *value *= ((k + 1) as f32).powf(-0.5 * alpha));
            }
            let found = Statistics::of(&features).unwrap().alpha.unwrap();
            assert!((found - f64::from(alpha)).abs() < 0.08, "{alpha}: {found}");
        }
        assert_eq!(Statistics::of(&normal(3, 40, 1)).unwrap().alpha, None, "two eigenvalues are no law");
    }

    #[test]
    fn rank_one_is_one() {
        let (left, right) = (normal(50, 1, 1), normal(1, 30, 2));
        let values = left.values.iter().flat_map(|&l| right.values.iter().map(move |&r| l * r)).collect();
        let found = Statistics::of(&Features::new(50, 30, values).unwrap()).unwrap();
        assert!((found.rankme - 1.0).abs() < 1e-4, "{}", found.rankme);
        assert!((found.effective_rank - 1.0).abs() < 1e-4, "{}", found.effective_rank);
    }

    #[test]
    fn both_ranks_follow_the_singular_values_and_effective_rank_forgets_the_offset() {
        // Singular values 3, 1 with mean zero: shares 3/4, 1/4.
        let features = Features::new(4, 2, vec![3.0, 0.0, -3.0, 0.0, 0.0, 1.0, 0.0, -1.0]).unwrap();
        let found = Statistics::of(&features).unwrap();
        let exp_entropy = |p: f64| (-(p * p.ln()) - (1.0 - p) * (1.0 - p).ln()).exp();
        assert!((found.rankme - exp_entropy(0.75)).abs() < 1e-5, "{}", found.rankme);
        assert!((found.effective_rank - exp_entropy(0.75)).abs() < 1e-9, "{}", found.effective_rank);
        let moved = Features::new(4, 2, vec![103.0, 0.0, 97.0, 0.0, 100.0, 1.0, 100.0, -1.0]).unwrap();
        let moved = Statistics::of(&moved).unwrap();
        assert!((moved.effective_rank - found.effective_rank).abs() < 1e-9);
        assert!(moved.rankme < found.rankme - 0.5, "{}", moved.rankme);
        assert!((found.std_over_norm - 1.0).abs() < 1e-12);
    }

    #[test]
    fn zeros_have_no_rank_and_agree_with_each_other() {
        let found = Statistics::of(&Features::new(5, 3, vec![0.0; 15]).unwrap()).unwrap();
        assert_eq!((found.rankme, found.effective_rank, found.cosine_mean), (0.0, 0.0, 1.0));
        assert_eq!((found.constant_dims, found.std_over_norm, found.norm), (1.0, 0.0, 0.0));
    }

    #[test]
    fn full_collapse_shows() {
        let row = normal(1, 24, 7);
        let same = Features::new(1000, 24, row.values.repeat(1000)).unwrap();
        let found = Statistics::of(&same).unwrap();
        assert_eq!((found.effective_rank, found.constant_dims), (0.0, 1.0));
        assert!(found.std_over_norm < 1e-7 && found.cosine_mean > 1.0 - 1e-12);

        // The same point with a whisper of noise: dimensions look alike, and only std_over_norm tells.
        let mut nearly = same;
        nearly.values.iter_mut().zip(&normal(1000, 24, 8).values).for_each(|(value, noise)| *value += 1e-4 * noise);
        let found = Statistics::of(&nearly).unwrap();
        assert_eq!(found.constant_dims, 0.0);
        assert!(found.effective_rank > 20.0 && found.std_over_norm < 2e-4 && found.cosine_mean > 0.999_99);
    }

    #[test]
    fn dead_dimensions_are_counted() {
        let mut features = normal(400, 10, 9);
        features.values.chunks_exact_mut(10).for_each(|row| {
            row[2] = 0.5;
            row[7] *= 1e-3;
        });
        let found = Statistics::of(&features).unwrap();
        assert!((found.constant_dims - 0.2).abs() < 1e-12);
        assert!(found.std_min < 1e-7 && (found.std_median - 1.0).abs() < 0.1 && (found.std_mean - 0.8).abs() < 0.05);
    }

    #[test]
    fn gaussian_noise_has_nearly_full_rank() {
        let found = Statistics::of(&normal(4000, 32, 10)).unwrap();
        assert!(found.effective_rank > 31.5 && found.rankme > 31.5);
        assert!(found.cosine_mean.abs() < 0.01 && (found.cosine_std - 32f64.sqrt().recip()).abs() < 0.01);
    }

    #[test]
    fn what_is_not_finite_or_too_short_is_refused() {
        let mut features = normal(4, 3, 1);
        assert!(matches!(
            Statistics::of(&features.select(&[0])),
            Err(EvalError::TooFewRows { needed: 2, found: 1, .. })
        ));
        features.values[7] = f32::NAN;
        assert!(matches!(Statistics::of(&features), Err(EvalError::NotFinite { row: 2, dimension: 1, .. })));
    }

    #[test]
    fn threads_and_repetition_change_no_bit() {
        let features = normal(700, 96, 11);
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            // An odd allocation moves whatever is allocated after it.
            let moved = vec![0u8; 8 * threads + 1];
            let found = pool.install(|| Statistics::of(&features).unwrap());
            drop(moved);
            found
        };
        let one = in_pool(1);
        for threads in [1, 2, 3, 7] {
            let other = in_pool(threads);
            let bits = |s: &Statistics| {
                [s.rankme, s.effective_rank, s.std_mean, s.std_over_norm, s.cosine_mean, s.cosine_std].map(f64::to_bits)
            };
            assert_eq!(bits(&one), bits(&other), "{threads} threads");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_closed_form_cosine_is_the_double_loop(rows in 2usize..24, dim in 1usize..12, seed in any::<u64>()) {
            let features = normal(rows, dim, seed);
            let found = Statistics::of(&features).unwrap();
            let all = cosines(&features);
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / all.len() as f64;
            prop_assert!((found.cosine_mean - mean).abs() < 1e-10);
            prop_assert!((found.cosine_std - variance.sqrt()).abs() < 1e-6);
        }

        #[test]
        fn ranks_stay_within_their_bounds(rows in 2usize..30, dim in 1usize..30, scale in -6f32..6.0, seed in any::<u64>()) {
            let mut features = normal(rows, dim, seed);
            features.values.iter_mut().for_each(|value| *value *= 10f32.powf(scale));
            let found = Statistics::of(&features).unwrap();
            let bound = rows.min(dim) as f64;
            prop_assert!(found.rankme >= 1.0 - 1e-5 && found.rankme <= bound + 1e-4 * bound);
            prop_assert!(found.effective_rank >= 1.0 - 1e-9 && found.effective_rank <= (rows - 1).min(dim) as f64 + 1e-6);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&found.std_over_norm));
        }
    }
}
