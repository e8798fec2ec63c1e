//! A run over a world: its settings, its play and objectives, and what is judged, kept and shown of it.

pub(crate) mod account;
mod draw;
pub(crate) mod film;
pub mod imagine;
pub mod judge;
pub mod recipe;
pub mod session;

pub use imagine::Imaginer;
pub use recipe::{Model, OverWorld};
