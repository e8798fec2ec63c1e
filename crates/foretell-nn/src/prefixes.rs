//! What follows every prefix of a sequence of actions, in one pass: a causal transformer over where one is and what is done, of which
//! each token says how that latent has changed by then (Fast-LeWM, arXiv 2606.26217, after its abstract and what is known of its
//! architecture).

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{Block, LayerNorm, Linear, Mlp};
use crate::positions::codes;

/// Lengths of [`Prefixes`]. [`PrefixesConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixesConfig {
    /// Width of the latents, D; even.
    pub width: usize,
    /// Numbers in an action block, A.
    pub action: usize,
    /// Blocks of actions that it is told at most.
    pub horizon: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Their attention heads.
    pub heads: usize,
    /// Hidden width of their MLPs.
    pub hidden: usize,
    /// Maps that a latent goes through, one after the other.
    pub maps: usize,
    /// Their hidden width.
    pub map_hidden: usize,
}

impl PrefixesConfig {
    /// A fresh network, which says that nothing changes.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Prefixes {
        let Self { width, action, horizon, depth, heads, hidden, maps, map_hidden } = *self;
        let mut init = Init::new(rng, device);
        let map = |init: &mut Init<'_>| Modulated {
            mlp: Mlp { fc1: Linear::uniform(width, map_hidden, init), fc2: Linear::uniform(map_hidden, width, init) },
            modulation: Linear {
                weight: init.constant([3 * width, width], 0.0),
                bias: init.constant([3 * width], 0.0),
            },
        };
        Prefixes {
            state: Linear::uniform(width, width, &mut init),
            acts: Linear::uniform(action, width, &mut init),
            blocks: (0..depth).map(|_| Block::new(width, heads, hidden, &mut init)).collect(),
            norm: LayerNorm::new(width, 1e-6, &mut init),
            maps: (0..maps).map(|_| map(&mut init)).collect(),
            horizon,
        }
    }
}

/// A residual MLP whose shift, scale and gate come from a condition, through a map that begins as zero.
#[derive(Module, Debug)]
pub struct Modulated {
    /// D → hidden → D.
    pub mlp: Mlp,
    /// Condition → `[shift | scale | gate]`.
    pub modulation: Linear,
}

impl Modulated {
    /// `[R, D]` and a condition each, `[R, D]` → `[R, D]`.
    fn forward(&self, x: Tensor<2>, condition: Tensor<2>) -> Tensor<2> {
        let [rows, width] = x.dims();
        let modulation = self.modulation.forward(condition);
        let part = |i: usize| modulation.clone().slice([0..rows, i * width..(i + 1) * width]);
        let plain = self.modulation.bias.val().device().inner();
        let (one, none) = (Tensor::<1>::ones([width], &plain), Tensor::<1>::zeros([width], &plain));
        let normal = ops::layer_norm(x.clone(), one, none, 1e-6);
        x + part(2) * self.mlp.forward(normal * (part(1) + 1.0) + part(0))
    }
}

/// See [`PrefixesConfig`].
#[derive(Module, Debug)]
pub struct Prefixes {
    /// D → D, of where one is.
    pub state: Linear,
    /// A → D, of what is done.
    pub acts: Linear,
    /// Over both.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    /// From the latent to those that follow.
    pub maps: Vec<Modulated>,
    #[module(skip)]
    horizon: usize,
}

impl Prefixes {
    /// Blocks of actions that it is told at most.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// The latents after each prefix of the actions.
    ///
    /// # Shapes
    /// - `latents`: `[B, D]`; `actions`: `[B, h, A]`, h at most the horizon
    /// - output: `[B, h, D]`, row i after i + 1 blocks of actions
    pub fn forward(&self, latents: Tensor<2>, actions: Tensor<3>) -> Tensor<3> {
        let ([b, d], [_, h, a], device) = (latents.dims(), actions.dims(), latents.device());
        let acts = self.acts.forward(actions.reshape([b * h, a])).reshape([b, h, d]);
        let tokens = Tensor::cat(vec![self.state.forward(latents.clone()).reshape([b, 1, d]), acts], 1);
        let places: Vec<u32> = (0..=h as u32).collect();
        let codes = Tensor::<3>::from_data(TensorData::new(codes(&places, d), [1, h + 1, d]), &device);
        let sets = ops::Sets::uniform(b, h + 1).causal();
        let x = (tokens + codes).reshape([b * (h + 1), d]);
        let x = self.blocks.iter().fold(x, |x, block| block.forward_sets(x, &sets)).reshape([b, h + 1, d]);
        let said = self.norm.forward(x.narrow(1, 1, h).reshape([b * h, d]));
        let here = latents.reshape([b, 1, d]).repeat_dim(1, h).reshape([b * h, d]);
        self.maps.iter().fold(here, |x, map| map.forward(x, said.clone())).reshape([b, h, d])
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn noise<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn fresh() -> Prefixes {
        let config =
            PrefixesConfig { width: 8, action: 3, horizon: 5, depth: 2, heads: 2, hidden: 16, maps: 2, map_hidden: 12 };
        config.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex())
    }

    #[test]
    fn a_fresh_network_says_that_nothing_changes() {
        let latents = noise([2, 8], 2);
        let said = ops::values(fresh().forward(latents.clone(), noise([2, 4, 3], 3)));
        for (b, row) in ops::values(latents).chunks_exact(8).enumerate() {
            assert!(said[b * 32..][..32].chunks_exact(8).all(|said| said == row));
        }
    }

    #[test]
    fn what_follows_a_prefix_does_not_depend_on_what_is_done_behind_it() {
        let mut network = fresh();
        for (i, map) in network.maps.iter_mut().enumerate() {
            let moved = noise(map.modulation.weight.dims(), 9 + i as u64);
            map.modulation.weight = Param::initialized(map.modulation.weight.id, moved);
        }
        let (latents, actions) = (noise([2, 8], 2), noise([2, 5, 3], 3));
        let whole = network.forward(latents.clone(), actions.clone());
        for h in 1..=5 {
            let short = network.forward(latents.clone(), actions.clone().narrow(1, 0, h));
            let far = (short.clone() - whole.clone().narrow(1, 0, h)).abs().max().into_scalar::<f32>();
            assert!(far < 1e-5, "{h}: {far}");
        }
        // And it does depend on what is done in it.
        let other = Tensor::cat(vec![noise([2, 1, 3], 77), actions.narrow(1, 1, 4)], 1);
        let moved = (network.forward(latents, other) - whole).abs().max_dim(2);
        assert!(ops::values(moved).iter().all(|x| *x > 1e-4));
    }
}
