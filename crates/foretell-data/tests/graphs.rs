//! Graphs from both forms of files and from nothing: what is read, what is refused and how, and what a collator is given.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foretell_data::graphs::{
    Edgeless, Graph, GraphSample, GraphView, Graphs, GraphsConfig, MotifsConfig, NodeFeatures, Partition, Partitioner,
    PartsConfig, walks,
};
use foretell_data::random::{Stream, rng};
use foretell_data::{Auto, DataError, Decision, Modality, Normalise, Opening, Part};
use proptest::prelude::*;
use tempfile::TempDir;

/// A path, a triangle with an isolated node, and a single node; tags 4, 7 and 9, classes 1 and -1.
const ONE_FILE: &str = "3\n\
    3 1\n4 1 1\n7 2 0 2\n4 1 1\n\
    4 -1\n9 2 1 2\n9 2 0 2\n4 2 0 1\n7 0\n\
    1 1\n9 0\n";

/// The same graphs; the nodes of the first two are mixed.
const TU: [(&str, &str); 4] = [
    ("A", "1, 3\n3, 1\n3, 4\n4, 3\n2, 5\n5, 2\n5,6\n6,5\n2, 6\n6, 2\n"),
    ("graph_indicator", "1\n2\n1\n1\n2\n2\n2\n3\n"),
    ("graph_labels", "1\n-1\n1\n"),
    ("node_labels", "4\n9\n7\n4\n9\n4\n7\n9\n"),
];

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn one_file(root: &TempDir, text: impl AsRef<[u8]>) -> PathBuf {
    write(&root.path().join("TINY"), "TINY.txt", text)
}

/// The folder of [`TU`] with some files replaced, or removed where the text is empty.
fn tu(root: &TempDir, other: &[(&str, &str)]) -> PathBuf {
    let folder = root.path().join("SET");
    let mut files: HashMap<&str, &str> = TU.into_iter().collect();
    files.extend(other.iter().copied());
    for (what, text) in files {
        let name = format!("SET_{what}.txt");
        if text.is_empty() {
            _ = fs::remove_file(folder.join(name));
        } else {
            write(&folder, &name, text);
        }
    }
    folder
}

fn of(path: &Path) -> GraphsConfig {
    GraphsConfig { path: path.display().to_string(), ..GraphsConfig::default() }
}

fn open_with(config: &mut GraphsConfig) -> Result<(Graphs, Vec<Decision>), DataError> {
    let mut decisions = Vec::new();
    let mut opening = Opening { seed: 3, batch: 8, threads: 2, decisions: &mut decisions };
    Ok((Graphs::open(config, &mut opening)?, decisions))
}

fn open(path: &Path) -> Result<Graphs, DataError> {
    open_with(&mut of(path)).map(|(graphs, _)| graphs)
}

#[track_caller]
fn refused(path: &Path, parts: &[&str]) {
    says(&open(path).unwrap_err().to_string(), parts);
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(!message.contains('\n') && !message.contains("image"), "{message}");
}

fn all(path: &Path) -> Vec<Graph> {
    let graphs = Graphs::of_paths(&GraphsConfig::default(), &[path.to_owned()]).unwrap();
    (0..graphs.len(Part::Train).unwrap())
        .map(|index| Graph::clone(&graphs.load(Part::Train, index).unwrap().graph))
        .collect()
}

fn sample(tags: Vec<u32>, edges: &[(u32, u32)], walk: usize) -> GraphSample {
    let graph = Graph::new(tags, edges, &[]).unwrap();
    GraphSample {
        features: vec![1.0; graph.nodes()].into(),
        walks: walks(graph.adjacency(), walk).into(),
        feature_width: 1,
        walk,
        edge_classes: 0,
        graph: Arc::new(graph),
    }
}

#[test]
fn both_forms_hold_the_same_graphs_and_a_path_may_be_the_folder_or_the_file() {
    let root = tempfile::tempdir().unwrap();
    let (file, folder) = (one_file(&root, ONE_FILE), tu(&root, &[]));
    let graphs = all(&file);
    assert_eq!(graphs.len(), 3);
    assert_eq!((graphs[0].nodes(), graphs[0].edges(), graphs[0].tags()), (3, 2, &[0, 1, 0][..]));
    assert_eq!(graphs[1].adjacency().pairs().collect::<Vec<_>>(), [(0, 1), (0, 2), (1, 2)]);
    assert_eq!((graphs[1].adjacency().degree(3), graphs[1].tags()), (0, &[2, 2, 0, 1][..]));
    assert_eq!([graphs[0].labels(), graphs[1].labels(), graphs[2].labels()], [[1], [0], [1]]);
    for other in [file.parent().unwrap(), &folder, &folder.join("SET_A.txt")] {
        assert_eq!(all(other), graphs, "{}", other.display());
        assert!(Graphs::recognises(other));
    }
    // One node line more or less ends the text with Windows' line ends and without a last one.
    let windows = one_file(&root, ONE_FILE.trim_end().replace('\n', "\r\n"));
    assert_eq!(all(&windows), graphs);

    let set = Graphs::of_paths(&GraphsConfig::default(), &[file.clone(), folder]).unwrap();
    assert_eq!((set.len(Part::Train), set.len(Part::HeldOut)), (Some(6), Some(0)));
    assert_eq!(set.meta(Part::Train, 1).unwrap().name, "TINY/1");
    assert_eq!(set.meta(Part::Train, 5).unwrap().name, "SET/2");
    assert_eq!(set.factors()[0].classes, ["-1", "1"]);
}

