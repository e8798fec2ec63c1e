//! What a planner asks of a trained model, and what it carries from step to step.

use burn::tensor::{Device, Tensor};
use foretell_data::Normalise;
use foretell_nn::level::Level;
use foretell_nn::pair::Pair;

use super::latent::{LatentVariable, widened};

/// Where several episodes stand in a model's eyes: the newest latents and those before them, poses where there are some, and the
/// actions between.
#[derive(Clone, Debug)]
pub struct State {
    /// `[B, N, D]` each, the oldest first.
    latents: Vec<Tensor<3>>,
    /// `[B, S]` each: where the body is that acts, as it feels it. As many as latents, or none.
    poses: Vec<Tensor<2>>,
    /// `[B, A]` each, one fewer.
    actions: Vec<Tensor<2>>,
}

impl State {
    /// The first observations' latents, `[B, N, D]`.
    pub fn begin(latents: Tensor<3>) -> Self {
        Self { latents: vec![latents], poses: Vec::new(), actions: Vec::new() }
    }

    /// After actions `[B, A]` and the latents `[B, N, D]` that they led to; of all latents the newest `kept` stay, at least one.
    pub fn then(mut self, actions: Tensor<2>, latents: Tensor<3>, kept: usize) -> Self {
        self.actions.push(actions);
        self.latents.push(latents);
        let gone = self.latents.len().saturating_sub(kept.max(1));
        self.latents.drain(..gone);
        self.poses.drain(..gone.min(self.poses.len()));
        self.actions.drain(..gone);
        self
    }

    /// With the pose `[B, S]` that belongs to the newest latents, where poses are told.
    pub fn posed(mut self, pose: Option<Tensor<2>>) -> Self {
        self.poses.extend(pose);
        self
    }

    /// `[B, N, D]`.
    pub fn newest(&self) -> &Tensor<3> {
        self.latents.last().expect("a state has latents")
    }

    /// The newest latents of a model of one vector an observation, `[B, D]`.
    pub fn vectors(&self) -> Tensor<2> {
        flat(self.newest().clone())
    }

    /// `[B, N, D]` each, the oldest first.
    pub fn latents(&self) -> &[Tensor<3>] {
        &self.latents
    }

    /// `[B, S]` each, as many as latents, or none.
    pub fn poses(&self) -> &[Tensor<2>] {
        &self.poses
    }

    /// `[B, A]` each, between the latents.
    pub fn actions(&self) -> &[Tensor<2>] {
        &self.actions
    }

    /// With zeros behind what was done, up to so many numbers.
    pub(super) fn widened(mut self, whole: usize) -> Self {
        self.actions = self.actions.into_iter().map(|actions| widened(actions, whole)).collect();
        self
    }

    /// Each row so many times.
    pub fn repeat(&self, times: usize) -> Self {
        let rows = |all: &[Tensor<2>]| all.iter().map(|t| t.clone().repeat_dim(0, times)).collect();
        let latents = self.latents.iter().map(|t| t.clone().repeat_dim(0, times)).collect();
        Self { latents, poses: rows(&self.poses), actions: rows(&self.actions) }
    }
}

/// All tokens side by side: `[B, N, D]` → `[B, N·D]`.
pub fn flat(latents: Tensor<3>) -> Tensor<2> {
    let [b, n, d] = latents.dims();
    latents.reshape([b, n * d])
}

/// One vector an observation, for linear maps and policies: the mean of its tokens, `[B, N, D]` → `[B, D]`.
pub fn pooled(latents: Tensor<3>) -> Tensor<2> {
    let [_, n, _] = latents.dims();
    if n == 1 { flat(latents) } else { latents.mean_dim(1).squeeze_dim(1) }
}

/// One vector an observation as the composition has latents: `[B, D]` → `[B, 1, D]`.
pub(crate) fn one_token(vectors: Tensor<2>) -> Tensor<3> {
    let [b, d] = vectors.dims();
    vectors.reshape([b, 1, d])
}

/// Steps that one unit of [`WorldModel::reach`] stands for, so that it is near 1 for usual ways.
pub const STEPS_UNIT: f64 = 20.0;

/// By what a planner measures how far a latent is from its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// The model's [energy](WorldModel::energy).
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
    /// The same of a pose, where the model is told some.
    pub poses: Option<Normalise>,
    /// Where the model lies, without autodiff.
    pub device: Device,
}

/// What a planner asks of a trained model, which is in evaluation mode. Latents are `[B, N, D]`, where N is 1 for models of one
/// vector an observation, actions `[B, A]`, poses `[B, S]`; all go in and come out as in training: normalised.
pub trait WorldModel: Send {
    /// Observations `[B, C, H, W]` → latents.
    fn encode(&self, observations: Tensor<4>) -> Tensor<3>;

    /// What follows from actions.
    fn step(&self, state: State, actions: Tensor<2>) -> State;

    /// Latents that a step looks back on, the newest among them; a state with fewer is one near an episode's beginning.
    fn history(&self) -> usize;

    /// How far latents `[S, N, D]` are from others, `[S, N, D]` or `[1, N, D]`, that are to be reached or were foretold, `[S, 1]`:
    /// the mean squared difference.
    fn energy(&self, latents: Tensor<3>, there: Tensor<3>) -> Tensor<2> {
        (flat(latents) - flat(there)).square().mean_dim(1)
    }

    /// What one number of a latent that is off by so much adds to the [`energy`](Self::energy), before the mean.
    fn energy_of(&self, difference: f64) -> f64 {
        difference.powi(2)
    }

    /// [`energy`](Self::energy) in words.
    fn energy_name(&self) -> &'static str {
        "Mean squared error"
    }

    /// Whether latents come from an encoder that no step changes, so that an untrained model's can be held against them.
    fn latents_are_given(&self) -> bool {
        false
    }

    /// The head that tells the steps between two latents, in units of [`STEPS_UNIT`]; `None` where it has not learnt to tell.
    fn reach(&self) -> Option<&Pair> {
        None
    }

    /// Who says what to do at a latent to get to another, if the model has one.
    fn actor(&self) -> Option<&Pair> {
        None
    }

    /// What may decide what comes beside what was done: [`step`](Self::step) then takes actions alone, `[B, A]`, or with z, `[B, A + Z]`.
    fn variable(&self) -> LatentVariable {
        LatentVariable::None
    }

    /// The levels above, the lowest first, for models that predict over longer times too.
    fn levels(&self) -> &[Level] {
        &[]
    }

    /// Steps from latents `[N, D]` to a goal `[1, D]`, `[N, 1]`, as [`reach`](Self::reach) tells.
    fn steps_to(&self, latents: Tensor<2>, goal: Tensor<2>) -> Option<Tensor<2>> {
        self.reach().map(|head| head.forward(latents, goal) * STEPS_UNIT)
    }

    /// For models over objects: their slots `[B, k, N, D]` at the k moments of `slots`, told of those that are hidden (`[B, N]`, row-major)
    /// from the first moment and from what the others did; `actions` has one after each moment. `None` of models that hide no objects.
    fn inferred(&self, _slots: &[Tensor<3>], _actions: &[Tensor<2>], _hidden: &[bool]) -> Option<Tensor<4>> {
        None
    }

    /// How far each of many candidates is from a goal after each of its steps, `[S, T]`, by a gauge, for actions `[S, T, A]` from
    /// one state, towards `[1, N, D]`. `None` where steps one after another are all there is.
    fn distances(
        &self,
        _gauge: Gauge,
        _state: &State,
        _goal: &Tensor<3>,
        _actions: &[f32],
        _steps: usize,
    ) -> Option<Vec<f32>> {
        None
    }
}
