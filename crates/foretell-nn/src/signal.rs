//! The networks of Signal-JEPA (Guetschel et al., 2024, arXiv 2403.11772): a convolutional encoder that turns about a second of one
//! electrode into a token, codes of where the electrode lies and of when, and a transformer over the tokens of all electrodes, with a
//! decoder that asks it for electrodes that it did not see. Names and layouts are those of `braindecode`.
//!
//! The convolutions do not overlap but for the first, whose pieces of signal the host cuts ([`pieces`]): all of them are matrix products.
//! Tokens of a sample lie electrode by electrode; samples may show any electrodes, and nothing is padded.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_ops::{self as ops, Sets};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Init;
use crate::layers::{LayerNorm, Linear};

/// Samples of the first convolution's kernel, and from one to the next.
pub const KERNEL: usize = 32;
/// See [`KERNEL`].
pub const STRIDE: usize = 8;
/// Convolutions behind the first: each joins two moments.
const HALVINGS: usize = 4;
/// The longest window of the released time code, in tokens.
const MOMENTS: f64 = 600.0;

/// What becomes of the first convolution's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalNorm {
    /// A weight and a bias for each filter: signals are brought to one unit for all electrodes beforehand, and which electrode has
    /// more of something is kept. Ours.
    #[default]
    Fixed,
    /// The released code: each filter's course over one electrode to mean 0 and variance 1. How strong a signal is at an electrode is
    /// lost, and with it most of where its source lies.
    Electrode,
}

/// Lengths of a [`SignalEncoder`].
#[derive(Clone, Debug, PartialEq)]
pub struct SignalConfig {
    /// Where the electrodes lie.
    pub places: Vec<[f32; 3]>,
    /// Token width D: a multiple of 8 and of `heads`, 32 at least.
    pub width: usize,
    /// Blocks of the encoder.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the blocks: 2048 in the released code, whatever the width.
    pub hidden: usize,
    /// What becomes of the first convolution's output.
    pub norm: SignalNorm,
}

/// Pieces of a signal of so many samples that the first convolution sees.
pub fn pieces_of(samples: usize) -> usize {
    if samples < KERNEL { 0 } else { (samples - KERNEL) / STRIDE + 1 }
}

/// Tokens of a signal of so many samples: one a second at 128 Hz, each of 1.1875 seconds.
pub fn tokens_of(samples: usize) -> usize {
    pieces_of(samples) >> HALVINGS
}

/// The pieces of signals `[S, T]` of `samples` = T each: `[S · P, 32]`.
pub fn pieces(values: &[f32], samples: usize) -> Vec<f32> {
    let signals = values.chunks_exact(samples.max(1));
    let starts = || (0..pieces_of(samples)).map(|piece| piece * STRIDE);
    signals.flat_map(|signal| starts().flat_map(move |start| &signal[start..start + KERNEL])).copied().collect()
}

/// Values of a token that tell the electrode's place, and the moment: 30 and 34 of 64.
fn shares(width: usize) -> (usize, usize) {
    // Three coordinates with sines and cosines each.
    let place = width * 30 / 64 / 6 * 6;
    (place, width - place)
}

/// A weight and a bias for each channel.
#[derive(Module, Debug)]
pub struct Affine {
    /// `[O]`.
    pub weight: Param<Tensor<1>>,
    /// `[O]`.
    pub bias: Param<Tensor<1>>,
}

/// One convolution, without a bias; the first has a norm behind it.
#[derive(Module, Debug)]
pub struct SignalConv {
    /// `[O, I, k]`.
    pub weight: Param<Tensor<3>>,
    /// Behind it.
    pub norm: Option<Affine>,
}

impl SignalConv {
    /// Rows `[R, I · k]` in the order `(k, I)` → `[R, O]`; where `whole`, with the norm's weight and bias in the same product.
    fn forward(&self, rows: Tensor<2>, whole: bool) -> Tensor<2> {
        let [outputs, inputs, kernel] = self.weight.dims();
        let weight = self.weight.val().swap_dims(1, 2).reshape([outputs, inputs * kernel]);
        match &self.norm {
            Some(Affine { weight: scale, bias }) if whole => {
                ops::linear(rows, weight * scale.val().reshape([outputs, 1]), bias.val())
            }
            _ => {
                let none = Tensor::zeros([outputs], &rows.device().inner());
                ops::linear(rows, weight, none)
            }
        }
    }
}

