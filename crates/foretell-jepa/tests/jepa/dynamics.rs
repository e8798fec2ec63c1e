//! The dynamics composition: what its members promise before anything is learnt.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, Normalise, Places, Window};
use foretell_jepa::dynamics::causal::Regularised;
use foretell_jepa::dynamics::{
    Causal, CausalNetworks, Gauge, LatentVariable, Networks, Slices, State, TrainedModel, WindowBatch, WindowCollator,
    WorldModel,
};
use foretell_jepa::{Clock, Objective, Outcome};
use foretell_nn::causal::{CausalConfig, Foretells};
use foretell_nn::framed::Framed;
use foretell_nn::layers::{Pass, absorb};
use foretell_nn::observer::{Observer, ObserverConfig};
use foretell_nn::pair::Pair;
use foretell_nn::prefixes::{Prefixes, PrefixesConfig};
use foretell_nn::weights;
use foretell_ops as ops;

/// Width of the latents.
pub(crate) const WIDTH: usize = 12;

/// LeWorldModel's networks at the size of a test: strided convolutions over 8 × 8 pixels, actions of four numbers.
pub(crate) fn networks(width: usize) -> CausalNetworks<Observer> {
    let (device, weights) = (Device::flex().autodiff(), |network| rng(2, Stream::Init, 0, network));
    let encoder = ObserverConfig {
        observation: [3, 8, 8],
        widths: vec![4, 4],
        maxima: false,
        he: true,
        hidden: Vec::new(),
        width: 10,
        norm: false,
    };
    let predictor = CausalConfig {
        width,
        action: 4,
        action_width: 5,
        history: 3,
        depth: 2,
        heads: 2,
        head: 4,
        hidden: 16,
        projector: 16,
        foretells: Foretells::Latent,
    };
    CausalNetworks {
        encoder: Framed::new(encoder.init(&mut weights(0), &device), 16, width, &mut weights(1), &device),
        predictor: predictor.init(&mut weights(2), &device),
        reach: None,
        actor: None,
        prefixes: None,
    }
}

pub(crate) fn collator() -> WindowCollator {
    WindowCollator {
        observation: [3, 8, 8],
        action: 4,
        normalise: Normalise::nothing(3),
        actions: Normalise { mean: vec![1.0; 4], std: vec![2.0; 4] },
        poses: None,
        slices: Some(Slices { seed: 2, width: WIDTH, count: 8 }),
        places: false,
    }
}

fn objective(lambda: f64) -> Causal<Observer> {
    Causal {
        variable: LatentVariable::None,
        setting: Regularised { lambda, reach: 0.0, shapes: true, prefixes: 0.0 },
        actor: None,
        collator: Arc::new(collator()),
        device: Device::flex(),
    }
}

/// LeWorldModel's weight.
const LAMBDA: f64 = 0.1;

pub(crate) fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + 31 * seed) * 7919 % 1013) as f32 / 1013.0 - 0.5) * 2.0).collect()
}

pub(crate) fn windows(count: usize, frames: usize) -> Vec<Window> {
    let one = |i: usize| Window {
        frames,
        observations: noise(frames * 192, i),
        actions: noise((frames - 1) * 4, i + 100),
        ..Window::default()
    };
    (0..count).map(one).collect()
}

const CLOCK: Clock = Clock { step: 1, total: 10, batch: 6, health_due: true };

pub(crate) fn batch(windows: &[Window]) -> WindowBatch {
    objective(LAMBDA).collator.collate(3, windows).unwrap()
}

fn term(networks: &CausalNetworks<Observer>, batch: &WindowBatch, name: &str) -> f32 {
    let outcome = objective(LAMBDA).loss(networks, batch, &CLOCK);
    outcome.terms.iter().find(|t| t.0 == name).unwrap().1.clone().into_scalar::<f32>()
}

#[test]
fn a_batch_is_time_major_and_its_actions_standard() {
    let windows = windows(3, 4);
    let batch = batch(&windows);
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
    let networks = networks(WIDTH);
    let once = windows(6, 4);
    let twice: Vec<Window> = once.iter().chain(&once).cloned().collect();
    let (once, twice) = (batch(&once), batch(&twice));
    let (one, two) = (term(&networks, &once, "sigreg"), term(&networks, &twice, "sigreg"));
    assert!((two / one - 2.0).abs() < 1e-3, "{one} {two}");
    let (one, two) = (term(&networks, &once, "prediction"), term(&networks, &twice, "prediction"));
    assert!((two / one - 1.0).abs() < 1e-4, "the prediction's error is a mean: {one} {two}");
}

