//! Mean and deviation of series with holes.

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
}
