//! EDF, EDF+, BDF, and BrainVision's header beside numbers that never change.
#![no_main]

use foretell_data::eeg::{Eeg, EegConfig};
use foretell_data::{Modality, Opening, Part};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let path = foretell_fuzz::file(input);
    let numbers = path.with_file_name("foretell-fuzz.eeg");
    if !numbers.exists() {
        let bytes: Vec<u8> = (0..40_000_u32).map(|i| (i * 37 % 251) as u8).collect();
        std::fs::write(&numbers, bytes).expect("a place to write to");
    }
    let mut config = EegConfig { path: path.to_string_lossy().into_owned(), ..EegConfig::default() };
    let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
    let Ok(eeg) = Eeg::open(&mut config, &mut opening) else { return };
    for part in [Part::Train, Part::HeldOut] {
        for index in 0..eeg.len(part).unwrap_or(0).min(2) {
            if let Ok(sample) = eeg.load(part, index) {
                assert!(sample.values.iter().all(|x| x.is_finite()));
            }
        }
    }
});
