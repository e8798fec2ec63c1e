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

mod expert;
mod tee;

use std::f64::consts::{FRAC_PI_4, PI};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rapier2d::prelude::{ColliderBuilder, MassProperties, PhysicsWorld, RigidBodyBuilder, Vector};

use expert::Expert;
use tee::{BOXES, CENTRE, EXTENT, INERTIA, Pose, between, length, turn};

use crate::world::{Episode, Reach, Scene, Spec, Split, World, WorldError};

/// Side of the table, where the agent's centre can be, and its radius.
const SIDE: f64 = 512.0;
const INSIDE: (f64, f64) = (22.0, 490.0);
const RADIUS: f64 = 15.0;
/// The walls' inner faces.
const WALLS: (f64, f64) = (7.0, 505.0);
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
    expert: Expert,
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
        Ok(Self { spec, offset, loose, expert: Expert::new() })
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

    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        Some(Self::moving(state, self.expert.way(Pose::of(state), agent(state), Pose::of(goal))?))
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
