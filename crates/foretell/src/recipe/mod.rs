//! A recipe: everything that a run is a function of. A TOML file, the system's defaults below it, `--set` above it.
//!
//! What every run has stands here; what it is over, images or a world, brings the rest ([`Over`]).

mod keys;

use std::path::Path;

use foretell_jepa::Auto;
use foretell_train::{RunFolder, TrainConfig};
use serde::Serialize;
use toml::{Table, Value};

pub use keys::unknown;

use crate::Error;
use crate::images::OverImages;
use crate::systems::SYSTEMS;
use crate::world::OverWorld;
use keys::{check_keys, in_one_line, merge, set, unknown_field};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe<S> {
    /// Everything random is a function of it.
    pub seed: u64,
    /// Minutes to train for, where that decides the steps; 0 otherwise.
    pub minutes: f64,
    /// The loop.
    pub train: TrainConfig,
    /// The system, and what it learns from.
    pub over: S,
}

/// What a run is over: the settings that are its own, with the system's among them.
pub trait Over: Sized {
    /// Systems that learn from it, by the names of the command line.
    const SYSTEMS: &'static [&'static str];

    /// What a batch is made of, one of it and several.
    const SAMPLE: &'static str;
    /// See [`Over::SAMPLE`].
    const SAMPLES: &'static str;

    /// A system with its defaults; `None` if it learns from something else.
    fn of(system: &str) -> Option<Recipe<Self>>;

    /// The defaults for what was asked, which may name something else to learn from; `name` says where it was asked.
    fn fitting(recipe: Recipe<Self>, _asked: &Table, _name: &str) -> Result<Recipe<Self>, Error> {
        Ok(recipe)
    }

    /// The system, by the command line's name.
    fn system(&self) -> &'static str;

    /// The system as people write it.
    fn title(&self) -> &'static str;

    /// What is learnt from, as people call it.
    fn source(&self) -> &str;

    /// The same in a word, for the name of a folder.
    fn short_source(&self) -> String;

    /// The recipe that a whole table says.
    fn from_table(system: &str, table: Table) -> Result<Recipe<Self>, toml::de::Error>;

    /// The whole table of a recipe.
    fn to_table(recipe: &Recipe<Self>) -> Table;
}

/// Settings as a table.
pub(crate) fn as_table(settings: &impl Serialize) -> Table {
    Table::try_from(settings).expect("every setting has a TOML form")
}

impl<S: Over> Recipe<S> {
    /// The optimiser steps of a resolved recipe.
    pub fn steps(&self) -> Result<u64, Error> {
        match self.train.steps {
            Auto::Value(steps) => Ok(steps),
            Auto::Auto => {
                Err(Error::Misuse("`train.steps` is not resolved: a run's config.toml names their number".to_owned()))
            }
        }
    }

    /// As TOML text.
    pub fn to_toml(&self) -> String {
        toml::to_string(&S::to_table(self)).expect("every setting has a TOML form")
    }

    /// The defaults with what was asked on top.
    fn merged(self, asked: &Table, name: &str) -> Result<Self, Error> {
        let fitting = S::fitting(self, asked, name)?;
        let mut table = S::to_table(&fitting);
        merge(&mut table, asked);
        let wrong = |e: toml::de::Error| {
            let text = e.to_string().trim_end().replace('\n', " ");
            Error::Misuse(unknown_field(&text, name).unwrap_or_else(|| format!("{name}: {text}")))
        };
        let recipe = S::from_table(fitting.over.system(), table).map_err(wrong)?;
        check_keys(asked, &S::to_table(&recipe), "", name)?;
        recipe.train.check().map_err(Error::Misuse)?;
        Ok(recipe)
    }
}

/// A recipe over whatever its system learns from.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyRecipe {
    /// Images.
    Images(Recipe<OverImages>),
    /// A world.
    World(Recipe<OverWorld>),
}

/// Systems that can be trained, by the names of the command line.
pub fn trainable() -> impl Iterator<Item = &'static str> {
    OverImages::SYSTEMS.iter().chain(OverWorld::SYSTEMS).copied()
}

