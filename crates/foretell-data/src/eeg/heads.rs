//! Generated EEG: sources at known places in a head, alpha that comes and goes, blinks. It needs no download, and what lies behind every
//! window is known.

use std::f32::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::Part;
use crate::eeg::config::EegConfig;
use crate::eeg::montage::place;
use crate::images::labels::Factor;
use crate::random::{Stream, rng};

/// How many windows, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeadsConfig {
    /// Windows to learn from.
    pub train: usize,
    /// Windows to evaluate on, of other subjects.
    pub held_out: usize,
    /// Another seed, other heads.
    pub seed: u64,
}

impl Default for HeadsConfig {
    fn default() -> Self {
        Self { train: 3_000, held_out: 1_000, seed: 0 }
    }
}

/// The electrodes of the 10–20 system.
pub(crate) const CHANNELS: [&str; 19] = [
    "Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1", "O2",
];
/// Where the source may lie, and the electrode above it.
const SOURCES: [(&str, &str); 6] = [
    ("left frontal", "F3"),
    ("right frontal", "F4"),
    ("left central", "C3"),
    ("right central", "C4"),
    ("left parietal", "P3"),
    ("right parietal", "P4"),
];
/// Its rhythm, in Hz.
const RHYTHMS: [(&str, f32, f32); 3] = [("theta", 5.0, 7.0), ("low beta", 14.0, 18.0), ("high beta", 22.0, 28.0)];
const STATES: [&str; 2] = ["eyes open", "eyes closed"];
const BLINKS: [&str; 2] = ["no", "yes"];

/// Subjects of either part.
pub(crate) const SUBJECTS: [u64; 2] = [40, 20];
/// Sources of what goes on besides.
const BESIDES: usize = 16;

pub(crate) fn factors() -> Vec<Factor> {
    vec![
        Factor::named("source", &SOURCES.map(|(name, _)| name)),
        Factor::named("rhythm", &RHYTHMS.map(|(name, ..)| name)),
        Factor::named("state", &STATES),
        Factor::named("blink", &BLINKS),
    ]
}

/// A subject's number: none of one part is in the other.
pub(crate) fn subject(part: Part, index: usize) -> u32 {
    match part {
        Part::Train => (index as u64 % SUBJECTS[0]) as u32,
        Part::HeldOut => (SUBJECTS[0] + index as u64 % SUBJECTS[1]) as u32,
    }
}

pub(crate) fn name(part: Part, index: usize) -> String {
    let part_name = match part {
        Part::Train => "train",
        Part::HeldOut => "held-out",
    };
    format!("{part_name}/subject {:02}, {index:06}", subject(part, index))
}

fn draws(config: &HeadsConfig, part: Part, index: usize) -> ChaCha8Rng {
    rng(config.seed, Stream::Scene, part as u64, index as u64)
}

fn draw_labels(rng: &mut ChaCha8Rng) -> [u32; 4] {
    [SOURCES.len(), RHYTHMS.len(), STATES.len(), BLINKS.len()].map(|classes| rng.random_range(0..classes as u32))
}

/// The labels alone, as [`generate`] draws them.
pub(crate) fn labels(config: &HeadsConfig, part: Part, index: usize) -> [u32; 4] {
    draw_labels(&mut draws(config, part, index))
}

/// What is one person's.
struct Head {
    /// In Hz.
    alpha: f32,
    /// How strong everything is at the scalp.
    gain: f32,
    /// How far the skull spreads a source, as a share of the head's radius.
    spread: f32,
    /// Of an electrode, in µV.
    noise: f32,
}

impl Head {
    fn of(config: &HeadsConfig, subject: u32) -> Self {
        let rng = &mut rng(config.seed, Stream::Scene, 2, subject.into());
        Self {
            alpha: rng.random_range(8.8..11.8),
            gain: rng.random_range(0.7..1.4),
            spread: rng.random_range(0.45..0.65),
            noise: rng.random_range(0.6..1.6),
        }
    }

