//! Judgement of representations: label-free statistics, k-NN and linear probes.
//!
//! Everything works on host matrices of f32 ([`Features`]) and gives the same result for any number of threads.

mod error;
mod features;
mod lidar;
mod spectrum;
mod statistics;

pub use error::EvalError;
pub use features::Features;
pub use lidar::{LIDAR_DELTA, lidar};
pub use statistics::Statistics;
