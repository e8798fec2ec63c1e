//! Moving pictures: GIFs that play again and again, with one table of colours.

use std::borrow::Cow;

use gif::{DisposalMethod, Encoder, Frame, Repeat};

use super::Picture;

/// Frames of one width, each an index into `colours` for each pixel, as a GIF: `hundredths` of a second each, `last` on the last.
/// Of no frame there are no bytes; an error says why they cannot be encoded.
pub fn gif(
    frames: impl IntoIterator<Item = Vec<u8>>,
    width: usize,
    colours: &[[u8; 3]],
    (hundredths, last): (u16, u16),
) -> Result<Vec<u8>, String> {
    let failed = |error: gif::EncodingError| format!("the moving picture cannot be encoded: {error}");
    let mut frames = frames.into_iter().peekable();
    let Some(height) = frames.peek().map(|frame| frame.len() / width.max(1)) else { return Ok(Vec::new()) };
    let size = |side: usize| u16::try_from(side).map_err(|_| format!("a moving picture of {side} pixels a side"));
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, size(width)?, size(height)?, &colours.concat()).map_err(failed)?;
    encoder.set_repeat(Repeat::Infinite).map_err(failed)?;
    let mut before: Vec<u8> = Vec::new();
    while let Some(indices) = frames.next() {
        let ([left, top], [across, down]) = changed(&before, &indices, width);
        let cut = (top..top + down).flat_map(|row| &indices[row * width + left..][..across]).copied().collect();
        encoder
            .write_frame(&Frame {
                left: left as u16,
                top: top as u16,
                width: across as u16,
                height: down as u16,
                delay: if frames.peek().is_some() { hundredths } else { last },
                dispose: DisposalMethod::Keep,
                buffer: Cow::Owned(cut),
                ..Frame::default()
            })
            .map_err(failed)?;
        before = indices;
    }
    drop(encoder);
    Ok(out)
}

/// Corner and size of the rectangle in which two pictures differ; one pixel if they do not.
fn changed(before: &[u8], now: &[u8], width: usize) -> ([usize; 2], [usize; 2]) {
    let height = now.len() / width.max(1);
    if before.len() != now.len() {
        return ([0, 0], [width, height]);
    }
    let (mut low, mut high) = ([width, height], [0, 0]);
    for (i, _) in before.iter().zip(now).enumerate().filter(|(_, (a, b))| a != b) {
        for (axis, x) in [i % width, i / width].into_iter().enumerate() {
            low[axis] = low[axis].min(x);
            high[axis] = high[axis].max(x + 1);
        }
    }
    if high[0] == 0 { ([0, 0], [1, 1]) } else { (low, [high[0] - low[0], high[1] - low[1]]) }
}

/// Five bits of each channel.
const CELLS: usize = 1 << 15;

fn cell(pixel: &[u8]) -> usize {
    pixel.iter().take(3).fold(0, |cell, value| cell << 5 | usize::from(value >> 3))
}

/// At most 256 colours that stand for all of some pixels, and which of them stands for which: the box of colours with the widest
/// spread is halved until there are enough (Heckbert's median cut).
struct Palette {
    colours: Vec<[u8; 3]>,
    /// By the cell of a colour.
    nearest: Vec<u8>,
}

