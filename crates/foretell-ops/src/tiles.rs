//! Products of f32 matrices on AMX tiles, without giving up a digit.
//!
//! A tile product multiplies bf16 and adds in f32, at sixteen times the pace of f32 vectors. An f32 is exactly the sum of
//! three bf16, `x = x₁ + x₂ + x₃`, each the rounded rest of those before; of the nine products of two such sums the six
//! with `i + j ≤ 4` are kept, and what is dropped lies below 2⁻²³ of `|x y|`: the rounding of an f32 product. Sums run
//! over 32 products at a time from zero, so that the whole is closer to the exact product than a chain of f32 additions
//! (the tests hold it against f64 and against the `gemm` crate). An infinite factor, or one within a 256th of the largest f32, gives NaN where f32 gives ∞ or a number.
//!
//! Operands are packed into lines of 32 bf16. Tiles want pairs of neighbours along the inner axis; pairs here are `(j, j + 16)`
//! of every 32, on both sides, which spares a permutation.

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid_count, __m512, __m512i, __mmask16, _mm512_add_epi32, _mm512_add_ps, _mm512_and_epi32, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_or_epi32,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_srli_epi32, _mm512_store_si512, _mm512_storeu_ps, _mm512_sub_ps,
};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::LazyLock;

use rayon::prelude::*;

use crate::instruction_set::{InstructionSet, current};
use crate::kernel::{LANES, Start, transposed};
use crate::shared::Shared;

/// Rows or columns of a block: what one tile holds of the outer axis.
pub(crate) const BLOCK: usize = 16;
/// Inner values of a step: what one tile holds of the inner axis.
pub(crate) const STEP: usize = 32;
/// Parts of a value.
const PARTS: usize = 3;
/// Lines of one block and step: [`PARTS`] tiles.
const LINES: usize = PARTS * BLOCK;
/// Steps of the inner axis that are gone through at a time.
const STEPS: usize = 16;
/// Lines of the left operand that are packed at a time: less than half of L2.
const LEFT: usize = 12 * 1024;
/// Steps that two blocks of columns go through all rows at a time: with two blocks of rows they stay in L1.
const NEAR: usize = 4;

/// A row of a tile.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Line([u16; 32]);

/// Whether products are to be on tiles: [`InstructionSet::Amx`] is in use.
pub(crate) fn available() -> bool {
    current() == InstructionSet::Amx
}

/// Whether this machine has tiles and its kernel lends them.
pub(crate) fn are_lent() -> bool {
    static LENT: LazyLock<bool> = LazyLock::new(lent);
    *LENT
}

/// Asks Linux for the tiles' registers, which it saves for a process only on demand.
#[cfg(target_os = "linux")]
fn lent() -> bool {
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    let features = __cpuid_count(7, 0).edx;
    let wide = is_x86_feature_detected!("avx512bw");
    // SAFETY: the call takes two numbers and touches no memory of ours; where it is unknown it answers with an error.
    wide && features & BF16 != 0
        && features & TILES != 0
        && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) } == 0
}

#[cfg(not(target_os = "linux"))]
fn lent() -> bool {
    false
}

/// Which operand of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Outer: rows of the output.
    Left,
    /// Outer: columns of the output.
    Right,
}

/// `outer × inner` values: `(o, j)` lies at `o · outer_stride + j · inner_stride`, and one of the strides is 1.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub values: &'a [f32],
    pub outer: usize,
    pub inner: usize,
    pub outer_stride: usize,
    pub inner_stride: usize,
}

