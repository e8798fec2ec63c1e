//! Fresh parameters, drawn from the run's own generator.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

/// Draws parameters, in the order of the calls, on one device.
///
/// On an autodiff device they require gradients; buffers never do.
pub struct Init<'a, R> {
    rng: &'a mut R,
    device: Device,
}

impl<'a, R: RngExt> Init<'a, R> {
    /// Parameters on `device` from `rng`.
    pub fn new(rng: &'a mut R, device: &Device) -> Self {
        Self { rng, device: device.clone() }
    }

    /// Normal with this standard deviation, cut at two of them (the ViT convention), shape `[..]`.
    pub fn truncated_normal<const D: usize>(&mut self, shape: [usize; D], std: f64) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            let z: f64 = StandardNormal.sample(self.rng);
            if z.abs() <= 2.0 {
                values.push((z * std) as f32);
            }
        }
        self.parameter(values, shape)
    }

    /// Uniform in `(−bound, bound)`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        let values = (0..shape.iter().product()).map(|_| self.rng.random_range(-bound..bound) as f32).collect();
        self.parameter(values, shape)
    }

    /// Normal with variance `2 / fan_in` (He et al., 2015), for layers before a ReLU.
    pub fn he<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let std = (2.0 / fan_in.max(1) as f64).sqrt();
        let draw = |_| -> f32 {
            let z: f64 = StandardNormal.sample(self.rng);
            (z * std) as f32
        };
        let values = (0..shape.iter().product()).map(draw).collect();
        self.parameter(values, shape)
    }

    /// The same value everywhere.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.parameter(vec![value; shape.iter().product()], shape)
    }

    /// Given values that never learn.
    pub fn buffer<const D: usize>(&mut self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.device);
        Param::initialized(ParamId::new(), tensor)
    }

    fn parameter<const D: usize>(&mut self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.device);
        let tensor = if self.device.is_autodiff() { tensor.require_grad() } else { tensor };
        Param::initialized(ParamId::new(), tensor)
    }
}
