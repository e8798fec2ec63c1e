//! Text files of numbers, read with a sentence for whatever is no number, and never by what a header claims.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::kind::{HEAD, foreign};

/// Longer files are refused: the largest sets of graphs have less text.
const LONGEST: u64 = 1 << 30;

/// One text file in memory.
pub(crate) struct Text {
    path: PathBuf,
    text: String,
}

impl Text {
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
            .map_err(|source| reading(path, source))?;
        if bytes.len() as u64 > LONGEST {
            return Err(DataError::TooLarge {
                name: path.display().to_string(),
                found: "its text has more than 1 GiB".to_owned(),
                limit: "1 GiB for one file",
            });
        }
        if let Some(error) = foreign(&path.display().to_string(), &bytes[..bytes.len().min(HEAD)]) {
            return Err(error);
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            bad(path, format!("expected numbers as text, found other bytes from byte {at} on"))
        })?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// An error that names this file.
    pub(crate) fn bad(&self, reason: impl Into<String>) -> DataError {
        bad(&self.path, reason)
    }

    /// Its lines without the empty ones at the end, with numbers from 1 on.
    pub(crate) fn lines(&self) -> impl ExactSizeIterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.trim_end().lines().map(str::trim).collect();
        lines.into_iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// One whole number from each line.
    pub(crate) fn column(&self, what: &str) -> Result<Vec<i64>, DataError> {
        self.lines()
            .map(|(line, text)| {
                whole(text)
                    .ok_or_else(|| self.bad(format!("line {line} holds {} where {what} was expected", shown(text))))
            })
            .collect()
    }
}

/// An error that names a path.
pub(crate) fn bad(path: &Path, reason: impl Into<String>) -> DataError {
    DataError::BadGraphs { name: path.display().to_string(), reason: reason.into() }
}

/// An error of the operating system; a path that leads nowhere gets its own sentence.
pub(crate) fn reading(path: &Path, source: std::io::Error) -> DataError {
    if source.kind() == std::io::ErrorKind::NotFound {
        return bad(
            path,
            "there is nothing at this path; give a folder with `NAME_A.txt` and its companions, or a text file of graphs",
        );
    }
    DataError::Unreadable { path: path.to_owned(), source }
}

/// A whole number; `3.0` is none, since an index that went through floats has lost what it was.
pub(crate) fn whole(cell: &str) -> Option<i64> {
    cell.trim().parse().ok()
}

/// A finite number.
pub(crate) fn real(cell: &str) -> Option<f32> {
    cell.trim().parse().ok().filter(|value: &f32| value.is_finite())
}

/// What was found instead of a number: quoted, and short.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST_SHOWN: usize = 24;
    match text.char_indices().nth(LONGEST_SHOWN) {
        _ if text.is_empty() => "nothing".to_owned(),
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
