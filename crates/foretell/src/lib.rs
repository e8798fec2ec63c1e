//! Foretell: joint-embedding predictive architectures, trained, judged and used from one binary.
//!
//! The binary is thin: each command is a function in [`commands`]. A run is described by a recipe, carried out in [`run`] and
//! opened again by [`kept`]; what it is a run of, only [`foretell_systems`] knows.

mod account;
pub mod commands;
mod device;
mod error;
mod export;
pub mod feature_file;
mod findings;
pub mod interrupt;
pub mod kept;
pub mod output;
#[cfg(feature = "parquet")]
mod parquet_file;
mod progress;
pub mod released;
pub mod report;
pub mod run;
mod search;
pub mod summary;
mod timed;

pub use device::DeviceChoice;
pub use error::Error;
