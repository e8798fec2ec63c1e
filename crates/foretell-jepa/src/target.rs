//! Target networks: an exponential moving average of the trained one, and how long its memory is.

use burn::tensor::Tensor;
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use crate::{Auto, Clock, Decision, Role};

/// Where targets come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A moving average of the trained encoder, without gradient.
    #[default]
    Ema,
    /// The trained encoder itself, without gradient.
    StopGradient,
    /// The trained encoder itself, with gradient. Nothing then prevents collapse: an ablation.
    Live,
}

/// What becomes of the target encoder's tokens before they are predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetTransform {
    /// Layer normalisation, then each dimension at each position brought to mean 0 and variance 1 over the batch: what
    /// the position alone tells is worth nothing, so that a teacher of pure position codes (the usual collapse of small
    /// runs) is no solution. Ours.
    #[default]
    Standardise,
    /// Layer normalisation without weights (eps 1e-5): the released code.
    LayerNorm,
}

impl TargetTransform {
    /// `[B, N, D]` → the same.
    pub fn apply(self, tokens: Tensor<3>) -> Tensor<3> {
        let tokens = plain(tokens);
        match self {
            TargetTransform::LayerNorm => tokens,
            TargetTransform::Standardise => {
                let centred = tokens.clone() - tokens.mean_dim(0);
                let variance = centred.clone().square().mean_dim(0);
                centred / (variance + 1e-5).sqrt()
            }
        }
    }

    /// The same of tokens `[B, N, D]` that are no batch of different samples, such as views of one: where a batch decides, it is that of
    /// the tokens `[B', N, D]` beside them.
    pub fn beside(self, tokens: Tensor<3>, batch: Tensor<3>) -> Tensor<3> {
        let tokens = plain(tokens);
        match self {
            TargetTransform::LayerNorm => tokens,
            TargetTransform::Standardise => {
                let batch = plain(batch);
                let mean = batch.clone().mean_dim(0);
                let variance = (batch - mean.clone()).square().mean_dim(0);
                (tokens - mean) / (variance + 1e-5).sqrt()
            }
        }
    }
}

/// Layer normalisation without weights, `[B, N, D]`.
pub(crate) fn plain(tokens: Tensor<3>) -> Tensor<3> {
    let [_, _, width] = tokens.dims();
    let device = tokens.device().inner();
    ops::layer_norm(tokens, Tensor::ones([width], &device), Tensor::zeros([width], &device), 1e-5)
}

/// How fast the moving average follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EmaSchedule {
    /// The weight of the past halves every so many samples, whatever the batch.
    HalfLife {
        /// Samples.
        samples: Auto<u64>,
    },
    /// The released code's: momentum rises linearly from `start` to 1.
    Ramp {
        /// Momentum at the first step.
        start: f64,
    },
    /// Momentum rises from `start` along half a cosine, to 1 at `stretch` times the run's last step. The released Audio-JEPA's clock runs
    /// over 50 epochs of which 100,000 steps are 13: a stretch of 3.7, whose momentum ends at .9967.
    Cosine {
        /// Momentum at the first step.
        start: f64,
        /// Lengths of a run after which momentum is 1; 1 or more.
        stretch: f64,
    },
    /// The same momentum in each step, whatever the batch: the released code of V-JEPA 2 and 2.1.
    Constant {
        /// Momentum.
        momentum: f64,
    },
}

/// The clock of a moving average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmaConfig {
    /// How fast it follows.
    pub schedule: EmaSchedule,
    /// Largest share of the random initial teacher that may be left at the end of the run.
    pub initial_teacher_limit: f64,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { schedule: EmaSchedule::HalfLife { samples: Auto::Auto }, initial_teacher_limit: 0.05 }
    }
}

impl EmaConfig {
    /// Chooses what is open for a run of `total` steps of `batch` samples.
    pub fn resolve(&mut self, total: u64, batch: usize, decisions: &mut Vec<Decision>) {
        if let EmaSchedule::HalfLife { samples } = &mut self.schedule {
            let run = total * batch as u64;
            samples.resolve("model.ema.schedule.samples", decisions, || {
                let chosen = (run / 12).clamp(1, 350_000);
                (chosen, format!("a 12th of the run's {run} samples (at most the released code's 350,000): the teacher forgets its random start and still averages"))
            });
        }
    }

