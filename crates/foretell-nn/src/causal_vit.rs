//! NEPA's vision transformer (arXiv 2512.16922): causal attention over patch embeddings in raster order, QK norm, LayerScale, rotary
//! codes on patches alone. Tuned to labels, it attends in both directions.

use std::f64::consts::PI;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Init;
use crate::encode::{FeatureMap, ImageNetwork};
use crate::layers::{LayerNorm, Linear, Mlp, Pass};
use crate::vit::{PatchEmbed, Patches, patchify};

/// Which tokens a token sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// Itself and those before it.
    Causal,
    /// All.
    #[default]
    Both,
}

/// Lengths of a [`CausalVit`]. [`CausalVitConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct CausalVitConfig {
    /// Height and width of the images, multiples of `patch`.
    pub image: (usize, usize),
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Channels of the images.
    pub channels: usize,
    /// Token width D: four times a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// ε of the layer norms, those of queries and keys among them.
    pub eps: f64,
    /// A learnt token before the patches, from which the first patch is predicted.
    pub cls: bool,
    /// Queries and keys of each head are normalised.
    pub qk_norm: bool,
    /// What each residual branch is multiplied by at the start, a factor for each dimension; none where it is 0.
    pub layer_scale: f64,
    /// Standard deviation of fresh patch embeddings' weights; none: √(1 / fan-in), which keeps unit variance.
    pub patch_std: Option<f64>,
    /// What it sees as it learns.
    pub sight: Sight,
    /// What it sees once it is [tuned](ImageNetwork::to_tune).
    pub tuned: Sight,
}

/// Base of the rotary codes' angles, as released.
const THETA: f64 = 100.0;

impl CausalVitConfig {
    /// Rows and columns of patches.
    pub fn grid(&self) -> (usize, usize) {
        (self.image.0 / self.patch, self.image.1 / self.patch)
    }

    /// Tokens of an image: S, the patches and the one before them where there is one.
    pub fn tokens(&self) -> usize {
        let (rows, cols) = self.grid();
        rows * cols + usize::from(self.cls)
    }

    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> CausalVit {
        let mut init = Init::new(rng, device);
        let Self { patch, channels, width, depth, hidden, eps, .. } = *self;
        let std = self.patch_std.unwrap_or_else(|| (1.0 / (channels * patch * patch) as f64).sqrt());
        let scale = |init: &mut Init<'_>| {
            (self.layer_scale > 0.0).then(|| LayerScale { gamma: init.constant([width], self.layer_scale as f32) })
        };
        let block = |init: &mut Init<'_>| CausalBlock {
            norm1: LayerNorm::new(width, eps, init),
            attn: Maps { qkv: Linear::vit(width, 3 * width, 0.02, init), proj: Linear::vit(width, width, 0.02, init) },
            ls1: scale(init),
            norm2: LayerNorm::new(width, eps, init),
            mlp: Mlp { fc1: Linear::vit(width, hidden, 0.02, init), fc2: Linear::vit(hidden, width, 0.02, init) },
            ls2: scale(init),
        };
        CausalVit {
            patch_embed: PatchEmbed {
                proj: Patches {
                    weight: init.truncated_normal([width, channels, patch, patch], std),
                    bias: init.constant([width], 0.0),
                },
            },
            cls_token: self.cls.then(|| init.truncated_normal([1, 1, width], 0.02)),
            blocks: (0..depth).map(|_| block(&mut init)).collect(),
            norm: LayerNorm::new(width, eps, &mut init),
            config: self.clone(),
        }
    }

    /// How queries and keys of `images` images are turned: patches by where their centres lie in [−1, 1]², half of a head's pairs for the
    /// row and half for the column, pair i of them by `2π · stretch · centre · 100^(−4i / head)`; the token before them by nothing.
    ///
    /// The released code turns value i of a head together with value i + head / 2, here neighbours are turned together: the same
    /// network, but for the order in which queries and keys are written.
    fn turns(&self, images: usize, stretch: f64) -> ops::Turns {
        let ((rows, cols), head) = (self.grid(), self.width / self.heads);
        let (mut cos, mut sin) = (vec![1.0; head], vec![0.0; head]);
        let centre = |at: usize, of: usize| stretch * (2.0 * (at as f64 + 0.5) / of as f64 - 1.0);
        let waves: Vec<f64> = (0..head / 4).map(|i| THETA.powf(-4.0 * i as f64 / head as f64)).collect();
        for place in 0..rows * cols {
            for centre in [centre(place / cols, rows), centre(place % cols, cols)] {
                for wave in &waves {
                    let (s, c) = (2.0 * PI * centre * wave).sin_cos();
                    cos.extend([c as f32; 2]);
                    sin.extend([s as f32; 2]);
                }
            }
        }
        let first = u32::from(!self.cls);
        let at = (0..images).flat_map(|_| first..(rows * cols) as u32 + 1).collect();
        ops::Turns::new(cos, sin, head, at)
    }
}

