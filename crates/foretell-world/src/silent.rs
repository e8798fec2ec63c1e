//! Control over a link that is silent most of the time, in the spirit of TS-JEPA for remote control (Girgis, Valcarce and Bennis, arXiv
//! 2406.04853, of which no code is public): a camera's picture comes every so many steps, and between two of them whoever
//! controls goes by what it takes to be there.

use burn::tensor::{Tensor, TensorData};
use foretell_jepa::dynamics::State;
use rayon::prelude::*;

use crate::evaluate::{Agent, Now, Turn};
use crate::imagination::Imagination;
use crate::planner::PlannerError;
use crate::policy::GoalPolicy;

/// What a controller goes by while nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The model's latents, which go on from the last picture with what was done since.
    Foretold,
    /// The last picture: what it does there is what it did.
    Held,
}

/// What is known of one episode.
struct Mind {
    state: State,
    goal: Tensor<3>,
    /// In the world's units.
    done: Vec<f32>,
}

/// An actor on a model's latents that sees every so many steps.
pub struct Silent<'a> {
    imagination: &'a Imagination,
    actor: &'a GoalPolicy<'a>,
    every: u64,
    between: Between,
    minds: Vec<Mind>,
}

impl<'a> Silent<'a> {
    /// An agent that has seen nothing yet. `actor` must look with `imagination`, whose blocks are single actions; a picture
    /// comes every `every` steps, the first at the start.
    pub fn new(imagination: &'a Imagination, actor: &'a GoalPolicy<'a>, every: u64, between: Between) -> Self {
        Self { imagination, actor, every: every.max(1), between, minds: Vec::new() }
    }

    /// What an action becomes for the model, `[1, A]`.
    fn taken(&self, action: &[f32]) -> Tensor<2> {
        let mut action = action.to_vec();
        self.imagination.actions.scale(&mut action, 1);
        let width = action.len();
        Tensor::from_data(TensorData::new(action, [1, width]), &self.imagination.device)
    }

    /// The next step of one episode.
    fn next(&self, mind: Option<Mind>, now: &Now<'_>, e: usize) -> Mind {
        let (task, seen) = (&now.tasks[e], now.step.is_multiple_of(self.every));
        let look = |state: &[f32]| self.imagination.look(now.world, &task.layout, state);
        let model = &self.imagination.model;
        let (state, goal, done) = match mind {
            None => (State::begin(look(&task.state)), look(&task.goal), None),
            Some(Mind { state, goal, done }) => {
                let state = match (seen, self.between) {
                    (true, Between::Foretold) => state.then(self.taken(&done), look(&task.state), model.history()),
                    (true, Between::Held) => State::begin(look(&task.state)),
                    (false, Between::Foretold) => model.step(state, self.taken(&done)),
                    (false, Between::Held) => state,
                };
                (state, goal, Some(done))
            }
        };
        let done = match done.filter(|_| !seen && self.between == Between::Held) {
            Some(done) => done,
            None => self.actor.decide(state.newest(), &goal, now.world.spec()),
        };
        Mind { state, goal, done }
    }
}

impl Agent for Silent<'_> {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let mut minds: Vec<Option<Mind>> = std::mem::take(&mut self.minds).into_iter().map(Some).collect();
        minds.resize_with(now.tasks.len(), || None);
        self.minds = minds.into_par_iter().enumerate().map(|(e, mind)| self.next(mind, now, e)).collect();
        Ok(Turn { actions: self.minds.iter().map(|mind| mind.done.clone()).collect(), taken: 1, calls: 0 })
    }
}

/// A world's dynamics about its goal: the next state, less the goal, is `A·state + B·action`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// `[S][S]`.
    pub a: Vec<Vec<f64>>,
    /// `[S][A]`.
    pub b: Vec<Vec<f64>>,
}

impl Linear {
    /// The state after an action.
    fn next(&self, state: &[f64], goal: &[f32], action: &[f32]) -> Vec<f64> {
        let off: Vec<f64> = state.iter().zip(goal).map(|(x, goal)| x - f64::from(*goal)).collect();
        let rows = self.a.iter().zip(&self.b).zip(goal);
        rows.map(|((a, b), goal)| {
            let carried: f64 = a.iter().zip(&off).map(|(a, x)| a * x).sum();
            let pushed: f64 = b.iter().zip(action).map(|(b, x)| b * f64::from(*x)).sum();
            f64::from(*goal) + carried + pushed
        })
        .collect()
    }
}

/// Whoever is told the true state every so many steps and the linear dynamics: where measurements are exact a Kalman filter's
/// estimate is the last of them, carried on. It acts as one who knows everything would if the estimate were true.
pub struct Kalman {
    linear: Linear,
    every: u64,
    /// Of each episode, and what was done there last.
    believed: Vec<(Vec<f64>, Vec<f32>)>,
}

impl Kalman {
    /// An agent that has been told nothing yet.
    pub fn new(linear: Linear, every: u64) -> Self {
        Self { linear, every: every.max(1), believed: Vec::new() }
    }
}

impl Agent for Kalman {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let told = now.step.is_multiple_of(self.every);
        let width = now.world.spec().action;
        let next = |(e, task): (usize, &crate::world::Episode)| {
            let believed = match self.believed.get(e).filter(|_| !told) {
                Some((state, action)) => self.linear.next(state, &task.goal, action),
                None => task.state.iter().copied().map(f64::from).collect(),
            };
            let state: Vec<f32> = believed.iter().map(|x| *x as f32).collect();
            let action = now.world.oracle(&task.layout, &state, &task.goal).unwrap_or_else(|| vec![0.0; width]);
            (believed, action)
        };
        self.believed = now.tasks.iter().enumerate().map(next).collect();
        Ok(Turn { actions: self.believed.iter().map(|(_, action)| action.clone()).collect(), taken: 1, calls: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Control, Trial, WorldConfig};

    #[test]
    fn a_filter_that_is_told_every_step_is_the_regulator_and_one_that_is_told_seldom_still_stands() {
        let world = WorldConfig::named("cart-pole").unwrap().init().unwrap();
        let linear = world.linear().unwrap();
        let trial = Trial { episodes: 10, steps: 200, seed: 3 };
        let regulated = trial.run(world.as_ref(), &mut Control::Oracle).unwrap();
        assert_eq!(trial.run(world.as_ref(), &mut Kalman::new(linear.clone(), 1)).unwrap().trails, regulated.trails);
        let seldom = trial.run(world.as_ref(), &mut Kalman::new(linear.clone(), 8)).unwrap();
        assert_ne!(seldom.trails, regulated.trails);
        assert_eq!(seldom.success().0, 1.0);
        // Told nothing but the start, the linear steps drift from the true ones.
        let alone = trial.run(world.as_ref(), &mut Kalman::new(linear, 1000)).unwrap();
        let off = |outcome: &crate::Outcome| outcome.distance.iter().sum::<f32>();
        assert!(off(&alone) > off(&seldom) && off(&seldom) >= 0.0, "{} {}", off(&alone), off(&seldom));
    }

    #[test]
    fn what_is_linear_is_carried_about_the_goal() {
        let linear = Linear { a: vec![vec![1.0, 0.5], vec![0.0, 1.0]], b: vec![vec![0.0], vec![2.0]] };
        assert_eq!(linear.next(&[3.0, 1.0], &[1.0, 0.0], &[0.25]), [1.0 + 2.0 + 0.5, 1.0 + 0.5]);
    }
}
