//! V-JEPA 2-AC's objective against PyTorch (`bench/peers/v_jepa_2_ac.py`), what a prediction may see, and what it begins as.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, Normalise, Places, Window};
use foretell_jepa::dynamics::block_causal::{RollOut, Told};
use foretell_jepa::dynamics::model::STEPS_UNIT;
use foretell_jepa::dynamics::{
    BlockCausal, BlockCausalNetworks, Forcing, LatentVariable, State, WindowCollator, WorldModel,
};
use foretell_jepa::{Clock, Objective};
use foretell_nn::ac_predictor::{AcPredictorConfig, Extrinsics};
use foretell_nn::causal::Foretells;
use foretell_nn::frozen::{Frozen, FrozenFrames, Look, Sight, normalised};
use foretell_nn::layers::Linear;
use foretell_nn::pair::Pair;
use foretell_nn::parameters::gradients;
use foretell_nn::positions::RopeStyle;
use foretell_nn::{Init, NamedTensor, NamedTensors, weights};
use foretell_ops as ops;

const TOLERANCE: f32 = 1e-5;
/// Tokens of a frame, and their width.
const N: usize = 6;
const D: usize = 12;

/// Tokens that hold six pixels each, and twelve of nothing more: each twice.
struct Pixels;

impl Look for Pixels {
    fn tokens(&self, picture: &[f32]) -> Vec<f32> {
        picture.chunks_exact(D / 2).flat_map(|part| [part, part].concat()).collect()
    }

    fn shape(&self, _: &[f32]) -> (usize, usize, (usize, usize)) {
        (N, D, (2, 3))
    }
}

const PICTURE: [usize; 3] = [1, 6, 6];

fn frozen() -> FrozenFrames {
    let sight = Sight { picture: PICTURE, grid: (2, 3), width: D };
    FrozenFrames::new(Frozen::new(Box::new(Pixels), sight, 1, &Device::flex()))
}

/// Ours without poses.
fn unposed(device: &Device) -> BlockCausalNetworks {
    sized(false, 3, 0, device)
}

/// Networks as released, or ours, at the size of a test.
fn networks(official: bool, action: usize, device: &Device) -> BlockCausalNetworks {
    sized(official, action, 3, device)
}

fn sized(official: bool, action: usize, state: usize, device: &Device) -> BlockCausalNetworks {
    let config = AcPredictorConfig {
        encoder_width: D,
        grid: (2, 3),
        width: 24,
        depth: 2,
        heads: 2,
        hidden: 96,
        action,
        state,
        eps: 1e-6,
        rope: if official { RopeStyle::Tiled } else { RopeStyle::Interleaved },
        extrinsics: Extrinsics::Absent,
        foretells: if official { Foretells::Latent } else { Foretells::Change },
    };
    let mut draws = rng(3, Stream::Init, 0, 0);
    let predictor = config.init(&mut draws, device);
    let pose = (!official && state > 0).then(|| Linear::vit(24, 3, 0.02, &mut Init::new(&mut draws, device)));
    BlockCausalNetworks::new(frozen(), predictor, pose, 3)
}

fn stored(name: &str) -> NamedTensors {
    weights::read_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name)).unwrap()
}

fn tensor<const R: usize>(stored: &NamedTensors, name: &str) -> Tensor<R> {
    let NamedTensor { shape, values } = &stored[name];
    let shape: [usize; R] = shape.clone().try_into().unwrap();
    Tensor::from_data(TensorData::new(values.clone(), shape), &Device::flex())
}

fn off(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |worst, d| if d.is_nan() { f32::NAN } else { d.max(worst) })
}

