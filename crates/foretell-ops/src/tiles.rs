//! Products of f32 matrices on AMX tiles, without giving up a digit.
//!
//! A tile product multiplies bf16 and adds in f32, at sixteen times the pace of f32 vectors. An f32 is exactly the sum of
//! three bf16, `x = x₁ + x₂ + x₃`, each the rounded rest of those before; of the nine products of two such sums the six
//! with `i + j ≤ 4` are kept, and what is dropped lies below 2⁻²³ of `|x y|`: the rounding of an f32 product. Sums run
//! over 32 products at a time from zero, so that the whole is closer to the exact product than a chain of f32 additions
//! (the tests hold it against f64 and against the `gemm` crate). An infinite factor gives NaN where f32 gives ∞.
//!
//! Operands are packed into lines of 32 bf16. Tiles want pairs of neighbours along the inner axis; pairs here are `(j, j + 16)`
//! of every 32, on both sides, which spares a permutation.

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid_count, __m512, __m512i, __mmask16, _mm512_add_epi32, _mm512_add_ps, _mm512_and_epi32, _mm512_castps_si512,
    _mm512_castsi512_ps, _mm512_load_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_or_epi32,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_srli_epi32, _mm512_store_si512, _mm512_sub_ps,
};
use std::cell::RefCell;
use std::sync::LazyLock;

use crate::kernel::{self, LANES, Start, transposed};

/// Rows or columns of a block: what one tile holds of the outer axis.
pub(crate) const BLOCK: usize = 16;
/// Inner values of a step: what one tile holds of the inner axis.
pub(crate) const STEP: usize = 32;
/// Parts of a value.
const PARTS: usize = 3;
/// Lines of one block and step: [`PARTS`] tiles.
const LINES: usize = PARTS * BLOCK;
/// Rows of the left operand that are packed at a time, and steps of the inner axis: about half of L2.
const ROWS: usize = 256;
const STEPS: usize = 16;

/// A row of a tile.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct Line([u16; 32]);

const EMPTY: Line = Line([0; 32]);

