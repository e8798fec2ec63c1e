//! Rows of unit length with their names, where they came from, and the file that holds both.
//!
//! The file is safetensors: `rows` `[N, D]`, and everything else as JSON in the metadata's one entry, `index`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use foretell_data::NamedRows;
use foretell_data::kind::foreign_at;
use foretell_eval::Features;
use foretell_train::write_whole;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::kept::mark;
use crate::released::MadeBy;
use crate::{Error, PrecisionChoice};

/// The name of the tensor in an index's file, and in one of features.
const ROWS: &str = "rows";
const FEATURES: &str = "features";
/// The metadata's entry.
const ABOUT: &str = "index";
/// What a reader of this version understands.
const VERSION: u32 = 1;
/// What an index's name ends with.
const END: &str = "index.safetensors";

/// Samples as they were named to `embed`, and where they lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Input {
    /// As it was given: names of several inputs begin with it.
    pub(crate) given: String,
    /// From the root of the file system.
    pub(crate) path: PathBuf,
}

/// Where rows came from, as far as it was told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The run whose encoder made the rows.
    pub(crate) run: Option<PathBuf>,
    /// [`mark`] of that encoder's file.
    pub(crate) encoder: Option<String>,
    /// The published model that made the rows, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) made_by: Option<MadeBy>,
    /// In how many bits a run's encoder held its maps; a published model says it with everything else.
    #[serde(default, skip_serializing_if = "PrecisionChoice::is_f32")]
    pub(crate) precision: PrecisionChoice,
    /// The samples.
    pub(crate) images: Vec<Input>,
}

