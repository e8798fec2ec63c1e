//! The objective of ST-JEMA (Choi et al., arXiv 2403.06432): of graphs that change, hidden regions and the links among them are predicted
//! from the regions that are seen at the same time (space), and from two moments around it (time).
//!
//! No code was released. What the paper's description fixes in a way that gives an answer away, or that rests on an atlas's order, stands
//! beside ours by the name `official`: [`TimeCode`], [`BlocksBy`], [`PairsAsked`], [`Gap`], [`Targets`].

mod batch;
mod blocks;
mod encoder;

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_data::connectomes::DynamicGraph;
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, DataError};
use foretell_nn::dynamic_graph::WindowEncoder;
use foretell_nn::layers::{BatchStatistics, Linear, Pass};
use foretell_nn::mixer::Mixer;
use foretell_ops as ops;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::target::{EmaConfig, TargetTransform};
use crate::{Clock, Kept, Latents, Objective, Outcome, Role};

pub use batch::{Links, Moment, PackedWindows, PairsAsked, TimeCode};
pub use blocks::{BlocksBy, BlocksConfig};
pub use encoder::{AskedLink, ConnectomeEncoder, KeptLinks};

/// How far the moments are from the one between them that they predict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// So far that they share no time point with it: Γ / S windows, rounded up. Ours.
    #[default]
    Apart,
    /// `½ (Γ/S + 1)` windows, rounded up, as published: the two moments share nothing with each other, and each shares time points with the
    /// window that is asked for.
    Official,
}

impl Gap {
    /// In windows, where they take `window` time points and begin every `stride`.
    pub fn windows(self, window: usize, stride: usize) -> usize {
        match self {
            Self::Apart => window.div_ceil(stride),
            Self::Official => (window + stride).div_ceil(2 * stride),
        }
    }
}

/// What becomes of the target encoder's latents before they are predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// [`TargetTransform::Standardise`]: what the region alone tells is worth nothing. Ours.
    #[default]
    Standardise,
    /// Layer normalisation without weights.
    LayerNorm,
    /// As they are: as published.
    Official,
}

impl Targets {
    fn apply(self, latents: Tensor<3>) -> Tensor<3> {
        match self {
            Self::Standardise => TargetTransform::Standardise.apply(latents),
            Self::LayerNorm => TargetTransform::LayerNorm.apply(latents),
            Self::Official => latents,
        }
    }
}

/// All networks of a run.
#[derive(Module, Debug)]
pub struct SpatioTemporalNetworks {
    /// The context encoder: of graphs without the hidden regions.
    pub encoder: WindowEncoder,
    /// Its moving average, of whole graphs, on the plain device; its batch statistics are its own.
    pub target_encoder: WindowEncoder,
    /// What stands in the place of a region that is not seen, `[1, D]`.
    pub mask_token: Param<Tensor<2>>,
    /// W_T: what two moments say of a region, 2 D → D.
    pub between: Linear,
    /// Latents of hidden regions.
    pub node_decoder: Mixer,
    /// Latents whose products are links.
    pub edge_decoder: Mixer,
}

/// A batch on the host: G windows, of which J lie between two others.
pub struct WindowsBatch {
    /// Whole graphs.
    pub whole: PackedWindows,
    /// Without the hidden regions.
    pub seen: PackedWindows,
    /// Hidden places of all windows, once for each block that holds them, each below G · N.
    pub hidden: Vec<u32>,
    /// Links within blocks.
    pub links: Links,
    /// Of each moment between two others: its window, the earlier and the later one, `[J]`.
    pub triples: Vec<[u32; 3]>,
    /// The same of those windows: places below J · N, links of J windows.
    pub hidden_between: Vec<u32>,
    /// See there.
    pub links_between: Links,
    /// G and N.
    pub shape: [usize; 2],
}

