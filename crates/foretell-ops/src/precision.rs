//! Weights in fewer bits, for networks that are used and no longer trained.
//!
//! - *bf16*: the upper half of each f32, rounded to the nearest even. Half the memory; a weight is off by 2⁻⁸ of itself at most. Where
//!   the machine multiplies pairs of bf16 (AVX-512 BF16), what goes into a map is rounded as well.
//! - *int8*: whole numbers between −127 and 127, symmetric, with one scale for each output channel (Jacob et al., 2018; Dettmers et
//!   al., 2022, row-wise). What goes into a map is rounded likewise with a scale for each row, found when it comes: nothing is
//!   calibrated, and no sample changes another's features. Sums are exact in 32 bits, so that they are the same on every machine.
//!
//! Only the maps of transformer blocks are meant, which hold nearly all weights. Norms, softmax, the products of attention, the residual
//! stream, embeddings and heads stay in f32.

use rayon::prelude::*;

use crate::count::count;
use crate::kernel::bytes::{self, FOUR, Hand};
use crate::kernel::halves::{self, takes_pairs};
use crate::kernel::{self, Start};
use crate::matrix::Matrix;
use crate::simd::dispatch;

/// In how many bits a network's maps are held. See the module's page in the documentation of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As trained.
    #[default]
    F32,
    /// The upper half of each f32.
    Bf16,
    /// Whole numbers of 8 bits with a scale for each output channel.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// As options name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Adding and taking away 1.5·2²³ rounds to the nearest even integer and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// The largest whole number.
const MOST: f32 = 127.0;

/// Products that 32 bits hold the sum of, whatever their factors: 127 · 255 each.
const LONGEST: usize = 65_536;

/// What is smaller counts as zero: the quotient of its scale would be no number.
const TINY: f32 = 1e-30;

/// The largest magnitude, or something that is not finite where a value is not.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let bits = values.iter().fold(0_u32, |most, x| most.max(x.to_bits() & 0x7fff_ffff));
    f32::from_bits(bits)
}

/// What a whole number stands for, and how many make one.
#[inline(always)]
fn scale_of(largest: f32) -> (f32, f32) {
    if !largest.is_finite() {
        (f32::NAN, 0.0)
    } else if largest < TINY {
        (0.0, 0.0)
    } else {
        (largest / MOST, MOST / largest)
    }
}

/// The nearest whole number, in its low byte.
#[inline(always)]
fn whole(x: f32, per: f32) -> u32 {
    (x * per + ROUND).to_bits()
}

/// Rounded to bf16, to the nearest even; what is no number stays none.
#[inline(always)]
pub(crate) fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

/// A right operand of bytes.
pub(crate) struct Bytes {
    hand: Hand,
    values: Vec<u8>,
    scales: Vec<f32>,
}

impl Bytes {
    /// Of a matrix `[k, n]`; `None` where sums could pass 32 bits.
    pub(crate) fn of(b: Matrix<'_>) -> Option<Self> {
        (b.rows <= LONGEST).then(|| Self::by(Hand::current(), b))
    }

    fn by(hand: Hand, b: Matrix<'_>) -> Self {
        let (k, n, panel) = (b.rows, b.cols, hand.panel());
        let (fours, columns) = (k.div_ceil(FOUR), n.next_multiple_of(panel));
        let mut values = vec![0_u8; columns * fours * FOUR];
        let mut scales = vec![0.0_f32; columns];
        let panels = values.par_chunks_mut((fours * FOUR * panel).max(1)).zip(scales.par_chunks_mut(panel));
        panels.enumerate().for_each(|(i, (values, scales))| {
            let mut column = Vec::with_capacity(k);
            for (c, scale) in scales.iter_mut().enumerate().take(n - i * panel) {
                column_of(b, i * panel + c, &mut column);
                let per;
                (*scale, per) = scale_of(largest(&column));
                for (p, x) in column.iter().enumerate() {
                    values[p / FOUR * FOUR * panel + c * FOUR + p % FOUR] = (whole(*x, per) as u8).wrapping_add(128);
                }
            }
        });
        Self { hand, values, scales }
    }
}

