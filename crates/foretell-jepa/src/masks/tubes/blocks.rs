//! Tubes whose places are drawn as those of images are: each token hidden equally often.

use foretell_data::random::{Stream, rng};
use foretell_nn::positions::Grid as ClipGrid;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::super::pack::uniform;
use super::super::{BatchMasks, BlockMasks, MaskError, RandomMasks, SHARES, check_range};
use super::{TubeMasks, places};

/// The blocks of one mask set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TubeSet {
    /// Blocks, side by side.
    pub blocks: usize,
    /// What they hide of a frame together, drawn uniformly from `[low, high]` once for each batch.
    pub share: (f64, f64),
    /// Height / width of a block.
    #[serde(default = "usual_aspect")]
    pub aspect: (f64, f64),
    /// Share of the frames through which a tube goes, drawn once for each batch; it begins at any frame and goes on at the first
    /// one behind the last, so that every frame is hidden equally often.
    #[serde(default = "whole")]
    pub time: (f64, f64),
}

/// The published aspects of a block.
pub(super) fn usual_aspect() -> (f64, f64) {
    (0.75, 1.5)
}

/// All of something.
pub(super) fn whole() -> (f64, f64) {
    (1.0, 1.0)
}

impl TubeSet {
    /// V-JEPA's short-range set: as much as eight blocks of 15 % of a frame hide where they may overlap.
    pub fn short() -> Self {
        Self { blocks: 8, share: (0.6, 0.66), aspect: (0.75, 1.5), time: (1.0, 1.0) }
    }

    /// V-JEPA's long-range set: as much as two blocks of 70 % hide.
    pub fn long() -> Self {
        Self { blocks: 2, share: (0.78, 0.84), aspect: (0.75, 1.5), time: (1.0, 1.0) }
    }

    /// V-JEPA 2.1's set of single images: as much as ten blocks of 15 % hide.
    pub fn image() -> Self {
        Self { blocks: 10, share: (0.66, 0.72), ..Self::short() }
    }

    fn blocks(&self) -> BlockMasks {
        let each = |share: f64| share / self.blocks.max(1) as f64;
        BlockMasks {
            targets: self.blocks,
            target_scale: (each(self.share.0), each(self.share.1)),
            target_aspect: self.aspect,
            ..BlockMasks::default()
        }
    }

    fn check(&self, grid: ClipGrid) -> Result<(), MaskError> {
        check_range("share", self.share, 1.0, SHARES)?;
        check_range("time", self.time, 1.0, SHARES)?;
        self.blocks().check(places(grid).0)
    }

    /// The set of this number.
    fn draw(&self, grid: ClipGrid, batch: usize, (seed, step, set): (u64, u64, usize)) -> Result<TubeMasks, MaskError> {
        let step = of_set(step, set);
        let drawn = self.blocks().draw(places(grid).0, batch, seed, step)?;
        let mut shared = rng(seed, Stream::Mask, step, u64::MAX - 1);
        let frames = (uniform(self.time, &mut shared) * grid.frames as f64).round().clamp(1.0, grid.frames as f64);
        Ok(through(&drawn, grid, frames as usize, |i| {
            rng(seed, Stream::Mask, step, u64::MAX / 2 + i as u64).random_range(0..grid.frames as u32) as usize
        }))
    }
}

/// A step of its own for each mask set: no run takes so many.
fn of_set(step: u64, set: usize) -> u64 {
    step ^ ((set as u64) << 58)
}

/// Tubes over the targets of images, through `frames` frames from the one that `first` says on; all else is seen.
fn through(drawn: &BatchMasks, grid: ClipGrid, frames: usize, first: impl Fn(usize) -> usize) -> TubeMasks {
    let (frame, in_space) = places(grid);
    TubeMasks::of((0..drawn.batch).map(|i| {
        let mut hidden = vec![false; frame.tokens()];
        for k in 0..drawn.targets {
            drawn.target_of(i, k).iter().for_each(|token| hidden[*token as usize] = true);
        }
        let first = first(i);
        let is_hidden = |token: usize| {
            if !in_space {
                return hidden[token];
            }
            let (at, place) = (token / hidden.len(), token % hidden.len());
            hidden[place] && (at + grid.frames - first) % grid.frames < frames
        };
        let (target, context): (Vec<u32>, Vec<u32>) =
            (0..grid.len() as u32).partition(|token| is_hidden(*token as usize));
        (context, target)
    }))
}

