//! Products with a right operand of bf16: the upper half of an f32, so that a shift makes it one again.
//!
//! Two values of each column lie in one word, those of a column's even row below. AVX-512 BF16 multiplies such pairs with pairs of a
//! row, which are rounded to bf16 too; every other set widens the right operand and multiplies in f32. Both sum in f32.

use std::sync::LazyLock;

use pulp::Simd;

use super::tile::{Begin, mask_of};
use super::{Registers, Start, on_current, with_rows};
use crate::InstructionSet;
use crate::instruction_set::current;

/// Whether rows are multiplied as pairs of bf16 as well.
pub(crate) fn takes_pairs() -> bool {
    static PAIRS: LazyLock<bool> = LazyLock::new(|| {
        let set = current();
        matches!(set, InstructionSet::Avx512 | InstructionSet::Amx) && dots::are_there()
    });
    *PAIRS
}

/// The left operand, rows without gaps.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// `[m, k]`.
    Values(&'a [f32]),
    /// `[m, ⌈k / 2⌉]`, two values a word.
    Pairs(&'a [u32]),
}

/// `out = start + a b`, rows of `out` `stride` apart; `b` in panels of pairs: a word for each column of a panel, then those of the next
/// two rows.
///
/// # Panics
/// Where lengths differ, or for rows of another kind than [`takes_pairs`] says.
pub(crate) fn run(
    (m, n, k): (usize, usize, usize),
    (out, stride): (&mut [f32], usize),
    start: Start<'_>,
    a: Rows<'_>,
    b: &[u32],
) {
    let pairs = k.div_ceil(2);
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= stride && (m - 1) * stride + n <= out.len(), "product outside its output");
    assert!(b.len() >= n.next_multiple_of(super::panel()) * pairs, "columns outside the right operand");
    match start {
        Start::Bias(bias) => assert_eq!(bias.len(), n, "bias of another length"),
        Start::BiasAnd(bias, plus) => {
            assert_eq!([bias.len(), plus.len()], [n, m * n], "bias or residual of another shape");
        }
        Start::Zero | Start::Kept => {}
    }
    match a {
        Rows::Pairs(a) => {
            assert!(takes_pairs() && a.len() >= m * pairs, "rows outside the left operand");
            // SAFETY: the assertions bound every operand, and the machine has the instructions.
            unsafe { dots::tiles((m, n, pairs), (out, stride), start, a, b) };
        }
        Rows::Values(a) => {
            assert!(k % 2 == 0 && a.len() >= m * k, "rows outside the left operand, or of an odd length");
            // SAFETY: the assertions bound every operand.
            on_current!(simd => unsafe { tiles(Widened(simd), (m, n, pairs), (out, stride), start, a, b) });
        }
    }
}

/// How an instruction set sums pairs of products.
trait Pairs: Copy {
    type S: Registers;
    /// A value of the left operand.
    type Left;
    /// Values of it in a pair.
    const LEFT: usize;
    /// Rows of sums: as many as leave registers for both halves of the right operand.
    const ROWS: usize;

    fn simd(self) -> Self::S;

    /// `sums[r][v] += row r's pair · columns' pairs v`; rows `row` values of the left operand apart.
    ///
    /// # Safety
    /// Rows and columns must hold the pair.
    unsafe fn add<const R: usize, const V: usize>(
        self,
        left: *const Self::Left,
        row: usize,
        right: *const u32,
        sums: &mut [[<Self::S as Simd>::f32s; V]; R],
    );

    /// Compiles `body` for the instruction set. Everything inside must be `#[inline(always)]`.
    fn within<R>(self, body: impl FnOnce() -> R) -> R;
}

/// Widened to f32.
#[derive(Clone, Copy)]
struct Widened<S>(S);

