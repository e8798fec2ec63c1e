//! `foretell train`: from images to a judged encoder.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foretell_data::{Part, Sample};
use foretell_jepa::target::TargetKind;
use foretell_jepa::{Auto, Decision, Objective};
use foretell_nn::weights;
use foretell_train::{Health, RunFolder, fit, settle, write_whole};

use super::probe::table;
use crate::account::{write_decisions, write_report};
use crate::device::described;
use crate::kept::Kept;
use crate::output::{print, print_json, say, say_skipped};
use crate::progress::{Progress, clock};
use crate::recipe::{Model, Recipe};
use crate::session::{AnyObjective, Session};
use crate::summary::Summary;
use crate::{DeviceChoice, Error, with_objective};

/// Runs at least so long are timed before they begin, to say how long they will take.
const WORTH_TIMING: u64 = 200;
/// Judgements and checkpoints take the rest of the time.
const TRAINING_SHARE: f64 = 0.95;

/// More than any run takes, and far inside what TOML can write.
const MOST_STEPS: u64 = 1_000_000_000_000;

/// What `train` was asked.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// A system (i-jepa, le-jepa) or a recipe file. If nothing is said: le-jepa for images of yours, as it learns most of
    /// them in minutes on a CPU; i-jepa for the generated scenes, whose colours and places le-jepa's views hide.
    system: Option<String>,
    /// Go on with a run that was stopped or killed.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["system", "data", "out", "size", "steps", "epochs", "minutes", "seed", "set", "image_size", "checkpoint_every", "on_bad_sample"])]
    resume: Option<PathBuf>,
    /// Images: a folder, a tar, IDX files, CIFAR binaries. Without it, built-in generated scenes.
    #[arg(long)]
    data: Option<PathBuf>,
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
        let mut session = Session::open(Recipe::of_run(&folder)?, device)?;
        let steps = session.recipe.steps()?;
        session.resolve(steps)?;
        if !foretell_train::has_checkpoint(&folder) {
            say(format_args!("{} has no checkpoint yet: starting again from its stored config", path.display()));
        }
        return begin(&folder, &session, args);
    }
    let recipe = args.recipe()?;
    let out = args.out.clone().unwrap_or_else(|| free_folder(&recipe));
    RunFolder::check_free(&out)?;
    let mut session = Session::open(recipe, device)?;
    let steps = choose_steps(&mut session)?;
    session.resolve(steps)?;
    // Built once before anything is written: a setting that does not fit leaves no folder behind.
    drop(session.objective(steps)?);
    let existed = out.exists();
    let folder = RunFolder::create(&out, &session.recipe.to_toml())?;
    let result = write_decisions(&folder, &session.decisions).and_then(|()| begin(&folder, &session, args));
    if result.as_ref().is_err_and(|error| error.exit_code() == 2) && !foretell_train::has_checkpoint(&folder) {
        // Bad input leaves nothing half-written. The folder holds what this call put there, and no checkpoint.
        let _ = std::fs::remove_dir_all(&out);
        if existed {
            let _ = std::fs::create_dir(&out);
        }
    }
    result
}

/// Puts the objective and its untrained control together, and runs them.
fn begin(folder: &RunFolder, session: &Session, args: &TrainArgs) -> Result<(), Error> {
    let steps = session.recipe.steps()?;
    match (session.objective(steps)?, session.objective(steps)?) {
        (AnyObjective::Masked(a), AnyObjective::Masked(b)) => run(a, b, folder, session, args),
        (AnyObjective::ViewsResnet(a), AnyObjective::ViewsResnet(b)) => run(a, b, folder, session, args),
        (AnyObjective::ViewsVit(a), AnyObjective::ViewsVit(b)) => run(a, b, folder, session, args),
        _ => Err(Error::Failure("one recipe made two different objectives".to_owned())),
    }
}

/// A run that needs nothing more, but perhaps its report: a kill may have come just before that.
fn already_finished(folder: &RunFolder, summary: &Summary, args: &TrainArgs) -> Result<(), Error> {
    say(format_args!(
        "{} is finished: {} steps were taken, nothing is left to do",
        folder.path().display(),
        summary.steps
    ));
    if !folder.report().exists() {
        let kept = Kept::open(folder.path(), args.device.open()?)?;
        let session = Session::open(kept.recipe.clone(), kept.device.clone())?;
        let untrained = session.untrained(folder)?;
        write_report(folder, &session, summary, kept.encoder.as_ref(), untrained.as_ref())?;
    }
    if args.json { print_json(summary) } else { outcome(folder, summary) }
}

