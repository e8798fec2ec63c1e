//! `foretell report`: writes a finished run's report.html again.

use std::path::{Path, PathBuf};

use foretell_train::RunFolder;

use crate::images::account::write_report;
use crate::images::kept::Kept;
use crate::output::print;
use crate::recipe::AnyRecipe;
use crate::session::Session;
use crate::summary::Summary;
use crate::{DeviceChoice, Error, world};

/// What `report` was asked.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// A finished run's folder.
    run: PathBuf,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
}

/// Runs the command.
pub fn report(args: &ReportArgs) -> Result<(), Error> {
    let folder = write(&args.run, args.device)?;
    print(format_args!("{}\n", folder.report().display()))
}

/// Writes the report of a finished run.
pub(super) fn write(run: &Path, device: DeviceChoice) -> Result<RunFolder, Error> {
    let (folder, device) = (RunFolder::open(run)?, device.open()?);
    let summary = finished(&folder)?;
    match AnyRecipe::of_run(&folder)? {
        AnyRecipe::Images(recipe) => {
            let kept = Kept::open(run, device.clone())?;
            let session = Session::open(recipe, device)?;
            let untrained = session.untrained(&folder)?;
            write_report(&folder, &session, &summary, kept.encoder.as_ref(), untrained.as_ref())?;
        }
        AnyRecipe::World(recipe) => world::account::write_report(&folder, &Session::open(recipe, device)?, &summary)?,
    }
    Ok(folder)
}

fn finished(folder: &RunFolder) -> Result<Summary, Error> {
    let run = folder.path().display();
    Summary::read(folder)?
        .ok_or_else(|| Error::Misuse(format!("{run} is not finished: finish it with `foretell train --resume {run}`")))
}
