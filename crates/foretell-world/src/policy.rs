//! Policies that search for nothing: trained on the same play as a model, in hindsight, to do what was done on the way from one
//! moment to a later one. A planner that is no better has gained nothing from its model.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::Normalise;
use foretell_data::random::{Stream, rng};
use foretell_jepa::Role;
use foretell_jepa::dynamics::pooled;
use foretell_nn::mlp::Perceptron;
use foretell_nn::observer::{Observer, ObserverConfig};
use foretell_ops as ops;
use foretell_train::{Optimiser, TrainConfig};
use rayon::prelude::*;

use crate::evaluate::{Agent, Now, Turn};
use crate::imagination::{Imagination, seen};
use crate::planner::PlannerError;
use crate::play::{Moment, Play};
use crate::world::{Spec, Split};

/// How a policy is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Pairs of moments in a batch.
    pub batch: usize,
    /// Actions between two moments at most.
    pub farthest: usize,
    /// Width of the two hidden layers.
    pub hidden: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Width of each convolution of the policy's own encoder.
    pub widths: Vec<usize>,
    /// Width of its vector.
    pub width: usize,
    /// Of the weights.
    pub seed: u64,
}

impl Default for PolicyConfig {
    /// The encoder is the models' own for 32 pixels.
    fn default() -> Self {
        Self {
            steps: 2000,
            batch: 64,
            farthest: 90,
            hidden: 256,
            lr: 1e-3,
            widths: vec![16, 32, 32],
            width: 128,
            seed: 0,
        }
    }
}

/// What it looks with.
#[derive(Module, Debug)]
struct Networks {
    /// Its own eyes, learnt with the rest; none where a frozen model's latents come in.
    encoder: Option<Observer>,
    /// Now and goal side by side → the action.
    head: Perceptron,
}

impl Networks {
    /// Features of now and goal, `[B, D]` each → actions `[B, A]`, in deviations of the play's.
    fn decide(&self, now: Tensor<2>, goal: Tensor<2>) -> Tensor<2> {
        self.head.forward(Tensor::cat(vec![now, goal], 1))
    }
}

/// The eyes of a policy, without gradients.
enum Eyes<'a> {
    /// The policy's own.
    Own,
    /// A model's encoder, frozen.
    Model(&'a Imagination),
}

/// A trained policy, in the world of its play.
pub struct GoalPolicy<'a> {
    networks: Networks,
    eyes: Eyes<'a>,
    observation: [usize; 3],
    normalise: Normalise,
    actions: Normalise,
    device: Device,
}

/// A network, on an autodiff device, after so many steps at this peak rate down the slopes of a loss of each step, from 1.
pub(crate) fn trained<M: Module>(mut network: M, (steps, lr): (u64, f64), loss: impl Fn(&M, u64) -> Tensor<1>) -> M {
    let train = TrainConfig { lr, clip: 2.0, ..TrainConfig::default() };
    let (rates, mut optimiser) = (train.lr_schedule(steps), Optimiser::default());
    for step in 1..=steps {
        let hyper = ops::AdamW { lr: rates.at(step), weight_decay: 1e-4, ..train.adamw(step) };
        let learns: &dyn Fn(&str) -> Role<'_> = &|_| Role::LEARNS;
        let backward = loss(&network, step).backward();
        network = optimiser.step(network, backward, train.clip, hyper, learns).0;
    }
    network
}

impl<'a> GoalPolicy<'a> {
    /// Goal-conditioned behaviour cloning: sees observations with an encoder of its own.
    pub fn cloned(play: &Play, config: &PolicyConfig, device: &Device) -> Self {
        let farthest = config.farthest;
        Self::learn(play, config, Eyes::Own, device, &|at| play.moment(Split::Training, at, farthest))
    }

    /// Goal-conditioned inverse dynamics: sees a model's frozen latents. (GC-IDM, arXiv 2605.08732, beats planning on three of
    /// LeWorldModel's four tasks.)
    pub fn inverse_dynamics(play: &Play, config: &PolicyConfig, imagination: &'a Imagination) -> Self {
        let (device, farthest) = (imagination.device.clone(), config.farthest);
        Self::learn(play, config, Eyes::Model(imagination), &device, &|at| play.moment(Split::Training, at, farthest))
    }

    /// What one who knows everything does, learnt from what a model's frozen latents say of now and of the task's goal.
    pub fn imitating(play: &Play, config: &PolicyConfig, imagination: &'a Imagination) -> Self {
        let device = imagination.device.clone();
        Self::learn(play, config, Eyes::Model(imagination), &device, &|at| play.lesson(Split::Training, at))
    }

