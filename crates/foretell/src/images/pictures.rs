//! The report's pictures: masks or views, features as colours, nearest neighbours. All of held-out images, where there
//! are any.

use burn::tensor::{Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Image, OnBadSample, Part, Sample, for_each_fitted};
use foretell_eval::{Features, nearest, pca_rgb};
use foretell_jepa::masked::MaskedCollator;
use foretell_jepa::views::ViewsCollator;
use foretell_nn::Encode;
use foretell_ops as ops;

use super::OverImages;
use super::judge::{Extractor, Pool, suited};
use super::session::AnyObjective;
use crate::Error;
use crate::report::{FeaturePicture, Labelled, MaskPicture, Neighbours, Rgb, ViewPicture};
use crate::session::{Session, Subject};

/// Images among which neighbours are sought.
const GALLERY: usize = 2000;
/// Queries, and neighbours of each.
const QUERIES: usize = 6;
const NEIGHBOURS: usize = 6;
/// Images with masks, with views, and with features as colours.
const MASKED: usize = 6;
const VIEWED: usize = 4;
const COLOURED: usize = 8;
/// The step whose randomness draws masks and views: no training step has this number.
const STEP: u64 = u64::MAX / 4;

/// Red, green, blue.
type Colour = [u8; 3];

/// See the module.
pub(crate) struct Pictures {
    pub(crate) masks: Vec<MaskPicture>,
    pub(crate) views: Vec<ViewPicture>,
    pub(crate) features: Vec<FeaturePicture>,
    pub(crate) neighbours: Vec<Neighbours>,
}

impl Pictures {
    /// Takes the pictures of a run.
    pub(crate) fn take(
        session: &Session<OverImages>,
        trained: &dyn Encode,
        untrained: &dyn Encode,
    ) -> Result<Self, Error> {
        let (mut masks, mut views) = (Vec::new(), Vec::new());
        match OverImages::objective(session, session.recipe.steps()?)? {
            AnyObjective::Masked(objective) => masks = mask_pictures(&objective.collator, &originals(session, MASKED))?,
            AnyObjective::ViewsResnet(objective) => {
                views = view_pictures(&objective.collator, &originals(session, VIEWED));
            }
            AnyObjective::ViewsVit(objective) => {
                views = view_pictures(&objective.collator, &originals(session, VIEWED));
            }
        }
        let gallery = gallery(session, trained)?;
        Ok(Self {
            masks,
            views,
            features: feature_pictures(session, &gallery, trained, untrained)?,
            neighbours: neighbours(session, &gallery, trained, untrained)?,
        })
    }
}

fn part(session: &Session<OverImages>) -> Part {
    if session.data.len(Part::HeldOut) >= 2 { Part::HeldOut } else { Part::Train }
}

/// Evenly spread places among `len`.
fn spread(count: usize, len: usize) -> impl Iterator<Item = usize> {
    let count = count.min(len);
    (0..count).map(move |i| i * len / count)
}

/// Images as they lie in the data set. One that cannot be read is missing here: the run has said so already.
fn originals(session: &Session<OverImages>, count: usize) -> Vec<Sample> {
    let part = part(session);
    spread(count, session.data.len(part)).filter_map(|index| session.data.load(part, index).ok()).collect()
}

/// Held-out images, fitted, at most [`GALLERY`] and evenly spread.
fn gallery(session: &Session<OverImages>, encoder: &dyn Encode) -> Result<Vec<Sample>, Error> {
    let mut samples = Vec::new();
    let (size, _) = encoder.image();
    for_each_fitted(&session.data, part(session), size, session.cores, Some(GALLERY), OnBadSample::Skip, |sample| {
        samples.push(sample);
    })?;
    Ok(samples)
}

pub(crate) fn rgb(image: &Image) -> Rgb {
    let colour = suited(image, 3).into_owned();
    Rgb { width: colour.width as u32, height: colour.height as u32, pixels: colour.pixels }
}

fn mask_pictures(collator: &MaskedCollator, samples: &[Sample]) -> Result<Vec<MaskPicture>, Error> {
    let grid = collator.grid();
    let masks =
        collator.masks.draw(grid, samples.len(), collator.seed, STEP).map_err(|e| Error::Failure(e.to_string()))?;
    let picture = |(i, sample): (usize, &Sample)| {
        let view = collator.augment.apply(
            &sample.image,
            collator.size,
            &mut rng(collator.seed, Stream::Augment, STEP, i as u64),
        );
        MaskPicture { image: rgb(&view), grid: (grid.rows, grid.cols), classes: masks.picture(i, grid) }
    };
    Ok(samples.iter().enumerate().map(picture).collect())
}

