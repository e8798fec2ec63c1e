//! A whole pre-norm transformer block as one operation.
//!
//! Composed of its parts, a block writes and reads every intermediate value through memory. Here a group of rows (a
//! few samples) goes through the block while it lies in the caches, one group a thread. Forward alone keeps nothing;
//! with gradients the queries, keys and values, the attention's output and the middle of the residual stream are kept, and
//! what costs less than to write and read it is computed again: normalised rows, probabilities, the MLP's hidden layer.
//!
//! Weight gradients are summed within a *lane*, a fixed share of the groups, and lanes are added in order: groups and
//! lanes are functions of the shapes alone, so that the thread count never changes a bit.

mod backward;
mod held;

use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::activation::{gelu_at, gelu_composed};
use crate::attention::{self, Packed, attention_composed, forward_sets};
use crate::flex::{buffer, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::head_norm::{head_norm_composed, normalise_heads, normalise_heads_backward};
use crate::kernel::Start;
use crate::linear::linear_composed;
use crate::matrix::{Matrix, NARROW, Ready, are_few, product_given, product_of_few, product_ready, room};
use crate::norm::{layer_norm_composed, normalise_rows};
use crate::pieces::Plan;
use crate::precision::{Given, Precision, Room};
use crate::sets::Sets;
use crate::simd::dispatch;
use crate::turns::{Turns, turn_composed};
pub(crate) use backward::backward;
pub use held::{LeanBlock, PackedBlock};

/// The weights of a [`transformer_block`], D wide with a hidden width of H.
#[derive(Clone, Debug)]
pub struct BlockWeights {
    /// Layer norm before attention, `[D]`, `[D]`.
    pub norm1: (Tensor<1>, Tensor<1>),
    /// Queries, keys and values, `[3 D, D]`, `[3 D]`.
    pub qkv: (Tensor<2>, Tensor<1>),
    /// After attention, `[D, D]`, `[D]`.
    pub proj: (Tensor<2>, Tensor<1>),
    /// Layer norm before the MLP, `[D]`, `[D]`.
    pub norm2: (Tensor<1>, Tensor<1>),
    /// The MLP's first map, `[H, D]`, `[H]`.
    pub fc1: (Tensor<2>, Tensor<1>),
    /// The MLP's second map, `[D, H]`, `[D]`.
    pub fc2: (Tensor<2>, Tensor<1>),
    /// The maps laid out beforehand, where that was done.
    pub packed: Option<PackedBlock>,
}

/// `x ← x + proj(attention(qkv(norm1(x))))`, then `x ← x + fc2(gelu(fc1(norm2(x))))` (Dosovitskiy et al., 2021), with
/// attention within each set, causal or not.
///
/// # Shapes
/// - `x` and output: `[T, D]`, the sets' rows one after the other
pub fn transformer_block(x: Tensor<2>, sets: &Sets, weights: BlockWeights, heads: usize, eps: f64) -> Tensor<2> {
    turned_block(x, sets, None, weights, heads, eps)
}

/// [`transformer_block`] whose queries and keys are [turned](crate::turn) before they meet, where there are turns.
///
/// # Panics
/// If the turns are of other rows, or of heads of another width.
pub fn turned_block(
    x: Tensor<2>,
    sets: &Sets,
    turns: Option<&Turns>,
    weights: BlockWeights,
    heads: usize,
    eps: f64,
) -> Tensor<2> {
    normed_block(x, sets, turns, weights, heads, eps, None)
}

/// [`turned_block`] with QK norm where `qk_eps` is given: before they are turned, each head's queries and keys are brought to mean 0
/// and variance 1 (layer normalisation without weights; Dehghani et al., 2023, arXiv 2302.05442).
///
/// # Panics
/// As [`turned_block`]; and with QK norm if turns are none, each pair having to be turned by one angle.
pub fn normed_block(
    x: Tensor<2>,
    sets: &Sets,
    turns: Option<&Turns>,
    weights: BlockWeights,
    heads: usize,
    eps: f64,
    qk_eps: Option<f64>,
) -> Tensor<2> {
    let [rows, width] = x.dims();
    assert_eq!(rows, sets.rows(), "rows and sets differ");
    assert!(qk_eps.is_none() || turns.is_none_or(Turns::rotate), "with QK norm a pair is turned by one angle");
    let fits = |turns: &Turns| turns.rows() == rows && turns.head() * heads == width;
    assert!(turns.is_none_or(fits), "rows or heads differ from the turns'");
    if !is_fused(&x) || !is_fused(&weights.qkv.0) {
        return normed_block_composed(x, sets, turns, weights, heads, eps, qk_eps);
    }
    let w = weights;
    Tensor::from_dispatch(Dispatch::fused_block(
        x.into_dispatch(),
        w.norm1.0.into_dispatch(),
        w.norm1.1.into_dispatch(),
        w.qkv.0.into_dispatch(),
        w.qkv.1.into_dispatch(),
        w.proj.0.into_dispatch(),
        w.proj.1.into_dispatch(),
        w.norm2.0.into_dispatch(),
        w.norm2.1.into_dispatch(),
        w.fc1.0.into_dispatch(),
        w.fc1.1.into_dispatch(),
        w.fc2.0.into_dispatch(),
        w.fc2.1.into_dispatch(),
        Shape {
            sets: sets.clone(),
            turns: turns.cloned(),
            heads,
            eps: eps as f32,
            qk_eps: qk_eps.map(|eps| eps as f32),
            packed: w.packed,
        },
    ))
}

/// The composed body of [`transformer_block`].
pub fn transformer_block_composed(x: Tensor<2>, sets: &Sets, w: BlockWeights, heads: usize, eps: f64) -> Tensor<2> {
    turned_block_composed(x, sets, None, w, heads, eps)
}

/// The composed body of [`turned_block`].
pub fn turned_block_composed(
    x: Tensor<2>,
    sets: &Sets,
    turns: Option<&Turns>,
    w: BlockWeights,
    heads: usize,
    eps: f64,
) -> Tensor<2> {
    normed_block_composed(x, sets, turns, w, heads, eps, None)
}

/// The composed body of [`normed_block`].
pub fn normed_block_composed(
    x: Tensor<2>,
    sets: &Sets,
    turns: Option<&Turns>,
    w: BlockWeights,
    heads: usize,
    eps: f64,
    qk_eps: Option<f64>,
) -> Tensor<2> {
    let y = layer_norm_composed(x.clone(), w.norm1.0, w.norm1.1, eps);
    let qkv = linear_composed(y, w.qkv.0, w.qkv.1);
    let qkv = if let Some(eps) = qk_eps { head_norm_composed(qkv, heads, eps) } else { qkv };
    let y = attention_composed(turns.map_or(qkv.clone(), |turns| turn_composed(qkv, turns)), sets, heads);
    let x = x + linear_composed(y, w.proj.0, w.proj.1);
    let y = layer_norm_composed(x.clone(), w.norm2.0, w.norm2.1, eps);
    x + linear_composed(gelu_composed(linear_composed(y, w.fc1.0, w.fc1.1)), w.fc2.0, w.fc2.1)
}

/// What a block is besides its weights.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    sets: Sets,
    turns: Option<Turns>,
    heads: usize,
    eps: f32,
    /// Of the QK norm, where there is one.
    qk_eps: Option<f32>,
    packed: Option<PackedBlock>,
}

