//! The transformer over series of TS-JEPA (Ennadir et al., 2025, arXiv 2509.25449): patches of some steps become tokens by a convolution and
//! an affine map; with attention in both directions, or up to each token (LeNEPA, arXiv 2607.00958). Everything runs on packed rows:
//! series of any lengths, without padding.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_ops::{self as ops, Precision, Sets};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{Block, LayerNorm, Linear};
use crate::positions::codes;

/// ε of the layer norms, PyTorch's default.
const EPS: f64 = 1e-5;

/// How a series is cut into what a tokeniser takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Values of a step, C.
    pub channels: usize,
    /// Steps of a patch, p.
    pub patch: usize,
    /// Steps of the convolution's kernel and stride, k.
    pub kernel: usize,
    /// Whether the last kernel of a patch reaches its end, filled up with holes; released, what is left over is never seen.
    pub whole: bool,
}

impl Cut {
    /// Kernels in a patch.
    pub fn kernels(self) -> usize {
        if self.whole { self.patch.div_ceil(self.kernel) } else { self.patch / self.kernel }
    }

    /// Values of a patch as they are laid out: `[kernels, C, k]`.
    pub fn values(self) -> usize {
        self.kernels() * self.channels * self.kernel
    }
}

/// Lengths of a [`SeriesVit`]. [`SeriesVitConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesVitConfig {
    /// How series are cut.
    pub cut: Cut,
    /// Token width D, even and a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Whether tokens are told where holes lie.
    pub holes: bool,
    /// Whether a token sees itself and those before it alone.
    pub causal: bool,
}

impl SeriesVitConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> SeriesVit {
        let mut init = Init::new(rng, device);
        let Self { cut, width, depth, heads, hidden, holes, .. } = *self;
        let bound = 1.0 / ((cut.channels * cut.kernel).max(1) as f64).sqrt();
        SeriesVit {
            tokenizer: SeriesTokenizer {
                proj: Conv1d {
                    weight: init.uniform([width, cut.channels, cut.kernel], bound),
                    bias: init.uniform([width], bound),
                },
                fc: Linear::vit(width * cut.kernels(), width, 0.02, &mut init),
                holes: holes.then(|| Linear::vit(cut.values(), width, 0.02, &mut init)),
            },
            predictor_blocks: (0..depth).map(|_| Block::with_eps(width, heads, hidden, EPS, &mut init)).collect(),
            encoder_norm: LayerNorm::new(width, EPS, &mut init),
            config: self.clone(),
        }
    }
}

/// A convolution whose stride is its kernel.
#[derive(Module, Debug)]
pub struct Conv1d {
    /// `[D, C, k]`.
    pub weight: Param<Tensor<3>>,
    /// `[D]`.
    pub bias: Param<Tensor<1>>,
}

/// Patches to tokens.
#[derive(Module, Debug)]
pub struct SeriesTokenizer {
    /// The convolution.
    pub proj: Conv1d,
    /// What it gives of a patch, `[D, kernels]`, to the token.
    pub fc: Linear,
    /// What a token is told of holes; ours.
    pub holes: Option<Linear>,
}

impl SeriesTokenizer {
    /// # Shapes
    /// - `values`, `unknown` (1 in a hole, 0 elsewhere): `[R, V]`, V as [`Cut::values`] counts them
    /// - output: `[R, D]`
    pub fn forward(&self, values: Tensor<2>, unknown: Option<Tensor<2>>) -> Tensor<2> {
        let [rows, count] = values.dims();
        let weight = self.proj.weight.val();
        let [width, channels, kernel] = weight.dims();
        let kernels = count / (channels * kernel).max(1);
        let x = values.reshape([rows * kernels, channels * kernel]);
        let x = ops::linear(x, weight.reshape([width, channels * kernel]), self.proj.bias.val());
        let x = x.reshape([rows, kernels, width]).swap_dims(1, 2).reshape([rows, width * kernels]);
        let tokens = self.fc.forward(x);
        match (&self.holes, unknown) {
            (Some(holes), Some(unknown)) => tokens + holes.forward(unknown),
            (Some(holes), None) => tokens + holes.bias.val().reshape([1, width]),
            (None, _) => tokens,
        }
    }
}

/// See [`SeriesVitConfig`]. Names are those of the released code.
#[derive(Module, Debug)]
pub struct SeriesVit {
    /// Patches to tokens.
    pub tokenizer: SeriesTokenizer,
    /// The transformer.
    pub predictor_blocks: Vec<Block>,
    /// After the last block.
    pub encoder_norm: LayerNorm,
    #[module(skip)]
    config: SeriesVitConfig,
}

