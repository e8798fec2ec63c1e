//! Judgement of representations: label-free statistics, k-NN and linear probes.
//!
//! Everything works on host matrices of f32 ([`Features`]) and gives the same result for any number of threads.

mod error;
mod factor;
mod features;
mod few_shot;
mod knn;
mod lbfgs;
mod lidar;
mod linear;
mod logistic;
mod nearest;
mod pca;
mod probe;
mod ridge;
mod spectrum;
mod statistics;

pub use error::EvalError;
pub use factor::Factor;
pub use features::Features;
pub use few_shot::{FewShot, FewShotFit};
pub use knn::Knn;
pub use lidar::{LIDAR_DELTA, lidar};
pub use linear::{Linear, LinearFit};
pub use nearest::{Neighbours, nearest};
pub use pca::{pca_rgb, principal_components};
pub use probe::{Budget, FeatureKind, ProbeKind, ProbeRow, ProbeTable, judge};
pub use ridge::Ridge;
pub use statistics::Statistics;
