//! A graph's nodes in parts of equal size, with few edges between the parts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::graphs::adjacency::Adjacency;

/// How a graph is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Partitioner {
    /// Recursive bisection by greedy growing with a pass of swaps: connected parts as far as that goes, sizes that differ by
    /// one at most.
    #[default]
    Equal,
    /// Nodes dealt out at random, the paper's own control: sizes differ by one at most.
    Random,
    /// METIS's recursive bisection, as in the paper; needs the cargo feature `metis`. Sizes differ by more.
    Metis,
}

impl fmt::Display for Partitioner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Equal => "equal",
            Self::Random => "random",
            Self::Metis => "metis",
        })
    }
}

impl Partitioner {
    /// Whether this build has it.
    pub fn check(self) -> Result<(), DataError> {
        if self != Self::Metis || cfg!(feature = "metis") {
            return Ok(());
        }
        Err(DataError::BadSetting {
            name: "parts.by".into(),
            expected: "`equal` or `random`: this program was built without METIS (`cargo build --release --features metis`)",
            found: "metis".to_owned(),
        })
    }
}

/// Every node in exactly one of `count` parts. No part is empty unless there are fewer nodes than parts: then each node has
/// a part of its own, and the last parts are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    count: usize,
    part_of: Vec<u32>,
}

impl Partition {
    /// Cuts a graph into `count` parts, at least 1. Another state of `rng`, other parts.
    pub fn new(adjacency: &Adjacency, count: usize, by: Partitioner, rng: &mut ChaCha8Rng) -> Result<Self, DataError> {
        by.check()?;
        if !(1..=u32::MAX as usize).contains(&count) {
            return Err(DataError::BadSetting {
                name: "parts.count".into(),
                expected: "1 or more parts",
                found: count.to_string(),
            });
        }
        let nodes = adjacency.nodes();
        let part_of = match by {
            _ if nodes <= count => (0..nodes as u32).collect(),
            Partitioner::Equal => Bisection::new(adjacency).parts(count, rng),
            Partitioner::Random => {
                let mut order: Vec<u32> = (0..nodes as u32).collect();
                shuffle(&mut order, rng);
                let mut part_of = vec![0; nodes];
                for (place, node) in order.into_iter().enumerate() {
                    part_of[node as usize] = (place % count) as u32;
                }
                part_of
            }
            Partitioner::Metis => super::metis::parts(adjacency, count, rng)?,
        };
        Ok(Self { count, part_of })
    }

    /// P, the empty ones included.
    pub fn count(&self) -> usize {
        self.count
    }

    /// `[N]`: each node's part.
    pub fn part_of(&self) -> &[u32] {
        &self.part_of
    }

    /// The nodes of each part that has any, ascending.
    pub fn members(&self) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); self.count.min(self.part_of.len())];
        for (node, &part) in (0..).zip(&self.part_of) {
            members[part as usize].push(node);
        }
        members
    }
}

/// Each list of nodes with all that lie within `hops` edges of it, ascending; nodes may then stand in several lists.
pub fn expand(adjacency: &Adjacency, members: &[Vec<u32>], hops: usize) -> Vec<Vec<u32>> {
    let mut seen = vec![u32::MAX; adjacency.nodes()];
    let mut expanded = Vec::with_capacity(members.len());
    for (part, own) in (0..).zip(members) {
        let mut all = own.clone();
        for &node in own {
            seen[node as usize] = part;
        }
        let mut edge = 0;
        for _ in 0..hops {
            let end = all.len();
            for place in edge..end {
                for &neighbour in adjacency.neighbours(all[place]) {
                    if std::mem::replace(&mut seen[neighbour as usize], part) != part {
                        all.push(neighbour);
                    }
                }
            }
            edge = end;
        }
        all.sort_unstable();
        expanded.push(all);
    }
    expanded
}

