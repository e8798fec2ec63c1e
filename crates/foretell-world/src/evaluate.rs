//! Episodes played out to their last step, whatever happens on the way: an agent sees the world, and success is counted when
//! all is over and never told.

use foretell_data::random::{Stream, rng};
use rayon::prelude::*;

use crate::planner::{Budget, Plan, Planner, PlannerConfig, PlannerError, Problem};
use crate::world::{Episode, Split, World};

/// Held-out episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How many.
    pub episodes: u64,
    /// Steps of each.
    pub steps: u64,
    /// Of starts, goals, layouts, and of whatever an agent draws.
    pub seed: u64,
}

impl Trial {
    /// The tasks: the same for every agent.
    pub fn tasks(&self, world: &dyn World) -> Vec<Episode> {
        (0..self.episodes).map(|number| self.task(world, number)).collect()
    }

    /// The task of this number: the same for every agent.
    pub fn task(&self, world: &dyn World, number: u64) -> Episode {
        // Step 1 of the stream: step 0 holds the windows that health looks at.
        world.reset(Split::HeldOut, &mut rng(self.seed, Stream::Task, 1, number))
    }

    /// Plays every task to its end.
    pub fn run(&self, world: &dyn World, agent: &mut dyn Agent) -> Result<Outcome, PlannerError> {
        self.play(world, &(0..self.episodes).collect::<Vec<_>>(), agent)
    }

    /// Plays the tasks of these numbers alone; each ends as it does in company.
    pub fn play(&self, world: &dyn World, numbers: &[u64], agent: &mut dyn Agent) -> Result<Outcome, PlannerError> {
        self.finish(world, numbers.iter().map(|number| self.task(world, *number)).collect(), numbers, agent)
    }

    /// Plays given tasks to their end. A goal that cannot be is played for like any other, and the outcome says so.
    pub fn play_out(
        &self,
        world: &dyn World,
        tasks: Vec<Episode>,
        agent: &mut dyn Agent,
    ) -> Result<Outcome, PlannerError> {
        let numbers: Vec<u64> = (0..tasks.len() as u64).collect();
        self.finish(world, tasks, &numbers, agent)
    }

    fn finish(
        &self,
        world: &dyn World,
        mut tasks: Vec<Episode>,
        numbers: &[u64],
        agent: &mut dyn Agent,
    ) -> Result<Outcome, PlannerError> {
        let width = world.spec().action;
        let mut trails: Vec<Trail> =
            tasks.iter().map(|task| Trail { states: vec![task.state.clone()], actions: Vec::new() }).collect();
        let (mut step, mut calls) = (0, 0);
        while step < self.steps {
            let now = Now { world, tasks: &tasks, trails: &trails, numbers, seed: self.seed, step };
            let turn = agent.act(&now)?;
            calls += turn.calls;
            let taken = turn.taken.clamp(1, self.steps - step);
            for ((task, trail), actions) in tasks.iter_mut().zip(&mut trails).zip(&turn.actions) {
                for action in actions.chunks_exact(width).take(taken as usize) {
                    world.step(&task.layout, &mut task.state, action);
                    trail.states.push(task.state.clone());
                    trail.actions.push(action.to_vec());
                }
            }
            step += taken;
            world.intact()?;
        }
        let calls_per_step = calls as f64 / (self.steps * tasks.len() as u64).max(1) as f64;
        let of =
            |f: &dyn Fn(&Episode, &Trail) -> bool| tasks.iter().zip(&trails).map(|(t, trail)| f(t, trail)).collect();
        let outcome = Outcome {
            success: of(&|t, _| world.success(&t.state, &t.goal)),
            ever: of(&|t, trail| trail.states.iter().any(|state| world.success(state, &t.goal))),
            at_start: of(&|t, trail| world.success(&trail.states[0], &t.goal)),
            possible: of(&|t, _| world.possible(&t.layout, &t.goal)),
            distance: tasks.iter().map(|t| world.distance(&t.state, &t.goal)).collect(),
            harmed: tasks.iter().zip(&trails).map(|(t, trail)| trail.harmed(world, &t.layout)).collect(),
            trails,
            calls_per_step,
        };
        world.intact()?;
        Ok(outcome)
    }
}

/// What came of an episode so far: one state more than actions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trail {
    /// From the start to where it stands.
    pub states: Vec<Vec<f32>>,
    /// Between them, as they were asked for.
    pub actions: Vec<Vec<f32>>,
}

impl Trail {
    /// Steps that ended in what harms.
    fn harmed(&self, world: &dyn World, layout: &[f32]) -> u64 {
        self.states.iter().skip(1).filter(|state| world.hazard(layout, state) >= 1.0).count() as u64
    }

    /// What it was after so many steps.
    #[must_use]
    pub fn until(&self, steps: usize) -> Self {
        Self { states: self.states[..=steps].to_vec(), actions: self.actions[..steps].to_vec() }
    }
}

/// Where the episodes of a trial stand.
pub struct Now<'a> {
    /// The world.
    pub world: &'a dyn World,
    /// Each episode.
    pub tasks: &'a [Episode],
    /// The way that each has come.
    pub trails: &'a [Trail],
    /// Their own numbers, for what is drawn.
    pub numbers: &'a [u64],
    /// Of the trial.
    pub seed: u64,
    /// Steps taken.
    pub step: u64,
}

