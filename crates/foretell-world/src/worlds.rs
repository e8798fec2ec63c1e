//! The worlds by their names: what a command is told.

use std::fmt;
use std::sync::Arc;

use foretell_data::Auto;
use serde::{Deserialize, Serialize};

use crate::discs::{Discs, DiscsConfig};
use crate::rooms::{FloorPlan, Rooms, RoomsConfig};
use crate::world::{World, WorldError};

/// Side of the picture in pixels where nobody says otherwise.
const RESOLUTION: usize = 32;
/// Rooms along a side of a maze, likewise.
const ROOMS: usize = 3;
/// Discs in a box, likewise.
const DISCS: usize = 5;

fn resolution() -> usize {
    RESOLUTION
}

fn rooms() -> usize {
    ROOMS
}

fn discs() -> usize {
    DISCS
}

/// What an observation of discs is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiscView {
    /// A picture, `[3, H, W]`.
    Picture,
    /// The known objects themselves, `[7, N, 1]`: x, y, velocity and colour of each, in the same order in every observation.
    Objects,
}

impl fmt::Display for DiscView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Picture => "picture",
            Self::Objects => "objects",
        })
    }
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
    /// Discs in a box that bounce off each other, one of them pushed; their colours are others in each episode.
    Discs {
        /// Discs, 2 to 8, the pushed one among them.
        #[serde(default = "discs")]
        discs: usize,
        /// What an observation is: a picture, unless a system asks for the objects themselves.
        #[serde(default)]
        view: Auto<DiscView>,
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
    },
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self::TwoRooms { resolution: RESOLUTION }
    }
}

impl WorldConfig {
    /// The names.
    pub const NAMES: [&'static str; 4] = ["two-rooms", "two-rooms-fixed", "maze", "discs"];

    /// The world of this name, with our settings.
    pub fn named(name: &str) -> Result<Self, WorldError> {
        Ok(match name {
            "two-rooms" => Self::TwoRooms { resolution: RESOLUTION },
            "two-rooms-fixed" => Self::TwoRoomsFixed { resolution: RESOLUTION },
            "maze" => Self::Maze { resolution: RESOLUTION, rooms: ROOMS },
            "discs" => Self::discs(),
            _ => return Err(WorldError::Unknown { name: name.to_owned() }),
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TwoRooms { .. } => "two-rooms",
            Self::TwoRoomsFixed { .. } => "two-rooms-fixed",
            Self::Maze { .. } => "maze",
            Self::Discs { .. } => "discs",
        }
    }

    /// Discs, with our settings.
    pub fn discs() -> Self {
        Self::Discs { discs: DISCS, view: Auto::Auto, resolution: RESOLUTION }
    }

    /// The world.
    pub fn init(&self) -> Result<Arc<dyn World>, WorldError> {
        let config = match *self {
            Self::TwoRooms { resolution } => RoomsConfig { plan: FloorPlan::RandomWall, resolution },
            Self::TwoRoomsFixed { resolution } => RoomsConfig { plan: FloorPlan::FixedWall, resolution },
            Self::Maze { resolution, rooms } => RoomsConfig { plan: FloorPlan::Maze(rooms), resolution },
            Self::Discs { discs, view, resolution } => {
                return Ok(Arc::new(Discs::new(DiscsConfig { discs, view, resolution })?));
            }
        };
        Ok(Arc::new(Rooms::new(config)?))
    }
}
