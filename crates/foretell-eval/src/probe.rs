//! The probes: what a trained encoder holds of each factor, beside the untrained network and a baseline without a network.
//!
//! A probe's figure means little alone. The same probe on the same network before training, on the raw input, and the share
//! of the commonest class stand beside it in every table.

use serde::{Deserialize, Serialize};

use crate::findings::FEATURES;
use crate::stored::{FeatureRows, Stored};
use crate::{Better, EvalError, Factor, Figures, Finding, Knn, Linear};

/// What the evaluation may cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// Training rows at most, evenly spaced over all of them; none: all.
    pub train_rows: Option<usize>,
    /// The k-NN probe.
    pub knn: Knn,
    /// The linear probe.
    pub linear: Linear,
}

/// Features of one kind of the same samples.
#[derive(Debug)]
pub struct Probed {
    /// [`TRAINED`](crate::TRAINED), [`UNTRAINED`](crate::UNTRAINED), or the baseline's name: "pixels".
    pub name: String,
    /// Of the samples that a probe learns from, `[N, D]`.
    pub train: Stored,
    /// Of the samples that it is tested on, `[M, D]`.
    pub test: Stored,
}

/// Both probes of every factor on every kind of features: accuracies by factor, probe ("knn", then "linear") and features,
/// beside the share of the commonest class.
///
/// # Errors
/// As [`Knn::accuracy`] and [`Linear::probe`].
pub fn probes(probed: &[Probed], factors: &[Factor], budget: &Budget) -> Result<Finding, EvalError> {
    let mut figures = Figures::new(&["factor", "probe", FEATURES], "accuracy", Figures::PERCENT, Better::Higher);
    let mut accuracies = Vec::new();
    let mut notes = Vec::new();
    for Probed { name, train, test } in probed {
        let (found, unfinished): (Vec<_>, Vec<_>) = accuracies_of(train, test, factors, budget)?.into_iter().unzip();
        for (factor, _) in factors.iter().zip(unfinished).filter(|(_, unfinished)| *unfinished) {
            notes.push(format!(
                "{}: a fit of the linear probe of {name} features ended before it converged (at most {} steps); its figure may change",
                factor.name, budget.linear.iterations
            ));
        }
        accuracies.push(found);
    }
    for (at, factor) in factors.iter().enumerate() {
        for (probe, name) in ["knn", "linear"].into_iter().enumerate() {
            for (probed, accuracies) in probed.iter().zip(&accuracies) {
                figures.push(
                    [factor.name.as_str().into(), name.into(), probed.name.as_str().into()],
                    accuracies[at][probe],
                );
            }
        }
        figures.refer("chance", [Some(factor.name.as_str().into()), None, None], factor.chance());
    }
    let mut finding = Finding::figures(
        "probes",
        "What the features know",
        "Share of held-out samples that a probe labels correctly: by nearest neighbours (knn) or by logistic regression \
         (linear). Only the probe sees labels; the network is trained without them, or not at all. Chance is what \
         always naming the commonest class of the training samples gets right, and n the number of held-out samples.",
        figures.over(probed.first().map_or(0, |probed| probed.test.rows())),
    );
    finding.notes.extend(notes);
    Ok(finding)
}

/// The accuracies of k-NN and linear probe for each factor, and whether the latter ended before it converged.
fn accuracies_of(
    train: &Stored,
    test: &Stored,
    factors: &[Factor],
    budget: &Budget,
) -> Result<Vec<([f64; 2], bool)>, EvalError> {
    let rows = train.rows();
    for factor in factors {
        factor.check(rows, test.rows())?;
    }
    match budget.train_rows {
        Some(limit) if limit < rows => {
            let kept: Vec<usize> = (0..limit).map(|index| index * rows / limit).collect();
            let factors: Vec<Factor> = factors
                .iter()
                .map(|factor| Factor {
                    name: factor.name.clone(),
                    train: kept.iter().map(|&row| factor.train[row]).collect(),
                    test: factor.test.clone(),
                })
                .collect();
            both(&train.select(&kept)?, test, &factors, budget)
        }
        _ => both(train, test, factors, budget),
    }
}

fn both(
    train: &dyn FeatureRows,
    test: &dyn FeatureRows,
    factors: &[Factor],
    budget: &Budget,
) -> Result<Vec<([f64; 2], bool)>, EvalError> {
    let knn = budget.knn.accuracy(train, test, factors)?;
    let linear = budget.linear.probe(train, test, factors)?;
    Ok(knn.into_iter().zip(linear).map(|(knn, linear)| ([knn, linear.accuracy], !linear.converged)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::{clusters, normal};
    use crate::{Features, TRAINED, UNTRAINED};

    fn probed(name: &str, train: Features, test: Features) -> Probed {
        Probed { name: name.to_owned(), train: train.into(), test: test.into() }
    }

    #[test]
    fn informed_features_stand_above_noise() {
        let (train, train_labels) = clusters(600, 8, 3, 4.0, 1);
        let (test, test_labels) = clusters(300, 8, 3, 4.0, 2);
        let halves = |labels: &[u32]| labels.iter().map(|&label| u32::from(label == 0)).collect();
        let factors = [
            Factor::new("first or not", halves(&train_labels), halves(&test_labels)),
            Factor::new("class", train_labels, test_labels),
        ];
        let all = [probed(TRAINED, train, test), probed(UNTRAINED, normal(600, 8, 3), normal(300, 8, 4))];
        let found = probes(&all, &factors, &Budget::default()).unwrap();
        let figures = found.as_figures().unwrap();
        assert_eq!(figures.rows.len(), 8);
        let accuracy = |probe: &str, features: &str| figures.get(&["class".into(), probe.into(), features.into()]);
        for probe in ["knn", "linear"] {
            assert!(accuracy(probe, TRAINED).unwrap() > 0.98);
            assert!(accuracy(probe, UNTRAINED).unwrap() < 0.45);
            assert!(accuracy(probe, "pixels").is_none());
        }
        assert!((figures.references[0].value - 2.0 / 3.0).abs() < 1e-12);
        assert!(found.notes.is_empty(), "{:?}", found.notes);
        let capped = Budget { linear: Linear { iterations: 1, ..Linear::default() }, ..Budget::default() };
        let notes = probes(&all, &factors, &capped).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains("before it converged (at most 1 steps)")), "{notes:?}");
        assert!(found.missing_control().unwrap().contains("baseline"), "no pixels were probed");
    }

    #[test]
    fn the_budget_takes_rows_with_their_labels() {
        // Every third row is cluster 0: a label that slipped against its row would show at once.
        let (train, train_labels) = clusters(3000, 8, 3, 5.0, 5);
        let (test, test_labels) = clusters(300, 8, 3, 5.0, 6);
        let factors = [Factor::new("class", train_labels, test_labels)];
        let all = [probed("pixels", train, test)];
        let budget = Budget { train_rows: Some(251), ..Budget::default() };
        let found = probes(&all, &factors, &budget).unwrap();
        let rows = &found.as_figures().unwrap().rows;
        assert!(rows.len() == 2 && rows.iter().all(|row| row.value > 0.97), "{rows:?}");
        let none = Budget { train_rows: Some(0), ..Budget::default() };
        assert!(matches!(probes(&all, &factors, &none), Err(EvalError::TooFewRows { found: 0, .. })));
    }
}
