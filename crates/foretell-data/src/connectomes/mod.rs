//! Brains as graphs that change over time: a sample is a sequence of graphs, one for each window of a recording, over the same regions.
//! Read from fMRI in NIfTI-1 with a label atlas, or from tables of regions by times, or generated; for ST-JEMA (Choi et al., 2024, arXiv
//! 2403.06432). No system learns from them yet.

mod atlas;
mod config;
mod correlation;
mod networks;
mod nifti;
mod series;
mod set;

pub use atlas::Atlas;
pub use config::{ConnectomesConfig, Correlation, Orientation};
pub use correlation::{correlations, edges};
pub use networks::NetworksConfig;
pub use nifti::Nifti;
pub use series::RegionSeries;
pub use set::{ConnectomeSample, Connectomes};

/// An error that names a recording.
fn bad(path: &std::path::Path, reason: impl Into<String>) -> crate::DataError {
    crate::DataError::BadRecording { name: path.display().to_string(), reason: crate::eeg::shown_text(&reason.into()) }
}
