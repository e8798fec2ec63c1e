//! How a transformer block shares out its rows.

use std::ops::Range;

use crate::sets::{Sets, split_at_lengths};

/// How rows are shared out: a function of the shapes alone.
pub(crate) struct Plan {
    /// Rows of each piece of work.
    pub spans: Vec<Range<usize>>,
    /// The sets of each piece, where pieces are whole sets and each is taken through the block by one task. Otherwise
    /// sets are too few or too long for that: pieces are chunks of rows, and attention comes between.
    pub groups: Option<Vec<Range<usize>>>,
    /// Lanes of weight gradients; divides the number of pieces.
    pub lanes: usize,
}

/// Rows of a group or chunk, about.
const ROWS: usize = 256;
/// Rows that a lane of weight gradients has at least: lanes are what threads share on the way back.
const LANE: usize = 384;
/// Most lanes.
const LANES: usize = 16;
/// Rows that a product on tiles takes at a time.
const FULL: usize = 32;
/// Width from which on rows count as wide.
const WIDE: usize = 512;

impl Plan {
    pub(crate) fn of(sets: &Sets) -> Self {
        let (rows, count) = (sets.rows(), sets.count());
        let lanes = 1 << (rows / LANE).clamp(2, LANES).ilog2();
        // As many pieces in each lane.
        let pieces = rows.div_ceil(ROWS).next_multiple_of(lanes).max(lanes);
        let share = |of: usize| (0..pieces).map(move |i| i * of / pieces..(i + 1) * of / pieces);
        if count >= 2 * pieces || count >= pieces && rows >= count * ROWS / 2 {
            let groups: Vec<_> = share(count).collect();
            Self { spans: groups.iter().map(|group| sets.span(group)).collect(), groups: Some(groups), lanes }
        } else {
            Self { spans: share(rows).collect(), groups: None, lanes }
        }
    }

    /// Without gradients and for wide rows: chunks that fill what is multiplied at a time, whatever the sets' lengths. To write and
    /// read queries, keys and values costs little beside the products of so wide rows, and a set of 196 would leave an eighth of
    /// them empty.
    pub(crate) fn forward(sets: &Sets, width: usize) -> Self {
        if width < WIDE {
            return Self::of(sets);
        }
        let rows = sets.rows();
        let (full, pieces) = (rows.div_ceil(FULL), rows.div_ceil(ROWS).next_multiple_of(4));
        let bound = |i: usize| rows.min(i * full / pieces * FULL);
        Self { spans: (0..pieces).map(|i| bound(i)..bound(i + 1)).collect(), groups: None, lanes: 1 }
    }

    /// Values of `len` a row as one slice for each piece.
    pub(crate) fn cut<'a>(&self, values: &'a mut [f32], len: usize) -> Vec<&'a mut [f32]> {
        split_at_lengths(values, self.spans.iter().map(|span| span.len() * len))
    }

    /// The same where there are values, and nothing for each piece where there are none.
    pub(crate) fn lend<'a>(&self, values: &'a mut [f32], len: usize) -> Vec<Option<&'a mut [f32]>> {
        if values.is_empty() {
            self.spans.iter().map(|_| None).collect()
        } else {
            self.cut(values, len).into_iter().map(Some).collect()
        }
    }

    /// A piece's share of values of `len` a row.
    pub(crate) fn piece<'a>(&self, i: usize, values: &'a [f32], len: usize) -> &'a [f32] {
        &values[self.spans[i].start * len..self.spans[i].end * len]
    }
}
