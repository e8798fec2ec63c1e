//! One sample that cannot be read loses no work, and a run finds its data wherever they and it are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::input::one_sentence;
use crate::{foretell, graphs, made, stderr};

/// Labelled pictures, a place for runs, and a run that nothing disturbed.
pub(super) struct Bench {
    root: tempfile::TempDir,
}

const SETTINGS: [&str; 10] = [
    "train.health_every=6",
    "train.log_every=1",
    "train.batch=8",
    "train.loader_threads=2",
    "model.width=16",
    "model.heads=2",
    "model.depth=1",
    "model.predictor_width=16",
    "model.predictor_depth=1",
    "model.patch=4",
];

/// Every tenth picture or so is held out by its name: these are, and are not.
const PICTURES: usize = 120;

pub(super) fn name(index: usize) -> String {
    format!("{}/{index:03}.png", if index.is_multiple_of(2) { "even" } else { "odd" })
}

pub(super) fn picture(index: usize) -> Vec<u8> {
    made::png(16, 16, 3, index)
}

/// As many bytes that are no picture: what a disk or a copy does without a trace in a listing.
pub(super) fn spoilt(index: usize) -> Vec<u8> {
    let mut bytes = picture(index);
    bytes[8..].fill(0);
    bytes
}

impl Bench {
    pub(super) fn new() -> Self {
        let bench = Self { root: tempfile::tempdir().unwrap() };
        (0..PICTURES).for_each(|index| bench.put(index, &picture(index)));
        bench
    }

    pub(super) fn place(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.place("data")
    }

    pub(super) fn put(&self, index: usize, bytes: &[u8]) {
        made::folder(&self.data(), [(name(index).as_str(), bytes.to_vec())]);
    }

    pub(super) fn remove(&self, index: usize) {
        fs::remove_file(self.data().join(name(index))).unwrap();
    }

    fn command(data: &Path, run: &Path, steps: &str) -> Command {
        let mut command = foretell();
        command.args(["train", "i-jepa", "--seed", "7", "--set", "train.checkpoint_every=5", "--steps", steps]);
        for set in SETTINGS {
            command.args(["--set", set]);
        }
        command.arg("--data").arg(data).arg("--out").arg(run);
        command
    }

    /// A run of 24 steps.
    #[track_caller]
    pub(super) fn trained(&self, run: &str) -> PathBuf {
        let run = self.place(run);
        succeeds(&Self::command(&self.data(), &run, "24").output().unwrap());
        run
    }

    /// The same ended by a kill at a point that the loop knows.
    #[track_caller]
    pub(super) fn killed(&self, data: &Path, run: &str, point: &str) -> PathBuf {
        let run = self.place(run);
        let output = Self::command(data, &run, "24").env("FORETELL_STOP_AFTER", point).output().unwrap();
        assert!(!output.status.success(), "the run never came to {point}");
        run
    }
}

pub(super) fn resume(run: &Path, more: &[&str]) -> Output {
    foretell().args(["train", "--resume"]).arg(run).args(more).output().unwrap()
}

#[track_caller]
pub(super) fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    stderr(output)
}

/// The last line is one sentence with these parts, and the exit code 2.
#[track_caller]
pub(super) fn refused(output: &Output, parts: &[&str]) -> String {
    refused_by(output, 2, parts)
}

/// The same with this exit code.
#[track_caller]
fn refused_by(output: &Output, code: i32, parts: &[&str]) -> String {
    let said = stderr(output);
    let last = said.trim_end().lines().last().unwrap_or_default().to_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in ["error: "].iter().chain(parts) {
        assert!(last.contains(part), "`{part}` is not in: {last}");
    }
    last
}

#[track_caller]
pub(super) fn same(left: &Path, right: &Path) {
    for file in ["encoder.safetensors", "metrics.jsonl"] {
        assert!(fs::read(left.join(file)).unwrap() == fs::read(right.join(file)).unwrap(), "{file} differs");
    }
}

pub(super) fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn config(run: &Path) -> toml::Table {
    fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap()
}

