//! Generated play: windows of episodes that nobody has seen before, a function of seed and step, or of [demonstrations](Demonstrations).

use std::sync::{Arc, OnceLock};

use foretell_data::random::{Stream, rng};
use foretell_data::{DataError, Normalise, Places, Source, Window};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::atlas::{Atlas, Explore};
use crate::demonstrations::{DemonstrationSettings, Demonstrations};
use crate::imagination::seen;
use crate::world::{Split, World, WorldError};

/// How play is generated and cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlayConfig {
    /// Observations of an episode of behaviour.
    pub episode: usize,
    /// Observations of a window cut from it.
    pub window: usize,
    /// Actions between two observations of a window; a model then takes as many as one block.
    pub frameskip: usize,
}

impl PlayConfig {
    /// Actions within a window.
    pub(crate) fn actions(&self) -> usize {
        (self.window - 1) * self.frameskip
    }
}

impl Default for PlayConfig {
    /// As published for Two Rooms: windows of 17 from episodes of 91.
    fn default() -> Self {
        Self { episode: 91, window: 17, frameskip: 1 }
    }
}

/// Play in a world as material for a run: every window of training comes from an episode of its own, or from one of some demonstrations.
#[derive(Clone)]
pub struct Play {
    world: Arc<dyn World>,
    config: PlayConfig,
    seed: u64,
    normalise: Normalise,
    actions: Normalise,
    /// What is explored, and what was found.
    explored: Option<(Explore, Arc<OnceLock<Atlas>>)>,
    /// What is shown, where windows are of that.
    demonstrated: Option<Arc<Demonstrations>>,
}

/// Windows whose mean and deviation are measured.
const MEASURED: u64 = 256;

impl Play {
    /// Play in `world`; `seed` is the run's. Mean and deviation of each channel are measured on windows that no step takes.
    pub fn new(world: Arc<dyn World>, config: PlayConfig, seed: u64) -> Result<Self, WorldError> {
        Ok(Self::unmeasured(world, config, seed)?.measured())
    }

    /// The same without any mean or deviation.
    pub(crate) fn unmeasured(world: Arc<dyn World>, config: PlayConfig, seed: u64) -> Result<Self, WorldError> {
        let PlayConfig { episode, window, frameskip } = config;
        if window < 2 || frameskip == 0 || episode <= config.actions() {
            return Err(WorldError::Setting(format!(
                "a window of play needs 2 observations or more, 1 action or more between them, and must fit its episode, found a window of {window} with {frameskip} actions between two in an episode of {episode}"
            )));
        }
        let none = || Normalise::nothing(0);
        let (normalise, actions) = (none(), none());
        Ok(Self { world, config, seed, normalise, actions, explored: None, demonstrated: None })
    }

    /// The same with means and deviations that are measured now.
    pub(crate) fn measured(self) -> Self {
        let windows: Vec<Window> = (0..MEASURED).map(|i| self.window(Split::Training, u64::MAX, i)).collect();
        let (pixels, block) = (self.world.spec().pixels(), self.config.frameskip * self.world.spec().action);
        // What lies beyond a demonstration's end is nothing that was seen or done.
        let there = |w: &Window| w.frames - w.padded;
        let seen: Vec<f32> = windows.iter().flat_map(|w| w.observations[..there(w) * pixels].to_vec()).collect();
        let done: Vec<f32> = windows.iter().flat_map(|w| w.actions[..(there(w) - 1) * block].to_vec()).collect();
        let [channels, height, width] = self.world.spec().observation;
        let normalise = Normalise::of_differences(&seen, channels, height * width);
        Self { normalise, actions: Normalise::of_columns(&done, block), ..self }
    }

    /// The same with another run's means and deviations, of observations and of actions.
    pub fn normalised_as(self, normalise: Normalise, actions: Normalise) -> Self {
        Self { normalise, actions, ..self }
    }

    /// The same, where windows of training are of layouts that were explored, and bring along places of theirs.
    pub fn explored(self, explore: Explore) -> Result<Self, WorldError> {
        explore.check()?;
        Ok(Self { explored: Some((explore, Arc::default())), ..self })
    }

    /// The same without what was explored: windows of training are of whatever layouts come up.
    pub fn unexplored(&self) -> Self {
        Self { explored: None, ..self.clone() }
    }

    /// The same, where windows are of an expert's demonstrations; where `padded`, they may end beyond their demonstration and bring its
    /// goal along.
    pub fn demonstrated(self, settings: DemonstrationSettings, padded: bool) -> Result<Self, WorldError> {
        let demonstrations = Demonstrations::new(Arc::clone(&self.world), settings, (self.config, padded), self.seed)?;
        Ok(Self { demonstrated: Some(Arc::new(demonstrations)), ..self })
    }

    /// The demonstrations that windows are of, where they are.
    pub fn demonstrations(&self) -> Option<&Arc<Demonstrations>> {
        self.demonstrated.as_ref()
    }

    /// What is explored, if anything is.
    pub fn explores(&self) -> Option<&Explore> {
        self.explored.as_ref().map(|(explore, _)| explore)
    }

    /// What was explored: at the first call it is explored now, which takes a while.
    fn atlas(&self) -> Option<&Atlas> {
        let (explore, atlas) = self.explored.as_ref()?;
        Some(atlas.get_or_init(|| Atlas::explore(self.world.as_ref(), explore, self.seed)))
    }

    /// Mean and deviation of each channel of an observation.
    pub fn normalise(&self) -> &Normalise {
        &self.normalise
    }

