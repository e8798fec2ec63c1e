//! TS-JEPA (Ennadir et al., 2025, arXiv 2509.25449): from some patches of a series, those that are hidden are predicted as a moving average
//! of the encoder sees them in the whole series.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng, shuffled};
use foretell_data::series::SeriesSample;
use foretell_data::{Collate, DataError};
use foretell_nn::series::{Cut, SeriesPredictor, SeriesVit};
use foretell_ops::{self as ops, Sets};
use serde::{Deserialize, Serialize};

use super::encoder::SeriesEncoder;
use super::{PackedSeries, as_many};
use crate::clips::LatentLoss;
use crate::masked::Keep;
use crate::sigreg::{directions, sigreg};
use crate::target::{EmaConfig, TargetKind, TargetTransform};
use crate::{Clock, Kept, Latents, Objective, Outcome, Role};

/// Which tokens are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpanMasks {
    /// Share of the tokens, rounded down: 7 of 10 in the paper.
    pub share: f64,
    /// Tokens that are hidden side by side: 1 in the paper.
    pub span: usize,
}

impl Default for SpanMasks {
    fn default() -> Self {
        Self { share: 0.7, span: 1 }
    }
}

impl SpanMasks {
    /// Which of `tokens` tokens the series at this place of a step hides: some and not all of them, unless there is a single one, which is
    /// seen and asked for. Ascending, the seen ones first.
    pub fn draw(self, tokens: usize, seed: u64, step: u64, index: u64) -> [Vec<u32>; 2] {
        if tokens < 2 {
            return [vec![0], vec![0]];
        }
        let wanted = ((tokens as f64 * self.share + 1e-9) as usize).clamp(1, tokens - 1);
        let mut hidden = vec![false; tokens];
        let mut count = 0;
        for start in shuffled(tokens, &mut rng(seed, Stream::Mask, step, index)) {
            let end = (start as usize + self.span.max(1)).min(tokens);
            for hides in &mut hidden[start as usize..end] {
                if count < wanted && !*hides {
                    *hides = true;
                    count += 1;
                }
            }
        }
        [false, true].map(|which| (0..tokens as u32).filter(|token| hidden[*token as usize] == which).collect())
    }
}

/// Whose tokens a batch trains on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gathers {
    /// Each series' own.
    #[default]
    Each,
    /// Those of the batch's first series, under the masks of all: what the released code does, whose index of rank 3 has one row where it
    /// means as many as the batch.
    Official,
}

/// What is predicted of hidden patches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Predicts {
    /// The target encoder's tokens.
    #[default]
    Latents,
    /// Their values, by squared error over what is known: a masked autoencoder.
    Values,
}

/// A batch on the host.
pub struct SeriesBatch {
    /// All patches.
    pub packed: PackedSeries,
    /// Rows of the patches that are seen, and of those that are predicted.
    pub rows: [Vec<u32>; 2],
    /// Which of each belong together.
    pub sets: [Sets; 2],
    /// Directions along which tokens are looked at, `[D, M]`; empty where no term takes any.
    pub directions: Vec<f32>,
}

/// Makes [`SeriesBatch`]es.
pub struct SeriesCollator {
    /// Of the run.
    pub seed: u64,
    /// How series are cut.
    pub cut: Cut,
    /// What is hidden.
    pub masks: SpanMasks,
    /// Whose tokens are trained on.
    pub gathers: Gathers,
    /// Token width.
    pub width: usize,
    /// Directions along which tokens are looked at, M; 0 where no term takes any.
    pub slices: usize,
}

impl Collate for SeriesCollator {
    type Sample = SeriesSample;
    type Batch = SeriesBatch;

