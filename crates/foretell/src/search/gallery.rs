//! The pictures behind an index's names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use foretell_data::{Clip, DataError, Dataset, Film, Images, Modality, Part, Unit, open_inputs};
use foretell_eval::{Encoder, Samples};
use foretell_systems::family;

use super::index::{Index, Input};
use crate::Error;
use crate::released::{Found, film};

/// Where a name's picture lies.
enum Place {
    /// Input, and place in it.
    Picture(usize, usize),
    /// The clip's file or folder.
    Clip(PathBuf),
}

/// Samples that were embedded, whatever their kind.
enum Opened<'a> {
    /// As a run's encoder opens them.
    Samples(Box<dyn Samples + 'a>),
    /// As a published model's, or where no run is named.
    Images(Dataset),
}

impl Opened<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Samples(samples) => samples.len(),
            Self::Images(images) => images.len(Part::Train),
        }
    }

    fn name(&self, index: usize) -> Result<String, Error> {
        Ok(match self {
            Self::Samples(samples) => samples.meta(index)?.name,
            Self::Images(images) => images.name(Part::Train, index)?,
        })
    }

    fn film(&self, index: usize) -> Option<Film> {
        match self {
            Self::Samples(samples) => samples.shown(index),
            Self::Images(images) => Some(Film::still((*images.load(Part::Train, index).ok()?.image).clone())),
        }
    }
}

/// See the module.
pub(crate) struct Gallery<'a> {
    inputs: Vec<Opened<'a>>,
    /// By name.
    places: HashMap<String, Place>,
}

/// Inputs as they were given, with their places from the root of the file system.
pub(crate) fn located(given: &[PathBuf]) -> Result<Vec<Input>, Error> {
    let one = |path: &PathBuf| {
        let absolute = std::path::absolute(path)
            .map_err(|error| Error::Misuse(format!("`--data {}` cannot be found: {error}", path.display())))?;
        Ok(Input { given: path.display().to_string(), path: absolute })
    };
    given.iter().map(one).collect()
}

impl<'a> Gallery<'a> {
    /// Opens the samples that an index was made of, named as `embed` names them: as `encoder` does, or as images; among them
    /// `clips`, where it may hold such.
    pub(crate) fn open(inputs: &[Input], encoder: Option<&'a dyn Encoder>, clips: bool) -> Result<Self, Error> {
        let (mut opened, mut places) = (Vec::new(), HashMap::new());
        let several = inputs.iter().filter(|input| !clips || !Clip::is_video(&input.path)).count() > 1;
        for Input { given, path } in inputs {
            let found = if clips { clips_in(given, path)? } else { Vec::new() };
            let paths = std::slice::from_ref(path);
            let samples = match encoder {
                Some(encoder) => encoder.open(paths).map(Opened::Samples).map_err(Error::from),
                None => open_inputs(paths).map(Opened::Images).map_err(|error| of_others(path, error)),
            };
            let images = match samples {
                Err(_) if !found.is_empty() => None,
                samples => Some(samples?),
            };
            places.extend(found.into_iter().map(|(name, path)| (name, Place::Clip(path))));
            let Some(images) = images else { continue };
            for place in 0..images.len() {
                let name = images.name(place)?;
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

    /// What the samples are called.
    pub(crate) fn unit(&self) -> Unit {
        let unit = |opened: &Opened<'_>| match opened {
            Opened::Samples(samples) => samples.unit(),
            Opened::Images(_) => Images::UNIT,
        };
        self.inputs.first().map_or(Unit { one: "clip", many: "clips" }, unit)
    }

    /// An error if not one of the index's names is among the samples.
    pub(crate) fn check(&self, index: &Index) -> Result<(), Error> {
        if index.names.iter().any(|name| self.place(name).is_some()) {
            return Ok(());
        }
        let mut held: Vec<&String> = self.places.keys().collect();
        held.sort();
        let held = held.first().map_or("nothing", |name| name.as_str());
        Err(Error::Misuse(format!(
            "the index's names (the first is `{}`) are not those of the data (such as `{held}`): give `--data` as `foretell embed` was given them",
            index.names[0]
        )))
    }

    /// The picture of a name, of a clip some of its frames; none where it has gone or cannot be read.
    pub(crate) fn film(&self, name: &str) -> Option<Film> {
        match self.place(name)? {
            (Place::Picture(input, place), _) => self.inputs[*input].film(*place),
            (Place::Clip(path), None) => film(path),
            (Place::Clip(path), Some(frame)) => Clip::open(path).ok()?.read(&[frame]).ok()?.pop().map(Film::still),
        }
    }

    /// The samples among which a name's is, and its place there; none for clips.
    pub(crate) fn sample(&self, name: &str) -> Option<(&dyn Samples, usize)> {
        match self.place(name)? {
            (Place::Picture(input, place), _) => match &self.inputs[*input] {
                Opened::Samples(samples) => Some((samples.as_ref(), *place)),
                Opened::Images(_) => None,
            },
            (Place::Clip(_), _) => None,
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

/// Why a path holds no images: perhaps it holds what another kind of encoder learns from.
fn of_others(path: &Path, error: DataError) -> Error {
    match family::members().find(|member| member.unit() != Images::UNIT && member.recognises(path)) {
        Some(member) => Error::Misuse(format!(
            "`{}` holds {}: name the run whose encoder made the index with `--run RUN`",
            path.display(),
            member.unit().many
        )),
        None => error.into(),
    }
}

/// Clips at a path, or below it, with the names that `embed --model` gives them.
fn clips_in(given: &str, path: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Found::default();
    if Clip::is_video(path) || Clip::is_animation(path) {
        return Ok(vec![(given.to_owned(), path.to_owned())]);
    } else if path.is_dir() {
        found.search(path)?;
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
    Ok(found.clips().map(named).collect())
}
