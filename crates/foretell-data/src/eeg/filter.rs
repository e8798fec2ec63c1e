//! From a recorder's rate and range of frequencies to those of all windows.
//!
//! Slow drifts are taken out by a Butterworth high pass of second order that runs forwards and backwards, so that nothing is shifted in
//! time; what is too fast for the new rate, or above the band, by a windowed sinc that resamples as well.

use std::f64::consts::PI;

/// Zero crossings of the sinc on either side.
const CROSSINGS: f64 = 8.0;
/// Positions between two samples that are worked out beforehand, at most.
const PHASES: usize = 4_096;
/// Seconds on either side of a window that the high pass settles in, at the most.
const SETTLES: f64 = 3.0;

/// How one signal's samples become those of a window.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    from: f64,
    to: f64,
    /// Butterworth `[b0, b1, b2, a1, a2]`; none where nothing slow is taken out.
    high_pass: Option<[f64; 5]>,
    /// Samples of a kernel on either side of its middle.
    reach: usize,
    /// Kernels for each position between two samples, one after the other, where the positions repeat.
    kernels: Vec<Vec<f64>>,
    cutoff: f64,
}

impl Filter {
    /// From so many samples in a second to so many others, with what lies in `band`, in Hz, left; 0 takes out nothing slow.
    pub(crate) fn new(from: f64, to: f64, (low, high): (f64, f64)) -> Self {
        let cutoff = high.min(0.45 * from).min(0.45 * to);
        let high_pass = (low > 0.0 && low < from / 2.0).then(|| butterworth(low / from));
        let reach = (CROSSINGS * from / (2.0 * cutoff)).ceil() as usize;
        let mut filter = Self { from, to, high_pass, reach, kernels: Vec::new(), cutoff };
        let phases = (1..=PHASES).find(|count| {
            let steps = *count as f64 * from / to;
            (steps - steps.round()).abs() < 1e-9
        });
        filter.kernels = (0..phases.unwrap_or(0)).map(|at| filter.kernel((at as f64 * from / to).fract())).collect();
        filter
    }

    /// Samples that are needed before and behind those of a window.
    pub(crate) fn margin(&self) -> usize {
        let settles = if self.high_pass.is_some() { (SETTLES * self.from).ceil() as usize } else { 0 };
        self.reach + 1 + settles
    }

    /// `count` samples at the new rate from the `first` one of `samples` on, which reach as far before and behind as there are some.
    /// What is missing of the [margin](Self::margin) is made by turning what is there about its last value.
    pub(crate) fn apply(&self, samples: &[f32], first: usize, count: usize) -> Vec<f32> {
        let needed = ((count.saturating_sub(1)) as f64 * self.from / self.to).ceil() as usize + 1;
        let margin = self.margin();
        let last = samples.len().saturating_sub(1);
        let value = |at: isize| -> f64 {
            let of = |at: usize| f64::from(samples.get(at.min(last)).copied().unwrap_or(0.0));
            match at {
                at if at < 0 => 2.0 * of(0) - of(at.unsigned_abs()),
                at if at as usize > last => 2.0 * of(last) - of(last.saturating_sub(at as usize - last)),
                at => of(at as usize),
            }
        };
        let begin = first as isize - margin as isize;
        let mut around: Vec<f64> = (0..needed + 2 * margin).map(|i| value(begin + i as isize)).collect();
        if let Some(high_pass) = self.high_pass {
            run(&mut around, high_pass);
            around.reverse();
            run(&mut around, high_pass);
            around.reverse();
        }
        let out = |i: usize| {
            let at = i as f64 * self.from / self.to;
            let whole = (at + 1e-9).floor();
            let middle = margin + whole as usize;
            let taps = &around[middle - self.reach..=middle + self.reach];
            let sum = |kernel: &[f64]| kernel.iter().zip(taps).map(|(a, b)| a * b).sum::<f64>() as f32;
            match self.kernels.len() {
                0 => sum(&self.kernel((at - whole).max(0.0))),
                phases => sum(&self.kernels[i % phases]),
            }
        };
        (0..count).map(out).collect()
    }

