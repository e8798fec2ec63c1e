//! What a model of a world learns from: play in a world, or recorded episodes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use foretell_data::{Episodes, EpisodesConfig, Material, Normalise, Part, Window};
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::eb_jepa::ReachConfig;
use foretell_jepa::{Auto, Decision};
use foretell_world::{Explore, Play, PlayConfig, World, WorldConfig};
use serde::{Deserialize, Serialize};

use super::recipe::Model;
use crate::Error;
use crate::output::counted;

/// What is learnt from, by its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum ExperienceConfig {
    /// Generated play: `[world]` and `[play]` of a recipe.
    Play {
        /// The world.
        world: WorldConfig,
        /// Play in it.
        play: PlaySettings,
    },
    /// Recorded episodes: `[data]` of a recipe.
    Recorded(RecordedSettings),
}

impl Default for ExperienceConfig {
    fn default() -> Self {
        Self::Play { world: WorldConfig::default(), play: PlaySettings::default() }
    }
}

/// How play is generated and prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlaySettings {
    /// Observations of an episode of behaviour.
    pub episode: usize,
    /// Observations of a window cut from it.
    pub window: usize,
    /// Actions between two observations of a window; a model then takes as many as one block.
    pub frameskip: usize,
    /// Mean and standard deviation of each channel of an observation; empty until measured.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of the actions between two observations; empty until measured.
    pub actions: Normalise,
}

impl Default for PlaySettings {
    fn default() -> Self {
        let PlayConfig { episode, window, frameskip } = PlayConfig::default();
        Self { episode, window, frameskip, normalise: Normalise::nothing(0), actions: Normalise::nothing(0) }
    }
}

/// Where recorded episodes lie and how they are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordedSettings {
    /// An `.npz` of observations and actions, or a folder of them.
    pub path: String,
    /// Where the actions lie if not beside the observations; empty otherwise.
    pub actions: String,
    /// Actions recorded for each observation.
    pub every: usize,
    /// Observations of a window.
    pub window: Auto<usize>,
    /// Actions between two observations of a window, a multiple of `every`; a model then takes as many as one block.
    pub frameskip: Auto<usize>,
    /// Of the episodes when the run began, so that a resumed run notices others; empty until taken.
    pub fingerprint: String,
    /// Mean and standard deviation of each channel of an observation; empty until measured.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of the actions between two observations; empty until measured.
    pub normalise_actions: Normalise,
}

impl Default for RecordedSettings {
    fn default() -> Self {
        Self {
            path: String::new(),
            actions: String::new(),
            every: 1,
            window: Auto::Auto,
            frameskip: Auto::Auto,
            fingerprint: String::new(),
            normalise: Normalise::nothing(0),
            normalise_actions: Normalise::nothing(0),
        }
    }
}

/// The same, opened.
pub enum Experience {
    /// Generated play.
    Play(Playground),
    /// Recorded episodes, normalised as the run has it.
    Recorded(Episodes),
}

/// A world, and play in it.
pub struct Playground {
    /// The world.
    pub world: Arc<dyn World>,
    /// Normalised as the run has it.
    pub play: Play,
}

/// An error unless a window of `key` holds an observation behind those that the model looks back on.
fn check_window(key: &str, window: usize, model: &Model) -> Result<(), Error> {
    let history = model.history();
    if window > history {
        return Ok(());
    }
    Err(Error::Misuse(format!(
        "`{key}` is {window}, but {} foretells an observation from the {history} before it: windows must have {} or more",
        model.title(),
        history + 1
    )))
}

impl ExperienceConfig {
    /// As people call it.
    pub fn source(&self) -> &str {
        match self {
            Self::Play { world, .. } => world.name(),
            Self::Recorded(RecordedSettings { path, .. }) => path,
        }
    }

    /// The same in a word, for the name of a folder.
    pub fn short_source(&self) -> String {
        match self {
            Self::Play { world, .. } => world.name().to_owned(),
            Self::Recorded(RecordedSettings { path, .. }) => {
                Path::new(path).file_stem().map_or("episodes".to_owned(), |stem| stem.to_string_lossy().into_owned())
            }
        }
    }

    /// Observations of a window, of a resolved recipe.
    pub fn window(&self) -> Result<usize, Error> {
        match self {
            Self::Play { play, .. } => Ok(play.window),
            Self::Recorded(RecordedSettings { window: Auto::Value(window), .. }) => Ok(*window),
            Self::Recorded(_) => {
                Err(Error::Misuse("`data.window` is not resolved: a run's config.toml names it".to_owned()))
            }
        }
    }

    /// Opens what a model learns from and fixes the settings that depend on what is found there.
    pub fn open(&mut self, model: &Model, seed: u64, decisions: &mut Vec<Decision>) -> Result<Experience, Error> {
        match self {
            Self::Play { world, play } => {
                check_window("play.window", play.window, model)?;
                let mut playground = Playground::open(world, play, seed)?;
                if let Some(ReachConfig { layouts, episodes, places, .. }) = model.reach() {
                    let explore = Explore { layouts, episodes, steps: play.episode, places };
                    playground.play = playground.play.explored(explore)?;
                }
                play.normalise = playground.play.normalise().clone();
                play.actions = playground.play.actions().clone();
                Ok(Experience::Play(playground))
            }
            Self::Recorded(recorded) => Ok(Experience::Recorded(recorded.open(model, decisions)?)),
        }
    }
}

