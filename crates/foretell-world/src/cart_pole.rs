//! Cart-pole through a camera: the dynamics of Barto, Sutton and Anderson (1983) with Gymnasium's constants (CartPole-v1: Euler
//! steps of 0.02 s, 12 degrees, 2.4 m), pushed by any force of at most 10 N.
//!
//! The state is `[x, ẋ, θ, θ̇]` in metres, radians and seconds, the action one number within ±1, in units of 10 N. A pole that
//! leans too far, or a cart beyond its track, stays as it is: the episode is lost, whatever is done. Observations are `[F, R, R]`, 0
//! to 1, the cart half as bright as the pole, 5.4 m across and 1.8 m up. With two frames, F = 2, the second shows where the same
//! velocities had the cart and the pole three steps before, so that a picture tells them: both are functions of the state alone.
//!
//! The goal is to stand still in the middle; success is that the pole still stands, so that it is met at the start, and the end of
//! an episode is what counts. `oracle` is the linear-quadratic regulator of the dynamics about the upright pole; `greedy` pushes with
//! all its force to the side to which the pole leans; play is the regulator under noise of every strength, which lets some poles
//! fall. [`CartPole::linearised`] is what a Kalman filter over a [silent link](crate::Silent) needs.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::silent::Linear;
use crate::world::{Episode, Reach, Scene, Spec, Split, World, WorldError};

/// Gymnasium's constants, in SI units; `LENGTH` is half the pole's.
const GRAVITY: f64 = 9.8;
const CART: f64 = 1.0;
const POLE: f64 = 0.1;
const LENGTH: f64 = 0.5;
const FORCE: f64 = 10.0;
const STEP: f64 = 0.02;
/// Beyond these it is lost.
const TRACK: f64 = 2.4;
const LEAN: f64 = 12.0 / 360.0 * std::f64::consts::TAU;

/// Largest number of a start of Gymnasium's.
const START: f32 = 0.05;
/// Starts of play lie within these: half of what is not lost.
const WIDE: [f32; 4] = [1.2, 0.5, 0.1, 0.5];
/// Steps between the two frames.
const SHUTTER: f64 = 3.0;
/// What the picture shows, and how high its lowest line lies.
const ACROSS: f64 = 5.4;
const UP: f64 = 1.8;
const FLOOR: f64 = -0.3;
/// Half the cart's width and height.
const BODY: [f64; 2] = [0.3, 0.12];
/// Half the pole's thickness, in parts of the picture's side.
const THIN: f64 = 0.02;
/// Strongest noise of play, in units of an action, and how much of it lasts to the next step.
const NOISE: f32 = 0.9;
const LASTS: f32 = 0.8;

/// See the module.
pub struct CartPole {
    spec: Spec,
    /// The regulator's feedback: an action is minus its product with the state.
    gain: [f64; 4],
}

/// Whether it is lost.
fn lost(state: &[f32]) -> bool {
    f64::from(state[0].abs()) > TRACK || f64::from(state[2].abs()) > LEAN || state.iter().any(|x| !x.is_finite())
}

/// Accelerations of cart and pole under a force.
fn accelerations([_, _, lean, turn]: [f64; 4], force: f64) -> [f64; 2] {
    let (sin, cos) = lean.sin_cos();
    let pushed = (force + POLE * LENGTH * turn * turn * sin) / (CART + POLE);
    let turning = (GRAVITY * sin - cos * pushed) / (LENGTH * (4.0 / 3.0 - POLE * cos * cos / (CART + POLE)));
    [pushed - POLE * LENGTH * turning * cos / (CART + POLE), turning]
}

impl CartPole {
    /// The world's name.
    pub const NAME: &'static str = "cart-pole";

    /// The world in pictures of this side, 16 to 256 pixels, of one or two frames.
    pub fn new(resolution: usize, frames: usize) -> Result<Self, WorldError> {
        if !(16..=256).contains(&resolution) {
            return Err(WorldError::resolution(resolution));
        }
        if !(1..=2).contains(&frames) {
            return Err(WorldError::Setting(format!(
                "`data.world.frames` of {} must be 1 or 2, found {frames}",
                Self::NAME
            )));
        }
        let spec = Spec {
            name: Self::NAME.to_owned(),
            observation: [frames, resolution, resolution],
            state: 4,
            action: 1,
            reach: Reach::Box(1.0),
        };
        Ok(Self { spec, gain: regulator() })
    }

