//! The threads that operations share.

use burn::tensor::Device;

use crate::device::on_cpu;

/// Runs `work`, which has several parallel parts, on a thread of the pool. From any other thread each part wakes the pool and
/// sleeps until it is done, tens of microseconds; from a thread of the pool it costs next to nothing.
pub(crate) fn on_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

/// Runs several operations, one after the other, as one piece of work of the pool that the fused ones share, which is quicker where
/// each is short: one image's features by a fiftieth. Elsewhere than on the processor, or from a thread of the pool, it changes nothing.
///
/// `work` must not wait for a thread that computes: in a pool of one thread neither would go on.
pub fn together<T: Send>(device: &Device, work: impl FnOnce() -> T + Send) -> T {
    if on_cpu(device) { on_pool(work) } else { work() }
}
