//! MC-JEPA's mechanics: what each loss says, whom it reaches, and when flow begins.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, ClipSample, Collate, Image, Normalise};
use foretell_jepa::anti_collapse::VicregConfig;
use foretell_jepa::flow::losses::{deviation, dissimilarity, regression, smoothness};
use foretell_jepa::flow::{
    FlowNetworks, FlowWeights, MotionContent, PairsCollator, Photometric, PhotometricLevels, Turns,
};
use foretell_jepa::{AntiCollapse, Clock, Objective};
use foretell_nn::flow::FlowConfig;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::parameters;
use foretell_nn::pyramid::PyramidConfig;
use foretell_ops as ops;

fn tensor(values: Vec<f32>, shape: [usize; 4]) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn value(loss: Tensor<1>) -> f32 {
    ops::values(loss)[0]
}

#[test]
fn losses_are_as_written() {
    let a = tensor((0..16).map(|i| i as f32 / 16.0).collect(), [1, 4, 4, 1]);
    let b = a.clone() + 0.25;
    let all = Tensor::ones([1, 4, 4, 1], &Device::flex());
    let of = |l1, l2, ssim| value(Photometric { l1, l2, ssim }.loss(a.clone(), b.clone(), all.clone()));
    assert!((of(1.0, 0.0, 0.0) - 0.25).abs() < 1e-6 && (of(0.0, 2.0, 0.0) - 0.125).abs() < 1e-6);
    assert_eq!(of(0.0, 0.0, 0.0), 0.0);
    // Of an image and itself nothing is left; of one and its opposite more than half.
    assert!(ops::values(dissimilarity(a.clone(), a.clone())).iter().all(|x| x.abs() < 1e-5));
    let opposite = dissimilarity(a.clone(), a.clone().neg() + 1.0);
    assert!(ops::values(opposite).iter().all(|x| *x > 0.4));
    // By hand for the middle of a window of 3 × 3: means 1/9 and 2/9, one of nine pixels set.
    let one = |at: usize, to: f32| {
        let mut values = vec![0.0; 9];
        values[at] = to;
        tensor(values, [1, 3, 3, 1])
    };
    let found = ops::values(dissimilarity(one(4, 1.0), one(4, 2.0)))[4];
    let (ma, mb) = (1.0_f32 / 9.0, 2.0_f32 / 9.0);
    let (va, vb, c) = (1.0 / 9.0 - ma * ma, 4.0 / 9.0 - mb * mb, 2.0 / 9.0 - ma * mb);
    let ssim = (2.0 * ma * mb + 1e-4) * (2.0 * c + 9e-4) / ((ma * ma + mb * mb + 1e-4) * (va + vb + 9e-4));
    assert!((found - (1.0 - ssim) / 2.0).abs() < 1e-5, "{found}");

    // What is beyond the edge does not count.
    let half = tensor([vec![1.0; 8], vec![0.0; 8]].concat(), [1, 4, 4, 1]);
    let c = tensor([vec![1.0; 8], vec![9.0; 8]].concat(), [1, 4, 4, 1]);
    let zero = Tensor::zeros([1, 4, 4, 1], &Device::flex());
    let l1 = Photometric { l1: 1.0, l2: 0.0, ssim: 0.0 };
    assert!((value(l1.loss(c.clone(), zero.clone(), half.clone())) - 1.0).abs() < 1e-6);
    assert!((value(regression(c, zero.clone(), half)) - 1.0).abs() < 1e-6);
    assert_eq!(value(l1.loss(a.clone(), b, zero.clone())), 0.0);

    // One step of 3 pixels to the right in one of three columns' steps, of two numbers of which one changes.
    let step = |pixel: usize| if pixel % 4 < 2 { [0.0, 1.0] } else { [3.0, 1.0] };
    let flow = tensor((0..16).flat_map(step).collect(), [1, 4, 4, 2]);
    assert!((value(smoothness(flow.clone(), zero, 10.0)) - 0.5).abs() < 1e-6);
    // The image has its edge there: 0.25 between neighbours.
    let edge = tensor((0..16).map(|pixel| if pixel % 4 < 2 { 0.0 } else { 0.25 }).collect(), [1, 4, 4, 1]);
    assert!((value(smoothness(flow, edge, 10.0)) - 0.5 * (-2.5_f32).exp()).abs() < 1e-6);
    assert!((value(deviation(tensor(vec![1.0, 5.0, 3.0, 5.0], [1, 1, 2, 2]))) - 0.5).abs() < 1e-6);
}

const SIZE: usize = 8;

/// A bright square that moves right by two pixels a frame.
fn sample(index: usize) -> ClipSample {
    let frame = |at: usize| {
        let pixel = |i: usize| {
            let (x, y) = (i % SIZE, i / SIZE);
            let inside = (2 * at..2 * at + 3).contains(&x) && (index % 4..index % 4 + 3).contains(&y);
            if inside { 230 } else { ((i * 37 + index * 11) % 90) as u8 }
        };
        Image { width: SIZE, height: SIZE, channels: 1, pixels: (0..SIZE * SIZE).map(pixel).collect() }
    };
    ClipSample::new((0..3).map(frame).collect())
}

fn networks(content: bool) -> FlowNetworks {
    let device = Device::flex().autodiff();
    let mut random = rng(1, Stream::Init, 0, 0);
    let widths = vec![4, 6, 8];
    let head = FlowConfig { features: widths.clone(), finest: 1, hidden: vec![8], radius: 1, bound: 4.0 };
    FlowNetworks {
        encoder: PyramidConfig { channels: 1, widths, blocks: 1 }.init(&mut random, &device),
        flow: head.init(&mut random, &device),
        projector: content.then(|| Projector::new(&[8, 12, 5], Activation::Relu, &mut random, &device)),
    }
}