/// A factor for each dimension, which learns (Touvron et al., 2021, arXiv 2103.17239).
#[derive(Module, Debug)]
pub struct LayerScale {
    /// `[D]`.
    pub gamma: Param<Tensor<1>>,
}

/// The maps around attention.
#[derive(Module, Debug)]
pub struct Maps {
    /// D → 3 D, rows `[q; k; v]`.
    pub qkv: Linear,
    /// D → D.
    pub proj: Linear,
}

/// A pre-norm transformer block whose branches are scaled.
#[derive(Module, Debug)]
pub struct CausalBlock {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: Maps,
    /// Behind it.
    pub ls1: Option<LayerScale>,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// The MLP.
    pub mlp: Mlp,
    /// Behind it.
    pub ls2: Option<LayerScale>,
}

/// A map whose output is scaled is a map: `γ ⊙ (W x + b) = (γ ⊙ W) x + γ ⊙ b`. So that a whole block is one operation.
fn scaled(map: &Linear, scale: Option<&LayerScale>) -> (Tensor<2>, Tensor<1>) {
    let (weight, bias) = (map.weight.val(), map.bias.val());
    match scale {
        Some(LayerScale { gamma }) => (weight * gamma.val().unsqueeze_dim::<2>(1), bias * gamma.val()),
        None => (weight, bias),
    }
}

impl CausalBlock {
    /// `[T, D]` → `[T, D]`.
    fn forward(&self, x: Tensor<2>, sets: &ops::Sets, turns: &ops::Turns, config: &CausalVitConfig) -> Tensor<2> {
        let of = |map: &Linear| (map.weight.val(), map.bias.val());
        let norm = |norm: &LayerNorm| (norm.weight.val(), norm.bias.val());
        let weights = ops::BlockWeights {
            norm1: norm(&self.norm1),
            qkv: of(&self.attn.qkv),
            proj: scaled(&self.attn.proj, self.ls1.as_ref()),
            norm2: norm(&self.norm2),
            fc1: of(&self.mlp.fc1),
            fc2: scaled(&self.mlp.fc2, self.ls2.as_ref()),
            packed: None,
        };
        let CausalVitConfig { heads, eps, qk_norm, .. } = *config;
        ops::normed_block(x, sets, Some(turns), weights, heads, eps, qk_norm.then_some(eps))
    }
}

/// See [`CausalVitConfig`].
#[derive(Module, Debug)]
pub struct CausalVit {
    /// Patches to embeddings: what is predicted, and what predicts.
    pub patch_embed: PatchEmbed,
    /// `[1, 1, D]`, before the patches.
    pub cls_token: Option<Param<Tensor<3>>>,
    /// The transformer.
    pub blocks: Vec<CausalBlock>,
    /// After the last block.
    pub norm: LayerNorm,
    #[module(skip)]
    config: CausalVitConfig,
}

impl CausalVit {
    /// The lengths it was made with.
    pub fn config(&self) -> &CausalVitConfig {
        &self.config
    }

