//! Connectomes that change: a sample is one recording of regions over time (fMRI, or anything else with regions and a signal in each)
//! and the sequence of graphs that windows over it make. Read from NIfTI-1 and an atlas or from tables, or generated.

mod atlas;
mod config;
mod correlation;
mod drawing;
mod dynamic_graph;
mod files;
mod listing;
mod nifti;
mod participants;
mod series;
mod set;
mod states;
mod table;

pub use atlas::Atlas;
pub use config::ConnectomesConfig;
pub use correlation::{Correlation, Correlations};
pub use dynamic_graph::{DynamicGraph, Edges, Sliding, WindowGraph};
pub use nifti::{Affine, Nifti, NiftiHeader};
pub use series::Series;
pub use set::Connectomes;
pub use states::{STATES, StatesConfig};
pub use table::Rows;
