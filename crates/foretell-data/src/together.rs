//! Work of several threads that wait for one another.

use std::panic::resume_unwind;

/// `of(0)`, `of(1)`, …, `of(count - 1)`, in this order, whoever did which.
pub(crate) fn together<T: Send>(threads: usize, count: usize, of: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (of, stretch) = (&of, count.div_ceil(threads.max(1)).max(1));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .step_by(stretch)
            .map(|first| scope.spawn(move || (first..count.min(first + stretch)).map(of).collect::<Vec<T>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::together;

    #[test]
    fn each_is_done_once_and_in_order() {
        for (threads, count) in [(0, 3), (1, 5), (3, 0), (3, 7), (4, 8), (9, 2)] {
            assert_eq!(together(threads, count, |i| 2 * i), (0..count).map(|i| 2 * i).collect::<Vec<_>>());
        }
    }
}
