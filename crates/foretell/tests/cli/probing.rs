//! `foretell probe RUN --probe …`: attentive probes and fine-tuning of a run, and what is refused.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::plan::refused;
use crate::uses::{json, labelled, printed, small_run};
use crate::{foretell, pictures, stderr};

/// Every file of a folder and its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() { files(&path) } else { vec![(path.display().to_string(), fs::read(&path).unwrap())] }
        })
        .collect();
    found.sort();
    found
}

/// Settings that take no time.
const SHORT: [&str; 8] = [
    "--set",
    "judge.attentive.epochs=2",
    "--set",
    "judge.attentive.lr=[0.001, 0.0001]",
    "--set",
    "judge.attentive.batch=16",
    "--set",
    "judge.finetune.epochs=2",
];

fn features(found: &Value) -> Vec<&str> {
    found.as_array().unwrap().iter().map(|row| row["features"].as_str().unwrap()).collect()
}

#[test]
fn a_run_is_probed_by_attention_and_tuned_and_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let summary = small_run(&data, &run);
    let name = run.to_str().unwrap();
    let before = files(&run);
    let probe = |more: &[&str]| json(&[&["probe", name, "--json"], &SHORT[..], more].concat());

    let both = probe(&["--probe", "attentive,finetune"]);
    let kinds = ["trained", "untrained", "pixels"];
    assert_eq!(features(&both["attentive"]), [kinds, kinds].concat());
    assert_eq!(features(&both["finetune"]), kinds);
    assert_eq!(both["chance"], summary["chance"], "the same held-out images");
    assert!(both["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("weight decay")));
    assert_eq!(probe(&["--probe", "attentive", "--probe", "finetune"]), both, "exactly reproducible");
    assert_eq!(probe(&["--probe", "attentive,finetune", "--set", "judge.memory=0"]), both);
    assert_eq!(probe(&["--probe", "linear"])["probes"], summary["probes"]);
    let four = probe(&["--probe", "attentive", "--set", "judge.attentive.blocks=4"]);
    assert_eq!(features(&four["attentive"]), [kinds, kinds].concat());
    let newest = probe(&["--probe", "finetune", "--checkpoint", "newest"]);
    assert_eq!(newest["finetune"], both["finetune"], "the last checkpoint is of the last step");

    let table = printed(&[&["probe", name, "--probe", "finetune"], &SHORT[..]].concat());
    assert!(table.contains("What the network learns from labels") && table.contains("untrained"), "{table}");
    assert_eq!(files(&run), before, "nothing of the run is changed");
}

/// A system that keeps its predictor: it lies in the run, tells views apart, and can be tuned in the place of the encoder.
#[test]
fn a_kept_predictor_is_tuned_from_the_runs_folder() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let mut arguments = vec!["train", "iwm", "--steps", "3", "--json"];
    for setting in [
        "train.batch=8",
        "data.image_size=16",
        "model.patch=4",
        "model.width=24",
        "model.heads=2",
        "model.depth=1",
        "model.predictor_width=12",
        "model.predictor_depth=1",
        "model.ema.initial_teacher_limit=1.0",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(["--data", data.to_str().unwrap(), "--out", run.to_str().unwrap()]);
    let summary = json(&arguments);
    let mrr = summary["mrr"].as_array().unwrap();
    let chance = summary["chance"].as_array().unwrap().iter().find_map(|level| level["mrr"].as_f64()).unwrap();
    assert_eq!(mrr.len(), 4);
    for row in mrr.iter().filter(|row| row["action"] == "withheld") {
        assert!((row["mrr"].as_f64().unwrap() - chance).abs() < 1e-6, "{row}");
    }
    assert!(run.join("model.safetensors").is_file() && run.join("encoder.safetensors").is_file());

    let name = run.to_str().unwrap();
    let before = files(&run);
    let probe = |more: &[&str]| json(&[&["probe", name, "--json", "--probe", "predictor"], &SHORT[..], more].concat());
    let found = probe(&[]);
    assert_eq!(features(&found["predictor"]), ["trained", "fresh predictor", "untrained", "pixels"]);
    assert_eq!(probe(&[]), found, "exactly reproducible");
    assert_eq!(probe(&["--checkpoint", "newest"])["predictor"], found["predictor"], "the kept one is of the last step");
    assert_eq!(files(&run), before, "nothing of the run is changed");

    let other = root.path().join("other");
    small_run(&data, &other);
    refused(&["probe", other.to_str().unwrap(), "--probe", "predictor"], &["`predictor`", "keeps its predictor"]);
}

#[test]
fn a_recipe_names_the_probes_of_the_end() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    let mut arguments = vec!["train", "le-jepa", "--steps", "2", "--json"];
    for setting in [
        "train.batch=8",
        "model.projector=[32]",
        "model.code_width=16",
        "model.slices=16",
        "judge.probes=[\"attentive\", \"linear\"]",
        "judge.attentive.epochs=1",
        "judge.attentive.lr=[0.001]",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(["--data", data.to_str().unwrap(), "--out", run.to_str().unwrap()]);
    let summary = json(&arguments);
    assert!(summary["attentive"].is_array() && summary["probes"].is_array(), "{summary}");
    let again = json(&["probe", run.to_str().unwrap(), "--json"]);
    assert_eq!((&again["attentive"], &again["probes"]), (&summary["attentive"], &summary["probes"]));
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("What attention finds in the tokens"));
}

#[test]
fn what_cannot_be_probed_is_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let run = run.to_str().unwrap();
    let output = foretell().args(["probe", run, "--probe", "magic"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.contains("magic") && said.contains("linear, attentive, finetune or predictor"), "{said}");
    refused(&["probe", run, "--set", "train.lr=1"], &["`train.lr`", "judge.KEY=VALUE"]);
    refused(&["probe", run, "--set", "judge.attentive.blocks=0"], &["`judge.attentive.blocks`", "found 0"]);
    refused(&["probe", run, "--set", "judge.attentiv.blocks=1"], &["judge.attentiv", "did you mean"]);
    refused(
        &["probe", run, "--probe", "attentive", "--set", "judge.attentive.heads=7"],
        &["`judge.attentive.heads`", "width, 24", "found 7"],
    );
    let bare = root.path().join("bare");
    pictures(&bare, 20, 16);
    for probe in ["attentive", "finetune"] {
        refused(&["probe", run, "--probe", probe, "--data", bare.to_str().unwrap()], &["no labels"]);
    }
}

#[test]
fn images_that_cannot_be_read_are_passed_over_and_named() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let (broken, bytes) = files(&data).swap_remove(3);
    fs::write(&broken, vec![7; bytes.len()]).unwrap();
    let name = Path::new(&broken).file_name().unwrap().to_str().unwrap();
    for memory in ["judge.memory=0", "judge.memory=64"] {
        let asked = ["probe", run.to_str().unwrap(), "--json", "--probe", "attentive,finetune", "--set", memory];
        let found = json(&[&asked[..], &SHORT].concat());
        let skipped = found["skipped"].as_array().unwrap();
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert!(skipped[0].as_str().unwrap().ends_with(name), "{skipped:?} and {name}");
    }
}
