//! Which of the inputs are clips, and which are pictures.

use std::fs;
use std::path::{Path, PathBuf};

use foretell_data::kind::foreign_folder;
use foretell_data::{Clip, open_inputs};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::output::counted;

/// How deep folders of clips are searched: deeper is most likely a loop of links.
const DEEPEST: usize = 16;
/// So many numbered images beside a video are the frames of a clip, and the video something about it.
const MANY_FRAMES: usize = 8;

/// What of a clip went into a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Counted from 0.
    frames: Vec<usize>,
    /// In seconds, of each of them; nothing where the clip does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<Vec<f64>>,
    /// What else to know of the clip, such as that it is cut.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl Moments {
    /// Of these frames.
    pub(super) fn of(clip: &Clip, frames: &[usize]) -> Self {
        let times = clip.times().map(|times| frames.iter().map(|frame| times[*frame]).collect());
        // Once for a clip, and not for each of its frames.
        let notes = if frames.len() > 1 { clip.notes().to_vec() } else { Vec::new() };
        Self { frames: frames.to_vec(), times, notes }
    }
}

/// What an input is.
#[derive(Debug)]
pub(super) enum Input {
    /// A picture, or a folder or an archive of pictures.
    Pictures(PathBuf),
    Clip(PathBuf),
}

/// What lies at the paths that were given.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order that they were given.
    pub(super) inputs: Vec<Input>,
    /// Folders whose images are the frames of one clip, and the images of the first.
    folders: (usize, Option<(PathBuf, usize)>),
    /// What lies beside clips and is left untouched: how many, what, and the first.
    beside: Vec<(&'static str, usize, PathBuf)>,
}

impl Found {
    /// Sorts one path in. For a model of clips, folders are searched for them, unless each picture is to be a row.
    pub(super) fn take(&mut self, path: &Path, of_clips: bool, images: bool) -> Result<(), Error> {
        if Clip::is_video(path) || of_clips && !images && Clip::is_animation(path) {
            self.inputs.push(Input::Clip(path.to_owned()));
        } else if of_clips && !images && path.is_dir() {
            let before = self.inputs.len();
            self.search(path, 0)?;
            if self.inputs.len() == before {
                if let Some(foreign) = foreign_folder(path) {
                    return Err(foreign.into());
                }
                return Err(Error::Misuse(format!(
                    "`{}` holds neither clips (GIF, animated WebP or PNG, y4m, .npy, video files) nor folders of frames (.jpg, .jpeg, .png, .webp)",
                    path.display()
                )));
            }
        } else {
            self.inputs.push(Input::Pictures(path.to_owned()));
        }
        Ok(())
    }

    /// The clips.
    pub(crate) fn clips(self) -> impl Iterator<Item = PathBuf> {
        self.inputs.into_iter().filter_map(|input| match input {
            Input::Clip(path) => Some(path),
            Input::Pictures(_) => None,
        })
    }

    /// Takes a folder that holds no pictures, but videos, for those; whether there was one.
    pub(super) fn films(&mut self) -> bool {
        let mut any = false;
        let mut inputs = Vec::new();
        for input in std::mem::take(&mut self.inputs) {
            if let Input::Pictures(folder) = &input
                && folder.is_dir()
                && open_inputs(std::slice::from_ref(folder)).is_err()
            {
                let mut inside = Self::default();
                if inside.search(folder, 0).is_ok() && inside.folders.0 == 0 && !inside.inputs.is_empty() {
                    any = true;
                    inputs.append(&mut inside.inputs);
                    self.beside.append(&mut inside.beside);
                    continue;
                }
            }
            inputs.push(input);
        }
        self.inputs = inputs;
        any
    }

    /// The clips in a folder and in its folders, in the order of their names. Where videos lie, the images beside them are none;
    /// where images lie alone, or many that are numbered, they are the frames of one clip.
    pub(crate) fn search(&mut self, folder: &Path, depth: usize) -> Result<(), Error> {
        let failed = |e: std::io::Error| Error::Misuse(format!("cannot read the folder {}: {e}", folder.display()));
        if depth > DEEPEST {
            return Err(Error::Misuse(format!(
                "{} is nested more than {DEEPEST} folders deep, which is most likely a loop of links",
                folder.display()
            )));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                entries.push(path);
            }
        }
        entries.sort();
        let kind = |path: &Path| {
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
        };
        let entries: Vec<(Kind, PathBuf)> = entries.into_iter().map(|path| (kind(&path), path)).collect();
        let of = |wanted: Kind| entries.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, path)| path);
        let (images, videos) = (of(Kind::Image).count(), of(Kind::Video).count());
        let numbered = of(Kind::Image).filter(|path| is_numbered(path)).count();
        let one_clip = images > 0 && (videos == 0 || numbered >= MANY_FRAMES && numbered > 4 * videos);
        if one_clip {
            self.inputs.push(Input::Clip(folder.to_owned()));
            self.folders.0 += 1;
            self.folders.1.get_or_insert_with(|| (folder.to_owned(), images));
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
                Kind::Folder => self.search(path, depth + 1)?,
                Kind::Video => self.inputs.push(Input::Clip(path.clone())),
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

    /// A line for each thing that could have been meant otherwise.
    pub(super) fn notes(&self) -> Vec<String> {
        let folders = self.folders.1.as_ref().map(|(first, images)| {
            let first = first.display();
            let images = counted(*images, "image");
            match self.folders.0 {
                1 => format!("{first}: its {images} are the frames of one clip (`--images`: a row for each)"),
                count => format!(
                    "{count} folders of images are a clip each, the first is {first} with {images} (`--images`: a row for each)"
                ),
            }
        });
        let beside = self.beside.iter().map(|(what, count, first)| {
            let are = if *count == 1 { "is" } else { "are" };
            format!("{} beside clips {are} left untouched, the first is {}", counted(*count, what), first.display())
        });
        folders.into_iter().chain(beside).collect()
    }
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

fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    ["jpg", "jpeg", "png", "webp"].contains(&extension.as_str())
}

fn is_numbered(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(|end: char| end.is_ascii_digit()))
}
