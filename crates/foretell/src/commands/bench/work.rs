//! Arithmetic counted from shapes: a multiplication and an addition are two operations, matrix products alone are counted.

/// A transformer block over sets of tokens.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub width: usize,
    pub hidden: usize,
}

impl Block {
    /// Operations of a forward pass over `sets` sets of `len` tokens.
    pub(super) fn forward(self, sets: usize, len: usize) -> f64 {
        let rows = (sets * len) as f64;
        let maps = 2.0 * (4 * self.width * self.width + 2 * self.width * self.hidden) as f64;
        rows * (maps + 4.0 * (len * self.width) as f64)
    }
}

/// Operations of `rows` through an affine map.
pub(super) fn linear(rows: usize, inputs: usize, outputs: usize) -> f64 {
    2.0 * rows as f64 * inputs as f64 * outputs as f64
}

/// Operations of a residual network's forward pass on images of `side` pixels.
pub(super) fn residual(
    images: usize,
    side: usize,
    channels: usize,
    widths: &[usize],
    blocks: usize,
    stem: (usize, usize),
) -> f64 {
    let conv = |side: usize, inputs: usize, outputs: usize, kernel: usize| {
        2.0 * (images * side * side * inputs * outputs * kernel * kernel) as f64
    };
    let mut side = side.div_ceil(stem.1);
    let mut total = conv(side, channels, widths[0], stem.0);
    let mut inputs = widths[0];
    for (stage, width) in widths.iter().enumerate() {
        for block in 0..blocks {
            if stage > 0 && block == 0 {
                side = side.div_ceil(2);
            }
            total += conv(side, inputs, *width, 3) + conv(side, *width, *width, 3);
            if inputs != *width {
                total += conv(side, inputs, *width, 1);
            }
            inputs = *width;
        }
    }
    total
}
