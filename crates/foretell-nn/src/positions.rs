//! Fixed sine–cosine position codes.

use burn::tensor::Tensor;
use foretell_ops as ops;

/// One-dimensional code of width `width` (even): `[sin(p ω) | cos(p ω)]`, `ω_i = 10000^(−i / (width / 2))`.
fn code(position: f64, width: usize) -> impl Iterator<Item = f32> {
    let half = width / 2;
    let angle = move |i: usize| position / 10_000_f64.powf(i as f64 / half as f64);
    (0..half).map(move |i| angle(i).sin() as f32).chain((0..half).map(move |i| angle(i).cos() as f32))
}

/// I-JEPA's two-dimensional code, `[rows · cols, width]` row-major in raster order: the **first** half of the width
/// encodes the column, the second the row (the released code's order; V-JEPA's helper has it the other way round).
/// `width` must be a multiple of 4.
pub fn sincos_2d(rows: usize, cols: usize, width: usize) -> Vec<f32> {
    sincos_2d_spread((rows, cols), (rows, cols), width)
}

/// The code of a coarser or finer `grid` whose tokens lie evenly over the area of the grid `over`: what a view of
/// another resolution gets, so that the same place in the picture keeps the same code.
pub fn sincos_2d_spread(grid: (usize, usize), over: (usize, usize), width: usize) -> Vec<f32> {
    let place = |i: usize, n: usize, over: usize| (i as f64 + 0.5) * over as f64 / n as f64 - 0.5;
    let mut values = Vec::with_capacity(grid.0 * grid.1 * width);
    for row in 0..grid.0 {
        for col in 0..grid.1 {
            values.extend(code(place(col, grid.1, over.1), width / 2));
            values.extend(code(place(row, grid.0, over.0), width / 2));
        }
    }
    values
}

/// Rows of a table by index.
///
/// # Shapes
/// - `table`: `[N, D]`; `indices`: `[B, K]` row-major, each below N; output: `[B, K, D]`
pub fn gather(table: Tensor<2>, indices: &[u32], batch: usize) -> Tensor<3> {
    let [_, width] = table.dims();
    ops::gather(table, indices).reshape([batch, indices.len() / batch.max(1), width])
}

/// Tokens of each sample by index.
///
/// # Shapes
/// - `tokens`: `[B, N, D]`; `indices`: `[B, K]` row-major, each below N; output: `[B, K, D]`
pub fn gather_tokens(tokens: Tensor<3>, indices: &[u32]) -> Tensor<3> {
    let [b, n, width] = tokens.dims();
    let per_sample = indices.len() / b.max(1);
    let flat: Vec<u32> =
        indices.iter().enumerate().map(|(i, token)| (i / per_sample.max(1) * n) as u32 + token).collect();
    gather(tokens.reshape([b * n, width]), &flat, b)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    #[test]
    fn the_first_half_is_the_column() {
        let (rows, cols, width) = (3, 5, 8);
        let table = sincos_2d(rows, cols, width);
        let token = |row: usize, col: usize| &table[(row * cols + col) * width..][..width];
        assert_eq!(token(0, 3)[..4], token(2, 3)[..4]);
        assert_eq!(token(2, 0)[4..], token(2, 4)[4..]);
        // position 3, ω = [1, 0.01]
        let expected = [3_f64.sin(), 0.03_f64.sin(), 3_f64.cos(), 0.03_f64.cos()].map(|x| x as f32);
        assert_eq!(token(1, 3)[..4], expected);
    }

    #[test]
    fn gathering_takes_each_samples_own_rows() {
        let device = burn::tensor::Device::flex();
        let tokens =
            Tensor::<1>::from_data(TensorData::new((0..12).map(|i| i as f32).collect::<Vec<_>>(), [12]), &device)
                .reshape([2, 3, 2]);
        let got = gather_tokens(tokens, &[2, 0, 1, 1]).into_data_as::<f32>().try_into_vec::<f32>().unwrap();
        assert_eq!(got, vec![4.0, 5.0, 0.0, 1.0, 8.0, 9.0, 8.0, 9.0]);
    }
}
