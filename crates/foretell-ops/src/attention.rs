//! Scaled dot-product self-attention on packed queries, keys and values (Vaswani et al., 2017).

use std::ops::Range;
use std::sync::Arc;

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::{Bool, TensorData, activation::softmax};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::count::repeated;
use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::kernel::halves::takes_pairs;
use crate::kernel::{self, Start, transpose};
use crate::matmul::matmul;
use crate::matrix::{Held, Matrix, product_once, room};
use crate::precision::{Paired, Words};
use crate::sets::{Sets, seen, split_at_lengths};
use crate::softmax::{softmax_rows, softmax_rows_backward};
use crate::tiles::Line;

/// `softmax(q kᵀ / √d) v` for each head, on the packed output of one linear map.
///
/// # Shapes
/// - `qkv`: `[B, N, 3 D]`, the last axis `[q | k | v]`, each `[heads, D / heads]`
/// - output: `[B, N, D]`
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [b, n, packed] = qkv.dims();
    attention(qkv.reshape([b * n, packed]), &Sets::uniform(b, n), heads).reshape([b, n, packed / 3])
}

/// [`self_attention`] within each of several sets of any lengths; in [causal](Sets::causal) ones up to each row.
///
/// # Shapes
/// - `qkv`: `[T, 3 D]`, the sets' rows one after the other
/// - output: `[T, D]`
pub fn attention(qkv: Tensor<2>, sets: &Sets, heads: usize) -> Tensor<2> {
    assert_eq!(qkv.dims()[0], sets.rows(), "rows and sets differ");
    if is_fused(&qkv) {
        return Tensor::from_dispatch(Dispatch::fused_attention(qkv.into_dispatch(), sets.clone(), heads));
    }
    attention_composed(qkv, sets, heads)
}

/// `softmax(q kᵀ / √d) v` for each head, of a few queries over packed keys and values: what an attentive pooler asks. Composed of
/// ordinary tensor calls: with one query a sample it is a thousandth of the encoder's work.
///
/// # Shapes
/// - `queries`: `[B, Q, D]`; `kv`: `[B, N, 2 D]`, the last axis `[k | v]`, each `[heads, D / heads]`
/// - output: `[B, Q, D]`
pub fn cross_attention(queries: Tensor<3>, kv: Tensor<3>, heads: usize) -> Tensor<3> {
    cross_attention_of(queries, kv, heads, None)
}

/// The same of the first so many keys of each row alone, `seen` `[B]`, at least one of each.
///
/// # Panics
/// If `seen` does not name at least one key for each row.
pub fn cross_attention_of(queries: Tensor<3>, kv: Tensor<3>, heads: usize, seen: Option<&[usize]>) -> Tensor<3> {
    let ([b, asked, width], [_, n, _]) = (queries.dims(), kv.dims());
    let head = width / heads;
    let split = |x: Tensor<3>, rows: usize| x.reshape([b, rows, heads, head]).swap_dims(1, 2);
    let part = |i: usize| split(kv.clone().slice([0..b, 0..n, i * width..(i + 1) * width]), n);
    let mut scores = matmul(split(queries, asked), part(0).transpose()) / (head as f64).sqrt();
    if let Some(seen) = seen {
        assert!(seen.len() == b && seen.iter().all(|seen| *seen > 0), "each row sees a key");
        let hidden = |seen: &usize| (0..n).map(|key| if key < *seen { 0.0 } else { f32::NEG_INFINITY }).collect();
        let hidden: Vec<Vec<f32>> = seen.iter().map(hidden).collect();
        let hidden = TensorData::new(hidden.concat(), [b, 1, 1, n]);
        scores = scores.clone() + Tensor::from_data(hidden, (&scores.device().inner(), scores.dtype()));
    }
    matmul(softmax(scores, 3), part(1)).swap_dims(1, 2).reshape([b, asked, width])
}

