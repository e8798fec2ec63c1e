//! Demonstrations: a finite set of episodes in which a world's expert does what is asked for, under some noise. Each is a function of
//! seed and number, so that the first fifty of two hundred are those of fifty.
//!
//! They are made when they are first asked for and kept as states and actions; what they look like is drawn window by window.

use std::sync::{Arc, OnceLock};

use foretell_data::Window;
use foretell_data::random::{Stream, rng};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::imagination::seen;
use crate::play::{Moment, PlayConfig};
use crate::world::{Episode, Split, World, WorldError};

/// How demonstrations are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DemonstrationSettings {
    /// Demonstrations to learn from; 0: none, and play is curious behaviour without end.
    pub episodes: usize,
    /// Standard deviation of what is added to each of the expert's actions, as a share of the longest action. What was done is kept, noise
    /// included.
    pub noise: f64,
    /// Steps that are still shown when the goal is reached. One that does not reach it ends with the length of an episode, and stays.
    pub hold: usize,
}

impl Default for DemonstrationSettings {
    fn default() -> Self {
        Self { episodes: 0, noise: 0.05, hold: 4 }
    }
}

/// Held-out demonstrations.
const HELD_OUT: usize = 10;
/// More demonstrations than anyone waits for.
const MOST: usize = 100_000;

/// One demonstration: a state more than actions.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    task: Episode,
    /// `[T + 1, S]`.
    states: Vec<Vec<f32>>,
    /// `[T, A]`.
    actions: Vec<f32>,
    reached: bool,
}

impl Shown {
    fn steps(&self) -> usize {
        self.states.len() - 1
    }
}

/// The demonstrations of a part, and the windows that can be cut from them.
struct Part {
    shown: Vec<Shown>,
    /// Demonstration and first step of each.
    windows: Vec<(u32, u32)>,
}

/// See the module.
pub struct Demonstrations {
    world: Arc<dyn World>,
    settings: DemonstrationSettings,
    config: PlayConfig,
    padded: bool,
    seed: u64,
    parts: [OnceLock<Part>; 2],
}

impl Demonstrations {
    /// Demonstrations in `world`, cut into windows as `config` says; where `padded`, windows begin at every step and may end beyond their
    /// demonstration, and they bring its goal along.
    pub(crate) fn new(
        world: Arc<dyn World>,
        settings: DemonstrationSettings,
        (config, padded): (PlayConfig, bool),
        seed: u64,
    ) -> Result<Self, WorldError> {
        let DemonstrationSettings { episodes, noise, .. } = settings;
        if !(1..=MOST).contains(&episodes) || !(0.0..=1.0).contains(&noise) {
            return Err(WorldError::Setting(format!(
                "`data.demonstrations` are 1 to {MOST} episodes with `noise` of 0 to 1 of the longest action, found {episodes} and {noise}"
            )));
        }
        Ok(Self { world, settings, config, padded, seed, parts: Default::default() })
    }

    /// Makes them now, and an error where no window can be cut from those of a part. Where the threads of a pool will ask for windows it
    /// must come first: none of them can wait for work that it is to share in.
    pub fn make(&self) -> Result<(), WorldError> {
        if [Split::Training, Split::HeldOut].into_iter().all(|split| self.windows(split) > 0) {
            return Ok(());
        }
        Err(WorldError::Setting(format!(
            "no demonstration is as long as a window of {} observations with {} actions between two: make `data.window` shorter, or `data.demonstrations.hold` longer",
            self.config.window, self.config.frameskip
        )))
    }

    /// How many to learn from, how many of those reach their goal, and how many are held out.
    pub fn counts(&self) -> [usize; 3] {
        let shown = &self.part(Split::Training).shown;
        [shown.len(), shown.iter().filter(|shown| shown.reached).count(), HELD_OUT]
    }

    /// Windows of a part.
    pub fn windows(&self, split: Split) -> usize {
        self.part(split).windows.len()
    }

