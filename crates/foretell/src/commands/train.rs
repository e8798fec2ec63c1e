//! `foretell train`: from data to a judged encoder or a judged model of a world.

use std::fmt::Write;
use std::path::PathBuf;

use foretell_nn::weights;
use foretell_systems::{Member, family, recipe};
use foretell_train::{Health, RunFolder};
use foretell_world::WorldConfig;
use toml::{Table, Value};

use crate::account::write_report;
use crate::asked::{Asked, Steps};
use crate::findings::RunFindings;
use crate::interrupt::STOP;
use crate::kept::of_run;
use crate::output::{print, print_json, say, word};
use crate::progress::Progress;
use crate::run::{Conduct, MOST_STEPS, again, resume, start};
use crate::summary::Summary;
use crate::{DeviceChoice, Error};

/// What `train` was asked.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// A system (`foretell systems` lists them) or a recipe file. Without it, one that suits the data.
    system: Option<String>,
    /// Go on with a run that was stopped or killed, up to the steps that it began with: its learning rate falls to its end over
    /// them, so a longer training is a run of its own (`foretell train RUN/config.toml --minutes M`).
    #[arg(long, value_name = "RUN", conflicts_with_all = ["system", "world", "out", "size", "seed", "set", "image_size", "checkpoint_every"])]
    resume: Option<PathBuf>,
    /// Learn from the data at this path; without it, from data that the program generates. With `--resume`, where the run's data
    /// lie now.
    #[arg(long)]
    data: Option<PathBuf>,
    #[arg(long, help = format!("Learn from play in a world: {}", WorldConfig::known()))]
    world: Option<String>,
    /// The run's folder; `runs/SYSTEM-DATA-N` by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Size of the networks: tiny, small, base, large, huge or giant.
    #[arg(long)]
    size: Option<String>,
    /// Train for this many optimiser steps.
    #[arg(long, conflicts_with_all = ["epochs", "minutes"], value_parser = clap::value_parser!(u64).range(..=MOST_STEPS))]
    steps: Option<u64>,
    /// Train for this many passes over the data.
    #[arg(long, conflicts_with = "minutes")]
    epochs: Option<f64>,
    /// Train for this many minutes: a short calibration fixes the number of steps.
    #[arg(long)]
    minutes: Option<f64>,
    /// Random seed; config and seed determine a run completely.
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Resize images to this side, in pixels.
    #[arg(long)]
    image_size: Option<usize>,
    /// Write a checkpoint after every so many steps.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u64).range(..=MOST_STEPS))]
    checkpoint_every: Option<u64>,
    /// What to do with a sample that cannot be read: fail or skip.
    #[arg(long)]
    on_bad_sample: Option<String>,
    /// Change any setting, such as train.lr=0.001; the config.toml of a run lists them all.
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
        let (member, recipe) = of_run(&folder)?;
        args.no_longer(&folder, &recipe)?;
        let recipe = args.amended(&folder, member, recipe)?;
        if let Some(summary) = Summary::read(&folder)? {
            if args.data.is_some() || args.on_bad_sample.is_some() {
                again(&folder, member, recipe, &device)?;
            }
            return already_finished(&folder, &summary, args);
        }
        let observer = &mut Progress::of_run(member.unit().many);
        let summary = resume(&folder, member, recipe, Conduct { device, observer, stop: &STOP })?;
        return outcome(&folder, summary.as_ref(), args);
    }
    let (member, recipe) = args.recipe()?;
    let observer = &mut Progress::of_run(member.unit().many);
    let (folder, summary) = start(member, recipe, args.out.clone(), Conduct { device, observer, stop: &STOP })
        .map_err(|error| args.other_data(member, error))?;
    outcome(&folder, summary.as_ref(), args)
}

/// A run that needs nothing more, but perhaps its report: a kill may have come just before that.
fn already_finished(folder: &RunFolder, summary: &Summary, args: &TrainArgs) -> Result<(), Error> {
    say(format_args!(
        "{} is finished: {} steps were taken, nothing is left to do",
        folder.path().display(),
        summary.steps
    ));
    if let Err(error) = weights::read_file(&folder.encoder()) {
        let config = folder.config();
        return Err(Error::Misuse(format!(
            "{error}: restore it from a copy, or train again with `foretell train {}`",
            word(&config)
        )));
    }
    if !folder.report().exists() {
        write_report(folder)?;
    }
    outcome(folder, Some(summary), args)
}

impl TrainArgs {
    /// Options that are names of keys, as far as they were given.
    fn keys(&self) -> Vec<(&'static str, &'static str, Value)> {
        let text = |text: &String| Value::String(text.clone());
        let whole = |number: u64| Value::Integer(number as i64);
        let all = [
            ("--data", "data.path", self.data.as_ref().map(|path| Value::String(path.to_string_lossy().into_owned()))),
            ("--world", "data.world.kind", self.world.as_ref().map(text)),
            ("--size", "model.size", self.size.as_ref().map(text)),
            ("--image-size", "data.image_size", self.image_size.map(|size| whole(size as u64))),
            ("--on-bad-sample", "data.on_bad_sample", self.on_bad_sample.as_ref().map(text)),
            ("--checkpoint-every", "train.checkpoint_every", self.checkpoint_every.map(whole)),
            ("--seed", "seed", self.seed.map(whole)),
        ];
        all.into_iter().filter_map(|(option, key, value)| Some((option, key, value?))).collect()
    }

