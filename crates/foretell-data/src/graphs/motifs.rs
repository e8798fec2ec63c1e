//! Generated graphs: copies of one motif hang on random communities. They need no download, their factors are exact, and the
//! counts of node tags do not give them away.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Part;
use crate::graphs::graph::Graph;
use crate::graphs::partition::shuffle;
use crate::images::labels::Factor;
use crate::random::{Stream, rng};

/// How many graphs, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MotifsConfig {
    /// Graphs to learn from.
    pub train: usize,
    /// Graphs to evaluate on.
    pub held_out: usize,
    /// Another seed, other graphs.
    pub seed: u64,
}

impl Default for MotifsConfig {
    fn default() -> Self {
        Self { train: 4_000, held_out: 1_000, seed: 0 }
    }
}

type Edges = [(u32, u32); 6];

/// Names, nodes and edges: six edges each, so that no motif makes a graph denser than another. Node 0 hangs on the rest.
const MOTIFS: [(&str, u32, Edges); 5] = [
    ("cycle", 6, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]),
    ("clique", 4, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
    ("star", 7, [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6)]),
    ("house", 5, [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4)]),
    ("bow tie", 5, [(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (4, 0)]),
];
const COMMUNITIES: [&str; 4] = ["one", "two", "three", "four"];
/// Names, and edges beside a spanning tree for each node of a community.
const DENSITIES: [(&str, f32); 3] = [("sparse", 0.3), ("medium", 0.9), ("dense", 1.8)];
const MIXINGS: [&str; 3] = ["alike", "at random", "unlike"];

/// Nodes of a graph, whatever its factors.
pub(crate) const NODES: std::ops::RangeInclusive<u32> = 40..=60;
/// Tags of all graphs.
pub(crate) const TAGS: u32 = 5;
/// Tags of one graph: which ones is chance and tells nothing.
const PALETTE: usize = 3;
/// How often a node follows its graph's mixing.
const FOLLOWS: f32 = 0.85;

pub(crate) fn factors() -> Vec<Factor> {
    let factor = |name: &str, classes: &[&str]| Factor {
        name: name.to_owned(),
        classes: classes.iter().map(|&class| class.to_owned()).collect(),
    };
    vec![
        factor("motif", &MOTIFS.map(|(name, ..)| name)),
        factor("communities", &COMMUNITIES),
        factor("density", &DENSITIES.map(|(name, _)| name)),
        factor("mixing", &MIXINGS),
    ]
}

pub(crate) fn name(part: Part, index: usize) -> String {
    match part {
        Part::Train => format!("train/{index:06}"),
        Part::HeldOut => format!("held-out/{index:06}"),
    }
}

/// The labels alone, as [`generate`] draws them.
pub(crate) fn labels(config: &MotifsConfig, part: Part, index: usize) -> [u32; 4] {
    draw_labels(&mut place(config, part, index))
}

fn place(config: &MotifsConfig, part: Part, index: usize) -> ChaCha8Rng {
    rng(config.seed, Stream::Scene, part as u64, index as u64)
}

fn draw_labels(rng: &mut ChaCha8Rng) -> [u32; 4] {
    [MOTIFS.len(), COMMUNITIES.len(), DENSITIES.len(), MIXINGS.len()].map(|classes| rng.random_range(0..classes as u32))
}

