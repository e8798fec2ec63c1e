//! Graph-JEPA against PyTorch: predictions, targets, loss, gradients and the kept features within 1e-5 of the largest value of what
//! `bench/peers/graph_jepa.py` computed in f64 with PyTorch Geometric; and its own promises.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use foretell_data::Collate;
use foretell_jepa::geometry::Geometry;
use foretell_jepa::graph_jepa::{
    Choice, Codes, GraphBatch, GraphCollator, GraphJepa, GraphJepaConfig, GraphJepaNetworks, GraphSetting, GraphView,
    Objective, PackedGraphs, Role, Shapes, Teacher, TeacherSees,
};
use foretell_jepa::{Auto, Clock};
use foretell_nn::layers::Pass;
use foretell_nn::{NamedTensor, NamedTensors, weights};
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

fn config() -> GraphJepaConfig {
    GraphJepaConfig { width: Auto::Value(16), depth: 2, heads: 2, targets: 2, ..GraphJepaConfig::default() }
}

fn setting() -> GraphSetting {
    GraphSetting {
        node_features: 3,
        edge_classes: 4,
        walk: 5,
        seed: 5,
        total_steps: 100,
        batch: 4,
        graphs: 8,
        device: Device::flex(),
    }
}

fn clock(step: u64, total: u64, batch: usize) -> Clock {
    Clock { step, total, batch, health_due: true }
}

fn of_file(golden: &Golden, config: &GraphJepaConfig) -> (GraphJepa, GraphJepaNetworks) {
    let (objective, networks) = config.init(&setting()).unwrap();
    let own = golden.tensors.iter().filter_map(|(n, t)| Some((n.strip_prefix("weights.")?.to_owned(), t.clone())));
    (objective, weights::load_whole(networks, own.collect()).unwrap())
}

/// Gradients by name, of those that the file holds.
struct Gradients<'a> {
    path: Vec<String>,
    computed: GradientsParams,
    golden: &'a Golden,
    checked: usize,
    /// Parameters with a gradient.
    learning: BTreeSet<String>,
}

impl ModuleVisitor for Gradients<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let Some(gradient) = self.computed.remove::<D>(param.id) else { return };
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
    let (objective, networks) = of_file(&golden, &config());
    let batch = golden.batch();
    let predicted = objective.predict(&networks, &batch, &mut Pass::Training(&mut Vec::new()));
    golden.check("output.predictions", predicted.predictions.inner());
    golden.check("output.targets", predicted.targets);
    golden.check("output.latents", predicted.latents);
    let outcome = objective.loss(&networks, &batch, &clock(1, 100, 4));
    golden.check("output.loss", outcome.loss.clone().inner());
    let computed = GradientsParams::from_grads(outcome.loss.backward(), &networks);
    let learning = BTreeSet::new();
    let mut visit = Gradients { path: Vec::new(), computed, golden: &golden, checked: 0, learning };
    networks.visit(&mut visit);
    assert_eq!(visit.checked, golden.tensors.keys().filter(|name| name.starts_with("gradient.")).count());
    let learns = |name: &str| visit.learning.contains(name);
    assert!(learns("encoder.blocks.1.fc2.bias") && !learns("target_encoder.blocks.1.fc2.bias"));
    assert!(!learns("patches.norm.running_mean") && !learns("walks.norm.running_var"));
}

#[test]
fn the_kept_encoder_is_that_of_pytorch() {
    let golden = Golden::open();
    let (objective, networks) = of_file(&golden, &config());
    let views = golden.views();
    let views: Vec<&GraphView> = views.iter().collect();
    let kept = objective.kept(&networks);
    golden.check("output.kept.tokens", kept.tokens(&views).rows);
    golden.check("output.kept.features", kept.probed(&views));
    assert_eq!(kept.width(), 16);
    // One graph by itself has the features that it has among others.
    let alone = ops::values(kept.probed(&views[2..3]));
    let among = ops::values(kept.probed(&views));
    assert!(alone.iter().zip(&among[32..48]).all(|(a, b)| (a - b).abs() < 1e-5));
    // The released code's walks are others.
    let (objective, networks) = of_file(&golden, &GraphJepaConfig { codes: Codes::Official, ..config() });
    assert_ne!(ops::values(objective.kept(&networks).probed(&views)), among);
}

