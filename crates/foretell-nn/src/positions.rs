//! Fixed sine–cosine position codes, added to tokens or, as turns, to queries and keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use burn::tensor::Tensor;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

/// How many tokens a clip has in time, height and width; an image has one in time. Tokens are numbered frame by frame, each frame
/// in raster order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// In time.
    pub frames: usize,
    /// In height.
    pub rows: usize,
    /// In width.
    pub cols: usize,
}

impl Grid {
    /// Tokens in all.
    pub fn len(self) -> usize {
        self.frames * self.rows * self.cols
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Frame, row and column of a token.
    pub fn place(self, token: usize) -> [usize; 3] {
        let in_frame = token % (self.rows * self.cols);
        [token / (self.rows * self.cols), in_frame / self.cols, in_frame % self.cols]
    }
}

/// One-dimensional code of width `width` (even): `[sin(p ω) | cos(p ω)]`, `ω_i = 10000^(−i / (width / 2))`.
fn code(position: f64, width: usize) -> impl Iterator<Item = f32> {
    let half = width / 2;
    let angle = move |i: usize| position / 10_000_f64.powf(i as f64 / half as f64);
    (0..half).map(move |i| angle(i).sin() as f32).chain((0..half).map(move |i| angle(i).cos() as f32))
}

/// The one-dimensional codes of some places, `[N, width]` row-major; `width` must be even.
pub fn codes(places: &[u32], width: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(places.len() * width);
    // A place that came before has its code already: batches name few places many times.
    let mut rows = HashMap::new();
    for (row, place) in places.iter().enumerate() {
        match rows.entry(*place) {
            Entry::Occupied(first) => values.extend_from_within(first.get() * width..(first.get() + 1) * width),
            Entry::Vacant(first) => {
                first.insert(row);
                values.extend(code(f64::from(*place), width));
            }
        }
    }
    values
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

/// What a code's first half says: the released codes of I-JEPA and V-JEPA differ in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The column, as in I-JEPA.
    ColumnFirst,
    /// The row, as V-JEPA codes images.
    RowFirst,
}

/// A two-dimensional code in either order, `[rows · cols, width]` in raster order. `width` must be a multiple of 4.
pub fn sincos_2d_in(order: Order, rows: usize, cols: usize, width: usize) -> Vec<f32> {
    let mut values = sincos_2d(rows, cols, width);
    if order == Order::RowFirst {
        values.chunks_exact_mut(width.max(1)).for_each(|token| token.rotate_left(width / 2));
    }
    values
}

/// V-JEPA's three-dimensional code, `[frames · rows · cols, width]`: `[frame | row | column]`. With `uniform` power each part
/// has `2 ⌈width / 6⌉` values, and what goes beyond the width is cut off; otherwise the frame has half of the width, row and
/// column a quarter each. `width` must be a multiple of 8, or with uniform power of 2.
pub fn sincos_3d(grid: Grid, width: usize, uniform: bool) -> Vec<f32> {
    let parts = if uniform { [2 * width.div_ceil(6); 3] } else { [width / 2, width / 4, width / 4] };
    let token = |token: usize| {
        let place = grid.place(token);
        (0..3).flat_map(move |axis| code(place[axis] as f64, parts[axis])).take(width)
    };
    (0..grid.len()).flat_map(token).collect()
}

/// How the values of a head share the angles of rotary codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RopeStyle {
    /// Angles follow each other twice, `[θ₀ … θₖ₋₁ θ₀ … θₖ₋₁]`, though the pairs that are turned are neighbours: what V-JEPA 2 was
    /// trained with, 2-AC and transformers keep. Not quite a rotation.
    Tiled,
    /// Each angle twice in a row, `[θ₀ θ₀ θ₁ θ₁ …]`: a rotation of each pair, as in V-JEPA 2.1.
    Interleaved,
}

/// Three-dimensional rotary codes (V-JEPA 2, arXiv 2506.09985).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rope {
    /// How values share angles.
    pub style: RopeStyle,
    /// Rows and columns by which tokens are numbered, where not those of the input: transformers always counts by its configured
    /// crop.
    pub counted: Option<usize>,
    /// The side over which rows and columns are spread, where not their own: V-JEPA 2.1 keeps to the 16 of its pretraining.
    pub spread: Option<usize>,
}

