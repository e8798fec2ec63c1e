//! `foretell compare`: finished runs side by side, grouped over seeds.

use std::collections::BTreeSet;
use std::path::PathBuf;

use foretell_train::write_whole;

use crate::Error;
use crate::compared::{Compared, Comparison, grouped};
use crate::output::{print, print_json, say};

/// What `compare` was asked.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// Folders of finished runs. Those whose settings differ by the seed alone are one group; the others are held against the first
    /// one's.
    #[arg(required = true, num_args = 1.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Write a page with all figures and the curves there, an HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print a JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn compare(args: &CompareArgs) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for run in &args.runs {
        if !seen.insert(run.canonicalize().unwrap_or_else(|_| run.clone())) {
            return Err(Error::Misuse(format!("{} was named twice: name every run once", run.display())));
        }
    }
    let runs: Vec<Compared> = args.runs.iter().map(|run| Compared::read(run)).collect::<Result<_, _>>()?;
    if runs.len() < 2 {
        return Err(Error::Misuse(format!(
            "{} alone cannot be compared: name two runs or more (`foretell report {}` writes the page of one)",
            args.runs[0].display(),
            args.runs[0].display()
        )));
    }
    let groups = grouped(runs)?;
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let title = match names.as_slice() {
        [one] => format!("{one} over seeds"),
        [one, two] => format!("{one} and {two}"),
        [one, others @ ..] => format!("{one} and {} others", others.len()),
        [] => String::new(),
    };
    let comparison = Comparison::of(groups);
    if let Some(out) = &args.out {
        write_whole(out, comparison.page("Foretell comparison", &title, Vec::new()).as_bytes())?;
    }
    if args.json {
        return print_json(&comparison.json());
    }
    for note in comparison.notes() {
        say(format_args!("note: {note}"));
    }
    let sheets = comparison.sheets(true);
    print(sheets.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    args.out.as_ref().map_or(Ok(()), |out| print(format_args!("\npage  {}\n", out.display())))
}
