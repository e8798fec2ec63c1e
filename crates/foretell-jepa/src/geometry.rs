//! Where Graph-JEPA compares a predicted patch with its target (Skenderi et al., 2025, arXiv 2309.16014, section 3.4).

use burn::tensor::Tensor;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

/// The space of targets, and its distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Geometry {
    /// `ψ(α) = (cosh α, sinh α)`, α the mean of a latent's features, on the unit hyperbola; smooth L1 (β = 1) of two predicted numbers.
    Hyperbola {
        /// α is cut at ± this. The paper leaves it open; its cosh then overflows (losses of `inf ± nan` in the published logs): beyond
        /// 88 in f32, and long before that one patch outweighs all others, as cosh 10 is 11,013.
        #[serde(default = "limit")]
        limit: f64,
    },
    /// The latents themselves, mean squared error.
    Euclidean,
    /// The latents as points of the Poincaré ball, the mean of their hyperbolic distance.
    Poincare,
}

fn limit() -> f64 {
    10.0
}

impl Default for Geometry {
    fn default() -> Self {
        Self::Hyperbola { limit: limit() }
    }
}

/// Added to the square under the root of the hyperbolic distance, whose slope is otherwise without bound where two points meet.
const NEAR: f64 = 1e-12;

impl Geometry {
    /// Numbers that are predicted of a latent of D features.
    pub fn width(self, latent: usize) -> usize {
        match self {
            Self::Hyperbola { .. } => 2,
            Self::Euclidean | Self::Poincare => latent,
        }
    }

    /// What is predicted of latents: `[R, D]` → `[R, 2]` on the hyperbola, otherwise as they are.
    pub fn target(self, latents: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Hyperbola { limit } => {
                let alpha = latents.mean_dim(1).clamp(-limit, limit);
                Tensor::cat(vec![alpha.clone().cosh(), alpha.sinh()], 1)
            }
            Self::Euclidean | Self::Poincare => latents,
        }
    }

    /// Mean distance of predictions `[R, W]` from [`target`](Self::target)s `[R, W]`, `[1]`.
    pub fn loss(self, predictions: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
        match self {
            Self::Hyperbola { .. } => ops::smooth_l1(predictions, targets, 1.0),
            Self::Euclidean => ops::l2(predictions, targets),
            Self::Poincare => hyperbolic_distance(predictions, targets).mean(),
        }
    }
}