#[test]
fn losses_and_every_gradient_agree_with_pytorch() {
    let released = Forcing { steps: 2, weight: 1.0, roll_out: RollOut::Official, pose: 0.0, reach: 0.0 };
    let ours = Forcing { steps: 3, weight: 0.5, roll_out: RollOut::Ours, pose: 2.0, reach: 0.0 };
    for (name, official, action, forcing) in
        [("v-jepa-2-ac-official", true, 3, released), ("v-jepa-2-ac", false, 5, ours)]
    {
        let stored = stored(&format!("{name}.safetensors"));
        let is_parameter = |key: &str| key.starts_with("predictor.") || key.starts_with("pose.");
        let parameters =
            stored.iter().filter(|(key, _)| is_parameter(key)).map(|(k, t)| (k.clone(), t.clone())).collect();
        let networks = weights::load_whole(networks(official, action, &Device::flex().autodiff()), parameters).unwrap();
        let told = Told {
            latents: tensor(&stored, "input.latents"),
            actions: tensor(&stored, "input.actions"),
            poses: Some(tensor(&stored, "input.poses")),
        };
        let predicted = networks.predict(&told, forcing.steps, forcing.roll_out);
        for (key, found) in [("forced", predicted.forced), ("rolled", predicted.rolled)] {
            let worst = off(&ops::values(found.inner()), &stored[&format!("output.{key}")].values);
            assert!(worst <= TOLERANCE, "{name} {key}: off by {worst:e}");
        }
        let (loss, terms, _) = networks.losses(&told, &forcing);
        let expected = if official { vec!["prediction", "roll_out"] } else { vec!["prediction", "roll_out", "pose"] };
        assert_eq!(terms.iter().map(|(key, _)| *key).collect::<Vec<_>>(), expected);
        for (key, found) in terms.into_iter().chain([("loss", loss.clone().inner())]) {
            let worst = off(&ops::values(found), &stored[&format!("output.{key}")].values);
            assert!(worst <= TOLERANCE, "{name} {key}: off by {worst:e}");
        }
        let mut seen = 0;
        gradients(&networks, &mut loss.backward(), &mut |parameter, gradient| {
            let expected = &stored[&format!("gradient.{}", parameter.name)].values;
            let size = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let worst = off(&ops::values(gradient), expected);
            assert!(
                size > 0.0 && worst <= 1e-4 * size.max(0.1),
                "{name} {}: off by {worst:e} of {size:e}",
                parameter.name
            );
            seen += 1;
        });
        assert_eq!(seen, stored.keys().filter(|key| key.starts_with("gradient.")).count(), "{name}: every gradient");
    }
}

fn noise<const R: usize>(shape: [usize; R], seed: usize) -> Tensor<R> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (((i + 31 * seed) * 7919 % 1013) as f32 / 1013.0 - 0.5) * 2.0).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// Networks whose every weight says something.
fn moved(official: bool) -> BlockCausalNetworks {
    let networks = networks(official, 3, &Device::flex());
    let mut state = weights::read(&networks, "");
    for (i, tensor) in state.values_mut().enumerate() {
        let by = ops::values(noise([tensor.values.len()], i));
        tensor.values.iter_mut().zip(by).for_each(|(x, by)| *x += 0.2 * by);
    }
    weights::load_whole(networks, state).unwrap()
}

fn told(frames: usize, seed: usize) -> Told {
    Told {
        latents: normalised(noise([2, frames * N, D], seed)),
        actions: noise([2, frames - 1, 3], seed + 1),
        poses: Some(noise([2, frames, 3], seed + 2)),
    }
}

#[test]
fn what_comes_later_changes_no_prediction_before_it() {
    for official in [false, true] {
        let networks = moved(official);
        let before = told(5, 1);
        let of = |told: &Told| {
            let predicted = networks.predict(told, 1, RollOut::Ours);
            ops::values(predicted.forced.swap_dims(0, 1))
        };
        let (all, rows) = (of(&before), 2 * N * D);
        let other = told(5, 40);
        for step in 1..4 {
            // The frame, the pose and the action of one step, one after the other.
            let frame = Told {
                latents: before
                    .latents
                    .clone()
                    .slice_assign([0..2, step * N..(step + 1) * N, 0..D], other.latents.clone().narrow(1, 0, N)),
                ..before.clone()
            };
            let action = Told {
                actions: before
                    .actions
                    .clone()
                    .slice_assign([0..2, step..step + 1, 0..3], other.actions.clone().narrow(1, 0, 1)),
                ..before.clone()
            };
            let poses = before.poses.clone().unwrap();
            let pose = other.poses.clone().unwrap().narrow(1, 0, 1);
            let pose = Told { poses: Some(poses.slice_assign([0..2, step..step + 1, 0..3], pose)), ..before.clone() };
            for changed in [frame, action, pose] {
                let after = of(&changed);
                assert_eq!(all[..step * rows], after[..step * rows], "what was predicted before step {step}");
                assert_ne!(all[step * rows..(step + 1) * rows], after[step * rows..(step + 1) * rows], "step {step}");
            }
        }
    }
}

