//! Supervision of the context's own tokens (V-JEPA 2.1, arXiv 2603.14482, equation 3): dense features at some cost to global ones.

use foretell_nn::positions::Grid;
use foretell_ops::Sets;
use serde::{Deserialize, Serialize};

use crate::Clock;

/// How the context's tokens are supervised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContextLoss {
    /// Its weight beside the loss of what is hidden once it has risen; 0 for none.
    pub weight: f64,
    /// Share of the run's steps until it begins to rise.
    pub from: f64,
    /// Share of the run's steps at which it has risen.
    pub to: f64,
    /// Whether a token counts by `1 / √d`, d being its distance in the grid from the nearest hidden one.
    pub by_distance: bool,
}

impl Default for ContextLoss {
    /// The released code's steps 15,000 and 30,000, as shares of its 135,000: absolute steps would never come in a short run.
    fn default() -> Self {
        Self { weight: 0.5, from: 1.0 / 9.0, to: 2.0 / 9.0, by_distance: true }
    }
}

impl ContextLoss {
    /// The weight in a step.
    pub fn at(&self, clock: &Clock) -> f64 {
        let through = (clock.step.saturating_sub(1)) as f64 / clock.total.max(1) as f64;
        let risen = if through >= self.to { 1.0 } else { (through - self.from) / (self.to - self.from).max(1e-9) };
        self.weight * risen.clamp(0.0, 1.0)
    }

    /// An error in a sentence if a setting is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let weight = self.weight >= 0.0 && self.weight.is_finite();
        if weight && self.from >= 0.0 && self.from <= self.to && self.to <= 1.0 {
            return Ok(());
        }
        Err(format!(
            "`model.context_loss` needs a weight of 0 or more and 0 ≤ from ≤ to ≤ 1, found a weight of {}, from {} to {}",
            self.weight, self.from, self.to
        ))
    }
}

/// `1 / √d` of each token of the context, `[Σ N_c]`, d being the Euclidean distance in the grid from the nearest token that is
/// predicted of the same clip; both are given as places, ascending.
pub fn nearness(grid: Grid, context: (&[u32], &Sets), targets: (&[u32], &Sets)) -> Vec<f32> {
    let mut weights = Vec::with_capacity(context.0.len());
    for set in 0..context.1.count() {
        let mut hidden = vec![false; grid.len()];
        targets.0[targets.1.range(set)].iter().for_each(|place| hidden[*place as usize] = true);
        let squares = squared_distances(grid, &hidden);
        let of = |place: &u32| 1.0 / f64::from(squares[*place as usize]).sqrt().sqrt();
        weights.extend(context.0[context.1.range(set)].iter().map(|place| of(place) as f32));
    }
    weights
}

/// Further than any two tokens are apart: nothing is hidden.
const FAR: u32 = 1 << 30;

/// The squared distance of each token from the nearest hidden one, axis by axis: along an axis, each line's least sum of what stands
/// there and the squared way.
fn squared_distances(grid: Grid, hidden: &[bool]) -> Vec<u32> {
    let mut squares: Vec<u32> = hidden.iter().map(|hidden| if *hidden { 0 } else { FAR }).collect();
    let axes = [(grid.cols, 1), (grid.rows, grid.cols), (grid.frames, grid.rows * grid.cols)];
    let mut line = Vec::new();
    for (length, stride) in axes {
        for first in (0..squares.len()).filter(|token| token / stride % length.max(1) == 0) {
            line.clear();
            line.extend((0..length).map(|i| squares[first + i * stride]));
            for i in 0..length {
                let way = |(from, square): (usize, &u32)| square + (i.abs_diff(from) as u32).pow(2);
                squares[first + i * stride] = line.iter().enumerate().map(way).min().unwrap_or(FAR);
            }
        }
    }
    squares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_waits_rises_and_stays() {
        let loss = ContextLoss { weight: 0.5, from: 0.2, to: 0.4, by_distance: true };
        let at = |step| loss.at(&Clock { step, total: 100, batch: 1, health_due: false });
        assert_eq!((at(1), at(21)), (0.0, 0.0));
        assert!((at(31) - 0.25).abs() < 1e-9);
        assert_eq!((at(41), at(100)), (0.5, 0.5));
        let fixed = ContextLoss { from: 0.0, to: 0.0, ..loss };
        assert_eq!(fixed.at(&Clock { step: 1, total: 100, batch: 1, health_due: false }), 0.5);
        assert!(ContextLoss { from: 0.5, to: 0.4, ..loss }.check().unwrap_err().contains("`model.context_loss`"));
    }

    #[test]
    fn distances_are_those_of_the_nearest() {
        let grid = Grid { frames: 3, rows: 4, cols: 5 };
        let hidden = [7_u32, 33, 52];
        let (context, target): (Vec<u32>, Vec<u32>) = (0..60).partition(|token| !hidden.contains(token));
        let sets = [Sets::uniform(1, 57), Sets::uniform(1, 3)];
        let found = nearness(grid, (&context, &sets[0]), (&target, &sets[1]));
        for (place, weight) in context.iter().zip(found) {
            let distance = |other: &u32| {
                let (a, b) = (grid.place(*place as usize), grid.place(*other as usize));
                (0..3).map(|axis| (a[axis] as f64 - b[axis] as f64).powi(2)).sum::<f64>().sqrt()
            };
            let nearest = hidden.iter().map(distance).fold(f64::MAX, f64::min);
            assert!((f64::from(weight) - 1.0 / nearest.sqrt()).abs() < 1e-6);
        }
    }
}
