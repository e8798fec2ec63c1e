//! EB-JEPA's networks (arXiv 2602.03604): a recurrent state that is the latent, rolled out over several steps, and four terms
//! that keep latents worth foretelling.

use burn::module::Module;
use burn::tensor::Tensor;
use foretell_nn::gru::Gru;
use foretell_nn::layers::{LayerNorm, Linear};
use foretell_nn::observer::Observer;
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use super::model::{STEPS_UNIT, flat, one_token};
use super::{Dynamics, Gauge, Networks, Seen, State, WindowBatch, WorldModel, heads};
use crate::vicreg::{covariance, variance};
use crate::{Clock, Latents, Outcome};

/// Weights of EB-JEPA's terms; the defaults are the paper's (arXiv 2602.03604, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Each dimension varies.
    pub variance: f64,
    /// No two dimensions say the same.
    pub covariance: f64,
    /// Neighbours in time are near.
    pub time_similarity: f64,
    /// The action can be told from the latents around it: keeps what acts, and not what only lies about. Without it the
    /// paper's success falls to 1 %.
    pub inverse_dynamics: f64,
    /// The steps between two places can be told from their latents, which so come to know what bars the way. Ours. With it a
    /// planner can measure by steps.
    pub reach: f64,
    /// What is foretold lies as many steps from a place as what comes: a wall that bars the way matters as much as the way
    /// around it is long. Ours, after value equivalence (arXiv 2011.03506). It needs `reach`, and is nothing without.
    pub reach_ahead: f64,
    /// What was done is told from where one was and where one got nearer to; see [`Networks::acted`]. Latents so come to know what
    /// an action can do. Ours. It needs `reach`, and is nothing without.
    pub actor: f64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            variance: 16.0,
            covariance: 8.0,
            time_similarity: 12.0,
            inverse_dynamics: 1.0,
            reach: 0.0,
            reach_ahead: 0.0,
            actor: 0.0,
        }
    }
}

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct RecurrentNetworks {
    /// Kept after training.
    pub encoder: Observer,
    /// Kept after training: `[action; latent]` to the predictor's input. A GRU's gates are linear in both, and whether a step is
    /// possible is a matter of the two together. None as released: then the input is the action.
    pub mixer: Vec<Linear>,
    /// Kept after training: its state is the latent.
    pub predictor: Gru,
    /// Two latents → the action between; dropped after training.
    pub inverse: Vec<Linear>,
    /// Kept after training: two latents → the steps between. `None` as released.
    pub reach: Option<Pair>,
    /// Kept after training: a latent and one's goal → the action, in the units that the predictor takes. It learns when the
    /// rest has learnt, and beside that too where [`Terms::actor`] asks for it. `None` as released.
    pub actor: Option<Pair>,
}

/// What is set beside the networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollout {
    /// Weights of the terms besides the prediction's, which is 1.
    pub terms: Terms,
    /// Steps that a prediction is rolled out, K.
    pub steps: usize,
    /// Whether predictions alone are drawn to the latents that come, and those not to them.
    pub stop_gradient: bool,
}

/// No target network, and as released no stop-gradient; the regulariser alone keeps latents apart.
pub type Recurrent = Dynamics<RecurrentNetworks>;

impl RecurrentNetworks {
    /// `norm(GRU(action, latent))`: the norm is the encoder's, so that predictions live where encodings do.
    fn next(&self, latents: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        let both = if self.mixer.is_empty() { actions } else { Tensor::cat(vec![actions, latents.clone()], 1) };
        let input = self.mixer.iter().fold(both, |x, layer| ops::relu(layer.forward(x)));
        self.encoder.normalise(self.predictor.forward(input, latents))
    }

    /// For each k from 1 to `steps`, the latents predicted k steps ahead and those encoded there, `[(T − k)·B, D]` each:
    /// every observation is a beginning, and predictions are predicted from.
    fn unrolled(&self, latents: &Tensor<2>, seen: &Seen<'_>, steps: usize, stop: bool) -> Vec<(Tensor<2>, Tensor<2>)> {
        let (rows, b) = (seen.batch.frames * seen.batch.samples, seen.batch.samples);
        let mut state = latents.clone();
        let there = if stop { latents.clone().detach() } else { latents.clone() };
        (1..=steps.min(seen.batch.frames - 1))
            .map(|k| {
                let beginnings = rows - k * b;
                let acted = seen.actions.clone().narrow(0, (k - 1) * b, beginnings);
                state = self.next(state.clone().narrow(0, 0, beginnings), acted);
                (state.clone(), there.clone().narrow(0, k * b, beginnings))
            })
            .collect()
    }

    /// The actions that the latents around them tell, `[(T − 1)·B, A]`.
    fn inverse(&self, latents: &Tensor<2>, batch: &WindowBatch) -> Tensor<2> {
        let between = (batch.frames - 1) * batch.samples;
        let before = latents.clone().narrow(0, 0, between);
        let mut x = Tensor::cat(vec![before, latents.clone().narrow(0, batch.samples, between)], 1);
        for (i, layer) in self.inverse.iter().enumerate() {
            x = layer.forward(if i > 0 { ops::relu(x) } else { x });
        }
        x
    }
}

impl WorldModel for RecurrentNetworks {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        one_token(self.encoder.forward(observations))
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        let next = self.next(state.vectors(), actions.clone());
        state.then(actions, one_token(next), 1)
    }

    fn history(&self) -> usize {
        1
    }

    fn reach(&self) -> Option<&Pair> {
        self.reach.as_ref()
    }

    fn actor(&self) -> Option<&Pair> {
        self.actor.as_ref()
    }
}

