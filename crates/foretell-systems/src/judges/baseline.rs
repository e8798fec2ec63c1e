//! The baseline without a network in the form of an encoder: what stands beside probes that read tokens, or that tune an encoder.

use std::any::Any;
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use foretell_data::Modality;
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::tune::{Change, Take, Tunable};
use foretell_nn::{Encode, NamedTensors, Tokens, WeightsError, weights};
use foretell_ops::Sets;

/// A sample's [baseline](Modality::baseline) as tokens, to zero mean and unit variance over some training samples.
pub(super) struct Baseline<D> {
    data: Arc<D>,
    mean: f32,
    inverse: f32,
    /// Values of a token.
    width: usize,
    /// Whether a sample is cut into several tokens, each with a code of its place.
    cut: bool,
    device: Device,
}

impl<D: Modality> Baseline<D> {
    /// Of data whose baseline is like that of these samples: cut into tokens of `width`, or whole.
    pub(super) fn new(data: &Arc<D>, like: &[D::Sample], width: Option<usize>, device: &Device) -> Self {
        let rows: Vec<Vec<f32>> = like.iter().map(|sample| data.baseline(sample)).collect();
        let count = rows.iter().map(Vec::len).sum::<usize>().max(1) as f64;
        let all = || rows.iter().flatten().map(|x| f64::from(*x));
        let mean = all().sum::<f64>() / count;
        let variance = all().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let whole = rows.first().map_or(1, Vec::len).max(1);
        Self {
            data: Arc::clone(data),
            mean: mean as f32,
            inverse: (1.0 / variance.sqrt().max(1e-6)) as f32,
            width: width.unwrap_or(whole).max(1),
            cut: width.is_some(),
            device: device.clone(),
        }
    }

    fn same(&self) -> Self {
        let Self { data, mean, inverse, width, cut, device } = self;
        let (data, device) = (Arc::clone(data), device.clone());
        Self { data, mean: *mean, inverse: *inverse, width: *width, cut: *cut, device }
    }

    /// A sample's tokens, filled up with zeros to whole ones.
    fn of(&self, sample: &D::Sample) -> Vec<f32> {
        let mut values: Vec<f32> =
            self.data.baseline(sample).into_iter().map(|x| (x - self.mean) * self.inverse).collect();
        values.resize(values.len().next_multiple_of(self.width).max(self.width), 0.0);
        if self.cut {
            let (width, pairs) = (self.width, self.width.div_ceil(2) as f32);
            for (place, token) in values.chunks_exact_mut(width).enumerate() {
                for (i, value) in token.iter_mut().enumerate() {
                    let angle = place as f32 / 10_000_f32.powf((i / 2) as f32 / pairs);
                    *value += if i % 2 == 0 { angle.sin() } else { angle.cos() };
                }
            }
        }
        values
    }
}

impl<D: Modality> Encode<D::Sample> for Baseline<D> {
    fn tokens(&self, samples: &[&D::Sample]) -> Tokens {
        let all: Vec<Vec<f32>> = samples.iter().map(|sample| self.of(sample)).collect();
        let lengths: Vec<usize> = all.iter().map(|values| values.len() / self.width).collect();
        let (values, rows) = (all.concat(), lengths.iter().sum());
        let rows = Tensor::from_data(TensorData::new(values, [rows, self.width]), &self.device);
        Tokens { rows, sets: Sets::of_lengths(&lengths), grid: None }
    }

    fn width(&self) -> usize {
        self.width
    }

    fn state(&self) -> NamedTensors {
        NamedTensors::new()
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        weights::none_left(&tensors)
    }

    fn network(&self) -> &dyn Any {
        self
    }

    fn tunable(&self) -> Option<Box<dyn Tunable<D::Sample>>> {
        Some(Box::new(self.same()))
    }
}

/// Nothing but the head learns.
impl<D: Modality> Tunable<D::Sample> for Baseline<D> {
    fn learned(&self, samples: &[&D::Sample], _: &mut Pass<'_>) -> Tokens {
        self.tokens(samples)
    }

    fn gradients(&self, _: &mut Gradients, _: &mut Take<'_>) {}

    fn change(self: Box<Self>, _: &mut Change<'_>) -> Box<dyn Tunable<D::Sample>> {
        self
    }

    fn absorb(self: Box<Self>, _: &[BatchStatistics]) -> Box<dyn Tunable<D::Sample>> {
        self
    }

    fn tuned(&self) -> Box<dyn Encode<D::Sample>> {
        Box::new(self.same())
    }
}
