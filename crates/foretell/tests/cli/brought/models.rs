//! Published models' files and features as people have them: wrapped checkpoints, configs with keys of their own, other number types.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use foretell_data::zip::StoredZip;
use foretell_nn::weights::{NamedTensor, NamedTensors, to_bytes};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::made::npz::{Method, floats, fortran, npy, write};
use crate::plan::{refused, succeeded};
use crate::released::{folder, golden};
use crate::{foretell, stderr};

/// What `torch.save` writes of a dictionary: tensors of f32 under their names, in dictionaries of their own where a name begins with one
/// of `nested`, and the epoch.
fn torch_file(path: &Path, tensors: &NamedTensors, nested: &[&str]) {
    fn text(pickle: &mut Vec<u8>, text: &str) {
        pickle.push(b'X');
        pickle.extend((text.len() as u32).to_le_bytes());
        pickle.extend(text.bytes());
    }
    fn lengths(pickle: &mut Vec<u8>, lengths: &[usize]) {
        pickle.push(b'(');
        for length in lengths {
            pickle.push(b'J');
            pickle.extend((*length as u32).to_le_bytes());
        }
        pickle.push(b't');
    }
    let (mut pickle, mut storages) = (b"\x80\x02}(".to_vec(), Vec::new());
    text(&mut pickle, "epoch");
    pickle.extend(b"K\x03");
    let mut entry = |pickle: &mut Vec<u8>, name: &str, tensor: &NamedTensor| {
        text(pickle, name);
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(pickle, "storage");
        pickle.extend(b"ctorch\nFloatStorage\n");
        text(pickle, &storages.len().to_string());
        text(pickle, "cpu");
        pickle.push(b'J');
        pickle.extend((tensor.values.len() as u32).to_le_bytes());
        pickle.extend(b"tQK\0");
        lengths(pickle, &tensor.shape);
        let stride = |axis: usize| tensor.shape[axis + 1..].iter().product();
        lengths(pickle, &(0..tensor.shape.len()).map(stride).collect::<Vec<_>>());
        pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        storages.push(tensor.values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    };
    for outer in nested {
        text(&mut pickle, outer);
        pickle.extend(b"}(");
        for (name, tensor) in tensors {
            if let Some(name) = name.strip_prefix(&format!("{outer}.")) {
                entry(&mut pickle, name, tensor);
            }
        }
        pickle.push(b'u');
    }
    for (name, tensor) in tensors.iter().filter(|(name, _)| !nested.iter().any(|n| name.starts_with(&format!("{n}."))))
    {
        entry(&mut pickle, name, tensor);
    }
    pickle.extend(b"u.");
    let mut zip = StoredZip::new(fs::File::create(path).unwrap());
    let members = storages.iter().enumerate().map(|(key, bytes)| (format!("a/data/{key}"), bytes));
    for (name, bytes) in members.chain([("a/data.pkl".to_owned(), &pickle)]) {
        let mut member = zip.member(&name, bytes.len() as u64).unwrap();
        member.write_all(bytes).unwrap();
        member.end().unwrap();
    }
    zip.finish().unwrap();
}

/// The weights of a golden file under other names.
fn renamed(name: &str, rename: impl Fn(&str) -> String) -> NamedTensors {
    let own = golden(name).into_iter().filter_map(|(name, t)| Some((rename(name.strip_prefix("weights.")?), t)));
    own.collect()
}

/// Features of normalised pixels.
fn features(root: &Path, golden_name: &str, model: &Path, more: &[&str]) -> Vec<f32> {
    let clips = &golden(golden_name)["input.clips"];
    let shape: Vec<usize> =
        clips.shape.iter().enumerate().filter(|(i, n)| *i != 1 || **n > 1).map(|(_, n)| *n).collect();
    let shape = format!("{shape:?}").replace('[', "(").replace(']', ")");
    let (x, out) = (root.join("x.npy"), root.join("y.safetensors"));
    fs::write(&x, floats(&shape, clips.values.iter().copied())).unwrap();
    let paths = [model, &x, &out].map(|path| path.to_str().unwrap());
    let arguments = ["embed", "--model", paths[0], "--input", paths[1], "--out", paths[2]];
    succeeded(&[&arguments[..], more].concat(), "2");
    let bytes = fs::read(out).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensor("features").unwrap().data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn wrapped_checkpoints_are_the_networks_in_them() {
    let root = tempfile::tempdir().unwrap();
    let told = ["--heads", "2", "--crop", "16"];
    let name = "official-v-jepa-2";
    let at = |file: &str| root.path().join(file);
    fs::write(at("plain.pt"), to_bytes(&renamed(name, str::to_owned))).unwrap();
    let plain = features(root.path(), name, &at("plain.pt"), &told);
    let deep = |name: &str| name.replace(".attn.", "._fsdp_wrapped_module.attn.");
    for (i, around) in [
        "_orig_mod.",
        "module._orig_mod.",
        "state_dict.",
        "state_dict.model.",
        "state_dict._forward_module.net._orig_mod.module.",
        "model.",
    ]
    .into_iter()
    .enumerate()
    {
        let mut tensors = renamed(name, |name| format!("{around}{}", deep(name)));
        if i >= 2 {
            // An optimiser's and a loss's, which are no business of the network.
            let other = NamedTensor { shape: vec![2], values: vec![1.0, 2.0] };
            tensors.insert("optimizer_states.exp_avg".to_owned(), other.clone());
            tensors.insert("criterion.centre".to_owned(), other);
        }
        fs::write(at("wrapped.pt"), to_bytes(&tensors)).unwrap();
        assert_eq!(features(root.path(), name, &at("wrapped.pt"), &told), plain, "{around}");
        torch_file(&at("wrapped.ckpt"), &tensors, &["state_dict", "optimizer_states"]);
        assert_eq!(features(root.path(), name, &at("wrapped.ckpt"), &told), plain, "{around}");
    }

    // Strict, by the file's own names.
    let mut tensors = renamed(name, |name| format!("state_dict.model._orig_mod.{name}"));
    let prefix = "state_dict.model._orig_mod.encoder.module.backbone.";
    tensors.remove(&format!("{prefix}blocks.0.norm1.bias")).unwrap();
    tensors.insert(format!("{prefix}blocks.0.extra"), NamedTensor { shape: vec![1], values: vec![0.0] });
    tensors.insert(format!("{prefix}norm.weight"), NamedTensor { shape: vec![3], values: vec![0.0; 3] });
    torch_file(&at("wrong.ckpt"), &tensors, &["state_dict"]);
    let (wrong, data) = (at("wrong.ckpt"), at("x.npy"));
    let arguments = ["embed", "--model", wrong.to_str().unwrap(), "--input", data.to_str().unwrap()];
    let out = at("no.npz");
    let parts = ["blocks.0.norm1.bias`", "blocks.0.extra`", "norm.weight` ([3]"].map(|part| format!("`{prefix}{part}"));
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    refused(&[&arguments[..], &told, &["--out", out.to_str().unwrap()]].concat(), &parts);
    assert!(!out.exists());
}

#[test]
fn folders_whose_tensors_are_wrapped_are_opened_and_others_are_named() {
    let root = tempfile::tempdir().unwrap();
    for name in ["i-jepa", "v-jepa-2-classifier"] {
        let model = folder(root.path(), name);
        let plain = features(root.path(), name, &model, &[]);
        for around in ["_orig_mod.", "module.", "model.", "net._orig_mod.module."] {
            let tensors = renamed(name, |name| format!("{around}{name}"));
            fs::write(model.join("model.safetensors"), to_bytes(&tensors)).unwrap();
            assert_eq!(features(root.path(), name, &model, &[]), plain, "{name} {around}");
        }
        let mut tensors = renamed(name, |name| format!("model.{name}"));
        tensors.insert("ema.decay".to_owned(), NamedTensor { shape: vec![1], values: vec![0.5] });
        fs::write(model.join("model.safetensors"), to_bytes(&tensors)).unwrap();
        let told = succeeded(&["inspect", model.to_str().unwrap()], "2");
        assert!(told.contains("1 tensor without a place: `ema.decay`"), "{told}");
    }
}

#[test]
fn keys_of_another_network_are_declined_and_unknown_ones_are_told() {
    let root = tempfile::tempdir().unwrap();
    let x = root.path().join("x.npy");
    fs::write(&x, floats("(1, 3, 16, 16)", [0.0; 768])).unwrap();
    let out = root.path().join("y.npz");
    let with = |name: &str, keys: Value| {
        let model = folder(root.path(), name);
        let text = fs::read_to_string(model.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        fs::write(model.join("config.json"), config.to_string()).unwrap();
        model
    };
    for (name, keys, part) in [
        ("v-jepa-2", json!({"use_rope": false}), "use_rope is false where the released models have true"),
        ("i-jepa", json!({"use_rope": true}), "use_rope is true where the released models have false"),
        ("i-jepa", json!({"hidden_act": "gelu_new"}), "hidden_act is `gelu_new`"),
        ("i-jepa", json!({"use_mask_token": true}), "use_mask_token is true"),
        ("v-jepa-2", json!({"layer_norm_place": "post"}), "`layer_norm_place`"),
        ("v-jepa-2", json!({"quantization_config": {"load_in_8bit": true}}), "quantization_config"),
    ] {
        let model = with(name, keys);
        let paths = [&model, &x, &out].map(|path| path.to_str().unwrap());
        refused(&["embed", "--model", paths[0], "--input", paths[1], "--out", paths[2]], &["config.json", part]);
    }
    let harmless = json!({
        "torch_dtype": "float32", "_name_or_path": "x", "layer_scale_init_value": null, "drop_path_rate": 0.1, "use_SiLU": false,
        "wide_SiLU": true, "image_size": 16, "learned_on": "a Tuesday",
    });
    let model = with("v-jepa-2", harmless);
    let told = succeeded(&["inspect", model.to_str().unwrap()], "2");
    assert!(
        told.contains("note: config.json has keys that are not known and change nothing here: `learned_on`"),
        "{told}"
    );
    features(root.path(), "v-jepa-2", &model, &[]);
}

#[test]
fn one_number_is_a_square_or_a_shorter_side_as_the_processor_has_it() {
    let root = tempfile::tempdir().unwrap();
    crate::pictures(&root.path().join("data"), 2, 24);
    let model = folder(root.path(), "i-jepa");
    for (text, expected) in [
        (
            json!({"image_processor_type": "ViTImageProcessor", "size": 16, "image_mean": 0.5, "image_std": 0.25, "resample": "BICUBIC"}),
            json!({"resize": {"height": 16, "width": 16}, "crop": null, "filter": "bicubic", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}),
        ),
        (
            json!({"image_processor_type": "CLIPImageProcessorFast", "size": 24, "crop_size": [16, 20], "image_mean": [0, 0, 0], "image_std": 1,
                "resample": "PIL.Image.Resampling.BILINEAR"}),
            json!({"resize": {"shortest_edge": 24}, "crop": {"height": 16, "width": 20}, "filter": "bilinear", "mean": [0.0, 0.0, 0.0]}),
        ),
        (
            json!({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 112}),
            json!({"resize": {"shortest_edge": 128}, "crop": {"height": 112, "width": 112}, "filter": "bicubic"}),
        ),
    ] {
        fs::write(model.join("preprocessor_config.json"), text.to_string()).unwrap();
        let out = root.path().join("y.npz");
        let data = root.path().join("data");
        let paths = [&model, &data, &out].map(|path| path.to_str().unwrap());
        // ConvNeXt's 112 pixels are no input of this model: only what was understood matters there.
        let output =
            foretell().args(["embed", "--model", paths[0], paths[1], "--out", paths[2], "--json"]).output().unwrap();
        if text["feature_extractor_type"].is_string() {
            assert!(stderr(&output).contains("112 × 112"), "{}", stderr(&output));
            continue;
        }
        if text["size"] == 16 {
            // A square of 16 where this model has 16 × 20.
            assert!(stderr(&output).contains("16 × 16"), "{}", stderr(&output));
            continue;
        }
        assert!(output.status.success(), "{}", stderr(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&told["preprocessing"][key], value, "{key}: {told}");
        }
    }
}

/// Rows, and the same rows of other types and orders.
const ROWS: [[f32; 3]; 7] = [
    [1.0, 0.0, 0.0],
    [-1.0, 0.5, 0.0],
    [0.0, 0.0, 0.0],
    [0.5, 0.5, 0.0],
    [2.0, 0.0, 0.0],
    [-2.0, 1.0, 0.0],
    [0.5, -0.5, 0.0],
];

fn found(path: &Path) -> Value {
    serde_json::from_str(&succeeded(&["search", path.to_str().unwrap(), "--row", "0", "--top", "6", "--json"], "2"))
        .unwrap()
}

fn rows(found: &Value) -> Vec<u64> {
    let hits = found["queries"][0]["neighbours"].as_array().unwrap();
    hits.iter().map(|hit| hit["row"].as_u64().unwrap()).collect()
}

#[test]
fn zeros_come_last_ties_in_order_and_any_type_is_read() {
    let root = tempfile::tempdir().unwrap();
    let flat: Vec<f32> = ROWS.concat();
    // Every one of these numbers is a half's, whose upper byte here says all of it: 1, 2 and ½ of either sign.
    let half = |x: f32| -> u16 {
        let sign = u16::from(x.is_sign_negative()) << 15;
        sign | match x.abs() {
            0.5 => 0x3800,
            1.0 => 0x3C00,
            2.0 => 0x4000,
            _ => 0,
        }
    };
    let brain = |x: f32| (x.to_bits() >> 16) as u16;
    let bytes = |of: &dyn Fn(f32) -> Vec<u8>| flat.iter().flat_map(|x| of(*x)).collect::<Vec<u8>>();
    let little = bytes(&|x| half(x).to_le_bytes().to_vec());
    let mut files: Vec<PathBuf> = Vec::new();
    let mut arrays = vec![
        ("f4", npy("<f4", "(7, 3)", &bytes(&|x| x.to_le_bytes().to_vec()))),
        ("f2", npy("<f2", "(7, 3)", &little)),
        ("f8-big", npy(">f8", "(7, 3)", &bytes(&|x| f64::from(x).to_be_bytes().to_vec()))),
        ("f2-fortran", fortran("<f2", &[7, 3], 2, &little)),
        ("f4-fortran-big", fortran(">f4", &[7, 3], 4, &bytes(&|x| x.to_be_bytes().to_vec()))),
    ];
    for (name, array) in arrays.drain(..) {
        let (alone, zipped) = (root.path().join(format!("{name}.npy")), root.path().join(format!("{name}-z.npz")));
        fs::write(&alone, &array).unwrap();
        write(&zipped, &[("features", array)], Method::Deflated);
        files.extend([alone, zipped]);
    }
    for (name, kind, data) in [
        ("f16", Dtype::F16, little.clone()),
        ("bf16", Dtype::BF16, bytes(&|x| brain(x).to_le_bytes().to_vec())),
        ("f64", Dtype::F64, bytes(&|x| f64::from(x).to_le_bytes().to_vec())),
    ] {
        let view = TensorView::new(kind, vec![7, 3], &data).unwrap();
        let path = root.path().join(format!("{name}.safetensors"));
        fs::write(&path, safetensors::serialize([("features", view)], None).unwrap()).unwrap();
        files.push(path);
    }
    for path in &files {
        let told = found(path);
        // By hand: cosines 1, √½ twice, -2/√5 twice, and none.
        assert_eq!(rows(&told), [4, 3, 6, 1, 5, 2], "{}", path.display());
        let hits = told["queries"][0]["neighbours"].as_array().unwrap();
        assert_eq!((&hits[0]["name"], &hits[5]["similarity"]), (&"4".into(), &Value::Null));
        assert!((hits[4]["similarity"].as_f64().unwrap() + 2.0 / 5.0_f64.sqrt()).abs() < 1e-6, "{told}");
        assert!(
            told["notes"][0].as_str().unwrap().contains("1 of 7 rows hold nothing but zeros (the first is `2`)"),
            "{told}"
        );
    }
    let output = foretell().args(["search", files[0].to_str().unwrap(), "--row", "2"]).output().unwrap();
    assert!(output.status.success() && stderr(&output).contains("`2` holds nothing but zeros: nothing is near it"));
    let text = succeeded(&["search", files[0].to_str().unwrap(), "--row", "0", "--top", "6"], "1");
    assert!(text.ends_with("     –  2\n") || text.trim_end().ends_with("–  2"), "{text}");
    let whole = root.path().join("whole.npy");
    fs::write(&whole, npy("<i4", "(2, 1)", &[1, 0, 0, 0, 2, 0, 0, 0])).unwrap();
    refused(&["search", whole.to_str().unwrap(), "--row", "0"], &["whole.npy", "astype(numpy.float32)"]);
}

#[test]
fn equal_rows_come_in_order_over_chunks_and_threads() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("many.npy");
    // Copies of the first row at the ends of products of 1024 rows, and elsewhere.
    let copies = [1, 500, 1022, 1023, 1024, 2047, 2048, 2049];
    let value = |row: usize, i: usize| if copies.contains(&row) { 0 } else { row } * 7919 + i * 104_729;
    let all = (0..2050).flat_map(|row| (0..37).map(move |i| ((value(row, i) % 4093) as f32 - 2046.0) / 1200.0));
    fs::write(&path, floats("(2050, 37)", all)).unwrap();
    for threads in ["1", "3"] {
        let told = succeeded(&["search", path.to_str().unwrap(), "--row", "0", "--top", "8", "--json"], threads);
        assert_eq!(rows(&serde_json::from_str(&told).unwrap()), copies.map(|row| row as u64));
    }
}
