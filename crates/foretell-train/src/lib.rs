//! The loop: schedules, AdamW, checkpoints that survive anything, exact resume, and the verdict on collapse.
//!
//! The loop is written once and knows no system: it moves an [`Objective`](foretell_jepa::Objective) through its steps,
//! logs, checkpoints, and judges held-out latents.

mod checkpoint;
mod config;
mod error;
mod events;
mod fit;
mod folder;
mod health;
mod optimiser;
mod schedule;
mod stop;

pub use checkpoint::{Checkpoint, Progress, checkpoint_steps, has_checkpoint};
pub use config::TrainConfig;
pub use error::TrainError;
pub use events::EventWriter;
pub use fit::{Finished, Fit, Observer, Report, Taken, features_of, fit, settle, take_step, time_steps};
pub use folder::{RunFolder, write_whole};
pub use health::{Health, HealthRecord, Probe, Threshold, Verdict};
pub use optimiser::Optimiser;
pub use schedule::Schedule;
pub use stop::stop_here;
