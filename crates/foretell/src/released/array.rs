//! A NumPy file of normalised pixels: float32, `[B, C, H, W]` or `[B, T, C, H, W]`, read row by row.

use std::path::{Path, PathBuf};

use foretell_data::npy::{NpyFile, Values};

use crate::Error;

/// See the module.
#[derive(Debug)]
pub struct ArrayFile {
    path: PathBuf,
    file: NpyFile,
}

impl ArrayFile {
    /// Reads the header; what it claims is compared with the file's length.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = NpyFile::open(path).map_err(|what| wrong(path, what))?;
        let header = file.header();
        if header.kind != "<f4" {
            let found = match header.kind.as_str() {
                "<f8" => "float64".to_owned(),
                "|u1" => "uint8".to_owned(),
                other => format!("`{other}`"),
            };
            return Err(wrong(
                path,
                format!(
                    "it is {found} where float32 was expected, already normalised: convert it with `astype(\"float32\")`"
                ),
            ));
        }
        if header.shape.contains(&0) {
            return Err(wrong(path, format!("its shape is {:?}, which holds nothing", header.shape)));
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Lengths of the axes, none of them 0.
    pub fn shape(&self) -> &[usize] {
        &self.file.header().shape
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One entry of the first axis.
    pub fn row(&self, index: usize) -> Result<Vec<f32>, Error> {
        let wrong = |what| wrong(&self.path, what);
        let Values::Floats(values) = self.file.row(index).map_err(wrong)? else {
            return Err(wrong("it holds no floats".to_owned()));
        };
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => {
                Err(wrong(format!("it holds {value} in row {index}, where normalised pixels were expected")))
            }
            None => Ok(values),
        }
    }
}

fn wrong(path: &Path, what: String) -> Error {
    Error::Misuse(format!("the array {} cannot be used: {what}", path.display()))
}
