//! The matrix product's innermost loops for AVX-512: eight rows by three vectors of sixteen in registers.
//!
//! The `gemm` crate is as fast on large matrices, but packs both operands in every call and writes plain products. Here
//! weights are packed once for all the groups of rows that they meet, activations are read where they lie, and a bias
//! and a residual are where the sums begin.

use std::ffi::OsString;
use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, __mmask16, _MM_HINT_T1, _mm_prefetch, _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_set1_ps, _mm512_setzero_ps,
};

/// Floats in a vector.
pub(crate) const LANES: usize = 16;
/// Vectors in a panel.
const VECTORS: usize = 3;
/// Columns of a panel: with [`DEPTH`] rows it stays in L1.
pub(crate) const PANEL: usize = VECTORS * LANES;
/// Rows of the output in registers at a time.
pub(crate) const ROWS: usize = 8;
/// Rows of a panel that are run through at a time.
const DEPTH: usize = 256;

/// Whether `FORETELL_KERNEL` in the environment has this value: with `off` a machine takes the paths of those without
/// AVX-512, with `vectors` of those without AMX tiles, so that a machine with both can test and time all three.
pub(crate) fn choice_is(value: &str) -> bool {
    static CHOICE: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("FORETELL_KERNEL"));
    CHOICE.as_ref().is_some_and(|choice| choice == value)
}

/// Whether this machine has what the kernel needs, and nobody forbids it (see [`choice_is`]).
pub(crate) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| {
        #[cfg(target_arch = "x86_64")]
        let has = is_x86_feature_detected!("avx512f");
        #[cfg(not(target_arch = "x86_64"))]
        let has = false;
        has && !choice_is("off")
    });
    *AVAILABLE
}

/// `to[j · to_row + i] = from[i · from_row + j]` for `i < rows`, `j < cols`.
pub(crate) fn transpose(from: &[f32], from_row: usize, rows: usize, cols: usize, to: &mut [f32], to_row: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    assert!((rows - 1) * from_row + cols <= from.len(), "rows outside their slice");
    assert!((cols - 1) * to_row + rows <= to.len() && (rows <= to_row || cols == 1), "columns outside their slice");
    let (mut whole_rows, mut whole_cols) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if available() {
        (whole_rows, whole_cols) = (rows / LANES * LANES, cols / LANES * LANES);
        for i in (0..whole_rows).step_by(LANES) {
            for j in (0..whole_cols).step_by(LANES) {
                // SAFETY: `available` saw the instruction set; the assertions bound sixteen rows of sixteen values on either
                // side, as `i + 16 ≤ rows` and `j + 16 ≤ cols`.
                unsafe {
                    let (from, to) = (from.as_ptr().add(i * from_row + j), to.as_mut_ptr().add(j * to_row + i));
                    transpose_square(from, from_row, to, to_row);
                }
            }
        }
    }
    for i in 0..rows {
        let first = if i < whole_rows { whole_cols } else { 0 };
        for j in first..cols {
            to[j * to_row + i] = from[i * from_row + j];
        }
    }
}

/// Sixteen by sixteen values.
///
/// # Safety
/// The machine must have AVX-512, and sixteen rows of sixteen values must be readable at `from` and writable at `to`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn transpose_square(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    use std::arch::x86_64::{_mm512_loadu_ps, _mm512_storeu_ps};
    // SAFETY: the caller's.
    let rows: [__m512; LANES] = std::array::from_fn(|i| unsafe { _mm512_loadu_ps(from.add(i * from_row)) });
    for (i, row) in transposed(&rows).into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(to.add(i * to_row), row) };
    }
}

/// Sixteen vectors' transpose.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn transposed(rows: &[__m512; LANES]) -> [__m512; LANES] {
    use std::arch::x86_64::{
        _mm512_castpd_ps, _mm512_castps_pd, _mm512_shuffle_f32x4, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };
    // Pairs, then fours within each quarter; then quarters change places.
    let mut pairs = *rows;
    for i in (0..LANES).step_by(2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..LANES).step_by(4) {
        let pd = |x| _mm512_castps_pd(x);
        fours[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(pairs[i]), pd(pairs[i + 2])));
        fours[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(pairs[i]), pd(pairs[i + 2])));
        fours[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
        fours[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
    }
    let mut columns = *rows;
    for c in 0..4 {
        // fours[4 r + c] holds, in quarter q, column 4 q + c of rows 4 r to 4 r + 3.
        let low = _mm512_shuffle_f32x4::<0x88>(fours[c], fours[4 + c]); // quarters 0, 2 of either
        let high = _mm512_shuffle_f32x4::<0xdd>(fours[c], fours[4 + c]); // quarters 1, 3
        let low2 = _mm512_shuffle_f32x4::<0x88>(fours[8 + c], fours[12 + c]);
        let high2 = _mm512_shuffle_f32x4::<0xdd>(fours[8 + c], fours[12 + c]);
        columns[c] = _mm512_shuffle_f32x4::<0x88>(low, low2);
        columns[4 + c] = _mm512_shuffle_f32x4::<0x88>(high, high2);
        columns[8 + c] = _mm512_shuffle_f32x4::<0xdd>(low, low2);
        columns[12 + c] = _mm512_shuffle_f32x4::<0xdd>(high, high2);
    }
    columns
}

