//! Sums over windows of any size at the cost of four look-ups: an integral image (Crow, 1984) of the mirrored picture.

/// Sums of all that lies above and to the left, in f64: over 10⁸ pixels the error of a window's sum stays below 10⁻⁷.
pub(super) struct Boxes {
    size: (usize, usize),
    /// Mirrored pixels on each side.
    reach: usize,
    /// `[H + 2 · reach + 1, stride]`.
    sums: Vec<f64>,
    /// `W + 2 · reach + 1`.
    stride: usize,
}

/// The pixel of `len` that position `at` mirrors: borders are not repeated, and a short picture is mirrored again and again.
pub(super) fn mirrored(at: isize, len: usize) -> usize {
    let period = (2 * (len as isize - 1)).max(1);
    let at = at.rem_euclid(period) as usize;
    if at < len { at } else { period as usize - at }
}

impl Boxes {
    /// Of one plane `[H, W]`, each pixel plus `offset`, for windows of radii up to `reach`.
    pub(super) fn new(plane: &[f32], size: (usize, usize), reach: usize, offset: f64) -> Self {
        let (height, width) = size;
        let stride = width + 2 * reach + 1;
        let mut sums = vec![0.0; (height + 2 * reach + 1) * stride];
        let cols: Vec<usize> = (1..stride).map(|x| mirrored(x as isize - 1 - reach as isize, width)).collect();
        for y in 0..height + 2 * reach {
            let row = &plane[mirrored(y as isize - reach as isize, height) * width..][..width];
            let (above, below) = sums[y * stride..].split_at_mut(stride);
            let mut sum = 0.0;
            for ((out, above), &x) in below[1..stride].iter_mut().zip(&above[1..]).zip(&cols) {
                sum += f64::from(row[x]) + offset;
                *out = above + sum;
            }
        }
        Self { size, reach, sums, stride }
    }

    /// The integral's row above padded row `y`, from padded column `x` on.
    fn row(&self, y: usize, x: usize) -> &[f64] {
        &self.sums[y * self.stride + x..]
    }

    /// `of` the sums over the left, right, upper and lower half of each pixel's window of radius `k`, halves with the middle
    /// line, `[H, W]`.
    pub(super) fn halves(&self, k: usize, map: &mut [f32], of: impl Fn([f64; 4]) -> f32) {
        let (_, width) = self.size;
        for (y, map) in map.chunks_exact_mut(width).enumerate() {
            // Four lines of the integral: above the window, above and below its middle row, below the window.
            let lines = [y + self.reach - k, y + self.reach, y + self.reach + 1, y + self.reach + k + 1];
            let first = self.reach - k;
            let [above, before, behind, below] = lines.map(|line| &self.row(line, first)[..=width + 2 * k]);
            for (x, out) in map.iter_mut().enumerate() {
                // Left of the window, left and right of its middle column, right of the window.
                let (a, b, c, d) = (x, x + k, x + k + 1, x + 2 * k + 1);
                let strip = |x: usize| below[x] - above[x];
                let left = strip(c) - strip(a);
                let right = strip(d) - strip(b);
                let top = (behind[d] - behind[a]) - (above[d] - above[a]);
                let bottom = (below[d] - below[a]) - (before[d] - before[a]);
                *out = of([left, right, top, bottom]);
            }
        }
    }

    /// `of` the sum over each pixel's window of radius `k`, `[H, W]`.
    pub(super) fn sums(&self, k: usize, map: &mut [f32], of: impl Fn(f64) -> f32) {
        let (_, width) = self.size;
        for (y, map) in map.chunks_exact_mut(width).enumerate() {
            let first = self.reach - k;
            let (above, below) = (self.row(y + self.reach - k, first), self.row(y + self.reach + k + 1, first));
            for (x, out) in map.iter_mut().enumerate() {
                let d = x + 2 * k + 1;
                *out = of((below[d] - below[x]) - (above[d] - above[x]));
            }
        }
    }
}
