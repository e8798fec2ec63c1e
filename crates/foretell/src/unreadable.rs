//! Samples that a run's data lose, or that cannot be read: a run goes on without them, as long as all others are what it began
//! with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};

use burn::tensor::Device;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use foretell_data::{DataError, Listed, Part, Unit};
use foretell_systems::{Member, Session, SystemError, recipe};
use foretell_train::{RunFolder, write_whole};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::Error;

/// One of so many samples may be lost that the run has not met as unreadable; one always.
const ONE_IN: usize = 100;

/// `unreadable.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    samples: BTreeSet<String>,
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
        let more = if self.names.len() > 10 { ", …" } else { "" };
        let are = if self.names.len() == 1 { "is" } else { "are" };
        let count = unit.counted(self.names.len());
        (!self.names.is_empty()).then(|| format!("{count} {are} gone from the data and passed over: {some}{more}"))
    }

    /// What data have lost of these samples, of which those with these names could not be read; an error in words if they have
    /// lost too many others, or are other data. One that was changed and can no longer be read is met as unreadable in its turn.
    fn of(
        began: &[Listed],
        now: &[Listed],
        unread: &BTreeSet<String>,
        reads: impl Fn(Part, usize) -> bool,
    ) -> Result<Self, String> {
        let mut left: BTreeMap<&str, &Listed> = now.iter().map(|sample| (sample.name.as_str(), sample)).collect();
        let place_of = |name: &str, part: Part| {
            now.iter().filter(|sample| sample.part == part).position(|sample| sample.name == name).unwrap_or(0)
        };
        let (mut lost, mut unmet) = (Self::default(), Vec::new());
        let mut differs = None;
        for (place, sample) in began.iter().enumerate() {
            let Listed { part, name, labels, bytes } = sample;
            let known = unread.contains(name);
            match left.remove(name.as_str()) {
                None => {
                    lost.names.push(name.clone());
                    // Those that are trained on come first.
                    lost.places.extend((*part == Part::Train).then_some(place));
                    unmet.extend((!known).then_some(name));
                }
                Some(now) if differs.is_some() || now == sample => {}
                Some(now) if now.part != *part => {
                    differs = Some(format!("`{name}` was in {} and is in {} now", part.name(), now.part.name()));
                }
                Some(now) if now.labels != *labels => differs = Some(format!("`{name}` has another label")),
                Some(_) if known || !reads(*part, place_of(name, *part)) => {}
                Some(now) => differs = Some(format!("`{name}` had {bytes} bytes and has {} now", now.bytes)),
            }
        }
        // What is gone or new comes first: parts and labels of others may follow from it, as where a class goes.
        if let [first, others @ ..] = unmet.as_slice()
            && unmet.len() > (began.len() / ONE_IN).max(1)
        {
            return Err(format!("`{first}` and {} more of {} are missing", others.len(), began.len()));
        }
        let gone = lost.names.first().map(|name| format!("`{name}` is missing"));
        let new = left.keys().next().map(|name| format!("`{name}` is new"));
        if new.is_some() || differs.is_some() {
            return Err([gone, new, differs].into_iter().flatten().collect::<Vec<_>>().join(", and "));
        }
        lost.names.sort_unstable();
        Ok(lost)
    }
}

fn wrong(path: &std::path::Path, error: impl std::fmt::Display) -> Error {
    Error::Misuse(format!("{} is not what a run writes: {error}", path.display()))
}

/// The names of samples that a run could not read.
fn unread(folder: &RunFolder) -> Result<BTreeSet<String>, Error> {
    let path = folder.unreadable();
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(BTreeSet::new()) };
    let record: Record = serde_json::from_str(&text).map_err(|error| wrong(&path, error))?;
    Ok(record.samples)
}

/// The samples that a run began with, where it has kept them.
fn began(folder: &RunFolder) -> Result<Option<Vec<Listed>>, Error> {
    let path = folder.samples();
    let Ok(file) = std::fs::File::open(&path) else { return Ok(None) };
    let mut samples = Vec::new();
    for line in BufReader::new(GzDecoder::new(file)).lines() {
        let line = line.map_err(|error| wrong(&path, error))?;
        let (part, name, labels, bytes) = serde_json::from_str(&line).map_err(|error| wrong(&path, error))?;
        samples.push(Listed { part, name, labels, bytes });
    }
    Ok(Some(samples))
}

/// Keeps the samples that a run begins with, a line each: a few bytes of a path, once they are packed.
pub(crate) fn list(folder: &RunFolder, session: &dyn Session) -> Result<(), Error> {
    let Some(samples) = session.roll()? else { return Ok(()) };
    let names: BTreeSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    if names.len() < samples.len() {
        return Ok(());
    }
    let failed = |error: std::io::Error| Error::Failure(error.to_string());
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    for Listed { part, name, labels, bytes } in &samples {
        let line = serde_json::to_string(&(part, name, labels, bytes));
        writeln!(packed, "{}", line.map_err(|error| Error::Failure(error.to_string()))?).map_err(failed)?;
    }
    Ok(write_whole(&folder.samples(), &packed.finish().map_err(failed)?)?)
}

/// Opens a run's recipe with its data, which may have lost samples.
pub(crate) fn reopen(
    folder: &RunFolder,
    member: &dyn Member,
    recipe: Table,
    device: &Device,
) -> Result<(Box<dyn Session>, Lost), Error> {
    let began = began(folder)?;
    let (session, changed) = match (member.open(recipe.clone(), device, true), &began) {
        (Err(SystemError::Data(DataError::Changed { unit, path, .. })), Some(_)) => {
            let mut forgotten = recipe;
            recipe::set(&mut forgotten, "data.fingerprint", Value::String(String::new()))?;
            (member.open(forgotten, device, true)?, Some((unit, path)))
        }
        (session, _) => (session?, None),
    };
    let (Some(began), Some(now)) = (began, session.roll()?) else {
        return match changed {
            Some((unit, path)) => Err(DataError::changed(unit, &path).into()),
            None => Ok((session, Lost::default())),
        };
    };
    let lost = Lost::of(&began, &now, &unread(folder)?, |part, index| session.reads(part, index));
    let changed = |what| {
        let (unit, path) = changed.unwrap_or((session.unit(), session.source()));
        DataError::Changed { unit, path, what }
    };
    let lost = lost.map_err(changed)?;
    Ok((session, lost))
}

/// Keeps the names of samples that could not be read, with those that were known.
pub(crate) fn keep<'a>(folder: &RunFolder, unreadable: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    let known = unread(folder)?;
    let samples: BTreeSet<String> = known.iter().cloned().chain(unreadable.cloned()).collect();
    if samples == known {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&Record { samples }).map_err(|error| Error::Failure(error.to_string()))?;
    Ok(write_whole(&folder.unreadable(), (text + "\n").as_bytes())?)
}
