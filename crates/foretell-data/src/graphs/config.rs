//! `[data]` of a recipe over graphs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::graphs::inputs;
use crate::{Auto, Normalise};

/// What a network is told of a node, beside its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeFeatures {
    /// Its tag, one of as many features as the set has tags.
    Labels,
    /// Its degree, one of 32 features: 0 to 30, and 31 or more. (What GIN takes where there are no tags.)
    Degrees,
    /// The same for each node, one feature of 1. (What Graph-JEPA takes where there are no tags.)
    Constant,
}

impl fmt::Display for NodeFeatures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Labels => "labels",
            Self::Degrees => "degrees",
            Self::Constant => "constant",
        })
    }
}

/// What becomes of a graph of several nodes without edges: nothing passes between them, and often an exporter lost them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edgeless {
    /// A set with such a graph is refused.
    #[default]
    Fail,
    /// It is a graph like others.
    Keep,
}

/// Where graphs come from and how they are prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GraphsConfig {
    /// A text file of graphs, a TU folder, or a folder with either; empty for the built-in generated graphs.
    pub path: String,
    /// The fold that is held out, from 1; the generated graphs have none.
    pub fold: Auto<usize>,
    /// Steps of the random-walk encodings.
    pub walk: usize,
    /// What a network is told of a node.
    pub node_features: Auto<NodeFeatures>,
    /// Whether it is told the node's attributes too, brought to mean 0 and deviation 1.
    pub attributes: Auto<bool>,
    /// What becomes of graphs without edges.
    pub edgeless: Edgeless,
    /// The tags that nodes may have, in the order of the features; empty until read.
    pub tags: Vec<i64>,
    /// The labels that edges may have; empty without labels and until read.
    pub edge_labels: Vec<i64>,
    /// Mean and deviation of each attribute over the training nodes; empty without attributes and until measured.
    pub normalise: Normalise,
    /// Of the graphs and their split when the run began, so that a resumed run notices others; empty until taken.
    pub fingerprint: String,
}

impl Default for GraphsConfig {
    /// Walks of 20 steps: the paper takes 15 to 40.
    fn default() -> Self {
        Self {
            path: String::new(),
            fold: Auto::Auto,
            walk: 20,
            node_features: Auto::Auto,
            attributes: Auto::Auto,
            edgeless: Edgeless::default(),
            tags: Vec::new(),
            edge_labels: Vec::new(),
            normalise: Normalise { mean: Vec::new(), std: Vec::new() },
            fingerprint: String::new(),
        }
    }
}

impl GraphsConfig {
    /// F: features of a node, of a resolved config.
    pub fn feature_width(&self) -> usize {
        inputs::feature_width(self)
    }

    /// L: labels that edges may have; 0 where they have none.
    pub fn edge_classes(&self) -> usize {
        self.edge_labels.len()
    }
}
