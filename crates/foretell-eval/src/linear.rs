//! The linear probe: what a linear classifier reads from frozen features.
//!
//! Multinomial logistic regression on standardised features by full-batch L-BFGS to convergence (the protocol of Kornblith et al. 2019,
//! arXiv 1805.08974, and of CLIP's evaluation): the L2 strength is chosen on a tenth of the training rows, then the
//! regression is fitted to all of them. Test labels are read once, for the score.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::curvature::Curvature;
use crate::features::check_same_width;
use crate::lbfgs::{Limits, Outcome, Pairs, minimise};
use crate::logistic::{Logistic, classify};
use crate::standard::{Inputs, Standardisation};
use crate::stored::FeatureRows;
use crate::{EvalError, Factor};

/// The linear probe's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Linear {
    /// L2 strengths λ to choose from, for the mean loss plus `λ/2 ‖W‖²` on standardised features.
    pub strengths: Vec<f64>,
    /// L-BFGS steps at most for each fit: a fit needs 10 to 40.
    pub iterations: usize,
    /// A fit has converged when the decrease that is still to come, by the Gram matrix, is about this share of the loss; or
    /// when the loss falls no more in its rounding.
    pub tolerance: f64,
    /// Chooses the validation tenth.
    pub seed: u64,
}

impl Default for Linear {
    fn default() -> Self {
        Self { strengths: vec![1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6], iterations: 1000, tolerance: 1e-7, seed: 0 }
    }
}

/// What the probe found for one factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearFit {
    /// Accuracy on the test rows, in [0, 1].
    pub accuracy: f64,
    /// The λ that was chosen.
    pub strength: f64,
    /// Validation accuracy of each strength that was tried, strongest first.
    pub path: Vec<(f64, f64)>,
    /// L-BFGS steps of the last fit.
    pub iterations: usize,
    /// Evaluations of loss and gradient of all fits.
    pub evaluations: usize,
    /// Whether the last fit, and each on the way to it, met the tolerance before the cap.
    pub converged: bool,
}

impl Linear {
    /// One probe for each factor, from `train` `[N, D]` (N ≥ 10) to `test` `[M, D]`.
    ///
    /// Features are standardised by the training rows' mean and deviation (floored at 1e-2 of the root mean square
    /// deviation, so that a nearly constant dimension is not blown up); constant dimensions are dropped. Strengths are
    /// tried from the strongest to the weakest, each from the last one's solution, until two in a row are no better on the
    /// validation tenth; the better one, or the stronger of equals, is fitted to all training rows. The result is the same
    /// for any number of threads.
    ///
    /// # Errors
    /// Ill-matched features or labels, values that are not finite, fewer than 10 training rows, strengths that are empty
    /// or negative, features that cannot be read.
    pub fn probe(
        &self,
        train: &dyn FeatureRows,
        test: &dyn FeatureRows,
        factors: &[Factor],
    ) -> Result<Vec<LinearFit>, EvalError> {
        self.check()?;
        train.check("a linear probe's training set", 10)?;
        test.check("a linear probe's test set", 1)?;
        check_same_width(("training features", train.dim()), ("test features", test.dim()))?;
        for factor in factors {
            factor.check(train.rows(), test.rows())?;
        }
        // A random tenth is for validation. Both parts in the order of the rows, which is how they are read.
        let mut fitted: Vec<usize> = (0..train.rows()).collect();
        fitted.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed));
        let mut held_out = fitted.split_off(train.rows() - train.rows() / 10);
        fitted.sort_unstable();
        held_out.sort_unstable();
        let scale = Standardisation::of(train)?;
        let train = Inputs { features: train, scale: &scale };
        let curvature = Curvature::of(train)?;
        let test = Inputs { features: test, scale: &scale };
        factors.iter().map(|factor| self.fit(train, test, &curvature, (&fitted, &held_out), factor)).collect()
    }

    fn check(&self) -> Result<(), EvalError> {
        let setting = |setting, expected, found| Err(EvalError::Setting { setting, expected, found });
        if self.strengths.is_empty() || self.strengths.iter().any(|s| !(s.is_finite() && *s >= 0.0)) {
            return setting("strengths", "one or more numbers of 0 or above", format!("{:?}", self.strengths));
        }
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            return setting("tolerance", "finite and above 0", self.tolerance.to_string());
        }
        if self.iterations == 0 {
            return setting("iterations", "at least 1", self.iterations.to_string());
        }
        Ok(())
    }

    fn fit(
        &self,
        train: Inputs<'_>,
        test: Inputs<'_>,
        curvature: &Curvature,
        (fitted, held_out): (&[usize], &[usize]),
        factor: &Factor,
    ) -> Result<LinearFit, EvalError> {
        let mut names = factor.train.clone();
        names.sort_unstable();
        names.dedup();
        let classes = names.len();
        let target = |row: &usize| names.partition_point(|name| *name < factor.train[*row]) as u32;
        let targets = |rows: &[usize]| rows.iter().map(target).collect::<Vec<u32>>();
        let limits = Limits { iterations: self.iterations, decrease: self.tolerance };
        let mut search = Search::new(limits, curvature, &targets(fitted), classes);

        let mut strengths = self.strengths.clone();
        strengths.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut parameters = vec![0.0; classes * (train.dim() + 1)];
        let mut best = (f64::NEG_INFINITY, strengths[0], parameters.clone());
        let mut path = Vec::new();
        let mut worse = 0;
        let mut converged = true;
        let (of_fitted, of_held_out) = (targets(fitted), targets(held_out));
        for strength in strengths {
            let problem = Logistic { inputs: train, rows: fitted, targets: &of_fitted, classes, strength };
            converged &= search.fit(&problem, &mut parameters)?.converged;
            let accuracy = share_of_equals(&classify(train, held_out, &parameters, classes)?, &of_held_out);
            path.push((strength, accuracy));
            if accuracy > best.0 {
                best = (accuracy, strength, parameters.clone());
                worse = 0;
            } else {
                worse += 1;
            }
            if worse == 2 {
                break;
            }
        }

        let (_, strength, mut parameters) = best;
        let all: Vec<usize> = (0..factor.train.len()).collect();
        let problem = Logistic { inputs: train, rows: &all, targets: &targets(&all), classes, strength };
        let outcome = search.fit(&problem, &mut parameters)?;
        let all: Vec<usize> = (0..factor.test.len()).collect();
        let answers = classify(test, &all, &parameters, classes)?;
        let answers: Vec<u32> = answers.into_iter().map(|class| names[class as usize]).collect();
        Ok(LinearFit {
            accuracy: share_of_equals(&answers, &factor.test),
            strength,
            path,
            iterations: outcome.iterations,
            evaluations: search.evaluations,
            converged: converged && outcome.converged,
        })
    }
}

