//! A dot among walls: the Two Rooms of EB-JEPA (arXiv 2602.03604) and PLDM (arXiv 2502.14819), the same with lava, mazes of several
//! rooms, and two worlds whose goals lie many steps off: Four Rooms (Sutton et al., 1999; a door may be shut as in H-JEPA's, arXiv
//! 2610.06805) and a long maze, whose rooms are joined by one winding way.
//!
//! Everything is measured in the pixels of the published world, 65 on a side, whatever the resolution of the picture.

use std::f32::consts::TAU;

use foretell_data::random::{Stream, rng};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::paths::Paths;
use crate::walls::{Solid, walk};
use crate::world::{Episode, Reach, Scene, Spec, Split, Way, World, WorldError};

/// Side of the world.
const SIDE: f32 = 65.0;
/// Width of the solid frame.
const BORDER: f32 = 5.0;
/// Concentration of the heading's change from step to step, a von Mises distribution.
const KAPPA: f64 = 5.0;
/// Mean, standard deviation and limits of a step of behaviour.
const STEP: (f32, f32, f32, f32) = (1.0, 0.4, 0.2, 1.8);
/// Share of behaviour that makes for a door.
const CROSSING: f64 = 0.35;
/// The longest action.
const REACH: f32 = 2.45;
/// Nearer than this is there.
const SUCCESS: f32 = 4.5;
/// Layouts, and places in one, that are tried for goals as far off as the settings say.
const TRIED: usize = 100;
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
/// Nearer to lava than this is a hazard.
const HEAT: f32 = 3.0;
/// Wall and door where they are always the same.
const FIXED: [f32; 2] = [32.0, 20.0];

/// How the walls stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloorPlan {
    /// One wall with one door, both elsewhere in each episode.
    RandomWall,
    /// One wall with one door, always the same.
    FixedWall,
    /// One wall with one door, and before the door, on the wider side, a square of lava that stops nobody; elsewhere in each episode.
    Lava,
    /// A square of rooms, so many along a side, 2 to 4, with doors that join them all.
    Maze(usize),
    /// Two rooms along a side and a door between any two neighbours, elsewhere in each episode; in half of the episodes one
    /// is shut.
    FourRooms,
    /// Four rooms along a side, and between any two of the sixteen one way, which winds.
    LongMaze,
}

impl FloorPlan {
    /// The world's name.
    fn name(self) -> &'static str {
        match self {
            Self::RandomWall => "two-rooms",
            Self::FixedWall => "two-rooms-fixed",
            Self::Lava => "two-rooms-lava",
            Self::Maze(_) => "maze",
            Self::FourRooms => "four-rooms",
            Self::LongMaze => "long-maze",
        }
    }

    /// Rooms along a side, where they are a square.
    fn square(self) -> Option<usize> {
        match self {
            Self::RandomWall | Self::FixedWall | Self::Lava => None,
            Self::Maze(rooms) => Some(rooms),
            Self::FourRooms => Some(2),
            Self::LongMaze => Some(4),
        }
    }
}

/// How many of the longest steps lie between start and goal of a held-out task, on the shortest way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// At least.
    pub nearest: usize,
    /// At most.
    pub farthest: usize,
}

impl Steps {
    fn contain(self, way: f32) -> bool {
        (self.nearest as f32 * REACH..=self.farthest as f32 * REACH).contains(&way)
    }
}

/// How thick, wide and bright things are, in pixels of the published world and shares of the brightest: others than in training show what a
/// model has made of a world and not of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomsLook {
    /// Thickness of a wall, 1 to 12.
    pub wall: f32,
    /// Width of a door, 4 to 16.
    pub door: f32,
    /// Standard deviation of the dot, 0.5 to 4.
    pub dot: f32,
    /// Brightness of the dot's middle, above 0 and at most 1.
    pub dot_light: f32,
    /// Brightness of walls, likewise.
    pub wall_light: f32,
}

impl Default for RoomsLook {
    /// The published world's.
    fn default() -> Self {
        Self { wall: 3.0, door: 8.0, dot: 1.3, dot_light: 1.0, wall_light: 1.0 }
    }
}

impl RoomsLook {
    fn check(self) -> Result<(), WorldError> {
        let Self { wall, door, dot, dot_light, wall_light } = self;
        let dark = f32::MIN_POSITIVE;
        for (key, found, least, most) in [
            ("wall", wall, 1.0, 12.0),
            ("door", door, 4.0, 16.0),
            ("dot", dot, 0.5, 4.0),
            ("dot_light", dot_light, dark, 1.0),
            ("wall_light", wall_light, dark, 1.0),
        ] {
            if !(least..=most).contains(&found) {
                let range =
                    if least == dark { "above 0 and at most 1".to_owned() } else { format!("{least} to {most}") };
                return Err(WorldError::Setting(format!("`data.world.{key}` must be {range}, found {found}")));
            }
        }
        Ok(())
    }
}