#[test]
fn the_released_roll_out_counts_its_first_step_again_and_goes_by_recorded_poses() {
    let (networks, windows) = (moved(false), told(4, 5));
    let forcing = |roll_out| Forcing { steps: 2, weight: 1.0, roll_out, pose: 0.0, reach: 0.0 };
    let term = |roll_out| ops::values(networks.losses(&windows, &forcing(roll_out)).1[1].1.clone())[0];
    let error = |roll_out, k: usize| {
        let rolled = networks.predict(&windows, 2, roll_out).rolled.narrow(1, (k - 1) * N, N);
        ops::values(ops::l1(rolled, windows.latents.clone().narrow(1, k * N, N)))[0]
    };
    let (first, official, ours) = (error(RollOut::Official, 1), error(RollOut::Official, 2), error(RollOut::Ours, 2));
    assert!((term(RollOut::Official) - f32::midpoint(first, official)).abs() < 1e-6, "its two steps' mean");
    assert!((term(RollOut::Ours) - ours).abs() < 1e-6, "the second step alone");
    assert!((official - ours).abs() > 1e-4, "poses on the way are not those recorded: {official} {ours}");
}

#[test]
fn a_fresh_predictor_of_ours_foretells_no_change() {
    let (networks, windows) = (networks(false, 3, &Device::flex()), told(3, 7));
    let forced = networks.predict(&windows, 2, RollOut::Ours).forced;
    assert!(off(&ops::values(forced), &ops::values(windows.latents.narrow(1, 0, 2 * N))) < 1e-4);
}

#[test]
fn planning_steps_as_training_rolls_out() {
    for official in [false, true] {
        let (model, windows) = (moved(official), told(4, 9));
        let frame = |k: usize| windows.latents.clone().narrow(1, k * N, N);
        let row = |rows: &Tensor<3>, k: usize| rows.clone().narrow(1, k, 1).reshape([2, 3]);
        let poses = windows.poses.clone().unwrap();
        let begin = State::begin(frame(0)).posed(Some(row(&poses, 0)));
        let last = (0..3).fold(begin, |state, k| model.step(state, row(&windows.actions, k)));
        assert_eq!((last.latents().len(), last.poses().len(), last.actions().len()), (3, 3, 2));
        let rolled = model.predict(&windows, 3, RollOut::Ours).rolled;
        // The last step of three saw the first frame and both predictions, as it looks back on three.
        assert!(off(&ops::values(last.newest().clone()), &ops::values(rolled.narrow(1, 2 * N, N))) < 1e-4);
        let energy = model.energy(frame(1), frame(2));
        let by_hand = (frame(1) - frame(2)).abs().reshape([2, N * D]).mean_dim(1);
        assert!(off(&ops::values(energy), &ops::values(by_hand)) < 1e-6);
        assert!(model.latents_are_given());
    }
}

fn collator_of(poses: Option<Normalise>) -> WindowCollator {
    WindowCollator {
        observation: PICTURE,
        action: 3,
        normalise: Normalise::nothing(1),
        actions: Normalise::nothing(3),
        poses,
        slices: None,
        places: false,
    }
}

fn objective(poses: Option<Normalise>) -> BlockCausal {
    let collator = collator_of(poses);
    let setting = Forcing { steps: 2, weight: 1.0, roll_out: RollOut::Ours, pose: 1.0, reach: 0.0 };
    BlockCausal {
        setting,
        variable: LatentVariable::None,
        actor: None,
        collator: Arc::new(collator),
        device: Device::flex(),
    }
}

fn windows(frames: usize) -> Vec<Window> {
    let one = |i: usize| Window {
        frames,
        observations: ops::values(noise([frames * 36], i)),
        actions: ops::values(noise([(frames - 1) * 3], i + 10)),
        states: ops::values(noise([frames * 3], i + 20)),
        ..Window::default()
    };
    (0..3).map(one).collect()
}

