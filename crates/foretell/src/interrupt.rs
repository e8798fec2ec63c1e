//! Ctrl-C: the first one asks the command to save and stop, the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the first Ctrl-C (or a polite `kill`).
pub static STOP: AtomicBool = AtomicBool::new(false);

/// From here on Ctrl-C sets [`STOP`]. For commands that look at it.
pub fn stop_on_interrupt() {
    let handler = || {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    // Without a handler Ctrl-C ends the process: the last checkpoint stands.
    let _ = ctrlc::set_handler(handler);
}

/// Whether to stop.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}
