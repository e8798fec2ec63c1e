//! `foretell search` from outside.

use std::fs;
use std::path::Path;

use crate::input::one_sentence;
use crate::released::{folder, golden, weights};
use crate::uses::{json, labelled, printed, small_run};
use crate::{foretell, pictures, stderr};

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
    refused(&[text(&features), "--row", "0", "--report", text(&root.path().join("x.html"))], &["--data"]);
    refused(&[text(&other), "--images", text(&query), "--row", "0"], &["are not those of the data"]);

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

#[test]
fn features_remember_the_published_model_that_made_them() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let (model, data) = (folder(root.path(), "i-jepa"), at("data"));
    pictures(&data, 9, 20);
    for (i, (end, more)) in [("npz", &[][..]), ("safetensors", &["--layers", "0,1"][..])].into_iter().enumerate() {
        let features = at(&format!("features.{end}"));
        let embed = ["embed", "--model", text(&model), text(&data), "--out", text(&features)];
        let told = json(&[&embed[..], more, &["--json"]].concat());
        assert_eq!(told["made_by"]["model"], text(&model));
        let (page, width) = (at("near.html"), 24 * (1 + i));
        let (third, seventh) = (data.join("003.png"), data.join("007.png"));
        let searched = ["search", text(&features), "--query", text(&third), text(&seventh)];
        let shown = ["--images", text(&data), "--report", text(&page), "--top", "2", "--json"];
        let found = json(&[&searched[..], &shown].concat());
        assert_eq!((&found["rows"], &found["width"]), (&9.into(), &width.into()));
        for (query, row) in [(0, 3), (1, 7)] {
            let first = &found["queries"][query]["neighbours"][0];
            assert_eq!(first["row"], row, "{first}");
            assert!(first["similarity"].as_f64().unwrap() > 0.999_99, "{first}");
        }
        let page = fs::read_to_string(page).unwrap();
        assert_eq!(page.matches("<img ").count(), 6, "two queries and two neighbours of each");
        assert!(page.contains(text(&model)) && !page.contains("no picture"));
        let index = json(&["search", text(&at("features.index.safetensors")), "--query", text(&third), "--json"]);
        assert_eq!(index["queries"][0]["neighbours"][0]["row"], 3, "the index remembers it too");
    }
}

#[test]
fn features_of_clips_are_searched_with_a_clip() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let (model, clips) = (folder(root.path(), "v-jepa-2"), at("clips"));
    let (gif, frames) = (clips.join("moving.gif"), clips.join("frames"));
    pictures(&frames, 3, 20);
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-data/tests/clips/disposals.gif"), &gif).unwrap();
    let (features, page) = (at("features.npz"), at("near.html"));
    // Two frames and all of them are different rows: so many are taken of the query too.
    printed(&["embed", "--model", text(&model), text(&clips), "--frames", "2", "--out", text(&features)]);
    let asked = ["search", text(&features), "--query", text(&gif), text(&frames), "--json"];
    let found = json(&[&asked[..], &["--images", text(&clips), "--report", text(&page)]].concat());
    for (query, name) in [(0, "moving.gif"), (1, "frames")] {
        let first = &found["queries"][query]["neighbours"][0];
        assert!(first["name"].as_str().unwrap().ends_with(name), "{first}");
        assert!(first["similarity"].as_f64().unwrap() > 0.999_99, "{first}");
    }
    let page = fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<img ").count(), 6, "a frame of each");
    assert!(!page.contains("no picture"), "{page}");
}

#[test]
fn the_encoder_that_was_chosen_makes_the_query_too() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let mut tensors = golden("official-v-jepa-2");
    let target = tensors.clone().into_iter().filter_map(|(name, mut tensor)| {
        // Reversed, another encoder altogether.
        tensor.values.reverse();
        Some((format!("weights.target_encoder.{}", name.strip_prefix("weights.encoder.")?), tensor))
    });
    tensors.extend(target.collect::<Vec<_>>());
    let (file, data, features) = (at("vitx.pt"), at("data"), at("features.npz"));
    fs::write(&file, weights(&tensors)).unwrap();
    pictures(&data, 4, 16);
    let clips: Vec<_> = (0..4).map(|i| data.join(format!("{i:03}.png"))).collect();
    let mut embed = vec!["embed", "--model", text(&file), "--heads", "2", "--crop", "16"];
    embed.extend(["--encoder", "target-encoder", "--out", text(&features)]);
    embed.extend(clips.iter().map(|path| text(path)));
    printed(&embed);
    let found = json(&["search", text(&features), "--query", text(&clips[2]), "--json"]);
    let first = &found["queries"][0]["neighbours"][0];
    assert!(first["row"] == 2 && first["similarity"].as_f64().unwrap() > 0.999_99, "{first}");
}

#[test]
fn a_model_that_moved_or_changed_is_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let (model, data, features) = (folder(root.path(), "i-jepa"), at("data"), at("features.npz"));
    pictures(&data, 3, 20);
    printed(&["embed", "--model", text(&model), text(&data), "--out", text(&features)]);
    let query = data.join("001.png");
    let refused = |more: &[&str], parts: &[&str]| {
        let base = ["search", text(&features), "--query", text(&query)];
        one_sentence(&foretell().args([&base[..], more].concat()).output().unwrap(), parts);
        assert!(!at("features.index.safetensors").exists(), "nothing is kept of a search that failed");
    };
    refused(&["--run", text(&at("run"))], &["--run", "published model", "leave"]);
    let moved = at("moved");
    fs::rename(&model, &moved).unwrap();
    refused(&[], &["is not at", "i-jepa", "--model DIR|FILE"]);

    // One number of a bias, and one of the preprocessing.
    let (file, config) = (moved.join("model.safetensors"), moved.join("preprocessor_config.json"));
    let whole = fs::read(&file).unwrap();
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(&file, other).unwrap();
    refused(&["--model", text(&moved)], &["moved is not the one that made the features", "--model DIR|FILE"]);
    fs::write(&file, &whole).unwrap();
    fs::write(&config, r#"{"size": {"height": 16, "width": 20}, "image_mean": [0, 0, 0]}"#).unwrap();
    refused(&["--model", text(&moved)], &["moved is not the one that made the features"]);
    fs::remove_file(&config).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    refused(&["--model", text(&moved)], &["cannot be used", "model.safetensors"]);
    fs::write(&file, &whole).unwrap();

    let at_last = json(&["search", text(&features), "--model", text(&moved), "--query", text(&query), "--json"]);
    assert_eq!(at_last["queries"][0]["neighbours"][0]["row"], 1);
    let again = json(&["search", text(&features), "--query", text(&query), "--json"]);
    assert_eq!(again["queries"], at_last["queries"], "its new place is kept");
}
