//! What a few queries find in each set of rows: the pooling of an attentive probe, with keys and values folded into the queries.

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::attention::fill_ends;
use crate::flex::{buffer, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::matrix::{Matrix, Store, Threads, product, room};
use crate::sets::{Sets, split_at_lengths};
use crate::softmax::{softmax, softmax_rows, softmax_rows_backward};

/// The mean of each set's rows, weighted by the softmax of their products with each query: `Σ_n softmax_n(q · x_n) x_n`.
///
/// Cross-attention (V-JEPA, arXiv 2404.08471, appendix) of one learned query is this, where the map of the keys is folded into the
/// query and that of the values applied to what is found: it costs `2 D` multiplications a row and query in place of `2 D²` a row. All
/// queries of all probes over the same rows are one call.
///
/// # Shapes
/// - `rows`: `[T, D]`, the sets' rows one after the other; `queries`: `[M, D]`, the scale within them
/// - output: `[B·M, D]`, a set's M answers one after the other; zeros for a set without rows
///
/// # Panics
/// If `rows` are not as many as `sets` say, or queries are not as wide as rows.
pub fn query_pool(rows: Tensor<2>, queries: Tensor<2>, sets: &Sets) -> Tensor<2> {
    let ([count, width], [_, asked]) = (rows.dims(), queries.dims());
    assert_eq!(count, sets.rows(), "rows and sets differ");
    assert_eq!(width, asked, "rows and queries differ in width");
    if is_fused(&rows) && is_fused(&queries) {
        let (rows, queries) = (rows.into_dispatch(), queries.into_dispatch());
        return Tensor::from_dispatch(Dispatch::fused_query_pool(rows, queries, sets.clone()));
    }
    query_pool_composed(rows, queries, sets)
}

/// The composed body of [`query_pool`].
pub fn query_pool_composed(rows: Tensor<2>, queries: Tensor<2>, sets: &Sets) -> Tensor<2> {
    let ([_, width], [asked, _]) = (rows.dims(), queries.dims());
    if let Some(len) = sets.common_len().filter(|len| *len > 0) {
        let x = rows.reshape([sets.count(), len, width]);
        let scores = queries.unsqueeze::<3>().matmul(x.clone().transpose());
        return softmax(scores).matmul(x).reshape([sets.count() * asked, width]);
    }
    let one = |set: usize| {
        let range = sets.range(set);
        if range.is_empty() {
            return queries.clone() * 0.0;
        }
        let x = rows.clone().slice([range, 0..width]);
        softmax(queries.clone().matmul(x.clone().transpose())).matmul(x)
    };
    Tensor::cat((0..sets.count()).map(one).collect(), 0)
}

/// Distance of rows of scores: whole vectors.
fn stride(len: usize) -> usize {
    len.next_multiple_of(16)
}

/// Where the probabilities of each set end, in values.
fn lengths(sets: &Sets, asked: usize) -> impl Iterator<Item = usize> {
    (0..sets.count()).map(move |set| asked * stride(sets.range(set).len()))
}

/// Shares of the sets whose gradients of the queries are summed by themselves: a function of their number alone.
const LANES: usize = 16;

/// The answers, and the probabilities that the backward pass needs.
pub(crate) fn forward(x: &FlexTensor, queries: &FlexTensor, sets: &Sets) -> (FlexTensor, FlexTensor) {
    let ((_, width), (asked, _)) = (rows(x), rows(queries));
    let (x, queries) = (slice(x), slice(queries));
    let mut out = buffer(sets.count() * asked * width);
    let mut shares = buffer(lengths(sets, asked).sum());
    let pieces = split_at_lengths(&mut shares, lengths(sets, asked));
    out.par_chunks_mut((asked * width).max(1)).zip(pieces).enumerate().for_each(|(set, (out, p))| {
        let range = sets.range(set);
        let (n, row) = (range.len(), stride(range.len()));
        if n == 0 {
            return out.fill(0.0);
        }
        let x = Matrix::new(&x[range.start * width..range.end * width], n, width);
        product(p, row, Store::Replace, Matrix::new(queries, asked, width), x.t(), Threads::One);
        fill_ends(p, n, row, f32::NEG_INFINITY);
        softmax_rows(p, row, 1.0);
        product(out, width, Store::Replace, Matrix::strided(p, asked, n, row), x, Threads::One);
    });
    let held = shares.len();
    (tensor(out, [sets.count() * asked, width]), tensor(shares, [held]))
}

/// The gradients of the rows and of the queries.
pub(crate) fn backward(
    (x, queries, shares): (&FlexTensor, &FlexTensor, &FlexTensor),
    sets: &Sets,
    dy: &FlexTensor,
    [want_rows, want_queries]: [bool; 2],
) -> [Option<FlexTensor>; 2] {
    let ((total, width), (asked, _)) = (rows(x), rows(queries));
    let (x, queries, shares, dy) = (slice(x), slice(queries), slice(shares), slice(dy));
    let mut dx = buffer(if want_rows { total * width } else { 0 });
    let per_lane = sets.count().div_ceil(LANES).max(1);
    let lanes: Vec<std::ops::Range<usize>> =
        (0..sets.count()).step_by(per_lane).map(|first| first..sets.count().min(first + per_lane)).collect();
    let of_lane =
        |sets: &Sets, lane: &std::ops::Range<usize>| sets.range(lane.end - 1).end - sets.range(lane.start).start;
    let wide = if want_rows { width } else { 0 };
    let dxs = split_at_lengths(&mut dx, lanes.iter().map(|lane| wide * of_lane(sets, lane)));
    let starts: Vec<usize> = lengths(sets, asked)
        .scan(0, |end, len| {
            *end += len;
            Some(*end - len)
        })
        .collect();
    let sums: Vec<Vec<f32>> = dxs
        .into_par_iter()
        .zip(lanes)
        .map(|(dx, lane)| {
            let (mut sum, mut scores) = (vec![0.0; asked * width], Vec::new());
            let first = sets.range(lane.start).start;
            for set in lane {
                let range = sets.range(set);
                let (n, row) = (range.len(), stride(range.len()));
                if n == 0 {
                    continue;
                }
                let x = Matrix::new(&x[range.start * width..range.end * width], n, width);
                let p = &shares[starts[set]..][..asked * row];
                let dy = Matrix::new(&dy[set * asked * width..][..asked * width], asked, width);
                let dp = room(&mut scores, asked * row);
                product(dp, row, Store::Replace, dy, x.t(), Threads::One);
                fill_ends(dp, n, row, 0.0);
                softmax_rows_backward(p, dp, row, 1.0);
                let ds = Matrix::strided(dp, asked, n, row);
                product(&mut sum, width, Store::Add, ds, x, Threads::One);
                if want_rows {
                    let dx = &mut dx[(range.start - first) * width..(range.end - first) * width];
                    product(dx, width, Store::Replace, Matrix::strided(p, asked, n, row).t(), dy, Threads::One);
                    product(dx, width, Store::Add, ds.t(), Matrix::new(queries, asked, width), Threads::One);
                }
            }
            sum
        })
        .collect();
    let dq = want_queries.then(|| {
        let mut dq = vec![0.0; asked * width];
        for sum in sums {
            dq.iter_mut().zip(sum).for_each(|(dq, sum)| *dq += sum);
        }
        tensor(dq, [asked, width])
    });
    [want_rows.then(|| tensor(dx, [total, width])), dq]
}
