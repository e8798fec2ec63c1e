//! The predictor of V-JEPA, V-JEPA 2 and 2.1: a narrow transformer over the context's tokens and a mask token for each place that it
//! is asked for.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::clip_vit::{Positions, blocks_parameters, product};
use crate::layers::{Block, LayerNorm, Linear};
use crate::positions::{self, Grid};

/// Lengths of a [`MaskedPredictor`]. [`MaskedPredictorConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskedPredictorConfig {
    /// The encoder's width D.
    pub encoder_width: usize,
    /// Levels of the encoder that come side by side, 1 except in V-JEPA 2.1.
    pub levels: usize,
    /// Its own width P, a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Width of what it predicts: of all levels together, of a teacher where there is one.
    pub out: usize,
    /// Mask tokens to choose from.
    pub mask_tokens: usize,
    /// ε of the layer norms.
    pub eps: f64,
    /// How tokens are told where they lie.
    pub positions: Positions,
    /// A head for the context's own tokens too, as in V-JEPA 2.1.
    pub context_head: bool,
    /// An embedding for each modality, as in V-JEPA 2.1.
    pub modalities: bool,
}

impl MaskedPredictorConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> MaskedPredictor {
        self.build(&mut Init::new(rng, device))
    }

    /// The network whose parameters `init` gives. Mask tokens begin as zeros, as released.
    pub fn build(&self, init: &mut Init<'_>) -> MaskedPredictor {
        let (d, p, std) = (self.encoder_width, self.width, 0.02);
        MaskedPredictor {
            levels_embed: (self.levels > 1).then(|| Linear::vit(self.levels * d, d, std, init)),
            predictor_embed: Linear::vit(d, p, std, init),
            mask_tokens: (0..self.mask_tokens).map(|_| init.constant([1, 1, p], 0.0)).collect(),
            predictor_pos_embed: self.positions.buffer(p, init),
            img_mod_embed: self.modalities.then(|| init.truncated_normal([1, 1, p], 1e-6)),
            video_mod_embed: self.modalities.then(|| init.truncated_normal([1, 1, p], 1e-6)),
            predictor_blocks: (0..self.depth)
                .map(|_| Block::with_eps(p, self.heads, self.hidden, self.eps, init))
                .collect(),
            predictor_norm: LayerNorm::new(p, self.eps, init),
            predictor_proj: Linear::vit(p, self.out, std, init),
            predictor_proj_context: self.context_head.then(|| Linear::vit(p, self.out, std, init)),
            config: self.clone(),
        }
    }
}

impl MaskedPredictorConfig {
    /// About how many numbers the network has; see [`ClipVitConfig::parameters`](crate::clip_vit::ClipVitConfig::parameters).
    pub fn parameters(&self) -> u128 {
        let [d, levels, p, out] = [self.encoder_width, self.levels, self.width, self.out].map(|n| n as u128);
        let codes = match &self.positions {
            Positions::Added(grid, _) => product(&[grid.frames as u128, grid.rows as u128, grid.cols as u128, p]),
            Positions::Turned(_) => 0,
        };
        let first = if levels > 1 { product(&[levels, d, d]) } else { 0 };
        [codes, first, product(&[d, p]), product(&[self.mask_tokens as u128, p]), product(&[p, out])]
            .into_iter()
            .fold(blocks_parameters(self.width, self.hidden, self.depth), u128::saturating_add)
    }
}

/// What tokens are of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modality {
    /// A single image.
    Image,
    /// A clip.
    #[default]
    Video,
}

/// What is asked of a predictor.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Tokens of the whole clip.
    pub grid: Grid,
    /// `[B, N_c]` row-major: where the context lies.
    pub context_at: &'a [u32],
    /// `[B, N_t]` row-major: where tokens are to be predicted.
    pub targets_at: &'a [u32],
    /// Which mask token stands for them, counted around: transformers takes 1, V-JEPA's training one for each kind of mask.
    pub mask_token: usize,
    /// What the tokens are of, where that makes a difference.
    pub modality: Modality,
}

/// See [`MaskedPredictorConfig`].
#[derive(Module, Debug)]
pub struct MaskedPredictor {
    /// Levels · D → D, before [`predictor_embed`](Self::predictor_embed) with GELU between, in V-JEPA 2.1; released as
    /// `predictor_embed.0`, the other then being `predictor_embed.2`.
    pub levels_embed: Option<Linear>,
    /// D → P.
    pub predictor_embed: Linear,
    /// `[1, 1, P]` each.
    pub mask_tokens: Vec<Param<Tensor<3>>>,
    /// `[1, N, P]`, fixed, where codes are added.
    pub predictor_pos_embed: Option<Param<Tensor<3>>>,
    /// `[1, 1, P]`, added to every token of single images in V-JEPA 2.1.
    pub img_mod_embed: Option<Param<Tensor<3>>>,
    /// `[1, 1, P]`, added to every token of clips in V-JEPA 2.1.
    pub video_mod_embed: Option<Param<Tensor<3>>>,
    /// The transformer.
    pub predictor_blocks: Vec<Block>,
    /// After the last block.
    pub predictor_norm: LayerNorm,
    /// P → what is predicted.
    pub predictor_proj: Linear,
    /// The same for the context's tokens, in V-JEPA 2.1.
    pub predictor_proj_context: Option<Linear>,
    #[module(skip)]
    config: MaskedPredictorConfig,
}

