//! A run in its folder: its recipe, and the networks that it has kept.

use std::path::Path;
use std::str::FromStr;

use burn::tensor::Device;
use foretell_eval::Encoder;
use foretell_nn::{NamedTensors, WeightsError, weights};
use foretell_systems::{Imaginer, Learnt, Member, Session, recipe};
use foretell_train::{Learner, RunFolder, Which as Networks, kept_networks, kept_steps};
use toml::{Table, Value};

use crate::asked::Asked;
use crate::output::{say, word};
use crate::unreadable::reopen;
use crate::{Error, PrecisionChoice};

/// What a run was asked, all of it.
fn asked(folder: &RunFolder) -> Result<Asked, Error> {
    let path = folder.config();
    let name = path.display().to_string();
    let text = std::fs::read_to_string(&path).map_err(|e| Error::Misuse(format!("cannot read {name}: {e}")))?;
    Asked::of_text(&text, &name)
}

/// An error if an earlier version wrote a run. Its system may be anyone's.
pub(crate) fn check_version(folder: &RunFolder) -> Result<(), Error> {
    asked(folder)?.check_version()
}

/// The member and the whole recipe of a run.
pub fn of_run(folder: &RunFolder) -> Result<(&'static dyn Member, Table), Error> {
    of_run_judged(folder, &[])
}

