//! The settings of a run over a world.

use foretell_data::Normalise;
use foretell_jepa::systems::{eb_jepa::EbJepaConfig, le_wm::LeWmConfig};
use foretell_train::TrainConfig;
use foretell_world::{PlayConfig, WorldConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::recipe::{Over, Recipe, as_table};

/// The system and its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// EB-JEPA, action-conditioned.
    EbJepa(EbJepaConfig),
    /// LeWorldModel.
    LeWm(LeWmConfig),
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

impl PlaySettings {
    /// As the generator takes them.
    pub fn config(&self) -> PlayConfig {
        PlayConfig { episode: self.episode, window: self.window, frameskip: self.frameskip }
    }
}

/// What a run over a world has that others have not.
#[derive(Clone, Debug, PartialEq)]
pub struct OverWorld {
    /// The world.
    pub world: WorldConfig,
    /// Play in it.
    pub play: PlaySettings,
    /// The system.
    pub model: Model,
}

/// The order of a recipe's text.
#[derive(Serialize, Deserialize)]
struct Layout<M> {
    system: String,
    seed: u64,
    minutes: f64,
    world: WorldConfig,
    play: PlaySettings,
    train: TrainConfig,
    model: M,
}

impl Over for OverWorld {
    const SYSTEMS: &'static [&'static str] = &["eb-jepa", "le-wm"];
    const SAMPLE: &'static str = "window";
    const SAMPLES: &'static str = "windows";

    /// EB-JEPA's loop is the paper's for Two Rooms (arXiv 2602.03604): no decay to speak of, a tight clip.
    fn of(system: &str) -> Option<Recipe<Self>> {
        let train = TrainConfig {
            batch: 64,
            lr: 1e-3,
            weight_decay: 1e-5,
            final_weight_decay: 1e-5,
            clip: 2.0,
            ..TrainConfig::default()
        };
        let model = match system {
            "eb-jepa" => Model::EbJepa(EbJepaConfig::default()),
            "le-wm" => Model::LeWm(LeWmConfig::default()),
            _ => return None,
        };
        let over = Self { world: WorldConfig::default(), play: PlaySettings::default(), model };
        Some(Recipe { seed: 0, minutes: 0.0, train, over })
    }

    fn system(&self) -> &'static str {
        match self.model {
            Model::EbJepa(_) => Self::SYSTEMS[0],
            Model::LeWm(_) => Self::SYSTEMS[1],
        }
    }

    fn title(&self) -> &'static str {
        match self.model {
            Model::EbJepa(_) => "EB-JEPA",
            Model::LeWm(_) => "LeWorldModel",
        }
    }

    fn source(&self) -> &str {
        self.world.name()
    }

    fn short_source(&self) -> String {
        self.world.name().to_owned()
    }

    fn from_table(system: &str, table: Table) -> Result<Recipe<Self>, toml::de::Error> {
        fn recipe<M>(layout: Layout<M>, model: impl Fn(M) -> Model) -> Recipe<OverWorld> {
            let Layout { seed, minutes, world, play, train, model: settings, .. } = layout;
            Recipe { seed, minutes, train, over: OverWorld { world, play, model: model(settings) } }
        }
        match system {
            "eb-jepa" => Layout::deserialize(Value::Table(table)).map(|layout| recipe(layout, Model::EbJepa)),
            _ => Layout::deserialize(Value::Table(table)).map(|layout| recipe(layout, Model::LeWm)),
        }
    }

    fn to_table(recipe: &Recipe<Self>) -> Table {
        fn table<M: Serialize>(Recipe { seed, minutes, train, over }: &Recipe<OverWorld>, model: &M) -> Table {
            as_table(&Layout {
                system: over.system().to_owned(),
                seed: *seed,
                minutes: *minutes,
                world: over.world,
                play: over.play.clone(),
                train: train.clone(),
                model,
            })
        }
        match &recipe.over.model {
            Model::EbJepa(model) => table(recipe, model),
            Model::LeWm(model) => table(recipe, model),
        }
    }
}
