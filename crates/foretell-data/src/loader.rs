//! Batches in step order, made ahead by threads of the loader's own. The batch of a step is a function of the seed and
//! the step, whatever the number of threads and wherever a run began.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use crate::DataError;
use crate::ordered::Ordered;
use crate::source::Feed;

/// Makes host batches of samples, in the loader's threads: views and masks are drawn here.
pub trait Collate: Send + Sync {
    /// What it is given.
    type Sample: Send + 'static;
    /// What a step of training takes.
    type Batch: Send + 'static;

    /// The batch of a step, counted from 1. It may depend on nothing but its arguments and the collator's own
    /// configuration; randomness comes from [`rng`](crate::random::rng) with this step. What it cannot make, it says
    /// in a [`DataError::Collate`], which [`Loader::next`] hands on.
    fn collate(&self, step: u64, samples: &[Self::Sample]) -> Result<Self::Batch, DataError>;
}

/// Endless batches in step order. Dropping it stops its threads.
pub struct Loader {
    batches: Ordered<Result<Box<dyn Any + Send>, DataError>>,
    feed: Arc<dyn Feed>,
}

impl Loader {
    /// Begins at once with the batch of `start_step` (the first step of a run is 1). `threads` of the loader's own make
    /// `prefetch` batches ahead, besides those in their hands.
    pub fn new(feed: Arc<dyn Feed>, threads: usize, prefetch: usize, start_step: u64) -> Self {
        let threads = threads.max(1);
        let shared = Arc::clone(&feed);
        let work = move |step: u64| shared.batch(step);
        Self { batches: Ordered::start(threads, threads + prefetch, start_step.max(1), u64::MAX, work), feed }
    }

    /// The batch of the next step.
    #[expect(clippy::should_implement_trait, reason = "endless, so the end that an iterator can reach does not exist")]
    pub fn next(&mut self) -> Result<Box<dyn Any + Send>, DataError> {
        self.batches.next().unwrap_or(Err(DataError::NoInputs))
    }

    /// How long [`next`](Self::next) has had to wait for its threads in all.
    pub fn waited(&self) -> Duration {
        self.batches.waited()
    }

    /// How many different samples turned out bad so far.
    pub fn skipped(&self) -> usize {
        self.feed.skipped()
    }

    /// The names of the bad samples so far, in index order.
    pub fn skipped_names(&self) -> Vec<String> {
        self.feed.skipped_names()
    }
}
