//! Masks with the distribution of the released I-JEPA code (arXiv 2301.08243, facebookresearch/ijepa), quirks included.
//!
//! - One uniform number decides a block's scale *and* its aspect, for the whole batch: larger targets are taller.
//! - A block is smaller than the grid in both directions, and its place excludes the last possible one: the last row and
//!   the last column are never inside any block. On 16 × 16 and 14 × 14 the context block is therefore always the
//!   (H−1) × (W−1) tokens at the top left, and the context scale has no effect.
//! - Targets may overlap. The context avoids them, but after 20 attempts without more than `min_keep` tokens it may
//!   overlap the last target, after 20 more the last two, and so on.
//! - Context lists are cut to the shortest one of the batch from the front, so that the bottom of the grid is dropped.
//! - A block that can never have more than `min_keep` tokens makes the released code loop for ever. Here it is an error.

use foretell_data::random::{Stream, rng};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::pack::{MOST_TARGETS, uniform};
use super::{ASPECTS, BatchMasks, Grid, MOST_ASPECT, MaskError, SHARES, SampleMask, check_range};

/// The masks of the released I-JEPA collator, with their quirks: one random number for a block's scale and aspect, no
/// block in the last row or column, targets that may overlap, contexts cut from the bottom to the batch's shortest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfficialMasks {
    /// Number of target blocks `K` (`num_pred_masks`).
    pub targets: usize,
    /// Size of a target block as a share of the grid (`pred_mask_scale`).
    pub target_scale: (f64, f64),
    /// Height / width of a target block (`aspect_ratio`).
    pub target_aspect: (f64, f64),
    /// Size of the context block as a share of the grid (`enc_mask_scale`).
    pub context_scale: (f64, f64),
    /// A block must have *more* than this many tokens.
    pub min_keep: usize,
    /// The context keeps the targets' tokens.
    pub allow_overlap: bool,
}

impl Default for OfficialMasks {
    fn default() -> Self {
        Self {
            targets: 4,
            target_scale: (0.15, 0.2),
            target_aspect: (0.75, 1.5),
            context_scale: (0.85, 1.0),
            min_keep: 10,
            allow_overlap: false,
        }
    }
}

/// Attempts before one more target no longer binds the context.
const PATIENCE: usize = 20;

/// Rows and columns of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    height: usize,
    width: usize,
}

impl Block {
    fn area(self) -> usize {
        self.height * self.width
    }

    /// The block that the one number `r` in `[0, 1)` stands for.
    fn from_number(grid: Grid, r: f64, scale: (f64, f64), aspect: (f64, f64)) -> Self {
        let scale = scale.0 + r * (scale.1 - scale.0);
        let aspect = aspect.0 + r * (aspect.1 - aspect.0);
        let tokens = (grid.tokens() as f64 * scale).floor();
        // Python's `round` goes to the even number.
        let side = |x: f64, most: usize| (x.sqrt().round_ties_even() as usize).min(most - 1);
        Self { height: side(tokens * aspect, grid.rows), width: side(tokens / aspect, grid.cols) }
    }

    /// A place with the released code's exclusive ends.
    fn place(self, grid: Grid, rng: &mut impl Rng) -> (usize, usize) {
        let top = rng.random_range(0..(grid.rows - self.height) as u32) as usize;
        let left = rng.random_range(0..(grid.cols - self.width) as u32) as usize;
        (top, left)
    }

    /// Its tokens in raster order, from `(top, left)` on.
    fn tokens(self, grid: Grid, (top, left): (usize, usize)) -> impl Iterator<Item = u32> {
        (top..top + self.height).flat_map(move |row| {
            let start = row * grid.cols + left;
            start as u32..(start + self.width) as u32
        })
    }
}

impl OfficialMasks {
    /// Refuses settings out of range, and those with which the released code may never end on this grid.
    pub fn check(&self, grid: Grid) -> Result<(), MaskError> {
        grid.check()?;
        if !(1..=MOST_TARGETS).contains(&self.targets) {
            return Err(MaskError::Setting {
                key: "targets",
                found: self.targets.to_string(),
                expected: "from 1 to 250",
            });
        }
        check_range("target_scale", self.target_scale, 1.0, SHARES)?;
        check_range("context_scale", self.context_scale, 1.0, SHARES)?;
        check_range("target_aspect", self.target_aspect, MOST_ASPECT, ASPECTS)?;
        // Sizes are steps of the one number; a thousand values meet every step wide enough to matter, and `draw` looks
        // at its own blocks again.
        let numbers = (0..=1000).map(|i| f64::from(i) / 1000.0);
        let smallest = numbers
            .flat_map(|r| [self.target_block(grid, r), self.context_block(grid, r)])
            .min_by_key(|block| block.area());
        smallest.map_or(Ok(()), |block| self.check_block(grid, block))
    }

    fn target_block(&self, grid: Grid, r: f64) -> Block {
        Block::from_number(grid, r, self.target_scale, self.target_aspect)
    }

