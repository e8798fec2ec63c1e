//! Who is joined with whom: a simple undirected graph as compressed rows.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Neighbours of each node. Simple and undirected: no node is its own neighbour, no neighbour stands twice, and every
/// edge `u – v` stands as the two arcs `u → v` and `v → u`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjacency {
    /// `[N + 1]`: the neighbours of node `v` are `neighbours[starts[v]..starts[v + 1]]`.
    starts: Vec<u32>,
    /// `[2 E]`, ascending for each node.
    neighbours: Vec<u32>,
}

/// What was left out of a list of edges to make a simple graph of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Edges from a node to itself.
    pub(crate) loops: usize,
    /// Arcs that stood there already.
    pub(crate) repeats: usize,
}

impl Adjacency {
    /// Of `nodes` nodes and a list of edges, each in one direction or in both. Also returns for every arc the place in
    /// `edges` that it comes from: the first that gives it in its own direction, else the first that gives it in the other.
    ///
    /// Every end must be below `nodes`; the readers check it where they can name the line.
    pub(crate) fn new(nodes: usize, edges: &[(u32, u32)]) -> (Self, Vec<u32>, LeftOut) {
        let mut left_out = LeftOut::default();
        let mut arcs: Vec<(u32, u32, bool, u32)> = Vec::with_capacity(2 * edges.len());
        for (place, &(u, v)) in edges.iter().enumerate() {
            if u == v {
                left_out.loops += 1;
            } else {
                arcs.push((u, v, false, place as u32));
                arcs.push((v, u, true, place as u32));
            }
        }
        arcs.sort_unstable();
        let mut starts = vec![0; nodes + 1];
        let (mut neighbours, mut places) = (Vec::new(), Vec::new());
        let mut last = None;
        for (u, v, mirrored, place) in arcs {
            if last == Some((u, v)) {
                left_out.repeats += usize::from(!mirrored);
                continue;
            }
            last = Some((u, v));
            starts[u as usize + 1] += 1;
            neighbours.push(v);
            places.push(place);
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        (Self { starts, neighbours }, places, left_out)
    }

    /// N.
    pub fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// E, each edge counted once.
    pub fn edges(&self) -> usize {
        self.neighbours.len() / 2
    }

    /// The nodes joined with `node`, ascending.
    pub fn neighbours(&self, node: u32) -> &[u32] {
        &self.neighbours[self.places(node)]
    }

    /// Where the arcs from `node` stand among all `2 E` arcs.
    pub fn places(&self, node: u32) -> std::ops::Range<usize> {
        self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize
    }

    /// How many nodes are joined with `node`.
    pub fn degree(&self, node: u32) -> usize {
        self.places(node).len()
    }

    /// Every edge once, as `u < v`, in ascending order.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.nodes() as u32).flat_map(|u| self.neighbours(u).iter().map(move |&v| (u, v))).filter(|(u, v)| u < v)
    }

    /// The same nodes without each edge with probability `share`, an edge being one thing and not two arcs.
    pub fn thinned(&self, share: f64, rng: &mut ChaCha8Rng) -> Self {
        let kept: Vec<(u32, u32)> = self.pairs().filter(|_| rng.random::<f64>() >= share).collect();
        Self::new(self.nodes(), &kept).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, rng};

    #[test]
    fn loops_and_repeats_are_left_out_and_counted_and_the_two_directions_of_an_edge_are_no_repeat() {
        let (simple, places, left_out) = Adjacency::new(4, &[(1, 0), (0, 1), (2, 2), (1, 2), (1, 2), (0, 1)]);
        assert_eq!((simple.nodes(), simple.edges()), (4, 2));
        assert_eq!(simple.neighbours(1), [0, 2]);
        assert_eq!((simple.degree(2), simple.degree(3)), (1, 0));
        assert_eq!(simple.pairs().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
        assert_eq!(left_out, LeftOut { loops: 1, repeats: 2 });
        // 0 → 1 is given in its own direction second, 2 → 1 never.
        assert_eq!(places, [1, 0, 3, 3]);
    }

    #[test]
    fn thinning_drops_whole_edges_at_the_rate_asked_for() {
        let all: Vec<(u32, u32)> = (0..100).flat_map(|u| (0..u).map(move |v| (u, v))).collect();
        let (full, ..) = Adjacency::new(100, &all);
        let thin = full.thinned(0.3, &mut rng(1, Stream::Mask, 1, 0));
        assert_eq!(thin.nodes(), 100);
        // 4950 edges: the standard deviation is 32.
        assert!(thin.edges().abs_diff(3465) < 130, "{}", thin.edges());
        assert!(thin.pairs().all(|(u, v)| thin.neighbours(v).contains(&u)));
        assert_eq!(full.thinned(0.0, &mut rng(1, Stream::Mask, 1, 0)), full);
        assert_eq!(full.thinned(1.0, &mut rng(1, Stream::Mask, 1, 0)).edges(), 0);
    }
}
