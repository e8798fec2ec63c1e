//! Images as a kind of data: a folder, an archive, IDX files or generated scenes, brought to one size.

pub(crate) mod antialias;
pub(crate) mod arrays;
pub(crate) mod augment;
pub(crate) mod cifar;
pub(crate) mod colour;
pub(crate) mod dataset;
pub(crate) mod decode;
pub(crate) mod depth;
pub(crate) mod divided;
pub(crate) mod groups;
pub(crate) mod idx;
pub(crate) mod in_files;
pub(crate) mod keys;
pub(crate) mod labels;
pub(crate) mod listing;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
pub(crate) mod recognise;
pub(crate) mod records;
pub(crate) mod resample;
pub(crate) mod scenes;
pub(crate) mod shapes;
pub(crate) mod siblings;
pub(crate) mod speckle;
pub(crate) mod split;
pub(crate) mod tables;
pub(crate) mod transform;
pub(crate) mod twins;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::images::dataset::{Dataset, Sample};
use crate::images::labels::Factor;
use crate::images::recognise::{Extent, Reading, open_inputs_as, recognised};
use crate::images::scenes::ScenesConfig;
use crate::images::speckle::{Speckle, speckle};
use crate::images::split::Folders;
use crate::images::transform::{fit, shrink};
use crate::modality::{Description, Meta, Modality, OnBadSample, Opening, Part, Unit};
use crate::normalise::Normalise;
use crate::random::{Stream, rng};
use crate::{Auto, DataError, Image};

/// Largest default image on a CPU, in pixels.
const CPU_IMAGE: usize = 96;
/// Where images come from and how they are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImagesConfig {
    /// A folder, a tar, IDX files, CIFAR binaries, an `.npz` or a parquet; empty for the built-in generated scenes.
    pub path: String,
    /// What the folders of images mean.
    pub folders: Folders,
    /// Which image of a WebDataset's key is the sample where it has several: an ending such as `jpg`; `auto`; `all` takes each.
    pub member: String,
    /// Which numbers of 16-bit images are black and white; those between are spread evenly.
    pub range: [u16; 2],
    /// What gives the labels where several could: a column of a table beside the images or of a parquet, or one of several kinds of
    /// labels; `none` for no labels.
    pub label: String,
    /// A regular expression with one part in parentheses, which tells from an image's name whom or what it belongs to (a patient, a
    /// video): all of a group are held out, or none of it.
    pub group: String,
    /// Side to which images are brought, in pixels.
    pub image_size: Auto<usize>,
    /// What to do with an image that cannot be read.
    pub on_bad_sample: OnBadSample,
    /// Looks of multiplicative [speckle](fn@crate::images::speckle) that is put on every image, the same at each reading: what a noisier
    /// sensor would have seen. 0 for none.
    pub speckle: f32,
    /// Decoded training images are kept in memory up to so many bytes.
    pub cache_bytes: usize,
    /// Mean and standard deviation of the training part; empty until measured.
    pub normalise: Normalise,
    /// Of the data set when the run began, so that a resumed run notices another; empty until taken.
    pub fingerprint: String,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        Self {
            path: String::new(),
            folders: Folders::Auto,
            member: keys::AUTO.to_owned(),
            range: depth::FULL,
            label: String::new(),
            group: String::new(),
            image_size: Auto::Auto,
            on_bad_sample: OnBadSample::Fail,
            speckle: 0.0,
            cache_bytes: 1 << 30,
            normalise: Normalise { mean: Vec::new(), std: Vec::new() },
            fingerprint: String::new(),
        }
    }
}

impl ImagesConfig {
    /// How data are opened.
    fn reading(&self, extent: Extent) -> Result<Reading<'_>, DataError> {
        let Self { folders, ref member, range, ref label, ref group, .. } = *self;
        if range[0] >= range[1] {
            return Err(DataError::BadSetting {
                name: "data.range".into(),
                expected: "two whole numbers from 0 to 65535, the first smaller, such as [0, 4095]",
                found: format!("{range:?}"),
            });
        }
        Ok(Reading { extent, folders, member, range, label, group })
    }

    /// Side of the images in pixels and their channels, of a resolved config.
    pub fn form(&self) -> Result<(usize, usize), DataError> {
        let Auto::Value(size) = self.image_size else {
            return Err(DataError::BadSetting {
                name: "data.image_size".into(),
                expected: "a number in the config of a run",
                found: "auto".to_owned(),
            });
        };
        self.normalise.check()?;
        Ok((size, self.normalise.mean.len()))
    }
}

