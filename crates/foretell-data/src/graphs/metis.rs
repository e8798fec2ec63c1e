//! METIS's recursive bisection (Karypis and Kumar, 1998), where the cargo feature `metis` builds it in.

use rand_chacha::ChaCha8Rng;

use crate::DataError;
use crate::graphs::adjacency::Adjacency;

#[cfg(not(feature = "metis"))]
pub(crate) fn parts(_: &Adjacency, _: usize, _: &mut ChaCha8Rng) -> Result<Vec<u32>, DataError> {
    super::Partitioner::Metis.check()?;
    Ok(Vec::new())
}

/// The part of each node, for more nodes than parts; parts that METIS leaves empty take a node of the largest each.
#[cfg(feature = "metis")]
pub(crate) fn parts(adjacency: &Adjacency, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<u32>, DataError> {
    use std::sync::{Mutex, PoisonError};

    use metis::option::Seed;
    use rand::RngExt;

    /// METIS draws from the C library's one generator, which it seeds at the start of each call: two calls at once would
    /// take each other's numbers, and the parts would depend on the loader's threads.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    let failed = |reason: String| DataError::Collate(format!("METIS cannot cut a graph: {reason}"));
    let nodes = adjacency.nodes();
    let (mut starts, mut neighbours) = (vec![0], Vec::with_capacity(2 * adjacency.edges()));
    for node in 0..nodes as u32 {
        neighbours.extend(adjacency.neighbours(node).iter().map(|&other| other as metis::Idx));
        starts.push(neighbours.len() as metis::Idx);
    }
    let mut found = vec![0; nodes];
    let seed = rng.random_range(0..metis::Idx::MAX);
    // Without edges METIS is given a null pointer's worth of neighbours; the parts are arbitrary anyway.
    if neighbours.is_empty() {
        return Ok((0..nodes).map(|node| (node % count) as u32).collect());
    }
    {
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        metis::Graph::new(1, count as metis::Idx, &starts, &neighbours)
            .map_err(|error| failed(error.to_string()))?
            .set_option(Seed(seed))
            .part_recursive(&mut found)
            .map_err(|error| failed(error.to_string()))?;
    }
    let mut members = vec![Vec::new(); count];
    for (node, part) in (0..).zip(found) {
        members[part as usize].push(node);
    }
    while let Some(empty) = members.iter().position(Vec::is_empty) {
        let Some(node) = members.iter_mut().max_by_key(|own: &&mut Vec<u32>| own.len()).and_then(Vec::pop) else {
            break;
        };
        members[empty].push(node);
    }
    let mut part_of = vec![0; nodes];
    for (part, own) in (0..).zip(members) {
        for node in own {
            part_of[node as usize] = part;
        }
    }
    Ok(part_of)
}

#[cfg(all(test, feature = "metis"))]
mod tests {
    use super::*;
    use crate::graphs::{Partition, Partitioner};
    use crate::random::{Stream, rng};

    fn cut(edges: &[(u32, u32)], nodes: usize, count: usize, seed: u64) -> Partition {
        let (graph, ..) = Adjacency::new(nodes, edges);
        Partition::new(&graph, count, Partitioner::Metis, &mut rng(seed, Stream::Mask, 0, 0)).unwrap()
    }

    #[test]
    fn no_part_is_empty_whatever_the_graph() {
        let clique: Vec<_> = (0..20).flat_map(|u| (0..u).map(move |v| (u, v))).collect();
        let star: Vec<_> = (1..30).map(|v| (0, v)).collect();
        for seed in 0..10 {
            for count in [2, 9, 19, 20, 32] {
                for partition in [cut(&clique, 20, count, seed), cut(&star, 30, count, seed), cut(&[], 33, count, seed)]
                {
                    assert!(partition.members().iter().all(|own| !own.is_empty()));
                }
            }
        }
    }

    #[test]
    fn threads_at_once_find_what_one_finds() {
        let ring: Vec<_> = (0..200_u32).flat_map(|v| [(v, (v + 1) % 200), (v, (v * 7 + 3) % 200)]).collect();
        let alone: Vec<_> = (0..40).map(|seed| cut(&ring, 200, 16, seed)).collect();
        let together = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..40).map(|seed| cut(&ring, 200, 16, seed)).collect::<Vec<_>>()))
                .collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(together.iter().all(|found| *found == alone));
    }
}
