//! What a user does with a run once it is there, and the other ways to begin one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::plan::refused;
use crate::{controlled, foretell, pictures, stderr};

/// Labelled pictures: two class folders.
pub(crate) fn labelled(root: &Path) -> PathBuf {
    let data = root.join("data");
    pictures(&data.join("first"), 40, 16);
    pictures(&data.join("second"), 40, 16);
    data
}

/// What a command that must succeed prints to standard output.
#[track_caller]
pub(crate) fn printed(arguments: &[&str]) -> String {
    let output = foretell().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub(crate) fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).unwrap()
}

/// A transformer of two narrow blocks, trained for two steps.
pub(crate) fn small_run(data: &Path, run: &Path) -> Value {
    let mut arguments = vec!["train", "i-jepa", "--steps", "2", "--json"];
    for setting in [
        "train.batch=8",
        "model.width=24",
        "model.heads=2",
        "model.depth=2",
        "model.predictor_width=8",
        "model.predictor_depth=1",
        "model.ema.initial_teacher_limit=1.0",
    ] {
        arguments.extend(["--set", setting]);
    }
    let (data, run) = (data.to_str().unwrap(), run.to_str().unwrap());
    arguments.extend(["--data", data, "--out", run]);
    json(&arguments)
}

#[test]
fn a_run_is_probed_embedded_and_inspected() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let summary = small_run(&data, &run);
    let (data, run) = (data.to_str().unwrap(), run.to_str().unwrap());
    assert_eq!(summary["probes"].as_array().map(Vec::len), Some(6), "three features, two probes");
    // Two of the seven held-out images are of the class that most training images have.
    assert_eq!(summary["chance"], serde_json::json!([{ "factor": "class", "accuracy": 2.0 / 7.0 }]));
    assert_eq!(controlled(Path::new(run)), ["probes", "features", "neighbours", "masks", "lidar"]);

    let again = json(&["probe", run, "--json"]);
    assert_eq!(again["probes"], summary["probes"], "the same encoder on the same images");
    let elsewhere = json(&["probe", run, "--data", data, "--json"]);
    assert_eq!(elsewhere["probes"], summary["probes"]);

    let newest = json(&["probe", run, "--checkpoint", "newest", "--json"]);
    assert_eq!(newest["probes"], summary["probes"], "the last checkpoint is of the last step");
    assert_eq!(json(&["probe", run, "--checkpoint", "2", "--json"]), newest);
    refused(&["probe", run, "--checkpoint", "7"], &[run, "no checkpoint of step 7", "steps 1, 2"]);

    for (more, width) in [(&[][..], 24), (&["--probed"][..], 48), (&["--tokens"][..], 24)] {
        for end in ["npz", "safetensors"] {
            let out = root.path().join(format!("x.{end}"));
            let mut arguments = vec!["embed", run, data, "--json", "--out", out.to_str().unwrap()];
            arguments.extend(more);
            let embedded = json(&arguments);
            assert_eq!((&embedded["rows"], &embedded["width"]), (&80.into(), &width.into()), "{more:?}");
            let tokens = embedded["tokens"].as_u64().unwrap_or(1);
            let bytes = std::fs::metadata(&out).unwrap().len();
            assert!(bytes > 4 * 80 * width * tokens, "{more:?}: {bytes} bytes");
        }
    }
    for thing in [run, data] {
        let text = printed(&["inspect", thing]);
        assert!(text.lines().count() > 3, "{text}");
    }
    assert!(printed(&["inspect", run]).contains("I-JEPA"));

    // As while it goes on.
    std::fs::remove_file(Path::new(run).join("encoder.safetensors")).unwrap();
    refused(&["probe", run], &[run, "not finished", "--resume", "--checkpoint newest"]);
    assert_eq!(json(&["probe", run, "--checkpoint", "newest", "--json"]), newest);
}