/// The side that images of this short side are usually brought to, in pixels, and why.
pub(crate) fn usual_size(median: usize) -> (usize, String) {
    let unit = if median >= 64 { 8 } else { 4 };
    let fitting = (median as f64 / f64::from(unit)).round() as usize * unit as usize;
    let size = fitting.clamp(8, CPU_IMAGE);
    let limit = if fitting > CPU_IMAGE { format!(", at most {CPU_IMAGE} on a CPU") } else { String::new() };
    (size, format!("the median short side is {median} pixels{limit}"))
}

/// The images of a data set, as a run takes them.
pub struct Images {
    dataset: Dataset,
    size: usize,
    /// Of what encoders are given.
    channels: usize,
    on_bad: OnBadSample,
    speckle: f32,
    normalise: Normalise,
    cache: Cache<Arc<Image>>,
}

impl Images {
    /// A data set as a resolved config says.
    pub fn of(dataset: Dataset, config: &ImagesConfig) -> Result<Self, DataError> {
        let (size, channels) = config.form()?;
        Speckle::check("speckle", config.speckle).map_err(|error| error.under("data"))?;
        let slots = if dataset.pays_to_cache(Part::Train) { dataset.len(Part::Train) } else { 0 };
        let cache = Cache::new(slots, config.cache_bytes);
        let (on_bad, speckle, normalise) = (config.on_bad_sample, config.speckle, config.normalise.clone());
        Ok(Self { dataset, size, channels, on_bad, speckle, normalise, cache })
    }

    /// A sample as the sensor sees it.
    fn read(&self, part: Part, index: usize) -> Result<Sample, DataError> {
        let sample = self.dataset.load(part, index)?;
        if self.speckle == 0.0 {
            return Ok(sample);
        }
        let mut rng = rng(0, Stream::Noise, u64::from(part == Part::HeldOut), index as u64);
        Ok(Sample { image: Arc::new(speckle(&sample.image, self.speckle, &mut rng)?), ..sample })
    }

    /// Generated scenes if the path is empty. They do not change with the run's seed: runs with different seeds learn from
    /// the same pictures.
    fn dataset(config: &ImagesConfig) -> Result<Dataset, DataError> {
        if config.path.is_empty() {
            return Ok(Dataset::scenes(&ScenesConfig::default()));
        }
        Dataset::open_as(Path::new(&config.path), config.reading(Extent::Split)?)
    }

    /// The side that images are brought to, in pixels.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Channels of what encoders are given.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Mean and standard deviation of each channel of the training part.
    pub fn normalise(&self) -> &Normalise {
        &self.normalise
    }
}

