//! A model of a world: trained, planned with, shown.

use std::path::Path;
use std::process::Output;

use foretell_world::WorldConfig;
use serde_json::Value;

use crate::recorded::forecast;
use crate::{controlled, foretell, pictures, stderr};

/// Short episodes and plans.
const SHORT: [&str; 4] = ["--steps", "12", "--horizon", "8"];

#[track_caller]
pub(crate) fn succeeded(arguments: &[&str], threads: &str) -> String {
    let output = foretell().args(arguments).env("RAYON_NUM_THREADS", threads).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn planned(more: &[&str], threads: &str) -> Value {
    let arguments: Vec<&str> = ["plan", "--json"].iter().chain(&SHORT).chain(more).copied().collect();
    let mut outcome: Value = serde_json::from_str(&succeeded(&arguments, threads)).unwrap();
    let time = outcome.as_object_mut().unwrap().remove("ms_per_step").unwrap();
    assert!(time.as_f64().is_some_and(|ms| ms > 0.0), "{time}");
    outcome
}

#[track_caller]
pub(crate) fn refused(arguments: &[&str], parts: &[&str]) {
    let output = foretell().args(arguments).output().unwrap();
    one_sentence(&output, parts);
}

#[track_caller]
pub(crate) fn one_sentence(output: &Output, parts: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("error: ") && text.trim_end().lines().count() == 1, "not one sentence: {text}");
    assert!(output.stdout.is_empty() && !text.contains("panicked"), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// A narrow EB-JEPA after two steps in a world: its summary, and what was said meanwhile.
fn small_run(world: &str, run: &Path) -> (Value, String) {
    small_run_with(world, run, &[])
}

/// The same with settings of its own.
fn small_run_with(world: &str, run: &Path, more: &[&str]) -> (Value, String) {
    let mut arguments = vec!["train", "eb-jepa", "--world", world, "--steps", "2", "--json"];
    let small = [
        "train.batch=8",
        "model.width=32",
        "model.widths=[8, 8]",
        "data.explore.layouts=3",
        "data.explore.episodes=2",
        "data.episode=20",
        "data.window=9",
    ];
    for setting in small.iter().chain(more) {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(["--out", run.to_str().unwrap()]);
    let output = foretell().args(arguments).env("RAYON_NUM_THREADS", "2").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    (serde_json::from_slice(&output.stdout).unwrap(), stderr(&output))
}

/// Whether images are spoken of, in a text or in a key of JSON.
fn says_images(said: &str) -> bool {
    let said = said.to_lowercase();
    said.split(|c: char| !c.is_alphanumeric()).any(|word| word == "image" || word == "images")
}

/// The words of a page, without its style and without the pixels that stand in it.
fn words(page: &str) -> String {
    let body = page.split("</style>").last().unwrap();
    let mut parts = body.split("data:image/");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |words, part| words + part.split_once('"').unwrap().1)
}

#[test]
fn the_built_in_model_plans_at_once_and_the_same_on_any_number_of_threads() {
    let one = planned(&["--episodes", "3"], "1");
    for key in [
        "world",
        "planner",
        "episodes",
        "success",
        "interval",
        "ever",
        "ever_interval",
        "solved_at_start",
        "controls",
        "controls_ever",
        "calls_per_step",
        "run",
        "system",
        "seed",
        "trained_steps",
        "trained_seed",
        "steps",
        "horizon",
        "replan",
        "cost",
        "distance",
    ] {
        assert!(one.get(key).is_some(), "{key}: {one}");
    }
    assert_eq!((&one["world"], &one["run"]), (&"two-rooms".into(), &"built-in".into()));
    assert_eq!((&one["planner"], &one["episodes"]), (&"actor".into(), &3.into()));
    let share = |value: &Value| value.as_f64().filter(|share| (0.0..=1.0).contains(share));
    let (low, high) = (share(&one["interval"][0]).unwrap(), share(&one["interval"][1]).unwrap());
    assert!(low <= share(&one["success"]).unwrap() && share(&one["success"]).unwrap() <= high, "{one}");
    for control in ["random", "greedy", "oracle", "truth"] {
        let [end, ever] = ["controls", "controls_ever"].map(|rule| share(&one[rule][control]).unwrap());
        assert!(end <= ever, "{control} was at the goal at the end, so it was at some step: {one}");
    }
    assert!(one["calls_per_step"].as_f64() > Some(0.0));
    for threads in ["2", "4"] {
        assert_eq!(planned(&["--episodes", "3"], threads), one, "{threads} threads");
    }
    assert_ne!(planned(&["--episodes", "3", "--seed", "4"], "2")["distance"], one["distance"]);
}

#[test]
fn every_planner_and_cost_keeps_its_budget() {
    for (planner, cost) in [
        ("random", "sum"),
        ("cem", "last"),
        ("icem", "min"),
        ("mppi", "discounted"),
        ("actor", "sum"),
        ("gradient", "discounted=0.9"),
    ] {
        let more = ["--episodes", "1", "--planner", planner, "--cost", cost, "--budget", "400", "--replan", "4"];
        let outcome = planned(&more, "2");
        let calls = outcome["calls_per_step"].as_f64().unwrap();
        assert_eq!(outcome["controls"].get("actor").is_none(), planner == "actor", "beside all others: {outcome}");
        assert!(calls > 0.0 && calls <= 100.0, "{planner}: {calls} calls a step of 400 for each four");
    }
}

#[test]
fn what_cannot_be_planned_is_refused_in_a_sentence() {
    for (more, parts) in [
        (&["--planner", "icm"][..], &["unknown planner `icm`", "did you mean `icem`"][..]),
        (&["--cost", "sun"], &["unknown cost `sun`", "did you mean `sum`"]),
        (&["--cost", "discounted=2"], &["discounted=2", "at most 1"]),
        (&["--budget", "0"], &["--budget", "at least 1"]),
        (&["--samples", "0"], &["--samples", "at least 1"]),
        (&["--samples", "200000"], &["--samples", "at most 100000", "found 200000"]),
        (&["--spread", "0"], &["--spread", "above 0", "found 0"]),
        (&["--budget", "5"], &["5 model calls", "at least 24"]),
        (&["--episodes", "0"], &["--episodes", "at least 1"]),
        (&["--gauge", "stpes"], &["stpes", "did you mean `steps`"]),
        (&["--horizon", "0"], &["--horizon", "at least 1"]),
        (&["--planner", "icem", "--horizon", "90000"], &["--horizon", "at most", "found 90000"]),
        (&["--steps", "0"], &["--steps", "at least 1"]),
        (&["--replan", "40"], &["--replan 40", "24"]),
        (&["--world", "maze"], &["built-in model", "two-rooms", "maze", "foretell train"]),
        (&["--world", "tow-rooms"], &["tow-rooms", "two-rooms"]),
        (&["nowhere"], &["nowhere", "holds no run"]),
        (&["--set", "model.width=3"], &["`--set`", "`model.width`", "Known here: data.world.resolution"]),
        (&["--set", "data.world.resolution=\"x\""], &["`--set`", "is no world"]),
        (&["--set", "data.world.resolution=16"], &["two-rooms", "trained on observations"]),
    ] {
        let arguments: Vec<&str> = ["plan"].iter().chain(more).copied().collect();
        refused(&arguments, parts);
        if !more.contains(&"--episodes") {
            let arguments: Vec<&str> = ["play"].iter().chain(more).copied().collect();
            refused(&arguments, parts);
        }
    }
}

#[test]
fn a_run_in_a_world_is_planned_with_shown_and_inspected() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let (summary, said) = small_run("two-rooms", &run);
    assert_eq!((&summary["system"], &summary["data"]), (&"eb-jepa".into(), &"two-rooms".into()));
    assert_eq!(summary["places"].as_array().map(Vec::len), Some(3), "trained, untrained, mean");
    let ahead = |of: &str| forecast(&summary, of).len();
    assert_eq!(["model", "last observation", "mean"].map(ahead), [8; 3], "eight steps in windows of nine");
    assert!(summary["samples_per_s"].as_f64() > Some(0.0));
    assert_eq!(controlled(&run), ["places", "forecast", "energy", "episodes"]);
    let report = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert_eq!(report.matches("data:image/gif;base64,").count(), 3);
    // A world shows windows of play.
    assert!(says_images("50 Images/s") && says_images("{\"image_size\":3}") && !says_images("an imagined state"));
    assert!(said.contains("windows/s") && !says_images(&said), "{said}");
    assert!(!says_images(&summary.to_string()), "{summary}");
    let words = words(&report);
    assert!(words.contains("What comes next") && !says_images(&words), "{words}");

    let path = run.to_str().unwrap();
    let outcome = planned(&[path, "--episodes", "2", "--world", "two-rooms"], "2");
    assert_eq!((&outcome["run"], &outcome["trained_steps"]), (&path.into(), &2.into()));
    refused(&["plan", path, "--world", "two-rooms-fixed"], &[path, "two-rooms-fixed", "leave out `--world`"]);
    refused(&["embed", path, path, "--out", "x.npz"], &["features of windows are not written", "planning"]);

    let arguments: Vec<&str> = ["play", path, "--episode", "1"].iter().chain(&SHORT).copied().collect();
    assert!(succeeded(&arguments, "2").contains("episode 1:"));
    let first = std::fs::read(run.join("two-rooms-episode-1.gif")).unwrap();
    assert!(first.starts_with(b"GIF89a"));
    succeeded(&arguments, "1");
    assert_eq!(std::fs::read(run.join("two-rooms-episode-1.gif")).unwrap(), first, "the same picture again");

    let said = succeeded(&["inspect", path], "2");
    for part in ["EB-JEPA on two-rooms", "Where things are", "untrained", "What comes next", "last observation"] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    // A report needs no network.
    std::fs::remove_file(run.join("report.html")).unwrap();
    std::fs::remove_file(run.join("model.safetensors")).unwrap();
    std::fs::remove_file(run.join("encoder.safetensors")).unwrap();
    succeeded(&["report", path], "2");
    assert_eq!(std::fs::read_to_string(run.join("report.html")).unwrap(), report, "the same report again");
    refused(&["plan", path], &[path, "not finished", "--resume"]);
}

#[test]
fn every_world_is_learnt_in_and_planned_in() {
    let root = tempfile::tempdir().unwrap();
    for world in WorldConfig::NAMES {
        let run = root.path().join(world);
        small_run_with(world, &run, &["judge.episodes=0"]);
        // Where chance decides, nobody knows the shortest way.
        let chance = world == "galton";
        let found = ["places", "forecast", "energy", "chance"];
        assert_eq!(controlled(&run), found[..if chance { 4 } else { 3 }], "{world}");
        let outcome = planned(&[run.to_str().unwrap(), "--episodes", "2", "--planner", "random"], "2");
        assert_eq!((&outcome["world"], outcome["controls"]["oracle"].is_number()), (&world.into(), !chance));
    }
}

#[test]
fn a_pole_that_must_not_fall_is_kept_up_while_pictures_seldom_come() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let (summary, _) = small_run_with("cart-pole", &run, &["data.world.resolution=16", "judge.episodes=1"]);
    assert_eq!(controlled(&run), ["places", "forecast", "energy", "silence", "episodes"]);
    let stands = |by: &str| -> Vec<f64> {
        let rows = summary["silence"].as_array().unwrap().iter().filter(|row| row["by"] == by);
        rows.map(|row| row["steps"].as_f64().unwrap()).collect()
    };
    let of = ["foretold latents", "the same, untrained", "the last action again"];
    for by in of {
        let steps = stands(by);
        assert!(steps.len() == 6 && steps.iter().all(|steps| (1.0..=200.0).contains(steps)), "{by}: {steps:?}");
    }
    // The regulator that is told the truth keeps it up all the time, and for a while when it is told seldom.
    let kalman = stands("Kalman filter on the true state");
    assert_eq!(kalman[..4], [200.0; 4], "{kalman:?}");
}

