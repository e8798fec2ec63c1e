//! Rows of numbers with a name each, from an `.npz` that holds `features` and, mostly, `names`: what `embed` writes, and what anybody
//! can write with `numpy.savez`.

use std::path::Path;

use crate::DataError;
use crate::npy::{Array, Values};
use crate::npz::Npz;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedRows {
    /// Lengths of the axes of `features`; the first is the number of rows.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
    /// One for each row, where the file has `names`.
    pub names: Option<Vec<String>>,
    /// What `embed` says of them, as JSON; nothing where the file's `about` is no text.
    pub about: Option<String>,
}

impl NamedRows {
    /// Reads an `.npy`: nothing but rows.
    pub fn read_npy(path: &Path) -> Result<Self, DataError> {
        let bad = |reason: String| DataError::BadFeatures { name: path.display().to_string(), reason };
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let Array { shape, values } = Array::parse(&bytes).map_err(bad)?;
        let Values::Floats(values) = values else {
            return Err(
                bad("it holds no floating-point numbers: convert them with `astype(numpy.float32)`".to_owned()),
            );
        };
        Ok(Self { shape, values, names: None, about: None })
    }

    /// Reads an `.npz`.
    pub fn read_npz(path: &Path) -> Result<Self, DataError> {
        let bad = |reason: String| DataError::BadFeatures { name: path.display().to_string(), reason };
        let arrays = |error| match error {
            DataError::BadArrays { reason, .. } => bad(reason),
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
        let of_names = |error| match arrays(error) {
            DataError::BadFeatures { name, reason } => {
                DataError::BadFeatures { name, reason: format!("{reason} (`names` must be a NumPy array of str)") }
            }
            other => other,
        };
        let names = match file.find(&["names"]).map_err(of_names)? {
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
        // Anybody's file may call anything so.
        let about = match file.find(&["about"]) {
            Ok(Some((_, Array { values: Values::Text(mut texts), shape }))) if shape.is_empty() => texts.pop(),
            _ => None,
        };
        Ok(Self { shape: features.shape, values, names, about })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of `numpy.savez` and `savez_compressed`: `features = default_rng(0).standard_normal((5, 3))`.
    fn read(name: &str) -> Result<NamedRows, DataError> {
        let path = [env!("CARGO_MANIFEST_DIR"), "tests", "rows", name].iter().collect::<std::path::PathBuf>();
        NamedRows::read_npz(&path)
    }

    #[test]
    fn numpys_rows_and_texts_are_read() {
        let rows = read("named.npz").unwrap();
        assert_eq!(rows.shape, [5, 3]);
        assert_eq!(rows.values[..3], [0.12573022, -0.13210486, 0.64042264]);
        assert_eq!(rows.names.unwrap(), ["a", "bü", "c", "", "e"]);
        assert_eq!(rows.about, None);
    }

    #[test]
    fn what_is_not_named_rows_is_refused_in_words() {
        for (name, part) in [
            ("ints.npz", "no floating-point numbers"),
            ("short.npz", "[1] where one for each of the features' 5 rows"),
            ("objects.npz", "`names` must be a NumPy array of str"),
        ] {
            let error = read(name).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(name) && !error.contains("episodes"), "{error}");
        }
    }
}
