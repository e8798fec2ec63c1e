//! A clip as a NumPy array: `[T, H, W, 3]`, `[T, 3, H, W]` or `[T, H, W]` (grey), `uint8` or floating point. Floats are taken
//! as 0 to 1 if none is larger than 1, and as 0 to 255 otherwise.

use std::path::Path;

use super::{Extent, check_size};
use crate::Image;
use crate::npz::{Header, LONGEST_HEADER, Values, header};
use crate::positional::Positional;

/// See the module.
#[derive(Debug)]
pub(super) struct Npy {
    file: Positional,
    header: Header,
    /// Byte of the first number.
    start: u64,
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
        let file = Positional::open(path).map_err(|e| e.to_string())?;
        let mut head = vec![0; LONGEST_HEADER.min(file.length() as usize)];
        file.read_exact_at(&mut head, 0).map_err(|e| e.to_string())?;
        let (header, start) = header(&head)?;
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
        let bytes = header.shape.iter().try_fold(header.size, |all, length| all.checked_mul(*length));
        let found = file.length() - start as u64;
        if bytes.map(|bytes| bytes as u64) != Some(found) {
            return Err(format!(
                "it claims the shape {:?} of `{}`, which does not fit the {found} bytes that the file holds of it",
                header.shape, header.kind
            ));
        }
        if frames == 0 {
            return Err("it has no frame".to_owned());
        }
        check_size(width, height)?;
        let mut npy = Self { file, header, start: start as u64, layout, width, height, scale: 1.0 };
        if npy.header.kind != "|u1" {
            npy.scale = npy.scale(frames)?;
        }
        Ok((npy, (frames, width, height)))
    }

    /// The numbers of one frame.
    fn values(&self, frame: usize) -> Result<Values, String> {
        let count: usize = self.header.shape[1..].iter().product();
        let mut bytes = vec![0; count * self.header.size];
        let at = self.start + frame as u64 * bytes.len() as u64;
        self.file.read_exact_at(&mut bytes, at).map_err(|e| e.to_string())?;
        Ok(self.header.values(&bytes))
    }

    fn scale(&self, frames: usize) -> Result<f32, String> {
        let mut most = 0.0_f32;
        for frame in 0..frames {
            if let Values::Floats(values) = self.values(frame)? {
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
        let bytes = match self.values(frame)? {
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
