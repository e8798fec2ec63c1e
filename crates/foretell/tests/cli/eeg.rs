//! Recordings of EEG are used as images are: looked at, trained on, embedded and searched, and refused in a sentence.

#[path = "../../../foretell-data/tests/made/edf.rs"]
mod edf_file;

use std::fs;
use std::path::{Path, PathBuf};

use edf_file::{Form, edf, made, seconds};

use crate::plan::refused;
use crate::uses::{json, printed};
use crate::{controlled, foretell, stderr};

/// Four subjects with two electrodes of other rates and units and one that is no electrode; rest and task by turns.
fn recordings(folder: &Path) {
    for subject in 0..4 {
        let signals = [
            made("EEG Fp1-REF", "uV", 128, 40),
            made("T3", "mV", 200, 40),
            made("O2", "nV", 128, 40),
            made("ECG", "mV", 100, 40),
        ];
        let (rest, task) = ("+0\u{15}20\u{14}rest\u{14}", "+20\u{15}20\u{14}task\u{14}");
        let form = Form { reserved: "EDF+C", ..Form::default() };
        let bytes = edf(form, &signals, &seconds(40), &[(0, rest), (20, task)]);
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(format!("sub-{subject}_eeg.edf")), bytes).unwrap();
    }
}

const SMALL: [&str; 16] = [
    "train",
    "signal-jepa",
    "--steps",
    "4",
    "--set",
    "train.batch=8",
    "--set",
    "model.width=32",
    "--set",
    "model.heads=4",
    "--set",
    "model.depth=1",
    "--set",
    "model.predictor_depth=1",
    "--set",
    "data.seconds=2.0",
];

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn trained(root: &Path, more: &[&str]) -> (PathBuf, PathBuf) {
    let (data, run) = (root.join("recordings"), root.join("run"));
    recordings(&data);
    let output = foretell().args(SMALL).args(more).arg("--data").arg(&data).arg("--out").arg(&run).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    (data, run)
}

#[test]
fn recordings_are_looked_at_trained_on_embedded_and_searched() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) =
        trained(root.path(), &["--set", "judge.probes=[\"linear\", \"finetune\"]", "--set", "judge.finetune.epochs=1"]);
    let keys = controlled(&run);
    for key in ["probes", "finetune", "signal_heads", "hidden", "heads", "features"] {
        assert!(keys.iter().any(|known| known == key), "{key} among {keys:?}");
    }
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Heads with hidden electrodes") && page.contains("EEG window"));

    let looked = json(&["inspect", text(&data), "--set", "data.seconds=2.0", "--json"]);
    assert_eq!(looked["electrodes"], serde_json::json!(["Fp1", "T7", "O2"]));
    assert_eq!(looked["format"], "EDF+");
    assert_eq!((looked["train"].as_u64(), looked["held_out"].as_u64()), (Some(60), Some(20)));
    let said = printed(&["inspect", text(&data)]);
    for word in ["4, 2.7 minutes", "128 Hz, 200 Hz", "mV, nV, uV", "`ECG`", "rest, task"] {
        assert!(said.contains(word), "{word} in: {said}");
    }

    let features = root.path().join("features.npz");
    printed(&["embed", text(&run), text(&data), "--out", text(&features)]);
    let found = json(&["search", text(&features), "--run", text(&run), "--data", text(&data), "--row", "0", "--json"]);
    assert!(found.to_string().contains("sub-0_eeg.edf"), "{found}");
    printed(&["probe", text(&run), "--data", text(&data), "--json"]);
}

#[test]
fn one_that_cannot_be_opened_is_passed_over_and_others_are_measured_anew() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = trained(root.path(), &[]);
    let whole = fs::read(data.join("sub-0_eeg.edf")).unwrap();
    fs::write(data.join("sub-9_eeg.edf"), &whole[..4_000]).unwrap();
    let out = root.path().join("features.npz");
    let embed = ["embed", text(&run), text(&data), "--out", text(&out)];
    refused(&embed, &["sub-9_eeg.edf", "was cut"]);
    assert!(!out.exists());
    let output = foretell().args(embed).args(["--on-bad-sample", "skip"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("`sub-9_eeg.edf` is left out"), "{}", stderr(&output));

    // Ten times as weak.
    let weak = root.path().join("weak");
    fs::create_dir(&weak).unwrap();
    for subject in 0..4 {
        let mut signals = [made("Fp1", "uV", 128, 40), made("T7", "uV", 128, 40), made("O2", "uV", 128, 40)];
        for number in signals.iter_mut().flat_map(|signal| &mut signal.numbers) {
            *number /= 10;
        }
        fs::write(weak.join(format!("sub-{subject}.edf")), edf(Form::default(), &signals, &seconds(40), &[])).unwrap();
    }
    let scale = |run: &Path| -> f64 {
        let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
        config["data"]["scale"].as_float().unwrap()
    };
    let again = |name: &str, more: &[&str]| {
        let fresh = root.path().join(name);
        let mut command = foretell();
        command.arg("train").arg(run.join("config.toml")).arg("--data").arg(&weak).args(more).arg("--out").arg(&fresh);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        scale(&fresh)
    };
    let anew = again("anew", &[]);
    assert!((anew * 10.0 / scale(&run) - 1.0).abs() < 0.05, "{anew}, {}", scale(&run));
    assert_eq!(again("set", &["--set", "data.scale=7.0"]), 7.0);
}

#[test]
fn what_is_no_recording_is_refused_in_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.edf");
    let bytes = edf(Form::default(), &[made("Fp1", "uV", 128, 20), made("Fp2", "uV", 128, 20)], &seconds(20), &[]);
    fs::write(&path, &bytes[..3_000]).unwrap();
    let out = root.path().join("run");
    let train = |path: &Path| -> Vec<String> {
        SMALL
            .iter()
            .map(|word| (*word).to_owned())
            .chain(["--data".into(), text(path).into(), "--out".into(), text(&out).into()])
            .collect()
    };
    let said = train(&path);
    refused(&said.iter().map(String::as_str).collect::<Vec<_>>(), &["a.edf", "of the 20 records", "was cut"]);
    let said = train(&root.path().join("nothing.edf"));
    refused(&said.iter().map(String::as_str).collect::<Vec<_>>(), &["nothing.edf"]);
    refused(&["inspect", text(&path)], &["a.edf", "was cut"]);
    refused(&["inspect", text(root.path()), "--system", "signal-jepa"], &["a.edf", "was cut"]);
    refused(&["inspect", text(root.path()), "--system", "signal-jepo"], &["`signal-jepo`", "signal-jepa"]);
    assert!(!out.exists(), "nothing is half-written");
}
