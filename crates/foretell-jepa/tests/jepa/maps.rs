//! Maps of frames rolled forward: what the loss says, which frames are predicted from which, and whom it reaches.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_data::{ClipSample, Collate, Image, Normalise};
use foretell_jepa::clips::maps::{KeptMaps, MapBatch, MapNetworks, MapRollout, MapWindows, Unroll};
use foretell_jepa::{Clock, Objective};
use foretell_nn::frame_maps::FrameMapsConfig;
use foretell_nn::layers::Pass;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::parameters;
use foretell_nn::unet::UNetConfig;
use foretell_ops as ops;

const SIZE: usize = 8;
/// Places of a map, numbers of a place, numbers of a code.
const PLACES: usize = 16;
const WIDTH: usize = 5;
const CODE: usize = 3;

/// A bright square that moves right by so many pixels a frame.
fn sample(index: usize, frames: usize, speed: usize) -> ClipSample {
    let frame = |at: usize| {
        let pixel = |i: usize| {
            let (x, y) = (i % SIZE, i / SIZE);
            let inside = (speed * at..speed * at + 3).contains(&x) && (index % 4..index % 4 + 3).contains(&y);
            if inside { 230 } else { ((i * 37 + index * 11) % 90) as u8 }
        };
        Image { width: SIZE, height: SIZE, channels: 1, pixels: (0..SIZE * SIZE).map(pixel).collect() }
    };
    ClipSample::new((0..frames).map(frame).collect())
}

fn networks(quiet: Option<f64>) -> MapNetworks {
    let device = Device::flex().autodiff();
    let mut random = rng(1, Stream::Init, 0, 0);
    let encoder = FrameMapsConfig { channels: 1, widths: vec![4, WIDTH], strides: vec![2, 1] };
    let predictor = UNetConfig { inputs: 2 * WIDTH, outputs: WIDTH, widths: vec![6, 8], quiet };
    MapNetworks {
        encoder: encoder.init(&mut random, &device),
        predictor: predictor.init(&mut random, &device),
        projector: Projector::new(&[WIDTH, 7, CODE], Activation::Relu, &mut random, &device),
    }
}

fn objective((steps, window): (usize, usize), unroll: Unroll) -> MapRollout {
    let normalise = Normalise { mean: vec![0.3], std: vec![0.25] };
    MapRollout {
        steps,
        unroll,
        change: true,
        stop_gradient: false,
        variance: 10.0,
        covariance: 100.0,
        frames: window,
        collator: Arc::new(MapWindows { seed: 3, window, size: SIZE, normalise }),
        device: Device::flex(),
    }
}

fn batch(objective: &MapRollout, speed: usize) -> MapBatch {
    let samples: Vec<_> = (0..3).map(|index| sample(index, objective.frames, speed)).collect();
    objective.collator.collate(1, &samples).unwrap()
}

const CLOCK: Clock = Clock { step: 1, total: 10, batch: 3, health_due: true };

/// Maps of a batch, `[B, T, H, W, D]`.
fn maps(objective: &MapRollout, networks: &MapNetworks, pass: &mut Pass<'_>) -> Tensor<5> {
    let batch = batch(objective, 1);
    let frames = burn::tensor::TensorData::new(batch.frames, [3 * objective.frames, 1, SIZE, SIZE]);
    let maps = networks.encoder.maps(Tensor::from_data(frames, &objective.device), pass);
    maps.reshape([3, objective.frames, 4, 4, WIDTH])
}

/// The mean squared difference.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64
}

/// `mean relu(1 − √(var + 1e-4))`, and the mean of squared covariances of two numbers, of rows.
fn spread(rows: &[f32]) -> [f64; 2] {
    let count = (rows.len() / CODE) as f64;
    let column = |k: usize| rows.iter().skip(k).step_by(CODE).map(|x| f64::from(*x));
    let mean = |k: usize| column(k).sum::<f64>() / count;
    let covariance = |i: usize, j: usize| {
        let (a, b) = (mean(i), mean(j));
        column(i).zip(column(j)).map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / (count - 1.0)
    };
    let variance = (0..CODE).map(|k| (1.0 - (covariance(k, k) + 1e-4).sqrt()).max(0.0)).sum::<f64>() / CODE as f64;
    let pairs = (0..CODE * CODE).map(|at| (at / CODE, at % CODE)).filter(|(i, j)| i != j);
    let off: Vec<f64> = pairs.map(|(i, j)| covariance(i, j).powi(2)).collect();
    [variance, off.iter().sum::<f64>() / off.len() as f64]
}

