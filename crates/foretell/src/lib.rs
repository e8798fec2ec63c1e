//! Foretell: joint-embedding predictive architectures, trained, judged and used from one binary.
//!
//! [`open`] begins a run of any member with any settings, [`open_member`] of a system of one's own; [`Run`] is what came of it.
//!
//! The binary is thin: each command is a function in [`commands`]. A run is described by a recipe, carried out in [`run`] and
//! opened again by [`kept`]; what it is a run of, only [`foretell_systems`] knows.

mod account;
mod asked;
pub mod commands;
mod compared;
mod device;
mod error;
mod export;
pub mod feature_file;
mod findings;
pub mod interrupt;
pub mod kept;
mod kept_rows;
mod library;
pub mod output;
#[cfg(feature = "parquet")]
mod parquet_file;
mod precision;
mod progress;
pub mod released;
pub mod report;
pub mod run;
mod search;
pub mod summary;
mod timed;
mod unreadable;

pub use asked::Steps;
pub use device::DeviceChoice;
pub use error::Error;
pub use library::{Opened, Run, open, open_member};
pub use precision::PrecisionChoice;

/// The layers below, for those who build on them.
pub use {
    burn, foretell_data as data, foretell_eval as eval, foretell_jepa as jepa, foretell_nn as nn, foretell_ops as ops,
    foretell_systems as systems, foretell_train as train, foretell_world as world,
};
