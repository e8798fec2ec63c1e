//! Matrix products on slices, with checked bounds.
//!
//! Two hands do the work: AMX tiles where the machine has them ([`crate::tiles`]), and for what these do not take and for
//! every other machine the kernel for its vectors ([`crate::kernel`]).

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::count::count;
use crate::flex::buffer;
use crate::kernel::{self, Left, Right, Start, Strip};
use crate::precision::{
    Bytes, Given, Halves, Precision, Room, in_bytes, in_pairs, product_in_bytes, product_in_halves,
};
use crate::tiles::{self, Line, Operand, Side};
use crate::vectors::{multiply, packed_panels, right_of};

/// A matrix in a slice: element `(i, j)` lies at `i * row_stride + j * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
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

    /// Its rows (or columns, for [`Side::Right`]) as the outer axis of a product on tiles.
    fn operand(self, side: Side) -> Operand<'a> {
        let m = if side == Side::Left { self } else { self.t() };
        Operand {
            values: m.values,
            outer: m.rows,
            inner: m.cols,
            outer_stride: m.row_stride,
            inner_stride: m.col_stride,
        }
    }

    /// Some of its rows.
    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        Self { values: &self.values[rows.start * self.row_stride..], rows: rows.len(), ..self }
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

/// Whether tiles are worth their packing for a product of this shape.
fn on_tiles(m: usize, n: usize, k: usize) -> bool {
    tiles::available() && m >= 8 && n >= NARROW && k >= NARROW
}

/// Columns and inner values from which on tiles are worth it.
pub(crate) const NARROW: usize = 16;

/// Multiplications from which on it pays to pack both operands of [`product_once`].
const ONCE: usize = 1 << 19;

/// Rows of the output up to which the right operand is packed where it is used.
const FEW: usize = 512;

/// Whether `rows` are few enough that [`product_of_few`] beats packing a right operand for them.
pub(crate) fn are_few(rows: usize) -> bool {
    tiles::available() && rows <= FEW
}

/// `out = start + a bᵀ` on all threads for few rows ([`are_few`]), both operands row-major, `out` without gaps.
pub(crate) fn product_of_few(out: &mut [f32], start: Start<'_>, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(out.len(), a.rows * b.rows, "output of another shape");
    check_start(start, a.rows, b.rows);
    count(a.rows, b.rows, a.cols);
    tiles::product_of_few(out, b.rows, start, a.operand(Side::Left), b.t().operand(Side::Right));
}

/// Rows of the output in one task.
pub(crate) const SPAN: usize = 256;

/// `out = a · b` (or `+=`), `out` row-major with rows `out_stride` apart.
pub(crate) fn product(
    out: &mut [f32],
    out_stride: usize,
    store: Store,
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
    count(m, n, k);
    if on_tiles(m, n, k) {
        let start = if store == Store::Add { Start::Kept } else { Start::Zero };
        match threads {
            Threads::One => with_right(b.operand(Side::Right), |right| {
                tiles::product(out, out_stride, start, a.operand(Side::Left), right, n);
            }),
            Threads::All if m <= FEW => {
                tiles::product_of_few(out, out_stride, start, a.operand(Side::Left), b.operand(Side::Right));
            }
            Threads::All => {
                let right = packed(b);
                out[..(m - 1) * out_stride + n].par_chunks_mut(SPAN * out_stride).enumerate().for_each(|(i, out)| {
                    let rows = i * SPAN..m.min((i + 1) * SPAN);
                    tiles::product(out, out_stride, start, a.rows(rows).operand(Side::Left), &right, n);
                });
            }
        }
        return;
    }
    multiply(out, out_stride, store, a, b, threads);
}

/// Runs `with` on an operand packed into room of the calling thread.
fn with_right(b: Operand<'_>, with: impl FnOnce(&[Line])) {
    thread_local! {
        static RIGHT: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    }
    RIGHT.with_borrow_mut(|room| with(b.packed(Side::Right, room)));
}

/// A right operand packed for tiles, by the pool.
fn packed(b: Matrix<'_>) -> Vec<Line> {
    let b = b.operand(Side::Right);
    let mut right = tiles::lines(b.lines());
    let block = b.block_lines();
    right.par_chunks_mut(block.max(1)).enumerate().for_each(|(block, to)| b.pack(Side::Right, block, to));
    right
}

