//! Warps and cost volumes.

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, finite_differences, noise, run, scaled};

fn map(values: &Tensor<1>, shape: [usize; 4]) -> Tensor<4> {
    values.clone().reshape(shape)
}

fn flat(map: Tensor<4>) -> Tensor<1> {
    let count = map.dims().iter().product::<usize>();
    map.reshape([count])
}

/// Flow that leads to other pixels, to places between them and beyond the edges.
fn flow(seed: u64, [b, h, w]: [usize; 3]) -> Vec<f64> {
    scaled(noise(seed, b * h * w * 2), 2.3)
}

#[test]
fn warps_agree() {
    for [b, h, w, c] in [[1, 1, 1, 3], [1, 2, 3, 2], [2, 5, 4, 7], [3, 8, 8, 16], [2, 1, 9, 5]] {
        let shape = [b, h, w, c];
        let fused = move |t: &[Tensor<1>]| flat(ops::warp(map(&t[0], shape), map(&t[1], [b, h, w, 2])));
        let plain = move |t: &[Tensor<1>]| flat(composed::warp(map(&t[0], shape), map(&t[1], [b, h, w, 2])));
        let inputs = [noise(1, b * h * w * c), flow(2, [b, h, w])];
        if h * w > 1 {
            agree(&format!("warp {shape:?}"), &fused, &plain, &inputs);
        }
        if h * w <= 20 && h > 1 {
            finite_differences(&format!("warp {shape:?}"), &plain, &inputs);
        }
    }
}

/// Values and gradients of PyTorch 2's `grid_sample(mode="bilinear", padding_mode="border", align_corners=True)` at
/// `2 (x + u) / (W − 1) − 1`, the output's gradient being 1, 2, …, and of its `interpolate(scale_factor=2, mode="bilinear")`.
#[test]
fn a_warp_is_pytorchs() {
    let device = Device::flex().autodiff();
    let leaf = |values: &[f32], shape: [usize; 4]| {
        Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device).require_grad()
    };
    let values = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5, 1.25, 0.0, -2.0, 1.0, 0.5, -0.5];
    let map = leaf(&values, [1, 2, 3, 2]);
    let flow = leaf(&[0.25, 0.5, -0.5, 0.75, -1.25, 0.125, 1.5, -0.25, 2.0, -0.5, -0.75, 0.5], [1, 2, 3, 2]);
    let output = ops::warp(map.clone(), flow.clone());
    let near = |found: Tensor<4>, expected: &[f32]| {
        let found = ops::values(found);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        assert_eq!(found.len(), expected.len());
    };
    near(
        output.clone(),
        &[0.65625, -0.21875, 0.03125, 0.28125, 1.273_438, 0.039_062, -0.40625, 0.40625, -0.125, 0.5, -1.375, 0.625],
    );
    let counted: Vec<f32> = (1..=12).map(|i| i as f32).collect();
    let counted = Tensor::<4>::from_data(TensorData::new(counted, [1, 2, 3, 2]), &device);
    let gradients = (output * counted).sum().backward();
    near(
        map.grad(&gradients).unwrap(),
        &[1.84375, 2.5625, 4.65625, 5.6875, 5.375, 6.0, 1.65625, 2.4375, 12.59375, 14.3125, 9.875, 11.0],
    );
    near(
        flow.grad(&gradients).unwrap(),
        &[1.375, 1.4375, -1.9375, -1.375, 11.84375, -9.1875, 1.8125, -14.625, 0.0, -8.75, 9.5, 0.0],
    );
    near(
        ops::lands_inside(flow.inner()),
        // To the right of, or below, the last pixel is beyond.
        &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
    );

    let twice = ops::upsample_twice(map.inner()).slice([0..1, 0..4, 0..6, 0..1]);
    near(
        twice,
        &[
            0.5, 0.875, 1.625, 1.3125, -0.0625, -0.75, 0.6875, 0.765_625, 0.921_875, 0.640_625, -0.078_125, -0.4375,
            1.0625, 0.546_875, -0.484_375, -0.703_125, -0.109_375, 0.1875, 1.25, 0.4375, -1.1875, -1.375, -0.125, 0.5,
        ],
    );
}

#[test]
fn maps_are_halved_to_means_and_doubled_maps_keep_them() {
    let values: Vec<f32> = noise(5, 2 * 4 * 6 * 3).iter().map(|x| *x as f32).collect();
    let map = Tensor::<4>::from_data(TensorData::new(values.clone(), [2, 4, 6, 3]), &Device::flex());
    let half = ops::downsample_twice(map);
    assert_eq!(half.dims(), [2, 2, 3, 3]);
    let half = ops::values(half);
    let at = |y: usize, x: usize| values[((4 + y) * 6 + x) * 3 + 1];
    let expected = (at(2, 4) + at(2, 5) + at(3, 4) + at(3, 5)) / 4.0;
    assert!((half[((2 + 1) * 3 + 2) * 3 + 1] - expected).abs() < 1e-6);

    let twice = |t: &[Tensor<1>]| flat(ops::upsample_twice(map_of(&t[0])));
    let once = |t: &[Tensor<1>]| flat(ops::downsample_twice(map_of(&t[0])));
    finite_differences("upsample", &twice, &[noise(6, 48)]);
    finite_differences("downsample", &once, &[noise(6, 48)]);
}

fn map_of(values: &Tensor<1>) -> Tensor<4> {
    map(values, [2, 2, 4, 3])
}

#[test]
fn cost_volumes_agree() {
    for ([b, h, w, c], radius) in [
        ([1, 1, 1, 1], 1),
        ([2, 3, 4, 5], 0),
        ([2, 3, 4, 5], 1),
        ([1, 2, 2, 3], 3),
        ([3, 8, 9, 40], 2),
        ([2, 6, 5, 16], 4),
    ] {
        let shape = [b, h, w, c];
        let fused = move |t: &[Tensor<1>]| flat(ops::cost_volume(map(&t[0], shape), map(&t[1], shape), radius));
        let plain = move |t: &[Tensor<1>]| flat(composed::cost_volume(map(&t[0], shape), map(&t[1], shape), radius));
        let inputs = [noise(3, b * h * w * c), noise(4, b * h * w * c)];
        agree(&format!("cost volume {shape:?} of {radius}"), &fused, &plain, &inputs);
        if h * w <= 12 {
            finite_differences(&format!("cost volume {shape:?} of {radius}"), &plain, &inputs);
        }
        let threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(&fused, &inputs, DType::F32))
        };
        assert_eq!(threads(1), threads(3));
    }
}

#[test]
fn a_cost_volume_is_as_written() {
    let of = |values: [f32; 6]| Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 1, 3, 2]), &Device::flex());
    // Places with features (1, 2), (3, 4), (5, 6) and (1, 0), (0, 1), (2, 2).
    let costs = ops::cost_volume(of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), of([1.0, 0.0, 0.0, 1.0, 2.0, 2.0]), 1);
    assert_eq!(costs.dims(), [1, 1, 3, 9]);
    let row = |left: f32, own: f32, right: f32| [0.0, 0.0, 0.0, left, own, right, 0.0, 0.0, 0.0];
    let expected = [row(0.0, 0.5, 1.0), row(1.5, 2.0, 7.0), row(3.0, 11.0, 0.0)].concat();
    assert_eq!(ops::values(costs), expected);
}