/// The codes of the electrodes' places, which learn.
#[derive(Module, Debug)]
pub struct ChannelCodes {
    /// `[C, 30]` of 64.
    pub weight: Param<Tensor<2>>,
}

/// Codes of places and moments.
#[derive(Module, Debug)]
pub struct SignalPlaces {
    /// Of the electrodes.
    pub pos_encoder_spat: ChannelCodes,
}

/// Multi-head attention with packed maps.
#[derive(Module, Debug)]
pub struct SignalAttention {
    /// `[3 D, D]`, rows `[q; k; v]`.
    pub in_proj_weight: Param<Tensor<2>>,
    /// `[3 D]`.
    pub in_proj_bias: Param<Tensor<1>>,
    /// D → D.
    pub out_proj: Linear,
    heads: usize,
}

/// Glorot and Bengio's bound: what PyTorch's transformer draws its matrices from.
fn xavier(outputs: usize, inputs: usize) -> f64 {
    (6.0 / (inputs + outputs) as f64).sqrt()
}

impl SignalAttention {
    fn new(width: usize, heads: usize, init: &mut Init<'_>) -> Self {
        Self {
            in_proj_weight: init.uniform([3 * width, width], xavier(3 * width, width)),
            in_proj_bias: init.constant([3 * width], 0.0),
            out_proj: Linear {
                weight: init.uniform([width, width], xavier(width, width)),
                bias: init.constant([width], 0.0),
            },
            heads,
        }
    }

    /// Within each set, `[R, D]` → `[R, D]`.
    fn within(&self, x: Tensor<2>, sets: &Sets) -> Tensor<2> {
        let qkv = ops::linear(x, self.in_proj_weight.val(), self.in_proj_bias.val());
        self.out_proj.forward(ops::attention(qkv, sets, self.heads))
    }

    /// Rows that ask those of another kind, set by set: `[Q, D]` and `[M, D]` → `[Q, D]`.
    fn across(&self, asking: Tensor<2>, of: &Sets, memory: Tensor<2>, sets: &Sets) -> Tensor<2> {
        let [_, width] = asking.dims();
        let (weight, bias) = (self.in_proj_weight.val(), self.in_proj_bias.val());
        let map = |x: Tensor<2>, rows: std::ops::Range<usize>| {
            ops::linear(x, weight.clone().slice([rows.clone(), 0..width]), bias.clone().slice([rows]))
        };
        let queries = map(asking, 0..width);
        let kv = map(memory, width..3 * width);
        let count = of.count();
        let longest = |sets: &Sets| (0..count).map(|set| sets.range(set).len()).max().unwrap_or(0);
        let (most, keys) = (longest(of), longest(sets));
        // Rows behind a set's last are its last again: keys among them are not seen, queries are not read.
        let filled = |sets: &Sets, most: usize| -> Vec<u32> {
            let of_set = |set: usize| {
                let range = sets.range(set);
                (0..most).map(move |i| (range.start + i.min(range.len().saturating_sub(1))) as u32)
            };
            (0..count).flat_map(of_set).collect()
        };
        let queries = ops::gather(queries, &filled(of, most)).reshape([count, most, width]);
        let kv = ops::gather(kv, &filled(sets, keys)).reshape([count, keys, 2 * width]);
        let seen: Vec<usize> = (0..count).map(|set| sets.range(set).len()).collect();
        let answers = ops::cross_attention_of(queries, kv, self.heads, Some(&seen)).reshape([count * most, width]);
        let back: Vec<u32> =
            (0..count).flat_map(|set| (0..of.range(set).len()).map(move |i| (set * most + i) as u32)).collect();
        self.out_proj.forward(ops::gather(answers, &back))
    }
}

/// A post-norm block of PyTorch's transformer, with a rectifier. A decoder's has attention across as well.
#[derive(Module, Debug)]
pub struct SignalBlock {
    /// Among its own tokens.
    pub self_attn: SignalAttention,
    /// To what the encoder made.
    pub multihead_attn: Option<SignalAttention>,
    /// D → hidden.
    pub linear1: Linear,
    /// hidden → D.
    pub linear2: Linear,
    /// Behind the first sum.
    pub norm1: LayerNorm,
    /// Behind the second.
    pub norm2: LayerNorm,
    /// Behind the third, in a decoder.
    pub norm3: Option<LayerNorm>,
}