impl Modality for Images {
    type Config = ImagesConfig;
    type Sample = Sample;
    const UNIT: Unit = Unit { one: "image", many: "images" };
    const BASELINE: &'static str = "pixels";
    const MEASURED: &'static [&'static str] = &["normalise", "fingerprint"];

    fn open(config: &mut ImagesConfig, opening: &mut Opening<'_>) -> Result<Self, DataError> {
        let dataset = Self::dataset(config)?;
        crate::epochs::check_batch::<Self>(dataset.len(Part::Train), opening.batch)?;
        let fingerprint = format!("{:016x}", dataset.fingerprint());
        if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
            return Err(DataError::changed(Self::UNIT, &config.path));
        }
        config.fingerprint = fingerprint;
        let median = dataset.median_short_side();
        let size = config.image_size.resolve("data.image_size", opening.decisions, || usual_size(median));
        if !(4..=4096).contains(&size) {
            return Err(DataError::BadSetting {
                name: "data.image_size".into(),
                expected: "a side of 4 to 4096 pixels",
                found: size.to_string(),
            });
        }
        if config.normalise.mean.is_empty() {
            config.normalise = Normalise::measure(&dataset, size, opening.threads, config.on_bad_sample)?;
        }
        Self::of(dataset, config)
    }

    fn of_paths(config: &ImagesConfig, paths: &[PathBuf]) -> Result<Self, DataError> {
        Self::of(open_inputs_as(paths, config.reading(Extent::Whole)?)?, config)
    }

    fn elsewhere(config: &ImagesConfig, path: &str) -> ImagesConfig {
        ImagesConfig { path: path.to_owned(), fingerprint: String::new(), ..config.clone() }
    }

    fn source(config: &ImagesConfig) -> String {
        if config.path.is_empty() { "built-in scenes".to_owned() } else { config.path.clone() }
    }

    fn recognises(path: &Path) -> bool {
        recognised(path)
    }

    fn look_as(config: ImagesConfig) -> Result<Description, DataError> {
        Ok(Self::dataset(&config)?.describe())
    }

    fn describe(&self) -> Description {
        self.dataset.describe()
    }

    fn cautions(&self) -> Vec<String> {
        let grey = self.channels == 1 && self.dataset.channels() == 3;
        let grey = grey.then(|| "the encoder learnt from grey images: coloured ones are made grey".to_owned());
        grey.into_iter().chain(self.dataset.cautions_as(depth::of_a_run)).collect()
    }

    fn factors(&self) -> &[Factor] {
        self.dataset.factors()
    }

    fn len(&self, part: Part) -> Option<usize> {
        Some(self.dataset.len(part))
    }

    fn meta(&self, part: Part, index: usize) -> Result<Meta, DataError> {
        let (name, labels) = (self.dataset.name(part, index)?, self.dataset.labels(part, index)?);
        Ok(Meta { name, labels, bytes: self.dataset.bytes(part, index), ..Meta::default() })
    }

    fn load(&self, part: Part, index: usize) -> Result<Sample, DataError> {
        self.read(part, index)
    }

    /// Kept in memory as far as there is room, and shrunk to twice the side first: a crop of half the side is as sharp.
    fn load_to_train(&self, index: usize) -> Result<Sample, DataError> {
        if let Some(image) = self.cache.get(index) {
            let Meta { name, labels, .. } = self.meta(Part::Train, index)?;
            return Ok(Sample { index, name, image, labels });
        }
        let mut sample = self.read(Part::Train, index)?;
        let most = 2 * self.size;
        if sample.image.short_side() > most {
            sample.image = Arc::new(shrink(Arc::unwrap_or_clone(sample.image), most));
        }
        self.cache.keep(index, sample.image.pixels.len(), &sample.image);
        Ok(sample)
    }

    fn prepare(&self, sample: Sample) -> Sample {
        let image = fit(&sample.image, self.size);
        let image = if image.channels == self.channels { image } else { image.with_channels(self.channels) };
        Sample { image: Arc::new(image), ..sample }
    }

    fn baseline(&self, sample: &Sample) -> Vec<f32> {
        sample.image.pixels.iter().map(|pixel| f32::from(*pixel) / 255.0).collect()
    }

    fn objects(&self) -> Vec<String> {
        if self.dataset.is_generated() { scenes::objects() } else { Vec::new() }
    }

    fn covered(
        &self,
        part: Part,
        index: usize,
        (moments, rows, columns): (usize, usize, usize),
    ) -> Option<Vec<(u32, f32)>> {
        let (object, shares) = self.dataset.covered(part, index, (rows, columns)).filter(|_| moments == 1)?;
        Some(shares.into_iter().map(|share| (if share > 0.0 { object } else { 0 }, share)).collect())
    }

    fn picture(&self, sample: &Sample) -> Option<Image> {
        Some((*sample.image).clone())
    }

    fn enough_to_probe(&self) -> usize {
        if self.dataset.is_generated() { 4000 } else { 60_000 }
    }

    fn on_bad(&self) -> OnBadSample {
        self.on_bad
    }
}
