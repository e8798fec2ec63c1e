//! `[data]` of a recipe over connectomes.

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::connectomes::networks::NetworksConfig;

/// How alike two regions' courses are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Correlation {
    /// Pearson's coefficient of the window.
    #[default]
    Plain,
    /// The same, drawn towards 0 by as much as its own noise asks for (Schäfer and Strimmer, 2005): short windows of many regions.
    Shrunk,
}

/// Which way a table of numbers lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Orientation {
    /// Under a line of names, columns are regions, as fMRIPrep and nilearn write them; without one, rows are.
    #[default]
    Auto,
    /// A row is a region's course.
    RegionsInRows,
    /// A column is.
    RegionsInColumns,
}

/// Where recordings come from and how they become graphs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectomesConfig {
    /// A recording (`.nii`, `.nii.gz`, `.hdr`, `.csv`, `.tsv`) or a folder of them; empty for the built-in generated ones.
    pub path: String,
    /// A NIfTI file of whole numbers, one for each region and 0 for none; needed for recordings in NIfTI.
    pub atlas: String,
    /// Which way tables lie.
    pub orientation: Orientation,
    /// Times of a window.
    pub window: usize,
    /// Times from the beginning of a window to that of the next.
    pub stride: usize,
    /// Windows of a sample.
    pub windows: usize,
    /// How alike two regions are called.
    pub correlation: Correlation,
    /// Share of all pairs of regions that are edges, the most alike first.
    pub edges: f64,
    /// A pattern: the part of a recording's path that names its subject; `auto`: `sub-…`, or else each recording is one.
    pub group: String,
    /// A pattern: the part of a recording's path that names its class; `none`.
    pub label: String,
    /// R; 0 until read.
    pub regions: usize,
    /// The generated recordings.
    pub networks: NetworksConfig,
    /// Of the recordings and their split when the run began; empty until taken.
    pub fingerprint: String,
}

impl Default for ConnectomesConfig {
    /// The paper's windows and its share of edges.
    fn default() -> Self {
        Self {
            path: String::new(),
            atlas: String::new(),
            orientation: Orientation::Auto,
            window: 50,
            stride: 16,
            windows: 8,
            correlation: Correlation::Plain,
            edges: 0.3,
            group: "auto".to_owned(),
            label: "none".to_owned(),
            regions: 0,
            networks: NetworksConfig::default(),
            fingerprint: String::new(),
        }
    }
}

impl ConnectomesConfig {
    /// Times that a sample takes.
    pub(crate) fn times(&self) -> usize {
        self.window + (self.windows - 1) * self.stride
    }

    pub(crate) fn check(&self) -> Result<(), DataError> {
        let refuse = |name: &'static str, expected, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if !(3..=100_000).contains(&self.window) {
            return refuse("data.window", "3 to 100000 times", self.window.to_string());
        }
        if !(1..=100_000).contains(&self.stride) {
            return refuse("data.stride", "1 to 100000 times", self.stride.to_string());
        }
        if !(1..=10_000).contains(&self.windows) {
            return refuse("data.windows", "1 to 10000 windows", self.windows.to_string());
        }
        if !(self.edges > 0.0 && self.edges <= 1.0) {
            return refuse("data.edges", "a share above 0 and at most 1", self.edges.to_string());
        }
        Ok(())
    }
}