    /// Weights of the samples around a place that lies so far behind one of them; their sum is 1.
    fn kernel(&self, behind: f64) -> Vec<f64> {
        let width = 2.0 * self.cutoff / self.from;
        let behind = if behind > 1.0 - 1e-9 { 0.0 } else { behind };
        let one = |i: usize| {
            let x = i as f64 - self.reach as f64 - behind;
            let sinc = if x.abs() < 1e-12 { 1.0 } else { (PI * width * x).sin() / (PI * width * x) };
            let edge = (x / (self.reach as f64 + 1.0)).clamp(-1.0, 1.0);
            sinc * (0.5 + 0.5 * (PI * edge).cos())
        };
        let kernel: Vec<f64> = (0..=2 * self.reach).map(one).collect();
        let sum: f64 = kernel.iter().sum();
        kernel.into_iter().map(|x| x / sum).collect()
    }
}

/// A high pass at this share of the rate (bilinear transform of the analogue filter).
fn butterworth(share: f64) -> [f64; 5] {
    let k = (PI * share).tan();
    let norm = 1.0 / (1.0 + std::f64::consts::SQRT_2 * k + k * k);
    [norm, -2.0 * norm, norm, 2.0 * (k * k - 1.0) * norm, (1.0 - std::f64::consts::SQRT_2 * k + k * k) * norm]
}

/// One way through, as if the first value had always been.
fn run(values: &mut [f64], [b0, b1, b2, a1, a2]: [f64; 5]) {
    let Some(first) = values.first().copied() else { return };
    let mut second = b2 * first;
    let mut state = b1 * first + second;
    for x in values {
        let y = b0 * *x + state;
        state = b1 * *x - a1 * y + second;
        second = b2 * *x - a2 * y;
        *x = y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(hertz: f64, rate: f64, seconds: f64) -> Vec<f32> {
        (0..(rate * seconds) as usize).map(|i| (2.0 * PI * hertz * i as f64 / rate).sin() as f32).collect()
    }

    /// Largest distance of a filtered wave to the same wave at the new rate times `gain`.
    fn off(hertz: f64, from: f64, gain: f64) -> f64 {
        let filter = Filter::new(from, 128.0, (0.5, 40.0));
        let samples = wave(hertz, from, 20.0);
        let first = (8.0 * from) as usize;
        let filtered = filter.apply(&samples, first, 512);
        let expected = |i: usize| gain * (2.0 * PI * hertz * (first as f64 / from + i as f64 / 128.0)).sin();
        filtered.iter().enumerate().map(|(i, x)| (f64::from(*x) - expected(i)).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn what_lies_in_the_band_passes_unshifted_and_the_rest_goes() {
        for from in [256.0, 250.0, 160.0, 512.0, 1000.0, 128.0, 2048.0] {
            for hertz in [4.0, 10.0, 20.0] {
                assert!(off(hertz, from, 1.0) < 0.01, "{hertz} Hz from {from}: {}", off(hertz, from, 1.0));
            }
            // 50 Hz of the mains, and a slow drift.
            if from > 130.0 {
                assert!(off(50.0, from, 0.0) < 0.05, "{from}: {}", off(50.0, from, 0.0));
            }
            assert!(off(0.02, from, 0.0) < 0.02, "{from}: {}", off(0.02, from, 0.0));
        }
    }

    #[test]
    fn a_constant_and_the_ends_of_a_recording_give_no_jump() {
        let filter = Filter::new(256.0, 128.0, (0.5, 40.0));
        let flat = filter.apply(&[1e4; 1024], 0, 512);
        assert!(flat.iter().all(|x| x.abs() < 1e-3), "{:?}", flat.iter().fold(0.0_f32, |a, b| a.max(b.abs())));
        let ends = filter.apply(&wave(10.0, 256.0, 4.0), 0, 512);
        assert!(ends.iter().all(|x| x.abs() < 1.3));
        assert_eq!(filter.apply(&[], 0, 4).len(), 4);
    }

    #[test]
    fn nothing_slow_is_taken_out_where_that_is_not_asked() {
        let filter = Filter::new(256.0, 128.0, (0.0, 40.0));
        assert!(filter.apply(&[3.0; 1024], 256, 256).iter().all(|x| (x - 3.0).abs() < 1e-5));
    }
}