impl Operand<'_> {
    fn blocks(self) -> usize {
        self.outer.div_ceil(BLOCK)
    }

    fn steps(self) -> usize {
        self.inner.div_ceil(STEP)
    }

    /// Lines of a packed block.
    pub(crate) fn block_lines(self) -> usize {
        self.steps() * LINES
    }

    /// Lines of the packed operand.
    pub(crate) fn lines(self) -> usize {
        self.blocks() * self.steps() * LINES
    }

    /// The same without what lies before `outer` and `inner`, and at most so much of it.
    fn part(self, outer: Range<usize>, inner: Range<usize>) -> Self {
        let at = outer.start * self.outer_stride + inner.start * self.inner_stride;
        Self { values: &self.values[at..], outer: outer.len(), inner: inner.len(), ..self }
    }

    fn check(self) {
        assert!(self.outer_stride == 1 || self.inner_stride == 1, "one axis is without gaps");
        let last = self.outer.saturating_sub(1) * self.outer_stride + self.inner.saturating_sub(1) * self.inner_stride;
        assert!(self.outer == 0 || self.inner == 0 || last < self.values.len(), "operand outside its slice");
    }

    /// Packs some blocks, beginning with `first`: block after block, step after step, part after part.
    pub(crate) fn pack(self, side: Side, first: usize, to: &mut [Line]) {
        self.check();
        assert!(available(), "no tiles on this machine");
        let steps = self.steps();
        for (i, to) in to.chunks_exact_mut(LINES).enumerate() {
            let (block, step) = (first + i / steps, i % steps);
            let (outer, inner) = (block * BLOCK, step * STEP);
            assert!(outer < self.outer, "no such block");
            let left = (self.outer - outer, self.inner - inner);
            // SAFETY: `check` bounds every element that the strides reach, and no more than `left` are read; `to` holds
            // one block and step; `available` saw the instruction sets.
            unsafe {
                let from = self.values.as_ptr().add(outer * self.outer_stride + inner * self.inner_stride);
                self.pack_step(from, left, side, to.as_mut_ptr());
            }
        }
    }

    /// The whole operand packed into `room`.
    pub(crate) fn packed(self, side: Side, room: &mut Vec<Line>) -> &[Line] {
        let count = self.lines();
        if room.len() < count {
            *room = lines(count);
        }
        self.pack(side, 0, &mut room[..count]);
        &room[..count]
    }

    /// # Safety
    /// The machine must have AVX-512; `left` values must be readable from `from` on by the operand's strides, and
    /// [`LINES`] lines be writable at `to`.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pack_step(self, from: *const f32, left: (usize, usize), side: Side, to: *mut Line) {
        // Vectors run along the axis without gaps. Along the inner axis a vector pair is a row of (j, j + 16); along the
        // outer axis rows j and j + 16 make the pairs of one place in the step.
        let along_inner = self.inner_stride == 1;
        let (stride, (vectors, second), (first_mask, second_mask)) = if along_inner {
            (self.outer_stride, (left.0.min(BLOCK), LANES), (mask(left.1), mask(left.1.saturating_sub(LANES))))
        } else {
            (self.inner_stride, (left.1.min(LANES), LANES * self.inner_stride), (mask(left.0), mask(left.0)))
        };
        // SAFETY: the caller's; masked lanes are not read, and lines are aligned.
        let split = |i: usize| unsafe {
            if i >= vectors {
                return [_mm512_setzero_ps(); PARTS];
            }
            let from = from.add(i * stride);
            let second_mask = if along_inner || i + LANES < left.1 { second_mask } else { 0 };
            let first = _mm512_maskz_loadu_ps(first_mask, from);
            split(first, _mm512_maskz_loadu_ps(second_mask, from.wrapping_add(second)))
        };
        let store = |part: usize, line: usize, value: __m512| unsafe {
            _mm512_store_si512(to.add(part * BLOCK + line).cast::<__m512i>(), _mm512_castps_si512(value));
        };
        // A left tile has a line for each outer place, a right one for each pair.
        if along_inner == (side == Side::Left) {
            for i in 0..BLOCK {
                for (part, value) in split(i).into_iter().enumerate() {
                    store(part, i, value);
                }
            }
        } else {
            let mut parts = [[_mm512_setzero_ps(); BLOCK]; PARTS];
            for i in 0..vectors {
                for (part, value) in parts.iter_mut().zip(split(i)) {
                    part[i] = value;
                }
            }
            for (p, part) in parts.iter().enumerate() {
                for (i, value) in transposed(part).into_iter().enumerate() {
                    store(p, i, value);
                }
            }
        }
    }
}

/// The first `len` lanes.
fn mask(len: usize) -> __mmask16 {
    if len >= LANES { 0xffff } else { (1 << len) - 1 }
}

/// The three parts of two vectors, `a`'s in the lower halves of the lanes and `b`'s in the upper ones.
#[target_feature(enable = "avx512f")]
fn split(a: __m512, b: __m512) -> [__m512; PARTS] {
    let (half, upper) = (_mm512_set1_epi32(0x8000), _mm512_set1_epi32(0xffff_0000_u32 as i32));
    let rounded = |x: __m512| _mm512_and_epi32(_mm512_add_epi32(_mm512_castps_si512(x), half), upper);
    let both = |a: __m512i, b: __m512i| _mm512_castsi512_ps(_mm512_or_epi32(_mm512_srli_epi32::<16>(a), b));
    let rest = |x: __m512, part: __m512i| _mm512_sub_ps(x, _mm512_castsi512_ps(part));
    let (a1, b1) = (rounded(a), rounded(b));
    let (a, b) = (rest(a, a1), rest(b, b1));
    let (a2, b2) = (rounded(a), rounded(b));
    // What is left has eight bits at most.
    let (a, b) = (_mm512_castps_si512(rest(a, a2)), _mm512_castps_si512(rest(b, b2)));
    [both(a1, b1), both(a2, b2), both(a, _mm512_and_epi32(b, upper))]
}

