//! The binary from outside: runs that are killed and go on, and input that it must refuse.

#[path = "../../../foretell-data/tests/made/mod.rs"]
mod made;

mod agent;
mod brought;
mod clips;
mod comparing;
mod connectomes;
mod eeg;
mod export;
mod frozen;
mod graphs;
mod input;
mod kernels;
mod plan;
mod precision;
mod probing;
mod program;
mod recorded;
mod released;
mod resume;
mod search;
mod series;
mod uses;

use std::path::Path;
use std::process::{Command, Output};

use foretell_eval::Finding;

/// The binary, with nothing of the caller's that would change what it does.
fn foretell() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretell"));
    command.env_remove("RAYON_NUM_THREADS").env("RUST_BACKTRACE", "0");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder of `count` pictures without labels.
fn pictures(root: &Path, count: usize, side: usize) {
    std::fs::create_dir_all(root).unwrap();
    for i in 0..count {
        std::fs::write(root.join(format!("{i:03}.png")), made::png(side, side, 3, i)).unwrap();
    }
}

/// What a run found.
#[track_caller]
fn findings(run: &Path) -> Vec<Finding> {
    let text = std::fs::read_to_string(run.join("findings.json")).unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(file["findings"].take()).unwrap()
}

/// The keys of what a run found, all of it with its controls.
#[track_caller]
fn controlled(run: &Path) -> Vec<String> {
    let found = findings(run);
    for finding in &found {
        assert_eq!(finding.missing_control().or(finding.fault()), None);
    }
    found.into_iter().map(|finding| finding.key).collect()
}