/// One graph, with its factors as labels.
pub(crate) fn generate(config: &MotifsConfig, part: Part, index: usize) -> Graph {
    let rng = &mut place(config, part, index);
    let labels = draw_labels(rng);
    let [motif, communities, density, mixing] = labels;
    let (_, motif_nodes, motif_edges) = MOTIFS[motif as usize];
    let communities = communities + 1;
    let nodes = rng.random_range(NODES);
    let copies = rng.random_range(2..=4);
    // Motifs are a part of the size drawn: it does not tell them.
    let background = nodes - copies * motif_nodes;

    // Node `v` of the background lies in community `v % communities`.
    let mut edges = Vec::new();
    for node in communities..background {
        let earlier = rng.random_range(0..node / communities);
        edges.push((node, earlier * communities + node % communities));
    }
    for (earlier, later) in (0..communities).zip(1..communities) {
        edges.push((member(rng, earlier, communities, background), member(rng, later, communities, background)));
    }
    let extra = DENSITIES[density as usize].1 * background as f32 * rng.random_range(0.9..1.1_f32);
    for _ in 0..extra.round() as usize {
        let node = rng.random_range(0..background);
        edges.push((node, member(rng, node % communities, communities, background)));
    }
    for copy in 0..copies {
        let first = background + copy * motif_nodes;
        edges.push((first, rng.random_range(0..background)));
        edges.extend(motif_edges.map(|(u, v)| (first + u, first + v)));
    }

    // The order of the nodes tells nothing either.
    let mut order: Vec<u32> = (0..nodes).collect();
    shuffle(&mut order, rng);
    for (u, v) in &mut edges {
        (*u, *v) = (order[*u as usize], order[*v as usize]);
    }
    let (graph, _) = Graph::counted(vec![0; nodes as usize], &edges, &[]);
    let tags = tags(&graph, mixing, rng);
    Graph::counted(tags, &edges, &[]).0.with_labels(labels.to_vec())
}

/// A node of a community's background.
fn member(rng: &mut ChaCha8Rng, community: u32, communities: u32, background: u32) -> u32 {
    rng.random_range(0..(background - community).div_ceil(communities)) * communities + community
}

/// Tags along a search through the graph: like those of the neighbours that have one, unlike them, or at random.
fn tags(graph: &Graph, mixing: u32, rng: &mut ChaCha8Rng) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let mut palette: Vec<u32> = (0..TAGS).collect();
    shuffle(&mut palette, rng);
    palette.truncate(PALETTE);
    let mut tags = vec![NONE; graph.nodes()];
    let (mut queue, mut place) = (vec![0_u32], 0);
    let mut queued = vec![false; graph.nodes()];
    queued[0] = true;
    while let Some(&node) = queue.get(place) {
        place += 1;
        let neighbours = graph.adjacency().neighbours(node);
        let around: Vec<u32> =
            neighbours.iter().map(|&other| tags[other as usize]).filter(|tag| *tag != NONE).collect();
        let others: Vec<u32> = palette.iter().copied().filter(|tag| !around.contains(tag)).collect();
        let from = match mixing {
            0 if rng.random::<f32>() < FOLLOWS && !around.is_empty() => &around,
            2 if rng.random::<f32>() < FOLLOWS && !others.is_empty() => &others,
            _ => &palette,
        };
        tags[node as usize] = from[rng.random_range(0..from.len() as u64) as usize];
        for &other in neighbours {
            if !std::mem::replace(&mut queued[other as usize], true) {
                queue.push(other);
            }
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_connected_of_the_size_announced_and_as_dense_as_they_say() {
        let config = MotifsConfig::default();
        let mut edges = [(0, 0); 3];
        for index in 0..300 {
            let graph = generate(&config, Part::Train, index);
            assert!(NODES.contains(&(graph.nodes() as u32)));
            // A tag is given along a search from node 0: one that is missing was not reached.
            assert!(graph.tags().iter().all(|tag| *tag < TAGS));
            assert_eq!(graph.labels(), labels(&config, Part::Train, index));
            let of = &mut edges[graph.labels()[2] as usize];
            *of = (of.0 + graph.edges(), of.1 + graph.nodes());
        }
        let per_node = edges.map(|(edges, nodes)| edges as f64 / nodes as f64);
        assert!(per_node[0] + 0.2 < per_node[1] && per_node[1] + 0.2 < per_node[2], "{per_node:?}");
    }

    #[test]
    fn neighbours_are_alike_or_unlike_as_the_mixing_says() {
        let mut same = [(0, 0); 3];
        for index in 0..300 {
            let graph = generate(&MotifsConfig::default(), Part::HeldOut, index);
            let of = &mut same[graph.labels()[3] as usize];
            let tags = graph.tags();
            of.0 += graph.adjacency().pairs().filter(|(u, v)| tags[*u as usize] == tags[*v as usize]).count();
            of.1 += graph.edges();
        }
        let [alike, random, unlike] = same.map(|(same, all)| same as f64 / all as f64);
        assert!(alike > 0.6 && (0.28..0.4).contains(&random) && unlike < 0.25, "{alike} {random} {unlike}");
    }
}
