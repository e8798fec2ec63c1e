//! The loop from outside: what the optimiser may touch, where schedules end, and which runs are called healthy.

mod learning;
mod optimiser;
