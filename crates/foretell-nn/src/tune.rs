//! Encoders that go on learning, with a head on top: fine-tuning.

use burn::tensor::{Gradients, Tensor};

use crate::encode::{Encode, Tokens};
use crate::layers::{BatchStatistics, Pass};
use crate::parameters::Parameter;

/// Replaces a parameter's values `[P]`.
pub type Change<'a> = dyn FnMut(Parameter<'_>, Tensor<1>) -> Tensor<1> + 'a;

/// Takes a parameter's gradient `[P]`.
pub type Take<'a> = dyn FnMut(Parameter<'_>, Tensor<1>) + 'a;

/// A network that [an encoder](Encode::tunable) gives out to be fine-tuned, on the autodiff device: what it learns stays with it.
pub trait Tunable<S> {
    /// Prepared samples → their tokens, tracked. Batch statistics are collected in `pass` where the network has some.
    fn learned(&self, samples: &[&S], pass: &mut Pass<'_>) -> Tokens;

    /// Hands out the gradients of its parameters: [`parameters::gradients`](crate::parameters::gradients).
    fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>);

    /// Replaces its parameters: [`parameters::change`](crate::parameters::change).
    fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<S>>;

    /// Moves its running averages: [`absorb`](crate::layers::absorb).
    fn absorb(self: Box<Self>, seen: &[BatchStatistics]) -> Box<dyn Tunable<S>>;

    /// The network as it is now, in evaluation mode and without gradients.
    fn tuned(&self) -> Box<dyn Encode<S>>;
}

/// How deep each parameter lies, going by names in the order of the network: 0 before the first block, the block's number from 1
/// within one, and one more than there are blocks behind the last; and that largest depth. A block is what a name's last number
/// counts: `blocks.3`, `layers.0.1`.
///
/// Layer-wise decay of the learning rate (BEiT, arXiv 2106.08254; MAE, arXiv 2111.06377) is a power of how far a parameter lies below the top.
pub fn depths<'a>(names: impl Iterator<Item = &'a str>) -> (Vec<usize>, usize) {
    let block = |name: &'a str| {
        let mut end = 0;
        let mut last = None;
        for part in name.split('.') {
            end += part.len() + 1;
            if part.parse::<usize>().is_ok() {
                last = Some(&name[..end - 1]);
            }
        }
        last
    };
    let mut blocks: Vec<&str> = Vec::new();
    let mut depths = Vec::new();
    for name in names {
        match block(name) {
            Some(block) => {
                let at = blocks.iter().position(|known| *known == block).unwrap_or_else(|| {
                    blocks.push(block);
                    blocks.len() - 1
                });
                depths.push((true, at + 1));
            }
            None => depths.push((false, blocks.len())),
        }
    }
    let top = blocks.len() + 1;
    let depth = |(in_block, depth): (bool, usize)| if !in_block && depth > 0 && depth + 1 == top { top } else { depth };
    (depths.into_iter().map(depth).collect(), top)
}

#[cfg(test)]
mod tests {
    use super::depths;

    #[test]
    fn names_give_the_depth() {
        let of = |names: &[&str]| depths(names.iter().copied());
        let vit =
            ["patch_embed.proj.weight", "pos_embed", "blocks.0.norm1.weight", "blocks.1.mlp.fc1.bias", "norm.weight"];
        assert_eq!(of(&vit), (vec![0, 0, 1, 2, 3], 3));
        let resnet =
            ["conv1.weight", "bn1.weight", "layers.0.0.conv1.weight", "layers.0.1.bn1.bias", "layers.1.0.conv1.weight"];
        assert_eq!(of(&resnet), (vec![0, 0, 1, 2, 3], 4));
        let graphs = [
            "patches.nodes.weight",
            "patches.layers.0.norm.bias",
            "patches.between.0.linear.bias",
            "walks.bias",
            "encoder.blocks.0.fc1.bias",
        ];
        assert_eq!(of(&graphs), (vec![0, 1, 2, 2, 3], 4));
        assert_eq!(of(&["weight", "bias"]), (vec![0, 0], 1));
    }
}
