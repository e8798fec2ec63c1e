//! Planning in a model's latents: candidates are rolled out there, and cost what their distance to the goal's latent says.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_jepa::dynamics::{Gauge, State, flat};
use foretell_nn::level::Level;
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use rayon::prelude::*;

use crate::above::lifted;
use crate::cost::Cost;
use crate::imagination::Imagination;
use crate::planner::Problem;
use crate::world::Reach;

/// Steps to the goal from which on an actor's draws become smaller, and the least share of them.
const NEAR: f32 = 10.0;
const LEAST: f32 = 0.2;

/// Candidates imagined by a model. Each episode is rolled out by itself, so that its costs are the same bits alone and in
/// company.
pub struct Imagined<'a> {
    /// The model.
    pub imagination: &'a Imagination,
    /// Where each episode stands, one row each.
    pub now: &'a [State],
    /// Where it should end, `[1, N, D]` each.
    pub goals: &'a [Tensor<3>],
    /// From the model's latents to those that goals are among: empty unless levels above set them.
    pub lifts: &'a [Level],
    /// Which actions there are.
    pub reach: Reach,
    /// By what a latent is far from its goal; where the model tells no steps it is the difference.
    pub gauge: Gauge,
    /// What the distances on the way, one a block of actions, cost.
    pub cost: Cost,
}

/// Candidates of one episode, rolled out.
pub(crate) struct Candidates {
    /// `[S, H / k, k·A]`, as the world takes them.
    pub actions: Tensor<3>,
    /// Distance to the goal after each block, H / k tensors `[S, 1]`.
    pub distances: Vec<Tensor<2>>,
}

impl Candidates {
    /// The actions of candidates `[S, T, A]`, row-major; on an autodiff device with a tape.
    pub(crate) fn actions(values: &[f32], shape: [usize; 3], device: &Device) -> Tensor<3> {
        let actions = Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), device);
        if device.is_autodiff() { actions.require_grad() } else { actions }
    }

    /// The costs, `[S]`.
    pub(crate) fn costs(&self, cost: Cost) -> Vec<f32> {
        along(&self.distances).into_iter().map(|distances| cost.of(distances)).collect()
    }

    /// The costs, `[S]`, and their slopes, as many as numbers in the actions. The cost is linear in the distances, or picks one of them: how
    /// much it changes with each is a constant of this point.
    pub(crate) fn slopes(self, cost: Cost, device: &Device) -> (Vec<f32>, Vec<f32>) {
        let Self { actions, distances } = self;
        let along = along(&distances);
        let weights: Vec<Vec<f32>> = along.iter().map(|d| cost.weights(d)).collect();
        let total = distances
            .into_iter()
            .enumerate()
            .map(|(t, d)| {
                let weights: Vec<f32> = weights.iter().map(|w| w[t]).collect();
                let weights = TensorData::new(weights, [along.len(), 1]);
                (d * Tensor::<2>::from_data(weights, device)).sum()
            })
            .reduce(|a, b| a + b)
            .expect("a horizon of at least one step");
        let count = actions.dims().iter().product();
        let slopes = actions.grad(&total.backward()).map_or_else(|| vec![0.0; count], ops::values);
        (along.into_iter().map(|d| cost.of(d)).collect(), slopes)
    }
}

/// The distances of each candidate, `[S][H / k]`.
fn along(distances: &[Tensor<2>]) -> Vec<Vec<f32>> {
    let steps: Vec<Vec<f32>> = distances.iter().map(|d| ops::values(d.clone())).collect();
    let samples = steps.first().map_or(0, Vec::len);
    (0..samples).map(|s| steps.iter().map(|d| d[s]).collect()).collect()
}

/// Something of the candidates of each of so many episodes, several episodes at a time.
pub(crate) fn each_episode<T: Send>(
    episodes: usize,
    candidates: &[f32],
    of: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    let whole = candidates.len() / episodes.max(1);
    (0..episodes).into_par_iter().map(|e| of(e, &candidates[e * whole..][..whole])).collect()
}

impl Imagination {
    /// Rolls out candidates `[S, H, A]` from where one episode stands, on an autodiff device with a tape: what `of` says of each block's
    /// actions `[S, k·A]`, as the world takes them, and of what they lead to, counted from 0, stands where distances do.
    pub(crate) fn roll(
        &self,
        now: &State,
        (candidates, samples): (&[f32], usize),
        device: &Device,
        mut of: impl FnMut(usize, Tensor<2>, &State) -> Tensor<2>,
    ) -> Candidates {
        let Self { model, actions: scale, block, .. } = self;
        let width = block * self.action();
        let steps = candidates.len() / (samples * width).max(1);
        let actions = Candidates::actions(candidates, [samples, steps, width], device);
        let row = |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, width]), &self.device);
        let (mean, deviation) = (row(&scale.mean), row(&scale.std));
        let mut state = now.repeat(samples);
        let distances = (0..steps)
            .map(|t| {
                let taken = actions.clone().narrow(1, t, 1).reshape([samples, width]);
                state = model.step(state.clone(), (taken.clone() - mean.clone()) / deviation.clone());
                of(t, taken, &state)
            })
            .collect();
        Candidates { actions, distances }
    }

    /// How far latents `[S, N, D]` are from a goal `[1, N, D]`, `[S, 1]`: the steps between as far as the model tells them and they are
    /// asked for, else its energy.
    pub(crate) fn apart(&self, gauge: Gauge, latents: Tensor<3>, goal: Tensor<3>) -> Tensor<2> {
        let told = match gauge {
            Gauge::Steps => self.model.steps_to(flat(latents.clone()), flat(goal.clone())),
            Gauge::Latents => None,
        };
        told.unwrap_or_else(|| self.model.energy(latents, goal))
    }
}