    fn part(&self, split: Split) -> &Part {
        let held_out = split == Split::HeldOut;
        self.parts[usize::from(held_out)].get_or_init(|| {
            let count = if held_out { HELD_OUT } else { self.settings.episodes };
            let show = |number: u64| self.show(split, number);
            let shown: Vec<Shown> = (0..count as u64).into_par_iter().map(show).collect();
            let starts = |(number, shown): (usize, &Shown)| {
                let span = if self.padded { self.config.frameskip } else { self.config.actions() };
                (0..(shown.steps() + 1).saturating_sub(span)).map(move |first| (number as u32, first as u32))
            };
            Part { windows: shown.iter().enumerate().flat_map(starts).collect(), shown }
        })
    }

    /// One demonstration, from its start to a few steps behind the goal, or to the end of the time.
    fn show(&self, split: Split, number: u64) -> Shown {
        let (world, spec) = (self.world.as_ref(), self.world.spec());
        let mut rng = rng(self.seed, Stream::Demonstration, u64::from(split == Split::HeldOut), number);
        let task = world.reset(split, &mut rng);
        let (mut states, mut actions, mut reached) = (vec![task.state.clone()], Vec::new(), false);
        let mut left = self.config.episode - 1;
        let loud = self.settings.noise as f32 * spec.reach.most();
        let mut state = task.state.clone();
        while left > 0 {
            let wise = world.oracle(&task.layout, &state, &task.goal);
            let mut action = wise.unwrap_or_else(|| vec![0.0; spec.action]);
            for x in &mut action {
                let noise: f32 = StandardNormal.sample(&mut rng);
                *x += loud * noise;
            }
            spec.within_reach(&mut action);
            world.step(&task.layout, &mut state, &action);
            states.push(state.clone());
            actions.extend(action);
            left -= 1;
            if !reached && world.success(&state, &task.goal) {
                (reached, left) = (true, left.min(self.settings.hold));
            }
        }
        Shown { task, states, actions, reached }
    }

    /// A window of a part, by its place.
    pub fn window(&self, split: Split, index: usize) -> Window {
        let Part { shown, windows } = self.part(split);
        let (number, first) = windows[index];
        let (shown, first) = (&shown[number as usize], first as usize);
        let PlayConfig { window: frames, frameskip, .. } = self.config;
        let (world, spec) = (self.world.as_ref(), self.world.spec());
        let (pixels, block) = (spec.pixels(), frameskip * spec.action);
        let there = frames.min((shown.steps() - first) / frameskip + 1);
        let at = |t: usize| &shown.states[first + t * frameskip];
        let mut observations = vec![0.0; frames * pixels];
        let mut states = vec![0.0; frames * spec.state];
        let rows = observations.chunks_exact_mut(pixels).zip(states.chunks_exact_mut(spec.state)).take(there);
        for (t, (observation, state)) in rows.enumerate() {
            world.render(&shown.task.layout, at(t), observation);
            state.copy_from_slice(at(t));
        }
        let mut actions = shown.actions[first * spec.action..][..(there - 1) * block].to_vec();
        actions.resize((frames - 1) * block, 0.0);
        let goal = if self.padded { seen(world, &shown.task.layout, &shown.task.goal) } else { Vec::new() };
        Window { frames, observations, actions, states, padded: frames - there, goal, ..Window::default() }
    }

    /// Any window of a part.
    pub(crate) fn any(&self, split: Split, rng: &mut ChaCha8Rng) -> Window {
        self.window(split, rng.random_range(0..self.windows(split)))
    }

    /// What was seen at two moments of one demonstration, 1 to `farthest` actions apart, and what was done at the first.
    pub(crate) fn moment(&self, split: Split, farthest: usize, rng: &mut ChaCha8Rng) -> Moment {
        let Part { shown, .. } = self.part(split);
        let shown = &shown[rng.random_range(0..shown.len())];
        let ahead = rng.random_range(1..=farthest.clamp(1, shown.steps()));
        let first = rng.random_range(0..=shown.steps() - ahead);
        let width = self.world.spec().action;
        let see = |t: usize| seen(self.world.as_ref(), &shown.task.layout, &shown.states[t]);
        Moment { now: see(first), goal: see(first + ahead), action: shown.actions[first * width..][..width].to_vec() }
    }
}