    fn collate(&self, step: u64, samples: &[SeriesSample]) -> Result<SeriesBatch, DataError> {
        let own = |i: usize| if self.gathers == Gathers::Official { &samples[0] } else { &samples[i] };
        let chosen: Vec<&SeriesSample> = (0..samples.len()).map(own).collect();
        if let Some(other) = chosen.iter().find(|sample| sample.channels != self.cut.channels) {
            return Err(DataError::Collate(format!(
                "a series has {} channels where the network was made for {}",
                other.channels, self.cut.channels
            )));
        }
        let packed = PackedSeries::new(&chosen, self.cut);
        let (mut rows, mut lengths) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for set in 0..packed.sets.count() {
            let range = packed.sets.range(set);
            let drawn = self.masks.draw(range.len(), self.seed, step, set as u64);
            for (which, drawn) in drawn.into_iter().enumerate() {
                lengths[which].push(drawn.len());
                rows[which].extend(drawn.into_iter().map(|token| range.start as u32 + token));
            }
        }
        let sets = lengths.map(|lengths| Sets::of_lengths(&lengths));
        Ok(SeriesBatch { packed, rows, sets, directions: directions(self.seed, step, self.width, self.slices) })
    }
}

/// All networks.
#[derive(Module, Debug)]
pub struct SeriesNetworks {
    /// The context encoder.
    pub encoder: SeriesVit,
    /// The predictor.
    pub predictor: SeriesPredictor,
    /// The moving average, on the plain device; used with [`TargetKind::Ema`].
    pub target_encoder: SeriesVit,
}

/// The objective.
pub struct MaskedSeries {
    /// Where targets come from.
    pub target: TargetKind,
    /// What is predicted.
    pub predicts: Predicts,
    /// What becomes of the target's tokens before they are predicted.
    pub transform: TargetTransform,
    /// How predictions are held against targets.
    pub loss: LatentLoss,
    /// Weight of SIGReg on the context's tokens; 0 as released.
    pub sigreg: f64,
    /// The clock of the average.
    pub ema: EmaConfig,
    /// Steps for which the average's momentum stays the same: 1, or those of an epoch as released.
    pub epoch: u64,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Whether probes are given the sum of a series' tokens, as released.
    pub sum: bool,
    /// Makes batches.
    pub collator: Arc<SeriesCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// What is predicted, and what it is held against.
pub struct Predicted {
    /// `[Σ N_t, D]`, or as wide as a patch.
    pub predictions: Tensor<2>,
    /// The same of the target.
    pub targets: Tensor<2>,
    /// 1 where a predicted value is known, `[Σ N_t, V]`, where values are predicted and not all are.
    pub known: Option<Tensor<2>>,
    /// The context's tokens, `[Σ N_c, D]`.
    pub context: Tensor<2>,
}

impl MaskedSeries {
    /// Predictions and targets of a batch.
    pub fn predict(&self, networks: &SeriesNetworks, batch: &SeriesBatch) -> Predicted {
        let SeriesBatch { packed, rows: [seen, hidden], sets: [seen_sets, hidden_sets], .. } = batch;
        let at = |rows: &[u32]| rows.iter().map(|row| packed.at[*row as usize]).collect::<Vec<u32>>();
        let (seen_at, hidden_at) = (at(seen), at(hidden));
        let (values, unknown) = packed.chosen(seen, &self.device);
        let context = networks.encoder.embed(values, unknown);
        let context = networks.encoder.hidden(context, &seen_at, seen_sets);
        let predictions = networks.predictor.rows(context.clone(), (&seen_at, seen_sets), (&hidden_at, hidden_sets));
        if self.predicts == Predicts::Values {
            let (targets, unknown) = packed.chosen(hidden, &self.device);
            let known = unknown.map(|unknown| unknown * -1.0 + 1.0);
            return Predicted { predictions, targets, known, context };
        }
        let whole = |encoder: &SeriesVit| {
            let (values, unknown) = packed.all(&self.device);
            encoder.hidden(encoder.embed(values, unknown), &packed.at, &packed.sets)
        };
        let tokens = match self.target {
            TargetKind::Ema => whole(&networks.target_encoder),
            TargetKind::StopGradient => whole(&networks.encoder.valid()),
            TargetKind::Live => whole(&networks.encoder),
        };
        let targets = ops::gather(transformed(tokens, &packed.at, self.transform), hidden);
        Predicted { predictions, targets, known: None, context }
    }

