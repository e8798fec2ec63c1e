//! How `embed` takes what it is given: told, overruled by an option, and remembered for a search.

use std::fs;
use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma};
use safetensors::SafeTensors;
use serde_json::Value;

use super::trained;
use super::video::{Bench, webp};
use crate::made::npz::{Method, bytes, floats, write};
use crate::plan::{refused, succeeded};
use crate::released::folder;
use crate::{foretell, made, pictures, stderr};

fn rows(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().tensor("features").unwrap().data().to_vec()
}

/// A grey picture of these numbers, as a camera of 12 bits has them, and as 8 bits are.
fn twelve(seed: u32) -> (Vec<u8>, Vec<u8>) {
    // 819 = 4095 / 5 is 51 = 255 / 5, and so on.
    let at = |x: u32, y: u32| (x * 7 + y * 3 + x * y + seed) % 6;
    let deep = ImageBuffer::from_fn(16, 16, |x, y| Luma([(at(x, y) * 819) as u16]));
    let plain = ImageBuffer::from_fn(16, 16, |x, y| Luma([(at(x, y) * 51) as u8]));
    let png = |image: &DynamicImage| made::encoded(image, ImageFormat::Png);
    (png(&DynamicImage::ImageLuma16(deep)), png(&DynamicImage::ImageLuma8(plain)))
}

#[test]
fn twelve_bits_are_told_and_spread_by_an_option() {
    let bench = Bench::new();
    for place in ["deep", "plain"] {
        fs::create_dir_all(bench.at(place)).unwrap();
    }
    for seed in 0..4 {
        let (deep, plain) = twelve(seed);
        fs::write(bench.at(&format!("deep/{seed}.png")), deep).unwrap();
        fs::write(bench.at(&format!("plain/{seed}.png")), plain).unwrap();
    }
    let out = bench.at("y.safetensors");
    // Rows for pictures, and for the frames of a clip.
    for model in ["i-jepa", "v-jepa-2"] {
        let (told, said) = bench.embed(model, &["plain"], &[]).unwrap();
        assert!(!said.contains("--range") && !told.to_string().contains("--range"), "{said}");
        let expected = rows(&out);
        let (told, said) = bench.embed(model, &["deep"], &[]).unwrap();
        assert!(said.contains("go from 0 to 4095") && said.contains("`--range 0,4095` spreads them"), "{said}");
        assert!(told.to_string().contains("`--range 0,4095`"), "{told}");
        assert_ne!(rows(&out), expected, "{model}");
        let (told, said) = bench.embed(model, &["deep"], &["--range", "0,4095"]).unwrap();
        assert!(!said.contains("spreads them") && !told["notes"].to_string().contains("spreads"), "{said}");
        assert_eq!(rows(&out), expected, "{model}");
    }
    for range in ["4095,0", "0", "0,70000", "a,b"] {
        let said = bench.embed("i-jepa", &["deep"], &["--range", range]).unwrap_err();
        assert!(said.contains("two whole numbers from 0 to 65535"), "{said}");
    }
}

