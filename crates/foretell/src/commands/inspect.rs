//! `foretell inspect`: what a run, a checkpoint, a safetensors file or a data set holds.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use foretell_train::{Checkpoint, HealthRecord, RunFolder, checkpoint_steps};
use safetensors::tensor::Metadata;
use serde_json::{Value, json};

use crate::Error;
use crate::images::session::open_data;
use crate::output::{counted, print, print_json};
use crate::progress::clock;
use crate::recipe::{AnyRecipe, Over, Recipe};
use crate::summary::{Found, Summary};

/// What `inspect` was asked.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// A run's folder, a checkpoint's folder, a safetensors file or a data set.
    path: PathBuf,
    /// Print a JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// The same in words and for scripts.
struct Account {
    text: String,
    json: Value,
}

/// Runs the command.
pub fn inspect(args: &InspectArgs) -> Result<(), Error> {
    let path = &args.path;
    let account = if path.join("config.toml").is_file() {
        run(path)?
    } else if path.join("progress.json").is_file() {
        checkpoint(path)?
    } else if path.extension().is_some_and(|e| e == "safetensors") {
        tensors(path)?
    } else {
        let description = open_data(&path.to_string_lossy())?.describe();
        let mut json = json!({ "kind": "data" });
        extend(&mut json, serde_json::to_value(&description).map_err(|e| Error::Failure(e.to_string()))?);
        Account { text: description.to_string(), json }
    };
    if args.json { print_json(&account.json) } else { print(account.text) }
}

fn extend(json: &mut Value, more: Value) {
    if let (Value::Object(json), Value::Object(more)) = (json, more) {
        json.extend(more);
    }
}

fn run(path: &Path) -> Result<Account, Error> {
    let folder = RunFolder::open(path)?;
    match AnyRecipe::of_run(&folder)? {
        AnyRecipe::Images(recipe) => {
            let size = recipe.over.image_size()?;
            run_over(&folder, &recipe, &format!("images of {size} × {size} pixels"))
        }
        AnyRecipe::World(recipe) => {
            run_over(&folder, &recipe, &format!("windows of {} observations", recipe.over.play.window))
        }
    }
}

/// `seen` says what a batch is made of.
fn run_over<S: Over>(folder: &RunFolder, recipe: &Recipe<S>, seen: &str) -> Result<Account, Error> {
    let path = folder.path();
    let (steps, summary, checkpoints) = (recipe.steps()?, Summary::read(folder)?, checkpoint_steps(folder));
    let state = match (&summary, checkpoints.last()) {
        (Some(summary), _) => {
            format!(
                "finished: {} steps in {}, {:.0} {}/s",
                summary.steps,
                clock(summary.seconds),
                summary.found.rate(),
                S::SAMPLES
            )
        }
        (None, Some(step)) => {
            format!("at step {step} of {steps}: go on with `foretell train --resume {}`", path.display())
        }
        (None, None) => {
            format!("at step 0 of {steps}, no checkpoint yet: go on with `foretell train --resume {}`", path.display())
        }
    };
    let health = summary.as_ref().map(|summary| summary.health.clone()).or_else(|| last_judgement(folder));
    let mut text = format!(
        "run          {}\nsystem       {} on {}\nstate        {state}\n",
        path.display(),
        recipe.over.title(),
        recipe.over.source()
    );
    let _ =
        writeln!(text, "settings     seed {}, batch {}, {seen}; all in config.toml", recipe.seed, recipe.train.batch);
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
    let encoder = folder.encoder().is_file().then(|| read_header(&folder.encoder())).transpose()?;
    if let Some(encoder) = &encoder {
        let _ = writeln!(
            text,
            "encoder      {} tensors, {} parameters (`foretell inspect {}`)",
            encoder.rows.len(),
            encoder.parameters,
            folder.encoder().display()
        );
    }
    let found = summary.as_ref().map(|summary| &summary.found);
    if let Some(found) = found {
        let _ = write!(text, "{}", found.text());
    }
    let mut json = json!({
        "kind": "run",
        "system": recipe.over.system(),
        "data": recipe.over.source(),
        "finished": summary.is_some(),
        "step": summary.as_ref().map_or(checkpoints.last().copied().unwrap_or(0), |summary| summary.steps),
        "steps": steps,
        "checkpoints": checkpoints,
        "health": health,
        "encoder_parameters": encoder.map(|encoder| encoder.parameters),
    });
    match found {
        Some(Found::Images { probes, .. }) => json["probes"] = json!(probes),
        Some(Found::World { places, forecast, .. }) => {
            json["places"] = json!(places);
            json["forecast"] = json!(forecast);
        }
        None => {}
    }
    Ok(Account { text, json })
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
    Ok(Account { text, json })
}

/// What a safetensors file says it holds.
struct Tensors {
    rows: Vec<(String, String, Vec<usize>)>,
    parameters: usize,
    metadata: Vec<(String, String)>,
}

/// Reads the header alone: files may be larger than memory.
fn read_header(path: &Path) -> Result<Tensors, Error> {
    let unreadable = |e: std::io::Error| Error::Misuse(format!("cannot read {}: {e}", path.display()));
    let damaged =
        |reason: String| Error::Misuse(format!("{} is not a whole safetensors file: {reason}", path.display()));
    let mut file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| damaged(format!("it is {found} bytes long")))?;
    let header = u64::from_le_bytes(length);
    if header > 100_000_000 || header > found {
        return Err(damaged(format!("its header claims {header} bytes of {found}")));
    }
    let mut bytes = Vec::new();
    file.take(header).read_to_end(&mut bytes).map_err(unreadable)?;
    let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    let expected = 8 + header + metadata.data_len() as u64;
    if found != expected {
        return Err(damaged(format!("it is {found} bytes long where its header asks for {expected}")));
    }
    let tensors = metadata.tensors();
    let mut rows: Vec<_> =
        tensors.iter().map(|(name, info)| (name.clone(), format!("{:?}", info.dtype), info.shape.clone())).collect();
    rows.sort();
    let mut notes: Vec<_> =
        metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    notes.sort();
    let parameters = rows.iter().map(|(_, _, shape)| shape.iter().product::<usize>()).sum();
    Ok(Tensors { rows, parameters, metadata: notes })
}

fn tensors(path: &Path) -> Result<Account, Error> {
    let Tensors { rows, parameters, metadata } = read_header(path)?;
    let width = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}: {}, {parameters} numbers\n", path.display(), counted(rows.len(), "tensor"));
    for (name, dtype, shape) in &rows {
        let _ = writeln!(text, "  {name:width$}  {dtype:4}  {shape:?}");
    }
    for (key, value) in &metadata {
        let short: String = value.chars().take(60).collect();
        let more = if short.len() < value.len() { "…" } else { "" };
        let _ = writeln!(text, "  metadata {key}: {short}{more}");
    }
    let list: Vec<Value> =
        rows.iter().map(|(name, dtype, shape)| json!({ "name": name, "dtype": dtype, "shape": shape })).collect();
    let notes: serde_json::Map<String, Value> =
        metadata.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    Ok(Account {
        text,
        json: json!({ "kind": "safetensors", "parameters": parameters, "tensors": list, "metadata": notes }),
    })
}