/// What an agent does next.
pub struct Turn {
    /// `[taken, A]` or more for each episode.
    pub actions: Vec<Vec<f32>>,
    /// Steps until it looks again.
    pub taken: u64,
    /// Model calls of all episodes.
    pub calls: u64,
}

/// Acts in several episodes at once. What it does in one depends on that one alone.
pub trait Agent {
    /// The next actions.
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError>;
}

impl<T: Agent + ?Sized> Agent for Box<T> {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        self.as_mut().act(now)
    }
}

impl<T: Agent + ?Sized> Agent for &mut T {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        (**self).act(now)
    }
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether each episode ended well.
    pub success: Vec<bool>,
    /// Whether it was well at any step, the start among them.
    pub ever: Vec<bool>,
    /// Whether it was well before the first step.
    pub at_start: Vec<bool>,
    /// Whether each episode's goal can be at all: one inside a wall is missed by whoever plans for it.
    pub possible: Vec<bool>,
    /// From the goal, at the end of each episode.
    pub distance: Vec<f32>,
    /// Steps that each episode spent in what harms.
    pub harmed: Vec<u64>,
    /// The way that each episode took.
    pub trails: Vec<Trail>,
    /// Model calls for each step of each episode.
    pub calls_per_step: f64,
}

impl Outcome {
    /// Episodes whose goal cannot be.
    pub fn impossible(&self) -> usize {
        self.possible.iter().filter(|possible| !**possible).count()
    }

    /// Share of the episodes that ended well, and its Wilson interval at 95 %.
    pub fn success(&self) -> (f64, [f64; 2]) {
        share(&self.success)
    }

    /// The same of those that were well at any step.
    pub fn ever(&self) -> (f64, [f64; 2]) {
        share(&self.ever)
    }

    /// Share of those that were well before the first step: nobody needs to act for them.
    pub fn solved_at_start(&self) -> f64 {
        share(&self.at_start).0
    }
}

fn share(of: &[bool]) -> (f64, [f64; 2]) {
    wilson(of.iter().filter(|s| **s).count(), of.len())
}

/// A share and its interval at 95 % (Wilson, 1927).
pub fn wilson(successes: usize, trials: usize) -> (f64, [f64; 2]) {
    let (n, z) = (trials.max(1) as f64, 1.959_963_984_540_054_f64);
    let p = successes as f64 / n;
    let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    (p, [(middle - half).max(0.0), (middle + half).min(1.0)])
}

/// The floor and the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Actions drawn from all that there are.
    Random,
    /// Straight ahead.
    Greedy,
    /// The shortest way.
    Oracle,
}

impl Agent for Control {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let Now { world, tasks, numbers, seed, step, .. } = *now;
        let (width, reach) = (world.spec().action, world.spec().reach);
        let actions = tasks
            .par_iter()
            .zip(numbers)
            .map(|(task, number)| match self {
                Self::Random => reach.draw(width, &mut rng(seed, Stream::Plan, step, *number)),
                Self::Greedy => world.greedy(&task.state, &task.goal).unwrap_or_else(|| vec![0.0; width]),
                Self::Oracle => world.oracle(&task.layout, &task.state, &task.goal).unwrap_or_else(|| vec![0.0; width]),
            })
            .collect();
        Ok(Turn { actions, taken: 1, calls: 0 })
    }
}

/// A planner with a receding horizon: plans, takes the first steps, and plans again from what is left of the plan.
pub struct Planning<F> {
    /// The planner.
    pub planner: Planner,
    /// Its horizon and spread.
    pub config: PlannerConfig,
    /// Of one plan of one episode.
    pub budget: Budget,
    /// Steps taken of each plan.
    pub taken: u64,
    /// Puts the episodes before a model, or before the truth, and calls back with the problem that they are.
    pub pose: F,
    warm: Vec<Plan>,
}

impl<F> Planning<F> {
    /// An agent that has not planned yet.
    pub fn new(planner: Planner, config: PlannerConfig, budget: Budget, taken: u64, pose: F) -> Self {
        Self { planner, config, budget, taken, pose, warm: Vec::new() }
    }
}

/// Calls the second argument with the problem that the tasks are.
pub type Solve<'a> = &'a mut dyn FnMut(&mut dyn Problem) -> Result<Vec<Plan>, PlannerError>;

impl<F> Agent for Planning<F>
where
    F: FnMut(&Now<'_>, Solve<'_>) -> Result<Vec<Plan>, PlannerError>,
{
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let Now { world, numbers, seed, step, .. } = *now;
        let warm = std::mem::take(&mut self.warm);
        let (planner, config, budget) = (self.planner, self.config, self.budget);
        let plans =
            (self.pose)(now, &mut |problem| planner.plan(&config, budget, problem, &warm, (seed, step, numbers)))?;
        let calls = plans.iter().map(|plan| plan.calls).sum();
        let actions = plans.iter().map(|plan| plan.actions.clone()).collect();
        let taken = self.taken.clamp(1, self.config.horizon as u64);
        let width = world.spec().action;
        self.warm = plans.into_iter().map(|plan| plan.rest(taken as usize, width)).collect();
        Ok(Turn { actions, taken, calls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        // 8 of 10: [0.490, 0.943], Wilson (1927).
        let (p, [low, high]) = wilson(8, 10);
        assert_eq!(p, 0.8);
        assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
        assert_eq!(wilson(0, 20).1[0], 0.0);
        assert!(wilson(20, 20).1[1] > 0.999 && wilson(20, 20).1[0] > 0.8);
    }
}
