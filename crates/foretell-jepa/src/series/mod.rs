//! Objectives over series: hidden patches predicted from visible ones ([`masked`], TS-JEPA), and the next from those before it ([`next`],
//! LeNEPA). Both cut series into the same tokens and keep the same kind of encoder.

pub mod encoder;
pub mod masked;
pub mod next;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::series::SeriesSample;
use foretell_nn::series::Cut;
use foretell_ops::Sets;

/// Patches of some series on the host, R in all.
#[derive(Clone, Debug)]
pub struct PackedSeries {
    /// `[R, V]`, 0 in holes.
    pub values: Vec<f32>,
    /// `[R, V]`, 1 in holes and 0 elsewhere; empty where there are none.
    pub unknown: Vec<f32>,
    /// Which patch of its series each is.
    pub at: Vec<u32>,
    /// Which belong together.
    pub sets: Sets,
}

impl PackedSeries {
    /// Cuts some series. The last patch may reach beyond the end, where nothing is known; a patch of which nothing is known is no token.
    pub fn new(samples: &[&SeriesSample], cut: Cut) -> Self {
        let Cut { channels, patch, kernel, whole } = cut;
        let width = cut.values();
        let (mut values, mut unknown, mut at, mut lengths) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut holes = false;
        for sample in samples {
            let steps = sample.steps();
            let patches = if whole { steps.div_ceil(patch) } else { steps / patch }.max(1);
            let before = at.len();
            for place in 0..patches {
                let row = values.len();
                let mut known = 0;
                for within in 0..cut.kernels() {
                    for channel in 0..channels {
                        for step in within * kernel..(within + 1) * kernel {
                            let value = (step < patch).then(|| sample.known(place * patch + step, channel)).flatten();
                            known += usize::from(value.is_some());
                            values.push(value.unwrap_or(0.0));
                            unknown.push(f32::from(value.is_none()));
                        }
                    }
                }
                // A series keeps a token, whatever is known of it.
                if known == 0 && !(place + 1 == patches && at.len() == before) {
                    values.truncate(row);
                    unknown.truncate(row);
                    continue;
                }
                holes |= known < width;
                at.push(place as u32);
            }
            lengths.push(at.len() - before);
        }
        if !holes {
            unknown.clear();
        }
        Self { values, unknown, at, sets: Sets::of_lengths(&lengths) }
    }

    /// Patches, R.
    pub fn rows(&self) -> usize {
        self.at.len()
    }

    /// Values and holes of some patches as tensors, `[K, V]`.
    pub fn chosen(&self, rows: &[u32], device: &Device) -> (Tensor<2>, Option<Tensor<2>>) {
        let width = self.values.len() / self.rows().max(1);
        let of = |values: &[f32]| {
            let chosen: Vec<f32> =
                rows.iter().flat_map(|row| &values[*row as usize * width..][..width]).copied().collect();
            Tensor::<2>::from_data(TensorData::new(chosen, [rows.len(), width]), device)
        };
        (of(&self.values), (!self.unknown.is_empty()).then(|| of(&self.unknown)))
    }

    /// Those of all patches.
    pub fn all(&self, device: &Device) -> (Tensor<2>, Option<Tensor<2>>) {
        self.chosen(&(0..self.rows() as u32).collect::<Vec<_>>(), device)
    }
}

/// Rows of some sets, as many of each and evenly spread: of those that have any, as many as the shortest has.
pub(crate) fn as_many(sets: &Sets) -> Vec<u32> {
    let own = || (0..sets.count()).map(|set| sets.range(set)).filter(|range| !range.is_empty());
    let least = own().map(|range| range.len()).min().unwrap_or(0);
    own().flat_map(|range| (0..least).map(move |i| (range.start + i * range.len() / least) as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Cut = Cut { channels: 1, patch: 4, kernel: 2, whole: true };

    #[test]
    fn tails_are_holes_and_patches_of_holes_are_no_tokens() {
        let mut values: Vec<f32> = (1..=10).map(|i| i as f32).collect();
        values[4..8].fill(f32::NAN);
        values[1] = f32::NAN;
        let (holed, short) = (SeriesSample::new(1, values), SeriesSample::new(1, vec![9.0; 4]));
        let packed = PackedSeries::new(&[&holed, &short], CUT);
        assert_eq!((packed.at.as_slice(), packed.sets.range(0), packed.sets.range(1)), (&[0, 2, 0][..], 0..2, 2..3));
        assert_eq!(packed.values, [1.0, 0.0, 3.0, 4.0, 9.0, 10.0, 0.0, 0.0, 9.0, 9.0, 9.0, 9.0]);
        assert_eq!(packed.unknown, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        // Without holes nothing is said of them; of nothing at all one token remains.
        assert!(PackedSeries::new(&[&short], CUT).unknown.is_empty());
        let nothing = SeriesSample::new(1, vec![f32::NAN; 9]);
        assert_eq!(PackedSeries::new(&[&nothing], CUT).at, [2]);
    }

    /// The released convolution has kernel and stride 3 over 32 steps: the last two are never seen.
    #[test]
    fn the_released_tokeniser_never_sees_the_end_of_a_patch() {
        let official = Cut { channels: 1, patch: 32, kernel: 3, whole: false };
        let ours = Cut { whole: true, ..official };
        assert_eq!((official.kernels(), ours.kernels()), (10, 11));
        let a = SeriesSample::new(1, vec![0.0; 64]);
        let mut values = vec![0.0; 64];
        values[30] = 5.0;
        let b = SeriesSample::new(1, values);
        let of = |sample: &SeriesSample, cut| PackedSeries::new(&[sample], cut).values;
        assert_eq!(of(&a, official), of(&b, official));
        assert_ne!(of(&a, ours), of(&b, ours));
    }

    #[test]
    fn channels_lie_kernel_by_kernel() {
        let two = SeriesSample::new(2, (0..8).map(|i| i as f32).collect());
        let packed = PackedSeries::new(&[&two], Cut { channels: 2, ..CUT });
        assert_eq!(packed.values, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
