//! LeWorldModel's predictor (arXiv 2603.19312): a causal transformer over a short history of latents, each conditioned on the
//! action taken there through AdaLN-zero (Peebles and Xie, 2023).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Init;
use crate::layers::{LayerNorm, Linear, Mlp, Pass};
use crate::mlp::{Activation, Projector};

/// What a predictor's output says of the next latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Foretells {
    /// The latent itself, as released.
    Latent,
    /// Its change from the one before; a fresh predictor says that there is none. What moves slowly is then foretold from the
    /// start, where the other has to learn to copy first.
    Change,
}

/// Lengths of a [`CausalPredictor`]. [`CausalConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct CausalConfig {
    /// Width of the latents, D.
    pub width: usize,
    /// Numbers in an action block, A.
    pub action: usize,
    /// Width to which an action block is brought before its MLP.
    pub action_width: usize,
    /// Latents that it sees at most.
    pub history: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a head; heads and head need not make D together.
    pub head: usize,
    /// Hidden width of the blocks' MLPs.
    pub hidden: usize,
    /// Hidden width of the projector behind the blocks.
    pub projector: usize,
    /// What its output says.
    pub foretells: Foretells,
}

impl CausalConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> CausalPredictor {
        let Self { width, action, action_width, history, depth, heads, head, hidden, projector, foretells } = *self;
        let mut init = Init::new(rng, device);
        let action_encoder = ActionEncoder {
            reduce: Linear::uniform(action, action_width, &mut init),
            mlp: Mlp {
                fc1: Linear::uniform(action_width, 4 * width, &mut init),
                fc2: Linear::uniform(4 * width, width, &mut init),
            },
        };
        let block = |_| AdaBlock {
            qkv: Linear::uniform(width, 3 * heads * head, &mut init),
            proj: Linear::uniform(heads * head, width, &mut init),
            mlp: Mlp { fc1: Linear::uniform(width, hidden, &mut init), fc2: Linear::uniform(hidden, width, &mut init) },
            modulation: Linear {
                weight: init.constant([6 * width, width], 0.0),
                bias: init.constant([6 * width], 0.0),
            },
            heads,
        };
        let blocks = (0..depth).map(block).collect();
        let pos_embed = init.truncated_normal([history, width], 0.02);
        let norm = LayerNorm::new(width, 1e-5, &mut init);
        let mut projector = Projector::new(&[width, projector, width], Activation::Gelu, rng, device);
        if foretells == Foretells::Change {
            let mut init = Init::new(rng, device);
            let last = projector.layers.last_mut().expect("a projector has layers");
            last.weight = init.constant(last.weight.dims(), 0.0);
            last.bias = init.constant([width], 0.0);
        }
        CausalPredictor { action_encoder, pos_embed, blocks, norm, projector, foretells }
    }
}

/// An action block to a condition: an affine map of the block, then an MLP with SiLU.
#[derive(Module, Debug)]
pub struct ActionEncoder {
    /// A → its own width.
    pub reduce: Linear,
    /// To 4 D and to D.
    pub mlp: Mlp,
}

impl ActionEncoder {
    /// `[R, A]` → `[R, D]`.
    pub fn forward(&self, actions: Tensor<2>) -> Tensor<2> {
        self.mlp.fc2.forward(ops::silu(self.mlp.fc1.forward(self.reduce.forward(actions))))
    }
}

/// A transformer block whose norms have no weights of their own: shift, scale and gate of each half come from the
/// condition, through a map that begins as zero, so that a fresh block changes nothing.
#[derive(Module, Debug)]
pub struct AdaBlock {
    /// D → queries, keys and values.
    pub qkv: Linear,
    /// Heads → D.
    pub proj: Linear,
    /// D → hidden → D.
    pub mlp: Mlp,
    /// Condition → `[shift₁ | scale₁ | gate₁ | shift₂ | scale₂ | gate₂]`.
    pub modulation: Linear,
    heads: usize,
}

impl AdaBlock {
    /// Rows `[R, D]` of sets of `sets`, and what the [condition](ActionEncoder) makes after SiLU, `[R, D]` → `[R, D]`.
    pub fn forward(&self, x: Tensor<2>, condition: Tensor<2>, sets: &ops::Sets) -> Tensor<2> {
        let [rows, width] = x.dims();
        let modulation = self.modulation.forward(condition);
        let part = |i: usize| modulation.clone().slice([0..rows, i * width..(i + 1) * width]);
        let plain = self.proj.bias.val().device().inner();
        let (one, none) = (Tensor::<1>::ones([width], &plain), Tensor::<1>::zeros([width], &plain));
        let modulated = |x: Tensor<2>, first: usize| {
            let normal = ops::layer_norm(x, one.clone(), none.clone(), 1e-6);
            normal * (part(first + 1) + 1.0) + part(first)
        };
        let attended = ops::attention(self.qkv.forward(modulated(x.clone(), 0)), sets, self.heads);
        let x = x + part(2) * self.proj.forward(attended);
        let hidden = ops::gelu(self.mlp.fc1.forward(modulated(x.clone(), 3)));
        x + part(5) * self.mlp.fc2.forward(hidden)
    }
}

/// See [`CausalConfig`].
#[derive(Module, Debug)]
pub struct CausalPredictor {
    /// Action blocks to conditions.
    pub action_encoder: ActionEncoder,
    /// `[history, D]`, learnt.
    pub pos_embed: Param<Tensor<2>>,
    /// The transformer.
    pub blocks: Vec<AdaBlock>,
    /// After the last block.
    pub norm: LayerNorm,
    /// Behind it, as behind the encoder: batch norm is the last norm.
    pub projector: Projector,
    #[module(skip)]
    foretells: Foretells,
}

