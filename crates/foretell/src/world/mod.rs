//! A run of a world model: its settings, what it learns from, its objectives, and what is judged, kept and shown of it.

mod draw;
mod episodes;
pub mod experience;
pub(crate) mod film;
pub mod imagine;
pub mod judge;
pub mod recipe;
pub mod session;

pub use experience::{Experience, ExperienceConfig};
pub use imagine::Imaginer;
pub use recipe::{Model, OverWorld};
