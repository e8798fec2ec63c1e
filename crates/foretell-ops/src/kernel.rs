//! The matrix product's innermost loops for AVX-512: eight rows by three vectors of sixteen in registers.
//!
//! The `gemm` crate is as fast on large matrices, but packs both operands in every call and writes plain products. Here
//! weights are packed once for all the groups of rows that they meet, activations are read where they lie, and a bias
//! and a residual are where the sums begin.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, __mmask16, _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
};

/// Floats in a vector.
const LANES: usize = 16;
/// Vectors in a panel.
const VECTORS: usize = 3;
/// Columns of a panel: with [`DEPTH`] rows it stays in L1.
pub(crate) const PANEL: usize = VECTORS * LANES;
/// Rows of the output in registers at a time.
pub(crate) const ROWS: usize = 8;
/// Rows of a panel that are run through at a time.
const DEPTH: usize = 256;

/// Whether this machine has what the kernel needs.
pub(crate) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
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
            for (strip, top) in (0..m).step_by(ROWS).enumerate() {
                let rows = ROWS.min(m - top);
                // SAFETY: as above; `top` stays within `m`.
                let (left, out) =
                    unsafe { (a.start.add(strip * a.strip + first * a.col), out.add(top * stride + column)) };
                let begin = match start {
                    _ if first > 0 => Begin { bias: std::ptr::null(), plus: out, stride },
                    Start::Zero => Begin { bias: std::ptr::null(), plus: std::ptr::null(), stride: 0 },
                    Start::Kept => Begin { bias: std::ptr::null(), plus: out, stride },
                    Start::Bias(bias) => Begin { bias: bias[column..].as_ptr(), plus: std::ptr::null(), stride: 0 },
                    Start::BiasAnd(bias, plus) => {
                        Begin { bias: bias[column..].as_ptr(), plus: plus[top * n + column..].as_ptr(), stride: n }
                    }
                };
                let tile = Tile { depth, left, a, right, row: b.row, out, stride, mask, begin };
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
            for _ in 0..self.depth {
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
