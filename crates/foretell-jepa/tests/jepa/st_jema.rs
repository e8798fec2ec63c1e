//! ST-JEMA against PyTorch: losses, predictions, targets and gradients within 1e-4 of the largest value of what `bench/peers/st_jema.py`
//! computed in f64 on dense matrices, ours and as published; and what the published way gives away.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use foretell_data::Collate;
use foretell_data::connectomes::{Correlation, DynamicGraph, Edges, Series, Sliding};
use foretell_data::random::{Stream, rng};
use foretell_jepa::spatio_temporal::{
    BlocksBy, BlocksConfig, Gap, Moment, PackedWindows, PairsAsked, SpatioTemporal, SpatioTemporalNetworks, Targets,
    TimeCode, WindowsBatch, WindowsCollator,
};
use foretell_jepa::target::EmaConfig;
use foretell_jepa::{Clock, Objective, Role};
use foretell_nn::dynamic_graph::WindowEncoder;
use foretell_nn::layers::{Linear, Pass};
use foretell_nn::mixer::Mixer;
use foretell_nn::{Init, NamedTensor, NamedTensors, parameters, weights};
use foretell_ops as ops;
use safetensors::{Dtype, SafeTensors};

const REGIONS: usize = 7;
const WIDTH: usize = 6;
const SLIDING: Sliding =
    Sliding { window: 8, stride: 3, correlation: Correlation::Pearson, density: 0.3, edges: Edges::Pairs };

struct Golden {
    tensors: NamedTensors,
    indices: BTreeMap<String, Vec<usize>>,
}

impl Golden {
    fn open() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/st-jema.safetensors");
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut tensors, mut indices) = (NamedTensors::new(), BTreeMap::new());
        for (name, view) in SafeTensors::deserialize(&bytes).unwrap().iter() {
            let data = view.data();
            if view.dtype() == Dtype::I64 {
                let read = |b: &[u8]| i64::from_le_bytes(b.try_into().unwrap()) as usize;
                indices.insert(name.to_owned(), data.chunks_exact(8).map(read).collect());
            } else {
                let values = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                tensors.insert(name.to_owned(), NamedTensor { shape: view.shape().to_vec(), values });
            }
        }
        Self { tensors, indices }
    }

    #[track_caller]
    fn check(&self, name: &str, got: &[f32]) {
        let expected = &self.tensors[name].values;
        assert_eq!(got.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}: off by {:.1e} of the largest, {largest:.3}", worst / largest);
        // A bias before a batch norm has a gradient of 0.
        assert!(worst <= 1e-4 * largest || worst < 2e-6, "{name}: off by {worst:e} of {largest:e}");
    }

    fn recordings(&self) -> Vec<DynamicGraph> {
        let series = &self.tensors["input.series"];
        let values: Vec<f64> = series.values.iter().map(|x| f64::from(*x)).collect();
        let one = series.shape[1] * REGIONS;
        let of = |values: &[f64]| DynamicGraph::new(Series::standardised(REGIONS, values).unwrap(), SLIDING, None);
        values.chunks_exact(one).map(of).collect()
    }

    /// The batch as PyTorch had it.
    fn batch(&self, official: bool) -> WindowsBatch {
        let recordings = self.recordings();
        let moments: Vec<Moment<'_>> = self.indices["input.moments"]
            .chunks_exact(2)
            .map(|of| Moment { sample: of[0], recording: &recordings[of[0]], window: of[1] })
            .collect();
        let mut blocks = vec![vec![Vec::new(); 2]; moments.len()];
        for of in self.indices["input.blocks"].chunks_exact(3) {
            blocks[of[0]][of[1]].push(of[2] as u32);
        }
        let triples: Vec<[u32; 3]> = self.indices["input.triples"]
            .chunks_exact(3)
            .map(|of| [of[0] as u32, of[1] as u32, of[2] as u32])
            .collect();
        let (code, asked) = if official {
            (TimeCode::Official, PairsAsked::Official)
        } else {
            (TimeCode::Window, PairsAsked::Different)
        };
        WindowsBatch::new(&moments, &blocks, &triples, (code, asked, true))
    }
}