/// Unbiased multi-block tubes, the default: what is hidden of a frame are connected, disjoint blocks, and each token is hidden with
/// the same probability, exactly, on every grid. What they leave is the context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockTubes {
    /// Mask sets of a step.
    pub sets: Vec<TubeSet>,
}

impl Default for BlockTubes {
    fn default() -> Self {
        Self { sets: vec![TubeSet::short(), TubeSet::long()] }
    }
}

impl Default for TubeSet {
    fn default() -> Self {
        Self::short()
    }
}

impl BlockTubes {
    /// Refuses what `draw` would refuse.
    pub fn check(&self, grid: ClipGrid) -> Result<(), MaskError> {
        self.sets.iter().try_for_each(|set| set.check(grid))
    }

    /// The masks of the batch of `step`.
    pub fn draw(&self, grid: ClipGrid, batch: usize, seed: u64, step: u64) -> Result<Vec<TubeMasks>, MaskError> {
        self.sets.iter().enumerate().map(|(i, set)| set.draw(grid, batch, (seed, step, i))).collect()
    }
}

/// Scattered places, hidden in every frame (VideoMAE, arXiv 2203.12602): the ablation of V-JEPA's table 4. What lies beside a hidden
/// place gives it away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomTubes {
    /// Mask sets of a step.
    pub sets: usize,
    /// Share of a frame that is hidden.
    pub share: f64,
}

impl Default for RandomTubes {
    fn default() -> Self {
        Self { sets: 1, share: 0.9 }
    }
}

impl RandomTubes {
    fn masks(&self) -> RandomMasks {
        RandomMasks { targets: 1, target_scale: (self.share, self.share), min_keep: Some(1), ..RandomMasks::default() }
    }

    /// Refuses what `draw` would refuse.
    pub fn check(&self, grid: ClipGrid) -> Result<(), MaskError> {
        check_range("share", (self.share, self.share), 1.0, "a share of a frame, 0 < share ≤ 1")?;
        self.masks().check(places(grid).0)
    }

    /// The masks of the batch of `step`.
    pub fn draw(&self, grid: ClipGrid, batch: usize, seed: u64, step: u64) -> Result<Vec<TubeMasks>, MaskError> {
        let of = |set| {
            let drawn = self.masks().draw(places(grid).0, batch, seed, of_set(step, set))?;
            Ok(through(&drawn, grid, grid.frames, |_| 0))
        };
        (0..self.sets).map(of).collect()
    }
}

/// Multi-block tubes of the first frames; every later token is predicted ("causal multi-block" in V-JEPA's table 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CausalTubes {
    /// Mask sets of a step.
    pub sets: Vec<TubeSet>,
    /// Share of the frames that the context may lie in, at least one and not all.
    pub seen: f64,
}

impl Default for CausalTubes {
    fn default() -> Self {
        Self { sets: BlockTubes::default().sets, seen: 0.75 }
    }
}

impl CausalTubes {
    /// Refuses what `draw` would refuse, and clips without a future.
    pub fn check(&self, grid: ClipGrid) -> Result<(), MaskError> {
        if !(self.seen > 0.0 && self.seen < 1.0) {
            let found = self.seen.to_string();
            return Err(MaskError::Setting { key: "seen", found, expected: "a share of the frames, 0 < seen < 1" });
        }
        if grid.frames < 2 || grid.rows * grid.cols < 2 {
            return Err(MaskError::Clip { frames: grid.frames, rows: grid.rows, cols: grid.cols });
        }
        self.sets.iter().try_for_each(|set| set.check(grid))
    }

    /// The masks of the batch of `step`.
    pub fn draw(&self, grid: ClipGrid, batch: usize, seed: u64, step: u64) -> Result<Vec<TubeMasks>, MaskError> {
        let frames = ((self.seen * grid.frames as f64).round() as usize).clamp(1, grid.frames - 1);
        let past = frames * grid.rows * grid.cols;
        let cut = |masks: TubeMasks| {
            TubeMasks::of((0..masks.clips()).map(|i| {
                let context: Vec<u32> =
                    masks.context_of(i).iter().copied().filter(|token| (*token as usize) < past).collect();
                let early = masks.target_of(i).iter().copied().filter(|token| (*token as usize) < past);
                let target = early.chain(past as u32..grid.len() as u32).collect();
                (context, target)
            }))
        };
        // Tubes go through all frames: a context that is cut is never empty.
        let whole = |set: &TubeSet| TubeSet { time: (1.0, 1.0), ..set.clone() };
        let sets = BlockTubes { sets: self.sets.iter().map(whole).collect() };
        Ok(sets.draw(grid, batch, seed, step)?.into_iter().map(cut).collect())
    }
}
