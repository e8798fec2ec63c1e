//! A world model from recorded episodes: trained, judged, inspected, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::made::npz::{Method, bytes, floats, wholes, write};
use crate::plan::{refused, succeeded};
use crate::{controlled, findings, foretell, stderr};

/// Colour pictures of a bright square that the actions, of two numbers, push about; one action for each, in one file.
pub(crate) fn episodes(path: &Path, side: usize, lengths: &[usize]) {
    let (frames, actions) = played(side, lengths, 1);
    let lengths: Vec<i64> = lengths.iter().map(|length| *length as i64).collect();
    let members =
        [("observations", pictures(side, &frames)), ("actions", steps(actions)), ("lengths", wholes(&lengths))];
    write(path, &members, Method::Deflated);
}

/// Of each episode the pixels at every `every`th action, and the actions of all.
fn played(side: usize, lengths: &[usize], every: usize) -> (Vec<Vec<u8>>, Vec<f32>) {
    let (mut frames, mut actions, mut turn) = (Vec::new(), Vec::new(), 0_usize);
    for (e, length) in lengths.iter().enumerate() {
        let (mut pixels, mut place) = (Vec::new(), [(3 * e) % side, (5 * e) % side]);
        for t in 0..*length {
            if t % every == 0 {
                let near = |x: usize, y: usize| x.abs_diff(place[0]) < 3 && y.abs_diff(place[1]) < 3;
                let bright = |i: usize| if near(i / 3 % side, i / 3 / side) { 250 } else { 10 };
                pixels.extend((0..side * side * 3).map(bright));
            }
            turn = (turn * 7 + 3 * t + e + 1) % 25;
            let action = [turn % 5, turn / 5];
            actions.extend(action.map(|x| x as f32 - 2.0));
            place = [0, 1].map(|k| (place[k] + action[k] + side - 2).clamp(side, 2 * side - 1) - side);
        }
        frames.push(pixels);
    }
    (frames, actions)
}

fn pictures(side: usize, episodes: &[Vec<u8>]) -> Vec<u8> {
    let pixels = episodes.concat();
    bytes(&format!("({}, {side}, {side}, 3)", pixels.len() / (side * side * 3)), pixels)
}

fn steps(actions: Vec<f32>) -> Vec<u8> {
    floats(&format!("({}, 2)", actions.len() / 2), actions)
}

/// A narrow LeWorldModel in a few steps.
const SMALL: [&str; 14] = [
    "--steps",
    "4",
    "--set",
    "train.batch=8",
    "--set",
    "model.width=16",
    "--set",
    "model.encoder.widths=[8, 8]",
    "--set",
    "model.slices=16",
    "--set",
    "model.projector=32",
    "--set",
    "model.predictor.hidden=32",
];

fn train(system: &str, data: &Path, run: &Path, more: &[&str]) -> Value {
    let places = ["--data", data.to_str().unwrap(), "--out", run.to_str().unwrap(), "--json"];
    let arguments: Vec<&str> = ["train", system].iter().chain(&places).chain(more).copied().collect();
    serde_json::from_str(&succeeded(&arguments, "2")).unwrap()
}

fn config(run: &Path) -> toml::Table {
    fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap()
}

/// Errors of a forecast, from one step ahead on.
#[track_caller]
pub(crate) fn forecast(summary: &Value, of: &str) -> Vec<f64> {
    let rows: Vec<&Value> = summary["forecast"].as_array().unwrap().iter().filter(|row| row["of"] == of).collect();
    assert!(rows.iter().zip(1..).all(|(row, ahead)| row["ahead"] == ahead), "{rows:?}");
    rows.iter().map(|row| row["error"].as_f64().unwrap()).collect()
}

