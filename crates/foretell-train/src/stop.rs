//! A run that ends in its middle, for tests.

use std::fmt::Arguments;
use std::sync::OnceLock;

/// Ends the process as a kill does, with nothing flushed or tidied up, if `FORETELL_STOP_AFTER` in the environment names
/// this point. For tests of runs that go on: a kill at a named point needs no luck with time.
///
/// | point | what has just happened |
/// |---|---|
/// | `STEP:step` | a step was taken and logged, and is in no checkpoint yet |
/// | `STEP:checkpoint-half` | one file of a checkpoint was written aside |
/// | `STEP:checkpoint` | a checkpoint stands in its place |
/// | `FILE:half` | a file of the run's folder was written aside: `summary.json:half` is before the summary |
/// | `FILE` | it stands in its place |
pub fn stop_here(point: Arguments<'_>) {
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| std::env::var("FORETELL_STOP_AFTER").ok());
    if wanted.as_ref().is_some_and(|wanted| *wanted == point.to_string()) {
        std::process::abort();
    }
}
