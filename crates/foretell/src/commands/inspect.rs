//! `foretell inspect`: what a run, a checkpoint, weights, a clip, arrays or a data set holds.

mod arrays;
mod clip;
mod deep;
mod weights;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use foretell_data::series::Series;
use foretell_data::{Clip, Images, Modality};
use foretell_nn::weights::are_weights;
use foretell_systems::{Member, family, recipe};
use foretell_train::{Checkpoint, HealthRecord, RunFolder, checkpoint_steps};
use serde_json::{Value, json};
use toml::Table;

use crate::findings::RunFindings;
use crate::kept::{of_run, steps};
use crate::output::{print, print_json, word};
use crate::progress::clock;
use crate::released::OfficialArgs;
use crate::summary::Summary;
use crate::{DeviceChoice, Error};

/// What `inspect` was asked.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// A run's folder, a checkpoint's folder, weights (a safetensors file, a folder of Hugging Face's, a file of PyTorch's), a
    /// video clip, recorded episodes or features (`.npz`) or a data set.
    // Named so for the options of official files, which belong to a `model`.
    #[arg(id = "model", value_name = "PATH")]
    path: PathBuf,
    /// Read every sample of a data set and list those that cannot be read.
    #[arg(long)]
    deep: bool,
    /// Look at a data set with a setting of its data changed, as `train` would: `data.label=COLUMN`, `data.group=PATTERN`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Look at a data set as this system would; without it, as the first that takes what lies there.
    #[arg(long, value_name = "NAME")]
    system: Option<String>,
    #[command(flatten)]
    official: OfficialArgs,
    /// The predictor's heads, where an official file has not the released ones.
    #[arg(long, value_name = "N", help_heading = "Published models")]
    predictor_heads: Option<usize>,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// The same in words and for scripts.
struct Account {
    text: String,
    json: Value,
    /// What is wrong with what was inspected, where that was asked.
    fault: Option<String>,
}

impl Account {
    /// Of something that nothing is wrong with.
    fn of(text: String, json: Value) -> Self {
        Self { text, json, fault: None }
    }
}

/// Runs the command.
pub fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let path = &args.path;
    let given = args.official.given().or(args.predictor_heads.map(|_| "--predictor-heads"));
    if let Some(option) = given.filter(|_| path.is_dir() || !are_weights(path)) {
        return Err(Error::Misuse(format!(
            "`{option}` is for official files (.pth, .pth.tar, .pt), and {} is none: leave `{option}` out",
            path.display()
        )));
    }
    let account = if args.deep {
        deep::account(path, args.member()?, args.data()?)?
    } else if args.system.is_some() || !args.set.is_empty() {
        args.account_as()?
    } else if path.join("config.toml").is_file() {
        run(path)?
    } else if path.join("progress.json").is_file() {
        checkpoint(path)?
    } else if are_weights(path) {
        weights::account(args)?
    } else if let Some(features) = arrays::features(path) {
        features
    } else if Clip::is_video(path) || Clip::is_animation(path) {
        clip::account(path)?
    } else {
        args.data_account()?
    };
    if args.json {
        print_json(&account.json)?;
    } else {
        print(account.text)?;
    }
    account.fault.map_or(Ok(()), |fault| Err(Error::Failure(fault)))
}

impl InspectArgs {
    /// The settings of the data: where they lie, and what was set.
    fn data(&self) -> Result<Table, Error> {
        let mut asked = Table::new();
        for entry in &self.set {
            let (key, value) = recipe::entry(entry).map_err(|error| Error::Misuse(format!("`--set`: {error}")))?;
            if !key.starts_with("data.") || key == "data.path" {
                return Err(Error::Misuse(format!(
                    "`--set {entry}`: `inspect` looks at data, and takes what begins with `data.` (but no path)"
                )));
            }
            recipe::set(&mut asked, key, value)?;
        }
        recipe::set(&mut asked, "data.path", toml::Value::String(self.path.to_string_lossy().into_owned()))?;
        Ok(asked.remove("data").and_then(|data| data.try_into().ok()).unwrap_or_default())
    }

    /// The account of a data set.
    fn data_account(&self) -> Result<Account, Error> {
        let (path, data) = (self.path.as_path(), self.data()?);
        let others = || Images::recognises(path) || Series::recognises(path) || self.system.is_some();
        if let Some(first) = arrays::first(path).filter(|_| !others()) {
            return arrays::account(path, first, (&data, &self.set));
        }
        let description = self.member()?.look(data)?;
        let mut json = json!({ "kind": "data" });
        extend(&mut json, serde_json::to_value(&description).map_err(|e| Error::Failure(e.to_string()))?);
        Ok(Account::of(description.to_string(), json))
    }

