//! How long a video is, by its container's header: MP4 and QuickTime, Matroska and WebM, AVI. Nothing is decoded and little is read,
//! so that a video of hours opens as fast as one of seconds.

use std::path::Path;

use crate::positional::Positional;

/// Longer headers are left to ffmpeg.
const LONGEST_HEADER: u64 = 1 << 27;
/// Boxes or elements of a file that are gone through.
const MOST: usize = 4096;

/// What a header says of the video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Length {
    /// From its first frame to the end of its last one.
    pub(super) seconds: f64,
    /// Frames in a second, on average; nothing where the header does not say.
    pub(super) fps: Option<f64>,
}

/// What the header says, where it is of a kind that is read here and says enough.
pub(super) fn length(path: &Path) -> Option<Length> {
    let file = Positional::open(path).ok()?;
    let head = bytes(&file, 0, 12.min(file.length()))?;
    let found = match &head[..] {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => mp4(&file),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => matroska(&file),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' '] => avi(&file),
        _ => None,
    };
    let sound = |value: f64| value.is_finite() && value > 0.0;
    found.filter(|length| sound(length.seconds) && length.fps.is_none_or(sound))
}

fn bytes(file: &Positional, at: u64, count: u64) -> Option<Vec<u8>> {
    if count > LONGEST_HEADER || at.checked_add(count)? > file.length() {
        return None;
    }
    let mut bytes = vec![0; count as usize];
    file.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// ISO 14496-12: boxes of a length, a kind and what they hold.
fn mp4(file: &Positional) -> Option<Length> {
    let mut at = 0;
    for _ in 0..MOST {
        let head = bytes(file, at, 16.min(file.length().checked_sub(at)?))?;
        let (size, skipped) = match u32_at(&head, 0)? {
            0 => (file.length() - at, 8),
            1 => (u64_at(&head, 8)?, 16),
            size => (u64::from(size), 8),
        };
        let body = size.checked_sub(skipped)?;
        if head.get(4..8)? == b"moov" {
            return movie(&bytes(file, at + skipped, body)?);
        }
        at = at.checked_add(size)?;
    }
    None
}

/// The boxes in a box.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let (size, skipped) = match u32_at(rest, 0)? {
            0 => (rest.len(), 8),
            1 => (usize::try_from(u64_at(rest, 8)?).ok()?, 16),
            size => (size as usize, 8),
        };
        let (one, behind) = (rest.get(skipped..size)?, rest.get(size..)?);
        let kind = &rest[4..8];
        rest = behind;
        Some((kind, one))
    })
}

fn within<'a>(outer: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(outer, |outer, wanted| boxes(outer).find(|(kind, _)| kind == wanted).map(|(_, inside)| inside))
}

/// A header's clock: ticks in a second, and its length in them. Version 1 has wider fields.
fn clock(header: &[u8]) -> Option<(f64, f64)> {
    if header.first()? == &1 {
        Some((f64::from(u32_at(header, 20)?), u64_at(header, 24)? as f64))
    } else {
        Some((f64::from(u32_at(header, 12)?), f64::from(u32_at(header, 16)?)))
    }
}

