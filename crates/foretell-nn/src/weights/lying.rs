//! Numbers that lie in a file at a known place, read as f32: their own bytes and no others. A [`WeightsFile`] is all of a file's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use foretell_data::read_exact_at;
use foretell_data::zip::{Crc, Entry as Member};

use super::{Entry, NamedTensor, Precision, TensorStore, WeightsError};

/// Bytes that are read at a time: they stay in a core's own cache on the way to their f32.
const CHUNK: usize = 1 << 18;

/// A tensor's place in a file. Whoever makes one has seen that all of it lies inside the file.
#[derive(Clone, Debug)]
pub(super) struct Lying {
    /// Byte of its first number.
    pub(super) start: u64,
    pub(super) kind: Precision,
    pub(super) shape: Vec<usize>,
    /// Numbers from one to the next along each axis, where they do not lie row-major.
    pub(super) strides: Option<Vec<usize>>,
    /// The zip's member that it is the whole of, for its checksum.
    pub(super) member: Option<Member>,
}

/// A file whose tensors' places are known, whatever its format.
pub(super) struct WeightsFile {
    path: PathBuf,
    file: File,
    format: &'static str,
    notes: Vec<(String, String)>,
    entries: Vec<Entry>,
    /// Of each entry.
    places: Vec<Lying>,
}

impl WeightsFile {
    /// The places come in the order of their names, no name twice.
    pub(super) fn new(
        path: &Path,
        file: File,
        format: &'static str,
        notes: Vec<(String, String)>,
        places: impl IntoIterator<Item = (String, Lying)>,
    ) -> Self {
        let entry =
            |(name, place): (String, Lying)| (Entry { name, shape: place.shape.clone(), dtype: place.kind }, place);
        let (entries, places) = places.into_iter().map(entry).unzip();
        Self { path: path.to_owned(), file, format, notes, entries, places }
    }
}

impl TensorStore for WeightsFile {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn read(&self, name: &str) -> Result<NamedTensor, WeightsError> {
        match self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            Ok(at) => self.places[at].read(&self.file, &self.path, name),
            Err(_) => Err(WeightsError::Mismatch(format!("`{name}` is missing"))),
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn format(&self) -> String {
        self.format.to_owned()
    }

    fn notes(&self) -> Vec<(String, String)> {
        self.notes.clone()
    }
}

impl Lying {
    pub(super) fn read(&self, file: &File, path: &Path, name: &str) -> Result<NamedTensor, WeightsError> {
        let Some(size) = floating(self.kind) else {
            let kind = self.kind.name();
            let reason = format!("`{name}` holds {kind} where floating-point numbers were expected");
            return Err(WeightsError::Unreadable { path: path.to_owned(), reason });
        };
        let io = |source| WeightsError::Io { action: "read", path: PathBuf::from(path), source };
        let count: usize = self.shape.iter().product();
        let mut values = Vec::new();
        if let Some(strides) = self.strides.as_ref().filter(|_| count > 0) {
            let last: usize = self.shape.iter().zip(strides).map(|(length, stride)| (length - 1) * stride).sum();
            let mut all = Vec::with_capacity(last + 1);
            numbers(file, self.start, last + 1, size, self.kind, None, &mut all).map_err(io)?;
            values.reserve_exact(count);
            gather(&all, &self.shape, strides, &mut values);
        } else {
            let mut checksum = self.member.as_ref().map(|_| Crc::new());
            values.reserve_exact(count);
            numbers(file, self.start, count, size, self.kind, checksum.as_mut(), &mut values).map_err(io)?;
            if let (Some(member), Some(sum)) = (&self.member, checksum)
                && !member.agrees(sum.sum())
            {
                let reason = format!(
                    "`{name}` is damaged, for its checksum is {:08x} where {:08x} was expected; copy or download the file again",
                    sum.sum(),
                    member.checksum
                );
                return Err(WeightsError::Unreadable { path: path.to_owned(), reason });
            }
        }
        Ok(NamedTensor { shape: self.shape.clone(), values })
    }
}

/// Bytes of a floating-point number.
fn floating(kind: Precision) -> Option<usize> {
    match kind {
        Precision::F64 => Some(8),
        Precision::F32 => Some(4),
        Precision::F16 | Precision::Bf16 => Some(2),
        _ => None,
    }
}

/// Appends `count` numbers of `size` bytes from byte `start` on.
fn numbers(
    file: &File,
    start: u64,
    count: usize,
    size: usize,
    kind: Precision,
    mut checksum: Option<&mut Crc>,
    into: &mut Vec<f32>,
) -> io::Result<()> {
    fn each<const N: usize>(bytes: &[u8], into: &mut Vec<f32>, number: impl Fn([u8; N]) -> f32) {
        into.extend(bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)));
    }
    let mut bytes = vec![0; CHUNK.min(count * size)];
    let (mut at, end) = (start, start + (count * size) as u64);
    while at < end {
        let bytes = &mut bytes[..CHUNK.min((end - at) as usize)];
        read_exact_at(file, bytes, at)?;
        at += bytes.len() as u64;
        if let Some(checksum) = checksum.as_mut() {
            checksum.update(bytes);
        }
        match kind {
            Precision::F64 => each(bytes, into, |b| f64::from_le_bytes(b) as f32),
            Precision::F16 => each(bytes, into, |b| f16::from_le_bytes(b).to_f32()),
            Precision::Bf16 => each(bytes, into, |b| bf16::from_le_bytes(b).to_f32()),
            _ => each(bytes, into, f32::from_le_bytes),
        }
    }
    Ok(())
}

/// The numbers at the places that shape and strides say, row-major.
fn gather(all: &[f32], shape: &[usize], strides: &[usize], into: &mut Vec<f32>) {
    let Some((&length, outer)) = shape.split_last() else {
        into.extend(&all[..1]);
        return;
    };
    let stride = strides[outer.len()];
    let mut index = vec![0; outer.len()];
    loop {
        let start: usize = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
        into.extend((0..length).map(|i| all[start + i * stride]));
        // The next row: the last axis that is not at its end moves on, those behind it begin again.
        let Some(axis) = (0..outer.len()).rev().find(|axis| index[*axis] + 1 < outer[*axis]) else {
            return;
        };
        index[axis] += 1;
        index[axis + 1..].fill(0);
    }
}
