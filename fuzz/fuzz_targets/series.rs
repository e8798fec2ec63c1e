//! Tables over time, sets of series in text and in arrays, and the series in them. The first byte chooses how the file's name ends.
#![no_main]

use foretell_data::series::{Series, SeriesConfig};
use foretell_data::{Modality, Opening, Part};
use libfuzzer_sys::fuzz_target;

const ENDS: [&str; 5] = ["csv", "tsv", "ts", "npy", "npz"];

fuzz_target!(|input: &[u8]| {
    let Some((which, input)) = input.split_first() else { return };
    let plain = foretell_fuzz::file(input);
    let path = plain.with_extension(ENDS[usize::from(*which) % ENDS.len()]);
    std::fs::rename(&plain, &path).expect("a place to write to");
    let path = path.to_string_lossy().into_owned();
    let mut config = SeriesConfig { path, ..SeriesConfig::default() };
    let mut opening = Opening { seed: 0, batch: 1, threads: 1, decisions: &mut Vec::new() };
    let Ok(series) = Series::open(&mut config, &mut opening) else { return };
    for part in [Part::Train, Part::HeldOut] {
        for index in 0..series.len(part).unwrap_or(0).min(4) {
            if let Ok(sample) = series.load(part, index) {
                assert!(sample.values.len().is_multiple_of(sample.channels) && !sample.values.iter().any(|x| x.is_infinite()));
            }
        }
    }
});
