//! Graph-JEPA against PyTorch: predictions, targets, loss, gradients and the kept features within 1e-5 of the largest value of what
//! `bench/peers/graph_jepa.py` computed in f64 with PyTorch Geometric; and its own promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use foretell_data::graphs::{Graph, GraphSample, GraphView, PartsConfig, walks};
use foretell_data::random::{Stream, rng};
use foretell_jepa::geometry::Geometry;
use foretell_jepa::patches::{
    Choice, Codes, GraphBatch, GraphCollator, GraphJepa, GraphJepaNetworks, PackedGraphs, Shapes, Teacher, TeacherSees,
};
use foretell_jepa::target::EmaConfig;
use foretell_jepa::{Clock, Objective, Role};
use foretell_nn::graph::{Dense, PatchNetworkConfig, PatchPredictor, PatchTransformer};
use foretell_nn::layers::Pass;
use foretell_nn::{Encode, Init, NamedTensor, NamedTensors, weights};
use foretell_ops as ops;
use safetensors::{Dtype, SafeTensors};

const SHAPES: Shapes = Shapes { nodes: 3, edges: 4, walk: 5 };

struct Golden {
    tensors: NamedTensors,
    indices: BTreeMap<String, Vec<u32>>,
}

impl Golden {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-nn/tests/released/graph-jepa.safetensors");
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut tensors, mut indices) = (NamedTensors::new(), BTreeMap::new());
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let data = view.data();
            if view.dtype() == Dtype::I64 {
                let read = |b: &[u8]| i64::from_le_bytes(b.try_into().unwrap()) as u32;
                indices.insert(name.to_owned(), data.chunks_exact(8).map(read).collect());
            } else {
                let values = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
            }
        }
        Self { tensors, indices }
    }

    fn input(&self, name: &str) -> &[f32] {
        &self.tensors[&format!("input.{name}")].values
    }

    fn counts(&self, name: &str) -> Vec<usize> {
        self.indices[&format!("input.{name}")].iter().map(|n| *n as usize).collect()
    }

    #[track_caller]
    fn check<const D: usize>(&self, name: &str, got: Tensor<D>) {
        let got = ops::values(got);
        let expected = &self.tensors[name].values;
        assert_eq!(got.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        println!("{name}: off by {worst:.1e} of the largest, {largest:.3}");
        assert!(largest > 0.0 && worst <= 1e-5, "{name}: off by {worst:e}");
    }

    /// The graphs as they were before they were packed.
    fn views(&self) -> Vec<GraphView> {
        let (copies, patch_of, messages) = (self.counts("copies"), self.counts("patch"), self.counts("messages"));
        let (mut node, mut patch, mut pair) = (0, 0, 0);
        let mut views = Vec::new();
        for (n, p) in self.counts("node_counts").into_iter().zip(self.counts("patch_counts")) {
            let own: Vec<usize> = (0..copies.len()).filter(|c| (patch..patch + p).contains(&patch_of[*c])).collect();
            let arcs = || messages.chunks_exact(3).filter(|message| own.contains(&message[1]));
            let walks = self.input("walks")[patch * 5..(patch + p) * 5].to_vec();
            views.push(GraphView {
                nodes: n,
                features: self.input("nodes")[node * 3..(node + n) * 3].into(),
                // Of single nodes the batch takes nothing.
                walks: vec![0.0; n * 5].into(),
                part_of: own.iter().map(|c| (patch_of[*c] - patch) as u32).collect(),
                sizes: (patch..patch + p).map(|p| patch_of.iter().filter(|of| **of == p).count() as u32).collect(),
                members: own.iter().map(|c| (copies[*c] - node) as u32).collect(),
                arcs: arcs().map(|message| ((message[0] - own[0]) as u32, (message[1] - own[0]) as u32)).collect(),
                arc_labels: arcs().map(|message| message[2] as u32).collect(),
                part_walks_mean: walks.iter().map(|x| x / 2.0).collect(),
                part_walks_max: walks,
                overlap: self.input("overlaps")[pair..pair + p * p].to_vec(),
            });
            (node, patch, pair) = (node + n, patch + p, pair + p * p);
        }
        views
    }

    /// The batch as PyTorch had it.
    fn batch(&self) -> GraphBatch {
        let views = self.views();
        let views: Vec<&GraphView> = views.iter().collect();
        let sets = ops::Sets::of_lengths(&self.counts("target_counts"));
        let numbers = |name: &str| self.indices[&format!("input.{name}")].clone();
        let (targets, counts) = (numbers("targets"), self.counts("patch_counts"));
        let (mut overlaps, mut first, mut pair) = (Vec::new(), 0, 0);
        for (graph, count) in counts.into_iter().enumerate() {
            let own = || targets[sets.range(graph)].iter().map(|target| *target as usize - first);
            for query in own() {
                overlaps.extend(own().map(|key| self.input("overlaps")[pair + query * count + key]));
            }
            (first, pair) = (first + count, pair + count * count);
        }
        let overlaps = ops::Pairs::new(&sets, overlaps);
        let graphs = PackedGraphs::new(&views, SHAPES, false);
        GraphBatch { graphs, choice: Choice { context: numbers("context"), targets, sets, overlaps } }
    }
}

