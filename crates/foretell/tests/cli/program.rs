//! A world that a program of the user's plays: learnt in, planned in and come back to, and every way in which the program can fail.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::plan::one_sentence;
use crate::{controlled, foretell, stderr};

/// The program with what is to go wrong, for `FORETELL_WORLD`. It is written in Python, which must be at hand as `python3`.
fn dot(wrong: &str) -> String {
    format!("python3 '{}/tests/cli/program/dot.py' {wrong}", env!("CARGO_MANIFEST_DIR"))
}

fn with(world: &str, arguments: &[&str]) -> Command {
    let mut command = foretell();
    command.args(arguments).env("FORETELL_WORLD", world).env("RAYON_NUM_THREADS", "2");
    command
}

fn training<'a>(run: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let small = [
        "train.batch=8",
        "model.width=16",
        "model.encoder.widths=[8, 8]",
        "model.projector=32",
        "model.reach=0",
        "data.window=5",
        "data.episode=30",
    ];
    let mut arguments = vec!["train", "le-wm", "--world", "program", "--steps", "2", "--json"];
    for setting in small {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(more);
    arguments.extend(["--out", run.to_str().unwrap()]);
    arguments
}

#[track_caller]
fn succeeded(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_world_of_another_program_is_learnt_in_and_planned_in() {
    let root = tempfile::tempdir().unwrap();
    let (run, stopped) = (root.path().join("run"), root.path().join("stopped"));
    succeeded(&with(&dot(""), &training(&run, &["--set", "judge.episodes=0"])).output().unwrap());
    assert_eq!(controlled(&run), ["places", "forecast", "energy"]);

    let path = run.to_str().unwrap();
    let plan = ["plan", path, "--json", "--episodes", "4", "--steps", "12", "--horizon", "8", "--planner", "random"];
    let mut planned = succeeded(&with(&dot(""), &plan).output().unwrap());
    assert_eq!((&planned["world"], &planned["steps"]), (&"dot".into(), &12.into()));
    for control in ["oracle", "greedy"] {
        assert_eq!(planned["controls"][control], 1.0, "nothing is in the way: {planned}");
    }
    // The same from a program that answers on four threads, and from one that knows no way.
    let again = with(&dot(""), &plan).env("RAYON_NUM_THREADS", "4").output().unwrap();
    let mut again = succeeded(&again);
    let bare = succeeded(&with(&dot("bare 0"), &plan).output().unwrap());
    for outcome in [&mut planned, &mut again] {
        outcome.as_object_mut().unwrap().remove("ms_per_step");
    }
    assert_eq!(planned, again);
    assert!(bare["controls"].get("greedy").is_none() && bare["controls"].get("oracle").is_none(), "{bare}");
    let text = with(&dot("bare 0"), &plan.map(|a| if a == "--json" { "--seed=0" } else { a })).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("random actions") && !text.contains("straight ahead"), "{text}");

    // A run names no program, and goes on to the same bits with the one that the environment names.
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("name = \"dot\"") && !config.contains("python"), "{config}");
    let kept = ["--set", "judge.episodes=0", "--checkpoint-every", "1"];
    let first = with(&dot(""), &training(&stopped, &kept)).env("FORETELL_STOP_AFTER", "1:checkpoint").output();
    assert!(!first.unwrap().status.success(), "it ends as by a kill behind its first checkpoint");
    let there = stopped.to_str().unwrap();
    let other = with(&dot("other 0"), &["train", "--resume", there]).output().unwrap();
    one_sentence(&other, &["`data.world.name` is `dot`", "plays `other`", "FORETELL_WORLD"]);
    succeeded(&with(&dot(""), &["train", "--resume", there, "--json"]).output().unwrap());
    let weights = |run: &Path| std::fs::read(run.join("model.safetensors")).unwrap();
    assert!(weights(&run) == weights(&stopped), "not the same weights");
}

#[test]
fn what_a_program_does_wrong_is_told_in_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let arguments = training(&run, &[]);
    for (world, parts) in [
        (String::new(), vec!["FORETELL_WORLD", "found nothing", "docs/worlds.md"]),
        ("python3 'half".to_owned(), vec!["FORETELL_WORLD", "`python3 'half`"]),
        ("no-such-program-of-mine".to_owned(), vec!["`no-such-program-of-mine`", "cannot be started"]),
        ("true".to_owned(), vec!["`true` ended (exit status: 0) instead of answering"]),
        (dot("text 0"), vec!["answered `spec` with `a dot, somewhere`"]),
        (dot("text 9"), vec!["with `a dot, somewhere`", "docs/worlds.md"]),
        (dot("ends 40"), vec!["ended (exit status: 3) instead of answering"]),
        (dot("closed 3"), vec!["closed its output instead of answering"]),
        (dot("error 9"), vec!["cannot answer `", "the dot is lost"]),
        (dot("short 9"), vec!["answered `", "numbers of `", "and its `spec` says"]),
        (dot("nothing 9"), vec!["answered `"]),
    ] {
        let output = with(&world, &arguments).output().unwrap();
        one_sentence(&output, &parts);
        assert!(!run.exists(), "{world}: a run was begun");
    }
}

#[test]
fn a_program_that_says_nothing_is_not_waited_for_without_end() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let arguments = training(&run, &[]);
    let asked =
        |seconds: &str| with(&dot("silent 3"), &arguments).env("FORETELL_WORLD_SECONDS", seconds).output().unwrap();
    one_sentence(&asked("1"), &["has not answered `", "within 1 s", "FORETELL_WORLD_SECONDS"]);
    one_sentence(&asked("soon"), &["FORETELL_WORLD_SECONDS", "from 1 to 86400", "found `soon`"]);
    assert!(!run.exists(), "a run was begun");
}

/// The program ends in the middle of a training: what was kept goes on with one that lives.
#[test]
fn a_program_that_ends_leaves_a_run_that_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let arguments = training(&run, &["--set", "train.steps=4000", "--set", "judge.episodes=0"]);
    let arguments: Vec<&str> = arguments.into_iter().filter(|a| !["--steps", "2"].contains(a)).collect();
    // Windows are measured before the run begins, some ten thousand answers.
    let output = with(&dot("ends 60000"), &arguments).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("instead of answering") && !text.contains("panicked"), "{text}");
    assert!(run.join("config.toml").exists());
}
