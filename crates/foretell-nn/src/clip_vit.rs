//! The vision transformer over clips: I-JEPA's, V-JEPA's, V-JEPA 2's and 2.1's encoders. An image is a clip of one frame.
//!
//! [`Vit`](crate::vit::Vit) is its sibling for training on images, with views of any size; the blocks are the same.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops::{self as ops, Precision};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{Block, LayerNorm};
use crate::parameters::change;
use crate::positions::{self, Grid, Order, Rope};

/// How tokens are told where they lie.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// A fixed code is added to each token, one for each place of this grid.
    Added(Grid, Code),
    /// Queries and keys are turned.
    Turned(Rope),
}

/// A fixed sine–cosine code of a fresh network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Of images.
    Image(Order),
    /// Of clips, with uniform power or without.
    Clip {
        /// See [`positions::sincos_3d`].
        uniform: bool,
    },
}

impl Code {
    /// `[N, width]`, row-major.
    pub fn table(self, grid: Grid, width: usize) -> Vec<f32> {
        match self {
            Code::Image(order) => positions::sincos_2d_in(order, grid.rows, grid.cols, width),
            Code::Clip { uniform } => positions::sincos_3d(grid, width, uniform),
        }
    }
}

impl Positions {
    /// The table of added codes, `[1, N, width]`, where there is one.
    pub(crate) fn buffer(&self, width: usize, init: &mut Init<'_>) -> Option<Param<Tensor<3>>> {
        match self {
            Positions::Added(grid, code) => Some(init.buffer(code.table(*grid, width), [1, grid.len(), width])),
            Positions::Turned(_) => None,
        }
    }
}

/// What V-JEPA 2.1 has and the others have not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dense {
    /// The blocks whose outputs are supervised, each with a norm of its own, the last block last.
    pub levels: Vec<usize>,
}

impl Dense {
    /// Four blocks spread over an encoder of this depth, the last one last; fewer where there are not so many. The released levels
    /// where that depth was released.
    pub fn spread(depth: usize) -> Self {
        Self::of_depth(depth).unwrap_or_else(|| {
            let ends = (1..=4).map(|quarter| quarter * depth / 4);
            let mut levels: Vec<usize> = ends.filter_map(|end| end.checked_sub(1)).collect();
            levels.dedup();
            Self { levels }
        })
    }

    /// The released levels of an encoder of this depth.
    pub fn of_depth(depth: usize) -> Option<Self> {
        let levels = match depth {
            12 => [2, 5, 8, 11],
            24 => [5, 11, 17, 23],
            40 => [9, 19, 29, 39],
            48 => [11, 23, 37, 47],
            _ => return None,
        };
        Some(Self { levels: levels.to_vec() })
    }
}

/// Lengths of a [`ClipVit`]. [`ClipVitConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipVitConfig {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Frames of a patch.
    pub tubelet: usize,
    /// Channels of a frame.
    pub channels: usize,
    /// Token width D, a multiple of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// ε of the layer norms.
    pub eps: f64,
    /// How tokens are told where they lie.
    pub positions: Positions,
    /// Levels, a tokeniser for single images and an embedding for each modality, as in V-JEPA 2.1.
    pub dense: Option<Dense>,
}

