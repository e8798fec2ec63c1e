//! `foretell ablate`: a system's ablation table, row by row over several seeds, resumable; one table and one page at the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use burn::tensor::Device;
use foretell_systems::{Ablation, Member, family, recipe};
use foretell_train::{RunFolder, write_whole};
use toml::{Table, Value};

use crate::asked::{Asked, Steps};
use crate::compared::{Compared, Comparison, SeedGroup};
use crate::interrupt::STOP;
use crate::kept::of_run;
use crate::output::{print, print_json, say};
use crate::progress::Progress;
use crate::report::{Sheet, SheetLine};
use crate::run::{Conduct, MOST_STEPS, resume, start};
use crate::summary::Summary;
use crate::{DeviceChoice, Error};

/// What `ablate` was asked.
#[derive(Debug, clap::Args)]
pub struct AblateArgs {
    /// A system that declares an ablation table, or a recipe file of one.
    system: String,
    /// Learn from the data at this path; without it, from data that the program generates.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The folder of the runs, `OUT/ROW/seed-N`, and of the page; `runs/ablate-SYSTEM` by default. Runs that are finished there are
    /// kept, and one that is not goes on.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Train each run for this many optimiser steps.
    #[arg(long, conflicts_with_all = ["epochs", "minutes"], value_parser = clap::value_parser!(u64).range(1..=MOST_STEPS))]
    steps: Option<u64>,
    /// Train each run for this many passes over the data.
    #[arg(long, conflicts_with = "minutes")]
    epochs: Option<f64>,
    /// Train each run for this many minutes: for each row, a calibration at its first seed fixes the steps of all its seeds.
    #[arg(long)]
    minutes: Option<f64>,
    /// Train each row with the seeds 0, 1, … up to this number.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Train these rows alone, names with commas; the table shows all that are finished.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,
    /// List the rows and train nothing.
    #[arg(long)]
    list: bool,
    /// Change any setting in every row, such as train.batch=64; a row's own settings come on top. Rows of other systems share the
    /// data, the budget, the batch and the evaluation.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print one JSON object at the end instead of tables.
    #[arg(long)]
    json: bool,
}

/// What was asked, in the folder of the runs: those that are finished there were asked the same.
const ASKED: &str = "ablation.toml";

/// A row, ready to be trained.
struct ReadyRow {
    row: Ablation,
    member: &'static dyn Member,
    asked: Asked,
}

impl ReadyRow {
    fn recipe(&self, seed: u64, steps: Option<&Value>) -> Result<Table, Error> {
        let mut table = self.asked.whole(self.member).map_err(|error| self.error(error))?;
        recipe::set(&mut table, "seed", Value::Integer(i64::try_from(seed).unwrap_or(i64::MAX)))?;
        if let Some(steps) = steps {
            recipe::set(&mut table, "train.steps", steps.clone())?;
        }
        Ok(table)
    }

    /// An error with the row that it is of.
    fn error(&self, error: Error) -> Error {
        match error.exit_code() {
            2 => Error::Misuse(format!("row `{}`: {error}", self.row.name)),
            _ => Error::Failure(format!("row `{}`: {error}", self.row.name)),
        }
    }
}

