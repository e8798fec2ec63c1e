//! The images of a data set as samples of a run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Part, Sample};
use crate::normalise::Normalise;
use crate::random::{Stream, rng};
use crate::source::{Demand, HeldOut, HeldOutDemand, Material, Source};
use crate::transform::shrink;
use crate::visit::{fail, for_each_fitted};
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

/// How a [`Loader`](crate::Loader) of images works. Only `batch` and `seed` (and `max_short_side`, by a little) change what it yields.
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

/// The images of a data set: training learns from one part and health looks at the other.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// Images.
    pub dataset: &'a Dataset,
    /// Mean and standard deviation of the training part.
    pub normalise: &'a Normalise,
    /// What to do with one that cannot be read.
    pub on_bad: OnBadSample,
}

impl Material for Images<'_> {
    type Sample = Sample;

    fn training(&self, demand: &Demand) -> Result<Arc<dyn Source<Sample = Sample>>, DataError> {
        let config = LoaderConfig {
            batch: demand.batch,
            seed: demand.seed,
            threads: 1,
            prefetch: 0,
            on_bad: self.on_bad,
            cache_bytes: demand.cache_bytes,
            max_short_side: 2 * demand.image.0,
        };
        Ok(Arc::new(ImageSource::new(self.dataset.clone(), Part::Train, config)?))
    }

    /// Observations are evenly spread over the part, and samples over them. A data set without a held-out part is judged
    /// on training images; the caller says so.
    fn held_out(&self, demand: &HeldOutDemand) -> Result<HeldOut<Sample>, DataError> {
        let part = if self.dataset.len(Part::HeldOut) >= 2 { Part::HeldOut } else { Part::Train };
        let (mut observations, mut samples) = (Vec::new(), Vec::<Sample>::new());
        let (size, limit) = (demand.image.0, Some(demand.observations));
        let (expected, mut count) = (self.dataset.len(part).min(demand.observations), 0);
        let wanted = expected.min(demand.samples);
        let mut skipped = for_each_fitted(self.dataset, part, size, 2, limit, self.on_bad, |sample| {
            let at = observations.len();
            observations.resize(at + sample.image.pixels.len(), 0.0);
            self.normalise.apply(&sample.image, &mut observations[at..]);
            if samples.len() * expected <= count * wanted && samples.len() < wanted {
                samples.push(sample);
            }
            count += 1;
        })?;
        if part == Part::Train {
            // The loader meets and counts them too.
            skipped.clear();
        }
        Ok(HeldOut { observations, count, samples, skipped })
    }
}

/// A data set's images, a permutation for each epoch.
pub(crate) struct ImageSource {
    dataset: Dataset,
    part: Part,
    config: LoaderConfig,
    count: usize,
    cache: Cache,
    bad: Mutex<BTreeMap<usize, String>>,
    /// The last orders drawn, by epoch: threads work on at most a few epochs at a time.
    orders: Mutex<Vec<(u64, Arc<[u32]>)>>,
}

impl ImageSource {
    /// An error if the part has fewer images than two batches.
    pub(crate) fn new(dataset: Dataset, part: Part, config: LoaderConfig) -> Result<Self, DataError> {
        let count = dataset.len(part);
        check_batch(count, config.batch)?;
        let cache = Cache::new(count, if dataset.pays_to_cache(part) { config.cache_bytes } else { 0 });
        Ok(Self { dataset, part, config, count, cache, bad: Mutex::default(), orders: Mutex::default() })
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

impl Source for ImageSource {
    type Sample = Sample;

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

    fn skipped(&self) -> usize {
        self.lock_bad().len()
    }

    fn skipped_names(&self) -> Vec<String> {
        self.lock_bad().values().cloned().collect()
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
