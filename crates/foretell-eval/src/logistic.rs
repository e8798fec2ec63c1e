//! Multinomial logistic regression: its loss, its gradient and its answers.
//!
//! `L(W, b) = (1/N) Σ_i −ln softmax(W x_i + b)[y_i] + (λ/2) ‖W‖²`; the bias is not penalised. Products in f32 on a fixed
//! partition of the rows, sums over its parts in f64 and in order: threads change no bit.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Parts of the rows whose gradients are kept apart; as many tasks at most.
const PARTS: usize = 24;

/// Features and labels of one regression.
#[derive(Clone, Copy)]
pub(crate) struct Logistic<'a> {
    /// `[N, D]`, row-major. D may be 0: then only the bias answers.
    pub(crate) features: &'a [f32],
    /// D.
    pub(crate) dim: usize,
    /// C.
    pub(crate) classes: usize,
    /// `[N]`, each below C.
    pub(crate) targets: &'a [u32],
    /// λ.
    pub(crate) strength: f64,
}

/// One part's share of the sums.
struct Partial {
    loss: f64,
    /// `[C, D]`, row-major.
    weights: Vec<f32>,
    bias: Vec<f64>,
}

impl Logistic<'_> {
    /// The loss at `parameters`: W `[C, D]` row-major, then b `[C]`. Writes its gradient, laid out alike.
    pub(crate) fn evaluate(&self, parameters: &[f64], gradient: &mut [f64]) -> f64 {
        let (dim, classes, rows) = (self.dim, self.classes, self.targets.len());
        let (weights, bias) = parameters.split_at(classes * dim);
        let narrow: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let per_part = rows.div_ceil(PARTS).next_multiple_of(64);
        let partials: Vec<Partial> = (0..rows.div_ceil(per_part))
            .into_par_iter()
            .map(|part| self.partial(part * per_part..rows.min((part + 1) * per_part), &narrow, bias))
            .collect();

        gradient.fill(0.0);
        let mut loss = 0.0;
        let (by_weights, by_bias) = gradient.split_at_mut(classes * dim);
        for partial in &partials {
            loss += partial.loss;
            for (sum, &value) in by_weights.iter_mut().zip(&partial.weights) {
                *sum += f64::from(value);
            }
            for (sum, &value) in by_bias.iter_mut().zip(&partial.bias) {
                *sum += value;
            }
        }
        let rows = rows as f64;
        let mut square = 0.0;
        for (by_weight, &weight) in by_weights.iter_mut().zip(weights) {
            *by_weight = *by_weight / rows + self.strength * weight;
            square += weight * weight;
        }
        for by_bias in by_bias {
            *by_bias /= rows;
        }
        loss / rows + 0.5 * self.strength * square
    }

    fn partial(&self, range: std::ops::Range<usize>, weights: &[f32], bias: &[f64]) -> Partial {
        let (dim, classes) = (self.dim, self.classes);
        let mut out = Partial { loss: 0.0, weights: vec![0.0; classes * dim], bias: vec![0.0; classes] };
        let block = block_rows(dim);
        let mut logits = vec![0.0; block * classes];
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + block);
            let count = end - start;
            let rows = &self.features[start * dim..end * dim];
            let logits = &mut logits[..count * classes];
            scores(rows, dim, weights, classes, logits);
            out.loss += residuals(logits, bias, &self.targets[start..end], &mut out.bias);
            // Σ x rᵀ: the rows as they lie are the columns of xᵀ.
            matmul(
                MatMut::from_column_major_slice_mut(&mut out.weights, dim, classes),
                Accum::Add,
                MatRef::from_column_major_slice(rows, dim, count),
                MatRef::from_column_major_slice(logits, count, classes),
                1.0,
                Par::Seq,
            );
            start = end;
        }
        out
    }
}

/// Rows of one product: half a mebibyte of features stays in the second-level cache between the forward and the
/// backward product.
fn block_rows(dim: usize) -> usize {
    ((1 << 17) / dim.max(1)).clamp(64, 512)
}

/// `logits` = `features` `[N, D]` · `weights`ᵀ (`[C, D]`), both row-major, one thread, no bias. `logits` lies class after
/// class, `[C, N]` row-major: so the product runs fastest.
fn scores(features: &[f32], dim: usize, weights: &[f32], classes: usize, logits: &mut [f32]) {
    let rows = logits.len() / classes;
    matmul(
        MatMut::from_column_major_slice_mut(logits, rows, classes),
        Accum::Replace,
        MatRef::from_row_major_slice(features, rows, dim),
        MatRef::from_column_major_slice(weights, dim, classes),
        1.0,
        Par::Seq,
    );
}