/// A right operand made ready once for many products on one thread.
pub(crate) struct Ready {
    form: Form,
    rows: usize,
    cols: usize,
}

/// Whether [`Ready`] operands lie in panels on this machine: where there are no tiles.
pub(crate) fn takes_panels() -> bool {
    !tiles::available()
}

/// How a right operand lies in memory.
enum Form {
    /// In panels of columns, for the kernel.
    Panels(Vec<f32>),
    /// For tiles.
    Tiles(Vec<Line>),
    /// In bf16.
    Halves(Halves),
    /// In whole numbers.
    Bytes(Bytes),
}

impl Ready {
    /// Copies `b`, a matrix without gaps or its transpose, as whoever multiplies wants it.
    pub(crate) fn of(b: Matrix<'_>) -> Self {
        let (rows, cols) = (b.rows, b.cols);
        if on_tiles(usize::MAX, cols, rows) {
            return Self { form: Form::Tiles(packed(b)), rows, cols };
        }
        Self { form: Form::Panels(packed_panels(b)), rows, cols }
    }

    /// The same in fewer bits, where that is asked for and can be.
    pub(crate) fn at(b: Matrix<'_>, precision: Precision) -> Self {
        let form = match precision {
            Precision::F32 => None,
            Precision::Bf16 => Halves::of(b).map(Form::Halves),
            Precision::Int8 => Bytes::of(b).map(Form::Bytes),
        };
        form.map_or_else(|| Self::of(b), |form| Self { form, rows: b.rows, cols: b.cols })
    }

    /// Rows as this takes them; so do all that are made of as many rows at the same precision.
    pub(crate) fn given<'a>(&self, rows: &'a [f32], room: &'a mut Room) -> Given<'a> {
        match &self.form {
            Form::Panels(_) | Form::Tiles(_) => Given::Values(rows),
            Form::Halves(_) => in_pairs(rows, self.rows, room),
            Form::Bytes(_) => in_bytes(rows, self.rows, room),
        }
    }

    /// Its rows: the width of what it is applied to.
    pub(crate) fn inputs(&self) -> usize {
        self.rows
    }
}

/// `out = start + a b` on the calling thread, `out` without gaps.
pub(crate) fn product_ready(out: &mut [f32], start: Start<'_>, a: Matrix<'_>, b: &Ready) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner lengths differ");
    assert_eq!(out.len(), m * n, "output of another shape");
    check_start(start, m, n);
    count(m, n, k);
    match &b.form {
        Form::Halves(_) | Form::Bytes(_) => panic!("the right operand takes rows that are given to it"),
        Form::Tiles(right) => tiles::product(out, n, start, a.operand(Side::Left), right, n),
        Form::Panels(values) => {
            // SAFETY: `Matrix::strided` bounds the left operand; `Ready::of` made whole panels of `k` rows; the assertions bound
            // output, bias and residual; `out` is a unique borrow.
            unsafe { kernel::run((m, n, k), out.as_mut_ptr(), n, start, a.left(), right_of(values, k)) };
        }
    }
}

/// `out = start + a b` on the calling thread, `out` without gaps, `a` as [`Ready::given`] made it.
pub(crate) fn product_given(out: &mut [f32], start: Start<'_>, a: Given<'_>, b: &Ready) {
    let shape = (b.cols, b.rows);
    match (&b.form, a) {
        (Form::Halves(right), a) => product_in_halves(out, start, a, right, shape),
        (Form::Bytes(right), Given::Bytes(a)) => product_in_bytes(out, start, a, right, shape),
        (_, Given::Values(a)) => {
            product_ready(out, start, Matrix::new(a, a.len() / b.rows.max(1), b.rows), b);
        }
        _ => panic!("rows of another precision"),
    }
}

/// Rows of a left operand that lie wherever they lie: each [`Strip`]'s first at a place of its own, the others `row` values
/// after the one before, `inner` values each. They may overlap.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub values: &'a [f32],
    pub strips: &'a [Strip],
    pub row: usize,
    pub inner: usize,
}

