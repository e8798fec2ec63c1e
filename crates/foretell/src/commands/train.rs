//! `foretell train`: from images to a judged encoder, or from play or recorded episodes to a judged model of a world.

use std::fmt::Write;
use std::path::PathBuf;

use burn::tensor::Device;
use foretell_jepa::Auto;
use foretell_train::{Health, RunFolder};
use foretell_world::WorldConfig;
use toml::Value;

use crate::account::{write_decisions, write_report};
use crate::findings::RunFindings;
use crate::images::{self, OverImages};
use crate::output::{print, print_json, say};
use crate::recipe::{AnyRecipe, Over, Recipe};
use crate::run::begin;
use crate::session::{MOST_STEPS, Session, Subject};
use crate::summary::Summary;
use crate::world::{ExperienceConfig, OverWorld};
use crate::{DeviceChoice, Error};

/// What `train` was asked.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// A system (i-jepa, le-jepa; in a world or from recorded episodes eb-jepa, le-wm) or a recipe file. If nothing is
    /// said: le-jepa for images of yours, as it learns most of them in minutes on a CPU; i-jepa for the generated scenes,
    /// whose colours and places le-jepa's views hide; eb-jepa in a world.
    system: Option<String>,
    /// Go on with a run that was stopped or killed.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["system", "data", "world", "out", "size", "steps", "epochs", "minutes", "seed", "set", "image_size", "checkpoint_every", "on_bad_sample"])]
    resume: Option<PathBuf>,
    /// Images: a folder, a tar, IDX files, CIFAR binaries; without it, built-in generated scenes. For le-wm and eb-jepa recorded
    /// episodes: an .npz of observations and actions, or a folder of them.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Learn from play in a world: two-rooms, two-rooms-fixed or maze.
    #[arg(long, conflicts_with_all = ["image_size", "epochs", "size", "on_bad_sample"])]
    world: Option<String>,
    /// The run's folder; `runs/SYSTEM-DATA-N` if nothing is said.
    #[arg(long)]
    out: Option<PathBuf>,
    /// tiny, small, base, large, huge or giant.
    #[arg(long)]
    size: Option<String>,
    /// Optimiser steps.
    #[arg(long, conflicts_with_all = ["epochs", "minutes"], value_parser = clap::value_parser!(u64).range(..=MOST_STEPS))]
    steps: Option<u64>,
    /// Passes over the data.
    #[arg(long, conflicts_with = "minutes")]
    epochs: Option<f64>,
    /// Minutes of training: a short calibration fixes the number of steps.
    #[arg(long)]
    minutes: Option<f64>,
    /// Everything random is a function of it.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Side to which images are brought, in pixels.
    #[arg(long)]
    image_size: Option<usize>,
    /// Steps between checkpoints.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(..=MOST_STEPS))]
    checkpoint_every: Option<u64>,
    /// What to do with an image that cannot be read: fail or skip.
    #[arg(long)]
    on_bad_sample: Option<String>,
    /// Any setting, such as train.lr=0.001; config.toml of a run lists them all.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object (summary.json) at the end instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn train(args: &TrainArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    if let Some(path) = &args.resume {
        let folder = RunFolder::open(path)?;
        if let Some(summary) = Summary::read(&folder)? {
            return already_finished(&folder, &summary, args);
        }
        return match AnyRecipe::of_run(&folder)? {
            AnyRecipe::Images(recipe) => resume(&folder, recipe, device, args),
            AnyRecipe::World(recipe) => resume(&folder, recipe, device, args),
        };
    }
    match args.recipe()? {
        AnyRecipe::Images(recipe) => start(recipe, device, args),
        AnyRecipe::World(recipe) => start(recipe, device, args),
    }
}

/// Goes on with a run.
fn resume<S: Subject>(folder: &RunFolder, recipe: Recipe<S>, device: Device, args: &TrainArgs) -> Result<(), Error> {
    let mut session = Session::open(recipe, device)?;
    let steps = session.recipe.steps()?;
    S::resolve(&mut session, steps)?;
    if !foretell_train::has_checkpoint(folder) {
        let path = folder.path().display();
        say(format_args!("{path} has no checkpoint yet: starting again from its stored config"));
    }
    outcome(folder, begin(folder, &session)?.as_ref(), args)
}

