//! What an agent has lived through: curious play at first, then episodes of its own, all in layouts of training.

use burn::tensor::Tensor;
use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::model::STEPS_UNIT;
use foretell_jepa::dynamics::{Gauge, flat};
use foretell_nn::{NamedTensor, NamedTensors};
use foretell_ops as ops;
use foretell_train::TrainError;
use rand::RngExt;
use rayon::prelude::*;

use super::critic::Critic;
use super::intrinsic::Percept;
use super::lessons::Lessons;
use super::memory::futures;
use super::sense::Sense;
use crate::evaluate::Trail;
use crate::imagination::Imagination;
use crate::world::{Episode, Reach, Spec, Split, World};

/// Perception: the model's encoder, and what is read from its latents.
#[derive(Clone, Copy)]
pub(super) struct Perception<'a> {
    /// The model.
    pub(super) imagination: &'a Imagination,
    /// Reads hazards, where there are any.
    pub(super) sense: Option<&'a Sense>,
    /// By what a latent is far from its goal.
    pub(super) gauge: Gauge,
}

impl Perception<'_> {
    /// The latents of what states look like, `[R, N, D]`.
    pub(super) fn look(&self, world: &dyn World, layout: &[f32], states: &[Vec<f32>]) -> Tensor<3> {
        let pixels = world.spec().pixels();
        let mut seen = vec![0.0; states.len() * pixels];
        for (state, out) in states.iter().zip(seen.chunks_exact_mut(pixels)) {
            world.render(layout, state, out);
        }
        self.imagination.encode(seen)
    }

    /// How far latents `[S, N, D]` are from a goal `[1, N, D]`, `[S, 1]`: near 1 for usual ways.
    pub(super) fn distance(&self, latents: Tensor<3>, goal: Tensor<3>) -> Tensor<2> {
        let told = self.gauge == Gauge::Steps && self.imagination.model.reach().is_some();
        self.imagination.apart(self.gauge, latents, goal) / if told { STEPS_UNIT } else { 1.0 }
    }

    /// What moments `[R, N, D]` on the way to a goal `[1, N, D]` are like, with the efforts that led to them.
    pub(super) fn percepts(&self, latents: &Tensor<3>, goal: &Tensor<3>, efforts: &[f32]) -> Vec<Percept> {
        let distances = ops::values(self.distance(latents.clone(), goal.clone()));
        let hazards = match self.sense {
            Some(sense) => ops::values(sense.hazard(flat(latents.clone()))),
            None => vec![0.0; distances.len()],
        };
        let of = |((distance, hazard), effort): ((f32, f32), &f32)| Percept { distance, hazard, effort: *effort };
        distances.into_iter().zip(hazards).zip(efforts).map(of).collect()
    }
}

/// The squared length of an action, as a share of the longest one's.
pub(super) fn effort(action: &[f32], spec: &Spec) -> f32 {
    action.iter().map(|x| x * x).sum::<f32>() / longest(spec.reach, spec.action)
}

/// The squared length of the longest action of so many numbers.
pub(super) fn longest(reach: Reach, width: usize) -> f32 {
    match reach {
        Reach::Ball(most) => most * most,
        Reach::Box(most) => most * most * width as f32,
    }
}

/// Episodes of curious play.
pub(super) struct Played {
    pub(super) tasks: Vec<Episode>,
    pub(super) trails: Vec<Trail>,
}

impl Played {
    /// So many episodes of so many steps: a function of the world and the place in the stream of lives.
    pub(super) fn of(
        world: &dyn World,
        split: Split,
        (seed, round): (u64, u64),
        (episodes, steps): (u64, u64),
    ) -> Self {
        let play = |number: u64| {
            let mut random = rng(seed, Stream::Life, round, number);
            let task = world.reset(split, &mut random);
            let (mut state, mut trail) = (task.state.clone(), Trail::default());
            trail.states.push(state.clone());
            for action in world.behave(&task, steps as usize, &mut random).chunks_exact(world.spec().action) {
                world.step(&task.layout, &mut state, action);
                trail.states.push(state.clone());
                trail.actions.push(action.to_vec());
            }
            (task, trail)
        };
        let (tasks, trails) = (0..episodes).into_par_iter().map(play).unzip();
        Self { tasks, trails }
    }
}

/// Episodes as they were remembered, all equally long.
pub(super) struct Life {
    /// Moments of an episode, T.
    pub(super) moments: usize,
    /// Width of a latent, D.
    pub(super) width: usize,
    /// `[E, T, D]`.
    pub(super) keys: Vec<f32>,
    /// `[E, T, 3]`: what each was like on the way to the episode's goal.
    pub(super) percepts: Vec<f32>,
    /// `[E, D]`: the goals.
    pub(super) goals: Vec<f32>,
    /// `[E]`: 1 where the goal was to be reached, 0 where it was fled from.
    pub(super) towards: Vec<f32>,
    /// `[E, T]`: the hazard that really was there; of play alone, whose hazards are labelled.
    pub(super) labels: Vec<f32>,
}

/// Goals in hindsight for each episode.
const HINDSIGHTS: usize = 4;

