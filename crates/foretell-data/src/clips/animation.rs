//! Animated WebP and PNG: each frame drawn on what the ones before it left, on white. Files of one frame are pictures.

use std::fs::File;
use std::io::{BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Frames, ImageDecoder, ImageError, Limits, RgbaImage};

use super::{Extent, MOST_PIXELS, Wanted, check_size, guarded};
use crate::Image;

/// Chunks of a PNG that may stand before its pixels.
const MOST_CHUNKS: usize = 256;

/// See the module.
#[derive(Debug)]
pub(super) struct Animation {
    path: PathBuf,
    png: bool,
    times: Vec<f64>,
}

impl Animation {
    /// Whether a file that begins so is a WebP or PNG.
    pub(super) fn may_be(head: &[u8]) -> bool {
        is_png(head) || matches!(head, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..])
    }

    /// Whether its header says that there are several frames.
    pub(super) fn is(path: &Path) -> bool {
        File::open(path).and_then(|file| said(BufReader::new(file))).unwrap_or(false)
    }

    /// The same of a file that begins so.
    pub(super) fn is_in(head: &[u8]) -> bool {
        said(Cursor::new(head)).unwrap_or(false)
    }

    /// Decodes it once to count its frames.
    pub(super) fn open(path: &Path) -> Result<(Self, Extent), String> {
        let mut head = [0; 8];
        File::open(path).and_then(|mut file| file.read_exact(&mut head)).map_err(|e| e.to_string())?;
        let mut animation = Self { path: path.to_owned(), png: is_png(&head), times: Vec::new() };
        let (mut at, mut times, mut size) = (0.0, Vec::new(), (0, 0));
        animation.each(|frame, milliseconds| {
            size = (frame.width() as usize, frame.height() as usize);
            times.push(at);
            at += milliseconds / 1e3;
            true
        })?;
        if times.is_empty() {
            return Err("it has no frame".to_owned());
        }
        let extent = (times.len(), size.0, size.1);
        animation.times = times;
        Ok((animation, extent))
    }

    pub(super) fn format(&self) -> &'static str {
        if self.png { "an animated PNG" } else { "an animated WebP" }
    }

    pub(super) fn times(&self) -> &[f64] {
        &self.times
    }

    pub(super) fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, String> {
        let (mut wanted, mut number) = (Wanted::new(wanted), 0);
        self.each(|frame, _| {
            if wanted.wants(number) {
                wanted.give(number, &on_white(frame));
            }
            number += 1;
            !wanted.is_served()
        })?;
        wanted.images()
    }

    /// Hands over frames and the milliseconds that each is shown, until `f` says no.
    fn each(&self, mut f: impl FnMut(&RgbaImage, f64) -> bool) -> Result<(), String> {
        let damaged = |frame: usize, error: ImageError| {
            format!("it is damaged or truncated in frame {frame}: {error}; copy it again")
        };
        let mut frames = guarded(|| self.frames())?;
        for number in 0.. {
            let Some(frame) = guarded(|| frames.next().transpose().map_err(|error| damaged(number, error)))? else {
                break;
            };
            let (numerator, denominator) = frame.delay().numer_denom_ms();
            if !f(frame.buffer(), f64::from(numerator) / f64::from(denominator.max(1))) {
                break;
            }
        }
        Ok(())
    }

    fn frames(&self) -> Result<Frames<'static>, String> {
        let file = File::open(&self.path).map_err(|e| format!("it cannot be read: {e}"))?;
        let (file, broken) = (BufReader::new(file), |error: ImageError| format!("it is no whole picture: {error}"));
        let mut limits = Limits::default();
        limits.max_alloc = Some(16 * MOST_PIXELS as u64);
        let size = |(width, height): (u32, u32)| check_size(width as usize, height as usize);
        if self.png {
            let decoder = PngDecoder::with_limits(file, limits).map_err(broken)?;
            size(decoder.dimensions())?;
            return Ok(decoder.apng().map_err(broken)?.into_frames());
        }
        let mut decoder = WebPDecoder::new(file).map_err(broken)?;
        size(decoder.dimensions())?;
        decoder.set_limits(limits).map_err(broken)?;
        Ok(decoder.into_frames())
    }
}

fn is_png(head: &[u8]) -> bool {
    head.starts_with(b"\x89PNG\r\n\x1a\n")
}

/// What the header says. WebP has a bit for it (its extended header's second); PNG has a chunk that stands before the pixels.
fn said(mut file: impl Read + Seek) -> Result<bool, std::io::Error> {
    let mut head = [0; 21];
    file.read_exact(&mut head)?;
    if !is_png(&head) {
        return Ok(Animation::may_be(&head) && &head[12..16] == b"VP8X" && head[20] & 2 != 0);
    }
    file.seek(SeekFrom::Start(8))?;
    for _ in 0..MOST_CHUNKS {
        let mut chunk = [0; 8];
        match file.read_exact(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        let length = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        match &chunk[4..] {
            b"acTL" => {
                let mut frames = [0; 4];
                file.read_exact(&mut frames)?;
                return Ok(u32::from_be_bytes(frames) > 1);
            }
            b"IDAT" | b"IEND" => return Ok(false),
            _ => _ = file.seek(SeekFrom::Current(i64::from(length) + 4))?,
        }
    }
    Ok(false)
}

fn on_white(frame: &RgbaImage) -> Image {
    let over = |value: u8, alpha: u8| {
        ((u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8
    };
    let pixels = frame.pixels().flat_map(|pixel| {
        let [r, g, b, alpha] = pixel.0;
        [over(r, alpha), over(g, alpha), over(b, alpha)]
    });
    Image { width: frame.width() as usize, height: frame.height() as usize, channels: 3, pixels: pixels.collect() }
}