/// Fits of one factor, each of which begins with what the last one learnt of the curvature.
pub(crate) struct Search<'a> {
    limits: Limits,
    curvature: &'a Curvature,
    /// By logits.
    spread: f64,
    pairs: Pairs,
    /// Of the last fit.
    strength: f64,
    evaluations: usize,
}

impl<'a> Search<'a> {
    pub(crate) fn new(limits: Limits, curvature: &'a Curvature, targets: &[u32], classes: usize) -> Self {
        let spread = spread(targets, classes);
        Self { limits, curvature, spread, pairs: Pairs::default(), strength: 0.0, evaluations: 0 }
    }

    pub(crate) fn fit(&mut self, problem: &Logistic<'_>, parameters: &mut [f64]) -> Result<Outcome, EvalError> {
        let inverse = self.curvature.inverse(self.spread, problem.strength)?;
        self.pairs.stiffen(problem.strength - self.strength, problem.classes * problem.inputs.dim());
        self.strength = problem.strength;
        let evaluations = &mut self.evaluations;
        let outcome = minimise(
            parameters,
            self.limits,
            &mut self.pairs,
            |vector| inverse.apply(vector, problem.classes),
            |at, gradient| {
                *evaluations += 1;
                problem.evaluate(at, gradient)
            },
        )?;
        // p (1 − p) is at most −ln p, so that well fitted rows have as little curvature as loss.
        let others = problem.classes.saturating_sub(1).max(1) as f64;
        self.spread = self.spread.min(outcome.value / others).max(1e-6);
        Ok(outcome)
    }
}

/// The mean eigenvalue of `diag(p) − p pᵀ` on what sums to 0, p being the classes' shares: the curvature by logits where
/// nothing but the shares is known. 1 for one class.
fn spread(targets: &[u32], classes: usize) -> f64 {
    let mut counts = vec![0.0; classes];
    for &target in targets {
        counts[target as usize] += 1.0 / targets.len() as f64;
    }
    let squares: f64 = counts.iter().map(|share| share * share).sum();
    if classes < 2 { 1.0 } else { ((1.0 - squares) / (classes - 1) as f64).max(1e-6) }
}

