//! A vision transformer as a folder that transformers opens: `IJepaModel.from_pretrained`, `AutoImageProcessor.from_pretrained`.

use foretell_data::Normalise;
use foretell_nn::released::names::{IJepaLayout, i_jepa_in_transformers};
use foretell_nn::vit::Vit;
use foretell_nn::weights::strict::Source;
use foretell_nn::weights::{self, NamedTensor, NamedTensors};
use serde_json::{Value, json};

/// The tensors under the names of published checkpoints of `IJepaModel`.
pub(super) fn tensors(vit: &Vit) -> NamedTensors {
    let mut theirs = NamedTensors::new();
    for (path, tensor) in weights::read(vit, "") {
        match i_jepa_in_transformers(&path, "", IJepaLayout::Published) {
            Source::Stacked(names) => {
                // Queries, keys and values lie above each other.
                let mut shape = tensor.shape;
                shape[0] /= names.len();
                let rows = tensor.values.len() / names.len();
                for (name, values) in names.into_iter().zip(tensor.values.chunks_exact(rows)) {
                    theirs.insert(name, NamedTensor { shape: shape.clone(), values: values.to_vec() });
                }
            }
            Source::Whole(name) | Source::Part { name, .. } => {
                theirs.insert(name, tensor);
            }
        }
    }
    theirs
}

/// One number where both sides are equal, as the configs have it.
fn sides((height, width): (usize, usize)) -> Value {
    if height == width { json!(height) } else { json!([height, width]) }
}

/// `config.json`.
pub(super) fn config(vit: &Vit) -> Value {
    let config = vit.config();
    json!({
        "architectures": ["IJepaModel"],
        "model_type": "ijepa",
        "dtype": "float32",
        "image_size": sides(config.image),
        "patch_size": config.patch,
        "num_channels": config.channels,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": config.hidden,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.02,
        "layer_norm_eps": vit.norm.parts().2,
        "qkv_bias": true,
    })
}

/// `preprocessor_config.json`: what `embed` does to a picture. `ViTImageProcessor`, the published I-JEPA's, would squeeze it; CLIP's
/// brings the shorter side to the size and takes the middle.
pub(super) fn preprocessor(vit: &Vit, normalise: &Normalise) -> Value {
    let (height, width) = vit.config().image;
    json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": vit.config().channels == 3,
        "do_resize": true,
        "size": { "shortest_edge": height.min(width) },
        "resample": 2,
        "do_center_crop": true,
        "crop_size": { "height": height, "width": width },
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": normalise.mean,
        "image_std": normalise.std,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use foretell_data::random::{Stream, rng};
    use foretell_nn::released::preprocessing::{Preprocessing, Resize};
    use foretell_nn::vit::VitConfig;
    use safetensors::SafeTensors;
    use safetensors::tensor::TensorView;

    use super::*;

    /// The golden tensors under a prefix, of which there are others that are no floats.
    fn parity(name: &str, prefix: &str) -> NamedTensors {
        let path: PathBuf =
            [env!("CARGO_MANIFEST_DIR"), "..", "foretell-jepa", "tests", "parity", name].iter().collect();
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let one = |(name, view): (&str, TensorView<'_>)| {
            let name = name.strip_prefix(prefix)?.to_owned();
            let values = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            Some((name, NamedTensor { shape: view.shape().to_vec(), values }))
        };
        file.iter().filter_map(one).collect()
    }

    /// The network of `bench/peers/export_parity.py`.
    fn vit() -> Vit {
        let config = VitConfig { image: (32, 32), patch: 8, channels: 3, width: 48, depth: 2, heads: 3, hidden: 192 };
        let device = crate::DeviceChoice::default().open().unwrap();
        let vit = config.init(&mut rng(0, Stream::Init, 0, 0), &device);
        weights::load_whole(vit, parity("i-jepa.safetensors", "encoder.")).unwrap()
    }

    #[test]
    fn tensors_are_those_that_transformers_read_and_ran() {
        let (ours, theirs) = (tensors(&vit()), parity("ijepa-hf.safetensors", "hf."));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        for (name, tensor) in &theirs {
            assert!(ours[name] == *tensor, "{name}");
        }
    }

    #[test]
    fn configs_say_what_the_network_is() {
        let vit = vit();
        let config = config(&vit);
        for (key, value) in [("hidden_size", 48), ("num_hidden_layers", 2), ("intermediate_size", 192)] {
            assert_eq!(config[key], value, "{key}");
        }
        assert_eq!((&config["image_size"], &config["layer_norm_eps"]), (&json!(32), &json!(1e-6)));
        let normalise = Normalise { mean: vec![0.25, 0.5, 0.75], std: vec![0.125, 0.25, 0.5] };
        let text = preprocessor(&vit, &normalise).to_string();
        let read = Preprocessing::read(&text, Preprocessing::squeezed((1, 1))).unwrap();
        assert_eq!((read.resize, read.crop), (Some(Resize::Shorter(32)), Some((32, 32))));
        assert_eq!((read.mean, read.std), (normalise.mean, normalise.std));
    }
}
