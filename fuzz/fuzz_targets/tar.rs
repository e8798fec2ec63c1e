//! The index of a tar, and the pictures and labels in it.
#![no_main]

use foretell_data::{Dataset, Part};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(dataset) = Dataset::open(&foretell_fuzz::file(input)) {
        for index in 0..dataset.len(Part::Train).min(4) {
            let _ = dataset.load(Part::Train, index);
        }
    }
});
