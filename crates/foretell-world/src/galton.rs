//! A ball that falls over pegs (after Galton's board): at each row of pegs chance sends it left or right, so that no observation and no
//! action tells what comes. What a model of one future does best there is the mean of both.
//!
//! The state is `[x, row, chance]`: the place across in shares of the picture's side, the row it has fallen to, 0 to 15, and where
//! the generator stands that decides, which no observation shows. The action is one number within ±1 that pushes the ball by up to 0.03 a step.
//! Every fourth row is one of pegs: the step onto the next goes 0.14 to a side, from the edges always inwards. From the last row the ball is
//! put back in the middle of the first. Observations are `[1, R, R]`: the ball alone, so that each shows all but chance.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::world::{Episode, Reach, Scene, Spec, Split, World, WorldError};

/// Rows of a fall, and from one row of pegs to the next.
const ROWS: usize = 16;
const EVERY: usize = 4;
/// How far a peg sends the ball, and an action pushes it.
const ASIDE: f32 = 0.14;
const PUSH: f32 = 0.03;
/// The ball stays within these; nearer to them than a peg sends it, it goes inwards.
const EDGES: [f32; 2] = [0.1, 0.9];
/// Its radius.
const RADIUS: f32 = 0.06;
/// So near to the goal's place is there.
const NEAR: f32 = 0.08;
/// Numbers that the generator goes through: as many as a state holds without rounding.
const PERIOD: u64 = 1 << 24;

/// See the module.
pub struct Galton {
    spec: Spec,
}

/// The generator's next place: one of full period (Hull and Dobell).
fn next(chance: f32) -> f32 {
    ((chance as u64 * 1_140_671_485 + 12_820_163) % PERIOD) as f32
}

impl Galton {
    /// The world's name.
    pub const NAME: &'static str = "galton";

    /// The world in pictures of this side, 16 to 256 pixels.
    pub fn new(resolution: usize) -> Result<Self, WorldError> {
        if !(16..=256).contains(&resolution) {
            return Err(WorldError::resolution(resolution));
        }
        let spec = Spec {
            name: Self::NAME.to_owned(),
            observation: [1, resolution, resolution],
            state: 3,
            action: 1,
            reach: Reach::Box(1.0),
        };
        Ok(Self { spec })
    }

    /// Any state.
    fn drawn(rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (x, row) = (rng.random_range(EDGES[0]..EDGES[1]), rng.random_range(0..ROWS));
        vec![x, row as f32, rng.random_range(0..PERIOD) as f32]
    }

    /// What follows if chance sends the ball to this side.
    fn after(&self, state: &[f32], action: &[f32], right: bool) -> Vec<f32> {
        let mut action = [action[0]];
        self.spec.within_reach(&mut action);
        let row = state[1] as usize + 1;
        if row >= ROWS {
            return vec![0.5, 0.0, state[2]];
        }
        let mut x = state[0];
        let mut chance = state[2];
        if row.is_multiple_of(EVERY) {
            x += if right { ASIDE } else { -ASIDE };
            chance = next(chance);
        }
        vec![(x + PUSH * action[0]).clamp(EDGES[0], EDGES[1]), row as f32, chance]
    }

    /// Whether the next step is one over a peg, and the side if there is but one.
    fn forced(state: &[f32]) -> Option<bool> {
        if state[0] - ASIDE < EDGES[0] {
            return Some(true);
        }
        (state[0] + ASIDE > EDGES[1]).then_some(false)
    }
}

impl World for Galton {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Starts anywhere; the goal is a place on the last row.
    fn reset(&self, _: Split, rng: &mut ChaCha8Rng) -> Episode {
        let (state, mut goal) = (Self::drawn(rng), Self::drawn(rng));
        goal[1] = (ROWS - 1) as f32;
        Episode { layout: Vec::new(), state, goal }
    }

