//! Runs side by side (`foretell compare`), ablation tables (`foretell ablate`) and networks judged without labels (`foretell judge`).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::plan::refused;
use crate::uses::{json, labelled, printed};
use crate::{foretell, pictures, stderr};

/// A transformer of one narrow block.
const SMALL: [&str; 7] = [
    "train.batch=8",
    "model.width=24",
    "model.heads=2",
    "model.depth=1",
    "model.predictor_width=8",
    "model.predictor_depth=1",
    "model.ema.initial_teacher_limit=1.0",
];

fn sets<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    settings.iter().flat_map(|setting| ["--set", setting]).collect()
}

/// Such a run of some steps.
fn run(data: &Path, root: &Path, name: &str, (seed, steps): (&str, &str), more: &[&str]) -> (PathBuf, Value) {
    let out = root.join(name);
    let given = ["train", "i-jepa", "--json", "--seed", seed, "--steps", steps];
    let places = ["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let summary = json(&[&given[..], &places, &sets(&SMALL), &sets(more)].concat());
    (out, summary)
}

/// The figure of a summary's linear probe of trained features.
fn linear(summary: &Value) -> f64 {
    let rows = summary["probes"].as_array().unwrap().iter();
    let mut rows = rows.filter(|row| row["probe"] == "linear" && row["features"] == "trained");
    rows.next().unwrap()["accuracy"].as_f64().unwrap()
}

/// Of a comparison, what stands of each group under a kind of figure with these dimensions.
fn figures<'a>(found: &'a Value, key: &str, dims: &[(&str, &str)]) -> &'a Vec<Value> {
    let kind = found["figures"].as_array().unwrap().iter().find(|kind| kind["key"] == key).unwrap();
    let fits = |one: &&Value| dims.iter().all(|(dim, cell)| one[dim] == *cell);
    kind["all"].as_array().unwrap().iter().find(fits).unwrap()["of"].as_array().unwrap()
}

const TRAINED: [(&str, &str); 2] = [("probe", "linear"), ("features", "trained")];

#[test]
fn runs_are_compared_over_equal_seeds_without_their_data() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    let make = |name: &str, seed: &str, more: &[&str]| run(&data, root.path(), name, (seed, "2"), more);
    let (block, random) = (&[][..], &["model.masks.kind=random"][..]);
    let made = [
        make("block-0", "0", block),
        make("block-1", "1", block),
        make("random-0", "0", random),
        make("random-1", "1", random),
        make("random-7", "7", random),
    ];
    let [a0, a1, b0, b1, b7] = made.each_ref().map(|(_, summary)| linear(summary));
    // Neither data nor networks are needed.
    fs::remove_dir_all(&data).unwrap();
    for (run, _) in &made {
        fs::remove_file(run.join("encoder.safetensors")).unwrap();
        fs::remove_dir_all(run.join("checkpoints")).unwrap();
    }
    let names: Vec<&str> = made.iter().map(|(run, _)| run.to_str().unwrap()).collect();
    let page = root.path().join("page.html");
    let found = json(&[&["compare", "--json", "--out", page.to_str().unwrap()], &names[..]].concat());
    assert_eq!((&found["reference"], found["runs"].as_array().unwrap().len()), (&"block".into(), 2));
    assert_eq!(found["runs"][1]["name"], "random");
    let of = figures(&found, "probes", &TRAINED);
    let near = |found: &Value, expected: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} where {expected} was expected");
    };
    near(&of[0]["figure"]["mean"], f64::midpoint(a0, a1));
    near(&of[1]["figure"]["mean"], (b0 + b1 + b7) / 3.0);
    near(&of[1]["by_seed"]["7"], b7);
    let difference = &of[1]["difference"];
    assert_eq!((&difference["n"], &of[0]["difference"]), (&2.into(), &Value::Null));
    let (first, second) = (b0 - a0, b1 - a1);
    near(&difference["mean"], f64::midpoint(first, second));
    // t of one degree of freedom, and the deviation of two values over √2.
    let half = 12.706_204_736 * (first - second).abs() / 2.0;
    near(&difference["low"], f64::midpoint(first, second) - half);
    near(&difference["high"], f64::midpoint(first, second) + half);
    // Every figure that was found, its controls too, and what is not of features.
    figures(&found, "probes", &[("probe", "knn"), ("features", "untrained")]);
    figures(&found, "lidar", &[("network", "trained")]);

    let html = fs::read_to_string(&page).unwrap();
    for part in
        ["Foretell comparison", "block and random", "model.masks.kind", "effective rank", "<path class=\"line\""]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("src=\"http") && !html.contains("<script"), "it loads nothing");
    let text = printed(&[&["compare"], &names[..]].concat());
    for part in ["Health", "Settings that differ", "What the features know", "95 % interval", " to "] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // Of single runs there is no interval, and of other seeds no difference.
    let single = json(&["compare", "--json", names[0], names[4]]);
    let of = figures(&single, "probes", &TRAINED);
    assert_eq!((&of[0]["figure"]["deviation"], &of[1]["difference"]), (&Value::Null, &Value::Null));
    let said = single["notes"].to_string();
    assert!(said.contains("no seed in common") && said.contains("no interval"), "{said}");
    let pair = json(&["compare", "--json", names[0], names[2]]);
    let difference = &figures(&pair, "probes", &TRAINED)[1]["difference"];
    assert_eq!((&difference["n"], &difference["low"]), (&1.into(), &Value::Null));
}

