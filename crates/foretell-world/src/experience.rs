//! What a model of a world learns from, as a kind of data: generated play in a world, or recorded episodes. A sample is a
//! window of either.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell_data::series::Series;
use foretell_data::{
    Auto, DataError, Decision, Description, Episodes, EpisodesConfig, Epochs, Image, Layout, Meta, Modality, Normalise,
    Opening, Part, Source, Unit, Window,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::atlas::Explore;
use crate::demonstrations::DemonstrationSettings;
use crate::play::{Play, PlayConfig};
use crate::world::{Split, World};
use crate::worlds::WorldConfig;

/// What is learnt from, by its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ExperienceConfig {
    /// Generated play.
    Play(PlaySettings),
    /// Recorded episodes.
    Episodes(EpisodesSettings),
}

impl Default for ExperienceConfig {
    fn default() -> Self {
        Self::Play(PlaySettings::default())
    }
}

/// How play is generated and prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlaySettings {
    /// The world.
    pub world: WorldConfig,
    /// Observations of an episode of behaviour.
    pub episode: usize,
    /// Observations of a window cut from it.
    pub window: usize,
    /// Actions between two observations of a window; a model then takes as many as one block.
    pub frameskip: usize,
    /// Layouts that are explored before the first step.
    pub explore: ExploreSettings,
    /// An expert's demonstrations, in place of play without end.
    pub demonstrations: DemonstrationSettings,
    /// Mean and standard deviation of each channel of an observation; empty until measured.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of the actions between two observations; empty until measured.
    pub actions: Normalise,
    /// Whether windows may end beyond their demonstration: as the system needs it.
    #[serde(skip)]
    pub padded: bool,
}

impl Default for PlaySettings {
    fn default() -> Self {
        let PlayConfig { episode, window, frameskip } = PlayConfig::default();
        let (normalise, actions) = (Normalise::nothing(0), Normalise::nothing(0));
        let (world, explore) = (WorldConfig::default(), ExploreSettings::default());
        let (demonstrations, padded) = (DemonstrationSettings::default(), false);
        Self { world, episode, window, frameskip, explore, demonstrations, normalise, actions, padded }
    }
}

/// What is explored, so that a model can learn how many steps lie between two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExploreSettings {
    /// Layouts; 0 explores nothing.
    pub layouts: usize,
    /// Episodes played in each.
    pub episodes: usize,
    /// Places of a layout that each window brings along.
    pub places: usize,
}

impl Default for ExploreSettings {
    fn default() -> Self {
        Self { layouts: 0, episodes: 8, places: 12 }
    }
}

/// Where recorded episodes lie and how they are cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EpisodesSettings {
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
    /// Where the channels of pictures lie: `channels-last` or `channels-first`.
    pub layout: Auto<Layout>,
    /// Which arrays say where episodes end, such as `terminals | timeouts`; `none`: each file is one episode.
    pub ends: String,
    /// Observations held out at the end of a recording of a single episode.
    pub tail: Auto<usize>,
    /// Whether an action is one of several choices: a whole number becomes a column for each.
    pub one_hot: bool,
    /// Whether the change from one state to the next is the action, whatever was recorded as such.
    pub differences: bool,
    /// Of the episodes when the run began, so that a resumed run notices others; empty until taken.
    pub fingerprint: String,
    /// `[C, H, W]` of an observation; empty until seen.
    pub observation: Vec<usize>,
    /// Mean and standard deviation of each channel of an observation; empty until measured.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of the actions between two observations; empty until measured.
    pub normalise_actions: Normalise,
    /// Whether windows may end beyond their episode: as the system needs it.
    #[serde(skip)]
    pub padded: bool,
}

impl Default for EpisodesSettings {
    fn default() -> Self {
        Self {
            path: String::new(),
            actions: String::new(),
            every: 1,
            window: Auto::Auto,
            frameskip: Auto::Auto,
            layout: Auto::Auto,
            ends: EpisodesConfig::default().ends,
            tail: Auto::Auto,
            one_hot: false,
            differences: false,
            fingerprint: String::new(),
            observation: Vec::new(),
            normalise: Normalise::nothing(0),
            normalise_actions: Normalise::nothing(0),
            padded: false,
        }
    }
}

