//! Arrays of an `.npz`: a zip of `.npy` members, stored or deflated (NumPy's `savez` and `savez_compressed`).
//!
//! What a header claims is checked against what the file holds before anything of that length is kept.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::zip::Zip;

/// The longest header of version 1, which NumPy writes unless an array has thousands of fields.
pub const LONGEST_HEADER: usize = 10 + 0xFFFF;

/// Numbers of one of the kinds that are understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// `uint8`.
    Bytes(Vec<u8>),
    /// `float32`, or `float64` rounded to it.
    Floats(Vec<f32>),
    /// `int32` and `int64`.
    Whole(Vec<i64>),
    /// `str`, of one length, filled up with zeros.
    Text(Vec<String>),
}

/// An array in C order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// An open `.npz`.
pub(crate) struct Npz {
    path: PathBuf,
    zip: Zip,
}

/// A member's key.
fn key(name: &str) -> &str {
    name.strip_suffix(".npy").unwrap_or(name)
}

impl Npz {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::reading(path, source))?;
        let zip = Zip::open(file).map_err(|reason| bad(path, reason))?;
        Ok(Self { path: path.to_owned(), zip })
    }

    /// The array under the first of these keys that there is.
    pub(crate) fn find(&mut self, keys: &[&str]) -> Result<Option<(String, Array)>, DataError> {
        let there = |wanted: &&&str| self.zip.entries.iter().any(|entry| key(&entry.name) == **wanted);
        let Some(wanted) = keys.iter().find(there) else {
            return Ok(None);
        };
        Ok(Some(((*wanted).to_owned(), self.array(wanted)?)))
    }

    /// The keys, as they are told to a reader.
    pub(crate) fn keys(&self) -> String {
        let keys: Vec<&str> = self.zip.entries.iter().map(|entry| key(&entry.name)).collect();
        if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") }
    }

    fn array(&mut self, wanted: &str) -> Result<Array, DataError> {
        let entry =
            self.zip.entries.iter().find(|entry| key(&entry.name) == wanted).expect("a key that is there").clone();
        let read = self.zip.member(&entry).and_then(|bytes| Array::parse(&bytes));
        read.map_err(|reason| bad(&self.path, format!("reading its array `{wanted}`: {reason}")))
    }
}

/// The arrays of an `.npz` by their keys: what they are, each read and checked on the way.
pub fn contents(path: &Path) -> Result<Vec<(String, Header)>, DataError> {
    let mut npz = Npz::open(path)?;
    let entries = npz.zip.entries.clone();
    let mut of = |entry| -> Result<Header, String> {
        let bytes = npz.zip.member(entry)?;
        let (header, start) = header(&bytes)?;
        header.fits(bytes.len() - start)?;
        Ok(header)
    };
    entries
        .iter()
        .map(|entry| {
            let key = key(&entry.name);
            Ok((key.to_owned(), of(entry).map_err(|reason| bad(path, format!("reading its array `{key}`: {reason}")))?))
        })
        .collect()
}

/// The header of a `.npy`, and the byte at which its numbers begin. Of the file no more than [`LONGEST_HEADER`] bytes are
/// needed.
pub fn header(bytes: &[u8]) -> Result<(Header, usize), String> {
    let start = bytes.strip_prefix(b"\x93NUMPY").ok_or("it is no `.npy`: write it with `numpy.save`")?;
    let short = "it ends inside its header; save or copy it again";
    let (version, rest) = start.split_first_chunk::<2>().ok_or(short)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(short)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(short)?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (text, rest) = rest.split_at_checked(length).ok_or(short)?;
    let header = Header::parse(&String::from_utf8_lossy(text))?;
    Ok((header, bytes.len() - rest.len()))
}

impl Array {
    /// A whole `.npy`.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (header, start) = header(bytes)?;
        let rest = &bytes[start..];
        header.fits(rest.len())?;
        Ok(Self { values: header.values(rest), shape: header.shape })
    }
}

