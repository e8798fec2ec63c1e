//! Fused bodies (f32) against composed bodies (f64), outputs and gradients, on random and extreme inputs; and composed
//! bodies against finite differences.
//!
//! With `FORETELL_TEST_DEVICE=webgpu` (or another device that the build has) what runs in f32 runs there; f64 stays on the
//! processor. `-- --nocapture` shows how far apart each pair was.

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops::{self as ops, composed};

/// A function of flat leaves, so that one harness serves every rank.
type Function = dyn Fn(&[Tensor<1>]) -> Tensor<1>;

/// Numbers in (−1, 1) from a small generator of our own: tests need no dependency for this.
fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // Through f32, so that both precisions see the same numbers.
            f64::from(((state >> 40) as f64 / (1_u64 << 23) as f64 - 1.0) as f32)
        })
        .collect()
}

/// Where a precision runs.
fn place(dtype: DType) -> Device {
    if dtype == DType::F32 { device() } else { Device::flex() }
}

/// Where f32 runs.
fn device() -> Device {
    let name = std::env::var("FORETELL_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let place = ops::Place::named(&name).unwrap_or_else(|| panic!("FORETELL_TEST_DEVICE={name} is no device"));
    place.open().unwrap_or_else(|e| panic!("{e}"))
}

/// How far apart outputs and gradients may be, as a share of the largest. On CUDA the engine multiplies f32 matrices in TF32 on
/// tensor cores where that is faster: factors of 11 bits, an error of 5e-4 that attention over large scores multiplies.
fn tolerance() -> f64 {
    if std::env::var("FORETELL_TEST_DEVICE").is_ok_and(|name| name == "cuda") { 2e-2 } else { 1e-5 }
}

/// Output, and the gradient of `Σ r·output` for a fixed random r with respect to each input.
fn run(f: &Function, inputs: &[Vec<f64>], dtype: DType) -> (Vec<f64>, Vec<Vec<f64>>) {
    let device = place(dtype);
    let leaf = |values: &Vec<f64>| {
        let plain = Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), (&device, dtype));
        plain.autodiff().require_grad()
    };
    let leaves: Vec<Tensor<1>> = inputs.iter().map(leaf).collect();
    let output = f(&leaves);
    let r = noise(77, output.dims()[0]);
    let r = Tensor::<1>::from_data(TensorData::new(r.clone(), [r.len()]), (&device, dtype)).autodiff();
    let read = |t: Tensor<1>| t.into_data_as::<f64>().try_into_vec::<f64>().unwrap();
    let grads = (output.clone() * r).sum().backward();
    let gradients = leaves.iter().map(|leaf| read(leaf.grad(&grads).expect("a gradient for each leaf"))).collect();
    (read(output), gradients)
}

fn assert_near(what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-30_f64, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("{what}: {:.1e}", worst / scale);
    assert!(got.iter().all(|x| x.is_finite()), "{what}: not finite");
    assert!(worst <= tolerance * scale, "{what}: off by {worst:e} where the largest value is {scale:e}");
}

fn agree(name: &str, fused: &Function, composed: &Function, inputs: &[Vec<f64>]) {
    let (y, dy) = run(fused, inputs, DType::F32);
    let (y64, dy64) = run(composed, inputs, DType::F64);
    assert_near(&format!("{name}: output"), &y, &y64, tolerance());
    for (i, (g, g64)) in dy.iter().zip(&dy64).enumerate() {
        assert_near(&format!("{name}: gradient {i}"), g, g64, tolerance());
    }
}

fn finite_differences(name: &str, f: &Function, inputs: &[Vec<f64>]) {
    let (_, gradients) = run(f, inputs, DType::F64);
    let objective = |inputs: &[Vec<f64>]| {
        let (y, _) = run(f, inputs, DType::F64);
        y.iter().zip(noise(77, y.len())).map(|(y, r)| y * r).sum::<f64>()
    };
    for (i, gradient) in gradients.iter().enumerate() {
        for j in (0..gradient.len()).step_by(gradient.len().div_ceil(7)) {
            let h = 1e-5;
            let (mut up, mut down) = (inputs.to_vec(), inputs.to_vec());
            up[i][j] += h;
            down[i][j] -= h;
            let slope = (objective(&up) - objective(&down)) / (2.0 * h);
            assert!(
                (slope - gradient[j]).abs() < 1e-6 * (1.0 + slope.abs()),
                "{name}: input {i} element {j}: {slope} and {}",
                gradient[j]
            );
        }
    }
}

