//! A clip as a NumPy array: `[T, H, W, 3]`, `[T, 3, H, W]` or `[T, H, W]` (grey), `uint8` or floating point. Floats are taken
//! as 0 to 1 if none is larger than 1, and as 0 to 255 otherwise.

use std::path::Path;

use super::{Extent, check_size};
use crate::Image;
use crate::npy::{NpyFile, Values};

/// See the module.
#[derive(Debug)]
pub(super) struct Npy {
    file: NpyFile,
    layout: Layout,
    width: usize,
    height: usize,
    /// What floats are multiplied by.
    scale: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Interleaved,
    Planes,
    Grey,
}

impl Npy {
    pub(super) fn open(path: &Path) -> Result<(Self, Extent), String> {
        let file = NpyFile::open(path)?;
        let header = file.header();
        let (layout, frames, height, width) = match *header.shape {
            [t, h, w, 3] => (Layout::Interleaved, t, h, w),
            [t, 3, h, w] => (Layout::Planes, t, h, w),
            [t, h, w] => (Layout::Grey, t, h, w),
            _ => {
                return Err(format!(
                    "it has the shape {:?}: expected [T, H, W, 3], [T, 3, H, W] or [T, H, W]",
                    header.shape
                ));
            }
        };
        if !matches!(header.kind.as_str(), "|u1" | "<f4" | "<f8") {
            return Err(format!("it is of type `{}`: expected uint8, or float32 from 0 to 1 or to 255", header.kind));
        }
        if frames == 0 {
            return Err("it has no frame".to_owned());
        }
        check_size(width, height)?;
        let whole = header.kind == "|u1";
        let mut npy = Self { file, layout, width, height, scale: 1.0 };
        if !whole {
            npy.scale = npy.scale(frames)?;
        }
        Ok((npy, (frames, width, height)))
    }

    fn scale(&self, frames: usize) -> Result<f32, String> {
        let mut most = 0.0_f32;
        for frame in 0..frames {
            if let Values::Floats(values) = self.file.row(frame)? {
                if let Some(value) = values.iter().find(|value| !(0.0..=255.0).contains(*value)) {
                    return Err(format!("it holds {value} in frame {frame}: expected numbers from 0 to 1, or to 255"));
                }
                most = values.iter().fold(most, |most, value| most.max(*value));
            }
        }
        Ok(if most > 1.0 { 1.0 } else { 255.0 })
    }

    pub(super) fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, String> {
        wanted.iter().map(|frame| self.frame(*frame)).collect()
    }

    fn frame(&self, frame: usize) -> Result<Image, String> {
        let bytes = match self.file.row(frame)? {
            Values::Bytes(bytes) => bytes,
            Values::Floats(values) => values.iter().map(|value| (value * self.scale + 0.5) as u8).collect(),
            Values::Whole(_) => return Err("it holds wide whole numbers".to_owned()),
            Values::Text(_) => return Err("it holds texts".to_owned()),
        };
        let (width, height) = (self.width, self.height);
        let pixels = match self.layout {
            Layout::Interleaved => bytes,
            Layout::Grey => return Ok(Image { width, height, channels: 1, pixels: bytes }.with_channels(3)),
            Layout::Planes => {
                let (red, rest) = bytes.split_at(width * height);
                let (green, blue) = rest.split_at(width * height);
                red.iter().zip(green).zip(blue).flat_map(|((r, g), b)| [*r, *g, *b]).collect()
            }
        };
        Ok(Image { width, height, channels: 3, pixels })
    }
}