/// `acosh(1 + 2 ‖u − v‖² / ((1 − ‖u‖²)(1 − ‖v‖²)))` of `u = x / (1 + √(1 + ‖x‖²))`, and v of y alike: points x, y of space, lifted to the
/// hyperboloid and projected into the ball, where they stay whatever their length. `[R, D]` twice → `[R, 1]`.
///
/// With `s = √(1 + ‖x‖²)`, `1 − ‖u‖² = 2 / (1 + s)` without a difference of nearly equal numbers, and `acosh(1 + 2q) = 2 asinh √q`.
fn hyperbolic_distance(x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    let into_ball = |x: Tensor<2>| {
        let above = (x.clone().square().sum_dim(1) + 1.0).sqrt() + 1.0;
        (x / above.clone(), above)
    };
    let ((u, above_u), (v, above_v)) = (into_ball(x), into_ball(y));
    let q = (u - v).square().sum_dim(1) * above_u * above_v / 4.0 + NEAR;
    // asinh √q = ln(√q + √(1 + q))
    (q.clone().sqrt() + (q + 1.0).sqrt()).log() * 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{DType, Device, TensorData};

    const ALL: [Geometry; 3] = [Geometry::Hyperbola { limit: 10.0 }, Geometry::Euclidean, Geometry::Poincare];

    fn tensor(rows: &[[f64; 2]]) -> Tensor<2> {
        let values: Vec<f64> = rows.iter().flatten().copied().collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), 2]), (&Device::flex(), DType::F64))
    }

    fn values<const D: usize>(t: Tensor<D>) -> Vec<f64> {
        t.into_data_as::<f64>().try_into_vec().unwrap()
    }

    #[track_caller]
    fn near(got: &[f64], expected: &[f64]) {
        let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max);
        assert!(got.len() == expected.len() && off < 1e-6, "{got:?}, not {expected:?}");
    }

    #[test]
    fn targets_lie_on_the_unit_hyperbola_at_the_mean_feature() {
        let target = Geometry::default().target(tensor(&[[0.0, 0.0], [0.5, 1.5], [-3.0, 1.0]]));
        near(&values(target), &[1.0, 0.0, 1.543_080_634_815, 1.175_201_193_644, 1.543_080_634_815, -1.175_201_193_644]);
        // Smooth L1 of (0, 0) from (cosh 1, sinh 1): (1.0430806 + 0.6752012) / 2.
        let loss = Geometry::default().loss(tensor(&[[0.0, 0.0]]), Geometry::default().target(tensor(&[[1.0, 1.0]])));
        near(&values(loss), &[0.859_140_914_229]);
    }

    #[test]
    fn the_poincare_distance_is_that_of_the_hyperboloid() {
        let poincare = |x: [f64; 2], y: [f64; 2]| values(Geometry::Poincare.loss(tensor(&[x]), tensor(&[y])))[0];
        // From the origin, a point of length sinh d is d away; opposite points are as far as both together.
        near(&[poincare([0.0, 0.0], [2.0_f64.sinh(), 0.0])], &[2.0]);
        near(&[poincare([0.0, -1.5_f64.sinh()], [0.0, 2.0_f64.sinh()])], &[3.5]);
        // acosh(√(1 + |x|²) √(1 + |y|²) − x·y).
        let (x, y) = ([0.3, -1.2], [2.0, 0.7]);
        let lift = |p: [f64; 2]| (1.0 + p[0] * p[0] + p[1] * p[1]).sqrt();
        near(&[poincare(x, y)], &[(lift(x) * lift(y) - x[0] * y[0] - x[1] * y[1]).acosh()]);
        assert!(poincare([3.0, 4.0], [3.0, 4.0]) < 1e-5);
    }

    /// Gradients with respect to predictions.
    fn gradient(geometry: Geometry, x: &Tensor<2>, targets: &Tensor<2>) -> Tensor<2> {
        let x = x.clone().autodiff().require_grad();
        let loss = geometry.loss(x.clone(), geometry.target(targets.clone()));
        x.grad(&loss.backward()).expect("a gradient")
    }

    #[test]
    fn gradients_are_the_differences() {
        let rows = [[0.3, -0.8], [2.5, 0.1], [-1.0, 0.9]];
        let targets = tensor(&[[0.2, 0.9], [-1.3, 0.4], [0.6, 2.2]]);
        for geometry in ALL {
            let gradient = values(gradient(geometry, &tensor(&rows), &targets));
            let loss = |rows: &[[f64; 2]]| values(geometry.loss(tensor(rows), geometry.target(targets.clone())))[0];
            for i in 0..6 {
                let (mut up, mut down) = (rows, rows);
                up[i / 2][i % 2] += 1e-5;
                down[i / 2][i % 2] -= 1e-5;
                let slope = (loss(&up) - loss(&down)) / 2e-5;
                assert!((slope - gradient[i]).abs() < 1e-8, "{geometry:?} {i}: {slope} and {}", gradient[i]);
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        let huge = [[3e4, 2e4], [-5e4, -6e4], [0.0, 0.0]].map(|row| row.map(|x: f64| x as f32));
        let targets = Tensor::<2>::from_data(huge, &Device::flex());
        let x = Tensor::<2>::from_data([[1.0_f32, 1.0], [-5e4, -6e4], [0.0, 0.0]], &Device::flex());
        for geometry in ALL {
            let loss = geometry.loss(x.clone(), geometry.target(targets.clone())).into_scalar::<f32>();
            assert!(loss.is_finite(), "{geometry:?}: {loss}");
            assert!(ops::values(gradient(geometry, &x, &targets)).iter().all(|g| g.is_finite()), "{geometry:?}");
        }
    }
}