/// The composed body of [`attention`].
pub fn attention_composed(qkv: Tensor<2>, sets: &Sets, heads: usize) -> Tensor<2> {
    let [rows, packed] = qkv.dims();
    if let Some(len) = sets.common_len() {
        let count = rows / len.max(1);
        return composed(qkv.reshape([count, len, packed]), heads, sets, None).reshape([rows, packed / 3]);
    }
    let one = |set: usize| {
        let range = sets.range(set);
        let len = range.len();
        let qkv = qkv.clone().slice([range, 0..packed]).reshape([1, len, packed]);
        composed(qkv, heads, sets, None).reshape([len, packed / 3])
    };
    Tensor::cat((0..sets.count()).filter(|set| !sets.range(*set).is_empty()).map(one).collect(), 0)
}

/// A factor for each pair of tokens of a set: of sets of N tokens, matrices `[N, N]`, one after the other.
#[derive(Clone, Debug)]
pub struct Pairs {
    values: Arc<[f32]>,
    starts: Arc<[usize]>,
}

impl Pairs {
    /// Row-major: the query's row, the key's column.
    ///
    /// # Panics
    /// If there are not N² values for each set of N tokens.
    pub fn new(sets: &Sets, values: Vec<f32>) -> Self {
        let mut end = 0;
        let ends = (0..sets.count()).map(|set| {
            end += sets.range(set).len().pow(2);
            end
        });
        let starts: Arc<[usize]> = std::iter::once(0).chain(ends).collect();
        assert_eq!(values.len(), end, "a factor for each pair of a set's tokens");
        Self { values: values.into(), starts }
    }

    /// Those of one set.
    fn of(&self, set: usize) -> &[f32] {
        &self.values[self.starts[set]..self.starts[set + 1]]
    }
}

/// `(softmax(q kᵀ / √d) ⊙ A) v` within each set and for each head: attention of tokens that overlap, by how much (Graph-JEPA,
/// Skenderi et al., 2025, arXiv 2309.16014). Rows of the product need not sum to one.
///
/// # Shapes
/// - `qkv`: `[T, 3 D]`, the sets' rows one after the other, the last axis `[q | k | v]`, each `[heads, D / heads]`
/// - output: `[T, D]`
pub fn hadamard_attention(qkv: Tensor<2>, sets: &Sets, pairs: &Pairs, heads: usize) -> Tensor<2> {
    assert_eq!(qkv.dims()[0], sets.rows(), "rows and sets differ");
    if is_fused(&qkv) {
        let (sets, pairs) = (sets.clone(), pairs.clone());
        return Tensor::from_dispatch(Dispatch::fused_hadamard(qkv.into_dispatch(), sets, pairs, heads));
    }
    hadamard_attention_composed(qkv, sets, pairs, heads)
}

/// The composed body of [`hadamard_attention`].
pub fn hadamard_attention_composed(qkv: Tensor<2>, sets: &Sets, pairs: &Pairs, heads: usize) -> Tensor<2> {
    let [_, packed] = qkv.dims();
    let place = (&qkv.device().inner(), qkv.dtype());
    let one = |set: usize| {
        let range = sets.range(set);
        let len = range.len();
        let factors = Tensor::<2>::from_data(TensorData::new(pairs.of(set).to_vec(), [len, len]), place);
        let qkv = qkv.clone().slice([range, 0..packed]).reshape([1, len, packed]);
        composed(qkv, heads, sets, Some(factors)).reshape([len, packed / 3])
    };
    Tensor::cat((0..sets.count()).filter(|set| !sets.range(*set).is_empty()).map(one).collect(), 0)
}

/// The composed body of [`self_attention`].
pub fn self_attention_composed(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let [b, n, _] = qkv.dims();
    composed(qkv, heads, &Sets::uniform(b, n), None)
}