/// Bytes of a text of type `<U12`, if it is one that holds anything.
fn texts(kind: &str) -> Option<usize> {
    let characters = kind.strip_prefix("<U")?.parse::<usize>().ok().filter(|characters| *characters > 0)?;
    characters.checked_mul(4)
}

/// The text in these bytes, four for each character; what is no character becomes a mark that says so.
fn text(bytes: &[u8]) -> String {
    let codes = bytes.as_chunks::<4>().0.iter().map(|code| u32::from_le_bytes(*code));
    let text: String = codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.trim_end_matches('\0').to_owned()
}

fn bad(path: &Path, reason: String) -> DataError {
    DataError::BadArrays { name: path.display().to_string(), reason }
}

/// What stands before an array's numbers.
#[derive(Clone, Debug)]
pub struct Header {
    /// NumPy's word for the type, `<f4` for float32.
    pub kind: String,
    /// Bytes of a number.
    pub size: usize,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
}

impl Header {
    /// An error unless so many bytes are as many as the shape claims.
    fn fits(&self, found: usize) -> Result<(), String> {
        let count = self.shape.iter().try_fold(1_usize, |all, length| all.checked_mul(*length));
        if count.and_then(|count| count.checked_mul(self.size)) == Some(found) {
            return Ok(());
        }
        Err(format!(
            "it claims the shape {:?} of `{}`, which does not fit the {found} bytes that the file holds of it",
            self.shape, self.kind
        ))
    }

    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Self, String> {
        let after = |key: &str| {
            let (_, rest) = text.split_once(&format!("'{key}'"))?;
            rest.trim_start().strip_prefix(':').map(str::trim_start)
        };
        let unreadable = || "its header cannot be understood".to_owned();
        let kind = after("descr").and_then(|t| t.strip_prefix('\'')).and_then(|t| t.split_once('\'')).map(|t| t.0);
        let kind = kind.ok_or_else(|| "it holds records or objects: expected one plain number type".to_owned())?;
        let shape = after("shape").and_then(|t| t.strip_prefix('(')).and_then(|t| t.split_once(')')).map(|t| t.0);
        let shape = shape.ok_or_else(unreadable)?;
        let shape: Result<Vec<usize>, _> =
            shape.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::parse).collect();
        if !after("fortran_order").is_some_and(|t| t.starts_with("False")) {
            return Err("it lies in Fortran order: save it with `numpy.ascontiguousarray`".to_owned());
        }
        let size = match kind {
            "|u1" => 1,
            "<f4" | "<i4" => 4,
            "<f8" | "<i8" => 8,
            _ if texts(kind).is_some() => texts(kind).unwrap_or_default(),
            _ => {
                return Err(format!(
                    "it is of type `{kind}`: expected uint8, float32, float64, int32 or int64 (`|u1`, `<f4`, `<f8`, `<i4`, `<i8`); convert it with `astype`"
                ));
            }
        };
        Ok(Self { kind: kind.to_owned(), size, shape: shape.map_err(|_| unreadable())? })
    }

    /// The numbers in these bytes.
    pub(crate) fn values(&self, bytes: &[u8]) -> Values {
        fn numbers<const N: usize, T>(bytes: &[u8], of: fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|chunk| of(*chunk)).collect()
        }
        match self.kind.as_str() {
            "|u1" => Values::Bytes(bytes.to_vec()),
            "<f4" => Values::Floats(numbers(bytes, f32::from_le_bytes)),
            "<f8" => Values::Floats(numbers(bytes, |b| f64::from_le_bytes(b) as f32)),
            "<i4" => Values::Whole(numbers(bytes, |b| i64::from(i32::from_le_bytes(b)))),
            kind if texts(kind).is_some() => Values::Text(bytes.chunks_exact(self.size).map(text).collect()),
            _ => Values::Whole(numbers(bytes, i64::from_le_bytes)),
        }
    }
}
