//! Is the representation collapsing? Judged without labels, on held-out latents, beside the same network untrained.
//!
//! The thresholds are starting points that were set on one data set and checked on others; each judgement prints the
//! figure, what it is held against, and the same figure of the untrained network.

use foretell_eval::{Lidar, Statistics, lidar_of_views};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::learner::{LIDAR_DRAWS, Learner, Which};

/// One word on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No sign of collapse.
    Healthy,
    /// Much of the space is unused.
    PartialCollapse,
    /// The representation hardly depends on the input.
    Collapse,
}

impl Verdict {
    /// As written in `summary.json`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Healthy => "healthy",
            Verdict::PartialCollapse => "partial-collapse",
            Verdict::Collapse => "collapse",
        }
    }
}

/// `collapse` if the effective rank is below this share of min(D, samples).
const COLLAPSE_RANK: f64 = 0.02;
/// `collapse` if the mean pairwise cosine is above this.
const COLLAPSE_COSINE: f64 = 0.99;
/// `collapse` if the targets' standard deviation is below this share of the untrained network's: codes that shrink to a
/// point keep their rank, and a loss that falls with them means nothing.
const COLLAPSE_SPREAD: f64 = 0.2;
/// `partial-collapse` if the effective rank is below this share of the untrained network's.
const PARTIAL_RANK: f64 = 0.25;
/// `partial-collapse` if more than this share of the dimensions is nearly constant.
const PARTIAL_CONSTANT: f64 = 0.2;

/// `partial-collapse` if less than this share of the variance of clips is change over time.
const PARTIAL_MOTION: f64 = 1e-4;

/// What is measured of one network at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Of one vector a sample.
    pub sample: Statistics,
    /// Of tokens.
    pub token: Statistics,
    /// Of the predictions that the loss sees.
    pub prediction: Statistics,
    /// Of the targets that the loss sees.
    pub target: Statistics,
    /// The loss on the held-out batch.
    pub loss: f64,
    /// Relative distance of the target network from the trained one.
    pub teacher_distance: Option<f64>,
    /// Share of what changes over time in the variance of what the network is given, where it is given clips.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motion: Option<f64>,
}

/// One figure beside its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// What was measured.
    pub measure: String,
    /// The figure.
    pub value: f64,
    /// The same of the untrained network.
    pub untrained: f64,
    /// The limit, in words.
    pub limit: String,
    /// Whether it holds.
    pub met: bool,
}

/// The judgement of one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// In one word.
    pub verdict: Verdict,
    /// RankMe of one vector a sample.
    pub rankme: f64,
    /// RankMe of tokens.
    pub token_rankme: f64,
    /// Effective rank of one vector a sample.
    pub effective_rank: f64,
    /// The same of the untrained network.
    pub untrained_effective_rank: f64,
    /// α-ReQ of one vector a sample; `None` where too few directions hold any variance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Mean over dimensions of the targets' standard deviation.
    pub target_std: f64,
    /// The same of the predictions.
    pub prediction_std: f64,
    /// Mean pairwise cosine between samples.
    pub cosine_mean: f64,
    /// Its standard deviation over pairs.
    pub cosine_std: f64,
    /// Share of nearly constant dimensions.
    pub constant_dims: f64,
    /// Relative distance of the target network from the trained one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_distance: Option<f64>,
    /// Share of the random initial teacher that is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_teacher_left: Option<f64>,
    /// Every rule that was applied.
    pub thresholds: Vec<Threshold>,
}

/// A judgement at a step, as a line of metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthRecord {
    /// When; 0 is the untrained network.
    pub step: u64,
    /// The loss on the held-out batch.
    pub held_out_loss: f64,
    /// LiDAR of what is predicted, where it was asked for and can be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lidar: Option<f64>,
    /// The judgement.
    pub health: Health,
}

/// LiDAR of what a learner predicts of held-out samples, draws of views or masks as the surrogate classes' members; `None` where its
/// predictions have collapsed so far that it cannot be computed.
///
/// # Errors
/// A learner whose predictions are not as many for each sample, or whose data are not open.
pub fn lidar_of(learner: &dyn Learner, which: Which) -> Result<Option<Lidar>, TrainError> {
    Ok(lidar_of_views(&learner.drawn(which, LIDAR_DRAWS)?).ok())
}

