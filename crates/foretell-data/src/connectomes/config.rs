//! `[data]` of a recipe over recordings of regions.

use serde::{Deserialize, Serialize};

use crate::connectomes::correlation::Correlation;
use crate::connectomes::dynamic_graph::Edges;
use crate::connectomes::states::StatesConfig;
use crate::connectomes::table::Rows;
use crate::modality::OnBadSample;
use crate::{Auto, DataError};

/// Where recordings come from, and how they become sequences of graphs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectomesConfig {
    /// A folder of recordings, or one of them: NIfTI-1 (with an `atlas`), or regions × time as `.csv`, `.tsv`, `.txt`, `.1D` or `.npy`;
    /// empty for the built-in networks that change states.
    pub path: String,
    /// A NIfTI-1 volume of labels, by which voxels become regions; empty for tables.
    pub atlas: String,
    /// What the rows of a table are, where its names do not say it.
    pub rows: Auto<Rows>,
    /// Columns of the participants table that are labels; empty: those of 2 to 20 different words or whole numbers.
    pub labels: Vec<String>,
    /// Time points of a window, Γ.
    pub window: Auto<usize>,
    /// Time points from one window to the next, S.
    pub stride: Auto<usize>,
    /// How strongly two regions go together.
    pub correlation: Correlation,
    /// The share of pairs that are edges: those of the greatest correlations.
    pub density: f64,
    /// Of what it is a share.
    pub edges: Edges,
    /// What becomes of a recording that cannot be read.
    pub on_bad_sample: OnBadSample,
    /// Series are kept in memory up to so many MB (2²⁰ bytes).
    pub cache_mb: usize,
    /// The built-in networks, where the path is empty.
    pub networks: StatesConfig,
    /// Regions of every recording, N; 0 until opened.
    pub regions: usize,
    /// Their names, where tables have some; empty until opened.
    pub names: Vec<String>,
    /// Of the atlas that regions were made by, so that another under its name is noticed; empty until opened.
    pub atlas_mark: String,
    /// Of the recordings, their labels and their split when the run began, so that a resumed run notices others; empty until taken.
    pub fingerprint: String,
}

impl Default for ConnectomesConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            atlas: String::new(),
            rows: Auto::Auto,
            labels: Vec::new(),
            window: Auto::Auto,
            stride: Auto::Auto,
            correlation: Correlation::default(),
            // ST-JEMA's, after STAGIN (Kim, Ye and Kim, 2021).
            density: 0.3,
            edges: Edges::default(),
            on_bad_sample: OnBadSample::Fail,
            cache_mb: 1024,
            networks: StatesConfig::default(),
            regions: 0,
            names: Vec::new(),
            atlas_mark: String::new(),
            fingerprint: String::new(),
        }
    }
}

impl ConnectomesConfig {
    /// Γ and S, of a resolved config.
    pub fn windows(&self) -> Result<(usize, usize), DataError> {
        match (self.window, self.stride) {
            (Auto::Value(window), Auto::Value(stride)) => Ok((window, stride)),
            _ => Err(DataError::BadSetting {
                name: "data.window".into(),
                expected: "a number in the config of a run",
                found: "auto".to_owned(),
            }),
        }
    }

    /// An error unless every setting is within its range.
    pub(super) fn check(&self) -> Result<(), DataError> {
        let wrong = |name: &'static str, expected, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if let Auto::Value(window) = self.window
            && !(4..=100_000).contains(&window)
        {
            return wrong("data.window", "4 to 100000 time points, or \"auto\"", window.to_string());
        }
        if let Auto::Value(stride) = self.stride
            && !(1..=100_000).contains(&stride)
        {
            return wrong("data.stride", "1 to 100000 time points, or \"auto\"", stride.to_string());
        }
        if !(self.density > 0.0 && self.density < 1.0) {
            return wrong("data.density", "above 0 and below 1", self.density.to_string());
        }
        if self.cache_mb > 1 << 20 {
            return wrong("data.cache_mb", "at most 1048576 MB (0 for none)", self.cache_mb.to_string());
        }
        Ok(())
    }
}
