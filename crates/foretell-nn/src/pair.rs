//! What two latents say together.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::Linear;

/// A perceptron with two hidden layers over two latents: how many steps it takes from the first to the second, or what to do at
/// the first to get to the second. It is symmetric in nothing: a way there need not be a way back.
#[derive(Module, Debug)]
pub struct Pair {
    /// `[H, D]`: of where one is.
    pub from: Linear,
    /// `[H, D]`: of where one wants to be.
    pub to: Linear,
    /// `[H, H]`.
    pub hidden: Linear,
    /// `[O, H]`.
    pub out: Linear,
}

impl Pair {
    /// Latents of width D, hidden layers of width H, and O numbers that are said.
    pub fn new(latent: usize, hidden: usize, said: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self {
            from: Linear::uniform(latent, hidden, &mut init),
            to: Linear::uniform(latent, hidden, &mut init),
            hidden: Linear::uniform(hidden, hidden, &mut init),
            out: Linear::uniform(hidden, said, &mut init),
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

    /// Of each start and its goal: two `[N, H]` → `[N, O]`.
    pub fn between(&self, start: Tensor<2>, goal: Tensor<2>) -> Tensor<2> {
        let both = ops::relu(start + goal);
        self.out.forward(ops::relu(self.hidden.forward(both)))
    }

    /// Of each latent and the other, `[N, D]` and `[N, D]` or `[1, D]` → `[N, O]`.
    pub fn forward(&self, from: Tensor<2>, to: Tensor<2>) -> Tensor<2> {
        self.between(self.of_start(from), self.of_goal(to))
    }

    /// The weights behind a latent of where one is, as [`foretell_ops::GruRollout`] takes them, with the last map in this unit.
    pub fn parts(&self, unit: f64) -> [(Tensor<2>, Tensor<1>); 3] {
        let of = |layer: &Linear, scale: f64| (layer.weight.val() * scale, layer.bias.val() * scale);
        [of(&self.from, 1.0), of(&self.hidden, 1.0), of(&self.out, unit)]
    }
}
