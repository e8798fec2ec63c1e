//! A small residual network (He et al., 2016) on channels-last features, torchvision's names.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::encode::{Backbone, FeatureMap, ImageNetwork};
use crate::layers::{BatchNorm, Conv, Pass};

/// Lengths of a [`ResNet`]. [`ResNetConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Height and width of the images.
    pub image: (usize, usize),
    /// Channels of the images.
    pub channels: usize,
    /// Width of each stage; the first keeps the stem's resolution, each further one halves it.
    pub widths: Vec<usize>,
    /// Basic blocks in each stage.
    pub blocks: usize,
    /// Side of the stem's kernel.
    pub stem_kernel: usize,
    /// Stride of the stem.
    pub stem_stride: usize,
}

impl ResNetConfig {
    /// Rows and columns of the last feature map.
    pub fn grid(&self) -> (usize, usize) {
        let conv = |n: usize, kernel: usize, stride: usize| (n + 2 * (kernel / 2) - kernel) / stride + 1;
        let side =
            |n: usize| (1..self.widths.len()).fold(conv(n, self.stem_kernel, self.stem_stride), |n, _| conv(n, 3, 2));
        (side(self.image.0), side(self.image.1))
    }

    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> ResNet {
        let mut init = Init::new(rng, device);
        let first = self.widths[0];
        let mut inputs = first;
        let conv1 = Conv::new(self.channels, first, self.stem_kernel, self.stem_stride, &mut init);
        let bn1 = BatchNorm::new(first, &mut init);
        let mut layers = Vec::new();
        for (stage, width) in self.widths.iter().enumerate() {
            let mut blocks = Vec::new();
            for block in 0..self.blocks {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                blocks.push(BasicBlock::new(inputs, *width, stride, &mut init));
                inputs = *width;
            }
            layers.push(blocks);
        }
        ResNet { conv1, bn1, layers, config: self.clone() }
    }
}

/// Two 3×3 convolutions and a shortcut.
#[derive(Module, Debug)]
pub struct BasicBlock {
    conv1: Conv,
    bn1: BatchNorm,
    conv2: Conv,
    bn2: BatchNorm,
    /// A 1×1 convolution where the shape changes; torchvision's `downsample.0` and `.1`.
    downsample: Option<Downsample>,
}

/// The shortcut of a block that changes the shape.
#[derive(Module, Debug)]
pub struct Downsample {
    conv: Conv,
    bn: BatchNorm,
}

impl BasicBlock {
    pub(crate) fn new(inputs: usize, outputs: usize, stride: usize, init: &mut Init<'_>) -> Self {
        let changes = stride != 1 || inputs != outputs;
        Self {
            conv1: Conv::new(inputs, outputs, 3, stride, init),
            bn1: BatchNorm::new(outputs, init),
            conv2: Conv::new(outputs, outputs, 3, 1, init),
            bn2: BatchNorm::new(outputs, init),
            downsample: changes.then(|| Downsample {
                conv: Conv::new(inputs, outputs, 1, stride, init),
                bn: BatchNorm::new(outputs, init),
            }),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        let y = self.bn1.forward_relu(self.conv1.forward(x.clone()), pass);
        let y = self.bn2.forward(self.conv2.forward(y), pass);
        let shortcut = match &self.downsample {
            Some(d) => d.bn.forward(d.conv.forward(x), pass),
            None => x,
        };
        ops::relu(y + shortcut)
    }
}

/// See [`ResNetConfig`].
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv,
    bn1: BatchNorm,
    layers: Vec<Vec<BasicBlock>>,
    #[module(skip)]
    config: ResNetConfig,
}

impl ResNet {
    /// The lengths it was made with.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// Images `[B, C, H, W]` → features `[B, H', W', D]`.
    pub fn forward(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        let stem = self.stem(images, pass);
        self.layers.iter().flatten().fold(stem, |x, block| block.forward(x, pass))
    }

    fn stem(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<4> {
        let x = images.permute([0, 2, 3, 1]);
        self.bn1.forward_relu(self.conv1.forward(x), pass)
    }
}

/// `[B, H, W, D]` → `[B, D]`.
pub(crate) fn mean(map: Tensor<4>) -> Tensor<2> {
    let [b, h, w, d] = map.dims();
    map.reshape([b, h * w, d]).mean_dim(1).squeeze_dim(1)
}

impl Backbone for ResNet {
    fn view(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<2> {
        mean(self.forward(images, pass))
    }
}

impl ImageNetwork for ResNet {
    fn tokens(&self, images: Tensor<4>) -> FeatureMap {
        self.learned(images, &mut Pass::Evaluation)
    }

    fn learned(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> FeatureMap {
        let map = self.forward(images, pass);
        let [b, h, w, d] = map.dims();
        FeatureMap { tokens: map.reshape([b, h * w, d]), grid: (h, w) }
    }

    fn width(&self) -> usize {
        self.config.widths.last().copied().unwrap_or(0)
    }

    fn image(&self) -> (usize, usize) {
        self.config.image
    }

    fn channels(&self) -> usize {
        self.config.channels
    }

    /// The mean of each stage's map, side by side: what the first stages know of texture and brightness helps a linear
    /// probe as the last blocks of a transformer do.
    fn probed(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = self.stem(images, &mut Pass::Evaluation);
        let mut means = Vec::new();
        for stage in &self.layers {
            x = stage.iter().fold(x, |x, block| block.forward(x, &mut Pass::Evaluation));
            means.push(mean(x.clone()));
        }
        Tensor::cat(means, 1)
    }
}
