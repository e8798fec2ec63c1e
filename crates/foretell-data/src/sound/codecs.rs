//! FLAC, Ogg Vorbis and MP3, by Symphonia.

use std::io::Cursor;

use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use super::Recording;

/// The whole recording; why not, in words that go on from the name. A packet that cannot be decoded is an error: what is left out of a
/// sound moves all that follows.
pub(super) fn read(bytes: Vec<u8>) -> Result<Recording, String> {
    let wrong =
        |error: Error| format!("it is damaged or of a kind that is not read ({error}): replace it or remove it");
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), MediaSourceStreamOptions::default());
    let (options, meta) = (FormatOptions::default(), MetadataOptions::default());
    let mut format = symphonia::default::get_probe().probe(&Hint::new(), stream, options, meta).map_err(wrong)?;
    let track = format.default_track(TrackType::Audio).ok_or("it holds no sound")?;
    let (id, parameters) = (track.id, track.codec_params.as_ref().and_then(|codec| codec.audio().cloned()));
    let parameters = parameters.ok_or("it does not say how its sound is coded")?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .map_err(wrong)?;
    let mut recording = Recording { rate: 0, channels: 0, samples: Vec::new() };
    let mut part: Vec<f32> = Vec::new();
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => return Err(wrong(error)),
        };
        if packet.track_id != id {
            continue;
        }
        let decoded = decoder.decode(&packet).map_err(wrong)?;
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
        if recording.samples.is_empty() {
            (recording.rate, recording.channels) = (rate, channels);
        } else if (rate, channels) != (recording.rate, recording.channels) {
            return Err(format!(
                "it changes from {} channels at {} Hz to {channels} at {rate}: convert it with `ffmpeg -i IN OUT.wav`",
                recording.channels, recording.rate
            ));
        }
        decoded.copy_to_vec_interleaved(&mut part);
        recording.samples.extend_from_slice(&part);
    }
    if recording.samples.is_empty() || recording.rate == 0 {
        return Err("it holds no sound".to_owned());
    }
    Ok(recording)
}
