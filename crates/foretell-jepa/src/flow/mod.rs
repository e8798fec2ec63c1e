//! Motion and content in one encoder (MC-JEPA, arXiv 2307.12698): optical flow between neighbouring frames, learnt by predicting one
//! frame's features and pixels from the other's along the flow, and content, learnt from two views of a frame by VICReg.

mod batch;
pub mod losses;

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{ClipSample, Collate};
use foretell_nn::ClipEncoder;
use foretell_nn::flow::FlowHead;
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::mlp::Projector;
use foretell_nn::pyramid::Pyramid;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

pub use batch::{PairsBatch, PairsCollator};
pub use losses::Photometric;

use self::losses::halved;
use crate::{AntiCollapse, Clock, Kept, Latents, MOTION, Objective, Outcome, vicreg};

/// Whether the two losses share a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turns {
    /// Each step has both.
    #[default]
    Sum,
    /// Odd steps have content, even ones flow.
    Alternate,
}

/// At which levels a warped frame is held against the other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhotometricLevels {
    /// All that have at least eight pixels a side, each coarser one with half the weight: far motion is found by the coarse ones.
    #[default]
    All,
    /// The frame's own resolution alone, as in the paper.
    Finest,
}

/// Weights of what makes up the loss of flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowWeights {
    /// Of the warped frame's distance.
    pub reconstruction: f64,
    /// Of the warped features' distance at each level: what is predicted in latent space.
    pub regression: f64,
    /// Of the smoothness.
    pub smoothness: f64,
    /// Of the distance of features that are warped there and back.
    pub cycle: f64,
    /// Of the terms against collapse at the coarsest level; 0: none at any.
    pub level_variance: f64,
    /// The covariance's weight beside the variance's.
    pub level_covariance: f64,
    /// By how much the weight of those terms falls from a level to the next finer one.
    pub level_decay: f64,
}

/// What the optimiser touches.
#[derive(Module, Debug)]
pub struct FlowNetworks {
    /// Kept after training.
    pub encoder: Pyramid,
    /// Kept beside it.
    pub flow: FlowHead,
    /// Dropped after training; none where there is no content to learn.
    pub projector: Option<Projector>,
}

/// The kept [model](Kept::model): what makes flow of the kept encoder's maps.
pub struct KeptFlow(pub FlowHead);

/// Flow and content.
pub struct MotionContent {
    /// What the flow's loss is made of.
    pub weights: FlowWeights,
    /// How a warped frame is held against the other one.
    pub photometric: Photometric,
    /// And at which levels.
    pub photometric_levels: PhotometricLevels,
    /// β of the smoothness: how strongly an edge of the image lets flow change.
    pub edge: f64,
    /// Weight of the flow's loss beside the content's.
    pub flow_weight: f64,
    /// Share of the steps before flow begins.
    pub flow_start: f64,
    /// Whether both share a step.
    pub turns: Turns,
    /// The loss of content; λ is not read for VICReg.
    pub content: AntiCollapse,
    /// Frames of a clip, of which the kept encoder is given all.
    pub frames: usize,
    /// Makes batches.
    pub collator: Arc<PairsCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

/// The loss of flow, and what is shown of it.
struct FlowLoss {
    value: Tensor<1>,
    terms: Vec<(&'static str, Tensor<1>)>,
    latents: Latents,
}

impl MotionContent {
    /// Whether flow is learnt by now.
    fn begun(&self, networks: &FlowNetworks, clock: &Clock) -> bool {
        networks.projector.is_none() || clock.step as f64 > self.flow_start * clock.total as f64
    }

    /// Which of the two a step has: content, flow.
    fn turn(&self, networks: &FlowNetworks, clock: &Clock) -> (bool, bool) {
        let (content, begun) = (networks.projector.is_some(), self.begun(networks, clock));
        match self.turns {
            // Who looks at health sees both.
            Turns::Alternate if content && begun && !clock.health_due => {
                let odd = !clock.step.is_multiple_of(2);
                (odd, !odd)
            }
            _ => (content, begun),
        }
    }

    fn images(&self, values: &[f32]) -> Tensor<4> {
        let (channels, size) = (self.collator.normalise.mean.len(), self.collator.size);
        let count = values.len() / (channels * size * size).max(1);
        Tensor::from_data(TensorData::new(values.to_vec(), [count, channels, size, size]), &self.device)
    }

    /// Normalised frames `[B, C, H, W]` as pixels in 0..=1, `[B, H, W, C]`.
    fn pixels(&self, frames: Tensor<4>) -> Tensor<4> {
        let normalise = &self.collator.normalise;
        let of = |values: &[f32]| Tensor::<1>::from_floats(values, &self.device).reshape([1, 1, 1, values.len()]);
        frames.permute([0, 2, 3, 1]) * of(&normalise.std) + of(&normalise.mean)
    }

    fn content(
        &self,
        networks: &FlowNetworks,
        projector: &Projector,
        batch: &PairsBatch,
        seen: &mut Vec<BatchStatistics>,
    ) -> (Tensor<1>, Latents) {
        let features = networks.encoder.view(self.images(&batch.views), &mut Pass::Training(seen));
        let codes = projector.forward(features, &mut Pass::Training(seen));
        let width = codes.dims()[1];
        let codes = codes.reshape([2, batch.samples, width]);
        let of = |view: usize| codes.clone().inner().narrow(0, view, 1).reshape([batch.samples, width]);
        let latents = Latents { predictions: of(0), targets: of(1) };
        (self.content.views(codes, 2, &[], 0.0).value, latents)
    }

