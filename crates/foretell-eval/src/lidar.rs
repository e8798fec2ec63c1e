//! LiDAR: the rank of what distinguishes samples, measured against what distinguishes views of one sample.
//!
//! Thilak et al. 2024 (arXiv 2312.04000): linear discriminant analysis with each sample as its own class.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Mat, Par, Spec};

use crate::features::check_same_width;
use crate::spectrum::{effective_count, eigenvalues, gram, product};
use crate::{EvalError, Features};

/// The paper's δ, added to the within-class scatter's diagonal.
pub const LIDAR_DELTA: f64 = 1e-4;
/// ε, added to each eigenvalue's share.
const EPSILON: f64 = 1e-8;

/// LiDAR of `features` `[n · q, D]`: row `i · q + j` is view j of sample i, q = `views` ≥ 2, n ≥ 2.
///
/// `Σ_b = Σ(μ_i − μ)(μ_i − μ)ᵀ / (n − 1)`, `Σ_w = ΣΣ(z_ij − μ_i)(z_ij − μ_i)ᵀ / (n(q − 1)) + δI`, λ the eigenvalues of
/// `Σ_w^{−1/2} Σ_b Σ_w^{−1/2}`, `p = λ / ‖λ‖₁ + 1e-8`, `LiDAR = exp(−Σ p ln p)` in [1, min(D, n − 1)]; 0 where all samples
/// have one mean. δ (`delta`, in the features' unit squared, [`LIDAR_DELTA`] in the paper) sets the scale below which views
/// count as equal: report it. Deterministic to the bit, on one thread.
///
/// # Errors
/// Rows that do not divide into samples, values that are not finite, δ ≤ 0, or a δ lost in the rounding of `Σ_w`.
pub fn lidar(features: &Features, views: usize, delta: f64) -> Result<f64, EvalError> {
    features.check("LiDAR", 4)?;
    let (rows, dim) = (features.rows, features.dim);
    if views < 2 || rows % views != 0 || rows / views < 2 {
        return Err(EvalError::Grouping { rows, views });
    }
    if !(delta.is_finite() && delta > 0.0) {
        let found = delta.to_string();
        return Err(EvalError::Setting { setting: "delta", expected: "finite and above 0", found });
    }
    let samples = rows / views;

    let mut means = Mat::<f64>::zeros(dim, samples);
    for (row, values) in features.values.chunks_exact(dim).enumerate() {
        for (mean, &value) in means.col_mut(row / views).iter_mut().zip(values) {
            *mean += f64::from(value) / views as f64;
        }
    }
    let within = Mat::from_fn(dim, rows, |dimension, row| {
        f64::from(features.values[row * dim + dimension]) - means[(dimension, row / views)]
    });
    let mut scatter = product(within.as_ref(), within.transpose());
    let degrees = (samples * (views - 1)) as f64;
    for column in 0..dim {
        scatter.col_mut(column).iter_mut().for_each(|value| *value /= degrees);
        scatter[(column, column)] += delta;
    }

    for dimension in 0..dim {
        let row = means.row_mut(dimension);
        let centre = row.as_ref().iter().sum::<f64>() / samples as f64;
        row.iter_mut().for_each(|mean| *mean = (*mean - centre) / ((samples - 1) as f64).sqrt());
    }
    // With Σ_w = LLᵀ, L⁻¹ Σ_b L⁻ᵀ has the eigenvalues of Σ_w^{−1/2} Σ_b Σ_w^{−1/2}.
    let scratch = cholesky_in_place_scratch::<f64>(dim, Par::Seq, Spec::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    cholesky_in_place(scatter.as_mut(), LltRegularization::default(), Par::Seq, stack, Spec::default()).map_err(
        |_| EvalError::Factorisation {
            what: "Cholesky decomposition of LiDAR's within-sample scatter",
            hint: "δ is lost in rounding beside features this large; normalise them or raise δ",
        },
    )?;
    solve_lower_triangular_in_place(scatter.as_ref(), means.as_mut(), Par::Seq);
    let mut shares = eigenvalues(gram(means.as_ref()).as_ref())?;
    // The D − n eigenvalues that the smaller Gram matrix leaves out are zeros; each adds its ε.
    shares.resize(dim, 0.0);
    Ok(effective_count(&shares, EPSILON))
}

/// A [`lidar`] of whole views, with what it is read against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lidar {
    /// The rank.
    pub rank: f64,
    /// The most that it could be: min(D, samples − 1).
    pub most: usize,
    /// Samples, each a class of its own.
    pub samples: usize,
    /// Views of a sample.
    pub views: usize,
}

