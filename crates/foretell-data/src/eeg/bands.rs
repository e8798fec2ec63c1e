//! Powers in the classic bands of frequencies: the plain features of EEG.

use std::f64::consts::PI;

/// Names and ends in Hz; an end belongs to the next band.
pub const BANDS: [(&str, f64, f64); 5] =
    [("delta", 1.0, 4.0), ("theta", 4.0, 8.0), ("alpha", 8.0, 13.0), ("beta", 13.0, 30.0), ("gamma", 30.0, 41.0)];

/// Below this share of a unit of power nothing is told apart: the logarithm stays finite where a channel is silent.
const FLOOR: f64 = 1e-6;

/// The logarithm of the mean power in each of the [`BANDS`], channel by channel, `[C · 5]`: spectra of whole seconds that overlap by half
/// (Welch, 1967), under a Hann window.
///
/// `values` are channels of so many samples each, `[C, T]`, at `rate` a second.
pub fn band_powers(values: &[f32], samples: usize, rate: usize) -> Vec<f32> {
    let length = rate.min(samples).max(1);
    let top = (BANDS[BANDS.len() - 1].2 * length as f64 / rate.max(1) as f64).ceil() as usize;
    let window: Vec<f64> = (0..length).map(|i| 0.5 - 0.5 * (2.0 * PI * i as f64 / length as f64).cos()).collect();
    let energy: f64 = window.iter().map(|x| x * x).sum::<f64>().max(f64::MIN_POSITIVE);
    // One turn of a circle: all frequencies walk on it.
    let circle: Vec<(f64, f64)> = (0..length).map(|i| (2.0 * PI * i as f64 / length as f64).sin_cos()).collect();
    let spectrum = |channel: &[f32]| -> Vec<f64> {
        let mut powers = vec![0.0; top.min(length / 2 + 1)];
        let mut pieces = 0.0;
        for start in (0..=samples.saturating_sub(length)).step_by((length / 2).max(1)) {
            let piece: Vec<f64> =
                channel[start..start + length].iter().zip(&window).map(|(x, w)| f64::from(*x) * w).collect();
            for (frequency, power) in powers.iter_mut().enumerate().skip(1) {
                let (mut at, mut sine, mut cosine) = (0, 0.0, 0.0);
                for x in &piece {
                    let (s, c) = circle[at];
                    (sine, cosine) = (sine + x * s, cosine + x * c);
                    at += frequency;
                    if at >= length {
                        at -= length;
                    }
                }
                *power += (sine * sine + cosine * cosine) / energy;
            }
            pieces += 1.0;
        }
        powers.iter().map(|power| power / pieces).collect()
    };
    let logarithms = |channel: &[f32]| {
        let powers = spectrum(channel);
        BANDS.map(|(_, low, high)| {
            let hertz = |at: usize| at as f64 * rate as f64 / length as f64;
            let (mut sum, mut count) = (0.0, 0.0);
            for (at, power) in powers.iter().enumerate().filter(|(at, _)| (low..high).contains(&hertz(*at))) {
                debug_assert!(at > 0);
                (sum, count) = (sum + power, count + 1.0);
            }
            (sum / f64::max(count, 1.0) + FLOOR).ln() as f32
        })
    };
    values.chunks_exact(samples.max(1)).flat_map(logarithms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_has_its_power_in_its_band_and_silence_is_finite() {
        let wave = |hertz: f64| (0..512).map(move |i| (2.0 * PI * hertz * f64::from(i) / 128.0).sin() as f32);
        let values: Vec<f32> = wave(2.0)
            .chain(wave(6.0))
            .chain(wave(10.0))
            .chain(wave(20.0))
            .chain(wave(35.0))
            .chain([0.0; 512])
            .collect();
        let powers = band_powers(&values, 512, 128);
        assert_eq!(powers.len(), 6 * BANDS.len());
        for (channel, powers) in powers.chunks_exact(BANDS.len()).take(5).enumerate() {
            let most = (0..BANDS.len()).max_by(|a, b| powers[*a].total_cmp(&powers[*b]));
            assert_eq!(most, Some(channel), "{powers:?}");
        }
        assert!(powers[25..].iter().all(|x| (x - (FLOOR as f32).ln()).abs() < 1e-3));
        assert!(band_powers(&[1.0; 10], 10, 128).iter().all(|x| x.is_finite()));
    }
}
