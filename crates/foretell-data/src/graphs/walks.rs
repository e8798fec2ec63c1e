//! Random-walk structural encodings (Dwivedi et al., ICLR 2022): how likely a walk is back where it began.

use crate::graphs::adjacency::Adjacency;

/// `[N, length]`, row by row: `(M_vv, (M²)_vv, …, (M^length)_vv)` with `M = D⁻¹A` of the simple graph. Isolated nodes have
/// zeros.
///
/// With `S = D^-½ A D^-½`, which is symmetric, `(M^(i+j))_vv = ⟨Sⁱ e_v, Sʲ e_v⟩`: half the powers suffice, and a walk of
/// `length` steps touches only nodes within half its length. All in f64.
pub fn walks(adjacency: &Adjacency, length: usize) -> Vec<f32> {
    let nodes = adjacency.nodes();
    let roots: Vec<f64> = (0..nodes as u32).map(|node| 1.0 / (adjacency.degree(node) as f64).sqrt()).collect();
    let mut out = vec![0.0; nodes * length];
    if length == 0 {
        return out;
    }
    // Zero but at the nodes that are listed.
    let (mut here, mut next) = (vec![0.0; nodes], vec![0.0; nodes]);
    let (mut listed, mut reached) = (Vec::new(), Vec::<u32>::new());
    let mut seen = vec![false; nodes];
    for (node, row) in (0..nodes as u32).zip(out.chunks_exact_mut(length)) {
        if adjacency.degree(node) == 0 {
            continue;
        }
        here[node as usize] = 1.0;
        listed.push(node);
        for pair in row.chunks_mut(2) {
            for &u in &listed {
                let share = here[u as usize] * roots[u as usize];
                for &v in adjacency.neighbours(u) {
                    next[v as usize] += share * roots[v as usize];
                    if !seen[v as usize] {
                        seen[v as usize] = true;
                        reached.push(v);
                    }
                }
            }
            // The odd power, then the even one.
            let odd: f64 = listed.iter().map(|&u| here[u as usize] * next[u as usize]).sum();
            let even: f64 = reached.iter().map(|&v| next[v as usize].powi(2)).sum();
            for (out, value) in pair.iter_mut().zip([odd, even]) {
                *out = value as f32;
            }
            listed.drain(..).for_each(|u| here[u as usize] = 0.0);
            for &v in &reached {
                seen[v as usize] = false;
            }
            std::mem::swap(&mut here, &mut next);
            std::mem::swap(&mut listed, &mut reached);
        }
        listed.drain(..).for_each(|u| here[u as usize] = 0.0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: powers of the dense matrix.
    fn dense(adjacency: &Adjacency, length: usize) -> Vec<f64> {
        let n = adjacency.nodes();
        let mut m = vec![0.0; n * n];
        for u in 0..n as u32 {
            for &v in adjacency.neighbours(u) {
                m[u as usize * n + v as usize] = 1.0 / adjacency.degree(u) as f64;
            }
        }
        let mut power = m.clone();
        let mut out = vec![0.0; n * length];
        for step in 0..length {
            (0..n).for_each(|v| out[v * length + step] = power[v * n + v]);
            let row = |i: usize, j: usize| (0..n).map(|l| power[i * n + l] * m[l * n + j]).sum::<f64>();
            power = (0..n * n).map(|at| row(at / n, at % n)).collect();
        }
        out
    }

    #[test]
    fn an_edge_a_triangle_and_a_lonely_node_have_the_chances_that_one_counts_by_hand() {
        let (graph, ..) = Adjacency::new(6, &[(0, 1), (2, 3), (3, 4), (4, 2)]);
        let rows = walks(&graph, 4);
        assert_eq!(rows[..4], [0.0, 1.0, 0.0, 1.0]);
        let triangle = [0.0, 0.5, 0.25, 0.375];
        assert!(rows[8..12].iter().zip(triangle).all(|(a, b)| (a - b).abs() < 1e-7), "{rows:?}");
        assert_eq!(rows[20..], [0.0; 4]);
        assert!(walks(&graph, 0).is_empty());
    }

    #[test]
    fn repeated_edges_change_nothing_at_any_size() {
        let ring = |n: u32| (0..n).map(move |v| (v, (v + 1) % n));
        for n in [50, 2_001, 3_000] {
            let once: Vec<_> = ring(n).collect();
            // Every third edge three times.
            let often: Vec<_> = ring(n).chain(ring(n).step_by(3)).chain(ring(n).step_by(3)).collect();
            let rows = walks(&Adjacency::new(n as usize, &often).0, 6);
            assert_eq!(rows, walks(&Adjacency::new(n as usize, &once).0, 6));
            // On a long ring: the central binomial coefficients over 4^i.
            for row in rows.chunks_exact(6) {
                let exact = [0.0, 0.5, 0.0, 0.375, 0.0, 0.3125];
                assert!(row.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-7), "{row:?}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn they_are_the_diagonals_of_the_powers(
            n in 1_usize..14,
            ends in proptest::collection::vec((0_u32..14, 0_u32..14), 0..40),
            length in 1_usize..9,
        ) {
            let edges: Vec<_> = ends.into_iter().map(|(u, v)| (u % n as u32, v % n as u32)).collect();
            let (graph, ..) = Adjacency::new(n, &edges);
            let found = walks(&graph, length);
            for (found, expected) in found.iter().zip(dense(&graph, length)) {
                proptest::prop_assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }
}
