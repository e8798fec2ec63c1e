//! The dynamics composition: the next latent from what was and an action.
//!
//! Windows of episodes go in time-major, `[T, B, ..]`, so that what starts earlier is a prefix and what comes later a suffix.
//! A member brings its [networks](Networks) and what they learn from a window: [`recurrent`] (EB-JEPA), [`causal`]
//! (LeWorldModel), [`levels`] (H-JEPA), [`block_causal`] (V-JEPA 2-AC) or [`slots`] (C-JEPA). Batches, state, health and planning are
//! the same for all. Latents are `[B, N, D]`: N tokens an observation, one for the first three. [`chunks`] (ACT-JEPA) has no model to roll
//! out: it tells what an expert does, and what is seen then, all at once.

pub mod block_causal;
pub mod causal;
pub mod chunks;
mod heads;
pub mod latent;
pub mod levels;
pub mod model;
pub mod recurrent;
pub mod slots;

use std::sync::Arc;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{Collate, DataError, Normalise, Places, Window};
use foretell_nn::pair::Pair;
use foretell_nn::{Frames, ImageNetwork};

use self::latent::Untold;
use crate::sigreg::directions;
use crate::{Clock, Kept, Objective, Outcome, Second};

pub use block_causal::{BlockCausal, BlockCausalNetworks, Forcing};
pub use causal::{Causal, CausalNetworks};
pub use chunks::{ChunkBatch, ChunkCollator, ChunkNetworks, ChunkPolicy, Chunks, Stages, TrainedPolicy};
pub use latent::{Inferred, LatentVariable};
pub use levels::{Hierarchy, Levelled, LevelledNetworks};
pub use model::{Gauge, State, TrainedModel, WorldModel, flat, pooled};
pub use recurrent::{Recurrent, RecurrentNetworks, Terms};
pub use slots::{Hiding, SlotNetworks, Slots};

/// Windows of a batch on the host.
#[derive(Default)]
pub struct WindowBatch {
    /// Windows, B.
    pub samples: usize,
    /// Observations of each, T.
    pub frames: usize,
    /// `[T·B, C, H, W]` row-major, normalised; the first observation of every window, then the second, …
    pub observations: Vec<f32>,
    /// `[(T − 1)·B, A]`, normalised, likewise.
    pub actions: Vec<f32>,
    /// `[T·B, S]`, normalised, likewise; empty where poses are not told.
    pub poses: Vec<f32>,
    /// SIGReg's directions, `[D, M]`; empty where none are wanted.
    pub directions: Vec<f32>,
    /// Places that each window brings along, K; 0 where none are wanted.
    pub places: usize,
    /// `[B·K, C, H, W]` row-major, normalised; the places of one window, then of the next, …
    pub place_observations: Vec<f32>,
    /// `[B, K, K]`: steps from the row's place to the column's; infinite where no way is known.
    pub place_steps: Vec<f32>,
}

/// Directions for SIGReg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Of the run.
    pub seed: u64,
    /// Width of the latents, D.
    pub width: usize,
    /// How many, M.
    pub count: usize,
}

/// Makes [`WindowBatch`]es.
pub struct WindowCollator {
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Numbers in the actions between two observations, A.
    pub action: usize,
    /// Mean and standard deviation of each channel of the training observations.
    pub normalise: Normalise,
    /// Mean and standard deviation of each of the A numbers.
    pub actions: Normalise,
    /// Mean and standard deviation of each of the S numbers of a pose, for members that are told the states of windows.
    pub poses: Option<Normalise>,
    /// For members that use SIGReg.
    pub slices: Option<Slices>,
    /// For members that learn how many steps lie between two places. Windows that bring none along teach nothing of it.
    pub places: bool,
}

/// `[B, T, width]` of several windows → `[T, B, width]`.
fn time_major<'a>(windows: impl Iterator<Item = &'a [f32]> + Clone, steps: usize, width: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for t in 0..steps {
        windows.clone().for_each(|values| out.extend(&values[t * width..][..width]));
    }
    out
}

