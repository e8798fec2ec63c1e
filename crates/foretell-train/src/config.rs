//! Settings of the loop, the same for every system.

use foretell_jepa::{Auto, Decision};
use foretell_ops::AdamW;
use serde::{Deserialize, Serialize};

use crate::learner::{LIDAR_DRAWS, LIDAR_SAMPLES};
use crate::schedule::Schedule;

/// How a run is trained. Every `auto` is chosen by [`TrainConfig::resolve`], with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Samples in a batch.
    pub batch: usize,
    /// Optimiser steps.
    pub steps: Auto<u64>,
    /// Peak learning rate.
    pub lr: f64,
    /// Share of the steps over which the rate rises from a hundredth of its peak.
    pub warmup: f64,
    /// Learning rate at the end, as a share of the peak.
    pub final_lr: f64,
    /// Share of the steps at the end over which the rate falls in a line from its peak, where it stays before; 0: it falls by half a
    /// cosine from the peak on.
    pub cooldown: f64,
    /// Weight decay at the start.
    pub weight_decay: f64,
    /// Weight decay at the end (cosine between).
    pub final_weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Largest global norm of the gradient; 0 does not clip.
    pub clip: f64,
    /// Steps between lines of metrics.
    pub log_every: Auto<u64>,
    /// Steps between checkpoints.
    pub checkpoint_every: Auto<u64>,
    /// Networks that stay in the run, evenly over its steps and without the optimiser's state, for `foretell judge`; 0: none but the
    /// last two checkpoints and the best.
    pub keep_checkpoints: u64,
    /// Steps between judgements of held-out latents.
    pub health_every: Auto<u64>,
    /// Steps between evaluations by LiDAR, each with the judgement that comes next; 0: none, `auto`: as often as 3 % of the run's
    /// work allow. One costs about as much as five steps of 128 samples.
    pub judge_every: Auto<u64>,
    /// Threads that decode and augment.
    pub loader_threads: Auto<usize>,
}

/// LiDAR's share of a run's work where its frequency is left open, in %, at most.
const LIDAR_PERCENT: f64 = 3.0;

/// What a sample that goes forward costs of one that is learnt from.
const FORWARD: f64 = 0.5;

/// Networks that a run keeps, at most.
const MOST_KEPT: u64 = 1000;

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch: 128,
            steps: Auto::Auto,
            lr: 1e-3,
            warmup: 0.1,
            final_lr: 0.01,
            cooldown: 0.0,
            weight_decay: 0.04,
            final_weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            clip: 3.0,
            log_every: Auto::Auto,
            checkpoint_every: Auto::Auto,
            keep_checkpoints: 0,
            health_every: Auto::Auto,
            judge_every: Auto::Value(0),
            loader_threads: Auto::Auto,
        }
    }
}

impl TrainConfig {
    /// Chooses what is open once the steps are known, and says why.
    pub fn resolve(&mut self, steps: u64, cores: usize, decisions: &mut Vec<Decision>) {
        self.steps = Auto::Value(steps);
        if self.log_every == Auto::Auto {
            self.log_every = Auto::Value((steps / 200).max(1));
        }
        let health = self.health_every.resolve("train.health_every", decisions, || {
            let every = (steps / 5).max(1);
            let count = steps.div_ceil(every);
            let evaluations = if count == 1 { "one evaluation".to_owned() } else { format!("{count} evaluations") };
            (every, format!("{evaluations} of held-out latents in the run"))
        });
        self.checkpoint_every
            .resolve("train.checkpoint_every", decisions, || (health, "with each evaluation".to_owned()));
        self.resolve_lidar(steps, decisions);
        self.loader_threads.resolve("train.loader_threads", decisions, || {
            (
                (cores / 2).clamp(1, 8),
                format!("half of the cores ({cores}), at least one, to read samples and make batches; the rest is the step's"),
            )
        });
    }

