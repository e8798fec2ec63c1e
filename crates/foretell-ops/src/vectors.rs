//! Products by the kernel for vectors: what is packed, and how rows and columns are shared out.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use crate::flex::buffer;
use crate::kernel::{self, Left, Right, Start};
use crate::matrix::{Matrix, SPAN, Store, Threads, room};
use crate::shared::Shared;
use crate::simd::dispatch;

impl Matrix<'_> {
    /// Where it lies.
    pub(crate) fn left(self) -> Left {
        let (row, col) = (self.row_stride, self.col_stride);
        Left { start: self.values.as_ptr(), strip: kernel::rows() * row, row, col }
    }

    /// Where it lies, if its rows have no gaps.
    pub(crate) fn right(self) -> Right {
        Right { start: self.values.as_ptr(), row: self.row_stride, apart: kernel::panel() }
    }

    /// Whether its columns, each in one piece, lie so far apart that they share the same lines of the first cache: a strip of
    /// such a matrix would fetch every value anew.
    fn meets_itself(self) -> bool {
        self.col_stride != 1 && self.col_stride.is_multiple_of(1024)
    }

    /// Whether the rows of its panels are whole lines of a cache and spread over it, so that packing gains nothing.
    fn lies_well(self) -> bool {
        self.col_stride == 1 && kernel::panel().is_multiple_of(16) && !self.row_stride.is_multiple_of(256)
    }

    /// Copied into strips whose columns lie one after the other.
    fn packed_left(self, own: &mut Vec<f32>) -> Left {
        let (rows, depth) = (kernel::rows(), self.cols);
        let strips = room(own, self.rows.next_multiple_of(rows) * depth);
        for (i, strip) in strips.chunks_exact_mut((rows * depth).max(1)).enumerate() {
            let from = self.rows(i * rows..self.rows.min((i + 1) * rows));
            let copy = |j: usize, to: &mut [f32]| {
                for (r, to) in to[..from.rows].iter_mut().enumerate() {
                    *to = from.values[r * from.row_stride + j * from.col_stride];
                }
            };
            match rows {
                _ if from.rows < rows || from.row_stride != 1 => {
                    strip.chunks_exact_mut(rows).enumerate().for_each(|(j, to)| copy(j, to));
                }
                // Lengths that the compiler knows.
                4 => copy_columns::<4>(from, strip),
                8 => copy_columns::<8>(from, strip),
                _ => strip.chunks_exact_mut(rows).enumerate().for_each(|(j, to)| copy(j, to)),
            }
        }
        Left { start: strips.as_ptr(), strip: rows * depth, row: 1, col: rows }
    }

    /// Some of its columns.
    fn cols(self, cols: Range<usize>) -> Self {
        Self { values: &self.values[(cols.start * self.col_stride).min(self.values.len())..], cols: cols.len(), ..self }
    }
}

/// The first `R` values of each column, one after the other.
fn copy_columns<const R: usize>(from: Matrix<'_>, to: &mut [f32]) {
    for (j, to) in to.chunks_exact_mut(R).enumerate() {
        to.copy_from_slice(&from.values[j * from.col_stride..][..R]);
    }
}

/// Inner values that a product takes at a time, at most.
const DEEP: usize = 1024;

/// Multiplications from which on several threads are worth waking.
const WAKE: usize = 1 << 18;

/// Rows of the output below which columns of the right operand are not worth their packing.
const A_FEW: usize = 4;

