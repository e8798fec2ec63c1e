//! Video clips: a folder of frames, a GIF, an animated WebP or PNG, a y4m file, a `.npy` array, or whatever an installed
//! `ffmpeg` decodes. Opened by their headers where those say how many frames there are, by decoding once where they do not;
//! frames are read when they are asked for. A video of many minutes is opened by its packets' times, and its frames are sought.

mod animation;
mod config;
mod ffmpeg;
mod files;
mod frames;
mod gif;
mod header;
pub(crate) mod list;
mod listing;
mod moments;
mod moving;
mod npy;
mod pictures;
mod sample;
mod search;
mod set;
mod windows;
mod y4m;

use std::fs::{self, File};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::images::depth::FULL;
use crate::images::listing::is_ring;
use crate::kind::foreign;
use crate::{DataError, Image};
use animation::Animation;
pub use config::{ClipsConfig, ShortClips};
use ffmpeg::Decoded;
use frames::Frames;
use gif::Gif;
pub use moments::{FramesBy, sample_frames};
pub use moving::flow::FlowMap;
pub use moving::{Ground, MovingConfig};
use npy::Npy;
pub use sample::ClipSample;
pub use search::FoundClips;
pub use set::Clips;
use y4m::{Refused, Y4m};

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
    /// When each frame is shown, in seconds, ascending; empty where the clip does not say.
    times: Vec<f64>,
    notes: Vec<String>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Frames(Frames),
    Gif(Gif),
    Animation(Animation),
    Y4m(Y4m),
    Npy(Npy),
    Decoded(Decoded),
}

/// What a reader found: its frames, their width and their height.
type Extent = (usize, usize, usize);

