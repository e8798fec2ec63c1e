//! Images opened, and the objectives that learn from them.

use std::path::Path;
use std::time::Duration;

use burn::tensor::Device;
use foretell_data::{Dataset, Images, Material, Normalise, Part, Sample, ScenesConfig, check_batch};
use foretell_jepa::masked::Masked;
use foretell_jepa::systems::{Setting, le_jepa::LeJepa};
use foretell_jepa::target::TargetKind;
use foretell_jepa::views::Views;
use foretell_jepa::{Decision, Objective};
use foretell_nn::Encode;
use foretell_nn::conv::ResNet;
use foretell_nn::vit::Vit;
use foretell_train::{RunFolder, settle};

use super::recipe::{Model, OverImages};
use super::{judge, pictures};
use crate::findings::RUN;
use crate::recipe::Recipe;
use crate::run::run;
use crate::session::{Concluded, Evaluated, Session, Subject, TeacherLeft};
use crate::summary::Summary;
use crate::{Error, with_objective};

/// Largest default image on a CPU, in pixels.
const CPU_IMAGE: usize = 96;

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

impl Subject for OverImages {
    type Data = Dataset;
    type Sample = Sample;
    type Objective = AnyObjective;

    fn open(recipe: &mut Recipe<Self>, decisions: &mut Vec<Decision>, cores: usize) -> Result<Dataset, Error> {
        let (batch, data) = (recipe.train.batch, &mut recipe.over.data);
        let dataset = open_data(&data.path)?;
        check_batch(dataset.len(Part::Train), batch)?;
        let fingerprint = format!("{:016x}", dataset.fingerprint());
        if !data.fingerprint.is_empty() && data.fingerprint != fingerprint {
            return Err(Error::Misuse(format!(
                "the data at {} is not what this run began with (files were added, removed, renamed or relabelled): put it back, or start a new run",
                data.path
            )));
        }
        data.fingerprint = fingerprint;
        let median = dataset.median_short_side();
        let image_size = data.image_size.resolve("data.image_size", decisions, || {
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
        if data.normalise.mean.is_empty() {
            data.normalise = Normalise::measure(&dataset, image_size, cores, data.on_bad_sample)?;
        }
        Ok(dataset)
    }

    fn resolve(session: &mut Session<Self>, steps: u64) -> Result<(), Error> {
        let setting = session.setting(steps)?;
        let Session { recipe, data: dataset, decisions, cores, .. } = session;
        match &mut recipe.over.model {
            Model::IJepa(config) => config.resolve(&setting, decisions)?,
            Model::LeJepa(config) => config.resolve(&setting, decisions)?,
        }
        recipe.train.resolve(steps, *cores, decisions);
        let (train, generated) = (dataset.len(Part::Train), recipe.over.data.path.is_empty());
        recipe.over.probe.train_images.resolve("probe.train_images", decisions, || {
            if generated {
                (train.min(4000), "enough for generated scenes".to_owned())
            } else {
                (train.min(60_000), "all, at most 60,000".to_owned())
            }
        });
        Ok(())
    }

    /// Epochs.
    fn asked(session: &Session<Self>) -> Option<f64> {
        let (epochs, batch) = (session.recipe.over.epochs, session.recipe.train.batch as f64);
        (epochs > 0.0).then(|| epochs * session.data.len(Part::Train) as f64 / batch)
    }

    fn minutes(&self) -> f64 {
        if self.data.path.is_empty() { 2.0 } else { 10.0 }
    }

    fn material(session: &Session<Self>) -> Box<dyn Material<Sample = Sample> + '_> {
        let data = &session.recipe.over.data;
        Box::new(Images { dataset: &session.data, normalise: &data.normalise, on_bad: data.on_bad_sample })
    }

    fn objective(session: &Session<Self>, steps: u64) -> Result<AnyObjective, Error> {
        objective_of(&session.recipe, &session.setting(steps)?)
    }

    fn time(session: &Session<Self>, objective: AnyObjective, limit: Duration) -> Result<f64, Error> {
        with_objective!(objective, |objective| session.time(objective, limit))
    }

    fn run(session: &Session<Self>, both: [AnyObjective; 2], folder: &RunFolder) -> Result<Option<Summary>, Error> {
        match both.into() {
            (AnyObjective::Masked(a), AnyObjective::Masked(b)) => run(a, b, folder, session),
            (AnyObjective::ViewsResnet(a), AnyObjective::ViewsResnet(b)) => run(a, b, folder, session),
            (AnyObjective::ViewsVit(a), AnyObjective::ViewsVit(b)) => run(a, b, folder, session),
            _ => Err(Error::Failure("one recipe made two different objectives".to_owned())),
        }
    }

    fn teacher_left(recipe: &Recipe<Self>, steps: u64) -> Option<TeacherLeft> {
        let batch = recipe.train.batch;
        match &recipe.over.model {
            Model::IJepa(config) if config.target == TargetKind::Ema => {
                let ema = config.ema;
                Some(Box::new(move |step| ema.initial_teacher_left(step, steps, batch)))
            }
            _ => None,
        }
    }

    fn format(session: &Session<Self>) -> String {
        session.data.describe().format
    }

    fn facts(session: &Session<Self>) -> Result<Vec<(&'static str, String)>, Error> {
        let (recipe, data) = (&session.recipe, session.data.describe());
        let (size, steps, batch) = (recipe.over.image_size()?, recipe.steps()?, recipe.train.batch);
        let colour = if data.channels == 1 { "grey" } else { "colour" };
        let epochs = steps as f64 * batch as f64 / data.train.max(1) as f64;
        Ok(vec![
            ("images", format!("{} to train, {} held out ({})", data.train, data.held_out, data.split)),
            ("size", format!("{size} × {size}, {colour}")),
            ("steps", format!("{steps} of {batch} images, {epochs:.1} epochs")),
        ])
    }

    fn next(_session: &Session<Self>) -> Vec<(String, String)> {
        let entry = |label: &str, command: String| (label.to_owned(), command);
        vec![
            entry("Features of your images", format!("foretell embed {RUN} IMAGES --out features.npz")),
            entry("What the features know of other labels", format!("foretell probe {RUN} --data LABELLED")),
            entry("What this run holds", format!("foretell inspect {RUN}")),
            entry("The same run again", format!("foretell train {RUN}/config.toml")),
            entry("A run on your images", "foretell train --data IMAGES --minutes 30".to_owned()),
        ]
    }

    fn warning(session: &Session<Self>) -> Option<&'static str> {
        let some = session.data.len(Part::HeldOut) >= 2;
        (!some).then_some("no images are held out: health is judged on training images")
    }
}