impl Health {
    /// Holds what was measured against the untrained network and the thresholds.
    pub fn judge(now: &Measured, untrained: &Measured, initial_teacher_left: Option<f64>) -> Self {
        let samples = now.sample.dim.min(now.sample.rows) as f64;
        let rule = |measure: &str, value: f64, untrained: f64, limit: String, met: bool| Threshold {
            measure: measure.to_owned(),
            value,
            untrained,
            limit,
            met,
        };
        let fresh = &untrained.sample;
        // An untrained network may have a cosine near 1 of its own (a common offset): what counts as collapse is
        // that, with next to no spread left after the offset is taken away.
        let cosine_limit = COLLAPSE_COSINE.max(fresh.cosine_mean);
        let collapse = [
            rule(
                "effective rank",
                now.sample.effective_rank,
                fresh.effective_rank,
                format!("≥ {:.1} ({:.0} % of {samples})", COLLAPSE_RANK * samples, 100.0 * COLLAPSE_RANK),
                now.sample.effective_rank >= COLLAPSE_RANK * samples,
            ),
            rule(
                "mean pairwise cosine",
                now.sample.cosine_mean,
                fresh.cosine_mean,
                format!("≤ {cosine_limit:.4}"),
                now.sample.cosine_mean <= cosine_limit,
            ),
            rule(
                "effective rank (targets)",
                now.target.effective_rank,
                untrained.target.effective_rank,
                format!("≥ {:.1}", COLLAPSE_RANK * now.target.dim.min(now.target.rows) as f64),
                now.target.effective_rank >= COLLAPSE_RANK * now.target.dim.min(now.target.rows) as f64,
            ),
            rule(
                "spread of the targets (standard deviation)",
                now.target.std_mean,
                untrained.target.std_mean,
                format!(
                    "≥ {:.4} ({:.0} % of untrained)",
                    COLLAPSE_SPREAD * untrained.target.std_mean,
                    100.0 * COLLAPSE_SPREAD
                ),
                now.target.std_mean >= COLLAPSE_SPREAD * untrained.target.std_mean,
            ),
        ];
        let partial = [
            rule(
                "effective rank against untrained",
                now.sample.effective_rank,
                fresh.effective_rank,
                format!("≥ {:.1} ({:.0} % of untrained)", PARTIAL_RANK * fresh.effective_rank, 100.0 * PARTIAL_RANK),
                now.sample.effective_rank >= PARTIAL_RANK * fresh.effective_rank,
            ),
            rule(
                "nearly constant dimensions",
                now.sample.constant_dims,
                fresh.constant_dims,
                format!("≤ {:.0} %", 100.0 * PARTIAL_CONSTANT),
                now.sample.constant_dims <= PARTIAL_CONSTANT,
            ),
        ];
        // Clips in which nothing moves: whatever is learnt of them, it is not motion.
        let motion = now.motion.map(|share| {
            let limit = format!("≥ {:.2} % of the variance of the clips", 100.0 * PARTIAL_MOTION);
            rule("change over time", share, share, limit, share >= PARTIAL_MOTION)
        });
        let partial: Vec<Threshold> = partial.into_iter().chain(motion).collect();
        let verdict = if collapse.iter().any(|rule| !rule.met) {
            Verdict::Collapse
        } else if partial.iter().any(|rule| !rule.met) {
            Verdict::PartialCollapse
        } else {
            Verdict::Healthy
        };
        Self {
            verdict,
            rankme: now.sample.rankme,
            token_rankme: now.token.rankme,
            effective_rank: now.sample.effective_rank,
            untrained_effective_rank: fresh.effective_rank,
            alpha: now.sample.alpha,
            target_std: now.target.std_mean,
            prediction_std: now.prediction.std_mean,
            cosine_mean: now.sample.cosine_mean,
            cosine_std: now.sample.cosine_std,
            constant_dims: now.sample.constant_dims,
            teacher_distance: now.teacher_distance,
            initial_teacher_left,
            thresholds: collapse.into_iter().chain(partial).collect(),
        }
    }
}
