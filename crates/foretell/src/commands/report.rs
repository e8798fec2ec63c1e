//! `foretell report`: writes a finished run's report.html again.

use std::path::PathBuf;

use foretell_train::RunFolder;

use crate::Error;
use crate::account::write_report;
use crate::output::print;

/// What `report` was asked.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// A finished run's folder.
    run: PathBuf,
}

/// Runs the command.
pub fn report(args: &ReportArgs) -> Result<(), Error> {
    let folder = RunFolder::open(&args.run)?;
    write_report(&folder)?;
    print(format_args!("{}\n", folder.report().display()))
}
