//! A NumPy file of normalised pixels: float32, `[B, C, H, W]` or `[B, T, C, H, W]`, read row by row.

use std::fs::File;
use std::path::{Path, PathBuf};

use foretell_data::npz::{Header, LONGEST_HEADER, header};

use crate::Error;

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
        let (Header { kind, shape, .. }, start) = header(&head).map_err(wrong)?;
        if kind != "<f4" {
            let found = match kind.as_str() {
                "<f8" => "float64".to_owned(),
                "|u1" => "uint8".to_owned(),
                other => format!("`{other}`"),
            };
            return Err(wrong(format!(
                "it is {found} where float32 was expected, already normalised: convert it with `astype(\"float32\")`"
            )));
        }
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