/// What networks of a model of a world are built for.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Numbers in the actions between two observations: of one action, times the steps between.
    pub action: usize,
    /// Actions between two observations of a window.
    pub frameskip: usize,
    /// Mean and standard deviation of each channel of the training observations.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of the training actions.
    pub actions: Normalise,
}

/// The tasks that a part's windows are of.
fn split(part: Part) -> Split {
    if part == Part::Train { Split::Training } else { Split::HeldOut }
}

/// An error of a world as one of data.
fn setting(error: impl ToString) -> DataError {
    DataError::Setting(error.to_string())
}

impl PlaySettings {
    /// Play in which enough layouts are explored first for a model to learn steps between places.
    pub fn explored() -> Self {
        Self { explore: ExploreSettings { layouts: 1500, episodes: 16, places: 8 }, ..Self::default() }
    }
}

impl ExperienceConfig {
    /// Brings windows to the length that a model is best given where nothing is said, and refuses those that hold nothing
    /// behind the `history` observations that it looks back on.
    pub fn fit_windows(
        &mut self,
        (best, reason): (usize, String),
        history: usize,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), DataError> {
        let window = match self {
            Self::Play(play) => play.window,
            Self::Episodes(episodes) => episodes.window.resolve("data.window", decisions, || (best, reason)),
        };
        if window > history {
            return Ok(());
        }
        Err(DataError::Setting(format!(
            "`data.window` is {window}, but an observation is predicted from the {history} before it: windows must have {} or more",
            history + 1
        )))
    }

    /// Brings windows to an observation and the `chunk` actions behind it, those at the end of a demonstration padded; refuses play without end,
    /// in which nobody shows anything.
    pub fn fit_chunks(&mut self, chunk: usize, decisions: &mut Vec<Decision>) -> Result<(), DataError> {
        let (best, reason) = (chunk + 1, format!("an observation and what is seen behind each of {chunk} actions"));
        match self {
            Self::Play(play) => {
                if play.demonstrations.episodes == 0 {
                    return Err(DataError::Setting(
                        "`data.demonstrations.episodes` is 0, and what is learnt here is what an expert shows: set it to 1 or more, or bring recorded episodes (`data.path`)"
                            .to_owned(),
                    ));
                }
                let mut window = if play.window == best { Auto::Value(best) } else { Auto::Auto };
                play.window = window.resolve("data.window", decisions, || (best, reason));
                (play.padded, play.explore.layouts) = (true, 0);
            }
            Self::Episodes(episodes) => {
                let found = episodes.window.resolve("data.window", decisions, || (best, reason));
                if found != best {
                    return Err(DataError::Setting(format!(
                        "`data.window` is {found}, but an observation and a chunk of {chunk} actions make {best}: leave it `auto`"
                    )));
                }
                episodes.padded = true;
            }
        }
        Ok(())
    }

    /// Whether an observation shows what is asked for, or that is always the same; of recorded episodes nobody says what it was.
    pub fn shows_goal(&self) -> Result<Option<bool>, DataError> {
        match self {
            Self::Play(play) => Ok(Some(play.world.init().map_err(setting)?.shows_goal())),
            Self::Episodes(_) => Ok(None),
        }
    }

    /// Play in which enough layouts are explored first for a model to learn steps between places.
    pub fn explored() -> Self {
        Self::Play(PlaySettings::explored())
    }