#[test]
fn attributes_edge_labels_and_numbers_are_read() {
    let root = tempfile::tempdir().unwrap();
    let file = one_file(&root, "2\n2 0\n0 1 1 0.5 -2\n1 1 0 1.5e0 3\n1 1\n0 0 4 5\n");
    let graphs = all(&file);
    assert_eq!((graphs[0].attribute_width(), graphs[0].attributes()), (2, &[0.5, -2.0, 1.5, 3.0][..]));
    assert_eq!(graphs[1].attributes(), [4.0, 5.0]);

    let folder = tu(
        &root,
        &[
            ("edge_labels", "5\n5\n6\n6\n5\n5\n8\n8\n5\n5\n"),
            ("node_attributes", "1.0, 2\n3, 4\n5, 6\n7, 8\n9, 10\n11, 12\n13, 14\n15, 16\n"),
            ("graph_attributes", "0.25\n-1\n3\n"),
        ],
    );
    let graphs = all(&folder);
    // Node 3 of the file is the second of graph 1.
    assert_eq!(graphs[0].attributes(), [1.0, 2.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(graphs[0].edge_labels(), [0, 0, 1, 1]);
    // 0 – 1 has 5, 1 – 2 has 8, 0 – 2 has 5.
    assert_eq!(graphs[1].edge_labels(), [0, 0, 0, 2, 0, 2]);
    assert_eq!(graphs[1].numbers(), [-1.0]);

    // Without node labels attributes are taken, at mean 0 and deviation 1 over the training nodes.
    let folder = tu(&root, &[("node_labels", "")]);
    let mut config = of(&folder);
    let (set, decisions) = open_with(&mut config).unwrap();
    assert_eq!(config.node_features, Auto::Value(NodeFeatures::Constant));
    assert_eq!((config.attributes, config.tags.as_slice()), (Auto::Value(true), &[0][..]));
    assert!(decisions.iter().any(|decision| decision.what == "data.attributes" && decision.value == "true"));
    let rows: Vec<f32> = (0..set.len(Part::Train).unwrap())
        .flat_map(|index| set.load(Part::Train, index).unwrap().features.to_vec())
        .collect();
    assert_eq!((set.feature_width(), set.edge_classes()), (3, 3));
    for column in [1, 2] {
        let values: Vec<f32> = rows.chunks_exact(3).map(|row| row[column]).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square = values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-4, "{mean} {square}");
    }
    assert!(rows.chunks_exact(3).all(|row| row[0] == 1.0));
}

#[test]
fn loops_and_repeats_go_isolated_nodes_stay_and_a_set_says_so() {
    let root = tempfile::tempdir().unwrap();
    // 0 – 1 stands three times and is mirrored once; 1 – 1 is a loop; node 2 has only a loop.
    let file = one_file(&root, "2\n3 0\n0 3 1 1 1\n0 2 0 1\n0 1 2\n2 1\n0 0\n0 0\n");
    let graph = &all(&file)[0];
    assert_eq!((graph.nodes(), graph.edges(), graph.adjacency().degree(2)), (3, 1, 0));
    assert_eq!(walks(graph.adjacency(), 2), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    let config = GraphsConfig { edgeless: Edgeless::Keep, ..of(&file) };
    let notes = open_with(&mut config.clone()).unwrap().0.describe().notes.join("; ");
    says(
        &notes,
        &["1 graph is without edges", "listed 2 times too often", "2 edges from a node to itself are left out"],
    );
}

#[test]
fn a_graph_without_edges_is_a_graph() {
    let root = tempfile::tempdir().unwrap();
    let file = one_file(&root, "2\n3 0\n0 0\n1 0\n0 0\n1 1\n1 0\n");
    let error = open_with(&mut of(&file)).unwrap_err().to_string();
    assert!(
        error.contains("1 of 2 graphs have several nodes and no edges") && error.contains("`data.edgeless`"),
        "{error}"
    );
    let kept = |path: &Path| GraphsConfig { edgeless: Edgeless::Keep, ..of(path) };
    let (set, _) = open_with(&mut kept(&file)).unwrap();
    for (part, nodes) in [(Part::Train, [3, 1]), (Part::HeldOut, [3, 1])] {
        let sample = set.load(part, 0).unwrap();
        let view = GraphView::training(&sample, &PartsConfig::default(), &mut rng(0, Stream::Mask, 1, 0)).unwrap();
        assert!(nodes.contains(&view.nodes) && view.parts() == view.nodes && view.arcs.is_empty());
        assert!(view.part_walks_max.iter().chain(&view.part_walks_mean).all(|chance| *chance == 0.0));
        assert!(set.picture(&sample).is_some());
        assert_eq!(set.baseline(&sample).iter().sum::<f32>() as usize, view.nodes);
    }
    // The TU form of the same has an empty file of edges.
    let folder =
        tu(&root, &[("graph_indicator", "1\n1\n1\n2\n"), ("graph_labels", "0\n1\n"), ("node_labels", "0\n1\n0\n1\n")]);
    write(&folder, "SET_A.txt", "");
    assert_eq!(all(&folder), all(&file));
}

#[test]
fn graphs_that_do_not_fit_the_network_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let labelled =
        GraphsConfig { tags: vec![0, 1, 2], node_features: Auto::Value(NodeFeatures::Labels), ..of(root.path()) };
    let refused = |config: &GraphsConfig, path: &Path| {
        Graphs::of_paths(config, &[path.to_owned()]).map(|_| ()).unwrap_err().to_string()
    };
    // The TU form without a file of node labels, and the other form with the same tag everywhere.
    let bare = tu(&root, &[("node_labels", "")]);
    assert!(refused(&labelled, &bare).contains("have no labels, and the network was made for nodes with 3"));
    let alike = one_file(&root, format!("10\n{}", "2 0\n0 1 1\n0 1 0\n".repeat(10)));
    assert!(refused(&labelled, &alike).contains("have no labels"));
    // Few graphs may all be of one kind of node.
    let few = one_file(&root, "1\n2 0\n0 1 1\n0 1 0\n");
    assert!(Graphs::of_paths(&labelled, &[few]).is_ok());

    let with = |value: f32| one_file(&root, format!("1\n2 0\n0 1 1 {value}\n0 1 0 0.5\n"));
    let measured = GraphsConfig {
        attributes: Auto::Value(true),
        normalise: Normalise { mean: vec![0.5], std: vec![0.25] },
        ..GraphsConfig::default()
    };
    assert!(Graphs::of_paths(&measured, &[with(1e6)]).is_ok());
    let error = refused(&measured, &with(3e38));
    assert!(error.contains("graph 0") && error.contains("deviations from those of the training graphs"), "{error}");
    let none = one_file(&root, ONE_FILE);
    let error = open_with(&mut GraphsConfig { attributes: Auto::Value(true), ..of(&none) }).unwrap_err().to_string();
    assert!(error.contains("`data.attributes` is true") && error.contains("no attributes"), "{error}");
}

#[test]
fn a_folder_of_sets_is_recognised_and_several_are_named() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = root.path().join("sets").join(name);
        fs::create_dir_all(&folder).unwrap();
        write(&folder, &format!("{name}.txt"), ONE_FILE);
    };
    folder("ONE");
    let sets = root.path().join("sets");
    assert!(Graphs::recognises(&sets));
    assert_eq!(all(&sets).len(), 3);
    folder("TWO");
    assert!(Graphs::recognises(&sets));
    let error = Graphs::of_paths(&GraphsConfig::default(), &[sets]).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("ONE, TWO") && error.contains("give one of them"), "{error}");
    // A text file that begins with a number is said to be wrong as graphs.
    let file = one_file(&root, "2\nno graph\n");
    assert!(Graphs::recognises(&file));
}

