//! NumPy's `.npy`: an array's header and its numbers.
//!
//! What a header claims is checked against what the file holds before anything of that length is kept.

use std::path::Path;

use crate::kind::lfs_pointer;
use crate::positional::Positional;

/// The longest header of version 1, which NumPy writes unless an array has thousands of fields.
pub(crate) const LONGEST_HEADER: usize = 10 + 0xFFFF;

/// Numbers of one of the kinds that are understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// `uint8`.
    Bytes(Vec<u8>),
    /// `float32`, `float16` as it is, or `float64` rounded to it.
    Floats(Vec<f32>),
    /// Whole numbers of any other width, and `bool` as 0 and 1; what is too large for `int64` is its largest.
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
    /// The numbers in C order, where the file has them in Fortran's: there an entry lies scattered over all of it.
    ordered: Option<Vec<u8>>,
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
        let length = file.length() - start as u64;
        header.fits(length)?;
        let ordered = if header.fortran {
            let mut bytes = vec![0; length as usize];
            file.read_exact_at(&mut bytes, start as u64).map_err(|e| e.to_string())?;
            Some(header.in_c_order(&bytes))
        } else {
            None
        };
        Ok(Self { file, header, start: start as u64, ordered })
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
        let length = count * self.header.size;
        if let Some(all) = &self.ordered {
            return Ok(self.header.values(&all[index * length..][..length]));
        }
        let mut bytes = vec![0; length];
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
    let no_array = || lfs_pointer(bytes).unwrap_or_else(|| "it is no `.npy`: write it with `numpy.save`".to_owned());
    let start = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(no_array)?;
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
        let values = if header.fortran { header.values(&header.in_c_order(rest)) } else { header.values(rest) };
        Ok(Self { values, shape: header.shape })
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

/// `float16` (IEEE 754's binary16).
fn half(bytes: [u8; 2]) -> f32 {
    let bits = u16::from_le_bytes(bytes);
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1F), f32::from(bits & 0x3FF));
    let size = match exponent {
        // Subnormal: no leading one.
        0 => mantissa * 2.0_f32.powi(-24),
        0x1F if mantissa == 0.0 => f32::INFINITY,
        0x1F => f32::NAN,
        _ => (1.0 + mantissa / 1024.0) * 2.0_f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
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
    /// Whether the first index changes fastest.
    fortran: bool,
}