/// Where the sums of the output begin.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// At zero.
    Zero,
    /// At what the output holds.
    Kept,
    /// At a bias, one for each column.
    Bias(&'a [f32]),
    /// At a bias plus a matrix like the output, without gaps.
    BiasAnd(&'a [f32], &'a [f32]),
}

/// `m × k` values in strips of [`ROWS`] rows: element `(i, j)` at `start + (i / 8) · strip + i % 8 · row + j · col`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub start: *const f32,
    pub strip: usize,
    pub row: usize,
    pub col: usize,
}

/// `k × n` values in panels of [`PANEL`] columns: element `(j, c)` at `start + (c / 48) · panel + j · row + c % 48`.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub start: *const f32,
    pub row: usize,
    pub panel: usize,
}

/// Up to [`ROWS`] rows of the left operand and of the output.
#[derive(Clone, Copy)]
pub(crate) struct Strip {
    /// Where its first row begins, from the left operand's start.
    pub left: usize,
    /// Its first row in the output.
    pub top: usize,
    pub rows: usize,
}

/// `out = start + a b`, rows of `out` `stride` apart.
///
/// # Safety
/// [`available`] must be true. Every element of `a` (`m × k`), `b` (`k × n`) and `out` (`m × n`) must lie in memory that
/// may be read, and for `out` written; `out` must overlap neither. Bias and residual must hold `n` and `m · n` values.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn run(
    (m, n, k): (usize, usize, usize),
    out: *mut f32,
    stride: usize,
    start: Start<'_>,
    a: Left,
    b: Right,
) {
    let strip = |i: usize| Strip { left: i * a.strip, top: i * ROWS, rows: ROWS.min(m - i * ROWS) };
    // SAFETY: the caller's; the strips are those of `a`.
    unsafe { run_strips((m.div_ceil(ROWS), strip), (n, k), out, stride, start, a, b) }
}

/// [`run`] over so many strips of rows, each at a place of its own.
///
/// # Safety
/// As for [`run`], of the rows that the strips name.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(crate) unsafe fn run_strips(
    (strips, strip_at): (usize, impl Fn(usize) -> Strip),
    (n, k): (usize, usize),
    out: *mut f32,
    stride: usize,
    start: Start<'_>,
    a: Left,
    b: Right,
) {
    let blocks = k.div_ceil(DEPTH).max(1);
    for block in 0..blocks {
        let first = block * k / blocks;
        let depth = (block + 1) * k / blocks - first;
        for (panel, column) in (0..n).step_by(PANEL).enumerate() {
            let width = PANEL.min(n - column);
            let vectors = width.div_ceil(LANES);
            let mask: __mmask16 = if width % LANES == 0 { 0xffff } else { (1 << (width % LANES)) - 1 };
            // SAFETY: the caller's, as `panel`, `first` and `column` stay within `n` and `k`.
            let right = unsafe { b.start.add(panel * b.panel + first * b.row) };
            // While these strips meet this panel, the next one is fetched, an even share by each of them.
            let (next, is_there) = if column + PANEL < n {
                (right.wrapping_add(b.panel), true)
            } else {
                (b.start.wrapping_add((first + depth) * b.row), block + 1 < blocks)
            };
            let step = if is_there && b.row == PANEL { PANEL.div_ceil(strips.max(1)) } else { 0 };
            let next = if step > 0 { next } else { right };
            for i in 0..strips {
                let Strip { left, top, rows } = strip_at(i);
                // SAFETY: as above, of the strip's rows.
                let (left, out) = unsafe { (a.start.add(left + first * a.col), out.add(top * stride + column)) };
                let begin = match start {
                    _ if first > 0 => Begin { bias: std::ptr::null(), plus: out, stride },
                    Start::Zero => Begin { bias: std::ptr::null(), plus: std::ptr::null(), stride: 0 },
                    Start::Kept => Begin { bias: std::ptr::null(), plus: out, stride },
                    Start::Bias(bias) => Begin { bias: bias[column..].as_ptr(), plus: std::ptr::null(), stride: 0 },
                    Start::BiasAnd(bias, plus) => {
                        Begin { bias: bias[column..].as_ptr(), plus: plus[top * n + column..].as_ptr(), stride: n }
                    }
                };
                let ahead = (next.wrapping_add(i * depth * step), step);
                let tile = Tile { depth, left, a, right, row: b.row, ahead, out, stride, mask, begin };
                // SAFETY: the tile's rows and vectors (the last one under its mask) lie within the operands.
                unsafe { tile.any(rows, vectors) };
            }
        }
    }
}

