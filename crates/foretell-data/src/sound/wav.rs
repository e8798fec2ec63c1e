//! WAV in the forms that recorders and tools write: 8 bits unsigned, 16, 24 and 32 bits, float, A-law and µ-law, the extensible
//! header, RF64 for files beyond 4 GiB. Read from bytes; what a header promises is held against what is there.

use super::Recording;

/// Bytes before the first chunk.
const HEADER: usize = 12;
/// Tools that write to a pipe cannot know how long a file becomes, and put the largest number that they have: ffmpeg
/// `0xFFFFFFFF`, SoX a little less than `0x7FFFFFFF`.
const UNKNOWN: u32 = 0x7FFF_0000;
/// Sound lies between -1 and 1, or among whole numbers of 32 bits where a program forgot to scale it; the power of anything far beyond has no
/// place in single precision.
const LOUDEST: f32 = 1e12;
/// More channels are a damaged header.
const MOST_CHANNELS: usize = 256;

/// How numbers are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Integer,
    Float,
    ALaw,
    MuLaw,
}

/// What the chunk `fmt ` says.
#[derive(Clone, Copy, Debug)]
struct Format {
    code: Code,
    channels: usize,
    rate: u32,
    /// Bytes of a number.
    bytes: usize,
}

/// Whether a file begins so.
pub(super) fn is(head: &[u8]) -> bool {
    matches!(head.get(..4), Some(b"RIFF" | b"RF64" | b"BW64" | b"RIFX")) && head.get(8..12) == Some(b"WAVE")
}

