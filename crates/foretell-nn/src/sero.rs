//! The squeeze-excitation read-out of graphs (SERO; Kim, Ye and Kim, NeurIPS 2021, arXiv 2105.13495, section 4.2): the mean of a graph's
//! nodes says how much each node counts.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::sigmoid};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{BatchNorm, Linear, Pass};

/// `mean_v h_v σ(W₂ GELU(BatchNorm(W₁ mean_u h_u)))_v`
#[derive(Module, Debug)]
pub struct Sero {
    /// W₁, D → D.
    pub embed: Linear,
    /// Behind it.
    pub norm: BatchNorm,
    /// W₂, D → N.
    pub attend: Linear,
}

impl Sero {
    /// Over N nodes, D wide; PyTorch's default weights.
    pub fn new(nodes: usize, width: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self {
            embed: Linear::uniform(width, width, &mut init),
            norm: BatchNorm::new(width, &mut init),
            attend: Linear::uniform(width, nodes, &mut init),
        }
    }

    /// How much each node of each graph counts, in 0..1.
    ///
    /// # Shapes
    /// - `mean`: `[G, D]`; output: `[G, N]`
    pub fn weights(&self, mean: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        sigmoid(self.attend.forward(ops::gelu(self.norm.forward(self.embed.forward(mean), pass))))
    }

    /// `[G, N, D]` → `[G, D]`.
    pub fn forward(&self, x: Tensor<3>, pass: &mut Pass<'_>) -> Tensor<2> {
        let [graphs, nodes, _] = x.dims();
        let mean = x.clone().mean_dim(1).squeeze_dim(1);
        let weights = self.weights(mean, pass).reshape([graphs, nodes, 1]);
        (x * weights).mean_dim(1).squeeze_dim(1)
    }
}
