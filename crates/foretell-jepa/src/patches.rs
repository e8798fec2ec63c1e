//! The objective of Graph-JEPA (Skenderi et al., TMLR 2025, arXiv 2309.16014): a graph is cut into overlapping patches; from one
//! patch and the random walks of others, the place of those others on a hyperbola is predicted.
//!
//! What the released code does by mistake stands beside what is meant, by the name `official`: [`Teacher`], [`Codes`].

use std::any::Any;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use foretell_data::graphs::{GraphSample, GraphView, PartsConfig};
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, DataError};
use foretell_nn::graph::{Dense, PatchNetwork, PatchPredictor, PatchTransformer, Patched};
use foretell_nn::layers::{BatchStatistics, Pass, absorb};
use foretell_nn::tune::{Change, Take, Tunable};
use foretell_nn::{Encode, NamedTensors, Tokens, WeightsError, parameters, weights};
use foretell_ops as ops;
use rand::RngExt;
use rand::seq::index;
use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;
use crate::target::EmaConfig;
use crate::{Clock, Kept, Latents, Objective, Outcome, Role};

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
    /// How graphs are cut.
    pub parts: PartsConfig,
    /// Patches that are predicted of a graph that has enough.
    pub targets: usize,
    /// Numbers of the data.
    pub shapes: Shapes,
}

impl Collate for GraphCollator {
    type Sample = GraphSample;
    type Batch = GraphBatch;

    fn collate(&self, step: u64, samples: &[GraphSample]) -> Result<GraphBatch, DataError> {
        let view = |(i, sample): (usize, &GraphSample)| {
            GraphView::training(sample, &self.parts, &mut rng(self.seed, Stream::Augment, step, i as u64))
        };
        self.choose(step, &samples.iter().enumerate().map(view).collect::<Result<Vec<_>, _>>()?)
    }
}

impl GraphCollator {
    /// The batch of a step of graphs that are cut.
    pub fn choose(&self, step: u64, samples: &[GraphView]) -> Result<GraphBatch, DataError> {
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
    /// Steps of an epoch.
    pub epoch: u64,
    /// Makes batches.
    pub collator: Arc<GraphCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
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
        let latents = match self.teacher_sees {
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
        Predicted { predictions, targets: self.geometry.target(latents.clone()), context, latents }
    }

    /// What is kept of the networks.
    pub fn encoder(&self, networks: &GraphJepaNetworks) -> GraphEncoder {
        GraphEncoder {
            networks: GraphEncoderNetworks {
                patches: networks.patches.valid(),
                walks: networks.walks.valid(),
                encoder: networks.target_encoder.valid(),
            },
            parts: self.collator.parts.clone(),
            shapes: self.collator.shapes,
            mean: self.codes == Codes::Official,
            device: self.device.clone(),
        }
    }

    /// Weight of the new value in the target encoder at a step.
    pub fn weight(&self, clock: &Clock) -> f64 {
        1.0 - match self.teacher {
            Teacher::Copied => self.ema.momentum(clock.step, clock.total, clock.batch),
            Teacher::Official => {
                let epochs = clock.step.saturating_sub(1) / self.epoch;
                0.996 + 0.004 * epochs as f64 / clock.total.max(1) as f64
            }
        }
    }
}

impl Objective for GraphJepa {
    type Sample = GraphSample;
    type Batch = GraphBatch;
    type Networks = GraphJepaNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = GraphSample, Batch = GraphBatch>> {
        self.collator.clone()
    }