pub(super) fn copied(from: &Path, to: &Path) -> PathBuf {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
    to.to_owned()
}

/// The last step in a checkpoint.
fn saved(run: &Path) -> usize {
    let names = fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.strip_prefix("step-")?.parse().ok()).max().unwrap()
}

/// A picture of each part, by where the run has them.
pub(super) fn of_parts(bench: &Bench) -> (usize, usize) {
    let found = foretell().args(["inspect", "--deep", "--json"]).arg(bench.data()).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&found.stdout).unwrap()["unreadable"], serde_json::json!([]));
    let parts: Vec<(usize, String)> = (0..PICTURES)
        .map(|index| {
            bench.put(index, &spoilt(index));
            let found = foretell().args(["inspect", "--deep", "--json"]).arg(bench.data()).output().unwrap();
            bench.put(index, &picture(index));
            let found: Value = serde_json::from_slice(&found.stdout).unwrap();
            let bad = found["unreadable"].as_array().unwrap();
            assert_eq!((bad.len(), bad[0]["name"].as_str()), (1, Some(name(index).as_str())), "{found}");
            (index, bad[0]["part"].as_str().unwrap().to_owned())
        })
        .take(40)
        .collect();
    let of = |part: &str| parts.iter().rfind(|(_, of)| of == part).unwrap().0;
    (of("train"), of("held-out"))
}

#[test]
fn a_picture_that_goes_bad_stops_a_run_where_it_stands() {
    let bench = Bench::new();
    let whole = bench.trained("whole");
    let begun = bench.killed(&bench.data(), "begun", "5:checkpoint");
    let (bad, _) = of_parts(&bench);
    bench.put(bad, &spoilt(bad));
    let run = copied(&begun, &bench.place("stopped"));
    let output = resume(&run, &[]);
    let step = saved(&run);
    let way = format!("foretell train --resume {}", run.display());
    let parts = [&name(bad), "cannot be decoded", &format!("saved at step {step} of 24"), &way, "--on-bad-sample skip"];
    refused(&output, &parts);
    assert!((6..24).contains(&step), "{step}");
    assert!(!run.join("summary.json").exists());

    // Left out.
    let skipped = copied(&run, &bench.place("skipped"));
    succeeds(&resume(&skipped, &["--on-bad-sample", "skip"]));
    assert_eq!(json(&skipped.join("summary.json"))["skipped"], serde_json::json!([name(bad)]));
    assert_eq!(config(&skipped)["data"]["on_bad_sample"].as_str(), Some("skip"));

    // Removed: the same as left out, to the byte. With another one it is not the same data.
    bench.remove(bad);
    let removed = copied(&run, &bench.place("removed"));
    let said = succeeds(&resume(&removed, &[]));
    assert!(said.contains("gone from the data and passed over") && said.contains(&name(bad)), "{said}");
    assert_eq!(json(&removed.join("summary.json"))["skipped"], serde_json::json!([name(bad)]));
    same(&removed, &skipped);
    let probed = foretell().arg("probe").arg(&removed).output().unwrap();
    succeeds(&probed);
    // Beside it one of a hundred may be gone that the run has not met, and no more.
    bench.remove(bad + 2);
    let said = succeeds(&resume(&copied(&run, &bench.place("one")), &[]));
    assert!(said.contains("2 images are gone from the data") && said.contains(&name(bad + 2)), "{said}");
    bench.remove(bad + 4);
    let parts = ["are not what this run began with", &name(bad + 2), "and 1 more of 120 are missing"];
    refused(&resume(&copied(&run, &bench.place("other")), &[]), &parts);
    for index in [bad + 2, bad + 4] {
        bench.put(index, &picture(index));
    }

    // Repaired: nothing has happened, though the file has another length.
    let mut longer = picture(bad);
    longer.extend([0; 7]);
    bench.put(bad, &longer);
    succeeds(&resume(&run, &[]));
    same(&run, &whole);
}

