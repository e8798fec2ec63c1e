//! Matrix products of plain slices on the calling thread, for who has no tensors: probes and nearest neighbours.

use crate::kernel::Start;
use crate::matrix::{Matrix, Ready, product_once, product_ready};

/// Rows in a slice, `stride` values from one to the next.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    count: usize,
    width: usize,
    stride: usize,
}

impl<'a> Rows<'a> {
    /// `[rows, width]`, without gaps.
    ///
    /// # Panics
    /// If the values do not fill them.
    pub fn new(values: &'a [f32], rows: usize, width: usize) -> Self {
        assert_eq!(values.len(), rows * width, "values of another shape");
        Self { values, count: rows, width, stride: width }
    }

    /// `[rows, width]`, the rows `stride` apart.
    ///
    /// # Panics
    /// If the rows overlap or reach beyond the values.
    pub fn apart(values: &'a [f32], rows: usize, width: usize, stride: usize) -> Self {
        assert!(width <= stride && (rows == 0 || (rows - 1) * stride + width <= values.len()), "rows outside");
        Self { values, count: rows, width, stride }
    }

    fn matrix(self) -> Matrix<'a> {
        Matrix::strided(self.values, self.count, self.width, self.stride)
    }
}

/// `out = a b`.
///
/// # Shapes
/// - `a`: `[M, K]`, `b`: `[K, N]`
/// - `out`: `[M, N]`, without gaps
///
/// # Panics
/// If the shapes do not match.
pub fn multiply_rows(out: &mut [f32], a: Rows<'_>, b: Rows<'_>) {
    assert_eq!(out.len(), a.count * b.width, "output of another shape");
    product_once(out, b.width, Start::Zero, a.matrix(), b.matrix());
}

/// `out += a b`, the shapes as for [`multiply_rows`].
///
/// # Panics
/// If the shapes do not match.
pub fn add_product(out: &mut [f32], a: Rows<'_>, b: Rows<'_>) {
    assert_eq!(out.len(), a.count * b.width, "output of another shape");
    product_once(out, b.width, Start::Kept, a.matrix(), b.matrix());
}

/// Rows laid out once as the columns of many products.
pub struct Columns(Ready);

impl Columns {
    /// `[N, K]`, without gaps.
    ///
    /// # Panics
    /// If the values do not fill them.
    pub fn of(rows: &[f32], width: usize) -> Self {
        let count = rows.len() / width.max(1);
        assert_eq!(rows.len(), count * width, "values of another shape");
        Self(Ready::of(Matrix::new(rows, count, width).t()))
    }

    /// The inner products of each row of `left`, `[M, K]`, with each of these: `out`, `[M, N]`. What comes out for a pair is a
    /// function of its two rows, of the widths and of the instruction set alone.
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn inner_products(&self, left: Rows<'_>, out: &mut [f32]) {
        product_ready(out, Start::Zero, left.matrix(), &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small whole numbers: every order of a sum gives the same bits.
    fn whole(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 13 + i / 5) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for (m, k, n) in [(1, 1, 1), (9, 33, 10), (64, 300, 49), (10, 20, 700)] {
            let (stride_a, stride_b) = (k + 3, n + 16);
            let (a, b) = (whole(m * stride_a, 1), whole(k * stride_b, 2));
            let exact = |i: usize, j: usize| (0..k).map(|p| a[i * stride_a + p] * b[p * stride_b + j]).sum::<f32>();
            let (left, right) = (Rows::apart(&a, m, k, stride_a), Rows::apart(&b, k, n, stride_b));
            let mut out = vec![f32::NAN; m * n];
            multiply_rows(&mut out, left, right);
            assert!((0..m * n).all(|at| out[at] == exact(at / n, at % n)), "{m}x{k}x{n}");
            add_product(&mut out, left, right);
            assert!((0..m * n).all(|at| out[at] == 2.0 * exact(at / n, at % n)), "{m}x{k}x{n}, added");
        }
    }

    #[test]
    fn rows_become_columns() {
        for (m, k, n) in [(1, 1, 1), (70, 20, 50), (3, 300, 97)] {
            let (a, b) = (whole(m * k, 3), whole(n * k, 4));
            let mut out = vec![f32::NAN; m * n];
            Columns::of(&b, k).inner_products(Rows::new(&a, m, k), &mut out);
            let exact = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[j * k + p]).sum::<f32>();
            assert!((0..m * n).all(|at| out[at] == exact(at / n, at % n)), "{m}x{k}x{n}");
        }
    }
}
