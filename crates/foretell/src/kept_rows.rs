//! Rows that a call of `embed` had made before it stopped: they lie beside its file, and a call that is told to goes on behind
//! them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::feature_file::wrong;
use crate::kept::mark;
use crate::released::Moments;

/// What the rows are of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptRows {
    /// Changes with the network and with what is taken of it.
    pub made_by: String,
    /// Inputs that are done with: those before this one.
    pub done: usize,
    /// Changes with their names.
    pub names: String,
    /// Those of them that could not be read and were left out.
    pub skipped: Vec<usize>,
    /// The shape of a row.
    pub row: Vec<usize>,
    /// Of those that are of clips, what was taken.
    #[serde(default)]
    pub moments: BTreeMap<usize, Moments>,
}

impl KeptRows {
    /// Nothing yet.
    pub(crate) fn none(made_by: String) -> Self {
        Self { made_by, ..Self::default() }
    }

    /// Where the rows of a file lie while it is not finished.
    pub(crate) fn place(out: &Path) -> PathBuf {
        with_end(out, ".rows")
    }

    fn account(out: &Path) -> PathBuf {
        with_end(out, ".rows.json")
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.done - self.skipped.len()
    }

    fn bytes(&self) -> u64 {
        4 * (self.rows() * self.row.iter().product::<usize>()) as u64
    }

    /// What the names of the inputs that are done with come to.
    pub(crate) fn mark_of(names: impl Iterator<Item = Result<String, Error>>) -> Result<String, Error> {
        let names = names.collect::<Result<Vec<_>, _>>()?;
        Ok(mark(names.join("\n").as_bytes()))
    }

    /// Puts a file of rows where the next call looks for it.
    pub(crate) fn keep(&self, out: &Path, rows: &Path) -> Result<(), Error> {
        let (place, account) = (Self::place(out), Self::account(out));
        let text = serde_json::to_string_pretty(self).map_err(|error| Error::Failure(error.to_string()))? + "\n";
        // An account without its rows, or with those of another call, must never be found.
        let _ = fs::remove_file(&account);
        fs::rename(rows, &place).map_err(|error| wrong(&place, error))?;
        fs::write(&account, text).map_err(|error| wrong(&account, error))
    }

    /// Reads what the last call has kept, and copies its rows.
    pub(crate) fn take_up(out: &Path, rows: &mut impl Write) -> Result<Self, Error> {
        let (place, account) = (Self::place(out), Self::account(out));
        let unusable = |what: String| {
            Error::Misuse(format!(
                "`--resume` goes on behind rows in {}, and {what}: leave `--resume` out",
                place.display()
            ))
        };
        let text = fs::read_to_string(&account).map_err(|_| unusable("no call has kept any there".to_owned()))?;
        let kept: Self = serde_json::from_str(&text)
            .map_err(|error| unusable(format!("what is said of them cannot be read ({error})")))?;
        if kept.skipped.len() > kept.done {
            return Err(unusable("what is said of them contradicts itself".to_owned()));
        }
        let file = File::open(&place).map_err(|error| unusable(format!("they cannot be read ({error})")))?;
        let (found, expected) = (file.metadata().map_err(|error| wrong(&place, error))?.len(), kept.bytes());
        if found < expected {
            return Err(unusable(format!("they are cut: {expected} bytes were kept, and {found} are there")));
        }
        io::copy(&mut file.take(expected), rows).map_err(|error| wrong(out, error))?;
        Ok(kept)
    }

    /// An error if the rows are not the first of a call that has this network and these names of inputs.
    pub(crate) fn check(&self, made_by: &str, names: impl Iterator<Item = Result<String, Error>>) -> Result<(), Error> {
        let differs = |what: &str| {
            Err(Error::Misuse(format!(
                "`--resume`: the rows that are kept were made {what}: leave `--resume` out to begin anew"
            )))
        };
        if self.made_by != made_by {
            return differs("by another network or with other options");
        }
        if self.names != Self::mark_of(names.take(self.done))? {
            return differs(&format!("of other inputs ({} of them, by their names)", self.done));
        }
        Ok(())
    }

    /// Removes what is kept for a file that is whole now.
    pub(crate) fn forget(out: &Path) {
        // Rows that stay lie there and are said to be old by nobody: they do no harm.
        let _ = fs::remove_file(Self::account(out));
        let _ = fs::remove_file(Self::place(out));
    }
}

fn with_end(out: &Path, end: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    out.with_file_name(name + end)
}
