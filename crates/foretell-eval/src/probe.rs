//! The probe table: what a trained encoder holds of each factor, beside the untrained network and the raw pixels.
//!
//! A probe's figure means little alone. The same probe on the same network before training, on the pixels, and the share of
//! the commonest class stand beside it in every table.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{EvalError, Factor, Features, Knn, Linear};

/// Where features come from: the columns of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureKind {
    /// The encoder after training.
    Trained,
    /// The same encoder as it was initialised: the control.
    Untrained,
    /// The input itself.
    Pixels,
}

/// How labels are read from features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// Weighted nearest neighbours, [`Knn`].
    Knn,
    /// Logistic regression, [`Linear`].
    Linear,
}

/// One figure of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeRow {
    /// The features that were read.
    pub features: FeatureKind,
    /// The probe that read them.
    pub probe: ProbeKind,
    /// Name of the factor.
    pub factor: String,
    /// Accuracy on the test rows, in [0, 1].
    pub accuracy: f64,
}

/// What the judgement may cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Training rows at most, evenly spaced over all of them; none: all.
    pub train_rows: Option<usize>,
    /// The k-NN probe.
    pub knn: Knn,
    /// The linear probe.
    pub linear: Linear,
}

/// Both probes on every factor: from `train` `[N, D]` to `test` `[M, D]`, rows in the order of the factors, k-NN before
/// linear.
///
/// # Errors
/// As [`Knn::accuracy`] and [`Linear::probe`].
pub fn judge(
    features: FeatureKind,
    train: &Features,
    test: &Features,
    factors: &[Factor],
    budget: &Budget,
) -> Result<Vec<ProbeRow>, EvalError> {
    for factor in factors {
        factor.check(train, test)?;
    }
    match budget.train_rows {
        Some(limit) if limit < train.rows => {
            let kept: Vec<usize> = (0..limit).map(|index| index * train.rows / limit).collect();
            let factors: Vec<Factor> = factors
                .iter()
                .map(|factor| Factor {
                    name: factor.name.clone(),
                    train: kept.iter().map(|&row| factor.train[row]).collect(),
                    test: factor.test.clone(),
                })
                .collect();
            judge_all(features, &train.select(&kept), test, &factors, budget)
        }
        _ => judge_all(features, train, test, factors, budget),
    }
}

fn judge_all(
    features: FeatureKind,
    train: &Features,
    test: &Features,
    factors: &[Factor],
    budget: &Budget,
) -> Result<Vec<ProbeRow>, EvalError> {
    let knn = budget.knn.accuracy(train, test, factors)?;
    let linear = budget.linear.probe(train, test, factors)?;
    let row = |probe, factor: &Factor, accuracy| ProbeRow { features, probe, factor: factor.name.clone(), accuracy };
    Ok(factors
        .iter()
        .zip(knn.into_iter().zip(linear))
        .flat_map(|(factor, (knn, linear))| {
            [row(ProbeKind::Knn, factor, knn), row(ProbeKind::Linear, factor, linear.accuracy)]
        })
        .collect())
}

/// Rows of [`judge`] laid out for reading: a line for each factor and probe, a column for each kind of features, and the
/// commonest class. Prints through [`fmt::Display`], in percent; a figure that was not measured is a dash.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProbeTable {
    /// Figures, in any order; of two for one cell the later stands.
    pub rows: Vec<ProbeRow>,
    /// Name and [`Factor::chance`] of each factor, in the order of the lines.
    pub chance: Vec<(String, f64)>,
}

impl ProbeTable {
    /// A table without figures for `factors`.
    pub fn new(factors: &[Factor]) -> Self {
        let chance = factors.iter().map(|factor| (factor.name.clone(), factor.chance())).collect();
        Self { rows: Vec::new(), chance }
    }

    /// The figure of a cell, in [0, 1].
    pub fn accuracy(&self, features: FeatureKind, probe: ProbeKind, factor: &str) -> Option<f64> {
        let cell = |row: &&ProbeRow| row.features == features && row.probe == probe && row.factor == factor;
        self.rows.iter().rev().find(cell).map(|row| row.accuracy)
    }
}

