//! LaT-PFN's objective (Verdenius et al., 2024, arXiv 2405.10093): from a few series of a synthetic family, the latents of steps to come of
//! another are predicted, as a moving average of the embedder sees them in the whole series. A head decodes what is predicted into bins; it
//! learns beside, without a gradient into what predicts.

use std::any::Any;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::series::{PriorConfig, SeriesSample, stretched};
use foretell_data::{Collate, DataError};
use foretell_nn::lat_pfn::{Embedder, INPUTS, LatPfn};
use foretell_nn::layers::Pass;
use foretell_nn::{Encode, NamedTensors, Tokens, WeightsError, weights};
use foretell_ops::{self as ops, Sets};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::target::{EmaConfig, TargetTransform};
use crate::{Clock, Kept, Latents, Objective, Outcome, Role};

/// Values lie in bins between these.
pub const EDGES: (f32, f32) = (-3.5, 3.5);
/// Deviation of the noise on what the head is given in training.
const HEAD_NOISE: f32 = 0.02;
/// Share of the label that is spread over all bins.
const SMOOTHING: f32 = 0.01;
/// Steps of a series that health looks at, at most.
const LOOKED_AT: usize = 16;

/// How fast the average follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TeacherClock {
    /// As the average's own setting says, all along.
    #[default]
    Ema,
    /// The released code's: the momentum rises in a line from `start` to 1 over so large a share of the run (190 of 2000 epochs) and stays
    /// there, so that the teacher of the rest, nine tenths of it, is frozen. On purpose.
    Official {
        /// Momentum at the first step.
        start: f64,
        /// Share of the run after which it is 1.
        share: f64,
    },
}

impl TeacherClock {
    /// The released one.
    pub fn official() -> Self {
        Self::Official { start: 0.9952, share: 0.095 }
    }

    /// Momentum of a step.
    pub fn momentum(self, ema: &EmaConfig, clock: &Clock) -> f64 {
        match self {
            Self::Ema => ema.momentum(clock.step, clock.total, clock.batch),
            Self::Official { start, share } => {
                let rising = (share * clock.total as f64).max(1.0);
                (start + (1.0 - start) * (clock.step - 1) as f64 / rising).min(1.0)
            }
        }
    }
}

/// What a summary, a history and what comes are cut to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Steps that are seen.
    pub history: usize,
    /// Steps that are asked for.
    pub horizon: usize,
}

impl Spans {
    /// Steps of a whole series.
    pub fn steps(self) -> usize {
        self.history + self.horizon
    }
}

/// The mean and twice the deviation by which a series is scaled: of what is seen.
pub fn scale(history: &[f32]) -> (f32, f32) {
    let count = history.len().max(1) as f64;
    let mean = history.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let deviation = (history.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count).sqrt();
    // Of a constant nothing but that it is one.
    (mean as f32, if deviation > 1e-6 * mean.abs().max(1e-6) { 2.0 * deviation as f32 } else { 1.0 })
}

/// Steps of a series as the embedder takes them, `[L, 3]`: time, value and whether it is asked for. What is beyond `seen` is asked for and its
/// value 0. Values are on the series' scale and within a few bins' reach.
pub fn steps(values: &[f32], seen: usize, (mean, deviation): (f32, f32), whole: usize, out: &mut Vec<f32>) {
    for at in 0..whole {
        let known = values.get(at).filter(|_| at < seen);
        let value = known.map_or(0.0, |value| ((value - mean) / deviation).clamp(-10.0, 10.0));
        out.extend([at as f32 / whole as f32, value, f32::from(known.is_none())]);
    }
}

/// The bin of a value on its series' scale.
fn bin(value: f32, bins: usize) -> u32 {
    let share = (value - EDGES.0) / (EDGES.1 - EDGES.0);
    ((share * bins as f32) as i64).clamp(0, bins as i64 - 1) as u32
}

/// A batch on the host: B families.
pub struct FamilyBatch {
    /// `[B · N, L, 3]`.
    pub context: Vec<f32>,
    /// Held-out series with what is asked for, `[B · M, L, 3]`.
    pub asked: Vec<f32>,
    /// The same with all values.
    pub whole: Vec<f32>,
    /// Of each asked step, `[B · M · H]`.
    pub bins: Vec<u32>,
    /// What each family was made by, `[B, 10]`.
    pub numbers: Vec<f32>,
    /// Noise on what the head is given, `[B · M · H, D]`.
    pub noise: Vec<f32>,
    /// B, N and M.
    pub counts: [usize; 3],
}