impl SeriesVit {
    /// The lengths it was made with.
    pub fn config(&self) -> &SeriesVitConfig {
        &self.config
    }

    /// Tokens of patches before they are told where they lie: `[R, V]` → `[R, D]`; see [`SeriesTokenizer::forward`].
    pub fn embed(&self, values: Tensor<2>, unknown: Option<Tensor<2>>) -> Tensor<2> {
        self.tokenizer.forward(values, unknown)
    }

    /// Embedded tokens `[R, D]` of some series, at places `at` of each: `[R, D]`.
    pub fn hidden(&self, tokens: Tensor<2>, at: &[u32], sets: &Sets) -> Tensor<2> {
        let device = tokens.device().inner();
        let sets = if self.config.causal { sets.clone().causal() } else { sets.clone() };
        let x = tokens + placed(at, self.config.width, &device);
        let x = self.predictor_blocks.iter().fold(x, |x, block| block.forward_sets(x, &sets));
        self.encoder_norm.forward(x)
    }

    /// Lays the maps out for many passes; see [`Block::pack`].
    pub fn prepare(&mut self, precision: Precision) -> bool {
        self.predictor_blocks.iter_mut().map(|block| block.pack(precision)).fold(true, |all, packed| all & packed)
    }
}

/// Codes of places, `[R, D]`.
fn placed(at: &[u32], width: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(codes(at, width), [at.len(), width]), device)
}

/// Lengths of a [`SeriesPredictor`].
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesPredictorConfig {
    /// The encoder's width D.
    pub encoder_width: usize,
    /// Its own width P, even and a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of what is predicted.
    pub outputs: usize,
}

impl SeriesPredictorConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> SeriesPredictor {
        let mut init = Init::new(rng, device);
        let Self { encoder_width, width, depth, heads, outputs } = *self;
        SeriesPredictor {
            predictor_embed: Linear::vit(encoder_width, width, 0.02, &mut init),
            mask_token: init.constant([1, 1, width], 0.0),
            predictor_blocks: (0..depth).map(|_| Block::with_eps(width, heads, 4 * width, EPS, &mut init)).collect(),
            predictor_norm: LayerNorm::new(width, EPS, &mut init),
            predictor_proj: Linear::vit(width, outputs, 0.02, &mut init),
        }
    }
}

/// Predicts hidden tokens from visible ones, told by their places.
#[derive(Module, Debug)]
pub struct SeriesPredictor {
    /// D → P.
    pub predictor_embed: Linear,
    /// `[1, 1, P]`, zeros at the start.
    pub mask_token: Param<Tensor<3>>,
    /// The transformer.
    pub predictor_blocks: Vec<Block>,
    /// After the last block.
    pub predictor_norm: LayerNorm,
    /// P → what is predicted.
    pub predictor_proj: Linear,
}

impl SeriesPredictor {
    /// What is predicted of the asked tokens, in their order. The sets of both are the same series.
    ///
    /// # Shapes
    /// - `context`: `[Σ N_c, D]`
    /// - output: `[Σ N_t, out]`
    pub fn rows(
        &self,
        context: Tensor<2>,
        (context_at, context_sets): (&[u32], &Sets),
        (asked_at, asked_sets): (&[u32], &Sets),
    ) -> Tensor<2> {
        let device = context.device().inner();
        let (seen, asked) = (context_at.len(), asked_at.len());
        let mask = self.mask_token.val();
        let [_, _, width] = mask.dims();
        let context = self.predictor_embed.forward(context) + placed(context_at, width, &device);
        let masks = ops::gather(mask.reshape([1, width]), &vec![0; asked]) + placed(asked_at, width, &device);
        let table = Tensor::cat(vec![context, masks], 0);
        let (mut order, mut lengths, mut back) = (Vec::new(), Vec::new(), vec![0; asked]);
        for set in 0..context_sets.count() {
            let (context, asked) = (context_sets.range(set), asked_sets.range(set));
            lengths.push(context.len() + asked.len());
            order.extend(context.map(|row| row as u32));
            for row in asked {
                back[row] = order.len() as u32;
                order.push((seen + row) as u32);
            }
        }
        let sets = Sets::of_lengths(&lengths);
        let x = ops::gather(table, &order);
        let x = self.predictor_blocks.iter().fold(x, |x, block| block.forward_sets(x, &sets));
        // What lies at the context's places is not asked for.
        self.predictor_proj.forward(self.predictor_norm.forward(ops::gather(x, &back)))
    }
}