/// Runs the command.
pub fn ablate(args: &AblateArgs) -> Result<(), Error> {
    let (base, rows) = args.rows()?;
    if args.list {
        return list(args.json, &rows);
    }
    let device = args.device.open()?;
    let system = rows[0].row.system;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("runs/ablate-{system}")));
    let begun = check_asked(&out, base.table())?;
    let chosen: Vec<&ReadyRow> = rows.iter().filter(|ready| args.takes(&ready.row)).collect();
    for ready in &chosen {
        if !place(&out, &ready.row, 0).exists() {
            // Hours later is too late to hear that a row cannot be built on these data.
            try_out(ready, &device).map_err(|error| ready.error(error))?;
        }
    }
    if !begun {
        keep_asked(&out, base.table())?;
    }
    let mut failed = Vec::new();
    let all = chosen.len() as u64 * args.seeds;
    for seed in 0..args.seeds {
        for (at, ready) in chosen.iter().enumerate() {
            let number = seed * chosen.len() as u64 + at as u64 + 1;
            let name = format!("{number} of {all}: {}, seed {seed}", ready.row.name);
            match one(&out, ready, seed, &device, &name) {
                Ok(true) => {}
                Ok(false) => {
                    say(format_args!("go on with the same command: what is finished in {} stays", out.display()));
                    return Ok(());
                }
                Err(error) if error.exit_code() == 1 => {
                    say(format_args!("{name}: {error}"));
                    failed.push((ready.row.name, seed, error.to_string()));
                }
                Err(error) => return Err(ready.error(error)),
            }
        }
    }
    outcome(args, &out, &rows, &failed)
}

impl AblateArgs {
    /// What is asked of every row, and the rows.
    fn rows(&self) -> Result<(Asked, Vec<ReadyRow>), Error> {
        let mut base = Asked::of(&self.system)?;
        for entry in &self.set {
            base.set(entry).map_err(|error| Error::Misuse(format!("`--set`: {error}")))?;
        }
        base.steps(self.steps())?;
        if !self.list && !budgeted(base.table()) {
            return Err(Error::Misuse(
                "an ablation table compares runs of one budget: say how long each trains, with `--steps`, `--epochs` or `--minutes`"
                    .to_owned(),
            ));
        }
        if let Some(path) = &self.data {
            base.forget_measured()?;
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            base.put("data.path", Value::String(whole.to_string_lossy().into_owned()))?;
        }
        let member = base.member()?;
        let name = member.row().name;
        let table = member.ablations(base.whole(member)?)?;
        if table.is_empty() {
            let with: Vec<&str> = family::members()
                .filter(|member| member.ablations(member.defaults()).is_ok_and(|rows| !rows.is_empty()))
                .map(|member| member.row().name)
                .collect();
            return Err(Error::Misuse(format!(
                "{name} declares no ablation table: `foretell ablate` takes one of {}",
                with.join(", ")
            )));
        }
        if let Some(wrong) = self.only.iter().find(|only| !table.iter().any(|row| row.name == *only)) {
            let known = table.iter().map(|row| row.name);
            return Err(Error::Misuse(recipe::unknown("row", wrong, known, "`--list` describes them")));
        }
        let ready = |row: Ablation| -> Result<ReadyRow, Error> {
            let mut asked = if row.system == name { base.copy() } else { base.for_system(row.system) };
            for setting in &row.settings {
                asked.set(setting)?;
            }
            let member = asked.member()?;
            let ready = ReadyRow { row, member, asked };
            ready.recipe(0, None)?;
            Ok(ready)
        };
        let rows = table.into_iter().map(ready).collect::<Result<_, Error>>()?;
        Ok((base, rows))
    }

    fn steps(&self) -> Steps {
        match (self.steps, self.epochs, self.minutes) {
            (Some(steps), _, _) => Steps::Count(steps),
            (_, Some(epochs), _) => Steps::Epochs(epochs),
            (_, _, Some(minutes)) => Steps::Minutes(minutes),
            _ => Steps::Usual,
        }
    }

    fn takes(&self, row: &Ablation) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == row.name)
    }
}

/// Whether what was asked says how long runs train.
fn budgeted(asked: &Table) -> bool {
    let some = |key: &str| recipe::get(asked, key).and_then(Value::as_float).is_some_and(|value| value > 0.0);
    some("minutes") || some("epochs") || recipe::get(asked, "train.steps").is_some_and(Value::is_integer)
}

/// Where a run lies.
fn place(out: &Path, row: &Ablation, seed: u64) -> PathBuf {
    out.join(row.name).join(format!("seed-{seed}"))
}