/// `B Bᵀ`, `[K, K]`: how many nodes two lists have in common, with their lengths on the diagonal. The lists name no node
/// twice.
pub fn overlap(nodes: usize, members: &[Vec<u32>]) -> Vec<f32> {
    let count = members.len();
    let mut parts_of: Vec<Vec<u32>> = vec![Vec::new(); nodes];
    for (part, own) in (0..).zip(members) {
        for &node in own {
            parts_of[node as usize].push(part);
        }
    }
    let mut counts = vec![0.0; count * count];
    for parts in &parts_of {
        for &a in parts {
            for &b in parts {
                counts[a as usize * count + b as usize] += 1.0;
            }
        }
    }
    counts
}

pub(crate) fn shuffle(order: &mut [u32], rng: &mut ChaCha8Rng) {
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last as u64) as usize);
    }
}

/// Swaps at most in one bisection: what one pass gains, without a quadratic search in a large graph.
const SWAPS: usize = 64;

/// Blocks of nodes that are cut in two until they are parts.
struct Bisection<'a> {
    adjacency: &'a Adjacency,
    /// The block of each node.
    block: Vec<u32>,
    blocks: u32,
    /// When a search last came by, by its number.
    visited: Vec<u32>,
    searches: u32,
    /// Neighbours in the half that grows minus those outside of it, within the block.
    gain: Vec<i32>,
}

impl<'a> Bisection<'a> {
    fn new(adjacency: &'a Adjacency) -> Self {
        let nodes = adjacency.nodes();
        Self { adjacency, block: vec![0; nodes], blocks: 1, visited: vec![0; nodes], searches: 0, gain: vec![0; nodes] }
    }

    fn parts(mut self, count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let nodes = self.block.len();
        let mut part_of = vec![0; nodes];
        // The first `nodes % count` parts have one node more.
        let before = |part: usize| part * (nodes / count) + part.min(nodes % count);
        let mut open = vec![((0..nodes as u32).collect::<Vec<_>>(), 0, count)];
        while let Some((own, first, parts)) = open.pop() {
            if parts == 1 {
                for node in own {
                    part_of[node as usize] = first as u32;
                }
                continue;
            }
            let middle = first + parts.div_ceil(2);
            let (left, right) = self.halves(own, before(middle) - before(first), rng);
            open.push((left, first, middle - first));
            open.push((right, middle, first + parts - middle));
        }
        part_of
    }

    /// Cuts a block so that the first half has `size` nodes.
    fn halves(&mut self, mut own: Vec<u32>, size: usize, rng: &mut ChaCha8Rng) -> (Vec<u32>, Vec<u32>) {
        let from = self.block[own[0] as usize];
        let to = self.blocks;
        self.blocks += 1;
        self.grow(&mut own, from, to, size, rng);
        let (mut left, mut right): (Vec<u32>, Vec<u32>) =
            own.iter().partition(|node| self.block[**node as usize] == to);
        self.swap(&mut left, &mut right);
        (left, right)
    }

    /// Greedy growing (Karypis and Kumar, 1998): from a node at the rim, always the node that adds least to the cut.
    fn grow(&mut self, own: &mut [u32], from: u32, to: u32, size: usize, rng: &mut ChaCha8Rng) {
        shuffle(own, rng);
        for &node in own.iter() {
            self.gain[node as usize] = -(self.within(node, from) as i32);
        }
        let mut rim: BinaryHeap<(i32, Reverse<usize>, u32)> = BinaryHeap::new();
        let (mut taken, mut met, mut fresh) = (0, 0, own.iter());
        while taken < size {
            let node = match rim.pop() {
                Some((gain, _, node)) => {
                    // An entry is stale once its node was taken or its gain has grown.
                    if self.block[node as usize] != from || gain != self.gain[node as usize] {
                        continue;
                    }
                    node
                }
                // The component is used up.
                None => match fresh.find(|node| self.block[**node as usize] == from) {
                    Some(&node) => self.at_the_rim(node, from),
                    None => break,
                },
            };
            self.block[node as usize] = to;
            taken += 1;
            for &neighbour in self.adjacency.neighbours(node) {
                if self.block[neighbour as usize] == from {
                    // One neighbour fewer outside, one more inside.
                    self.gain[neighbour as usize] += 2;
                    rim.push((self.gain[neighbour as usize], Reverse(met), neighbour));
                    met += 1;
                }
            }
        }
    }

