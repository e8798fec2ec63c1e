//! Which tokens the context encoder sees and which ones the predictor must foretell, for each sample of a batch.
//!
//! Three samplers, one result ([`BatchMasks`], dense and equally long for all samples):
//!
//! - [`BlockMasks`], the default: the multi-block masks of I-JEPA (arXiv 2301.08243), made unbiased. Every token is
//!   context equally often and target equally often, exactly, on every grid, and no token is thrown away to make the
//!   samples equally long.
//! - [`RandomMasks`]: the same numbers of tokens, scattered. The ablation: what are blocks good for?
//! - [`OfficialMasks`]: what the released I-JEPA code draws, quirks included.
//!
//! Clips have [`tubes`]: what is hidden of a frame stays so over time. Sound has [`SpectrogramMasks`].
//!
//! Where hidden tokens go through the encoder too, as mask tokens, [`HiddenConfig`] says which: the same result with one target.
//!
//! A mask is a function of (seed, step, place in the batch); see [`foretell_data::random`].

mod blocks;
mod hidden;
mod official;
mod pack;
mod random;
mod spectrogram;
pub mod tubes;
mod walk;

use serde::{Deserialize, Serialize};

pub use blocks::BlockMasks;
pub use hidden::{Corners, HiddenConfig, HiddenTokens, HiddenWindows};
pub use official::OfficialMasks;
pub use random::RandomMasks;
pub use spectrogram::{AwareMasks, Curriculum, Hidden, Order, SpectrogramMasks};

/// A token grid in raster order: token `r · cols + c` lies in row `r` and column `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]

pub struct Grid {
    /// Number of rows `H`.
    pub rows: usize,
    /// Number of columns `W`.
    pub cols: usize,
}

impl Grid {
    /// The grid of `rows` × `cols` tokens.
    pub const fn new(rows: usize, cols: usize) -> Self {
        Self { rows, cols }
    }

    /// Number of tokens `N = H · W`.
    pub const fn tokens(self) -> usize {
        self.rows.saturating_mul(self.cols)
    }

    /// Refuses a grid that no mask divides into a context and a target.
    fn check(self) -> Result<(), MaskError> {
        if self.tokens() < 2 || self.tokens() > MOST_TOKENS {
            return Err(MaskError::Grid { rows: self.rows, cols: self.cols });
        }
        Ok(())
    }
}

/// More tokens than any encoder takes; keeps a token's number far inside `u32`.
const MOST_TOKENS: usize = 1 << 24;

/// One sample's token positions, each list in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleMask {
    /// What the context encoder sees.
    pub context: Vec<u32>,
    /// What the predictor must foretell, block by block.
    pub targets: Vec<Vec<u32>>,
}

/// The masks of one batch, equally long for all samples, so that they gather into dense tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchMasks {
    /// Number of samples `B`.
    pub batch: usize,
    /// Context tokens of each sample, `N_c`.
    pub context_len: usize,
    /// Positions of the context tokens, `[B, N_c]`, each row ascending.
    pub context: Vec<u32>,
    /// Target blocks of each sample, `K`.
    pub targets: usize,
    /// Tokens of each target block, `N_t`.
    pub target_len: usize,
    /// Positions of the target tokens, `[B, K, N_t]`, each row ascending.
    pub target: Vec<u32>,
}

impl BatchMasks {
    /// Context positions of sample `i`, `[N_c]`.
    pub fn context_of(&self, i: usize) -> &[u32] {
        &self.context[i * self.context_len..][..self.context_len]
    }

    /// Positions of target block `k` of sample `i`, `[N_t]`.
    pub fn target_of(&self, i: usize, k: usize) -> &[u32] {
        &self.target[(i * self.targets + k) * self.target_len..][..self.target_len]
    }

    /// The index sets of sample `i`.
    pub fn sample(&self, i: usize) -> SampleMask {
        SampleMask {
            context: self.context_of(i).to_vec(),
            targets: (0..self.targets).map(|k| self.target_of(i, k).to_vec()).collect(),
        }
    }

    /// What becomes of each token in sample `i`, `[N]`: 0 neither seen nor predicted, 1 context, `2 + k` target `k`
    /// (at most 255).
    ///
    /// Official masks may overlap: the higher target wins, and a target wins over the context.
    pub fn picture(&self, i: usize, grid: Grid) -> Vec<u8> {
        let mut classes = vec![0; grid.tokens()];
        for &token in self.context_of(i) {
            classes[token as usize] = 1;
        }
        for k in 0..self.targets {
            for &token in self.target_of(i, k) {
                classes[token as usize] = u8::try_from(k + 2).unwrap_or(u8::MAX);
            }
        }
        classes
    }

