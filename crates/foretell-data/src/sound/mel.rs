//! Log-mel spectrograms as the libraries of the field make them, each by its name. Where they differ: how frames are laid, what a mel
//! is, whether bands are of one height or of one area, what becomes of silence.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::filters::{Band, Scale, bands};
use super::fourier::{Fourier, Room, TOGETHER};
use super::spectrogram::SoundSample;
use crate::{Auto, DataError, Decision};

/// Whose spectrogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MelPreset {
    /// `torchaudio.transforms.MelSpectrogram`: HTK's mels, bands of one height, frames centred on their moment (101 of a second at
    /// 10 ms) with the ends mirrored; `ln(x + ε)` as M2D has it.
    #[default]
    Torchaudio,
    /// `librosa.feature.melspectrogram` and `power_to_db`: Slaney's mels, bands of one area, centred frames with silence around them;
    /// decibels, at most 80 below the loudest.
    Librosa,
    /// `torchaudio.compliance.kaldi.fbank` as AST calls it: no frame reaches over an end (98 of a second), each without its mean and
    /// with high frequencies raised; half the deviation.
    KaldiAst,
    /// Whisper's: Slaney's mels of one area, the last centred frame left out (100 of a second); decades, at most 8 below the loudest.
    Whisper,
}

impl fmt::Display for MelPreset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Torchaudio => "torchaudio",
            Self::Librosa => "librosa",
            Self::KaldiAst => "kaldi-ast",
            Self::Whisper => "whisper",
        })
    }
}

/// How spectrograms are made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MelConfig {
    /// As which library makes them.
    pub preset: MelPreset,
    /// F: bands of frequency.
    pub bands: usize,
    /// Samples under a window.
    pub window: Auto<usize>,
    /// Samples from one frame to the next.
    pub hop: Auto<usize>,
    /// Samples that are transformed, a window and zeros around it.
    pub fft: Auto<usize>,
    /// Lowest frequency in Hz.
    pub low: Auto<f64>,
    /// Highest frequency in Hz.
    pub high: Auto<f64>,
}

impl Default for MelConfig {
    fn default() -> Self {
        Self {
            preset: MelPreset::default(),
            bands: 64,
            window: Auto::Auto,
            hop: Auto::Auto,
            fft: Auto::Auto,
            low: Auto::Auto,
            high: Auto::Auto,
        }
    }
}

/// Longer transforms than this are a slip.
const LONGEST: usize = 1 << 16;
const MOST_BANDS: usize = 1024;

impl MelConfig {
    /// Chooses what is open for so many samples a second, says why, and refuses what cannot be.
    pub(crate) fn resolve(&mut self, rate: u32, decisions: &mut Vec<Decision>) -> Result<(), DataError> {
        let per = |seconds: f64| ((f64::from(rate) * seconds).round() as usize).max(1);
        let window = self.window.resolve("data.mel.window", decisions, || (per(0.025), "25 ms".to_owned()));
        let hop = self.hop.resolve("data.mel.hop", decisions, || (per(0.01), "10 ms".to_owned()));
        let preset = self.preset;
        let fft = self.fft.resolve("data.mel.fft", decisions, || match preset {
            MelPreset::KaldiAst => (window.next_power_of_two(), "the next power of two, as Kaldi pads".to_owned()),
            MelPreset::Whisper => (window, "the window, as Whisper has it".to_owned()),
            _ => (
                (2 * window).next_power_of_two(),
                "twice the window or more, so that low bands hear something".to_owned(),
            ),
        });
        let low = self.low.resolve("data.mel.low", decisions, || match preset {
            MelPreset::KaldiAst => (20.0, "Kaldi's".to_owned()),
            _ => (0.0, "all of the band".to_owned()),
        });
        let half = f64::from(rate) / 2.0;
        let high = self.high.resolve("data.mel.high", decisions, || (half, "half the rate".to_owned()));
        let refuse = |name: &'static str, expected: &'static str, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if !(1..=MOST_BANDS).contains(&self.bands) {
            return refuse("data.mel.bands", "from 1 to 1024", self.bands.to_string());
        }
        if !(2..=LONGEST).contains(&fft) {
            return refuse("data.mel.fft", "from 2 to 65536 samples", fft.to_string());
        }
        if !(2..=fft).contains(&window) {
            return refuse("data.mel.window", "from 2 samples to as many as `data.mel.fft`", window.to_string());
        }
        if !(1..=LONGEST).contains(&hop) {
            return refuse("data.mel.hop", "from 1 to 65536 samples", hop.to_string());
        }
        if !(low >= 0.0 && low < high && high <= half) {
            return refuse(
                "data.mel.high",
                "above `data.mel.low` and at most half of `data.rate`",
                format!("{high} over {low}"),
            );
        }
        Ok(())
    }
}

