//! The dynamics composition: the next latent from this one and an action.
//!
//! Windows of episodes go in time-major, `[T, B, ..]`, so that what starts earlier is a prefix and what comes later a suffix.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{Collate, DataError, Normalise, Window};
use foretell_nn::gru::Gru;
use foretell_nn::layers::Linear;
use foretell_nn::observer::Observer;
use foretell_nn::{Encode, NamedTensors, WeightsError, weights};
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use crate::target::Average;
use crate::vicreg::{covariance, variance};
use crate::{Clock, Latents, Objective, Outcome};

/// Windows of a batch on the host.
pub struct WindowBatch {
    /// Windows, B.
    pub samples: usize,
    /// Observations of each, T.
    pub frames: usize,
    /// `[T·B, C, H, W]` row-major, normalised; the first observation of every window, then the second, …
    pub observations: Vec<f32>,
    /// `[(T − 1)·B, A]`, likewise.
    pub actions: Vec<f32>,
}

/// Makes [`WindowBatch`]es.
pub struct WindowCollator {
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Numbers in an action, A.
    pub action: usize,
    /// Mean and standard deviation of the training observations.
    pub normalise: Normalise,
}

/// `[B, T, width]` of several windows → `[T, B, width]`.
fn time_major<'a>(windows: impl Iterator<Item = &'a [f32]> + Clone, steps: usize, width: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for t in 0..steps {
        windows.clone().for_each(|values| out.extend(&values[t * width..][..width]));
    }
    out
}

impl Collate for WindowCollator {
    type Sample = Window;
    type Batch = WindowBatch;

    fn collate(&self, _: u64, samples: &[Window]) -> Result<WindowBatch, DataError> {
        let frames = samples.first().map_or(0, |w| w.frames);
        let [channels, height, width] = self.observation;
        let pixels = channels * height * width;
        for window in samples {
            let (seen, done) = (window.observations.len(), window.actions.len());
            if window.frames != frames || seen != frames * pixels || done + self.action != frames * self.action {
                return Err(DataError::Collate(format!(
                    "a window of {} observations with {seen} values and {done} of actions does not fit {frames} observations of {pixels} values with {} for each action between them",
                    window.frames, self.action
                )));
            }
        }
        let mut observations = time_major(samples.iter().map(|w| &w.observations[..]), frames, pixels);
        self.normalise.scale(&mut observations, height * width);
        let actions = time_major(samples.iter().map(|w| &w.actions[..]), frames.saturating_sub(1), self.action);
        Ok(WindowBatch { samples: samples.len(), frames, observations, actions })
    }
}

/// What a planner asks of a trained model. Latents are `[B, D]`, actions `[B, A]`.
pub trait WorldModel: Send {
    /// Observations `[B, C, H, W]`, normalised as in training → latents.
    fn encode(&self, observations: Tensor<4>) -> Tensor<2>;

    /// The latents after an action.
    fn step(&self, latents: Tensor<2>, actions: Tensor<2>) -> Tensor<2>;
}

/// Weights of EB-JEPA's terms; the defaults are the paper's (arXiv 2602.03604, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Terms {
    /// Each dimension varies.
    pub variance: f64,
    /// No two dimensions say the same.
    pub covariance: f64,
    /// Neighbours in time are near.
    pub time_similarity: f64,
    /// The action can be told from the latents around it: keeps what acts, and not what only lies about. Without it the
    /// paper's success falls to 1 %.
    pub inverse_dynamics: f64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { variance: 16.0, covariance: 8.0, time_similarity: 12.0, inverse_dynamics: 1.0 }
    }
}

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct RecurrentNetworks {
    /// Kept after training.
    pub encoder: Observer,
    /// Kept after training: its state is the latent, its input the action.
    pub predictor: Gru,
    /// Two latents → the action between; dropped after training.
    pub inverse: Vec<Linear>,
}

/// The recurrent objective: no target network and no stop-gradient; the regulariser alone keeps latents apart.
pub struct Recurrent {
    /// Trained.
    pub networks: RecurrentNetworks,
    /// Weights of the terms besides the prediction's, which is 1.
    pub terms: Terms,
    /// Steps that a prediction is rolled out, K.
    pub rollout: usize,
    /// Makes batches.
    pub collator: Arc<WindowCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl WorldModel for RecurrentNetworks {
    fn encode(&self, observations: Tensor<4>) -> Tensor<2> {
        self.encoder.forward(observations)
    }

    /// `norm(GRU(action, latent))`: the norm is the encoder's, so that predictions live where encodings do.
    fn step(&self, latents: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        self.encoder.normalise(self.predictor.forward(actions, latents))
    }
}

impl Recurrent {
    /// Latents `[T·B, D]` and actions `[(T − 1)·B, A]` of a batch.
    fn encoded(&self, batch: &WindowBatch) -> (Tensor<2>, Tensor<2>) {
        let [channels, height, width] = self.collator.observation;
        let shape = [batch.frames * batch.samples, channels, height, width];
        let seen = Tensor::<4>::from_data(TensorData::new(batch.observations.clone(), shape), &self.device);
        let shape = [(batch.frames - 1) * batch.samples, self.collator.action];
        let actions = Tensor::<2>::from_data(TensorData::new(batch.actions.clone(), shape), &self.device);
        (self.networks.encoder.forward(seen), actions)
    }

