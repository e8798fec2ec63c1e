//! L-BFGS: minimises a smooth function from its value and gradient.
//!
//! Liu & Nocedal 1989, two-loop recursion from an initial inverse Hessian that the caller knows; backtracking on Armijo's condition with quadratic interpolation. All in f64
//! and sequential. For convex functions, which keep `sᵀy > 0`, that is all the line search needs.

use std::collections::VecDeque;

/// Pairs of steps and gradient differences that approximate the Hessian.
const MEMORY: usize = 10;
/// Armijo's share of the slope's promise.
const SUFFICIENT: f64 = 1e-4;
/// Shortenings of one step before the search gives up.
const SHORTENINGS: usize = 20;
/// Rounding of the objective, relative: rises below it are not rises.
const NOISE: f64 = 1e-8;
/// Steps over which a value that has fallen by no more than a tenth of [`NOISE`] has ended.
const STILL: usize = 10;

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Steps at most.
    pub(crate) iterations: usize,
    /// Done when `gᵀ H g`, twice the decrease that the initial H promises, is no larger share of the value.
    pub(crate) decrease: f64,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// Steps that were taken.
    pub(crate) iterations: usize,
    /// Whether the decrease fell below its limit, or the value ended in its rounding.
    pub(crate) converged: bool,
    /// The function's value.
    pub(crate) value: f64,
}

/// Moves `point` to a minimum of `function`, which writes its gradient and returns its value, or fails. `inverse` multiplies a
/// vector by the initial inverse Hessian. What `pairs` know of the function is used, and they learn more.
pub(crate) fn minimise<E>(
    point: &mut [f64],
    limits: Limits,
    pairs: &mut Pairs,
    inverse: impl Fn(&mut [f64]),
    mut function: impl FnMut(&[f64], &mut [f64]) -> Result<f64, E>,
) -> Result<Outcome, E> {
    let size = point.len();
    let mut gradient = vec![0.0; size];
    let mut value = function(point, &mut gradient)?;
    let mut trial = vec![0.0; size];
    let mut trial_gradient = vec![0.0; size];
    let mut room = vec![0.0; size];
    let mut values = VecDeque::with_capacity(STILL);
    for iteration in 0..=limits.iterations {
        room.copy_from_slice(&gradient);
        inverse(&mut room);
        if dot(&room, &gradient) <= limits.decrease * value.abs() {
            return Ok(Outcome { iterations: iteration, converged: true, value });
        }
        if values.len() == STILL && values.pop_front().is_some_and(|before| before - value <= 0.1 * NOISE * value.abs())
        {
            return Ok(Outcome { iterations: iteration, converged: true, value });
        }
        values.push_back(value);
        if iteration == limits.iterations {
            break;
        }
        let mut direction = pairs.descent(&gradient, &inverse);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Only rounding can turn the direction uphill: forget the curvature.
            pairs.0.clear();
            direction = pairs.descent(&gradient, &inverse);
            slope = dot(&direction, &gradient);
        }
        let mut step = 1.0;
        let mut found = None;
        for _ in 0..SHORTENINGS {
            for ((trial, &from), &along) in trial.iter_mut().zip(&*point).zip(&direction) {
                *trial = from + step * along;
            }
            let trial_value = function(&trial, &mut trial_gradient)?;
            if trial_value <= value + SUFFICIENT * step * slope + NOISE * value.abs() {
                found = Some(trial_value);
                break;
            }
            // The minimum of the parabola through both values and the slope, kept within reason.
            let parabola = -slope * step * step / (2.0 * (trial_value - value - slope * step));
            step = if parabola.is_finite() { parabola.clamp(0.1 * step, 0.5 * step) } else { 0.1 * step };
        }
        let Some(trial_value) = found else {
            return Ok(Outcome { iterations: iteration, converged: false, value });
        };
        pairs.learn(Pair::new(&trial, point, &trial_gradient, &gradient));
        point.copy_from_slice(&trial);
        std::mem::swap(&mut gradient, &mut trial_gradient);
        value = trial_value;
    }
    Ok(Outcome { iterations: limits.iterations, converged: false, value })
}

/// The last steps, which know the curvature along them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pairs(VecDeque<Pair>);

impl Pairs {
    /// `more / 2 ‖·‖²` of the first `of` coordinates is added to the function.
    pub(crate) fn stiffen(&mut self, more: f64, of: usize) {
        for pair in &mut self.0 {
            add(&mut pair.change[..of], more, &pair.step[..of]);
            pair.curvature = dot(&pair.step, &pair.change);
        }
        self.0.retain(Pair::is_sound);
    }

    fn learn(&mut self, pair: Pair) {
        if pair.is_sound() {
            if self.0.len() == MEMORY {
                self.0.pop_front();
            }
            self.0.push_back(pair);
        }
    }