/// Room for packed lines, which [`Operand::pack`] writes before anything reads them.
pub(crate) fn lines(count: usize) -> Vec<Line> {
    let mut lines = Vec::with_capacity(count);
    // SAFETY: the capacity was just reserved, every bit pattern is a line, and `pack` writes each line that it is given.
    #[allow(clippy::uninit_vec)]
    unsafe {
        lines.set_len(count);
    }
    lines
}

/// `out = start + a b` on the calling thread, rows of `out` `stride` apart, `b` packed whole as [`Side::Right`], `n` columns.
pub(crate) fn product(out: &mut [f32], stride: usize, start: Start<'_>, a: Operand<'_>, b: &[Line], n: usize) {
    let (m, steps) = (a.outer, a.steps());
    assert_eq!(b.len(), n.div_ceil(BLOCK) * steps * LINES, "right operand of another shape");
    assert!(m == 0 || n == 0 || (n <= stride || m == 1) && (m - 1) * stride + n <= out.len(), "outside its output");
    a.check();
    let depths = steps.div_ceil(STEPS).max(1);
    let spans = (a.blocks() * steps.div_ceil(depths) * LINES).div_ceil(LEFT);
    ROOM.with_borrow_mut(|[left, _]| {
        for depth in 0..depths {
            let (first, last) = (depth * steps / depths, (depth + 1) * steps / depths);
            let start = if depth > 0 { Start::Kept } else { start };
            for span in 0..spans {
                let blocks = a.blocks();
                let rows = span * blocks / spans * BLOCK..m.min((span + 1) * blocks / spans * BLOCK);
                let top = rows.start;
                let a = a.part(rows, first * STEP..a.inner.min(last * STEP));
                let left = a.packed(Side::Left, left);
                let out = Output { values: out.as_mut_ptr(), stride, start, top, n };
                // SAFETY: `packed` saw the tiles; `left` holds the blocks of these rows, `b` those of `n` columns with `steps`
                // steps, of which `first..last` are read; `out` was bounded above and is a unique borrow.
                unsafe { out.fill(a.outer, 0..n, last - first, left, &b[first * LINES..], steps) };
            }
        }
    });
}

/// The same on all threads, for few rows: each thread takes a share of the columns and packs its part of `b` while it uses
/// it, as a large matrix that few rows meet costs more to pack into memory and back than to multiply. The rows are packed by
/// each thread for itself: that is quicker than to fetch them from another core.
pub(crate) fn product_of_few(out: &mut [f32], stride: usize, start: Start<'_>, a: Operand<'_>, b: Operand<'_>) {
    let (m, n, steps) = (a.outer, b.outer, a.steps());
    assert_eq!(a.inner, b.inner, "inner lengths differ");
    assert!(m == 0 || n == 0 || (n <= stride || m == 1) && (m - 1) * stride + n <= out.len(), "outside its output");
    let (values, threads) = (Shared(out.as_mut_ptr()), rayon::current_num_threads());
    let (groups, depths) = (n.div_ceil(COLUMNS), steps.div_ceil(STEPS).max(1));
    (0..threads.min(groups)).into_par_iter().for_each(|task| {
        let mine = task * groups / threads.min(groups)..(task + 1) * groups / threads.min(groups);
        ROOM.with_borrow_mut(|[left, right]| {
            for depth in 0..depths {
                let (first, last) = (depth * steps / depths, (depth + 1) * steps / depths);
                let inner = first * STEP..a.inner.min(last * STEP);
                let left = a.part(0..m, inner.clone()).packed(Side::Left, left);
                for group in mine.clone() {
                    let columns = group * COLUMNS..n.min((group + 1) * COLUMNS);
                    let right = b.part(columns.clone(), inner.clone()).packed(Side::Right, right);
                    let start = if depth > 0 { Start::Kept } else { start };
                    let out = Output { values: values.get(), stride, start, top: 0, n };
                    // SAFETY: `packed` saw the tiles; `left` holds all rows' blocks and `right` those of these columns, which
                    // no other task writes; `out` was bounded above, and its unique borrow outlives the tasks.
                    unsafe { out.fill(m, columns, last - first, left, right, last - first) };
                }
            }
        });
    });
}