    /// What the blocks are given. `patches`: `[B, N, C·p·p]` → `[B, S, D]`, the learnt token first where there is one.
    pub fn embed(&self, patches: Tensor<3>) -> Tensor<3> {
        let weight = self.patch_embed.proj.weight.val();
        let [width, c, p, _] = weight.dims();
        let patches = ops::linear(patches, weight.reshape([width, c * p * p]), self.patch_embed.proj.bias.val());
        match &self.cls_token {
            Some(token) => Tensor::cat(vec![token.val().repeat_dim(0, patches.dims()[0]), patches], 1),
            None => patches,
        }
    }

    /// What the blocks and the last norm make of embeddings, `[B, S, D]` → `[B, S, D]`: with causal sight, token i is a function of the
    /// embeddings up to i. The places of patches are `stretch` times as far from the middle as they are.
    pub fn hidden(&self, embeddings: Tensor<3>, stretch: f64) -> Tensor<3> {
        let [b, s, d] = embeddings.dims();
        let turns = self.config.turns(b, stretch);
        let sets = ops::Sets::uniform(b, s);
        let sets = if self.config.sight == Sight::Causal { sets.causal() } else { sets };
        let x = embeddings.reshape([b * s, d]);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x, &sets, &turns, &self.config));
        self.norm.forward(x).reshape([b, s, d])
    }

    /// The patches' hidden tokens, `[B, N, D]`.
    fn patches(&self, images: Tensor<4>) -> FeatureMap {
        let hidden = self.hidden(self.embed(patchify(images, self.config.patch)), 1.0);
        let [b, s, d] = hidden.dims();
        FeatureMap { tokens: hidden.slice([0..b, usize::from(self.config.cls)..s, 0..d]), grid: self.config.grid() }
    }
}

impl ImageNetwork for CausalVit {
    fn tokens(&self, images: Tensor<4>) -> FeatureMap {
        ops::together(&images.device(), || self.patches(images.clone()))
    }

    fn learned(&self, images: Tensor<4>, _: &mut Pass<'_>) -> FeatureMap {
        self.patches(images)
    }

    fn to_tune(mut self) -> Self {
        self.config.sight = self.config.tuned;
        self
    }

    fn width(&self) -> usize {
        self.config.width
    }

    fn image(&self) -> (usize, usize) {
        self.config.image
    }

    fn channels(&self) -> usize {
        self.config.channels
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::parameters::change;

    const CONFIG: CausalVitConfig = CausalVitConfig {
        image: (8, 12),
        patch: 4,
        channels: 1,
        width: 16,
        depth: 2,
        heads: 2,
        hidden: 24,
        eps: 1e-6,
        cls: true,
        qk_norm: true,
        layer_scale: 1e-5,
        patch_std: None,
        sight: Sight::Causal,
        tuned: Sight::Both,
    };

    fn noise<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// One whose every parameter has moved, so that branches that begin as next to nothing say something.
    fn trained(config: &CausalVitConfig) -> CausalVit {
        trained_on(config, &Device::flex())
    }

    fn trained_on(config: &CausalVitConfig, device: &Device) -> CausalVit {
        let mut seed = 10;
        let fresh = config.init(&mut ChaCha8Rng::seed_from_u64(1), device);
        change(fresh, &mut |_, old| {
            seed += 1;
            let moved = noise([old.dims()[0]], seed);
            old + moved * 0.5
        })
    }

    #[test]
    fn a_fresh_network_says_what_it_was_given() {
        let network = CONFIG.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex());
        let embeddings = network.embed(noise([2, 6, 16], 2));
        let said = ops::values(network.hidden(embeddings.clone(), 1.0));
        let normed = ops::values(network.norm.forward(embeddings));
        assert!(said.iter().zip(&normed).all(|(a, b)| (a - b).abs() < 1e-3));
    }