fn movie(movie: &[u8]) -> Option<Length> {
    let tracks = || boxes(movie).filter(|(kind, _)| kind == b"trak").map(|(_, track)| track);
    let is_video = |track: &&[u8]| within(track, &[b"mdia", b"hdlr"]).and_then(|h| h.get(8..12)) == Some(b"vide");
    let track = tracks().find(is_video)?;
    let (ticks, _) = clock(within(track, &[b"mdia", b"mdhd"])?)?;
    let table = within(track, &[b"mdia", b"minf", b"stbl", b"stts"])?;
    let (mut frames, mut length) = (0.0, 0.0);
    for entry in table.get(8..)?.chunks_exact(8).take(u32_at(table, 4)? as usize) {
        let (count, each) = (f64::from(u32_at(entry, 0)?), f64::from(u32_at(entry, 4)?));
        frames += count;
        length += count * each;
    }
    let mut seconds = length / ticks;
    let fps = frames / seconds;
    // A list of edits shows a part of it.
    if let Some(list) = within(track, &[b"edts", b"elst"])
        && let Some((ticks, _)) = within(movie, &[b"mvhd"]).and_then(clock)
    {
        let wide = list.first()? == &1;
        let mut shown = 0.0;
        for entry in list.get(8..)?.chunks_exact(if wide { 20 } else { 12 }).take(u32_at(list, 4)? as usize) {
            let (length, nothing) = if wide {
                (u64_at(entry, 0)? as f64, u64_at(entry, 8)? == u64::MAX)
            } else {
                (f64::from(u32_at(entry, 0)?), u32_at(entry, 4)? == u32::MAX)
            };
            shown += if nothing { 0.0 } else { length / ticks };
        }
        // Of a tick less it is whole.
        if shown > 0.0 && shown < seconds - 0.5 / fps {
            seconds = shown;
        }
    }
    Some(Length { seconds, fps: Some(fps) })
}

/// RFC 8794: an element's kind and length are written in as many bytes as the first one's leading zeros say. The number, and
/// how many bytes it took; a kind keeps its marker, a length of ones alone is unknown (`u64::MAX`).
pub(super) fn varint(bytes: &[u8], keeps_marker: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let count = first.leading_zeros() as usize + 1;
    if count > 8 {
        return None;
    }
    let mut value = u64::from(first);
    for byte in bytes.get(1..count)? {
        value = value << 8 | u64::from(*byte);
    }
    if keeps_marker {
        return Some((value, count));
    }
    let mask = (1_u64 << (7 * count)) - 1;
    let value = value & mask;
    Some((if value == mask { u64::MAX } else { value }, count))
}

/// The elements in an element: kinds and what they hold.
fn elements(mut rest: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, skipped) = varint(rest, true)?;
        let (size, more) = varint(&rest[skipped..], false)?;
        let start = skipped + more;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        let inside = rest.get(start..end)?;
        rest = &rest[end..];
        Some((kind, inside))
    })
}

/// A number of up to 8 bytes.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// RFC 9559, of which the length and the tracks stand before the first cluster.
fn matroska(file: &Positional) -> Option<Length> {
    const SEGMENT: u64 = 0x1853_8067;
    const CLUSTER: u64 = 0x1F43_B675;
    const INFO: u64 = 0x1549_A966;
    const TRACKS: u64 = 0x1654_AE6B;
    let (mut at, mut seconds, mut fps) = (0, None, None);
    for _ in 0..MOST {
        let head = bytes(file, at, 16.min(file.length().checked_sub(at)?))?;
        let (kind, skipped) = varint(&head, true)?;
        let (size, more) = varint(&head[skipped..], false)?;
        let start = at + (skipped + more) as u64;
        match kind {
            SEGMENT => {
                at = start;
                continue;
            }
            CLUSTER => break,
            INFO => {
                let info = bytes(file, start, size)?;
                let find = |wanted| elements(&info).find(|(kind, _)| *kind == wanted).map(|(_, inside)| inside);
                let scale = find(0x2A_D7B1).map_or(1e6, |scale| number(scale) as f64);
                let length = match find(0x4489)? {
                    wide @ [_, _, _, _, _, _, _, _] => f64::from_bits(number(wide)),
                    narrow => f64::from(f32::from_bits(number(narrow) as u32)),
                };
                seconds = Some(length * scale / 1e9);
            }
            TRACKS => {
                let tracks = bytes(file, start, size)?;
                let field =
                    |track, wanted| elements(track).find(|(kind, _)| *kind == wanted).map(|(_, inside)| number(inside));
                let entries = || elements(&tracks).filter(|(kind, _)| *kind == 0xAE).map(|(_, track)| track);
                let video = entries().find(|track| field(track, 0x83) == Some(1))?;
                fps = field(video, 0x23_E383).filter(|each| *each > 0).map(|each| 1e9 / each as f64);
            }
            _ => {}
        }
        at = start.checked_add(size)?;
    }
    Some(Length { seconds: seconds?, fps })
}

