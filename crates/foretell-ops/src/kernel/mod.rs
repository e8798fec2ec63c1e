//! The matrix product's innermost loops, written once over a vector type for every instruction set.
//!
//! The `gemm` crate is as fast on large matrices, but packs both operands in every call and writes plain products. Here
//! weights are packed once for all the groups of rows that they meet, activations are read where they lie, and a bias
//! and a residual are where the sums begin.
//!
//! The vectors are `pulp`'s. What an instruction set adds is how many rows and vectors of sums it holds in
//! [registers](Registers), how a product and a sum are one instruction, and how a square of values is transposed.

pub(crate) mod bytes;
pub(crate) mod halves;
mod tile;
mod transpose;

use pulp::{Scalar128b, Simd};

use tile::strips_on;
#[cfg(target_arch = "x86_64")]
pub(crate) use transpose::{LANES, transposed};
pub(crate) use transpose::{transpose, transpose_words};

/// Rows of a panel that are run through at a time: with its columns they stay in L1.
pub(super) const DEPTH: usize = 256;

/// What an instruction set holds in registers at a time.
pub(crate) trait Registers: Simd {
    /// Rows of sums.
    const ROWS: usize;
    /// Vectors of sums in each row.
    const VECTORS: usize;
    /// Columns of sums.
    const PANEL: usize = Self::VECTORS * Self::F32_LANES;

    /// `a · b + sum`, rounded once where the instruction set does it in one.
    fn multiply_add(self, a: Self::f32s, b: Self::f32s, sum: Self::f32s) -> Self::f32s;

    /// Compiles `body` for the instruction set. Everything inside must be `#[inline(always)]`.
    fn within<R>(self, body: impl FnOnce() -> R) -> R;
}

macro_rules! registers {
    ($set:ty, $rows:literal rows of $vectors:literal) => {
        impl Registers for $set {
            const ROWS: usize = $rows;
            const VECTORS: usize = $vectors;

            #[inline(always)]
            fn multiply_add(self, a: Self::f32s, b: Self::f32s, sum: Self::f32s) -> Self::f32s {
                self.mul_add_f32s(a, b, sum)
            }

            #[inline(always)]
            fn within<R>(self, body: impl FnOnce() -> R) -> R {
                self.vectorize(body)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
registers!(pulp::x86::V4, 8 rows of 3);
#[cfg(target_arch = "x86_64")]
registers!(pulp::x86::V3, 4 rows of 3);
#[cfg(target_arch = "aarch64")]
registers!(pulp::aarch64::Neon, 8 rows of 3);

impl Registers for Scalar128b {
    const ROWS: usize = 4;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn multiply_add(self, a: Self::f32s, b: Self::f32s, sum: Self::f32s) -> Self::f32s {
        self.add_f32s(self.mul_f32s(a, b), sum)
    }

    #[inline(always)]
    fn within<R>(self, body: impl FnOnce() -> R) -> R {
        body()
    }
}

/// Runs an expression with the instruction set in use, as a value of `pulp`'s type for it.
macro_rules! on_current {
    ($simd:ident => $body:expr) => {
        match $crate::instruction_set::current() {
            #[cfg(target_arch = "x86_64")]
            $crate::InstructionSet::Avx512 | $crate::InstructionSet::Amx => {
                let $simd = pulp::x86::V4::try_new().expect("the set was seen when it was chosen");
                $body
            }
            #[cfg(target_arch = "x86_64")]
            $crate::InstructionSet::Avx2 => {
                let $simd = pulp::x86::V3::try_new().expect("the set was seen when it was chosen");
                $body
            }
            #[cfg(target_arch = "aarch64")]
            $crate::InstructionSet::Neon => {
                let $simd = pulp::aarch64::Neon::try_new().expect("the set was seen when it was chosen");
                $body
            }
            _ => {
                let $simd = pulp::Scalar128b;
                $body
            }
        }
    };
}
pub(crate) use on_current;

/// Calls a tile's method with a number of rows that the compiler knows.
macro_rules! with_rows {
    ($tile:ident.$go:ident($rows:expr; $($more:ident),+)) => {
        match $rows {
            1 => $tile.$go::<1, $($more),+>(),
            2 => $tile.$go::<2, $($more),+>(),
            3 => $tile.$go::<3, $($more),+>(),
            4 => $tile.$go::<4, $($more),+>(),
            5 => $tile.$go::<5, $($more),+>(),
            6 => $tile.$go::<6, $($more),+>(),
            7 => $tile.$go::<7, $($more),+>(),
            8 => $tile.$go::<8, $($more),+>(),
            rows => unreachable!("{rows} rows in a strip"),
        }
    };
}
use with_rows;

/// Rows of the output in registers at a time.
pub(crate) fn rows() -> usize {
    fn of<S: Registers>(_: S) -> usize {
        S::ROWS
    }
    on_current!(simd => of(simd))
}

/// Columns of a panel.
pub(crate) fn panel() -> usize {
    fn of<S: Registers>(_: S) -> usize {
        S::PANEL
    }
    on_current!(simd => of(simd))
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

/// `m × k` values in strips of [`rows`] rows: element `(i, j)` at `start + (i / rows) · strip + i % rows · row + j · col`.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    pub start: *const f32,
    pub strip: usize,
    pub row: usize,
    pub col: usize,
}

/// `k × n` values in panels of [`panel`] columns: element `(j, c)` at `start + (c / panel) · apart + j · row + c % panel`.
#[derive(Clone, Copy)]
pub(crate) struct Right {
    pub start: *const f32,
    pub row: usize,
    pub apart: usize,
}

/// Up to [`rows`] rows of the left operand and of the output.
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
/// Every element of `a` (`m × k`), `b` (`k × n`) and `out` (`m × n`) must lie in memory that may be read, and for `out` written;
/// `out` must overlap neither. Bias and residual must hold `n` and `m · n` values.
pub(crate) unsafe fn run(
    (m, n, k): (usize, usize, usize),
    out: *mut f32,
    stride: usize,
    start: Start<'_>,
    a: Left,
    b: Right,
) {
    let rows = rows();
    let strip = |i: usize| Strip { left: i * a.strip, top: i * rows, rows: rows.min(m - i * rows) };
    // SAFETY: the caller's; the strips are those of `a`.
    unsafe { run_strips((m.div_ceil(rows), strip), (n, k), out, stride, start, a, b) }
}

/// [`run`] over so many strips of rows, each at a place of its own.
///
/// # Safety
/// As for [`run`], of the rows that the strips name.
pub(crate) unsafe fn run_strips(
    strips: (usize, impl Fn(usize) -> Strip),
    shape: (usize, usize),
    out: *mut f32,
    stride: usize,
    start: Start<'_>,
    a: Left,
    b: Right,
) {
    // SAFETY: the caller's.
    on_current!(simd => simd.within(
        #[inline(always)]
        || unsafe { strips_on(simd, strips, shape, out, stride, start, a, b) },
    ));
}
