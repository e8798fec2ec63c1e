//! What becomes of a clip's targets before they are predicted.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::target::TargetTransform;

/// Variance below which a dimension is left at 0.
const EPS: f64 = 1e-5;

/// What becomes of the target encoder's tokens before they are predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClipTransform {
    /// Layer normalisation; then what stays (the mean over time at each place of a frame) and what changes around it are each brought to mean
    /// 0 and variance 1 over the batch and have half of the target each. Ours.
    ///
    /// A clip's background is in every frame, and a teacher that begins at random says more of it than of anything that moves. A student
    /// that predicts it alone is right about most of such a target, so that what moves is lost from one half-life of the average to the next.
    #[default]
    Changes,
    /// See [`TargetTransform::Standardise`].
    Standardise,
    /// See [`TargetTransform::LayerNorm`]: the released code.
    LayerNorm,
}

impl ClipTransform {
    /// `[B, N, D]` → the same; N are the tokens of `frames` frames, one after the other. Clips of one have no change.
    pub fn apply(self, tokens: Tensor<3>, frames: usize) -> Tensor<3> {
        match self {
            Self::Changes if frames > 1 => changing(TargetTransform::LayerNorm.apply(tokens), frames),
            Self::Changes | Self::Standardise => TargetTransform::Standardise.apply(tokens),
            Self::LayerNorm => TargetTransform::LayerNorm.apply(tokens),
        }
    }
}

/// `[B, N, D]` → the same: `(still + change) / √2`.
fn changing(tokens: Tensor<3>, frames: usize) -> Tensor<3> {
    let [batch, count, width] = tokens.dims();
    let tokens = tokens.reshape([batch, frames, count / frames, width]);
    let still = tokens.clone().mean_dim(1);
    let change = standard(tokens - still.clone());
    ((change + standard(still)) * 0.5_f64.sqrt()).reshape([batch, count, width])
}

/// Each number at mean 0 and variance 1 over the batch.
fn standard(x: Tensor<4>) -> Tensor<4> {
    let centred = x.clone() - x.mean_dim(0);
    let variance = centred.clone().square().mean_dim(0);
    centred / (variance + EPS).sqrt()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use foretell_ops as ops;

    use super::*;

    /// Two clips of two frames of one token of one number.
    fn clips(values: [f32; 4]) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values.to_vec(), [2, 2, 1]), &Device::flex())
    }

    #[test]
    fn a_small_change_counts_as_much_as_what_stays() {
        // Means over time 10 and −10; changes ∓0.1 and ±0.2, of mean 0.05 and deviation 0.15.
        let found = ops::values(changing(clips([9.9, 10.1, -9.8, -10.2]), 2));
        let half = 0.5_f32.sqrt();
        let expected = [half * (1.0 - 1.0), half * (1.0 + 1.0), half * (-1.0 + 1.0), half * (-1.0 - 1.0)];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
    }

    #[test]
    fn where_nothing_moves_only_what_stays_is_left() {
        let found = ops::values(changing(clips([3.0, 3.0, -3.0, -3.0]), 2));
        let half = 0.5_f32.sqrt();
        assert!(found.iter().zip([half, half, -half, -half]).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
    }

    #[test]
    fn single_images_are_standardised() {
        let device = Device::flex();
        let values: Vec<f32> = (0..12).map(|i| ((i * 7) % 5) as f32).collect();
        let tokens = Tensor::<3>::from_data(TensorData::new(values, [2, 2, 3]), &device);
        let found = ops::values(ClipTransform::Changes.apply(tokens.clone(), 1));
        assert_eq!(found, ops::values(TargetTransform::Standardise.apply(tokens)));
    }
}