    /// One step about the upright pole at rest: the next state is `A·state + B·action`, row by row.
    pub fn linearised() -> ([[f64; 4]; 4], [f64; 4]) {
        let inertia = LENGTH * (4.0 / 3.0 - POLE / (CART + POLE));
        let share = POLE * LENGTH / (CART + POLE);
        let (turning, turning_by) = (GRAVITY / inertia, -FORCE / (CART + POLE) / inertia);
        let (moving, moving_by) = (-share * turning, FORCE / (CART + POLE) - share * turning_by);
        let a = [
            [1.0, STEP, 0.0, 0.0],
            [0.0, 1.0, STEP * moving, 0.0],
            [0.0, 0.0, 1.0, STEP],
            [0.0, 0.0, STEP * turning, 1.0],
        ];
        (a, [0.0, STEP * moving_by, 0.0, STEP * turning_by])
    }

    /// The regulator's action.
    fn regulate(&self, state: &[f32], goal: &[f32]) -> f32 {
        let off = state.iter().zip(goal).map(|(x, goal)| f64::from(x - goal));
        let action: f64 = off.zip(self.gain).map(|(off, gain)| -gain * off).sum();
        (action as f32).clamp(-1.0, 1.0)
    }

    /// A state that play may begin from.
    fn wide(rng: &mut ChaCha8Rng) -> Vec<f32> {
        WIDE.iter().map(|most| rng.random_range(-most..*most)).collect()
    }
}

/// The linear-quadratic regulator: Riccati's recursion to its fixed point, with states in shares of what loses and cheap force.
fn regulator() -> [f64; 4] {
    const CHEAP: f64 = 0.1;
    let (a, b) = CartPole::linearised();
    let weights = [1.0 / (TRACK * TRACK), 0.1, 1.0 / (LEAN * LEAN), 0.1];
    let dot = |u: [f64; 4], v: [f64; 4]| u.iter().zip(v).map(|(u, v)| u * v).sum::<f64>();
    let column = |m: &[[f64; 4]; 4], j: usize| m.map(|row| row[j]);
    let (mut cost, mut gain) = ([[0.0; 4]; 4], [0.0; 4]);
    for _ in 0..3000 {
        let of_action = cost.map(|row| dot(row, b));
        gain = std::array::from_fn(|j| dot(of_action, column(&a, j)) / (CHEAP + dot(b, of_action)));
        // Joseph's form, which stays symmetric: (A − B K)ᵀ P (A − B K) + Kᵀ R K + Q.
        let held: [[f64; 4]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| a[i][j] - b[i] * gain[j]));
        let carried: [[f64; 4]; 4] = std::array::from_fn(|j| cost.map(|row| dot(row, column(&held, j))));
        cost = std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let own = if i == j { weights[i] } else { 0.0 };
                dot(column(&held, i), carried[j]) + CHEAP * gain[i] * gain[j] + own
            })
        });
    }
    gain
}

impl World for CartPole {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Held-out starts are Gymnasium's; play begins from anywhere.
    fn reset(&self, split: Split, rng: &mut ChaCha8Rng) -> Episode {
        let state = match split {
            Split::Training => Self::wide(rng),
            Split::HeldOut => (0..4).map(|_| rng.random_range(-START..START)).collect(),
        };
        Episode { layout: Vec::new(), state, goal: vec![0.0; 4] }
    }

