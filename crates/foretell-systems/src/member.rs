//! A system without its type: what the registry holds, and a run of it as every command sees it. [`Of`] is the one generic
//! shell between the two, compiled once for each system.

use std::any::Any;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use foretell_data::{
    Auto, DataError, Decision, Description, Listed, Modality, Opening, Part, Unit, Unreadable, check_batch, roll,
    unreadable,
};
use foretell_eval::Encoder;
use foretell_jepa::dynamics::{TrainedModel, TrainedPolicy};
use foretell_jepa::{Kept, KeptPredictor};
use foretell_nn::NamedTensors;
use foretell_ops::Precision;
use foretell_train::{Learner, TrainConfig, Which};
use foretell_world::{ExperienceConfig, Imagination, Imitation, Playground};
use toml::{Table, Value};

use crate::ablation::Ablation;
use crate::encoder::RunEncoder;
use crate::imaginer::Imaginer;
use crate::imitator::{Imitator, Learnt};
use crate::judges::{self, LEAST_PROBED};
use crate::judging::{Judged, Judging};
use crate::recipe::{JudgeConfig, ProbeKind, Recipe, RecipeError, as_table, check_keys, get, merge};
use crate::row::Row;
use crate::system::{JudgeError, On, System, SystemError};

/// A member of the family that can be trained.
pub trait Member: Sync {
    /// Its row in the table of systems.
    fn row(&self) -> &'static Row;

    /// What it learns from is called so.
    fn unit(&self) -> Unit;

    /// Its whole recipe where nothing is said.
    fn defaults(&self) -> Table;

    /// Its whole recipe with what was asked on top; `name` says where it was asked.
    fn recipe(&self, asked: &Table, name: &str) -> Result<Table, RecipeError>;

    /// Opens a whole recipe, with its data or, for networks that are only used, without.
    fn open(&self, recipe: Table, device: &Device, data: bool) -> Result<Box<dyn Session>, SystemError>;

    /// The rows of its ablation table with these settings; none where it declares none.
    fn ablations(&self, recipe: Table) -> Result<Vec<Ablation>, RecipeError>;

    /// Settings of its recipe that are measured of the data.
    fn measured(&self) -> Vec<String>;

    /// Settings of its recipe that are paths of data.
    fn paths(&self) -> Vec<String>;

    /// Whether a path looks like the data that it learns from.
    fn recognises(&self, path: &Path) -> bool;

    /// What the data of such settings (`path` and the like, without `data.`) hold.
    fn look(&self, data: Table) -> Result<Description, SystemError>;

    /// Reads every sample of such data: how many there are, and those that cannot be read. `at` is told how many of all have
    /// been read so far.
    fn read_all(&self, data: Table, at: &mut dyn FnMut(usize, usize)) -> Result<Whole, SystemError>;
}

