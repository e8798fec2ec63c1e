//! NumPy's `.npy`: an array's header and its numbers.
//!
//! What a header claims is checked against what the file holds before anything of that length is kept.

use std::path::Path;

use crate::positional::Positional;

/// The longest header of version 1, which NumPy writes unless an array has thousands of fields.
const LONGEST_HEADER: usize = 10 + 0xFFFF;

/// Numbers of one of the kinds that are understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
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

/// A `.npy` on disk, read an entry of the first axis at a time.
#[derive(Debug)]
pub struct NpyFile {
    file: Positional,
    header: Header,
    /// Byte of the first number.
    start: u64,
}

impl NpyFile {
    /// Reads the header and holds it against the file's length.
    ///
    /// # Errors
    /// In words that go on from the file's name.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = Positional::open(path).map_err(|e| e.to_string())?;
        let mut head = vec![0; LONGEST_HEADER.min(file.length() as usize)];
        file.read_exact_at(&mut head, 0).map_err(|e| e.to_string())?;
        let (header, start) = header(&head)?;
        header.fits(file.length() - start as u64)?;
        Ok(Self { file, header, start: start as u64 })
    }

    /// What stands before the numbers.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// One entry of the first axis.
    pub fn row(&self, index: usize) -> Result<Values, String> {
        let axes = self.header.shape.split_first().filter(|(entries, _)| index < **entries);
        let (_, axes) =
            axes.ok_or_else(|| format!("it has the shape {:?}, and no entry {index}", self.header.shape))?;
        // Where one axis is 0, the others may be of any length.
        let count = if axes.contains(&0) { 0 } else { axes.iter().product() };
        let mut bytes = vec![0; count * self.header.size];
        let at = self.start + index as u64 * bytes.len() as u64;
        self.file.read_exact_at(&mut bytes, at).map_err(|e| e.to_string())?;
        Ok(self.header.values(&bytes))
    }
}

/// The bytes before the numbers of this type and shape, in NumPy's format 1.0.
pub fn write_header(kind: &str, shape: &[usize]) -> Vec<u8> {
    let mut axes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    if !axes.is_empty() {
        axes.push(',');
    }
    let dict = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({axes}), }}");
    // Magic, version and length take 10 bytes; the data begin at a multiple of 64.
    let padding = 63 - (10 + dict.len()) % 64;
    let length = (dict.len() + padding + 1) as u16;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(length.to_le_bytes());
    header.extend(dict.bytes());
    header.resize(header.len() + padding, b' ');
    header.push(b'\n');
    header
}

/// The header of a `.npy`, and the byte at which its numbers begin. Of the file no more than [`LONGEST_HEADER`] bytes are
/// needed.
pub(crate) fn header(bytes: &[u8]) -> Result<(Header, usize), String> {
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
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (header, start) = header(bytes)?;
        let rest = &bytes[start..];
        header.fits(rest.len() as u64)?;
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
    pub(crate) fn fits(&self, found: u64) -> Result<(), String> {
        let bytes = self.shape.iter().try_fold(self.size as u64, |all, length| all.checked_mul(*length as u64));
        if bytes == Some(found) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: &str, shape: &[usize], numbers: &[u8]) -> Result<NpyFile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        std::fs::write(&path, [write_header(kind, shape), numbers.to_vec()].concat()).unwrap();
        NpyFile::open(&path)
    }

    /// NumPy's format: magic, version, length, a dictionary of Python, and spaces, so that numbers begin at a multiple of 64.
    #[test]
    fn a_header_is_laid_out_as_numpy_describes() {
        let header = write_header("<f4", &[3, 4]);
        assert_eq!(header[..10], *b"\x93NUMPY\x01\x00\x76\x00");
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4,), }";
        assert_eq!(header[10..70], *text.as_bytes());
        assert_eq!(header[70..], *format!("{:57}\n", "").as_bytes());
    }

    #[test]
    fn entries_are_read_where_they_lie() {
        let numbers: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let array = file("<f4", &[3, 2], &numbers).unwrap();
        assert_eq!(array.row(2), Ok(Values::Floats(vec![4.0, 5.0])));
        assert!(array.row(3).unwrap_err().contains("no entry 3"));
    }

    #[test]
    fn what_a_header_claims_costs_nothing() {
        let long = 1 << 40;
        assert!(file("<f4", &[long, long], &[]).unwrap_err().contains("does not fit the 0 bytes"));
        // Nothing, in a shape whose other lengths overflow.
        assert!(file("<f4", &[0, long, long], &[]).unwrap().row(0).is_err());
        assert_eq!(file("|u1", &[2, 0, long, long], &[]).unwrap().row(1), Ok(Values::Bytes(Vec::new())));
        assert!(file("|u1", &[], &[7]).unwrap().row(0).is_err());
    }
}
