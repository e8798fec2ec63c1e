//! Attentive probes that are trained: the released network (V-JEPA, arXiv 2404.08471, appendix; V-JEPA 2, arXiv 2506.09985) over packed
//! sets of any lengths, with a query for each kind of label, as V-JEPA 2's probe of anticipation has one for verb, noun and action.
//!
//! A learned query is the same for all samples. So the map of the keys folds into it and that of the values is applied to what it has
//! found ([`ops::query_pool`]): the numbers are those of [`AttentiveClassifier`](crate::pooler::AttentiveClassifier), at a
//! fraction of its work a token, and several probes of one block share the one pass over the tokens.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops::{self as ops, Sets};
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::Linear;
use crate::pooler::{AttentiveConfig, AttentivePooler, CrossAttentionBlock};

/// An attentive probe of several kinds of labels.
#[derive(Module, Debug)]
pub struct AttentiveProbe {
    /// `query_tokens` `[1, L, D]`: a query for each kind of label.
    pub pooler: AttentivePooler,
    /// D → classes, for each kind of label.
    pub linear: Vec<Linear>,
}

impl AttentiveProbe {
    /// A fresh probe; `config.classes` is not read.
    pub fn new(config: &AttentiveConfig, classes: &[usize], rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        let AttentivePooler { cross_attention_block, blocks, .. } = config.build(&mut init).pooler;
        let query_tokens = init.truncated_normal([1, classes.len(), config.width], 0.02);
        let linear = classes.iter().map(|classes| Linear::vit(config.width, *classes, 0.02, &mut init)).collect();
        Self { pooler: AttentivePooler { query_tokens, cross_attention_block, blocks }, linear }
    }

    fn block(&self) -> &CrossAttentionBlock {
        &self.pooler.cross_attention_block
    }

    /// Learned queries, `[L, D]`.
    fn queries(&self) -> Tensor<2> {
        self.pooler.query_tokens.val().squeeze_dim(0)
    }

    /// Logits of each kind of label, `[B, C]`, from what its queries found.
    fn logits(&self, answers: Tensor<3>) -> Vec<Tensor<2>> {
        let [b, _, width] = answers.dims();
        let of = |(label, linear): (usize, &Linear)| {
            linear.forward(answers.clone().slice([0..b, label..label + 1, 0..width]).squeeze_dim::<2>(1))
        };
        self.linear.iter().enumerate().map(of).collect()
    }

    /// Logits of each kind of label.
    ///
    /// # Shapes
    /// - `rows`: `[T, D]`, the sets' tokens one after the other; output: `[B, C]` for each kind of label
    pub fn forward(&self, rows: Tensor<2>, sets: &Sets) -> Vec<Tensor<2>> {
        forward_all(std::slice::from_ref(self), rows, sets).pop().unwrap_or_default()
    }
}

