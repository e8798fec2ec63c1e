//! `foretell probe`: what a run's encoder knows of labels, beside the same encoder untrained and raw pixels.

use std::path::PathBuf;

use foretell_eval::records;
use foretell_nn::Encode;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::images::OverImages;
use crate::images::judge::{self, probes};
use crate::images::kept::{Kept, Which};
use crate::images::session::open_data;
use crate::output::{print, print_json, say, say_skipped};
use crate::recipe::Over;
use crate::session::Session;
use crate::{DeviceChoice, Error};

/// What `probe` was asked.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// A run's folder.
    run: PathBuf,
    /// Judge the run as it was at a checkpoint, a step or `newest`; the run need not be finished.
    #[arg(long, value_name = "STEP")]
    checkpoint: Option<Which>,
    /// Labelled images to judge on: a folder, a tar, IDX files, CIFAR binaries. Without it, those of the run.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Print a JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// The outcome for scripts.
#[derive(Serialize)]
struct Judged<'a> {
    system: &'a str,
    data: String,
    #[serde(flatten)]
    figures: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
}

/// Runs the command.
pub fn probe(args: &ProbeArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let kept = match args.checkpoint {
        Some(which) => Kept::at_checkpoint(&args.run, device, which)?,
        None => Kept::open(&args.run, device)?,
    };
    let (session, untrained) = control(&kept, args)?;
    let judged = probes(&session, kept.encoder.as_ref(), untrained.as_ref())?;
    let data = args.data.as_ref().map_or(kept.recipe.over.source().to_owned(), |path| path.display().to_string());
    let Some(judge::Judged { probes, skipped }) = judged else {
        return Err(Error::Misuse(format!(
            "{data} cannot be probed: labels and a held-out part are needed, found {} kinds of labels and {} held-out images. Name labelled images with `--data`",
            session.data.factors().len(),
            session.data.len(foretell_data::Part::HeldOut)
        )));
    };
    say_skipped(&skipped);
    if args.json {
        print_json(&Judged { system: kept.recipe.over.system(), data, figures: records(&[probes]), skipped })
    } else {
        print(probes)
    }
}

/// The data to judge on, and the untrained control as the run made it.
fn control(kept: &Kept, args: &ProbeArgs) -> Result<(Session<OverImages>, Box<dyn Encode>), Error> {
    let other = args.data.as_ref().map(|path| open_data(&path.to_string_lossy())).transpose()?;
    let own = Session::open(kept.recipe.clone(), kept.device.clone());
    let Some(other) = other else {
        let own = own?;
        let untrained = own.untrained(&kept.folder)?;
        return Ok((own, untrained));
    };
    match own {
        Ok(own) => {
            let untrained = own.untrained(&kept.folder)?;
            Ok((Session { data: other, ..own }, untrained))
        }
        // The run's own images are needed for nothing but the running averages of the control.
        Err(error) if other.channels() == kept.encoder.channels() => {
            say(format_args!("note: {error}. The untrained control sees the images of `--data` instead"));
            let session = Session::of_data(kept.recipe.clone(), other, kept.device.clone());
            let untrained = session.untrained(&kept.folder)?;
            Ok((session, untrained))
        }
        Err(error) => Err(error),
    }
}
