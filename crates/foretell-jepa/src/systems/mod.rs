//! One file for each member of the family: its settings, its defaults with their reasons, and how it is put together.

pub mod eb_jepa;
pub mod i_jepa;
pub mod le_jepa;
pub mod le_wm;

use burn::tensor::Device;
use foretell_data::Normalise;
use serde::{Deserialize, Serialize};

use crate::masks::MaskError;

/// What a system is built for: the data's and the run's numbers.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Side of the images in pixels.
    pub image_size: usize,
    /// Channels of the images.
    pub channels: usize,
    /// Mean and standard deviation of the training images.
    pub normalise: Normalise,
    /// Of the run.
    pub seed: u64,
    /// Optimiser steps that will really be taken.
    pub total_steps: u64,
    /// Samples in a batch.
    pub batch: usize,
    /// Where the networks lie, without autodiff.
    pub device: Device,
    /// Whether that is a CPU: some defaults are smaller there.
    pub on_cpu: bool,
}

/// What a dynamics system is built for.
#[derive(Clone, Debug)]
pub struct WorldSetting {
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Numbers in the actions between two observations: of one action, times the steps between.
    pub action: usize,
    /// Mean and standard deviation of each channel of the training observations.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of the training actions.
    pub actions: Normalise,
    /// Of the run.
    pub seed: u64,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// What a network is given of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionScale {
    /// The world's own numbers.
    Raw,
    /// Mean 0 and deviation 1 over the training actions.
    Standard,
}

impl WorldSetting {
    /// What the collator does to actions.
    fn actions(&self, scale: ActionScale) -> Normalise {
        match scale {
            ActionScale::Raw => Normalise::nothing(self.action),
            ActionScale::Standard => self.actions.clone(),
        }
    }

    /// An error if the measured numbers are not as many as the observation's channels and the action's numbers.
    fn check(&self) -> Result<(), SystemError> {
        let [channels, _, _] = self.observation;
        for (what, expected, found) in [
            ("channels of an observation", channels, &self.normalise),
            ("numbers of an action", self.action, &self.actions),
        ] {
            if found.mean.len() != expected || found.std.len() != expected {
                return Err(SystemError::Setting(format!(
                    "there are {expected} {what}, but mean and deviation of {} and {}: they are another world's or another data set's",
                    found.mean.len(),
                    found.std.len()
                )));
            }
        }
        Ok(())
    }
}

/// A system that cannot be built as asked.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// A setting that does not fit.
    #[error("{0}")]
    Setting(String),
    /// Masks that cannot be drawn on this grid.
    #[error(transparent)]
    Masks(#[from] MaskError),
}

/// The largest usual patch that divides the image and leaves seven tokens a side.
pub(crate) fn usual_patch(image_size: usize) -> (usize, String) {
    let patch =
        [16, 14, 8, 7, 4, 2].into_iter().find(|p| image_size.is_multiple_of(*p) && image_size / p >= 7).unwrap_or(1);
    let side = image_size / patch;
    (
        patch,
        format!(
            "the largest usual patch that divides {image_size} pixels and leaves at least 7 tokens a side: {side} × {side} tokens"
        ),
    )
}

/// An error if the patch does not divide the image.
pub(crate) fn check_patch(image_size: usize, patch: usize) -> Result<(), SystemError> {
    if patch > 0 && image_size.is_multiple_of(patch) && image_size / patch >= 2 {
        return Ok(());
    }
    let down = image_size / patch.max(1) * patch;
    let other = if patch > 0 && down >= 2 * patch { format!("pass `--image-size {down}`, or ") } else { String::new() };
    Err(SystemError::Setting(format!(
        "images of {image_size} × {image_size} pixels do not split into patches of {patch} × {patch}, at least two a side: {other}choose another patch with `--set model.patch=P`"
    )))
}

/// An error if the heads or the position code do not divide the width.
pub(crate) fn check_width(what: &str, width: usize, heads: usize) -> Result<(), SystemError> {
    if width > 0 && heads > 0 && width.is_multiple_of(heads) && width.is_multiple_of(4) {
        return Ok(());
    }
    Err(SystemError::Setting(format!(
        "the {what}'s width {width} must be a multiple of its {heads} heads and of 4 (the two-dimensional position code): choose another with `--set`"
    )))
}
