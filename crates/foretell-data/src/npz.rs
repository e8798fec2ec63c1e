//! Arrays of an `.npz`: a zip of [`.npy`](crate::npy) members, stored or deflated (NumPy's `savez` and `savez_compressed`).

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::kind::foreign_at;
use crate::npy::{Array, Header, LONGEST_HEADER, header};
use crate::zip::Zip;

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
        let metadata = std::fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
        if !metadata.is_file() {
            let found = "it is no regular file, so it cannot be read by position".to_owned();
            return Err(DataError::NotADataSet { path: path.to_owned(), found });
        }
        let file = File::open(path).map_err(|source| DataError::reading(path, source))?;
        let zip = Zip::open(file).map_err(|reason| foreign_at(path).unwrap_or_else(|| bad(path, reason)))?;
        Ok(Self { path: path.to_owned(), zip })
    }

    /// The array under the first of these keys that there is.
    pub(crate) fn find(&mut self, keys: &[&str]) -> Result<Option<(String, Array)>, DataError> {
        let Some(wanted) = keys.iter().find(|wanted| self.has(wanted)) else {
            return Ok(None);
        };
        Ok(Some(((*wanted).to_owned(), self.array(wanted)?)))
    }

    /// Bytes of the array under this key once it is unpacked, as it claims.
    pub(crate) fn length(&self, wanted: &str) -> u64 {
        self.zip.entries.iter().find(|entry| key(&entry.name) == wanted).map_or(0, |entry| entry.length)
    }

    /// Whether there is an array under this key.
    pub(crate) fn has(&self, wanted: &str) -> bool {
        self.zip.entries.iter().any(|entry| key(&entry.name) == wanted)
    }

    /// The shape of the array under this key, by its header alone; `None` where there is none that can be read.
    pub(crate) fn shape(&mut self, wanted: &str) -> Option<Vec<usize>> {
        let entry = self.zip.entries.iter().find(|entry| key(&entry.name) == wanted)?.clone();
        let head = self.zip.head(&entry, LONGEST_HEADER as u64).ok()?;
        header(&head).ok().map(|(header, _)| header.shape)
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

/// A key, and what stands under it or why that cannot be read.
pub type Held = (String, Result<Header, String>);

/// The arrays of an `.npz` by their keys: what they are, each read and checked on the way. One that cannot be read harms none
/// of the others.
pub fn contents(path: &Path) -> Result<Vec<Held>, DataError> {
    let mut npz = Npz::open(path)?;
    let entries = npz.zip.entries.clone();
    let mut of = |entry| -> Result<Header, String> {
        let bytes = npz.zip.member(entry)?;
        let (header, start) = header(&bytes)?;
        header.fits((bytes.len() - start) as u64)?;
        Ok(header)
    };
    Ok(entries.iter().map(|entry| (key(&entry.name).to_owned(), of(entry))).collect())
}

fn bad(path: &Path, reason: String) -> DataError {
    DataError::BadArrays { name: path.display().to_string(), reason }
}