/// [`lidar`] with the paper's δ, of Q ≥ 2 passes over the same N ≥ 2 samples in the same order, `[N, D]` each: in every
/// pass a sample is seen another way, by another draw of the augmentation or of the mask.
///
/// # Errors
/// As [`lidar`], and passes of different shapes.
pub fn lidar_of_views(views: &[Features]) -> Result<Lidar, EvalError> {
    let Some((first, others)) = views.split_first() else {
        return Err(EvalError::Grouping { rows: 0, views: 0 });
    };
    for view in others {
        check_same_width(("the first view's features", first.dim), ("another view's", view.dim))?;
        if view.rows != first.rows {
            return Err(EvalError::Shape { rows: first.rows, dim: first.dim, found: view.values.len() });
        }
    }
    for view in views {
        view.check("LiDAR", 2)?;
    }
    let (samples, dim) = (first.rows, first.dim);
    let rows = (0..samples).flat_map(|sample| views.iter().flat_map(move |view| view.row(sample))).copied();
    let features = Features::new(samples * views.len(), dim, rows.collect())?;
    let rank = lidar(&features, views.len(), LIDAR_DELTA)?;
    Ok(Lidar { rank, most: dim.min(samples - 1), samples, views: views.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    /// `z_ij = s_i + σε`: samples in the first `rank` of `dim` dimensions, q views, noise everywhere.
    fn grouped(samples: usize, views: usize, dim: usize, rank: usize, noise: f32) -> Features {
        let centres = normal(samples, rank, 21);
        let mut features = normal(samples * views, dim, 22);
        for (row, values) in features.values.chunks_exact_mut(dim).enumerate() {
            for value in values.iter_mut() {
                *value *= noise;
            }
            for (value, centre) in values.iter_mut().zip(centres.row(row / views)) {
                *value += centre;
            }
        }
        features
    }

    #[test]
    fn counts_the_directions_of_the_samples() {
        for rank in [1, 4, 12] {
            let found = lidar(&grouped(600, 8, 32, rank, 0.05), 8, LIDAR_DELTA).unwrap();
            assert!((found - rank as f64).abs() < 0.05 * rank as f64 + 0.1, "rank {rank}: {found}");
        }
    }

    #[test]
    fn does_not_count_what_differs_between_views() {
        // Variance of 100 in twenty directions that views do not share, beside four that they do.
        let mut features = grouped(600, 8, 32, 4, 0.05);
        let nuisance = normal(4800, 20, 23);
        for (row, values) in features.values.chunks_exact_mut(32).enumerate() {
            values[12..].iter_mut().zip(nuisance.row(row)).for_each(|(value, noise)| *value += 10.0 * noise);
        }
        let found = lidar(&features, 8, LIDAR_DELTA).unwrap();
        assert!((found - 4.0).abs() < 0.4, "{found}");
    }

    #[test]
    fn fewer_samples_than_dimensions_bound_it() {
        let found = lidar(&grouped(6, 4, 40, 40, 0.01), 4, LIDAR_DELTA).unwrap();
        assert!(found > 3.0 && found <= 5.0 + 1e-3, "{found}");
    }

    #[test]
    fn a_single_point_has_no_rank() {
        let features = Features::new(12, 3, [1.0, -2.0, 3.0].repeat(12)).unwrap();
        assert!(lidar(&features, 3, LIDAR_DELTA).unwrap() < 1e-9);
    }

    /// Four samples at (±3, 0) and (0, ±1), each seen from two sides, ½ and ¼ away: both scatters are diagonal, and by hand
    /// `λ = (2·3²/3) / (2·½² + δ), (2·1²/3) / (2·¼² + δ)`.
    #[test]
    fn is_what_the_formula_gives_by_hand() {
        let samples = [(3.0, 0.0, 1.0), (-3.0, 0.0, 1.0), (0.0, 1.0, -1.0), (0.0, -1.0, -1.0)];
        let view = |side: f32| {
            let values = samples.iter().flat_map(|(x, y, turn)| [x + side * 0.5, y + side * turn * 0.25]);
            Features::new(4, 2, values.collect()).unwrap()
        };
        let found = lidar_of_views(&[view(1.0), view(-1.0)]).unwrap();
        assert!((found.rank - 1.853_615_664_812_538_8).abs() < 1e-9, "{}", found.rank);
        assert_eq!((found.most, found.samples, found.views), (2, 4, 2));
    }

    /// Against NumPy, which took the inverse root of `Σ_w` from its eigenvectors.
    #[test]
    fn is_what_numpy_gives() {
        let value = |i: usize, j: usize, d: usize| ((i * i * 7 + j * 3 + d * 5 + i * j * d * d) % 11) as f32;
        let view =
            |j: usize| Features::new(5, 4, (0..5).flat_map(|i| (0..4).map(move |d| value(i, j, d))).collect()).unwrap();
        let views: Vec<Features> = (0..3).map(view).collect();
        let found = lidar_of_views(&views).unwrap();
        assert!((found.rank - 1.703_725_583_905_111_8).abs() < 1e-9, "{}", found.rank);
        // The order of the views and of the samples is of no account.
        let turned: Vec<Features> = views.iter().rev().map(|view| view.select(&[3, 1, 4, 0, 2])).collect();
        assert!((lidar_of_views(&turned).unwrap().rank - found.rank).abs() < 1e-9);
    }

    #[test]
    fn views_that_do_not_match_are_refused() {
        let (four, three) = (normal(4, 3, 1), normal(3, 3, 2));
        assert_eq!(lidar_of_views(&[]), Err(EvalError::Grouping { rows: 0, views: 0 }));
        assert_eq!(lidar_of_views(std::slice::from_ref(&four)), Err(EvalError::Grouping { rows: 4, views: 1 }));
        assert_eq!(lidar_of_views(&[four.clone(), three]), Err(EvalError::Shape { rows: 4, dim: 3, found: 9 }));
        assert!(matches!(lidar_of_views(&[four.clone(), normal(4, 2, 3)]), Err(EvalError::DimensionMismatch { .. })));
        let one = || normal(1, 3, 4);
        assert!(matches!(lidar_of_views(&[one(), one()]), Err(EvalError::TooFewRows { .. })));
    }

    #[test]
    fn refuses_what_it_cannot_group() {
        let features = normal(12, 3, 1);
        for views in [0, 1, 5, 12] {
            assert_eq!(lidar(&features, views, LIDAR_DELTA), Err(EvalError::Grouping { rows: 12, views }));
        }
        assert!(matches!(lidar(&features, 3, 0.0), Err(EvalError::Setting { .. })));
        assert!(matches!(lidar(&features, 3, f64::NAN), Err(EvalError::Setting { .. })));
    }
}
