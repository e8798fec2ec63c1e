//! The loop from outside: what the optimiser may touch, where schedules end, and what a run that stops goes on to.

mod optimiser;
mod points;
mod runs;
