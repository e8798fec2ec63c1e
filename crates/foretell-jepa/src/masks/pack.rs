//! How many tokens each part of a batch's masks has, and the way from labelled tokens to dense index sets.

use rand::{Rng, RngExt};

use super::{BatchMasks, Grid, MaskError};

/// The label of a token that the context sees.
pub(super) const CONTEXT: u8 = 0;
/// The label of a token that is neither seen nor predicted. Target `k` has label `k + 1`.
pub(super) const HIDDEN: u8 = u8::MAX;
/// The most targets that labels can tell apart.
pub(super) const MOST_TARGETS: usize = 250;

/// The settings that decide numbers of tokens, the same for blocks and for scattered tokens.
#[derive(Clone, Copy)]
pub(super) struct Shares {
    pub(super) targets: usize,
    pub(super) target_scale: (f64, f64),
    pub(super) context_scale: (f64, f64),
    pub(super) min_keep: Option<usize>,
}

/// What all samples of a batch have: `targets · target_len + context_len + hidden_len = N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) targets: usize,
    pub(super) target_len: usize,
    pub(super) context_len: usize,
    pub(super) hidden_len: usize,
}

impl Shares {
    pub(super) fn check(&self, grid: Grid) -> Result<(), MaskError> {
        grid.check()?;
        if !(1..=MOST_TARGETS).contains(&self.targets) {
            return Err(MaskError::Setting {
                key: "targets",
                found: self.targets.to_string(),
                expected: "from 1 to 250",
            });
        }
        super::check_range("target_scale", self.target_scale, 1.0, super::SHARES)?;
        super::check_range("context_scale", self.context_scale, 1.0, super::SHARES)?;
        if self.targets as f64 * self.target_scale.1 > 1.0 {
            return Err(MaskError::Setting {
                key: "target_scale",
                found: format!("[{}, {}]", self.target_scale.0, self.target_scale.1),
                expected: "at most 1 / targets: the targets lie side by side, and what they leave is the context",
            });
        }
        let most = grid.tokens() - 1;
        match self.min_keep {
            Some(min_keep) if min_keep > most => {
                Err(MaskError::KeepsAll { rows: grid.rows, cols: grid.cols, min_keep, most })
            }
            _ => Ok(()),
        }
    }

    /// Draws one batch's counts, with independent draws for targets and context.
    ///
    /// `min_keep` tokens of context come first: targets shrink for it, and then become fewer.
    pub(super) fn draw(&self, grid: Grid, rng: &mut impl Rng) -> Counts {
        let n = grid.tokens();
        let keep = self.min_keep.unwrap_or(n / 16).clamp(1, n - 1);
        let target_share = uniform(self.target_scale, rng);
        let context_share = uniform(self.context_scale, rng);
        let targets = self.targets.min(n - keep);
        let target_len = of(target_share, n).clamp(1, (n - keep) / targets);
        let left = n - targets * target_len;
        let context_len = of(context_share, left).clamp(keep, left);
        Counts { targets, target_len, context_len, hidden_len: left - context_len }
    }
}

fn of(share: f64, tokens: usize) -> usize {
    (share * tokens as f64).round() as usize
}

/// Uniform in `[low, high)`, or `low` where both are equal.
pub(super) fn uniform((low, high): (f64, f64), rng: &mut impl Rng) -> f64 {
    low + rng.random::<f64>() * (high - low)
}

/// Packs a batch: `label` writes sample `i`'s labels over an all-[`CONTEXT`] grid.
pub(super) fn pack(counts: Counts, grid: Grid, batch: usize, mut label: impl FnMut(usize, &mut [u8])) -> BatchMasks {
    let Counts { targets, target_len, context_len, .. } = counts;
    let mut context = Vec::with_capacity(batch * context_len);
    let mut target = vec![0; batch * targets * target_len];
    let mut labels = vec![CONTEXT; grid.tokens()];
    let mut filled = vec![0; targets];
    for i in 0..batch {
        labels.fill(CONTEXT);
        label(i, &mut labels);
        filled.fill(0);
        let blocks = &mut target[i * targets * target_len..][..targets * target_len];
        // In raster order, so that every list ascends.
        for (token, &label) in labels.iter().enumerate() {
            match label {
                CONTEXT => context.push(token as u32),
                HIDDEN => {}
                _ => {
                    let k = usize::from(label - 1);
                    blocks[k * target_len + filled[k]] = token as u32;
                    filled[k] += 1;
                }
            }
        }
    }
    BatchMasks { batch, context_len, context, targets, target_len, target }
}
