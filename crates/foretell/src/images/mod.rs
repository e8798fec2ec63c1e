//! A run over images: its settings, its data and objectives, and what is judged, kept and shown of it.

pub mod judge;
pub mod kept;
pub(crate) mod pictures;
pub mod recipe;
pub mod session;

pub use recipe::{Model, OverImages};
