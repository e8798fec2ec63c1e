//! Which tokens of a clip the context encoder sees, and which ones are predicted: a step draws several *mask sets*, each for every
//! clip of the batch (V-JEPA, arXiv 2404.08471, section 3.2). Places that are hidden stay so over time, because what moves little
//! would be read off a neighbouring frame otherwise: tubes.
//!
//! - [`BlockTubes`], the default: the unbiased blocks of images ([`BlockMasks`](super::BlockMasks)) drawn through time. Every token is
//!   hidden equally often, over rows, columns and frames, on every grid, and none is thrown away.
//! - [`RandomTubes`] and [`CausalTubes`]: the paper's ablations, scattered places and the future.
//! - [`OfficialTubes`]: what the released collator draws, quirks included.
//!
//! A mask is a function of (seed, step, place in the batch); the clips of a batch need not have equally many tokens.

mod blocks;
mod official;

use foretell_nn::positions::Grid as ClipGrid;
use foretell_ops::Sets;
use serde::{Deserialize, Serialize};

use super::{Grid, MaskError};
pub use blocks::{BlockTubes, CausalTubes, RandomTubes, TubeSet};
pub use official::{OfficialSet, OfficialTubes};

/// One mask set of a batch: for each clip what is seen and what is predicted, both in ascending order of places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TubeMasks {
    /// Places of the context's tokens, `[Σ N_c]`.
    pub context: Vec<u32>,
    /// Those of each clip.
    pub context_sets: Sets,
    /// Places of the tokens that are predicted, `[Σ N_t]`.
    pub target: Vec<u32>,
    /// Those of each clip.
    pub target_sets: Sets,
}

impl TubeMasks {
    /// Of each clip's context and targets.
    pub fn of(clips: impl IntoIterator<Item = (Vec<u32>, Vec<u32>)>) -> Self {
        let (mut context, mut target) = (Vec::new(), Vec::new());
        let (mut seen, mut hidden) = (Vec::new(), Vec::new());
        for (of_context, of_target) in clips {
            seen.push(of_context.len());
            hidden.push(of_target.len());
            context.extend(of_context);
            target.extend(of_target);
        }
        Self { context, context_sets: Sets::of_lengths(&seen), target, target_sets: Sets::of_lengths(&hidden) }
    }

    /// Clips.
    pub fn clips(&self) -> usize {
        self.context_sets.count()
    }

    /// What clip `i` shows.
    pub fn context_of(&self, i: usize) -> &[u32] {
        &self.context[self.context_sets.range(i)]
    }

    /// What is predicted of clip `i`.
    pub fn target_of(&self, i: usize) -> &[u32] {
        &self.target[self.target_sets.range(i)]
    }

    /// What becomes of each token of clip `i`, `[N]`: 0 neither seen nor predicted, 1 context, 2 predicted.
    pub fn picture(&self, i: usize, grid: ClipGrid) -> Vec<u8> {
        let mut classes = vec![0; grid.len()];
        self.context_of(i).iter().for_each(|token| classes[*token as usize] = 1);
        self.target_of(i).iter().for_each(|token| classes[*token as usize] = 2);
        classes
    }

    /// Shares of all clips in which each token is seen, and in which it is predicted, `[N]` each.
    pub fn shares(&self, grid: ClipGrid) -> (Vec<f64>, Vec<f64>) {
        let share = |tokens: &[u32]| {
            let mut shares = vec![0.0; grid.len()];
            for token in tokens {
                shares[*token as usize] += 1.0 / self.clips().max(1) as f64;
            }
            shares
        };
        (share(&self.context), share(&self.target))
    }
}

/// Which tubes a run draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TubeConfig {
    /// Blocks through time, unbiased.
    Blocks(BlockTubes),
    /// Scattered places through time, unbiased.
    Random(RandomTubes),
    /// The future from the past.
    Causal(CausalTubes),
    /// The released V-JEPA collator.
    Official(OfficialTubes),
}

impl Default for TubeConfig {
    fn default() -> Self {
        Self::Blocks(BlockTubes::default())
    }
}

impl TubeConfig {
    /// The released collator's of V-JEPA and V-JEPA 2.
    pub fn official() -> Self {
        Self::Official(OfficialTubes::default())
    }

    /// Mask sets of a step.
    pub fn sets(&self) -> usize {
        match self {
            Self::Blocks(masks) => masks.sets.len(),
            Self::Random(masks) => masks.sets,
            Self::Causal(masks) => masks.sets.len(),
            Self::Official(masks) => masks.sets.len(),
        }
    }