/// `out = start + a b` on the calling thread, `b` the rows from `first` on, `out` without gaps.
///
/// # Panics
/// Where right operands are not in [panels](takes_panels).
pub(crate) fn product_placed(out: &mut [f32], start: Start<'_>, a: Placed<'_>, b: &Ready, first: usize) {
    let (n, k) = (b.cols, a.inner);
    let Form::Panels(values) = &b.form else { panic!("the right operand is not in panels") };
    assert!(first + k <= b.rows, "rows outside the right operand");
    check_start(start, out.len() / n.max(1), n);
    for strip in a.strips {
        let Strip { left, top, rows } = *strip;
        assert!((1..=kernel::rows()).contains(&rows), "a strip of {rows} rows");
        assert!(left + (rows - 1) * a.row + k <= a.values.len(), "rows outside the left operand");
        assert!((top + rows) * n <= out.len(), "rows outside the output");
    }
    count(a.strips.iter().map(|strip| strip.rows).sum(), n, k);
    let left = Left { start: a.values.as_ptr(), strip: 0, row: a.row, col: 1 };
    let right = right_of(values, b.rows);
    let right = Right { start: values[first * right.row..].as_ptr(), ..right };
    let strips = (a.strips.len(), |i: usize| a.strips[i]);
    // SAFETY: panels are whole ones of `b.rows` rows; the assertions bound every strip in the left operand and in the output,
    // bias and residual; `out` is a unique borrow.
    unsafe { kernel::run_strips(strips, (n, k), out.as_mut_ptr(), n, start, left, right) };
}

/// The first `len` values of scratch, which the caller writes before it reads them.
pub(crate) fn room(values: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if values.len() < len {
        *values = buffer(len);
    }
    &mut values[..len]
}

/// A right operand for several products one after the other on the calling thread: laid out once for those that want it.
pub(crate) struct Held<'a> {
    plain: Matrix<'a>,
    tiles: Option<&'a [Line]>,
}

impl<'a> Held<'a> {
    /// `b` as [`product_once`] takes it, for products of up to `most` rows; `room` is written anew.
    pub(crate) fn of(b: Matrix<'a>, most: usize, room: &'a mut Vec<Line>) -> Self {
        let wanted = pays_once(most, b.cols, b.rows);
        Self { plain: b, tiles: wanted.then(|| b.operand(Side::Right).packed(Side::Right, room)) }
    }

    /// The same bits as [`product_once`] gives.
    pub(crate) fn product(&self, out: &mut [f32], out_stride: usize, start: Start<'_>, a: Matrix<'_>) {
        let (m, n, k) = (a.rows, self.plain.cols, a.cols);
        match self.tiles {
            Some(right) if pays_once(m, n, k) => {
                assert_eq!(k, self.plain.rows, "inner lengths differ");
                check_start(start, m, n);
                count(m, n, k);
                tiles::product(out, out_stride, start, a.operand(Side::Left), right, n);
            }
            _ => product_once(out, out_stride, start, a, self.plain),
        }
    }
}

/// Whether a right operand is worth its layout for tiles though it is used once.
fn pays_once(m: usize, n: usize, k: usize) -> bool {
    on_tiles(m, n, k) && m * n * k >= ONCE
}

/// `out = start + a b` on the calling thread for a right operand whose rows have no gaps between columns, used once.
pub(crate) fn product_once(out: &mut [f32], out_stride: usize, start: Start<'_>, a: Matrix<'_>, b: Matrix<'_>) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner lengths differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!((n <= out_stride || m == 1) && (m - 1) * out_stride + n <= out.len(), "product outside its output");
    check_start(start, m, n);
    count(m, n, k);
    if pays_once(m, n, k) {
        with_right(b.operand(Side::Right), |right| {
            tiles::product(out, out_stride, start, a.operand(Side::Left), right, n);
        });
        return;
    }
    assert_eq!(b.col_stride, 1, "rows of the right operand have gaps");
    // SAFETY: `Matrix::strided` bounds both operands, the assertions bound output, bias and residual; `out` is a unique borrow.
    unsafe { kernel::run((m, n, k), out.as_mut_ptr(), out_stride, start, a.left(), b.right()) };
}

