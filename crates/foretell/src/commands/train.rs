//! `foretell train`: from images to a judged encoder.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use foretell_data::Part;
use foretell_eval::ProbeTable;
use foretell_jepa::{Auto, Objective};
use foretell_jepa::target::TargetKind;
use foretell_nn::{Encode, weights};
use foretell_train::{Fit, HealthRecord, Observer, Report, RunFolder, TrainError, fit, settle, write_whole};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::judge::Judgement;
use crate::recipe::{Model, Recipe};
use crate::session::Session;
use crate::{DeviceChoice, Error, with_objective};

/// Set by Ctrl-C.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// What `train` was asked.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// A system (i-jepa, le-jepa) or a recipe file; i-jepa if nothing is said.
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
    #[arg(long, conflicts_with_all = ["epochs", "minutes"])]
    steps: Option<u64>,
    /// Passes over the data.
    #[arg(long, conflicts_with = "minutes")]
    epochs: Option<f64>,
    /// Minutes of training: a short calibration fixes the number of steps.
    #[arg(long)]
    minutes: Option<f64>,
    /// Everything random is a function of it.
    #[arg(long)]
    seed: Option<u64>,
    /// Side to which images are brought, in pixels.
    #[arg(long)]
    image_size: Option<usize>,
    /// Steps between checkpoints.
    #[arg(long, value_name = "STEPS")]
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
    /// Print summary.json at the end instead of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn train(args: &TrainArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let (folder, session) = if let Some(path) = &args.resume {
        let folder = RunFolder::open(path)?;
        let text = std::fs::read_to_string(folder.config()).map_err(|e| Error::Misuse(format!("cannot read {}: {e}", folder.config().display())))?;
        let recipe = Recipe::parse(&text, &folder.config().display().to_string())?;
        let mut session = Session::open(recipe, device)?;
        let Auto::Value(steps) = session.recipe.train.steps else {
            return Err(Error::Misuse(format!("{} is not a resolved config: it names no number of steps", folder.config().display())));
        };
        session.resolve(steps)?;
        if !foretell_train::has_checkpoint(&folder) {
            eprintln!("{} has no checkpoint yet: starting again from its stored config", path.display());
        }
        (folder, session)
    } else {
        let recipe = args.recipe()?;
        let out = args.out.clone().unwrap_or_else(|| free_folder(&recipe));
        RunFolder::check_free(&out)?;
        let mut session = Session::open(recipe, device)?;
        let steps = choose_steps(&mut session)?;
        session.resolve(steps)?;
        // Built once before anything is written: a setting that does not fit leaves no folder behind.
        drop(session.objective(steps)?);
        let folder = RunFolder::create(&out, &session.recipe.to_toml())?;
        (folder, session)
    };
    let Auto::Value(steps) = session.recipe.train.steps else { unreachable!("resolved above") };
    let objective = session.objective(steps)?;
    let untrained = session.objective(steps)?;
    match (objective, untrained) {
        (crate::session::AnyObjective::Masked(a), crate::session::AnyObjective::Masked(b)) => run(a, b, &folder, &session, args),
        (crate::session::AnyObjective::ViewsResnet(a), crate::session::AnyObjective::ViewsResnet(b)) => run(a, b, &folder, &session, args),
        (crate::session::AnyObjective::ViewsVit(a), crate::session::AnyObjective::ViewsVit(b)) => run(a, b, &folder, &session, args),
        _ => Err(Error::Failure("one recipe made two different objectives".to_owned())),
    }
}

