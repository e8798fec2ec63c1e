//! Settings of the loop, the same for every system.

use foretell_jepa::{Auto, Decision};
use foretell_ops::AdamW;
use serde::{Deserialize, Serialize};

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
    /// Steps between judgements of held-out latents.
    pub health_every: Auto<u64>,
    /// Threads that decode and augment.
    pub loader_threads: Auto<usize>,
}

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
            health_every: Auto::Auto,
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
            ((steps / 5).max(1), "five evaluations of held-out latents in the run".to_owned())
        });
        self.checkpoint_every
            .resolve("train.checkpoint_every", decisions, || (health, "with each evaluation".to_owned()));
        self.loader_threads.resolve("train.loader_threads", decisions, || {
            (
                (cores / 2).clamp(1, 8),
                format!("half of the cores ({cores}), at least one, to read samples and make batches; the rest is the step's"),
            )
        });
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
