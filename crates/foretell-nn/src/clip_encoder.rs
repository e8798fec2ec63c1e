//! A network of clips, such as a [`ClipVit`], as an encoder of clips.

use std::any::Any;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use foretell_data::{ClipSample, Normalise};
use foretell_ops::{self as ops, Precision, Sets};

use crate::clip_summary::SummaryVit;
use crate::clip_vit::ClipVit;
use crate::encode::{Encode, Tokens};
use crate::layers::{BatchStatistics, Pass, absorb};
use crate::parameters;
use crate::tune::{Change, Take, Tunable};
use crate::weights::{self, NamedTensors, WeightsError};

/// A network of clips in evaluation mode, without gradients.
pub trait ClipNetwork: Send + Sync {
    /// Clips `[B, T, C, H, W]`, normalised as in training → their tokens `[B, N, D]`, frame by frame in raster order.
    fn tokens(&self, clips: Tensor<5>) -> Tensor<3>;

    /// What probes are given of them: `[B, F]`.
    fn probed(&self, clips: Tensor<5>) -> Tensor<2>;

    /// Width of the tokens, D.
    fn width(&self) -> usize;

    /// Channels of a frame.
    fn channels(&self) -> usize;

    /// Side of a patch in pixels.
    fn patch(&self) -> usize;

    /// Frames of a token.
    fn tubelet(&self) -> usize;

    /// See [`Encode::prepare`].
    fn prepare(&mut self, precision: Precision) -> bool;
}

impl ClipNetwork for ClipVit {
    fn tokens(&self, clips: Tensor<5>) -> Tensor<3> {
        self.encode(clips, None)
    }

    /// The normalised and averaged tokens of the last four blocks side by side, `[B, 4 D]`, as I-JEPA's linear evaluation; of
    /// V-JEPA 2.1 those of its levels.
    fn probed(&self, clips: Tensor<5>) -> Tensor<2> {
        let config = self.config();
        let layers = match &config.dense {
            Some(dense) => dense.levels.clone(),
            None => (config.depth.saturating_sub(LAST)..config.depth).collect(),
        };
        let layers = self.layers(clips, None, &layers);
        Tensor::cat(layers.into_iter().map(|tokens| tokens.mean_dim(1).squeeze_dim::<2>(1)).collect(), 1)
    }

    fn width(&self) -> usize {
        self.config().width
    }

    fn channels(&self) -> usize {
        self.config().channels
    }

    fn patch(&self) -> usize {
        self.config().patch
    }

    fn tubelet(&self) -> usize {
        self.config().tubelet
    }

    fn prepare(&mut self, precision: Precision) -> bool {
        self.prepare(precision)
    }
}

/// A network of clips that has every token of a clip, whose frames are as many and as large as it is told.
pub struct ClipEncoder<N = ClipVit> {
    network: N,
    frames: usize,
    size: usize,
    normalise: Normalise,
    device: Device,
}

/// Clips that go through at a time: what lies between is as large as these.
const AT_ONCE: usize = 16;
/// Blocks whose tokens a probe is given.
const LAST: usize = 4;

impl<N: ClipNetwork> ClipEncoder<N> {
    /// A network that lies on `device`, of `frames` frames of `size` × `size` pixels, normalised so.
    pub fn new(network: N, (frames, size): (usize, usize), normalise: Normalise, device: &Device) -> Self {
        Self { network, frames, size, normalise, device: device.clone() }
    }

    /// Another state of the network, fed alike.
    fn with(&self, network: N) -> Self {
        Self::new(network, (self.frames, self.size), self.normalise.clone(), &self.device)
    }

    /// `[B, N, D]` as packed rows.
    fn packed(&self, tokens: Tensor<3>) -> Tokens {
        let [b, n, d] = tokens.dims();
        let side = self.size / self.network.patch().max(1);
        Tokens { rows: tokens.reshape([b * n, d]), sets: Sets::uniform(b, n), grid: Some((side, side)) }
    }

