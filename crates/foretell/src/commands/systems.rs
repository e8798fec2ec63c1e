//! `foretell systems`: the family's members and their state.

use crate::output::print;
use crate::{Error, systems};

/// What `systems` was asked.
#[derive(Debug, clap::Args)]
pub struct SystemsArgs {
    /// Print a JSON array with one object for each system.
    #[arg(long)]
    json: bool,
    /// Print the README's table.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Runs the command.
pub fn systems(args: &SystemsArgs) -> Result<(), Error> {
    print(if args.markdown { systems::markdown(&systems::SYSTEMS) } else { systems::table(args.json) })
}
