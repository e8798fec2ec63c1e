//! An encoder that a run uses and does not train: pictures in, tokens out (V-JEPA 2-AC, arXiv 2506.09985, section 3).
//!
//! Each picture goes through it alone, so that its tokens are a function of the picture and of nothing beside it: they may then be
//! kept and used again, and no figure depends on whether they are.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_ops as ops;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_128;

use crate::encode::{FeatureMap, ImageNetwork};

/// What makes tokens of one picture.
pub trait Look: Send + Sync {
    /// `[C, H, W]`, row-major, as it was seen (pictures from 0 to 1) → `[N, D]`, row-major, untracked.
    fn tokens(&self, picture: &[f32]) -> Vec<f32>;

    /// Tokens of such a picture, their width, and the rows and columns in which they lie.
    fn shape(&self, picture: &[f32]) -> (usize, usize, (usize, usize));
}

/// Lengths of what a [`Look`] takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// `[C, H, W]` of a picture.
    pub picture: [usize; 3],
    /// Rows and columns of its tokens, N together.
    pub grid: (usize, usize),
    /// Width of a token, D.
    pub width: usize,
}

/// A frozen encoder. Clones share it, and the tokens that are kept.
#[derive(Clone)]
pub struct Frozen {
    look: Arc<dyn Look>,
    sight: Sight,
    kept: Arc<Mutex<Kept>>,
    device: Device,
}

/// Tokens of pictures that were met, up to a bound: those that come first stay.
struct Kept {
    tokens: HashMap<u128, Arc<[f32]>>,
    /// Pictures whose tokens may be kept.
    most: usize,
}

/// ε of the layer norm without weights behind it.
const EPS: f64 = 1e-5;

impl fmt::Debug for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen").field("sight", &self.sight).finish_non_exhaustive()
    }
}

impl Frozen {
    /// Of what makes tokens; those of so many MiB are kept. Tokens are given out on `device`.
    pub fn new(look: Box<dyn Look>, sight: Sight, kept: usize, device: &Device) -> Self {
        let bytes = 4 * sight.grid.0 * sight.grid.1 * sight.width;
        let most = kept.saturating_mul(1 << 20) / bytes.max(1);
        let kept = Kept { tokens: HashMap::new(), most };
        Self { look: Arc::from(look), sight, kept: Arc::new(Mutex::new(kept)), device: device.clone() }
    }

    /// Lengths of what it takes and gives.
    pub fn sight(&self) -> Sight {
        self.sight
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is kept is whole at any moment.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tokens of pictures `[R, C, H, W]`, row-major, each brought to mean 0 and deviation 1: `[R, N, D]`, untracked.
    ///
    /// # Panics
    /// If they are not whole pictures.
    pub fn tokens(&self, pictures: &[f32]) -> Tensor<3> {
        let Sight { picture, grid, width } = self.sight;
        let (pixels, tokens) = (picture.iter().product::<usize>(), grid.0 * grid.1);
        assert!(pixels > 0 && pictures.len().is_multiple_of(pixels), "whole pictures");
        let count = pictures.len() / pixels;
        let keys: Vec<u128> = pictures.par_chunks_exact(pixels).map(key).collect();
        let mut found: HashMap<u128, Arc<[f32]>> = {
            let kept = self.kept();
            keys.iter().filter_map(|key| Some((*key, Arc::clone(kept.tokens.get(key)?)))).collect()
        };
        let mut new: Vec<(u128, usize)> =
            keys.iter().copied().zip(0..).filter(|(key, _)| !found.contains_key(key)).collect();
        new.sort_unstable();
        new.dedup_by_key(|(key, _)| *key);
        let made: Vec<(u128, Arc<[f32]>)> =
            new.into_par_iter().map(|(key, at)| (key, self.look(&pictures[at * pixels..][..pixels]))).collect();
        {
            let mut kept = self.kept();
            for (key, tokens) in &made {
                if kept.tokens.len() < kept.most {
                    kept.tokens.insert(*key, Arc::clone(tokens));
                }
            }
        }
        found.extend(made);
        let mut values = Vec::with_capacity(count * tokens * width);
        for key in &keys {
            values.extend_from_slice(&found[key]);
        }
        Tensor::from_data(TensorData::new(values, [count, tokens, width]), &self.device)
    }

    fn look(&self, picture: &[f32]) -> Arc<[f32]> {
        let mut tokens = self.look.tokens(picture);
        tokens.chunks_exact_mut(self.sight.width.max(1)).for_each(normalise);
        tokens.into()
    }
}

/// What tells a picture from others.
fn key(picture: &[f32]) -> u128 {
    let bytes: Vec<u8> = picture.iter().flat_map(|x| x.to_le_bytes()).collect();
    xxh3_128(&bytes)
}

/// A layer norm without weights of one token, as PyTorch's `layer_norm` does it.
fn normalise(token: &mut [f32]) {
    let count = token.len() as f64;
    let mean = token.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = token.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + EPS).sqrt();
    for x in token {
        *x = ((f64::from(*x) - mean) * scale) as f32;
    }
}

