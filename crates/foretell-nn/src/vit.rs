//! The vision transformer of I-JEPA and V-JEPA: no class token, fixed position codes, final norm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_ops::{self as ops, Precision};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::encode::{Backbone, FeatureMap, ImageNetwork};
use crate::layers::{Block, LayerNorm, Pass};
use crate::{Init, positions};

/// The one dial: width, depth and heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// 192 wide, 12 deep, 3 heads.
    #[default]
    Tiny,
    /// 384, 12, 6.
    Small,
    /// 768, 12, 12.
    Base,
    /// 1024, 24, 16.
    Large,
    /// 1280, 32, 16.
    Huge,
    /// 1408, 40, 16; MLP ratio 48/11.
    Giant,
}

impl Size {
    /// `(width, depth, heads, hidden width of the MLP)`.
    pub fn dimensions(self) -> (usize, usize, usize, usize) {
        match self {
            Size::Tiny => (192, 12, 3, 768),
            Size::Small => (384, 12, 6, 1536),
            Size::Base => (768, 12, 12, 3072),
            Size::Large => (1024, 24, 16, 4096),
            Size::Huge => (1280, 32, 16, 5120),
            Size::Giant => (1408, 40, 16, 6144),
        }
    }
}

/// Lengths of a [`Vit`]. [`VitConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct VitConfig {
    /// Height and width of the images, multiples of `patch`.
    pub image: (usize, usize),
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Channels of the images.
    pub channels: usize,
    /// Token width D: a multiple of 4 (position code) and of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
}

impl VitConfig {
    /// Rows and columns of tokens.
    pub fn grid(&self) -> (usize, usize) {
        (self.image.0 / self.patch, self.image.1 / self.patch)
    }

    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Vit {
        let mut init = Init::new(rng, device);
        let (rows, cols) = self.grid();
        let pos = positions::sincos_2d(rows, cols, self.width);
        // Unit variance out of unit variance in. The released 0.02 is nearly that for 16 × 16 colour patches; for small
        // ones it would leave the content a tenth of the position code, and the untrained network blind.
        let fan_in = self.channels * self.patch * self.patch;
        let std = (1.0 / fan_in as f64).sqrt();
        Vit {
            patch_embed: PatchEmbed {
                proj: Patches {
                    weight: init.truncated_normal([self.width, self.channels, self.patch, self.patch], std),
                    bias: init.constant([self.width], 0.0),
                },
            },
            pos_embed: init.buffer(pos, [1, rows * cols, self.width]),
            blocks: (0..self.depth).map(|_| Block::new(self.width, self.heads, self.hidden, &mut init)).collect(),
            norm: LayerNorm::new(self.width, 1e-6, &mut init),
            spared: None,
            config: self.clone(),
        }
    }
}

/// Tokens that attend to nothing while a network is fine-tuned.
#[derive(Clone, Debug)]
struct Spared {
    share: f64,
    seed: u64,
    /// Passes so far: each draws anew.
    passes: Arc<AtomicU64>,
}

impl Spared {
    /// For each of a pass's blocks which tokens attend, `[B, N, 1]` of ones and zeros.
    fn draw(&self, depth: usize, [batch, tokens]: [usize; 2], device: &Device) -> Vec<Tensor<3>> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed);
        let draw = |block: usize| {
            let mut rng = rng(self.seed, Stream::Mask, pass, block as u64);
            let attends = (0..batch * tokens).map(|_| f32::from(rng.random::<f64>() >= self.share)).collect::<Vec<_>>();
            Tensor::from_data(TensorData::new(attends, [batch, tokens, 1]), device)
        };
        (0..depth).map(draw).collect()
    }
}

/// A convolution whose stride is its kernel, held as the official checkpoints hold it and run as a matrix product.
#[derive(Module, Debug)]
pub struct Patches {
    /// `[D, C, p, p]`.
    pub weight: Param<Tensor<4>>,
    /// `[D]`.
    pub bias: Param<Tensor<1>>,
}

/// Patches to tokens.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// The projection.
    pub proj: Patches,
}

/// See [`VitConfig`].
#[derive(Module, Debug)]
pub struct Vit {
    /// Patches to tokens.
    pub patch_embed: PatchEmbed,
    /// `[1, N, D]`, fixed.
    pub pos_embed: Param<Tensor<3>>,
    /// The transformer.
    pub blocks: Vec<Block>,
    /// After the last block.
    pub norm: LayerNorm,
    #[module(skip)]
    spared: Option<Spared>,
    #[module(skip)]
    config: VitConfig,
}

impl Vit {
    /// The same network, which when it is fine-tuned lets in each block a random share of tokens attend to nothing; others attend to them as
    /// ever, and nothing of it is left in evaluation. Regularised masking of A-JEPA (arXiv 2311.15830), as far as the paper tells it.
    #[must_use]
    pub fn sparing(self, share: f64, seed: u64) -> Self {
        let spared = (share > 0.0).then(|| Spared { share, seed, passes: Arc::default() });
        Self { spared, ..self }
    }

    /// The lengths it was made with.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Encodes some tokens of each sample, and only those: position codes are added before the choice, so that hidden
    /// tokens never enter (I-JEPA, section 3; the released `apply_masks`).
    ///
    /// # Shapes
    /// - `patches`: `[B, K, C·p·p]`, the chosen patches, each `[C, p, p]`
    /// - `indices`: `[B, K]` row-major, their positions in the raster, each below N
    /// - output: `[B, K, D]`
    pub fn encode_some(&self, patches: Tensor<3>, indices: &[u32]) -> Tensor<3> {
        let batch = patches.dims()[0];
        let [_, n, width] = self.pos_embed.dims();
        let codes = positions::gather(self.pos_embed.val().inner().reshape([n, width]), indices, batch);
        self.blocks(self.embed(patches), codes)
    }

