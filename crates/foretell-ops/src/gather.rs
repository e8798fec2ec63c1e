//! Rows of a table by index, and the sum of their gradients back into it.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::{Int, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::simd::rows_in_chunk;

/// Rows of `table` by index, some of them perhaps more than once: the tokens that a mask leaves.
///
/// # Shapes
/// - `table`: `[N, D]`; `indices`: K numbers, each below N; output: `[K, D]`
///
/// # Panics
/// If an index is N or more.
pub fn gather(table: Tensor<2>, indices: &[u32]) -> Tensor<2> {
    let [n, _] = table.dims();
    assert!(indices.iter().all(|index| (*index as usize) < n), "a row beyond the table's {n}");
    if is_fused(&table) {
        return Tensor::from_dispatch(Dispatch::fused_gather(table.into_dispatch(), Arc::from(indices)));
    }
    gather_composed(table, indices)
}

/// The composed body of [`gather`].
pub fn gather_composed(table: Tensor<2>, indices: &[u32]) -> Tensor<2> {
    let places: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [indices.len()]), &table.device().inner());
    table.select(0, places)
}

pub(crate) fn forward(table: &FlexTensor, indices: &[u32]) -> FlexTensor {
    let (_, width) = rows(table);
    let (table, mut out) = (slice(table), buffer(indices.len() * width));
    let chunk = rows_in_chunk(width);
    let pieces = out.par_chunks_mut((chunk * width).max(1)).zip(indices.par_chunks(chunk));
    pieces.for_each(|(out, indices)| {
        for (out, index) in out.chunks_exact_mut(width).zip(indices) {
            out.copy_from_slice(&table[*index as usize * width..][..width]);
        }
    });
    tensor(out, [indices.len(), width])
}

/// The gradient of a table of `n` rows: each row's takers are added in their order, whatever the threads.
pub(crate) fn backward(n: usize, indices: &[u32], dy: &FlexTensor) -> FlexTensor {
    let (_, width) = rows(dy);
    let mut takers: Vec<u32> = (0..indices.len() as u32).collect();
    takers.sort_by_key(|taker| indices[*taker as usize]);
    let (dy, mut dx) = (slice(dy), buffer(n * width));
    let chunk = rows_in_chunk(width);
    dx.par_chunks_mut((chunk * width).max(1)).enumerate().for_each(|(i, dx)| {
        dx.fill(0.0);
        let first = i * chunk;
        let from = takers.partition_point(|taker| (indices[*taker as usize] as usize) < first);
        for taker in &takers[from..] {
            let row = indices[*taker as usize] as usize - first;
            let Some(dx) = dx.get_mut(row * width..(row + 1) * width) else { break };
            for (dx, dy) in dx.iter_mut().zip(&dy[*taker as usize * width..]) {
                *dx += dy;
            }
        }
    });
    tensor(dx, [n, width])
}
