//! A policy that was cloned from demonstrations, and what goes into it and out of it: normalised as in training, whatever the world.

use std::collections::VecDeque;

use burn::tensor::{Device, Tensor};
use foretell_data::Normalise;
use foretell_jepa::dynamics::{ChunkPolicy, TrainedPolicy};
use foretell_ops as ops;
use rayon::prelude::*;

use crate::evaluate::{Agent, Now, Turn};
use crate::imagination::{fits, prepared, seen};
use crate::planner::PlannerError;
use crate::world::{Episode, World, WorldError};

/// See the module.
pub struct Imitation {
    /// In evaluation mode, without gradients.
    pub policy: Box<dyn ChunkPolicy + Send + Sync>,
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Of each channel of an observation.
    pub normalise: Normalise,
    /// Of each number of an action block.
    pub actions: Normalise,
    /// Actions in a block: what one step of a chunk is.
    pub block: usize,
    /// Where the policy lies, without autodiff.
    pub device: Device,
}

impl Imitation {
    /// What a run has learnt, with blocks of so many actions.
    pub fn of(trained: TrainedPolicy, block: usize) -> Self {
        let TrainedPolicy { policy, observation, normalise, actions, device } = trained;
        Self { policy, observation, normalise, actions, block: block.max(1), device }
    }

    /// Actions of a chunk.
    pub fn chunk(&self) -> usize {
        self.policy.chunk() * self.block
    }

    /// An error if the policy was trained for another world.
    pub fn check(&self, world: &dyn World) -> Result<(), WorldError> {
        fits(world, (self.observation, self.actions.mean.len() / self.block), true)
    }

    /// The latents of observations `[R, C, H, W]`, row-major, as a world shows them: `[R, N, D]`.
    pub fn encode(&self, observations: Vec<f32>) -> Tensor<3> {
        self.policy.encode(prepared(observations, self.observation, &self.normalise, &self.device))
    }

    /// The chunks of actions that the policy says at latents `[R, N, D]`, towards goals `[R, N, D]` where it is told them, in the world's
    /// units: `[R, chunk, A]`, row-major.
    pub fn act(&self, now: Tensor<3>, goal: Option<Tensor<3>>) -> Vec<f32> {
        let mut actions = ops::values(self.policy.act(now, goal));
        self.actions.unscale(&mut actions, 1);
        actions
    }

    /// The chunk of one episode, looked at by itself, so that it is the same bits alone and in company.
    fn decide(&self, world: &dyn World, task: &Episode) -> Vec<f32> {
        let look = |state: &[f32]| self.encode(seen(world, &task.layout, state));
        let goal = self.policy.takes_goal().then(|| look(&task.goal));
        let mut actions = self.act(look(&task.state), goal);
        actions.chunks_exact_mut(world.spec().action).for_each(|action| world.spec().within_reach(action));
        actions
    }

    /// An agent that acts so.
    pub fn agent(&self, execution: Execution) -> Imitating<'_> {
        Imitating { imitation: self, execution, said: Vec::new() }
    }
}

/// How chunks are acted out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// So many steps of each, without looking.
    Chunk(u64),
    /// One step, after which there is a new one: what is done is the mean of what all chunks so far say of this step, older ones counting
    /// more (temporal ensembling of ACT, arXiv 2304.13705).
    Ensemble,
}

impl Execution {
    /// Steps until the policy looks again.
    pub fn steps(self) -> u64 {
        match self {
            Self::Chunk(steps) => steps.max(1),
            Self::Ensemble => 1,
        }
    }
}

/// How much less each newer chunk counts in an ensemble: e^−m, as published.
const NEWER: f32 = 0.01;

/// An agent that does what a policy says.
pub struct Imitating<'a> {
    imitation: &'a Imitation,
    execution: Execution,
    /// Of each episode, the chunks that reach beyond this step, the oldest first, each from the step on at which it was said.
    said: Vec<VecDeque<Vec<f32>>>,
}

impl Agent for Imitating<'_> {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let (world, width) = (now.world, now.world.spec().action);
        let chunks: Vec<Vec<f32>> = now.tasks.par_iter().map(|task| self.imitation.decide(world, task)).collect();
        let calls = chunks.len() as u64;
        let taken = self.execution.steps();
        let Execution::Ensemble = self.execution else { return Ok(Turn { actions: chunks, taken, calls }) };
        if now.step == 0 {
            self.said.clear();
        }
        self.said.resize_with(chunks.len(), VecDeque::new);
        let together = |(said, chunk): (&mut VecDeque<Vec<f32>>, Vec<f32>)| {
            // One step on: what was said of the step before is gone.
            said.retain_mut(|chunk| {
                chunk.drain(..width);
                !chunk.is_empty()
            });
            said.push_back(chunk);
            let weights: Vec<f32> = (0..said.len()).map(|i| (-NEWER * i as f32).exp()).collect();
            let all: f32 = weights.iter().sum();
            let mean = |k: usize| said.iter().zip(&weights).map(|(chunk, weight)| weight * chunk[k]).sum::<f32>() / all;
            (0..width).map(mean).collect()
        };
        Ok(Turn { actions: self.said.iter_mut().zip(chunks).map(together).collect(), taken, calls })
    }
}