impl Palette {
    fn of<'a>(frames: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut cells = vec![[0_u64; 4]; CELLS];
        for pixel in frames.flat_map(|frame| frame.chunks_exact(3)) {
            let sums = &mut cells[cell(pixel)];
            sums[0] += 1;
            sums[1..].iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
        }
        let channel = |cell: usize, axis: usize| cell >> (10 - 5 * axis) & 31;
        let spread = |cells: &[usize]| -> (usize, usize) {
            let range = |axis: usize| {
                let values = || cells.iter().map(|of| channel(*of, axis));
                values().max().unwrap_or(0) - values().min().unwrap_or(0)
            };
            (0..3).map(|axis| (range(axis), axis)).max().unwrap_or((0, 0))
        };
        let mut boxes: Vec<Vec<usize>> = vec![(0..CELLS).filter(|of| cells[*of][0] > 0).collect()];
        let count = |of: &[usize]| of.iter().map(|of| cells[*of][0]).sum::<u64>();
        while boxes.len() < 256 {
            // Where many pixels differ much.
            let weight = |of: &Vec<usize>| count(of) * (spread(of).0 as u64).pow(2);
            let Some((widest, _)) = boxes.iter().enumerate().max_by_key(|(_, of)| weight(of)) else { break };
            let (range, axis) = spread(&boxes[widest]);
            if range == 0 {
                break;
            }
            let mut whole = boxes.swap_remove(widest);
            whole.sort_by_key(|of| (channel(*of, axis), *of));
            let (half, mut passed) = (count(&whole) / 2, 0);
            let middle = whole.iter().take_while(|of| {
                passed += cells[**of][0];
                passed <= half
            });
            let middle = middle.count().clamp(1, whole.len() - 1);
            let behind = whole.split_off(middle);
            boxes.extend([whole, behind]);
        }
        let mut nearest = vec![0; CELLS];
        let mut colours = Vec::with_capacity(boxes.len());
        for of in boxes.iter().filter(|of| !of.is_empty()) {
            let sum = |axis: usize| of.iter().map(|of| cells[*of][axis]).sum::<u64>();
            let all = sum(0).max(1);
            for of in of {
                nearest[*of] = colours.len() as u8;
            }
            colours.push([1, 2, 3].map(|axis| ((sum(axis) + all / 2) / all) as u8));
        }
        Self { colours, nearest }
    }
}

impl Picture {
    /// A moving picture of frames of `height × width × 3` bytes each, so many hundredths of a second each. None if their number does
    /// not fit the size, or nothing is there.
    pub fn moving(width: usize, height: usize, frames: &[&[u8]], hundredths: u16) -> Option<Self> {
        if frames.iter().any(|frame| frame.len() != 3 * width * height || frame.is_empty()) {
            return None;
        }
        let Palette { colours, nearest } = Palette::of(frames.iter().copied());
        let indices = frames.iter().map(|frame| frame.chunks_exact(3).map(|pixel| nearest[cell(pixel)]).collect());
        Self::gif(width, height, gif(indices, width, &colours, (hundredths, hundredths)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Vec<(Vec<u8>, u16)> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes).unwrap();
        let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
        let (mut canvas, mut frames) = (vec![0; 3 * width * height], Vec::new());
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            for (i, pixel) in frame.buffer.chunks_exact(4).enumerate() {
                let across = usize::from(frame.width);
                let (x, y) = (usize::from(frame.left) + i % across, usize::from(frame.top) + i / across);
                canvas[3 * (y * width + x)..][..3].copy_from_slice(&pixel[..3]);
            }
            frames.push((canvas.clone(), frame.delay));
        }
        frames
    }

    #[test]
    fn few_colours_come_back_as_they_are_and_many_nearly() {
        // Six of them, far apart.
        let few: Vec<Vec<u8>> = (0..3).map(|t| (0..3 * 5 * 4).map(|i| (i / 3 + t) as u8 % 6 * 50).collect()).collect();
        let frames: Vec<&[u8]> = few.iter().map(Vec::as_slice).collect();
        let picture = Picture::moving(5, 4, &frames, 12).unwrap();
        assert_eq!((picture.width, picture.height), (5, 4));
        let found = decoded(picture.bytes());
        assert_eq!(found.len(), 3);
        for ((found, delay), expected) in found.iter().zip(&few) {
            assert!(found == expected && *delay == 12);
        }
        // A gradient of 4096 colours.
        let many: Vec<u8> = (0..64 * 64).flat_map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 128]).collect();
        let (found, _) = &decoded(Picture::moving(64, 64, &[&many], 10).unwrap().bytes())[0];
        let off = found.iter().zip(&many).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(off <= 20, "{off}");
    }

    #[test]
    fn what_is_no_picture_moves_not() {
        assert_eq!(Picture::moving(2, 2, &[], 10), None);
        assert_eq!(Picture::moving(2, 2, &[&[0; 11]], 10), None);
        assert_eq!(Picture::moving(0, 0, &[&[]], 10), None);
        assert_eq!(gif(Vec::<Vec<u8>>::new(), 4, &[[0; 3]], (1, 1)), Ok(Vec::new()));
        assert!(gif([vec![0; 70_000]], 70_000, &[[0; 3]], (1, 1)).is_err());
    }
}