/// The windows that a forecast rests on.
fn windows(run: &Path) -> usize {
    let found = findings(run);
    let lead = &found.iter().find(|finding| finding.key == "forecast").unwrap().lead;
    let (head, _) = lead.split_once(" held-out windows").unwrap();
    head.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_run_over_recordings_is_judged_reported_and_inspected() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (root.path().join("play.npz"), root.path().join("run"));
    episodes(&data, 16, &[20; 12]);
    let summary = train("le-wm", &data, &run, &SMALL);
    let path = data.to_str().unwrap();
    assert_eq!((&summary["system"], &summary["data"], &summary["steps"]), (&"le-wm".into(), &path.into(), &4.into()));
    assert!(summary["samples_per_s"].as_f64() > Some(0.0));
    assert!(summary["health"]["verdict"].is_string() && summary.get("places").is_none(), "{summary}");
    for of in ["model", "last observation", "mean"] {
        let errors = forecast(&summary, of);
        assert!(errors.len() == 8 && errors.iter().all(|e| *e > 0.0 && e.is_finite()), "{of}: {errors:?}");
    }
    assert_eq!(controlled(&run), ["forecast"]);
    assert_eq!(windows(&run), 10, "one episode of 20 observations has 10 windows of 11");
    let copied = forecast(&summary, "last observation");
    assert!(copied[7] > copied[0], "what moves is farther away later: {copied:?}");

    let config = config(&run);
    let data_of = |key: &str| config["data"][key].as_integer();
    assert_eq!((data_of("window"), data_of("frameskip"), data_of("every")), (Some(4), Some(1), Some(1)));
    assert!(config.get("world").is_none() && config.get("play").is_none(), "{config}");
    for kept in ["encoder.safetensors", "model.safetensors", "metrics.jsonl", "checkpoints/step-000000004"] {
        assert!(run.join(kept).exists(), "{kept}");
    }
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("What comes next") && report.contains("recorded episodes"));
    assert!(!report.contains("image/gif") && !report.contains("foretell plan") && !report.contains("foretell play"));
    // A report needs no data.
    fs::remove_file(run.join("report.html")).unwrap();
    fs::rename(&data, root.path().join("elsewhere.npz")).unwrap();
    succeeded(&["report", run.to_str().unwrap()], "2");
    assert_eq!(fs::read_to_string(run.join("report.html")).unwrap(), report, "the same report again");
    fs::rename(root.path().join("elsewhere.npz"), &data).unwrap();

    let name = run.to_str().unwrap();
    let said = succeeded(&["inspect", name], "2");
    for part in
        [&format!("LeWorldModel on {path}"), "finished: 4 steps", "batches of 8 windows", "What comes next", "ahead"]
    {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    let told: Value = serde_json::from_str(&succeeded(&["inspect", name, "--json"], "2")).unwrap();
    assert_eq!(told["forecast"], summary["forecast"]);
    let said = succeeded(&["inspect", path], "2");
    assert!(said.contains("observations") && said.contains(&format!("foretell train --data {path}")), "{said}");
    for line in ["ends      12 not said\n", "actions   0 from -2 to 2, 1 from -2 to 2\n"] {
        assert!(said.contains(line), "`{line}` is not in {said}");
    }
    for place in [path, root.path().join("play").to_str().unwrap()] {
        if place != path {
            fs::create_dir(place).unwrap();
            fs::copy(path, format!("{place}/1.npz")).unwrap();
        }
        let told: Value = serde_json::from_str(&succeeded(&["inspect", place, "--json"], "2")).unwrap();
        let shape = &told["arrays"]["observations"]["shape"];
        assert_eq!((&told["ends"]["unsaid"], &told["action_ranges"][0][1]), (&12.into(), &2.0.into()));
        assert_eq!(
            (&told["kind"], &told["files"], shape[0].as_u64()),
            (&"arrays".into(), &1.into(), Some(240)),
            "{told}"
        );
    }
    let whole = fs::read(path).unwrap();
    fs::write(root.path().join("cut.npz"), &whole[..whole.len() / 2]).unwrap();
    refused(&["inspect", root.path().join("cut.npz").to_str().unwrap()], &["cut.npz"]);

    refused(&["plan", name], &[name, "learnt from windows", path, "--world two-rooms"]);
    refused(&["play", name], &[name, "learnt from windows", path, "--world two-rooms"]);
    refused(&["embed", name, path, "--out", "x.npz"], &["features of windows are not written"]);
    // The settings alone are the run.
    let again = root.path().join("again");
    succeeded(&["train", run.join("config.toml").to_str().unwrap(), "--out", again.to_str().unwrap()], "2");
    let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    assert!(model(&again) == model(&run));
    // Recordings have an end, so there are passes over them: 11 episodes of 17 windows.
    let passes = root.path().join("passes");
    let small: Vec<&str> = SMALL.iter().copied().skip(2).chain(["--epochs", "0.1"]).collect();
    assert_eq!(train("le-wm", &data, &passes, &small)["steps"], 3, "18.7 of 187 windows are three batches of 8");
}

