//! A NumPy file of normalised pixels: float32, `[B, C, H, W]` or `[B, T, C, H, W]`, read row by row.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::Error;

/// Longer headers are refused; NumPy writes such only for arrays of many fields.
const LONGEST_HEADER: usize = 1 << 16;

/// See the module.
#[derive(Debug)]
pub struct ArrayFile {
    path: PathBuf,
    file: File,
    start: u64,
    shape: Vec<usize>,
}

impl ArrayFile {
    /// Reads the header; what it claims is compared with the file's length.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display();
        let wrong = |what: String| Error::Misuse(format!("the array {shown} cannot be used: {what}"));
        let failed = |e: std::io::Error| Error::Misuse(format!("cannot read {shown}: {e}"));
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(wrong("it is no file".to_owned()));
        }
        let length = metadata.len();
        let mut head = vec![0; LONGEST_HEADER.min(length as usize)];
        foretell_data::read_exact_at(&file, &mut head, 0).map_err(failed)?;
        let (text, start) = header(&head).map_err(|what| wrong(what.to_owned()))?;
        let kind = quoted(&text, "descr");
        if kind != Some("<f4") {
            let found = match kind {
                Some("<f8") => "float64".to_owned(),
                Some("<f2") => "float16".to_owned(),
                Some("|u1") => "uint8".to_owned(),
                Some(other) => format!("`{other}`"),
                None => "of no plain type".to_owned(),
            };
            return Err(wrong(format!(
                "it is {found} where float32 was expected, already normalised: convert it with `astype(\"float32\")`"
            )));
        }
        if !after(&text, "fortran_order").is_some_and(|rest| rest.starts_with("False")) {
            return Err(wrong("it lies in Fortran order: save it with `numpy.ascontiguousarray`".to_owned()));
        }
        let shape = shape(&text).ok_or_else(|| wrong("its header says no shape".to_owned()))?;
        let bytes = shape.iter().try_fold(4_usize, |all, length| all.checked_mul(*length));
        let found = length - start as u64;
        if bytes.map(|bytes| bytes as u64) != Some(found) {
            return Err(wrong(format!(
                "it claims the shape {shape:?} of float32, which does not fit the {found} bytes that the file holds of it; \
                 save or copy it again"
            )));
        }
        if shape.contains(&0) {
            return Err(wrong(format!("its shape is {shape:?}, which holds nothing")));
        }
        Ok(Self { path: path.to_owned(), file, start: start as u64, shape })
    }

    /// Lengths of the axes, none of them 0.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One entry of the first axis.
    pub fn row(&self, index: usize) -> Result<Vec<f32>, Error> {
        let count: usize = self.shape[1..].iter().product();
        let mut bytes = vec![0; count * 4];
        let at = self.start + index as u64 * bytes.len() as u64;
        foretell_data::read_exact_at(&self.file, &mut bytes, at)
            .map_err(|e| Error::Misuse(format!("cannot read {}: {e}", self.path.display())))?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(Error::Misuse(format!(
                "the array {} cannot be used: it holds {value} in row {index}, where normalised pixels were expected",
                self.path.display()
            ))),
            None => Ok(values),
        }
    }
}

/// The header's words, and where the numbers begin.
fn header(bytes: &[u8]) -> Result<(String, usize), &'static str> {
    const SHORT: &str = "it ends inside its header; save or copy it again";
    if bytes.is_empty() {
        return Err("the file is empty");
    }
    let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
        return Err("it is no .npy file: write it with `numpy.save`");
    };
    let (version, rest) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (text, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
    Ok((String::from_utf8_lossy(text).into_owned(), bytes.len() - rest.len()))
}

/// What stands behind a key of `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("'{key}'"))?;
    rest.trim_start().strip_prefix(':').map(str::trim_start)
}

fn quoted<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    after(text, key)?.strip_prefix('\'')?.split_once('\'').map(|(word, _)| word)
}

fn shape(text: &str) -> Option<Vec<usize>> {
    let (axes, _) = after(text, "shape")?.strip_prefix('(')?.split_once(')')?;
    axes.split(',').map(str::trim).filter(|axis| !axis.is_empty()).map(|axis| axis.parse().ok()).collect()
}
