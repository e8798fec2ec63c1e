//! Video clips: a folder of frames, a GIF, a y4m file, a `.npy` array, or whatever an installed `ffmpeg` decodes. Opened by
//! their headers; frames are read when they are asked for.

mod ffmpeg;
mod frames;
mod gif;
mod npy;
mod y4m;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::kind::foreign;
use crate::{DataError, Image};
use ffmpeg::Decoded;
use frames::Frames;
use gif::Gif;
use npy::Npy;
use y4m::Y4m;

/// Wider or higher frames are refused.
const LONGEST_SIDE: usize = 1 << 14;
/// Frames of more pixels than this (8K video) are refused.
const MOST_PIXELS: usize = 1 << 25;

/// One clip. Frames are RGB and of one size.
#[derive(Debug)]
pub struct Clip {
    name: String,
    frames: usize,
    width: usize,
    height: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Frames(Frames),
    Gif(Gif),
    Y4m(Y4m),
    Npy(Npy),
    Decoded(Decoded),
}

/// What a reader found: its frames, their width and their height.
type Extent = (usize, usize, usize);

impl Clip {
    /// Opens a clip. A folder's images are its frames in natural order (`9.png` before `10.png`); what a file is, its content
    /// decides. Videos in containers (mp4, webm, …) are decoded by `ffmpeg` (5.1 or newer), which must be installed.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::open_with(path, Path::new("ffmpeg"))
    }

    fn open_with(path: &Path, program: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
        let bad = |reason: String| DataError::BadClip { name: name.clone(), reason };
        let (kind, (frames, width, height)) = if metadata.is_dir() {
            let (reader, extent) = Frames::open(path)?;
            (Kind::Frames(reader), extent)
        } else if metadata.is_file() {
            let head = head(path)?;
            let foreign = foreign(&name, &head);
            match Format::of(path, &head) {
                Some(Format::Gif) => Gif::open(path).map(|(reader, extent)| (Kind::Gif(reader), extent)),
                Some(Format::Y4m) => Y4m::open(path).map(|(reader, extent)| (Kind::Y4m(reader), extent)),
                Some(Format::Npy) => Npy::open(path).map(|(reader, extent)| (Kind::Npy(reader), extent)),
                Some(Format::Container) => {
                    Decoded::open(path, program).map(|(reader, extent)| (Kind::Decoded(reader), extent))
                }
                None if head.is_empty() => Err("the file is empty".to_owned()),
                None => Err(format!(
                    "it begins with the bytes {:02x?}; expected a folder of frames, a GIF, y4m or .npy file, or a video that ffmpeg decodes",
                    &head[..head.len().min(8)]
                )),
            }
            .map_err(|reason| foreign.unwrap_or_else(|| bad(reason)))?
        } else {
            return Err(bad("it is neither a folder nor a regular file".to_owned()));
        };
        Ok(Self { name, frames, width, height, kind })
    }

    /// Whether a path is a file that begins, or is named, like a clip.
    pub fn is_video(path: &Path) -> bool {
        path.is_file() && head(path).is_ok_and(|head| Format::of(path, &head).is_some())
    }

    /// The path as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many frames there are: at least one.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// What it is, in words.
    pub fn format(&self) -> &'static str {
        match &self.kind {
            Kind::Frames(_) => "a folder of frames",
            Kind::Gif(_) => "GIF",
            Kind::Y4m(_) => "y4m",
            Kind::Npy(_) => "a NumPy array",
            Kind::Decoded(_) => "a video decoded by ffmpeg",
        }
    }

    /// What else to know, such as how its axes and its range were taken.
    pub fn notes(&self) -> &[String] {
        if let Kind::Npy(npy) = &self.kind { npy.notes() } else { &[] }
    }

    /// These frames, in this order; one may be asked for several times. Their number is the caller's own claim on memory.
    pub fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, DataError> {
        if let Some(&index) = wanted.iter().find(|index| **index >= self.frames) {
            return Err(self.bad(format!("frame {index} was asked for, but it has {} frames", self.frames)));
        }
        let frames = match &self.kind {
            Kind::Frames(frames) => frames.read(wanted, self.width, self.height)?,
            Kind::Gif(gif) => gif.read(wanted).map_err(|reason| self.bad(reason))?,
            Kind::Y4m(y4m) => y4m.read(wanted).map_err(|reason| self.bad(reason))?,
            Kind::Npy(npy) => npy.read(wanted).map_err(|reason| self.bad(reason))?,
            Kind::Decoded(decoded) => decoded.read(wanted).map_err(|reason| self.bad(reason))?,
        };
        Ok(frames)
    }

    fn bad(&self, reason: String) -> DataError {
        DataError::BadClip { name: self.name.clone(), reason }
    }
}

fn head(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut head));
    read.map_err(|source| DataError::reading(path, source))?;
    Ok(head)
}

enum Format {
    Gif,
    Y4m,
    Npy,
    Container,
}

impl Format {
    /// Containers are told by their name where their content is of too many kinds.
    fn of(path: &Path, head: &[u8]) -> Option<Self> {
        const NAMES: [&str; 14] =
            ["mp4", "m4v", "mov", "webm", "mkv", "avi", "mpg", "mpeg", "ogv", "wmv", "flv", "3gp", "ts", "h264"];
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        match head {
            [b'G', b'I', b'F', b'8', ..] => Some(Self::Gif),
            head if head.starts_with(b"YUV4MPEG2") => Some(Self::Y4m),
            head if head.starts_with(b"\x93NUMPY") => Some(Self::Npy),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] | [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(Self::Container),
            head if !head.is_empty() && NAMES.contains(&extension.as_str()) => Some(Self::Container),
            _ => None,
        }
    }
}