    fn anywhere(&self, _: &[f32], rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        Some(Self::drawn(rng))
    }

    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        // The generator's upper half is one side: its lowest bits take turns.
        let right = Self::forced(state).unwrap_or(next(state[2]) >= (PERIOD / 2) as f32);
        state.copy_from_slice(&self.after(state, action, right));
    }

    /// Left and right, where the step is one over a peg and neither is barred.
    fn futures(&self, _: &[f32], state: &[f32], action: &[f32]) -> Vec<Vec<f32>> {
        let row = state[1] as usize + 1;
        if row >= ROWS || !row.is_multiple_of(EVERY) || Self::forced(state).is_some() {
            return Vec::new();
        }
        [false, true].map(|right| self.after(state, action, right)).to_vec()
    }

    fn render(&self, _: &[f32], state: &[f32], out: &mut [f32]) {
        let side = self.spec.observation[1];
        let [x, y] = self.place(state).map(|at| at * side as f32);
        for (i, out) in out.iter_mut().enumerate() {
            let away = ((i % side) as f32 + 0.5 - x).hypot((i / side) as f32 + 0.5 - y);
            // Edges are a pixel wide.
            *out = (RADIUS * side as f32 - away + 0.5).clamp(0.0, 1.0);
        }
    }

    /// Between the places; chance has none.
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        let ([x, y], [u, v]) = (self.place(state), self.place(goal));
        (x - u).hypot(y - v)
    }

    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        self.distance(state, goal) < NEAR
    }

    fn possible(&self, _: &[f32], state: &[f32]) -> bool {
        let [x, row, chance] = *state else { return false };
        let within = (EDGES[0]..=EDGES[1]).contains(&x) && (0.0..ROWS as f32).contains(&row);
        within && row.fract() == 0.0 && (0.0..PERIOD as f32).contains(&chance) && chance.fract() == 0.0
    }

    /// Nobody knows a way past chance.
    fn oracle(&self, _: &[f32], _: &[f32], _: &[f32]) -> Option<Vec<f32>> {
        None
    }

    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        Some(vec![((goal[0] - state[0]) / PUSH).clamp(-1.0, 1.0)])
    }

    fn behave(&self, _: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        (0..steps).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// The pegs' rows.
    fn scene(&self, _: &[f32], side: usize) -> Option<Scene> {
        let pegs = |i: usize| {
            let row = (i / side) as f32 / side as f32 * ROWS as f32;
            let at = row as usize;
            at > 0 && (at + 1).is_multiple_of(EVERY) && row.fract() > 0.8 && (i % side).is_multiple_of(4)
        };
        let solid = (0..side * side).map(|i| f32::from(u8::from(pegs(i)))).collect();
        Some(Scene { solid, harmful: Vec::new(), near: NEAR })
    }

    fn place(&self, state: &[f32]) -> [f32; 2] {
        [state[0], (state[1] + 0.5) / ROWS as f32]
    }
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};

    use super::*;

    #[test]
    fn a_peg_sends_half_of_all_balls_to_each_side_and_elsewhere_the_action_alone_decides() {
        let world = Galton::new(32).unwrap();
        let mut sides = [0_u32; 2];
        for i in 0..4000 {
            let mut rng = rng(1, Stream::Play, 0, i);
            let before = Galton::drawn(&mut rng);
            assert!(world.possible(&[], &before));
            let mut after = before.clone();
            world.step(&[], &mut after, &[0.5]);
            assert!(world.possible(&[], &after), "{before:?} to {after:?}");
            let futures = world.futures(&[], &before, &[0.5]);
            if futures.is_empty() {
                let mut others = before.clone();
                others[2] = (others[2] + 1.0) % PERIOD as f32;
                world.step(&[], &mut others, &[0.5]);
                assert_eq!(others[..2], after[..2], "chance has a part where none is: {before:?}");
            } else {
                assert_eq!(futures.len(), 2);
                let side = futures.iter().position(|future| *future == after).expect("what comes is a future");
                // A push may end at an edge.
                let apart = futures[1][0] - futures[0][0] - 2.0 * ASIDE;
                assert!((-PUSH..1e-5).contains(&apart), "{futures:?}");
                sides[side] += 1;
            }
        }
        let all = sides[0] + sides[1];
        assert!(all > 300 && sides[0].abs_diff(all / 2) < 60, "{sides:?}");
    }

    #[test]
    fn which_way_a_fall_went_tells_nothing_of_the_next_fork() {
        let world = Galton::new(16).unwrap();
        let mut pairs = [[0_u32; 2]; 2];
        for i in 0..600 {
            let mut state = vec![0.5, 0.0, rng(2, Stream::Play, 0, i).random_range(0..PERIOD) as f32];
            let mut ways = Vec::new();
            for _ in 0..2 * EVERY {
                let x = state[0];
                world.step(&[], &mut state, &[0.0]);
                if state[0] != x {
                    ways.push(usize::from(state[0] > x));
                }
            }
            pairs[ways[0]][ways[1]] += 1;
        }
        assert!(pairs.iter().flatten().all(|count| (100..200).contains(count)), "{pairs:?}");
    }
}