    fn within(&self, node: u32, block: u32) -> usize {
        self.adjacency.neighbours(node).iter().filter(|other| self.block[**other as usize] == block).count()
    }

    /// A node far from the middle of its component: the last that a search from the last of a search meets.
    fn at_the_rim(&mut self, node: u32, block: u32) -> u32 {
        let last = self.last_met(node, block);
        self.last_met(last, block)
    }

    fn last_met(&mut self, node: u32, block: u32) -> u32 {
        self.searches += 1;
        let mut queue = vec![node];
        self.visited[node as usize] = self.searches;
        let mut place = 0;
        while let Some(&node) = queue.get(place) {
            place += 1;
            for &other in self.adjacency.neighbours(node) {
                if self.block[other as usize] == block && self.visited[other as usize] != self.searches {
                    self.visited[other as usize] = self.searches;
                    queue.push(other);
                }
            }
        }
        queue[queue.len() - 1]
    }

    /// Exchanges pairs as long as the cut becomes smaller (Kernighan and Lin's gain, without their look ahead).
    fn swap(&mut self, left: &mut [u32], right: &mut [u32]) {
        let (Some(&a), Some(&b)) = (left.first(), right.first()) else {
            return;
        };
        let (a, b) = (self.block[a as usize], self.block[b as usize]);
        for (own, inside, outside) in [(&*left, a, b), (&*right, b, a)] {
            for &node in own {
                self.gain[node as usize] = self.within(node, outside) as i32 - self.within(node, inside) as i32;
            }
        }
        let best = |bisection: &Self, nodes: &[u32], tied: &[u32]| {
            let value = |node: u32| bisection.gain[node as usize] - 2 * i32::from(tied.binary_search(&node).is_ok());
            (0..nodes.len())
                .max_by_key(|&place| (value(nodes[place]), Reverse(place)))
                .map(|place| (place, value(nodes[place])))
        };
        for _ in 0..SWAPS.min(left.len()) {
            let Some((i, first)) = best(self, left, &[]) else { return };
            let Some((j, second)) = best(self, right, self.adjacency.neighbours(left[i])) else { return };
            if first + second <= 0 {
                return;
            }
            std::mem::swap(&mut left[i], &mut right[j]);
            for (node, now) in [(left[i], a), (right[j], b)] {
                self.block[node as usize] = now;
                self.gain[node as usize] *= -1;
                for &other in self.adjacency.neighbours(node) {
                    let block = self.block[other as usize];
                    if block == a || block == b {
                        self.gain[other as usize] += if block == now { -2 } else { 2 };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Stream, rng};

    fn graph(nodes: usize, edges: &[(u32, u32)]) -> Adjacency {
        Adjacency::new(nodes, edges).0
    }

    fn cut(adjacency: &Adjacency, partition: &Partition) -> usize {
        let part = |node: u32| partition.part_of()[node as usize];
        adjacency.pairs().filter(|(u, v)| part(*u) != part(*v)).count()
    }

    fn equal(adjacency: &Adjacency, count: usize, seed: u64) -> Partition {
        Partition::new(adjacency, count, Partitioner::Equal, &mut rng(seed, Stream::Mask, 0, 0)).unwrap()
    }

    /// A square grid.
    fn grid(side: u32) -> Adjacency {
        let at = |row: u32, column: u32| row * side + column;
        let mut edges = Vec::new();
        for row in 0..side {
            for column in 1..side {
                edges.push((at(row, column - 1), at(row, column)));
                edges.push((at(column - 1, row), at(column, row)));
            }
        }
        graph((side * side) as usize, &edges)
    }

    #[test]
    fn cliques_that_hang_on_a_thread_come_apart_at_the_thread() {
        let mut edges = Vec::new();
        for clique in 0..4 {
            for u in 0..6 {
                edges.extend((0..u).map(|v| (6 * clique + u, 6 * clique + v)));
            }
            edges.push((6 * clique, (6 * clique + 6) % 24));
        }
        let graph = graph(24, &edges);
        for seed in 0..20 {
            assert_eq!(cut(&graph, &equal(&graph, 4, seed)), 4);
        }
    }

    #[test]
    fn a_grids_cut_is_far_below_a_random_one_and_near_the_best() {
        let grid = grid(12);
        let of = |by, seed| cut(&grid, &Partition::new(&grid, 4, by, &mut rng(seed, Stream::Mask, 0, 0)).unwrap());
        let mean = |by| (0..20).map(|seed| of(by, seed)).sum::<usize>() as f64 / 20.0;
        // Four squares cut 24 of the 264 edges; chance cuts three of four.
        let (grown, random) = (mean(Partitioner::Equal), mean(Partitioner::Random));
        assert!(grown < 36.0 && random > 150.0, "{grown} {random}");
    }

    #[test]
    fn parts_are_a_function_of_the_generator_and_differ_between_its_states() {
        let grid = grid(9);
        assert_eq!(equal(&grid, 7, 3), equal(&grid, 7, 3));
        assert_ne!(equal(&grid, 7, 3), equal(&grid, 7, 4));
    }

    #[test]
    fn fewer_nodes_than_parts_have_a_part_each() {
        for by in [Partitioner::Equal, Partitioner::Random] {
            let few = graph(5, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
            let partition = Partition::new(&few, 32, by, &mut rng(0, Stream::Mask, 0, 0)).unwrap();
            assert_eq!(partition.part_of(), [0, 1, 2, 3, 4]);
            assert_eq!((partition.count(), partition.members().len()), (32, 5));
        }
    }

    #[test]
    fn a_part_grows_by_the_hops_asked_for_and_overlaps_are_counted() {
        let path = graph(5, &[(0, 1), (1, 2), (2, 3)]);
        let parts = [vec![0, 1], vec![2], vec![3], vec![4]];
        assert_eq!(expand(&path, &parts, 0), parts);
        let near = expand(&path, &parts, 1);
        assert_eq!(near, [vec![0, 1, 2], vec![1, 2, 3], vec![2, 3], vec![4]]);
        assert_eq!(expand(&path, &parts, 2)[2], [1, 2, 3]);
        assert_eq!(overlap(5, &near), [3.0, 2.0, 1.0, 0.0, 2.0, 3.0, 2.0, 0.0, 1.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn no_parts_are_refused() {
        let error = Partition::new(&grid(2), 0, Partitioner::Equal, &mut rng(0, Stream::Mask, 0, 0)).unwrap_err();
        assert!(error.to_string().contains("`parts.count` is 0, but must be 1 or more"), "{error}");
    }

    #[cfg(not(feature = "metis"))]
    #[test]
    fn metis_is_refused_where_it_is_not_built_in() {
        let error = Partition::new(&grid(2), 2, Partitioner::Metis, &mut rng(0, Stream::Mask, 0, 0)).unwrap_err();
        assert!(error.to_string().contains("without METIS"), "{error}");
    }

    proptest! {
        #[test]
        fn every_node_is_in_one_part_and_sizes_differ_by_one_at_most(
            nodes in 1_usize..60,
            ends in proptest::collection::vec((0_u32..60, 0_u32..60), 0..150),
            count in 1_usize..40,
            random in any::<bool>(),
            seed in 0_u64..1000,
        ) {
            let edges: Vec<_> = ends.into_iter().map(|(u, v)| (u % nodes as u32, v % nodes as u32)).collect();
            let graph = graph(nodes, &edges);
            let by = if random { Partitioner::Random } else { Partitioner::Equal };
            let partition = Partition::new(&graph, count, by, &mut rng(seed, Stream::Mask, 0, 0)).unwrap();
            prop_assert_eq!(partition.part_of().len(), nodes);
            prop_assert!(partition.part_of().iter().all(|part| (*part as usize) < count));
            let members = partition.members();
            prop_assert_eq!(members.len(), count.min(nodes));
            let mut all: Vec<u32> = members.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..nodes as u32).collect::<Vec<_>>());
            let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(*least >= 1 && most - least <= 1, "{:?}", sizes);
        }
    }
}
