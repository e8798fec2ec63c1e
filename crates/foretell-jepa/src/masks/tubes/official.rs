//! Masks with the distribution of the released V-JEPA collator (arXiv 2404.08471; the same in V-JEPA 2), quirks included.
//!
//! - A block's size is common to the batch, its place is not; blocks overlap each other as they fall.
//! - The lists of context and of targets are cut to the shortest of the batch from the front in the order of time, so that late frames
//!   are dropped: the context of most clips ends before the clip does, and so does what is predicted.
//! - A clip whose blocks leave no context is drawn again; where they always leave none the released code never ends. Here that is an
//!   error.

use foretell_data::random::{Stream, rng};
use foretell_nn::positions::Grid as ClipGrid;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::super::pack::uniform;
use super::super::{ASPECTS, MOST_ASPECT, MaskError, SHARES, check_range};
use super::TubeMasks;
use super::blocks::{usual_aspect, whole};

/// One mask set of the released configs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficialSet {
    /// Blocks, which may overlap (`num_blocks`).
    pub blocks: usize,
    /// Size of a block as a share of a frame (`spatial_scale`).
    pub scale: (f64, f64),
    /// Length of a block as a share of the frames (`temporal_scale`).
    #[serde(default = "whole")]
    pub time: (f64, f64),
    /// Height / width of a block (`aspect_ratio`).
    #[serde(default = "usual_aspect")]
    pub aspect: (f64, f64),
    /// Share of the frames that the context may lie in (`max_temporal_keep`); later ones are predicted.
    #[serde(default = "all")]
    pub seen: f64,
}

fn all() -> f64 {
    1.0
}

impl Default for OfficialSet {
    fn default() -> Self {
        Self { blocks: 8, scale: (0.15, 0.15), time: (1.0, 1.0), aspect: (0.75, 1.5), seen: 1.0 }
    }
}

/// The masks of the released V-JEPA collator, with their quirks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfficialTubes {
    /// Mask sets of a step.
    pub sets: Vec<OfficialSet>,
    /// Whether lists are cut to the shortest of the batch, as released; otherwise clips keep what they have.
    pub cut: bool,
}

impl Default for OfficialTubes {
    fn default() -> Self {
        let long = OfficialSet { blocks: 2, scale: (0.7, 0.7), ..OfficialSet::default() };
        Self { sets: vec![OfficialSet::default(), long], cut: true }
    }
}

/// Draws of a clip's blocks before it is said that they leave no context.
const PATIENCE: usize = 10_000;

/// Places of a clip's context and of its targets.
type Divided = (Vec<u32>, Vec<u32>);

/// Lengths of a block: frames, rows, columns.
type Block = [usize; 3];

impl OfficialSet {
    /// The block of three independent numbers in `[0, 1]`: length, scale and aspect.
    fn block(&self, grid: ClipGrid, [length, scale, aspect]: [f64; 3]) -> Block {
        let between = |(low, high): (f64, f64), r: f64| low + r * (high - low);
        let frames = ((grid.frames as f64 * between(self.time, length)) as usize).clamp(1, grid.frames);
        let tokens = ((grid.rows * grid.cols) as f64 * between(self.scale, scale)).floor();
        let aspect = between(self.aspect, aspect);
        // Python's `round` goes to the even number.
        let side = |x: f64, most: usize| (x.sqrt().round_ties_even() as usize).min(most);
        [frames, side(tokens * aspect, grid.rows), side(tokens / aspect, grid.cols)]
    }

    fn check(&self, grid: ClipGrid) -> Result<(), MaskError> {
        if !(1..=250).contains(&self.blocks) {
            let found = self.blocks.to_string();
            return Err(MaskError::Setting { key: "blocks", found, expected: "from 1 to 250" });
        }
        check_range("scale", self.scale, 1.0, SHARES)?;
        check_range("time", self.time, 1.0, SHARES)?;
        check_range("aspect", self.aspect, MOST_ASPECT, ASPECTS)?;
        check_range("seen", (self.seen, self.seen), 1.0, "a share of the frames, 0 < seen ≤ 1")?;
        // Sizes are steps of the numbers: a hundred values of each meet every step that is wide enough to matter.
        let numbers = || (0..=100).map(|i| f64::from(i) / 100.0);
        let mut blocks = numbers().flat_map(|scale| numbers().map(move |aspect| [1.0, scale, aspect]));
        blocks.try_for_each(|numbers| Self::fits(grid, self.block(grid, numbers)))
    }

    /// Refuses a block without a token, and one that leaves no context.
    fn fits(grid: ClipGrid, [length, height, width]: Block) -> Result<(), MaskError> {
        let ClipGrid { frames, rows, cols } = grid;
        let whole = length == frames && height == rows && width == cols;
        if height * width == 0 || whole {
            return Err(MaskError::NoTube { frames, rows, cols, height, width });
        }
        Ok(())
    }

