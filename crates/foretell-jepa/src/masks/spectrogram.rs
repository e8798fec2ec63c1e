//! Which tokens of a spectrogram are seen and which are predicted: the masks that the literature of sound compares. Rows of the grid are
//! bands of frequency, columns are moments.
//!
//! Scattered tokens (Audio-JEPA, arXiv 2507.02915; Riou et al., 2405.08679), blocks (I-JEPA's), whole moments, and A-JEPA's curriculum
//! (2311.15830), which goes from blocks to smaller ones whose moments and bands nobody sees.

use foretell_data::random::{Stream, rng};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::pack::uniform;
use super::{
    ASPECTS, BatchMasks, BlockMasks, Grid, MOST_ASPECT, MaskError, OfficialMasks, RandomMasks, SHARES, check_range,
};

/// Which masks a run over spectrograms draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SpectrogramMasks {
    /// Scattered tokens are predicted from all others.
    Unstructured(Hidden),
    /// Blocks, unbiased: I-JEPA's as we draw them.
    MultiBlock(BlockMasks),
    /// Blocks as the released I-JEPA draws them.
    Official(OfficialMasks),
    /// Scattered moments, all bands of each.
    TimeOnly(Hidden),
    /// From blocks to smaller blocks whose moments and bands nobody sees.
    Curriculum(Curriculum),
}

impl Default for SpectrogramMasks {
    fn default() -> Self {
        Self::Unstructured(Hidden::default())
    }
}

/// How much is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hidden {
    /// Share of the grid that is predicted, drawn uniformly from `[low, high]` once for each batch; the rest is seen.
    pub share: (f64, f64),
}

impl Default for Hidden {
    fn default() -> Self {
        Self { share: (0.4, 0.6) }
    }
}

impl Hidden {
    fn check(self) -> Result<(), MaskError> {
        check_range("share", self.share, 1.0, SHARES)
    }

    fn scattered(self) -> RandomMasks {
        RandomMasks { targets: 1, target_scale: self.share, context_scale: (1.0, 1.0), min_keep: None }
    }

    /// Of a grid's columns, each with all its rows.
    fn moments(self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<BatchMasks, MaskError> {
        let drawn = self.scattered().draw(Grid::new(1, grid.cols), batch, seed, step)?;
        let spread = |columns: &[u32], len: usize| {
            let rows = |columns: &[u32]| -> Vec<u32> {
                (0..grid.rows).flat_map(|row| columns.iter().map(move |col| (row * grid.cols) as u32 + col)).collect()
            };
            columns.chunks(len.max(1)).flat_map(rows).collect()
        };
        Ok(BatchMasks {
            batch,
            context: spread(&drawn.context, drawn.context_len),
            context_len: drawn.context_len * grid.rows,
            targets: 1,
            target: spread(&drawn.target, drawn.target_len),
            target_len: drawn.target_len * grid.rows,
        })
    }
}

/// Which way the curriculum goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// From blocks to blocks without their moments and bands: the paper's.
    #[default]
    Rising,
    /// The other way round: its ablation.
    Falling,
}

/// A-JEPA's curriculum: the chance of the second kind of mask at step s of S is `min(1, √(s (1 − c²) / S + c²))` (its equation of
/// competence, after Platanios et al., 2019), drawn once for each batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curriculum {
    /// Which way.
    pub order: Order,
    /// c: the chance at the first step.
    pub start: f64,
    /// The first kind: four blocks of I-JEPA.
    pub blocks: BlockMasks,
    /// The second kind: blocks whose moments and bands the context does not have.
    pub aware: AwareMasks,
}

impl Default for Curriculum {
    fn default() -> Self {
        Self { order: Order::Rising, start: 0.01, blocks: BlockMasks::default(), aware: AwareMasks::default() }
    }
}

impl Curriculum {
    /// The chance of the second kind at a step, from 1, of so many.
    pub fn chance(&self, step: u64, steps: u64) -> f64 {
        let (done, square) = (step as f64 / steps.max(1) as f64, self.start * self.start);
        let chance = (done * (1.0 - square) + square).sqrt().min(1.0);
        if self.order == Order::Rising { chance } else { 1.0 - chance }
    }
}

