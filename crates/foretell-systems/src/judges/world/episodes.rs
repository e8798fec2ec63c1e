//! Held-out episodes as moving pictures, planned as `foretell plan` plans by default, perhaps less far ahead.

use foretell_eval::{Card, Finding, Picture, Pictures, Tile};
use foretell_world::{Planner, Trial};

use super::film::record;
use crate::imaginer::Imaginer;
use crate::system::JudgeError;

/// Side of their pictures in pixels, and the steps from one frame to the next.
const SIDE: usize = 260;
const STRIDE: usize = 2;
/// Steps of an episode.
const STEPS: u64 = 200;

/// So many of the first held-out episodes, with plans of so many steps.
pub(super) fn episodes(imaginer: &Imaginer, count: usize, horizon: usize) -> Result<Finding, JudgeError> {
    Ok(Finding::pictures(
        "episodes",
        "Episodes",
        "Held-out starts, goals and layouts, planned in the model's latents. Teal: the dot and its way; green: the goal; \
         grey: where the present plan leads; orange: where the model imagines that it leads, read from its latents by a \
         linear map.",
        Pictures { legend: Vec::new(), cards: cards(imaginer, count as u64, horizon)? },
    ))
}

/// A card for each episode; none in a world that people cannot be shown.
fn cards(imaginer: &Imaginer, count: u64, horizon: usize) -> Result<Vec<Card>, JudgeError> {
    let trial = Trial { episodes: count, steps: STEPS, seed: imaginer.seed };
    let numbers: Vec<u64> = (0..count).collect();
    let Some(planner) = Planner::named(imaginer.planner()) else { return Ok(Vec::new()) };
    let mut manner = imaginer.manner(planner);
    manner.config.horizon = horizon;
    let films = record(imaginer, &manner, &trial, &numbers)?.unwrap_or_default();
    let world = imaginer.playground.world.as_ref();
    let mut cards = Vec::new();
    for film in &films {
        if let Some(picture) = Picture::gif(SIDE, SIDE, film.gif(world, SIDE, STRIDE)?) {
            let tile = Tile::new(Some(picture), &format!("episode {}: {}", film.number, film.ending()));
            cards.push(Card { tiles: vec![tile], strips: Vec::new() });
        }
    }
    Ok(cards)
}
