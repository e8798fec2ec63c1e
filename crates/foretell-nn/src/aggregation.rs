//! Class attention over neighbours or over all tokens: the head by which DMT-JEPA (Mo and Tong, 2024, arXiv 2405.17995) gathers what is
//! alike into its targets, and the whole into its context.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{LayerNorm, Linear, Mlp};

/// One query that attends to itself and to others (CaiT, arXiv 2103.17239), with the norms and the MLP of a block.
#[derive(Module, Debug)]
pub struct ClassBlock {
    /// Of the query and of the others.
    pub norm1: LayerNorm,
    /// D → D.
    pub q: Linear,
    /// D → 2 D, rows `[k; v]`.
    pub kv: Linear,
    /// D → D.
    pub proj: Linear,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// The MLP.
    pub mlp: Mlp,
    heads: usize,
}

impl ClassBlock {
    fn new(width: usize, heads: usize, hidden: usize, init: &mut Init<'_>) -> Self {
        let std = 0.02;
        Self {
            norm1: LayerNorm::new(width, 1e-6, init),
            q: Linear::vit(width, width, std, init),
            kv: Linear::vit(width, 2 * width, std, init),
            proj: Linear::vit(width, width, std, init),
            norm2: LayerNorm::new(width, 1e-6, init),
            mlp: Mlp { fc1: Linear::vit(width, hidden, std, init), fc2: Linear::vit(hidden, width, std, init) },
            heads,
        }
    }

    /// Keys and values of what is asked: `[.., D]` → `[.., 2 D]`.
    fn keys<const R: usize>(&self, tokens: Tensor<R>) -> Tensor<R> {
        self.kv.forward(self.norm1.forward(tokens))
    }

    /// What a query `[R, 1, D]` finds in itself and in the first so many of the others, whose keys and values are `[R, K, 2 D]`.
    fn found(&self, query: Tensor<3>, others: Tensor<3>, seen: Option<&[usize]>) -> Tensor<3> {
        let query = self.norm1.forward(query);
        let all = Tensor::cat(vec![self.kv.forward(query.clone()), others], 1);
        // The query is the first of its own keys.
        let seen = seen.map(|seen| seen.iter().map(|others| others + 1).collect::<Vec<usize>>());
        self.proj.forward(ops::cross_attention_of(self.q.forward(query), all, self.heads, seen.as_deref()))
    }

    fn after<const R: usize>(&self, x: Tensor<R>) -> Tensor<R> {
        x.clone() + self.mlp.forward(self.norm2.forward(x))
    }
}

/// Whom each of R = B · N tokens asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Rows of the tokens asked, `[R, K]`, the most similar first; beyond those that count any row.
    pub rows: Vec<u32>,
    /// How many of the K count, `[R]`.
    pub counts: Vec<usize>,
    /// The image, below B, whose mean asks, `[R]`.
    pub query: Vec<u32>,
}

/// See the module.
#[derive(Module, Debug)]
pub struct Aggregation {
    /// One after the other.
    pub blocks: Vec<ClassBlock>,
    /// After the last.
    pub norm: LayerNorm,
}

impl Aggregation {
    /// Blocks in the released head.
    pub const BLOCKS: usize = 2;

    /// Fresh, of so many heads, its MLP `hidden` wide.
    pub fn new(width: usize, heads: usize, hidden: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        let blocks = (0..Self::BLOCKS).map(|_| ClassBlock::new(width, heads, hidden, &mut init)).collect();
        Self { blocks, norm: LayerNorm::new(width, 1e-6, &mut init) }
    }

    /// At each place what the mean of the image finds among the neighbours there: `[B, N, D]` → `[B, N, D]`. What the first block found
    /// asks in the second.
    pub fn local(&self, tokens: Tensor<3>, near: &Near) -> Tensor<3> {
        let [batch, count, width] = tokens.dims();
        let (rows, asked) = (batch * count, near.rows.len() / (batch * count).max(1));
        let means = tokens.clone().mean_dim(1).squeeze_dim::<2>(1);
        let tokens = tokens.reshape([rows, width]);
        let query = ops::gather(means, &near.query).reshape([rows, 1, width]);
        let ask = |query: Tensor<3>, block: &ClassBlock| {
            let others = ops::gather(block.keys(tokens.clone()), &near.rows).reshape([rows, asked, 2 * width]);
            block.after(query.clone() + block.found(query, others, Some(&near.counts)))
        };
        self.norm.forward(self.blocks.iter().fold(query, ask)).reshape([batch, count, width])
    }

    /// Tokens with what their mean finds among all of them added to each: `[B, N, D]` → `[B, N, D]`.
    pub fn global(&self, tokens: Tensor<3>) -> Tensor<3> {
        let ask = |x: Tensor<3>, block: &ClassBlock| {
            let found = block.found(x.clone().mean_dim(1), block.keys(x.clone()), None);
            block.after(x + found)
        };
        self.norm.forward(self.blocks.iter().fold(tokens, ask))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn tokens(batch: usize, count: usize) -> Tensor<3> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let values: Vec<f32> = (0..batch * count * 8).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_data(TensorData::new(values, [batch, count, 8]), &Device::flex())
    }