impl ClipVitConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> ClipVit {
        self.build(&mut Init::new(rng, device))
    }

    /// The network whose parameters `init` gives.
    pub fn build(&self, init: &mut Init<'_>) -> ClipVit {
        let norm = |init: &mut Init<'_>| LayerNorm::new(self.width, self.eps, init);
        ClipVit {
            patch_embed: TubeletEmbed::new(self, self.tubelet, init),
            patch_embed_img: self.dense.is_some().then(|| TubeletEmbed::new(self, 1, init)),
            img_mod_embed: self.dense.is_some().then(|| init.truncated_normal([1, 1, self.width], 1e-6)),
            video_mod_embed: self.dense.is_some().then(|| init.truncated_normal([1, 1, self.width], 1e-6)),
            pos_embed: self.positions.buffer(self.width, init),
            blocks: (0..self.depth)
                .map(|_| Block::with_eps(self.width, self.heads, self.hidden, self.eps, init))
                .collect(),
            norm: self.dense.is_none().then(|| norm(init)),
            norms_block: self.dense.iter().flat_map(|dense| &dense.levels).map(|_| norm(init)).collect(),
            config: self.clone(),
        }
    }

    /// About how many numbers the network has: for comparison with a file before there is a network.
    pub fn parameters(&self) -> u128 {
        let Self { patch, tubelet, channels, width, depth, hidden, .. } = *self;
        let [patch, tubelet, channels, width] = [patch, tubelet, channels, width].map(|n| n as u128);
        let codes = match &self.positions {
            Positions::Added(grid, _) => [grid.frames, grid.rows, grid.cols].map(|n| n as u128).iter().product(),
            Positions::Turned(_) => 0,
        };
        product(&[width, channels, tubelet, patch, patch])
            .saturating_add(product(&[codes, width]))
            .saturating_add(blocks_parameters(width as usize, hidden, depth))
    }

    /// Tokens of clips of `frames` frames, `height` by `width` pixels.
    ///
    /// Frames and pixels beyond the last whole tubelet are left out, as by the released convolution; a clip of fewer frames than a
    /// tubelet is repeated, as transformers does, unless there is a tokeniser for single images.
    pub fn grid(&self, frames: usize, height: usize, width: usize) -> Grid {
        let in_time = if frames < self.tubelet {
            if self.dense.is_some() && frames == 1 { 1 } else { frames }
        } else {
            frames / self.tubelet
        };
        Grid { frames: in_time, rows: height / self.patch, cols: width / self.patch }
    }

    /// Why clips of this shape have no tokens here, or none of the places that the codes know.
    pub fn objection(&self, [_, frames, channels, height, width]: [usize; 5]) -> Option<String> {
        let patch = self.patch;
        if channels != self.channels {
            return Some(format!("there are {channels} channels where the network takes {}", self.channels));
        }
        if frames == 0 || height < patch || width < patch || height % patch != 0 || width % patch != 0 {
            return Some(format!(
                "{frames} frames of {height} × {width} pixels cannot be cut into patches of {patch} × {patch}: height and width must be \
                 multiples of {patch}"
            ));
        }
        let grid = self.grid(frames, height, width);
        let Positions::Added(known, _) = &self.positions else { return None };
        let fits = (grid.rows, grid.cols) == (known.rows, known.cols) && grid.frames <= known.frames;
        (!fits).then(|| {
            format!(
                "{frames} frames of {height} × {width} pixels make {} × {} × {} tokens where the position codes know {} × {} × {}: bring \
                 the input to {} × {} pixels and at most {} frames",
                grid.frames,
                grid.rows,
                grid.cols,
                known.frames,
                known.rows,
                known.cols,
                known.rows * patch,
                known.cols * patch,
                known.frames * self.tubelet
            )
        })
    }
}

/// Of lengths, as far as it goes.
pub(crate) fn product(factors: &[u128]) -> u128 {
    factors.iter().fold(1, |product, factor| product.saturating_mul(*factor))
}

/// Numbers in the maps of `depth` blocks.
pub(crate) fn blocks_parameters(width: usize, hidden: usize, depth: usize) -> u128 {
    let [width, hidden, depth] = [width, hidden, depth].map(|n| n as u128);
    let attention = product(&[4, width, width]);
    depth.saturating_mul(attention.saturating_add(product(&[2, width, hidden])))
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

/// Where the tokens of several clips lie that are packed one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    /// Tokens of a whole clip.
    pub grid: Grid,
    /// `[T]`: the place of each row in its clip.
    pub at: &'a [u32],
    /// The rows of each clip.
    pub sets: &'a ops::Sets,
    /// What the tokens are of, where that makes a difference.
    pub modality: Modality,
}

/// A convolution whose stride is its kernel, held as the official checkpoints hold it and run as a matrix product.
#[derive(Module, Debug)]
pub struct Tubelets {
    /// `[D, C, t, p, p]`.
    pub weight: Param<Tensor<5>>,
    /// `[D]`.
    pub bias: Param<Tensor<1>>,
}

/// Tubelets, or with t = 1 patches, to tokens.
#[derive(Module, Debug)]
pub struct TubeletEmbed {
    /// The projection.
    pub proj: Tubelets,
}

impl TubeletEmbed {
    fn new(config: &ClipVitConfig, tubelet: usize, init: &mut Init<'_>) -> Self {
        let ClipVitConfig { patch, channels, width, .. } = *config;
        // Unit variance out of unit variance in, as in `VitConfig`.
        let std = (1.0 / (channels * tubelet * patch * patch) as f64).sqrt();
        Self {
            proj: Tubelets {
                weight: init.truncated_normal([width, channels, tubelet, patch, patch], std),
                bias: init.constant([width], 0.0),
            },
        }
    }

    /// `[.., C·t·p·p]` → `[.., D]`.
    pub(crate) fn forward<const R: usize>(&self, tubelets: Tensor<R>) -> Tensor<R> {
        let weight = self.proj.weight.val();
        let [width, c, t, p, _] = weight.dims();
        ops::linear(tubelets, weight.reshape([width, c * t * p * p]), self.proj.bias.val())
    }
}

