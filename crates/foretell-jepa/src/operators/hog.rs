//! Histograms of oriented gradients, one for each cell of a patch.

use std::f32::consts::PI;

use super::boxes::mirrored;

/// Writes the histograms of an image `[C, H, W]` as `[N, C · cells · cells · bins]`. Cells divide a patch as evenly as whole pixels
/// can; a cell without a gradient is all zeros.
pub(super) fn patches(
    image: &[f32],
    (height, width): (usize, usize),
    patch: usize,
    bins: usize,
    cells: usize,
    out: &mut [f32],
) {
    let (rows, cols) = (height / patch, width / patch);
    let channels = image.len() / (height * width);
    let token_width = channels * cells * cells * bins;
    for (channel, plane) in image.chunks_exact(height * width).enumerate() {
        for y in 0..rows * patch {
            let row = |y: usize| &plane[y * width..][..width];
            let (above, here, below) =
                (row(mirrored(y as isize - 1, height)), row(y), row(mirrored(y as isize + 1, height)));
            for x in 0..cols * patch {
                let dx = here[mirrored(x as isize + 1, width)] - here[mirrored(x as isize - 1, width)];
                let dy = below[x] - above[x];
                let magnitude = (dx * dx + dy * dy).sqrt();
                if magnitude == 0.0 {
                    continue;
                }
                // In bins, their centres at whole numbers; a direction and its opposite are one.
                let place = dy.atan2(dx).rem_euclid(PI) / PI * bins as f32;
                let share = place.fract();
                let low = place as usize % bins;
                let cell = (y % patch * cells / patch) * cells + x % patch * cells / patch;
                let token = y / patch * cols + x / patch;
                let histogram = &mut out[token * token_width + (channel * cells * cells + cell) * bins..][..bins];
                histogram[low] += magnitude * (1.0 - share);
                histogram[(low + 1) % bins] += magnitude * share;
            }
        }
    }
    for histogram in out.chunks_exact_mut(bins) {
        let length = histogram.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            for value in histogram {
                *value /= length;
            }
        }
    }
}
