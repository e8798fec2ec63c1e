//! Matrices turned over, square by square in registers.

use crate::instruction_set::{InstructionSet, current};

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

/// Floats in a vector of AVX-512.
#[cfg(target_arch = "x86_64")]
pub(crate) const LANES: usize = 16;

/// [`transpose`] of words of 32 bits.
pub(crate) fn transpose_words(from: &[u32], from_row: usize, rows: usize, cols: usize, to: &mut [u32], to_row: usize) {
    // SAFETY: a float is a word of any bits, as long and as aligned, and a transpose moves them as they are; the borrows go on.
    let (from, to) = unsafe {
        let (from_len, to_len) = (from.len(), to.len());
        (
            std::slice::from_raw_parts(from.as_ptr().cast::<f32>(), from_len),
            std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<f32>(), to_len),
        )
    };
    transpose(from, from_row, rows, cols, to, to_row);
}

/// `to[j · to_row + i] = from[i · from_row + j]` for `i < rows`, `j < cols`.
pub(crate) fn transpose(from: &[f32], from_row: usize, rows: usize, cols: usize, to: &mut [f32], to_row: usize) {
    if rows == 0 || cols == 0 {
        return;
    }
    assert!((rows - 1) * from_row + cols <= from.len(), "rows outside their slice");
    assert!((cols - 1) * to_row + rows <= to.len() && (rows <= to_row || cols == 1), "columns outside their slice");
    let set = current();
    let side = match set {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Amx if rows >= LANES && cols >= LANES => LANES,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 | InstructionSet::Avx512 | InstructionSet::Amx => 8,
        _ => 4,
    };
    let (whole_rows, whole_cols) = (rows / side * side, cols / side * side);
    for i in (0..whole_rows).step_by(side) {
        for j in (0..whole_cols).step_by(side) {
            // SAFETY: `side` is that of an instruction set that was seen (AVX-512 has AVX2's); the assertions bound `side` rows of
            // `side` values on either side, as `i + side ≤ rows` and `j + side ≤ cols`.
            unsafe {
                let (from, to) = (from.as_ptr().add(i * from_row + j), to.as_mut_ptr().add(j * to_row + i));
                match side {
                    #[cfg(target_arch = "x86_64")]
                    LANES => sixteen(from, from_row, to, to_row),
                    #[cfg(target_arch = "x86_64")]
                    8 => eight(from, from_row, to, to_row),
                    _ => four(from, from_row, to, to_row),
                }
            }
        }
    }
    for i in 0..rows {
        let first = if i < whole_rows { whole_cols } else { 0 };
        for j in first..cols {
            to[j * to_row + i] = from[i * from_row + j];
        }
    }
}

/// Four by four values.
///
/// # Safety
/// Four rows of four values must be readable at `from` and writable at `to`.
unsafe fn four(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller's.
    let rows: [[f32; 4]; 4] =
        std::array::from_fn(|i| unsafe { from.add(i * from_row).cast::<[f32; 4]>().read_unaligned() });
    for j in 0..4 {
        let column = rows.map(|row| row[j]);
        // SAFETY: the caller's.
        unsafe { to.add(j * to_row).cast::<[f32; 4]>().write_unaligned(column) };
    }
}