/// See [`ClipVitConfig`].
#[derive(Module, Debug)]
pub struct ClipVit {
    /// Tubelets to tokens.
    pub patch_embed: TubeletEmbed,
    /// Single images to tokens, in V-JEPA 2.1.
    pub patch_embed_img: Option<TubeletEmbed>,
    /// `[1, 1, D]`, added to tokens of single images in V-JEPA 2.1.
    pub img_mod_embed: Option<Param<Tensor<3>>>,
    /// `[1, 1, D]`, added to tokens of clips in V-JEPA 2.1.
    pub video_mod_embed: Option<Param<Tensor<3>>>,
    /// `[1, N, D]`, fixed, where codes are added.
    pub pos_embed: Option<Param<Tensor<3>>>,
    /// The transformer.
    pub blocks: Vec<Block>,
    /// After the last block, except in V-JEPA 2.1.
    pub norm: Option<LayerNorm>,
    /// After each level's block, in V-JEPA 2.1.
    pub norms_block: Vec<LayerNorm>,
    #[module(skip)]
    config: ClipVitConfig,
}

impl ClipVit {
    /// The lengths it was made with.
    pub fn config(&self) -> &ClipVitConfig {
        &self.config
    }

    /// The same with the maps of each block's residual outputs divided by √(2 l), l being the block's number from 1: how V-JEPA 2 and
    /// 2.1 begin. (V-JEPA's code draws them again behind it.)
    #[must_use]
    pub fn rescaled(self) -> Self {
        Self { blocks: rescaled(self.blocks), ..self }
    }

    /// Encodes clips; where `kept` says which tokens, only those ever enter (position codes follow their tokens).
    ///
    /// # Shapes
    /// - `clips`: `[B, T, C, H, W]`, normalised; see [`ClipVitConfig::objection`]
    /// - `kept`: `[B, K]` row-major, each below N
    /// - output: `[B, N, D]` or `[B, K, D]`
    pub fn encode(&self, clips: Tensor<5>, kept: Option<&[u32]>) -> Tensor<3> {
        let last = self.blocks.len().saturating_sub(1);
        self.layers(clips, kept, &[last]).pop().expect("a network has blocks")
    }

    /// The outputs of some blocks, each after its norm, in the order of `layers`: V-JEPA 2.1's levels have their own norms; every other
    /// block goes through the last one, as released. Shapes as in [`encode`](Self::encode), blocks counted from 0.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn layers(&self, clips: Tensor<5>, kept: Option<&[u32]>, layers: &[usize]) -> Vec<Tensor<3>> {
        let [batch, frames, _, height, width] = clips.dims();
        let grid = self.config.grid(frames, height, width);
        let modality = if frames == 1 { Modality::Image } else { Modality::Video };
        let tubelet = self.embed(modality).0.proj.weight.dims()[2];
        let clips = if frames < tubelet { clips.repeat_dim(1, tubelet) } else { clips };
        let tubelets = cut(clips, tubelet, self.config.patch);
        let tubelets = match kept {
            Some(kept) => positions::gather_tokens(tubelets, kept),
            None => tubelets,
        };
        let [_, count, values] = tubelets.dims();
        let at = kept.map_or_else(|| every(batch, grid.len()), <[u32]>::to_vec);
        let sets = ops::Sets::uniform(batch, count);
        let packed = Packed { grid, at: &at, sets: &sets, modality };
        let outputs = self.rows(tubelets.reshape([batch * count, values]), packed, layers);
        outputs.into_iter().map(|rows| rows.reshape([batch, count, self.config.width])).collect()
    }

    /// The same of tokens of several clips that are packed, any number of each: no padding.
    ///
    /// # Shapes
    /// - `tubelets`: `[T, C·t·p·p]`, normalised, each `[C, t, p, p]`; of single images t is 1 where they have a tokeniser of their own
    /// - output: one `[T, D]` for each of `layers`
    ///
    /// # Panics
    /// If there is no such block.
    pub fn rows(&self, tubelets: Tensor<2>, packed: Packed<'_>, layers: &[usize]) -> Vec<Tensor<2>> {
        assert!(layers.iter().all(|layer| *layer < self.blocks.len()), "a layer beyond the last");
        let Packed { grid, at, sets, modality } = packed;
        let (embed, modality) = self.embed(modality);
        let mut x = embed.forward(tubelets);
        let [_, d] = x.dims();
        if let Some(modality) = modality {
            x = x + modality.val().reshape([1, d]);
        }
        let (mut x, turns) = match &self.config.positions {
            Positions::Added(..) => {
                let table = self.pos_embed.as_ref().expect("added codes lie in a table").val().inner();
                // The beginning of the table for shorter clips, as released.
                let known = table.dims()[1];
                (x + ops::gather(table.reshape([known, d]), at), None)
            }
            Positions::Turned(rope) => (x, Some(rope.turns(grid, d / self.config.heads, at.to_vec()))),
        };
        let needed = layers.iter().max().map_or(0, |last| last + 1);
        let mut outputs: Vec<Option<Tensor<2>>> = layers.iter().map(|_| None).collect();
        for (i, block) in self.blocks.iter().take(needed).enumerate() {
            x = block.forward_turned(x, sets, turns.as_ref());
            for (output, _) in outputs.iter_mut().zip(layers).filter(|(_, layer)| **layer == i) {
                *output = Some(self.norm_of(i).forward(x.clone()));
            }
        }
        outputs.into_iter().map(|output| output.expect("every layer was met")).collect()
    }

    /// The blocks whose outputs a predictor takes and is held against: the levels of V-JEPA 2.1, the last block of the others.
    pub fn supervised(&self) -> Vec<usize> {
        match &self.config.dense {
            Some(dense) => dense.levels.clone(),
            None => vec![self.blocks.len().saturating_sub(1)],
        }
    }

    /// The levels of V-JEPA 2.1 side by side, `[B, N or K, 4 D]`: what its predictor takes. Inputs as in [`encode`](Self::encode).
    pub fn levels(&self, clips: Tensor<5>, kept: Option<&[u32]>) -> Tensor<3> {
        match &self.config.dense {
            Some(dense) => Tensor::cat(self.layers(clips, kept, &dense.levels), 2),
            None => self.encode(clips, kept),
        }
    }

    /// Lays the blocks' maps out for many passes: in f32 at the cost of memory for the weights once more, in fewer bits in their
    /// place. Whether they are at that precision now.
    pub fn prepare(&mut self, precision: Precision) -> bool {
        self.blocks.iter_mut().all(|block| block.pack(precision))
    }

    fn norm_of(&self, layer: usize) -> &LayerNorm {
        let level = self.config.dense.iter().find_map(|dense| dense.levels.iter().position(|level| *level == layer));
        let of_level = level.and_then(|level| self.norms_block.get(level));
        of_level.or(self.norm.as_ref()).or(self.norms_block.last()).expect("a network has a norm")
    }

    /// The tokeniser of what is encoded, and what is added to each of its tokens.
    pub(crate) fn embed(&self, modality: Modality) -> (&TubeletEmbed, Option<&Param<Tensor<3>>>) {
        match (&self.patch_embed_img, modality) {
            (Some(embed), Modality::Image) => (embed, self.img_mod_embed.as_ref()),
            _ => (&self.patch_embed, self.video_mod_embed.as_ref()),
        }
    }
}

