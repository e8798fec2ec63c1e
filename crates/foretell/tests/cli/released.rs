//! Published models from the command line: the networks and outputs of `crates/foretell-nn/tests/released`, made by transformers and
//! PyTorch, as folders and files that a user would have.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use foretell_nn::weights::{NamedTensor, NamedTensors, to_bytes};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::{foretell, made, pictures, stderr};

/// The tensors of a golden file.
pub(crate) fn golden(name: &str) -> NamedTensors {
    let bytes = fs::read(of_nn(&format!("{name}.safetensors"))).unwrap();
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let values = match view.dtype() {
            Dtype::BF16 => view.data().chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect(),
            Dtype::F32 => view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            _ => return None,
        };
        Some((name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values }))
    };
    SafeTensors::deserialize(&bytes).unwrap().iter().filter_map(tensor).collect()
}

fn of_nn(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-nn/tests/released").join(name)
}

pub(crate) fn weights(golden: &NamedTensors) -> Vec<u8> {
    let own = |(name, t): (&String, &NamedTensor)| Some((name.strip_prefix("weights.")?.to_owned(), t.clone()));
    to_bytes(&golden.iter().filter_map(own).collect())
}

/// A Hugging Face folder of a golden file.
pub(crate) fn folder(root: &Path, name: &str) -> PathBuf {
    let folder = root.join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("model.safetensors"), weights(&golden(name))).unwrap();
    fs::copy(of_nn(&format!("{name}.json")), folder.join("config.json")).unwrap();
    folder
}

/// A `.npy` of this type and shape.
fn npy(path: &Path, kind: &str, shape: &[usize], bytes: &[u8]) {
    let axes = shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let mut dict = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({axes},), }}");
    dict.push_str(&" ".repeat(63 - (10 + dict.len()) % 64));
    dict.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((dict.len() as u16).to_le_bytes());
    file.extend(dict.bytes());
    file.extend(bytes);
    fs::write(path, file).unwrap();
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The golden input as a user would save it: without the axis of time where it has one frame.
fn input(root: &Path, golden: &NamedTensors) -> PathBuf {
    let clips = &golden["input.clips"];
    let shape: Vec<usize> =
        clips.shape.iter().enumerate().filter(|(i, n)| *i != 1 || **n > 1).map(|(_, n)| *n).collect();
    let path = root.join("x.npy");
    npy(&path, "<f4", &shape, &floats(&clips.values));
    path
}

#[track_caller]
fn run(arguments: &[&str]) -> Output {
    foretell().args(arguments).output().unwrap()
}

#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Shapes and values by name.
type Arrays = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The float arrays of a safetensors file, and its metadata.
pub(crate) fn arrays(path: &Path) -> (Arrays, HashMap<String, String>) {
    let bytes = fs::read(path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let array = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (name.to_owned(), (view.shape().to_vec(), values))
    };
    (file.iter().map(array).collect(), metadata.metadata().clone().unwrap())
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 1e-5, "off by {off:e}");
}

#[test]
fn tokens_are_those_of_transformers() {
    for name in ["i-jepa", "v-jepa-2"] {
        let root = tempfile::tempdir().unwrap();
        let (golden, model) = (golden(name), folder(root.path(), name));
        let (x, out) = (input(root.path(), &golden), root.path().join("y.safetensors"));
        let [model, x, y] = [&model, &x, &out].map(|path| path.to_str().unwrap());
        let expected = &golden["output.tokens"];
        let told = json(&["embed", "--model", model, "--input", x, "--tokens", "--out", y, "--json"]);
        assert_eq!((&told["array"], &told["encoder"]), (&"tokens".into(), &"the only one".into()));
        let (tokens, metadata) = arrays(&out);
        assert_eq!(tokens["tokens"].0, expected.shape);
        close(&tokens["tokens"].1, &expected.values);
        let about: Value = serde_json::from_str(&metadata["about"]).unwrap();
        assert_eq!((&about["model"], &about["preprocessing"]["filter"]), (&told["model"], &"bilinear".into()));

        json(&["embed", "--model", model, "--input", x, "--out", y, "--json"]);
        let (features, _) = arrays(&out);
        let [b, n, d] = *expected.shape else { panic!("{:?}", expected.shape) };
        let mean =
            |row: usize, i: usize| (0..n).map(|t| expected.values[(row * n + t) * d + i]).sum::<f32>() / n as f32;
        let means: Vec<f32> = (0..b).flat_map(|row| (0..d).map(move |i| (row, i))).map(|(r, i)| mean(r, i)).collect();
        assert_eq!(features["features"].0, [b, d]);
        close(&features["features"].1, &means);

        // The last block is what is taken without `--layers`.
        let last = if name == "i-jepa" { "0,1" } else { "0" };
        json(&["embed", "--model", model, "--input", x, "--layers", last, "--tokens", "--out", y, "--json"]);
        let (layers, _) = arrays(&out);
        let count = last.len().div_ceil(2);
        assert_eq!(layers["tokens"].0, [b, count, n, d]);
        if name == "i-jepa" {
            close(&layers["tokens"].1[(count - 1) * n * d..count * n * d], &expected.values[..n * d]);
        }
        let npz = root.path().join("y.npz");
        json(&["embed", "--model", model, "--input", x, "--tokens", "--out", npz.to_str().unwrap(), "--json"]);
        let bytes = fs::read(&npz).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for part in ["tokens.npy", "names.npy", "about.npy", "'shape': ()"] {
            assert!(text.contains(part), "{part}");
        }
    }
}

