//! The worlds by their names: what a command is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clear::{Clear, ClearRule};
use crate::rooms::{FloorPlan, Rooms, RoomsConfig};
use crate::world::{World, WorldError};

/// Side of the picture in pixels where nobody says otherwise.
const RESOLUTION: usize = 32;
/// Rooms along a side of a maze, likewise.
const ROOMS: usize = 3;

fn resolution() -> usize {
    RESOLUTION
}

fn rooms() -> usize {
    ROOMS
}

/// A world and its settings. [`WorldConfig::init`] makes the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WorldConfig {
    /// Two rooms; wall and door are elsewhere in each episode.
    TwoRooms {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
    },
    /// Two rooms; wall and door are always the same.
    TwoRoomsFixed {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
    },
    /// A square of rooms; its doors are elsewhere in each episode.
    Maze {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
        /// Rooms along a side, 2 to 4.
        #[serde(default = "rooms")]
        rooms: usize,
    },
    /// The Two Room of CLEAR-LeWM, in which its fixed protocol is played.
    TwoRoomsClear {
        /// Side of the picture in pixels, a divisor of the published 224 from 16 on.
        #[serde(default = "resolution")]
        resolution: usize,
        /// Whether its strict rule says when a goal is reached, 8 pixels on its side of the wall, or the moderate one, 16.
        #[serde(default)]
        strict: bool,
    },
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self::TwoRooms { resolution: RESOLUTION }
    }
}

impl WorldConfig {
    /// The names.
    pub const NAMES: [&'static str; 4] = ["two-rooms", "two-rooms-fixed", "maze", Clear::NAME];

    /// The world of this name, with our settings.
    pub fn named(name: &str) -> Result<Self, WorldError> {
        Ok(match name {
            "two-rooms" => Self::TwoRooms { resolution: RESOLUTION },
            "two-rooms-fixed" => Self::TwoRoomsFixed { resolution: RESOLUTION },
            "maze" => Self::Maze { resolution: RESOLUTION, rooms: ROOMS },
            Clear::NAME => Self::TwoRoomsClear { resolution: RESOLUTION, strict: false },
            _ => return Err(WorldError::Unknown { name: name.to_owned() }),
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TwoRooms { .. } => "two-rooms",
            Self::TwoRoomsFixed { .. } => "two-rooms-fixed",
            Self::Maze { .. } => "maze",
            Self::TwoRoomsClear { .. } => Clear::NAME,
        }
    }

    /// The world.
    pub fn init(&self) -> Result<Arc<dyn World>, WorldError> {
        let config = match *self {
            Self::TwoRooms { resolution } => RoomsConfig { plan: FloorPlan::RandomWall, resolution },
            Self::TwoRoomsFixed { resolution } => RoomsConfig { plan: FloorPlan::FixedWall, resolution },
            Self::Maze { resolution, rooms } => RoomsConfig { plan: FloorPlan::Maze(rooms), resolution },
            Self::TwoRoomsClear { resolution, strict } => {
                let rule = if strict { ClearRule::STRICT } else { ClearRule::MODERATE };
                return Ok(Arc::new(Clear::new(resolution, rule)?));
            }
        };
        Ok(Arc::new(Rooms::new(config)?))
    }
}