    fn draw(
        &self,
        grid: ClipGrid,
        batch: usize,
        (seed, step, set): (u64, u64, usize),
    ) -> Result<Vec<Divided>, MaskError> {
        let step = step ^ ((set as u64) << 58);
        let mut shared = rng(seed, Stream::Mask, step, u64::MAX);
        let block = self.block(grid, [(); 3].map(|()| uniform((0.0, 1.0), &mut shared)));
        Self::fits(grid, block)?;
        let area = grid.rows * grid.cols;
        let past = ((grid.frames as f64 * self.seen) as usize).max(1) * area;
        let clip = |i: usize| {
            let mut rng = rng(seed, Stream::Mask, step, i as u64);
            for _ in 0..PATIENCE {
                let mut hidden = vec![false; grid.len()];
                hidden[past..].fill(true);
                for _ in 0..self.blocks {
                    let lengths = [grid.rows, grid.cols, grid.frames];
                    let [height, width, length] = [block[1], block[2], block[0]];
                    // The last possible place is one of them, unlike in I-JEPA.
                    let mut place = |all: usize, len: usize| rng.random_range(0..=(all - len) as u32) as usize;
                    let (top, left) = (place(lengths[0], height), place(lengths[1], width));
                    let start = place(lengths[2], length);
                    for frame in start..start + length {
                        for row in top..top + height {
                            hidden[frame * area + row * grid.cols + left..][..width].fill(true);
                        }
                    }
                }
                let (target, context): (Vec<u32>, Vec<u32>) =
                    (0..grid.len() as u32).partition(|token| hidden[*token as usize]);
                if !context.is_empty() {
                    return Ok((context, target));
                }
            }
            let ClipGrid { frames, rows, cols } = grid;
            Err(MaskError::NoTube { frames, rows, cols, height: block[1], width: block[2] })
        };
        (0..batch).map(clip).collect()
    }
}

impl OfficialTubes {
    /// The set of V-JEPA 2.1's single images: ten blocks of 15 %.
    pub fn image() -> Self {
        Self { sets: vec![OfficialSet { blocks: 10, ..OfficialSet::default() }], cut: true }
    }

    /// Refuses settings out of range, and grids on which the released code may never end.
    pub fn check(&self, grid: ClipGrid) -> Result<(), MaskError> {
        self.sets.iter().try_for_each(|set| set.check(grid))
    }

    /// The masks of the batch of `step`.
    pub fn draw(&self, grid: ClipGrid, batch: usize, seed: u64, step: u64) -> Result<Vec<TubeMasks>, MaskError> {
        let of = |(i, set): (usize, &OfficialSet)| {
            let mut clips = set.draw(grid, batch, (seed, step, i))?;
            if self.cut {
                let [seen, hidden] = [|clip: &Divided| clip.0.len(), |clip: &Divided| clip.1.len()]
                    .map(|len| clips.iter().map(len).min().unwrap_or(0));
                for (context, target) in &mut clips {
                    context.truncate(seen);
                    target.truncate(hidden);
                }
            }
            Ok(TubeMasks::of(clips))
        };
        self.sets.iter().enumerate().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On 14 × 14 places and batches of 24: what is hidden of a frame, the context before the cut and after it.
    #[test]
    fn statistics_are_those_of_the_released_code() {
        const STEPS: u64 = 150;
        let grid = ClipGrid { frames: 8, rows: 14, cols: 14 };
        let (whole, cut) = (OfficialTubes { cut: false, ..OfficialTubes::default() }, OfficialTubes::default());
        for (set, hidden, context, left) in [(0, 0.63, 73.0, 46.0), (1, 0.81, 38.0, 13.0)] {
            let (mut of_hidden, mut of_context, mut of_left) = (0.0, 0.0, 0.0);
            for step in 0..STEPS {
                let masks = &whole.draw(grid, 24, 3, step).unwrap()[set];
                of_hidden += masks.target.len() as f64 / (24 * grid.len()) as f64 / STEPS as f64;
                of_context += masks.context.len() as f64 / (24 * 8) as f64 / STEPS as f64;
                let short = &cut.draw(grid, 24, 3, step).unwrap()[set];
                of_left += short.context.len() as f64 / (24 * 8) as f64 / STEPS as f64;
                for i in 0..24 {
                    assert!(masks.context_of(i).starts_with(short.context_of(i)), "cut from the front");
                    assert!(masks.target_of(i).starts_with(short.target_of(i)));
                }
            }
            assert!((of_hidden - hidden).abs() < 0.02, "set {set}: {of_hidden} of a frame hidden");
            assert!((of_context / context - 1.0).abs() < 0.05, "set {set}: {of_context} tokens of context a frame");
            assert!((of_left - left).abs() < 3.0, "set {set}: {of_left} after the cut");
        }
    }

    #[test]
    fn blocks_that_leave_nothing_are_refused() {
        let all = OfficialTubes {
            sets: vec![OfficialSet { scale: (1.0, 1.0), aspect: (1.0, 1.0), ..OfficialSet::default() }],
            cut: true,
        };
        let grid = ClipGrid { frames: 2, rows: 4, cols: 4 };
        let error = all.check(grid).unwrap_err().to_string();
        assert!(error.contains("4 × 4") && error.contains("kind `blocks`"), "{error}");
        let few = OfficialTubes::default().check(ClipGrid { frames: 2, rows: 2, cols: 2 }).unwrap_err();
        assert!(matches!(few, MaskError::NoTube { .. }), "{few}");
    }
}