    /// Momentum τ of a step: θ̄ ← τ θ̄ + (1 − τ) θ.
    pub fn momentum(&self, step: u64, total: u64, batch: usize) -> f64 {
        match self.schedule {
            EmaSchedule::HalfLife { samples: Auto::Value(samples) } => {
                0.5_f64.powf(batch as f64 / samples.max(1) as f64)
            }
            EmaSchedule::HalfLife { samples: Auto::Auto } => 0.996,
            EmaSchedule::Constant { momentum } => momentum,
            EmaSchedule::Ramp { start } => start + (1.0 - start) * (step - 1) as f64 / total.max(1) as f64,
            EmaSchedule::Cosine { start, stretch } => {
                let done = (step - 1) as f64 / (total.max(1) as f64 * stretch.max(1.0));
                1.0 - (1.0 - start) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }

    /// The role of a teacher's parameter: it follows the one whose name is `teacher` replaced by `student` at the beginning.
    /// What is no teacher's learns.
    pub fn role<'a>(&self, name: &'a str, (teacher, student): (&str, &str), clock: &Clock) -> Role<'a> {
        match name.strip_prefix(teacher) {
            Some(rest) => Role::Follows {
                of: format!("{student}{rest}").into(),
                weight: 1.0 - self.momentum(clock.step, clock.total, clock.batch),
            },
            None => Role::LEARNS,
        }
    }

    /// Share of the random initial teacher that is left after `steps` of `total`: Π τ.
    pub fn initial_teacher_left(&self, steps: u64, total: u64, batch: usize) -> f64 {
        match self.schedule {
            EmaSchedule::HalfLife { .. } | EmaSchedule::Constant { .. } => {
                self.momentum(1, total, batch).powf(steps as f64)
            }
            EmaSchedule::Ramp { .. } | EmaSchedule::Cosine { .. } => {
                (1..=steps).map(|step| self.momentum(step, total, batch).ln()).sum::<f64>().exp()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_beside_itself_is_transformed_as_it_is() {
        let values: Vec<f32> = (0..48).map(|i| ((i * 37) % 23) as f32).collect();
        let tokens = Tensor::<1>::from_floats(values.as_slice(), &burn::tensor::Device::flex()).reshape([3, 4, 4]);
        for transform in [TargetTransform::LayerNorm, TargetTransform::Standardise] {
            let apart = transform.beside(tokens.clone().narrow(0, 1, 1), tokens.clone());
            let together = transform.apply(tokens.clone()).narrow(0, 1, 1);
            assert!(ops::values(apart).iter().zip(&ops::values(together)).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn half_a_life_halves_the_initial_teacher_whatever_the_batch() {
        let config =
            EmaConfig { schedule: EmaSchedule::HalfLife { samples: Auto::Value(1000) }, ..EmaConfig::default() };
        for batch in [10, 50, 250] {
            let left = config.initial_teacher_left(2000 / batch as u64, 99, batch);
            assert!((left - 0.25).abs() < 1e-9, "{left}");
        }
    }

    #[test]
    fn a_stretched_cosine_ends_before_its_end() {
        let of =
            |stretch| EmaConfig { schedule: EmaSchedule::Cosine { start: 0.996, stretch }, ..EmaConfig::default() };
        let steps = 100_000;
        assert_eq!(of(1.0).momentum(1, steps, 1), 0.996);
        assert!((of(1.0).momentum(steps, steps, 1) - 1.0).abs() < 1e-9);
        // 1,921,982 clips in batches of 256 for 50 epochs: the clock of the released code.
        let stretch = 1_921_982.0 / 256.0 * 50.0 / steps as f64;
        assert!((of(stretch).momentum(steps, steps, 1) - 0.9967).abs() < 5e-5);
    }

    #[test]
    fn the_ramp_is_the_product_of_its_momenta() {
        let config = EmaConfig { schedule: EmaSchedule::Ramp { start: 0.5 }, ..EmaConfig::default() };
        assert_eq!(config.momentum(1, 4, 1), 0.5);
        assert!((config.initial_teacher_left(2, 4, 1) - 0.5 * 0.625).abs() < 1e-12);
    }
}