impl CausalPredictor {
    /// Latents that it sees at most.
    pub fn history(&self) -> usize {
        self.pos_embed.dims()[0]
    }

    /// Numbers in an action block.
    pub fn action(&self) -> usize {
        self.action_encoder.reduce.weight.dims()[1]
    }

    /// The latent after each latent and its action, seeing only what came before.
    ///
    /// # Shapes
    /// - `latents`: `[B, h, D]`, h at most the history; `actions`: `[B·h, A]`, likewise ordered
    /// - output: `[B·h, D]`, row `b·h + i` the prediction of what follows latent i
    pub fn forward(&self, latents: Tensor<3>, actions: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let [b, h, width] = latents.dims();
        let x = self.through_blocks(latents.clone(), actions);
        self.out(x, latents.reshape([b * h, width]), pass)
    }

    /// In evaluation mode, what follows the last latent alone: `[B, D]`. Inputs as in [`forward`](Self::forward).
    pub fn next(&self, latents: Tensor<3>, actions: Tensor<2>) -> Tensor<2> {
        let [b, h, width] = latents.dims();
        let last = |rows: Tensor<3>| rows.narrow(1, h - 1, 1).reshape([b, width]);
        let x = self.through_blocks(latents.clone(), actions).reshape([b, h, width]);
        self.out(last(x), last(latents), &mut Pass::Evaluation)
    }

    /// What the blocks gave and the latents that they were given, `[R, D]` each → the latents after those.
    fn out(&self, x: Tensor<2>, before: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let said = self.projector.forward(self.norm.forward(x), pass);
        match self.foretells {
            Foretells::Latent => said,
            Foretells::Change => before + said,
        }
    }

    /// `[B·h, D]`.
    fn through_blocks(&self, latents: Tensor<3>, actions: Tensor<2>) -> Tensor<2> {
        let [b, h, width] = latents.dims();
        let sets = ops::Sets::uniform(b, h).causal();
        let condition = ops::silu(self.action_encoder.forward(actions));
        let positions = self.pos_embed.val().slice([0..h, 0..width]).unsqueeze::<3>();
        let x = (latents + positions).reshape([b * h, width]);
        self.blocks.iter().fold(x, |x, block| block.forward(x, condition.clone(), &sets))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CONFIG: CausalConfig = CausalConfig {
        width: 8,
        action: 3,
        action_width: 5,
        history: 3,
        depth: 2,
        heads: 2,
        head: 6,
        hidden: 16,
        projector: 12,
        foretells: Foretells::Latent,
    };

    fn noise<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn predictor_of_latents() -> CausalPredictor {
        CONFIG.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex())
    }

    /// One whose blocks do something.
    fn trained() -> CausalPredictor {
        let mut predictor = predictor_of_latents();
        for (i, block) in predictor.blocks.iter_mut().enumerate() {
            let weight = block.modulation.weight.val();
            let moved = noise(weight.dims(), 9 + i as u64);
            block.modulation.weight = Param::initialized(block.modulation.weight.id, moved);
        }
        predictor
    }

    #[test]
    fn a_fresh_block_changes_nothing() {
        let (x, condition) = (noise([6, 8], 2), noise([6, 8], 3));
        let sets = ops::Sets::uniform(2, 3).causal();
        let of = |block: &AdaBlock| ops::values(block.forward(x.clone(), condition.clone(), &sets));
        assert_eq!(of(&predictor_of_latents().blocks[0]), ops::values(x.clone()));
        assert_ne!(of(&trained().blocks[0]), ops::values(x.clone()));
    }

    #[test]
    fn a_fresh_predictor_of_changes_foretells_none() {
        let config = CausalConfig { foretells: Foretells::Change, ..CONFIG };
        let predictor = config.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex());
        let (latents, actions) = (noise([2, 3, 8], 2), noise([6, 3], 3));
        let same = predictor.forward(latents.clone(), actions.clone(), &mut Pass::Evaluation);
        assert_eq!(ops::values(same), ops::values(latents.clone()));
        let last = ops::values(latents.clone().narrow(1, 2, 1));
        assert_eq!(ops::values(predictor.next(latents.clone(), actions.clone())), last);
        let other = predictor_of_latents().forward(latents.clone(), actions, &mut Pass::Evaluation);
        assert_ne!(ops::values(other), ops::values(latents));
    }

    #[test]
    fn what_comes_later_changes_nothing_before() {
        let predictor = trained();
        let of = |latents: Tensor<3>, actions: Tensor<2>| {
            ops::values(predictor.forward(latents, actions, &mut Pass::Evaluation))
        };
        let (latents, actions) = (noise([2, 3, 8], 2), noise([6, 3], 3));
        let before = of(latents.clone(), actions.clone());
        // The last latent and the last action of the first sample.
        let later = latents.slice_assign([0..1, 2..3, 0..8], noise([1, 1, 8], 4));
        let acted = actions.slice_assign([2..3, 0..3], noise([1, 3], 5));
        let after = of(later, acted);
        assert_eq!((&before[..16], &before[24..]), (&after[..16], &after[24..]));
        assert_ne!(before[16..24], after[16..24]);
    }

    #[test]
    fn a_shorter_history_is_the_beginning_of_a_longer_one() {
        let predictor = trained();
        let (latents, actions) = (noise([1, 3, 8], 2), noise([3, 3], 3));
        let long = ops::values(predictor.forward(latents.clone(), actions.clone(), &mut Pass::Evaluation));
        let (latents, actions) = (latents.slice([0..1, 0..2, 0..8]), actions.slice([0..2, 0..3]));
        let short = ops::values(predictor.forward(latents, actions, &mut Pass::Evaluation));
        assert!(long.iter().zip(&short).all(|(a, b)| (a - b).abs() < 1e-6), "{long:?} {short:?}");
    }
}
