//! Reading a file at a position, so that many threads share one handle without a lock or a cursor.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::DataError;

/// An open file that is only ever read by position.
#[derive(Debug)]
pub(crate) struct Positional {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Positional {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::reading(path, source))?;
        let length = file.metadata().map_err(|source| DataError::reading(path, source))?.len();
        Ok(Self { file, path: path.to_owned(), length })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's length in bytes when it was opened.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), DataError> {
        read_exact_at(&self.file, buffer, offset).map_err(|source| DataError::reading(&self.path, source))
    }
}

/// Fills `buffer` with the bytes of a file from `offset` on.
#[cfg(unix)]
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` with the bytes of a file from `offset` on.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}
