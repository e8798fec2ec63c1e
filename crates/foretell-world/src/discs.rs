//! Coloured discs in a box that bounce off each other: a world of several objects, of which one is pushed and the others are moved
//! by what hits them.
//!
//! It is the small world of C-JEPA's question (arXiv 2602.11389): what would have become of an object if another had moved
//! otherwise. Discs have equal masses and collide elastically; between two events each moves straight on, so that a step is exact up to
//! rounding. Places are in units of the world, [`SIDE`] along a side, whatever the resolution of the picture.

use std::f32::consts::TAU;

use foretell_data::Auto;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::world::{Body, Episode, Reach, Spec, Split, World, WorldError};
use crate::worlds::DiscView;

/// Side of the box.
const SIDE: f32 = 32.0;
/// Of a disc.
const RADIUS: f32 = 3.0;
/// The longest action: what it adds to the pushed disc's velocity.
const REACH: f32 = 0.5;
/// Share of its velocity that the pushed disc loses in each step: a hand that pushes it holds it back too.
const DRAG: f32 = 0.2;
/// Speeds with which the other discs begin, in units a step.
const SPEED: std::ops::Range<f32> = 0.4..1.2;
/// Nearer than this the pushed disc is at its goal.
const SUCCESS: f32 = 3.0;
/// Events of one step, at most: where discs are wedged in, each collision is followed by the next without any time between.
const EVENTS: usize = 256;
/// Steps after which behaviour looks for something else to do, and how often it then goes for another disc.
const STRETCH: usize = 8;
const CHASING: f64 = 0.6;
/// Standard deviation of the heading's change from step to step.
const DRIFT: f32 = 0.4;
/// Numbers of one disc in a state: place and velocity.
const NUMBERS: usize = 4;
/// Numbers of one disc as an object: place, velocity and colour.
const FEATURES: usize = 7;
/// The pushed disc is white, whatever the others are.
const PUSHED: [f32; 3] = [1.0, 1.0, 1.0];
/// Colours of the others, each at most once.
const COLOURS: [[f32; 3]; 8] = [
    [1.0, 0.15, 0.15],
    [0.15, 1.0, 0.15],
    [0.25, 0.35, 1.0],
    [1.0, 1.0, 0.0],
    [1.0, 0.0, 1.0],
    [0.0, 1.0, 1.0],
    [1.0, 0.55, 0.0],
    [0.6, 0.3, 1.0],
];
/// One order of colours in so many is held out.
const HELD_OUT: usize = 10;

/// Lengths of [`Discs`]. [`Discs::new`] makes the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscsConfig {
    /// Discs, 2 to 8, the pushed one among them.
    pub discs: usize,
    /// What an observation is; `auto` is a picture.
    pub view: Auto<DiscView>,
    /// Side of the picture in pixels, 16 to 256.
    pub resolution: usize,
}

/// See the module. A state is `[x, y, vx, vy]` of each disc, the pushed one first; a layout the red, green and blue of each. An action is
/// added to the pushed disc's velocity.
pub struct Discs {
    config: DiscsConfig,
    spec: Spec,
}

impl Discs {
    /// A world; settings out of their range are an error.
    pub fn new(config: DiscsConfig) -> Result<Self, WorldError> {
        let DiscsConfig { discs, view, resolution } = config;
        if !(16..=256).contains(&resolution) {
            return Err(WorldError::Setting(format!(
                "`data.world.resolution` must be 16 to 256 pixels, found {resolution}"
            )));
        }
        if !(2..=COLOURS.len()).contains(&discs) {
            return Err(WorldError::Setting(format!(
                "`data.world.discs` must be 2 to {}, the pushed one among them, found {discs}",
                COLOURS.len()
            )));
        }
        let observation = match view {
            Auto::Value(DiscView::Objects) => [FEATURES, discs, 1],
            Auto::Auto | Auto::Value(DiscView::Picture) => [3, resolution, resolution],
        };
        let spec = Spec {
            name: "discs".to_owned(),
            observation,
            state: NUMBERS * discs,
            action: 2,
            reach: Reach::Ball(REACH),
        };
        Ok(Self { config, spec })
    }