/// The whole recording, each channel's numbers from -1 to 1 where they are integers; why not, in words that go on from the name.
pub(super) fn read(bytes: &[u8]) -> Result<Recording, String> {
    if bytes.starts_with(b"RIFX") {
        return Err(
            "it is a WAV of big-endian numbers (RIFX), which is not read: convert it with `ffmpeg -i IN.wav OUT.wav`"
                .to_owned(),
        );
    }
    if !is(bytes) {
        return Err(format!(
            "expected `RIFF` and `WAVE` at its beginning, found {:02x?}",
            &bytes[..bytes.len().min(HEADER)]
        ));
    }
    let (mut at, mut format, mut sound) = (HEADER, None, None);
    while let Some(head) = bytes.get(at..at + 8) {
        let (name, size) = (&head[..4], u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        let start = at + 8;
        let rest = bytes.len() - start;
        if name == b"data" {
            sound = Some((start, length(bytes, start, size)?));
            // What follows the sound is about it and is not needed once the format is known.
            if format.is_some() {
                break;
            }
        }
        let size = size as usize;
        if name == b"fmt " {
            let chunk = bytes.get(start..start.saturating_add(size)).ok_or_else(|| {
                format!(
                    "the file ends inside its chunk `fmt `: {size} bytes are promised, {rest} are there; copy it again"
                )
            })?;
            format = Some(described(chunk)?);
        }
        at = next(bytes, start, size);
    }
    let format =
        format.ok_or("it has no chunk `fmt `, which says how its numbers are coded; record or convert it again")?;
    let (start, length) =
        sound.ok_or("it has no chunk `data`, in which the sound would be; copy or convert it again")?;
    let frame = format.bytes * format.channels;
    let frames = length / frame;
    if frames == 0 {
        return Err("it holds no sound: its chunk `data` is empty".to_owned());
    }
    let samples = numbers(&bytes[start..start + frames * frame], format);
    if let Some(at) = samples.iter().position(|x| !x.is_finite() || x.abs() > LOUDEST) {
        return Err(format!(
            "the number at {:.3} seconds is {}: {:e}, where sound lies from -1 to 1; write it again",
            (at / format.channels) as f64 / f64::from(format.rate),
            if samples[at].is_finite() { "no sound" } else { "not finite" },
            samples[at]
        ));
    }
    Ok(Recording { rate: format.rate, channels: format.channels, samples })
}

/// Bytes of sound: as promised, or to the file's end where the header did not know.
fn length(bytes: &[u8], start: usize, size: u32) -> Result<usize, String> {
    let (promised, rest) = (size as usize, bytes.len() - start);
    // 0 was never filled in, unless another chunk follows at once.
    if size == 0 && !is_chunk(bytes, start) || size >= UNKNOWN && promised > rest {
        return Ok(rest);
    }
    if promised > rest {
        return Err(format!(
            "it is cut: its header promises {promised} bytes of sound, and {rest} are there; copy or download it again"
        ));
    }
    let behind = next(bytes, start, promised);
    if !is_chunk(bytes, behind) && rest - promised > promised.max(HEADER) {
        return Err(format!(
            "its header promises {promised} bytes of sound, and {} more follow that belong to nothing: its recorder did not finish it; let `ffmpeg -ignore_length 1 -i IN.wav OUT.wav` write it anew",
            rest - promised
        ));
    }
    Ok(promised)
}

/// Whether a chunk of a plausible name and length begins there.
fn is_chunk(bytes: &[u8], at: usize) -> bool {
    bytes.get(at..at + 8).is_some_and(|head| {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        head[..4].iter().all(|b| b.is_ascii_alphanumeric() || *b == b' ' || *b == b'_') && size <= bytes.len() - at - 8
    })
}

/// Where the next chunk begins. Chunks of odd length are followed by a byte of padding, which some writers forget.
fn next(bytes: &[u8], start: usize, size: usize) -> usize {
    let end = start.saturating_add(size);
    if size % 2 == 1 && (is_chunk(bytes, end.saturating_add(1)) || !is_chunk(bytes, end)) {
        end.saturating_add(1)
    } else {
        end
    }
}

fn described(chunk: &[u8]) -> Result<Format, String> {
    let short = || format!("its chunk `fmt ` has {} bytes, and 16 are the least", chunk.len());
    let half = |at: usize| chunk.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let rate = chunk.get(4..8).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).ok_or_else(short)?;
    let (tag, channels) = half(0).zip(half(2)).ok_or_else(short)?;
    let (block, bits) = half(12).zip(half(14)).ok_or_else(short)?;
    // The extensible header's own tag stands at the beginning of a GUID.
    let tag = if tag == 0xFFFE { half(24).ok_or("its extensible header is cut")? } else { tag };
    let (channels, block) = (usize::from(channels), usize::from(block));
    if rate == 0 || !(1..=MOST_CHANNELS).contains(&channels) {
        return Err(format!("its header says {channels} channels at {rate} Hz: it is damaged, copy it again"));
    }
    // Twenty bits lie in three bytes, at the top of them.
    let bytes = if block > 0 && block % channels == 0 { block / channels } else { usize::from(bits).div_ceil(8) };
    let fits = 8 * bytes >= usize::from(bits) && (8 * bytes < usize::from(bits) + 8 || (bits, bytes) == (24, 4));
    if matches!(tag, 1 | 3 | 6 | 7) && (bits == 0 || !fits) && bytes * channels == block {
        return Err(format!(
            "its header says {bits} bits in {block} bytes for {channels} channels: it is damaged, copy it again"
        ));
    }
    let code = match (tag, bytes) {
        (1, 1..=4) => Code::Integer,
        (3, 4 | 8) => Code::Float,
        (6, 1) => Code::ALaw,
        (7, 1) => Code::MuLaw,
        (1 | 3 | 6 | 7, _) => {
            return Err(format!(
                "its numbers of {bits} bits in {bytes} bytes are not read: convert it with `ffmpeg -i IN.wav OUT.wav`"
            ));
        }
        _ => {
            return Err(format!(
                "its coding {tag:#06x} is not read: convert it with `ffmpeg -i IN.wav -c:a pcm_s16le OUT.wav`"
            ));
        }
    };
    if bytes * channels != block && block != 0 {
        return Err(format!(
            "its header says {block} bytes for {channels} channels of {bits} bits: it is damaged, copy it again"
        ));
    }
    Ok(Format { code, channels, rate, bytes })
}

fn numbers(bytes: &[u8], format: Format) -> Vec<f32> {
    let each = bytes.chunks_exact(format.bytes);
    match (format.code, format.bytes) {
        (Code::ALaw, _) => each.map(|b| a_law(b[0])).collect(),
        (Code::MuLaw, _) => each.map(|b| mu_law(b[0])).collect(),
        (Code::Float, 8) => {
            each.map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32).collect()
        }
        (Code::Float, _) => each.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        (Code::Integer, 1) => each.map(|b| (f32::from(b[0]) - 128.0) / 128.0).collect(),
        (Code::Integer, 2) => each.map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0).collect(),
        (Code::Integer, 3) => {
            each.map(|b| (i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8) as f32 / 8_388_608.0).collect()
        }
        (Code::Integer, _) => {
            each.map(|b| (f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])) / 2_147_483_648.0) as f32).collect()
        }
    }
}