/// The same with these settings of its evaluation on top: what it has learnt with stays.
fn of_run_judged(folder: &RunFolder, settings: &[String]) -> Result<(&'static dyn Member, Table), Error> {
    let mut asked = asked(folder)?;
    asked.check_version()?;
    for setting in settings {
        let (key, _) = recipe::entry(setting)?;
        if !key.starts_with("judge.") {
            return Err(Error::Misuse(format!(
                "`{key}` is of what the run has learnt with, and that stays: `--set` here takes settings of the evaluation, `judge.KEY=VALUE`"
            )));
        }
        asked.set(setting)?;
    }
    let member = asked.member()?;
    Ok((member, asked.whole(member)?))
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

/// A run's networks.
pub struct KeptRun {
    /// Where it lies.
    pub folder: RunFolder,
    /// Its recipe.
    pub session: Box<dyn Session>,
    /// Its networks: those of a checkpoint, or fresh ones whose encoder lies in `encoder`.
    pub learner: Box<dyn Learner>,
    /// The finished encoder's tensors; `None` where the networks are a checkpoint's.
    pub encoder: Option<NamedTensors>,
}

impl KeptRun {
    /// The encoder of a finished run; one that is not finished is an error. The data are opened where they are needed.
    pub fn finished(path: &Path, device: &Device, data: bool) -> Result<Self, Error> {
        Self::finished_judged(path, device, data, &[])
    }

    /// The same for other data, of which what cannot be opened is passed over where `skip`; else an error.
    pub fn finished_for_others(path: &Path, device: &Device, skip: bool) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let (member, mut recipe) = of_run(&folder)?;
        let key = "data.on_bad_sample";
        if recipe::get(&recipe, key).is_some() {
            recipe::set(&mut recipe, key, Value::from(if skip { "skip" } else { "fail" }))?;
        }
        Self::open(folder, member, recipe, device, false)?.with_encoder()
    }

    /// The same with these settings of its evaluation, `judge.key=value`, on top.
    pub fn finished_judged(path: &Path, device: &Device, data: bool, settings: &[String]) -> Result<Self, Error> {
        Self::fresh(path, device, data, settings)?.with_encoder()
    }

    /// The same of a run of this member, which need not belong to the family.
    pub fn finished_of(member: &dyn Member, path: &Path, device: &Device, data: bool) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let recipe = asked(&folder)?.whole(member)?;
        Self::open(folder, member, recipe, device, data)?.with_encoder()
    }

    fn with_encoder(self) -> Result<Self, Error> {
        let mut kept = self;
        let (run, file) = (word(kept.folder.path()), kept.folder.encoder());
        if !file.is_file() {
            return Err(Error::Misuse(format!(
                "{run} is not finished, so it has no encoder yet: finish it with `foretell train --resume {run}`, or `foretell probe {run} --checkpoint newest`"
            )));
        }
        kept.encoder = Some(weights::read_file(&file)?);
        let file = kept.folder.model();
        if file.is_file() && kept.session.keeps_more(kept.learner.as_ref())? {
            let model = weights::read_file(&file)?;
            kept.learner.load(Networks::Trained, model).map_err(|error| kept.misfit(&file, error.into()))?;
        }
        Ok(kept)
    }

    /// The networks as they were at a checkpoint of a run, finished or not, with these settings of its evaluation on top.
    pub fn at_checkpoint(
        path: &Path,
        device: &Device,
        data: bool,
        (which, settings): (Which, &[String]),
    ) -> Result<Self, Error> {
        let mut kept = Self::fresh(path, device, data, settings)?;
        let run = path.display();
        let steps = kept.steps()?;
        let newest = steps.last().copied().unwrap_or(0);
        let step = if let Which::Step(step) = which { step } else { newest };
        if !steps.contains(&step) {
            let steps: Vec<String> = steps.iter().map(u64::to_string).collect();
            return Err(Error::Misuse(format!(
                "{run} has no checkpoint of step {step}: it has those of steps {}",
                steps.join(", ")
            )));
        }
        say(format_args!("the checkpoint of step {step}"));
        kept.load(step)?;
        Ok(kept)
    }

    /// A run, finished or not, with its data open and these settings of its evaluation on top, and the steps whose networks it has.
    pub fn stages(path: &Path, device: &Device, settings: &[String]) -> Result<(Self, Vec<u64>), Error> {
        let kept = Self::fresh(path, device, true, settings)?;
        let steps = kept.steps()?;
        Ok((kept, steps))
    }

    /// Steps whose networks the run has, in order; an error if there are none.
    fn steps(&self) -> Result<Vec<u64>, Error> {
        let steps = kept_steps(&self.folder);
        if steps.is_empty() {
            return Err(Error::Misuse(format!(
                "{} has no checkpoint, in which its networks at some step lie: train again with `foretell train {}`; \
                 `--set train.keep_checkpoints=8` keeps the networks of eight steps",
                self.folder.path().display(),
                word(&self.folder.config())
            )));
        }
        Ok(steps)
    }

    /// Makes its networks those of such a step.
    pub fn load(&mut self, step: u64) -> Result<(), Error> {
        let model = kept_networks(&self.folder, step)?;
        let place = self.folder.checkpoint(step);
        self.learner.load(Networks::Trained, model).map_err(|error| self.misfit(&place, error.into()))
    }

    fn fresh(path: &Path, device: &Device, data: bool, settings: &[String]) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let (member, recipe) = of_run_judged(&folder, settings)?;
        Self::open(folder, member, recipe, device, data)
    }

    fn open(folder: RunFolder, member: &dyn Member, recipe: Table, device: &Device, data: bool) -> Result<Self, Error> {
        let mut session =
            if data { reopen(&folder, member, recipe, device)?.0 } else { member.open(recipe, device, false)? };
        let steps = steps(session.as_ref())?;
        let learner = session.learner(steps)?;
        Ok(Self { folder, session, learner, encoder: None })
    }

    /// As something that makes features.
    pub fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        self.encoder_at(PrecisionChoice::F32)
    }

    /// The same with the encoder's maps at this precision; an error where they cannot be held so.
    pub fn encoder_at(&self, precision: PrecisionChoice) -> Result<Box<dyn Encoder>, Error> {
        let file = self.folder.encoder();
        let mark = std::fs::read(&file).map(|bytes| mark(&bytes)).unwrap_or_default();
        let made = self.session.encoder(self.learner.as_ref(), self.encoder.clone(), &mark, precision.get());
        let made = made.map_err(|error| self.misfit(&file, error.into()))?;
        made.ok_or_else(|| precision.unfit(&format!("the encoder of {}", self.folder.path().display())))
    }

    /// What is wrong with weights, in a sentence that names the run's config.
    pub fn misfit(&self, file: &Path, error: Error) -> Error {
        match error {
            Error::Weights(WeightsError::Mismatch(what)) => Error::Misuse(format!(
                "{} does not fit the network of {}: {what}",
                file.display(),
                self.folder.config().display()
            )),
            other => other,
        }
    }
}

/// A file's content in a few characters: length and CRC-32.
pub fn mark(bytes: &[u8]) -> String {
    format!("{}-{:08x}", bytes.len(), crc32fast::hash(bytes))
}

