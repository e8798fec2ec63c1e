//! Batches in step order, made ahead by threads of the loader's own. The batch of a step is a function of the seed and
//! the step, whatever the number of threads and wherever a run began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Part, Sample};
use crate::ordered::Ordered;
use crate::random::{Stream, rng};
use crate::transform::shrink;
use crate::visit::fail;
use crate::{DataError, Image};

/// What to do with a sample that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBadSample {
    /// Stop with an error that names it.
    #[default]
    Fail,
    /// Take the next good one instead, count it and remember its name.
    Skip,
}

/// Makes host batches of samples, in the loader's threads: views and masks are drawn here.
pub trait Collate: Send + Sync {
    /// What a step of training takes.
    type Batch: Send + 'static;

    /// The batch of a step, counted from 1. It may depend on nothing but its arguments and the collator's own
    /// configuration; randomness comes from [`rng`](crate::random::rng) with this step. What it cannot make, it says
    /// in a [`DataError::Collate`], which [`Loader::next`] hands on.
    fn collate(&self, step: u64, samples: &[Sample]) -> Result<Self::Batch, DataError>;
}

/// How a [`Loader`] works. Only `batch` and `seed` (and `max_short_side`, by a little) change what it yields.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Samples in a batch.
    pub batch: usize,
    /// Of the order of the samples.
    pub seed: u64,
    /// Threads of the loader's own, at least 1.
    pub threads: usize,
    /// Batches made ahead, besides those in the threads' hands.
    pub prefetch: usize,
    /// What to do with a sample that cannot be read.
    pub on_bad: OnBadSample,
    /// Decoded images are kept up to so many bytes; 0 keeps none.
    pub cache_bytes: usize,
    /// Decoded images are shrunk until their short side is at most so many pixels; 0 never shrinks.
    pub max_short_side: usize,
}

/// Whether `found` images are enough for batches of `batch`: at least two of them.
pub fn check_batch(found: usize, batch: usize) -> Result<(), DataError> {
    if batch > 0 && found / 2 >= batch {
        return Ok(());
    }
    let remedy = match found / 2 {
        0 => "at least 2 images are needed, so add more".to_owned(),
        most => {
            // The largest power of two that works: what a user would have chosen.
            let works = 1_usize << most.ilog2();
            format!(
                "pass `--set train.batch={works}`, or add images until there are {}",
                batch.max(1).saturating_mul(2)
            )
        }
    };
    Err(DataError::TooFew { found, batch, remedy })
}

/// Endless batches in step order. Dropping it stops its threads.
pub struct Loader<C: Collate + ?Sized> {
    batches: Ordered<Result<C::Batch, DataError>>,
    samples: Arc<Samples>,
}

impl<C: Collate + ?Sized + 'static> Loader<C> {
    /// Begins at once with the batch of `start_step` (the first step of a run is 1). Epochs follow each other without a
    /// gap: a batch may hold the end of one and the beginning of the next, and no sample is dropped.
    pub fn new(
        dataset: Dataset,
        part: Part,
        config: LoaderConfig,
        collate: Arc<C>,
        start_step: u64,
    ) -> Result<Self, DataError> {
        check_batch(dataset.len(part), config.batch)?;
        let (threads, window) = (config.threads.max(1), config.threads.max(1) + config.prefetch);
        let samples = Arc::new(Samples::new(dataset, part, config));
        let shared = Arc::clone(&samples);
        let work = move |step: u64| collate.collate(step, &shared.batch(step)?);
        Ok(Self { batches: Ordered::start(threads, window, start_step.max(1), u64::MAX, work), samples })
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
        self.samples.lock_bad().len()
    }

    /// The names of the bad samples so far, in index order.
    pub fn skipped_names(&self) -> Vec<String> {
        self.samples.lock_bad().values().cloned().collect()
    }
}

/// The samples of each step.
struct Samples {
    dataset: Dataset,
    part: Part,
    config: LoaderConfig,
    count: usize,
    cache: Cache,
    bad: Mutex<BTreeMap<usize, String>>,
    /// The last orders drawn, by epoch: threads work on at most a few epochs at a time.
    orders: Mutex<Vec<(u64, Arc<[u32]>)>>,
}

