//! LeWorldModel's networks (arXiv 2603.19312): one vector a frame, a causal transformer conditioned on actions, two terms.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use foretell_nn::Backbone;
use foretell_nn::causal::CausalPredictor;
use foretell_nn::framed::Framed;
use foretell_nn::layers::Pass;
use foretell_nn::pair::Pair;
use foretell_nn::prefixes::Prefixes;
use foretell_ops as ops;

use super::model::{flat, one_token};
use super::{Dynamics, Gauge, Networks, Seen, State, WorldModel, heads, stretches};
use crate::sigreg::sigreg;
use crate::{Clock, Latents, Outcome};

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct CausalNetworks<B: Module> {
    /// Kept after training.
    pub encoder: Framed<B>,
    /// Kept after training.
    pub predictor: CausalPredictor,
    /// Kept after training: two latents → the steps between. `None` as released.
    pub reach: Option<Pair>,
    /// Kept after training: a latent and one's goal → the action, in the units that the predictor takes. It learns when the rest has
    /// learnt. `None` as released.
    pub actor: Option<Pair>,
    /// Kept after training: what follows every prefix of a plan's actions, in one pass. `None` as released.
    pub prefixes: Option<Prefixes>,
}

/// What is set beside the networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularised {
    /// λ in `prediction + λ SIGReg`, where SIGReg's statistic grows with the windows in a batch: the same λ pulls twice as
    /// hard on twice the batch.
    pub lambda: f64,
    /// Weight of what is off in the steps between the places that windows bring along. Ours.
    pub reach: f64,
    /// Whether latents learn from it too, so that they come to know what bars the way.
    pub shapes: bool,
    /// Weight of what is off in the latents after each prefix of a window's actions. Ours beside the predictor, after arXiv 2606.26217.
    pub prefixes: f64,
}

/// Teacher forcing over every position, gradients on both sides: no target network and no stop-gradient.
pub type Causal<B> = Dynamics<CausalNetworks<B>>;

/// The latents after each position of every stretch of the history's length and those that came, `[R, D]` each, of time-major latents
/// `[T·B, D]` and actions `[(T − 1)·B, A]`. A window of one frame more than the history is one stretch: the paper's.
pub(super) fn forecast(
    predictor: &CausalPredictor,
    latents: &Tensor<2>,
    actions: &Tensor<2>,
    [t, b]: [usize; 2],
    pass: &mut Pass<'_>,
) -> (Tensor<2>, Tensor<2>) {
    let length = predictor.history().min(t - 1);
    let count = t - length;
    let [width, action] = [latents.dims()[1], actions.dims()[1]];
    let rows = count * b * length;
    let before = stretches(latents, [t, b], 0, count, length);
    let actions = stretches(actions, [t - 1, b], 0, count, length).reshape([rows, action]);
    let after = stretches(latents, [t, b], 1, count, length).reshape([rows, width]);
    (predictor.forward(before, actions, pass), after)
}

/// A state after actions `[B, A]`, by a predictor that looks back.
pub(super) fn step(predictor: &CausalPredictor, state: State, actions: Tensor<2>) -> State {
    let (latents, length) = (state.latents(), state.latents().len());
    let [b, action] = actions.dims();
    let before = Tensor::cat(latents.to_vec(), 1);
    let acted = state.actions().iter().chain([&actions]).map(|taken| one_token(taken.clone())).collect();
    let next = predictor.next(before, Tensor::cat(acted, 1).reshape([b * length, action]));
    state.then(actions, one_token(next), predictor.history())
}

/// What a batch taught the networks of a frame.
pub(super) struct Learnt {
    /// Tracked.
    pub loss: Tensor<1>,
    /// Untracked, by their names.
    pub terms: Vec<(&'static str, Tensor<1>)>,
    /// Where they are wanted.
    pub health: Option<Latents>,
    /// Of all frames, `[T·B, D]`.
    pub latents: Tensor<2>,
}

impl<B: Backbone + 'static> CausalNetworks<B> {
    /// `mean ‖ẑ − z‖² / D + λ · mean over time indices of SIGReg`, SIGReg over the B latents of one time index; and what is off in the
    /// steps between places, where they are told.
    pub(super) fn learn(&self, setting: &Regularised, seen: &Seen<'_>, clock: &Clock, pass: &mut Pass<'_>) -> Learnt {
        let (t, b) = (seen.batch.frames, seen.batch.samples);
        // Places are seen with the frames: a batch's statistics are of all that it shows.
        let told = self.reach.as_ref().zip(seen.places.clone()).filter(|_| setting.reach > 0.0);
        let (latents, told) = match told {
            Some((head, places)) => {
                let all = Tensor::cat(vec![seen.observations.clone(), places], 0);
                let all = self.encoder.forward(all, pass);
                let places = all.clone().narrow(0, t * b, all.dims()[0] - t * b);
                let places = if setting.shapes { places } else { places.detach() };
                (all.narrow(0, 0, t * b), Some(heads::told(head, places, seen.batch)))
            }
            None => (self.encoder.forward(seen.observations.clone(), pass), None),
        };
        let (ahead, there) = forecast(&self.predictor, &latents, &seen.actions, [t, b], pass);
        let health =
            clock.health_due.then(|| Latents { predictions: ahead.clone().inner(), targets: there.clone().inner() });
        let prediction = ops::l2(ahead, there);
        let regulariser = sigreg(latents.clone().reshape([t, b, latents.dims()[1]]), &seen.batch.directions);
        let mut terms = vec![("prediction", prediction.clone().inner()), ("sigreg", regulariser.clone().inner())];
        let mut loss = prediction + regulariser * setting.lambda;
        if let Some(told) = told {
            terms.push(("reach", told.clone().inner()));
            loss = loss + told * setting.reach;
        }
        if let Some(prefixes) = self.prefixes.as_ref().filter(|_| setting.prefixes > 0.0) {
            let off = off_by_prefix(prefixes, &latents, &seen.told, [t, b]);
            terms.push(("prefixes", off.clone().inner()));
            loss = loss + off * setting.prefixes;
        }
        Learnt { loss, terms, health, latents }
    }
}

