//! Episodes recorded for people: where the dot was, where each plan leads, and where the model imagines that it leads, read
//! from its latents by a linear map.

use burn::tensor::{Tensor, TensorData};
use foretell_jepa::dynamics::pooled;
use foretell_ops as ops;
use foretell_world::{Agent, Episode, Execution, Now, PlannerError, Trail, Trial, Turn, World};

use super::InPlay;
use super::draw::{Canvas, Colour, Palette, moving};
use crate::imaginer::{Imaginer, Manner};
use crate::imitator::Imitator;
use crate::system::JudgeError;

const FLOOR: Colour = [0.97, 0.965, 0.95];
const WALL: Colour = [0.24, 0.26, 0.3];
const DOT: Colour = [0.12, 0.48, 0.52];
const GOAL: Colour = [0.14, 0.55, 0.3];
const LAVA: Colour = [0.86, 0.27, 0.2];
const PLAN: Colour = [0.56, 0.6, 0.68];
const IMAGINED: Colour = [0.85, 0.42, 0.14];

/// Marks are sized in this part of a picture's side.
const UNITS: f32 = 65.0;
/// Frames after the last moment away from the goal.
const STAY: usize = 8;

/// A moment at which a plan was made.
struct Turning {
    /// Steps taken before it.
    step: usize,
    /// `[H, A]`.
    actions: Vec<f32>,
    /// `[.., S]`, read from the latents along the plan.
    imagined: Vec<f32>,
}

/// A recorded episode.
pub struct Film {
    /// Its number in the trial.
    pub number: u64,
    /// From the goal at its end, in the world's units.
    pub distance: f32,
    /// Steps until it was at the goal for good; `None` if it did not end well.
    pub arrived: Option<usize>,
    task: Episode,
    trail: Trail,
    turnings: Vec<Turning>,
}

/// An agent whose plans are written down, with what is imagined on the way of each, `[.., S]`.
struct Watched<A, F> {
    agent: A,
    imagined: F,
    /// For each episode.
    turnings: Vec<Vec<Turning>>,
}

impl<A: Agent, F: Fn(&Now<'_>, usize, &[f32]) -> Vec<f32>> Agent for Watched<A, F> {
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let turn = self.agent.act(now)?;
        self.turnings.resize_with(now.tasks.len(), Vec::new);
        for (e, (actions, turnings)) in turn.actions.iter().zip(&mut self.turnings).enumerate() {
            let imagined = (self.imagined)(now, e, actions);
            turnings.push(Turning { step: now.step as usize, actions: actions.clone(), imagined });
        }
        Ok(turn)
    }
}

/// The latents that the model foretells on the way of actions `[H, A]`, one for each of its steps.
fn imagine(imaginer: &Imaginer, world: &dyn World, (task, trail): (&Episode, &Trail), actions: &[f32]) -> Vec<f32> {
    let imagination = &imaginer.imagination;
    let width = imagination.block * imagination.action();
    let mut state = imagination.state(world, &task.layout, trail);
    let step = |actions: &[f32]| {
        let mut actions = actions.to_vec();
        imagination.actions.scale(&mut actions, 1);
        let actions = Tensor::<2>::from_data(TensorData::new(actions, [1, width]), &imagination.device);
        state = imagination.model.step(state.clone(), actions);
        ops::values(pooled(state.newest().clone()))
    };
    actions.chunks_exact(width).flat_map(step).collect()
}

/// Plays these episodes of a trial with a model's plans and records them; `None` in a world that people cannot be shown.
pub fn record(
    imaginer: &Imaginer,
    manner: &Manner,
    trial: &Trial,
    numbers: &[u64],
) -> Result<Option<Vec<Film>>, JudgeError> {
    let world = imaginer.playground.world.as_ref();
    if !shown(world, trial, numbers) {
        return Ok(None);
    }
    let reader = InPlay { playground: &imaginer.playground }.reader(&imaginer.imagination)?;
    let imagined = |now: &Now<'_>, e: usize, actions: &[f32]| {
        reader.predict(&imagine(imaginer, now.world, (&now.tasks[e], &now.trails[e]), actions))
    };
    filmed(world, (imaginer.agent(manner), imagined), trial, numbers).map(Some)
}

