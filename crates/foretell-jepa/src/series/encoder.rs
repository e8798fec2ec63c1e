//! A kept transformer over series as an encoder.

use std::any::Any;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use foretell_data::series::SeriesSample;
use foretell_nn::layers::{BatchStatistics, Pass, absorb};
use foretell_nn::series::SeriesVit;
use foretell_nn::tune::{Change, Take, Tunable};
use foretell_nn::{Encode, NamedTensors, Tokens, WeightsError, parameters, weights};
use foretell_ops::{self as ops, Precision};

use super::PackedSeries;

/// See the module.
pub struct SeriesEncoder {
    network: SeriesVit,
    /// Whether probes are given the sum of a series' tokens and not their mean.
    sum: bool,
    device: Device,
}

impl SeriesEncoder {
    /// A network in evaluation mode that lies on `device`.
    pub fn new(network: SeriesVit, sum: bool, device: &Device) -> Self {
        Self { network, sum, device: device.clone() }
    }

    fn of(&self, samples: &[&SeriesSample]) -> Tokens {
        let packed = PackedSeries::new(samples, self.network.config().cut);
        let (values, unknown) = packed.all(&self.device);
        let tokens = self.network.embed(values, unknown);
        let rows = self.network.hidden(tokens, &packed.at, &packed.sets);
        let len = packed.sets.range(0).len();
        let whole = (0..packed.sets.count()).all(|set| packed.sets.range(set).len() == len);
        Tokens { rows, sets: packed.sets, grid: whole.then_some((1, len)) }
    }
}

impl Encode<SeriesSample> for SeriesEncoder {
    fn tokens(&self, samples: &[&SeriesSample]) -> Tokens {
        ops::together(&self.device, || self.of(samples))
    }

    fn probed(&self, samples: &[&SeriesSample]) -> Tensor<2> {
        let tokens = self.tokens(samples);
        if !self.sum {
            return tokens.mean();
        }
        ops::segment_sum(tokens.rows, &ops::Segments::of_sets(&tokens.sets))
    }

    fn width(&self) -> usize {
        self.network.config().width
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.network, "")
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.network = weights::load_whole(self.network.clone(), tensors)?;
        Ok(())
    }

    fn prepare(&mut self, precision: Precision) -> bool {
        self.network.prepare(precision)
    }

    fn network(&self) -> &dyn Any {
        &self.network
    }

    fn tunable(&self) -> Option<Box<dyn Tunable<SeriesSample>>> {
        Some(Box::new(Self::new(self.network.clone().train(), self.sum, &self.device)))
    }
}

impl Tunable<SeriesSample> for SeriesEncoder {
    fn learned(&self, samples: &[&SeriesSample], _: &mut Pass<'_>) -> Tokens {
        self.of(samples)
    }

    fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>) {
        parameters::gradients(&self.network, gradients, take);
    }

    fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<SeriesSample>> {
        let Self { network, sum, device } = *self;
        Box::new(Self { network: parameters::change(network, change), sum, device })
    }

    fn absorb(self: Box<Self>, seen: &[BatchStatistics]) -> Box<dyn Tunable<SeriesSample>> {
        let Self { network, sum, device } = *self;
        Box::new(Self { network: absorb(network, seen), sum, device })
    }

    fn tuned(&self) -> Box<dyn Encode<SeriesSample>> {
        Box::new(Self::new(self.network.valid(), self.sum, &self.device))
    }
}
