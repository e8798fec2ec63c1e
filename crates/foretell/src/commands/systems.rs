//! `foretell systems`: the family's members and their state.

use std::fmt::Write as _;

use foretell_systems::{Entry, FAMILY, Row};
use serde_json::{Value, json};

use crate::Error;
use crate::output::print;

/// What `systems` was asked.
#[derive(Debug, clap::Args)]
pub struct SystemsArgs {
    /// Print a JSON array with one object for each system.
    #[arg(long)]
    json: bool,
    /// Print the table of the README.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

/// Runs the command.
pub fn systems(args: &SystemsArgs) -> Result<(), Error> {
    let rows: Vec<&Row> = FAMILY.iter().map(Entry::row).collect();
    print(match (args.json, args.markdown) {
        (true, _) => as_json(&rows),
        (_, true) => markdown(&rows),
        _ => as_text(&rows),
    })
}

fn as_json(rows: &[&Row]) -> String {
    let row = |row: &&Row| {
        json!({
            "number": row.number,
            "name": row.name,
            "title": row.title,
            "one_line": row.one_line,
            "papers": row.papers,
            "state": row.state.word(),
            "note": row.state.note(),
        })
    };
    format!("{:#}\n", Value::Array(rows.iter().map(row).collect()))
}

fn as_text(rows: &[&Row]) -> String {
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let indent = 2 + 2 + name_width + 2 + 7 + 2;
    let mut text = format!(" #  {:name_width$}  {:7}  what it does\n", "system", "state");
    for Row { number, name, state, one_line, .. } in rows {
        let _ = writeln!(text, "{number:2}  {name:name_width$}  {:7}  {one_line}", state.word());
        if let Some(note) = state.note() {
            let _ = writeln!(text, "{:indent$}({note})", "");
        }
    }
    let count = |word| rows.iter().filter(|row| row.state.word() == word).count();
    let (trains, partial, planned) = (count("trains"), count("partial"), count("planned"));
    let _ = writeln!(text, "\n{trains} train, {partial} partial, {planned} planned.");
    text
}

/// The family's table as it stands in the README.
pub fn markdown(rows: &[&Row]) -> String {
    let mut text = "| # | system | state | what it does |\n|---|---|---|---|\n".to_owned();
    for Row { number, title, state, one_line, .. } in rows {
        let note = state.note().map(|note| format!(": {note}")).unwrap_or_default();
        let _ = writeln!(text, "| {number} | {title} | {}{note} | {one_line} |", state.word());
    }
    text
}
