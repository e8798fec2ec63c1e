//! C-JEPA's composition: what is hidden, what is asked, and that the order of slots means nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Collate, Normalise, Window};
use foretell_jepa::dynamics::{Hiding, LatentVariable, SlotNetworks, Slots, State, WindowCollator, WorldModel};
use foretell_jepa::{Clock, Objective, Outcome};
use foretell_nn::causal::Foretells;
use foretell_nn::parameters::gradients;
use foretell_nn::slot_attention::{SlotAttentionConfig, SlotAutoencoder};
use foretell_nn::slot_predictor::{Anchor, SlotPredictor, SlotPredictorConfig};
use foretell_nn::slots::{KnownSlots, SlotEncoder};
use foretell_ops as ops;

/// A predictor of three observations and one to come, actions of two numbers.
fn predictor(slot: usize, foretells: Foretells, device: &Device) -> SlotPredictor {
    let config = SlotPredictorConfig {
        slot,
        width: 8,
        action: 2,
        history: 3,
        ahead: 1,
        depth: 1,
        heads: 2,
        hidden: 16,
        anchor: Anchor::LastSeen,
        foretells,
    };
    config.init(&mut rng(2, Stream::Init, 0, 1), device)
}

/// Objects of one number each, and a fresh predictor that says of each that it stays where it was last seen.
fn known() -> SlotNetworks<KnownSlots> {
    let device = Device::flex().autodiff();
    SlotNetworks { encoder: KnownSlots::new(1, 2), predictor: predictor(1, Foretells::Change, &device) }
}

fn objective<E: SlotEncoder + 'static>(observation: [usize; 3], setting: Hiding) -> Slots<E> {
    let collator = WindowCollator {
        observation,
        action: 2,
        normalise: Normalise::nothing(observation[0]),
        actions: Normalise::nothing(2),
        poses: None,
        slices: None,
        places: false,
    };
    Slots { setting, variable: LatentVariable::None, actor: None, collator: Arc::new(collator), device: Device::flex() }
}

fn clock(step: u64) -> Clock {
    Clock { step, total: 10, batch: 1, health_due: false }
}

fn window(frames: usize, observations: Vec<f32>) -> Window {
    let actions = vec![0.5; (frames - 1) * 2];
    Window { frames, observations, actions, ..Window::default() }
}

fn term(outcome: &Outcome, name: &str) -> Option<f32> {
    outcome.terms.iter().find(|term| term.0 == name).map(|term| ops::values(term.1.clone())[0])
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + 31 * seed) * 7919 % 1013) as f32 / 1013.0 - 0.5) * 2.0).collect()
}

#[test]
fn the_loss_is_the_error_of_what_was_hidden_and_of_what_comes() {
    // The first object is at 1, 2, 4 and then 7; the second at 0, 0, 1 and then 1.
    let seen = window(4, vec![1.0, 0.0, 2.0, 0.0, 4.0, 1.0, 7.0, 1.0]);
    let setting = Hiding { seed: 5, objects: 1, finding: 0.0 };
    let objective = objective::<KnownSlots>([1, 2, 1], setting);
    let batch = objective.collator.collate(1, std::slice::from_ref(&seen)).unwrap();
    let networks = known();
    let mut met = BTreeSet::new();
    for step in 1..30 {
        let hidden = setting.draw(step, 1, 2);
        let outcome = objective.loss(&networks, &batch, &clock(step));
        let found = (term(&outcome, "hidden").unwrap(), term(&outcome, "future").unwrap());
        // Said to be where it was last seen: a hidden object at the first moment, another at the third.
        // Hidden the first: (1 − 2)², (1 − 4)² over two moments; (1 − 7)², (1 − 1)² over two objects.
        // Hidden the second: (0 − 0)², (0 − 1)²; (4 − 7)², (0 − 1)².
        assert_eq!(found, if hidden[0] { (5.0, 18.0) } else { (0.5, 5.0) });
        assert_eq!(ops::values(outcome.loss)[0], found.0 + found.1);
        met.insert(hidden);
    }
    assert_eq!(met.len(), 2);
    // Nothing is hidden: what comes is all.
    let objective = self::objective::<KnownSlots>([1, 2, 1], Hiding { objects: 0, ..setting });
    let outcome = objective.loss(&networks, &batch, &clock(1));
    assert_eq!((term(&outcome, "hidden"), ops::values(outcome.loss)[0]), (None, 4.5));
}

