//! The clips in a folder and in its folders: video files, and folders whose images are the frames of one clip.

use std::fs;
use std::path::{Path, PathBuf};

use super::Clip;
use crate::DataError;
use crate::images::listing::is_hidden;

/// How deep folders are searched: deeper is most likely a loop of links.
const DEEPEST: usize = 16;
/// So many numbered images beside a video are the frames of a clip, and the video something about it.
const MANY_FRAMES: usize = 8;

/// What a search found.
#[derive(Debug, Default)]
pub struct FoundClips {
    /// Files, and folders of frames, in the order of their names.
    pub clips: Vec<PathBuf>,
    /// How many of them are folders of frames.
    pub folders: usize,
    /// The first of these, and how many images it holds.
    pub first_folder: Option<(PathBuf, usize)>,
    /// What lies beside clips and is left untouched: how many, what, and the first.
    beside: Vec<(&'static str, usize, PathBuf)>,
}

impl FoundClips {
    /// Adds the clips in a folder and in its folders. Where videos lie, the images beside them are none; where images lie alone, or
    /// many that are numbered, they are the frames of one clip.
    pub fn search(&mut self, folder: &Path) -> Result<(), DataError> {
        self.descend(folder, 0)
    }

    /// Whether a folder, or one in it, holds a video: a search that ends at the first.
    pub fn holds_video(folder: &Path) -> bool {
        fn below(folder: &Path, depth: usize) -> bool {
            if depth > DEEPEST {
                return false;
            }
            let mut entries = entries(folder).unwrap_or_default();
            // Files first: nearly always the answer lies there.
            entries.sort_by_key(|path| path.is_dir());
            entries.iter().any(|path| match kind(path) {
                Kind::Video => true,
                Kind::Folder => below(path, depth + 1),
                _ => false,
            })
        }
        below(folder, 0)
    }

    fn descend(&mut self, folder: &Path, depth: usize) -> Result<(), DataError> {
        if depth > DEEPEST {
            return Err(DataError::NotADataSet {
                path: folder.to_owned(),
                found: format!("it is nested more than {DEEPEST} folders deep, which is most likely a loop of links"),
            });
        }
        let entries: Vec<(Kind, PathBuf)> = entries(folder)?.into_iter().map(|path| (kind(&path), path)).collect();
        let of = |wanted: Kind| entries.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, path)| path);
        let (images, videos) = (of(Kind::Image).count(), of(Kind::Video).count());
        let numbered = of(Kind::Image).filter(|path| is_numbered(path)).count();
        let one_clip = images > 0 && (videos == 0 || numbered >= MANY_FRAMES && numbered > 4 * videos);
        if one_clip {
            self.clips.push(folder.to_owned());
            self.folders += 1;
            self.first_folder.get_or_insert_with(|| (folder.to_owned(), images));
            self.leave("video", of(Kind::Video));
            self.leave("folder", of(Kind::Folder));
        } else {
            self.leave("image", of(Kind::Image));
        }
        self.leave("array", of(Kind::Array));
        self.leave("endless link", of(Kind::Ring));
        if one_clip {
            return Ok(());
        }
        for (kind, path) in &entries {
            match kind {
                Kind::Folder => self.descend(path, depth + 1)?,
                Kind::Video => self.clips.push(path.clone()),
                _ => {}
            }
        }
        Ok(())
    }

    fn leave<'a>(&mut self, what: &'static str, mut paths: impl Iterator<Item = &'a PathBuf>) {
        let Some(first) = paths.next() else { return };
        let more = 1 + paths.count();
        match self.beside.iter_mut().find(|(known, ..)| *known == what) {
            Some((_, count, _)) => *count += more,
            None => self.beside.push((what, more, first.clone())),
        }
    }

    /// Adds what another search found.
    pub fn append(&mut self, mut other: Self) {
        self.clips.append(&mut other.clips);
        self.folders += other.folders;
        self.first_folder = self.first_folder.take().or(other.first_folder);
        for (what, count, first) in other.beside {
            match self.beside.iter_mut().find(|(known, ..)| *known == what) {
                Some((_, known, _)) => *known += count,
                None => self.beside.push((what, count, first)),
            }
        }
    }

    /// A line for each kind of things that lie beside clips.
    pub fn beside(&self) -> Vec<String> {
        let line = |(what, count, first): &(&'static str, usize, PathBuf)| {
            let (s, are) = if *count == 1 { ("", "is") } else { ("s", "are") };
            format!("{count} {what}{s} beside clips {are} left untouched, the first is {}", first.display())
        };
        self.beside.iter().map(line).collect()
    }
}

/// What lies in a folder, in the order of the names, without what is hidden.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::reading(folder, source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !is_hidden(&entry.file_name().to_string_lossy()) {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    /// A link to a folder that it lies in.
    Ring,
    Video,
    Image,
    /// A `.npy` file that can be no clip.
    Array,
    Other,
}

fn kind(path: &Path) -> Kind {
    if path.is_dir() {
        if Clip::is_ring(path) { Kind::Ring } else { Kind::Folder }
    } else if Clip::is_other_array(path) {
        Kind::Array
    } else if Clip::is_video(path) || Clip::is_animation(path) {
        Kind::Video
    } else if is_image(path) {
        Kind::Image
    } else {
        Kind::Other
    }
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    ["jpg", "jpeg", "png", "webp"].contains(&extension.as_str())
}

fn is_numbered(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(|end: char| end.is_ascii_digit()))
}