    /// What the batch covers, counted.
    pub fn statistics(&self, grid: Grid) -> MaskStatistics {
        let n = grid.tokens();
        let mut context = vec![0.0; n];
        let mut target = vec![0.0; n];
        let (mut union, mut hidden) = (0, 0);
        for i in 0..self.batch {
            for class in self.picture(i, grid) {
                hidden += usize::from(class == 0);
                union += usize::from(class >= 2);
            }
            for &token in self.context_of(i) {
                context[token as usize] += 1.0;
            }
            for k in 0..self.targets {
                for &token in self.target_of(i, k) {
                    target[token as usize] += 1.0;
                }
            }
        }
        let samples = self.batch.max(1) as f64;
        for share in &mut context {
            *share /= samples;
        }
        let blocks = samples * self.targets.max(1) as f64;
        for share in &mut target {
            *share /= blocks;
        }
        MaskStatistics {
            context_len: self.context_len,
            target_len: self.target_len,
            union: union as f64 / samples,
            hidden: hidden as f64 / samples,
            context,
            target,
        }
    }
}

/// What a batch of masks covers.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskStatistics {
    /// Context tokens of each sample.
    pub context_len: usize,
    /// Tokens of each target block.
    pub target_len: usize,
    /// Mean number of different tokens that are a target in a sample.
    pub union: f64,
    /// Mean number of tokens that are neither seen nor predicted in a sample.
    pub hidden: f64,
    /// For each token, the share of the samples in which it is context, `[N]`.
    pub context: Vec<f64>,
    /// For each token, the share of all target blocks that hold it, `[N]`.
    pub target: Vec<f64>,
}

/// Which masks a run draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum MaskConfig {
    /// Contiguous blocks, unbiased.
    Blocks(BlockMasks),
    /// Scattered tokens, unbiased.
    Random(RandomMasks),
    /// The released I-JEPA collator.
    Official(OfficialMasks),
}

impl Default for MaskConfig {
    fn default() -> Self {
        Self::Blocks(BlockMasks::default())
    }
}

impl MaskConfig {
    /// The masks of the batch of `step`: a pure function of its arguments.
    pub fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<BatchMasks, MaskError> {
        match self {
            Self::Blocks(masks) => masks.draw(grid, batch, seed, step),
            Self::Random(masks) => masks.draw(grid, batch, seed, step),
            Self::Official(masks) => masks.draw(grid, batch, seed, step),
        }
    }

    /// Refuses what `draw` would refuse on this grid, before a run begins.
    pub fn check(&self, grid: Grid) -> Result<(), MaskError> {
        match self {
            Self::Blocks(masks) => masks.check(grid),
            Self::Random(masks) => masks.check(grid),
            Self::Official(masks) => masks.check(grid),
        }
    }
}

/// Why no mask can be drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MaskError {
    /// A context and a target need a token each, and a future two frames.
    #[error(
        "clips of {frames} × {rows} × {cols} tokens (time, height, width) cannot be masked so: a token to see and one to predict are \
         needed, and where the future is predicted two frames of two tokens; change the clip or the patch size"
    )]
    Clip {
        /// Frames of the grid.
        frames: usize,
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
    },
    /// The released sampler has no block for so small a clip, or one that hides all of it.
    #[error(
        "official tubes need blocks of at least one token that leave some, and on {frames} × {rows} × {cols} tokens (time, height, \
         width) these settings give {height} × {width} through time; take a larger grid, or masks of kind `blocks`"
    )]
    NoTube {
        /// Frames of the grid.
        frames: usize,
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
        /// Rows of the block.
        height: usize,
        /// Columns of the block.
        width: usize,
    },
    /// A context and a target need a token each.
    #[error(
        "a grid of {rows} × {cols} tokens cannot be masked: at least 2 tokens (one to see, one to predict) and at \
         most 16777216 are needed; change the image or the patch size"
    )]
    Grid {
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
    },
    /// A setting lies outside its range.
    #[error("mask setting `{key}` is {found}, but must be {expected}")]
    Setting {
        /// The setting's name.
        key: &'static str,
        /// Its value.
        found: String,
        /// Its range.
        expected: &'static str,
    },
    /// The context may not keep every token.
    #[error(
        "mask setting `min_keep` is {min_keep}, but a grid of {rows} × {cols} tokens has at most {most} for the \
         context once a target has its token; set `min_keep` to {most} or less, or leave it out"
    )]
    KeepsAll {
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
        /// The setting.
        min_keep: usize,
        /// The highest possible setting.
        most: usize,
    },
    /// The released sampler has no block for so small a grid.
    #[error(
        "official masks need blocks of at least one token that are smaller than the grid in both directions, and on \
         {rows} × {cols} tokens these settings give {height} × {width}; take a larger grid, or masks of kind `blocks`"
    )]
    NoBlock {
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
        /// Rows of the block.
        height: usize,
        /// Columns of the block.
        width: usize,
    },
    /// The released sampler would look for a block for ever.
    #[error(
        "official masks with `min_keep` = {min_keep} never end on {rows} × {cols} tokens: a block must have more than \
         `min_keep` tokens, and they can be as small as {height} × {width}; set `min_keep` to {works} or less, or \
         take masks of kind `blocks`"
    )]
    NeverEnds {
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
        /// The setting.
        min_keep: usize,
        /// Rows of the smallest block.
        height: usize,
        /// Columns of the smallest block.
        width: usize,
        /// The highest setting that always ends.
        works: usize,
    },
}