fn scaled(values: Vec<f64>, by: f64) -> Vec<f64> {
    values.into_iter().map(|x| f64::from((x * by) as f32)).collect()
}

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

#[test]
fn attention_agrees() {
    for (b, n, heads, head) in [(1, 1, 1, 1), (2, 7, 3, 5), (3, 64, 3, 16), (2, 33, 2, 24)] {
        let shape = [b, n, 3 * heads * head];
        let len = b * n * heads * head;
        let f = move |t: &[Tensor<1>]| ops::self_attention(t[0].clone().reshape(shape), heads).reshape([len]);
        let c = move |t: &[Tensor<1>]| composed::self_attention(t[0].clone().reshape(shape), heads).reshape([len]);
        for scale in [1.0, 5.0] {
            agree(&format!("attention {b}x{n}x{heads}x{head}"), &f, &c, &[scaled(noise(12, 3 * len), scale)]);
        }
        let (y, _) = run(&f, &[scaled(noise(12, 3 * len), 1e4)], DType::F32);
        assert!(y.iter().all(|x| x.is_finite()), "attention on huge scores");
    }
    let c = |t: &[Tensor<1>]| composed::self_attention(t[0].clone().reshape([2, 4, 12]), 2).reshape([32]);
    finite_differences("attention", &c, &[noise(13, 96)]);
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
fn recurrent_units_agree() {
    for (batch, width) in [(1, 1), (3, 5), (40, 64), (700, 33)] {
        let f = move |t: &[Tensor<1>]| {
            let [i, h] = [0, 1].map(|k| t[k].clone().reshape([batch, 3 * width]));
            ops::gru_gates(i, h, t[2].clone().reshape([batch, width])).reshape([batch * width])
        };
        let c = move |t: &[Tensor<1>]| {
            let [i, h] = [0, 1].map(|k| t[k].clone().reshape([batch, 3 * width]));
            composed::gru_gates(i, h, t[2].clone().reshape([batch, width])).reshape([batch * width])
        };
        for scale in [0.01, 1.0, 6.0] {
            let inputs = [
                scaled(noise(34, 3 * batch * width), scale),
                scaled(noise(35, 3 * batch * width), scale),
                noise(36, batch * width),
            ];
            agree(&format!("gru {batch}x{width} scale {scale}"), &f, &c, &inputs);
        }
        let huge = [1e4, -1e4].map(|x| vec![x; 3 * batch * width]);
        let (y, _) = run(&f, &[huge[0].clone(), huge[0].clone(), noise(37, batch * width)], DType::F32);
        assert!(y.iter().all(|x| x.is_finite()));
        let (y, _) = run(&f, &[huge[1].clone(), huge[1].clone(), noise(37, batch * width)], DType::F32);
        assert!(y.iter().all(|x| x.is_finite()));
    }
    let c = |t: &[Tensor<1>]| {
        let [i, h] = [0, 1].map(|k| t[k].clone().reshape([2, 9]));
        composed::gru_gates(i, h, t[2].clone().reshape([2, 3])).reshape([6])
    };
    finite_differences("gru", &c, &[noise(34, 18), noise(35, 18), noise(36, 6)]);
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
fn adamw_and_lerp_follow_their_composed_bodies() {
    let tensor =
        |seed, dtype| Tensor::<1>::from_data(TensorData::new(noise(seed, 33_000), [33_000]), (&place(dtype), dtype));
    let read = |t: Tensor<1>| t.into_data_as::<f64>().try_into_vec::<f64>().unwrap();
    let mut states = [DType::F32, DType::F64].map(|dtype| {
        let zeros = || Tensor::zeros([33_000], (&place(dtype), dtype));
        let average = Some((tensor(19, dtype), 0.2));
        ops::Stepped { parameter: tensor(20, dtype), first: zeros(), second: zeros(), average }
    });
    for step in 1..=4 {
        let hyper =
            ops::AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.5 };
        for (state, dtype) in states.iter_mut().zip([DType::F32, DType::F64]) {
            *state = ops::adamw(state.clone(), tensor(21 + step, dtype), &hyper);
        }
    }
    let [fused, exact] = states.map(|state| {
        let (average, _) = state.average.expect("one goes in, one comes out");
        [state.parameter, state.first, state.second, average].map(read)
    });
    for (fused, exact) in fused.iter().zip(&exact) {
        assert_near("adamw and the average", fused, exact, 1e-5);
    }
    let fused = ops::lerp(tensor(30, DType::F32), tensor(31, DType::F32), 0.3);
    let exact = ops::lerp(tensor(30, DType::F64), tensor(31, DType::F64), 0.3);
    assert_near("lerp", &read(fused), &read(exact), 1e-6);
}

/// The weights of a block from flat leaves, in the order of [`ops::BlockWeights`].
fn block_weights(t: &[Tensor<1>], d: usize, h: usize) -> ops::BlockWeights {
    let matrix = |i: usize, o: usize, inputs: usize| t[i].clone().reshape([o, inputs]);
    ops::BlockWeights {
        norm1: (t[0].clone(), t[1].clone()),
        qkv: (matrix(2, 3 * d, d), t[3].clone()),
        proj: (matrix(4, d, d), t[5].clone()),
        norm2: (t[6].clone(), t[7].clone()),
        fc1: (matrix(8, h, d), t[9].clone()),
        fc2: (matrix(10, d, h), t[11].clone()),
        packed: None,
    }
}

/// Small weights for a block `d` wide, and its input of `rows` rows last.
fn block_inputs(rows: usize, d: usize, h: usize, scale: f64) -> Vec<Vec<f64>> {
    let lengths = [d, d, 3 * d * d, 3 * d, d * d, d, d, d, h * d, h, d * h, d];
    let mut inputs: Vec<Vec<f64>> =
        lengths.iter().enumerate().map(|(i, len)| scaled(noise(40 + i as u64, *len), 0.3)).collect();
    inputs.push(scaled(noise(60, rows * d), scale));
    inputs
}

/// Lengths of sets that lead to every way of sharing out rows: whole sets, chunks of rows, sets of one token, none.
fn some_sets() -> Vec<(Vec<usize>, usize, usize, usize)> {
    vec![
        (vec![1], 6, 10, 2),
        (vec![5, 1, 9, 2], 8, 24, 2),
        (vec![0, 3, 0, 4], 8, 16, 1),
        (vec![64; 40], 12, 20, 3),
        ((0..300).map(|i| 1 + i % 13).collect(), 20, 30, 5),
        (vec![300, 7, 150], 16, 33, 4),
        (vec![196; 9], 12, 48, 3),
    ]
}

/// These and rows so wide that a pass without gradients shares them out in another way.
fn some_and_wide_sets() -> Vec<(Vec<usize>, usize, usize, usize)> {
    let mut sets = some_sets();
    sets.push((vec![196; 5], 512, 64, 8));
    sets
}

#[test]
fn blocks_agree() {
    for (lengths, d, h, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        let rows = sets.rows();
        let (f_sets, c_sets) = (sets.clone(), sets.clone());
        let x = move |t: &[Tensor<1>]| t[12].clone().reshape([rows, d]);
        let f = move |t: &[Tensor<1>]| {
            ops::transformer_block(x(t), &f_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        let c = move |t: &[Tensor<1>]| {
            composed::transformer_block(x(t), &c_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        for scale in [1.0, 1e4] {
            let name = format!("block of {} sets, {rows} rows, {d} wide, scale {scale}", lengths.len());
            agree(&name, &f, &c, &block_inputs(rows, d, h, scale));
        }
    }
    let sets = ops::Sets::of_lengths(&[3, 1, 2]);
    let c = move |t: &[Tensor<1>]| {
        let x = t[12].clone().reshape([6, 4]);
        composed::transformer_block(x, &sets, block_weights(t, 4, 8), 2, 1e-6).reshape([24])
    };
    finite_differences("block", &c, &block_inputs(6, 4, 8, 1.0));
}

/// Attention within sets, of flat queries, keys and values.
fn attention_in(sets: &ops::Sets, d: usize, heads: usize) -> impl Fn(&[Tensor<1>]) -> Tensor<1> + use<> {
    let (sets, rows) = (sets.clone(), sets.rows());
    move |t| ops::attention(t[0].clone().reshape([rows, 3 * d]), &sets, heads).reshape([rows * d])
}

/// Both bodies of attention, up to scores that leave one key nearly alone.
fn attention_agrees_within(sets: &ops::Sets, d: usize, heads: usize) {
    let rows = sets.rows();
    let (f_sets, c_sets) = (sets.clone(), sets.clone());
    let f =
        move |t: &[Tensor<1>]| ops::attention(t[0].clone().reshape([rows, 3 * d]), &f_sets, heads).reshape([rows * d]);
    let c = move |t: &[Tensor<1>]| {
        composed::attention(t[0].clone().reshape([rows, 3 * d]), &c_sets, heads).reshape([rows * d])
    };
    for scale in [1.0, 8.0] {
        let kind = if sets.is_causal() { "causal attention" } else { "attention" };
        let name = format!("{kind} in {} sets, {rows} rows, scale {scale}", sets.count());
        agree(&name, &f, &c, &[scaled(noise(61, rows * 3 * d), scale)]);
    }
}

#[test]
fn attention_within_sets_agrees() {
    for (lengths, d, _, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        attention_agrees_within(&sets, d, heads);
    }
    // So long that a task of a small pool goes through several pieces of the queries.
    let (sets, d, heads) = (ops::Sets::of_lengths(&[1100, 3]), 64, 2);
    let f = attention_in(&sets, d, heads);
    let c = move |t: &[Tensor<1>]| {
        composed::attention(t[0].clone().reshape([1103, 3 * d]), &sets, heads).reshape([1103 * d])
    };
    agree("attention in a long set", &f, &c, &[noise(61, 1103 * 3 * d)]);
}

#[test]
fn causal_attention_agrees_and_later_rows_change_nothing_before_them() {
    for (lengths, d, _, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths).causal();
        let rows = sets.rows();
        attention_agrees_within(&sets, d, heads);
        let set = (0..sets.count()).max_by_key(|set| sets.range(*set).len()).unwrap();
        let range = sets.range(set);
        let middle = usize::midpoint(range.start, range.end);
        let before = noise(63, rows * 3 * d);
        let mut after = before.clone();
        after[3 * d * middle..3 * d * range.end].iter_mut().for_each(|x| *x = 1.0 - 2.0 * *x);
        let f = attention_in(&sets, d, heads);
        let (before, _) = run(&f, &[before], DType::F32);
        let (after, _) = run(&f, &[after], DType::F32);
        assert_eq!(before[..d * middle], after[..d * middle], "{lengths:?}");
        assert_eq!(before[d * range.end..], after[d * range.end..], "{lengths:?}");
        assert!(range.len() < 2 || before != after, "{lengths:?}");
    }
    let sets = ops::Sets::uniform(2, 4).causal();
    let c = move |t: &[Tensor<1>]| composed::attention(t[0].clone().reshape([8, 12]), &sets, 2).reshape([32]);
    finite_differences("causal attention", &c, &[noise(64, 96)]);
}

#[test]
fn a_causal_block_agrees() {
    for (lengths, d, h, heads) in some_sets() {
        let sets = ops::Sets::of_lengths(&lengths).causal();
        let rows = sets.rows();
        let (f_sets, c_sets) = (sets.clone(), sets);
        let f = move |t: &[Tensor<1>]| {
            let x = t[12].clone().reshape([rows, d]);
            ops::transformer_block(x, &f_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        let c = move |t: &[Tensor<1>]| {
            let x = t[12].clone().reshape([rows, d]);
            composed::transformer_block(x, &c_sets, block_weights(t, d, h), heads, 1e-6).reshape([rows * d])
        };
        agree(&format!("a causal block, {lengths:?}"), &f, &c, &block_inputs(rows, d, h, 1.0));
    }
}

/// Turns of any angles, each value of a pair with its own, for rows that share seven places.
fn some_turns(rows: usize, head: usize) -> ops::Turns {
    let angles = noise(91, 7 * head);
    let table = |f: fn(f64) -> f64| angles.iter().map(|angle| f(3.0 * angle) as f32).collect();
    ops::Turns::new(table(f64::cos), table(f64::sin), head, (0..rows).map(|row| (row * 5 % 7) as u32).collect())
}

#[test]
fn turned_queries_and_keys_agree_and_values_stay() {
    for (rows, heads, head) in [(5, 1, 2), (40, 3, 8), (130, 2, 7), (2000, 2, 16)] {
        let (turns, packed) = (some_turns(rows, head), 3 * heads * head);
        let (f_turns, c_turns) = (turns.clone(), turns);
        let f =
            move |t: &[Tensor<1>]| ops::turn(t[0].clone().reshape([rows, packed]), &f_turns).reshape([rows * packed]);
        let c = move |t: &[Tensor<1>]| {
            composed::turn(t[0].clone().reshape([rows, packed]), &c_turns).reshape([rows * packed])
        };
        let input = noise(92, rows * packed);
        agree(&format!("turns of {heads} heads of {head}"), &f, &c, std::slice::from_ref(&input));
        let (turned, _) = run(&f, std::slice::from_ref(&input), DType::F32);
        for (before, after) in input.chunks(packed).zip(turned.chunks(packed)) {
            assert_eq!(before[packed / 3 * 2..], after[packed / 3 * 2..]);
            assert_ne!(before[..packed / 3], after[..packed / 3]);
        }
    }
    let turns = some_turns(4, 3);
    let c = move |t: &[Tensor<1>]| composed::turn(t[0].clone().reshape([4, 18]), &turns).reshape([72]);
    finite_differences("turns", &c, &[noise(93, 72)]);
}

#[test]
fn a_quarter_turn_swaps_a_pair() {
    let row = |values: [f32; 6]| Tensor::<1>::from_floats(values, &Device::flex()).reshape([1, 6]);
    let turns = ops::Turns::new(vec![0.0, 0.0], vec![1.0, 1.0], 2, vec![0]);
    let turned = ops::values(ops::turn(row([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), &turns));
    assert_eq!(turned, [-2.0, 1.0, -4.0, 3.0, 5.0, 6.0]);
}

#[test]
fn a_turned_block_agrees() {
    let shapes = some_sets().into_iter().chain([(vec![9, 4], 64, 128, 4), (vec![700], 64, 192, 4)]);
    for (lengths, d, h, heads) in shapes {
        for step in [0, 3] {
            let sets = ops::Sets::of_lengths(&lengths);
            let sets = if step > 0 { sets.causal_by(step) } else { sets };
            let rows = sets.rows();
            let turns = some_turns(rows, d / heads);
            let (f_sets, c_sets, f_turns) = (sets.clone(), sets, turns.clone());
            let f = move |t: &[Tensor<1>]| {
                let x = t[12].clone().reshape([rows, d]);
                let block = block_weights(t, d, h);
                ops::turned_block(x, &f_sets, Some(&f_turns), block, heads, 1e-6).reshape([rows * d])
            };
            let c = move |t: &[Tensor<1>]| {
                let x = t[12].clone().reshape([rows, d]);
                let block = block_weights(t, d, h);
                composed::turned_block(x, &c_sets, Some(&turns), block, heads, 1e-6).reshape([rows * d])
            };
            agree(&format!("a turned block, {lengths:?}, step {step}"), &f, &c, &block_inputs(rows, d, h, 1.0));
        }
    }
}

#[test]
fn a_turned_block_without_gradients_agrees() {
    let shapes = some_sets().into_iter().chain([(vec![9, 4], 64, 128, 4), (vec![700], 64, 192, 4)]);
    for (lengths, d, h, heads) in shapes {
        let sets = ops::Sets::of_lengths(&lengths);
        let turns = some_turns(sets.rows(), d / heads);
        let inputs = block_inputs(sets.rows(), d, h, 1.0);
        let y = |dtype, run: &dyn Fn(Tensor<2>, ops::BlockWeights) -> Tensor<2>| {
            let leaf =
                |v: &Vec<f64>| Tensor::<1>::from_data(TensorData::new(v.clone(), [v.len()]), (&place(dtype), dtype));
            let t: Vec<Tensor<1>> = inputs.iter().map(leaf).collect();
            let y = run(t[12].clone().reshape([sets.rows(), d]), block_weights(&t, d, h));
            y.into_data_as::<f64>().try_into_vec::<f64>().unwrap()
        };
        let fused = y(DType::F32, &|x, w| ops::turned_block(x, &sets, Some(&turns), w, heads, 1e-6));
        let exact = y(DType::F64, &|x, w| composed::turned_block(x, &sets, Some(&turns), w, heads, 1e-6));
        assert_near(&format!("a turned block forward, {lengths:?}"), &fused, &exact, tolerance());
    }
}

#[test]
fn steps_see_themselves_and_what_came_before() {
    for (lengths, d, heads) in [(vec![6, 6], 8, 2), (vec![7, 3, 300], 12, 3)] {
        let sets = ops::Sets::of_lengths(&lengths).causal_by(3);
        attention_agrees_within(&sets, d, heads);
        let rows = sets.rows();
        let before = noise(63, rows * 3 * d);
        let f = attention_in(&sets, d, heads);
        // The last row of the first set's first step, and the first row of its second.
        for (changed, first) in [(2, 0), (3, 3)] {
            let mut after = before.clone();
            after[3 * d * changed..3 * d * (changed + 1)].iter_mut().for_each(|x| *x = 1.0 - 2.0 * *x);
            let ((before, _), (after, _)) =
                (run(&f, std::slice::from_ref(&before), DType::F32), run(&f, &[after], DType::F32));
            assert_eq!(before[..d * first], after[..d * first], "{lengths:?}");
            for row in first..lengths[0] {
                assert_ne!(before[d * row..d * (row + 1)], after[d * row..d * (row + 1)], "{lengths:?}, row {row}");
            }
        }
    }
}

#[test]
fn cross_attention_is_attention_of_its_queries() {
    // With the tokens' own queries it is self-attention.
    let (b, n, d, heads) = (2, 5, 8, 2);
    let device = Device::flex();
    let tensor =
        |values: Vec<f64>| Tensor::<1>::from_data(TensorData::new(values, [b * n * 3 * d]), (&device, DType::F32));
    let qkv = tensor(noise(64, b * n * 3 * d)).reshape([b, n, 3 * d]);
    let expected = ops::values(ops::self_attention(qkv.clone(), heads));
    let (q, kv) = (qkv.clone().narrow(2, 0, d), qkv.narrow(2, d, 2 * d));
    let got = ops::values(ops::cross_attention(q, kv, heads));
    assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn a_block_without_gradients_gives_the_same_bits() {
    let device = Device::flex();
    for (lengths, d, h, heads) in some_and_wide_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        let leaf = |values: &Vec<f64>| {
            Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), (&device, DType::F32))
        };
        let plain: Vec<_> = block_inputs(sets.rows(), d, h, 1.0).iter().map(leaf).collect();
        let tracked: Vec<_> = plain.iter().map(|t| t.clone().autodiff().require_grad()).collect();
        let run = |t: &[Tensor<1>]| {
            let x = t[12].clone().reshape([sets.rows(), d]);
            ops::values(ops::transformer_block(x, &sets, block_weights(t, d, h), heads, 1e-6))
        };
        assert_eq!(run(&plain), run(&tracked), "{lengths:?}");
    }
}

#[test]
fn a_packed_block_agrees_and_notices_other_weights() {
    let device = Device::flex();
    for (lengths, d, h, heads) in some_and_wide_sets() {
        let sets = ops::Sets::of_lengths(&lengths);
        let inputs = block_inputs(sets.rows(), d, h, 1.0);
        let leaves = |dtype| -> Vec<Tensor<1>> {
            let leaf = |v: &Vec<f64>| Tensor::from_data(TensorData::new(v.clone(), [v.len()]), (&device, dtype));
            inputs.iter().map(leaf).collect()
        };
        let (t, exact) = (leaves(DType::F32), leaves(DType::F64));
        let weights = block_weights(&t, d, h);
        let packed = ops::PackedBlock::of(&weights);
        assert!(packed.is_some());
        let x = |t: &[Tensor<1>]| t[12].clone().reshape([sets.rows(), d]);
        let run = |weights| ops::values(ops::transformer_block(x(&t), &sets, weights, heads, 1e-6));
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let y = run(ops::BlockWeights { packed: packed.clone(), ..weights.clone() });
        let y64 = composed::transformer_block(x(&exact), &sets, block_weights(&exact, d, h), heads, 1e-6);
        assert_near("packed", &wide(y), &wide(ops::values(y64)), 1e-5);
        let other = ops::BlockWeights { fc1: (weights.fc1.0.clone() * 2.0, weights.fc1.1.clone()), ..weights };
        assert_eq!(run(ops::BlockWeights { packed, ..other.clone() }), run(other), "a layout of other weights");
    }
}

#[test]
fn the_thread_count_changes_no_bit() {
    let device = Device::flex();
    let (b, n, heads, width) = (4, 50, 4, 64);
    let weights: Vec<_> = block_inputs(0, width, 2 * width, 1.0)
        .iter()
        .take(12)
        .map(|values| {
            let plain = Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), (&device, DType::F32));
            plain.autodiff().require_grad()
        })
        .collect();
    // Whole sets, then chunks of rows with attention between them.
    let within = |h: &Tensor<3>| {
        let h = h.clone().reshape([b * n, width]);
        let block = |h, sets| ops::transformer_block(h, &sets, block_weights(&weights, width, 2 * width), heads, 1e-6);
        block(block(h, ops::Sets::uniform(20, 10)), ops::Sets::uniform(1, b * n)).reshape([b, n, width])
    };
    let work = || {
        let leaf = |seed, len| {
            Tensor::<1>::from_data(TensorData::new(noise(seed, len), [len]), (&device, DType::F32))
                .autodiff()
                .require_grad()
        };
        let (x, w, bias, gain) =
            (leaf(1, b * n * width), leaf(2, 3 * width * width), leaf(3, 3 * width), leaf(4, width));
        let h = ops::layer_norm(x.clone().reshape([b, n, width]), gain.clone(), gain.clone(), 1e-6);
        let h = ops::self_attention(ops::linear(h, w.clone().reshape([3 * width, width]), bias.clone()), heads);
        let h = within(&h);
        let h = ops::batch_norm(ops::gelu(h), gain.clone(), gain.clone(), 1e-5).output;
        let loss = ops::smooth_l1(h.clone(), x.clone().reshape([b, n, width]).detach(), 1.0) + ops::sigreg_statistic(h);
        let grads = loss.backward();
        let grads = [x.grad(&grads), w.grad(&grads), bias.grad(&grads), gain.grad(&grads)];
        // Four, two and one pieces of the queries a task in the pools below.
        let long = Tensor::from_data(TensorData::new(noise(5, 1100 * 3 * width), [1100, 3 * width]), &device);
        let long = ops::attention(long, &ops::Sets::uniform(1, 1100), heads);
        (grads.map(|g| ops::values(g.unwrap())), ops::values(long))
    };
    let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work);
    let one = with(1);
    assert_eq!(one, with(2));
    assert_eq!(one, with(5));
}

#[test]
fn a_rollout_is_the_steps_one_after_another() {
    for (samples, steps, inputs, mixed, width, normed, hidden) in [
        (1, 1, 1, 0, 16, true, None),
        (5, 3, 2, 0, 48, false, Some([33, 7])),
        (130, 9, 2, 0, 128, true, None),
        (67, 4, 7, 0, 20, true, None),
        (130, 5, 2, 96, 128, true, Some([64, 64])),
        (67, 4, 3, 21, 20, false, Some([16, 40])),
    ] {
        let flat = |seed: u64, len: usize| -> Vec<f32> { noise(seed, len).into_iter().map(|x| x as f32).collect() };
        let matrix = |seed: u64, rows: usize, cols: usize| {
            Tensor::<2>::from_data(TensorData::new(flat(seed, rows * cols), [rows, cols]), &Device::flex())
        };
        let vector =
            |seed: u64, len: usize| Tensor::<1>::from_data(TensorData::new(flat(seed, len), [len]), &Device::flex());
        let mut mixer = Vec::new();
        // Not so large that rounding grows from step to step.
        if mixed > 0 {
            mixer.push((matrix(10, mixed, inputs + width) * 0.1, vector(11, mixed)));
        }
        if mixed > 64 {
            mixer.push((matrix(12, mixed, mixed) * 0.1, vector(13, mixed)));
        }
        let input = (matrix(1, 3 * width, if mixed > 0 { mixed } else { inputs }), vector(2, 3 * width));
        let recurrent = (matrix(3, 3 * width, width), vector(4, 3 * width));
        let norm = normed.then(|| (vector(5, width), vector(6, width), 1e-5));
        let (state, goal, acted) = (flat(7, width), flat(8, width), flat(9, samples * steps * inputs));
        let perceptron = hidden.map(|[first, second]| {
            let lengths = [(first, width), (second, first), (1, second)];
            [0, 1, 2].map(|i| (matrix(20 + i as u64, lengths[i].0, lengths[i].1), vector(30 + i as u64, lengths[i].0)))
        });
        let (mix, keep) = (mixer.clone(), norm.clone());
        let rollout = ops::GruRollout::new(mix, input.clone(), recurrent.clone(), keep, perceptron.clone());
        let rollout = rollout.expect("on the processor");
        let got = rollout.distances(&state, &goal, &acted, steps);
        let towards = flat(40, hidden.map_or(0, |[first, _]| first));
        let told = rollout.perceived(&state, &towards, &acted, steps);
        assert_eq!(told.is_some(), hidden.is_some());

        // The same in f64, a step at a time, by the composed bodies.
        let wide = |t: Tensor<2>| Tensor::<2>::from_data(t.into_data(), (&Device::flex(), DType::F64));
        let wide1 = |t: Tensor<1>| Tensor::<1>::from_data(t.into_data(), (&Device::flex(), DType::F64));
        let rows = |values: Vec<f32>, width: usize| {
            let shape = [values.len() / width, width];
            wide(Tensor::from_data(TensorData::new(values, shape), &Device::flex()))
        };
        let map =
            |x: Tensor<2>, (w, b): &(Tensor<2>, Tensor<1>)| composed::linear(x, wide(w.clone()), wide1(b.clone()));
        let mut now = rows(state.repeat(samples), width);
        let mut expected = vec![0.0; samples * steps];
        let mut expected_told = expected.clone();
        for t in 0..steps {
            let at = |s: usize| &acted[(s * steps + t) * inputs..][..inputs];
            let mut x = rows((0..samples).flat_map(|s| at(s).iter().copied()).collect(), inputs);
            if !mixer.is_empty() {
                x = Tensor::cat(vec![x, now.clone()], 1);
            }
            for layer in &mixer {
                x = composed::relu(map(x, layer));
            }
            now = composed::gru_gates(map(x, &input), map(now.clone(), &recurrent), now);
            if let Some((weight, bias, eps)) = &norm {
                now = composed::layer_norm(now, wide1(weight.clone()), wide1(bias.clone()), *eps);
            }
            let far = (now.clone() - rows(goal.clone(), width)).square().mean_dim(1);
            let far: Vec<f64> = far.into_data_as::<f64>().try_into_vec().unwrap();
            far.into_iter().enumerate().for_each(|(s, d)| expected[s * steps + t] = d);
            if let Some([first, second, last]) = &perceptron {
                let of_both = map(now.clone(), first) + rows(towards.clone(), towards.len());
                let says = map(composed::relu(map(composed::relu(of_both), second)), last);
                let says: Vec<f64> = says.into_data_as::<f64>().try_into_vec().unwrap();
                says.into_iter().enumerate().for_each(|(s, d)| expected_told[s * steps + t] = d);
            }
        }
        if let Some(told) = &told {
            let told: Vec<f64> = told.iter().map(|x| f64::from(*x)).collect();
            assert_near(
                &format!("what {hidden:?} hidden numbers say of {samples} rollouts"),
                &told,
                &expected_told,
                2e-5,
            );
        }
        let widened: Vec<f64> = got.iter().map(|x| f64::from(*x)).collect();
        assert_near(&format!("{samples} rollouts of {steps} steps, {width} wide"), &widened, &expected, 2e-5);

        // Candidates are the same bits in any company; but a product of one row alone is summed in another order by `gemm`.
        let first = samples.saturating_sub(2);
        let last = &acted[first * steps * inputs..];
        assert_eq!(rollout.distances(&state, &goal, last, steps), got[first * steps..]);
    }
}
