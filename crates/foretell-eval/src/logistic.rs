//! Multinomial logistic regression: its loss, its gradient and its answers.
//!
//! `L(W, b) = (1/N) Σ_i −ln softmax(W x_i + b)[y_i] + (λ/2) ‖W‖²`; the bias is not penalised. Products in f32 on a fixed
//! partition of the rows, sums over its parts in f64 and in order: threads change no bit. Rows are read and standardised by
//! blocks, so that nothing as long as the data is held.

use foretell_ops::{Rows, add_product, multiply_rows};
use rayon::prelude::*;

use crate::EvalError;
use crate::standard::{Inputs, block_rows, part_rows, stride};

/// Features and labels of one regression.
#[derive(Clone, Copy)]
pub(crate) struct Logistic<'a> {
    pub(crate) inputs: Inputs<'a>,
    /// The rows that it is of, `[N]`.
    pub(crate) rows: &'a [usize],
    /// `[N]`, each below C.
    pub(crate) targets: &'a [u32],
    /// C.
    pub(crate) classes: usize,
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

/// W as a right operand, `[D, C]` with rows of whole vectors.
struct Turned {
    values: Vec<f32>,
    dim: usize,
    classes: usize,
}

impl Turned {
    /// Of W `[C, D]`, row-major.
    fn of(weights: &[f64], dim: usize, classes: usize) -> Self {
        let apart = classes.next_multiple_of(16);
        let mut values = vec![0.0; dim * apart];
        for (class, weights) in weights.chunks_exact(dim.max(1)).enumerate() {
            for (values, weight) in values.chunks_exact_mut(apart).zip(weights) {
                values[class] = *weight as f32;
            }
        }
        Self { values, dim, classes }
    }

    /// `x Wᵀ` of standardised rows, class after class in `logits`, `[C, N]`; without the bias. `room` is written anew.
    fn logits(&self, x: &[f32], logits: &mut [f32], room: &mut [f32]) {
        let (classes, rows) = (self.classes, logits.len() / self.classes);
        let weights = Rows::apart(&self.values, self.dim, classes, classes.next_multiple_of(16));
        multiply_rows(room, Rows::apart(x, rows, self.dim, stride(self.dim)), weights);
        for (class, logits) in logits.chunks_exact_mut(rows).enumerate() {
            logits.iter_mut().zip(room.chunks_exact(classes)).for_each(|(logit, row)| *logit = row[class]);
        }
    }
}

impl Logistic<'_> {
    /// The loss at `parameters`: W `[C, D]` row-major, then b `[C]`. Writes its gradient, laid out alike.
    pub(crate) fn evaluate(&self, parameters: &[f64], gradient: &mut [f64]) -> Result<f64, EvalError> {
        let (dim, classes, rows) = (self.inputs.dim(), self.classes, self.rows.len());
        let (weights, bias) = parameters.split_at(classes * dim);
        let turned = Turned::of(weights, dim, classes);
        let per_part = part_rows(rows);
        let partials: Vec<Partial> = (0..rows.div_ceil(per_part))
            .into_par_iter()
            .map(|part| self.partial(part * per_part..rows.min((part + 1) * per_part), &turned, bias))
            .collect::<Result<_, _>>()?;

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
        Ok(loss / rows + 0.5 * self.strength * square)
    }

    fn partial(&self, range: std::ops::Range<usize>, turned: &Turned, bias: &[f64]) -> Result<Partial, EvalError> {
        let (dim, classes) = (self.inputs.dim(), self.classes);
        let mut out = Partial { loss: 0.0, weights: vec![0.0; classes * dim], bias: vec![0.0; classes] };
        let block = block_rows(dim);
        let mut x = vec![0.0; block * stride(dim)];
        let mut room = vec![0.0; 2 * block * classes];
        let (rows, targets) = (&self.rows[range.clone()], &self.targets[range]);
        for (rows, targets) in rows.chunks(block).zip(targets.chunks(block)) {
            let count = rows.len();
            self.inputs.read(rows, &mut x)?;
            let (logits, room) = room.split_at_mut(block * classes);
            let logits = &mut logits[..count * classes];
            turned.logits(&x, logits, &mut room[..count * classes]);
            out.loss += residuals(logits, bias, targets, &mut out.bias);
            // Σ r xᵀ.
            let x = Rows::apart(&x, count, dim, stride(dim));
            add_product(&mut out.weights, Rows::new(logits, classes, count), x);
        }
        Ok(out)
    }
}

/// Turns `logits` (class after class, `[C, N]`) into `softmax(logits + b) − onehot(targets)`, adds its sum over the rows
/// to `by_bias` and returns the sum of `−ln softmax[target]`. The inner loops run over rows, so that they vectorise.
fn residuals(logits: &mut [f32], bias: &[f64], targets: &[u32], by_bias: &mut [f64]) -> f64 {
    pulp::Arch::new().dispatch(Residuals { logits, bias, targets, by_bias })
}

/// [`residuals`] with the machine's widest vectors. A closure as long as this would be compiled for the oldest machine: what is
/// not inlined is.
struct Residuals<'a> {
    logits: &'a mut [f32],
    bias: &'a [f64],
    targets: &'a [u32],
    by_bias: &'a mut [f64],
}

impl pulp::WithSimd for Residuals<'_> {
    type Output = f64;

    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> f64 {
        let Self { logits, bias, targets, by_bias } = self;
        by_vectors(logits, bias, targets, by_bias)
    }
}