    /// The action at a model's latents `[1, N, D]` on the way to others, in the world's units.
    pub fn decide(&self, now: &Tensor<3>, goal: &Tensor<3>, spec: &Spec) -> Vec<f32> {
        self.action((pooled(now.clone()), pooled(goal.clone())), spec)
    }

    /// The same of features of now and of the goal, `[1, D]` each.
    fn action(&self, (now, goal): (Tensor<2>, Tensor<2>), spec: &Spec) -> Vec<f32> {
        let mut action = ops::values(self.networks.decide(now, goal));
        self.actions.unscale(&mut action, 1);
        spec.within_reach(&mut action);
        action
    }

    fn learn(
        play: &Play,
        config: &PolicyConfig,
        eyes: Eyes<'a>,
        device: &Device,
        draw: &(dyn Fn((u64, u64)) -> Moment + Sync),
    ) -> Self {
        if let Some(demonstrations) = play.demonstrations() {
            // Of moments, each demonstration has some.
            let _ = demonstrations.make();
        }
        let spec = play.world().spec();
        let tracked = device.clone().autodiff();
        let mut weights = rng(config.seed, Stream::Init, 0, 0);
        let encoder = matches!(eyes, Eyes::Own).then(|| {
            let observer = ObserverConfig {
                observation: spec.observation,
                widths: config.widths.clone(),
                maxima: false,
                he: true,
                hidden: Vec::new(),
                width: config.width,
                norm: true,
            };
            observer.init(&mut weights, &tracked)
        });
        let seen = match &eyes {
            Eyes::Own => config.width,
            Eyes::Model(imagination) => imagination.encode(vec![0.0; spec.pixels()]).dims()[2],
        };
        let head = Perceptron::new(&[2 * seen, config.hidden, config.hidden, spec.action], &mut weights, &tracked);
        let mut policy = Self {
            networks: Networks { encoder, head },
            eyes,
            observation: spec.observation,
            normalise: play.normalise().clone(),
            actions: play.single_actions(),
            device: device.clone(),
        };
        let networks = policy.networks.clone();
        let learnt = trained(networks, (config.steps, config.lr), |networks, step| {
            let moments: Vec<Moment> = (0..config.batch as u64).into_par_iter().map(|i| draw((step, i))).collect();
            let (now, goal) = policy.features(networks, &moments);
            let mut acted: Vec<f32> = moments.iter().flat_map(|m| m.action.iter().copied()).collect();
            policy.actions.scale(&mut acted, 1);
            let acted = Tensor::from_data(TensorData::new(acted, [config.batch, spec.action]), device);
            ops::l2(networks.decide(now, goal), acted)
        });
        policy.networks = learnt.valid();
        policy
    }

    /// Features of both moments of each, `[B, D]` each.
    fn features(&self, networks: &Networks, moments: &[Moment]) -> (Tensor<2>, Tensor<2>) {
        let [channels, height, width] = self.observation;
        let both = |of: fn(&Moment) -> &Vec<f32>| {
            let mut seen: Vec<f32> = moments.iter().flat_map(|m| of(m).iter().copied()).collect();
            // The play's own mean and deviation, or the model's, which were measured on its play.
            let normalise = match &self.eyes {
                Eyes::Own => &self.normalise,
                Eyes::Model(imagination) => &imagination.normalise,
            };
            normalise.scale(&mut seen, height * width);
            let shape = [moments.len(), channels, height, width];
            let seen = Tensor::<4>::from_data(TensorData::new(seen, shape), &self.device);
            match (&self.eyes, &networks.encoder) {
                (Eyes::Model(imagination), _) => pooled(imagination.model.encode(seen)),
                (Eyes::Own, Some(encoder)) => encoder.forward(seen),
                (Eyes::Own, None) => unreachable!("a policy with eyes of its own has an encoder"),
            }
        };
        (both(|m| &m.now), both(|m| &m.goal))
    }
}

impl Agent for GoalPolicy<'_> {
    /// One action for each episode, each looked at by itself.
    fn act(&mut self, now: &Now<'_>) -> Result<Turn, PlannerError> {
        let world = now.world;
        let actions = now
            .tasks
            .iter()
            .map(|task| {
                let moment = Moment {
                    now: seen(world, &task.layout, &task.state),
                    goal: seen(world, &task.layout, &task.goal),
                    action: Vec::new(),
                };
                self.action(self.features(&self.networks, &[moment]), world.spec())
            })
            .collect();
        Ok(Turn { actions, taken: 1, calls: 0 })
    }
}
