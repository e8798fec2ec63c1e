//! The settings of a run of a world model.

use foretell_jepa::dynamics::Terms;
use foretell_jepa::systems::eb_jepa::{ActorConfig, EbJepaConfig, ReachConfig};
use foretell_jepa::systems::le_wm::LeWmConfig;
use foretell_train::TrainConfig;
use foretell_world::WorldConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::experience::{ExperienceConfig, PlaySettings, RecordedSettings};
use crate::Error;
use crate::recipe::{Over, Recipe, as_table};

/// The system and its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// EB-JEPA, action-conditioned.
    EbJepa(EbJepaConfig),
    /// LeWorldModel.
    LeWm(LeWmConfig),
}

impl Model {
    /// The command line's name.
    pub fn system(&self) -> &'static str {
        match self {
            Self::EbJepa(_) => OverWorld::SYSTEMS[0],
            Self::LeWm(_) => OverWorld::SYSTEMS[1],
        }
    }

    /// As people write it.
    pub fn title(&self) -> &'static str {
        match self {
            Self::EbJepa(_) => "EB-JEPA",
            Self::LeWm(_) => "LeWorldModel",
        }
    }

    /// Observations that it looks back on to foretell the next.
    pub fn history(&self) -> usize {
        match self {
            Self::EbJepa(_) => 1,
            Self::LeWm(config) => config.history,
        }
    }

    /// Observations of the windows that it is best given, and why.
    pub fn window(&self) -> (usize, String) {
        match self {
            Self::EbJepa(EbJepaConfig { rollout, .. }) => {
                (rollout + 1, format!("one and the {rollout} foretold from it"))
            }
            Self::LeWm(LeWmConfig { history, .. }) => {
                (history + 1, format!("the {history} looked back on and the next"))
            }
        }
    }

    /// How its actor learns, if it has one.
    pub fn actor(&self) -> Option<ActorConfig> {
        match self {
            Self::EbJepa(EbJepaConfig { actor, .. }) if self.reach().is_some() && actor.steps > 0 => Some(*actor),
            _ => None,
        }
    }

    /// What it explores before it learns, if it does.
    pub fn reach(&self) -> Option<ReachConfig> {
        match self {
            Self::EbJepa(EbJepaConfig { terms, reach, .. }) if terms.reach > 0.0 => Some(*reach),
            _ => None,
        }
    }
}

/// What a run over a world has that others have not.
#[derive(Clone, Debug, PartialEq)]
pub struct OverWorld {
    /// What is learnt from.
    pub experience: ExperienceConfig,
    /// The system.
    pub model: Model,
}

/// The order of a recipe's text, with `data` for recorded episodes or else `world` and `play`.
#[derive(Serialize, Deserialize)]
struct Layout<M> {
    system: String,
    seed: u64,
    minutes: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    world: Option<WorldConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    play: Option<PlaySettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<RecordedSettings>,
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
        Some(Recipe { seed: 0, minutes: 0.0, train, over: Self { experience: ExperienceConfig::default(), model } })
    }

    /// A recipe that speaks of `data` is over recorded episodes. Nothing is explored there, so the terms that need it are off.
    fn fitting(mut recipe: Recipe<Self>, asked: &Table, name: &str) -> Result<Recipe<Self>, Error> {
        if !asked.contains_key("data") {
            return Ok(recipe);
        }
        if let Some(key) = ["world", "play"].into_iter().find(|key| asked.contains_key(*key)) {
            return Err(Error::Misuse(format!(
                "both `data`, recorded episodes, and `{key}`, play in a world, are set, and a run learns from one of them: leave the other out (in {name})"
            )));
        }
        recipe.over.experience = ExperienceConfig::Recorded(RecordedSettings::default());
        if let Model::EbJepa(EbJepaConfig { terms, .. }) = &mut recipe.over.model {
            *terms = Terms { reach: 0.0, reach_ahead: 0.0, actor: 0.0, ..*terms };
        }
        Ok(recipe)
    }

    fn system(&self) -> &'static str {
        self.model.system()
    }

    fn title(&self) -> &'static str {
        self.model.title()
    }

    fn source(&self) -> &str {
        self.experience.source()
    }

    fn short_source(&self) -> String {
        self.experience.short_source()
    }

    fn from_table(system: &str, table: Table) -> Result<Recipe<Self>, toml::de::Error> {
        fn recipe<M>(layout: Layout<M>, model: impl Fn(M) -> Model) -> Recipe<OverWorld> {
            let Layout { seed, minutes, world, play, data, train, model: settings, .. } = layout;
            let experience = match data {
                Some(recorded) => ExperienceConfig::Recorded(recorded),
                None => ExperienceConfig::Play { world: world.unwrap_or_default(), play: play.unwrap_or_default() },
            };
            Recipe { seed, minutes, train, over: OverWorld { experience, model: model(settings) } }
        }
        match system {
            "eb-jepa" => Layout::deserialize(Value::Table(table)).map(|layout| recipe(layout, Model::EbJepa)),
            _ => Layout::deserialize(Value::Table(table)).map(|layout| recipe(layout, Model::LeWm)),
        }
    }

    fn to_table(recipe: &Recipe<Self>) -> Table {
        fn table<M: Serialize>(Recipe { seed, minutes, train, over }: &Recipe<OverWorld>, model: &M) -> Table {
            let (world, play, data) = match &over.experience {
                ExperienceConfig::Play { world, play } => (Some(*world), Some(play.clone()), None),
                ExperienceConfig::Recorded(recorded) => (None, None, Some(recorded.clone())),
            };
            as_table(&Layout {
                system: over.system().to_owned(),
                seed: *seed,
                minutes: *minutes,
                world,
                play,
                data,
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
