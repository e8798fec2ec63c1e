//! Zip (PKWARE's APPNOTE, with 64-bit lengths): what NumPy's `.npz` and PyTorch's `.pth` are. Members are read one at a time,
//! stored or deflated, and [written](StoredZip) stored. A crate would do the same and turn on features of others that the
//! tensor engine is built on.
//!
//! Errors are words that go on from the file's name.

mod write;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

pub use flate2::Crc;
use flate2::read::DeflateDecoder;
pub use write::{Member, StoredZip};

const END: u32 = 0x0605_4B50;
const END_64: u32 = 0x0606_4B50;
const LOCATOR_64: u32 = 0x0706_4B50;
const ENTRY: u32 = 0x0201_4B50;
const LOCAL: u32 = 0x0403_4B50;
/// The end record and the longest comment behind it.
const LONGEST_END: u64 = 22 + 0xFFFF;
/// In place of a number that stands in 64 bits elsewhere.
const ELSEWHERE: u64 = 0xFFFF_FFFF;

/// A member as the directory has it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path in the archive.
    pub name: String,
    /// Bytes once it is unpacked, as it claims.
    pub length: u64,
    /// CRC-32 of those bytes, as it claims.
    pub checksum: u32,
    packed: u64,
    deflated: bool,
    at: u64,
}

impl Entry {
    /// Whether the member's bytes have this CRC-32. A zero in the directory says that none was computed (PyTorch's
    /// `set_crc32_options(False)`).
    pub fn agrees(&self, sum: u32) -> bool {
        self.checksum == 0 || self.checksum == sum
    }
}

/// An archive that is read.
pub struct Zip {
    file: File,
    length: u64,
    /// In the directory's order.
    pub entries: Vec<Entry>,
}

/// Little-endian fields from a place on; past the end there are none.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or_else(|| "its directory ends early".to_owned())?;
        self.0 = tail;
        Ok(*head)
    }
    fn u16(&mut self) -> Result<u64, String> {
        self.take().map(|b| u64::from(u16::from_le_bytes(b)))
    }
    fn u32(&mut self) -> Result<u64, String> {
        self.take().map(|b| u64::from(u32::from_le_bytes(b)))
    }
    fn u64(&mut self) -> Result<u64, String> {
        self.take().map(u64::from_le_bytes)
    }
    fn skip(&mut self, count: usize) -> Result<(), String> {
        self.0 = self.0.get(count..).ok_or_else(|| "its directory ends early".to_owned())?;
        Ok(())
    }
    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, String> {
        let taken = self.0.get(..count as usize).ok_or_else(|| "its directory ends early".to_owned())?.to_vec();
        self.skip(count as usize)?;
        Ok(taken)
    }
    fn magic(&mut self, expected: u32) -> Result<(), String> {
        if self.u32()? == u64::from(expected) { Ok(()) } else { Err("its directory is damaged".to_owned()) }
    }
}

impl Zip {
    /// The directory of a file.
    pub fn open(mut file: File) -> Result<Self, String> {
        let io = |e: io::Error| format!("it cannot be read: {e}");
        let length = file.seek(SeekFrom::End(0)).map_err(io)?;
        let mut zip = Self { file, length, entries: Vec::new() };
        let from = length.saturating_sub(LONGEST_END);
        let tail = zip.at(from, length - from)?;
        let end = (0..tail.len().saturating_sub(21)).rev().find(|i| tail[*i..].starts_with(&END.to_le_bytes()));
        let end = end.ok_or("it is no whole zip: its end is missing")?;
        let mut fields = Fields(&tail[end + 10..]);
        let (mut count, mut size, mut start) = (fields.u16()?, fields.u32()?, fields.u32()?);
        if let Some(locator) = end.checked_sub(20).map(|at| &tail[at..])
            && locator.starts_with(&LOCATOR_64.to_le_bytes())
        {
            let mut fields = Fields(&locator[8..]);
            let record = zip.at(fields.u64()?, 56)?;
            let mut fields = Fields(&record);
            fields.magic(END_64)?;
            fields.skip(28)?;
            (count, size, start) = (fields.u64()?, fields.u64()?, fields.u64()?);
        }
        let directory = zip.at(start, size)?;
        let mut fields = Fields(&directory);
        for _ in 0..count {
            let entry = Self::entry(&mut fields)?;
            zip.entries.push(entry);
        }
        Ok(zip)
    }