#[allow(clippy::inline_always)]
#[inline(always)]
fn by_vectors(logits: &mut [f32], bias: &[f64], targets: &[u32], by_bias: &mut [f64]) -> f64 {
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
#[allow(clippy::inline_always)]
#[inline(always)]
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

/// The class of each of these rows, the lowest of equals, by `parameters` laid out as in [`Logistic`].
pub(crate) fn classify(
    inputs: Inputs<'_>,
    rows: &[usize],
    parameters: &[f64],
    classes: usize,
) -> Result<Vec<u32>, EvalError> {
    let dim = inputs.dim();
    let (weights, bias) = parameters.split_at(classes * dim);
    let turned = Turned::of(weights, dim, classes);
    let blocks: Vec<Vec<u32>> = rows
        .par_chunks(block_rows(dim))
        .map(|rows| {
            let count = rows.len();
            let mut x = vec![0.0; count * stride(dim)];
            inputs.read(rows, &mut x)?;
            let mut logits = vec![0.0; 2 * count * classes];
            let (logits, room) = logits.split_at_mut(count * classes);
            turned.logits(&x, logits, room);
            let mut best = vec![(0, f64::NEG_INFINITY); count];
            for (class, (logits, bias)) in logits.chunks_exact(count).zip(bias).enumerate() {
                for (best, &logit) in best.iter_mut().zip(logits.iter()) {
                    let logit = f64::from(logit) + bias;
                    if logit > best.1 {
                        *best = (class as u32, logit);
                    }
                }
            }
            Ok(best.into_iter().map(|best| best.0).collect())
        })
        .collect::<Result<_, EvalError>>()?;
    Ok(blocks.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;
    use crate::features::tests::normal;
    use crate::standard::Standardisation;

    /// All rows, and features as they are.
    fn plain(features: &Features) -> (Standardisation, Vec<usize>) {
        (Standardisation::none(features), (0..features.rows).collect())
    }

    fn problem(rows: usize, dim: usize, classes: usize) -> (Features, Vec<u32>, Vec<f64>) {
        let targets = (0..rows).map(|row| (row * row % classes) as u32).collect();
        let parameters = normal(1, classes * (dim + 1), 2).values.iter().map(|&v| 0.3 * f64::from(v)).collect();
        (normal(rows, dim, 1), targets, parameters)
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (features, targets, mut parameters) = problem(700, 5, 4);
        let (scale, rows) = plain(&features);
        let inputs = Inputs { features: &features, scale: &scale };
        let logistic = Logistic { inputs, rows: &rows, targets: &targets, classes: 4, strength: 0.3 };
        let mut gradient = vec![0.0; parameters.len()];
        let mut unused = gradient.clone();
        logistic.evaluate(&parameters, &mut gradient).unwrap();
        for index in 0..parameters.len() {
            let at = parameters[index];
            // f32 products leave 1e-7 of noise in the loss; the third derivative leaves h²/6.
            let step = 1e-2;
            parameters[index] = at + step;
            let above = logistic.evaluate(&parameters, &mut unused).unwrap();
            parameters[index] = at - step;
            let below = logistic.evaluate(&parameters, &mut unused).unwrap();
            parameters[index] = at;
            let slope = (above - below) / (2.0 * step);
            assert!((slope - gradient[index]).abs() < 3e-5, "{index}: {slope} against {}", gradient[index]);
        }
    }

    #[test]
    fn the_loss_is_the_formula() {
        let (features, targets, parameters) = problem(600, 3, 5);
        let (scale, rows) = plain(&features);
        let inputs = Inputs { features: &features, scale: &scale };
        let logistic = Logistic { inputs, rows: &rows, targets: &targets, classes: 5, strength: 0.7 };
        let found = logistic.evaluate(&parameters, &mut vec![0.0; parameters.len()]).unwrap();
        let mut expected = 0.0;
        for (row, &target) in features.values.chunks_exact(3).zip(&targets) {
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
        let features = Features::new(2, 1, vec![1.0, -1.0]).unwrap();
        let (scale, rows) = plain(&features);
        let inputs = Inputs { features: &features, scale: &scale };
        let logistic = Logistic { inputs, rows: &rows, targets: &[1, 1], classes: 2, strength: 0.0 };
        let mut gradient = vec![0.0; 4];
        let loss = logistic.evaluate(&[2000.0, -2000.0, 0.0, 0.0], &mut gradient).unwrap();
        assert!((loss - 2000.0).abs() < 1e-6 && gradient.iter().all(|entry| entry.is_finite()));
    }

    #[test]
    fn threads_change_no_bit() {
        let (features, targets, parameters) = problem(5003, 37, 7);
        let (scale, rows) = plain(&features);
        let inputs = Inputs { features: &features, scale: &scale };
        let logistic = Logistic { inputs, rows: &rows, targets: &targets, classes: 7, strength: 1e-3 };
        let in_pool = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut gradient = vec![0.0; parameters.len()];
                let loss = logistic.evaluate(&parameters, &mut gradient).unwrap();
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
    fn where_nothing_varies_the_bias_answers() {
        let (features, targets) = (Features::new(3, 1, vec![7.0; 3]).unwrap(), [0, 1, 1]);
        let scale = Standardisation::of(&features).unwrap();
        let inputs = Inputs { features: &features, scale: &scale };
        let logistic = Logistic { inputs, rows: &[0, 1, 2], targets: &targets, classes: 2, strength: 1.0 };
        let mut gradient = vec![0.0; 4];
        let loss = logistic.evaluate(&[0.0; 4], &mut gradient).unwrap();
        assert!((loss - 2f64.ln()).abs() < 1e-12 && gradient[..2] == [0.0, 0.0]);
        assert!((gradient[2] - (0.5 - 1.0 / 3.0)).abs() < 1e-6 && (gradient[2] + gradient[3]).abs() < 1e-6);
        assert_eq!(classify(inputs, &[0, 1], &[0.0, 0.0, 0.1, 0.2], 2).unwrap(), [1, 1]);
    }
}
