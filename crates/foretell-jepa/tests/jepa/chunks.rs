//! ACT-JEPA's composition: what is padded counts for nothing, what comes is seen by the average alone, and what learns in which stage.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, Normalise, Window};
use foretell_jepa::dynamics::{ChunkBatch, ChunkCollator, ChunkNetworks, ChunkPolicy, Chunks, Stages};
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_jepa::{Clock, Objective, Outcome, Role};
use foretell_nn::Init;
use foretell_nn::context::ContextConfig;
use foretell_nn::observer::{Observer, ObserverConfig};
use foretell_nn::parameters::gradients;
use foretell_nn::queries::{Queries, QueriesConfig};
use foretell_ops as ops;

const OBSERVATION: [usize; 3] = [1, 4, 4];
const PIXELS: usize = 16;
const CHUNK: usize = 3;
const WIDTH: usize = 8;
const ACTION: usize = 2;
const CLOCK: Clock = Clock { step: 1, total: 10, batch: 2, health_due: false };

fn networks(goal: bool, device: &Device) -> ChunkNetworks<Observer> {
    let weights = |network| rng(2, Stream::Init, 0, network);
    let observer = ObserverConfig {
        observation: OBSERVATION,
        widths: vec![4],
        maxima: false,
        he: true,
        hidden: Vec::new(),
        width: 6,
        norm: false,
    };
    let context = ContextConfig { width: WIDTH, depth: 1, heads: 2 };
    let encoder = context.init(observer.init(&mut weights(0), device), &mut weights(1), device);
    let queries = |outputs, network| {
        let config = QueriesConfig { places: CHUNK, width: WIDTH, layers: 1, heads: 2, outputs };
        config.init(&mut weights(network), device)
    };
    ChunkNetworks {
        target_encoder: encoder.valid(),
        encoder,
        goal: goal.then(|| Init::new(&mut weights(4), device).truncated_normal([1, 1, WIDTH], 0.5)),
        predictor: queries(WIDTH, 2),
        decoder: queries(ACTION, 3),
    }
}

fn objective(latents: f64, stages: Stages, goal: bool) -> Chunks<Observer> {
    let collator = ChunkCollator {
        observation: OBSERVATION,
        normalise: Normalise { mean: vec![0.5], std: vec![2.0] },
        actions: Normalise { mean: vec![0.0, 1.0], std: vec![1.0, 4.0] },
        goal,
    };
    let schedule = EmaSchedule::Constant { momentum: 0.75 };
    Chunks {
        latents,
        stages,
        cloning: None,
        ema: EmaConfig { schedule, ..EmaConfig::default() },
        collator: Arc::new(collator),
        device: Device::flex(),
        backbone: PhantomData,
    }
}

fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + 31 * seed) * 7919 % 1013) as f32 / 1013.0 - 0.5) * 2.0).collect()
}

/// Windows of which so many steps are beyond the end, filled with zeros.
fn windows(padded: &[usize]) -> Vec<Window> {
    let one = |(i, padded): (usize, &usize)| {
        let done = CHUNK - padded;
        let mut observations = noise((done + 1) * PIXELS, i);
        observations.resize((CHUNK + 1) * PIXELS, 0.0);
        let mut actions = noise(done * ACTION, i + 50);
        actions.resize(CHUNK * ACTION, 0.0);
        let goal = noise(PIXELS, i + 90);
        Window { frames: CHUNK + 1, observations, actions, padded: *padded, goal, ..Window::default() }
    };
    padded.iter().enumerate().map(one).collect()
}

fn tracked() -> ChunkNetworks<Observer> {
    networks(false, &Device::flex().autodiff())
}

/// Gradients by the names of their parameters.
fn slopes(networks: &ChunkNetworks<Observer>, outcome: Outcome) -> BTreeMap<String, Vec<f32>> {
    let mut found = BTreeMap::new();
    gradients(networks, &mut outcome.loss.backward(), &mut |parameter, gradient| {
        found.insert(parameter.name.to_owned(), ops::values(gradient));
    });
    found
}

/// The parts of the networks that have a gradient which is not nothing.
fn learns(slopes: &BTreeMap<String, Vec<f32>>) -> Vec<&str> {
    let some = slopes.iter().filter(|(_, slope)| slope.iter().any(|g| *g != 0.0));
    let mut parts: Vec<&str> = some.map(|(name, _)| name.split('.').next().unwrap_or(name)).collect();
    parts.dedup();
    parts
}

