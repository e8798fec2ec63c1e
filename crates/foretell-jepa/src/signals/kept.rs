//! What is kept of a Signal-JEPA: the teacher as an encoder of windows, and the pair that predicts hidden electrodes.

use std::any::Any;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor};
use foretell_data::eeg::EegSample;
use foretell_nn::layers::{BatchStatistics, Pass};
use foretell_nn::signal::{KERNEL, SignalEncoder, SignalPredictor, names, pieces, tokens_of};
use foretell_nn::tune::{Change, Take, Tunable};
use foretell_nn::{Encode, NamedTensors, Tokens, WeightsError, parameters, weights};
use foretell_ops::{self as ops, Sets};

use super::{Hidden, rows};

/// The pieces of some windows, and their tokens of an electrode.
pub(super) fn cut(samples: &[&EegSample], device: &Device) -> (Tensor<2>, usize) {
    let length = samples.first().map_or(0, |sample| sample.samples);
    let all: Vec<f32> = samples.iter().flat_map(|sample| pieces(&sample.values, sample.samples)).collect();
    (rows(&all, KERNEL, device), tokens_of(length))
}

/// The electrodes of so many windows.
pub(super) fn electrodes(windows: usize, count: usize) -> Vec<u32> {
    (0..windows).flat_map(|_| 0..count as u32).collect()
}

/// A [`SignalEncoder`] that sees all electrodes of a window.
pub struct SignalJepaEncoder {
    network: SignalEncoder,
    device: Device,
}

impl SignalJepaEncoder {
    /// A network in evaluation mode that lies on `device`.
    pub fn new(network: SignalEncoder, device: &Device) -> Self {
        Self { network, device: device.clone() }
    }
}

impl Encode<EegSample> for SignalJepaEncoder {
    /// A grid of electrodes and moments.
    fn tokens(&self, samples: &[&EegSample]) -> Tokens {
        self.learned(samples, &mut Pass::Evaluation)
    }

    /// The mean over time of each electrode's tokens, side by side, `[B, C · D]`: as the paper's heads, which have a weight for each
    /// electrode, and as band powers are. A mean over the head would not know where anything is.
    fn probed(&self, samples: &[&EegSample]) -> Tensor<2> {
        let Tokens { rows, grid, .. } = self.tokens(samples);
        let (electrodes, tokens) = grid.unwrap_or((1, 1));
        let [_, width] = rows.dims();
        let windows = samples.len();
        rows.reshape([windows * electrodes, tokens, width]).mean_dim(1).reshape([windows, electrodes * width])
    }

    fn width(&self) -> usize {
        self.network.width()
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.network, "").into_iter().map(|(name, tensor)| (names::released(&name), tensor)).collect()
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        let tensors = tensors.into_iter().map(|(name, tensor)| (names::own(&name), tensor)).collect();
        self.network = weights::load_whole(self.network.clone(), tensors)?;
        Ok(())
    }

    fn network(&self) -> &dyn Any {
        &self.network
    }

    fn tunable(&self) -> Option<Box<dyn Tunable<EegSample>>> {
        Some(Box::new(Self::new(self.network.clone().train(), &self.device)))
    }
}

impl Tunable<EegSample> for SignalJepaEncoder {
    fn learned(&self, samples: &[&EegSample], _: &mut Pass<'_>) -> Tokens {
        let (pieces, tokens) = cut(samples, &self.device);
        let (windows, count) = (samples.len(), self.network.electrodes());
        let sets = Sets::uniform(windows, count * tokens);
        let rows = self.network.forward(pieces, &electrodes(windows, count), &sets);
        Tokens { rows, sets, grid: Some((count, tokens)) }
    }

    fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>) {
        parameters::gradients(&self.network, gradients, take);
    }

    fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<EegSample>> {
        let Self { network, device } = *self;
        Box::new(Self { network: parameters::change(network, change), device })
    }

    fn absorb(self: Box<Self>, _: &[BatchStatistics]) -> Box<dyn Tunable<EegSample>> {
        self
    }

    fn tuned(&self) -> Box<dyn Encode<EegSample>> {
        Box::new(Self::new(self.network.valid(), &self.device))
    }
}

/// The context encoder and the decoder, in evaluation mode: what hidden electrodes are taken to have.
pub struct HiddenSignals {
    pub(super) encoder: SignalEncoder,
    pub(super) predictor: SignalPredictor,
    pub(super) device: Device,
}

impl HiddenSignals {
    /// Predictions of the tokens of hidden electrodes, the same ones of each window: `[B · H · N, D]`.
    pub fn predict(&self, samples: &[&EegSample], hidden: &Hidden) -> Tensor<2> {
        let (windows, count) = (samples.len(), self.encoder.electrodes());
        let Hidden { seen, hidden } = hidden;
        let visible: Vec<f32> = samples
            .iter()
            .flat_map(|sample| {
                let length = sample.samples;
                seen.iter().flat_map(move |electrode| &sample.values[*electrode as usize * length..][..length])
            })
            .copied()
            .collect();
        let length = samples.first().map_or(0, |sample| sample.samples);
        debug_assert!(samples.iter().all(|sample| sample.channels() == count));
        let (cut, tokens) = (pieces(&visible, length), tokens_of(length));
        let sets = Sets::uniform(windows, seen.len() * tokens);
        let context = self.encoder.forward(rows(&cut, KERNEL, &self.device), &seen.repeat(windows), &sets);
        let asked = Sets::uniform(windows, hidden.len() * tokens);
        let codes = self.encoder.codes(&hidden.repeat(windows), tokens);
        self.predictor.forward(codes, &asked, &context, &sets)
    }

    /// The mean over time of what is predicted of each hidden electrode, side by side: `[B, H · D]`.
    pub fn features(&self, samples: &[&EegSample], hidden: &Hidden) -> Tensor<2> {
        let predicted = self.predict(samples, hidden);
        let [_, width] = predicted.dims();
        let (windows, count) = (samples.len(), hidden.hidden.len());
        let tokens = predicted.dims()[0] / (windows * count).max(1);
        predicted.reshape([windows * count, tokens, width]).mean_dim(1).reshape([windows, count * width])
    }

    /// How well each hidden electrode is predicted in each window: the cosine of what is predicted of it with the teacher's tokens, both
    /// without their mean over these windows, row by row `[B, H]`. `teacher` are the tokens of all electrodes, `[B · C · N, D]`.
    pub fn agreement(&self, samples: &[&EegSample], hidden: &Hidden, teacher: &Tensor<2>) -> Vec<f32> {
        let (windows, count) = (samples.len(), self.encoder.electrodes());
        let each = hidden.hidden.len();
        let predicted = self.predict(samples, hidden);
        let [total, width] = predicted.dims();
        let tokens = total / (windows * each).max(1);
        let row = |window: usize, electrode: u32, token: usize| {
            ((window * count + electrode as usize) * tokens + token) as u32
        };
        let at: Vec<u32> = (0..windows)
            .flat_map(|window| {
                let of = move |electrode: &u32| {
                    let electrode = *electrode;
                    (0..tokens).map(move |token| row(window, electrode, token)).collect::<Vec<u32>>()
                };
                hidden.hidden.iter().flat_map(of).collect::<Vec<u32>>()
            })
            .collect();
        let centred = |x: Tensor<2>| {
            let x = x.reshape([windows, each * tokens, width]);
            ops::values(x.clone() - x.mean_dim(0))
        };
        let (a, b) = (centred(predicted), centred(ops::gather(teacher.clone(), &at)));
        let length = (tokens * width).max(1);
        let cosine = |(a, b): (&[f32], &[f32])| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)) as f32
        };
        a.chunks_exact(length).zip(b.chunks_exact(length)).map(cosine).collect()
    }
}
