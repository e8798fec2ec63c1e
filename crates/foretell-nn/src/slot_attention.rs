//! Slot attention (Locatello et al., 2020, arXiv 2006.15055): the objects of a picture as a set of vectors that compete for its
//! places, found without labels by drawing the picture again from them.
//!
//! Two things are ours: each slot begins as a vector of its own that is learnt, where the paper draws all from one learnt Gaussian, so that
//! slots are a function of the picture; and what is drawn again is the picture at half its resolution.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::encode::{FeatureMap, ImageNetwork};
use crate::gru::Gru;
use crate::layers::{Conv, LayerNorm, Linear, Mlp};
use crate::slots::SlotEncoder;

/// Convolutions of the encoder, and their kernel; the first has stride 2.
const CONVOLUTIONS: usize = 3;
const KERNEL: usize = 5;
/// Added to what a slot sees before that is brought to the sum 1.
const LEAST: f64 = 1e-8;
/// ε of the layer norms.
const EPS: f64 = 1e-5;
/// Numbers that tell a place: how far it is from each edge.
const EDGES: usize = 4;
/// Deviation of the vectors with which slots begin.
const BEGIN: f64 = 1.0;

/// Lengths of a [`SlotAutoencoder`]. [`SlotAttentionConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotAttentionConfig {
    /// `[C, H, W]` of an observation; H and W even.
    pub observation: [usize; 3],
    /// Slots, K: one for each object and one for what is behind them.
    pub slots: usize,
    /// Width of a slot, D.
    pub width: usize,
    /// Channels of the convolutions.
    pub channels: usize,
    /// Rounds of attention.
    pub iterations: usize,
    /// Hidden width of the decoder.
    pub decoder: usize,
}

impl SlotAttentionConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> SlotAutoencoder {
        let Self { observation: [inputs, height, width], slots, width: d, channels, decoder, .. } = *self;
        let gru = Gru::new(d, d, rng, device);
        let mut init = Init::new(rng, device);
        let mut from = inputs;
        let mut convs = Vec::new();
        for layer in 0..CONVOLUTIONS {
            convs.push(Conv::new(from, channels, KERNEL, if layer == 0 { 2 } else { 1 }, &mut init));
            from = channels;
        }
        let biases = (0..CONVOLUTIONS).map(|_| init.constant([channels], 0.0)).collect();
        let (rows, columns) = (height / 2, width / 2);
        let place = |i: usize, n: usize| (i as f32 + 0.5) / n as f32;
        let edges = (0..rows * columns).flat_map(|i| {
            let (x, y) = (place(i % columns, columns), place(i / columns, rows));
            [x, y, 1.0 - x, 1.0 - y]
        });
        SlotAutoencoder {
            convs,
            biases,
            edges: init.buffer(edges.collect(), [rows * columns, EDGES]),
            encoder_place: Linear::uniform(EDGES, channels, &mut init),
            norm_inputs: LayerNorm::new(channels, EPS, &mut init),
            mlp_inputs: Mlp {
                fc1: Linear::uniform(channels, 2 * channels, &mut init),
                fc2: Linear::uniform(2 * channels, d, &mut init),
            },
            begin: init.truncated_normal([1, slots, d], BEGIN),
            to_q: Linear::uniform(d, d, &mut init),
            to_k: Linear::uniform(d, d, &mut init),
            to_v: Linear::uniform(d, d, &mut init),
            norm_slots: LayerNorm::new(d, EPS, &mut init),
            gru,
            norm_mlp: LayerNorm::new(d, EPS, &mut init),
            mlp: Mlp { fc1: Linear::uniform(d, 2 * d, &mut init), fc2: Linear::uniform(2 * d, d, &mut init) },
            decoder_place: Linear::uniform(EDGES, d, &mut init),
            decoder: [(d, decoder), (decoder, decoder), (decoder, inputs + 1)]
                .map(|(from, to)| Linear::uniform(from, to, &mut init))
                .into(),
            config: self.clone(),
        }
    }
}

