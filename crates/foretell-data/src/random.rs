//! All randomness of a run is a function of `(seed, stream, step, index)`: nothing to save, workers may finish in
//! any order, and a run is a function of its config and seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a generator is for. Two streams never share numbers; the values are part of the format of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Weights of a fresh network; `index` counts its tensors or modules.
    Init = 1,
    /// The order of the samples; `step` is the epoch.
    Order = 2,
    /// Crops, flips and colour changes; `index` is the sample's place in the batch.
    Augment = 3,
    /// Masks; `index` is the sample's place in the batch, or `u64::MAX` for what a batch shares.
    Mask = 4,
    /// Random projections (SIGReg's slices).
    Slices = 5,
    /// Generated data; `index` is the sample.
    Scene = 6,
    /// Judgement: probes' internal splits, subsamples.
    Judge = 7,
    /// Episodes of play to learn from; `index` is the episode's place in the batch.
    Play = 8,
    /// Episodes that are held out; `index` is the episode.
    Task = 9,
    /// A planner's candidates; `step` is the step of the episode, `index` the episode.
    Plan = 10,
    /// Play that explores whole layouts; `index` is the layout.
    Explore = 11,
    /// Noise that belongs to a data set: `step` is 0 in the training part and 1 in the held-out part, `index` the sample.
    Noise = 12,
    /// Families of synthetic series that a forecaster learns from; `index` is the family's place in the batch.
    Prior = 27,
    /// An expert's demonstrations: `step` is 0 in the training part and 1 in the held-out part, `index` the demonstration.
    Demonstration = 28,
    /// Episodes that an agent lives through to learn from; `step` is the round, `index` the episode.
    Life = 30,
}

/// The generator of one place in a run.
///
/// ChaCha8 keyed by the four words themselves: any two different places are independent, on every platform.
pub fn rng(seed: u64, stream: Stream, step: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0_u8; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, stream as u64, step, index]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The numbers below `count` in an order that the generator draws.
pub fn shuffled(count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last as u32) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn every_word_of_the_place_matters_and_nothing_else_does() {
        let first = |seed, stream, step, index| rng(seed, stream, step, index).next_u64();
        let here = first(1, Stream::Mask, 2, 3);
        assert_eq!(here, first(1, Stream::Mask, 2, 3));
        assert_ne!(here, first(0, Stream::Mask, 2, 3));
        assert_ne!(here, first(1, Stream::Order, 2, 3));
        assert_ne!(here, first(1, Stream::Mask, 3, 3));
        assert_ne!(here, first(1, Stream::Mask, 2, 2));
    }
}
