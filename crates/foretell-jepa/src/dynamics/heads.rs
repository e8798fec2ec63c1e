//! Heads that any member may have beside its own terms: how many steps lie between two latents, and what to do at one to get to
//! another. They learn from whole windows and from the places that windows bring along, and know nothing of how latents are made.

use burn::tensor::{Tensor, TensorData};
use foretell_nn::pair::Pair;
use foretell_ops as ops;

use super::model::STEPS_UNIT;
use super::{Seen, WindowBatch};

/// Steps that are added to those that a share is of: near a place one step more or less is not much.
const NEAR: f64 = 10.0;
/// How much more an action counts for each step that it led nearer: e^β.
const BETA: f64 = 4.0;
/// Limits of β times those steps: no action counts for everything.
const ADVANTAGE: (f64, f64) = (-6.0, 4.0);
/// Places of its window that each action is held against beside the other terms, where all of them would cost too much.
pub(super) const GOALS: usize = 4;

/// Steps that the head tells from each start `[N, H]` to its goal, `[N, 1]`.
fn steps(head: &Pair, start: Tensor<2>, goal: Tensor<2>) -> Tensor<2> {
    head.between(start, goal) * STEPS_UNIT
}

/// For each of the first `frames` observations of every window, time-major, the row `b·K + (t + turn) mod K` of one of its
/// window's K places, another at each t.
fn a_place(batch: &WindowBatch, frames: usize, turn: usize) -> Vec<u32> {
    let of = |row: usize| {
        let (t, b) = (row / batch.samples, row % batch.samples);
        (b * batch.places + (t + turn) % batch.places) as u32
    };
    (0..frames * batch.samples).map(of).collect()
}

/// How far the steps that the latents `[B·K, D]` of places tell are from those that lie between, in units of
/// [`STEPS_UNIT`]: the mean over the pairs between which a way is known.
pub(super) fn told(head: &Pair, latents: Tensor<2>, batch: &WindowBatch) -> Tensor<1> {
    let (b, k, device) = (batch.samples, batch.places, latents.device());
    let width = |x: &Tensor<2>| x.dims()[1];
    let pairs = |x: Tensor<2>, axis: usize| {
        let h = width(&x);
        let shape = if axis == 1 { [b, 1, k, h] } else { [b, k, 1, h] };
        x.reshape(shape).repeat_dim(axis, k).reshape([b * k * k, h])
    };
    let told = steps(head, pairs(head.of_start(latents.clone()), 2), pairs(head.of_goal(latents), 1));
    let known: Vec<f32> = batch.place_steps.iter().map(|s| f32::from(u8::from(s.is_finite()))).collect();
    let between = batch.place_steps.iter().map(|s| if s.is_finite() { *s } else { 0.0 }).collect::<Vec<f32>>();
    let count = known.iter().sum::<f32>().max(1.0);
    let column = |values| Tensor::<2>::from_data(TensorData::new(values, [b * k * k, 1]), &device);
    let off = (told - column(between)).abs() * column(known);
    off.sum() / (f64::from(count) * STEPS_UNIT)
}

/// How far the steps to a place are that what is foretold tells from those that what comes tells, as a share of them and
/// [`NEAR`]: of the latents k steps ahead, `[(T − k)·B, D]`, to one of the window's places, `[B·K, D]`.
pub(super) fn told_ahead(
    head: &Pair,
    places: Tensor<2>,
    ahead: &[(Tensor<2>, Tensor<2>)],
    batch: &WindowBatch,
) -> Tensor<1> {
    let goals = head.of_goal(places.detach());
    let of_step = |(k, (ahead, there)): (usize, &(Tensor<2>, Tensor<2>))| {
        let goals = ops::gather(goals.clone(), &a_place(batch, ahead.dims()[0] / batch.samples, k));
        let told = |latents: &Tensor<2>| steps(head, head.of_start(latents.clone()), goals.clone());
        let there = told(there).detach();
        ((told(ahead) - there.clone()).abs() / (there.clamp_min(0.0) + NEAR)).mean()
    };
    // 1, 2, 4, … steps ahead say as much as all of them, for less.
    let chosen = ahead.iter().enumerate().filter(|(k, _)| (k + 1).is_power_of_two());
    let shares: Vec<Tensor<1>> = chosen.map(of_step).collect();
    let count = shares.len() as f64;
    shares.into_iter().reduce(|a, b| a + b).expect("a step") / count
}

/// Advantage-weighted regression (arXiv 1910.00177) in hindsight: places of a window are goals for each of its actions, and an
/// action counts for as much as the steps fell that the head tells. A wall that bars the way is smooth in what is foretold
/// and sharp in what followed: nothing foretold teaches the actor. Of latents `[T·B, D]` and of places `[B·K, D]`, the
/// first `goals` of each window; where latents have a gradient it goes through what the actor sees of where it is, alone.
pub(super) fn regressed(
    actor: &Pair,
    head: &Pair,
    latents: &Tensor<2>,
    places: &Tensor<2>,
    seen: &Seen<'_>,
    goals: usize,
) -> Tensor<1> {
    let WindowBatch { frames: t, samples: b, places: k, .. } = *seen.batch;
    let [_, d] = places.dims();
    let n = goals.min(k);
    let places = places.clone().detach().reshape([b, k, d]).narrow(1, 0, n).reshape([b * n, d]);
    // [T, B, N, ..] of what is [T·B, H] and of what is [B·N, H].
    let standing = |x: Tensor<2>, frames: usize| {
        let [_, h] = x.dims();
        x.reshape([frames, b, 1, h]).repeat_dim(2, n).reshape([frames * b * n, h])
    };
    let wanted = |x: Tensor<2>, frames: usize| {
        let [_, h] = x.dims();
        x.reshape([1, b, n, h]).repeat_dim(0, frames).reshape([frames * b * n, h])
    };
    let start = standing(head.of_start(latents.clone().detach()).detach(), t);
    let left = steps(head, start, wanted(head.of_goal(places.clone()).detach(), t)).detach();
    let before = (t - 1) * b * n;
    let nearer = left.clone().narrow(0, 0, before) - left.narrow(0, b * n, before);
    let weight = (nearer * BETA).clamp(ADVANTAGE.0, ADVANTAGE.1).exp();
    let now = actor.of_start(latents.clone().narrow(0, 0, (t - 1) * b));
    let would = actor.between(standing(now, t - 1), wanted(actor.of_goal(places), t - 1));
    let off = (would - standing(seen.told.clone(), t - 1)).square().mean_dim(1);
    (off * weight.clone()).sum() / weight.sum()
}

/// k-step goal-conditioned inverse dynamics (arXiv 2605.08732): what was done at a frame, told from its latent and from one that came k
/// actions later, for each frame of a window and each k that it holds; every pair counts the same. Of latents `[T·B, D]`.
pub(super) fn inverse(actor: &Pair, latents: &Tensor<2>, seen: &Seen<'_>) -> Tensor<1> {
    let WindowBatch { frames: t, samples: b, .. } = *seen.batch;
    let (start, goal) = (actor.of_start(latents.clone()), actor.of_goal(latents.clone()));
    let pairs = |of: &Tensor<2>, from: &dyn Fn(usize) -> usize| {
        Tensor::cat((1..t).map(|k| of.clone().narrow(0, from(k) * b, (t - k) * b)).collect(), 0)
    };
    let would = actor.between(pairs(&start, &|_| 0), pairs(&goal, &|k| k));
    ops::l2(would, pairs(&seen.told, &|_| 0))
}
