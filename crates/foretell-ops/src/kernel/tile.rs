//! Panels and strips, one tile of sums after the other.

use pulp::{MemMask, Simd};

use super::{DEPTH, Left, Registers, Right, Start, Strip, with_rows};

/// [`run_strips`](super::run_strips) with one instruction set.
///
/// # Safety
/// As for [`run_strips`](super::run_strips).
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) unsafe fn strips_on<S: Registers>(
    simd: S,
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
        for (panel, column) in (0..n).step_by(S::PANEL).enumerate() {
            let width = S::PANEL.min(n - column);
            let vectors = width.div_ceil(S::F32_LANES);
            let last = width - (vectors - 1) * S::F32_LANES;
            let mask = mask_of(simd, last);
            // SAFETY: the caller's, as `panel`, `first` and `column` stay within `n` and `k`.
            let right = unsafe { b.start.add(panel * b.apart + first * b.row) };
            // While these strips meet this panel, the next one is fetched, an even share by each of them.
            let (next, is_there) = if column + S::PANEL < n {
                (right.wrapping_add(b.apart), true)
            } else {
                (b.start.wrapping_add((first + depth) * b.row), block + 1 < blocks)
            };
            let step = if is_there && b.row == S::PANEL { S::PANEL.div_ceil(strips.max(1)) } else { 0 };
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
                let tile = Tile::<S> { simd, depth, left, a, right, row: b.row, ahead, out, stride, mask, begin };
                // SAFETY: the tile's rows and vectors (the last one under its mask) lie within the operands.
                unsafe { tile.any(rows, vectors, last == S::F32_LANES) };
            }
        }
    }
}

/// The first `count` lanes of a vector.
#[inline(always)]
pub(super) fn mask_of<S: Simd>(simd: S, count: usize) -> MemMask<S::m32s> {
    // Without the table of functions that `pulp` would jump into.
    MemMask::new(simd.mask_between_m32s(0, count as u32).mask())
}

/// Where a tile's sums begin: null pointers stand for nothing.
#[derive(Clone, Copy)]
pub(super) struct Begin {
    pub(super) bias: *const f32,
    pub(super) plus: *const f32,
    pub(super) stride: usize,
}

impl Begin {
    /// Of the tile at a row and column of an output `n` wide, whose rows lie `stride` apart.
    #[inline(always)]
    pub(super) fn of(
        start: Start<'_>,
        (out, stride): (*const f32, usize),
        (top, column): (usize, usize),
        n: usize,
    ) -> Self {
        let none = std::ptr::null();
        match start {
            Start::Zero => Self { bias: none, plus: none, stride: 0 },
            Start::Kept => Self { bias: none, plus: out.wrapping_add(top * stride + column), stride },
            Start::Bias(bias) => Self { bias: bias[column..].as_ptr(), plus: none, stride: 0 },
            Start::BiasAnd(bias, plus) => {
                Self { bias: bias[column..].as_ptr(), plus: plus[top * n + column..].as_ptr(), stride: n }
            }
        }
    }

    /// A vector of it, `column` columns on, as far as a mask allows if there is one.
    ///
    /// # Safety
    /// Bias and residual must hold it.
    #[inline(always)]
    pub(super) unsafe fn at<S: Simd>(
        &self,
        simd: S,
        row: usize,
        column: usize,
        mask: Option<MemMask<S::m32s>>,
    ) -> S::f32s {
        // SAFETY: the caller's.
        let load = |at: *const f32| unsafe {
            match mask {
                Some(mask) => simd.mask_load_ptr_f32s(mask, at),
                None => at.cast::<S::f32s>().read_unaligned(),
            }
        };
        let mut sum = simd.splat_f32s(0.0);
        if !self.bias.is_null() {
            sum = load(self.bias.wrapping_add(column));
        }
        if !self.plus.is_null() {
            sum = simd.add_f32s(sum, load(self.plus.wrapping_add(row * self.stride + column)));
        }
        sum
    }
}

