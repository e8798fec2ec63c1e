//! The networks of Graph-JEPA (Skenderi et al., 2025, arXiv 2309.16014): graphs cut into overlapping patches, a GNN that gives each
//! patch a vector, and a transformer over the patches of a graph. Everything runs on packed rows: nothing is padded, whatever the
//! number of nodes and patches.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use foretell_ops as ops;
use rand_chacha::ChaCha8Rng;

use crate::Init;
use crate::layers::{BatchNorm, LayerNorm, Linear, Pass};

/// How the graphs of a batch are cut: N nodes, of which the patches hold C copies, P patches, B graphs.
#[derive(Clone, Debug)]
pub struct Patched {
    /// Each copy's node, and what each copy hears: the neighbours that its patch holds.
    pub messages: ops::Messages,
    /// Each copy's patch: C rows, P segments, none of them empty.
    pub patches: ops::Segments,
    /// Each graph's patches: P rows, B sets.
    pub graphs: ops::Sets,
    /// Of each two patches of a graph how many nodes they share, of a patch and itself how many it has.
    pub overlaps: ops::Pairs,
}

/// `Linear → BatchNorm → ReLU`.
#[derive(Module, Debug)]
pub struct Dense {
    /// The affine map.
    pub linear: Linear,
    /// Behind it.
    pub norm: BatchNorm,
}

impl Dense {
    /// PyTorch's default weights.
    pub fn new(inputs: usize, outputs: usize, init: &mut Init<'_>) -> Self {
        Self { linear: Linear::uniform(inputs, outputs, init), norm: BatchNorm::new(outputs, init) }
    }

    /// `[R, I]` → `[R, O]`.
    pub fn forward(&self, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        self.norm.forward_relu(self.linear.forward(x), pass)
    }
}

/// GINE (Hu et al., 2020): `MLP((1 + ε) h_v + Σ relu(h_u + e_uv))` with a learnt ε, the MLP `Linear → BatchNorm → ReLU → Linear`.
#[derive(Module, Debug)]
pub struct Gine {
    /// ε, `[1]`, which begins at 0.
    pub eps: Param<Tensor<1>>,
    /// The MLP's first half.
    pub hidden: Dense,
    /// Its second half.
    pub output: Linear,
}

impl Gine {
    /// PyTorch's default weights.
    pub fn new(width: usize, init: &mut Init<'_>) -> Self {
        Self {
            eps: init.constant([1], 0.0),
            hidden: Dense::new(width, width, init),
            output: Linear::uniform(width, width, init),
        }
    }

    /// `nodes` `[N, D]`, `edges` (a row for each kind) `[K, D]` → a row for each copy, `[C, D]`.
    pub fn forward(
        &self,
        nodes: Tensor<2>,
        edges: Tensor<2>,
        messages: &ops::Messages,
        pass: &mut Pass<'_>,
    ) -> Tensor<2> {
        let heard = ops::gine(nodes, edges, self.eps.val(), messages);
        self.output.forward(self.hidden.forward(heard, pass))
    }
}

/// One layer of a [`PatchNetwork`]: `GINE → BatchNorm → ReLU → + h → Linear`.
#[derive(Module, Debug)]
pub struct PatchLayer {
    /// Messages along edges.
    pub conv: Gine,
    /// Behind them.
    pub norm: BatchNorm,
    /// Behind the residual sum.
    pub output: Linear,
}

impl PatchLayer {
    fn new(width: usize, init: &mut Init<'_>) -> Self {
        Self {
            conv: Gine::new(width, init),
            norm: BatchNorm::new(width, init),
            output: Linear::uniform(width, width, init),
        }
    }

    /// Everything but the last map, `[N, D]` → `[C, D]`. Copies are only ever averaged behind it, and an affine map of a mean is the
    /// mean of an affine map: so it is taken of the means, which are fewer.
    fn before_output(
        &self,
        nodes: Tensor<2>,
        edges: Tensor<2>,
        messages: &ops::Messages,
        pass: &mut Pass<'_>,
    ) -> Tensor<2> {
        let y = self.conv.forward(nodes.clone(), edges, messages, pass);
        self.norm.forward_relu(y, pass) + ops::gather(nodes, messages.copies().ids())
    }
}

/// Lengths of a [`PatchNetwork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchNetworkConfig {
    /// Features of a node, F.
    pub node_features: usize,
    /// Features of an edge; 1, a constant zero, where edges have none.
    pub edge_features: usize,
    /// Width D.
    pub width: usize,
    /// GNN layers.
    pub depth: usize,
}

impl PatchNetworkConfig {
    /// A fresh network with PyTorch's default weights.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> PatchNetwork {
        let mut init = Init::new(rng, device);
        PatchNetwork {
            nodes: Linear::uniform(self.node_features, self.width, &mut init),
            edges: Linear::uniform(self.edge_features, self.width, &mut init),
            layers: (0..self.depth).map(|_| PatchLayer::new(self.width, &mut init)).collect(),
            between: (1..self.depth).map(|_| Dense::new(self.width, self.width, &mut init)).collect(),
        }
    }
}

