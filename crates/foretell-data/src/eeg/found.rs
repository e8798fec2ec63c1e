//! Recordings at a path: one, or all in a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::DataError;
use crate::eeg::recording::{self, Recording, bad, is_recording};
use crate::modality::OnBadSample;

/// Folders within folders that are searched.
const DEEP: usize = 6;
/// Files that a cheap look opens.
const LOOKED_AT: usize = 64;
/// Ends of names of recordings.
const ENDS: [&str; 5] = ["edf", "bdf", "vhdr", "rec", "edf+"];

/// A recording and what it is called.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) recording: Recording,
    /// Its path within the folder, or its file's name.
    pub(crate) name: String,
}

fn may_be(path: &Path) -> bool {
    path.extension().is_some_and(|end| ENDS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}

/// Files of a folder by their names, those of folders in it included.
fn files(folder: &Path, deep: usize, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let entries = fs::read_dir(folder).map_err(|source| DataError::reading(folder, source))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            // What is no folder to be read is no reason to leave the others out.
            if deep > 0 {
                files(&path, deep - 1, found)?;
            }
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether a path looks like recordings.
pub(crate) fn recognises(path: &Path) -> bool {
    if path.is_dir() {
        let mut found = Vec::new();
        return files(path, DEEP, &mut found).is_ok()
            && found.iter().filter(|path| may_be(path)).take(LOOKED_AT).any(|path| is_recording(path));
    }
    is_recording(path)
        || is_recording(&path.with_extension("vhdr"))
            && path.extension().is_some_and(|end| end == "eeg" || end == "vmrk")
}

/// All recordings at paths, those of a folder in the order of their names, and what is told of those that are passed over because
/// they cannot be opened.
pub(crate) fn open(paths: &[PathBuf], on_bad: OnBadSample) -> Result<(Vec<Found>, Vec<String>), DataError> {
    let (mut good, mut passed, mut first_error) = (Vec::new(), Vec::new(), None);
    for path in paths {
        for (file, name) in named(path)? {
            match recording::open(&file) {
                Ok(recording) => good.push(Found { recording, name }),
                Err(error) if on_bad == OnBadSample::Skip => {
                    passed.push(format!("`{name}` is left out: {error}"));
                    first_error.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
    }
    match first_error {
        Some(error) if good.is_empty() => Err(error),
        _ => Ok((good, passed)),
    }
}

/// The files at a path, and what their recordings are called.
fn named(path: &Path) -> Result<Vec<(PathBuf, String)>, DataError> {
    if !path.is_dir() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(vec![(path.to_owned(), name)]);
    }
    let mut all = Vec::new();
    files(path, DEEP, &mut all)?;
    let count = all.len();
    all.retain(|path| may_be(path));
    if all.is_empty() {
        return Err(bad(
            path,
            format!("none of the {count} files in it is a recording; expected names that end in .edf, .bdf or .vhdr"),
        ));
    }
    let one = |file: PathBuf| {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        (file, name)
    };
    Ok(all.into_iter().map(one).collect())
}

/// Who was recorded in each recording, by number, and how that was told.
pub(crate) fn subjects(found: &[Found], pattern: &str) -> Result<(Vec<String>, String), DataError> {
    let names = |told: &dyn Fn(&Found) -> Option<String>| found.iter().map(told).collect::<Option<Vec<String>>>();
    let several = |all: &Vec<String>| all.iter().collect::<BTreeSet<_>>().len() > 1;
    if pattern != "auto" {
        let pattern = regex("data.group", pattern)?;
        let of = |found: &Found| captured(&pattern, &found.name);
        if let Some(lost) = found.iter().find(|found| of(found).is_none()) {
            return Err(DataError::BadSetting {
                name: "data.group".into(),
                expected: "a pattern that each recording's path holds",
                found: format!("`{}`, which `{}` does not hold", pattern.as_str(), lost.name),
            });
        }
        return Ok((names(&of).unwrap_or_default(), format!("subjects by the pattern `{}`", pattern.as_str())));
    }
    // As BIDS names them; then PhysioNet's S001R04.
    for (pattern, how) in
        [("sub-([A-Za-z0-9]+)", "`sub-…` in their paths"), ("^(?:.*/)?([A-Za-z]+[0-9]+)R[0-9]+", "their names")]
    {
        if let Ok(pattern) = Regex::new(pattern)
            && let Some(all) = names(&|found| captured(&pattern, &found.name))
        {
            return Ok((all, format!("subjects by {how}")));
        }
    }
    let folder = |found: &Found| found.name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    if let Some(all) = names(&folder).filter(several) {
        return Ok((all, "each folder is taken for a subject: if that is wrong, set `data.group`".to_owned()));
    }
    if let Some(all) = names(&|found| found.recording.code.clone()).filter(several) {
        return Ok((all, "subjects by the patients' codes in the files".to_owned()));
    }
    let all = found.iter().map(|found| found.name.clone()).collect();
    Ok((all, "each recording is taken for a subject: if that is wrong, set `data.group`".to_owned()))
}

/// A pattern of the user's.
pub(crate) fn regex(key: &'static str, pattern: &str) -> Result<Regex, DataError> {
    Regex::new(pattern).map_err(|_| DataError::BadSetting {
        name: key.into(),
        expected: "a regular expression such as `sub-([0-9]+)`",
        found: format!("`{pattern}`"),
    })
}

/// What a pattern's first group holds, or all of it where it has none.
pub(crate) fn captured(pattern: &Regex, name: &str) -> Option<String> {
    let found = pattern.captures(name)?;
    found.get(1).or(found.get(0)).map(|text| text.as_str().to_owned())
}

/// Each name's number, by the order of the names.
pub(crate) fn numbered(names: &[String]) -> (Vec<u32>, Vec<String>) {
    let all: BTreeSet<&String> = names.iter().collect();
    let numbers: BTreeMap<&String, u32> = all.iter().zip(0..).map(|(name, number)| (*name, number)).collect();
    (names.iter().map(|name| numbers[name]).collect(), all.into_iter().cloned().collect())
}
