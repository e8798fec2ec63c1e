//! How runs are judged: each judge is a function of a run and gives findings, with their controls where they are figures.

mod attentive;
mod baseline;
pub mod connectomes;
mod dense;
mod electrodes;
mod energy;
mod features;
mod finetune;
mod flow;
mod ground;
mod lidar;
mod maps;
mod neighbours;
mod next_embedding;
mod predictor;
mod probes;
mod series;
mod told_apart;
pub mod world;

use foretell_data::{Film, Image, Modality, Part, evenly, judged_part, shrink, spread};
use foretell_eval::{Card, Finding, Picture, Pictures};

use crate::judging::Judging;
use crate::recipe::ProbeKind;
use crate::system::JudgeError;

pub use attentive::attentive;
pub use dense::{alike, dense, objects};
pub use electrodes::{heads, hidden_electrodes, signal_heads};
pub use energy::energy;
pub use features::features;
pub(crate) use finetune::CANNOT_TUNE;
pub use finetune::finetune;
pub use flow::{deviations, flow};
pub use lidar::lidar;
pub use maps::maps;
pub use neighbours::neighbours;
pub use next_embedding::next_embedding;
pub(crate) use predictor::KEEPS_NONE;
pub use predictor::predictor;
pub use probes::{LEAST_PROBED, Labelled, few_shot, labelled, probes, ridge, trained_alone};
pub use series::{described, hidden, series, zero_shot};
pub use told_apart::views_told_apart;

/// The probes that `judge.probes` names where there are labels, what the features see where tokens lie on a grid, and nearest
/// neighbours where samples can be shown.
pub fn usual<D: Modality>(run: &Judging<'_, D>) -> Result<Vec<Finding>, JudgeError> {
    let mut findings = probed(run, &run.settings.probes)?;
    findings.extend([features(run)?, neighbours(run)?].into_iter().flatten());
    Ok(findings)
}

/// These probes, each once; none where there are no labels or nothing is held out.
pub fn probed<D: Modality>(run: &Judging<'_, D>, kinds: &[ProbeKind]) -> Result<Vec<Finding>, JudgeError> {
    let mut findings = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        if !kinds[..at].contains(kind) {
            findings.extend(match kind {
                ProbeKind::Linear => probes(run)?,
                ProbeKind::Attentive => attentive(run)?,
                ProbeKind::Finetune => finetune(run)?,
                ProbeKind::Predictor => predictor(run)?,
            });
        }
    }
    Ok(findings)
}

/// Held-out samples as they are read, at most so many and evenly spread. One that cannot be read is missing.
pub fn originals<D: Modality>(run: &Judging<'_, D>, count: usize) -> Vec<D::Sample> {
    let part: Part = judged_part(run.data.as_ref());
    let places = spread(run.data.len(part), count);
    places.filter_map(|index| run.data.load(part, index).ok()).collect()
}

/// A sample as a report shows it, in at most so many frames of this short side in pixels where it moves; none where it cannot be shown.
pub fn shown<D: Modality>(data: &D, sample: &D::Sample, frames: usize, side: usize) -> Option<Picture> {
    data.film(sample).and_then(|film| moving(&film, frames, side)).or_else(|| rgb(&data.picture(sample)?))
}

/// A film as a report shows it, in at most so many frames of this short side in pixels.
pub fn moving(film: &Film, frames: usize, side: usize) -> Option<Picture> {
    // As many hundredths of a second for each, whatever is left out.
    if let [still] = &film.frames[..] {
        return rgb(&shrink(still.clone(), side));
    }
    let chosen: Vec<usize> = evenly(film.frames.len(), frames).collect();
    let each = film.frames.len() as f64 / chosen.len().max(1) as f64;
    let colour = |place: &usize| shrink(film.frames[*place].clone(), side).with_channels(3);
    let images: Vec<Image> = chosen.iter().map(colour).collect();
    let pixels: Vec<&[u8]> = images.iter().map(|image| image.pixels.as_slice()).collect();
    let first = images.first()?;
    Picture::moving(first.width, first.height, &pixels, (100.0 * each / film.fps).round().clamp(2.0, 500.0) as u16)
}

/// An image as a report shows it.
pub fn rgb(image: &Image) -> Option<Picture> {
    let colour = if image.channels == 3 { image.clone() } else { image.clone().with_channels(3) };
    Picture::rgb(colour.width, colour.height, &colour.pixels)
}

/// What was hidden of some samples, whose tiles have a grid of classes: nothing, the context, and each target; `None` without samples.
pub(crate) fn hidden_tiles(cards: Vec<Card>, lead: &str) -> Option<Finding> {
    let tiles = cards.iter().flat_map(|card| &card.tiles);
    let most = tiles.filter_map(|tile| tile.grid.as_ref()?.classes.iter().max()).max();
    let targets = (1..=most.map_or(0, |most| most.saturating_sub(1))).map(|k| format!("target {k}"));
    let legend = ["unused".to_owned(), "context".to_owned()].into_iter().chain(targets).collect();
    let any = !cards.is_empty();
    any.then(|| Finding::pictures("masks", "What was hidden", lead, Pictures { legend, cards }))
}
