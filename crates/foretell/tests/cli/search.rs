//! `foretell search` from outside.

use std::fs;
use std::path::Path;

use crate::input::one_sentence;
use crate::uses::{json, labelled, printed, small_run};
use crate::{foretell, stderr};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_picture_finds_itself_and_the_page_shows_its_neighbours() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let query = data.join("second/007.png");
    for (end, more) in [("npz", &[][..]), ("safetensors", &["--probed"][..])] {
        let features = root.path().join(format!("features.{end}"));
        let mut arguments = vec!["embed", text(&run), text(&data), "--out", text(&features)];
        arguments.extend(more);
        printed(&arguments);
        let refused = foretell().args(["search", text(&features), "--query", text(&query)]).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains("--run"), "{}", stderr(&refused));

        let page = root.path().join("near.html");
        let first = json(&[
            "search",
            text(&features),
            "--run",
            text(&run),
            "--images",
            text(&data),
            "--query",
            text(&query),
            "--top",
            "3",
            "--json",
            "--report",
            text(&page),
        ]);
        assert_eq!((&first["rows"], first["queries"].as_array().map(Vec::len)), (&80.into(), Some(1)));
        let found = &first["queries"][0]["neighbours"];
        assert_eq!(found.as_array().map(Vec::len), Some(3));
        assert!(found[0]["similarity"].as_f64().unwrap() > 0.9999, "{found}");
        // The same picture may lie in both folders.
        assert!(found[0]["name"].as_str().unwrap().ends_with("/007.png"), "{found}");
        let page = fs::read_to_string(page).unwrap();
        assert_eq!(page.matches("<img ").count(), 4, "the query and three neighbours");
        assert!(!page.contains("no picture") && page.contains("/007.png"));

        // From what was kept: the index beside the features, and the index alone.
        let index = root.path().join("features.index.safetensors");
        for input in [&features, &index] {
            let again = json(&["search", text(input), "--query", text(&query), "--top", "3", "--json"]);
            assert_eq!(again["queries"], first["queries"]);
        }
        let row = json(&["search", text(&index), "--row", "0", "1", "--top", "99", "--json"]);
        assert_eq!(row["queries"].as_array().map(Vec::len), Some(2));
        let others = row["queries"][1]["neighbours"].as_array().unwrap();
        assert_eq!(others.len(), 79, "all but itself");
        assert!(others.iter().all(|hit| hit["row"] != 1));
    }
}

#[test]
fn what_cannot_be_searched_is_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let query = data.join("first/000.png");
    let features = root.path().join("features.npz");
    printed(&["embed", text(&run), text(&data), "--out", text(&features)]);
    let tokens = root.path().join("tokens.npz");
    printed(&["embed", text(&run), text(&data), "--tokens", "--out", text(&tokens)]);
    let other = root.path().join("other.npz");
    printed(&["embed", text(&run), text(&data.join("first")), "--out", text(&other)]);
    let bytes = fs::read(&features).unwrap();
    let cut = root.path().join("cut.npz");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let nothing = root.path().join("nothing.npz");
    fs::write(&nothing, "").unwrap();
    let words = root.path().join("words.txt");
    fs::write(&words, "these are words, and no picture at all").unwrap();

    let refused = |arguments: &[&str], parts: &[&str]| {
        one_sentence(&foretell().arg("search").args(arguments).output().unwrap(), parts);
    };
    refused(&[text(&features), "--row", "80"], &["--row 80", "80 rows, 0 to 79"]);
    refused(&[text(&tokens), "--row", "0"], &["--tokens"]);
    refused(&[text(&cut), "--row", "0"], &["cut.npz"]);
    refused(&[text(&nothing), "--row", "0"], &["is empty"]);
    refused(&[text(&words), "--row", "0"], &["words.txt", "foretell embed"]);
    refused(&[text(&root.path().join("gone.npz")), "--row", "0"], &["gone.npz"]);
    refused(&[text(&features), "--run", text(&run), "--query", text(&words)], &["words.txt"]);
    refused(&[text(&features), "--run", text(&root.path().join("no-run")), "--query", text(&query)], &["no-run"]);
    refused(&[text(&features), "--row", "0", "--report", text(&root.path().join("x.html"))], &["--images"]);
    refused(&[text(&other), "--images", text(&query), "--row", "0"], &["are not those of the images"]);

    // Features of one run, asked with another's, which is another network or has another width.
    for (seed, width, part) in [("1", "24", "is not what"), ("0", "28", "24 wide")] {
        let wrong = root.path().join(format!("run-{width}"));
        let (seed, width) = (format!("seed={seed}"), format!("model.width={width}"));
        printed(&[
            "train",
            "i-jepa",
            "--steps",
            "1",
            "--set",
            "train.batch=8",
            "--set",
            &seed,
            "--set",
            &width,
            "--set",
            "model.heads=2",
            "--set",
            "model.depth=2",
            "--set",
            "model.predictor_width=8",
            "--set",
            "model.predictor_depth=1",
            "--set",
            "model.ema.initial_teacher_limit=1.0",
            "--data",
            text(&data),
            "--out",
            text(&wrong),
        ]);
        let first = data.join("first");
        let arguments = [text(&other), "--run", text(&wrong), "--images", text(&first)];
        refused(&[&arguments[..], &["--query", text(&query)]].concat(), &[part]);
    }

    // A run that has gone since.
    printed(&["search", text(&features), "--run", text(&run), "--row", "0"]);
    fs::rename(&run, root.path().join("moved")).unwrap();
    refused(&[text(&features), "--query", text(&query)], &["--run", "holds no run"]);
}
