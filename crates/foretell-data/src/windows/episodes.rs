//! Recorded episodes as material for a run: windows cut from them, whole episodes held out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::axes::Layout;
use crate::random::{Stream, rng};
use crate::windows::ends;
use crate::windows::recording::{Pixels, Reading, Recording, Recordings};
use crate::windows::survey::Survey;
use crate::{Auto, DataError, Decision, Normalise, Part, Source, Unit, Window};

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
    /// Where the channels of pictures lie: `channels-last` or `channels-first`.
    pub layout: Auto<Layout>,
    /// Which arrays say where episodes end, `terminals | timeouts`; `none`: each file is one episode.
    pub ends: String,
    /// Observations held out at the end of a recording of a single episode.
    pub tail: Auto<usize>,
    /// Whether an action is one of several choices: a whole number becomes a column for each.
    pub one_hot: bool,
    /// Whether the change from one state to the next is the action, whatever was recorded as such (V-JEPA 2-AC, arXiv 2506.09985).
    pub differences: bool,
    /// `[C, H, W]` of an observation, where a run found it before.
    #[serde(skip)]
    pub observation: Option<[usize; 3]>,
    /// Whether windows may end beyond their episode, [padded](Window::padded).
    #[serde(skip)]
    pub padded: bool,
}

impl Default for EpisodesConfig {
    /// Windows of four observations: LeWorldModel's three and the one foretold.
    fn default() -> Self {
        Self {
            actions: None,
            every: 1,
            window: 4,
            frameskip: 0,
            layout: Auto::Auto,
            ends: ends::AUTO.to_owned(),
            tail: Auto::Auto,
            one_hot: false,
            differences: false,
            observation: None,
            padded: false,
        }
    }
}

/// One episode in so many is held out.
const ONE_IN: usize = 10;
/// Observations that are measured at most.
const MEASURED: usize = 512;
/// The name of what is held out of a single episode.
const TAIL: &str = "tail";

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
    fingerprint: u64,
    survey: Arc<Survey>,
    decisions: Arc<[Decision]>,
    notes: Arc<[String]>,
}