    /// `[B, T, C, H, W]`. A clip of fewer frames goes on with its last one.
    fn clips(&self, samples: &[&ClipSample]) -> Tensor<5> {
        let (channels, side) = (self.network.channels(), self.size);
        let one = channels * side * side;
        let mut pixels = vec![0.0; samples.len() * self.frames * one];
        for (sample, clip) in samples.iter().zip(pixels.chunks_exact_mut((self.frames * one).max(1))) {
            let fitted = sample.fit(side);
            let last = fitted.frames.len().saturating_sub(1);
            for (at, frame) in clip.chunks_exact_mut(one.max(1)).enumerate() {
                if let Some(image) = fitted.frames.get(at.min(last)) {
                    self.normalise.apply(image, frame);
                }
            }
        }
        let shape = [samples.len(), self.frames, channels, side, side];
        Tensor::from_data(TensorData::new(pixels, shape), &self.device)
    }

    /// What `of` makes of some clips at a time, one behind the other.
    fn in_turn<const D: usize>(&self, samples: &[&ClipSample], of: impl Fn(Tensor<5>) -> Tensor<D>) -> Tensor<D> {
        let parts = samples.chunks(AT_ONCE).map(|samples| of(self.clips(samples)));
        Tensor::cat(parts.collect(), 0)
    }
}

/// An encoder of clips as one of pictures: of clips of a single frame, which is repeated to a whole token (V-JEPA 2-AC, arXiv 2506.09985,
/// section 3.1). `None` where its network is none of clips.
pub fn of_pictures(
    encoder: &dyn Encode<ClipSample>,
    size: usize,
    normalise: &Normalise,
    device: &Device,
) -> Option<Box<dyn Encode<ClipSample>>> {
    fn short<N: ClipNetwork + Module + 'static>(
        network: &N,
        size: usize,
        normalise: &Normalise,
        device: &Device,
    ) -> Box<dyn Encode<ClipSample>> {
        Box::new(ClipEncoder::new(network.clone(), (network.tubelet(), size), normalise.clone(), device))
    }
    let network = encoder.network();
    if let Some(network) = network.downcast_ref::<ClipVit>() {
        return Some(short(network, size, normalise, device));
    }
    network.downcast_ref::<SummaryVit>().map(|network| short(network, size, normalise, device))
}

impl<N: ClipNetwork + Module + 'static> Encode<ClipSample> for ClipEncoder<N> {
    fn tokens(&self, samples: &[&ClipSample]) -> Tokens {
        let tokens = self.in_turn(samples, |clips| {
            let device = clips.device();
            ops::together(&device, || self.network.tokens(clips))
        });
        self.packed(tokens)
    }

    fn probed(&self, samples: &[&ClipSample]) -> Tensor<2> {
        self.in_turn(samples, |clips| {
            let device = clips.device();
            ops::together(&device, || self.network.probed(clips))
        })
    }

    fn width(&self) -> usize {
        self.network.width()
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.network, "")
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.network = weights::load_whole(self.network.clone(), tensors)?;
        Ok(())
    }

    fn prepare(&mut self, precision: Precision) -> bool {
        self.network.prepare(precision)
    }

    fn network(&self) -> &dyn Any {
        &self.network
    }

    fn tunable(&self) -> Option<Box<dyn Tunable<ClipSample>>> {
        Some(Box::new(self.with(self.network.clone().train())))
    }
}

impl<N: ClipNetwork + Module + 'static> Tunable<ClipSample> for ClipEncoder<N> {
    fn learned(&self, samples: &[&ClipSample], _: &mut Pass<'_>) -> Tokens {
        self.packed(self.network.tokens(self.clips(samples)))
    }

    fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>) {
        parameters::gradients(&self.network, gradients, take);
    }

    fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<ClipSample>> {
        Box::new(self.with(parameters::change(self.network.clone(), change)))
    }

    fn absorb(self: Box<Self>, seen: &[BatchStatistics]) -> Box<dyn Tunable<ClipSample>> {
        Box::new(self.with(absorb(self.network.clone(), seen)))
    }

    fn tuned(&self) -> Box<dyn Encode<ClipSample>> {
        Box::new(self.with(self.network.valid()))
    }
}

