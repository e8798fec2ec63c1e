//! What play shows of whole layouts: places in them, and how many steps lie between any two.
//!
//! Several episodes are played in each of some layouts, each from anywhere, or where the world has no such thing from where an
//! earlier one has been. Two observations are of the
//! same place where they differ less than neighbours in time do; a step leads from an observation to the next, and back. The
//! shortest way through all that was seen is then as long as what lies between: around a wall, though nobody ever said that
//! there was one (a graph over experience as in Search on the Replay Buffer, arXiv 1906.05253, with Isomap's distances,
//! Tenenbaum et al., 2000). States are kept to show a place again, and never compared.
//!
//! It takes for granted that steps can be undone, and that what bars the way is thicker than a step is long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::Places;
use foretell_data::random::{Stream, rng};
use foretell_ops as ops;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::paths::Ordered;
use crate::world::{Episode, Split, World, WorldError};

/// Places of a layout that are kept.
const KEPT: usize = 24;
/// Observations are one place where they differ by less than this share of what neighbours in time do.
const SAME: f32 = 0.8;
/// Numbers that stand for an observation where near ones are sought, before those are looked at in full.
const SKETCH: usize = 64;
/// What is looked at in full: sketches are off by a part of the distance.
const NEAR: f32 = 1.5;
/// A step between two observations of one place, at least: ways through many places are not for nothing.
const LEAST: f32 = 0.05;

/// How much is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explore {
    /// Layouts.
    pub layouts: usize,
    /// Episodes in each.
    pub episodes: usize,
    /// Observations of an episode.
    pub steps: usize,
    /// Places that a window brings along.
    pub places: usize,
}

/// More observations of a layout, each beside each, than memory should be asked for.
const MOST: usize = 4096;
/// More layouts than anyone waits for.
const LAYOUTS: usize = 100_000;

impl Explore {
    /// An error where it cannot be done as asked.
    pub(crate) fn check(&self) -> Result<(), WorldError> {
        let Self { layouts, episodes, steps, places } = *self;
        let seen = episodes.saturating_mul(steps);
        if (1..=LAYOUTS).contains(&layouts) && (2..=MOST).contains(&seen) && (2..=KEPT).contains(&places) {
            return Ok(());
        }
        Err(WorldError::Setting(format!(
            "steps between places are learnt from 1 to {LAYOUTS} layouts, at most {MOST} observations of each, and 2 to {KEPT} places of one that a window brings along, found {layouts} layouts, {episodes} episodes of {steps} observations and {places} places: see `data.explore` and `data.episode`, or set the weight of what asks for them to 0"
        )))
    }
}

/// One layout.
struct Chart {
    layout: Vec<f32>,
    /// `[KEPT, S]`.
    states: Vec<f32>,
    /// `[KEPT, KEPT]`.
    steps: Vec<f32>,
}

/// See the module.
pub(crate) struct Atlas {
    charts: Vec<Chart>,
    places: usize,
}

impl Atlas {
    /// Explores layouts of the training split: a function of the world, `explore` (checked) and the run's seed.
    pub(crate) fn explore(world: &dyn World, explore: &Explore, seed: u64) -> Self {
        let layouts = (0..explore.layouts as u64).into_par_iter();
        let charts = layouts.map(|i| Chart::explore(world, explore, &mut rng(seed, Stream::Explore, 0, i))).collect();
        Self { charts, places: explore.places }
    }

    /// One of the layouts, a state to begin from and some places of it.
    pub(crate) fn draw(&self, world: &dyn World, rng: &mut ChaCha8Rng) -> (Episode, Places) {
        let Chart { layout, states, steps } = &self.charts[rng.random_range(0..self.charts.len())];
        let mut order: Vec<usize> = (0..KEPT).collect();
        for i in 0..self.places {
            order.swap(i, rng.random_range(i..KEPT));
        }
        let (chosen, pixels, width) = (&order[..self.places], world.spec().pixels(), world.spec().state);
        let state = |place: usize| &states[place * width..][..width];
        let mut observations = vec![0.0; self.places * pixels];
        for (place, out) in chosen.iter().zip(observations.chunks_exact_mut(pixels)) {
            world.render(layout, state(*place), out);
        }
        let steps = chosen.iter().flat_map(|from| chosen.iter().map(|to| steps[*from * KEPT + *to])).collect();
        let mut any = || state(rng.random_range(0..KEPT)).to_vec();
        let episode = Episode { layout: layout.clone(), state: any(), goal: any() };
        (episode, Places { count: self.places, observations, steps })
    }
}