    fn loss(&self, networks: &GraphJepaNetworks, batch: &GraphBatch, clock: &Clock) -> Outcome {
        let mut seen = Vec::new();
        let Predicted { predictions, targets, context, latents } =
            self.predict(networks, batch, &mut Pass::Training(&mut seen));
        let loss = self.geometry.loss(predictions, targets);
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

    fn kept(&self, networks: &GraphJepaNetworks) -> Kept<GraphSample> {
        Kept { encoder: Box::new(self.encoder(networks)), model: None }
    }
}

/// What is kept: the GNN and the target encoder over all patches of a graph.
#[derive(Module, Debug)]
pub struct GraphEncoderNetworks {
    /// The GNN: patches to vectors.
    pub patches: PatchNetwork,
    /// Random walks of a patch to a code of the tokens' width.
    pub walks: Dense,
    /// The target encoder.
    pub encoder: PatchTransformer,
}

/// [`GraphEncoderNetworks`] as an encoder of graphs.
pub struct GraphEncoder {
    networks: GraphEncoderNetworks,
    parts: PartsConfig,
    shapes: Shapes,
    /// Whether patches take the mean of their nodes' walks.
    mean: bool,
    device: Device,
}

impl GraphEncoder {
    /// The same with other networks.
    fn with(&self, networks: GraphEncoderNetworks) -> Self {
        let Self { parts, shapes, mean, device, .. } = self;
        Self { networks, parts: parts.clone(), shapes: *shapes, mean: *mean, device: device.clone() }
    }

    /// The tokens of graphs that are cut: one for each part.
    pub fn tokens_of(&self, views: &[&GraphView]) -> Tokens {
        self.pass(views, &mut Pass::Evaluation)
    }

    fn pass(&self, views: &[&GraphView], pass: &mut Pass<'_>) -> Tokens {
        let graphs = PackedGraphs::new(views, self.shapes, self.mean);
        let GraphEncoderNetworks { patches, walks, encoder } = &self.networks;
        let (vectors, codes) = embed(patches, walks, &graphs, pass, &self.device);
        let Patched { graphs: sets, overlaps, .. } = graphs.graphs;
        Tokens { rows: encoder.forward(vectors + codes, &sets, Some(&overlaps)), sets, grid: None }
    }
}

impl Encode<GraphSample> for GraphEncoder {
    fn tokens(&self, samples: &[&GraphSample]) -> Tokens {
        self.learned(samples, &mut Pass::Evaluation)
    }

    fn width(&self) -> usize {
        self.networks.encoder.blocks.first().map_or(0, |block| block.norm1.weight.val().dims()[0])
    }

    fn state(&self) -> NamedTensors {
        weights::read(&self.networks, "")
    }

    fn load(&mut self, tensors: NamedTensors) -> Result<(), WeightsError> {
        self.networks = weights::load_whole(self.networks.clone(), tensors)?;
        Ok(())
    }

    fn network(&self) -> &dyn Any {
        &self.networks
    }

    fn tunable(&self) -> Option<Box<dyn Tunable<GraphSample>>> {
        Some(Box::new(self.with(self.networks.clone().train())))
    }
}

impl Tunable<GraphSample> for GraphEncoder {
    fn learned(&self, samples: &[&GraphSample], pass: &mut Pass<'_>) -> Tokens {
        let whole = |sample: &&GraphSample| {
            GraphView::whole(sample, &self.parts)
                .expect("how graphs are cut was checked before the networks were built")
        };
        let views: Vec<GraphView> = samples.iter().map(whole).collect();
        self.pass(&views.iter().collect::<Vec<_>>(), pass)
    }

    fn gradients(&self, gradients: &mut Gradients, take: &mut Take<'_>) {
        parameters::gradients(&self.networks, gradients, take);
    }

    fn change(self: Box<Self>, change: &mut Change<'_>) -> Box<dyn Tunable<GraphSample>> {
        let Self { networks, parts, shapes, mean, device } = *self;
        Box::new(Self { networks: parameters::change(networks, change), parts, shapes, mean, device })
    }

    fn absorb(self: Box<Self>, seen: &[BatchStatistics]) -> Box<dyn Tunable<GraphSample>> {
        let Self { networks, parts, shapes, mean, device } = *self;
        Box::new(Self { networks: absorb(networks, seen), parts, shapes, mean, device })
    }

    fn tuned(&self) -> Box<dyn Encode<GraphSample>> {
        Box::new(self.with(self.networks.valid()))
    }
}
