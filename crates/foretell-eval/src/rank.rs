//! How near the top of a ranking what is sought stands: mean reciprocal rank, the area under the ROC curve, average precision.

/// `1 / rank` of the candidate `sought` by its distance, the least first; of equal distances the mean of the ranks that they share. A
/// distance that is not a number stands last.
pub fn reciprocal_rank(distances: &[f32], sought: usize) -> f64 {
    let own = distances[sought];
    if own.is_nan() {
        return 1.0 / distances.len() as f64;
    }
    let nearer = distances.iter().filter(|distance| **distance < own).count();
    let equal = distances.iter().filter(|distance| **distance == own).count();
    1.0 / (nearer as f64 + f64::midpoint(equal as f64, 1.0))
}

/// The mean reciprocal rank of guessing among so many candidates: H_n / n.
pub fn reciprocal_rank_of_chance(candidates: usize) -> f64 {
    (1..=candidates).map(|rank| 1.0 / rank as f64).sum::<f64>() / candidates.max(1) as f64
}

/// The area under the ROC curve: the share of pairs of one that is and one that is not of which the first has the greater score, ties for
/// half; `None` without both. Scores are left in order.
pub fn area_under_roc(scores: &mut [(f32, bool)]) -> Option<f64> {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut sum, mut at) = (0.0, 0.0, 0);
    let is = scores.iter().filter(|(_, is)| *is).count() as f64;
    while at < scores.len() {
        let end = at + scores[at..].iter().take_while(|score| score.0.total_cmp(&scores[at].0).is_eq()).count();
        let own = scores[at..end].iter().filter(|(_, is)| *is).count() as f64;
        let apart = (end - at) as f64 - own;
        sum += own * (below + apart / 2.0);
        below += apart;
        at = end;
    }
    (is > 0.0 && below > 0.0).then(|| sum / (is * below))
}

/// Average precision: the mean over what is sought of the share of it among all that has at least as great a score, the step-wise area
/// under precision by recall; of equal scores all are taken at once. `None` without anything that is sought. Guessing gives the share of
/// what is sought. Scores are left in order.
pub fn average_precision(scores: &mut [(f32, bool)]) -> Option<f64> {
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut found, mut sum, mut at) = (0.0, 0.0, 0);
    while at < scores.len() {
        let end = at + scores[at..].iter().take_while(|score| score.0.total_cmp(&scores[at].0).is_eq()).count();
        let own = scores[at..end].iter().filter(|(_, is)| *is).count() as f64;
        found += own;
        sum += own * found / end as f64;
        at = end;
    }
    (found > 0.0).then(|| sum / found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_counted_and_ties_shared() {
        let distances = [0.5, 0.1, 0.5, f32::NAN, 2.0];
        let of = |sought| reciprocal_rank(&distances, sought);
        assert_eq!([of(1), of(0), of(2), of(4), of(3)], [1.0, 1.0 / 2.5, 1.0 / 2.5, 0.25, 0.2]);
    }

    #[test]
    fn a_ranking_that_does_not_look_at_what_is_sought_is_chance() {
        // Each of 256 is sought once in one and the same ranking.
        let distances: Vec<f32> = (0..256).map(|i| ((i * 37) % 256) as f32).collect();
        let mean = (0..256).map(|sought| reciprocal_rank(&distances, sought)).sum::<f64>() / 256.0;
        assert!((mean - reciprocal_rank_of_chance(256)).abs() < 1e-12);
        assert!((mean - 0.02392).abs() < 1e-4, "H_256 / 256, {mean}");
        assert_eq!(reciprocal_rank_of_chance(2), 0.75);
    }

    #[test]
    fn the_area_is_that_of_the_definition() {
        assert_eq!(area_under_roc(&mut [(0.1, false), (0.9, true), (0.4, false), (0.8, true)]), Some(1.0));
        assert_eq!(area_under_roc(&mut [(0.5, false), (0.5, true), (0.5, false)]), Some(0.5));
        assert_eq!(area_under_roc(&mut [(0.2, true), (0.1, false), (0.3, false)]), Some(0.5));
        assert_eq!(area_under_roc(&mut [(0.2, true)]), None);
    }

    #[test]
    fn average_precision_is_that_of_the_definition() {
        // Sought are the first, the third and the fifth: precisions 1, 2/3 and 3/5.
        let ranked = |is: [bool; 5]| is.iter().enumerate().map(|(at, is)| (-(at as f32), *is)).collect::<Vec<_>>();
        let of = |is| average_precision(&mut ranked(is)).unwrap();
        assert!((of([true, false, true, false, true]) - (1.0 + 2.0 / 3.0 + 3.0 / 5.0) / 3.0).abs() < 1e-12);
        assert_eq!(of([true, true, false, false, false]), 1.0);
        // Where nothing is told apart it is the share of what is sought.
        assert_eq!(average_precision(&mut [(0.5, false), (0.5, true), (0.5, false), (0.5, false)]), Some(0.25));
        let tied = average_precision(&mut [(0.9, true), (0.5, false), (0.5, true)]);
        assert_eq!(tied, Some(f64::midpoint(1.0, 2.0 / 3.0)));
        assert_eq!(average_precision(&mut [(0.5, false)]), None);
    }
}
