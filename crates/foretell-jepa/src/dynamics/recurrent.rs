//! EB-JEPA's networks (arXiv 2602.03604): a recurrent state that is the latent, rolled out over several steps, and four terms
//! that keep latents worth foretelling.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use foretell_nn::gru::Gru;
use foretell_nn::layers::{LayerNorm, Linear};
use foretell_nn::observer::Observer;
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use super::model::{STEPS_UNIT, flat, one_token};
use super::{Dynamics, Gauge, Networks, Seen, State, WindowBatch, WorldModel};
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

/// Steps that are added to those that a share is of: near a place one step more or less is not much.
const NEAR: f64 = 10.0;
/// How much more an action counts for each step that it led nearer: e^β.
const BETA: f64 = 4.0;
/// Limits of β times those steps: no action counts for everything.
const ADVANTAGE: (f64, f64) = (-6.0, 4.0);
/// Places of its window that each action is held against beside the other terms, where all of them would cost too much.
const GOALS: usize = 4;

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

/// Steps that the head tells from each start `[N, H]` to its goal, `[N, 1]`.
fn steps(head: &Pair, start: Tensor<2>, goal: Tensor<2>) -> Tensor<2> {
    head.between(start, goal) * STEPS_UNIT
}

/// For each of the first `frames` observations of every window, time-major, the row `b·K + (t + turn) mod K` of one of its
/// window's K places, another at each t.
fn a_place(batch: &WindowBatch, frames: usize, turn: usize) -> Vec<u32> {
    let of = |row: usize| {
        let (t, b) = (row / batch.samples, row % batch.samples);
        (b * batch.places + (t + turn) % batch.places) as u32
    };
    (0..frames * batch.samples).map(of).collect()
}

/// Between places.
impl RecurrentNetworks {
    /// How far the steps that the latents `[B·K, D]` of places tell are from those that lie between, in units of
    /// [`STEPS_UNIT`]: the mean over the pairs between which a way is known.
    fn told(head: &Pair, latents: Tensor<2>, batch: &WindowBatch) -> Tensor<1> {
        let (b, k, device) = (batch.samples, batch.places, latents.device());
        let width = |x: &Tensor<2>| x.dims()[1];
        let pairs = |x: Tensor<2>, axis: usize| {
            let h = width(&x);
            let shape = if axis == 1 { [b, 1, k, h] } else { [b, k, 1, h] };
            x.reshape(shape).repeat_dim(axis, k).reshape([b * k * k, h])
        };
        let told = steps(head, pairs(head.of_start(latents.clone()), 2), pairs(head.of_goal(latents), 1));
        let known: Vec<f32> = batch.place_steps.iter().map(|s| f32::from(u8::from(s.is_finite()))).collect();
        let between = batch.place_steps.iter().map(|s| if s.is_finite() { *s } else { 0.0 }).collect::<Vec<f32>>();
        let count = known.iter().sum::<f32>().max(1.0);
        let column = |values| Tensor::<2>::from_data(TensorData::new(values, [b * k * k, 1]), &device);
        let off = (told - column(between)).abs() * column(known);
        off.sum() / (f64::from(count) * STEPS_UNIT)
    }

    /// How far the steps to a place are that what is foretold tells from those that what comes tells, as a share of them and
    /// [`NEAR`]: of the latents k steps ahead, `[(T − k)·B, D]`, to one of the window's places, `[B·K, D]`.
    fn told_ahead(head: &Pair, places: Tensor<2>, ahead: &[(Tensor<2>, Tensor<2>)], batch: &WindowBatch) -> Tensor<1> {
        let goals = head.of_goal(places.detach());
        let of_step = |(k, (ahead, there)): (usize, &(Tensor<2>, Tensor<2>))| {
            let goals = ops::gather(goals.clone(), &a_place(batch, ahead.dims()[0] / batch.samples, k));
            let told = |latents: &Tensor<2>| steps(head, head.of_start(latents.clone()), goals.clone());
            let there = told(there).detach();
            ((told(ahead) - there.clone()).abs() / (there.clamp_min(0.0) + NEAR)).mean()
        };
        // 1, 2, 4, … steps ahead say as much as all of them, for less.
        let chosen = ahead.iter().enumerate().filter(|(k, _)| (k + 1).is_power_of_two());
        let shares: Vec<Tensor<1>> = chosen.map(of_step).collect();
        let count = shares.len() as f64;
        shares.into_iter().reduce(|a, b| a + b).expect("a step") / count
    }

