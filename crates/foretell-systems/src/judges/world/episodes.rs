//! Held-out episodes as moving pictures, played as `foretell plan` plays by default, perhaps with plans less far ahead.

use foretell_eval::{Card, Finding, Picture, Pictures, Tile};
use foretell_world::{Planner, Trial, World};

use super::film::{Film, record, record_policy};
use crate::imaginer::Imaginer;
use crate::imitator::Imitator;
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
    of_films(imaginer.playground.world.as_ref(), &films)
}

/// So many of the first held-out episodes of a trial as a policy plays them.
pub(super) fn imitated(imitator: &Imitator, trial: &Trial) -> Result<Finding, JudgeError> {
    let numbers: Vec<u64> = (0..trial.episodes).collect();
    let films = record_policy(imitator, imitator.execution(), trial, &numbers)?.unwrap_or_default();
    Ok(Finding::pictures(
        "episodes",
        "Episodes",
        "Held-out starts and goals, played by the policy. Teal: what is moved and its way; green: the goal; grey: where the present chunk \
         of actions leads.",
        Pictures { legend: Vec::new(), cards: of_films(imitator.playground.world.as_ref(), &films)? },
    ))
}

fn of_films(world: &dyn World, films: &[Film]) -> Result<Vec<Card>, JudgeError> {
    let mut cards = Vec::new();
    for film in films {
        if let Some(picture) = Picture::gif(SIDE, SIDE, film.gif(world, SIDE, STRIDE)?) {
            let tile = Tile::new(Some(picture), &format!("episode {}: {}", film.number, film.ending()));
            cards.push(Card { tiles: vec![tile], strips: Vec::new() });
        }
    }
    Ok(cards)
}