/// Where an evaluation on the way meets it, that evaluation is made up for.
#[test]
fn a_held_out_picture_that_goes_bad_while_a_run_trains() {
    let bench = Bench::new();
    let (_, bad) = of_parts(&bench);
    let begin = |run: &Path| {
        let mut command = Bench::command(&bench.data(), run, "600");
        command.args(["--set", "train.health_every=200", "--checkpoint-every", "1000"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (whole, run) = (bench.place("whole"), bench.place("run"));
    succeeds(&begin(&whole).wait_with_output().unwrap());
    let child = begin(&run);
    let since = Instant::now();
    let lines = || fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default().lines().count();
    while lines() < 3 {
        assert!(since.elapsed() < Duration::from_mins(1), "nothing is learnt");
        std::thread::sleep(Duration::from_millis(2));
    }
    bench.put(bad, &spoilt(bad));
    refused(&child.wait_with_output().unwrap(), &[&name(bad), "saved at step", "--on-bad-sample skip"]);
    assert!(saved(&run).is_multiple_of(200), "{}", saved(&run));
    // Still there.
    refused(&resume(&run, &[]), &[&name(bad), "--on-bad-sample skip"]);
    bench.put(bad, &picture(bad));
    succeeds(&resume(&run, &[]));
    same(&run, &whole);
}

#[test]
fn a_judgement_passes_over_it() {
    let bench = Bench::new();
    let run = bench.killed(&bench.data(), "run", "24:checkpoint");
    let (learnt, held_out) = of_parts(&bench);
    for bad in [learnt, held_out] {
        bench.put(bad, &spoilt(bad));
    }
    let mut both = [name(learnt), name(held_out)];
    both.sort();
    let said = succeeds(&resume(&run, &[]));
    assert!(said.contains("2 images passed over as unreadable") && both.iter().all(|bad| said.contains(bad)), "{said}");
    assert_eq!(json(&run.join("summary.json"))["skipped"], serde_json::json!(both));

    // A probe does so too, on the run's own data and on others.
    for more in [&[][..], &["--data", bench.data().to_str().unwrap()]] {
        let output = foretell().arg("probe").arg(&run).args(more).output().unwrap();
        let said = succeeds(&output);
        assert!(both.iter().all(|bad| said.contains(bad)) && !said.contains("on_bad_sample"), "{said}");
    }
    // Removed afterwards, a run that has ended still knows its data.
    bench.remove(learnt);
    succeeds(&foretell().arg("probe").arg(&run).output().unwrap());
}

/// Members of a tar, which is packed again without the bad one.
#[test]
fn a_tar_that_is_packed_again() {
    let bench = Bench::new();
    let tar = bench.place("pictures.tar");
    let pack = |bytes: &dyn Fn(usize) -> Option<Vec<u8>>| {
        let names: Vec<String> = (0..PICTURES).map(name).collect();
        let members = names.iter().enumerate().filter_map(|(index, name)| Some((name.as_str(), bytes(index)?)));
        made::tar(&tar, members)
    };
    pack(&|index| Some(picture(index)));
    let (bad, _) = of_parts(&bench);
    let run = bench.killed(&tar, "run", "5:checkpoint");
    pack(&|index| Some(if index == bad { spoilt(index) } else { picture(index) }));
    refused(&resume(&run, &[]), &[&name(bad), "saved at step"]);
    let skipped = copied(&run, &bench.place("skipped"));
    succeeds(&resume(&skipped, &["--on-bad-sample", "skip"]));
    pack(&|index| (index != bad).then(|| picture(index)));
    succeeds(&resume(&run, &[]));
    same(&run, &skipped);
}

/// A run that was told to leave bad pictures out is stopped, and the bad pictures are removed.
#[test]
fn what_was_left_out_may_be_removed() {
    let bench = Bench::new();
    let (bad, _) = of_parts(&bench);
    bench.put(bad, &spoilt(bad));
    let run = bench.place("run");
    let mut command = Bench::command(&bench.data(), &run, "24");
    succeeds(&command.args(["--on-bad-sample", "skip"]).output().unwrap());
    let whole = copied(&run, &bench.place("whole"));
    for file in ["encoder.safetensors", "summary.json"] {
        fs::remove_file(run.join(file)).unwrap();
    }
    fs::remove_dir_all(run.join("checkpoints/step-000000024")).unwrap();
    bench.remove(bad);
    succeeds(&resume(&run, &[]));
    same(&run, &whole);
    assert_eq!(json(&run.join("summary.json"))["skipped"], serde_json::json!([name(bad)]));
}

#[test]
fn bad_files_are_listed_before_a_training() {
    let bench = Bench::new();
    for bad in [4, 77] {
        bench.put(bad, &spoilt(bad));
    }
    let deep = |path: &Path| foretell().args(["inspect", "--deep"]).arg(path).output().unwrap();
    let output = deep(&bench.data());
    refused_by(&output, 1, &["2 of 120 images", "--on-bad-sample skip"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("120 images read, 2 of them cannot be used\n"), "{text}");
    assert!([4, 77].iter().all(|bad| text.contains(&name(*bad))) && text.lines().count() == 3, "{text}");
    // Graphs are read whole when they are opened.
    let graphs = bench.place("graphs.txt");
    graphs::file(&graphs, 20);
    let output = deep(&graphs);
    succeeds(&output);
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("20 graphs read, all of them can be used"));
    let clip = bench.place("clip.npy");
    fs::write(&clip, b"\x93NUMPY").unwrap();
    one_sentence(&deep(&clip), &["`--deep` reads the samples of a data set", "leave `--deep` out"]);
}

/// Rows that were made before are not made again, and are the same to the byte.
#[test]
fn features_that_were_made_are_kept() {
    let bench = Bench::new();
    let run = bench.trained("run");
    let embed = |out: &str, more: &[&str]| {
        let mut command = foretell();
        command.arg("embed").arg(&run).arg(bench.data()).args(more).arg("--out").arg(bench.place(out));
        command.output().unwrap()
    };
    bench.remove(61);
    succeeds(&embed("whole.npz", &[]));
    bench.put(61, &spoilt(61));
    let output = embed("x.npz", &[]);
    let place = bench.place("x.npz.rows");
    one_sentence(
        &output,
        &[
            &name(61),
            "the rows of 90 images are kept in",
            place.to_str().unwrap(),
            "`--resume`",
            "--on-bad-sample skip",
        ],
    );
    assert!(!bench.place("x.npz").exists() && place.is_file());
    // Of another network, or behind other inputs, they are not gone on with.
    one_sentence(&embed("x.npz", &["--resume", "--probed"]), &["`--resume`", "with other options"]);
    bench.put(200, &picture(200));
    bench.remove(2);
    one_sentence(&embed("x.npz", &["--resume"]), &["`--resume`", "other inputs"]);
    bench.put(2, &picture(2));
    fs::remove_file(bench.data().join(name(200))).unwrap();
    // Left out, and removed.
    let kept = [fs::read(&place).unwrap(), fs::read(bench.place("x.npz.rows.json")).unwrap()];
    let said = succeeds(&embed("x.npz", &["--resume", "--on-bad-sample", "skip"]));
    assert!(said.contains("going on behind 90 kept rows"), "{said}");
    let whole = fs::read(bench.place("whole.npz")).unwrap();
    assert!(fs::read(bench.place("x.npz")).unwrap() == whole);
    assert!(!place.exists() && !bench.place("x.npz.rows.json").exists());
    bench.remove(61);
    fs::remove_file(bench.place("x.npz")).unwrap();
    fs::write(&place, &kept[0]).unwrap();
    fs::write(bench.place("x.npz.rows.json"), &kept[1]).unwrap();
    succeeds(&embed("x.npz", &["--resume"]));
    assert!(fs::read(bench.place("x.npz")).unwrap() == whole);
    one_sentence(&embed("x.npz", &["--resume"]), &["no call has kept any there", "leave `--resume` out"]);
}

#[cfg(unix)]
#[test]
fn features_that_were_made_before_ctrl_c_are_kept() {
    let bench = Bench::new();
    let run = bench.trained("run");
    let command = |out: &str| {
        let mut command = foretell();
        // The same pictures many times, so that there is time to stop.
        command.arg("embed").arg(&run).args(vec![bench.data(); 100]).args(["--tokens", "--out"]).arg(bench.place(out));
        command
    };
    succeeds(&command("whole.npz").output().unwrap());
    let child = command("x.npz").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let spool = bench.place(&format!(".x.npz.{}.rows", child.id()));
    let since = Instant::now();
    while fs::metadata(&spool).map_or(0, |file| file.len()) == 0 {
        assert!(since.elapsed() < Duration::from_mins(1), "nothing is written");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("stopped after") && said.contains("images are kept in") && said.contains("`--resume`"),
        "{said}"
    );
    assert!(!bench.place("x.npz").exists());
    succeeds(&command("x.npz").arg("--resume").output().unwrap());
    assert!(fs::read(bench.place("x.npz")).unwrap() == fs::read(bench.place("whole.npz")).unwrap());
}

/// Of a run's config what was measured and chosen for its data is measured and chosen anew; what was set stays.
#[test]
fn a_runs_config_with_other_data() {
    let bench = Bench::new();
    let run = bench.trained("run");
    let other = bench.place("other");
    for index in 0..60 {
        made::folder(&other, [(format!("{index}.png").as_str(), made::png(24, 24, 3, index))]);
    }
    let fresh = bench.place("fresh");
    let output = foretell()
        .arg("train")
        .arg(run.join("config.toml"))
        .arg("--data")
        .arg(&other)
        .arg("--out")
        .arg(&fresh)
        .output();
    succeeds(&output.unwrap());
    let (before, after) = (config(&run), config(&fresh));
    for (group, key) in [
        ("data", "path"),
        ("data", "fingerprint"),
        ("data", "normalise"),
        ("data", "image_size"),
        ("judge", "train_samples"),
    ] {
        assert_ne!(before[group][key], after[group][key], "{group}.{key}");
    }
    assert_eq!(after["data"]["image_size"].as_integer(), Some(24));
    for key in ["patch", "width", "depth"] {
        assert_eq!(before["model"][key], after["model"][key], "{key}");
    }
    assert_eq!(before["train"], after["train"]);

    // Set on top it stays, whatever was chosen before; and `--set data.path` is the same as `--data`.
    let fixed = bench.place("fixed");
    let path = format!("data.path={}", other.display());
    let mut command = foretell();
    command.arg("train").arg(run.join("config.toml")).args(["--set", &path, "--image-size", "16", "--out"]).arg(&fixed);
    succeeds(&command.output().unwrap());
    assert_eq!(config(&fixed)["data"]["image_size"].as_integer(), Some(16));
    assert_eq!(config(&fixed)["data"]["fingerprint"], after["data"]["fingerprint"]);

    // A longer run is evaluated as often as a short one.
    let longer = bench.place("longer");
    let mut command = foretell();
    command.arg("train").arg(run.join("config.toml")).args(["--steps", "48", "--out"]).arg(&longer);
    succeeds(&command.output().unwrap());
    let (short, long) = (&before["model"]["ema"]["schedule"], &config(&longer)["model"]["ema"]["schedule"]);
    assert_eq!(long["samples"].as_integer(), short["samples"].as_integer().map(|samples| 2 * samples));
}

/// Graphs with other labels of nodes, which the first run's networks have no place for.
#[test]
fn a_runs_config_with_other_graphs() {
    let bench = Bench::new();
    let (first, second) = (bench.place("first.txt"), bench.place("second.txt"));
    graphs::file(&first, 40);
    graphs::file(&second, 40);
    // A tag more.
    let text = fs::read_to_string(&second).unwrap().replace("\n2 2 ", "\n7 2 ");
    fs::write(&second, text).unwrap();
    let (run, fresh) = (bench.place("run"), bench.place("fresh"));
    let mut command = foretell();
    command.args(["train", "graph-jepa", "--steps", "2", "--set", "train.batch=8", "--set", "model.width=16"]);
    command.args([
        "--set",
        "model.heads=2",
        "--set",
        "model.depth=1",
        "--set",
        "model.parts.count=4",
        "--set",
        "model.targets=2",
    ]);
    succeeds(&command.args(["--set", "model.layers=1", "--data"]).arg(&first).arg("--out").arg(&run).output().unwrap());
    let output = foretell()
        .arg("train")
        .arg(run.join("config.toml"))
        .arg("--data")
        .arg(&second)
        .arg("--out")
        .arg(&fresh)
        .output();
    succeeds(&output.unwrap());
    let tags = |run: &Path| config(run)["data"]["tags"].clone();
    assert_ne!(tags(&run), tags(&fresh));
    assert!(tags(&fresh).as_array().unwrap().contains(&toml::Value::Integer(7)), "{}", tags(&fresh));
}

#[test]
fn a_run_and_its_data_are_found_from_any_folder_and_may_move() {
    let bench = Bench::new();
    let whole = bench.trained("whole");
    let run = bench.place("run");
    let mut command = Bench::command(Path::new("data"), &run, "24");
    let output = command.current_dir(bench.root.path()).env("FORETELL_STOP_AFTER", "10:checkpoint").output().unwrap();
    assert!(!output.status.success());
    let there = copied(&run, &bench.place("there"));
    let elsewhere = bench.place("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let resume_from = |folder: &Path, run: &Path, more: &[&str]| {
        foretell().args(["train", "--resume"]).arg(run).args(more).current_dir(folder).output().unwrap()
    };
    succeeds(&resume_from(&elsewhere, &run, &[]));
    same(&run, &whole);

    // Moved, and found where it is said.
    fs::rename(bench.data(), elsewhere.join("moved")).unwrap();
    refused(&resume(&there, &[]), &["there is nothing at", "--resume", "--data PATH"]);
    refused(&resume(&there, &["--data", "/nowhere"]), &["there is nothing at `/nowhere`: check the path"]);
    made::folder(&bench.place("others"), [("a/0.png", picture(0)), ("a/1.png", picture(1))]);
    for index in 0..40 {
        made::folder(&bench.place("others"), [(format!("a/{index}.png").as_str(), picture(index))]);
    }
    let others = bench.place("others");
    refused(&resume(&there, &["--data", others.to_str().unwrap()]), &["others", "are not what this run began with"]);
    succeeds(&resume_from(&elsewhere, &there, &["--data", "moved"]));
    same(&there, &whole);
    assert_eq!(config(&there)["data"]["path"].as_str(), elsewhere.join("moved").to_str());
    // A run that has ended is told too, so that it can be probed.
    refused(&foretell().arg("probe").arg(&run).output().unwrap(), &["there is nothing at"]);
    succeeds(&resume_from(&elsewhere, &run, &["--data", "moved"]));
    succeeds(&foretell().arg("probe").arg(&run).output().unwrap());
}

#[test]
fn thirty_minutes_more() {
    let bench = Bench::new();
    let run = bench.trained("run");
    for (option, value) in [("--minutes", "30"), ("--epochs", "2"), ("--steps", "100")] {
        let longer = format!("foretell train {} {option} {value}", run.join("config.toml").display());
        one_sentence(&resume(&run, &[option, value]), &["24 steps", "learning rate", &longer]);
    }
    // What it names is done.
    let longer = bench.place("longer");
    let output =
        foretell().arg("train").arg(run.join("config.toml")).args(["--steps", "30", "--out"]).arg(&longer).output();
    succeeds(&output.unwrap());
    assert_eq!(config(&longer)["train"]["steps"].as_integer(), Some(30));
    // What a run from generated data or a world lacks.
    let generated = bench.place("generated");
    let mut command = foretell();
    command.args(["train", "i-jepa", "--steps", "1", "--set", "judge.train_samples=20", "--set", "train.batch=8"]);
    command.args(["--size", "tiny", "--image-size", "16", "--set", "model.patch=4", "--out"]).arg(&generated);
    command.env("FORETELL_STOP_AFTER", "1:checkpoint").output().unwrap();
    one_sentence(&resume(&generated, &["--data", "x"]), &["`--data` sets `data.path`", "leave it out"]);
}