    /// LiDAR comes with the untrained network, with the trained one, and between them.
    fn resolve_lidar(&mut self, steps: u64, decisions: &mut Vec<Decision>) {
        const NAME: &str = "train.judge_every";
        let each = FORWARD * (LIDAR_DRAWS * LIDAR_SAMPLES as u64) as f64 / self.batch.max(1) as f64;
        let share = |every: u64| 100.0 * each * (1 + steps.div_ceil(every.max(1))) as f64 / steps.max(1) as f64;
        if let Auto::Value(every @ 1..) = self.judge_every {
            let reason = format!("asked for: LiDAR is about {:.1} % of the run's work", share(every));
            decisions.push(Decision { what: NAME.to_owned(), value: every.to_string(), reason });
            return;
        }
        let most = (LIDAR_PERCENT / 100.0 * steps as f64 / each).floor() as u64;
        self.judge_every.resolve(NAME, decisions, || {
            if most < 2 {
                let reason = format!(
                    "no LiDAR: at both ends alone it would be {:.1} % of a run of {steps} steps, above {LIDAR_PERCENT} %",
                    share(steps)
                );
                return (0, reason);
            }
            let every = steps.div_ceil(most - 1);
            (every, format!("LiDAR is about {:.1} % of the run's work, at most {LIDAR_PERCENT} %", share(every)))
        });
    }

    /// Steps between evaluations by LiDAR; 0 where there are none.
    fn lidar_every(&self) -> u64 {
        if let Auto::Value(every) = self.judge_every { every } else { 0 }
    }

    /// Whether LiDAR is taken at all, and so of the untrained network too.
    pub fn takes_lidar(&self) -> bool {
        self.lidar_every() > 0
    }

    /// Whether the networks of this step stay in a run of so many.
    pub fn keeps(&self, step: u64, steps: u64) -> bool {
        self.keep_checkpoints > 0
            && (step == steps || step.is_multiple_of(steps.div_ceil(self.keep_checkpoints).max(1)))
    }

    /// Whether LiDAR is due with the judgement of a step, which comes every `health` steps and at the end of the run.
    pub fn judges(&self, step: u64, (steps, health): (u64, u64)) -> bool {
        let turn = |step: u64| step.checked_div(self.lidar_every());
        self.takes_lidar() && (step == steps || turn(step) != turn(step.saturating_sub(health)))
    }

    /// AdamW at a step, before any schedule.
    pub fn adamw(&self, step: u64) -> AdamW {
        AdamW {
            lr: self.lr,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: 1e-8,
            weight_decay: self.weight_decay,
            step,
            gradient_scale: 1.0,
        }
    }

