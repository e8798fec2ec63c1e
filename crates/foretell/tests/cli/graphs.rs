//! A run over graphs is used as one over images is, and says graphs where that one says images.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::input::one_sentence;
use crate::plan::refused;
use crate::uses::{json, printed};
use crate::{controlled, foretell, stderr};

/// A text file of rings: those of the second class have chords. The tags say nothing of the class.
pub(crate) fn file(path: &Path, count: usize) {
    let mut text = format!("{count}\n");
    for graph in 0..count {
        let (nodes, class) = (8 + graph % 5, graph % 2);
        let mut edges: Vec<(usize, usize)> = (0..nodes).map(|node| (node, (node + 1) % nodes)).collect();
        edges.extend((0..4 * class).map(|k| (k, (k + nodes / 2) % nodes)).filter(|(a, b)| a != b));
        let _ = writeln!(text, "{nodes} {class}");
        for node in 0..nodes {
            let next: Vec<String> = edges
                .iter()
                .filter_map(|(a, b)| (*a == node).then_some(b).or((*b == node).then_some(a)))
                .map(usize::to_string)
                .collect();
            let _ = writeln!(text, "{} {} {}", (node + graph) % 3, next.len(), next.join(" "));
        }
    }
    fs::write(path, text).unwrap();
}

/// A narrow Graph-JEPA.
const SMALL: [&str; 18] = [
    "train",
    "graph-jepa",
    "--steps",
    "4",
    "--set",
    "train.batch=8",
    "--set",
    "model.width=16",
    "--set",
    "model.heads=2",
    "--set",
    "model.depth=1",
    "--set",
    "model.parts.count=4",
    "--set",
    "model.targets=2",
    "--set",
    "model.layers=1",
];

