//! A dot among walls: the Two Rooms of EB-JEPA (arXiv 2602.03604) and PLDM (arXiv 2502.14819), the same with lava, mazes of several
//! rooms, and two worlds whose goals lie many steps off: Four Rooms (Sutton et al., 1999; a door may be shut as in H-JEPA's, arXiv
//! 2610.06805) and a long maze, whose rooms are joined by one winding way.
//!
//! Everything is measured in the pixels of the published world, 65 on a side, whatever the resolution of the picture.

mod layout;

use std::f32::consts::TAU;

use foretell_data::random::{Stream, rng};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

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
/// Nearer to lava than this is a hazard.
const HEAT: f32 = 3.0;

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
