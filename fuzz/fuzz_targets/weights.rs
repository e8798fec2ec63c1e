//! Weights: safetensors and PyTorch's files, by their content, every tensor of them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(store) = foretell_nn::weights::open(&foretell_fuzz::file(input)) {
        for entry in store.entries() {
            let _ = store.read(&entry.name);
        }
    }
});
