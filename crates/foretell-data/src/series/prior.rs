//! The prior of LaT-PFN (Verdenius et al., 2024, arXiv 2405.10093): families of synthetic series that share what made them. A series is
//! trend × seasons × noise; what a family's members have in common is drawn first, then each member around it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::random::{Stream, rng};

/// Numbers that a family is made by: what a summary of its members is to tell.
pub const SHAPE_NUMBERS: usize = 10;
/// Days of a year, a month and a week.
const CALENDAR: [f32; 3] = [365.0, 30.417, 7.0];
/// Harmonics of a season at most, and at least.
const HARMONICS: (usize, usize) = (1, 6);

/// Where seasons come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Periods {
    /// A short and a long one, drawn anew for each family: from 4 steps to half of what is seen and several times that. Data of any rate
    /// are like some family.
    #[default]
    Any,
    /// Those of the calendar, a year, a month and a week, of steps that are so many days: the paper.
    Official,
}

/// Families of series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PriorConfig {
    /// Where seasons come from.
    pub periods: Periods,
    /// Largest height of a season, as a share of the level.
    pub season: f32,
    /// Largest change of the level over a series, as a share of it.
    pub trend: f32,
    /// Largest deviation of the noise, as a share of the level.
    pub noise: f32,
}

impl Default for PriorConfig {
    fn default() -> Self {
        Self { periods: Periods::Any, season: 1.0, trend: 1.5, noise: 0.4 }
    }
}

