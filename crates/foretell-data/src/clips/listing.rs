//! Which clips lie at a path, in which part, with which labels, and how long each is. No clip is decoded for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ffmpeg::about;
use super::windows::Extent;
use super::{Clip, FoundClips, header, list};
use crate::images::groups::apart;
use crate::images::labels::Factor;
use crate::images::listing::{Found, Place};
use crate::images::recognise::{Extent as Whose, Reading, arranged, labelled};
use crate::images::records::{Content, Contents, Entry};
use crate::images::tables;
use crate::kind::foreign_folder;
use crate::ordered::Ordered;
use crate::{DataError, FULL_RANGE};

/// One clip.
#[derive(Clone, Debug)]
pub(super) struct ClipFile {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Of its file, or how many frames lie in its folder.
    pub(super) bytes: u64,
    pub(super) labels: Box<[u32]>,
    /// How long it is, or why it cannot be read.
    pub(super) seen: Result<Seen, String>,
}

/// What is known of a clip without decoding it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) extent: Extent,
    /// Whether ffmpeg decodes it.
    pub(super) decoded: bool,
    /// Width and height, where no decoder had to be asked.
    pub(super) size: Option<(usize, usize)>,
}

/// The clips at a path.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) format: String,
    pub(super) split: String,
    pub(super) notes: Vec<String>,
    pub(super) factors: Vec<Factor>,
    pub(super) train: Vec<ClipFile>,
    pub(super) held_out: Vec<ClipFile>,
}

/// How clips are looked at.
#[derive(Clone, Debug)]
pub(super) struct Looking {
    pub(super) program: PathBuf,
    /// Frames in a second of clips that say nothing of their time.
    pub(super) assumed_fps: f64,
    pub(super) threads: usize,
}

impl Listing {
    /// The clips of a folder, of a list, or one alone.
    pub(super) fn open(path: &Path, reading: Reading<'_>, looking: &Looking) -> Result<Self, DataError> {
        let mut told = Vec::new();
        let Gathered { kind, clips, others, texts } = gather(path, &mut told)?;
        let (clips, texts, column) = if let Some(texts) = texts {
            (clips, Some(texts), String::new())
        } else {
            let found = match tables::labels(&clips, &others, reading.label) {
                // What is embedded needs no labels.
                Err(_) if reading.extent == Whose::Whole => tables::Tables::default(),
                found => found?,
            };
            told.extend(found.notes);
            let (clips, texts) = labelled(clips, found.texts, reading, &mut told);
            (clips, texts, found.column)
        };
        let mut contents = arranged(clips, texts, &column, reading, told);
        if reading.extent == Whose::Whole {
            contents = contents.merged();
        } else if !reading.group.is_empty() {
            apart(&mut contents, reading.group)?;
        }
        let Contents { format, split, notes, factors, train, held_out } = contents;
        let words = |text: String| text.replace(" images", " clips").replace("images ", "clips ");
        let [train, held_out] = [train, held_out].map(|entries| look(entries, looking));
        Ok(Self {
            format: format!("{kind} with {}", words(format)),
            split,
            notes: notes.into_iter().map(words).collect(),
            factors,
            train,
            held_out,
        })
    }

    /// One listing behind the other, all to be embedded.
    pub(super) fn of_paths(paths: &[PathBuf], reading: Reading<'_>, looking: &Looking) -> Result<Self, DataError> {
        let mut all = Self::default();
        for path in paths {
            let mut one = Self::open(path, reading, looking)?;
            if paths.len() > 1 {
                let whole = path.display().to_string();
                for clip in one.train.iter_mut().filter(|clip| clip.path != *path) {
                    clip.name = format!("{whole}/{}", clip.name);
                }
                // Classes of several inputs are not matched.
                one.factors.clear();
                one.train.iter_mut().for_each(|clip| clip.labels = Box::default());
            }
            all.factors = one.factors;
            all.notes.append(&mut one.notes);
            all.train.append(&mut one.train);
        }
        if paths.is_empty() {
            return Err(DataError::NoInputs);
        }
        Ok(Self { format: "clips".to_owned(), split: "all in one part".to_owned(), ..all })
    }

    /// The clips of both parts.
    pub(super) fn all(&self) -> impl Iterator<Item = &ClipFile> {
        self.train.iter().chain(&self.held_out)
    }
}

/// Whether clips lie at a path: a video, a list, or a folder with a video. Folders of pictures alone may be anything.
pub(super) fn recognised(path: &Path) -> bool {
    if path.is_dir() {
        foreign_folder(path).is_none() && FoundClips::holds_video(path)
    } else {
        Clip::is_video(path) || list::is_list(path)
    }
}

/// What lies at a path.
struct Gathered {
    kind: &'static str,
    clips: Vec<Found>,
    /// Tables.
    others: Vec<Found>,
    /// Labels of a list.
    texts: Option<Vec<String>>,
}

