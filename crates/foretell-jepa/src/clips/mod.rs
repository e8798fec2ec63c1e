//! The masked composition over clips (V-JEPA, arXiv 2404.08471; V-JEPA 2, 2506.09985; 2.1, 2603.14482): from the tokens that a mask
//! leaves, predict the target encoder's at the others.
//!
//! Clips of a batch and all mask sets of a step go through each network in one pass of packed rows: the target encoder sees every
//! token once, the context encoder those that are seen, each set's mask token stands for what is asked. Nothing is padded. Images have
//! [`masked`](crate::masked), whose networks are those of I-JEPA.

mod batch;
mod dense;
pub mod maps;
mod transform;
pub mod views;

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{ClipSample, Collate};
use foretell_nn::ClipEncoder;
use foretell_nn::clip_vit::{ClipVit, Packed};
use foretell_nn::masked_predictor::{AskedRows, MaskedPredictor};
use foretell_ops::{self as ops, Sets};
use serde::{Deserialize, Serialize};

use crate::masked::Keep;
use crate::sigreg::sigreg;
use crate::target::EmaConfig;
use crate::{Clock, Kept, Latents, MOTION, Objective, Outcome, Role};
pub use batch::{Early, ImagesAmong, Joined, TubeBatch, TubeCollator, TubePart};
pub use dense::{ContextLoss, nearness};
pub use transform::ClipTransform;

/// Where targets come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClipTarget {
    /// A moving average of the trained encoder, without gradient.
    #[default]
    Ema,
    /// The trained encoder itself, without gradient.
    StopGradient,
    /// The trained encoder itself, with gradient. Nothing then prevents collapse: an ablation.
    Live,
    /// A network that has learnt before and learns no more (SALT, arXiv 2509.24317).
    Frozen,
    /// The tubelets' pixels, each tubelet brought to mean 0 and variance 1: an ablation, and how SALT's teacher learns.
    Pixels,
}

/// How predictions are held against targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatentLoss {
    /// The mean of absolute differences, as released.
    #[default]
    L1,
    /// The mean of squared ones.
    L2,
    /// I-JEPA's smooth L1 with β = 1.
    SmoothL1,
    /// `2 − 2 cos` of each token, the squared distance of its direction: the released Audio-JEPA's.
    Cosine,
}

impl LatentLoss {
    /// `[.., D]` each → `[1]`.
    pub fn of<const R: usize>(self, predictions: Tensor<R>, targets: Tensor<R>) -> Tensor<1> {
        match self {
            Self::L1 => ops::l1(predictions, targets),
            Self::L2 => ops::l2(predictions, targets),
            Self::SmoothL1 => ops::smooth_l1(predictions, targets, 1.0),
            Self::Cosine => ops::cosine_distance(predictions, targets) * 2.0,
        }
    }
}

/// Which mask token stands for what is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskToken {
    /// One for each mask set: V-JEPA.
    #[default]
    OfSet,
    /// The first for all: the released V-JEPA 2, which counts by the length of clips where it means to count by mask sets.
    First,
}

/// All networks of a run.
#[derive(Module, Debug)]
pub struct ClipNetworks {
    /// The context encoder.
    pub encoder: ClipVit,
    /// The predictor.
    pub predictor: MaskedPredictor,
    /// The moving average or the frozen teacher, on the plain device.
    pub target_encoder: Option<ClipVit>,
}

