//! What a planner asks of a trained model, and what it carries from step to step.

use burn::tensor::{Device, Tensor};
use foretell_data::Normalise;
use foretell_nn::pair::Pair;

/// Where several episodes stand in a model's eyes: the newest latents, those before them, and the actions between.
#[derive(Clone, Debug)]
pub struct State {
    /// `[B, D]` each, the oldest first.
    latents: Vec<Tensor<2>>,
    /// `[B, A]` each, one fewer.
    actions: Vec<Tensor<2>>,
}

impl State {
    /// The first observations' latents, `[B, D]`.
    pub fn begin(latents: Tensor<2>) -> Self {
        Self { latents: vec![latents], actions: Vec::new() }
    }

    /// After actions `[B, A]` and the latents `[B, D]` that they led to; of all latents the newest `kept` stay, at least one.
    pub fn then(mut self, actions: Tensor<2>, latents: Tensor<2>, kept: usize) -> Self {
        self.actions.push(actions);
        self.latents.push(latents);
        let gone = self.latents.len().saturating_sub(kept.max(1));
        self.latents.drain(..gone);
        self.actions.drain(..gone);
        self
    }

    /// `[B, D]`.
    pub fn newest(&self) -> &Tensor<2> {
        self.latents.last().expect("a state has latents")
    }

    /// `[B, D]` each, the oldest first.
    pub fn latents(&self) -> &[Tensor<2>] {
        &self.latents
    }

    /// `[B, A]` each, between the latents.
    pub fn actions(&self) -> &[Tensor<2>] {
        &self.actions
    }

    /// Each row so many times.
    pub fn repeat(&self, times: usize) -> Self {
        let rows = |all: &[Tensor<2>]| all.iter().map(|t| t.clone().repeat_dim(0, times)).collect();
        Self { latents: rows(&self.latents), actions: rows(&self.actions) }
    }
}

/// Steps that one unit of [`WorldModel::reach`] stands for, so that it is near 1 for usual ways.
pub const STEPS_UNIT: f64 = 20.0;

/// By what a planner measures how far a latent is from its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// The mean squared difference.
    Latents,
    /// The steps that lie between, as the model has learnt to tell.
    Steps,
}

/// A trained model and how what goes into it is normalised.
pub struct TrainedModel {
    /// In evaluation mode, without gradients.
    pub model: Box<dyn WorldModel + Send + Sync>,
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Mean and standard deviation of each channel of an observation.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of the actions between two observations.
    pub actions: Normalise,
    /// Where the model lies, without autodiff.
    pub device: Device,
}

/// What a planner asks of a trained model, which is in evaluation mode. Latents are `[B, D]`, actions `[B, A]`; both go in
/// and come out as in training: normalised.
pub trait WorldModel: Send {
    /// Observations `[B, C, H, W]` → latents.
    fn encode(&self, observations: Tensor<4>) -> Tensor<2>;

    /// What follows from actions.
    fn step(&self, state: State, actions: Tensor<2>) -> State;

    /// Latents that a step looks back on, the newest among them; a state with fewer is one near an episode's beginning.
    fn history(&self) -> usize;

    /// The head that tells the steps between two latents, in units of [`STEPS_UNIT`]; `None` where it has not learnt to tell.
    fn reach(&self) -> Option<&Pair> {
        None
    }

    /// Who says what to do at a latent to get to another, if the model has one.
    fn actor(&self) -> Option<&Pair> {
        None
    }

    /// Steps from latents `[N, D]` to a goal `[1, D]`, `[N, 1]`, as [`reach`](Self::reach) tells.
    fn steps_to(&self, latents: Tensor<2>, goal: Tensor<2>) -> Option<Tensor<2>> {
        self.reach().map(|head| head.forward(latents, goal) * STEPS_UNIT)
    }

    /// How far each of many candidates is from a goal after each of its steps, `[S, T]`, by a gauge, for actions `[S, T, A]` from
    /// one state, towards `[1, D]`. `None` where steps one after another are all there is.
    fn distances(
        &self,
        _gauge: Gauge,
        _state: &State,
        _goal: &Tensor<2>,
        _actions: &[f32],
        _steps: usize,
    ) -> Option<Vec<f32>> {
        None
    }
}
