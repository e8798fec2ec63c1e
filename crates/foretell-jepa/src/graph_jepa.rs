//! Graph-JEPA (Skenderi et al., TMLR 2025, arXiv 2309.16014): a graph is cut into overlapping patches; from one patch and the random
//! walks of others, the place of those others on a hyperbola is predicted.
//!
//! What the released code does by mistake stands beside what is meant, by the name `official`: [`Teacher`], [`Codes`].

use std::borrow::Cow;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, DataError};
use foretell_nn::Init;
use foretell_nn::graph::{Dense, PatchNetwork, PatchNetworkConfig, PatchPredictor, PatchTransformer, Patched};
use foretell_nn::layers::Pass;
use foretell_nn::vit::Size;
use foretell_ops as ops;
use rand::RngExt;
use rand::seq::index;
use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;
use crate::systems::SystemError;
use crate::target::EmaConfig;
use crate::{Auto, Clock, Decision, Latents, Outcome};

pub use data::GraphView;
pub use seam::{Encode, Kept, Objective, Role, Tokens};

/// `foretell_data::graphs::GraphView` as it is there, until this file moves.
mod data {
    use std::sync::Arc;

    /// A graph's parts as plain arrays: N nodes, K parts, M copies of nodes in them, A arcs between copies of one part.
    #[derive(Clone, Debug, PartialEq)]
    pub struct GraphView {
        /// N.
        pub nodes: usize,
        /// What is known of each node, `[N, F]`.
        pub features: Arc<[f32]>,
        /// Copies in each part, none of them 0, `[K]`.
        pub sizes: Vec<u32>,
        /// The node of each copy, part after part, `[M]`.
        pub members: Vec<u32>,
        /// The copies from and to which each arc runs, `[A]`.
        pub arcs: Vec<(u32, u32)>,
        /// Each arc's label; empty where edges have none.
        pub arc_labels: Vec<u32>,
        /// The greatest of the random-walk encodings of a part's copies, `[K, k]`.
        pub part_walks_max: Vec<f32>,
        /// Their mean, `[K, k]`.
        pub part_walks_mean: Vec<f32>,
        /// Nodes that two parts have in common, on the diagonal a part's size, `[K, K]`.
        pub overlap: Vec<f32>,
    }

    impl GraphView {
        /// K.
        pub fn parts(&self) -> usize {
            self.sizes.len()
        }
    }
}

/// The shapes of the family's seams, until this file moves to where they are.
mod seam {
    use super::{Arc, Clock, Collate, Cow, Module, Outcome, Tensor, ops};

    /// What becomes of a tensor in a step.
    #[derive(Clone, Debug, PartialEq)]
    pub enum Role<'a> {
        /// The optimiser moves it.
        Learns {
            /// Times the learning rate.
            lr: f64,
            /// Whether weight decay applies; `None`: by its shape.
            decays: Option<bool>,
        },
        /// A moving average.
        Follows {
            /// What it follows.
            of: Cow<'a, str>,
            /// Of the new value.
            weight: f64,
        },
    }

    impl Role<'_> {
        /// At the learning rate, with decay by shape.
        pub const LEARNS: Self = Self::Learns { lr: 1.0, decays: None };
    }

    /// Packed rows.
    pub struct Tokens {
        /// `[T, D]`.
        pub rows: Tensor<2>,
        /// Each sample's rows.
        pub sets: ops::Sets,
    }

    /// A kept network.
    pub trait Encode<S>: Send {
        /// Tokens of some samples.
        fn tokens(&self, samples: &[&S]) -> Tokens;
        /// What probes are given, `[B, F]`.
        fn probed(&self, samples: &[&S]) -> Tensor<2>;
        /// Width of the tokens, D.
        fn width(&self) -> usize;
    }

    /// What is kept of a run.
    pub type Kept<S> = Box<dyn Encode<S>>;

    /// What the loop knows of a system.
    pub trait Objective: Send + 'static {
        /// What its collator is given.
        type Sample: Send + Sync + 'static;
        /// Host data only.
        type Batch: Send + 'static;
        /// All networks of the run, by the checkpoint's names.
        type Networks: Module;
        /// Makes batches.
        fn collator(&self) -> Arc<dyn Collate<Sample = Self::Sample, Batch = Self::Batch>>;
        /// The loss of a batch.
        fn loss(&self, networks: &Self::Networks, batch: &Self::Batch, clock: &Clock) -> Outcome;
        /// What becomes of a tensor.
        fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a>;
        /// What is kept.
        fn kept(&self, networks: &Self::Networks) -> Kept<Self::Sample>;
    }
}

