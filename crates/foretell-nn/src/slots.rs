//! Slots: one vector for each object of an observation, a set without an order.
//!
//! What makes them is a [`SlotEncoder`]: [`KnownSlots`], where the world says what its objects are, or
//! [slot attention](crate::slot_attention), where they are found in a picture.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;

use crate::encode::{FeatureMap, ImageNetwork};

/// A network whose tokens are slots, `[B, K, D]`.
pub trait SlotEncoder: Module + ModuleDisplay + ImageNetwork {
    /// Whether slots are read off an observation as they are: no step changes them, and slot k is the same object in every observation of
    /// an episode.
    const GIVEN: bool;

    /// The error `[1]`, tracked, from which slots of observations `[B, C, H, W]` learn what the objects are; `None` for slots that are given.
    fn learn(&self, _observations: Tensor<4>) -> Option<Tensor<1>> {
        None
    }
}

/// The objects that a world names, each as its own numbers: an observation `[F, K, 1]` is K slots of width F.
#[derive(Module, Debug)]
pub struct KnownSlots {
    #[module(skip)]
    objects: usize,
    #[module(skip)]
    width: usize,
}

impl KnownSlots {
    /// Of observations `[F, K, 1]`.
    pub fn new(width: usize, objects: usize) -> Self {
        Self { objects, width }
    }
}

impl ImageNetwork for KnownSlots {
    fn tokens(&self, observations: Tensor<4>) -> FeatureMap {
        let [b, width, objects, _] = observations.dims();
        let tokens = observations.reshape([b, width, objects]).swap_dims(1, 2);
        FeatureMap { tokens, grid: (objects, 1) }
    }

    fn width(&self) -> usize {
        self.width
    }

    fn image(&self) -> (usize, usize) {
        (self.objects, 1)
    }

    fn channels(&self) -> usize {
        self.width
    }
}

impl SlotEncoder for KnownSlots {
    const GIVEN: bool = true;
}
