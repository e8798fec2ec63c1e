//! Decoded samples, kept in memory as they come until the bytes are used up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module: a place for each sample, and how many bytes may be used.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    slots: Vec<OnceLock<T>>,
    used: AtomicUsize,
    limit: usize,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new(slots: usize, limit: usize) -> Self {
        let slots = if limit == 0 { 0 } else { slots };
        Self { slots: (0..slots).map(|_| OnceLock::new()).collect(), used: AtomicUsize::new(0), limit }
    }

    pub(crate) fn get(&self, index: usize) -> Option<T> {
        self.slots.get(index)?.get().cloned()
    }

    /// Keeps what takes so many bytes, if there is room.
    pub(crate) fn keep(&self, index: usize, bytes: usize, sample: &T) {
        let Some(slot) = self.slots.get(index) else {
            return;
        };
        // Taken first and given back if it does not fit, so that the limit holds with any number of threads.
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limit || slot.set(sample.clone()).is_err() {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}