#[test]
fn a_policy_acts_beside_the_same_controls_and_is_asked_for_no_search() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let path = run.to_str().unwrap();
    let mut arguments = vec!["train", "act-jepa", "--world", "two-rooms", "--steps", "2", "--json", "--out", path];
    for setting in [
        "data.world.resolution=16",
        "data.episode=30",
        "data.demonstrations.episodes=4",
        "train.batch=8",
        "model.chunk=4",
        "model.width=16",
        "model.layers=1",
        "model.encoder.features=16",
        "judge.episodes=1",
    ] {
        arguments.extend(["--set", setting]);
    }
    let summary: Value = serde_json::from_str(&succeeded(&arguments, "2")).unwrap();
    assert_eq!((&summary["system"], &summary["data"]), (&"act-jepa".into(), &"two-rooms".into()));
    assert_eq!(controlled(&run), ["imitated", "foretold_states", "imitation", "episodes"]);

    let played = |more: &[&str], threads: &str| -> Value {
        let arguments: Vec<&str> =
            ["plan", path, "--json", "--episodes", "3", "--steps", "12"].iter().chain(more).copied().collect();
        let mut outcome: Value = serde_json::from_str(&succeeded(&arguments, threads)).unwrap();
        outcome.as_object_mut().unwrap().remove("ms_per_step");
        outcome
    };
    let outcome = played(&[], "1");
    assert_eq!(played(&[], "3"), outcome, "the same on any number of threads");
    assert_eq!(
        (&outcome["planner"], &outcome["replan"], &outcome["horizon"]),
        (&"chunks".into(), &4.into(), &4.into())
    );
    assert_eq!(outcome["calls_per_step"], 0.25);
    let controls = outcome["controls"].as_object().unwrap();
    assert_eq!(controls.keys().collect::<Vec<_>>(), ["random", "greedy", "oracle"], "nothing that plans");
    assert_eq!(played(&["--replan", "2"], "2")["calls_per_step"], 0.5);
    let ensemble = played(&["--planner", "ensemble"], "2");
    assert_eq!(
        (&ensemble["planner"], &ensemble["replan"], &ensemble["calls_per_step"]),
        (&"ensemble".into(), &1.into(), &1.0.into())
    );
    assert_ne!(ensemble["distance"], outcome["distance"]);
    let text = succeeded(&["plan", path, "--episodes", "2", "--steps", "12"], "2");
    for part in ["the policy, 4 of each chunk of 4 steps", "random actions", "the shortest way", "0.25 model calls"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    for (more, parts) in [
        (&["--horizon", "9"][..], &["`--horizon`", "searches for nothing", "leave it out"][..]),
        (&["--cost", "sum"], &["`--cost`", "a policy"]),
        (&["--budget", "9"], &["`--budget`", "a policy"]),
        (&["--levels", "1"], &["`--levels`", "a policy"]),
        (&["--gauge", "latents"], &["`--gauge`", "a policy"]),
        (&["--planner", "icem"], &["unknown planner of a policy `icem`", "chunks"]),
        (&["--planner", "ensemble", "--replan", "2"], &["ensemble", "`--replan 2`"]),
        (&["--replan", "5"], &["`--replan 5`", "the 4 that it has"]),
        (&["--replan", "0"], &["--replan", "at least 1"]),
        (&["--world", "maze"], &[path, "two-rooms", "maze", "foretell train act-jepa --world maze"]),
    ] {
        for command in ["plan", "play"] {
            let arguments: Vec<&str> = [command, path].iter().chain(more).copied().collect();
            refused(&arguments, parts);
        }
    }
    let said = succeeded(&["play", path, "--steps", "12"], "2");
    assert!(said.contains("grey where the plan leads\n") && run.join("two-rooms-episode-0.gif").is_file(), "{said}");
}

