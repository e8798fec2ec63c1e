//! Where walls, doors and lava stand: layouts as they are drawn and what they make solid.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

use super::{BORDER, FloorPlan, Rooms, RoomsLook, SIDE};
use crate::walls::Solid;

/// One layout in so many is held out.
const HELD_OUT: u64 = 10;
/// A wall stands between these, of Two Rooms with a random wall.
const WALL_X: std::ops::Range<u32> = 20..45;
/// And its door's centre between these.
const DOOR_Y: std::ops::Range<u32> = 10..55;
/// Half the side of the square of lava.
const LAVA: f32 = 6.0;
/// Its centre lies so far from the wall, and at most so far beside the door: in the way, with room around it.
const LAVA_OFF: std::ops::RangeInclusive<u32> = 10..=12;
const LAVA_BESIDE: std::ops::RangeInclusive<i32> = -4..=4;
/// Wall and door where they are always the same.
const FIXED: [f32; 2] = [32.0, 20.0];

impl Rooms {
    /// Rooms along a side, where they are a square.
    pub(super) fn maze(&self) -> Option<usize> {
        self.config.plan.square()
    }

    /// Centres of the walls between the rooms of a maze, along either axis.
    pub(super) fn lines(&self) -> Vec<f32> {
        let rooms = self.maze().unwrap_or(1);
        (1..rooms).map(|i| BORDER + (SIDE - 2.0 * BORDER) * i as f32 / rooms as f32).collect()
    }

    /// From and to along an axis, of the `i`th room.
    pub(super) fn room(&self, i: usize) -> (f32, f32) {
        let wall = self.config.look.wall;
        let lines = self.lines();
        let low = if i == 0 { BORDER } else { lines[i - 1] + wall / 2.0 };
        let high = lines.get(i).map_or(SIDE - BORDER, |line| line - wall / 2.0);
        (low, high)
    }

    /// The square of lava, where there is one.
    pub(super) fn lava(&self, layout: &[f32]) -> Option<Solid> {
        let around = |centre: f32| (centre - LAVA, centre + LAVA);
        (self.config.plan == FloorPlan::Lava).then(|| Solid { x: around(layout[2]), y: around(layout[3]) })
    }

    /// The walls. A layout of Two Rooms is `[wall x, door y]`, and the centre of the lava where there is some; of a maze the door of each edge between rooms, 0 where there
    /// is none: first the vertical walls, row by row, then the horizontal ones.
    pub(super) fn solids(&self, layout: &[f32]) -> Vec<Solid> {
        let frame = |x, y| Solid { x, y };
        let all = (0.0, SIDE);
        let mut solids = vec![
            frame((0.0, BORDER), all),
            frame((SIDE - BORDER, SIDE), all),
            frame(all, (0.0, BORDER)),
            frame(all, (SIDE - BORDER, SIDE)),
        ];
        let RoomsLook { wall: thick, door: wide, .. } = self.config.look;
        // A wall across `along`, open around `door` (0: nowhere).
        let mut wall = |centre: f32, along: (f32, f32), door: f32, vertical: bool| {
            let across = (centre - thick / 2.0, centre + thick / 2.0);
            let parts =
                if door > 0.0 { vec![(along.0, door - wide / 2.0), (door + wide / 2.0, along.1)] } else { vec![along] };
            for part in parts.into_iter().filter(|p| p.0 < p.1) {
                solids.push(if vertical { Solid { x: across, y: part } } else { Solid { x: part, y: across } });
            }
        };
        let Some(rooms) = self.maze() else {
            wall(layout[0], all, layout[1], true);
            return solids;
        };
        let lines = self.lines();
        let mut doors = layout.iter();
        for vertical in [true, false] {
            for other in 0..rooms {
                let (low, high) = self.room(other);
                // Half a wall farther, so that walls meet at their crossings.
                let along = (low - thick / 2.0, high + thick / 2.0);
                for line in &lines {
                    wall(*line, along, doors.next().copied().unwrap_or(0.0), vertical);
                }
            }
        }
        solids
    }

