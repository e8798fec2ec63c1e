//! Operations of matrix products, counted where they are made: what a step costs, whatever it is made of.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that shares no line of a cache with another, so that counting makes no thread wait.
#[repr(align(128))]
struct Counter(AtomicU64);

/// One for the threads outside of the pool, and the rest for those in it.
static COUNTERS: [Counter; 64] = [const { Counter(AtomicU64::new(0)) }; 64];

fn own() -> &'static AtomicU64 {
    let thread = rayon::current_thread_index().map_or(0, |thread| 1 + thread % (COUNTERS.len() - 1));
    &COUNTERS[thread].0
}

fn of(m: usize, n: usize, k: usize) -> u64 {
    2 * m as u64 * n as u64 * k as u64
}

/// A product `[m, k] · [k, n]`.
pub(crate) fn count(m: usize, n: usize, k: usize) {
    own().fetch_add(of(m, n, k), Ordering::Relaxed);
}

/// The product `[m, k] · [k, n]` that was made just now repeats one of the forward pass, to save memory. It is no part of what
/// the step has to do, and is taken off again.
pub(crate) fn repeated(m: usize, n: usize, k: usize) {
    own().fetch_sub(of(m, n, k), Ordering::Relaxed);
}

/// Multiplications and additions in matrix products since the program began: 2·m·n·k for `[m, k] · [k, n]`.
///
/// Counted are the products of this crate's operations on the CPU in f32, forward and backward, fused or composed; not what a
/// fused backward pass computes a second time, and not convolutions composed of other calls. Ask before and after.
pub fn operations() -> u64 {
    COUNTERS.iter().fold(0, |sum, counter| sum.wrapping_add(counter.0.load(Ordering::Relaxed)))
}
