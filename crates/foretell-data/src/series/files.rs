//! Which reader takes what lies at a path, and which other file belongs to it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::kind::foreign_at;
use crate::series::raw::{Raw, RawSet};
use crate::series::text::bad;
use crate::series::{arrays, table, ts, ucr};

/// Forms of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Table,
    Ucr,
    Ts,
    Npy,
    Npz,
}

/// Bytes of a text that are looked at.
const HEAD: u64 = 1 << 16;

/// A file's name in lower case, without `.gz`.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.strip_suffix(".gz").map_or_else(|| name.clone(), str::to_owned)
}

/// The form by the name, and for texts by how they begin; `None` for what is none.
fn form(path: &Path) -> Option<Form> {
    let name = plain_name(path);
    let (_, extension) = name.rsplit_once('.')?;
    match extension {
        "npy" => Some(Form::Npy),
        "npz" => Some(Form::Npz),
        "csv" | "tsv" | "txt" | "ts" => {
            let head = crate::series::text::bytes(path, HEAD).ok()?;
            if ts::is_ts(&head) {
                return (extension == "ts").then_some(Form::Ts);
            }
            if head.contains(&0) {
                return None;
            }
            let whole = (head.len() as u64) < HEAD || head.contains(&b'\n');
            let mut head = String::from_utf8_lossy(&head).into_owned();
            if !whole {
                // One long line: its last cell was cut.
                head.truncate(head.rfind([',', '\t', ' ']).unwrap_or(head.len()));
            }
            let mut lines = head.trim_start_matches('\u{FEFF}').lines().filter(|line| !line.trim().is_empty());
            let first = lines.next()?;
            match extension {
                "tsv" | "txt" if ucr::is_series(first) => Some(Form::Ucr),
                "csv" | "tsv" => is_table(first, lines.next()).then_some(Form::Table),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether most cells behind a header, or of the first line, are numbers.
fn is_table(first: &str, second: Option<&str>) -> bool {
    let separator = table::separator(first);
    let numbers = |line: &str| {
        let cells = table::cells(line, separator);
        let count = cells.iter().filter(|cell| cell.replace(',', ".").parse::<f64>().is_ok()).count();
        count > 0 && 2 * count >= cells.len() - usize::from(cells.len() > 1)
    };
    numbers(first) || second.is_some_and(numbers)
}

/// Whether what lies at a path is taken.
pub(crate) fn recognises(path: &Path) -> bool {
    if path.is_dir() {
        return sets(path).is_ok_and(|sets| !sets.is_empty());
    }
    match form(path) {
        Some(Form::Npz) => arrays::holds_series(path),
        found => found.is_some(),
    }
}

/// The words that files of the two parts end in.
const PARTS: [[&str; 2]; 3] = [["_train", "_test"], ["-train", "-test"], [".train", ".test"]];

/// The file of the held-out part, where this is one of the training part and the other lies beside it; and what both are called.
fn companion(path: &Path) -> Option<(PathBuf, String)> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    for [train, test] in PARTS {
        let Some(at) = lower.rfind(train).filter(|at| lower[at + train.len()..].starts_with('.')) else { continue };
        let wanted = format!("{}{test}{}", &lower[..at], &lower[at + train.len()..]);
        let other =
            fs::read_dir(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
                .ok()?
                .flatten()
                .find(|entry| entry.file_name().to_string_lossy().to_lowercase() == wanted)?;
        return Some((other.path(), name.get(..at)?.to_owned()));
    }
    None
}

/// Files of training parts in a folder, or its only file that is taken.
fn sets(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    const LOOKED_AT: usize = 256;
    let entries = fs::read_dir(folder).map_err(|source| DataError::reading(folder, source))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.truncate(LOOKED_AT);
    let parts: Vec<PathBuf> =
        files.iter().filter(|path| companion(path).is_some() && form(path).is_some()).cloned().collect();
    if !parts.is_empty() {
        // The same set lies there in several formats now and then: the one with most to say is taken.
        let of = |wanted| parts.iter().filter(|path| form(path) == Some(wanted)).cloned().collect::<Vec<_>>();
        return Ok([Form::Ts, Form::Ucr, Form::Npz, Form::Npy]
            .into_iter()
            .map(of)
            .find(|of| !of.is_empty())
            .unwrap_or(parts));
    }
    let texts = |path: &PathBuf| match form(path) {
        Some(Form::Npy | Form::Npz) | None => false,
        Some(_) => true,
    };
    Ok(files.into_iter().filter(texts).collect())
}

fn one(path: &Path, form: Form) -> Result<Raw, DataError> {
    Ok(match form {
        Form::Table => Raw::Table(table::read(path)?),
        Form::Ucr => Raw::Set(ucr::read(path)?),
        Form::Ts => Raw::Set(ts::read(path)?),
        Form::Npy => arrays::read_npy(path)?,
        Form::Npz => arrays::read_npz(path)?,
    })
}

const EXPECTED: &str =
    "expected a CSV with a row for each moment, UCR's `.tsv`, aeon's `.ts`, an `.npy` or an `.npz` of series";

/// Reads one file as it is, without a companion.
pub(crate) fn read_alone(path: &Path) -> Result<Raw, DataError> {
    if !path.exists() {
        return Err(DataError::Missing { path: path.to_owned() });
    }
    if let Some(form) = form(path) {
        return one(path, form);
    }
    if let Some(error) = foreign_at(path) {
        return Err(error);
    }
    // What is wrong with a text is said by its reader.
    match plain_name(path).rsplit_once('.') {
        Some((_, "csv")) => table::read(path).map(Raw::Table),
        Some((_, "ts")) => ts::read(path).map(Raw::Set),
        Some((_, "tsv")) => ucr::read(path).map(Raw::Set),
        _ => Err(bad(path, EXPECTED)),
    }
}

/// Reads what lies at a path: a file, with its companion where it is a training part that has one, or a folder that holds one set.
pub(crate) fn read(path: &Path) -> Result<Raw, DataError> {
    if path.is_dir() {
        let sets = sets(path)?;
        return match &sets[..] {
            [only] => read(only),
            [] => Err(foreign_at(path).unwrap_or_else(|| bad(path, format!("the folder holds no series: {EXPECTED}")))),
            [first, second, ..] => Err(bad(
                path,
                format!(
                    "the folder holds {} sets, such as {} and {}: give one of them",
                    sets.len(),
                    first.file_name().unwrap_or_default().to_string_lossy(),
                    second.file_name().unwrap_or_default().to_string_lossy()
                ),
            )),
        };
    }
    let raw = read_alone(path)?;
    let (Some((other, name)), Raw::Set(set)) = (companion(path), &raw) else { return Ok(named(raw, path)) };
    if set.held_out.is_some() {
        return Ok(named(raw, path));
    }
    match read_alone(&other)? {
        Raw::Set(test) if test.channels == set.channels => {
            let mut set = set.clone();
            set.notes.extend(test.notes.iter().filter(|note| !set.notes.contains(note)).cloned().collect::<Vec<_>>());
            Ok(Raw::Set(RawSet { held_out: Some(test.train), name, ..set }))
        }
        Raw::Set(test) => Err(bad(
            &other,
            format!(
                "its series have {} channels where those of `{}` have {}",
                test.channels,
                path.display(),
                set.channels
            ),
        )),
        Raw::Table(_) => Err(bad(&other, format!("it is no set of series, and `{}` beside it is", path.display()))),
    }
}

fn named(raw: Raw, path: &Path) -> Raw {
    match raw {
        Raw::Set(set) => {
            let name = plain_name(path).rsplit_once('.').map_or_else(String::new, |(name, _)| name.to_owned());
            Raw::Set(RawSet { name, ..set })
        }
        table @ Raw::Table(_) => table,
    }
}
