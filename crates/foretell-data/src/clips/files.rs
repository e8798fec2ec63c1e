//! Windows of clips in files: read when they are asked for, as many files and decoders open at once as a setting says, and kept in
//! memory as far as another says.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::listing::{ClipFile, Listing, Looking, Seen};
use super::pictures::{self, Taken, Wanted};
use super::sample::ClipSample;
use super::windows::{Cut, HAIR, shown};
use super::{Clip, Cursor, ffmpeg};
use crate::cache::Cache;
use crate::images::transform::shrink;
use crate::modality::{Meta, Part};
use crate::{DataError, FULL_RANGE, Image};

/// A video may end by so many seconds, or by such a part of it, before its header says: sound goes on behind the pictures.
const EARLY: (f64, f64) = (1.0, 0.1);

/// Windows that one decoder process reads: more gain nothing.
const TOGETHER: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    parts: [Windows; 2],
    cut: Cut,
    /// Larger frames are brought to this short side: a crop of half of it is as sharp.
    short_side: usize,
    looking: Looking,
    handles: Handles,
    permits: Permits,
    cache: Cache<ClipSample>,
}

/// The windows of a part's clips.
#[derive(Debug)]
struct Windows {
    clips: Vec<ClipFile>,
    /// The first window of each clip, and how many there are in all.
    first: Vec<usize>,
}

impl Windows {
    fn of(clips: Vec<ClipFile>, cut: Cut) -> Self {
        let mut first = vec![0];
        for clip in &clips {
            // What cannot be read is a sample that cannot be read.
            let count = clip.seen.as_ref().map_or(1, |seen| cut.count(seen.extent));
            first.push(first.last().copied().unwrap_or(0) + count);
        }
        Self { clips, first }
    }

    fn len(&self) -> usize {
        self.first.last().copied().unwrap_or(0)
    }

    /// A window's clip, its number there, and how many there are.
    fn place(&self, index: usize) -> (usize, usize, usize) {
        let clip = self.first.partition_point(|first| *first <= index) - 1;
        (clip, index - self.first[clip], self.first[clip + 1] - self.first[clip])
    }
}

/// A window that is to be read.
struct Window<'a> {
    clip: &'a ClipFile,
    seen: Seen,
    start: f64,
}

impl Files {
    pub(super) fn new(
        listing: Listing,
        cut: Cut,
        short_side: usize,
        looking: Looking,
        cache: usize,
        open_files: usize,
    ) -> Self {
        let parts = [Windows::of(listing.train, cut), Windows::of(listing.held_out, cut)];
        let cache = Cache::new(parts[0].len(), cache);
        let (handles, permits) = (Handles::new(open_files), Permits::new(open_files));
        Self { parts, cut, short_side, looking, handles, permits, cache }
    }

    fn part(&self, part: Part) -> &Windows {
        &self.parts[usize::from(part == Part::HeldOut)]
    }

    pub(super) fn len(&self, part: Part) -> usize {
        self.part(part).len()
    }

    /// Clips of a part that have a window.
    pub(super) fn clips(&self, part: Part) -> usize {
        self.part(part).first.windows(2).filter(|pair| pair[1] > pair[0]).count()
    }

    /// Of a clip of several windows, the name has the second at which it begins.
    pub(super) fn meta(&self, part: Part, index: usize) -> Meta {
        let windows = self.part(part);
        let (place, window, count) = windows.place(index);
        let clip = &windows.clips[place];
        let before = if part == Part::HeldOut { self.parts[0].clips.len() } else { 0 };
        let name = match &clip.seen {
            Ok(seen) if count > 1 => {
                let start = self.cut.start(seen.extent, window, count);
                format!("{}@{}s", clip.name, super::moments::seconds(start))
            }
            _ => clip.name.clone(),
        };
        Meta {
            name,
            labels: clip.labels.to_vec(),
            group: Some((before + place) as u32),
            bytes: Some(clip.bytes),
            ..Meta::default()
        }
    }