/// An error if frames are too large to be decoded or have no pixel.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("its frames are {width}×{height}, without a pixel"));
    }
    if width > LONGEST_SIDE || height > LONGEST_SIDE || width * height > MOST_PIXELS {
        return Err(format!("its frames are {width}×{height}, and the limit is 32 megapixels; make it smaller"));
    }
    Ok(())
}

/// Gives each wanted place its frame from a reader that can only go forward.
struct Wanted {
    /// Frame and place, in the frames' order.
    order: Vec<(usize, usize)>,
    next: usize,
    images: Vec<Option<Image>>,
}

impl Wanted {
    fn new(wanted: &[usize]) -> Self {
        let mut order: Vec<(usize, usize)> = wanted.iter().enumerate().map(|(place, frame)| (*frame, place)).collect();
        order.sort_unstable();
        Self { images: vec![None; order.len()], order, next: 0 }
    }

    /// Whether this frame is wanted.
    fn wants(&self, frame: usize) -> bool {
        self.order.get(self.next).is_some_and(|(wanted, _)| *wanted == frame)
    }

    fn is_served(&self) -> bool {
        self.next == self.order.len()
    }

    fn give(&mut self, frame: usize, image: &Image) {
        while let Some((_, place)) = self.order.get(self.next).filter(|(wanted, _)| *wanted == frame) {
            self.images[*place] = Some(image.clone());
            self.next += 1;
        }
    }

    fn images(self) -> Result<Vec<Image>, String> {
        let missing = self.order.get(self.next).map_or(0, |(frame, _)| *frame);
        let images: Option<Vec<Image>> = self.images.into_iter().collect();
        images.ok_or_else(|| format!("it ended before its frame {missing}, which it had when it was opened"))
    }
}

/// `wanted` of `frames` frames spread evenly over the whole clip: frame ⌊i · frames / (wanted − 1)⌋, and the last one where
/// that would be behind the end. So V-JEPA's evaluation takes a segment's frames (NumPy's `linspace` from the segment's start
/// to its end, cut to its last frame, rounded down), here with the clip as its one segment. Short clips repeat frames.
pub fn sample_frames(frames: usize, wanted: usize) -> Vec<usize> {
    let step = frames as f64 / wanted.saturating_sub(1).max(1) as f64;
    let last = frames.saturating_sub(1);
    let frame = |i: usize| if i > 0 && i + 1 == wanted { last } else { ((i as f64 * step) as usize).min(last) };
    if frames == 0 { Vec::new() } else { (0..wanted).map(frame).collect() }
}

/// Frames of one size as `[T, 3, H, W]`.
pub fn planes(frames: &[Image]) -> Vec<u8> {
    let mut planes = Vec::with_capacity(frames.iter().map(|frame| frame.width * frame.height * 3).sum());
    for frame in frames {
        for channel in 0..3 {
            planes.extend(frame.pixels.iter().skip(channel.min(frame.channels - 1)).step_by(frame.channels));
        }
    }
    planes
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A program in ffmpeg's place that checks how it is called and then does `work`.
    fn program(root: &Path, work: &str) -> PathBuf {
        let path = root.join("ffmpeg");
        let called = r#"case "$*" in *"-protocol_whitelist file -i file:"*"clip.mp4 -map 0:v:0 -fps_mode passthrough -c:v ppm -f image2pipe -") ;; *) echo "called as $*" >&2; exit 9;; esac"#;
        fs::write(&path, format!("#!/bin/sh\n{called}\n{work}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_container_is_read_through_the_pipe() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("clip.mp4");
        fs::write(&path, b"\0\0\0\x18ftypisom").unwrap();
        let open = |work: &str| Clip::open_with(&path, &program(root.path(), work));
        let clip =
            open(r"printf 'P6\n2 1\n255\nabcdefP6\n2 1\n255\nghijkl'; yes complaint | head -c 200000 >&2").unwrap();
        assert_eq!((clip.frames(), clip.width(), clip.height()), (2, 2, 1));
        let frames = clip.read(&[1, 0, 1]).unwrap();
        let pixels: Vec<&[u8]> = frames.iter().map(|frame| frame.pixels.as_slice()).collect();
        assert_eq!(pixels, [b"ghijkl", b"abcdef", b"ghijkl"]);

        for (work, part) in [
            ("echo first >&2; echo 'moov atom not found' >&2; exit 1", "moov atom not found"),
            ("true", "ffmpeg finds no frame in it"),
            (r"printf 'P6\n2 1\n255\nabc'", "ffmpeg stopped inside a frame"),
            (r"printf 'P6\n90000 90000\n255\nabc'", "90000×90000, and the limit is 32 megapixels"),
            ("echo 'hello, I am no picture at all'", "something else than PPM pictures"),
        ] {
            let refusal = open(work).unwrap_err().to_string();
            assert!(refusal.contains(part) && refusal.contains("clip.mp4"), "{refusal}");
        }
        // An endless video is left as soon as what was wanted is there.
        let clip = open(r"printf 'P6\n1 1\n255\nabc'").unwrap();
        program(root.path(), r"while printf 'P6\n1 1\n255\nxyz'; do :; done");
        assert_eq!(clip.read(&[0]).unwrap()[0].pixels, b"xyz");
    }

    #[test]
    fn without_ffmpeg_it_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("clip.webm");
        fs::write(&path, b"\x1A\x45\xDF\xA3").unwrap();
        let refusal = Clip::open_with(&path, &root.path().join("nothing")).unwrap_err().to_string();
        for part in ["clip.webm", "takes `ffmpeg`, which is not installed", "apt install ffmpeg", "a GIF, a y4m"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
