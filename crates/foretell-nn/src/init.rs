//! Fresh parameters, drawn from the run's own generator.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Draws parameters, in the order of the calls, on one device.
///
/// On an autodiff device they require gradients; buffers never do.
pub struct Init<'a> {
    /// `None` where every drawn value is zero.
    rng: Option<&'a mut ChaCha8Rng>,
    device: Device,
}

impl<'a> Init<'a> {
    /// Parameters on `device` from `rng`.
    pub fn new(rng: &'a mut ChaCha8Rng, device: &Device) -> Self {
        Self { rng: Some(rng), device: device.clone() }
    }

    /// Zeros in place of every draw, for a network whose parameters are about to be read from a file: their pages are never
    /// touched, so that the file's values are all that memory holds.
    pub fn undrawn(device: &Device) -> Self {
        Self { rng: None, device: device.clone() }
    }

    /// Normal with this standard deviation, cut at two of them (the ViT convention), shape `[..]`.
    pub fn truncated_normal<const D: usize>(&mut self, shape: [usize; D], std: f64) -> Param<Tensor<D>> {
        self.drawn(shape, |rng| {
            loop {
                let z: f64 = StandardNormal.sample(rng);
                if z.abs() <= 2.0 {
                    return (z * std) as f32;
                }
            }
        })
    }

    /// Uniform in `(−bound, bound)`.
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f64) -> Param<Tensor<D>> {
        self.drawn(shape, |rng| rng.random_range(-bound..bound) as f32)
    }

    /// Normal with variance `2 / fan_in` (He et al., 2015), for layers before a ReLU.
    pub fn he<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        let std = (2.0 / fan_in.max(1) as f64).sqrt();
        self.drawn(shape, |rng| {
            let z: f64 = StandardNormal.sample(rng);
            (z * std) as f32
        })
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

    fn drawn<const D: usize>(
        &mut self,
        shape: [usize; D],
        mut draw: impl FnMut(&mut ChaCha8Rng) -> f32,
    ) -> Param<Tensor<D>> {
        let count = shape.iter().product();
        let values = match &mut self.rng {
            Some(rng) => (0..count).map(|_| draw(rng)).collect(),
            None => vec![0.0; count],
        };
        self.parameter(values, shape)
    }

    fn parameter<const D: usize>(&mut self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.device);
        let tensor = if self.device.is_autodiff() { tensor.require_grad() } else { tensor };
        Param::initialized(ParamId::new(), tensor)
    }
}
