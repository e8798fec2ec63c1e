//! From a recipe to a run and back: what is learnt from, the resolved settings, the objective.

use std::time::Duration;

use burn::tensor::Device;
use foretell_data::Material;
use foretell_eval::Finding;
use foretell_jepa::{Auto, Decision, Objective};
use foretell_train::{Fit, RunFolder, time_steps};

use crate::Error;
use crate::interrupt::STOP;
use crate::recipe::{Over, Recipe};
use crate::summary::Summary;

/// More than any run takes, and far inside what TOML can write.
pub const MOST_STEPS: u64 = 1_000_000_000_000;
/// Runs at least so long are timed before they begin, to say how long they will take.
const WORTH_TIMING: u64 = 200;
/// Judgements and checkpoints take the rest of the time.
const TRAINING_SHARE: f64 = 0.95;

/// A recipe whose data has been seen: sizes and statistics are fixed, steps may still be open.
pub struct Session<S: Subject> {
    /// With the data's settings resolved.
    pub recipe: Recipe<S>,
    /// What is learnt from, opened.
    pub data: S::Data,
    /// What was chosen, and why.
    pub decisions: Vec<Decision>,
    /// Where the networks lie.
    pub device: Device,
    /// Cores of this machine.
    pub cores: usize,
    /// Minutes that training should take, where that is known before it begins.
    pub expected_minutes: Option<f64>,
}

/// Share of the random initial teacher left after so many steps.
pub type TeacherLeft = Box<dyn Fn(u64) -> f64>;

/// What a run is over, images or a world: how it is opened, what learns from it, and how it is described.
pub trait Subject: Over {
    /// What lies ready once the settings are fixed: a data set, a world.
    type Data;
    /// What an objective's collator is given.
    type Sample: Send + 'static;
    /// An objective of any of its systems.
    type Objective;

    /// Opens what is learnt from and fixes the settings that depend on it.
    fn open(recipe: &mut Recipe<Self>, decisions: &mut Vec<Decision>, cores: usize) -> Result<Self::Data, Error>;

    /// Fixes the system's and the loop's settings for a run of `steps`.
    fn resolve(session: &mut Session<Self>, steps: u64) -> Result<(), Error>;

    /// Steps that its own settings ask for, if they do.
    fn asked(_session: &Session<Self>) -> Option<f64> {
        None
    }

    /// Minutes of training if nothing is said.
    fn minutes(&self) -> f64;

    /// Samples as the loop takes them.
    fn material(session: &Session<Self>) -> Box<dyn Material<Sample = Self::Sample> + '_>;

    /// A fresh objective for a run of `steps`. Settings that are still open are chosen for it, silently.
    fn objective(session: &Session<Self>, steps: u64) -> Result<Self::Objective, Error>;

    /// [`Session::time`] of an objective.
    fn time(session: &Session<Self>, objective: Self::Objective, limit: Duration) -> Result<f64, Error>;

    /// [`crate::run::run`] of an objective and its untrained control.
    fn run(session: &Session<Self>, both: [Self::Objective; 2], folder: &RunFolder) -> Result<Option<Summary>, Error>;

    /// Where there is a teacher that begins at random.
    fn teacher_left(_recipe: &Recipe<Self>, _steps: u64) -> Option<TeacherLeft> {
        None
    }

    /// What kind of data it is, in a word or two.
    fn format(session: &Session<Self>) -> String;

    /// The run before it begins, label → value: how much is learnt from, of what size, in how many steps.
    fn facts(session: &Session<Self>) -> Result<Vec<(&'static str, String)>, Error>;

    /// What one may do with a finished run, label → command; [`RUN`](crate::findings::RUN) stands for its folder.
    fn next(session: &Session<Self>) -> Vec<(String, String)>;

    /// What a person should be warned of.
    fn warning(_session: &Session<Self>) -> Option<&'static str> {
        None
    }
}

/// The outcome of an evaluation.
#[derive(Clone, Debug, Default)]
pub struct Evaluated {
    /// In the order in which people are shown them.
    pub findings: Vec<Finding>,
    /// Names of samples that could not be read.
    pub skipped: Vec<String>,
}

/// An objective whose outcome can be judged.
pub trait Concluded<S: Subject>: Objective<Sample = S::Sample> {
    /// Writes what is kept of it besides the encoder, and evaluates it beside the untrained control. `None` if it was stopped: the run's last checkpoint is where it goes on.
    fn conclude(&self, untrained: &Self, session: &Session<S>, folder: &RunFolder) -> Result<Option<Evaluated>, Error>;
}

impl<S: Subject> Session<S> {
    /// Opens the data and fixes what depends on it.
    pub fn open(mut recipe: Recipe<S>, device: Device) -> Result<Self, Error> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut decisions = Vec::new();
        let data = S::open(&mut recipe, &mut decisions, cores)?;
        Ok(Self { recipe, data, decisions, device, cores, expected_minutes: None })
    }

    /// Steps as asked, or from minutes after a calibration.
    pub fn choose_steps(&mut self) -> Result<u64, Error> {
        let asked = match self.recipe.train.steps {
            Auto::Value(steps) => Some(steps),
            Auto::Auto => S::asked(self).map(|steps| steps.ceil().clamp(1.0, MOST_STEPS as f64) as u64),
        };
        if let Some(steps) = asked {
            if steps >= WORTH_TIMING {
                self.expected_minutes =
                    Some(steps as f64 * self.seconds_a_step(Duration::ZERO)? / 60.0 / TRAINING_SHARE);
            }
            return Ok(steps);
        }
        let minutes = if self.recipe.minutes > 0.0 { self.recipe.minutes } else { self.recipe.over.minutes() };
        let step = self.seconds_a_step(Duration::from_secs(6))?;
        let steps = (TRAINING_SHARE * minutes * 60.0 / step).floor().clamp(1.0, MOST_STEPS as f64) as u64;
        self.decisions.push(Decision {
            what: "train.steps".to_owned(),
            value: steps.to_string(),
            reason: format!("{minutes} minutes at {:.0} ms a step, measured just now", step * 1e3),
        });
        self.recipe.minutes = minutes;
        self.expected_minutes = Some(minutes);
        Ok(steps)
    }

    fn seconds_a_step(&self, limit: Duration) -> Result<f64, Error> {
        S::time(self, S::objective(self, 1_000_000)?, limit)
    }

    /// Seconds that a step of this objective takes.
    pub fn time<O: Objective<Sample = S::Sample>>(&self, objective: O, limit: Duration) -> Result<f64, Error> {
        Ok(time_steps(objective, S::material(self).as_ref(), &self.recipe.train, self.recipe.seed, limit)?)
    }

    /// What the loop needs besides the objective.
    pub fn fit<'a>(
        &'a self,
        folder: &'a RunFolder,
        material: &'a dyn Material<Sample = S::Sample>,
        initial_teacher_left: Option<&'a dyn Fn(u64) -> f64>,
    ) -> Fit<'a, S::Sample> {
        Fit {
            folder,
            config: &self.recipe.train,
            material,
            seed: self.recipe.seed,
            device: self.device.clone(),
            initial_teacher_left,
            stop: &STOP,
        }
    }
}
