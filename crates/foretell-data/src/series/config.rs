//! `[data]` of a recipe over series.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::series::generated::WavesConfig;
use crate::{Auto, DataError, Normalise};

/// How values are brought to a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standardise {
    /// By mean and deviation of each channel over the training part alone.
    #[default]
    Training,
    /// By each sample's own mean and deviation, channel by channel: how high and how wide it is tells nothing then.
    Each,
    /// Over all rows, those that are held out included: TS-JEPA's released code.
    Official,
    /// Not at all.
    None,
}

impl fmt::Display for Standardise {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Training => "training",
            Self::Each => "each",
            Self::Official => "official",
            Self::None => "none",
        })
    }
}

/// Where series come from and how they are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeriesConfig {
    /// A CSV with a row for each moment, UCR's `.tsv`, aeon's `.ts`, an `.npy` or `.npz`, or a folder with one set; empty for generated series.
    pub path: String,
    /// The generated series.
    pub waves: WavesConfig,
    /// Steps of a window of a long recording; sets have whole series.
    pub window: Auto<usize>,
    /// Steps from one window of the training part to the next.
    pub stride: usize,
    /// Columns of a table that are used, in their order; empty for all.
    pub columns: Vec<String>,
    /// The columns that `normalise` was measured on, by which those of other tables are found again; empty until measured.
    pub measured: Vec<String>,
    /// Whether each channel is a series of its own; otherwise a step is all of them.
    pub separate: Auto<bool>,
    /// Share of a recording's rows, from the first on, that is trained on.
    pub train: f64,
    /// Share of a recording's rows, between those that are trained on and those that are held out, that is left alone.
    pub validation: f64,
    /// Numbers that stand for a hole, such as -9999.
    pub missing: Vec<f64>,
    /// How values are brought to a scale.
    pub standardise: Standardise,
    /// Deviation of noise that is added to each known value of each sample, in deviations of its channel.
    pub noise: f64,
    /// Mean and deviation of each channel; a deviation of 0 is of a channel that never changes. Empty until measured.
    pub normalise: Normalise,
    /// Steps of the shortest and the longest sample; 0 until read.
    pub steps: (usize, usize),
    /// Of the series and their split when the run began, so that a resumed run notices others; empty until taken.
    pub fingerprint: String,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            waves: WavesConfig::default(),
            window: Auto::Auto,
            stride: 1,
            columns: Vec::new(),
            measured: Vec::new(),
            separate: Auto::Auto,
            train: 0.7,
            validation: 0.1,
            missing: Vec::new(),
            standardise: Standardise::default(),
            noise: 0.0,
            normalise: Normalise { mean: Vec::new(), std: Vec::new() },
            steps: (0, 0),
            fingerprint: String::new(),
        }
    }
}

impl SeriesConfig {
    /// Values of a step as networks see them, C, of a resolved config.
    pub fn channels(&self) -> usize {
        if self.separate == Auto::Value(true) { 1 } else { self.normalise.mean.len().max(1) }
    }

    pub(super) fn check(&self) -> Result<(), DataError> {
        let wrong = |name: &'static str, expected, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if let Auto::Value(window) = self.window
            && !(4..=1 << 20).contains(&window)
        {
            return wrong("data.window", "4 to 1048576 steps, or \"auto\"", window.to_string());
        }
        if !(1..=1 << 20).contains(&self.stride) {
            return wrong("data.stride", "1 to 1048576 steps", self.stride.to_string());
        }
        for (name, share) in [("data.train", self.train), ("data.validation", self.validation)] {
            let least = if name == "data.train" { f64::MIN_POSITIVE } else { 0.0 };
            if !(least..1.0).contains(&share) {
                return wrong(
                    name,
                    "a share of the rows, below 1 and not negative (above 0 to train on)",
                    share.to_string(),
                );
            }
        }
        if self.train + self.validation >= 1.0 {
            return wrong(
                "data.train",
                "with `data.validation` less than 1, so that rows are left to hold out",
                format!("{} and {}", self.train, self.validation),
            );
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return wrong("data.noise", "0 or more", self.noise.to_string());
        }
        if self.path.is_empty() {
            self.waves.check().map_err(|error| error.under("data.waves"))?;
        }
        Ok(())
    }
}
