//! LeWorldModel's networks (arXiv 2603.19312): one vector a frame, a causal transformer conditioned on actions, two terms.

use burn::module::Module;
use burn::tensor::Tensor;
use foretell_nn::Backbone;
use foretell_nn::causal::CausalPredictor;
use foretell_nn::framed::Framed;
use foretell_nn::layers::Pass;
use foretell_ops as ops;

use super::model::one_token;
use super::{Dynamics, Networks, Seen, State, WorldModel};
use crate::sigreg::sigreg;
use crate::{Clock, Latents, Outcome};

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct CausalNetworks<B: Module> {
    /// Kept after training.
    pub encoder: Framed<B>,
    /// Kept after training.
    pub predictor: CausalPredictor,
}

/// What is set beside the networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularised {
    /// λ in `prediction + λ SIGReg`, where SIGReg's statistic grows with the windows in a batch: the same λ pulls twice as
    /// hard on twice the batch.
    pub lambda: f64,
}

/// Teacher forcing over every position, gradients on both sides: no target network and no stop-gradient.
pub type Causal<B> = Dynamics<CausalNetworks<B>>;

/// Every stretch of `length` steps of time-major rows `[T·B, D]`, as `[S·B, length, D]`: those that begin at `from` first.
fn stretches(rows: &Tensor<2>, [frames, samples]: [usize; 2], from: usize, count: usize, length: usize) -> Tensor<3> {
    let width = rows.dims()[1];
    let rows = rows.clone().reshape([frames, samples, width]);
    let stretch = |s: usize| rows.clone().narrow(0, from + s, length).swap_dims(0, 1);
    Tensor::cat((0..count).map(stretch).collect(), 0)
}

impl<B: Backbone + 'static> CausalNetworks<B> {
    /// The latents after each position of every stretch of the history's length and those encoded there, `[R, D]` each, and
    /// the latents of all frames, `[T·B, D]`. A window of one frame more than the history is one stretch: the paper's.
    fn forecast(&self, seen: &Seen<'_>, pass: &mut Pass<'_>) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let (t, b) = (seen.batch.frames, seen.batch.samples);
        let latents = self.encoder.forward(seen.observations.clone(), pass);
        let length = self.predictor.history().min(t - 1);
        let count = t - length;
        let [width, action] = [latents.dims()[1], seen.actions.dims()[1]];
        let rows = count * b * length;
        let before = stretches(&latents, [t, b], 0, count, length);
        let actions = stretches(&seen.actions, [t - 1, b], 0, count, length).reshape([rows, action]);
        let after = stretches(&latents, [t, b], 1, count, length).reshape([rows, width]);
        (self.predictor.forward(before, actions, pass), after, latents)
    }
}

impl<B: Backbone + 'static> WorldModel for CausalNetworks<B> {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        one_token(self.encoder.forward(observations, &mut Pass::Evaluation))
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        let (latents, length) = (state.latents(), state.latents().len());
        let [b, action] = actions.dims();
        let before = Tensor::cat(latents.to_vec(), 1);
        let acted = state.actions().iter().chain([&actions]).map(|taken| one_token(taken.clone())).collect();
        let next = self.predictor.next(before, Tensor::cat(acted, 1).reshape([b * length, action]));
        state.then(actions, one_token(next), self.history())
    }

    fn history(&self) -> usize {
        self.predictor.history()
    }
}

impl<B: Backbone + 'static> Networks for CausalNetworks<B> {
    type Setting = Regularised;
    type Encoder = Framed<B>;

    fn encoder(&self) -> &Framed<B> {
        &self.encoder
    }

    /// `mean ‖ẑ − z‖² / D + λ · mean over time indices of SIGReg`, SIGReg over the B latents of one time index.
    fn loss(&self, setting: &Regularised, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let mut statistics = Vec::new();
        let (ahead, there, latents) = self.forecast(seen, &mut Pass::Training(&mut statistics));
        let width = latents.dims()[1];
        let health =
            clock.health_due.then(|| Latents { predictions: ahead.clone().inner(), targets: there.clone().inner() });
        let prediction = ops::l2(ahead, there);
        let each_time = latents.reshape([seen.batch.frames, seen.batch.samples, width]);
        let regulariser = sigreg(each_time, &seen.batch.directions);
        let terms = vec![("prediction", prediction.clone().inner()), ("sigreg", regulariser.clone().inner())];
        let loss = prediction + regulariser * setting.lambda;
        Outcome { loss, terms, latents: health, seen: statistics }
    }
}
