//! Signal-JEPA: the networks and the paper's heads against `braindecode` (`bench/peers/signal_jepa.py` made the numbers, at the published
//! size with weights that a formula gives), and the objective's own promises.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::eeg::EegSample;
use foretell_data::random::{Stream, rng};
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::signals::{
    BallConfig, HeadKind, SignalCollator, SignalHead, SignalHeadNetworks, SignalJepa, SignalJepaEncoder,
    SignalNetworks, SignalTarget,
};
use foretell_jepa::target::EmaConfig;
use foretell_jepa::{Clock, Objective, Role};
use foretell_nn::signal::{KERNEL, SignalConfig, SignalEncoder, SignalNorm, SignalPredictor, names, pieces};
use foretell_nn::{Encode, parameters};
use foretell_ops::{self as ops, Sets};
use serde_json::Value;

/// `formula` of the script.
fn formula(seed: u64, count: usize, bound: f64) -> Vec<f32> {
    const WORD: u64 = 1 << 32;
    let one = |place: u64| {
        let mixed = (place + seed * 1_000_003).wrapping_mul(2_654_435_761) % WORD;
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519) % WORD;
        let mixed = mixed ^ (mixed >> 13);
        ((mixed as f64 / WORD as f64 - 0.5) * 2.0 * bound) as f32
    };
    (1..=count as u64).map(one).collect()
}

/// `fill` of the script: a parameter's values, by its place among the names; none for the places' codes.
fn filled(names: &[String], name: &str, shape: &[usize]) -> Option<Vec<f32>> {
    if name.ends_with("pos_encoder_spat.weight") {
        return None;
    }
    let seed = names.iter().position(|known| known == name).unwrap_or_else(|| panic!("{name} is no published name"));
    let values = formula(seed as u64, shape.iter().product(), 0.1);
    let is_norm = shape.len() == 1 && name.ends_with("weight");
    Some(if is_norm { values.into_iter().map(|x| x + 1.0).collect() } else { values })
}

fn fill<M: Module>(module: M, names: &[String], name_of: &dyn Fn(&str) -> String) -> M {
    parameters::change(module, &mut |parameter, old| {
        let name = name_of(parameter.name);
        if name.is_empty() {
            return old * 0.0;
        }
        filled(names, &name, parameter.shape).map_or(old, |values| {
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
        })
    })
}

struct Golden(Value);

impl Golden {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/signal-jepa.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    fn numbers(value: &Value) -> Vec<f32> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    }

    fn names(value: &Value) -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    fn places(&self) -> Vec<[f32; 3]> {
        let place = |place: &Value| Self::numbers(place).try_into().unwrap();
        self.0["places"].as_array().unwrap().iter().map(place).collect()
    }

    fn encoder(&self, names: &[String], depth: usize) -> SignalEncoder {
        let config = SignalConfig {
            places: self.places(),
            width: 64,
            depth,
            heads: 8,
            hidden: 2_048,
            norm: SignalNorm::Electrode,
        };
        let network = config.init(&mut rng(0, Stream::Init, 0, 0), &Device::flex());
        // The codes begin as the places say, to what PyTorch's sines in f32 leave of angles up to 53; as weights they are given.
        let codes = Self::numbers(&self.0["codes"]);
        close(&ops::values(network.pos_encoder.pos_encoder_spat.weight.val().reshape([5 * 30])), &codes, 2e-5);
        let network = parameters::change(network, &mut |parameter, old| {
            if parameter.name != "pos_encoder.pos_encoder_spat.weight" {
                return old;
            }
            Tensor::from_data(TensorData::new(codes.clone(), [codes.len()]), &Device::flex())
        });
        fill(network, names, &|name| names::released(name))
    }
}

#[track_caller]
fn close(found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len());
    let off = found.iter().zip(wanted).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max);
    assert!(off <= tolerance, "off by {off:e}");
}

fn windows(golden: &Golden) -> Vec<EegSample> {
    let samples = golden.0["samples"].as_u64().unwrap() as usize;
    let all = formula(777, 2 * 5 * samples, 3.0);
    all.chunks_exact(5 * samples).map(|values| EegSample { values: values.into(), samples }).collect()
}

