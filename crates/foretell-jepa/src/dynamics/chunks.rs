//! ACT-JEPA's networks (arXiv 2501.14622): what an expert does next and what is seen next, told together of one observation.
//!
//! An encoder makes the context of the observation, and of the goal where it is told; two sets of queries attend to it: a decoder tells the
//! chunk of actions that follow, a predictor the latents of the observations behind them, as a moving average of the encoder sees
//! those. The actions' error keeps latents apart, beside the average and its stopped gradient. Steps beyond an episode's end are in no batch:
//! of what is told only the rows count that were done and seen. Once trained, the decoder is the policy.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{Collate, DataError, Normalise, Window};
use foretell_nn::context::ContextEncoder;
use foretell_nn::queries::Queries;
use foretell_nn::{Backbone, Frames};
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use super::model::pooled;
use crate::target::EmaConfig;
use crate::{Clock, Kept, Latents, Objective, Outcome, Role, Second};

/// Chunks of a batch on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChunkBatch {
    /// Windows, B.
    pub samples: usize,
    /// Steps of a chunk, n.
    pub chunk: usize,
    /// `[B, C, H, W]` row-major, normalised: the observation at which a chunk begins.
    pub now: Vec<f32>,
    /// The same of what is asked for; empty where nobody is told.
    pub goals: Vec<f32>,
    /// Of the steps that were done, in the order of windows and steps, their rows among B·n; R of them.
    pub rows: Vec<u32>,
    /// `[R, A]`, normalised: what was done.
    pub actions: Vec<f32>,
    /// `[R, C, H, W]` row-major, normalised: what was seen behind each.
    pub ahead: Vec<f32>,
}

impl ChunkBatch {
    /// For statistics that want as many rows of each window: of R rows B·n, those of windows that end early over and over.
    fn as_many(&self) -> Vec<u32> {
        let mut places = vec![Vec::new(); self.samples];
        for (place, row) in self.rows.iter().enumerate() {
            places[*row as usize / self.chunk].push(place as u32);
        }
        places.iter().flat_map(|own| (0..self.chunk).map(|step| own[step % own.len()])).collect()
    }
}

/// Makes [`ChunkBatch`]es of windows of an observation and the n behind it.
pub struct ChunkCollator {
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Mean and standard deviation of each channel of the training observations.
    pub normalise: Normalise,
    /// Mean and standard deviation of each of the A numbers of an action block.
    pub actions: Normalise,
    /// Whether goals are told.
    pub goal: bool,
}

impl Collate for ChunkCollator {
    type Sample = Window;
    type Batch = ChunkBatch;

    fn collate(&self, _: u64, samples: &[Window]) -> Result<ChunkBatch, DataError> {
        let [_, height, width] = self.observation;
        let (pixels, action) = (self.observation.iter().product::<usize>(), self.actions.mean.len());
        let chunk = samples.first().map_or(1, |window| window.frames.saturating_sub(1));
        let mut batch = ChunkBatch { samples: samples.len(), chunk, ..ChunkBatch::default() };
        for (sample, window) in samples.iter().enumerate() {
            let Window { frames, observations, actions, padded, goal, .. } = window;
            let fits = *frames == chunk + 1 && *padded < chunk && observations.len() == frames * pixels;
            if !fits || actions.len() != chunk * action || (self.goal && goal.len() != pixels) {
                return Err(DataError::Collate(format!(
                    "a window of {frames} observations, {padded} of them beyond its end, with {} values, {} of actions and {} of a goal does not fit chunks of {chunk} with {pixels} values an observation and {action} an action",
                    observations.len(),
                    actions.len(),
                    goal.len()
                )));
            }
            let done = chunk - padded;
            batch.now.extend(&observations[..pixels]);
            batch.ahead.extend(&observations[pixels..(done + 1) * pixels]);
            batch.actions.extend(&actions[..done * action]);
            batch.rows.extend((0..done).map(|step| (sample * chunk + step) as u32));
            if self.goal {
                batch.goals.extend(goal);
            }
        }
        for seen in [&mut batch.now, &mut batch.goals, &mut batch.ahead] {
            self.normalise.scale(seen, height * width);
        }
        self.actions.scale(&mut batch.actions, 1);
        Ok(batch)
    }
}

