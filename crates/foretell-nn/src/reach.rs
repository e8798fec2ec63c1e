//! How many steps lie between two latents.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand::RngExt;

use crate::Init;
use crate::layers::Linear;

/// A perceptron with two hidden layers over two latents, that says how many steps it takes from the first to the second. It is
/// no metric by construction: a way there need not be a way back.
#[derive(Module, Debug)]
pub struct Reach {
    /// `[H, D]`: of where one is.
    pub from: Linear,
    /// `[H, D]`: of where one wants to be.
    pub to: Linear,
    /// `[H, H]`.
    pub hidden: Linear,
    /// `[1, H]`.
    pub out: Linear,
}

impl Reach {
    /// Steps that one unit of the network's last number stands for, so that it is near 1 for usual ways.
    pub const UNIT: f64 = 20.0;

    /// Latents of width D, hidden layers of width H.
    pub fn new<R: RngExt>(latent: usize, hidden: usize, rng: &mut R, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self {
            from: Linear::uniform(latent, hidden, &mut init),
            to: Linear::uniform(latent, hidden, &mut init),
            hidden: Linear::uniform(hidden, hidden, &mut init),
            out: Linear::uniform(hidden, 1, &mut init),
        }
    }

    /// What [`between`](Self::between) takes of where one is: `[N, D]` → `[N, H]`.
    pub fn of_start(&self, latents: Tensor<2>) -> Tensor<2> {
        self.from.forward(latents)
    }

    /// What [`between`](Self::between) takes of where one wants to be: `[N, D]` → `[N, H]`.
    pub fn of_goal(&self, latents: Tensor<2>) -> Tensor<2> {
        self.to.forward(latents)
    }

    /// Steps from each start to its goal: two `[N, H]` → `[N, 1]`.
    pub fn between(&self, start: Tensor<2>, goal: Tensor<2>) -> Tensor<2> {
        let both = ops::relu(start + goal);
        self.out.forward(ops::relu(self.hidden.forward(both))) * Self::UNIT
    }

    /// Steps from each latent to the other, `[N, D]` and `[N, D]` or `[1, D]` → `[N, 1]`.
    pub fn steps(&self, from: Tensor<2>, to: Tensor<2>) -> Tensor<2> {
        self.between(self.of_start(from), self.of_goal(to))
    }

    /// The weights behind a latent of where one is, as [`foretell_ops::GruRollout`] takes them; the last map says steps.
    pub fn parts(&self) -> [(Tensor<2>, Tensor<1>); 3] {
        let of = |layer: &Linear, scale: f64| (layer.weight.val() * scale, layer.bias.val() * scale);
        [of(&self.from, 1.0), of(&self.hidden, 1.0), of(&self.out, Self::UNIT)]
    }
}