impl AnyRecipe {
    /// A system with its defaults.
    pub fn of(system: &str) -> Result<Self, Error> {
        if let Some(recipe) = OverImages::of(system) {
            return Ok(Self::Images(recipe));
        }
        if let Some(recipe) = OverWorld::of(system) {
            return Ok(Self::World(recipe));
        }
        if SYSTEMS.iter().any(|row| row.name == system) {
            let able = trainable().collect::<Vec<_>>().join(", ");
            return Err(Error::Misuse(format!(
                "`{system}` belongs to the family but does not train yet: train one of {able}, and see `foretell systems`"
            )));
        }
        Err(Error::Misuse(unknown("system", system, trainable(), "`foretell systems` lists the family")))
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
                    trainable().collect::<Vec<_>>().join(", ")
                )));
            }
        };
        Ok(match Self::of(&system)? {
            Self::Images(recipe) => Self::Images(recipe.merged(&asked, name)?),
            Self::World(recipe) => Self::World(recipe.merged(&asked, name)?),
        })
    }

    /// As TOML text.
    pub fn to_toml(&self) -> String {
        match self {
            Self::Images(recipe) => recipe.to_toml(),
            Self::World(recipe) => recipe.to_toml(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_survives_its_own_text() {
        for system in trainable() {
            let recipe = AnyRecipe::of(system).unwrap();
            assert_eq!(AnyRecipe::parse(&recipe.to_toml(), "x").unwrap(), recipe);
        }
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (entry, near) in
            [("train.bach=3", "train.batch"), ("modl.size=1", "model"), ("model.ema.schedul=1", "model.ema.schedule")]
        {
            let error = AnyRecipe::read("i-jepa", &[entry.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{near}`")), "{error}");
        }
        assert!(AnyRecipe::read("i-jep", &[]).unwrap_err().to_string().contains("did you mean `i-jepa`"));
    }

    #[test]
    fn a_world_is_a_group_with_a_kind() {
        let read = |entry: &str| AnyRecipe::read("eb-jepa", &[entry.to_owned()]);
        for (entry, part) in [
            ("world.kind=maze", "kind = \"maze\""),
            ("world.resolution=48", "resolution = 48"),
            ("play.window=9", "window = 9"),
            ("model.terms.variance=4.0", "variance = 4.0"),
        ] {
            assert!(read(entry).unwrap().to_toml().contains(part), "{entry}");
        }
        for (entry, part) in [
            ("world.resoluton=48", "world.resolution"),
            ("play.windw=9", "did you mean `play.window`"),
            ("data.pth=x", "did you mean `data.path`"),
            ("world.kind=mze", "maze"),
        ] {
            let error = read(entry).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn data_of_a_world_model_are_recorded_episodes() {
        let read = |entries: &[&str]| {
            let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
            AnyRecipe::read("eb-jepa", &entries)
        };
        let recipe = read(&["data.path=x", "data.every=3"]).unwrap();
        let text = recipe.to_toml();
        assert!(text.contains("every = 3") && text.contains("reach = 0.0"), "{text}");
        assert!(!text.contains("[world]") && !text.contains("[play]"), "{text}");
        assert_eq!(AnyRecipe::parse(&text, "x").unwrap(), recipe);
        let in_a_world = read(&[]).unwrap().to_toml();
        assert!(in_a_world.contains("[world]") && in_a_world.contains("[play]"), "{in_a_world}");
        assert!(!in_a_world.contains("[data]") && !in_a_world.contains("reach = 0.0"), "{in_a_world}");
        for both in ["world.kind=maze", "play.window=9"] {
            let error = read(&["data.path=x", both]).unwrap_err().to_string();
            assert!(error.contains("`data`") && error.contains("a run learns from one of them"), "{error}");
        }
    }

    #[test]
    fn wrong_types_and_values_are_one_sentence() {
        for entry in
            ["train.lr=fast", "train.batch=-1", "train.steps=0", "train.batch=1", "seed=x", "model.masks.targets=many"]
        {
            let error = AnyRecipe::read("i-jepa", &[entry.to_owned()]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn another_kind_replaces_a_group_and_the_same_kind_is_merged() {
        let recipe = AnyRecipe::read(
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
