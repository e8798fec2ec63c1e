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
    /// Whole numbers of 64 bits.
    I64,
    /// Whole numbers of 32 bits.
    I32,
    /// Whole numbers of 16 bits.
    I16,
    /// Whole numbers of 8 bits.
    I8,
    /// Bytes.
    U8,
    /// True or false.
    Bool,
    /// Something else that no network here is made of.
    Other,
}

impl Precision {
    /// As the safetensors format calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::Other => "other",
        }
    }
}

/// Tensors by name, each read when it is asked for, so that memory holds what was read and no file.
pub trait TensorStore {
    /// All of them, in the order of their names.
    fn entries(&self) -> &[Entry];

    /// One of them as f32, row-major.
    fn read(&self, name: &str) -> Result<NamedTensor, WeightsError>;

    /// Where they lie, for messages.
    fn place(&self) -> String;

    /// What the file calls the tensor of this name, for messages.
    fn shown(&self, name: &str) -> String {
        name.to_owned()
    }

    /// What kind of file or folder that is.
    fn format(&self) -> String {
        "tensors".to_owned()
    }

    /// What stands beside the tensors: a safetensors header's metadata, the plain values at the top of a PyTorch file.
    fn notes(&self) -> Vec<(String, String)> {
        Vec::new()
    }
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

    fn format(&self) -> String {
        "tensors in memory".to_owned()
    }
}