impl TrainArgs {
    fn recipe(&self) -> Result<Recipe, Error> {
        let system = self.system.as_deref().unwrap_or(if self.data.is_some() { "le-jepa" } else { "i-jepa" });
        let mut sets = self.set.clone();
        if let Some(size) = &self.size {
            let key = match Recipe::read(system, &sets)?.model {
                Model::IJepa(_) => "model.size",
                Model::LeJepa(_) => "model.backbone.size",
            };
            sets.push(format!("{key}={size}"));
        }
        if let Some(value) = &self.on_bad_sample {
            sets.push(format!("data.on_bad_sample={value}"));
        }
        let mut recipe = Recipe::read(system, &sets)?;
        if let Some(path) = &self.data {
            recipe.data.path = path.to_string_lossy().into_owned();
        }
        if let Some(seed) = self.seed {
            recipe.seed = seed;
        }
        if let Some(size) = self.image_size {
            recipe.data.image_size = Auto::Value(size);
        }
        if let Some(every) = self.checkpoint_every {
            recipe.train.checkpoint_every = Auto::Value(every);
        }
        if self.steps.is_some() || self.epochs.is_some() || self.minutes.is_some() {
            recipe.train.steps = self.steps.map_or(Auto::Auto, Auto::Value);
            recipe.epochs = self.epochs.unwrap_or(0.0);
            recipe.minutes = self.minutes.unwrap_or(0.0);
        }
        recipe.train.check().map_err(Error::Misuse)?;
        for (name, value, given) in
            [("--epochs", recipe.epochs, self.epochs), ("--minutes", recipe.minutes, self.minutes)]
        {
            if given.is_some() && !(value > 0.0 && value.is_finite()) || value < 0.0 {
                return Err(Error::Misuse(format!("`{name}` must be a positive number, found {value}")));
            }
        }
        Ok(recipe)
    }
}

/// `runs/SYSTEM-DATA-N` with the first N that is free.
fn free_folder(recipe: &Recipe) -> PathBuf {
    let path = Path::new(&recipe.data.path);
    let data = path.file_stem().map_or("scenes".to_owned(), |s| s.to_string_lossy().into_owned());
    let place = |n: u32| PathBuf::from(format!("runs/{}-{data}-{n}", recipe.model.name()));
    (1..u32::MAX).map(place).find(|p| !p.exists()).unwrap_or_else(|| place(0))
}

/// Steps as asked, from epochs, or from minutes after a calibration.
fn choose_steps(session: &mut Session) -> Result<u64, Error> {
    let (epochs, batch) = (session.recipe.epochs, session.recipe.train.batch as f64);
    let asked = match session.recipe.train.steps {
        Auto::Value(steps) => Some(steps),
        Auto::Auto if epochs > 0.0 => {
            Some((epochs * session.dataset.len(Part::Train) as f64 / batch).ceil().clamp(1.0, MOST_STEPS as f64) as u64)
        }
        Auto::Auto => None,
    };
    if let Some(steps) = asked {
        if steps >= WORTH_TIMING {
            session.expected_minutes =
                Some(steps as f64 * seconds_a_step(session, Duration::ZERO)? / 60.0 / TRAINING_SHARE);
        }
        return Ok(steps);
    }
    let default = if session.recipe.data.path.is_empty() { 2.0 } else { 10.0 };
    let minutes = if session.recipe.minutes > 0.0 { session.recipe.minutes } else { default };
    let step = seconds_a_step(session, Duration::from_secs(6))?;
    let steps = (TRAINING_SHARE * minutes * 60.0 / step).floor().clamp(1.0, MOST_STEPS as f64) as u64;
    session.decisions.push(Decision {
        what: "train.steps".to_owned(),
        value: steps.to_string(),
        reason: format!("{minutes} minutes at {:.0} ms a step, measured just now", step * 1e3),
    });
    session.recipe.minutes = minutes;
    session.expected_minutes = Some(minutes);
    Ok(steps)
}

fn seconds_a_step(session: &Session, limit: Duration) -> Result<f64, Error> {
    let recipe = &session.recipe;
    let objective = session.objective(1_000_000)?;
    Ok(with_objective!(objective, |objective| {
        foretell_train::time_steps(objective, &session.images(), &recipe.train, recipe.seed, limit)?
    }))
}

