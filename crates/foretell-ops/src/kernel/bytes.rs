//! Products of bytes: whole numbers of eight bits on both sides, their sums exact in 32.
//!
//! Four values of a row meet four of each column at a time. Weights lie as `w + 128` without a sign and rows with one, as
//! `vpdpbusd` wants them, so that the rows' values may come from memory by broadcast; sums begin at `−128 Σ a`, which takes the 128
//! off again. Sums of whole numbers are the same in every order: all hands give the same ones.

use std::sync::LazyLock;

#[cfg(target_arch = "x86_64")]
use pulp::{Simd, x86};

#[cfg(target_arch = "x86_64")]
use super::tile::{Begin, mask_of};
use super::{Registers, Start, on_current, with_rows};
use crate::InstructionSet;
use crate::instruction_set::current;

/// Values of a row that are multiplied at a time.
pub(crate) const FOUR: usize = 4;

/// Columns of a panel where the compiler makes the vectors.
const PLAIN: usize = 16;

/// What multiplies bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hand {
    /// AVX-512 VNNI: 64 products an instruction.
    #[cfg(target_arch = "x86_64")]
    Vnni512,
    /// AVX-VNNI: 32.
    #[cfg(target_arch = "x86_64")]
    Vnni256,
    /// AVX2 alone: widened to 16 bits first, as two products of bytes can be more than those hold.
    #[cfg(target_arch = "x86_64")]
    Wide256,
    /// Everything else.
    Plain,
}

impl Hand {
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Vnni512,
        #[cfg(target_arch = "x86_64")]
        Self::Vnni256,
        #[cfg(target_arch = "x86_64")]
        Self::Wide256,
        Self::Plain,
    ];

    /// Those that this machine has for an instruction set, the quickest first.
    pub(crate) fn of(set: InstructionSet) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |hand| match hand {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 => matches!(set, InstructionSet::Avx512 | InstructionSet::Amx) && vnni512().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 => {
                matches!(set, InstructionSet::Avx2 | InstructionSet::Avx512 | InstructionSet::Amx)
                    && vnni256().is_some()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide256 => {
                matches!(set, InstructionSet::Avx2 | InstructionSet::Avx512 | InstructionSet::Amx)
                    && x86::V3::try_new().is_some()
            }
            Self::Plain => true,
        })
    }

    /// The one in use.
    pub(crate) fn current() -> Self {
        static CURRENT: LazyLock<Hand> = LazyLock::new(|| Hand::of(current()).next().expect("one is everywhere"));
        *CURRENT
    }

    /// Columns of a panel.
    pub(crate) fn panel(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Vnni512 => <x86::V4 as Registers>::PANEL,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni256 | Self::Wide256 => <x86::V3 as Registers>::PANEL,
            Self::Plain => PLAIN,
        }
    }
}

/// Rows of bytes, each with what a unit of it stands for and the sum of its values.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// `[m, stride]`; zeros behind the values.
    pub values: &'a [i8],
    pub stride: usize,
    pub scales: &'a [f32],
    pub sums: &'a [i32],
}

/// Columns of bytes plus 128 in panels: four values of each column of a panel, then the next four; and what a unit of each
/// column stands for, as many as there are columns in whole panels.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    pub values: &'a [u8],
    pub scales: &'a [f32],
}

