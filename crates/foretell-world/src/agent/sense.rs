//! Perception of what harms: a small read-out of latents, learnt once on play in which hazards are labelled, and kept from then on. It reads
//! imagined latents as it reads seen ones. The world model is not touched.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData, activation};
use foretell_data::random::{Stream, rng};
use foretell_eval::area_under_roc;
use foretell_nn::mlp::Perceptron;
use foretell_nn::{NamedTensors, weights};
use foretell_ops as ops;
use foretell_train::TrainError;
use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use super::lessons::Pace;
use super::life::Played;
use crate::evaluate::Trail;
use crate::imagination::Imagination;
use crate::policy::trained;
use crate::world::{Episode, Split, World};

/// The guardrail: `g(s) = hazard(s) − LIMIT ≤ 0`. Halfway up the slope around what harms.
pub const LIMIT: f32 = 0.5;
/// Widths of its two hidden layers.
const HIDDEN: [usize; 2] = [256, 128];
/// The round of the stream of lives that its batches are drawn from, and the held-out play that it is judged on.
const LESSONS: u64 = u64::MAX - 1;
/// Held-out episodes that it is judged on, and steps ahead.
const JUDGED: u64 = 400;
const AHEAD: [usize; 3] = [0, 4, 10];

/// See the module.
#[derive(Clone)]
pub struct Sense {
    head: Perceptron,
}

/// How well hazards are read from held-out play.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensed {
    /// Steps of the model between what was seen last and the moment that is asked about.
    pub ahead: usize,
    /// Area under the ROC curve between moments in what harms and others, read from what the model imagines.
    pub imagined: f64,
    /// The same read from what was seen last, as if nothing moved.
    pub copied: f64,
    /// The same by an untrained read-out of what the model imagines.
    pub untrained: f64,
    /// Share of moments in what harms that the guardrail would bar.
    pub barred: f64,
    /// Share of moments with no hazard at all that it would bar too.
    pub barred_wrongly: f64,
}

impl Sense {
    /// A fresh one for latents of this width, the same for the same seed.
    pub fn new(width: usize, seed: u64, device: &Device) -> Self {
        let widths = [width, HIDDEN[0], HIDDEN[1], 1];
        Self { head: Perceptron::new(&widths, &mut rng(seed, Stream::Init, 30, 0), device) }
    }

    /// The same one after it has learnt hazards from latents `[K, D]`, each with its label, by cross-entropy; half of each batch from
    /// moments with some hazard, where there are any.
    pub(super) fn learnt(
        (keys, width): (&[f32], usize),
        hazards: &[f32],
        (steps, batch, lr): Pace,
        seed: u64,
        device: &Device,
    ) -> Self {
        let fresh = Self::new(width, seed, &device.clone().autodiff());
        let all: Vec<usize> = (0..hazards.len()).collect();
        let hot: Vec<usize> = all.iter().copied().filter(|i| hazards[*i] > 0.0).collect();
        if all.is_empty() {
            return Self { head: fresh.head.valid() };
        }
        let head = trained(fresh.head, (steps, lr), |head: &Perceptron, step| {
            let mut random = rng(seed, Stream::Life, LESSONS, step);
            let chosen: Vec<usize> = (0..batch)
                .map(|i| {
                    let from = if i % 2 == 0 && !hot.is_empty() { &hot } else { &all };
                    from[random.random_range(0..from.len())]
                })
                .collect();
            let latents: Vec<f32> = chosen.iter().flat_map(|i| keys[i * width..][..width].iter().copied()).collect();
            let latents = Tensor::from_data(TensorData::new(latents, [batch, width]), device);
            let labels: Vec<f32> = chosen.iter().map(|i| hazards[*i]).collect();
            let labels = Tensor::<2>::from_data(TensorData::new(labels, [batch, 1]), device);
            let logits = head.forward(latents);
            // log(1 + e^x) − x·y, without overflow.
            let soft = ops::relu(logits.clone()) + (logits.clone().abs().neg().exp() + 1.0).log();
            (soft - logits * labels).mean()
        });
        Self { head: head.valid() }
    }

    /// Hazards of latents `[S, D]`, `[S, 1]`, 0 to 1.
    pub fn hazard(&self, latents: Tensor<2>) -> Tensor<2> {
        activation::sigmoid(self.head.forward(latents))
    }

    /// Its tensors.
    pub fn state(&self) -> NamedTensors {
        weights::read(&self.head, "")
    }

    /// With these tensors.
    pub fn with(self, state: NamedTensors) -> Result<Self, TrainError> {
        Ok(Self { head: weights::load_whole(self.head, state)? })
    }

    /// How well it reads held-out play of so many steps an episode, at once and steps ahead of what was seen. Empty where none of it harmed.
    pub fn judge(&self, world: &dyn World, imagination: &Imagination, seed: u64, steps: u64) -> Vec<Sensed> {
        let most = AHEAD[AHEAD.len() - 1];
        let played = Played::of(world, Split::HeldOut, (seed, LESSONS), (JUDGED, steps));
        let fresh = Self::new(imagination.width(), seed, &imagination.device);
        let hazard = |sense: &Self, latents: Tensor<2>| ops::values(sense.hazard(latents))[0];
        // Of one moment of each episode, with as much before it as after: at each number of steps ahead the hazard that was there, and what
        // was read of it in three ways.
        let read = |(task, trail): (&Episode, &Trail)| -> Vec<(f32, [f32; 3])> {
            let blocks = trail.actions.len() / imagination.block;
            if blocks < most {
                return Vec::new();
            }
            let from = (blocks - most) / 2 * imagination.block;
            let mut state = imagination.state(world, &task.layout, &trail.until(from));
            let now = hazard(self, state.vectors());
            let mut read = Vec::new();
            for k in 0..=most {
                let at = from + k * imagination.block;
                if AHEAD.contains(&k) {
                    let said = [hazard(self, state.vectors()), now, hazard(&fresh, state.vectors())];
                    read.push((world.hazard(&task.layout, &trail.states[at]), said));
                }
                if k < most {
                    let mut taken = trail.actions[at..at + imagination.block].concat();
                    imagination.actions.scale(&mut taken, 1);
                    let shape = [1, taken.len()];
                    let taken = Tensor::from_data(TensorData::new(taken, shape), &imagination.device);
                    state = imagination.model.step(state, taken);
                }
            }
            read
        };
        let episodes: Vec<Vec<(f32, [f32; 3])>> = played.tasks.par_iter().zip(&played.trails).map(read).collect();
        let told = |(place, ahead): (usize, &usize)| {
            let read: Vec<(f32, [f32; 3])> = episodes.iter().filter_map(|read| read.get(place)).copied().collect();
            let area = |way: usize| {
                area_under_roc(&mut read.iter().map(|(there, said)| (said[way], *there >= 1.0)).collect::<Vec<_>>())
            };
            let barred = |of: &dyn Fn(f32) -> bool| {
                let said: Vec<f32> = read.iter().filter(|(there, _)| of(*there)).map(|(_, said)| said[0]).collect();
                said.iter().filter(|said| **said > LIMIT).count() as f64 / said.len().max(1) as f64
            };
            Some(Sensed {
                ahead: *ahead,
                imagined: area(0)?,
                copied: area(1)?,
                untrained: area(2)?,
                barred: barred(&|there| there >= 1.0),
                barred_wrongly: barred(&|there| there == 0.0),
            })
        };
        AHEAD.iter().enumerate().filter_map(told).collect()
    }
}
