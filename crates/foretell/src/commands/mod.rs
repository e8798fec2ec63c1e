//! One file for each command.

pub mod ablate;
pub mod agent;
pub mod bench;
pub mod classify;
pub mod compare;
pub mod embed;
pub mod export;
pub mod inspect;
pub mod judge;
pub mod plan;
mod planning;
pub mod play;
pub mod probe;
pub mod record;
pub mod report;
pub mod search;
pub mod systems;
pub mod train;
