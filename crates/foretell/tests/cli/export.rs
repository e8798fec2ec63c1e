//! What a run leaves for others: folders and files that open elsewhere.

use std::fs;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use foretell::DeviceChoice;
use foretell_nn::released;
use foretell_nn::weights;
use serde_json::Value;

use crate::input::one_sentence;
use crate::uses::{json, labelled, printed, small_run};
use crate::{foretell, stderr};

/// `features` of a file that `embed` wrote as safetensors.
fn features(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let mut tensors = weights::read_file(path).unwrap();
    let features = tensors.remove("features").unwrap();
    (features.shape, features.values)
}

#[test]
fn an_export_is_opened_as_a_published_model_and_gives_the_same_tokens() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let (run, out) = (run.to_str().unwrap(), root.path().join("there/hf"));
    let told = json(&["export", run, "--format", "hf", "--json", "--out", out.to_str().unwrap()]);
    assert_eq!((&told["format"], &told["dim"], &told["channels"]), (&"hf".into(), &24.into(), &3.into()));
    let beside = fs::read_dir(out.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1, "nothing but the folder is left");

    let tokens = root.path().join("tokens.safetensors");
    printed(&["embed", run, data.to_str().unwrap(), "--tokens", "--out", tokens.to_str().unwrap()]);
    let (shape, ours) = features(&tokens);

    let device = DeviceChoice::default().open().unwrap();
    let config = fs::read_to_string(out.join("config.json")).unwrap();
    let store = weights::open(&out).unwrap();
    let model = released::Model::open_config(&config, store.as_ref(), &device).unwrap();
    let processor = fs::read_to_string(out.join("preprocessor_config.json")).unwrap();
    let model = model.with_preprocessing(&processor).unwrap();
    let (side, wants) = (model.image().0, model.preprocessing().clone());
    assert_eq!((side as u64, wants.output()), (told["width"].as_u64().unwrap(), Some((side, side))));

    // The pictures are of the run's size: nothing is resized.
    let dataset = foretell_data::open_inputs(&[data]).unwrap();
    let mut pixels = Vec::new();
    for index in 0..shape[0] {
        let image = dataset.load(foretell_data::Part::Train, index).unwrap().image;
        assert_eq!((image.width, image.height), (side, side));
        for channel in 0..3 {
            let of = |byte: &u8| (f32::from(*byte) / 255.0 - wants.mean[channel]) / wants.std[channel];
            pixels.extend(image.pixels.iter().skip(channel).step_by(3).map(of));
        }
    }
    let clips = Tensor::<5>::from_data(TensorData::new(pixels, [shape[0], 1, 3, side, side]), &device);
    let theirs = foretell_ops::values(model.features(clips).unwrap());
    assert_eq!(ours.len(), theirs.len());
    let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-4, "tokens differ by {apart}");
}

#[test]
fn an_onnx_file_is_replaced_whole_and_a_folder_is_not() {
    let root = tempfile::tempdir().unwrap();
    let (data, run) = (labelled(root.path()), root.path().join("run"));
    small_run(&data, &run);
    let run = run.to_str().unwrap();
    let file = root.path().join("encoder.onnx");
    fs::write(&file, "old").unwrap();
    let line = printed(&["export", run, "--format", "onnx", "--out", file.to_str().unwrap()]);
    assert!(line.contains("pixel_values [batch, 3, 16, 16]"), "{line}");
    let bytes = fs::read(&file).unwrap();
    let parameters = json(&["inspect", run, "--json"])["parameters"].as_u64();
    // ir_version 8 comes first.
    assert_eq!(bytes[..2], [8, 8]);
    assert!(parameters.is_none_or(|count| bytes.len() as u64 > 4 * count));

    let taken = root.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("mine"), "").unwrap();
    let folder = taken.to_str().unwrap();
    for (format, part) in [("hf", "not an empty folder"), ("onnx", "expected the name of a file")] {
        let output = foretell().args(["export", run, "--format", format, "--out", folder]).output().unwrap();
        one_sentence(&output, &[part]);
        assert_eq!(fs::read_dir(&taken).unwrap().count(), 1);
    }
    fs::remove_file(taken.join("mine")).unwrap();
    printed(&["export", run, "--format", "hf", "--out", folder]);
    assert!(taken.join("config.json").is_file());
}

#[test]
fn a_transformer_of_le_jepa_is_exported_and_a_residual_network_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let data = labelled(root.path());
    for kind in ["vit", "resnet"] {
        let run = root.path().join(kind);
        let mut arguments = vec!["train", "le-jepa", "--steps", "1", "--set", "train.batch=4"];
        let vit = ["model.backbone.kind=vit", "model.backbone.depth=1"];
        let small = ["model.projector=[16]", "model.code_width=8"];
        let resnet = ["model.backbone.widths=[8]"];
        for setting in small.iter().chain(if kind == "vit" { &vit[..] } else { &resnet[..] }) {
            arguments.extend(["--set", setting]);
        }
        arguments.extend(["--data", data.to_str().unwrap(), "--out", run.to_str().unwrap()]);
        printed(&arguments);
        let out = root.path().join(format!("{kind}-hf"));
        let output = foretell().arg("export").arg(&run).args(["--format", "hf", "--out"]).arg(&out).output().unwrap();
        if kind == "vit" {
            assert!(output.status.success(), "{}", stderr(&output));
            let config: Value = serde_json::from_slice(&fs::read(out.join("config.json")).unwrap()).unwrap();
            assert_eq!((&config["model_type"], &config["num_hidden_layers"]), (&"ijepa".into(), &1.into()));
        } else {
            one_sentence(&output, &["no vision transformer of images"]);
            assert!(!out.exists());
        }
    }
}
