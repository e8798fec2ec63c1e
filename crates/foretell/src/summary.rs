//! `summary.json`: what a finished run reached, for scripts. Its keys are fixed.

use std::fmt::Write as _;

use foretell_eval::{ProbeRow, ProbeTable};
use foretell_train::{Health, RunFolder, write_whole};
use foretell_world::Forecast;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::world::judge::Place;

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
    /// Numbers that were trained.
    pub parameters: usize,
    /// Share of the time that steps waited for data, in 0..=1.
    pub waited_share: f64,
    /// Samples that could not be read and were passed over.
    pub skipped: Vec<String>,
    /// The last judgement without labels.
    pub health: Health,
    /// What was found, by what the run is over.
    #[serde(flatten)]
    pub found: Found,
}

/// What a run found, by what it is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Found {
    /// Of an encoder of images.
    Images {
        /// Images a second, all views of one counted once.
        images_per_s: f64,
        /// Accuracies of the probes; empty without labels.
        probes: Vec<ProbeRow>,
        /// Share of the commonest class, by factor.
        chance: Vec<(String, f64)>,
    },
    /// Of a model of a world.
    World {
        /// Windows of play a second.
        windows_per_s: f64,
        /// How far off states are that are read from latents.
        places: Vec<Place>,
        /// Errors of what is foretold, by horizon.
        forecast: Forecast,
    },
    /// Of a model of what was recorded.
    Recorded {
        /// Windows of episodes a second.
        windows_per_s: f64,
        /// Errors of what is foretold, by horizon.
        forecast: Forecast,
    },
}

impl Found {
    /// Samples a second.
    pub fn rate(&self) -> f64 {
        match self {
            Self::Images { images_per_s, .. } => *images_per_s,
            Self::World { windows_per_s, .. } | Self::Recorded { windows_per_s, .. } => *windows_per_s,
        }
    }

    /// What was judged, for people: a paragraph after an empty line, or nothing.
    pub fn text(&self) -> String {
        match self {
            Self::Images { probes, .. } if probes.is_empty() => String::new(),
            Self::Images { probes, chance, .. } => {
                format!("\n{}", ProbeTable { rows: probes.clone(), chance: chance.clone() })
            }
            Self::World { places, forecast, .. } => places_text(places) + &forecast_text(forecast),
            Self::Recorded { forecast, .. } => forecast_text(forecast),
        }
    }
}

/// Where things are, as a table for people.
fn places_text(places: &[Place]) -> String {
    let mut text = "\nhow far off the state is that a linear map reads from latents\n".to_owned();
    for Place { features, error } in places {
        let _ = writeln!(text, "  {features:<12}{error:8.2}");
    }
    text
}

/// What comes next, as a table for people.
fn forecast_text(forecast: &Forecast) -> String {
    let mut text = "\nerror of the latent foretold, by steps ahead\n".to_owned();
    let shown = (0..forecast.model.len()).filter(|k| (k + 1).is_power_of_two() || k + 1 == forecast.model.len());
    for k in shown {
        let (model, copy, mean) = (forecast.model[k], forecast.copy_last[k], forecast.mean[k]);
        let _ = writeln!(text, "  {:<4}{model:8.4}   copying the last {copy:8.4}   the mean {mean:8.4}", k + 1);
    }
    text
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