#[test]
fn a_finished_run_tells_what_it_found_without_its_data_and_its_networks() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let (report, name) = (run.join("report.html"), run.to_str().unwrap());
    let before = std::fs::read_to_string(&report).unwrap();
    for shown in ["What the features know", "chance", "What was hidden", "target 1", "Nearest neighbours", "Underlined"]
    {
        assert!(before.contains(shown), "{shown}");
    }
    let table = |said: &str| {
        let lines = said.lines().skip_while(|line| !line.starts_with("What the features know")).take(4);
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let inspected = table(&printed(&["inspect", name]));
    assert!(inspected.len() == 4 && inspected[1].ends_with("trained  untrained  pixels  chance"), "{inspected:?}");
    // What `train` said at the end, and says again of a run that is finished.
    assert_eq!(table(&printed(&["train", "--resume", name])), inspected);
    assert_eq!(table(&printed(&["probe", name])), inspected);

    std::fs::remove_dir_all(&data).unwrap();
    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    std::fs::remove_file(run.join("encoder.safetensors")).unwrap();
    std::fs::remove_file(&report).unwrap();
    assert_eq!(printed(&["report", name]).trim(), report.to_str().unwrap());
    assert_eq!(std::fs::read_to_string(&report).unwrap(), before);
    assert_eq!(table(&printed(&["inspect", name])), inspected);

    // A run that was moved speaks of where it is now.
    let moved = root.path().join("moved");
    std::fs::rename(&run, &moved).unwrap();
    let (run, name) = (moved.as_path(), moved.to_str().unwrap());
    printed(&["report", name]);
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains(&format!("foretell embed {name} IMAGES")) && !page.contains("{run}"));

    let file = run.join("findings.json");
    let whole = std::fs::read_to_string(&file).unwrap();
    for (damaged, part) in [
        (whole[..whole.len() / 2].to_owned(), "is not what a run writes"),
        (whole.replacen("[\"class\",\"knn\",\"trained\"]", "[\"class\"]", 1), "3 dimensions"),
    ] {
        assert_ne!(damaged, whole);
        std::fs::write(&file, damaged).unwrap();
        refused(&["report", name], &["findings.json", part]);
        refused(&["inspect", name], &["findings.json", part]);
    }
    std::fs::remove_file(&file).unwrap();
    refused(&["report", name], &["findings.json", "is missing", "foretell train"]);
    assert!(printed(&["inspect", name]).contains("I-JEPA"));
    std::fs::remove_file(run.join("summary.json")).unwrap();
    refused(&["report", name], &[name, "is not finished", "--resume"]);
}