#[test]
fn every_stretch_of_a_longer_window_counts() {
    // One object, at 0, 1, 3, 6, 10: of two stretches the next is missed by 3 and 4.
    let seen = window(5, vec![0.0, 1.0, 3.0, 6.0, 10.0]);
    let objective = objective::<KnownSlots>([1, 1, 1], Hiding { seed: 5, objects: 0, finding: 0.0 });
    let batch = objective.collator.collate(1, std::slice::from_ref(&seen)).unwrap();
    let device = Device::flex().autodiff();
    let networks = SlotNetworks { encoder: KnownSlots::new(1, 1), predictor: predictor(1, Foretells::Change, &device) };
    let due = Clock { health_due: true, ..clock(1) };
    let outcome = objective.loss(&networks, &batch, &due);
    assert_eq!(ops::values(outcome.loss)[0], 12.5);
    let latents = outcome.latents.unwrap();
    assert_eq!((ops::values(latents.predictions), ops::values(latents.targets)), (vec![3.0, 6.0], vec![6.0, 10.0]));
}

#[test]
fn as_many_objects_are_hidden_in_each_window_and_others_each_time() {
    let setting = Hiding { seed: 3, objects: 2, finding: 0.0 };
    let drawn = setting.draw(7, 200, 5);
    assert_eq!(drawn, setting.draw(7, 200, 5));
    assert_ne!(drawn, setting.draw(8, 200, 5));
    assert_ne!(drawn, Hiding { seed: 4, ..setting }.draw(7, 200, 5));
    assert!(drawn.chunks_exact(5).all(|window| window.iter().filter(|hidden| **hidden).count() == 2));
    let sets: BTreeSet<&[bool]> = drawn.chunks_exact(5).collect();
    assert_eq!(sets.len(), 10, "each pair of five");
}

#[test]
fn what_is_foretold_does_not_hang_on_what_a_hidden_object_did() {
    let mut networks = known();
    networks.predictor = predictor(1, Foretells::Latent, &Device::flex());
    let (slots, actions) = (noise(2 * 4 * 2, 1), tensor(noise(2 * 3 * 2, 2), [2, 3, 2]));
    let hidden = [true, false, false, true];
    let ahead =
        |slots: Vec<f32>| ops::values(networks.errors(&tensor(slots, [2, 4, 2, 1]), actions.clone(), &hidden).ahead);
    let before = ahead(slots.clone());
    let mut other = slots.clone();
    // The hidden objects' slots at the second and third moment, and what is to come of all.
    for (sample, object) in [(0, 0), (1, 1)] {
        (1..3).for_each(|t| other[(sample * 4 + t) * 2 + object] += 3.0);
    }
    for i in [6, 7, 14, 15] {
        other[i] -= 2.0;
    }
    assert_eq!(ahead(other), before);
    let mut seen = slots;
    seen[3] += 3.0;
    assert_ne!(ahead(seen), before, "what a seen object did counts");
}

#[test]
fn a_goal_is_held_against_each_slots_partner() {
    let networks = known();
    let at = |values: Vec<f32>| {
        let rows = values.len() / 2;
        tensor(values, [rows, 2, 1])
    };
    // 0 belongs to 1 and 10 to 11, in whichever order they stand.
    let energy = |slots: Vec<f32>, goal: Vec<f32>| ops::values(networks.energy(at(slots), at(goal)));
    assert_eq!(energy(vec![0.0, 10.0, 10.0, 0.0, 1.0, 14.0], vec![11.0, 1.0]), [1.0, 1.0, 4.5]);
    assert_eq!(energy(vec![0.0, 10.0, 3.0, 4.0], vec![10.0, 0.0, 3.0, 4.0]), [0.0, 0.0]);
}