fn term(outcome: &Outcome, name: &str) -> Option<f32> {
    outcome.terms.iter().find(|term| term.0 == name).map(|term| ops::values(term.1.clone())[0])
}

#[test]
fn what_is_padded_changes_no_value_and_no_slope() {
    let (objective, networks) = (objective(1.0, Stages::Joint, false), tracked());
    let clean = windows(&[0, 2, 1]);
    let mut dirty = clean.clone();
    for window in &mut dirty {
        let done = CHUNK - window.padded;
        window.observations[(done + 1) * PIXELS..].fill(1e6);
        window.actions[done * ACTION..].fill(f32::NAN);
    }
    let of = |windows: &[Window]| {
        let batch = objective.collator.collate(1, windows).unwrap();
        let outcome = objective.loss(&networks, &batch, &CLOCK);
        let loss = ops::values(outcome.loss.clone())[0];
        (loss, slopes(&networks, outcome))
    };
    assert!(dirty != clean && of(&clean).0.is_finite());
    assert_eq!(of(&dirty), of(&clean));
    // The same where nothing is padded is another loss: the steps count that were done, and only those.
    assert_ne!(of(&windows(&[0, 0, 0])).0, of(&clean).0);
}

/// With a decoder that says 0 of everything the error is that of the actions themselves, by hand.
#[test]
fn errors_are_means_over_the_steps_that_were_done() {
    let (objective, mut networks) = (objective(0.5, Stages::Joint, false), tracked());
    let silent = |queries: &mut Queries| {
        queries.out.weight = Param::initialized(queries.out.weight.id, queries.out.weight.val().zeros_like());
        queries.out.bias = Param::initialized(queries.out.bias.id, queries.out.bias.val().zeros_like());
    };
    silent(&mut networks.decoder);
    silent(&mut networks.predictor);
    let windows = windows(&[1, 2]);
    let batch = objective.collator.collate(1, &windows).unwrap();
    assert_eq!((batch.rows.as_slice(), batch.actions.len(), batch.ahead.len()), (&[0, 1, 3][..], 6, 3 * PIXELS));
    let outcome = objective.loss(&networks, &batch, &CLOCK);
    let done = windows[0].actions[..4].iter().chain(&windows[1].actions[..2]);
    // Normalised: the first number as it is, the second less 1 over 4.
    let scaled = done.enumerate().map(|(i, x)| if i % 2 == 0 { *x } else { (x - 1.0) / 4.0 });
    let expected = scaled.map(f32::abs).sum::<f32>() / 6.0;
    assert!((term(&outcome, "actions").unwrap() - expected).abs() < 1e-6);
    let seen = Tensor::<4>::from_data(TensorData::new(batch.ahead.clone(), [3, 1, 4, 4]), &Device::flex());
    let there = ops::values(networks.target_encoder.forward(seen));
    let expected = there.iter().map(|x| x.abs()).sum::<f32>() / (3 * WIDTH) as f32;
    assert!((term(&outcome, "latents").unwrap() - expected).abs() < 1e-6);
    let both = term(&outcome, "actions").unwrap() + 0.5 * term(&outcome, "latents").unwrap();
    assert!((ops::values(outcome.loss)[0] - both).abs() < 1e-6);
}

#[test]
fn what_comes_is_seen_by_the_average_alone() {
    let (objective, networks) = (objective(1.0, Stages::Joint, false), tracked());
    let batch = objective.collator.collate(1, &windows(&[0, 1])).unwrap();
    let other = ChunkBatch { ahead: batch.ahead.iter().map(|x| x * -2.0 + 1.0).collect(), ..batch.clone() };
    let of = |batch: &ChunkBatch| {
        let outcome = objective.loss(&networks, batch, &CLOCK);
        (term(&outcome, "actions").unwrap(), term(&outcome, "latents").unwrap())
    };
    let ((actions, latents), (same, others)) = (of(&batch), of(&other));
    assert_eq!(actions, same);
    assert_ne!(latents, others);
    // Gradients reach what sees the present, and no average.
    let slopes = slopes(&networks, objective.loss(&networks, &batch, &CLOCK));
    assert_eq!(learns(&slopes), ["decoder", "encoder", "predictor"]);
}