    /// The mask sets of the batch of `step`: a pure function of its arguments.
    pub fn draw(&self, grid: ClipGrid, batch: usize, seed: u64, step: u64) -> Result<Vec<TubeMasks>, MaskError> {
        self.check(grid)?;
        match self {
            Self::Blocks(masks) => masks.draw(grid, batch, seed, step),
            Self::Random(masks) => masks.draw(grid, batch, seed, step),
            Self::Causal(masks) => masks.draw(grid, batch, seed, step),
            Self::Official(masks) => masks.draw(grid, batch, seed, step),
        }
    }

    /// Refuses what `draw` would refuse on this grid, before a run begins.
    pub fn check(&self, grid: ClipGrid) -> Result<(), MaskError> {
        if grid.frames == 0 || grid.len() < 2 {
            return Err(MaskError::Clip { frames: grid.frames, rows: grid.rows, cols: grid.cols });
        }
        if self.sets() == 0 || self.sets() > MOST_SETS {
            let found = self.sets().to_string();
            return Err(MaskError::Setting { key: "sets", found, expected: "from 1 to 16 mask sets" });
        }
        match self {
            Self::Blocks(masks) => masks.check(grid),
            Self::Random(masks) => masks.check(grid),
            Self::Causal(masks) => masks.check(grid),
            Self::Official(masks) => masks.check(grid),
        }
    }
}

/// More mask sets than any recipe has.
const MOST_SETS: usize = 16;

