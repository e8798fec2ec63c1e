//! What one thing says of another.

use std::collections::BTreeMap;

/// Mutual information of two labels in bits, from the counts of their pairs; 0 of none. Of few pairs it is too high by about
/// `(rows − 1)(columns − 1) / (2 N ln 2)`.
pub fn mutual_information(pairs: impl Iterator<Item = (usize, usize)>) -> f64 {
    let (mut joint, mut first, mut second) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut all = 0.0_f64;
    for (a, b) in pairs {
        *joint.entry((a, b)).or_insert(0.0) += 1.0;
        *first.entry(a).or_insert(0.0) += 1.0;
        *second.entry(b).or_insert(0.0) += 1.0;
        all += 1.0;
    }
    let bits = |((a, b), count): (&(usize, usize), &f64)| count / all * (count * all / (first[a] * second[b])).log2();
    joint.iter().map(bits).sum()
}

#[cfg(test)]
mod tests {
    use super::mutual_information;

    #[test]
    fn equal_labels_share_their_entropy_and_independent_ones_nothing() {
        assert_eq!(mutual_information([0, 1, 2, 3].into_iter().map(|k| (k, 3 - k))), 2.0);
        assert_eq!(mutual_information([(0, 0), (0, 1), (1, 0), (1, 1)].into_iter()), 0.0);
        assert_eq!(mutual_information(std::iter::empty()), 0.0);
        // A channel that errs in one of four: 1 − H(1/4) bits.
        let noisy = [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 1), (1, 0)];
        let entropy = -(0.25_f64 * 0.25_f64.log2() + 0.75 * 0.75_f64.log2());
        assert!((mutual_information(noisy.into_iter()) - (1.0 - entropy)).abs() < 1e-12);
    }
}
