//! Text of numbers, plain or gzip, read with a sentence for whatever is no number.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::DataError;
use crate::kind::{HEAD, foreign};

/// Longer texts are refused.
const LONGEST: u64 = 1 << 30;

/// One text in memory.
pub(crate) struct Text {
    path: PathBuf,
    text: String,
}

impl Text {
    /// A file, plain or gzip.
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = bytes(path, LONGEST + 1)?;
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
        if bytes.contains(&0) {
            return Err(bad(
                path,
                "expected text, found bytes that are none: export it as text, or as an `.npy` array",
            ));
        }
        // Names of columns come in older encodings too: a byte that is no UTF-8 is a character of Latin-1.
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => error.into_bytes().into_iter().map(char::from).collect(),
        };
        Ok(Self { path: path.to_owned(), text })
    }

    /// An error that names this file.
    pub(crate) fn bad(&self, reason: impl Into<String>) -> DataError {
        bad(&self.path, reason)
    }

    /// The lines that hold something, with their numbers from 1 on. A tab at their beginning is kept: the first cell is empty.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let text = self.text.strip_prefix('\u{FEFF}').unwrap_or(&self.text);
        let lines = (1..).zip(text.lines());
        lines.map(|(line, text)| (line, text.trim_end().trim_start_matches(' '))).filter(|(_, text)| !text.is_empty())
    }
}

/// The content of a file, unpacked where it is gzip, at most so many bytes of it.
pub(crate) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let reading = |source| DataError::reading(path, source);
    if !std::fs::metadata(path).map_err(reading)?.is_file() {
        return Err(bad(path, "expected a file, found something else"));
    }
    let mut file = File::open(path).map_err(reading)?;
    let mut magic = [0; 2];
    let packed = file.read_exact(&mut magic).is_ok() && magic == [0x1F, 0x8B];
    let file = File::open(path).map_err(reading)?;
    let mut bytes = Vec::new();
    if packed {
        let read = MultiGzDecoder::new(file).take(most).read_to_end(&mut bytes);
        read.map_err(|_| DataError::BrokenGzip {
            name: path.display().to_string(),
            expected: format!("more than {}", bytes.len()),
            found: bytes.len(),
        })?;
    } else {
        file.take(most).read_to_end(&mut bytes).map_err(reading)?;
    }
    Ok(bytes)
}

/// An error that names a path.
pub(crate) fn bad(path: &Path, reason: impl Into<String>) -> DataError {
    let reason: String = reason.into();
    // What a damaged file holds may break a line.
    DataError::BadSeries { name: path.display().to_string(), reason: reason.replace(|c: char| c.is_control(), " ") }
}

/// What stands in a cell for a value that is not known.
pub(crate) fn is_hole(cell: &str) -> bool {
    matches!(cell, "" | "?" | "-")
        || ["nan", "na", "n/a", "null", "none"].iter().any(|word| cell.eq_ignore_ascii_case(word))
}

/// A cell's number, NaN for a hole; otherwise what is wrong, in words that go on from where the cell stands.
pub(crate) fn number(cell: &str) -> Result<f32, String> {
    let cell = cell.trim();
    if is_hole(cell) {
        return Ok(f32::NAN);
    }
    match cell.parse::<f64>() {
        Ok(value) if value.is_finite() && value.abs() <= f64::from(f32::MAX) => Ok(value as f32),
        Ok(value) if value.is_nan() => Ok(f32::NAN),
        Ok(_) => Err(format!("{} was found, which is no finite number in single precision", shown(cell))),
        Err(_) => Err(format!(
            "{} was found where a number was expected (a hole is an empty cell, `?`, `NaN`, `NA` or `null`)",
            shown(cell)
        )),
    }
}

/// What was found: quoted, and short.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST_SHOWN: usize = 24;
    match text.char_indices().nth(LONGEST_SHOWN) {
        _ if text.is_empty() => "nothing".to_owned(),
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}