/// Makes [`FamilyBatch`]es: families from the prior. The samples of the data are no part of them: what is forecast was never trained on.
pub struct FamilyCollator {
    /// Of the run.
    pub seed: u64,
    /// Where families come from.
    pub prior: PriorConfig,
    /// What is seen and asked for.
    pub spans: Spans,
    /// Context series of a family, at most.
    pub context: usize,
    /// Whether a step draws how many, from 1 on; otherwise as many in all.
    pub vary: bool,
    /// Series of a family that are forecast.
    pub held_out: usize,
    /// Bins.
    pub bins: usize,
    /// Width of the latents.
    pub width: usize,
}

impl Collate for FamilyCollator {
    type Sample = SeriesSample;
    type Batch = FamilyBatch;

    fn collate(&self, step: u64, samples: &[SeriesSample]) -> Result<FamilyBatch, DataError> {
        let Self { spans, held_out, bins, .. } = *self;
        let whole_steps = spans.steps();
        let mut shared = rng(self.seed, Stream::Prior, step, u64::MAX);
        let context = if self.vary { shared.random_range(1..=self.context) } else { self.context };
        let mut batch = FamilyBatch {
            context: Vec::new(),
            asked: Vec::new(),
            whole: Vec::new(),
            bins: Vec::new(),
            numbers: Vec::new(),
            noise: Vec::new(),
            counts: [samples.len(), context, held_out],
        };
        for index in 0..samples.len() as u64 {
            let family = self.prior.family(whole_steps, context + held_out, self.seed, step, index);
            for (at, series) in family.series.iter().enumerate() {
                let scale = scale(&series[..spans.history]);
                if at < context {
                    steps(series, whole_steps, scale, whole_steps, &mut batch.context);
                    continue;
                }
                steps(series, spans.history, scale, whole_steps, &mut batch.asked);
                steps(series, whole_steps, scale, whole_steps, &mut batch.whole);
                let of = |value: &f32| bin((value - scale.0) / scale.1, bins);
                batch.bins.extend(series[spans.history..].iter().map(of));
            }
            batch.numbers.extend(family.numbers);
        }
        let noise = batch.bins.len() * self.width;
        batch.noise = (0..noise)
            .map(|_| HEAD_NOISE * <StandardNormal as Distribution<f32>>::sample(&StandardNormal, &mut shared))
            .collect();
        Ok(batch)
    }
}

/// All networks.
#[derive(Module, Debug)]
pub struct LatPfnNetworks {
    /// What learns.
    pub model: LatPfn,
    /// The embedder's moving average, on the plain device.
    pub target_embedder: Embedder,
}

/// Weights of the three terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Weights {
    /// Of the cross-entropy over bins.
    pub bins: f64,
    /// Of the squared error of latents.
    pub latent: f64,
    /// Of the squared error of what a family was made by.
    pub numbers: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { bins: 1.0, latent: 1.0, numbers: 0.1 }
    }
}

impl Weights {
    /// The released ones.
    pub fn official() -> Self {
        Self { bins: 1.0, latent: 3.77e-3, numbers: 1e-7 }
    }
}

/// The objective.
pub struct PriorFitted {
    /// Of the terms.
    pub weights: Weights,
    /// Whether the head's gradient stops before what predicts: as published. Otherwise bins are what all of it learns from: an ablation.
    pub detached: bool,
    /// What becomes of the teacher's latents; `None`: nothing, as released.
    pub transform: Option<TargetTransform>,
    /// The teacher's average, where the clock leaves it to that.
    pub ema: EmaConfig,
    /// How fast the teacher follows.
    pub clock: TeacherClock,
    /// Makes batches.
    pub collator: Arc<FamilyCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// What a step makes.
pub struct Foretold {
    /// Latents of asked steps, `[B · M · H, D]`.
    pub predictions: Tensor<2>,
    /// The teacher's.
    pub targets: Tensor<2>,
    /// Logits of bins, `[B · M · H, bins]`.
    pub logits: Tensor<2>,
    /// What summaries say of their family, `[B · (N + M), 10]`.
    pub numbers: Tensor<2>,
}

impl PriorFitted {
    fn tensor<const D: usize>(&self, values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
    }