/// The same layer norm on tensors: what is predicted lives where encodings do. `[.., D]` → `[.., D]`.
pub fn normalised<const D: usize>(tokens: Tensor<D>) -> Tensor<D> {
    let (width, device) = (tokens.dims()[D - 1], tokens.device().inner());
    ops::layer_norm(tokens, Tensor::ones([width], &device), Tensor::zeros([width], &device), EPS)
}

/// A frozen encoder as a network of a run: one without parameters, so that no checkpoint holds any of it.
#[derive(Module, Debug)]
pub struct FrozenFrames {
    #[module(skip)]
    frozen: Frozen,
}

impl FrozenFrames {
    /// Of this encoder.
    pub fn new(frozen: Frozen) -> Self {
        Self { frozen }
    }

    /// The encoder.
    pub fn frozen(&self) -> &Frozen {
        &self.frozen
    }
}

impl ImageNetwork for FrozenFrames {
    fn tokens(&self, images: Tensor<4>) -> FeatureMap {
        let tokens = self.frozen.tokens(&ops::values(images));
        FeatureMap { tokens, grid: self.frozen.sight.grid }
    }

    fn width(&self) -> usize {
        self.frozen.sight.width
    }

    fn image(&self) -> (usize, usize) {
        let [_, height, width] = self.frozen.sight.picture;
        (height, width)
    }

    fn channels(&self) -> usize {
        self.frozen.sight.picture[0]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Two tokens of three numbers: the picture's sum, its first value and its last, and the same the other way round.
    struct Counted(Arc<AtomicUsize>);

    impl Look for Counted {
        fn tokens(&self, picture: &[f32]) -> Vec<f32> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let [sum, first, last] = [picture.iter().sum(), picture[0], picture[3]];
            vec![sum, first, last, last, first, sum]
        }

        fn shape(&self, _: &[f32]) -> (usize, usize, (usize, usize)) {
            (2, 3, (1, 2))
        }
    }

    fn frozen(kept: usize) -> (Frozen, Arc<AtomicUsize>) {
        let counted = Arc::new(AtomicUsize::new(0));
        let sight = Sight { picture: [1, 2, 2], grid: (1, 2), width: 3 };
        (Frozen::new(Box::new(Counted(Arc::clone(&counted))), sight, kept, &Device::flex()), counted)
    }

    const PICTURES: [f32; 12] = [0.5, 0.25, 0.0, 1.0, 0.1, 0.2, 0.3, 0.9, 0.5, 0.25, 0.0, 1.0];

    #[test]
    fn a_picture_goes_through_once_and_its_tokens_are_normal() {
        let (frozen, counted) = frozen(1);
        let tokens = frozen.tokens(&PICTURES);
        assert_eq!((tokens.dims(), counted.load(Ordering::Relaxed)), ([3, 2, 3], 2));
        let values = ops::values(tokens);
        assert_eq!(values[..6], values[12..], "the same picture");
        let own = normalised(Tensor::<1>::from_floats([1.75, 0.5, 1.0], &Device::flex()).reshape([1, 3]));
        assert!(ops::values(own).iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-6), "{values:?}");
        // Kept, and shared by clones.
        assert_eq!(ops::values(frozen.clone().tokens(&PICTURES[4..])), values[6..]);
        assert_eq!(counted.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn nothing_is_kept_beyond_the_bound_and_no_value_depends_on_it() {
        let (bounded, counted) = frozen(0);
        let values = ops::values(bounded.tokens(&PICTURES));
        assert_eq!(ops::values(bounded.tokens(&PICTURES)), values);
        assert_eq!(counted.load(Ordering::Relaxed), 4);
        assert_eq!(ops::values(frozen(1).0.tokens(&PICTURES)), values);
    }

    #[test]
    fn as_a_network_it_has_no_parameters() {
        let network = FrozenFrames::new(frozen(1).0);
        assert!(crate::weights::read(&network, "").is_empty());
        let map = network.tokens(Tensor::from_data(TensorData::new(PICTURES.to_vec(), [3, 1, 2, 2]), &Device::flex()));
        assert_eq!((map.tokens.dims(), map.grid, network.width()), ([3, 2, 3], (1, 2), 3));
    }
}