fn composed(qkv: Tensor<3>, heads: usize, sets: &Sets, factors: Option<Tensor<2>>) -> Tensor<3> {
    let [b, n, packed] = qkv.dims();
    let width = packed / 3;
    let head = width / heads;
    let part = |i: usize| -> Tensor<4> {
        qkv.clone().slice([0..b, 0..n, i * width..(i + 1) * width]).reshape([b, n, heads, head]).swap_dims(1, 2)
    };
    let mut scores = matmul(part(0), part(1).transpose()) / (head as f64).sqrt();
    if sets.is_causal() {
        // True where the key comes later than the query's step.
        let later: Vec<bool> = (0..n).flat_map(|query| (0..n).map(move |key| key >= sets.seen(query, n))).collect();
        let later = Tensor::<2, Bool>::from_data(TensorData::new(later, [n, n]), &scores.device().inner());
        scores = scores.mask_fill(later.unsqueeze::<4>().expand([b, heads, n, n]), f32::NEG_INFINITY);
    }
    let mut probabilities = softmax(scores, 3);
    if let Some(factors) = factors {
        probabilities = probabilities * factors.unsqueeze::<4>();
    }
    matmul(probabilities, part(2)).swap_dims(1, 2).reshape([b, n, width])
}

/// Queries whose scores are in memory at a time, at most.
const QUERIES: usize = 128;

/// Queries of a set that are taken at a time: shares of much the same length, in whole strips of the kernel, so that two threads
/// have as much to do.
fn share(tokens: usize) -> usize {
    let rows = kernel::rows();
    tokens.div_ceil(tokens.div_ceil(QUERIES).max(1)).next_multiple_of(rows).max(rows)
}
/// Tasks for each thread where there are queries enough.
const TASKS: usize = 2;
/// With fewer sets than this, the heads of a set are tasks of their own.
const FEW: usize = 8;

/// One set's packed rows, `[N, 3 D]`.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    rows: &'a [f32],
    tokens: usize,
    heads: usize,
    head: usize,
    /// See [`Sets::causal_by`]; 0 where every row is seen.
    step: usize,
    /// See [`hadamard_attention`], `[N, N]`.
    factors: Option<&'a [f32]>,
    /// Whether its products are in pairs of bf16.
    in_pairs: bool,
}

impl<'a> Packed<'a> {
    /// `rows` of `3 · width` values.
    pub(crate) fn new(rows: &'a [f32], width: usize, heads: usize, step: usize) -> Self {
        Self {
            rows,
            tokens: rows.len() / (3 * width).max(1),
            heads,
            head: width / heads,
            step,
            factors: None,
            in_pairs: false,
        }
    }

    /// The same with probabilities multiplied by these, `[N, N]`.
    fn times(self, factors: Option<&'a [f32]>) -> Self {
        Self { factors, ..self }
    }

    /// The same with products in pairs of bf16, for outputs without gradients, where the machine multiplies them.
    pub(crate) fn leaner(self, lean: bool) -> Self {
        let in_pairs = lean && self.factors.is_none() && self.head.is_multiple_of(2) && takes_pairs();
        Self { in_pairs, ..self }
    }

    /// Multiplies what belongs to some queries by their factors: `[Q, N]`, rows [`stride`](Self::stride) apart.
    fn weigh(self, queries: &Range<usize>, values: &mut [f32]) {
        let Some(factors) = self.factors else { return };
        let factors = factors[queries.start * self.tokens..].chunks_exact(self.tokens);
        for (values, factors) in values.chunks_exact_mut(self.stride()).zip(factors) {
            for (value, factor) in values.iter_mut().zip(factors) {
                *value *= factor;
            }
        }
    }

    fn width(self) -> usize {
        self.heads * self.head
    }

