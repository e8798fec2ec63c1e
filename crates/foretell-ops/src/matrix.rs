//! Matrix products on slices: a checked face of the `gemm` crate.

use gemm::Parallelism;

/// A matrix in a slice: element `(i, j)` lies at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major, rows `stride` apart.
    pub(crate) fn strided(values: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(rows == 0 || cols == 0 || (rows - 1) * stride + cols <= values.len(), "matrix outside its slice");
        Self { values, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// Row-major, without gaps.
    pub(crate) fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(values, rows, cols, cols)
    }

    /// The transpose, without a copy.
    pub(crate) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// Who computes a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling thread alone: the caller is one of many tasks.
    One,
    /// The pool. The bits are the same as with [`Threads::One`].
    All,
}

/// What becomes of the old content of the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// Replaced; it may be unwritten memory.
    Replace,
    /// The product is added to it.
    Add,
}

/// `out = alpha · a · b` (or `+=`), `out` row-major with rows `out_stride` apart.
pub(crate) fn product(
    out: &mut [f32],
    out_stride: usize,
    store: Store,
    alpha: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(a.cols, b.rows, "inner lengths differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= out_stride || m == 1, "rows of the output overlap");
    assert!((m - 1) * out_stride + n <= out.len(), "product outside its output");
    let parallelism =
        if threads == Threads::All && m * n * k > 1 << 18 { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: `Matrix::strided` and the assertions above bound every address that the strides reach; `out` is a
    // unique borrow, so it overlaps neither input; `read_dst` is false unless the old content is to be kept.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            store == Store::Add,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_and_transposes_reach_the_right_elements() {
        let a: Vec<f32> = (0..12).map(|i| i as f32).collect(); // 3 rows, stride 4, 2 columns used
        let b: Vec<f32> = (0..6).map(|i| (i as f32) - 2.0).collect(); // [3, 2], used as its transpose
        let mut out = vec![f32::NAN; 3 * 5];
        product(
            &mut out,
            5,
            Store::Replace,
            2.0,
            Matrix::strided(&a, 3, 2, 4),
            Matrix::new(&b, 3, 2).t(),
            Threads::All,
        );
        for i in 0..3 {
            for j in 0..3 {
                let expected: f32 = (0..2).map(|p| 2.0 * a[i * 4 + p] * b[j * 2 + p]).sum();
                assert_eq!(out[i * 5 + j], expected);
            }
        }
        product(&mut out, 5, Store::Add, 1.0, Matrix::strided(&a, 3, 2, 4), Matrix::new(&b, 3, 2).t(), Threads::One);
        assert_eq!(out[6], 3.0 * (4.0 * b[2] + 5.0 * b[3]));
    }
}
