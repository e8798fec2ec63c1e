//! A model of what a frozen encoder sees: its encoder is a run of images, named and not copied; trained in a world and from
//! recordings, planned with, gone on with, and refused where the encoder is not what it was.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::made::npz::{Method, bytes, floats, write};
use crate::plan::{refused, succeeded};
use crate::recorded::forecast;
use crate::resume::copy;
use crate::{controlled, findings};

/// A narrow I-JEPA of so many steps, of the pictures at a path.
fn encoder(data: &Path, run: &Path, size: &str, steps: &str) {
    let mut arguments =
        vec!["train", "i-jepa", "--data", data.to_str().unwrap(), "--image-size", size, "--steps", steps];
    for set in [
        "train.batch=16",
        "model.width=24",
        "model.heads=2",
        "model.depth=1",
        "model.predictor_width=12",
        "model.predictor_depth=1",
        "model.patch=8",
        "model.ema.initial_teacher_limit=1",
    ] {
        arguments.extend(["--set", set]);
    }
    succeeded(&[&arguments[..], &["--out", run.to_str().unwrap()]].concat(), "2");
}

/// Arguments of a narrow predictor on an encoder.
fn small(encoder: &Path) -> Vec<String> {
    let sets = ["train.batch=8", "model.width=24", "model.heads=2", "model.depth=1"].map(str::to_owned);
    let encoder = format!("model.encoder={}", encoder.display());
    sets.into_iter().chain([encoder]).flat_map(|set| ["--set".to_owned(), set]).collect()
}

fn train(sets: &[String], more: &[&str], run: &Path) -> Value {
    let sets = sets.iter().map(String::as_str);
    let arguments: Vec<&str> = ["train", "v-jepa-2-ac", "--json", "--out", run.to_str().unwrap()]
        .into_iter()
        .chain(sets)
        .chain(more.iter().copied())
        .collect();
    serde_json::from_str(&succeeded(&arguments, "2")).unwrap()
}