    #[test]
    fn what_comes_later_changes_nothing_before() {
        for cls in [true, false] {
            let network = trained(&CausalVitConfig { cls, ..CONFIG });
            let patches = noise([2, 6, 16], 2);
            let of = |network: &CausalVit, patches: Tensor<3>| ops::values(network.hidden(network.embed(patches), 1.0));
            let before = of(&network, patches.clone());
            // Patch 3 of the first image.
            let other = patches.clone().slice_assign([0..1, 3..4, 0..16], noise([1, 1, 16], 4));
            let after = of(&network, other.clone());
            let (s, changed) = (6 + usize::from(cls), 3 + usize::from(cls));
            assert_eq!(before[..changed * 16], after[..changed * 16], "what stands before it");
            assert_eq!(before[s * 16..], after[s * 16..], "the other image");
            for token in changed..s {
                assert_ne!(before[token * 16..][..16], after[token * 16..][..16], "token {token}");
            }
            // Tuned, every token sees every other.
            let tuned = network.to_tune();
            let (before, after) = (of(&tuned, patches), of(&tuned, other));
            assert!((0..s).all(|token| before[token * 16..][..16] != after[token * 16..][..16]));
        }
    }

    #[test]
    fn patches_are_turned_by_their_centres_and_the_first_token_is_not() {
        // Two rows of three; a head of 8 has two waves for the row and two for the column.
        let turns = CONFIG.turns(2, 2.0);
        assert_eq!((turns.rows(), turns.head()), (14, 8));
        let qkv = Tensor::<2>::from_data(TensorData::new([1.0_f32, 0.0].repeat(14 * 24), [14, 48]), &Device::flex());
        let turned = ops::values(ops::turn(qkv, &turns));
        assert_eq!(turned[..16], [1.0, 0.0].repeat(8), "the token before the patches");
        // The last patch of the second image: row 1 of 2 at 0.5, column 2 of 3 at 2/3, both twice as far.
        let angles = [1.0, 1.0 / 10.0, 4.0 / 3.0, 4.0 / 30.0].map(|centre: f64| 2.0 * PI * centre);
        let expected = angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]);
        for (got, expected) in turned[13 * 48..].iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-6, "{got} {expected}");
        }
    }

    #[test]
    fn every_setting_of_the_network_matters() {
        let patches = noise([1, 6, 16], 2);
        let of = |config: &CausalVitConfig, stretch: f64| {
            let network = trained(config);
            ops::values(network.hidden(network.embed(patches.clone()), stretch))
        };
        let said = of(&CONFIG, 1.0);
        assert_ne!(said, of(&CausalVitConfig { qk_norm: false, ..CONFIG }, 1.0));
        assert_ne!(said, of(&CausalVitConfig { sight: Sight::Both, ..CONFIG }, 1.0));
        assert_ne!(said, of(&CausalVitConfig { layer_scale: 0.5, ..CONFIG }, 1.0));
        assert_ne!(said, of(&CONFIG, 2.0));
        let fresh = |patch_std| {
            let config = CausalVitConfig { patch_std, ..CONFIG };
            ops::values(config.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex()).patch_embed.proj.weight.val())
        };
        let spread = |values: Vec<f32>| (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt();
        assert!((spread(fresh(None)) - 0.22).abs() < 0.03 && spread(fresh(Some(0.02))) < 0.02);
    }

    /// `γ ⊙ (W x + b)`, and the gradient of γ, which the folded map must not lose.
    #[test]
    fn a_scaled_map_is_the_map_scaled() {
        let device = Device::flex().autodiff();
        let network = trained_on(&CONFIG, &device);
        let (map, scale) = (&network.blocks[0].attn.proj, network.blocks[0].ls1.as_ref().unwrap());
        let x = Tensor::<2>::from_data(noise([3, 16], 5).into_data(), &device);
        let (weight, bias) = scaled(map, Some(scale));
        let folded = ops::linear(x.clone(), weight, bias);
        let plain = map.forward(x) * scale.gamma.val().unsqueeze::<2>();
        let gradient =
            |y: &Tensor<2>| ops::values(scale.gamma.val().grad(&y.clone().square().sum().backward()).unwrap());
        for (a, b) in [
            (ops::values(folded.clone().inner()), ops::values(plain.clone().inner())),
            (gradient(&folded), gradient(&plain)),
        ] {
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4 * b.abs().max(1.0)), "{a:?} {b:?}");
        }
    }
}
