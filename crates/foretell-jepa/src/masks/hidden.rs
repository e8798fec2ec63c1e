//! Which tokens a mask token replaces at the encoder's input: scattered over the image, or in windows of it.
//!
//! An encoder that never sees a hidden place learns from what is left; one that is given a mask token there attends to all
//! places, as it will after training. SAR-JEPA (arXiv 2311.15153) does the latter within LoMaR's windows (Chen et al., 2022,
//! arXiv 2206.00790): each window is a small picture of its own, four fifths of it hidden.
//!
//! Masks are [`BatchMasks`] with one target: what the encoder sees, and what it is given a mask token for. Of windows, each row
//! is one: row `b · K + k` is window `k` of sample `b`, its positions those of the whole grid.

use foretell_data::random::{Stream, rng};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{BatchMasks, Grid, MaskError};

/// Which tokens are hidden.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HiddenConfig {
    /// Scattered over the whole grid.
    Random(HiddenTokens),
    /// In windows, each a sequence of its own.
    Windows(HiddenWindows),
}

impl Default for HiddenConfig {
    fn default() -> Self {
        Self::Random(HiddenTokens::default())
    }
}

/// A uniformly random share of the grid, drawn for each sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HiddenTokens {
    /// Share of the tokens that is hidden, rounded to whole tokens; at least one is hidden and one seen.
    pub share: f64,
}

impl Default for HiddenTokens {
    fn default() -> Self {
        Self { share: 0.8 }
    }
}

/// Windows of neighbouring tokens. They lie anywhere inside the grid, so that its middle is in more of them than its border.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HiddenWindows {
    /// Windows of each image, K.
    pub windows: usize,
    /// Rows and columns of a window; as many as the grid has, where it has fewer.
    pub side: usize,
    /// Share of a window's tokens that is hidden, drawn for each window of each sample.
    pub share: f64,
    /// Where the windows lie.
    pub corners: Corners,
}

impl Default for HiddenWindows {
    fn default() -> Self {
        Self { windows: 4, side: 7, share: 0.8, corners: Corners::Sample }
    }
}

/// Where windows lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corners {
    /// Each anywhere, drawn for each sample: ours.
    #[default]
    Sample,
    /// The same for all samples of a batch, no row and no column of a corner twice while there are others: the released code.
    Batch,
}

impl HiddenConfig {
    /// Windows of a sample: rows of the masks for each of them, 1 without windows.
    pub fn windows(&self) -> usize {
        match self {
            Self::Random(_) => 1,
            Self::Windows(windows) => windows.windows,
        }
    }

    /// Refuses what `draw` would refuse on this grid, before a run begins.
    pub fn check(&self, grid: Grid) -> Result<(), MaskError> {
        grid.check()?;
        let share = match self {
            Self::Random(HiddenTokens { share }) => share,
            Self::Windows(windows) => {
                windows.check(grid)?;
                &windows.share
            }
        };
        // Written so that NaN fails.
        if *share > 0.0 && *share < 1.0 {
            return Ok(());
        }
        let expected = "a share of the tokens, above 0 and below 1";
        Err(MaskError::Setting { key: "share", found: share.to_string(), expected })
    }

    /// The masks of the batch of `step`: a pure function of its arguments. [`windows`](Self::windows) rows for each sample, one
    /// target in each.
    pub fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<BatchMasks, MaskError> {
        self.check(grid)?;
        Ok(match self {
            Self::Random(HiddenTokens { share }) => {
                let mut rows = Rows::new(batch, grid.tokens(), *share);
                let tokens: Vec<u32> = (0..grid.tokens() as u32).collect();
                for i in 0..batch {
                    rows.add(&tokens, &mut rng(seed, Stream::Mask, step, i as u64));
                }
                rows.masks
            }
            Self::Windows(windows) => windows.draw(grid, batch, seed, step),
        })
    }
}

impl HiddenWindows {
    fn check(&self, grid: Grid) -> Result<(), MaskError> {
        let setting = |key, found: usize, expected| Err(MaskError::Setting { key, found: found.to_string(), expected });
        if !(1..=64).contains(&self.windows) {
            return setting("windows", self.windows, "from 1 to 64");
        }
        let (height, width) = self.size(grid);
        if height * width < 2 {
            return setting("side", self.side, "2 or more: of a window some tokens are seen and some hidden");
        }
        Ok(())
    }

    /// Rows and columns of a window on this grid.
    fn size(&self, grid: Grid) -> (usize, usize) {
        (self.side.min(grid.rows), self.side.min(grid.cols))
    }

    fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> BatchMasks {
        let (height, width) = self.size(grid);
        let corners = (grid.rows - height + 1, grid.cols - width + 1);
        let shared = self.shared_corners(corners, seed, step);
        let mut rows = Rows::new(batch * self.windows, height * width, self.share);
        let mut tokens = Vec::with_capacity(height * width);
        for i in 0..batch {
            let mut rng = rng(seed, Stream::Mask, step, i as u64);
            for &corner in &shared {
                let (top, left) = match self.corners {
                    Corners::Batch => corner,
                    Corners::Sample => {
                        (rng.random_range(0..corners.0 as u32) as usize, rng.random_range(0..corners.1 as u32) as usize)
                    }
                };
                tokens.clear();
                tokens.extend((top..top + height).flat_map(|row| {
                    let first = (row * grid.cols + left) as u32;
                    first..first + width as u32
                }));
                rows.add(&tokens, &mut rng);
            }
        }
        rows.masks
    }

    /// A corner for each window of a batch: rows and columns each in a random order, from the beginning again once all are used.
    fn shared_corners(&self, (rows, cols): (usize, usize), seed: u64, step: u64) -> Vec<(usize, usize)> {
        let mut rng = rng(seed, Stream::Mask, step, u64::MAX);
        let mut order = |count: usize| {
            let mut order: Vec<usize> = (0..count).collect();
            order.shuffle(&mut rng);
            order
        };
        let (rows, cols) = (order(rows), order(cols));
        (0..self.windows).map(|k| (rows[k % rows.len()], cols[k % cols.len()])).collect()
    }
}

/// Masks that are filled row by row.
struct Rows {
    masks: BatchMasks,
    order: Vec<u32>,
}

impl Rows {
    /// `count` rows of `len` tokens, this share of them hidden.
    fn new(count: usize, len: usize, share: f64) -> Self {
        let hidden = ((share * len as f64).round() as usize).clamp(1, len - 1);
        let masks = BatchMasks {
            batch: count,
            context_len: len - hidden,
            context: Vec::with_capacity(count * (len - hidden)),
            targets: 1,
            target_len: hidden,
            target: Vec::with_capacity(count * hidden),
        };
        Self { masks, order: Vec::with_capacity(len) }
    }

