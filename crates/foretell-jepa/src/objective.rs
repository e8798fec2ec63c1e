//! What the training loop needs to know of a system, and nothing more.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use foretell_data::Collate;
use foretell_nn::Encode;
use foretell_nn::layers::BatchStatistics;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clock {
    /// The step being taken, from 1; steps beyond `total` are an objective's [second stage](Objective::second).
    pub step: u64,
    /// The optimiser steps that will really be taken, without those of a second stage.
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

/// The term by which an objective over clips tells, when latents are wanted, how much of what a network is given changes over time:
/// the variance over time at each place as a share of all variance. Of a static camera it is 0.
pub const MOTION: &str = "motion";

/// One step's loss.
pub struct Outcome {
    /// Scalar `[1]`, tracked.
    pub loss: Tensor<1>,
    /// Its named terms, scalars `[1]`, untracked.
    pub terms: Vec<(&'static str, Tensor<1>)>,
    /// Present if [`Clock::health_due`].
    pub latents: Option<Latents>,
    /// Batch statistics on their way into running averages.
    pub seen: Vec<BatchStatistics>,
}

/// What becomes of a parameter in a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Role<'a> {
    /// The optimiser moves it.
    Learns {
        /// Its learning rate as a share of the run's.
        lr: f64,
        /// Whether weight decay acts on it; `None`: on matrices that are no biases.
        decays: Option<bool>,
    },
    /// It is a moving average of another: θ̄ ← θ̄ + weight (θ − θ̄), after the optimiser's step.
    Follows {
        /// The other's name.
        of: Cow<'a, str>,
        /// 1 − τ of this step.
        weight: f64,
    },
    /// It is left as it is: frozen here.
    Stays,
    /// It is left as it is and comes from a file that the config names: checkpoints do not hold it.
    Given,
}

impl Role<'_> {
    /// As most do.
    pub const LEARNS: Role<'static> = Role::Learns { lr: 1.0, decays: None };
}

/// What is kept of a run: evaluation mode, without gradients.
pub struct Kept<S> {
    /// What `probe`, `embed` and `encoder.safetensors` use.
    pub encoder: Box<dyn Encode<S>>,
    /// What the system's own judgement uses besides: a model of a world, a predictor.
    pub model: Option<Box<dyn Any + Send>>,
}

/// A kept [model](Kept::model) that predicts: its tokens are what it predicts of every place of a sample of which it sees all, and what
/// goes on learning is the predictor.
pub struct KeptPredictor<S>(pub Box<dyn Encode<S>>);

/// A kept [model](Kept::model) that makes targets of its own: its tokens are what each place of a sample is to be predicted as, before
/// they are brought to a scale.
pub struct KeptTargets<S>(pub Box<dyn Encode<S>>);

/// Steps that follow when the others have been taken, at a rate of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// What learns, in a word: the name of its loss in the metrics.
    pub name: &'static str,
    /// How many.
    pub steps: u64,
    /// Peak learning rate; the schedule is the first stage's.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Largest global norm of the gradient.
    pub clip: f64,
}

/// One self-supervised objective: everything the loop needs to know of a system.
///
/// ```
/// use std::sync::Arc;
/// use burn::module::Module;
/// use burn::tensor::{Device, Tensor};
/// use foretell_data::{Collate, DataError, Normalise, Sample};
/// use foretell_jepa::{Clock, Kept, Objective, Outcome};
/// use foretell_nn::Frames;
/// use foretell_nn::vit::Vit;
/// use foretell_ops as ops;
///
/// /// Draws the tokens of each image to their own mean: it collapses, and health says so.
/// struct Shrink(Device);
///
/// struct Pixels;
/// impl Collate for Pixels {
///     type Sample = Sample;
///     type Batch = Vec<Sample>;
///     fn collate(&self, _: u64, samples: &[Sample]) -> Result<Vec<Sample>, DataError> {
///         Ok(samples.to_vec())
///     }
/// }
///
/// #[derive(Module, Debug)]
/// struct Networks {
///     encoder: Vit,
/// }
///
/// impl Objective for Shrink {
///     type Sample = Sample;
///     type Batch = Vec<Sample>;
///     type Networks = Networks;
///
///     fn collator(&self) -> Arc<dyn Collate<Sample = Sample, Batch = Vec<Sample>>> {
///         Arc::new(Pixels)
///     }
///     fn loss(&self, networks: &Networks, batch: &Vec<Sample>, _: &Clock) -> Outcome {
///         let config = networks.encoder.config();
///         let patches = Tensor::zeros([batch.len(), config.grid().0 * config.grid().1, 48], &self.0);
///         let tokens = networks.encoder.encode_all(patches);
///         let mean = tokens.clone().mean_dim(1).detach().repeat_dim(1, tokens.dims()[1]);
///         Outcome { loss: ops::l2(tokens, mean), terms: Vec::new(), latents: None, seen: Vec::new() }
///     }
///     fn kept(&self, networks: &Networks) -> Kept<Sample> {
///         let encoder = Frames::new(networks.encoder.valid(), Normalise::nothing(3), &self.0);
///         Kept { encoder: Box::new(encoder), model: None }
///     }
/// }
/// ```
pub trait Objective: Send + 'static {
    /// What its collator is given.
    type Sample: Send + Sync + 'static;
    /// Host data only (views, tokens, masks), made by the collator in the loader's threads.
    type Batch: Send + 'static;
    /// All networks of the run by the checkpoint's names: what learns, what follows and what stays.
    type Networks: Module + ModuleDisplay + 'static;

    /// Makes batches.
    fn collator(&self) -> Arc<dyn Collate<Sample = Self::Sample, Batch = Self::Batch>>;

    /// The loss of a batch.
    fn loss(&self, networks: &Self::Networks, batch: &Self::Batch, clock: &Clock) -> Outcome;

    /// What becomes of a parameter in this step, by its name. One without a gradient is left alone in any case.
    fn role<'a>(&self, _name: &'a str, _clock: &Clock) -> Role<'a> {
        Role::LEARNS
    }

    /// What is kept of the networks.
    fn kept(&self, networks: &Self::Networks) -> Kept<Self::Sample>;

    /// What learns when the rest has learnt, if anything does.
    fn second(&self) -> Option<Second> {
        None
    }
}
