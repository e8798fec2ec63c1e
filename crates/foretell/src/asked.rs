//! What is asked of a run: a system or a recipe file, with single settings on top.

use std::path::Path;

use foretell_data::Decision;
use foretell_systems::{Member, family, recipe};
use toml::{Table, Value};

use crate::Error;
use crate::account::decisions_in;

/// How long a run trains. One of these decides; what a recipe says of the others no longer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Steps {
    /// As the recipe says, else as the system has it for these data.
    #[default]
    Usual,
    /// So many optimiser steps.
    Count(u64),
    /// So many passes over the data.
    Epochs(f64),
    /// So many minutes of training: a short calibration fixes the number of steps.
    Minutes(f64),
}

/// See the module.
pub(crate) struct Asked {
    table: Table,
    /// Where it came from, for messages.
    name: String,
    /// Of a run's config, what the program chose; nothing that was set on top.
    chosen: Vec<Decision>,
}

impl Asked {
    /// Of a system's name or a recipe file.
    pub(crate) fn of(system: &str) -> Result<Self, Error> {
        let path = Path::new(system);
        if path.is_file() || path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Error::Misuse(format!("cannot read the recipe {system}: {e}")))?;
            let chosen = path.parent().filter(|_| path.ends_with("config.toml")).map(decisions_in);
            return Ok(Self { chosen: chosen.unwrap_or_default(), ..Self::of_text(&text, system)? });
        }
        let table = [("system".to_owned(), Value::String(system.to_owned()))].into_iter().collect();
        Ok(Self { table, name: system.to_owned(), chosen: Vec::new() })
    }

    /// Of a recipe's text.
    pub(crate) fn of_text(text: &str, name: &str) -> Result<Self, Error> {
        Ok(Self { table: recipe::parse(text, name)?, name: name.to_owned(), chosen: Vec::new() })
    }

    /// Puts `key=value` on top.
    pub(crate) fn set(&mut self, entry: &str) -> Result<(), Error> {
        let (key, value) = recipe::entry(entry)?;
        if key == "data.path" {
            self.forget_measured()?;
        }
        self.chosen.retain(|decision| decision.what != key);
        Ok(recipe::set(&mut self.table, key, value)?)
    }

    /// Puts a value on top.
    pub(crate) fn put(&mut self, key: &str, value: Value) -> Result<(), Error> {
        self.chosen.retain(|decision| decision.what != key);
        recipe::set(&mut self.table, key, value).map_err(|error| Error::Misuse(format!("{}: {error}", self.name)))
    }

    /// Decides how long the run trains.
    pub(crate) fn steps(&mut self, steps: Steps) -> Result<(), Error> {
        let (key, value) = match steps {
            Steps::Usual => return Ok(()),
            Steps::Count(steps) => ("train.steps", Value::Integer(i64::try_from(steps).unwrap_or(i64::MAX))),
            Steps::Epochs(epochs) => ("epochs", Value::Float(epochs)),
            Steps::Minutes(minutes) => ("minutes", Value::Float(minutes)),
        };
        if let Steps::Epochs(number) | Steps::Minutes(number) = steps
            && !(number > 0.0 && number.is_finite())
        {
            return Err(Error::Misuse(format!("`{key}` must be a positive number, found {number}")));
        }
        // Evaluations and checkpoints were placed in, and a teacher was made for, a run of another length.
        self.choose_again(|key| key.starts_with("train.") || key.starts_with("model.ema."))?;
        self.put("train.steps", Value::from("auto"))?;
        self.put("epochs", Value::from(0.0))?;
        self.put("minutes", Value::from(0.0))?;
        self.put(key, value)
    }

    /// Forgets what was measured of a run's data and what the program chose for them: others are measured anew, and what was set
    /// stays. What a recipe says that no run has written was set.
    pub(crate) fn forget_measured(&mut self) -> Result<(), Error> {
        /// A run writes all of them.
        const WRITTEN: [&str; 6] = ["seed", "minutes", "data", "train", "judge", "model"];
        if WRITTEN.iter().all(|group| self.table.contains_key(*group))
            && let Ok(member) = self.member()
        {
            for key in member.measured() {
                recipe::remove(&mut self.table, &key);
            }
        }
        self.choose_again(|_| true)
    }

    /// Opens again what the program chose for a run, where it has not been changed since.
    fn choose_again(&mut self, which: impl Fn(&str) -> bool) -> Result<(), Error> {
        let chosen = std::mem::take(&mut self.chosen);
        for Decision { what, value, .. } in chosen.iter().filter(|decision| which(&decision.what)) {
            let stands = match recipe::get(&self.table, what) {
                Some(Value::String(found)) => found == value,
                // What was found in the data; other lists have no `auto`: they are chosen by the networks' size alone.
                Some(Value::Array(_)) if what.starts_with("data.") => {
                    recipe::set(&mut self.table, what, Value::Array(Vec::new()))?;
                    false
                }
                Some(found @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_))) => found.to_string() == *value,
                _ => false,
            };
            if stands {
                recipe::set(&mut self.table, what, Value::from("auto"))?;
            }
        }
        self.chosen = chosen;
        Ok(())
    }

    /// What a run's outcome follows from, but for its seed and what was measured of its data or chosen for it on the way: the same
    /// for runs that differ by the seed alone.
    pub(crate) fn alike(&self) -> Result<Table, Error> {
        /// Of `[train]`, what is written and looked at meanwhile.
        const WATCHED: [&str; 6] =
            ["log_every", "checkpoint_every", "keep_checkpoints", "health_every", "judge_every", "loader_threads"];
        let mut alike = self.copy();
        alike.forget_measured()?;
        let mut table = alike.table;
        table.remove("seed");
        if recipe::get(&table, "minutes").and_then(Value::as_float).is_some_and(|minutes| minutes > 0.0) {
            recipe::set(&mut table, "train.steps", Value::from("auto"))?;
        }
        if let Some(Value::Table(train)) = table.get_mut("train") {
            for key in WATCHED {
                train.remove(key);
            }
        }
        Ok(table)
    }

    /// The same once more.
    pub(crate) fn copy(&self) -> Self {
        Self { table: self.table.clone(), name: self.name.clone(), chosen: self.chosen.clone() }
    }

    /// The same data, budget and evaluation for another system, which keeps its own rates.
    pub(crate) fn for_system(&self, system: &str) -> Self {
        const SHARED: [&str; 5] = ["data", "judge", "seed", "minutes", "epochs"];
        /// Of `[train]`.
        const BUDGET: [&str; 8] = [
            "batch",
            "steps",
            "log_every",
            "checkpoint_every",
            "keep_checkpoints",
            "health_every",
            "judge_every",
            "loader_threads",
        ];
        let take = |table: &Table, keys: &[&str]| -> Table {
            keys.iter().filter_map(|key| Some(((*key).to_owned(), table.get(*key)?.clone()))).collect()
        };
        let mut table = take(&self.table, &SHARED);
        table.insert("system".to_owned(), Value::from(system));
        if let Some(Value::Table(train)) = self.table.get("train") {
            table.insert("train".to_owned(), Value::Table(take(train, &BUDGET)));
        }
        Self { table, name: self.name.clone(), chosen: Vec::new() }
    }

    /// What was asked of it so far.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// An error if it is a run's and an earlier version wrote it: since then every run says how it is judged.
    pub(crate) fn check_version(&self) -> Result<(), Error> {
        if self.table.contains_key("judge") {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "{} was written by an earlier version, whose runs this one cannot read: train again",
            self.name
        )))
    }

    /// The member of the family that it names.
    pub(crate) fn member(&self) -> Result<&'static dyn Member, Error> {
        let name = &self.name;
        match self.table.get("system") {
            Some(Value::String(system)) => family::find(system).map_err(Error::Misuse),
            Some(other) => Err(Error::Misuse(format!("`system` in {name} must be a name, found {other}"))),
            None => {
                let names = family::members().map(|member| member.row().name).collect::<Vec<_>>().join(", ");
                Err(Error::Misuse(format!("{name} names no `system`: begin it with one of {names}")))
            }
        }
    }

    /// The whole recipe of a member with this on top.
    pub(crate) fn whole(&self, member: &dyn Member) -> Result<Table, Error> {
        let name = &self.name;
        // Version 0.1 wrote these groups.
        if let Some(old) = ["world", "play", "probe"].into_iter().find(|group| self.table.contains_key(*group)) {
            return Err(Error::Misuse(format!(
                "{name} has the group `{old}`, which an earlier version wrote and this one cannot read: train again"
            )));
        }
        Ok(member.recipe(&self.table, name)?)
    }

    /// The settings that a member has with these data, whatever else is asked.
    pub(crate) fn known(&self, member: &dyn Member) -> Table {
        let mut data = Table::new();
        for key in ["kind", "path"] {
            if let Some(value) = recipe::get(&self.table, &format!("data.{key}")) {
                data.insert(key.to_owned(), value.clone());
            }
        }
        let only = [("data".to_owned(), Value::Table(data))].into_iter().collect();
        member.recipe(&only, &self.name).unwrap_or_else(|_| member.defaults())
    }
}