/// The logits of several probes over the same tokens, in one pass over them where they have no blocks of self-attention: as
/// [`AttentiveProbe::forward`] of each. Their widths, heads and labels must be the same.
pub fn forward_all(probes: &[AttentiveProbe], rows: Tensor<2>, sets: &Sets) -> Vec<Vec<Tensor<2>>> {
    if probes.iter().any(|probe| !probe.pooler.blocks.is_empty()) && probes.len() > 1 {
        return probes.iter().map(|probe| probe.forward(rows.clone(), sets)).collect();
    }
    let Some(first) = probes.first() else { return Vec::new() };
    let rows = first.pooler.blocks.iter().fold(rows, |x, block| block.forward_sets(x, sets));
    let [_, width] = rows.dims();
    let sought = probes.iter().map(|probe| probe.block().sought(probe.queries())).collect();
    let found = ops::query_pool(first.block().plain(rows), Tensor::cat(sought, 0), sets);
    let (labels, heads) = (first.linear.len(), first.block().heads());
    let (b, each) = (sets.count(), heads * labels);
    let found = found.reshape([b, probes.len(), each, width]);
    let of = |(place, probe): (usize, &AttentiveProbe)| {
        let found = found.clone().slice([0..b, place..place + 1, 0..each, 0..width]);
        probe.logits(probe.block().answered(probe.queries(), found.reshape([b, heads, labels, width])))
    };
    probes.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use foretell_data::random::{Stream, rng};
    use rand::RngExt;

    use super::*;
    use crate::parameters::gradients;
    use crate::pooler::AttentiveClassifier;

    fn config(depth: usize) -> AttentiveConfig {
        AttentiveConfig { width: 24, heads: 3, hidden: 40, depth, eps: 1e-5, classes: 5 }
    }

    fn noise(rows: usize, seed: u64) -> Tensor<2> {
        let mut random = rng(seed, Stream::Judge, 0, 0);
        let values: Vec<f32> = (0..rows * 24).map(|_| random.random_range(-2.0..2.0)).collect();
        Tensor::from_data(TensorData::new(values, [rows, 24]), &Device::flex())
    }

    /// A probe with one label, and the released network with the same weights.
    fn pair(depth: usize, seed: u64) -> (AttentiveProbe, AttentiveClassifier) {
        let device = Device::flex().autodiff();
        let probe = AttentiveProbe::new(&config(depth), &[5], &mut rng(seed, Stream::Judge, 1, 0), &device);
        let mut given = crate::weights::read(&probe, "");
        // Gains and biases of their own, so that none is forgotten.
        for (name, tensor) in &mut given {
            let bound = if tensor.shape.len() == 1 { 0.4 } else { 0.1 };
            let mut random = rng(seed, Stream::Judge, 2, name.len() as u64);
            tensor.values.iter_mut().for_each(|x| *x += random.random_range(-bound..bound));
        }
        let probe = crate::weights::load_whole(probe, given.clone()).unwrap();
        let released = config(depth).init(&mut rng(9, Stream::Judge, 0, 0), &device);
        let given = given.into_iter().map(|(name, tensor)| (name.replace("linear.0.", "linear."), tensor)).collect();
        (probe, crate::weights::load_whole(released, given).unwrap())
    }

    fn close(a: &[f32], b: &[f32], what: &str) {
        let scale = b.iter().fold(1e-3_f32, |m, x| m.max(x.abs()));
        let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(a.len() == b.len() && worst <= 2e-5 * scale, "{what}: off by {worst} of {scale}");
    }

    /// Logits and gradients are those of the released network, for one block and for four.
    #[test]
    fn a_probe_is_the_released_network() {
        for depth in [0, 3] {
            let (probe, released) = pair(depth, 4);
            let rows = noise(6 * 7, 3);
            let ours = probe.forward(rows.clone(), &Sets::uniform(6, 7)).remove(0);
            let theirs = released.forward(rows.reshape([6, 7, 24]));
            close(&ops::values(ours.clone().inner()), &ops::values(theirs.clone().inner()), "logits");
            let targets = [0, 1, 2, 3, 4, 0];
            let mut of_ours = Vec::new();
            let mut all = ops::cross_entropy(ours, &targets).backward();
            gradients(&probe, &mut all, &mut |parameter, gradient| {
                of_ours.push((parameter.name.replace("linear.0.", "linear."), ops::values(gradient)));
            });
            let mut all = ops::cross_entropy(theirs, &targets).backward();
            let mut seen = 0;
            gradients(&released, &mut all, &mut |parameter, gradient| {
                let (name, ours) = &of_ours[seen];
                assert_eq!(name, parameter.name);
                seen += 1;
                let theirs = ops::values(gradient);
                // The keys' bias has no part in a softmax: its gradient is nothing but rounding.
                if name.ends_with("kv.bias") {
                    return close(&ours[24..], &theirs[24..], name);
                }
                close(ours, &theirs, name);
            });
            assert_eq!(seen, of_ours.len());
            assert!(seen > 12);
        }
    }

    #[test]
    fn sets_of_any_lengths_are_answered_as_if_alone_and_probes_too() {
        for depth in [0, 2] {
            let device = Device::flex();
            let make =
                |seed| AttentiveProbe::new(&config(depth), &[5, 2], &mut rng(seed, Stream::Judge, 1, 0), &device);
            let (probes, rows) = ([make(1), make(2)], noise(1 + 5 + 3, 8));
            let sets = Sets::of_lengths(&[1, 5, 3]);
            let all = forward_all(&probes, rows.clone(), &sets);
            for (probe, logits) in probes.iter().zip(&all) {
                assert_eq!(logits.iter().map(Tensor::dims).collect::<Vec<_>>(), [[3, 5], [3, 2]]);
                for set in 0..3 {
                    let range = sets.range(set);
                    let alone = rows.clone().slice([range.clone(), 0..24]);
                    let alone = probe.forward(alone, &Sets::uniform(1, range.len()));
                    for (logits, alone) in logits.iter().zip(alone) {
                        let c = logits.dims()[1];
                        let of = ops::values(logits.clone().slice([set..set + 1, 0..c]));
                        close(&of, &ops::values(alone), "alone");
                    }
                }
            }
        }
    }
}
