//! The public functions against PyTorch: values and gradients from `bench/peers/export_parity.py`, computed there in f64
//! from inputs that are exact in f32.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use foretell_ops as ops;
use safetensors::SafeTensors;

/// The files lie with the crate whose networks they were made for.
struct Golden(Vec<u8>);

impl Golden {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../foretell-jepa/tests/parity").join(name);
        Self(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    fn values(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        (values, view.shape().to_vec())
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (values, shape) = self.values(name);
        let shape: [usize; D] = shape.try_into().unwrap_or_else(|shape| panic!("{name} is {shape:?}"));
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn leaf<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.tensor::<D>(name).autodiff().require_grad()
    }

    fn scalar(&self, name: &str) -> f32 {
        let (values, shape) = self.values(name);
        assert_eq!(shape, [1], "{name}");
        values[0]
    }

    /// Every element within 1e-5 of the stored tensor's largest value.
    #[track_caller]
    fn check<const D: usize>(&self, name: &str, got: Tensor<D>) {
        let (expected, shape) = self.values(name);
        assert_eq!(got.dims().to_vec(), shape, "{name}");
        near(name, &ops::values(got.inner()), &expected);
    }
}

#[track_caller]
fn near(name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    assert!(scale > 0.0, "{name} is all zero: it would show nothing");
    for (i, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-5 * scale, "{name}[{i}] is {a} where {b} was expected (largest value {scale})");
    }
}

/// The gradient of `Σ grad_y · y` with respect to each leaf.
macro_rules! gradients {
    ($golden:expr, $op:expr, $y:expr, $grad_y:expr, $($name:literal: $leaf:expr),+) => {{
        let gradients = ($y * $grad_y.autodiff()).sum().backward();
        $($golden.check(&format!("{}.grad_{}", $op, $name), $leaf.grad(&gradients).expect($name));)+
    }};
}

/// `[B, C, H, W]` → `[B, H, W, C]` and back.
fn last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}
fn first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

#[test]
fn layer_norm() {
    let g = Golden::open("ops.safetensors");
    let (x, weight, bias) =
        (g.leaf::<3>("layer_norm.x"), g.leaf::<1>("layer_norm.weight"), g.leaf::<1>("layer_norm.bias"));
    let y = ops::layer_norm(x.clone(), weight.clone(), bias.clone(), 1e-6);
    g.check("layer_norm.y", y.clone());
    gradients!(g, "layer_norm", y, g.tensor::<3>("layer_norm.grad_y"), "x": x, "weight": weight, "bias": bias);
}

#[test]
fn gelu() {
    let g = Golden::open("ops.safetensors");
    let x = g.leaf::<2>("gelu.x");
    let y = ops::gelu(x.clone());
    g.check("gelu.y", y.clone());
    gradients!(g, "gelu", y, g.tensor::<2>("gelu.grad_y"), "x": x);
}

#[test]
fn attention() {
    let g = Golden::open("ops.safetensors");
    let part = |name: &str| g.leaf::<4>(&format!("attention.{name}"));
    let (q, k, v) = (part("q"), part("k"), part("v"));
    let [b, heads, n, head] = q.dims();
    let rows = |t: Tensor<4>| t.swap_dims(1, 2).reshape([b, n, heads * head]);
    let packed = Tensor::cat(vec![rows(q.clone()), rows(k.clone()), rows(v.clone())], 2);
    let y = ops::self_attention(packed, heads).reshape([b, n, heads, head]).swap_dims(1, 2);
    g.check("attention.y", y.clone());
    gradients!(g, "attention", y, g.tensor::<4>("attention.grad_y"), "q": q, "k": k, "v": v);
}

#[test]
fn convolution() {
    let g = Golden::open("ops.safetensors");
    for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (4, 4, 0)] {
        let op = format!("conv2d_k{kernel}s{stride}p{padding}");
        let (x, weight, bias) =
            (g.leaf::<4>(&format!("{op}.x")), g.leaf::<4>(&format!("{op}.weight")), g.leaf::<1>(&format!("{op}.bias")));
        assert_eq!(weight.dims()[2..], [kernel, kernel]);
        let y = ops::conv2d(last(x.clone()), weight.clone(), stride, padding) + bias.clone().reshape([1, 1, 1, 5]);
        let y = first(y);
        g.check(&format!("{op}.y"), y.clone());
        gradients!(g, op, y, g.tensor::<4>(&format!("{op}.grad_y")), "x": x, "weight": weight, "bias": bias);
    }
}