/// Where the target encoder comes from, and how fast it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Teacher {
    /// A copy of the context encoder, which follows it by `model.ema`.
    #[default]
    Copied,
    /// The released code: drawn by itself, with a momentum that rises from 0.996 by one step's share of the way to 1 once an epoch, so
    /// that at the end of the paper's runs up to three quarters of the target encoder are its random start.
    Official,
}

/// How the random walks of a patch's nodes become those of the patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codes {
    /// The largest of each, in training and afterwards.
    #[default]
    Max,
    /// The released code: the largest in training, the mean afterwards.
    Official,
}

/// What the target encoder is given in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherSees {
    /// A graph's target patches, without their walks: the paper.
    #[default]
    Targets,
    /// All patches of a graph, with their walks: what it is given after training.
    Graph,
}

/// Settings of Graph-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GraphJepaConfig {
    /// The dial that sets the width: 128, 256, and from `base` on the paper's 512.
    pub size: Size,
    /// Width D, a multiple of `heads`.
    pub width: Auto<usize>,
    /// Layers of the GNN over patches: 2 in the paper, 3 for DD.
    pub layers: usize,
    /// Blocks of either encoder.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Patches of a graph that are predicted: 2 for PROTEINS, 3 for MUTAG, 4 otherwise in the paper.
    pub targets: usize,
    /// Where predictions are compared with targets.
    pub geometry: Geometry,
    /// Where the target encoder comes from.
    pub teacher: Teacher,
    /// What it is given.
    pub teacher_sees: TeacherSees,
    /// How fast it follows; not for an `official` teacher.
    pub ema: EmaConfig,
    /// How patches come by their random walks.
    pub codes: Codes,
}

impl Default for GraphJepaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            width: Auto::Auto,
            layers: 2,
            depth: 4,
            heads: 8,
            targets: 4,
            geometry: Geometry::default(),
            // A copy, by steps: the released clock leaves most of a random teacher in place.
            teacher: Teacher::Copied,
            teacher_sees: TeacherSees::Targets,
            ema: EmaConfig::default(),
            // One way of making codes: with two, the kept encoder meets numbers that it was not trained on.
            codes: Codes::Max,
        }
    }
}

/// What the data and the run say.
#[derive(Clone, Debug)]
pub struct GraphSetting {
    /// Features of a node, F.
    pub node_features: usize,
    /// Labels that edges may have, L; 0 where they have none.
    pub edge_classes: usize,
    /// Steps of the random walks, k.
    pub walk: usize,
    /// Of the run.
    pub seed: u64,
    /// Optimiser steps that will really be taken.
    pub total_steps: u64,
    /// Graphs in a batch.
    pub batch: usize,
    /// Training graphs.
    pub graphs: usize,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl GraphJepaConfig {
    /// Chooses what is open, and says why.
    pub fn resolve(&mut self, setting: &GraphSetting, decisions: &mut Vec<Decision>) {
        let size = self.size;
        self.width.resolve("model.width", decisions, || {
            let width = match size {
                Size::Tiny => 128,
                Size::Small => 256,
                _ => 512,
            };
            (width, format!("size = {size:?}").to_lowercase())
        });
        if self.teacher == Teacher::Copied {
            self.ema.resolve(setting.total_steps, setting.batch, decisions);
        }
    }

    fn check(&self, width: usize) -> Result<(), SystemError> {
        let refuse = |message: String| Err(SystemError::Setting(message));
        if self.heads == 0 || width == 0 || !width.is_multiple_of(self.heads) {
            return refuse(format!(
                "a width of {width} does not split into {} heads: make `model.width` a multiple of `model.heads`",
                self.heads
            ));
        }
        for (key, value) in [("layers", self.layers), ("depth", self.depth), ("targets", self.targets)] {
            if value == 0 {
                return refuse(format!("`model.{key}` is 0: at least 1 is needed"));
            }
        }
        match self.geometry {
            Geometry::Hyperbola { limit } if !(limit > 0.0 && limit <= 80.0) => refuse(format!(
                "`model.geometry.limit` is {limit}: it must be above 0 and at most 80, where cosh still fits into a single-precision number"
            )),
            _ => Ok(()),
        }
    }

    /// The objective, and fresh networks. Everything must be resolved.
    pub fn init(&self, setting: &GraphSetting) -> Result<(GraphJepa, GraphJepaNetworks), SystemError> {
        let Auto::Value(width) = self.width else {
            return Err(SystemError::Setting("`model.width` is not resolved".to_owned()));
        };
        self.check(width)?;
        let device = setting.device.clone().autodiff();
        let draw = |part: u64| rng(setting.seed, Stream::Init, 0, part);
        let patches = PatchNetworkConfig {
            node_features: setting.node_features,
            edge_features: setting.edge_classes.max(1),
            width,
            depth: self.layers,
        };
        let encoder = PatchTransformer::new(width, self.depth, self.heads, &mut draw(2), &device);
        let target_encoder = match self.teacher {
            Teacher::Copied => encoder.valid(),
            Teacher::Official => PatchTransformer::new(width, self.depth, self.heads, &mut draw(3), &setting.device),
        };
        let networks = GraphJepaNetworks {
            patches: patches.init(&mut draw(0), &device),
            walks: Dense::new(setting.walk, width, &mut Init::new(&mut draw(1), &device)),
            encoder,
            target_encoder,
            predictor: PatchPredictor::new(&[width, width, width, self.geometry.width(width)], &mut draw(4), &device),
        };
        let shapes = Shapes { nodes: setting.node_features, edges: setting.edge_classes, walk: setting.walk };
        let objective = GraphJepa {
            config: self.clone(),
            epoch: (setting.graphs.div_ceil(setting.batch.max(1)) as u64).max(1),
            collator: Arc::new(GraphCollator { seed: setting.seed, targets: self.targets, shapes }),
            device: setting.device.clone(),
        };
        Ok((objective, networks))
    }
}

/// How many numbers the data gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// Features of a node, F.
    pub nodes: usize,
    /// Labels of edges, L, perhaps 0.
    pub edges: usize,
    /// Steps of a walk, k.
    pub walk: usize,
}