#[test]
fn classifiers_name_what_transformers_names() {
    for (name, labels) in
        [("i-jepa-classifier", &["cat", "dog", "boat"][..]), ("v-jepa-2-classifier", &["fall", "roll", "jump", "rest"])]
    {
        let root = tempfile::tempdir().unwrap();
        let (golden, model) = (golden(name), folder(root.path(), name));
        let x = input(root.path(), &golden);
        let [model, x] = [&model, &x].map(|path| path.to_str().unwrap());
        let found = json(&["classify", "--model", model, "--input", x, "--top", "2", "--json"]);
        let logits = &golden["output.logits"];
        for (row, logits) in logits.values.chunks_exact(logits.shape[1]).enumerate() {
            let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            let top = found["results"][row]["top"].as_array().unwrap();
            assert_eq!((top.len(), &top[0]["label"]), (2, &labels[best].into()));
            assert!((top[0]["logit"].as_f64().unwrap() - f64::from(logits[best])).abs() < 1e-5);
        }
    }
}

#[test]
fn images_and_clips_are_preprocessed_and_named() {
    let root = tempfile::tempdir().unwrap();
    let (of_images, of_clips) = (folder(root.path(), "i-jepa-classifier"), folder(root.path(), "v-jepa-2-classifier"));
    let frames = root.path().join("clips/frames");
    pictures(&frames, 3, 20);
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-data/tests/clips/disposals.gif");
    fs::copy(&clip, root.path().join("clips/moving.gif")).unwrap();
    let all = root.path().join("clips");
    let [images, clips, frames, all] = [&of_images, &of_clips, &frames, &all].map(|path| path.to_str().unwrap());
    let out = root.path().join("y.safetensors");
    let y = out.to_str().unwrap();

    let told = json(&["embed", "--model", images, frames, "--out", y, "--json"]);
    assert_eq!((&told["rows"], &told["array"]), (&3.into(), &"features".into()));
    let by_folder = arrays(&out).0.remove("features").unwrap();
    assert_eq!(by_folder.0, [3, 24]);
    assert_ne!(by_folder.1[..24], by_folder.1[24..48], "different images");

    let told = json(&["embed", "--model", clips, all, "--tokens", "--out", y, "--json"]);
    assert_eq!((&told["rows"], &told["shape"]), (&2.into(), &serde_json::json!([2, 32, 28])));
    let names: Vec<String> = serde_json::from_str(&arrays(&out).1["names"]).unwrap();
    assert!(names[0].ends_with("frames") && names[1].ends_with("moving.gif"), "{names:?}");
    let halved = json(&["embed", "--model", clips, all, "--tokens", "--frames", "2", "--out", y, "--json"]);
    assert_eq!(halved["shape"], serde_json::json!([2, 16, 28]));

    let found = json(&["classify", "--model", clips, all, "--json"]);
    assert_eq!(found["results"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["results"][1]["top"].as_array().map(Vec::len), Some(4), "no more than there are");
    let text = run(&["classify", "--model", images, frames, "--top", "1"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.lines().count() == 3 && text.contains("000.png: ") && text.contains(" %"), "{text}");

    let bicubic =
        r#"{"resample": 3, "size": {"height": 16, "width": 20}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}"#;
    fs::write(of_images.join("preprocessor_config.json"), bicubic).unwrap();
    let told = json(&["embed", "--model", images, frames, "--out", y, "--json"]);
    assert_eq!(told["preprocessing"]["from"], "preprocessor_config.json");
    assert_ne!(arrays(&out).0["features"].1, by_folder.1, "the folder's own preprocessing");
}

#[test]
fn official_files_say_which_encoder_was_taken() {
    let root = tempfile::tempdir().unwrap();
    let mut golden = golden("official-v-jepa-2");
    let doubled: Vec<(String, NamedTensor)> = golden
        .iter()
        .filter_map(|(name, t)| Some((name.strip_prefix("weights.encoder.")?, t)))
        .map(|(name, t)| {
            let values = t.values.iter().map(|x| x * 0.5).collect();
            (format!("weights.target_encoder.{name}"), NamedTensor { shape: t.shape.clone(), values })
        })
        .collect();
    golden.extend(doubled);
    let file = root.path().join("vitx.pt");
    fs::write(&file, weights(&golden)).unwrap();
    let (x, out) = (input(root.path(), &golden), root.path().join("y.safetensors"));
    let [file, x, y] = [&file, &x, &out].map(|path| path.to_str().unwrap());
    let base = ["embed", "--model", file, "--heads", "2", "--crop", "16", "--input", x, "--out", y, "--json"];
    let mut features = Vec::new();
    for (more, name) in [
        (&[][..], "encoder"),
        (&["--encoder", "encoder"][..], "encoder"),
        (&["--encoder", "target-encoder"][..], "target_encoder"),
    ] {
        let told = json(&[&base[..], more].concat());
        assert_eq!(told["encoder"], name);
        assert_eq!(told["model"], format!("V-JEPA 2 ({name})"));
        features.push(arrays(&out).0.remove("features").unwrap().1);
    }
    assert_eq!(features[0], features[1]);
    assert_ne!(features[0], features[2]);

    let probe = root.path().join("probe.pt");
    fs::write(&probe, weights(&self::golden("official-probe"))).unwrap();
    let probe = probe.to_str().unwrap();
    let probed = ["classify", "--model", file, "--heads", "2", "--crop", "16", "--probe", probe, "--probe-heads", "2"];
    let found = json(&[&probed[..], &["--input", x, "--json"]].concat());
    assert_eq!(found["results"][0]["top"].as_array().map(Vec::len), Some(5));
}

#[test]
fn inspect_names_the_architecture() {
    let root = tempfile::tempdir().unwrap();
    for (name, architecture) in [("i-jepa", "IJepaModel"), ("v-jepa-2-classifier", "VJEPA2ForVideoClassification")] {
        let model = folder(root.path(), name);
        let output = run(&["inspect", model.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("architecture: {architecture}")) && text.contains("encoder: "), "{text}");
        let found = json(&["inspect", model.to_str().unwrap(), "--json"]);
        assert!(found["architecture"][0].as_str().unwrap().starts_with(architecture));
    }
}

#[test]
fn inspect_reads_shards_and_is_told_what_an_official_file_does_not_show() {
    let root = tempfile::tempdir().unwrap();
    let model = folder(root.path(), "i-jepa");
    let whole = json(&["inspect", model.to_str().unwrap(), "--json"]);
    let tensors = foretell_nn::weights::read_file(&model.join("model.safetensors")).unwrap();
    fs::remove_file(model.join("model.safetensors")).unwrap();
    let mut map = serde_json::Map::new();
    for part in 0..2 {
        let name = format!("model-0000{}-of-00002.safetensors", part + 1);
        let own = tensors.iter().enumerate().filter(|(i, _)| i % 2 == part).map(|(_, (k, v))| (k.clone(), v.clone()));
        let own: NamedTensors = own.collect();
        map.extend(own.keys().map(|key| (key.clone(), name.clone().into())));
        fs::write(model.join(name), to_bytes(&own)).unwrap();
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(model.join("model.safetensors.index.json"), index).unwrap();
    let sharded = json(&["inspect", model.to_str().unwrap(), "--json"]);
    assert_eq!(sharded["format"], "safetensors in 2 files");
    assert_eq!(sharded["architecture"], whole["architecture"]);

    let file = root.path().join("vitx.pt");
    fs::write(&file, weights(&golden("official-v-jepa-2"))).unwrap();
    let file = file.to_str().unwrap();
    let why = |more: &[&str]| {
        let found = json(&[&["inspect", file, "--json"], more].concat());
        found["not_loadable"].as_str().map(str::to_owned)
    };
    for (told, option) in [
        (&[][..], "--heads N"),
        (&["--heads", "5"], "--heads N"),
        (&["--heads", "2", "--predictor-heads", "7"], "--predictor-heads N"),
        (&["--heads", "2", "--crop", "17"], "--crop PIXELS"),
    ] {
        let why = why(told).unwrap();
        assert!(why.ends_with(&format!("with `{option}`")), "{why}");
    }
    let told = ["inspect", file, "--heads", "2", "--predictor-heads", "2", "--crop", "16", "--json"];
    let lines = json(&told)["architecture"].to_string();
    assert!(lines.contains("V-JEPA 2 (encoder): input 16 × 16") && lines.contains("predictor: "), "{lines}");
    let (out, model) = (root.path().join("out.npz"), model.to_str().unwrap());
    refuses(&out, &["inspect", model, "--heads", "2"], &["--heads", "official files", "leave"]);
    refuses(&out, &["inspect", model, "--predictor-heads", "2"], &["--predictor-heads"]);
}

#[test]
fn what_an_official_file_has_to_be_told_is_said_with_the_option() {
    let root = tempfile::tempdir().unwrap();
    let (out, data) = (root.path().join("out.npz"), root.path().join("data"));
    pictures(&data, 1, 16);
    // Without the predictor that would tell.
    let mut golden = golden("official-v-jepa-2");
    golden.retain(|name, _| name.starts_with("weights.encoder."));
    let (file, probe) = (root.path().join("vitx.pt"), root.path().join("probe.pt"));
    fs::write(&file, weights(&golden)).unwrap();
    fs::write(&probe, weights(&self::golden("official-probe"))).unwrap();
    let [file, probe, data, y] = [&file, &probe, &data, &out].map(|path| path.to_str().unwrap());
    let embed = |more: &[&str], part: &str| {
        refuses(&out, &[&["embed", "--model", file, data, "--out", y], more].concat(), &["vitx.pt: ", part]);
    };
    embed(&[], "say which of the two it is with `--release v-jepa|v-jepa-2`");
    embed(&["--release", "v-jepa-2"], "say how many there are with `--heads N`");
    embed(&["--release", "v-jepa-2", "--heads", "2", "--crop", "15"], "with `--crop PIXELS`");
    let classify = ["classify", "--model", file, data, "--release", "v-jepa-2", "--heads", "2", "--crop", "16"];
    let probed = [&classify[..], &["--probe", probe]].concat();
    refuses(&out, &probed, &["probe.pt: ", "16 heads", "with `--probe-heads N`"]);
}

/// One sentence that holds `parts`, exit code 2, and no file at `out`.
#[track_caller]
fn refuses(out: &Path, arguments: &[&str], parts: &[&str]) {
    let output = run(arguments);
    let text = stderr(&output);
    assert_eq!((output.status.code(), text.trim_end().lines().count()), (Some(2), 1), "{arguments:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let left = fs::read_dir(out.parent().unwrap()).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("out.npz")).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn what_cannot_be_used_is_told_in_one_sentence() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let (model, clips) = (folder(root.path(), "i-jepa"), folder(root.path(), "v-jepa-2"));
    let out = path("out.npz");
    let x = path("x.npy");
    let [model, clips, y, x] = [&model, &clips, &out, &x].map(|path| path.to_str().unwrap().to_owned());
    let (model, clips, y, x) = (model.as_str(), clips.as_str(), y.as_str(), x.as_str());
    let tokens = |model: &str, parts: &[&str]| {
        refuses(&out, &["embed", "--model", model, "--input", x, "--tokens", "--out", y], parts);
    };
    let zeros = |shape: &[usize]| npy(Path::new(x), "<f4", shape, &vec![0; 4 * shape.iter().product::<usize>()]);

    npy(Path::new(x), "<f8", &[1, 3, 16, 20], &vec![0; 8 * 960]);
    tokens(model, &["float64", "float32 was expected", "x.npy"]);
    zeros(&[3, 16, 20]);
    tokens(model, &["[3, 16, 20]", "[B, 3, H, W]"]);
    zeros(&[1, 1, 3, 16, 20]);
    tokens(model, &["[1, 1, 3, 16, 20]", "[B, 3, H, W]"]);
    zeros(&[1, 3, 16, 16]);
    tokens(clips, &["[B, T, 3, H, W]"]);
    zeros(&[1, 4, 16, 20]);
    tokens(model, &["4 channels", "3"]);
    zeros(&[1, 3, 20, 16]);
    tokens(model, &["16 × 20"]);
    zeros(&[1, 3, 17, 20]);
    tokens(model, &["multiples of 4"]);
    npy(Path::new(x), "<f4", &[2, 3, 16, 20], &vec![0; 4 * 960]);
    tokens(model, &["[2, 3, 16, 20]", "3840 bytes"]);
    npy(Path::new(x), "<f4", &[1 << 40, 3, 16, 20], &[]);
    tokens(model, &["does not fit the 0 bytes"]);
    npy(Path::new(x), "<f4", &[1, 3, 16, 20], &floats(&[f32::NAN; 960]));
    tokens(model, &["NaN", "row 0"]);
    fs::write(x, "hello").unwrap();
    tokens(model, &["it is no `.npy`"]);
    zeros(&[1, 3, 16, 20]);

    tokens(path("nothing").to_str().unwrap(), &["there is no", "nothing"]);
    fs::create_dir(path("empty")).unwrap();
    tokens(path("empty").to_str().unwrap(), &["no config.json"]);
    let cut = folder(&path("cut"), "i-jepa");
    let bytes = fs::read(cut.join("model.safetensors")).unwrap();
    fs::write(cut.join("model.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    tokens(cut.to_str().unwrap(), &["model.safetensors"]);
    let other = folder(&path("other"), "i-jepa");
    let config = fs::read_to_string(other.join("config.json")).unwrap();
    let deeper = config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert_ne!(config, deeper);
    fs::write(other.join("config.json"), deeper).unwrap();
    tokens(other.to_str().unwrap(), &["missing", "encoder.layer.2"]);
    fs::write(other.join("config.json"), r#"{"architectures": ["BertModel"]}"#).unwrap();
    tokens(other.to_str().unwrap(), &["BertModel", "IJepaModel"]);

    let data = path("data");
    pictures(&data, 2, 16);
    let data = data.to_str().unwrap();
    refuses(&out, &["embed", "--model", model, data, "--input", x, "--out", y], &["--input", "takes the place"]);
    refuses(&out, &["embed", "--model", model, data, "--layers", "0,2", "--out", y], &["block 2", "0 to 1"]);
    refuses(&out, &["embed", "--model", model, data, "--encoder", "encoder", "--out", y], &["--encoder", "folder"]);
    refuses(&out, &["classify", "--model", model, data], &["has no classifier", "--probe"]);
    refuses(&out, &["embed", data, "--out", y], &["RUN INPUT", "--model"]);
    fs::create_dir(path("run")).unwrap();
    fs::write(path("run").join("config.toml"), "").unwrap();
    let run = path("run");
    refuses(&out, &["embed", "--model", model, run.to_str().unwrap(), data, "--out", y], &["exclude each other"]);
    fs::write(path("data/bad.png"), &made::png(16, 16, 3, 1)[..40]).unwrap();
    // Its neighbours' rows were made already: they are kept for a call that goes on, and nothing else is.
    let output = self::run(&["embed", "--model", model, data, "--out", y]);
    let text = stderr(&output);
    assert_eq!((output.status.code(), text.trim_end().lines().count()), (Some(2), 1), "{text}");
    assert!(
        ["bad.png", "out.npz.rows", "--resume", "--on-bad-sample skip"].iter().all(|part| text.contains(part)),
        "{text}"
    );
    self::run(&["embed", "--model", model, data, "--resume", "--on-bad-sample", "skip", "--out", y]);
    assert!(out.is_file() && !path("out.npz.rows").exists());
    fs::remove_file(&out).unwrap();
    fs::write(path("clip.mp4"), b"\0\0\0\x18ftypisom").unwrap();
    let mut command = foretell();
    command.args(["embed", "--model", clips, path("clip.mp4").to_str().unwrap(), "--out", y]);
    let output = command.env("PATH", root.path()).output().unwrap();
    let text = stderr(&output);
    assert_eq!((output.status.code(), text.trim_end().lines().count()), (Some(2), 1), "{text}");
    assert!(text.contains("ffmpeg") && text.contains("clip.mp4") && !out.exists(), "{text}");
}