    fn context_block(&self, grid: Grid, r: f64) -> Block {
        Block::from_number(grid, r, self.context_scale, (1.0, 1.0))
    }

    fn check_block(&self, grid: Grid, block: Block) -> Result<(), MaskError> {
        let Grid { rows, cols } = grid;
        let Block { height, width } = block;
        if block.area() == 0 {
            return Err(MaskError::NoBlock { rows, cols, height, width });
        }
        if block.area() <= self.min_keep {
            return Err(MaskError::NeverEnds {
                rows,
                cols,
                min_keep: self.min_keep,
                height,
                width,
                works: block.area() - 1,
            });
        }
        Ok(())
    }

    /// The masks of the batch of `step`, cut to the shortest context.
    pub fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<BatchMasks, MaskError> {
        let mut masks = BatchMasks { batch, targets: self.targets, ..BatchMasks::default() };
        let mut ends = Vec::with_capacity(batch);
        masks.target_len = self.sample_blocks(grid, batch, seed, step, |mask| {
            masks.context.extend_from_slice(&mask.context);
            masks.target.extend(mask.targets.iter().flatten());
            ends.push(masks.context.len());
        })?;
        let lengths = ends.iter().scan(0, |start, &end| Some(end - std::mem::replace(start, end)));
        masks.context_len = lengths.min().unwrap_or(0);
        let mut start = 0;
        for (i, &end) in ends.iter().enumerate() {
            masks.context.copy_within(start..start + masks.context_len, i * masks.context_len);
            start = end;
        }
        masks.context.truncate(batch * masks.context_len);
        Ok(masks)
    }

