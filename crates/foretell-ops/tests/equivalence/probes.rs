//! What an attentive probe is made of: pooling by queries, and the classifier's loss.

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

use crate::{agree, finite_differences, noise, run, scaled, some_sets};

#[test]
fn pooling_by_queries_agrees() {
    let mut all: Vec<(Vec<usize>, usize)> = some_sets().into_iter().map(|(lengths, d, ..)| (lengths, d)).collect();
    all.extend([(vec![49; 70], 192), (vec![8; 33], 16), (vec![0, 0, 5], 4)]);
    for (lengths, d) in all {
        for asked in [1, 3, 60] {
            let sets = ops::Sets::of_lengths(&lengths);
            let (rows, out) = (sets.rows(), sets.count() * asked * d);
            let s = sets.clone();
            let f = move |t: &[Tensor<1>]| {
                let (x, q) = (t[0].clone().reshape([rows, d]), t[1].clone().reshape([asked, d]));
                ops::query_pool(x, q, &s).reshape([out])
            };
            let c = move |t: &[Tensor<1>]| {
                let (x, q) = (t[0].clone().reshape([rows, d]), t[1].clone().reshape([asked, d]));
                composed::query_pool(x, q, &sets).reshape([out])
            };
            // Scores up to about 30: their own rounding is multiplied by what they are.
            for by in [1.0, 6.0 / (d as f64 / 12.0).sqrt().max(1.0)] {
                let inputs = [noise(51, rows * d), scaled(noise(52, asked * d), by)];
                agree(&format!("{asked} queries x{by:.1} of {} sets x{d}", lengths.len()), &f, &c, &inputs);
            }
            let inputs = [noise(51, rows * d), noise(52, asked * d)];
            let in_pool = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| run(&f, &inputs, DType::F32))
            };
            assert_eq!(in_pool(1), in_pool(5));
        }
    }
    for lengths in [vec![3, 1, 4], vec![4, 4], vec![2, 0, 3]] {
        let sets = ops::Sets::of_lengths(&lengths);
        let (rows, out) = (sets.rows(), sets.count() * 6);
        let c = move |t: &[Tensor<1>]| {
            let (x, q) = (t[0].clone().reshape([rows, 3]), t[1].clone().reshape([2, 3]));
            composed::query_pool(x, q, &sets).reshape([out])
        };
        finite_differences("pooling by queries", &c, &[noise(53, rows * 3), noise(54, 6)]);
    }
}

#[test]
fn a_query_finds_the_row_that_it_looks_for() {
    let rows = Tensor::<2>::from_data([[1.0_f32, 0.0], [0.0, 1.0], [4.0, 6.0]], &Device::flex());
    let queries = Tensor::<2>::from_data([[0.0_f32, 0.0], [200.0, -200.0]], &Device::flex());
    let found = ops::values(ops::query_pool(rows, queries, &ops::Sets::of_lengths(&[2, 0, 1])));
    let expected = [0.5, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 6.0, 4.0, 6.0];
    assert!(found.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-30), "{found:?}");
}

#[test]
fn cross_entropy_is_the_formula_and_its_slope_the_gradient() {
    let (b, c) = (7, 4);
    let targets: Vec<u32> = (0..b as u32).map(|i| i * i % 4).collect();
    let t = targets.clone();
    let loss = move |x: &[Tensor<1>]| ops::cross_entropy(x[0].clone().reshape([b, c]), &t);
    let logits = scaled(noise(61, b * c), 3.0);
    let (found, _) = run(&loss, std::slice::from_ref(&logits), DType::F64);
    let row = |i: usize| &logits[i * c..(i + 1) * c];
    let of = |i: usize| row(i).iter().map(|x| x.exp()).sum::<f64>().ln() - row(i)[targets[i] as usize];
    assert!((found[0] - (0..b).map(of).sum::<f64>() / b as f64).abs() < 1e-12);
    finite_differences("cross entropy", &loss, &[logits]);
    let far = Tensor::<2>::from_data(TensorData::new(vec![1e4_f32, -1e4], [1, 2]), &Device::flex());
    assert_eq!(ops::values(ops::cross_entropy(far, &[1])), [2e4]);
}
