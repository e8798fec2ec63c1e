//! Scattered masks: as many tokens as [`BlockMasks`](super::BlockMasks) gives each part, but uniformly random ones.
//!
//! The ablation of I-JEPA's table 6 ("random" against "multi-block"): neighbours give a hidden token away, so the
//! targets ask for texture rather than for content.

use foretell_data::random::{Stream, rng};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::pack::{HIDDEN, Shares, pack};
use super::{BatchMasks, Grid, MaskError};

/// Uniformly random token subsets. The settings mean what they mean in [`BlockMasks`](super::BlockMasks).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomMasks {
    /// Number of target sets `K`.
    pub targets: usize,
    /// Size of a target as a share of the grid, drawn uniformly from `[low, high]` once for each batch.
    pub target_scale: (f64, f64),
    /// Share of what the targets leave that the context sees, drawn once for each batch.
    pub context_scale: (f64, f64),
    /// Fewest context tokens; by default one in 16, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_keep: Option<usize>,
}

impl Default for RandomMasks {
    fn default() -> Self {
        Self { targets: 4, target_scale: (0.15, 0.2), context_scale: (1.0, 1.0), min_keep: None }
    }
}

impl RandomMasks {
    fn shares(&self) -> Shares {
        Shares {
            targets: self.targets,
            target_scale: self.target_scale,
            context_scale: self.context_scale,
            min_keep: self.min_keep,
        }
    }

    /// Refuses what `draw` would refuse.
    pub fn check(&self, grid: Grid) -> Result<(), MaskError> {
        self.shares().check(grid)
    }

    /// The masks of the batch of `step`.
    pub fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<BatchMasks, MaskError> {
        self.check(grid)?;
        let counts = self.shares().draw(grid, &mut rng(seed, Stream::Mask, step, u64::MAX));
        let mut order: Vec<u32> = Vec::with_capacity(grid.tokens());
        Ok(pack(counts, grid, batch, |i, labels| {
            // From the raster each time: a sample's mask must not depend on the samples before it.
            order.clear();
            order.extend(0..grid.tokens() as u32);
            let masked = counts.targets * counts.target_len + counts.hidden_len;
            let mut rng = rng(seed, Stream::Mask, step, i as u64);
            let (drawn, _) = order.partial_shuffle(&mut rng, masked);
            for (place, &token) in drawn.iter().enumerate() {
                let k = place / counts.target_len;
                labels[token as usize] = if k < counts.targets { k as u8 + 1 } else { HIDDEN };
            }
        }))
    }
}