impl RecordedSettings {
    /// The same for other episodes: nothing is kept that was measured of the old ones.
    pub fn anew(&mut self) {
        let Self { fingerprint, normalise, normalise_actions, .. } = Self::default();
        *self = Self { fingerprint, normalise, normalise_actions, ..self.clone() };
    }

    fn open(&mut self, model: &Model, decisions: &mut Vec<Decision>) -> Result<Episodes, Error> {
        if self.path.is_empty() {
            return Err(Error::Misuse(
                "`data.path` names no episodes: give an `.npz`, or a folder of them, with `--data`".to_owned(),
            ));
        }
        if model.reach().is_some() {
            return Err(Error::Misuse(format!(
                "`model.terms.reach` asks {} to tell steps between places, which play finds out by exploring layouts and recorded episodes cannot: say `--set model.terms.reach=0`, or leave out `--data`",
                model.title()
            )));
        }
        let every = self.every;
        let window = self.window.resolve("data.window", decisions, || model.window());
        check_window("data.window", window, model)?;
        let frameskip = self
            .frameskip
            .resolve("data.frameskip", decisions, || (every, "as many actions as each observation has".to_owned()));
        let actions = (!self.actions.is_empty()).then(|| PathBuf::from(&self.actions));
        let episodes = Episodes::open(Path::new(&self.path), EpisodesConfig { actions, every, window, frameskip })?;
        let fingerprint = format!("{:016x}", episodes.fingerprint());
        if !self.fingerprint.is_empty() && self.fingerprint != fingerprint {
            return Err(Error::Misuse(format!(
                "the episodes at {} are not what this run began with (observations, actions or names changed): put them back, or start a new run",
                self.path
            )));
        }
        self.fingerprint = fingerprint;
        if self.normalise.mean.is_empty() {
            self.normalise = episodes.normalise().clone();
            self.normalise_actions = episodes.actions().clone();
        }
        Ok(episodes.normalised_as(self.normalise.clone(), self.normalise_actions.clone()))
    }
}

impl Playground {
    /// The world and play in it; means and deviations are measured if they are not there yet.
    pub fn open(world: &WorldConfig, settings: &PlaySettings, seed: u64) -> Result<Self, Error> {
        let PlaySettings { episode, window, frameskip, normalise, actions } = settings;
        let world = world.init()?;
        let config = PlayConfig { episode: *episode, window: *window, frameskip: *frameskip };
        let mut play = Play::new(Arc::clone(&world), config, seed)?;
        if !normalise.mean.is_empty() {
            play = play.normalised_as(normalise.clone(), actions.clone());
        }
        Ok(Self { world, play })
    }

    /// The numbers that a system is built for.
    pub fn setting(&self, seed: u64, device: &Device) -> WorldSetting {
        let (spec, play) = (self.world.spec(), &self.play);
        WorldSetting {
            observation: spec.observation,
            action: play.config().frameskip * spec.action,
            normalise: play.normalise().clone(),
            actions: play.actions().clone(),
            seed,
            device: device.clone(),
        }
    }
}

impl Experience {
    /// The numbers that a system is built for.
    pub fn setting(&self, seed: u64, device: &Device) -> WorldSetting {
        match self {
            Self::Play(playground) => playground.setting(seed, device),
            Self::Recorded(episodes) => WorldSetting {
                observation: episodes.observation(),
                action: episodes.action(),
                normalise: episodes.normalise().clone(),
                actions: episodes.actions().clone(),
                seed,
                device: device.clone(),
            },
        }
    }

    /// Actions between two observations of a window.
    pub fn frameskip(&self) -> usize {
        match self {
            Self::Play(playground) => playground.play.config().frameskip,
            Self::Recorded(episodes) => episodes.frameskip(),
        }
    }

    /// Windows as the loop takes them.
    pub fn material(&self) -> Box<dyn Material<Sample = Window>> {
        match self {
            Self::Play(playground) => Box::new(playground.play.clone()),
            Self::Recorded(episodes) => Box::new(episodes.clone()),
        }
    }

    /// What kind it is, in two words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Play(_) => "generated play",
            Self::Recorded(_) => "recorded episodes",
        }
    }

    /// What is seen and done, and how much of it there is, label → value.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let seen = |[channels, height, width]: [usize; 3], action: usize| {
            ("seen", format!("{channels} × {height} × {width}, actions of {action} numbers"))
        };
        match self {
            Self::Play(Playground { world, play }) => {
                let (spec, PlayConfig { episode, window, .. }) = (world.spec(), play.config());
                let mut facts = vec![
                    seen(spec.observation, spec.action),
                    ("play", format!("{window} observations of episodes of {episode}, no episode twice")),
                ];
                if let Some(Explore { layouts, episodes, .. }) = play.explores() {
                    facts.push(("explored", format!("{layouts} layouts first, {episodes} episodes in each")));
                }
                facts
            }
            Self::Recorded(episodes) => {
                let [train, held_out] = [Part::Train, Part::HeldOut].map(|part| episodes.count(part));
                let [windows, judged] = [Part::Train, Part::HeldOut].map(|part| episodes.windows(part));
                let (frameskip, window) = (episodes.frameskip(), episodes.window());
                let actions = counted(frameskip, "action");
                vec![
                    seen(episodes.observation(), episodes.action() / frameskip),
                    ("episodes", format!("{train} to learn from, {held_out} held out")),
                    (
                        "windows",
                        format!("{windows} and {judged} of {window} observations, {actions} from one to the next"),
                    ),
                ]
            }
        }
    }
}