impl fmt::Display for ProbeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.chance.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("factor".len());
        writeln!(f, "{:width$}  probe   trained  untrained  pixels  chance", "factor")?;
        for (factor, chance) in &self.chance {
            for (probe, name) in [(ProbeKind::Knn, "knn"), (ProbeKind::Linear, "linear")] {
                let cell = |features| match self.accuracy(features, probe, factor) {
                    Some(accuracy) => format!("{:.1}", 100.0 * accuracy),
                    None => "-".to_owned(),
                };
                writeln!(
                    f,
                    "{factor:width$}  {name:6}  {:>7}  {:>9}  {:>6}  {:>6.1}",
                    cell(FeatureKind::Trained),
                    cell(FeatureKind::Untrained),
                    cell(FeatureKind::Pixels),
                    100.0 * chance
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::{clusters, normal};

    #[test]
    fn informed_features_stand_above_noise() {
        let (train, train_labels) = clusters(600, 8, 3, 4.0, 1);
        let (test, test_labels) = clusters(300, 8, 3, 4.0, 2);
        let halves = |labels: &[u32]| labels.iter().map(|&label| u32::from(label == 0)).collect();
        let factors = [
            Factor::new("first or not", halves(&train_labels), halves(&test_labels)),
            Factor::new("class", train_labels, test_labels),
        ];
        let mut table = ProbeTable::new(&factors);
        let budget = Budget::default();
        table.rows.extend(judge(FeatureKind::Trained, &train, &test, &factors, &budget).unwrap());
        let (blind_train, blind_test) = (normal(600, 8, 3), normal(300, 8, 4));
        table.rows.extend(judge(FeatureKind::Untrained, &blind_train, &blind_test, &factors, &budget).unwrap());
        assert_eq!(table.rows.len(), 8);
        for probe in [ProbeKind::Knn, ProbeKind::Linear] {
            assert!(table.accuracy(FeatureKind::Trained, probe, "class").unwrap() > 0.98);
            assert!(table.accuracy(FeatureKind::Untrained, probe, "class").unwrap() < 0.45);
            assert!(table.accuracy(FeatureKind::Pixels, probe, "class").is_none());
        }
        assert!((table.chance[0].1 - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_budget_takes_rows_with_their_labels() {
        // Every third row is cluster 0: a label that slipped against its row would show at once.
        let (train, train_labels) = clusters(3000, 8, 3, 5.0, 5);
        let (test, test_labels) = clusters(300, 8, 3, 5.0, 6);
        let factors = [Factor::new("class", train_labels, test_labels)];
        let budget = Budget { train_rows: Some(251), ..Budget::default() };
        let rows = judge(FeatureKind::Pixels, &train, &test, &factors, &budget).unwrap();
        assert!(rows.iter().all(|row| row.accuracy > 0.97), "{rows:?}");
        let none = Budget { train_rows: Some(0), ..Budget::default() };
        assert!(matches!(
            judge(FeatureKind::Pixels, &train, &test, &factors, &none),
            Err(EvalError::TooFewRows { found: 0, .. })
        ));
    }

    #[test]
    fn the_table_is_aligned() {
        let row = |features, probe, accuracy| ProbeRow { features, probe, factor: "shape of it".into(), accuracy };
        let table = ProbeTable {
            rows: vec![
                row(FeatureKind::Trained, ProbeKind::Knn, 1.0),
                row(FeatureKind::Untrained, ProbeKind::Knn, 0.5),
                row(FeatureKind::Untrained, ProbeKind::Knn, 0.625),
                row(FeatureKind::Pixels, ProbeKind::Linear, 0.0512),
            ],
            chance: vec![("shape of it".into(), 1.0 / 3.0)],
        };
        assert_eq!(
            table.to_string(),
            "factor       probe   trained  untrained  pixels  chance\n\
             shape of it  knn       100.0       62.5       -    33.3\n\
             shape of it  linear        -          -     5.1    33.3\n"
        );
    }
}