/// Every stretch of `length` steps of time-major rows `[T·B, D]`, as `[S·B, length, D]`: those that begin at `from` first.
fn stretches(rows: &Tensor<2>, [frames, samples]: [usize; 2], from: usize, count: usize, length: usize) -> Tensor<3> {
    let width = rows.dims()[1];
    let rows = rows.clone().reshape([frames, samples, width]);
    let stretch = |s: usize| rows.clone().narrow(0, from + s, length).swap_dims(0, 1);
    Tensor::cat((0..count).map(stretch).collect(), 0)
}

/// The states of windows as poses, time-major.
fn poses(windows: &[Window], frames: usize, scale: &Normalise) -> Result<Vec<f32>, DataError> {
    let width = scale.mean.len();
    if let Some(window) = windows.iter().find(|window| window.states.len() != frames * width) {
        return Err(DataError::Collate(format!(
            "a window of {frames} observations with {} numbers of states does not fit poses of {width} numbers",
            window.states.len()
        )));
    }
    let mut poses = time_major(windows.iter().map(|w| &w.states[..]), frames, width);
    scale.scale(&mut poses, 1);
    Ok(poses)
}

impl Collate for WindowCollator {
    type Sample = Window;
    type Batch = WindowBatch;

    fn collate(&self, step: u64, samples: &[Window]) -> Result<WindowBatch, DataError> {
        let frames = samples.first().map_or(0, |w| w.frames);
        let [channels, height, width] = self.observation;
        let pixels = channels * height * width;
        for window in samples {
            let (seen, done) = (window.observations.len(), window.actions.len());
            if window.frames != frames || seen != frames * pixels || done + self.action != frames * self.action {
                return Err(DataError::Collate(format!(
                    "a window of {} observations with {seen} values and {done} of actions does not fit {frames} observations of {pixels} values with {} for the actions between two of them",
                    window.frames, self.action
                )));
            }
        }
        let mut observations = time_major(samples.iter().map(|w| &w.observations[..]), frames, pixels);
        self.normalise.scale(&mut observations, height * width);
        let mut actions = time_major(samples.iter().map(|w| &w.actions[..]), frames.saturating_sub(1), self.action);
        self.actions.scale(&mut actions, 1);
        let poses = self.poses.as_ref().map_or(Ok(Vec::new()), |scale| poses(samples, frames, scale))?;
        let directions = self.slices.map_or(Vec::new(), |s| directions(s.seed, step, s.width, s.count));
        let (mut place_observations, mut place_steps, mut places) = (Vec::new(), Vec::new(), 0);
        if self.places {
            places = samples.first().map_or(0, |w| w.places.count);
            for Window { places: Places { count, observations, steps }, .. } in samples {
                if *count != places || observations.len() != count * pixels || steps.len() != count * count {
                    return Err(DataError::Collate(
                        "windows bring along places of explored layouts, but not all as many or not as many numbers"
                            .to_owned(),
                    ));
                }
                place_observations.extend(observations);
                place_steps.extend(steps);
            }
            self.normalise.scale(&mut place_observations, height * width);
        }
        let samples = samples.len();
        let of_windows =
            WindowBatch { samples, frames, observations, actions, poses, directions, ..WindowBatch::default() };
        Ok(WindowBatch { places, place_observations, place_steps, ..of_windows })
    }
}

/// A batch of windows as tensors, without gradients.
pub struct Seen<'a> {
    /// `[T·B, C, H, W]`, time-major.
    pub observations: Tensor<4>,
    /// `[(T − 1)·B, A + Z]`, time-major: what was done, and behind it what a [latent variable](LatentVariable) says, where there is one.
    pub actions: Tensor<2>,
    /// `[(T − 1)·B, A]`: what was done alone.
    pub told: Tensor<2>,
    /// `[T·B, S]`, time-major, where poses are told.
    pub poses: Option<Tensor<2>>,
    /// `[B·K, C, H, W]`, the places of one window after those of another; `None` where none are wanted.
    pub places: Option<Tensor<4>>,
    /// The batch itself.
    pub batch: &'a WindowBatch,
}

