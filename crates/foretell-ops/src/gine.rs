//! The sum over neighbours of GINE (Hu et al., 2020, arXiv 1905.12265, with the ε of GIN, Xu et al., 2019), over copies of nodes: a
//! node may stand in several patches, and each of its copies hears the neighbours that its own patch holds.

use std::sync::Arc;

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::{Int, TensorData, activation::relu};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, is_fused, rows, slice, tensor};
use crate::fused::Fused;
use crate::segments::{Segments, add, segment_sum_composed};
use crate::simd::{dispatch, rows_in_chunk};

/// Who hears whom. C copies of N nodes, M messages to them, each of one of K kinds of edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    /// Copies by their node.
    copies: Segments,
    /// Messages by the copy that hears them.
    targets: Segments,
    /// Messages by the node that they come from.
    sources: Segments,
    /// Messages by the kind of their edge.
    kinds: Segments,
}

impl Messages {
    /// - `copies`: of each copy its node, `[C]`, each below `nodes`
    /// - `messages`: of each its source node, the copy that hears it, and the kind of its edge, `[M]`, below `nodes`, C and `kinds`
    ///
    /// # Panics
    /// If a number is not below its bound.
    pub fn new(nodes: usize, copies: Vec<u32>, kinds: usize, messages: &[[u32; 3]]) -> Self {
        let heard = copies.len();
        let column = |i: usize| messages.iter().map(|message| message[i]).collect();
        Self(Arc::new(Inner {
            copies: Segments::new(copies, nodes),
            targets: Segments::new(column(1), heard),
            sources: Segments::new(column(0), nodes),
            kinds: Segments::new(column(2), kinds),
        }))
    }

    /// Copies by their node: C rows, N segments.
    pub fn copies(&self) -> &Segments {
        &self.0.copies
    }
}

/// `(1 + ε) h_v + Σ relu(h_u + e_uv)` for each copy of a node v, over the neighbours u that it hears.
///
/// # Shapes
/// - `nodes`: h, `[N, D]`; `edges`: e of each kind, `[K, D]`; `epsilon`: `[1]`
/// - output: `[C, D]`
///
/// # Panics
/// If `nodes` or `edges` are not as many as `messages` say.
pub fn gine(nodes: Tensor<2>, edges: Tensor<2>, epsilon: Tensor<1>, messages: &Messages) -> Tensor<2> {
    let Inner { copies, kinds, .. } = &*messages.0;
    assert_eq!((nodes.dims()[0], edges.dims()[0]), (copies.count(), kinds.count()), "nodes or kinds differ");
    if is_fused(&nodes) && is_fused(&edges) {
        let (nodes, edges, epsilon) = (nodes.into_dispatch(), edges.into_dispatch(), epsilon.into_dispatch());
        return Tensor::from_dispatch(Dispatch::fused_gine(nodes, edges, epsilon, messages.clone()));
    }
    gine_composed(nodes, edges, epsilon, messages)
}

/// The composed body of [`gine`].
pub fn gine_composed(nodes: Tensor<2>, edges: Tensor<2>, epsilon: Tensor<1>, messages: &Messages) -> Tensor<2> {
    let Inner { copies, targets, sources, kinds } = &*messages.0;
    let device = nodes.device().inner();
    let select = |table: &Tensor<2>, of: &Segments| {
        let ids: Vec<i32> = of.ids().iter().map(|id| *id as i32).collect();
        table.clone().select(0, Tensor::<1, Int>::from_data(TensorData::new(ids, [of.rows()]), &device))
    };
    let own = select(&nodes, copies) * (epsilon + 1.0).unsqueeze();
    if targets.rows() == 0 {
        return own;
    }
    own + segment_sum_composed(relu(select(&nodes, sources) + select(&edges, kinds)), targets)
}

/// A row of a matrix of `width` columns.
#[inline(always)]
fn row(values: &[f32], width: usize, index: u32) -> &[f32] {
    &values[index as usize * width..][..width]
}

/// `sum += dy` where `h + e` is positive.
#[inline(always)]
fn add_heard(sum: &mut [f32], h: &[f32], e: &[f32], dy: &[f32]) {
    for (((sum, h), e), dy) in sum.iter_mut().zip(h).zip(e).zip(dy) {
        *sum += if h + e > 0.0 { *dy } else { 0.0 };
    }
}

pub(crate) fn forward(h: &FlexTensor, edges: &FlexTensor, epsilon: &FlexTensor, messages: &Messages) -> FlexTensor {
    let (_, width) = rows(h);
    let Inner { copies, targets, sources, kinds } = &*messages.0;
    let (h, edges, own) = (slice(h), slice(edges), 1.0 + slice(epsilon)[0]);
    let mut out = buffer(copies.rows() * width);
    let chunk = rows_in_chunk(width);
    out.par_chunks_mut((chunk * width).max(1)).enumerate().for_each(|(i, out)| {
        dispatch(
            #[inline(always)]
            || {
                for (j, out) in out.chunks_exact_mut(width).enumerate() {
                    let copy = i * chunk + j;
                    for (out, h) in out.iter_mut().zip(row(h, width, copies.ids()[copy])) {
                        *out = own * h;
                    }
                    for message in targets.members(copy) {
                        let message = *message as usize;
                        let (h, e) = (row(h, width, sources.ids()[message]), row(edges, width, kinds.ids()[message]));
                        for ((out, h), e) in out.iter_mut().zip(h).zip(e) {
                            let sum = h + e;
                            *out += if sum > 0.0 { sum } else { 0.0 };
                        }
                    }
                }
            },
        );
    });
    tensor(out, [copies.rows(), width])
}