impl Clip {
    /// Opens a clip. A folder's images are its frames in natural order (`9.png` before `10.png`); what a file is, its content
    /// decides. Videos in containers (mp4, webm, …) are decoded by `ffmpeg` (4.2 or newer), which must be installed.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Self::open_over(path, FULL)
    }

    /// The same with the numbers of frames of 16 bits, in a folder, spread over this range, whose ends are black and white.
    pub fn open_over(path: &Path, range: [u16; 2]) -> Result<Self, DataError> {
        Self::open_with(path, range, Path::new("ffmpeg"))
    }

    fn open_with(path: &Path, range: [u16; 2], program: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
        let bad = |reason: String| DataError::BadClip { name: name.clone(), reason };
        let (kind, (frames, width, height)) = if metadata.is_dir() {
            let (reader, extent) = Frames::open(path, range)?;
            (Kind::Frames(reader), extent)
        } else if metadata.is_file() {
            let head = head(path)?;
            let foreign = foreign(&name, &head);
            match Format::of(path, &head) {
                Some(Format::Gif) => Gif::open(path).map(|(reader, extent)| (Kind::Gif(reader), extent)),
                Some(Format::Animation) => {
                    Animation::open(path).map(|(reader, extent)| (Kind::Animation(reader), extent))
                }
                Some(Format::Y4m) => match Y4m::open(path) {
                    // Of more bits, or of colours that are not read here.
                    Err(Refused::Colours(reason)) => {
                        let decoded = Decoded::open(path, program).map_err(|_| reason);
                        decoded.map(|(reader, extent)| (Kind::Decoded(reader), extent))
                    }
                    Err(Refused::Damaged(reason)) => Err(reason),
                    Ok((reader, extent)) => Ok((Kind::Y4m(reader), extent)),
                },
                Some(Format::Npy) => Npy::open(path).map(|(reader, extent)| (Kind::Npy(reader), extent)),
                Some(Format::Container) => {
                    Decoded::open(path, program).map(|(reader, extent)| (Kind::Decoded(reader), extent))
                }
                None if head.is_empty() => Err("the file is empty".to_owned()),
                None => Err(format!(
                    "it begins with the bytes {:02x?}; expected a folder of frames, a GIF, an animated WebP or PNG, a y4m or .npy file, or a video that ffmpeg decodes",
                    &head[..head.len().min(8)]
                )),
            }
            .map_err(|reason| foreign.unwrap_or_else(|| bad(reason)))?
        } else {
            return Err(bad("it is neither a folder nor a regular file".to_owned()));
        };
        let (times, mut notes) = match &kind {
            Kind::Npy(npy) => (Vec::new(), npy.notes().to_vec()),
            Kind::Gif(gif) => (gif.times().to_vec(), Vec::new()),
            Kind::Animation(animation) => (animation.times().to_vec(), Vec::new()),
            Kind::Decoded(decoded) => (decoded.times().to_vec(), decoded.notes().to_vec()),
            Kind::Frames(frames) => (Vec::new(), frames.notes()),
            Kind::Y4m(y4m) => (y4m.times(), Vec::new()),
        };
        let times = if moments::are_usable(&times, frames) { times } else { Vec::new() };
        notes.extend(moments::note(&times));
        Ok(Self { name, frames, width, height, times, notes, kind })
    }

    /// Whether a path is a file that begins, or is named, like a clip. Animated WebP and PNG are [told apart](Self::is_animation):
    /// they are pictures too.
    pub fn is_video(path: &Path) -> bool {
        let format = || head(path).ok().and_then(|head| Format::of(path, &head));
        path.is_file() && format().is_some_and(|format| format != Format::Animation)
    }

    /// Whether a path is a file that `ffmpeg` decodes.
    pub(crate) fn is_container(path: &Path) -> bool {
        let format = || head(path).ok().and_then(|head| Format::of(path, &head));
        path.is_file() && format() == Some(Format::Container)
    }

    /// Whether `ffmpeg` decodes it.
    pub(crate) fn is_decoded(&self) -> bool {
        matches!(self.kind, Kind::Decoded(_))
    }

    /// Whether a path is a WebP or PNG file of several frames.
    pub fn is_animation(path: &Path) -> bool {
        path.is_file() && Animation::is(path)
    }

    /// Whether a folder is a link to one that it lies in, so that a search of it would not end.
    pub fn is_ring(path: &Path) -> bool {
        is_ring(path)
    }

    /// Whether bytes begin a WebP or PNG of several frames.
    pub(crate) fn is_animated(head: &[u8]) -> bool {
        Animation::is_in(head)
    }

    /// Whether a path is a `.npy` file that cannot be a clip, such as labels beside clips.
    pub fn is_other_array(path: &Path) -> bool {
        let format = || head(path).ok().and_then(|head| Format::of(path, &head));
        path.is_file() && format() == Some(Format::Npy) && Npy::axes(path).is_some_and(|axes| axes < 3)
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
            Kind::Animation(animation) => animation.format(),
            Kind::Y4m(_) => "y4m",
            Kind::Npy(_) => "a NumPy array",
            Kind::Decoded(_) => "a video decoded by ffmpeg",
        }
    }

    /// When each frame is shown, in seconds, ascending; nothing where the clip does not say.
    pub fn times(&self) -> Option<&[f64]> {
        (!self.times.is_empty()).then_some(&self.times)
    }

    /// So many frames, spread evenly over the whole clip: by [time](FramesBy::Time) where its frames come at uneven times.
    pub fn sample(&self, wanted: usize, by: FramesBy) -> Vec<usize> {
        match by {
            FramesBy::Time if moments::are_uneven(&self.times) => moments::sample_times(&self.times, wanted),
            _ => sample_frames(self.frames, wanted),
        }
    }

    /// What else to know, such as how its axes and its range were taken, or that it is damaged.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// These frames, in this order; one may be asked for several times. Their number is the caller's own claim on memory.
    pub fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, DataError> {
        self.read_on(wanted, &mut Cursor::default())
    }

    /// The same, where a call before it with the same cursor has come to: a long video is decoded once, however many calls take
    /// its frames, as long as each asks for later ones. A cursor belongs to one clip.
    pub fn read_on(&self, wanted: &[usize], cursor: &mut Cursor) -> Result<Vec<Image>, DataError> {
        if let Some(&index) = wanted.iter().find(|index| **index >= self.frames) {
            return Err(self.bad(format!("frame {index} was asked for, but it has {} frames", self.frames)));
        }
        match &self.kind {
            Kind::Frames(frames) => frames.read(wanted, self.width, self.height),
            Kind::Y4m(y4m) => y4m.read(wanted).map_err(|reason| self.bad(reason)),
            Kind::Npy(npy) => npy.read(wanted).map_err(|reason| self.bad(reason)),
            Kind::Animation(animation) => animation.read(wanted).map_err(|reason| self.bad(reason)),
            Kind::Gif(gif) => cursor.read(wanted, || gif.forward()).map_err(|reason| self.bad(reason)),
            Kind::Decoded(decoded) => match decoded.sought(wanted) {
                Some(images) => images.map_err(|reason| self.bad(reason)),
                None => cursor.read(wanted, || decoded.forward()).map_err(|reason| self.bad(reason)),
            },
        }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gif,
    /// WebP or PNG.
    Animation,
    Y4m,
    Npy,
    Container,
}