/// Some column of a matrix.
fn column_of(b: Matrix<'_>, c: usize, to: &mut Vec<f32>) {
    to.clear();
    to.extend((0..b.rows).map(|p| b.values[c * b.col_stride + p * b.row_stride]));
}

/// A right operand of bf16.
pub(crate) struct Halves(Vec<u32>);

impl Halves {
    /// Of a matrix `[k, n]`; `None` for an odd k where rows are not paired.
    pub(crate) fn of(b: Matrix<'_>) -> Option<Self> {
        let (k, n, panel) = (b.rows, b.cols, kernel::panel());
        if k % 2 == 1 && !takes_pairs() {
            return None;
        }
        let pairs = k.div_ceil(2);
        let mut words = vec![0_u32; n.next_multiple_of(panel) * pairs];
        words.par_chunks_mut((pairs * panel).max(1)).enumerate().for_each(|(i, words)| {
            let mut column = Vec::with_capacity(k);
            for c in 0..panel.min(n - i * panel) {
                column_of(b, i * panel + c, &mut column);
                for (j, pair) in column.chunks(2).enumerate() {
                    words[j * panel + c] = word(pair);
                }
            }
        });
        Some(Self(words))
    }
}

#[inline(always)]
fn word(pair: &[f32]) -> u32 {
    bf16(pair[0]) | pair.get(1).map_or(0, |x| bf16(*x) << 16)
}

/// Room for rows as maps of fewer bits take them.
#[derive(Default)]
pub(crate) struct Room {
    bytes: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    words: Vec<u32>,
}

/// Rows as maps of some precision take them.
#[derive(Clone, Copy)]
pub(crate) enum Given<'a> {
    /// As they are.
    Values(&'a [f32]),
    /// As whole numbers.
    Bytes(bytes::Rows<'a>),
    /// As pairs of bf16.
    Pairs(&'a [u32]),
}

/// Rows `k` wide as whole numbers, on the calling thread.
pub(crate) fn in_bytes<'a>(rows: &[f32], k: usize, room: &'a mut Room) -> Given<'a> {
    let (m, stride) = (rows.len() / k.max(1), k.next_multiple_of(FOUR));
    let Room { bytes, scales, sums, .. } = room;
    bytes.resize(bytes.len().max(m * stride), 0);
    scales.resize(scales.len().max(m), 0.0);
    sums.resize(sums.len().max(m), 0);
    dispatch(
        #[inline(always)]
        || {
            let rows = rows.chunks_exact(k.max(1)).zip(bytes.chunks_exact_mut(stride.max(1)));
            for ((row, bytes), (scale, sum)) in rows.zip(scales.iter_mut().zip(sums.iter_mut())) {
                let per;
                (*scale, per) = scale_of(largest(row));
                // Of their own: in memory that others may share, no vectors are made of them.
                let mut total = 0;
                let (whole_bytes, rest) = bytes.split_at_mut(k);
                for (to, x) in whole_bytes.iter_mut().zip(row) {
                    let value = whole(*x, per) as i8;
                    *to = value;
                    total += i32::from(value);
                }
                rest.fill(0);
                *sum = total;
            }
        },
    );
    Given::Bytes(bytes::Rows { values: &bytes[..m * stride], stride, scales: &scales[..m], sums: &sums[..m] })
}

