//! The Two Room of CLEAR-LeWM (github.com/DavidSunok/CLEAR-LeWM, v0.5.1), whose starts and goals are fixed: the world of a
//! protocol that models of several houses are measured by.
//!
//! A picture of 224 pixels a side, one wall across with one door, and a red disk of radius 7. The state is the disk's centre,
//! `[x, y]` in those pixels, with pixel centres at whole numbers and y downwards; the action is two numbers within ±1, and a step
//! moves the centre by 5 pixels times them. The disk sweeps: it slides along what it meets and never cuts a corner, so that
//! every route is legal and crosses the wall with the whole disk in the door. Observations are `[3, R, R]`, red, green and blue from
//! 0 to 1; at R below 224 each number is the mean of a square of pixels of the same picture.
//!
//! Play is that of the published collector: noisy steps to the door and through it to a target in the other room, and on to the
//! next. A held-out task is chosen as CLEAR chose its own: from fresh play, a state and the one 25 steps later, on opposite
//! sides of the wall and not yet at the goal, if none of the steps between met the wall.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::walls::{Solid, clear, clear_way, sweep};
use crate::world::{Episode, Reach, Scene, Spec, Split, Way, World, WorldError};

/// The published numbers, in pixels; a protocol's file names the same.
pub(crate) const SIDE: usize = 224;
pub(crate) const BORDER: f64 = 14.0;
pub(crate) const WALL: f64 = 112.0;
pub(crate) const THICKNESS: f64 = 10.0;
pub(crate) const DOOR: f64 = 49.0;
pub(crate) const HALF_DOOR: f64 = 14.0;
pub(crate) const RADIUS: f64 = 7.0;

/// Pixels of a step, for each unit of an action.
const SPEED: f64 = 5.0;
/// The centre stays between these.
const INSIDE: (f64, f64) = (BORDER + RADIUS, SIDE as f64 - BORDER - RADIUS);
/// Twice the variance of the drawn disk.
const BLUR: f32 = 98.0;
/// Farther from the disk's centre than this no pixel shows it.
const SHOWN: f32 = 42.0;
/// Standard deviation of the noise in an action of play.
const NOISE: f64 = 2.0;
/// Play is at the door within this, and at its target within that.
const AT_DOOR: f64 = 10.5;
const AT_TARGET: f64 = 16.0;
/// A target of play lies at least so many steps off, by the door.
const FAR: f64 = 25.0;
/// Steps from a task's start to its goal in the play that it was taken from, and steps of that play.
const OFFSET: usize = 25;
const PLAYED: usize = 100;

/// When the goal is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClearRule {
    /// Nearer than this, in pixels.
    pub near: f32,
    /// Whether on the goal's side of the wall too.
    pub goal_side: bool,
}

impl ClearRule {
    /// Nearer than 16 pixels.
    pub const MODERATE: Self = Self { near: 16.0, goal_side: false };
    /// Nearer than 8 pixels, on the goal's side.
    pub const STRICT: Self = Self { near: 8.0, goal_side: true };
}

/// See the module.
pub struct Clear {
    spec: Spec,
    rule: ClearRule,
    /// Side of the picture.
    resolution: usize,
    solids: [Solid; 2],
    /// Whether each pixel of the whole picture is black, `[SIDE, SIDE]`.
    black: Vec<bool>,
    /// The picture without the disk: sums over the squares of pixels, 0 to 255 each, `[R, R]`.
    ground: Vec<i32>,
    /// Where a shortest way can bend: around the corners of the door.
    bends: Vec<[f64; 2]>,
    /// From each bend to each along the shortest way.
    between: Vec<f64>,
}

