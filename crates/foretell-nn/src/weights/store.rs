//! Tensors that lie somewhere and are read one by one.

use super::{NamedTensor, NamedTensors, WeightsError};

/// What is known of a tensor before it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the file.
    pub name: String,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// How its numbers are kept.
    pub dtype: Precision,
}

/// How numbers are kept in a file; they are f32 once read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of a single.
    Bf16,
    /// IEEE double.
    F64,
    /// Whole numbers, which no network here is made of.
    Other,
}

/// Tensors by name, each read when it is asked for, so that memory holds what was read and no file.
pub trait TensorStore {
    /// All of them, in the order of their names.
    fn entries(&self) -> &[Entry];

    /// One of them as f32, row-major.
    fn read(&self, name: &str) -> Result<NamedTensor, WeightsError>;

    /// Where they lie, for messages.
    fn place(&self) -> String;
}

/// Tensors in memory.
pub struct Held {
    entries: Vec<Entry>,
    tensors: NamedTensors,
}

impl From<NamedTensors> for Held {
    fn from(tensors: NamedTensors) -> Self {
        let entry = |(name, t): (&String, &NamedTensor)| Entry {
            name: name.clone(),
            shape: t.shape.clone(),
            dtype: Precision::F32,
        };
        Self { entries: tensors.iter().map(entry).collect(), tensors }
    }
}

impl TensorStore for Held {
    fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn read(&self, name: &str) -> Result<NamedTensor, WeightsError> {
        self.tensors.get(name).cloned().ok_or_else(|| WeightsError::Mismatch(format!("`{name}` is missing")))
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}
