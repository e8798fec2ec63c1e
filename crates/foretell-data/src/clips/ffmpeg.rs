//! Videos in containers, decoded by an installed `ffmpeg` in a process of its own: it writes one PPM picture after the other
//! into a pipe, which says its own size, upright and in the video's own colours.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use super::header;
use super::moments::{seconds, usual};
use super::pictures::{self, Taken, Wanted};
use super::{Extent, Forward, Step, check_size};
use crate::Image;

/// A video of more seconds than this is not decoded to count its frames, which would take minutes.
const LONG: f64 = 600.0;
/// Frames of a long video that one decoder seeks.
const TOGETHER: usize = 16;

/// Longer lines of ffmpeg's are read in pieces.
const LONGEST_LINE: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Decoded {
    path: PathBuf,
    program: PathBuf,
    /// How this ffmpeg is told to hand over each frame once, whatever its time: `-fps_mode`, or `-vsync` before 5.1.
    once: &'static str,
    times: Vec<f64>,
    /// Whether frames are sought one by one.
    long: bool,
    notes: Vec<String>,
}

impl Decoded {
    /// Decodes the video once to count its frames and to learn their times: containers only estimate them. Of a long one the times
    /// of its packets are taken.
    pub(super) fn open(path: &Path, program: &Path) -> Result<(Self, Extent), String> {
        let mut video = Self {
            path: path.to_owned(),
            program: program.to_owned(),
            once: "-fps_mode",
            times: Vec::new(),
            long: false,
            notes: Vec::new(),
        };
        if header::length(path).is_some_and(|length| length.seconds > LONG)
            && let Some(times) = packets(program, path)
        {
            let (width, height) = about(program, path)?.size;
            check_size(width, height)?;
            let frames = times.len();
            video.notes.push("it is long: what is missing of it is not known before it is read".to_owned());
            return Ok((Self { times, long: true, ..video }, (frames, width, height)));
        }
        let counted = match video.count() {
            Err(reason) if reason.contains("Unrecognized option 'fps_mode'") => {
                video.once = "-vsync";
                video.count()
            }
            counted => counted,
        }?;
        let (width, height) = counted.size;
        if counted.frames == 0 {
            return Err(match counted.error {
                Some(words) => format!("ffmpeg finds no frame in it: {words}"),
                None => "ffmpeg finds no frame in it".to_owned(),
            });
        }
        check_size(width, height)?;
        video.notes.extend(counted.missing());
        video.times = counted.times;
        Ok((video, (counted.frames, width, height)))
    }