impl WindowsBatch {
    /// Of G windows, their blocks, and which lie between which.
    pub fn new(
        moments: &[Moment<'_>],
        blocks: &[Vec<Vec<u32>>],
        triples: &[[u32; 3]],
        (code, asked, links): (TimeCode, PairsAsked, bool),
    ) -> Self {
        let n = moments.first().map_or(0, |moment| moment.recording.regions());
        let mut mask = vec![false; moments.len() * n];
        for (at, block) in
            blocks.iter().enumerate().flat_map(|(at, blocks)| blocks.iter().map(move |block| (at, block)))
        {
            for region in block {
                mask[at * n + *region as usize] = true;
            }
        }
        let places = |windows: &[usize]| -> Vec<u32> {
            let own = windows.iter().enumerate();
            own.flat_map(|(place, at)| blocks[*at].iter().flatten().map(move |region| (place * n) as u32 + region))
                .collect()
        };
        let all: Vec<usize> = (0..moments.len()).collect();
        let middle: Vec<usize> = triples.iter().map(|triple| triple[0] as usize).collect();
        let of = |windows: &[usize]| {
            if !links {
                return Links::default();
            }
            let moments: Vec<Moment<'_>> = windows.iter().map(|at| moments[*at]).collect();
            let blocks: Vec<&[Vec<u32>]> = windows.iter().map(|at| blocks[*at].as_slice()).collect();
            Links::new(&moments, &blocks, asked)
        };
        Self {
            whole: PackedWindows::new(moments, &[], code),
            seen: PackedWindows::new(moments, &mask, code),
            hidden: places(&all),
            links: of(&all),
            triples: triples.to_vec(),
            hidden_between: places(&middle),
            links_between: of(&middle),
            shape: [moments.len(), n],
        }
    }
}

/// Makes [`WindowsBatch`]es: of each recording some moments and two around each of them, all drawn uniformly.
pub struct WindowsCollator {
    /// Of the run.
    pub seed: u64,
    /// Moments of a recording in a step.
    pub moments: usize,
    /// How far the two are that predict one between them.
    pub gap: Gap,
    /// How regions are hidden.
    pub blocks: BlocksConfig,
    /// What a time code is made of.
    pub code: TimeCode,
    /// Which pairs are asked.
    pub asked: PairsAsked,
    /// Whether links are asked at all.
    pub links: bool,
    /// Whether moments are predicted from two around them; without, single moments are drawn.
    pub between: bool,
}

impl WindowsCollator {
    /// Windows that a recording must have.
    pub fn least_windows(&self, window: usize, stride: usize) -> usize {
        if self.between { 2 * self.gap.windows(window, stride) + 1 } else { 1 }
    }
}

impl Collate for WindowsCollator {
    type Sample = DynamicGraph;
    type Batch = WindowsBatch;