#[derive(Serialize, Deserialize)]
struct About {
    version: u32,
    /// [`mark`] of the file of features.
    features: String,
    names: Vec<String>,
    #[serde(flatten)]
    origin: Origin,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Index {
    /// `[N, D]`, each of length 1 (or of zeros).
    pub(crate) rows: Features,
    /// One for each row.
    pub(crate) names: Vec<String>,
    /// Where they came from.
    pub(crate) origin: Origin,
    /// [`mark`] of the file of features.
    features: String,
}

impl Index {
    /// An index's file, or the features of a file: of `.npz`, `.npy`, safetensors or parquet, by its content. Whether it was the former.
    pub(crate) fn open(path: &Path) -> Result<(Self, bool), Error> {
        let refused = |found: &str| {
            Error::Misuse(format!(
                "{} {found}: expected features (.npz, .npy, .safetensors or .parquet, as `foretell embed` writes them), or an index that \
                 `foretell search` made of them",
                path.display()
            ))
        };
        let reading = |error: std::io::Error| refused(&format!("cannot be read ({error})"));
        if path.is_dir() {
            return Err(refused("is a folder"));
        }
        let mut start = Vec::new();
        File::open(path).and_then(|file| file.take(6).read_to_end(&mut start)).map_err(reading)?;
        let rows = match start.as_slice() {
            [] => return Err(refused("is empty")),
            #[cfg(feature = "parquet")]
            [b'P', b'A', b'R', b'1', ..] => Some(crate::parquet_file::read(path)?),
            #[cfg(not(feature = "parquet"))]
            [b'P', b'A', b'R', b'1', ..] => {
                return Err(refused("is parquet, which this build does not read (build it with `--features parquet`)"));
            }
            [b'P', b'K', ..] => Some(NamedRows::read_npz(path)?),
            b"\x93NUMPY" => Some(NamedRows::read_npy(path)?),
            _ => None,
        };
        if rows.is_none()
            && let Some(error) = foreign_at(path)
        {
            return Err(error.into());
        }
        let bytes = fs::read(path).map_err(reading)?;
        if let Some(NamedRows { shape, values, names, about }) = rows {
            let shape = side_by_side(&shape, about.as_deref());
            let mut index = Self::of_features(path, &shape, values, names, mark(&bytes))?;
            index.origin.made_by = about.as_deref().and_then(MadeBy::read);
            index.origin.precision = about.as_deref().map_or_else(Default::default, precision);
            return Ok((index, false));
        }
        let damaged = |what: String| refused(&format!("is no whole safetensors file ({what})"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let about = metadata.get(ABOUT);
        let name = if about.is_some() { ROWS } else { FEATURES };
        let tensor = tensors.tensor(name).map_err(|_| refused(&format!("has no tensor `{name}`")))?;
        let values = floats(tensor.dtype(), tensor.data()).ok_or_else(|| {
            refused(&format!("holds `{name}` as {:?} where F16, BF16, F32 or F64 was expected", tensor.dtype()))
        })?;
        let Some(about) = about else {
            let names = metadata.get("names").map(|names| serde_json::from_str(names)).transpose();
            let names = names.map_err(|e| refused(&format!("has names that are no list of texts ({e})")))?;
            let about = metadata.get("about").map(String::as_str);
            let shape = side_by_side(tensor.shape(), about);
            let mut index = Self::of_features(path, &shape, values, names, mark(&bytes))?;
            index.origin.made_by = about.and_then(MadeBy::read);
            index.origin.precision = about.map_or_else(Default::default, precision);
            return Ok((index, false));
        };
        let about: About =
            serde_json::from_str(about).map_err(|e| refused(&format!("has a damaged description ({e})")))?;
        if about.version != VERSION {
            let found = about.version;
            return Err(refused(&format!("is an index of version {found} where {VERSION} is understood")));
        }
        let mut index = Self::of_features(path, tensor.shape(), values, Some(about.names), about.features)?;
        index.origin = about.origin;
        Ok((index, true))
    }

    /// Checks what was read, and brings every row to length 1.
    fn of_features(
        path: &Path,
        shape: &[usize],
        values: Vec<f32>,
        names: Option<Vec<String>>,
        features: String,
    ) -> Result<Self, Error> {
        let wrong = |what: String| Err(Error::Misuse(format!("{} {what}", path.display())));
        let (rows, dim) = match *shape {
            [rows, dim] => (rows, dim),
            [_, _, _] => {
                return wrong(format!(
                    "holds tokens {shape:?}: expected one vector a sample; run `foretell embed` without `--tokens`"
                ));
            }
            _ => return wrong(format!("holds features of the shape {shape:?}: expected [samples, width]")),
        };
        if rows == 0 || dim == 0 {
            return wrong(format!("holds features of the shape {shape:?}: there is nothing to search in"));
        }
        let names = names.unwrap_or_else(|| (0..rows).map(|row| row.to_string()).collect());
        if names.len() != rows {
            return wrong(format!("has {} names for {rows} rows", names.len()));
        }
        let mut rows = Features::new(rows, dim, values)?;
        if let Some(at) = rows.values.iter().position(|value| !value.is_finite()) {
            let (row, value) = (at / dim, rows.values[at]);
            return wrong(format!("holds {value} in row {row} (`{}`): expected finite numbers", names[row]));
        }
        for row in rows.values.chunks_exact_mut(dim) {
            let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            if length > 0.0 {
                for x in row {
                    *x = (f64::from(*x) / length) as f32;
                }
            }
        }
        Ok(Self { rows, names, origin: Origin::default(), features })
    }

    /// Rows that have a direction, and those of nothing but zeros, which have none.
    pub(crate) fn directed(&self) -> (Vec<usize>, Vec<usize>) {
        (0..self.rows.rows).partition(|row| self.rows.row(*row).iter().any(|x| *x != 0.0))
    }

    /// Where an index of these features is kept: beside them.
    pub(crate) fn beside(features: &Path) -> PathBuf {
        features.with_extension(END)
    }

    /// Whether `other` was made of the same file of features.
    pub(crate) fn is_of_the_same(&self, other: &Index) -> bool {
        self.features == other.features
    }

    /// Writes the index, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let about = About {
            version: VERSION,
            features: self.features.clone(),
            names: self.names.clone(),
            origin: self.origin.clone(),
        };
        let failed = |error: String| Error::Failure(format!("the index {} cannot be made: {error}", path.display()));
        let about = serde_json::to_string(&about).map_err(|e| failed(e.to_string()))?;
        let bytes: Vec<u8> = self.rows.values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![self.rows.rows, self.rows.dim], &bytes);
        let view = view.map_err(|e| failed(e.to_string()))?;
        let metadata = Some([(ABOUT.to_owned(), about)].into());
        let bytes = safetensors::serialize([(ROWS, view)], metadata).map_err(|e| failed(e.to_string()))?;
        Ok(write_whole(path, &bytes)?)
    }
}

