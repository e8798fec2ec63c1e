//! A run over series is used as one over images is, and says series where that one says images.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::plan::refused;
use crate::uses::{json, printed};
use crate::{controlled, foretell, stderr};

/// Waves of two frequencies and of unequal lengths with holes, in aeon's format.
pub(crate) fn file(path: &Path, count: usize) {
    let mut text = "@problemName Waves\n@timestamps false\n@univariate true\n@equalLength false\n@classLabel true slow fast\n@data\n".to_owned();
    for series in 0..count {
        let class = series % 2;
        let value = |step: usize| match (step + series) % 13 {
            0 => "?".to_owned(),
            _ => format!("{:.3}", ((step + 3 * series) as f64 * (0.3 + 0.5 * class as f64)).sin()),
        };
        let steps = 32 + series % 5;
        let values: Vec<String> = (0..steps).map(value).collect();
        let _ = writeln!(text, "{}:{}", values.join(","), ["slow", "fast"][class]);
    }
    fs::write(path, text).unwrap();
}

/// An hourly table of two columns.
fn table(path: &Path, rows: usize) {
    let mut text = "date,load,heat\n".to_owned();
    for row in 0..rows {
        let (day, hour) = (1 + row / 24 % 28, row % 24);
        let wave = (row as f64 * std::f64::consts::TAU / 24.0).sin();
        let _ = writeln!(
            text,
            "2020-{:02}-{day:02} {hour:02}:00:00,{:.3},{:.3}",
            1 + row / 672,
            5.0 + wave,
            row as f64 * 0.01 - wave
        );
    }
    fs::write(path, text).unwrap();
}

const SMALL: [&str; 14] = [
    "--steps",
    "4",
    "--set",
    "train.batch=8",
    "--set",
    "model.patch=4",
    "--set",
    "model.width=16",
    "--set",
    "model.heads=2",
    "--set",
    "model.depth=1",
    "--set",
    "model.ema.initial_teacher_limit=1.0",
];

fn train(system: &str, small: &[&str], data: &Path, run: &Path) -> Output {
    foretell().args(["train", system]).args(small).arg("--data").arg(data).arg("--out").arg(run).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// No word of what other kinds of data are called.
#[track_caller]
fn speaks_of_series(said: &str) {
    assert!(said.contains("series"), "{said}");
    for other in ["image", "picture", "scene", "pixel", "clips", "graph"] {
        assert!(!said.to_lowercase().contains(other), "`{other}` is in: {said}");
    }
}

#[test]
fn a_run_over_series_is_embedded_inspected_reported_and_probed() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (root.path().join("waves.ts"), root.path().join("run"));
    file(&data, 100);
    let output = train("ts-jepa", &SMALL, &data, &run);
    let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    speaks_of_series(&said);
    for part in ["80 to train, 20 held out", "series/s", "raw series", "random convolutions"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    let found = controlled(&run);
    for key in ["probes", "noise", "forecasts", "forecast_pictures", "masks", "neighbours", "lidar"] {
        assert!(found.iter().any(|found| found == key), "{key}: {found:?}");
    }
    let name = text(&run);
    let out = root.path().join("features.npz");
    let said = printed(&["embed", name, text(&data), "--out", text(&out)]);
    assert!(said.contains("[100, 16]"), "{said}");
    let inspected = printed(&["inspect", text(&data)]);
    speaks_of_series(&inspected);
    for part in ["31 to 36", "class: 2 classes (fast, slow)", "holes"] {
        assert!(inspected.contains(part), "`{part}` is not in: {inspected}");
    }
    assert_eq!(json(&["inspect", text(&data), "--json"])["train"], 80);
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    let body = page.split("</style>").last().unwrap();
    assert!(body.matches("data:image/png;base64,").count() > 12, "series are drawn");
    let own = json(&["probe", name, "--json"]);
    assert_eq!(own["probes"].as_array().map(Vec::len), Some(6), "three features, two probes");
}

#[test]
fn tables_are_forecast_by_every_system_over_series() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("load.csv");
    table(&data, 1200);
    let window = ["--set", "data.window=48"];
    for (system, small) in [
        ("ts-jepa", [&SMALL[..], &window].concat()),
        ("le-nepa", [&SMALL[..12], &window].concat()),
        (
            "lat-pfn",
            [
                &["--steps", "4", "--set", "train.batch=2", "--set", "model.width=16", "--set", "model.heads=2"][..],
                &["--set", "model.history=32", "--set", "model.horizon=16", "--set", "model.context=2"],
                &["--set", "model.ema.initial_teacher_limit=1.0"],
                &window,
            ]
            .concat(),
        ),
    ] {
        let run = root.path().join(system);
        let output = train(system, &small, &data, &run);
        let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{system}: {said}");
        speaks_of_series(&said);
        let found = controlled(&run);
        let wanted: &[&str] =
            if system == "lat-pfn" { &["zero_shot", "context_series"] } else { &["forecasts", "forecast_pictures"] };
        assert!(wanted.iter().all(|key| found.iter().any(|found| found == key)), "{system}: {found:?}");
        assert!(said.contains("autoregression") && said.contains("seasonal naive"), "{system}: {said}");
    }
}

#[test]
fn series_and_other_data_are_not_mistaken_for_each_other() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("waves.ts");
    file(&data, 40);
    let data = ["--data", text(&data), "--set", "train.batch=8"];
    refused(&[&["train", "i-jepa"][..], &data].concat(), &["i-jepa learns from images", "holds series"]);
    refused(
        &[&["train", "ts-jepa", "--set", "model.patch=40"][..], &data].concat(),
        &["do not give two patches of 40", "`model.patch` of 18 or less"],
    );
    refused(&[&["train", "ts-jepa", "--set", "model.masks.share=1.0"][..], &data].concat(), &["`model.masks.share`"]);
    refused(&[&["train", "lat-pfn", "--set", "model.context=0"][..], &data].concat(), &["`model.context` is 0"]);
    refused(&[&["train", "le-nepa", "--set", "model.width=15"][..], &data].concat(), &["the encoder's width 15"]);
}
