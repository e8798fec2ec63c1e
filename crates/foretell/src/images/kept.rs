//! What is left of a finished run: the encoder, and what it needs to know of images. The training data is not opened.

use std::path::Path;

use burn::tensor::Device;
use foretell_jepa::Objective;
use foretell_nn::{Encode, WeightsError, weights};
use foretell_train::RunFolder;

use super::OverImages;
use super::session::objective_of;
use crate::recipe::{AnyRecipe, Recipe};
use crate::world::ExperienceConfig;
use crate::{Error, with_objective};

/// A finished run's encoder.
pub struct Kept {
    /// Where it lies.
    pub folder: RunFolder,
    /// The resolved config of the run.
    pub recipe: Recipe<OverImages>,
    /// The kept network.
    pub encoder: Box<dyn Encode>,
    /// Where its tensors lie.
    pub device: Device,
}

impl Kept {
    /// Loads the encoder of a run; one that is not finished, or whose weights do not fit its config, is an error.
    pub fn open(path: &Path, device: Device) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let run = path.display();
        let recipe = match AnyRecipe::of_run(&folder)? {
            AnyRecipe::Images(recipe) => recipe,
            AnyRecipe::World(recipe) => {
                let needed = "and this needs an encoder of images";
                return Err(Error::Misuse(match recipe.over.experience {
                    ExperienceConfig::Play { .. } => {
                        format!("{run} learnt from a world, {needed}: `foretell plan {run}` uses its model")
                    }
                    ExperienceConfig::Recorded(_) => {
                        format!(
                            "{run} learnt from recorded episodes, {needed}: `foretell inspect {run}` says what it foretells"
                        )
                    }
                }));
            }
        };
        let file = folder.encoder();
        if !file.is_file() {
            return Err(Error::Misuse(format!(
                "{run} is not finished, so it has no encoder yet: finish it with `foretell train --resume {run}`"
            )));
        }
        let (mean, std) = (&recipe.over.data.normalise.mean, &recipe.over.data.normalise.std);
        let sound = |values: &[f32]| values.iter().all(|v| v.is_finite());
        if !(mean.len() == 1 || mean.len() == 3)
            || std.len() != mean.len()
            || !sound(mean)
            || !sound(std)
            || std.contains(&0.0)
        {
            return Err(Error::Misuse(format!(
                "`data.normalise` in {} must hold a mean and a positive standard deviation for 1 or 3 channels",
                folder.config().display()
            )));
        }
        let setting = recipe.setting(recipe.steps()?, mean.len(), &device)?;
        let tensors = weights::read_file(&file)?;
        let misfit = |error| match error {
            WeightsError::Mismatch(what) => {
                Error::Misuse(format!("{} does not fit the network of its config.toml: {what}", file.display()))
            }
            other => other.into(),
        };
        let mut encoder = with_objective!(objective_of(&recipe, &setting)?, |objective| objective
            .encoder_with(tensors))
        .map_err(misfit)?;
        encoder.prepare();
        Ok(Self { folder, recipe, encoder, device })
    }
}
