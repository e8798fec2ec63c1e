//! Where a run's samples come from, and the batches that are made of them.

use std::any::Any;
use std::sync::Arc;

use crate::DataError;
use crate::loader::Collate;

/// The samples of each step of training.
pub trait Source: Send + Sync {
    /// What a collator takes.
    type Sample: Send;

    /// The samples of a step, counted from 1: a function of the source's own settings and of the step, whichever thread
    /// asks and whatever was asked before.
    fn batch(&self, step: u64) -> Result<Vec<Self::Sample>, DataError>;

    /// How many different samples turned out bad so far.
    fn skipped(&self) -> usize {
        0
    }

    /// Their names, in index order.
    fn skipped_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Batches of any type by step: what the [`Loader`](crate::Loader)'s threads make. Who takes a batch knows its type.
pub trait Feed: Send + Sync {
    /// The batch of a step, counted from 1: a function of the step alone.
    fn batch(&self, step: u64) -> Result<Box<dyn Any + Send>, DataError>;

    /// How many different samples turned out bad so far.
    fn skipped(&self) -> usize {
        0
    }

    /// Their names, in index order.
    fn skipped_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A source and a collator, joined.
struct Joined<S, B> {
    source: Arc<dyn Source<Sample = S>>,
    collate: Arc<dyn Collate<Sample = S, Batch = B>>,
}

impl<S: Send + 'static, B: Send + 'static> Feed for Joined<S, B> {
    fn batch(&self, step: u64) -> Result<Box<dyn Any + Send>, DataError> {
        Ok(Box::new(self.collate.collate(step, &self.source.batch(step)?)?))
    }

    fn skipped(&self) -> usize {
        self.source.skipped()
    }

    fn skipped_names(&self) -> Vec<String> {
        self.source.skipped_names()
    }
}

/// What a collator makes of a source's samples.
pub fn feed<S: Send + 'static, B: Send + 'static>(
    source: Arc<dyn Source<Sample = S>>,
    collate: Arc<dyn Collate<Sample = S, Batch = B>>,
) -> Arc<dyn Feed> {
    Arc::new(Joined { source, collate })
}