/// A protocol of two sets, moderate and strict; its text.
fn protocol() -> String {
    let pairs = r#"[{"start": [90.0, 60.0], "goal": [130.0, 52.0]}, {"start": [150.5, 90.0], "goal": [104.0, 47.0]},
        {"start": [60.0, 120.0], "goal": [120.0, 50.0]}]"#;
    let set = |near: f64, side: bool, random: f64| {
        format!(
            r#"{{"threshold_px": {near}, "route_required": {side}, "goal_side_required": {side}, "random_success_percent": {random}, "pairs": {pairs}}}"#
        )
    };
    format!(
        r#"{{"source": "here", "image_size": 224, "border": 14, "wall_axis": 1, "wall_center": 112, "wall_thickness": 10,
            "agent_radius": 7, "door_center": 49, "door_half": 14, "budget_steps": 50, "goal_offset_steps": 25,
            "protocols": {{"moderate": {}, "strict": {}}}}}"#,
        set(16.0, false, 7.0),
        set(8.0, true, 2.5)
    )
}

#[test]
fn a_protocol_is_played_by_its_own_rules() {
    let root = tempfile::tempdir().unwrap();
    let (run, file) = (root.path().join("run"), root.path().join("pairs.json"));
    small_run("two-rooms-clear", &run);
    std::fs::write(&file, protocol()).unwrap();
    let (run, file) = (run.to_str().unwrap(), file.to_str().unwrap());
    let arguments =
        ["plan", run, "--protocol", file, "--horizon", "25", "--replan", "25", "--planner", "random", "--samples", "9"];
    let json: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let played = |threads: &str| -> Value {
        let mut outcome: Value = serde_json::from_str(&succeeded(&json, threads)).unwrap();
        let sets = outcome["sets"].as_array_mut().unwrap();
        for set in sets {
            set.as_object_mut().unwrap().remove("ms_per_step");
        }
        outcome
    };
    let outcome = played("1");
    assert_eq!(played("2"), outcome, "the same on any number of threads");
    assert_eq!((&outcome["protocol"], &outcome["source"]), (&file.into(), &"here".into()));
    let sets = outcome["sets"].as_array().unwrap();
    for (set, (name, random)) in sets.iter().zip([("moderate", 0.07), ("strict", 0.025)]) {
        assert_eq!((&set["set"], &set["episodes"], &set["steps"]), (&name.into(), &3.into(), &50.into()));
        assert_eq!((&set["random_published"], &set["solved_at_start"]), (&random.into(), &0.0.into()));
        assert_eq!((&set["controls"]["oracle"], &set["controls_ever"]["oracle"]), (&1.0.into(), &1.0.into()), "{set}");
    }
    assert_eq!(sets.len(), 2);
    let text = succeeded(&arguments, "2");
    for part in [
        "two-rooms-clear, moderate, 3 episodes of 50 steps",
        "two-rooms-clear, strict, 3 episodes",
        "at the end",
        "at any step",
        "random actions",
        "straight ahead",
        "cem on the true dynamics",
        "the shortest way",
        "0.0 % were solved at the start",
        "2.5 % is published for random actions",
    ] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    let few: Vec<&str> = json.iter().copied().chain(["--episodes", "2"]).collect();
    let few: Value = serde_json::from_str(&succeeded(&few, "2")).unwrap();
    assert_eq!(few["sets"][1]["episodes"], 2);

    let whole = protocol();
    for (from, to, parts) in [
        ("\"wall_center\": 112", "\"wall_center\": 100", &["`wall_center` is 100", "it is 112"][..]),
        ("\"budget_steps\": 50", "\"budget_steps\": 0", &["`budget_steps`", "found 0"]),
        ("[90.0, 60.0]", "[112.0, 160.0]", &["start of pair 0 of `moderate`", "[112, 160]", "in a wall"]),
        ("[90.0, 60.0]", "[90.0, 1e38]", &["start of pair 0 of `moderate`"]),
        ("[104.0, 47.0]", "[104.0]", &["in `moderate`", "array of length 2"]),
        ("\"threshold_px\": 8", "\"threshold_px\": -8", &["`threshold_px` of `strict`", "found -8"]),
        ("\"door_half\": 14,", "", &["missing field `door_half`"]),
        ("{", "[", &["no protocol that can be played"]),
    ] {
        let wrong = whole.replace(from, to);
        assert_ne!(wrong, whole, "{from}");
        std::fs::write(file, wrong).unwrap();
        refused(&["plan", run, "--protocol", file], &[&[file][..], parts].concat());
    }
    refused(&["plan", run, "--protocol", "nowhere.json"], &["cannot read the protocol nowhere.json"]);
    refused(&["plan", "--protocol", file], &["the built-in model", "two-rooms-clear", "foretell train"]);
}

