//! Files of weights: what PyTorch and safetensors write is read to the bit, and what is damaged is refused in one sentence.

#[path = "../../../foretell-data/tests/made/damage.rs"]
mod damage;

mod refused;
mod safetensors_files;
mod torch_files;

use std::path::{Path, PathBuf};

use foretell_nn::weights::{TensorStore, open};

/// A file that `bench/peers/pth_files.py` wrote.
fn pth(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pth").join(name)
}

#[track_caller]
fn error(path: &Path) -> String {
    match open(path) {
        Ok(store) => panic!("{} was opened: {:?}", path.display(), store.entries()),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert_eq!(message.lines().count(), 1, "{message}");
}

/// Reads whatever can be read.
fn read_all(path: &Path) {
    if let Ok(store) = open(path) {
        for entry in store.entries() {
            if let Ok(tensor) = store.read(&entry.name) {
                assert_eq!(tensor.values.len(), tensor.shape.iter().product::<usize>());
            }
        }
    }
}

/// A safetensors file: the header as it is given, then the data.
fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// One tensor by its name.
fn values(store: &dyn TensorStore, name: &str) -> Vec<f32> {
    store.read(name).unwrap_or_else(|e| panic!("{name}: {e}")).values
}
