//! Samples of a run that could not be read: a run goes on when they have been removed or repaired, as long as all others are
//! what it began with.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use foretell_data::{DataError, Unit};
use foretell_systems::{Member, Session, SystemError, recipe};
use foretell_train::{RunFolder, write_whole};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Error;

/// `unreadable.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    /// Changes with any other sample.
    others: String,
    /// The samples' names; where those that are trained on stood when the run began.
    samples: BTreeMap<String, Option<usize>>,
}

/// Samples that a run began with and its data hold no more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost {
    /// Ascending.
    pub(crate) names: Vec<String>,
    /// Where those that were trained on stood when the run began, ascending.
    pub(crate) places: Vec<usize>,
}

impl Lost {
    /// A line about them.
    pub(crate) fn line(&self, unit: Unit) -> Option<String> {
        let some = self.names.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
        let are = if self.names.len() == 1 { "is" } else { "are" };
        let count = unit.counted(self.names.len());
        (!self.names.is_empty())
            .then(|| format!("{count} that could not be read {are} gone from the data and passed over: {some}"))
    }

    /// Where a sample stood when the run began, by where it stands now.
    fn before(&self, now: usize) -> usize {
        self.places.iter().fold(now, |place, lost| if *lost <= place { place + 1 } else { place })
    }
}

fn read(folder: &RunFolder) -> Result<Option<Record>, Error> {
    let path = folder.unreadable();
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    let wrong = |error| Error::Misuse(format!("{} is not what a run writes: {error}", path.display()));
    serde_json::from_str(&text).map(Some).map_err(wrong)
}

/// Opens a run's recipe with its data, which may have lost samples that could not be read.
pub(crate) fn reopen(
    folder: &RunFolder,
    member: &dyn Member,
    recipe: Table,
    device: &Device,
) -> Result<(Box<dyn Session>, Lost), Error> {
    let record = read(folder)?;
    let session = match (member.open(recipe.clone(), device, true), &record) {
        (Err(changed @ SystemError::Data(DataError::Changed { .. })), Some(record)) => {
            let mut forgotten = recipe;
            recipe::set(&mut forgotten, "data.fingerprint", Value::String(String::new()))?;
            let session = member.open(forgotten, device, true)?;
            if session.census(&names(record))?.is_none_or(|census| census.others != record.others) {
                return Err(changed.into());
            }
            session
        }
        (session, _) => session?,
    };
    let mut lost = Lost::default();
    if let Some(record) = &record
        && let Some(census) = session.census(&names(record))?
    {
        let gone = || record.samples.iter().filter(|(name, _)| !census.found.contains_key(*name));
        lost.names = gone().map(|(name, _)| name.clone()).collect();
        lost.places = gone().filter_map(|(_, place)| *place).collect();
        lost.places.sort_unstable();
    }
    Ok((session, lost))
}

fn names(record: &Record) -> BTreeSet<String> {
    record.samples.keys().cloned().collect()
}

/// Keeps the names of samples that could not be read, with those that were known, and what tells all others.
pub(crate) fn keep<'a>(
    folder: &RunFolder,
    session: &dyn Session,
    lost: &Lost,
    unread: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    let mut samples = read(folder)?.unwrap_or_default().samples;
    let all: BTreeSet<String> = samples.keys().cloned().chain(unread.cloned()).collect();
    if all.is_empty() {
        return Ok(());
    }
    let Some(census) = session.census(&all)? else { return Ok(()) };
    for (name, place) in census.found {
        samples.entry(name).or_insert(place.map(|place| lost.before(place)));
    }
    let record = Record { others: census.others, samples };
    let text = serde_json::to_string_pretty(&record).map_err(|error| Error::Failure(error.to_string()))? + "\n";
    Ok(write_whole(&folder.unreadable(), text.as_bytes())?)
}