/// Rows `k` wide as the kernel for bf16 takes them, on the calling thread.
pub(crate) fn in_pairs<'a>(rows: &'a [f32], k: usize, room: &'a mut Room) -> Given<'a> {
    if !takes_pairs() {
        return Given::Values(rows);
    }
    let (m, pairs) = (rows.len() / k.max(1), k.div_ceil(2));
    let words = &mut room.words;
    words.resize(words.len().max(m * pairs), 0);
    dispatch(
        #[inline(always)]
        || {
            for (row, words) in rows.chunks_exact(k.max(1)).zip(words.chunks_exact_mut(pairs.max(1))) {
                let (whole, rest) = row.as_chunks::<2>();
                for (word, [low, high]) in words.iter_mut().zip(whole) {
                    *word = bf16(*low) | bf16(*high) << 16;
                }
                if let [x] = rest {
                    words[pairs - 1] = bf16(*x);
                }
            }
        },
    );
    Given::Pairs(&words[..m * pairs])
}

/// Rows of a product of pairs, in scratch.
#[derive(Default)]
pub(crate) struct Words(Vec<u32>);

impl Words {
    /// The rows of a matrix whose columns lie one after the other; every row has an even length.
    pub(crate) fn of(&mut self, rows: Matrix<'_>) -> &[u32] {
        let (m, pairs) = (rows.rows, rows.cols / 2);
        assert!(rows.col_stride == 1 && rows.cols.is_multiple_of(2), "rows in pairs");
        self.0.resize(self.0.len().max(m * pairs), 0);
        dispatch(
            #[inline(always)]
            || {
                for (i, words) in self.0.chunks_exact_mut(pairs.max(1)).take(m).enumerate() {
                    let row = rows.values[i * rows.row_stride..][..2 * pairs].as_chunks::<2>().0;
                    for (word, [low, high]) in words.iter_mut().zip(row) {
                        *word = bf16(*low) | bf16(*high) << 16;
                    }
                }
            },
        );
        &self.0[..m * pairs]
    }
}

/// A right operand of pairs for several products one after the other, in scratch.
#[derive(Default)]
pub(crate) struct Paired {
    words: Words,
    panels: Vec<u32>,
}

impl Paired {
    /// The transpose of a matrix `[n, k]`, k even.
    pub(crate) fn columns(&mut self, b: Matrix<'_>) {
        let (n, pairs, panel) = (b.rows, b.cols / 2, kernel::panel());
        let words = self.words.of(b);
        self.panels.resize(self.panels.len().max(n.next_multiple_of(panel) * pairs), 0);
        for (i, to) in self.panels.chunks_exact_mut((pairs * panel).max(1)).take(n.div_ceil(panel)).enumerate() {
            let width = panel.min(n - i * panel);
            kernel::transpose_words(&words[i * panel * pairs..], pairs, width, pairs, to, panel);
        }
    }

    /// A matrix `[k, n]` as it is, with rows of zeros up to `depth` of them, an even number.
    pub(crate) fn rows(&mut self, b: Matrix<'_>, depth: usize) {
        let (n, pairs, panel) = (b.cols, depth / 2, kernel::panel());
        assert!(b.col_stride == 1 && depth.is_multiple_of(2) && b.rows <= depth, "rows in pairs");
        self.panels.resize(self.panels.len().max(n.next_multiple_of(panel) * pairs), 0);
        dispatch(
            #[inline(always)]
            || {
                for (i, to) in self.panels.chunks_exact_mut((pairs * panel).max(1)).take(n.div_ceil(panel)).enumerate()
                {
                    let width = panel.min(n - i * panel);
                    for (j, to) in to.chunks_exact_mut(panel).enumerate() {
                        let row = |p: usize| &b.values[p * b.row_stride + i * panel..][..width];
                        let to = &mut to[..width];
                        match b.rows - (2 * j).min(b.rows) {
                            0 => to.fill(0),
                            1 => to.iter_mut().zip(row(2 * j)).for_each(
                                #[inline(always)]
                                |(to, x)| *to = bf16(*x),
                            ),
                            _ => {
                                for ((to, low), high) in to.iter_mut().zip(row(2 * j)).zip(row(2 * j + 1)) {
                                    *to = bf16(*low) | bf16(*high) << 16;
                                }
                            }
                        }
                    }
                }
            },
        );
    }

