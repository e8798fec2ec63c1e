//! Stretches of series in two pieces: what is seen, and what comes then.

use crate::series::SeriesSample;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// What is seen.
    pub history: SeriesSample,
    /// What comes then; as many steps of each stretch.
    pub future: SeriesSample,
    /// The recording's column, or 0.
    pub column: usize,
    /// Where its first step lies in the recording; of a series of a set, which one it is.
    pub start: usize,
}