    /// The way through the networks.
    pub fn foretell(&self, networks: &LatPfnNetworks, batch: &FamilyBatch, pass: &mut Pass<'_>) -> Foretold {
        let [families, context, held_out] = batch.counts;
        let Spans { history, horizon } = self.collator.spans;
        let (len, model) = (history + horizon, &networks.model);
        let series = |values: &[f32]| {
            let count = values.len() / (len * INPUTS);
            self.tensor::<3>(values, [count, len, INPUTS])
        };
        let known = model.summary.forward(model.embedder.forward(series(&batch.context), pass));
        let [_, width] = known.dims();
        let held = families * held_out;
        let embedded = model.embedder.forward(series(&batch.asked), pass);
        let seen = embedded.clone().slice([0..held, 0..history, 0..width]);
        let asked = embedded.slice([0..held, history..len, 0..width]);
        let asked = asked.reshape([families, held_out * horizon, width]);
        let predicted = model.predict(known.clone().reshape([families, context, width]), asked);
        let predictions = predicted.clone().reshape([held * horizon, width]);
        // The teacher normalises by the batch as well; nobody keeps what it saw.
        let mut unkept = Vec::new();
        let whole = networks.target_embedder.forward(series(&batch.whole), &mut Pass::Training(&mut unkept));
        let targets = whole.slice([0..held, history..len, 0..width]);
        let targets = match self.transform {
            Some(transform) => transform.apply(targets),
            None => targets,
        };
        let given = if self.detached { predictions.clone().detach() } else { predictions.clone() };
        let logits = model.head.forward(given + self.tensor::<2>(&batch.noise, [held * horizon, width]));
        let own = Tensor::cat(vec![seen, predicted.reshape([held, horizon, width])], 1);
        let summaries = Tensor::cat(vec![known, model.summary.forward(own)], 0);
        let numbers = model.identify.forward(summaries);
        Foretold { predictions, targets: targets.reshape([held * horizon, width]), logits, numbers }
    }
}

/// Cross-entropy with some of the label spread over all bins.
pub fn smoothed_cross_entropy(logits: Tensor<2>, bins: &[u32]) -> Tensor<1> {
    let chosen = ops::cross_entropy(logits.clone(), bins);
    let all = log_softmax(logits, 1).mean() * -1.0;
    chosen * f64::from(1.0 - SMOOTHING) + all * f64::from(SMOOTHING)
}

impl Objective for PriorFitted {
    type Sample = SeriesSample;
    type Batch = FamilyBatch;
    type Networks = LatPfnNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = SeriesSample, Batch = FamilyBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &LatPfnNetworks, batch: &FamilyBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let Foretold { predictions, targets, logits, numbers } =
            self.foretell(networks, batch, &mut Pass::Training(&mut seen));
        let [families, context, held_out] = batch.counts;
        let latents = clock.health_due.then(|| {
            let horizon = self.collator.spans.horizon;
            let shown = horizon.min(LOOKED_AT);
            let rows: Vec<u32> = (0..families * held_out)
                .flat_map(|series| (0..shown).map(move |i| (series * horizon + i * horizon / shown) as u32))
                .collect();
            let chosen = |of: &Tensor<2>| ops::gather(of.clone().inner(), &rows);
            Latents { predictions: chosen(&predictions), targets: chosen(&targets) }
        });
        let made: Vec<f32> = [context, held_out]
            .into_iter()
            .flat_map(|count| {
                let width = batch.numbers.len() / families.max(1);
                batch.numbers.chunks_exact(width.max(1)).flat_map(move |one| one.repeat(count)).collect::<Vec<f32>>()
            })
            .collect();
        let shape = numbers.dims();
        let identified = ops::l2(numbers, self.tensor::<2>(&made, shape));
        let latent = ops::l2(predictions, targets);
        let decoded = smoothed_cross_entropy(logits, &batch.bins);
        let terms = vec![
            ("latent", latent.clone().inner()),
            ("bins", decoded.clone().inner()),
            ("numbers", identified.clone().inner()),
        ];
        let Weights { bins, latent: of_latents, numbers: of_numbers } = self.weights;
        let loss = decoded * bins + latent * of_latents + identified * of_numbers;
        Outcome { loss, terms, latents, seen }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        match name.strip_prefix("target_embedder.") {
            Some(rest) => Role::Follows {
                of: format!("model.embedder.{rest}").into(),
                weight: 1.0 - self.clock.momentum(&self.ema, clock),
            },
            None => Role::LEARNS,
        }
    }