    /// Bytes of the file itself: a directory is never longer than it.
    fn at(&mut self, from: u64, count: u64) -> Result<Vec<u8>, String> {
        if from.checked_add(count).is_none_or(|end| end > self.length) {
            return Err("it is no whole zip: its directory points behind its end".to_owned());
        }
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(from)).and_then(|_| (&self.file).take(count).read_to_end(&mut bytes));
        read.map_err(|e| format!("it cannot be read: {e}"))?;
        Ok(bytes)
    }

    fn entry(fields: &mut Fields<'_>) -> Result<Entry, String> {
        fields.magic(ENTRY)?;
        fields.skip(4)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.skip(4)?;
        let checksum = fields.u32()? as u32;
        let (mut packed, mut length) = (fields.u32()?, fields.u32()?);
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        fields.skip(8)?;
        let mut at = fields.u32()?;
        let name = String::from_utf8_lossy(&fields.bytes(name)?).into_owned();
        let extra = fields.bytes(extra)?;
        fields.skip(comment as usize)?;
        let mut extra = Fields(&extra);
        while extra.0.len() >= 4 {
            let (kind, size) = (extra.u16()?, extra.u16()?);
            let content = extra.bytes(size)?;
            if kind == 1 {
                let mut content = Fields(&content);
                for number in [&mut length, &mut packed, &mut at] {
                    if *number == ELSEWHERE {
                        *number = content.u64()?;
                    }
                }
            }
        }
        if flags & 1 != 0 || !matches!(method, 0 | 8) {
            return Err(format!(
                "its member `{name}` is encrypted or packed in a way that neither NumPy nor PyTorch packs: save it again"
            ));
        }
        Ok(Entry { name, length, packed, deflated: method == 8, checksum, at })
    }

    /// Where a member's packed bytes begin: they lie inside the file.
    fn start(&mut self, entry: &Entry) -> Result<u64, String> {
        let local = self.at(entry.at, 30)?;
        let mut fields = Fields(&local);
        fields.magic(LOCAL)?;
        fields.skip(22)?;
        let start = entry.at + 30 + fields.u16()? + fields.u16()?;
        if start.checked_add(entry.packed).is_none_or(|end| end > self.length) {
            return Err(format!("it ends inside its member `{}`", entry.name));
        }
        Ok(start)
    }

    /// Where the `length` bytes of a member begin that is stored as it is, for reading parts of it.
    pub fn stored_at(&mut self, entry: &Entry) -> Result<u64, String> {
        if entry.deflated || entry.packed != entry.length {
            return Err(format!("its member `{}` is packed, so that no part of it can be read alone", entry.name));
        }
        self.start(entry)
    }

    /// The file itself, for reading where [`Self::stored_at`] says.
    pub fn into_file(self) -> File {
        self.file
    }

    /// The first bytes of a member, at most so many, unchecked: fewer where it ends before.
    pub fn head(&mut self, entry: &Entry, most: u64) -> Result<Vec<u8>, String> {
        let start = self.start(entry)?;
        let io = |e: io::Error| format!("it is damaged inside its member `{}`: {e}", entry.name);
        self.file.seek(SeekFrom::Start(start)).map_err(io)?;
        let packed = io::BufReader::new((&self.file).take(entry.packed));
        let mut bytes = Vec::new();
        let read = if entry.deflated {
            DeflateDecoder::new(packed).take(most).read_to_end(&mut bytes)
        } else {
            packed.take(most).read_to_end(&mut bytes)
        };
        read.map_err(io)?;
        Ok(bytes)
    }

    /// A member's bytes, as many as it claims and not one more in memory than there are.
    pub fn member(&mut self, entry: &Entry) -> Result<Vec<u8>, String> {
        let bytes = self.head(entry, entry.length.saturating_add(1))?;
        let mut checksum = Crc::new();
        checksum.update(&bytes);
        if bytes.len() as u64 != entry.length || !entry.agrees(checksum.sum()) {
            return Err(format!(
                "it is damaged inside its member `{}`: {} bytes came where {} with another checksum were announced",
                entry.name,
                bytes.len(),
                entry.length
            ));
        }
        Ok(bytes)
    }
}