thread_local! {
    /// Packed operands of one thread, left and right.
    static PACKED: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// [`product`](crate::matrix::product) by the kernel.
pub(crate) fn multiply(
    out: &mut [f32],
    out_stride: usize,
    store: Store,
    a: Matrix<'_>,
    b: Matrix<'_>,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert!(m == 0 || n == 0 || (m - 1) * out_stride + n <= out.len(), "product outside its output");
    if m == 0 || n == 0 {
        return;
    }
    let many = threads == Threads::All && m * n * k > WAKE;
    if m < A_FEW && b.row_stride == 1 && b.col_stride != 1 {
        return dots(out, out_stride, store, a, b, many);
    }
    let out = Shared(out.as_mut_ptr());
    // Rows of one strip or two read the right operand where it lies.
    let lies = b.lies_well() || b.col_stride == 1 && m <= 2 * kernel::rows();
    if !many {
        PACKED.with_borrow_mut(|[left, right]| {
            let right = if lies {
                b.right()
            } else {
                let panels = room(right, packed_len(b));
                pack_panels(b, 0, panels);
                right_of(panels, k)
            };
            // SAFETY: the assertion above bounds the output, which is borrowed; `right` holds `b`.
            unsafe { fill(out, out_stride, store, a, right, 0..n, left) };
        });
        return;
    }
    let panels = if lies { Vec::new() } else { packed_panels(b) };
    // Where rows are too few for every thread, columns are shared out too. What is shared changes no bit.
    let (rows, panel, tasks) = (kernel::rows(), kernel::panel(), 2 * rayon::current_num_threads());
    let span = m.div_ceil(tasks).next_multiple_of(rows).clamp(rows, SPAN);
    let spans = m.div_ceil(span);
    let groups = tasks.div_ceil(spans).clamp(1, n.div_ceil(panel));
    let bound = |group: usize| (group * n.div_ceil(panel) / groups * panel).min(n);
    (0..spans * groups).into_par_iter().for_each(|task| {
        let (rows, columns) = (task / groups * span, bound(task % groups)..bound(task % groups + 1));
        let a = a.rows(rows..m.min(rows + span));
        let right = if lies { b.right() } else { right_of(&panels, k) };
        PACKED.with_borrow_mut(|[left, _]| {
            // SAFETY: as above; tasks write disjoint rows and columns, and the borrow outlives them.
            unsafe { fill(Shared(out.get().add(rows * out_stride)), out_stride, store, a, right, columns, left) };
        });
    });
}

/// Some columns of `out = a b` (or `+=`), span after span of rows, on the calling thread.
///
/// # Safety
/// `out` must hold `a`'s rows `stride` apart and the columns, and nobody else may touch these; `b` must hold `a.cols` rows.
unsafe fn fill(
    out: Shared,
    stride: usize,
    store: Store,
    a: Matrix<'_>,
    b: Right,
    columns: Range<usize>,
    room_left: &mut Vec<f32>,
) {
    let (m, k, n) = (a.rows, a.cols, columns.len());
    // Columns begin with a panel.
    let b = Right { start: b.start.wrapping_add(columns.start / kernel::panel() * b.apart), ..b };
    for top in (0..m).step_by(SPAN) {
        let rows = top..m.min(top + SPAN);
        let mut start = if store == Store::Add { Start::Kept } else { Start::Zero };
        for first in (0..k.max(1)).step_by(DEEP) {
            let depth = DEEP.min(k - first);
            let a = a.rows(rows.clone()).cols(first..first + depth);
            let left = if a.meets_itself() && n > kernel::panel() { a.packed_left(room_left) } else { a.left() };
            let b = Right { start: b.start.wrapping_add(first * b.row), ..b };
            let out = out.get().wrapping_add(top * stride + columns.start);
            // SAFETY: the caller's; `Matrix::strided` bounds the left operand, or it was packed just now.
            unsafe { kernel::run((rows.len(), n, depth), out, stride, start, left, b) };
            start = Start::Kept;
        }
    }
}

/// [`multiply`] of few rows with columns that lie in one piece: as that many dot products.
fn dots(out: &mut [f32], out_stride: usize, store: Store, a: Matrix<'_>, b: Matrix<'_>, many: bool) {
    /// Columns of one task.
    const COLUMNS: usize = 64;
    let (n, k) = (b.cols, a.cols);
    let mut gathered = Vec::new();
    for i in 0..a.rows {
        let row = if a.col_stride == 1 {
            &a.values[i * a.row_stride..][..k]
        } else {
            gathered.clear();
            gathered.extend((0..k).map(|j| a.values[i * a.row_stride + j * a.col_stride]));
            &gathered
        };
        let fill = |(part, out): (usize, &mut [f32])| {
            dispatch(
                #[inline(always)]
                || {
                    for (c, out) in (part * COLUMNS..).zip(out) {
                        let sum = dot(row, &b.values[c * b.col_stride..][..k]);
                        *out = if store == Store::Add { *out + sum } else { sum };
                    }
                },
            );
        };
        let out = &mut out[i * out_stride..][..n];
        if many {
            out.par_chunks_mut(COLUMNS).enumerate().for_each(fill);
        } else {
            out.chunks_mut(COLUMNS).enumerate().for_each(fill);
        }
    }
}

/// Sums in lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut lanes = [0.0_f32; LANES];
    let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut left).zip(&mut right) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Panels without gaps, `k` rows each.
pub(crate) fn right_of(panels: &[f32], k: usize) -> Right {
    Right { start: panels.as_ptr(), row: kernel::panel(), apart: k * kernel::panel() }
}

/// Values of a right operand in panels.
fn packed_len(b: Matrix<'_>) -> usize {
    b.rows * b.cols.next_multiple_of(kernel::panel())
}

/// Panels from `first` on, as many as there is room for; what a last one lacks is zero.
fn pack_panels(b: Matrix<'_>, first: usize, to: &mut [f32]) {
    let (rows, cols, panel) = (b.rows, b.cols, kernel::panel());
    assert!(b.col_stride == 1 || b.row_stride == 1, "one axis is without gaps");
    for (i, values) in to.chunks_exact_mut((rows * panel).max(1)).enumerate() {
        let first = (first + i) * panel;
        let width = panel.min(cols - first);
        if b.col_stride == 1 {
            for (j, values) in values.chunks_exact_mut(panel).enumerate() {
                let at = j * b.row_stride + first;
                values[..width].copy_from_slice(&b.values[at..at + width]);
                values[width..].fill(0.0);
            }
        } else {
            if width < panel {
                values.fill(0.0);
            }
            kernel::transpose(&b.values[first * b.col_stride..], b.col_stride, width, rows, values, panel);
        }
    }
}

/// A right operand in panels, by the pool.
pub(crate) fn packed_panels(b: Matrix<'_>) -> Vec<f32> {
    let mut values = buffer(packed_len(b));
    let panel = (b.rows * kernel::panel()).max(1);
    values.par_chunks_mut(panel).enumerate().for_each(|(i, values)| pack_panels(b, i, values));
    values
}
