//! The statistic of SIGReg (LeJEPA, arXiv 2511.08544): how far one-dimensional projections are from N(0, 1), by the
//! Epps–Pulley test on their empirical characteristic function.

use burn::Tensor;
use burn::backend::Dispatch;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::flex::{buffer, dims, is_fused, slice, tensor};
use crate::fused::Fused;
use crate::simd::{dispatch, sin_cos};

/// Knots of the quadrature, at multiples of a step from 0.
const KNOTS: usize = 17;

/// Trapezoid weights times the window φ(t) = exp(−t²/2), and φ itself.
#[derive(Clone, Debug)]
pub(crate) struct Knots {
    step: f64,
    weight: [f32; KNOTS],
    phi: [f32; KNOTS],
    /// Whether the statistic grows with the samples.
    by_samples: bool,
}

impl Knots {
    fn new(step: f64, by_samples: bool, weight_of: impl Fn(usize) -> f64) -> Self {
        let (mut weight, mut phi) = ([0.0; KNOTS], [0.0; KNOTS]);
        for j in 0..KNOTS {
            let t = j as f64 * step;
            phi[j] = (-t * t / 2.0).exp() as f32;
            weight[j] = (weight_of(j) * (-t * t / 2.0).exp()) as f32;
        }
        Self { step, weight, phi, by_samples }
    }

    /// LeJEPA's: t = 0, 3/16, .., 3. The integrand is even, so each weight but the first counts for −t too.
    fn lejepa() -> Self {
        let step = 3.0 / 16.0;
        Self::new(step, true, |j| if j == 0 || j == KNOTS - 1 { step } else { 2.0 * step })
    }

    /// EB-JEPA's: 10 knots on [−3, 3], ±1/3, ±1, .., ±3, which are the odd multiples of 1/3 up to 9/3.
    fn bcs() -> Self {
        let apart = 2.0 / 3.0;
        Self::new(1.0 / 3.0, false, |j| match j {
            9 => apart,
            1 | 3 | 5 | 7 => 2.0 * apart,
            _ => 0.0,
        })
    }

    /// What the mean over directions is multiplied by.
    fn factor(&self, samples: usize) -> f64 {
        if self.by_samples { samples as f64 } else { 1.0 }
    }
}

/// `mean over groups and slices of N Σ_j w_j φ_j [(mean_n cos t_j u − φ_j)² + (mean_n sin t_j u)²]` with 17 knots on
/// `[0, 3]`; ≈ 1.052 for u ~ N(0, 1) at any N, 0.402 N for u = 0.
///
/// # Shapes
/// - `projected`: `[V, N, M]`: V groups judged apart, N samples, M directions; f32 at least; output: `[1]`
pub fn sigreg_statistic(projected: Tensor<3>) -> Tensor<1> {
    statistic(projected, Knots::lejepa())
}

/// EB-JEPA's form of [`sigreg_statistic`], "BCS" (arXiv 2602.03604): no factor N, and 10 knots on `[−3, 3]`, so that its value is that of
/// the distribution whatever the batch; ≈ 1.050/N for u ~ N(0, 1), 0.400 for u = 0.
///
/// # Shapes
/// As in [`sigreg_statistic`].
pub fn bcs_statistic(projected: Tensor<3>) -> Tensor<1> {
    statistic(projected, Knots::bcs())
}

fn statistic(projected: Tensor<3>, knots: Knots) -> Tensor<1> {
    if is_fused(&projected) {
        return Tensor::from_dispatch(Dispatch::fused_sigreg(projected.into_dispatch(), knots));
    }
    composed(projected, &knots)
}

/// The composed body of [`sigreg_statistic`].
pub fn sigreg_statistic_composed(projected: Tensor<3>) -> Tensor<1> {
    composed(projected, &Knots::lejepa())
}

/// The composed body of [`bcs_statistic`].
pub fn bcs_statistic_composed(projected: Tensor<3>) -> Tensor<1> {
    composed(projected, &Knots::bcs())
}

fn composed(projected: Tensor<3>, knots: &Knots) -> Tensor<1> {
    let [_, n, _] = projected.dims();
    let Knots { step, weight, phi, .. } = knots;
    let mut total: Option<Tensor<3>> = None;
    for j in (0..KNOTS).filter(|j| weight[*j] > 0.0) {
        let angle = projected.clone() * (j as f64 * step);
        let cos = angle.clone().cos().mean_dim(1) - f64::from(phi[j]);
        let sin = angle.sin().mean_dim(1);
        let term = (cos.square() + sin.square()) * f64::from(weight[j]);
        total = Some(match total {
            Some(total) => total + term,
            None => term,
        });
    }
    total.expect("at least one knot").mean() * knots.factor(n)
}

/// Directions handled at a time: their accumulators stay in L1.
const LANES: usize = 16;

/// Mean cosine minus φ, and mean sine, for each knot, of `LANES` directions (`[KNOTS]` of each).
struct Means {
    cos: [[f32; LANES]; KNOTS],
    sin: [[f32; LANES]; KNOTS],
}