    /// Hides some of `tokens`, which ascend.
    fn add(&mut self, tokens: &[u32], rng: &mut impl rand::Rng) {
        self.order.clear();
        self.order.extend_from_slice(tokens);
        let (hidden, seen) = self.order.partial_shuffle(rng, self.masks.target_len);
        hidden.sort_unstable();
        seen.sort_unstable();
        self.masks.target.extend_from_slice(hidden);
        self.masks.context.extend_from_slice(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tokens of a row, ascending.
    fn tokens(masks: &BatchMasks, row: usize) -> Vec<u32> {
        let mut tokens = [masks.context_of(row), masks.target_of(row, 0)].concat();
        tokens.sort_unstable();
        tokens
    }

    /// Top, left, rows and columns of the rectangle that these tokens are.
    fn rectangle(grid: Grid, tokens: &[u32]) -> (usize, usize, usize, usize) {
        let place = |t: u32| (t as usize / grid.cols, t as usize % grid.cols);
        let (first, last) = (place(tokens[0]), place(tokens[tokens.len() - 1]));
        let (rows, cols) = (last.0 - first.0 + 1, last.1 - first.1 + 1);
        let expected: Vec<u32> =
            (0..rows * cols).map(|i| ((first.0 + i / cols) * grid.cols + first.1 + i % cols) as u32).collect();
        assert_eq!(tokens, expected);
        (first.0, first.1, rows, cols)
    }

    proptest! {
        #[test]
        fn a_random_mask_divides_the_grid(
            (rows, cols) in (1_usize..=16, 2_usize..=16),
            share in 0.001_f64..0.999,
            (seed, step) in (any::<u64>(), any::<u64>()),
        ) {
            let grid = Grid::new(rows, cols);
            let config = HiddenConfig::Random(HiddenTokens { share });
            let masks = config.draw(grid, 3, seed, step).unwrap();
            prop_assert_eq!((masks.batch, masks.targets), (3, 1));
            let n = grid.tokens();
            prop_assert_eq!(masks.target_len, ((share * n as f64).round() as usize).clamp(1, n - 1));
            for i in 0..3 {
                prop_assert_eq!(tokens(&masks, i), (0..n as u32).collect::<Vec<_>>());
                prop_assert!(masks.context_of(i).is_sorted() && masks.target_of(i, 0).is_sorted());
            }
        }

        #[test]
        fn windows_are_rectangles_inside_the_grid(
            (rows, cols) in (1_usize..=20, 2_usize..=20),
            (windows, side) in (1_usize..=6, 2_usize..=9),
            share in 0.001_f64..0.999,
            shared: bool,
            (seed, step) in (any::<u64>(), any::<u64>()),
        ) {
            let grid = Grid::new(rows, cols);
            let corners = if shared { Corners::Batch } else { Corners::Sample };
            let config = HiddenConfig::Windows(HiddenWindows { windows, side, share, corners });
            prop_assert_eq!(config.windows(), windows);
            let masks = config.draw(grid, 3, seed, step).unwrap();
            prop_assert_eq!((masks.batch, masks.targets), (3 * windows, 1));
            prop_assert!(masks.context_len >= 1 && masks.target_len >= 1);
            let places: Vec<_> = (0..masks.batch).map(|row| rectangle(grid, &tokens(&masks, row))).collect();
            for (row, &(_, _, height, width)) in places.iter().enumerate() {
                prop_assert_eq!((height, width), (side.min(rows), side.min(cols)));
                if shared {
                    prop_assert_eq!(places[row], places[row % windows]);
                }
            }
            if shared {
                let different = |of: fn(&(usize, usize, usize, usize)) -> usize| {
                    let mut seen: Vec<usize> = places[..windows].iter().map(of).collect();
                    seen.sort_unstable();
                    seen.dedup();
                    seen.len()
                };
                prop_assert_eq!(different(|p| p.0), windows.min(rows - side.min(rows) + 1));
                prop_assert_eq!(different(|p| p.1), windows.min(cols - side.min(cols) + 1));
            }
        }

        #[test]
        fn a_sample_does_not_depend_on_the_others(seed: u64, step: u64, random: bool) {
            let config = if random { HiddenConfig::default() } else { HiddenConfig::Windows(HiddenWindows::default()) };
            let grid = Grid::new(14, 14);
            let (few, many) = (config.draw(grid, 2, seed, step).unwrap(), config.draw(grid, 5, seed, step).unwrap());
            for row in 0..few.batch {
                prop_assert_eq!(few.sample(row), many.sample(row));
            }
            prop_assert_ne!(&few, &config.draw(grid, 2, seed, step.wrapping_add(1)).unwrap());
            prop_assert_ne!(&few, &config.draw(grid, 2, seed.wrapping_add(1), step).unwrap());
            prop_assert_ne!(few.target_of(0, 0), few.target_of(config.windows(), 0));
        }
    }

    #[test]
    fn the_released_numbers() {
        let windows = HiddenWindows { corners: Corners::Batch, ..HiddenWindows::default() };
        let masks = HiddenConfig::Windows(windows).draw(Grid::new(14, 14), 2, 0, 1).unwrap();
        assert_eq!((masks.batch, masks.context_len, masks.target_len), (8, 10, 39));
        // Hidden tokens are drawn for each sample, though the windows are shared.
        assert_ne!(masks.target_of(0, 0), masks.target_of(4, 0));
    }

    #[test]
    fn every_token_is_hidden_equally_often() {
        let grid = Grid::new(5, 6);
        let masks = HiddenConfig::default().draw(grid, 6000, 3, 1).unwrap();
        // 24 of 30 tokens; five standard deviations of a share of 6,000 are 0.026.
        for share in masks.statistics(grid).target {
            assert!((share - 0.8).abs() < 0.026, "{share}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused_in_a_sentence() {
        let windows = HiddenWindows::default();
        for (config, key) in [
            (HiddenConfig::Random(HiddenTokens { share: 1.0 }), "share"),
            (HiddenConfig::Random(HiddenTokens { share: f64::NAN }), "share"),
            (HiddenConfig::Windows(HiddenWindows { share: 0.0, ..windows.clone() }), "share"),
            (HiddenConfig::Windows(HiddenWindows { windows: 0, ..windows.clone() }), "windows"),
            (HiddenConfig::Windows(HiddenWindows { side: 1, ..windows.clone() }), "side"),
        ] {
            let error = config.draw(Grid::new(8, 8), 2, 0, 1).unwrap_err().to_string();
            assert!(error.starts_with(&format!("mask setting `{key}` is ")), "{error}");
        }
        let error = HiddenConfig::Windows(windows).check(Grid::new(1, 1)).unwrap_err();
        assert_eq!(error, MaskError::Grid { rows: 1, cols: 1 });
    }
}