/// What the objective is built of.
#[derive(Clone)]
struct Parts {
    shapes: Shapes,
    geometry: Geometry,
    teacher: Teacher,
    teacher_sees: TeacherSees,
    codes: Codes,
    /// Steps of an epoch.
    epoch: u64,
}

fn parts() -> Parts {
    Parts {
        shapes: SHAPES,
        geometry: Geometry::default(),
        teacher: Teacher::Copied,
        teacher_sees: TeacherSees::Targets,
        codes: Codes::Max,
        epoch: 2,
    }
}

fn collator(shapes: Shapes, seed: u64) -> GraphCollator {
    GraphCollator { seed, parts: PartsConfig::default(), targets: 2, shapes }
}

impl Parts {
    /// With networks of width 16: two layers over patches, two blocks of two heads in either encoder.
    fn init(&self) -> (GraphJepa, GraphJepaNetworks) {
        const WIDTH: usize = 16;
        let (device, weights) = (Device::flex().autodiff(), |network| rng(5, Stream::Init, 0, network));
        let Shapes { nodes, edges, walk } = self.shapes;
        let patches = PatchNetworkConfig { node_features: nodes, edge_features: edges.max(1), width: WIDTH, depth: 2 };
        let encoder = PatchTransformer::new(WIDTH, 2, 2, &mut weights(2), &device);
        let widths = [WIDTH, WIDTH, WIDTH, self.geometry.width(WIDTH)];
        let networks = GraphJepaNetworks {
            patches: patches.init(&mut weights(0), &device),
            walks: Dense::new(walk, WIDTH, &mut Init::new(&mut weights(1), &device)),
            target_encoder: encoder.valid(),
            encoder,
            predictor: PatchPredictor::new(&widths, &mut weights(4), &device),
        };
        let objective = GraphJepa {
            geometry: self.geometry,
            teacher: self.teacher,
            teacher_sees: self.teacher_sees,
            ema: EmaConfig::default(),
            codes: self.codes,
            epoch: self.epoch,
            collator: Arc::new(collator(self.shapes, 5)),
            device: Device::flex(),
        };
        (objective, networks)
    }
}

fn clock(step: u64, total: u64, batch: usize) -> Clock {
    Clock { step, total, batch, health_due: true }
}

fn of_file(golden: &Golden, parts: &Parts) -> (GraphJepa, GraphJepaNetworks) {
    let (objective, networks) = parts.init();
    let own = golden.tensors.iter().filter_map(|(n, t)| Some((n.strip_prefix("weights.")?.to_owned(), t.clone())));
    (objective, weights::load_whole(networks, own.collect()).unwrap())
}

/// Gradients by name, of those that the file holds.
struct Visit<'a> {
    path: Vec<String>,
    computed: Gradients,
    golden: &'a Golden,
    checked: usize,
    /// Parameters with a gradient.
    learning: BTreeSet<String>,
}

impl ModuleVisitor for Visit<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let Some(gradient) = param.grad(&self.computed) else { return };
        self.learning.insert(name.clone());
        let name = format!("gradient.{name}");
        if self.golden.tensors.contains_key(&name) {
            self.golden.check(&name, gradient);
            self.checked += 1;
        }
    }
}

