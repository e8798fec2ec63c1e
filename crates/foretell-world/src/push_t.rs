//! Push-T: a disk pushes a T-shaped block onto a pose (Chi et al., 2023; the numbers are gym-pusht's).
//!
//! A table of 512 pixels a side, y downwards. The block is two boxes, 120 × 30 and 30 × 90; the agent a disk of radius 15 that is drawn
//! to a target by a spring (100 /s²) with a damper (20 /s), ten times a tenth of a second. The block rests wherever nothing pushes it.
//! Contacts are rapier2d's: the engine's world is built anew from the state for every action, with its deterministic operations, so that a
//! step is a function of state and action to the bit. The state is `[x, y, ẋ, ẏ]` of the agent and `[x, y, angle]` of the block
//! (the middle of the bar's outer edge), in pixels, radians and seconds; the block has no speed that lasts. The action is the
//! target's offset from the agent, two numbers within ±1, in units of 100 pixels. Observations are `[3, R, R]`, red, green and blue.
//!
//! The goal is a pose of the block, green in the picture: gym-pusht's, or with an offset where play brings the block in so many steps. It is reached where the
//! block covers more than 0.95 of it, or by the looser rule within 20 pixels and 20 degrees. `oracle` is a scripted expert that pushes
//! where a push along the face brings the block nearest; `greedy` makes straight for the block; play goes for places on and about it.

use std::f64::consts::{FRAC_PI_4, PI, TAU};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rapier2d::prelude::{ColliderBuilder, MassProperties, PhysicsWorld, RigidBodyBuilder, Vector};

use crate::world::{Episode, Reach, Scene, Spec, Split, World, WorldError};

/// Side of the table, where the agent's centre can be, and its radius.
const SIDE: f64 = 512.0;
const INSIDE: (f64, f64) = (22.0, 490.0);
const RADIUS: f64 = 15.0;
/// The walls' inner faces.
const WALLS: (f64, f64) = (7.0, 505.0);
/// The block's boxes about its origin: their middles and half sides.
const BOXES: [([f64; 2], [f64; 2]); 2] = [([0.0, 15.0], [60.0, 15.0]), ([0.0, 75.0], [15.0, 45.0])];
/// Its area, centre of mass, and moment of inertia over its mass, as gym-pusht sets them.
const AREA: f64 = 6300.0;
const CENTRE: [f64; 2] = [0.0, 45.0];
const INERTIA: f64 = 7875.0;
/// Farther from the centre of mass than this no point of it lies.
const EXTENT: f64 = 80.0;
/// The pose that is asked for.
const GOAL: [f64; 3] = [256.0, 256.0, FRAC_PI_4];
/// The agent sinks so far into the block; where a wall holds the block, it stops there.
const SOFT: f64 = 2.0;
/// Deeper than this it is never asked to be.
const SUNK: f64 = 6.0;
/// The spring and the damper that draw the agent, the engine's step, and its steps for an action.
const SPRING: f64 = 100.0;
const DAMPER: f64 = 20.0;
const TICK: f64 = 0.01;
const TICKS: usize = 10;
/// Pixels of an action's unit, and of the engine's.
const UNIT: f64 = 100.0;
/// Share of the goal that is covered where it is reached.
const COVERED: f64 = 0.95;
/// Or, by the looser rule, nearer than this, in pixels and radians.
const LOOSE: (f64, f64) = (20.0, PI / 9.0);
/// Points of the block whose displacement is its distance from a goal.
const MARKS: [[f64; 2]; 3] = [[-60.0, 15.0], [60.0, 15.0], [0.0, 120.0]];
/// The expert begins a push so far off the block, goes around at this distance from its centre of mass, and for a pixel less of
/// error goes a good way.
const GAP: f64 = 4.0;
const AROUND: f64 = EXTENT + RADIUS + 12.0;
const TRAVEL: f64 = 0.004;
/// Steps of a plan on the true dynamics.
const AFFORDABLE: u64 = 2000;
/// Steps of play before an offset task begins, at most.
const PLAYED: usize = 60;
/// Offset tasks whose block moves by less, in pixels, are none.
const MOVED: f64 = 20.0;

/// See the module.
pub struct PushT {
    spec: Spec,
    /// Steps of play from start to goal; 0 for the published goal.
    offset: usize,
    loose: bool,
    /// What the expert may push at: points of the outline and the directions out of it.
    faces: Vec<([f64; 2], [f64; 2])>,
}

/// A pose of the block.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pose {
    at: [f64; 2],
    angle: f64,
}

