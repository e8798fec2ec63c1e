//! The worlds by their names: what a command is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self::TwoRooms { resolution: RESOLUTION }
    }
}

impl WorldConfig {
    /// The names.
    pub const NAMES: [&'static str; 3] = ["two-rooms", "two-rooms-fixed", "maze"];

    /// The world of this name, with our settings.
    pub fn named(name: &str) -> Result<Self, WorldError> {
        Ok(match name {
            "two-rooms" => Self::TwoRooms { resolution: RESOLUTION },
            "two-rooms-fixed" => Self::TwoRoomsFixed { resolution: RESOLUTION },
            "maze" => Self::Maze { resolution: RESOLUTION, rooms: ROOMS },
            _ => return Err(WorldError::Unknown { name: name.to_owned() }),
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TwoRooms { .. } => "two-rooms",
            Self::TwoRoomsFixed { .. } => "two-rooms-fixed",
            Self::Maze { .. } => "maze",
        }
    }

    /// The world.
    pub fn init(&self) -> Result<Arc<dyn World>, WorldError> {
        let config = match *self {
            Self::TwoRooms { resolution } => RoomsConfig { plan: FloorPlan::RandomWall, resolution },
            Self::TwoRoomsFixed { resolution } => RoomsConfig { plan: FloorPlan::FixedWall, resolution },
            Self::Maze { resolution, rooms } => RoomsConfig { plan: FloorPlan::Maze(rooms), resolution },
        };
        Ok(Arc::new(Rooms::new(config)?))
    }
}
