//! From a recipe to a run and back: the data set, the resolved settings, the objective.

use std::path::Path;

use burn::tensor::Device;
use foretell_data::{Dataset, Images, Normalise, Part, Sample, ScenesConfig, check_batch};
use foretell_jepa::masked::Masked;
use foretell_jepa::systems::{Setting, le_jepa::LeJepa};
use foretell_jepa::views::Views;
use foretell_jepa::{Decision, Objective};
use foretell_nn::Encode;
use foretell_nn::conv::ResNet;
use foretell_nn::vit::Vit;
use foretell_train::{Fit, RunFolder, settle};

use crate::interrupt::STOP;
use crate::recipe::{Model, Recipe};
use crate::{Error, with_objective};

/// Largest default image on a CPU, in pixels.
const CPU_IMAGE: usize = 96;

/// A recipe whose data has been seen: sizes and statistics are fixed, steps may still be open.
pub struct Session {
    /// With the data's settings resolved.
    pub recipe: Recipe,
    /// Images.
    pub dataset: Dataset,
    /// What was chosen, and why.
    pub decisions: Vec<Decision>,
    /// Where the networks lie.
    pub device: Device,
    /// Cores of this machine.
    pub cores: usize,
    /// Minutes that training should take, where that is known before it begins.
    pub expected_minutes: Option<f64>,
}

/// The objectives that the loop can be given.
#[expect(clippy::large_enum_variant, reason = "one or two exist at a time, on their way into the loop")]
pub enum AnyObjective {
    /// I-JEPA.
    Masked(Masked),
    /// LeJEPA over a residual network.
    ViewsResnet(Views<ResNet>),
    /// LeJEPA over a transformer.
    ViewsVit(Views<Vit>),
}

/// Opens the images at a recipe's `data.path`. Generated scenes do not change with the run's seed: runs with different
/// seeds learn from the same pictures.
pub fn open_data(path: &str) -> Result<Dataset, Error> {
    if path.is_empty() { Ok(Dataset::scenes(&ScenesConfig::default())) } else { Ok(Dataset::open(Path::new(path))?) }
}

impl Session {
    /// Opens the data and fixes what depends on it.
    pub fn open(mut recipe: Recipe, device: Device) -> Result<Self, Error> {
        let dataset = open_data(&recipe.data.path)?;
        let mut decisions = Vec::new();
        check_batch(dataset.len(Part::Train), recipe.train.batch)?;
        let fingerprint = format!("{:016x}", dataset.fingerprint());
        if !recipe.data.fingerprint.is_empty() && recipe.data.fingerprint != fingerprint {
            return Err(Error::Misuse(format!(
                "the data at {} is not what this run began with (files were added, removed, renamed or relabelled): put it back, or start a new run",
                recipe.data.path
            )));
        }
        recipe.data.fingerprint = fingerprint;
        let median = dataset.median_short_side();
        let image_size = recipe.data.image_size.resolve("data.image_size", &mut decisions, || {
            let unit = if median >= 64 { 8 } else { 4 };
            let fitting = (median as f64 / f64::from(unit)).round() as usize * unit as usize;
            let size = fitting.clamp(8, CPU_IMAGE);
            let limit = if fitting > CPU_IMAGE { format!(", at most {CPU_IMAGE} on a CPU") } else { String::new() };
            (size, format!("the median short side is {median} pixels{limit}"))
        });
        if !(4..=4096).contains(&image_size) {
            return Err(Error::Misuse(format!(
                "images of {image_size} × {image_size} pixels were asked for: expected 4 to 4096"
            )));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if recipe.data.normalise.mean.is_empty() {
            recipe.data.normalise = Normalise::measure(&dataset, image_size, cores, recipe.data.on_bad_sample)?;
        }
        Ok(Self { recipe, dataset, decisions, device, cores, expected_minutes: None })
    }

    /// A resolved recipe over another data set, which is taken as it is.
    pub fn over(recipe: Recipe, dataset: Dataset, device: Device) -> Self {
        Self { recipe, dataset, decisions: Vec::new(), device, cores: 1, expected_minutes: None }
    }

    /// The numbers that a system is built for, in a run of `steps`.
    pub fn setting(&self, steps: u64) -> Result<Setting, Error> {
        self.recipe.setting(steps, self.dataset.channels(), &self.device)
    }

    /// Fixes the system's and the loop's settings for a run of `steps`.
    pub fn resolve(&mut self, steps: u64) -> Result<(), Error> {
        let setting = self.setting(steps)?;
        match &mut self.recipe.model {
            Model::IJepa(config) => config.resolve(&setting, &mut self.decisions)?,
            Model::LeJepa(config) => config.resolve(&setting, &mut self.decisions)?,
        }
        self.recipe.train.resolve(steps, self.cores, &mut self.decisions);
        let (train, generated) = (self.dataset.len(Part::Train), self.recipe.data.path.is_empty());
        self.recipe.probe.train_images.resolve("probe.train_images", &mut self.decisions, || {
            if generated {
                (train.min(4000), "enough for generated scenes".to_owned())
            } else {
                (train.min(60_000), "all, at most 60,000".to_owned())
            }
        });
        Ok(())
    }

    /// A fresh objective for a run of `steps`. Settings that are still open are chosen for it, silently.
    pub fn objective(&self, steps: u64) -> Result<AnyObjective, Error> {
        objective_of(&self.recipe, &self.setting(steps)?)
    }

    /// The images as the loop takes them.
    pub fn images(&self) -> Images<'_> {
        let data = &self.recipe.data;
        Images { dataset: &self.dataset, normalise: &data.normalise, on_bad: data.on_bad_sample }
    }

    /// What the loop needs besides the objective.
    pub fn fit<'a>(
        &'a self,
        folder: &'a RunFolder,
        images: &'a Images<'a>,
        initial_teacher_left: Option<&'a dyn Fn(u64) -> f64>,
    ) -> Fit<'a, Sample> {
        Fit {
            folder,
            config: &self.recipe.train,
            material: images,
            seed: self.recipe.seed,
            device: self.device.clone(),
            initial_teacher_left,
            stop: &STOP,
        }
    }

    /// The control: the run's encoder before its first step, settled on the data as training settles it.
    pub fn untrained(&self, folder: &RunFolder) -> Result<Box<dyn Encode>, Error> {
        let objective = self.objective(self.recipe.steps()?)?;
        Ok(with_objective!(objective, |objective| settle(objective, &self.fit(folder, &self.images(), None))?
            .encoder()))
    }
}

/// A fresh objective. Settings that are still open are chosen for it, silently.
pub fn objective_of(recipe: &Recipe, setting: &Setting) -> Result<AnyObjective, Error> {
    Ok(match &recipe.model {
        Model::IJepa(config) => {
            let mut config = config.clone();
            config.resolve(setting, &mut Vec::new())?;
            AnyObjective::Masked(config.init(setting)?)
        }
        Model::LeJepa(config) => {
            let mut config = config.clone();
            config.resolve(setting, &mut Vec::new())?;
            match config.init(setting)? {
                LeJepa::Resnet(objective) => AnyObjective::ViewsResnet(objective),
                LeJepa::Vit(objective) => AnyObjective::ViewsVit(objective),
            }
        }
    })
}

/// Runs `$body` with `$objective` bound to the objective inside.
#[macro_export]
macro_rules! with_objective {
    ($any:expr, |$objective:ident| $body:expr) => {
        match $any {
            $crate::session::AnyObjective::Masked($objective) => $body,
            $crate::session::AnyObjective::ViewsResnet($objective) => $body,
            $crate::session::AnyObjective::ViewsVit($objective) => $body,
        }
    };
}
