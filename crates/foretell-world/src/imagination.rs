//! A trained model and what goes into it and out of it: normalised as in training, whatever the world.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::Normalise;
use foretell_jepa::dynamics::{Gauge, State, TrainedModel, WorldModel};
use rayon::prelude::*;

use crate::above::{Above, Subgoals};
use crate::cost::Cost;
use crate::evaluate::{Now, Solve, Trail};
use crate::imagined::Imagined;
use crate::planner::{Plan, PlannerError};
use crate::world::{Episode, World, WorldError};

/// A model that any thread may ask.
pub type Model = Box<dyn WorldModel + Send + Sync>;

/// See the module.
pub struct Imagination {
    /// In evaluation mode, without gradients.
    pub model: Model,
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Of each channel of an observation.
    pub normalise: Normalise,
    /// Of each number of an action block.
    pub actions: Normalise,
    /// Of each number of a pose, where the model is told some: the world's states are poses then.
    pub poses: Option<Normalise>,
    /// Actions in a block: what one step of the model takes.
    pub block: usize,
    /// Where the model lies, without autodiff.
    pub device: Device,
}

/// An error if what was learnt from observations `[C, H, W]` and actions of so many numbers does not fit a world; `posed`: whether its poses do.
pub(crate) fn fits(
    world: &dyn World,
    (observation, action): ([usize; 3], usize),
    posed: bool,
) -> Result<(), WorldError> {
    let spec = world.spec();
    if posed && spec.observation == observation && spec.action == action {
        return Ok(());
    }
    Err(WorldError::Setting(format!(
        "the model was trained on observations of {observation:?} and actions of {action} numbers, but the world `{}` shows {:?} and takes {}: plan in the world that it was trained in",
        spec.name, spec.observation, spec.action
    )))
}

/// What a state looks like, `[C, H, W]`.
pub(crate) fn seen(world: &dyn World, layout: &[f32], state: &[f32]) -> Vec<f32> {
    let mut observation = vec![0.0; world.spec().pixels()];
    world.render(layout, state, &mut observation);
    observation
}

/// Observations `[R, C, H, W]`, row-major, as a network takes them that learnt from such.
pub(crate) fn prepared(
    mut observations: Vec<f32>,
    [channels, height, width]: [usize; 3],
    normalise: &Normalise,
    device: &Device,
) -> Tensor<4> {
    let count = observations.len() / (channels * height * width).max(1);
    normalise.scale(&mut observations, height * width);
    Tensor::from_data(TensorData::new(observations, [count, channels, height, width]), device)
}

impl Imagination {
    /// What a run has learnt, with blocks of so many actions.
    pub fn of(trained: TrainedModel, block: usize) -> Self {
        let TrainedModel { model, observation, normalise, actions, poses, device } = trained;
        Self { model, observation, normalise, actions, poses, block: block.max(1), device }
    }

    /// Numbers in an action.
    pub fn action(&self) -> usize {
        self.actions.mean.len() / self.block
    }

    /// An error if the model was trained for another world.
    pub fn check(&self, world: &dyn World) -> Result<(), WorldError> {
        let posed = self.poses.as_ref().is_none_or(|poses| poses.mean.len() == world.spec().state);
        fits(world, (self.observation, self.action()), posed)
    }

    /// Tokens of a latent and width of each, `[N, D]`.
    pub fn latent(&self) -> [usize; 2] {
        let [_, tokens, width] = self.encode(vec![0.0; self.observation.iter().product()]).dims();
        [tokens, width]
    }

    /// Latents `[R, N, D]` of their numbers, row-major.
    pub fn latents(&self, rows: &[f32]) -> Tensor<3> {
        let [tokens, width] = self.latent();
        let shape = [rows.len() / (tokens * width).max(1), tokens, width];
        Tensor::from_data(TensorData::new(rows.to_vec(), shape), &self.device)
    }

    /// Numbers in a latent, N·D.
    pub fn width(&self) -> usize {
        self.latent().iter().product()
    }