/// Begins a run.
fn start<S: Subject>(recipe: Recipe<S>, device: Device, args: &TrainArgs) -> Result<(), Error> {
    let out = args.out.clone().unwrap_or_else(|| free_folder(&recipe.over));
    RunFolder::check_free(&out)?;
    let mut session = Session::open(recipe, device)?;
    let steps = session.choose_steps()?;
    S::resolve(&mut session, steps)?;
    // Built once before anything is written: a setting that does not fit leaves no folder behind.
    drop(S::objective(&session, steps)?);
    let existed = out.exists();
    let folder = RunFolder::create(&out, &session.recipe.to_toml())?;
    let result = write_decisions(&folder, &session.decisions).and_then(|()| begin(&folder, &session));
    if result.as_ref().is_err_and(|error| error.exit_code() == 2) && !foretell_train::has_checkpoint(&folder) {
        // Bad input leaves nothing half-written. The folder holds what this call put there, and no checkpoint.
        let _ = std::fs::remove_dir_all(&out);
        if existed {
            let _ = std::fs::create_dir(&out);
        }
    }
    outcome(&folder, result?.as_ref(), args)
}

/// A run that needs nothing more, but perhaps its report: a kill may have come just before that.
fn already_finished(folder: &RunFolder, summary: &Summary, args: &TrainArgs) -> Result<(), Error> {
    say(format_args!(
        "{} is finished: {} steps were taken, nothing is left to do",
        folder.path().display(),
        summary.steps
    ));
    if !folder.report().exists() {
        write_report(folder)?;
    }
    outcome(folder, Some(summary), args)
}

impl TrainArgs {
    fn recipe(&self) -> Result<AnyRecipe, Error> {
        if let (Some(world), Some(data)) = (&self.world, &self.data) {
            return Err(Error::Misuse(format!(
                "`--world {world}` and `--data {}` were both given, and a run learns from one of them: leave the other out",
                data.display()
            )));
        }
        let usual = match (&self.world, &self.data) {
            (Some(_), _) => "eb-jepa",
            (None, Some(_)) => "le-jepa",
            (None, None) => "i-jepa",
        };
        let system = self.system.as_deref().unwrap_or(usual);
        let mut sets = self.set.clone();
        match AnyRecipe::read(system, &sets)? {
            AnyRecipe::Images(recipe) => self.set_of_images(&recipe, &mut sets)?,
            AnyRecipe::World(recipe) => self.set_of_world(&recipe, &mut sets)?,
        }
        match AnyRecipe::read(system, &sets)? {
            AnyRecipe::Images(recipe) => Ok(AnyRecipe::Images(self.common(self.of_images(recipe)?)?)),
            AnyRecipe::World(recipe) => Ok(AnyRecipe::World(self.common(self.of_world(recipe))?)),
        }
    }

    /// The options that are settings of runs over images.
    fn set_of_images(&self, recipe: &Recipe<OverImages>, sets: &mut Vec<String>) -> Result<(), Error> {
        if let Some(world) = &self.world {
            WorldConfig::named(world)?;
            return Err(Error::Misuse(format!(
                "{} learns from images, not in the world {world}: leave out `--world`, or train {} there",
                recipe.over.system(),
                OverWorld::SYSTEMS.join(" or ")
            )));
        }
        if let Some(data) = self.data.as_ref().filter(|data| data.extension().is_some_and(|e| e == "npz")) {
            let (data, system) = (data.display(), recipe.over.system());
            return Err(Error::Misuse(format!(
                "`{data}` holds arrays, and {system} learns from images: `foretell train le-wm --data {data}` learns from recorded episodes"
            )));
        }
        if let Some(size) = &self.size {
            let key = match recipe.over.model {
                images::Model::IJepa(_) => "model.size",
                images::Model::LeJepa(_) => "model.backbone.size",
            };
            sets.push(format!("{key}={size}"));
        }
        if let Some(value) = &self.on_bad_sample {
            sets.push(format!("data.on_bad_sample={value}"));
        }
        Ok(())
    }

    /// The options that are settings of runs of a world model.
    fn set_of_world(&self, recipe: &Recipe<OverWorld>, sets: &mut Vec<String>) -> Result<(), Error> {
        let of_images = [
            ("--size", self.size.is_some()),
            ("--image-size", self.image_size.is_some()),
            ("--epochs", self.epochs.is_some()),
            ("--on-bad-sample", self.on_bad_sample.is_some()),
        ];
        if let Some((option, _)) = of_images.into_iter().find(|(_, given)| *given) {
            return Err(Error::Misuse(format!(
                "`{option}` is for images, and {} learns from play in a world or from recorded episodes: leave it out",
                recipe.over.system()
            )));
        }
        if let Some(world) = &self.world {
            WorldConfig::named(world)?;
            sets.push(format!("world.kind={world}"));
        }
        if let Some(data) = &self.data {
            sets.push(format!("data.path={}", Value::String(data.to_string_lossy().into_owned())));
        }
        Ok(())
    }

