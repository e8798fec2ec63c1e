//! The way back through a block.

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{Maps, Saved, Scratch, Shape, WEIGHTS, Weights, apply, shares};
use crate::activation::gelu_and_slope;
use crate::attention::{Packed, backward_sets};
use crate::count::repeated;
use crate::flex::{buffer, slice, tensor};
use crate::kernel::Start;
use crate::matrix::{Matrix, Store, Threads, product, room};
use crate::norm::{normalise_rows, normalise_rows_backward};
use crate::pieces::Plan;
use crate::reduce::add_in_order;
use crate::sets::split_at_lengths;
use crate::simd::dispatch;

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
    let met = |i: usize| {
        let inverses = if shape.qk_eps.is_some() { plan.piece(i, &kept.inverses, 2 * shape.heads) } else { &[] };
        (plan.piece(i, &kept.qkv, 3 * d), inverses)
    };
    if let Some(groups) = &plan.groups {
        let lanes = sums.par_iter_mut().zip(pieces.par_chunks_mut(in_lane));
        lanes.enumerate().for_each(|(lane, (sums, pieces))| {
            let (mut s, mut own, mut normed) = (Scratch::default(), Vec::new(), Vec::new());
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
                shape.turn_back(span, dqkv, met(i), d, &mut normed);
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
        let dqkvs = plan.cut(&mut dqkv, 3 * d).into_par_iter().enumerate();
        dqkvs.for_each_init(Vec::new, |normed, (i, dqkv)| {
            shape.turn_back(plan.spans[i].clone(), dqkv, met(i), d, normed);
        });
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

impl Weights<'_> {
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

/// `dw += dyᵀ a` and `db += Σ dy`.
fn add_gradients(dw: &mut [f32], db: &mut [f32], dy: &[f32], a: &[f32]) {
    let (outputs, inputs) = (db.len(), dw.len() / db.len().max(1));
    add_product(dw, inputs, dy, outputs, a, inputs);
    add_sums(db, dy);
}

/// `dw += dyᵀ a`, rows of `dw` `stride` apart.
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
