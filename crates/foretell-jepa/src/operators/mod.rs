//! Fixed operators as targets: what a patch of an image looks like to a formula, in place of what it looks like to a network.
//!
//! A target that is not learnt cannot collapse and needs no second network; what it leaves out, the encoder need not predict.
//! SAR-JEPA (Li et al., 2024, arXiv 2311.15153) asks for the gradient of the *logarithm* of local means at four scales:
//! multiplicative noise is additive there, equally strong in bright and dark places, and the means over large windows quieten it.
//! MaskFeat (Wei et al., 2022, arXiv 2112.09133) asks for oriented gradients, MAE (He et al., 2022, arXiv 2111.06377) for pixels.
//!
//! All run on the host, in the loader's threads, on one image `[C, H, W]` with values in `[0, 1]`. Windows are sums over
//! rectangles, by an integral image, so that their cost does not depend on their size.

mod boxes;
mod hog;

use serde::{Deserialize, Serialize};

use boxes::Boxes;

/// The radii of SAR-JEPA's windows, in pixels.
const SCALES: [usize; 4] = [5, 9, 13, 17];

/// What is computed of an image. A map is one number for each pixel; a patch of `p × p` pixels has K numbers of it.
///
/// # Scales
/// A scale `k` is a window of `2k + 1` pixels a side around each pixel, beyond the border mirrored without repeating the border's
/// pixel. On an image whose shorter side is less than the largest window, all scales shrink by the one factor with which it just
/// fits, rounded, at least 1: their proportions and K stay. 28 × 28 pixels have 4, 7, 10 and 13 in place of 5, 9, 13 and 17.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OperatorConfig {
    /// `√(ln²(left / right) + ln²(top / bottom))` of the sums over a window's halves, which share its middle line, each pixel plus
    /// `offset`: SAR-JEPA's target as its code has it (the paper has means; of halves of equal size their ratio is the same). A
    /// brighter picture has the same target, as far as `offset` is small beside it. K = C · scales · p².
    RatioGradient {
        /// Radii of the windows in pixels.
        #[serde(default = "scales")]
        scales: Vec<usize>,
        /// Added to every pixel: how dark noise has to be to count as nothing.
        #[serde(default = "offset")]
        offset: f64,
    },
    /// `√((left − right)² + (top − bottom)²)` of the means over the same halves: the same without the logarithm. A picture twice
    /// as bright has twice the target. Scale 1 is Prewitt's operator. K = C · scales · p².
    Gradient {
        /// Radii of the windows in pixels.
        #[serde(default = "scales")]
        scales: Vec<usize>,
    },
    /// Histograms of oriented gradients (Dalal & Triggs, 2005): in each of a patch's `cells × cells` cells the magnitudes of the
    /// central differences by their direction modulo 180°, shared between the two nearest of `bins` directions, each histogram of
    /// length 1. K = C · cells² · bins.
    Hog {
        /// Directions.
        #[serde(default = "bins")]
        bins: usize,
        /// Cells of a patch in each direction.
        #[serde(default = "cells")]
        cells: usize,
    },
    /// The pixels. K = C · p².
    Pixels {},
    /// Means over windows. K = C · scales · p².
    LowPass {
        /// Radii of the windows in pixels.
        #[serde(default = "low_pass")]
        scales: Vec<usize>,
    },
}

fn scales() -> Vec<usize> {
    SCALES.to_vec()
}

fn offset() -> f64 {
    1e-2
}

fn bins() -> usize {
    9
}

fn cells() -> usize {
    2
}

fn low_pass() -> Vec<usize> {
    vec![SCALES[0]]
}

impl Default for OperatorConfig {
    fn default() -> Self {
        Self::RatioGradient { scales: scales(), offset: offset() }
    }
}

/// An operator that cannot be computed as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the operator's setting `{key}` is {found}, but must be {expected}")]
pub struct OperatorError {
    /// The setting's name.
    pub key: &'static str,
    /// Its value.
    pub found: String,
    /// Its range.
    pub expected: &'static str,
}

impl OperatorConfig {
    /// Refuses settings out of range, before a run begins.
    pub fn check(&self) -> Result<(), OperatorError> {
        let radii = |scales: &[usize]| {
            let good = (1..=16).contains(&scales.len()) && scales.iter().all(|k| (1..=4096).contains(k));
            let expected = "1 to 16 radii in pixels, each from 1 to 4096";
            if good { Ok(()) } else { Err(OperatorError { key: "scales", found: format!("{scales:?}"), expected }) }
        };
        let number = |key, found: usize, most, expected| {
            if (1..=most).contains(&found) {
                return Ok(());
            }
            Err(OperatorError { key, found: found.to_string(), expected })
        };
        match self {
            Self::RatioGradient { scales, offset } => {
                radii(scales)?;
                // Written so that NaN fails. Less than that, a black window's sum is not told from rounding.
                if (1e-6..=1e6).contains(offset) {
                    return Ok(());
                }
                let expected = "from 1e-6 to 1e6: the logarithm of a black window needs it";
                Err(OperatorError { key: "offset", found: offset.to_string(), expected })
            }
            Self::Gradient { scales } | Self::LowPass { scales } => radii(scales),
            Self::Hog { bins, cells } => {
                number("bins", *bins, 180, "from 1 to 180")?;
                number("cells", *cells, 64, "from 1 to 64")
            }
            Self::Pixels {} => Ok(()),
        }
    }

