//! The latent variable of a model of dynamics: what it is inferred to be, and what that costs.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_jepa::dynamics::causal::Regularised;
use foretell_jepa::dynamics::{Causal, LatentVariable, State, TrainedModel, WorldModel};
use foretell_jepa::{Clock, Objective};
use foretell_nn::causal::{CausalConfig, Foretells};
use foretell_nn::observer::Observer;
use foretell_ops as ops;

use crate::dynamics::{WIDTH, batch, collator, networks, noise, windows};

/// `y = x + (a, a) + z M`, for actions of one number and latents of two.
struct Linear(Vec<[f32; 2]>);

impl WorldModel for Linear {
    fn encode(&self, _: Tensor<4>) -> Tensor<3> {
        unreachable!("latents are given")
    }

    fn step(&self, state: State, actions: Tensor<2>) -> State {
        let rows: Vec<f32> = [[1.0, 1.0]].iter().chain(&self.0).flatten().copied().collect();
        let map = Tensor::<2>::from_data(TensorData::new(rows, [1 + self.0.len(), 2]), &Device::flex());
        let [b, _] = actions.dims();
        let next = state.vectors() + actions.clone().matmul(map);
        state.then(actions, next.reshape([b, 1, 2]), 1)
    }

    fn history(&self) -> usize {
        1
    }
}

fn rows<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

/// What is inferred from x = 0 and a = 0 of places that came.
fn inferred(variable: LatentVariable, model: &Linear, came: &[[f32; 2]]) -> (Vec<f32>, Vec<f32>) {
    let b = came.len();
    let state = State::begin(Tensor::zeros([b, 1, 2], &Device::flex()));
    let found = variable.infer(model, &state, &rows(&vec![0.0; b], [b, 1]), &rows(came.as_flattened(), [b, 1, 2]));
    (ops::values(found.z), found.free_energy)
}

#[test]
fn the_code_is_that_of_least_energy_and_all_but_the_first_cost() {
    let model = Linear(vec![[1.0, 0.0], [0.0, 2.0]]);
    let came = [[0.1, 0.1], [0.9, 0.0], [0.0, 1.5], [0.6, 0.0]];
    let codes = |weight| inferred(LatentVariable::Codes { count: 3, weight }, &model, &came);
    let (z, free) = codes(0.0);
    assert_eq!(z, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
    let by_hand = [0.01, 0.005, 0.125, 0.08];
    assert!(free.iter().zip(by_hand).all(|(found, wanted)| (found - wanted).abs() < 1e-6), "{free:?}");
    // The last is 0.18 without a code: one that costs 0.11 is not worth its 0.1 of energy.
    let (z, free) = codes(0.11);
    assert_eq!(z, [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    assert!((free[2] - 0.235).abs() < 1e-6 && (free[3] - 0.18).abs() < 1e-6, "{free:?}");
    assert!(codes(1e6).0.iter().all(|z| *z == 0.0));
}

#[test]
fn numbers_come_near_to_the_least_that_there_is_and_never_above_zeros_energy() {
    let model = Linear(vec![[1.0, 0.5], [-0.3, 0.8]]);
    let came = [[0.7, -0.4], [1.5, 0.2], [0.0, 0.0], [-0.9, 1.1]];
    for weight in [0.0, 0.05, 0.5] {
        let (_, free) = inferred(LatentVariable::Continuous { width: 2, weight }, &model, &came);
        for (y, free) in came.iter().zip(free) {
            // min over z of |y − z M|²/2 + w |z|²: (M Mᵀ/2 + w) z = M y/2.
            let m = &model.0;
            let dot = |a: [f32; 2], b: [f32; 2]| f64::from(a[0]) * f64::from(b[0]) + f64::from(a[1]) * f64::from(b[1]);
            let (a, b, d) = (dot(m[0], m[0]) / 2.0 + weight, dot(m[0], m[1]) / 2.0, dot(m[1], m[1]) / 2.0 + weight);
            let (u, v) = (dot(m[0], *y) / 2.0, dot(m[1], *y) / 2.0);
            let (p, q) = ((d * u - b * v) / (a * d - b * b), (a * v - b * u) / (a * d - b * b));
            let off = [0, 1].map(|k| f64::from(y[k]) - p * f64::from(m[0][k]) - q * f64::from(m[1][k]));
            let least = off.iter().map(|x| x * x).sum::<f64>() / 2.0 + weight * (p * p + q * q);
            let (free, zero) = (f64::from(free), dot(*y, *y) / 2.0);
            assert!(free <= zero + 1e-7 && free >= least - 1e-6, "{least} to {zero}: {free}");
            assert!(free - least < 0.1 * (zero - least) + 1e-6, "weight {weight}: {free} where {least} can be reached");
        }
    }
    let (z, _) = inferred(LatentVariable::Continuous { width: 2, weight: 1e6 }, &model, &came);
    assert!(z.iter().all(|z| *z == 0.0), "{z:?}");
}

/// LeWorldModel with a variable beside its four numbers of actions.
fn objective(variable: LatentVariable) -> (Causal<Observer>, foretell_jepa::dynamics::CausalNetworks<Observer>) {
    let device = Device::flex().autodiff();
    let predictor = CausalConfig {
        width: WIDTH,
        action: 4 + variable.width(),
        action_width: 5,
        history: 3,
        depth: 2,
        heads: 2,
        head: 4,
        hidden: 16,
        projector: 16,
        foretells: Foretells::Latent,
    };
    let mut weights = foretell_data::random::rng(2, foretell_data::random::Stream::Init, 0, 2);
    let networks =
        foretell_jepa::dynamics::CausalNetworks { predictor: predictor.init(&mut weights, &device), ..networks(WIDTH) };
    let objective = Causal {
        setting: Regularised { lambda: 0.1, reach: 0.0, shapes: true, prefixes: 0.0 },
        variable,
        actor: None,
        collator: Arc::new(collator()),
        device: Device::flex(),
    };
    (objective, networks)
}

#[test]
fn who_is_told_nothing_gets_zeros() {
    let codes = |weight| LatentVariable::Codes { count: 4, weight };
    let (objective, networks) = objective(codes(0.0));
    let clock = Clock { step: 1, total: 10, batch: 6, health_due: false };
    assert!(objective.loss(&networks, &batch(&windows(6, 5)), &clock).loss.into_scalar::<f32>().is_finite());
    let kept = objective.kept(&networks);
    let model = kept.model.unwrap().downcast::<TrainedModel>().unwrap().model;
    assert_eq!(model.variable(), codes(0.0));
    let state = || State::begin(rows(&noise(2 * WIDTH, 3), [2, 1, WIDTH]));
    let actions = rows(&noise(8, 4), [2, 4]);
    let zeros = Tensor::cat(vec![actions.clone(), Tensor::zeros([2, 3], &Device::flex())], 1);
    let after = |state: State, actions: &Tensor<2>| model.step(state, actions.clone());
    let (untold, told) = (after(state(), &actions), after(state(), &zeros));
    assert_eq!(ops::values(untold.vectors()), ops::values(told.vectors()));
    // A state that was told actions alone goes on as one that was told zeros.
    let before = |actions: &Tensor<2>| state().then(actions.clone(), rows(&noise(2 * WIDTH, 5), [2, 1, WIDTH]), 3);
    let (untold, told) = (after(before(&actions), &actions), after(before(&zeros), &zeros));
    assert_eq!(ops::values(untold.vectors()), ops::values(told.vectors()));
}
