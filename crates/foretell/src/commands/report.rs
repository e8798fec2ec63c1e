//! `foretell report`: writes a finished run's report.html again.

use std::path::PathBuf;

use foretell_train::RunFolder;

use crate::account::write_report;
use crate::kept::Kept;
use crate::output::print;
use crate::session::Session;
use crate::summary::Summary;
use crate::{DeviceChoice, Error};

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
    let kept = Kept::open(&args.run, args.device.open()?)?;
    let session = Session::open(kept.recipe.clone(), kept.device.clone())?;
    let untrained = session.untrained(&kept.folder)?;
    write_report(&kept.folder, &session, &finished(&kept.folder)?, kept.encoder.as_ref(), untrained.as_ref())?;
    print(format_args!("{}\n", kept.folder.report().display()))
}

fn finished(folder: &RunFolder) -> Result<Summary, Error> {
    let run = folder.path().display();
    Summary::read(folder)?
        .ok_or_else(|| Error::Misuse(format!("{run} is not finished: finish it with `foretell train --resume {run}`")))
}