/// Natural logarithm's `ε`, as PyTorch's `finfo` has it.
const EPSILON: f32 = f32::EPSILON;
/// librosa's and Whisper's least power.
const LEAST: f32 = 1e-10;
/// Kaldi's high frequencies are raised so.
const RAISED: f32 = 0.97;

/// Makes spectrograms of one form.
#[derive(Clone, Debug)]
pub struct LogMel {
    preset: MelPreset,
    hop: usize,
    /// Samples of a frame: of Kaldi's the window, otherwise the transform.
    frame: usize,
    /// Over a frame's samples.
    window: Vec<f32>,
    fourier: Fourier,
    bands: Vec<Band>,
}

/// A spectrogram before it is brought to a scale: `[F, T]`, the lowest band first.
#[derive(Clone, Debug, PartialEq)]
pub struct Mels {
    /// F.
    pub bands: usize,
    /// T.
    pub frames: usize,
    /// `[F, T]` row-major, in the logarithm's units: nepers of power, decibels or Whisper's quarter decades.
    pub values: Vec<f32>,
    /// What silence would be.
    pub silence: f32,
}

impl LogMel {
    /// Of a resolved config.
    pub fn new(config: &MelConfig, rate: u32) -> Result<Self, DataError> {
        let mut config = config.clone();
        config.resolve(rate, &mut Vec::new())?;
        let number = |value: Auto<usize>| if let Auto::Value(value) = value { value } else { 0 };
        let hertz = |value: Auto<f64>| if let Auto::Value(value) = value { value } else { 0.0 };
        let MelConfig { preset, bands: count, window: length, hop, fft, low, high } = config;
        let (length, hop, fft) = (number(length), number(hop), number(fft));
        // Kaldi's window reaches 0 at both ends, the others' is that of a wave that goes on.
        let last = if preset == MelPreset::KaldiAst { length - 1 } else { length };
        let hann = |i: usize| (0.5 - 0.5 * (std::f64::consts::TAU * i as f64 / last.max(1) as f64).cos()) as f32;
        let mut window = vec![0.0; if preset == MelPreset::KaldiAst { length } else { fft }];
        let before = (window.len() - length) / 2;
        window[before..before + length].iter_mut().enumerate().for_each(|(i, x)| *x = hann(i));
        let scale = match preset {
            MelPreset::Torchaudio => Scale::Htk,
            MelPreset::Librosa | MelPreset::Whisper => Scale::Slaney,
            MelPreset::KaldiAst => Scale::Kaldi,
        };
        let bands = bands(scale, count, fft, f64::from(rate), (hertz(low), hertz(high)));
        Ok(Self { preset, hop, frame: window.len(), window, fourier: Fourier::new(fft), bands })
    }

    /// Bands of which no bin of the transform is a part: they hear nothing.
    pub fn deaf(&self) -> usize {
        self.bands.iter().filter(|band| band.weights.is_empty()).count()
    }

    /// Frames of so many samples.
    pub fn frames(&self, samples: usize) -> usize {
        match self.preset {
            MelPreset::Torchaudio | MelPreset::Librosa => 1 + samples / self.hop,
            MelPreset::Whisper => (samples / self.hop).max(1),
            // One at least: what is shorter than a window is followed by silence.
            MelPreset::KaldiAst => 1 + samples.saturating_sub(self.frame) / self.hop,
        }
    }

