//! Evaluation of representations: label-free statistics, k-NN and linear probes, and findings, the form in which all
//! results are printed, stored and drawn.
//!
//! Everything works on host matrices of f32 ([`Features`]) and gives the same result for any number of threads.

mod autoregression;
#[cfg(test)]
mod converges;
mod convolutions;
mod curvature;
mod encoder;
mod error;
mod factor;
mod features;
mod few_shot;
mod findings;
mod information;
mod knn;
mod lbfgs;
mod lidar;
mod linear;
mod logistic;
mod nearest;
mod pca;
mod probe;
mod rand_index;
mod rank;
mod ridge;
mod ridge_head;
mod seeds;
mod spectrum;
mod standard;
mod statistics;
mod stored;

pub use autoregression::{Autoregression, naive_season, seasonal_naive};
pub use convolutions::Convolutions;
pub use encoder::{Encoder, Pool, Samples};
pub use error::EvalError;
pub use factor::Factor;
pub use features::Features;
pub use few_shot::{FewShot, FewShotFit};
pub use findings::{
    Better, Body, Card, Cell, FEATURES, Figures, Finding, Format, Grid, Group, Picture, Pictures, Reference, Row,
    Strip, TRAINED, Tile, UNTRAINED, gif, records,
};
pub use information::mutual_information;
pub use knn::Knn;
pub use lidar::{LIDAR_DELTA, Lidar, lidar, lidar_of_views};
pub use linear::{Linear, LinearFit};
pub use nearest::{Neighbours, nearest, nearest_in_order};
pub use pca::{pca_rgb, principal_components};
pub use probe::{Budget, Probed, probes};
pub use rand_index::adjusted_rand_index;
pub use rank::{area_under_roc, average_precision, reciprocal_rank, reciprocal_rank_of_chance};
pub use ridge::Ridge;
pub use ridge_head::ridge_heads;
pub use seeds::{CONFIDENCE, OverSeeds, spearman, student_t};
pub use statistics::{Statistics, rankme};
pub use stored::{FeatureRows, Memory, Store, Stored};