#[test]
fn animations_stills_and_colours_that_do_not_fit_are_told() {
    let bench = Bench::new();
    let colours = [([10, 20, 30], 100), ([200, 20, 30], 100), ([90, 90, 90], 100)];
    fs::write(bench.at("moving.webp"), webp(&colours)).unwrap();
    pictures(&bench.at("many"), 4, 20);
    fs::write(bench.at("many/moving.webp"), webp(&colours)).unwrap();
    for input in ["moving.webp", "many"] {
        let (told, said) = bench.embed("i-jepa", &[input], &[]).unwrap();
        assert!(said.contains("1 picture is animated: the first frame is taken"), "{said}");
        assert!(told["notes"].to_string().contains("the first frame is taken"), "{told}");
    }
    let (_, said) = bench.embed("i-jepa", &["many/000.png"], &[]).unwrap();
    assert!(!said.contains("animated"), "{said}");
    // A still picture for a model of clips.
    let (told, said) = bench.embed("v-jepa-2", &["many/000.png"], &[]).unwrap();
    assert!(said.contains("a still picture is taken as a clip that shows it all the time"), "{said}");
    assert!(told["notes"].to_string().contains("shows it all the time"), "{told}");
    let (_, said) = bench.embed("v-jepa-2", &["many/000.png", "many/001.png"], &[]).unwrap();
    assert!(said.contains("2 still pictures are taken as a clip each"), "{said}");
    let (_, said) = bench.embed("v-jepa-2", &["many/000.png"], &["--images"]).unwrap();
    assert!(!said.contains("still"), "{said}");
    // A run that learnt from grey pictures.
    let grey = bench.at("grey");
    fs::create_dir_all(&grey).unwrap();
    (0..40).for_each(|i| fs::write(grey.join(format!("{i}.png")), made::png(16, 16, 1, i)).unwrap());
    let run = bench.at("run");
    trained(&grey, &run, &[]);
    let embed = |input: &str| {
        let out = bench.at("z.npz");
        let output = foretell().arg("embed").arg(&run).arg(bench.at(input)).arg("--out").arg(&out).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(embed("many").contains("the encoder learnt from grey images: coloured ones are made grey"));
    assert!(embed("many").contains("1 picture is animated"));
    assert!(!embed("grey").contains("made grey"));
}

#[test]
fn a_search_takes_pictures_as_the_features_took_them() {
    let root = tempfile::tempdir().unwrap();
    let (model, many) = (folder(root.path(), "v-jepa-2"), root.path().join("many"));
    pictures(&many, 5, 20);
    let features = root.path().join("features.npz");
    let [model, many, features] = [&model, &many, &features].map(|path| path.to_str().unwrap());
    succeeded(&["embed", "--model", model, many, "--images", "--out", features], "2");
    let found = succeeded(&["search", features, "--query", many, "--json"], "2");
    let found: Value = serde_json::from_str(&found).unwrap();
    let queries = found["queries"].as_array().unwrap();
    // A row for each picture, and not one for a clip of five.
    assert_eq!(queries.len(), 5, "{found:#}");
    for (row, query) in queries.iter().enumerate() {
        assert_eq!(query["neighbours"][0]["row"], row, "{found:#}");
        assert!(query["neighbours"][0]["similarity"].as_f64().unwrap() > 0.999_99, "{found:#}");
    }
}

#[test]
fn options_of_published_models_say_so() {
    let bench = Bench::new();
    pictures(&bench.at("many"), 40, 16);
    let (run, many, out) = (bench.at("run"), bench.at("many"), bench.at("y.npz"));
    trained(&many, &run, &[]);
    let [run, many, out] = [&run, &many, &out].map(|path| path.to_str().unwrap());
    for option in [&["--images"][..], &["--frames-by", "index"], &["--frames", "3"], &["--range", "0,4095"]] {
        let arguments = [&["embed", run, many, "--out", out], option].concat();
        refused(&arguments, &[&format!("`{}` is for published models", option[0]), "--model DIR|FILE"]);
    }
    let said = bench.embed("i-jepa", &["many"], &["--frames-by", "index"]).unwrap_err();
    assert!(said.contains("takes all frames of a video, a row each") && said.trim().lines().count() == 1, "{said}");
    bench.embed("i-jepa", &["many"], &["--frames-by", "index", "--frames", "2"]).unwrap();
    // An archive of arrays that holds no image.
    let empty = bench.at("empty.npz");
    for (members, words) in [
        (vec![], "holds no images: it holds nothing"),
        (vec![("weights", floats("(2,)", [1.0, 2.0]))], "holds no images: it holds weights"),
        (vec![("images", bytes("(0, 8, 8)", []))], "holds no images"),
    ] {
        write(&empty, &members, Method::Stored);
        refused(&["embed", run, empty.to_str().unwrap(), "--out", out], &["empty.npz", words]);
    }
}

#[test]
fn weights_of_other_kinds_and_means_that_are_none_are_said() {
    let bench = Bench::new();
    pictures(&bench.at("many"), 2, 20);
    let embed = |model: &Path| {
        let output = foretell()
            .args(["embed", "--model"])
            .args([model, &bench.at("many")])
            .arg("--out")
            .arg(bench.at("y.npz"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let said = stderr(&output);
        assert_eq!(said.trim().lines().count(), 1, "{said}");
        said
    };
    for (name, head, word) in [
        ("model.h5", &b"\x89HDF\r\n\x1a\n\0\0\0\0"[..], "it is an HDF5 file, as Keras writes weights"),
        ("model.pth", b"\x89HDF\r\n\x1a\n\0\0\0\0", "it is an HDF5 file"),
        ("model.gguf", b"GGUF\x03\0\0\0\0\0\0\0", "it is a GGUF file"),
    ] {
        fs::write(bench.at(name), head).unwrap();
        let said = embed(&bench.at(name));
        assert!(said.contains(word) && said.contains("model.safetensors"), "{said}");
    }
    let model = folder(&bench.at("."), "i-jepa");
    for (value, found) in [
        (r#""x""#, r#"image_mean is "x""#),
        ("[0.5, null, 0.5]", "image_mean is [0.5,null,0.5]"),
        ("{}", "image_mean is {}"),
    ] {
        fs::write(model.join("preprocessor_config.json"), format!("{{\"image_mean\": {value}}}")).unwrap();
        let said = embed(&model);
        assert!(said.contains(found) && said.contains("one for each of three channels"), "{said}");
        assert!(!said.contains("untagged"), "{said}");
    }
}

#[test]
fn arrays_say_how_they_are_taken_and_features_what_they_are() {
    let bench = Bench::new();
    let place = |name: &str, content: Vec<u8>| {
        fs::write(bench.at(name), content).unwrap();
        bench.at(name)
    };
    let notes = |path: &Path| super::notes(&super::inspected(path));
    let last = place("last.npy", bytes("(4, 16, 20, 3)", (0..3840).map(|i| (i % 251) as u8)));
    assert!(notes(&last).contains("its axes [4, 16, 20, 3] are taken as [T, H, W, C], and 255 as white"));
    let first = place("first.npy", floats("(4, 3, 16, 20)", (0..3840).map(|i| (i % 50) as f32 / 49.0)));
    assert!(notes(&first).contains("its axes [4, 3, 16, 20] are taken as [T, C, H, W], and 1 as white"));
    let (told, said) = bench.embed("v-jepa-2", &["first.npy"], &[]).unwrap();
    assert!(said.contains("and 1 as white") && told["clips"].to_string().contains("and 1 as white"), "{told}");
    // Normalised already, by ImageNet's mean and deviation.
    let normal = place("normal.npy", floats("(4, 16, 20, 3)", (0..3840).map(|i| (i % 50) as f32 / 10.0 - 2.1)));
    let said = bench.embed("v-jepa-2", &["normal.npy"], &[]).unwrap_err();
    for part in ["normal.npy", "-2.1", "x * std + mean", "--input X.npy"] {
        assert!(said.contains(part), "`{part}` is not in {said}");
    }
    refused(&["inspect", normal.to_str().unwrap()], &["x * std + mean"]);
    // Rows of features, and what is done with them.
    let features = place("features.npy", floats("(5, 8)", (0..40).map(|i| (i * i % 17) as f32)));
    let told = super::inspected(&features);
    assert_eq!((&told["kind"], &told["rows"], &told["width"]), (&"features".into(), &5.into(), &8.into()), "{told}");
    let next = told["next"].as_str().unwrap().strip_prefix("foretell ").unwrap();
    succeeded(&next.split(' ').collect::<Vec<_>>(), "2");
    assert!(succeeded(&["inspect", features.to_str().unwrap()], "2").contains("next      foretell search"));
}
