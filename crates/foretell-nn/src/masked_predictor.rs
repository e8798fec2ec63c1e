//! The predictor of V-JEPA, V-JEPA 2 and 2.1: a narrow transformer over the context's tokens and a mask token for each place that it
//! is asked for.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
pub use crate::clip_vit::Modality;
use crate::clip_vit::{Positions, blocks_parameters, product, rescaled};
use crate::layers::{Block, LayerNorm, Linear};
use crate::positions::Grid;

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

/// What is asked of a predictor about several clips, packed: any number of tokens of each.
#[derive(Clone, Copy, Debug)]
pub struct AskedRows<'a> {
    /// Tokens of a whole clip.
    pub grid: Grid,
    /// Where the context's tokens lie in their clips, and which belong together.
    pub context: (&'a [u32], &'a ops::Sets),
    /// Where tokens are to be predicted, and which belong together.
    pub targets: (&'a [u32], &'a ops::Sets),
    /// Which mask token stands for those of each set, counted around.
    pub mask_tokens: &'a [usize],
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

    /// The same with smaller residual outputs; see [`ClipVit::rescaled`](crate::clip_vit::ClipVit::rescaled).
    #[must_use]
    pub fn rescaled(self) -> Self {
        Self { predictor_blocks: rescaled(self.predictor_blocks), ..self }
    }

    /// The asked tokens, in the order in which they were asked for.
    ///
    /// # Shapes
    /// - `context`: `[B, N_c, levels · D]`
    /// - output: `[B, N_t, out]`
    pub fn forward(&self, context: Tensor<3>, asked: Asked<'_>) -> Tensor<3> {
        asked.packed(context, |context, asked| vec![self.rows(context, asked)]).remove(0)
    }

    /// The asked tokens and, through a head of their own, the context's: `[B, N_t, out]` and `[B, N_c, out]`. Inputs as in
    /// [`forward`](Self::forward).
    ///
    /// # Panics
    /// If the network has no such head.
    pub fn forward_dense(&self, context: Tensor<3>, asked: Asked<'_>) -> (Tensor<3>, Tensor<3>) {
        let mut both = asked.packed(context, |context, asked| {
            let (targets, context) = self.rows_dense(context, asked);
            vec![targets, context]
        });
        let context = both.remove(1);
        (both.remove(0), context)
    }

    /// Every token but the last `chopped`, context and asked ones, in the order of their places: what V-JEPA 2's anticipation of
    /// actions takes (`return_all_tokens`, `chop_last_n_tokens`). Chopped tokens never enter the blocks.
    ///
    /// `[B, N_c + N_t − chopped, out]`. Inputs as in [`forward`](Self::forward).
    pub fn forward_sorted(&self, context: Tensor<3>, asked: Asked<'_>, chopped: usize) -> Tensor<3> {
        asked
            .packed(context, |context, asked| {
                let (x, _) = self.sorted(context, asked, chopped);
                vec![self.predictor_proj.forward(self.predictor_norm.forward(x))]
            })
            .remove(0)
    }

    /// The asked tokens of packed clips, in the order in which they were asked for.
    ///
    /// # Shapes
    /// - `context`: `[Σ N_c, levels · D]`
    /// - output: `[Σ N_t, out]`
    pub fn rows(&self, context: Tensor<2>, asked: AskedRows<'_>) -> Tensor<2> {
        let (x, back) = self.through(context, asked);
        // What lies at the context's places is not asked for: norm and projection run on the targets alone.
        let x = ops::gather(x, &back[asked.context.0.len()..]);
        self.predictor_proj.forward(self.predictor_norm.forward(x))
    }

    /// The same and, through a head of their own, the context's: `[Σ N_t, out]` and `[Σ N_c, out]`.
    ///
    /// # Panics
    /// If the network has no such head.
    pub fn rows_dense(&self, context: Tensor<2>, asked: AskedRows<'_>) -> (Tensor<2>, Tensor<2>) {
        let of_context = self.predictor_proj_context.as_ref().expect("a head for the context");
        let (x, back) = self.through(context, asked);
        let (seen, wanted) = back.split_at(asked.context.0.len());
        let rows = |at: &[u32]| self.predictor_norm.forward(ops::gather(x.clone(), at));
        (self.predictor_proj.forward(rows(wanted)), of_context.forward(rows(seen)))
    }

    /// Tokens after the blocks, and where among them those of the context and then the asked ones are.
    fn through(&self, context: Tensor<2>, asked: AskedRows<'_>) -> (Tensor<2>, Vec<u32>) {
        let (x, order) = self.sorted(context, asked, 0);
        let mut back = vec![0; order.len()];
        for (sorted, token) in order.iter().enumerate() {
            back[*token as usize] = sorted as u32;
        }
        (x, back)
    }

    /// Tokens after the blocks, those of each clip in the order of their places, and which token each of them was: the context's are
    /// counted first, then those asked for.
    fn sorted(&self, context: Tensor<2>, asked: AskedRows<'_>, chopped: usize) -> (Tensor<2>, Vec<u32>) {
        let ((context_at, context_sets), (targets_at, targets_sets)) = (asked.context, asked.targets);
        let (seen, width) = (context_at.len(), self.config.width);
        let context = match &self.levels_embed {
            Some(levels) => ops::gelu(levels.forward(context)),
            None => context,
        };
        let kinds = self.mask_tokens.len();
        let mut used: Vec<usize> = asked.mask_tokens.iter().map(|kind| kind % kinds).collect();
        used.sort_unstable();
        used.dedup();
        // Context and mask tokens in one table, of which every token is a row.
        let masks = used.iter().map(|kind| self.mask_tokens[*kind].val().reshape([1, width]));
        let table = Tensor::cat([self.predictor_embed.forward(context)].into_iter().chain(masks).collect(), 0);
        let (mut order, mut at, mut rows, mut lengths) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for set in 0..context_sets.count() {
            let of_context = context_sets.range(set).map(|row| (context_at[row], row as u32));
            let of_targets = targets_sets.range(set).map(|row| (targets_at[row], (seen + row) as u32));
            let mut tokens: Vec<(u32, u32)> = of_context.chain(of_targets).collect();
            tokens.sort_by_key(|(place, _)| *place);
            tokens.truncate(tokens.len().saturating_sub(chopped));
            let kind = asked.mask_tokens[set % asked.mask_tokens.len()] % kinds;
            let mask = (seen + used.iter().position(|other| *other == kind).unwrap_or(0)) as u32;
            lengths.push(tokens.len());
            for (place, token) in tokens {
                at.push(place);
                rows.push(if (token as usize) < seen { token } else { mask });
                order.push(token);
            }
        }
        let mut x = ops::gather(table, &rows);
        let modality = match asked.modality {
            Modality::Image => &self.img_mod_embed,
            Modality::Video => &self.video_mod_embed,
        };
        if let Some(modality) = modality {
            x = x + modality.val().reshape([1, width]);
        }
        let turns = match &self.config.positions {
            Positions::Added(..) => {
                let table = self.predictor_pos_embed.as_ref().expect("added codes lie in a table").val().inner();
                let known = table.dims()[1];
                x = x + ops::gather(table.reshape([known, width]), &at);
                None
            }
            Positions::Turned(rope) => Some(rope.turns(asked.grid, width / self.config.heads, at)),
        };
        let sets = ops::Sets::of_lengths(&lengths);
        let x = self.predictor_blocks.iter().fold(x, |x, block| block.forward_turned(x, &sets, turns.as_ref()));
        (x, order)
    }
}

impl Asked<'_> {
    /// What `of` makes of the same packed, as many rows of each sample: `[B, N, ..]` in and out.
    fn packed(self, context: Tensor<3>, of: impl FnOnce(Tensor<2>, AskedRows<'_>) -> Vec<Tensor<2>>) -> Vec<Tensor<3>> {
        let [b, seen, d] = context.dims();
        let sets = [seen, self.targets_at.len() / b.max(1)].map(|len| ops::Sets::uniform(b, len));
        let asked = AskedRows {
            grid: self.grid,
            context: (self.context_at, &sets[0]),
            targets: (self.targets_at, &sets[1]),
            mask_tokens: &[self.mask_token],
            modality: self.modality,
        };
        let outputs = of(context.reshape([b * seen, d]), asked);
        let shaped = |rows: Tensor<2>| {
            let [count, width] = rows.dims();
            rows.reshape([b, count / b.max(1), width])
        };
        outputs.into_iter().map(shaped).collect()
    }
}
