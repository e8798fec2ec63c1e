//! Fused bodies (f32) against composed bodies (f64), outputs and gradients, on random and extreme inputs; and composed
//! bodies against finite differences.
//!
//! With `FORETELL_TEST_DEVICE=webgpu` (or another device that the build has) what runs in f32 runs there; f64 stays on the
//! processor. `-- --nocapture` shows how far apart each pair was.

mod attention;
mod blocks;
mod flows;
mod graphs;
mod losses;
mod norms;
mod pieces;
mod probes;
mod recurrent;

use burn::tensor::{DType, Device, Tensor, TensorData};
use foretell_ops as ops;

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
/// tensor cores where that is faster: factors of 11 bits, an error of 5e-4 that attention over large scores multiplies. On
/// every device its own softmax subtracts nearly equal numbers where one probability is nearly one, which ours does not.
fn tolerance() -> f64 {
    match std::env::var("FORETELL_TEST_DEVICE").as_deref() {
        Ok("cuda") => 2e-2,
        Ok("cpu") | Err(_) => 1e-5,
        Ok(_) => 2e-5,
    }
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

/// Turns of any angles, each value of a pair with its own, for rows that share seven places.
fn some_turns(rows: usize, head: usize) -> ops::Turns {
    let angles = noise(91, 7 * head);
    let table = |f: fn(f64) -> f64| angles.iter().map(|angle| f(3.0 * angle) as f32).collect();
    ops::Turns::new(table(f64::cos), table(f64::sin), head, (0..rows).map(|row| (row * 5 % 7) as u32).collect())
}