#[test]
fn batches_bring_frames_actions_and_poses_together_and_no_weight_of_the_encoder_is_kept() {
    let scale = Normalise { mean: vec![0.5; 3], std: vec![2.0; 3] };
    let objective = objective(Some(scale));
    let windows = windows(4);
    let batch = objective.collator.collate(1, &windows).unwrap();
    assert_eq!(batch.poses[2 * 3], (windows[2].states[0] - 0.5) / 2.0, "the first pose of the third window");
    let networks = networks(false, 3, &Device::flex().autodiff());
    let clock = Clock { step: 1, total: 2, batch: 3, health_due: true };
    let outcome = objective.loss(&networks, &batch, &clock);
    let latents = outcome.latents.unwrap();
    assert_eq!((latents.predictions.dims(), latents.targets.dims()), ([3 * 3 * N, D], [3 * 3 * N, D]));
    // By hand from one window, frame by frame.
    let frozen = networks.encoder.frozen();
    let second = frozen.tokens(&windows[1].observations);
    let targets = ops::values(latents.targets.reshape([3, 3 * N * D]).narrow(0, 1, 1));
    assert_eq!(targets, ops::values(second.narrow(0, 1, 3)));
    let names: Vec<String> = weights::read(&networks, "").into_keys().collect();
    assert!(names.iter().all(|name| name.starts_with("predictor.") || name.starts_with("pose.")), "{names:?}");
    let kept = objective.kept(&networks.valid());
    assert!(kept.encoder.state().is_empty() && kept.encoder.width() == D);
    let short = Window { states: vec![0.0; 4], ..windows[0].clone() };
    let said = objective.collator.collate(1, &[short]).err().unwrap().to_string();
    assert!(said.contains("4 numbers of states") && said.contains("3 numbers"), "{said}");
}

#[test]
fn steps_between_places_are_read_from_frozen_tokens_and_a_model_tells_them() {
    let collator = WindowCollator { places: true, ..collator_of(None) };
    let objective = BlockCausal {
        setting: Forcing { reach: 0.5, ..objective(None).setting },
        collator: Arc::new(collator),
        ..objective(None)
    };
    let steps = vec![0.0, 7.0, f32::INFINITY, 0.0];
    let places = |i| Places { count: 2, observations: ops::values(noise([2 * 36], i + 40)), steps: steps.clone() };
    let windows: Vec<Window> =
        windows(4).into_iter().enumerate().map(|(i, window)| Window { places: places(i), ..window }).collect();
    let batch = objective.collator.collate(1, &windows).unwrap();
    let device = Device::flex().autodiff();
    let head = Pair::new(N * D, 8, 1, &mut rng(5, Stream::Init, 0, 0), &device);
    let plain = unposed(&device);
    let networks = plain.clone().with_heads(None, Some(head.clone()));
    let clock = Clock { step: 1, total: 2, batch: 3, health_due: false };
    let outcome = objective.loss(&networks, &batch, &clock);
    let (_, told) = outcome.terms.iter().find(|(name, _)| *name == "reach").unwrap();
    let told = ops::values(told.clone())[0];
    // By hand: three of four pairs of each window have a way.
    let head = head.valid();
    let by_hand = windows.iter().map(|window| {
        let tokens = networks.encoder.frozen().tokens(&window.places.observations);
        let place = |i: usize| tokens.clone().narrow(0, i, 1).reshape([1, N * D]);
        let off = |i: usize, j: usize, steps: f32| {
            (ops::values(head.forward(place(i), place(j)))[0] - steps / STEPS_UNIT as f32).abs()
        };
        off(0, 0, 0.0) + off(0, 1, 7.0) + off(1, 1, 0.0)
    });
    let by_hand = by_hand.sum::<f32>() / 9.0;
    assert!((told - by_hand).abs() < 1e-5 * by_hand.max(1.0), "{told} and {by_hand}");
    let without = objective.loss(&plain, &batch, &clock).loss.into_scalar::<f32>();
    let with = outcome.loss.clone().into_scalar::<f32>();
    assert!((with - without - 0.5 * told).abs() < 1e-4, "{with} and {without}");
    assert!(
        networks
            .valid()
            .steps_to(Tensor::zeros([1, N * D], &Device::flex()), Tensor::ones([1, N * D], &Device::flex()))
            .is_some()
    );
    assert!(plain.valid().reach().is_none());
}
