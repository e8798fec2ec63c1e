//! How alike the courses of regions are within a window, and which pairs are edges.

use crate::connectomes::config::Correlation;

/// Correlations of R courses of T values each, `[R, R]`: 1 on the diagonal, 0 with a region that does not change or is missing.
pub fn correlations(values: &[f32], times: usize, present: &[bool], kind: Correlation) -> Vec<f32> {
    let regions = present.len();
    let even: Vec<Option<Vec<f64>>> = values
        .chunks_exact(times.max(1))
        .zip(present)
        .map(|(course, present)| standardised(course).filter(|_| *present))
        .collect();
    let mut all = vec![0.0; regions * regions];
    // Σ var(r) and Σ r² over pairs, of which the shrinkage is made.
    let (mut noise, mut strength) = (0.0, 0.0);
    for (i, a) in even.iter().enumerate() {
        all[i * regions + i] = 1.0;
        for (j, b) in even.iter().enumerate().take(i) {
            let (Some(a), Some(b)) = (a, b) else { continue };
            let count = times as f64;
            let mean = a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / count;
            if kind == Correlation::Shrunk {
                let spread = a.iter().zip(b).map(|(x, y)| (x * y - mean).powi(2)).sum::<f64>();
                noise += count / (count - 1.0).powi(3) * spread;
                strength += (mean * count / (count - 1.0)).powi(2);
            }
            all[i * regions + j] = mean as f32;
            all[j * regions + i] = mean as f32;
        }
    }
    if kind == Correlation::Shrunk && strength > 0.0 {
        let kept = 1.0 - (noise / strength).clamp(0.0, 1.0);
        for (place, value) in all.iter_mut().enumerate() {
            if place % (regions + 1) != 0 {
                *value *= kept as f32;
            }
        }
    }
    all
}

/// To mean 0 and variance 1; none of a course that does not change.
fn standardised(course: &[f32]) -> Option<Vec<f64>> {
    let count = course.len().max(1) as f64;
    let mean = course.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = course.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    let rounding = 1e-6 * course.iter().fold(0.0, |most: f64, x| most.max(f64::from(x.abs())));
    let deviation = variance.sqrt();
    (deviation > rounding).then(|| course.iter().map(|x| (f64::from(*x) - mean) / deviation).collect())
}

/// The pairs of regions `(i, j)`, i < j, that are most alike: this share of all pairs of regions that are there, ties by their place.
pub fn edges(correlations: &[f32], present: &[bool], share: f64) -> Vec<(u32, u32)> {
    let regions = present.len();
    let there: Vec<u32> = (0..regions as u32).filter(|region| present[*region as usize]).collect();
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for (place, i) in there.iter().enumerate() {
        pairs.extend(there[place + 1..].iter().map(|j| (*i, *j)));
    }
    let count = (share * pairs.len() as f64).round() as usize;
    let value = |(i, j): &(u32, u32)| correlations[*i as usize * regions + *j as usize];
    pairs.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
    pairs.truncate(count);
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::random::{Stream, rng};

    #[test]
    fn correlations_are_pearsons_and_what_does_not_change_has_none() {
        let values =
            [1.0, 2.0, 3.0, 4.0, 2.0, 4.0, 6.0, 8.0, 4.0, 3.0, 2.0, 1.0, 5.0, 5.0, 5.0, 5.0, 1.0, -1.0, 1.0, -1.0];
        let present = [true; 5];
        let all = correlations(&values, 4, &present, Correlation::Plain);
        let at = |i: usize, j: usize| all[i * 5 + j];
        assert!((at(0, 1) - 1.0).abs() < 1e-6 && (at(0, 2) + 1.0).abs() < 1e-6);
        assert!((at(0, 4) + 0.447_213_6).abs() < 1e-6, "{}", at(0, 4));
        assert!((0..5).all(|i| at(i, 3) == f32::from(u8::from(i == 3)) && at(i, i) == 1.0));
        let missing = correlations(&values, 4, &[true, false, true, true, true], Correlation::Plain);
        assert_eq!((missing[1], missing[2]), (0.0, all[2]));
    }

    /// Short windows of noise: nothing is left of what is not there, and much of what is.
    #[test]
    fn shrinkage_follows_the_noise() {
        let mut rng = rng(0, Stream::Scene, 0, 0);
        let mut noise = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-0.5..0.5)).collect() };
        let values = noise(20 * 12);
        let off = |kind| {
            let all = correlations(&values, 12, &[true; 20], kind);
            (0..400).filter(|at| at % 21 != 0).map(|at| all[at].abs()).sum::<f32>() / 380.0
        };
        assert!(
            off(Correlation::Shrunk) < 0.5 * off(Correlation::Plain),
            "{} {}",
            off(Correlation::Shrunk),
            off(Correlation::Plain)
        );
        let same = noise(200).repeat(4);
        let all = correlations(&same, 200, &[true; 4], Correlation::Shrunk);
        assert!(all[1] > 0.95, "{}", all[1]);
    }

    #[test]
    fn edges_are_the_most_alike_pairs_of_regions_that_are_there() {
        let all = [1.0, 0.9, 0.1, 0.8, 0.9, 1.0, 0.5, 0.2, 0.1, 0.5, 1.0, 0.3, 0.8, 0.2, 0.3, 1.0];
        assert_eq!(edges(&all, &[true; 4], 0.5), [(0, 1), (0, 3), (1, 2)]);
        assert_eq!(edges(&all, &[true, false, true, true], 0.4), [(0, 3)]);
        assert!(edges(&[1.0], &[true], 1.0).is_empty());
    }
}