/// The rows, and nothing done.
fn list(json: bool, rows: &[ReadyRow]) -> Result<(), Error> {
    if json {
        let row = |ReadyRow { row, .. }: &ReadyRow| serde_json::json!({ "name": row.name, "system": row.system, "settings": row.settings, "about": row.about });
        return print_json(&rows.iter().map(row).collect::<Vec<_>>());
    }
    print(rows_of(rows.iter().map(|ready| &ready.row)))
}

/// What each row is.
fn rows_of<'a>(rows: impl Iterator<Item = &'a Ablation>) -> Sheet {
    let line = |row: &Ablation| SheetLine {
        cells: vec![row.name.to_owned(), row.system.to_owned(), row.about.to_owned(), row.settings.join(", ")],
        bad: false,
    };
    Sheet {
        id: "rows".to_owned(),
        title: "Rows".to_owned(),
        lead: "Each row is the first one with these settings on top, or a baseline with the same data, budget and evaluation."
            .to_owned(),
        head: ["row", "system", "what it is", "settings"].map(str::to_owned).to_vec(),
        names: 4,
        lines: rows.map(line).collect(),
    }
}

/// Keeps what was asked in a folder that is fresh.
fn keep_asked(out: &Path, asked: &Table) -> Result<(), Error> {
    fs::create_dir_all(out).map_err(|error| Error::Misuse(format!("cannot make {}: {error}", out.display())))?;
    let text = toml::to_string(asked).map_err(|error| Error::Failure(error.to_string()))?;
    Ok(write_whole(&out.join(ASKED), text.as_bytes())?)
}

/// Whether the folder holds an ablation that was asked the same; an error if it was asked otherwise, or holds something else.
fn check_asked(out: &Path, asked: &Table) -> Result<bool, Error> {
    let file = out.join(ASKED);
    if !file.exists() {
        if out.is_file() {
            return Err(Error::Misuse(format!(
                "{} is a file, and a folder is wanted: choose another `--out`",
                out.display()
            )));
        }
        if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::Misuse(format!(
                "{} is not empty and holds no ablation: choose another `--out`",
                out.display()
            )));
        }
        return Ok(false);
    }
    let name = file.display().to_string();
    let text = fs::read_to_string(&file).map_err(|error| Error::Misuse(format!("cannot read {name}: {error}")))?;
    let before = recipe::parse(&text, &name)?;
    let keys: BTreeSet<&String> = before.keys().chain(asked.keys()).collect();
    match keys.into_iter().find(|key| before.get(*key) != asked.get(*key)) {
        None => Ok(true),
        Some(key) => {
            let said = |table: &Table| table.get(key).map_or_else(|| "nothing".to_owned(), ToString::to_string);
            Err(Error::Misuse(format!(
                "{} holds runs with `{key}` = {} ({name}), and now it is {}: ask the same, or choose another `--out`",
                out.display(),
                said(&before),
                said(asked)
            )))
        }
    }
}

/// Builds a row's networks on its data once, and throws them away.
fn try_out(ready: &ReadyRow, device: &Device) -> Result<(), Error> {
    let session = ready.member.open(ready.recipe(0, None)?, device, true)?;
    session.trial()?;
    Ok(())
}

/// One run: finished, gone on with, or begun. Whether it came to its end.
fn one(out: &Path, ready: &ReadyRow, seed: u64, device: &Device, name: &str) -> Result<bool, Error> {
    if STOP.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let place = place(out, &ready.row, seed);
    let observer = &mut Progress::of_run(ready.member.unit().many);
    let conduct = Conduct { device: device.clone(), observer, stop: &STOP };
    if let Ok(folder) = RunFolder::open(&place) {
        if Summary::read(&folder)?.is_some() {
            return Ok(true);
        }
        say(format_args!("\n{name}, goes on"));
        let (member, recipe) = of_run(&folder)?;
        return Ok(resume(&folder, member, recipe, conduct)?.is_some());
    }
    if place.exists() {
        // Killed before its config was written: nothing of a run is in it.
        fs::remove_dir_all(&place)
            .map_err(|error| Error::Failure(format!("cannot clear {}: {error}", place.display())))?;
    }
    say(format_args!("\n{name}"));
    let steps = if seed > 0 { first_steps(out, &ready.row)? } else { None };
    let recipe = ready.recipe(seed, steps.as_ref())?;
    Ok(start(ready.member, recipe, Some(place), conduct)?.1.is_some())
}