/// The masked objective over clips.
pub struct MaskedClips {
    /// Where targets come from.
    pub target: ClipTarget,
    /// What becomes of the target's tokens before they are predicted; of several levels, of each by itself.
    pub transform: ClipTransform,
    /// How predictions are held against them.
    pub loss: LatentLoss,
    /// Which mask token stands for what is asked.
    pub mask_token: MaskToken,
    /// Supervision of the context's own tokens, where the predictor has a head for them.
    pub context_loss: Option<ContextLoss>,
    /// Weight of SIGReg on the context's tokens; 0 as released.
    pub sigreg: f64,
    /// The clock of the average.
    pub ema: EmaConfig,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Whether the frozen teacher is read from a file that the config names: checkpoints do not hold it then.
    pub given: bool,
    /// Makes batches.
    pub collator: Arc<TubeCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// What is predicted of a part, and what it is held against. Rows are those of its [`Joined`] mask sets.
pub struct Predicted {
    /// The mask sets.
    pub joined: Joined,
    /// Of the hidden tokens, `[Σ N_t, levels · D]`.
    pub predictions: Tensor<2>,
    /// The same from the target.
    pub targets: Tensor<2>,
    /// Of the context's own tokens and from the target, `[Σ N_c, levels · D]` each, where they are supervised.
    pub context: Option<(Tensor<2>, Tensor<2>)>,
    /// The context's tokens as the last level has them, `[Σ N_c, D]`.
    pub seen: Tensor<2>,
}

impl MaskedClips {
    /// Predictions and targets of a part; those of the context too where `dense`.
    pub fn predict(&self, networks: &ClipNetworks, part: &TubePart, dense: bool) -> Predicted {
        let joined = part.joined();
        let shape = [part.clips * part.grid.len(), part.values()];
        let tubelets = Tensor::<2>::from_data(TensorData::new(part.tubelets.clone(), shape), &self.device);
        let all = self.targets(networks, part, tubelets.clone());
        let rows = |at: &[u32]| {
            let levels: Vec<Tensor<2>> = all.iter().map(|level| ops::gather(level.clone(), at)).collect();
            Tensor::cat(levels, 1)
        };
        let layers = networks.encoder.supervised();
        let packed = Packed { grid: part.grid, at: &joined.context_at, sets: &joined.context, modality: part.modality };
        let levels = networks.encoder.rows(ops::gather(tubelets, &joined.context_rows), packed, &layers);
        let seen = levels.last().expect("a network has a level").clone();
        let context = Tensor::cat(levels, 1);
        let tokens: Vec<usize> = match self.mask_token {
            MaskToken::OfSet => joined.of_set.clone(),
            MaskToken::First => vec![0; joined.of_set.len()],
        };
        let asked = AskedRows {
            grid: part.grid,
            context: (&joined.context_at, &joined.context),
            targets: (&joined.target_at, &joined.targets),
            mask_tokens: &tokens,
            modality: part.modality,
        };
        let targets = rows(&joined.target_rows);
        if dense {
            let (predictions, of_context) = networks.predictor.rows_dense(context, asked);
            let context = Some((of_context, rows(&joined.context_rows)));
            return Predicted { joined, predictions, targets, context, seen };
        }
        let predictions = networks.predictor.rows(context, asked);
        Predicted { joined, predictions, targets, context: None, seen }
    }

    /// What every token of a part is to be predicted as, `[B·N, D]` for each level.
    fn targets(&self, networks: &ClipNetworks, part: &TubePart, tubelets: Tensor<2>) -> Vec<Tensor<2>> {
        let tokens = part.grid.len();
        let every: Vec<u32> = (0..part.clips).flat_map(|_| 0..tokens as u32).collect();
        let sets = Sets::uniform(part.clips, tokens);
        let packed = Packed { grid: part.grid, at: &every, sets: &sets, modality: part.modality };
        let layers = networks.encoder.supervised();
        let seen = match (self.target, &networks.target_encoder) {
            (ClipTarget::Pixels, _) => return vec![plain(tubelets)],
            (ClipTarget::Ema | ClipTarget::Frozen, Some(teacher)) => {
                teacher.rows(tubelets, packed, &teacher.supervised())
            }
            (ClipTarget::Live, _) => networks.encoder.rows(tubelets, packed, &layers),
            _ => networks.encoder.valid().rows(tubelets, packed, &layers),
        };
        let levels = seen.into_iter().map(|level| {
            let [rows, width] = level.dims();
            self.transform.apply(level.reshape([part.clips, tokens, width]), part.grid.frames).reshape([rows, width])
        });
        levels.collect()
    }