/// The mean squared error of the latents after each prefix of the actions from the first frame on, of time-major latents `[T·B, D]` and
/// actions `[(T − 1)·B, A]`; gradients on both sides.
fn off_by_prefix(prefixes: &Prefixes, latents: &Tensor<2>, actions: &Tensor<2>, [t, b]: [usize; 2]) -> Tensor<1> {
    let ([_, d], [_, a]) = (latents.dims(), actions.dims());
    let h = prefixes.horizon().min(t - 1);
    let done = actions.clone().reshape([t - 1, b, a]).narrow(0, 0, h).swap_dims(0, 1);
    let there = latents.clone().reshape([t, b, d]).narrow(0, 1, h).swap_dims(0, 1);
    let ahead = prefixes.forward(latents.clone().narrow(0, 0, b), done);
    ops::l2(ahead, there)
}

impl<B: Backbone + 'static> WorldModel for CausalNetworks<B> {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        one_token(self.encoder.forward(observations, &mut Pass::Evaluation))
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        step(&self.predictor, state, actions)
    }

    fn history(&self) -> usize {
        self.predictor.history()
    }

    fn reach(&self) -> Option<&Pair> {
        self.reach.as_ref()
    }

    fn actor(&self) -> Option<&Pair> {
        self.actor.as_ref()
    }

    /// By prefixes, where they are learnt: as many passes as horizons that a plan is long.
    fn distances(
        &self,
        gauge: Gauge,
        state: &State,
        goal: &Tensor<3>,
        actions: &[f32],
        steps: usize,
    ) -> Option<Vec<f32>> {
        let prefixes = self.prefixes.as_ref()?;
        let told = |latents: Tensor<2>| match gauge {
            Gauge::Steps => self.steps_to(latents, flat(goal.clone())),
            Gauge::Latents => Some(self.energy(one_token(latents), goal.clone())),
        };
        let (begin, device) = (state.vectors(), goal.device());
        let ([_, d], action) = (begin.dims(), self.predictor.action());
        let samples = actions.len() / (steps * action).max(1);
        let actions = Tensor::<3>::from_data(TensorData::new(actions.to_vec(), [samples, steps, action]), &device);
        let (mut here, mut along) = (begin.repeat_dim(0, samples), Vec::new());
        for first in (0..steps).step_by(prefixes.horizon()) {
            let h = prefixes.horizon().min(steps - first);
            let ahead = prefixes.forward(here, actions.clone().narrow(1, first, h));
            here = ahead.clone().narrow(1, h - 1, 1).reshape([samples, d]);
            along.push(told(ahead.reshape([samples * h, d]))?.reshape([samples, h]));
        }
        Some(ops::values(Tensor::cat(along, 1)))
    }
}

impl<B: Backbone + 'static> Networks for CausalNetworks<B> {
    type Setting = Regularised;
    type Encoder = Framed<B>;

    fn encoder(&self) -> &Framed<B> {
        &self.encoder
    }

    /// By what came of an action where steps are told, else by what was done on the way from each frame to a later one.
    fn acted(&self, actor: &Pair, seen: &Seen<'_>) -> Option<Tensor<1>> {
        let latents = |observations| self.encoder.forward(observations, &mut Pass::Evaluation);
        let frames = latents(seen.observations.clone());
        Some(match (&self.reach, seen.places.clone()) {
            (Some(head), Some(places)) => {
                heads::regressed(actor, head, &frames, &latents(places), seen, seen.batch.places)
            }
            _ => heads::inverse(actor, &frames, seen),
        })
    }

    fn loss(&self, setting: &Regularised, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let mut statistics = Vec::new();
        let Learnt { loss, terms, health, .. } = self.learn(setting, seen, clock, &mut Pass::Training(&mut statistics));
        Outcome { loss, terms, latents: health, seen: statistics }
    }
}
