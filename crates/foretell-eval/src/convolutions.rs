//! Features of series by convolutions that nobody trained: the honest bar for whoever learns features of series. After MiniRocket (Dempster
//! et al., 2021, arXiv 2012.08791): 84 kernels of length 9 and weights -1 and 2 at several dilations, of which the share of places is taken
//! where the answer exceeds a quantile of the answers to training series.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Values of a kernel.
const LENGTH: usize = 9;
/// Dilations at most, spread evenly in their logarithm.
const DILATIONS: usize = 6;
/// Biases of each kernel and dilation: these quantiles.
const QUANTILES: [f64; 2] = [1.0 / 3.0, 2.0 / 3.0];
/// Channels that a kernel adds up, at most.
const MOST_CHANNELS: usize = 9;

/// Three places of nine.
fn kernels() -> Vec<[usize; 3]> {
    let mut kernels = Vec::new();
    for a in 0..LENGTH {
        for b in a + 1..LENGTH {
            kernels.extend((b + 1..LENGTH).map(|c| [a, b, c]));
        }
    }
    kernels
}

/// One dilation's kernels.
#[derive(Clone, Debug)]
struct Dilated {
    dilation: usize,
    /// Channels that are added up.
    channels: Vec<usize>,
    /// Of each kernel, one for each quantile.
    biases: Vec<[f32; QUANTILES.len()]>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Convolutions {
    channels: usize,
    dilated: Vec<Dilated>,
}

impl Convolutions {
    /// Of series `[C, L]` that lie behind each other, all of one length, which biases are taken from; a function of the seed.
    pub fn fit(training: &[Vec<f32>], channels: usize, seed: u64) -> Self {
        let channels = channels.max(1);
        let len = training.first().map_or(0, Vec::len) / channels;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let most = ((len.max(LENGTH) - 1) / (LENGTH - 1)).max(1) as f64;
        let count = DILATIONS.max(1);
        let mut dilations: Vec<usize> =
            (0..count).map(|i| most.powf(i as f64 / (count - 1).max(1) as f64).floor() as usize).collect();
        dilations.dedup();
        let dilated = dilations.into_iter().map(|dilation| {
            let exponent = rng.random_range(0.0..((channels.min(MOST_CHANNELS) + 1) as f64).log2());
            let wanted = (exponent.exp2() as usize).clamp(1, channels);
            let mut all: Vec<usize> = (0..channels).collect();
            let mut chosen: Vec<usize> = (0..wanted).map(|_| all.swap_remove(rng.random_range(0..all.len()))).collect();
            chosen.sort_unstable();
            let mut of = Dilated { dilation, channels: chosen, biases: Vec::new() };
            let biases = kernels().into_iter().map(|kernel| {
                let mut answers = match training.len() {
                    0 => vec![0.0],
                    count => of.answers(&training[rng.random_range(0..count)], channels, &kernel),
                };
                answers.sort_by(f32::total_cmp);
                QUANTILES.map(|share| answers.get((share * answers.len() as f64) as usize).copied().unwrap_or(0.0))
            });
            let biases: Vec<_> = biases.collect();
            of.biases = biases;
            of
        });
        Self { channels, dilated: dilated.collect() }
    }

    /// Features of a series `[C, L]`.
    pub fn features(&self, series: &[f32]) -> Vec<f32> {
        let kernels = kernels();
        let mut features = Vec::with_capacity(self.width());
        for dilated in &self.dilated {
            for (kernel, biases) in kernels.iter().zip(&dilated.biases) {
                let answers = dilated.answers(series, self.channels, kernel);
                for bias in biases {
                    let above = answers.iter().filter(|answer| *answer > bias).count();
                    features.push(above as f32 / answers.len().max(1) as f32);
                }
            }
        }
        features
    }

    /// How many there are.
    pub fn width(&self) -> usize {
        self.dilated.iter().map(|dilated| dilated.biases.len() * QUANTILES.len()).sum()
    }
}

impl Dilated {
    /// The kernel's answer at each step, beyond the ends zeros.
    fn answers(&self, series: &[f32], channels: usize, kernel: &[usize; 3]) -> Vec<f32> {
        let len = series.len() / channels.max(1);
        let mut sum = vec![0.0; len];
        for channel in &self.channels {
            sum.iter_mut().zip(&series[channel * len..]).for_each(|(sum, value)| *sum += value);
        }
        let mut answers = vec![0.0_f32; len];
        for place in 0..LENGTH {
            let weight = if kernel.contains(&place) { 2.0 } else { -1.0 };
            let shift = (place as isize - (LENGTH / 2) as isize) * self.dilation as isize;
            let (from, to) = ((-shift).max(0) as usize, (len as isize - shift).clamp(0, len as isize) as usize);
            for at in from..to.max(from) {
                answers[at] += weight * sum[(at as isize + shift) as usize];
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_84_kernels_and_constants_are_finite() {
        assert_eq!(kernels().len(), 84);
        let training = vec![vec![1.0; 30], vec![0.0; 30]];
        let convolutions = Convolutions::fit(&training, 2, 0);
        let features = convolutions.features(&training[0]);
        assert_eq!(features.len(), convolutions.width());
        assert!(features.iter().all(|feature| (0.0..=1.0).contains(feature)));
        assert!(Convolutions::fit(&[vec![1.0; 3]], 1, 0).features(&[1.0; 3]).iter().all(|x| x.is_finite()));
    }

    /// `-1 -1 -1 -1 2 2 2 -1 -1` at dilation 1 by hand.
    #[test]
    fn an_answer_is_the_sum_of_weighted_neighbours() {
        let dilated = Dilated { dilation: 1, channels: vec![0], biases: Vec::new() };
        let series: Vec<f32> = (1..=9).map(|i| (i * i) as f32).collect();
        let answers = dilated.answers(&series, 1, &[4, 5, 6]);
        let expected = -(1.0 + 4.0 + 9.0 + 16.0 + 64.0 + 81.0) + 2.0 * (25.0 + 36.0 + 49.0);
        assert_eq!(answers[4], expected);
        // Two steps from the start, half of it lies beyond.
        assert_eq!(answers[2], -(1.0 + 4.0 + 36.0 + 49.0) + 2.0 * (9.0 + 16.0 + 25.0));
    }

    #[test]
    fn frequencies_are_told_apart() {
        let wave =
            |period: f32| (0..128).map(|t| (t as f32 * std::f32::consts::TAU / period).sin()).collect::<Vec<f32>>();
        let training = vec![wave(8.0), wave(20.0)];
        let convolutions = Convolutions::fit(&training, 1, 1);
        let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let of = |period| convolutions.features(&wave(period));
        assert!(far(&of(8.0), &of(8.3)) < 0.5 * far(&of(8.0), &of(20.0)));
    }
}
