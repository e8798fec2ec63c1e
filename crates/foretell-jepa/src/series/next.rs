//! LeNEPA (Chemeris et al., 2026, arXiv 2607.00958): from the patches of a series up to one, the embedding of the next is predicted, in a
//! projector that is thrown away. No mask, no teacher, no stop-gradient: SIGReg keeps embeddings and outputs apart, over the batch at each
//! place and over time in each series.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::series::SeriesSample;
use foretell_data::{Collate, DataError};
use foretell_nn::layers::Pass;
use foretell_nn::mlp::Projector;
use foretell_nn::series::{Cut, SeriesVit};
use foretell_ops as ops;

use super::encoder::SeriesEncoder;
use super::{PackedSeries, as_many};
use crate::sigreg::{directions, sigreg};
use crate::{Clock, Kept, Latents, Objective, Outcome};

/// A batch on the host.
pub struct NextSeriesBatch {
    /// All patches.
    pub packed: PackedSeries,
    /// Directions along which codes are looked at, `[K, M]`.
    pub directions: Vec<f32>,
}

/// Makes [`NextSeriesBatch`]es.
pub struct NextSeriesCollator {
    /// Of the run.
    pub seed: u64,
    /// How series are cut.
    pub cut: Cut,
    /// Width of the projector's codes, K.
    pub codes: usize,
    /// Directions, M.
    pub slices: usize,
}

impl Collate for NextSeriesCollator {
    type Sample = SeriesSample;
    type Batch = NextSeriesBatch;

    fn collate(&self, step: u64, samples: &[SeriesSample]) -> Result<NextSeriesBatch, DataError> {
        if let Some(other) = samples.iter().find(|sample| sample.channels != self.cut.channels) {
            return Err(DataError::Collate(format!(
                "a series has {} channels where the network was made for {}",
                other.channels, self.cut.channels
            )));
        }
        let packed = PackedSeries::new(&samples.iter().collect::<Vec<_>>(), self.cut);
        if (0..packed.sets.count()).all(|set| packed.sets.range(set).len() < 2) {
            return Err(DataError::Collate(
                "no series of the batch has two tokens, and the next is what is predicted: take a smaller `model.patch`".to_owned(),
            ));
        }
        Ok(NextSeriesBatch { packed, directions: directions(self.seed, step, self.codes, self.slices) })
    }
}

/// All networks.
#[derive(Module, Debug)]
pub struct NextSeriesNetworks {
    /// What learns and is kept.
    pub encoder: SeriesVit,
    /// Where predictions are compared.
    pub projector: Projector,
}

/// The objective: mean squared error between what is said at a token and the embedding of the next, plus weighted SIGReg.
pub struct NextSeries {
    /// Weight of SIGReg over the batch at each place, and over time in each series.
    pub sigreg: [f64; 2],
    /// Whether targets are without gradient, which NEPA has in SIGReg's place.
    pub stop_gradient: bool,
    /// Makes batches.
    pub collator: Arc<NextSeriesCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl NextSeries {
    /// What is said at each token but a series' last, and the code of what stands behind it: `[P, K]` each; and the codes of all embeddings
    /// and outputs, `[R, K]` each.
    pub fn predict(
        &self,
        networks: &NextSeriesNetworks,
        packed: &PackedSeries,
        pass: &mut Pass<'_>,
    ) -> ([Tensor<2>; 2], [Tensor<2>; 2]) {
        let (values, unknown) = packed.all(&self.device);
        let embedded = networks.encoder.embed(values, unknown);
        let hidden = networks.encoder.hidden(embedded.clone(), &packed.at, &packed.sets);
        let embedded = if self.stop_gradient { embedded.detach() } else { embedded };
        let said = networks.projector.forward(hidden, pass);
        let codes = networks.projector.forward(embedded, pass);
        let codes = if self.stop_gradient { codes.detach() } else { codes };
        let pairs = (0..packed.sets.count()).flat_map(|set| packed.sets.range(set).skip(1));
        let behind: Vec<u32> = pairs.map(|row| row as u32).collect();
        let before: Vec<u32> = behind.iter().map(|row| row - 1).collect();
        let next = [ops::gather(said.clone(), &before), ops::gather(codes.clone(), &behind)];
        (next, [codes, said])
    }
}

impl Objective for NextSeries {
    type Sample = SeriesSample;
    type Batch = NextSeriesBatch;
    type Networks = NextSeriesNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = SeriesSample, Batch = NextSeriesBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &NextSeriesNetworks, batch: &NextSeriesBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let ([said, next], layers) = self.predict(networks, &batch.packed, &mut Pass::Training(&mut seen));
        let latents = clock.health_due.then(|| {
            let sets = &batch.packed.sets;
            let pairs: Vec<usize> = (0..sets.count()).map(|set| sets.range(set).len() - 1).collect();
            let rows = as_many(&ops::Sets::of_lengths(&pairs));
            let chosen = |of: &Tensor<2>| ops::gather(of.clone().inner(), &rows);
            Latents { predictions: chosen(&said), targets: chosen(&next) }
        });
        let prediction = ops::l2(said, next);
        let mut terms = vec![("prediction", prediction.clone().inner())];
        let mut loss = prediction;
        let rows = as_many(&batch.packed.sets);
        let series = batch.packed.sets.count();
        let least = rows.len() / series.max(1);
        let [over_batch, over_time] = self.sigreg;
        if over_batch > 0.0 || over_time > 0.0 {
            // [L · B, T, K]
            let of = |codes: Tensor<2>| {
                let [_, width] = codes.dims();
                ops::gather(codes, &rows).reshape([series, least, width])
            };
            let tokens = Tensor::cat(layers.into_iter().map(of).collect(), 0);
            if over_batch > 0.0 {
                let term = sigreg(tokens.clone().swap_dims(0, 1), &batch.directions);
                terms.push(("sigreg_batch", term.clone().inner()));
                loss = loss + term * over_batch;
            }
            if over_time > 0.0 {
                let term = sigreg(tokens, &batch.directions);
                terms.push(("sigreg_time", term.clone().inner()));
                loss = loss + term * over_time;
            }
        }
        Outcome { loss, terms, latents, seen }
    }

    fn kept(&self, networks: &NextSeriesNetworks) -> Kept<SeriesSample> {
        let encoder = SeriesEncoder::new(networks.encoder.valid(), false, &self.device);
        Kept { encoder: Box::new(encoder), model: None }
    }
}