#[test]
fn fold_files_split_and_without_them_folds_are_drawn() {
    let root = tempfile::tempdir().unwrap();
    let file = one_file(&root, ONE_FILE);
    let folds = file.with_file_name("10fold_idx");
    for fold in 0..3 {
        write(&folds, &format!("test_idx-{}.txt", fold + 1), format!("{fold}\n"));
        write(&folds, &format!("train_idx-{}.txt", fold + 1), format!("{}\n{}\n", (fold + 1) % 3, (fold + 2) % 3));
    }
    let mut config = GraphsConfig { fold: Auto::Value(2), ..of(file.parent().unwrap()) };
    let (set, decisions) = open_with(&mut config).unwrap();
    assert!(decisions.iter().all(|decision| decision.what != "data.fold"));
    assert_eq!((set.places(Part::Train), set.places(Part::HeldOut)), (&[2, 0][..], &[1][..]));
    assert_eq!((set.len(Part::Train), set.len(Part::HeldOut), set.folds().len()), (Some(2), Some(1), 3));
    let meta = set.meta(Part::HeldOut, 0).unwrap();
    assert_eq!((meta.name.as_str(), meta.labels, meta.group), ("TINY/1", vec![0], Some(2)));
    assert_eq!(set.meta(Part::Train, 0).unwrap().group, Some(3));
    assert_eq!(set.describe().split, "fold 2 of the 3 in `10fold_idx/`");

    // Without the training file all others train.
    fs::remove_file(folds.join("train_idx-2.txt")).unwrap();
    assert_eq!(open_with(&mut config.clone()).unwrap_err().to_string().matches("folds changed").count(), 1);
    config.fingerprint.clear();
    assert_eq!(open_with(&mut config).unwrap().0.places(Part::Train), [0, 2]);

    fs::remove_dir_all(&folds).unwrap();
    let mut config = of(&file);
    let (set, decisions) = open_with(&mut config).unwrap();
    let decision = decisions.iter().find(|decision| decision.what == "data.fold").unwrap();
    assert_eq!((decision.value.as_str(), config.fold), ("1", Auto::Value(1)));
    says(&decision.reason, &["3 stratified by class", "seed 12345"]);
    assert_eq!((set.len(Part::Train), set.len(Part::HeldOut)), (Some(2), Some(1)));
    for fold in [0, 4] {
        let error = open_with(&mut GraphsConfig { fold: Auto::Value(fold), ..of(&file) }).unwrap_err();
        says(&error.to_string(), &["`data.fold`", &format!("is {fold} of 3")]);
    }
}