fn collator(between: bool) -> WindowsCollator {
    WindowsCollator {
        seed: 3,
        moments: 2,
        gap: Gap::Apart,
        blocks: BlocksConfig { count: 2, share: (0.1, 0.4), by: BlocksBy::Edges },
        code: TimeCode::Window,
        asked: PairsAsked::Different,
        links: true,
        between,
    }
}

fn networks() -> SpatioTemporalNetworks {
    let device = Device::flex().autodiff();
    let weights = |network| rng(5, Stream::Init, 0, network);
    let mixer = |network| Mixer::new(REGIONS, WIDTH, 1, &mut weights(network), &device);
    SpatioTemporalNetworks {
        encoder: WindowEncoder::new(REGIONS, WIDTH, 2, &mut weights(0), &device),
        target_encoder: WindowEncoder::new(REGIONS, WIDTH, 2, &mut weights(0), &Device::flex()),
        mask_token: Param::from_tensor(Tensor::<2>::zeros([1, WIDTH], &Device::flex()).autodiff().require_grad()),
        between: Linear::uniform(2 * WIDTH, WIDTH, &mut Init::new(&mut weights(2), &device)),
        node_decoder: mixer(3),
        edge_decoder: mixer(4),
    }
}

fn objective(official: bool) -> SpatioTemporal {
    SpatioTemporal {
        temporal: 0.6,
        nodes: 1.0,
        edges: 0.25,
        targets: if official { Targets::Official } else { Targets::Standardise },
        ema: EmaConfig::default(),
        collator: Arc::new(collator(true)),
        device: Device::flex(),
    }
}

fn clock() -> Clock {
    Clock { step: 1, total: 10, batch: 3, health_due: true }
}

#[test]
fn losses_and_gradients_are_those_of_the_published_method_in_pytorch() {
    let golden = Golden::open();
    let own = golden.tensors.iter().filter_map(|(n, t)| Some((n.strip_prefix("weights.")?.to_owned(), t.clone())));
    let networks = weights::load_whole(networks(), own.collect()).unwrap();
    let (recordings, adjacency) = (golden.recordings(), &golden.tensors["input.adjacency"].values);
    for (at, of) in golden.indices["input.moments"].chunks_exact(2).enumerate() {
        let edges = &recordings[of[0]].graph(of[1]).edges;
        let matrix = &adjacency[at * REGIONS * REGIONS..][..REGIONS * REGIONS];
        assert!(edges.iter().all(|(u, v)| matrix[*u as usize * REGIONS + *v as usize] == 1.0));
        assert_eq!(matrix.iter().sum::<f32>(), 2.0 * edges.len() as f32);
    }
    for official in [false, true] {
        let kind = if official { "official" } else { "ours" };
        let (objective, batch) = (objective(official), golden.batch(official));
        let predicted = objective.predict(&networks, &batch, &mut Vec::new());
        golden.check(&format!("{kind}.predictions"), &ops::values(predicted.predictions.inner()));
        golden.check(&format!("{kind}.targets"), &ops::values(predicted.targets));
        let outcome = objective.loss(&networks, &batch, &clock());
        assert!(outcome.latents.is_some());
        golden.check(&format!("{kind}.loss"), &ops::values(outcome.loss.clone().inner()));
        let terms: Vec<f32> = outcome.terms.iter().flat_map(|(_, term)| ops::values(term.clone())).collect();
        assert_eq!(
            outcome.terms.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["space", "space links", "time", "time links"]
        );
        golden.check(&format!("{kind}.terms"), &terms);
        let (mut gradients, mut checked) = (outcome.loss.backward(), 0);
        parameters::gradients(&networks, &mut gradients, &mut |parameter, gradient| {
            assert!(!parameter.name.starts_with("target_encoder."), "{}", parameter.name);
            golden.check(&format!("{kind}.gradient.{}", parameter.name), &ops::values(gradient));
            checked += 1;
        });
        let all = golden.tensors.keys().filter(|name| name.starts_with(&format!("{kind}.gradient."))).count();
        assert_eq!(checked, all);
    }
}

