//! The worlds by their names: what a command is told.

use std::fmt;
use std::sync::Arc;

use foretell_data::Auto;
use serde::{Deserialize, Serialize};

use crate::cart_pole::CartPole;
use crate::clear::{Clear, ClearRule};
use crate::discs::{Discs, DiscsConfig};
use crate::galton::Galton;
use crate::program::Program;
use crate::push_t::PushT;
use crate::rooms::{FloorPlan, Rooms, RoomsConfig, RoomsLook, Steps};
use crate::world::{World, WorldError};

/// Side of the picture in pixels where nobody says otherwise.
const RESOLUTION: usize = 32;
/// Rooms along a side of a maze, likewise.
const ROOMS: usize = 3;
/// Discs in a box, likewise.
const DISCS: usize = 5;
/// Steps to goals that lie far off, at least and at most, likewise.
const NEAREST: usize = 10;
const FARTHEST: usize = 75;
/// Side of a camera's picture, and its frames, likewise.
const CAMERA: usize = 64;
const FRAMES: usize = 2;

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

fn camera() -> usize {
    CAMERA
}

fn frames() -> usize {
    FRAMES
}

fn nearest() -> usize {
    NEAREST
}

fn farthest() -> usize {
    FARTHEST
}

/// A world and its settings. [`WorldConfig::init`] makes the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WorldConfig {
    /// Two rooms; wall and door are elsewhere in each episode.
    TwoRooms {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
        /// How things look: `wall`, `door`, `dot`, `dot_light` and `wall_light`.
        #[serde(flatten)]
        look: RoomsLook,
    },
    /// Two rooms; wall and door are always the same.
    TwoRoomsFixed {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
    },
    /// Two rooms with lava before the door, all of it elsewhere in each episode.
    TwoRoomsLava {
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
    /// Four rooms with a door between any two neighbours, one of which may be shut; held-out goals lie many steps off.
    FourRooms {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
        /// Longest steps from start to goal of a held-out task on the shortest way, at least.
        #[serde(default = "nearest")]
        nearest: usize,
        /// And at most.
        #[serde(default = "farthest")]
        farthest: usize,
    },
    /// Sixteen rooms and one winding way between any two; held-out goals lie many steps off.
    LongMaze {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
        /// Longest steps from start to goal of a held-out task on the shortest way, at least.
        #[serde(default = "nearest")]
        nearest: usize,
        /// And at most.
        #[serde(default = "farthest")]
        farthest: usize,
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
    /// A pole on a cart that is to stay upright, seen through a camera.
    CartPole {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "camera")]
        resolution: usize,
        /// Frames of an observation, 1 or 2: from two, speeds can be told.
        #[serde(default = "frames")]
        frames: usize,
    },
    /// A block that is to be pushed onto a pose.
    PushT {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "camera")]
        resolution: usize,
        /// Steps of play from start to goal of a held-out task, at most 200; 0 for the published goal.
        #[serde(default)]
        offset: usize,
        /// Whether 20 pixels and 20 degrees are near enough; otherwise 0.95 of the goal must be covered.
        #[serde(default)]
        loose: bool,
    },
    /// A ball that falls over pegs, left or right by chance.
    Galton {
        /// Side of the picture in pixels, 16 to 256.
        #[serde(default = "resolution")]
        resolution: usize,
    },
    /// A world of one's own that another program plays, named by the environment.
    Program {
        /// What the program calls it; empty until asked.
        #[serde(default)]
        name: String,
    },
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self::two_rooms(RESOLUTION)
    }
}

impl WorldConfig {
    /// The names of those that are built in.
    pub const NAMES: [&'static str; 11] = [
        "two-rooms",
        "two-rooms-fixed",
        "two-rooms-lava",
        "maze",
        "four-rooms",
        "long-maze",
        "discs",
        Clear::NAME,
        CartPole::NAME,
        PushT::NAME,
        Galton::NAME,
    ];

    /// All names, as people are told them.
    pub fn known() -> String {
        format!("{}, and {} for one of your own", Self::NAMES.join(", "), Program::NAME)
    }