/// The networks of a member: all that the optimiser touches.
pub trait Networks: Module + ModuleDisplay + WorldModel + Sync + 'static {
    /// What is set beside the networks' lengths: weights of terms, steps of a rollout.
    type Setting: Send;
    /// What is kept after training, for probes.
    type Encoder: Module + ModuleDisplay + ImageNetwork + 'static;

    /// What is kept after training, for probes.
    fn encoder(&self) -> &Self::Encoder;

    /// The networks in evaluation mode as a planner asks them, many candidates at a time.
    fn planner_model(self) -> Box<dyn WorldModel + Send + Sync> {
        Box::new(self)
    }

    /// What the actor learns from: how far what it would do is from what was done, weighted by what came of that. Asked of
    /// networks in evaluation mode; `None` where the batch says nothing of it.
    fn acted(&self, _actor: &Pair, _seen: &Seen<'_>) -> Option<Tensor<1>> {
        None
    }

    /// The loss of a batch.
    fn loss(&self, setting: &Self::Setting, seen: &Seen<'_>, clock: &Clock) -> Outcome;
}

/// The objective: networks that learn from windows. No target network; the member's own terms keep latents apart.
pub struct Dynamics<N: Networks> {
    /// The member's own.
    pub setting: N::Setting,
    /// What may decide what comes beside what is told.
    pub variable: LatentVariable,
    /// How its actor learns when the rest has learnt, if it has one.
    pub actor: Option<Second>,
    /// Makes batches.
    pub collator: Arc<WindowCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl<N: Networks> Dynamics<N> {
    /// A batch on the device.
    pub fn seen<'a>(&self, batch: &'a WindowBatch) -> Seen<'a> {
        let [channels, height, width] = self.collator.observation;
        let shape = [batch.frames * batch.samples, channels, height, width];
        let observations = Tensor::from_data(TensorData::new(batch.observations.clone(), shape), &self.device);
        let shape = [(batch.frames - 1) * batch.samples, self.collator.action];
        let actions = Tensor::from_data(TensorData::new(batch.actions.clone(), shape), &self.device);
        let rows = batch.frames * batch.samples;
        let poses =
            (!batch.poses.is_empty()).then(|| TensorData::new(batch.poses.clone(), [rows, batch.poses.len() / rows]));
        let poses = poses.map(|poses| Tensor::from_data(poses, &self.device));
        let shape = [batch.places * batch.samples, channels, height, width];
        let places = (batch.places > 0).then(|| TensorData::new(batch.place_observations.clone(), shape));
        let places = places.map(|places| Tensor::from_data(places, &self.device));
        Seen { observations, told: actions.clone(), actions, poses, places, batch }
    }

    /// The same with what the latent variable says of each step, by networks as they are.
    fn inferred<'a>(&self, networks: &N, batch: &'a WindowBatch) -> Seen<'a> {
        let mut seen = self.seen(batch);
        if self.variable != LatentVariable::None {
            let networks = networks.valid();
            let latents = networks.encode(seen.observations.clone());
            seen.actions = self.variable.beside(&networks, &latents, &seen.told, batch.samples);
        }
        seen
    }
}

impl<N: Networks> Objective for Dynamics<N> {
    type Sample = Window;
    type Batch = WindowBatch;
    type Networks = N;

    fn collator(&self) -> Arc<dyn Collate<Sample = Window, Batch = WindowBatch>> {
        self.collator.clone()
    }

    /// In the second stage what the actor learns from frozen latents, and what really followed in play.
    fn loss(&self, networks: &N, batch: &WindowBatch, clock: &Clock) -> Outcome {
        if clock.step > clock.total
            && let Some(actor) = networks.actor()
            && let Some(loss) = networks.valid().acted(actor, &self.seen(batch))
        {
            return Outcome { loss, terms: Vec::new(), latents: None, seen: Vec::new() };
        }
        networks.loss(&self.setting, &self.inferred(networks, batch), clock)
    }

    fn kept(&self, networks: &N) -> Kept<Window> {
        let WindowCollator { observation, normalise, actions, poses, .. } = self.collator.as_ref();
        let (model, variable) = (networks.valid().planner_model(), self.variable);
        let model = match variable {
            LatentVariable::None => model,
            _ => Box::new(Untold { model, variable, told: self.collator.action }),
        };
        let model = TrainedModel {
            model,
            observation: *observation,
            normalise: normalise.clone(),
            actions: actions.clone(),
            poses: poses.clone(),
            device: self.device.clone(),
        };
        let encoder = Frames::new(networks.encoder().valid(), normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: Some(Box::new(model)) }
    }

    fn second(&self) -> Option<Second> {
        self.actor
    }
}
