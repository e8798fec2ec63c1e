//! I-JEPA's predictor: a narrow transformer that is told, by position, which tokens to predict.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::clip_vit::{blocks_parameters, product};
use crate::conditioner::Conditioner;
use crate::layers::{Block, LayerNorm, Linear};
use crate::{Init, positions};

/// Lengths of a [`Predictor`]. [`PredictorConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictorConfig {
    /// Rows and columns of tokens.
    pub grid: (usize, usize),
    /// The encoder's width D.
    pub encoder_width: usize,
    /// Its own width P: a multiple of 4 and of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads: the encoder's, in the released code.
    pub heads: usize,
    /// Width of what is predicted, O: the encoder's, or as many numbers as a patch has.
    pub outputs: usize,
}

impl PredictorConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Predictor {
        self.build(&mut Init::new(rng, device))
    }

    /// The network whose parameters `init` gives.
    pub fn build(&self, init: &mut Init<'_>) -> Predictor {
        let (rows, cols) = self.grid;
        let pos = positions::sincos_2d(rows, cols, self.width);
        Predictor {
            predictor_embed: Linear::vit(self.encoder_width, self.width, 0.02, init),
            mask_token: init.truncated_normal([1, 1, self.width], 0.02),
            predictor_pos_embed: init.buffer(pos, [1, rows * cols, self.width]),
            predictor_blocks: (0..self.depth)
                .map(|_| Block::new(self.width, self.heads, 4 * self.width, init))
                .collect(),
            predictor_norm: LayerNorm::new(self.width, 1e-6, init),
            predictor_proj: Linear::vit(self.width, self.outputs, 0.02, init),
            condition: None,
        }
    }
}

impl PredictorConfig {
    /// About how many numbers the network has; see [`ClipVitConfig::parameters`](crate::clip_vit::ClipVitConfig::parameters).
    pub fn parameters(&self) -> u128 {
        let (rows, cols) = self.grid;
        let maps = product(&[self.width as u128, self.encoder_width as u128 + self.outputs as u128]);
        let codes = product(&[rows as u128, cols as u128, self.width as u128]);
        blocks_parameters(self.width, self.width.saturating_mul(4), self.depth)
            .saturating_add(maps)
            .saturating_add(codes)
    }
}

/// See [`PredictorConfig`].
#[derive(Module, Debug)]
pub struct Predictor {
    /// D → P.
    pub predictor_embed: Linear,
    /// `[1, 1, P]`, shared by every position.
    pub mask_token: Param<Tensor<3>>,
    /// `[1, N, P]`, fixed.
    pub predictor_pos_embed: Param<Tensor<3>>,
    /// The transformer.
    pub predictor_blocks: Vec<Block>,
    /// After the last block.
    pub predictor_norm: LayerNorm,
    /// P → O.
    pub predictor_proj: Linear,
    /// How it is told an action, where it is told one.
    pub condition: Option<Conditioner>,
}

impl Predictor {
    /// Predicts each target block on its own: rows of K blocks are rows of the batch.
    ///
    /// # Shapes
    /// - `context`: `[B, N_c, D]`; `context_at`: `[B, N_c]` row-major
    /// - `targets_at`: `[B, K, N_t]` row-major
    /// - output: `[B·K, N_t, O]`, row `b·K + k`
    pub fn forward(&self, context: Tensor<3>, context_at: &[u32], targets_at: &[u32], targets: usize) -> Tensor<3> {
        self.forward_under(context, context_at, targets_at, targets, None)
    }

    /// The same under actions `[B, A]`; zeros where it knows of actions and is given none.
    pub fn forward_under(
        &self,
        context: Tensor<3>,
        context_at: &[u32],
        targets_at: &[u32],
        targets: usize,
        actions: Option<Tensor<2>>,
    ) -> Tensor<3> {
        let [b, context_len, _] = context.dims();
        let [_, n, width] = self.predictor_pos_embed.dims();
        let target_len = targets_at.len() / (b * targets).max(1);
        let table = self.predictor_pos_embed.val().inner().reshape([n, width]);
        let context = self.predictor_embed.forward(context) + positions::gather(table.clone(), context_at, b);
        let context = context.reshape([b, 1, context_len, width]).repeat_dim(1, targets).reshape([
            b * targets,
            context_len,
            width,
        ]);
        let mut asked = self.mask_token.val() + positions::gather(table, targets_at, b * targets);
        let mut parts = Vec::new();
        if let Some(condition) = &self.condition {
            let numbers = condition.numbers();
            let actions = actions.unwrap_or_else(|| Tensor::zeros([b, numbers], &context.device().inner()));
            let actions = actions.reshape([b, 1, numbers]).repeat_dim(1, targets).reshape([b * targets, numbers]);
            asked = condition.asked(asked, actions.clone());
            parts.extend(condition.tokens(actions));
        }
        let context_len = context_len + parts.first().map_or(0, |tokens| tokens.dims()[1]);
        parts.extend([context, asked]);
        let x = Tensor::cat(parts, 1);
        let x = self.predictor_blocks.iter().fold(x, |x, block| block.forward(x));
        // What lies at the context's places is not asked for: norm and projection run on the targets alone.
        let x = x.slice([0..b * targets, context_len..context_len + target_len, 0..width]);
        self.predictor_proj.forward(self.predictor_norm.forward(x))
    }
}