thread_local! {
    /// Packed operands of one thread, left and right.
    static ROOM: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Columns that [`product_of_few`] packs at a time.
const COLUMNS: usize = 64;

/// Where a product goes.
struct Output<'a> {
    /// The first value of the whole output.
    values: *mut f32,
    stride: usize,
    start: Start<'a>,
    /// The first of the rows that are written.
    top: usize,
    /// Columns of the whole output.
    n: usize,
}

/// Sixteen by sixteen sums, twice two times: what does not fit into the output whole is brought here first.
#[repr(C, align(64))]
struct Aside([[f32; 2 * BLOCK]; 2 * BLOCK]);

/// Two blocks of zeros.
static ZEROS: [f32; 2 * BLOCK] = [0.0; 2 * BLOCK];

impl Output<'_> {
    /// `m` rows of some columns.
    ///
    /// # Safety
    /// The machine must have lent its tiles; `left` must hold the blocks of `m` rows with `steps` steps each, `right` those
    /// of the columns with `right_steps`, of which the first `steps` are read; the output must have `m` rows from `top` on
    /// and the columns, bias and residual all of them, and nobody else may touch them.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn fill(
        mut self,
        m: usize,
        columns: Range<usize>,
        steps: usize,
        left: &[Line],
        right: &[Line],
        right_steps: usize,
    ) {
        let mut aside = Aside([[0.0; 2 * BLOCK]; 2 * BLOCK]);
        // SAFETY: the caller's.
        unsafe { configure() };
        let (start, pieces) = (self.start, steps.div_ceil(NEAR).max(1));
        let begin = columns.start;
        for column in columns.clone().step_by(2 * BLOCK) {
            let columns = (columns.end - column).min(2 * BLOCK);
            for piece in 0..pieces {
                let (first, last) = (piece * steps / pieces, (piece + 1) * steps / pieces);
                self.start = if piece > 0 { Start::Kept } else { start };
                let b = right[((column - begin) / BLOCK * right_steps + first) * LINES..].as_ptr();
                let b = [b, if columns > BLOCK { b.wrapping_add(right_steps * LINES) } else { b }];
                for row in (0..m).step_by(2 * BLOCK) {
                    let a = left[(row / BLOCK * steps + first) * LINES..].as_ptr();
                    let rows = (m - row).min(2 * BLOCK);
                    let a = [a, if rows > BLOCK { a.wrapping_add(steps * LINES) } else { a }];
                    // SAFETY: the caller's: `rows` and `columns` lie in output, bias and residual; a block that does not
                    // exist is the other one over again, and stays aside.
                    unsafe {
                        self.square(a, b, last - first, self.top + row, column, (rows, columns), &mut aside);
                    }
                }
            }
        }
        // SAFETY: tiles are configured; nothing of ours is in them any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }

    /// Up to 32 × 32 values of the output.
    ///
    /// # Safety
    /// Tiles must be configured; the blocks must be readable for `steps`; the output must have the rows and columns.
    #[target_feature(enable = "avx512f")]
    #[allow(clippy::too_many_arguments)]
    unsafe fn square(
        &mut self,
        a: [*const Line; 2],
        b: [*const Line; 2],
        steps: usize,
        row: usize,
        column: usize,
        (rows, columns): (usize, usize),
        aside: &mut Aside,
    ) {
        debug_assert!(column + columns <= self.n);
        let whole = rows == 2 * BLOCK && columns == 2 * BLOCK;
        let masks = [mask(columns), mask(columns.saturating_sub(BLOCK))];
        // SAFETY: the caller's; what lies beyond rows and columns is masked or stays aside.
        unsafe {
            let out = self.values.add(row * self.stride + column);
            let kept = |i: usize, half: usize| {
                let mask = masks[half];
                match self.start {
                    Start::Zero => _mm512_setzero_ps(),
                    Start::Kept => _mm512_maskz_loadu_ps(mask, out.wrapping_add(i * self.stride + half * BLOCK)),
                    Start::Bias(bias) => _mm512_maskz_loadu_ps(mask, bias.as_ptr().wrapping_add(column + half * BLOCK)),
                    Start::BiasAnd(bias, plus) => {
                        let column = column + half * BLOCK;
                        let plus = plus.as_ptr().wrapping_add((row + i) * self.n + column);
                        let bias = _mm512_maskz_loadu_ps(mask, bias.as_ptr().wrapping_add(column));
                        _mm512_add_ps(bias, _mm512_maskz_loadu_ps(mask, plus))
                    }
                }
            };
            match self.start {
                Start::Zero => begin(ZEROS.as_ptr(), 0),
                Start::Kept if whole => begin(out, self.stride),
                Start::Bias(bias) if whole => begin(bias.as_ptr().add(column), 0),
                _ => {
                    for i in 0..rows {
                        for half in 0..2 {
                            _mm512_storeu_ps(aside.0[i].as_mut_ptr().add(half * BLOCK), kept(i, half));
                        }
                    }
                    begin(aside.0.as_ptr().cast(), 2 * BLOCK);
                }
            }
            multiply(a, b, steps);
            if whole {
                return end(out, self.stride);
            }
            end(aside.0.as_mut_ptr().cast(), 2 * BLOCK);
            for i in 0..rows {
                for (half, mask) in masks.into_iter().enumerate() {
                    let sums = _mm512_loadu_ps(aside.0[i].as_ptr().add(half * BLOCK));
                    _mm512_mask_storeu_ps(out.wrapping_add(i * self.stride + half * BLOCK), mask, sums);
                }
            }
        }
    }
}

