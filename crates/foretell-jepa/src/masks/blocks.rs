//! Multi-block masks without a favoured place: every token is context equally often, and target equally often.
//!
//! I-JEPA (arXiv 2301.08243) drops rectangles of one size into the grid, uniformly. That covers the centre far more
//! often than the borders, the overlaps leave each sample a different number of context tokens, and cutting them to one
//! length throws up to a third of them away. No better law for the rectangle's place helps: a corner token lies in one
//! placement only, so that placement must come as often as a block covers a token; the token beside it is then covered
//! often enough, so the next placement must never come, and so on. Equal rectangles inside a grid cover it evenly only
//! as the tiles of one fixed tiling. (On a torus they do, but half of them are cut apart by the border. Letting them
//! overhang does too, but then each has another length.)
//!
//! So blocks here have exactly `N_t` tokens but ragged ends:
//!
//! 1. Lay a [closed walk](super::walk) through all `N` tokens that goes to and fro in strips about as thick as a block
//!    is high. Any `N_t` consecutive tokens are then one connected block: usually a rectangle but for its first and last
//!    row, sometimes a broader or an L-shaped one, where the walk turns.
//! 2. Deal `K` runs of `N_t` tokens, separated by gaps, out on a circle of `N` places: all arrangements are equally
//!    likely.
//! 3. Lay the circle on the walk, turned by a uniformly random number of tokens.
//!
//! **Uniform coverage.** Given the walk and the arrangement, the turn alone puts every token equally often into every
//! place of the arrangement. Hence P(token ∈ target k) = `N_t / N` and P(token ∈ context) = `N_c / N` for every token,
//! every k and every grid: exactly, whatever shapes the walk has. What is *not* the same everywhere is which tokens go
//! together: a block in a corner has its shape from the corner. The price of covering the borders is paid in shape: on
//! 14 × 14 three blocks in four are about as compact as a rectangle, one in seven is a slab along a border, and the mean
//! squared extent is 1.6 times that of a square (a dropped rectangle's is 1.03 times, scattered tokens' 5.8 times).
//!
//! **Nothing is thrown away.** The targets of a sample are disjoint, so `N_c = N − K · N_t` in every sample. At the
//! default scales this is 20 to 40 % of the grid, against 26 % that the released sampler leaves after its cut.
//!
//! On a grid of one row the walk joins the two ends, and there only, a block may be in two pieces.

use foretell_data::random::{Stream, rng};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::pack::{Counts, HIDDEN, Shares, pack, uniform};
use super::walk::Walks;
use super::{ASPECTS, BatchMasks, Grid, MOST_ASPECT, MaskError, check_range};

/// Unbiased multi-block masks, the default: every token is context with probability `N_c / N` and in target `k` with
/// probability `N_t / N`, exactly, on every grid. Targets are connected, disjoint and rectangular but for ragged ends and
/// turns at the border; what they leave is the context, so that no token is thrown away.
///
/// Numbers of tokens are drawn once for each batch, shapes and places for each sample. Small grids get smaller blocks,
/// then fewer: 2 × 2 tokens have one token of context and three targets of one token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockMasks {
    /// Number of target blocks `K`. They are disjoint: `K` times the highest `target_scale` is at most 1.
    pub targets: usize,
    /// Size of a target block as a share of the grid, drawn uniformly from `[low, high]` once for each batch.
    pub target_scale: (f64, f64),
    /// Height / width of the target blocks, drawn from `[low, high]` (its logarithm uniformly) for each sample,
    /// independently of their size. The nearest shape with which blocks fill the grid evenly is taken.
    pub target_aspect: (f64, f64),
    /// Share of what the targets leave that the context sees, drawn uniformly from `[low, high]` once for each batch.
    /// The rest, one more block, is neither seen nor predicted. By default the context sees all of it, as with the
    /// released sampler on its published grids, where its context block is always the whole grid but one row and
    /// column.
    pub context_scale: (f64, f64),
    /// Fewest context tokens; by default one in 16, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_keep: Option<usize>,
}

impl Default for BlockMasks {
    fn default() -> Self {
        Self {
            targets: 4,
            target_scale: (0.15, 0.2),
            target_aspect: (0.75, 1.5),
            context_scale: (1.0, 1.0),
            min_keep: None,
        }
    }
}

