//! Settings of what any model of a world may learn beside its own terms: how many steps lie between two places, and an actor.

use foretell_jepa::Second;
use serde::{Deserialize, Serialize};

use crate::system::SystemError;

/// How steps between places are told; layouts are explored as `data.explore` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReachConfig {
    /// Width of the two hidden layers.
    pub width: usize,
}

impl Default for ReachConfig {
    fn default() -> Self {
        Self { width: 256 }
    }
}

/// How an actor learns, from windows that no step has seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActorConfig {
    /// Width of its two hidden layers.
    pub width: usize,
    /// Optimiser steps when the rest has learnt, at most, with batches as the rest has them and never more than it took; 0 for no actor.
    pub steps: u64,
    /// Peak learning rate.
    pub lr: f64,
}

impl Default for ActorConfig {
    fn default() -> Self {
        Self { width: 256, steps: 2000, lr: 1e-3 }
    }
}

impl ActorConfig {
    /// An error for what cannot be, by its key.
    pub(crate) fn check(&self, key: &str) -> Result<(), SystemError> {
        if self.width == 0 {
            return Err(SystemError::Setting(format!("`{key}.width` must be at least 1")));
        }
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(SystemError::Setting(format!("`{key}.lr` must be above 0, found {}", self.lr)));
        }
        Ok(())
    }

    /// The stage in which it learns.
    pub(crate) fn second(&self) -> Second {
        Second { name: "actor", steps: self.steps, lr: self.lr, weight_decay: 1e-5, clip: 2.0 }
    }
}
