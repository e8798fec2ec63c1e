//! The few-shot probe: the linear probe from a handful of labelled samples of each class, drawn several times.
//!
//! Radar data sets are judged so (10, 20 and 40 samples a class; SAR-JEPA, arXiv 2311.15153, section 4): labels are what is rare.
//! Which samples were drawn moves the figure by several points, so that one draw is no figure.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::stored::FeatureRows;
use crate::{EvalError, Factor, Linear};

/// The few-shot probe's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FewShot {
    /// Labelled training samples of each class.
    pub shots: Vec<usize>,
    /// How often they are drawn.
    pub draws: usize,
    /// Of the draws: two encoders with one seed are given the same samples.
    pub seed: u64,
    /// The probe.
    pub linear: Linear,
}

impl Default for FewShot {
    fn default() -> Self {
        Self { shots: vec![10, 20, 40], draws: 10, seed: 0, linear: Linear::default() }
    }
}

/// What the probe found with so many samples a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FewShotFit {
    /// Labelled training samples of each class.
    pub shots: usize,
    /// Accuracy on all test rows of each draw, in [0, 1].
    pub accuracies: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation, with n − 1; 0 of a single draw.
    pub deviation: f64,
}

impl FewShot {
    /// The rows of one draw: `shots` of each class, in the order of the rows. Of the same draw, more shots hold all that fewer hold.
    ///
    /// # Errors
    /// [`EvalError::TooFewOfClass`] where a class has fewer rows.
    pub fn subset(&self, factor: &str, labels: &[u32], shots: usize, draw: u64) -> Result<Vec<usize>, EvalError> {
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (row, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(row);
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(draw);
        let mut chosen = Vec::with_capacity(shots * classes.len());
        for (class, mut rows) in classes {
            if rows.len() < shots {
                let factor = factor.to_owned();
                return Err(EvalError::TooFewOfClass { factor, class, needed: shots, found: rows.len() });
            }
            // All of them, so that the next class's draw does not depend on the number of shots.
            rows.shuffle(&mut random);
            chosen.extend_from_slice(&rows[..shots]);
        }
        chosen.sort_unstable();
        Ok(chosen)
    }

    /// The probe of one factor for each number of shots, from `train` `[N, D]` to all of `test` `[M, D]`. Each draw is a
    /// [`Linear::probe`] of its own, which chooses its strength on a tenth of the drawn rows and standardises by them alone.
    ///
    /// # Errors
    /// As [`subset`](Self::subset) and [`Linear::probe`]; no shots, no draws.
    pub fn probe(
        &self,
        train: &dyn FeatureRows,
        test: &dyn FeatureRows,
        factor: &Factor,
    ) -> Result<Vec<FewShotFit>, EvalError> {
        let positive = |setting, expected, least: usize, found: String| {
            if least > 0 { Ok(()) } else { Err(EvalError::Setting { setting, expected, found }) }
        };
        let least = self.shots.iter().copied().min().unwrap_or(0);
        positive("shots", "one or more numbers of 1 or above", least, format!("{:?}", self.shots))?;
        positive("draws", "at least 1", self.draws, self.draws.to_string())?;
        factor.check(train.rows(), test.rows())?;
        self.shots.iter().map(|&shots| self.with(shots, train, test, factor)).collect()
    }

    fn with(
        &self,
        shots: usize,
        train: &dyn FeatureRows,
        test: &dyn FeatureRows,
        factor: &Factor,
    ) -> Result<FewShotFit, EvalError> {
        let mut accuracies = Vec::with_capacity(self.draws);
        for draw in 0..self.draws as u64 {
            let rows = self.subset(&factor.name, &factor.train, shots, draw)?;
            let labels = rows.iter().map(|&row| factor.train[row]).collect();
            let few = Factor::new(factor.name.clone(), labels, factor.test.clone());
            let fits = self.linear.probe(&train.select(&rows)?, test, &[few])?;
            accuracies.extend(fits.iter().map(|fit| fit.accuracy));
        }
        let count = accuracies.len() as f64;
        let mean = accuracies.iter().sum::<f64>() / count;
        let squares = accuracies.iter().map(|accuracy| (accuracy - mean).powi(2)).sum::<f64>();
        let deviation = if count > 1.0 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
        Ok(FewShotFit { shots, accuracies, mean, deviation })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::features::tests::clusters;

    proptest! {
        #[test]
        fn a_draw_has_as_many_of_each_class_and_grows(
            labels in prop::collection::vec(0_u32..4, 60..120),
            (fewer, more) in (1_usize..4, 4_usize..7),
            (seed, draw) in any::<(u64, u64)>(),
        ) {
            let probe = FewShot { seed, ..FewShot::default() };
            let subset = |shots| probe.subset("class", &labels, shots, draw).unwrap();
            prop_assume!((0..4).all(|class| labels.iter().filter(|l| **l == class).count() >= 7));
            let (few, many) = (subset(fewer), subset(more));
            for (rows, shots) in [(&few, fewer), (&many, more)] {
                prop_assert!(rows.is_sorted_by(|a, b| a < b));
                for class in 0..4 {
                    prop_assert_eq!(rows.iter().filter(|row| labels[**row] == class).count(), shots);
                }
            }
            prop_assert!(few.iter().all(|row| many.contains(row)));
            prop_assert_eq!(few, subset(fewer));
        }
    }

    #[test]
    fn draws_and_seeds_differ_and_reach_every_row() {
        let labels: Vec<u32> = (0..200).map(|row| row % 4).collect();
        let probe = FewShot::default();
        let subset = |probe: &FewShot, draw| probe.subset("class", &labels, 10, draw).unwrap();
        assert_ne!(subset(&probe, 0), subset(&probe, 1));
        assert_ne!(subset(&probe, 0), subset(&FewShot { seed: 1, ..probe.clone() }, 0));
        // Each row is in a fifth of the draws: 500 draws leave its share within 0.09, five standard errors.
        let mut counts = [0; 200];
        (0..500).for_each(|draw| subset(&probe, draw).into_iter().for_each(|row| counts[row] += 1));
        assert!(counts.iter().all(|&count| (55..=145).contains(&count)), "{counts:?}");
    }

    #[test]
    fn more_labels_read_more_and_the_deviation_is_that_of_the_draws() {
        let (train, train_labels) = clusters(900, 40, 3, 2.0, 1);
        let (test, test_labels) = clusters(1500, 40, 3, 2.0, 2);
        let factor = Factor::new("class", train_labels, test_labels);
        let probe = FewShot { shots: vec![5, 40, 300], draws: 4, ..FewShot::default() };
        let found = probe.probe(&train, &test, &factor).unwrap();
        assert_eq!(found.iter().map(|fit| fit.shots).collect::<Vec<_>>(), [5, 40, 300]);
        assert!(found[0].mean + 0.05 < found[1].mean && found[1].mean < found[2].mean, "{found:?}");
        for fit in &found[..2] {
            let [a, b, c, d] = fit.accuracies[..] else { panic!("four draws") };
            let mean = (a + b + c + d) / 4.0;
            let variance = [a, b, c, d].iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 3.0;
            assert!((fit.mean - mean).abs() < 1e-12 && (fit.deviation - variance.sqrt()).abs() < 1e-12);
            assert!(fit.deviation > 0.0);
        }
        // All rows of each class: every draw is the probe of the whole training set.
        let whole = Linear::default().probe(&train, &test, std::slice::from_ref(&factor)).unwrap();
        assert!(found[2].accuracies.iter().all(|&accuracy| accuracy == whole[0].accuracy));
        assert_eq!(found[2].deviation, 0.0);
        let one = FewShot { draws: 1, shots: vec![20], ..FewShot::default() };
        assert_eq!(one.probe(&train, &test, &factor).unwrap()[0].deviation, 0.0);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_in_a_sentence() {
        let (train, labels) = clusters(30, 4, 3, 1.0, 3);
        let factor = Factor::new("vehicle", labels.clone(), labels);
        let error = FewShot::default().probe(&train, &train, &factor).unwrap_err().to_string();
        assert_eq!(
            error,
            "factor \"vehicle\" has 10 training rows of class 0, but 20 of each class were asked for: ask for 10 or fewer"
        );
        for (probe, setting) in [
            (FewShot { shots: vec![], ..FewShot::default() }, "shots"),
            (FewShot { shots: vec![5, 0], ..FewShot::default() }, "shots"),
            (FewShot { draws: 0, ..FewShot::default() }, "draws"),
        ] {
            let error = probe.probe(&train, &train, &factor).unwrap_err();
            assert!(matches!(error, EvalError::Setting { setting: found, .. } if found == setting), "{error}");
        }
    }
}