    pub(super) fn times(&self) -> &[f64] {
        &self.times
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Frames of a long video, each sought; `None` of one that is read from its first frame on.
    pub(super) fn sought(&self, wanted: &[usize]) -> Option<Result<Vec<Image>, String>> {
        let first = self.times.first().filter(|_| self.long)?;
        let seek = |frame: &usize| Wanted { path: &self.path, start: self.times[*frame] - first };
        let mut images = Vec::with_capacity(wanted.len());
        for group in wanted.chunks(TOGETHER) {
            let seeks: Vec<Wanted<'_>> = group.iter().map(seek).collect();
            // One frame of each: how many there are in a second does not matter.
            let read = pictures::read(&self.program, &seeks, Taken { frames: 1, fps: 1.0, short_side: usize::MAX });
            let (windows, wrong) = match read {
                Ok(read) => read,
                Err(reason) => return Some(Err(reason)),
            };
            for (window, frame) in windows.into_iter().zip(group) {
                let Some(image) = window.into_iter().next() else {
                    let words = wrong.map(|words| format!(" ({words})")).unwrap_or_default();
                    return Some(Err(format!("its frame {frame} is not there{words}: it is cut or damaged")));
                };
                images.push(image);
            }
        }
        Some(Ok(images))
    }

    fn count(&self) -> Result<Counted, String> {
        let mut child = self.start("level+info", &["-vf", "showinfo", "-f", "null", "-"], Stdio::null())?;
        let mut counted = Counted::default();
        if let Some(words) = child.stderr.take() {
            for_lines(words, |line| counted.hear(line)).map_err(|e| format!("reading from ffmpeg failed: {e}"))?;
        }
        let status = child.wait().map_err(|e| format!("waiting for ffmpeg failed: {e}"))?;
        if status.success() {
            return Ok(counted);
        }
        Err(said(status, counted.error.as_deref().or(counted.last.as_deref())))
    }

    /// Its frames from the first on.
    pub(super) fn forward(&self) -> Result<Box<dyn Forward>, String> {
        // Eight bits for each colour, whatever the video has: ten, twelve and sixteen are rounded by ffmpeg.
        let how = ["-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "-"];
        let mut child = self.start("error", &how, Stdio::piped())?;
        let (Some(pictures), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("ffmpeg gives no output".to_owned());
        };
        // Read on the side, or a talkative ffmpeg would wait for a reader for ever.
        let words = std::thread::spawn(move || {
            let mut last = None;
            let _ = for_lines(errors, |line| last = Some(line.to_owned()));
            last
        });
        Ok(Box::new(Pipe { child, pictures: BufReader::with_capacity(1 << 16, pictures), words: Some(words) }))
    }

    fn start(&self, level: &str, how: &[&str], output: Stdio) -> Result<Child, String> {
        let mut command = reading(&self.program, level, &[], &self.path);
        command.args(["-map", "0:v:0", self.once, "passthrough"]).args(how);
        spawn(command, output)
    }
}

/// `ffmpeg` with a video as its input.
fn reading(program: &Path, level: &str, seek: &[&str], path: &Path) -> Command {
    let mut input = OsString::from("file:");
    input.push(path);
    let mut command = Command::new(program);
    // Nothing but this file is opened, whatever the container refers to.
    command.args(["-v", level, "-nostats", "-nostdin"]).args(seek);
    command.args(["-protocol_whitelist", "file", "-i"]).arg(input);
    command
}

/// Starts `ffmpeg`; its words are piped.
pub(super) fn spawn(mut command: Command, output: Stdio) -> Result<Child, String> {
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
    // Ctrl-C in a terminal goes to every program of the group: it is for us to stop, and no fault of the video.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            "decoding it takes `ffmpeg`, which is not installed here (not on the PATH): install it (`apt install ffmpeg`, `brew install ffmpeg`), or give a folder of frames, a GIF, a y4m or an .npy file instead".to_owned()
        } else {
            format!("`{}` cannot be started: {error}", Path::new(command.get_program()).display())
        }
    })
}

/// What a video's header says, in ffmpeg's words, without decoding it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    /// Width and height as it is shown: upright and with square pixels.
    pub(super) size: (usize, usize),
    pub(super) seconds: Option<f64>,
    pub(super) fps: Option<f64>,
    /// What is changed about its frames when they are read.
    pub(super) changes: Vec<&'static str>,
}

/// Asks ffmpeg what a video is like.
pub(super) fn about(program: &Path, path: &Path) -> Result<About, String> {
    let mut child = spawn(reading(program, "level+info", &["-hide_banner"], path), Stdio::null())?;
    let (mut counted, mut turned) = (Counted::default(), None);
    if let Some(words) = child.stderr.take() {
        for_lines(words, |line| {
            if let Some((_, angle)) = line.split_once("rotation of ") {
                turned = turned.or(angle.split(' ').next().and_then(|angle| angle.parse::<f64>().ok()));
            }
            counted.hear(line);
        })
        .map_err(|e| format!("reading from ffmpeg failed: {e}"))?;
    }
    // Without an output it ends with an error, always.
    child.wait().map_err(|e| format!("waiting for ffmpeg failed: {e}"))?;
    let Some(line) = counted.video else {
        return Err(match counted.error {
            Some(words) if counted.said.0.is_none() => format!("ffmpeg cannot read it: {words}"),
            _ => NO_VIDEO.to_owned(),
        });
    };
    let mut about = About::of(&line);
    if let Some(angle) = turned.filter(|angle| *angle != 0.0) {
        about.changes.push(ROTATED);
        if (angle.abs() - 90.0).abs() < 1.0 {
            about.size = (about.size.1, about.size.0);
        }
    }
    (about.seconds, about.fps) = counted.said;
    Ok(about)
}