fn share_of_equals(answers: &[u32], labels: &[u32]) -> f64 {
    answers.iter().zip(labels).filter(|(answer, label)| answer == label).count() as f64 / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;
    use crate::features::tests::{clusters, normal};

    fn noise(rows: usize, classes: u32, seed: u64) -> Vec<u32> {
        normal(rows, 1, seed).values.iter().map(|value| value.to_bits() % classes).collect()
    }

    #[test]
    fn separable_clusters_are_read_and_random_labels_are_not() {
        let (train, train_labels) = clusters(1500, 12, 4, 5.0, 1);
        let (test, test_labels) = clusters(2000, 12, 4, 5.0, 2);
        let factors = [
            Factor::new("class", train_labels, test_labels),
            Factor::new("noise", noise(1500, 5, 3), noise(2000, 5, 4)),
            Factor::new("constant", vec![8; 1500], vec![8; 2000]),
        ];
        let found = Linear::default().probe(&train, &test, &factors).unwrap();
        assert!(found[0].accuracy > 0.995 && found[0].converged, "{:?}", found[0]);
        assert!((found[1].accuracy - 0.2).abs() < 0.04, "{:?}", found[1]);
        assert_eq!(found[2].accuracy, 1.0);
    }

    #[test]
    fn scale_and_shift_of_a_dimension_do_not_matter() {
        let (mut train, train_labels) = clusters(600, 6, 3, 2.0, 5);
        let (mut test, test_labels) = clusters(600, 6, 3, 2.0, 6);
        let factor = [Factor::new("class", train_labels, test_labels)];
        let plain = Linear::default().probe(&train, &test, &factor).unwrap();
        for features in [&mut train, &mut test] {
            for row in features.values.chunks_exact_mut(6) {
                for (dimension, value) in row.iter_mut().enumerate() {
                    *value = *value * (1.0 + dimension as f32) + 16.0 * dimension as f32;
                }
            }
        }
        let moved = Linear::default().probe(&train, &test, &factor).unwrap();
        assert!((plain[0].accuracy - moved[0].accuracy).abs() < 0.004, "{plain:?} against {moved:?}");
        assert!(plain[0].accuracy > 0.75);
    }

    #[test]
    fn a_weak_penalty_loses_where_there_are_few_rows() {
        // 60 rows in 50 dimensions: one direction tells, the rest invites fitting noise.
        let (train, train_labels) = clusters(60, 50, 2, 2.0, 7);
        let (test, test_labels) = clusters(4000, 50, 2, 2.0, 8);
        let factor = [Factor::new("class", train_labels, test_labels)];
        let with = |strength: f64| {
            let probe = Linear { strengths: vec![strength], ..Linear::default() };
            probe.probe(&train, &test, &factor).unwrap()[0].accuracy
        };
        assert!(with(0.3) > with(1e-6) + 0.02, "{} against {}", with(0.3), with(1e-6));
    }

    #[test]
    fn the_path_starts_strong_and_the_choice_is_its_best() {
        let (train, train_labels) = clusters(500, 20, 4, 1.5, 9);
        let (test, test_labels) = clusters(500, 20, 4, 1.5, 10);
        let probe = Linear { strengths: vec![1e-4, 10.0, 1e-2], ..Linear::default() };
        let found = probe.probe(&train, &test, &[Factor::new("class", train_labels, test_labels)]).unwrap().remove(0);
        assert!(found.path.is_sorted_by(|a, b| a.0 > b.0) && found.path[0].0 == 10.0);
        let best = found.path.iter().map(|step| step.1).fold(0.0, f64::max);
        let chosen = found.path.iter().find(|step| step.1 == best).unwrap();
        assert_eq!(chosen.0, found.strength);
    }

    #[test]
    fn constant_features_leave_the_commonest_class() {
        let features = Features::new(40, 3, vec![0.1; 120]).unwrap();
        let labels: Vec<u32> = (0..40).map(|row| u32::from(row % 4 == 0)).collect();
        let factor = Factor::new("class", labels.clone(), labels);
        let found = Linear::default().probe(&features, &features, std::slice::from_ref(&factor)).unwrap();
        assert_eq!(found[0].accuracy, 0.75);
        assert_eq!(found[0].accuracy, factor.chance());
    }

    #[test]
    fn threads_change_no_bit() {
        let (train, train_labels) = clusters(1200, 30, 5, 1.0, 11);
        let (test, test_labels) = clusters(300, 30, 5, 1.0, 12);
        let factor = [Factor::new("class", train_labels, test_labels)];
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Linear::default().probe(&train, &test, &factor).unwrap())
        };
        assert_eq!(in_pool(1), in_pool(2));
    }

    #[test]
    fn refuses_settings_and_sets_that_cannot_work() {
        let (train, labels) = clusters(20, 4, 2, 1.0, 13);
        let factor = [Factor::new("class", labels.clone(), labels)];
        let empty = Linear { strengths: vec![], ..Linear::default() };
        assert!(matches!(empty.probe(&train, &train, &factor), Err(EvalError::Setting { setting: "strengths", .. })));
        let few = train.select(&[0, 1, 2]);
        assert!(matches!(
            Linear::default().probe(&few, &train, &factor),
            Err(EvalError::TooFewRows { needed: 10, found: 3, .. })
        ));
    }
}