#[test]
fn actions_may_lie_apart_and_be_more_than_observations() {
    let root = tempfile::tempdir().unwrap();
    let (frames, actions) = (root.path().join("frames"), root.path().join("actions.npz"));
    fs::create_dir(&frames).unwrap();
    let (clips, all) = played(16, &[40; 10], 3);
    for (e, clip) in clips.into_iter().enumerate() {
        write(&frames.join(format!("clip_{e:03}.npz")), &[("frames", pictures(16, &[clip]))], Method::Stored);
    }
    write(&actions, &[("action", steps(all)), ("episode_len", wholes(&[40; 10]))], Method::Stored);
    let apart = format!("data.actions={}", actions.display());
    let settings = ["--set", &apart, "--set", "data.every=3"];
    let run = root.path().join("run");
    train("le-wm", &frames, &run, &[&SMALL[..], &settings].concat());
    assert_eq!(windows(&run), 4, "14 observations have 4 windows of 11");
    let config = config(&run);
    assert_eq!(config["data"]["frameskip"].as_integer(), Some(3));
    let means = config["data"]["normalise_actions"]["mean"].as_array().unwrap();
    assert_eq!(means.len(), 6, "three actions of two numbers are one block");
    let said = succeeded(&[&["inspect", frames.to_str().unwrap()], &settings[..]].concat(), "2");
    assert!(said.contains("actions   0 from -2 to 2, 1 from -2 to 2\n") && said.contains(&apart), "{said}");

    // Two recorded observations further at a time, and no look ahead as long as eight of those.
    let run = root.path().join("skipping");
    let skipping = [&SMALL[..], &settings, &["--set", "data.frameskip=6"]].concat();
    let summary = train("le-wm", &frames, &run, &skipping);
    assert_eq!(forecast(&summary, "model").len(), 4, "7 of 14 observations: 3 and 4 ahead");

    let out = root.path().join("refused");
    let refuse = |sets: &[&str], parts: &[&str]| {
        let mut arguments = vec!["train", "le-wm", "--data", frames.to_str().unwrap(), "--out", out.to_str().unwrap()];
        arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
        refused(&arguments, parts);
        assert!(!out.exists(), "{sets:?} left something behind");
    };
    refuse(&[], &["clip_000.npz", "no `actions`", "`data.actions`"]);
    refuse(&[&apart], &["14 observations and 40 actions", "data.every = 3"]);
    refuse(&[&apart, "data.every=3", "data.frameskip=4"], &["data.frameskip", "multiple of `data.every`"]);
    refuse(&[&apart, "data.every=0"], &["data.every", "1 or more"]);
    refuse(&["data.actions=nowhere.npz"], &["nowhere.npz"]);
}

#[test]
fn eb_jepa_learns_from_recordings_without_what_needs_exploring() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (root.path().join("play.npz"), root.path().join("run"));
    episodes(&data, 16, &[20; 12]);
    let small = ["--steps", "2", "--set", "train.batch=8", "--set", "model.width=32", "--set", "model.widths=[8, 8]"];
    let summary = train("eb-jepa", &data, &run, &small);
    assert_eq!(forecast(&summary, "model").len(), 8);
    let config = config(&run);
    assert_eq!(config["data"]["window"].as_integer(), Some(9), "one and eight steps of rollout");
    for term in ["reach", "reach_ahead", "actor"] {
        assert_eq!(config["model"]["terms"][term].as_float(), Some(0.0), "{term}");
    }
    let data = data.to_str().unwrap();
    refused(
        &["train", "eb-jepa", "--data", data, "--set", "model.terms.reach=6.0"],
        &["model.terms.reach", "or `model.terms.reach` to 0", "recorded episodes"],
    );
}