/// What came of reading a whole data set.
pub struct Whole {
    /// Samples of both parts.
    pub samples: usize,
    /// Those that cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// A recipe whose data have been opened, as commands see it.
pub trait Session {
    /// The system's row.
    fn row(&self) -> &'static Row;
    /// The whole recipe, resolved as far as it is yet.
    fn recipe(&self) -> Table;
    /// Random seed.
    fn seed(&self) -> u64;
    /// The loop's settings.
    fn train(&self) -> &TrainConfig;
    /// Minutes and epochs that were asked for; 0 where they were not.
    fn asked(&self) -> (f64, f64);
    /// Steps where nothing is said, if that is known for these data.
    fn usual_steps(&self) -> Option<u64>;
    /// Keeps how many minutes decided the steps.
    fn set_minutes(&mut self, minutes: f64);
    /// What it learns from is called so.
    fn unit(&self) -> Unit;
    /// What it learns from, as people call it.
    fn source(&self) -> String;
    /// The data, where they are open.
    fn description(&self) -> Option<Description>;
    /// Samples of the training part; `None` where they are not open or generated without end.
    fn train_len(&self) -> Option<usize>;
    /// What tells the samples of the open data apart; `None` where they are not open, are generated or lie in one block.
    fn roll(&self) -> Result<Option<Vec<Listed>>, DataError>;
    /// Whether a sample of the open data can be read.
    fn reads(&self, part: Part, index: usize) -> bool;
    /// What was chosen, and why.
    fn decisions(&mut self) -> &mut Vec<Decision>;
    /// Threads that may work.
    fn threads(&self) -> usize;
    /// Chooses what is still open for a run of `steps` and builds fresh networks.
    fn learner(&mut self, steps: u64) -> Result<Box<dyn Learner>, SystemError>;
    /// The same for a calibration: nothing is kept of what it chooses.
    fn trial(&self) -> Result<Box<dyn Learner>, SystemError>;
    /// Judges a run beside its controls.
    fn judge(&self, learner: &dyn Learner) -> Result<Judged, JudgeError>;
    /// Probes a run with labels.
    fn probe(&self, learner: &dyn Learner, asked: Probing<'_>) -> Result<Judged, JudgeError>;
    /// What a run has learnt as something that makes features, likewise; `mark` tells its weights from others. `None` where its maps
    /// cannot be held at this precision.
    fn encoder(
        &self,
        learner: &dyn Learner,
        encoder: Option<NamedTensors>,
        mark: &str,
        precision: Precision,
    ) -> Result<Option<Box<dyn Encoder>>, SystemError>;
    /// Whether it keeps a predictor besides its encoder.
    fn keeps_predictor(&self, learner: &dyn Learner) -> Result<bool, SystemError>;
    /// Whether its evaluation needs more of its networks than the encoder: a predictor, what makes targets or flow.
    fn keeps_more(&self, learner: &dyn Learner) -> Result<bool, SystemError>;
    /// Whether it keeps a model of a world, or a policy, besides its encoder.
    fn keeps_model(&self, learner: &dyn Learner) -> Result<bool, SystemError>;
    /// What it has learnt to act with; `None` if it is nothing, or was learnt in no world.
    fn learnt(&self, learner: &dyn Learner) -> Result<Option<Learnt>, SystemError>;
}

/// How a run is probed.
#[derive(Clone, Debug, Default)]
pub struct Probing<'a> {
    /// Tensors for the trained encoder; without them it is as the learner holds it.
    pub encoder: Option<NamedTensors>,
    /// Other labelled data, prepared alike; without them the run's own.
    pub path: Option<&'a Path>,
    /// By which probes; where there are none by those that the recipe names.
    pub probes: &'a [ProbeKind],
    /// Only what the linear probe and nearest neighbours read from the trained network: for many networks of one run, whose
    /// controls are the same.
    pub without_controls: bool,
}

/// The shell around a system.
pub struct Of<S>(PhantomData<fn() -> S>);

impl<S> Of<S> {
    /// Of this system.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S> Default for Of<S> {
    fn default() -> Self {
        Self::new()
    }
}

type Config<S> = <<S as System>::Data as Modality>::Config;

/// The defaults for data whose settings begin so.
fn defaults<S: System>(data: Config<S>) -> Recipe<Config<S>, S> {
    Recipe {
        system: S::ROW.name.to_owned(),
        seed: 0,
        minutes: 0.0,
        epochs: 0.0,
        train: S::train(),
        judge: JudgeConfig::default(),
        model: S::fitting(&data),
        data,
    }
}

impl<S: System> Of<S> {
    /// The settings of data, with those that were asked on top of the usual ones.
    fn settings_of(&self, data: Table) -> Result<Config<S>, SystemError> {
        let asked = [("data".to_owned(), Value::Table(data))].into_iter().collect();
        let (name, wrong) = ("the command line", |error: RecipeError| SystemError::Setting(error.to_string()));
        let recipe = self.recipe(&asked, name).map_err(wrong)?;
        Ok(Recipe::<Config<S>, S>::of_table(recipe, name).map_err(wrong)?.data)
    }
}

impl<S: System> Member for Of<S> {
    fn row(&self) -> &'static Row {
        S::ROW
    }

    fn unit(&self) -> Unit {
        S::Data::UNIT
    }

    fn defaults(&self) -> Table {
        as_table(&defaults::<S>(S::data()))
    }