fn gather(path: &Path, told: &mut Vec<String>) -> Result<Gathered, DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::reading(path, source))?;
    let found = |name: String, path: PathBuf| {
        // A folder's own length says nothing of what lies in it.
        let size = if path.is_dir() {
            fs::read_dir(&path).map_or(0, |entries| entries.count() as u64)
        } else {
            fs::metadata(&path).map_or(0, |metadata| metadata.len())
        };
        Found { path: name, place: Place::File { path, size } }
    };
    let own_name = || path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    if metadata.is_dir() {
        let mut inside = FoundClips::default();
        inside.search(path)?;
        if inside.clips.is_empty() {
            if let Some(foreign) = foreign_folder(path) {
                return Err(foreign);
            }
            return Err(DataError::NotADataSet {
                path: path.to_owned(),
                found: "it holds neither clips (GIF, animated WebP or PNG, y4m, .npy, video files) nor folders of frames (.jpg, .jpeg, .png, .webp)".to_owned(),
            });
        }
        told.extend(inside.beside());
        if let Some((first, images)) = &inside.first_folder {
            told.push(format!(
                "{} of frames, the first `{}` of {images}",
                if inside.folders == 1 {
                    "1 clip is a folder".to_owned()
                } else {
                    format!("{} clips are folders", inside.folders)
                },
                first.strip_prefix(path).unwrap_or(first).display()
            ));
        }
        let name = |clip: &Path| {
            let below = clip.strip_prefix(path).unwrap_or(clip);
            let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if parts.is_empty() { own_name() } else { parts.join("/") }
        };
        let tables =
            inside.clips.iter().flat_map(|clip| clip.ancestors().skip(1).take_while(|above| above.starts_with(path)));
        let mut folders: Vec<PathBuf> = tables.map(Path::to_owned).collect();
        folders.sort();
        folders.dedup();
        let tables = folders.iter().flat_map(|folder| ["metadata.csv", "metadata.jsonl"].map(|name| folder.join(name)));
        let others = tables.filter(|table| table.is_file()).map(|table| found(name(&table), table)).collect();
        let clips = inside.clips.into_iter().map(|clip| found(name(&clip), clip)).collect();
        return Ok(Gathered { kind: "a folder", clips, others, texts: None });
    }
    if Clip::is_video(path) || Clip::is_animation(path) {
        let clips = vec![found(path.display().to_string(), path.to_owned())];
        return Ok(Gathered { kind: "one file", clips, others: Vec::new(), texts: None });
    }
    if !list::is_list(path) {
        // What it is, or what is wrong with it.
        Clip::open(path)?;
    }
    let listed = list::read(path)?;
    let texts: Option<Vec<String>> = listed.iter().map(|line| line.label.clone()).collect();
    let clips = listed.into_iter().map(|line| found(line.name, line.path)).collect();
    Ok(Gathered { kind: "a list", clips, others: Vec::new(), texts })
}

/// Entries as clips, looked at by several threads.
fn look(entries: Vec<Entry>, looking: &Looking) -> Vec<ClipFile> {
    const CHUNK: usize = 8;
    let clip = |entry: Entry| {
        let Entry { name, size, labels, content } = entry;
        let path = match content {
            Content::Encoded(Place::File { path, .. }) => path,
            _ => PathBuf::new(),
        };
        ClipFile { name, path, bytes: size, labels, seen: Err(String::new()) }
    };
    let mut clips: Vec<ClipFile> = entries.into_iter().map(clip).collect();
    let paths: Arc<[PathBuf]> = clips.iter().map(|clip| clip.path.clone()).collect();
    let (own, count) = (looking.clone(), clips.len());
    let work = move |chunk: u64| -> Vec<Result<Seen, String>> {
        let first = chunk as usize * CHUNK;
        paths[first..count.min(first + CHUNK)].iter().map(|path| see(path, &own)).collect()
    };
    let threads = looking.threads.max(1);
    let mut seen = Ordered::start(threads, 2 * threads, 0, count.div_ceil(CHUNK) as u64, work);
    let mut places = clips.iter_mut();
    while let Some(chunk) = seen.next() {
        for (seen, clip) in chunk.into_iter().zip(places.by_ref()) {
            clip.seen = seen;
        }
    }
    clips
}

/// How long a clip is.
fn see(path: &Path, looking: &Looking) -> Result<Seen, String> {
    let assumed = looking.assumed_fps;
    if Clip::is_container(path) {
        let (seconds, fps, size) = if let Some(length) = header::length(path) {
            (length.seconds, length.fps, None)
        } else {
            let about = about(&looking.program, path)?;
            let seconds = about.seconds.ok_or("its container does not say how long it is: copy it into another one with `ffmpeg -i IN -c copy OUT.mkv`")?;
            (seconds, about.fps, Some(about.size))
        };
        let fps = fps.unwrap_or(assumed);
        let extent = Extent { last: (seconds - 1.0 / fps).max(0.0), fps };
        return Ok(Seen { extent, decoded: true, size });
    }
    let clip = Clip::open_with(path, FULL_RANGE, &looking.program).map_err(|error| match error {
        DataError::BadClip { reason, .. } => reason,
        other => other.to_string(),
    })?;
    let last = match clip.times() {
        Some(times) => times[times.len() - 1] - times[0],
        None => (clip.frames() - 1) as f64 / assumed,
    };
    let fps = if last > 0.0 { (clip.frames() - 1) as f64 / last } else { assumed };
    let extent = Extent { last, fps };
    Ok(Seen { extent, decoded: clip.is_decoded(), size: Some((clip.width(), clip.height())) })
}
