//! `foretell probe`: what a run's encoder knows of labels, or learns from them, beside the same encoder untrained and a baseline.

use std::path::PathBuf;

use foretell_systems::{ProbeKind, Probing};
use foretell_train::load_control;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::kept::{KeptRun, Which};
use crate::output::{print, print_json, say, skipped_line};
use crate::{DeviceChoice, Error};

/// What `probe` was asked.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// A run's folder.
    run: PathBuf,
    /// Evaluate the run as it was at a checkpoint, a step or `newest`; the run need not be finished.
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<Which>,
    /// Labelled data to evaluate on, of the kind that the run learnt from; without it, those of the run.
    #[arg(long)]
    data: Option<PathBuf>,
    /// How to read the labels: linear (and nearest neighbours), attentive, finetune, predictor; several with commas. Without it, as the run's
    /// recipe says: linear, unless it was told otherwise.
    #[arg(long, value_name = "PROBE", value_delimiter = ',')]
    probe: Vec<ProbeKind>,
    /// Change a setting of the evaluation, such as `judge.attentive.blocks=4`; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print a JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Probed<'a> {
    system: &'a str,
    data: String,
    #[serde(flatten)]
    figures: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
}

/// Runs the command.
pub fn probe(args: &ProbeArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let own = args.data.is_none();
    let mut kept = match args.checkpoint {
        Some(which) => KeptRun::at_checkpoint(&args.run, &device, own, (which, &args.set))?,
        None => KeptRun::finished_judged(&args.run, &device, own, &args.set)?,
    };
    // The control as the run had it; without a batch norm there is nothing to load.
    load_control(kept.learner.as_mut(), &kept.folder)?;
    let KeptRun { session, learner, encoder, .. } = &kept;
    let data = args.data.as_ref().map_or(session.source(), |path| path.display().to_string());
    let path = args.data.as_deref();
    let asked = Probing { encoder: encoder.clone(), path, probes: &args.probe, ..Probing::default() };
    let judged =
        session.probe(learner.as_ref(), asked).map_err(|error| kept.misfit(&kept.folder.encoder(), error.into()))?;
    if let Some(line) = skipped_line(&judged.skipped, session.unit()) {
        say(line);
    }
    if args.json {
        let figures = foretell_eval::records(&judged.findings);
        let mut notes: Vec<&str> =
            judged.findings.iter().flat_map(|finding| &finding.notes).map(String::as_str).collect();
        // Two probes of the same labels say the same.
        notes.dedup();
        let skipped = judged.skipped;
        return print_json(&Probed { system: session.row().name, data, figures, notes, skipped });
    }
    print(judged.findings.iter().map(ToString::to_string).collect::<String>())
}
