//! Latent losses and SIGReg.

use burn::tensor::{DType, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, device, finite_differences, noise, scaled};

#[test]
fn latent_losses_agree() {
    for (rows, width) in [(1, 1), (3, 17), (50, 192), (2, 20_000)] {
        let n = rows * width;
        let shape = move |t: &Tensor<1>| t.clone().reshape([rows, width]);
        for scale in [1.0, 1e4] {
            let inputs = [scaled(noise(30, n), scale), scaled(noise(31, n), scale)];
            agree(
                "l1",
                &|t| ops::l1(t[0].clone(), t[1].clone()),
                &|t| composed::l1(t[0].clone(), t[1].clone()),
                &inputs,
            );
            agree(
                "l2",
                &|t| ops::l2(t[0].clone(), t[1].clone()),
                &|t| composed::l2(t[0].clone(), t[1].clone()),
                &inputs,
            );
            if width > 1 {
                let fused = move |t: &[Tensor<1>]| ops::cosine_distance(shape(&t[0]), shape(&t[1]));
                let composed = move |t: &[Tensor<1>]| composed::cosine_distance(shape(&t[0]), shape(&t[1]));
                agree(&format!("cosine {rows}x{width}"), &fused, &composed, &inputs);
            }
        }
    }
    let cosine =
        |t: &[Tensor<1>]| composed::cosine_distance(t[0].clone().reshape([3, 4]), t[1].clone().reshape([3, 4]));
    finite_differences("cosine", &cosine, &[noise(32, 12), noise(33, 12)]);
    finite_differences("l2", &|t| composed::l2(t[0].clone(), t[1].clone()), &[noise(32, 12), noise(33, 12)]);
    let device = device();
    let zeros = Tensor::<2>::zeros([2, 5], &device);
    assert_eq!(ops::values(ops::cosine_distance(zeros.clone(), zeros)), [1.0]);
}

#[test]
fn smooth_l1_agrees() {
    for n in [1, 17, 50_000] {
        for scale in [0.5, 3.0, 1e4] {
            let inputs = [scaled(noise(16, n), scale), scaled(noise(17, n), scale)];
            agree(
                "smooth l1",
                &|t| ops::smooth_l1(t[0].clone(), t[1].clone(), 1.0),
                &|t| composed::smooth_l1(t[0].clone(), t[1].clone(), 1.0),
                &inputs,
            );
        }
    }
    finite_differences(
        "smooth l1",
        &|t| composed::smooth_l1(t[0].clone(), t[1].clone(), 1.0),
        &[scaled(noise(16, 30), 3.0), noise(17, 30)],
    );
}

#[test]
fn sigreg_agrees_and_meets_its_golden_values() {
    for (g, n, m) in [(1, 2, 1), (2, 64, 5), (3, 100, 40), (1, 256, 256)] {
        let f = move |t: &[Tensor<1>]| ops::sigreg_statistic(t[0].clone().reshape([g, n, m]));
        let c = move |t: &[Tensor<1>]| composed::sigreg_statistic(t[0].clone().reshape([g, n, m]));
        for scale in [0.01, 1.5, 20.0] {
            agree(&format!("sigreg {g}x{n}x{m}"), &f, &c, &[scaled(noise(18, g * n * m), scale)]);
        }
    }
    finite_differences(
        "sigreg",
        &|t| composed::sigreg_statistic(t[0].clone().reshape([2, 5, 3])),
        &[scaled(noise(18, 30), 2.0)],
    );

    let device = device();
    let collapsed = ops::sigreg_statistic(Tensor::<3>::zeros([2, 300, 8], &device)).into_scalar::<f32>();
    assert!((f64::from(collapsed) / 300.0 - 0.4020).abs() < 1e-4, "collapsed: {collapsed}");
    // N(0, 1) by Box and Muller.
    let uniform = noise(19, 2 * 512 * 256);
    let normal: Vec<f64> = uniform
        .chunks(2)
        .map(|u| (-2.0 * (u[0].abs() + 1e-7).min(1.0).ln()).sqrt() * (u[1] * std::f64::consts::PI).cos())
        .collect();
    let normal = Tensor::<1>::from_data(TensorData::new(normal, [512 * 256]), (&device, DType::F32));
    let value = ops::sigreg_statistic(normal.reshape([1, 512, 256])).into_scalar::<f32>();
    assert!((value - 1.052).abs() < 0.1, "N(0, 1): {value}");
}

#[test]
fn bcs_agrees() {
    for (g, n, m) in [(1, 2, 1), (2, 64, 5), (3, 100, 40)] {
        let f = move |t: &[Tensor<1>]| ops::bcs_statistic(t[0].clone().reshape([g, n, m]));
        let c = move |t: &[Tensor<1>]| composed::bcs_statistic(t[0].clone().reshape([g, n, m]));
        for scale in [0.01, 1.5, 20.0] {
            agree(&format!("bcs {g}x{n}x{m}"), &f, &c, &[scaled(noise(18, g * n * m), scale)]);
        }
    }
}
