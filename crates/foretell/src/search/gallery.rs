//! The pictures behind an index's names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use foretell_data::{Dataset, Image, Part, open_inputs};

use super::index::{Index, Input};
use crate::Error;

/// See the module.
pub(crate) struct Gallery {
    inputs: Vec<Dataset>,
    /// Input, and place in it, by name.
    places: HashMap<String, (usize, usize)>,
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
    /// Opens the images that an index was made of, named as `embed` names them.
    pub(crate) fn open(inputs: &[Input]) -> Result<Self, Error> {
        let (mut opened, mut places) = (Vec::new(), HashMap::new());
        for (at, Input { given, path }) in inputs.iter().enumerate() {
            let images = open_inputs(std::slice::from_ref(path))?;
            for place in 0..images.len(Part::Train) {
                let name = images.name(Part::Train, place)?;
                let name = if Path::new(&name) == path {
                    given.clone()
                } else if inputs.len() > 1 {
                    format!("{given}/{name}")
                } else {
                    name
                };
                places.entry(name).or_insert((at, place));
            }
            opened.push(images);
        }
        Ok(Self { inputs: opened, places })
    }

    /// An error if not one of the index's names is among the images.
    pub(crate) fn check(&self, index: &Index) -> Result<(), Error> {
        if index.names.iter().any(|name| self.places.contains_key(name)) {
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

    /// The picture of a name; none where it has gone or cannot be read.
    pub(crate) fn picture(&self, name: &str) -> Option<Image> {
        let (input, place) = self.places.get(name)?;
        let sample = self.inputs[*input].load(Part::Train, *place).ok()?;
        Some((*sample.image).clone())
    }
}