impl TrainArgs {
    fn recipe(&self) -> Result<Recipe, Error> {
        let mut sets = self.set.clone();
        if let Some(size) = &self.size {
            let key = if self.system.as_deref().is_some_and(|s| s.contains("le-jepa")) { "model.backbone.size" } else { "model.size" };
            sets.push(format!("{key}={size}"));
        }
        if let Some(value) = &self.on_bad_sample {
            sets.push(format!("data.on_bad_sample={value}"));
        }
        let mut recipe = Recipe::read(self.system.as_deref().unwrap_or("i-jepa"), &sets)?;
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
        for (name, value, given) in [("--epochs", recipe.epochs, self.epochs), ("--minutes", recipe.minutes, self.minutes)] {
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
    (1..).map(place).find(|p| !p.exists()).unwrap_or_else(|| place(0))
}

/// Steps as asked, from epochs, or from minutes after a calibration.
fn choose_steps(session: &mut Session) -> Result<u64, Error> {
    let recipe = &session.recipe;
    if let Auto::Value(steps) = recipe.train.steps {
        return Ok(steps);
    }
    let n = session.dataset.len(Part::Train) as f64;
    if recipe.epochs > 0.0 {
        return Ok((recipe.epochs * n / recipe.train.batch as f64).ceil().max(1.0) as u64);
    }
    let default = if recipe.data.path.is_empty() { 2.0 } else { 10.0 };
    let minutes = if recipe.minutes > 0.0 { recipe.minutes } else { default };
    let step = calibrate(session)?;
    // Judgements and checkpoints take their share: about a twentieth.
    let steps = (0.95 * minutes * 60.0 / step).floor().max(1.0) as u64;
    session.decisions.push(foretell_jepa::Decision {
        what: "train.steps".to_owned(),
        value: steps.to_string(),
        reason: format!("{minutes} minutes at {:.0} ms a step, measured just now", step * 1e3),
    });
    session.recipe.minutes = minutes;
    Ok(steps)
}

/// Seconds of a step: the median of some, after one that is not counted.
fn calibrate(session: &Session) -> Result<f64, Error> {
    let folder = std::env::temp_dir().join(format!("foretell-calibration-{}", std::process::id()));
    let objective = session.objective(1_000_000)?;
    let result = with_objective!(objective, |objective| calibrate_with(objective, session));
    let _ = std::fs::remove_dir_all(folder);
    result
}

fn calibrate_with<O: Objective>(objective: O, session: &Session) -> Result<f64, Error> {
    foretell_train::time_steps(objective, &session.dataset, &session.recipe.train, session.recipe.seed, session.recipe.data.on_bad_sample, Duration::from_secs(6)).map_err(Error::from)
}

/// Progress for people: a bar on a terminal, plain lines elsewhere.
struct Screen {
    bar: Option<ProgressBar>,
    last: Instant,
}

impl Screen {
    fn new(steps: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {pos}/{len}  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(steps).with_style(style)
        });
        Self { bar, last: Instant::now() }
    }
}

fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    if seconds >= 3600 { format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60) } else { format!("{}:{:02}", seconds / 60, seconds % 60) }
}

impl Observer for Screen {
    fn step(&mut self, report: &Report) {
        let verdict = report.verdict.map_or("not judged yet", foretell_train::Verdict::word);
        let line = format!("{:.0} images/s  {} left  loss {:.4}  {verdict}", report.images_per_s, clock(report.seconds_left), report.loss);
        match &self.bar {
            Some(bar) => {
                bar.set_position(report.step);
                bar.set_message(line);
                if report.step == report.steps {
                    bar.finish();
                }
            }
            None if report.step == report.steps || self.last.elapsed() > Duration::from_secs(10) => {
                self.last = Instant::now();
                eprintln!("step {}/{}  {line}", report.step, report.steps);
            }
            None => {}
        }
    }

