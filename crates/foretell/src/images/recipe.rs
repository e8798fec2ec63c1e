//! The settings of a run over images.

use std::path::Path;

use foretell_data::{Normalise, OnBadSample};
use foretell_jepa::Auto;
use foretell_jepa::systems::{i_jepa::IJepaConfig, le_jepa::LeJepaConfig};
use foretell_train::TrainConfig;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Error;
use crate::recipe::{Over, Recipe, as_table};

/// The system and its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// I-JEPA.
    IJepa(IJepaConfig),
    /// LeJEPA.
    LeJepa(LeJepaConfig),
}

/// Where images come from and how they are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataConfig {
    /// A folder, a tar, IDX files or CIFAR binaries; empty for the built-in generated scenes.
    pub path: String,
    /// Side to which images are brought, in pixels.
    pub image_size: Auto<usize>,
    /// What to do with an image that cannot be read.
    pub on_bad_sample: OnBadSample,
    /// Mean and standard deviation of the training part; empty until measured.
    pub normalise: Normalise,
    /// Of the data set when the run began, so that a resumed run notices another; 0 until taken.
    pub fingerprint: String,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            image_size: Auto::Auto,
            on_bad_sample: OnBadSample::Fail,
            normalise: Normalise { mean: Vec::new(), std: Vec::new() },
            fingerprint: String::new(),
        }
    }
}

/// How the kept encoder is judged at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeConfig {
    /// Training images that probes learn from, at most, evenly spread.
    pub train_images: Auto<usize>,
}

/// What a run over images has that others have not.
#[derive(Clone, Debug, PartialEq)]
pub struct OverImages {
    /// Epochs to train for, where that decides the steps; 0 otherwise.
    pub epochs: f64,
    /// Images.
    pub data: DataConfig,
    /// The judgement.
    pub probe: ProbeConfig,
    /// The system.
    pub model: Model,
}

impl OverImages {
    /// The image side of a resolved recipe, in pixels.
    pub fn image_size(&self) -> Result<usize, Error> {
        match self.data.image_size {
            Auto::Value(size) => Ok(size),
            Auto::Auto => {
                Err(Error::Misuse("`data.image_size` is not resolved: a run's config.toml names it".to_owned()))
            }
        }
    }
}

/// The order of a recipe's text.
#[derive(Serialize, Deserialize)]
struct Layout<M> {
    system: String,
    seed: u64,
    minutes: f64,
    epochs: f64,
    data: DataConfig,
    train: TrainConfig,
    probe: ProbeConfig,
    model: M,
}

impl Over for OverImages {
    const SYSTEMS: &'static [&'static str] = &["i-jepa", "le-jepa"];
    const SAMPLE: &'static str = "image";
    const SAMPLES: &'static str = "images";

    fn of(system: &str) -> Option<Recipe<Self>> {
        let (model, train) = match system {
            "i-jepa" => (Model::IJepa(IJepaConfig::default()), TrainConfig::default()),
            "le-jepa" => (
                Model::LeJepa(LeJepaConfig::default()),
                TrainConfig { lr: 2e-3, weight_decay: 0.05, final_weight_decay: 0.05, ..TrainConfig::default() },
            ),
            _ => return None,
        };
        let over = Self { epochs: 0.0, data: DataConfig::default(), probe: ProbeConfig::default(), model };
        Some(Recipe { seed: 0, minutes: 0.0, train, over })
    }

    fn system(&self) -> &'static str {
        match self.model {
            Model::IJepa(_) => Self::SYSTEMS[0],
            Model::LeJepa(_) => Self::SYSTEMS[1],
        }
    }

    fn title(&self) -> &'static str {
        match self.model {
            Model::IJepa(_) => "I-JEPA",
            Model::LeJepa(_) => "LeJEPA",
        }
    }

    fn source(&self) -> &str {
        if self.data.path.is_empty() { "built-in scenes" } else { &self.data.path }
    }

    fn short_source(&self) -> String {
        let path = Path::new(&self.data.path);
        path.file_stem().map_or("scenes".to_owned(), |stem| stem.to_string_lossy().into_owned())
    }

    fn from_table(system: &str, table: Table) -> Result<Recipe<Self>, toml::de::Error> {
        fn recipe<M>(layout: Layout<M>, model: impl Fn(M) -> Model) -> Recipe<OverImages> {
            let Layout { seed, minutes, epochs, data, train, probe, model: settings, .. } = layout;
            Recipe { seed, minutes, train, over: OverImages { epochs, data, probe, model: model(settings) } }
        }
        match system {
            "i-jepa" => Layout::deserialize(Value::Table(table)).map(|layout| recipe(layout, Model::IJepa)),
            _ => Layout::deserialize(Value::Table(table)).map(|layout| recipe(layout, Model::LeJepa)),
        }
    }

    fn to_table(recipe: &Recipe<Self>) -> Table {
        fn table<M: Serialize>(Recipe { seed, minutes, train, over }: &Recipe<OverImages>, model: &M) -> Table {
            as_table(&Layout {
                system: over.system().to_owned(),
                seed: *seed,
                minutes: *minutes,
                epochs: over.epochs,
                data: over.data.clone(),
                train: train.clone(),
                probe: over.probe.clone(),
                model,
            })
        }
        match &recipe.over.model {
            Model::IJepa(model) => table(recipe, model),
            Model::LeJepa(model) => table(recipe, model),
        }
    }
}