/// Lengths of [`Rooms`]. [`Rooms::new`] makes the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoomsConfig {
    /// How the walls stand.
    pub plan: FloorPlan,
    /// Side of the picture in pixels, 16 to 256; the published one has 65.
    pub resolution: usize,
    /// How far off a held-out goal is; `None`: in another room.
    pub steps: Option<Steps>,
    /// How things look.
    pub look: RoomsLook,
}

/// See the module. The state is the dot's place, `[x, y]`; the action its displacement. A step ends at the first wall.
/// An observation has two channels: the dot, a Gaussian with peak 1, and the walls; with lava a third one, where that is.
pub struct Rooms {
    config: RoomsConfig,
    spec: Spec,
}

impl Rooms {
    /// A world; settings out of their range are an error.
    pub fn new(config: RoomsConfig) -> Result<Self, WorldError> {
        let RoomsConfig { plan, resolution, steps, look } = config;
        if !(16..=256).contains(&resolution) {
            return Err(WorldError::resolution(resolution));
        }
        look.check()?;
        if let FloorPlan::Maze(rooms) = plan
            && !(2..=4).contains(&rooms)
        {
            return Err(WorldError::Setting(format!(
                "`data.world.rooms` of a maze must be 2 to 4 along a side, found {rooms}"
            )));
        }
        let spec = Spec {
            name: plan.name().to_owned(),
            observation: [if plan == FloorPlan::Lava { 3 } else { 2 }, resolution, resolution],
            state: 2,
            action: 2,
            reach: Reach::Ball(REACH),
        };
        let world = Self { config, spec };
        let mut random = rng(0, Stream::Scene, 0, 0);
        if let Some(Steps { nearest, farthest }) = steps
            && !(0..TRIED).any(|_| world.far_apart(&world.draw_layout(&mut random), &mut random).is_some())
        {
            return Err(WorldError::Setting(format!(
                "goals of {} lie `data.world.nearest` to `data.world.farthest` steps off, such as 10 to 75: found {nearest} to {farthest}, and no goal lay so in {TRIED} layouts",
                plan.name()
            )));
        }
        Ok(world)
    }

    /// What a way that harms nobody goes around, where that is more than the walls.
    fn around(&self, layout: &[f32]) -> Option<Vec<Solid>> {
        let lava = self.lava(layout)?;
        let mut solids = self.solids(layout);
        solids.push(lava);
        Some(solids)
    }

    /// Start and goal as far apart as the settings say, if some are soon found in this layout.
    fn far_apart(&self, layout: &[f32], rng: &mut ChaCha8Rng) -> Option<(Vec<f32>, Vec<f32>)> {
        let (steps, solids) = (self.config.steps?, self.solids(layout));
        let goal = Self::place(&solids, rng);
        let way = self.way(layout, &goal);
        let start = (0..TRIED).map(|_| Self::place(&solids, rng)).find(|start| steps.contain(way(start)))?;
        Some((start, goal))
    }

    /// Rooms along a side, where they are a square.
    fn maze(&self) -> Option<usize> {
        self.config.plan.square()
    }

    /// Centres of the walls between the rooms of a maze, along either axis.
    fn lines(&self) -> Vec<f32> {
        let rooms = self.maze().unwrap_or(1);
        (1..rooms).map(|i| BORDER + (SIDE - 2.0 * BORDER) * i as f32 / rooms as f32).collect()
    }

    /// From and to along an axis, of the `i`th room.
    fn room(&self, i: usize) -> (f32, f32) {
        let wall = self.config.look.wall;
        let lines = self.lines();
        let low = if i == 0 { BORDER } else { lines[i - 1] + wall / 2.0 };
        let high = lines.get(i).map_or(SIDE - BORDER, |line| line - wall / 2.0);
        (low, high)
    }

    /// The square of lava, where there is one.
    fn lava(&self, layout: &[f32]) -> Option<Solid> {
        let around = |centre: f32| (centre - LAVA, centre + LAVA);
        (self.config.plan == FloorPlan::Lava).then(|| Solid { x: around(layout[2]), y: around(layout[3]) })
    }