/// Some rows and vectors of the output.
struct Tile<S: Simd> {
    simd: S,
    depth: usize,
    left: *const f32,
    a: Left,
    right: *const f32,
    row: usize,
    /// What to fetch for later, and how much further at each row of the right operand.
    ahead: (*const f32, usize),
    out: *mut f32,
    stride: usize,
    /// The lanes of the last vector.
    mask: MemMask<S::m32s>,
    begin: Begin,
}

impl<S: Registers> Tile<S> {
    #[inline(always)]
    unsafe fn any(&self, rows: usize, vectors: usize, whole: bool) {
        // SAFETY: the caller's.
        unsafe {
            match (vectors, whole) {
                (1, false) => self.rows::<1, true>(rows),
                (2, false) => self.rows::<2, true>(rows),
                (3, false) => self.rows::<3, true>(rows),
                (1, true) => self.rows::<1, false>(rows),
                (2, true) => self.rows::<2, false>(rows),
                (3, true) => self.rows::<3, false>(rows),
                _ => unreachable!("{vectors} vectors in a panel"),
            }
        }
    }

    #[inline(always)]
    unsafe fn rows<const V: usize, const MASKED: bool>(&self, rows: usize) {
        if const { V > S::VECTORS } {
            unreachable!("no panel of {V} vectors");
        }
        // SAFETY: the caller's.
        unsafe { with_rows!(self.go(rows; V, MASKED)) }
    }

    /// `R` rows of `V` vectors, the last of them under the mask if there is one.
    #[inline(always)]
    unsafe fn go<const R: usize, const V: usize, const MASKED: bool>(&self) {
        if const { R > S::ROWS } {
            unreachable!("no strip of {R} rows");
        }
        self.simd.within(
            #[inline(always)]
            // SAFETY: the caller vouches for `R` rows of the left operand and of the output, and for `V` vectors of the right
            // operand, of the output and of whatever the sums begin with, the last one as far as the mask allows.
            || unsafe { self.sum::<R, V, MASKED>() },
        );
    }

    #[inline(always)]
    unsafe fn sum<const R: usize, const V: usize, const MASKED: bool>(&self) {
        let Self { simd, mask, .. } = *self;
        // SAFETY: the caller's.
        unsafe {
            let load = |v: usize, at: *const f32| {
                if MASKED && v + 1 == V {
                    simd.mask_load_ptr_f32s(mask, at)
                } else {
                    at.cast::<S::f32s>().read_unaligned()
                }
            };
            let mut sums = [[simd.splat_f32s(0.0); V]; R];
            if !self.begin.bias.is_null() {
                for v in 0..V {
                    let bias = load(v, self.begin.bias.wrapping_add(v * S::F32_LANES));
                    for sums in &mut sums {
                        sums[v] = bias;
                    }
                }
            }
            if !self.begin.plus.is_null() {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let at = self.begin.plus.wrapping_add(r * self.begin.stride + v * S::F32_LANES);
                        *sum = simd.add_f32s(*sum, load(v, at));
                    }
                }
            }
            let (mut left, mut right) = (self.left, self.right);
            let (mut ahead, step) = self.ahead;
            for _ in 0..self.depth {
                prefetch(ahead);
                ahead = ahead.wrapping_add(step);
                let mut b = [simd.splat_f32s(0.0); V];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = load(v, right.wrapping_add(v * S::F32_LANES));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = simd.splat_f32s(*left.add(r * self.a.row));
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = simd.multiply_add(a, b, *sum);
                    }
                }
                left = left.wrapping_add(self.a.col);
                right = right.wrapping_add(self.row);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let at = self.out.wrapping_add(r * self.stride + v * S::F32_LANES);
                    if MASKED && v + 1 == V {
                        simd.mask_store_ptr_f32s(mask, at, *sum);
                    } else {
                        at.cast::<S::f32s>().write_unaligned(*sum);
                    }
                }
            }
        }
    }
}

/// Asks for a line of memory, into L2.
#[inline(always)]
fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which may name any address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