impl Shape {
    /// Normalises and turns the queries and keys of some rows, where they are; `inverses` as in [`normalise_heads`].
    fn turn(&self, rows: Range<usize>, qkv: &mut [f32], width: usize, inverses: Option<&mut [f32]>) {
        if let Some(eps) = self.qk_eps {
            normalise_heads(qkv, width, width / self.heads, eps, inverses);
        }
        if let Some(turns) = &self.turns {
            turns.apply::<false>(rows, qkv, width);
        }
    }

    /// The gradients of normalised and turned queries and keys, which are given too, become those of the ones before.
    fn turn_back(
        &self,
        rows: Range<usize>,
        dqkv: &mut [f32],
        (qkv, inverses): (&[f32], &[f32]),
        width: usize,
        normed: &mut Vec<f32>,
    ) {
        if let Some(turns) = &self.turns {
            turns.apply::<true>(rows.clone(), dqkv, width);
        }
        if self.qk_eps.is_some() {
            normed.clear();
            normed.extend_from_slice(qkv);
            if let Some(turns) = &self.turns {
                // Of a rotation the transposed map is the inverse.
                turns.apply::<true>(rows, normed, width);
            }
            normalise_heads_backward(dqkv, normed, inverses, (width, width / self.heads));
        }
    }
}

/// Rows of a task between the maps of few rows.
const FEW_ROWS: usize = 16;