    /// The walls. A layout of Two Rooms is `[wall x, door y]`, and the centre of the lava where there is some; of a maze the door of each edge between rooms, 0 where there
    /// is none: first the vertical walls, row by row, then the horizontal ones.
    fn solids(&self, layout: &[f32]) -> Vec<Solid> {
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

    fn draw_layout(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
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
    fn held_out(&self, layout: &[f32]) -> bool {
        let walls = if self.config.plan == FloorPlan::Lava { &layout[..2] } else { layout };
        let bytes: Vec<u8> = walls.iter().flat_map(|x| x.to_le_bytes()).collect();
        xxh3_64(&bytes).is_multiple_of(HELD_OUT)
    }

    /// Which room a place lies in.
    fn room_of(&self, layout: &[f32], state: &[f32]) -> (usize, usize) {
        if self.maze().is_none() {
            return (usize::from(state[0] > layout[0]), 0);
        }
        let lines = self.lines();
        let of = |x: f32| lines.iter().filter(|line| x > **line).count();
        (of(state[0]), of(state[1]))
    }

    fn place(solids: &[Solid], rng: &mut ChaCha8Rng) -> Vec<f32> {
        loop {
            let mut along = || rng.random_range(BORDER + 1.0..SIDE - BORDER - 1.0);
            let place = [along(), along()];
            // Not so near a wall that the picture hides the dot.
            let clear = Solid { x: (place[0] - 1.0, place[0] + 1.0), y: (place[1] - 1.0, place[1] + 1.0) };
            if solids.iter().all(|s| s.covers(clear.x, clear.y) == 0.0) {
                return place.to_vec();
            }
        }
    }

    /// How much of each pixel these cover, in a picture of `side` pixels.
    fn draw(solids: &[Solid], side: usize, out: &mut [f32]) {
        let pixel = SIDE / side as f32;
        out.fill(0.0);
        for solid in solids {
            let from = |low: f32| (low / pixel).floor().max(0.0) as usize;
            let to = |high: f32| ((high / pixel).ceil() as usize).min(side);
            for row in from(solid.y.0)..to(solid.y.1) {
                for column in from(solid.x.0)..to(solid.x.1) {
                    let span = |i: usize| (i as f32 * pixel, (i + 1) as f32 * pixel);
                    let value = &mut out[row * side + column];
                    *value = (*value + solid.covers(span(column), span(row))).min(1.0);
                }
            }
        }
    }

    /// A place on the far side of a door of the room that a dot is in.
    fn way_out(&self, layout: &[f32], state: &[f32], rng: &mut ChaCha8Rng) -> Option<[[f32; 2]; 2]> {
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

/// A von Mises variate around 0 (Best and Fisher, 1979).
fn von_mises(kappa: f64, rng: &mut ChaCha8Rng) -> f32 {
    let tau = 1.0 + (1.0 + 4.0 * kappa * kappa).sqrt();
    let rho = (tau - (2.0 * tau).sqrt()) / (2.0 * kappa);
    let r = (1.0 + rho * rho) / (2.0 * rho);
    loop {
        let z = (std::f64::consts::PI * rng.random::<f64>()).cos();
        let f = (1.0 + r * z) / (r + z);
        let c = kappa * (r - f);
        let u: f64 = rng.random();
        if c * (2.0 - c) > u || (c / u).ln() + 1.0 >= c {
            let angle = f.clamp(-1.0, 1.0).acos();
            return if rng.random_bool(0.5) { angle as f32 } else { -angle as f32 };
        }
    }
}

impl World for Rooms {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Start and goal lie in different rooms, or in a held-out task as far apart as the settings say. With a fixed wall there is
    /// one layout: then only starts and goals are held out, by being drawn anew.
    fn reset(&self, split: Split, rng: &mut ChaCha8Rng) -> Episode {
        let varies = self.config.plan != FloorPlan::FixedWall;
        let draw = |rng: &mut ChaCha8Rng| {
            let mut layout = self.draw_layout(rng);
            while varies && self.held_out(&layout) != (split == Split::HeldOut) {
                layout = self.draw_layout(rng);
            }
            layout
        };
        let mut layout = draw(rng);
        if split == Split::HeldOut && self.config.steps.is_some() {
            loop {
                if let Some((state, goal)) = self.far_apart(&layout, rng) {
                    return Episode { layout, state, goal };
                }
                layout = draw(rng);
            }
        }
        let mut solids = self.solids(&layout);
        solids.extend(self.lava(&layout));
        let state = Self::place(&solids, rng);
        let mut goal = Self::place(&solids, rng);
        while self.room_of(&layout, &state) == self.room_of(&layout, &goal) {
            goal = Self::place(&solids, rng);
        }
        Episode { layout, state, goal }
    }

    fn anywhere(&self, layout: &[f32], rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        Some(Self::place(&self.solids(layout), rng))
    }

    fn step(&self, layout: &[f32], state: &mut [f32], action: &[f32]) {
        let mut action = [action[0], action[1]];
        self.spec.within_reach(&mut action);
        let there = walk(&self.solids(layout), [state[0], state[1]], action);
        state.copy_from_slice(&there);
    }

    fn render(&self, layout: &[f32], state: &[f32], out: &mut [f32]) {
        let side = self.config.resolution;
        let (pixel, look) = (SIDE / side as f32, self.config.look);
        let (dot, rest) = out.split_at_mut(side * side);
        let (walls, lava) = rest.split_at_mut(side * side);
        let bell = |centre: f32| -> Vec<f32> {
            let at = |i: usize| ((i as f32 + 0.5) * pixel - centre) / look.dot;
            (0..side).map(|i| (-0.5 * at(i) * at(i)).exp()).collect()
        };
        let (x, y) = (bell(state[0]), bell(state[1]));
        for (row, y) in dot.chunks_exact_mut(side).zip(y) {
            row.iter_mut().zip(&x).for_each(|(value, x)| *value = look.dot_light * x * y);
        }
        Self::draw(&self.solids(layout), side, walls);
        for value in walls.iter_mut() {
            *value *= look.wall_light;
        }
        if let Some(square) = self.lava(layout) {
            Self::draw(&[square], side, lava);
        }
    }

    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        (state[0] - goal[0]).hypot(state[1] - goal[1])
    }

    fn way(&self, layout: &[f32], goal: &[f32]) -> Way<'_> {
        let to = |solids| Paths::to(solids, SIDE as usize, [goal[0], goal[1]]);
        let (plain, around) = (to(self.solids(layout)), self.around(layout).map(to));
        Box::new(move |state| {
            let place = [state[0], state[1]];
            let around = around.as_ref().map(|paths| paths.length(place)).filter(|length| length.is_finite());
            around.unwrap_or_else(|| plain.length(place))
        })
    }

    fn has_hazards(&self) -> bool {
        self.config.plan == FloorPlan::Lava
    }

    fn hazard(&self, layout: &[f32], state: &[f32]) -> f32 {
        self.lava(layout).map_or(0.0, |lava| (1.0 - lava.off([state[0], state[1]]) / HEAT).clamp(0.0, 1.0))
    }

    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        self.distance(state, goal) < SUCCESS
    }

    fn possible(&self, layout: &[f32], state: &[f32]) -> bool {
        let inside = |x: f32| x.is_finite() && (0.0..SIDE).contains(&x);
        state.len() == 2
            && inside(state[0])
            && inside(state[1])
            && !self.solids(layout).iter().any(|s| s.contains([state[0], state[1]]))
    }

    fn oracle(&self, layout: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let step = |solids| {
            Paths::to(solids, SIDE as usize, [goal[0], goal[1]]).step([state[0], state[1]], REACH).map(|by| by.to_vec())
        };
        self.around(layout).and_then(step).or_else(|| step(self.solids(layout)))
    }

    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let mut action = vec![goal[0] - state[0], goal[1] - state[1]];
        self.spec.within_reach(&mut action);
        Some(action)
    }