    /// The latents of observations `[R, C, H, W]`, row-major, as a world shows them: `[R, N, D]`.
    pub fn encode(&self, observations: Vec<f32>) -> Tensor<3> {
        self.model.encode(self.prepared(observations))
    }

    /// Observations `[R, C, H, W]`, row-major, as the model takes them.
    pub fn prepared(&self, observations: Vec<f32>) -> Tensor<4> {
        prepared(observations, self.observation, &self.normalise, &self.device)
    }

    /// The poses of states `[R, S]`, row-major, where the model is told some.
    pub fn poses(&self, mut states: Vec<f32>) -> Option<Tensor<2>> {
        let scale = self.poses.as_ref()?;
        scale.scale(&mut states, 1);
        let width = scale.mean.len();
        Some(Tensor::from_data(TensorData::new(states.clone(), [states.len() / width.max(1), width]), &self.device))
    }

    /// The latents of what a state looks like, `[1, N, D]`.
    pub fn look(&self, world: &dyn World, layout: &[f32], state: &[f32]) -> Tensor<3> {
        self.encode(seen(world, layout, state))
    }

    /// Where an episode stands: as many observations, a block of actions apart, as the model looks back on and the episode has.
    pub fn state(&self, world: &dyn World, layout: &[f32], trail: &Trail) -> State {
        let kept = self.model.history();
        let last = trail.states.len() - 1;
        let blocks = (last / self.block).min(kept - 1);
        let first = last - blocks * self.block;
        let begin =
            State::begin(self.look(world, layout, &trail.states[first])).posed(self.poses(trail.states[first].clone()));
        trail.actions[first..].chunks_exact(self.block).enumerate().fold(begin, |state, (i, block)| {
            let mut block = block.concat();
            self.actions.scale(&mut block, 1);
            let width = block.len();
            let block = Tensor::from_data(TensorData::new(block, [1, width]), &self.device);
            let there = &trail.states[first + (i + 1) * self.block];
            state.then(block, self.look(world, layout, there), kept).posed(self.poses(there.clone()))
        })
    }

    /// The best gauge that the model has learnt.
    pub fn gauge(&self) -> Gauge {
        if self.model.reach().is_some() { Gauge::Steps } else { Gauge::Latents }
    }

    /// Poses the episodes to a planner, with these costs on the way by this gauge. Each is looked at by itself, so that its latents are the
    /// same bits alone and in company.
    pub fn pose(
        &self,
        cost: Cost,
        gauge: Gauge,
    ) -> impl FnMut(&Now<'_>, Solve<'_>) -> Result<Vec<Plan>, PlannerError> + '_ {
        move |now, solve| {
            let (states, goals) = self.standing(now);
            let reach = now.world.spec().reach;
            solve(&mut Imagined { imagination: self, now: &states, goals: &goals, lifts: &[], reach, gauge, cost })
        }
    }

    /// The same towards goals that levels above set, at the end of each plan.
    pub fn pose_from_above(
        &self,
        above: Above,
    ) -> impl FnMut(&Now<'_>, Solve<'_>) -> Result<Vec<Plan>, PlannerError> + '_ {
        move |now, solve| {
            let (states, goals) = self.standing(now);
            let Subgoals { goals, calls } = above.subgoals(self, now, &states, &goals)?;
            let (reach, cost, gauge) = (now.world.spec().reach, Cost::Last, Gauge::Latents);
            let lifts = &self.model.levels()[..1];
            let mut plans =
                solve(&mut Imagined { imagination: self, now: &states, goals: &goals, lifts, reach, gauge, cost })?;
            for (plan, calls) in plans.iter_mut().zip(calls) {
                plan.calls += calls;
            }
            Ok(plans)
        }
    }

    /// Where each episode stands, and the latents of its goal.
    pub(crate) fn standing(&self, now: &Now<'_>) -> (Vec<State>, Vec<Tensor<3>>) {
        let world = now.world;
        let of = |(task, trail): (&Episode, &Trail)| {
            (self.state(world, &task.layout, trail), self.look(world, &task.layout, &task.goal))
        };
        now.tasks.par_iter().zip(now.trails).map(of).unzip()
    }
}
