//! Weighted k-nearest-neighbour classification: what the features' geometry says of the labels, without training.
//!
//! DINO's protocol (Caron et al. 2021, after Wu et al. 2018): cosine similarity, votes `exp(cos / T)`, k = 20, T = 0.07.

use serde::{Deserialize, Serialize};

use crate::nearest::{Neighbours, nearest};
use crate::stored::FeatureRows;
use crate::{EvalError, Factor};

/// The k-NN probe's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Knn {
    /// k: training rows that vote (all of them where there are fewer).
    pub neighbours: usize,
    /// T: a vote weighs `exp(cos / T)`.
    pub temperature: f64,
}

impl Default for Knn {
    fn default() -> Self {
        Self { neighbours: 20, temperature: 0.07 }
    }
}

impl Knn {
    /// Accuracy in [0, 1] on `test` `[M, D]` for each factor, from the neighbours in `train` `[N, D]`. One search serves
    /// all factors. Among equal votes the lowest label wins.
    ///
    /// # Errors
    /// Empty or ill-matched features, label counts, values that are not finite, a temperature ≤ 0.
    pub fn accuracy(
        &self,
        train: &dyn FeatureRows,
        test: &dyn FeatureRows,
        factors: &[Factor],
    ) -> Result<Vec<f64>, EvalError> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(EvalError::Setting {
                setting: "temperature",
                expected: "finite and above 0",
                found: self.temperature.to_string(),
            });
        }
        for factor in factors {
            factor.check(train.rows(), test.rows())?;
        }
        let neighbours = nearest(test, train, self.neighbours)?;
        Ok(factors.iter().map(|factor| self.score(&neighbours, factor)).collect())
    }

    fn score(&self, neighbours: &Neighbours, factor: &Factor) -> f64 {
        let mut right = 0usize;
        let mut votes: Vec<(u32, f64)> = Vec::with_capacity(neighbours.k);
        for (row, &label) in factor.test.iter().enumerate() {
            votes.clear();
            // Relative to the nearest, so that no temperature overflows.
            let nearest = f64::from(neighbours.similarities[row * neighbours.k]);
            for (index, similarity) in neighbours.of(row) {
                let weight = ((f64::from(similarity) - nearest) / self.temperature).exp();
                let voted = factor.train[index];
                match votes.iter_mut().find(|(label, _)| *label == voted) {
                    Some((_, votes)) => *votes += weight,
                    None => votes.push((voted, weight)),
                }
            }
            let winner = votes.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            right += usize::from(winner.is_some_and(|(winner, _)| winner == label));
        }
        right as f64 / factor.test.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;
    use crate::features::tests::{clusters, normal};

    #[test]
    fn separable_clusters_are_read_and_noise_is_not() {
        let (train, train_labels) = clusters(900, 10, 3, 4.0, 1);
        let (test, test_labels) = clusters(300, 10, 3, 4.0, 2);
        let parity = |labels: &[u32]| labels.iter().map(|label| label % 2).collect();
        let noise = |rows, seed| normal(rows, 1, seed).values.iter().map(|&v| u32::from(v > 0.0)).collect();
        let factors = [
            Factor::new("parity", parity(&train_labels), parity(&test_labels)),
            Factor::new("class", train_labels, test_labels),
            Factor::new("constant", vec![4; 900], vec![4; 300]),
            Factor::new("noise", noise(900, 3), noise(300, 4)),
        ];
        let found = Knn::default().accuracy(&train, &test, &factors).unwrap();
        assert!(found[0] > 0.99 && found[1] > 0.99, "{found:?}");
        assert_eq!(found[2], 1.0);
        assert!((found[3] - 0.5).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn a_near_neighbour_outweighs_a_far_majority() {
        // One row at cosine 1 against two at cosine 0.8: exp(-0.2 / T) is 0.057 at T = 0.07 and 0.82 at T = 1.
        let train = Features::new(3, 2, vec![1.0, 0.0, 0.8, 0.6, 0.8, -0.6]).unwrap();
        let test = Features::new(1, 2, vec![2.0, 0.0]).unwrap();
        let factor = [Factor::new("side", vec![9, 5, 5], vec![9])];
        let at = |temperature| Knn { neighbours: 3, temperature }.accuracy(&train, &test, &factor).unwrap()[0];
        assert_eq!(at(0.07), 1.0);
        assert_eq!(at(1.0), 0.0);
    }

    #[test]
    fn labels_never_seen_in_training_are_missed() {
        let features = normal(30, 4, 5);
        let factor = [Factor::new("new", vec![0; 30], vec![1; 30])];
        assert_eq!(Knn::default().accuracy(&features, &features, &factor).unwrap(), [0.0]);
    }

    #[test]
    fn refuses_a_temperature_of_zero_and_missing_labels() {
        let features = normal(30, 4, 5);
        let factor = [Factor::new("short", vec![0; 29], vec![1; 30])];
        let cold = Knn { temperature: 0.0, ..Knn::default() };
        assert!(matches!(cold.accuracy(&features, &features, &[]), Err(EvalError::Setting { .. })));
        let error = Knn::default().accuracy(&features, &features, &factor).unwrap_err();
        assert!(matches!(error, EvalError::LabelCount { found: 29, rows: 30, .. }));
    }
}
