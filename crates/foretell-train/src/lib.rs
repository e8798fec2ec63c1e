//! The loop: schedules, AdamW, checkpoints that survive anything, exact resume, and the verdict on collapse.
//!
//! The loop is written and compiled once: it moves a [`Learner`] through its steps, logs, checkpoints, and judges held-out
//! latents. [`Learning`] makes one of any [`Objective`](foretell_jepa::Objective) and any
//! [`Modality`](foretell_data::Modality).

mod checkpoint;
mod config;
mod error;
mod events;
mod fit;
mod folder;
mod health;
mod learner;
mod optimiser;
pub mod probing;
mod schedule;
mod stop;

pub use checkpoint::{Checkpoint, Progress, checkpoint_steps, has_checkpoint, kept_networks, kept_steps};
pub use config::TrainConfig;
pub use error::TrainError;
pub use events::EventWriter;
pub use fit::{Finished, Fit, LoopObserver, Silent, StepReport, all_steps, fit, load_control, settle, time_steps};
pub use folder::{RunFolder, write_whole};
pub use health::{Health, HealthRecord, Measured, Threshold, Verdict, lidar_of};
pub use learner::{Ground, LIDAR_DRAWS, Learner, Learning, Pairs, StepOutcome, Which};
pub use optimiser::{Optimiser, Step};
pub use schedule::Schedule;
pub use stop::stop_here;