/// One clip's map of one frame, `[1, H, W, D]`.
fn frame(maps: &Tensor<5>, frame: usize) -> Tensor<4> {
    maps.clone().narrow(1, frame, 1).reshape([3, 4, 4, WIDTH])
}

/// The loss of two steps over four frames, from its formula.
#[test]
fn the_loss_is_as_written() {
    let networks = networks(None);
    for unroll in [Unroll::Chain, Unroll::Parallel] {
        let objective = objective((2, 4), unroll);
        let mut seen = Vec::new();
        let pass = &mut Pass::Training(&mut seen);
        let own = maps(&objective, &networks, pass);
        // Both maps of a step at once: a batch has one mean and variance.
        let mut both = |pairs: [(Tensor<4>, Tensor<4>); 2], used: usize| -> Vec<Tensor<4>> {
            let pairs = &pairs[2 - used..];
            let last = Tensor::cat(pairs.iter().map(|pair| pair.1.clone()).collect(), 0);
            let before = Tensor::cat(pairs.iter().map(|pair| pair.0.clone()).collect(), 0);
            let said = networks.predictor.forward(Tensor::cat(vec![before, last.clone()], 3), pass) + last;
            (0..used).map(|at| said.clone().narrow(0, 3 * at, 3)).collect()
        };
        let first = both([(frame(&own, 0), frame(&own, 1)), (frame(&own, 1), frame(&own, 2))], 2);
        let again = [(frame(&own, 0), frame(&own, 1)), (frame(&own, 1), first[0].clone())];
        let rows = |maps: Vec<Tensor<4>>| Tensor::cat(maps, 0).reshape([-1, WIDTH as i32]);
        let all = || (0..4).map(|at| frame(&own, at)).collect::<Vec<_>>();
        let codes = |rows: Tensor<2>| {
            ops::values(networks.projector.forward(rows, &mut Pass::Training(&mut Vec::new())).inner())
        };
        let each = 3 * PLACES * CODE;
        let (prediction, own_codes) = match unroll {
            Unroll::Chain => {
                let second = both(again, 1);
                let all = codes(rows([all(), first, second].concat()));
                let of = |map: usize| &all[map * each..][..each];
                let one = f64::midpoint(apart(of(4), of(2)), apart(of(5), of(3)));
                (f64::midpoint(one, apart(of(6), of(3))), all[..4 * each].to_vec())
            }
            Unroll::Parallel => {
                let second = both(again, 2);
                let truth = codes(rows(all()));
                let true_two = || vec![frame(&own, 0), frame(&own, 1)];
                let one = apart(&codes(rows([true_two(), first].concat())), &truth);
                let two = apart(&codes(rows([true_two(), second].concat())), &truth);
                (f64::midpoint(one, two), truth)
            }
        };
        let [variance, covariance] = spread(&own_codes);
        let outcome = objective.loss(&networks, &batch(&objective, 1), &CLOCK);
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-4 * expected.abs().max(1e-2);
        let term = |at: usize| f64::from(ops::values(outcome.terms[at].1.clone())[0]);
        for (at, expected) in [prediction, variance, covariance].into_iter().enumerate() {
            assert!(near(term(at), expected), "{unroll:?} {at}: {} {expected}", term(at));
        }
        let loss = f64::from(ops::values(outcome.loss.inner())[0]);
        assert!(near(loss, prediction + 10.0 * variance + 100.0 * covariance), "{unroll:?}: {loss}");
        assert_eq!(outcome.latents.unwrap().targets.dims()[1], CODE);
    }
}