    /// What an electrode sees of a source below a place of the scalp: most above it, a little of the other sign far away.
    fn seen(&self, electrode: [f32; 3], source: [f32; 3]) -> f32 {
        let square: f32 = electrode.iter().zip(source).map(|(a, b)| (a - b) * (a - b)).sum();
        self.gain * ((-square / (2.0 * self.spread * self.spread)).exp() - 0.06)
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f32 {
    StandardNormal.sample(rng)
}

/// A direction near another one.
fn near(place: [f32; 3], away: f32, rng: &mut ChaCha8Rng) -> [f32; 3] {
    let moved = place.map(|x| x + away * normal(rng));
    let length = moved.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-6);
    moved.map(|x| x / length)
}

/// A share of 0 to 1 that rises and falls, of so many samples.
fn envelope(samples: usize, per_second: f32, rate: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let waves: [(f32, f32); 3] =
        std::array::from_fn(|_| (rng.random_range(0.3..1.0) * per_second, rng.random_range(0.0..TAU)));
    let at = |i: usize| {
        let sum: f32 = waves.iter().map(|(hertz, phase)| (TAU * hertz * i as f32 / rate + phase).sin()).sum();
        (0.5 + 0.35 * sum).clamp(0.0, 1.0)
    };
    (0..samples).map(at).collect()
}

/// A rhythm that wanders a little around its frequency.
fn rhythm(samples: usize, hertz: f32, rate: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut phase = rng.random_range(0.0..TAU);
    (0..samples)
        .map(|_| {
            phase += TAU * hertz / rate * (1.0 + 0.08 * normal(rng));
            phase.sin()
        })
        .collect()
}

/// What falls with frequency: three first-order processes, of unit variance together.
fn pink(samples: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    const KEEPS: [f32; 3] = [0.985, 0.9, 0.5];
    let mut states = KEEPS.map(|_| normal(rng));
    (0..samples)
        .map(|_| {
            for (state, keeps) in states.iter_mut().zip(KEEPS) {
                *state = keeps * *state + (1.0 - keeps * keeps).sqrt() * normal(rng);
            }
            states.iter().sum::<f32>() / 3.0_f32.sqrt()
        })
        .collect()
}

/// One window in µV, `[C, T]`, and its labels.
pub(crate) fn generate(config: &EegConfig, part: Part, index: usize) -> (Vec<f32>, [u32; 4]) {
    let (samples, rate) = (config.samples(), config.rate as f32);
    let rng = &mut draws(&config.heads, part, index);
    let labels = draw_labels(rng);
    let [source, wave, state, blinks] = labels;
    let head = Head::of(&config.heads, subject(part, index));
    let places = config.places();
    let mut values = vec![0.0; places.len() * samples];
    let mut add = |at: [f32; 3], course: &[f32], micro: f32| {
        for (channel, electrode) in values.chunks_exact_mut(samples.max(1)).zip(&places) {
            let seen = micro * head.seen(*electrode, at);
            channel.iter_mut().zip(course).for_each(|(x, y)| *x += seen * y);
        }
    };
    for _ in 0..BESIDES {
        let at = near([0.0, 0.0, 0.4], 1.0, rng);
        add(at, &pink(samples, rng), 7.0);
    }
    // The source: a rhythm in bursts.
    let (_, above) = SOURCES[source as usize];
    let (_, low, high) = RHYTHMS[wave as usize];
    let at = near(place(above).unwrap_or([0.0, 0.0, 1.0]), 0.12, rng);
    let bursts = envelope(samples, 1.0, rate, rng);
    let hertz = rng.random_range(low..high);
    let course: Vec<f32> = rhythm(samples, hertz, rate, rng).iter().zip(&bursts).map(|(x, y)| x * (0.3 + y)).collect();
    add(at, &course, rng.random_range(9.0..14.0));
    // Alpha at the back of the head: strong with closed eyes, and even then it comes and goes.
    let wanes = envelope(samples, 0.5, rate, rng);
    let strength =
        if STATES[state as usize] == "eyes closed" { rng.random_range(11.0..18.0) } else { rng.random_range(1.0..5.0) };
    for above in ["O1", "O2"] {
        let at = near(place(above).unwrap_or([0.0, -1.0, 0.0]), 0.1, rng);
        let course: Vec<f32> =
            rhythm(samples, head.alpha, rate, rng).iter().zip(&wanes).map(|(x, y)| x * (0.2 + y)).collect();
        add(at, &course, strength);
    }
    if blinks == 1 {
        let (middle, wide) = (rng.random_range(0.15..0.85) * samples as f32, rng.random_range(0.05..0.09) * rate);
        let course: Vec<f32> = (0..samples).map(|i| (-((i as f32 - middle) / wide).powi(2) / 2.0).exp()).collect();
        add([0.0, 0.95, -0.3], &course, rng.random_range(90.0..160.0));
    }
    for x in &mut values {
        *x += head.noise * normal(rng);
    }
    (values, labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eeg::bands::{BANDS, band_powers};

    fn config() -> EegConfig {
        EegConfig { channels: CHANNELS.map(str::to_owned).to_vec(), ..EegConfig::default() }
    }

    #[test]
    fn windows_are_a_function_of_their_place_and_have_the_voltages_of_a_head() {
        let config = config();
        let (values, labels_there) = generate(&config, Part::Train, 5);
        assert_eq!((values.clone(), labels_there), generate(&config, Part::Train, 5));
        assert_eq!(labels_there, labels(&config.heads, Part::Train, 5));
        assert_ne!(values, generate(&config, Part::HeldOut, 5).0);
        assert_eq!(values.len(), 19 * 512);
        let deviation = (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt();
        assert!((3.0..60.0).contains(&deviation), "{deviation}");
        let subjects = |part| (0..100).map(|i| subject(part, i)).collect::<std::collections::BTreeSet<_>>();
        assert!(subjects(Part::Train).is_disjoint(&subjects(Part::HeldOut)));
    }

    /// Alpha is stronger behind with closed eyes, and the source's band above the source.
    #[test]
    fn what_the_labels_say_is_there() {
        let config = config();
        let channel = |name: &str| CHANNELS.iter().position(|known| *known == name).unwrap();
        let (mut alpha, mut sides) = ([(0.0, 0.0); 2], [(0.0, 0.0); 2]);
        for index in 0..200 {
            let (values, [source, wave, state, _]) = generate(&config, Part::Train, index);
            let powers = band_powers(&values, 512, 128);
            let of = |name: &str, band: usize| f64::from(powers[channel(name) * BANDS.len() + band]);
            let sum = &mut alpha[state as usize];
            *sum = (sum.0 + of("O1", 2), sum.1 + 1.0);
            // Left and right, in the source's own band.
            let band = if wave == 0 { 1 } else { 3 };
            let sum = &mut sides[source as usize % 2];
            *sum = (sum.0 + of("C3", band) - of("C4", band), sum.1 + 1.0);
        }
        let [open, closed] = alpha.map(|(sum, count)| sum / count);
        assert!(closed > open + 1.0, "{open} {closed}");
        let [left, right] = sides.map(|(sum, count)| sum / count);
        assert!(left > right + 0.2, "{left} {right}");
    }
}