#[test]
fn a_step_is_that_of_pytorch() {
    let golden = Golden::open();
    let (objective, networks) = of_file(&golden, &parts());
    let batch = golden.batch();
    let predicted = objective.predict(&networks, &batch, &mut Pass::Training(&mut Vec::new()));
    golden.check("output.predictions", predicted.predictions.inner());
    golden.check("output.targets", predicted.targets);
    golden.check("output.latents", predicted.latents);
    let outcome = objective.loss(&networks, &batch, &clock(1, 100, 4));
    golden.check("output.loss", outcome.loss.clone().inner());
    let computed = outcome.loss.backward();
    let learning = BTreeSet::new();
    let mut visit = Visit { path: Vec::new(), computed, golden: &golden, checked: 0, learning };
    networks.visit(&mut visit);
    assert_eq!(visit.checked, golden.tensors.keys().filter(|name| name.starts_with("gradient.")).count());
    let learns = |name: &str| visit.learning.contains(name);
    assert!(learns("encoder.blocks.1.fc2.bias") && !learns("target_encoder.blocks.1.fc2.bias"));
    assert!(!learns("patches.norm.running_mean") && !learns("walks.norm.running_var"));
}

#[test]
fn the_kept_encoder_is_that_of_pytorch() {
    let golden = Golden::open();
    let (objective, networks) = of_file(&golden, &parts());
    let views = golden.views();
    let views: Vec<&GraphView> = views.iter().collect();
    let kept = objective.encoder(&networks);
    golden.check("output.kept.tokens", kept.tokens_of(&views).rows);
    golden.check("output.kept.features", kept.tokens_of(&views).mean());
    assert_eq!(kept.width(), 16);
    // One graph by itself has the features that it has among others.
    let alone = ops::values(kept.tokens_of(&views[2..3]).mean());
    let among = ops::values(kept.tokens_of(&views).mean());
    assert!(alone.iter().zip(&among[32..48]).all(|(a, b)| (a - b).abs() < 1e-5));
    // The released code's walks are others.
    let (objective, networks) = of_file(&golden, &Parts { codes: Codes::Official, ..parts() });
    assert_ne!(ops::values(objective.encoder(&networks).tokens_of(&views).mean()), among);
}

#[test]
fn edges_without_labels_are_all_of_one_kind() {
    let golden = Golden::open();
    let features = |edges: usize, relabel: fn(Vec<u32>) -> Vec<u32>| {
        let (objective, networks) = Parts { shapes: Shapes { edges, ..SHAPES }, ..parts() }.init();
        let views = golden.views().into_iter().map(|view| GraphView { arc_labels: relabel(view.arc_labels), ..view });
        let views: Vec<GraphView> = views.collect();
        ops::values(objective.encoder(&networks).tokens_of(&views.iter().collect::<Vec<_>>()).mean())
    };
    // Of four labels it matters which; without labels nothing is asked for.
    assert_ne!(features(4, |labels| labels), features(4, |labels| vec![0; labels.len()]));
    assert_eq!(features(0, |_| Vec::new()), features(0, |labels| vec![0; labels.len()]));
}

/// A graph of this many patches, one node each.
fn single_nodes(patches: usize) -> GraphView {
    GraphView {
        nodes: patches,
        features: vec![1.0; patches * 3].into(),
        walks: vec![0.0; patches * 5].into(),
        part_of: (0..patches as u32).collect(),
        sizes: vec![1; patches],
        members: (0..patches as u32).collect(),
        arcs: Vec::new(),
        arc_labels: Vec::new(),
        part_walks_max: vec![0.0; patches * 5],
        part_walks_mean: vec![0.0; patches * 5],
        overlap: (0..patches * patches).map(|i| f32::from(i % (patches + 1) == 0)).collect(),
    }
}

#[test]
fn every_patch_is_seen_as_often_as_others_and_predicts_none_but_others() {
    let collator = collator(SHAPES, 1);
    let views = [single_nodes(5), single_nodes(1), single_nodes(2)];
    let (mut seen, mut predicted) = ([0; 5], [0; 5]);
    for step in 1..=2000 {
        let choice = collator.choose(step, &views).unwrap().choice;
        assert_eq!((0..3).map(|graph| choice.sets.range(graph).len()).collect::<Vec<_>>(), [2, 1, 1]);
        let targets = &choice.targets[..2];
        assert!(targets[0] != targets[1] && !targets.contains(&choice.context[0]) && targets.iter().all(|t| *t < 5));
        // A graph of one patch predicts it; of two, the other.
        assert_eq!((choice.context[1], choice.targets[2]), (5, 5));
        assert_eq!(choice.context[2] + choice.targets[3], 6 + 7);
        seen[choice.context[0] as usize] += 1;
        for target in targets {
            predicted[*target as usize] += 1;
        }
        let again = collator.choose(step, &views).unwrap().choice;
        assert_eq!((choice.context, choice.targets), (again.context, again.targets));
    }
    // Expected 400 and 800, each within five deviations.
    assert!(seen.iter().all(|n| (310..490).contains(n)), "{seen:?}");
    assert!(predicted.iter().all(|n| (690..910).contains(n)), "{predicted:?}");
    let error = collator.choose(3, &[single_nodes(2), single_nodes(0)]).err().expect("an error").to_string();
    assert!(error.contains("graph 1 of the batch of step 3"), "{error}");
}