impl MaskedPredictor {
    /// The lengths it was made with.
    pub fn config(&self) -> &MaskedPredictorConfig {
        &self.config
    }

    /// The asked tokens, in the order in which they were asked for.
    ///
    /// # Shapes
    /// - `context`: `[B, N_c, levels · D]`
    /// - output: `[B, N_t, out]`
    pub fn forward(&self, context: Tensor<3>, asked: Asked<'_>) -> Tensor<3> {
        let [_, seen, _] = context.dims();
        let x = self.through(context, asked);
        let [_, n, _] = x.dims();
        self.predictor_proj.forward(x.narrow(1, seen, n - seen))
    }

    /// The asked tokens and, through a head of their own, the context's: `[B, N_t, out]` and `[B, N_c, out]`. Inputs as in
    /// [`forward`](Self::forward).
    ///
    /// # Panics
    /// If the network has no such head.
    pub fn forward_dense(&self, context: Tensor<3>, asked: Asked<'_>) -> (Tensor<3>, Tensor<3>) {
        let [_, seen, _] = context.dims();
        let x = self.through(context, asked);
        let [_, n, _] = x.dims();
        let of_context = self.predictor_proj_context.as_ref().expect("a head for the context");
        (self.predictor_proj.forward(x.clone().narrow(1, seen, n - seen)), of_context.forward(x.narrow(1, 0, seen)))
    }

    /// Every token but the last `chopped`, context and asked ones, in the order of their places: what V-JEPA 2's anticipation of
    /// actions takes (`return_all_tokens`, `chop_last_n_tokens`). Chopped tokens never enter the blocks.
    ///
    /// `[B, N_c + N_t − chopped, out]`. Inputs as in [`forward`](Self::forward).
    pub fn forward_sorted(&self, context: Tensor<3>, asked: Asked<'_>, chopped: usize) -> Tensor<3> {
        let (x, _) = self.sorted(context, asked, chopped);
        self.predictor_proj.forward(self.predictor_norm.forward(x))
    }

    /// Context and asked tokens after the norm, in the order in which they came.
    fn through(&self, context: Tensor<3>, asked: Asked<'_>) -> Tensor<3> {
        let (x, order) = self.sorted(context, asked, 0);
        let per_sample = x.dims()[1];
        let mut back = vec![0; order.len()];
        for (sorted, token) in order.iter().enumerate() {
            back[sorted / per_sample * per_sample + *token as usize] = (sorted % per_sample) as u32;
        }
        self.predictor_norm.forward(positions::gather_tokens(x, &back))
    }

    /// Tokens after the blocks in the order of their places, and which token each of them was before.
    fn sorted(&self, context: Tensor<3>, asked: Asked<'_>, chopped: usize) -> (Tensor<3>, Vec<u32>) {
        let [b, seen, _] = context.dims();
        let width = self.config.width;
        let wanted = asked.targets_at.len() / b.max(1);
        let context = match &self.levels_embed {
            Some(levels) => ops::gelu(levels.forward(context)),
            None => context,
        };
        let mask = self.mask_tokens[asked.mask_token % self.mask_tokens.len()].val();
        let x = Tensor::cat(vec![self.predictor_embed.forward(context), mask.expand([b, wanted, width])], 1);
        let places: Vec<Vec<u32>> = (0..b)
            .map(|sample| {
                let of = |at: &[u32], n: usize| at[sample * n..(sample + 1) * n].to_vec();
                [of(asked.context_at, seen), of(asked.targets_at, wanted)].concat()
            })
            .collect();
        let orders = places.iter().map(|places| {
            let mut order: Vec<u32> = (0..places.len() as u32).collect();
            order.sort_by_key(|token| places[*token as usize]);
            order.truncate((seen + wanted).saturating_sub(chopped));
            order
        });
        let orders: Vec<Vec<u32>> = orders.collect();
        let at: Vec<u32> = orders.iter().zip(&places).flat_map(|(o, p)| o.iter().map(|t| p[*t as usize])).collect();
        let order = orders.concat();
        let mut x = positions::gather_tokens(x, &order);
        let modality = match asked.modality {
            Modality::Image => &self.img_mod_embed,
            Modality::Video => &self.video_mod_embed,
        };
        if let Some(modality) = modality {
            x = x + modality.val();
        }
        let n = x.dims()[1];
        let turns = match &self.config.positions {
            Positions::Added(..) => {
                let table = self.predictor_pos_embed.as_ref().expect("added codes lie in a table").val().inner();
                let known = table.dims()[1];
                x = x + positions::gather(table.reshape([known, width]), &at, b);
                None
            }
            Positions::Turned(rope) => Some(rope.turns(asked.grid, width / self.config.heads, at)),
        };
        let sets = ops::Sets::uniform(b, n);
        let x = x.reshape([b * n, width]);
        let x = self.predictor_blocks.iter().fold(x, |x, block| block.forward_turned(x, &sets, turns.as_ref()));
        (x.reshape([b, n, width]), order)
    }
}