#[test]
fn a_fold_file_that_contradicts_the_set_or_itself_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let file = one_file(&root, ONE_FILE);
    let folds = file.with_file_name("10fold_idx");
    fs::create_dir(&folds).unwrap();
    refused(&file, &["10fold_idx` are not usable", "expected `test_idx-1.txt`"]);
    write(&folds, "test_idx-2.txt", "0\n");
    refused(&file, &["`test_idx-1.txt` is missing, though there is one for 2"]);
    fs::remove_file(folds.join("test_idx-2.txt")).unwrap();
    for (test, train, parts) in [
        ("0\n0\n", "1\n", &["test_idx-1.txt", "line 2 names graph 0, which line 1 names already"][..]),
        (
            "0\n",
            "1\n2\n0\n",
            &["train_idx-1.txt", "line 3 names graph 0", "of `test_idx-1.txt` names too: it is in both parts"],
        ),
        ("3\n", "1\n", &["line 1 names graph 3, which does not exist: there are 3 (0 to 2)"]),
        ("-1\n", "1\n", &["names graph -1, which does not exist"]),
        ("0\n1.0\n", "2\n", &["line 2 holds `1.0` where the number of a graph was expected"]),
        ("first\n", "2\n", &["holds `first`"]),
        ("", "2\n", &["test_idx-1.txt", "it names no graph"]),
        ("1\n", "", &["train_idx-1.txt", "it names no graph"]),
    ] {
        write(&folds, "test_idx-1.txt", test);
        write(&folds, "train_idx-1.txt", train);
        refused(&file, parts);
    }
    fs::remove_file(folds.join("train_idx-1.txt")).unwrap();
    write(&folds, "test_idx-1.txt", "0\n1\n2\n");
    refused(&file, &["holds out all 3 graphs"]);
}

#[test]
fn a_text_file_that_is_none_or_is_cut_short_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (text, parts) in [
        ("", &["TINY.txt` are not usable", "line 1 holds nothing where the number of graphs was expected"][..]),
        ("0\n", &["it holds no graphs"]),
        ("many\n", &["line 1 holds `many`"]),
        ("-3\n", &["line 1 holds `-3`"]),
        ("1\n2\n", &["line 2 holds `2` where graph 0 was expected to begin with its number of nodes and its label"]),
        ("1\n1 a\n0 0\n", &["line 2 holds `1 a`"]),
        ("1\n1\n0 0\n", &["its label"]),
        ("1\n0 1\n", &["line 2: graph 0 has no nodes"]),
        (
            "1\n2 1\n0 1 1\n0 1 2\n",
            &["line 4 (node 1 of graph 0)", "leads to node 2, which does not exist: the graph has 2 (0 to 1)"],
        ),
        ("1\n1 1\n0 1 1\n", &["node 1, which does not exist: the graph has 1 (0 alone)"]),
        ("1\n2 1\n0 1 -1\n0 0\n", &["node -1, which does not exist"]),
        ("1\n2 1\n0 1 x\n0 0\n", &["`x` was found where a neighbour's number was expected (its neighbour 1 of 1)"]),
        ("1\n2 1\n0 1 1.0\n0 0\n", &["`1.0` was found where a neighbour's number"]),
        (
            "1\n2 1\n0 2 1\n0 1 0\n",
            &["expected a neighbour's number, found the end of the line (its neighbour 2 of 2)"],
        ),
        ("1\n2 1\nC 1 1\n0 1 0\n", &["line 3 (node 0 of graph 0): `C` was found where the node's tag"]),
        ("1\n2 1\n0 -1\n0 0\n", &["-1 was found where the number of neighbours"]),
        ("1\n1 1\n0 0 nan\n", &["`nan` was found where an attribute, a finite number, was expected"]),
        ("1\n2 1\n0 0 1.5\n0 0\n", &["line 4 (node 1 of graph 0) has 0 attributes where the nodes before have 1"]),
        ("2\n1 1\n0 0\n", &["line 1 promises 2 graphs, but the file ends after 1: it is truncated"]),
        ("1\n3 1\n0 0\n0 0\n", &["graph 0 promises 3 nodes, but the file ends after 2 of them: it is truncated"]),
        ("1\n1 1\n0 0\n1 1\n0 0\n", &["line 1 promises 1 graphs, but line 4 goes on with `1 1`"]),
        // What a header claims is never reserved.
        ("9223372036854775807\n1 1\n0 0\n", &["promises 9223372036854775807 graphs, but the file ends after 1"]),
        ("1\n9223372036854775807 1\n0 0\n", &["promises 9223372036854775807 nodes, but the file ends after 1"]),
        ("1\n1 1\n0 9223372036854775807 0\n", &["found the end of the line (its neighbour 2 of 9223372036854775807)"]),
        ("99999999999999999999\n", &["line 1 holds `99999999999999999999` where"]),
    ] {
        refused(&one_file(&root, text), parts);
    }
    refused(&one_file(&root, b"1\n1 1\n0 \xff\n"), &["expected numbers as text, found other bytes from byte 8 on"]);
}

