//! Levels above a model of frames: what each sees of the one below, and who learns when.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_jepa::dynamics::levels::{Hierarchy, Learning, Levelled, act};
use foretell_jepa::dynamics::{LatentVariable, LevelledNetworks, State, WindowBatch};
use foretell_jepa::{Clock, Objective, Outcome};
use foretell_nn::causal::{CausalConfig, Foretells};
use foretell_nn::layers::Pass;
use foretell_nn::level::{Level, LevelConfig};
use foretell_nn::observer::Observer;
use foretell_ops as ops;

use crate::dynamics::{WIDTH, batch, collator, networks, noise, windows};

/// Numbers in a macro-action.
const MACRO: usize = 3;

fn level(action: usize, lift: bool) -> Level {
    let predictor = CausalConfig {
        width: WIDTH,
        action: MACRO,
        action_width: 5,
        history: 3,
        depth: 1,
        heads: 2,
        head: 4,
        hidden: 16,
        projector: 16,
        foretells: Foretells::Change,
    };
    let config = LevelConfig { stride: 2, action, hidden: 8, lift, predictor };
    config.init(&mut rng(3, Stream::Init, 0, action as u64), &Device::flex().autodiff())
}

fn three_levels() -> LevelledNetworks<Observer> {
    LevelledNetworks { ground: networks(WIDTH), levels: vec![level(4, true), level(MACRO, true)] }
}

fn loss(networks: &LevelledNetworks<Observer>, learning: Learning, batch: &WindowBatch, step: u64) -> Outcome {
    let ground = foretell_jepa::dynamics::causal::Regularised { lambda: 0.1, reach: 0.0, shapes: true, prefixes: 0.0 };
    let objective = Hierarchy::<Observer> {
        variable: LatentVariable::None,
        setting: Levelled { ground, lambda: 0.1, learning },
        actor: None,
        collator: Arc::new(collator()),
        device: Device::flex(),
    };
    objective.loss(networks, batch, &Clock { step, total: 9, batch: 6, health_due: true })
}

/// The parts of the networks that a loss moves.
fn moved(networks: &LevelledNetworks<Observer>, outcome: Outcome) -> Vec<&'static str> {
    let gradients = outcome.loss.backward();
    let learns = |t: Tensor<2>| t.grad(&gradients).is_some_and(|g| ops::values(g).iter().any(|x| *x != 0.0));
    let LevelledNetworks { ground, levels } = networks;
    let lift = |level: &Level| level.lift.as_ref().unwrap().fc2.weight.val();
    [
        ("encoder", ground.encoder.projector.layers[1].weight.val()),
        ("predictor", ground.predictor.projector.layers[1].weight.val()),
        ("level 2", lift(&levels[0])),
        ("level 3", lift(&levels[1])),
    ]
    .into_iter()
    .filter_map(|(part, weight)| learns(weight).then_some(part))
    .collect()
}

#[test]
fn together_every_level_learns_and_in_turn_one_alone() {
    let networks = three_levels();
    let batch = batch(&windows(6, 9));
    let all = ["encoder", "predictor", "level 2", "level 3"];
    assert_eq!(moved(&networks, loss(&networks, Learning::Together, &batch, 1)), all);
    for (step, parts) in
        [(1, &all[..2]), (3, &all[..2]), (4, &all[2..3]), (6, &all[2..3]), (7, &all[3..]), (9, &all[3..])]
    {
        assert_eq!(moved(&networks, loss(&networks, Learning::InTurn, &batch, step)), parts, "step {step} of 9");
    }
}

#[test]
fn the_terms_are_those_of_each_level_and_their_sum_is_the_loss() {
    let networks = three_levels();
    let batch = batch(&windows(6, 9));
    let outcome = loss(&networks, Learning::Together, &batch, 1);
    let value = |x: &Tensor<1>| x.clone().into_scalar::<f32>();
    let names: Vec<&str> = outcome.terms.iter().map(|(name, _)| *name).collect();
    let expected = ["prediction", "sigreg"];
    let above = ["prediction, level 2", "sigreg, level 2", "prediction, level 3", "sigreg, level 3"];
    assert_eq!(names, [&expected[..], &above].concat());
    let sum: f32 =
        outcome.terms.iter().map(|(name, term)| value(term) * if name.starts_with("sigreg") { 0.1 } else { 1.0 }).sum();
    let all = value(&outcome.loss.inner());
    assert!((sum - all).abs() < 1e-4 * all.abs(), "{sum} {all}");
}

#[test]
fn a_level_is_told_every_second_state_and_both_actions_between() {
    // Without a map and with nothing learnt, a fresh predictor of changes says that the state stays: its error is how far every second
    // latent is from the next but one.
    let mut networks = three_levels();
    networks.levels = vec![level(4, false)];
    let seen = batch(&windows(6, 5));
    let outcome = loss(&networks, Learning::InTurn, &seen, 9);
    let latents = networks.ground.encoder.forward(
        Tensor::from_data(TensorData::new(seen.observations.clone(), [30, 3, 8, 8]), &Device::flex()),
        &mut Pass::Evaluation,
    );
    let rows = |t: usize| latents.clone().narrow(0, t * 6, 6);
    let apart = |a: usize, b: usize| ops::values((rows(a) - rows(b)).square().mean())[0];
    let expected = f32::midpoint(apart(0, 2), apart(2, 4));
    let found = outcome.terms[0].1.clone().into_scalar::<f32>();
    assert!((found - expected).abs() < 1e-5 * expected, "{found} {expected}");
    // What is done between two states makes one macro-action: the first action first.
    let level = level(4, false);
    let done = Tensor::<2>::from_data(TensorData::new(noise(8 * 8, 5), [8, 8]), &Device::flex());
    let turned = Tensor::cat(vec![done.clone().narrow(1, 4, 4), done.clone().narrow(1, 0, 4)], 1);
    let of = |done: &Tensor<2>| ops::values(level.act(done.clone(), &mut Pass::Evaluation));
    assert_ne!(of(&done), of(&turned));
}

#[test]
fn macro_actions_are_standard() {
    let level = level(4, true);
    let done = Tensor::<2>::from_data(TensorData::new(noise(200 * 8, 5), [200, 8]), &Device::flex());
    let macros = level.act(done, &mut Pass::Training(&mut Vec::new()));
    let mean = ops::values(macros.clone().mean_dim(0));
    let variance = ops::values(macros.square().mean_dim(0));
    assert!(
        mean.iter().all(|m| m.abs() < 1e-5) && variance.iter().all(|v| (v - 1.0).abs() < 1e-2),
        "{mean:?} {variance:?}"
    );
}

#[test]
fn a_level_looks_back_on_its_own_states_alone() {
    let level = level(4, true);
    let state = || Tensor::<3>::from_data(TensorData::new(noise(2 * WIDTH, 1), [2, 1, WIDTH]), &Device::flex());
    let macros = |seed| Tensor::<2>::from_data(TensorData::new(noise(2 * MACRO, seed), [2, MACRO]), &Device::flex());
    let once = act(&level, State::begin(state()), macros(2));
    assert_eq!((once.latents().len(), once.actions().len()), (2, 1));
    let often = (3..8).fold(once, |state, seed| act(&level, state, macros(seed)));
    assert_eq!((often.latents().len(), often.actions().len()), (3, 2), "as many as it looks back on");
}