#[test]
fn images_and_worlds_are_not_mixed_up() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (root.path().join("data"), root.path().join("run"));
    pictures(&data, 8, 16);
    let (data, run) = (data.to_str().unwrap(), run.to_str().unwrap());
    let train = |more: &[&str], parts: &[&str]| {
        let arguments: Vec<&str> = ["train"].iter().chain(more).chain(&["--out", run]).copied().collect();
        refused(&arguments, parts);
        assert!(!Path::new(run).exists(), "{more:?} left something behind");
    };
    train(&["i-jepa", "--world", "two-rooms"], &["`--world`", "`data.world.kind`", "i-jepa", "learns from images"]);
    train(&["eb-jepa", "--data", data], &[data, "no `.npz` file"]);
    train(&["le-wm", "--on-bad-sample", "skip"], &["--on-bad-sample", "le-wm"]);
    train(&["eb-jepa", "--set", "data.window=1"], &["`data.window` is 1", "2 or more"]);
    train(&["eb-jepa", "--size", "tiny"], &["--size", "eb-jepa"]);
    train(&["--world", "tow-rooms"], &["tow-rooms", "two-rooms"]);
    train(&["eb-jepa", "--set", "data.world.resolution=3"], &["`data.world.resolution`", "16 to 256", "3"]);
    train(&["eb-jepa", "--set", "data.world.resoluton=32"], &["did you mean `data.world.resolution`"]);
    train(&["eb-jepa", "--set", "data.windw=9"], &["data.windw", "did you mean `data.window`"]);
    train(&["eb-jepa", "--set", "data.window=200"], &["must fit its episode"]);
    train(
        &["eb-jepa", "--set", "data.explore.episodes=100000"],
        &["100000 episodes of 91", "`data.explore`", "the weight of what asks for them"],
    );
    train(&["eb-jepa", "--set", "data.explore.places=1"], &["2 to 24 places", "1 places"]);
    train(&["eb-jepa", "--set", "model.width=0"], &["model.width", "at least 1"]);
}

#[test]
fn play_without_end_has_no_epochs() {
    refused(
        &["train", "eb-jepa", "--epochs", "2"],
        &["`epochs`", "windows are generated without end", "`train.steps`"],
    );
}