pub(crate) fn backward(
    (h, edges, epsilon): (&FlexTensor, &FlexTensor, &FlexTensor),
    messages: &Messages,
    dy: &FlexTensor,
    want: [bool; 3],
) -> [Option<FlexTensor>; 3] {
    let (nodes, width) = rows(h);
    let (h, edges, own, dy) = (slice(h), slice(edges), 1.0 + slice(epsilon)[0], slice(dy));
    [
        want[0].then(|| tensor(of_nodes(h, edges, own, messages, dy, width), [nodes, width])),
        want[1].then(|| tensor(of_edges(h, edges, messages, dy, width), [messages.0.kinds.count(), width])),
        want[2].then(|| tensor(vec![of_epsilon(h, messages, dy, width) as f32], [1])),
    ]
}

/// What a node's copies got of it, then what their neighbours heard.
fn of_nodes(h: &[f32], edges: &[f32], own: f32, messages: &Messages, dy: &[f32], width: usize) -> Vec<f32> {
    let Inner { copies, targets, sources, kinds } = &*messages.0;
    let mut dh = buffer(copies.count() * width);
    let chunk = rows_in_chunk(width);
    dh.par_chunks_mut((chunk * width).max(1)).enumerate().for_each(|(i, dh)| {
        dispatch(
            #[inline(always)]
            || {
                for (j, dh) in dh.chunks_exact_mut(width).enumerate() {
                    let node = i * chunk + j;
                    dh.fill(0.0);
                    for copy in copies.members(node) {
                        add(dh, row(dy, width, *copy));
                    }
                    for dh in dh.iter_mut() {
                        *dh *= own;
                    }
                    let h = row(h, width, node as u32);
                    for message in sources.members(node) {
                        let message = *message as usize;
                        let e = row(edges, width, kinds.ids()[message]);
                        add_heard(dh, h, e, row(dy, width, targets.ids()[message]));
                    }
                }
            },
        );
    });
    dh
}

/// Messages of one kind that one task adds up: where edges are all alike, threads share them.
const TOGETHER: usize = 256;

fn of_edges(h: &[f32], edges: &[f32], messages: &Messages, dy: &[f32], width: usize) -> Vec<f32> {
    let Inner { targets, sources, kinds, .. } = &*messages.0;
    let shares: Vec<(u32, &[u32])> = (0..kinds.count())
        .flat_map(|kind| kinds.members(kind).chunks(TOGETHER).map(move |members| (kind as u32, members)))
        .collect();
    let mut sums = buffer(shares.len() * width);
    let chunk = rows_in_chunk(width).div_ceil(TOGETHER);
    sums.par_chunks_mut((chunk * width).max(1)).zip(shares.par_chunks(chunk)).for_each(|(sums, shares)| {
        dispatch(
            #[inline(always)]
            || {
                for (sum, (kind, members)) in sums.chunks_exact_mut(width).zip(shares) {
                    sum.fill(0.0);
                    let e = row(edges, width, *kind);
                    for message in *members {
                        let message = *message as usize;
                        let h = row(h, width, sources.ids()[message]);
                        add_heard(sum, h, e, row(dy, width, targets.ids()[message]));
                    }
                }
            },
        );
    });
    // A kind's shares lie next to each other.
    let mut de = vec![0.0; kinds.count() * width];
    for ((kind, _), sum) in shares.iter().zip(sums.chunks_exact(width.max(1))) {
        add(&mut de[*kind as usize * width..][..width], sum);
    }
    de
}

fn of_epsilon(h: &[f32], messages: &Messages, dy: &[f32], width: usize) -> f64 {
    let copies = messages.0.copies.ids();
    let chunk = rows_in_chunk(width);
    let parts: Vec<f64> = copies
        .par_chunks(chunk)
        .zip(dy.par_chunks((chunk * width).max(1)))
        .map(|(copies, dy)| {
            dispatch(
                #[inline(always)]
                || {
                    let mut total = 0.0;
                    for (node, dy) in copies.iter().zip(dy.chunks_exact(width)) {
                        let mut lanes = [0.0_f32; 16];
                        let (mut hs, mut ds) = (row(h, width, *node).chunks_exact(16), dy.chunks_exact(16));
                        for (hs, ds) in (&mut hs).zip(&mut ds) {
                            for ((lane, h), d) in lanes.iter_mut().zip(hs).zip(ds) {
                                *lane = h.mul_add(*d, *lane);
                            }
                        }
                        let rest = hs.remainder().iter().zip(ds.remainder()).map(|(h, d)| f64::from(h * d));
                        total += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>() + rest.sum::<f64>();
                    }
                    total
                },
            )
        })
        .collect();
    parts.iter().sum()
}
