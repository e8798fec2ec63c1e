//! What every trained encoder offers to health, probes, `embed` and reports, whatever system made it.

use std::any::Any;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use foretell_data::sound::SoundSample;
use foretell_data::{Normalise, Sample, Window};
use foretell_ops::{Precision, Sets};

use crate::layers::{BatchStatistics, Pass, absorb};
use crate::parameters;
use crate::tune::{Change, Take, Tunable};
use crate::weights::{self, NamedTensors, WeightsError};

/// Tokens of several samples, packed: any lengths, no padding.
pub struct Tokens {
    /// `[T, D]`, the tokens of one sample after those of another.
    pub rows: Tensor<2>,
    /// Where each sample's begin and end.
    pub sets: Sets,
    /// Rows and columns of their grid in raster order, where they lie on one and it is the same for all. A sample of several times as many
    /// tokens has one grid after the other in time.
    pub grid: Option<(usize, usize)>,
}

impl Tokens {
    /// The mean of each sample's tokens, `[B, D]`.
    pub fn mean(&self) -> Tensor<2> {
        let ([rows, width], count) = (self.rows.dims(), self.sets.count());
        let len = rows / count.max(1);
        if (0..count).all(|set| self.sets.range(set).len() == len) {
            return self.rows.clone().reshape([count, len, width]).mean_dim(1).squeeze_dim(1);
        }
        let mean = |set: usize| {
            let range = self.sets.range(set);
            self.rows.clone().slice([range.start..range.end, 0..width]).mean_dim(0)
        };
        Tensor::cat((0..count).map(mean).collect(), 0)
    }
}

/// A kept network in evaluation mode, without gradients: samples in, tokens out. It holds where it lies and how samples are
/// turned into its input, so that who asks knows neither.
///
/// ```
/// use burn::tensor::Tensor;
/// use foretell_nn::{Encode, NamedTensors, Tokens, WeightsError};
/// use foretell_ops::Sets;
///
/// /// The squares of a number: an encoder of one token that learns nothing.
/// struct Squares;
///
/// impl Encode<f32> for Squares {
///     fn tokens(&self, samples: &[&f32]) -> Tokens {
///         let values: Vec<f32> = samples.iter().flat_map(|x| [**x, **x * **x]).collect();
///         let rows = Tensor::<1>::from_floats(values.as_slice(), &burn::tensor::Device::flex());
///         let rows = rows.reshape([samples.len(), 2]);
///         Tokens { rows, sets: Sets::uniform(samples.len(), 1), grid: None }
///     }
///     fn width(&self) -> usize {
///         2
///     }
///     fn state(&self) -> NamedTensors {
///         NamedTensors::new()
///     }
///     fn load(&mut self, _: NamedTensors) -> Result<(), WeightsError> {
///         Ok(())
///     }
///     fn network(&self) -> &dyn std::any::Any {
///         self
///     }
/// }
///
/// assert_eq!(Squares.probed(&[&3.0, &2.0]).dims(), [2, 2]);
/// ```
pub trait Encode<S>: Send + Sync {
    /// Prepared samples → their tokens.
    fn tokens(&self, samples: &[&S]) -> Tokens;

    /// What probes are given, `[B, F]`: the mean of the tokens, unless the encoder's paper says otherwise.
    fn probed(&self, samples: &[&S]) -> Tensor<2> {
        self.tokens(samples).mean()
    }

    /// Width of the tokens, D.
    fn width(&self) -> usize;

    /// Its tensors by their official names.
    fn state(&self) -> NamedTensors;

    /// Replaces every one of its tensors; missing, unused and mis-shaped ones are an error.
    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError>;

    /// Makes ready for many passes, in f32 at the cost of memory for the weights once more, in fewer bits in their place: there is no
    /// state to be read then. Whether the network is at that precision now.
    fn prepare(&mut self, precision: Precision) -> bool {
        precision == Precision::F32
    }

