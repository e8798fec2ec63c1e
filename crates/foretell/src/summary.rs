//! `summary.json`: what a finished run reached, for scripts. Its keys are fixed.

use foretell_train::{Health, RunFolder, write_whole};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The command line's name.
    pub system: String,
    /// What was learnt from.
    pub data: String,
    /// Of the run.
    pub seed: u64,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Seconds of training, over all sessions.
    pub seconds: f64,
    /// Samples of training a second; all views of one count once.
    pub samples_per_s: f64,
    /// Numbers that were trained.
    pub parameters: usize,
    /// Share of the time that steps waited for data, in 0..=1.
    pub waited_share: f64,
    /// Samples that could not be read and were passed over.
    pub skipped: Vec<String>,
    /// The last judgement without labels.
    pub health: Health,
    /// The figures of all findings as [records](foretell_eval::records), under their keys.
    #[serde(flatten)]
    pub figures: Map<String, Value>,
}

impl Summary {
    /// The summary of a run, or `None` while it is not finished.
    pub fn read(folder: &RunFolder) -> Result<Option<Self>, Error> {
        let path = folder.summary();
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::Misuse(format!("cannot read {}: {e}", path.display())))?;
        let wrong = |e| Error::Misuse(format!("{} is not what a run writes: {e}", path.display()));
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    /// Writes it whole.
    pub fn write(&self, folder: &RunFolder) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::Failure(e.to_string()))? + "\n";
        Ok(write_whole(&folder.summary(), text.as_bytes())?)
    }
}