impl Imagined<'_> {
    /// Rolls out one episode's candidates `[S, H, A]`; on an autodiff device with a tape.
    fn roll(&self, episode: usize, candidates: &[f32], samples: usize, device: &Device) -> Candidates {
        self.imagination.roll(&self.now[episode], (candidates, samples), device, |_, _, state| {
            self.apart(state.newest().clone(), self.goals[episode].clone())
        })
    }

    /// One episode's candidates `[S, H, A]` and their costs, by an actor with draws `[S, H, A]` besides.
    fn propose(&self, actor: &Pair, episode: usize, draws: &[f32], samples: usize) -> (Vec<f32>, Vec<f32>) {
        let Imagination { model, actions: scale, block, device, .. } = self.imagination;
        let (goal, width) = (&self.goals[episode], block * self.imagination.action());
        let mut state = self.now[episode].repeat(samples);
        let (mut candidates, mut distances) = (vec![0.0; draws.len()], Vec::new());
        let steps = draws.len() / (samples * width);
        for t in 0..steps {
            let (latents, there) = (state.vectors(), flat(goal.clone()));
            let mut would = ops::values(actor.forward(latents.clone(), there.clone()));
            let near = model.steps_to(latents, there).map_or_else(|| vec![f32::INFINITY; samples], ops::values);
            scale.unscale(&mut would, 1);
            let one = |s: usize| (s * steps + t) * width..(s * steps + t + 1) * width;
            for (s, (would, near)) in would.chunks_exact_mut(width).zip(near).enumerate() {
                // Less at random where there is little left to go.
                let share = (near / NEAR).clamp(LEAST, 1.0);
                for (x, draw) in would.iter_mut().zip(&draws[one(s)]) {
                    *x += share * draw;
                }
                would.chunks_exact_mut(width / block).for_each(|action| self.reach.cut(action));
                candidates[one(s)].copy_from_slice(would);
            }
            scale.scale(&mut would, 1);
            state = model.step(state, Tensor::from_data(TensorData::new(would, [samples, width]), device));
            distances.push(self.apart(state.newest().clone(), goal.clone()));
        }
        let costs = along(&distances).into_iter().map(|d| self.cost.of(d)).collect();
        (candidates, costs)
    }

    /// How far latents `[S, N, D]` are from a goal `[1, N, D]`, `[S, 1]`.
    fn apart(&self, latents: Tensor<3>, goal: Tensor<3>) -> Tensor<2> {
        if !self.lifts.is_empty() {
            return (lifted(self.lifts, flat(latents)) - flat(goal)).square().mean_dim(1);
        }
        self.imagination.apart(self.gauge, latents, goal)
    }
}

impl Problem for Imagined<'_> {
    fn episodes(&self) -> usize {
        self.now.len()
    }

    fn action(&self) -> usize {
        self.imagination.action()
    }

    fn reach(&self) -> Reach {
        self.reach
    }

    fn block(&self) -> usize {
        self.imagination.block
    }

    fn costs(&mut self, candidates: &[f32], per_episode: usize, _: usize) -> Vec<f32> {
        let this = &*self;
        each_episode(this.now.len(), candidates, |e, candidates| {
            let mut actions = candidates.to_vec();
            this.imagination.actions.scale(&mut actions, 1);
            let steps = candidates.len() / (per_episode * this.imagination.actions.mean.len()).max(1);
            let (now, goal) = (&this.now[e], &this.goals[e]);
            let model = &this.imagination.model;
            let whole = || model.distances(this.gauge, now, goal, &actions, steps);
            if let Some(distances) = this.lifts.is_empty().then(whole).flatten() {
                let along = distances.chunks_exact(steps.max(1));
                return along.map(|d| this.cost.of(d.iter().copied())).collect();
            }
            this.roll(e, candidates, per_episode, &this.imagination.device).costs(this.cost)
        })
        .concat()
    }

    fn proposals(&mut self, draws: &[f32], per_episode: usize, _: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let this = &*self;
        let actor = this.imagination.model.actor()?;
        let (candidates, costs): (Vec<_>, Vec<_>) =
            each_episode(this.now.len(), draws, |e, draws| this.propose(actor, e, draws, per_episode))
                .into_iter()
                .unzip();
        Some((candidates.concat(), costs.concat()))
    }

    /// Back through the model to the actions: its weights are constants.
    fn gradients(&mut self, candidates: &[f32], per_episode: usize, _: usize) -> Option<(Vec<f32>, Vec<f32>)> {
        let this = &*self;
        let device = this.imagination.device.clone().autodiff();
        let (costs, gradients): (Vec<Vec<f32>>, Vec<Vec<f32>>) =
            each_episode(this.now.len(), candidates, |e, candidates| {
                this.roll(e, candidates, per_episode, &device).slopes(this.cost, &this.imagination.device)
            })
            .into_iter()
            .unzip();
        Some((costs.concat(), gradients.concat()))
    }
}
