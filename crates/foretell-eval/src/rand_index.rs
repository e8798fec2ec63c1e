//! How far two divisions of the same things into groups agree.

use std::collections::BTreeMap;

/// The adjusted Rand index (Hubert and Arabie, 1985) of two labellings of the same things: 1 where they are the same division,
/// whatever the labels are called, 0 in the mean of random ones. 1 for two divisions in which nothing can differ, as of one thing.
///
/// # Panics
/// If they are not of as many things.
pub fn adjusted_rand_index(a: &[usize], b: &[usize]) -> f64 {
    assert_eq!(a.len(), b.len(), "two labels of each thing");
    let pairs =
        |counts: &mut dyn Iterator<Item = u64>| counts.map(|n| (n * n.saturating_sub(1) / 2) as f64).sum::<f64>();
    let counted = |labels: &mut dyn Iterator<Item = (usize, usize)>| {
        let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        labels.for_each(|label| *counts.entry(label).or_default() += 1);
        pairs(&mut counts.into_values())
    };
    let both = counted(&mut a.iter().copied().zip(b.iter().copied()));
    let of = |labels: &[usize]| counted(&mut labels.iter().map(|label| (*label, 0)));
    let (of_a, of_b) = (of(a), of(b));
    let all = pairs(&mut [a.len() as u64].into_iter());
    let (expected, most) = (of_a * of_b / all.max(1.0), f64::midpoint(of_a, of_b));
    if most > expected { (both - expected) / (most - expected) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_hubert_and_arabies() {
        // scikit-learn's documented examples: 0.57, 1, 0 and −0.5.
        let near = |a: &[usize], b: &[usize], expected: f64| {
            let found = adjusted_rand_index(a, b);
            assert!((found - expected).abs() < 1e-9, "{a:?} {b:?}: {found}");
        };
        near(&[0, 0, 1, 2], &[0, 0, 1, 1], 4.0 / 7.0);
        near(&[0, 0, 1, 1], &[5, 5, 2, 2], 1.0);
        near(&[0, 0, 0, 0], &[0, 1, 2, 3], 0.0);
        near(&[0, 0, 1, 1], &[0, 1, 0, 1], -0.5);
        near(&[3], &[4], 1.0);
    }
}