fn run<O: Objective<Sample = Sample>>(
    objective: O,
    untrained: O,
    folder: &RunFolder,
    session: &Session,
    args: &TrainArgs,
) -> Result<(), Error> {
    let recipe = &session.recipe;
    let steps = recipe.steps()?;
    header(folder, session, &objective);
    let left = teacher_left(recipe, steps);
    let images = session.images();
    let fitting = session.fit(folder, &images, left.as_deref());
    let untrained = settle(untrained, &fitting)?;
    let finished = fit(objective, &untrained, &fitting, &mut Progress::new(steps, "step"))?;
    if finished.stopped {
        let path = folder.path().display();
        let where_ = match finished.steps {
            0 => "before the first step".to_owned(),
            step => format!("at step {step} of {steps} and saved"),
        };
        say(format_args!("stopped {where_}. Go on with: foretell train --resume {path}"));
        return Ok(());
    }
    let (encoder, untrained) = (finished.objective.encoder(), untrained.encoder());
    write_whole(&folder.encoder(), &weights::to_bytes(&finished.objective.encoder_state()))?;
    let (table, judged) = match table(session, encoder.as_ref(), untrained.as_ref())? {
        Some(judged) => (judged.table, judged.skipped),
        None => Default::default(),
    };
    let skipped: BTreeSet<String> = finished.skipped.into_iter().chain(judged).collect();
    let skipped: Vec<String> = skipped.into_iter().collect();
    say_skipped(&skipped);
    let summary = Summary {
        system: recipe.model.name().to_owned(),
        data: recipe.data_name().to_owned(),
        seed: recipe.seed,
        steps: finished.steps,
        seconds: finished.seconds,
        images_per_s: finished.steps as f64 * recipe.train.batch as f64 / finished.seconds.max(1e-9),
        parameters: parameters(&finished.objective),
        waited_share: finished.waited,
        skipped,
        health: finished.health.health,
        probes: table.rows,
        chance: table.chance,
    };
    summary.write(folder)?;
    write_report(folder, session, &summary, encoder.as_ref(), untrained.as_ref())?;
    if args.json { print_json(&summary) } else { outcome(folder, &summary) }
}

fn parameters<O: Objective>(objective: &O) -> usize {
    use burn::module::Module;
    objective.trained().num_params()
}

/// Share of the random initial teacher left after so many steps, where there is a teacher.
type TeacherLeft = Box<dyn Fn(u64) -> f64>;

fn teacher_left(recipe: &Recipe, steps: u64) -> Option<TeacherLeft> {
    let batch = recipe.train.batch;
    match &recipe.model {
        Model::IJepa(config) if config.target == TargetKind::Ema => {
            let ema = config.ema;
            Some(Box::new(move |step| ema.initial_teacher_left(step, steps, batch)))
        }
        _ => None,
    }
}

/// What will happen, before it does.
fn header<O: Objective>(folder: &RunFolder, session: &Session, objective: &O) {
    let (recipe, d) = (&session.recipe, session.dataset.describe());
    let (Ok(steps), Ok(size)) = (recipe.steps(), recipe.image_size()) else { return };
    say(format_args!("{} on {} ({})", recipe.model.title(), recipe.data_name(), d.format));
    say(format_args!("  images      {} to train, {} held out ({})", d.train, d.held_out, d.split));
    say(format_args!("  size        {size} × {size}, {}", if d.channels == 1 { "grey" } else { "colour" }));
    let epochs = steps as f64 * recipe.train.batch as f64 / d.train.max(1) as f64;
    say(format_args!("  steps       {steps} of {} images, {epochs:.1} epochs", recipe.train.batch));
    if let Some(minutes) = session.expected_minutes {
        say(format_args!("  expected    {}, and the judgement at the end", clock(60.0 * minutes)));
    }
    say(format_args!("  parameters  {:.2} million trained", parameters(objective) as f64 / 1e6));
    say(format_args!("  device      {}", described(&session.device, session.cores)));
    say(format_args!("  run         {}", folder.path().display()));
    for Decision { what, value, reason } in &session.decisions {
        say(format_args!("  {what} = {value}: {reason}"));
    }
    if d.held_out < 2 {
        say("  no images are held out: health is judged on training images");
    }
}

/// How it went, and what to do next.
fn outcome(folder: &RunFolder, summary: &Summary) -> Result<(), Error> {
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
    if summary.probes.is_empty() {
        text += "no labels: nothing to probe. Health above is all that can be said\n";
    } else {
        let _ = write!(text, "\n{}", summary.table());
    }
    let run = folder.path().display();
    let next = [
        format!("foretell embed {run} IMAGES… --out features.npz"),
        format!("foretell probe {run} --data LABELLED"),
        "foretell train --data YOUR_IMAGES --minutes 30".to_owned(),
    ];
    let width = next.iter().map(|command| command.chars().count()).max().unwrap_or(0);
    let [embed, probe, train] = next;
    let _ = write!(
        text,
        "\nencoder   {run}/encoder.safetensors\n\
         report    {run}/report.html\n\
         next      {embed:width$}   features of your images\n\
         \x20         {probe:width$}   what the features know of other labels\n\
         \x20         {train:width$}   your own images\n"
    );
    print(text)
}
