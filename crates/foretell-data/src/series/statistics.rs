//! Mean and deviation of series with holes, and the season of one.

use crate::series::SeriesSample;

/// A deviation below this share of the mean is the rounding of a constant.
const ROUNDING: f64 = 1e-6;

/// Mean and deviation of what is known: of a constant the deviation is 0, and where nothing is known both are.
pub(crate) fn moments(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let known = || values.clone().filter(|value| !value.is_nan()).map(f64::from);
    let count = known().count();
    if count == 0 {
        return (0.0, 0.0);
    }
    let mean = known().sum::<f64>() / count as f64;
    let deviation = (known().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
    let varies = deviation > ROUNDING * mean.abs().max(f64::from(f32::MIN_POSITIVE));
    (mean as f32, if varies { deviation as f32 } else { 0.0 })
}

/// Values brought to mean 0 and deviation 1; of a deviation of 0 all that is known becomes 0, and holes stay holes.
pub(crate) fn standardised(value: f32, (mean, deviation): (f32, f32)) -> f32 {
    if value.is_nan() {
        f32::NAN
    } else if deviation > 0.0 {
        (value - mean) / deviation
    } else {
        0.0
    }
}

/// Each channel of a sample by its own moments.
pub(crate) fn by_itself(sample: &SeriesSample) -> Vec<f32> {
    let moments: Vec<_> = (0..sample.channels).map(|channel| moments(sample.channel(channel))).collect();
    sample.values.iter().enumerate().map(|(i, value)| standardised(*value, moments[i % sample.channels])).collect()
}

/// Least correlation that makes a season.
const SEASONAL: f64 = 0.2;

/// The season of a series `[T]`, NaN in holes: the lag, of at least 2 and at most `most` steps, of the highest peak of the autocorrelation of
/// what a straight line leaves of it; 1 where there is none.
pub fn period(values: &[f32], most: usize) -> usize {
    let (_, deviation) = moments(values.iter().copied());
    let most = most.min(values.len() / 3);
    if deviation == 0.0 || most < 3 {
        return 1;
    }
    // Less the straight line, which correlates with itself at every lag.
    let known: Vec<(f64, f64)> =
        values.iter().enumerate().filter(|(_, v)| !v.is_nan()).map(|(t, v)| (t as f64, f64::from(*v))).collect();
    let count = known.len() as f64;
    let (middle, mean) =
        (known.iter().map(|k| k.0).sum::<f64>() / count, known.iter().map(|k| k.1).sum::<f64>() / count);
    let spread = known.iter().map(|k| (k.0 - middle).powi(2)).sum::<f64>().max(f64::MIN_POSITIVE);
    let slope = known.iter().map(|k| (k.0 - middle) * (k.1 - mean)).sum::<f64>() / spread;
    let x: Vec<f64> = values
        .iter()
        .enumerate()
        .map(|(t, v)| if v.is_nan() { 0.0 } else { f64::from(*v) - mean - slope * (t as f64 - middle) })
        .collect();
    let power = x.iter().map(|v| v * v).sum::<f64>().max(f64::MIN_POSITIVE);
    let correlation = |lag: usize| x.iter().zip(&x[lag..]).map(|(a, b)| a * b).sum::<f64>() / power;
    let correlations: Vec<f64> = (0..=most).map(correlation).collect();
    let peaks = (2..most).filter(|lag| {
        let here = correlations[*lag];
        here >= correlations[lag - 1] && here >= correlations[lag + 1] && here > SEASONAL
    });
    peaks.max_by(|a, b| correlations[*a].total_cmp(&correlations[*b])).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_becomes_zero_and_holes_stay() {
        let of = moments([1e8_f32 + 0.1; 5].into_iter());
        assert_eq!(of.1, 0.0);
        assert_eq!(standardised(1e8, of), 0.0);
        assert!(standardised(f32::NAN, of).is_nan());
        assert_eq!(moments([f32::NAN; 3].into_iter()), (0.0, 0.0));
        let (mean, deviation) = moments([1.0, f32::NAN, 3.0].into_iter());
        assert_eq!((mean, deviation), (2.0, 1.0));
        // Small numbers vary too.
        assert!(moments([1e-20, 2e-20].into_iter()).1 > 0.0);
        let sample = SeriesSample::new(2, vec![1.0, 5.0, 3.0, 5.0]);
        assert_eq!(by_itself(&sample), [-1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn the_season_is_found_under_a_trend_and_holes() {
        let mut values: Vec<f32> =
            (0..400).map(|t| (t as f32 * std::f32::consts::TAU / 24.0).sin() + 0.02 * t as f32).collect();
        values[50..60].fill(f32::NAN);
        assert_eq!(period(&values, 100), 24);
        assert_eq!(period(&[1.0; 100], 30), 1);
        let line: Vec<f32> = (0..100).map(|t| t as f32).collect();
        assert_eq!(period(&line, 30), 1);
    }
}
