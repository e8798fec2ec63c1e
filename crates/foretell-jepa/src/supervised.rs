//! Supervised learning, the control that is told what the others must find out: an affine map from an encoder's pooled features to
//! the classes of every factor that the labels tell.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use foretell_data::{Collate, DataError, Sample};
use foretell_nn::layers::{Linear, Pass};
use foretell_nn::{Backbone, Frames};
use foretell_ops as ops;

use crate::views::{ViewsBatch, ViewsCollator};
use crate::{Clock, Kept, Latents, Objective, Outcome};

/// One view of each sample, and its labels.
pub struct LabelledBatch {
    /// The views: one global one of each sample.
    pub views: ViewsBatch,
    /// `[F][B]`: a label of each sample for each factor.
    pub labels: Vec<Vec<u32>>,
}

/// Makes [`LabelledBatch`]es.
pub struct LabelledCollator {
    /// Makes the views: one global one, no local ones.
    pub views: ViewsCollator,
    /// Factors, F: as many as each sample has labels.
    pub factors: usize,
}

impl Collate for LabelledCollator {
    type Sample = Sample;
    type Batch = LabelledBatch;

    fn collate(&self, step: u64, samples: &[Sample]) -> Result<LabelledBatch, DataError> {
        let label = |sample: &Sample, factor: usize| {
            let wrong = || {
                DataError::Collate(format!(
                    "`{}` has {} labels, expected {}",
                    sample.name,
                    sample.labels.len(),
                    self.factors
                ))
            };
            sample.labels.get(factor).copied().ok_or_else(wrong)
        };
        let factor = |factor| samples.iter().map(|sample| label(sample, factor)).collect::<Result<_, _>>();
        Ok(LabelledBatch {
            views: self.views.collate(step, samples)?,
            labels: (0..self.factors).map(factor).collect::<Result<_, _>>()?,
        })
    }
}

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct SupervisedNetworks<B: Module> {
    /// Kept after training.
    pub encoder: B,
    /// Dropped after training: the logits of one factor's classes behind those of another.
    pub head: Linear,
}

/// See the module.
pub struct Supervised<B: Backbone> {
    /// The kind of encoder.
    pub backbone: PhantomData<fn() -> B>,
    /// Classes of each factor.
    pub classes: Vec<usize>,
    /// Makes batches.
    pub collator: Arc<LabelledCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl<B: Backbone + 'static> Objective for Supervised<B> {
    type Sample = Sample;
    type Batch = LabelledBatch;
    type Networks = SupervisedNetworks<B>;

    fn collator(&self) -> Arc<dyn Collate<Sample = Sample, Batch = LabelledBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &SupervisedNetworks<B>, batch: &LabelledBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let images = self.collator.views.images(&batch.views, &self.device);
        let features = networks.encoder.view(images, &mut Pass::Training(&mut seen));
        let logits = networks.head.forward(features.clone());
        let samples = batch.views.samples;
        let (mut from, mut loss) = (0, None);
        for (classes, labels) in self.classes.iter().zip(&batch.labels) {
            let term = ops::cross_entropy(logits.clone().slice([0..samples, from..from + classes]), labels);
            loss = Some(loss.map_or(term.clone(), |sum| sum + term));
            from += classes;
        }
        let loss = loss.unwrap_or_else(|| logits.sum() * 0.0) / self.classes.len().max(1) as f64;
        let latents = clock.health_due.then(|| {
            let features = features.inner();
            Latents { predictions: features.clone(), targets: features }
        });
        Outcome { loss, terms: Vec::new(), latents, seen }
    }

    fn kept(&self, networks: &SupervisedNetworks<B>) -> Kept<Sample> {
        let normalise = self.collator.views.normalise.clone();
        Kept { encoder: Box::new(Frames::new(networks.encoder.valid(), normalise, &self.device)), model: None }
    }
}
