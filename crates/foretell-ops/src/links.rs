//! The loss of links that are read from pairs of latents.

use burn::Tensor;
use burn::tensor::{TensorData, activation::sigmoid};

/// Below this a probability's logarithm is that of this.
const LEAST: f64 = 1e-12;

/// Cross entropy of links, `−Σ w (a ln p + (1 − a) ln(1 − p))` with `p_uv = ½ (σ(l_uv) + σ(l_vu))`: of a symmetric `l` that is `σ(l)`, of
/// products of two moments' latents the mean of either way round (ST-JEMA, Choi et al., arXiv 2403.06432). Composed of ordinary
/// tensor calls.
///
/// # Shapes
/// - `logits`: l, `[G, N, N]`; `targets`: a, 0 or 1, and `weights`: w, `[G · N · N]`; output: `[1]`
///
/// # Panics
/// If targets or weights are not as many as logits, or logits are not square.
pub fn link_cross_entropy(logits: Tensor<3>, targets: &[f32], weights: &[f32]) -> Tensor<1> {
    let shape = logits.dims();
    assert_eq!(shape[1], shape[2], "links are between the same nodes");
    assert_eq!(
        (targets.len(), weights.len()),
        (shape.iter().product(), shape.iter().product()),
        "links differ in number"
    );
    let place = (&logits.device().inner(), logits.dtype());
    let tracked = logits.device().is_autodiff();
    let constant = |values: Vec<f32>| {
        let tensor = Tensor::<3>::from_data(TensorData::new(values, shape), place);
        if tracked { tensor.autodiff() } else { tensor }
    };
    let (is, is_not) = targets.iter().zip(weights).map(|(a, w)| (-a * w, (a - 1.0) * w)).unzip();
    let mean = |l: Tensor<3>| {
        let p = sigmoid(l);
        ((p.clone() + p.swap_dims(1, 2)) * 0.5).clamp_min(LEAST).log()
    };
    // 1 − σ(l) is σ(−l), which loses no digits.
    (mean(logits.clone()) * constant(is) + mean(-logits) * constant(is_not)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn links_cost_what_the_formula_says_and_nothing_overflows() {
        let l = [0.5_f32, 2.0, -1.0, 0.25];
        let logits =
            |scale: f32| Tensor::<1>::from_floats(l.map(|l| l * scale).as_slice(), &Device::flex()).reshape([1, 2, 2]);
        let (targets, weights) = ([1.0, 0.0, 1.0, 0.0], [0.1, 0.2, 0.3, 0.4]);
        let sigma = |l: f64| 1.0 / (1.0 + (-l).exp());
        let p =
            [sigma(0.5), f64::midpoint(sigma(2.0), sigma(-1.0)), f64::midpoint(sigma(2.0), sigma(-1.0)), sigma(0.25)];
        let expected: f64 = -(0.1 * p[0].ln() + 0.2 * (1.0 - p[1]).ln() + 0.3 * p[2].ln() + 0.4 * (1.0 - p[3]).ln());
        let got = link_cross_entropy(logits(1.0), &targets, &weights).into_scalar::<f32>();
        assert!((f64::from(got) - expected).abs() < 1e-6, "{got} {expected}");
        assert!(link_cross_entropy(logits(1e4), &targets, &weights).into_scalar::<f32>().is_finite());
    }
}