/// Blocks of which the context has neither the moments nor the bands, so that nothing beside, above or below them gives them away: how
/// we read A-JEPA's time–frequency-aware masks, of which no code is published. Where that would leave fewer than `least` tokens, which on
/// low grids is usual, the context has bands of theirs, but no moments; where it would still, only the blocks are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AwareMasks {
    /// Number of target blocks.
    pub targets: usize,
    /// Size of a block as a share of the grid, drawn once for each batch.
    pub target_scale: (f64, f64),
    /// Height / width of the blocks, drawn once for each batch.
    pub target_aspect: (f64, f64),
    /// Least share of the grid that the context keeps.
    pub least: f64,
}

impl Default for AwareMasks {
    fn default() -> Self {
        Self { targets: 3, target_scale: (0.05, 0.075), target_aspect: (0.75, 1.5), least: 0.125 }
    }
}

impl AwareMasks {
    /// Refuses what `draw` would refuse.
    pub fn check(&self, grid: Grid) -> Result<(), MaskError> {
        grid.check()?;
        check_range("target_scale", self.target_scale, 1.0, SHARES)?;
        check_range("target_aspect", self.target_aspect, MOST_ASPECT, ASPECTS)?;
        let setting = |key, found: String, expected| Err(MaskError::Setting { key, found, expected });
        if !(1..=64).contains(&self.targets) {
            return setting("targets", self.targets.to_string(), "from 1 to 64");
        }
        if !(0.0..=0.5).contains(&self.least) {
            return setting("least", self.least.to_string(), "a share of the grid from 0 to 0.5");
        }
        Ok(())
    }

    /// The masks of the batch of `step`.
    pub fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<BatchMasks, MaskError> {
        self.check(grid)?;
        let mut shared = rng(seed, Stream::Mask, step, u64::MAX);
        let tokens = uniform(self.target_scale, &mut shared) * grid.tokens() as f64;
        let aspect = uniform(self.target_aspect, &mut shared);
        // A token of context is left on every grid.
        let side = |length: f64, most: usize| (length.round() as usize).clamp(1, (most / 2).max(1));
        let (height, width) = (side((tokens * aspect).sqrt(), grid.rows), side((tokens / aspect).sqrt(), grid.cols));
        let least = ((self.least * grid.tokens() as f64).ceil() as usize).max(1);
        let targets = self.targets.min((grid.tokens() - 1) / (height * width)).max(1);
        let (mut contexts, mut target) = (Vec::with_capacity(batch), Vec::new());
        for i in 0..batch {
            let mut rng = rng(seed, Stream::Mask, step, i as u64);
            let (mut rows, mut cols) = (vec![false; grid.rows], vec![false; grid.cols]);
            let mut hidden = vec![false; grid.tokens()];
            for _ in 0..targets {
                let top = rng.random_range(0..=(grid.rows - height) as u32) as usize;
                let left = rng.random_range(0..=(grid.cols - width) as u32) as usize;
                for row in top..top + height {
                    rows[row] = true;
                    for col in left..left + width {
                        cols[col] = true;
                        hidden[row * grid.cols + col] = true;
                        target.push((row * grid.cols + col) as u32);
                    }
                }
            }
            let kept = |out: &dyn Fn(usize, usize) -> bool| -> Vec<u32> {
                let places = (0..grid.tokens()).filter(|at| !out(at / grid.cols, at % grid.cols));
                places.map(|at| at as u32).collect()
            };
            let mut context = kept(&|row, col| rows[row] || cols[col]);
            if context.len() < least {
                context = kept(&|_, col| cols[col]);
            }
            if context.len() < least {
                context = kept(&|row, col| hidden[row * grid.cols + col]);
            }
            contexts.push((context, rng));
        }
        // As many for each sample: a random part of the larger ones.
        let context_len = contexts.iter().map(|(context, _)| context.len()).min().unwrap_or(1);
        let mut context = Vec::with_capacity(batch * context_len);
        for (mut places, mut rng) in contexts {
            while places.len() > context_len {
                let _ = places.remove(rng.random_range(0..places.len() as u32) as usize);
            }
            context.extend(places);
        }
        Ok(BatchMasks { batch, context_len, context, targets, target_len: height * width, target })
    }
}