/// Refuses a range `(low, high)` that is not `0 < low ≤ high ≤ most`.
fn check_range(key: &'static str, (low, high): (f64, f64), most: f64, expected: &'static str) -> Result<(), MaskError> {
    // Written so that NaN fails.
    if low > 0.0 && low <= high && high <= most {
        return Ok(());
    }
    Err(MaskError::Setting { key, found: format!("[{low}, {high}]"), expected })
}

const SHARES: &str = "two shares of the grid, [low, high] with 0 < low ≤ high ≤ 1";
const ASPECTS: &str = "two ratios of height to width, [low, high] with 0 < low ≤ high ≤ 1000";
const MOST_ASPECT: f64 = 1000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_token_is_refused_in_a_sentence() {
        for masks in [
            MaskConfig::default(),
            MaskConfig::Random(RandomMasks::default()),
            MaskConfig::Official(OfficialMasks::default()),
        ] {
            let error = masks.draw(Grid::new(1, 1), 4, 0, 0).unwrap_err();
            assert_eq!(error, MaskError::Grid { rows: 1, cols: 1 });
            assert!(error.to_string().starts_with("a grid of 1 × 1 tokens cannot be masked"));
        }
    }

    #[test]
    fn statistics_and_picture_count_what_is_there() {
        let masks = BatchMasks {
            batch: 2,
            context_len: 1,
            context: vec![0, 5],
            targets: 2,
            target_len: 2,
            target: vec![1, 2, 2, 3, 0, 1, 2, 3],
        };
        let grid = Grid::new(2, 3);
        assert_eq!(masks.picture(0, grid), [1, 2, 3, 3, 0, 0]);
        assert_eq!(masks.picture(1, grid), [2, 2, 3, 3, 0, 1]);
        let statistics = masks.statistics(grid);
        assert_eq!(statistics.union, 3.5);
        assert_eq!(statistics.hidden, 1.5);
        assert_eq!(statistics.context, [0.5, 0.0, 0.0, 0.0, 0.0, 0.5]);
        assert_eq!(statistics.target, [0.25, 0.5, 0.75, 0.5, 0.0, 0.0]);
        assert_eq!(masks.sample(1), SampleMask { context: vec![5], targets: vec![vec![0, 1], vec![2, 3]] });
    }

    #[test]
    fn a_mask_is_a_function_of_seed_step_and_place() {
        let grid = Grid::new(14, 14);
        for masks in [
            MaskConfig::default(),
            MaskConfig::Random(RandomMasks::default()),
            MaskConfig::Official(OfficialMasks::default()),
        ] {
            let here = masks.draw(grid, 8, 1, 2).unwrap();
            assert_eq!(here, masks.draw(grid, 8, 1, 2).unwrap());
            assert_ne!(here, masks.draw(grid, 8, 1, 3).unwrap());
            assert_ne!(here, masks.draw(grid, 8, 2, 2).unwrap());
            let first = masks.draw(grid, 1, 1, 2).unwrap();
            assert_eq!(here.target_of(0, 3), first.target_of(0, 3));
            assert_ne!(here.target_of(0, 0), here.target_of(1, 0));
        }
    }
}