    /// Of both frames of each pair as the first one: flow there and flow back.
    fn flow(&self, networks: &FlowNetworks, batch: &PairsBatch, seen: &mut Vec<BatchStatistics>) -> FlowLoss {
        let frames = self.images(&batch.frames);
        let maps = networks.encoder.maps(frames.clone(), &mut Pass::Training(seen));
        let others: Vec<Tensor<4>> = maps.iter().cloned().map(exchanged).collect();
        let flows = networks.flow.forward(&maps, &others);
        let levels = maps.len();
        let zero = || Tensor::<1>::zeros([1], &self.device);

        let images = halved(self.pixels(frames), levels);
        let (mut reconstruction, mut weight) = (zero(), 1.0);
        for (image, flow) in images.iter().zip(&flows) {
            if weight < 1.0 && (self.photometric_levels == PhotometricLevels::Finest || image.dims()[1] < SIDE) {
                break;
            }
            let inside = ops::lands_inside(flow.clone());
            let warped = ops::warp(exchanged(image.clone()), flow.clone());
            reconstruction = reconstruction + self.photometric.loss(image.clone(), warped, inside) * weight;
            weight *= 0.5;
        }
        let finest = networks.flow.config().finest.min(levels - 1);
        let smoothness = losses::smoothness(flows[finest].clone(), images[finest].clone(), self.edge);

        let w = self.weights;
        let (mut regression, mut cycle, mut spread) = (zero(), zero(), zero());
        let mut latents = None;
        for level in 0..levels {
            let (map, flow) = (&maps[level], &flows[level]);
            let inside = ops::lands_inside(flow.clone());
            let warped = ops::warp(others[level].clone(), flow.clone());
            if level + 1 == levels {
                latents = Some((warped.clone(), map.clone()));
            }
            regression = regression + losses::regression(map.clone(), warped.clone(), inside.clone());
            if w.cycle > 0.0 {
                // What was warped to the one frame is warped back to the other: by the other's own flow.
                let there_and_back = ops::warp(exchanged(warped), flow.clone());
                cycle = cycle + losses::regression(map.clone(), there_and_back, inside);
            }
            if w.level_variance > 0.0 {
                let places = losses::places(map.clone());
                let term = vicreg::variance(places.clone()) + vicreg::covariance(places) * w.level_covariance;
                spread = spread + term * w.level_decay.powi((levels - 1 - level) as i32);
            }
        }
        let value = reconstruction.clone() * w.reconstruction
            + regression.clone() * w.regression
            + smoothness.clone() * w.smoothness
            + cycle.clone() * w.cycle
            + spread.clone() * w.level_variance;
        let terms = vec![
            ("reconstruction", reconstruction.inner()),
            ("regression", regression.inner()),
            ("smoothness", smoothness.inner()),
            ("cycle", cycle.inner()),
            ("levels", spread.inner()),
        ];
        let (predictions, targets) = latents.expect("one level at least");
        let of = |map: Tensor<4>| {
            let [_, h, w, d] = map.dims();
            map.inner().narrow(0, 0, batch.samples).reshape([batch.samples, h * w, d]).mean_dim(1).squeeze_dim(1)
        };
        FlowLoss { value, terms, latents: Latents { predictions: of(predictions), targets: of(targets) } }
    }
}

/// The least side of a frame that is held against a warped one.
const SIDE: usize = 8;

/// The second half of a batch before the first.
fn exchanged(both: Tensor<4>) -> Tensor<4> {
    let half = both.dims()[0] / 2;
    Tensor::cat(vec![both.clone().narrow(0, half, half), both.narrow(0, 0, half)], 0)
}

impl Objective for MotionContent {
    type Sample = ClipSample;
    type Batch = PairsBatch;
    type Networks = FlowNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = ClipSample, Batch = PairsBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &FlowNetworks, batch: &PairsBatch, clock: &Clock) -> Outcome {
        let (content, flow) = self.turn(networks, clock);
        let (mut seen, mut terms, mut latents) = (Vec::new(), Vec::new(), None);
        let mut loss = None;
        if let (true, Some(projector)) = (content, &networks.projector) {
            let mut of_views = Vec::new();
            let (value, codes) = self.content(networks, projector, batch, &mut of_views);
            // The running averages are for whole frames: once flow brings those, views do not enter them.
            if !self.begun(networks, clock) {
                seen = of_views;
            }
            terms.push(("content", value.clone().inner()));
            (loss, latents) = (Some(value), Some(codes));
        }
        if flow {
            let flow = self.flow(networks, batch, &mut seen);
            terms.extend(flow.terms);
            let value = flow.value * self.flow_weight;
            loss = Some(match loss {
                Some(loss) => loss + value,
                None => value,
            });
            latents = latents.or(Some(flow.latents));
        }
        if clock.health_due {
            terms.push((MOTION, Tensor::from_floats([batch.motion as f32], &self.device)));
        }
        let loss = loss.expect("a step has content or flow");
        Outcome { loss, terms, latents: latents.filter(|_| clock.health_due), seen }
    }

    fn kept(&self, networks: &FlowNetworks) -> Kept<ClipSample> {
        let c = &self.collator;
        let encoder =
            ClipEncoder::new(networks.encoder.valid(), (self.frames, c.size), c.normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: Some(Box::new(KeptFlow(networks.flow.valid()))) }
    }
}
