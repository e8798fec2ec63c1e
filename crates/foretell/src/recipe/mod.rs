//! A recipe: everything that a run is a function of. A TOML file, the system's defaults below it, `--set` above it.

use std::path::Path;

use burn::tensor::Device;
use foretell_data::{Normalise, OnBadSample};
use foretell_jepa::Auto;
use foretell_jepa::systems::{Setting, i_jepa::IJepaConfig, le_jepa::LeJepaConfig};
use foretell_train::{RunFolder, TrainConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Error;
use crate::systems::SYSTEMS;

/// Systems that can be trained, by the names of the command line.
pub const TRAINABLE: [&str; 2] = ["i-jepa", "le-jepa"];

/// The system and its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// I-JEPA.
    IJepa(IJepaConfig),
    /// LeJEPA.
    LeJepa(LeJepaConfig),
}

impl Model {
    /// The command line's name.
    pub fn name(&self) -> &'static str {
        match self {
            Model::IJepa(_) => TRAINABLE[0],
            Model::LeJepa(_) => TRAINABLE[1],
        }
    }

    /// As people write it.
    pub fn title(&self) -> &'static str {
        match self {
            Model::IJepa(_) => "I-JEPA",
            Model::LeJepa(_) => "LeJEPA",
        }
    }
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

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Everything random is a function of it.
    pub seed: u64,
    /// Minutes to train for, where that decides the steps; 0 otherwise.
    pub minutes: f64,
    /// Epochs to train for, where that decides the steps; 0 otherwise.
    pub epochs: f64,
    /// Images.
    pub data: DataConfig,
    /// The loop.
    pub train: TrainConfig,
    /// The judgement.
    pub probe: ProbeConfig,
    /// The system.
    pub model: Model,
}

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

impl Recipe {
    /// A system with its defaults.
    pub fn of(system: &str) -> Result<Self, Error> {
        let (model, train) = match system {
            "i-jepa" => (Model::IJepa(IJepaConfig::default()), TrainConfig::default()),
            "le-jepa" => (
                Model::LeJepa(LeJepaConfig::default()),
                TrainConfig { lr: 2e-3, weight_decay: 0.05, final_weight_decay: 0.05, ..TrainConfig::default() },
            ),
            other if SYSTEMS.iter().any(|row| row.name == other) => {
                let able = TRAINABLE.join(" or ");
                return Err(Error::Misuse(format!(
                    "`{other}` belongs to the family but does not train yet: train {able}, and see `foretell systems`"
                )));
            }
            other => {
                return Err(Error::Misuse(unknown(
                    "system",
                    other,
                    TRAINABLE.into_iter(),
                    "`foretell systems` lists the family",
                )));
            }
        };
        Ok(Self {
            seed: 0,
            minutes: 0.0,
            epochs: 0.0,
            data: DataConfig::default(),
            train,
            probe: ProbeConfig::default(),
            model,
        })
    }