    /// For each k from 1 to K, the latents predicted k steps ahead and those encoded there, `[(T − k)·B, D]` each: every
    /// observation is a beginning, and predictions are predicted from.
    pub fn unroll(&self, batch: &WindowBatch) -> Vec<(Tensor<2>, Tensor<2>)> {
        let (latents, actions) = self.encoded(batch);
        self.unrolled(&latents, &actions, batch)
    }

    fn unrolled(&self, latents: &Tensor<2>, actions: &Tensor<2>, batch: &WindowBatch) -> Vec<(Tensor<2>, Tensor<2>)> {
        let (rows, b) = (batch.frames * batch.samples, batch.samples);
        let mut state = latents.clone();
        (1..=self.rollout.min(batch.frames - 1))
            .map(|k| {
                let beginnings = rows - k * b;
                let acted = actions.clone().narrow(0, (k - 1) * b, beginnings);
                state = self.networks.step(state.clone().narrow(0, 0, beginnings), acted);
                (state.clone(), latents.clone().narrow(0, k * b, beginnings))
            })
            .collect()
    }

    /// The actions that the latents around them tell, `[(T − 1)·B, A]`.
    fn inverse(&self, latents: &Tensor<2>, batch: &WindowBatch) -> Tensor<2> {
        let between = (batch.frames - 1) * batch.samples;
        let before = latents.clone().narrow(0, 0, between);
        let mut x = Tensor::cat(vec![before, latents.clone().narrow(0, batch.samples, between)], 1);
        for (i, layer) in self.networks.inverse.iter().enumerate() {
            x = layer.forward(if i > 0 { ops::relu(x) } else { x });
        }
        x
    }
}

impl Objective for Recurrent {
    type Sample = Window;
    type Batch = WindowBatch;
    type Trained = RecurrentNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = Window, Batch = WindowBatch>> {
        self.collator.clone()
    }

    fn trained(&self) -> &RecurrentNetworks {
        &self.networks
    }

    fn update(mut self, _: &Clock, step: impl FnOnce(RecurrentNetworks, &mut Average) -> RecurrentNetworks) -> Self {
        self.networks = step(self.networks, &mut Average::default());
        self
    }

    fn loss(&self, batch: &WindowBatch, clock: &Clock) -> Outcome {
        let (latents, actions) = self.encoded(batch);
        let steps = self.unrolled(&latents, &actions, batch);
        let farthest = clock.health_due.then(|| steps.last().cloned()).flatten();
        let count = steps.len() as f64;
        let prediction =
            steps.into_iter().map(|(ahead, there)| ops::l2(ahead, there)).reduce(|a, b| a + b).expect("a step") / count;
        let between = (batch.frames - 1) * batch.samples;
        let (now, next) = (latents.clone().narrow(0, 0, between), latents.clone().narrow(0, batch.samples, between));
        let weighted = [
            ("variance", self.terms.variance, variance(latents.clone())),
            ("covariance", self.terms.covariance, covariance(latents.clone())),
            ("time_similarity", self.terms.time_similarity, ops::l2(next, now)),
            ("inverse_dynamics", self.terms.inverse_dynamics, ops::l2(self.inverse(&latents, batch), actions)),
        ];
        let mut terms = vec![("prediction", prediction.clone().inner())];
        let mut loss = prediction;
        for (name, weight, value) in weighted {
            terms.push((name, value.clone().inner()));
            loss = loss + value * weight;
        }
        let latents = farthest.map(|(ahead, there)| Latents { predictions: ahead.inner(), targets: there.inner() });
        Outcome { loss, terms, latents, seen: Vec::new() }
    }

    fn encoder(&self) -> Box<dyn Encode> {
        Box::new(self.networks.encoder.valid())
    }

    fn encoder_with(&self, tensors: NamedTensors) -> Result<Box<dyn Encode>, WeightsError> {
        Ok(Box::new(weights::load_whole(self.networks.encoder.valid(), tensors)?))
    }

    fn encoder_state(&self) -> NamedTensors {
        weights::read(&self.networks.encoder.valid(), "")
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.networks, "")
    }

    fn with_state(mut self, mut tensors: NamedTensors) -> Result<Self, WeightsError> {
        self.networks = weights::load(self.networks, "", &mut tensors)?;
        weights::none_left(&tensors)?;
        Ok(self)
    }
}
