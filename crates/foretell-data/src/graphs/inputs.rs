//! What a network is told of the nodes, and the plain counts that it is compared with.

use crate::graphs::config::{GraphsConfig, NodeFeatures};
use crate::graphs::graph::Graph;
use crate::graphs::raw::RawGraph;
use crate::{Auto, Normalise};

/// Degrees that are told apart: 0 to 30, and 31 or more.
pub(crate) const DEGREES: usize = 32;

/// `[N, F]`
pub(crate) fn features(graph: &Graph, config: &GraphsConfig) -> Vec<f32> {
    let width = feature_width(config);
    let Normalise { mean, std } = &config.normalise;
    let attributes = if config.attributes == Auto::Value(true) { mean.len() } else { 0 };
    let mut out = vec![0.0; graph.nodes() * width];
    for (node, row) in out.chunks_exact_mut(width).enumerate() {
        let hot = match config.node_features {
            Auto::Value(NodeFeatures::Labels) => graph.tags()[node] as usize,
            Auto::Value(NodeFeatures::Degrees) => capped_degree(graph, node as u32),
            Auto::Value(NodeFeatures::Constant) | Auto::Auto => 0,
        };
        row[hot] = 1.0;
        let values = graph.attributes().iter().skip(node * attributes).zip(mean.iter().zip(std));
        for (out, (value, (mean, std))) in row[width - attributes..].iter_mut().zip(values) {
            *out = (value - mean) / std;
        }
    }
    out
}

pub(crate) fn feature_width(config: &GraphsConfig) -> usize {
    let own = match config.node_features {
        Auto::Value(NodeFeatures::Labels) => config.tags.len(),
        Auto::Value(NodeFeatures::Degrees) => DEGREES,
        Auto::Value(NodeFeatures::Constant) | Auto::Auto => 1,
    };
    own + if config.attributes == Auto::Value(true) { config.normalise.mean.len() } else { 0 }
}

fn capped_degree(graph: &Graph, node: u32) -> usize {
    graph.adjacency().degree(node).min(DEGREES - 1)
}

/// Mean and deviation of each attribute; one that never changes is not divided.
pub(crate) fn measure<'a>(graphs: impl Iterator<Item = &'a RawGraph>, width: usize) -> Normalise {
    let mut sums = vec![(0.0_f64, 0.0_f64); width];
    let mut nodes = 0.0_f64;
    for row in graphs.flat_map(|graph| graph.attributes.chunks_exact(width)) {
        nodes += 1.0;
        for ((mean, square), &value) in sums.iter_mut().zip(row) {
            // Welford's running mean and sum of squares.
            let off = f64::from(value) - *mean;
            *mean += off / nodes;
            *square += off * (f64::from(value) - *mean);
        }
    }
    let deviation = |square: f64| (square / nodes.max(1.0)).sqrt() as f32;
    Normalise {
        mean: sums.iter().map(|(mean, _)| *mean as f32).collect(),
        std: sums.iter().map(|(_, square)| deviation(*square)).map(|std| if std > 0.0 { std } else { 1.0 }).collect(),
    }
}

/// Deviations from the mean beyond which an attribute is refused: squares of it are summed in the network.
const MOST: f32 = 1e12;

/// An error where an attribute is so far from those that were measured that no number is left of it.
pub(crate) fn check_attributes(graph: &Graph, config: &GraphsConfig) -> Result<(), String> {
    if config.attributes != Auto::Value(true) {
        return Ok(());
    }
    let Normalise { mean, std } = &config.normalise;
    let far =
        |row: &&[f32]| row.iter().zip(mean).zip(std).any(|((value, mean), std)| ((value - mean) / std).abs() > MOST);
    match graph.attributes().chunks_exact(mean.len().max(1)).find(far) {
        Some(row) => {
            Err(format!("the attributes {row:?} are more than {MOST:e} deviations from those of the training graphs"))
        }
        None => Ok(()),
    }
}

/// How many nodes of a graph have each label; where the set has no labels, how many have each degree.
pub(crate) fn counts(graph: &Graph, config: &GraphsConfig) -> Vec<f32> {
    let tags = config.tags.len();
    let mut counts = vec![0.0; if tags > 1 { tags } else { DEGREES }];
    for (node, &tag) in (0..).zip(graph.tags()) {
        counts[if tags > 1 { tag as usize } else { capped_degree(graph, node) }] += 1.0;
    }
    counts
}