/// The header of the stream of pictures: `dwScale / dwRate` seconds for each of `dwLength` frames.
fn avi(file: &Positional) -> Option<Length> {
    let head = bytes(file, 0, file.length().min(1 << 14))?;
    let at = head.windows(12).position(|window| &window[..4] == b"strh" && &window[8..] == b"vids")? + 8;
    let field = |place: usize| -> Option<f64> {
        Some(f64::from(u32::from_le_bytes(head.get(at + place..at + place + 4)?.try_into().ok()?)))
    };
    let (scale, rate, frames) = (field(20)?, field(24)?, field(32)?);
    Some(Length { seconds: frames * scale / rate, fps: Some(rate / scale) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_read() {
        assert_eq!(varint(&[0x81], false), Some((1, 1)));
        assert_eq!(varint(&[0x40, 0x02], false), Some((2, 2)));
        assert_eq!(varint(&[0x1A, 0x45, 0xDF, 0xA3], true), Some((0x1A45_DFA3, 4)));
        assert_eq!(varint(&[0x01, 255, 255, 255, 255, 255, 255, 255], false), Some((u64::MAX, 8)));
        assert_eq!((varint(&[0x40], false), varint(&[0], false), varint(&[], true)), (None, None, None));
    }

    fn boxed(kind: [u8; 4], inside: &[&[u8]]) -> Vec<u8> {
        let inside = inside.concat();
        [&(inside.len() as u32 + 8).to_be_bytes()[..], &kind, &inside].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// 90 frames of 1001 ticks of 30000 behind an index of sound; the second half is cut away by an edit.
    fn file(edits: &[u8]) -> Vec<u8> {
        let track = |kind: &[u8; 4], edits: &[u8]| {
            let table = boxed(*b"stts", &[&words(&[0, 1, 90, 1001])]);
            let media = boxed(
                *b"mdia",
                &[
                    &boxed(*b"mdhd", &[&words(&[0, 0, 0, 30_000, 90_090, 0])]),
                    &boxed(*b"hdlr", &[&words(&[0, 0]), kind, &words(&[0, 0, 0])]),
                    &boxed(*b"minf", &[&boxed(*b"stbl", &[&table])]),
                ],
            );
            boxed(*b"trak", &[edits, &media])
        };
        let movie = boxed(
            *b"moov",
            &[&boxed(*b"mvhd", &[&words(&[0, 0, 0, 1000, 3003, 0])]), &track(b"soun", &[]), &track(b"vide", edits)],
        );
        [boxed(*b"ftyp", &[b"isom"]), boxed(*b"mdat", &[&[7; 100]]), movie].concat()
    }

    #[test]
    fn mp4_says_how_long_it_is() {
        let root = tempfile::tempdir().unwrap();
        let of = |content: &[u8]| {
            let path = root.path().join("clip.mp4");
            std::fs::write(&path, content).unwrap();
            length(&path)
        };
        let whole = of(&file(&[])).unwrap();
        assert!((whole.seconds - 3.003).abs() < 1e-9 && (whole.fps.unwrap() - 29.97).abs() < 1e-3, "{whole:?}");
        let edits = boxed(*b"edts", &[&boxed(*b"elst", &[&words(&[0, 1, 1500, 0, 1 << 16])])]);
        assert!((of(&file(&edits)).unwrap().seconds - 1.5).abs() < 1e-9);
        // Cut or damaged anywhere, it is a length or nothing, and no panic.
        let content = file(&edits);
        for end in 0..content.len() {
            let _ = of(&content[..end]);
            let mut damaged = content.clone();
            damaged[end] ^= 0xFF;
            let _ = of(&damaged);
        }
        assert_eq!(of(&content[..content.len() - 40]), None);
    }
}
