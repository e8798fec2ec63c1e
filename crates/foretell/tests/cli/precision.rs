//! Networks held in fewer bits, from outside: near the features in f32, remembered with them, declined where there is nothing to hold so.

use std::fs;
use std::path::Path;

use crate::input::one_sentence;
use crate::released::{arrays, folder};
use crate::uses::{json, labelled, printed, small_run};
use crate::{foretell, pictures};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The least cosine of two files' rows, and whether all values are the same.
fn compared(a: &Path, b: &Path) -> (f64, bool) {
    let of = |path: &Path| arrays(path).0.remove("features").unwrap();
    let ((shape, a), (other, b)) = (of(a), of(b));
    assert_eq!(shape, other);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let cosine = |(a, b): (&[f32], &[f32])| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    let rows = a.chunks_exact(shape[1]).zip(b.chunks_exact(shape[1]));
    (rows.map(cosine).fold(1.0, f64::min), a == b)
}

/// The JSON that lies beside features.
fn about(path: &Path) -> serde_json::Value {
    arrays(path).1.get("about").map_or(serde_json::Value::Null, |about| serde_json::from_str(about).unwrap())
}

#[test]
fn a_runs_features_in_fewer_bits_are_near_and_a_search_makes_its_query_likewise() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let at = |name: &str| root.path().join(format!("{name}.safetensors"));
    let embed = |name: &str, more: &[&str], threads: &str| {
        let output = foretell()
            .args(["embed", text(&run), text(&data), "--out", text(&at(name))])
            .args(more)
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", crate::stderr(&output));
    };
    embed("plain", &[], "2");
    embed("f32", &["--precision", "f32"], "2");
    assert_eq!(fs::read(at("plain")).unwrap(), fs::read(at("f32")).unwrap(), "f32 changes nothing");
    for precision in ["bf16", "int8"] {
        embed(precision, &["--precision", precision], "2");
        let (cosine, same) = compared(&at("f32"), &at(precision));
        assert!(cosine >= 0.999 && !same, "{precision}: {cosine}");
        assert_eq!(about(&at(precision))["precision"], precision);
        for threads in ["1", "3"] {
            embed("again", &["--precision", precision], threads);
            assert!(compared(&at(precision), &at("again")).1, "{precision} with {threads} threads");
        }
        let query = data.join("second/007.png");
        let rows = at(precision);
        let arguments = ["search", text(&rows), "--run", text(&run), "--data", text(&data)];
        let found = json(&[&arguments[..], &["--query", text(&query), "--json"]].concat());
        assert!(found["queries"][0]["neighbours"][0]["similarity"].as_f64().unwrap() > 0.999_999, "{found}");
        // The index remembers it: the same query, by the index alone.
        let index = root.path().join(format!("{precision}.index.safetensors"));
        let again = json(&["search", text(&index), "--query", text(&query), "--json"]);
        assert_eq!(again["queries"], found["queries"]);
        assert!(fs::read_to_string(&index).is_err(), "not a text");
        let kept = fs::read(&index).unwrap();
        let said = format!("\\\"precision\\\":\\\"{precision}\\\"");
        assert!(kept.windows(said.len()).any(|part| part == said.as_bytes()), "the index says {precision}");
    }
    let probed = ["--probed", "--precision", "int8"];
    embed("probed", &["--probed"], "2");
    embed("again", &probed, "2");
    assert!(compared(&at("probed"), &at("again")).0 >= 0.999);
}

#[test]
fn a_published_models_features_say_their_precision_and_keep_the_models_mark() {
    let root = tempfile::tempdir().unwrap();
    let (model, data) = (folder(root.path(), "i-jepa"), root.path().join("data"));
    pictures(&data, 9, 20);
    let at = |name: &str| root.path().join(format!("{name}.safetensors"));
    let embed = |name: &str, more: &[&str]| {
        let out = at(name);
        let arguments = ["embed", "--model", text(&model), text(&data), "--json", "--out", text(&out)];
        json(&[&arguments[..], more].concat())
    };
    let plain = embed("f32", &[]);
    assert!(plain.get("precision").is_none() && plain["made_by"].get("precision").is_none(), "{plain}");
    for precision in ["bf16", "int8"] {
        let told = embed(precision, &["--precision", precision]);
        assert_eq!((&told["precision"], &told["made_by"]["precision"]), (&precision.into(), &precision.into()));
        assert_eq!(told["made_by"]["mark"], plain["made_by"]["mark"], "the same weights were read");
        assert_eq!(about(&at(precision))["precision"], precision);
        let (cosine, same) = compared(&at("f32"), &at(precision));
        assert!(cosine >= 0.999 && !same, "{precision}: {cosine}");
        let query = data.join("007.png");
        let found = json(&["search", text(&at(precision)), "--query", text(&query), "--json"]);
        let first = &found["queries"][0]["neighbours"][0];
        assert_eq!(first["row"], 7);
        assert!(first["similarity"].as_f64().unwrap() > 0.999_999, "{first}");
    }
}

