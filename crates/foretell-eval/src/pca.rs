//! Feature maps as colours: the first three principal components of token features as red, green and blue.
//!
//! The usual picture of dense features (Amir et al. 2021, arXiv 2112.05814; DINOv2). Sequential and deterministic.

use faer::linalg::matmul::matmul;
use faer::{Accum, Col, Par};

use crate::spectrum::{eigen, mean, product, shifted};
use crate::{EvalError, Features};

/// Shares of the tokens that lie below black and above full colour.
const BLACK: f64 = 0.02;
const FULL: f64 = 0.98;
/// f32 rounding relative to a value.
const ROUNDING: f64 = 1e-7;

/// The first `count` principal components of `features` `[N, D]`, centred: `[N, count]` in the features' unit, the largest
/// variance first. A component's sign is chosen so that the largest weight of its direction is positive; components that the
/// data do not have (count > D, or no variance left) are zeros.
///
/// # Errors
/// No rows, a value that is not finite, or `count` = 0.
pub fn principal_components(features: &Features, count: usize) -> Result<Features, EvalError> {
    features.check("principal components", 1)?;
    if count == 0 {
        return Err(EvalError::Setting { setting: "count", expected: "at least 1", found: "0".to_owned() });
    }
    let centred = shifted(features, &mean(features));
    let (rows, dim) = (features.rows, features.dim);
    let by_tokens = rows < dim;
    let (variances, vectors) = eigen(
        if by_tokens {
            product(centred.as_ref(), centred.transpose())
        } else {
            product(centred.transpose(), centred.as_ref())
        }
        .as_ref(),
    )?;
    // What is left by the rounding of f32 inputs or of the decomposition is not a component.
    let squares: f64 = features.values.iter().map(|&value| f64::from(value).powi(2)).sum();
    let floor = (ROUNDING * ROUNDING * squares).max(1e-12 * variances[0]);

    let mut values = vec![0.0; rows * count];
    for component in (0..count.min(variances.len())).filter(|&component| variances[component] > floor) {
        let vector = vectors.col(component);
        // An eigenvector u of xxᵀ, [N], gives the direction xᵀu / σ, [D].
        let mut direction = vector.to_owned();
        if by_tokens {
            direction = Col::zeros(dim);
            let scale = variances[component].sqrt().recip();
            matmul(direction.as_mat_mut(), Accum::Replace, centred.transpose(), vector.as_mat(), scale, Par::Seq);
        }
        let largest = direction.iter().fold(
            0.0f64,
            |largest, &weight| {
                if weight.abs() > largest.abs() { weight } else { largest }
            },
        );
        let sign = largest.signum();
        for row in 0..rows {
            let projection: f64 =
                centred.row(row).iter().zip(direction.iter()).map(|(value, weight)| value * weight).sum();
            values[row * count + component] = (projection * sign) as f32;
        }
    }
    Features::new(rows, count, values)
}

/// The colour of each token of `tokens` `[N, D]`: its first three principal components, each stretched from the 2nd to the
/// 98th percentile. A component without spread is mid grey.
///
/// # Errors
/// As [`principal_components`].
pub fn pca_rgb(tokens: &Features) -> Result<Vec<[u8; 3]>, EvalError> {
    let components = principal_components(tokens, 3)?;
    let mut colours = vec![[128u8; 3]; tokens.rows];
    for channel in 0..3 {
        let values = || components.values.iter().skip(channel).step_by(3);
        let mut sorted: Vec<f32> = values().copied().collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64).round() as usize];
        let (black, full) = (at(BLACK), at(FULL));
        if full > black {
            for (colour, value) in colours.iter_mut().zip(values()) {
                colour[channel] = (255.0 * ((value - black) / (full - black)).clamp(0.0, 1.0)).round() as u8;
            }
        }
    }
    Ok(colours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    /// Normal features with standard deviation `scales[d]` in dimension d.
    fn scaled(rows: usize, scales: &[f32], seed: u64) -> Features {
        let mut features = normal(rows, scales.len(), seed);
        for row in features.values.chunks_exact_mut(scales.len()) {
            for (value, scale) in row.iter_mut().zip(scales) {
                *value = *value * scale + 5.0;
            }
        }
        features
    }

    #[test]
    fn components_are_the_axes_in_order_of_variance() {
        let features = scaled(4000, &[0.01, 3.0, 0.1, 1.0], 1);
        let components = principal_components(&features, 2).unwrap();
        for (row, found) in components.values.chunks_exact(2).enumerate() {
            let original = features.row(row);
            // The sign rule points each component along its axis.
            assert!((found[0] - (original[1] - 5.0)).abs() < 0.4, "row {row}");
            assert!((found[1] - (original[3] - 5.0)).abs() < 0.4, "row {row}");
        }
    }

    #[test]
    fn few_tokens_and_many_dimensions_give_the_same_components() {
        // The same points in 5 dimensions and padded to 40: one takes the covariance, the other the Gram matrix.
        let narrow = scaled(20, &[4.0, 2.0, 1.0, 0.5, 0.25], 2);
        let mut values = Vec::new();
        for row in narrow.values.chunks_exact(5) {
            values.extend_from_slice(row);
            values.extend([0.0; 35]);
        }
        let wide = Features::new(20, 40, values).unwrap();
        let (narrow, wide) = (principal_components(&narrow, 3).unwrap(), principal_components(&wide, 3).unwrap());
        for (a, b) in narrow.values.iter().zip(&wide.values) {
            assert!((a - b).abs() < 1e-4, "{a} against {b}");
        }
    }

    #[test]
    fn colours_span_their_range_and_do_not_depend_on_sign_of_noise() {
        let features = scaled(1000, &[3.0, 2.0, 1.0, 0.1], 3);
        let colours = pca_rgb(&features).unwrap();
        for channel in 0..3 {
            let extremes = |wanted: u8| colours.iter().filter(|colour| colour[channel] == wanted).count();
            assert!((10..=40).contains(&extremes(0)) && (10..=40).contains(&extremes(255)));
            let mean = colours.iter().map(|colour| f64::from(colour[channel])).sum::<f64>() / 1000.0;
            assert!((mean - 127.5).abs() < 15.0, "{mean}");
        }
        assert_eq!(colours, pca_rgb(&features).unwrap());
    }

    #[test]
    fn what_does_not_vary_is_grey() {
        for (rows, dim) in [(9, 4), (1000, 7), (3, 50)] {
            let flat = Features::new(rows, dim, normal(1, dim, 4).values.repeat(rows)).unwrap();
            assert_eq!(pca_rgb(&flat).unwrap(), vec![[128; 3]; rows]);
        }
        let line = Features::new(5, 1, vec![0.0, 1.0, 2.0, 3.0, 4.0]).unwrap();
        let colours = pca_rgb(&line).unwrap();
        assert_eq!((colours[0], colours[2], colours[4]), ([0, 128, 128], [128, 128, 128], [255, 128, 128]));
    }
}
