//! Loops that use the machine's widest vectors, chosen at run time, and the transcendental functions inside them.

use rayon::prelude::*;

use crate::kernel::{Registers, on_current};

/// Runs `loop_body` compiled for the [instruction set](crate::InstructionSet) in use.
///
/// Everything inside must be `#[inline(always)]`, the closure too, or it is compiled for the oldest machine.
#[inline(always)]
pub(crate) fn dispatch<R>(loop_body: impl FnOnce() -> R) -> R {
    on_current!(simd => simd.within(loop_body))
}

/// Values that one task of a parallel elementwise loop takes: 64 KiB, well inside L2.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Rows of `width` values in one task; a constant of the shape alone, so that sums never depend on the threads.
pub(crate) fn rows_in_chunk(width: usize) -> usize {
    (CHUNK / width.max(1)).max(1)
}

/// `output[i] = f(input[i])`, in parallel.
#[inline(always)]
pub(crate) fn map(input: &[f32], output: &mut [f32], f: impl Fn(f32) -> f32 + Copy + Send + Sync) {
    output.par_chunks_mut(CHUNK).zip(input.par_chunks(CHUNK)).for_each(|(output, input)| {
        dispatch(
            #[inline(always)]
            || {
                for (y, x) in output.iter_mut().zip(input) {
                    *y = f(*x);
                }
            },
        );
    });
}

/// `output[i] = f(a[i], b[i])`, in parallel.
#[inline(always)]
pub(crate) fn zip(a: &[f32], b: &[f32], output: &mut [f32], f: impl Fn(f32, f32) -> f32 + Copy + Send + Sync) {
    let chunks = output.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK)).zip(b.par_chunks(CHUNK));
    chunks.for_each(|((output, a), b)| {
        dispatch(
            #[inline(always)]
            || {
                for ((y, a), b) in output.iter_mut().zip(a).zip(b) {
                    *y = f(*a, *b);
                }
            },
        );
    });
}

/// Adding and taking away 1.5·2²³ rounds to the nearest integer and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// eˣ to 2 units in the last place; beyond ±87 it stays at the ends of the normal numbers.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact.
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.0 / 5040.0_f32;
    p = p.mul_add(r, 1.0 / 720.0);
    p = p.mul_add(r, 1.0 / 120.0);
    p = p.mul_add(r, 1.0 / 24.0);
    p = p.mul_add(r, 1.0 / 6.0);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r, 1.0);
    p = p.mul_add(r, 1.0);
    p * f32::from_bits(shifted.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000))
}

/// `(sin x, cos x)` to about 1e-7 for |x| up to some thousands.
#[inline(always)]
pub(crate) fn sin_cos(x: f32) -> (f32, f32) {
    let shifted = x.mul_add(std::f32::consts::FRAC_2_PI, ROUND);
    let k = shifted - ROUND;
    let quadrant = shifted.to_bits();
    // π/2 in three parts (Cody and Waite).
    let r = k.mul_add(-1.570_312_5, x);
    let r = k.mul_add(-4.837_512_969_970_703e-4, r);
    let r = k.mul_add(-7.549_789_948_768_648e-8, r);
    let r2 = r * r;
    let mut s = 2.755_731_9e-6_f32;
    s = s.mul_add(r2, -1.984_127e-4);
    s = s.mul_add(r2, 8.333_333e-3);
    s = s.mul_add(r2, -0.166_666_67);
    let sin = (s * r2).mul_add(r, r);
    let mut c = -2.755_731_9e-7_f32;
    c = c.mul_add(r2, 2.480_158_7e-5);
    c = c.mul_add(r2, -1.388_888_9e-3);
    c = c.mul_add(r2, 4.166_666_8e-2);
    c = c.mul_add(r2, -0.5);
    let cos = c.mul_add(r2, 1.0);
    let (sin, cos) = if quadrant & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let sin_sign = (quadrant & 2) << 30;
    let cos_sign = (quadrant.wrapping_add(1) & 2) << 30;
    (f32::from_bits(sin.to_bits() ^ sin_sign), f32::from_bits(cos.to_bits() ^ cos_sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_sin_cos_follow_the_exact_functions() {
        for i in -8000..8000 {
            let x = i as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!(((f64::from(exp(x)) - exact) / exact).abs() < 5e-7, "exp({x})");
            let (sin, cos) = sin_cos(x);
            assert!((f64::from(sin) - f64::from(x).sin()).abs() < 3e-7, "sin({x})");
            assert!((f64::from(cos) - f64::from(x).cos()).abs() < 3e-7, "cos({x})");
        }
        assert!(exp(-1e4) >= 0.0 && exp(-1e4) < 1e-37 && exp(1e4).is_finite());
    }
}
