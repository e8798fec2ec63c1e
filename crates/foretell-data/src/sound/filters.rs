//! Triangular bands over the bins of a spectrum, evenly laid on a scale of pitch.

/// What a mel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// `2595 log10(1 + f / 700)`; triangles in Hz, of one height (torchaudio).
    Htk,
    /// Linear to 1 kHz and logarithmic above; triangles in Hz, of one area (librosa, Whisper).
    Slaney,
    /// `1127 ln(1 + f / 700)`; triangles in mels, of one height, without the highest bin (Kaldi).
    Kaldi,
}

/// One band: its weights from a first bin on. Without weights it hears nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    pub(super) first: usize,
    pub(super) weights: Vec<f32>,
}

/// Slaney's scale: mels below 1 kHz are of 200/3 Hz, above each is a 27th part of the logarithm of 6.4.
const LINEAR: f64 = 200.0 / 3.0;
const KNEE: f64 = 1000.0;

impl Scale {
    fn mels(self, hertz: f64) -> f64 {
        match self {
            Self::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
            Self::Kaldi => 1127.0 * (1.0 + hertz / 700.0).ln(),
            Self::Slaney if hertz < KNEE => hertz / LINEAR,
            Self::Slaney => KNEE / LINEAR + (hertz / KNEE).ln() * 27.0 / 6.4_f64.ln(),
        }
    }

    fn hertz(self, mels: f64) -> f64 {
        match self {
            Self::Htk => 700.0 * (10.0_f64.powf(mels / 2595.0) - 1.0),
            Self::Kaldi => 700.0 * ((mels / 1127.0).exp() - 1.0),
            Self::Slaney if mels < KNEE / LINEAR => mels * LINEAR,
            Self::Slaney => KNEE * ((mels - KNEE / LINEAR) * 6.4_f64.ln() / 27.0).exp(),
        }
    }
}

/// So many bands between two frequencies over the spectrum of a transform of `fft` samples at `rate`.
pub(super) fn bands(scale: Scale, count: usize, fft: usize, rate: f64, (low, high): (f64, f64)) -> Vec<Band> {
    let (first, last) = (scale.mels(low), scale.mels(high));
    let edge = |i: usize| first + (last - first) * i as f64 / (count + 1) as f64;
    let bins = if scale == Scale::Kaldi { fft / 2 } else { fft / 2 + 1 };
    (0..count)
        .map(|band| {
            let mels = [edge(band), edge(band + 1), edge(band + 2)];
            let [left, centre, right] = if scale == Scale::Kaldi { mels } else { mels.map(|mel| scale.hertz(mel)) };
            // Of one area: 2 over the width in Hz.
            let height = if scale == Scale::Slaney { 2.0 / (right - left) } else { 1.0 };
            let weight = |bin: usize| {
                let hertz = bin as f64 * rate / fft as f64;
                let place = if scale == Scale::Kaldi { scale.mels(hertz) } else { hertz };
                let rising = (place - left) / (centre - left);
                let falling = (right - place) / (right - centre);
                (height * rising.min(falling).max(0.0)) as f32
            };
            let all: Vec<f32> = (0..bins).map(weight).collect();
            let begin = all.iter().position(|w| *w > 0.0).unwrap_or(0);
            let end = all.iter().rposition(|w| *w > 0.0).map_or(begin, |last| last + 1);
            Band { first: begin, weights: all[begin..end].to_vec() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_turn_back() {
        for scale in [Scale::Htk, Scale::Slaney, Scale::Kaldi] {
            for hertz in [0.0, 100.0, 999.0, 1000.0, 4321.0, 20_000.0] {
                assert!((scale.hertz(scale.mels(hertz)) - hertz).abs() < 1e-6, "{scale:?} {hertz}");
            }
        }
        // librosa's own documentation: 60 Hz are 0.9 mel, HTK's 1000 Hz are 1000 mel.
        assert!((Scale::Slaney.mels(60.0) - 0.9).abs() < 1e-9 && (Scale::Htk.mels(1000.0) - 1000.0).abs() < 0.1);
    }
}
