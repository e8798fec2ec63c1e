//! A recipe: everything that a run is a function of, in one layout for all systems. The system's defaults, on top of them a
//! TOML file, on top of that single settings.

use std::str::FromStr;

use foretell_jepa::Auto;
use foretell_ops::Precision;
use foretell_train::TrainConfig;
use foretell_train::probing::{AttentiveSettings, FinetuneSettings};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// See the module: `D` are the settings of the data, `M` those of the system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe<D, M> {
    /// The system, by its name.
    pub system: String,
    /// Random seed: config and seed determine a run completely.
    pub seed: u64,
    /// Minutes to train for, where that decides the steps; 0 otherwise.
    pub minutes: f64,
    /// Epochs to train for, where that decides the steps; 0 otherwise.
    pub epochs: f64,
    /// What is learnt from.
    pub data: D,
    /// The loop.
    pub train: TrainConfig,
    /// The judgement at the end.
    pub judge: JudgeConfig,
    /// The system.
    pub model: M,
}

impl<D: DeserializeOwned, M: DeserializeOwned> Recipe<D, M> {
    /// The recipe that a whole table says; `name` says where it came from.
    pub(crate) fn of_table(table: Table, name: &str) -> Result<Self, RecipeError> {
        let wrong = |error: toml::de::Error| {
            RecipeError(format!("{name}: {}", error.to_string().trim_end().replace('\n', " ")))
        };
        Value::Table(table).try_into().map_err(wrong)
    }
}

/// How the kept encoder is judged at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JudgeConfig {
    /// Training samples that probes learn from, at most, evenly spread.
    pub train_samples: Auto<usize>,
    /// What features and raw pixels may take of the memory, in MiB; those beyond it lie in a temporary file. No figure depends on it.
    pub memory: usize,
    /// In how many bits the encoders' maps are held while probes' features are computed.
    #[serde(with = "PrecisionName")]
    pub precision: Precision,
    /// What is made of labels at the end of a run, and by `foretell probe` where nothing else is asked for.
    pub probes: Vec<ProbeKind>,
    /// Settings of the attentive probe.
    pub attentive: AttentiveSettings,
    /// Settings of fine-tuning.
    pub finetune: FinetuneSettings,
    /// Of a model of a world, held-out episodes that are planned and shown at the end of a run.
    pub episodes: usize,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            train_samples: Auto::default(),
            memory: 1024,
            precision: Precision::F32,
            probes: vec![ProbeKind::Linear],
            attentive: AttentiveSettings::default(),
            finetune: FinetuneSettings::default(),
            episodes: 3,
        }
    }
}

/// How labels are read from an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// Nearest neighbours and logistic regression on frozen features.
    Linear,
    /// A query that learns what to look at among frozen tokens.
    Attentive,
    /// The whole network learns.
    Finetune,
    /// A kept predictor learns, on a frozen encoder.
    Predictor,
}

impl FromStr for ProbeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "linear" => Ok(Self::Linear),
            "attentive" => Ok(Self::Attentive),
            "finetune" => Ok(Self::Finetune),
            "predictor" => Ok(Self::Predictor),
            _ => Err(format!("no probe is called `{text}`: expected linear, attentive, finetune or predictor")),
        }
    }
}

/// [`Precision`] as recipes name it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Precision", rename_all = "lowercase")]
enum PrecisionName {
    F32,
    Bf16,
    Int8,
}

/// What is wrong with a recipe, in a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RecipeError(pub String);

impl RecipeError {
    /// With the name of the setting without which `right` says yes: of a group with a `kind`, the reader names the group alone.
    pub(crate) fn of(self, asked: &Table, name: &str, right: &dyn Fn(&Table) -> bool) -> Self {
        let wrong = leaves(asked, "").into_iter().find(|key| {
            let mut rest = asked.clone();
            take(&mut rest, key);
            right(&rest)
        });
        match wrong {
            Some(key) if !self.0.contains(&format!("`{key}`")) => {
                let what = self.0.strip_prefix(&format!("{name}: ")).unwrap_or(&self.0);
                Self(format!("{name}: `{key}`: {what}"))
            }
            _ => self,
        }
    }
}