    /// Encodes some tokens of each sample and, beside them, a mask token at each of some other places: hidden patches are replaced at
    /// the encoder's input, not left out of it (LoMaR, arXiv 2206.00790; SAR-JEPA, arXiv 2311.15153).
    ///
    /// # Shapes
    /// - `patches`: `[B, V, C·p·p]`, those seen, each `[C, p, p]`; `mask_token`: `[1, 1, D]`
    /// - `seen_at`: `[B, V]` and `hidden_at`: `[B, H]` row-major, positions in the raster, each below N
    /// - output: `[B, V + H, D]`, those seen first
    pub fn encode_masked(
        &self,
        patches: Tensor<3>,
        mask_token: Tensor<3>,
        seen_at: &[u32],
        hidden_at: &[u32],
    ) -> Tensor<3> {
        let batch = patches.dims()[0];
        let [_, n, width] = self.pos_embed.dims();
        let table = self.pos_embed.val().inner().reshape([n, width]);
        let seen = self.embed(patches) + positions::gather(table.clone(), seen_at, batch);
        let hidden = mask_token + positions::gather(table, hidden_at, batch);
        self.through(Tensor::cat(vec![seen, hidden], 1))
    }

    /// Encodes every token. `patches`: `[B, N, C·p·p]` → `[B, N, D]`.
    pub fn encode_all(&self, patches: Tensor<3>) -> Tensor<3> {
        let codes = self.pos_embed.val().inner();
        self.blocks(self.embed(patches), codes)
    }

    /// Encodes views of any size that the patch divides; their position codes are spread over the full image's area.
    ///
    /// `images`: `[B, C, H, W]` → `[B, N, D]`, N = H·W / p².
    pub fn encode_view(&self, images: Tensor<4>) -> Tensor<3> {
        let [_, _, height, width] = images.dims();
        let patch = self.config.patch;
        let grid = (height / patch, width / patch);
        let codes = if grid == self.config.grid() {
            self.pos_embed.val().inner()
        } else {
            let codes = positions::sincos_2d_spread(grid, self.config.grid(), self.config.width);
            let shape = [1, grid.0 * grid.1, self.config.width];
            Tensor::from_data(TensorData::new(codes, shape), &images.device().inner())
        };
        self.blocks(self.embed(patchify(images, patch)), codes)
    }

    fn embed(&self, patches: Tensor<3>) -> Tensor<3> {
        let weight = self.patch_embed.proj.weight.val();
        let [width, c, p, _] = weight.dims();
        foretell_ops::linear(patches, weight.reshape([width, c * p * p]), self.patch_embed.proj.bias.val())
    }

    fn blocks(&self, tokens: Tensor<3>, codes: Tensor<3>) -> Tensor<3> {
        self.through(tokens + codes)
    }

    fn through(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.norm.forward(self.blocks.iter().fold(tokens, |x, block| block.forward(x)))
    }
}

/// Images `[B, C, H, W]` → patches `[B, N, C·p·p]`, raster order, each `[C, p, p]`.
pub fn patchify(images: Tensor<4>, patch: usize) -> Tensor<3> {
    let [b, c, h, w] = images.dims();
    let (rows, cols) = (h / patch, w / patch);
    images.reshape([b, c, rows, patch, cols, patch]).permute([0, 2, 4, 1, 3, 5]).reshape([
        b,
        rows * cols,
        c * patch * patch,
    ])
}

impl ImageNetwork for Vit {
    fn tokens(&self, images: Tensor<4>) -> FeatureMap {
        let tokens = ops::together(&images.device(), || self.encode_all(patchify(images, self.config.patch)));
        FeatureMap { tokens, grid: self.config.grid() }
    }

    fn learned(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> FeatureMap {
        let (patches, grid) = (patchify(images, self.config.patch), self.config.grid());
        let tokens = match (&self.spared, pass) {
            (Some(spared), Pass::Training(_)) => {
                let tokens = self.embed(patches) + self.pos_embed.val().inner();
                let [batch, count, _] = tokens.dims();
                let attends = spared.draw(self.blocks.len(), [batch, count], &tokens.device().inner());
                let each = self.blocks.iter().zip(attends);
                self.norm.forward(each.fold(tokens, |x, (block, attends)| block.forward_where(x, attends)))
            }
            _ => self.encode_all(patches),
        };
        FeatureMap { tokens, grid }
    }

    /// The normalised and averaged tokens of the last four blocks side by side, `[B, 4 D]`: I-JEPA's linear evaluation
    /// (arXiv 2301.08243, appendix A: the better of the last layer and the last four).
    fn probed(&self, images: Tensor<4>) -> Tensor<2> {
        const LAST: usize = 4;
        let mut x = self.embed(patchify(images, self.config.patch)) + self.pos_embed.val().inner();
        let first = self.blocks.len().saturating_sub(LAST);
        let mut pooled = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(x);
            if i >= first {
                pooled.push(self.norm.forward(x.clone()).mean_dim(1).squeeze_dim::<2>(1));
            }
        }
        Tensor::cat(pooled, 1)
    }

    fn prepare(&mut self, precision: Precision) -> bool {
        self.blocks.iter_mut().all(|block| block.pack(precision))
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

impl Backbone for Vit {
    fn view(&self, images: Tensor<4>, _: &mut Pass<'_>) -> Tensor<2> {
        self.encode_view(images).mean_dim(1).squeeze_dim(1)
    }
}
