//! A sample of sound: its log-mel spectrogram, a picture of frequency over time.

use std::sync::Arc;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::Image;

/// What becomes of a recording that is shorter than what networks see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShortSounds {
    /// Silence follows, as if the recorder had run on.
    #[default]
    Silence,
    /// It begins again.
    Repeat,
}

/// One recording as networks take it, brought to mean 0 and deviation 1 of the training part.
#[derive(Clone, Debug, PartialEq)]
pub struct SoundSample {
    /// Bands of frequency, F.
    pub bands: usize,
    /// Moments, T.
    pub frames: usize,
    /// `[F, T]` row-major; the first row is the highest band, as pictures show it.
    pub values: Arc<[f32]>,
    /// Moments that were recorded; silence or repetition follows.
    pub heard: usize,
    /// What silence is.
    pub silence: f32,
    /// What one decibel is.
    pub decibel: f32,
}

impl SoundSample {
    /// So many moments from `start` on, louder by `gain` decibels; behind the end as `short` says.
    #[must_use]
    pub fn cut(&self, start: usize, frames: usize, gain: f32, short: ShortSounds) -> Self {
        let louder = gain * self.decibel;
        let mut values = Vec::with_capacity(self.bands * frames);
        for row in self.values.chunks_exact(self.frames.max(1)) {
            let row = &row[start.min(row.len())..];
            let taken = row.len().min(frames);
            // Nothing is quieter than silence.
            values.extend(row[..taken].iter().map(|x| (x + louder).max(self.silence)));
            let first = values.len() - taken;
            for place in taken..frames {
                values.push(if short == ShortSounds::Repeat && taken > 0 {
                    values[first + place % taken]
                } else {
                    self.silence
                });
            }
        }
        let heard = if short == ShortSounds::Repeat { frames } else { self.heard.saturating_sub(start).min(frames) };
        Self { frames, values: values.into(), heard, ..*self }
    }

    /// Its middle, of so many moments; all of it where it is shorter, and then as `short` says.
    #[must_use]
    pub fn middle(&self, frames: usize, short: ShortSounds) -> Self {
        if self.frames == frames {
            self.clone()
        } else {
            self.cut(self.frames.saturating_sub(frames) / 2, frames, 0.0, short)
        }
    }

    /// A part of it that the generator chooses, louder or quieter by at most `gain` decibels.
    #[must_use]
    pub fn view(&self, frames: usize, gain: f32, short: ShortSounds, rng: &mut impl Rng) -> Self {
        let last = self.frames.saturating_sub(frames);
        let start = rng.random_range(0..=last as u32) as usize;
        let gain = gain * (2.0 * rng.random::<f32>() - 1.0);
        self.cut(start, frames, gain, short)
    }

    /// Mean and deviation of each band over the moments that were recorded, `[2 F]`: what is known without looking at what follows what.
    pub fn statistics(&self) -> Vec<f32> {
        let heard = self.heard.clamp(1, self.frames.max(1));
        let rows = self.values.chunks_exact(self.frames.max(1)).map(|row| {
            let mean = row[..heard].iter().map(|x| f64::from(*x)).sum::<f64>() / heard as f64;
            let variance = row[..heard].iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / heard as f64;
            (mean as f32, variance.sqrt() as f32)
        });
        let (means, deviations): (Vec<f32>, Vec<f32>) = rows.unzip();
        [means, deviations].concat()
    }

    /// As a report shows it: loud is bright, high is up.
    pub fn picture(&self) -> Image {
        let pixels = self.values.iter().flat_map(|x| colour(((x + 2.0) / 4.5).clamp(0.0, 1.0))).collect();
        Image { width: self.frames, height: self.bands, channels: 3, pixels }
    }
}

/// Black, purple, red, orange, pale yellow.
fn colour(level: f32) -> [u8; 3] {
    const STEPS: [[f32; 3]; 5] =
        [[0.0, 0.0, 10.0], [80.0, 20.0, 120.0], [185.0, 50.0, 85.0], [248.0, 140.0, 40.0], [252.0, 250.0, 190.0]];
    let place = level * (STEPS.len() - 1) as f32;
    let at = (place as usize).min(STEPS.len() - 2);
    let share = place - at as f32;
    std::array::from_fn(|c| (STEPS[at][c] * (1.0 - share) + STEPS[at + 1][c] * share) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, rng};

    fn sample() -> SoundSample {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        SoundSample { bands: 2, frames: 3, values: values.into(), heard: 3, silence: -9.0, decibel: 0.5 }
    }

    #[test]
    fn cuts_are_filled_with_silence_or_begin_again() {
        let cut = |start, frames, gain, short| sample().cut(start, frames, gain, short).values.to_vec();
        assert_eq!(cut(1, 2, 0.0, ShortSounds::Silence), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(cut(1, 3, 2.0, ShortSounds::Silence), [2.0, 3.0, -9.0, 5.0, 6.0, -9.0]);
        assert_eq!(cut(0, 5, 0.0, ShortSounds::Repeat)[..5], [0.0, 1.0, 2.0, 0.0, 1.0]);
        assert_eq!(cut(0, 1, -100.0, ShortSounds::Silence), [-9.0, -9.0]);
        let short = sample().cut(1, 4, 0.0, ShortSounds::Silence);
        assert_eq!(short.heard, 2);
        assert_eq!(short.statistics(), [1.5, 4.5, 0.5, 0.5]);
        assert_eq!(sample().middle(1, ShortSounds::Silence).values.to_vec(), [1.0, 4.0]);
        let mut rng = rng(0, Stream::Augment, 0, 0);
        let starts: std::collections::BTreeSet<u32> =
            (0..50).map(|_| sample().view(2, 0.0, ShortSounds::Silence, &mut rng).values[0] as u32).collect();
        assert_eq!(starts, [0, 1].into());
        assert_eq!(sample().picture().pixels.len(), 18);
    }
}
