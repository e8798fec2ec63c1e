//! Another number of samples a second, by band-limited interpolation: a recording is never read as if it had another rate.

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Async, FixedAsync, Resampler, SincInterpolationParameters, WindowFunction};

/// Samples that are worked on at a time.
const CHUNK: usize = 1024;
/// Length of the filter: the transition takes about a twentieth of the band.
const SINC: usize = 128;
/// Rates further apart are a damaged header.
const MOST: u32 = 256;

/// One channel at another rate, `len · to / from` samples, rounded up; why not, in words.
pub(super) fn resample(wave: Vec<f32>, from: u32, to: u32) -> Result<Vec<f32>, String> {
    if from == to || wave.is_empty() {
        return Ok(wave);
    }
    let wrong = |error: &dyn std::fmt::Display| format!("it cannot be brought from {from} to {to} Hz: {error}");
    if from == 0 || to == 0 || from / to >= MOST || to / from >= MOST {
        return Err(format!(
            "its header says {from} samples a second, too far from {to} (`data.rate`): it is damaged, or no sound"
        ));
    }
    let parameters = SincInterpolationParameters::new(SINC, WindowFunction::BlackmanHarris2);
    let ratio = f64::from(to) / f64::from(from);
    let mut resampler =
        Async::<f32>::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input).map_err(|error| wrong(&error))?;
    let frames = wave.len();
    let input = InterleavedOwned::new_from(wave, 1, frames).map_err(|error| wrong(&error))?;
    let output = resampler.process_all(&input, frames, None).map_err(|error| wrong(&error))?;
    Ok(output.take_data())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hertz: f64) -> Vec<f32> {
        (0..rate).map(|i| (std::f64::consts::TAU * hertz * f64::from(i) / f64::from(rate)).sin() as f32).collect()
    }

    #[test]
    fn a_tone_stays_a_tone_and_what_lies_above_the_band_goes() {
        for (from, to) in [(44_100, 16_000), (8_000, 16_000), (48_000, 8_000), (22_050, 16_000)] {
            let got = resample(tone(from, 1000.0), from, to).unwrap();
            assert_eq!(got.len(), to as usize, "{from} to {to}");
            // Away from the ends, where the filter meets silence: the same tone, about one sample late at most (rubato 5.1 leaves out the filter's delay in whole samples, and is 1.02 off from 8 to 16 kHz).
            let inner = 1000..to as usize - 1000;
            let angle = |i: usize| std::f64::consts::TAU * 1000.0 * i as f64 / f64::from(to);
            let along = |of: fn(f64) -> f64| {
                let sum: f64 = inner.clone().map(|i| f64::from(got[i]) * of(angle(i))).sum();
                2.0 * sum / inner.len() as f64
            };
            let (sine, cosine) = (along(f64::sin), along(f64::cos));
            let rest = |i: usize| (f64::from(got[i]) - sine * angle(i).sin() - cosine * angle(i).cos()).abs();
            let worst = inner.clone().map(rest).fold(0.0, f64::max);
            let late = cosine.atan2(sine).abs() / (std::f64::consts::TAU * 1000.0 / f64::from(to));
            assert!(
                (sine.hypot(cosine) - 1.0).abs() < 2e-3 && worst < 1e-2 && late <= 1.1,
                "{from} to {to}: {sine} {cosine}, {worst}, {late}"
            );
        }
        let above = resample(tone(48_000, 6000.0), 48_000, 8_000).unwrap();
        assert!(above[1000..7000].iter().all(|x| x.abs() < 1e-3));
    }

    #[test]
    fn rates_that_none_has_are_refused() {
        assert!(resample(vec![0.0; 9], 3, 16_000).unwrap_err().contains("3 samples a second"));
        assert!(resample(vec![0.0; 9], u32::MAX, 16_000).is_err());
    }

    #[test]
    fn short_ones_keep_their_length() {
        for len in 1..20 {
            assert_eq!(resample(vec![0.5; len], 8_000, 16_000).unwrap().len(), 2 * len);
        }
    }
}