fn view_pictures(collator: &ViewsCollator, samples: &[Sample]) -> Vec<ViewPicture> {
    let global = (0..collator.global_views).map(|_| (&collator.global, collator.size));
    let kinds: Vec<_> =
        global.chain((0..collator.local_views).map(|_| (&collator.local, collator.local_size))).collect();
    let picture = |(i, sample): (usize, &Sample)| {
        let view = |(view, (augment, size)): (usize, &(&foretell_data::Augment, usize))| {
            let place = (view * samples.len() + i) as u64;
            rgb(&augment.apply(&sample.image, *size, &mut rng(collator.seed, Stream::Augment, STEP, place)))
        };
        let whole = foretell_data::fit(&sample.image, collator.size);
        ViewPicture { image: rgb(&whole), views: kinds.iter().enumerate().map(view).collect() }
    };
    samples.iter().enumerate().map(picture).collect()
}

fn feature_pictures(
    session: &Session<OverImages>,
    gallery: &[Sample],
    trained: &dyn Encode,
    untrained: &dyn Encode,
) -> Result<Vec<FeaturePicture>, Error> {
    let shown: Vec<&Sample> = spread(COLOURED, gallery.len()).map(|i| &gallery[i]).collect();
    let (grid, trained) = colours(session, &shown, trained)?;
    let (_, untrained) = colours(session, &shown, untrained)?;
    let tokens = (grid.0 * grid.1).max(1);
    let pairs = trained.chunks_exact(tokens).zip(untrained.chunks_exact(tokens));
    let picture = |(sample, (trained, untrained)): (&&Sample, (&[Colour], &[Colour]))| FeaturePicture {
        image: rgb(&sample.image),
        grid,
        trained: trained.to_vec(),
        untrained: untrained.to_vec(),
    };
    Ok(shown.iter().zip(pairs).map(picture).collect())
}

/// Tokens' grid, and a colour for each token of each image. The components are those of all images together, so that a
/// colour means the same in each.
fn colours(
    session: &Session<OverImages>,
    samples: &[&Sample],
    encoder: &dyn Encode,
) -> Result<((usize, usize), Vec<Colour>), Error> {
    let (height, width) = encoder.image();
    let len = encoder.channels() * height * width;
    let mut pixels = vec![0.0; samples.len() * len];
    for (sample, pixels) in samples.iter().zip(pixels.chunks_exact_mut(len)) {
        session.recipe.over.data.normalise.apply(&suited(&sample.image, encoder.channels()), pixels);
    }
    let shape = [samples.len(), encoder.channels(), height, width];
    let map = encoder.tokens(Tensor::<4>::from_data(TensorData::new(pixels, shape), &session.device));
    let [images, tokens, dim] = map.tokens.dims();
    Ok((map.grid, pca_rgb(&Features::new(images * tokens, dim, ops::values(map.tokens))?)?))
}

fn neighbours(
    session: &Session<OverImages>,
    gallery: &[Sample],
    trained: &dyn Encode,
    untrained: &dyn Encode,
) -> Result<Vec<Neighbours>, Error> {
    let queries: Vec<usize> = spread(QUERIES, gallery.len()).collect();
    let near = |encoder: &dyn Encode| -> Result<Vec<Vec<Labelled>>, Error> {
        let mut extractor = Extractor::new(encoder, &session.recipe.over.data.normalise, &session.device, Pool::Image);
        let mut values: Vec<f32> =
            gallery.iter().filter_map(|sample| extractor.push(&sample.image)).flatten().collect();
        values.extend(extractor.flush());
        let features = Features::new(gallery.len(), encoder.width(), values)?;
        // One more than shown: a query finds itself.
        let found = nearest(&features.select(&queries), &features, NEIGHBOURS + 1)?;
        let of = |(row, query): (usize, &usize)| {
            let others = found.of(row).map(|(index, _)| index).filter(|index| index != query);
            others.take(NEIGHBOURS).map(|index| labelled(session, &gallery[index])).collect()
        };
        Ok(queries.iter().enumerate().map(of).collect())
    };
    let pairs = near(trained)?.into_iter().zip(near(untrained)?);
    let row = |(query, (trained, untrained)): (&usize, _)| Neighbours {
        query: labelled(session, &gallery[*query]),
        trained,
        untrained,
    };
    Ok(queries.iter().zip(pairs).map(row).collect())
}

/// With its class by the first factor: neighbours agree in it or not.
fn labelled(session: &Session<OverImages>, sample: &Sample) -> Labelled {
    let first = session.data.factors().iter().zip(&sample.labels).next();
    let label = first.and_then(|(factor, label)| factor.classes.get(*label as usize)).cloned();
    Labelled { image: rgb(&sample.image), label }
}