/// Number of weight tensors.
pub(crate) const WEIGHTS: usize = 12;

/// The weights' values.
#[derive(Clone, Copy)]
struct Weights<'a> {
    norm1: [&'a [f32]; 2],
    qkv: [&'a [f32]; 2],
    proj: [&'a [f32]; 2],
    norm2: [&'a [f32]; 2],
    fc1: [&'a [f32]; 2],
    fc2: [&'a [f32]; 2],
    width: usize,
    hidden: usize,
    eps: f32,
}

impl<'a> Weights<'a> {
    fn of(tensors: &'a [FlexTensor; WEIGHTS], eps: f32) -> Self {
        let pair = |i: usize| [slice(&tensors[i]), slice(&tensors[i + 1])];
        let (width, hidden) = (slice(&tensors[0]).len(), slice(&tensors[9]).len());
        Self {
            norm1: pair(0),
            qkv: pair(2),
            proj: pair(4),
            norm2: pair(6),
            fc1: pair(8),
            fc2: pair(10),
            width,
            hidden,
            eps,
        }
    }

    /// Lengths of the weight tensors.
    fn lengths(&self) -> [usize; WEIGHTS] {
        let (d, h) = (self.width, self.hidden);
        [d, d, 3 * d * d, 3 * d, d * d, d, d, d, h * d, h, d * h, d]
    }
}

/// Scratch of one thread.
#[derive(Default)]
struct Scratch {
    narrow: Vec<f32>,
    wide: Vec<f32>,
    wide2: Vec<f32>,
    given: [Room; 2],
    attention: attention::Scratch,
}

/// The maps as right operands: transposed on the way forward, as they are on the way back. The MLP's two come in
/// [`shares`] of the hidden width.
struct Maps {
    qkv: Ready,
    proj: Ready,
    fc1: Vec<Ready>,
    fc2: Vec<Ready>,
    /// On the way back alone: the first map as on the way forward.
    fc1_again: Vec<Ready>,
    /// Whether they are in fewer bits than f32.
    lean: bool,
}

/// Columns of the MLP's hidden layer that are computed, activated and multiplied on while they lie in L2: as many as the rows are
/// wide, within limits, as each share reads the rows and adds to the output anew. A multiple of what a tile holds.
fn share(width: usize) -> usize {
    (width / 64 * 64).clamp(192, 1024)
}

/// The hidden layer's shares, as columns.
fn shares(width: usize, hidden: usize) -> impl Iterator<Item = Range<usize>> {
    let share = share(width);
    (0..hidden).step_by(share).map(move |first| first..hidden.min(first + share))
}

/// The weights of a block's maps, without their biases.
#[derive(Clone, Copy)]
struct MapWeights<'a> {
    qkv: &'a [f32],
    proj: &'a [f32],
    fc1: &'a [f32],
    fc2: &'a [f32],
    width: usize,
    hidden: usize,
}

impl Maps {
    fn of(w: MapWeights<'_>, forward: bool) -> Self {
        Self::at(w, forward, Precision::F32)
    }

    fn at(w: MapWeights<'_>, forward: bool, precision: Precision) -> Self {
        let (d, h) = (w.width, w.hidden);
        let fc1 = |columns: Range<usize>| Matrix::new(&w.fc1[columns.start * d..columns.end * d], columns.len(), d);
        let fc2 = |columns: Range<usize>| Matrix::strided(&w.fc2[columns.start..], d, columns.len(), h);
        let turned = |weight: Matrix<'_>| Ready::at(if forward { weight.t() } else { weight }, precision);
        Self {
            qkv: turned(Matrix::new(w.qkv, 3 * d, d)),
            proj: turned(Matrix::new(w.proj, d, d)),
            fc1: shares(d, h).map(|columns| turned(fc1(columns))).collect(),
            fc2: shares(d, h).map(|columns| turned(fc2(columns))).collect(),
            lean: precision != Precision::F32,
            fc1_again: shares(d, if forward { 0 } else { h }).map(|columns| Ready::of(fc1(columns).t())).collect(),
        }
    }
}

/// `out = start + rows · map`.
fn apply(map: &Ready, rows: &[f32], start: Start<'_>, out: &mut [f32]) {
    product_ready(out, start, Matrix::new(rows, rows.len() / map.inputs().max(1), map.inputs()), map);
}

impl<'a> Weights<'a> {
    /// Those of the maps.
    fn maps(&self) -> MapWeights<'a> {
        MapWeights {
            qkv: self.qkv[0],
            proj: self.proj[0],
            fc1: self.fc1[0],
            fc2: self.fc2[0],
            width: self.width,
            hidden: self.hidden,
        }
    }

    /// Whether tiles take every map and every share of the MLP, so that it makes no difference to a bit where they end.
    fn are_wide(&self) -> bool {
        let rest = self.hidden % share(self.width);
        self.width >= NARROW && (rest == 0 || rest >= NARROW)
    }

    /// The block over few rows, map after map, each on all threads.
    fn few(&self, x: &[f32], shape: &Shape) -> Vec<f32> {
        let (sets, heads) = (&shape.sets, shape.heads);
        let (d, h) = (self.width, self.hidden);
        let rows = x.len() / d.max(1);
        let apply = |x: &[f32], inputs: usize, weight: &[f32], outputs: usize, start: Start<'_>| {
            let mut y = buffer(rows * outputs);
            product_of_few(&mut y, start, Matrix::new(x, rows, inputs), Matrix::new(weight, outputs, inputs));
            y
        };
        let normed = |x: &[f32], [gain, bias]: [&[f32]; 2]| {
            let mut y = buffer(x.len());
            let pieces = y.par_chunks_mut((FEW_ROWS * d).max(1)).zip(x.par_chunks((FEW_ROWS * d).max(1)));
            pieces.for_each(|(y, x)| normalise_rows(x, gain, bias, self.eps, y));
            y
        };
        let mut qkv = apply(&normed(x, self.norm1), d, self.qkv[0], 3 * d, Start::Bias(self.qkv[1]));
        shape.turn(0..rows, &mut qkv, d, None);
        let mut attended = buffer(rows * d);
        forward_sets(&qkv, sets, d, heads, false, &mut attended);
        let middle = apply(&attended, d, self.proj[0], d, Start::BiasAnd(self.proj[1], x));
        let mut hidden = apply(&normed(&middle, self.norm2), d, self.fc1[0], h, Start::Bias(self.fc1[1]));
        hidden.par_chunks_mut((FEW_ROWS * h).max(1)).for_each(|hidden| {
            dispatch(
                #[inline(always)]
                || {
                    for hidden in hidden.iter_mut() {
                        *hidden = gelu_at(*hidden);
                    }
                },
            );
        });
        apply(&hidden, h, self.fc2[0], d, Start::BiasAnd(self.fc2[1], &middle))
    }

    /// `qkv(norm1(x))`.
    fn before(&self, ready: &Maps, x: &[f32], qkv: &mut [f32], s: &mut Scratch) {
        let normed = room(&mut s.narrow, x.len());
        normalise_rows(x, self.norm1[0], self.norm1[1], self.eps, normed);
        let given = ready.qkv.given(normed, &mut s.given[0]);
        product_given(qkv, Start::Bias(self.qkv[1]), given, &ready.qkv);
    }

    /// From the attention's output to the block's.
    #[allow(clippy::too_many_arguments)]
    fn after(&self, ready: &Maps, x: &[f32], attended: &[f32], middle: &mut [f32], y: &mut [f32], s: &mut Scratch) {
        let given = ready.proj.given(attended, &mut s.given[0]);
        product_given(middle, Start::BiasAnd(self.proj[1], x), given, &ready.proj);
        let normed = room(&mut s.narrow, x.len());
        normalise_rows(middle, self.norm2[0], self.norm2[1], self.eps, normed);
        let rows = x.len() / self.width.max(1);
        let mut start = Start::BiasAnd(self.fc2[1], middle);
        let [of_normed, of_active] = &mut s.given;
        // Once for all the shares.
        let given = ready.fc1.first().map_or(Given::Values(normed), |fc1| fc1.given(normed, of_normed));
        for (columns, (fc1, fc2)) in shares(self.width, self.hidden).zip(ready.fc1.iter().zip(&ready.fc2)) {
            let active = room(&mut s.wide, rows * columns.len());
            product_given(active, Start::Bias(&self.fc1[1][columns]), given, fc1);
            dispatch(
                #[inline(always)]
                || {
                    for active in active.iter_mut() {
                        *active = gelu_at(*active);
                    }
                },
            );
            product_given(y, start, fc2.given(active, of_active), fc2);
            start = Start::Kept;
        }
    }
}

/// What the backward pass needs besides input and weights.
#[derive(Clone, Debug)]
pub(crate) struct Saved(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    /// As they met: normalised and turned, where they are.
    qkv: Vec<f32>,
    /// With QK norm, `[T, 2 heads]`: see [`normalise_heads`].
    inverses: Vec<f32>,
    attended: Vec<f32>,
    middle: Vec<f32>,
}

/// Keeps for the backward pass only if `keep`.
pub(crate) fn forward(
    x: &FlexTensor,
    weights: &[FlexTensor; WEIGHTS],
    shape: &Shape,
    keep: bool,
) -> (FlexTensor, Option<Saved>) {
    let w = Weights::of(weights, shape.eps);
    let (values, rows, d) = (slice(x), shape.sets.rows(), w.width);
    let packed = shape.packed.as_ref().and_then(|packed| packed.maps_of(w.maps()));
    if !keep && packed.is_none() && are_few(rows) && w.are_wide() {
        return (tensor(w.few(values, shape), [rows, d]), None);
    }
    let made = packed.is_none().then(|| Maps::of(w.maps(), true));
    let ready = packed.or(made.as_ref()).expect("one of the two");
    let (y, saved) = pass(&w, ready, values, shape, keep);
    (tensor(y, [rows, d]), saved)
}

/// The block's output over rows of values, and what the backward pass needs if that is to be kept.
fn pass(w: &Weights<'_>, ready: &Maps, values: &[f32], shape: &Shape, keep: bool) -> (Vec<f32>, Option<Saved>) {
    let (sets, rows, d) = (&shape.sets, shape.sets.rows(), w.width);
    let mut y = buffer(rows * d);
    let plan = if keep { Plan::of(sets) } else { Plan::forward(sets, d) };
    // What is not kept lies in scratch, one piece at a time; but between chunks, attention needs it whole.
    let whole = |needed: bool, len: usize| if needed { buffer(rows * len) } else { Vec::new() };
    let between = plan.groups.is_none();
    let (mut qkv, mut attended) = (whole(keep || between, 3 * d), whole(keep || between, d));
    let mut middle = whole(keep, d);
    let mut inverses = whole(keep && shape.qk_eps.is_some(), 2 * shape.heads);
    if between {
        let pieces = plan.cut(&mut qkv, 3 * d).into_par_iter().zip(plan.lend(&mut inverses, 2 * shape.heads));
        pieces.enumerate().for_each_init(Scratch::default, |s, (i, (qkv, inverses))| {
            w.before(ready, plan.piece(i, values, d), qkv, s);
            shape.turn(plan.spans[i].clone(), qkv, d, inverses);
        });
        forward_sets(&qkv, sets, d, shape.heads, ready.lean, &mut attended);
    }
    let parts = plan.lend(&mut qkv, 3 * d).into_iter().zip(plan.lend(&mut attended, d));
    let parts = parts.zip(plan.lend(&mut middle, d).into_iter().zip(plan.lend(&mut inverses, 2 * shape.heads)));
    let tasks: Vec<_> = plan.cut(&mut y, d).into_iter().zip(parts).collect();
    tasks.into_par_iter().enumerate().for_each_init(
        Default::default,
        |(s, own): &mut (Scratch, [Vec<f32>; 3]), (i, (y, ((qkv, attended), (middle, inverses))))| {
            let (x, span) = (plan.piece(i, values, d), plan.spans[i].clone());
            let n = span.len();
            let [own_qkv, own_attended, own_middle] = own;
            let attended = attended.unwrap_or_else(|| room(own_attended, n * d));
            let middle = middle.unwrap_or_else(|| room(own_middle, n * d));
            if let Some(groups) = &plan.groups {
                let qkv = qkv.unwrap_or_else(|| room(own_qkv, n * 3 * d));
                w.before(ready, x, qkv, s);
                shape.turn(span.clone(), qkv, d, inverses);
                for set in groups[i].clone() {
                    let (from, to) = (sets.range(set).start - span.start, sets.range(set).end - span.start);
                    let packed = Packed::new(&qkv[3 * d * from..3 * d * to], d, shape.heads, sets.step());
                    packed.leaner(ready.lean).attend(0..to - from, &mut attended[d * from..d * to], &mut s.attention);
                }
            }
            w.after(ready, x, attended, middle, y, s);
        },
    );
    (y, keep.then(|| Saved(Arc::new(Kept { qkv, inverses, attended, middle }))))
}