#[test]
fn the_published_network_is_that_of_braindecode() {
    let golden = Golden::open();
    let all = Golden::names(&golden.0["names"]);
    let encoder = golden.encoder(&all, 8);

    let samples = windows(&golden);
    let cut: Vec<f32> = samples.iter().flat_map(|sample| pieces(&sample.values, sample.samples)).collect();
    let rows = cut.len() / KERNEL;
    let cut = Tensor::<2>::from_data(TensorData::new(cut, [rows, KERNEL]), &Device::flex());
    let tokens = golden.0["tokens"].as_u64().unwrap() as usize;
    let local = ops::values(encoder.local(cut, 10));
    close(&local[..5 * tokens * 64], &Golden::numbers(&golden.0["local"]), 1e-5);

    let kept = SignalJepaEncoder::new(encoder.clone(), &Device::flex());
    let context = kept.tokens(&samples.iter().collect::<Vec<_>>());
    assert_eq!(context.grid, Some((5, tokens)));
    close(&ops::values(context.rows.clone()), &Golden::numbers(&golden.0["context"]), 1e-5);

    // The published names, every one of them.
    let ours: Vec<String> = kept.state().into_keys().collect();
    let published: Vec<String> = all.iter().filter(|name| !name.starts_with("transformer.decoder.")).cloned().collect();
    assert_eq!(ours, published);

    // The decoder, its mask token at zero.
    let predictor = SignalPredictor::new(4, (64, 8, 2_048), &mut rng(0, Stream::Init, 0, 1), &Device::flex());
    let predictor = fill(predictor, &all, &|name| {
        if name == "mask_token" { String::new() } else { format!("transformer.{name}") }
    });
    let asked = Tensor::<2>::from_data(TensorData::new(formula(778, 2 * 4 * 64, 1.0), [8, 64]), &Device::flex());
    let decoded = predictor.forward(asked, &Sets::uniform(2, 4), &context.rows, &Sets::uniform(2, 5 * tokens));
    close(&ops::values(decoded), &Golden::numbers(&golden.0["decoded"]), 1e-5);
}

#[test]
fn the_papers_heads_are_those_of_braindecode() {
    let golden = Golden::open();
    let samples = windows(&golden);
    let samples: Vec<&EegSample> = samples.iter().collect();
    let tokens = golden.0["tokens"].as_u64().unwrap() as usize;
    for kind in HeadKind::ALL {
        let head = &golden.0["heads"][kind.name()];
        let all = Golden::names(&head["names"]);
        // A head without the transformer has no weights for it: one block that nothing uses.
        let whole = Golden::names(&golden.0["names"]);
        let known = if kind == HeadKind::Contextual { &all } else { &whole };
        let encoder = golden.encoder(known, if kind == HeadKind::Contextual { 8 } else { 1 });
        let encoder = fill(encoder, known, &|name| names::released(name));
        // Its convolutions have other places among fewer names.
        let encoder = parameters::change(encoder, &mut |parameter, old| {
            let name = names::released(parameter.name);
            match all.contains(&name).then(|| filled(&all, &name, parameter.shape)).flatten() {
                Some(values) => {
                    let count = values.len();
                    Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
                }
                None => old,
            }
        });
        let (mix, linear) = if kind == HeadKind::PreLocal {
            ("spatial_conv.1", "final_layer.1")
        } else {
            ("final_layer.spat_conv", "final_layer.linear")
        };
        let value = |name: String, shape: &[usize]| filled(&all, &name, shape).unwrap();
        let fresh = SignalHead::new(encoder.clone(), kind, tokens, 0, &Device::flex());
        let networks: SignalHeadNetworks = fresh.network().downcast_ref::<SignalHeadNetworks>().unwrap().clone();
        let networks = parameters::change(networks, &mut |parameter, old| {
            let values = match parameter.name {
                "mixing" => value(format!("{mix}.weight"), &[4, 5, 1, 1]),
                "offsets" => value(format!("{mix}.bias"), &[4]),
                _ => return old,
            };
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
        });
        let head_network = SignalHead::of(networks, kind, tokens, &Device::flex());
        let features = head_network.tokens(&samples).rows;
        let width = head_network.width();
        let weight =
            Tensor::<1>::from_floats(value(format!("{linear}.weight"), &[3, width]).as_slice(), &Device::flex());
        let bias = Tensor::<1>::from_floats(value(format!("{linear}.bias"), &[3]).as_slice(), &Device::flex());
        let logits = ops::linear(features, weight.reshape([3, width]), bias);
        close(&ops::values(logits), &Golden::numbers(&head["logits"]), 1e-5);
    }
}

/// Small networks on two windows.
fn small(target: SignalTarget) -> (SignalJepa, SignalNetworks, Vec<EegSample>) {
    let device = Device::flex();
    let places: Vec<[f32; 3]> =
        ["Fp1", "F4", "C3", "Cz", "P4", "O1"].map(|name| foretell_data::eeg::place(name).unwrap()).to_vec();
    let config =
        SignalConfig { places: places.clone(), width: 32, depth: 1, heads: 4, hidden: 48, norm: SignalNorm::Fixed };
    let encoder = config.init(&mut rng(1, Stream::Init, 0, 0), &device.clone().autodiff());
    let predictor = SignalPredictor::new(1, (32, 4, 48), &mut rng(1, Stream::Init, 0, 1), &device.clone().autodiff());
    let collator = SignalCollator { seed: 3, places, ball: BallConfig::default() };
    let objective =
        SignalJepa { target, loss: LatentLoss::L1, ema: EmaConfig::default(), collator: Arc::new(collator), device };
    let target_encoder = encoder.valid();
    let window = |seed: u64| EegSample { values: formula(seed, 6 * 280, 1.5).into(), samples: 280 };
    (objective, SignalNetworks { encoder, predictor, target_encoder }, (0..4).map(window).collect())
}

