//! The power spectra of many real frames at a time, two of them in each complex transform. The transform is `rustfft`'s, which takes the
//! widest vectors that the processor has: last bits of a spectrum differ between processors.

use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

/// Real frames whose spectra stand side by side: few enough that all of them lie in the nearest cache.
pub(super) const TOGETHER: usize = 8;

/// The transform of one length.
#[derive(Clone)]
pub(super) struct Fourier(Arc<dyn Fft<f32>>);

/// Room for one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    frames: [Vec<f32>; 2],
    both: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl std::fmt::Debug for Fourier {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Fourier").field(&self.0.len()).finish()
    }
}

impl Fourier {
    pub(super) fn new(length: usize) -> Self {
        Self(FftPlanner::new().plan_fft_forward(length.max(1)))
    }

    /// `|X|²` of at most [`TOGETHER`] frames. `frame(i, out)` writes frame `i` into `out`, which has its length; `power` becomes
    /// `[bins][TOGETHER]`, of `length / 2 + 1` bins.
    pub(super) fn power(
        &self,
        room: &mut Room,
        count: usize,
        mut frame: impl FnMut(usize, &mut [f32]),
        power: &mut Vec<[f32; TOGETHER]>,
    ) {
        let n = self.0.len();
        let Room { frames, both, scratch } = room;
        for frame in frames.iter_mut() {
            frame.resize(n, 0.0);
        }
        scratch.resize(self.0.get_inplace_scratch_len(), Complex32::default());
        power.resize(n / 2 + 1, [0.0; TOGETHER]);
        for pair in 0..TOGETHER / 2 {
            for (i, into) in frames.iter_mut().enumerate() {
                if 2 * pair + i < count {
                    frame(2 * pair + i, into);
                } else {
                    into.fill(0.0);
                }
            }
            both.clear();
            both.extend(frames[0].iter().zip(&frames[1]).map(|(re, im)| Complex32 { re: *re, im: *im }));
            self.0.process_with_scratch(both, scratch);
            // Their spectra are the even and the odd part of what came of both: a bin and its mirror image.
            let mirrors = both[..1].iter().chain(both[1..].iter().rev());
            for ((out, x), y) in power.iter_mut().zip(both.iter()).zip(mirrors) {
                out[2 * pair] = 0.25 * ((x.re + y.re).powi(2) + (x.im - y.im).powi(2));
                out[2 * pair + 1] = 0.25 * ((x.im + y.im).powi(2) + (y.re - x.re).powi(2));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    #[test]
    fn spectra_of_every_length_are_those_of_the_definition() {
        let value = |frame: usize, i: usize| ((frame * 31 + i * 17) % 23) as f32 / 23.0 - 0.4;
        for n in [1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 30, 49, 64, 100, 200, 242, 256, 400] {
            let fourier = Fourier::new(n);
            let (mut power, count) = (vec![[1.0; TOGETHER]; 1], 5);
            let write =
                |frame: usize, out: &mut [f32]| out.iter_mut().enumerate().for_each(|(i, x)| *x = value(frame, i));
            fourier.power(&mut Room::default(), count, write, &mut power);
            assert_eq!(power.len(), n / 2 + 1);
            for (k, found) in power.iter().enumerate() {
                for (frame, found) in found.iter().enumerate() {
                    let (mut re, mut im) = (0.0_f64, 0.0_f64);
                    for i in 0..if frame < count { n } else { 0 } {
                        let (sin, cos) = (TAU * (k * i % n) as f64 / n as f64).sin_cos();
                        re += f64::from(value(frame, i)) * cos;
                        im -= f64::from(value(frame, i)) * sin;
                    }
                    let expected = re * re + im * im;
                    assert!(
                        (f64::from(*found) - expected).abs() < 1e-4 * (n as f64) * (1.0 + expected.sqrt()),
                        "{n} {k} {frame}: {found} {expected}"
                    );
                }
            }
        }
    }
}