    /// The same masks before the cut: contexts of different lengths.
    pub fn draw_uncut(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<Vec<SampleMask>, MaskError> {
        let mut samples = Vec::with_capacity(batch);
        self.sample_blocks(grid, batch, seed, step, |mask| samples.push(mask.clone()))?;
        Ok(samples)
    }

    /// Draws each sample's uncut masks, hands them over in turn, and returns the number of tokens of a target.
    fn sample_blocks(
        &self,
        grid: Grid,
        batch: usize,
        seed: u64,
        step: u64,
        mut each: impl FnMut(&SampleMask),
    ) -> Result<usize, MaskError> {
        self.check(grid)?;
        let mut shared = rng(seed, Stream::Mask, step, u64::MAX);
        let target = self.target_block(grid, uniform((0.0, 1.0), &mut shared));
        let context = self.context_block(grid, uniform((0.0, 1.0), &mut shared));
        self.check_block(grid, target)?;
        self.check_block(grid, context)?;

        let mut mask = SampleMask {
            context: Vec::with_capacity(context.area()),
            targets: vec![Vec::with_capacity(target.area()); self.targets],
        };
        // The first target that covers each token, or `targets`.
        let mut first = vec![0_u8; grid.tokens()];
        for i in 0..batch {
            let mut rng = rng(seed, Stream::Mask, step, i as u64);
            first.fill(self.targets as u8);
            for (k, tokens) in mask.targets.iter_mut().enumerate() {
                tokens.clear();
                tokens.extend(target.tokens(grid, target.place(grid, &mut rng)));
                for &token in &*tokens {
                    first[token as usize] = first[token as usize].min(k as u8);
                }
            }
            let mut binding = if self.allow_overlap { 0 } else { self.targets };
            'drawn: loop {
                for _ in 0..PATIENCE {
                    let place = context.place(grid, &mut rng);
                    let tokens = context.tokens(grid, place);
                    mask.context.clear();
                    mask.context.extend(tokens.filter(|&t| usize::from(first[t as usize]) >= binding));
                    if mask.context.len() > self.min_keep {
                        break 'drawn;
                    }
                }
                // Ends: without any target the whole block is kept, and `check_block` says that it is large enough.
                binding -= 1;
            }
            each(&mask);
        }
        Ok(target.area())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug)]
    struct Measured {
        block: f64,
        range: (usize, usize),
        union: f64,
        uncut: f64,
        cut: f64,
    }

    fn measure(masks: &OfficialMasks, grid: Grid, batch: usize, steps: u64) -> Measured {
        let mut m = Measured { block: 0.0, range: (usize::MAX, 0), union: 0.0, uncut: 0.0, cut: 0.0 };
        for step in 0..steps {
            let packed = masks.draw(grid, batch, 5, step).unwrap();
            let statistics = packed.statistics(grid);
            let uncut = masks.draw_uncut(grid, batch, 5, step).unwrap();
            for (i, sample) in uncut.iter().enumerate() {
                // Cut from the front of the raster order.
                assert_eq!(packed.context_of(i), &sample.context[..packed.context_len]);
                let overlap = sample.targets.iter().flatten().any(|t| sample.context.contains(t));
                assert!(!overlap || sample.context.len() > masks.min_keep);
                for &token in sample.targets.iter().flatten().chain(&sample.context) {
                    let (row, col) = (token as usize / grid.cols, token as usize % grid.cols);
                    assert!(row < grid.rows - 1 && col < grid.cols - 1, "token {token} in the last line");
                }
            }
            m.block += packed.target_len as f64 / steps as f64;
            m.range.0 = m.range.0.min(packed.target_len);
            m.range.1 = m.range.1.max(packed.target_len);
            m.union += statistics.union / steps as f64;
            let mean = uncut.iter().map(|s| s.context.len()).sum::<usize>() as f64 / batch as f64;
            m.uncut += mean / steps as f64;
            m.cut += packed.context_len as f64 / steps as f64;
        }
        m
    }

    #[test]
    fn statistics_are_those_of_the_released_code() {
        // Grid, min_keep, batch; then block mean, its range, union of four, context before and after the cut.
        let table = [
            (16, 10, 128, 44.8, (35, 54), 115.7, 109.0, 68.0),
            (14, 10, 128, 33.9, (30, 40), 87.8, 81.0, 51.0),
            (12, 10, 128, 24.6, (20, 30), 63.7, 57.0, 35.0),
            (8, 4, 256, 10.7, (9, 12), 27.6, 21.4, 10.0),
        ];
        for (side, min_keep, batch, block, range, union, uncut, cut) in table {
            let masks = OfficialMasks { min_keep, ..OfficialMasks::default() };
            let m = measure(&masks, Grid::new(side, side), batch, 500);
            let near = |found: f64, expected: f64, what: &str| {
                let off = (found / expected - 1.0).abs();
                assert!(off < 0.03, "{side}: {what} is {found}, expected {expected}");
            };
            near(m.block, block, "block");
            assert_eq!(m.range, range, "{side}");
            near(m.union, union, "union");
            near(m.uncut, uncut, "context before the cut");
            if side == 8 {
                assert!((m.cut - cut).abs() < 1.0, "context after the cut is {}", m.cut);
            } else {
                near(m.cut, cut, "context after the cut");
            }
        }
    }

    #[test]
    fn the_context_block_of_published_grids_is_one_block() {
        for side in [14, 16] {
            let grid = Grid::new(side, side);
            for i in 0..=1000 {
                let block = OfficialMasks::default().context_block(grid, f64::from(i) / 1000.0);
                assert_eq!((block.height, block.width), (side - 1, side - 1));
                let mut rng = rng(i as u64, Stream::Mask, 0, 0);
                assert_eq!(block.place(grid, &mut rng), (0, 0));
            }
        }
    }

    #[test]
    fn what_would_never_end_is_refused_with_the_setting_that_works() {
        let grid = Grid::new(8, 8);
        let masks = OfficialMasks::default();
        let error = masks.draw(grid, 4, 0, 0).unwrap_err();
        let MaskError::NeverEnds { works, .. } = error else { panic!("{error}") };
        assert_eq!(works, 8);
        assert!(error.to_string().contains("set `min_keep` to 8 or less"));
        let masks = OfficialMasks { min_keep: works, ..masks };
        for step in 0..200 {
            masks.draw(grid, 8, 0, step).unwrap();
        }
        let error = OfficialMasks::default().draw(Grid::new(1, 9), 4, 0, 0).unwrap_err();
        assert!(matches!(error, MaskError::NoBlock { .. }), "{error}");
    }

    #[test]
    fn a_context_without_room_overlaps_the_last_targets() {
        // Eight targets of nearly the whole grid: nothing is left for a context unless constraints go.
        let masks = OfficialMasks {
            targets: 8,
            target_scale: (0.8, 0.9),
            target_aspect: (1.0, 1.0),
            ..OfficialMasks::default()
        };
        let packed = masks.draw(Grid::new(14, 14), 4, 0, 0).unwrap();
        assert!(packed.context_len > masks.min_keep);
        let open = OfficialMasks { allow_overlap: true, ..masks };
        let packed = open.draw(Grid::new(14, 14), 4, 0, 0).unwrap();
        assert_eq!(packed.context_len, 13 * 13);
    }

    proptest! {
        #[test]
        fn it_ends_or_says_why(
            (rows, cols) in (1_usize..=20, 1_usize..=20),
            targets in 1_usize..=6,
            min_keep in 0_usize..40,
            (seed, step) in (any::<u64>(), any::<u64>()),
        ) {
            let grid = Grid::new(rows, cols);
            let masks = OfficialMasks { targets, min_keep, ..OfficialMasks::default() };
            if let Ok(packed) = masks.draw(grid, 5, seed, step) {
                prop_assert!(packed.context_len > min_keep && packed.target_len > min_keep);
                for i in 0..packed.batch {
                    prop_assert!(packed.context_of(i).is_sorted_by(|a, b| a < b));
                    for k in 0..targets {
                        prop_assert!(packed.target_of(i, k).is_sorted_by(|a, b| a < b));
                    }
                }
            } else {
                prop_assert!(masks.check(grid).is_err());
            }
        }
    }
}