/// A square that moves by what is done, its place as its state, and the same pictures by themselves.
fn robot(root: &Path) {
    let (side, length) = (16_usize, 24_usize);
    let folder = root.join("robot");
    fs::create_dir(&folder).unwrap();
    let mut pictures = Vec::new();
    for episode in 0..10_usize {
        let (mut place, mut turn) = ([3 * episode % side, 5 * episode % side], episode);
        let (mut pixels, mut actions, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for t in 0..length {
            let near = |x: usize, y: usize| x.abs_diff(place[0]) < 3 && y.abs_diff(place[1]) < 3;
            pixels.extend((0..side * side * 3).map(|i| if near(i / 3 % side, i / 3 / side) { 250 } else { 10 }));
            states.extend(place.map(|x| x as f32 / side as f32));
            turn = (turn * 7 + 3 * t + 1) % 25;
            let action = [turn % 5, turn / 5];
            actions.extend(action.map(|x| x as f32 - 2.0));
            place = [0, 1].map(|k| (place[k] + action[k]).saturating_sub(2).min(side - 1));
        }
        let members = [
            ("observations", bytes(&format!("({length}, {side}, {side}, 3)"), pixels.clone())),
            ("actions", floats(&format!("({length}, 2)"), actions)),
            ("states", floats(&format!("({length}, 2)"), states)),
        ];
        write(&folder.join(format!("{episode}.npz")), &members, Method::Deflated);
        pictures.extend(pixels);
    }
    let images = [("images", bytes(&format!("({}, {side}, {side}, 3)", 10 * length), pictures))];
    write(&root.join("pictures.npz"), &images, Method::Deflated);
}

#[test]
fn it_learns_in_a_world_behind_an_encoder_of_recorded_pictures_and_plans_there() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let pictures = at("pictures.npz");
    let said = succeeded(&["record", "--pictures", "60", "--out", pictures.to_str().unwrap()], "2");
    assert!(said.contains("60 of play in two-rooms, 32 × 32"), "{said}");
    let again = at("again.npz");
    succeeded(&["record", "--pictures", "60", "--out", again.to_str().unwrap()], "1");
    assert!(fs::read(&again).unwrap() == fs::read(&pictures).unwrap(), "the same bytes on any threads");
    refused(&["record", "--out", at("x.npy").to_str().unwrap()], &["x.npy", ".npz"]);
    refused(&["record", "--world", "three-rooms", "--out", again.to_str().unwrap()], &["three-rooms", "two-rooms"]);
    encoder(&pictures, &at("encoder"), "32", "4");

    let (sets, run) = (small(&at("encoder")), at("run"));
    let summary = train(&sets, &["--steps", "6", "--checkpoint-every", "3"], &run);
    assert_eq!((&summary["system"], &summary["data"]), (&"v-jepa-2-ac".into(), &"two-rooms".into()));
    for of in ["model", "untrained", "last observation", "mean"] {
        let errors = forecast(&summary, of);
        assert!(errors.len() == 3 && errors.iter().all(|e| *e > 0.0 && e.is_finite()), "{of}: {errors:?}");
    }
    // A fresh predictor of changes says that there is none.
    let apart = |a: &str, b: &str| {
        forecast(&summary, a).iter().zip(forecast(&summary, b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    assert!(apart("untrained", "last observation") < 1e-4 && apart("model", "last observation") > 0.0, "{summary}");
    assert_eq!(controlled(&run), ["places", "forecast", "energy", "episodes"]);
    assert!(findings(&run)[1].lead.starts_with("Mean absolute error"), "its own energy");
    // Nothing of the encoder is copied.
    let read = |name: &str| fs::read(run.join(name)).unwrap();
    let model = safetensors::SafeTensors::deserialize(&read("model.safetensors"))
        .map(|file| file.names().into_iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(model.unwrap().iter().all(|name| name.starts_with("predictor.")));
    assert!(read("encoder.safetensors").len() < 100);

    // From its first half on it ends with the same bytes.
    let half = at("half");
    copy(&run, &half);
    for gone in ["summary.json", "findings.json", "report.html", "model.safetensors", "encoder.safetensors"] {
        fs::remove_file(half.join(gone)).unwrap();
    }
    fs::remove_dir_all(half.join("checkpoints/step-000000006")).unwrap();
    succeeded(&["train", "--resume", half.to_str().unwrap()], "2");
    for same in ["model.safetensors", "metrics.jsonl", "checkpoints/step-000000006/optimiser.safetensors"] {
        assert!(read(same) == fs::read(half.join(same)).unwrap(), "{same}");
    }
    assert_eq!(findings(&run), findings(&half));

    let plan = |more: &[&str]| -> Value {
        let arguments = ["plan", run.to_str().unwrap(), "--json", "--episodes", "2", "--steps", "8", "--horizon", "8"];
        serde_json::from_str(&succeeded(&[&arguments[..], more].concat(), "2")).unwrap()
    };
    let planned = plan(&["--planner", "cem", "--samples", "8", "--cost", "last"]);
    assert_eq!((&planned["system"], &planned["planner"]), (&"v-jepa-2-ac".into(), &"cem".into()));
    assert!(planned["calls_per_step"].as_f64() > Some(0.0) && planned["controls"]["random"].is_number(), "{planned}");
    refused(&["plan", run.to_str().unwrap(), "--horizon", "6"], &["horizon of 6", "blocks of 4"]);
    refused(&["plan", run.to_str().unwrap(), "--planner", "actor"], &["actor"]);

    // Another encoder in its place, and none.
    let name = run.to_str().unwrap();
    fs::rename(at("encoder"), at("elsewhere")).unwrap();
    refused(&["plan", name], &["`model.encoder`", at("encoder").to_str().unwrap(), "nothing there"]);
    encoder(&pictures, &at("encoder"), "32", "5");
    refused(
        &["plan", name],
        &["`model.encoder`", "not the one that this run began with", "`model.encoder_fingerprint`"],
    );
    let config = run.join("config.toml");
    let renewed =
        ["train", config.to_str().unwrap(), "--out", at("renewed").to_str().unwrap(), "--set"].map(str::to_owned);
    let renewed: Vec<&str> = renewed.iter().map(String::as_str).collect();
    refused(&[&renewed[..], &["seed=1"]].concat(), &["not the one"]);
    assert!(!at("renewed").exists(), "nothing half-written");
    succeeded(&[&renewed[..], &["model.encoder_fingerprint=auto"]].concat(), "2");
    // The run goes on where its encoder is back.
    fs::rename(at("encoder"), at("other")).unwrap();
    fs::rename(at("elsewhere"), at("encoder")).unwrap();
    plan(&["--planner", "random", "--samples", "4"]);
}

#[test]
fn it_learns_from_recordings_with_poses_and_says_what_does_not_fit() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    robot(root.path());
    encoder(&at("pictures.npz"), &at("encoder"), "16", "4");
    let (data, sets) = (at("robot"), small(&at("encoder")));
    let episodes = ["--data", data.to_str().unwrap(), "--steps", "4"];
    let run = at("run");
    let summary = train(&sets, &episodes, &run);
    assert_eq!(forecast(&summary, "untrained").len(), 8);
    assert_eq!(controlled(&run), ["forecast"]);
    let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    let model = |key: &str| config["model"][key].clone();
    assert_eq!((model("poses"), config["data"]["window"].clone()), (2.into(), 5.into()));
    assert_eq!(model("pose_scale")["mean"].as_array().unwrap().len(), 2);
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(["\"prediction\"", "\"roll_out\"", "\"pose\""].iter().all(|term| metrics.contains(term)), "{metrics}");

    // As released: actions are what poses changed by, and say the next pose.
    let released = ["data.differences=true", "model.pose_step=action", "model.scale=raw", "model.roll_out=official"];
    let released: Vec<&str> = released.iter().flat_map(|set| ["--set", set]).collect();
    let summary = train(&sets, &[&episodes[..], &released].concat(), &at("released"));
    assert!(forecast(&summary, "model").iter().all(|e| e.is_finite()));
    let metrics = fs::read_to_string(at("released").join("metrics.jsonl")).unwrap();
    assert!(!metrics.contains("\"pose\""), "nothing is learnt of poses");

    let refuse = |sets: &[String], more: &[&str], parts: &[&str]| {
        let out = at("refused");
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let arguments = ["train", "v-jepa-2-ac", "--out", out.to_str().unwrap()];
        refused(&[&arguments[..], &sets, &episodes, more].concat(), parts);
        assert!(!out.exists(), "nothing half-written");
    };
    refuse(&sets, &["--set", "model.poses=3"], &["`model.poses` is 3", "have 2 numbers"]);
    refuse(&sets, &["--set", "model.pose_step=action"], &["`model.pose_step`", "`model.scale`"]);
    refuse(&sets, &["--set", "model.heads=5"], &["`model.width` 24", "`model.heads` 5"]);
    refuse(&sets, &["--set", "data.window=2"], &["`data.window` is 2"]);
    refuse(&sets, &["--set", "model.rollout_weight=-1"], &["`model.rollout_weight`", "-1"]);
    refuse(&[], &[], &["`model.encoder` names no encoder"]);
    let wrong = |path: &str, parts: &[&str]| {
        refuse(&[], &["--set", &format!("model.encoder={}", at(path).display())], parts);
    };
    fs::create_dir(at("empty")).unwrap();
    wrong("empty", &["`model.encoder`", "config.toml", "config.json"]);
    wrong("nowhere", &["`model.encoder`", "nothing there"]);
    copy(&at("encoder"), &at("unfinished"));
    fs::remove_file(at("unfinished").join("encoder.safetensors")).unwrap();
    wrong("unfinished", &["not finished"]);
    // A model of recordings sees what it learnt from, and nothing else.
    let larger = at("larger.npz");
    crate::recorded::episodes(&larger, 32, &[20; 12]);
    let arguments =
        ["train", "le-wm", "--steps", "1", "--set", "train.batch=4", "--data", larger.to_str().unwrap(), "--out"];
    succeeded(&[&arguments[..], &[at("play").to_str().unwrap()]].concat(), "2");
    wrong("play", &["sees observations [3, 32, 32]", "[3, 16, 16]"]);
    // Without states there are no poses.
    train(&sets, &[&episodes[..], &["--set", "model.poses=0"]].concat(), &at("blind"));
}

#[test]
fn runs_of_clips_may_be_the_encoder() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    robot(root.path());
    for system in ["v-jepa", "le-v-jepa"] {
        let (encoder, run) = (at(system), at(&format!("{system}-ac")));
        let sets =
            ["model.width=24", "model.heads=2", "model.depth=1", "model.patch=8", "train.batch=4", "data.frames=4"];
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let arguments = ["train", system, "--steps", "2", "--set", "data.scenes.held_out=16", "--image-size", "16"];
        let judged = ["--set", "judge.train_samples=16", "--out", encoder.to_str().unwrap()];
        succeeded(&[&arguments[..], &sets, &judged].concat(), "2");
        let summary = train(&small(&encoder), &["--data", at("robot").to_str().unwrap(), "--steps", "3"], &run);
        for of in ["model", "last observation"] {
            let errors = forecast(&summary, of);
            assert!(errors.iter().all(|e| *e > 0.0 && e.is_finite()), "{system}, {of}: {errors:?}");
        }
    }
}

#[test]
fn a_published_model_may_be_the_encoder() {
    let root = tempfile::tempdir().unwrap();
    robot(root.path());
    let folder = crate::released::folder(root.path(), "i-jepa");
    let sets = small(&folder);
    let data = root.path().join("robot");
    let summary = train(&sets, &["--data", data.to_str().unwrap(), "--steps", "2"], &root.path().join("run"));
    assert!(forecast(&summary, "model").iter().all(|e| e.is_finite()), "{summary}");
}