    /// Query, key or value (`part` 0, 1, 2) of one head for some tokens.
    fn part(self, part: usize, head: usize, tokens: Range<usize>) -> Matrix<'a> {
        let stride = 3 * self.width();
        let at = tokens.start * stride + part * self.width() + head * self.head;
        Matrix::strided(&self.rows[at..], tokens.len(), self.head, stride)
    }

    fn scale(self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }

    /// Keys or values (`part` 1, 2) of one head, transposed: `[head, N]`.
    fn transposed(self, part: usize, head: usize, out: &mut [f32]) {
        let (n, stride) = (self.tokens, 3 * self.width());
        let from = &self.rows[part * self.width() + head * self.head..];
        transpose(from, stride, n, self.head, out, n);
    }

    /// Distance of rows of scores: whole vectors, so that loops over them have no rest.
    fn stride(self) -> usize {
        self.tokens.next_multiple_of(16)
    }

    /// `softmax(q kᵀ · scale)` of one head and some queries, `[Q, N]`, rows [`stride`](Self::stride) apart; `keys` is `kᵀ`.
    fn probabilities(self, head: usize, queries: Range<usize>, keys: &Held<'_>, scores: &mut [f32]) {
        let stride = self.stride();
        keys.product(scores, stride, Start::Zero, self.part(0, head, queries.clone()));
        self.shares(queries, scores);
    }

    /// `softmax(scores · scale)` over what each of some queries sees.
    fn shares(self, queries: Range<usize>, scores: &mut [f32]) {
        let (n, stride) = (self.tokens, self.stride());
        fill_ends(scores, n, stride, f32::NEG_INFINITY);
        if self.step > 0 {
            for (row, query) in scores.chunks_exact_mut(stride).zip(queries) {
                row[seen(self.step, query, n)..n].fill(f32::NEG_INFINITY);
            }
        }
        softmax_rows(scores, stride, self.scale());
    }

    /// Output rows of some tokens, `[tokens, D]`, on the calling thread.
    pub(crate) fn attend(self, tokens: Range<usize>, out: &mut [f32], s: &mut Scratch) {
        let (n, width) = (self.tokens, self.width());
        // A set of no tokens has no places to point to.
        let heads = if tokens.is_empty() { 0 } else { self.heads };
        if self.in_pairs {
            return (0..heads).for_each(|head| self.attend_in_pairs(head, &tokens, out, s));
        }
        let [held_keys, held_values, _] = &mut s.held;
        for head in 0..heads {
            let keys = room(&mut s.keys, self.head * n);
            self.transposed(1, head, keys);
            let most = share(n).min(tokens.len());
            let keys = Held::of(Matrix::new(keys, self.head, n), most, held_keys);
            let values = Held::of(self.part(2, head, 0..n), most, held_values);
            for start in tokens.clone().step_by(share(n)) {
                let queries = start..tokens.end.min(start + share(n));
                let p = room(&mut s.p, queries.len() * self.stride());
                self.probabilities(head, queries.clone(), &keys, p);
                self.weigh(&queries, p);
                let out = &mut out[(start - tokens.start) * width + head * self.head..];
                values.product(out, width, Start::Zero, Matrix::strided(p, queries.len(), n, self.stride()));
            }
        }
    }

    /// Output columns of one head for some tokens.
    fn attend_in_pairs(self, head: usize, tokens: &Range<usize>, out: &mut [f32], s: &mut Scratch) {
        let (n, width, stride) = (self.tokens, self.width(), self.stride());
        s.right[0].columns(self.part(1, head, 0..n));
        s.right[1].rows(self.part(2, head, 0..n), stride);
        for start in tokens.clone().step_by(share(n)) {
            let queries = start..tokens.end.min(start + share(n));
            let m = queries.len();
            let p = room(&mut s.p, m * stride);
            let q = s.words.of(self.part(0, head, queries.clone()));
            s.right[0].product((p, stride), q, (m, n, self.head));
            self.shares(queries, p);
            let out = &mut out[(start - tokens.start) * width + head * self.head..];
            let p = s.words.of(Matrix::new(p, m, stride));
            s.right[1].product((out, width), p, (m, self.head, stride));
        }
    }

    /// The gradient of one head: written into `dout`, whose query, key and value columns begin at `at` and whose rows
    /// lie `stride` apart. The probabilities are computed again: cheaper than writing and reading `[heads, N, N]`.
    fn backward(self, head: usize, dy: &[f32], (dout, at, stride): (&mut [f32], [usize; 3], usize), s: &mut Scratch) {
        let (n, width) = (self.tokens, self.width());
        let (keys, values) = (room(&mut s.keys, self.head * n), room(&mut s.values, self.head * n));
        self.transposed(1, head, keys);
        self.transposed(2, head, values);
        let [held_keys, held_values, held_k] = &mut s.held;
        let most = share(n).min(n);
        let keys = Held::of(Matrix::new(keys, self.head, n), most, held_keys);
        let values = Held::of(Matrix::new(values, self.head, n), most, held_values);
        let k = Held::of(self.part(1, head, 0..n), most, held_k);
        for start in (0..n).step_by(share(n)) {
            let queries = start..n.min(start + share(n));
            let m = queries.len();
            let begin = if start == 0 { Start::Zero } else { Start::Kept };
            let row = self.stride();
            let (p, dp) = (room(&mut s.p, m * row), room(&mut s.dp, m * row));
            let q = self.part(0, head, queries.clone());
            self.probabilities(head, queries.clone(), &keys, p);
            repeated(m, n, self.head);
            let dy = Matrix::strided(&dy[start * width + head * self.head..], m, self.head, width);
            values.product(dp, row, Start::Zero, dy);
            fill_ends(dp, n, row, 0.0);
            if self.factors.is_some() {
                let weighed = room(&mut s.weighed, m * row);
                weighed.copy_from_slice(p);
                self.weigh(&queries, weighed);
                self.weigh(&queries, dp);
                product_once(&mut dout[at[2]..], stride, begin, Matrix::strided(weighed, m, n, row).t(), dy);
            } else {
                product_once(&mut dout[at[2]..], stride, begin, Matrix::strided(p, m, n, row).t(), dy);
            }
            softmax_rows_backward(p, dp, row, self.scale());
            let ds = Matrix::strided(dp, m, n, row);
            k.product(&mut dout[at[0] + start * stride..], stride, Start::Zero, ds);
            product_once(&mut dout[at[1]..], stride, begin, ds.t(), q);
        }
    }

    /// The gradient of all heads, `[N, 3 D]`, on the calling thread.
    pub(crate) fn backward_all(self, dy: &[f32], dout: &mut [f32], s: &mut Scratch) {
        let width = self.width();
        for head in 0..if self.tokens == 0 { 0 } else { self.heads } {
            let at = head * self.head;
            self.backward(head, dy, (dout, [at, width + at, 2 * width + at], 3 * width), s);
        }
    }
}