    /// `−H g` by the two-loop recursion, the initial H scaled by the last pair's curvature.
    fn descent(&self, gradient: &[f64], inverse: impl Fn(&mut [f64])) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
        let mut shares = Vec::with_capacity(self.0.len());
        for pair in self.0.iter().rev() {
            let share = dot(&pair.step, &direction) / pair.curvature;
            add(&mut direction, -share, &pair.change);
            shares.push(share);
        }
        inverse(&mut direction);
        if let Some(last) = self.0.back() {
            let mut along = last.change.clone();
            inverse(&mut along);
            let scale = last.curvature / dot(&last.change, &along);
            for entry in &mut direction {
                *entry *= scale;
            }
        }
        for (pair, share) in self.0.iter().zip(shares.into_iter().rev()) {
            let overlap = dot(&pair.change, &direction) / pair.curvature;
            add(&mut direction, share - overlap, &pair.step);
        }
        direction
    }
}

/// A step `s` and the change `y` of the gradient over it.
#[derive(Debug, Clone)]
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    curvature: f64,
}

impl Pair {
    fn new(to: &[f64], from: &[f64], gradient_to: &[f64], gradient_from: &[f64]) -> Self {
        let difference = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
        let (step, change) = (difference(to, from), difference(gradient_to, gradient_from));
        let curvature = dot(&step, &change);
        Self { step, change, curvature }
    }

    /// Whether rounding has left something of the curvature.
    fn is_sound(&self) -> bool {
        self.curvature > 1e-12 * (dot(&self.step, &self.step) * dot(&self.change, &self.change)).sqrt()
    }
}

/// Eight running sums: the order is fixed, and the processor need not wait for one addition to start the next.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (whole_a, rest_a) = a.as_chunks::<8>();
    let (whole_b, rest_b) = b.as_chunks::<8>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f64>()
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += factor * what;
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Outcome, Pairs, dot};

    /// No curvature is known; steps begin short.
    fn shorten(vector: &mut [f64]) {
        for entry in vector {
            *entry *= 0.01;
        }
    }

    /// A function that does not fail.
    fn minimise(point: &mut [f64], limits: Limits, mut f: impl FnMut(&[f64], &mut [f64]) -> f64) -> Outcome {
        let function = |at: &[f64], gradient: &mut [f64]| Ok::<f64, ()>(f(at, gradient));
        super::minimise(point, limits, &mut Pairs::default(), shorten, function).unwrap()
    }

    const LIMITS: Limits = Limits { iterations: 300, decrease: 1e-18 };

    #[test]
    fn an_ill_conditioned_parabola_is_solved() {
        let scales: Vec<f64> = (0..30).map(|index| 10f64.powf(f64::from(index) / 10.0)).collect();
        let mut point = vec![1.0; 30];
        let limits = Limits { iterations: 300, decrease: 1e-12 };
        let outcome = minimise(&mut point, limits, |point, gradient| {
            // The limit is a share of the value.
            let mut value = 1e-6;
            for index in 0..30 {
                let away = point[index] - index as f64;
                gradient[index] = scales[index] * away;
                value += 0.5 * scales[index] * away * away;
            }
            value
        });
        assert!(outcome.converged, "{outcome:?}");
        for (index, found) in point.iter().enumerate() {
            assert!((found - index as f64).abs() < 1e-6);
        }
    }

    #[test]
    fn the_banana_is_followed_to_its_end() {
        let mut point = vec![-1.2, 1.0];
        let outcome = minimise(&mut point, LIMITS, |p, gradient| {
            let (a, b) = (1.0 - p[0], p[1] - p[0] * p[0]);
            gradient[0] = -2.0 * a - 400.0 * p[0] * b;
            gradient[1] = 200.0 * b;
            a * a + 100.0 * b * b
        });
        assert!(outcome.converged && (point[0] - 1.0).abs() < 1e-6 && (point[1] - 1.0).abs() < 1e-6, "{point:?}");
    }

    #[test]
    fn the_cap_is_kept_and_told() {
        let mut point = vec![-1.2, 1.0];
        let limits = Limits { iterations: 3, decrease: 1e-18 };
        let outcome = minimise(&mut point, limits, |p, gradient| {
            gradient[0] = 4.0 * p[0].powi(3);
            gradient[1] = 2.0 * p[1];
            p[0].powi(4) + p[1].powi(2)
        });
        assert_eq!((outcome.iterations, outcome.converged), (3, false));
    }

    #[test]
    fn a_minimum_needs_no_step() {
        let mut point = vec![0.0; 4];
        let outcome = minimise(&mut point, LIMITS, |point, gradient| {
            gradient.copy_from_slice(point);
            0.5 * dot(point, point)
        });
        assert_eq!((outcome.iterations, outcome.converged), (0, true));
    }

    #[test]
    fn what_fails_ends_the_search() {
        let mut calls = 0;
        let outcome = super::minimise(&mut [1.0], LIMITS, &mut Pairs::default(), shorten, |point, gradient| {
            calls += 1;
            gradient[0] = 2.0 * point[0];
            if calls == 2 { Err("no more") } else { Ok(point[0] * point[0]) }
        });
        assert_eq!((outcome.unwrap_err(), calls), ("no more", 2));
    }
}