impl Rope {
    /// The turns of tokens `at` in a grid, for heads of this width: a third of the values each for frame, row and column, as far as
    /// thirds are even; the rest is left as it is.
    pub fn turns(self, grid: Grid, head: usize, at: Vec<u32>) -> ops::Turns {
        let side = |own: usize| self.counted.unwrap_or(own);
        let numbered = Grid { frames: grid.frames, rows: side(grid.rows), cols: side(grid.cols) };
        let spread = |i: usize, of: usize| match self.spread {
            // One row has nowhere to be spread to.
            Some(over) if of > 1 => i as f64 * (over as f64 - 1.0) / (of as f64 - 1.0),
            _ => i as f64,
        };
        let place = |token: usize| {
            let [frame, row, col] = numbered.place(token);
            [frame as f64, spread(row, numbered.rows), spread(col, numbered.cols)]
        };
        let tokens = at.iter().max().map_or(0, |last| *last as usize + 1);
        turns(self.style, (0..tokens).map(place), head, at)
    }
}

/// The turns of rows `at` some of these places, each a frame, a row and a column.
pub fn turns(style: RopeStyle, places: impl Iterator<Item = [f64; 3]>, head: usize, at: Vec<u32>) -> ops::Turns {
    let axis = 2 * (head / 3 / 2);
    let wave: Vec<f64> = (0..axis / 2).map(|i| 10_000_f64.powf(i as f64 / (axis / 2) as f64)).collect();
    let angle = |place: [f64; 3], value: usize| {
        let (of, within) = (place[value / axis], value % axis);
        let i = match style {
            RopeStyle::Tiled => within % (axis / 2),
            RopeStyle::Interleaved => within / 2,
        };
        of / wave[i]
    };
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for place in places {
        for value in 0..head {
            let (s, c) = if value < 3 * axis { angle(place, value).sin_cos() } else { (0.0, 1.0) };
            cos.push(c as f32);
            sin.push(s as f32);
        }
    }
    ops::Turns::new(cos, sin, head, at)
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
    fn a_place_that_comes_again_has_its_code_again() {
        let each: Vec<f32> = [7, 0, 7, 2, 0].iter().flat_map(|place| codes(&[*place], 6)).collect();
        assert_eq!(codes(&[7, 0, 7, 2, 0], 6), each);
        assert_eq!(
            codes(&[7], 6)[..3],
            [7.0, 7.0 / 10_000_f64.powf(1.0 / 3.0), 7.0 / 10_000_f64.powf(2.0 / 3.0)].map(|x: f64| x.sin() as f32)
        );
    }

    #[test]
    fn the_other_order_has_the_row_first() {
        let (column, row) = (sincos_2d(3, 5, 8), sincos_2d_in(Order::RowFirst, 3, 5, 8));
        for (column, row) in column.chunks(8).zip(row.chunks(8)) {
            assert_eq!((&column[..4], &column[4..]), (&row[4..], &row[..4]));
        }
        assert_eq!(sincos_2d_in(Order::ColumnFirst, 3, 5, 8), column);
    }

    #[test]
    fn a_clips_code_names_frame_row_and_column() {
        let grid = Grid { frames: 2, rows: 3, cols: 4 };
        assert_eq!(grid.place(12 + 4 + 3), [1, 1, 3]);
        for (uniform, width, parts) in [(false, 16, [8, 4, 4]), (true, 16, [6, 6, 4])] {
            let table = sincos_3d(grid, width, uniform);
            assert_eq!(table.len(), grid.len() * width);
            for (token, values) in table.chunks(width).enumerate() {
                let mut first = 0;
                for (axis, part) in parts.into_iter().enumerate() {
                    // The same as of the token that lies there on this axis and at the origin on the others.
                    let mut alone = [0; 3];
                    alone[axis] = grid.place(token)[axis];
                    let other = (alone[0] * 3 + alone[1]) * 4 + alone[2];
                    let range = first..first + part;
                    assert_eq!(values[range.clone()], table[other * width..][range], "{token} {axis} {uniform}");
                    first += part;
                }
                assert!((values[0] - (grid.place(token)[0] as f32).sin()).abs() < 1e-6);
            }
        }
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
