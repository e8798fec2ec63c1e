//! Convolutions whose patches are read where they lie, by the kernel for vectors.

use crate::conv::Lengths;
use crate::kernel::{self, Start, Strip};
use crate::matrix::{Matrix, Placed, Ready, product_once, product_placed, room, takes_panels};
use crate::simd::dispatch;

/// Where the patches of a piece's samples begin in their padded input.
pub(crate) struct Places {
    l: Lengths,
    /// As many positions beside each other as the kernel has rows, for the whole piece.
    strips: Vec<Strip>,
    /// Strips of a sample.
    of_sample: usize,
}

/// Scratch of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Of those who gather.
    pub patches: Vec<f32>,
    pub padded: Vec<f32>,
    turned: Vec<f32>,
    panel: Vec<f32>,
}

/// Output columns from which on a strip of them fills the kernel: with four of 256 channels gathering was 5 % quicker.
const COLUMNS: usize = 8;

/// Values of a patch's row from which on it is worth a pass of its own.
const RUN: usize = 48;

/// Positions that a weight gradient takes at a time: a panel of their values stays in L1, or nearly.
const DEPTH: usize = 256;

impl Places {
    /// `None` where patches are better gathered, or are the input itself.
    pub(crate) fn of(l: Lengths, samples: usize) -> Option<Self> {
        if l.is_pointwise() || l.out_width() < COLUMNS || l.kernel * l.channels < RUN || !takes_panels() {
            return None;
        }
        let row = l.stride * l.channels;
        // Of much the same length: 4 and 4 of 8 where there is room for 6.
        let long = l.out_width().div_ceil(l.out_width().div_ceil(kernel::rows()));
        let strips: Vec<Strip> = (0..samples * l.out_height())
            .flat_map(|line| {
                let (sample, y) = (line / l.out_height(), line % l.out_height());
                let left = sample * padded_sample(l) + y * l.stride * padded_row(l);
                (0..l.out_width()).step_by(long).map(move |x| Strip {
                    left: left + x * row,
                    top: line * l.out_width() + x,
                    rows: long.min(l.out_width() - x),
                })
            })
            .collect();
        let of_sample = strips.len() / samples.max(1);
        Some(Self { l, strips, of_sample })
    }

    /// Some samples with their border of zeros.
    pub(crate) fn pad<'a>(&self, x: &'a [f32], own: &'a mut Vec<f32>) -> &'a [f32] {
        let l = self.l;
        if l.padding == 0 {
            return x;
        }
        let (line, border) = (l.width * l.channels, l.padding * l.channels);
        let padded = room(own, x.len() / l.sample() * padded_sample(l));
        for (to, x) in padded.chunks_exact_mut(padded_sample(l)).zip(x.chunks_exact(l.sample())) {
            let (above, rest) = to.split_at_mut(l.padding * padded_row(l));
            let (lines, below) = rest.split_at_mut(l.height * padded_row(l));
            above.fill(0.0);
            below.fill(0.0);
            for (to, x) in lines.chunks_exact_mut(padded_row(l)).zip(x.chunks_exact(line)) {
                to[..border].fill(0.0);
                to[border..border + line].copy_from_slice(x);
                to[border + line..].fill(0.0);
            }
        }
        padded
    }

    /// Padded samples times the weights, `[k·k·C, O]`: one pass for each row of the patches.
    pub(crate) fn product(&self, padded: &[f32], w: &Ready, y: &mut [f32]) {
        let l = self.l;
        let strips = &self.strips[..y.len() / (l.positions() * l.outputs) * self.of_sample];
        let inner = l.kernel * l.channels;
        for line in 0..l.kernel {
            let values = &padded[line * padded_row(l)..];
            let start = if line == 0 { Start::Zero } else { Start::Kept };
            product_placed(y, start, Placed { values, strips, row: l.stride * l.channels, inner }, w, line * inner);
        }
    }

