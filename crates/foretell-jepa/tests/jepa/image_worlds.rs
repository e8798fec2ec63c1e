//! The masked composition of IWM (two views and what lies between them) and of DMT-JEPA (gathered targets): batches, what the loss depends
//! on, and what becomes of each parameter.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, Dataset, Normalise, Part, Sample, ScenesConfig};
use foretell_jepa::action::NUMBERS;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::{Keep, Masked, MaskedBatch, MaskedCollator, MaskedNetworks, Predicts};
use foretell_jepa::masks::{Grid, MaskConfig};
use foretell_jepa::neighbours::{AskedBy, Borders, Nearby};
use foretell_jepa::target::{EmaConfig, TargetKind, TargetTransform};
use foretell_jepa::{Clock, KeptPredictor, KeptTargets, Objective, Role};
use foretell_nn::aggregation::Aggregation;
use foretell_nn::conditioner::{Conditioner, Conditioning};
use foretell_nn::parameters::gradients;
use foretell_nn::predictor::PredictorConfig;
use foretell_nn::vit::VitConfig;
use foretell_ops as ops;

use crate::parity::{Golden, loaded};

const SIZE: usize = 16;
const PATCH: usize = 4;
const WIDTH: usize = 16;
const CLOCK: Clock = Clock { step: 3, total: 10, batch: 4, health_due: true };

fn samples() -> Vec<Sample> {
    let scenes = Dataset::scenes(&ScenesConfig { size: SIZE, ..ScenesConfig::default() });
    (0..4).map(|index| scenes.load(Part::Train, index).unwrap()).collect()
}

fn augment() -> Augment {
    Augment { crop_scale: (0.4, 0.9), flip: 0.5, jitter: 1.0, brightness: 0.4, grey: 0.5, ..Augment::default() }
}

fn collator(coloured: bool, together: bool) -> MaskedCollator {
    MaskedCollator {
        seed: 5,
        size: SIZE,
        patch: PATCH,
        augment: augment(),
        coloured,
        normalise: Normalise::nothing(3),
        masks: MaskConfig::default(),
        together,
        width: WIDTH,
        slices: 0,
    }
}

fn networks(condition: Option<Conditioning>, heads: bool) -> MaskedNetworks {
    let device = Device::flex().autodiff();
    let at = |network| rng(9, Stream::Init, 0, network);
    let image = (SIZE, SIZE);
    let vit = VitConfig { image, patch: PATCH, channels: 3, width: WIDTH, depth: 1, heads: 2, hidden: 32 };
    let encoder = vit.init(&mut at(0), &device);
    let predictor =
        PredictorConfig { grid: vit.grid(), encoder_width: WIDTH, width: 8, depth: 1, heads: 2, outputs: WIDTH };
    let mut predictor = predictor.init(&mut at(1), &device);
    predictor.condition = condition.map(|condition| Conditioner::new(condition, NUMBERS, 8, &mut at(2), &device));
    let head = heads.then(|| Aggregation::new(WIDTH, 2, 32, &mut at(3), &device));
    MaskedNetworks {
        target_encoder: encoder.valid(),
        encoder,
        predictor,
        target_head: head.as_ref().map(Module::valid),
        head,
    }
}

fn objective(coloured: bool, neighbours: Option<Nearby>) -> Masked {
    Masked {
        target: TargetKind::Ema,
        predicts: Predicts::Latents,
        transform: TargetTransform::LayerNorm,
        loss: LatentLoss::L2,
        neighbours,
        sigreg: 0.0,
        means: None,
        ema: EmaConfig::default(),
        keep: Keep::Target,
        keep_predictor: coloured,
        collator: Arc::new(collator(coloured, coloured)),
        device: Device::flex(),
    }
}

fn batch(objective: &Masked) -> MaskedBatch {
    objective.collator.collate(7, &samples()).unwrap()
}

#[test]
fn source_and_target_share_a_place_and_differ_by_the_action() {
    let collator = collator(true, true);
    let samples = samples();
    let (mut greys, mut apart) = (0, 0);
    for place in 0..40 {
        let (target, source) = collator.views(&samples[place % 4].image, 1, place as u64);
        let (source, action) = source.expect("two views");
        assert_eq!(action[1..4], [0.0; 3], "what is off is not told");
        let grey = |view: &foretell_data::Image| view.pixels.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]);
        assert_eq!((grey(&source), grey(&target)), (action[4] == 1.0, false), "what cannot be undone is the source's");
        greys += usize::from(grey(&source));
        if !grey(&source) {
            // The same place in another brightness: one factor for all pixels that neither view cuts off, and the action's sign.
            let sum = |view: &foretell_data::Image| view.pixels.iter().map(|p| f64::from(*p)).sum::<f64>();
            let pairs = source
                .pixels
                .iter()
                .zip(&target.pixels)
                .filter(|(a, b)| (40..230).contains(*a) && (40..230).contains(*b));
            let ratios: Vec<f64> = pairs.map(|(a, b)| f64::from(*b) / f64::from(*a)).collect();
            let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
            assert!(ratios.iter().all(|ratio| (ratio / mean - 1.0).abs() < 0.05), "{place}: {mean}");
            assert_eq!(sum(&target) > sum(&source), action[0] > 0.0, "{place}: {action:?}");
            apart += 1;
        }
    }
    assert!(greys > 8 && apart > 8, "{greys} and {apart}");
}

