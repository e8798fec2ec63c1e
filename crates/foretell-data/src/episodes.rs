//! Recorded episodes as material for a run: windows cut from them, whole episodes held out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::random::{Stream, rng};
use crate::recording::{Pixels, Recording, Recordings};
use crate::{DataError, Demand, HeldOut, HeldOutDemand, Material, Normalise, Part, Places, Source, Window};

/// How recorded episodes are cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpisodesConfig {
    /// Where the actions lie, if not beside the observations.
    pub actions: Option<PathBuf>,
    /// Actions recorded for each observation.
    pub every: usize,
    /// Observations of a window.
    pub window: usize,
    /// Actions between two observations of a window, a multiple of `every`; 0: `every`.
    pub frameskip: usize,
}

impl Default for EpisodesConfig {
    /// Windows of four observations: LeWorldModel's three and the one foretold.
    fn default() -> Self {
        Self { actions: None, every: 1, window: 4, frameskip: 0 }
    }
}

/// One episode in so many is held out.
const ONE_IN: usize = 10;
/// Observations that are measured at most.
const MEASURED: usize = 512;

/// See the module; the format is that of [`Episodes::open`].
#[derive(Clone)]
pub struct Episodes {
    recordings: Arc<Recordings>,
    config: EpisodesConfig,
    training: Arc<[usize]>,
    held_out: Arc<[usize]>,
    normalise: Normalise,
    actions: Normalise,
}

/// A window's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    episode: usize,
    /// Its first observation.
    frame: usize,
}

impl Episodes {
    /// The episodes of an `.npz`, or of a folder of them: `observations` or `frames` (`[T, H, W, C]` of `uint8` or floats, or
    /// `[T, K]`), `actions` or `action` (`[N, A]`), optionally `states` or `state`, and `lengths` or `episode_len` where
    /// several episodes lie one after the other.
    pub fn open(path: &Path, config: EpisodesConfig) -> Result<Self, DataError> {
        let EpisodesConfig { every, window, frameskip, ref actions } = config;
        let positive = |name, found: usize, least: usize, expected| {
            if found < least { Err(DataError::BadSetting { name, expected, found: found.to_string() }) } else { Ok(()) }
        };
        positive("every", every, 1, "1 or more actions for each observation")?;
        positive("window", window, 2, "2 observations or more")?;
        let frameskip = if frameskip == 0 { every } else { frameskip };
        if !frameskip.is_multiple_of(every) {
            return Err(DataError::BadSetting {
                name: "frameskip",
                expected: "a multiple of `every`: between them nothing was seen",
                found: format!("{frameskip}, with `every` {every}"),
            });
        }
        let recordings = Recordings::read(path, actions.as_deref(), every)?;
        let count = recordings.episodes.len();
        let mut order: Vec<usize> = (0..count).collect();
        let hash = |i: &usize| {
            let name = Path::new(&recordings.episodes[*i].name).file_name().map(|n| n.to_string_lossy().into_owned());
            (xxh3_64(name.unwrap_or_default().as_bytes()), *i)
        };
        order.sort_by_key(hash);
        let (held_out, training) = order.split_at((count / ONE_IN).max(1));
        let sorted = |part: &[usize]| -> Arc<[usize]> {
            let mut part = part.to_vec();
            part.sort_unstable();
            part.into()
        };
        let nothing = || Normalise::nothing(0);
        let mut episodes = Self {
            training: sorted(training),
            held_out: sorted(held_out),
            config: EpisodesConfig { frameskip, ..config },
            recordings: Arc::new(recordings),
            normalise: nothing(),
            actions: nothing(),
        };
        for (part, least) in [(Part::Train, 1), (Part::HeldOut, 1)] {
            if episodes.places(part).len() < least {
                return Err(episodes.too_short(path, part));
            }
        }
        episodes.measure();
        Ok(episodes)
    }

    fn too_short(&self, path: &Path, part: Part) -> DataError {
        let (count, longest) =
            (self.part(part).len(), self.part(part).iter().map(|i| self.recordings.episodes[*i].frames));
        let reason = format!(
            "its {count} {} episodes (of {}) hold no window of {} observations with {} actions between two, the longest has {}: give more episodes, or a shorter window",
            if part == Part::Train { "training" } else { "held-out" },
            self.recordings.episodes.len(),
            self.config.window,
            self.config.frameskip,
            longest.max().unwrap_or(0)
        );
        DataError::BadEpisodes { name: path.display().to_string(), reason }
    }

    /// Means and deviations over the training part.
    fn measure(&mut self) {
        let [channels, height, width] = self.recordings.observation;
        let all: Vec<(usize, usize)> = self
            .training
            .iter()
            .flat_map(|e| (0..self.recordings.episodes[*e].frames).map(move |frame| (*e, frame)))
            .collect();
        let taken = all.len().min(MEASURED);
        let seen: Vec<f32> = (0..taken)
            .flat_map(|i| {
                let (episode, frame) = all[i * all.len() / taken];
                self.observation_at(&self.recordings.episodes[episode], frame)
            })
            .collect();
        self.normalise = Normalise::of_values(&seen, channels, height * width);
        let rows: Vec<f32> =
            self.training.iter().flat_map(|e| self.recordings.episodes[*e].actions.iter().copied()).collect();
        let Normalise { mean, std } = Normalise::of_columns(&rows, self.recordings.action);
        // A block is as many actions as lie between two observations: each has the same mean and deviation.
        let block = |of: Vec<f32>| of.repeat(self.config.frameskip);
        self.actions = Normalise { mean: block(mean), std: block(std) };
    }

