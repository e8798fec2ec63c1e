//! Foretell: joint-embedding predictive architectures, trained, judged and used from one binary.
//!
//! The binary is thin: each command is a function in [`commands`]. A run is described by a [`recipe`] and put together
//! in [`session`].

pub mod commands;
mod device;
mod error;
pub mod judge;
pub mod pictures;
pub mod recipe;
pub mod report;
pub mod session;
pub mod systems;

pub use device::DeviceChoice;
pub use error::Error;
