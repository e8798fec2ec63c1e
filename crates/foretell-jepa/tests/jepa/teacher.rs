//! The target network: its clock is set in samples, it forgets its random start or the run is refused, and the two ways
//! without it do what they say.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use foretell_data::{Dataset, Normalise, Part, Sample, ScenesConfig};
use foretell_jepa::systems::{Setting, i_jepa::IJepaConfig};
use foretell_jepa::target::{Average, EmaConfig, EmaSchedule, TargetKind};
use foretell_jepa::{Auto, Clock, Objective};
use foretell_nn::NamedTensors;

fn setting(total_steps: u64, batch: usize) -> Setting {
    Setting {
        image_size: 16,
        channels: 3,
        normalise: Normalise { mean: vec![0.5; 3], std: vec![0.25; 3] },
        seed: 3,
        total_steps,
        batch,
        device: Device::flex(),
        on_cpu: true,
    }
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

fn samples(count: usize) -> Vec<Sample> {
    let scenes = Dataset::scenes(&ScenesConfig { size: 16, train: count, held_out: 0, seed: 0 });
    (0..count).map(|i| scenes.load(Part::Train, i).unwrap()).collect()
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

#[test]
fn a_run_that_would_keep_its_random_teacher_is_refused() {
    // One half-life in the whole run leaves half of it.
    let mut config = IJepaConfig { ema: half_life(3200), ..tiny() };
    let error = config.resolve(&setting(100, 32), &mut Vec::new()).unwrap_err().to_string();
    assert!(
        error.contains("50.0 %") && error.contains("5.0 %") && error.contains("model.ema.initial_teacher_limit"),
        "{error}"
    );

    // Told so, it goes on; as it does where no average is kept, and where the average is short enough.
    config.ema.initial_teacher_limit = 0.6;
    config.resolve(&setting(100, 32), &mut Vec::new()).unwrap();
    IJepaConfig { ema: half_life(3200), target: TargetKind::StopGradient, ..tiny() }
        .resolve(&setting(100, 32), &mut Vec::new())
        .unwrap();
    // 0.5^4.32 = 5.006 %, 0.5^4.33 = 4.97 %: the limit lies between.
    IJepaConfig { ema: half_life(100_000), ..tiny() }.resolve(&setting(432, 1000), &mut Vec::new()).unwrap_err();
    IJepaConfig { ema: half_life(100_000), ..tiny() }.resolve(&setting(433, 1000), &mut Vec::new()).unwrap();

    // The released ramp is refused on a short run too, and fine on its own 300 epochs.
    let ramp = EmaConfig { schedule: EmaSchedule::Ramp { start: 0.996 }, ..EmaConfig::default() };
    IJepaConfig { ema: ramp, ..tiny() }.resolve(&setting(500, 128), &mut Vec::new()).unwrap_err();
    IJepaConfig { ema: ramp, ..tiny() }.resolve(&setting(187_500, 2048), &mut Vec::new()).unwrap();
}

#[test]
fn the_automatic_half_life_is_never_refused() {
    for (steps, batch) in [(1, 64), (3, 20), (20, 128), (1000, 64), (200_000, 2048)] {
        let mut decisions = Vec::new();
        let mut config = tiny();
        config.resolve(&setting(steps, batch), &mut decisions).unwrap();
        let left = config.ema.initial_teacher_left(steps, steps, batch);
        assert!(left <= 0.05, "{steps} steps of {batch}: {left}");
        assert!(decisions.iter().any(|d| d.what == "model.ema.schedule.samples" && !d.reason.is_empty()));
    }
}

/// An optimiser that takes no step.
struct Still<'a>(&'a mut Average);

impl ModuleVisitor for Still<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.approach(param);
    }
}

