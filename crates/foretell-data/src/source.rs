//! Where a run's samples come from: the images of a data set, windows of recorded episodes, generated play.

use std::sync::Arc;

use crate::DataError;

/// The samples of each step of training.
pub trait Source: Send + Sync {
    /// What a collator takes.
    type Sample: Send;

    /// The samples of a step, counted from 1: a function of the source's own settings and of the step, whichever thread
    /// asks and whatever was asked before.
    fn batch(&self, step: u64) -> Result<Vec<Self::Sample>, DataError>;

    /// How many different samples turned out bad so far.
    fn skipped(&self) -> usize {
        0
    }

    /// Their names, in index order.
    fn skipped_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a run learns from and is judged on.
pub trait Material: Sync {
    /// What a collator takes.
    type Sample: Send + 'static;

    /// Samples for training.
    fn training(&self, demand: &Demand) -> Result<Arc<dyn Source<Sample = Self::Sample>>, DataError>;

    /// What health is judged on: never trained on where something is held out.
    fn held_out(&self, demand: &HeldOutDemand) -> Result<HeldOut<Self::Sample>, DataError>;
}

/// How samples for training are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Samples in a step.
    pub batch: usize,
    /// Of the run.
    pub seed: u64,
    /// Height and width of what the encoder takes.
    pub image: (usize, usize),
    /// Decoded samples may be kept up to so many bytes.
    pub cache_bytes: usize,
}

/// How held-out observations are wanted.
#[derive(Clone, Copy, Debug)]
pub struct HeldOutDemand {
    /// Height and width of what the encoder takes.
    pub image: (usize, usize),
    /// Observations for the encoder, at most.
    pub observations: usize,
    /// Samples for a batch of the objective, at most.
    pub samples: usize,
}

/// Held-out observations and samples.
pub struct HeldOut<S> {
    /// `[count, C, H, W]` row-major, normalised as in training.
    pub observations: Vec<f32>,
    /// How many.
    pub count: usize,
    /// For a batch of the objective.
    pub samples: Vec<S>,
    /// Names of held-out samples that could not be read.
    pub skipped: Vec<String>,
}
