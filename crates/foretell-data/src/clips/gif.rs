//! GIF, drawn as viewers do: each frame on what the ones before it left, on white.

use std::fs::File;
use std::io::BufReader;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use ::gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit};

use super::{Extent, Forward, Step, check_size, guarded};
use crate::Image;

/// Of one frame, four bytes a pixel.
const MOST_BYTES: NonZeroU64 = NonZeroU64::new(1 << 27).expect("not 0");

/// See the module.
#[derive(Debug)]
pub(super) struct Gif {
    path: PathBuf,
    width: usize,
    height: usize,
    times: Vec<f64>,
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
        let (mut times, mut at) = (Vec::new(), 0.0);
        let mut next =
            |frame| guarded(|| Ok(decoder.next_frame_info().map_err(|e| damaged(frame, e))?.map(|f| f.delay)));
        while let Some(hundredths) = next(times.len())? {
            times.push(at);
            // No time, or a hundredth, is a tenth of a second to browsers.
            at += f64::from(if hundredths < 2 { 10 } else { hundredths }) / 100.0;
        }
        if times.is_empty() {
            return Err("it has no frame".to_owned());
        }
        let frames = times.len();
        Ok((Self { path: path.to_owned(), width, height, times }, (frames, width, height)))
    }

    pub(super) fn times(&self) -> &[f64] {
        &self.times
    }

    pub(super) fn forward(&self) -> Result<Box<dyn Forward>, String> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        options.set_memory_limit(MemoryLimit::Bytes(MOST_BYTES));
        let decoder = decoder(&self.path, options)?;
        if (decoder.width() as usize, decoder.height() as usize) != (self.width, self.height) {
            return Err("it has changed since it was opened".to_owned());
        }
        let mut canvas = Image::black(self.width, self.height, 3);
        canvas.pixels.fill(255);
        Ok(Box::new(Drawing { decoder, canvas, number: 0, left: Left::AsIs }))
    }
}

/// What a frame leaves behind.
enum Left {
    AsIs,
    White(Area),
    Before(Image),
}

/// See [`Gif::forward`].
struct Drawing {
    decoder: Decoder<BufReader<File>>,
    canvas: Image,
    number: usize,
    left: Left,
}

impl Forward for Drawing {
    fn next(&mut self, wanted: bool) -> Result<Step, String> {
        let number = self.number;
        let Some(frame) = guarded(|| self.decoder.read_next_frame().map_err(|e| damaged(number, e)))? else {
            return Ok(Step::End);
        };
        match std::mem::replace(&mut self.left, Left::AsIs) {
            Left::AsIs => {}
            Left::White(area) => clear(&mut self.canvas, area),
            Left::Before(before) => self.canvas = before,
        }
        let [left, top, across, down] = [frame.left, frame.top, frame.width, frame.height].map(usize::from);
        let (width, height) = (self.canvas.width, self.canvas.height);
        let area = (left, top, across.min(width.saturating_sub(left)), down.min(height.saturating_sub(top)));
        match frame.dispose {
            DisposalMethod::Background => self.left = Left::White(area),
            DisposalMethod::Previous => self.left = Left::Before(self.canvas.clone()),
            _ => {}
        }
        draw(&mut self.canvas, area, &frame.buffer, across);
        self.number += 1;
        Ok(if wanted { Step::Frame(self.canvas.clone()) } else { Step::Passed })
    }
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