/// A file of `crates/foretell-nn/tests/pth`.
fn pth(name: &str) -> String {
    format!("{}/../foretell-nn/tests/pth/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn weights_and_clips_are_inspected() {
    let file = pth("i-jepa.pth.tar");
    let found = json(&["inspect", &file, "--json"]);
    assert_eq!((&found["kind"], &found["parameters"]), (&"weights".into(), &132.into()));
    assert_eq!(found["tensors"].as_array().map(Vec::len), Some(39));
    assert_eq!(found["groups"]["target_encoder"]["tensors"], 7);
    assert_eq!(found["metadata"]["epoch"], "300");
    let text = printed(&["inspect", &file]);
    for part in ["PyTorch file", "39 (39 F32)", "encoder: 7 tensors, 30 numbers", "target_encoder.module.norm.bias"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let clip = format!("{}/../foretell-data/tests/clips/420.y4m", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(json(&["inspect", &clip, "--json"])["frames"], 3);
    for (name, part) in [("foreign.pth", "experiment.state.Meter"), ("legacy.pth", "before 1.6")] {
        let output = crate::foretell().args(["inspect", &pth(name)]).output().unwrap();
        let text = crate::stderr(&output);
        assert_eq!((output.status.code(), text.trim_end().lines().count()), (Some(2), 1), "{text}");
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn minutes_become_steps_in_the_stored_config() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let (data, out) = (data.to_str().unwrap(), run.to_str().unwrap());
    let mut arguments = vec!["train", "le-jepa", "--minutes", "0.01", "--json", "--data", data, "--out", out];
    for setting in ["train.batch=8", "model.backbone.widths=[8]", "model.projector=[16]", "model.code_width=8"] {
        arguments.extend(["--set", setting]);
    }
    let summary = json(&arguments);
    let config: toml::Table = std::fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["train"]["steps"].as_integer(), summary["steps"].as_i64());
    assert_eq!(config["minutes"].as_float(), Some(0.01));
}

#[test]
fn the_size_is_one_dial_for_either_backbone() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    for (kind, expected) in [("resnet", Some("[96, 192, 384]")), ("vit", None)] {
        let run = root.path().join(kind);
        let kind = format!("model.backbone.kind={kind}");
        let mut arguments = vec!["train", "le-jepa", "--size", "small", "--steps", "1", "--json"];
        for setting in [kind.as_str(), "train.batch=4", "model.projector=[16]", "model.code_width=8"] {
            arguments.extend(["--set", setting]);
        }
        if kind.ends_with("resnet") {
            let rest = ["model.backbone.blocks=1", "model.backbone.stem_kernel=3", "model.backbone.stem_stride=2"];
            for setting in rest {
                arguments.extend(["--set", setting]);
            }
        }
        arguments.extend(["--data", data.to_str().unwrap(), "--out", run.to_str().unwrap()]);
        json(&arguments);
        let config: toml::Table = std::fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
        assert_eq!(config["model"]["size"].as_str(), Some("small"));
        let widths = config["model"]["backbone"].get("widths").map(ToString::to_string);
        assert_eq!(widths.as_deref(), expected);
        // Of a transformer the kept tensors tell the width: 384 numbers in the last norm.
        let norm = json(&["inspect", run.join("encoder.safetensors").to_str().unwrap(), "--json"])["tensors"]
            .as_array()
            .and_then(|tensors| tensors.iter().find(|t| t["name"] == "norm.weight").map(|t| t["shape"].clone()));
        assert_eq!(norm, expected.is_none().then(|| serde_json::json!([384])));
    }
}

/// Operations of `rows` through a matrix: a multiplication and an addition for each of its numbers.
fn map(rows: f64, inputs: f64, outputs: f64) -> f64 {
    2.0 * rows * inputs * outputs
}

/// Operations of a transformer block, its hidden width four times its own, forward over `sets` sets of `len` tokens.
fn block(sets: f64, len: f64, width: f64) -> f64 {
    let rows = sets * len;
    let maps = map(rows, width, 3.0 * width) + map(rows, width, width) + 2.0 * map(rows, width, 4.0 * width);
    maps + 2.0 * map(rows, width, len)
}

/// An error unless so many operations were counted in the time that is told, but for the rounding of both.
#[track_caller]
fn counted(report: &serde_json::Value, time: &str, expected: f64) {
    let number = |key: &str| report[key].as_f64().unwrap();
    let (ms, rate) = (number(time), number("gflops"));
    let rounding = 1e6 * 0.0051 * (ms + rate);
    assert!((1e6 * ms * rate - expected).abs() <= rounding, "{expected} operations were expected: {report}");
    assert!(rounding < 0.1 * expected, "too few operations to tell: {report}");
    assert!((number("ceiling_share") - rate / number("gemm_ceiling_gflops")).abs() <= 0.011, "{report}");
}

#[test]
fn benchmarks_count_what_they_time() {
    let sizes = "--set model.width=48 --set model.heads=2 --set model.depth=2 --set model.predictor_width=24 --set \
                 model.predictor_depth=1 --set model.patch=4 --set model.sigreg=0 --set data.image_size=32 --batch 64 --warmup 1 --steps 1";
    let step = json(&["bench", "step", "i-jepa", "--json"].into_iter().chain(sizes.split(' ')).collect::<Vec<_>>());
    assert_eq!(step["system"], "i-jepa");
    let number = |key: &str| step[key].as_f64().unwrap();
    let (context, target) = (number("context_tokens"), number("target_tokens"));
    assert!(target < context && context <= 64.0, "{step}");
    // The teacher sees all 64 tokens and takes no gradient; backward is twice forward, but the pixels take no gradient either.
    let (batch, pixels) = (64.0, 48.0);
    let teacher = map(64.0 * batch, pixels, 48.0) + 2.0 * block(batch, 64.0, 48.0);
    let student = 2.0 * map(context * batch, pixels, 48.0) + 3.0 * 2.0 * block(batch, context, 48.0);
    // Four targets, each with the whole context.
    let ends = map(context * batch, 48.0, 24.0) + map(4.0 * target * batch, 24.0, 48.0);
    let predictor = 3.0 * (ends + block(4.0 * batch, context + target, 24.0));
    counted(&step, "step_ms", teacher + student + predictor);
    let rate = 64e3 / number("step_ms");
    assert!((number("samples_per_s") / rate - 1.0).abs() < 0.01, "{step}");

    let masks = json(&["bench", "masks", "--grid", "4", "--batch", "3", "--steps", "2", "--masks", "blocks", "--json"]);
    assert!(masks["masks_per_s"].as_f64() > Some(0.0));
    let sizes = "--image 64 --patch 8 --width 48 --heads 2 --depth 2 --batch 64 --steps 1";
    let embed = json(&["bench", "embed", "--json"].into_iter().chain(sizes.split(' ')).collect::<Vec<_>>());
    assert_eq!(embed["tokens"], 64);
    counted(&embed, "batch_ms", map(64.0 * 64.0, 192.0, 48.0) + 2.0 * block(64.0, 64.0, 48.0));
}

/// A file of the repository.
fn of_the_repository(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_readme_says_what_the_program_and_ci_do() {
    let readme = of_the_repository("README.md");
    let table = printed(&["systems", "--markdown"]);
    assert_eq!(table.lines().count(), 2 + 31);
    assert!(
        readme.contains(&table),
        "the table of README.md is not what `foretell systems --markdown` prints:\n{table}"
    );
    // The two commands that README begins with.
    let (_, opening) = readme.split_once("```sh\n").unwrap();
    let commands: Vec<&str> =
        opening.split("```").next().unwrap().lines().map(|line| line.split(" #").next().unwrap().trim()).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let ci = of_the_repository(".ci/run");
    // CI runs the first with the features that its other steps have.
    assert_eq!(commands[0], "cargo run --release -- train");
    assert!(ci.contains("cargo run --release \"${with[@]}\" --quiet -- train --out"));
    assert!(commands[1].starts_with("cargo test ") && ci.contains(commands[1]), "`{}` is not in .ci/run", commands[1]);
}

#[test]
fn a_run_of_an_earlier_version_is_refused_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let config = "system = \"eb-jepa\"\nseed = 0\n\n[world]\nkind = \"two-rooms\"\n\n[play]\nwindow = 17\n";
    std::fs::write(run.join("config.toml"), config).unwrap();
    let run = run.to_str().unwrap();
    for arguments in [
        &["train", "--resume", run][..],
        &["plan", run],
        &["play", run],
        &["probe", run],
        &["inspect", run],
        &["embed", run, run, "--out", "x.npz"],
        &["export", run, "--format", "onnx", "--out", "x.onnx"],
    ] {
        refused(arguments, &[run, "the group `world`", "an earlier version", "train again"]);
    }
}