    /// The network itself, for those who know its type, such as an export.
    fn network(&self) -> &dyn Any;

    /// The same network where it learns, with a copy of its parameters; `None` where a kind of network cannot be fine-tuned.
    fn tunable(&self) -> Option<Box<dyn Tunable<S>>> {
        None
    }
}

/// Features of a batch of images.
pub struct FeatureMap {
    /// `[B, N, D]`, raster order.
    pub tokens: Tensor<3>,
    /// Rows and columns of the tokens' grid, `rows · cols = N`.
    pub grid: (usize, usize),
}

/// A network of images in evaluation mode, without gradients.
pub trait ImageNetwork: Send + Sync {
    /// Images `[B, C, H, W]`, normalised as in training, on the network's device → tokens.
    fn tokens(&self, images: Tensor<4>) -> FeatureMap;

    /// Width of the tokens, D.
    fn width(&self) -> usize;

    /// Height and width in pixels of the images that it takes.
    fn image(&self) -> (usize, usize);

    /// Channels of the images that it takes.
    fn channels(&self) -> usize;

    /// Makes ready for many passes, in f32 at the cost of memory for the weights once more, in fewer bits in their place: there is no
    /// state to be read then. Whether the network is at that precision now.
    fn prepare(&mut self, precision: Precision) -> bool {
        precision == Precision::F32
    }

    /// The tokens `[B, N, D]` of images `[B, C, H, W]` where the network learns: as [`tokens`](Self::tokens), but that batch
    /// statistics, where it has some, are those of the batch.
    fn learned(&self, images: Tensor<4>, _pass: &mut Pass<'_>) -> FeatureMap {
        self.tokens(images)
    }

    /// The same as it is fine-tuned, where that is otherwise than it learnt: attention may no longer be causal.
    #[must_use]
    fn to_tune(self) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// What probes are given of images `[B, C, H, W]`: `[B, F]`; the mean of the tokens unless its paper says otherwise.
    fn probed(&self, images: Tensor<4>) -> Tensor<2> {
        self.tokens(images).tokens.mean_dim(1).squeeze_dim(1)
    }
}

/// A network of images that learns from whole views.
pub trait Backbone: Module + ModuleDisplay + ImageNetwork {
    /// One vector a view, `[B, C, H, W]` → `[B, D]`; H and W need not be [`ImageNetwork::image`]'s.
    fn view(&self, images: Tensor<4>, pass: &mut Pass<'_>) -> Tensor<2>;
}

/// A network of images as an encoder of samples that hold images: pictures, spectrograms, or windows of what a world shows, of which
/// it sees the first observation.
pub struct Frames<N> {
    network: N,
    normalise: Normalise,
    device: Device,
}

impl<N: ImageNetwork + Module + 'static> Frames<N> {
    /// A network in evaluation mode that lies on `device`, of images normalised so.
    pub fn new(network: N, normalise: Normalise, device: &Device) -> Self {
        Self { network, normalise, device: device.clone() }
    }

    /// `[B, C, H, W]` of the pixels that `write` makes for each sample.
    fn images<S>(&self, samples: &[&S], write: impl Fn(&S, &mut [f32])) -> Tensor<4> {
        let ((height, width), channels) = (self.network.image(), self.network.channels());
        let one = channels * height * width;
        let mut pixels = vec![0.0; samples.len() * one];
        samples.iter().zip(pixels.chunks_exact_mut(one.max(1))).for_each(|(sample, pixels)| write(sample, pixels));
        Tensor::from_data(TensorData::new(pixels, [samples.len(), channels, height, width]), &self.device)
    }

    fn pictures(&self, samples: &[&Sample]) -> Tensor<4> {
        self.images(samples, |sample, pixels| self.normalise.apply(&sample.image, pixels))
    }

