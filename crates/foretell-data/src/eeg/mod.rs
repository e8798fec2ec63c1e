//! EEG: a sample is a window of several electrodes' voltages. Read from EDF, EDF+, BDF and BrainVision, or generated; for Signal-JEPA
//! (Guetschel et al., 2024, arXiv 2403.11772).
//!
//! The readers are our own: of the crates that read EDF, `edf` is empty, `edf-reader` and `edfplus` know neither annotations' times
//! nor 24 bits, and `edf-rs` (0.2.0) ends in a panic on a signal whose physical minimum lies above its maximum, which EDF allows.

mod bands;
mod brainvision;
mod channels;
mod config;
mod drawing;
mod edf;
mod filter;
mod found;
mod heads;
mod montage;
mod recording;
mod set;
mod units;
mod windows;

pub use bands::{BANDS, band_powers};
pub use config::EegConfig;
pub use drawing::{Mark, draw};
pub use heads::HeadsConfig;
pub use montage::{electrode, place};
pub use set::{Eeg, EegSample};
pub use units::Volts;
