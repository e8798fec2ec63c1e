//! The `foretell` binary: parse, run, say what went wrong in one paragraph.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use foretell::commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Joint-embedding predictive architectures: train an encoder on unlabelled images, judge it, use it.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train an encoder and judge it.
    Train(commands::train::TrainArgs),
    /// The family's members and their state.
    Systems {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Train(args) => {
            commands::train::stop_on_interrupt();
            commands::train::train(&args)
        }
        Command::Systems { json } => {
            println!("{}", foretell::systems::table(json).trim_end());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