#[test]
fn the_average_follows_the_encoder_and_nothing_else() {
    let objective = objective(1.0, Stages::Joint, false);
    let role = |name| objective.role(name, &CLOCK);
    assert_eq!(
        role("target_encoder.blocks.0.mlp.fc1.weight"),
        Role::Follows { of: "encoder.blocks.0.mlp.fc1.weight".into(), weight: 0.25 }
    );
    for name in ["encoder.embed.weight", "decoder.queries", "predictor.out.bias", "goal"] {
        assert_eq!(role(name), Role::LEARNS, "{name}");
    }
    // Each of its parameters has a leader.
    let mut names: Vec<String> = Vec::new();
    foretell_nn::parameters::look(&networks(true, &Device::flex()), &mut |parameter, _| {
        names.push(parameter.name.to_owned());
    });
    let followers = names.iter().filter(|name| matches!(role(name), Role::Follows { .. }));
    let led = followers.inspect(|name| {
        let Role::Follows { of, .. } = role(name) else { unreachable!("it follows") };
        assert!(names.iter().any(|leader| *leader == of), "{name} follows {of}");
    });
    assert_eq!(led.count(), names.iter().filter(|name| name.starts_with("encoder.")).count());
}

#[test]
fn without_weight_the_predictor_is_left_alone_and_health_still_hears_of_it() {
    let (objective, networks) = (objective(0.0, Stages::Joint, false), tracked());
    let batch = objective.collator.collate(1, &windows(&[0, 2])).unwrap();
    let outcome = objective.loss(&networks, &batch, &Clock { health_due: true, ..CLOCK });
    assert_eq!(term(&outcome, "latents"), None);
    let latents = outcome.latents.as_ref().unwrap();
    // As many rows of each window, though one has a single step.
    assert_eq!((latents.predictions.dims(), latents.targets.dims()), ([6, WIDTH], [6, WIDTH]));
    let rows = ops::values(latents.targets.clone());
    assert_eq!(rows[3 * WIDTH..4 * WIDTH], rows[5 * WIDTH..]);
    assert_ne!(rows[..WIDTH], rows[WIDTH..2 * WIDTH]);
    assert_eq!(learns(&slopes(&networks, outcome)), ["decoder", "encoder"]);
}

#[test]
fn two_stages_are_the_latents_first_and_then_the_actions_on_what_stays() {
    let (objective, networks) = (objective(1.0, Stages::Two, true), networks(true, &Device::flex().autodiff()));
    let batch = objective.collator.collate(1, &windows(&[0, 1])).unwrap();
    let of = |step: u64| {
        let outcome = objective.loss(&networks, &batch, &Clock { step, ..CLOCK });
        let terms: Vec<&str> = outcome.terms.iter().map(|term| term.0).collect();
        let slopes = slopes(&networks, outcome);
        (terms, learns(&slopes).into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(of(10), (vec!["latents"], ["encoder", "goal", "predictor"].map(str::to_owned).to_vec()));
    assert_eq!(of(11), (vec![], vec!["decoder".to_owned()]));
    // Weight decay and the average move nothing either.
    let after = Clock { step: 11, ..CLOCK };
    for name in ["encoder.embed.weight", "target_encoder.embed.weight", "goal", "predictor.queries"] {
        assert_eq!(objective.role(name, &after), Role::Stays, "{name}");
    }
    assert_eq!(objective.role("decoder.queries", &after), Role::LEARNS);
}

#[test]
fn goals_count_where_they_are_told() {
    let networks = networks(true, &Device::flex());
    let latents = |seed| Tensor::<3>::from_data(TensorData::new(noise(WIDTH, seed), [1, 1, WIDTH]), &Device::flex());
    let act = |now, goal| ops::values(networks.act(latents(now), Some(latents(goal))));
    assert_eq!(act(1, 2).len(), CHUNK * ACTION);
    assert_ne!(act(1, 2), act(1, 3));
    assert_ne!(act(1, 2), act(2, 1), "what is seen is told from what is asked for");
    // In training what is told is told of the same two pictures.
    let objective = objective(1.0, Stages::Joint, true);
    let windows = windows(&[0]);
    let batch = objective.collator.collate(1, &windows).unwrap();
    let looked = |values: &[f32]| {
        let seen = Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 1, 4, 4]), &Device::flex());
        networks.encode(seen)
    };
    let told = networks.act(looked(&batch.now), Some(looked(&batch.goals)));
    let done = Tensor::<1>::from_floats(batch.actions.as_slice(), &Device::flex()).reshape([1, CHUNK, ACTION]);
    let expected = ops::values(ops::l1(told, done))[0];
    let found = term(&objective.loss(&networks, &batch, &CLOCK), "actions").unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
    let without = Window { goal: Vec::new(), ..windows[0].clone() };
    let said = objective.collator.collate(1, &[without]).err().unwrap().to_string();
    assert!(said.contains("0 of a goal"), "{said}");
}