#[test]
fn the_slope_of_a_goal_is_towards_the_partner() {
    let networks = known();
    let slots = Tensor::<3>::from_data(TensorData::new(vec![0.0, 10.0], [1, 2, 1]), &Device::flex().autodiff());
    let slots = slots.require_grad();
    let energy = networks.energy(slots.clone(), tensor(vec![11.0, 1.0], [1, 2, 1]));
    // d/dz of ((z₁ − 1)² + (z₂ − 11)²) / 2.
    assert_eq!(ops::values(slots.grad(&energy.sum().backward()).unwrap()), [-1.0, -1.0]);
}

const OBSERVATION: [usize; 3] = [3, 8, 8];

fn found() -> SlotNetworks<SlotAutoencoder> {
    let device = Device::flex().autodiff();
    let config =
        SlotAttentionConfig { observation: OBSERVATION, slots: 3, width: 8, channels: 6, iterations: 2, decoder: 10 };
    let encoder = config.init(&mut rng(2, Stream::Init, 0, 0), &device);
    SlotNetworks { encoder, predictor: predictor(8, Foretells::Change, &device) }
}

#[test]
fn slots_are_found_first_and_stand_still_from_then_on() {
    let objective = objective::<SlotAutoencoder>(OBSERVATION, Hiding { seed: 5, objects: 1, finding: 0.5 });
    let windows: Vec<Window> = (0..2).map(|i| window(4, noise(4 * 192, i))).collect();
    let (batch, networks) = (objective.collator.collate(1, &windows).unwrap(), found());
    let learns = |step: u64| {
        let outcome = objective.loss(&networks, &batch, &clock(step));
        let mut networks_that_learn = BTreeSet::new();
        gradients(&networks, &mut outcome.loss.backward(), &mut |parameter, _| {
            networks_that_learn.insert(parameter.name.split('.').next().unwrap().to_owned());
        });
        let terms: Vec<&str> = outcome.terms.iter().map(|term| term.0).collect();
        (networks_that_learn.into_iter().collect::<Vec<_>>(), terms)
    };
    // Half of ten steps.
    assert_eq!(learns(5), (vec!["encoder".to_owned()], vec!["reconstruction"]));
    assert_eq!(learns(6), (vec!["predictor".to_owned()], vec!["future", "hidden"]));
}

#[test]
fn slots_of_earlier_observations_may_stand_in_any_order() {
    let mut networks = found();
    networks.predictor = predictor(8, Foretells::Latent, &Device::flex().autodiff());
    let slots: Vec<Tensor<3>> = (0..3).map(|t| tensor(noise(24, 3 * t), [1, 3, 8]) * 0.1 + spread()).collect();
    let actions: Vec<Tensor<2>> = (0..3).map(|t| tensor(noise(2, 40 + t), [1, 2])).collect();
    let next = |slots: &[Tensor<3>]| {
        let begin = State::begin(slots[0].clone());
        let state = (1..3).fold(begin, |state, t| state.then(actions[t - 1].clone(), slots[t].clone(), 3));
        ops::values(networks.step(state, actions[2].clone()).newest().clone())
    };
    let turned = |x: &Tensor<3>, order: [usize; 3]| Tensor::cat(order.map(|k| x.clone().narrow(1, k, 1)).to_vec(), 1);
    let expected = next(&slots);
    let mixed = [turned(&slots[0], [2, 0, 1]), turned(&slots[1], [1, 0, 2]), slots[2].clone()];
    assert_eq!(next(&mixed), expected);
    // Told of what was hidden in the newest observation's order too.
    let hidden = [true, false, false];
    let inferred = |slots: &[Tensor<3>]| ops::values(networks.inferred(slots, &actions, &hidden).unwrap());
    assert_eq!(inferred(&mixed), inferred(&slots));
    assert_eq!(inferred(&slots).len(), 3 * 24);
}

/// Three slots far apart, `[1, 3, 8]`: who belongs to whom from moment to moment is beyond doubt.
fn spread() -> Tensor<3> {
    tensor((0..24).map(|i| f32::from(i / 8_u8) * 5.0).collect(), [1, 3, 8])
}