/// `out = start + a b`, `out` `[m, n]` without gaps, by a hand that this machine has.
///
/// # Panics
/// Where lengths differ.
pub(crate) fn run(
    hand: Hand,
    (m, n, k): (usize, usize, usize),
    out: &mut [f32],
    start: Start<'_>,
    a: Rows<'_>,
    b: Columns<'_>,
) {
    let (panel, fours) = (hand.panel(), k.div_ceil(FOUR));
    let columns = n.next_multiple_of(panel);
    assert!(a.stride >= fours * FOUR && a.values.len() >= m * a.stride, "rows outside the left operand");
    assert!(a.scales.len() >= m && a.sums.len() >= m, "rows without a scale");
    assert!(b.values.len() >= columns * fours * FOUR && b.scales.len() >= columns, "columns outside the right operand");
    assert_eq!(out.len(), m * n, "output of another shape");
    match start {
        Start::Bias(bias) => assert_eq!(bias.len(), n, "bias of another length"),
        Start::BiasAnd(bias, plus) => {
            assert_eq!([bias.len(), plus.len()], [n, m * n], "bias or residual of another shape");
        }
        Start::Zero | Start::Kept => {}
    }
    match hand {
        // SAFETY: the assertions above bound every operand.
        #[cfg(target_arch = "x86_64")]
        Hand::Vnni512 => unsafe { tiles(vnni512().expect("the machine has it"), (m, n, fours), out, start, a, b) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Hand::Vnni256 => unsafe { tiles(vnni256().expect("the machine has it"), (m, n, fours), out, start, a, b) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Hand::Wide256 => unsafe {
            let hand = Wide256(x86::V3::try_new().expect("the machine has it"));
            tiles(hand, (m, n, fours), out, start, a, b);
        },
        Hand::Plain => {
            on_current!(simd => simd.within(
                #[inline(always)]
                || plain((m, n, fours), out, start, a, b),
            ));
        }
    }
}

/// [`run`] in loops that the compiler makes vectors of.
#[inline(always)]
fn plain((m, n, fours): (usize, usize, usize), out: &mut [f32], start: Start<'_>, a: Rows<'_>, b: Columns<'_>) {
    let panels = b.values.chunks_exact((fours * FOUR * PLAIN).max(1));
    for (first, panel) in (0..n).step_by(PLAIN).zip(panels) {
        for i in 0..m {
            let row = a.values[i * a.stride..][..fours * FOUR].as_chunks::<FOUR>().0;
            let mut sums = [-128 * a.sums[i]; PLAIN];
            for (a, b) in row.iter().zip(panel.as_chunks::<{ FOUR * PLAIN }>().0) {
                let a = a.map(i32::from);
                for (sum, b) in sums.iter_mut().zip(b.as_chunks::<FOUR>().0) {
                    *sum += a[0] * i32::from(b[0])
                        + a[1] * i32::from(b[1])
                        + a[2] * i32::from(b[2])
                        + a[3] * i32::from(b[3]);
                }
            }
            let columns = first..n.min(first + PLAIN);
            let out = &mut out[i * n..][columns.clone()];
            for ((out, sum), column) in out.iter_mut().zip(sums).zip(columns) {
                let begin = match start {
                    Start::Zero => 0.0,
                    Start::Kept => *out,
                    Start::Bias(bias) => bias[column],
                    Start::BiasAnd(bias, plus) => bias[column] + plus[i * n + column],
                };
                *out = (sum as f32).mul_add(a.scales[i] * b.scales[column], begin);
            }
        }
    }
}

/// How an instruction set takes sums of four products.
#[cfg(target_arch = "x86_64")]
trait Dots: Copy {
    type S: Registers;
    /// Four values of each of a vector's columns, ready.
    type Weights: Copy;
    /// Four values of a row, ready.
    type Row: Copy;
    /// Rows of sums: as many as there are registers for beside the weights of a panel. A sum that is put aside waits for memory at
    /// every step, which halves the speed.
    const ROWS: usize;

    fn simd(self) -> Self::S;
    fn weights(self, values: <Self::S as Simd>::i32s) -> Self::Weights;
    fn row(self, values: i32) -> Self::Row;
    fn dot(self, sums: <Self::S as Simd>::i32s, weights: Self::Weights, row: Self::Row) -> <Self::S as Simd>::i32s;
    fn floats(self, sums: <Self::S as Simd>::i32s) -> <Self::S as Simd>::f32s;

    /// Compiles `body` for the instruction set. Everything inside must be `#[inline(always)]`.
    fn within<R>(self, body: impl FnOnce() -> R) -> R;
}

#[cfg(target_arch = "x86_64")]
mod hands;
#[cfg(target_arch = "x86_64")]
use hands::{Wide256, vnni256, vnni512};

/// [`run`] tile after tile.
///
/// # Safety
/// Operands must hold what [`run`] asserts.
#[cfg(target_arch = "x86_64")]
unsafe fn tiles<H: Dots>(
    hand: H,
    (m, n, fours): (usize, usize, usize),
    out: &mut [f32],
    start: Start<'_>,
    a: Rows<'_>,
    b: Columns<'_>,
) {
    let (most, panel, lanes) = (H::ROWS, <H::S as Registers>::PANEL, <H::S as Simd>::F32_LANES);
    let out = out.as_mut_ptr();
    for (i, column) in (0..n).step_by(panel).enumerate() {
        let width = panel.min(n - column);
        let vectors = width.div_ceil(lanes);
        for top in (0..m).step_by(most) {
            let tile = Tile {
                hand,
                fours,
                left: a.values[top * a.stride..].as_ptr(),
                row: a.stride,
                of_rows: (a.scales[top..].as_ptr(), a.sums[top..].as_ptr()),
                right: b.values[i * fours * FOUR * panel..].as_ptr(),
                of_columns: b.scales[column..].as_ptr(),
                out: out.wrapping_add(top * n + column),
                stride: n,
                last: width - (vectors - 1) * lanes,
                begin: Begin::of(start, (out, n), (top, column), n),
            };
            // SAFETY: the caller's; rows and vectors (the last one under its mask) lie within the operands.
            unsafe { tile.any(most.min(m - top), vectors) };
        }
    }
}

/// Some rows and vectors of the output.
#[cfg(target_arch = "x86_64")]
struct Tile<H> {
    hand: H,
    fours: usize,
    left: *const i8,
    row: usize,
    of_rows: (*const f32, *const i32),
    right: *const u8,
    of_columns: *const f32,
    out: *mut f32,
    stride: usize,
    /// Lanes of the last vector.
    last: usize,
    begin: Begin,
}

#[cfg(target_arch = "x86_64")]
impl<H: Dots> Tile<H> {
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
        // SAFETY: the caller's.
        unsafe { with_rows!(self.go(rows; V)) }
    }

    #[inline(always)]
    unsafe fn go<const R: usize, const V: usize>(&self) {
        if const { R > H::ROWS } {
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
        let (hand, simd, lanes) = (self.hand, self.hand.simd(), <H::S as Simd>::F32_LANES);
        // SAFETY: the caller's.
        unsafe {
            let mut sums = [[simd.splat_i32s(0); V]; R];
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = [simd.splat_i32s(-128 * *self.of_rows.1.add(r)); V];
            }
            let (mut left, mut right) = (self.left, self.right);
            for _ in 0..self.fours {
                let load = |v: usize| right.add(v * FOUR * lanes).cast::<<H::S as Simd>::i32s>().read_unaligned();
                let mut b = [hand.weights(load(0)); V];
                for (v, b) in b.iter_mut().enumerate().skip(1) {
                    *b = hand.weights(load(v));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let a = hand.row(left.add(r * self.row).cast::<i32>().read_unaligned());
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = hand.dot(*sum, b, a);
                    }
                }
                left = left.add(FOUR);
                right = right.wrapping_add(FOUR * <H::S as Registers>::PANEL);
            }
            let mask = mask_of(simd, self.last);
            for v in 0..V {
                let is_last = v + 1 == V && self.last < lanes;
                let scales = self.of_columns.add(v * lanes).cast::<<H::S as Simd>::f32s>().read_unaligned();
                for (r, sums) in sums.iter().enumerate() {
                    let scale = simd.mul_f32s(scales, simd.splat_f32s(*self.of_rows.0.add(r)));
                    let begin = self.begin.at(simd, r, v * lanes, is_last.then_some(mask));
                    let sum = simd.multiply_add(hand.floats(sums[v]), scale, begin);
                    let to = self.out.wrapping_add(r * self.stride + v * lanes);
                    if is_last {
                        simd.mask_store_ptr_f32s(mask, to, sum);
                    } else {
                        to.cast::<<H::S as Simd>::f32s>().write_unaligned(sum);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every hand of this machine.
    pub(crate) fn hands() -> Vec<Hand> {
        let mut hands: Vec<Hand> = Vec::new();
        for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
            hands.extend(Hand::of(set).filter(|hand| !hands.contains(hand)).collect::<Vec<_>>());
        }
        hands
    }

    /// A whole number between −127 and 127.
    fn whole(i: usize) -> i32 {
        ((i * 7919 + i / 13) % 255) as i32 - 127
    }

    #[test]
    fn every_hand_sums_whole_numbers_exactly() {
        for hand in hands() {
            let panel = hand.panel();
            for (m, n, k) in [(1, 1, 1_usize), (3, 5, 7), (8, panel, 64), (13, 2 * panel + 9, 131), (9, 100, 4099)] {
                let (fours, columns) = (k.div_ceil(FOUR), n.next_multiple_of(panel));
                let stride = fours * FOUR;
                let a = |i: usize, p: usize| if p < k { whole(i * 31 + p * 3) } else { 0 };
                // The ends of what a byte holds, beside each other: where pairs of products would pass 16 bits.
                let b =
                    |p: usize, c: usize| if c == 0 { 127 - 254 * (p as i32 % 2) } else { whole(p * 17 + c * 5 + 1) };
                let values: Vec<i8> = (0..m * stride).map(|at| a(at / stride, at % stride) as i8).collect();
                let sums: Vec<i32> = (0..m).map(|i| (0..k).map(|p| a(i, p)).sum()).collect();
                let scales: Vec<f32> = (0..m).map(|i| 0.5 + i as f32).collect();
                let rows = Rows { values: &values, stride, scales: &scales, sums: &sums };
                let mut packed = vec![0_u8; columns * stride];
                for (c, p) in (0..n).flat_map(|c| (0..k).map(move |p| (c, p))) {
                    let at = c / panel * stride * panel + p / FOUR * FOUR * panel + c % panel * FOUR + p % FOUR;
                    packed[at] = (b(p, c) + 128) as u8;
                }
                let of_columns: Vec<f32> = (0..columns).map(|c| 1.0 / (1 << (c % 4)) as f32).collect();
                let right = Columns { values: &packed, scales: &of_columns };
                let bias: Vec<f32> = (0..n).map(|c| c as f32).collect();
                let plus: Vec<f32> = (0..m * n).map(|i| (i % 7) as f32).collect();
                for start in [Start::Zero, Start::Kept, Start::Bias(&bias), Start::BiasAnd(&bias, &plus)] {
                    let mut out = vec![3.0; m * n];
                    run(hand, (m, n, k), &mut out, start, rows, right);
                    for (at, out) in out.iter().enumerate() {
                        let (i, c) = (at / n, at % n);
                        let sum: i32 = (0..k).map(|p| a(i, p) * b(p, c)).sum();
                        let begin = match start {
                            Start::Zero => 0.0,
                            Start::Kept => 3.0,
                            Start::Bias(bias) => bias[c],
                            Start::BiasAnd(bias, plus) => bias[c] + plus[at],
                        };
                        let expected =
                            f64::from(sum) * f64::from(scales[i]) * f64::from(of_columns[c]) + f64::from(begin);
                        // Rounded to 24 bits twice: as a float and at the end.
                        let off = (f64::from(*out) - expected).abs();
                        assert!(
                            off <= expected.abs().max(f64::from(sum.abs()) * 8.0) * 1.3e-7,
                            "{hand:?} {m}x{n}x{k}: {out} {expected}"
                        );
                    }
                }
            }
        }
    }
}