impl<O: Objective<Sample = Sample>> Concluded<OverImages> for O {
    fn conclude(
        &self,
        untrained: &Self,
        session: &Session<OverImages>,
        _folder: &RunFolder,
    ) -> Result<Option<Evaluated>, Error> {
        let (trained, untrained) = (self.encoder(), untrained.encoder());
        let judged = judge::probes(session, trained.as_ref(), untrained.as_ref())?;
        let mut evaluated = judged.map_or_else(Evaluated::default, |judge::Judged { probes, skipped }| Evaluated {
            findings: vec![probes],
            skipped,
        });
        evaluated.findings.extend(pictures::take(session, trained.as_ref(), untrained.as_ref())?);
        Ok(Some(evaluated))
    }
}

impl Recipe<OverImages> {
    /// The numbers that the system is built for, in a run of `steps` on images of so many channels.
    pub fn setting(&self, steps: u64, channels: usize, device: &Device) -> Result<Setting, Error> {
        Ok(Setting {
            image_size: self.over.image_size()?,
            channels,
            normalise: self.over.data.normalise.clone(),
            seed: self.seed,
            total_steps: steps,
            batch: self.train.batch,
            device: device.clone(),
            on_cpu: foretell_ops::on_cpu(device),
        })
    }
}

impl Session<OverImages> {
    /// A resolved recipe over another data set, which is taken as it is.
    pub fn of_data(recipe: Recipe<OverImages>, data: Dataset, device: Device) -> Self {
        Self { recipe, data, decisions: Vec::new(), device, cores: 1, expected_minutes: None }
    }

    /// The numbers that a system is built for, in a run of `steps`.
    pub fn setting(&self, steps: u64) -> Result<Setting, Error> {
        self.recipe.setting(steps, self.data.channels(), &self.device)
    }

    /// The control: the run's encoder before its first step, settled on the data as training settles it.
    pub fn untrained(&self, folder: &RunFolder) -> Result<Box<dyn Encode>, Error> {
        let (objective, material) = (OverImages::objective(self, self.recipe.steps()?)?, OverImages::material(self));
        let fitting = self.fit(folder, material.as_ref(), None);
        Ok(with_objective!(objective, |objective| settle(objective, &fitting)?.encoder()))
    }
}

/// A fresh objective. Settings that are still open are chosen for it, silently.
pub fn objective_of(recipe: &Recipe<OverImages>, setting: &Setting) -> Result<AnyObjective, Error> {
    Ok(match &recipe.over.model {
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
            $crate::images::session::AnyObjective::Masked($objective) => $body,
            $crate::images::session::AnyObjective::ViewsResnet($objective) => $body,
            $crate::images::session::AnyObjective::ViewsVit($objective) => $body,
        }
    };
}