#[test]
fn one_view_is_what_it_was_and_blocks_together_are_the_same_tokens() {
    let (plain, together) = (collator(false, false), collator(false, true));
    let samples = samples();
    let (plain, together) = (plain.collate(7, &samples).unwrap(), together.collate(7, &samples).unwrap());
    assert!(plain.actions.is_empty());
    assert_eq!((&plain.patches, &plain.context), (&together.patches, &together.context));
    assert_eq!(plain.masks.target, together.masks.target);
    assert_eq!((together.masks.targets, together.masks.target_len), (1, plain.masks.targets * plain.masks.target_len));
    let coloured = collator(true, true).collate(7, &samples).unwrap();
    assert_eq!(coloured.actions.len(), 4 * NUMBERS);
    let width = 3 * PATCH * PATCH;
    let first = coloured.masks.context[0] as usize;
    assert_ne!(coloured.context[..width], coloured.patches[first * width..][..width], "the source is seen");
}

#[test]
fn predictions_depend_on_the_action_where_the_predictor_is_told_one() {
    for condition in [Some(Conditioning::Feature), Some(Conditioning::Sequence), None] {
        let (objective, networks) = (objective(true, None), networks(condition, false));
        let predict = |batch: &MaskedBatch| ops::values(objective.predict(&networks, batch).0);
        let told = batch(&objective);
        let mut other = batch(&objective);
        other.actions[NUMBERS] += 0.5;
        let (a, b) = (predict(&told), predict(&other));
        let each = a.len() / 4;
        // Of the second sample alone.
        assert_eq!(a[..each], b[..each]);
        assert_eq!(a[each..2 * each] != b[each..2 * each], condition.is_some(), "{condition:?}");
        assert_eq!(a[2 * each..], b[2 * each..]);
        let mut none = batch(&objective);
        none.actions = Vec::new();
        let mut zeros = batch(&objective);
        zeros.actions.fill(0.0);
        assert_eq!(predict(&none), predict(&zeros), "no action is one of zeros");

        // The kept predictor predicts every place, and its encoder is the kept one.
        let kept = objective.kept(&networks);
        let predictor = kept.model.unwrap().downcast::<KeptPredictor<Sample>>().expect("a predictor").0;
        let samples = samples();
        let tokens = predictor.tokens(&samples.iter().collect::<Vec<_>>());
        assert_eq!((tokens.rows.dims(), tokens.grid), ([4 * 16, WIDTH], Some((4, 4))));
        let state = predictor.state();
        assert_eq!(state.keys().any(|name| name.starts_with("predictor.condition.")), condition.is_some());
        let encoder = kept.encoder.state();
        assert!(encoder.iter().all(|(name, tensor)| state[&format!("encoder.{name}")] == *tensor));
    }
}

/// Names of parameters with a gradient that is not nothing.
fn learning(objective: &Masked, networks: &MaskedNetworks) -> Vec<String> {
    let outcome = objective.loss(networks, &batch(objective), &CLOCK);
    let mut names = Vec::new();
    let mut all = outcome.loss.backward();
    gradients(networks, &mut all, &mut |parameter, gradient: Tensor<1>| {
        if ops::values(gradient).iter().any(|g| *g != 0.0) {
            names.push(parameter.name.to_owned());
        }
    });
    names
}

