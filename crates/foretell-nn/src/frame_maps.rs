//! A small residual network that gives a map of each frame of a clip for itself: what stands where, not yet what moves (the encoder of
//! EB-JEPA's video example, arXiv 2602.03604: a stem and three basic blocks, at the frame's own resolution as released).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops::Precision;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::clip_encoder::ClipNetwork;
use crate::conv::{BasicBlock, mean};
use crate::layers::{BatchNorm, Conv, Pass};

/// Lengths of a [`FrameMaps`]. [`FrameMapsConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameMapsConfig {
    /// Channels of the frames.
    pub channels: usize,
    /// Width of the stem and of each block; the last one is the maps', D.
    pub widths: Vec<usize>,
    /// Strides of the same.
    pub strides: Vec<usize>,
}

impl FrameMapsConfig {
    /// By how much a map is smaller than its frame.
    pub fn stride(&self) -> usize {
        self.strides.iter().product()
    }

    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> FrameMaps {
        let mut init = Init::new(rng, device);
        let mut inputs = self.widths[0];
        let conv1 = Conv::new(self.channels, inputs, 3, self.strides[0], &mut init);
        let bn1 = BatchNorm::new(inputs, &mut init);
        let block = |(width, stride): (&usize, &usize)| {
            let made = BasicBlock::new(inputs, *width, *stride, &mut init);
            inputs = *width;
            made
        };
        let blocks = self.widths.iter().zip(&self.strides).skip(1).map(block).collect();
        FrameMaps { conv1, bn1, blocks, config: self.clone() }
    }
}

/// See [`FrameMapsConfig`].
#[derive(Module, Debug)]
pub struct FrameMaps {
    conv1: Conv,
    bn1: BatchNorm,
    blocks: Vec<BasicBlock>,
    #[module(skip)]
    config: FrameMapsConfig,
}

/// Frames of a clip that a probe is given the features of, at most.
const PROBED: usize = 4;

impl FrameMaps {
    /// The lengths it was made with.
    pub fn config(&self) -> &FrameMapsConfig {
        &self.config
    }

    /// Frames `[B, C, H, W]` → maps `[B, H', W', D]`.
    pub fn maps(&self, frames: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        self.stages(frames, pass).pop().expect("a stem")
    }

    /// What stands behind the stem and behind each block, `[B, H', W', W_i]`.
    fn stages(&self, frames: Tensor<4>, pass: &mut Pass<'_>) -> Vec<Tensor<4>> {
        let x = frames.permute([0, 2, 3, 1]);
        let mut stages = vec![self.bn1.forward_relu(self.conv1.forward(x), pass)];
        for block in &self.blocks {
            let below = stages[stages.len() - 1].clone();
            stages.push(block.forward(below, pass));
        }
        stages
    }
}

impl ClipNetwork for FrameMaps {
    /// The maps of all frames.
    fn tokens(&self, clips: Tensor<5>) -> Tensor<3> {
        let [b, t, c, h, w] = clips.dims();
        let map = self.maps(clips.reshape([b * t, c, h, w]), &mut Pass::Evaluation);
        let [_, rows, cols, d] = map.dims();
        map.reshape([b, t * rows * cols, d])
    }

    /// The means behind the stem and each block side by side, averaged over four frames spread over the clip.
    fn probed(&self, clips: Tensor<5>) -> Tensor<2> {
        let [b, t, c, h, w] = clips.dims();
        let count = t.min(PROBED);
        let chosen: Vec<_> = (0..count).map(|i| clips.clone().narrow(1, (2 * i + 1) * t / (2 * count), 1)).collect();
        let frames = Tensor::cat(chosen, 1).reshape([b * count, c, h, w]);
        let means = Tensor::cat(self.stages(frames, &mut Pass::Evaluation).into_iter().map(mean).collect(), 1);
        let width = means.dims()[1];
        means.reshape([b, count, width]).mean_dim(1).reshape([b, width])
    }

    fn width(&self) -> usize {
        self.config.widths.last().copied().unwrap_or(0)
    }

    fn channels(&self) -> usize {
        self.config.channels
    }

    fn patch(&self) -> usize {
        self.config.stride()
    }

    fn tubelet(&self) -> usize {
        1
    }

    fn prepare(&mut self, precision: Precision) -> bool {
        precision == Precision::F32
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use foretell_ops as ops;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn each_frame_has_a_map_of_its_own() {
        let device = Device::flex();
        let config = FrameMapsConfig { channels: 2, widths: vec![4, 6, 5], strides: vec![2, 1, 2] };
        let network = config.init(&mut ChaCha8Rng::seed_from_u64(1), &device);
        let clip = |by: usize| {
            let values: Vec<f32> = (0..3 * 2 * 64).map(|i| ((i * (7 + by * (i / 128))) % 23) as f32 / 9.0).collect();
            Tensor::<5>::from_data(TensorData::new(values, [1, 3, 2, 8, 8]), &device)
        };
        let tokens = |by| network.tokens(clip(by));
        assert_eq!((tokens(1).dims(), config.stride(), network.patch()), ([1, 3 * 2 * 2, 5], 4, 4));
        // The two clips share their first frame alone.
        let (one, other) = (ops::values(tokens(1)), ops::values(tokens(2)));
        assert!(one[..20] == other[..20] && one[20..] != other[20..]);
        assert_eq!(network.probed(clip(1)).dims(), [1, 4 + 6 + 5]);
    }
}
