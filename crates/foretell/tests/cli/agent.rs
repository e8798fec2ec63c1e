//! The agent around the built-in model: it learns, is killed and goes on, is tried and shown.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::foretell;
use crate::plan::{refused, succeeded};

/// Little of everything.
const SMALL: [&str; 12] =
    ["--played", "3", "--rounds", "1", "--lived", "2", "--steps", "6", "--updates", "8", "--horizon", "4"];

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect()
}

fn learn(folder: &Path) -> std::process::Command {
    let mut command = foretell();
    command.args(["agent", "--learn", "--modules"]).arg(folder).args(SMALL);
    command
}

#[test]
fn an_agent_that_is_killed_in_any_stage_learns_on_to_the_same_bytes_and_is_tried_and_shown() {
    let root = tempfile::tempdir().unwrap();
    let whole = root.path().join("whole");
    let output = learn(&whole).env("RAYON_NUM_THREADS", "1").output().unwrap();
    assert!(output.status.success(), "{}", crate::stderr(&output));
    let reference = files(&whole);
    let names: Vec<&str> = reference.keys().map(String::as_str).collect();
    let stages = ["actors", "critic-0", "critic-1", "lived-1", "play"].map(|stage| format!("{stage}.safetensors"));
    assert_eq!(names, [&stages[..3], &["learning.json".to_owned()], &stages[3..]].concat());

    // In the middle of the settings, of play, of what was lived and of the policies, and right after a critic.
    let cut = root.path().join("cut");
    for point in [
        "learning.json:half",
        "play.safetensors:half",
        "critic-0.safetensors",
        "lived-1.safetensors:half",
        "actors.safetensors:half",
    ] {
        let output = learn(&cut).env("FORETELL_STOP_AFTER", point).output().unwrap();
        assert!(!output.status.success(), "never came to {point}");
        if point == "lived-1.safetensors:half" {
            let folder = cut.to_str().unwrap();
            refused(&["agent", "--modules", folder], &[folder, "has not ended", "--learn"]);
        }
    }
    let output = learn(&cut).env("RAYON_NUM_THREADS", "4").output().unwrap();
    assert!(output.status.success(), "{}", crate::stderr(&output));
    assert!(files(&cut) == reference, "other bytes after four kills");

    let folder = whole.to_str().unwrap();
    let tried = |more: &[&str], threads: &str| -> Value {
        let short = ["agent", "--json", "--modules", folder, "--episodes", "2", "--steps", "6", "--cloning", "2"];
        let arguments: Vec<&str> = short.iter().chain(&["--horizon", "4"]).chain(more).copied().collect();
        let mut tried: Value = serde_json::from_str(&succeeded(&arguments, threads)).unwrap();
        let lines = |of: &mut Value| {
            for line in of.as_array_mut().unwrap() {
                let ms = line.as_object_mut().unwrap().remove("ms_per_step").unwrap();
                assert!(ms.as_f64() > Some(0.0), "{ms}");
            }
        };
        lines(&mut tried["ablations"]);
        lines(&mut tried["controls"]);
        tried["agent"].as_object_mut().unwrap().remove("ms_per_step");
        tried
    };
    let reach = tried(&["--ablate"], "1");
    assert_eq!(tried(&["--ablate"], "3"), reach, "on any number of threads");
    let names = |of: &str| -> Vec<String> {
        reach[of].as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(reach["agent"]["name"], "Mode-2, icem and the critic");
    assert_eq!(
        names("ablations"),
        ["Mode-2, icem, no critic", "Mode-1, the distilled policy", "Mode-1 before distillation"]
    );
    assert_eq!(
        names("controls"),
        [
            "random actions",
            "straight ahead",
            "cem on the true dynamics and costs",
            "behaviour cloning",
            "the shortest way"
        ]
    );
    assert_eq!(reach["ablations"][1]["calls_per_step"], 0.0, "a policy imagines nothing");
    assert!(reach["agent"].get("harmed").is_none(), "nothing harms here");
    // Another task with the same networks: what is done is something else.
    let flee = tried(&["--task", "flee"], "2");
    assert!(flee["agent"]["distance"].as_f64() > reach["agent"]["distance"].as_f64(), "{flee} {reach}");

    let page = root.path().join("episode.html");
    let arguments = ["agent", "--modules", folder, "--steps", "6", "--horizon", "4", "--film", page.to_str().unwrap()];
    let said = succeeded(&arguments, "2");
    assert!(said.contains("episode 0: ended") && said.contains("episode.html"), "{said}");
    let page = std::fs::read_to_string(page).unwrap();
    for part in ["Configurator", "Perception", "Intrinsic cost", "Critic", "Actor", "Memory", "data:image/png;base64,"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<g class=\"now\"").count(), 7, "a start and six steps");
    for outside in ["http", "@import", "<link", "<script", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }

    let other: Vec<&str> = ["agent", "--learn", "--modules", folder, "--rounds", "2"].to_vec();
    refused(&other, &[folder, "was begun with", "another folder"]);
    refused(&["agent", "--modules", folder, "--gauge", "latents"], &[folder, "`--gauge steps`"]);
    let settings = whole.join("learning.json");
    let text = std::fs::read_to_string(&settings).unwrap();
    let learning: Value = serde_json::from_str(&text).unwrap();
    std::fs::write(&settings, text.replace(learning["model"].as_str().unwrap(), "another")).unwrap();
    refused(&["agent", "--modules", folder], &[folder, "another model", "--modules"]);
    std::fs::write(&settings, "{").unwrap();
    refused(&["agent", "--modules", folder], &["learning.json", "says nothing"]);
}

#[test]
fn what_an_agent_cannot_do_is_refused_in_a_sentence() {
    for (more, parts) in [
        (&["--task", "raech"][..], &["unknown task `raech`", "did you mean `reach`"][..]),
        (&["--task", "avoid"], &["`--task avoid`", "two-rooms"]),
        (&["--planner", "icm"], &["unknown planner `icm`", "did you mean `icem`"]),
        (&["--planner", "actor"], &["unknown planner `actor`"]),
        (&["--critic", "on"], &["critic has not learnt", "--learn"]),
        (&["--mode", "1"], &["no policy has been distilled", "`reach`", "--learn"]),
        (&["--horizon", "0"], &["`--horizon`", "at least 1"]),
        (&["--horizon", "1", "--replan", "2"], &["`--replan` is at most 1", "found 2"]),
        (&["--replan", "11"], &["`--replan` is at most 10", "found 11"]),
        (&["--episodes", "0"], &["`--episodes`", "at least 1"]),
        (&["--gauge", "stpes"], &["stpes", "did you mean `steps`"]),
        (&["--modules", "nowhere"], &["nothing has been learnt in nowhere", "--learn"]),
        (&["--learn", "--steps", "5000"], &["2 to 1023 steps", "5000"]),
        (&["nowhere"], &["nowhere", "holds no run"]),
    ] {
        let arguments: Vec<&str> = ["agent"].iter().chain(more).copied().collect();
        refused(&arguments, parts);
    }
}
