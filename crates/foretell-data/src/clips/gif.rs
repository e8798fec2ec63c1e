//! GIF, drawn as viewers do: each frame on what the ones before it left, on white.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit};

use super::{Extent, Wanted, check_size};
use crate::Image;

/// Of one frame, four bytes a pixel.
const MOST_BYTES: NonZeroU64 = NonZeroU64::new(1 << 27).expect("not 0");

/// See the module.
#[derive(Debug)]
pub(super) struct Gif {
    path: PathBuf,
    width: usize,
    height: usize,
}

/// Where a frame lies: left, top, width, height.
type Area = (usize, usize, usize, usize);

impl Gif {
    pub(super) fn open(path: &Path) -> Result<(Self, Extent), String> {
        let mut options = DecodeOptions::new();
        options.skip_frame_decoding(true);
        let mut decoder = decoder(path, options)?;
        let (width, height) = (decoder.width() as usize, decoder.height() as usize);
        check_size(width, height)?;
        let mut frames = 0;
        while guarded(|| decoder.next_frame_info().map_err(|e| damaged(frames, e)))?.is_some() {
            frames += 1;
        }
        if frames == 0 {
            return Err("it has no frame".to_owned());
        }
        Ok((Self { path: path.to_owned(), width, height }, (frames, width, height)))
    }

    pub(super) fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, String> {
        let mut wanted = Wanted::new(wanted);
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        options.set_memory_limit(MemoryLimit::Bytes(MOST_BYTES));
        let mut decoder = decoder(&self.path, options)?;
        let (width, height) = (self.width, self.height);
        if (decoder.width() as usize, decoder.height() as usize) != (width, height) {
            return Err("it has changed since it was opened".to_owned());
        }
        let mut canvas = Image::black(width, height, 3);
        canvas.pixels.fill(255);
        let mut number = 0;
        while !wanted.is_served() {
            let Some(frame) = guarded(|| decoder.read_next_frame().map_err(|e| damaged(number, e)))? else {
                break;
            };
            let [left, top, across, down] = [frame.left, frame.top, frame.width, frame.height].map(usize::from);
            let area = (left, top, across.min(width.saturating_sub(left)), down.min(height.saturating_sub(top)));
            let before = (frame.dispose == DisposalMethod::Previous).then(|| canvas.clone());
            draw(&mut canvas, area, &frame.buffer, across);
            wanted.give(number, &canvas);
            match frame.dispose {
                DisposalMethod::Background => clear(&mut canvas, area),
                DisposalMethod::Previous => canvas = before.unwrap_or(canvas),
                _ => {}
            }
            number += 1;
        }
        wanted.images()
    }
}

/// A decoder that panics on a damaged file costs that file.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the decoder gave up on it".to_owned()))
}

fn decoder(path: &Path, options: DecodeOptions) -> Result<Decoder<BufReader<File>>, String> {
    let file = File::open(path).map_err(|e| format!("it cannot be read: {e}"))?;
    guarded(|| options.read_info(BufReader::new(file)).map_err(|e| format!("it is no whole GIF: {e}")))
}

fn damaged(frame: usize, error: ::gif::DecodingError) -> String {
    format!("it is damaged or truncated in frame {frame}: {error}; copy it again")
}

/// Opaque pixels of a frame whose rows have `across` pixels.
fn draw(canvas: &mut Image, (left, top, width, height): Area, rgba: &[u8], across: usize) {
    // A frame may lie beside the canvas.
    if width == 0 {
        return;
    }
    for (y, row) in rgba.chunks_exact((4 * across).max(1)).take(height).enumerate() {
        let start = ((top + y) * canvas.width + left) * 3;
        let pixels = canvas.pixels[start..start + 3 * width].chunks_exact_mut(3);
        for (pixel, from) in pixels.zip(row.chunks_exact(4)).filter(|(_, from)| from[3] > 0) {
            pixel.copy_from_slice(&from[..3]);
        }
    }
}

fn clear(canvas: &mut Image, (left, top, width, height): Area) {
    if width == 0 {
        return;
    }
    for y in top..top + height {
        let start = (y * canvas.width + left) * 3;
        canvas.pixels[start..start + 3 * width].fill(255);
    }
}