    fn anywhere(&self, _: &[f32], rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        Some(Self::wide(rng))
    }

    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        if lost(state) {
            return;
        }
        let mut action = [action[0]];
        self.spec.within_reach(&mut action);
        let now: [f64; 4] = std::array::from_fn(|i| f64::from(state[i]));
        let [moving, turning] = accelerations(now, FORCE * f64::from(action[0]));
        let change = [now[1], moving, now[3], turning];
        for ((x, now), change) in state.iter_mut().zip(now).zip(change) {
            *x = (now + STEP * change) as f32;
        }
    }

    fn render(&self, _: &[f32], state: &[f32], out: &mut [f32]) {
        let side = self.spec.observation[1];
        let scale = side as f64;
        for (frame, out) in out.chunks_exact_mut(side * side).enumerate() {
            let before = SHUTTER * STEP * frame as f64;
            let [x, lean] = [0, 2].map(|i| f64::from(state[i]) - before * f64::from(state[i + 1]));
            let foot = seen([x, BODY[1]]).map(|x| x * scale);
            let tip = seen([x + 2.0 * LENGTH * lean.sin(), BODY[1] + 2.0 * LENGTH * lean.cos()]).map(|x| x * scale);
            let middle = seen([x, 0.0]).map(|x| x * scale);
            let body = [BODY[0] / ACROSS * scale, BODY[1] / UP * scale];
            let along = [tip[0] - foot[0], tip[1] - foot[1]];
            let square = along[0] * along[0] + along[1] * along[1];
            for (i, out) in out.iter_mut().enumerate() {
                let at = [(i % side) as f64 + 0.5, (i / side) as f64 + 0.5];
                // Edges are a pixel wide.
                let cart = [0, 1].map(|k| (body[k] - (at[k] - middle[k]).abs() + 0.5).clamp(0.0, 1.0));
                let off = [at[0] - foot[0], at[1] - foot[1]];
                let share = ((off[0] * along[0] + off[1] * along[1]) / square).clamp(0.0, 1.0);
                let beside = (off[0] - share * along[0]).hypot(off[1] - share * along[1]);
                let pole = (THIN * scale - beside + 0.5).clamp(0.0, 1.0);
                *out = pole.max(0.5 * cart[0] * cart[1]) as f32;
            }
        }
    }

    /// Of cart and pole, each in shares of what loses.
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        ((state[0] - goal[0]) / TRACK as f32).hypot((state[2] - goal[2]) / LEAN as f32)
    }

    /// It is always to stand still in the middle.
    fn shows_goal(&self) -> bool {
        true
    }

    fn success(&self, state: &[f32], _: &[f32]) -> bool {
        !lost(state)
    }

    fn possible(&self, _: &[f32], state: &[f32]) -> bool {
        state.len() == 4 && !lost(state)
    }

    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        (!lost(state)).then(|| vec![self.regulate(state, goal)])
    }

    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        Some(vec![(state[2] - goal[2]).signum()])
    }

    fn linear(&self) -> Option<Linear> {
        let (a, b) = Self::linearised();
        Some(Linear { a: a.map(|row| row.to_vec()).to_vec(), b: b.map(|x| vec![x]).to_vec() })
    }

    fn behave(&self, episode: &Episode, steps: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (mut state, mut noise, loud) = (episode.state.clone(), 0.0_f32, rng.random_range(0.0..NOISE));
        (0..steps)
            .map(|_| {
                let fresh: f32 = StandardNormal.sample(rng);
                noise = LASTS * noise + (1.0 - LASTS * LASTS).sqrt() * fresh;
                let action = (self.regulate(&state, &episode.goal) + loud * noise).clamp(-1.0, 1.0);
                self.step(&episode.layout, &mut state, &[action]);
                action
            })
            .collect()
    }

    /// The track.
    fn scene(&self, _: &[f32], side: usize) -> Option<Scene> {
        let below = |i: usize| (i / side) as f64 + 0.5 > seen([0.0, -BODY[1]])[1] * side as f64;
        let solid = (0..side * side).map(|i| f32::from(u8::from(below(i)))).collect();
        Some(Scene { solid, harmful: Vec::new(), near: 0.02 })
    }

    /// The tip of the pole.
    fn place(&self, state: &[f32]) -> [f32; 2] {
        let lean = f64::from(state[2]);
        let tip = [f64::from(state[0]) + 2.0 * LENGTH * lean.sin(), BODY[1] + 2.0 * LENGTH * lean.cos()];
        seen(tip).map(|x| x as f32)
    }
}

