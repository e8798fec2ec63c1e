//! A gated recurrent unit, PyTorch's names and layout.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;

/// One layer: the state after an input.
#[derive(Module, Debug)]
pub struct Gru {
    /// `[3 H, I]`, rows `[r; z; n]`.
    pub weight_ih: Param<Tensor<2>>,
    /// `[3 H, H]`.
    pub weight_hh: Param<Tensor<2>>,
    /// `[3 H]`.
    pub bias_ih: Param<Tensor<1>>,
    /// `[3 H]`.
    pub bias_hh: Param<Tensor<1>>,
}

impl Gru {
    /// Weights and biases uniform in ±1/√H (PyTorch's default).
    pub fn new(inputs: usize, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        let bound = 1.0 / (width.max(1) as f64).sqrt();
        Self {
            weight_ih: init.uniform([3 * width, inputs], bound),
            weight_hh: init.uniform([3 * width, width], bound),
            bias_ih: init.uniform([3 * width], bound),
            bias_hh: init.uniform([3 * width], bound),
        }
    }

    /// Input `[B, I]` and state `[B, H]` → the next state `[B, H]`.
    pub fn forward(&self, input: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
        let of_input = (self.weight_ih.val(), self.bias_ih.val());
        ops::gru_cell(input, state, of_input, (self.weight_hh.val(), self.bias_hh.val()))
    }
}