const NO_VIDEO: &str = "it has no video stream: it may be sound alone";
/// See [`About::changes`].
pub(super) const ROTATED: &str = "a rotation in the container: they are read upright";
const DEEP: &str = "more than 8 bits for each colour: they are read as 8";
const WIDE: &str = "a high dynamic range (HDR): they are read as 8-bit RGB without tone mapping, and look pale";
const OBLONG: &str = "pixels that are not square: they are read with square ones";

impl About {
    /// `…: Video: hevc (Main 10), yuv420p10le(tv, bt2020nc/bt2020/smpte2084), 320x240 [SAR 4:3 DAR 16:9], 30 fps`.
    fn of(line: &str) -> Self {
        let mut about = Self::default();
        let parts: Vec<&str> = line.split_once(" Video: ").map_or(line, |(_, rest)| rest).split(", ").collect();
        let size = |part: &&str| -> Option<(usize, usize)> {
            let (width, height) = part.split(' ').next()?.split_once('x')?;
            Some((width.parse().ok()?, height.parse().ok()?))
        };
        about.size = parts.iter().find_map(size).unwrap_or((0, 0));
        let ratio = line.split_once("SAR ").and_then(|(_, rest)| {
            let (wide, high) = rest.split([' ', ',', ']']).next()?.split_once(':')?;
            Some(wide.parse::<f64>().ok()? / high.parse::<f64>().ok()?)
        });
        if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite() && *ratio > 0.0 && *ratio != 1.0) {
            about.size.0 = (about.size.0 as f64 * ratio).round() as usize;
            about.changes.push(OBLONG);
        }
        if line.contains("smpte2084") || line.contains("arib-std-b67") {
            about.changes.push(WIDE);
        }
        let format = parts.get(1).map_or("", |part| part.split('(').next().unwrap_or(part));
        let deep = ["10le", "10be", "12le", "12be", "14le", "16le", "16be", "p010", "p012", "p016", "p210", "p410"];
        if deep.iter().any(|bits| format.starts_with(bits) || format.ends_with(bits)) {
            about.changes.push(DEEP);
        }
        about
    }
}

/// When the frames of a video are shown, by its packets, which `ffprobe` lists without decoding them; nothing where there is none, or
/// they do not say.
fn packets(program: &Path, path: &Path) -> Option<Vec<f64>> {
    let mut input = OsString::from("file:");
    input.push(path);
    let mut command = Command::new(program.with_file_name("ffprobe"));
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]);
    command.args(["-protocol_whitelist", "file"]).arg(input);
    let mut child = spawn(command, Stdio::piped()).ok()?;
    let (output, errors) = (child.stdout.take()?, child.stderr.take()?);
    let words = std::thread::spawn(move || io::copy(&mut BufReader::new(errors), &mut io::sink()));
    let (mut times, mut sound) = (Vec::new(), true);
    let read = for_lines(output, |line| match line.split_once(',') {
        // Decoded for what refers to it, and never shown.
        Some((_, flags)) if flags.contains('D') => {}
        Some((time, _)) => match time.parse::<f64>() {
            Ok(time) => times.push(time),
            Err(_) => sound = false,
        },
        None => sound = false,
    });
    let status = child.wait().ok()?;
    let _ = words.join();
    times.sort_unstable_by(f64::total_cmp);
    (read.is_ok() && status.success() && sound && !times.is_empty()).then_some(times)
}

/// How many frames are there between two times, of about how many, in words; decodes what lies between.
pub(super) fn between(program: &Path, path: &Path, start: f64, seconds: f64, fps: f64) -> Result<String, String> {
    let (from, long) = (format!("{start:.6}"), format!("{seconds:.6}"));
    let mut command = reading(program, "level+info", &["-ss", &from, "-t", &long], path);
    command.args(["-map", "0:v:0", "-vf", "showinfo", "-f", "null", "-"]);
    let mut child = spawn(command, Stdio::null())?;
    let mut counted = Counted::default();
    if let Some(words) = child.stderr.take() {
        for_lines(words, |line| counted.hear(line)).map_err(|e| format!("reading from ffmpeg failed: {e}"))?;
    }
    let status = child.wait().map_err(|e| format!("waiting for ffmpeg failed: {e}"))?;
    let expected = (seconds * fps).round() as usize;
    let there = if counted.frames < expected {
        format!("{} of about {expected} frames are there", counted.frames)
    } else {
        format!("{} frames are there", counted.frames)
    };
    let words = counted.error.or(if status.success() { None } else { counted.last });
    let words = words.map(|words| format!(" ({words})")).unwrap_or_default();
    Ok(format!(
        "the file is cut or damaged{words}: {there} from {} s to {} s; copy it again",
        super::moments::seconds(start),
        super::moments::seconds(start + seconds)
    ))
}