/// See [`SlotAttentionConfig`].
#[derive(Module, Debug)]
pub struct SlotAutoencoder {
    convs: Vec<Conv>,
    biases: Vec<Param<Tensor<1>>>,
    /// `[N, 4]`, fixed.
    edges: Param<Tensor<2>>,
    encoder_place: Linear,
    norm_inputs: LayerNorm,
    mlp_inputs: Mlp,
    /// `[1, K, D]`: with what each slot begins.
    begin: Param<Tensor<3>>,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    norm_slots: LayerNorm,
    gru: Gru,
    norm_mlp: LayerNorm,
    mlp: Mlp,
    decoder_place: Linear,
    decoder: Vec<Linear>,
    #[module(skip)]
    config: SlotAttentionConfig,
}

/// What slots make of a picture.
pub struct Drawn {
    /// The picture again, `[B, C, H/2 · W/2]`.
    pub picture: Tensor<3>,
    /// The share of each place that each slot has drawn, `[B, K, H/2 · W/2]`, the sum over slots 1.
    pub masks: Tensor<3>,
}

impl SlotAutoencoder {
    /// The lengths it was made with.
    pub fn config(&self) -> &SlotAttentionConfig {
        &self.config
    }

    /// Features of a picture's places, `[B, N, D]`, of observations `[B, C, H, W]`.
    fn features(&self, observations: Tensor<4>) -> Tensor<3> {
        let mut x = observations.permute([0, 2, 3, 1]);
        for (conv, bias) in self.convs.iter().zip(&self.biases) {
            x = conv.forward(x);
            let [_, _, _, channels] = x.dims();
            x = ops::relu(x + bias.val().reshape([1, 1, 1, channels]));
        }
        let [b, rows, columns, channels] = x.dims();
        let places = self.encoder_place.forward(self.edges.val()).reshape([1, rows * columns, channels]);
        self.mlp_inputs.forward(self.norm_inputs.forward(x.reshape([b, rows * columns, channels]) + places))
    }

    /// Slots `[B, K, D]` of observations `[B, C, H, W]`.
    pub fn slots(&self, observations: Tensor<4>) -> Tensor<3> {
        let features = self.features(observations);
        let ([b, _, d], [_, k, _]) = (features.dims(), self.begin.dims());
        let (keys, values) = (self.to_k.forward(features.clone()), self.to_v.forward(features));
        let mut slots = self.begin.val().repeat_dim(0, b);
        for _ in 0..self.config.iterations {
            let queries = self.to_q.forward(self.norm_slots.forward(slots.clone())) / (d as f64).sqrt();
            // Slots compete for each place, and then each looks at its share of all places.
            let competing = ops::softmax(ops::matmul(keys.clone(), queries.transpose())) + LEAST;
            let seen = competing.clone() / competing.sum_dim(1);
            let update = ops::matmul(seen.transpose(), values.clone()).reshape([b * k, d]);
            let state = self.gru.forward(update, slots.reshape([b * k, d]));
            let more = self.mlp.fc2.forward(ops::relu(self.mlp.fc1.forward(self.norm_mlp.forward(state.clone()))));
            slots = (state + more).reshape([b, k, d]);
        }
        slots
    }

    /// The picture drawn from slots `[B, K, D]`: each draws it whole and says how much of each place is its own.
    pub fn draw(&self, slots: Tensor<3>) -> Drawn {
        let ([b, k, d], [places, _], [channels, _, _]) = (slots.dims(), self.edges.dims(), self.config.observation);
        let spread =
            slots.reshape([b * k, 1, d]) + self.decoder_place.forward(self.edges.val()).reshape([1, places, d]);
        let mut x = spread;
        for (layer, map) in self.decoder.iter().enumerate() {
            if layer > 0 {
                x = ops::relu(x);
            }
            x = map.forward(x);
        }
        let of_channels = |from: usize, count: usize| x.clone().narrow(2, from, count);
        let strength = of_channels(channels, 1).reshape([b, k, places]).swap_dims(1, 2);
        let masks = ops::softmax(strength).swap_dims(1, 2);
        let colours = of_channels(0, channels).reshape([b, k, places, channels]);
        let picture = (colours * masks.clone().reshape([b, k, places, 1])).sum_dim(1);
        Drawn { picture: picture.reshape([b, places, channels]).swap_dims(1, 2), masks }
    }

