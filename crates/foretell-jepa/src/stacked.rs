//! Stacked joint embeddings (S-JEA, arXiv 2305.11701): every level of a stack has codes of its own, drawn together across views and kept
//! apart at that level.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::{Collate, Sample};
use foretell_nn::Frames;
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::mlp::Projector;
use foretell_nn::stack::Stack;

use crate::views::{ViewsBatch, ViewsCollator};
use crate::{AntiCollapse, Clock, Kept, Latents, Objective, Outcome};

/// The most levels that a stack may have.
pub const LEVELS: usize = 4;
/// Names of the levels' losses in the metrics.
const NAMES: [&str; LEVELS] = ["level 1", "level 2", "level 3", "level 4"];

/// What the optimiser touches.
#[derive(Module, Debug)]
pub struct StackedNetworks {
    /// Kept after training.
    pub encoder: Stack,
    /// One for each level that has a loss, from the bottom; dropped after training.
    pub projectors: Vec<Projector>,
}

/// `Σ_l w_l · loss of views of level l`.
pub struct Stacked {
    /// What keeps codes apart, at each level.
    pub anti_collapse: AntiCollapse,
    /// Its weight λ, where it has one; see [`AntiCollapse::views`].
    pub lambda: f64,
    /// w_l, from the bottom: as many as projectors. Fewer than levels: those at the top, and the levels below have no loss.
    pub weights: Vec<f64>,
    /// Whether a level's loss leaves the levels below alone.
    pub detached: bool,
    /// Makes batches of global views alone.
    pub collator: Arc<ViewsCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl Stacked {
    /// Codes of the views of each level that has a loss, `[V, B, K]`.
    fn codes(&self, networks: &StackedNetworks, batch: &ViewsBatch, seen: &mut Vec<BatchStatistics>) -> Vec<Tensor<3>> {
        let c = &self.collator;
        let images = c.images(batch, &self.device);
        let levels = networks.encoder.views(images, self.detached, &mut Pass::Training(seen));
        let without = levels.len() - networks.projectors.len();
        let code = |(projector, features): (&Projector, Tensor<2>)| {
            let codes = projector.forward(features, &mut Pass::Training(seen));
            codes.reshape([c.global_views, batch.samples, c.code_width])
        };
        networks.projectors.iter().zip(levels.into_iter().skip(without)).map(code).collect()
    }
}

impl Objective for Stacked {
    type Sample = Sample;
    type Batch = ViewsBatch;
    type Networks = StackedNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = Sample, Batch = ViewsBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &StackedNetworks, batch: &ViewsBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let codes = self.codes(networks, batch, &mut seen);
        let global = self.collator.global_views;
        let latents = clock.health_due.then(|| latents(&codes, global));
        let without = networks.encoder.levels() - codes.len();
        let mut terms = Vec::new();
        let mut loss: Option<Tensor<1>> = None;
        for (level, (codes, weight)) in codes.into_iter().zip(&self.weights).enumerate() {
            let term = self.anti_collapse.views(codes, global, &batch.directions, self.lambda).value;
            terms.push((NAMES[without + level], term.clone().inner()));
            let term = term * *weight;
            loss = Some(match loss {
                Some(loss) => loss + term,
                None => term,
            });
        }
        Outcome { loss: loss.expect("one level at least has a loss"), terms, latents, seen }
    }

    fn kept(&self, networks: &StackedNetworks) -> Kept<Sample> {
        let encoder = Frames::new(networks.encoder.valid(), self.collator.normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: None }
    }
}

/// The highest level's: the mean of the views and the last one.
fn latents(codes: &[Tensor<3>], global: usize) -> Latents {
    let top = codes[codes.len() - 1].clone().inner();
    let [views, samples, width] = top.dims();
    let centre = top.clone().slice([0..global, 0..samples, 0..width]).mean_dim(0);
    Latents {
        predictions: centre.reshape([samples, width]),
        targets: top.slice([views - 1..views, 0..samples, 0..width]).reshape([samples, width]),
    }
}
