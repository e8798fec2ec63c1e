//! Criterion benches of the operations: each fused body beside its composed one, forward and with its backward pass, at
//! the shapes of an I-JEPA step on 32 × 32 images (128 samples, 64 tokens of 192).
//!
//! `cargo bench --workspace --bench ops`, or with `-- block` for one of them. (With `-p` cargo would compile the engine anew.)

use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use foretell_ops::{self as ops, composed};

const SETS: usize = 128;
const TOKENS: usize = 64;
const ROWS: usize = SETS * TOKENS;
const WIDTH: usize = 192;
const HEADS: usize = 3;

/// Numbers in (−½, ½), the same in every run.
fn noise<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// `f` on an input of this shape, forward alone and with the gradient of its sum.
fn pair<const D: usize, const E: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    body: &str,
    shape: [usize; D],
    f: impl Fn(Tensor<D>, &Device) -> Tensor<E>,
) {
    let plain = Device::flex();
    let input = noise(shape, &plain);
    group.bench_function(format!("{body}/forward"), |b| b.iter(|| black_box(f(input.clone(), &plain))));
    let tracked = Device::flex().autodiff();
    group.bench_function(format!("{body}/backward"), |b| {
        b.iter(|| black_box(f(input.clone().autodiff().require_grad(), &tracked).sum().backward()));
    });
}

/// A parameter, tracked on a tracked device.
fn weight<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let values = noise(shape, &Device::flex());
    if device.is_autodiff() { values.autodiff().require_grad() } else { values }
}

fn block_weights(device: &Device) -> ops::BlockWeights {
    let (w, d) = (|o, i| weight([o, i], device), |n| weight([n], device));
    ops::BlockWeights {
        norm1: (d(WIDTH), d(WIDTH)),
        qkv: (w(3 * WIDTH, WIDTH), d(3 * WIDTH)),
        proj: (w(WIDTH, WIDTH), d(WIDTH)),
        norm2: (d(WIDTH), d(WIDTH)),
        fc1: (w(4 * WIDTH, WIDTH), d(4 * WIDTH)),
        fc2: (w(WIDTH, 4 * WIDTH), d(WIDTH)),
        packed: None,
    }
}

fn all(c: &mut Criterion) {
    let (rows, sets) = ([ROWS, WIDTH], ops::Sets::uniform(SETS, TOKENS));
    macro_rules! both {
        ($name:literal, $shape:expr, |$module:ident, $x:ident, $device:ident| $body:expr) => {{
            let mut group = c.benchmark_group($name);
            group.sample_size(10);
            {
                use ops as $module;
                pair(&mut group, "fused", $shape, |$x, $device| $body);
            }
            {
                use composed as $module;
                pair(&mut group, "composed", $shape, |$x, $device| $body);
            }
            group.finish();
        }};
    }
    both!("linear", rows, |m, x, d| m::linear(x, weight([WIDTH, WIDTH], d), weight([WIDTH], d)));
    both!("gelu", rows, |m, x, _d| m::gelu(x));
    both!("layer_norm", rows, |m, x, d| m::layer_norm(x, weight([WIDTH], d), weight([WIDTH], d), 1e-6));
    both!("softmax", [ROWS, TOKENS], |m, x, _d| m::softmax(x));
    both!("attention", [ROWS, 3 * WIDTH], |m, x, _d| m::attention(x, &sets, HEADS));
    both!("block", rows, |m, x, d| m::transformer_block(x, &sets, block_weights(d), HEADS, 1e-6));
    both!("conv2d", [32, 16, 16, 64], |m, x, d| m::conv2d(x, weight([64, 64, 3, 3], d), 1, 1));
    let indices: Vec<u32> = (0..ROWS as u32).rev().step_by(4).collect();
    both!("gather", rows, |m, x, _d| m::gather(x, &indices));
    both!("gru_gates", rows, |m, x, d| m::gru_gates(weight([ROWS, 3 * WIDTH], d), weight([ROWS, 3 * WIDTH], d), x));
    let target = noise(rows, &Device::flex());
    both!("smooth_l1", rows, |m, x, _d| m::smooth_l1(x, target.clone(), 1.0));
    both!("cosine_distance", rows, |m, x, _d| m::cosine_distance(x, target.clone()));
    both!("sigreg", [1, 1024, 256], |m, x, _d| m::sigreg_statistic(x));
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    all(&mut criterion);
    criterion.final_summary();
}