impl Samples {
    fn new(dataset: Dataset, part: Part, config: LoaderConfig) -> Self {
        let count = dataset.len(part);
        let cache = Cache::new(count, if dataset.pays_to_cache(part) { config.cache_bytes } else { 0 });
        Self { dataset, part, config, count, cache, bad: Mutex::default(), orders: Mutex::default() }
    }

    /// Step `s`, counted from 1, covers the positions `(s - 1) batch .. s batch` of the endless sequence of epochs.
    fn batch(&self, step: u64) -> Result<Vec<Sample>, DataError> {
        let (batch, count) = (self.config.batch as u128, self.count as u128);
        let first = (step as u128 - 1) * batch;
        let mut samples = Vec::with_capacity(self.config.batch);
        let mut order = self.order((first / count) as u64);
        for position in first..first + batch {
            if position % count == 0 {
                order = self.order((position / count) as u64);
            }
            samples.push(self.sample(order[(position % count) as usize] as usize)?);
        }
        Ok(samples)
    }

    /// The permutation of an epoch.
    fn order(&self, epoch: u64) -> Arc<[u32]> {
        const KEPT: usize = 4;
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(of, _)| *of == epoch) {
            return Arc::clone(order);
        }
        let mut order: Vec<u32> = (0..self.count as u32).collect();
        let mut rng = rng(self.config.seed, Stream::Order, epoch, 0);
        for last in (1..order.len()).rev() {
            order.swap(last, rng.random_range(0..=last as u32) as usize);
        }
        let order: Arc<[u32]> = order.into();
        if orders.len() == KEPT {
            orders.remove(0);
        }
        orders.push((epoch, Arc::clone(&order)));
        order
    }

    /// The sample, or with `Skip` the next good one behind it: what is good depends on the data alone, so this does
    /// not depend on which thread met it first.
    fn sample(&self, wanted: usize) -> Result<Sample, DataError> {
        let mut first_error = None;
        for ahead in 0..self.count {
            let index = (wanted + ahead) % self.count;
            if self.lock_bad().contains_key(&index) {
                continue;
            }
            match self.load(index) {
                Ok(sample) => return Ok(sample),
                Err(error) if self.config.on_bad == OnBadSample::Fail => return Err(fail(error)),
                Err(error) => {
                    let name = self.dataset.name(self.part, index)?;
                    self.lock_bad().insert(index, name);
                    first_error.get_or_insert(error);
                }
            }
        }
        let source = match first_error {
            Some(error) => error,
            // All were known to be bad: the reason is found once more.
            None => match self.load(wanted) {
                Ok(sample) => return Ok(sample),
                Err(error) => error,
            },
        };
        Err(DataError::AllBad { tried: self.count, source: Box::new(source) })
    }

    fn load(&self, index: usize) -> Result<Sample, DataError> {
        if let Some(image) = self.cache.get(index) {
            let name = self.dataset.name(self.part, index)?;
            let labels = self.dataset.labels(self.part, index)?;
            return Ok(Sample { index, name, image, labels });
        }
        let mut sample = self.dataset.load(self.part, index)?;
        let most = self.config.max_short_side;
        if most > 0 && sample.image.short_side() > most {
            sample.image = Arc::new(shrink(Arc::unwrap_or_clone(sample.image), most));
        }
        self.cache.keep(index, &sample.image);
        Ok(sample)
    }

    fn lock_bad(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, String>> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decoded images, kept as they come until the bytes are used up.
struct Cache {
    slots: Vec<OnceLock<Arc<Image>>>,
    used: AtomicUsize,
    limit: usize,
}

impl Cache {
    fn new(count: usize, limit: usize) -> Self {
        let slots = if limit == 0 { 0 } else { count };
        Self { slots: (0..slots).map(|_| OnceLock::new()).collect(), used: AtomicUsize::new(0), limit }
    }

    fn get(&self, index: usize) -> Option<Arc<Image>> {
        self.slots.get(index)?.get().cloned()
    }

    fn keep(&self, index: usize, image: &Arc<Image>) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        let size = image.pixels.len();
        // Taken first and given back if it does not fit, so that the limit holds with any number of threads.
        if self.used.fetch_add(size, Ordering::Relaxed) + size > self.limit || slot.set(Arc::clone(image)).is_err() {
            self.used.fetch_sub(size, Ordering::Relaxed);
        }
    }
}