/// A recording of seven regions whose signals are all different.
fn recording(seed: u64, length: usize) -> DynamicGraph {
    use rand::RngExt as _;
    let mut rng = rng(seed, Stream::Scene, 0, 0);
    let values: Vec<f64> = (0..length * REGIONS).map(|_| rng.random_range(-1.0..1.0)).collect();
    DynamicGraph::new(Series::standardised(REGIONS, &values).unwrap(), SLIDING, None)
}

/// The same but for one region within a window.
fn changed(of: &DynamicGraph, region: usize, window: usize) -> DynamicGraph {
    let mut values: Vec<f64> = of.series().values().iter().map(|x| f64::from(*x)).collect();
    let start = of.start(window);
    (start..start + SLIDING.window).for_each(|t| values[t * REGIONS + region] = -values[t * REGIONS + region] + 0.3);
    let series = Series::standardised(REGIONS, &values).unwrap();
    DynamicGraph::new(series, SLIDING, None)
}

/// As published the context's time code hears regions that are hidden; ours does not.
#[test]
fn the_official_time_code_hears_what_is_hidden() {
    let before = recording(1, 40);
    let after = changed(&before, 4, 3);
    let hidden: Vec<bool> = (0..REGIONS).map(|region| region == 4).collect();
    let signals = |of: &DynamicGraph, code| {
        PackedWindows::new(&[Moment { sample: 0, recording: of, window: 3 }], &hidden, code).signals.values
    };
    // Standardising moves what other regions have by nothing, and the hidden one by much.
    let same = |code| signals(&before, code).iter().zip(&signals(&after, code)).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(same(TimeCode::Window) && !same(TimeCode::Official));
}

#[test]
fn the_official_gap_shares_time_points_with_the_window_that_is_asked_for_and_ours_does_not() {
    for (window, stride, ours, official) in [(50, 16, 4, 3), (30, 10, 3, 2), (8, 3, 3, 2), (10, 10, 1, 1)] {
        assert_eq!((Gap::Apart.windows(window, stride), Gap::Official.windows(window, stride)), (ours, official));
        assert!(ours * stride >= window);
        // The two around it share nothing with each other.
        assert!(2 * official * stride >= window);
    }
    assert!(Gap::Official.windows(50, 16) * 16 < 50 && Gap::Official.windows(30, 10) * 10 < 30);
}