    /// Advantage-weighted regression (arXiv 1910.00177) in hindsight: places of a window are goals for each of its actions, and an
    /// action counts for as much as the steps fell that the head tells. A wall that bars the way is smooth in what is foretold
    /// and sharp in what followed: nothing foretold teaches the actor. Of latents `[T·B, D]` and of places `[B·K, D]`, the
    /// first `goals` of each window; where latents have a gradient it goes through what the actor sees of where it is, alone.
    fn regressed(
        actor: &Pair,
        head: &Pair,
        latents: &Tensor<2>,
        places: &Tensor<2>,
        seen: &Seen<'_>,
        goals: usize,
    ) -> Tensor<1> {
        let WindowBatch { frames: t, samples: b, places: k, .. } = *seen.batch;
        let [_, d] = places.dims();
        let n = goals.min(k);
        let places = places.clone().detach().reshape([b, k, d]).narrow(1, 0, n).reshape([b * n, d]);
        // [T, B, N, ..] of what is [T·B, H] and of what is [B·N, H].
        let standing = |x: Tensor<2>, frames: usize| {
            let [_, h] = x.dims();
            x.reshape([frames, b, 1, h]).repeat_dim(2, n).reshape([frames * b * n, h])
        };
        let wanted = |x: Tensor<2>, frames: usize| {
            let [_, h] = x.dims();
            x.reshape([1, b, n, h]).repeat_dim(0, frames).reshape([frames * b * n, h])
        };
        let start = standing(head.of_start(latents.clone().detach()).detach(), t);
        let left = steps(head, start, wanted(head.of_goal(places.clone()).detach(), t)).detach();
        let before = (t - 1) * b * n;
        let nearer = left.clone().narrow(0, 0, before) - left.narrow(0, b * n, before);
        let weight = (nearer * BETA).clamp(ADVANTAGE.0, ADVANTAGE.1).exp();
        let now = actor.of_start(latents.clone().narrow(0, 0, (t - 1) * b));
        let would = actor.between(standing(now, t - 1), wanted(actor.of_goal(places), t - 1));
        let off = (would - standing(seen.actions.clone(), t - 1)).square().mean_dim(1);
        (off * weight.clone()).sum() / weight.sum()
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
        Some(Self::regressed(actor, head, &latents, &places, seen, seen.batch.places))
    }

    fn loss(&self, setting: &Rollout, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let batch = seen.batch;
        let latents = self.encoder.forward(seen.observations.clone());
        let steps = self.unrolled(&latents, seen, setting.steps, setting.stop_gradient);
        let Terms { reach, reach_ahead, actor, .. } = setting.terms;
        let mut between = Vec::new();
        if let Some((head, places)) = self.reach.as_ref().zip(seen.places.clone()) {
            let places = self.encoder.forward(places);
            between.push(("reach", reach, Self::told(head, places.clone(), batch)));
            if reach_ahead > 0.0 {
                between.push(("reach_ahead", reach_ahead, Self::told_ahead(head, places.clone(), &steps, batch)));
            }
            if let Some(network) = self.actor.as_ref().filter(|_| actor > 0.0) {
                between.push(("actor", actor, Self::regressed(network, head, &latents, &places, seen, GOALS)));
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
            ("inverse_dynamics", inverse_dynamics, ops::l2(self.inverse(&latents, batch), seen.actions.clone())),
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
        let seen = self.seen(batch);
        let latents = networks.encoder.forward(seen.observations.clone());
        networks.unrolled(&latents, &seen, self.setting.steps, false)
    }
}
