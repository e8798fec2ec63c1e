//! The target network: its clock is set in samples, it forgets its random start or the run is refused, and the two ways
//! without it do what they say.

use std::sync::Arc;

use foretell_data::{Auto, Decision, Images, ImagesConfig, Normalise};
use foretell_jepa::Clock;
use foretell_jepa::target::{EmaConfig, EmaSchedule, TargetKind};
use foretell_nn::NamedTensors;
use foretell_ops::AdamW;
use foretell_systems::System;
use foretell_systems::i_jepa::IJepaConfig;
use foretell_train::{Learner, TrainConfig, Which};

use crate::made::{Bench, scenes};

/// Images of 16 pixels that nobody opens.
fn setting(total_steps: u64, batch: usize) -> Bench<Images> {
    let normalise = Normalise { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let config = ImagesConfig { image_size: Auto::Value(16), normalise, ..ImagesConfig::default() };
    Bench::new(None, config, (total_steps, batch))
}

/// The same, opened.
fn with_images(total_steps: u64, batch: usize) -> Bench<Images> {
    let (images, _) = scenes(16, 40, 8);
    Bench { data: Some(Arc::clone(&images)), ..setting(total_steps, batch) }
}

fn tiny() -> IJepaConfig {
    IJepaConfig {
        patch: Auto::Value(4),
        width: Auto::Value(16),
        depth: Auto::Value(1),
        heads: Auto::Value(2),
        predictor_width: Auto::Value(8),
        predictor_depth: Auto::Value(1),
        ..IJepaConfig::default()
    }
}

fn half_life(samples: u64) -> EmaConfig {
    EmaConfig { schedule: EmaSchedule::HalfLife { samples: Auto::Value(samples) }, ..EmaConfig::default() }
}

fn distance(a: &NamedTensors, b: &NamedTensors) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let squares = a
        .values()
        .zip(b.values())
        .flat_map(|(a, b)| a.values.iter().zip(&b.values))
        .map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Tensors of one network, without its prefix.
fn network(learner: &dyn Learner, prefix: &str) -> NamedTensors {
    let state = learner.state(Which::Trained);
    state.into_iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t))).collect()
}

fn teacher_distance(learner: &mut dyn Learner, steps: u64, batch: usize) -> Option<f64> {
    let clock = Clock { step: 1, total: steps, batch, health_due: true };
    learner.measure(Which::Trained, &clock).unwrap().0.teacher_distance
}

/// One step without a learning rate, decay or clipping.
fn stand_still(learner: &mut dyn Learner, clock: &Clock) {
    let batch = learner.feed().unwrap().batch(clock.step).unwrap();
    let hyper = AdamW { lr: 0.0, weight_decay: 0.0, ..TrainConfig::default().adamw(clock.step) };
    learner.step(batch, clock, hyper, 0.0).unwrap();
}

#[test]
fn a_run_that_would_keep_its_random_teacher_is_refused() {
    // One half-life in the whole run leaves half of it.
    let mut config = IJepaConfig { ema: half_life(3200), ..tiny() };
    let error = setting(100, 32).refusal(&config);
    assert!(
        error.contains("50.0 %") && error.contains("5.0 %") && error.contains("model.ema.initial_teacher_limit"),
        "{error}"
    );

    // Told so, it goes on; as it does where no average is kept, and where the average is short enough.
    config.ema.initial_teacher_limit = 0.6;
    setting(100, 32).learner(&config);
    setting(100, 32).learner(&IJepaConfig { ema: half_life(3200), target: TargetKind::StopGradient, ..tiny() });
    // 0.5^4.32 = 5.006 %, 0.5^4.33 = 4.97 %: the limit lies between.
    setting(432, 1000).refusal(&IJepaConfig { ema: half_life(100_000), ..tiny() });
    setting(433, 1000).learner(&IJepaConfig { ema: half_life(100_000), ..tiny() });

    // The released ramp is refused on a short run too, and fine on its own 300 epochs.
    let ramp = EmaConfig { schedule: EmaSchedule::Ramp { start: 0.996 }, ..EmaConfig::default() };
    setting(500, 128).refusal(&IJepaConfig { ema: ramp, ..tiny() });
    setting(187_500, 2048).learner(&IJepaConfig { ema: ramp, ..tiny() });
}

#[test]
fn the_automatic_half_life_is_never_refused() {
    for (steps, batch) in [(1, 64), (3, 20), (20, 128), (1000, 64), (200_000, 2048)] {
        let (mut decisions, mut config): (Vec<Decision>, _) = (Vec::new(), tiny());
        let learner = config.init(&setting(steps, batch).on(), &mut decisions).unwrap();
        let left = config.ema.initial_teacher_left(steps, steps, batch);
        assert!(left <= 0.05, "{steps} steps of {batch}: {left}");
        let clock = Clock { step: 1, total: steps, batch, health_due: false };
        let told = learner.initial_teacher_left(steps, &clock).unwrap();
        assert!((told - left).abs() < 1e-9, "what health is told: {told}, {left}");
        assert!(decisions.iter().any(|d| d.what == "model.ema.schedule.samples" && !d.reason.is_empty()));
    }
    let none = IJepaConfig { target: TargetKind::StopGradient, ..tiny() };
    let clock = Clock { step: 1, total: 10, batch: 4, health_due: false };
    assert_eq!(setting(10, 4).learner(&none).initial_teacher_left(10, &clock), None);
}