impl Pose {
    fn of(state: &[f32]) -> Self {
        Self { at: [f64::from(state[4]), f64::from(state[5])], angle: f64::from(state[6]) }
    }

    fn turned(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (sin, cos) = self.angle.sin_cos();
        [cos * x - sin * y, sin * x + cos * y]
    }

    /// A point of the block on the table.
    fn out(self, point: [f64; 2]) -> [f64; 2] {
        let turned = self.turned(point);
        [self.at[0] + turned[0], self.at[1] + turned[1]]
    }

    /// A point of the table about the block.
    fn into(self, point: [f64; 2]) -> [f64; 2] {
        let (sin, cos) = self.angle.sin_cos();
        let [x, y] = [point[0] - self.at[0], point[1] - self.at[1]];
        [cos * x + sin * y, cos * y - sin * x]
    }

    /// How far a point of the table is from the block; inside it is below 0.
    fn clearance(self, point: [f64; 2]) -> f64 {
        let point = self.into(point);
        let box_of = |(middle, half): ([f64; 2], [f64; 2])| {
            let off: [f64; 2] = std::array::from_fn(|i| (point[i] - middle[i]).abs() - half[i]);
            off[0].max(0.0).hypot(off[1].max(0.0)) + off[0].max(off[1]).min(0.0)
        };
        BOXES.into_iter().map(box_of).fold(f64::INFINITY, f64::min)
    }

    /// Mean displacement of its marks from another pose.
    fn apart(self, other: Self) -> f64 {
        let marks = MARKS.map(|mark| length(between(self.out(mark), other.out(mark))));
        marks.iter().sum::<f64>() / marks.len() as f64
    }

    /// Corners of its boxes, in order around each.
    fn corners(self) -> [[[f64; 2]; 4]; 2] {
        BOXES.map(|(middle, half)| {
            [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]
                .map(|side: [f64; 2]| self.out([middle[0] + side[0] * half[0], middle[1] + side[1] * half[1]]))
        })
    }

    /// Share of another pose that it covers.
    fn covers(self, other: Self) -> f64 {
        let (own, others) = (self.corners(), other.corners());
        own.iter().flat_map(|a| others.iter().map(|b| overlap(a, b))).sum::<f64>() / AREA
    }
}

fn between(from: [f64; 2], to: [f64; 2]) -> [f64; 2] {
    [to[0] - from[0], to[1] - from[1]]
}

fn length(of: [f64; 2]) -> f64 {
    of[0].hypot(of[1])
}

fn cross(a: [f64; 2], b: [f64; 2]) -> f64 {
    a[0] * b[1] - a[1] * b[0]
}

/// The way around from one angle to another, −π to π.
fn turn(from: f64, to: f64) -> f64 {
    (to - from + PI).rem_euclid(TAU) - PI
}

/// Area that two convex polygons of the same sense share (Sutherland and Hodgman, 1974).
fn overlap(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let mut left = a.to_vec();
    for (i, from) in b.iter().enumerate() {
        let edge = between(*from, b[(i + 1) % b.len()]);
        let inside = |point: [f64; 2]| cross(edge, between(*from, point));
        let mut cut = Vec::new();
        for (j, here) in left.iter().enumerate() {
            let next = left[(j + 1) % left.len()];
            let (now, then) = (inside(*here), inside(next));
            if now >= 0.0 {
                cut.push(*here);
            }
            if (now < 0.0) != (then < 0.0) {
                let share = now / (now - then);
                cut.push([0, 1].map(|k| here[k] + share * (next[k] - here[k])));
            }
        }
        left = cut;
    }
    let twice: f64 = (0..left.len()).map(|i| cross(left[i], left[(i + 1) % left.len()])).sum();
    twice.abs() / 2.0
}

/// Of its target's offset, and of its velocity, how much the agent moves in one action.
fn shift() -> (f64, f64) {
    let run = |offset: f64, speed: f64| {
        let (mut place, mut speed) = (0.0, speed);
        for _ in 0..TICKS {
            speed += TICK * (SPRING * (offset - place) - DAMPER * speed);
            place += TICK * speed;
        }
        place
    };
    (run(1.0, 0.0), run(0.0, 1.0))
}

fn agent(state: &[f32]) -> [f64; 2] {
    [f64::from(state[0]), f64::from(state[1])]
}

impl PushT {
    /// The world's name.
    pub const NAME: &'static str = "push-t";

