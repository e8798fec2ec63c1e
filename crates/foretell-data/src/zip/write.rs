//! A zip whose members are stored as they are, written as they come, with 64-bit lengths where needed (APPNOTE 4.3, 4.5.3).

use std::io::{self, Seek, SeekFrom, Write};

use super::{Crc, ELSEWHERE, END, END_64, ENTRY, Entry, LOCAL, LOCATOR_64};

/// Zip's 1 January 1980: the same bytes for the same content.
const DATE: u16 = 0x21;
/// Where the checksum stands in a member's header.
const CHECKSUM: u64 = 14;

/// An archive that is written.
pub struct StoredZip<W: Write + Seek> {
    out: W,
    entries: Vec<Entry>,
    at: u64,
    /// Lengths and places from here on take 64 bits.
    limit: u64,
}

/// A member being written.
pub struct Member<'a, W: Write + Seek> {
    zip: &'a mut StoredZip<W>,
    name: String,
    length: u64,
    at: u64,
    written: u64,
    checksum: Crc,
}

/// Little-endian fields, one behind the other.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u16(mut self, values: &[u16]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }
    fn u32(mut self, values: &[u32]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }
    fn u64(mut self, values: &[u64]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }
    fn text(mut self, text: &str) -> Self {
        self.0.extend(text.bytes());
        self
    }
}

impl<W: Write + Seek> StoredZip<W> {
    /// An empty archive at the beginning of `out`.
    pub fn new(out: W) -> Self {
        Self { out, entries: Vec::new(), at: 0, limit: ELSEWHERE }
    }

    fn write(&mut self, fields: &Fields) -> io::Result<()> {
        self.at += fields.0.len() as u64;
        self.out.write_all(&fields.0)
    }

    /// Begins a member of exactly `length` bytes.
    pub fn member(&mut self, name: &str, length: u64) -> io::Result<Member<'_, W>> {
        let (at, large) = (self.at, length >= self.limit);
        let (version, short, extra) = if large { (45, u32::MAX, 20) } else { (20, length as u32, 0) };
        let mut header = Fields::default().u32(&[LOCAL]).u16(&[version, 0, 0, 0, DATE]).u32(&[0, short, short]);
        header = header.u16(&[name.len() as u16, extra]).text(name);
        if large {
            header = header.u16(&[1, 16]).u64(&[length, length]);
        }
        self.write(&header)?;
        Ok(Member { zip: self, name: name.to_owned(), length, at, written: 0, checksum: Crc::new() })
    }

    /// Writes the directory; what the archive was written to.
    pub fn finish(mut self) -> io::Result<W> {
        let (start, limit) = (self.at, self.limit);
        let entries = std::mem::take(&mut self.entries);
        for Entry { name, checksum, length, at, .. } in &entries {
            let (checksum, length, at) = (*checksum, *length, *at);
            let large = length >= limit || at >= limit;
            let (version, extra) = if large { (45, 28) } else { (20, 0) };
            let short = |value: u64| if large { u32::MAX } else { value as u32 };
            let mut entry = Fields::default().u32(&[ENTRY]).u16(&[45, version, 0, 0, 0, DATE]);
            entry = entry.u32(&[checksum, short(length), short(length)]).u16(&[name.len() as u16, extra, 0, 0, 0]);
            entry = entry.u32(&[0, short(at)]).text(name);
            if large {
                entry = entry.u16(&[1, 24]).u64(&[length, length, at]);
            }
            self.write(&entry)?;
        }
        let (end, count) = (self.at, entries.len() as u64);
        let large = start >= limit || entries.iter().any(|entry| entry.length >= limit);
        if large {
            let record = Fields::default().u32(&[END_64]).u64(&[44]).u16(&[45, 45]).u32(&[0, 0]);
            self.write(&record.u64(&[count, count, end - start, start]))?;
            self.write(&Fields::default().u32(&[LOCATOR_64, 0]).u64(&[end]).u32(&[1]))?;
        }
        let place = if large { u32::MAX } else { start as u32 };
        let last = Fields::default().u32(&[END]).u16(&[0, 0, count as u16, count as u16]);
        self.write(&last.u32(&[(end - start) as u32, place]).u16(&[0]))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write + Seek> Write for Member<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.zip.out.write(bytes)?;
        self.checksum.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.zip.out.flush()
    }
}

impl<W: Write + Seek> Member<'_, W> {
    /// Puts the checksum into the member's header.
    pub fn end(self) -> io::Result<()> {
        let Member { zip, name, length, at, written, checksum } = self;
        if written != length {
            return Err(io::Error::other(format!("{name}: {written} bytes came where {length} were announced")));
        }
        let checksum = checksum.sum();
        zip.out.seek(SeekFrom::Start(at + CHECKSUM))?;
        zip.out.write_all(&checksum.to_le_bytes())?;
        zip.at += length;
        zip.out.seek(SeekFrom::Start(zip.at))?;
        zip.entries.push(Entry { name, length, checksum, packed: length, deflated: false, at });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zip::Zip;
    use std::io::Cursor;

    fn archive(limit: u64) -> Vec<u8> {
        let mut zip = StoredZip { limit, ..StoredZip::new(Cursor::new(Vec::new())) };
        for (name, content) in [("a.txt", &b"123456789"[..]), ("b", b"")] {
            let mut member = zip.member(name, content.len() as u64).unwrap();
            member.write_all(content).unwrap();
            member.end().unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn members_lie_where_the_directory_says() {
        let bytes = archive(ELSEWHERE);
        // The standard's check value of CRC-32.
        assert_eq!(bytes[14..18], 0xCBF4_3926_u32.to_le_bytes());
        assert_eq!(bytes[30..44], *b"a.txt123456789");
        let end = bytes.len() - 22;
        assert_eq!(bytes[end..end + 4], *b"PK\x05\x06");
        let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (size, start) = (field(end + 12), field(end + 16));
        assert_eq!((start + size, &bytes[start..start + 4]), (end, &b"PK\x01\x02"[..]));
        assert_eq!(bytes[field(start + 51 + 42)..][..4], *b"PK\x03\x04");
    }

    #[test]
    fn the_reader_finds_the_members_by_short_and_by_long_lengths() {
        for limit in [ELSEWHERE, 4] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&archive(limit)).unwrap();
            let mut zip = Zip::open(file).unwrap();
            let entries = zip.entries.clone();
            let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            assert_eq!(names, ["a.txt", "b"]);
            assert_eq!(
                (zip.member(&entries[0]).unwrap(), zip.stored_at(&entries[1]).is_ok()),
                (b"123456789".to_vec(), true)
            );
            assert_eq!(entries[0].checksum, 0xCBF4_3926);
        }
    }

    #[test]
    fn long_members_have_long_lengths() {
        let bytes = archive(4);
        assert_eq!(bytes[18..26], [0xFF; 8]);
        assert_eq!(bytes[35..39], [1, 0, 16, 0]);
        assert_eq!(bytes[39..47], 9_u64.to_le_bytes());
        assert!(bytes.windows(4).any(|w| w == b"PK\x06\x06") && bytes.windows(4).any(|w| w == b"PK\x06\x07"));
    }

    #[test]
    fn a_member_that_is_not_as_long_as_announced_is_an_error() {
        let mut zip = StoredZip::new(Cursor::new(Vec::new()));
        assert!(zip.member("a", 3).unwrap().end().is_err());
    }
}
