//! Optical flow from a pyramid of features, coarse to fine: at each level the other frame's features are warped by what is known so far,
//! a local cost volume says how they fit around each place, and an estimator adds to the flow (PWC-Net, arXiv 1709.02371, as MC-JEPA,
//! arXiv 2307.12698, has it: layer norms in the estimator, and a bound on the flow).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::frozen::normalised;
use crate::layers::{Conv, LayerNorm};

/// Lengths of a [`FlowHead`]. [`FlowConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowConfig {
    /// Widths of the pyramid's levels, the finest first.
    pub features: Vec<usize>,
    /// The finest level that has an estimator, from 0; below it flow is upsampled.
    pub finest: usize,
    /// Widths of an estimator's convolutions.
    pub hidden: Vec<usize>,
    /// How far the cost volume reaches, in pixels of its level.
    pub radius: usize,
    /// Flow is kept within so many pixels of the frame.
    pub bound: f64,
}

/// Deviation of the weights of an estimator's last convolution: an untrained network says almost nothing moves.
const LITTLE: f64 = 2e-3;

impl FlowConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> FlowHead {
        let mut init = Init::new(rng, device);
        let mut estimator = |features: &usize| {
            let mut inputs = features + (2 * self.radius + 1).pow(2) + 2;
            let (mut convs, mut norms) = (Vec::new(), Vec::new());
            for width in &self.hidden {
                convs.push(Conv::new(inputs, *width, 3, 1, &mut init));
                norms.push(LayerNorm::new(*width, 1e-6, &mut init));
                inputs = *width;
            }
            Estimator { convs, norms, last: Conv::small(inputs, 2, 3, LITTLE, &mut init) }
        };
        FlowHead { estimators: self.features[self.finest..].iter().map(&mut estimator).collect(), config: self.clone() }
    }
}

/// What one level adds to the flow.
#[derive(Module, Debug)]
struct Estimator {
    convs: Vec<Conv>,
    norms: Vec<LayerNorm>,
    last: Conv,
}

impl Estimator {
    /// `[B, H, W, I]` → `[B, H, W, 2]`.
    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for (conv, norm) in self.convs.iter().zip(&self.norms) {
            x = ops::relu(norm.forward(conv.forward(x)));
        }
        self.last.forward(x)
    }
}

/// See [`FlowConfig`].
#[derive(Module, Debug)]
pub struct FlowHead {
    /// One for each level from the finest that has one on.
    estimators: Vec<Estimator>,
    #[module(skip)]
    config: FlowConfig,
}

impl FlowHead {
    /// The lengths it was made with.
    pub fn config(&self) -> &FlowConfig {
        &self.config
    }

    /// Where what is seen in frames of one pyramid lies in those of another: for each level, the finest first, `[B, H, W, 2]` to the
    /// right and down, in that level's pixels. `of[l]`, `to[l]`: `[B, H, W, D_l]`.
    pub fn forward(&self, of: &[Tensor<4>], to: &[Tensor<4>]) -> Vec<Tensor<4>> {
        let FlowConfig { finest, radius, bound, .. } = self.config;
        let mut flows: Vec<Tensor<4>> = Vec::new();
        for level in (0..of.len()).rev() {
            let [b, h, w, _] = of[level].dims();
            // Twice the pixels, so twice as far.
            let so_far = match flows.last() {
                Some(flow) => ops::upsample_twice(flow.clone()) * 2.0,
                None => Tensor::zeros([b, h, w, 2], &of[level].device()),
            };
            if level < finest {
                flows.push(so_far);
                continue;
            }
            // Of mean 0 and variance 1 at each place, so that their products tell how alike they are.
            let (own, other) = (normalised(of[level].clone()), normalised(to[level].clone()));
            let other = if flows.is_empty() { other } else { ops::warp(other, so_far.clone()) };
            let costs = ops::cost_volume(own.clone(), other, radius);
            let seen = Tensor::cat(vec![costs, own, so_far.clone()], 3);
            let bound = bound / f64::from(1_u32 << level);
            flows.push((so_far + self.estimators[level - finest].forward(seen)).clamp(-bound, bound));
        }
        flows.reverse();
        flows
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_fresh_network_says_that_little_moves_and_no_network_goes_beyond_its_bound() {
        let device = Device::flex();
        let map = |side: usize, width: usize, by: usize| {
            let values: Vec<f32> = (0..2 * side * side * width).map(|i| ((i * by) % 23) as f32).collect();
            Tensor::<4>::from_data(TensorData::new(values, [2, side, side, width]), &device)
        };
        let config = FlowConfig { features: vec![3, 4, 5], finest: 1, hidden: vec![6, 6], radius: 1, bound: 2.0 };
        let head = config.init(&mut ChaCha8Rng::seed_from_u64(1), &device);
        let (of, to) = ([map(8, 3, 7), map(4, 4, 5), map(2, 5, 3)], [map(8, 3, 5), map(4, 4, 3), map(2, 5, 7)]);
        let flows = head.forward(&of, &to);
        let dims: Vec<_> = flows.iter().map(Tensor::dims).collect();
        assert_eq!(dims, [[2, 8, 8, 2], [2, 4, 4, 2], [2, 2, 2, 2]]);
        let farthest =
            |flow: &Tensor<4>| ops::values(flow.clone()).into_iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert!((1e-5..0.5).contains(&farthest(&flows[0])), "{}", farthest(&flows[0]));
        // The finest level has no estimator: its flow is the next one's, twice as far.
        let expected = ops::values(ops::upsample_twice(flows[1].clone()) * 2.0);
        assert_eq!(ops::values(flows[0].clone()), expected);

        let mut wild = head;
        for estimator in &mut wild.estimators {
            estimator.last = Conv::small(6, 2, 3, 100.0, &mut Init::new(&mut ChaCha8Rng::seed_from_u64(2), &device));
        }
        let flows = wild.forward(&of, &to);
        assert_eq!([0, 1, 2].map(|level| farthest(&flows[level])), [2.0, 1.0, 0.5]);
    }
}
