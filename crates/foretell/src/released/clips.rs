//! Which of the inputs are clips, and which are pictures.

use std::path::{Path, PathBuf};

use foretell_data::kind::foreign_folder;
use foretell_data::{Clip, FoundClips, open_inputs};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::output::counted;

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
    /// What the search of folders found besides.
    searched: FoundClips,
}

impl Found {
    /// Sorts one path in. For a model of clips, folders are searched for them, unless each picture is to be a row.
    pub(super) fn take(&mut self, path: &Path, of_clips: bool, images: bool) -> Result<(), Error> {
        if Clip::is_video(path) || of_clips && !images && Clip::is_animation(path) {
            self.inputs.push(Input::Clip(path.to_owned()));
        } else if of_clips && !images && path.is_dir() {
            if !self.search(path)? {
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
                let mut inside = FoundClips::default();
                if inside.search(folder).is_ok() && inside.folders == 0 && !inside.clips.is_empty() {
                    any = true;
                    inputs.extend(std::mem::take(&mut inside.clips).into_iter().map(Input::Clip));
                    self.searched.append(inside);
                    continue;
                }
            }
            inputs.push(input);
        }
        self.inputs = inputs;
        any
    }

    /// Adds the clips in a folder and in its folders; whether there are any.
    pub(crate) fn search(&mut self, folder: &Path) -> Result<bool, Error> {
        let mut inside = FoundClips::default();
        inside.search(folder)?;
        let any = !inside.clips.is_empty();
        self.inputs.extend(std::mem::take(&mut inside.clips).into_iter().map(Input::Clip));
        self.searched.append(inside);
        Ok(any)
    }

    /// A line for each thing that could have been meant otherwise.
    pub(super) fn notes(&self) -> Vec<String> {
        let folders = self.searched.first_folder.as_ref().map(|(first, images)| {
            let first = first.display();
            let images = counted(*images, "image");
            match self.searched.folders {
                1 => format!("{first}: its {images} are the frames of one clip (`--images`: a row for each)"),
                count => format!(
                    "{count} folders of images are a clip each, the first is {first} with {images} (`--images`: a row for each)"
                ),
            }
        });
        folders.into_iter().chain(self.searched.beside()).collect()
    }
}
