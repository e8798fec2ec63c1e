//! Batches in step order, made ahead by threads of the loader's own. The batch of a step is a function of the seed and
//! the step, whatever the number of threads and wherever a run began.

use std::sync::Arc;
use std::time::Duration;

use crate::DataError;
use crate::dataset::{Dataset, Part, Sample};
use crate::images::{ImageSource, LoaderConfig};
use crate::ordered::Ordered;
use crate::source::Source;

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
pub struct Loader<C: Collate + ?Sized> {
    batches: Ordered<Result<C::Batch, DataError>>,
    source: Arc<dyn Source<Sample = C::Sample>>,
}

impl<C: Collate + ?Sized + 'static> Loader<C> {
    /// Begins at once with the batch of `start_step` (the first step of a run is 1). `threads` of the loader's own make
    /// `prefetch` batches ahead, besides those in their hands.
    pub fn new(
        source: Arc<dyn Source<Sample = C::Sample>>,
        collate: Arc<C>,
        threads: usize,
        prefetch: usize,
        start_step: u64,
    ) -> Self {
        let threads = threads.max(1);
        let shared = Arc::clone(&source);
        let work = move |step: u64| collate.collate(step, &shared.batch(step)?);
        Self { batches: Ordered::start(threads, threads + prefetch, start_step.max(1), u64::MAX, work), source }
    }

    /// The batch of the next step.
    #[expect(clippy::should_implement_trait, reason = "endless, so the end that an iterator can reach does not exist")]
    pub fn next(&mut self) -> Result<C::Batch, DataError> {
        self.batches.next().unwrap_or(Err(DataError::NoInputs))
    }

    /// How long [`next`](Self::next) has had to wait for its threads in all.
    pub fn waited(&self) -> Duration {
        self.batches.waited()
    }

    /// How many different samples turned out bad so far.
    pub fn skipped(&self) -> usize {
        self.source.skipped()
    }

    /// The names of the bad samples so far, in index order.
    pub fn skipped_names(&self) -> Vec<String> {
        self.source.skipped_names()
    }
}

impl<C: Collate<Sample = Sample> + ?Sized + 'static> Loader<C> {
    /// Of a data set's images. Epochs follow each other without a gap: a batch may hold the end of one and the beginning
    /// of the next, and no sample is dropped.
    pub fn images(
        dataset: Dataset,
        part: Part,
        config: LoaderConfig,
        collate: Arc<C>,
        start_step: u64,
    ) -> Result<Self, DataError> {
        let (threads, prefetch) = (config.threads, config.prefetch);
        let source = Arc::new(ImageSource::new(dataset, part, config)?);
        Ok(Self::new(source, collate, threads, prefetch, start_step))
    }
}
