//! Generated sounds: a tone of some pitch and timbre that comes and goes in a rhythm, and a burst of noise at some place. They need no
//! download, their factors are exact, and the mean spectrum does not tell all of them.

use std::f32::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Part;
use crate::images::labels::Factor;
use crate::random::{Stream, rng};

/// How many sounds, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TonesConfig {
    /// Sounds to learn from.
    pub train: usize,
    /// Sounds to evaluate on.
    pub held_out: usize,
    /// Another seed, other sounds.
    pub seed: u64,
}

impl Default for TonesConfig {
    fn default() -> Self {
        Self { train: 4_000, held_out: 1_000, seed: 0 }
    }
}

/// Samples a second.
pub(super) const RATE: u32 = 8_000;
/// Samples of a sound: 64 moments of 10 ms.
pub(super) const SAMPLES: usize = 63 * 80;

/// Half-octaves from 110 Hz on; where in its class a pitch lies is chance.
const PITCHES: [&str; 8] = ["110", "156", "220", "311", "440", "622", "880", "1245"];
const TIMBRES: [&str; 4] = ["pure", "odd", "full", "vibrato"];
/// Tones in a second.
const RHYTHMS: [&str; 4] = ["steady", "3", "5", "8"];
const PLACES: [&str; 4] = ["first quarter", "second", "third", "last"];

pub(super) fn factors() -> Vec<Factor> {
    vec![
        Factor::named("pitch", &PITCHES),
        Factor::named("timbre", &TIMBRES),
        Factor::named("rhythm", &RHYTHMS),
        Factor::named("event", &PLACES),
    ]
}

pub(super) fn name(part: Part, index: usize) -> String {
    match part {
        Part::Train => format!("train/{index:06}"),
        Part::HeldOut => format!("held-out/{index:06}"),
    }
}

fn place(config: &TonesConfig, part: Part, index: usize) -> ChaCha8Rng {
    rng(config.seed, Stream::Scene, part as u64, index as u64)
}

fn draw_labels(rng: &mut ChaCha8Rng) -> [u32; 4] {
    [PITCHES.len(), TIMBRES.len(), RHYTHMS.len(), PLACES.len()].map(|classes| rng.random_range(0..classes as u32))
}

/// The labels alone, as [`generate`] draws them.
pub(super) fn labels(config: &TonesConfig, part: Part, index: usize) -> [u32; 4] {
    draw_labels(&mut place(config, part, index))
}

/// One sound.
pub(super) fn generate(config: &TonesConfig, part: Part, index: usize) -> Vec<f32> {
    let rng = &mut place(config, part, index);
    let [pitch, timbre, rhythm, event] = draw_labels(rng);
    let mut uniform = |low: f32, high: f32| low + (high - low) * rng.random::<f32>();
    // Classes of pitch meet: 6 half-octave steps of a fifth of an octave to either side at most.
    let pitch = 110.0 * 2.0_f32.powf(f32::midpoint(pitch as f32, uniform(-0.4, 0.4)));
    let (loud, noise) = (uniform(0.1, 0.5), uniform(0.001, 0.01));
    let harmonics: &[(f32, f32)] = match timbre {
        1 => &[(1.0, 1.0), (3.0, 0.5), (5.0, 0.3), (7.0, 0.2)],
        2 => &[(1.0, 1.0), (2.0, 0.8), (3.0, 0.6), (4.0, 0.5)],
        _ => &[(1.0, 1.0)],
    };
    let total: f32 = harmonics.iter().map(|(_, share)| share * share).sum::<f32>().sqrt();
    let phases: Vec<f32> = harmonics.iter().map(|_| uniform(0.0, TAU)).collect();
    let (deep, fast) = if timbre == 3 { (0.06, uniform(10.0, 14.0)) } else { (0.0, 1.0) };
    let (beats, beat) = ([0.0, 3.0, 5.0, 8.0][rhythm as usize] * uniform(0.95, 1.05), uniform(0.0, 1.0));
    let length = SAMPLES as f32;
    let burst = ((event as f32 + uniform(0.15, 0.85)) / 4.0 * length) as usize;
    let (burst_length, burst_loud) = (240_usize, uniform(0.5, 1.0));
    let (mut turn, mut out) = (0.0_f32, Vec::with_capacity(SAMPLES));
    for i in 0..SAMPLES {
        let time = i as f32 / RATE as f32;
        let now = pitch * (1.0 + deep * (TAU * fast * time).sin());
        turn = (turn + now / RATE as f32).fract();
        let voice = |(harmonic, phase): (&(f32, f32), &f32)| harmonic.1 * (TAU * harmonic.0 * turn + phase).sin();
        // What would lie above half the rate is left out.
        let heard = harmonics.iter().zip(&phases).filter(|(harmonic, _)| harmonic.0 * now < 0.48 * RATE as f32);
        let tone: f32 = heard.map(voice).sum::<f32>() / total;
        let gate = if rhythm == 0 {
            0.6
        } else {
            let at = (time * beats + beat).fract();
            // On for a half, with soft edges.
            ((0.5 - at).min(at) * 20.0).clamp(0.0, 1.0)
        };
        let hiss = uniform(-1.0, 1.0);
        let bang = if (burst..burst + burst_length).contains(&i) { burst_loud * 0.4 * uniform(-1.0, 1.0) } else { 0.0 };
        out.push((loud * gate * tone + noise * hiss + bang).clamp(-1.0, 1.0));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_are_functions_of_their_place_and_have_their_labels() {
        let config = TonesConfig::default();
        for index in 0..20 {
            let sound = generate(&config, Part::Train, index);
            assert_eq!(sound, generate(&config, Part::Train, index));
            assert_eq!(sound.len(), SAMPLES);
            assert!(sound.iter().all(|x| x.is_finite() && x.abs() <= 1.0));
            let labels = labels(&config, Part::Train, index);
            assert!(labels.iter().zip(factors()).all(|(label, factor)| (*label as usize) < factor.classes.len()));
        }
        assert_ne!(generate(&config, Part::Train, 0), generate(&config, Part::HeldOut, 0));
    }
}
