//! Affine maps with a non-linearity between; with batch normalisation the projector of joint-embedding methods.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{BatchNorm, Linear, Pass};

/// `Linear → ReLU`, repeated, then a last `Linear`.
#[derive(Module, Debug)]
pub struct Perceptron {
    /// The affine maps.
    pub layers: Vec<Linear>,
}

impl Perceptron {
    /// `widths`: input, hidden …, output; at least two.
    pub fn new(widths: &[usize], rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self { layers: widths.windows(2).map(|w| Linear::uniform(w[0], w[1], &mut init)).collect() }
    }

    /// `[B, D]` → `[B, K]`.
    pub fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(if i > 0 { ops::relu(x) } else { x });
        }
        x
    }
}

/// What stands behind a batch norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// VICReg's, Barlow Twins', LeJEPA's.
    Relu,
    /// LeWorldModel's.
    Gelu,
}

/// `Linear → BatchNorm → activation`, repeated, then a last `Linear`.
#[derive(Module, Debug)]
pub struct Projector {
    /// The affine maps.
    pub layers: Vec<Linear>,
    /// One for each map but the last.
    pub norms: Vec<BatchNorm>,
    #[module(skip)]
    activation: Activation,
}

impl Projector {
    /// `widths`: input, hidden …, output; at least two.
    pub fn new(widths: &[usize], activation: Activation, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        let layers: Vec<_> = widths.windows(2).map(|w| Linear::uniform(w[0], w[1], &mut init)).collect();
        let norms = widths[1..widths.len() - 1].iter().map(|w| BatchNorm::new(*w, &mut init)).collect();
        Self { layers, norms, activation }
    }

    /// `[B, D]` → `[B, K]`.
    pub fn forward(&self, mut x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x);
            if let Some(norm) = self.norms.get(i) {
                x = match self.activation {
                    Activation::Relu => norm.forward_relu(x, pass),
                    Activation::Gelu => ops::gelu(norm.forward(x, pass)),
                };
            }
        }
        x
    }
}