/// All networks of a run.
#[derive(Module, Debug)]
pub struct ChunkNetworks<B: Module> {
    /// Kept after training.
    pub encoder: ContextEncoder<B>,
    /// Kept after training: the moving average of the encoder, and of nothing else; on the plain device.
    pub target_encoder: ContextEncoder<B>,
    /// Kept after training: `[1, 1, D]`, added to a goal's tokens, so that they are told from what is seen. `None` where no goal is told.
    pub goal: Option<Param<Tensor<3>>>,
    /// Kept after training: context → latents `[B, n, D]`.
    pub predictor: Queries,
    /// Kept after training: context → actions `[B, n, A]`.
    pub decoder: Queries,
}

/// When the two errors count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stages {
    /// Both in every step, as published.
    #[default]
    Joint,
    /// First that of latents alone, as in pretraining; then that of actions alone, for as many steps, on an encoder that stays as it is. What
    /// the paper holds its own against.
    Two,
}

/// A trained policy and how what goes into it is normalised.
pub struct TrainedPolicy {
    /// In evaluation mode, without gradients.
    pub policy: Box<dyn ChunkPolicy + Send + Sync>,
    /// `[C, H, W]` of an observation.
    pub observation: [usize; 3],
    /// Mean and standard deviation of each channel of an observation.
    pub normalise: Normalise,
    /// Mean and standard deviation of each number of an action block.
    pub actions: Normalise,
    /// Where the policy lies, without autodiff.
    pub device: Device,
}

/// What is asked of a trained policy. Observations, latents and actions go in and come out as in training: normalised.
pub trait ChunkPolicy: Send {
    /// Observations `[B, C, H, W]` → latents `[B, N, D]`.
    fn encode(&self, observations: Tensor<4>) -> Tensor<3>;

    /// What to do next at latents `[B, N, D]`, towards goals `[B, N, D]` where it takes them: `[B, n, A]`.
    fn act(&self, now: Tensor<3>, goal: Option<Tensor<3>>) -> Tensor<3>;

    /// What is seen then, as latents: `[B, n, D]`.
    fn foretell(&self, now: Tensor<3>, goal: Option<Tensor<3>>) -> Tensor<3>;

    /// Whether it is told goals.
    fn takes_goal(&self) -> bool;

    /// Steps of a chunk, n.
    fn chunk(&self) -> usize;
}

impl<B: Backbone> ChunkNetworks<B> {
    /// What queries attend to: the tokens of what is seen, `[B, N, D]`, and those of the goal where it is told.
    fn context(&self, now: Tensor<3>, goal: Option<Tensor<3>>) -> Tensor<3> {
        match self.goal.as_ref().zip(goal) {
            Some((code, goal)) => Tensor::cat(vec![now, goal + code.val()], 1),
            None => now,
        }
    }
}

impl<B: Backbone> ChunkPolicy for ChunkNetworks<B> {
    fn encode(&self, observations: Tensor<4>) -> Tensor<3> {
        self.encoder.forward(observations)
    }

    fn act(&self, now: Tensor<3>, goal: Option<Tensor<3>>) -> Tensor<3> {
        self.decoder.forward(&self.context(now, goal))
    }

    fn foretell(&self, now: Tensor<3>, goal: Option<Tensor<3>>) -> Tensor<3> {
        self.predictor.forward(&self.context(now, goal))
    }

    fn takes_goal(&self) -> bool {
        self.goal.is_some()
    }

    fn chunk(&self) -> usize {
        self.decoder.places()
    }
}

/// The objective: `mean |â − a| + weight · mean |ŝ − sg(s̄)|` over the steps that were done.
pub struct Chunks<B> {
    /// Weight of the latents' error; 0 leaves the predictor as it is: ACT, and with chunks of one step behaviour cloning. Above 0 where
    /// there are two stages.
    pub latents: f64,
    /// When which error counts.
    pub stages: Stages,
    /// The stage in which actions are learnt, where they have one of their own.
    pub cloning: Option<Second>,
    /// The clock of the average.
    pub ema: EmaConfig,
    /// Makes batches.
    pub collator: Arc<ChunkCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
    /// What its networks look through.
    pub backbone: std::marker::PhantomData<fn() -> B>,
}

