//! Recordings as a person would look at them: their graphs over time, and what the features make of each window.

use foretell_data::connectomes::{Connectomes, DynamicGraph};
use foretell_eval::{Card, Features, Finding, Picture, Pictures, TRAINED, Tile, UNTRAINED, pca_rgb};
use foretell_nn::Encode;
use foretell_ops as ops;
use foretell_train::Which;

use super::super::{originals, shown};
use super::of_windows;
use crate::judging::Judging;
use crate::system::JudgeError;

/// Recordings that are shown, and windows of each at most.
const SHOWN: usize = 6;
const FRAMES: usize = 24;
/// Side of a graph, and height and width of a window's colour, in pixels.
const SIDE: usize = 128;
const HEIGHT: usize = 24;
const WIDTH: usize = 10;
/// Colours of states.
const STATES: [[u8; 3]; 8] = [
    [0x4C, 0x78, 0xA8],
    [0xF5, 0x85, 0x18],
    [0x54, 0xA2, 0x4B],
    [0xE4, 0x57, 0x56],
    [0x72, 0xB7, 0xB2],
    [0xEE, 0xCA, 0x3B],
    [0xB2, 0x79, 0xA2],
    [0x9D, 0x75, 0x5D],
];

/// Graphs over time; `None` where nothing can be read.
pub fn over_time(run: &Judging<'_, Connectomes>) -> Result<Option<Finding>, JudgeError> {
    let samples = originals(run, SHOWN);
    if samples.is_empty() {
        return Ok(None);
    }
    let (trained, untrained) = (run.kept(Which::Trained)?.encoder, run.kept(Which::Untrained)?.encoder);
    let (trained, untrained) = (colours(trained.as_ref(), &samples)?, colours(untrained.as_ref(), &samples)?);
    let mut first = 0;
    let mut cards = Vec::new();
    for sample in &samples {
        let own = first..first + sample.windows();
        first = own.end;
        let mut tiles = vec![Tile::new(shown(run.data.as_ref(), sample, FRAMES, SIDE), "graphs over time")];
        let states: Option<Vec<[u8; 3]>> =
            (0..sample.windows()).map(|window| Some(STATES[sample.state(window)?.0 as usize % STATES.len()])).collect();
        if let Some(states) = states {
            tiles.push(Tile::new(strip(&states), "state of each window"));
        }
        tiles.push(Tile::new(strip(&trained[own.clone()]), TRAINED));
        tiles.push(Tile::new(strip(&untrained[own]), UNTRAINED));
        cards.push(Card { tiles, strips: Vec::new() });
    }
    let lead = "Held-out recordings: the graph of one window after the other, regions at the same places, and the first three principal components \
                of what the network makes of each window (the mean of its regions), as red, green and blue, from left to right. Equal colours mean \
                that two windows are alike to it; where states are known, they stand above.";
    Ok(Some(Finding::pictures("over_time", "Graphs over time", lead, Pictures { legend: Vec::new(), cards })))
}

/// A colour for each window of all recordings together.
fn colours(encoder: &dyn Encode<DynamicGraph>, samples: &[DynamicGraph]) -> Result<Vec<[u8; 3]>, JudgeError> {
    let rows = of_windows(encoder)?.windows(&samples.iter().collect::<Vec<_>>());
    let [count, width] = rows.dims();
    Ok(pca_rgb(&Features::new(count, width, ops::values(rows))?)?)
}

/// Colours beside each other.
fn strip(colours: &[[u8; 3]]) -> Option<Picture> {
    let row: Vec<u8> = colours.iter().flat_map(|colour| colour.repeat(WIDTH)).collect();
    Picture::rgb(colours.len() * WIDTH, HEIGHT, &row.repeat(HEIGHT))
}