/// Where a point of the plane, metres to the right of the middle and above the cart's, lies in the picture, in shares of its side.
fn seen([x, y]: [f64; 2]) -> [f64; 2] {
    [x / ACROSS + 0.5, 1.0 - (y - FLOOR) / UP]
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};

    use super::*;
    use crate::{Control, Trial};

    fn world() -> CartPole {
        CartPole::new(64, 2).unwrap()
    }

    fn stepped(state: [f32; 4], action: f32) -> [f32; 4] {
        let mut state = state;
        world().step(&[], &mut state, &[action]);
        state
    }

    #[test]
    fn a_step_is_gymnasiums() {
        // CartPole-v1 from rest, pushed with 10 N: 9.7561 m/s² and −14.6341 rad/s² for 0.02 s.
        let near = |a: [f32; 4], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let one = stepped([0.0; 4], 1.0);
        assert!(near(one, [0.0, 0.195_121_95, 0.0, -0.292_682_93]), "{one:?}");
        let two = stepped(one, 1.0);
        assert!(
            near([two[0], 0.0, two[2], 0.0], [0.003_902_44, 0.0, -0.005_853_66, 0.0]),
            "places follow speeds: {two:?}"
        );
        assert_eq!(stepped([0.0; 4], 7.0), one, "a force of 10 N at most");
        assert_eq!(stepped([0.0; 4], f32::NAN), stepped([0.0; 4], 0.0), "what is no number pushes nothing");
    }

    #[test]
    fn the_linear_step_is_the_slope_of_the_true_one() {
        let (a, b) = CartPole::linearised();
        let slope = |change: &dyn Fn(f32) -> ([f32; 4], f32)| -> [f64; 4] {
            let [(up, push), (down, pull)] = [1e-3, -1e-3].map(change);
            let (up, down) = (stepped(up, push), stepped(down, pull));
            std::array::from_fn(|i| f64::from(up[i] - down[i]) / 2e-3)
        };
        for j in 0..4 {
            let column = slope(&|by| {
                let mut state = [0.0; 4];
                state[j] = by;
                (state, 0.0)
            });
            assert!((0..4).all(|i| (column[i] - a[i][j]).abs() < 1e-3), "{j}: {column:?}");
        }
        let by_action = slope(&|by| ([0.0; 4], by));
        assert!((0..4).all(|i| (by_action[i] - b[i]).abs() < 1e-3), "{by_action:?} {b:?}");
    }

    #[test]
    fn what_is_lost_stays_lost() {
        for state in [[0.0, 0.0, 0.22, -3.0], [2.5, -1.0, 0.0, 0.0], [0.0, 0.0, f32::NAN, 0.0]] {
            let after = stepped(state, -1.0);
            assert!(after.iter().zip(state).all(|(a, b)| a.to_bits() == b.to_bits()), "{after:?}");
            assert!(!world().success(&after, &[0.0; 4]) && world().oracle(&[], &after, &[0.0; 4]).is_none());
        }
    }

    #[test]
    fn the_regulator_holds_the_pole_and_others_do_not() {
        let (world, trial) = (world(), Trial { episodes: 50, steps: 500, seed: 1 });
        let [oracle, greedy, random] = [Control::Oracle, Control::Greedy, Control::Random].map(|control| {
            let mut control = control;
            trial.run(&world, &mut control).unwrap()
        });
        assert_eq!((oracle.success().0, oracle.solved_at_start()), (1.0, 1.0));
        let still = |d: &[f32]| d.iter().copied().fold(0.0, f32::max);
        assert!(still(&oracle.distance) < 0.05, "in the middle: {}", still(&oracle.distance));
        assert!(random.success().0 < 0.1 && greedy.success().0 < 0.1, "{:?} {:?}", random.success(), greedy.success());
        // It brings back what play begins with, too.
        for i in 0..50 {
            let mut state = world.reset(Split::Training, &mut rng(2, Stream::Play, 0, i)).state;
            for _ in 0..300 {
                let action = world.oracle(&[], &state, &[0.0; 4]).expect("not lost");
                world.step(&[], &mut state, &action);
            }
            assert!(world.success(&state, &[0.0; 4]), "{state:?}");
        }
    }

    #[test]
    fn play_lets_some_poles_fall() {
        let world = world();
        let fallen = (0..200)
            .filter(|i| {
                let mut random = rng(4, Stream::Play, 0, *i);
                let task = world.reset(Split::Training, &mut random);
                let (mut state, actions) = (task.state.clone(), world.behave(&task, 90, &mut random));
                for action in &actions {
                    world.step(&[], &mut state, &[*action]);
                }
                lost(&state)
            })
            .count();
        assert!((20..100).contains(&fallen), "{fallen} of 200");
    }

    #[test]
    fn a_picture_tells_the_state() {
        let side = 64;
        let see = |state: [f32; 4], frames: usize| {
            let mut out = vec![f32::NAN; frames * side * side];
            CartPole::new(side, frames).unwrap().render(&[], &state, &mut out);
            out
        };
        let picture = see([0.5, 0.0, 0.1, 0.0], 2);
        assert!(picture.iter().all(|x| (0.0..=1.0).contains(x)));
        let (now, before) = picture.split_at(side * side);
        assert_eq!(now, before, "at rest both frames are one");
        assert_eq!(now, see([0.5, 3.0, 0.1, -2.0], 1), "the first frame is where it is, however fast");
        // The tip: the last row from above with a bright pixel is where `place` says.
        let tip = world().place(&[0.5, 0.0, 0.1, 0.0]).map(|x| x * side as f32);
        let top = now.iter().position(|x| *x > 0.5).unwrap();
        let (x, y) = ((top % side) as f32 + 0.5, (top / side) as f32 + 0.5);
        assert!((x - tip[0]).abs() < 1.5 && (y - tip[1]).abs() < 2.0, "{x} {y} {tip:?}");
        // Speeds show in the second frame: three steps of 0.02 s at 1 m/s to the right.
        let moving = see([0.5, 1.0, 0.1, 0.5], 2);
        let earlier = see([0.44, 0.0, 0.07, 0.0], 1);
        let apart = moving[side * side..].iter().zip(&earlier).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{apart}");
    }

    #[test]
    fn impossible_settings_are_refused_in_a_sentence() {
        assert!(CartPole::new(64, 3).err().unwrap().to_string().contains("1 or 2, found 3"));
        assert!(CartPole::new(300, 2).err().unwrap().to_string().contains("16 to 256 pixels, found 300"));
    }
}