    fn recipe(&self, asked: &Table, name: &str) -> Result<Table, RecipeError> {
        // Data at a path may be of another kind than the default ones, and the system's defaults go by their kind.
        let data = match get(asked, "data.path") {
            Some(Value::String(path)) if !path.is_empty() => S::Data::elsewhere(&S::data(), path),
            _ => S::data(),
        };
        let usual = as_table(&defaults::<S>(data));
        let read = |asked: &Table| {
            let mut table = usual.clone();
            merge(&mut table, asked);
            Recipe::<Config<S>, S>::of_table(table, name)
        };
        let recipe = read(asked).map_err(|error| error.of(asked, name, &|asked| read(asked).is_ok()))?;
        check_keys(asked, &as_table(&recipe), "", name)?;
        recipe.train.check().map_err(RecipeError)?;
        if let Auto::Value(samples @ 0..LEAST_PROBED) = recipe.judge.train_samples {
            return Err(RecipeError(format!(
                "`judge.train_samples` must be {LEAST_PROBED} or more, from which a probe can learn, found {samples}"
            )));
        }
        recipe.judge.attentive.check().map_err(RecipeError)?;
        recipe.judge.finetune.check().map_err(RecipeError)?;
        if recipe.judge.probes.is_empty() {
            let what = "`judge.probes` must name at least one of linear, attentive, finetune and predictor, found none";
            return Err(RecipeError(what.to_owned()));
        }
        for (key, value) in [("minutes", recipe.minutes), ("epochs", recipe.epochs)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(RecipeError(format!("`{key}` must be a positive number, or 0 for none, found {value}")));
            }
        }
        Ok(as_table(&recipe))
    }

    fn open(&self, recipe: Table, device: &Device, data: bool) -> Result<Box<dyn Session>, SystemError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut recipe = Recipe::<Config<S>, S>::of_table(recipe, "the recipe")
            .map_err(|error| SystemError::Setting(error.to_string()))?;
        let mut decisions = Vec::new();
        recipe.model.ask(&mut recipe.data, &mut decisions)?;
        let data = if data {
            let (seed, batch) = (recipe.seed, recipe.train.batch);
            let mut opening = Opening { seed, batch, threads, decisions: &mut decisions };
            let data = S::Data::open(&mut recipe.data, &mut opening)?;
            // Here and not when the loader begins: nothing has been written or said yet.
            if let Some(len) = data.len(Part::Train) {
                check_batch::<S::Data>(len, batch)?;
            }
            Some(Arc::new(data))
        } else {
            None
        };
        Ok(Box::new(Run::<S> { recipe, data, decisions, device: device.clone(), threads }))
    }

    fn ablations(&self, recipe: Table) -> Result<Vec<Ablation>, RecipeError> {
        Ok(Recipe::<Config<S>, S>::of_table(recipe, "the recipe")?.model.ablations())
    }

    fn measured(&self) -> Vec<String> {
        let of =
            |group: &'static str, keys: &'static [&'static str]| keys.iter().map(move |key| format!("{group}.{key}"));
        of("data", S::Data::MEASURED).chain(of("model", S::MEASURED)).collect()
    }

    fn paths(&self) -> Vec<String> {
        ["path"].iter().chain(S::Data::PATHS).map(|key| format!("data.{key}")).collect()
    }

    fn recognises(&self, path: &Path) -> bool {
        S::Data::recognises(path)
    }

    fn look(&self, data: Table) -> Result<Description, SystemError> {
        Ok(S::Data::look_as(self.settings_of(data)?)?)
    }

    fn read_all(&self, data: Table, at: &mut dyn FnMut(usize, usize)) -> Result<Whole, SystemError> {
        let mut data = data;
        if get(&self.defaults(), "data.on_bad_sample").is_some() {
            // What is measured of the data when they are opened does not stop at the first.
            data.insert("on_bad_sample".to_owned(), Value::String("skip".to_owned()));
        }
        let mut config = self.settings_of(data)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut opening = Opening { seed: 0, batch: 1, threads, decisions: &mut Vec::new() };
        let data = Arc::new(S::Data::open(&mut config, &mut opening)?);
        let samples = [Part::Train, Part::HeldOut].into_iter().filter_map(|part| data.len(part)).sum();
        let unreadable = unreadable(&data, threads, &mut |done| at(done, samples))?;
        Ok(Whole { samples, unreadable })
    }
}

/// See [`Session`].
struct Run<S: System> {
    recipe: Recipe<Config<S>, S>,
    data: Option<Arc<S::Data>>,
    decisions: Vec<Decision>,
    device: Device,
    threads: usize,
}

impl<S: System> Run<S> {
    fn on<'a>(&'a self, steps: u64, data: Option<&'a Arc<S::Data>>) -> On<'a, S::Data> {
        On {
            data,
            config: &self.recipe.data,
            seed: self.recipe.seed,
            steps,
            batch: self.recipe.train.batch,
            threads: self.threads,
            device: &self.device,
        }
    }

