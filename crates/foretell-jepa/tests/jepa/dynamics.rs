//! The dynamics composition: what its members promise before anything is learnt.

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{Normalise, Places, Window};
use foretell_jepa::dynamics::{Causal, State, WindowBatch, WorldModel};
use foretell_jepa::systems::WorldSetting;
use foretell_jepa::systems::eb_jepa::EbJepaConfig;
use foretell_jepa::systems::le_wm::{FrameEncoder, LeWm, LeWmConfig, PredictorSizes};
use foretell_jepa::{Clock, Objective};
use foretell_nn::causal::Foretells;
use foretell_nn::observer::Observer;
use foretell_ops as ops;

fn setting(side: usize, action: usize) -> WorldSetting {
    WorldSetting {
        observation: [3, side, side],
        action,
        normalise: Normalise::nothing(3),
        actions: Normalise { mean: vec![1.0; action], std: vec![2.0; action] },
        seed: 2,
        device: Device::flex(),
    }
}

fn small() -> LeWmConfig {
    LeWmConfig {
        width: 12,
        projector: 16,
        slices: 8,
        encoder: FrameEncoder::Conv { widths: vec![4, 4], features: 10 },
        predictor: PredictorSizes {
            depth: 2,
            heads: 2,
            head: 4,
            hidden: 16,
            action_width: 5,
            foretells: Foretells::Latent,
        },
        ..LeWmConfig::default()
    }
}

fn objective(config: &LeWmConfig) -> Causal<Observer> {
    match config.init(&setting(8, 4)).unwrap() {
        LeWm::Conv(objective) => objective,
        LeWm::Vit(_) => panic!("convolutions were asked for"),
    }
}

fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + 31 * seed) * 7919 % 1013) as f32 / 1013.0 - 0.5) * 2.0).collect()
}

fn windows(count: usize, frames: usize) -> Vec<Window> {
    let one = |i: usize| Window {
        frames,
        observations: noise(frames * 192, i),
        actions: noise((frames - 1) * 4, i + 100),
        states: Vec::new(),
        places: Places::default(),
    };
    (0..count).map(one).collect()
}

const CLOCK: Clock = Clock { step: 1, total: 10, batch: 6, health_due: true };

fn batch(objective: &Causal<Observer>, windows: &[Window]) -> WindowBatch {
    objective.collator().collate(3, windows).unwrap()
}

fn term(objective: &Causal<Observer>, batch: &WindowBatch, name: &str) -> f32 {
    let outcome = objective.loss(batch, &CLOCK);
    outcome.terms.iter().find(|t| t.0 == name).unwrap().1.clone().into_scalar::<f32>()
}

#[test]
fn the_official_sizes_are_the_papers() {
    let LeWm::Vit(objective) = LeWmConfig::official().init(&setting(224, 10)).unwrap() else {
        panic!("the paper's encoder is a transformer")
    };
    let count = |prefix: &str| -> usize {
        let state = objective.state();
        state.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, t)| t.values.len()).sum()
    };
    // The paper: an encoder of about 5 million and a predictor of about 10 million parameters, projectors apart.
    let (encoder, predictor) = (count("encoder.backbone"), count("predictor.") - count("predictor.projector"));
    assert!((5_000_000..6_000_000).contains(&encoder), "{encoder}");
    assert!((10_000_000..11_500_000).contains(&predictor), "{predictor}");
    let eb = EbJepaConfig::official().init(&setting(65, 2)).unwrap();
    assert_eq!((eb.networks.predictor.weight_hh.dims(), eb.setting.steps), ([1536, 512], 8));
}

#[test]
fn a_batch_is_time_major_and_its_actions_standard() {
    let objective = objective(&small());
    let windows = windows(3, 4);
    let batch = batch(&objective, &windows);
    assert_eq!((batch.samples, batch.frames, batch.directions.len()), (3, 4, 12 * 8));
    assert_eq!(batch.observations[192..384], windows[1].observations[..192]);
    assert_eq!(
        batch.actions[3 * 4],
        (windows[0].actions[4] - 1.0) / 2.0,
        "the second action block of the first window"
    );
}

#[test]
fn the_same_weight_pulls_twice_as_hard_on_twice_the_batch() {
    let objective = objective(&small());
    let once = windows(6, 4);
    let twice: Vec<Window> = once.iter().chain(&once).cloned().collect();
    let (once, twice) = (batch(&objective, &once), batch(&objective, &twice));
    let (one, two) = (term(&objective, &once, "sigreg"), term(&objective, &twice, "sigreg"));
    assert!((two / one - 2.0).abs() < 1e-3, "{one} {two}");
    let (one, two) = (term(&objective, &once, "prediction"), term(&objective, &twice, "prediction"));
    assert!((two / one - 1.0).abs() < 1e-4, "the prediction's error is a mean: {one} {two}");
}