/// The keys of all settings that are no groups.
fn leaves(table: &Table, path: &str) -> Vec<String> {
    let full = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let below = |(key, value): (&String, &Value)| match value {
        Value::Table(group) => leaves(group, &full(key)),
        _ => vec![full(key)],
    };
    table.iter().flat_map(below).collect()
}

/// Removes `key.path`.
fn take(table: &mut Table, key: &str) {
    match key.split_once('.') {
        None => {
            table.remove(key);
        }
        Some((group, rest)) => {
            if let Some(Value::Table(group)) = table.get_mut(group) {
                take(group, rest);
            }
        }
    }
}

/// Settings as a table.
pub(crate) fn as_table(settings: &impl Serialize) -> Table {
    Table::try_from(settings).expect("every setting has a TOML form")
}

/// A TOML text as a table; `name` says where it came from.
pub fn parse(text: &str, name: &str) -> Result<Table, RecipeError> {
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text.get(..span.start).unwrap_or(text).lines().count().max(1));
        RecipeError(format!("{name} is not TOML: line {line}: {}", error.message().replace('\n', "; ")))
    })
}

/// Sets `key.path` in a table.
pub fn set(table: &mut Table, key: &str, value: Value) -> Result<(), RecipeError> {
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
                return Err(RecipeError(format!("`{key}`: `{part}` is the value {other}, not a group of settings")));
            }
        };
    }
    Ok(())
}

/// `key.path=value` as a key and its value; a value that is not TOML is taken as text.
pub fn entry(text: &str) -> Result<(&str, Value), RecipeError> {
    let Some((key, value)) = text.split_once('=') else {
        return Err(RecipeError(format!("`{text}` is not of the form key=value, such as train.lr=0.001")));
    };
    let parsed = format!("x = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("x"));
    Ok((key.trim(), parsed.unwrap_or_else(|| Value::String(value.to_owned()))))
}

/// The value at `key.path`.
pub fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (last, groups) = key.rsplit_once('.').map_or((key, None), |(groups, last)| (last, Some(groups)));
    let table = match groups {
        Some(groups) => get(table, groups)?.as_table()?,
        None => table,
    };
    table.get(last)
}

/// Takes out the value at `key.path`.
pub fn remove(table: &mut Table, key: &str) -> Option<Value> {
    match key.split_once('.') {
        Some((group, rest)) => remove(table.get_mut(group)?.as_table_mut()?, rest),
        None => table.remove(key),
    }
}

/// Puts `over` on top of `under`. A group that names another `kind` replaces the default one whole.
pub(crate) fn merge(under: &mut Table, over: &Table) {
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

/// An error for any key of `asked` that the resolved table does not have, or has as what is no number.
pub(crate) fn check_keys(asked: &Table, known: &Table, path: &str, name: &str) -> Result<(), RecipeError> {
    for (key, value) in asked {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (known.get(key), value) {
            (Some(Value::Table(known)), Value::Table(asked)) => check_keys(asked, known, &full, name)?,
            (Some(Value::Float(known)), _) if !(*known as f32).is_finite() => {
                return Err(RecipeError(format!(
                    "{name}: `{full}` must be a finite number in single precision, found {value}"
                )));
            }
            (Some(_), _) => {}
            (None, _) => {
                let names = known
                    .keys()
                    .map(|k| if path.is_empty() { k.clone() } else { format!("{path}.{k}") })
                    .collect::<Vec<_>>();
                let more = format!("in {name}");
                return Err(RecipeError(unknown("setting", &full, names.iter().map(String::as_str), &more)));
            }
        }
    }
    Ok(())
}

/// "unknown WHAT `x` …: did you mean `y`?"
pub fn unknown<'a>(what: &str, found: &str, known: impl Iterator<Item = &'a str>, more: &str) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().min_by_key(|k| strsim::damerau_levenshtein(found, k));
    let hint = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
    format!("unknown {what} `{found}`{hint} Known here: {}. ({more})", known.join(", "))
}
