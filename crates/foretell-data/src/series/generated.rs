//! Generated series: a trend, a season of some shape, and a state that comes and goes. They need no download, their factors are exact,
//! and phase, height and noise, which tell nothing, are drawn for each.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::images::labels::Factor;
use crate::random::{Stream, rng};
use crate::series::SeriesSample;
use crate::{DataError, Part};

/// How many series, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WavesConfig {
    /// Series to learn from.
    pub train: usize,
    /// Series to evaluate on.
    pub held_out: usize,
    /// Steps of each.
    pub steps: usize,
    /// Share of the steps that lie in holes, a tenth of the series long at most.
    pub holes: f64,
    /// Another seed, other series.
    pub seed: u64,
}

impl Default for WavesConfig {
    fn default() -> Self {
        Self { train: 4_000, held_out: 1_000, steps: 320, holes: 0.02, seed: 0 }
    }
}

impl WavesConfig {
    pub(super) fn check(&self) -> Result<(), DataError> {
        let wrong = |name: &'static str, expected, found: String| {
            Err(DataError::BadSetting { name: name.into(), expected, found })
        };
        if !(16..=1 << 20).contains(&self.steps) {
            return wrong("steps", "16 to 1048576", self.steps.to_string());
        }
        if !(0.0..=0.5).contains(&self.holes) {
            return wrong("holes", "a share of 0 to 0.5", self.holes.to_string());
        }
        Ok(())
    }
}

const TRENDS: [&str; 3] = ["falling", "level", "rising"];
const SEASONS: [(&str, f32); 4] = [("6 cycles", 6.0), ("9 cycles", 9.0), ("14 cycles", 14.0), ("20 cycles", 20.0)];
const SHAPES: [&str; 4] = ["sine", "square", "saw", "pulses"];
const STATES: [&str; 4] = ["calm", "noisy", "bursts", "steps"];

/// The factors, in the order of the labels.
pub(crate) fn factors() -> Vec<Factor> {
    vec![
        Factor::named("trend", &TRENDS),
        Factor::named("season", &SEASONS.map(|(name, _)| name)),
        Factor::named("shape", &SHAPES),
        Factor::named("state", &STATES),
    ]
}

pub(crate) fn name(part: Part, index: usize) -> String {
    match part {
        Part::Train => format!("train/{index:06}"),
        Part::HeldOut => format!("held-out/{index:06}"),
    }
}

/// The labels alone, as [`generate`] draws them.
pub(crate) fn labels(config: &WavesConfig, part: Part, index: usize) -> [u32; 4] {
    draw_labels(&mut place(config, part, index))
}

fn place(config: &WavesConfig, part: Part, index: usize) -> ChaCha8Rng {
    rng(config.seed, Stream::Scene, part as u64, index as u64)
}

fn draw_labels(rng: &mut ChaCha8Rng) -> [u32; 4] {
    [TRENDS.len(), SEASONS.len(), SHAPES.len(), STATES.len()].map(|classes| rng.random_range(0..classes as u32))
}

/// A cycle of a shape at a phase in turns, of mean 0 and height about 1.
fn cycle(shape: u32, phase: f32) -> f32 {
    let phase = phase - phase.floor();
    match shape {
        0 => (phase * std::f32::consts::TAU).sin(),
        1 => {
            if phase < 0.5 {
                0.9
            } else {
                -0.9
            }
        }
        2 => 1.6 * (2.0 * phase - 1.0) / 1.6,
        _ => 2.4 * (-((phase - 0.5) / 0.07).powi(2)).exp() - 0.3,
    }
}

/// One series, before it is standardised.
pub(crate) fn generate(config: &WavesConfig, part: Part, index: usize) -> SeriesSample {
    let mut rng = place(config, part, index);
    let [trend, season, shape, state] = draw_labels(&mut rng);
    let steps = config.steps;
    let (phase, height) = (rng.random_range(0.0..1.0_f32), rng.random_range(0.7..1.4_f32));
    let slope = (trend as f32 - 1.0) * rng.random_range(0.8..2.4_f32);
    let level = rng.random_range(-1.0..1.0_f32);
    // The last digit of the season is no matter: its cycles are not whole.
    let cycles = SEASONS[season as usize].1 * rng.random_range(0.95..1.05_f32);
    let (from, length) = (rng.random_range(0.1..0.6_f32), rng.random_range(0.15..0.3_f32));
    let jump = if rng.random_range(0..2) == 0 { -1.0 } else { 1.0 } * rng.random_range(1.2..2.0_f32);
    let mut values: Vec<f32> = (0..steps)
        .map(|step| {
            let time = step as f32 / steps as f32;
            let noise: f32 = StandardNormal.sample(&mut rng);
            let inside = (from..from + length).contains(&time);
            let (noise, level) = match state {
                0 => (0.15 * noise, level),
                1 => (0.55 * noise, level),
                2 => (if inside { 1.0 } else { 0.15 } * noise, level),
                _ => (0.15 * noise, if inside { level + jump } else { level }),
            };
            level + slope * (time - 0.5) + height * cycle(shape, phase + cycles * time) + noise
        })
        .collect();
    let longest = (steps / 10).max(1);
    let mut left = (config.holes * steps as f64 * f64::from(rng.random_range(0.0..2.0_f32))) as usize;
    while left > 0 {
        let length = rng.random_range(1..=longest.min(left));
        let start = rng.random_range(0..steps - length);
        values[start..start + length].fill(f32::NAN);
        left -= length;
    }
    SeriesSample::new(1, values)
}