    /// Leaves out the exploration where nobody looks at what is explored; where steps between places are asked for by the setting of
    /// this key, an error unless layouts are explored.
    pub fn fit_exploration(&mut self, asked: bool, key: &str) -> Result<(), DataError> {
        match self {
            Self::Play(play) if !asked => play.explore.layouts = 0,
            Self::Play(play) if play.explore.layouts > 0 => {}
            _ if asked => {
                return Err(DataError::Setting(format!(
                    "`{key}` asks for steps between places, which play finds out by exploring layouts: set `data.explore.layouts`, or `{key}` to 0 (recorded episodes cannot be explored)"
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// What networks are built for, of a resolved config.
    pub fn form(&self) -> Result<Form, DataError> {
        let form = match self {
            Self::Play(PlaySettings { world, frameskip, normalise, actions, .. }) => {
                let spec = world.init().map_err(setting)?.spec().clone();
                Form {
                    observation: spec.observation,
                    action: frameskip * spec.action,
                    frameskip: *frameskip,
                    normalise: normalise.clone(),
                    actions: actions.clone(),
                }
            }
            Self::Episodes(EpisodesSettings { observation, frameskip, normalise, normalise_actions, .. }) => {
                let (Ok(observation), Auto::Value(frameskip)) = (observation.as_slice().try_into(), *frameskip) else {
                    return Err(DataError::Setting(
                        "`data.observation` and `data.frameskip` are not resolved: a run's config.toml names them"
                            .to_owned(),
                    ));
                };
                Form {
                    observation,
                    action: normalise_actions.mean.len(),
                    frameskip,
                    normalise: normalise.clone(),
                    actions: normalise_actions.clone(),
                }
            }
        };
        let [channels, _, _] = form.observation;
        for (what, expected, found) in [
            ("channels of an observation", channels, &form.normalise),
            ("numbers of an action", form.action, &form.actions),
        ] {
            let (means, deviations) = (found.mean.len(), found.std.len());
            if means != expected || deviations != expected {
                return Err(DataError::Setting(format!(
                    "there are {expected} {what}, but {means} means and {deviations} deviations in `data`: they were measured on different data"
                )));
            }
        }
        Ok(form)
    }
}

/// A world, and play in it.
pub struct Playground {
    /// The world.
    pub world: Arc<dyn World>,
    /// Normalised as the run has it.
    pub play: Play,
}

impl Playground {
    /// The world and play in it; means and deviations are measured if they are not there yet.
    pub fn open(settings: &PlaySettings, seed: u64) -> Result<Self, DataError> {
        let PlaySettings { world, episode, window, frameskip, explore, demonstrations, normalise, actions, padded } =
            settings;
        let world = world.init().map_err(setting)?;
        let config = PlayConfig { episode: *episode, window: *window, frameskip: *frameskip };
        let mut play = Play::unmeasured(Arc::clone(&world), config, seed).map_err(setting)?;
        if demonstrations.episodes > 0 {
            if explore.layouts > 0 {
                return Err(DataError::Setting(format!(
                    "`data.demonstrations.episodes` is {} and `data.explore.layouts` is {}: windows are of the one or of the other, so set one of them to 0",
                    demonstrations.episodes, explore.layouts
                )));
            }
            play = play.demonstrated(*demonstrations, *padded).map_err(setting)?;
        }
        if normalise.mean.is_empty() {
            play.demonstrations().map_or(Ok(()), |shown| shown.make()).map_err(setting)?;
            play = play.measured();
        } else {
            play = play.normalised_as(normalise.clone(), actions.clone());
        }
        if explore.layouts > 0 {
            let ExploreSettings { layouts, episodes, places } = *explore;
            play = play.explored(Explore { layouts, episodes, steps: *episode, places }).map_err(setting)?;
        }
        world.intact().map_err(setting)?;
        Ok(Self { world, play })
    }
}

/// Play or episodes, opened.
pub enum Experience {
    /// Generated play.
    Play(Playground),
    /// Recorded episodes, normalised as the run has it.
    Episodes(Episodes),
}

impl Experience {
    fn open_episodes(settings: &mut EpisodesSettings, decisions: &mut Vec<Decision>) -> Result<Episodes, DataError> {
        if settings.path.is_empty() {
            return Err(DataError::Setting(
                "`data.path` names no episodes: give an `.npz`, or a folder of them".to_owned(),
            ));
        }
        let every = settings.every;
        let best = || (EpisodesConfig::default().window, "three observations and the next".to_owned());
        let window = settings.window.resolve("data.window", decisions, best);
        let same = || (every, "as many actions as each observation has".to_owned());
        let frameskip = settings.frameskip.resolve("data.frameskip", decisions, same);
        let actions = (!settings.actions.is_empty()).then(|| PathBuf::from(&settings.actions));
        let (layout, ends, tail, one_hot) = (settings.layout, settings.ends.clone(), settings.tail, settings.one_hot);
        let (differences, padded) = (settings.differences, settings.padded);
        let observation = settings.observation.as_slice().try_into().ok();
        let config = EpisodesConfig {
            actions,
            every,
            window,
            frameskip,
            layout,
            ends,
            tail,
            one_hot,
            differences,
            observation,
            padded,
        };
        let episodes = Episodes::open(Path::new(&settings.path), config)?;
        decisions.extend_from_slice(episodes.decisions());
        let fingerprint = format!("{:016x}", episodes.fingerprint());
        if !settings.fingerprint.is_empty() && settings.fingerprint != fingerprint {
            return Err(DataError::changed(Unit { one: "episode", many: "episodes" }, &settings.path));
        }
        settings.fingerprint = fingerprint;
        settings.observation = episodes.observation().to_vec();
        if settings.normalise.mean.is_empty() {
            settings.normalise = episodes.normalise().clone();
            settings.normalise_actions = episodes.actions().clone();
        }
        Ok(episodes.normalised_as(settings.normalise.clone(), settings.normalise_actions.clone()))
    }
}

impl Modality for Experience {
    type Config = ExperienceConfig;
    type Sample = Window;
    const UNIT: Unit = Unit { one: "window", many: "windows" };
    const BASELINE: &'static str = "mean";
    const MEASURED: &'static [&'static str] = &["observation", "normalise", "normalise_actions", "fingerprint"];
    const PATHS: &'static [&'static str] = &["actions"];

    fn open(config: &mut ExperienceConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        match config {
            ExperienceConfig::Play(settings) => {
                let playground = Playground::open(settings, opening.seed)?;
                settings.world.remember(playground.world.as_ref());
                playground.play.demonstrations().map_or(Ok(()), |shown| shown.make()).map_err(setting)?;
                settings.normalise = playground.play.normalise().clone();
                settings.actions = playground.play.actions().clone();
                Ok(Self::Play(playground))
            }
            ExperienceConfig::Episodes(settings) => {
                Ok(Self::Episodes(Self::open_episodes(settings, opening.decisions)?))
            }
        }
    }

    fn of_paths(_: &ExperienceConfig, _: &[PathBuf]) -> Result<Self, DataError> {
        Err(DataError::Setting(
            "features of windows are not written: a model of a world is used by planning in it".to_owned(),
        ))
    }

    /// What was measured of other episodes is forgotten.
    fn elsewhere(config: &ExperienceConfig, path: &str) -> ExperienceConfig {
        let path = path.to_owned();
        ExperienceConfig::Episodes(match config {
            ExperienceConfig::Play(_) => EpisodesSettings { path, ..EpisodesSettings::default() },
            ExperienceConfig::Episodes(settings) => {
                let EpisodesSettings { fingerprint, observation, normalise, normalise_actions, .. } =
                    EpisodesSettings::default();
                EpisodesSettings { path, fingerprint, observation, normalise, normalise_actions, ..settings.clone() }
            }
        })
    }

    fn source(config: &ExperienceConfig) -> String {
        match config {
            ExperienceConfig::Play(settings) => settings.world.name().to_owned(),
            ExperienceConfig::Episodes(settings) => settings.path.clone(),
        }
    }

    fn recognises(path: &Path) -> bool {
        let npz = |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
        let holds = || std::fs::read_dir(path).is_ok_and(|entries| entries.flatten().any(|entry| npz(&entry.path())));
        npz(path) && !Series::recognises(path) || holds()
    }

    fn describe(&self) -> Description {
        let seen = |[channels, height, width]: [usize; 3], action: usize| {
            let text = format!("{channels} × {height} × {width}, actions of {action} numbers");
            ("seen".to_owned(), text)
        };
        match self {
            Self::Play(Playground { world, play }) => {
                let (spec, PlayConfig { episode, window, .. }) = (world.spec(), play.config());
                let mut facts = vec![seen(spec.observation, spec.action)];
                if let Some(demonstrations) = play.demonstrations() {
                    let [shown, reached, held_out] = demonstrations.counts();
                    let text = format!(
                        "{shown} to learn from, of which {reached} reach their goal, {held_out} held out; windows of {window} observations"
                    );
                    facts.push(("demonstrations".to_owned(), text));
                    let windows = [Split::Training, Split::HeldOut].map(|split| demonstrations.windows(split));
                    let numbers = [("demonstrations".to_owned(), json!(shown + held_out))].into();
                    let all = Description::of::<Self>("an expert's demonstrations", windows[0], windows[1]);
                    return Description { facts, numbers, ..all };
                }
                let text = format!("{window} observations of episodes of {episode}, no episode twice");
                facts.push(("play".to_owned(), text));
                if let Some(Explore { layouts, episodes, .. }) = play.explores() {
                    let text = format!("{layouts} layouts first, {episodes} episodes in each");
                    facts.push(("explored".to_owned(), text));
                }
                Description { facts, ..Description::of::<Self>("generated play", 0, 0) }
            }
            Self::Episodes(episodes) => {
                let [train, held_out] = [Part::Train, Part::HeldOut].map(|part| episodes.count(part));
                let [windows, judged] = [Part::Train, Part::HeldOut].map(|part| episodes.windows(part));
                let frameskip = episodes.frameskip();
                let actions = Unit { one: "action", many: "actions" }.counted(frameskip);
                let survey = episodes.survey();
                let mut facts = vec![
                    seen(episodes.observation(), episodes.action() / frameskip),
                    ("episodes".to_owned(), format!("{train} to learn from, {held_out} held out")),
                    ("ends".to_owned(), survey.endings()),
                    (
                        "window".to_owned(),
                        format!("{} observations, {actions} from one to the next", episodes.window()),
                    ),
                ];
                let label = |line| if line == 0 { "actions" } else { "" }.to_owned();
                facts.extend(survey.told_ranges().into_iter().enumerate().map(|(line, told)| (label(line), told)));
                let [terminal, timeout, unflagged] = survey.ends;
                let ends = json!({ "terminal": terminal, "timeout": timeout, "unflagged": unflagged, "unsaid": survey.unsaid });
                let numbers = [
                    ("episodes".to_owned(), json!(train + held_out)),
                    ("ends".to_owned(), ends),
                    ("action_ranges".to_owned(), json!(survey.ranges)),
                ]
                .into();
                let notes = episodes.notes().to_vec();
                Description { facts, numbers, notes, ..Description::of::<Self>("recorded episodes", windows, judged) }
            }
        }
    }

    fn len(&self, part: Part) -> Option<usize> {
        match self {
            Self::Play(Playground { play, .. }) => Some(play.demonstrations()?.windows(split(part))),
            Self::Episodes(episodes) => Some(episodes.windows(part)),
        }
    }

    fn meta(&self, _: Part, index: usize) -> Result<Meta, DataError> {
        Ok(Meta { name: format!("window {index}"), ..Meta::default() })
    }

    /// Of play, windows that no step of training takes.
    fn load(&self, part: Part, index: usize) -> Result<Window, DataError> {
        match self {
            Self::Play(Playground { play, world }) => {
                if let Some(demonstrations) = play.demonstrations() {
                    let windows = demonstrations.windows(split(part));
                    if index >= windows {
                        return Err(DataError::OutOfRange { part: part.name(), index, len: windows });
                    }
                    return Ok(demonstrations.window(split(part), index));
                }
                let window = play.window(split(part), 0, index as u64);
                world.intact().map_err(setting)?;
                Ok(window)
            }
            Self::Episodes(episodes) => episodes.cut_window(part, index),
        }
    }

    /// The first observation.
    fn baseline(&self, window: &Window) -> Vec<f32> {
        window.observations[..window.observations.len() / window.frames.max(1)].to_vec()
    }

    fn picture(&self, window: &Window) -> Option<Image> {
        let [channels, height, width] = match self {
            Self::Play(Playground { world, .. }) => world.spec().observation,
            Self::Episodes(episodes) => episodes.observation(),
        };
        let shown = matches!(channels, 1 | 3) && height > 1 && width > 1;
        shown.then(|| {
            let area = height * width;
            let byte = |i: usize| (window.observations[i % channels * area + i / channels] * 255.0).clamp(0.0, 255.0);
            Image { width, height, channels, pixels: (0..area * channels).map(|i| byte(i) as u8).collect() }
        })
    }

    fn training(self: &Arc<Self>, batch: usize, seed: u64) -> Result<Arc<dyn Source<Sample = Window>>, DataError> {
        Ok(match self.as_ref() {
            Self::Play(Playground { play, .. }) if play.demonstrations().is_some() => {
                Arc::new(Epochs::new(Arc::clone(self), batch, seed)?)
            }
            Self::Play(Playground { play, .. }) => play.training(batch),
            Self::Episodes(episodes) => episodes.training(batch, seed),
        })
    }
}
