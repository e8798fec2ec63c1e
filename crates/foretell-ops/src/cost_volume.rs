//! How alike the features of each place are to those around the same place of another map (PWC-Net, arXiv 1709.02371, section 3).

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::simd::dispatch;

/// `out[y, x, (dy + r) (2 r + 1) + dx + r] = mean_c a[y, x, c] · b[y + dy, x + dx, c]` for `|dy|, |dx| ≤ r`; beyond the edge 0.
///
/// # Shapes
/// - `a`, `b`: `[B, H, W, C]`; output: `[B, H, W, (2 r + 1)²]`
pub fn cost_volume(a: Tensor<4>, b: Tensor<4>, radius: usize) -> Tensor<4> {
    if is_fused(&a) && is_fused(&b) {
        return Tensor::from_dispatch(Dispatch::fused_cost_volume(a.into_dispatch(), b.into_dispatch(), radius));
    }
    cost_volume_composed(a, b, radius)
}

/// The composed body of [`cost_volume`].
pub fn cost_volume_composed(a: Tensor<4>, b: Tensor<4>, radius: usize) -> Tensor<4> {
    let [n, h, w, c] = a.dims();
    let device = b.device();
    let place = (&device, b.dtype());
    let padded = if radius == 0 {
        b
    } else {
        let side = Tensor::<4>::zeros([n, h, radius, c], place);
        let b = Tensor::cat(vec![side.clone(), b, side], 2);
        let above = Tensor::<4>::zeros([n, radius, w + 2 * radius, c], place);
        Tensor::cat(vec![above.clone(), b, above], 1)
    };
    let window = 2 * radius + 1;
    let shifted = |k: usize| padded.clone().narrow(1, k / window, h).narrow(2, k % window, w);
    Tensor::cat((0..window * window).map(|k| (a.clone() * shifted(k)).mean_dim(3)).collect(), 3)
}

/// The lengths of one call.
#[derive(Clone, Copy)]
struct Window {
    height: usize,
    width: usize,
    channels: usize,
    radius: usize,
}

impl Window {
    fn of(a: &FlexTensor, radius: usize) -> Self {
        let dims = dims(a);
        Self { height: dims[1], width: dims[2], channels: dims[3], radius }
    }

    fn side(self) -> usize {
        2 * self.radius + 1
    }

    /// The place of the map at `(dy, dx)` of the window around column `x` of row `row`, which counts through all maps.
    #[inline(always)]
    fn beside(self, row: usize, x: usize, k: usize) -> Option<usize> {
        let (dy, dx) = (k / self.side(), k % self.side());
        let y = (row % self.height + dy).checked_sub(self.radius).filter(|y| *y < self.height)?;
        let x = (x + dx).checked_sub(self.radius).filter(|x| *x < self.width)?;
        Some((row / self.height * self.height + y) * self.width + x)
    }
}

pub(crate) fn forward(a: &FlexTensor, b: &FlexTensor, radius: usize) -> FlexTensor {
    let window = Window::of(a, radius);
    let (c, costs, batch) = (window.channels, window.side().pow(2), dims(a)[0]);
    let (a, b, mut out) = (slice(a), slice(b), buffer(batch * window.height * window.width * costs));
    let scale = 1.0 / c.max(1) as f32;
    out.par_chunks_mut((window.width * costs).max(1)).enumerate().for_each(|(row, out)| {
        dispatch(
            #[inline(always)]
            || {
                for (x, out) in out.chunks_exact_mut(costs).enumerate() {
                    let a = &a[(row * window.width + x) * c..][..c];
                    for (k, out) in out.iter_mut().enumerate() {
                        *out = match window.beside(row, x, k) {
                            Some(place) => dot(a, &b[place * c..][..c]) * scale,
                            None => 0.0,
                        };
                    }
                }
            },
        );
    });
    tensor(out, [batch, window.height, window.width, costs])
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (mut of_a, mut of_b) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in (&mut of_a).zip(&mut of_b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane = a.mul_add(*b, *lane);
        }
    }
    let tail: f32 = of_a.remainder().iter().zip(of_b.remainder()).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + tail
}

pub(crate) fn backward(
    a: &FlexTensor,
    b: &FlexTensor,
    radius: usize,
    dy: &FlexTensor,
    want: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let window = Window::of(a, radius);
    let (c, costs, shape) = (window.channels, window.side().pow(2), dims(a));
    let (a, b, dy) = (slice(a), slice(b), slice(dy));
    let scale = 1.0 / c.max(1) as f32;
    // What a place of one map is given by the window of the other around it: for `b` the window is seen from its other end, so that
    // place k of the window around a place is place `costs − 1 − k` of the window around that one.
    let gradient = |other: &[f32], turned: bool| {
        let mut out = buffer(a.len());
        out.par_chunks_mut((window.width * c).max(1)).enumerate().for_each(|(row, out)| {
            dispatch(
                #[inline(always)]
                || {
                    out.fill(0.0);
                    for (x, out) in out.chunks_exact_mut(c).enumerate() {
                        for k in 0..costs {
                            let Some(place) = window.beside(row, x, k) else { continue };
                            let own = row * window.width + x;
                            let slope = if turned { dy[place * costs + costs - 1 - k] } else { dy[own * costs + k] };
                            let slope = slope * scale;
                            for (out, other) in out.iter_mut().zip(&other[place * c..][..c]) {
                                *out = other.mul_add(slope, *out);
                            }
                        }
                    }
                },
            );
        });
        tensor(out, shape.clone())
    };
    [want[0].then(|| gradient(b, false)), want[1].then(|| gradient(a, true))]
}