    /// An error if a run is to go on beyond its steps.
    fn no_longer(&self, folder: &RunFolder, recipe: &Table) -> Result<(), Error> {
        let given = [
            ("--steps", self.steps.map(|steps| steps.to_string())),
            ("--epochs", self.epochs.map(|epochs| epochs.to_string())),
            ("--minutes", self.minutes.map(|minutes| minutes.to_string())),
        ];
        let Some((option, value)) = given.into_iter().find_map(|(option, value)| Some((option, value?))) else {
            return Ok(());
        };
        let steps = recipe::get(recipe, "train.steps").map(ToString::to_string).unwrap_or_default();
        Err(Error::Misuse(format!(
            "`--resume` goes on to the {steps} steps that {} began with, over which its learning rate falls to its end, and `{option}` cannot add to them: begin a longer run with `foretell train {} {option} {value}`, which trains from its first step",
            folder.path().display(),
            word(&folder.config())
        )))
    }

    /// The recipe of a run that goes on, with what may be said of it anew: where its data lie, and what becomes of samples that
    /// cannot be read.
    fn amended(&self, folder: &RunFolder, member: &dyn Member, recipe: Table) -> Result<Table, Error> {
        let mut amended = recipe;
        for (option, key, value) in self.keys() {
            let lies = |found: &Value| key != "data.path" || found.as_str().is_some_and(|path| !path.is_empty());
            if !recipe::get(&amended, key).is_some_and(lies) {
                return Err(Error::Misuse(format!(
                    "`{option}` sets `{key}`, which {} ({}) does not have: leave it out",
                    folder.path().display(),
                    member.row().name
                )));
            }
            recipe::set(&mut amended, key, value)?;
        }
        Ok(member.recipe(&amended, &folder.config().display().to_string())?)
    }

    /// How long to train.
    fn steps(&self) -> Result<Steps, Error> {
        for (name, value) in [("--epochs", self.epochs), ("--minutes", self.minutes)] {
            if let Some(value) = value.filter(|value| !(*value > 0.0 && value.is_finite())) {
                return Err(Error::Misuse(format!("`{name}` must be a positive number, found {value}")));
            }
        }
        Ok(match (self.steps, self.epochs, self.minutes) {
            (Some(steps), _, _) => Steps::Count(steps),
            (_, Some(epochs), _) => Steps::Epochs(epochs),
            (_, _, Some(minutes)) => Steps::Minutes(minutes),
            _ => Steps::Usual,
        })
    }

    /// The member and its whole recipe.
    fn recipe(&self) -> Result<(&'static dyn Member, Table), Error> {
        let steps = self.steps()?;
        let usual = family::usual(self.data.as_deref(), self.world.is_some());
        let mut asked = Asked::of(self.system.as_deref().unwrap_or(usual))?;
        // What is set, is set for these.
        if self.data.is_some() {
            asked.forget_measured()?;
        }
        for entry in &self.set {
            asked.set(entry).map_err(|error| Error::Misuse(format!("`--set`: {error}")))?;
        }
        asked.steps(steps)?;
        let member = asked.member()?;
        let given = self.keys();
        for (_, key, value) in &given {
            asked.put(key, value.clone())?;
        }
        let known = asked.known(member);
        if let Some((option, key, _)) = given.iter().find(|(_, key, _)| recipe::get(&known, key).is_none()) {
            let with = match &self.data {
                Some(path) if *option != "--data" => format!("with the data at {}", path.display()),
                _ => format!("(it learns from {})", member.unit().many),
            };
            return Err(Error::Misuse(format!(
                "`{option}` sets `{key}`, which {} {with} does not have: leave it out",
                member.row().name
            )));
        }
        Ok((member, asked.whole(member)?))
    }

    /// The error of data that are of another kind than the system's, with a system that would take them.
    fn other_data(&self, member: &dyn Member, error: Error) -> Error {
        let (Some(path), Error::Data(source)) = (&self.data, &error) else { return error };
        if member.recognises(path) {
            return error;
        }
        let other = family::find(family::usual(Some(path), false)).ok();
        let Some(other) = other.filter(|other| other.recognises(path)) else { return error };
        let (name, many, suits) = (member.row().name, member.unit().many, other.row().name);
        Error::Misuse(format!(
            "{source} ({name} learns from {many}; `{}` holds {}: `foretell train {suits} --data {}` learns from them)",
            path.display(),
            other.unit().many,
            word(path)
        ))
    }
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
