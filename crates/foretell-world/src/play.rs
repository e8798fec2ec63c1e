//! Generated play: windows of episodes that nobody has seen before, a function of seed and step.

use std::sync::Arc;

use foretell_data::random::{Stream, rng};
use foretell_data::{DataError, Demand, HeldOut, HeldOutDemand, Material, Normalise, Source, Window};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::world::{Split, World, WorldError};

/// How play is generated and cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlayConfig {
    /// Observations of an episode of behaviour.
    pub episode: usize,
    /// Observations of a window cut from it.
    pub window: usize,
}

impl Default for PlayConfig {
    /// As published for Two Rooms: windows of 17 from episodes of 91.
    fn default() -> Self {
        Self { episode: 91, window: 17 }
    }
}

/// Play in a world as material for a run: every window of training comes from an episode of its own.
#[derive(Clone)]
pub struct Play {
    world: Arc<dyn World>,
    config: PlayConfig,
    seed: u64,
    normalise: Normalise,
}

/// Windows whose mean and deviation are measured.
const MEASURED: u64 = 256;

impl Play {
    /// Play in `world`; `seed` is the run's. Mean and deviation of each channel are measured on windows that no step takes.
    pub fn new(world: Arc<dyn World>, config: PlayConfig, seed: u64) -> Result<Self, WorldError> {
        if config.window < 2 || config.episode < config.window {
            return Err(WorldError::Setting(format!(
                "a window of play needs 2 observations or more and must fit its episode, found a window of {} in an episode of {}",
                config.window, config.episode
            )));
        }
        let none = Normalise { mean: Vec::new(), std: Vec::new() };
        let mut play = Self { world, config, seed, normalise: none };
        let values: Vec<f32> =
            (0..MEASURED).flat_map(|i| play.window(Split::Training, u64::MAX, i).observations).collect();
        let [channels, height, width] = play.world.spec().observation;
        play.normalise = Normalise::of_values(&values, channels, height * width);
        Ok(play)
    }

    /// The same with another run's mean and deviation.
    pub fn normalised_as(self, normalise: Normalise) -> Self {
        Self { normalise, ..self }
    }

    /// Mean and deviation of each channel.
    pub fn normalise(&self) -> &Normalise {
        &self.normalise
    }

    /// A window of one episode, the same for the same place.
    pub fn window(&self, split: Split, step: u64, index: u64) -> Window {
        let stream = if split == Split::Training { Stream::Play } else { Stream::Task };
        let mut rng = rng(self.seed, stream, step, index);
        let (world, PlayConfig { episode: length, window: frames }) = (&self.world, self.config);
        let episode = world.reset(split, &mut rng);
        let first = rng.random_range(0..=length - frames);
        let (pixels, width) = (world.spec().pixels(), world.spec().action);
        let actions = world.behave(&episode, first + frames - 1, &mut rng);
        let (before, within) = actions.split_at(first * width);
        let mut state = episode.state.clone();
        for action in before.chunks_exact(width) {
            world.step(&episode.layout, &mut state, action);
        }
        let mut window =
            Window { frames, observations: vec![0.0; frames * pixels], actions: within.to_vec(), states: Vec::new() };
        for (t, out) in window.observations.chunks_exact_mut(pixels).enumerate() {
            world.render(&episode.layout, &state, out);
            window.states.extend(&state);
            if let Some(action) = within.chunks_exact(width).nth(t) {
                world.step(&episode.layout, &mut state, action);
            }
        }
        window
    }
}

struct Windows {
    play: Play,
    batch: usize,
}

impl Source for Windows {
    type Sample = Window;

    fn batch(&self, step: u64) -> Result<Vec<Window>, DataError> {
        Ok((0..self.batch as u64).map(|i| self.play.window(Split::Training, step, i)).collect())
    }
}

impl Material for Play {
    type Sample = Window;

    fn training(&self, demand: &Demand) -> Result<Arc<dyn Source<Sample = Window>>, DataError> {
        Ok(Arc::new(Windows { play: self.clone(), batch: demand.batch }))
    }

    fn held_out(&self, demand: &HeldOutDemand) -> Result<HeldOut<Window>, DataError> {
        let [_, height, width] = self.world.spec().observation;
        let (mut observations, mut samples) = (Vec::new(), Vec::new());
        for i in 0..demand.observations.max(demand.samples) {
            let window = self.window(Split::HeldOut, 0, i as u64);
            if i < demand.observations {
                // One observation of each window: neighbours in time are nearly the same.
                observations.extend(&window.observations[..self.world.spec().pixels()]);
            }
            if i < demand.samples {
                samples.push(window);
            }
        }
        self.normalise.scale(&mut observations, height * width);
        Ok(HeldOut { observations, count: demand.observations, samples, skipped: Vec::new() })
    }
}
