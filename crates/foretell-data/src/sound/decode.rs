//! Bytes to a recording: what a file is, its content decides.

use super::config::ChannelTaken;
use super::{resample, wav};
use crate::DataError;
use crate::kind::{foreign, lfs_pointer};

/// The file names that count as recordings, in lower case.
const EXTENSIONS: [&str; 6] = [".wav", ".wave", ".flac", ".ogg", ".oga", ".mp3"];

/// What changes by less is silence.
const SILENT: f32 = 1e-6;

/// Numbers as they were recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Samples a second.
    pub rate: u32,
    /// Channels, C.
    pub channels: usize,
    /// `[N, C]`, from -1 to 1 where they were integers.
    pub samples: Vec<f32>,
}

impl Recording {
    /// One channel at another rate, `[N · rate / self.rate]`; why not, in words that go on from the name.
    pub fn mono(self, channel: ChannelTaken, rate: u32) -> Result<Vec<f32>, String> {
        let wave = if self.channels == 1 { self.samples } else { self.taken(channel).collect() };
        resample::resample(wave, self.rate, rate)
    }

    fn taken(&self, channel: ChannelTaken) -> impl Iterator<Item = f32> + '_ {
        let channels = self.channels.max(1);
        self.samples.chunks_exact(channels).map(move |frame| match channel {
            ChannelTaken::Mean => frame.iter().sum::<f32>() / channels as f32,
            ChannelTaken::First => frame[0],
            ChannelTaken::Second => frame[1.min(channels - 1)],
        })
    }

    /// Whether nothing can be heard of what is taken of it: it never changes.
    pub(super) fn silent(&self, channel: ChannelTaken) -> bool {
        let (mut low, mut high) = (f32::MAX, f32::MIN);
        !self.taken(channel).any(|x| {
            (low, high) = (low.min(x), high.max(x));
            high - low > SILENT
        })
    }

    /// How long it lasts.
    pub fn seconds(&self) -> f64 {
        (self.samples.len() / self.channels.max(1)) as f64 / f64::from(self.rate.max(1))
    }
}

/// Whether the name is one of a recording.
pub(super) fn is_sound_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    EXTENSIONS.iter().any(|extension| name.ends_with(extension))
}

/// What a file's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Wav,
    Coded(&'static str),
    Foreign(&'static str),
}

fn format(head: &[u8]) -> Option<Format> {
    Some(match head {
        _ if wav::is(head) => Format::Wav,
        [b'f', b'L', b'a', b'C', ..] => Format::Coded("FLAC"),
        [b'O', b'g', b'g', b'S', ..] => Format::Coded("Ogg"),
        [b'I', b'D', b'3', ..] => Format::Coded("MP3"),
        // Eleven bits of one and the third layer.
        [0xFF, second, ..] if second & 0xE6 == 0xE2 => Format::Coded("MP3"),
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => Format::Foreign("an AIFF"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Format::Foreign("an MP4 (m4a)"),
        [b'c', b'a', b'f', b'f', ..] => Format::Foreign("a Core Audio file"),
        [b'#', b'!', b'A', b'M', b'R', ..] => Format::Foreign("an AMR file"),
        [b'w', b'v', b'p', b'k', ..] => Format::Foreign("a WavPack file"),
        [b'N', b'I', b'S', b'T', ..] => Format::Foreign("a NIST SPHERE file"),
        [b'.', b's', b'n', b'd', ..] => Format::Foreign("a Sun AU file"),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Format::Foreign("a Matroska or WebM file"),
        [0x30, 0x26, 0xB2, 0x75, ..] => Format::Foreign("a Windows Media file"),
        _ => return None,
    })
}

/// Whether bytes begin a recording that is read here.
pub(super) fn is_sound(head: &[u8]) -> bool {
    matches!(format(head), Some(Format::Wav | Format::Coded(_)))
}

/// A whole file's recording; `name` is for messages.
pub fn decode(bytes: Vec<u8>, name: &str) -> Result<Recording, DataError> {
    let bad = |reason: String| DataError::BadSound { name: name.to_owned(), reason };
    match format(&bytes) {
        Some(Format::Wav) => wav::read(&bytes).map_err(bad),
        Some(Format::Coded(kind)) => coded(bytes, kind).map_err(bad),
        Some(Format::Foreign(kind)) => {
            Err(bad(format!("it is {kind}, which is not read: convert it with `ffmpeg -i IN OUT.wav`")))
        }
        None if bytes.is_empty() => Err(bad("the file is empty".to_owned())),
        None => {
            let head = &bytes[..bytes.len().min(crate::kind::HEAD)];
            Err(foreign(name, head).unwrap_or_else(|| {
                bad(lfs_pointer(head).unwrap_or_else(|| {
                    format!(
                        "it begins with the bytes {:02x?}; expected WAV, FLAC, Ogg Vorbis or MP3",
                        &head[..head.len().min(8)]
                    )
                }))
            }))
        }
    }
}

#[cfg(feature = "symphonia")]
fn coded(bytes: Vec<u8>, _: &str) -> Result<Recording, String> {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    // A decoder's panic on damaged input is the input's fault for who asks.
    let read = catch_unwind(AssertUnwindSafe(|| super::codecs::read(bytes)));
    read.unwrap_or_else(|_| Err("its decoder gave up on it: replace it or remove it".to_owned()))
}

#[cfg(not(feature = "symphonia"))]
fn coded(_: Vec<u8>, kind: &str) -> Result<Recording, String> {
    Err(format!(
        "it is {kind}, and this program was built without its decoder: build it with `--features foretell/symphonia`, or convert it with `ffmpeg -i IN OUT.wav`"
    ))
}
