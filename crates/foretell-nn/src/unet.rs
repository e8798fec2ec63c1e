//! A small U-Net (Ronneberger et al., arXiv 1505.04597) of residual blocks: maps go down in resolution and up again, and each level on the
//! way up also sees what its level was on the way down (the predictor of EB-JEPA's video example, arXiv 2602.03604).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::conv::BasicBlock;
use crate::layers::{BatchNorm, Conv, Linear, Pass};

/// Lengths of a [`UNet`]. [`UNetConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetConfig {
    /// Channels of what it is given.
    pub inputs: usize,
    /// Channels of what it says.
    pub outputs: usize,
    /// Width of each level, the finest first: it keeps the resolution, each further one halves it.
    pub widths: Vec<usize>,
    /// Standard deviation of the last layer's weights, for a network that says next to nothing at first; `None`: PyTorch's usual ones.
    pub quiet: Option<f64>,
}

impl UNetConfig {
    /// What the sides of a map must be multiples of.
    pub fn multiple(&self) -> usize {
        1 << self.widths.len().saturating_sub(1)
    }

    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> UNet {
        let mut init = Init::new(rng, device);
        let finest = self.widths[0];
        let conv1 = Conv::new(self.inputs, finest, 3, 1, &mut init);
        let bn1 = BatchNorm::new(finest, &mut init);
        let mut inputs = finest;
        let down = |(level, width): (usize, &usize)| {
            let made = BasicBlock::new(inputs, *width, if level == 0 { 1 } else { 2 }, &mut init);
            inputs = *width;
            made
        };
        let downs = self.widths.iter().enumerate().map(down).collect();
        let up = |pair: &[usize]| Up {
            widen: Conv::new(pair[1], 4 * pair[0], 1, 1, &mut init),
            block: BasicBlock::new(2 * pair[0], pair[0], 1, &mut init),
        };
        let ups = self.widths.windows(2).map(up).collect();
        let head = match self.quiet {
            Some(std) => Linear::vit(finest, self.outputs, std, &mut init),
            None => Linear::uniform(finest, self.outputs, &mut init),
        };
        UNet { conv1, bn1, downs, ups, head, config: self.clone() }
    }
}

/// From a level to the next finer one.
#[derive(Module, Debug)]
struct Up {
    /// To four places of the finer level for each: a transposed convolution of 2 × 2 and stride 2, without a bias.
    widen: Conv,
    block: BasicBlock,
}

impl Up {
    /// `coarse`: `[B, H, W, ..]`, `fine`: `[B, 2 H, 2 W, O]` → `[B, 2 H, 2 W, O]`.
    fn forward(&self, coarse: Tensor<4>, fine: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        let [b, h, w, _] = coarse.dims();
        let [_, rows, cols, o] = fine.dims();
        let four = self.widen.forward(coarse).reshape([b, h, w, 2, 2, o]);
        let spread = four.permute([0, 1, 3, 2, 4, 5]).reshape([b, rows, cols, o]);
        self.block.forward(Tensor::cat(vec![spread, fine], 3), pass)
    }
}

/// See [`UNetConfig`].
#[derive(Module, Debug)]
pub struct UNet {
    conv1: Conv,
    bn1: BatchNorm,
    downs: Vec<BasicBlock>,
    /// One for each level but the coarsest, the finest first.
    ups: Vec<Up>,
    head: Linear,
    #[module(skip)]
    config: UNetConfig,
}

impl UNet {
    /// The lengths it was made with.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// `[B, H, W, I]` → `[B, H, W, O]`; H and W are multiples of [`UNetConfig::multiple`].
    pub fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        let mut levels = vec![self.bn1.forward_relu(self.conv1.forward(x), pass)];
        for block in &self.downs {
            let below = levels[levels.len() - 1].clone();
            levels.push(block.forward(below, pass));
        }
        let mut coarse = levels.pop().expect("one level at least");
        for up in self.ups.iter().rev() {
            coarse = up.forward(coarse, levels.pop().expect("as many levels"), pass);
        }
        self.head.forward(coarse)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use foretell_ops as ops;
    use rand::SeedableRng;

    use super::*;
    use crate::parameters;

    fn map(shape: [usize; 4]) -> Tensor<4> {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i: usize| ((i * 7) % 23) as f32 / 9.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn network(widths: &[usize], quiet: Option<f64>) -> UNet {
        let config = UNetConfig { inputs: 3, outputs: 2, widths: widths.to_vec(), quiet };
        config.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex().autodiff())
    }

    #[test]
    fn maps_keep_their_size_and_every_parameter_learns() {
        for (widths, rows, cols) in [(&[4][..], 3, 5), (&[4, 6], 4, 6), (&[4, 6, 8], 8, 4)] {
            let network = network(widths, None);
            assert_eq!(network.config().multiple(), 1 << (widths.len() - 1));
            let mut seen = Vec::new();
            let said = network.forward(map([2, rows, cols, 3]), &mut Pass::Training(&mut seen));
            assert_eq!(said.dims(), [2, rows, cols, 2]);
            let mut gradients = (said.clone() * said).sum().backward();
            let (mut all, mut moved) = (0, 0);
            parameters::look(&network, &mut |_, _| all += 1);
            parameters::gradients(&network, &mut gradients, &mut |_, gradient| {
                moved += usize::from(ops::values(gradient).iter().any(|x| *x != 0.0));
            });
            // Running averages, two of each norm, are no parameters.
            assert_eq!(moved, all - 2 * seen.len(), "{widths:?}");
        }
    }

    #[test]
    fn four_places_come_of_one_in_their_order() {
        // One channel to one: the weights of the four are 1, 2, 3 and 4.
        let device = Device::flex();
        let mut init_rng = ChaCha8Rng::seed_from_u64(1);
        let mut up = Up {
            widen: Conv::new(1, 4, 1, 1, &mut Init::new(&mut init_rng, &device)),
            block: BasicBlock::new(2, 1, 1, &mut Init::new(&mut ChaCha8Rng::seed_from_u64(2), &device)),
        };
        let weight = Tensor::<4>::from_data(TensorData::new(vec![1.0_f32, 2.0, 3.0, 4.0], [4, 1, 1, 1]), &device);
        up.widen.weight = up.widen.weight.map(|_| weight.clone());
        let coarse = Tensor::<4>::from_data(TensorData::new(vec![1.0_f32, 10.0], [1, 1, 2, 1]), &device);
        let fine = Tensor::zeros([1, 2, 4, 1], &device);
        let found = up.forward(coarse, fine.clone(), &mut Pass::Evaluation);
        let spread = TensorData::new(vec![1.0_f32, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0], [1, 2, 4, 1]);
        let spread = Tensor::<4>::from_data(spread, &device);
        let expected = up.block.forward(Tensor::cat(vec![spread, fine], 3), &mut Pass::Evaluation);
        assert_eq!(ops::values(found), ops::values(expected));
    }

    #[test]
    fn a_quiet_network_says_next_to_nothing_at_first() {
        let most = |quiet| {
            let said = network(&[4, 6], quiet).forward(map([1, 4, 4, 3]), &mut Pass::Evaluation);
            ops::values(said.inner()).into_iter().fold(0.0_f32, |most, x| most.max(x.abs()))
        };
        assert!(most(Some(1e-3)) < 0.02 && most(None) > 0.2, "{} {}", most(Some(1e-3)), most(None));
    }
}