/// The places of a frame as a grid of an image; where a frame is a single token, its frames in their place.
fn places(grid: ClipGrid) -> (Grid, bool) {
    let frame = Grid::new(grid.rows, grid.cols);
    if frame.tokens() >= 2 { (frame, true) } else { (Grid::new(1, grid.frames), false) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> [TubeConfig; 4] {
        [
            TubeConfig::default(),
            TubeConfig::Random(RandomTubes::default()),
            TubeConfig::Causal(CausalTubes::default()),
            TubeConfig::official(),
        ]
    }

    /// Both parts ascend, are apart, and neither is empty.
    fn sound(masks: &TubeMasks, grid: ClipGrid) {
        for i in 0..masks.clips() {
            let (context, target) = (masks.context_of(i), masks.target_of(i));
            assert!(!context.is_empty() && !target.is_empty(), "{grid:?}");
            for tokens in [context, target] {
                assert!(
                    tokens.windows(2).all(|pair| pair[0] < pair[1]) && (tokens[tokens.len() - 1] as usize) < grid.len()
                );
            }
            assert!(context.iter().all(|token| target.binary_search(token).is_err()), "{grid:?}");
        }
    }

    proptest! {
        #[test]
        fn every_grid_ends(
            (frames, rows, cols) in (1_usize..=9, 1_usize..=9, 1_usize..=9),
            batch in 1_usize..5,
            (seed, step) in (any::<u64>(), any::<u64>()),
        ) {
            let grid = ClipGrid { frames, rows, cols };
            for kind in kinds() {
                let drawn = kind.draw(grid, batch, seed, step);
                match drawn {
                    Ok(sets) => {
                        prop_assert_eq!(sets.len(), kind.sets());
                        for masks in &sets {
                            prop_assert_eq!(masks.clips(), batch);
                            sound(masks, grid);
                        }
                        prop_assert_eq!(&sets, &kind.draw(grid, batch, seed, step).unwrap());
                    }
                    Err(error) => {
                        // Ours take every grid of two tokens and more; a future needs two frames.
                        let small = rows * cols < 2 || (frames < 2 && matches!(kind, TubeConfig::Causal(_)));
                        let refused = matches!(kind, TubeConfig::Official(_)) || small;
                        prop_assert!(grid.len() < 2 || refused, "{:?} {:?}: {}", kind, grid, error);
                        prop_assert_eq!(error.to_string().lines().count(), 1);
                    }
                }
            }
        }
    }

    #[test]
    fn two_by_two_by_one_is_enough() {
        for grid in [(1, 2, 2), (2, 2, 1), (2, 1, 2), (2, 1, 1), (1, 1, 2)] {
            let grid = ClipGrid { frames: grid.0, rows: grid.1, cols: grid.2 };
            for step in 0..50 {
                for masks in TubeConfig::default().draw(grid, 3, 1, step).unwrap() {
                    sound(&masks, grid);
                }
            }
        }
    }

    /// χ² of how often each token is hidden, over many draws, divided by its degrees of freedom: about 1 where all are hidden
    /// equally often. Tokens of one tube are hidden together, so the frames of a place count once.
    fn unevenness(kind: &TubeConfig, set: usize, grid: ClipGrid, steps: u64) -> (f64, f64) {
        const BATCH: usize = 64;
        let (mut hidden, mut clips) = (vec![0.0; grid.len()], 0.0);
        for step in 0..steps {
            let masks = &kind.draw(grid, BATCH, 11, step).unwrap()[set];
            masks.target.iter().for_each(|token| hidden[*token as usize] += 1.0);
            clips += BATCH as f64;
        }
        let chi = |counts: &[f64]| {
            let mean = counts.iter().sum::<f64>() / counts.len() as f64;
            let share = mean / clips;
            let variance = clips * share * (1.0 - share);
            counts.iter().map(|n| (n - mean).powi(2) / variance).sum::<f64>() / (counts.len() - 1) as f64
        };
        let area = grid.rows * grid.cols;
        let frame = |frame: usize| hidden[frame * area..(frame + 1) * area].to_vec();
        let in_space = (0..grid.frames).map(|f| chi(&frame(f))).fold(0.0, f64::max);
        let means: Vec<f64> = (0..grid.frames).map(|f| frame(f).iter().sum::<f64>() / area as f64).collect();
        let most = means.iter().copied().fold(0.0, f64::max);
        let least = means.iter().copied().fold(f64::MAX, f64::min);
        (in_space, most / least)
    }

    #[test]
    fn ours_hide_every_place_and_every_frame_equally_often() {
        let short = TubeConfig::Blocks(BlockTubes { sets: vec![TubeSet { time: (0.3, 0.6), ..TubeSet::short() }] });
        for grid in [ClipGrid { frames: 8, rows: 12, cols: 12 }, ClipGrid { frames: 3, rows: 5, cols: 7 }] {
            for (kind, sets) in
                [(TubeConfig::default(), 2), (TubeConfig::Random(RandomTubes::default()), 1), (short.clone(), 1)]
            {
                for set in 0..sets {
                    let (space, time) = unevenness(&kind, set, grid, 150);
                    assert!(space < 2.0, "{kind:?} {grid:?}, set {set}: χ² per degree of freedom {space}");
                    // Of tubes through half of the frames each frame is a draw of its own: a hundredth of deviation.
                    assert!(time < 1.06, "{kind:?} {grid:?}, set {set}: frames differ by {time}");
                }
            }
        }
    }

    /// The quirk: lists are cut to the shortest of the batch from the front, in the order of time.
    #[test]
    fn the_released_cut_drops_late_frames() {
        let grid = ClipGrid { frames: 8, rows: 14, cols: 14 };
        for set in 0..2 {
            let (space, time) = unevenness(&TubeConfig::official(), set, grid, 20);
            assert!(space > 5.0 && time > 1.1, "set {set}: {space} {time}");
        }
    }

    #[test]
    fn a_mask_is_a_function_of_seed_step_and_place() {
        let grid = ClipGrid { frames: 4, rows: 8, cols: 8 };
        for kind in kinds() {
            let here = kind.draw(grid, 4, 1, 2).unwrap();
            assert_ne!(here, kind.draw(grid, 4, 1, 3).unwrap());
            assert_ne!(here, kind.draw(grid, 4, 2, 2).unwrap());
            if here.len() > 1 {
                assert_ne!(here[0], here[1], "sets share their draws");
            }
        }
    }

    #[test]
    fn a_future_begins_where_the_past_ends() {
        let grid = ClipGrid { frames: 8, rows: 6, cols: 6 };
        let causal = TubeConfig::Causal(CausalTubes { seen: 0.375, ..CausalTubes::default() });
        for masks in causal.draw(grid, 8, 0, 1).unwrap() {
            let late = |token: &u32| *token as usize >= 3 * 36;
            assert!(!masks.context.iter().any(late));
            for i in 0..masks.clips() {
                assert_eq!(masks.target_of(i).iter().filter(|token| late(token)).count(), 5 * 36);
                assert_eq!(masks.context_of(i).len() + masks.target_of(i).len(), grid.len());
            }
        }
    }

    #[test]
    fn wrong_settings_are_a_sentence() {
        let grid = ClipGrid { frames: 4, rows: 8, cols: 8 };
        let no_sets = TubeConfig::Blocks(BlockTubes { sets: Vec::new() });
        assert!(no_sets.check(grid).unwrap_err().to_string().contains("`sets` is 0"));
        let never = TubeConfig::Random(RandomTubes { share: 1.5, ..RandomTubes::default() });
        assert!(never.check(grid).unwrap_err().to_string().contains("`share`"));
        let none = TubeConfig::Causal(CausalTubes { seen: 0.0, ..CausalTubes::default() });
        assert!(none.check(grid).unwrap_err().to_string().contains("`seen`"));
    }
}