    /// The mean squared error, `[1]`, of pictures `[B, C, H, W]` that are drawn again at half their resolution.
    pub fn redrawn(&self, observations: Tensor<4>) -> Tensor<1> {
        let [b, c, h, w] = observations.dims();
        let halved = observations.clone().reshape([b * c * h / 2, 2, w / 2, 2]).mean_dim(3).mean_dim(1);
        let drawn = self.draw(self.slots(observations)).picture;
        ops::l2(drawn, halved.reshape([b, c, h * w / 4]))
    }
}

impl ImageNetwork for SlotAutoencoder {
    fn tokens(&self, observations: Tensor<4>) -> FeatureMap {
        FeatureMap { tokens: self.slots(observations), grid: (self.config.slots, 1) }
    }

    fn width(&self) -> usize {
        self.config.width
    }

    fn image(&self) -> (usize, usize) {
        (self.config.observation[1], self.config.observation[2])
    }

    fn channels(&self) -> usize {
        self.config.observation[0]
    }
}

impl SlotEncoder for SlotAutoencoder {
    const GIVEN: bool = false;

    fn learn(&self, observations: Tensor<4>) -> Option<Tensor<1>> {
        Some(self.redrawn(observations))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const CONFIG: SlotAttentionConfig =
        SlotAttentionConfig { observation: [3, 8, 6], slots: 4, width: 8, channels: 6, iterations: 2, decoder: 10 };

    fn pictures(seed: u64) -> Tensor<4> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..2 * 144).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, [2, 3, 8, 6]), &Device::flex())
    }

    fn network() -> SlotAutoencoder {
        CONFIG.init(&mut ChaCha8Rng::seed_from_u64(1), &Device::flex())
    }

    fn largest<const D: usize>(difference: Tensor<D>) -> f32 {
        ops::values(difference.abs()).into_iter().fold(0.0, f32::max)
    }

    #[test]
    fn slots_that_begin_in_another_order_end_in_that_order_and_draw_the_same() {
        let (network, pictures) = (network(), pictures(2));
        let order = [2, 0, 3, 1];
        let turned = |x: Tensor<3>| Tensor::cat(order.map(|k| x.clone().narrow(1, k, 1)).to_vec(), 1);
        let mut other = network.clone();
        other.begin = Param::initialized(network.begin.id, turned(network.begin.val()));
        let (slots, found) = (network.slots(pictures.clone()), other.slots(pictures));
        assert!(largest(turned(slots.clone()) - found.clone()) < 1e-5);
        assert!(largest(slots.clone() - found.clone()) > 0.1, "the slots differ");
        let (one, two) = (network.draw(slots), network.draw(found));
        assert!(largest(one.picture - two.picture) < 1e-5 && largest(turned(one.masks) - two.masks) < 1e-5);
    }

    #[test]
    fn each_place_is_shared_among_slots() {
        let drawn = network().draw(network().slots(pictures(2)));
        assert_eq!((drawn.picture.dims(), drawn.masks.dims()), ([2, 3, 12], [2, 4, 12]));
        assert!(largest(drawn.masks.sum_dim(1) - 1.0) < 1e-6);
    }

    #[test]
    fn the_error_is_that_of_the_picture_at_half_its_resolution() {
        let mut network = network();
        // A decoder that draws nothing but zeros: the error is the mean square of the halved picture.
        let last = network.decoder.last_mut().unwrap();
        last.weight = Param::initialized(last.weight.id, last.weight.val().zeros_like());
        last.bias = Param::initialized(last.bias.id, last.bias.val().zeros_like());
        let seen = pictures(2);
        let values = ops::values(seen.clone());
        let at = |i: usize, row: usize, column: usize| values[(i * 8 + row) * 6 + column];
        let mut sum = 0.0;
        for i in 0..6 {
            for row in 0..4 {
                for column in 0..3 {
                    let (r, c) = (2 * row, 2 * column);
                    let mean = (at(i, r, c) + at(i, r, c + 1) + at(i, r + 1, c) + at(i, r + 1, c + 1)) / 4.0;
                    sum += mean * mean;
                }
            }
        }
        let found = ops::values(network.redrawn(seen))[0];
        assert!((found - sum / 72.0).abs() < 1e-6, "{found} and {}", sum / 72.0);
    }
}