    /// SYSTEM of the command line: a name or the path of a recipe file, with `--set` entries on top.
    pub fn read(system: &str, sets: &[String]) -> Result<Self, Error> {
        let path = Path::new(system);
        let table = if path.is_file() || path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Error::Misuse(format!("cannot read the recipe {system}: {e}")))?;
            text.parse::<Table>()
                .map_err(|e| Error::Misuse(format!("{system} is not TOML: {}", in_one_line(&e, &text))))?
        } else {
            [("system".to_owned(), Value::String(system.to_owned()))].into_iter().collect()
        };
        Self::from_table(table, sets, system)
    }

    /// A recipe of TOML text, as stored in a run.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        let table = text
            .parse::<Table>()
            .map_err(|e| Error::Misuse(format!("{name} is not TOML: {}", in_one_line(&e, text))))?;
        Self::from_table(table, &[], name)
    }

    /// The resolved config of a run.
    pub fn of_run(folder: &RunFolder) -> Result<Self, Error> {
        let path = folder.config();
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::Misuse(format!("cannot read {}: {e}", path.display())))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// The optimiser steps of a resolved recipe.
    pub fn steps(&self) -> Result<u64, Error> {
        match self.train.steps {
            Auto::Value(steps) => Ok(steps),
            Auto::Auto => {
                Err(Error::Misuse("`train.steps` is not resolved: a run's config.toml names their number".to_owned()))
            }
        }
    }

    /// The image side of a resolved recipe, in pixels.
    pub fn image_size(&self) -> Result<usize, Error> {
        match self.data.image_size {
            Auto::Value(size) => Ok(size),
            Auto::Auto => {
                Err(Error::Misuse("`data.image_size` is not resolved: a run's config.toml names it".to_owned()))
            }
        }
    }

    /// The images, as people call them.
    pub fn data_name(&self) -> &str {
        if self.data.path.is_empty() { "built-in scenes" } else { &self.data.path }
    }

    /// The numbers that the system is built for, in a run of `steps` on images of so many channels.
    pub fn setting(&self, steps: u64, channels: usize, device: &Device) -> Result<Setting, Error> {
        Ok(Setting {
            image_size: self.image_size()?,
            channels,
            normalise: self.data.normalise.clone(),
            seed: self.seed,
            total_steps: steps,
            batch: self.train.batch,
            device: device.clone(),
            on_cpu: foretell_ops::on_cpu(device),
        })
    }

    fn from_table(mut asked: Table, sets: &[String], name: &str) -> Result<Self, Error> {
        for entry in sets {
            set(&mut asked, entry)?;
        }
        let system = match asked.get("system") {
            Some(Value::String(system)) => system.clone(),
            Some(other) => return Err(Error::Misuse(format!("`system` in {name} must be a name, found {other}"))),
            None => {
                return Err(Error::Misuse(format!(
                    "{name} names no system: begin it with `system = \"i-jepa\"` (one of {})",
                    TRAINABLE.join(", ")
                )));
            }
        };
        let mut merged = Self::of(&system)?.to_table();
        merge(&mut merged, &asked);
        let wrong = |e: toml::de::Error| {
            let text = e.to_string().trim_end().replace('\n', " ");
            Error::Misuse(unknown_field(&text, name).unwrap_or_else(|| format!("{name}: {text}")))
        };
        let recipe = match system.as_str() {
            "i-jepa" => {
                Layout::<IJepaConfig>::deserialize(Value::Table(merged)).map(|l| Self::from_layout(l, Model::IJepa))
            }
            _ => Layout::<LeJepaConfig>::deserialize(Value::Table(merged)).map(|l| Self::from_layout(l, Model::LeJepa)),
        }
        .map_err(wrong)?;
        check_keys(&asked, &recipe.to_table(), "", name)?;
        recipe.train.check().map_err(Error::Misuse)?;
        Ok(recipe)
    }

    fn from_layout<M>(layout: Layout<M>, model: impl Fn(M) -> Model) -> Self {
        Self {
            seed: layout.seed,
            minutes: layout.minutes,
            epochs: layout.epochs,
            data: layout.data,
            train: layout.train,
            probe: layout.probe,
            model: model(layout.model),
        }
    }

    fn to_table(&self) -> Table {
        fn layout<M: Serialize + Clone>(recipe: &Recipe, model: &M) -> Table {
            let layout = Layout {
                system: recipe.model.name().to_owned(),
                seed: recipe.seed,
                minutes: recipe.minutes,
                epochs: recipe.epochs,
                data: recipe.data.clone(),
                train: recipe.train.clone(),
                probe: recipe.probe.clone(),
                model: model.clone(),
            };
            Table::try_from(layout).expect("every setting has a TOML form")
        }
        match &self.model {
            Model::IJepa(model) => layout(self, model),
            Model::LeJepa(model) => layout(self, model),
        }
    }

    /// As TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.to_table()).expect("every setting has a TOML form")
    }
}

/// A TOML error as one line: where, and what.
fn in_one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or(text).lines().count().max(1));
    format!("line {line}: {}", error.message().replace('\n', "; "))
}

