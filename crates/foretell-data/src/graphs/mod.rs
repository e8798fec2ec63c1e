//! Graphs: a sample is one simple undirected graph with a tag for each node. Read from the text file of pytorch_DGCNN or from
//! a TU folder, or generated; cut into parts for Graph-JEPA (Skenderi et al., TMLR 2025).

mod adjacency;
mod config;
pub(crate) mod drawing;
mod folds;
mod graph;
mod inputs;
mod metis;
mod motifs;
mod one_file;
mod partition;
mod raw;
mod set;
mod text;
mod tu_folder;
mod view;
mod walks;

pub use adjacency::Adjacency;
pub use config::{Edgeless, GraphsConfig, NodeFeatures};
pub use drawing::draw;
pub use folds::Fold;
pub use graph::Graph;
pub use motifs::MotifsConfig;
pub use partition::{Partition, Partitioner, expand, overlap};
pub use set::Graphs;
pub use view::{GraphSample, GraphView, PartsConfig};
pub use walks::walks;