    /// The spectrogram of one channel.
    pub fn of(&self, wave: &[f32]) -> Mels {
        let (frames, bands) = (self.frames(wave.len()), self.bands.len());
        let mut values = vec![0.0; bands * frames];
        let (mut room, mut power) = (Room::default(), Vec::new());
        let mean = if self.preset == MelPreset::KaldiAst { mean(wave) } else { 0.0 };
        let mut sums = [0.0_f32; TOGETHER];
        for first in (0..frames).step_by(TOGETHER) {
            let count = TOGETHER.min(frames - first);
            let frame = |i: usize, out: &mut [f32]| self.frame(wave, mean, first + i, out);
            self.fourier.power(&mut room, count, frame, &mut power);
            for (band, row) in self.bands.iter().zip(values.chunks_exact_mut(frames)) {
                sums.fill(0.0);
                for (weight, bin) in band.weights.iter().zip(&power[band.first..]) {
                    sums.iter_mut().zip(bin).for_each(|(sum, x)| *sum += weight * x);
                }
                row[first..first + count].copy_from_slice(&sums[..count]);
            }
        }
        let silence = self.logarithm(&mut values);
        Mels { bands, frames, values, silence }
    }

    /// A frame's samples under the window, and zeros.
    fn frame(&self, wave: &[f32], mean_of_all: f32, at: usize, out: &mut [f32]) {
        let len = wave.len() as i64;
        let start = match self.preset {
            MelPreset::KaldiAst => (at * self.hop) as i64,
            _ => (at * self.hop) as i64 - (self.frame / 2) as i64,
        };
        out[self.frame..].fill(0.0);
        let (frame, inside) = (&mut out[..self.frame], start >= 0 && start + self.frame as i64 <= len);
        if inside {
            frame.copy_from_slice(&wave[start as usize..][..self.frame]);
        } else {
            let mirror = matches!(self.preset, MelPreset::Torchaudio | MelPreset::Whisper);
            for (x, place) in frame.iter_mut().zip(start..) {
                let place = if mirror { mirrored(place, len) } else { place };
                *x = if (0..len).contains(&place) { wave[place as usize] } else { 0.0 };
            }
        }
        if self.preset == MelPreset::KaldiAst {
            // The mean of all, then that of the frame; each sample then loses most of the one before it.
            for x in frame.iter_mut() {
                *x -= mean_of_all;
            }
            let mean = mean(frame);
            for x in frame.iter_mut() {
                *x -= mean;
            }
            for i in (1..frame.len()).rev() {
                frame[i] -= RAISED * frame[i - 1];
            }
            frame[0] -= RAISED * frame[0];
        }
        frame.iter_mut().zip(&self.window).for_each(|(x, w)| *x *= w);
    }

    /// Power to the logarithm's units; returns what silence is then.
    fn logarithm(&self, values: &mut [f32]) -> f32 {
        let each = |values: &mut [f32], of: &dyn Fn(f32) -> f32| values.iter_mut().for_each(|x| *x = of(*x));
        match self.preset {
            MelPreset::Torchaudio => {
                each(values, &|x| (x + EPSILON).ln());
                EPSILON.ln()
            }
            MelPreset::KaldiAst => {
                each(values, &|x| x.max(EPSILON).ln());
                EPSILON.ln()
            }
            MelPreset::Librosa => {
                each(values, &|x| 10.0 * x.max(LEAST).log10());
                let floor = values.iter().copied().fold(f32::MIN, f32::max) - 80.0;
                each(values, &|x| x.max(floor));
                floor.max(10.0 * LEAST.log10())
            }
            MelPreset::Whisper => {
                each(values, &|x| x.max(LEAST).log10());
                let floor = values.iter().copied().fold(f32::MIN, f32::max) - 8.0;
                each(values, &|x| (x.max(floor) + 4.0) / 4.0);
                (floor.max(LEAST.log10()) + 4.0) / 4.0
            }
        }
    }

    /// What one decibel of power is in the logarithm's units.
    pub fn decibel(&self) -> f32 {
        match self.preset {
            MelPreset::Torchaudio | MelPreset::KaldiAst => std::f32::consts::LN_10 / 10.0,
            MelPreset::Librosa => 1.0,
            MelPreset::Whisper => 0.025,
        }
    }

    /// By how many deviations spectrograms are divided.
    pub(super) fn deviations(&self) -> f32 {
        if self.preset == MelPreset::KaldiAst { 2.0 } else { 1.0 }
    }
}

