//! The paper's three heads for labelled windows, on the parts of a trained encoder that each keeps. Every one of them mixes electrodes by a
//! few learnt weights: before the convolutions (pre-local), behind them (post-local), or behind the transformer (contextual).

use std::any::Any;

use burn::module::{Module, Param};
use burn::tensor::{Device, Gradients, Tensor};
use foretell_data::eeg::EegSample;
use foretell_data::random::{Stream, rng};
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::signal::{KERNEL, SignalEncoder};
use foretell_nn::tune::{Change, Take, Tunable};
use foretell_nn::{Encode, Init, NamedTensors, Tokens, WeightsError, parameters, weights};
use foretell_ops::{self as ops, Sets};

use super::kept::{cut, electrodes};

/// Mixtures of electrodes that a head learns.
pub const FILTERS: usize = 4;

/// Where a head mixes electrodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadKind {
    /// Before the convolutions: the transformer is not used.
    PreLocal,
    /// Behind the transformer.
    Contextual,
    /// Behind the convolutions: the transformer is not used.
    PostLocal,
}

impl HeadKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PreLocal, Self::Contextual, Self::PostLocal];

    /// As the paper calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PreLocal => "pre-local",
            Self::Contextual => "contextual",
            Self::PostLocal => "post-local",
        }
    }
}

/// An encoder and weights that mix its electrodes.
#[derive(Module, Debug)]
pub struct SignalHeadNetworks {
    /// The trained encoder.
    pub encoder: SignalEncoder,
    /// `[4, C]`.
    pub mixing: Param<Tensor<2>>,
    /// `[4]`.
    pub offsets: Param<Tensor<1>>,
}

/// See the module: an encoder of one wide token a window, on which a linear map answers.
pub struct SignalHead {
    networks: SignalHeadNetworks,
    kind: HeadKind,
    /// Tokens of an electrode.
    tokens: usize,
    device: Device,
}

impl SignalHead {
    /// A head of windows with so many tokens of an electrode, with PyTorch's starting weights by this seed, on an encoder that lies on `device`.
    pub fn new(encoder: SignalEncoder, kind: HeadKind, tokens: usize, seed: u64, device: &Device) -> Self {
        let count = encoder.electrodes();
        let mut weights = rng(seed, Stream::Judge, 1, 2);
        let mut init = Init::new(&mut weights, device);
        let bound = 1.0 / (count.max(1) as f64).sqrt();
        let (mixing, offsets) = (init.uniform([FILTERS, count], bound), init.uniform([FILTERS], bound));
        Self { networks: SignalHeadNetworks { encoder, mixing, offsets }, kind, tokens, device: device.clone() }
    }

    fn with(&self, networks: SignalHeadNetworks) -> Self {
        let Self { kind, tokens, device, .. } = self;
        Self { networks, kind: *kind, tokens: *tokens, device: device.clone() }
    }

    /// The same with these networks.
    #[must_use]
    pub fn of(networks: SignalHeadNetworks, kind: HeadKind, tokens: usize, device: &Device) -> Self {
        Self { networks, kind, tokens, device: device.clone() }
    }

    /// Mixtures of electrodes: `[B, C, V]` → `[B, 4, V]`.
    fn mixed(&self, x: Tensor<3>) -> Tensor<3> {
        let mixed = ops::linear(x.swap_dims(1, 2), self.networks.mixing.val(), self.networks.offsets.val());
        mixed.swap_dims(1, 2)
    }
}

impl Encode<EegSample> for SignalHead {
    fn tokens(&self, samples: &[&EegSample]) -> Tokens {
        self.learned(samples, &mut Pass::Evaluation)
    }

    fn width(&self) -> usize {
        FILTERS * self.tokens * self.networks.encoder.width()
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.networks, "")
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.networks = weights::load_whole(self.networks.clone(), tensors)?;
        Ok(())
    }

    fn network(&self) -> &dyn Any {
        &self.networks
    }

    fn tunable(&self) -> Option<Box<dyn Tunable<EegSample>>> {
        Some(Box::new(self.with(self.networks.clone().train())))
    }
}

impl Tunable<EegSample> for SignalHead {
    fn learned(&self, samples: &[&EegSample], _: &mut Pass<'_>) -> Tokens {
        let (windows, encoder) = (samples.len(), &self.networks.encoder);
        let (count, width) = (encoder.electrodes(), encoder.width());
        let (pieces, tokens) = cut(samples, &self.device);
        let values = tokens * width;
        let mixed = match self.kind {
            HeadKind::PreLocal => {
                let each = pieces.dims()[0] * KERNEL / (windows * count).max(1);
                let mixed = self.mixed(pieces.reshape([windows, count, each]));
                encoder.local(mixed.reshape([windows * FILTERS * each / KERNEL, KERNEL]), windows * FILTERS)
            }
            HeadKind::PostLocal => {
                let local = encoder.local(pieces, windows * count);
                self.mixed(local.reshape([windows, count, values])).reshape([windows * FILTERS * tokens, width])
            }
            HeadKind::Contextual => {
                let sets = Sets::uniform(windows, count * tokens);
                let context = encoder.forward(pieces, &electrodes(windows, count), &sets);
                self.mixed(context.reshape([windows, count, values])).reshape([windows * FILTERS * tokens, width])
            }
        };
        Tokens { rows: mixed.reshape([windows, FILTERS * values]), sets: Sets::uniform(windows, 1), grid: None }
    }

    fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>) {
        parameters::gradients(&self.networks, gradients, take);
    }

    fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<EegSample>> {
        let Self { networks, kind, tokens, device } = *self;
        Box::new(Self { networks: parameters::change(networks, change), kind, tokens, device })
    }

    fn absorb(self: Box<Self>, _: &[BatchStatistics]) -> Box<dyn Tunable<EegSample>> {
        self
    }

    fn tuned(&self) -> Box<dyn Encode<EegSample>> {
        Box::new(self.with(self.networks.valid()))
    }
}