/// Without AVX-512 nobody comes here.
///
/// # Safety
/// None is needed: it does not return.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn run(_: (usize, usize, usize), _: *mut f32, _: usize, _: Start<'_>, _: Left, _: Right) {
    unreachable!("guarded by `available`")
}

/// Without AVX-512 nobody comes here.
///
/// # Safety
/// None is needed: it does not return.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn run_strips(
    _: (usize, impl Fn(usize) -> Strip),
    _: (usize, usize),
    _: *mut f32,
    _: usize,
    _: Start<'_>,
    _: Left,
    _: Right,
) {
    unreachable!("guarded by `available`")
}

/// Where a tile's sums begin: null pointers stand for nothing.
#[derive(Clone, Copy)]
struct Begin {
    bias: *const f32,
    plus: *const f32,
    stride: usize,
}

/// Some rows and vectors of the output.
#[cfg(target_arch = "x86_64")]
struct Tile {
    depth: usize,
    left: *const f32,
    a: Left,
    right: *const f32,
    row: usize,
    /// What to fetch for later, and how much further at each row of the right operand.
    ahead: (*const f32, usize),
    out: *mut f32,
    stride: usize,
    mask: __mmask16,
    begin: Begin,
}

#[cfg(target_arch = "x86_64")]
impl Tile {
    #[target_feature(enable = "avx512f")]
    unsafe fn any(&self, rows: usize, vectors: usize) {
        // SAFETY: the caller's.
        unsafe {
            match vectors {
                1 => self.rows::<1>(rows),
                2 => self.rows::<2>(rows),
                _ => self.rows::<3>(rows),
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn rows<const V: usize>(&self, rows: usize) {
        // SAFETY: the caller's.
        unsafe {
            match rows {
                1 => self.go::<1, V>(),
                2 => self.go::<2, V>(),
                3 => self.go::<3, V>(),
                4 => self.go::<4, V>(),
                5 => self.go::<5, V>(),
                6 => self.go::<6, V>(),
                7 => self.go::<7, V>(),
                _ => self.go::<8, V>(),
            }
        }
    }

    /// `R` rows of `V` vectors, the last of them under the mask.
    #[target_feature(enable = "avx512f")]
    unsafe fn go<const R: usize, const V: usize>(&self) {
        // SAFETY: the caller vouches for `R` rows of the left operand and of the output, and for `V` vectors of the right
        // operand, of the output and of whatever the sums begin with, the last one as far as the mask allows.
        unsafe {
            let mask_of = |v: usize| if v + 1 == V { self.mask } else { 0xffff };
            let mut sums = [[_mm512_setzero_ps(); V]; R];
            if !self.begin.bias.is_null() {
                for v in 0..V {
                    let bias = _mm512_maskz_loadu_ps(mask_of(v), self.begin.bias.add(v * LANES));
                    for sums in &mut sums {
                        sums[v] = bias;
                    }
                }
            }
            if !self.begin.plus.is_null() {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let at = self.begin.plus.add(r * self.begin.stride + v * LANES);
                        *sum = std::arch::x86_64::_mm512_add_ps(*sum, _mm512_maskz_loadu_ps(mask_of(v), at));
                    }
                }
            }
            let (mut left, mut right) = (self.left, self.right);
            let (mut ahead, step) = self.ahead;
            for _ in 0..self.depth {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(step);
                let mut b: [__m512; V] = [_mm512_setzero_ps(); V];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = _mm512_maskz_loadu_ps(mask_of(v), right.add(v * LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_ps(*left.add(r * self.a.row));
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = _mm512_fmadd_ps(a, b, *sum);
                    }
                }
                left = left.wrapping_add(self.a.col);
                right = right.wrapping_add(self.row);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    _mm512_mask_storeu_ps(self.out.add(r * self.stride + v * LANES), mask_of(v), *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_finds_its_transposed_place() {
        for (rows, cols, from_row, to_row) in
            [(1, 1, 1, 1), (16, 16, 16, 16), (33, 50, 51, 40), (48, 7, 9, 48), (15, 64, 70, 15)]
        {
            let from: Vec<f32> = (0..rows * from_row).map(|i| i as f32).collect();
            let mut to = vec![-1.0; cols * to_row];
            transpose(&from, from_row, rows, cols, &mut to, to_row);
            for (j, row) in to.chunks_exact(to_row).enumerate() {
                for (i, value) in row.iter().enumerate() {
                    assert_eq!(*value, if i < rows { from[i * from_row + j] } else { -1.0 });
                }
            }
        }
    }
}