/// Turns `logits` (class after class, `[C, N]`) into `softmax(logits + b) − onehot(targets)`, adds its sum over the rows
/// to `by_bias` and returns the sum of `−ln softmax[target]`. The inner loops run over rows, so that they vectorise.
fn residuals(logits: &mut [f32], bias: &[f64], targets: &[u32], by_bias: &mut [f64]) -> f64 {
    let count = targets.len();
    let mut largest = vec![f64::NEG_INFINITY; count];
    for (logits, bias) in logits.chunks_exact(count).zip(bias) {
        for (largest, &logit) in largest.iter_mut().zip(logits) {
            let logit = f64::from(logit) + bias;
            *largest = if logit > *largest { logit } else { *largest };
        }
    }
    let mut loss = 0.0;
    for (row, (&target, largest)) in targets.iter().zip(&largest).enumerate() {
        let target = target as usize;
        loss -= f64::from(logits[target * count + row]) + bias[target] - largest;
    }
    let mut total = vec![0.0; count];
    for (logits, bias) in logits.chunks_exact_mut(count).zip(bias) {
        for ((logit, largest), total) in logits.iter_mut().zip(&largest).zip(&mut total) {
            let weight = exp_of_negative(f64::from(*logit) + bias - largest);
            *total += weight;
            *logit = weight as f32;
        }
    }
    for total in &mut total {
        loss += total.ln();
        *total = total.recip();
    }
    for (logits, by_bias) in logits.chunks_exact_mut(count).zip(by_bias.iter_mut()) {
        for (logit, share) in logits.iter_mut().zip(&total) {
            *logit = (f64::from(*logit) * share) as f32;
            *by_bias += f64::from(*logit);
        }
    }
    for (row, &target) in targets.iter().enumerate() {
        logits[target as usize * count + row] -= 1.0;
        by_bias[target as usize] -= 1.0;
    }
    loss
}

/// `exp(x)` for x ≤ 0, to 1e-11 relative; 1e-304 below −700. The library's function is called once for each class of each
/// row and would take longer than the matrix products; this one vectorises.
fn exp_of_negative(x: f64) -> f64 {
    /// Added to a small number, leaves its nearest integer in the lowest bits.
    const ROUND: f64 = 6755399441055744.0; // 1.5 · 2⁵²
    let x = if x > -700.0 { x } else { -700.0 };
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    // ln 2 in two parts: the first has zeros where the product with `power` needs room.
    let rest = (x - power * 0.693_147_180_369_123_8) - power * 1.908_214_929_270_587_7e-10;
    // Taylor's series to rest⁹/9! on |rest| ≤ ln 2 / 2.
    let mut series = 1.0 / 362_880.0;
    for factorial in [40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        series = series * rest + 1.0 / factorial;
    }
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1f64.to_bits()));
    series * scale
}

