//! C-JEPA's networks (Causal-JEPA, arXiv 2602.11389): observations to slots, one for each object, and a predictor that must infer
//! whole objects that were hidden from it from what the others did.
//!
//! A hidden object is gone from every observation of the history but the first. The error is that of its slots there, and that of all
//! slots to come. Slots do not learn from it: they are given, or [learn](SlotEncoder::learn) from an error of their own.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use foretell_data::random::{Stream, rng, shuffled};
use foretell_nn::slot_predictor::SlotPredictor;
use foretell_nn::slots::SlotEncoder;
use foretell_ops as ops;

use super::model::one_token;
use super::{Dynamics, Networks, Seen, State, WorldModel, stretches};
use crate::matching::{assigned, differences};
use crate::{Clock, Latents, Outcome};

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct SlotNetworks<E: Module> {
    /// Kept after training.
    pub encoder: E,
    /// Kept after training.
    pub predictor: SlotPredictor,
}

/// What is set beside the networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hiding {
    /// Of the run.
    pub seed: u64,
    /// Objects that are hidden in each window, |M|: others in each window and step.
    pub objects: usize,
    /// Share of the run's steps in which slots learn what the objects are, where they learn; in the others they stay as they are, and the
    /// predictor learns.
    pub finding: f64,
}

impl Hiding {
    /// Whether slots learn in this step.
    pub fn finds(&self, clock: &Clock) -> bool {
        clock.step as f64 <= self.finding * clock.total as f64
    }

    /// Which of `slots` objects are hidden in each of `samples` windows, `[B, K]`, |M| of each: a function of seed and step.
    pub fn draw(&self, step: u64, samples: usize, slots: usize) -> Vec<bool> {
        let one = |sample: usize| {
            let order = shuffled(slots, &mut rng(self.seed, Stream::Mask, step, sample as u64));
            let mut hidden = vec![false; slots];
            order.into_iter().take(self.objects).for_each(|slot| hidden[slot as usize] = true);
            hidden
        };
        (0..samples).flat_map(one).collect()
    }
}

/// The mean squared errors of what was predicted, and the slots to come.
pub struct SlotErrors {
    /// Of the hidden objects, over the moments at which they were hidden, `[1]`; `None` where there are none such.
    pub hidden: Option<Tensor<1>>,
    /// Of all objects, over the moments to come, `[1]`.
    pub future: Tensor<1>,
    /// What was predicted of those moments, `[B, p, K, D]`.
    pub ahead: Tensor<4>,
}

/// Slots that stand still while the predictor learns; see [`Hiding`].
pub type Slots<E> = Dynamics<SlotNetworks<E>>;

/// Slots `[B, K, D]` of several moments, each brought into the order of the next one's, and so all into the newest's: partners are those
/// that together lie nearest.
fn in_order(slots: &[Tensor<3>]) -> Vec<Tensor<3>> {
    let Some((newest, before)) = slots.split_last() else { return Vec::new() };
    let mut ordered = vec![newest.clone()];
    for earlier in before.iter().rev() {
        ordered.push(beside(earlier.clone(), &ordered[ordered.len() - 1]));
    }
    ordered.reverse();
    ordered
}

/// Slots `[1 or B, K, D]` in the order of their partners in others, `[B, K, D]`.
fn beside(slots: Tensor<3>, others: &Tensor<3>) -> Tensor<3> {
    let ([rows, k, d], [b, _, _]) = (slots.dims(), others.dims());
    let (here, there) = (ops::values(slots.clone()), ops::values(others.clone()));
    let one = k * d;
    let partners: Vec<u32> = (0..b)
        .flat_map(|row| {
            let own = if rows == 1 { 0 } else { row };
            let costs = differences(&there[row * one..][..one], &here[own * one..][..one], d);
            assigned(&costs, k).into_iter().map(move |slot| (own * k + slot) as u32)
        })
        .collect();
    ops::gather(slots.reshape([rows * k, d]), &partners).reshape([b, k, d])
}

impl<E: SlotEncoder + 'static> SlotNetworks<E> {
    /// In one order from moment to moment, where the encoder does not see to that: `[B, k, K, D]` of k tensors `[B, K, D]`.
    fn together(slots: &[Tensor<3>]) -> Tensor<4> {
        let [b, k, d] = slots[0].dims();
        let one = |slots: Tensor<3>| slots.reshape([b, 1, k, d]);
        let ordered = if E::GIVEN { slots.to_vec() } else { in_order(slots) };
        Tensor::cat(ordered.into_iter().map(one).collect(), 1)
    }

    /// The errors over windows, `slots` `[B, h + p, K, D]` and `actions` `[B, h + p − 1, A]`, with objects `[B, K]` hidden.
    pub fn errors(&self, slots: &Tensor<4>, actions: Tensor<3>, hidden: &[bool]) -> SlotErrors {
        let [b, all, k, d] = slots.dims();
        let history = self.predictor.history().min(all - 1);
        let predicted = self.predictor.forward(slots.clone().narrow(1, 0, history), actions, Some(hidden));
        let ahead = predicted.clone().narrow(1, history, all - history);
        let future = ops::l2(ahead.clone(), slots.clone().narrow(1, history, all - history));
        let gone = hidden.iter().filter(|hidden| **hidden).count() * (history - 1);
        let hidden = (gone > 0).then(|| {
            let weight: Vec<f32> = hidden.iter().map(|hidden| f32::from(u8::from(*hidden))).collect();
            let weight = Tensor::<4>::from_data(TensorData::new(weight, [b, 1, k, 1]), &slots.device().inner());
            let between = |slots: Tensor<4>| slots.narrow(1, 1, history - 1);
            let off = between(predicted.clone()) - between(slots.clone());
            (off.square() * weight).sum() / (gone * d) as f64
        });
        SlotErrors { hidden, future, ahead }
    }
}

