//! Against what PyTorch itself read back from the files that it wrote.

use foretell_nn::weights::open;
use serde_json::Value;

use crate::{pth, values};

#[test]
fn every_tensor_of_every_file_to_the_bit() {
    let expected: Value = serde_json::from_slice(&std::fs::read(pth("expected.json")).unwrap()).unwrap();
    let files = expected.as_object().unwrap();
    assert_eq!(files.len(), 6);
    for (file, tensors) in files {
        let tensors = tensors.as_object().unwrap();
        let store = open(&pth(file)).unwrap();
        let mut names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        let found: Vec<&str> = store.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(found, names, "{file}");
        for entry in store.entries() {
            let wanted = &tensors[&entry.name];
            let shape: Vec<u64> = entry.shape.iter().map(|length| *length as u64).collect();
            assert_eq!(serde_json::json!(shape), wanted["shape"], "{file}: {}", entry.name);
            assert_eq!(entry.dtype.name(), wanted["kind"], "{file}: {}", entry.name);
            if ["I64", "U8", "BOOL"].contains(&entry.dtype.name()) {
                let refusal = store.read(&entry.name).unwrap_err().to_string();
                assert!(refusal.contains("where floating-point numbers were expected"), "{refusal}");
                continue;
            }
            let tensor = store.read(&entry.name).unwrap();
            let bits: Vec<i32> = tensor.values.iter().map(|x| x.to_bits().cast_signed()).collect();
            assert_eq!(tensor.shape, entry.shape);
            assert_eq!(serde_json::json!(bits), wanted["bits"], "{file}: {}", entry.name);
        }
    }
}

#[test]
fn an_official_file_names_its_networks_and_its_plain_values() {
    let store = open(&pth("i-jepa.pth.tar")).unwrap();
    for name in [
        "encoder.module.blocks.0.mlp.weight",
        "target_encoder.module.pos_embed",
        "predictor.module.norm.bias",
        "opt.state.0.exp_avg",
    ] {
        assert!(store.entries().iter().any(|entry| entry.name == name), "{name}");
    }
    let notes = store.notes();
    for (key, value) in [("epoch", "300"), ("batch_size", "128"), ("lr", "0.001")] {
        assert!(notes.contains(&(key.to_owned(), value.to_owned())), "{notes:?}");
    }
    assert_eq!(store.format(), "PyTorch file (torch.save)");
}

#[test]
fn views_of_one_storage_are_read_each_at_its_place() {
    let store = open(&pth("views.pth")).unwrap();
    let (first, last) = (values(store.as_ref(), "shared.first"), values(store.as_ref(), "shared.last"));
    assert_eq!([first, last].concat(), values(store.as_ref(), "shared.whole"));
    // arange(24) / 8 as [2, 3, 4]: [:, 1:, 2] is 6, 10, 18, 22.
    assert_eq!(values(store.as_ref(), "column"), [6.0, 10.0, 18.0, 22.0].map(|x: f32| x / 8.0));
    assert!(store.read("shared").unwrap_err().to_string().contains("`shared` is missing"));
}
