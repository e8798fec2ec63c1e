//! Videos in containers, decoded by an installed `ffmpeg` in a process of its own: it writes one PPM picture after the other
//! into a pipe, which says its own size, upright and in the video's own colours.

use std::ffi::OsString;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use super::{Extent, Wanted, check_size};
use crate::Image;

/// What of ffmpeg's own words is kept.
const WORDS: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub(super) struct Decoded {
    path: PathBuf,
    program: PathBuf,
}

impl Decoded {
    /// Decodes the video once to count its frames: containers only estimate them.
    pub(super) fn open(path: &Path, program: &Path) -> Result<(Self, Extent), String> {
        let decoded = Self { path: path.to_owned(), program: program.to_owned() };
        let mut pipe = Pipe::start(&decoded)?;
        let (mut frames, mut size) = (0, (0, 0));
        while let Some((width, height)) = pipe.header()? {
            pipe.skip(3 * width as u64 * height as u64)?;
            (frames, size) = (frames + 1, (width, height));
        }
        pipe.end()?;
        if frames == 0 {
            return Err("ffmpeg finds no frame in it".to_owned());
        }
        Ok((decoded, (frames, size.0, size.1)))
    }

    pub(super) fn read(&self, wanted: &[usize]) -> Result<Vec<Image>, String> {
        let mut wanted = Wanted::new(wanted);
        let mut pipe = Pipe::start(self)?;
        let mut frame = 0;
        while !wanted.is_served() {
            let Some((width, height)) = pipe.header()? else {
                pipe.end()?;
                break;
            };
            if wanted.wants(frame) {
                let pixels = pipe.pixels(3 * width * height)?;
                wanted.give(frame, &Image { width, height, channels: 3, pixels });
            } else {
                pipe.skip(3 * width as u64 * height as u64)?;
            }
            frame += 1;
        }
        wanted.images()
    }
}

/// The running process. It is ended when this is dropped.
struct Pipe {
    child: Child,
    pictures: BufReader<ChildStdout>,
    words: Option<JoinHandle<String>>,
}

impl Pipe {
    fn start(video: &Decoded) -> Result<Self, String> {
        let mut input = OsString::from("file:");
        input.push(&video.path);
        let mut command = Command::new(&video.program);
        // Nothing but this file is opened, whatever the container refers to.
        command.args(["-v", "error", "-nostdin", "-protocol_whitelist", "file", "-i"]).arg(input);
        command.args(["-map", "0:v:0", "-fps_mode", "passthrough", "-c:v", "ppm", "-f", "image2pipe", "-"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                "decoding it takes `ffmpeg`, which is not installed here (not on the PATH): install it (`apt install ffmpeg`, `brew install ffmpeg`), or give a folder of frames, a GIF, a y4m or an .npy file instead".to_owned()
            } else {
                format!("`{}` cannot be started: {error}", video.program.display())
            }
        })?;
        let (Some(pictures), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("ffmpeg gives no output".to_owned());
        };
        // Read on the side, or a talkative ffmpeg would wait for a reader for ever.
        let words = std::thread::spawn(move || {
            let mut kept = Vec::new();
            let mut errors = errors;
            let _ = errors.by_ref().take(WORDS).read_to_end(&mut kept);
            let _ = io::copy(&mut errors, &mut io::sink());
            String::from_utf8_lossy(&kept).into_owned()
        });
        Ok(Self { child, pictures: BufReader::with_capacity(1 << 16, pictures), words: Some(words) })
    }

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
        let words = self.words.take().and_then(|words| words.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let last = words.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("without a word");
        Err(format!("ffmpeg cannot decode it ({status}): {last}"))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // It may be in the middle of the video. If it has ended, there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
