//! The views composition: codes of several views of one image pulled together, kept apart from a constant by an
//! anti-collapse term.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, DataError, Normalise, Sample};
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::mlp::Projector;
use foretell_nn::{Backbone, Frames};

use crate::sigreg::directions;
use crate::{AntiCollapse, Clock, Kept, Latents, Objective, Outcome};

/// Views of a batch on the host.
pub struct ViewsBatch {
    /// Samples, B.
    pub samples: usize,
    /// `[G·B, C, S, S]` row-major: the first global view of every sample, then the second, …
    pub global: Vec<f32>,
    /// `[L·B, C, s, s]`: the local views, likewise.
    pub local: Vec<f32>,
    /// Directions along which codes are looked at, `[K, M]`; empty where the term takes none.
    pub directions: Vec<f32>,
}

/// Makes [`ViewsBatch`]es.
pub struct ViewsCollator {
    /// Of the run.
    pub seed: u64,
    /// Side of the global views in pixels.
    pub size: usize,
    /// Side of the local views.
    pub local_size: usize,
    /// Global views of each sample, G: at least 1.
    pub global_views: usize,
    /// Local views of each sample, L.
    pub local_views: usize,
    /// How global views are made.
    pub global: Augment,
    /// How local views are made.
    pub local: Augment,
    /// Mean and standard deviation of the training images.
    pub normalise: Normalise,
    /// Width of the codes, K.
    pub code_width: usize,
    /// Directions along which codes are looked at, M; 0 where the term takes none.
    pub slices: usize,
}

impl ViewsCollator {
    /// Two whole views of each sample, for methods that compare pairs and need no directions.
    pub fn pairs(seed: u64, size: usize, augment: Augment, normalise: Normalise) -> Self {
        Self {
            seed,
            size,
            local_size: size,
            global_views: 2,
            local_views: 0,
            local: augment.clone(),
            global: augment,
            normalise,
            code_width: 0,
            slices: 0,
        }
    }

    /// The global views of a batch, `[G·B, C, S, S]`.
    pub fn images(&self, batch: &ViewsBatch, device: &Device) -> Tensor<4> {
        images(&batch.global, self.global_views * batch.samples, self.size, device)
    }
}

/// `[V, C, S, S]` of the values of `views` square views.
fn images(values: &[f32], views: usize, size: usize, device: &Device) -> Tensor<4> {
    let shape = [views, values.len() / (views * size * size), size, size];
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

impl Collate for ViewsCollator {
    type Sample = Sample;
    type Batch = ViewsBatch;

    fn collate(&self, step: u64, samples: &[Sample]) -> Result<ViewsBatch, DataError> {
        let channels = samples.first().map_or(1, |s| s.image.channels);
        let make = |augment: &Augment, first_view: usize, views: usize, size: usize| {
            let pixels = channels * size * size;
            let mut values = vec![0.0; views * samples.len() * pixels];
            for (i, out) in values.chunks_exact_mut(pixels.max(1)).enumerate() {
                let (view, sample) = (i / samples.len() + first_view, i % samples.len());
                let place = (view * samples.len() + sample) as u64;
                let view =
                    augment.apply(&samples[sample].image, size, &mut rng(self.seed, Stream::Augment, step, place));
                self.normalise.apply(&view, out);
            }
            values
        };
        Ok(ViewsBatch {
            samples: samples.len(),
            global: make(&self.global, 0, self.global_views, self.size),
            local: make(&self.local, self.global_views, self.local_views, self.local_size),
            directions: directions(self.seed, step, self.code_width, self.slices),
        })
    }
}

/// What the optimiser touches: all there is.
#[derive(Module, Debug)]
pub struct ViewsNetworks<B: Module> {
    /// Kept after training.
    pub encoder: B,
    /// Dropped after training.
    pub projector: Projector,
}

/// Invariance across views with a term against collapse: no target network, no stop-gradient, no predictor.
pub struct Views<B: Backbone> {
    /// The kind of encoder.
    pub backbone: PhantomData<fn() -> B>,
    /// What keeps codes apart.
    pub anti_collapse: AntiCollapse,
    /// Its weight λ, where it has one; see [`AntiCollapse::views`].
    pub lambda: f64,
    /// Makes batches.
    pub collator: Arc<ViewsCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl<B: Backbone> Views<B> {
    /// Codes of all views, `[V, B, K]`, global views first.
    fn codes(&self, networks: &ViewsNetworks<B>, batch: &ViewsBatch, seen: &mut Vec<BatchStatistics>) -> Tensor<3> {
        let c = &self.collator;
        let global = c.images(batch, &self.device);
        let mut features = networks.encoder.view(global, &mut Pass::Training(seen));
        if c.local_views > 0 {
            let local = images(&batch.local, c.local_views * batch.samples, c.local_size, &self.device);
            // The running averages are for whole images: local views do not enter them.
            let local = networks.encoder.view(local, &mut Pass::Training(&mut Vec::new()));
            features = Tensor::cat(vec![features, local], 0);
        }
        let codes = networks.projector.forward(features, &mut Pass::Training(seen));
        codes.reshape([c.global_views + c.local_views, batch.samples, c.code_width])
    }
}

impl<B: Backbone + 'static> Objective for Views<B> {
    type Sample = Sample;
    type Batch = ViewsBatch;
    type Networks = ViewsNetworks<B>;

    fn collator(&self) -> Arc<dyn Collate<Sample = Sample, Batch = ViewsBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &ViewsNetworks<B>, batch: &ViewsBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let codes = self.codes(networks, batch, &mut seen);
        let [views, samples, width] = codes.dims();
        let global = self.collator.global_views;
        let term = self.anti_collapse.views(codes.clone(), global, &batch.directions, self.lambda);
        let latents = clock.health_due.then(|| {
            let codes = codes.inner();
            let centre = codes.clone().slice([0..global, 0..samples, 0..width]).mean_dim(0);
            Latents {
                predictions: centre.reshape([samples, width]),
                targets: codes.slice([views - 1..views, 0..samples, 0..width]).reshape([samples, width]),
            }
        });
        let terms = term.parts.into_iter().map(|(name, part)| (name, part.inner())).collect();
        Outcome { loss: term.value, terms, latents, seen }
    }

    fn kept(&self, networks: &ViewsNetworks<B>) -> Kept<Sample> {
        let encoder = Frames::new(networks.encoder.valid(), self.collator.normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: None }
    }
}