impl Chart {
    fn explore(world: &dyn World, explore: &Explore, rng: &mut ChaCha8Rng) -> Self {
        let (spec, steps) = (world.spec(), explore.steps);
        let task = world.reset(Split::Training, rng);
        let mut states: Vec<Vec<f32>> = Vec::with_capacity(explore.episodes * steps);
        for episode in 0..explore.episodes {
            let start = match episode {
                0 => task.state.clone(),
                1 => task.goal.clone(),
                _ => match world.anywhere(&task.layout, rng) {
                    Some(state) => state,
                    None => states[rng.random_range(0..states.len())].clone(),
                },
            };
            let from = Episode { state: start.clone(), ..task.clone() };
            let mut state = start;
            for action in world.behave(&from, steps, rng).chunks_exact(spec.action) {
                states.push(state.clone());
                world.step(&task.layout, &mut state, action);
            }
        }
        let (count, pixels) = (states.len(), spec.pixels());
        let mut seen = vec![0.0; count * pixels];
        for (state, out) in states.iter().zip(seen.chunks_exact_mut(pixels)) {
            world.render(&task.layout, state, out);
        }
        let graph = Graph::of(&seen, pixels, steps, rng);
        let kept: Vec<usize> = (0..KEPT).map(|_| rng.random_range(0..count)).collect();
        let steps = kept.iter().flat_map(|from| graph.from(*from, &kept)).collect();
        Self { layout: task.layout, states: kept.iter().flat_map(|i| states[*i].clone()).collect(), steps }
    }
}

/// Which observations are a step apart or less.
struct Graph {
    neighbours: Vec<Vec<(usize, f32)>>,
}

fn apart(seen: &[f32], pixels: usize, a: usize, b: usize) -> f32 {
    let of = |i: usize| &seen[i * pixels..][..pixels];
    // In lanes, so that it is a vector's work.
    let mut lanes = [0.0_f32; 8];
    let (mut left, mut right) = (of(a).chunks_exact(8), of(b).chunks_exact(8));
    for (a, b) in (&mut left).zip(&mut right) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += (a - b) * (a - b);
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
    (lanes.iter().sum::<f32>() + rest).sqrt()
}

impl Graph {
    /// Of observations `[N, pixels]`, whole episodes of `steps` one after the other.
    fn of(seen: &[f32], pixels: usize, steps: usize, rng: &mut ChaCha8Rng) -> Self {
        let count = seen.len() / pixels.max(1);
        let mut neighbours = vec![Vec::new(); count];
        let mut moved = Vec::new();
        for i in (1..count).filter(|i| !i.is_multiple_of(steps)) {
            neighbours[i - 1].push((i, 1.0));
            neighbours[i].push((i - 1, 1.0));
            moved.push(apart(seen, pixels, i - 1, i));
        }
        moved.sort_by(f32::total_cmp);
        let unit = moved.get(moved.len() / 2).copied().unwrap_or(0.0);
        for (a, b) in near(seen, pixels, SAME * unit * NEAR, rng) {
            let apart = apart(seen, pixels, a, b) / unit;
            if apart < SAME {
                neighbours[a].push((b, apart.max(LEAST)));
                neighbours[b].push((a, apart.max(LEAST)));
            }
        }
        Self { neighbours }
    }