    /// Weight of the new value in the average at a step.
    fn weight(&self, clock: &Clock) -> f64 {
        let step = (clock.step.saturating_sub(1) / self.epoch.max(1)) * self.epoch.max(1) + 1;
        1.0 - self.ema.momentum(step, clock.total, clock.batch)
    }
}

/// [`TargetTransform`] of packed tokens `[R, D]` at places `at`: what a place alone tells is worth nothing where they are standardised.
fn transformed(tokens: Tensor<2>, at: &[u32], transform: TargetTransform) -> Tensor<2> {
    let [rows, width] = tokens.dims();
    let plain = TargetTransform::LayerNorm.apply(tokens.reshape([1, rows, width])).reshape([rows, width]);
    if transform == TargetTransform::LayerNorm {
        return plain;
    }
    // Places that no series has are no segment.
    let mut places: Vec<u32> = at.to_vec();
    places.sort_unstable();
    places.dedup();
    let ids: Vec<u32> = at.iter().map(|place| places.partition_point(|other| other < place) as u32).collect();
    let segments = ops::Segments::new(ids, places.len());
    let mean = |rows: Tensor<2>| ops::gather(ops::segment_mean(rows, &segments), segments.ids());
    let centred = plain.clone() - mean(plain);
    let variance = mean(centred.clone().square());
    centred / (variance + 1e-5).sqrt()
}

impl Objective for MaskedSeries {
    type Sample = SeriesSample;
    type Batch = SeriesBatch;
    type Networks = SeriesNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = SeriesSample, Batch = SeriesBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &SeriesNetworks, batch: &SeriesBatch, clock: &Clock) -> Outcome {
        let Predicted { predictions, targets, known, context } = self.predict(networks, batch);
        let latents = clock.health_due.then(|| {
            let rows = as_many(&batch.sets[1]);
            let chosen = |of: &Tensor<2>| ops::gather(of.clone().inner(), &rows);
            Latents { predictions: chosen(&predictions), targets: chosen(&targets) }
        });
        let prediction = match (self.predicts, known) {
            (Predicts::Latents, _) => self.loss.of(predictions, targets),
            (Predicts::Values, None) => ops::l2(predictions, targets),
            (Predicts::Values, Some(known)) => {
                let share = ops::values(known.clone().mean()).first().copied().unwrap_or(1.0).max(1e-6);
                ops::l2(predictions * known, targets) / f64::from(share)
            }
        };
        if self.sigreg == 0.0 {
            return Outcome { loss: prediction, terms: Vec::new(), latents, seen: Vec::new() };
        }
        let [rows, width] = context.dims();
        let spread = sigreg(context.reshape([1, rows, width]), &batch.directions);
        let terms = vec![("prediction", prediction.clone().inner()), ("sigreg", spread.clone().inner())];
        Outcome { loss: prediction + spread * self.sigreg, terms, latents, seen: Vec::new() }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        match name.strip_prefix("target_encoder.") {
            Some(rest) if self.target == TargetKind::Ema && self.predicts == Predicts::Latents => {
                Role::Follows { of: format!("encoder.{rest}").into(), weight: self.weight(clock) }
            }
            Some(_) => Role::Stays,
            None => Role::LEARNS,
        }
    }

    fn kept(&self, networks: &SeriesNetworks) -> Kept<SeriesSample> {
        let averaged = self.target == TargetKind::Ema && self.predicts == Predicts::Latents;
        let network = match self.keep {
            Keep::Target if averaged => networks.target_encoder.clone(),
            _ => networks.encoder.valid(),
        };
        Kept { encoder: Box::new(SeriesEncoder::new(network, self.sum, &self.device)), model: None }
    }
}
