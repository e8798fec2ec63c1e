//! The power spectra of many real frames at a time: a Stockham transform of any length whose innermost loops run over frames.

use std::f64::consts::TAU;

/// Complex transforms that go through together; each holds two real frames.
const LANES: usize = 8;
/// Real frames that go through together.
pub(super) const TOGETHER: usize = 2 * LANES;

/// One number of each transform.
type Lanes = [f32; LANES];

/// The transform of one length.
#[derive(Clone, Debug)]
pub(super) struct Fourier {
    length: usize,
    stages: Vec<Stage>,
}

/// One pass: transforms of the length `radix`, and the turns behind them.
#[derive(Clone, Debug)]
struct Stage {
    radix: usize,
    /// `length / radix` of what is left at this stage.
    parts: usize,
    stride: usize,
    /// `e^(-2πi p k / n)`, by p and k.
    turns: Vec<(f32, f32)>,
    /// `e^(-2πi j k / radix)`, by j and k.
    roots: Vec<(f32, f32)>,
}

/// Room for one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    real: Vec<Lanes>,
    imaginary: Vec<Lanes>,
    real_next: Vec<Lanes>,
    imaginary_next: Vec<Lanes>,
}

impl Fourier {
    pub(super) fn new(length: usize) -> Self {
        let (mut left, mut stride, mut stages) = (length.max(1), 1, Vec::new());
        while left > 1 {
            let radix =
                if left.is_multiple_of(4) { 4 } else { (2..=left).find(|r| left.is_multiple_of(*r)).unwrap_or(left) };
            let parts = left / radix;
            let turn = |numerator: usize, of: usize| {
                let angle = -TAU * (numerator % of) as f64 / of as f64;
                (angle.cos() as f32, angle.sin() as f32)
            };
            let turns =
                (0..parts).flat_map(|p| (0..radix).map(move |k| (p * k, left))).map(|(a, of)| turn(a, of)).collect();
            let roots = (0..radix).flat_map(|j| (0..radix).map(move |k| j * k)).map(|a| turn(a, radix)).collect();
            stages.push(Stage { radix, parts, stride, turns, roots });
            (left, stride) = (parts, stride * radix);
        }
        Self { length: length.max(1), stages }
    }

    /// Bins of a real frame's spectrum.
    pub(super) fn bins(&self) -> usize {
        self.length / 2 + 1
    }

    /// `|X|²` of at most [`TOGETHER`] frames. `frame(i, out)` writes frame `i` into `out`, which has its length; `power` becomes
    /// `[bins][TOGETHER]`.
    pub(super) fn power(
        &self,
        room: &mut Room,
        count: usize,
        mut frame: impl FnMut(usize, &mut [f32]),
        scratch: &mut Vec<f32>,
        power: &mut Vec<[f32; TOGETHER]>,
    ) {
        let n = self.length;
        for buffer in [&mut room.real, &mut room.imaginary, &mut room.real_next, &mut room.imaginary_next] {
            buffer.resize(n, [0.0; LANES]);
        }
        scratch.resize(n, 0.0);
        for i in 0..TOGETHER {
            if i < count {
                frame(i, scratch);
            } else {
                scratch.fill(0.0);
            }
            let into = if i % 2 == 0 { &mut room.real } else { &mut room.imaginary };
            into.iter_mut().zip(scratch.iter()).for_each(|(lanes, x)| lanes[i / 2] = *x);
        }
        for stage in &self.stages {
            stage.run(&room.real, &room.imaginary, &mut room.real_next, &mut room.imaginary_next);
            std::mem::swap(&mut room.real, &mut room.real_next);
            std::mem::swap(&mut room.imaginary, &mut room.imaginary_next);
        }
        power.resize(self.bins(), [0.0; TOGETHER]);
        for (k, out) in power.iter_mut().enumerate() {
            let mirror = (n - k) % n;
            let (re, im, back_re, back_im) =
                (&room.real[k], &room.imaginary[k], &room.real[mirror], &room.imaginary[mirror]);
            for lane in 0..LANES {
                // Two real frames as one complex: their spectra are the even and the odd part.
                let (a, b) = (re[lane] + back_re[lane], im[lane] - back_im[lane]);
                let (c, d) = (im[lane] + back_im[lane], back_re[lane] - re[lane]);
                out[2 * lane] = 0.25 * (a * a + b * b);
                out[2 * lane + 1] = 0.25 * (c * c + d * d);
            }
        }
    }
}