/// The same with what a policy says: it imagines nothing on the way.
pub fn record_policy(
    imitator: &Imitator,
    execution: Execution,
    trial: &Trial,
    numbers: &[u64],
) -> Result<Option<Vec<Film>>, JudgeError> {
    let world = imitator.playground.world.as_ref();
    if !shown(world, trial, numbers) {
        return Ok(None);
    }
    filmed(world, (imitator.agent(execution), |_: &Now<'_>, _, _: &[f32]| Vec::new()), trial, numbers).map(Some)
}

/// Whether people can be shown these tasks.
fn shown(world: &dyn World, trial: &Trial, numbers: &[u64]) -> bool {
    numbers.iter().all(|number| world.scene(&trial.task(world, *number).layout, 1).is_some())
}

fn filmed(
    world: &dyn World,
    (agent, imagined): (impl Agent, impl Fn(&Now<'_>, usize, &[f32]) -> Vec<f32>),
    trial: &Trial,
    numbers: &[u64],
) -> Result<Vec<Film>, JudgeError> {
    let tasks = numbers.iter().map(|number| trial.task(world, *number));
    let tasks: Vec<Episode> = tasks.collect();
    let mut agent = Watched { agent, imagined, turnings: Vec::new() };
    let outcome = trial.play(world, numbers, &mut agent)?;
    let films = tasks.into_iter().zip(agent.turnings).zip(outcome.trails).zip(outcome.distance).zip(numbers);
    Ok(films
        .map(|((((task, turnings), trail), distance), number)| {
            let away = trail.states.iter().rposition(|state| !world.success(state, &task.goal));
            let arrived = away.map_or(0, |away| away + 1);
            let arrived = (arrived < trail.states.len()).then_some(arrived);
            Film { number: *number, distance, arrived, task, trail, turnings }
        })
        .collect())
}

impl Film {
    /// The episode as a GIF, `side` pixels a side, every `stride`-th step of it. Empty in a world that people cannot be shown.
    pub fn gif(&self, world: &dyn World, side: usize, stride: usize) -> Result<Vec<u8>, JudgeError> {
        let Some(scene) = world.scene(&self.task.layout, side) else { return Ok(Vec::new()) };
        let empty = Canvas::new(&scene.solid, side, FLOOR, WALL).tinted(&scene.harmful, LAVA);
        let states = &self.trail.states;
        let shown = self.arrived.map_or(states.len(), |arrived| states.len().min(arrived + STAY + 1));
        let chosen = (0..shown).filter(|t| t.is_multiple_of(stride.max(1)) || t + 1 == shown);
        let unit = side as f32 / UNITS;
        let place = |state: &[f32]| world.place(state);
        let goal = place(&self.task.goal);
        let frames = chosen.map(|t| {
            let mut canvas = empty.clone();
            canvas.ring(goal, scene.near * side as f32, 0.35 * unit, GOAL);
            canvas.disc(goal, 0.9 * unit, GOAL);
            let turning = self.turnings.iter().rfind(|turning| turning.step <= t);
            if let Some(Turning { step, actions, imagined }) = turning {
                let mut ahead = states[*step].clone();
                for action in actions.chunks_exact(world.spec().action) {
                    let from = place(&ahead);
                    world.step(&self.task.layout, &mut ahead, action);
                    canvas.line([from, place(&ahead)], 0.3 * unit, PLAN);
                }
                for imagined in imagined.chunks_exact(world.spec().state) {
                    canvas.disc(place(imagined), 0.6 * unit, IMAGINED);
                }
            }
            for pair in states[..=t].windows(2) {
                canvas.line([place(&pair[0]), place(&pair[1])], 0.3 * unit, DOT);
            }
            canvas.disc(place(&states[t]), 1.8 * unit, DOT);
            canvas
        });
        moving(frames, Palette::new(FLOOR, WALL, &[DOT, GOAL, PLAN, IMAGINED, LAVA]), 6 * stride.max(1) as u16)
    }

    /// How it ended, in a sentence.
    pub fn ending(&self) -> String {
        match self.arrived {
            Some(step) => format!("at the goal after {step} steps"),
            None => format!("not at the goal after {} steps: {:.1} away", self.trail.actions.len(), self.distance),
        }
    }
}