    /// A place of the pushed disc, or of another, that is clear of these.
    fn clear(taken: &[Body], rng: &mut ChaCha8Rng) -> [f32; 2] {
        loop {
            let mut along = || rng.random_range(RADIUS..SIDE - RADIUS);
            let place = [along(), along()];
            if taken.iter().all(|body| apart(body.place, place) > 2.0 * RADIUS) {
                return place;
            }
        }
    }

    /// The colour of each disc, `[N, 3]`: other ones in each episode. Orders of colours that are drawn for one split never are for the
    /// other.
    fn colours(&self, split: Split, rng: &mut ChaCha8Rng) -> Vec<f32> {
        loop {
            let mut left: Vec<usize> = (0..COLOURS.len()).collect();
            let chosen: Vec<usize> =
                (1..self.config.discs).map(|_| left.swap_remove(rng.random_range(0..left.len()))).collect();
            let number = chosen.iter().fold(0, |number, colour| number * COLOURS.len() + colour);
            if number.is_multiple_of(HELD_OUT) == (split == Split::HeldOut) {
                return [PUSHED].into_iter().chain(chosen.into_iter().map(|i| COLOURS[i])).flatten().collect();
            }
        }
    }
}

fn apart(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// What happens next.
#[derive(Clone, Copy)]
enum Event {
    /// A disc meets a wall across this axis.
    Wall(usize, usize),
    /// Two discs meet.
    Pair(usize, usize),
}

/// Time until a disc at `x` that moves by `v` along an axis meets a wall.
fn until_wall(x: f64, v: f64) -> Option<f64> {
    let (radius, side) = (f64::from(RADIUS), f64::from(SIDE));
    let far = match v {
        v if v > 0.0 => side - radius - x,
        v if v < 0.0 => radius - x,
        _ => return None,
    };
    Some((far / v).max(0.0))
}

/// Time until two discs meet, of which one is `by` from the other and moves by `v` relative to it.
fn until_met(by: [f64; 2], v: [f64; 2]) -> Option<f64> {
    let dot = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
    let (nearing, square) = (dot(by, v), dot(v, v));
    let gap = dot(by, by) - 4.0 * f64::from(RADIUS).powi(2);
    let root = nearing * nearing - square * gap;
    (nearing < 0.0 && root >= 0.0).then(|| ((-nearing - root.sqrt()) / square).max(0.0))
}

/// Moves `[x, y, vx, vy]` of each disc on for one step, from one event to the next. Equal masses exchange what they have of velocity along
/// the line between their centres.
fn advance(discs: &mut [[f64; NUMBERS]]) {
    let mut left = 1.0;
    for _ in 0..EVENTS {
        let mut next: Option<(f64, Event)> = None;
        let mut at = |time: Option<f64>, event: Event| {
            if let Some(time) = time
                && next.is_none_or(|(soonest, _)| time < soonest)
            {
                next = Some((time, event));
            }
        };
        for (i, a) in discs.iter().enumerate() {
            (0..2).for_each(|axis| at(until_wall(a[axis], a[axis + 2]), Event::Wall(i, axis)));
            for (j, b) in discs.iter().enumerate().skip(i + 1) {
                at(until_met([b[0] - a[0], b[1] - a[1]], [b[2] - a[2], b[3] - a[3]]), Event::Pair(i, j));
            }
        }
        let (time, event) = match next {
            Some((time, event)) if time < left => (time, Some(event)),
            _ => (left, None),
        };
        for disc in discs.iter_mut() {
            (0..2).for_each(|axis| disc[axis] += time * disc[axis + 2]);
        }
        left -= time;
        match event {
            None => return,
            Some(Event::Wall(i, axis)) => discs[i][axis + 2] = -discs[i][axis + 2],
            Some(Event::Pair(i, j)) => {
                let by = [discs[j][0] - discs[i][0], discs[j][1] - discs[i][1]];
                let long = by[0].hypot(by[1]).max(f64::MIN_POSITIVE);
                let line = [by[0] / long, by[1] / long];
                let along = (0..2).map(|axis| (discs[j][axis + 2] - discs[i][axis + 2]) * line[axis]).sum::<f64>();
                for axis in 0..2 {
                    discs[i][axis + 2] += along * line[axis];
                    discs[j][axis + 2] -= along * line[axis];
                }
            }
        }
    }
}

impl World for Discs {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The goal is the pushed disc's, at rest; the others are shown there as they begin.
    fn reset(&self, split: Split, rng: &mut ChaCha8Rng) -> Episode {
        let layout = self.colours(split, rng);
        let mut bodies: Vec<Body> = Vec::new();
        for disc in 0..self.config.discs {
            let place = Self::clear(&bodies, rng);
            let (heading, speed) = (TAU * rng.random::<f32>(), rng.random_range(SPEED));
            let speed = if disc == 0 { 0.0 } else { speed };
            bodies.push(Body { place, velocity: [speed * heading.cos(), speed * heading.sin()] });
        }
        let state = self.of_bodies(&bodies).unwrap_or_default();
        bodies[0].place = Self::clear(&bodies[1..], rng);
        Episode { layout, state, goal: self.of_bodies(&bodies).unwrap_or_default() }
    }

    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        let mut action = [action[0], action[1]];
        Reach::Ball(REACH).cut(&mut action);
        let mut discs: Vec<[f64; NUMBERS]> =
            state.chunks_exact(NUMBERS).map(|disc| std::array::from_fn(|i| f64::from(disc[i]))).collect();
        for axis in 0..2 {
            discs[0][axis + 2] = f64::from(1.0 - DRAG) * discs[0][axis + 2] + f64::from(action[axis]);
        }
        advance(&mut discs);
        state.iter_mut().zip(discs.as_flattened()).for_each(|(number, now)| *number = *now as f32);
    }

    fn render(&self, layout: &[f32], state: &[f32], out: &mut [f32]) {
        let colours = layout.chunks_exact(3);
        if self.config.view == Auto::Value(DiscView::Objects) {
            let discs = self.config.discs;
            for (n, (disc, colour)) in state.chunks_exact(NUMBERS).zip(colours).enumerate() {
                disc.iter().chain(colour).enumerate().for_each(|(feature, number)| out[feature * discs + n] = *number);
            }
            return;
        }
        let area = self.config.resolution.pow(2);
        out.fill(0.0);
        for (mask, colour) in self.masks(state).chunks_exact(area).zip(colours) {
            for (channel, share) in out.chunks_exact_mut(area).zip(colour) {
                channel.iter_mut().zip(mask).for_each(|(pixel, covered)| *pixel = (*pixel + share * covered).min(1.0));
            }
        }
    }

    /// Of the pushed disc.
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        apart([state[0], state[1]], [goal[0], goal[1]])
    }

    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        self.distance(state, goal) < SUCCESS
    }

    fn possible(&self, _: &[f32], state: &[f32]) -> bool {
        // Rounding may bring two discs that touch a little nearer.
        const ROUNDING: f32 = 1e-3;
        let bodies = self.bodies(state);
        let inside = |x: f32| (RADIUS - ROUNDING..=SIDE - RADIUS + ROUNDING).contains(&x);
        state.len() == self.spec.state
            && bodies.iter().enumerate().all(|(i, body)| {
                body.place.into_iter().all(inside)
                    && bodies[..i].iter().all(|other| apart(body.place, other.place) > 2.0 * RADIUS - ROUNDING)
            })
    }

    /// Straight ahead: what is in the way is pushed away or gives way by itself.
    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        self.greedy(state, goal)
    }

    /// What brings the velocity to a quarter of what is left of the way.
    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        let mut action: Vec<f32> =
            (0..2).map(|axis| 0.25 * (goal[axis] - state[axis]) - (1.0 - DRAG) * state[axis + 2]).collect();
        self.spec.within_reach(&mut action);
        Some(action)
    }

    /// Pushes of every length along a heading that drifts, which now and then is that of another disc, so that it is hit.
    fn behave(&self, episode: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let drift = Normal::new(0.0, DRIFT).expect("a positive deviation");
        let (mut state, mut heading, mut chased) = (episode.state.clone(), TAU * rng.random::<f32>(), None);
        let mut actions = Vec::with_capacity(2 * steps);
        for step in 0..steps {
            if step % STRETCH == 0 {
                chased = rng.random_bool(CHASING).then(|| rng.random_range(1..self.config.discs));
            }
            if let Some(disc) = chased {
                let there = &state[disc * NUMBERS..];
                heading = (there[1] - state[1]).atan2(there[0] - state[0]);
            }
            heading += drift.sample(rng);
            let long = REACH * rng.random::<f32>();
            let action = [long * heading.cos(), long * heading.sin()];
            self.step(&episode.layout, &mut state, &action);
            actions.extend(action);
        }
        actions
    }

    fn place(&self, state: &[f32]) -> [f32; 2] {
        [state[0] / SIDE, state[1] / SIDE]
    }

    fn bodies(&self, state: &[f32]) -> Vec<Body> {
        let body = |disc: &[f32]| Body { place: [disc[0], disc[1]], velocity: [disc[2], disc[3]] };
        state.chunks_exact(NUMBERS).map(body).collect()
    }

    fn of_bodies(&self, bodies: &[Body]) -> Option<Vec<f32>> {
        Some(bodies.iter().flat_map(|body| body.place.into_iter().chain(body.velocity)).collect())
    }

    fn masks(&self, state: &[f32]) -> Vec<f32> {
        let side = self.config.resolution;
        let pixel = SIDE / side as f32;
        let covered = |body: &Body, row: usize, column: usize| {
            let centre = [column, row].map(|i| (i as f32 + 0.5) * pixel);
            // An edge of one pixel.
            ((RADIUS - apart(centre, body.place)) / pixel + 0.5).clamp(0.0, 1.0)
        };
        let of = |body: Body| (0..side * side).map(move |i| covered(&body, i / side, i % side));
        self.bodies(state).into_iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discs_that_meet_head_on_exchange_velocities_at_the_moment_they_touch() {
        // Centres 8 apart, 6 when they touch: after half a step at 4 units a step, which leaves half a step.
        let mut discs = [[10.0, 16.0, 4.0, 0.0], [18.0, 16.0, 0.0, 0.0]];
        advance(&mut discs);
        assert_eq!(discs, [[12.0, 16.0, 0.0, 0.0], [20.0, 16.0, 4.0, 0.0]]);
        // Off the line of centres only the part along it goes over: at 45 degrees half of it each.
        let long = 6.0 / 2.0_f64.sqrt();
        let mut discs = [[10.0, 10.0, 1.0, 0.0], [10.0 + long, 10.0 + long, 0.0, 0.0]];
        advance(&mut discs);
        let expected = [0.5, -0.5, 0.5, 0.5];
        let found = [discs[0][2], discs[0][3], discs[1][2], discs[1][3]];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn a_wall_turns_a_disc_round() {
        let mut discs = [[27.0, 16.0, 5.0, 1.0]];
        advance(&mut discs);
        // Two units to the wall, three back.
        assert!((discs[0][0] - 26.0).abs() < 1e-12 && discs[0][1..] == [17.0, -5.0, 1.0], "{discs:?}");
    }

    #[test]
    fn energy_stays_whatever_meets() {
        let mut discs: Vec<[f64; NUMBERS]> = (0..8)
            .map(|i| {
                let (column, row) = (f64::from(i % 4), f64::from(i / 4));
                [4.0 + 7.0 * column, 6.0 + 9.0 * row, 1.3 - 0.9 * row, 0.4 * column - 0.7]
            })
            .collect();
        let energy = |discs: &[[f64; NUMBERS]]| discs.iter().map(|d| d[2] * d[2] + d[3] * d[3]).sum::<f64>();
        let (before, first) = (energy(&discs), discs.clone());
        (0..500).for_each(|_| advance(&mut discs));
        assert!((energy(&discs) / before - 1.0).abs() < 1e-9);
        assert!(discs.iter().zip(&first).any(|(now, then)| (now[2].abs() - then[2].abs()).abs() > 0.1), "they met");
        for (i, a) in discs.iter().enumerate() {
            assert!(a[..2].iter().all(|x| (2.999..29.001).contains(x)), "{a:?}");
            assert!(discs[..i].iter().all(|b| (a[0] - b[0]).hypot(a[1] - b[1]) > 5.999));
        }
    }
}