impl PriorConfig {
    /// An error if a share cannot be.
    pub fn check(&self) -> Result<(), DataError> {
        for (name, value) in [("season", self.season), ("trend", self.trend), ("noise", self.noise)] {
            if !(0.0..=100.0).contains(&value) {
                return Err(DataError::BadSetting {
                    name: name.into(),
                    expected: "0 to 100",
                    found: value.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// A family of series.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its members, each of as many values.
    pub series: Vec<Vec<f32>>,
    /// What it was made by, in 0..=1.
    pub numbers: [f32; SHAPE_NUMBERS],
}

/// Between two bounds, around where the family stands.
fn around(centre: f32, spread: f32, low: f32, high: f32, rng: &mut ChaCha8Rng) -> f32 {
    let noise: f32 = StandardNormal.sample(rng);
    (centre + spread * (high - low) * noise).clamp(low, high)
}

/// Weights of sines and cosines, of squares that sum to 1.
fn harmonics(count: usize, rng: &mut ChaCha8Rng) -> Vec<[f32; 2]> {
    let mut weights: Vec<[f32; 2]> = (1..=count)
        .map(|harmonic| {
            [(); 2].map(|()| <StandardNormal as Distribution<f32>>::sample(&StandardNormal, rng) / harmonic as f32)
        })
        .collect();
    let norm = weights.iter().flatten().map(|weight| weight * weight).sum::<f32>().sqrt().max(1e-6);
    weights.iter_mut().flatten().for_each(|weight| *weight /= norm);
    weights
}

/// A season's value at a phase in turns.
fn season(weights: &[[f32; 2]], phase: f32) -> f32 {
    let angle = |harmonic: usize| std::f32::consts::TAU * harmonic as f32 * phase;
    let of = |(at, weights): (usize, &[f32; 2])| weights[0] * angle(at + 1).sin() + weights[1] * angle(at + 1).cos();
    weights.iter().enumerate().map(of).sum()
}

impl PriorConfig {
    /// The family of a place in a run: `members` series of `steps` values.
    pub fn family(&self, steps: usize, members: usize, seed: u64, step: u64, index: u64) -> Family {
        let mut rng = rng(seed, Stream::Prior, step, index);
        let mut numbers = [0.0; SHAPE_NUMBERS];
        let rng = &mut rng;
        let unit = |rng: &mut ChaCha8Rng| rng.random_range(0.0..1.0_f32);
        // Periods in steps.
        let periods: Vec<f32> = match self.periods {
            Periods::Any => {
                let (low, high) = (4.0_f32, (steps as f32 / 3.0).max(5.0));
                let share = unit(rng);
                let short = (low.ln() + (high.ln() - low.ln()) * share).exp();
                // Whole steps as often as not: clocks and calendars are whole.
                let short = if unit(rng) < 0.7 { short.round() } else { short };
                let times = [2.0, 7.0, 4.3, 12.0, 1.7][rng.random_range(0..5)];
                numbers[0] = share;
                vec![short, short * times]
            }
            Periods::Official => {
                // Steps are so many days that a series lasts between a month and three years.
                let share = unit(rng);
                let days = (0.1_f32.ln() + (4.5_f32.ln() - 0.1_f32.ln()) * share).exp();
                numbers[0] = share;
                CALENDAR.iter().map(|period| period / days).collect()
            }
        };
        let heights: Vec<f32> =
            periods.iter().map(|_| if unit(rng) < 0.25 { 0.0 } else { unit(rng) * self.season }).collect();
        let weights: Vec<Vec<[f32; 2]>> = periods
            .iter()
            .map(|_| {
                let count = rng.random_range(HARMONICS.0..HARMONICS.1);
                harmonics(count, rng)
            })
            .collect();
        let linear = if unit(rng) < 0.4 { 0.0 } else { (2.0 * unit(rng) - 1.0) * self.trend };
        let growth = if unit(rng) < 0.7 { 0.0 } else { (2.0 * unit(rng) - 1.0) * 0.7 };
        let noise = unit(rng).powi(2) * self.noise;
        // Weibull's shape, from long tails to none.
        let shape = (0.8_f32.ln() + (5.0_f32.ln() - 0.8_f32.ln()) * unit(rng)).exp();
        let persistence = if unit(rng) < 0.5 { 0.0 } else { unit(rng) * 0.95 };
        for (number, value) in numbers[1..].iter_mut().zip([
            heights[0] / self.season.max(1e-6),
            heights[1] / self.season.max(1e-6),
            heights.get(2).copied().unwrap_or(0.0) / self.season.max(1e-6),
            0.5 + linear / (2.0 * self.trend.max(1e-6)),
            0.5 + growth / 1.4,
            noise / self.noise.max(1e-6),
            (shape.ln() - 0.8_f32.ln()) / (5.0_f32.ln() - 0.8_f32.ln()),
            persistence,
            weights[0].len() as f32 / HARMONICS.1 as f32,
        ]) {
            *number = value.clamp(0.0, 1.0);
        }
        let together = unit(rng);
        let series = (0..members)
            .map(|_| {
                let heights: Vec<f32> = heights
                    .iter()
                    .map(|height| {
                        if *height == 0.0 { 0.0 } else { around(*height, 0.08, 0.0, 2.0 * self.season.max(1e-6), rng) }
                    })
                    .collect();
                // Members of most families are in step, as hours of the day are.
                let phase = if together < 0.75 { 0.0 } else { unit(rng) };
                let linear = around(linear, 0.08, -2.0 * self.trend, 2.0 * self.trend + 1e-6, rng);
                let growth = around(growth, 0.05, -1.0, 1.0, rng);
                let noise = around(noise, 0.05, 0.0, 2.0 * self.noise + 1e-6, rng);
                let offset = unit(rng);
                let mut state = 0.0;
                // The median of Weibull's distribution is 1, as in the released prior.
                let scale = 1.0 / std::f32::consts::LN_2.powf(1.0 / shape);
                (0..steps)
                    .map(|at| {
                        let time = at as f32 / steps.max(1) as f32;
                        let level = (1.0 + linear * (time - offset)) * (growth * (time - offset)).exp();
                        let seasons: f32 = periods
                            .iter()
                            .zip(&heights)
                            .zip(&weights)
                            .map(|((period, height), weights)| {
                                1.0 + height * season(weights, phase + at as f32 / period)
                            })
                            .product();
                        let uniform = rng.random_range(f32::EPSILON..1.0_f32);
                        let weibull = scale * (-uniform.ln()).powf(1.0 / shape);
                        state = persistence * state
                            + (1.0 - persistence * persistence).sqrt() * (weibull - 1.0).clamp(-4.0, 8.0);
                        level * seasons + noise * state
                    })
                    .collect()
            })
            .collect();
        Family { series, numbers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_function_of_its_place_and_finite() {
        for periods in [Periods::Any, Periods::Official] {
            let prior = PriorConfig { periods, ..PriorConfig::default() };
            for index in 0..200 {
                let family = prior.family(120, 5, 1, 2, index);
                assert_eq!(family, prior.family(120, 5, 1, 2, index));
                assert!(family.series.iter().flatten().all(|value| value.is_finite()), "{periods:?} {index}");
                assert!(family.numbers.iter().all(|number| (0.0..=1.0).contains(number)), "{:?}", family.numbers);
                assert!(family.series.len() == 5 && family.series.iter().all(|series| series.len() == 120));
            }
            assert_ne!(prior.family(120, 5, 1, 2, 0), prior.family(120, 5, 1, 3, 0));
        }
    }

    /// Members of one family are more alike than those of different ones: otherwise context series would tell nothing.
    #[test]
    fn members_of_a_family_are_alike() {
        let prior = PriorConfig::default();
        let correlation = |a: &[f32], b: &[f32]| {
            let centred = |x: &[f32]| {
                let mean = x.iter().sum::<f32>() / x.len() as f32;
                x.iter().map(|v| v - mean).collect::<Vec<f32>>()
            };
            let (a, b) = (centred(a), centred(b));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt().max(1e-9)
        };
        let families: Vec<Family> = (0..60).map(|index| prior.family(96, 2, 3, 0, index)).collect();
        let within: f32 = families.iter().map(|f| correlation(&f.series[0], &f.series[1])).sum::<f32>() / 60.0;
        let across: f32 =
            families.windows(2).map(|f| correlation(&f[0].series[0], &f[1].series[0])).sum::<f32>() / 59.0;
        assert!(within > 0.4 && across.abs() < 0.25, "{within} {across}");
    }
}