fn apart(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn centre(state: &[f32]) -> [f64; 2] {
    [f64::from(state[0]), f64::from(state[1])]
}

fn inside(place: [f64; 2]) -> [f64; 2] {
    place.map(|x| x.clamp(INSIDE.0, INSIDE.1))
}

fn other_side(a: [f64; 2], b: [f64; 2]) -> bool {
    (a[0] < WALL) != (b[0] < WALL)
}

impl Clear {
    /// The world's name.
    pub const NAME: &'static str = "two-rooms-clear";

    /// The world in pictures of this side, which must divide the published one; its goals are reached by this rule.
    pub fn new(resolution: usize, rule: ClearRule) -> Result<Self, WorldError> {
        if resolution < 16 || !SIDE.is_multiple_of(resolution) {
            let sides: Vec<String> =
                (16..=SIDE).filter(|side| SIDE.is_multiple_of(*side)).map(|side| side.to_string()).collect();
            return Err(WorldError::Setting(format!(
                "`data.world.resolution` of {} must divide its {SIDE} pixels: {}; found {resolution}",
                Self::NAME,
                sides.join(", ")
            )));
        }
        let wall = ((WALL - THICKNESS / 2.0) as f32, (WALL + THICKNESS / 2.0) as f32);
        let door = ((DOOR - HALF_DOOR) as f32, (DOOR + HALF_DOOR) as f32);
        let solids = [Solid { x: wall, y: (0.0, door.0) }, Solid { x: wall, y: (door.1, SIDE as f32) }];
        let black: Vec<bool> = (0..SIDE * SIDE)
            .map(|i| {
                let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
                let line = |x: f32| (10.0..=13.0).contains(&x) || (210.0..=213.0).contains(&x);
                (wall.0..=wall.1).contains(&x) && !(door.0..=door.1).contains(&y) || line(x) || line(y)
            })
            .collect();
        let (mut ground, block) = (vec![0; resolution * resolution], SIDE / resolution);
        for (i, _) in black.iter().enumerate().filter(|(_, black)| !**black) {
            ground[i / SIDE / block * resolution + i % SIDE / block] += 255;
        }
        let spec = Spec {
            name: Self::NAME.to_owned(),
            observation: [3, resolution, resolution],
            state: 2,
            action: 2,
            reach: Reach::Box(1.0),
        };
        let (bends, between) = bends(&solids);
        Ok(Self { spec, rule, resolution, solids, black, ground, bends, between })
    }

    fn visible(&self, from: [f64; 2], to: [f64; 2]) -> bool {
        clear_way(&self.solids, RADIUS, from, to)
    }

    /// From each bend to a goal, along the shortest way; infinite where there is none.
    fn left(&self, goal: [f64; 2]) -> Vec<f64> {
        let direct: Vec<f64> = self
            .bends
            .iter()
            .map(|bend| if self.visible(*bend, goal) { apart(*bend, goal) } else { f64::INFINITY })
            .collect();
        let way = |row: &[f64]| row.iter().zip(&direct).map(|(a, b)| a + b).fold(f64::INFINITY, f64::min);
        self.between.chunks_exact(self.bends.len()).map(way).collect()
    }

    /// What is to be made for from a place, and the length of the whole way; `left` is the goal's.
    fn next(&self, from: [f64; 2], goal: [f64; 2], left: &[f64]) -> Option<([f64; 2], f64)> {
        if !clear(&self.solids, RADIUS, from) {
            return None;
        }
        if self.visible(from, goal) {
            return Some((goal, apart(from, goal)));
        }
        // Of bends on one line, the farthest.
        let key = |bend: [f64; 2], left: f64| 0.999 * apart(from, bend) + left;
        let seen = self.bends.iter().zip(left).filter(|(bend, left)| left.is_finite() && self.visible(from, **bend));
        let best = seen.min_by(|a, b| key(*a.0, *a.1).total_cmp(&key(*b.0, *b.1)))?;
        Some((*best.0, apart(from, *best.0) + best.1))
    }

    fn sweep(&self, from: [f64; 2], action: &[f32]) -> [f64; 2] {
        let (from, to) = (inside(from), Self::aimed(from, action));
        inside(sweep(&self.solids, RADIUS, from, [to[0] - from[0], to[1] - from[1]]))
    }

    /// Where an action leads if no wall stands in the way.
    fn aimed(from: [f64; 2], action: &[f32]) -> [f64; 2] {
        inside([0, 1].map(|i| inside(from)[i] + SPEED * f64::from(action[i].clamp(-1.0, 1.0))))
    }

    /// An action towards a place, no farther.
    fn towards(from: [f64; 2], to: [f64; 2]) -> [f64; 2] {
        let by = [0, 1].map(|i| (to[i] - from[i]) / SPEED);
        let long = by[0].abs().max(by[1].abs()).max(1.0);
        by.map(|x| x / long)
    }

    /// A place with the whole disk in a room.
    fn anyplace(rng: &mut ChaCha8Rng) -> [f64; 2] {
        loop {
            let place = inside([(); 2].map(|()| rng.random_range(BORDER..SIDE as f64 - BORDER - 1.0)));
            if (place[0] - WALL).abs() > THICKNESS / 2.0 + RADIUS {
                return place;
            }
        }
    }

    /// A target of play in the other room.
    fn target(from: [f64; 2], rng: &mut ChaCha8Rng) -> [f64; 2] {
        let door = [WALL, DOOR];
        loop {
            let place = Self::anyplace(rng);
            if other_side(from, place) && apart(from, door) + apart(door, place) >= FAR * SPEED {
                return place;
            }
        }
    }

    /// Play towards a goal and on to the next targets: `[steps, 2]`, and the places between them, one more.
    fn played(&self, from: [f64; 2], goal: [f64; 2], steps: usize, rng: &mut ChaCha8Rng) -> (Vec<f32>, Vec<[f64; 2]>) {
        let (mut place, mut target) = (from, goal);
        let (mut actions, mut places) = (Vec::with_capacity(2 * steps), vec![from]);
        for _ in 0..steps {
            if apart(place, target) < AT_TARGET {
                target = Self::target(place, rng);
            }
            let door = [WALL, DOOR];
            let aim = if other_side(place, target) && apart(place, door) > AT_DOOR { door } else { target };
            let length = apart(place, aim).max(f64::EPSILON);
            let action = [0, 1].map(|i| {
                let noise: f64 = StandardNormal.sample(rng);
                ((aim[i] - place[i]) / length + NOISE * noise).clamp(-1.0, 1.0) as f32
            });
            // As states are kept, so that the places are those of the actions to the bit.
            place = self.sweep(place, &action).map(|x| f64::from(x as f32));
            actions.extend(action);
            places.push(place);
        }
        (actions, places)
    }
}

/// Points around the corners of the door, a little outside the circles that the disk's centre slides on, so that the lines
/// between neighbours are free; and the shortest ways between all of them (Floyd and Warshall).
fn bends(solids: &[Solid]) -> (Vec<[f64; 2]>, Vec<f64>) {
    const AROUND: usize = 5;
    let quarter = std::f64::consts::FRAC_PI_2;
    let turn = quarter / (AROUND - 1) as f64;
    let radius = RADIUS / (turn / 2.0).cos() * 1.0001;
    let mut bends = Vec::new();
    for (side, right) in [(WALL - THICKNESS / 2.0, -1.0), (WALL + THICKNESS / 2.0, 1.0)] {
        for (edge, down) in [(DOOR - HALF_DOOR, 1.0), (DOOR + HALF_DOOR, -1.0)] {
            bends.extend((0..AROUND).map(|i| {
                let (sin, cos) = (turn * i as f64).sin_cos();
                [side + right * radius * cos, edge + down * radius * sin]
            }));
        }
    }
    let count = bends.len();
    let mut between = vec![f64::INFINITY; count * count];
    for (i, from) in bends.iter().enumerate() {
        for (j, to) in bends.iter().enumerate() {
            if clear_way(solids, RADIUS, *from, *to) {
                between[i * count + j] = apart(*from, *to);
            }
        }
    }
    for by in 0..count {
        for from in 0..count {
            for to in 0..count {
                let around = between[from * count + by] + between[by * count + to];
                between[from * count + to] = between[from * count + to].min(around);
            }
        }
    }
    (bends, between)
}

impl World for Clear {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// There is one layout: what is held out are starts and goals, which are drawn anew.
    fn reset(&self, split: Split, rng: &mut ChaCha8Rng) -> Episode {
        loop {
            let start = Self::anyplace(rng);
            let goal = Self::target(start, rng);
            let task = |start: [f64; 2], goal: [f64; 2]| Episode {
                layout: Vec::new(),
                state: start.map(|x| x as f32).to_vec(),
                goal: goal.map(|x| x as f32).to_vec(),
            };
            if split == Split::Training {
                return task(start, goal);
            }
            let (actions, places) = self.played(start, goal, PLAYED, rng);
            // Whether each step met no wall.
            let free: Vec<bool> = places
                .windows(2)
                .zip(actions.chunks_exact(2))
                .map(|(places, action)| apart(Self::aimed(places[0], action), places[1]) < 1e-3)
                .collect();
            let pairs: Vec<Episode> = places
                .windows(OFFSET + 1)
                .zip(free.windows(OFFSET))
                .filter(|(places, free)| other_side(places[0], places[OFFSET]) && free.iter().all(|free| *free))
                .map(|(places, _)| task(places[0], places[OFFSET]))
                .filter(|task| !self.success(&task.state, &task.goal))
                .collect();
            if !pairs.is_empty() {
                return pairs[rng.random_range(0..pairs.len())].clone();
            }
        }
    }

    fn anywhere(&self, _: &[f32], rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        Some(Self::anyplace(rng).map(|x| x as f32).to_vec())
    }

    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        let mut action = [action[0], action[1]];
        self.spec.within_reach(&mut action);
        state.copy_from_slice(&self.sweep(centre(state), &action).map(|x| x as f32));
    }

    fn render(&self, _: &[f32], state: &[f32], out: &mut [f32]) {
        let (side, block) = (self.resolution, SIDE / self.resolution);
        let mut sums = self.ground.repeat(3);
        // The pixels near the disk, and how much each shows of it: 1 at the brightest.
        let bell = |centre: f32| -> Vec<(usize, f32)> {
            let nearest = centre.round().clamp(0.0, (SIDE - 1) as f32) - centre;
            let at = |i: usize| (i as f32 - centre) * (i as f32 - centre) - nearest * nearest;
            (0..SIDE).filter(|i| at(*i) < SHOWN * SHOWN).map(|i| (i, (-at(i) / BLUR).exp())).collect()
        };
        let across = bell(state[0]);
        for (y, down) in bell(state[1]) {
            for (x, across) in &across {
                let (alpha, place) = (across * down, y / block * side + x / block);
                let black = self.black[y * SIDE + x];
                // Colours are cut to whole numbers of 255: red over black, and what is left of green and blue over white.
                if black {
                    sums[place] += (255.0 * alpha) as i32;
                } else {
                    let less = (255.0 - 255.0 * alpha) as i32 - 255;
                    sums[side * side + place] += less;
                    sums[2 * side * side + place] += less;
                }
            }
        }
        let whole = (255 * block * block) as f32;
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum as f32 / whole);
    }

    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        (state[0] - goal[0]).hypot(state[1] - goal[1])
    }

    fn way(&self, _: &[f32], goal: &[f32]) -> Way<'_> {
        let goal = centre(goal);
        let left = self.left(goal);
        Box::new(move |state| self.next(centre(state), goal, &left).map_or(f32::INFINITY, |(_, length)| length as f32))
    }

    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        let ClearRule { near, goal_side } = self.rule;
        self.distance(state, goal) < near && !(goal_side && other_side(centre(state), centre(goal)))
    }

    fn possible(&self, _: &[f32], state: &[f32]) -> bool {
        let within = |x: f32| x.is_finite() && (INSIDE.0 - 1e-3..=INSIDE.1 + 1e-3).contains(&f64::from(x));
        state.len() == 2 && state.iter().all(|x| within(*x)) && clear(&self.solids, RADIUS, centre(state))
    }

    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let (from, goal) = (centre(state), centre(goal));
        let (aim, _) = self.next(from, goal, &self.left(goal))?;
        Some(Self::towards(from, aim).map(|x| x as f32).to_vec())
    }

    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        Some(Self::towards(centre(state), centre(goal)).map(|x| x as f32).to_vec())
    }

    fn behave(&self, episode: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        self.played(centre(&episode.state), centre(&episode.goal), steps, rng).0
    }

    fn scene(&self, _: &[f32], side: usize) -> Option<Scene> {
        let pixel = |i: usize| (2 * i + 1) * SIDE / (2 * side);
        let solid = (0..side * side).map(|i| {
            let black = self.black[pixel(i / side) * SIDE + pixel(i % side)];
            f32::from(u8::from(black))
        });
        Some(Scene { solid: solid.collect(), harmful: Vec::new(), near: self.rule.near / SIDE as f32 })
    }

    fn place(&self, state: &[f32]) -> [f32; 2] {
        [0, 1].map(|i| (state[i] + 0.5) / SIDE as f32)
    }
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};

    use super::*;
    use crate::{Control, Trial, wilson};

    fn world(rule: ClearRule) -> Clear {
        Clear::new(SIDE, rule).unwrap()
    }

    fn seen(world: &Clear, state: [f32; 2]) -> Vec<f32> {
        let mut out = vec![f32::NAN; world.spec().pixels()];
        world.render(&[], &state, &mut out);
        out
    }

    #[test]
    fn the_picture_is_the_published_one() {
        let world = world(ClearRule::MODERATE);
        let picture = seen(&world, [60.0, 100.0]);
        let at = |x: usize, y: usize| [0, 1, 2].map(|c| picture[(c * SIDE + y) * SIDE + x]);
        let (black, white) = ([0.0; 3], [1.0; 3]);
        assert_eq!([at(107, 34), at(117, 34), at(107, 64), at(112, 200)], [black; 4], "the wall");
        assert_eq!([at(106, 34), at(118, 34), at(112, 35), at(112, 63)], [white; 4], "beside it and in its door");
        assert_eq!([at(10, 0), at(13, 100), at(210, 100), at(150, 213)], [black; 4], "lines along the border");
        assert_eq!([at(9, 100), at(14, 100), at(209, 100), at(214, 100)], [white; 4]);
        assert_eq!(at(60, 100), [1.0, 0.0, 0.0], "the disk");
        // exp(−49 / 98) of red a radius off, cut to a whole number of 255.
        let half = (255.0 * (1.0 - (-0.5_f32).exp())).trunc() / 255.0;
        assert_eq!(at(67, 100), [1.0, half, half]);
        let over = seen(&world, [100.0, 100.0]);
        let on_wall = over[100 * SIDE + 107];
        assert_eq!(on_wall, (255.0 * (-0.5_f32).exp()).trunc() / 255.0, "red over black");
    }

    #[test]
    fn a_smaller_picture_is_the_mean_of_the_large_one() {
        let large = seen(&world(ClearRule::MODERATE), [101.3, 61.8]);
        for side in [16, 28, 32, 56, 112] {
            let small = seen(&Clear::new(side, ClearRule::MODERATE).unwrap(), [101.3, 61.8]);
            let block = SIDE / side;
            for (i, value) in small.iter().enumerate() {
                let (c, y, x) = (i / side / side, i / side % side * block, i % side * block);
                let of = (0..block * block).map(|k| large[(c * SIDE + y + k / block) * SIDE + x + k % block]);
                let mean = of.sum::<f32>() / (block * block) as f32;
                assert!((value - mean).abs() < 1e-5, "{side}: {value} {mean} at {i}");
            }
        }
    }

    #[test]
    fn every_route_crosses_with_the_whole_disk_in_the_door() {
        let (world, mut crossings) = (world(ClearRule::STRICT), 0);
        for i in 0..300 {
            let mut random = rng(1, Stream::Play, 0, i);
            let task = world.reset(Split::Training, &mut random);
            let (mut state, actions) = (task.state.clone(), world.behave(&task, 100, &mut random));
            for action in actions.chunks_exact(2) {
                let before = centre(&state);
                world.step(&[], &mut state, action);
                let after = centre(&state);
                assert!(world.possible(&[], &state), "{state:?}");
                assert!(apart(before, after) <= SPEED * 2.0_f64.sqrt() + 1e-3);
                if other_side(before, after) {
                    crossings += 1;
                    let clear = DOOR - HALF_DOOR + RADIUS - 0.01..=DOOR + HALF_DOOR - RADIUS + 0.01;
                    assert!(clear.contains(&before[1]) || clear.contains(&after[1]), "{before:?} {after:?}");
                }
            }
        }
        assert!(crossings > 100, "{crossings} crossings");
    }

    #[test]
    fn a_corner_is_not_cut_and_the_door_does_not_throw_back() {
        let world = world(ClearRule::MODERATE);
        let go = |from: [f32; 2], action: [f32; 2], times: usize| {
            let mut state = from;
            (0..times).for_each(|_| world.step(&[], &mut state, &action));
            state
        };
        let near = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).hypot(a[1] - b[1]) < 0.01;
        assert!(near(go([60.0, 100.0], [1.0, -0.5], 1), [65.0, 97.5]), "five pixels along each axis");
        assert!(near(go([60.0, 100.0], [9.0, f32::NAN], 1), [65.0, 100.0]), "clipped; what is no number moves nothing");
        assert!(near(go([60.0, 100.0], [1.0, 0.0], 20), [100.0, 100.0]), "the wall stops it a radius off");
        assert!(near(go([60.0, 100.0], [-1.0, 1.0], 60), [21.0, 203.0]), "the border too");
        assert!(near(go([95.0, 49.0], [1.0, 0.0], 7), [130.0, 49.0]), "through the door");
        assert!(near(go([112.0, 49.0], [0.0, 1.0], 9), [112.0, 56.0]), "within it");
    }

    #[test]
    fn the_shortest_way_goes_around_the_corner_and_not_through() {
        let world = world(ClearRule::MODERATE);
        let way = world.way(&[], &[60.0, 60.0]);
        assert!((way(&[60.0, 90.0]) - 30.0).abs() < 1e-4, "nothing stands between");
        // Two tangents to the circle of 7 around the corner (107, 63), or the door's far corner and back: at least the taut
        // string around both left and right corner points, at most 1 % more.
        let there = way(&[164.0, 60.0]);
        assert!(there > 104.0 && there < 106.0, "{there}: through the door it is 104 as the crow flies");
        let round = way(&[124.0, 160.0]);
        let taut = 7.0_f32
            .mul_add(1.0, (124.0_f32 - 117.0).hypot(160.0 - 56.0) + 10.0 + (107.0_f32 - 60.0).hypot(60.0 - 56.0));
        assert!((round - taut).abs() < 8.0, "{round} {taut}");
        assert!(way(&[112.0, 100.0]).is_infinite(), "no way out of the wall");
    }

    #[test]
    fn held_out_tasks_lie_as_far_apart_as_the_published_ones() {
        let world = world(ClearRule::MODERATE);
        let mut apart: Vec<f32> = (0..400)
            .map(|i| {
                let task = world.reset(Split::HeldOut, &mut rng(1, Stream::Task, 1, i));
                assert!(world.possible(&[], &task.state) && world.possible(&[], &task.goal));
                assert!(other_side(centre(&task.state), centre(&task.goal)));
                world.distance(&task.state, &task.goal)
            })
            .collect();
        apart.sort_by(f32::total_cmp);
        // Of 200 moderate pairs: a tenth nearer than 34, half nearer than 52, nine tenths nearer than 72, none than 16.
        let found = [40, 200, 360].map(|i| apart[i]);
        let near = found.into_iter().zip([34.0, 52.0, 72.0]).all(|(found, published)| (found - published).abs() < 5.0);
        assert!(near && apart[0] >= 16.0, "{found:?}");
    }

    /// Shares of held-out tasks that random actions reach, at any step and at the end.
    fn random_rate(rule: ClearRule) -> [f64; 2] {
        let (world, mut ever, mut end) = (Clear::new(16, rule).unwrap(), 0, 0);
        let seeds = 40;
        for seed in 0..seeds {
            let trial = Trial { episodes: 100, steps: 50, seed };
            let outcome = trial.run(&world, &mut Control::Random).unwrap();
            assert_eq!(outcome.solved_at_start(), 0.0);
            assert_eq!(outcome.impossible(), 0);
            ever += outcome.ever.iter().filter(|x| **x).count();
            end += outcome.success.iter().filter(|x| **x).count();
        }
        [ever, end].map(|count| count as f64 / (100 * seeds) as f64)
    }

    #[test]
    fn random_actions_reach_what_the_published_random_policy_reached() {
        // 20 and 5 of 300 published episodes (6.7 and 1.7 %): their own intervals at 95 %.
        for (rule, published) in [(ClearRule::MODERATE, 20), (ClearRule::STRICT, 5)] {
            let [ever, end] = random_rate(rule);
            let (_, [low, high]) = wilson(published, 300);
            assert!((low..=high).contains(&ever), "{rule:?}: {ever} is not within {low} to {high}");
            assert!(end < ever, "{rule:?}: passing by is not staying: {end} {ever}");
        }
    }

    #[test]
    fn the_shortest_way_reaches_every_held_out_goal() {
        for rule in [ClearRule::MODERATE, ClearRule::STRICT] {
            let (world, trial) = (world(rule), Trial { episodes: 200, steps: 50, seed: 3 });
            let outcome = trial.run(&world, &mut Control::Oracle).unwrap();
            assert_eq!((outcome.success().0, outcome.ever().0, outcome.impossible()), (1.0, 1.0, 0), "{rule:?}");
        }
    }

    #[test]
    fn a_goal_behind_the_wall_is_not_reached_strictly() {
        let (strict, moderate) = (world(ClearRule::STRICT), world(ClearRule::MODERATE));
        let (left, right) = ([110.0, 49.0], [115.0, 49.0]);
        assert!(moderate.success(&left, &right) && !strict.success(&left, &right));
        assert!(strict.success(&[113.0, 49.0], &right));
        assert!(!strict.success(&[107.0, 49.0], &[99.0, 49.0]) && strict.success(&[106.9, 49.0], &[99.0, 49.0]));
    }

    #[test]
    fn pictures_that_do_not_divide_are_refused() {
        for side in [0, 8, 33, 64, 448] {
            let refused = Clear::new(side, ClearRule::MODERATE).err().unwrap().to_string();
            assert!(
                refused.contains("16, 28, 32, 56, 112, 224") && refused.contains(&format!("found {side}")),
                "{refused}"
            );
        }
    }
}