#[test]
fn both_sides_of_the_prediction_learn_and_the_weight_is_lambda() {
    let networks = networks(WIDTH);
    let batch = batch(&windows(6, 5));
    let value = |lambda| objective(lambda).loss(&networks, &batch, &CLOCK).loss.into_scalar::<f32>();
    let (prediction, regulariser) = (term(&networks, &batch, "prediction"), term(&networks, &batch, "sigreg"));
    assert!((value(0.0) - prediction).abs() < 1e-6 && (value(0.5) - prediction - 0.5 * regulariser).abs() < 1e-4);
    // A window of five observations has two stretches of three steps.
    let outcome = objective(0.0).loss(&networks, &batch, &CLOCK);
    let latents = outcome.latents.unwrap();
    assert_eq!((latents.predictions.dims(), latents.targets.dims()), ([36, 12], [36, 12]));
    let gradients = outcome.loss.backward();
    let learns = |t: Tensor<2>| t.grad(&gradients).is_some_and(|g| ops::values(g).iter().any(|x| *x != 0.0));
    assert!(learns(networks.encoder.projector.layers[1].weight.val()), "the encoder, through both sides");
    assert!(learns(networks.predictor.projector.layers[1].weight.val()), "the predictor");
    assert!(learns(networks.predictor.blocks[0].modulation.weight.val()), "what the actions say");
}

/// What follows each prefix of up to two blocks of actions, by a network that says something.
fn prefixes() -> Prefixes {
    let config =
        PrefixesConfig { width: WIDTH, action: 4, horizon: 2, depth: 1, heads: 2, hidden: 16, maps: 1, map_hidden: 8 };
    let mut prefixes = config.init(&mut rng(2, Stream::Init, 0, 9), &Device::flex().autodiff());
    let modulation = &mut prefixes.maps[0].modulation.weight;
    let moved = Tensor::<2>::from_data(
        TensorData::new(noise(3 * WIDTH * WIDTH, 5), [3 * WIDTH, WIDTH]),
        &Device::flex().autodiff(),
    );
    *modulation = Param::initialized(modulation.id, moved.require_grad());
    prefixes
}

#[test]
fn prefixes_learn_from_the_first_frame_on_and_a_search_asks_them_in_the_predictors_place() {
    let networks = CausalNetworks { prefixes: Some(prefixes()), ..networks(WIDTH) };
    let batch = batch(&windows(6, 4));
    let of = |prefixes| {
        let base = objective(0.0);
        let setting = Regularised { prefixes, ..base.setting };
        Causal { setting, ..base }.loss(&networks, &batch, &CLOCK)
    };
    let (without, with) = (of(0.0), of(2.0));
    let told = with.terms.iter().find(|term| term.0 == "prefixes").unwrap().1.clone().into_scalar::<f32>();
    let value = |outcome: &Outcome| outcome.loss.clone().into_scalar::<f32>();
    assert!((value(&with) - value(&without) - 2.0 * told).abs() < 1e-4 && told > 0.0);
    assert!(without.terms.iter().all(|term| term.0 != "prefixes"));

    // A plan of three blocks: two by one pass, the third from where the second led.
    let model = networks.clone().valid();
    let (start, goal) = (noise(WIDTH, 41), noise(WIDTH, 42));
    let row = |values: &[f32]| Tensor::<3>::from_data(TensorData::new(values.to_vec(), [1, 1, WIDTH]), &Device::flex());
    let actions = noise(2 * 3 * 4, 43);
    let state = State::begin(row(&start));
    let found = model.distances(Gauge::Latents, &state, &row(&goal), &actions, 3).unwrap();
    let mut expected = Vec::new();
    for plan in actions.chunks_exact(12) {
        let acts = |from: usize, count: usize| {
            Tensor::<3>::from_data(
                TensorData::new(plan[from * 4..][..count * 4].to_vec(), [1, count, 4]),
                &Device::flex(),
            )
        };
        let network = model.prefixes.as_ref().unwrap();
        let first = network.forward(row(&start).reshape([1, WIDTH]), acts(0, 2));
        let last = first.clone().narrow(1, 1, 1).reshape([1, WIDTH]);
        let all = [ops::values(first), ops::values(network.forward(last, acts(2, 1)))].concat();
        expected.extend(
            all.chunks_exact(WIDTH)
                .map(|latent| latent.iter().zip(&goal).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / WIDTH as f32),
        );
    }
    assert_eq!(found.len(), 6);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
    assert!(
        CausalNetworks { prefixes: None, ..model }
            .distances(Gauge::Latents, &state, &row(&goal), &actions, 3)
            .is_none()
    );
}

