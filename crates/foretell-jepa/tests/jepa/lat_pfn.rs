//! LaT-PFN against PyTorch: the loss of a step, its terms and the gradient of every parameter, in f32 of what `bench/peers/lat_pfn.py`
//! computed in f64 after the published method; and its own promises.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use foretell_data::random::{Stream, rng};
use foretell_data::series::{PriorConfig, SeriesSample};
use foretell_jepa::lat_pfn::{
    FamilyBatch, FamilyCollator, KeptForecaster, LatPfnNetworks, PriorFitted, Question, Spans, TeacherClock, Weights,
};
use foretell_jepa::target::{EmaConfig, TargetTransform};
use foretell_jepa::{Clock, Objective};
use foretell_nn::lat_pfn::LatPfnConfig;
use foretell_nn::layers::Pass;
use foretell_nn::parameters::gradients;
use foretell_ops as ops;

use crate::series::{given, holds, numbers};

const SPANS: Spans = Spans { history: 9, horizon: 5 };
const CLOCK: Clock = Clock { step: 1, total: 10, batch: 2, health_due: true };

fn networks() -> LatPfnNetworks {
    let config = LatPfnConfig { width: 8, dilations: 2, heads: 2, hidden: 16, layers: 2, bins: 12, numbers: 10 };
    let model = config.init(&mut rng(0, Stream::Init, 0, 0), &Device::flex().autodiff());
    given(LatPfnNetworks { target_embedder: model.embedder.valid(), model }, ("target_embedder.", "model.embedder."))
}

fn objective() -> PriorFitted {
    let collator = FamilyCollator {
        seed: 3,
        prior: PriorConfig::default(),
        spans: SPANS,
        context: 3,
        vary: false,
        held_out: 2,
        bins: 12,
        width: 8,
    };
    PriorFitted {
        weights: Weights::default(),
        detached: true,
        transform: Some(TargetTransform::LayerNorm),
        ema: EmaConfig::default(),
        clock: TeacherClock::Ema,
        collator: Arc::new(collator),
        device: Device::flex(),
    }
}

fn batch() -> FamilyBatch {
    let inputs =
        |name: &str, count: usize| numbers(name, count * 14 * 3).map(|x| (3.0 * x) as f32).collect::<Vec<f32>>();
    FamilyBatch {
        context: inputs("context", 6),
        asked: inputs("asked", 4),
        whole: inputs("whole", 4),
        bins: (0..20).map(|i| i * 7 % 12).collect(),
        numbers: numbers("numbers", 20).map(|x| (x + 0.5) as f32).collect(),
        noise: numbers("noise", 4 * 5 * 8).map(|x| (0.1 * x) as f32).collect(),
        counts: [2, 3, 2],
    }
}

#[test]
fn a_step_is_pytorchs() {
    let networks = networks();
    let loss = objective().loss(&networks, &batch(), &CLOCK).loss;
    holds("lat-pfn.safetensors", &networks, loss);
}

/// What predicts learns from latents and from what its family was made by: bins reach it where that is asked for alone.
#[test]
fn bins_do_not_reach_what_predicts() {
    let networks = networks();
    let reaches = |detached: bool| {
        let weights = Weights { bins: 1.0, latent: 0.0, numbers: 0.0 };
        let objective = PriorFitted { weights, detached, ..objective() };
        let mut tape = objective.loss(&networks, &batch(), &CLOCK).loss.backward();
        let mut largest = 0.0_f32;
        gradients(&networks, &mut tape, &mut |parameter, gradient| {
            if !parameter.name.starts_with("model.head.") {
                largest = ops::values(gradient).iter().fold(largest, |most, x| most.max(x.abs()));
            }
        });
        largest
    };
    assert_eq!(reaches(true), 0.0);
    assert!(reaches(false) > 0.0);
}

/// No asked step sees another, and none sees what is to come.
#[test]
fn nothing_that_is_asked_for_is_seen() {
    let (networks, objective) = (networks(), objective());
    let sample = SeriesSample::new(1, vec![0.0; 14]);
    let made = objective.collator().collate(7, &[sample.clone(), sample]).unwrap();
    for series in made.asked.chunks_exact(14 * 3) {
        for step in series[9 * 3..].chunks_exact(3) {
            assert_eq!(step[1..], [0.0, 1.0]);
        }
    }
    let foretold = |batch: &FamilyBatch| {
        ops::values(objective.foretell(&networks, batch, &mut Pass::Training(&mut Vec::new())).predictions.inner())
    };
    let (plain, mut other) = (batch(), batch());
    // The teacher alone sees it.
    other.whole.iter_mut().for_each(|value| *value += 1.0);
    assert_eq!(foretold(&plain), foretold(&other));
}

/// Batches are functions of seed and step; the data's samples are no part of them.
#[test]
fn families_come_from_the_prior_alone() {
    let collator = objective().collator();
    let of = |value: f32, step: u64| {
        collator
            .collate(step, &[SeriesSample::new(1, vec![value; 20]), SeriesSample::new(1, vec![value; 3])])
            .unwrap()
            .context
    };
    assert_eq!(of(0.0, 4), of(9.0, 4));
    assert_ne!(of(0.0, 4), of(0.0, 5));
}

#[test]
fn a_kept_network_forecasts_in_order_and_summarises() {
    let kept = objective().kept(&networks());
    let forecaster = kept.model.unwrap().downcast::<KeptForecaster>().unwrap();
    let wave = |phase: f32, len: usize| (0..len).map(|t| 5.0 + (t as f32 + phase).sin()).collect::<Vec<f32>>();
    let question = |phase: f32| Question { context: vec![wave(0.0, 14), wave(1.0, 14)], history: wave(phase, 9) };
    let (a, b) = (question(0.0), question(2.0));
    let both = forecaster.0.forecast(&[a.clone(), b.clone()]);
    for (together, alone) in both.iter().zip([forecaster.0.forecast(&[a]), forecaster.0.forecast(&[b])]) {
        let alone = &alone[0];
        assert!(together.mean.iter().zip(&alone.mean).all(|(a, b)| (a - b).abs() < 1e-4));
        let [low, middle, high] = &together.quantiles;
        assert_eq!(middle.len(), 5);
        assert!(low.iter().zip(middle).zip(high).all(|((low, middle), high)| low <= middle && middle <= high));
        // Bins end at 3.5 of twice the deviation around the mean.
        assert!(high.iter().all(|value| *value < 5.0 + 3.6 * 2.0));
    }
    assert!(forecaster.0.forecast(&[]).is_empty());
    // Constants, holes and several channels have finite summaries.
    let (constant, holed) =
        (SeriesSample::new(1, vec![4.0; 30]), SeriesSample::new(1, vec![f32::NAN, 1.0, f32::NAN, 3.0]));
    let summaries = ops::values(kept.encoder.probed(&[&constant, &holed]));
    assert!(summaries.len() == 16 && summaries.iter().all(|value| value.is_finite()));
    let two = SeriesSample::new(2, (0..40).map(|i| i as f32).collect());
    assert_eq!(kept.encoder.probed(&[&two, &constant]).dims(), [2, 8]);
    let tokens = kept.encoder.tokens(&[&two, &constant]);
    assert_eq!((tokens.sets.range(0), tokens.sets.range(1)), (0..28, 28..42));
}