    /// `out = a b`, `[m, n]` of `[m, k]` and this, rows of `out` so far apart, on the calling thread.
    pub(crate) fn product(&self, out: (&mut [f32], usize), a: &[u32], (m, n, k): (usize, usize, usize)) {
        count(m, n, k);
        halves::run((m, n, k), out, Start::Zero, halves::Rows::Pairs(a), &self.panels);
    }
}

/// `out = start + a b` with whole numbers, on the calling thread.
pub(crate) fn product_in_bytes(
    out: &mut [f32],
    start: Start<'_>,
    a: bytes::Rows<'_>,
    b: &Bytes,
    (n, k): (usize, usize),
) {
    let m = a.scales.len();
    count(m, n, k);
    bytes::run(b.hand, (m, n, k), out, start, a, bytes::Columns { values: &b.values, scales: &b.scales });
}

/// `out = start + a b` with a right operand of bf16, on the calling thread.
pub(crate) fn product_in_halves(out: &mut [f32], start: Start<'_>, a: Given<'_>, b: &Halves, (n, k): (usize, usize)) {
    let (m, rows) = match a {
        Given::Values(values) => (values.len() / k.max(1), halves::Rows::Values(values)),
        Given::Pairs(pairs) => (pairs.len() / k.div_ceil(2).max(1), halves::Rows::Pairs(pairs)),
        Given::Bytes(_) => panic!("whole numbers meet bf16"),
    };
    count(m, n, k);
    halves::run((m, n, k), (out, n), start, rows, &b.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::bytes::tests::hands;

    /// Values of several magnitudes, from a fixed linear congruence.
    fn noise(seed: u64, len: usize) -> Vec<f32> {
        let mut state = seed;
        let mut value = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / 8_388_608.0 - 1.0) * ((state >> 33) as f32 % 5.0 - 2.0).exp2()
        };
        (0..len).map(|_| value()).collect()
    }

    const SHAPES: [(usize, usize, usize); 7] =
        [(1, 1, 2), (3, 5, 8), (8, 48, 64), (13, 131, 98), (5, 30, 7), (197, 65, 33), (9, 200, 1030)];

    /// The exact product of `[m, k]` and the transpose of `[n, k]`, and the sums of the products' magnitudes.
    fn exact(a: &[f32], b: &[f32], (m, n, k): (usize, usize, usize)) -> Vec<(f64, f64)> {
        let of = |at: usize| {
            let terms = (0..k).map(|p| f64::from(a[at / n * k + p]) * f64::from(b[at % n * k + p]));
            terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()))
        };
        (0..m * n).map(of).collect()
    }

    #[test]
    fn products_of_whole_numbers_are_off_by_half_a_step_of_each_factor_at_most() {
        for hand in hands() {
            for (m, n, k) in SHAPES {
                let (a, b) = (noise(1, m * k), noise(2, n * k));
                let right = Bytes::by(hand, Matrix::new(&b, n, k).t());
                let mut room = Room::default();
                let Given::Bytes(rows) = in_bytes(&a, k, &mut room) else { unreachable!("bytes were asked for") };
                let mut out = vec![0.0; m * n];
                product_in_bytes(&mut out, Start::Zero, rows, &right, (n, k));
                for (at, (sum, _)) in exact(&a, &b, (m, n, k)).into_iter().enumerate() {
                    let (row, column) = (&a[at / n * k..][..k], &b[at % n * k..][..k]);
                    let step = |values: &[f32]| f64::from(largest(values)) / 127.0;
                    let size = |values: &[f32]| values.iter().map(|x| f64::from(x.abs())).sum::<f64>();
                    // |Σ (a + α)(b + β) − a b| with |α|, |β| half a step at most.
                    let (alpha, beta) = (step(row) / 2.0, step(column) / 2.0);
                    let bound = alpha * size(column) + beta * size(row) + k as f64 * alpha * beta;
                    let off = (f64::from(out[at]) - sum).abs();
                    assert!(off <= bound * 1.0001, "{hand:?} {m}x{n}x{k} at {at}: off by {off}, {bound} allowed");
                }
            }
        }
    }

    #[test]
    fn every_hand_gives_the_same_whole_numbers() {
        let (m, n, k) = (11, 77, 203);
        let (a, b) = (noise(3, m * k), noise(4, n * k));
        let product = |hand| {
            let right = Bytes::by(hand, Matrix::new(&b, n, k).t());
            let mut room = Room::default();
            let Given::Bytes(rows) = in_bytes(&a, k, &mut room) else { unreachable!("bytes were asked for") };
            let mut out = vec![0.0; m * n];
            product_in_bytes(&mut out, Start::Zero, rows, &right, (n, k));
            out
        };
        let all: Vec<_> = hands().into_iter().map(product).collect();
        assert!(all.iter().all(|out| *out == all[0]));
    }

    #[test]
    fn products_with_bf16_are_off_by_the_rounding_of_their_factors_at_most() {
        for (m, n, k) in SHAPES {
            let (a, b) = (noise(5, m * k), noise(6, n * k));
            let Some(right) = Halves::of(Matrix::new(&b, n, k).t()) else {
                assert!(k % 2 == 1 && !takes_pairs());
                continue;
            };
            let mut room = Room::default();
            let rows = in_pairs(&a, k, &mut room);
            let bias: Vec<f32> = (0..n).map(|c| c as f32).collect();
            let plus = vec![2.0; m * n];
            for start in [Start::Zero, Start::Kept, Start::Bias(&bias), Start::BiasAnd(&bias, &plus)] {
                let mut out = vec![4.0; m * n];
                product_in_halves(&mut out, start, rows, &right, (n, k));
                for (at, (sum, size)) in exact(&a, &b, (m, n, k)).into_iter().enumerate() {
                    let begin = match start {
                        Start::Zero => 0.0,
                        Start::Kept => 4.0,
                        Start::Bias(bias) => bias[at % n],
                        Start::BiasAnd(bias, plus) => bias[at % n] + plus[at],
                    };
                    let off = (f64::from(out[at]) - sum - f64::from(begin)).abs();
                    // Two factors, each off by 2⁻⁸ of itself at most, and sums in f32.
                    let bound = size * (2.0 / 256.0 + 1.0 / 65_536.0) + (size + f64::from(begin)) * k as f64 * 1.2e-7;
                    assert!(off <= bound, "{m}x{n}x{k} at {at}: off by {off}, {bound} allowed");
                }
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_even_and_keeps_what_is_no_number() {
        for (x, expected) in [
            (1.0_f32, 0x3f80),
            (-2.0, 0xc000),
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (f32::INFINITY, 0x7f80),
            (f32::MAX, 0x7f80),
        ] {
            assert_eq!(bf16(x), expected, "{x}");
        }
        assert!(f32::from_bits(bf16(f32::from_bits(0x7fff_ffff)) << 16).is_nan());
        let mut room = Room::default();
        let Given::Bytes(rows) = in_bytes(&[0.0, 0.0, 0.0, f32::NAN, 1.0, 2.0, -4.0, 2.0, 1.0], 3, &mut room) else {
            unreachable!("bytes were asked for")
        };
        assert_eq!((rows.scales[0], rows.sums[0]), (0.0, 0));
        assert!(rows.scales[1].is_nan(), "a row with a NaN stays without a number");
        // 2 · 127 / 4 = 63.5 rounds to the even 64, 1 · 127 / 4 = 31.75 to 32.
        assert_eq!(rows.values[8..], [-127, 64, 32, 0]);
        assert_eq!(rows.sums[2], -31);
    }
}
