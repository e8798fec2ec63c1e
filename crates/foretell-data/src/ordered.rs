//! Work done by several threads of one's own and handed out in order, never more than a window ahead.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Results of `work(start)`, `work(start + 1)` and so on, in this order. Dropping it stops the threads.
pub(crate) struct Ordered<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    waited: Duration,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// A result is there.
    ready: Condvar,
    /// There is room for another one, or it is time to stop.
    room: Condvar,
    window: u64,
    end: u64,
}

struct State<T> {
    /// The next to begin.
    begin: u64,
    /// The next to hand out.
    deliver: u64,
    done: BTreeMap<u64, Result<T, Box<dyn Any + Send>>>,
    stop: bool,
}

impl<T> Shared<T> {
    /// A thread that panics does so outside of the lock, so that what the lock guards is whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Ordered<T> {
    /// Begins at once. `window` results are kept ready at most, besides those in the threads' hands.
    pub(crate) fn start(
        threads: usize,
        window: usize,
        start: u64,
        end: u64,
        work: impl Fn(u64) -> T + Send + Sync + 'static,
    ) -> Self {
        let state = State { begin: start, deliver: start, done: BTreeMap::new(), stop: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            ready: Condvar::new(),
            room: Condvar::new(),
            window: window.max(1) as u64,
            end,
        });
        let work = Arc::new(work);
        let threads = (0..threads.max(1))
            .map(|_| {
                let (shared, work) = (Arc::clone(&shared), Arc::clone(&work));
                thread::spawn(move || run(&shared, &*work))
            })
            .collect();
        Self { shared, threads, waited: Duration::ZERO }
    }

    /// The next result; `None` behind the last. A panic in a thread goes on here.
    pub(crate) fn next(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        if state.deliver >= self.shared.end {
            return None;
        }
        let next = state.deliver;
        let mut since = None::<Instant>;
        let result = loop {
            if let Some(result) = state.done.remove(&next) {
                break result;
            }
            since.get_or_insert_with(Instant::now);
            state = self.shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.deliver += 1;
        drop(state);
        self.shared.room.notify_one();
        self.waited += since.map_or(Duration::ZERO, |since| since.elapsed());
        match result {
            Ok(value) => Some(value),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// How long [`next`](Self::next) had to wait in all.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }
}

fn run<T>(shared: &Shared<T>, work: &impl Fn(u64) -> T) {
    loop {
        let mut state = shared.lock();
        while !state.stop && state.begin < shared.end && state.begin >= state.deliver + shared.window {
            state = shared.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stop || state.begin >= shared.end {
            return;
        }
        let mine = state.begin;
        state.begin += 1;
        drop(state);
        let result = catch_unwind(AssertUnwindSafe(|| work(mine)));
        shared.lock().done.insert(mine, result);
        shared.ready.notify_one();
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // Panics of the work are caught; there is nothing left to report.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn results_come_in_order_and_never_more_than_the_window_ahead() {
        let begun = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&begun);
        let mut ordered = Ordered::start(4, 3, 5, 45, move |i| {
            counter.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_micros(i * 7919 % 300));
            i * i
        });
        for i in 5..45 {
            assert!(begun.load(Ordering::SeqCst) <= (i - 5) + 3);
            assert_eq!(ordered.next(), Some(i * i));
        }
        assert_eq!(ordered.next(), None);
        assert_eq!(begun.load(Ordering::SeqCst), 40);
    }

    #[test]
    fn dropping_stops_the_threads_and_a_panic_reaches_the_caller() {
        drop(Ordered::start(3, 2, 0, u64::MAX, |i| i));
        let mut ordered = Ordered::start(2, 2, 0, 10, |i| assert!(i != 1, "at one"));
        assert_eq!(ordered.next(), Some(()));
        let panic = catch_unwind(AssertUnwindSafe(|| ordered.next()));
        assert!(panic.is_err());
        assert_eq!(ordered.next(), Some(()));
    }
}