impl Format {
    /// Containers are told by their name where their content is of too many kinds.
    fn of(path: &Path, head: &[u8]) -> Option<Self> {
        const NAMES: [&str; 21] = [
            "mp4", "m4v", "mov", "webm", "mkv", "avi", "mpg", "mpeg", "ogv", "wmv", "flv", "3gp", "ts", "mts", "m2ts",
            "vob", "asf", "mxf", "h264", "h265", "hevc",
        ];
        /// Pictures in the container of MP4: HEIC and AVIF.
        const STILLS: [&[u8]; 8] = [b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif"];
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        match head {
            [b'G', b'I', b'F', b'8', ..] => Some(Self::Gif),
            head if Animation::may_be(head) => Animation::is(path).then_some(Self::Animation),
            head if head.starts_with(b"YUV4MPEG2") => Some(Self::Y4m),
            head if head.starts_with(b"\x93NUMPY") => Some(Self::Npy),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] if STILLS.iter().any(|still| brand.starts_with(still)) => {
                None
            }
            [_, _, _, _, b'f', b't', b'y', b'p', ..] | [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(Self::Container),
            head if crate::series::is_ts(head) => None,
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

/// A decoder that panics on a damaged file costs that file.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("the decoder gave up on it".to_owned()))
}

/// A clip that is read from its first frame on.
trait Forward: Send {
    /// The next frame, decoded where it is wanted.
    fn next(&mut self, wanted: bool) -> Result<Step, String>;
}

enum Step {
    End,
    Passed,
    Frame(Image),
}

/// Where reading a clip has come to.
#[derive(Default)]
pub struct Cursor(Option<(Box<dyn Forward>, usize)>);

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cursor").field(&self.0.as_ref().map(|(_, next)| next)).finish()
    }
}

impl Cursor {
    /// Begins anew where a frame has passed already.
    fn read(
        &mut self,
        wanted: &[usize],
        begin: impl FnOnce() -> Result<Box<dyn Forward>, String>,
    ) -> Result<Vec<Image>, String> {
        let first = wanted.iter().min().copied().unwrap_or(0);
        let (mut clip, mut frame) = match self.0.take() {
            Some(state) if state.1 <= first => state,
            _ => (begin()?, 0),
        };
        let mut wanted = Wanted::new(wanted);
        while !wanted.is_served() {
            match clip.next(wanted.wants(frame))? {
                Step::End => return wanted.images(),
                Step::Passed => {}
                Step::Frame(image) => wanted.give(frame, &image),
            }
            frame += 1;
        }
        self.0 = Some((clip, frame));
        wanted.images()
    }
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
    use std::path::PathBuf;

    use super::*;