impl<E: SlotEncoder + 'static> WorldModel for SlotNetworks<E> {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        self.encoder.tokens(observations).tokens
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        let acted = state.actions().iter().chain([&actions]).map(|taken| one_token(taken.clone())).collect();
        let next = self.predictor.next(Self::together(state.latents()), Tensor::cat(acted, 1));
        state.then(actions, next, self.history())
    }

    fn history(&self) -> usize {
        self.predictor.history()
    }

    /// The mean squared difference of slots and their partners: each slot has another one's as partner, so that the sum is least
    /// (the paper's cost of a goal, by the Hungarian method).
    fn energy(&self, latents: Tensor<3>, there: Tensor<3>) -> Tensor<2> {
        let [b, k, d] = latents.dims();
        let partners = beside(there, &latents);
        (latents - partners).square().reshape([b, k * d]).mean_dim(1)
    }

    fn energy_name(&self) -> &'static str {
        "Mean squared error of slots, each held against its partner in the best assignment,"
    }

    fn latents_are_given(&self) -> bool {
        E::GIVEN
    }

    fn inferred(&self, slots: &[Tensor<3>], actions: &[Tensor<2>], hidden: &[bool]) -> Option<Tensor<4>> {
        let acted = Tensor::cat(actions.iter().map(|taken| one_token(taken.clone())).collect(), 1);
        // One moment more is foretold than was seen: it is left out.
        let told = self.predictor.forward(Self::together(slots), acted, Some(hidden));
        Some(told.narrow(1, 0, slots.len()))
    }
}

impl<E: SlotEncoder + 'static> Networks for SlotNetworks<E> {
    type Setting = Hiding;
    type Encoder = E;

    fn encoder(&self) -> &E {
        &self.encoder
    }

    /// `MSE(hidden objects over the history) + MSE(all objects to come)` of every stretch of h + p observations, on slots that stay as they
    /// are; before that, where slots learn, their own error alone, of one observation of each window.
    fn loss(&self, setting: &Hiding, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let (t, b) = (seen.batch.frames, seen.batch.samples);
        let found = if setting.finds(clock) {
            let moment = (clock.step % t as u64) as usize;
            self.encoder.learn(seen.observations.clone().narrow(0, moment * b, b))
        } else {
            None
        };
        if let (Some(loss), false) = (&found, clock.health_due) {
            let terms = vec![("reconstruction", loss.clone().inner())];
            return Outcome { loss: loss.clone(), terms, latents: None, seen: Vec::new() };
        }
        let slots = self.encoder.valid().tokens(seen.observations.clone()).tokens;
        let [_, k, d] = slots.dims();
        let moments: Vec<Tensor<3>> = (0..t).map(|moment| slots.clone().narrow(0, moment * b, b)).collect();
        let slots = Self::together(&moments).swap_dims(0, 1).reshape([t * b, k * d]);
        let length = t.min(self.predictor.history() + self.predictor.ahead());
        let count = t + 1 - length;
        let windows = stretches(&slots, [t, b], 0, count, length).reshape([count * b, length, k, d]);
        let actions = stretches(&seen.actions, [t - 1, b], 0, count, length - 1);
        let hidden = setting.draw(clock.step, count * b, k);
        let errors = self.errors(&windows, actions, &hidden);
        let latents = clock.health_due.then(|| {
            let [rows, ahead, _, _] = errors.ahead.dims();
            let flat = |slots: Tensor<4>| slots.reshape([rows * ahead * k, d]);
            Latents {
                predictions: flat(errors.ahead.clone().inner()),
                targets: flat(windows.narrow(1, length - ahead, ahead)),
            }
        });
        let mut terms = vec![("future", errors.future.clone().inner())];
        let mut loss = errors.future;
        if let Some(hidden) = errors.hidden {
            terms.push(("hidden", hidden.clone().inner()));
            loss = loss + hidden;
        }
        if let Some(found) = found {
            terms.push(("reconstruction", found.clone().inner()));
            loss = found;
        }
        Outcome { loss, terms, latents, seen: Vec::new() }
    }
}