/// See [`ClipVit::rescaled`].
pub(crate) fn rescaled(blocks: Vec<Block>) -> Vec<Block> {
    let numbered = blocks.into_iter().enumerate();
    numbered
        .map(|(i, block)| {
            change(block, &mut |parameter, values| match parameter.name {
                "attn.proj.weight" | "mlp.fc2.weight" => values / (2.0 * (i + 1) as f64).sqrt(),
                _ => values,
            })
        })
        .collect()
}

/// Every token of each sample, `[B, N]` row-major.
pub(crate) fn every(batch: usize, tokens: usize) -> Vec<u32> {
    (0..batch).flat_map(|_| 0..tokens as u32).collect()
}

/// Clips `[B, T, C, H, W]` → tubelets `[B, N, C·t·p·p]`, frame by frame in raster order, each `[C, t, p, p]`; what is left beyond the
/// last whole one is dropped.
pub fn cut(clips: Tensor<5>, tubelet: usize, patch: usize) -> Tensor<3> {
    let [b, frames, c, height, width] = clips.dims();
    let (times, rows, cols) = (frames / tubelet, height / patch, width / patch);
    let clips = clips.slice([0..b, 0..times * tubelet, 0..c, 0..rows * patch, 0..cols * patch]);
    clips.reshape([b, times, tubelet, c, rows, patch, cols, patch]).permute([0, 1, 4, 6, 3, 2, 5, 7]).reshape([
        b,
        times * rows * cols,
        c * tubelet * patch * patch,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_released_ones_and_spread_elsewhere() {
        for (depth, levels) in [
            (1, vec![0]),
            (2, vec![0, 1]),
            (4, vec![0, 1, 2, 3]),
            (6, vec![0, 2, 3, 5]),
            (12, vec![2, 5, 8, 11]),
            (24, vec![5, 11, 17, 23]),
            (40, vec![9, 19, 29, 39]),
            (48, vec![11, 23, 37, 47]),
        ] {
            assert_eq!(Dense::spread(depth).levels, levels, "{depth}");
        }
        assert_eq!(Dense::of_depth(6), None);
    }
}
