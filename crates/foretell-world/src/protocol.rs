//! A protocol: fixed starts and goals that everyone's models are measured on, read from a file.
//!
//! The file is one JSON object as CLEAR-LeWM's figures come: the geometry of its Two Room, `budget_steps`, and in `protocols` by
//! name sets of `pairs` of a `start` and a `goal`, each with `threshold_px`, `goal_side_required`, `route_required` (here every
//! route is legal, so that it asks for nothing more) and what random actions reached in percent.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clear::{self, Clear, ClearRule};
use crate::world::{Episode, World, WorldError};

/// A protocol, checked.
pub struct Protocol {
    /// Where its starts and goals come from.
    pub source: String,
    /// Steps of each episode.
    pub steps: u64,
    /// Its sets of tasks, at least one.
    pub sets: Vec<ProtocolSet>,
}

/// Tasks of one rule.
pub struct ProtocolSet {
    /// Its name.
    pub name: String,
    /// The world, in which a goal is reached by the set's rule.
    pub world: Clear,
    /// Starts and goals, at least one.
    pub tasks: Vec<Episode>,
    /// Share of the tasks that random actions are published to reach.
    pub random: Option<f64>,
}

/// More steps than any episode takes.
const LONGEST: u64 = 100_000;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    source: String,
    image_size: f64,
    border: f64,
    wall_axis: f64,
    wall_center: f64,
    wall_thickness: f64,
    agent_radius: f64,
    door_center: f64,
    door_half: f64,
    budget_steps: u64,
    protocols: Map<String, Value>,
}

#[derive(Deserialize)]
struct Set {
    threshold_px: f32,
    #[serde(default)]
    goal_side_required: bool,
    random_success_percent: Option<f64>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    start: [f32; 2],
    goal: [f32; 2],
}

impl Protocol {
    /// The name of the world that protocols are of.
    pub const WORLD: &'static str = Clear::NAME;

    /// Reads a protocol for a model that sees pictures of `resolution` pixels a side.
    pub fn read(path: &Path, resolution: usize) -> Result<Self, WorldError> {
        let name = path.display();
        let wrong = |what: String| WorldError::Setting(format!("{name} is no protocol that can be played: {what}"));
        let text = std::fs::read_to_string(path)
            .map_err(|error| WorldError::Setting(format!("cannot read the protocol {name}: {error}")))?;
        let file: File = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        for (key, found, expected) in [
            ("image_size", file.image_size, clear::SIDE as f64),
            ("border", file.border, clear::BORDER),
            // 1: the wall stands upright.
            ("wall_axis", file.wall_axis, 1.0),
            ("wall_center", file.wall_center, clear::WALL),
            ("wall_thickness", file.wall_thickness, clear::THICKNESS),
            ("agent_radius", file.agent_radius, clear::RADIUS),
            ("door_center", file.door_center, clear::DOOR),
            ("door_half", file.door_half, clear::HALF_DOOR),
        ] {
            if found != expected {
                return Err(wrong(format!("`{key}` is {found}, and in the world {} it is {expected}", Clear::NAME)));
            }
        }
        if !(1..=LONGEST).contains(&file.budget_steps) {
            return Err(wrong(format!("`budget_steps` must be 1 to {LONGEST}, found {}", file.budget_steps)));
        }
        if file.protocols.is_empty() {
            return Err(wrong("`protocols` holds no set of pairs".to_owned()));
        }
        let sets = file.protocols.into_iter().map(|(name, set)| {
            let Set { threshold_px: near, goal_side_required: goal_side, random_success_percent, pairs } =
                serde_json::from_value(set).map_err(|error| wrong(format!("in `{name}`: {error}")))?;
            if !(near > 0.0 && near <= clear::SIDE as f32) {
                return Err(wrong(format!(
                    "`threshold_px` of `{name}` must be above 0 and at most {}, found {near}",
                    clear::SIDE
                )));
            }
            if pairs.is_empty() {
                return Err(wrong(format!("`{name}` has no pairs")));
            }
            let world = Clear::new(resolution, ClearRule { near, goal_side })?;
            for (number, Pair { start, goal }) in pairs.iter().enumerate() {
                for (what, place) in [("start", start), ("goal", goal)] {
                    if !world.possible(&[], place) {
                        let [x, y] = place;
                        return Err(wrong(format!(
                            "the {what} of pair {number} of `{name}`, [{x}, {y}], lies in a wall or outside"
                        )));
                    }
                }
            }
            let task =
                |Pair { start, goal }: Pair| Episode { layout: Vec::new(), state: start.to_vec(), goal: goal.to_vec() };
            let random = random_success_percent.map(|percent| percent / 100.0);
            Ok(ProtocolSet { name, world, tasks: pairs.into_iter().map(task).collect(), random })
        });
        Ok(Self { source: file.source, steps: file.budget_steps, sets: sets.collect::<Result<_, _>>()? })
    }
}
