//! The `foretell` binary: parse, run, say what went wrong in one paragraph.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use foretell::Error;
use foretell::commands::{
    ablate, agent, bench, classify, compare, embed, export, inspect, judge, plan, play, probe, record, report, search,
    systems, train,
};
use foretell::interrupt::stop_on_interrupt;
use foretell::output::say;
use foretell_ops::InstructionSet;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Joint-embedding predictive architectures: train an encoder or a world model without labels, evaluate it, use it.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Begin with `foretell train`: it needs no data and takes under three minutes. `foretell plan` plans at once, with a small model that comes with the program."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train an encoder or a model of a world, and evaluate it.
    Train(train::TrainArgs),
    /// Play held-out episodes of a world with a trained model's plans, beside controls.
    Plan(plan::PlanArgs),
    /// Render one held-out episode as a GIF.
    Play(play::PlayArgs),
    /// Act with drives, a critic, a memory and a policy around a trained model of a world.
    Agent(agent::AgentArgs),
    /// Write pictures of play in a world, for an encoder of images to learn from.
    Record(record::RecordArgs),
    /// Evaluate a run's encoder on labelled data.
    Probe(probe::ProbeArgs),
    /// Put finished runs side by side: differences over equal seeds, every figure, health, curves.
    Compare(compare::CompareArgs),
    /// Judge the networks that runs have kept without labels, and hold that against a linear probe.
    Judge(judge::JudgeArgs),
    /// Train a system's ablation table and its baselines over several seeds, and show them as one.
    Ablate(ablate::AblateArgs),
    /// Write features of your data into a file, by a run or by a published model.
    Embed(embed::EmbedArgs),
    /// Write a run's encoder for transformers or as ONNX.
    Export(export::ExportArgs),
    /// Name the classes of images or clips with a published model's classifier.
    Classify(classify::ClassifyArgs),
    /// Describe a run, a checkpoint, weights, a clip or a data set.
    Inspect(inspect::InspectArgs),
    /// Write a finished run's report.html again.
    Report(report::ReportArgs),
    /// Find the samples whose features lie nearest to a query's.
    Search(search::SearchArgs),
    /// Time the work on this machine.
    Bench(bench::BenchArgs),
    /// List the family's members and their state.
    Systems(systems::SystemsArgs),
}

fn main() -> ExitCode {
    #[cfg(feature = "mimalloc")]
    foretell_ops::keep_freed_memory();
    let command = Cli::parse().command;
    let result = InstructionSet::current().map_err(Error::Misuse).and_then(|_| run(command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Train(args) => {
            stop_on_interrupt();
            train::train(&args)
        }
        Command::Plan(args) => plan::plan(&args),
        Command::Play(args) => play::play(&args),
        Command::Agent(args) => agent::agent(&args),
        Command::Record(args) => record::record(&args),
        Command::Probe(args) => probe::probe(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Judge(args) => judge::judge(&args),
        Command::Ablate(args) => {
            stop_on_interrupt();
            ablate::ablate(&args)
        }
        Command::Embed(args) => {
            stop_on_interrupt();
            embed::embed(&args)
        }
        Command::Export(args) => export::export(&args),
        Command::Classify(args) => {
            stop_on_interrupt();
            classify::classify(&args)
        }
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Report(args) => report::report(&args),
        Command::Search(args) => search::search(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Systems(args) => systems::systems(&args),
    }
}