#[test]
fn a_tu_folder_that_contradicts_itself_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (files, parts) in [
        (&[("graph_labels", "")][..], &["labels are missing: expected `SET_graph_labels.txt`"][..]),
        (&[("graph_labels", "1\n-1\n")], &["line 8 puts a node into graph 3, but `SET_graph_labels.txt` has 2 lines"]),
        (&[("graph_labels", "1\n-1\n1\n1\n")], &["graph 4 has no nodes, though `SET_graph_labels.txt` has 4 lines"]),
        (&[("graph_labels", "1\n\n1\n")], &["SET_graph_labels.txt", "line 2 holds nothing"]),
        (&[("graph_labels", "1\ntoxic\n1\n")], &["line 2 holds `toxic` where a graph's label"]),
        (
            &[("node_labels", "4\n9\n")],
            &["SET_node_labels.txt", "it has 2 lines, but `…_graph_indicator.txt` has 8 nodes"],
        ),
        (
            &[("node_labels", "4,1\n9,1\n7\n4\n9\n4\n7\n9\n")],
            &["line 1 holds `4,1` where a node's label, one whole number"],
        ),
        (&[("edge_labels", "1\n2\n")], &["it has 2 lines, but `…_A.txt` has 10 edges"]),
        (&[("node_attributes", "1\n2\n")], &["SET_node_attributes.txt", "it has 2 lines"]),
        (
            &[("node_attributes", "1\n2\n3\n4, 4\n5\n6\n7\n8\n")],
            &["line 4 has 2 numbers where the lines before have 1"],
        ),
        (&[("node_attributes", "1\n2\n3\ninf\n5\n6\n7\n8\n")], &["line 4 holds `inf` where a finite number"]),
        (
            &[("A", "1, 3\n1, 9\n")],
            &["SET_A.txt", "line 2: an edge leads to node 9, which does not exist: there are 8 (1 to 8)"],
        ),
        (&[("A", "0, 1\n")], &["line 1: an edge leads to node 0"]),
        (&[("A", "1, -4\n")], &["leads to node -4"]),
        (&[("A", "1, b\n")], &["line 1 names the node `b`, which is no whole number"]),
        (&[("A", "1 3\n")], &["line 1 holds `1 3` where an edge, two numbers with a comma between"]),
        (&[("A", "1, 2\n")], &["line 1 joins node 1 of graph 1 with node 2 of graph 2"]),
        (&[("graph_indicator", " ")], &["it holds no nodes"]),
        (
            &[("graph_indicator", "1\n2\n1\n1\n2\n2\n2\n4000000000000000000\n")],
            &["puts a node into graph 4000000000000000000"],
        ),
        (&[("graph_indicator", "0\n2\n1\n1\n2\n2\n2\n3\n")], &["line 1 puts a node into graph 0"]),
        (&[("graph_indicator", "")], &["SET_graph_indicator.txt", "there is nothing at this path"]),
    ] {
        let root = if files.iter().any(|(_, text)| text.is_empty()) { &tempfile::tempdir().unwrap() } else { &root };
        refused(&tu(root, files), parts);
        // The next case begins with whole files again.
        fs::remove_dir_all(root.path().join("SET")).unwrap();
    }
}

#[test]
fn a_path_without_graphs_is_refused() {
    let root = tempfile::tempdir().unwrap();
    refused(&root.path().join("nowhere"), &["nowhere` are not usable: there is nothing at this path", "NAME_A.txt"]);
    refused(root.path(), &["expected `NAME_A.txt` with its companions", "found 0 text files"]);
    assert!(!Graphs::recognises(root.path()) && !Graphs::recognises(&root.path().join("nowhere")));
    write(root.path(), "A_A.txt", "");
    write(root.path(), "B_A.txt", "");
    refused(root.path(), &["it holds several sets (A, B)"]);
    let notes = write(root.path(), "notes.txt", "hello\n");
    assert!(!Graphs::recognises(&notes));
    let error = Graphs::of_paths(&GraphsConfig::default(), &[]).unwrap_err();
    assert!(error.to_string().contains("no input was given"), "{error}");
    let walk = GraphsConfig { walk: 0, ..GraphsConfig::default() };
    says(&open_with(&mut walk.clone()).unwrap_err().to_string(), &["`data.walk` is 0, but must be 1 to 1024"]);
}