#[test]
fn a_classifier_in_fewer_bits_names_the_same_classes() {
    let root = tempfile::tempdir().unwrap();
    let (model, data) = (folder(root.path(), "i-jepa-classifier"), root.path().join("data"));
    pictures(&data, 5, 20);
    let classify = |more: &[&str]| {
        let arguments = ["classify", "--model", text(&model), text(&data), "--json", "--top", "3"];
        json(&[&arguments[..], more].concat())
    };
    let plain = classify(&[]);
    for precision in ["bf16", "int8"] {
        let told = classify(&["--precision", precision]);
        assert_eq!(told["precision"], precision);
        for (ours, exact) in told["results"].as_array().unwrap().iter().zip(plain["results"].as_array().unwrap()) {
            let probability = |of: &serde_json::Value, class: &serde_json::Value| {
                let guesses = of["top"].as_array().unwrap();
                guesses.iter().find(|guess| guess["class"] == *class).unwrap()["probability"].as_f64().unwrap()
            };
            for guess in exact["top"].as_array().unwrap() {
                let off = probability(ours, &guess["class"]) - probability(exact, &guess["class"]);
                assert!(off.abs() < 0.02, "{precision}: {ours} where {exact}");
            }
        }
    }
}

#[test]
fn what_cannot_be_held_in_fewer_bits_is_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let (data, run, out) = (labelled(root.path()), root.path().join("run"), root.path().join("x.npz"));
    let mut train = vec!["train", "le-jepa", "--steps", "1", "--set", "train.batch=4"];
    for setting in ["model.projector=[16]", "model.code_width=8", "model.backbone.widths=[8]"] {
        train.extend(["--set", setting]);
    }
    printed(&[&train[..], &["--data", text(&data), "--out", text(&run)]].concat());
    let embed = ["embed", text(&run), text(&data), "--out", text(&out), "--precision"];
    let output = foretell().args(embed).arg("int8").output().unwrap();
    one_sentence(&output, &["`--precision int8`", "the encoder of", "leave `--precision` out"]);
    let plan = foretell().args(["plan", "--episodes", "1", "--precision", "int8"]).output().unwrap();
    one_sentence(&plan, &["`--precision int8`", "the built-in model", "leave `--precision` out"]);
    assert!(!out.exists());
    let output = foretell().args(embed).arg("int4").output().unwrap();
    let said = crate::stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(["int4", "f32", "bf16", "int8"].iter().all(|part| said.contains(part)), "{said}");

    let vit = root.path().join("vit");
    small_run(&data, &vit);
    for (format, precision, part) in [("hf", "int8", "`--format onnx`"), ("onnx", "bf16", "take int8")] {
        let to = root.path().join("there");
        let arguments = ["export", text(&vit), "--format", format, "--out", text(&to), "--precision", precision];
        one_sentence(&foretell().args(arguments).output().unwrap(), &[part]);
        assert!(!to.exists());
    }
    let size = |precision: &str| {
        let to = root.path().join(format!("{precision}.onnx"));
        let arguments = ["export", text(&vit), "--format", "onnx", "--out", text(&to), "--precision", precision];
        printed(&arguments);
        fs::metadata(to).unwrap().len()
    };
    // The blocks' maps: 2 · 12 · 24² numbers, of which each takes three bytes less, beside scales and nodes.
    let (whole, small) = (size("f32"), size("int8"));
    assert!(small + 2 * 12 * 24 * 24 * 3 < whole + 8 * (2 * 9 * 24) + 12_000, "{small} of {whole} bytes");
}

#[test]
fn an_evaluation_may_compute_its_features_in_fewer_bits_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    let probed = |system: &str, precision: &str, more: &[&str]| {
        let run = root.path().join(format!("{system}-{precision}"));
        let setting = format!("judge.precision={precision}");
        let mut train = vec!["train", system, "--steps", "2", "--set", "train.batch=8", "--set", &setting];
        for setting in more {
            train.extend(["--set", setting]);
        }
        printed(&[&train[..], &["--data", text(&data), "--out", text(&run)]].concat());
        json(&["probe", text(&run), "--json"])
    };
    let small = ["model.depth=2", "model.ema.initial_teacher_limit=1.0"];
    let (full, eight) = (probed("i-jepa", "f32", &small), probed("i-jepa", "int8", &small));
    assert!(eight["notes"].to_string().contains("maps in int8"), "{eight}");
    assert!(full["notes"].is_null(), "{full}");
    let rows = |probed: &serde_json::Value| {
        let rows = probed["probes"].as_array().unwrap().clone();
        rows.iter().map(|row| row["accuracy"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let (full, eight) = (rows(&full), rows(&eight));
    assert!(full.len() == eight.len() && !full.is_empty());
    // A held-out picture or two may be named otherwise.
    assert!(full.iter().zip(&eight).all(|(full, eight)| (full - eight).abs() < 0.2), "{full:?} {eight:?}");
    let residual = ["model.projector=[16]", "model.code_width=8", "model.backbone.widths=[8]"];
    let residual = probed("le-jepa", "int8", &residual);
    assert!(residual["notes"].to_string().contains("computed in f32"), "{residual}");

    let wrong = foretell().args(["train", "i-jepa", "--set", "judge.precision=int4"]).output().unwrap();
    one_sentence(&wrong, &["judge.precision", "int4", "bf16"]);
}
