//! TS-JEPA and LeNEPA against PyTorch: the loss of a step and the gradient of every parameter, with given weights, series and masks, in f32 of
//! what `bench/peers/ts_jepa.py` computed in f64 after the published methods; and their own promises.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::Collate;
use foretell_data::random::{Stream, rng};
use foretell_data::series::SeriesSample;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::Keep;
use foretell_jepa::series::PackedSeries;
use foretell_jepa::series::masked::{
    Gathers, MaskedSeries, Predicts, SeriesBatch, SeriesCollator, SeriesNetworks, SpanMasks,
};
use foretell_jepa::series::next::{NextSeries, NextSeriesBatch, NextSeriesCollator, NextSeriesNetworks};
use foretell_jepa::target::{EmaConfig, EmaSchedule, TargetKind, TargetTransform};
use foretell_jepa::{Clock, Objective, Role};
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::parameters::{change, gradients};
use foretell_nn::series::{Cut, SeriesPredictorConfig, SeriesVitConfig};
use foretell_ops::{self as ops, Sets};
use proptest::prelude::*;
use safetensors::SafeTensors;

const CLOCK: Clock = Clock { step: 1, total: 10, batch: 3, health_due: false };

/// As the script's `numbers`: in (−0.5, 0.5), begun from the name.
pub(crate) fn numbers(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = name.bytes().enumerate().map(|(i, byte)| (i as u64 + 1) * u64::from(byte)).sum::<u64>() % 9973;
    (0..count as u64).map(move |k| ((k * 7919 + seed * 31 + k * k % 1511 * 17) % 2003) as f64 / 2003.0 - 0.5)
}

/// As the script's `value`.
fn value(name: &str, shape: &[usize]) -> Vec<f32> {
    let inputs: usize = shape[1..].iter().product();
    let of = |x: f64| {
        if name.contains("norm") && name.ends_with("weight") {
            1.0 + x
        } else if shape.len() > 1 && !name.ends_with("mask_token") {
            2.0 * x / (inputs as f64).sqrt()
        } else {
            x
        }
    };
    numbers(name, shape.iter().product()).map(|x| of(x) as f32).collect()
}

/// Networks whose parameters are functions of their names; an average's are those of what it follows. Running averages stay.
pub(crate) fn given<M: Module>(networks: M, follows: (&str, &str)) -> M {
    change(networks, &mut |parameter, old| {
        if parameter.name.contains("running_") {
            return old;
        }
        let name = parameter.name.strip_prefix(follows.0);
        let name = name.map_or_else(|| parameter.name.to_owned(), |rest| format!("{}{rest}", follows.1));
        let values = value(&name, parameter.shape);
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), &old.device())
    })
}

/// As the script's `series`.
fn series(channels: usize, holes: bool) -> Vec<SeriesSample> {
    let values: Vec<f32> = numbers("series", 120 * channels)
        .enumerate()
        .map(|(k, x)| if holes && k * k % 11 == 1 { f32::NAN } else { (3.0 * x) as f32 })
        .collect();
    values.chunks_exact(40 * channels).map(|one| SeriesSample::new(channels, one.to_vec())).collect()
}