const EPS: f64 = 1e-5;

impl SignalBlock {
    fn new(width: usize, heads: usize, hidden: usize, decodes: bool, init: &mut Init<'_>) -> Self {
        let linear = |inputs: usize, outputs: usize, init: &mut Init<'_>| Linear {
            weight: init.uniform([outputs, inputs], xavier(outputs, inputs)),
            bias: init.uniform([outputs], 1.0 / (inputs as f64).sqrt()),
        };
        Self {
            self_attn: SignalAttention::new(width, heads, init),
            multihead_attn: decodes.then(|| SignalAttention::new(width, heads, init)),
            linear1: linear(width, hidden, init),
            linear2: linear(hidden, width, init),
            norm1: LayerNorm::new(width, EPS, init),
            norm2: LayerNorm::new(width, EPS, init),
            norm3: decodes.then(|| LayerNorm::new(width, EPS, init)),
        }
    }

    fn fed(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear2.forward(ops::relu(self.linear1.forward(x)))
    }

    /// `[R, D]` → `[R, D]`, each set attending to itself and, in a decoder, to a set of the memory.
    fn forward(&self, x: Tensor<2>, sets: &Sets, memory: Option<(&Tensor<2>, &Sets)>) -> Tensor<2> {
        let x = self.norm1.forward(x.clone() + self.self_attn.within(x, sets));
        let (Some(across), Some(norm3), Some((memory, of))) = (&self.multihead_attn, &self.norm3, memory) else {
            return self.norm2.forward(x.clone() + self.fed(x));
        };
        let x = self.norm2.forward(x.clone() + across.across(x, sets, memory.clone(), of));
        norm3.forward(x.clone() + self.fed(x))
    }
}

/// Blocks and a last norm.
#[derive(Module, Debug)]
pub struct SignalBlocks {
    /// In their order.
    pub layers: Vec<SignalBlock>,
    /// Behind the last.
    pub norm: LayerNorm,
}

impl SignalBlocks {
    fn new(
        (depth, decodes): (usize, bool),
        (width, heads, hidden): (usize, usize, usize),
        init: &mut Init<'_>,
    ) -> Self {
        Self {
            layers: (0..depth).map(|_| SignalBlock::new(width, heads, hidden, decodes, init)).collect(),
            norm: LayerNorm::new(width, EPS, init),
        }
    }

    fn forward(&self, x: Tensor<2>, sets: &Sets, memory: Option<(&Tensor<2>, &Sets)>) -> Tensor<2> {
        self.norm.forward(self.layers.iter().fold(x, |x, block| block.forward(x, sets, memory)))
    }
}

/// The encoder's half of PyTorch's transformer.
#[derive(Module, Debug)]
pub struct SignalContext {
    /// The blocks.
    pub encoder: SignalBlocks,
}

/// See the module.
#[derive(Module, Debug)]
pub struct SignalEncoder {
    /// Convolutions, the first on pieces of signal.
    pub feature_encoder: Vec<SignalConv>,
    /// Codes.
    pub pos_encoder: SignalPlaces,
    /// The transformer.
    pub transformer: SignalContext,
    #[module(skip)]
    norm: SignalNorm,
}

impl SignalConfig {
    /// A fresh network with PyTorch's and `braindecode`'s starting weights.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> SignalEncoder {
        let Self { places, width, depth, heads, hidden, norm } = self;
        let mut init = Init::new(rng, device);
        let widths = [width / 8, width / 4, width / 2, *width, *width];
        let mut inputs = 1;
        let mut conv = |(place, outputs): (usize, usize)| {
            let kernel = if place == 0 { KERNEL } else { 2 };
            let weight = init.he([outputs, inputs, kernel], inputs * kernel);
            let norm = (place == 0)
                .then(|| Affine { weight: init.constant([outputs], 1.0), bias: init.constant([outputs], 0.0) });
            inputs = outputs;
            SignalConv { weight, norm }
        };
        let feature_encoder = widths.into_iter().enumerate().map(&mut conv).collect();
        let (place, _) = shares(*width);
        let codes = place_codes(places, place);
        let mut weight = init.constant([places.len(), place], 0.0);
        weight = weight.map(|zeros| {
            let learns = zeros.is_require_grad();
            let codes = Tensor::from_data(TensorData::new(codes, [places.len(), place]), &zeros.device());
            if learns { codes.require_grad() } else { codes }
        });
        SignalEncoder {
            feature_encoder,
            pos_encoder: SignalPlaces { pos_encoder_spat: ChannelCodes { weight } },
            transformer: SignalContext {
                encoder: SignalBlocks::new((*depth, false), (*width, *heads, *hidden), &mut init),
            },
            norm: *norm,
        }
    }
}

