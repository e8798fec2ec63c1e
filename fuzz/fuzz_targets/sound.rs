//! Recordings in every form, and their spectrograms.
#![no_main]

use foretell_data::sound::{ChannelTaken, LogMel, MelConfig, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(recording) = decode(input.to_vec(), "x") else { return };
    assert!(recording.rate > 0 && recording.channels > 0 && recording.samples.iter().all(|x| x.is_finite()));
    if let Ok(wave) = recording.mono(ChannelTaken::Mean, 8000) {
        let wave = &wave[..wave.len().min(4000)];
        let mel = LogMel::new(&MelConfig::default(), 8000).expect("the usual form");
        assert!(mel.of(wave).values.iter().all(|x| x.is_finite()));
    }
});