impl<S: Registers> Pairs for Widened<S> {
    type S = S;
    type Left = f32;
    const LEFT: usize = 2;
    const ROWS: usize = if S::ROWS < 8 { S::ROWS - 1 } else { S::ROWS };

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    unsafe fn add<const R: usize, const V: usize>(
        self,
        left: *const f32,
        row: usize,
        right: *const u32,
        sums: &mut [[S::f32s; V]; R],
    ) {
        let simd = self.0;
        // SAFETY: the caller's.
        unsafe {
            let load = |v: usize| right.add(v * S::F32_LANES).cast::<S::u32s>().read_unaligned();
            let mut b = [simd.splat_f32s(0.0); V];
            for (v, b) in b.iter_mut().enumerate() {
                *b = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(load(v), simd.splat_u32s(16)));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = simd.splat_f32s(*left.add(r * row));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = simd.multiply_add(a, b, *sum);
                }
            }
            // The compiler keeps or loads them again as it has registers.
            for (v, b) in b.iter_mut().enumerate() {
                *b = simd.transmute_f32s_u32s(simd.and_u32s(load(v), simd.splat_u32s(0xffff_0000)));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = simd.splat_f32s(*left.add(r * row + 1));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = simd.multiply_add(a, b, *sum);
                }
            }
        }
    }

    #[inline(always)]
    fn within<R>(self, body: impl FnOnce() -> R) -> R {
        self.0.within(body)
    }
}