    pub(super) fn draw_layout(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let rooms = match self.config.plan {
            FloorPlan::RandomWall => return vec![rng.random_range(WALL_X) as f32, rng.random_range(DOOR_Y) as f32],
            FloorPlan::FixedWall => return FIXED.to_vec(),
            FloorPlan::Lava => {
                let (wall, door) = (rng.random_range(WALL_X) as f32, rng.random_range(DOOR_Y) as f32);
                let wider = if wall > SIDE / 2.0 { -1.0 } else { 1.0 };
                let off = wider * rng.random_range(LAVA_OFF) as f32;
                let beside = rng.random_range(LAVA_BESIDE) as f32;
                let along = (door + beside).clamp(BORDER + LAVA, SIDE - BORDER - LAVA);
                return vec![wall, door, wall + off, along];
            }
            FloorPlan::Maze(_) | FloorPlan::FourRooms | FloorPlan::LongMaze => self.maze().unwrap_or(1),
        };
        let edges: Vec<(usize, usize, usize)> = [true, false]
            .into_iter()
            .flat_map(|vertical| {
                (0..rooms).flat_map(move |other| (0..rooms - 1).map(move |line| (vertical, other, line)))
            })
            .map(|(vertical, other, line)| {
                let (a, b) = if vertical {
                    (other * rooms + line, other * rooms + line + 1)
                } else {
                    (line * rooms + other, (line + 1) * rooms + other)
                };
                (a, b, other)
            })
            .collect();
        let mut layout = vec![0.0; edges.len()];
        let half = self.config.look.door / 2.0;
        let door = |e: usize, rng: &mut ChaCha8Rng| {
            let (low, high) = self.room(edges[e].2);
            rng.random_range(low + half..=high - half).round()
        };
        match self.config.plan {
            FloorPlan::FourRooms => {
                (0..edges.len()).for_each(|e| layout[e] = door(e, rng));
                if rng.random_bool(0.5) {
                    layout[rng.random_range(0..edges.len())] = 0.0;
                }
            }
            // Depth first: on to a new room as long as there is one beside, and back only where there is none.
            FloorPlan::LongMaze => {
                let mut way = vec![rng.random_range(0..rooms * rooms)];
                let mut seen = vec![false; rooms * rooms];
                while let Some(room) = way.last().copied() {
                    seen[room] = true;
                    let onward: Vec<(usize, usize)> = edges
                        .iter()
                        .enumerate()
                        .flat_map(|(e, (a, b, _))| [(e, *a, *b), (e, *b, *a)])
                        .filter(|(_, from, to)| *from == room && !seen[*to])
                        .map(|(e, _, to)| (e, to))
                        .collect();
                    if onward.is_empty() {
                        way.pop();
                        continue;
                    }
                    let (e, to) = onward[rng.random_range(0..onward.len())];
                    layout[e] = door(e, rng);
                    way.push(to);
                }
            }
            // Doors along a random spanning tree, and one edge in six besides.
            _ => {
                let mut group: Vec<usize> = (0..rooms * rooms).collect();
                let mut order: Vec<usize> = (0..edges.len()).collect();
                for last in (1..order.len()).rev() {
                    order.swap(last, rng.random_range(0..=last));
                }
                for e in order {
                    let (a, b, _) = edges[e];
                    let (a, b) = (group[a], group[b]);
                    if a != b || rng.random_bool(1.0 / 6.0) {
                        group.iter_mut().filter(|g| **g == b).for_each(|g| *g = a);
                        layout[e] = door(e, rng);
                    }
                }
            }
        }
        layout
    }

    /// Whether a layout belongs to evaluation, by its walls.
    pub(super) fn held_out(&self, layout: &[f32]) -> bool {
        let walls = if self.config.plan == FloorPlan::Lava { &layout[..2] } else { layout };
        let bytes: Vec<u8> = walls.iter().flat_map(|x| x.to_le_bytes()).collect();
        xxh3_64(&bytes).is_multiple_of(HELD_OUT)
    }

    /// Which room a place lies in.
    pub(super) fn room_of(&self, layout: &[f32], state: &[f32]) -> (usize, usize) {
        if self.maze().is_none() {
            return (usize::from(state[0] > layout[0]), 0);
        }
        let lines = self.lines();
        let of = |x: f32| lines.iter().filter(|line| x > **line).count();
        (of(state[0]), of(state[1]))
    }

    /// A place on the far side of a door of the room that a dot is in.
    pub(super) fn way_out(&self, layout: &[f32], state: &[f32], rng: &mut ChaCha8Rng) -> Option<[[f32; 2]; 2]> {
        let Some(rooms) = self.maze() else {
            let away = if state[0] > layout[0] { -1.0 } else { 1.0 };
            return Some([[layout[0], layout[1]], [layout[0] + away * 6.0, layout[1]]]);
        };
        let (column, row) = self.room_of(layout, state);
        let lines = self.lines();
        let half = layout.len() / 2;
        let vertical = |line: usize| layout[row * (rooms - 1) + line];
        let horizontal = |line: usize| layout[half + column * (rooms - 1) + line];
        let mut ways = Vec::new();
        for (line, side) in [(column.checked_sub(1), -1.0), ((column + 1 < rooms).then_some(column), 1.0)] {
            if let Some(line) = line.filter(|line| vertical(*line) > 0.0) {
                ways.push([[lines[line], vertical(line)], [lines[line] + side * 6.0, vertical(line)]]);
            }
        }
        for (line, side) in [(row.checked_sub(1), -1.0), ((row + 1 < rooms).then_some(row), 1.0)] {
            if let Some(line) = line.filter(|line| horizontal(*line) > 0.0) {
                ways.push([[horizontal(line), lines[line]], [horizontal(line), lines[line] + side * 6.0]]);
            }
        }
        (!ways.is_empty()).then(|| ways[rng.random_range(0..ways.len())])
    }
}
