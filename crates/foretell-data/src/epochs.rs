//! The samples of each step, where a data set has an end: epochs without a gap, each a permutation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::DataError;
use crate::modality::{Modality, OnBadSample, Part};
use crate::random::{Stream, rng, shuffled};
use crate::source::Source;
use crate::visit::fail;

/// The training part of a data set, a permutation for each epoch. Epochs follow each other without a gap: a batch may hold
/// the end of one and the beginning of the next, and no sample is dropped.
pub struct Epochs<M> {
    data: Arc<M>,
    batch: usize,
    seed: u64,
    /// Samples of an epoch, those that are lost included.
    count: usize,
    /// Places of an epoch whose samples the data have no more, ascending.
    lost: Vec<usize>,
    bad: Mutex<BTreeMap<usize, String>>,
    /// The last orders drawn, by epoch: threads work on at most a few epochs at a time.
    orders: Mutex<Vec<(u64, Arc<[u32]>)>>,
}

impl<M: Modality> Epochs<M> {
    /// An error if the training part has fewer samples than two batches.
    pub fn new(data: Arc<M>, batch: usize, seed: u64) -> Result<Self, DataError> {
        Self::without(data, batch, seed, &[])
    }

    /// Of data that have lost the samples that stood at these places: each epoch passes over them as over samples that
    /// cannot be read, and all others keep their turn.
    pub fn without(data: Arc<M>, batch: usize, seed: u64, lost: &[usize]) -> Result<Self, DataError> {
        let left = data.len(Part::Train).unwrap_or(usize::MAX);
        check_batch::<M>(left, batch)?;
        let mut lost = lost.to_vec();
        lost.sort_unstable();
        lost.dedup();
        let count = left.saturating_add(lost.len());
        Ok(Self { data, batch, seed, count, lost, bad: Mutex::default(), orders: Mutex::default() })
    }

    /// Where the sample of a place lies in the data.
    fn place(&self, index: usize) -> Option<usize> {
        self.lost.binary_search(&index).err().map(|before| index - before)
    }

    /// The permutation of an epoch.
    fn order(&self, epoch: u64) -> Arc<[u32]> {
        const KEPT: usize = 4;
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(of, _)| *of == epoch) {
            return Arc::clone(order);
        }
        let order: Arc<[u32]> = shuffled(self.count, &mut rng(self.seed, Stream::Order, epoch, 0)).into();
        if orders.len() == KEPT {
            orders.remove(0);
        }
        orders.push((epoch, Arc::clone(&order)));
        order
    }

    /// The sample, or where bad ones are passed over the next good one behind it: what is good depends on the data alone,
    /// so this does not depend on which thread met it first.
    fn sample(&self, wanted: usize) -> Result<M::Sample, DataError> {
        let mut first_error = None;
        for ahead in 0..self.count {
            let Some(index) = self.place((wanted + ahead) % self.count) else { continue };
            if self.lock_bad().contains_key(&index) {
                continue;
            }
            match self.data.load_to_train(index) {
                Ok(sample) => return Ok(sample),
                Err(error) => {
                    let name = self.data.meta(Part::Train, index)?.name;
                    if self.data.on_bad() == OnBadSample::Fail {
                        return Err(fail(error, name));
                    }
                    self.lock_bad().insert(index, name);
                    first_error.get_or_insert(error);
                }
            }
        }
        let source = match first_error {
            Some(error) => error,
            // All were known to be bad: the reason is found once more.
            None => match self.data.load_to_train(self.place(wanted).unwrap_or(0)) {
                Ok(sample) => return Ok(sample),
                Err(error) => error,
            },
        };
        Err(DataError::AllBad { unit: M::UNIT, tried: self.count - self.lost.len(), source: Box::new(source) })
    }

    fn lock_bad(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Modality> Source for Epochs<M> {
    type Sample = M::Sample;

    /// Step `s`, counted from 1, covers the positions `(s - 1) batch .. s batch` of the endless sequence of epochs.
    fn batch(&self, step: u64) -> Result<Vec<M::Sample>, DataError> {
        let (batch, count) = (self.batch as u128, self.count as u128);
        let first = (step as u128 - 1) * batch;
        let mut wanted = Vec::with_capacity(self.batch);
        let mut order = self.order((first / count) as u64);
        for position in first..first + batch {
            if position % count == 0 {
                order = self.order((position / count) as u64);
            }
            wanted.push(order[(position % count) as usize] as usize);
        }
        // Together those that are not known to be bad; what is left is read, or passed over, one by one.
        let places: Vec<Option<usize>> = {
            let bad = self.lock_bad();
            wanted.iter().map(|wanted| self.place(*wanted).filter(|index| !bad.contains_key(index))).collect()
        };
        let good: Vec<usize> = places.iter().copied().flatten().collect();
        let mut together = self.data.load_many_to_train(&good).into_iter();
        let sample = |(wanted, place): (usize, Option<usize>)| match place.and_then(|_| together.next()) {
            Some(Ok(sample)) => Ok(sample),
            _ => self.sample(wanted),
        };
        wanted.into_iter().zip(places).map(sample).collect()
    }

    fn skipped(&self) -> usize {
        self.lock_bad().len()
    }

    fn skipped_names(&self) -> Vec<String> {
        self.lock_bad().values().cloned().collect()
    }
}

/// Whether `found` samples are enough for batches of `batch`: at least two of them.
pub fn check_batch<M: Modality>(found: usize, batch: usize) -> Result<(), DataError> {
    if batch > 0 && found / 2 >= batch {
        return Ok(());
    }
    let many = M::UNIT.many;
    let remedy = match found / 2 {
        0 | 1 => format!("at least 4 {many} are needed, for two batches of 2: add more"),
        most => {
            // The largest power of two that works: what a user would have chosen.
            let works = 1_usize << most.ilog2();
            let enough = batch.max(1).saturating_mul(2);
            format!("set `train.batch` to {works}, or add {many} until there are {enough}")
        }
    };
    Err(DataError::TooFew { unit: M::UNIT, found, batch, remedy })
}
