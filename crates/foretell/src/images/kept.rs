//! What a run has learnt: the encoder of a finished one or of a checkpoint, and what it needs to know of images. The training data
//! is not opened.

use std::path::Path;
use std::str::FromStr;

use burn::tensor::Device;
use foretell_jepa::Objective;
use foretell_nn::{Encode, WeightsError, weights};
use foretell_train::{Checkpoint, RunFolder, checkpoint_steps};

use super::OverImages;
use super::session::{AnyObjective, objective_of};
use crate::output::say;
use crate::recipe::{AnyRecipe, Recipe};
use crate::world::ExperienceConfig;
use crate::{Error, with_objective};

/// A run's encoder.
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
        Self::with(path, device, |folder, objective| {
            let (run, file) = (path.display(), folder.encoder());
            if !file.is_file() {
                return Err(Error::Misuse(format!(
                    "{run} is not finished, so it has no encoder yet: finish it with `foretell train --resume {run}`, or `foretell probe {run} --checkpoint newest`"
                )));
            }
            let tensors = weights::read_file(&file)?;
            with_objective!(objective, |objective| objective.encoder_with(tensors))
                .map_err(|e| misfit(&file, folder, e))
        })
    }

    /// Loads the encoder as it was at a checkpoint of a run, finished or not.
    pub fn at_checkpoint(path: &Path, device: Device, which: Which) -> Result<Self, Error> {
        Self::with(path, device, |folder, objective| {
            let run = path.display();
            let steps = checkpoint_steps(folder);
            let Some(newest) = steps.last() else {
                return Err(Error::Misuse(format!(
                    "{run} has no checkpoint: one is written every `train.checkpoint_every` steps ({})",
                    folder.config().display()
                )));
            };
            let step = if let Which::Step(step) = which { step } else { *newest };
            if !steps.contains(&step) {
                let steps: Vec<String> = steps.iter().map(u64::to_string).collect();
                return Err(Error::Misuse(format!(
                    "{run} has no checkpoint of step {step}: it has those of steps {}",
                    steps.join(", ")
                )));
            }
            say(format_args!("the checkpoint of step {step}"));
            let place = folder.checkpoint(step);
            let tensors = Checkpoint::read(&place)?.model;
            with_objective!(objective, |objective| objective.with_state(tensors).map(|o| o.encoder()))
                .map_err(|e| misfit(&place, folder, e))
        })
    }

    fn with(
        path: &Path,
        device: Device,
        encoder: impl FnOnce(&RunFolder, AnyObjective) -> Result<Box<dyn Encode>, Error>,
    ) -> Result<Self, Error> {
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
        let mut encoder = encoder(&folder, objective_of(&recipe, &setting)?)?;
        encoder.prepare();
        Ok(Self { folder, recipe, encoder, device })
    }
}

fn misfit(file: &Path, run: &RunFolder, error: WeightsError) -> Error {
    match error {
        WeightsError::Mismatch(what) => {
            Error::Misuse(format!("{} does not fit the network of {}: {what}", file.display(), run.config().display()))
        }
        other => other.into(),
    }
}

/// Which of a run's checkpoints.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The one with the most steps.
    Newest,
    /// The one of this step.
    Step(u64),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        text.parse().map(Self::Step).map_err(|_| "expected a step, as 2720, or `newest`".to_owned())
    }
}