#[test]
fn what_is_told_and_what_gathers_learn_and_teachers_follow() {
    for (condition, part) in [(Conditioning::Feature, "maps.2.weight"), (Conditioning::Sequence, "token_weight")] {
        let names = learning(&objective(true, None), &networks(Some(condition), false));
        assert!(names.contains(&format!("predictor.condition.{part}")), "{names:?}");
    }
    let (objective, networks) = (objective(false, Some(Nearby::default())), networks(None, true));
    let names = learning(&objective, &networks);
    for expected in
        ["head.blocks.0.q.weight", "head.blocks.1.kv.weight", "head.blocks.1.mlp.fc2.bias", "head.norm.weight"]
    {
        assert!(names.contains(&expected.to_owned()), "{expected} is not among {names:?}");
    }
    assert!(names.iter().all(|name| !name.starts_with("target_")), "{names:?}");
    let of = |name: &str| match objective.role(name, &CLOCK) {
        Role::Follows { of, .. } => Some(of.into_owned()),
        _ => None,
    };
    assert_eq!(of("target_head.blocks.0.q.weight").as_deref(), Some("head.blocks.0.q.weight"));
    assert_eq!(of("target_encoder.norm.bias").as_deref(), Some("encoder.norm.bias"));
    assert_eq!((of("head.norm.bias"), of("predictor.mask_token")), (None, None));
}

#[test]
fn targets_are_the_gathered_ones_and_the_released_quirks_change_them() {
    let networks = networks(None, true);
    let targets = |neighbours| {
        let objective = objective(false, neighbours);
        ops::values(objective.predict(&networks, &batch(&objective)).1)
    };
    let own = Nearby::default();
    let all = [
        targets(None),
        targets(Some(own)),
        targets(Some(Nearby { borders: Borders::Wrapped, ..own })),
        targets(Some(Nearby { query: AskedBy::Mixed, ..own })),
        targets(Some(Nearby { most: 2, ..own })),
    ];
    for (i, one) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|other| one != other), "{i}");
    }
    // What the judge is given is what is predicted, before it is brought to a scale.
    let objective = objective(false, Some(own));
    let kept = objective.kept(&networks).model.unwrap().downcast::<KeptTargets<Sample>>().expect("targets").0;
    let samples: Vec<Sample> = samples();
    let plain = Masked {
        collator: Arc::new(MaskedCollator { augment: Augment::default(), ..collator(false, false) }),
        ..objective
    };
    let batch = plain.collator.collate(7, &samples).unwrap();
    let rows = kept.tokens(&samples.iter().collect::<Vec<_>>()).rows.reshape([4, 16, WIDTH]);
    let expected = ops::values(foretell_nn::positions::gather_tokens(rows, &batch.masks.target));
    let got = ops::values(plain.predict(&networks, &batch).1);
    assert!(expected.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-5) && expected.len() == got.len());
}

#[test]
fn the_context_is_gathered_before_it_is_seen() {
    let (with, mut without) = (networks(None, true), networks(None, true));
    let objective = objective(false, Some(Nearby::default()));
    let predicted = |networks: &MaskedNetworks| {
        let (predictions, _, context) = objective.predict(networks, &batch(&objective));
        (ops::values(predictions), ops::values(context))
    };
    without.head = None;
    let (a, b) = (predicted(&with), predicted(&without));
    assert_ne!(a.0, b.0);
    assert_eq!(a.1, b.1, "what is regularised is what the encoder says");
}

/// Values and gradients of PyTorch's, as ours and with each quirk of the released code: `bench/peers/dmt_jepa.py`.
#[test]
fn aggregation_is_pytorchs() {
    let golden = Golden::open(&["dmt-jepa.safetensors"]);
    let device = Device::flex().autodiff();
    let head = Aggregation::new(16, 2, 32, &mut rng(0, Stream::Init, 0, 0), &device);
    let head = loaded(head, golden.network("head."));
    let probe = golden.tensor::<3>("input.probe", &device);
    let official = Nearby { borders: Borders::Wrapped, query: AskedBy::Mixed, ..Nearby::default() };
    let kinds = [
        ("own", Some(Nearby::default())),
        ("wrapped", Some(Nearby { borders: Borders::Wrapped, ..Nearby::default() })),
        ("mixed", Some(Nearby { query: AskedBy::Mixed, ..Nearby::default() })),
        ("official", Some(official)),
        ("whole", None),
    ];
    for (name, nearby) in kinds {
        let tokens = golden.tensor::<3>("input.tokens", &device).require_grad();
        let out = match nearby {
            Some(nearby) => nearby.gathered(&head, tokens.clone(), Grid::new(3, 4)),
            None => head.global(tokens.clone()),
        };
        golden.check(&format!("output.{name}"), out.clone());
        let mut all = (out * probe.clone()).mean().backward();
        golden.check(&format!("grad.{name}.tokens"), tokens.grad(&all).unwrap());
        gradients(&head, &mut all, &mut |parameter, gradient: Tensor<1>| {
            for (of, short) in [("blocks.1.q.weight", "q"), ("blocks.0.kv.weight", "kv")] {
                if parameter.name == of {
                    golden.check(&format!("grad.{name}.{short}"), gradient.clone());
                }
            }
        });
    }
}
