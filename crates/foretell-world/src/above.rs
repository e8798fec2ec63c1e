//! Plans from above: the highest level of a model plans to the goal in macro-actions, and the first state that it foretells is the
//! goal of the level below, down to the one that acts (HWM, arXiv 2604.03208; H-JEPA, arXiv 2610.06805).
//!
//! A level below measures how far it is from its goal where that goal was foretold: its own states go through the maps between. Every level
//! plans anew each time, from what is seen alone.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_jepa::dynamics::{State, flat, levels};
use foretell_nn::level::{Level, REACH};
use rayon::prelude::*;

use crate::cost::Cost;
use crate::evaluate::Now;
use crate::imagination::Imagination;
use crate::imagined::{Candidates, each_episode};
use crate::planner::{Budget, Planner, PlannerConfig, PlannerError, Problem};
use crate::world::Reach;

/// How levels above the one that acts plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Above {
    /// Levels that plan, the one that acts among them; 1: no other.
    pub levels: usize,
    /// By what each of them plans.
    pub planner: Planner,
    /// Steps of the world that the highest looks ahead, at least one of its own.
    pub horizon: usize,
    /// What the distances on its way cost; levels between look at where they end.
    pub cost: Cost,
}

/// Deviation of the first macro-actions that are drawn, as they are in training.
const DEVIATION: f32 = 1.0;

/// Goals for the level that acts, and the model calls that they took, of each episode.
pub(crate) struct Subgoals {
    /// `[1, 1, D]` each.
    pub goals: Vec<Tensor<3>>,
    /// Model calls.
    pub calls: Vec<u64>,
}

impl Above {
    /// Steps of the world that a plan of the level that acts is long where others lie above: one step of the next.
    pub fn ground_horizon(imagination: &Imagination) -> Option<usize> {
        imagination.model.levels().first().map(|level| level.stride() * imagination.block)
    }

    /// What the levels above want of the one that acts, from states and goals of frames, `[1, 1, D]` each.
    pub(crate) fn subgoals(
        &self,
        imagination: &Imagination,
        now: &Now<'_>,
        states: &[State],
        goals: &[Tensor<3>],
    ) -> Result<Subgoals, PlannerError> {
        let levels = &imagination.model.levels()[..self.levels - 1];
        // Of each episode its state and goal at every level, [1, D].
        let risen = |frames: &Tensor<3>| -> Vec<Tensor<2>> {
            levels
                .iter()
                .scan(flat(frames.clone()), |below, level| {
                    *below = level.lift(below.clone());
                    Some(below.clone())
                })
                .collect()
        };
        let here: Vec<Vec<Tensor<2>>> = states.par_iter().map(|state| risen(state.newest())).collect();
        let mut wanted: Vec<Tensor<2>> =
            goals.par_iter().map(|goal| risen(goal).pop().unwrap_or_else(|| flat(goal.clone()))).collect();
        let mut calls = vec![0; states.len()];
        let spans: Vec<usize> = levels
            .iter()
            .scan(imagination.block, |span, level| {
                *span *= level.stride();
                Some(*span)
            })
            .collect();
        for (l, level) in levels.iter().enumerate().rev() {
            let top = l + 1 == levels.len();
            let horizon = if top { self.horizon.div_ceil(spans[l]).max(1) } else { levels[l + 1].stride() };
            let now_here: Vec<Tensor<2>> = here.iter().map(|of| of[l].clone()).collect();
            let lifts = if top { &[] } else { std::slice::from_ref(&levels[l + 1]) };
            let cost = if top { self.cost } else { Cost::Last };
            let mut problem = Upper { level, lifts, now: &now_here, goals: &wanted, cost, imagination };
            let config = PlannerConfig { horizon, spread: DEVIATION / REACH, hold: 1, ..PlannerConfig::default() };
            // Other draws than those of the levels below.
            let step = now.step | (l as u64 + 1) << 32;
            let free = Budget { calls: u64::MAX };
            let plans = self.planner.plan(&config, free, &mut problem, &[], (now.seed, step, now.numbers))?;
            for (spent, plan) in calls.iter_mut().zip(&plans) {
                *spent += plan.calls;
            }
            wanted = plans
                .par_iter()
                .zip(&now_here)
                .map(|(plan, here)| problem.first(here, &plan.actions[..level.action()]))
                .collect();
        }
        let goals = wanted.into_iter().map(|goal| goal.unsqueeze_dim(1)).collect();
        Ok(Subgoals { goals, calls })
    }
}

/// Candidates of a level above the one that acts. Each episode is rolled out by itself, so that its costs are the same bits alone and in
/// company.
struct Upper<'a> {
    level: &'a Level,
    /// From its states to those that goals are among.
    lifts: &'a [Level],
    /// Where each episode stands, `[1, D]`.
    now: &'a [Tensor<2>],
    /// Where it should end, `[1, D]`.
    goals: &'a [Tensor<2>],
    cost: Cost,
    imagination: &'a Imagination,
}

/// States of one level among those of a higher one, `[N, D]`.
pub(crate) fn lifted(lifts: &[Level], states: Tensor<2>) -> Tensor<2> {
    lifts.iter().fold(states, |states, level| level.lift(states))
}

impl Upper<'_> {
    /// The state after a macro-action.
    fn first(&self, here: &Tensor<2>, action: &[f32]) -> Tensor<2> {
        let state = State::begin(here.clone().unsqueeze_dim(1));
        let action = Tensor::from_data(TensorData::new(action.to_vec(), [1, action.len()]), &self.imagination.device);
        levels::act(self.level, state, action).vectors()
    }

    /// Rolls out one episode's candidates `[S, H, M]`; on an autodiff device with a tape.
    fn roll(&self, episode: usize, candidates: &[f32], samples: usize, device: &Device) -> Candidates {
        let width = self.level.action();
        let steps = candidates.len() / (samples * width).max(1);
        let actions = Candidates::actions(candidates, [samples, steps, width], device);
        let mut state = State::begin(self.now[episode].clone().unsqueeze_dim(1)).repeat(samples);
        let goal = &self.goals[episode];
        let distances = (0..steps)
            .map(|t| {
                let taken = actions.clone().narrow(1, t, 1).reshape([samples, width]);
                state = levels::act(self.level, state.clone(), taken);
                (lifted(self.lifts, state.vectors()) - goal.clone()).square().mean_dim(1)
            })
            .collect();
        Candidates { actions, distances }
    }
}

impl Problem for Upper<'_> {
    fn episodes(&self) -> usize {
        self.now.len()
    }

    fn action(&self) -> usize {
        self.level.action()
    }

    fn reach(&self) -> Reach {
        Reach::Box(REACH)
    }

    fn costs(&mut self, candidates: &[f32], per_episode: usize, _: usize) -> Vec<f32> {
        let this = &*self;
        let device = &this.imagination.device;
        let of = |e: usize, candidates: &[f32]| this.roll(e, candidates, per_episode, device).costs(this.cost);
        each_episode(this.now.len(), candidates, of).concat()
    }

    fn gradients(&mut self, candidates: &[f32], per_episode: usize, _: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let this = &*self;
        let (plain, tape) = (&this.imagination.device, this.imagination.device.clone().autodiff());
        let of = |e: usize, candidates: &[f32]| this.roll(e, candidates, per_episode, &tape).slopes(this.cost, plain);
        let (costs, gradients): (Vec<Vec<f32>>, Vec<Vec<f32>>) =
            each_episode(this.now.len(), candidates, of).into_iter().unzip();
        Some((costs.concat(), gradients.concat()))
    }
}