/// The loss within 1e-5 and every gradient within 2e-5 of the largest value of the file's; no gradient without one there.
#[track_caller]
pub(crate) fn holds<M: Module>(file: &str, networks: &M, loss: Tensor<1>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let golden = SafeTensors::deserialize(&bytes).unwrap();
    let expected = |name: &str| -> Vec<f32> {
        let data = golden.tensor(name).unwrap_or_else(|e| panic!("{file}: {name}: {e}"));
        data.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let found = ops::values(loss.clone().inner())[0];
    let wanted = expected("loss")[0];
    assert!((found - wanted).abs() <= 1e-5 * wanted.abs(), "{file}: loss {found} and not {wanted}");
    let mut tape = loss.backward();
    let mut seen = 0;
    let mut largest_of_all = 0.0_f32;
    let mut gradient_of = Vec::new();
    gradients(networks, &mut tape, &mut |parameter, gradient| {
        gradient_of.push((parameter.name.to_owned(), ops::values(gradient)));
    });
    for (name, found) in gradient_of {
        let expected = expected(&format!("grad.{name}"));
        assert_eq!(found.len(), expected.len(), "{file}: {name}");
        let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        largest_of_all = largest_of_all.max(largest);
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // What is zero but for rounding, such as a bias before a batch norm, is rounding here too.
        assert!(worst <= 2e-5 * largest + 1e-6, "{file}: {name}: off by {worst:e} of {largest:e}");
        seen += 1;
    }
    let wanted = golden.names().iter().filter(|name| name.starts_with("grad.")).count();
    assert_eq!(seen, wanted, "{file}: gradients");
    assert!(largest_of_all > 0.0);
}

fn vit(cut: Cut, holes: bool, causal: bool) -> SeriesVitConfig {
    SeriesVitConfig { cut, width: 16, depth: 2, heads: 2, hidden: 64, holes, causal }
}

fn cut(official: bool) -> Cut {
    Cut { channels: if official { 1 } else { 2 }, patch: 8, kernel: 3, whole: !official }
}

fn networks(official: bool, outputs: usize) -> SeriesNetworks {
    let (mut rng, device) = (rng(0, Stream::Init, 0, 0), Device::flex().autodiff());
    let encoder = vit(cut(official), !official, false).init(&mut rng, &device);
    let predictor = SeriesPredictorConfig { encoder_width: 16, width: 8, depth: 1, heads: 2, outputs };
    let networks =
        SeriesNetworks { target_encoder: encoder.valid(), predictor: predictor.init(&mut rng, &device), encoder };
    given(networks, ("target_encoder.", "encoder."))
}

fn collator(official: bool) -> SeriesCollator {
    SeriesCollator {
        seed: 1,
        cut: cut(official),
        masks: SpanMasks::default(),
        gathers: if official { Gathers::Official } else { Gathers::Each },
        width: 16,
        slices: 0,
    }
}

fn objective(official: bool) -> MaskedSeries {
    MaskedSeries {
        target: TargetKind::Ema,
        predicts: Predicts::Latents,
        transform: if official { TargetTransform::LayerNorm } else { TargetTransform::Standardise },
        loss: LatentLoss::L1,
        sigreg: 0.0,
        ema: EmaConfig { schedule: EmaSchedule::Ramp { start: 0.9 }, ..EmaConfig::default() },
        epoch: if official { 4 } else { 1 },
        keep: Keep::Target,
        sum: false,
        collator: Arc::new(collator(official)),
        device: Device::flex(),
    }
}

/// The script's masks over the tokens of these series.
fn batch(samples: &[&SeriesSample], official: bool) -> SeriesBatch {
    let packed = PackedSeries::new(samples, cut(official));
    assert_eq!(packed.rows(), 15);
    let hides = |b: u32| (0..3).map(move |j| (2 * b + 2 * j) % 5).collect::<Vec<u32>>();
    let rows = [false, true].map(|hidden| {
        (0..3_u32)
            .flat_map(|b| (0..5).filter(move |i| hides(b).contains(i) == hidden).map(move |i| 5 * b + i))
            .collect()
    });
    let sets = [Sets::uniform(3, 2), Sets::uniform(3, 3)];
    SeriesBatch { packed, rows, sets, directions: Vec::new() }
}

#[test]
fn a_step_of_ts_jepa_is_pytorchs() {
    let networks = networks(false, 16);
    let series = series(2, true);
    let batch = batch(&series.iter().collect::<Vec<_>>(), false);
    assert!(!batch.packed.unknown.is_empty());
    let loss = objective(false).loss(&networks, &batch, &CLOCK).loss;
    holds("ts-jepa.safetensors", &networks, loss);
}

/// The script gathers as the released code does, with an index of one row for each mask: it reads the first series alone.
#[test]
fn the_released_gather_trains_on_the_first_series() {
    let networks = networks(true, 16);
    let series = series(1, false);
    let first = &series[0];
    let loss = objective(true).loss(&networks, &batch(&[first, first, first], true), &CLOCK).loss;
    holds("ts-jepa-official.safetensors", &networks, loss);
    // The collator makes such batches: other series of the batch are never seen. Ours are.
    let values =
        |official: bool, samples: &[SeriesSample]| collator(official).collate(5, samples).unwrap().packed.values;
    let one = |i: usize| SeriesSample::new(1, series[i].values.to_vec());
    let other = [one(0), one(2), one(1)];
    assert_eq!(values(true, &series), values(true, &other));
    assert_eq!(values(true, &series)[..30], values(true, &series)[30..60]);
    let ours = SeriesCollator { gathers: Gathers::Each, ..collator(true) };
    assert_ne!(ours.collate(5, &series).unwrap().packed.values, ours.collate(5, &other).unwrap().packed.values);
}

#[test]
fn a_step_of_le_nepa_is_pytorchs() {
    let (mut rng, device) = (rng(0, Stream::Init, 0, 0), Device::flex().autodiff());
    let networks = NextSeriesNetworks {
        encoder: vit(cut(false), true, true).init(&mut rng, &device),
        projector: Projector::new(&[16, 12, 6], Activation::Relu, &mut rng, &device),
    };
    let networks = given(networks, ("average.", ""));
    let collator = NextSeriesCollator { seed: 0, cut: cut(false), codes: 6, slices: 5 };
    let objective =
        NextSeries { sigreg: [0.5, 0.25], stop_gradient: false, collator: Arc::new(collator), device: Device::flex() };
    let series = series(2, true);
    let packed = PackedSeries::new(&series.iter().collect::<Vec<_>>(), cut(false));
    let directions = numbers("directions", 30).map(|x| (2.0 * x) as f32).collect();
    let loss = objective.loss(&networks, &NextSeriesBatch { packed, directions }, &CLOCK).loss;
    holds("le-nepa.safetensors", &networks, loss);
}

/// Nothing that comes later changes what a causal network says.
#[test]
fn le_nepa_sees_nothing_that_comes_later() {
    let (mut rng, device) = (rng(0, Stream::Init, 0, 0), Device::flex());
    let encoder = vit(cut(false), true, true).init(&mut rng, &device);
    let hidden = |sample: &SeriesSample| {
        let packed = PackedSeries::new(&[sample], cut(false));
        let (values, unknown) = packed.all(&device);
        ops::values(encoder.hidden(encoder.embed(values, unknown), &packed.at, &packed.sets))
    };
    let (first, mut values) = (&series(2, true)[0], series(2, true)[0].values.to_vec());
    values[2 * 24..].fill(1.0);
    let (a, b) = (hidden(first), hidden(&SeriesSample::new(2, values)));
    assert_eq!(a[..3 * 16], b[..3 * 16]);
    assert_ne!(a[3 * 16..4 * 16], b[3 * 16..4 * 16]);
}

/// Series of any lengths in one batch are what they are by themselves: nothing is padded, and no token of one changes another's.
#[test]
fn unequal_series_do_not_touch_each_other() {
    let (mut rng, device) = (rng(0, Stream::Init, 0, 0), Device::flex());
    let encoder = vit(cut(false), true, false).init(&mut rng, &device);
    let hidden = |samples: &[&SeriesSample]| {
        let packed = PackedSeries::new(samples, cut(false));
        let (values, unknown) = packed.all(&device);
        ops::values(encoder.hidden(encoder.embed(values, unknown), &packed.at, &packed.sets))
    };
    let all = series(2, true);
    let short = all[1].cut(0..19);
    let together = hidden(&[&all[0], &short]);
    let alone = hidden(&[&short]);
    assert_eq!(alone.len(), 3 * 16);
    assert!(together[5 * 16..].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5));
}

