//! A figure over seeds: its mean, its spread, and a confidence interval of the mean by Student's t.

use std::f64::consts::PI;

/// The share of repetitions whose interval holds the true mean.
pub const CONFIDENCE: f64 = 0.95;

/// Figures of several seeds, or their paired differences, in short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverSeeds {
    /// How many.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation (division by n − 1); none of a single one.
    pub deviation: Option<f64>,
    /// Half of the [`CONFIDENCE`] interval of the mean, `t · deviation / √n` with n − 1 degrees of freedom; none of a single one.
    pub half: Option<f64>,
}

impl OverSeeds {
    /// Of finite values; `None` where there are none, or one is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let (n, count) = (values.len(), values.len() as f64);
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (n > 1).then(|| (squares / (count - 1.0)).sqrt());
        let half = deviation.map(|deviation| student_t(CONFIDENCE, n - 1) * deviation / count.sqrt());
        Some(Self { n, mean, deviation, half })
    }
}

/// The t within which Student's distribution with so many degrees of freedom (at least 1) lies with this probability.
pub fn student_t(probability: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while within(high, freedom) < probability && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if within(middle, freedom) < probability { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// `P(|T| ≤ t)`, the finite series for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn within(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom.max(1) as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let (mut power, mut term, mut sum) = if odd { (1, cos, 0.0) } else { (0, 1.0, 0.0) };
    while power + 2 <= freedom {
        sum += term;
        term *= cos * cos * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    if odd { 2.0 / PI * (angle + sin * sum) } else { sin * sum }
}

/// Spearman's rank correlation of pairs, equal values at the mean of their ranks; `None` of fewer than three pairs, or where one
/// side is constant or not finite.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 || pairs.iter().any(|(a, b)| !a.is_finite() || !b.is_finite()) {
        return None;
    }
    let (left, right): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (left, right) = (ranks(&left), ranks(&right));
    // Ranks have this mean, ties or not.
    let mean = (pairs.len() - 1) as f64 / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let scale = (product(&left, &left) * product(&right, &right)).sqrt();
    (scale > 0.0).then(|| (product(&left, &right) / scale).clamp(-1.0, 1.0))
}

/// The rank of each value from 0; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal - 1) as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_is_that_of_the_tables() {
        for (freedom, expected) in
            [(1, 12.706_205), (2, 4.302_653), (3, 3.182_446), (4, 2.776_445), (9, 2.262_157), (30, 2.042_272)]
        {
            let found = student_t(0.95, freedom);
            assert!((found - expected).abs() < 1e-5, "{freedom}: {found}");
        }
        assert!((student_t(0.99, 5) - 4.032_143).abs() < 1e-5);
        // Towards the normal distribution's.
        assert!((student_t(0.95, 4000) - 1.960_5).abs() < 1e-3);
    }

    #[test]
    fn an_interval_is_what_it_is_by_hand() {
        // Mean 2, deviation 1, t of two degrees of freedom over √3.
        let found = OverSeeds::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((found.n, found.mean, found.deviation), (3, 2.0, Some(1.0)));
        assert!((found.half.unwrap() - 4.302_653 / 3.0_f64.sqrt()).abs() < 1e-5);
        let one = OverSeeds::of(&[4.0]).unwrap();
        assert_eq!((one.n, one.mean, one.deviation, one.half), (1, 4.0, None, None));
        assert_eq!((OverSeeds::of(&[]), OverSeeds::of(&[1.0, f64::NAN])), (None, None));
    }

    #[test]
    fn an_interval_holds_the_mean_as_often_as_it_says() {
        let rows = crate::features::tests::normal(4000, 3, 5);
        let holds = |row: &[f32]| {
            let found = OverSeeds::of(&row.iter().map(|x| f64::from(*x)).collect::<Vec<_>>()).unwrap();
            found.mean.abs() <= found.half.unwrap()
        };
        let held = (0..4000).filter(|row| holds(rows.row(*row))).count() as f64 / 4000.0;
        assert!((held - CONFIDENCE).abs() < 0.015, "{held}");
    }

    #[test]
    fn ranks_correlate_whatever_the_scale() {
        let of = |right: &[f64]| spearman(&right.iter().enumerate().map(|(i, x)| (i as f64, *x)).collect::<Vec<_>>());
        assert_eq!(of(&[1.0, 10.0, 11.0, 1e9]), Some(1.0));
        assert_eq!(of(&[4.0, 3.0, 2.0, -7.0]), Some(-1.0));
        // 1 − 6 Σd² / n(n² − 1) with differences of ranks 0, 1, 1, 0.
        assert!((of(&[1.0, 3.0, 2.0, 4.0]).unwrap() - 0.8).abs() < 1e-12);
        // Ties: ranks 0.5, 0.5, 2, 3 beside 0, 1, 2, 3, by hand 4.5 / √(5 · 4.5).
        assert!((of(&[1.0, 1.0, 2.0, 3.0]).unwrap() - 4.5 / 22.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!((of(&[1.0, 1.0, 1.0]), of(&[1.0, 2.0]), of(&[1.0, f64::NAN, 2.0])), (None, None, None));
    }
}
