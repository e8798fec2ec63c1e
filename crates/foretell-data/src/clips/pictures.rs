//! Windows of several videos, decoded by one `ffmpeg`: starting it takes longer than decoding some seconds of a small video. It seeks
//! to each window, takes the frame that is shown at each of its moments and writes all of them, raw, into one Matroska stream, a track
//! for each window.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use super::check_size;
use super::ffmpeg::{for_lines, is_wrong, said, spawn, without_level};
use super::header::{number, varint};
use super::windows::HAIR;
use crate::Image;

/// What of a video is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) path: &'a Path,
    /// Seconds from its first frame.
    pub(super) start: f64,
}

/// How frames are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) frames: usize,
    pub(super) fps: f64,
    /// Larger frames are brought to this short side, in pixels.
    pub(super) short_side: usize,
}

/// Whether this ffmpeg writes raw frames into Matroska without being allowed to, as those before 4.3 do.
static OLDER: AtomicBool = AtomicBool::new(false);

/// The windows' frames, as many as there are; fewer than were wanted where a video ends before. With whatever ffmpeg complained of, which
/// may be any of the videos' fault.
pub(super) fn read(
    program: &Path,
    wanted: &[Wanted<'_>],
    taken: Taken,
) -> Result<(Vec<Vec<Image>>, Option<String>), String> {
    let read = once(program, wanted, taken);
    match read {
        Err(reason) if reason.contains("allow_raw_vfw") && !OLDER.swap(true, Ordering::Relaxed) => {
            once(program, wanted, taken)
        }
        read => read,
    }
}

fn once(program: &Path, wanted: &[Wanted<'_>], taken: Taken) -> Result<(Vec<Vec<Image>>, Option<String>), String> {
    let Taken { frames, fps, short_side } = taken;
    let mut command = Command::new(program);
    command.args(["-v", "level+error", "-nostats", "-nostdin", "-filter_complex_threads", "1"]);
    let mut graph = String::new();
    for (number, Wanted { path, start }) in wanted.iter().enumerate() {
        // From the key frame before, so that a frame which is shown for long is there; the filter drops what lies before.
        command.args(["-threads", "1", "-noaccurate_seek", "-ss", &format!("{:.6}", start + HAIR)]);
        let mut input = OsString::from("file:");
        input.push(path);
        // Nothing but this file is opened, whatever the container refers to.
        command.args(["-protocol_whitelist", "file", "-i"]).arg(input);
        // Square pixels, and no more of them than a view of its side can use.
        let shrink = format!("min(1,{}/min(iw*sar,ih))", short_side.min(1 << 20));
        let _ = write!(
            graph,
            "[{number}:v:0]fps=fps={fps}:round=up:start_time=0,trim=end_frame={frames},\
             scale=w='max(1,round(iw*sar*{shrink}))':h='max(1,round(ih*{shrink}))':flags=area,setsar=1[v{number}];"
        );
    }
    command.args(["-filter_complex", graph.trim_end_matches(';')]);
    for number in 0..wanted.len() {
        command.args(["-map", &format!("[v{number}]")]);
    }
    // Eight bits for each colour, whatever the video has: ten, twelve and sixteen are rounded by ffmpeg.
    command.args(["-c:v", "rawvideo", "-pix_fmt", "rgb24"]);
    if !OLDER.load(Ordering::Relaxed) {
        command.args(["-allow_raw_vfw", "1"]);
    }
    command.args(["-f", "matroska", "-"]);
    let mut child = spawn(command, Stdio::piped())?;
    let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("ffmpeg gives no output".to_owned());
    };
    // Read on the side, or a talkative ffmpeg would wait for a reader for ever.
    let words = std::thread::spawn(move || {
        let (mut wrong, mut last) = (None, None);
        let _ = for_lines(errors, |line| {
            let said = without_level(line.trim());
            if is_wrong(line) {
                wrong.get_or_insert_with(|| said.clone());
            }
            last = Some(said);
        });
        (wrong, last)
    });
    let mut stream = Stream { input: BufReader::with_capacity(1 << 18, output), sizes: Vec::new() };
    let mut windows = vec![Vec::with_capacity(frames); wanted.len()];
    let read = stream.read(&mut windows, frames);
    if read.is_err() {
        // It may be in the middle of a video, waiting for a reader.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| format!("waiting for ffmpeg failed: {e}"))?;
    let (wrong, last) = words.join().unwrap_or_default();
    read?;
    if !status.success() {
        return Err(said(status, wrong.as_deref().or(last.as_deref())));
    }
    Ok((windows, wrong))
}

/// The stream that ffmpeg writes.
struct Stream<R> {
    input: BufReader<R>,
    /// By track, from 1: width and height.
    sizes: Vec<(usize, usize)>,
}

impl<R: Read> Stream<R> {
    /// Gives each track's frames to its window.
    fn read(&mut self, windows: &mut [Vec<Image>], most: usize) -> Result<(), String> {
        const OUTER: [u64; 6] = [0x1853_8067, 0x1F43_B675, 0x1654_AE6B, 0xAE, 0xE0, 0xA0];
        let mut track = 0;
        while let Some(kind) = self.varint(true)? {
            let size = self.varint(false)?.ok_or("ffmpeg stopped inside a frame")?;
            if OUTER.contains(&kind) {
                continue;
            }
            match kind {
                // The number of a track, its width and its height.
                0xD7 => {
                    track = number(&self.bytes(size)?) as usize;
                    if (1..=windows.len()).contains(&track) && self.sizes.len() < track {
                        self.sizes.resize(track, (0, 0));
                    }
                }
                0xB0 | 0xBA => {
                    let side = number(&self.bytes(size)?) as usize;
                    if let Some(of) = track.checked_sub(1).and_then(|track| self.sizes.get_mut(track)) {
                        *(if kind == 0xB0 { &mut of.0 } else { &mut of.1 }) = side;
                        if of.0 > 0 && of.1 > 0 {
                            check_size(of.0, of.1)?;
                        }
                    }
                }
                // A frame: its track, two bytes of time, one of flags.
                0xA1 | 0xA3 => {
                    let Some(of) = self.varint(false)? else { return Err("ffmpeg stopped inside a frame".to_owned()) };
                    let _ = self.bytes(3)?;
                    let place = (of as usize).wrapping_sub(1);
                    let (width, height) = self.sizes.get(place).copied().unwrap_or((0, 0));
                    // A track's number below 128 takes a byte.
                    let rest = size.saturating_sub(3 + if of < 127 { 1 } else { 2 });
                    if rest != (3 * width * height) as u64 || rest == 0 {
                        return Err(format!(
                            "ffmpeg gives {rest} bytes for a frame of {width}×{height}: its frames are not of one size"
                        ));
                    }
                    let pixels = self.bytes(rest)?;
                    if let Some(window) = windows.get_mut(place).filter(|window| window.len() < most) {
                        window.push(Image { width, height, channels: 3, pixels });
                    }
                }
                _ => {
                    let skipped = std::io::copy(&mut self.input.by_ref().take(size), &mut std::io::sink());
                    skipped.map_err(|e| format!("reading from ffmpeg failed: {e}"))?;
                }
            }
        }
        Ok(())
    }

    /// A number of the format; `None` at the end.
    fn varint(&mut self, keeps_marker: bool) -> Result<Option<u64>, String> {
        let failed = |e: std::io::Error| format!("reading from ffmpeg failed: {e}");
        let mut bytes = [0; 8];
        if self.input.read(&mut bytes[..1]).map_err(failed)? == 0 {
            return Ok(None);
        }
        let count = bytes[0].leading_zeros() as usize + 1;
        if count > 8 {
            return Err("ffmpeg gives something else than Matroska".to_owned());
        }
        self.input.read_exact(&mut bytes[1..count]).map_err(failed)?;
        Ok(varint(&bytes[..count], keeps_marker).map(|(value, _)| value))
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::with_capacity(usize::try_from(count).map_err(|e| e.to_string())?.min(1 << 27));
        let read = self.input.by_ref().take(count).read_to_end(&mut bytes);
        read.map_err(|e| format!("reading from ffmpeg failed: {e}"))?;
        if bytes.len() as u64 == count { Ok(bytes) } else { Err("ffmpeg stopped inside a frame".to_owned()) }
    }
}