/// A head over two latents that says so many numbers.
fn pair(said: usize, network: u64) -> Pair {
    Pair::new(WIDTH, 8, said, &mut rng(2, Stream::Init, 0, network), &Device::flex().autodiff())
}

/// Windows that bring three places along, between some of which a way is known.
fn with_places(count: usize) -> Vec<Window> {
    let of = |(i, window)| {
        let steps = vec![0.0, 7.0, f32::INFINITY, 8.0, 0.0, 3.0, 40.0, f32::INFINITY, 0.0];
        Window { places: Places { count: 3, observations: noise(3 * 192, i + 200), steps }, ..window }
    };
    windows(count, 4).into_iter().enumerate().map(of).collect()
}

#[test]
fn steps_between_places_shape_latents_where_that_is_wanted_and_are_read_from_them_elsewhere() {
    let networks = CausalNetworks { reach: Some(pair(1, 7)), ..networks(WIDTH) };
    let objective = |reach, shapes| {
        let base = objective(0.0);
        let collator = WindowCollator { places: true, ..collator() };
        Causal {
            setting: Regularised { lambda: 0.0, reach, shapes, prefixes: 0.0 },
            collator: Arc::new(collator),
            ..base
        }
    };
    let batch = objective(1.0, true).collator.collate(3, &with_places(4)).unwrap();
    let whole = |reach| objective(reach, true).loss(&networks, &batch, &CLOCK);
    let told = |outcome: &Outcome| {
        let (_, told) = outcome.terms.iter().find(|term| term.0 == "reach").unwrap();
        told.clone().into_scalar::<f32>()
    };
    let (one, two) = (whole(1.0), whole(2.0));
    let [a, b] = [&one, &two].map(|outcome| outcome.loss.clone().into_scalar::<f32>());
    assert!((b - a - told(&one)).abs() < 1e-5 && told(&one) > 0.0, "{a} {b}");
    // By hand: seven pairs of three places have a way, in units of twenty steps.
    let model = networks.clone().valid();
    let seen = objective(1.0, true);
    let places = seen.seen(&batch).places.unwrap();
    let all = Tensor::cat(vec![seen.seen(&batch).observations, places], 0);
    let mut kept = Vec::new();
    let latents = model.encoder.forward(all, &mut Pass::Training(&mut kept)).narrow(0, 16, 12);
    let head = model.reach.clone().unwrap();
    let mut off = Vec::new();
    for window in 0..4 {
        for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let steps = batch.place_steps[window * 9 + i * 3 + j];
            let row = |place: usize| latents.clone().narrow(0, window * 3 + place, 1);
            let said = ops::values(head.forward(row(i), row(j)))[0];
            off.extend(steps.is_finite().then(|| (said - steps / 20.0).abs()));
        }
    }
    assert_eq!(off.len(), 28);
    let mean = off.iter().sum::<f32>() / off.len() as f32;
    assert!((told(&one) - mean).abs() < 1e-4, "{} {mean}", told(&one));

    // What reaches the encoder besides the prediction.
    let gradient = |reach, shapes| {
        let gradients = objective(reach, shapes).loss(&networks, &batch, &CLOCK).loss.backward();
        let of = |t: Tensor<2>| t.grad(&gradients).map(ops::values);
        (of(networks.encoder.projector.layers[1].weight.val()), of(networks.reach.as_ref().unwrap().out.weight.val()))
    };
    let ((alone, _), (read, head), (shaped, _)) = (gradient(0.0, true), gradient(1.0, false), gradient(1.0, true));
    let far = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Places count in a batch's statistics, so the prediction's own gradient is another with them; it is the same with any weight.
    let (doubled, _) = gradient(2.0, false);
    assert!(far(read.as_ref().unwrap(), doubled.as_ref().unwrap()) < 1e-6);
    assert!(far(read.as_ref().unwrap(), shaped.as_ref().unwrap()) > 1e-4);
    assert!(head.unwrap().iter().any(|x| *x != 0.0) && alone.is_some());
}