/// `key.path=value`; a value that is not TOML is taken as text.
fn set(table: &mut Table, entry: &str) -> Result<(), Error> {
    let Some((key, text)) = entry.split_once('=') else {
        return Err(Error::Misuse(format!(
            "`--set {entry}` is not of the form key=value, such as `--set train.lr=0.001`"
        )));
    };
    let value = format!("x = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("x"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut table = table;
    let mut parts = key.trim().split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            table.insert(part.to_owned(), value);
            break;
        }
        let inner = table.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        table = match inner {
            Value::Table(inner) => inner,
            other => {
                return Err(Error::Misuse(format!(
                    "`--set {entry}`: `{part}` is the value {other}, not a group of settings"
                )));
            }
        };
    }
    Ok(())
}

/// Puts `over` on top of `under`. A group that names another `kind` replaces the default one whole.
fn merge(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above))
                if above.get("kind").is_none_or(|kind| Some(kind) == below.get("kind")) =>
            {
                merge(below, above);
            }
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

/// An error for any key of `asked` that the resolved table does not have.
fn check_keys(asked: &Table, known: &Table, path: &str, name: &str) -> Result<(), Error> {
    for (key, value) in asked {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (known.get(key), value) {
            (Some(Value::Table(known)), Value::Table(asked)) => check_keys(asked, known, &full, name)?,
            (Some(_), _) => {}
            (None, _) => {
                let names = known
                    .keys()
                    .map(|k| if path.is_empty() { k.clone() } else { format!("{path}.{k}") })
                    .collect::<Vec<_>>();
                return Err(Error::Misuse(unknown(
                    "setting",
                    &full,
                    names.iter().map(String::as_str),
                    &format!("in {name}"),
                )));
            }
        }
    }
    Ok(())
}

/// The deserialiser's "unknown field `x`, expected `y` or `z` in `group`" in our words.
fn unknown_field(text: &str, name: &str) -> Option<String> {
    let text = &text[text.find("unknown field ")?..];
    let (fields, path) = text.split_once(" in `").unwrap_or((text, ""));
    let path = path.trim_end_matches('`');
    let full = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    // Every other piece between backticks is a name.
    let mut named = fields.split('`').skip(1).step_by(2).map(full);
    let found = named.next()?;
    let known: Vec<String> = named.collect();
    Some(unknown("setting", &found, known.iter().map(String::as_str), &format!("in {name}")))
}

/// "unknown WHAT `x` …: did you mean `y`?"
pub fn unknown<'a>(what: &str, found: &str, known: impl Iterator<Item = &'a str>, more: &str) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().min_by_key(|k| strsim::damerau_levenshtein(found, k));
    let hint = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
    format!("unknown {what} `{found}`{hint} Known here: {}. ({more})", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_its_own_text() {
        for system in TRAINABLE {
            let recipe = Recipe::of(system).unwrap();
            assert_eq!(Recipe::parse(&recipe.to_toml(), "x").unwrap(), recipe);
        }
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (entry, near) in
            [("train.bach=3", "train.batch"), ("modl.size=1", "model"), ("model.ema.schedul=1", "model.ema.schedule")]
        {
            let error = Recipe::read("i-jepa", &[entry.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{near}`")), "{error}");
        }
        assert!(Recipe::read("i-jep", &[]).unwrap_err().to_string().contains("did you mean `i-jepa`"));
    }

    #[test]
    fn wrong_types_and_values_are_one_sentence() {
        for entry in
            ["train.lr=fast", "train.batch=-1", "train.steps=0", "train.batch=1", "seed=x", "model.masks.targets=many"]
        {
            let error = Recipe::read("i-jepa", &[entry.to_owned()]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn another_kind_replaces_a_group_and_the_same_kind_is_merged() {
        let recipe = Recipe::read(
            "i-jepa",
            &[
                "model.masks.kind=official".to_owned(),
                "model.masks.min_keep=4".to_owned(),
                "model.ema.schedule.samples=77".to_owned(),
            ],
        )
        .unwrap();
        let text = recipe.to_toml();
        assert!(text.contains("official") && text.contains("samples = 77"), "{text}");
    }
}
