//! Foretell: joint-embedding predictive architectures, trained, judged and used from one binary.
//!
//! The binary is thin: each command is a function in [`commands`]. A run is described by a [`recipe`], put together in
//! [`session`] and carried out in [`run`]; what only runs over [`images`] or over a [`world`] have stands there.

mod account;
pub mod commands;
mod device;
mod error;
mod export;
pub mod feature_file;
pub mod images;
pub mod interrupt;
pub mod output;
#[cfg(feature = "parquet")]
mod parquet_file;
mod progress;
pub mod recipe;
pub mod released;
pub mod report;
pub mod run;
mod search;
pub mod session;
pub mod summary;
pub mod systems;
pub mod world;

pub use device::DeviceChoice;
pub use error::Error;
