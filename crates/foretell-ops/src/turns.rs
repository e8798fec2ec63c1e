//! Rotary position codes (Su et al., 2021) on packed queries, keys and values: pairs of neighbouring values are turned by
//! angles that depend on where the row's token lies.
//!
//! Each of the two values of a pair has a cosine and a sine of its own, because the released V-JEPA 2 turns them by
//! different angles; with equal ones a pair is turned as a plane is.

use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::TensorData;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::simd::{dispatch, rows_in_chunk};

/// Cosines and sines of a head's values for each of P places, and the place of each of T rows.
#[derive(Clone, Debug)]
pub struct Turns {
    /// `[P, head]`.
    cos: Arc<[f32]>,
    /// `[P, head]`.
    sin: Arc<[f32]>,
    head: usize,
    /// `[T]`, each below P.
    at: Arc<[u32]>,
}

impl Turns {
    /// Of tables `[P, head]` row-major, and the place of each row.
    ///
    /// # Panics
    /// If the tables differ in length or are no rows of `head` values, or if a row lies at a place beyond them.
    pub fn new(cos: Vec<f32>, sin: Vec<f32>, head: usize, at: Vec<u32>) -> Self {
        assert!(head > 0 && cos.len() == sin.len() && cos.len().is_multiple_of(head), "tables of other lengths");
        let places = cos.len() / head;
        assert!(at.iter().all(|at| (*at as usize) < places), "a row beyond the table's {places} places");
        Self { cos: cos.into(), sin: sin.into(), head, at: at.into() }
    }

    /// The same tables for other rows.
    ///
    /// # Panics
    /// If a row lies at a place beyond the tables.
    pub fn of_rows(&self, at: Vec<u32>) -> Self {
        let places = self.cos.len() / self.head;
        assert!(at.iter().all(|at| (*at as usize) < places), "a row beyond the table's {places} places");
        Self { at: at.into(), ..self.clone() }
    }

    /// Rows, T.
    pub fn rows(&self) -> usize {
        self.at.len()
    }

    /// Width of a head.
    pub fn head(&self) -> usize {
        self.head
    }

    /// Whether each pair is turned by one angle, so that the transposed map undoes it.
    pub(crate) fn rotate(&self) -> bool {
        let same = |table: &[f32]| table.chunks_exact(self.head).all(|row| row.chunks_exact(2).all(|p| p[0] == p[1]));
        same(&self.cos) && same(&self.sin)
    }

    /// Turns the queries and keys of some rows of `3 · width` values; with `BACK` by the transposed map, which is what
    /// gradients go through.
    pub(crate) fn apply<const BACK: bool>(&self, rows: Range<usize>, qkv: &mut [f32], width: usize) {
        let head = self.head;
        dispatch(
            #[inline(always)]
            || {
                for (row, at) in qkv.chunks_exact_mut(3 * width).zip(&self.at[rows]) {
                    let place = *at as usize * head..(*at as usize + 1) * head;
                    let (cos, sin) = (&self.cos[place.clone()], &self.sin[place]);
                    for values in row[..2 * width].chunks_exact_mut(head) {
                        let angles = cos.chunks_exact(2).zip(sin.chunks_exact(2));
                        for (pair, (c, s)) in values.chunks_exact_mut(2).zip(angles) {
                            let (a, b) = (pair[0], pair[1]);
                            if BACK {
                                pair[0] = a * c[0] + b * s[1];
                                pair[1] = b * c[1] - a * s[0];
                            } else {
                                pair[0] = a * c[0] - b * s[0];
                                pair[1] = b * c[1] + a * s[1];
                            }
                        }
                    }
                }
            },
        );
    }
}

/// Queries and keys turned: `x_{2i} ← x_{2i} cos_{2i} − x_{2i+1} sin_{2i}`, `x_{2i+1} ← x_{2i+1} cos_{2i+1} + x_{2i} sin_{2i+1}`
/// within each head; values as they are. Of a head of odd width the last value is left.
///
/// # Shapes
/// - `qkv` and output: `[T, 3 D]`, the last axis `[q | k | v]`, each `[heads, D / heads]`
pub fn turn(qkv: Tensor<2>, turns: &Turns) -> Tensor<2> {
    let [rows, packed] = qkv.dims();
    assert!(rows == turns.rows() && (packed / 3).is_multiple_of(turns.head), "rows or heads differ from the turns'");
    if is_fused(&qkv) {
        return Tensor::from_dispatch(Dispatch::fused_turn(qkv.into_dispatch(), turns.clone()));
    }
    turn_composed(qkv, turns)
}

/// The composed body of [`turn`].
pub fn turn_composed(qkv: Tensor<2>, turns: &Turns) -> Tensor<2> {
    let [rows, packed] = qkv.dims();
    let (width, head) = (packed / 3, turns.head);
    let (heads, even) = (width / head, head / 2 * 2);
    let device = qkv.device().inner();
    // `[T, 1, even / 2]` of the values at 2i + `part` in a head.
    let table = |table: &[f32], part: usize| -> Tensor<3> {
        let of_row = |at: &u32| table[*at as usize * head..][..even].iter().skip(part).step_by(2).copied();
        let values: Vec<f32> = turns.at.iter().flat_map(of_row).collect();
        Tensor::from_data(TensorData::new(values, [rows, 1, even / 2]), (&device, qkv.dtype()))
    };
    let both = qkv.clone().slice([0..rows, 0..2 * width]).reshape([rows, 2 * heads, head]);
    let pairs = both.clone().slice([0..rows, 0..2 * heads, 0..even]).reshape([rows, 2 * heads, even / 2, 2]);
    let part = |i: usize| pairs.clone().narrow(3, i, 1).reshape([rows, 2 * heads, even / 2]);
    let first = part(0) * table(&turns.cos, 0) - part(1) * table(&turns.sin, 0);
    let second = part(1) * table(&turns.cos, 1) + part(0) * table(&turns.sin, 1);
    let turned = Tensor::stack::<4>(vec![first, second], 3).reshape([rows, 2 * heads, even]);
    let rest = both.slice([0..rows, 0..2 * heads, even..head]);
    let turned = if even < head { Tensor::cat(vec![turned, rest], 2) } else { turned };
    Tensor::cat(vec![turned.reshape([rows, 2 * width]), qkv.slice([0..rows, 2 * width..packed])], 1)
}

fn turned<const BACK: bool>(qkv: &FlexTensor, turns: &Turns) -> FlexTensor {
    let shape = dims(qkv);
    let (packed, values) = (shape[1], slice(qkv));
    let mut out = buffer(values.len());
    let chunk = rows_in_chunk(packed);
    let pieces = out.par_chunks_mut((chunk * packed).max(1)).zip(values.par_chunks((chunk * packed).max(1)));
    pieces.enumerate().for_each(|(i, (out, values))| {
        out.copy_from_slice(values);
        let first = i * chunk;
        turns.apply::<BACK>(first..first + out.len() / packed, out, packed / 3);
    });
    tensor(out, shape)
}

pub(crate) fn forward(qkv: &FlexTensor, turns: &Turns) -> FlexTensor {
    turned::<false>(qkv, turns)
}

pub(crate) fn backward(dy: &FlexTensor, turns: &Turns) -> FlexTensor {
    turned::<true>(dy, turns)
}
