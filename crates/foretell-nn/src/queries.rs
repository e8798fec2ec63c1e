//! What is told of a context for each of several places that follow each other: learnt queries, one for each place, that see each other and
//! attend across to the context (the decoder of ACT, arXiv 2304.13705; decoder and predictor of ACT-JEPA, arXiv 2501.14622).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{Block, LayerNorm, Linear};
use crate::pooler::CrossAttentionBlock;

/// Lengths of a [`Queries`]. [`QueriesConfig::init`] makes the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueriesConfig {
    /// Places, n.
    pub places: usize,
    /// Width of the context's tokens and of its own, D, a multiple of `heads`.
    pub width: usize,
    /// Layers: each is a block of self-attention and one of cross-attention.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Numbers that are told of each place, O.
    pub outputs: usize,
}

/// Deviation of fresh queries: places are told apart from the start.
const CODE: f64 = 0.3;

impl QueriesConfig {
    /// A fresh network.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Queries {
        let Self { places, width, layers, heads, outputs } = *self;
        let mut init = Init::new(rng, device);
        let eps = 1e-6;
        Queries {
            queries: init.truncated_normal([1, places, width], CODE),
            layers: (0..layers)
                .map(|_| QueryLayer {
                    among: Block::new(width, heads, 4 * width, &mut init),
                    across: CrossAttentionBlock::new(width, heads, 4 * width, eps, &mut init),
                })
                .collect(),
            norm: LayerNorm::new(width, eps, &mut init),
            out: Linear::uniform(width, outputs, &mut init),
        }
    }
}

/// One layer of a [`Queries`].
#[derive(Module, Debug)]
pub struct QueryLayer {
    /// Places among each other.
    pub among: Block,
    /// Places to the context.
    pub across: CrossAttentionBlock,
}

/// See [`QueriesConfig`].
#[derive(Module, Debug)]
pub struct Queries {
    /// `[1, n, D]`, learnt: one for each place.
    pub queries: Param<Tensor<3>>,
    /// The transformer.
    pub layers: Vec<QueryLayer>,
    /// After the last layer.
    pub norm: LayerNorm,
    /// D → O.
    pub out: Linear,
}

impl Queries {
    /// Places, n.
    pub fn places(&self) -> usize {
        self.queries.dims()[1]
    }

    /// What is told of each place: contexts `[B, N, D]` → `[B, n, O]`.
    pub fn forward(&self, context: &Tensor<3>) -> Tensor<3> {
        let [b, _, width] = context.dims();
        let queries = self.queries.val().expand([b, self.places(), width]);
        let x =
            self.layers.iter().fold(queries, |x, layer| layer.across.forward(layer.among.forward(x), context.clone()));
        self.out.forward(self.norm.forward(x))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use foretell_data::random::{Stream, rng};
    use foretell_ops as ops;

    use super::*;

    fn contexts(count: usize, tokens: usize) -> Tensor<3> {
        let values: Vec<f32> = (0..count * tokens * 8).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(values, [count, tokens, 8]), &Device::flex())
    }

    #[test]
    fn each_place_is_told_something_else_of_its_own_context_in_whatever_order_the_tokens_stand() {
        let config = QueriesConfig { places: 3, width: 8, layers: 2, heads: 2, outputs: 5 };
        let network = config.init(&mut rng(1, Stream::Init, 0, 0), &Device::flex());
        assert_eq!(network.places(), 3);
        let two = contexts(2, 4);
        let told = network.forward(&two);
        assert_eq!(told.dims(), [2, 3, 5]);
        let of = |told: Tensor<3>, sample: usize| ops::values(told.narrow(0, sample, 1));
        let own = of(told.clone(), 1);
        assert!((0..3).all(|place| own[place * 5..][..5] != own[(place + 1) % 3 * 5..][..5]), "{own:?}");
        assert_ne!(own, of(told, 0), "contexts differ");
        let turned = Tensor::cat([2, 0, 3, 1].map(|token| two.clone().narrow(1, token, 1)).to_vec(), 1);
        let turned = of(network.forward(&turned), 1);
        assert!(own.iter().zip(&turned).all(|(a, b)| (a - b).abs() < 1e-5), "{own:?} {turned:?}");
        let alone = of(network.forward(&two.narrow(0, 1, 1)), 0);
        assert!(own.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-6), "{own:?} {alone:?}");
    }
}
