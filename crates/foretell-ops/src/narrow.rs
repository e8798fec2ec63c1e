//! Products of whole numbers of 16 bits instead of f32, at twice the rate: for passes whose figures do not need f32's last digits.
//!
//! Each row of activations and each column of weights has a scale of its own, so that its largest value becomes the largest number
//! at which no sum of 32 bits overflows: 11 bits and a sign at 384 wide, where bf16 has 8. Sums of whole numbers are exact, so that
//! their order changes no bit.

use std::cell::RefCell;

use rayon::prelude::*;

use crate::count::count;
use crate::kernel::Start;
use crate::matrix::takes_panels;

/// Columns of a panel, in vectors of sixteen.
const VECTORS: usize = 3;
const LANES: usize = 16;
const PANEL: usize = VECTORS * LANES;
/// Rows of the output in registers at a time.
const ROWS: usize = 8;

/// Whether this machine multiplies pairs of 16 bits into sums of 32 as fast as it multiplies f32: AVX-512 VNNI. With AMX the
/// products of f32 on tiles are faster.
pub(crate) fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has && takes_panels()
}

/// The largest number at which `inner` products of two such do not overflow.
fn most(inner: usize) -> f32 {
    ((i32::MAX as f64 / inner.max(1) as f64).sqrt().floor() as f32).min(32_767.0)
}

/// A right operand in whole numbers: pairs of neighbouring rows, in panels of columns.
pub(crate) struct Narrow {
    /// `[panels, pairs, PANEL]`, two numbers in each.
    pairs: Vec<i32>,
    /// What a number of each column stands for; those beyond the last column are 0.
    scales: Vec<f32>,
    rows: usize,
    cols: usize,
}

impl Narrow {
    /// Of a map's weights, `[N, K]`, rows `stride` apart: what is applied is their transpose.
    ///
    /// # Panics
    /// If the rows reach beyond the values.
    pub(crate) fn of(weights: &[f32], cols: usize, rows: usize, stride: usize) -> Self {
        let (panels, in_panel) = (cols.div_ceil(PANEL), rows.div_ceil(2) * PANEL);
        let mut pairs = vec![0_i32; panels * in_panel];
        let mut scales = vec![0.0_f32; panels * PANEL];
        let most = most(rows);
        let tasks = pairs.par_chunks_mut(in_panel.max(1)).zip(scales.par_chunks_mut(PANEL)).enumerate();
        tasks.for_each(|(panel, (pairs, scales))| {
            for (c, scale) in scales.iter_mut().enumerate().take(cols.saturating_sub(panel * PANEL)) {
                let first = (panel * PANEL + c) * stride;
                let weights = &weights[first..first + rows];
                let largest = weights.iter().map(|weight| weight.abs()).fold(0.0_f32, f32::max);
                let times = if largest > 0.0 { most / largest } else { 0.0 };
                *scale = largest / most;
                let number = |row: usize| {
                    let weight = weights.get(row).copied().unwrap_or(0.0);
                    (weight * times).round_ties_even().clamp(-most, most) as i16
                };
                for (pair, pairs) in pairs.chunks_exact_mut(PANEL).enumerate() {
                    let (low, high) = (number(2 * pair), number(2 * pair + 1));
                    pairs[c] = i32::from(low as u16) | (i32::from(high) << 16);
                }
                // What is not finite stays so.
                if !weights.iter().all(|weight| weight.is_finite()) {
                    *scale = f32::NAN;
                }
            }
        });
        Self { pairs, scales, rows, cols }
    }

    /// Its rows: the width of what it is applied to.
    pub(crate) fn inputs(&self) -> usize {
        self.rows
    }