/// Room of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    p: Vec<f32>,
    dp: Vec<f32>,
    weighed: Vec<f32>,
    /// Right operands of one head, for all its queries.
    held: [Vec<Line>; 3],
    /// Keys and values in pairs of bf16, and rows that meet them.
    right: [Paired; 2],
    words: Words,
}

/// Writes a value behind the first `n` of each row.
pub(crate) fn fill_ends(rows: &mut [f32], n: usize, stride: usize, value: f32) {
    if n < stride {
        rows.chunks_exact_mut(stride).for_each(|row| row[n..].fill(value));
    }
}

/// Attention within each set, rows of `width` values each.
pub(crate) fn forward_sets(qkv: &[f32], sets: &Sets, width: usize, heads: usize, lean: bool, out: &mut [f32]) {
    forward_within(qkv, sets, (None, lean), width, heads, out);
}

/// [`forward_sets`], with probabilities multiplied where there are factors.
fn forward_within(
    qkv: &[f32],
    sets: &Sets,
    (pairs, lean): (Option<&Pairs>, bool),
    width: usize,
    heads: usize,
    out: &mut [f32],
) {
    // Queries are tasks: one long set keeps every thread busy. A task lays out keys and values for itself, so that tasks
    // are as long as there are enough of them; they end where the queries do that are in memory at a time, and so change no bit.
    let pieces: usize = (0..sets.count()).map(|set| sets.range(set).len().div_ceil(QUERIES)).sum();
    let shares = (pieces / (TASKS * rayon::current_num_threads())).max(1);
    let tasks: Vec<(usize, Range<usize>)> = (0..sets.count())
        .flat_map(|set| {
            let len = sets.range(set).len();
            let long = shares * share(len);
            (0..len).step_by(long).map(move |start| (set, start..len.min(start + long)))
        })
        .collect();
    let outs = split_at_lengths(out, tasks.iter().map(|(_, tokens)| tokens.len() * width));
    outs.into_par_iter().zip(tasks).for_each_init(Scratch::default, |s, (out, (set, tokens))| {
        let rows = sets.range(set);
        let packed = Packed::new(&qkv[3 * width * rows.start..3 * width * rows.end], width, heads, sets.step());
        packed.times(pairs.map(|pairs| pairs.of(set))).leaner(lean).attend(tokens, out, s);
    });
}

