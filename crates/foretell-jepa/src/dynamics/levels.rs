//! Levels above a model of frames, each slower and more abstract than the one below (H-JEPA, arXiv 2610.06805; with `lift: false`
//! HWM, arXiv 2604.03208).
//!
//! A level sees every `stride`-th state of the one below, through a map of its own, and predicts its own next state from a few before
//! it and a macro-action: what was done below from one of its states to the next, brought to a few numbers. Macro-actions have mean 0 and
//! variance 1, which the last batch normalisation sees to, so a planner knows which ones there are without having kept any. All levels
//! learn together and shape those below, or one after the other on what lies below as it then is.

use burn::module::Module;
use burn::tensor::Tensor;
use foretell_nn::Backbone;
use foretell_nn::framed::Framed;
use foretell_nn::layers::Pass;
use foretell_nn::level::Level;
use foretell_nn::pair::Pair;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use super::causal::{Learnt, Regularised, forecast, step};
use super::{CausalNetworks, Dynamics, Gauge, Networks, Seen, State, WorldModel};
use crate::sigreg::sigreg;
use crate::{Clock, Latents, Outcome};

/// What follows from macro-actions `[B, M]` at a level, in evaluation mode.
pub fn act(level: &Level, state: State, macros: Tensor<2>) -> State {
    step(&level.predictor, state, macros)
}

/// Of time-major states below, `[T·B, D]`, and actions between them, `[(T − 1)·B, A]`: the states here, `[T'·B, D]`, the
/// macro-actions between those, `[(T' − 1)·B, M]`, and T' = (T − 1) / stride + 1.
fn above(
    level: &Level,
    below: &Tensor<2>,
    actions: &Tensor<2>,
    [t, b]: [usize; 2],
    pass: &mut Pass<'_>,
) -> (Tensor<2>, Tensor<2>, usize) {
    let steps = (t - 1) / level.stride();
    let action = actions.dims()[1];
    let every = |i: usize| below.clone().narrow(0, i * level.stride() * b, b);
    let states = level.lift(Tensor::cat((0..=steps).map(every).collect(), 0));
    let done = actions.clone().narrow(0, 0, steps * level.stride() * b);
    let done = done.reshape([steps, level.stride(), b, action]).swap_dims(1, 2);
    (states, level.act(done.reshape([steps * b, level.stride() * action]), pass), steps + 1)
}

/// When a level learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learning {
    /// All at once; a level shapes those below.
    #[default]
    Together,
    /// One after the other, each for as many steps; what lies below stays as it is.
    InTurn,
}

/// What is set beside the networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levelled {
    /// Of the model of frames.
    pub ground: Regularised,
    /// Weight of SIGReg at each level above.
    pub lambda: f64,
    /// When they learn.
    pub learning: Learning,
}

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct LevelledNetworks<B: Module> {
    /// The model of frames.
    pub ground: CausalNetworks<B>,
    /// What lies above, the lowest first.
    pub levels: Vec<Level>,
}

/// A model of frames and levels above it. Targets have gradients on every level.
pub type Hierarchy<B> = Dynamics<LevelledNetworks<B>>;

impl Levelled {
    /// The level that learns at this step of several in turn; 0 is the model of frames.
    fn turn(clock: &Clock, levels: usize) -> usize {
        let done = clock.step.saturating_sub(1).min(clock.total.saturating_sub(1));
        (done * levels as u64 / clock.total.max(1)) as usize
    }
}

