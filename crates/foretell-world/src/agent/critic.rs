//! The critic `TC(s) = Σ v_j TC_j(s)`: what the intrinsic cost will be from a state on, learnt from memory. It foretells each term by itself, so
//! that the configurator's weights act on it as they do on the intrinsic cost, and another task needs no other critic. Each is foretold for
//! the distance that is left: at the goal nothing is to come, however little has been learnt, and the least cost is there.

use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_nn::pair::Pair;
use foretell_nn::{NamedTensors, weights};
use foretell_train::TrainError;

use super::intrinsic::{IntrinsicCost, Percept};
use super::lessons::{Lessons, Pace};

/// γ: what a step of the model is worth of the one before. A goal 50 steps off still counts.
pub const DISCOUNT: f32 = 0.98;
/// Added to the distance that is left: what is near enough.
const NEAR: f32 = 0.02;
/// More than this for each distance is a detour that says nothing of the way.
const MOST: f32 = 4.0;
/// Width of its hidden layers.
const HIDDEN: usize = 256;
/// The round of the stream of lives that its batches are drawn from.
const LESSONS: u64 = u64::MAX;
/// Terms that it foretells: distance and hazard.
const TERMS: usize = 2;

/// See the module.
#[derive(Clone)]
pub struct Critic {
    /// Of a state and the goal, `[N, D]` each → `[N, 2]`.
    pair: Pair,
}

impl Critic {
    /// A fresh one for latents of this width, the same for the same seed.
    pub fn new(width: usize, seed: u64, device: &Device) -> Self {
        Self { pair: Pair::new(width, HIDDEN, TERMS, &mut rng(seed, Stream::Init, 30, 1), device) }
    }

    /// The same one after it has learnt what came.
    pub(super) fn learnt(lessons: &Lessons, width: usize, pace: Pace, seed: u64, device: &Device) -> Self {
        let fresh = Self::new(width, seed, &device.clone().autodiff());
        Self { pair: lessons.learnt(fresh.pair, pace, (seed, LESSONS), device) }
    }

    /// What is to be said of a moment from which that came: both for the distance that was left.
    pub(super) fn lesson(now: Percept, came: [f32; TERMS]) -> [f32; TERMS] {
        came.map(|came| (came / (now.distance + NEAR)).min(MOST))
    }

    /// What it foretells of states `[S, D]`, so far from a goal `[1, D]`, `[S, 1]`: distance and hazard, `[S, 2]`, as weighted means of all that
    /// comes.
    pub fn foretold(&self, states: Tensor<2>, goal: Tensor<2>, distances: Tensor<2>) -> Tensor<2> {
        // No term is ever negative.
        self.pair.forward(states, goal).clamp_min(0.0) * (distances + NEAR)
    }

    /// What is left of the intrinsic cost from these states on, `[S, 1]`: the sum of all that comes, in units of one step.
    pub fn rest(&self, cost: &IntrinsicCost, states: Tensor<2>, goal: Tensor<2>, distances: Tensor<2>) -> Tensor<2> {
        let drives = cost.drives();
        let foretold = self.foretold(states, goal, distances);
        let term = |j: usize| foretold.clone().narrow(1, j, 1);
        (term(0) * drives.distance + term(1) * drives.hazard) / f64::from(1.0 - DISCOUNT)
    }

    /// Its tensors.
    pub fn state(&self) -> NamedTensors {
        weights::read(&self.pair, "")
    }

    /// With these tensors.
    pub fn with(self, state: NamedTensors) -> Result<Self, TrainError> {
        Ok(Self { pair: weights::load_whole(self.pair, state)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::intrinsic::Drives;
    use crate::agent::memory::futures;
    use foretell_ops as ops;

    /// A walk along a line, one unit a step towards the goal at 0, where it stays; a hazard at 3. Latents are the place and a 1.
    fn line() -> (Lessons, Vec<[f32; 2]>) {
        let mut lessons = Lessons::new(2);
        let goal = lessons.add(&[0.0, 1.0]);
        let mut known = Vec::new();
        for start in 1..=6_u8 {
            let places: Vec<f32> = (0..=start).rev().map(f32::from).collect();
            let percept = |x: &f32| Percept { distance: *x, hazard: f32::from(u8::from(*x == 3.0)), effort: 0.0 };
            let came = futures(&places.iter().map(percept).collect::<Vec<_>>(), 1);
            for ((place, came), percept) in places.iter().zip(&came).zip(places.iter().map(percept)) {
                let from = lessons.add(&[*place, 1.0]);
                lessons.say(from, goal, &Critic::lesson(percept, *came));
            }
            known.push(came[0]);
        }
        (lessons, known)
    }

    #[test]
    fn it_learns_a_cost_to_go_that_is_known() {
        let device = Device::default();
        let (lessons, known) = line();
        let states = || {
            Tensor::<2>::from_data([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [4.0, 1.0], [5.0, 1.0], [6.0, 1.0]], &device)
        };
        let goal = || Tensor::<2>::from_data([[0.0, 1.0]], &device);
        let distances = || states().narrow(1, 0, 1);
        let off = |critic: &Critic| {
            let told = ops::values(critic.foretold(states(), goal(), distances()));
            told.iter().zip(known.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let learnt = Critic::learnt(&lessons, 2, (400, 32, 3e-3), 1, &device);
        let (off, before) = (off(&learnt), off(&Critic::new(2, 1, &device)));
        assert!(off < 0.02 && before > 5.0 * off, "{off} after learning, {before} before");
        // From 6 the distances to come are 5, 4, 3, 2, 1 and one hazard, three steps on.
        let by_hand: f32 = [5.0, 4.0, 3.0, 2.0, 1.0].iter().zip(0..).map(|(d, k)| d * DISCOUNT.powi(k)).sum();
        let cost = IntrinsicCost::new(Drives { distance: 1.0, hazard: 2.0, effort: 0.0 });
        let rest = ops::values(learnt.rest(&cost, states(), goal(), distances()))[5];
        let expected = by_hand + 2.0 * DISCOUNT.powi(2);
        assert!((rest - expected).abs() < 1.5, "{rest} and {expected}");
    }
}