#[test]
fn an_actor_without_steps_learns_what_was_done_on_the_way_to_each_later_frame() {
    let networks = CausalNetworks { actor: Some(pair(4, 8)), ..networks(WIDTH) };
    let (base, model) = (objective(LAMBDA), networks.valid());
    let batch = batch(&windows(3, 4));
    let seen = base.seen(&batch);
    let actor = model.actor.clone().unwrap();
    let loss = ops::values(model.acted(&actor, &seen).unwrap())[0];
    let latents = model.encoder.forward(seen.observations.clone(), &mut Pass::Evaluation);
    let row = |frame: usize, window: usize| latents.clone().narrow(0, frame * 3 + window, 1);
    let mut off = Vec::new();
    for window in 0..3 {
        for (now, then) in (0..3).flat_map(|now| (now + 1..4).map(move |then| (now, then))) {
            let would = ops::values(actor.forward(row(now, window), row(then, window)));
            let done = &batch.actions[(now * 3 + window) * 4..][..4];
            off.extend(would.iter().zip(done).map(|(a, b)| (a - b).powi(2)));
        }
    }
    assert_eq!(off.len(), 3 * 6 * 4);
    let mean = off.iter().sum::<f32>() / off.len() as f32;
    assert!((loss - mean).abs() < 1e-4 * mean, "{loss} {mean}");
}

#[test]
fn a_state_keeps_what_the_model_looks_back_on_and_steps_as_the_loss_does() {
    let model = networks(WIDTH).valid();
    let tensor = |values: Vec<f32>, width: usize| {
        let rows = values.len() / width;
        Tensor::<2>::from_data(TensorData::new(values, [rows, width]), &Device::flex())
    };
    let (z, a): (Vec<_>, Vec<_>) = (0..5).map(|i| (tensor(noise(24, i), 12), tensor(noise(8, i + 50), 4))).unzip();
    let token = |z: &Tensor<2>| z.clone().reshape([2, 1, 12]);
    let mut state = State::begin(token(&z[0]));
    for i in 1..5 {
        state = state.then(a[i - 1].clone(), token(&z[i]), model.history());
    }
    assert_eq!((state.latents().len(), state.actions().len()), (3, 2));
    let next = model.step(state, a[4].clone());
    assert_eq!((next.latents().len(), next.actions().len()), (3, 2));
    // By hand: the last three latents in order, each with the action that follows it.
    let rows = |parts: &[Tensor<2>], width: usize| -> Tensor<3> {
        Tensor::cat(parts.iter().map(|t| t.clone().reshape([2, 1, width])).collect(), 1)
    };
    let acted = rows(&a[2..5], 4).reshape([6, 4]);
    let whole = model.predictor.forward(rows(&z[2..5], 12), acted, &mut Pass::Evaluation);
    let last = whole.reshape([2, 3, 12]).narrow(1, 2, 1).reshape([2, 12]);
    let far: f32 = ops::values((last - next.vectors()).abs()).into_iter().fold(0.0, f32::max);
    assert!(far < 1e-5, "{far}");
    assert_eq!(next.repeat(3).newest().dims(), [6, 1, 12]);
}

#[test]
fn running_averages_are_kept_used_and_saved() {
    let (objective, fresh) = (objective(LAMBDA), networks(WIDTH));
    let before = weights::read(&fresh, "");
    let outcome = objective.loss(&fresh, &batch(&windows(6, 4)), &CLOCK);
    assert_eq!(outcome.seen.len(), 2);
    let trained = absorb(fresh, &outcome.seen);
    let after = weights::read(&trained, "");
    for name in ["encoder.projector.norms.0.running_mean", "predictor.projector.norms.0.running_var"] {
        assert_ne!(before[name], after[name], "{name}");
    }
    let restored = weights::load_whole(networks(WIDTH), after.clone()).unwrap();
    assert_eq!(weights::read(&restored, ""), after);
    let seen = Tensor::<4>::from_data(TensorData::new(noise(192, 9), [1, 3, 8, 8]), &Device::flex());
    let of = |networks: &CausalNetworks<Observer>| {
        let kept = objective.kept(networks).model.expect("a model of a world is kept");
        ops::values(kept.downcast::<TrainedModel>().expect("to plan with").model.encode(seen.clone()))
    };
    assert_eq!(of(&restored), of(&trained));
    assert_ne!(of(&networks(WIDTH)), of(&trained), "the averages count in evaluation");
    let error = weights::load_whole(networks(16), after).err().unwrap().to_string();
    assert!(error.contains("was expected"), "{error}");
}