/// As published a region is joined with itself, of which `‖h‖²` is the logit; ours asks of different regions alone.
#[test]
fn official_pairs_hold_each_region_with_itself() {
    let recordings = [recording(2, 40)];
    let moments = [Moment { sample: 0, recording: &recordings[0], window: 2 }];
    let batch = |asked| WindowsBatch::new(&moments, &[vec![vec![1, 3, 5]]], &[], (TimeCode::Window, asked, true)).links;
    let diagonal = |asked| {
        let links = batch(asked);
        (0..REGIONS).map(|r| links.weights[r * (REGIONS + 1)]).sum::<f32>()
    };
    assert_eq!(diagonal(PairsAsked::Different), 0.0);
    assert!((diagonal(PairsAsked::Official) - 3.0 / 9.0).abs() < 1e-6);
    assert!((batch(PairsAsked::Different).weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert_eq!(batch(PairsAsked::Official).joined[1 + REGIONS], 1.0);
}

/// What a region is on average is worth nothing in ours and all of the loss's beginning as published.
#[test]
fn official_targets_keep_what_the_region_alone_tells() {
    let golden = Golden::open();
    let spread = |official: bool| {
        let of = golden.batch(official);
        let targets = ops::values(objective(official).predict(&networks(), &of, &mut Vec::new()).targets);
        targets.iter().sum::<f32>() / targets.len() as f32
    };
    // Behind a rectifier every latent is 0 or more.
    assert!(spread(true) > 0.1 && spread(false).abs() < 0.2, "{} {}", spread(true), spread(false));
}

#[test]
fn batches_hide_what_they_ask_for_and_are_the_same_again() {
    let recordings: Vec<DynamicGraph> = (0..4).map(|seed| recording(seed, 60)).collect();
    for step in 1..20 {
        let batch = collator(true).collate(step, &recordings).unwrap();
        let [graphs, n] = batch.shape;
        assert_eq!((graphs, n, batch.triples.len()), (24, REGIONS, 8));
        let none = batch.seen.rows.regions.len() as u32;
        assert!(
            batch.hidden.iter().all(|place| batch.seen.slots[*place as usize] == none),
            "what is asked for is seen"
        );
        assert!(batch.whole.slots.iter().all(|slot| *slot < (graphs * n) as u32));
        let again = collator(true).collate(step, &recordings).unwrap();
        assert_eq!((batch.hidden, batch.seen.slots, batch.links), (again.hidden, again.seen.slots, again.links));
    }
    let single = collator(false).collate(1, &recordings).unwrap();
    assert!(single.triples.is_empty() && single.shape == [8, REGIONS]);
    let short = [recording(9, 20)];
    let said = collator(true).collate(1, &short).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("5 windows") && said.contains("7 are needed"), "{said}");
}

#[test]
fn the_target_encoder_follows_but_for_its_batch_statistics_and_is_what_is_kept() {
    let (objective, networks) = (objective(false), networks());
    for name in ["input.weight", "layers.0.epsilon", "layers.1.norm2.bias", "time.weight_hh"] {
        let teacher = format!("target_encoder.{name}");
        let Role::Follows { of, weight } = objective.role(&teacher, &clock()) else { panic!("{teacher}") };
        assert_eq!(of, format!("encoder.{name}"));
        assert!(weight > 0.0 && weight < 1.0);
        assert_eq!(objective.role(&of, &clock()), Role::LEARNS);
    }
    assert_eq!(objective.role("target_encoder.layers.0.norm1.running_var", &clock()), Role::Stays);

    // Its statistics are collected under its own parameters.
    let batch = Golden::open().batch(false);
    let mut seen = Vec::new();
    let _ = objective.predict(&networks, &batch, &mut seen);
    assert_eq!(seen.len(), 8, "two norms in each of two layers, of two encoders");
    let mut moved = Vec::new();
    let before = weights::read(&networks, "");
    let after = weights::read(&foretell_nn::layers::absorb(networks, &seen), "");
    for (name, tensor) in &after {
        if tensor.values != before[name].values {
            moved.push(name.clone());
        }
    }
    assert_eq!(moved.len(), 16);
    assert_eq!(moved.iter().filter(|name| name.starts_with("target_encoder.")).count(), 8);
}

#[test]
fn a_recording_gives_a_token_for_each_region_of_each_window_whatever_lies_beside_it() {
    let (objective, networks) = (objective(false), networks());
    let encoder = objective.kept(&networks).encoder;
    let (one, other) = (recording(1, 40), recording(2, 55));
    let alone = encoder.tokens(&[&one]);
    assert_eq!((alone.rows.dims(), alone.grid), ([11 * REGIONS, WIDTH], Some((11, REGIONS))));
    let both = encoder.tokens(&[&other, &one]);
    assert_eq!((both.sets.count(), both.sets.range(1).len(), both.grid), (2, 11 * REGIONS, None));
    let (a, b) = (ops::values(alone.rows), ops::values(both.rows));
    let start = both.sets.range(1).start * WIDTH;
    assert!(a.iter().zip(&b[start..]).all(|(a, b)| (a - b).abs() < 1e-5));
    assert_eq!(encoder.probed(&[&other, &one]).dims(), [2, 2 * WIDTH]);
    let tunable = encoder.tunable().unwrap();
    let learned = tunable.learned(&[&one], &mut Pass::Evaluation);
    assert!(ops::values(learned.rows.inner()).iter().zip(&a).all(|(a, b)| (a - b).abs() < 1e-5));
}