#[test]
fn both_sides_of_the_prediction_learn_and_the_weight_is_lambda() {
    let with = |lambda: f64| objective(&LeWmConfig { lambda, ..small() });
    let (none, some) = (with(0.0), with(0.5));
    let batch = batch(&some, &windows(6, 5));
    let value = |objective: &Causal<Observer>| objective.loss(&batch, &CLOCK).loss.into_scalar::<f32>();
    let (prediction, regulariser) = (term(&some, &batch, "prediction"), term(&some, &batch, "sigreg"));
    assert!((value(&none) - prediction).abs() < 1e-6 && (value(&some) - prediction - 0.5 * regulariser).abs() < 1e-4);
    // A window of five observations has two stretches of three steps.
    let outcome = none.loss(&batch, &CLOCK);
    let latents = outcome.latents.unwrap();
    assert_eq!((latents.predictions.dims(), latents.targets.dims()), ([36, 12], [36, 12]));
    let gradients = outcome.loss.backward();
    let learns = |t: Tensor<2>| t.grad(&gradients).is_some_and(|g| ops::values(g).iter().any(|x| *x != 0.0));
    assert!(learns(none.networks.encoder.projector.layers[1].weight.val()), "the encoder, through both sides");
    assert!(learns(none.networks.predictor.projector.layers[1].weight.val()), "the predictor");
    assert!(learns(none.networks.predictor.blocks[0].modulation.weight.val()), "what the actions say");
}

#[test]
fn a_state_keeps_what_the_model_looks_back_on_and_steps_as_the_loss_does() {
    let objective = objective(&small());
    let model = objective.model();
    let tensor = |values: Vec<f32>, width: usize| {
        let rows = values.len() / width;
        Tensor::<2>::from_data(TensorData::new(values, [rows, width]), &Device::flex())
    };
    let (z, a): (Vec<_>, Vec<_>) = (0..5).map(|i| (tensor(noise(24, i), 12), tensor(noise(8, i + 50), 4))).unzip();
    let mut state = State::begin(z[0].clone());
    for i in 1..5 {
        state = state.then(a[i - 1].clone(), z[i].clone(), model.history());
    }
    assert_eq!((state.latents().len(), state.actions().len()), (3, 2));
    let next = model.step(state, a[4].clone());
    assert_eq!((next.latents().len(), next.actions().len()), (3, 2));
    // By hand: the last three latents in order, each with the action that follows it.
    let rows = |parts: &[Tensor<2>], width: usize| -> Tensor<3> {
        Tensor::cat(parts.iter().map(|t| t.clone().reshape([2, 1, width])).collect(), 1)
    };
    let acted = rows(&a[2..5], 4).reshape([6, 4]);
    let whole = model.predictor.forward(rows(&z[2..5], 12), acted, &mut foretell_nn::layers::Pass::Evaluation);
    let last = whole.reshape([2, 3, 12]).narrow(1, 2, 1).reshape([2, 12]);
    let far: f32 = ops::values((last - next.newest().clone()).abs()).into_iter().fold(0.0, f32::max);
    assert!(far < 1e-5, "{far}");
    assert_eq!(next.repeat(3).newest().dims(), [6, 12]);
}

#[test]
fn running_averages_are_kept_used_and_saved() {
    let mut objective = objective(&small());
    let batch = batch(&objective, &windows(6, 4));
    let before = objective.state();
    let outcome = objective.loss(&batch, &CLOCK);
    assert_eq!(outcome.seen.len(), 2);
    objective = objective.advance(&outcome.seen);
    let after = objective.state();
    for name in ["encoder.projector.norms.0.running_mean", "predictor.projector.norms.0.running_var"] {
        assert_ne!(before[name], after[name], "{name}");
    }
    let restored = self::objective(&small()).with_state(after.clone()).unwrap();
    assert_eq!(restored.state(), after);
    let seen = Tensor::<4>::from_data(TensorData::new(noise(192, 9), [1, 3, 8, 8]), &Device::flex());
    let of = |objective: &Causal<Observer>| ops::values(objective.model().encode(seen.clone()));
    assert_eq!(of(&restored), of(&objective));
    assert_ne!(of(&self::objective(&small())), of(&objective), "the averages count in evaluation");
    let error = self::objective(&LeWmConfig { width: 16, ..small() }).with_state(after).err().unwrap().to_string();
    assert!(error.contains("was expected"), "{error}");
}

#[test]
fn impossible_settings_are_refused_in_a_sentence() {
    let refused = |config: LeWmConfig| config.init(&setting(8, 4)).err().unwrap().to_string();
    assert!(refused(LeWmConfig { lambda: -1.0, ..small() }).contains("`model.lambda`"));
    assert!(refused(LeWmConfig { history: 0, ..small() }).contains("`model.history`"));
    let encoder = FrameEncoder::Vit { patch: 3, tokens: 8, depth: 1, heads: 2 };
    assert!(refused(LeWmConfig { encoder, ..small() }).contains("patches of 3"));
    let wrong = WorldSetting { normalise: Normalise::nothing(1), ..setting(8, 4) };
    let said = small().init(&wrong).err().unwrap().to_string();
    assert!(said.contains("3 channels of an observation"), "{said}");
}
