//! The golden files: weights under their published names, inputs, outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_nn::released::Model;
use foretell_nn::released::official::{Release, Told};
use foretell_nn::weights::strict::{Ledger, Naming, fill};
use foretell_nn::weights::{Held, NamedTensor, NamedTensors};
use foretell_ops as ops;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

pub(crate) struct Golden {
    name: String,
    tensors: NamedTensors,
    indices: BTreeMap<String, Vec<u32>>,
    /// The JSON file beside it.
    pub(crate) told: String,
    /// Whether the file is the one in the repository.
    small: bool,
}

impl Golden {
    /// Files of I-JEPA's training, whose tensors have the official names as they are.
    pub(crate) fn of_training(names: &[&str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../foretell-jepa/tests/parity");
        let mut all = Self::read(names[0], &folder, "{}".to_owned(), true);
        for name in &names[1..] {
            all.tensors.extend(Self::read(name, &folder, String::new(), true).tensors);
        }
        let networks = ["encoder.", "target_encoder.", "predictor."];
        let named = |(name, tensor): (String, NamedTensor)| {
            let own = networks.iter().any(|network| name.starts_with(network));
            (if own { format!("weights.{name}") } else { name }, tensor)
        };
        all.tensors = all.tensors.into_iter().map(named).collect();
        all
    }

    pub(crate) fn open(name: &str) -> Self {
        let other = std::env::var_os("FORETELL_PARITY").map(PathBuf::from);
        let small = other.is_none();
        let folder = other.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/released"));
        let told = folder.join(format!("{name}.json"));
        let told = std::fs::read_to_string(&told).unwrap_or_else(|e| panic!("{}: {e}", told.display()));
        Self::read(name, &folder, told, small)
    }

    /// A file that stands alone.
    pub(crate) fn alone(name: &str) -> Self {
        Self::read(name, &PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/released"), "{}".to_owned(), true)
    }

    fn read(name: &str, folder: &Path, told: String, small: bool) -> Self {
        let path = folder.join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut tensors, mut indices) = (NamedTensors::new(), BTreeMap::new());
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::I64 => {
                    let read = |b: &[u8]| i64::from_le_bytes(b.try_into().unwrap()) as u32;
                    indices.insert(name.to_owned(), data.chunks_exact(8).map(read).collect());
                    continue;
                }
                Dtype::BF16 => data.chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect(),
                _ => data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
            };
            tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
        }
        Self { name: name.to_owned(), tensors, indices, told, small }
    }

    /// The weights, under their published names.
    pub(crate) fn weights(&self) -> NamedTensors {
        let own = |(name, t): (&String, &NamedTensor)| Some((name.strip_prefix("weights.")?.to_owned(), t.clone()));
        self.tensors.iter().filter_map(own).collect()
    }

    pub(crate) fn store(&self) -> Held {
        Held::from(self.weights())
    }

    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let t = self.tensors.get(name).unwrap_or_else(|| panic!("no {name}"));
        let shape: [usize; D] = t.shape.clone().try_into().unwrap_or_else(|shape| panic!("{name} is {shape:?}"));
        Tensor::from_data(TensorData::new(t.values.clone(), shape), &Device::flex())
    }

    pub(crate) fn indices(&self, name: &str) -> &[u32] {
        &self.indices[name]
    }

    pub(crate) fn values(&self, name: &str) -> &[f32] {
        &self.tensors[name].values
    }

    /// The largest difference.
    pub(crate) fn off<const D: usize>(&self, name: &str, got: Tensor<D>) -> f32 {
        let expected = self.tensors.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(got.dims().as_slice(), expected.shape, "{}: {name}", self.name);
        let got = ops::values(got);
        assert!(got.iter().all(|x| x.is_finite()), "{}: {name}", self.name);
        got.iter().zip(&expected.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[track_caller]
    pub(crate) fn check<const D: usize>(&self, name: &str, got: Tensor<D>) {
        let off = self.off(name, got);
        println!("{}: {name}: off by {off:.1e}", self.name);
        assert!(off <= if self.small { 1e-5 } else { 1e-4 }, "{}: {name} is off by {off:e}", self.name);
    }

    /// That something else gives something else, so that the check of it says something.
    #[track_caller]
    pub(crate) fn differs<const D: usize>(&self, name: &str, got: Tensor<D>) {
        let off = self.off(name, got);
        assert!(off > 1e-2, "{}: {name} is off by no more than {off:e}", self.name);
    }

    pub(crate) fn folder(&self) -> Model {
        Model::open_config(&self.told, &self.store(), &Device::flex()).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// What a user would say of an official file.
    pub(crate) fn told(&self, encoder: &str) -> Told {
        let told: Value = serde_json::from_str(&self.told).unwrap();
        let number = |key: &str| told.get(key).and_then(Value::as_u64).map(|n| n as usize);
        Told {
            encoder: Some(encoder.to_owned()),
            release: None,
            heads: number("heads"),
            predictor_heads: number("predictor_heads"),
            crop: number("crop"),
            predictor: true,
        }
    }

    pub(crate) fn official(&self, encoder: &str, release: Release) -> Model {
        let model = Model::open_official(&self.store(), &self.told(encoder), &Device::flex());
        let model = model.unwrap_or_else(|e| panic!("{}: {e}", self.name));
        assert_eq!(model.name(), format!("{} ({encoder})", release.name()));
        model
    }
}

/// Some other network of the same tensors.
pub(crate) fn filled<M: Module>(module: M, store: &Held, naming: &Naming<'_>) -> M {
    let mut ledger = Ledger::of(store);
    ledger.look_up(&module, naming);
    ledger.close(|_| false, |_| false).unwrap();
    fill(module, store, naming).unwrap()
}
