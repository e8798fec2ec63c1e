//! What a pair of latents is to be said to mean, and a network that learns to say it: the critic and the policies alike.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use rand::RngExt;

use crate::policy::trained;

/// Optimiser steps, moments in a batch, peak learning rate.
pub(super) type Pace = (u64, usize, f64);

/// Pairs of states and goals, and what is to be said of each.
pub(super) struct Lessons {
    /// Latents `[K, D]`, row-major.
    keys: Vec<f32>,
    /// Width of a latent, D.
    width: usize,
    /// The rows of a state and of its goal.
    pairs: Vec<(u32, u32)>,
    /// `[pairs, T]`.
    said: Vec<f32>,
}

impl Lessons {
    /// None yet, of latents of this width.
    pub(super) fn new(width: usize) -> Self {
        Self { keys: Vec::new(), width, pairs: Vec::new(), said: Vec::new() }
    }

    /// Adds latents `[.., D]` and tells the row of the first.
    pub(super) fn add(&mut self, keys: &[f32]) -> u32 {
        let first = self.keys.len() / self.width.max(1);
        self.keys.extend_from_slice(keys);
        first as u32
    }

    /// Of a state and a goal, both added before, these numbers are to be said: as many of every pair.
    pub(super) fn say(&mut self, from: u32, to: u32, said: &[f32]) {
        self.pairs.push((from, to));
        self.said.extend_from_slice(said);
    }

    /// A network, fresh on an autodiff device, after it has regressed them (`l2`), without gradients. What each step draws comes from this
    /// round of the stream of lives.
    pub(super) fn learnt(
        &self,
        fresh: Pair,
        (steps, batch, lr): Pace,
        (seed, round): (u64, u64),
        device: &Device,
    ) -> Pair {
        if self.pairs.is_empty() {
            return fresh.valid();
        }
        let says = self.said.len() / self.pairs.len();
        let learnt = trained(fresh, (steps, lr), |pair: &Pair, step| {
            let mut random = rng(seed, Stream::Life, round, step);
            let chosen: Vec<usize> = (0..batch).map(|_| random.random_range(0..self.pairs.len())).collect();
            let rows = |values: &[f32], width: usize, row: &dyn Fn(usize) -> usize| {
                let values = chosen.iter().flat_map(|i| &values[row(*i) * width..][..width]).copied().collect();
                Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [batch, width]), device)
            };
            let from = rows(&self.keys, self.width, &|i| self.pairs[i].0 as usize);
            let to = rows(&self.keys, self.width, &|i| self.pairs[i].1 as usize);
            ops::l2(pair.forward(from, to), rows(&self.said, says, &|i| i))
        });
        learnt.valid()
    }
}