#[cfg(target_arch = "x86_64")]
mod dots {
    use std::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32};
    use std::mem::transmute;

    use pulp::f32x16;
    use pulp::x86::V4;

    use super::{Pairs, Registers, Start};

    /// AVX-512 BF16, which the machine has.
    #[derive(Clone, Copy)]
    struct Dots(V4);

    pub(super) fn are_there() -> bool {
        is_x86_feature_detected!("avx512bf16") && V4::try_new().is_some()
    }

    /// # Safety
    /// As [`super::tiles`]; the instructions [must be there](are_there).
    pub(super) unsafe fn tiles(
        shape: (usize, usize, usize),
        out: (&mut [f32], usize),
        start: Start<'_>,
        a: &[u32],
        b: &[u32],
    ) {
        let hand = Dots(V4::try_new().expect("the machine has it"));
        // SAFETY: the caller's.
        unsafe { super::tiles(hand, shape, out, start, a, b) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
    #[inline]
    fn with_bf16<R>(body: impl FnOnce() -> R) -> R {
        body()
    }

    impl Pairs for Dots {
        type S = V4;
        type Left = u32;
        const LEFT: usize = 1;
        const ROWS: usize = <V4 as Registers>::ROWS;

        #[inline(always)]
        fn simd(self) -> V4 {
            self.0
        }

        #[inline(always)]
        unsafe fn add<const R: usize, const V: usize>(
            self,
            left: *const u32,
            row: usize,
            right: *const u32,
            sums: &mut [[f32x16; V]; R],
        ) {
            // SAFETY: the caller's; the machine has the instructions (as `self` says); all types are 64 bytes of any values.
            unsafe {
                let load = |v: usize| right.add(v * 16).cast::<[u32; 16]>().read_unaligned();
                let mut b = [load(0); V];
                for (v, b) in b.iter_mut().enumerate().skip(1) {
                    *b = load(v);
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = _mm512_set1_epi32((*left.add(r * row)).cast_signed());
                    for (sum, b) in sums.iter_mut().zip(b) {
                        let (before, a) = (transmute::<f32x16, __m512>(*sum), transmute::<__m512i, __m512bh>(a));
                        let after = _mm512_dpbf16_ps(before, a, transmute::<[u32; 16], __m512bh>(b));
                        *sum = transmute::<__m512, f32x16>(after);
                    }
                }
            }
        }

        #[inline(always)]
        fn within<R>(self, body: impl FnOnce() -> R) -> R {
            // SAFETY: the machine has these instructions (as `self` says).
            unsafe { with_bf16(body) }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod dots {
    use super::Start;

    pub(super) fn are_there() -> bool {
        false
    }

    pub(super) unsafe fn tiles(_: (usize, usize, usize), _: (&mut [f32], usize), _: Start<'_>, _: &[u32], _: &[u32]) {
        unreachable!("no machine of this kind multiplies pairs")
    }
}

/// Tile after tile.
///
/// # Safety
/// Operands must hold what [`run`] asserts.
unsafe fn tiles<P: Pairs>(
    hand: P,
    (m, n, pairs): (usize, usize, usize),
    (out, stride): (&mut [f32], usize),
    start: Start<'_>,
    a: &[P::Left],
    b: &[u32],
) {
    let (most, panel, lanes) = (P::ROWS, <P::S as Registers>::PANEL, <P::S as Simd>::F32_LANES);
    let out = out.as_mut_ptr();
    let row = pairs * P::LEFT;
    for (i, column) in (0..n).step_by(panel).enumerate() {
        let width = panel.min(n - column);
        let vectors = width.div_ceil(lanes);
        for top in (0..m).step_by(most) {
            let tile = Tile {
                hand,
                pairs,
                left: a[top * row..].as_ptr(),
                row,
                right: b[i * pairs * panel..].as_ptr(),
                out: out.wrapping_add(top * stride + column),
                stride,
                last: width - (vectors - 1) * lanes,
                begin: Begin::of(start, (out, stride), (top, column), n),
            };
            // SAFETY: the caller's; rows and vectors (the last one under its mask) lie within the operands.
            unsafe { tile.any(most.min(m - top), vectors) };
        }
    }
}

/// Some rows and vectors of the output.
struct Tile<P: Pairs> {
    hand: P,
    pairs: usize,
    left: *const P::Left,
    row: usize,
    right: *const u32,
    out: *mut f32,
    stride: usize,
    /// Lanes of the last vector.
    last: usize,
    begin: Begin,
}

impl<P: Pairs> Tile<P> {
    #[inline(always)]
    unsafe fn any(&self, rows: usize, vectors: usize) {
        // SAFETY: the caller's.
        unsafe {
            match vectors {
                1 => self.rows::<1>(rows),
                2 => self.rows::<2>(rows),
                3 => self.rows::<3>(rows),
                _ => unreachable!("{vectors} vectors in a panel"),
            }
        }
    }

    #[inline(always)]
    unsafe fn rows<const V: usize>(&self, rows: usize) {
        if const { V > <P::S as Registers>::VECTORS } {
            unreachable!("no panel of {V} vectors");
        }
        // SAFETY: the caller's.
        unsafe { with_rows!(self.go(rows; V)) }
    }

    #[inline(always)]
    unsafe fn go<const R: usize, const V: usize>(&self) {
        if const { R > P::ROWS } {
            unreachable!("no strip of {R} rows");
        }
        self.hand.within(
            #[inline(always)]
            // SAFETY: the caller vouches for `R` rows and `V` vectors.
            || unsafe { self.sum::<R, V>() },
        );
    }

    #[inline(always)]
    unsafe fn sum<const R: usize, const V: usize>(&self) {
        let (hand, simd, lanes) = (self.hand, self.hand.simd(), <P::S as Simd>::F32_LANES);
        // SAFETY: the caller's.
        unsafe {
            let mask = mask_of(simd, self.last);
            let masked = |v: usize| (v + 1 == V && self.last < lanes).then_some(mask);
            let mut sums = [[simd.splat_f32s(0.0); V]; R];
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = self.begin.at(simd, r, v * lanes, masked(v));
                }
            }
            let (mut left, mut right) = (self.left, self.right);
            for _ in 0..self.pairs {
                hand.add::<R, V>(left, self.row, right, &mut sums);
                left = left.add(P::LEFT);
                right = right.wrapping_add(<P::S as Registers>::PANEL);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let to = self.out.wrapping_add(r * self.stride + v * lanes);
                    match masked(v) {
                        Some(mask) => simd.mask_store_ptr_f32s(mask, to, *sum),
                        None => to.cast::<<P::S as Simd>::f32s>().write_unaligned(*sum),
                    }
                }
            }
        }
    }
}