/// With the online network held still, its distance from the teacher must halve every half-life, whatever the batch.
#[test]
fn the_teacher_follows_by_its_half_life_in_samples() {
    for batch in [4, 20] {
        let steps = 120 / batch as u64;
        let setting = setting(steps, batch);
        let mut config = IJepaConfig { ema: EmaConfig { initial_teacher_limit: 1.0, ..half_life(60) }, ..tiny() };
        config.resolve(&setting, &mut Vec::new()).unwrap();
        let mut objective = config.init(&setting).unwrap();
        assert_eq!(objective.teacher_distance(), Some(0.0), "the teacher starts as a copy");
        // Another network to go to.
        let other = config.init(&Setting { seed: 4, ..setting.clone() }).unwrap();
        let mut state = objective.state();
        for (name, tensor) in other.state() {
            if name.starts_with("encoder.") {
                state.insert(name, tensor);
            }
        }
        objective = objective.with_state(state).unwrap();
        let encoder = |o: &foretell_jepa::masked::Masked| foretell_nn::weights::read(&o.networks.encoder, "");
        let start = distance(&objective.encoder_state(), &encoder(&objective));
        assert!(start > 0.1 && objective.teacher_distance().unwrap() > 0.1);
        for step in 1..=steps {
            let clock = Clock { step, total: steps, batch, health_due: false };
            objective = objective.update(&clock, |networks, average| {
                networks.visit(&mut Still(average));
                networks
            });
        }
        let end = distance(&objective.encoder_state(), &encoder(&objective));
        assert!((end / start - 0.25).abs() < 1e-3, "batch {batch}: {}", end / start);
    }
}

/// Targets: through the average and through the stopped encoder no gradient flows; through the live one it does.
#[test]
fn only_the_live_target_is_learnt_through() {
    let setting = setting(10, 4);
    let mut gradient = Vec::new();
    for target in [TargetKind::Ema, TargetKind::StopGradient, TargetKind::Live] {
        let mut config = IJepaConfig { target, ..tiny() };
        config.resolve(&setting, &mut Vec::new()).unwrap();
        let objective = config.init(&setting).unwrap();
        let batch = objective.collator().collate(1, &samples(4)).unwrap();
        let outcome = objective.loss(&batch, &Clock { step: 1, total: 10, batch: 4, health_due: false });
        assert!(outcome.latents.is_none(), "latents that nobody asked for");
        let gradients = outcome.loss.backward();
        gradient.push(foretell_ops::values(objective.networks.encoder.norm.weight.grad(&gradients).unwrap()));
        assert_eq!(objective.teacher_distance().is_some(), target == TargetKind::Ema);
    }
    // At the start the average is the encoder itself.
    assert_eq!(gradient[0], gradient[1]);
    assert_ne!(gradient[1], gradient[2]);
}

/// A name too many, one too few or another shape is an error that names the tensor.
#[test]
fn a_state_is_taken_whole_or_not_at_all() {
    let setting = setting(10, 4);
    let mut config = tiny();
    config.resolve(&setting, &mut Vec::new()).unwrap();
    let objective = || config.init(&setting).unwrap();
    let state = objective().state();
    let wrong = |change: &dyn Fn(&mut NamedTensors)| {
        let mut state = state.clone();
        change(&mut state);
        objective().with_state(state).err().expect("a misfit").to_string()
    };
    let name = "target_encoder.blocks.0.mlp.fc1.bias";
    let missing = wrong(&|s| drop(s.remove(name)));
    assert!(missing.contains(name) && missing.contains("missing"), "{missing}");
    let spare = wrong(&|s| drop(s.insert("encoder.extra".to_owned(), state[name].clone())));
    assert!(spare.contains("encoder.extra"), "{spare}");
    let shape = wrong(&|s| s.get_mut(name).unwrap().shape = vec![1, 64]);
    assert!(shape.contains(name) && shape.contains("[1, 64]"), "{shape}");
    assert_eq!(objective().with_state(state.clone()).unwrap().state(), state);
}

/// The same seed draws the same network, another seed another one.
#[test]
fn a_fresh_network_is_a_function_of_the_seed() {
    let mut config = tiny();
    config.resolve(&setting(10, 4), &mut Vec::new()).unwrap();
    let state = |seed: u64| config.init(&Setting { seed, ..setting(10, 4) }).unwrap().state();
    assert_eq!(state(1), state(1));
    assert!(distance(&state(1), &state(2)) > 0.1);
}