    /// An error if a setting is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let positive = |name: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(format!("`train.{name}` must be a positive number, found {value}"))
            }
        };
        if self.batch < 2 {
            return Err(format!(
                "`train.batch` must be at least 2 (a representation is judged by how samples differ), found {}",
                self.batch
            ));
        }
        for (name, value) in [
            ("steps", self.steps),
            ("log_every", self.log_every),
            ("checkpoint_every", self.checkpoint_every),
            ("health_every", self.health_every),
        ] {
            if value == Auto::Value(0) {
                return Err(format!("`train.{name}` must be at least 1, found 0"));
            }
        }
        if self.keep_checkpoints > MOST_KEPT {
            return Err(format!(
                "`train.keep_checkpoints` must be at most {MOST_KEPT} (each holds every network of the run), found {}",
                self.keep_checkpoints
            ));
        }
        positive("lr", self.lr)?;
        for (name, value) in [
            ("warmup", self.warmup),
            ("final_lr", self.final_lr),
            ("cooldown", self.cooldown),
            ("beta1", self.beta1),
            ("beta2", self.beta2),
        ] {
            let whole = name == "final_lr" && value == 1.0;
            if !whole && !(0.0..1.0).contains(&value) {
                return Err(format!("`train.{name}` must lie in 0 ≤ x < 1, found {value}"));
            }
        }
        for (name, value) in
            [("weight_decay", self.weight_decay), ("final_weight_decay", self.final_weight_decay), ("clip", self.clip)]
        {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(format!("`train.{name}` must be 0 or more, found {value}"));
            }
        }
        Ok(())
    }

    /// Learning rate over the steps.
    pub fn lr_schedule(&self, steps: u64) -> Schedule {
        let of = |share: f64| (share * steps as f64).round() as u64;
        let (warmup, peak, last) = (of(self.warmup), self.lr, self.lr * self.final_lr);
        if self.cooldown > 0.0 {
            return Schedule::WarmupConstant { warmup, peak, last, cooldown: of(self.cooldown), steps };
        }
        Schedule::WarmupCosine { warmup, peak, last, steps }
    }

    /// Weight decay over the steps.
    pub fn weight_decay_schedule(&self, steps: u64) -> Schedule {
        Schedule::WarmupCosine { warmup: 0, peak: self.weight_decay, last: self.final_weight_decay, steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_networks_stay_as_were_asked_for_at_most() {
        let kept = |keep_checkpoints: u64, steps: u64| -> Vec<u64> {
            let config = TrainConfig { keep_checkpoints, ..TrainConfig::default() };
            (1..=steps).filter(|step| config.keeps(*step, steps)).collect()
        };
        assert_eq!(kept(0, 10), [0; 0]);
        assert_eq!(kept(5, 10), [2, 4, 6, 8, 10]);
        assert_eq!(kept(4, 10), [3, 6, 9, 10]);
        assert_eq!(kept(24, 3), [1, 2, 3]);
        for (keep, steps) in [(1, 7), (3, 100), (24, 401), (24, 25), (7, 1000)] {
            let kept = kept(keep, steps);
            assert!(kept.len() as u64 <= keep && kept.last() == Some(&steps), "{keep} of {steps}: {kept:?}");
        }
    }

    #[test]
    fn lidar_comes_with_judgements_and_no_more_often_than_asked() {
        let due = |judge_every: u64| -> Vec<u64> {
            let config = TrainConfig { judge_every: Auto::Value(judge_every), ..TrainConfig::default() };
            // Judged every 4 of 22 steps, and at the end.
            (1..=22).filter(|step| (step % 4 == 0 || *step == 22) && config.judges(*step, (22, 4))).collect()
        };
        assert_eq!(due(0), [0; 0]);
        assert_eq!(due(1), [4, 8, 12, 16, 20, 22]);
        assert_eq!(due(10), [12, 20, 22]);
        assert_eq!(due(1000), [22]);
    }

    #[test]
    fn left_open_lidar_takes_three_percent_of_a_run_at_most() {
        for (batch, steps) in
            [(128, 100), (128, 333), (128, 334), (128, 1000), (32, 1000), (32, 5000), (256, 12_345), (4, 7)]
        {
            let mut config =
                TrainConfig { batch, judge_every: Auto::Auto, health_every: Auto::Value(1), ..TrainConfig::default() };
            let mut decisions = Vec::new();
            config.resolve(steps, 2, &mut decisions);
            let taken = if config.takes_lidar() {
                1 + (1..=steps).filter(|step| config.judges(*step, (steps, 1))).count()
            } else {
                0
            };
            // 10 draws of 128 samples, forward alone, which is half the work of learning.
            let share = taken as f64 * 640.0 / (batch as u64 * steps) as f64;
            assert!(share <= 0.03, "{batch}, {steps}: {taken} times, {share}");
            let told = decisions.iter().find(|decision| decision.what == "train.judge_every").unwrap();
            assert!(told.reason.contains("LiDAR"), "{told:?}");
            // Neither is it left out where two would do.
            assert_eq!(taken == 0, 2.0 * 640.0 / (batch as u64 * steps) as f64 > 0.03, "{batch}, {steps}: {told:?}");
        }
    }
}
