//! Tables over time, sets of series in text and in arrays: whatever is recognised, and the series in it.
#![no_main]

use foretell_data::series::{Series, SeriesConfig};
use foretell_data::{Modality, Opening, Part};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let path = foretell_fuzz::file(input).to_string_lossy().into_owned();
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