/// The class of each row of `features` `[N, D]`, the lowest of equals, by `parameters` laid out as in [`Logistic`].
pub(crate) fn classify(features: &[f32], dim: usize, rows: usize, parameters: &[f64], classes: usize) -> Vec<u32> {
    let (weights, bias) = parameters.split_at(classes * dim);
    let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
    let block = block_rows(dim);
    let blocks: Vec<Vec<u32>> = (0..rows.div_ceil(block))
        .into_par_iter()
        .map(|index| {
            let (start, end) = (index * block, rows.min((index + 1) * block));
            let count = end - start;
            let mut logits = vec![0.0; count * classes];
            scores(&features[start * dim..end * dim], dim, &weights, classes, &mut logits);
            let mut best = vec![(0, f64::NEG_INFINITY); count];
            for (class, (logits, bias)) in logits.chunks_exact(count).zip(bias).enumerate() {
                for (best, &logit) in best.iter_mut().zip(logits) {
                    let logit = f64::from(logit) + bias;
                    if logit > best.1 {
                        *best = (class as u32, logit);
                    }
                }
            }
            best.into_iter().map(|best| best.0).collect()
        })
        .collect();
    blocks.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::tests::normal;

    fn problem(rows: usize, dim: usize, classes: usize) -> (Vec<f32>, Vec<u32>, Vec<f64>) {
        let targets = (0..rows).map(|row| (row * row % classes) as u32).collect();
        let parameters = normal(1, classes * (dim + 1), 2).values.iter().map(|&v| 0.3 * f64::from(v)).collect();
        (normal(rows, dim, 1).values, targets, parameters)
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (features, targets, mut parameters) = problem(700, 5, 4);
        let logistic = Logistic { features: &features, dim: 5, classes: 4, targets: &targets, strength: 0.3 };
        let mut gradient = vec![0.0; parameters.len()];
        let mut unused = gradient.clone();
        logistic.evaluate(&parameters, &mut gradient);
        for index in 0..parameters.len() {
            let at = parameters[index];
            // f32 products leave 1e-7 of noise in the loss; the third derivative leaves h²/6.
            let step = 1e-2;
            parameters[index] = at + step;
            let above = logistic.evaluate(&parameters, &mut unused);
            parameters[index] = at - step;
            let below = logistic.evaluate(&parameters, &mut unused);
            parameters[index] = at;
            let slope = (above - below) / (2.0 * step);
            assert!((slope - gradient[index]).abs() < 3e-5, "{index}: {slope} against {}", gradient[index]);
        }
    }

    #[test]
    fn the_loss_is_the_formula() {
        let (features, targets, parameters) = problem(600, 3, 5);
        let logistic = Logistic { features: &features, dim: 3, classes: 5, targets: &targets, strength: 0.7 };
        let found = logistic.evaluate(&parameters, &mut vec![0.0; parameters.len()]);
        let mut expected = 0.0;
        for (row, &target) in features.chunks_exact(3).zip(&targets) {
            let logits: Vec<f64> = (0..5)
                .map(|class| {
                    parameters[15 + class] + (0..3).map(|d| parameters[class * 3 + d] * f64::from(row[d])).sum::<f64>()
                })
                .collect();
            expected += logits.iter().map(|logit| logit.exp()).sum::<f64>().ln() - logits[target as usize];
        }
        expected = expected / 600.0 + 0.35 * parameters[..15].iter().map(|w| w * w).sum::<f64>();
        assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
    }

    #[test]
    fn logits_beyond_exp_stay_finite() {
        let logistic = Logistic { features: &[1.0, -1.0], dim: 1, classes: 2, targets: &[1, 1], strength: 0.0 };
        let mut gradient = vec![0.0; 4];
        let loss = logistic.evaluate(&[2000.0, -2000.0, 0.0, 0.0], &mut gradient);
        assert!((loss - 2000.0).abs() < 1e-6 && gradient.iter().all(|entry| entry.is_finite()));
    }

    #[test]
    fn threads_change_no_bit() {
        let (features, targets, parameters) = problem(5003, 37, 7);
        let logistic = Logistic { features: &features, dim: 37, classes: 7, targets: &targets, strength: 1e-3 };
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut gradient = vec![0.0; parameters.len()];
                let loss = logistic.evaluate(&parameters, &mut gradient);
                gradient.push(loss);
                gradient.iter().map(|entry| entry.to_bits()).collect::<Vec<_>>()
            })
        };
        let one = in_pool(1);
        assert_eq!(one, in_pool(2));
        assert_eq!(one, in_pool(5));
    }

    #[test]
    fn the_exponential_is_the_exponential() {
        for step in 0..=70_000 {
            let x = -f64::from(step) / 100.0;
            assert!((exp_of_negative(x) / x.exp() - 1.0).abs() < 2e-11, "{x}");
        }
        assert!(exp_of_negative(-1e9) < 1e-303 && exp_of_negative(f64::NEG_INFINITY) < 1e-303);
    }

    #[test]
    fn without_dimensions_the_bias_answers() {
        let targets = [0, 1, 1];
        let logistic = Logistic { features: &[], dim: 0, classes: 2, targets: &targets, strength: 1.0 };
        let mut gradient = vec![0.0; 2];
        let loss = logistic.evaluate(&[0.0, 0.0], &mut gradient);
        assert!((loss - 2f64.ln()).abs() < 1e-12);
        assert!((gradient[0] - (0.5 - 1.0 / 3.0)).abs() < 1e-6 && (gradient[0] + gradient[1]).abs() < 1e-6);
        assert_eq!(classify(&[], 0, 2, &[0.1, 0.2], 2), [1, 1]);
    }
}