    /// A program in ffmpeg's place that checks how it is called, says `words` where frames are counted and does `work` where they
    /// are read.
    fn program(root: &Path, words: &str, work: &str) -> PathBuf {
        let path = root.join("ffmpeg");
        let script = format!(
            r#"#!/bin/sh
case "$*" in
*"-protocol_whitelist file -i file:"*"clip.mp4 -map 0:v:0 -fps_mode passthrough -vf showinfo -f null -") {words} ;;
*"-protocol_whitelist file -i file:"*"clip.mp4 -map 0:v:0 -fps_mode passthrough -pix_fmt rgb24 -c:v ppm -f image2pipe -") {work} ;;
*) echo "called as $*" >&2; exit 9 ;;
esac
"#
        );
        executable(&path, &script);
        path
    }

    /// Written by another process: a file that this one has open for writing cannot be run while a child that some test began
    /// meanwhile still holds it.
    fn executable(path: &Path, script: &str) {
        let mut write = std::process::Command::new("sh");
        write.args(["-c", r#"printf %s "$1" > "$0" && chmod 755 "$0""#]).arg(path).arg(script);
        assert!(write.status().unwrap().success());
    }

    fn frame(n: usize, seconds: &str, size: &str) -> String {
        format!(
            r"echo '[Parsed_showinfo_0 @ 0x5] [info] n:   {n} pts:  9 pts_time:{seconds}   pos:  747 fmt:yuv420p sar:1/1 s:{size} i:P' >&2;"
        )
    }

    const HEAD: &str = r"echo '[info]   Duration: 00:00:03.00, start: 0.000000, bitrate: 9 kb/s' >&2; echo '[info]   Stream #0:0: Video: h264 (High), yuv420p(progressive), 2x1 [SAR 1:1 DAR 4:3], 8 kb/s, 10 fps, 10 tbr, 1k tbn (default)' >&2;";

    #[test]
    fn a_container_is_read_through_the_pipe() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("clip.mp4");
        fs::write(&path, b"\0\0\0\x18ftypisom").unwrap();
        let open = |words: &str, work: &str| Clip::open_with(&path, FULL, &program(root.path(), words, work));
        let two = frame(0, "0", "2x1") + &frame(1, "0.1", "2x1");
        let clip = open(&two, r"printf 'P6\n2 1\n255\nabcdefP6\n2 1\n255\nghijkl'; yes complaint | head -c 200000 >&2")
            .unwrap();
        assert_eq!((clip.frames(), clip.width(), clip.height()), (2, 2, 1));
        assert_eq!((clip.times(), clip.notes()), (Some(&[0.0, 0.1][..]), &[][..]));
        let frames = clip.read(&[1, 0, 1]).unwrap();
        let pixels: Vec<&[u8]> = frames.iter().map(|frame| frame.pixels.as_slice()).collect();
        assert_eq!(pixels, [b"ghijkl", b"abcdef", b"ghijkl"]);

        for (words, part) in [
            ("echo first >&2; echo '[fatal] moov atom not found' >&2; exit 1", "moov atom not found"),
            ("true", "ffmpeg finds no frame in it"),
            ("echo \"[fatal] Stream map '0:v:0' matches no streams.\" >&2; exit 1", "it has no video stream"),
            (frame(0, "0", "90000x90000").as_str(), "90000×90000, and the limit is 32 megapixels"),
        ] {
            let refusal = open(words, "true").unwrap_err().to_string();
            assert!(refusal.contains(part) && refusal.contains("clip.mp4"), "{refusal}");
        }
        for (work, part) in [
            (r"printf 'P6\n2 1\n255\nabc'", "ffmpeg stopped inside a frame"),
            (r"printf 'P6\n90000 90000\n255\nabc'", "90000×90000, and the limit is 32 megapixels"),
            ("echo 'hello, I am no picture at all'", "something else than PPM pictures"),
            (r"printf 'P6\n2 1\n255\nabcdef'", "it ended before its frame 1"),
        ] {
            let refusal = open(&two, work).unwrap().read(&[0, 1]).unwrap_err().to_string();
            assert!(refusal.contains(part) && refusal.contains("clip.mp4"), "{refusal}");
        }
        // An endless video is left as soon as what was wanted is there.
        let clip = open(&frame(0, "0", "1x1"), r"while printf 'P6\n1 1\n255\nxyz'; do :; done").unwrap();
        assert_eq!(clip.read(&[0]).unwrap()[0].pixels, b"xyz");
    }

    #[test]
    fn what_is_missing_of_a_video_is_told() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("clip.mp4");
        fs::write(&path, b"\0\0\0\x18ftypisom").unwrap();
        let notes =
            |words: &str| Clip::open_with(&path, FULL, &program(root.path(), words, "true")).unwrap().notes().to_vec();
        let all: String = (0..30).map(|n| frame(n, &format!("{}", n as f64 / 10.0), "2x1")).collect();
        assert!(notes(&format!("{HEAD}{all}")).is_empty());
        let five: String = (0..5).map(|n| frame(n, &format!("{}", n as f64 / 10.0), "2x1")).collect();
        let damaged =
            notes(&format!("{HEAD}{five} echo '[mov,mp4 @ 0x5] [error] stream 0, offset 0xc52: partial file' >&2"));
        assert_eq!(damaged.len(), 1, "{damaged:?}");
        assert!(damaged[0].contains("5 of about 30 frames") && damaged[0].contains("partial file"), "{damaged:?}");
        // Nothing is said to be wrong, and most of it is not there.
        let short = notes(&format!("{HEAD}{five}"));
        assert!(short[0].contains("end at 0.5 s") && short[0].contains("3 s"), "{short:?}");
        // Six frames at uneven times are whole: a file's average rate says nothing about how many there are.
        let uneven: String =
            ["0", "0.1", "0.2", "1", "2", "2.9"].iter().enumerate().map(|(n, at)| frame(n, at, "2x1")).collect();
        let told = notes(&format!("{HEAD}{uneven}"));
        assert!(told.len() == 1 && told[0].contains("0.1 to 1 s apart"), "{told:?}");
    }

    /// A decoder that the user's Ctrl-C reaches would make a good video look damaged.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_decoder_is_out_of_reach_of_ctrl_c() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("clip.mp4");
        fs::write(&path, b"\0\0\0\x18ftypisom").unwrap();
        let words =
            format!("read -r _ _ _ _ group _ < /proc/$$/stat; [ $group = $$ ] || exit 7; {}", frame(0, "0", "1x1"));
        let work = r"read -r _ _ _ _ group _ < /proc/$$/stat; [ $group = $$ ] || exit 7; printf 'P6\n1 1\n255\nxyz'";
        let clip = Clip::open_with(&path, FULL, &program(root.path(), &words, work)).unwrap();
        assert_eq!(clip.read(&[0]).unwrap()[0].pixels, b"xyz");
    }

    #[test]
    fn an_older_ffmpeg_is_asked_in_its_own_words() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("clip.mp4");
        fs::write(&path, b"\0\0\0\x18ftypisom").unwrap();
        let words = frame(0, "0", "1x1");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*fps_mode*) echo \"[fatal] Unrecognized option 'fps_mode'.\" >&2; exit 1 ;;\n*'-vsync passthrough -vf showinfo'*) {words} ;;\n*'-vsync passthrough -pix_fmt'*) printf 'P6\\n1 1\\n255\\nxyz' ;;\nesac\n"
        );
        let program = root.path().join("ffmpeg");
        executable(&program, &script);
        let clip = Clip::open_with(&path, FULL, &program).unwrap();
        assert_eq!(clip.read(&[0]).unwrap()[0].pixels, b"xyz");
    }

    #[test]
    fn without_ffmpeg_it_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("clip.webm");
        fs::write(&path, b"\x1A\x45\xDF\xA3").unwrap();
        let refusal = Clip::open_with(&path, FULL, &root.path().join("nothing")).unwrap_err().to_string();
        for part in ["clip.webm", "takes `ffmpeg`, which is not installed", "apt install ffmpeg", "a GIF, a y4m"] {
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