/// Whether this machine has tiles, its kernel lends them, and nobody forbids it (see [`kernel::choice_is`]).
pub(crate) fn available() -> bool {
    static AVAILABLE: LazyLock<bool> = LazyLock::new(|| kernel::available() && !kernel::choice_is("vectors") && lent());
    *AVAILABLE
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
    fn part(self, outer: std::ops::Range<usize>, inner: std::ops::Range<usize>) -> Self {
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
        let mut parts = [[_mm512_setzero_ps(); BLOCK]; PARTS];
        for i in 0..vectors {
            let second_mask = if along_inner || i + LANES < left.1 { second_mask } else { 0 };
            // SAFETY: the caller's; masked lanes are not read.
            let pair = unsafe {
                let from = from.add(i * stride);
                (_mm512_maskz_loadu_ps(first_mask, from), _mm512_maskz_loadu_ps(second_mask, from.wrapping_add(second)))
            };
            let split = split(pair.0, pair.1);
            for (part, split) in parts.iter_mut().zip(split) {
                part[i] = split;
            }
        }
        // A left tile has a line for each outer place, a right one for each pair.
        let turn = along_inner != (side == Side::Left);
        for (p, mut part) in parts.into_iter().enumerate() {
            if turn {
                part = transposed(part);
            }
            for (i, line) in part.into_iter().enumerate() {
                // SAFETY: the caller's; lines are aligned.
                unsafe { _mm512_store_si512(to.add(p * BLOCK + i).cast::<__m512i>(), _mm512_castps_si512(line)) };
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

/// Room for packed lines.
pub(crate) fn lines(count: usize) -> Vec<Line> {
    vec![EMPTY; count]
}

/// `out = start + a b` on the calling thread, rows of `out` `stride` apart, `b` packed whole as [`Side::Right`], `n` columns.
pub(crate) fn product(out: &mut [f32], stride: usize, start: Start<'_>, a: Operand<'_>, b: &[Line], n: usize) {
    thread_local! {
        static LEFT: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    }
    let (m, steps) = (a.outer, a.steps());
    assert_eq!(b.len(), n.div_ceil(BLOCK) * steps * LINES, "right operand of another shape");
    assert!(m == 0 || n == 0 || (n <= stride || m == 1) && (m - 1) * stride + n <= out.len(), "outside its output");
    a.check();
    let (spans, depths) = (m.div_ceil(ROWS), steps.div_ceil(STEPS).max(1));
    LEFT.with_borrow_mut(|left| {
        for depth in 0..depths {
            let (first, last) = (depth * steps / depths, (depth + 1) * steps / depths);
            let start = if depth > 0 { Start::Kept } else { start };
            for span in 0..spans {
                let blocks = a.blocks();
                let rows = span * blocks / spans * BLOCK..m.min((span + 1) * blocks / spans * BLOCK);
                let top = rows.start;
                let a = a.part(rows, first * STEP..a.inner.min(last * STEP));
                if left.len() < a.lines() {
                    left.resize(a.lines(), EMPTY);
                }
                a.pack(Side::Left, 0, &mut left[..a.lines()]);
                let out = Output { values: out, stride, start, top, n, rows: m };
                // SAFETY: `pack` saw the tiles; `left` holds the blocks of these rows, `b` those of `n` columns with `steps`
                // steps, of which `first..last` are read; `out` was bounded above.
                unsafe { out.fill(a.outer, last - first, &left[..a.lines()], &b[first * LINES..], steps) };
            }
        }
    });
}

/// Where a product goes.
struct Output<'a, 'b> {
    values: &'a mut [f32],
    stride: usize,
    start: Start<'b>,
    /// The first of the rows that are written.
    top: usize,
    n: usize,
    rows: usize,
}

/// Four tiles of sums, `[a₀ b₀, a₀ b₁, a₁ b₀, a₁ b₁]`.
#[repr(C, align(64))]
struct Sums([[[f32; LANES]; BLOCK]; 4]);

impl Output<'_, '_> {
    /// `m` rows, `steps` of them for each block of `left`, `stride` in `right`.
    ///
    /// # Safety
    /// The machine must have lent its tiles; `left` must hold the blocks of `m` rows with `steps` steps, `right` those of
    /// `n` columns with `right_steps` between blocks, `steps` after the last one's beginning; the output `m` rows from `top`.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn fill(mut self, m: usize, steps: usize, left: &[Line], right: &[Line], right_steps: usize) {
        let mut sums = Sums([[[0.0; LANES]; BLOCK]; 4]);
        // SAFETY: the caller's.
        unsafe { configure() };
        for column in (0..self.n).step_by(2 * BLOCK) {
            let b = right[column / BLOCK * right_steps * LINES..].as_ptr();
            let two = self.n - column > BLOCK;
            let b = [b, if two { b.wrapping_add(right_steps * LINES) } else { b }];
            for row in (0..m).step_by(2 * BLOCK) {
                let a = left[row / BLOCK * steps * LINES..].as_ptr();
                let a = [a, if m - row > BLOCK { a.wrapping_add(steps * LINES) } else { a }];
                // SAFETY: the caller's; a block that does not exist is the other one over again, and not stored.
                unsafe {
                    multiply(a, b, steps, &mut sums);
                    self.store(row, m, column, &sums);
                }
            }
        }
        // SAFETY: tiles are configured; nothing of ours is in them any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }

    /// # Safety
    /// The machine must have AVX-512, and the output rows `top + row..top + m` and columns from `column` on.
    #[target_feature(enable = "avx512f")]
    unsafe fn store(&mut self, row: usize, m: usize, column: usize, sums: &Sums) {
        let n = self.n;
        for half in 0..2 {
            let column = column + half * BLOCK;
            if column >= n {
                break;
            }
            let mask = mask(n - column);
            let bias = match self.start {
                // SAFETY: a bias has `n` values; masked lanes are not read.
                Start::Bias(bias) | Start::BiasAnd(bias, _) => unsafe {
                    _mm512_maskz_loadu_ps(mask, bias.as_ptr().add(column))
                },
                Start::Zero | Start::Kept => _mm512_setzero_ps(),
            };
            for i in 0..(2 * BLOCK).min(m - row) {
                let line = &sums.0[2 * (i / BLOCK) + half][i % BLOCK];
                let row = self.top + row + i;
                debug_assert!(row < self.rows);
                // SAFETY: the caller's: row and column lie in the output, and in the residual of `rows · n` values; a line
                // has sixteen values and is aligned.
                unsafe {
                    let out = self.values.as_mut_ptr().add(row * self.stride + column);
                    let mut sum = _mm512_add_ps(_mm512_load_ps(line.as_ptr()), bias);
                    match self.start {
                        Start::Kept => sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, out)),
                        Start::BiasAnd(_, plus) => {
                            sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, plus.as_ptr().add(row * n + column)));
                        }
                        Start::Zero | Start::Bias(_) => {}
                    }
                    _mm512_mask_storeu_ps(out, mask, sum);
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

/// Two blocks of rows times two of columns, `steps` long.
///
/// # Safety
/// Tiles must be configured, and `steps · LINES` lines be readable at each pointer.
unsafe fn multiply(a: [*const Line; 2], b: [*const Line; 2], steps: usize, sums: &mut Sums) {
    // Tiles 4 and 5 hold parts of the left blocks, 6 and 7 of the right ones. The six products of parts come in an order that
    // changes one side at a time.
    // SAFETY: the caller's. Compiled code never uses tiles by itself, so that none has to be kept.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {steps}, {steps}",
            "jz 3f",
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
            "3:",
            "tilestored [{sums} + {line}*1], tmm0",
            "tilestored [{sums} + {line}*1 + 1024], tmm1",
            "tilestored [{sums} + {line}*1 + 2048], tmm2",
            "tilestored [{sums} + {line}*1 + 3072], tmm3",
            a0 = inout(reg) a[0] => _,
            a1 = inout(reg) a[1] => _,
            b0 = inout(reg) b[0] => _,
            b1 = inout(reg) b[1] => _,
            steps = inout(reg) steps => _,
            line = in(reg) 64_usize,
            sums = in(reg) &raw mut *sums,
            options(nostack),
        );
    }
}