/// The optimiser steps of a resolved recipe.
pub fn steps(session: &dyn Session) -> Result<u64, Error> {
    match session.train().steps {
        foretell_data::Auto::Value(steps) => Ok(steps),
        foretell_data::Auto::Auto => {
            Err(Error::Misuse("`train.steps` is not resolved: a run's config.toml names their number".to_owned()))
        }
    }
}

/// The model that comes with the program: its config and its weights, as `foretell train` left them.
const BUILT_IN: (&str, &[u8]) =
    (include_str!("../models/two-rooms.toml"), include_bytes!("../models/two-rooms.safetensors"));

/// What was learnt in a world, and whose it is.
pub struct KeptModel {
    /// Ready to act.
    pub learnt: Learnt,
    /// Its recipe.
    pub session: Box<dyn Session>,
    /// A run's folder; `None` for the model that comes with the program.
    pub run: Option<String>,
    /// Of its weights.
    pub mark: String,
}

impl KeptModel {
    /// The model that plans are made with; an error for a policy, of which `who` needs more.
    pub fn model(&self, who: &str) -> Result<&Imaginer, Error> {
        match &self.learnt {
            Learnt::Model(imaginer) => Ok(imaginer),
            Learnt::Policy(_) => Err(Error::Misuse(format!(
                "{} has learnt a policy, and {who} needs a model of its world: name a run that foretells what comes of actions",
                self.whose()
            ))),
        }
    }

    /// What a run has learnt, or the model that comes with the program.
    pub fn of(run: Option<&Path>, device: &Device) -> Result<Self, Error> {
        run.map_or_else(|| Self::built_in(device), |run| Self::open(run, device))
    }

    /// The model of a finished run that learnt in a world.
    pub fn open(path: &Path, device: &Device) -> Result<Self, Error> {
        let KeptRun { folder, session, mut learner, .. } = KeptRun::fresh(path, device, false, &[])?;
        let (run, file) = (path.display(), folder.model());
        let none = || {
            Error::Misuse(format!(
                "{run} learnt from {} ({}), and plans need a world to act in: train a model in one with `foretell train --world two-rooms`",
                session.unit().many,
                session.source()
            ))
        };
        // Known before any weight is read: whether there is a world to act in.
        session.learnt(learner.as_ref())?.ok_or_else(none)?;
        if !file.is_file() {
            return Err(Error::Misuse(format!(
                "{run} is not finished, so it has no model yet: finish it with `foretell train --resume {run}`"
            )));
        }
        let bytes =
            std::fs::read(&file).map_err(|error| Error::Misuse(format!("cannot read {}: {error}", file.display())))?;
        learner.load(Networks::Trained, weights::read_bytes(&bytes, &file)?).map_err(|error| match error.into() {
            Error::Weights(WeightsError::Mismatch(what)) => {
                Error::Misuse(format!("{} does not fit the network of its config.toml: {what}", file.display()))
            }
            other => other,
        })?;
        let learnt = session.learnt(learner.as_ref())?.ok_or_else(none)?;
        Ok(Self { learnt, session, run: Some(run.to_string()), mark: mark(&bytes) })
    }

    /// The model that comes with the program.
    pub fn built_in(device: &Device) -> Result<Self, Error> {
        let (config, bytes) = BUILT_IN;
        let name = "the built-in model";
        let asked = Asked::of_text(config, name)?;
        let member = asked.member()?;
        let mut session = member.open(asked.whole(member)?, device, false)?;
        let mut learner = session.learner(steps(session.as_ref())?)?;
        learner.load(Networks::Trained, weights::read_bytes(bytes, Path::new(name))?)?;
        let learnt = session.learnt(learner.as_ref())?;
        let learnt = learnt.ok_or_else(|| Error::Failure(format!("{name} is of no world")))?;
        Ok(Self { learnt, session, run: None, mark: mark(bytes) })
    }

    /// Whose model it is, for people and scripts.
    pub fn name(&self) -> &str {
        self.run.as_deref().unwrap_or("built-in")
    }

    /// The same in a sentence.
    pub fn whose(&self) -> &str {
        self.run.as_deref().unwrap_or("the built-in model")
    }
}