/// Cut graphs, packed, on the host: N nodes and P patches in all.
pub struct PackedGraphs {
    /// `[N, F]`.
    pub nodes: Vec<f32>,
    /// Random walks of each patch, `[P, k]`.
    pub walks: Vec<f32>,
    /// Who hears whom, and which patch is whose.
    pub graphs: Patched,
    shapes: Shapes,
}

impl PackedGraphs {
    /// Packs some graphs; `mean`: patches take the mean of their nodes' walks, not the greatest.
    pub fn new(views: &[&GraphView], shapes: Shapes, mean: bool) -> Self {
        let (mut nodes, mut walks, mut overlaps) = (Vec::new(), Vec::new(), Vec::new());
        let (mut copies, mut patch_of, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        let (mut count, mut patches) = (0_u32, 0_u32);
        for view in views {
            let first = copies.len() as u32;
            for (i, (from, to)) in view.arcs.iter().enumerate() {
                let label = view.arc_labels.get(i).copied().unwrap_or(0);
                messages.push([count + view.members[*from as usize], first + to, label]);
            }
            copies.extend(view.members.iter().map(|node| count + node));
            for (patch, size) in (patches..).zip(&view.sizes) {
                patch_of.extend(std::iter::repeat_n(patch, *size as usize));
            }
            walks.extend_from_slice(if mean { &view.part_walks_mean } else { &view.part_walks_max });
            nodes.extend_from_slice(&view.features);
            overlaps.extend_from_slice(&view.overlap);
            count += view.nodes as u32;
            patches += view.parts() as u32;
        }
        let lengths: Vec<usize> = views.iter().map(|view| view.parts()).collect();
        let graphs = ops::Sets::of_lengths(&lengths);
        Self {
            nodes,
            walks,
            graphs: Patched {
                messages: ops::Messages::new(count as usize, copies, shapes.edges.max(1), &messages),
                patches: ops::Segments::new(patch_of, patches as usize),
                overlaps: ops::Pairs::new(&graphs, overlaps),
                graphs,
            },
            shapes,
        }
    }

    /// What the network is told of each label of edges, `[L, L]`: itself, one of L; of edges without labels one zero, `[1, 1]`.
    fn kinds(&self) -> Vec<f32> {
        match self.shapes.edges {
            0 => vec![0.0],
            labels => (0..labels * labels).map(|i| f32::from(i % (labels + 1) == 0)).collect(),
        }
    }
}

/// Which patches are seen and which predicted.
pub struct Choice {
    /// The one that is seen, of each graph, `[B]`.
    pub context: Vec<u32>,
    /// Those that are predicted, R in all.
    pub targets: Vec<u32>,
    /// Each graph's targets: R rows, B sets.
    pub sets: ops::Sets,
    /// Their overlaps.
    pub overlaps: ops::Pairs,
}

impl Choice {
    /// The graph of each target, `[R]`.
    fn graphs(&self) -> Vec<u32> {
        (0..self.sets.count()).flat_map(|graph| self.sets.range(graph).map(move |_| graph as u32)).collect()
    }
}

/// A batch on the host.
pub struct GraphBatch {
    /// The graphs.
    pub graphs: PackedGraphs,
    /// What is predicted of them.
    pub choice: Choice,
}

/// Makes [`GraphBatch`]es: one patch of each graph is seen and up to `targets` others are predicted, all drawn uniformly.
pub struct GraphCollator {
    /// Of the run.
    pub seed: u64,
    /// Patches that are predicted of a graph that has enough.
    pub targets: usize,
    /// Numbers of the data.
    pub shapes: Shapes,
}

impl Collate for GraphCollator {
    type Sample = GraphView;
    type Batch = GraphBatch;

