//! In how many bits a network's maps are held, as an option of the commands.

use foretell_ops::Precision;
use serde::{Deserialize, Serialize};

use crate::Error;

/// `--precision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// As trained
    #[default]
    F32,
    /// Weights of 16 bits: half the memory, features equal to about three digits
    Bf16,
    /// Weights and what meets them in 8 bits: a quarter of the memory, the quickest
    Int8,
}

impl PrecisionChoice {
    /// As the operations name it.
    pub fn get(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
            Self::Int8 => Precision::Int8,
        }
    }

    /// As it stands beside features: nothing of f32.
    pub fn noted(self) -> Option<&'static str> {
        (!self.is_f32()).then(|| self.get().name())
    }

    /// Whether everything stays as it was trained.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// An error where `what`, a noun phrase, cannot be held so.
    pub fn unfit(self, what: &str) -> Error {
        Error::Misuse(format!(
            "`--precision {}` is for the maps of transformer blocks on the processor, and {what} has none there: leave `--precision` out",
            self.get()
        ))
    }
}
