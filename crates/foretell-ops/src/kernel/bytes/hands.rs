//! The instructions of x86-64 that sum products of bytes.

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_dpbusd_avx_epi32,
    _mm256_madd_epi16, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_slli_epi16, _mm256_srai_epi16, _mm256_srli_epi16,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_set1_epi32,
};
use std::mem::transmute;

use pulp::x86::{V3, V4};
use pulp::{f32x8, f32x16, i32x8, i32x16};

use super::Dots;
use crate::kernel::Registers;

/// AVX-512 VNNI, which the machine has: see [`vnni512`].
#[derive(Clone, Copy)]
pub(super) struct Vnni512(V4);

pub(super) fn vnni512() -> Option<Vnni512> {
    if is_x86_feature_detected!("avx512vnni") { V4::try_new().map(Vnni512) } else { None }
}

/// AVX-VNNI, which the machine has: see [`vnni256`].
#[derive(Clone, Copy)]
pub(super) struct Vnni256(V3);

pub(super) fn vnni256() -> Option<Vnni256> {
    if is_x86_feature_detected!("avxvnni") { V3::try_new().map(Vnni256) } else { None }
}

/// AVX2.
#[derive(Clone, Copy)]
pub(super) struct Wide256(pub(super) V3);

#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
#[inline]
fn with_vnni512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[target_feature(enable = "avx2,avxvnni,fma,bmi1,bmi2,lzcnt,popcnt")]
#[inline]
fn with_vnni256<R>(body: impl FnOnce() -> R) -> R {
    body()
}

impl Dots for Vnni512 {
    type S = V4;
    type Weights = i32x16;
    type Row = i32x16;
    const ROWS: usize = 8;

    #[inline(always)]
    fn simd(self) -> V4 {
        self.0
    }
    #[inline(always)]
    fn weights(self, values: i32x16) -> i32x16 {
        values
    }
    #[inline(always)]
    fn row(self, values: i32) -> i32x16 {
        // SAFETY: the machine has AVX-512 (as `self` says); both types are 64 bytes of any values.
        unsafe { transmute::<__m512i, i32x16>(_mm512_set1_epi32(values)) }
    }
    #[inline(always)]
    fn dot(self, sums: i32x16, weights: i32x16, row: i32x16) -> i32x16 {
        // SAFETY: the machine has AVX-512 VNNI (as `self` says); all types are 64 bytes of any values.
        unsafe {
            let (sums, weights) = (transmute::<i32x16, __m512i>(sums), transmute::<i32x16, __m512i>(weights));
            let row = transmute::<i32x16, __m512i>(row);
            transmute::<__m512i, i32x16>(_mm512_dpbusd_epi32(sums, weights, row))
        }
    }
    #[inline(always)]
    fn floats(self, sums: i32x16) -> f32x16 {
        // SAFETY: as for `row`.
        unsafe { transmute::<__m512, f32x16>(_mm512_cvtepi32_ps(transmute::<i32x16, __m512i>(sums))) }
    }
    #[inline(always)]
    fn within<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: the machine has these instructions (as `self` says).
        unsafe { with_vnni512(body) }
    }
}

impl Dots for Vnni256 {
    type S = V3;
    type Weights = i32x8;
    type Row = i32x8;
    const ROWS: usize = 3;

    #[inline(always)]
    fn simd(self) -> V3 {
        self.0
    }
    #[inline(always)]
    fn weights(self, values: i32x8) -> i32x8 {
        values
    }
    #[inline(always)]
    fn row(self, values: i32) -> i32x8 {
        // SAFETY: the machine has AVX2 (as `self` says); both types are 32 bytes of any values.
        unsafe { transmute::<__m256i, i32x8>(_mm256_set1_epi32(values)) }
    }
    #[inline(always)]
    fn dot(self, sums: i32x8, weights: i32x8, row: i32x8) -> i32x8 {
        // SAFETY: the machine has AVX-VNNI (as `self` says); all types are 32 bytes of any values.
        unsafe {
            let (sums, weights) = (transmute::<i32x8, __m256i>(sums), transmute::<i32x8, __m256i>(weights));
            let row = transmute::<i32x8, __m256i>(row);
            transmute::<__m256i, i32x8>(_mm256_dpbusd_avx_epi32(sums, weights, row))
        }
    }
    #[inline(always)]
    fn floats(self, sums: i32x8) -> f32x8 {
        // SAFETY: as for `row`.
        unsafe { transmute::<__m256, f32x8>(_mm256_cvtepi32_ps(transmute::<i32x8, __m256i>(sums))) }
    }
    #[inline(always)]
    fn within<R>(self, body: impl FnOnce() -> R) -> R {
        // SAFETY: the machine has these instructions (as `self` says).
        unsafe { with_vnni256(body) }
    }
}

impl Dots for Wide256 {
    type S = V3;
    /// The even ones and the odd ones, as pairs of 16 bits.
    type Weights = [__m256i; 2];
    type Row = [__m256i; 2];
    const ROWS: usize = 2;

    #[inline(always)]
    fn simd(self) -> V3 {
        self.0
    }
    #[inline(always)]
    fn weights(self, values: i32x8) -> [__m256i; 2] {
        // SAFETY: the machine has AVX2 (as `self` says); both types are 32 bytes of any values.
        unsafe {
            let values = transmute::<i32x8, __m256i>(values);
            [_mm256_and_si256(values, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(values)]
        }
    }
    #[inline(always)]
    fn row(self, values: i32) -> [__m256i; 2] {
        // SAFETY: as for `weights`.
        unsafe {
            let values = _mm256_set1_epi32(values);
            [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(values)), _mm256_srai_epi16::<8>(values)]
        }
    }
    #[inline(always)]
    fn dot(self, sums: i32x8, weights: [__m256i; 2], row: [__m256i; 2]) -> i32x8 {
        // SAFETY: as for `weights`.
        unsafe {
            let even = _mm256_madd_epi16(weights[0], row[0]);
            let odd = _mm256_madd_epi16(weights[1], row[1]);
            let sums = _mm256_add_epi32(transmute::<i32x8, __m256i>(sums), even);
            transmute::<__m256i, i32x8>(_mm256_add_epi32(sums, odd))
        }
    }
    #[inline(always)]
    fn floats(self, sums: i32x8) -> f32x8 {
        // SAFETY: as for `weights`.
        unsafe { transmute::<__m256, f32x8>(_mm256_cvtepi32_ps(transmute::<i32x8, __m256i>(sums))) }
    }
    #[inline(always)]
    fn within<R>(self, body: impl FnOnce() -> R) -> R {
        Registers::within(self.0, body)
    }
}
