//! What makes a query's features: the run or the published model that made an index's rows.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use foretell_data::Film;
use foretell_eval::{Encoder, Features, Pool, Samples};

use crate::kept::{KeptRun, mark};
use crate::released::MadeBy;
use crate::{DeviceChoice, Error, PrecisionChoice};

/// A row is its picture's if their cosine is at least this: rounding apart, it is 1.
const SAME: f64 = 0.999;

/// What is sought, as it came from files.
pub(crate) struct Asked {
    pub(crate) names: Vec<String>,
    pub(crate) features: Features,
    /// What each looks like, where that can be shown and was asked for.
    pub(crate) pictures: Vec<Option<Film>>,
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
    let pictures = if show { (0..inputs.len()).map(|i| inputs.film(i)).collect() } else { Vec::new() };
    Ok(Asked { names, features, pictures })
}

/// The run that made an index's rows.
pub(crate) struct Maker {
    run: PathBuf,
    encoder: Box<dyn Encoder>,
    /// [`mark`] of the encoder's file.
    pub(crate) mark: String,
}

impl Maker {
    /// Opens a run, the encoder's maps at the precision of the rows.
    pub(crate) fn open(run: &Path, device: DeviceChoice, precision: PrecisionChoice) -> Result<Self, Error> {
        let kept = KeptRun::finished(run, &device.open()?, false)?;
        let file = kept.folder.encoder();
        let bytes =
            fs::read(&file).map_err(|error| Error::Misuse(format!("{} cannot be read: {error}", file.display())))?;
        Ok(Self { run: run.to_owned(), encoder: kept.encoder_at(precision)?, mark: mark(&bytes) })
    }

    /// What makes the features.
    pub(crate) fn encoder(&self) -> &dyn Encoder {
        self.encoder.as_ref()
    }

    /// Features `width` wide of the samples at these paths.
    pub(crate) fn asked(&self, paths: &[PathBuf], width: usize) -> Result<Asked, Error> {
        let samples = self.encoder.open(paths)?;
        let all = 0..samples.len();
        let names = all.clone().map(|i| Ok(samples.meta(i)?.name)).collect::<Result<Vec<_>, Error>>()?;
        let features = self.features(samples.as_ref(), all.clone(), width)?;
        Ok(Asked { names, features, pictures: all.map(|i| samples.shown(i)).collect() })
    }

    /// Features `[samples, width]`: the tokens' mean or, where only that has the width, what probes are given.
    fn features(&self, samples: &dyn Samples, rows: Range<usize>, width: usize) -> Result<Features, Error> {
        let mut found = Vec::new();
        for pool in [Pool::Sample, Pool::Probed] {
            let values = samples.features(rows.clone(), pool).into_iter().collect::<Result<Vec<_>, _>>()?.concat();
            let own = values.len() / rows.len().max(1);
            if own == width {
                return Ok(Features::new(rows.len(), width, values)?);
            }
            found.push(own.to_string());
        }
        Err(Error::Misuse(format!(
            "the index's rows are {width} wide, and {} makes features of width {} (or {} with `--probed`): name the run that made them with `--run`",
            self.run.display(),
            found[0],
            found[1]
        )))
    }

    /// An error unless `row` is what this makes of a sample.
    pub(crate) fn check(&self, row: &[f32], name: &str, samples: &dyn Samples, index: usize) -> Result<(), Error> {
        let made = self.features(samples, index..index + 1, row.len())?;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let cosine = dot(row, made.row(0)) / (dot(row, row) * dot(made.row(0), made.row(0))).sqrt();
        // A row of zeros, which has no direction, is nobody's.
        if cosine >= SAME {
            return Ok(());
        }
        Err(Error::Misuse(format!(
            "the row of `{name}` is not what {} makes of it (cosine {cosine:.3} where 1 was expected): name the run and the data that the features were made of with `--run` and `--data`, or embed again",
            self.run.display()
        )))
    }
}