/// Sines and cosines of the three coordinates, `[C, width]`: of x / (10 max |coordinate|), at frequencies from exp(2π) downwards.
fn place_codes(places: &[[f32; 3]], width: usize) -> Vec<f32> {
    let most = places.iter().flatten().fold(0.0_f64, |most, x| most.max(f64::from(x.abs()))).max(f64::MIN_POSITIVE);
    let each = width / 3;
    let code = |x: f32| {
        let at = f64::from(x) / (10.0 * most);
        (0..each).map(move |i| {
            let even = i / 2 * 2;
            let angle = at * ((1.0 - even as f64 / each as f64) * std::f64::consts::TAU).exp();
            (if i % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
        })
    };
    places.iter().flatten().flat_map(|x| code(*x)).collect()
}

/// Sines and cosines of the moment, `[tokens, width]`.
fn time_codes(tokens: usize, width: usize) -> Vec<f32> {
    let value = |moment: usize, i: usize| {
        let even = i / 2 * 2;
        let angle = moment as f64 * (-(even as f64) * MOMENTS.ln() / width as f64).exp();
        (if i.is_multiple_of(2) { angle.sin() } else { angle.cos() }) as f32
    };
    (0..tokens).flat_map(|moment| (0..width).map(move |i| value(moment, i))).collect()
}

impl SignalEncoder {
    /// D.
    pub fn width(&self) -> usize {
        self.transformer.encoder.norm.weight.dims()[0]
    }

    /// C: electrodes that it has codes for.
    pub fn electrodes(&self) -> usize {
        self.pos_encoder.pos_encoder_spat.weight.dims()[0]
    }

    /// Tokens of signals without their places: [`pieces`] `[S · P, 32]` → `[S · N, D]`.
    ///
    /// # Panics
    /// If there are not as many pieces of each signal.
    pub fn local(&self, pieces: Tensor<2>, signals: usize) -> Tensor<2> {
        let [rows, _] = pieces.dims();
        let mut moments = rows / signals.max(1);
        assert_eq!(rows, moments * signals, "as many pieces of each signal");
        let mut x = pieces;
        for (place, conv) in self.feature_encoder.iter().enumerate() {
            if place > 0 {
                let [_, width] = x.dims();
                let halved = moments / 2;
                if moments % 2 == 1 {
                    let even = x.reshape([signals, moments, width]).slice([0..signals, 0..2 * halved, 0..width]);
                    x = even.reshape([signals * 2 * halved, width]);
                }
                x = x.reshape([signals * halved, 2 * width]);
                moments = halved;
            }
            let fixed = self.norm == SignalNorm::Fixed;
            x = conv.forward(x, fixed);
            if let Some(Affine { weight, bias }) = conv.norm.as_ref().filter(|_| !fixed) {
                let [_, width] = x.dims();
                let device = x.device().inner();
                let courses = x.reshape([signals, moments, width]).swap_dims(1, 2);
                let (one, zero) = (Tensor::ones([moments], &device), Tensor::zeros([moments], &device));
                let even = ops::layer_norm(courses, one, zero, EPS);
                x = even.swap_dims(1, 2).reshape([signals * moments, width]);
                x = x * weight.val().unsqueeze() + bias.val().unsqueeze();
            }
            x = ops::gelu(x);
        }
        x
    }

    /// Codes of tokens: of each of these electrodes one for each moment, `[S · N, D]`.
    pub fn codes(&self, electrodes: &[u32], tokens: usize) -> Tensor<2> {
        let table = self.pos_encoder.pos_encoder_spat.weight.val();
        let (_, time) = shares(self.width());
        let rows: Vec<u32> = electrodes.iter().flat_map(|electrode| std::iter::repeat_n(*electrode, tokens)).collect();
        let moments = time_codes(tokens, time).repeat(electrodes.len());
        let moments = TensorData::new(moments, [rows.len(), time]);
        let moments = Tensor::<2>::from_data(moments, &table.device().inner());
        let moments = if table.device().is_autodiff() { moments.autodiff() } else { moments };
        Tensor::cat(vec![ops::gather(table, &rows), moments], 1)
    }

    /// Tokens in the light of each other: pieces of signals of these electrodes, whose tokens form the sets → `[S · N, D]`.
    pub fn forward(&self, pieces: Tensor<2>, electrodes: &[u32], sets: &Sets) -> Tensor<2> {
        let local = self.local(pieces, electrodes.len());
        let tokens = local.dims()[0] / electrodes.len().max(1);
        let placed = local + self.codes(electrodes, tokens);
        self.transformer.encoder.forward(placed, sets, None)
    }
}

/// The decoder, which asks the context for tokens that it did not see.
#[derive(Module, Debug)]
pub struct SignalPredictor {
    /// `[1, D]`: what is asked for before its place is known.
    pub mask_token: Param<Tensor<2>>,
    /// The blocks.
    pub decoder: SignalBlocks,
}

impl SignalPredictor {
    /// A fresh network; lengths as in [`SignalConfig`].
    pub fn new(depth: usize, lengths: (usize, usize, usize), rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self {
            mask_token: init.truncated_normal([1, lengths.0], 0.02),
            decoder: SignalBlocks::new((depth, true), lengths, &mut init),
        }
    }

    /// Predictions of the tokens that have these codes, set by set, from what the encoder made of the others: `[Q, D]` → `[Q, D]`.
    pub fn forward(&self, codes: Tensor<2>, asked: &Sets, context: &Tensor<2>, seen: &Sets) -> Tensor<2> {
        self.decoder.forward(codes + self.mask_token.val(), asked, Some((context, seen)))
    }
}

/// The released name of a tensor of a [`SignalEncoder`], and the other way round.
pub mod names {
    /// `feature_encoder.0.norm.weight` → `feature_encoder.1.2.weight`.
    pub fn released(name: &str) -> String {
        let renamed = || {
            let (place, rest) = name.strip_prefix("feature_encoder.")?.split_once('.')?;
            let place: usize = place.parse().ok()?;
            let (part, rest) = match rest.strip_prefix("norm.") {
                Some(rest) => (2, rest),
                None => (0, rest),
            };
            Some(format!("feature_encoder.{}.{part}.{rest}", place + 1))
        };
        renamed().unwrap_or_else(|| name.to_owned())
    }

    /// `feature_encoder.1.2.weight` → `feature_encoder.0.norm.weight`; anything else stays as it is.
    pub fn own(name: &str) -> String {
        let renamed = || {
            let mut parts = name.strip_prefix("feature_encoder.")?.splitn(3, '.');
            let place: usize = parts.next()?.parse().ok()?;
            let part = match parts.next()? {
                "0" => "",
                "2" => "norm.",
                _ => return None,
            };
            Some(format!("feature_encoder.{}.{part}{}", place.checked_sub(1)?, parts.next()?))
        };
        renamed().unwrap_or_else(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use foretell_data::random::{Stream, rng};

    use super::*;

    fn config(norm: SignalNorm) -> SignalConfig {
        let places = vec![[-0.5, 0.5, 0.7], [0.5, 0.5, 0.7], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]];
        SignalConfig { places, width: 32, depth: 2, heads: 4, hidden: 48, norm }
    }

    fn tokens(config: &SignalConfig, values: &[f32], electrodes: &[u32], sets: &Sets) -> Vec<f32> {
        let device = Device::flex();
        let network = config.init(&mut rng(0, Stream::Init, 0, 0), &device);
        let pieces = pieces(values, 256);
        let rows = pieces.len() / KERNEL;
        let pieces = Tensor::<2>::from_data(TensorData::new(pieces, [rows, KERNEL]), &device);
        ops::values(network.forward(pieces, electrodes, sets))
    }

    fn signals(count: usize) -> Vec<f32> {
        (0..count * 256).map(|i| ((i * 37 + i / 256 * 11) as f32 * 0.05).sin()).collect()
    }

    #[test]
    fn lengths_are_the_published_ones() {
        // 16 seconds at 128 Hz.
        assert_eq!((pieces_of(2048), tokens_of(2048)), (253, 15));
        assert_eq!(tokens_of(512), 3);
        assert_eq!(tokens_of(152), 1);
        assert_eq!(tokens_of(151), 0);
        assert_eq!(tokens_of(10), 0);
        assert_eq!(shares(64), (30, 34));
        for width in [32, 64, 128, 192] {
            let (place, time) = shares(width);
            assert!(place > 0 && place % 6 == 0 && time % 2 == 0 && place + time == width);
        }
    }

    /// Electrodes that are not shown are not seen, and samples of a batch do not see each other.
    #[test]
    fn sets_of_different_electrodes_are_what_they_are_alone() {
        let config = config(SignalNorm::Fixed);
        let values = signals(5);
        let (first, second) = (&values[..3 * 256], &values[3 * 256..]);
        let each = tokens_of(256);
        let both = tokens(&config, &values, &[0, 1, 3, 2, 0], &Sets::of_lengths(&[3 * each, 2 * each]));
        let alone = [
            tokens(&config, first, &[0, 1, 3], &Sets::of_lengths(&[3 * each])),
            tokens(&config, second, &[2, 0], &Sets::of_lengths(&[2 * each])),
        ]
        .concat();
        assert_eq!(both.len(), alone.len());
        assert!(both.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    /// What the released norm loses: an electrode with ten times the voltage has the same tokens.
    #[test]
    fn the_released_norm_does_not_tell_how_strong_a_signal_is() {
        let sets = Sets::of_lengths(&[2 * tokens_of(256)]);
        let values = signals(2);
        let louder: Vec<f32> = values.iter().enumerate().map(|(i, x)| if i < 256 { 10.0 * x } else { *x }).collect();
        let off = |norm| {
            let config = config(norm);
            let [a, b] = [&values, &louder].map(|values| tokens(&config, values, &[0, 1], &sets));
            a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(off(SignalNorm::Electrode) < 1e-3, "{}", off(SignalNorm::Electrode));
        assert!(off(SignalNorm::Fixed) > 0.05, "{}", off(SignalNorm::Fixed));
    }

    /// `Fixed` is a weight and a bias behind the first convolution: a weight of 2 is a convolution of twice the weights.
    #[test]
    fn the_fixed_norm_is_a_weight_and_a_bias() {
        let config = config(SignalNorm::Fixed);
        let device = Device::flex();
        let sets = Sets::of_lengths(&[2 * tokens_of(256)]);
        let of = |change: &dyn Fn(&str) -> f32| {
            let network = config.init(&mut rng(0, Stream::Init, 0, 0), &device);
            let network = crate::parameters::change(network, &mut |parameter, old| old * change(parameter.name));
            let pieces = pieces(&signals(2), 256);
            let rows = pieces.len() / KERNEL;
            let pieces = Tensor::<2>::from_data(TensorData::new(pieces, [rows, KERNEL]), &device);
            ops::values(network.forward(pieces, &[0, 1], &sets))
        };
        let doubled = |wanted: &'static str| move |name: &str| if name == wanted { 2.0 } else { 1.0 };
        let norm = of(&doubled("feature_encoder.0.norm.weight"));
        let conv = of(&doubled("feature_encoder.0.weight"));
        assert!(norm.iter().zip(&conv).all(|(a, b)| (a - b).abs() < 1e-5));
        assert!(of(&|_| 1.0).iter().zip(&conv).any(|(a, b)| (a - b).abs() > 1e-3));
    }

    #[test]
    fn names_are_told_both_ways() {
        for (own, released) in [
            ("feature_encoder.0.weight", "feature_encoder.1.0.weight"),
            ("feature_encoder.0.norm.bias", "feature_encoder.1.2.bias"),
            ("feature_encoder.4.weight", "feature_encoder.5.0.weight"),
            ("transformer.encoder.layers.0.linear1.weight", "transformer.encoder.layers.0.linear1.weight"),
        ] {
            assert_eq!(names::released(own), released);
            assert_eq!(names::own(released), own);
        }
    }
}
