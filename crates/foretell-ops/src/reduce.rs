//! Sums whose value depends on the numbers alone: constant partitions, combined in order, so that neither the thread
//! count nor the order in which threads finish changes a bit.

use burn::Tensor;
use burn::backend::Flex;
use rayon::prelude::*;

use crate::flex::{contiguous, is_fused, slice};
use crate::simd::{CHUNK, dispatch, rows_in_chunk};

/// The sum of `f` over fixed chunks, in f64 across chunks.
#[inline(always)]
pub(crate) fn sum_chunks(len: usize, f: impl Fn(std::ops::Range<usize>) -> f64 + Send + Sync) -> f64 {
    let parts: Vec<f64> =
        (0..len.div_ceil(CHUNK)).into_par_iter().map(|i| f(i * CHUNK..((i + 1) * CHUNK).min(len))).collect();
    parts.iter().sum()
}

/// Column sums of a row-major matrix of `width` columns.
pub(crate) fn sum_rows(values: &[f32], width: usize) -> Vec<f32> {
    if width == 0 {
        return Vec::new();
    }
    let parts: Vec<Vec<f32>> = values
        .par_chunks(rows_in_chunk(width) * width)
        .map(|chunk| {
            let mut sums = vec![0.0_f32; width];
            dispatch(
                #[inline(always)]
                || {
                    for row in chunk.chunks_exact(width) {
                        for (sum, x) in sums.iter_mut().zip(row) {
                            *sum += x;
                        }
                    }
                },
            );
            sums
        })
        .collect();
    combine(&parts, width)
}

/// Adds partial sums in order, in f64.
pub(crate) fn combine(parts: &[Vec<f32>], width: usize) -> Vec<f32> {
    let mut total = vec![0.0_f64; width];
    for part in parts {
        for (sum, x) in total.iter_mut().zip(part) {
            *sum += f64::from(*x);
        }
    }
    total.into_iter().map(|sum| sum as f32).collect()
}

/// The sum of vectors of `len` values, in order; zeros where there are none.
pub(crate) fn add_in_order(parts: Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_else(|| vec![0.0; len]);
    let rest: Vec<Vec<f32>> = parts.collect();
    sum.par_chunks_mut(CHUNK).enumerate().for_each(|(i, sum)| {
        dispatch(
            #[inline(always)]
            || {
                for part in &rest {
                    for (sum, x) in sum.iter_mut().zip(&part[i * CHUNK..]) {
                        *sum += x;
                    }
                }
            },
        );
    });
    sum
}

/// The values of a tensor in row-major order, as f32, on the host.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_as::<f32>().try_into_vec().expect("f32 values")
}

/// Σ x² over several tensors, for gradient norms: on the processor in f64 and the same bits whatever the thread count;
/// elsewhere each tensor's sum stays where it is, and one read brings them all.
#[derive(Default)]
pub struct SumOfSquares {
    sum: f64,
    /// `[1]` each.
    elsewhere: Vec<Tensor<1>>,
}

impl SumOfSquares {
    /// Takes in an untracked tensor.
    pub fn add<const D: usize>(&mut self, tensor: Tensor<D>) {
        if is_fused(&tensor) {
            // Read in place: gradients are shared with the tape's container.
            let tensor = contiguous(tensor.try_into_primitive::<Flex>().expect("an untracked tensor on Flex"));
            self.sum += squares(slice(&tensor));
        } else {
            self.elsewhere.push(tensor.square().sum());
        }
    }

    /// The sum.
    pub fn total(self) -> f64 {
        if self.elsewhere.is_empty() {
            return self.sum;
        }
        self.sum + values(Tensor::cat(self.elsewhere, 0)).into_iter().map(f64::from).sum::<f64>()
    }
}

fn squares(values: &[f32]) -> f64 {
    sum_chunks(values.len(), |range| {
        let chunk = &values[range];
        dispatch(
            #[inline(always)]
            || {
                let mut lanes = [0.0_f64; 16];
                let mut groups = chunk.chunks_exact(16);
                for group in &mut groups {
                    for (lane, x) in lanes.iter_mut().zip(group) {
                        *lane += f64::from(*x) * f64::from(*x);
                    }
                }
                let tail: f64 = groups.remainder().iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
                lanes.iter().sum::<f64>() + tail
            },
        )
    })
}