    /// Steps from one observation to each of these, infinite where there is no way (Dijkstra, 1959).
    fn from(&self, start: usize, goals: &[usize]) -> Vec<f32> {
        let mut steps = vec![f32::INFINITY; self.neighbours.len()];
        steps[start] = 0.0;
        let mut open = BinaryHeap::from([Reverse((Ordered(0.0), start))]);
        while let Some(Reverse((Ordered(so_far), i))) = open.pop() {
            if so_far > steps[i] {
                continue;
            }
            for (next, more) in &self.neighbours[i] {
                let through = so_far + more;
                if through < steps[*next] {
                    steps[*next] = through;
                    open.push(Reverse((Ordered(through), *next)));
                }
            }
        }
        goals.iter().map(|goal| steps[*goal]).collect()
    }
}

/// Pairs whose observations are probably less than `limit` apart, by random projections (Johnson and Lindenstrauss, 1984).
fn near(seen: &[f32], pixels: usize, limit: f32, rng: &mut ChaCha8Rng) -> Vec<(usize, usize)> {
    let count = seen.len() / pixels.max(1);
    let scale = (SKETCH as f32).sqrt().recip();
    let signs: Vec<f32> = (0..pixels * SKETCH).map(|_| if rng.random_bool(0.5) { scale } else { -scale }).collect();
    let device = Device::flex();
    let matrix = |values: Vec<f32>, shape| Tensor::<2>::from_data(TensorData::new(values, shape), &device);
    let sketches = matrix(seen.to_vec(), [count, pixels]).matmul(matrix(signs, [pixels, SKETCH]));
    let squares = ops::values(sketches.clone().square().sum_dim(1));
    let products = ops::values(sketches.clone().matmul(sketches.transpose()));
    let mut pairs = Vec::new();
    for a in 0..count {
        for b in a + 1..count {
            if squares[a] + squares[b] - 2.0 * products[a * count + b] < limit * limit {
                pairs.push((a, b));
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FloorPlan, Rooms, RoomsConfig, RoomsLook};

    fn atlas(seed: u64) -> (Rooms, Atlas) {
        let world = Rooms::new(RoomsConfig {
            plan: FloorPlan::RandomWall,
            resolution: 32,
            steps: None,
            look: RoomsLook::default(),
        })
        .unwrap();
        let explore = Explore { layouts: 4, episodes: 16, steps: 91, places: 8 };
        let atlas = Atlas::explore(&world, &explore, seed);
        (world, atlas)
    }

    #[test]
    fn steps_follow_the_way_around_the_wall() {
        let (world, atlas) = atlas(3);
        let all = || atlas.charts.iter().flat_map(|chart| &chart.steps);
        let linked = all().filter(|steps| steps.is_finite()).count();
        assert!(2 * linked > all().count(), "{linked} of {}", all().count());
        let (mut pairs, mut around) = (0, 0);
        for Chart { layout, states, steps } in &atlas.charts {
            let state = |i: usize| &states[2 * i..2 * i + 2];
            for goal in 0..KEPT {
                let way = world.way(layout, state(goal));
                for start in (0..KEPT).filter(|start| steps[start * KEPT + goal].is_finite()) {
                    let (true_way, straight) = (way(state(start)), world.distance(state(start), state(goal)));
                    // A step of play is 1.8 at most, and one place 0.8 of a median step wide.
                    assert!(steps[start * KEPT + goal] > true_way / 1.8 - 2.0, "{start} {goal}");
                    if true_way > 2.0 * straight && true_way > 20.0 {
                        pairs += 1;
                        // No short cut through the wall: a way of few long steps is still much longer than the line.
                        around += usize::from(steps[start * KEPT + goal] > 1.25 * straight);
                    }
                }
            }
        }
        assert!(pairs > 4 && around == pairs, "{around} of {pairs}");
    }

    #[test]
    fn the_seed_is_all_there_is() {
        let places = |seed| {
            let (world, atlas) = atlas(seed);
            atlas.draw(&world, &mut rng(1, Stream::Play, 0, 0))
        };
        assert_eq!(places(1), places(1));
        assert_ne!(places(1), places(2));
    }
}