    fn head() -> Aggregation {
        let mut head = Aggregation::new(8, 2, 16, &mut ChaCha8Rng::seed_from_u64(3), &Device::flex());
        // As released weights would be: far from the start, at which nothing is found.
        head = crate::parameters::change(head, &mut |_, values| values * 3.0);
        head
    }

    fn near(rows: Vec<u32>, counts: Vec<usize>, query: Vec<u32>) -> Near {
        Near { rows, counts, query }
    }

    #[test]
    fn neighbours_beyond_the_count_say_nothing_and_others_do() {
        let (head, tokens) = (head(), tokens(2, 3));
        let local = |rows: [u32; 2], count: usize| {
            let rows = rows.repeat(6);
            ops::values(head.local(tokens.clone(), &near(rows, vec![count; 6], vec![0, 0, 0, 1, 1, 1])))
        };
        assert_eq!(local([1, 2], 1), local([1, 4], 1));
        assert_ne!(local([1, 2], 2), local([1, 4], 2));
        let (both, other) = (local([1, 2], 2), local([2, 1], 2));
        assert!(both.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "their order says nothing");
    }

    #[test]
    fn the_mean_of_the_named_image_asks() {
        let (head, tokens) = (head(), tokens(2, 2));
        let local = |query: Vec<u32>| ops::values(head.local(tokens.clone(), &near(vec![0; 4], vec![1; 4], query)));
        let (own, mixed) = (local(vec![0, 0, 1, 1]), local(vec![0, 1, 0, 1]));
        assert_eq!((&own[..8], &own[24..]), (&mixed[..8], &mixed[24..]));
        assert!(own[8..16] != mixed[8..16] && own[16..24] != mixed[16..24]);
        // All ask the same neighbour: without the query they would be alike.
        assert!((0..8).all(|d| (own[d] - own[8 + d]).abs() < 1e-5));
        assert_ne!(own[..8], own[16..24]);
    }

    /// Worked out here with plain sums: one image, one block's attention in two heads, a mask of one neighbour.
    #[test]
    fn a_block_is_its_formula() {
        let (head, tokens) = (head(), tokens(1, 3));
        let block = &head.blocks[0];
        let normed = |x: &[f32]| -> Vec<f64> {
            let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / 8.0;
            let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / 8.0;
            // Weights are 3 and biases 0.
            x.iter().map(|x| 3.0 * (f64::from(*x) - mean) / (variance + 1e-6).sqrt()).collect()
        };
        let map = |layer: &Linear, x: &[f64]| -> Vec<f64> {
            let (weight, bias) = (ops::values(layer.weight.val()), ops::values(layer.bias.val()));
            let row = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
            weight.chunks(x.len()).zip(bias).map(|(weight, bias)| row(weight) + f64::from(bias)).collect()
        };
        let values = ops::values(tokens.clone());
        let mean: Vec<f32> = (0..8).map(|d| (values[d] + values[8 + d] + values[16 + d]) / 3.0).collect();
        let keys: Vec<Vec<f64>> = [&mean[..], &values[8..16]].map(|x| map(&block.kv, &normed(x))).into();
        let q = map(&block.q, &normed(&mean));
        let mut found = Vec::new();
        for head in 0..2 {
            let at = |d: usize| head * 4 + d;
            let score = |key: &Vec<f64>| (0..4).map(|d| q[at(d)] * key[at(d)]).sum::<f64>() / 2.0;
            let weights: Vec<f64> = keys.iter().map(|key| score(key).exp()).collect();
            let total: f64 = weights.iter().sum();
            found.extend((0..4).map(|d| keys.iter().zip(&weights).map(|(k, w)| k[8 + at(d)] * w / total).sum::<f64>()));
        }
        let expected = map(&block.proj, &found);
        let others = block.keys(tokens.slice([0..1, 1..3, 0..8]));
        let query = Tensor::<1>::from_floats(mean.as_slice(), &Device::flex()).reshape([1, 1, 8]);
        let got = ops::values(block.found(query, others, Some(&[1])));
        assert!(expected.iter().zip(&got).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-4), "{expected:?} {got:?}");
    }

    #[test]
    fn the_whole_is_added_to_every_token() {
        let (head, tokens) = (head(), tokens(2, 4));
        let block = &head.blocks[0];
        let found = block.found(tokens.clone().mean_dim(1), block.keys(tokens.clone()), None);
        assert_eq!(found.dims(), [2, 1, 8]);
        let out = head.global(tokens.clone());
        assert_eq!(out.dims(), [2, 4, 8]);
        // Another token anywhere changes what every token is given.
        let mut values = ops::values(tokens);
        values[3 * 8] += 1.0;
        let other = head.global(Tensor::from_data(TensorData::new(values, [2, 4, 8]), &Device::flex()));
        let (out, other) = (ops::values(out), ops::values(other));
        assert!((0..4).all(|token| out[token * 8..(token + 1) * 8] != other[token * 8..(token + 1) * 8]));
        assert_eq!(out[32..], other[32..]);
    }
}
