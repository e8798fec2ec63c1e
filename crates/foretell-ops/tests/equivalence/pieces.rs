//! Linear maps, activations, softmax, gathers, convolutions and the optimiser.

use burn::tensor::{DType, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, assert_near, finite_differences, noise, place, scaled};

#[test]
fn linear_agrees() {
    for (n, i, o) in [(1, 1, 1), (7, 5, 3), (64, 192, 40), (130, 33, 17)] {
        let f = move |t: &[Tensor<1>]| {
            ops::linear(t[0].clone().reshape([n, i]), t[1].clone().reshape([o, i]), t[2].clone()).reshape([n * o])
        };
        let c = move |t: &[Tensor<1>]| {
            composed::linear(t[0].clone().reshape([n, i]), t[1].clone().reshape([o, i]), t[2].clone()).reshape([n * o])
        };
        for scale in [1.0, 1e4] {
            let inputs = [scaled(noise(1, n * i), scale), noise(2, o * i), noise(3, o)];
            agree(&format!("linear {n}x{i}x{o}"), &f, &c, &inputs);
        }
        finite_differences("linear", &c, &[noise(1, n * i), noise(2, o * i), noise(3, o)]);
    }
}

#[test]
fn activations_agree() {
    for n in [1, 15, 1000, 40_001] {
        for scale in [1.0, 8.0, 1e4] {
            let x = [scaled(noise(4, n), scale)];
            agree("gelu", &|t| ops::gelu(t[0].clone()), &|t| composed::gelu(t[0].clone()), &x);
            agree("relu", &|t| ops::relu(t[0].clone()), &|t| composed::relu(t[0].clone()), &x);
        }
    }
    finite_differences("gelu", &|t| composed::gelu(t[0].clone()), &[scaled(noise(5, 40), 3.0)]);
}

#[test]
fn softmax_agrees() {
    for (rows, n) in [(1, 1), (3, 5), (40, 196), (2, 40_000), (17, 33)] {
        for scale in [1.0, 1e4] {
            let x = [scaled(noise(6, rows * n), scale)];
            let f = move |t: &[Tensor<1>]| ops::softmax(t[0].clone().reshape([rows, n])).reshape([rows * n]);
            let c = move |t: &[Tensor<1>]| composed::softmax(t[0].clone().reshape([rows, n])).reshape([rows * n]);
            agree(&format!("softmax {rows}x{n}, ±{scale}"), &f, &c, &x);
        }
    }
    let c = |t: &[Tensor<1>]| composed::softmax(t[0].clone().reshape([2, 3, 4])).reshape([24]);
    finite_differences("softmax", &c, &[scaled(noise(7, 24), 3.0)]);
}

#[test]
fn gathering_agrees() {
    let several: Vec<u32> = (0..900).map(|i| i * 7919 % 300).collect();
    for (n, width, indices) in [(1, 1, vec![0]), (5, 3, vec![4, 0, 4, 4]), (300, 192, several), (7, 40_000, vec![6, 2])]
    {
        let len = indices.len() * width;
        let own = indices.clone();
        let f = move |t: &[Tensor<1>]| ops::gather(t[0].clone().reshape([n, width]), &own).reshape([len]);
        let c = move |t: &[Tensor<1>]| composed::gather(t[0].clone().reshape([n, width]), &indices).reshape([len]);
        for scale in [1.0, 1e4] {
            agree(&format!("gather {n}x{width}"), &f, &c, &[scaled(noise(8, n * width), scale)]);
        }
        finite_differences("gather", &c, &[noise(8, n * width)]);
    }
}

#[test]
fn convolution_agrees() {
    for (b, h, w, c, o, k, stride, padding) in [
        (1, 1, 1, 1, 1, 1, 1, 0),
        (2, 5, 7, 3, 4, 3, 1, 1),
        (3, 8, 8, 2, 5, 3, 2, 1),
        (2, 8, 8, 3, 6, 4, 4, 0),
        (5, 6, 6, 16, 8, 1, 1, 0),
        (1, 2, 2, 1, 1, 3, 1, 1),
        (40, 16, 16, 8, 8, 3, 1, 1),
        (2, 9, 9, 2, 3, 1, 2, 0),
        // Patches that are read where they lie.
        (3, 9, 10, 17, 20, 3, 1, 1),
        (2, 11, 16, 24, 50, 3, 2, 1),
        (33, 8, 8, 24, 49, 3, 1, 1),
        (2, 15, 16, 48, 16, 1, 2, 0),
        (1, 6, 9, 16, 3, 3, 1, 2),
        (2, 6, 8, 16, 4, 3, 1, 3),
    ] {
        let out = |n: usize| (n + 2 * padding - k) / stride + 1;
        let len = b * out(h) * out(w) * o;
        let f = move |t: &[Tensor<1>]| {
            ops::conv2d(t[0].clone().reshape([b, h, w, c]), t[1].clone().reshape([o, c, k, k]), stride, padding)
                .reshape([len])
        };
        let reference = move |t: &[Tensor<1>]| {
            composed::conv2d(t[0].clone().reshape([b, h, w, c]), t[1].clone().reshape([o, c, k, k]), stride, padding)
                .reshape([len])
        };
        agree(
            &format!("conv {h}x{w} k{k} s{stride} p{padding}"),
            &f,
            &reference,
            &[noise(14, b * h * w * c), noise(15, o * c * k * k)],
        );
    }
    let c = |t: &[Tensor<1>]| {
        composed::conv2d(t[0].clone().reshape([2, 5, 5, 2]), t[1].clone().reshape([3, 2, 3, 3]), 2, 1).reshape([54])
    };
    finite_differences("convolution", &c, &[noise(14, 100), noise(15, 54)]);
}

#[test]
fn adamw_and_lerp_follow_their_composed_bodies() {
    let tensor =
        |seed, dtype| Tensor::<1>::from_data(TensorData::new(noise(seed, 33_000), [33_000]), (&place(dtype), dtype));
    let read = |t: Tensor<1>| t.into_data_as::<f64>().try_into_vec::<f64>().unwrap();
    let mut states = [DType::F32, DType::F64].map(|dtype| {
        let zeros = || Tensor::zeros([33_000], (&place(dtype), dtype));
        ops::Stepped { parameter: tensor(20, dtype), first: zeros(), second: zeros() }
    });
    for step in 1..=4 {
        let hyper =
            ops::AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.5 };
        for (state, dtype) in states.iter_mut().zip([DType::F32, DType::F64]) {
            *state = ops::adamw(state.clone(), tensor(21 + step, dtype), &hyper);
        }
    }
    let [fused, exact] = states.map(|state| [state.parameter, state.first, state.second].map(read));
    for (fused, exact) in fused.iter().zip(&exact) {
        assert_near("adamw", fused, exact, 1e-5);
    }
    let fused = ops::lerp(tensor(30, DType::F32), tensor(31, DType::F32), 0.3);
    let exact = ops::lerp(tensor(30, DType::F64), tensor(31, DType::F64), 0.3);
    assert_near("lerp", &read(fused), &read(exact), 1e-6);
}