/// What ffmpeg says of a video while it decodes it.
#[derive(Debug, Default)]
struct Counted {
    frames: usize,
    times: Vec<f64>,
    /// Of the first frame.
    size: (usize, usize),
    /// Seconds, and frames in each, by the header.
    said: (Option<f64>, Option<f64>),
    /// The line about the video.
    video: Option<String>,
    /// The first that went wrong.
    error: Option<String>,
    /// The last line.
    last: Option<String>,
}

impl Counted {
    fn hear(&mut self, line: &str) {
        let after = |key: &str| line.split_once(key).and_then(|(_, rest)| rest.split_whitespace().next());
        if line.contains("Parsed_showinfo") && line.contains(" n:") && line.contains("pts_time:") {
            if self.frames == 0
                && let Some((width, height)) = after(" s:").and_then(|size| size.split_once('x'))
            {
                self.size = (width.parse().unwrap_or(0), height.parse().unwrap_or(0));
            }
            self.frames += 1;
            self.times.extend(after("pts_time:").and_then(|time| time.parse::<f64>().ok()));
            return;
        }
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        self.last = Some(without_level(line));
        if is_wrong(line) {
            self.error.get_or_insert_with(|| without_level(line));
        } else if let Some(rest) = line.split_once("Duration: ").map(|(_, rest)| rest) {
            self.said.0 = self.said.0.or_else(|| clock(rest.split(',').next()?));
        } else if line.contains("Video:") && self.video.is_none() {
            self.video = Some(line.to_owned());
            let rate = line.split(',').find_map(|part| part.trim().strip_suffix(" fps"));
            self.said.1 = rate.and_then(|rate| rate.parse().ok());
        }
    }

    /// A line about frames that ought to be there.
    fn missing(&self) -> Option<String> {
        let end = self.times.last().zip(self.times.first()).map(|(last, first)| last - first + usual(&self.times));
        let expected = self.said.0.zip(self.said.1).map(|(all, rate)| (all * rate).round() as usize);
        let about = |expected: Option<usize>| match expected {
            Some(all) if all > self.frames => format!("{} of about {all} frames are there", self.frames),
            _ => format!("{} frames are there", self.frames),
        };
        if let Some(words) = &self.error {
            return Some(format!("the file is cut or damaged ({words}): {}", about(expected)));
        }
        let (end, all) = (end?, self.said.0?);
        // Sound may go on behind the pictures for a little.
        (all - end > (0.1 * all).max(1.0))
            .then(|| format!("its frames end at {} s, and the file is said to last {} s", seconds(end), seconds(all)))
    }
}

/// Whether a line tells of damage.
pub(super) fn is_wrong(line: &str) -> bool {
    /// What decoders say of sound videos that they begin to read in the middle.
    const HARMLESS: [&str; 6] = [
        "co located POCs unavailable",
        "mmco: unref short failure",
        "reference picture missing during reorder",
        "Missing reference picture",
        "number of reference frames",
        "At least one output file must be specified",
    ];
    let wrong = line.contains("[error]") || line.contains("[fatal]") || line.contains("corrupt input packet");
    // What the output complains about, such as two frames of one time, is no damage.
    wrong && !line.trim_start().starts_with("[null @") && !HARMLESS.iter().any(|words| line.contains(words))
}

/// `HH:MM:SS.cc` in seconds.
fn clock(text: &str) -> Option<f64> {
    text.trim().split(':').try_fold(0.0, |sum, part| Some(60.0 * sum + part.parse::<f64>().ok()?))
}