#[test]
fn batch_norm_and_its_running_statistics() {
    let g = Golden::open("ops.safetensors");
    let op = "batch_norm2d";
    let (x, weight, bias) =
        (g.leaf::<4>("batch_norm2d.x"), g.leaf::<1>("batch_norm2d.weight"), g.leaf::<1>("batch_norm2d.bias"));
    let batch = ops::batch_norm(last(x.clone()), weight.clone(), bias.clone(), 1e-5);
    let y = first(batch.output);
    g.check("batch_norm2d.y", y.clone());
    gradients!(g, op, y, g.tensor::<4>("batch_norm2d.grad_y"), "x": x, "weight": weight, "bias": bias);

    let mean = ops::lerp(g.tensor::<1>("batch_norm2d.running_mean_before"), batch.mean, 0.1);
    let variance = ops::lerp(g.tensor::<1>("batch_norm2d.running_var_before"), batch.variance, 0.1);
    g.check("batch_norm2d.running_mean_after", mean);
    g.check("batch_norm2d.running_var_after", variance);
}

#[test]
fn smooth_l1() {
    let g = Golden::open("ops.safetensors");
    let prediction = g.leaf::<3>("loss.prediction");
    let loss = ops::smooth_l1(prediction.clone(), g.tensor::<3>("loss.target").autodiff(), 1.0);
    g.check("loss.smooth_l1.value", loss.clone());
    let gradients = loss.backward();
    g.check("loss.smooth_l1.grad_prediction", prediction.grad(&gradients).unwrap());
}

#[test]
fn adamw_over_three_steps() {
    let g = Golden::open("ops.safetensors");
    let device = Device::flex();
    let [steps, rows, cols] = g.tensor::<3>("adamw.grads").dims();
    assert_eq!(steps, 3);
    let of = |name: &str, i: usize| g.tensor::<3>(name).slice([i..i + 1, 0..rows, 0..cols]).reshape([rows, cols]);
    let zeros = || Tensor::<2>::zeros([rows, cols], &device);
    let mut state = ops::Stepped { parameter: g.tensor("adamw.parameter"), first: zeros(), second: zeros() };
    for i in 0..steps {
        let hyper = ops::AdamW {
            lr: 1e-2,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.1,
            step: i as u64 + 1,
            gradient_scale: 1.0,
        };
        state = ops::adamw(state, of("adamw.grads", i), &hyper);
        near(&format!("adamw.after[{i}]"), &ops::values(state.parameter.clone()), &ops::values(of("adamw.after", i)));
    }
    g.check("adamw.first_moment", state.first);
    g.check("adamw.second_moment", state.second);
}

#[test]
fn sigreg() {
    let g = Golden::open("sigreg.safetensors");
    let z = g.leaf::<2>("sigreg.z");
    let [n, width] = z.dims();
    let directions = g.tensor::<2>("sigreg.directions");
    let [_, slices] = directions.dims();
    let project = |z: Tensor<2>| z.matmul(directions.clone().autodiff()).reshape([1, n, slices]);
    let value = ops::sigreg_statistic(project(z.clone()));
    g.check("sigreg.value", value.clone());
    let gradients = value.backward();
    g.check("sigreg.grad_z", z.grad(&gradients).unwrap());
    // Each direction is judged apart, and the value is their mean.
    for slice in 0..slices {
        let one = ops::sigreg_statistic(project(z.clone()).slice([0..1, 0..n, slice..slice + 1]));
        let expected = g.values("sigreg.slices").0[slice];
        near("sigreg.slices", &ops::values(one.inner()), &[expected]);
    }
    let zero = ops::sigreg_statistic(project(Tensor::<2>::zeros([n, width], &Device::flex()).autodiff()));
    g.check("sigreg.value_at_zero", zero);
    assert!((g.scalar("sigreg.value_at_zero") / n as f32 - 0.402).abs() < 1e-4);
}