/// G.711.
fn a_law(byte: u8) -> f32 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = (u32::from(byte >> 4 & 7), i32::from(byte & 15));
    let size = if exponent == 0 { mantissa * 16 + 8 } else { (mantissa * 16 + 0x108) << (exponent - 1) };
    (if byte & 0x80 == 0 { -size } else { size }) as f32 / 32768.0
}

/// G.711.
fn mu_law(byte: u8) -> f32 {
    let byte = !byte;
    let size = ((i32::from(byte & 15) * 8 + 0x84) << u32::from(byte >> 4 & 7)) - 0x84;
    (if byte & 0x80 == 0 { size } else { -size }) as f32 / 32768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut out = [name.as_slice(), &(body.len() as u32).to_le_bytes(), body].concat();
        out.extend(std::iter::repeat_n(0, body.len() % 2));
        out
    }

    fn format(tag: u16, channels: u16, bits: u16) -> Vec<u8> {
        let block = channels * bits.div_ceil(8);
        let mut body = [tag.to_le_bytes(), channels.to_le_bytes()].concat();
        body.extend(8000_u32.to_le_bytes());
        body.extend((8000 * u32::from(block)).to_le_bytes());
        body.extend([block.to_le_bytes(), bits.to_le_bytes()].concat());
        body
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = chunks.concat();
        [b"RIFF".as_slice(), &(body.len() as u32 + 4).to_le_bytes(), b"WAVE", &body].concat()
    }

    fn samples(tag: u16, channels: u16, bits: u16, data: &[u8]) -> Vec<f32> {
        read(&file(&[chunk(*b"fmt ", &format(tag, channels, bits)), chunk(*b"data", data)])).unwrap().samples
    }

    #[test]
    fn every_width_has_its_zero_and_its_ends() {
        assert_eq!(samples(1, 1, 8, &[128, 0, 192]), [0.0, -1.0, 0.5]);
        assert_eq!(samples(1, 1, 16, &[0, 0, 0, 0x80, 0, 0x40]), [0.0, -1.0, 0.5]);
        assert_eq!(samples(1, 1, 24, &[0, 0, 0, 0, 0, 0x80, 0, 0, 0x40]), [0.0, -1.0, 0.5]);
        // Twenty bits in the upper part of three bytes.
        assert_eq!(samples(1, 1, 20, &[0, 0, 0x40]), [0.5]);
        assert_eq!(samples(1, 2, 32, &[0, 0, 0, 0x80, 0, 0, 0, 0x40]), [-1.0, 0.5]);
        assert_eq!(samples(3, 1, 32, &(-0.25_f32).to_le_bytes()), [-0.25]);
        assert_eq!(samples(3, 1, 64, &(1.5_f64).to_le_bytes()), [1.5]);
        // G.711's tables: µ-law 0xFF and 0x7F are zero, 0x00 is -32124; A-law 0xD5 is 8, 0xAA is 32256.
        assert_eq!(samples(7, 1, 8, &[0xFF, 0x00]).map_to(), [0, -32124]);
        assert_eq!(samples(6, 1, 8, &[0xD5, 0xAA, 0x2A]).map_to(), [8, 32256, -32256]);
    }

    trait MapTo {
        fn map_to(self) -> Vec<i32>;
    }

    impl MapTo for Vec<f32> {
        fn map_to(self) -> Vec<i32> {
            self.into_iter().map(|x| (x * 32768.0) as i32).collect()
        }
    }

    #[test]
    fn the_extensible_header_odd_chunks_and_unknown_lengths_are_read() {
        let mut extensible = format(0xFFFE, 1, 16);
        extensible.extend([22, 0, 16, 0, 4, 0, 0, 0]);
        extensible.extend([1, 0, 0, 0, 0, 0, 16, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
        let data = [0, 0x40, 0, 0x20];
        let expected = [0.5, 0.25];
        let (fmt, list) = (chunk(*b"fmt ", &extensible), chunk(*b"LIST", b"INFOx"));
        let whole = file(&[fmt.clone(), list.clone(), chunk(*b"data", &data), chunk(*b"id3 ", &[1, 2, 3])]);
        assert_eq!(read(&whole).unwrap().samples, expected);
        // A writer that forgets the padding.
        let mut bare = list.clone();
        bare.pop();
        assert_eq!(read(&file(&[fmt.clone(), bare, chunk(*b"data", &data)])).unwrap().samples, expected);
        // To a pipe.
        for size in [0_u32, u32::MAX, 0x7FFF_FFFF - 36] {
            let mut piped = file(&[fmt.clone(), chunk(*b"data", &data)]);
            let at = piped.len() - 8;
            piped[at..at + 4].copy_from_slice(&size.to_le_bytes());
            piped[4..8].copy_from_slice(&size.to_le_bytes());
            assert_eq!(read(&piped).unwrap().samples, expected, "{size:#x}");
        }
        let ds64 = chunk(*b"ds64", &[0; 28]);
        let mut big = file(&[ds64, fmt, chunk(*b"data", &data)]);
        big[..4].copy_from_slice(b"RF64");
        let at = big.len() - 8;
        big[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&big).unwrap().samples, expected);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let fmt = || chunk(*b"fmt ", &format(1, 1, 16));
        let refused = |bytes: &[u8]| read(bytes).unwrap_err();
        let good = file(&[fmt(), chunk(*b"data", &[0, 1, 2, 3])]);
        assert!(refused(&good[..good.len() - 1]).contains("promises 4 bytes of sound, and 3 are there"));
        assert!(refused(&good[..14]).contains("no chunk `fmt `"));
        assert!(refused(&good[..30]).contains("ends inside its chunk `fmt `"));
        assert!(refused(&good[..36]).contains("no chunk `data`"));
        assert!(refused(&file(&[fmt(), chunk(*b"data", &[])])).contains("empty"));
        assert!(refused(&file(&[fmt(), chunk(*b"data", &[]), chunk(*b"LIST", &[1, 2])])).contains("empty"));
        assert!(refused(&file(&[chunk(*b"data", &[0, 1])])).contains("no chunk `fmt `"));
        assert!(refused(&file(&[chunk(*b"fmt ", &format(2, 1, 4)), chunk(*b"data", &[0])])).contains("0x0002"));
        assert!(refused(&file(&[chunk(*b"fmt ", &format(1, 0, 16)), chunk(*b"data", &[0])])).contains("0 channels"));
        let nan = file(&[chunk(*b"fmt ", &format(3, 1, 32)), chunk(*b"data", &f32::NAN.to_le_bytes())]);
        assert!(refused(&nan).contains("not finite"));
        let loud = file(&[chunk(*b"fmt ", &format(3, 1, 32)), chunk(*b"data", &1e38_f32.to_le_bytes())]);
        assert!(refused(&loud).contains("0.000 seconds is no sound: 1e38"), "{}", refused(&loud));
        // Bits that do not fill their bytes.
        for (bits, block) in [(0_u16, 2_u16), (16, 3), (24, 2)] {
            let mut body = format(1, 1, 16);
            body[12..14].copy_from_slice(&block.to_le_bytes());
            body[14..16].copy_from_slice(&bits.to_le_bytes());
            let said = refused(&file(&[chunk(*b"fmt ", &body), chunk(*b"data", &[0; 12])]));
            assert!(said.contains(&format!("{bits} bits in {block} bytes for 1 channels")), "{said}");
        }
        // A length that was filled in too early; a little of anything behind the sound harms nothing.
        let mut early = file(&[fmt(), chunk(*b"data", &[9; 400])]);
        early[40..44].copy_from_slice(&8_u32.to_le_bytes());
        assert!(refused(&early).contains("promises 8 bytes of sound, and 392 more follow that belong to nothing"));
        early.truncate(44 + 8 + 5);
        assert_eq!(read(&early).unwrap().samples.len(), 4);
        assert!(refused(b"RIFX\0\0\0\0WAVE").contains("big-endian") && refused(b"").contains("RIFF"));
    }
}
