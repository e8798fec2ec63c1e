//! A clip as a NumPy array: `[T, H, W, C]`, `[T, C, H, W]` or `[T, H, W]` with 3 channels or one (grey), `uint8` or floating
//! point; `[H, W, 3]` is a clip of one picture. Floats are from 0 to 1 or to 255, which their whole distribution tells: a value
//! beyond is clipped where it may come from resampling, and told.

use std::path::Path;

use super::{Extent, check_size};
use crate::Image;
use crate::axes::Layout;
use crate::npy::{NpyFile, Values};

/// See the module.
#[derive(Debug)]
pub(super) struct Npy {
    file: NpyFile,
    layout: Layout,
    channels: usize,
    /// Whether the whole array is one frame.
    one: bool,
    width: usize,
    height: usize,
    /// What floats are multiplied by.
    scale: f32,
    notes: Vec<String>,
}

/// How an array's axes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axes {
    layout: Layout,
    /// All of it is one frame.
    one: bool,
    frames: usize,
    /// `[C, H, W]` of a frame.
    frame: [usize; 3],
}

impl Axes {
    /// What is possible, where only one thing is.
    fn of(shape: &[usize]) -> Result<Self, String> {
        let colours = |channels: usize| matches!(channels, 1 | 3);
        let grey = |frames, height, width| Self {
            layout: Layout::ChannelsFirst,
            one: false,
            frames,
            frame: [1, height, width],
        };
        let found = || format!("it has the shape {shape:?}");
        match *shape {
            [a, b, c @ (1 | 3)] if a > 0 && b > c => {
                Ok(Self { layout: Layout::ChannelsLast, one: true, frames: 1, frame: [c, a, b] })
            }
            [a, b, 4] if a > 4 && b > 4 => Err(format!(
                "{}, which is one picture with a fourth channel or a clip 4 pixels wide: save `x[None, ..., :3]` of the picture, or `x[..., None]` of the clip",
                found()
            )),
            [3, h, w] if h > 3 && w > 3 => Err(format!(
                "{}, which is one picture with its colours first or three grey frames: save `x[None]` of the picture, or `x[..., None]` of the frames",
                found()
            )),
            [t, h, w] => Ok(grey(t, h, w)),
            [3, 1, h, w] if h > 3 && w > 3 => Err(format!(
                "{}, which is one picture with its colours first or three grey frames: save `x.transpose(1, 0, 2, 3)` of the picture, or `x[:, 0, ..., None]` of the frames",
                found()
            )),
            [t, a, b, c] if colours(a) || colours(c) => {
                let layout = match (colours(c), colours(a)) {
                    (true, false) => Some(Layout::ChannelsLast),
                    (false, true) => Some(Layout::ChannelsFirst),
                    _ => Layout::of([a, b, c]),
                };
                let Some(layout) = layout else {
                    return Err(format!(
                        "{}, whose colours may be on the last axis or on the second: save [T, H, W, C] at a size that tells them apart (`x.transpose(0, 2, 3, 1)` brings the second axis behind the others)",
                        found()
                    ));
                };
                Ok(Self { layout, one: false, frames: t, frame: layout.channels_first([a, b, c]) })
            }
            [1 | 3, _, _, _] => {
                Err(format!("{}, with colours before frames: save `x.transpose(1, 0, 2, 3)`, [T, C, H, W]", found()))
            }
            [_, _, 1 | 3, _] => {
                Err(format!("{}, with frames behind colours: save `x.transpose(3, 0, 1, 2)`, [T, H, W, C]", found()))
            }
            [_, _, _, 4] => Err(format!("{}, with a fourth channel: save the three colours, `x[..., :3]`", found())),
            [_, 4, _, _] => Err(format!(
                "{}, with 4 channels: save `x[:, -1]` where they are grey frames on one another, or `x[:, :3]` where the fourth is beside three colours",
                found()
            )),
            [_, _, _, _, _] => {
                Err(format!("{}, which is several clips: save each in a file of its own, `x[0]` and so on", found()))
            }
            _ => Err(format!("{}: expected [T, H, W, 3], [T, 3, H, W] or [T, H, W]", found())),
        }
    }
}

/// What floats are like, all of them.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    all: usize,
    negative: usize,
    /// Above 0 and below 1.
    between: usize,
    above_one: usize,
    above_byte: usize,
    fractions: bool,
    least: f32,
    most: f32,
}

impl Range {
    fn add(&mut self, value: f32) {
        self.all += 1;
        self.negative += usize::from(value < 0.0);
        self.between += usize::from(value > 0.0 && value < 1.0);
        self.above_one += usize::from(value > 1.0);
        self.above_byte += usize::from(value > 255.0);
        self.fractions |= value.fract() != 0.0;
        self.least = self.least.min(value);
        self.most = self.most.max(value);
    }

    /// 1 or 255: what white is. Nothing where both are as likely.
    fn white(&self) -> Option<f32> {
        // As bytes, nothing above 2 would be black all over; as parts of 1, whole numbers would be none.
        if self.most <= 1.0 || self.most <= 2.0 && self.fractions || self.above_one * 1000 <= self.between {
            Some(1.0)
        } else if self.above_one * 10 >= self.between {
            Some(255.0)
        } else {
            None
        }
    }
}