    fn note(&mut self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a> {
    system: &'a str,
    data: &'a str,
    seed: u64,
    steps: u64,
    seconds: f64,
    images_per_s: f64,
    parameters: usize,
    waited_share: f64,
    skipped: &'a [String],
    health: &'a foretell_train::Health,
    probes: &'a [foretell_eval::ProbeRow],
    chance: &'a [(String, f64)],
}

fn run<O: Objective>(objective: O, untrained: O, folder: &RunFolder, session: &Session, args: &TrainArgs) -> Result<(), Error> {
    let recipe = &session.recipe;
    let Auto::Value(steps) = recipe.train.steps else { return Err(Error::Failure("the steps are not resolved".to_owned())) };
    header(folder, session, &objective);
    let left = teacher_left(recipe, steps);
    let fitting = Fit {
        folder,
        config: &recipe.train,
        dataset: &session.dataset,
        normalise: &recipe.data.normalise,
        seed: recipe.seed,
        on_bad: recipe.data.on_bad_sample,
        device: session.device.clone(),
        initial_teacher_left: left.as_deref(),
        stop: &STOP,
    };
    let untrained = settle(untrained, &fitting)?;
    let finished = fit(objective, &untrained, &fitting, &mut Screen::new(steps))?;
    if finished.stopped {
        eprintln!("stopped at step {} of {steps} and saved. Go on with: foretell train --resume {}", finished.steps, folder.path().display());
        return Ok(());
    }
    let encoder = finished.objective.encoder();
    write_whole(&folder.encoder(), &weights::to_bytes(&finished.objective.encoder_state()))?;
    if !finished.skipped.is_empty() {
        eprintln!("{} unreadable images were passed over: {}", finished.skipped.len(), finished.skipped.iter().take(10).cloned().collect::<Vec<_>>().join(", "));
    }
    let table = judge(session, encoder.as_ref(), untrained.encoder().as_ref())?.unwrap_or_default();
    let parameters = parameters(&finished.objective);
    let summary = Summary {
        system: recipe.model.name(),
        data: if recipe.data.path.is_empty() { "built-in scenes" } else { &recipe.data.path },
        seed: recipe.seed,
        steps: finished.steps,
        seconds: finished.seconds,
        images_per_s: finished.steps as f64 * recipe.train.batch as f64 / finished.seconds.max(1e-9),
        parameters,
        waited_share: finished.waited,
        skipped: &finished.skipped,
        health: &finished.health.health,
        probes: &table.rows,
        chance: &table.chance,
    };
    let text = serde_json::to_string_pretty(&summary).map_err(|e| Error::Failure(e.to_string()))? + "\n";
    write_whole(&folder.summary(), text.as_bytes())?;
    if args.json {
        print!("{text}");
    } else {
        outcome(folder, &finished.health, &table);
    }
    Ok(())
}

/// Probes, where there are labels.
fn judge(session: &Session, trained: &dyn Encode, untrained: &dyn Encode) -> Result<Option<ProbeTable>, Error> {
    let recipe = &session.recipe;
    let judgement = Judgement {
        dataset: &session.dataset,
        normalise: &recipe.data.normalise,
        train_images: if let Auto::Value(images) = recipe.probe.train_images { images } else { usize::MAX },
        on_bad: recipe.data.on_bad_sample,
        device: &session.device,
    };
    judgement.table(trained, untrained)
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
    let Auto::Value(steps) = recipe.train.steps else { return };
    let name = if recipe.data.path.is_empty() { "built-in scenes" } else { &recipe.data.path };
    eprintln!("{} on {name} ({})", recipe.model.title(), d.format);
    eprintln!("  images      {} to train, {} held out ({})", d.train, d.held_out, d.split);
    let size = if let Auto::Value(size) = recipe.data.image_size { size } else { 0 };
    eprintln!("  size        {size} × {size}, {}", if d.channels == 1 { "grey" } else { "colour" });
    eprintln!("  steps       {steps} of {} images, {:.1} epochs", recipe.train.batch, steps as f64 * recipe.train.batch as f64 / d.train.max(1) as f64);
    if recipe.minutes > 0.0 {
        eprintln!("  expected    {:.1} minutes", recipe.minutes);
    }
    eprintln!("  parameters  {:.2} million trained", parameters(objective) as f64 / 1e6);
    eprintln!("  device      cpu, {} cores", session.cores);
    eprintln!("  run         {}", folder.path().display());
    for decision in &session.decisions {
        eprintln!("  {} = {}: {}", decision.what, decision.value, decision.reason);
    }
    if d.held_out < 2 {
        eprintln!("  no images are held out: health is judged on training images");
    }
}

/// How it went, and what to do next.
fn outcome(folder: &RunFolder, health: &HealthRecord, table: &ProbeTable) {
    let h = &health.health;
    println!();
    println!("health: {} (effective rank {:.1}, untrained {:.1}; RankMe {:.1}; cosine {:.3})", h.verdict.word(), h.effective_rank, h.untrained_effective_rank, h.rankme, h.cosine_mean);
    for rule in h.thresholds.iter().filter(|rule| !rule.met) {
        println!("  {} is {:.3} where {} was expected (untrained {:.3})", rule.measure, rule.value, rule.limit, rule.untrained);
    }
    if table.rows.is_empty() {
        println!("no labels: nothing to probe. Health above is all that can be said");
    } else {
        println!();
        print!("{table}");
    }
    let run = folder.path().display();
    println!();
    println!("encoder   {run}/encoder.safetensors");
    println!("next      foretell embed {run} IMAGES… --out features.npz    features of your images");
    println!("          foretell probe {run} --data LABELLED               what the features know of other labels");
    println!("          foretell train --data YOUR_IMAGES --minutes 30     your own images");
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Error::Train(TrainError::Setting(error.to_string()))
    }
}

/// Lets Ctrl-C save and stop; a second one ends at once.
pub fn stop_on_interrupt() {
    let handler = || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    // Without a handler Ctrl-C ends the process: the last checkpoint stands.
    let _ = ctrlc::set_handler(handler);
}