    fn kept(&self, networks: &LatPfnNetworks) -> Kept<SeriesSample> {
        let model = networks.model.valid();
        let forecaster = Forecaster {
            model: model.clone(),
            spans: self.collator.spans,
            bins: self.collator.bins,
            device: self.device.clone(),
        };
        let steps = self.collator.spans.steps();
        let encoder = SummaryEncoder { model, steps, device: self.device.clone() };
        Kept { encoder: Box::new(encoder), model: Some(Box::new(KeptForecaster(forecaster)) as Box<dyn Any + Send>) }
    }
}

/// A kept [model](Kept::model) that forecasts series that it was never trained on.
pub struct KeptForecaster(pub Forecaster);

/// See [`KeptForecaster`].
pub struct Forecaster {
    model: LatPfn,
    spans: Spans,
    bins: usize,
    device: Device,
}

/// A series to be forecast: others like it, each of history and horizon, and its history.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Each of [`Spans::steps`] values, at least one.
    pub context: Vec<Vec<f32>>,
    /// [`Spans::history`] values.
    pub history: Vec<f32>,
}

/// What is expected of each step to come, on the scale of the series.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Means, `[H]`.
    pub mean: Vec<f32>,
    /// A tenth, half and nine tenths, `[H]` each.
    pub quantiles: [Vec<f32>; 3],
}

impl Forecaster {
    /// What is seen and asked for.
    pub fn spans(&self) -> Spans {
        self.spans
    }

    /// Forecasts, each from as many context series.
    ///
    /// # Panics
    /// If questions differ in how many those are, have none, or series are not as long as they must be.
    pub fn forecast(&self, questions: &[Question]) -> Vec<Answer> {
        let Spans { history, horizon } = self.spans;
        let len = history + horizon;
        let count = questions.first().map_or(0, |question| question.context.len());
        if questions.is_empty() {
            return Vec::new();
        }
        assert!(
            count > 0 && questions.iter().all(|question| question.context.len() == count),
            "as many series of each"
        );
        let (mut context, mut asked, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        for question in questions {
            for series in &question.context {
                assert_eq!(series.len(), len, "a context series of history and horizon");
                steps(series, len, scale(&series[..history]), len, &mut context);
            }
            assert_eq!(question.history.len(), history, "a whole history");
            let own = scale(&question.history);
            steps(&question.history, history, own, len, &mut asked);
            scales.push(own);
        }
        let families = questions.len();
        let shares = ops::together(&self.device, || {
            let tensor = |values: Vec<f32>| {
                let series = values.len() / (len * INPUTS);
                Tensor::<3>::from_data(TensorData::new(values, [series, len, INPUTS]), &self.device)
            };
            let model = &self.model;
            let pass = &mut Pass::Evaluation;
            let known = model.summary.forward(model.embedder.forward(tensor(context), pass));
            let [_, width] = known.dims();
            let asked = model.embedder.forward(tensor(asked), pass).slice([0..families, history..len, 0..width]);
            let predicted = model.predict(known.reshape([families, count, width]), asked);
            let logits = model.head.forward(predicted.reshape([families * horizon, width]));
            ops::values(ops::softmax(logits))
        });
        let answer = |(shares, (mean, deviation)): (&[f32], &(f32, f32))| {
            let back = |value: f32| value * deviation + mean;
            let mut answer = Answer { mean: Vec::new(), quantiles: [Vec::new(), Vec::new(), Vec::new()] };
            for shares in shares.chunks_exact(self.bins) {
                answer.mean.push(back(shares.iter().enumerate().map(|(bin, share)| share * self.centre(bin)).sum()));
                for (values, wanted) in answer.quantiles.iter_mut().zip([0.1, 0.5, 0.9]) {
                    values.push(back(self.quantile(shares, wanted)));
                }
            }
            answer
        };
        shares.chunks_exact(horizon * self.bins).zip(&scales).map(answer).collect()
    }

    fn width(&self) -> f32 {
        (EDGES.1 - EDGES.0) / self.bins as f32
    }

    fn centre(&self, bin: usize) -> f32 {
        EDGES.0 + (bin as f32 + 0.5) * self.width()
    }

    /// Where so large a share lies below, in a line within its bin.
    fn quantile(&self, shares: &[f32], wanted: f32) -> f32 {
        let mut below = 0.0;
        for (bin, share) in shares.iter().enumerate() {
            if below + share >= wanted && *share > 0.0 {
                return EDGES.0 + (bin as f32 + (wanted - below) / share) * self.width();
            }
            below += share;
        }
        EDGES.1
    }
}

/// A kept network as an encoder: a latent for each step, and for probes the summary that stands for a context series. Series are brought to
/// the length that it was trained with; several channels are several series, whose summaries are averaged.
pub struct SummaryEncoder {
    model: LatPfn,
    steps: usize,
    device: Device,
}

impl SummaryEncoder {
    /// `[S · C, L, D]`, all channels of all samples.
    fn embedded(&self, samples: &[&SeriesSample]) -> Tensor<3> {
        let mut values = Vec::new();
        for sample in samples {
            for channel in 0..sample.channels {
                let series = stretched(sample, channel, self.steps);
                steps(&series, self.steps, scale(&series), self.steps, &mut values);
            }
        }
        let count = values.len() / (self.steps * INPUTS).max(1);
        let x = Tensor::<3>::from_data(TensorData::new(values, [count, self.steps, INPUTS]), &self.device);
        self.model.embedder.forward(x, &mut Pass::Evaluation)
    }
}

impl Encode<SeriesSample> for SummaryEncoder {
    fn tokens(&self, samples: &[&SeriesSample]) -> Tokens {
        let lengths: Vec<usize> = samples.iter().map(|sample| sample.channels * self.steps).collect();
        let rows = ops::together(&self.device, || {
            let x = self.embedded(samples);
            let [series, len, width] = x.dims();
            x.reshape([series * len, width])
        });
        let single = samples.iter().all(|sample| sample.channels == 1);
        Tokens { rows, sets: Sets::of_lengths(&lengths), grid: single.then_some((1, self.steps)) }
    }

