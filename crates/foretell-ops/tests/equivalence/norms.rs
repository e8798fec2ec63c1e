//! Layer and batch norm.

use burn::tensor::Tensor;
use foretell_ops::{self as ops, composed};

use crate::{agree, assert_near, device, finite_differences, noise, scaled};

#[test]
fn norms_agree() {
    for (n, d) in [(1, 3), (3, 5), (50, 192), (300, 67), (2, 40_000)] {
        let f = move |t: &[Tensor<1>]| {
            ops::layer_norm(t[0].clone().reshape([n, d]), t[1].clone(), t[2].clone(), 1e-6).reshape([n * d])
        };
        let c = move |t: &[Tensor<1>]| {
            composed::layer_norm(t[0].clone().reshape([n, d]), t[1].clone(), t[2].clone(), 1e-6).reshape([n * d])
        };
        for scale in [1.0, 1e4] {
            agree(&format!("layer norm {n}x{d}"), &f, &c, &[scaled(noise(6, n * d), scale), noise(7, d), noise(8, d)]);
        }
    }
    let c = |t: &[Tensor<1>]| {
        composed::layer_norm(t[0].clone().reshape([3, 8]), t[1].clone(), t[2].clone(), 1e-6).reshape([24])
    };
    finite_differences("layer norm", &c, &[noise(6, 24), noise(7, 8), noise(8, 8)]);

    for (n, d) in [(4, 1), (9, 5), (700, 64), (5000, 7)] {
        let f = move |t: &[Tensor<1>]| {
            ops::batch_norm(t[0].clone().reshape([n, d]), t[1].clone(), t[2].clone(), 1e-5).output.reshape([n * d])
        };
        let c = move |t: &[Tensor<1>]| {
            composed::batch_norm(t[0].clone().reshape([n, d]), t[1].clone(), t[2].clone(), 1e-5).reshape([n * d])
        };
        for scale in [1.0, 1e4] {
            agree(
                &format!("batch norm {n}x{d}"),
                &f,
                &c,
                &[scaled(noise(9, n * d), scale), noise(10, d), noise(11, d)],
            );
        }
        let f = move |t: &[Tensor<1>]| {
            let y = ops::batch_norm_relu(t[0].clone().reshape([n, d]), t[1].clone(), t[2].clone(), 1e-5);
            y.output.reshape([n * d])
        };
        let c = move |t: &[Tensor<1>]| composed::relu(c(t));
        let inputs = [noise(9, n * d), noise(10, d), noise(11, d)];
        agree(&format!("batch norm {n}x{d}, rectified"), &f, &c, &inputs);
    }
    let c = |t: &[Tensor<1>]| {
        composed::batch_norm(t[0].clone().reshape([6, 4]), t[1].clone(), t[2].clone(), 1e-5).reshape([24])
    };
    finite_differences("batch norm", &c, &[noise(9, 24), noise(10, 4), noise(11, 4)]);
}

#[test]
fn batch_statistics_are_mean_and_unbiased_variance() {
    let x = Tensor::<2>::from_data([[1.0_f32, 1000.0], [3.0, 1002.0], [8.0, 1007.0]], &device());
    let ones = Tensor::<1>::from_data([1.0_f32, 1.0], &device());
    let stats = ops::batch_norm(x, ones.clone(), ones, 1e-5);
    let read = |t: Tensor<1>| t.into_data_as::<f64>().try_into_vec::<f64>().unwrap();
    assert_near("mean", &read(stats.mean), &[4.0, 1003.0], 1e-6);
    assert_near("variance", &read(stats.variance), &[13.0, 13.0], 1e-6);
}