    /// The world in pictures of this side, 16 to 256 pixels; its goals lie `offset` steps of play off, or are the published one (0);
    /// reached by coverage or by the looser rule.
    pub fn new(resolution: usize, offset: usize, loose: bool) -> Result<Self, WorldError> {
        if !(16..=256).contains(&resolution) {
            return Err(WorldError::resolution(resolution));
        }
        if offset > 200 {
            return Err(WorldError::Setting(format!(
                "`data.world.offset` of {} must be 0 to 200 steps, found {offset}",
                Self::NAME
            )));
        }
        let spec = Spec {
            name: Self::NAME.to_owned(),
            observation: [3, resolution, resolution],
            state: 7,
            action: 2,
            reach: Reach::Box(1.0),
        };
        Ok(Self { spec, offset, loose, faces: faces() })
    }

    /// A pose anywhere between the walls, and an agent beside it.
    fn anyplace(rng: &mut ChaCha8Rng) -> Vec<f32> {
        loop {
            let block = [rng.random_range(100.0..400.0), rng.random_range(100.0..400.0), rng.random_range(-PI..PI)];
            let pose = Pose { at: [block[0], block[1]], angle: block[2] };
            if pose.corners().iter().flatten().flatten().all(|x| (WALLS.0..=WALLS.1).contains(x)) {
                return Self::beside(block, rng);
            }
        }
    }

    /// The block in a pose, and an agent anywhere that does not touch it.
    fn beside(block: [f64; 3], rng: &mut ChaCha8Rng) -> Vec<f32> {
        let pose = Pose { at: [block[0], block[1]], angle: block[2] };
        loop {
            let place = [(); 2].map(|()| rng.random_range(50.0..450.0));
            if pose.clearance(place) > RADIUS + 1.0 {
                return [place[0], place[1], 0.0, 0.0, block[0], block[1], block[2]].map(|x| x as f32).to_vec();
            }
        }
    }

    /// What the agent is drawn to.
    fn target(from: [f64; 2], action: &[f32]) -> [f64; 2] {
        [0, 1].map(|i| (from[i] + UNIT * f64::from(action[i].clamp(-1.0, 1.0))).clamp(INSIDE.0, INSIDE.1))
    }

    /// An action that moves the agent by this much, if the spring is strong enough.
    fn moving(state: &[f32], by: [f64; 2]) -> Vec<f32> {
        let (of_offset, of_speed) = shift();
        (0..2)
            .map(|i| ((by[i] - of_speed * f64::from(state[2 + i])) / of_offset / UNIT).clamp(-1.0, 1.0) as f32)
            .collect()
    }
}

fn inside(place: [f64; 2]) -> bool {
    place.iter().all(|x| (INSIDE.0..=INSIDE.1).contains(x))
}

/// Whether the agent gets from one place to another without touching the block; one that touches it must move away.
fn open(pose: Pose, from: [f64; 2], to: [f64; 2]) -> bool {
    let (way, touching) = (between(from, to), pose.clearance(from));
    let steps = (length(way) / 4.0).ceil().max(1.0);
    (1..=steps as u32).all(|k| {
        let share = f64::from(k) / steps;
        let place = [0, 1].map(|i| from[i] + share * way[i]);
        pose.clearance(place) > (RADIUS + 1.0).min(touching + 0.5 * share * length(way))
    })
}

/// Where to go first on the shortest way that is free, by a ring of places around the block; `None` if there is none.
fn around(pose: Pose, from: [f64; 2], to: [f64; 2]) -> Option<[f64; 2]> {
    const RING: u32 = 24;
    if open(pose, from, to) {
        return Some(to);
    }
    let centre = pose.out(CENTRE);
    let ring = (0..RING).map(|i| {
        let (sin, cos) = (TAU * f64::from(i) / f64::from(RING)).sin_cos();
        [centre[0] + AROUND * cos, centre[1] + AROUND * sin].map(|x| x.clamp(INSIDE.0, INSIDE.1))
    });
    let places: Vec<[f64; 2]> = std::iter::once(to).chain(ring).collect();
    // From the end backwards (Dijkstra); the answer is the place from which the rest is shortest.
    let mut left = vec![f64::INFINITY; places.len()];
    let mut done = vec![false; places.len()];
    left[0] = 0.0;
    loop {
        let here = (0..places.len()).filter(|i| !done[*i]).min_by(|a, b| left[*a].total_cmp(&left[*b]))?;
        if !left[here].is_finite() {
            break;
        }
        done[here] = true;
        for next in (0..places.len()).filter(|i| !done[*i]).collect::<Vec<_>>() {
            let through = left[here] + length(between(places[next], places[here]));
            if through < left[next] && open(pose, places[next], places[here]) {
                left[next] = through;
            }
        }
        if done.iter().all(|done| *done) {
            break;
        }
    }
    let whole = |i: &usize| left[*i] + length(between(from, places[*i]));
    let seen = (0..places.len()).filter(|i| left[*i].is_finite() && open(pose, from, places[*i]));
    seen.min_by(|a, b| whole(a).total_cmp(&whole(b))).map(|i| places[i])
}