    fn observations(&self, samples: &[&Window]) -> Tensor<4> {
        let (height, width) = self.network.image();
        self.images(samples, |window, pixels| {
            pixels.copy_from_slice(&window.observations[..pixels.len()]);
            self.normalise.scale(pixels, height * width);
        })
    }

    /// Spectrograms come at their scale.
    fn spectrograms(&self, samples: &[&SoundSample]) -> Tensor<4> {
        self.images(samples, |sample, values| values.copy_from_slice(&sample.values))
    }

    fn packed(FeatureMap { tokens, grid }: FeatureMap) -> Tokens {
        let [b, n, d] = tokens.dims();
        Tokens { rows: tokens.reshape([b * n, d]), sets: Sets::uniform(b, n), grid: Some(grid) }
    }

    fn loaded(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.network = weights::load_whole(self.network.clone(), tensors)?;
        Ok(())
    }
}

/// The same encoder for each kind of sample that it takes.
macro_rules! encodes {
    ($sample:ty, $images:ident, $probed:ident) => {
        impl<N: ImageNetwork + Module + 'static> Encode<$sample> for Frames<N> {
            fn tokens(&self, samples: &[&$sample]) -> Tokens {
                Self::packed(self.network.tokens(self.$images(samples)))
            }
            fn probed(&self, samples: &[&$sample]) -> Tensor<2> {
                $probed(&self.network, self.$images(samples))
            }
            fn width(&self) -> usize {
                self.network.width()
            }
            fn state(&self) -> NamedTensors {
                weights::read(&self.network, "")
            }
            fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
                self.loaded(tensors)
            }
            fn prepare(&mut self, precision: Precision) -> bool {
                self.network.prepare(precision)
            }
            fn network(&self) -> &dyn Any {
                &self.network
            }
            fn tunable(&self) -> Option<Box<dyn Tunable<$sample>>> {
                let Self { network, normalise, device } = self;
                Some(Box::new(Self {
                    network: network.clone().to_tune().train(),
                    normalise: normalise.clone(),
                    device: device.clone(),
                }))
            }
        }

        impl<N: ImageNetwork + Module + 'static> Tunable<$sample> for Frames<N> {
            fn learned(&self, samples: &[&$sample], pass: &mut Pass<'_>) -> Tokens {
                Self::packed(self.network.learned(self.$images(samples), pass))
            }
            fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>) {
                parameters::gradients(&self.network, gradients, take);
            }
            fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<$sample>> {
                let Self { network, normalise, device } = *self;
                Box::new(Self { network: parameters::change(network, change), normalise, device })
            }
            fn absorb(self: Box<Self>, seen: &[BatchStatistics]) -> Box<dyn Tunable<$sample>> {
                let Self { network, normalise, device } = *self;
                Box::new(Self { network: absorb(network, seen), normalise, device })
            }
            fn tuned(&self) -> Box<dyn Encode<$sample>> {
                let Self { network, normalise, device } = self;
                Box::new(Self::new(network.valid(), normalise.clone(), device))
            }
        }
    };
}
encodes!(Sample, pictures, as_published);
encodes!(SoundSample, spectrograms, by_band);
encodes!(Window, observations, as_published);

/// What the network's paper says, `[B, F]`.
fn as_published<N: ImageNetwork>(network: &N, images: Tensor<4>) -> Tensor<2> {
    network.probed(images)
}

/// The mean over time of the tokens of each row side by side, `[B, rows · D]`: what lies high or low is no chance of where a spectrogram
/// was cut, as when is (Niizumi et al., 2023, M2D; Riou et al., 2024, arXiv 2405.08679).
fn by_band<N: ImageNetwork>(network: &N, images: Tensor<4>) -> Tensor<2> {
    let FeatureMap { tokens, grid: (rows, columns) } = network.tokens(images);
    let [batch, _, width] = tokens.dims();
    tokens.reshape([batch, rows, columns, width]).mean_dim(2).reshape([batch, rows * width])
}