#[cfg(test)]
mod tests {
    use foretell_data::Image;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::clip_vit::{ClipVitConfig, Positions};
    use crate::positions::{Rope, RopeStyle};

    fn network() -> ClipVit {
        let rope = Rope { style: RopeStyle::Interleaved, counted: None, spread: None };
        let config = ClipVitConfig {
            patch: 2,
            tubelet: 2,
            channels: 1,
            width: 16,
            depth: 2,
            heads: 2,
            hidden: 32,
            eps: 1e-6,
            positions: Positions::Turned(rope),
            dense: None,
        };
        config.init(&mut ChaCha8Rng::seed_from_u64(3), &Device::flex().autodiff()).valid()
    }

    #[test]
    fn every_parameter_of_an_encoder_of_clips_can_be_tuned() {
        let device = Device::flex();
        let clips = ClipEncoder::new(network(), (4, 4), Normalise { mean: vec![0.25], std: vec![0.5] }, &device);
        let frame = |at: u8| Image { width: 4, height: 4, channels: 1, pixels: (0..16).map(|i| i * 9 + at).collect() };
        let sample = ClipSample::new((0..4).map(|at| frame(20 * at)).collect());
        let tunable = clips.tunable().expect("clips can be tuned");
        let tokens = tunable.learned(&[&sample], &mut Pass::Evaluation);
        let before = ops::values(clips.tokens(&[&sample]).rows);
        assert!(ops::values(tokens.rows.clone().inner()).iter().zip(&before).all(|(a, b)| (a - b).abs() < 1e-5));
        let mut gradients = tokens.rows.square().slice([0..8, 0..5]).sum().backward();
        let mut found = 0;
        tunable.gradients(&mut gradients, &mut |_, gradient| {
            found += usize::from(ops::values(gradient).iter().any(|x| *x != 0.0));
        });
        // Maps, their biases and two norms in each of two blocks, the patches' map and the last norm; keys' biases are in one with the rest.
        assert_eq!(found, 2 * 12 + 2 + 2);
        let tuned = tunable.change(&mut |_, values| values * 0.5).tuned();
        let after = ops::values(tuned.tokens(&[&sample]).rows);
        assert!(before.iter().zip(&after).any(|(a, b)| (a - b).abs() > 0.1), "what was changed is what is seen");
    }

    #[test]
    fn an_encoder_of_clips_sees_a_picture_as_one_tubelet_of_it() {
        let (device, network) = (Device::flex(), network());
        let normalise = Normalise { mean: vec![0.25], std: vec![0.5] };
        let clips = ClipEncoder::new(network.clone(), (8, 4), normalise.clone(), &device);
        let pixels: Vec<u8> = (0..16).map(|i| i * 15).collect();
        let sample = ClipSample::new(vec![Image { width: 4, height: 4, channels: 1, pixels: pixels.clone() }]);
        let found = of_pictures(&clips, 4, &normalise, &device).expect("a network of clips").tokens(&[&sample]);
        // 2 × 2 tokens, not four times as many of eight frames.
        assert_eq!((found.rows.dims(), found.grid), ([4, 16], Some((2, 2))));
        let values: Vec<f32> = pixels.iter().map(|x| (f32::from(*x) / 255.0 - 0.25) / 0.5).collect();
        let clip = Tensor::<5>::from_data(TensorData::new([&values[..], &values].concat(), [1, 2, 1, 4, 4]), &device);
        let expected = ops::values(network.encode(clip, None));
        assert!(ops::values(found.rows).iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