/// A graph goes through the collator and the kept encoder as it comes from the data: cut in the one way and in the other.
#[test]
fn graphs_are_cut_for_a_batch_and_for_what_is_kept() {
    let cycle = |nodes: u32| {
        let edges: Vec<(u32, u32)> = (0..nodes).map(|node| (node, (node + 1) % nodes)).collect();
        let graph = Graph::new(vec![0; nodes as usize], &edges, &vec![1; edges.len()]).unwrap();
        let walks = walks(graph.adjacency(), 5).into();
        let features = vec![0.5; 3 * nodes as usize].into();
        GraphSample { graph: Arc::new(graph), features, walks, feature_width: 3, walk: 5, edge_classes: 4 }
    };
    let samples = [cycle(12), cycle(40)];
    let (objective, networks) = parts().init();
    let batch = objective.collator().collate(7, &samples).unwrap();
    assert_eq!(batch.graphs.nodes.len(), 52 * 3);
    assert!(batch.graphs.graphs.graphs.range(1).len() <= 32, "at most as many parts as were asked for");
    let kept = objective.kept(&networks).encoder;
    let views: Vec<GraphView> =
        samples.iter().map(|sample| GraphView::whole(sample, &PartsConfig::default()).unwrap()).collect();
    let by_hand = objective.encoder(&networks).tokens_of(&views.iter().collect::<Vec<_>>());
    let tokens = kept.tokens(&[&samples[0], &samples[1]]);
    assert_eq!(tokens.sets.range(0).len(), 12, "no more parts than nodes");
    assert_eq!(ops::values(tokens.rows), ops::values(by_hand.rows));
}

#[test]
fn the_target_encoder_follows_and_the_rest_learns() {
    let (objective, _) = parts().init();
    assert!(matches!(
        objective.role("target_encoder.blocks.0.proj.bias", &clock(1, 100, 4)),
        Role::Follows { of, weight } if of == "encoder.blocks.0.proj.bias" && weight > 0.0
    ));
    assert_eq!(objective.role("encoder.blocks.0.proj.bias", &clock(1, 100, 4)), Role::LEARNS);
}

#[test]
fn the_official_clock_leaves_what_it_left_in_the_published_runs() {
    // Nine tenths of MUTAG for 50 epochs, of PROTEINS for 30, in batches of 128.
    for (graphs, epochs, expected) in [(169_u64, 50, 0.74), (1002, 30, 0.41)] {
        let epoch = graphs.div_ceil(128);
        let (objective, _) = Parts { teacher: Teacher::Official, epoch, ..parts() }.init();
        let total = epochs * epoch;
        let left: f64 = (1..=total).map(|step| 1.0 - objective.weight(&clock(step, total, 128))).product();
        assert!((left - expected).abs() < 0.005, "{graphs}: {left}");
    }
}

#[test]
fn every_variant_takes_a_step() {
    let golden = Golden::open();
    let mut losses = Vec::new();
    for geometry in [Geometry::default(), Geometry::Euclidean, Geometry::Poincare] {
        for teacher_sees in [TeacherSees::Targets, TeacherSees::Graph] {
            let parts = Parts { geometry, teacher_sees, codes: Codes::Official, ..parts() };
            let (objective, networks) = parts.init();
            let outcome = objective.loss(&networks, &golden.batch(), &clock(1, 100, 4));
            let latents = outcome.latents.expect("as asked");
            assert_eq!(
                (latents.predictions.dims(), latents.targets.dims()),
                ([4, 16], [golden.counts("targets").len(), 16])
            );
            // Two batch norms a layer, one between two layers, one for walks.
            assert_eq!(outcome.seen.len(), 2 * 2 + 1 + 1);
            losses.push(outcome.loss.into_scalar::<f32>());
        }
    }
    assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");
    losses.dedup();
    assert_eq!(losses.len(), 6);
}
