//! Sets of rows of any lengths, packed one after the other.

use std::ops::Range;
use std::sync::Arc;

/// Where each set of tokens begins and ends in packed rows `[T, ..]`: samples of a batch whose lengths may differ,
/// without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    /// Begins with 0, never falls, ends with T.
    offsets: Arc<[usize]>,
    /// Rows of a step, where a row attends to its own set up to the end of its own step alone; 0 where it attends to all.
    step: usize,
}

impl Sets {
    /// `count` sets of `len` rows.
    pub fn uniform(count: usize, len: usize) -> Self {
        Self { offsets: (0..=count).map(|i| i * len).collect(), step: 0 }
    }

    /// Sets of these lengths.
    pub fn of_lengths(lengths: &[usize]) -> Self {
        let mut end = 0;
        let ends = lengths.iter().map(|len| {
            end += len;
            end
        });
        Self { offsets: std::iter::once(0).chain(ends).collect(), step: 0 }
    }

    /// The same sets, in each of which a row attends to itself and to the rows before it.
    pub fn causal(self) -> Self {
        self.causal_by(1)
    }

    /// The same sets, cut into steps of `step` rows: a row attends to its own step and to the steps before it.
    ///
    /// # Panics
    /// If a step has no rows.
    pub fn causal_by(self, step: usize) -> Self {
        assert!(step > 0, "a step has rows");
        Self { step, ..self }
    }

    /// Whether rows attend to no later ones.
    pub fn is_causal(&self) -> bool {
        self.step > 0
    }

    /// Rows of a set of `len` that its row `query` attends to: the first so many.
    pub(crate) fn seen(&self, query: usize, len: usize) -> usize {
        seen(self.step, query, len)
    }

    /// Rows of a step, 0 where there are none.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// Number of sets.
    pub fn count(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Rows of all sets, T.
    pub fn rows(&self) -> usize {
        *self.offsets.last().expect("offsets begin with 0")
    }

    /// Rows of one set.
    pub fn range(&self, set: usize) -> Range<usize> {
        self.offsets[set]..self.offsets[set + 1]
    }

    /// Rows of some neighbouring sets.
    pub(crate) fn span(&self, sets: &Range<usize>) -> Range<usize> {
        self.offsets[sets.start]..self.offsets[sets.end]
    }

    /// The common length, where there is one.
    pub(crate) fn common_len(&self) -> Option<usize> {
        let len = *self.offsets.get(1)?;
        self.offsets.windows(2).all(|w| w[1] - w[0] == len).then_some(len)
    }
}

/// Of `len` rows in steps of `step`, how many the row `query` attends to.
pub(crate) fn seen(step: usize, query: usize, len: usize) -> usize {
    query.checked_div(step).map_or(len, |whole| ((whole + 1) * step).min(len))
}

/// Splits `values` into pieces of these lengths, in order. They must not exceed it together.
pub(crate) fn split_at_lengths(mut values: &mut [f32], lengths: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let mut pieces = Vec::new();
    for len in lengths {
        let (piece, rest) = std::mem::take(&mut values).split_at_mut(len);
        pieces.push(piece);
        values = rest;
    }
    pieces
}