/// Eight by eight values.
///
/// # Safety
/// The machine must have AVX2, and eight rows of eight values must be readable at `from` and writable at `to`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn eight(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    use std::arch::x86_64::{
        _mm256_castpd_ps, _mm256_castps_pd, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_storeu_ps,
        _mm256_unpackhi_pd, _mm256_unpackhi_ps, _mm256_unpacklo_pd, _mm256_unpacklo_ps,
    };
    // SAFETY: the caller's.
    let rows: [__m256; 8] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(from.add(i * from_row)) });
    // Pairs, then fours within each half; then halves change places.
    let mut pairs = rows;
    for i in (0..8).step_by(2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..8).step_by(4) {
        let pd = |x| _mm256_castps_pd(x);
        fours[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(pd(pairs[i]), pd(pairs[i + 2])));
        fours[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(pd(pairs[i]), pd(pairs[i + 2])));
        fours[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
        fours[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
    }
    for c in 0..4 {
        let low = _mm256_permute2f128_ps::<0x20>(fours[c], fours[4 + c]);
        let high = _mm256_permute2f128_ps::<0x31>(fours[c], fours[4 + c]);
        // SAFETY: the caller's.
        unsafe {
            _mm256_storeu_ps(to.add(c * to_row), low);
            _mm256_storeu_ps(to.add((4 + c) * to_row), high);
        }
    }
}

/// Sixteen by sixteen values.
///
/// # Safety
/// The machine must have AVX-512, and sixteen rows of sixteen values must be readable at `from` and writable at `to`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn sixteen(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    use std::arch::x86_64::{_mm512_loadu_ps, _mm512_storeu_ps};
    // SAFETY: the caller's.
    let rows: [__m512; LANES] = std::array::from_fn(|i| unsafe { _mm512_loadu_ps(from.add(i * from_row)) });
    for (i, row) in transposed(&rows).into_iter().enumerate() {
        // SAFETY: the caller's.
        unsafe { _mm512_storeu_ps(to.add(i * to_row), row) };
    }
}

/// Sixteen vectors' transpose.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
pub(crate) fn transposed(rows: &[__m512; LANES]) -> [__m512; LANES] {
    use std::arch::x86_64::{
        _mm512_castpd_ps, _mm512_castps_pd, _mm512_shuffle_f32x4, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
        _mm512_unpacklo_pd, _mm512_unpacklo_ps,
    };
    // Pairs, then fours within each quarter; then quarters change places.
    let mut pairs = *rows;
    for i in (0..LANES).step_by(2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..LANES).step_by(4) {
        let pd = |x| _mm512_castps_pd(x);
        fours[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(pairs[i]), pd(pairs[i + 2])));
        fours[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(pairs[i]), pd(pairs[i + 2])));
        fours[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
        fours[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
    }
    let mut columns = *rows;
    for c in 0..4 {
        // fours[4 r + c] holds, in quarter q, column 4 q + c of rows 4 r to 4 r + 3.
        let low = _mm512_shuffle_f32x4::<0x88>(fours[c], fours[4 + c]); // quarters 0, 2 of either
        let high = _mm512_shuffle_f32x4::<0xdd>(fours[c], fours[4 + c]); // quarters 1, 3
        let low2 = _mm512_shuffle_f32x4::<0x88>(fours[8 + c], fours[12 + c]);
        let high2 = _mm512_shuffle_f32x4::<0xdd>(fours[8 + c], fours[12 + c]);
        columns[c] = _mm512_shuffle_f32x4::<0x88>(low, low2);
        columns[4 + c] = _mm512_shuffle_f32x4::<0x88>(high, high2);
        columns[8 + c] = _mm512_shuffle_f32x4::<0xdd>(low, low2);
        columns[12 + c] = _mm512_shuffle_f32x4::<0xdd>(high, high2);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_finds_its_transposed_place() {
        for (rows, cols, from_row, to_row) in
            [(1, 1, 1, 1), (16, 16, 16, 16), (33, 50, 51, 40), (48, 7, 9, 48), (15, 64, 70, 15)]
        {
            let from: Vec<f32> = (0..rows * from_row).map(|i| i as f32).collect();
            let mut to = vec![-1.0; cols * to_row];
            transpose(&from, from_row, rows, cols, &mut to, to_row);
            for (j, row) in to.chunks_exact(to_row).enumerate() {
                for (i, value) in row.iter().enumerate() {
                    assert_eq!(*value, if i < rows { from[i * from_row + j] } else { -1.0 });
                }
            }
        }
    }
}