impl Header {
    /// Whether its numbers are floating-point ones.
    pub fn is_floating(&self) -> bool {
        self.kind.trim_start_matches(['<', '>', '=']).starts_with('f')
    }

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
        let fortran = after("fortran_order").ok_or_else(unreadable)?.starts_with("True");
        if let Some("O") = kind.get(1..) {
            return Err(format!(
                "it is of type `{kind}`, Python objects: where its entries are arrays of one shape, save `numpy.stack(list(x))`; where their lengths differ, `numpy.concatenate(list(x))` and the lengths beside it; where they are plain numbers, `x.astype(float)`"
            ));
        }
        let plain = kind.split_at_checked(1).filter(|(order, _)| matches!(*order, "<" | ">" | "=" | "|"));
        let size = match plain.map(|(_, word)| word) {
            Some("u1" | "i1" | "b1") => 1,
            Some("f2" | "i2" | "u2") => 2,
            Some("f4" | "i4" | "u4") => 4,
            Some("f8" | "i8" | "u8") => 8,
            _ if texts(kind).is_some() => texts(kind).unwrap_or_default(),
            _ => {
                return Err(format!(
                    "it is of type `{}`: expected bool, whole numbers or floating-point ones of 8 to 64 bits; convert it with `astype`",
                    kind.escape_debug()
                ));
            }
        };
        Ok(Self { kind: kind.to_owned(), size, shape: shape.map_err(|_| unreadable())?, fortran })
    }

    /// The bytes of all numbers in the order in which the last index changes fastest; they lie with the first one doing so.
    fn in_c_order(&self, bytes: &[u8]) -> Vec<u8> {
        let (size, shape) = (self.size, self.shape.as_slice());
        let mut out = Vec::with_capacity(bytes.len());
        // Of each axis, the numbers from one index to the next.
        let strides: Vec<usize> = shape
            .iter()
            .scan(1_usize, |stride, length| Some(std::mem::replace(stride, stride.saturating_mul(*length))))
            .collect();
        let (mut index, mut at) = (vec![0; shape.len()], 0);
        while out.len() < bytes.len() {
            out.extend_from_slice(&bytes[at * size..][..size]);
            for axis in (0..shape.len()).rev() {
                (index[axis], at) = (index[axis] + 1, at + strides[axis]);
                if index[axis] < shape[axis] {
                    break;
                }
                (index[axis], at) = (0, at - shape[axis] * strides[axis]);
            }
        }
        out
    }

    /// The numbers in these bytes.
    pub(crate) fn values(&self, bytes: &[u8]) -> Values {
        fn numbers<const N: usize, T>(bytes: &[u8], big: bool, of: fn([u8; N]) -> T) -> Vec<T> {
            let chunks = bytes.as_chunks::<N>().0.iter();
            if big {
                let turned = |chunk: &[u8; N]| {
                    let mut chunk = *chunk;
                    chunk.reverse();
                    of(chunk)
                };
                return chunks.map(turned).collect();
            }
            chunks.map(|chunk| of(*chunk)).collect()
        }
        if texts(&self.kind).is_some() {
            return Values::Text(bytes.chunks_exact(self.size).map(text).collect());
        }
        let big = self.kind.starts_with('>');
        match self.kind.get(1..).unwrap_or_default() {
            "u1" => Values::Bytes(bytes.to_vec()),
            "f2" => Values::Floats(numbers(bytes, big, half)),
            "f4" => Values::Floats(numbers(bytes, big, f32::from_le_bytes)),
            "f8" => Values::Floats(numbers(bytes, big, |b| f64::from_le_bytes(b) as f32)),
            "b1" => Values::Whole(bytes.iter().map(|b| i64::from(*b != 0)).collect()),
            "i1" => Values::Whole(numbers(bytes, big, |b| i64::from(i8::from_le_bytes(b)))),
            "i2" => Values::Whole(numbers(bytes, big, |b| i64::from(i16::from_le_bytes(b)))),
            "u2" => Values::Whole(numbers(bytes, big, |b| i64::from(u16::from_le_bytes(b)))),
            "i4" => Values::Whole(numbers(bytes, big, |b| i64::from(i32::from_le_bytes(b)))),
            "u4" => Values::Whole(numbers(bytes, big, |b| i64::from(u32::from_le_bytes(b)))),
            "u8" => Values::Whole(numbers(bytes, big, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX))),
            _ => Values::Whole(numbers(bytes, big, i64::from_le_bytes)),
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

    /// `numpy.asfortranarray(numpy.arange(24).reshape(2, 3, 4))`: the first index changes fastest.
    #[test]
    fn arrays_in_fortran_order_are_turned() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npy");
        let mut bytes = write_header("<i2", &[2, 3, 4]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // One character less; the padding takes one more.
        let at = text.find("False").unwrap() - text.find("{'").unwrap() + 10;
        bytes.splice(at..at + 5, *b"True ");
        for k in 0..4_i16 {
            for j in 0..3 {
                bytes.extend((0..2).flat_map(|i| (i * 12 + j * 4 + k).to_le_bytes()));
            }
        }
        let array = Array::parse(&bytes).unwrap();
        assert_eq!((array.shape, array.values), (vec![2, 3, 4], Values::Whole((0..24).collect())));
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(NpyFile::open(&path).unwrap().row(1), Ok(Values::Whole((12..24).collect())));
    }

    /// `numpy.array([1, -2, 65504, 2**-24, 0.1, inf], "f2")` and the same numbers of other types and byte orders.
    #[test]
    fn every_plain_type_has_its_numbers() {
        let of = |kind: &str, bytes: &[u8], count: usize| {
            Array::parse(&[write_header(kind, &[count]), bytes.to_vec()].concat()).map(|array| array.values)
        };
        let halves: Vec<u8> = [0x3C00_u16, 0xC000, 0x7BFF, 1, 0x2E66, 0x7C00].map(u16::to_le_bytes).concat();
        let expected = vec![1.0, -2.0, 65504.0, 2.0_f32.powi(-24), 0.099_975_586, f32::INFINITY];
        assert_eq!(of("<f2", &halves, 6), Ok(Values::Floats(expected)));
        assert_eq!(of(">f4", &1.5_f32.to_be_bytes(), 1), Ok(Values::Floats(vec![1.5])));
        for (kind, bytes, value) in [
            ("|b1", &[1][..], 1),
            ("|i1", &[0xFF], -1),
            ("<i2", &[0xFE, 0xFF], -2),
            ("<u2", &[0xFE, 0xFF], 65534),
            (">u2", &[1, 2], 258),
            ("<u4", &[0, 0, 0, 0x80], 1 << 31),
            ("<u8", &[0xFF; 8], i64::MAX),
            (">i8", &[0, 0, 0, 0, 0, 0, 1, 0], 256),
        ] {
            assert_eq!(of(kind, bytes, 1), Ok(Values::Whole(vec![value])), "{kind}");
        }
        for kind in ["<c8", "<f16", "<M8[s]", "|V4"] {
            assert!(of(kind, &[0; 16], 1).unwrap_err().contains("convert it with `astype`"), "{kind}");
        }
        assert!(of("|O", &[], 0).unwrap_err().contains("numpy.concatenate"));
    }
}