/// Points along the block's outline, a few pixels apart, at which a disk can lie.
fn faces() -> Vec<([f64; 2], [f64; 2])> {
    let still = Pose { at: [0.0; 2], angle: 0.0 };
    let mut faces = Vec::new();
    for (middle, half) in BOXES {
        for (axis, side) in [(0, -1.0), (0, 1.0), (1, -1.0), (1, 1.0)] {
            let mut out = [0.0; 2];
            out[axis] = side;
            let count = (half[1 - axis] / 3.0) as i32;
            for step in -count..=count {
                let mut point = middle;
                point[axis] += side * half[axis];
                point[1 - axis] += (half[1 - axis] - 1.0) * f64::from(step) / f64::from(count);
                let [touching, before] = [RADIUS, RADIUS + GAP].map(|by| [0, 1].map(|i| point[i] + by * out[i]));
                if still.clearance(touching) > RADIUS - 1e-6 && still.clearance(before) > RADIUS + 1.5 {
                    faces.push((point, out));
                }
            }
        }
    }
    faces
}

/// The engine's own unit.
fn scaled([x, y]: [f64; 2]) -> Vector {
    Vector::new((x / UNIT) as f32, (y / UNIT) as f32)
}

impl World for PushT {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// There is one table: what is held out are poses, which are drawn anew.
    fn reset(&self, split: Split, rng: &mut ChaCha8Rng) -> Episode {
        loop {
            let state = Self::anyplace(rng);
            let goal = Self::beside(GOAL, rng);
            if self.offset == 0 || split == Split::Training {
                let task = Episode { layout: goal[4..].to_vec(), state, goal };
                if !self.success(&task.state, &task.goal) {
                    return task;
                }
                continue;
            }
            let mut task = Episode { layout: goal[4..].to_vec(), state: state.clone(), goal: state };
            let actions = self.behave(&task, PLAYED + self.offset, rng);
            let before = rng.random_range(0..PLAYED);
            for (t, action) in actions.chunks_exact(2).take(before + self.offset).enumerate() {
                if t == before {
                    task.state.clone_from(&task.goal);
                }
                self.step(&[], &mut task.goal, action);
            }
            task.layout = task.goal[4..].to_vec();
            let moved = Pose::of(&task.state).apart(Pose::of(&task.goal));
            if moved > MOVED && self.possible(&[], &task.goal) && !self.success(&task.state, &task.goal) {
                return task;
            }
        }
    }

    fn anywhere(&self, _: &[f32], rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        Some(Self::anyplace(rng))
    }

    /// The pose is drawn.
    fn shows_goal(&self) -> bool {
        true
    }