impl BlockMasks {
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
        check_range("target_aspect", self.target_aspect, MOST_ASPECT, ASPECTS)?;
        self.shares().check(grid)
    }

    /// The masks of the batch of `step`.
    pub fn draw(&self, grid: Grid, batch: usize, seed: u64, step: u64) -> Result<BatchMasks, MaskError> {
        self.check(grid)?;
        let counts = self.shares().draw(grid, &mut rng(seed, Stream::Mask, step, u64::MAX));
        let log_aspect = (self.target_aspect.0.ln(), self.target_aspect.1.ln());
        let walks = Walks::new(grid, counts.target_len);
        let mut walk = Vec::with_capacity(grid.tokens());
        let mut runs = Vec::with_capacity(counts.targets + 1);
        Ok(pack(counts, grid, batch, |i, labels| {
            let mut rng = rng(seed, Stream::Mask, step, i as u64);
            walks.draw(uniform(log_aspect, &mut rng).exp(), &mut rng, &mut walk);
            deal(counts, &mut rng, &mut runs);
            // The one draw that makes the coverage uniform.
            let turn = rng.random_range(0..walk.len() as u32) as usize;
            for &Run { start, len, label } in &runs {
                let start = (start + turn) % walk.len();
                let (here, beyond) = (&walk[start..], start + len);
                for &token in here.iter().take(len) {
                    labels[token as usize] = label;
                }
                for &token in &walk[..beyond.saturating_sub(walk.len())] {
                    labels[token as usize] = label;
                }
            }
        }))
    }
}

/// Consecutive places of the circle with one label.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    len: usize,
    label: u8,
}

