//! What a machine can do at most.

use crate::matrix::{Matrix, Store, Threads};
use crate::vectors::multiply;

/// What the machine can do at most, by measurement: 10⁹ floating-point operations a second in a large matrix product on
/// every core, the best of several: by the `gemm` crate, which takes the machine's widest vectors, and by our own kernel, which takes
/// those of the [instruction set](crate::InstructionSet) in use, and alone where that is not the machine's best.
pub fn product_ceiling() -> f64 {
    const SIDE: usize = 1536;
    let (a, b) = (vec![0.5; SIDE * SIDE], vec![0.25; SIDE * SIDE]);
    let mut out = vec![0.0; SIDE * SIDE];
    let (mut best, mut turn) = (f64::INFINITY, 0);
    let both = crate::instruction_set::is_widest();
    while turn < 24 {
        let started = std::time::Instant::now();
        if both && turn % 2 == 0 {
            foreign_product(&mut out, &a, &b, SIDE);
        } else {
            let (a, b) = (Matrix::new(&a, SIDE, SIDE), Matrix::new(&b, SIDE, SIDE));
            multiply(&mut out, SIDE, Store::Replace, a, b, Threads::All);
        }
        best = best.min(started.elapsed().as_secs_f64());
        turn += 1;
    }
    2.0 * (SIDE * SIDE * SIDE) as f64 / best / 1e9
}

/// `out = a b` by the `gemm` crate on all threads, square matrices without gaps.
fn foreign_product(out: &mut [f32], a: &[f32], b: &[f32], side: usize) {
    assert!([out.len(), a.len(), b.len()] == [side * side; 3], "matrices of other sizes");
    let (row, threads) = (side as isize, gemm::Parallelism::Rayon(0));
    // SAFETY: the assertion bounds what the strides reach; `out` is a unique borrow and is not read.
    unsafe {
        gemm::gemm(
            side,
            side,
            side,
            out.as_mut_ptr(),
            1,
            row,
            false,
            a.as_ptr(),
            1,
            row,
            b.as_ptr(),
            1,
            row,
            0.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}
