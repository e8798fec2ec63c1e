//! A whole pre-norm transformer block as one operation.
//!
//! Composed of its parts, a block writes and reads every intermediate value through memory. Here a group of rows (a
//! few samples) goes through the block while it lies in the caches, one group a thread. Forward alone keeps nothing;
//! with gradients the queries, keys and values, the attention's output and the middle of the residual stream are kept, and
//! what costs less than to write and read it is computed again: normalised rows, probabilities, the MLP's hidden layer.
//!
//! Weight gradients are summed within a *lane*, a fixed share of the groups, and lanes are added in order: groups and
//! lanes are functions of the shapes alone, so that the thread count never changes a bit.

use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::{Dispatch, Flex};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::activation::{gelu_and_slope, gelu_at, gelu_composed};
use crate::attention::{self, Packed, attention_composed, backward_sets, forward_sets};
use crate::count::repeated;
use crate::flex::{buffer, contiguous, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::kernel::Start;
use crate::linear::linear_composed;
use crate::matrix::{Matrix, NARROW, Ready, Store, Threads, are_few, product, product_of_few, product_ready, room};
use crate::norm::{layer_norm_composed, normalise_rows, normalise_rows_backward};
use crate::pieces::Plan;
use crate::reduce::add_in_order;
use crate::sets::{Sets, split_at_lengths};
use crate::simd::dispatch;
use crate::turns::{Turns, turn_composed};

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

/// A block's maps laid out once, for an encoder that is used and no longer trained: otherwise each pass does it anew, which for
/// one image costs a tenth or more. Weights that have changed since are noticed, and the layout is then passed over.
#[derive(Clone)]
pub struct PackedBlock(Arc<(Maps, [FlexTensor; 4])>);

impl PackedBlock {
    /// Of these weights; `None` where the fused body does not run.
    pub fn of(weights: &BlockWeights) -> Option<Self> {
        let w = weights;
        let plain = |t: &Tensor<2>| {
            let t = if t.device().is_autodiff() { t.clone().inner() } else { t.clone() };
            is_fused(&t).then(|| contiguous(t.try_into_primitive::<Flex>().expect("an untracked tensor on Flex")))
        };
        let tensors = [plain(&w.qkv.0)?, plain(&w.proj.0)?, plain(&w.fc1.0)?, plain(&w.fc2.0)?];
        let [qkv, proj, fc1, fc2] = tensors.each_ref().map(slice);
        let [width, hidden] = [w.proj.0.dims()[0], w.fc1.0.dims()[0]];
        let maps = Maps::of(MapWeights { qkv, proj, fc1, fc2, width, hidden }, true);
        Some(Self(Arc::new((maps, tensors))))
    }

    /// The layout, if it is of these very values: storage that is held here is written by nobody.
    fn maps_of(&self, w: MapWeights<'_>) -> Option<&Maps> {
        let (maps, tensors) = self.0.as_ref();
        let same = tensors.iter().zip([w.qkv, w.proj, w.fc1, w.fc2]).all(|(t, values)| std::ptr::eq(slice(t), values));
        same.then_some(maps)
    }
}

impl std::fmt::Debug for PackedBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackedBlock")
    }
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
    let [rows, width] = x.dims();
    assert_eq!(rows, sets.rows(), "rows and sets differ");
    let fits = |turns: &Turns| turns.rows() == rows && turns.head() * heads == width;
    assert!(turns.is_none_or(fits), "rows or heads differ from the turns'");
    if !is_fused(&x) || !is_fused(&weights.qkv.0) {
        return turned_block_composed(x, sets, turns, weights, heads, eps);
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
        Shape { sets: sets.clone(), turns: turns.cloned(), heads, eps: eps as f32, packed: w.packed },
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
    let y = layer_norm_composed(x.clone(), w.norm1.0, w.norm1.1, eps);
    let qkv = linear_composed(y, w.qkv.0, w.qkv.1);
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
    packed: Option<PackedBlock>,
}