/// Makes all eight tiles sixteen lines of 64 bytes.
///
/// # Safety
/// The machine must have lent its tiles.
unsafe fn configure() {
    #[repr(C, align(64))]
    struct Config([u8; 64]);
    static CONFIG: Config = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = BLOCK as u8;
            tile += 1;
        }
        Config(bytes)
    };
    // SAFETY: the caller's; 64 bytes are read. Compiled code never uses tiles by itself.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
}

/// Loads the sums, tiles 0 to 3, from 32 × 32 values in rows `stride` apart.
///
/// # Safety
/// Tiles must be configured, and the values readable.
unsafe fn begin(from: *const f32, stride: usize) {
    // SAFETY: the caller's. Compiled code never uses tiles by itself, so that they keep their values between these calls.
    unsafe {
        asm!(
            "tileloadd tmm0, [{upper} + {stride}*1]",
            "tileloadd tmm1, [{upper} + {stride}*1 + 64]",
            "tileloadd tmm2, [{lower} + {stride}*1]",
            "tileloadd tmm3, [{lower} + {stride}*1 + 64]",
            upper = in(reg) from,
            lower = in(reg) from.wrapping_add(BLOCK * stride),
            stride = in(reg) 4 * stride,
            options(nostack, readonly),
        );
    }
}

/// Stores the sums as [`begin`] loads them.
///
/// # Safety
/// Tiles must be configured, and the values writable.
unsafe fn end(to: *mut f32, stride: usize) {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tilestored [{upper} + {stride}*1], tmm0",
            "tilestored [{upper} + {stride}*1 + 64], tmm1",
            "tilestored [{lower} + {stride}*1], tmm2",
            "tilestored [{lower} + {stride}*1 + 64], tmm3",
            upper = in(reg) to,
            lower = in(reg) to.wrapping_add(BLOCK * stride),
            stride = in(reg) 4 * stride,
            options(nostack),
        );
    }
}

/// Adds two blocks of rows times two of columns, `steps` long, to the sums.
///
/// # Safety
/// Tiles must be configured, and `steps · LINES` lines be readable at each pointer.
unsafe fn multiply(a: [*const Line; 2], b: [*const Line; 2], steps: usize) {
    if steps == 0 {
        return;
    }
    // Tiles 4 and 5 hold parts of the left blocks, 6 and 7 of the right ones. The six products of parts come in an order that
    // changes one side at a time.
    // SAFETY: the caller's. Compiled code never uses tiles by itself, so that none has to be kept.
    unsafe {
        asm!(
            "2:",
            // x₃ y₁
            "tileloadd tmm4, [{a0} + {line}*1 + 2048]",
            "tileloadd tmm6, [{b0} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b1} + {line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {line}*1 + 2048]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // x₂ y₁
            "tileloadd tmm4, [{a0} + {line}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {line}*1 + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // x₂ y₂
            "tileloadd tmm6, [{b0} + {line}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b1} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // x₁ y₂
            "tileloadd tmm4, [{a0} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {line}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // x₁ y₃
            "tileloadd tmm6, [{b0} + {line}*1 + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b1} + {line}*1 + 2048]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // x₁ y₁
            "tileloadd tmm6, [{b0} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b1} + {line}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 3072",
            "add {a1}, 3072",
            "add {b0}, 3072",
            "add {b1}, 3072",
            "dec {steps}",
            "jnz 2b",
            a0 = inout(reg) a[0] => _,
            a1 = inout(reg) a[1] => _,
            b0 = inout(reg) b[0] => _,
            b1 = inout(reg) b[1] => _,
            steps = inout(reg) steps => _,
            line = in(reg) 64_usize,
            options(nostack, readonly),
        );
    }
}