impl<B: Backbone + 'static> LevelledNetworks<B> {
    /// A batch's part of the levels above a model of frames: adds each one's terms.
    fn rise(&self, setting: &Levelled, seen: &Seen<'_>, pass: &mut Pass<'_>, learnt: &mut Learnt) {
        let b = seen.batch.samples;
        let (mut states, mut actions, mut frames) = (learnt.latents.clone(), seen.told.clone(), seen.batch.frames);
        for (level, name) in self.levels.iter().zip(NAMES) {
            (states, actions, frames) = above(level, &states, &actions, [frames, b], pass);
            let (loss, terms, _) = learn(level, setting.lambda, (&states, &actions, [frames, b]), seen, pass);
            learnt.terms.extend(name.into_iter().zip(terms));
            learnt.loss = learnt.loss.clone() + loss;
        }
    }

    /// One level alone, on what lies below as it is.
    fn one(&self, number: usize, setting: &Levelled, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let (b, mut frames, mut statistics) = (seen.batch.samples, seen.batch.frames, Vec::new());
        let mut states = self.ground.encoder.forward(seen.observations.clone(), &mut Pass::Evaluation).detach();
        let mut actions = seen.told.clone();
        for level in &self.levels[..number - 1] {
            let (above, done, t) = above(level, &states, &actions, [frames, b], &mut Pass::Evaluation);
            (states, actions, frames) = (above.detach(), done.detach(), t);
        }
        let level = &self.levels[number - 1];
        let mut pass = Pass::Training(&mut statistics);
        (states, actions, frames) = above(level, &states, &actions, [frames, b], &mut pass);
        let (loss, terms, health) = learn(level, setting.lambda, (&states, &actions, [frames, b]), seen, &mut pass);
        let terms = NAMES[number - 1].into_iter().zip(terms).collect();
        Outcome { loss, terms, latents: clock.health_due.then_some(health), seen: statistics }
    }
}

/// Names of the terms of levels 2, 3 and 4.
const NAMES: [[&str; 2]; 3] = [
    ["prediction, level 2", "sigreg, level 2"],
    ["prediction, level 3", "sigreg, level 3"],
    ["prediction, level 4", "sigreg, level 4"],
];

/// Levels above frames at most.
pub const MOST: usize = NAMES.len();

/// `mean ‖ẑ − z‖² / D + λ · mean over time indices of SIGReg` of its states; the terms untracked, and what was predicted of what.
fn learn(
    level: &Level,
    lambda: f64,
    (states, actions, [t, b]): (&Tensor<2>, &Tensor<2>, [usize; 2]),
    seen: &Seen<'_>,
    pass: &mut Pass<'_>,
) -> (Tensor<1>, [Tensor<1>; 2], Latents) {
    let (ahead, there) = forecast(&level.predictor, states, actions, [t, b], pass);
    let health = Latents { predictions: ahead.clone().inner(), targets: there.clone().inner() };
    let prediction = ops::l2(ahead, there);
    let width = states.dims()[1];
    let regulariser = sigreg(states.clone().reshape([t, b, width]), &seen.batch.directions);
    let terms = [prediction.clone().inner(), regulariser.clone().inner()];
    let loss = if lambda > 0.0 { prediction + regulariser * lambda } else { prediction };
    (loss, terms, health)
}

impl<B: Backbone + 'static> WorldModel for LevelledNetworks<B> {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        self.ground.encode(observations)
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        self.ground.step(state, actions)
    }

    fn history(&self) -> usize {
        self.ground.history()
    }

    fn reach(&self) -> Option<&Pair> {
        self.ground.reach()
    }

    fn actor(&self) -> Option<&Pair> {
        self.ground.actor()
    }

    fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Of plans of the level that acts alone, by its prefixes.
    fn distances(
        &self,
        gauge: Gauge,
        state: &State,
        goal: &Tensor<3>,
        actions: &[f32],
        steps: usize,
    ) -> Option<Vec<f32>> {
        self.ground.distances(gauge, state, goal, actions, steps)
    }
}

impl<B: Backbone + 'static> Networks for LevelledNetworks<B> {
    type Setting = Levelled;
    type Encoder = Framed<B>;

    fn encoder(&self) -> &Framed<B> {
        self.ground.encoder()
    }

    fn acted(&self, actor: &Pair, seen: &Seen<'_>) -> Option<Tensor<1>> {
        self.ground.acted(actor, seen)
    }

    fn loss(&self, setting: &Levelled, seen: &Seen<'_>, clock: &Clock) -> Outcome {
        let turn = match setting.learning {
            Learning::Together => 0,
            Learning::InTurn => Levelled::turn(clock, self.levels.len() + 1),
        };
        if turn > 0 {
            return self.one(turn, setting, seen, clock);
        }
        let mut statistics = Vec::new();
        let mut pass = Pass::Training(&mut statistics);
        let mut learnt = self.ground.learn(&setting.ground, seen, clock, &mut pass);
        if setting.learning == Learning::Together {
            self.rise(setting, seen, &mut pass, &mut learnt);
        }
        let Learnt { loss, terms, health, .. } = learnt;
        Outcome { loss, terms, latents: health, seen: statistics }
    }
}