/// Calls `f(j, cos t_j u, sin t_j u)` for `LANES` neighbouring directions of one sample; angles grow by rotation.
#[inline(always)]
fn for_each_knot(u: &[f32; LANES], step: f32, mut f: impl FnMut(usize, &[f32; LANES], &[f32; LANES])) {
    let (mut c1, mut s1) = ([0.0; LANES], [0.0; LANES]);
    for i in 0..LANES {
        (s1[i], c1[i]) = sin_cos(u[i] * step);
    }
    let (mut c, mut s) = ([1.0; LANES], [0.0; LANES]);
    for j in 0..KNOTS {
        f(j, &c, &s);
        for i in 0..LANES {
            (c[i], s[i]) = (c[i].mul_add(c1[i], -s[i] * s1[i]), s[i].mul_add(c1[i], c[i] * s1[i]));
        }
    }
}

#[inline(always)]
fn load(row: &[f32], first: usize) -> [f32; LANES] {
    let mut u = [0.0; LANES];
    let row = &row[first..(first + LANES).min(row.len())];
    for (u, x) in u.iter_mut().zip(row) {
        *u = *x;
    }
    u
}

fn means(group: &[f32], directions: usize, first: usize, knots: &Knots) -> Means {
    let n = (group.len() / directions) as f32;
    let mut means = Means { cos: [[0.0; LANES]; KNOTS], sin: [[0.0; LANES]; KNOTS] };
    dispatch(
        #[inline(always)]
        || {
            for row in group.chunks_exact(directions) {
                for_each_knot(
                    &load(row, first),
                    knots.step as f32,
                    #[inline(always)]
                    |j, c, s| {
                        for i in 0..LANES {
                            means.cos[j][i] += c[i];
                            means.sin[j][i] += s[i];
                        }
                    },
                );
            }
        },
    );
    for j in 0..KNOTS {
        for i in 0..LANES {
            means.cos[j][i] = means.cos[j][i] / n - knots.phi[j];
            means.sin[j][i] /= n;
        }
    }
    means
}

pub(crate) fn forward(projected: &FlexTensor, knots: &Knots) -> FlexTensor {
    let shape = dims(projected);
    let (groups, n, m) = (shape[0], shape[1], shape[2]);
    let blocks: Vec<(usize, usize)> =
        (0..groups).flat_map(|g| (0..m).step_by(LANES).map(move |first| (g, first))).collect();
    let values = slice(projected);
    let parts: Vec<f64> = blocks
        .into_par_iter()
        .map(|(g, first)| {
            let means = means(&values[g * n * m..(g + 1) * n * m], m, first, knots);
            let mut sum = 0.0_f64;
            for i in 0..LANES.min(m - first) {
                for j in 0..KNOTS {
                    let (c, s) = (f64::from(means.cos[j][i]), f64::from(means.sin[j][i]));
                    sum += f64::from(knots.weight[j]) * (c * c + s * s);
                }
            }
            sum
        })
        .collect();
    let total: f64 = parts.iter().sum();
    tensor(vec![(total * knots.factor(n) / (groups * m) as f64) as f32], [1])
}

pub(crate) fn backward(projected: &FlexTensor, knots: &Knots, dy: &FlexTensor) -> FlexTensor {
    let shape = dims(projected);
    let (groups, n, m) = (shape[0], shape[1], shape[2]);
    let mut scale = slice(dy)[0] / (groups * m) as f32;
    if !knots.by_samples {
        scale /= n as f32;
    }
    let values = slice(projected);
    let mut du = buffer(values.len());
    du.par_chunks_mut((n * m).max(1)).zip(values.par_chunks((n * m).max(1))).for_each(|(du, group)| {
        for first in (0..m).step_by(LANES) {
            // d/du of N Σ w (C² + S²) = Σ 2 w t (S cos − C sin).
            let mut means = means(group, m, first, knots);
            for j in 0..KNOTS {
                let factor = 2.0 * knots.weight[j] * (j as f64 * knots.step) as f32 * scale;
                for i in 0..LANES {
                    means.cos[j][i] *= factor;
                    means.sin[j][i] *= factor;
                }
            }
            dispatch(
                #[inline(always)]
                || {
                    for (du, row) in du.chunks_exact_mut(m).zip(group.chunks_exact(m)) {
                        let mut g = [0.0_f32; LANES];
                        for_each_knot(
                            &load(row, first),
                            knots.step as f32,
                            #[inline(always)]
                            |j, c, s| {
                                for i in 0..LANES {
                                    g[i] += means.sin[j][i].mul_add(c[i], -means.cos[j][i] * s[i]);
                                }
                            },
                        );
                        let end = (first + LANES).min(m);
                        du[first..end].copy_from_slice(&g[..end - first]);
                    }
                },
            );
        }
    });
    tensor(du, shape)
}
