//! A graph as Graph-JEPA sees it (Skenderi et al., TMLR 2025): its parts with what lies next to them, ready to be laid behind
//! other graphs' in a batch.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::graphs::graph::Graph;
use crate::graphs::partition::{Partition, Partitioner, expand, overlap};
use crate::random::{Stream, rng};

/// A graph with what networks take of it. Cloning is cheap.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphSample {
    /// The graph itself.
    pub graph: Arc<Graph>,
    /// `[N, F]`: what is known of each node.
    pub features: Arc<[f32]>,
    /// `[N, k]`: the nodes' random-walk encodings.
    pub walks: Arc<[f32]>,
    /// F, the same in the whole set.
    pub feature_width: usize,
    /// k, the same in the whole set.
    pub walk: usize,
    /// L: labels that edges may have in the set; 0 where they have none.
    pub edge_classes: usize,
}

/// How a graph is cut into parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartsConfig {
    /// Parts of each graph, at most.
    pub count: usize,
    /// How they are found.
    pub by: Partitioner,
    /// By so many edges each part grows over its rim.
    pub hops: usize,
    /// The share of edges that a training view's partition does not see.
    pub drop_edges: f64,
}

impl Default for PartsConfig {
    /// The paper's: 32 parts with their direct neighbours, 30 % of the edges dropped. (The released code draws for both arcs
    /// of an edge and drops it only with both: 9 %.)
    fn default() -> Self {
        Self { count: 32, by: Partitioner::Equal, hops: 1, drop_edges: 0.3 }
    }
}

impl PartsConfig {
    /// Whether the settings are in their ranges.
    pub fn check(&self) -> Result<(), DataError> {
        self.by.check()?;
        let bad = |name: &'static str, expected, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if !(2..=65_536).contains(&self.count) {
            return bad(
                "parts.count",
                "2 to 65536 parts: one is seen and others are predicted",
                self.count.to_string(),
            );
        }
        if self.hops > 64 {
            return bad("parts.hops", "0 to 64 edges", self.hops.to_string());
        }
        if !(0.0..=1.0).contains(&self.drop_edges) {
            return bad("parts.drop_edges", "a share of the edges, 0 to 1", self.drop_edges.to_string());
        }
        Ok(())
    }
}

/// A graph's parts as plain arrays. N nodes in K parts that are not empty; with its neighbours a part holds copies of nodes, M
/// in all, between which A arcs run.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphView {
    /// N.
    pub nodes: usize,
    /// `[N, F]`: what is known of each node.
    pub features: Arc<[f32]>,
    /// `[N, k]`: random-walk encodings of the nodes, on the whole graph.
    pub walks: Arc<[f32]>,
    /// `[K]`: copies in each part, which sum to M.
    pub sizes: Vec<u32>,
    /// `[M]`: the node of each copy; part after part, ascending within a part.
    pub members: Vec<u32>,
    /// `[M]`: the part of each copy.
    pub part_of: Vec<u32>,
    /// `[A]`: the copies (0 to M) from and to which each arc runs; both are in one part. Ascending by `from`, then `to`.
    pub arcs: Vec<(u32, u32)>,
    /// `[A]`: each arc's label, below `edge_classes`; empty where edges have none.
    pub arc_labels: Vec<u32>,
    /// `[K, k]`: the greatest of the encodings of a part's copies, element by element: the paper's for training.
    pub part_walks_max: Vec<f32>,
    /// `[K, k]`: their mean: what the released code's `encode` takes.
    pub part_walks_mean: Vec<f32>,
    /// `[K, K]`: nodes that two parts have in common, `B Bᵀ`; on the diagonal a part's size.
    pub overlap: Vec<f32>,
}

impl GraphView {
    /// For training: the partition does not see the dropped edges, all else is of the whole graph.
    pub fn training(sample: &GraphSample, config: &PartsConfig, rng: &mut ChaCha8Rng) -> Result<Self, DataError> {
        config.check()?;
        let thinned = sample.graph.adjacency().thinned(config.drop_edges, rng);
        let partition = Partition::new(&thinned, config.count, config.by, rng)?;
        Ok(Self::of(sample, &partition, config.hops))
    }

    /// For evaluation: no edge is dropped, and the same graph always has the same parts.
    pub fn whole(sample: &GraphSample, config: &PartsConfig) -> Result<Self, DataError> {
        config.check()?;
        let mut rng = rng(0, Stream::Judge, 0, 0);
        let partition = Partition::new(sample.graph.adjacency(), config.count, config.by, &mut rng)?;
        Ok(Self::of(sample, &partition, config.hops))
    }

    /// Of a partition that is known.
    pub fn of(sample: &GraphSample, partition: &Partition, hops: usize) -> Self {
        let graph = &*sample.graph;
        let adjacency = graph.adjacency();
        let parts = expand(adjacency, &partition.members(), hops);
        let walk = sample.walk;

        let mut arcs = Vec::new();
        let mut arc_labels = Vec::new();
        let mut part_walks_max = Vec::with_capacity(parts.len() * walk);
        let mut part_walks_mean = Vec::with_capacity(parts.len() * walk);
        // The copy of each node in the part at hand.
        let mut copy_of = vec![u32::MAX; graph.nodes()];
        let mut first = 0;
        for part in &parts {
            for (copy, &node) in (first..).zip(part) {
                copy_of[node as usize] = copy;
            }
            let (mut most, mut sum) = (vec![0.0_f32; walk], vec![0.0_f64; walk]);
            for (copy, &node) in (first..).zip(part) {
                for (place, &other) in adjacency.places(node).zip(adjacency.neighbours(node)) {
                    if copy_of[other as usize] != u32::MAX {
                        arcs.push((copy, copy_of[other as usize]));
                        arc_labels.extend(graph.edge_labels().get(place));
                    }
                }
                let row = &sample.walks[node as usize * walk..][..walk];
                for ((most, sum), &chance) in most.iter_mut().zip(&mut sum).zip(row) {
                    *most = most.max(chance);
                    *sum += f64::from(chance);
                }
            }
            part_walks_max.extend(most);
            part_walks_mean.extend(sum.iter().map(|sum| (sum / part.len() as f64) as f32));
            for &node in part {
                copy_of[node as usize] = u32::MAX;
            }
            first += part.len() as u32;
        }
        Self {
            nodes: graph.nodes(),
            features: Arc::clone(&sample.features),
            walks: Arc::clone(&sample.walks),
            sizes: parts.iter().map(|part| part.len() as u32).collect(),
            part_of: (0..).zip(&parts).flat_map(|(part, own)| own.iter().map(move |_| part)).collect(),
            arcs,
            arc_labels,
            part_walks_max,
            part_walks_mean,
            overlap: overlap(graph.nodes(), &parts),
            members: parts.concat(),
        }
    }

    /// K: parts that are not empty.
    pub fn parts(&self) -> usize {
        self.sizes.len()
    }

    /// M: copies of nodes in all parts.
    pub fn copies(&self) -> usize {
        self.members.len()
    }
}
