//! A run over recordings of regions is used as any other, and what cannot be used is one sentence.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::input::one_sentence;
use crate::uses::{json, printed};
use crate::{controlled, foretell, stderr};

/// Ten subjects of each of two classes, eight regions of which other ones go together in either.
fn study(folder: &Path) {
    for class in 0..2_usize {
        let place = folder.join(["controls", "patients"][class]);
        fs::create_dir_all(&place).unwrap();
        for subject in 0..10_usize {
            let wave = |t: usize, k: usize| ((t * (k + 2) * 37 + subject * 11 + class * 5) % 101) as f64 / 50.0 - 1.0;
            let mut text = String::new();
            for region in 0..8_usize {
                let pair = if class == 0 { region / 2 } else { region % 4 };
                let cells: Vec<String> =
                    (0..70).map(|t| format!("{:.3}", wave(t, pair) + 0.5 * wave(t + 3 * region, region + 9))).collect();
                let _ = writeln!(text, "V{region},{}", cells.join(","));
            }
            fs::write(place.join(format!("s{class}{subject}.csv")), text).unwrap();
        }
    }
}

/// A narrow ST-JEMA.
const SMALL: [&str; 14] = [
    "train",
    "st-jema",
    "--steps",
    "4",
    "--set",
    "train.batch=4",
    "--set",
    "model.width=8",
    "--set",
    "model.layers=1",
    "--set",
    "data.window=10",
    "--set",
    "model.blocks.share=[0.4, 0.5]",
];

fn train(data: &Path, run: &Path, more: &[&str]) -> Output {
    foretell().args(SMALL).args(more).arg("--data").arg(data).arg("--out").arg(run).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn trained(root: &Path) -> (PathBuf, PathBuf, String) {
    let (data, run) = (root.join("study"), root.join("run"));
    study(&data);
    let output = train(&data, &run, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    (data, run, said)
}

#[test]
fn a_run_over_recordings_is_embedded_searched_inspected_reported_and_probed() {
    let root = tempfile::tempdir().unwrap();
    let (data, run, said) = trained(root.path());
    for part in ["recordings/s", "static correlations", "class"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let keys = controlled(&run);
    for key in ["probes", "links", "sero", "over_time", "neighbours", "lidar"] {
        assert!(keys.iter().any(|known| known == key), "{key}: {keys:?}");
    }
    let (features, page) = (root.path().join("features.npz"), root.path().join("near.html"));
    for (more, shape) in [(&[][..], "[20, 8]"), (&["--probed"][..], "[20, 16]"), (&["--tokens"][..], "[20, ")] {
        let output =
            foretell().args(["embed", text(&run), text(&data), "--out", text(&features)]).args(more).output().unwrap();
        let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(shape), "{said}");
    }
    printed(&["embed", text(&run), text(&data), "--out", text(&features)]);
    let row =
        ["search", text(&features), "--row", "3", "--top", "2", "--json", "--run", text(&run), "--data", text(&data)];
    let found = json(&[&row[..], &["--report", text(&page)]].concat());
    assert_eq!(found["queries"][0]["neighbours"].as_array().map(Vec::len), Some(2));
    assert!(fs::read_to_string(&page).unwrap().matches("<img ").count() == 3);
    assert!(printed(&["inspect", text(&run)]).contains("ST-JEMA on"));
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(report.contains("Graphs over time") && report.contains("Whether hidden links are known"));
    fs::remove_file(run.join("report.html")).unwrap();
    printed(&["report", text(&run)]);
    assert_eq!(fs::read_to_string(run.join("report.html")).unwrap(), report, "the same report again");
    assert!(printed(&["probe", text(&run)]).contains("static correlations"));

    // Volumes are looked at without an atlas, and tables beside a table of participants.
    let volumes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-data/tests/nifti/int16-big.nii");
    let looked = printed(&["inspect", text(&volumes)]);
    assert!(looked.contains("9 × 8 × 6") && looked.contains("data.atlas"), "{looked}");
}

#[test]
fn recordings_that_cannot_be_used_are_one_sentence_and_leave_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (root.path().join("study"), root.path().join("run"));
    study(&data);
    let refuse = |more: &[&str], parts: &[&str]| {
        one_sentence(&train(&data, &run, more), parts);
        assert!(!run.exists(), "{parts:?}: something was left behind");
    };
    refuse(&["--set", "model.temporal=2"], &["model.temporal", "0 to 1"]);
    refuse(&["--set", "model.nodes=0", "--set", "model.edges=0"], &["model.nodes", "model.edges"]);
    refuse(&["--set", "model.blocks.count=0"], &["model.blocks.count"]);
    refuse(&["--set", "model.blocks.count=2", "--set", "model.blocks.share=[0.5, 0.2]"], &["model.blocks.share"]);
    refuse(&["--set", "data.stride=40"], &["2 windows", "model.temporal"]);
    refuse(&["--set", "data.window=71"], &["70 time points", "data.window"]);
    refuse(&["--set", "data.rows=time"], &["data.rows"]);
    refuse(&["--set", "data.labels=[\"age\"]"], &["participants.tsv"]);
    refuse(&["--set", "data.atlas=x.nii"], &["needs no atlas"]);
    let bad = data.join("patients/s19.csv");
    for (content, part) in [("", "no row of numbers"), ("V0,1,2,3\nV1,4,5,x\n", "`x`"), ("V0,1,2,3\nV1,1,2\n", "row 2")]
    {
        fs::write(&bad, content).unwrap();
        refuse(&[], &["s19.csv", part]);
    }
    // Passed over where that is asked for.
    let output = train(&data, &run, &["--on-bad-sample", "skip"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn volumes_and_their_atlas_are_found_from_any_folder() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-data/tests/nifti");
    let root = tempfile::tempdir().unwrap();
    let scans = root.path().join("scans");
    fs::create_dir(&scans).unwrap();
    fs::copy(fixtures.join("atlas.nii.gz"), root.path().join("atlas.nii.gz")).unwrap();
    for subject in 0..12 {
        fs::copy(fixtures.join("uint8-plain.nii.gz"), scans.join(format!("sub-{subject}_bold.nii.gz"))).unwrap();
    }
    let output = foretell()
        .current_dir(root.path())
        .args(SMALL)
        .args(["--data", "scans", "--out", "run", "--set", "data.atlas=atlas.nii.gz"])
        .args(["--set", "data.window=6", "--set", "data.stride=2", "--set", "model.temporal=0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let run = root.path().join("run");
    let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    for key in ["path", "atlas"] {
        assert!(Path::new(config["data"][key].as_str().unwrap()).is_absolute(), "{key}");
    }
    let features = root.path().join("features.npz");
    printed(&["embed", text(&run), text(&scans), "--out", text(&features)]);
}
