//! How a policy's chunks are acted out, on a line where every number is known.

use burn::tensor::{Device, Tensor};
use foretell_data::Normalise;
use foretell_jepa::dynamics::{ChunkPolicy, TrainedPolicy};
use foretell_world::{Episode, Execution, Imitation, Reach, Spec, Split, Trial, World};
use rand_chacha::ChaCha8Rng;

/// A place on a line; an action is added to it, and what is seen is ten times the place.
struct Line(Spec);

impl Line {
    fn new() -> Self {
        let reach = Reach::Box(0.5);
        Self(Spec { name: "line".to_owned(), observation: [1, 1, 1], state: 1, action: 1, reach })
    }
}

impl World for Line {
    fn spec(&self) -> &Spec {
        &self.0
    }
    fn reset(&self, _: Split, _: &mut ChaCha8Rng) -> Episode {
        Episode { layout: Vec::new(), state: vec![0.0], goal: vec![2.0] }
    }
    fn step(&self, _: &[f32], state: &mut [f32], action: &[f32]) {
        state[0] += action[0];
    }
    fn render(&self, _: &[f32], state: &[f32], out: &mut [f32]) {
        out[0] = 10.0 * state[0];
    }
    fn distance(&self, state: &[f32], goal: &[f32]) -> f32 {
        (state[0] - goal[0]).abs()
    }
    fn success(&self, state: &[f32], goal: &[f32]) -> bool {
        self.distance(state, goal) < 0.1
    }
    fn possible(&self, _: &[f32], _: &[f32]) -> bool {
        true
    }
    fn oracle(&self, _: &[f32], state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        self.greedy(state, goal)
    }
    fn greedy(&self, state: &[f32], goal: &[f32]) -> Option<Vec<f32>> {
        Some(vec![(goal[0] - state[0]).clamp(-0.5, 0.5)])
    }
    fn behave(&self, _: &Episode, steps: usize, _: &mut ChaCha8Rng) -> Vec<f32> {
        vec![0.0; steps]
    }
}

/// Of a place x, and of a goal where it is told: `[x + 1, x + 2, x + 3] + goal`, in its own units.
struct Rising {
    goal: bool,
}

impl ChunkPolicy for Rising {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        let count = observations.dims()[0];
        observations.reshape([count, 1, 1])
    }
    fn act(&self, now: Tensor<3>, goal: Option<Tensor<3>>) -> Tensor<3> {
        assert_eq!(goal.is_some(), self.goal);
        let steps = [1.0, 2.0, 3.0].map(|step| now.clone() + step);
        let chunk = Tensor::cat(steps.to_vec(), 1);
        match goal {
            Some(goal) => chunk + goal,
            None => chunk,
        }
    }
    fn foretell(&self, now: Tensor<3>, _: Option<Tensor<3>>) -> Tensor<3> {
        now
    }
    fn takes_goal(&self) -> bool {
        self.goal
    }
    fn chunk(&self) -> usize {
        3
    }
}

/// Sees places as they are, and its unit of an action is a tenth.
fn imitation(goal: bool) -> Imitation {
    let trained = TrainedPolicy {
        policy: Box::new(Rising { goal }),
        observation: [1, 1, 1],
        normalise: Normalise { mean: vec![0.0], std: vec![10.0] },
        actions: Normalise { mean: vec![0.0], std: vec![0.1] },
        device: Device::flex(),
    };
    Imitation::of(trained, 1)
}

fn acted(goal: bool, execution: Execution, steps: u64) -> (Vec<f32>, f64) {
    let imitation = imitation(goal);
    let outcome = Trial { episodes: 2, steps, seed: 1 }.run(&Line::new(), &mut imitation.agent(execution)).unwrap();
    assert_eq!(outcome.trails[0], outcome.trails[1]);
    (outcome.trails[0].actions.concat(), outcome.calls_per_step)
}

#[track_caller]
fn near(found: &[f32], expected: &[f32]) {
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(same, "{found:?} and {expected:?}");
}

#[test]
fn so_many_steps_of_a_chunk_are_taken_without_looking() {
    let (actions, calls) = acted(false, Execution::Chunk(2), 4);
    // From 0 a tenth and two tenths; from 0.3 what is said there.
    near(&actions, &[0.1, 0.2, 0.13, 0.23]);
    assert_eq!(calls, 0.5);
    near(&acted(false, Execution::Chunk(3), 3).0, &[0.1, 0.2, 0.3]);
    // One after the other is looking at every step.
    near(&acted(false, Execution::Chunk(1), 3).0, &[0.1, 0.11, 0.121]);
}

#[test]
fn an_ensemble_is_the_mean_of_what_was_said_of_a_step_and_older_chunks_count_more() {
    let (actions, calls) = acted(false, Execution::Ensemble, 4);
    let [one, two] = [(-0.01_f32).exp(), (-0.02_f32).exp()];
    let first = 0.1;
    let second = (0.2 + one * 0.11) / (1.0 + one);
    let at_second = 0.1 + second;
    let third = (0.3 + one * 0.21 + two * 0.1 * (at_second + 1.0)) / (1.0 + one + two);
    // The first chunk has said nothing of the fourth step.
    let at_third = at_second + third;
    let fourth = (0.31 + one * 0.1 * (at_second + 2.0) + two * 0.1 * (at_third + 1.0)) / (1.0 + one + two);
    near(&actions, &[first, second, third, fourth]);
    assert_eq!(calls, 1.0);
}

#[test]
fn goals_are_told_and_actions_are_within_reach() {
    // The goal at 2 adds two tenths; beyond 0.5 there is nothing.
    near(&acted(true, Execution::Chunk(3), 3).0, &[0.3, 0.4, 0.5]);
    near(&acted(true, Execution::Chunk(3), 6).0, &[0.3, 0.4, 0.5, 0.42, 0.5, 0.5]);
    let world = Line::new();
    imitation(true).check(&world).unwrap();
    let other = Line(Spec { action: 2, ..Line::new().0 });
    let said = imitation(true).check(&other).unwrap_err().to_string();
    assert!(said.contains("actions of 1 numbers") && said.contains("takes 2"), "{said}");
}
