//! A published model told from headers alone: everything that is said of it, and every check but those of the values.

use burn::tensor::Device;

use super::official::Told;
use super::{Model, ReleasedError, Values};
use crate::weights::TensorStore;

/// See the module. Its networks are never filled, so that nothing can be computed with it.
#[derive(Debug)]
pub struct Outline(Model);

impl Outline {
    /// What [`Model::open_config`] would open.
    pub fn of_config(config: &str, store: &dyn TensorStore, device: &Device) -> Result<Self, ReleasedError> {
        Model::of_config(config, store, device, Values::Left, None).map(Self)
    }

    /// What [`Model::open_official`] would open.
    pub fn of_official(store: &dyn TensorStore, told: &Told, device: &Device) -> Result<Self, ReleasedError> {
        Model::of_official(store, told, device, Values::Left, None).map(Self)
    }

    /// What [`Model::with_preprocessing`] would find wrong.
    pub fn with_preprocessing(self, text: &str) -> Result<Self, ReleasedError> {
        self.0.with_preprocessing(text).map(Self)
    }

    /// [`Model::takes_clips`].
    pub fn takes_clips(&self) -> bool {
        self.0.takes_clips()
    }

    /// [`Model::describe`].
    pub fn describe(&self) -> Vec<String> {
        self.0.describe()
    }
}
