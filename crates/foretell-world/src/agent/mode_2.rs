//! Mode-2: actions sought through the world model, `Σ γ^t IC(ŝ_t) + γ^H TC(ŝ_H)` over imagined states, with a guardrail on the way.

use burn::tensor::{Device, Tensor};
use foretell_jepa::dynamics::{State, flat};

use super::configurator::Configuration;
use super::critic::{Critic, DISCOUNT};
use super::life::{Perception, longest};
use super::sense::LIMIT;
use crate::cost::Cost;
use crate::imagined::{Candidates, each_episode};
use crate::planner::Problem;
use crate::world::{Reach, Spec};

/// What a step beyond the guardrail adds to a candidate's cost: more than any way costs, so that those that keep it come first, and of the
/// others those that break it least.
pub(super) const BARRED: f32 = 1e4;

/// Candidates of several episodes. Each is rolled out by itself, so that its costs are the same bits alone and in company.
pub(super) struct Mode2<'a> {
    pub(super) perception: Perception<'a>,
    pub(super) critic: Option<&'a Critic>,
    pub(super) configuration: Configuration,
    pub(super) spec: &'a Spec,
    /// Where each episode stands, one row each.
    pub(super) now: &'a [State],
    /// Where it should end, `[1, N, D]` each.
    pub(super) goals: &'a [Tensor<3>],
}

impl Mode2<'_> {
    /// Rolls out one episode's candidates; what stands for a distance is a step's part of the cost.
    fn roll(&self, episode: usize, candidates: &[f32], samples: usize, device: &Device) -> Candidates {
        let Self { perception, configuration, spec, .. } = self;
        let (imagination, goal) = (perception.imagination, &self.goals[episode]);
        let steps = candidates.len() / (samples * self.block() * spec.action).max(1);
        let effort = f64::from(longest(spec.reach, spec.action)) * self.block() as f64;
        imagination.roll(&self.now[episode], (candidates, samples), device, |t, taken, state| {
            let hazard = perception.sense.map(|sense| sense.hazard(state.vectors()));
            let distance = perception.distance(state.newest().clone(), goal.clone());
            let effort = taken.square().sum_dim(1) / effort;
            let mut cost =
                configuration.cost.imagined(distance.clone(), hazard.clone(), effort) * DISCOUNT.powi(t as i32);
            if let Some(critic) = self.critic.filter(|_| t + 1 == steps) {
                let goal = flat(goal.clone());
                cost = cost
                    + critic.rest(&configuration.cost, state.vectors(), goal, distance) * DISCOUNT.powi(steps as i32);
            }
            if let Some(hazard) = hazard.filter(|_| configuration.guardrail) {
                let over = hazard - LIMIT;
                cost = cost + over.clone().greater_elem(0.0).float() * (over + 1.0) * BARRED;
            }
            cost
        })
    }
}

impl Problem for Mode2<'_> {
    fn episodes(&self) -> usize {
        self.now.len()
    }

    fn action(&self) -> usize {
        self.spec.action
    }

    fn reach(&self) -> Reach {
        self.spec.reach
    }

    fn block(&self) -> usize {
        self.perception.imagination.block
    }

    fn costs(&mut self, candidates: &[f32], per_episode: usize, _: usize) -> Vec<f32> {
        let this = &*self;
        let device = &this.perception.imagination.device;
        let of = |e: usize, candidates: &[f32]| this.roll(e, candidates, per_episode, device).costs(Cost::Sum);
        each_episode(this.now.len(), candidates, of).concat()
    }

    fn gradients(&mut self, candidates: &[f32], per_episode: usize, _: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let this = &*self;
        let plain = &this.perception.imagination.device;
        let tape = plain.clone().autodiff();
        let of = |e: usize, candidates: &[f32]| this.roll(e, candidates, per_episode, &tape).slopes(Cost::Sum, plain);
        let (costs, gradients): (Vec<_>, Vec<_>) = each_episode(this.now.len(), candidates, of).into_iter().unzip();
        Some((costs.concat(), gradients.concat()))
    }
}