    /// The world of this name, with our settings.
    pub fn named(name: &str) -> Result<Self, WorldError> {
        Ok(match name {
            "two-rooms" => Self::two_rooms(RESOLUTION),
            "two-rooms-fixed" => Self::TwoRoomsFixed { resolution: RESOLUTION },
            "two-rooms-lava" => Self::TwoRoomsLava { resolution: RESOLUTION },
            "maze" => Self::Maze { resolution: RESOLUTION, rooms: ROOMS },
            "discs" => Self::discs(),
            "four-rooms" => Self::FourRooms { resolution: RESOLUTION, nearest: NEAREST, farthest: FARTHEST },
            "long-maze" => Self::LongMaze { resolution: RESOLUTION, nearest: NEAREST, farthest: FARTHEST },
            Clear::NAME => Self::TwoRoomsClear { resolution: RESOLUTION, strict: false },
            CartPole::NAME => Self::CartPole { resolution: CAMERA, frames: FRAMES },
            PushT::NAME => Self::PushT { resolution: CAMERA, offset: 0, loose: false },
            Galton::NAME => Self::Galton { resolution: RESOLUTION },
            Program::NAME => Self::Program { name: String::new() },
            _ => return Err(WorldError::Unknown { name: name.to_owned() }),
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TwoRooms { .. } => "two-rooms",
            Self::TwoRoomsFixed { .. } => "two-rooms-fixed",
            Self::TwoRoomsLava { .. } => "two-rooms-lava",
            Self::Maze { .. } => "maze",
            Self::Discs { .. } => "discs",
            Self::FourRooms { .. } => "four-rooms",
            Self::LongMaze { .. } => "long-maze",
            Self::TwoRoomsClear { .. } => Clear::NAME,
            Self::CartPole { .. } => CartPole::NAME,
            Self::PushT { .. } => PushT::NAME,
            Self::Galton { .. } => Galton::NAME,
            Self::Program { .. } => Program::NAME,
        }
    }

    /// Two Rooms as published, in pictures of this side.
    pub fn two_rooms(resolution: usize) -> Self {
        Self::TwoRooms { resolution, look: RoomsLook::default() }
    }

    /// Discs, with our settings.
    pub fn discs() -> Self {
        Self::Discs { discs: DISCS, view: Auto::Auto, resolution: RESOLUTION }
    }

    /// Remembers what a world of a program is called, so that no other is taken for it.
    pub(crate) fn remember(&mut self, world: &dyn World) {
        if let Self::Program { name } = self {
            world.spec().name.clone_into(name);
        }
    }

    /// The world.
    pub fn init(&self) -> Result<Arc<dyn World>, WorldError> {
        let mut look = RoomsLook::default();
        let (plan, resolution, steps) = match *self {
            Self::TwoRooms { resolution, look: own } => {
                look = own;
                (FloorPlan::RandomWall, resolution, None)
            }
            Self::TwoRoomsFixed { resolution } => (FloorPlan::FixedWall, resolution, None),
            Self::TwoRoomsLava { resolution } => (FloorPlan::Lava, resolution, None),
            Self::Maze { resolution, rooms } => (FloorPlan::Maze(rooms), resolution, None),
            Self::FourRooms { resolution, nearest, farthest } => {
                (FloorPlan::FourRooms, resolution, Some(Steps { nearest, farthest }))
            }
            Self::LongMaze { resolution, nearest, farthest } => {
                (FloorPlan::LongMaze, resolution, Some(Steps { nearest, farthest }))
            }
            Self::TwoRoomsClear { resolution, strict } => {
                let rule = if strict { ClearRule::STRICT } else { ClearRule::MODERATE };
                return Ok(Arc::new(Clear::new(resolution, rule)?));
            }
            Self::Program { ref name } => return Ok(Arc::new(Program::of_environment(name)?)),
            Self::PushT { resolution, offset, loose } => return Ok(Arc::new(PushT::new(resolution, offset, loose)?)),
            Self::CartPole { resolution, frames } => return Ok(Arc::new(CartPole::new(resolution, frames)?)),
            Self::Galton { resolution } => return Ok(Arc::new(Galton::new(resolution)?)),
            Self::Discs { discs, view, resolution } => {
                return Ok(Arc::new(Discs::new(DiscsConfig { discs, view, resolution })?));
            }
        };
        Ok(Arc::new(Rooms::new(RoomsConfig { plan, resolution, steps, look })?))
    }
}