/// The GNN over patches. Between two layers the mean of each patch passes through a [`Dense`] `U` and is added to its copies, and a
/// node's copies are averaged, so that patches hear of each other.
#[derive(Module, Debug)]
pub struct PatchNetwork {
    /// Node features to width.
    pub nodes: Linear,
    /// Edge features to width.
    pub edges: Linear,
    /// The layers.
    pub layers: Vec<PatchLayer>,
    /// U of each two layers.
    pub between: Vec<Dense>,
}

impl PatchNetwork {
    /// One vector a patch, the mean of its copies.
    ///
    /// # Shapes
    /// - `nodes`: `[N, F]`; `edges`: features of each kind of edge, `[K, E]`
    /// - output: `[P, D]`
    pub fn forward(&self, nodes: Tensor<2>, edges: Tensor<2>, graphs: &Patched, pass: &mut Pass<'_>) -> Tensor<2> {
        let Patched { messages, patches, .. } = graphs;
        let copies = messages.copies();
        let (mut h, edges) = (self.nodes.forward(nodes), self.edges.forward(edges));
        for (layer, between) in self.layers.iter().zip(&self.between) {
            let y = layer.before_output(h, edges.clone(), messages, pass);
            let pooled = layer.output.forward(ops::segment_mean(y.clone(), patches));
            let told = ops::gather(between.forward(pooled, pass), patches.ids());
            h = layer.output.forward(ops::segment_mean(y, copies)) + ops::segment_mean(told, copies);
        }
        let Some(last) = self.layers.last() else {
            return ops::segment_mean(ops::gather(h, copies.ids()), patches);
        };
        let y = last.before_output(h, edges, messages, pass);
        last.output.forward(ops::segment_mean(y, patches))
    }
}

/// A pre-norm transformer block whose attention may be weighed by the tokens' overlaps; its MLP has a ReLU.
#[derive(Module, Debug)]
pub struct PatchBlock {
    /// Before attention.
    pub norm1: LayerNorm,
    /// D → 3 D, rows `[q; k; v]`.
    pub qkv: Linear,
    /// D → D.
    pub proj: Linear,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// D → 2 D.
    pub fc1: Linear,
    /// 2 D → D.
    pub fc2: Linear,
    heads: usize,
}

impl PatchBlock {
    /// PyTorch's default weights, LayerNorm eps 1e-5. `width` must be a multiple of `heads`.
    pub fn new(width: usize, heads: usize, init: &mut Init<'_>) -> Self {
        Self {
            norm1: LayerNorm::new(width, 1e-5, init),
            qkv: Linear::uniform(width, 3 * width, init),
            proj: Linear::uniform(width, width, init),
            norm2: LayerNorm::new(width, 1e-5, init),
            fc1: Linear::uniform(width, 2 * width, init),
            fc2: Linear::uniform(2 * width, width, init),
            heads,
        }
    }

    /// Rows of several sets, each attending to itself, `[T, D]` → `[T, D]`.
    pub fn forward(&self, x: Tensor<2>, sets: &ops::Sets, overlaps: Option<&ops::Pairs>) -> Tensor<2> {
        let qkv = self.qkv.forward(self.norm1.forward(x.clone()));
        let attended = match overlaps {
            Some(overlaps) => ops::hadamard_attention(qkv, sets, overlaps, self.heads),
            None => ops::attention(qkv, sets, self.heads),
        };
        let x = x + self.proj.forward(attended);
        let hidden = ops::relu(self.fc1.forward(self.norm2.forward(x.clone())));
        x + self.fc2.forward(hidden)
    }
}

/// The transformer over a graph's patches. It has no last norm: the target is the mean over a token's features, which a norm would
/// make the same for every token.
#[derive(Module, Debug)]
pub struct PatchTransformer {
    /// The blocks.
    pub blocks: Vec<PatchBlock>,
}

impl PatchTransformer {
    /// `width` must be a multiple of `heads`.
    pub fn new(width: usize, depth: usize, heads: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self { blocks: (0..depth).map(|_| PatchBlock::new(width, heads, &mut init)).collect() }
    }

    /// See [`PatchBlock::forward`].
    pub fn forward(&self, x: Tensor<2>, sets: &ops::Sets, overlaps: Option<&ops::Pairs>) -> Tensor<2> {
        self.blocks.iter().fold(x, |x, block| block.forward(x, sets, overlaps))
    }
}

/// Affine maps with a ReLU between: Graph-JEPA's predictor of two numbers a patch.
#[derive(Module, Debug)]
pub struct PatchPredictor {
    /// The maps.
    pub layers: Vec<Linear>,
}

impl PatchPredictor {
    /// `widths`: input, hidden …, output; PyTorch's default weights.
    pub fn new(widths: &[usize], rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut init = Init::new(rng, device);
        Self { layers: widths.windows(2).map(|w| Linear::uniform(w[0], w[1], &mut init)).collect() }
    }

    /// `[R, D]` → `[R, O]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(x, |x, (i, layer)| {
            let x = layer.forward(x);
            if i < last { ops::relu(x) } else { x }
        })
    }
}