    /// K: numbers for each patch of `patch × patch` pixels.
    pub fn width(&self, channels: usize, patch: usize) -> usize {
        match self {
            Self::RatioGradient { scales, .. } | Self::Gradient { scales } | Self::LowPass { scales } => {
                channels * scales.len() * patch * patch
            }
            Self::Hog { bins, cells } => channels * cells * cells * bins,
            Self::Pixels {} => channels * patch * patch,
        }
    }

    /// The operator on each patch of an image.
    ///
    /// # Shapes
    /// - `image`: `[C, H, W]` of `size = (H, W)`, values in `[0, 1]`
    /// - output: `[N, K]` in raster order, N = (H / patch) · (W / patch); pixels beyond the last whole patch are seen by windows
    ///   and by nothing else. Of maps, each patch is `[C, scales, p, p]`; of histograms `[C, cells, cells, bins]`.
    pub fn patches(&self, image: &[f32], size: (usize, usize), patch: usize) -> Vec<f32> {
        let area = size.0 * size.1;
        if patch == 0 || area == 0 {
            return Vec::new();
        }
        let channels = image.len() / area;
        let mut out = vec![0.0; size.0 / patch * (size.1 / patch) * self.width(channels, patch)];
        match self {
            Self::Pixels {} => cut(image, size, patch, &mut out),
            Self::Hog { bins, cells } => hog::patches(image, size, patch, *bins, *cells, &mut out),
            _ => cut(&self.maps(image, size), size, patch, &mut out),
        }
        out
    }

    /// The operator as maps to look at, `[C · scales, H, W]`, channel by channel. Pixels and histograms, which are no maps, give the
    /// image.
    ///
    /// `image`: `[C, H, W]` of `size = (H, W)`, values in `[0, 1]`.
    pub fn maps(&self, image: &[f32], size: (usize, usize)) -> Vec<f32> {
        let area = size.0 * size.1;
        let (scales, offset) = match self {
            Self::RatioGradient { scales, offset } => (scales, *offset),
            Self::Gradient { scales } | Self::LowPass { scales } => (scales, 0.0),
            Self::Hog { .. } | Self::Pixels {} => return image.to_vec(),
        };
        let scales = fitting(scales, size.0.min(size.1));
        let reach = scales.iter().copied().max().unwrap_or(0);
        let mut maps = vec![0.0; image.len() * scales.len()];
        let of_channels = maps.chunks_exact_mut((scales.len() * area).max(1));
        for (plane, maps) in image.chunks_exact(area.max(1)).zip(of_channels) {
            let boxes = Boxes::new(plane, size, reach, offset);
            for (&k, map) in scales.iter().zip(maps.chunks_exact_mut(area)) {
                let half = ((k + 1) * (2 * k + 1)) as f64;
                let whole = ((2 * k + 1) * (2 * k + 1)) as f64;
                match self {
                    Self::RatioGradient { .. } => boxes.halves(k, map, |[left, right, top, bottom]| {
                        let (h, v) = ((left / right) as f32, (top / bottom) as f32);
                        let (h, v) = (h.ln(), v.ln());
                        (h * h + v * v).sqrt()
                    }),
                    Self::Gradient { .. } => boxes.halves(k, map, |[left, right, top, bottom]| {
                        let (h, v) = (((left - right) / half) as f32, ((top - bottom) / half) as f32);
                        (h * h + v * v).sqrt()
                    }),
                    _ => boxes.sums(k, map, |sum| (sum / whole) as f32),
                }
            }
        }
        maps
    }
}

/// The scales as they are taken on an image with this shorter side; see [`OperatorConfig`].
fn fitting(scales: &[usize], side: usize) -> Vec<usize> {
    let largest = scales.iter().copied().max().unwrap_or(1);
    let room = (side.saturating_sub(1) / 2).max(1);
    if largest <= room {
        return scales.to_vec();
    }
    scales.iter().map(|&k| ((k * room) as f64 / largest as f64).round().max(1.0) as usize).collect()
}

/// Maps `[M, H, W]` as patches `[N, M · p · p]`, raster order, each `[M, p, p]`.
pub(crate) fn cut(maps: &[f32], (height, width): (usize, usize), patch: usize, out: &mut [f32]) {
    let cols = width / patch;
    let count = maps.len() / (height * width).max(1);
    for (token, out) in out.chunks_exact_mut((count * patch * patch).max(1)).enumerate() {
        let (top, left) = (token / cols * patch, token % cols * patch);
        for (line, out) in out.chunks_exact_mut(patch).enumerate() {
            let (map, y) = (line / patch, top + line % patch);
            out.copy_from_slice(&maps[(map * height + y) * width + left..][..patch]);
        }
    }
}

#[cfg(test)]
mod tests;
