//! Multiplicative speckle, the noise of coherent imaging such as radar, sonar and ultrasound.
//!
//! Where many scatterers of a resolution cell add up with random phases, the intensity of an average over L independent looks
//! is the cell's own times a factor from a gamma distribution of shape L and mean 1, variance 1/L (Goodman, 1976). Bright
//! places vary more than dark ones: a ratio of neighbours does not know how bright they are, a difference does.

use rand::Rng;
use rand_distr::{Distribution, Gamma};

use crate::images::augment::setting;
use crate::images::resample::Planes;
use crate::{DataError, Image};

/// Fewest and most looks: beyond them a picture is black but for a few points, or none of its bytes changes.
const LOOKS: (f32, f32) = (0.1, 10_000.0);

/// The distribution of the factor.
#[derive(Clone, Copy)]
pub(crate) struct Speckle(Gamma<f32>);

impl Speckle {
    /// None for 0 looks, and for what is no number of looks at all; the nearest that is allowed for others.
    pub(crate) fn of_looks(looks: f32) -> Option<Self> {
        if looks > 0.0 {
            let looks = looks.clamp(LOOKS.0, LOOKS.1);
            Gamma::new(looks, 1.0 / looks).ok().map(Self)
        } else {
            None
        }
    }

    pub(crate) fn check(name: &'static str, looks: f32) -> Result<(), DataError> {
        let good = looks == 0.0 || (LOOKS.0..=LOOKS.1).contains(&looks);
        setting(name, "0 for none, or a number of looks from 0.1 to 10000", looks, good)
    }

    /// One factor for each place, in raster order, the same in all channels.
    pub(crate) fn planes(self, planes: &mut Planes, rng: &mut impl Rng) {
        let area = planes.size * planes.size;
        for place in 0..area {
            let factor = self.0.sample(rng);
            for value in planes.values[place..].iter_mut().step_by(area) {
                *value = (*value * factor).min(255.0);
            }
        }
    }
}

/// The image under multiplicative speckle of `looks` looks, 0 for none: each pixel times a factor of its own, the same in all
/// its channels, drawn in raster order from a gamma distribution of mean 1 and variance 1 / `looks`. What exceeds a byte is
/// cut off there.
///
/// The factor applies to the values as they are stored. Where those are magnitudes (the root of the intensity), so are the
/// looks of the magnitude.
///
/// # Errors
/// Looks that are neither 0 nor from 0.1 to 10000.
pub fn speckle(image: &Image, looks: f32, rng: &mut impl Rng) -> Result<Image, DataError> {
    Speckle::check("speckle", looks)?;
    let mut image = image.clone();
    if let Some(Speckle(factors)) = Speckle::of_looks(looks) {
        for pixel in image.pixels.chunks_exact_mut(image.channels.max(1)) {
            let factor = factors.sample(rng);
            for value in pixel {
                // Half up and cut off at 255, as views are rounded.
                *value = (f32::from(*value) * factor + 0.5).min(255.0) as u8;
            }
        }
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, rng};

    fn even(side: usize, channels: usize, value: u8) -> Image {
        Image { width: side, height: side, channels, pixels: vec![value; side * side * channels] }
    }

    /// Mean and variance of the pixels as multiples of `of` and its square.
    fn moments(image: &Image, of: f64) -> (f64, f64) {
        let count = image.pixels.len() as f64;
        let mean = image.pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = image.pixels.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        (mean / of, variance / (of * of))
    }

    #[test]
    fn the_factor_has_mean_one_and_the_variance_of_its_looks() {
        for (looks, value) in [(1.0, 20), (4.0, 40), (16.0, 80)] {
            let seen = speckle(&even(300, 1, value), looks, &mut rng(5, Stream::Noise, 0, 1)).unwrap();
            let (mean, variance) = moments(&seen, f64::from(value));
            // 90,000 draws: five standard errors of the mean of one look are 0.017.
            assert!((mean - 1.0).abs() < 0.017, "{looks} looks: mean {mean}");
            assert!((variance * f64::from(looks) - 1.0).abs() < 0.06, "{looks} looks: variance {variance}");
        }
    }

    #[test]
    fn one_look_is_exponential() {
        // Of an exponential of mean 1, 1 − e⁻¹ lies below the mean: far more than half.
        let seen = speckle(&even(300, 1, 50), 1.0, &mut rng(6, Stream::Noise, 0, 1)).unwrap();
        let below = seen.pixels.iter().filter(|&&v| v < 50).count() as f64 / 90_000.0;
        assert!((below - (1.0 - (-0.99_f64).exp())).abs() < 0.01, "{below}");
    }

    #[test]
    fn none_changes_nothing_and_draws_nothing() {
        let image = even(9, 3, 77);
        let (mut used, mut fresh) = (rng(1, Stream::Noise, 0, 2), rng(1, Stream::Noise, 0, 2));
        assert_eq!(speckle(&image, 0.0, &mut used).unwrap(), image);
        assert_eq!(used.next_u64(), fresh.next_u64());
    }

    #[test]
    fn grey_stays_grey_and_black_stays_black() {
        let seen = speckle(&even(20, 3, 90), 2.0, &mut rng(2, Stream::Noise, 0, 3)).unwrap();
        assert!(seen.pixels.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]));
        assert!(seen.pixels.iter().any(|&v| v != 90));
        let black = even(20, 1, 0);
        assert_eq!(speckle(&black, 1.0, &mut rng(2, Stream::Noise, 0, 4)).unwrap(), black);
    }

    #[test]
    fn looks_that_are_none_are_refused() {
        for looks in [-1.0, 0.05, f32::NAN, f32::INFINITY] {
            let error = speckle(&even(2, 1, 9), looks, &mut rng(0, Stream::Noise, 0, 0)).unwrap_err().to_string();
            assert!(error.starts_with("the setting `speckle` is ") && error.contains("0.1 to 10000"), "{error}");
        }
    }
}