impl Stage {
    fn run(&self, re: &[Lanes], im: &[Lanes], re_out: &mut [Lanes], im_out: &mut [Lanes]) {
        let Self { radix, parts, stride, .. } = *self;
        for p in 0..parts {
            let turns = &self.turns[p * radix..][..radix];
            for q in 0..stride {
                let at = |j: usize| q + stride * (p + parts * j);
                let to = |k: usize| q + stride * (radix * p + k);
                match radix {
                    2 => {
                        let (a, b) = ((&re[at(0)], &im[at(0)]), (&re[at(1)], &im[at(1)]));
                        let (wr, wi) = turns[1];
                        for lane in 0..LANES {
                            let (dr, di) = (a.0[lane] - b.0[lane], a.1[lane] - b.1[lane]);
                            re_out[to(0)][lane] = a.0[lane] + b.0[lane];
                            im_out[to(0)][lane] = a.1[lane] + b.1[lane];
                            re_out[to(1)][lane] = dr * wr - di * wi;
                            im_out[to(1)][lane] = dr * wi + di * wr;
                        }
                    }
                    4 => four(re, im, re_out, im_out, at, to, turns),
                    _ => self.any(re, im, re_out, im_out, at, to, turns),
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "two halves of two buffers and how they are walked")]
    fn any(
        &self,
        re: &[Lanes],
        im: &[Lanes],
        re_out: &mut [Lanes],
        im_out: &mut [Lanes],
        at: impl Fn(usize) -> usize,
        to: impl Fn(usize) -> usize,
        turns: &[(f32, f32)],
    ) {
        for (k, (wr, wi)) in turns.iter().enumerate() {
            let (mut sum_re, mut sum_im) = ([0.0; LANES], [0.0; LANES]);
            for j in 0..self.radix {
                let (cr, ci) = self.roots[j * self.radix + k];
                let (a, b) = (&re[at(j)], &im[at(j)]);
                for lane in 0..LANES {
                    sum_re[lane] += a[lane] * cr - b[lane] * ci;
                    sum_im[lane] += a[lane] * ci + b[lane] * cr;
                }
            }
            let (out_re, out_im) = (&mut re_out[to(k)], &mut im_out[to(k)]);
            for lane in 0..LANES {
                out_re[lane] = sum_re[lane] * wr - sum_im[lane] * wi;
                out_im[lane] = sum_re[lane] * wi + sum_im[lane] * wr;
            }
        }
    }
}

/// A transform of the length 4.
fn four(
    re: &[Lanes],
    im: &[Lanes],
    re_out: &mut [Lanes],
    im_out: &mut [Lanes],
    at: impl Fn(usize) -> usize,
    to: impl Fn(usize) -> usize,
    turns: &[(f32, f32)],
) {
    let [r0, r1, r2, r3] = [0, 1, 2, 3].map(|j| re[at(j)]);
    let [i0, i1, i2, i3] = [0, 1, 2, 3].map(|j| im[at(j)]);
    let (mut out_re, mut out_im) = ([[0.0_f32; LANES]; 4], [[0.0_f32; LANES]; 4]);
    for lane in 0..LANES {
        let (ar, ai) = (r0[lane] + r2[lane], i0[lane] + i2[lane]);
        let (br, bi) = (r0[lane] - r2[lane], i0[lane] - i2[lane]);
        let (cr, ci) = (r1[lane] + r3[lane], i1[lane] + i3[lane]);
        // Turned by -i.
        let (dr, di) = (i1[lane] - i3[lane], r3[lane] - r1[lane]);
        for (k, (xr, xi)) in
            [(ar + cr, ai + ci), (br + dr, bi + di), (ar - cr, ai - ci), (br - dr, bi - di)].into_iter().enumerate()
        {
            let (wr, wi) = turns[k];
            out_re[k][lane] = xr * wr - xi * wi;
            out_im[k][lane] = xr * wi + xi * wr;
        }
    }
    for k in 0..4 {
        re_out[to(k)] = out_re[k];
        im_out[to(k)] = out_im[k];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectra_of_every_length_are_those_of_the_definition() {
        let value = |frame: usize, i: usize| ((frame * 31 + i * 17) % 23) as f32 / 23.0 - 0.4;
        for n in [1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 30, 49, 64, 100, 200, 242, 256, 400] {
            let fourier = Fourier::new(n);
            let (mut power, count) = (Vec::new(), 5);
            let write =
                |frame: usize, out: &mut [f32]| out.iter_mut().enumerate().for_each(|(i, x)| *x = value(frame, i));
            fourier.power(&mut Room::default(), count, write, &mut Vec::new(), &mut power);
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
