//! The pictures behind an index's names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use foretell_data::{Clip, Dataset, Image, Part, open_inputs};

use super::index::{Index, Input};
use crate::Error;
use crate::released::{find_clips, middle};

/// Where a name's picture lies.
enum Place {
    /// Input, and place in it.
    Picture(usize, usize),
    /// The clip's file or folder.
    Clip(PathBuf),
}

/// See the module.
pub(crate) struct Gallery {
    inputs: Vec<Dataset>,
    /// By name.
    places: HashMap<String, Place>,
}

/// Inputs as they were given, with their places from the root of the file system.
pub(crate) fn located(given: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let one = |path: &PathBuf| {
        let absolute = std::path::absolute(path)
            .map_err(|error| Error::Misuse(format!("`--images {}` cannot be found: {error}", path.display())))?;
        Ok(Input { given: path.display().to_string(), path: absolute })
    };
    given.iter().map(one).collect()
}

impl Gallery {
    /// Opens the images that an index was made of, named as `embed` names them; among them `clips`, where it may hold such.
    pub(crate) fn open(inputs: &[Input], clips: bool) -> Result<Self, Error> {
        let (mut opened, mut places) = (Vec::new(), HashMap::new());
        let several = inputs.iter().filter(|input| !clips || !Clip::is_video(&input.path)).count() > 1;
        for Input { given, path } in inputs {
            let found = if clips { clips_in(given, path)? } else { Vec::new() };
            let images = match open_inputs(std::slice::from_ref(path)) {
                Err(_) if !found.is_empty() => None,
                images => Some(images?),
            };
            places.extend(found.into_iter().map(|(name, path)| (name, Place::Clip(path))));
            let Some(images) = images else { continue };
            for place in 0..images.len(Part::Train) {
                let name = images.name(Part::Train, place)?;
                let name = if Path::new(&name) == path {
                    given.clone()
                } else if several {
                    format!("{given}/{name}")
                } else {
                    name
                };
                places.entry(name).or_insert(Place::Picture(opened.len(), place));
            }
            opened.push(images);
        }
        Ok(Self { inputs: opened, places })
    }

    /// An error if not one of the index's names is among the images.
    pub(crate) fn check(&self, index: &Index) -> Result<(), Error> {
        if index.names.iter().any(|name| self.place(name).is_some()) {
            return Ok(());
        }
        let mut held: Vec<&String> = self.places.keys().collect();
        held.sort();
        let held = held.first().map_or("nothing", |name| name.as_str());
        Err(Error::Misuse(format!(
            "the index's names (the first is `{}`) are not those of the images (such as `{held}`): give `--images` as `foretell embed` was given them",
            index.names[0]
        )))
    }

    /// The picture of a name, of a clip its middle frame; none where it has gone or cannot be read.
    pub(crate) fn picture(&self, name: &str) -> Option<Image> {
        match self.place(name)? {
            (Place::Picture(input, place), _) => {
                let sample = self.inputs[*input].load(Part::Train, *place).ok()?;
                Some((*sample.image).clone())
            }
            (Place::Clip(path), None) => middle(path),
            (Place::Clip(path), Some(frame)) => Clip::open(path).ok()?.read(&[frame]).ok()?.pop(),
        }
    }

    /// Where it lies; of `clip.gif#7` also the frame.
    fn place(&self, name: &str) -> Option<(&Place, Option<usize>)> {
        let frame = || {
            let (clip, frame) = name.rsplit_once('#')?;
            Some((self.places.get(clip)?, Some(frame.parse().ok()?)))
        };
        self.places.get(name).map(|place| (place, None)).or_else(frame)
    }
}

/// Clips at a path, or below it, with the names that `embed --model` gives them.
fn clips_in(given: &str, path: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut clips = Vec::new();
    if Clip::is_video(path) {
        clips.push(path.to_owned());
    } else if path.is_dir() {
        find_clips(path, 0, &mut clips)?;
    }
    let named = |clip: PathBuf| {
        let below = clip.strip_prefix(path).unwrap_or(&clip);
        let name = if below.as_os_str().is_empty() {
            given.to_owned()
        } else {
            Path::new(given).join(below).display().to_string()
        };
        (name, clip)
    };
    Ok(clips.into_iter().map(named).collect())
}
