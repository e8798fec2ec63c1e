//! YUV4MPEG2, the uncompressed format of mjpegtools: a line of text for the file, one for each frame, then planes of 8 bits.
//!
//! The format has no field for the colours' matrix, so it is BT.601, as everybody takes it; the range is studio's (16 to 235)
//! unless the extension `XCOLORRANGE=FULL` says otherwise. Chroma is repeated, not interpolated.

use std::path::Path;

use super::{Extent, check_size};
use crate::Image;
use crate::positional::Positional;

/// Longer lines of text are refused.
const LONGEST_LINE: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Y4m {
    file: Positional,
    /// The byte at which each frame's planes begin.
    frames: Vec<u64>,
    width: usize,
    height: usize,
    chroma: Chroma,
    full: bool,
    /// Frames in a second, where the header says it.
    fps: Option<f64>,
}

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Refused {
    /// Others may read it.
    Colours(String),
    Damaged(String),
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

/// How chroma is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chroma {
    None,
    /// Luma pixels for each of chroma, across and down.
    Every(usize, usize),
}

impl Chroma {
    fn of(tag: &str) -> Result<Self, Refused> {
        match tag {
            "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(Self::Every(2, 2)),
            "422" => Ok(Self::Every(2, 1)),
            "444" => Ok(Self::Every(1, 1)),
            "mono" => Ok(Self::None),
            _ => Err(Refused::Colours(format!(
                "it has the colours `C{tag}`: expected C420, C422, C444 or Cmono of 8 bits; convert it with `ffmpeg -i IN -pix_fmt yuv420p OUT.y4m`"
            ))),
        }
    }

    /// Width and height of a chroma plane.
    fn size(self, width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::None => (0, 0),
            Self::Every(across, down) => (width.div_ceil(across), height.div_ceil(down)),
        }
    }
}

impl Y4m {
    pub(super) fn open(path: &Path) -> Result<(Self, Extent), Refused> {
        let file = Positional::open(path).map_err(|e| e.to_string())?;
        let (line, mut at) = line(&file, 0)?;
        let (mut width, mut height, mut chroma, mut full) = (None, None, Chroma::Every(2, 2), false);
        let mut fps = None;
        for word in line.split(' ').skip(1) {
            let number = |text: &str| text.parse::<usize>().map_err(|_| format!("its header says `{word}`"));
            match word.split_at_checked(1) {
                Some(("W", value)) => width = Some(number(value)?),
                Some(("H", value)) => height = Some(number(value)?),
                Some(("F", value)) => fps = rate(value),
                Some(("C", value)) => chroma = Chroma::of(value)?,
                Some(("X", "COLORRANGE=FULL")) => full = true,
                _ => {}
            }
        }
        let (Some(width), Some(height)) = (width, height) else {
            return Err("its header names no width and height".to_owned().into());
        };
        check_size(width, height)?;
        let mut y4m = Self { file, frames: Vec::new(), width, height, chroma, full, fps };
        let bytes = y4m.bytes() as u64;
        while at < y4m.file.length() {
            let (line, start) = self::line(&y4m.file, at)?;
            if line.split(' ').next() != Some("FRAME") {
                return Err(format!("it is damaged behind its frame {}, at byte {at}", y4m.frames.len()).into());
            }
            at = start + bytes;
            if at > y4m.file.length() {
                return Err(format!(
                    "it is truncated inside its frame {}: {bytes} bytes were expected, but found {}; copy it again",
                    y4m.frames.len(),
                    y4m.file.length() - start
                )
                .into());
            }
            y4m.frames.push(start);
        }
        if y4m.frames.is_empty() {
            return Err("it has no frame".to_owned().into());
        }
        let extent = (y4m.frames.len(), width, height);
        Ok((y4m, extent))
    }

    /// When each frame is shown, in seconds; nothing where the header does not say.
    pub(super) fn times(&self) -> Vec<f64> {
        let times = |fps: f64| (0..self.frames.len()).map(|frame| frame as f64 / fps).collect();
        self.fps.map(times).unwrap_or_default()
    }

    /// Bytes of a frame.
    fn bytes(&self) -> usize {
        let (across, down) = self.chroma.size(self.width, self.height);
        self.width * self.height + 2 * across * down
    }

    pub(super) fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, String> {
        wanted.iter().map(|frame| self.frame(self.frames[*frame])).collect()
    }

    fn frame(&self, start: u64) -> Result<Image, String> {
        let mut bytes = vec![0; self.bytes()];
        self.file.read_exact_at(&mut bytes, start).map_err(|e| e.to_string())?;
        let (width, height) = (self.width, self.height);
        let (luma, chroma) = bytes.split_at(width * height);
        let (across, down) = self.chroma.size(width, height);
        let (blue, red) = chroma.split_at(across * down);
        let mut pixels = Vec::with_capacity(3 * width * height);
        for y in 0..height {
            let row = &luma[y * width..(y + 1) * width];
            match self.chroma {
                Chroma::None => pixels.extend(row.iter().flat_map(|&luma| self.rgb(luma, 128, 128))),
                Chroma::Every(every_x, every_y) => {
                    let from = y / every_y * across;
                    for (x, &luma) in row.iter().enumerate() {
                        let at = from + x / every_x;
                        pixels.extend(self.rgb(luma, blue[at], red[at]));
                    }
                }
            }
        }
        Ok(Image { width, height, channels: 3, pixels })
    }

    /// BT.601: `R = Y + 2 (1 - Kr) Pr`, `B = Y + 2 (1 - Kb) Pb`, and green what is left of `Y = Kr R + Kg G + Kb B`, with
    /// Kr = 0.299 and Kb = 0.114.
    fn rgb(&self, luma: u8, blue: u8, red: u8) -> [u8; 3] {
        const KR: f32 = 0.299;
        const KB: f32 = 0.114;
        let (foot, luma_range, chroma_range) = if self.full { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
        let y = (luma as f32 - foot) / luma_range;
        let (pb, pr) = ((blue as f32 - 128.0) / chroma_range, (red as f32 - 128.0) / chroma_range);
        let (r, b) = (y + 2.0 * (1.0 - KR) * pr, y + 2.0 * (1.0 - KB) * pb);
        let g = (y - KR * r - KB * b) / (1.0 - KR - KB);
        [r, g, b].map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8)
    }
}

/// `30000:1001` frames in a second; 0 stands for an unknown rate.
fn rate(value: &str) -> Option<f64> {
    let (frames, seconds) = value.split_once(':')?;
    let rate = frames.parse::<f64>().ok()? / seconds.parse::<f64>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

/// The line of text at a byte, and the byte behind it.
fn line(file: &Positional, at: u64) -> Result<(String, u64), String> {
    let mut bytes = vec![0; LONGEST_LINE.min((file.length() - at) as usize)];
    file.read_exact_at(&mut bytes, at).map_err(|e| e.to_string())?;
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| format!("it is damaged: no line ends within {} bytes from byte {at}", bytes.len()))?;
    Ok((String::from_utf8_lossy(&bytes[..end]).into_owned(), at + end as u64 + 1))
}
