//! Fits of the linear probe against Newton's method in f64, which shares none of their code.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

use crate::curvature::Curvature;
use crate::features::tests::{clusters, normal};
use crate::lbfgs::{Limits, Outcome};
use crate::linear::Search;
use crate::logistic::Logistic;
use crate::standard::{Inputs, Standardisation};
use crate::{Factor, Features, Linear};

/// The probe's fit of features as they are, by way of stronger penalties: its outcome and its loss in f64.
fn fitted(features: &Features, targets: &[u32], classes: usize, strength: f64) -> (Outcome, f64) {
    let scale = Standardisation::none(features);
    let inputs = Inputs { features, scale: &scale };
    let rows: Vec<usize> = (0..features.rows).collect();
    let curvature = Curvature::of(inputs).unwrap();
    let mut search = Search::new(Limits { iterations: 1000, decrease: 1e-9 }, &curvature, targets, classes);
    let mut at = vec![0.0; classes * (features.dim + 1)];
    let mut fit =
        |strength| search.fit(&Logistic { inputs, rows: &rows, targets, classes, strength }, &mut at).unwrap();
    for stronger in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5].into_iter().filter(|stronger| *stronger > strength) {
        fit(stronger);
    }
    let outcome = fit(strength);
    (outcome, loss(features, targets, classes, strength, &at))
}

fn probabilities(row: &[f32], at: &[f64], classes: usize) -> Vec<f64> {
    let dim = row.len();
    let logit = |class: usize| {
        let weights = &at[class * dim..(class + 1) * dim];
        at[classes * dim + class] + weights.iter().zip(row).map(|(weight, x)| weight * f64::from(*x)).sum::<f64>()
    };
    let logits: Vec<f64> = (0..classes).map(logit).collect();
    let largest = logits.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    logits.iter().map(|logit| (logit - largest).exp() / total).collect()
}

fn loss(features: &Features, targets: &[u32], classes: usize, strength: f64, at: &[f64]) -> f64 {
    let rows = features.values.chunks_exact(features.dim).zip(targets);
    let sum: f64 = rows.map(|(row, target)| -probabilities(row, at, classes)[*target as usize].ln()).sum();
    let square: f64 = at[..classes * features.dim].iter().map(|weight| weight * weight).sum();
    sum / features.rows as f64 + 0.5 * strength * square
}

/// The least loss: Newton's method with the whole Hessian, steps halved until the loss falls.
fn newton(features: &Features, targets: &[u32], classes: usize, strength: f64) -> f64 {
    let (dim, size) = (features.dim, classes * (features.dim + 1));
    let place = |class: usize, d: usize| if d == dim { classes * dim + class } else { class * dim + d };
    let mut at = vec![0.0; size];
    let mut value = loss(features, targets, classes, strength, &at);
    for _ in 0..200 {
        let mut hessian = Mat::<f64>::zeros(size, size);
        let mut gradient = Mat::<f64>::zeros(size, 1);
        for (row, target) in features.values.chunks_exact(dim).zip(targets) {
            let p = probabilities(row, &at, classes);
            let x = |d: usize| if d == dim { 1.0 } else { f64::from(row[d]) };
            for a in 0..classes {
                let residual = p[a] - f64::from(u8::from(*target as usize == a));
                for d in 0..=dim {
                    gradient[(place(a, d), 0)] += residual * x(d) / features.rows as f64;
                    for b in 0..classes {
                        let curvature = if a == b { p[a] * (1.0 - p[a]) } else { -p[a] * p[b] } / features.rows as f64;
                        for e in 0..=dim {
                            hessian[(place(a, d), place(b, e))] += curvature * x(d) * x(e);
                        }
                    }
                }
            }
        }
        for i in 0..size {
            if i < classes * dim {
                hessian[(i, i)] += strength;
                gradient[(i, 0)] += strength * at[i];
            } else {
                // The biases' mean is free.
                hessian[(i, i)] += 1e-10;
            }
        }
        let step = hessian.llt(Side::Lower).unwrap().solve(&gradient);
        let mut share = 1.0;
        loop {
            let trial: Vec<f64> = at.iter().enumerate().map(|(i, at)| at - share * step[(i, 0)]).collect();
            let below = loss(features, targets, classes, strength, &trial);
            if below < value {
                (at, value) = (trial, below);
                break;
            }
            share *= 0.5;
            if share < 1e-9 {
                return value;
            }
        }
    }
    value
}

#[test]
fn the_optimum_is_newtons() {
    let noisy = |rows: usize, classes: u32| -> Vec<u32> {
        normal(rows, 1, 9).values.iter().map(|value| value.to_bits() % classes).collect()
    };
    // Tall, with more dimensions than rows (separable: the penalty alone keeps the weights finite), and clusters apart.
    let (apart, of_apart) = clusters(90, 4, 3, 8.0, 3);
    let cases = [(normal(300, 6, 1), noisy(300, 4), 4), (normal(20, 30, 2), noisy(20, 2), 2), (apart, of_apart, 3)];
    for (features, targets, classes) in cases {
        for strength in [1e-1, 1e-3, 1e-5] {
            let (outcome, found) = fitted(&features, &targets, classes, strength);
            let right = newton(&features, &targets, classes, strength);
            let (rows, dim) = (features.rows, features.dim);
            let what = format!("{rows} x {dim}, {strength}: {found} and {right}, {outcome:?}");
            assert!(outcome.converged && (found - right).abs() <= 1e-6 * right, "{what}");
        }
    }
}

#[test]
fn badly_conditioned_features_need_few_steps() {
    // Dimensions that follow one another: the Gram matrix's condition is above 1e8, the features' above 1e4.
    let mut features = normal(600, 8, 4);
    for row in features.values.chunks_exact_mut(8) {
        let first = row[0];
        row.iter_mut().enumerate().skip(1).for_each(|(d, value)| *value = first + *value * 10f32.powf(-0.6 * d as f32));
    }
    let targets: Vec<u32> =
        features.values.chunks_exact(8).map(|row| u32::from(row[3] - row[0] + 0.01 * row[1] > 0.0)).collect();
    let (outcome, found) = fitted(&features, &targets, 2, 1e-6);
    let right = newton(&features, &targets, 2, 1e-6);
    assert!(outcome.converged && outcome.iterations < 150, "{outcome:?}");
    assert!((found - right).abs() <= 1e-4 * right, "{found} and {right}, {outcome:?}");
}

#[test]
fn one_class_constant_columns_and_a_cap_that_is_met() {
    let (mut features, labels) = clusters(200, 5, 3, 1.0, 5);
    features.values.chunks_exact_mut(5).for_each(|row| row[2] = 4.0);
    let factors = [Factor::new("class", labels.clone(), labels), Factor::new("one", vec![3; 200], vec![3; 200])];
    let found = Linear::default().probe(&features, &features, &factors).unwrap();
    assert!(found.iter().all(|fit| fit.converged) && found[1].accuracy == 1.0, "{found:?}");
    let capped = Linear { iterations: 1, ..Linear::default() };
    assert!(!capped.probe(&features, &features, &factors).unwrap()[0].converged);
}