#[test]
fn recordings_that_changed_are_noticed() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (root.path().join("play.npz"), root.path().join("run"));
    episodes(&data, 16, &[20; 12]);
    train("le-wm", &data, &run, &SMALL);
    let model = fs::read(run.join("model.safetensors")).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    let resume = || foretell().args(["train", "--resume"]).arg(&run).output().unwrap();
    episodes(&data, 16, &[20, 21, 19, 20, 20, 20, 20, 20, 20, 20, 20, 20]);
    let said = resume();
    assert_eq!(said.status.code(), Some(2));
    assert!(stderr(&said).contains("not what this run began with"), "{}", stderr(&said));
    episodes(&data, 16, &[20; 12]);
    let said = resume();
    assert!(said.status.success(), "{}", stderr(&said));
    assert!(fs::read(run.join("model.safetensors")).unwrap() == model);
    // Other episodes are another run, measured anew.
    let (other, fresh) = (root.path().join("other.npz"), root.path().join("fresh"));
    episodes(&other, 16, &[24; 11]);
    let config_file = run.join("config.toml");
    train(config_file.to_str().unwrap(), &other, &fresh, &[]);
    let of = |run: &Path, key: &str| config(run)["data"][key].clone();
    for key in ["fingerprint", "normalise", "path"] {
        assert_ne!(of(&run, key), of(&fresh, key), "{key}");
    }
    assert_eq!(of(&run, "window"), of(&fresh, "window"));
}

#[test]
fn what_cannot_be_learnt_from_is_refused_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let place = |name: &str| root.path().join(name);
    let good = place("good.npz");
    episodes(&good, 16, &[20; 12]);
    let file = |name: &str, members: &[(&str, Vec<u8>)]| -> PathBuf {
        write(&place(name), members, Method::Deflated);
        place(name)
    };
    let (frames, actions) = played(16, &[20, 20], 1);
    let (frames, actions) = (pictures(16, &frames), steps(actions));
    let train = |data: &Path, more: &[&str], parts: &[&str]| {
        let data = ["--data", data.to_str().unwrap(), "--out", run.to_str().unwrap()];
        let arguments: Vec<&str> = ["train"].iter().chain(more).chain(&data).copied().collect();
        refused(&arguments, parts);
        assert!(!run.exists(), "{more:?} left something behind");
    };
    let unlike = file(
        "unlike.npz",
        &[("observations", frames.clone()), ("actions", actions.clone()), ("lengths", wholes(&[20, 19]))],
    );
    train(&unlike, &["le-wm"], &["unlike.npz", "adds up to 39, but there are 40 actions"]);
    let blind = file("blind.npz", &[("actions", actions)]);
    train(&blind, &["le-wm"], &["blind.npz", "neither `observations` nor `frames`"]);
    let still = file("still.npz", &[("observations", frames)]);
    train(&still, &["le-wm"], &["still.npz", "no `actions`"]);
    train(&place("none.npz"), &["le-wm"], &["none.npz"]);
    train(&good, &["le-wm", "--world", "two-rooms"], &["`--world`", "good.npz", "leave it out"]);
    train(&good, &["le-wm", "--set", "data.episode=9"], &["unknown setting `data.episode`"]);
    train(&good, &["le-wm", "--set", "data.world.kind=maze"], &["unknown setting `data.world`"]);
    train(&good, &["le-wm", "--set", "data.evry=3"], &["data.evry", "did you mean `data.every`"]);
    train(&good, &["le-wm", "--set", "data.window=3"], &["`data.window` is 3", "3 before it", "4 or more"]);
    train(&good, &["le-wm", "--set", "data.window=21"], &["hold no window of 21 observations", "`data.window`"]);
    train(&good, &["le-wm", "--size", "tiny"], &["--size", "le-wm"]);
    train(
        &good,
        &["le-jepa"],
        &["good.npz", "le-jepa learns from images", "holds windows", "foretell train eb-jepa --data"],
    );
    refused(&["train", "le-wm", "--set", "data.every=3"], &["unknown setting `data.every`", "data.window"]);
}