    /// The mean over mask sets of each one's loss, `[1]`; rows are weighted where weights are given.
    fn of_sets(
        &self,
        (predictions, targets): (Tensor<2>, Tensor<2>),
        sets: &Sets,
        of_set: &[usize],
        weights: Option<Vec<f32>>,
    ) -> Tensor<1> {
        let count = of_set.iter().max().map_or(1, |last| last + 1);
        let (mut predictions, mut targets) = (predictions, targets);
        if let Some(weights) = weights {
            // |w (p − t)| = w |p − t|; squares take the root.
            let root = |w: f32| if self.loss == LatentLoss::L1 { w } else { w.sqrt() };
            let weights: Vec<f32> = weights.into_iter().map(root).collect();
            let shape = [weights.len(), 1];
            let weights = Tensor::<2>::from_data(TensorData::new(weights, shape), &self.device);
            predictions = predictions * weights.clone();
            targets = targets * weights;
        }
        if count == 1 {
            return self.loss.of(predictions, targets);
        }
        let rows = |set: usize| {
            let of: Vec<usize> = (0..of_set.len()).filter(|i| of_set[*i] == set).collect();
            let first = of.first().map_or(0, |first| sets.range(*first).start);
            first..of.last().map_or(0, |last| sets.range(*last).end)
        };
        let part = |x: &Tensor<2>, set: usize| {
            let rows = rows(set);
            x.clone().narrow(0, rows.start, rows.len())
        };
        let losses = (0..count).map(|set| self.loss.of(part(&predictions, set), part(&targets, set)));
        losses.reduce(|sum, loss| sum + loss).expect("there is a set") / count as f64
    }
}

/// SIGReg of the context's tokens of the first mask set, `[1]`: as many of each clip, those of one place in this order are a group.
fn spreads(predicted: &Predicted, part: &TubePart, directions: &[f32]) -> Tensor<1> {
    let sets = &predicted.joined.context;
    let most = (0..part.clips).map(|clip| sets.range(clip).len()).min().unwrap_or(1).clamp(1, JUDGED);
    let rows = ops::gather(predicted.seen.clone(), &spread(sets, part.clips, most));
    let [_, width] = rows.dims();
    sigreg(rows.reshape([part.clips, most, width]).swap_dims(0, 1), directions)
}

/// Each row brought to mean 0 and variance 1.
fn plain(rows: Tensor<2>) -> Tensor<2> {
    let [_, width] = rows.dims();
    let device = rows.device().inner();
    ops::layer_norm(rows, Tensor::ones([width], &device), Tensor::zeros([width], &device), 1e-6)
}

/// Rows of one clip that health is judged on, and SIGReg, at most.
const JUDGED: usize = 32;

/// As many rows of each clip of a part's first mask set, evenly spread and clip by clip.
fn spread(sets: &Sets, clips: usize, most: usize) -> Vec<u32> {
    let rows = |clip: usize| {
        let range = sets.range(clip);
        (0..most).map(move |i| (range.start + i * range.len() / most) as u32)
    };
    (0..clips).flat_map(rows).collect()
}

impl Objective for MaskedClips {
    type Sample = ClipSample;
    type Batch = TubeBatch;
    type Networks = ClipNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = ClipSample, Batch = TubeBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &ClipNetworks, batch: &TubeBatch, clock: &Clock) -> Outcome {
        let weight = self.context_loss.map_or(0.0, |loss| loss.at(clock));
        let parts: Vec<Predicted> = batch.parts.iter().map(|part| self.predict(networks, part, weight > 0.0)).collect();
        let latents = clock.health_due.then(|| {
            let least = parts
                .iter()
                .flat_map(|part| (0..part.joined.targets.count()).map(|set| part.joined.targets.range(set).len()));
            let most = least.min().unwrap_or(1).clamp(1, JUDGED);
            let rows = |of: &dyn Fn(&Predicted) -> Tensor<2>| {
                let rows = parts.iter().zip(&batch.parts).map(|(predicted, part)| {
                    ops::gather(of(predicted).inner(), &spread(&predicted.joined.targets, part.clips, most))
                });
                Tensor::cat(rows.collect(), 0)
            };
            Latents { predictions: rows(&|part| part.predictions.clone()), targets: rows(&|part| part.targets.clone()) }
        });
        let all: usize = batch.parts.iter().map(|part| part.clips).sum();
        let (mut hidden, mut seen, mut spreading) = (None, None, None);
        let add = |sum: Option<Tensor<1>>, term: Tensor<1>| Some(sum.map_or(term.clone(), |sum| sum + term));
        for (part, predicted) in batch.parts.iter().zip(parts) {
            let share = part.clips as f64 / all.max(1) as f64;
            if self.sigreg > 0.0 {
                spreading = add(spreading, spreads(&predicted, part, &batch.directions) * share);
            }
            let Predicted { joined, predictions, targets, context, .. } = predicted;
            let loss = self.of_sets((predictions, targets), &joined.targets, &joined.of_set, None);
            hidden = add(hidden, loss * share);
            if let Some(pair) = context {
                let weights = self.context_loss.filter(|loss| loss.by_distance).map(|_| {
                    let (context, targets) =
                        ((&*joined.context_at, &joined.context), (&*joined.target_at, &joined.targets));
                    nearness(part.grid, context, targets)
                });
                seen = add(seen, self.of_sets(pair, &joined.context, &joined.of_set, weights) * share);
            }
        }
        let mut loss = hidden.expect("a batch has a part");
        let mut terms = Vec::new();
        if seen.is_some() || spreading.is_some() {
            terms.push(("prediction", loss.clone().inner()));
        }
        if let Some(seen) = seen {
            terms.push(("context", seen.clone().inner()));
            loss = loss + seen * weight;
        }
        if let Some(spreading) = spreading {
            terms.push(("sigreg", spreading.clone().inner()));
            loss = loss + spreading * self.sigreg;
        }
        if clock.health_due {
            let motion = batch.parts.first().map_or(0.0, TubePart::motion);
            terms.push((MOTION, Tensor::from_floats([motion as f32], &self.device)));
        }
        Outcome { loss, terms, latents, seen: Vec::new() }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        let teacher = ("target_encoder.", "encoder.");
        match self.target {
            ClipTarget::Ema => self.ema.role(name, teacher, clock),
            ClipTarget::Frozen if self.given && name.starts_with(teacher.0) => Role::Given,
            _ if name.starts_with(teacher.0) => Role::Stays,
            _ => Role::LEARNS,
        }
    }

    fn kept(&self, networks: &ClipNetworks) -> Kept<ClipSample> {
        let encoder = match (self.keep, self.target, &networks.target_encoder) {
            (Keep::Target, ClipTarget::Ema, Some(teacher)) => teacher.clone(),
            _ => networks.encoder.valid(),
        };
        let shape = (self.collator.frames, self.collator.size);
        let encoder = ClipEncoder::new(encoder, shape, self.collator.normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: None }
    }
}