#[test]
fn what_is_rolled_out_in_training_is_what_is_rolled_forward_in_use() {
    let networks = networks(None).valid();
    let objective = objective((3, 7), Unroll::Chain);
    let own = maps(&objective, &networks, &mut Pass::Evaluation);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4 * b.abs().max(1.0));
    let of = |maps: &Tensor<5>, at: usize| ops::values(frame(maps, at));
    let chain = objective.chain(&networks.predictor, &own, &mut Pass::Evaluation);
    assert_eq!(chain.iter().map(|maps| maps.dims()[1]).collect::<Vec<_>>(), [5, 4, 3]);
    let kept = KeptMaps::new(networks.predictor.clone(), true);
    for last in 1..6 {
        let rolled = kept.roll(frame(&own, last - 1), frame(&own, last), 6 - last);
        // One step is the plain prediction.
        let pair = Tensor::cat(vec![frame(&own, last - 1), frame(&own, last)], 3);
        let plain = frame(&own, last) + networks.predictor.forward(pair, &mut Pass::Evaluation);
        assert!(near(&ops::values(rolled[0].clone()), &ops::values(plain)));
        for (step, map) in rolled.iter().take(3).enumerate() {
            assert!(near(&of(&chain[step], last - 1), &ops::values(map.clone())), "{last} {step}");
        }
    }
    // As released: the first two are true, one pass is one step, and from the second on the older input is predicted too.
    let parallel = objective.parallel(&networks.predictor, &own, &mut Pass::Evaluation);
    for maps in &parallel {
        assert!((0..2).all(|at| of(maps, at) == of(&own, at)) && maps.dims()[1] == 7);
    }
    assert!((2..7).all(|at| near(&of(&parallel[0], at), &of(&chain[0], at - 2))));
    assert!(near(&of(&parallel[1], 3), &of(&chain[1], 0)) && !near(&of(&parallel[1], 4), &of(&chain[1], 1)));
    let pair = Tensor::cat(vec![frame(&parallel[0], 2), frame(&parallel[0], 3)], 3);
    let next = frame(&parallel[0], 3) + networks.predictor.forward(pair, &mut Pass::Evaluation);
    assert!(near(&of(&parallel[1], 4), &ops::values(next)));
}

#[test]
fn copying_is_right_where_nothing_moves() {
    let copies = networks(Some(0.0));
    for unroll in [Unroll::Chain, Unroll::Parallel] {
        let objective = objective((2, 4), unroll);
        let prediction = |speed| {
            let outcome = objective.loss(&copies, &batch(&objective, speed), &CLOCK);
            let term = |name| outcome.terms.iter().find(|(term, _)| *term == name).unwrap().1.clone();
            [term("prediction"), term(foretell_jepa::MOTION)].map(|term| ops::values(term)[0])
        };
        let ([still, no_motion], [moving, motion]) = (prediction(0), prediction(1));
        assert!(still < 1e-6 && moving > 1e-3, "{unroll:?}: {still} {moving}");
        assert!(no_motion < 1e-6 && motion > 1e-3, "{no_motion} {motion}");
    }
}

#[test]
fn both_sides_learn_unless_they_are_told_not_to() {
    let networks = networks(None);
    let gradient = |stop_gradient, weights: f64| {
        let objective =
            MapRollout { stop_gradient, variance: weights, covariance: weights, ..objective((2, 4), Unroll::Chain) };
        let outcome = objective.loss(&networks, &batch(&objective, 1), &CLOCK);
        let loss = ops::values(outcome.loss.clone().inner())[0];
        let mut gradients = outcome.loss.backward();
        let mut all = Vec::new();
        parameters::gradients(&networks, &mut gradients, &mut |_, gradient| all.push(ops::values(gradient)));
        (loss, all)
    };
    let ((loss, live), (same, stopped)) = (gradient(false, 1.0), gradient(true, 1.0));
    assert!((loss - same).abs() < 1e-6 * loss.abs());
    // Weights of the encoder are the first; all of them are reached in either way, and differently.
    let moves = |values: &Vec<f32>| values.iter().any(|x| x.abs() > 1e-9);
    assert!(live.len() > 20 && moves(&live[0]) && moves(&stopped[0]) && live[0] != stopped[0]);
    // Without the two terms nothing but the prediction is left.
    assert!(gradient(false, 0.0).0 < loss);
}

#[test]
fn a_window_begins_anywhere_in_its_clip() {
    let normalise = Normalise { mean: vec![0.0], std: vec![1.0] };
    let windows = MapWindows { seed: 3, window: 3, size: SIZE, normalise };
    let grey = |at: usize| Image { width: SIZE, height: SIZE, channels: 1, pixels: vec![20 * at as u8; SIZE * SIZE] };
    let clip = ClipSample::new((0..5).map(grey).collect());
    let mut begun = [0; 3];
    for step in 0..20 {
        let batch = windows.collate(step, &[clip.clone(), clip.clone()]).unwrap();
        for window in batch.frames.chunks_exact(3 * SIZE * SIZE) {
            let frames: Vec<usize> =
                window.chunks_exact(SIZE * SIZE).map(|frame| (frame[0] * 255.0 / 20.0).round() as usize).collect();
            assert_eq!(frames, [frames[0], frames[0] + 1, frames[0] + 2]);
            begun[frames[0]] += 1;
        }
    }
    assert!(begun.iter().all(|count| *count > 5), "{begun:?}");
    let short = windows.collate(0, &[sample(0, 2, 1)]).err().unwrap().to_string();
    assert!(short.contains("2 frames where 3"), "{short}");
}