/// The steps of a row's first seed, which are those of all.
fn first_steps(out: &Path, row: &Ablation) -> Result<Option<Value>, Error> {
    let Ok(folder) = RunFolder::open(&place(out, row, 0)) else { return Ok(None) };
    let (_, recipe) = of_run(&folder)?;
    Ok(recipe::get(&recipe, "train.steps").filter(|steps| steps.is_integer()).cloned())
}

/// The table and the page of all that is finished.
fn outcome(args: &AblateArgs, out: &Path, rows: &[ReadyRow], failed: &[(&str, u64, String)]) -> Result<(), Error> {
    let mut groups = Vec::new();
    for ReadyRow { row, .. } in rows {
        let mut runs = Vec::new();
        for entry in fs::read_dir(out.join(row.name)).into_iter().flatten().flatten() {
            let folder = RunFolder::open(&entry.path());
            if let Ok(folder) = folder
                && Summary::read(&folder)?.is_some()
            {
                runs.push(Compared::read(folder.path())?);
            }
        }
        if !runs.is_empty() {
            groups.push(SeedGroup::new(row.name, runs));
        }
    }
    if groups.is_empty() {
        let (row, seed, error) = failed.first().cloned().unwrap_or(("", 0, "nothing was trained".to_owned()));
        return Err(Error::Failure(format!("no run was finished: row `{row}`, seed {seed}: {error}")));
    }
    let shown: BTreeSet<String> = groups.iter().map(|group| group.name.clone()).collect();
    let about = rows_of(rows.iter().map(|ready| &ready.row).filter(|row| shown.contains(row.name)));
    let mut broken = Sheet {
        id: "failed".to_owned(),
        title: "Failed".to_owned(),
        lead: "Runs that did not come to their end.".to_owned(),
        head: ["row", "seed", "why"].map(str::to_owned).to_vec(),
        names: 3,
        lines: Vec::new(),
    };
    broken.lines.extend(failed.iter().map(|(row, seed, error)| SheetLine {
        cells: vec![(*row).to_owned(), seed.to_string(), error.clone()],
        bad: true,
    }));
    let comparison = Comparison::of(groups);
    let mut json = comparison.json();
    json["failed"] = failed
        .iter()
        .map(|(row, seed, error)| serde_json::json!({ "row": row, "seed": seed, "error": error }))
        .collect();
    let page = out.join("report.html");
    let title = format!("Ablations of {}", rows[0].member.row().title);
    let html = comparison.page("Foretell ablations", &title, vec![about, broken.clone()]);
    write_whole(&page, html.as_bytes())?;
    let text = serde_json::to_string_pretty(&json).map_err(|error| Error::Failure(error.to_string()))? + "\n";
    write_whole(&out.join("table.json"), text.as_bytes())?;
    if args.json {
        print_json(&json)?;
    } else {
        for note in comparison.notes() {
            say(format_args!("note: {note}"));
        }
        let broken = (!failed.is_empty()).then_some(broken);
        let sheets = comparison.sheets(false).into_iter().filter(|sheet| sheet.id != "settings").chain(broken);
        for sheet in sheets {
            print(format_args!("{sheet}\n"))?;
        }
        print(format_args!("page   {}\ntable  {}\n", page.display(), out.join("table.json").display()))?;
    }
    match failed {
        [] => Ok(()),
        _ => Err(Error::Failure(format!("{} of the runs failed, and the table is without them", failed.len()))),
    }
}