fn check_start(start: Start<'_>, m: usize, n: usize) {
    match start {
        Start::Zero | Start::Kept => {}
        Start::Bias(bias) => assert_eq!(bias.len(), n, "bias of another length"),
        Start::BiasAnd(bias, plus) => assert_eq!((bias.len(), plus.len()), (n, m * n), "bias or residual"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_any_shape_begin_where_they_should() {
        let value = |i: usize| ((i * 7919) % 23) as f32 - 11.0;
        let shapes = [(1, 1, 1), (8, 48, 3), (9, 49, 257), (17, 100, 513), (3, 15, 0), (30, 64, 31), (2, 96, 600)];
        for (m, n, k) in shapes.into_iter().chain([(300, 65, 32), (48, 33, 600), (33, 96, 129), (8, 16, 16)]) {
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..k * n).map(|i| value(i + 3)).collect();
            let (bias, plus): (Vec<f32>, Vec<f32>) = ((0..n).map(value).collect(), (0..m * n).map(value).collect());
            let exact = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum::<f32>();
            let bt: Vec<f32> = (0..n * k).map(|i| b[(i % k.max(1)) * n + i / k.max(1)]).collect();
            let at: Vec<f32> = (0..m * k).map(|i| a[(i % m) * k + i / m]).collect();
            for start in [Start::Zero, Start::Kept, Start::Bias(&bias), Start::BiasAnd(&bias, &plus)] {
                let first = |i: usize, j: usize| match start {
                    Start::Zero => 0.0,
                    Start::Kept => 5.0,
                    Start::Bias(bias) => bias[j],
                    Start::BiasAnd(bias, plus) => bias[j] + plus[i * n + j],
                };
                // Small whole numbers: every order of the sum gives the same bits.
                let right = |out: &[f32], stride: usize| {
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        assert_eq!(out[i * stride + j], first(i, j) + exact(i, j), "{m}x{n}x{k} at {i}, {j}");
                    }
                };
                for a in [Matrix::new(&a, m, k), Matrix::new(&at, k, m).t()] {
                    for b in [Ready::of(Matrix::new(&b, k, n)), Ready::of(Matrix::new(&bt, n, k).t())] {
                        let mut out = vec![5.0; m * n];
                        product_ready(&mut out, start, a, &b);
                        right(&out, n);
                    }
                    let mut room = Vec::new();
                    let held = Held::of(Matrix::new(&b, k, n), 2 * m, &mut room);
                    for is_held in [false, true] {
                        let mut out = vec![5.0; m * (n + 3)];
                        if is_held {
                            held.product(&mut out, n + 3, start, a);
                        } else {
                            product_once(&mut out, n + 3, start, a, Matrix::new(&b, k, n));
                        }
                        right(&out, n + 3);
                        let gaps = (0..m).all(|i| out[i * (n + 3) + n..(i + 1) * (n + 3)] == [5.0; 3]);
                        assert!(gaps, "gaps are left alone");
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_any_layout_are_the_same_for_one_thread_and_for_all() {
        let value = |i: usize| ((i * 7919) % 23) as f32 - 11.0;
        let shapes =
            [(1, 1, 1), (1, 700, 500), (3, 130, 1100), (5, 9, 0), (9, 400, 130), (300, 65, 32), (530, 33, 1030)];
        for (m, n, k) in shapes {
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..k * n).map(|i| value(i + 3)).collect();
            let turned = |values: &[f32], rows: usize, cols: usize| -> Vec<f32> {
                (0..cols * rows).map(|i| values[(i % rows) * cols + i / rows]).collect()
            };
            let (at, bt) = (turned(&a, m, k), turned(&b, k, n));
            let mut exact = vec![0.0_f32; m * n];
            for i in 0..m {
                for p in 0..k {
                    for j in 0..n {
                        exact[i * n + j] += a[i * k + p] * b[p * n + j];
                    }
                }
            }
            for a in [Matrix::new(&a, m, k), Matrix::new(&at, k, m).t()] {
                for b in [Matrix::new(&b, k, n), Matrix::new(&bt, n, k).t()] {
                    for (store, threads) in [Store::Replace, Store::Add]
                        .into_iter()
                        .flat_map(|store| [Threads::One, Threads::All].map(|threads| (store, threads)))
                    {
                        let stride = n + 5;
                        let mut out = vec![2.0_f32; m * stride];
                        product(&mut out, stride, store, a, b, threads);
                        for (i, row) in out.chunks_exact(stride).enumerate() {
                            let begun = if store == Store::Add { 2.0 } else { 0.0 };
                            let same = row[..n].iter().zip(&exact[i * n..]).all(|(y, exact)| *y == begun + exact);
                            assert!(same, "{m}x{n}x{k}, row {i}");
                            assert_eq!(row[n..], [2.0; 5], "gaps are left alone");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn tiles_lose_no_digit_against_vectors() {
        if !on_tiles(64, 64, 64) {
            return; // Nothing to hold against anything on this machine.
        }
        // Values of many magnitudes, from a fixed linear congruence.
        let mut state = 1_u64;
        let mut value = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (mantissa, exponent) = ((state >> 40) as f32 / 8_388_608.0 - 1.0, (state >> 33) % 12);
            mantissa * (exponent as f32 - 6.0).exp2()
        };
        for (m, n, k) in [(64, 64, 96), (40, 80, 777), (256, 33, 2048)] {
            let a: Vec<f32> = (0..m * k).map(|_| value()).collect();
            let b: Vec<f32> = (0..k * n).map(|_| value()).collect();
            let (a, b) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            // Root mean square of the errors, each beside the sum of the products' magnitudes.
            let error = |out: &[f32]| {
                let of = |i: usize| {
                    let terms = |p: usize| f64::from(a.values[i / n * k + p]) * f64::from(b.values[p * n + i % n]);
                    let (exact, size) = (0..k).map(terms).fold((0.0, 0.0), |(e, s), t| (e + t, s + t.abs()));
                    ((f64::from(out[i]) - exact) / size).powi(2)
                };
                ((0..m * n).map(of).sum::<f64>() / (m * n) as f64).sqrt()
            };
            let (mut tiles, mut vectors) = (vec![0.0; m * n], vec![0.0; m * n]);
            product(&mut tiles, n, Store::Replace, a, b, Threads::One);
            multiply(&mut vectors, n, Store::Replace, a, b, Threads::One);
            let (tiles, vectors) = (error(&tiles), error(&vectors));
            assert!(tiles <= vectors && tiles < 6e-8, "{m}x{n}x{k}: {tiles:e} on tiles, {vectors:e} on vectors");
        }
    }

    #[test]
    fn tiles_keep_what_is_not_finite_and_what_is_tiny() {
        let (m, n, k) = (16, 32, 40);
        let mut a = vec![1.0_f32; m * k];
        (a[0], a[k], a[2 * k], a[3 * k]) = (f32::NAN, f32::INFINITY, 1e38, 1e-30);
        let b = vec![0.5_f32; k * n];
        let mut out = vec![0.0; m * n];
        product(&mut out, n, Store::Replace, Matrix::new(&a, m, k), Matrix::new(&b, k, n), Threads::One);
        assert!(out[0].is_nan() && !out[n].is_finite(), "{} {}", out[0], out[n]);
        assert!(out[2 * n] > 4e37 && out[3 * n] == 19.5 && out[4 * n] == 20.0);
    }

    #[test]
    fn strides_and_transposes_reach_the_right_elements() {
        let a: Vec<f32> = (0..12).map(|i| i as f32).collect(); // 3 rows, stride 4, 2 columns used
        let b: Vec<f32> = (0..6).map(|i| (i as f32) - 2.0).collect(); // [3, 2], used as its transpose
        let mut out = vec![f32::NAN; 3 * 5];
        product(&mut out, 5, Store::Replace, Matrix::strided(&a, 3, 2, 4), Matrix::new(&b, 3, 2).t(), Threads::All);
        for i in 0..3 {
            for j in 0..3 {
                let expected: f32 = (0..2).map(|p| a[i * 4 + p] * b[j * 2 + p]).sum();
                assert_eq!(out[i * 5 + j], expected);
            }
        }
        product(&mut out, 5, Store::Add, Matrix::strided(&a, 3, 2, 4), Matrix::new(&b, 3, 2).t(), Threads::One);
        assert_eq!(out[6], 2.0 * (4.0 * b[2] + 5.0 * b[3]));
    }
}
