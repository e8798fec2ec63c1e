//! What makes a query's features: the run or the published model that made an index's rows.

use std::fs;
use std::path::{Path, PathBuf};

use foretell_data::{Dataset, Image, Part, fit, open_inputs};
use foretell_eval::Features;

use super::index::mark;
use crate::images::judge::{Extractor, Pool};
use crate::images::kept::Kept;
use crate::released::MadeBy;
use crate::{DeviceChoice, Error};

/// A row is its picture's if their cosine is at least this: rounding apart, it is 1.
const SAME: f64 = 0.999;

/// What is sought, as it came from files.
pub(crate) struct Asked {
    pub(crate) names: Vec<String>,
    pub(crate) features: Features,
    /// What each looks like, where that can be shown and was asked for.
    pub(crate) pictures: Vec<Option<Image>>,
}

/// Features `width` wide of pictures or clips by the published model that made the index's rows.
pub(crate) fn by_model(
    made_by: &MadeBy,
    paths: &[PathBuf],
    width: usize,
    device: DeviceChoice,
    show: bool,
) -> Result<Asked, Error> {
    let device = device.open()?;
    let published = made_by.open(&device)?;
    let inputs = made_by.inputs(paths, &published)?;
    let features = made_by.features(&inputs, &published, &device)?;
    if features.dim != width {
        return Err(Error::Misuse(format!(
            "the index's rows are {width} wide, and {} makes features of width {}: embed again",
            made_by.model().display(),
            features.dim
        )));
    }
    let names = (0..inputs.len()).map(|i| inputs.name(i)).collect::<Result<Vec<_>, _>>()?;
    let pictures = if show { (0..inputs.len()).map(|i| inputs.picture(i)).collect() } else { Vec::new() };
    Ok(Asked { names, features, pictures })
}

/// The run that made an index's rows.
pub(crate) struct Maker {
    kept: Kept,
    /// [`mark`] of the encoder's file.
    pub(crate) encoder: String,
}

impl Maker {
    /// Opens a run.
    pub(crate) fn open(run: &Path, device: DeviceChoice) -> Result<Self, Error> {
        let kept = Kept::open(run, device.open()?)?;
        let file = kept.folder.encoder();
        let bytes =
            fs::read(&file).map_err(|error| Error::Misuse(format!("{} cannot be read: {error}", file.display())))?;
        Ok(Self { kept, encoder: mark(&bytes) })
    }

    /// Features `width` wide of the pictures at these paths.
    pub(crate) fn asked(&self, paths: &[PathBuf], width: usize) -> Result<Asked, Error> {
        let (names, images): (Vec<_>, Vec<_>) = load(&open_inputs(paths)?)?.into_iter().unzip();
        let features = self.features(&images, width)?;
        Ok(Asked { names, features, pictures: images.into_iter().map(Some).collect() })
    }

    /// Features `[images, width]` of pictures: their tokens' mean or, where only that has the width, what probes are given.
    fn features(&self, images: &[Image], width: usize) -> Result<Features, Error> {
        let mut found = Vec::new();
        for pool in [Pool::Image, Pool::Probed] {
            let normalise = &self.kept.recipe.over.data.normalise;
            let mut extractor = Extractor::new(self.kept.encoder.as_ref(), normalise, &self.kept.device, pool);
            let side = self.kept.encoder.image().0;
            let mut values: Vec<f32> =
                images.iter().filter_map(|image| extractor.push(&fit(image, side))).flatten().collect();
            values.extend(extractor.flush());
            let own = values.len() / images.len().max(1);
            if own == width {
                return Ok(Features::new(images.len(), width, values)?);
            }
            found.push(own.to_string());
        }
        Err(Error::Misuse(format!(
            "the index's rows are {width} wide, and {} makes features of width {} (or {} with `--probed`): name the run that made them with `--run`",
            self.kept.folder.path().display(),
            found[0],
            found[1]
        )))
    }

    /// An error unless `row` is what this makes of the picture.
    pub(crate) fn check(&self, row: &[f32], name: &str, image: &Image) -> Result<(), Error> {
        let made = self.features(std::slice::from_ref(image), row.len())?;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let cosine = dot(row, made.row(0)) / (dot(row, row) * dot(made.row(0), made.row(0))).sqrt();
        // A row of zeros, which has no direction, is nobody's.
        if cosine >= SAME {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "the row of `{name}` is not what {} makes of it (cosine {cosine:.3} where 1 was expected): name the run and the images that the features were made of with `--run` and `--images`, or embed again",
            self.kept.folder.path().display()
        )))
    }
}

/// Every picture of what was asked for, with its name.
fn load(queries: &Dataset) -> Result<Vec<(String, Image)>, Error> {
    let one = |index| {
        let sample = queries.load(Part::Train, index)?;
        Ok((sample.name.clone(), (*sample.image).clone()))
    };
    (0..queries.len(Part::Train)).map(one).collect()
}
