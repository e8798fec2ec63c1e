//! Planning in a model's latents: candidates are rolled out there, and cost what their distance to the goal's latent says.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_jepa::dynamics::WorldModel;
use foretell_ops as ops;
use rayon::prelude::*;

use crate::cost::Cost;
use crate::planner::Problem;

/// Candidates imagined by a model without gradients. Each episode is rolled out by itself, so that its costs are the same bits
/// alone and in company.
pub struct Imagined<'a, M: ?Sized> {
    /// The model, in evaluation mode.
    pub model: &'a M,
    /// Where each episode stands, `[1, D]` each.
    pub now: &'a [Tensor<2>],
    /// Where it should end, `[1, D]` each.
    pub goals: &'a [Tensor<2>],
    /// Numbers in an action.
    pub action: usize,
    /// The longest action.
    pub reach: f32,
    /// What the distances on the way cost: mean squared differences of latents.
    pub cost: Cost,
    /// Where the model lies, without autodiff.
    pub device: &'a Device,
}

impl<M: WorldModel + Sync + ?Sized> Imagined<'_, M> {
    /// The latents of one episode's candidates `[S, H, A]` at each step: H tensors `[S, D]`.
    fn roll(&self, now: &Tensor<2>, candidates: &[f32], samples: usize, horizon: usize) -> Vec<Tensor<2>> {
        let mut state = now.clone().repeat_dim(0, samples);
        (0..horizon)
            .map(|t| {
                let at = |s: usize| &candidates[(s * horizon + t) * self.action..][..self.action];
                let actions: Vec<f32> = (0..samples).flat_map(|s| at(s).iter().copied()).collect();
                let actions = Tensor::from_data(TensorData::new(actions, [samples, self.action]), self.device);
                state = self.model.step(state.clone(), actions);
                state.clone()
            })
            .collect()
    }
}

impl<M: WorldModel + Sync + ?Sized> Problem for Imagined<'_, M> {
    fn episodes(&self) -> usize {
        self.now.len()
    }

    fn action(&self) -> usize {
        self.action
    }

    fn reach(&self) -> f32 {
        self.reach
    }

    fn costs(&mut self, candidates: &[f32], per_episode: usize, horizon: usize) -> Vec<f32> {
        let whole = per_episode * horizon * self.action;
        let this = &*self;
        let costs: Vec<Vec<f32>> = (0..this.now.len())
            .into_par_iter()
            .map(|e| {
                let candidates = &candidates[e * whole..][..whole];
                let distances: Vec<Vec<f32>> = this
                    .roll(&this.now[e], candidates, per_episode, horizon)
                    .into_iter()
                    .map(|z| ops::values((z - this.goals[e].clone()).square().mean_dim(1)))
                    .collect();
                (0..per_episode).map(|s| this.cost.of(distances.iter().map(|d| d[s]))).collect()
            })
            .collect();
        costs.concat()
    }
}