    fn probed(&self, samples: &[&SeriesSample]) -> Tensor<2> {
        let channels: Vec<usize> = samples.iter().map(|sample| sample.channels).collect();
        let summaries = ops::together(&self.device, || self.model.summary.forward(self.embedded(samples)));
        if channels.iter().all(|channels| *channels == 1) {
            return summaries;
        }
        ops::segment_mean(summaries, &ops::Segments::of_sets(&Sets::of_lengths(&channels)))
    }

    fn width(&self) -> usize {
        self.model.embedder.output.weight.val().dims()[0]
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.model, "")
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.model = weights::load_whole(self.model.clone(), tensors)?;
        Ok(())
    }

    fn network(&self) -> &dyn Any {
        &self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_released_clock_freezes_the_teacher_after_its_share() {
        let clock = |step| Clock { step, total: 1000, batch: 1, health_due: false };
        let (official, ema) = (TeacherClock::official(), EmaConfig::default());
        assert_eq!(official.momentum(&ema, &clock(1)), 0.9952);
        assert!(official.momentum(&ema, &clock(90)) < 1.0);
        for step in [96, 500, 1000] {
            assert_eq!(official.momentum(&ema, &clock(step)), 1.0, "{step}");
        }
        assert!(TeacherClock::Ema.momentum(&ema, &clock(1000)) < 1.0);
    }

    #[test]
    fn values_fall_into_bins_and_constants_have_a_scale() {
        assert_eq!([bin(-9.0, 100), bin(-3.5, 100), bin(0.0, 100), bin(3.49, 100), bin(9.0, 100)], [0, 0, 50, 99, 99]);
        assert_eq!(scale(&[5.0; 4]), (5.0, 1.0));
        assert_eq!(scale(&[1.0, 3.0]), (2.0, 2.0));
        let mut out = Vec::new();
        steps(&[1.0, 3.0, 9.0, 9.0], 2, (2.0, 2.0), 4, &mut out);
        assert_eq!(out, [0.0, -0.5, 0.0, 0.25, 0.5, 0.0, 0.5, 0.0, 1.0, 0.75, 0.0, 1.0]);
    }

    #[test]
    fn smoothing_spreads_a_hundredth_of_the_label() {
        let logits = Tensor::<2>::from_floats([[2.0, 0.0, -1.0]], &Device::flex());
        let sum = (2.0_f32.exp() + 1.0 + (-1.0_f32).exp()).ln();
        let expected = 0.99 * (sum - 2.0) + 0.01 * (sum - 1.0 / 3.0);
        assert!((ops::values(smoothed_cross_entropy(logits, &[0]))[0] - expected).abs() < 1e-6);
    }
}