#[test]
fn nothing_of_a_hidden_electrode_reaches_the_context_and_the_teacher_takes_no_gradient() {
    let (objective, networks, mut samples) = small(SignalTarget::AsTheyAre);
    let batch = objective.collator().collate(1, &samples).unwrap();
    let (predictions, targets) = objective.predict(&networks, &batch);
    assert_eq!(predictions.dims(), targets.dims());
    let asked: usize = batch.hidden.iter().map(|hidden| hidden.hidden.len() * batch.tokens).sum();
    assert_eq!(predictions.dims(), [asked, 32]);
    // Other values at what is hidden: the same predictions, other targets.
    for (sample, hidden) in samples.iter_mut().zip(&batch.hidden) {
        let mut values = sample.values.to_vec();
        for electrode in &hidden.hidden {
            values[*electrode as usize * 280..][..280].iter_mut().for_each(|x| *x = 1.0 - *x);
        }
        sample.values = values.into();
    }
    let changed = objective.collator().collate(1, &samples).unwrap();
    let (again, other) = objective.predict(&networks, &changed);
    assert_eq!(ops::values(again.inner()), ops::values(predictions.inner()));
    assert_ne!(ops::values(other), ops::values(targets));

    let clock = Clock { step: 1, total: 10, batch: 4, health_due: true };
    let outcome = objective.loss(&networks, &batch, &clock);
    let mut gradients = outcome.loss.backward();
    let mut found = Vec::new();
    parameters::gradients(&networks, &mut gradients, &mut |parameter, gradient| {
        if ops::values(gradient).iter().any(|x| *x != 0.0) {
            found.push(parameter.name.to_owned());
        }
    });
    assert!(found.iter().all(|name| !name.starts_with("target_encoder.")), "{found:?}");
    for name in
        ["encoder.feature_encoder.0.weight", "encoder.pos_encoder.pos_encoder_spat.weight", "predictor.mask_token"]
    {
        assert!(found.iter().any(|known| known == name), "{name} learns");
    }
    assert!(
        matches!(objective.role("target_encoder.feature_encoder.0.weight", &clock), Role::Follows { of, .. } if of == "encoder.feature_encoder.0.weight")
    );
    assert_eq!(objective.role("encoder.feature_encoder.0.weight", &clock), Role::LEARNS);
}

/// A window alone in its batch has predictions of its own: samples with other balls do not change them.
#[test]
fn ragged_balls_do_not_mix_windows() {
    let (objective, networks, samples) = small(SignalTarget::AsTheyAre);
    let collator =
        SignalCollator { seed: 3, places: objective.collator.places.clone(), ball: BallConfig { diameter: 1.2 } };
    let objective = SignalJepa { collator: Arc::new(collator), ..objective };
    let batch = objective.collator().collate(1, &samples).unwrap();
    let lengths: Vec<usize> = batch.hidden.iter().map(|hidden| hidden.hidden.len()).collect();
    assert!(lengths.iter().any(|length| *length != lengths[0]), "the balls should differ: {lengths:?}");
    let all = ops::values(objective.predict(&networks, &batch).0.inner());
    let mut start = 0;
    for (window, hidden) in batch.hidden.iter().enumerate() {
        let each = batch.pieces.len() / 4;
        let seen: usize = batch.hidden[..window].iter().map(|hidden| hidden.seen.len()).sum::<usize>() * each / 6;
        let alone = foretell_jepa::signals::SignalBatch {
            windows: 1,
            electrodes: 6,
            tokens: batch.tokens,
            pieces: batch.pieces[window * each..][..each].to_vec(),
            seen: batch.seen[seen..][..hidden.seen.len() * each / 6].to_vec(),
            hidden: vec![hidden.clone()],
        };
        let predicted = ops::values(objective.predict(&networks, &alone).0.inner());
        close(&all[start..start + predicted.len()], &predicted, 1e-5);
        start += predicted.len();
    }
    assert_eq!(start, all.len());
}

/// The default's targets: a dimension that is the same in every window is worth nothing.
#[test]
fn standardised_targets_have_no_mean_at_a_place() {
    let (objective, networks, samples) = small(SignalTarget::Standardise);
    let mut batch = objective.collator().collate(1, &samples).unwrap();
    let hidden = batch.hidden[0].clone();
    batch.hidden = vec![hidden.clone(); 4];
    let each = batch.pieces.len() / 24;
    batch.seen = (0..4)
        .flat_map(|window| hidden.seen.iter().map(move |electrode| window * 6 + *electrode as usize))
        .flat_map(|row| batch.pieces[row * each..][..each].to_vec())
        .collect();
    let of = |target: SignalTarget| {
        let (collator, device) = (objective.collator.clone(), objective.device.clone());
        let objective = SignalJepa { target, loss: objective.loss, ema: objective.ema, collator, device };
        let (_, targets) = objective.predict(&networks, &batch);
        let [rows, width] = targets.dims();
        let mean = targets.reshape([4, rows / 4, width]).mean_dim(0);
        ops::values(mean).iter().map(|x| x.abs()).fold(0.0, f32::max)
    };
    assert!(of(SignalTarget::Standardise) < 1e-4);
    assert!(of(SignalTarget::AsTheyAre) > 0.1);
}