#[test]
fn edges_without_labels_are_all_of_one_kind() {
    let golden = Golden::open();
    let config = config();
    let features = |edge_classes: usize, relabel: fn(Vec<u32>) -> Vec<u32>| {
        let (objective, networks) = config.init(&GraphSetting { edge_classes, ..setting() }).unwrap();
        let views = golden.views().into_iter().map(|view| GraphView { arc_labels: relabel(view.arc_labels), ..view });
        let views: Vec<GraphView> = views.collect();
        ops::values(objective.kept(&networks).probed(&views.iter().collect::<Vec<_>>()))
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
    let collator = GraphCollator { seed: 1, targets: 2, shapes: SHAPES };
    let views = [single_nodes(5), single_nodes(1), single_nodes(2)];
    let (mut seen, mut predicted) = ([0; 5], [0; 5]);
    for step in 1..=2000 {
        let choice = collator.collate(step, &views).unwrap().choice;
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
        let again = collator.collate(step, &views).unwrap().choice;
        assert_eq!((choice.context, choice.targets), (again.context, again.targets));
    }
    // Expected 400 and 800, each within five deviations.
    assert!(seen.iter().all(|n| (310..490).contains(n)), "{seen:?}");
    assert!(predicted.iter().all(|n| (690..910).contains(n)), "{predicted:?}");
    let error = collator.collate(3, &[single_nodes(2), single_nodes(0)]).err().expect("an error").to_string();
    assert!(error.contains("graph 1 of the batch of step 3"), "{error}");
}

#[test]
fn a_copied_teacher_begins_as_its_encoder_and_an_official_one_does_not() {
    let read = |teacher| {
        let (objective, networks) = GraphJepaConfig { teacher, ..config() }.init(&setting()).unwrap();
        (objective, weights::read(&networks.encoder, ""), weights::read(&networks.target_encoder, ""))
    };
    let (objective, encoder, target) = read(Teacher::Copied);
    assert_eq!(encoder, target);
    assert!(matches!(
        objective.role("target_encoder.blocks.0.proj.bias", &clock(1, 100, 4)),
        Role::Follows { of, weight } if of == "encoder.blocks.0.proj.bias" && weight > 0.0
    ));
    assert_eq!(objective.role("encoder.blocks.0.proj.bias", &clock(1, 100, 4)), Role::LEARNS);
    let (_, encoder, target) = read(Teacher::Official);
    assert_ne!(encoder["blocks.0.qkv.weight"], target["blocks.0.qkv.weight"]);
    assert_ne!(encoder["blocks.0.qkv.weight"].values[0], 0.0);
}

#[test]
fn the_official_clock_leaves_what_it_left_in_the_published_runs() {
    // Nine tenths of MUTAG for 50 epochs, of PROTEINS for 30, in batches of 128.
    for (graphs, epochs, expected) in [(169, 50, 0.74), (1002, 30, 0.41)] {
        let setting = GraphSetting { graphs, batch: 128, ..setting() };
        let (objective, _) = GraphJepaConfig { teacher: Teacher::Official, ..config() }.init(&setting).unwrap();
        let total = epochs * graphs.div_ceil(128) as u64;
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
            let config = GraphJepaConfig { geometry, teacher_sees, codes: Codes::Official, ..config() };
            let (objective, networks) = config.init(&setting()).unwrap();
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

#[test]
fn settings_that_cannot_be_are_refused_in_a_sentence() {
    for (config, word) in [
        (GraphJepaConfig { heads: 3, ..config() }, "`model.heads`"),
        (GraphJepaConfig { targets: 0, ..config() }, "`model.targets`"),
        (GraphJepaConfig { geometry: Geometry::Hyperbola { limit: 100.0 }, ..config() }, "`model.geometry.limit`"),
    ] {
        let error = config.init(&setting()).err().expect("an error").to_string();
        assert!(error.contains(word) && error.lines().count() == 1, "{error}");
    }
}