impl Life {
    /// Nothing yet, of episodes of so many steps.
    pub(super) fn new(steps: u64, width: usize) -> Self {
        let (keys, percepts, goals, towards, labels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { moments: steps as usize + 1, width, keys, percepts, goals, towards, labels }
    }

    /// Adds an episode: its moments, its goal, and whether that was to be reached.
    pub(super) fn add<'a>(&mut self, moments: impl Iterator<Item = (&'a [f32], Percept)>, goal: &[f32], towards: bool) {
        for (key, Percept { distance, hazard, effort }) in moments {
            self.keys.extend_from_slice(key);
            self.percepts.extend([distance, hazard, effort]);
        }
        self.goals.extend_from_slice(goal);
        self.towards.push(f32::from(u8::from(towards)));
    }

    /// Of curious play: the goal is where each episode ended.
    pub(super) fn played(world: &dyn World, perception: &Perception<'_>, played: &Played, steps: u64) -> Self {
        let spec = world.spec();
        let remember = |(task, trail): (&Episode, &Trail)| {
            let latents = perception.look(world, &task.layout, &trail.states);
            let goal = latents.clone().narrow(0, trail.actions.len(), 1);
            let efforts: Vec<f32> =
                std::iter::once(0.0).chain(trail.actions.iter().map(|action| effort(action, spec))).collect();
            let percepts = perception.percepts(&latents, &goal, &efforts);
            (ops::values(latents), percepts, ops::values(goal))
        };
        let episodes: Vec<_> = played.tasks.par_iter().zip(&played.trails).map(remember).collect();
        let mut life = Self::new(steps, perception.imagination.width());
        for ((keys, percepts, goal), (task, trail)) in episodes.iter().zip(played.tasks.iter().zip(&played.trails)) {
            life.add(keys.chunks_exact(life.width).zip(percepts.iter().copied()), goal, true);
            life.labels.extend(trail.states.iter().map(|state| world.hazard(&task.layout, state)));
        }
        life
    }

    /// Its tensors.
    pub(super) fn state(&self) -> NamedTensors {
        let episodes = self.goals.len() / self.width.max(1);
        let tensor = |shape: Vec<usize>, values: &[f32]| NamedTensor { shape, values: values.to_vec() };
        [
            ("keys", tensor(vec![episodes, self.moments, self.width], &self.keys)),
            ("percepts", tensor(vec![episodes, self.moments, 3], &self.percepts)),
            ("goals", tensor(vec![episodes, self.width], &self.goals)),
            ("towards", tensor(vec![episodes], &self.towards)),
            ("labels", tensor(vec![self.labels.len()], &self.labels)),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into()
    }

    /// Of these tensors.
    pub(super) fn of(mut state: NamedTensors) -> Result<Self, TrainError> {
        let mut take = |name: &str| {
            state.remove(name).ok_or_else(|| TrainError::Setting(format!("remembered episodes have no `{name}`")))
        };
        let (keys, percepts, goals) = (take("keys")?, take("percepts")?.values, take("goals")?.values);
        let (towards, labels) = (take("towards")?.values, take("labels")?.values);
        let &[_, moments, width] = keys.shape.as_slice() else {
            return Err(TrainError::Setting(format!("latents of remembered episodes have the shape {:?}", keys.shape)));
        };
        Ok(Self { moments, width, keys: keys.values, percepts, goals, towards, labels })
    }

    /// What it teaches a critic: of each episode's moments, what came on the way to the goal that was to be reached, and to some moments of its
    /// own in hindsight, where the agent then stayed. Hazards of play, which was remembered before anything could be read, are read now.
    pub(super) fn teach(&self, lessons: &mut Lessons, perception: &Perception<'_>, (seed, round): (u64, u64)) {
        let (moments, block) = (self.moments, perception.imagination.block);
        let taught = |e: usize| {
            let keys = &self.keys[e * moments * self.width..][..moments * self.width];
            let lived = &self.percepts[e * moments * 3..][..moments * 3];
            let goal = &self.goals[e * self.width..][..self.width];
            let latents = perception.imagination.latents(keys);
            let efforts: Vec<f32> = lived.iter().skip(2).step_by(3).copied().collect();
            let came = |last: usize, goal: Tensor<3>| {
                let before = latents.clone().narrow(0, 0, last + 1);
                let percepts = perception.percepts(&before, &goal, &efforts[..=last]);
                let came = futures(&percepts, block);
                percepts.into_iter().zip(came).map(|(now, came)| Critic::lesson(now, came)).collect::<Vec<_>>()
            };
            let pursued = (self.towards[e] > 0.0).then(|| came(moments - 1, perception.imagination.latents(goal)));
            let mut random = rng(seed, Stream::Life, round, u64::MAX - e as u64);
            let hindsights: Vec<(usize, Vec<[f32; 2]>)> = (0..HINDSIGHTS)
                .map(|_| random.random_range(1..moments))
                .map(|at| (at, came(at, latents.clone().narrow(0, at, 1))))
                .collect();
            (pursued, hindsights)
        };
        let all: Vec<_> = (0..self.towards.len()).into_par_iter().map(taught).collect();
        for (e, (pursued, hindsights)) in all.into_iter().enumerate() {
            let first = lessons.add(&self.keys[e * moments * self.width..][..moments * self.width]);
            let goal = lessons.add(&self.goals[e * self.width..][..self.width]);
            let ways = pursued.into_iter().map(|came| (goal, came));
            for (there, came) in ways.chain(hindsights.into_iter().map(|(at, came)| (first + at as u32, came))) {
                for (from, came) in (first..).zip(came) {
                    lessons.say(from, there, &came);
                }
            }
        }
    }
}