impl Shape {
    /// Turns the queries and keys of some rows, where there are turns.
    fn turn(&self, rows: Range<usize>, qkv: &mut [f32], width: usize) {
        if let Some(turns) = &self.turns {
            turns.apply::<false>(rows, qkv, width);
        }
    }

    /// The gradients of turned queries and keys become those of the ones before, where there are turns.
    fn turn_back(&self, rows: Range<usize>, dqkv: &mut [f32], width: usize) {
        if let Some(turns) = &self.turns {
            turns.apply::<true>(rows, dqkv, width);
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

/// `dw += dyᵀ a` and `db += Σ dy`.
fn add_gradients(dw: &mut [f32], db: &mut [f32], dy: &[f32], a: &[f32]) {
    let (outputs, inputs) = (db.len(), dw.len() / db.len().max(1));
    add_product(dw, inputs, dy, outputs, a, inputs);
    add_sums(db, dy);
}

/// `dw += dyᵀ a`, rows of `dw` `stride` apart. Both operands are long and used once: the packing of `gemm` beats reading
/// them where they lie.
fn add_product(dw: &mut [f32], stride: usize, dy: &[f32], outputs: usize, a: &[f32], inputs: usize) {
    let rows = dy.len() / outputs.max(1);
    let (dy, a) = (Matrix::new(dy, rows, outputs), Matrix::new(a, rows, inputs));
    product(dw, stride, Store::Add, dy.t(), a, Threads::One);
}

/// `db += Σ dy`, row by row.
fn add_sums(db: &mut [f32], dy: &[f32]) {
    // Of these rows alone first: short sums keep their digits.
    let mut sums = vec![0.0_f32; db.len()];
    dispatch(
        #[inline(always)]
        || {
            for dy in dy.chunks_exact(sums.len()) {
                for (sum, dy) in sums.iter_mut().zip(dy) {
                    *sum += dy;
                }
            }
            for (db, sum) in db.iter_mut().zip(&sums) {
                *db += sum;
            }
        },
    );
}

/// Scratch of one thread.
#[derive(Default)]
struct Scratch {
    narrow: Vec<f32>,
    wide: Vec<f32>,
    wide2: Vec<f32>,
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
        let (d, h) = (w.width, w.hidden);
        let fc1 = |columns: Range<usize>| Matrix::new(&w.fc1[columns.start * d..columns.end * d], columns.len(), d);
        let fc2 = |columns: Range<usize>| Matrix::strided(&w.fc2[columns.start..], d, columns.len(), h);
        let turned = |weight: Matrix<'_>| Ready::of(if forward { weight.t() } else { weight });
        Self {
            qkv: turned(Matrix::new(w.qkv, 3 * d, d)),
            proj: turned(Matrix::new(w.proj, d, d)),
            fc1: shares(d, h).map(|columns| turned(fc1(columns))).collect(),
            fc2: shares(d, h).map(|columns| turned(fc2(columns))).collect(),
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
        shape.turn(0..rows, &mut qkv, d);
        let mut attended = buffer(rows * d);
        forward_sets(&qkv, sets, d, heads, &mut attended);
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
        apply(&ready.qkv, normed, Start::Bias(self.qkv[1]), qkv);
    }

    /// From the attention's output to the block's.
    #[allow(clippy::too_many_arguments)]
    fn after(&self, ready: &Maps, x: &[f32], attended: &[f32], middle: &mut [f32], y: &mut [f32], s: &mut Scratch) {
        apply(&ready.proj, attended, Start::BiasAnd(self.proj[1], x), middle);
        let normed = room(&mut s.narrow, x.len());
        normalise_rows(middle, self.norm2[0], self.norm2[1], self.eps, normed);
        let rows = x.len() / self.width.max(1);
        let mut start = Start::BiasAnd(self.fc2[1], middle);
        for (columns, (fc1, fc2)) in shares(self.width, self.hidden).zip(ready.fc1.iter().zip(&ready.fc2)) {
            let active = room(&mut s.wide, rows * columns.len());
            apply(fc1, normed, Start::Bias(&self.fc1[1][columns]), active);
            dispatch(
                #[inline(always)]
                || {
                    for active in active.iter_mut() {
                        *active = gelu_at(*active);
                    }
                },
            );
            apply(fc2, active, start, y);
            start = Start::Kept;
        }
    }

    /// From the block's output gradient to that of the residual stream's middle (`dmiddle`) and of the attention's
    /// output (`dattended`).
    #[allow(clippy::too_many_arguments)]
    fn after_backward(
        &self,
        ready: &Maps,
        (attended, middle): (&[f32], &[f32]),
        dy: &[f32],
        dmiddle: &mut [f32],
        dattended: &mut [f32],
        sums: &mut [&mut [f32]; WEIGHTS],
        s: &mut Scratch,
    ) {
        let [.., dproj, dproj_b, dnorm, dnorm_b, dfc1, dfc1_b, dfc2, dfc2_b] = sums;
        let rows = dy.len() / self.width.max(1);
        let normed = room(&mut s.narrow, dy.len());
        normalise_rows(middle, self.norm2[0], self.norm2[1], self.eps, normed);
        add_sums(dfc2_b, dy);
        // `dattended` lends its room until it is due.
        let mut start = Start::Zero;
        let maps = ready.fc1.iter().zip(&ready.fc2).zip(&ready.fc1_again);
        for (columns, ((fc1, fc2), again)) in shares(self.width, self.hidden).zip(maps) {
            let len = rows * columns.len();
            let (active, dhidden) = (room(&mut s.wide, len), room(&mut s.wide2, len));
            apply(again, normed, Start::Bias(&self.fc1[1][columns.clone()]), active);
            repeated(rows, columns.len(), self.width);
            apply(fc2, dy, Start::Zero, dhidden);
            dispatch(
                #[inline(always)]
                || {
                    for (active, dhidden) in active.iter_mut().zip(dhidden.iter_mut()) {
                        let (value, slope) = gelu_and_slope(*active);
                        *active = value;
                        *dhidden *= slope;
                    }
                },
            );
            add_product(&mut dfc2[columns.start..], self.hidden, dy, self.width, active, columns.len());
            let of_fc1 = columns.start * self.width..columns.end * self.width;
            add_gradients(&mut dfc1[of_fc1], &mut dfc1_b[columns], dhidden, normed);
            apply(fc1, dhidden, start, dattended);
            start = Start::Kept;
        }
        dmiddle.copy_from_slice(dy);
        normalise_rows_backward::<true>(middle, self.norm2[0], self.eps, dattended, dmiddle, dnorm, dnorm_b);
        add_gradients(dproj, dproj_b, dmiddle, attended);
        apply(&ready.proj, dmiddle, Start::Zero, dattended);
    }

    /// From the gradients of the residual stream's middle and of queries, keys and values to that of the input, which
    /// replaces `dmiddle`.
    fn before_backward(
        &self,
        ready: &Maps,
        x: &[f32],
        dqkv: &[f32],
        dmiddle: &mut [f32],
        sums: &mut [&mut [f32]; WEIGHTS],
        s: &mut Scratch,
    ) {
        let [dnorm, dnorm_b, dqkv_w, dqkv_b, ..] = sums;
        let normed = room(&mut s.narrow, x.len());
        normalise_rows(x, self.norm1[0], self.norm1[1], self.eps, normed);
        add_gradients(dqkv_w, dqkv_b, dqkv, normed);
        apply(&ready.qkv, dqkv, Start::Zero, normed);
        normalise_rows_backward::<true>(x, self.norm1[0], self.eps, normed, dmiddle, dnorm, dnorm_b);
    }
}

/// What the backward pass needs besides input and weights.
#[derive(Clone, Debug)]
pub(crate) struct Saved(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    qkv: Vec<f32>,
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
    let (values, sets, rows) = (slice(x), &shape.sets, shape.sets.rows());
    let d = w.width;
    let packed = shape.packed.as_ref().and_then(|packed| packed.maps_of(w.maps()));
    if !keep && packed.is_none() && are_few(rows) && w.are_wide() {
        return (tensor(w.few(values, shape), [rows, d]), None);
    }
    let made = packed.is_none().then(|| Maps::of(w.maps(), true));
    let ready = packed.or(made.as_ref()).expect("one of the two");
    let mut y = buffer(rows * d);
    let plan = if keep { Plan::of(sets) } else { Plan::forward(sets, d) };
    // What is not kept lies in scratch, one piece at a time; but between chunks, attention needs it whole.
    let whole = |needed: bool, len: usize| if needed { buffer(rows * len) } else { Vec::new() };
    let between = plan.groups.is_none();
    let (mut qkv, mut attended) = (whole(keep || between, 3 * d), whole(keep || between, d));
    let mut middle = whole(keep, d);
    if between {
        let pieces = plan.cut(&mut qkv, 3 * d).into_par_iter().enumerate();
        pieces.for_each_init(Scratch::default, |s, (i, qkv)| {
            w.before(ready, plan.piece(i, values, d), qkv, s);
            shape.turn(plan.spans[i].clone(), qkv, d);
        });
        forward_sets(&qkv, sets, d, shape.heads, &mut attended);
    }
    let parts = plan.lend(&mut qkv, 3 * d).into_iter().zip(plan.lend(&mut attended, d));
    let parts = parts.zip(plan.lend(&mut middle, d));
    let tasks: Vec<_> = plan.cut(&mut y, d).into_iter().zip(parts).collect();
    tasks.into_par_iter().enumerate().for_each_init(
        Default::default,
        |(s, own): &mut (Scratch, [Vec<f32>; 3]), (i, (y, ((qkv, attended), middle)))| {
            let (x, span) = (plan.piece(i, values, d), plan.spans[i].clone());
            let n = span.len();
            let [own_qkv, own_attended, own_middle] = own;
            let attended = attended.unwrap_or_else(|| room(own_attended, n * d));
            let middle = middle.unwrap_or_else(|| room(own_middle, n * d));
            if let Some(groups) = &plan.groups {
                let qkv = qkv.unwrap_or_else(|| room(own_qkv, n * 3 * d));
                w.before(ready, x, qkv, s);
                shape.turn(span.clone(), qkv, d);
                for set in groups[i].clone() {
                    let (from, to) = (sets.range(set).start - span.start, sets.range(set).end - span.start);
                    let packed = Packed::new(&qkv[3 * d * from..3 * d * to], d, shape.heads, sets.step());
                    packed.attend(0..to - from, &mut attended[d * from..d * to], &mut s.attention);
                }
            }
            w.after(ready, x, attended, middle, y, s);
        },
    );
    let saved = keep.then(|| Saved(Arc::new(Kept { qkv, attended, middle })));
    (tensor(y, [rows, d]), saved)
}

/// The gradients of the input and of each weight.
pub(crate) fn backward(
    x: &FlexTensor,
    weights: &[FlexTensor; WEIGHTS],
    shape: &Shape,
    saved: &Saved,
    dy: &FlexTensor,
) -> (FlexTensor, Vec<FlexTensor>) {
    let w = Weights::of(weights, shape.eps);
    let (values, sets, rows) = (slice(x), &shape.sets, shape.sets.rows());
    let d = w.width;
    let (dy, kept) = (slice(dy), saved.0.as_ref());
    let plan = Plan::of(sets);
    let ready = Maps::of(w.maps(), false);
    let in_lane = plan.spans.len() / plan.lanes;
    let mut dx = buffer(rows * d);
    let total: usize = w.lengths().iter().sum();
    let mut sums: Vec<Vec<f32>> = (0..plan.lanes).map(|_| vec![0.0; total]).collect();
    let after = |i: usize, dmiddle: &mut [f32], dattended: &mut [f32], sums: &mut _, s: &mut Scratch| {
        let kept = (plan.piece(i, &kept.attended, d), plan.piece(i, &kept.middle, d));
        w.after_backward(&ready, kept, plan.piece(i, dy, d), dmiddle, dattended, sums, s);
    };
    let mut pieces = plan.cut(&mut dx, d);
    if let Some(groups) = &plan.groups {
        let lanes = sums.par_iter_mut().zip(pieces.par_chunks_mut(in_lane));
        lanes.enumerate().for_each(|(lane, (sums, pieces))| {
            let (mut s, mut own) = (Scratch::default(), Vec::new());
            let mut sums = weight_views(sums, &w);
            for (i, dmiddle) in (lane * in_lane..).zip(pieces) {
                let span = plan.spans[i].clone();
                let (dattended, dqkv) = room(&mut own, span.len() * 4 * d).split_at_mut(span.len() * d);
                after(i, dmiddle, dattended, &mut sums, &mut s);
                for set in groups[i].clone() {
                    let range = sets.range(set);
                    let (from, to) = (range.start - span.start, range.end - span.start);
                    let packed =
                        Packed::new(&kept.qkv[3 * d * range.start..3 * d * range.end], d, shape.heads, sets.step());
                    let (dy, dqkv) = (&dattended[d * from..d * to], &mut dqkv[3 * d * from..3 * d * to]);
                    packed.backward_all(dy, dqkv, &mut s.attention);
                }
                shape.turn_back(span, dqkv, d);
                w.before_backward(&ready, plan.piece(i, values, d), dqkv, dmiddle, &mut sums, &mut s);
            }
        });
    } else {
        let mut dattended = buffer(rows * d);
        let mut dattends = plan.cut(&mut dattended, d);
        let both = pieces.par_chunks_mut(in_lane).zip(dattends.par_chunks_mut(in_lane));
        sums.par_iter_mut().zip(both).enumerate().for_each(|(lane, (sums, (pieces, dattends)))| {
            let mut s = Scratch::default();
            let mut sums = weight_views(sums, &w);
            for (i, (dmiddle, dattended)) in (lane * in_lane..).zip(pieces.iter_mut().zip(dattends)) {
                after(i, dmiddle, dattended, &mut sums, &mut s);
            }
        });
        let mut dqkv = buffer(rows * 3 * d);
        backward_sets(&kept.qkv, sets, d, shape.heads, &dattended, &mut dqkv);
        let dqkvs = plan.cut(&mut dqkv, 3 * d).into_par_iter().zip(&plan.spans);
        dqkvs.for_each(|(dqkv, span)| shape.turn_back(span.clone(), dqkv, d));
        let lanes = sums.par_iter_mut().zip(pieces.par_chunks_mut(in_lane));
        lanes.enumerate().for_each(|(lane, (sums, pieces))| {
            let mut s = Scratch::default();
            let mut sums = weight_views(sums, &w);
            for (i, dmiddle) in (lane * in_lane..).zip(pieces) {
                w.before_backward(
                    &ready,
                    plan.piece(i, values, d),
                    plan.piece(i, &dqkv, 3 * d),
                    dmiddle,
                    &mut sums,
                    &mut s,
                );
            }
        });
    }
    let gradients = add_lanes(sums, &w);
    let gradients = gradients
        .into_iter()
        .zip(weights)
        .map(|(values, weight)| tensor(values, weight.layout().shape().clone()))
        .collect();
    (tensor(dx, [rows, d]), gradients)
}

/// A flat vector as one slice for each weight.
fn weight_views<'a>(sums: &'a mut [f32], w: &Weights<'_>) -> [&'a mut [f32]; WEIGHTS] {
    let views = split_at_lengths(sums, w.lengths().into_iter());
    views.try_into().unwrap_or_else(|_| unreachable!("as many views as lengths"))
}

/// The lanes' sum, one vector for each weight.
fn add_lanes(lanes: Vec<Vec<f32>>, w: &Weights<'_>) -> Vec<Vec<f32>> {
    let lengths = w.lengths();
    let sum = add_in_order(lanes, lengths.iter().sum());
    let mut start = 0;
    let vectors = lengths.into_iter().map(|len| {
        start += len;
        sum[start - len..start].to_vec()
    });
    vectors.collect()
}
