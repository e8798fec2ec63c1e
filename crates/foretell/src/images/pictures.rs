//! The report's pictures: masks or views, features as colours, nearest neighbours. All of held-out images, where there
//! are any.

use burn::tensor::{Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Image, OnBadSample, Part, Sample, for_each_fitted};
use foretell_eval::{
    Card, Features, Finding, Grid, Picture, Pictures, Strip, TRAINED, Tile, UNTRAINED, nearest, pca_rgb,
};
use foretell_jepa::masked::MaskedCollator;
use foretell_jepa::views::ViewsCollator;
use foretell_nn::Encode;
use foretell_ops as ops;

use super::OverImages;
use super::judge::{Extractor, Pool, suited};
use super::session::AnyObjective;
use crate::Error;
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

/// Takes the pictures of a run.
pub(crate) fn take(
    session: &Session<OverImages>,
    trained: &dyn Encode,
    untrained: &dyn Encode,
) -> Result<Vec<Finding>, Error> {
    let first = match OverImages::objective(session, session.recipe.steps()?)? {
        AnyObjective::Masked(objective) => masks(&objective.collator, &originals(session, MASKED))?,
        AnyObjective::ViewsResnet(objective) => views(&objective.collator, &originals(session, VIEWED)),
        AnyObjective::ViewsVit(objective) => views(&objective.collator, &originals(session, VIEWED)),
    };
    let gallery = gallery(session, trained)?;
    Ok(vec![
        first,
        features(session, &gallery, trained, untrained)?,
        neighbours(session, &gallery, trained, untrained)?,
    ])
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

pub(crate) fn rgb(image: &Image) -> Option<Picture> {
    let colour = suited(image, 3);
    Picture::rgb(colour.width, colour.height, &colour.pixels)
}

fn masks(collator: &MaskedCollator, samples: &[Sample]) -> Result<Finding, Error> {
    let grid = collator.grid();
    let masks =
        collator.masks.draw(grid, samples.len(), collator.seed, STEP).map_err(|e| Error::Failure(e.to_string()))?;
    let card = |(i, sample): (usize, &Sample)| {
        let view = collator.augment.apply(
            &sample.image,
            collator.size,
            &mut rng(collator.seed, Stream::Augment, STEP, i as u64),
        );
        let grid = Grid { rows: grid.rows, columns: grid.cols, classes: masks.picture(i, grid) };
        Card { tiles: vec![Tile { grid: Some(grid), ..Tile::new(rgb(&view), "") }], strips: Vec::new() }
    };
    let cards: Vec<Card> = samples.iter().enumerate().map(card).collect();
    let classes = cards.iter().flat_map(|card| &card.tiles).filter_map(|tile| tile.grid.as_ref()?.classes.iter().max());
    let targets = classes.max().map_or(0, |most| most.saturating_sub(1));
    let legend = ["unused".to_owned(), "context".to_owned()].into_iter();
    Ok(Finding::pictures(
        "masks",
        "What was hidden",
        "Left the sample, right its mask. The context encoder sees only the part without a tint; from it the predictor \
         predicts the features of the targets.",
        Pictures { legend: legend.chain((1..=targets).map(|k| format!("target {k}"))).collect(), cards },
    ))
}

fn views(collator: &ViewsCollator, samples: &[Sample]) -> Finding {
    let global = (0..collator.global_views).map(|_| (&collator.global, collator.size));
    let kinds: Vec<_> =
        global.chain((0..collator.local_views).map(|_| (&collator.local, collator.local_size))).collect();
    let card = |(i, sample): (usize, &Sample)| {
        let view = |(view, (augment, size)): (usize, &(&foretell_data::Augment, usize))| {
            let place = (view * samples.len() + i) as u64;
            let view = augment.apply(&sample.image, *size, &mut rng(collator.seed, Stream::Augment, STEP, place));
            Tile::new(rgb(&view), "view")
        };
        let whole = foretell_data::fit(&sample.image, collator.size);
        let strip = Strip { tiles: kinds.iter().enumerate().map(view).collect(), ..Strip::default() };
        Card { tiles: vec![Tile::new(rgb(&whole), "sample")], strips: vec![strip] }
    };
    Finding::pictures(
        "views",
        "What was compared",
        "Each sample with the views made of it. Training pulls the codes of one sample's views together.",
        Pictures { legend: Vec::new(), cards: samples.iter().enumerate().map(card).collect() },
    )
}

fn features(
    session: &Session<OverImages>,
    gallery: &[Sample],
    trained: &dyn Encode,
    untrained: &dyn Encode,
) -> Result<Finding, Error> {
    let shown: Vec<&Sample> = spread(COLOURED, gallery.len()).map(|i| &gallery[i]).collect();
    let ((rows, columns), trained) = colours(session, &shown, trained)?;
    let (_, untrained) = colours(session, &shown, untrained)?;
    let tokens = (rows * columns).max(1);
    let pairs = trained.chunks_exact(tokens).zip(untrained.chunks_exact(tokens));
    // One pixel for each token.
    let tile = |colours: &[Colour], of: &str| Tile::new(Picture::rgb(columns, rows, &colours.concat()), of);
    let card = |(sample, (trained, untrained)): (&&Sample, (&[Colour], &[Colour]))| Card {
        tiles: vec![Tile::new(rgb(&sample.image), "sample"), tile(trained, TRAINED), tile(untrained, UNTRAINED)],
        strips: Vec::new(),
    };
    Ok(Finding::pictures(
        "features",
        "What the features see",
        "The first three principal components of each token's features, as red, green and blue. Equal colours mean that the \
         network treats two places alike.",
        Pictures { legend: Vec::new(), cards: shown.iter().zip(pairs).map(card).collect() },
    ))
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
) -> Result<Finding, Error> {
    let queries: Vec<usize> = spread(QUERIES, gallery.len()).collect();
    let near = |name: &str, encoder: &dyn Encode| -> Result<Vec<Strip>, Error> {
        let mut extractor = Extractor::new(encoder, &session.recipe.over.data.normalise, &session.device, Pool::Image);
        let mut values: Vec<f32> =
            gallery.iter().filter_map(|sample| extractor.push(&sample.image)).flatten().collect();
        values.extend(extractor.flush());
        let features = Features::new(gallery.len(), encoder.width(), values)?;
        // One more than shown: a query finds itself.
        let found = nearest(&features.select(&queries), &features, NEIGHBOURS + 1)?;
        let of = |(row, query): (usize, &usize)| {
            let others = found.of(row).map(|(index, _)| index).filter(|index| index != query).take(NEIGHBOURS);
            strip(session, name, &gallery[*query], &others.map(|index| &gallery[index]).collect::<Vec<_>>())
        };
        Ok(queries.iter().enumerate().map(of).collect())
    };
    let pairs = near(TRAINED, trained)?.into_iter().zip(near(UNTRAINED, untrained)?);
    let card = |(query, (trained, untrained)): (&usize, _)| {
        let query = &gallery[*query];
        let tile = Tile::new(rgb(&query.image), label(session, query).unwrap_or("query"));
        Card { tiles: vec![tile], strips: vec![trained, untrained] }
    };
    let labels = if session.data.factors().is_empty() { "" } else { " Underlined: the same label." };
    Ok(Finding::pictures(
        "neighbours",
        "Nearest neighbours",
        &format!("Left the query, right the samples whose features lie nearest, nearest first.{labels}"),
        Pictures { legend: Vec::new(), cards: queries.iter().zip(pairs).map(card).collect() },
    ))
}

/// The neighbours of a query, marked where they have its class.
fn strip(session: &Session<OverImages>, name: &str, query: &Sample, neighbours: &[&Sample]) -> Strip {
    let class = label(session, query);
    let tile = |sample: &&Sample| {
        let of = label(session, sample);
        Tile { marked: class.is_some() && of == class, ..Tile::new(rgb(&sample.image), of.unwrap_or("neighbour")) }
    };
    let tiles: Vec<Tile> = neighbours.iter().map(tile).collect();
    let same = tiles.iter().filter(|tile| tile.marked).count();
    let note = class.map(|_| format!("{same} of {}", tiles.len())).unwrap_or_default();
    Strip { name: name.to_owned(), note, tiles }
}

/// The class by the first factor.
fn label<'a>(session: &'a Session<OverImages>, sample: &Sample) -> Option<&'a str> {
    let (factor, label) = session.data.factors().iter().zip(&sample.labels).next()?;
    factor.classes.get(*label as usize).map(String::as_str)
}