/// The networks with their weights packed for planning.
struct Packed {
    networks: RecurrentNetworks,
    rollout: ops::GruRollout,
}

impl WorldModel for Packed {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        self.networks.encode(observations)
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        self.networks.step(state, actions)
    }

    fn history(&self) -> usize {
        self.networks.history()
    }

    fn reach(&self) -> Option<&Pair> {
        self.networks.reach.as_ref()
    }

    fn actor(&self) -> Option<&Pair> {
        self.networks.actor.as_ref()
    }

    fn distances(
        &self,
        gauge: Gauge,
        state: &State,
        goal: &Tensor<3>,
        actions: &[f32],
        steps: usize,
    ) -> Option<Vec<f32>> {
        let state = ops::values(state.newest().clone());
        match (gauge, &self.networks.reach) {
            (Gauge::Latents, _) => Some(self.rollout.distances(&state, &ops::values(goal.clone()), actions, steps)),
            (Gauge::Steps, Some(reach)) => {
                let goal = ops::values(reach.of_goal(flat(goal.clone())));
                self.rollout.perceived(&state, &goal, actions, steps)
            }
            (Gauge::Steps, None) => None,
        }
    }
}

impl Networks for RecurrentNetworks {
    type Setting = Rollout;
    type Encoder = Observer;

    fn encoder(&self) -> &Observer {
        &self.encoder
    }

    /// Packed, where the weights lie in the processor's memory.
    fn planner_model(self) -> Box<dyn WorldModel + Send + Sync> {
        let Gru { weight_ih, weight_hh, bias_ih, bias_hh } = &self.predictor;
        let norm = self.encoder.norm().map(LayerNorm::parts);
        let mixer = self.mixer.iter().map(|m| (m.weight.val(), m.bias.val())).collect();
        let (input, recurrent) = ((weight_ih.val(), bias_ih.val()), (weight_hh.val(), bias_hh.val()));
        let perceptron = self.reach.as_ref().map(|head| head.parts(STEPS_UNIT));
        match ops::GruRollout::new(mixer, input, recurrent, norm, perceptron) {
            Some(rollout) => Box::new(Packed { networks: self, rollout }),
            None => Box::new(self),
        }
    }

    fn acted(&self, actor: &Pair, seen: &Seen<'_>) -> Option<Tensor<1>> {
        let (head, places) = (self.reach.as_ref()?, seen.places.clone()?);
        let (latents, places) = (self.encoder.forward(seen.observations.clone()), self.encoder.forward(places));
        Some(heads::regressed(actor, head, &latents, &places, seen, seen.batch.places))
    }

    fn loss(&self, setting: &Rollout, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let batch = seen.batch;
        let latents = self.encoder.forward(seen.observations.clone());
        let steps = self.unrolled(&latents, seen, setting.steps, setting.stop_gradient);
        let Terms { reach, reach_ahead, actor, .. } = setting.terms;
        let mut between = Vec::new();
        if let Some((head, places)) = self.reach.as_ref().zip(seen.places.clone()) {
            let places = self.encoder.forward(places);
            between.push(("reach", reach, heads::told(head, places.clone(), batch)));
            if reach_ahead > 0.0 {
                between.push(("reach_ahead", reach_ahead, heads::told_ahead(head, places.clone(), &steps, batch)));
            }
            if let Some(network) = self.actor.as_ref().filter(|_| actor > 0.0) {
                between.push(("actor", actor, heads::regressed(network, head, &latents, &places, seen, heads::GOALS)));
            }
        }
        let farthest = clock.health_due.then(|| steps.last().cloned()).flatten();
        let count = steps.len() as f64;
        let prediction =
            steps.into_iter().map(|(ahead, there)| ops::l2(ahead, there)).reduce(|a, b| a + b).expect("a step") / count;
        let before = (batch.frames - 1) * batch.samples;
        let (now, next) = (latents.clone().narrow(0, 0, before), latents.clone().narrow(0, batch.samples, before));
        let Terms { variance: spread, covariance: apart, time_similarity, inverse_dynamics, .. } = setting.terms;
        let weighted = [
            ("variance", spread, variance(latents.clone())),
            ("covariance", apart, covariance(latents.clone())),
            ("time_similarity", time_similarity, ops::l2(next, now)),
            ("inverse_dynamics", inverse_dynamics, ops::l2(self.inverse(&latents, batch), seen.told.clone())),
        ];
        let mut terms = vec![("prediction", prediction.clone().inner())];
        let mut loss = prediction;
        for (name, weight, value) in weighted.into_iter().chain(between) {
            terms.push((name, value.clone().inner()));
            loss = loss + value * weight;
        }
        let latents = farthest.map(|(ahead, there)| Latents { predictions: ahead.inner(), targets: there.inner() });
        Outcome { loss, terms, latents, seen: Vec::new() }
    }
}

impl Recurrent {
    /// For each k from 1 to K, the latents predicted k steps ahead and those encoded there, `[(T − k)·B, D]` each.
    pub fn unroll(&self, networks: &RecurrentNetworks, batch: &WindowBatch) -> Vec<(Tensor<2>, Tensor<2>)> {
        let seen = self.inferred(networks, batch);
        let latents = networks.encoder.forward(seen.observations.clone());
        networks.unrolled(&latents, &seen, self.setting.steps, false)
    }
}