    fn steps(&self) -> u64 {
        if let Auto::Value(steps) = self.recipe.train.steps { steps } else { 1 }
    }

    fn judging<'a>(&'a self, data: &'a Arc<S::Data>, learner: &'a dyn Learner) -> Judging<'a, S::Data> {
        Judging::new(self.on(self.steps(), self.data.as_ref()), data, &self.recipe.judge, learner)
    }

    fn open_data(&self) -> Result<&Arc<S::Data>, JudgeError> {
        self.data.as_ref().ok_or_else(|| JudgeError::Other("the data of this run are not open".to_owned()))
    }

    fn kept(learner: &dyn Learner) -> Result<Kept<<S::Data as Modality>::Sample>, SystemError> {
        let wrong = |_| SystemError::Setting("the networks take samples of another kind than the data".to_owned());
        learner.kept(Which::Trained).downcast().map(|kept| *kept).map_err(wrong)
    }
}

impl<S: System> Session for Run<S> {
    fn row(&self) -> &'static Row {
        S::ROW
    }

    fn recipe(&self) -> Table {
        as_table(&self.recipe)
    }

    fn seed(&self) -> u64 {
        self.recipe.seed
    }

    fn train(&self) -> &TrainConfig {
        &self.recipe.train
    }

    fn asked(&self) -> (f64, f64) {
        (self.recipe.minutes, self.recipe.epochs)
    }

    fn usual_steps(&self) -> Option<u64> {
        S::usual_steps(&self.recipe.data, self.train_len())
    }

    fn set_minutes(&mut self, minutes: f64) {
        self.recipe.minutes = minutes;
    }

    fn unit(&self) -> Unit {
        S::Data::UNIT
    }

    fn source(&self) -> String {
        S::Data::source(&self.recipe.data)
    }

    fn description(&self) -> Option<Description> {
        self.data.as_ref().map(|data| data.describe())
    }

    fn train_len(&self) -> Option<usize> {
        self.data.as_ref()?.len(Part::Train)
    }

    fn roll(&self) -> Result<Option<Vec<Listed>>, DataError> {
        self.data.as_ref().map_or(Ok(None), |data| roll(data.as_ref()))
    }

    fn reads(&self, part: Part, index: usize) -> bool {
        self.data.as_ref().is_some_and(|data| data.load(part, index).is_ok())
    }

    fn decisions(&mut self) -> &mut Vec<Decision> {
        &mut self.decisions
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn learner(&mut self, steps: u64) -> Result<Box<dyn Learner>, SystemError> {
        self.recipe.train.resolve(steps, self.threads, &mut self.decisions);
        let probed = |data: &S::Data| data.len(Part::Train).is_some() || !data.factors().is_empty();
        if let Some(data) = self.data.as_ref().filter(|data| probed(data)) {
            let (len, enough) = (self.train_len(), data.enough_to_probe());
            self.recipe.judge.train_samples.resolve("judge.train_samples", &mut self.decisions, || match len {
                Some(len) => {
                    let few = if len < LEAST_PROBED { ": too few to probe, so there are no probes" } else { "" };
                    (len.min(enough), format!("all, at most {enough}{few}"))
                }
                None => (enough, "enough of those that have no end".to_owned()),
            });
        }
        let (mut model, mut decisions) = (self.recipe.model.clone(), Vec::new());
        let learner = model.init(&self.on(steps, self.data.as_ref()), &mut decisions)?;
        self.recipe.model = model;
        self.decisions.append(&mut decisions);
        // Here and not when hours of training have ended.
        if self.recipe.judge.probes.contains(&ProbeKind::Finetune)
            && Self::kept(learner.as_ref())?.encoder.tunable().is_none()
        {
            return Err(SystemError::Setting(judges::CANNOT_TUNE.to_owned()));
        }
        if self.recipe.judge.probes.contains(&ProbeKind::Predictor) && !self.keeps_predictor(learner.as_ref())? {
            return Err(SystemError::Setting(judges::KEEPS_NONE.to_owned()));
        }
        Ok(learner)
    }

    fn trial(&self) -> Result<Box<dyn Learner>, SystemError> {
        const STEPS: u64 = 1_000_000;
        self.recipe.model.clone().init(&self.on(STEPS, self.data.as_ref()), &mut Vec::new())
    }

    fn judge(&self, learner: &dyn Learner) -> Result<Judged, JudgeError> {
        let judging = self.judging(self.open_data()?, learner);
        let findings = self.recipe.model.judge(&judging)?;
        Ok(judging.outcome(findings))
    }

    fn probe(&self, learner: &dyn Learner, asked: Probing<'_>) -> Result<Judged, JudgeError> {
        let Probing { encoder, path, probes, without_controls } = asked;
        let other = match path {
            Some(path) => {
                let mut config = S::Data::elsewhere(&self.recipe.data, &path.to_string_lossy());
                let mut decisions = Vec::new();
                // Nothing is trained on them: one sample is a batch.
                let (seed, threads) = (self.recipe.seed, self.threads);
                let mut opening = Opening { seed, batch: 1, threads, decisions: &mut decisions };
                Some(Arc::new(S::Data::open(&mut config, &mut opening)?))
            }
            None => None,
        };
        let data = match &other {
            Some(data) => data,
            None => self.open_data()?,
        };
        let judging = self.judging(data, learner).with_encoder(encoder);
        let found = if without_controls {
            judges::trained_alone(&judging)?.into_iter().collect()
        } else {
            judges::probed(&judging, if probes.is_empty() { &self.recipe.judge.probes } else { probes })?
        };
        if found.is_empty() {
            return Err(JudgeError::Other(format!(
                "{} cannot be probed: a probe takes labels, at least {LEAST_PROBED} {} to learn from and a held-out part, found {}, {} to learn from and {} held out. Name data that have them with `--data`",
                path.map_or(self.source(), |path| format!("`{}`", path.display())),
                S::Data::UNIT.many,
                if data.factors().is_empty() { "no labels" } else { "labels" },
                data.len(Part::Train).unwrap_or(0),
                data.len(Part::HeldOut).unwrap_or(0)
            )));
        }
        Ok(judging.outcome(found))
    }

    fn encoder(
        &self,
        learner: &dyn Learner,
        tensors: Option<NamedTensors>,
        mark: &str,
        precision: Precision,
    ) -> Result<Option<Box<dyn Encoder>>, SystemError> {
        let mut encoder = Self::kept(learner)?.encoder;
        if let Some(tensors) = tensors {
            encoder.load(tensors)?;
        }
        if !encoder.prepare(precision) {
            return Ok(None);
        }
        let mut about = serde_json::json!({ "system": S::ROW.name, "encoder": mark });
        if precision != Precision::F32 {
            about["precision"] = precision.name().into();
        }
        Ok(Some(Box::new(RunEncoder::<S::Data>::new(encoder, self.recipe.data.clone(), about))))
    }

    fn keeps_predictor(&self, learner: &dyn Learner) -> Result<bool, SystemError> {
        let model = Self::kept(learner)?.model;
        Ok(model.is_some_and(|model| model.is::<KeptPredictor<<S::Data as Modality>::Sample>>()))
    }

    fn keeps_more(&self, learner: &dyn Learner) -> Result<bool, SystemError> {
        Ok(Self::kept(learner)?.model.is_some_and(|model| !model.is::<TrainedModel>()))
    }

    fn keeps_model(&self, learner: &dyn Learner) -> Result<bool, SystemError> {
        Ok(Self::kept(learner)?.model.is_some_and(|model| model.is::<TrainedModel>() || model.is::<TrainedPolicy>()))
    }

    fn learnt(&self, learner: &dyn Learner) -> Result<Option<Learnt>, SystemError> {
        let config: &dyn Any = &self.recipe.data;
        let Some(config) = config.downcast_ref::<ExperienceConfig>() else { return Ok(None) };
        let ExperienceConfig::Play(settings) = config else { return Ok(None) };
        let Some(kept) = Self::kept(learner)?.model else { return Ok(None) };
        let (seed, block) = (self.recipe.seed, config.form()?.frameskip);
        let playground = || Playground::open(settings, seed);
        let kept = match kept.downcast::<TrainedPolicy>() {
            Ok(policy) => {
                let (playground, imitation) = (playground()?, Imitation::of(*policy, block));
                return Ok(Some(Learnt::Policy(Imitator { playground, imitation, seed })));
            }
            Err(kept) => kept,
        };
        let Ok(model) = kept.downcast::<TrainedModel>() else { return Ok(None) };
        let (playground, imagination) = (playground()?, Imagination::of(*model, block));
        Ok(Some(Learnt::Model(Imaginer { playground, imagination, seed })))
    }
}