impl<B: Backbone + 'static> Chunks<B> {
    fn pictures(&self, values: &[f32]) -> Tensor<4> {
        let [channels, height, width] = self.collator.observation;
        let count = values.len() / (channels * height * width).max(1);
        Tensor::from_data(TensorData::new(values.to_vec(), [count, channels, height, width]), &self.device)
    }

    /// The context of a batch, `[B, N, D]` or with goals `[B, 2 N, D]`.
    fn context(&self, networks: &ChunkNetworks<B>, batch: &ChunkBatch) -> Tensor<3> {
        let b = batch.samples;
        if batch.goals.is_empty() {
            return networks.context(networks.encode(self.pictures(&batch.now)), None);
        }
        // Both go through the encoder together.
        let both = networks.encode(self.pictures(&[&batch.now[..], &batch.goals[..]].concat()));
        networks.context(both.clone().narrow(0, 0, b), Some(both.narrow(0, b, b)))
    }

    /// Of what is told of all steps, `[B, n, K]`, the rows of those that were done, `[R, K]`.
    fn done(told: Tensor<3>, batch: &ChunkBatch) -> Tensor<2> {
        let [b, n, k] = told.dims();
        ops::gather(told.reshape([b * n, k]), &batch.rows)
    }

    fn action_error(&self, networks: &ChunkNetworks<B>, context: &Tensor<3>, batch: &ChunkBatch) -> Tensor<1> {
        let told = Self::done(networks.decoder.forward(context), batch);
        let done = Tensor::from_data(TensorData::new(batch.actions.clone(), told.dims()), &self.device);
        ops::l1(told, done)
    }

    /// What is foretold of the steps that were done, and what the average sees there: `[R, D]` each.
    fn foretold(&self, networks: &ChunkNetworks<B>, context: &Tensor<3>, batch: &ChunkBatch) -> [Tensor<2>; 2] {
        let there = pooled(networks.target_encoder.forward(self.pictures(&batch.ahead)));
        [Self::done(networks.predictor.forward(context), batch), there]
    }
}

impl<B: Backbone + 'static> Objective for Chunks<B> {
    type Sample = Window;
    type Batch = ChunkBatch;
    type Networks = ChunkNetworks<B>;

    fn collator(&self) -> Arc<dyn Collate<Sample = Window, Batch = ChunkBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &ChunkNetworks<B>, batch: &ChunkBatch, clock: &Clock) -> Outcome {
        if clock.step > clock.total {
            // Of an encoder that stays as it is.
            let context = self.context(&networks.valid(), batch);
            let loss = self.action_error(networks, &context, batch);
            return Outcome { loss, terms: Vec::new(), latents: None, seen: Vec::new() };
        }
        let context = self.context(networks, batch);
        let mut errors = Vec::new();
        if self.stages == Stages::Joint {
            errors.push(("actions", 1.0, self.action_error(networks, &context, batch)));
        }
        let foretold = (self.latents > 0.0 || clock.health_due).then(|| self.foretold(networks, &context, batch));
        if let (Some([told, there]), true) = (&foretold, self.latents > 0.0) {
            errors.push(("latents", self.latents, ops::l1(told.clone(), there.clone())));
        }
        let latents = foretold.filter(|_| clock.health_due).map(|[told, there]| {
            let rows = batch.as_many();
            Latents { predictions: ops::gather(told.inner(), &rows), targets: ops::gather(there.inner(), &rows) }
        });
        let terms = errors.iter().map(|(name, _, error)| (*name, error.clone().inner())).collect();
        let weighted = errors.into_iter().map(|(_, weight, error)| error * weight);
        let loss = weighted.reduce(|a, b| a + b).expect("one of the two errors counts");
        Outcome { loss, terms, latents, seen: Vec::new() }
    }

    /// The average follows the encoder alone; when actions have a stage of their own, the encoder stays as it is there.
    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        let cloning = clock.step > clock.total;
        if cloning && !name.starts_with("decoder.") {
            return Role::Stays;
        }
        self.ema.role(name, ("target_encoder.", "encoder."), clock)
    }

    fn kept(&self, networks: &ChunkNetworks<B>) -> Kept<Window> {
        let ChunkCollator { observation, normalise, actions, .. } = self.collator.as_ref();
        let policy = TrainedPolicy {
            policy: Box::new(networks.valid()),
            observation: *observation,
            normalise: normalise.clone(),
            actions: actions.clone(),
            device: self.device.clone(),
        };
        let encoder = Frames::new(networks.encoder.valid(), normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: Some(Box::new(policy)) }
    }

    fn second(&self) -> Option<Second> {
        self.cloning
    }
}