    /// Whose kind of data they are.
    fn member(&self) -> Result<&'static dyn Member, Error> {
        match &self.system {
            Some(name) => family::find(name).map_err(Error::Misuse),
            None => Ok(family::looking(&self.path)?),
        }
    }

    /// The same where something was said of how to look.
    fn account_as(&self) -> Result<Account, Error> {
        let option = if self.system.is_some() { "--system" } else { "--set" };
        match deep::no_data(&self.path) {
            Some(what) => Err(Error::Misuse(format!(
                "`{option}` says how a data set is read, and {} is {what}: leave `{option}` out",
                self.path.display()
            ))),
            None => self.data_account(),
        }
    }
}

fn extend(json: &mut Value, more: Value) {
    if let (Value::Object(json), Value::Object(more)) = (json, more) {
        json.extend(more);
    }
}

fn run(path: &Path) -> Result<Account, Error> {
    let folder = RunFolder::open(path)?;
    let (member, recipe) = of_run(&folder)?;
    let session = member.open(recipe, &DeviceChoice::default().open()?, false)?;
    let (title, system, source) = (session.row().title, session.row().name, session.source());
    let (many, seed, batch) = (session.unit().many, session.seed(), session.train().batch);
    let steps = steps(session.as_ref())?;
    let path = folder.path();
    let (summary, checkpoints) = (Summary::read(&folder)?, checkpoint_steps(&folder));
    let state = match (&summary, checkpoints.last()) {
        (Some(summary), _) => {
            format!(
                "finished: {} steps in {}, {:.0} {many}/s",
                summary.steps,
                clock(summary.seconds),
                summary.samples_per_s
            )
        }
        (None, Some(step)) => {
            format!("at step {step} of {steps}: go on with `foretell train --resume {}`", word(path))
        }
        (None, None) => {
            format!("at step 0 of {steps}, no checkpoint yet: go on with `foretell train --resume {}`", word(path))
        }
    };
    let health = summary.as_ref().map(|summary| summary.health.clone()).or_else(|| last_judgement(&folder));
    let mut text = format!("run          {}\nsystem       {title} on {source}\nstate        {state}\n", path.display());
    let _ = writeln!(text, "settings     seed {seed}, batches of {batch} {many}; all in config.toml");
    let listed = checkpoints.iter().map(|step| format!("step {step}")).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "checkpoints  {}", if listed.is_empty() { "none" } else { &listed });
    if let Some(h) = &health {
        let _ = writeln!(
            text,
            "health       {} (effective rank {:.1}, untrained {:.1}; RankMe {:.1}; cosine {:.3})",
            h.verdict.word(),
            h.effective_rank,
            h.untrained_effective_rank,
            h.rankme,
            h.cosine_mean
        );
    }
    let encoder = folder.encoder().is_file().then(|| weights::tally(&folder.encoder())).transpose()?;
    if let Some(encoder) = &encoder {
        let _ = writeln!(
            text,
            "encoder      {} tensors, {} parameters (`foretell inspect {}`)",
            encoder.tensors,
            encoder.numbers,
            word(&folder.encoder())
        );
    }
    if let (Some(_), Some(found)) = (&summary, RunFindings::read(&folder)?) {
        text += &found.text();
    }
    let mut json = json!({
        "kind": "run",
        "system": system,
        "data": source,
        "finished": summary.is_some(),
        "step": summary.as_ref().map_or(checkpoints.last().copied().unwrap_or(0), |summary| summary.steps),
        "steps": steps,
        "checkpoints": checkpoints,
        "health": health,
        "encoder_parameters": encoder.map(|encoder| encoder.numbers),
    });
    extend(&mut json, summary.map_or(Value::Null, |summary| Value::Object(summary.figures)));
    Ok(Account::of(text, json))
}

fn last_judgement(folder: &RunFolder) -> Option<foretell_train::Health> {
    let text = std::fs::read_to_string(folder.metrics()).ok()?;
    let record = text.lines().rev().find_map(|line| serde_json::from_str::<HealthRecord>(line).ok())?;
    Some(record.health)
}

fn checkpoint(path: &Path) -> Result<Account, Error> {
    let Checkpoint { progress, model, optimiser } = Checkpoint::read(path)?;
    let count = |tensors: &foretell_nn::NamedTensors| tensors.values().map(|t| t.values.len()).sum::<usize>();
    let text = format!(
        "checkpoint   {}, whole (checksums agree)\nstep         {}, after {} of training\nmodel        {} tensors, {} numbers\noptimiser    {} tensors, {} numbers\neffective rank of held-out features {:.2}\n",
        path.display(),
        progress.step,
        clock(progress.seconds),
        model.len(),
        count(&model),
        optimiser.len(),
        count(&optimiser),
        progress.effective_rank,
    );
    let json = json!({
        "kind": "checkpoint",
        "step": progress.step,
        "seconds": progress.seconds,
        "effective_rank": progress.effective_rank,
        "model": { "tensors": model.len(), "numbers": count(&model) },
        "optimiser": { "tensors": optimiser.len(), "numbers": count(&optimiser) },
    });
    Ok(Account::of(text, json))
}