    fn collate(&self, step: u64, samples: &[GraphView]) -> Result<GraphBatch, DataError> {
        let (mut context, mut targets, mut lengths, mut overlaps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut first = 0;
        for (i, view) in samples.iter().enumerate() {
            let count = view.parts();
            if count == 0 {
                return Err(DataError::Collate(format!("graph {i} of the batch of step {step} has no nodes")));
            }
            let mut random = rng(self.seed, Stream::Mask, step, i as u64);
            let seen = random.random_range(0..count);
            // A graph of one patch predicts that patch: no graph is without a target.
            let chosen: Vec<usize> = if count == 1 {
                vec![0]
            } else {
                let others = index::sample(&mut random, count - 1, self.targets.min(count - 1));
                others.into_iter().map(|other| other + usize::from(other >= seen)).collect()
            };
            context.push(first + seen as u32);
            targets.extend(chosen.iter().map(|target| first + *target as u32));
            for query in &chosen {
                overlaps.extend(chosen.iter().map(|key| view.overlap[query * count + key]));
            }
            lengths.push(chosen.len());
            first += count as u32;
        }
        let sets = ops::Sets::of_lengths(&lengths);
        let overlaps = ops::Pairs::new(&sets, overlaps);
        let views: Vec<&GraphView> = samples.iter().collect();
        let graphs = PackedGraphs::new(&views, self.shapes, false);
        Ok(GraphBatch { graphs, choice: Choice { context, targets, sets, overlaps } })
    }
}

/// All networks of a run.
#[derive(Module, Debug)]
pub struct GraphJepaNetworks {
    /// The GNN: patches to vectors.
    pub patches: PatchNetwork,
    /// Random walks of a patch to a code of the tokens' width.
    pub walks: Dense,
    /// The context encoder.
    pub encoder: PatchTransformer,
    /// Its moving average, on the plain device.
    pub target_encoder: PatchTransformer,
    /// Latent and code to a place on the hyperbola.
    pub predictor: PatchPredictor,
}

/// Patches' vectors and codes, `[P, D]` each.
fn embed(
    patches: &PatchNetwork,
    walks: &Dense,
    graphs: &PackedGraphs,
    pass: &mut Pass<'_>,
    device: &Device,
) -> (Tensor<2>, Tensor<2>) {
    let tensor = |values: &[f32], width: usize| {
        let shape = [values.len() / width.max(1), width];
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), device)
    };
    let Shapes { nodes, edges, walk } = graphs.shapes;
    let (nodes, edges) = (tensor(&graphs.nodes, nodes), tensor(&graphs.kinds(), edges.max(1)));
    let vectors = patches.forward(nodes, edges, &graphs.graphs, pass);
    (vectors, walks.forward(tensor(&graphs.walks, walk), pass))
}

/// Graph-JEPA's objective.
pub struct GraphJepa {
    config: GraphJepaConfig,
    /// Steps of an epoch.
    epoch: u64,
    collator: Arc<GraphCollator>,
    device: Device,
}

/// Predictions and what they are held against.
pub struct Predicted {
    /// `[R, 2]` on the hyperbola, `[R, D]` elsewhere.
    pub predictions: Tensor<2>,
    /// The same of the targets.
    pub targets: Tensor<2>,
    /// The context's latents, `[B, D]`.
    pub context: Tensor<2>,
    /// The target encoder's, `[R, D]`, untracked.
    pub latents: Tensor<2>,
}

