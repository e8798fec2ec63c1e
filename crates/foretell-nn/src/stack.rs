//! A stack of residual networks: each level sees what the level below makes of an image, and has a representation of its own.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::conv::{BasicBlock, ResNet, ResNetConfig, mean};
use crate::encode::{FeatureMap, ImageNetwork};
use crate::layers::Pass;
use crate::mlp::{Activation, Projector};

/// What a level is given of the one below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its feature map.
    Map,
    /// The map's mean over positions.
    Pooled,
}

/// Lengths of a [`Stack`]. [`StackConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct StackConfig {
    /// The first level.
    pub first: ResNetConfig,
    /// Widths of each further level, from the bottom: of residual stages, each of which halves the resolution, on a map; of affine
    /// maps with batch normalisation between on a mean.
    pub upper: Vec<Vec<usize>>,
    /// What the further levels are given.
    pub source: Source,
}

impl StackConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Stack {
        let first = self.first.init(rng, device);
        let mut inputs = first.width();
        let mut upper = Vec::new();
        for widths in &self.upper {
            upper.push(Level::new(inputs, widths, self.first.blocks, self.source, rng, device));
            inputs = widths.last().copied().unwrap_or(inputs);
        }
        Stack { first, upper, width: inputs }
    }
}

/// A level above the first.
#[derive(Module, Debug)]
pub struct Level {
    layers: Vec<Vec<BasicBlock>>,
    /// In place of the blocks where the level is given a mean.
    mlp: Option<Projector>,
}

impl Level {
    fn new(
        inputs: usize,
        widths: &[usize],
        blocks: usize,
        source: Source,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        if source == Source::Pooled {
            let widths: Vec<usize> = [inputs].iter().chain(widths).copied().collect();
            return Self { layers: Vec::new(), mlp: Some(Projector::new(&widths, Activation::Relu, rng, device)) };
        }
        let mut init = Init::new(rng, device);
        let mut from = inputs;
        let mut stage = |width: &usize| {
            let block = |block: usize| {
                let block = BasicBlock::new(from, *width, if block == 0 { 2 } else { 1 }, &mut init);
                from = *width;
                block
            };
            (0..blocks).map(block).collect()
        };
        Self { layers: widths.iter().map(&mut stage).collect(), mlp: None }
    }

    /// `[B, H, W, D]` → `[B, H', W', D']`.
    fn forward(&self, map: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        match &self.mlp {
            Some(mlp) => {
                let pooled = mlp.forward(mean(map), pass);
                let [samples, width] = pooled.dims();
                pooled.reshape([samples, 1, 1, width])
            }
            None => self.layers.iter().flatten().fold(map, |x, block| block.forward(x, pass)),
        }
    }
}

/// See [`StackConfig`].
#[derive(Module, Debug)]
pub struct Stack {
    first: ResNet,
    upper: Vec<Level>,
    #[module(skip)]
    width: usize,
}

impl Stack {
    /// Levels, the first included.
    pub fn levels(&self) -> usize {
        1 + self.upper.len()
    }

    /// What each level makes of images `[B, C, H, W]`, from the bottom: maps `[B, H', W', D]`. Where `detached`, no level's gradient
    /// reaches the one below.
    pub fn maps(&self, images: Tensor<4>, detached: bool, pass: &mut Pass<'_>) -> Vec<Tensor<4>> {
        let mut maps = vec![self.first.forward(images, pass)];
        for level in &self.upper {
            let below = maps[maps.len() - 1].clone();
            maps.push(level.forward(if detached { below.detach() } else { below }, pass));
        }
        maps
    }

    /// One vector of each level, `[B, D]`: the means of its [`maps`](Self::maps).
    pub fn views(&self, images: Tensor<4>, detached: bool, pass: &mut Pass<'_>) -> Vec<Tensor<2>> {
        self.maps(images, detached, pass).into_iter().map(mean).collect()
    }
}

impl ImageNetwork for Stack {
    fn tokens(&self, images: Tensor<4>) -> FeatureMap {
        self.learned(images, &mut Pass::Evaluation)
    }

    /// Those of the highest level.
    fn learned(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> FeatureMap {
        let map = self.maps(images, false, pass).pop().expect("one level at least");
        let [b, h, w, d] = map.dims();
        FeatureMap { tokens: map.reshape([b, h * w, d]), grid: (h, w) }
    }

    fn width(&self) -> usize {
        self.width
    }

    fn image(&self) -> (usize, usize) {
        self.first.image()
    }

    fn channels(&self) -> usize {
        self.first.channels()
    }

    /// The mean of each level's map, side by side from the bottom.
    fn probed(&self, images: Tensor<4>) -> Tensor<2> {
        Tensor::cat(self.views(images, false, &mut Pass::Evaluation), 1)
    }
}