    /// `dw += dyᵀ patches` over some samples, `dw` `[O, k·k·C]`.
    pub(crate) fn add_weight_gradient(&self, x: &[f32], dy: &[f32], dw: &mut [f32], s: &mut Scratch) {
        let l = self.l;
        let (n, inner, whole) = (dy.len() / l.outputs, l.kernel * l.channels, kernel::panel());
        let Scratch { padded, turned, panel, .. } = s;
        let padded = self.pad(x, padded);
        // Rows a little apart, so that eight of them do not meet in the same lines of the cache.
        let long = n + 16;
        let turned = room(turned, l.outputs * long);
        kernel::transpose(dy, l.outputs, n, l.outputs, turned, long);
        let at: Vec<usize> = (0..n / l.positions() * self.of_sample)
            .flat_map(|i| (0..self.strips[i].rows).map(move |r| (i, r)))
            .map(|(i, r)| self.strips[i].left + r * l.stride * l.channels)
            .collect();
        for (chunk, at) in at.chunks(DEPTH).enumerate() {
            let dy = Matrix::strided(&turned[chunk * DEPTH..], l.outputs, at.len(), long);
            for line in 0..l.kernel {
                for first in (0..inner).step_by(whole) {
                    let width = whole.min(inner - first);
                    let panel = room(panel, DEPTH * whole);
                    copy(&padded[line * padded_row(l) + first..], at, width, (panel, whole));
                    let out = &mut dw[line * inner + first..];
                    product_once(out, l.patch(), Start::Kept, dy, Matrix::strided(panel, at.len(), width, whole));
                }
            }
        }
    }
}

/// The first `width` values from each of these places on, one row of a panel each, rows `whole` apart.
fn copy(from: &[f32], at: &[usize], width: usize, (panel, whole): (&mut [f32], usize)) {
    /// Lengths that the compiler knows.
    #[inline(always)]
    fn known<const N: usize>(from: &[f32], at: &[usize], panel: &mut [f32]) {
        for (to, &at) in panel.chunks_exact_mut(N).zip(at) {
            to.copy_from_slice(&from[at..at + N]);
        }
    }
    dispatch(
        #[inline(always)]
        || match whole {
            48 if width == 48 => known::<48>(from, at, panel),
            24 if width == 24 => known::<24>(from, at, panel),
            16 if width == 16 => known::<16>(from, at, panel),
            _ => {
                for (to, &at) in panel.chunks_exact_mut(whole).zip(at) {
                    to[..width].copy_from_slice(&from[at..at + width]);
                }
            }
        },
    );
}

fn padded_row(l: Lengths) -> usize {
    (l.width + 2 * l.padding) * l.channels
}

fn padded_sample(l: Lengths) -> usize {
    (l.height + 2 * l.padding) * padded_row(l)
}

/// The input's gradient of a convolution of stride 1: the output's gradient under the mirrored kernel.
pub(crate) struct Back {
    places: Places,
    w: Ready,
}

impl Back {
    /// `weight` is `[O, k, k, C]`; `None` where patches are better gathered.
    pub(crate) fn of(l: Lengths, samples: usize, weight: &[f32]) -> Option<Self> {
        if l.stride != 1 || l.padding >= l.kernel {
            return None;
        }
        let mirrored = Lengths {
            height: l.out_height(),
            width: l.out_width(),
            channels: l.outputs,
            outputs: l.channels,
            padding: l.kernel - 1 - l.padding,
            ..l
        };
        let places = Places::of(mirrored, samples)?;
        // [k, k, O, C], both kernel axes turned round.
        let (spots, c) = (l.kernel * l.kernel, l.channels);
        let mut turned = vec![0.0; weight.len()];
        for (i, to) in turned.chunks_exact_mut(c).enumerate() {
            let (spot, output) = (spots - 1 - i / l.outputs, i % l.outputs);
            to.copy_from_slice(&weight[(output * spots + spot) * c..][..c]);
        }
        let w = Ready::of(Matrix::new(&turned, spots * l.outputs, c));
        Some(Self { places, w })
    }

    /// Some samples' gradient.
    pub(crate) fn apply(&self, dy: &[f32], dx: &mut [f32], own: &mut Vec<f32>) {
        self.places.product(self.places.pad(dy, own), &self.w, dx);
    }
}