    /// A step with a contact takes a tenth of a millisecond.
    fn affordable(&self) -> u64 {
        AFFORDABLE
    }

    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        let mut action = [action[0], action[1]];
        self.spec.within_reach(&mut action);
        let (pose, from) = (Pose::of(state), agent(state));
        let (mut place, mut speed) = (from, [f64::from(state[2]), f64::from(state[3])]);
        let target = Self::target(from, &action);
        let pulled = |place: [f64; 2], speed: [f64; 2]| -> [f64; 2] {
            [0, 1].map(|i| speed[i] + TICK * (SPRING * (target[i] - place[i]) - DAMPER * speed[i]))
        };
        // Where the agent comes nowhere near it, nothing happens to the block.
        let (mut free, mut fast, mut nearest) = (place, speed, f64::INFINITY);
        for _ in 0..TICKS {
            fast = pulled(free, fast);
            free = [0, 1].map(|i| (free[i] + TICK * fast[i]).clamp(INSIDE.0, INSIDE.1));
            nearest = nearest.min(pose.clearance(free));
        }
        let mut block = [pose.at[0], pose.at[1], pose.angle];
        if nearest.min(pose.clearance(from)) > RADIUS + 2.0 {
            (place, speed) = (free, fast);
        } else {
            let mut world = PhysicsWorld { gravity: Vector::new(0.0, 0.0), ..PhysicsWorld::default() };
            world.integration_parameters.dt = TICK as f32;
            let tee = RigidBodyBuilder::dynamic()
                .translation(scaled(pose.at))
                .rotation(pose.angle as f32)
                .can_sleep(false)
                .additional_mass_properties(MassProperties::new(scaled(CENTRE), 1.0, (INERTIA / UNIT / UNIT) as f32));
            let tee = world.insert_body(tee);
            for (middle, half) in BOXES {
                let part = ColliderBuilder::cuboid((half[0] / UNIT) as f32, (half[1] / UNIT) as f32)
                    .translation(scaled(middle))
                    .density(0.0)
                    .friction(1.0);
                world.insert_collider(part, Some(tee));
            }
            let (middle, thick) = (SIDE / 2.0, SIDE / UNIT);
            for (wall, out) in [(WALLS.0, -1.0), (WALLS.1, 1.0)] {
                for at in [[wall + out * SIDE, middle], [middle, wall + out * SIDE]] {
                    world.insert_collider(
                        ColliderBuilder::cuboid(thick as f32, thick as f32).translation(scaled(at)).friction(1.0),
                        None,
                    );
                }
            }
            let disk = world.insert_body(RigidBodyBuilder::kinematic_velocity_based().translation(scaled(from)));
            world.insert_collider(ColliderBuilder::ball((RADIUS / UNIT) as f32).friction(1.0), Some(disk));
            for _ in 0..TICKS {
                speed = pulled(place, speed);
                let mut next: [f64; 2] = [0, 1].map(|i| (place[i] + TICK * speed[i]).clamp(INSIDE.0, INSIDE.1));
                let held = Pose { at: [block[0], block[1]], angle: block[2] };
                let sunk = held.clearance(place);
                if sunk < RADIUS - SOFT && held.clearance(next) < sunk {
                    (next, speed) = (place, [0.0; 2]);
                }
                if let Some(disk) = world.bodies.get_mut(disk) {
                    disk.set_linvel(scaled(between(place, next).map(|x| x / TICK)), true);
                }
                // The table's friction: what moved the block before moves it no more.
                if let Some(tee) = world.bodies.get_mut(tee) {
                    tee.set_linvel(Vector::new(0.0, 0.0), true);
                    tee.set_angvel(0.0, true);
                }
                world.step();
                place = next;
                if let Some(tee) = world.bodies.get(tee) {
                    let at = tee.translation();
                    block = [f64::from(at.x) * UNIT, f64::from(at.y) * UNIT, f64::from(tee.rotation().angle())];
                }
            }
        }
        let next = [place[0], place[1], speed[0], speed[1], block[0], block[1], block[2]];
        for (x, next) in state.iter_mut().zip(next) {
            *x = next as f32;
        }
    }

    fn render(&self, layout: &[f32], state: &[f32], out: &mut [f32]) {
        const GREEN: [f32; 3] = [0.565, 0.933, 0.565];
        const GREY: [f32; 3] = [0.467, 0.533, 0.6];
        const BLUE: [f32; 3] = [0.255, 0.412, 0.882];
        let side = self.spec.observation[1];
        let pixel = SIDE / side as f64;
        out.fill(1.0);
        let mut paint = |middle: [f64; 2], extent: f64, colour: [f32; 3], clearance: &dyn Fn([f64; 2]) -> f64| {
            let range = |x: f64| {
                let from = ((x - extent) / pixel).floor().max(0.0) as usize;
                from..(((x + extent) / pixel).ceil().max(0.0) as usize).min(side)
            };
            for row in range(middle[1]) {
                for column in range(middle[0]) {
                    let point = [(column as f64 + 0.5) * pixel, (row as f64 + 0.5) * pixel];
                    // Edges are a pixel wide.
                    let shown = (0.5 - clearance(point) / pixel).clamp(0.0, 1.0) as f32;
                    for (c, colour) in colour.iter().enumerate() {
                        let value = &mut out[(c * side + row) * side + column];
                        *value += shown * (colour - *value);
                    }
                }
            }
        };
        let mut tee =
            |pose: Pose, colour| paint(pose.out(CENTRE), EXTENT + pixel, colour, &|point| pose.clearance(point));
        if let [x, y, angle] = *layout {
            tee(Pose { at: [f64::from(x), f64::from(y)], angle: f64::from(angle) }, GREEN);
        }
        tee(Pose::of(state), GREY);
        let disk = agent(state);
        paint(disk, RADIUS + pixel, BLUE, &|point| length(between(point, disk)) - RADIUS);
    }

    /// Mean displacement of three points of the block, in pixels.
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        Pose::of(state).apart(Pose::of(goal)) as f32
    }

    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        let (here, there) = (Pose::of(state), Pose::of(goal));
        if self.loose {
            length(between(here.at, there.at)) < LOOSE.0 && turn(here.angle, there.angle).abs() < LOOSE.1
        } else {
            here.covers(there) > COVERED
        }
    }

    fn possible(&self, _: &[f32], state: &[f32]) -> bool {
        let on_table = |x: &f32| (0.0..=SIDE).contains(&f64::from(*x));
        state.len() == 7
            && state.iter().all(|x| x.is_finite())
            && state[..2].iter().chain(&state[4..6]).all(on_table)
            && Pose::of(state).clearance(agent(state)) > RADIUS - SUNK
    }

    /// Pushes at the point of the outline where a push along the face, by the laws of an inelastic blow, brings the block nearest to its goal;
    /// goes around the block to get there.
    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let (pose, there, here) = (Pose::of(state), Pose::of(goal), agent(state));
        let best = self
            .faces
            .iter()
            .filter_map(|(point, out)| {
                let begin = pose.out([0, 1].map(|i| point[i] + (RADIUS + GAP) * out[i]));
                let push = pose.turned(*out).map(|x| -x);
                let arm = pose.turned(between(CENTRE, *point));
                let lever = cross(arm, push);
                // A blow at rest: what a unit of the push at this point moves the centre of mass, and turns it.
                let share = 1.0 / (1.0 + lever * lever / INERTIA);
                let after = |by: f64| {
                    let angle = pose.angle + by * share * lever / INERTIA;
                    let centre = pose.out(CENTRE);
                    let turned = Pose { at: [0.0; 2], angle }.turned(CENTRE);
                    Pose { at: [0, 1].map(|i| centre[i] + by * share * push[i] - turned[i]), angle }
                };
                let by = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
                let (by, left) =
                    by.map(|by| (by, after(by).apart(there))).into_iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
                let travel = length(between(here, begin));
                inside(begin).then_some((left + TRAVEL * travel, begin, push, by))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let (_, begin, push, by) = best?;
        let off = between(begin, here);
        let (along, beside) = (off[0] * push[0] + off[1] * push[1], cross(push, off).abs());
        if beside < 3.0 && (-3.0..2.0 * GAP).contains(&along) {
            // In place: on along the face, the gap and then the push, gently where little is left.
            let ahead = (GAP - along).max(0.0) + by.min(15.0);
            let back = cross(push, off);
            return Some(Self::moving(state, [push[0] * ahead + back * push[1], push[1] * ahead - back * push[0]]));
        }
        let next = around(pose, here, begin).unwrap_or_else(|| {
            // Out of the block's reach first.
            let centre = pose.out(CENTRE);
            let out = between(centre, here);
            [0, 1].map(|i| centre[i] + AROUND / length(out).max(1.0) * out[i])
        });
        let aim = between(here, next);
        let scale = (25.0 / length(aim).max(1e-9)).min(1.0);
        Some(Self::moving(state, aim.map(|x| x * scale)))
    }

    fn greedy(&self, state: &[f32], _: &[f32]) -> Option<Vec<f32>> {
        Some(Self::moving(state, between(agent(state), Pose::of(state).out(CENTRE))))
    }

    /// For some steps towards one place on or about the block, then towards another.
    fn behave(&self, episode: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (mut state, mut actions, mut left, mut aim) =
            (episode.state.clone(), Vec::with_capacity(2 * steps), 0, [0.0; 2]);
        for _ in 0..steps {
            let mut noise = || -> f64 { StandardNormal.sample(rng) };
            let (here, centre) = (agent(&state), Pose::of(&state).out(CENTRE));
            if left == 0 {
                aim = [0, 1].map(|i| (centre[i] + 60.0 * noise()).clamp(INSIDE.0, INSIDE.1));
            }
            let action = [0, 1].map(|i| (((aim[i] - here[i]) / UNIT + 0.15 * noise()).clamp(-1.0, 1.0)) as f32);
            if left == 0 {
                left = rng.random_range(5..15);
            }
            left -= 1;
            self.step(&episode.layout, &mut state, &action);
            actions.extend(action);
        }
        actions
    }

    /// The pose that is asked for.
    fn scene(&self, layout: &[f32], side: usize) -> Option<Scene> {
        let goal = <[f32; 3]>::try_from(layout).ok()?.map(f64::from);
        let goal = Pose { at: [goal[0], goal[1]], angle: goal[2] };
        let point = |i: usize| (i as f64 + 0.5) * SIDE / side as f64;
        let solid =
            (0..side * side).map(|i| f32::from(u8::from(goal.clearance([point(i % side), point(i / side)]) < 0.0)));
        Some(Scene { solid: solid.collect(), harmful: Vec::new(), near: 20.0 / SIDE as f32 })
    }

    /// The block's centre of mass.
    fn place(&self, state: &[f32]) -> [f32; 2] {
        Pose::of(state).out(CENTRE).map(|x| (x / SIDE) as f32)
    }
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};

    use super::*;
    use crate::{Control, Trial};

    fn world() -> PushT {
        PushT::new(64, 0, false).unwrap()
    }

    /// An agent at rest and the block in a pose.
    fn state(agent: [f32; 2], block: [f32; 3]) -> [f32; 7] {
        [agent[0], agent[1], 0.0, 0.0, block[0], block[1], block[2]]
    }

    fn pushed(from: [f32; 7], action: [f32; 2], times: usize) -> [f32; 7] {
        let mut state = from;
        (0..times).for_each(|_| world().step(&[], &mut state, &action));
        state
    }

    #[test]
    fn coverage_is_the_shared_area() {
        let at = |x: f64, y: f64, angle: f64| Pose { at: [x, y], angle };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(at(200.0, 100.0, 0.7).covers(at(200.0, 100.0, 0.7)), 1.0));
        // 10 along the bar: 110 × 30 and 20 × 90 of 6300.
        assert!(near(at(210.0, 100.0, 0.0).covers(at(200.0, 100.0, 0.0)), 5100.0 / 6300.0));
        // Upside down at the far end of the stem: stem on stem between the bars, 30 × 60, and each bar's middle on the other's stem.
        assert!(near(at(200.0, 220.0, PI).covers(at(200.0, 100.0, 0.0)), (1800.0 + 900.0 + 900.0) / 6300.0));
        assert!(near(at(200.0, 100.0, 0.0).covers(at(400.0, 100.0, 0.0)), 0.0));
        // A square turned by an eighth on itself: a regular octagon, 2 (√2 − 1) of its area.
        let square = |angle: f64| {
            [0, 1, 2, 3]
                .map(|i| [(angle + FRAC_PI_4 * f64::from(2 * i)).cos(), (angle + FRAC_PI_4 * f64::from(2 * i)).sin()])
        };
        assert!(near(overlap(&square(0.0), &square(FRAC_PI_4)), 4.0 * (2.0_f64.sqrt() - 1.0)));
    }

    #[test]
    fn a_spring_draws_the_agent_and_a_block_that_nothing_touches_rests() {
        let start = state([100.0, 400.0], [256.0, 256.0, 0.3]);
        let one = pushed(start, [1.0, 0.0], 1);
        // gym-pusht's ten ticks from rest: the first three bring it 1, 2.79 and 5.194 pixels on, the tenth 29.567 at 374.148 / s.
        assert!((one[0] - 129.567).abs() < 1e-3 && (one[2] - 374.148).abs() < 1e-2 && one[1] == 400.0, "{one:?}");
        let there = pushed(start, [1.0, 0.0], 30);
        assert_eq!(one[4..], start[4..]);
        assert!((there[0] - INSIDE.1 as f32).abs() < 1e-3, "it stops at the border: {there:?}");
    }

    #[test]
    fn a_push_moves_the_block_and_turns_it_the_way_that_it_should() {
        // Down on the middle of the bar: straight on.
        let straight = pushed(state([256.0, 170.0], [256.0, 200.0, 0.0]), [0.0, 0.5], 6);
        assert!((straight[4] - 256.0).abs() < 0.5 && straight[5] > 230.0 && straight[6].abs() < 0.02, "{straight:?}");
        // On its left end: the left goes down, which turns it from the x axis away from the y axis.
        let left = pushed(state([206.0, 170.0], [256.0, 200.0, 0.0]), [0.0, 0.5], 6);
        let right = pushed(state([306.0, 170.0], [256.0, 200.0, 0.0]), [0.0, 0.5], 6);
        assert!(left[6] < -0.2 && right[6] > 0.2, "{left:?} {right:?}");
        assert!((left[6] + right[6]).abs() < 0.05, "one is the other's mirror image: {left:?} {right:?}");
        // And it rests when the agent leaves.
        let gone = pushed(straight, [0.0, -1.0], 3);
        let rests = pushed(gone, [0.0, 0.0], 5);
        assert_eq!(gone[4..], rests[4..]);
    }

    #[test]
    fn walls_hold_the_block_and_the_block_the_agent() {
        let end = pushed(state([256.0, 300.0], [256.0, 360.0, 0.0]), [0.0, 1.0], 40);
        let lowest = Pose::of(&end).corners().iter().flatten().map(|corner| corner[1]).fold(0.0, f64::max);
        assert!((495.0..510.0).contains(&lowest), "the wall is at 505: {lowest}");
        assert!(world().possible(&[], &end), "the agent is not within the block: {end:?}");
    }

    #[test]
    fn play_keeps_to_the_table_and_moves_the_block() {
        let (world, mut moved, mut odd) = (world(), 0, 0);
        for i in 0..60 {
            let mut random = rng(1, Stream::Play, 0, i);
            let task = world.reset(Split::Training, &mut random);
            let (mut state, actions) = (task.state.clone(), world.behave(&task, 60, &mut random));
            for action in actions.chunks_exact(2) {
                world.step(&[], &mut state, action);
                odd += usize::from(!world.possible(&[], &state));
                assert!(
                    Pose::of(&state).corners().iter().flatten().flatten().all(|x| (-5.0..517.0).contains(x)),
                    "{state:?}"
                );
            }
            moved += usize::from(Pose::of(&task.state).apart(Pose::of(&state)) > 20.0);
        }
        assert!(moved > 40, "the block moved in {moved} of 60");
        assert!(odd < 40, "the agent was deep in a block that a wall holds {odd} times in 3600");
    }

    #[test]
    fn the_expert_reaches_most_goals_and_others_none() {
        let (world, trial) = (world(), Trial { episodes: 40, steps: 300, seed: 1 });
        let reached = |control: Control| {
            let mut control = control;
            let outcome = trial.run(&world, &mut control).unwrap();
            assert_eq!((outcome.solved_at_start(), outcome.impossible()), (0.0, 0));
            outcome.success().0
        };
        assert!(reached(Control::Oracle) >= 0.8, "{}", reached(Control::Oracle));
        assert!(reached(Control::Random) <= 0.05 && reached(Control::Greedy) <= 0.05);
    }

    #[test]
    fn the_looser_rule_takes_twenty_pixels_and_twenty_degrees() {
        let loose = PushT::new(64, 0, true).unwrap();
        let goal = state([50.0, 50.0], [256.0, 256.0, 3.1]);
        for (block, within) in [
            ([275.0, 256.0, 3.1], true),
            ([277.0, 256.0, 3.1], false),
            ([256.0, 256.0, -2.9], true),
            ([256.0, 256.0, -2.8], false),
        ] {
            assert_eq!(loose.success(&state([50.0, 50.0], block), &goal), within, "{block:?}");
            assert!(!world().success(&state([50.0, 50.0], block), &goal), "0.95 of the pose is not covered: {block:?}");
        }
        assert!(world().success(&state([90.0, 50.0], [256.5, 256.5, 3.11]), &goal), "wherever the agent is");
    }

    #[test]
    fn offset_goals_are_where_play_brings_the_block() {
        let world = PushT::new(64, 25, false).unwrap();
        for i in 0..20 {
            let task = world.reset(Split::HeldOut, &mut rng(3, Stream::Task, 1, i));
            assert!(!world.success(&task.state, &task.goal) && world.possible(&[], &task.goal));
            assert!(Pose::of(&task.state).apart(Pose::of(&task.goal)) > MOVED);
            assert_eq!(task.layout, task.goal[4..], "the pose is drawn where it is asked for");
        }
        assert!(PushT::new(64, 500, false).err().unwrap().to_string().contains("0 to 200 steps, found 500"));
    }

    #[test]
    fn the_picture_shows_agent_block_and_goal() {
        let (world, side) = (PushT::new(128, 0, false).unwrap(), 128);
        let mut out = vec![f32::NAN; world.spec().pixels()];
        world.render(&[256.0, 256.0, 0.0], &state([400.0, 100.0], [100.0, 300.0, 0.0]), &mut out);
        let at = |x: usize, y: usize| [0, 1, 2].map(|c| out[(c * side + y / 4) * side + x / 4]);
        assert_eq!(at(20, 20), [1.0; 3]);
        let [disk, block, goal] = [at(400, 100), at(100, 315), at(256, 271)];
        assert!(disk[2] > 0.8 && disk[0] < 0.3, "blue: {disk:?}");
        assert!(block.iter().all(|x| (0.4..0.7).contains(x)), "grey: {block:?}");
        assert!(goal[1] > 0.9 && goal[0] < 0.6, "green: {goal:?}");
        assert_eq!(at(40, 400), [1.0; 3], "beside the stem");
        assert!(at(100, 400)[0] < 0.5, "the stem");
    }
}
