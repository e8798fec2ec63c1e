//! Sums and means of packed rows by the segment that each belongs to: a patch's nodes, a node's copies.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::{IndexingUpdateOp, Int, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::sets::Sets;
use crate::simd::{dispatch, rows_in_chunk};

/// Which segment each of T rows belongs to, and each segment's rows in their order. A segment may be empty, and its rows need not
/// be neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments(Arc<Grouped>);

#[derive(Debug, PartialEq, Eq)]
struct Grouped {
    /// `[T]`.
    ids: Vec<u32>,
    /// Where a segment's members begin, `[S + 1]`.
    starts: Vec<u32>,
    /// Rows, those of a segment next to each other and rising, `[T]`.
    members: Vec<u32>,
}

impl Segments {
    /// Of `count` segments, the one that each row belongs to.
    ///
    /// # Panics
    /// If an id is `count` or more.
    pub fn new(ids: Vec<u32>, count: usize) -> Self {
        assert!(ids.iter().all(|id| (*id as usize) < count), "a segment beyond the {count}");
        let mut starts = vec![0_u32; count + 1];
        for id in &ids {
            starts[*id as usize + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut members = vec![0; ids.len()];
        for (row, id) in ids.iter().enumerate() {
            members[next[*id as usize] as usize] = row as u32;
            next[*id as usize] += 1;
        }
        Self(Arc::new(Grouped { ids, starts, members }))
    }

    /// Each set is a segment.
    pub fn of_sets(sets: &Sets) -> Self {
        let ids = (0..sets.count()).flat_map(|set| sets.range(set).map(move |_| set as u32));
        Self::new(ids.collect(), sets.count())
    }

    /// Rows of all segments, T.
    pub fn rows(&self) -> usize {
        self.0.ids.len()
    }

    /// Number of segments, S.
    pub fn count(&self) -> usize {
        self.0.starts.len() - 1
    }

    /// The segment of each row, `[T]`.
    pub fn ids(&self) -> &[u32] {
        &self.0.ids
    }

    /// A segment's rows, rising.
    pub fn members(&self, segment: usize) -> &[u32] {
        let starts = &self.0.starts;
        &self.0.members[starts[segment] as usize..starts[segment + 1] as usize]
    }

    /// What a mean takes each of a segment's rows by; 0 of none.
    fn share(&self, segment: usize) -> f32 {
        match self.members(segment).len() {
            0 => 0.0,
            len => 1.0 / len as f32,
        }
    }
}

/// The sum of each segment's rows, zeros where it has none.
///
/// # Shapes
/// - `rows`: `[T, D]`; output: `[S, D]`
///
/// # Panics
/// If `rows` are not as many as `segments` say.
pub fn segment_sum(rows: Tensor<2>, segments: &Segments) -> Tensor<2> {
    combined(rows, segments, false)
}

/// The mean of each segment's rows, zeros where it has none.
///
/// # Shapes
/// - `rows`: `[T, D]`; output: `[S, D]`
///
/// # Panics
/// If `rows` are not as many as `segments` say.
pub fn segment_mean(rows: Tensor<2>, segments: &Segments) -> Tensor<2> {
    combined(rows, segments, true)
}

fn combined(rows: Tensor<2>, segments: &Segments, mean: bool) -> Tensor<2> {
    assert_eq!(rows.dims()[0], segments.rows(), "rows and segments differ");
    if is_fused(&rows) {
        return Tensor::from_dispatch(Dispatch::fused_segments(rows.into_dispatch(), segments.clone(), mean));
    }
    if mean { segment_mean_composed(rows, segments) } else { segment_sum_composed(rows, segments) }
}

/// The composed body of [`segment_sum`].
pub fn segment_sum_composed(rows: Tensor<2>, segments: &Segments) -> Tensor<2> {
    let [_, width] = rows.dims();
    let device = rows.device().inner();
    let ids: Vec<i32> = segments.ids().iter().map(|id| *id as i32).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [segments.rows()]), &device);
    let none = Tensor::<2>::zeros([segments.count(), width], (&device, rows.dtype()));
    let none = if rows.device().is_autodiff() { none.autodiff() } else { none };
    none.select_assign(0, ids, rows, IndexingUpdateOp::Add)
}

/// The composed body of [`segment_mean`].
pub fn segment_mean_composed(rows: Tensor<2>, segments: &Segments) -> Tensor<2> {
    let place = (&rows.device().inner(), rows.dtype());
    let counts: Vec<f64> = (0..segments.count()).map(|s| segments.members(s).len().max(1) as f64).collect();
    let counts = Tensor::<2>::from_data(TensorData::new(counts, [segments.count(), 1]), place);
    segment_sum_composed(rows, segments) / counts
}

/// `sum += values`.
#[inline(always)]
pub(crate) fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(values) {
        *sum += x;
    }
}

#[inline(always)]
fn scale(values: &mut [f32], by: f32) {
    for x in values {
        *x *= by;
    }
}

pub(crate) fn forward(x: &FlexTensor, segments: &Segments, mean: bool) -> FlexTensor {
    let (_, width) = rows(x);
    let (x, mut out) = (slice(x), buffer(segments.count() * width));
    let chunk = rows_in_chunk(width);
    out.par_chunks_mut((chunk * width).max(1)).enumerate().for_each(|(i, out)| {
        dispatch(
            #[inline(always)]
            || {
                for (j, out) in out.chunks_exact_mut(width).enumerate() {
                    out.fill(0.0);
                    let segment = i * chunk + j;
                    for member in segments.members(segment) {
                        add(out, &x[*member as usize * width..][..width]);
                    }
                    if mean {
                        scale(out, segments.share(segment));
                    }
                }
            },
        );
    });
    tensor(out, [segments.count(), width])
}

pub(crate) fn backward(segments: &Segments, mean: bool, dy: &FlexTensor) -> FlexTensor {
    let (_, width) = rows(dy);
    let (dy, mut dx) = (slice(dy), buffer(segments.rows() * width));
    let chunk = rows_in_chunk(width);
    let pieces = dx.par_chunks_mut((chunk * width).max(1)).zip(segments.ids().par_chunks(chunk));
    pieces.for_each(|(dx, ids)| {
        dispatch(
            #[inline(always)]
            || {
                for (dx, id) in dx.chunks_exact_mut(width).zip(ids) {
                    dx.copy_from_slice(&dy[*id as usize * width..][..width]);
                    if mean {
                        scale(dx, segments.share(*id as usize));
                    }
                }
            },
        );
    });
    tensor(dx, [segments.rows(), width])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_rise_within_their_segment_and_every_row_is_one() {
        let segments = Segments::new(vec![2, 0, 2, 3, 2], 5);
        assert_eq!((segments.rows(), segments.count()), (5, 5));
        let members: Vec<&[u32]> = (0..5).map(|s| segments.members(s)).collect();
        assert_eq!(members, [&[1][..], &[], &[0, 2, 4], &[3], &[]]);
        assert_eq!(Segments::of_sets(&Sets::of_lengths(&[2, 0, 1])), Segments::new(vec![0, 0, 2], 3));
    }
}
