//! A factor: one way of labelling the samples that a probe may try to read from the features.

use std::collections::BTreeMap;

use crate::EvalError;

/// Labels of the training and test rows for one factor (class, pose, shape, speed bin).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// Its name in tables.
    pub name: String,
    /// The label of each training row, `[N]`.
    pub train: Vec<u32>,
    /// The label of each test row, `[M]`.
    pub test: Vec<u32>,
}

impl Factor {
    /// A factor by name, with a label for each training and each test row.
    pub fn new(name: impl Into<String>, train: Vec<u32>, test: Vec<u32>) -> Self {
        Self { name: name.into(), train, test }
    }

    /// Accuracy on the test rows of always answering the commonest training label (the lowest of equals), in [0, 1].
    /// 0 without test rows.
    pub fn chance(&self) -> f64 {
        let mut counts = BTreeMap::new();
        for &label in &self.train {
            *counts.entry(label).or_insert(0usize) += 1;
        }
        let mut answer = None;
        let mut most = 0;
        for (label, count) in counts {
            if count > most {
                (answer, most) = (Some(label), count);
            }
        }
        let right = self.test.iter().filter(|&&label| Some(label) == answer).count();
        right as f64 / self.test.len().max(1) as f64
    }

    /// Labels that stand in one part alone, with their counts: of training, then of the test.
    pub fn one_sided(&self) -> [BTreeMap<u32, usize>; 2] {
        let count = |labels: &[u32]| {
            labels.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<u32, usize>, label| {
                *counts.entry(*label).or_insert(0) += 1;
                counts
            })
        };
        let (train, test) = (count(&self.train), count(&self.test));
        let without = |own: &BTreeMap<u32, usize>, other: &BTreeMap<u32, usize>| {
            own.iter().filter(|(label, _)| !other.contains_key(label)).map(|(&label, &count)| (label, count)).collect()
        };
        [without(&train, &test), without(&test, &train)]
    }

    /// One label for each row of each part, of which there are so many.
    pub(crate) fn check(&self, train: usize, test: usize) -> Result<(), EvalError> {
        for (part, labels, rows) in [("train", &self.train, train), ("test", &self.test, test)] {
            if labels.len() != rows {
                let (factor, found) = (self.name.clone(), labels.len());
                return Err(EvalError::LabelCount { factor, part, found, rows });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_the_commonest_training_answer_on_the_test_rows() {
        let factor = Factor::new("class", vec![2, 7, 7, 2, 7], vec![7, 2, 2, 2]);
        assert_eq!(factor.chance(), 0.25);
        assert_eq!(Factor::new("tied", vec![5, 3], vec![3, 5, 3, 9]).chance(), 0.5);
    }

    #[test]
    fn labels_of_one_part_alone_are_counted() {
        let [train, test] = Factor::new("class", vec![2, 7, 7, 2, 4], vec![7, 2, 9, 9, 1]).one_sided();
        assert_eq!(train.into_iter().collect::<Vec<_>>(), [(4, 1)]);
        assert_eq!(test.into_iter().collect::<Vec<_>>(), [(1, 1), (9, 2)]);
    }

    #[test]
    fn every_row_needs_its_label() {
        let factor = Factor::new("pose", vec![0; 3], vec![0; 2]);
        assert!(factor.check(3, 2).is_ok());
        let error = factor.check(3, 4).unwrap_err();
        assert_eq!(error.to_string(), "factor \"pose\" has 2 test labels for 4 test rows");
    }
}
