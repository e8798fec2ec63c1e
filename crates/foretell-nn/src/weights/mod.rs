//! Tensors by their official names: reading a network into them, loading it strictly from them, safetensors files.

mod bare;
mod known;
mod lying;
mod open;
mod pickle;
mod safetensors_file;
mod store;
pub mod strict;
mod torch_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::parameters::{change, look};

pub(crate) use bare::{Bare, Outside};
pub use open::{are_weights, open};
pub use store::{Entry, Held, Precision, TensorStore};

/// A tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// Tensors by name, in the names' order.
pub type NamedTensors = BTreeMap<String, NamedTensor>;

/// What can be wrong with weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// Reading or writing failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Not a safetensors file, or a damaged one.
    #[error("{path} is not a whole safetensors file: {reason}. Restore it from a copy, or train again")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A file or folder of weights that cannot be read as such.
    #[error("the weights in {path} cannot be read: {reason}")]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// What was expected, what was found and what to do.
        reason: String,
    },
    /// The tensors do not fit the network.
    #[error("the weights do not fit the network: {0}")]
    Mismatch(String),
}

/// Every tensor of a network as `prefix` + its path, such as `encoder.` + `blocks.0.attn.qkv.weight`.
pub fn read<M: Module>(module: &M, prefix: &str) -> NamedTensors {
    let mut tensors = NamedTensors::new();
    look(module, &mut |parameter, values| {
        let tensor = NamedTensor { shape: parameter.shape.to_vec(), values: foretell_ops::values(values) };
        tensors.insert(format!("{prefix}{}", parameter.name), tensor);
    });
    tensors
}

/// The network with its tensors taken out of `tensors` by `prefix` + path. Missing and mis-shaped ones are an error
/// that lists them; what stays in `tensors` was not used.
pub fn load<M: Module>(module: M, prefix: &str, tensors: &mut NamedTensors) -> Result<M, WeightsError> {
    let mut problems = Vec::new();
    let module = change(module, &mut |parameter, old| {
        let name = format!("{prefix}{}", parameter.name);
        let Some(tensor) = tensors.remove(&name) else {
            problems.push(format!("`{name}` is missing"));
            return old;
        };
        if tensor.shape != parameter.shape {
            problems.push(format!("`{name}` is {:?} where {:?} was expected", tensor.shape, parameter.shape));
            return old;
        }
        let device = old.device();
        drop(old);
        Tensor::from_data(TensorData::new(tensor.values, [parameter.shape.iter().product::<usize>()]), &device)
    });
    if problems.is_empty() { Ok(module) } else { Err(WeightsError::Mismatch(summary(&problems))) }
}

/// An error if anything is left: weights are loaded whole or not at all.
pub fn none_left(tensors: &NamedTensors) -> Result<(), WeightsError> {
    if tensors.is_empty() {
        return Ok(());
    }
    let unused: Vec<String> = tensors.keys().map(|name| format!("`{name}` has no place")).collect();
    Err(WeightsError::Mismatch(summary(&unused)))
}

/// The network with every one of its tensors replaced, and no tensor left over.
pub fn load_whole<M: Module>(module: M, mut tensors: NamedTensors) -> Result<M, WeightsError> {
    let module = load(module, "", &mut tensors)?;
    none_left(&tensors)?;
    Ok(module)
}

fn summary(problems: &[String]) -> String {
    let shown = problems.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    if problems.len() > 5 { format!("{shown}; and {} more", problems.len() - 5) } else { shown }
}

/// The bytes of a safetensors file: f32, the same bytes for the same tensors.
pub fn to_bytes(tensors: &NamedTensors) -> Vec<u8> {
    let bytes: Vec<(&String, Vec<u8>)> =
        tensors.iter().map(|(name, t)| (name, t.values.iter().flat_map(|x| x.to_le_bytes()).collect())).collect();
    let views = tensors.values().zip(&bytes).map(|(t, (name, bytes))| {
        let view = TensorView::new(Dtype::F32, t.shape.clone(), bytes).expect("as many bytes as the shape asks for");
        (name.as_str(), view)
    });
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize(views, Some(metadata)).expect("valid views")
}

/// Reads a safetensors file of f32 tensors whole.
pub fn read_file(path: &Path) -> Result<NamedTensors, WeightsError> {
    let bytes =
        std::fs::read(path).map_err(|source| WeightsError::Io { action: "read", path: path.to_owned(), source })?;
    read_bytes(&bytes, path)
}

/// Reads the bytes of a safetensors file of f32 tensors; `path` says where they came from.
pub fn read_bytes(bytes: &[u8], path: &Path) -> Result<NamedTensors, WeightsError> {
    let damaged = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
    let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
    let mut tensors = NamedTensors::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!("`{name}` holds {:?} where F32 was expected", view.dtype())));
        }
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}