#[test]
fn what_cannot_be_compared_is_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    let (first, _) = run(&data, root.path(), "first", ("0", "2"), &[]);
    let other = labelled(&root.path().join("elsewhere"));
    pictures(&other.join("first"), 50, 16);
    let (second, _) = run(&other, root.path(), "second", ("0", "2"), &[]);
    let [one, two] = [&first, &second].map(|run| run.to_str().unwrap());
    // Other data are a note: whoever asks may want it.
    let found = json(&["compare", "--json", one, two]);
    assert!(found["notes"].to_string().contains("second learnt from other data"), "{}", found["notes"]);

    refused(&["compare", one], &["alone cannot be compared", "foretell report"]);
    refused(&["compare", one, two, one], &["first was named twice"]);
    refused(&["compare", one, &format!("{two}/../first")], &["was named twice"]);
    refused(&["compare", one, data.to_str().unwrap()], &["holds no run"]);
    let copy = root.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in ["config.toml", "summary.json", "findings.json", "metrics.jsonl", "decisions.json"] {
        fs::copy(first.join(file), copy.join(file)).unwrap();
    }
    refused(&["compare", one, copy.to_str().unwrap()], &["one recipe with one seed, 0", "leave one of them out"]);
    fs::remove_file(copy.join("summary.json")).unwrap();
    refused(&["compare", one, copy.to_str().unwrap()], &["copy is not finished", "--resume"]);
    fs::remove_file(second.join("findings.json")).unwrap();
    refused(&["compare", one, two], &["findings.json is missing", "train again"]);
}

/// The arguments of a small ablation.
fn ablation<'a>(data: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let given = ["ablate", "i-jepa", "--steps", "2", "--seeds", "2"];
    let places = ["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
    [&given[..], &places, &sets(&SMALL), more].concat()
}

#[test]
fn an_ablation_table_goes_on_where_it_was_stopped() {
    let root = tempfile::tempdir().unwrap();
    let (data, out) = (labelled(root.path()), root.path().join("table"));
    let rows = ["--only", "i-jepa,pixel-target,no-predictor,vicreg,supervised"];
    let found = json(&ablation(&data, &out, &[&rows[..], &["--json"]].concat()));
    let names: Vec<&str> = found["runs"].as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["i-jepa", "pixel-target", "no-predictor", "vicreg", "supervised"]);
    assert_eq!(found["runs"][3]["system"], "le-jepa");
    for run in found["runs"].as_array().unwrap() {
        let seeds: Vec<u64> = run["runs"].as_array().unwrap().iter().map(|run| run["seed"].as_u64().unwrap()).collect();
        assert_eq!(seeds, [0, 1], "{}", run["name"]);
    }
    let of = figures(&found, "probes", &TRAINED);
    assert!(of.len() == 5 && of[1..].iter().all(|one| one["difference"]["n"] == 2), "{of:?}");
    assert!(found["failed"].as_array().unwrap().is_empty());
    let table: Value = serde_json::from_str(&fs::read_to_string(out.join("table.json")).unwrap()).unwrap();
    assert_eq!(table, found);
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("Ablations of I-JEPA") && page.contains("the labels are given"));

    // One that was half done goes on, one that is gone is trained again, the others stay as they are: nothing of them is written.
    let half = out.join("no-predictor/seed-1");
    for file in ["summary.json", "findings.json", "report.html"] {
        fs::remove_file(half.join(file)).unwrap();
    }
    fs::remove_dir_all(out.join("vicreg/seed-0")).unwrap();
    let untouched = out.join("i-jepa/seed-0/summary.json");
    let before = fs::metadata(&untouched).unwrap().modified().unwrap();
    let output = foretell().args(ablation(&data, &out, &rows)).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("8 of 10: no-predictor, seed 1, goes on") && said.contains("4 of 10: vicreg, seed 0"),
        "{said}"
    );
    assert!(!said.contains("pixel-target, seed"), "{said}");
    assert_eq!(fs::metadata(&untouched).unwrap().modified().unwrap(), before);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("supervised") && text.contains("What the features know"), "{text}");
    assert!(!text.contains("untrained  i-jepa"), "controls stand on the page: {text}");
    let strip = |mut value: Value| {
        for group in value["runs"].as_array_mut().unwrap() {
            for run in group["runs"].as_array_mut().unwrap() {
                run["seconds"].take();
            }
        }
        value
    };
    let again: Value = serde_json::from_str(&fs::read_to_string(out.join("table.json")).unwrap()).unwrap();
    assert_eq!(strip(again), strip(found), "the same runs, to the bit");

    // The same folder is not asked for something else.
    let other = ablation(&data, &out, &["--set", "model.sigreg=0.5"]);
    refused(&other, &["table", "`model`", "choose another `--out`"]);
}

