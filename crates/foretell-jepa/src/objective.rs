//! What the training loop needs to know of a system, and nothing more.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use foretell_data::Collate;
use foretell_nn::layers::BatchStatistics;
use foretell_nn::{Encode, NamedTensors, WeightsError};

use crate::target::Average;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// The step being taken, from 1.
    pub step: u64,
    /// The optimiser steps that will really be taken.
    pub total: u64,
    /// Samples in a batch.
    pub batch: usize,
    /// Whether the latents of this step are wanted.
    pub health_due: bool,
}

/// What was predicted and what it was held against, untracked, for the judgement of collapse.
pub struct Latents {
    /// `[R, D]`.
    pub predictions: Tensor<2>,
    /// `[R, D]`.
    pub targets: Tensor<2>,
}

/// One step's loss.
pub struct Outcome {
    /// Scalar `[1]`, tracked.
    pub loss: Tensor<1>,
    /// Its named terms, scalars `[1]`, untracked.
    pub terms: Vec<(&'static str, Tensor<1>)>,
    /// Present if [`Clock::health_due`].
    pub latents: Option<Latents>,
    /// Batch statistics on their way into running averages, for [`Objective::advance`].
    pub seen: Vec<BatchStatistics>,
}

/// One self-supervised objective: everything the loop needs to know of a system.
pub trait Objective: Sized + Send {
    /// What its collator is given.
    type Sample: Send + 'static;
    /// Host data only (views, tokens, masks), made by the collator in the loader's threads.
    type Batch: Send + 'static;
    /// What the optimiser may touch. The target network is never inside it.
    type Trained: Module;

    /// Makes batches.
    fn collator(&self) -> Arc<dyn Collate<Sample = Self::Sample, Batch = Self::Batch>>;

    /// What the optimiser may touch.
    fn trained(&self) -> &Self::Trained;

    /// The objective with its trained networks replaced by `step` of them, which also moves the average that follows them:
    /// the target network, taken apart, or nothing.
    fn update(self, clock: &Clock, step: impl FnOnce(Self::Trained, &mut Average) -> Self::Trained) -> Self;

    /// The loss of a batch.
    fn loss(&self, batch: &Self::Batch, clock: &Clock) -> Outcome;

    /// After the optimiser's step: takes in `seen`, or does nothing.
    fn advance(self, _seen: &[BatchStatistics]) -> Self {
        self
    }

    /// The network that is kept, in evaluation mode: `probe`, `embed` and `encoder.safetensors` use nothing else.
    fn encoder(&self) -> Box<dyn Encode>;

    /// The kept encoder with other weights, loaded strictly by their official names.
    fn encoder_with(&self, tensors: NamedTensors) -> Result<Box<dyn Encode>, WeightsError>;

    /// The kept encoder's tensors by their official names.
    fn encoder_state(&self) -> NamedTensors;

    /// Every tensor of the run by its official name, target and buffers included: what a checkpoint holds.
    fn state(&self) -> NamedTensors;

    /// The objective with every tensor replaced; missing, unused and mis-shaped ones are an error.
    fn with_state(self, tensors: NamedTensors) -> Result<Self, WeightsError>;

    /// Relative distance of the target network from the trained one, `‖θ̄ − θ‖ / ‖θ‖`, where there is a target network.
    fn teacher_distance(&self) -> Option<f64> {
        None
    }
}
