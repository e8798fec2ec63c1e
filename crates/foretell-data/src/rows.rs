//! Rows of numbers with a name each, from an `.npz` that holds `features` and, mostly, `names`: what `embed` writes, and what anybody
//! can write with `numpy.savez`.

use std::path::Path;

use crate::DataError;
use crate::npz::{Npz, Values};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedRows {
    /// Lengths of the axes of `features`; the first is the number of rows.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
    /// One for each row, where the file has `names`.
    pub names: Option<Vec<String>>,
}

impl NamedRows {
    /// Reads an `.npz`.
    pub fn read_npz(path: &Path) -> Result<Self, DataError> {
        let bad = |reason: String| DataError::BadFeatures { name: path.display().to_string(), reason };
        let arrays = |error| match error {
            DataError::BadEpisodes { reason, .. } => bad(reason),
            other => other,
        };
        let mut file = Npz::open(path).map_err(arrays)?;
        let Some((_, features)) = file.find(&["features"]).map_err(arrays)? else {
            return Err(bad(format!(
                "expected an array `features`, as `foretell embed` writes it; found {}",
                file.keys()
            )));
        };
        let Values::Floats(values) = features.values else {
            return Err(bad(
                "its `features` are no floating-point numbers: convert them with `astype(numpy.float32)`".to_owned()
            ));
        };
        let names = match file.find(&["names"]).map_err(arrays)? {
            None => None,
            Some((_, names)) => match names.values {
                Values::Text(texts) if names.shape[..] == features.shape[..features.shape.len().min(1)] => Some(texts),
                Values::Text(_) => {
                    return Err(bad(format!(
                        "its `names` have the shape {:?} where one for each of the features' {:?} rows was expected",
                        names.shape,
                        features.shape.first().unwrap_or(&0)
                    )));
                }
                _ => return Err(bad("its `names` are no texts: save them as a NumPy array of str".to_owned())),
            },
        };
        Ok(Self { shape: features.shape, values, names })
    }
}