    fn window(&self, part: Part, index: usize) -> Result<Window<'_>, DataError> {
        let windows = self.part(part);
        let (place, window, count) = windows.place(index);
        let clip = &windows.clips[place];
        let seen = clip.seen.as_ref().map_err(|reason| bad(clip, reason.clone()))?;
        Ok(Window { clip, seen: *seen, start: self.cut.start(seen.extent, window, count) })
    }

    /// The windows at these places: those that ffmpeg decodes several at a time.
    pub(super) fn load(&self, part: Part, indices: &[usize]) -> Vec<Result<ClipSample, DataError>> {
        let kept = |index: usize| if part == Part::Train { self.cache.get(index) } else { None };
        let mut found: Vec<Option<Result<ClipSample, DataError>>> =
            indices.iter().map(|index| kept(*index).map(Ok)).collect();
        let mut together: Vec<(usize, Window<'_>)> = Vec::new();
        for (place, &index) in
            indices.iter().enumerate().filter(|(place, _)| found[*place].is_none()).collect::<Vec<_>>()
        {
            match self.window(part, index) {
                Ok(window) if window.seen.decoded => together.push((place, window)),
                Ok(window) => found[place] = Some(self.read(&window)),
                Err(error) => found[place] = Some(Err(error)),
            }
        }
        // As many for each thread as leave decoders for the others.
        let most = (self.permits.most / self.looking.threads.max(1)).clamp(1, TOGETHER);
        for group in together.chunks(most) {
            let windows: Vec<&Window<'_>> = group.iter().map(|(_, window)| window).collect();
            for ((place, _), sample) in group.iter().zip(self.decode(&windows)) {
                found[*place] = Some(sample);
            }
        }
        let samples = found.into_iter().zip(indices).map(|(sample, &index)| {
            let sample = sample.unwrap_or(Err(DataError::NoInputs))?;
            if part == Part::Train {
                let bytes = sample.frames.iter().map(|frame| frame.pixels.len()).sum();
                self.cache.keep(index, bytes, &sample);
            }
            Ok(sample)
        });
        samples.collect()
    }

    /// From a file that is read here.
    fn read(&self, window: &Window<'_>) -> Result<ClipSample, DataError> {
        let handle = self.handles.get(&window.clip.path, &self.looking.program)?;
        let mut handle = lock(&handle);
        let (clip, cursor) = &mut *handle;
        let last = clip.frames() - 1;
        let frames: Vec<usize> = self
            .cut
            .moments(window.start)
            .map(|moment| match clip.times() {
                Some(times) => shown(times, moment),
                None => (((moment + HAIR) * self.looking.assumed_fps) as usize).min(last),
            })
            .collect();
        // A moment behind the end has the last frame.
        let frames = clip.read_on(&frames, cursor)?;
        Ok(ClipSample::new(frames.into_iter().map(|frame| shrink(frame, self.short_side)).collect()))
    }

    /// By one decoder for all; one after the other if anything is wrong, so that it is told of the right one.
    fn decode(&self, windows: &[&Window<'_>]) -> Vec<Result<ClipSample, DataError>> {
        let permit = self.permits.take(windows.len());
        let read = self.pictures(windows);
        drop(permit);
        match read {
            Ok((frames, None)) => {
                windows.iter().zip(frames).map(|(window, frames)| self.complete(window, frames)).collect()
            }
            Ok(_) if windows.len() == 1 => vec![Err(self.damaged(windows[0]))],
            Err(reason) if windows.len() == 1 => vec![Err(bad(windows[0].clip, reason))],
            Ok(_) | Err(_) => windows.iter().flat_map(|window| self.decode(&[window])).collect(),
        }
    }

    fn pictures(&self, windows: &[&Window<'_>]) -> Result<(Vec<Vec<Image>>, Option<String>), String> {
        let Self { cut: Cut { frames, fps, .. }, short_side, .. } = *self;
        let wanted: Vec<Wanted<'_>> =
            windows.iter().map(|window| Wanted { path: &window.clip.path, start: window.start }).collect();
        pictures::read(&self.looking.program, &wanted, Taken { frames, fps, short_side })
    }

    /// All frames of a window: behind the end of a clip its last one is repeated.
    fn complete(&self, window: &Window<'_>, mut frames: Vec<Image>) -> Result<ClipSample, DataError> {
        let extent = window.seen.extent;
        let reached = window.start + frames.len() as f64 / self.cut.fps;
        let early = EARLY.0.max(EARLY.1 * extent.seconds());
        let Some(last) =
            frames.last().cloned().filter(|_| frames.len() >= self.cut.frames || reached + early >= extent.seconds())
        else {
            return Err(self.damaged(window));
        };
        frames.resize(self.cut.frames, last);
        Ok(ClipSample::new(frames))
    }

    /// What is wrong with a window: how many of its frames are there.
    fn damaged(&self, window: &Window<'_>) -> DataError {
        let Seen { extent, .. } = window.seen;
        let seconds = (self.cut.frames as f64 / self.cut.fps).min(extent.seconds() - window.start);
        let program: &Path = &self.looking.program;
        let said = ffmpeg::between(program, &window.clip.path, window.start, seconds, extent.fps);
        let (Ok(reason) | Err(reason)) = said;
        bad(window.clip, reason)
    }
}

fn bad(clip: &ClipFile, reason: String) -> DataError {
    DataError::BadClip { name: clip.name.clone(), reason }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clips that are open, with where reading them has come to; the one that was not asked for longest is closed.
#[derive(Debug)]
struct Handles {
    most: usize,
    open: Mutex<Vec<(PathBuf, Handle)>>,
}

type Handle = Arc<Mutex<(Clip, Cursor)>>;

impl Handles {
    fn new(most: usize) -> Self {
        Self { most: most.max(1), open: Mutex::default() }
    }

    fn get(&self, path: &Path, program: &Path) -> Result<Handle, DataError> {
        {
            let mut open = lock(&self.open);
            if let Some(at) = open.iter().position(|(of, _)| of == path) {
                let entry = open.remove(at);
                let handle = Arc::clone(&entry.1);
                open.push(entry);
                return Ok(handle);
            }
        }
        let clip = Clip::open_with(path, FULL_RANGE, program)?;
        let handle = Arc::new(Mutex::new((clip, Cursor::default())));
        let mut open = lock(&self.open);
        open.push((path.to_owned(), Arc::clone(&handle)));
        let above = open.len().saturating_sub(self.most);
        open.drain(..above);
        Ok(handle)
    }
}

/// How many decoders may be open.
#[derive(Debug)]
struct Permits {
    most: usize,
    left: Mutex<usize>,
    more: Condvar,
}

/// Decoders that are open while this is there.
struct Permit<'a>(&'a Permits, usize);

impl Permits {
    fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, left: Mutex::new(most), more: Condvar::new() }
    }

    /// Waits for so many, which are at most as many as there are.
    fn take(&self, count: usize) -> Permit<'_> {
        let mut left = lock(&self.left);
        while *left < count {
            left = self.more.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= count;
        Permit(self, count)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.left) += self.1;
        self.0.more.notify_all();
    }
}
