//! Every command's view of something that makes features: a run's encoder, or a published model.

use std::any::Any;
use std::ops::Range;
use std::path::PathBuf;

use foretell_data::{DataError, Film, Image, Meta, Unit};
use serde_json::Value;

/// How a sample's tokens become features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// `[D]` a sample: the mean of its tokens.
    Sample,
    /// `[F]` a sample: what probes are given.
    Probed,
    /// `[N, D]` a sample: every token.
    Tokens,
}

/// Something that makes features of samples.
pub trait Encoder: Send {
    /// What lies beside features, so that a search can make a query's: who made them, with a mark of the weights.
    fn about(&self) -> Value;

    /// Samples of the kind that it takes, at these paths, in their order.
    fn open(&self, paths: &[PathBuf]) -> Result<Box<dyn Samples + '_>, DataError>;

    /// Width of its tokens, D.
    fn width(&self) -> usize;

    /// The network itself, for those who know its type, such as an export.
    fn network(&self) -> &dyn Any;
}

/// Samples as one encoder takes them.
pub trait Samples {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they are called.
    fn unit(&self) -> Unit;

    /// What to know of all of them, such as how they differ from those that were learnt from.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Name and labels of one.
    fn meta(&self, index: usize) -> Result<Meta, DataError>;

    /// Features of some, row-major, or why one has none.
    fn features(&self, rows: Range<usize>, pool: Pool) -> Vec<Result<Vec<f32>, DataError>>;

    /// What one looks like, where that can be shown.
    fn picture(&self, index: usize) -> Option<Image>;

    /// The same where it moves.
    fn film(&self, _index: usize) -> Option<Film> {
        None
    }

    /// Either.
    fn shown(&self, index: usize) -> Option<Film> {
        self.film(index).or_else(|| self.picture(index).map(Film::still))
    }
}
