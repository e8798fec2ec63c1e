//! `findings.json`: what a run found, with its pictures. Together with the summary, the metrics and the config it is all
//! that a report shows, so that reports need neither data nor networks.

use foretell_eval::Finding;
use foretell_train::{RunFolder, write_whole};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::output::word;

/// Stands for the run's folder in [`RunFindings::next`]: a folder can be moved.
pub(crate) const RUN: &str = "{run}";

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunFindings {
    /// "I-JEPA on fashion-mnist".
    pub title: String,
    /// What a batch is made of: "images".
    pub samples: String,
    /// Label → value: system, data, device, time.
    pub facts: Vec<(String, String)>,
    /// What was found, in the order in which it is shown.
    pub findings: Vec<Finding>,
    /// What one may do next: label → command.
    pub next: Vec<(String, String)>,
}

impl RunFindings {
    /// The findings of a run, or `None` while it is not finished.
    pub(crate) fn read(folder: &RunFolder) -> Result<Option<Self>, Error> {
        let path = folder.findings();
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Error::Misuse(format!("cannot read {}: {e}", path.display())))?;
        let wrong = |e: String| Error::Misuse(format!("{} is not what a run writes: {e}", path.display()));
        let read: Self = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        match read.findings.iter().find_map(Finding::fault) {
            Some(fault) => Err(wrong(fault)),
            None => Ok(Some(read)),
        }
    }

    /// The findings of a finished run; an error if they are gone.
    pub(crate) fn of_finished(folder: &RunFolder) -> Result<Self, Error> {
        Self::read(folder)?.ok_or_else(|| {
            Error::Misuse(format!(
                "{} is missing, and what the run found lies in it: train again with `foretell train {}`",
                folder.findings().display(),
                word(&folder.config())
            ))
        })
    }

    /// Writes them whole.
    pub(crate) fn write(&self, folder: &RunFolder) -> Result<(), Error> {
        let text = serde_json::to_string(self).map_err(|e| Error::Failure(e.to_string()))? + "\n";
        Ok(write_whole(&folder.findings(), text.as_bytes())?)
    }

    /// What one may do next, for the run in this folder: label → command.
    pub(crate) fn commands(&self, folder: &RunFolder) -> Vec<(String, String)> {
        let run = word(folder.path());
        self.next.iter().map(|(label, command)| (label.clone(), command.replace(RUN, &run))).collect()
    }

    /// The figures, for people: a table for each finding that has some, after an empty line.
    pub(crate) fn text(&self) -> String {
        let tables = self.findings.iter().map(ToString::to_string).filter(|table| !table.is_empty());
        tables.flat_map(|table| ["\n".to_owned(), table]).collect()
    }
}
