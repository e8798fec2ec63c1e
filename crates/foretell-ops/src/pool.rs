//! The threads that operations share.

/// Runs `work`, which has several parallel parts, on a thread of the pool. From any other thread each part wakes the pool and
/// sleeps until it is done, tens of microseconds; from a thread of the pool it costs next to nothing.
pub(crate) fn on_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}
