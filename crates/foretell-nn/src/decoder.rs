//! MAE's decoder (He et al., 2022, arXiv 2111.06377) for an encoder whose tokens include the hidden ones: a narrow transformer over
//! all of them that says so many numbers of each hidden place.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::layers::{Block, LayerNorm, Linear};
use crate::{Init, positions};

/// Lengths of a [`Decoder`]. [`DecoderConfig::init`] makes the network.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Rows and columns of tokens.
    pub grid: (usize, usize),
    /// The encoder's width D.
    pub encoder_width: usize,
    /// Its own width P: a multiple of 4 (position code) and of `heads`.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Numbers for each hidden place, K.
    pub outputs: usize,
}

impl DecoderConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Decoder {
        let mut init = Init::new(rng, device);
        let (rows, cols) = self.grid;
        let pos = positions::sincos_2d(rows, cols, self.width);
        Decoder {
            decoder_embed: Linear::vit(self.encoder_width, self.width, 0.02, &mut init),
            decoder_pos_embed: init.buffer(pos, [1, rows * cols, self.width]),
            decoder_blocks: (0..self.depth)
                .map(|_| Block::new(self.width, self.heads, 4 * self.width, &mut init))
                .collect(),
            decoder_norm: LayerNorm::new(self.width, 1e-6, &mut init),
            decoder_pred: Linear::vit(self.width, self.outputs, 0.02, &mut init),
        }
    }
}

/// See [`DecoderConfig`]. Parameters have MAE's names.
#[derive(Module, Debug)]
pub struct Decoder {
    /// D → P.
    pub decoder_embed: Linear,
    /// `[1, N, P]`, fixed.
    pub decoder_pos_embed: Param<Tensor<3>>,
    /// The transformer.
    pub decoder_blocks: Vec<Block>,
    /// After the last block.
    pub decoder_norm: LayerNorm,
    /// P → K.
    pub decoder_pred: Linear,
}

impl Decoder {
    /// What is said of the hidden places.
    ///
    /// # Shapes
    /// - `tokens`: `[B, V + H, D]`, those seen first, as [`Vit::encode_masked`](crate::vit::Vit::encode_masked) gives them
    /// - `seen_at`: `[B, V]` and `hidden_at`: `[B, H]` row-major, positions in the raster
    /// - output: `[B, H, K]`
    pub fn forward(&self, tokens: Tensor<3>, seen_at: &[u32], hidden_at: &[u32]) -> Tensor<3> {
        let [b, all, _] = tokens.dims();
        let [_, n, width] = self.decoder_pos_embed.dims();
        let table = self.decoder_pos_embed.val().inner().reshape([n, width]);
        let codes = vec![positions::gather(table.clone(), seen_at, b), positions::gather(table, hidden_at, b)];
        let x = self.decoder_embed.forward(tokens) + Tensor::cat(codes, 1);
        let x = self.decoder_blocks.iter().fold(x, |x, block| block.forward(x));
        // What lies at the seen places is not asked for: norm and projection run on the hidden ones alone.
        let seen = seen_at.len() / b.max(1);
        let x = x.slice([0..b, seen..all, 0..width]);
        self.decoder_pred.forward(self.decoder_norm.forward(x))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ModuleMapper;
    use burn::tensor::TensorData;
    use foretell_data::random::{Stream, rng};

    use super::*;
    use crate::vit::{Vit, VitConfig};

    const PATCH: usize = 4;

    fn networks(device: &Device) -> (Vit, Decoder) {
        let vit = VitConfig { image: (12, 12), patch: 2, channels: 1, width: 16, depth: 2, heads: 2, hidden: 32 };
        let decoder = DecoderConfig { grid: vit.grid(), encoder_width: 16, width: 8, depth: 1, heads: 2, outputs: 5 };
        let rng = |index| rng(9, Stream::Init, 0, index);
        (vit.init(&mut rng(0), device), decoder.init(&mut rng(1), device))
    }

    fn numbers<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn distance<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        (a - b).abs().max().into_scalar::<f32>()
    }

    #[test]
    fn a_mask_token_stands_where_the_embedded_patch_would() {
        let device = Device::flex();
        let (mut vit, _) = networks(&device);
        // What the embedding makes of a patch of zeros is its bias: with that for a mask token, six hidden patches are six of zeros.
        let bias = numbers([16], &device);
        vit.patch_embed.proj.bias = vit.patch_embed.proj.bias.map(|_| bias.clone());
        let seen = numbers([2, 30, PATCH], &device);
        let zeros = Tensor::zeros([2, 6, PATCH], &device);
        let all = vit.encode_all(Tensor::cat(vec![seen.clone(), zeros], 1));
        let at = |range: std::ops::Range<u32>| range.clone().chain(range).collect::<Vec<u32>>();
        let masked = vit.encode_masked(seen, bias.reshape([1, 1, 16]), &at(0..30), &at(30..36));
        assert!(distance(all, masked) < 1e-5);
    }

    /// Fresh maps hardly mix tokens; with larger ones a token's place is far above rounding in every other's answer.
    struct Larger;

    impl ModuleMapper for Larger {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if D == 2 { param.map(|weight| weight * 10.0) } else { param }
        }
    }

    #[test]
    fn where_tokens_lie_matters_and_the_order_of_their_names_does_not() {
        let device = Device::flex();
        let (vit, decoder) = networks(&device);
        let (vit, decoder) = (vit.map(&mut Larger), decoder.map(&mut Larger));
        let patches = numbers([1, 3, PATCH], &device);
        let mask_token = numbers([1, 1, 16], &device);
        let say = |seen: &[u32], hidden: &[u32]| {
            let tokens = vit.encode_masked(patches.clone(), mask_token.clone(), seen, hidden);
            assert_eq!(tokens.dims(), [1, seen.len() + hidden.len(), 16]);
            decoder.forward(tokens, seen, hidden)
        };
        let first = say(&[1, 8, 20], &[3, 30]);
        assert_eq!(first.dims(), [1, 2, 5]);
        let turned = say(&[1, 8, 20], &[30, 3]);
        assert!(distance(first.clone().narrow(1, 0, 1), turned.clone().narrow(1, 1, 1)) < 1e-5);
        assert!(distance(first.clone(), turned) > 1e-3);
        assert!(distance(first.clone(), say(&[1, 8, 21], &[3, 30])) > 1e-3, "where the seen ones lie");
        assert!(distance(first, say(&[1, 8, 20], &[4, 30])) > 1e-3, "where the hidden ones lie");
    }

    #[test]
    fn the_mask_token_learns() {
        let device = Device::flex().autodiff();
        let (vit, decoder) = networks(&device);
        let plain = Device::flex();
        let mask_token = Init::new(&mut rng(1, Stream::Init, 0, 2), &device).truncated_normal([1, 1, 16], 0.02);
        let tokens = vit.encode_masked(numbers([1, 3, PATCH], &plain), mask_token.val(), &[1, 8, 20], &[3, 30]);
        let gradients = decoder.forward(tokens, &[1, 8, 20], &[3, 30]).square().mean().backward();
        let gradient = mask_token.val().grad(&gradients).expect("the mask token is in the loss");
        assert!(gradient.abs().max().into_scalar::<f32>() > 0.0);
    }
}