    /// A recipe of a world model without what was measured of other episodes than those that were given.
    fn of_world(&self, mut recipe: Recipe<OverWorld>) -> Recipe<OverWorld> {
        if let (Some(_), ExperienceConfig::Recorded(recorded)) = (&self.data, &mut recipe.over.experience) {
            recorded.anew();
        }
        recipe
    }

    /// The options of runs over images.
    fn of_images(&self, mut recipe: Recipe<OverImages>) -> Result<Recipe<OverImages>, Error> {
        let over = &mut recipe.over;
        if let Some(path) = &self.data {
            over.data.path = path.to_string_lossy().into_owned();
        }
        if let Some(size) = self.image_size {
            over.data.image_size = Auto::Value(size);
        }
        if self.steps.is_some() || self.epochs.is_some() || self.minutes.is_some() {
            over.epochs = self.epochs.unwrap_or(0.0);
        }
        check_duration("--epochs", over.epochs, self.epochs)?;
        Ok(recipe)
    }

    /// The options of every run.
    fn common<S>(&self, mut recipe: Recipe<S>) -> Result<Recipe<S>, Error> {
        if let Some(seed) = self.seed {
            recipe.seed = seed;
        }
        if let Some(every) = self.checkpoint_every {
            recipe.train.checkpoint_every = Auto::Value(every);
        }
        if self.steps.is_some() || self.epochs.is_some() || self.minutes.is_some() {
            recipe.train.steps = self.steps.map_or(Auto::Auto, Auto::Value);
            recipe.minutes = self.minutes.unwrap_or(0.0);
        }
        recipe.train.check().map_err(Error::Misuse)?;
        check_duration("--minutes", recipe.minutes, self.minutes)?;
        Ok(recipe)
    }
}

/// An error if a duration was given and is none.
fn check_duration(name: &str, value: f64, given: Option<f64>) -> Result<(), Error> {
    if given.is_some() && !(value > 0.0 && value.is_finite()) || value < 0.0 {
        return Err(Error::Misuse(format!("`{name}` must be a positive number, found {value}")));
    }
    Ok(())
}

/// `runs/SYSTEM-SOURCE-N` with the first N that is free.
fn free_folder<S: Subject>(over: &S) -> PathBuf {
    let place = |n: u32| PathBuf::from(format!("runs/{}-{}-{n}", over.system(), over.short_source()));
    (1..u32::MAX).map(place).find(|p| !p.exists()).unwrap_or_else(|| place(0))
}

/// How it went, and what to do next.
fn outcome(folder: &RunFolder, summary: Option<&Summary>, args: &TrainArgs) -> Result<(), Error> {
    let Some(summary) = summary else { return Ok(()) };
    if args.json {
        return print_json(summary);
    }
    let h: &Health = &summary.health;
    let mut text = format!(
        "\nhealth: {} (effective rank {:.1}, untrained {:.1}; RankMe {:.1}; cosine {:.3})\n",
        h.verdict.word(),
        h.effective_rank,
        h.untrained_effective_rank,
        h.rankme,
        h.cosine_mean
    );
    for rule in h.thresholds.iter().filter(|rule| !rule.met) {
        let _ = writeln!(
            text,
            "  {} is {:.3} where {} was expected (untrained {:.3})",
            rule.measure, rule.value, rule.limit, rule.untrained
        );
    }
    let Some(found) = RunFindings::read(folder)? else { return print(text) };
    let tables = found.text();
    text += if tables.is_empty() { "no labels, so no probes: health is all that was measured\n" } else { &tables };
    let kept = [("model", folder.model()), ("encoder", folder.encoder())];
    if let Some((what, file)) = kept.into_iter().find(|(_, file)| file.is_file()) {
        let _ = write!(text, "\n{what:<10}{}\n", file.display());
    }
    let _ = writeln!(text, "report    {}", folder.report().display());
    let next = found.commands(folder);
    let width = next.iter().map(|(_, command)| command.chars().count()).max().unwrap_or(0);
    for (i, (what, command)) in next.into_iter().enumerate() {
        let _ = writeln!(text, "{:<10}{command:width$}   {what}", if i == 0 { "next" } else { "" });
    }
    print(text)
}