/// The gradient of [`forward_sets`] with respect to `qkv`.
pub(crate) fn backward_sets(qkv: &[f32], sets: &Sets, width: usize, heads: usize, dy: &[f32], dqkv: &mut [f32]) {
    backward_within(qkv, (sets, None), width, heads, dy, dqkv);
}

fn backward_within(
    qkv: &[f32],
    (sets, pairs): (&Sets, Option<&Pairs>),
    width: usize,
    heads: usize,
    dy: &[f32],
    dqkv: &mut [f32],
) {
    let packed = |set: usize| {
        let rows = sets.range(set);
        let packed = Packed::new(&qkv[3 * width * rows.start..3 * width * rows.end], width, heads, sets.step());
        (packed.times(pairs.map(|pairs| pairs.of(set))), &dy[width * rows.start..])
    };
    if sets.count() >= FEW {
        let outs = split_at_lengths(dqkv, (0..sets.count()).map(|set| sets.range(set).len() * 3 * width));
        outs.into_par_iter().enumerate().for_each_init(Scratch::default, |s, (set, dout)| {
            let (packed, dy) = packed(set);
            packed.backward_all(dy, dout, s);
        });
        return;
    }
    let head = width / heads;
    let sets_with_rows = (0..sets.count()).filter(|set| !sets.range(*set).is_empty());
    let tasks: Vec<(usize, usize)> = sets_with_rows.clone().flat_map(|set| (0..heads).map(move |h| (set, h))).collect();
    let parts: Vec<Vec<f32>> = tasks
        .into_par_iter()
        .map(|(set, h)| {
            let (packed, dy) = packed(set);
            let mut out = buffer(packed.tokens * 3 * head);
            packed.backward(h, dy, (&mut out, [0, head, 2 * head], 3 * head), &mut Scratch::default());
            out
        })
        .collect();
    for (set, parts) in sets_with_rows.zip(parts.chunks_exact(heads)) {
        let rows = sets.range(set);
        let dout = &mut dqkv[3 * width * rows.start..3 * width * rows.end];
        dout.par_chunks_exact_mut(3 * width).enumerate().for_each(|(row, dout)| {
            for (h, part) in parts.iter().enumerate() {
                for (i, from) in part[row * 3 * head..][..3 * head].chunks_exact(head).enumerate() {
                    dout[i * width + h * head..][..head].copy_from_slice(from);
                }
            }
        });
    }
}

pub(crate) fn forward(qkv: &FlexTensor, sets: &Sets, pairs: Option<&Pairs>, heads: usize) -> FlexTensor {
    let shape = dims(qkv);
    let width = shape[1] / 3;
    let mut out = buffer(shape[0] * width);
    forward_within(slice(qkv), sets, (pairs, false), width, heads, &mut out);
    tensor(out, [shape[0], width])
}

pub(crate) fn backward(
    qkv: &FlexTensor,
    sets: &Sets,
    pairs: Option<&Pairs>,
    heads: usize,
    dy: &FlexTensor,
) -> FlexTensor {
    let shape = dims(qkv);
    let mut dqkv = buffer(shape[0] * shape[1]);
    backward_within(slice(qkv), (sets, pairs), shape[1] / 3, heads, slice(dy), &mut dqkv);
    tensor(dqkv, shape)
}