    /// The same with another run's means and deviations, of observations and of actions.
    pub fn normalised_as(self, normalise: Normalise, actions: Normalise) -> Self {
        Self { normalise, actions, ..self }
    }

    /// The same with windows of another length, for a longer look ahead. An error if none is that long.
    pub fn with_window(self, window: usize) -> Result<Self, DataError> {
        let episodes = Self { config: EpisodesConfig { window: window.max(2), ..self.config.clone() }, ..self };
        match [Part::Train, Part::HeldOut].into_iter().find(|part| episodes.places(*part).is_empty()) {
            Some(part) => Err(episodes.too_short(Path::new(&episodes.recordings.episodes[0].name), part)),
            None => Ok(episodes),
        }
    }

    /// Mean and deviation of each channel of an observation.
    pub fn normalise(&self) -> &Normalise {
        &self.normalise
    }

    /// Mean and deviation of each number of the actions between two observations.
    pub fn actions(&self) -> &Normalise {
        &self.actions
    }

    /// `[C, H, W]` of an observation.
    pub fn observation(&self) -> [usize; 3] {
        self.recordings.observation
    }

    /// Numbers in the actions between two observations of a window.
    pub fn action(&self) -> usize {
        self.config.frameskip * self.recordings.action
    }

    /// Actions between two observations of a window.
    pub fn frameskip(&self) -> usize {
        self.config.frameskip
    }

    /// Episodes of a part.
    pub fn count(&self, part: Part) -> usize {
        self.part(part).len()
    }

    /// Windows of held-out episodes, at most so many, evenly spread.
    pub fn held_out_windows(&self, most: usize) -> Vec<Window> {
        let places = self.places(Part::HeldOut);
        let count = places.len().min(most);
        (0..count).map(|i| self.window(places[i * places.len() / count])).collect()
    }

    fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.training,
            Part::HeldOut => &self.held_out,
        }
    }

    /// Every window of a part.
    fn places(&self, part: Part) -> Vec<Place> {
        let span = (self.config.window - 1) * self.config.frameskip / self.config.every;
        let of = |episode: usize| {
            let frames = self.recordings.episodes[episode].frames;
            (0..frames.saturating_sub(span)).map(move |frame| Place { episode, frame })
        };
        self.part(part).iter().flat_map(|episode| of(*episode)).collect()
    }

    /// `[C, H, W]`, pictures of bytes between 0 and 1.
    fn observation_at(&self, episode: &Recording, frame: usize) -> Vec<f32> {
        let [channels, height, width] = self.recordings.observation;
        let area = height * width;
        let at = frame * area * channels;
        let mut out = vec![0.0; area * channels];
        let mut put = |i: usize, value: f32| out[i % channels * area + i / channels] = value;
        match &episode.pixels {
            Pixels::Bytes(bytes) => {
                bytes[at..][..area * channels].iter().enumerate().for_each(|(i, b)| put(i, f32::from(*b) / 255.0));
            }
            Pixels::Floats(values) => {
                values[at..][..area * channels].iter().enumerate().for_each(|(i, x)| put(i, *x));
            }
        }
        out
    }

    fn window(&self, place: Place) -> Window {
        let EpisodesConfig { every, window: frames, frameskip, .. } = self.config;
        let episode = &self.recordings.episodes[place.episode];
        let (action, state) = (self.recordings.action, self.recordings.state);
        let first = place.frame * every;
        let steps = (frames - 1) * frameskip;
        let observations = (0..frames).flat_map(|t| self.observation_at(episode, place.frame + t * frameskip / every));
        // The state of a last observation may lie behind the last action.
        let rows = episode.states.len() / state.max(1);
        let states = (0..frames).map(|t| (first + t * frameskip).min(rows.saturating_sub(1)));
        Window {
            frames,
            observations: observations.collect(),
            actions: episode.actions[first * action..(first + steps) * action].to_vec(),
            states: states.flat_map(|row| episode.states[row * state..][..state].iter().copied()).collect(),
            places: Places::default(),
        }
    }
}

struct Windows {
    episodes: Episodes,
    places: Vec<Place>,
    batch: usize,
    seed: u64,
}

impl Source for Windows {
    type Sample = Window;

    /// Each window as often.
    fn batch(&self, step: u64) -> Result<Vec<Window>, DataError> {
        let draw = |i: u64| self.places[rng(self.seed, Stream::Order, step, i).random_range(0..self.places.len())];
        Ok((0..self.batch as u64).map(|i| self.episodes.window(draw(i))).collect())
    }
}

impl Material for Episodes {
    type Sample = Window;

    fn training(&self, demand: &Demand) -> Result<Arc<dyn Source<Sample = Window>>, DataError> {
        let places = self.places(Part::Train);
        Ok(Arc::new(Windows { episodes: self.clone(), places, batch: demand.batch, seed: demand.seed }))
    }

    fn held_out(&self, demand: &HeldOutDemand) -> Result<HeldOut<Window>, DataError> {
        let [channels, height, width] = self.recordings.observation;
        let seen = self.held_out_windows(demand.observations);
        let one = channels * height * width;
        let mut observations: Vec<f32> = seen.iter().flat_map(|w| w.observations[..one].iter().copied()).collect();
        self.normalise.scale(&mut observations, height * width);
        Ok(HeldOut {
            observations,
            count: seen.len(),
            samples: self.held_out_windows(demand.samples),
            skipped: Vec::new(),
        })
    }
}