#[test]
fn a_resumed_run_notices_other_data_and_other_data_must_fit_the_network() {
    let root = tempfile::tempdir().unwrap();
    let file = one_file(&root, ONE_FILE);
    let mut config = of(&file);
    open_with(&mut config).unwrap();
    let resolved = config.clone();
    open_with(&mut config).unwrap();
    assert_eq!(config, resolved);
    assert_eq!(config.tags, [4, 7, 9]);
    one_file(&root, ONE_FILE.replace("9 0\n", "4 0\n"));
    says(&open_with(&mut config).unwrap_err().to_string(), &["not what this run began with", "start a new run"]);

    // Other graphs keep the network's tags, in its order.
    let other = write(root.path(), "other.txt", "2\n2 5\n9 1 1\n7 1 0\n1 6\n4 0\n");
    let elsewhere = Graphs::elsewhere(&resolved, &other.display().to_string());
    assert_eq!((elsewhere.fold, elsewhere.fingerprint.as_str()), (Auto::Auto, ""));
    let (set, _) = open_with(&mut elsewhere.clone()).unwrap();
    assert_eq!(set.feature_width(), 3);
    let graph = Graphs::of_paths(&elsewhere, std::slice::from_ref(&other)).unwrap().load(Part::Train, 0).unwrap();
    assert_eq!(graph.features[..], [0.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    let strange = write(root.path(), "strange.txt", "1\n1 5\n8 0\n");
    let error = Graphs::of_paths(&elsewhere, &[strange]).unwrap_err().to_string();
    says(&error, &["strange.txt", "graph 0", "the node label 8 is none of the 3 that the network was made for"]);
}

#[test]
fn a_config_is_written_and_read_back() {
    let root = tempfile::tempdir().unwrap();
    let mut config = of(&one_file(&root, ONE_FILE));
    for _ in 0..2 {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<GraphsConfig>(&text).unwrap(), config);
        open_with(&mut config).unwrap();
    }
    let short: GraphsConfig = serde_json::from_str(r#"{"fold": 3, "node_features": "degrees"}"#).unwrap();
    assert_eq!((short.fold, short.node_features), (Auto::Value(3), Auto::Value(NodeFeatures::Degrees)));
    let parts: PartsConfig = serde_json::from_str(r#"{"by": "random"}"#).unwrap();
    assert_eq!(parts, PartsConfig { by: Partitioner::Random, ..PartsConfig::default() });
}

#[test]
fn the_baseline_counts_node_labels_or_else_degrees() {
    let root = tempfile::tempdir().unwrap();
    let set = open(&one_file(&root, ONE_FILE)).unwrap();
    let whole = Graphs::of_paths(set.config(), &[one_file(&root, ONE_FILE)]).unwrap();
    assert_eq!(whole.baseline(&whole.load(Part::Train, 1).unwrap()), [1.0, 1.0, 2.0]);
    assert!(!set.describe().facts.iter().any(|(label, _)| label == "baseline"));

    // A star of 40 leaves.
    let hub: Vec<String> = (1..=40).map(|leaf| leaf.to_string()).collect();
    let star = format!("2\n41 0\n0 40 {}\n{}1 1\n0 0\n", hub.join(" "), "0 1 0\n".repeat(40));
    let mut config = of(&one_file(&root, star));
    let (set, decisions) = open_with(&mut config).unwrap();
    says(&decisions[1].reason, &["nodes have no labels"]);
    let whole = Graphs::of_paths(&config, &[PathBuf::from(&config.path)]).unwrap();
    let sample = whole.load(Part::Train, 0).unwrap();
    let counts = whole.baseline(&sample);
    assert_eq!((counts.len(), counts[1], counts[31], counts.iter().sum::<f32>()), (32, 40.0, 1.0, 41.0));
    assert!(
        set.describe().facts.contains(&("baseline".to_owned(), "counts of degrees (0 to 30, and more)".to_owned()))
    );
    assert!(sample.features.iter().all(|value| *value == 1.0));
    let degrees = GraphsConfig { node_features: Auto::Value(NodeFeatures::Degrees), ..config.clone() };
    let sample = Graphs::of_paths(&degrees, &[PathBuf::from(&config.path)]).unwrap().load(Part::Train, 0).unwrap();
    assert_eq!((sample.feature_width, sample.features[31], sample.features[32 + 1]), (32, 1.0, 1.0));
}

#[test]
fn training_visits_every_graph_once_in_an_epoch() {
    let root = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..30).map(|n| format!("1 {}\n{n} 0\n", n % 2)).collect();
    let file = one_file(&root, format!("30\n{}", texts.concat()));
    let set = Arc::new(open(&file).unwrap());
    assert_eq!(set.len(Part::Train), Some(27));
    let source = set.training(9, 1).unwrap();
    let epoch = |first: u64| -> Vec<u32> {
        (first..first + 3).flat_map(|step| source.batch(step).unwrap()).map(|sample| sample.graph.tags()[0]).collect()
    };
    let (one, two) = (epoch(1), epoch(4));
    assert_ne!(one, two);
    let sorted = |mut tags: Vec<u32>| {
        tags.sort_unstable();
        tags
    };
    let expected: Vec<u32> = sorted(set.places(Part::Train).iter().map(|place| *place as u32).collect());
    assert_eq!((sorted(one), sorted(two)), (expected.clone(), expected));
}

#[test]
fn generated_graphs_are_a_function_of_seed_part_and_index_and_need_no_file() {
    let mut config = GraphsConfig::default();
    let (set, decisions) = open_with(&mut config).unwrap();
    assert_eq!((set.len(Part::Train), set.len(Part::HeldOut)), (Some(4_000), Some(1_000)));
    assert_eq!(decisions.len(), 1);
    assert_eq!(Graphs::source(&config), "built-in graphs");
    let first = set.load(Part::Train, 5).unwrap();
    assert_eq!(first, open_with(&mut GraphsConfig::default()).unwrap().0.load(Part::Train, 5).unwrap());
    assert_eq!(set.meta(Part::Train, 5).unwrap().labels, first.graph.labels());
    assert_eq!(
        (first.feature_width, first.features.len(), first.walks.len()),
        (5, 5 * first.graph.nodes(), 20 * first.graph.nodes())
    );
    let other = Graphs::generated(&MotifsConfig { seed: 1, ..MotifsConfig::default() }, &config);
    for another in [set.load(Part::Train, 6), set.load(Part::HeldOut, 5), other.load(Part::Train, 5)] {
        assert_ne!(first.graph, another.unwrap().graph);
    }
    assert_eq!(set.factors().iter().map(|factor| factor.classes.len()).collect::<Vec<_>>(), [5, 4, 3, 3]);
    says(&set.load(Part::HeldOut, 1_000).unwrap_err().to_string(), &["sample 1000", "the held-out part has 1000"]);
    let fold = GraphsConfig { fold: Auto::Value(1), ..GraphsConfig::default() };
    says(&open_with(&mut fold.clone()).unwrap_err().to_string(), &["`data.fold`", "generated graphs"]);
    let image = set.picture(&first).unwrap();
    assert_eq!((image.width, image.height, image.channels), (160, 160, 3));
}

/// How many of 400 held-out graphs have the class whose mean over 2,000 training graphs is nearest.
fn nearest_mean(set: &Graphs, factor: usize, features: impl Fn(&GraphSample) -> Vec<f32>) -> f32 {
    let classes = set.factors()[factor].classes.len();
    let train: Vec<(Vec<f32>, usize)> = (0..2_000)
        .map(|index| {
            let sample = set.load(Part::Train, index).unwrap();
            (features(&sample), sample.graph.labels()[factor] as usize)
        })
        .collect();
    let width = train[0].0.len();
    let moment = |column: usize| {
        let mean = train.iter().map(|(row, _)| row[column]).sum::<f32>() / train.len() as f32;
        let square = train.iter().map(|(row, _)| (row[column] - mean).powi(2)).sum::<f32>() / train.len() as f32;
        (mean, square.sqrt().max(1e-6))
    };
    let moments: Vec<(f32, f32)> = (0..width).map(moment).collect();
    let scaled =
        |row: &[f32]| -> Vec<f32> { row.iter().zip(&moments).map(|(x, (mean, std))| (x - mean) / std).collect() };
    let (mut means, mut counts) = (vec![vec![0.0; width]; classes], vec![0.0_f32; classes]);
    for (row, class) in &train {
        counts[*class] += 1.0;
        means[*class].iter_mut().zip(scaled(row)).for_each(|(mean, x)| *mean += x);
    }
    means.iter_mut().zip(&counts).for_each(|(mean, count)| mean.iter_mut().for_each(|x| *x /= count));
    let right = (0..400).filter(|&index| {
        let sample = set.load(Part::HeldOut, index).unwrap();
        let row = scaled(&features(&sample));
        let distance = |class: usize| row.iter().zip(&means[class]).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let nearest = (0..classes).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap();
        nearest == sample.graph.labels()[factor] as usize
    });
    right.count() as f32 / 400.0
}

#[test]
fn the_generated_factors_lie_in_the_structure_and_not_in_the_counts_of_labels() {
    let (set, _) = open_with(&mut GraphsConfig::default()).unwrap();
    let structure = |sample: &GraphSample| {
        let rows = sample.walks.chunks_exact(sample.walk);
        let mut mean = vec![0.0; sample.walk];
        rows.for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / sample.graph.nodes() as f32));
        mean
    };
    for (factor, chance, floor) in [(0, 0.2, 0.4), (2, 0.333, 0.48)] {
        let (counts, walks) =
            (nearest_mean(&set, factor, |sample| set.baseline(sample)), nearest_mean(&set, factor, structure));
        assert!(counts < chance + 0.1 && walks > floor, "factor {factor}: counts {counts}, walks {walks}");
    }
}

