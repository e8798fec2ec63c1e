//! Recorded episodes as material for a run: windows cut from them, whole episodes held out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::random::{Stream, rng};
use crate::windows::recording::{Pixels, Recording, Recordings};
use crate::{DataError, Normalise, Part, Places, Source, Window};

/// How recorded episodes are cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    /// Of windows, in the training part and in what is held out.
    places: [Arc<[Place]>; 2],
    normalise: Normalise,
    actions: Normalise,
}

/// An episode's name without its folder's.
fn base_name(name: &str) -> String {
    Path::new(name).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
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
        let positive = |name: &'static str, found: usize, least: usize, expected| {
            if found < least {
                Err(DataError::BadSetting { name: name.into(), expected, found: found.to_string() })
            } else {
                Ok(())
            }
        };
        positive("data.every", every, 1, "1 or more actions for each observation")?;
        positive("data.window", window, 2, "2 observations or more")?;
        let frameskip = if frameskip == 0 { every } else { frameskip };
        if !frameskip.is_multiple_of(every) {
            return Err(DataError::BadSetting {
                name: "data.frameskip".into(),
                expected: "a multiple of `data.every`: between them nothing was seen",
                found: format!("{frameskip}, with `data.every` {every}"),
            });
        }
        let recordings = Recordings::read(path, actions.as_deref(), every)?;
        let count = recordings.episodes.len();
        let mut order: Vec<usize> = (0..count).collect();
        let hash = |i: &usize| (xxh3_64(base_name(&recordings.episodes[*i].name).as_bytes()), *i);
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
            places: Default::default(),
            normalise: nothing(),
            actions: nothing(),
        };
        let window = episodes.config.window;
        episodes.places = [Part::Train, Part::HeldOut].map(|part| episodes.places_of(part, window).into());
        if let Some(part) = [Part::Train, Part::HeldOut].into_iter().find(|part| episodes.windows(*part) == 0) {
            return Err(episodes.too_short(path, part));
        }
        episodes.measure();
        Ok(episodes)
    }

    fn too_short(&self, path: &Path, part: Part) -> DataError {
        let (count, longest) =
            (self.part(part).len(), self.part(part).iter().map(|i| self.recordings.episodes[*i].frames));
        let reason = format!(
            "its {count} {} episodes (of {}) hold no window of {} observations with {} actions between two, the longest has {}: give more episodes, or a shorter window (`data.window`)",
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

    /// Observations of a window.
    pub fn window(&self) -> usize {
        self.config.window
    }

    /// A number that changes with any episode's name, observations or actions.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3::new();
        for episode in &self.recordings.episodes {
            hash.update(base_name(&episode.name).as_bytes());
            hash.update(&(episode.frames as u64).to_le_bytes());
            match &episode.pixels {
                Pixels::Bytes(bytes) => hash.update(bytes),
                Pixels::Floats(values) => values.iter().for_each(|x| hash.update(&x.to_le_bytes())),
            }
            episode.actions.iter().for_each(|x| hash.update(&x.to_le_bytes()));
        }
        hash.digest()
    }

    /// Episodes of a part.
    pub fn count(&self, part: Part) -> usize {
        self.part(part).len()
    }

    /// Different windows of a part.
    pub fn windows(&self, part: Part) -> usize {
        self.places(part).len()
    }

    /// One of the windows of a part.
    pub fn cut_window(&self, part: Part, index: usize) -> Result<Window, DataError> {
        let places = self.places(part);
        match places.get(index) {
            Some(place) => Ok(self.cut(*place, self.config.window)),
            None => Err(DataError::OutOfRange { part: part.name(), index, len: places.len() }),
        }
    }

    /// Windows of the training part for each step, each window as often.
    pub fn training(&self, batch: usize, seed: u64) -> Arc<dyn Source<Sample = Window>> {
        Arc::new(Windows { episodes: self.clone(), batch, seed })
    }

    /// Stretches of held-out episodes, at most `most` and evenly spread, with so many observations, or as many as the longest held-out episode has: for a longer look ahead.
    pub fn held_out_stretches(&self, observations: usize, most: usize) -> Vec<Window> {
        let longest = self.held_out.iter().map(|e| (self.recordings.episodes[*e].frames - 1) / self.stride() + 1).max();
        let frames = observations.min(longest.unwrap_or(0));
        let places = self.places_of(Part::HeldOut, frames);
        let count = places.len().min(most);
        (0..count).map(|i| self.cut(places[i * places.len() / count], frames)).collect()
    }

    /// Recorded observations from one of a window to the next.
    fn stride(&self) -> usize {
        self.config.frameskip / self.config.every
    }

    fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.training,
            Part::HeldOut => &self.held_out,
        }
    }

    fn places(&self, part: Part) -> &[Place] {
        &self.places[usize::from(part == Part::HeldOut)]
    }

    /// Every window of a part with so many observations.
    fn places_of(&self, part: Part, frames: usize) -> Vec<Place> {
        let span = frames.saturating_sub(1).saturating_mul(self.stride());
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

    /// A window of so many observations.
    fn cut(&self, place: Place, frames: usize) -> Window {
        let EpisodesConfig { every, frameskip, .. } = self.config;
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
    batch: usize,
    seed: u64,
}

impl Source for Windows {
    type Sample = Window;

    /// Each window as often.
    fn batch(&self, step: u64) -> Result<Vec<Window>, DataError> {
        let places = &self.episodes.places[0];
        let draw = |i: u64| places[rng(self.seed, Stream::Order, step, i).random_range(0..places.len())];
        Ok((0..self.batch as u64).map(|i| self.episodes.cut(draw(i), self.episodes.config.window)).collect())
    }
}
