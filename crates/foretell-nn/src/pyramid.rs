//! A residual network whose every resolution is of use: a pyramid of features for optical flow and, at its end, of content
//! (MC-JEPA, arXiv 2307.12698, section 3).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops::Precision;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::clip_encoder::ClipNetwork;
use crate::conv::{BasicBlock, mean};
use crate::layers::{BatchNorm, Conv, Pass};

/// Lengths of a [`Pyramid`]. [`PyramidConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct PyramidConfig {
    /// Channels of the frames.
    pub channels: usize,
    /// Width of each level, the finest first: it keeps the frame's resolution, each further one halves it.
    pub widths: Vec<usize>,
    /// Basic blocks at each level but the finest, which is a convolution.
    pub blocks: usize,
}

impl PyramidConfig {
    /// By how much the coarsest level is smaller than a frame.
    pub fn stride(&self) -> usize {
        1 << self.widths.len().saturating_sub(1)
    }

    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Pyramid {
        let mut init = Init::new(rng, device);
        let mut inputs = self.widths[0];
        let stem = Conv::new(self.channels, inputs, 3, 1, &mut init);
        let norm = BatchNorm::new(inputs, &mut init);
        let mut level = |width: &usize| {
            let block = |block: usize| {
                let made = BasicBlock::new(inputs, *width, if block == 0 { 2 } else { 1 }, &mut init);
                inputs = *width;
                made
            };
            (0..self.blocks).map(block).collect()
        };
        let levels = self.widths[1..].iter().map(&mut level).collect();
        Pyramid { stem, norm, levels, config: self.clone() }
    }
}

/// See [`PyramidConfig`].
#[derive(Module, Debug)]
pub struct Pyramid {
    stem: Conv,
    norm: BatchNorm,
    levels: Vec<Vec<BasicBlock>>,
    #[module(skip)]
    config: PyramidConfig,
}

/// Frames of a clip that a probe is given the features of, at most.
const PROBED: usize = 4;

impl Pyramid {
    /// The lengths it was made with.
    pub fn config(&self) -> &PyramidConfig {
        &self.config
    }

    /// Frames `[B, C, H, W]` → maps `[B, H', W', D]` of each level, the finest first.
    pub fn maps(&self, frames: Tensor<4>, pass: &mut Pass<'_>) -> Vec<Tensor<4>> {
        let x = frames.permute([0, 2, 3, 1]);
        let mut maps = vec![self.norm.forward_relu(self.stem.forward(x), pass)];
        for level in &self.levels {
            let below = maps[maps.len() - 1].clone();
            maps.push(level.iter().fold(below, |x, block| block.forward(x, pass)));
        }
        maps
    }

    /// The mean of the coarsest map, `[B, D]`.
    pub fn view(&self, frames: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<2> {
        mean(self.maps(frames, pass).pop().expect("one level at least"))
    }
}

impl ClipNetwork for Pyramid {
    /// The coarsest maps of all frames.
    fn tokens(&self, clips: Tensor<5>) -> Tensor<3> {
        let [b, t, c, h, w] = clips.dims();
        let map = self.maps(clips.reshape([b * t, c, h, w]), &mut Pass::Evaluation).pop().expect("one level at least");
        let [_, rows, cols, d] = map.dims();
        map.reshape([b, t * rows * cols, d])
    }

    /// The means of all levels' maps side by side, averaged over four frames spread over the clip.
    fn probed(&self, clips: Tensor<5>) -> Tensor<2> {
        let [b, t, c, h, w] = clips.dims();
        let chosen: Vec<usize> = (0..t.min(PROBED)).map(|i| (2 * i + 1) * t / (2 * t.min(PROBED))).collect();
        let frames = chosen.iter().map(|frame| clips.clone().narrow(1, *frame, 1)).collect();
        let frames = Tensor::cat(frames, 1).reshape([b * chosen.len(), c, h, w]);
        let means = self.maps(frames, &mut Pass::Evaluation).into_iter().map(mean).collect();
        let means = Tensor::cat(means, 1);
        let width = means.dims()[1];
        means.reshape([b, chosen.len(), width]).mean_dim(1).reshape([b, width])
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
