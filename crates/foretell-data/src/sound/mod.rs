//! Sound as a kind of data: recordings in files or generated ones, as log-mel spectrograms.

#[cfg(feature = "symphonia")]
mod codecs;
mod config;
mod decode;
mod filters;
mod fourier;
mod listing;
mod mel;
mod names;
mod resample;
mod set;
mod spectrogram;
mod tones;
mod wav;

pub use config::{ChannelTaken, Level, SoundConfig};
pub use decode::{Recording, decode};
pub use mel::{LogMel, MelConfig, MelPreset, Mels};
pub use set::Sounds;
pub use spectrogram::{ShortSounds, SoundSample};
pub use tones::TonesConfig;