fn train(data: &Path, run: &Path) -> Output {
    foretell().args(SMALL).arg("--data").arg(data).arg("--out").arg(run).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The set and its run.
fn trained(root: &Path) -> (PathBuf, PathBuf, String) {
    let (data, run) = (root.join("rings.txt"), root.join("run"));
    file(&data, 60);
    let output = train(&data, &run);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    (data, run, said)
}

/// No word of what other kinds of data are called.
#[track_caller]
fn speaks_of_graphs(said: &str) {
    assert!(said.contains("graph"), "{said}");
    for other in ["image", "picture", "scene", "pixel", "clips", "window"] {
        assert!(!said.to_lowercase().contains(other), "`{other}` is in: {said}");
    }
}

#[test]
fn a_run_over_graphs_is_embedded_inspected_reported_and_probed() {
    let root = tempfile::tempdir().unwrap();
    let (data, run, said) = trained(root.path());
    speaks_of_graphs(&said);
    for part in ["54 to train, 6 held out", "fold 1 of 10", "graphs/s", "node labels", "GRAPHS"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    assert_eq!(controlled(&run), ["probes", "neighbours", "ridge", "lidar"]);
    let name = text(&run);

    for (more, shape) in [(&[][..], "[60, 16]"), (&["--probed"][..], "[60, "), (&["--tokens"][..], "[60, 4, 16]")] {
        let out = root.path().join("features.npz");
        let output = foretell().args(["embed", name, text(&data), "--out", text(&out)]).args(more).output().unwrap();
        let said = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(shape), "{said}");
        speaks_of_graphs(&said);
    }
    let inspected = printed(&["inspect", text(&data)]);
    speaks_of_graphs(&inspected);
    for part in ["54 to train, 6 held out", "nodes", "node labels  3 (0 to 2)", "class: 2 classes (0, 1)"] {
        assert!(inspected.contains(part), "`{part}` is not in: {inspected}");
    }
    assert_eq!(json(&["inspect", text(&data), "--json"])["train"], 54);
    let inspected = printed(&["inspect", name]);
    speaks_of_graphs(&inspected);
    assert!(inspected.contains("Graph-JEPA on") && inspected.contains("What a ridge head reads"), "{inspected}");

    let own = json(&["probe", name, "--json"]);
    let summary: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(own["probes"], summary["probes"], "the same encoder on the same graphs");
    assert_eq!(own["probes"].as_array().map(Vec::len), Some(6), "three features, two probes");

    // Without its own data: the report from the folder alone, probes and features of other graphs.
    let other = root.path().join("others.txt");
    file(&other, 40);
    fs::remove_file(&data).unwrap();
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    fs::remove_file(run.join("report.html")).unwrap();
    printed(&["report", name]);
    assert_eq!(fs::read_to_string(run.join("report.html")).unwrap(), report, "the same report again");
    let body = report.split("</style>").last().unwrap();
    let words: String =
        body.split("data:image/png;base64,").map(|part| part.split_once('"').map_or(part, |p| p.1)).collect();
    speaks_of_graphs(&words);
    assert!(body.matches("data:image/png;base64,").count() > 6, "graphs are drawn");
    let probed = printed(&["probe", name, "--data", text(&other)]);
    assert!(probed.contains("node labels") && probed.contains("class"), "{probed}");
    let newest = json(&["probe", name, "--data", text(&other), "--checkpoint", "newest", "--json"]);
    assert_eq!(newest["probes"], json(&["probe", name, "--data", text(&other), "--json"])["probes"]);
    refused(&["probe", name], &["rings.txt", "graphs", "nothing at this path"]);
    refused(&["plan", name], &[name, "learnt from graphs", "foretell train --world two-rooms"]);
    refused(&["export", name, "--format", "onnx", "--out", "x.onnx"], &[name, "no vision transformer"]);
}

#[test]
fn graphs_are_searched_and_drawn() {
    let root = tempfile::tempdir().unwrap();
    let (data, run, _) = trained(root.path());
    let at = |name: &str| root.path().join(name);
    let (features, page) = (at("features.npz"), at("near.html"));
    printed(&["embed", text(&run), text(&data), "--out", text(&features)]);
    let row = ["search", text(&features), "--row", "7", "--top", "3", "--json"];
    let found = json(&[&row[..], &["--run", text(&run), "--data", text(&data), "--report", text(&page)]].concat());
    let hits = found["queries"][0]["neighbours"].as_array().unwrap();
    assert_eq!((&found["rows"], hits.len()), (&60.into(), 3));
    assert!(hits.iter().all(|hit| hit["row"] != 7), "a row does not find itself: {found}");
    let shown = fs::read_to_string(&page).unwrap();
    assert_eq!(shown.matches("<img ").count(), 4, "the query and three neighbours");
    let body = shown.split("</style>").last().unwrap();
    let words: String =
        body.split("data:image/png;base64,").map(|part| part.split_once('"').map_or(part, |p| p.1)).collect();
    speaks_of_graphs(&words);

    // A file of graphs as the query: each finds itself first.
    let query = at("query.txt");
    file(&query, 12);
    let found = json(&["search", text(&features), "--query", text(&query), "--top", "2", "--json"]);
    assert_eq!(found["queries"].as_array().map(Vec::len), Some(12));
    for (at, query) in found["queries"].as_array().unwrap().iter().enumerate() {
        let similarity = |row: usize| {
            let hits = query["neighbours"].as_array().unwrap();
            hits.iter().find(|hit| hit["row"] == row).map(|hit| hit["similarity"].as_f64().unwrap())
        };
        // Another ring of the same tags may be as near.
        let best = query["neighbours"][0]["similarity"].as_f64().unwrap();
        assert!(best > 0.999_99, "graph {at}: {query}");
        assert!(similarity(at).is_none_or(|own| own > 0.999_99), "graph {at}: {query}");
    }
    let refuse = |arguments: &[&str], parts: &[&str]| {
        one_sentence(&foretell().arg("search").args(arguments).output().unwrap(), parts);
    };
    fs::write(&query, "3\n").unwrap();
    refuse(&[text(&features), "--query", text(&query)], &["query.txt", "graphs", "truncated"]);
}

/// Bad graphs: exit code 2, one sentence that names them, and no run.
#[test]
fn graphs_that_cannot_be_used_are_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    let place = |name: &str| root.path().join(name);
    let refuse = |data: &Path, parts: &[&str]| {
        one_sentence(&train(data, &run), &[parts, &["graphs"]].concat());
        assert!(!run.exists(), "{parts:?}: something was left behind");
    };
    let one = place("set.txt");
    for (content, parts) in [
        ("", &["set.txt", "where the number of graphs was expected"][..]),
        ("0\n", &["set.txt", "holds no graphs"]),
        ("many\n", &["set.txt", "`many`", "number of graphs"]),
        ("1\n2 0\n0 1 1\n", &["promises 2 nodes", "truncated"]),
        ("1\n2 0\n0 1 1\n0 1 7\n", &["line 4", "an edge leads to node 7", "does not exist"]),
        ("1\n2 0\n0 1 one\n0 1 0\n", &["line 3", "`one`"]),
        ("1\n0 0\n", &["line 2", "no nodes"]),
    ] {
        fs::write(&one, content).unwrap();
        refuse(&one, parts);
    }
    refuse(&place("nowhere.txt"), &["nowhere.txt", "nothing at this path"]);
    file(&one, 16);
    refuse(&one, &["fewer than two batches of 8", "set `train.batch` to"]);

    let folder = place("TWO");
    fs::create_dir(&folder).unwrap();
    let part = |name: &str, content: &str| fs::write(folder.join(format!("TWO_{name}.txt")), content).unwrap();
    part("A", "1, 2\n2, 1\n3, 4\n4, 3\n");
    part("graph_indicator", "1\n1\n2\n2\n");
    part("graph_labels", "1\n");
    refuse(&folder, &["TWO_graph_labels.txt", "1", "2"]);
    part("graph_labels", "1\n2\n");
    part("A", "1, 2\n2, 9\n");
    refuse(&folder, &["TWO_A.txt", "node 9"]);
    part("A", "1, 2\n2, 1\n3, 4\n4, 3\n");
    part("graph_indicator", "1\nsecond\n2\n2\n");
    refuse(&folder, &["TWO_graph_indicator.txt", "second"]);
    fs::remove_file(folder.join("TWO_graph_indicator.txt")).unwrap();
    refuse(&folder, &["TWO_graph_indicator.txt"]);

    let set = place("RINGS");
    fs::create_dir_all(set.join("10fold_idx")).unwrap();
    file(&set.join("RINGS.txt"), 60);
    fs::write(set.join("10fold_idx/test_idx-1.txt"), "3\n4\n3\n").unwrap();
    refuse(&set, &["test_idx-1.txt", "names graph 3", "names already"]);
    fs::write(set.join("10fold_idx/test_idx-1.txt"), "3\n60\n").unwrap();
    refuse(&set, &["test_idx-1.txt", "graph 60", "does not exist"]);
    // Put right, the same folder trains.
    fs::write(set.join("10fold_idx/test_idx-1.txt"), "3\n4\n5\n").unwrap();
    let output = train(&set, &run);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("57 to train, 3 held out"), "{}", stderr(&output));

    // Other kinds of data are named, with what learns from them.
    let images = place("images");
    crate::pictures(&images, 3, 16);
    let data = ["--data", text(&images), "--out", "x"];
    refused(&[&SMALL[..], &data].concat(), &["graph-jepa learns from graphs", "holds images"]);
    let data = ["--data", text(&set), "--out", "x", "--steps", "1"];
    refused(&[&["train", "i-jepa"][..], &data].concat(), &["i-jepa learns from images", "holds graphs", "graph-jepa"]);
}

/// Graphs of a single node, without edges, in pieces and with repeated edges are graphs.
#[test]
fn small_and_broken_graphs_are_learnt_from() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (root.path().join("set.txt"), root.path().join("run"));
    let kinds =
        ["1 0\n0 0\n", "3 1\n0 0\n1 0\n2 0\n", "4 0\n0 1 1\n1 1 0\n2 1 3\n0 1 2\n", "2 1\n0 3 1 1 1\n1 3 0 0 0\n"];
    let all: String = (0..40).map(|i| kinds[i % kinds.len()]).collect();
    fs::write(&data, format!("40\n{all}")).unwrap();
    let refused = train(&data, &run);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(
        said.contains("10 of 40 graphs have several nodes and no edges") && said.contains("data.edgeless"),
        "{said}"
    );
    assert!(!run.exists());
    let output = foretell()
        .args(SMALL)
        .args(["--set", "data.edgeless=keep", "--data"])
        .arg(&data)
        .arg("--out")
        .arg(&run)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let inspected = printed(&["inspect", text(&data)]);
    assert!(inspected.contains("without edges") && inspected.contains("too often"), "{inspected}");
    let out = root.path().join("x.npz");
    printed(&["embed", text(&run), text(&data), "--out", text(&out)]);
}
