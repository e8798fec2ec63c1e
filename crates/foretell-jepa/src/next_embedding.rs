//! Next-embedding prediction (NEPA, arXiv 2512.16922): from the patches up to one, predict the embedding of the next.
//!
//! There is one network: the embeddings that its transformer reads are, without gradient, what it predicts. No mask, no view, no
//! teacher, no predictor.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, DataError, Normalise, Sample};
use foretell_nn::Frames;
use foretell_nn::causal_vit::CausalVit;
use foretell_ops as ops;
use rand::RngExt;

use crate::operators::cut;
use crate::target::EmaConfig;
use crate::{Clock, Kept, Latents, Objective, Outcome, Role};

/// Patches of a batch on the host.
pub struct NextBatch {
    /// `[B, N, C·p·p]` row-major, raster order, each patch `[C, p, p]`.
    pub patches: Vec<f32>,
    /// Images, B.
    pub images: usize,
    /// How far from the middle patches are said to lie, as a multiple of where they do.
    pub stretch: f64,
}

/// Makes [`NextBatch`]es: crop, normalise, patchify.
pub struct NextCollator {
    /// Of the run.
    pub seed: u64,
    /// Side of the images in pixels.
    pub size: usize,
    /// Side of a patch.
    pub patch: usize,
    /// How views are made.
    pub augment: Augment,
    /// Mean and standard deviation of the training images.
    pub normalise: Normalise,
    /// Largest factor by which a batch's places are stretched or, as often, shrunk: log-uniform; 1: they are not.
    pub stretch: f64,
}

impl Collate for NextCollator {
    type Sample = Sample;
    type Batch = NextBatch;

    fn collate(&self, step: u64, samples: &[Sample]) -> Result<NextBatch, DataError> {
        let channels = samples.first().map_or(1, |s| s.image.channels);
        let pixels = channels * self.size * self.size;
        let mut patches = vec![0.0; samples.len() * pixels];
        let mut image = vec![0.0; pixels];
        for (i, (sample, patches)) in samples.iter().zip(patches.chunks_exact_mut(pixels.max(1))).enumerate() {
            let mut rng = rng(self.seed, Stream::Augment, step, i as u64);
            self.normalise.apply(&self.augment.apply(&sample.image, self.size, &mut rng), &mut image);
            cut(&image, (self.size, self.size), self.patch, patches);
        }
        let mut shared = rng(self.seed, Stream::Augment, step, u64::MAX);
        let range = self.stretch.ln();
        let stretch = if range > 0.0 { shared.random_range(-range..range).exp() } else { 1.0 };
        Ok(NextBatch { patches, images: samples.len(), stretch })
    }
}

/// All networks.
#[derive(Module, Debug)]
pub struct NextNetworks {
    /// What learns.
    pub encoder: CausalVit,
    /// Its moving average, on the plain device, where one is kept: nothing is predicted from it.
    pub average: Option<CausalVit>,
}

/// The objective: `−cos(h_i, sg(e_{i+1}))`, mean over images and positions.
pub struct NextEmbedding {
    /// Whether targets are without gradient; without that, one direction for all embeddings is the best answer: an ablation.
    pub stop_gradient: bool,
    /// Whether the next embedding is predicted; otherwise a position's own, which it has seen: an ablation.
    pub shift: bool,
    /// The clock of the average, used where there is one.
    pub ema: EmaConfig,
    /// Makes batches.
    pub collator: Arc<NextCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl NextEmbedding {
    /// Predictions and targets of a batch, both `[B, K, D]`: K = S − 1 of S tokens, or S where nothing is shifted.
    pub fn predict(&self, encoder: &CausalVit, batch: &NextBatch) -> (Tensor<3>, Tensor<3>) {
        let (rows, cols) = encoder.config().grid();
        let shape = [batch.images, rows * cols, batch.patches.len() / (batch.images * rows * cols)];
        let patches = Tensor::<3>::from_data(TensorData::new(batch.patches.clone(), shape), &self.device);
        let embeddings = encoder.embed(patches);
        let hidden = encoder.hidden(embeddings.clone(), batch.stretch);
        let targets = if self.stop_gradient { embeddings.detach() } else { embeddings };
        if self.shift { next(hidden, targets) } else { (hidden, targets) }
    }
}

/// What is said at each token but the last, and what stands behind it: `[B, S, D]` each → `[B, S − 1, D]`.
pub fn next(hidden: Tensor<3>, embeddings: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
    let [b, s, d] = hidden.dims();
    (hidden.slice([0..b, 0..s - 1, 0..d]), embeddings.slice([0..b, 1..s, 0..d]))
}

/// Rows of length 1, untracked: all that a cosine sees. `[B, K, D]` → `[B·K, D]`.
pub fn directions(latents: Tensor<3>) -> Tensor<2> {
    let [b, k, d] = latents.dims();
    let rows = latents.inner().reshape([b * k, d]);
    rows.clone() / (rows.square().sum_dim(1) + 1e-24).sqrt()
}

impl Objective for NextEmbedding {
    type Sample = Sample;
    type Batch = NextBatch;
    type Networks = NextNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = Sample, Batch = NextBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &NextNetworks, batch: &NextBatch, clock: &Clock) -> Outcome {
        let (predictions, targets) = self.predict(&networks.encoder, batch);
        // Lengths mean nothing to a cosine: embeddings that have one direction have collapsed, however long they are.
        let latents = clock
            .health_due
            .then(|| Latents { predictions: directions(predictions.clone()), targets: directions(targets.clone()) });
        let loss = ops::cosine_distance(predictions, targets) - 1.0;
        Outcome { loss, terms: Vec::new(), latents, seen: Vec::new() }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        self.ema.role(name, ("average.", "encoder."), clock)
    }

    fn kept(&self, networks: &NextNetworks) -> Kept<Sample> {
        let encoder = networks.average.clone().unwrap_or_else(|| networks.encoder.valid());
        Kept { encoder: Box::new(Frames::new(encoder, self.collator.normalise.clone(), &self.device)), model: None }
    }
}