    fn collate(&self, step: u64, samples: &[DynamicGraph]) -> Result<WindowsBatch, DataError> {
        let (mut moments, mut blocks, mut triples) = (Vec::new(), Vec::new(), Vec::new());
        for (sample, recording) in samples.iter().enumerate() {
            let random = &mut rng(self.seed, Stream::Mask, step, sample as u64);
            let (windows, sliding) = (recording.windows(), recording.sliding());
            let gap = self.gap.windows(sliding.window, sliding.stride);
            if windows < self.least_windows(sliding.window, sliding.stride) {
                return Err(DataError::Collate(format!(
                    "recording {sample} of the batch of step {step} has {windows} windows, and {} are needed for one between two that are {gap} away",
                    2 * gap + 1
                )));
            }
            for _ in 0..self.moments {
                let chosen = if self.between {
                    let middle = random.random_range(gap..windows - gap);
                    let first = moments.len() as u32;
                    triples.push([first, first + 1, first + 2]);
                    vec![middle, random.random_range(0..=middle - gap), random.random_range(middle + gap..windows)]
                } else {
                    vec![random.random_range(0..windows)]
                };
                for window in chosen {
                    blocks.push(self.blocks.draw(recording.graph(window), random));
                    moments.push(Moment { sample, recording, window });
                }
            }
        }
        let batch = WindowsBatch::new(&moments, &blocks, &triples, (self.code, self.asked, self.links));
        if batch.hidden.is_empty() || self.between && batch.hidden_between.is_empty() {
            return Err(DataError::Collate(format!(
                "no window of the batch of step {step} has the three regions that it takes to hide one: nothing was measured, or nothing changes"
            )));
        }
        Ok(batch)
    }
}

/// ST-JEMA's objective: `(1 − t) (λ_n L_node + λ_a L_edge)` in space and `t` times the same in time.
pub struct SpatioTemporal {
    /// t, the share of what is predicted from other moments.
    pub temporal: f64,
    /// λ_n.
    pub nodes: f64,
    /// λ_a.
    pub edges: f64,
    /// What becomes of targets.
    pub targets: Targets,
    /// How fast the target encoder follows.
    pub ema: EmaConfig,
    /// Makes batches.
    pub collator: Arc<WindowsCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// What was predicted, and the losses.
pub struct PredictedWindows {
    /// Of hidden places, `[H, D]`.
    pub predictions: Tensor<2>,
    /// The same of the targets, untracked.
    pub targets: Tensor<2>,
    /// L_node and L_edge in space, then in time; none that has no weight.
    pub losses: [Option<Tensor<1>>; 4],
}

/// Rows by place: those of a table, and one more for places without a row.
fn placed(table: Tensor<2>, rest: Tensor<2>, slots: &[u32], [graphs, n]: [usize; 2]) -> Tensor<3> {
    let width = table.dims()[1];
    ops::gather(Tensor::cat(vec![table, rest], 0), slots).reshape([graphs, n, width])
}

/// All places of some windows.
fn places(windows: impl Iterator<Item = u32>, n: usize) -> Vec<u32> {
    windows.flat_map(|window| (0..n as u32).map(move |region| window * n as u32 + region)).collect()
}

impl SpatioTemporal {
    /// The way through the networks.
    pub fn predict(
        &self,
        networks: &SpatioTemporalNetworks,
        batch: &WindowsBatch,
        seen: &mut Vec<BatchStatistics>,
    ) -> PredictedWindows {
        let WindowsBatch { whole, seen: context, hidden, links, triples, hidden_between, links_between, shape } = batch;
        let [graphs, n] = *shape;
        let SpatioTemporalNetworks { encoder, target_encoder, mask_token, between, node_decoder, edge_decoder } =
            networks;
        let width = encoder.width();
        let flat = |x: Tensor<3>| {
            let [g, n, d] = x.dims();
            x.reshape([g * n, d])
        };

        let codes = target_encoder.codes(&whole.signals);
        let latents = target_encoder.forward(codes, &whole.rows, &mut Pass::Training(seen));
        let nothing = Tensor::<2>::zeros([1, width], &latents.device());
        let latents = flat(self.targets.apply(placed(latents, nothing, &whole.slots, *shape)));
        let targets = ops::gather(latents.clone(), hidden);

        let codes = encoder.codes(&context.signals);
        let rows = encoder.forward(codes, &context.rows, &mut Pass::Training(seen));
        let filled = placed(rows.clone(), mask_token.val(), &context.slots, *shape);
        let predictions = ops::gather(flat(node_decoder.forward(filled.clone())), hidden);
        let space = (self.temporal < 1.0).then(|| ops::l2(predictions.clone(), targets.clone()));
        let asks_links = self.edges > 0.0 && !links.weights.is_empty();
        let pairs = asks_links.then(|| edge_decoder.forward(filled.clone()));
        let space_links = pairs
            .clone()
            .filter(|_| self.temporal < 1.0)
            .map(|h| ops::link_cross_entropy(ops::matmul(h.clone(), h.swap_dims(1, 2)), &links.joined, &links.weights));
        let (mut time, mut time_links) = (None, None);
        if self.temporal > 0.0 && !triples.is_empty() {
            let count = triples.len();
            let of = |which: usize| triples.iter().map(move |triple| triple[which]);
            let rows_of = |which: usize| places(of(which), n);
            let all = flat(filled);
            let two = Tensor::cat(vec![ops::gather(all.clone(), &rows_of(1)), ops::gather(all, &rows_of(2))], 1);
            let told = between.forward(two);
            // Where the moment itself shows nothing, what the two around it say.
            let none = rows.dims()[0] as u32;
            let slots: Vec<u32> = rows_of(0)
                .into_iter()
                .enumerate()
                .map(|(at, place)| match context.slots[place as usize] {
                    slot if slot == none => none + at as u32,
                    slot => slot,
                })
                .collect();
            let predicted = flat(node_decoder.forward(placed(rows, told, &slots, [count, n])));
            let wanted = ops::gather(ops::gather(latents, &rows_of(0)), hidden_between);
            time = Some(ops::l2(ops::gather(predicted, hidden_between), wanted));
            time_links = pairs.filter(|_| !links_between.weights.is_empty()).map(|pairs| {
                let pairs = flat(pairs);
                let of = |which: usize| ops::gather(pairs.clone(), &rows_of(which)).reshape([count, n, width]);
                let products = ops::matmul(of(1), of(2).swap_dims(1, 2));
                ops::link_cross_entropy(products, &links_between.joined, &links_between.weights)
            });
        }
        debug_assert_eq!(graphs * n, context.slots.len());
        PredictedWindows { predictions, targets, losses: [space, space_links, time, time_links] }
    }
}

/// Names of the losses in the metrics.
const NAMES: [&str; 4] = ["space", "space links", "time", "time links"];

impl Objective for SpatioTemporal {
    type Sample = DynamicGraph;
    type Batch = WindowsBatch;
    type Networks = SpatioTemporalNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = DynamicGraph, Batch = WindowsBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &SpatioTemporalNetworks, batch: &WindowsBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let PredictedWindows { predictions, targets, losses } = self.predict(networks, batch, &mut seen);
        let (space, time) = (1.0 - self.temporal, self.temporal);
        let weights = [space * self.nodes, space * self.edges, time * self.nodes, time * self.edges];
        let (mut loss, mut terms): (Option<Tensor<1>>, _) = (None, Vec::new());
        for ((term, weight), name) in losses.into_iter().zip(weights).zip(NAMES) {
            let Some(term) = term else { continue };
            terms.push((name, term.clone().inner()));
            let term = term * weight;
            loss = Some(match loss {
                Some(loss) => loss + term,
                None => term,
            });
        }
        // The mean of each window's hidden regions: as many rows of each recording, however many are hidden.
        let [graphs, n] = batch.shape;
        let windows = || {
            let of = batch.hidden.iter().map(|place| place / n as u32).collect();
            ops::Segments::new(of, graphs)
        };
        let latents = clock.health_due.then(|| Latents {
            predictions: ops::segment_mean(predictions.inner(), &windows()),
            targets: ops::segment_mean(targets, &windows()),
        });
        Outcome { loss: loss.expect("space or time has a weight"), terms, latents, seen }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        // Whole graphs have other statistics than those without what is hidden: the target encoder keeps its own.
        if name.starts_with("target_encoder.") && (name.ends_with(".running_mean") || name.ends_with(".running_var")) {
            return Role::Stays;
        }
        self.ema.role(name, ("target_encoder.", "encoder."), clock)
    }

    fn kept(&self, networks: &SpatioTemporalNetworks) -> Kept<DynamicGraph> {
        let encoder = ConnectomeEncoder::new(networks.target_encoder.valid(), self.collator.code, &self.device);
        Kept { encoder: Box::new(encoder), model: Some(Box::new(KeptLinks::of(self, networks))) }
    }
}