/// Holes are told: the same numbers known and unknown are two things; of a masked autoencoder what is unknown is no target.
#[test]
fn a_hole_is_no_zero() {
    let networks = networks(false, cut(false).values());
    let objective = MaskedSeries { predicts: Predicts::Values, ..objective(false) };
    let all = series(2, true);
    let zeroed: Vec<SeriesSample> = all
        .iter()
        .map(|one| SeriesSample::new(2, one.values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect()))
        .collect();
    let loss = |samples: &[SeriesSample]| {
        let batch = batch(&samples.iter().collect::<Vec<_>>(), false);
        ops::values(objective.loss(&networks, &batch, &CLOCK).loss.inner())[0]
    };
    assert!((loss(&all) - loss(&zeroed)).abs() > 1e-4);
    // The mean over what is known: by hand.
    let batch = batch(&all.iter().collect::<Vec<_>>(), false);
    let found = objective.predict(&networks, &batch);
    let (said, meant) = (ops::values(found.predictions.inner()), ops::values(found.targets));
    let known = ops::values(found.known.unwrap());
    let sum: f32 = said.iter().zip(&meant).zip(&known).map(|((a, b), known)| known * (a - b).powi(2)).sum();
    let by_hand = sum / known.iter().sum::<f32>();
    let loss = ops::values(objective.loss(&networks, &batch, &CLOCK).loss.inner())[0];
    assert!((loss - by_hand).abs() < 1e-4 * by_hand, "{loss} {by_hand}");
}

#[test]
fn the_released_momentum_changes_once_an_epoch() {
    let weight = |official: bool, step: u64| match objective(official)
        .role("target_encoder.encoder_norm.weight", &Clock { step, total: 12, ..CLOCK })
    {
        Role::Follows { of, weight } => {
            assert_eq!(of, "encoder.encoder_norm.weight");
            weight
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(weight(true, 1), weight(true, 4));
    assert!(weight(true, 4) > weight(true, 5));
    assert!(weight(false, 1) > weight(false, 2));
}

proptest! {
    #[test]
    fn masks_hide_their_share_and_leave_something(
        tokens in 1..60_usize, share in 0.01..0.99_f64, span in 1..8_usize, seed in any::<u64>(),
    ) {
        let masks = SpanMasks { share, span };
        let [seen, hidden] = masks.draw(tokens, seed, 3, 1);
        prop_assert_eq!(&[seen.clone(), hidden.clone()], &masks.draw(tokens, seed, 3, 1));
        if tokens == 1 {
            prop_assert_eq!((seen, hidden), (vec![0], vec![0]));
        } else {
            prop_assert_eq!(hidden.len(), ((tokens as f64 * share + 1e-9) as usize).clamp(1, tokens - 1));
            let mut all: Vec<u32> = seen.into_iter().chain(hidden).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..tokens as u32).collect::<Vec<u32>>());
        }
    }
}

/// The paper's: seven of ten.
#[test]
fn seven_of_ten_are_hidden() {
    assert_eq!(SpanMasks::default().draw(10, 0, 1, 2).map(|part| part.len()), [3, 7]);
}