    /// Mean and deviation of each number of the actions between two observations.
    pub fn actions(&self) -> &Normalise {
        &self.actions
    }

    /// The same of one action: a policy looks at every step, whatever a model does.
    pub fn single_actions(&self) -> Normalise {
        let width = self.world.spec().action;
        let first = |all: &[f32]| all[..width].to_vec();
        Normalise { mean: first(&self.actions.mean), std: first(&self.actions.std) }
    }

    /// The world.
    pub fn world(&self) -> &Arc<dyn World> {
        &self.world
    }

    /// How it is cut.
    pub fn config(&self) -> &PlayConfig {
        &self.config
    }

    /// Windows of training for each step, each of an episode of its own where there are no demonstrations.
    pub fn training(&self, batch: usize) -> Arc<dyn Source<Sample = Window>> {
        Arc::new(Windows { play: self.clone(), batch })
    }

    fn generator(&self, split: Split, step: u64, index: u64) -> ChaCha8Rng {
        let stream = if split == Split::Training { Stream::Play } else { Stream::Task };
        rng(self.seed, stream, step, index)
    }

    /// A window of one episode, the same for the same place.
    pub fn window(&self, split: Split, step: u64, index: u64) -> Window {
        let mut rng = self.generator(split, step, index);
        if let Some(demonstrations) = &self.demonstrated {
            return demonstrations.any(split, &mut rng);
        }
        let (world, PlayConfig { episode: length, window: frames, frameskip }) = (&self.world, self.config);
        let atlas = (split == Split::Training).then(|| self.atlas()).flatten();
        let (episode, places) = match atlas {
            Some(atlas) => atlas.draw(world.as_ref(), &mut rng),
            None => (world.reset(split, &mut rng), Places::default()),
        };
        let first = rng.random_range(0..length - self.config.actions());
        let (pixels, width) = (world.spec().pixels(), world.spec().action);
        let actions = world.behave(&episode, first + self.config.actions(), &mut rng);
        let (before, within) = actions.split_at(first * width);
        let mut state = episode.state.clone();
        let act = |state: &mut Vec<f32>, actions: &[f32]| {
            actions.chunks_exact(width).for_each(|action| world.step(&episode.layout, state, action));
        };
        act(&mut state, before);
        let observations = vec![0.0; frames * pixels];
        let mut window = Window { frames, observations, actions: within.to_vec(), places, ..Window::default() };
        for (t, out) in window.observations.chunks_exact_mut(pixels).enumerate() {
            world.render(&episode.layout, &state, out);
            window.states.extend(&state);
            act(&mut state, within.chunks_exact(frameskip * width).nth(t).unwrap_or_default());
        }
        window
    }

    /// What was seen at two moments of one episode, and what was done at the first: what a policy learns from in hindsight.
    /// The later moment is 1 to `farthest` actions away, each distance as often.
    pub fn moment(&self, split: Split, (step, index): (u64, u64), farthest: usize) -> Moment {
        let mut rng = self.generator(split, step, index);
        if let Some(demonstrations) = &self.demonstrated {
            return demonstrations.moment(split, farthest, &mut rng);
        }
        let (world, width) = (&self.world, self.world.spec().action);
        let episode = world.reset(split, &mut rng);
        let most = self.config.episode - 1;
        let ahead = rng.random_range(1..=farthest.clamp(1, most));
        let first = rng.random_range(0..=most - ahead);
        let actions = world.behave(&episode, first + ahead, &mut rng);
        let mut state = episode.state.clone();
        let (before, after) = actions.split_at(first * width);
        let [now, goal] = [before, after].map(|actions| {
            actions.chunks_exact(width).for_each(|action| world.step(&episode.layout, &mut state, action));
            seen(world.as_ref(), &episode.layout, &state)
        });
        Moment { now, goal, action: after[..width].to_vec() }
    }

    /// What was seen at a moment of an episode, what its goal looks like, and what one who knows everything would do: what a policy
    /// learns from by imitation. Where nobody knows, what was done.
    pub fn lesson(&self, split: Split, (step, index): (u64, u64)) -> Moment {
        let mut rng = self.generator(split, step, index);
        let (world, width) = (&self.world, self.world.spec().action);
        let episode = world.reset(split, &mut rng);
        let first = rng.random_range(0..self.config.episode);
        let actions = world.behave(&episode, first + 1, &mut rng);
        let mut state = episode.state.clone();
        let (before, done) = actions.split_at(first * width);
        before.chunks_exact(width).for_each(|action| world.step(&episode.layout, &mut state, action));
        let action = world.oracle(&episode.layout, &state, &episode.goal).unwrap_or_else(|| done.to_vec());
        let look = |state: &[f32]| seen(world.as_ref(), &episode.layout, state);
        Moment { now: look(&state), goal: look(&episode.goal), action }
    }
}

/// See [`Play::moment`] and [`Play::lesson`].
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// `[C, H, W]`, as the world shows it.
    pub now: Vec<f32>,
    /// `[C, H, W]`, what came of it.
    pub goal: Vec<f32>,
    /// `[A]`.
    pub action: Vec<f32>,
}

struct Windows {
    play: Play,
    batch: usize,
}

impl Source for Windows {
    type Sample = Window;

    fn batch(&self, step: u64) -> Result<Vec<Window>, DataError> {
        let windows = (0..self.batch as u64).map(|i| self.play.window(Split::Training, step, i)).collect();
        self.play.world.intact().map_err(|error| DataError::Setting(error.to_string()))?;
        Ok(windows)
    }
}