    /// A random walk whose heading drifts and knows of no wall, as published, so that it often pushes against one; one in three
    /// makes for a door first.
    fn behave(&self, episode: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let solids = self.solids(&episode.layout);
        let (mean, deviation, least, most) = STEP;
        let length = Normal::new(mean, deviation).expect("a positive deviation");
        let mut place = [episode.state[0], episode.state[1]];
        let mut heading = TAU * rng.random::<f32>();
        let mut stops: Vec<[f32; 2]> = Vec::new();
        if rng.random_bool(CROSSING)
            && let Some(way) = self.way_out(&episode.layout, &episode.state, rng)
        {
            stops.extend(way.into_iter().rev());
        }
        let mut actions = Vec::with_capacity(2 * steps);
        for _ in 0..steps {
            let mut long = length.sample(rng);
            while !(least..=most).contains(&long) {
                long = length.sample(rng);
            }
            if stops.last().is_some_and(|s| (s[0] - place[0]).hypot(s[1] - place[1]) < mean) {
                stops.pop();
            }
            // Towards a door with the same noise, halved so that the door is met.
            heading = match stops.last() {
                Some(stop) => (stop[1] - place[1]).atan2(stop[0] - place[0]) + 0.5 * von_mises(KAPPA, rng),
                None => heading + von_mises(KAPPA, rng),
            };
            let action = [long * heading.cos(), long * heading.sin()];
            place = walk(&solids, place, action);
            actions.extend(action);
        }
        actions
    }

    fn scene(&self, layout: &[f32], side: usize) -> Option<Scene> {
        let mut solid = vec![0.0; side * side];
        Self::draw(&self.solids(layout), side, &mut solid);
        let harmful = self.lava(layout).map(|lava| {
            let mut harmful = vec![0.0; side * side];
            Self::draw(&[lava], side, &mut harmful);
            harmful
        });
        Some(Scene { solid, harmful: harmful.unwrap_or_default(), near: SUCCESS / SIDE })
    }

    fn place(&self, state: &[f32]) -> [f32; 2] {
        [state[0] / SIDE, state[1] / SIDE]
    }
}