#[test]
fn settings_of_parts_out_of_range_are_refused() {
    let sample = sample(vec![0; 4], &[(0, 1)], 3);
    for (config, part) in [
        (PartsConfig { count: 0, ..PartsConfig::default() }, "`parts.count` is 0"),
        (PartsConfig { drop_edges: 1.5, ..PartsConfig::default() }, "`parts.drop_edges` is 1.5"),
        (PartsConfig { drop_edges: f64::NAN, ..PartsConfig::default() }, "`parts.drop_edges` is NaN"),
        (PartsConfig { hops: 65, ..PartsConfig::default() }, "`parts.hops` is 65"),
    ] {
        says(&GraphView::whole(&sample, &config).unwrap_err().to_string(), &[part]);
    }
}

#[test]
fn edge_labels_go_with_their_arcs_and_a_whole_view_is_always_the_same() {
    let edges = [(0, 1), (1, 2), (2, 0), (2, 3)];
    let graph = Graph::new(vec![0; 4], &edges, &[0, 1, 2, 3]).unwrap();
    let of_pair = |u: u32, v: u32| edges.iter().position(|edge| *edge == (u, v) || *edge == (v, u)).unwrap() as u32;
    let labelled = GraphSample { edge_classes: 4, graph: Arc::new(graph), ..sample(vec![0; 4], &edges, 5) };
    let view = GraphView::whole(&labelled, &PartsConfig { count: 2, ..PartsConfig::default() }).unwrap();
    assert_eq!(view.arcs.len(), view.arc_labels.len());
    for (&(from, to), &label) in view.arcs.iter().zip(&view.arc_labels) {
        assert_eq!(label, of_pair(view.members[from as usize], view.members[to as usize]));
    }
    assert_eq!(view, GraphView::whole(&labelled, &PartsConfig { count: 2, ..PartsConfig::default() }).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Against the definitions, one after the other.
    #[test]
    fn a_view_is_what_it_says(
        nodes in 1_usize..40,
        ends in proptest::collection::vec((0_u32..40, 0_u32..40), 0..90),
        count in 1_usize..36,
        hops in 0_usize..3,
        seed in 0_u64..100,
    ) {
        let edges: Vec<_> = ends.into_iter().map(|(u, v)| (u % nodes as u32, v % nodes as u32)).collect();
        let sample = sample(vec![0; nodes], &edges, 4);
        let adjacency = sample.graph.adjacency();
        let partition = Partition::new(adjacency, count, Partitioner::Equal, &mut rng(seed, Stream::Mask, 0, 0)).unwrap();
        let view = GraphView::of(&sample, &partition, hops);
        let parts = count.min(nodes);
        prop_assert_eq!((view.parts(), view.nodes), (parts, nodes));
        prop_assert_eq!(view.sizes.iter().sum::<u32>() as usize, view.copies());

        // Nodes within `hops` edges of a part, by repeated growth of a set.
        let within = |part: u32| {
            let mut inside: Vec<bool> = partition.part_of().iter().map(|own| *own == part).collect();
            for _ in 0..hops {
                let before = inside.clone();
                for (u, v) in adjacency.pairs() {
                    inside[u as usize] |= before[v as usize];
                    inside[v as usize] |= before[u as usize];
                }
            }
            inside
        };
        let insides: Vec<Vec<bool>> = (0..parts as u32).map(within).collect();
        let mut expected_members = Vec::new();
        let mut expected_parts = Vec::new();
        for (part, inside) in (0..).zip(&insides) {
            let own: Vec<u32> = (0..nodes as u32).filter(|node| inside[*node as usize]).collect();
            prop_assert_eq!(view.sizes[part as usize] as usize, own.len());
            expected_parts.extend(own.iter().map(|_| part));
            expected_members.extend(own);
        }
        prop_assert_eq!(&view.members, &expected_members);
        prop_assert_eq!(&view.part_of, &expected_parts);

        let mut expected_arcs = Vec::new();
        for (from, &u) in (0..).zip(&view.members) {
            for (to, &v) in (0..).zip(&view.members) {
                if view.part_of[from as usize] == view.part_of[to as usize] && adjacency.neighbours(u).contains(&v) {
                    expected_arcs.push((from, to));
                }
            }
        }
        prop_assert_eq!(&view.arcs, &expected_arcs);

        for (a, first) in insides.iter().enumerate() {
            for (b, second) in insides.iter().enumerate() {
                let common = first.iter().zip(second).filter(|(a, b)| **a && **b).count();
                prop_assert_eq!(view.overlap[a * parts + b], common as f32);
            }
            for step in 0..4 {
                let own: Vec<f32> = (0..nodes).filter(|node| first[*node]).map(|node| sample.walks[4 * node + step]).collect();
                let most = own.iter().copied().fold(0.0, f32::max);
                let mean = own.iter().sum::<f32>() / own.len() as f32;
                prop_assert_eq!(view.part_walks_max[4 * a + step], most);
                prop_assert!((view.part_walks_mean[4 * a + step] - mean).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn any_text_is_graphs_or_a_sentence(text in "[0-9 \\n,.a-]{0,60}") {
        let root = tempfile::tempdir().unwrap();
        if let Err(error) = open(&one_file(&root, &text)) {
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
        let folder = tu(&root, &[("A", &text)]);
        _ = open(&folder).map_err(|error| error.to_string());
    }
}