impl GraphJepa {
    /// The way through the networks.
    pub fn predict(&self, networks: &GraphJepaNetworks, batch: &GraphBatch, pass: &mut Pass<'_>) -> Predicted {
        let GraphBatch { graphs, choice } = batch;
        let (vectors, codes) = embed(&networks.patches, &networks.walks, graphs, pass, &self.device);
        let latents = match self.config.teacher_sees {
            TeacherSees::Targets => {
                let hidden = ops::gather(vectors.clone().inner(), &choice.targets);
                networks.target_encoder.forward(hidden, &choice.sets, Some(&choice.overlaps))
            }
            TeacherSees::Graph => {
                let all = vectors.clone().inner() + codes.clone().inner();
                let Patched { graphs: sets, overlaps, .. } = &graphs.graphs;
                ops::gather(networks.target_encoder.forward(all, sets, Some(overlaps)), &choice.targets)
            }
        };
        let seen = ops::gather(vectors, &choice.context) + ops::gather(codes.clone(), &choice.context);
        // One token attends to itself alone: queries and keys have no part in it and never learn.
        let alone = ops::Sets::uniform(choice.context.len(), 1);
        let context = networks.encoder.forward(seen, &alone, None);
        let asked = ops::gather(context.clone(), &choice.graphs()) + ops::gather(codes, &choice.targets);
        let predictions = networks.predictor.forward(asked);
        Predicted { predictions, targets: self.config.geometry.target(latents.clone()), context, latents }
    }

    /// Weight of the new value in the target encoder at a step.
    pub fn weight(&self, clock: &Clock) -> f64 {
        1.0 - match self.config.teacher {
            Teacher::Copied => self.config.ema.momentum(clock.step, clock.total, clock.batch),
            Teacher::Official => {
                let epochs = clock.step.saturating_sub(1) / self.epoch;
                0.996 + 0.004 * epochs as f64 / clock.total.max(1) as f64
            }
        }
    }
}

impl Objective for GraphJepa {
    type Sample = GraphView;
    type Batch = GraphBatch;
    type Networks = GraphJepaNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = GraphView, Batch = GraphBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &GraphJepaNetworks, batch: &GraphBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let Predicted { predictions, targets, context, latents } =
            self.predict(networks, batch, &mut Pass::Training(&mut seen));
        let loss = self.config.geometry.loss(predictions, targets);
        // Collapse shows in the latents: two numbers on a curve always look like one.
        let latents = clock.health_due.then(|| Latents { predictions: context.inner(), targets: latents });
        Outcome { loss, terms: Vec::new(), latents, seen }
    }

    fn role<'a>(&self, name: &'a str, clock: &Clock) -> Role<'a> {
        match name.strip_prefix("target_encoder.") {
            Some(rest) => Role::Follows { of: format!("encoder.{rest}").into(), weight: self.weight(clock) },
            None => Role::LEARNS,
        }
    }

    fn kept(&self, networks: &GraphJepaNetworks) -> Kept<GraphView> {
        Box::new(GraphEncoder {
            patches: networks.patches.valid(),
            walks: networks.walks.valid(),
            encoder: networks.target_encoder.valid(),
            shapes: self.collator.shapes,
            mean: self.config.codes == Codes::Official,
            device: self.device.clone(),
        })
    }
}

/// What is kept: the GNN and the target encoder over all patches of a graph.
pub struct GraphEncoder {
    patches: PatchNetwork,
    walks: Dense,
    encoder: PatchTransformer,
    shapes: Shapes,
    /// Whether patches take the mean of their nodes' walks.
    mean: bool,
    device: Device,
}

impl Encode<GraphView> for GraphEncoder {
    fn tokens(&self, views: &[&GraphView]) -> Tokens {
        let graphs = PackedGraphs::new(views, self.shapes, self.mean);
        let (vectors, codes) = embed(&self.patches, &self.walks, &graphs, &mut Pass::Evaluation, &self.device);
        let Patched { graphs: sets, overlaps, .. } = graphs.graphs;
        Tokens { rows: self.encoder.forward(vectors + codes, &sets, Some(&overlaps)), sets }
    }

    /// The mean of a graph's patches, as the paper evaluates.
    fn probed(&self, views: &[&GraphView]) -> Tensor<2> {
        let Tokens { rows, sets } = self.tokens(views);
        ops::segment_mean(rows, &ops::Segments::of_sets(&sets))
    }

    fn width(&self) -> usize {
        self.encoder.blocks.first().map_or(0, |block| block.norm1.weight.val().dims()[0])
    }
}