fn weights() -> FlowWeights {
    FlowWeights {
        reconstruction: 1.0,
        regression: 1.0,
        smoothness: 0.1,
        cycle: 0.5,
        level_variance: 1.0,
        level_covariance: 0.04,
        level_decay: 0.5,
    }
}

fn objective(weights: FlowWeights, content: bool, turns: Turns) -> MotionContent {
    let collator = PairsCollator {
        seed: 3,
        size: SIZE,
        views: content.then(|| Augment { crop_scale: (0.5, 1.0), ..Augment::default() }),
        normalise: Normalise { mean: vec![0.3], std: vec![0.25] },
    };
    MotionContent {
        weights,
        photometric: Photometric::default(),
        photometric_levels: PhotometricLevels::All,
        edge: 10.0,
        flow_weight: 0.1,
        flow_start: 0.5,
        turns,
        content: AntiCollapse::Vicreg(VicregConfig::default()),
        frames: 3,
        collator: Arc::new(collator),
        device: Device::flex(),
    }
}

fn terms(objective: &MotionContent, networks: &FlowNetworks, step: u64, health_due: bool) -> Vec<&'static str> {
    let batch = objective.collator.collate(step, &(0..4).map(sample).collect::<Vec<_>>()).unwrap();
    let outcome = objective.loss(networks, &batch, &Clock { step, total: 10, batch: 4, health_due });
    assert_eq!(outcome.latents.is_some(), health_due);
    assert!(ops::values(outcome.loss.inner())[0].is_finite());
    outcome.terms.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn flow_begins_when_it_is_told_and_turns_are_taken() {
    const FLOW: [&str; 5] = ["reconstruction", "regression", "smoothness", "cycle", "levels"];
    let both = networks(true);
    let sum = objective(weights(), true, Turns::Sum);
    assert_eq!(terms(&sum, &both, 5, false), ["content"]);
    assert_eq!(terms(&sum, &both, 6, false), [&["content"], &FLOW[..]].concat());
    let alternate = objective(weights(), true, Turns::Alternate);
    assert_eq!(terms(&alternate, &both, 4, false), ["content"]);
    assert_eq!(terms(&alternate, &both, 6, false), FLOW);
    assert_eq!(terms(&alternate, &both, 7, false), ["content"]);
    assert_eq!(terms(&alternate, &both, 8, true), [&["content"], &FLOW[..], &["motion"]].concat());
    // Without content flow begins at once, whatever the start says.
    let alone = objective(weights(), false, Turns::Alternate);
    assert_eq!(terms(&alone, &networks(false), 1, false), FLOW);
    assert_eq!(terms(&alone, &networks(false), 1, true), [&FLOW[..], &["motion"]].concat());
}

/// The largest gradient that each network is given by one term alone: pyramid and flow.
fn reached(of: impl Fn(&mut FlowWeights)) -> [f32; 2] {
    let mut weights = FlowWeights {
        reconstruction: 0.0,
        regression: 0.0,
        smoothness: 0.0,
        cycle: 0.0,
        level_variance: 0.0,
        level_covariance: 0.0,
        level_decay: 0.5,
    };
    of(&mut weights);
    let (objective, networks) = (objective(weights, false, Turns::Sum), networks(false));
    let batch = objective.collator.collate(1, &(0..4).map(sample).collect::<Vec<_>>()).unwrap();
    let clock = Clock { step: 1, total: 10, batch: 4, health_due: false };
    let mut gradients = objective.loss(&networks, &batch, &clock).loss.backward();
    let mut largest = [0.0_f32; 2];
    parameters::gradients(&networks, &mut gradients, &mut |parameter, gradient| {
        let of = &mut largest[usize::from(parameter.name.starts_with("flow."))];
        *of = ops::values(gradient).into_iter().fold(*of, |most, x| most.max(x.abs()));
    });
    largest
}

#[test]
fn each_term_reaches_whom_it_is_for() {
    for of in [
        |w: &mut FlowWeights| w.reconstruction = 1.0,
        |w: &mut FlowWeights| w.regression = 1.0,
        |w: &mut FlowWeights| w.cycle = 1.0,
    ] {
        let found = reached(of);
        assert!(found.iter().all(|gradient| *gradient > 1e-7), "{found:?}");
    }
    // What keeps features apart leaves flow alone.
    let [pyramid, flow] = reached(|w| w.level_variance = 1.0);
    assert!(pyramid > 1e-6 && flow == 0.0, "{pyramid} {flow}");
}

/// The exact flow makes the photometric loss of a shifted image 0, and the wrong one does not.
#[test]
fn the_right_flow_reconstructs_the_frame() {
    let before = tensor((0..64).map(|i| ((i * 29) % 64) as f32 / 64.0).collect(), [1, 8, 8, 1]);
    // What was at x is at x + 2.
    let after = Tensor::cat(vec![before.clone().narrow(2, 0, 2), before.clone().narrow(2, 0, 6)], 2);
    let flow = |right: f32| tensor((0..64).flat_map(|_| [right, 0.0]).collect(), [1, 8, 8, 2]);
    let loss = |right: f32| {
        let flow = flow(right);
        let warped = ops::warp(after.clone(), flow.clone());
        let l1 = Photometric { l1: 1.0, l2: 0.0, ssim: 0.0 };
        value(l1.loss(before.clone(), warped, ops::lands_inside(flow)))
    };
    assert!(loss(2.0) < 1e-6 && loss(0.0) > 0.1 && loss(-2.0) > 0.1, "{} {} {}", loss(2.0), loss(0.0), loss(-2.0));
}