impl Mels {
    /// As networks take it: less the mean, over the deviation, the highest band first.
    pub(super) fn scaled(&self, mean: f32, divisor: f32, decibel: f32) -> SoundSample {
        let scale = |x: f32| (x - mean) / divisor;
        let rows = self.values.chunks_exact(self.frames.max(1)).rev();
        SoundSample {
            bands: self.bands,
            frames: self.frames,
            values: rows.flatten().map(|x| scale(*x)).collect(),
            heard: self.frames,
            silence: scale(self.silence),
            decibel: decibel / divisor,
        }
    }
}

fn mean(values: &[f32]) -> f32 {
    (values.iter().map(|x| f64::from(*x)).sum::<f64>() / values.len().max(1) as f64) as f32
}

/// A place before the beginning or behind the end, mirrored at it as often as needed.
fn mirrored(place: i64, len: i64) -> i64 {
    if len <= 1 {
        return 0;
    }
    let period = 2 * (len - 1);
    let place = place.rem_euclid(period);
    if place < len { place } else { period - place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(preset: MelPreset, wave: &[f32]) -> Mels {
        LogMel::new(&MelConfig { preset, bands: 40, ..MelConfig::default() }, 16_000).unwrap().of(wave)
    }

    #[test]
    fn a_second_has_as_many_frames_as_the_library_says() {
        let wave = vec![0.1; 16_000];
        for (preset, frames) in [
            (MelPreset::Torchaudio, 101),
            (MelPreset::Librosa, 101),
            (MelPreset::KaldiAst, 98),
            (MelPreset::Whisper, 100),
        ] {
            assert_eq!(of(preset, &wave).frames, frames, "{preset}");
        }
    }

    #[test]
    fn silence_and_the_shortest_sounds_are_finite() {
        for preset in [MelPreset::Torchaudio, MelPreset::Librosa, MelPreset::KaldiAst, MelPreset::Whisper] {
            for wave in [vec![0.0; 4000], vec![0.0; 1], vec![0.5; 1], vec![-1.0; 3], Vec::new()] {
                let mels = of(preset, &wave);
                assert!(mels.frames > 0 && mels.values.iter().all(|x| x.is_finite()), "{preset} {}", wave.len());
                assert!(mels.silence.is_finite());
                if wave.iter().all(|x| *x == 0.0) {
                    let differ = mels.values.iter().map(|x| (x - mels.silence).abs()).fold(0.0, f32::max);
                    assert!(differ < 81.0, "{preset}: {differ}");
                }
            }
        }
    }

    #[test]
    fn louder_is_so_many_decibels_more() {
        let wave: Vec<f32> = (0..8000).map(|i| ((i * i) as f32 * 0.001).sin() * 0.3).collect();
        let louder: Vec<f32> = wave.iter().map(|x| x * 2.0).collect();
        for preset in [MelPreset::Torchaudio, MelPreset::Librosa, MelPreset::KaldiAst, MelPreset::Whisper] {
            let log_mel = LogMel::new(&MelConfig { preset, bands: 8, ..MelConfig::default() }, 16_000).unwrap();
            let (a, b) = (log_mel.of(&wave), log_mel.of(&louder));
            let at = a.values.iter().enumerate().max_by(|x, y| x.1.total_cmp(y.1)).unwrap().0;
            let expected = 20.0 * 2.0_f32.log10() * log_mel.decibel();
            assert!((b.values[at] - a.values[at] - expected).abs() < 1e-3, "{preset}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |config: MelConfig| LogMel::new(&config, 8000).unwrap_err().to_string();
        assert!(refused(MelConfig { bands: 0, ..MelConfig::default() }).contains("data.mel.bands"));
        assert!(refused(MelConfig { high: Auto::Value(5000.0), ..MelConfig::default() }).contains("data.mel.high"));
        let window = MelConfig { window: Auto::Value(600), fft: Auto::Value(512), ..MelConfig::default() };
        assert!(refused(window).contains("data.mel.window"));
        let deaf = MelConfig { bands: 128, fft: Auto::Value(256), ..MelConfig::default() };
        assert!(LogMel::new(&deaf, 8000).unwrap().deaf() > 0);
        assert_eq!(LogMel::new(&MelConfig::default(), 8000).unwrap().deaf(), 0);
        assert_eq!([-1, 0, 4, 5, 9].map(|place| mirrored(place, 5)), [1, 0, 4, 3, 1]);
    }
}
