//! The probes at the end of a run: k-NN and linear probe of the trained encoder, of the same one untrained, of raw pixels.

use std::borrow::Cow;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{Dataset, Image, Normalise, OnBadSample, Part, for_each_fitted};
use foretell_eval::{Budget, Factor, Features, Finding, Probed, TRAINED, UNTRAINED};
use foretell_jepa::Auto;
use foretell_nn::Encode;
use foretell_ops as ops;

use super::OverImages;
use crate::Error;
use crate::session::Session;

/// Images that go through an encoder at a time.
pub const CHUNK: usize = 128;

/// One row for each image, or one for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// `[D]` an image: the mean of its tokens.
    Image,
    /// `[F]` an image: what probes are given, [`Encode::probed`].
    Probed,
    /// `[N, D]` an image, raster order.
    Tokens,
}

/// The image with as many channels as an encoder takes.
pub fn suited(image: &Image, channels: usize) -> Cow<'_, Image> {
    if image.channels == channels { Cow::Borrowed(image) } else { Cow::Owned(image.clone().with_channels(channels)) }
}

/// Runs images through an encoder a chunk at a time; memory does not grow with their number.
pub struct Extractor<'a> {
    encoder: &'a dyn Encode,
    normalise: &'a Normalise,
    device: &'a Device,
    pool: Pool,
    pixels: Vec<f32>,
}

impl<'a> Extractor<'a> {
    /// Features by `encoder` of images normalised by `normalise`.
    pub fn new(encoder: &'a dyn Encode, normalise: &'a Normalise, device: &'a Device, pool: Pool) -> Self {
        Self { encoder, normalise, device, pool, pixels: Vec::new() }
    }

    fn image_len(&self) -> usize {
        self.encoder.channels() * self.encoder.image().0 * self.encoder.image().1
    }

    /// Takes an image of the encoder's size; the features of a full chunk, row-major, when there is one.
    pub fn push(&mut self, image: &Image) -> Option<Vec<f32>> {
        let at = self.pixels.len();
        self.pixels.resize(at + self.image_len(), 0.0);
        self.normalise.apply(&suited(image, self.encoder.channels()), &mut self.pixels[at..]);
        (self.pixels.len() == CHUNK * self.image_len()).then(|| self.flush())
    }

    /// The features of what was pushed since the last chunk.
    pub fn flush(&mut self) -> Vec<f32> {
        if self.pixels.is_empty() {
            return Vec::new();
        }
        let (height, width) = self.encoder.image();
        let shape = [self.pixels.len() / self.image_len(), self.encoder.channels(), height, width];
        let images = Tensor::<4>::from_data(TensorData::new(std::mem::take(&mut self.pixels), shape), self.device);
        match self.pool {
            Pool::Image => {
                let map = self.encoder.tokens(images);
                ops::values(self.encoder.pool(&map))
            }
            Pool::Probed => ops::values(self.encoder.probed(images)),
            Pool::Tokens => ops::values(self.encoder.tokens(images).tokens),
        }
    }
}

/// The baseline without a network.
const PIXELS: &str = "pixels";

/// What probes are made from.
pub struct Judgement<'a> {
    /// Labelled images.
    pub dataset: &'a Dataset,
    /// As in training.
    pub normalise: &'a Normalise,
    /// Training images at most, evenly spread.
    pub train_images: usize,
    /// What to do with an image that cannot be read.
    pub on_bad: OnBadSample,
    /// Where the encoders lie.
    pub device: &'a Device,
}

/// One part's features by each encoder, its pixels, and its labels.
struct Seen {
    features: Vec<Features>,
    labels: Vec<Vec<u32>>,
    skipped: Vec<String>,
}

/// What judging found.
pub struct Judged {
    /// Every probe of every factor.
    pub probes: Finding,
    /// Names of images that could not be read.
    pub skipped: Vec<String>,
}

impl Judgement<'_> {
    fn see(&self, part: Part, encoders: &[&dyn Encode], limit: usize) -> Result<Seen, Error> {
        let (size, channels) = (encoders[0].image().0, encoders[0].channels());
        let mut extractors: Vec<Extractor<'_>> =
            encoders.iter().map(|e| Extractor::new(*e, self.normalise, self.device, Pool::Probed)).collect();
        let mut values: Vec<Vec<f32>> = vec![Vec::new(); encoders.len() + 1];
        let mut labels: Vec<Vec<u32>> = vec![Vec::new(); self.dataset.factors().len()];
        let mut rows = 0;
        let skipped = for_each_fitted(self.dataset, part, size, 2, Some(limit), self.on_bad, |sample| {
            rows += 1;
            let image = suited(&sample.image, channels);
            for (extractor, values) in extractors.iter_mut().zip(&mut values) {
                values.extend(extractor.push(&image).into_iter().flatten());
            }
            values[encoders.len()].extend(image.pixels.iter().map(|p| f32::from(*p) / 255.0));
            for (column, label) in labels.iter_mut().zip(&sample.labels) {
                column.push(*label);
            }
        })?;
        for (extractor, values) in extractors.iter_mut().zip(&mut values) {
            values.extend(extractor.flush());
        }
        let features =
            values.into_iter().map(|v| Features::new(rows, v.len() / rows.max(1), v)).collect::<Result<_, _>>()?;
        Ok(Seen { features, labels, skipped })
    }

    /// The probes, or `None` where there are no labels or no held-out images.
    pub fn probes(&self, trained: &dyn Encode, untrained: &dyn Encode) -> Result<Option<Judged>, Error> {
        if self.dataset.factors().is_empty() || self.dataset.len(Part::HeldOut) == 0 {
            return Ok(None);
        }
        let encoders = [trained, untrained];
        let train = self.see(Part::Train, &encoders, self.train_images)?;
        let test = self.see(Part::HeldOut, &encoders, usize::MAX)?;
        let skipped = train.skipped.into_iter().chain(test.skipped).collect();
        let columns = train.labels.into_iter().zip(test.labels);
        let factors: Vec<Factor> = self
            .dataset
            .factors()
            .iter()
            .zip(columns)
            .map(|(f, (train, test))| Factor::new(f.name.clone(), train, test))
            .collect();
        let names = [TRAINED, UNTRAINED, PIXELS].into_iter();
        let probed: Vec<Probed> = names
            .zip(train.features.into_iter().zip(test.features))
            .map(|(name, (train, test))| Probed { name: name.to_owned(), train, test })
            .collect();
        Ok(Some(Judged { probes: foretell_eval::probes(&probed, &factors, &Budget::default())?, skipped }))
    }
}

/// The probes, where there are labels.
pub fn probes(
    session: &Session<OverImages>,
    trained: &dyn Encode,
    untrained: &dyn Encode,
) -> Result<Option<Judged>, Error> {
    let over = &session.recipe.over;
    let judgement = Judgement {
        dataset: &session.data,
        normalise: &over.data.normalise,
        train_images: if let Auto::Value(images) = over.probe.train_images { images } else { usize::MAX },
        on_bad: over.data.on_bad_sample,
        device: &session.device,
    };
    judgement.probes(trained, untrained)
}