impl Npy {
    pub(super) fn open(path: &Path) -> Result<(Self, Extent), String> {
        let file = NpyFile::open(path)?;
        let header = file.header();
        let Axes { layout, one, frames, frame: [channels, height, width] } = Axes::of(&header.shape)?;
        let whole = header.kind == "|u1";
        if !whole && !header.is_floating() {
            return Err(format!("it is of type `{}`: expected uint8, or float32 from 0 to 1 or to 255", header.kind));
        }
        if frames == 0 {
            return Err("it has no frame".to_owned());
        }
        check_size(width, height)?;
        let mut notes = Vec::new();
        if one {
            notes.push(format!(
                "the shape {:?} is taken as one picture: of a grey clip {channels} wide, save `x[..., None]`",
                header.shape
            ));
        }
        let mut npy = Self { file, layout, channels, one, width, height, scale: 1.0, notes };
        let mut white = "255".to_owned();
        if !whole {
            npy.scale = npy.scale()?;
            white = (255.0 / npy.scale).to_string();
        }
        let axes = match (npy.file.header().shape.len(), layout) {
            (3, _) if one => "[H, W, C]",
            (3, _) => "[T, H, W]",
            (_, Layout::ChannelsLast) => "[T, H, W, C]",
            (_, Layout::ChannelsFirst) => "[T, C, H, W]",
        };
        npy.notes.push(format!("its axes {:?} are taken as {axes}, and {white} as white", npy.file.header().shape));
        Ok((npy, (frames, width, height)))
    }

    /// What else to know.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    fn floats(&self, mut each: impl FnMut(usize, f32) -> Result<(), String>) -> Result<(), String> {
        for row in 0..self.file.header().shape[0] {
            if let Values::Floats(values) = self.file.row(row)? {
                let frame = if self.one { 0 } else { row };
                values.iter().try_for_each(|value| each(frame, *value))?;
            }
        }
        Ok(())
    }

    /// What brings floats to 255.
    fn scale(&mut self) -> Result<f32, String> {
        let mut range = Range::default();
        let expected = "expected numbers from 0 to 1, or to 255";
        self.floats(|frame, value| {
            if !value.is_finite() {
                return Err(format!("it holds {value} in frame {frame}: {expected}"));
            }
            range.add(value);
            Ok(())
        })?;
        let Some(white) = range.white() else {
            let Range { between, above_one, most, .. } = range;
            return Err(format!(
                "{between} of its numbers lie between 0 and 1 and {above_one} above, up to {most}: {expected}; save uint8, or clip what is out of range with `numpy.clip`"
            ));
        };
        let above = if white == 1.0 { range.above_one } else { range.above_byte };
        let beyond = above + range.negative;
        if beyond == 0 {
            return Ok(255.0 / white);
        }
        // Resampling with a cubic or Lanczos kernel overshoots; another range does much more. A few numbers above 1 are no
        // sign of another range where nearly all are below.
        let margin = white / 4.0;
        let near = range.least >= -margin && (white == 1.0 || range.most <= white + margin);
        if !near || range.negative * 20 > range.all || above * 20 > range.all && range.most > white + margin {
            let out = |value: f32| value < -margin || value > white + margin || near && (value < 0.0 || value > white);
            let hint = if range.least < 0.0 && range.least >= -1.0 && range.most <= 1.0 {
                "; from -1 to 1, save `(x + 1) / 2`"
            } else if range.least < 0.0 {
                "; where they are normalised, save `x * std + mean` with what they were normalised by, or give them as they are with `foretell embed --model MODEL --input X.npy` ([B, 3, H, W], or [B, T, 3, H, W] of clips)"
            } else {
                "; save uint8, or clip what is out of range with `numpy.clip`"
            };
            self.floats(|frame, value| {
                if out(value) {
                    return Err(format!("it holds {value} in frame {frame}: {expected}{hint}"));
                }
                Ok(())
            })?;
        }
        self.notes.push(format!(
            "{beyond} of {} numbers lie outside of 0 to {white}, which is taken as the range, and are clipped ({} to {})",
            range.all, range.least, range.most
        ));
        Ok(255.0 / white)
    }

    /// How many axes a file's array has, if its header can be read.
    pub(super) fn axes(path: &Path) -> Option<usize> {
        NpyFile::open(path).ok().map(|file| file.header().shape.len())
    }

    pub(super) fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, String> {
        wanted.iter().map(|frame| self.frame(*frame)).collect()
    }

    fn frame(&self, frame: usize) -> Result<Image, String> {
        let bytes = if self.one {
            let rows: Result<Vec<Vec<u8>>, String> = (0..self.height).map(|row| self.bytes(row)).collect();
            rows?.concat()
        } else {
            self.bytes(frame)?
        };
        let (width, height, channels) = (self.width, self.height, self.channels);
        let pixels = if channels == 1 || self.layout == Layout::ChannelsLast {
            bytes
        } else {
            let (red, rest) = bytes.split_at(width * height);
            let (green, blue) = rest.split_at(width * height);
            red.iter().zip(green).zip(blue).flat_map(|((r, g), b)| [*r, *g, *b]).collect()
        };
        Ok(Image { width, height, channels, pixels }.with_channels(3))
    }

    /// An entry of the first axis.
    fn bytes(&self, row: usize) -> Result<Vec<u8>, String> {
        match self.file.row(row)? {
            Values::Bytes(bytes) => Ok(bytes),
            // What is out of range saturates.
            Values::Floats(values) => Ok(values.iter().map(|value| (value * self.scale + 0.5) as u8).collect()),
            Values::Whole(_) => Err("it holds wide whole numbers".to_owned()),
            Values::Text(_) => Err("it holds texts".to_owned()),
        }
    }
}