/// Without `[h264 @ 0x…]` and `[error]`.
pub(super) fn without_level(line: &str) -> String {
    let mut rest = line;
    while let Some((_, behind)) = rest.strip_prefix('[').and_then(|inside| inside.split_once("] ")) {
        rest = behind;
    }
    rest.to_owned()
}

/// Lines of a stream, whatever its bytes.
pub(super) fn for_lines(stream: impl Read, mut f: impl FnMut(&str)) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            f(text.trim_end());
        }
        line.clear();
    }
    Ok(())
}

/// Why ffmpeg failed, in its last words.
pub(super) fn said(status: ExitStatus, words: Option<&str>) -> String {
    let words = words.unwrap_or("without a word");
    if words.contains("matches no streams") {
        return NO_VIDEO.to_owned();
    }
    format!("ffmpeg cannot decode it ({status}): {words}")
}

/// The running process. It is ended when this is dropped.
struct Pipe {
    child: Child,
    pictures: BufReader<ChildStdout>,
    words: Option<JoinHandle<Option<String>>>,
}

impl Forward for Pipe {
    fn next(&mut self, wanted: bool) -> Result<Step, String> {
        let Some((width, height)) = self.header()? else {
            self.end()?;
            return Ok(Step::End);
        };
        if !wanted {
            self.skip(3 * width as u64 * height as u64)?;
            return Ok(Step::Passed);
        }
        let pixels = self.pixels(3 * width * height)?;
        Ok(Step::Frame(Image { width, height, channels: 3, pixels }))
    }
}

impl Pipe {
    /// Width and height of the next picture: `P6`, width, height, `255`, apart by one white space each.
    fn header(&mut self) -> Result<Option<(usize, usize)>, String> {
        let Some(magic) = self.word()? else {
            return Ok(None);
        };
        let foreign = || "ffmpeg writes something else than PPM pictures".to_owned();
        let mut number = || self.word()?.and_then(|word| word.parse::<usize>().ok()).ok_or_else(foreign);
        let (width, height, most) = (number()?, number()?, number()?);
        if magic != "P6" || most != 255 {
            return Err(foreign());
        }
        check_size(width, height)?;
        Ok(Some((width, height)))
    }

    /// Up to the next white space; nothing at the end.
    fn word(&mut self) -> Result<Option<String>, String> {
        let mut word = String::new();
        let mut byte = [0];
        while word.len() < 16 {
            match self.pictures.read(&mut byte).map_err(|e| format!("reading from ffmpeg failed: {e}"))? {
                0 if word.is_empty() => return Ok(None),
                0 => return Err(self.cut()),
                _ if byte[0].is_ascii_whitespace() => return Ok(Some(word)),
                _ => word.push(byte[0] as char),
            }
        }
        Err("ffmpeg writes something else than PPM pictures".to_owned())
    }

    fn pixels(&mut self, count: usize) -> Result<Vec<u8>, String> {
        let mut pixels = Vec::new();
        let read = self.pictures.by_ref().take(count as u64).read_to_end(&mut pixels);
        read.map_err(|e| format!("reading from ffmpeg failed: {e}"))?;
        if pixels.len() == count { Ok(pixels) } else { Err(self.cut()) }
    }

    fn skip(&mut self, count: u64) -> Result<(), String> {
        let skipped = io::copy(&mut self.pictures.by_ref().take(count), &mut io::sink());
        let skipped = skipped.map_err(|e| format!("reading from ffmpeg failed: {e}"))?;
        if skipped == count { Ok(()) } else { Err(self.cut()) }
    }

    fn cut(&mut self) -> String {
        self.end().err().unwrap_or_else(|| "ffmpeg stopped inside a frame".to_owned())
    }

    /// Waits for the process; an error in its own words if it failed.
    fn end(&mut self) -> Result<(), String> {
        let status = self.child.wait().map_err(|e| format!("waiting for ffmpeg failed: {e}"))?;
        let words = self.words.take().and_then(|words| words.join().ok()).flatten();
        if status.success() { Ok(()) } else { Err(said(status, words.as_deref())) }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // It may be in the middle of the video. If it has ended, there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
