//! The crate's one error: what was expected, what was found, where.

use thiserror::Error;

/// Why features or labels could not be judged.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EvalError {
    /// The values do not fill `[rows, dim]`.
    #[error("features of shape [{rows}, {dim}] need {} values, found {found}", rows * dim)]
    Shape {
        /// Claimed number of rows.
        rows: usize,
        /// Claimed width of a row.
        dim: usize,
        /// Values that were given.
        found: usize,
    },
    /// Too few rows for the quantity asked for.
    #[error("{what} needs at least {needed} rows, found {found}")]
    TooFewRows {
        /// The quantity.
        what: &'static str,
        /// Rows that it needs.
        needed: usize,
        /// Rows that were given.
        found: usize,
    },
    /// Rows without dimensions.
    #[error("features have no dimensions: dim is 0")]
    NoDimensions,
    /// A NaN or an infinity among the features.
    #[error("feature value {value} at row {row}, dimension {dimension}: the encoder's output is not finite")]
    NotFinite {
        /// Row of the first such value.
        row: usize,
        /// Its dimension.
        dimension: usize,
        /// NaN, inf or -inf.
        value: String,
    },
    /// Two matrices that must share their width do not.
    #[error("{left} have {left_dim} dimensions but {right} have {right_dim}: take both from one encoder")]
    DimensionMismatch {
        /// Name of the first matrix.
        left: &'static str,
        /// Its width.
        left_dim: usize,
        /// Name of the second matrix.
        right: &'static str,
        /// Its width.
        right_dim: usize,
    },
    /// A label list whose length is not the number of rows.
    #[error("factor {factor:?} has {found} {part} labels for {rows} {part} rows")]
    LabelCount {
        /// Name of the factor.
        factor: String,
        /// `train` or `test`.
        part: &'static str,
        /// Labels that were given.
        found: usize,
        /// Rows that they should label.
        rows: usize,
    },
    /// A class with fewer training rows than were asked for of each.
    #[error(
        "factor {factor:?} has {found} training rows of class {class}, but {needed} of each class were asked for: ask for {found} or fewer"
    )]
    TooFewOfClass {
        /// Name of the factor.
        factor: String,
        /// The class's label.
        class: u32,
        /// Rows that were asked for.
        needed: usize,
        /// Rows that it has.
        found: usize,
    },
    /// Rows that cannot be grouped by sample.
    #[error("{rows} rows do not divide into groups of {views} views (LiDAR needs n·q rows, q ≥ 2, n ≥ 2)")]
    Grouping {
        /// Rows that were given.
        rows: usize,
        /// Views of one sample.
        views: usize,
    },
    /// A setting outside its domain.
    #[error("{setting} must be {expected}, found {found}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its domain, in words.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// A file of features beyond the memory that was granted.
    #[error(
        "could not {doing} a temporary file for features that `judge.memory` has no room for: {error}; raise that setting, or set TMPDIR to a folder with room"
    )]
    Storage {
        /// make, write or read.
        doing: &'static str,
        /// What the system said.
        error: String,
    },
    /// A factorisation that failed on finite input.
    #[error("{what} failed: {hint}")]
    Factorisation {
        /// The decomposition.
        what: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
}