impl SpectrogramMasks {
    /// The masks of the batch of `step`, from 1, of `steps` in all: a pure function of its arguments.
    pub fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64, steps: u64) -> Result<BatchMasks, MaskError> {
        match self {
            Self::Unstructured(hidden) => hidden.scattered().draw(grid, batch, seed, step),
            Self::MultiBlock(masks) => masks.draw(grid, batch, seed, step),
            Self::Official(masks) => masks.draw(grid, batch, seed, step),
            Self::TimeOnly(hidden) => hidden.moments(grid, batch, seed, step),
            Self::Curriculum(curriculum) => {
                // A place of its own in the stream: what the kinds draw does not depend on which is drawn.
                let aware =
                    rng(seed, Stream::Mask, step, u64::MAX - 1).random::<f64>() < curriculum.chance(step, steps);
                if aware {
                    curriculum.aware.draw(grid, batch, seed, step)
                } else {
                    curriculum.blocks.draw(grid, batch, seed, step)
                }
            }
        }
    }

    /// Those of the beginning of a run and those of its end: of a curriculum its two kinds.
    pub fn ends(&self) -> [Self; 2] {
        let Self::Curriculum(curriculum) = self else { return [self.clone(), self.clone()] };
        let always = |order| Self::Curriculum(Curriculum { order, start: 1.0, ..curriculum.clone() });
        let (blocks, aware) = (always(Order::Falling), always(Order::Rising));
        if curriculum.order == Order::Rising { [blocks, aware] } else { [aware, blocks] }
    }

    /// Refuses what `draw` would refuse on this grid, before a run begins.
    pub fn check(&self, grid: Grid) -> Result<(), MaskError> {
        match self {
            Self::Unstructured(hidden) => hidden.check().and_then(|()| hidden.scattered().check(grid)),
            Self::MultiBlock(masks) => masks.check(grid),
            Self::Official(masks) => masks.check(grid),
            Self::TimeOnly(hidden) => {
                grid.check()?;
                hidden.check()?;
                hidden.scattered().check(Grid::new(1, grid.cols))
            }
            Self::Curriculum(Curriculum { start, blocks, aware, .. }) => {
                if !(0.0..=1.0).contains(start) {
                    let (key, expected) = ("start", "a chance from 0 to 1");
                    return Err(MaskError::Setting { key, found: start.to_string(), expected });
                }
                blocks.check(grid)?;
                aware.check(grid)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> [SpectrogramMasks; 6] {
        let falling = Curriculum { order: Order::Falling, ..Curriculum::default() };
        [
            SpectrogramMasks::default(),
            SpectrogramMasks::MultiBlock(BlockMasks::default()),
            // Its blocks of the smallest grid are of nine tokens, and with the usual ten to keep it would never end.
            SpectrogramMasks::Official(OfficialMasks { min_keep: 4, ..OfficialMasks::default() }),
            SpectrogramMasks::TimeOnly(Hidden::default()),
            SpectrogramMasks::Curriculum(Curriculum::default()),
            SpectrogramMasks::Curriculum(falling),
        ]
    }

    #[test]
    fn no_target_is_seen_and_lists_are_of_one_length() {
        for grid in [Grid::new(8, 8), Grid::new(5, 13), Grid::new(8, 64), Grid::new(6, 32)] {
            for masks in all() {
                masks.check(grid).unwrap();
                for step in 1..=30 {
                    let drawn = masks.draw(grid, 4, 3, step, 30).unwrap();
                    assert_eq!(drawn, masks.draw(grid, 4, 3, step, 30).unwrap());
                    assert_eq!(drawn.context.len(), 4 * drawn.context_len);
                    assert_eq!(drawn.target.len(), 4 * drawn.targets * drawn.target_len);
                    assert!(drawn.context_len > 0 && drawn.target_len > 0);
                    for i in 0..4 {
                        let context: BTreeSet<u32> = drawn.context_of(i).iter().copied().collect();
                        assert_eq!(context.len(), drawn.context_len);
                        for k in 0..drawn.targets {
                            let target = drawn.target_of(i, k);
                            assert!(target.is_sorted() && target.iter().all(|t| (*t as usize) < grid.tokens()));
                            // The released context gives way to nothing after some attempts.
                            let apart = target.iter().all(|t| !context.contains(t));
                            assert!(apart || matches!(masks, SpectrogramMasks::Official(_)), "{grid:?} {masks:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn whole_moments_are_hidden() {
        let grid = Grid::new(5, 13);
        let drawn = SpectrogramMasks::TimeOnly(Hidden::default()).draw(grid, 3, 0, 1, 1).unwrap();
        for i in 0..3 {
            let columns: BTreeSet<usize> = drawn.target_of(i, 0).iter().map(|t| *t as usize % 13).collect();
            assert_eq!(drawn.target_len, 5 * columns.len());
            assert!((5..=8).contains(&columns.len()));
            assert!(drawn.context_of(i).iter().all(|t| !columns.contains(&(*t as usize % 13))));
        }
    }

    #[test]
    fn what_lies_beside_an_aware_block_is_not_seen() {
        let grid = Grid::new(16, 16);
        let drawn = AwareMasks { targets: 2, ..AwareMasks::default() }.draw(grid, 8, 0, 1).unwrap();
        for i in 0..8 {
            let of = |places: &[u32], part: fn(usize) -> usize| -> BTreeSet<usize> {
                places.iter().map(|t| part(*t as usize)).collect()
            };
            let context = drawn.context_of(i);
            for k in 0..2 {
                for part in [|t| t / 16, |t| t % 16] {
                    assert!(of(context, part).is_disjoint(&of(drawn.target_of(i, k), part)));
                }
            }
        }
        // On a low grid all bands are some block's: moments alone are hidden then.
        let low = Grid::new(8, 64);
        let drawn = AwareMasks::default().draw(low, 8, 0, 1).unwrap();
        assert!(drawn.context_len >= 64, "{}", drawn.context_len);
    }

    #[test]
    fn the_curriculum_rises_as_the_paper_has_it() {
        let rising = Curriculum::default();
        assert!((rising.chance(0, 100) - 0.01).abs() < 1e-12);
        assert!((rising.chance(25, 100) - (0.25 * (1.0 - 1e-4) + 1e-4_f64).sqrt()).abs() < 1e-12);
        assert_eq!(rising.chance(100, 100), 1.0);
        let falling = Curriculum { order: Order::Falling, ..rising.clone() };
        assert_eq!(falling.chance(100, 100), 0.0);
        let targets = |masks: SpectrogramMasks| masks.draw(Grid::new(8, 8), 1, 0, 5, 9).unwrap().targets;
        assert_eq!(SpectrogramMasks::Curriculum(falling).ends().map(targets), [3, 4]);
        // Of the batches of the last quarter, most are of the second kind (three targets), of the first steps hardly any.
        let masks = SpectrogramMasks::Curriculum(rising);
        let aware = |steps: std::ops::Range<u64>| {
            steps.filter(|step| masks.draw(Grid::new(8, 8), 1, 0, *step, 1000).unwrap().targets == 3).count()
        };
        assert!(aware(1..50) < 20 && aware(900..1000) > 85, "{} {}", aware(1..50), aware(900..1000));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let grid = Grid::new(8, 8);
        let refused = |masks: SpectrogramMasks| masks.check(grid).unwrap_err().to_string();
        assert!(refused(SpectrogramMasks::Unstructured(Hidden { share: (0.5, 1.5) })).contains("share"));
        assert!(refused(SpectrogramMasks::TimeOnly(Hidden { share: (0.0, 0.5) })).contains("share"));
        let start = Curriculum { start: 2.0, ..Curriculum::default() };
        assert!(refused(SpectrogramMasks::Curriculum(start)).contains("start"));
        let aware = AwareMasks { least: 0.9, ..AwareMasks::default() };
        assert!(refused(SpectrogramMasks::Curriculum(Curriculum { aware, ..Curriculum::default() })).contains("least"));
        assert!(SpectrogramMasks::TimeOnly(Hidden::default()).check(Grid::new(8, 1)).is_err());
    }
}