/// The numbers of a tensor of this type; nothing where they are no floating-point ones.
fn floats(kind: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    match kind {
        Dtype::F16 => Some(each(bytes, |b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Some(each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        Dtype::F32 => Some(each(bytes, f32::from_le_bytes)),
        Dtype::F64 => Some(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        _ => None,
    }
}

/// What the JSON text beside features says of the encoder's maps.
fn precision(about: &str) -> PrecisionChoice {
    let about: Option<serde_json::Value> = serde_json::from_str(about).ok();
    about.and_then(|about| serde_json::from_value(about.get("precision")?.clone()).ok()).unwrap_or_default()
}

/// The shape `[N, L, D]` of features after L layers, which `about` names, as `[N, L · D]`: they are compared side by side.
fn side_by_side(shape: &[usize], about: Option<&str>) -> Vec<usize> {
    let about: Option<serde_json::Value> = about.and_then(|about| serde_json::from_str(about).ok());
    let layers = about.as_ref().and_then(|about| Some(about.get("layers")?.as_array()?.len()));
    match *shape {
        [rows, found, width] if Some(found) == layers => vec![rows, found.saturating_mul(width)],
        _ => shape.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(values: &[f32], dim: usize, names: &[&str]) -> Result<Index, Error> {
        let shape = [values.len() / dim, dim];
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Index::of_features(Path::new("x.npz"), &shape, values.to_vec(), Some(names), "1-2".to_owned())
    }

    #[test]
    fn is_read_as_it_was_written_and_rows_have_length_one() {
        let root = tempfile::tempdir().unwrap();
        let path = Index::beside(&root.path().join("x.npz"));
        assert_eq!(path, root.path().join("x.index.safetensors"));
        let mut made = index(&[3.0, 4.0, 0.0, 0.0], 2, &["ü \"1\"", "b"]).unwrap();
        assert_eq!(made.rows.values, [0.6, 0.8, 0.0, 0.0]);
        let images = vec![Input { given: "a".to_owned(), path: "/x/a".into() }];
        made.origin = Origin {
            run: Some("/x/run".into()),
            encoder: Some("7-0".to_owned()),
            made_by: None,
            precision: PrecisionChoice::F32,
            images,
        };
        made.write(&path).unwrap();
        assert_eq!(Index::open(&path).unwrap(), (made.clone(), true));
        let bytes = fs::read(&path).unwrap();
        made.write(&path).unwrap();
        assert_eq!(bytes, fs::read(&path).unwrap(), "the same index, the same bytes");
        for cut in [0, 3, 9, 60, bytes.len() - 1] {
            fs::write(&path, &bytes[..cut]).unwrap();
            let error = Index::open(&path).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
    }

    #[test]
    fn layers_lie_side_by_side_and_tokens_do_not() {
        let about = |layers: &str| format!("{{\"layers\": {layers}}}");
        assert_eq!(side_by_side(&[5, 2, 3], Some(&about("[0, 7]"))), [5, 6]);
        for about in [None, Some(about("[]")), Some(about("[1]")), Some("layers".to_owned())] {
            assert_eq!(side_by_side(&[5, 2, 3], about.as_deref()), [5, 2, 3]);
        }
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        for (outcome, part) in [
            (index(&[], 3, &[]), "nothing to search in"),
            (index(&[1.0, f32::NAN], 1, &["a", "b"]), "NaN in row 1 (`b`)"),
            (index(&[1.0, 2.0], 1, &["a"]), "1 names for 2 rows"),
            (Index::of_features(Path::new("x"), &[1, 2, 1], vec![0.0; 2], None, String::new()), "--tokens"),
        ] {
            let error = outcome.unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