/// With the online network held still, its distance from the teacher must halve every half-life, whatever the batch.
#[test]
fn the_teacher_follows_by_its_half_life_in_samples() {
    for batch in [4, 20] {
        let steps = 120 / batch as u64;
        let bench = with_images(steps, batch);
        let config = IJepaConfig { ema: EmaConfig { initial_teacher_limit: 1.0, ..half_life(60) }, ..tiny() };
        let mut learner = bench.learner(&config);
        let apart = |learner: &mut dyn Learner| teacher_distance(learner, steps, batch);
        assert_eq!(apart(learner.as_mut()), Some(0.0), "the teacher starts as a copy");
        // Another network to go to.
        let other = Bench { seed: 4, ..with_images(steps, batch) }.learner(&config);
        let mut state = learner.state(Which::Trained);
        for (name, tensor) in other.state(Which::Trained) {
            if name.starts_with("encoder.") {
                state.insert(name, tensor);
            }
        }
        learner.load(Which::Trained, state).unwrap();
        let online = network(learner.as_ref(), "encoder.");
        let start = distance(&learner.encoder_state(), &online);
        assert!(start > 0.1 && apart(learner.as_mut()).unwrap() > 0.1);
        for step in 1..=steps {
            stand_still(learner.as_mut(), &Clock { step, total: steps, batch, health_due: false });
        }
        assert_eq!(network(learner.as_ref(), "encoder."), online, "it stood still");
        let end = distance(&learner.encoder_state(), &online);
        assert!((end / start - 0.25).abs() < 1e-3, "batch {batch}: {}", end / start);
    }
}

/// Targets: through the average and through the stopped encoder no gradient flows; through the live one it does.
#[test]
fn only_the_live_target_is_learnt_through() {
    let bench = with_images(10, 4);
    let mut gradient = Vec::new();
    for target in [TargetKind::Ema, TargetKind::StopGradient, TargetKind::Live] {
        let mut learner = bench.learner(&IJepaConfig { target, ..tiny() });
        assert_eq!(teacher_distance(learner.as_mut(), 10, 4).is_some(), target == TargetKind::Ema);
        let teacher = network(learner.as_ref(), "target_encoder.");
        stand_still(learner.as_mut(), &Clock { step: 1, total: 10, batch: 4, health_due: false });
        // After one step the first moment is a tenth of the gradient.
        gradient.push(learner.moments()["first.encoder.norm.weight"].clone());
        assert_eq!(network(learner.as_ref(), "target_encoder."), teacher, "the encoder stood still, and so does it");
    }
    // At the start the average is the encoder itself.
    assert_eq!(gradient[0], gradient[1]);
    assert_ne!(gradient[1], gradient[2]);
}

/// A name too many, one too few or another shape is an error that names the tensor, and nothing is changed.
#[test]
fn a_state_is_taken_whole_or_not_at_all() {
    let learner = || setting(10, 4).learner(&tiny());
    let state = learner().state(Which::Trained);
    let wrong = |change: &dyn Fn(&mut NamedTensors)| {
        let (mut learner, mut changed) = (learner(), state.clone());
        for tensor in changed.values_mut() {
            tensor.values.iter_mut().for_each(|x| *x += 1.0);
        }
        change(&mut changed);
        let error = learner.load(Which::Trained, changed).expect_err("a misfit").to_string();
        assert_eq!(learner.state(Which::Trained), state, "nothing of it was taken");
        error
    };
    let name = "target_encoder.blocks.0.mlp.fc1.bias";
    let missing = wrong(&|s| drop(s.remove(name)));
    assert!(missing.contains(name) && missing.contains("missing"), "{missing}");
    let spare = wrong(&|s| drop(s.insert("encoder.extra".to_owned(), state[name].clone())));
    assert!(spare.contains("encoder.extra"), "{spare}");
    let shape = wrong(&|s| s.get_mut(name).unwrap().shape = vec![1, 64]);
    assert!(shape.contains(name) && shape.contains("[1, 64]"), "{shape}");
    let (mut other, whole) = (Bench { seed: 9, ..setting(10, 4) }.learner(&tiny()), state.clone());
    other.load(Which::Trained, whole).unwrap();
    assert_eq!(other.state(Which::Trained), state);
}

/// The same seed draws the same network, another seed another one.
#[test]
fn a_fresh_network_is_a_function_of_the_seed() {
    let state = |seed: u64| Bench { seed, ..setting(10, 4) }.learner(&tiny()).state(Which::Trained);
    assert_eq!(state(1), state(1));
    assert!(distance(&state(1), &state(2)) > 0.1);
}