#[test]
fn what_cannot_be_ablated_is_a_sentence() {
    let root = tempfile::tempdir().unwrap();
    let (bare, out) = (root.path().join("bare"), root.path().join("out"));
    pictures(&bare, 40, 16);
    let listed = printed(&["ablate", "i-jepa", "--list"]);
    for row in
        ["random-masks", "one-target", "pixel-target", "input-masked", "mae", "barlow-twins", "visreg", "supervised"]
    {
        assert!(listed.lines().any(|line| line.trim_start().starts_with(row)), "{row} is not in {listed}");
    }
    refused(&["ablate", "graph-jepa", "--steps", "2"], &["declares no ablation table", "i-jepa"]);
    refused(&["ablate", "i-jepa", "--data", bare.to_str().unwrap()], &["one budget", "`--steps`"]);
    refused(&["ablate", "i-jepa", "--steps", "2", "--only", "pixel"], &["unknown row `pixel`", "pixel-target"]);
    refused(&["ablate", "i-jepa", "--list", "--set", "model.widht=3"], &["model.widht", "did you mean"]);
    // Before any run is trained: the rows are tried on the data first.
    refused(&ablation(&bare, &out, &["--only", "i-jepa,supervised"]), &["row `supervised`", "labels"]);
    assert!(!out.exists(), "nothing half-written");
    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    refused(&ablation(&bare, &file, &["--only", "i-jepa"]), &["file is a file", "choose another `--out`"]);
    assert!(!out.join("i-jepa").exists());
    fs::create_dir(root.path().join("full")).unwrap();
    fs::write(root.path().join("full/file"), "x").unwrap();
    refused(&ablation(&bare, &root.path().join("full"), &[]), &["holds no ablation"]);
}

#[test]
fn kept_networks_are_judged_without_labels_and_held_against_a_probe() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    let keep = ["train.keep_checkpoints=3", "train.judge_every=2", "train.health_every=2"];
    let (first, _) = run(&data, root.path(), "first", ("0", "6"), &keep);
    let (second, _) = run(&data, root.path(), "second", ("1", "6"), &keep);
    let stages: Vec<String> = fs::read_dir(first.join("stages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(stages.len(), 3, "{stages:?}");
    let [one, two] = [&first, &second].map(|run| run.to_str().unwrap());
    let page = root.path().join("page.html");
    let found = json(&["judge", one, two, "--json", "--out", page.to_str().unwrap()]);
    let networks = found["networks"].as_array().unwrap();
    let of_first: Vec<u64> = networks
        .iter()
        .filter(|network| network["run"] == one)
        .map(|network| network["step"].as_u64().unwrap())
        .collect();
    assert!([2, 4, 6].iter().all(|step| of_first.contains(step)), "{of_first:?}");
    // What the run said of the same networks while it trained.
    let metrics = fs::read_to_string(first.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut compared = 0;
    for network in networks.iter().filter(|network| network["run"] == one) {
        for field in ["lidar", "rankme", "effective_rank", "alpha", "loss"] {
            assert!(network[field].is_f64(), "{field} of {network}");
        }
        let step = |line: &&Value| line["step"] == network["step"] && line["health"].is_object();
        let Some(line) = lines.iter().find(step) else { continue };
        assert_eq!((&line["lidar"], &line["health"]["rankme"]), (&network["lidar"], &network["rankme"]));
        assert_eq!((&line["held_out_loss"], &line["health"]["alpha"]), (&network["loss"], &network["alpha"]));
        compared += 1;
    }
    assert!(compared >= 3, "{compared} of {lines:?}");
    let spearman = found["spearman"].as_array().unwrap();
    assert_eq!(spearman.len(), 5, "one system, so no groups within: {spearman:?}");
    assert!(spearman.iter().all(|one| one["n"] == networks.len()), "{spearman:?}");
    assert!(fs::read_to_string(page).unwrap().contains("LiDAR"));
    // A step that stays can be probed too, as the last ones can.
    let probed = json(&["probe", one, "--checkpoint", "2", "--json"]);
    let judged = networks.iter().find(|network| network["run"] == one && network["step"] == 2).unwrap();
    assert_eq!(linear(&probed), judged["probe"].as_f64().unwrap());

    let bare = root.path().join("bare");
    pictures(&bare, 40, 16);
    let (third, _) = run(&bare, root.path(), "third", ("0", "2"), &[]);
    let text = printed(&["judge", third.to_str().unwrap()]);
    assert!(text.contains("LiDAR") && !text.contains("Spearman"), "{text}");
    let without = json(&["judge", third.to_str().unwrap(), "--json"]);
    assert!(without["notes"].to_string().contains("labels") && without["networks"][0]["probe"].is_null(), "{without}");
    refused(&["judge", one, one], &["named twice"]);
    refused(&["judge", one, "--out", "nosuch/page.html"], &["nosuch/page.html", "make the folder"]);
    refused(&["judge", bare.to_str().unwrap()], &["holds no run"]);
}
