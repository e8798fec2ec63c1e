//! Foretell: joint-embedding predictive architectures, trained, judged and used from one binary.
//!
//! The binary is thin: each command is a function in [`commands`]. A run is described by a [`recipe`] and put together
//! in [`session`].

mod account;
pub mod commands;
mod device;
mod error;
pub mod feature_file;
pub mod interrupt;
pub mod judge;
pub mod kept;
pub mod output;
#[cfg(feature = "parquet")]
mod parquet_file;
mod pictures;
mod progress;
pub mod recipe;
pub mod report;
pub mod session;
mod stored_zip;
pub mod summary;
pub mod systems;

pub use device::DeviceChoice;
pub use error::Error;