/// Deals the targets, and the hidden block if there is one, out on a line of `N` places. With each run taken for one
/// place, all choices of places are equally likely (Floyd's sampling).
fn deal(counts: Counts, rng: &mut impl Rng, runs: &mut Vec<Run>) {
    runs.clear();
    let number = counts.targets + usize::from(counts.hidden_len > 0);
    let places = number + counts.context_len;
    for last in places - number..places {
        let drawn = rng.random_range(0..=last as u32) as usize;
        let taken = runs.iter().any(|run| run.start == drawn);
        runs.push(Run { start: if taken { last } else { drawn }, len: counts.target_len, label: 0 });
    }
    runs.sort_unstable_by_key(|run| run.start);
    if counts.hidden_len > 0 {
        let hidden = rng.random_range(0..number as u32) as usize;
        runs[hidden].label = HIDDEN;
        runs[hidden].len = counts.hidden_len;
    }
    let (mut longer, mut target) = (0, 0);
    for run in runs {
        run.start += longer;
        longer += run.len - 1;
        if run.label != HIDDEN {
            target += 1;
            run.label = target;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masks::RandomMasks;
    use proptest::prelude::*;

    /// What every batch of unbiased masks keeps to.
    fn assert_partition(masks: &BatchMasks, grid: Grid, hides: bool) {
        let n = grid.tokens();
        assert!(masks.context_len >= 1 && masks.targets >= 1 && masks.target_len >= 1);
        assert_eq!(masks.context.len(), masks.batch * masks.context_len);
        assert_eq!(masks.target.len(), masks.batch * masks.targets * masks.target_len);
        let used = masks.context_len + masks.targets * masks.target_len;
        assert!(used == n || hides && used < n);
        for i in 0..masks.batch {
            let mut seen = vec![false; n];
            let sample = masks.sample(i);
            for list in sample.targets.iter().chain([&sample.context]) {
                assert!(list.is_sorted_by(|a, b| a < b), "{grid:?}: {list:?}");
                for &token in list {
                    assert!(!std::mem::replace(&mut seen[token as usize], true), "token {token} used twice");
                }
            }
        }
    }

    /// The pieces of a block, where diagonal neighbours are together.
    fn pieces(grid: Grid, block: &[u32]) -> usize {
        let place = |t: u32| (t as usize / grid.cols, t as usize % grid.cols);
        let mut left = block.to_vec();
        let mut pieces = 0;
        while let Some(first) = left.pop() {
            pieces += 1;
            let mut front = vec![first];
            while let Some(token) = front.pop() {
                let (r, c) = place(token);
                left.retain(|&other| {
                    let (or, oc) = place(other);
                    let near = r.abs_diff(or) <= 1 && c.abs_diff(oc) <= 1;
                    if near {
                        front.push(other);
                    }
                    !near
                });
            }
        }
        pieces
    }

    #[test]
    fn every_small_grid_gets_masks() {
        let shapes = (2..=20).flat_map(|rows| (2..=20).map(move |cols| (rows, cols)));
        for (rows, cols) in shapes.chain([(2, 50), (50, 2), (1, 2), (2, 1), (1, 3), (1, 97)]) {
            let grid = Grid::new(rows, cols);
            for step in 0..4 {
                let masks = BlockMasks::default().draw(grid, 3, 7, step).unwrap();
                assert_partition(&masks, grid, false);
                let random = RandomMasks::default().draw(grid, 3, 7, step).unwrap();
                assert_partition(&random, grid, false);
                assert_eq!(masks.context_len, random.context_len);
                assert_eq!(masks.target_len, random.target_len);
            }
        }
        let least = BlockMasks::default().draw(Grid::new(2, 2), 1, 0, 0).unwrap();
        assert_eq!((least.context_len, least.targets, least.target_len), (1, 3, 1));
    }

    proptest! {
        #[test]
        fn masks_divide_the_grid(
            (rows, cols) in (1_usize..=20, 2_usize..=20),
            targets in 1_usize..=8,
            (low, high) in (0.01_f64..1.0, 0.0_f64..1.0),
            (aspect, wider) in (0.2_f64..5.0, 1.0_f64..3.0),
            context in 0.3_f64..=1.0,
            keep in proptest::option::of(0.0_f64..1.0),
            (seed, step) in (any::<u64>(), any::<u64>()),
        ) {
            let grid = Grid::new(rows, cols);
            let most = 1.0 / targets as f64;
            let low = low * most;
            let target_scale = (low, low + high * (most - low));
            let min_keep = keep.map(|k| (k * (grid.tokens() - 1) as f64) as usize);
            let blocks = BlockMasks {
                targets, target_scale, min_keep,
                target_aspect: (aspect, aspect * wider),
                context_scale: (context, 1.0),
            };
            let masks = blocks.draw(grid, 3, seed, step).unwrap();
            assert_partition(&masks, grid, true);
            prop_assert!(masks.context_len >= min_keep.unwrap_or(grid.tokens() / 16));
            if rows > 1 {
                for i in 0..masks.batch {
                    for k in 0..masks.targets {
                        prop_assert_eq!(pieces(grid, masks.target_of(i, k)), 1);
                    }
                }
            }
            let scattered = RandomMasks { targets, target_scale, min_keep, context_scale: (context, 1.0) };
            assert_partition(&scattered.draw(grid, 3, seed, step).unwrap(), grid, true);
        }
    }

    /// Chi-square statistic of the tokens' counts against one common mean, divided by its expectation for draws of `share`
    /// of the tokens without replacement: near 1 when only chance separates the tokens.
    fn excess(counts: &[u32], draws: u32, share: f64) -> f64 {
        let n = counts.len() as f64;
        let mean = f64::from(draws) * share;
        let squares: f64 = counts.iter().map(|&c| (f64::from(c) - mean).powi(2)).sum();
        squares / (n * mean * (1.0 - share))
    }

    /// Counts each token's part over `draws` samples, and asserts that chance alone separates the tokens.
    fn assert_uniform(grid: Grid, draws: u32, mut draw: impl FnMut(usize, u64) -> BatchMasks, label: &str) {
        let n = grid.tokens();
        let mut context = vec![0; n];
        let mut targets: Vec<Vec<u32>> = Vec::new();
        let (mut seen, mut asked) = (0.0, 0.0);
        let steps = u64::from(draws / 50);
        for step in 0..steps {
            let masks = draw(50, step);
            seen += masks.context_len as f64 / n as f64 / steps as f64;
            asked += masks.target_len as f64 / n as f64 / steps as f64;
            targets.resize(masks.targets, vec![0; n]);
            masks.context.iter().for_each(|&t| context[t as usize] += 1);
            for i in 0..masks.batch {
                for (k, counts) in targets.iter_mut().enumerate() {
                    for &t in masks.target_of(i, k) {
                        counts[t as usize] += 1;
                    }
                }
            }
        }
        // Blocks are drawn whole, so that neighbours' counts go together and the statistic's spread is that of about
        // one degree of freedom for each block rather than for each token.
        let few = |counts: &[u32], share: f64, what: &str| {
            let excess = excess(counts, draws, share);
            assert!(excess < 4.0, "{label} {grid:?}: {what} has excess {excess}");
            let deviation =
                counts.iter().map(|&c| (f64::from(c) / (f64::from(draws) * share) - 1.0).abs()).fold(0.0, f64::max);
            // Five standard deviations of one token's count.
            let bound = 5.0 * ((1.0 - share) / (share * f64::from(draws))).sqrt();
            assert!(deviation < bound, "{label} {grid:?}: {what} deviates by {deviation}");
            (excess, deviation)
        };
        few(&context, seen, "context");
        for counts in &targets {
            few(counts, asked, "one target");
        }
        let pooled: Vec<u32> = (0..n).map(|t| targets.iter().map(|c| c[t]).sum()).collect();
        let (_, deviation) = few(&pooled, asked * targets.len() as f64, "all targets");
        assert!(deviation < 0.03, "{label} {grid:?}: targets deviate by {deviation}");
    }

    #[test]
    fn every_token_is_context_and_target_equally_often() {
        for (rows, cols) in [(8, 8), (14, 14), (3, 5), (2, 2), (5, 30), (1, 9)] {
            let grid = Grid::new(rows, cols);
            let blocks = BlockMasks::default();
            assert_uniform(grid, 50_000, |b, s| blocks.draw(grid, b, 11, s).unwrap(), "blocks");
            let hiding = BlockMasks { targets: 2, context_scale: (0.5, 0.8), ..BlockMasks::default() };
            assert_uniform(grid, 50_000, |b, s| hiding.draw(grid, b, 12, s).unwrap(), "hiding");
            let random = RandomMasks::default();
            assert_uniform(grid, 50_000, |b, s| random.draw(grid, b, 13, s).unwrap(), "random");
        }
    }

    #[test]
    fn blocks_are_compact() {
        // Mean squared distance between two tokens of a block, against that of a square of as many tokens.
        let grid = Grid::new(14, 14);
        let (mut spread, mut squares) = (0.0, 0.0);
        for step in 0..100 {
            let masks = BlockMasks::default().draw(grid, 20, 3, step).unwrap();
            for i in 0..masks.batch {
                for k in 0..masks.targets {
                    let block = masks.target_of(i, k);
                    let n = block.len() as f64;
                    let moment = |of: &dyn Fn(u32) -> u32| {
                        let mean = block.iter().map(|&t| f64::from(of(t))).sum::<f64>() / n;
                        block.iter().map(|&t| (f64::from(of(t)) - mean).powi(2)).sum::<f64>() / n
                    };
                    spread += moment(&|t| t / 14) + moment(&|t| t % 14);
                    squares += (n - 1.0) / 6.0;
                }
            }
        }
        let ratio = spread / squares;
        assert!(ratio < 1.7, "blocks are {ratio} times as spread out as squares");
    }

    #[test]
    fn impossible_settings_are_refused_with_a_way_out() {
        let draw = |masks: BlockMasks| masks.draw(Grid::new(4, 4), 1, 0, 0).unwrap_err().to_string();
        let default = BlockMasks::default;
        let many = draw(BlockMasks { targets: 8, ..default() });
        assert!(many.contains("`target_scale`") && many.contains("1 / targets"), "{many}");
        let keep = draw(BlockMasks { min_keep: Some(16), ..default() });
        assert!(keep.contains("set `min_keep` to 15 or less"), "{keep}");
        let none = draw(BlockMasks { targets: 0, ..default() });
        assert!(none.contains("`targets` is 0"), "{none}");
        let nan = draw(BlockMasks { target_aspect: (f64::NAN, 1.0), ..default() });
        assert!(nan.contains("`target_aspect`"), "{nan}");
    }
}
