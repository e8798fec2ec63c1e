//! Nearest neighbours of some held-out samples, by the trained features and by the untrained ones.

use foretell_data::{Modality, OnBadSample, Part, for_each, judged_part};
use foretell_eval::{Card, Features, Finding, Picture, Pictures, Strip, TRAINED, Tile, UNTRAINED, nearest};
use foretell_ops as ops;
use foretell_train::Which;

use super::shown;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Samples among which neighbours are sought.
const GALLERY: usize = 2000;
/// Queries, and neighbours of each.
const QUERIES: usize = 6;
const NEIGHBOURS: usize = 6;
/// Frames of what moves, and their short side in pixels at most: some dozens are on a page.
const LOOP: usize = 8;
const SIDE: usize = 64;
/// Samples that go through an encoder at a time.
const CHUNK: usize = 128;

/// The gallery: features by both networks, and the places of its samples.
struct Gallery {
    places: Vec<usize>,
    trained: Features,
    untrained: Features,
}

/// Neighbours; `None` where samples cannot be shown.
pub fn neighbours<D: Modality>(run: &Judging<'_, D>) -> Result<Option<Finding>, JudgeError> {
    let part = judged_part(run.data.as_ref());
    // Of what is generated without end there is no gallery.
    let Some(len) = run.data.len(part) else { return Ok(None) };
    let shown = (0..len).find_map(|index| run.data.load(part, index).ok());
    if shown.is_none_or(|sample| run.data.picture(&sample).is_none()) {
        return Ok(None);
    }
    let gallery = gallery(run, part)?;
    let count = gallery.places.len();
    let queries: Vec<usize> = foretell_data::spread(Some(count), QUERIES).collect();
    let near = |name: &str, features: &Features| -> Result<Vec<Strip>, JudgeError> {
        // One more than shown: a query finds itself.
        let found = nearest(&features.select(&queries), features, NEIGHBOURS + 1)?;
        let of = |(row, query): (usize, &usize)| {
            let others = found.of(row).map(|(index, _)| index).filter(|index| index != query).take(NEIGHBOURS);
            strip(run, part, name, gallery.places[*query], &others.map(|i| gallery.places[i]).collect::<Vec<_>>())
        };
        Ok(queries.iter().enumerate().map(of).collect())
    };
    let pairs = near(TRAINED, &gallery.trained)?.into_iter().zip(near(UNTRAINED, &gallery.untrained)?);
    let card = |(query, (trained, untrained)): (&usize, _)| {
        let query = gallery.places[*query];
        let of = label(run, part, query);
        let tile = Tile::new(picture(run, part, query), of.unwrap_or("query"));
        Card { tiles: vec![tile], strips: vec![trained, untrained] }
    };
    let labels = if run.data.factors().is_empty() { "" } else { " Underlined: the same label." };
    Ok(Some(Finding::pictures(
        "neighbours",
        "Nearest neighbours",
        &format!("Left the query, right the samples whose features lie nearest, nearest first.{labels}"),
        Pictures { legend: Vec::new(), cards: queries.iter().zip(pairs).map(card).collect() },
    )))
}

fn gallery<D: Modality>(run: &Judging<'_, D>, part: Part) -> Result<Gallery, JudgeError> {
    let encoders = [run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder];
    let (mut places, mut chunk) = (Vec::new(), Vec::<D::Sample>::new());
    let mut values = [Vec::new(), Vec::new()];
    let flush = |chunk: &mut Vec<D::Sample>, values: &mut [Vec<f32>; 2]| {
        let samples: Vec<&D::Sample> = chunk.iter().collect();
        if !samples.is_empty() {
            for (encoder, values) in encoders.iter().zip(values) {
                values.extend(ops::values(encoder.tokens(&samples).mean()));
            }
        }
        chunk.clear();
    };
    let skipped = for_each(run.data, part, GALLERY, run.on.threads, OnBadSample::Skip, |index, sample| {
        places.push(index);
        chunk.push(sample);
        if chunk.len() == CHUNK {
            flush(&mut chunk, &mut values);
        }
        Ok(())
    })?;
    flush(&mut chunk, &mut values);
    run.skip(skipped);
    let count = places.len();
    let features = |values: Vec<f32>| Features::new(count, values.len() / count.max(1), values);
    let [trained, untrained] = values;
    Ok(Gallery { places, trained: features(trained)?, untrained: features(untrained)? })
}

/// The neighbours of a query, marked where they have its class.
fn strip<D: Modality>(run: &Judging<'_, D>, part: Part, name: &str, query: usize, neighbours: &[usize]) -> Strip {
    let class = label(run, part, query);
    let tile = |place: &usize| {
        let of = label(run, part, *place);
        let picture = picture(run, part, *place);
        Tile { marked: class.is_some() && of == class, ..Tile::new(picture, of.unwrap_or("neighbour")) }
    };
    let tiles: Vec<Tile> = neighbours.iter().map(tile).collect();
    let same = tiles.iter().filter(|tile| tile.marked).count();
    let note = class.map(|_| format!("{same} of {}", tiles.len())).unwrap_or_default();
    Strip { name: name.to_owned(), note, tiles }
}

fn picture<D: Modality>(run: &Judging<'_, D>, part: Part, place: usize) -> Option<Picture> {
    let sample = run.data.prepare(run.data.load(part, place).ok()?);
    shown(run.data.as_ref(), &sample, LOOP, SIDE)
}

/// The class by the first factor.
fn label<'a, D: Modality>(run: &'a Judging<'_, D>, part: Part, place: usize) -> Option<&'a str> {
    let label = *run.data.meta(part, place).ok()?.labels.first()?;
    run.data.factors().first()?.classes.get(label as usize).map(String::as_str)
}