    /// `out = start + a b` on the calling thread, `a` `[M, K]` and `out` `[M, N]` without gaps.
    ///
    /// # Panics
    /// Where it is not [`available`], or the shapes do not match.
    pub(crate) fn product(&self, out: &mut [f32], start: Start<'_>, a: &[f32]) {
        thread_local! {
            static ROOM: RefCell<(Vec<i32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
        }
        assert!(available(), "the machine has no such products");
        let (n, k) = (self.cols, self.rows);
        let m = a.len() / k.max(1);
        assert_eq!((a.len(), out.len()), (m * k, m * n), "operands of other shapes");
        match start {
            Start::Zero | Start::Kept => {}
            Start::Bias(bias) => assert_eq!(bias.len(), n, "bias of another length"),
            Start::BiasAnd(bias, plus) => assert_eq!((bias.len(), plus.len()), (n, m * n), "bias or residual"),
        }
        count(m, n, k);
        let pairs = k.div_ceil(2);
        ROOM.with_borrow_mut(|(numbers, scales)| {
            if numbers.len() < m * pairs {
                *numbers = vec![0; m * pairs];
            }
            if scales.len() < m {
                *scales = vec![0.0; m];
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` saw the instruction sets. `numbers` has room for `m` rows of `pairs`, `scales` for `m`; the
            // assertions bound `a`, `out`, bias and residual, and `Narrow::of` made whole panels of `pairs` rows.
            unsafe {
                for (i, scale) in scales[..m].iter_mut().enumerate() {
                    *scale = x86::narrow_row(&a[i * k..(i + 1) * k], most(k), &mut numbers[i * pairs..(i + 1) * pairs]);
                }
                x86::run(self, (m, n, pairs), out, start, &numbers[..m * pairs], &scales[..m]);
            }
        });
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512i, __mmask16, _mm256_mask_storeu_epi16, _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512,
        _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_dpwssd_epi32, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_max_epu32,
        _mm512_mul_ps, _mm512_reduce_max_epu32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_setzero_si512,
    };

    use super::{LANES, Narrow, PANEL, ROWS, Start, VECTORS};

    fn mask_of(width: usize) -> __mmask16 {
        if width >= LANES { 0xffff } else { (1 << width) - 1 }
    }

    /// A row in numbers up to `most`, and what one of them stands for: not a number where the row is not finite.
    ///
    /// # Safety
    /// The machine must have AVX-512 F and BW, and there must be room for half as many pairs as there are values, rounded up.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn narrow_row(row: &[f32], most: f32, to: &mut [i32]) -> f32 {
        debug_assert!(2 * to.len() >= row.len());
        let sign = _mm512_set1_epi32(0x7fff_ffff);
        let mut largest = _mm512_setzero_si512();
        for at in (0..row.len()).step_by(LANES) {
            // SAFETY: the mask ends with the row.
            let x = unsafe { _mm512_maskz_loadu_ps(mask_of(row.len() - at), row.as_ptr().add(at)) };
            // Magnitudes are in the order of their bits, and what is not finite lies above all others.
            largest = _mm512_max_epu32(largest, _mm512_and_si512(_mm512_castps_si512(x), sign));
        }
        let bits = _mm512_reduce_max_epu32(largest);
        let largest = f32::from_bits(bits);
        if !largest.is_finite() {
            to.fill(0);
            return f32::NAN;
        }
        if let Some(last) = to.last_mut() {
            *last = 0;
        }
        let times = _mm512_set1_ps(if most / largest < f32::MAX { most / largest } else { 0.0 });
        let numbers: *mut i16 = to.as_mut_ptr().cast();
        for at in (0..row.len()).step_by(LANES) {
            let mask = mask_of(row.len() - at);
            // SAFETY: the masks end with the row, and `to` has room for as many numbers.
            unsafe {
                let x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, row.as_ptr().add(at)), times);
                _mm256_mask_storeu_epi16(numbers.add(at), mask, _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)));
            }
        }
        largest / most
    }

    /// `out = start + a b` of numbers and their scales.
    ///
    /// # Safety
    /// The machine must have AVX-512 F and VNNI. `a` holds `m` rows of `pairs`, `scales` as many, `out` `m × n`; `b` holds whole
    /// panels of `pairs` rows; bias and residual hold `n` and `m · n` values.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn run(
        b: &Narrow,
        (m, n, pairs): (usize, usize, usize),
        out: &mut [f32],
        start: Start<'_>,
        a: &[i32],
        scales: &[f32],
    ) {
        for (panel, column) in (0..n).step_by(PANEL).enumerate() {
            let right = b.pairs[panel * pairs * PANEL..(panel + 1) * pairs * PANEL].as_ptr();
            let columns = b.scales[panel * PANEL..(panel + 1) * PANEL].as_ptr();
            for top in (0..m).step_by(ROWS) {
                let tile = Tile { pairs, right, columns, column, n, width: PANEL.min(n - column), start };
                let (a, scales) = (&a[top * pairs..], &scales[top..m.min(top + ROWS)]);
                // SAFETY: the caller's.
                unsafe {
                    let out = out.as_mut_ptr().add(top * n + column);
                    match scales.len() {
                        1 => tile.go::<1>(a, scales, out, top),
                        2 => tile.go::<2>(a, scales, out, top),
                        3 => tile.go::<3>(a, scales, out, top),
                        4 => tile.go::<4>(a, scales, out, top),
                        5 => tile.go::<5>(a, scales, out, top),
                        6 => tile.go::<6>(a, scales, out, top),
                        7 => tile.go::<7>(a, scales, out, top),
                        _ => tile.go::<ROWS>(a, scales, out, top),
                    }
                }
            }
        }
    }

    /// Some rows of one panel.
    struct Tile<'a> {
        pairs: usize,
        right: *const i32,
        columns: *const f32,
        column: usize,
        n: usize,
        width: usize,
        start: Start<'a>,
    }

    impl Tile<'_> {
        /// # Safety
        /// As for [`run`]: `R` rows of `a` and of `out`, from row `top` on.
        #[target_feature(enable = "avx512f,avx512vnni")]
        unsafe fn go<const R: usize>(&self, a: &[i32], scales: &[f32], out: *mut f32, top: usize) {
            let Self { pairs, n, column, .. } = *self;
            let mut sums: [[__m512i; VECTORS]; R] = [[_mm512_setzero_si512(); VECTORS]; R];
            // SAFETY: `a` has `R` rows of `pairs`, the panel `pairs` rows of whole vectors.
            unsafe {
                let (mut left, mut right) = (a.as_ptr(), self.right);
                for _ in 0..pairs {
                    let b: [__m512i; VECTORS] =
                        std::array::from_fn(|v| _mm512_loadu_si512(right.add(v * LANES).cast()));
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let a = _mm512_set1_epi32(*left.add(r * pairs));
                        for (sum, b) in sums.iter_mut().zip(b) {
                            *sum = _mm512_dpwssd_epi32(*sum, a, b);
                        }
                    }
                    left = left.add(1);
                    right = right.add(PANEL);
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                let row = _mm512_set1_ps(scales[r]);
                for (v, sum) in sums.iter().enumerate().take(self.width.div_ceil(LANES)) {
                    let mask = mask_of(self.width - v * LANES);
                    let at = v * LANES;
                    // SAFETY: the masks end with the output's row; scales lie in whole panels, bias and residual as the caller says.
                    unsafe {
                        let out = out.add(r * n + at);
                        let first: __m512 = match self.start {
                            Start::Zero => _mm512_setzero_ps(),
                            Start::Kept => _mm512_maskz_loadu_ps(mask, out),
                            Start::Bias(bias) => _mm512_maskz_loadu_ps(mask, bias.as_ptr().add(column + at)),
                            Start::BiasAnd(bias, plus) => _mm512_add_ps(
                                _mm512_maskz_loadu_ps(mask, bias.as_ptr().add(column + at)),
                                _mm512_maskz_loadu_ps(mask, plus.as_ptr().add((top + r) * n + column + at)),
                            ),
                        };
                        let scale = _mm512_mul_ps(row, _mm512_loadu_ps(self.columns.add(at)));
                        _mm512_mask_storeu_ps(out, mask, _mm512_fmadd_ps(_mm512_cvtepi32_ps(*sum), scale, first));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of a fixed linear congruence in [-1, 1).
    fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut value = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| value()).collect()
    }

    #[test]
    fn products_are_those_of_double_precision_but_for_the_rounding_of_their_operands() {
        if !available() {
            return; // Nobody asks for it there.
        }
        for (m, k, n) in [(1, 1, 1), (9, 33, 50), (20, 192, 768), (11, 1024, 47), (8, 2, 96)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let (bias, plus) = (values(n, 3), values(m * n, 4));
            let weights: Vec<f32> = (0..n * (k + 5))
                .map(|at| if at % (k + 5) < k { b[at % (k + 5) * n + at / (k + 5)] } else { 9.0 })
                .collect();
            let narrow = Narrow::of(&weights, n, k, k + 5);
            // Each operand is off by half a step of its row's or column's largest, 1 at most; the errors add up at random.
            let off = 6.0 * (k as f64).sqrt() / f64::from(most(k)) + 1e-5;
            for kind in 0..4 {
                let mut out = plus.clone();
                let start = [Start::Zero, Start::Kept, Start::Bias(&bias), Start::BiasAnd(&bias, &plus)][kind];
                narrow.product(&mut out, start, &a);
                for (at, out) in out.iter().enumerate() {
                    let (i, j) = (at / n, at % n);
                    let exact: f64 = (0..k).map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j])).sum();
                    let (bias, plus) = (f64::from(bias[j]), f64::from(plus[at]));
                    let right = exact + [0.0, plus, bias, bias + plus][kind];
                    assert!((f64::from(*out) - right).abs() < off, "{m}x{k}x{n} at {i}, {j}: {out} and {right}");
                }
            }
        }
    }

    #[test]
    fn sums_do_not_overflow_and_what_is_not_finite_is_not_hidden() {
        if !available() {
            return; // Nobody asks for it there.
        }
        for k in [2, 191, 384, 1024, 5000] {
            let narrow = Narrow::of(&vec![-3.0; k * 2], 2, k, k);
            let mut out = vec![0.0; 2];
            narrow.product(&mut out, Start::Zero, &vec![7.0; k]);
            assert!(out.iter().all(|out| (out / (-21.0 * k as f32) - 1.0).abs() < 1e-5), "{k}: {out:?}");
        }
        let mut rows = vec![1.0; 3 * 4];
        (rows[1], rows[7]) = (f32::NAN, f32::INFINITY);
        rows[8..].fill(0.0);
        let narrow = Narrow::of(&[1.0; 8], 2, 4, 4);
        let mut out = vec![9.0; 6];
        narrow.product(&mut out, Start::Zero, &rows);
        assert!(out[..4].iter().all(|out| out.is_nan()) && out[4..] == [0.0; 2], "{out:?}");
        let mut weights = vec![1.0; 8];
        weights[5] = f32::NEG_INFINITY;
        Narrow::of(&weights, 2, 4, 4).product(&mut out, Start::Zero, &[1.0; 12]);
        assert!(out.iter().enumerate().all(|(at, out)| if at % 2 == 1 {
            out.is_nan()
        } else {
            (out - 4.0).abs() < 1e-4
        }));
    }
}