/// An episode's name without its folder's.
fn base_name(name: &str) -> String {
    Path::new(name).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn fingerprint(episodes: &[Recording]) -> u64 {
    let mut hash = Xxh3::new();
    for episode in episodes {
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

/// What was chosen of how these are read, and what else to know of them.
fn told(recordings: &Recordings, config: &EpisodesConfig) -> (Vec<Decision>, Vec<String>) {
    let (mut decisions, left_out) = (Vec::new(), &recordings.left_out);
    let mut decide = |what: &str, value: String, reason: String| {
        decisions.push(Decision { what: what.to_owned(), value, reason });
    };
    if let (Auto::Auto, Some((key, shape))) = (config.layout, &recordings.pictures) {
        let [channels, height, width] = recordings.observation;
        let reason =
            format!("`{key}` of shape {shape:?} are pictures {height} high and {width} wide with {channels} channels");
        decide("data.layout", recordings.layout.to_string(), reason);
    }
    let all = Unit { one: "episode", many: "episodes" };
    let mut notes = Vec::new();
    if let (Some(keys), true) = (&recordings.ends, config.ends == ends::AUTO) {
        let found = all.counted(recordings.episodes.len() + left_out.single);
        decide("data.ends", keys.clone(), format!("{found}, as it says"));
    }
    if let (true, false) = (recordings.choices, config.one_hot) {
        notes.push(
            "the actions are one whole number each, taken as a number: if it is one of several choices, set `data.one_hot` to true"
                .to_owned(),
        );
    }
    if left_out.single > 0 {
        notes.push(format!("{} of a single observation or none left out", all.counted(left_out.single)));
    }
    if left_out.unused > 0 {
        notes.push(format!(
            "{} with a last action that is no number: nothing follows it, so it is not used",
            all.counted(left_out.unused)
        ));
    }
    notes.extend(left_out.notes.iter().cloned());
    (decisions, notes)
}

/// Makes two episodes of the only one: what comes before its last observations, and those.
fn split_off(recordings: &mut Recordings, tail: usize, every: usize) {
    let Some(whole) = recordings.episodes.pop() else { return };
    let cut = whole.frames - tail;
    let area: usize = recordings.observation.iter().product();
    let at = |rows: &[f32], width: usize| (cut * every * width).min(rows.len());
    let (actions, later) = whole.actions.split_at(at(&whole.actions, recordings.action));
    let (states, last) = whole.states.split_at(at(&whole.states, recordings.state));
    let [before, behind] = match &whole.pixels {
        Pixels::Bytes(bytes) => [&bytes[..cut * area], &bytes[cut * area..]].map(|part| Pixels::Bytes(part.to_vec())),
        Pixels::Floats(values) => {
            [&values[..cut * area], &values[cut * area..]].map(|part| Pixels::Floats(part.to_vec()))
        }
    };
    let part = |name: &str, pixels, frames, actions: &[f32], states: &[f32], end| Recording {
        name: format!("{}#{name}", whole.name),
        pixels,
        frames,
        actions: actions.to_vec(),
        states: states.to_vec(),
        end,
    };
    recordings.episodes =
        vec![part("head", before, cut, actions, states, None), part(TAIL, behind, tail, later, last, whole.end)];
}

/// One episode in ten, by the hash of its name; all of them in the order in which they were recorded. A tail that was split
/// off is held out. Where the chosen ones hold no window, the next ones that do are taken.
fn held_out(episodes: &[Recording], span: usize) -> Vec<usize> {
    if let [_, tail] = episodes
        && tail.name.ends_with(&format!("#{TAIL}"))
    {
        return vec![1];
    }
    let count = episodes.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|i| (xxh3_64(base_name(&episodes[*i].name).as_bytes()), *i));
    let wanted = (count / ONE_IN).max(1);
    let holds = |i: &usize| episodes[*i].frames > span;
    if !order[..wanted].iter().any(holds) {
        // What holds a window comes first, in the same order otherwise.
        order.sort_by_key(|i| !holds(i));
    }
    order.truncate(wanted);
    order.sort_unstable();
    order
}

/// A window's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    episode: usize,
    /// Its first observation.
    frame: usize,
}

impl Episodes {
    /// The episodes of an `.npz`, or of a folder of them: `observations` or `frames` (`[T, H, W, C]`, `[T, C, H, W]` or
    /// `[T, H, W]` of `uint8` or other numbers, or `[T, K]`), `actions` or `action` (`[N, A]` or `[N]`), optionally `states`
    /// or `state`, and `lengths`, `terminals` or another array that says where episodes end if several lie one after the other.
    pub fn open(path: &Path, config: EpisodesConfig) -> Result<Self, DataError> {
        let EpisodesConfig {
            every, window, frameskip, layout, tail, one_hot, differences, observation, padded, ..
        } = config;
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
        let config = EpisodesConfig { frameskip, ..config };
        let layout = if let Auto::Value(layout) = layout { Some(layout) } else { None };
        let actions = config.actions.as_deref();
        let reading = Reading { actions, every, layout, observation, ends: &config.ends, one_hot };
        let mut recordings = Recordings::read(path, &reading)?;
        if differences {
            recordings.take_differences(path, every)?;
        }
        let fingerprint = fingerprint(&recordings.episodes);
        let survey = Survey::of(&recordings, every).into();
        let (mut decisions, mut notes) = told(&recordings, &config);
        // Observations that a window needs behind its first.
        let span = if padded { 1 } else { window - 1 }.saturating_mul(frameskip / every);
        if let [only] = recordings.episodes.as_slice() {
            let frames = only.frames;
            let least = (frames / ONE_IN).max(span.saturating_add(1));
            // Fewer windows to learn from than are held out are no training, unless that is asked.
            let (tail, enough) = match tail {
                Auto::Value(tail) => (tail, (span + 1..frames.saturating_sub(span)).contains(&tail)),
                Auto::Auto => (least, least < frames - least.min(frames)),
            };
            if let (Auto::Value(tail), false) = (config.tail, enough) {
                return Err(DataError::BadSetting {
                    name: "data.tail".into(),
                    expected: "observations for a window in the tail, and in what is left of the episode",
                    found: format!("{tail} of {frames}, with windows over {}", span + 1),
                });
            }
            if enough {
                let reason = format!("there is one episode: of its {frames} observations the last {tail} are held out");
                match config.tail {
                    Auto::Auto => {
                        let value = tail.to_string();
                        decisions.push(Decision { what: "data.tail".to_owned(), value, reason });
                    }
                    Auto::Value(_) => notes.push(reason),
                }
                split_off(&mut recordings, tail, every);
            }
        }
        let held_out = held_out(&recordings.episodes, span);
        let training = (0..recordings.episodes.len()).filter(|episode| !held_out.contains(episode)).collect();
        let nothing = || Normalise::nothing(0);
        let mut episodes = Self {
            training,
            held_out: held_out.into(),
            config,
            recordings: Arc::new(recordings),
            places: Default::default(),
            normalise: nothing(),
            actions: nothing(),
            fingerprint,
            survey,
            decisions: decisions.into(),
            notes: notes.into(),
        };
        let least = if padded { 2 } else { window };
        episodes.places = [Part::Train, Part::HeldOut].map(|part| episodes.places_of(part, least).into());
        if let Some(part) = [Part::Train, Part::HeldOut].into_iter().find(|part| episodes.windows(*part) == 0) {
            return Err(episodes.too_short(path, part));
        }
        episodes.measure();
        Ok(episodes)
    }

    /// What was chosen of how the recording is read, and why.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// How episodes end, and how far their actions range.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// What was left out, and what else to know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn too_short(&self, path: &Path, part: Part) -> DataError {
        let (count, longest) =
            (self.part(part).len(), self.part(part).iter().map(|i| self.recordings.episodes[*i].frames));
        let reason = format!(
            "its {count} {} episodes (of {}) hold no window of {} observations with {} actions between two, the longest has {}: give more or longer episodes, or a shorter window (`data.window`)",
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
        self.fingerprint
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

    /// Every window of a part with so many observations of its episode.
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
        let last = self.recordings.layout == Layout::ChannelsLast;
        let mut put = |i: usize, value: f32| out[if last { i % channels * area + i / channels } else { i }] = value;
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

    /// A window of so many observations; of those that its episode does not have any more there are zeros.
    fn cut(&self, place: Place, frames: usize) -> Window {
        let EpisodesConfig { every, frameskip, .. } = self.config;
        let episode = &self.recordings.episodes[place.episode];
        let (action, state) = (self.recordings.action, self.recordings.state);
        let first = place.frame * every;
        let there = frames.min((episode.frames - 1 - place.frame) / self.stride() + 1);
        let steps = (there - 1) * frameskip;
        let observations = (0..there).flat_map(|t| self.observation_at(episode, place.frame + t * frameskip / every));
        let mut observations: Vec<f32> = observations.collect();
        let mut actions = episode.actions[first * action..(first + steps) * action].to_vec();
        observations.resize(frames * self.recordings.observation.iter().product::<usize>(), 0.0);
        actions.resize((frames - 1) * frameskip * action, 0.0);
        // The state of a last observation may lie behind the last action.
        let rows = episode.states.len() / state.max(1);
        let states = (0..frames).map(|t| (first + t * frameskip).min(rows.saturating_sub(1)));
        Window {
            frames,
            observations,
            actions,
            states: states.flat_map(|row| episode.states[row * state..][..state].iter().copied()).collect(),
            padded: frames - there,
            ..Window::default()
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
