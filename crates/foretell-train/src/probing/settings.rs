//! Settings of the probes that are trained, with the published ones beside ours.

use foretell_jepa::Auto;
use serde::{Deserialize, Serialize};

/// The attentive probe. V-JEPA 2's evaluation (arXiv 2506.09985, appendix) is `blocks = 4`, `heads = 16`, `epochs = 20`, `batch = 256`,
/// `lr = [5e-3, 3e-3, 1e-3, 3e-4, 1e-4]`, `weight_decay = [0.8, 0.4, 0.1, 0.01]`; V-JEPA's `blocks = 1`, one rate of 1e-3, one decay
/// of 0.01.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttentiveSettings {
    /// 1: the query alone asks the tokens. 4: three blocks of self-attention before it.
    pub blocks: usize,
    /// Attention heads; by itself as many of 64 values as the tokens are wide.
    pub heads: Auto<usize>,
    /// Passes over the training part; by itself 20, and more where they are fewer than 500 steps.
    pub epochs: Auto<usize>,
    /// Samples in a batch.
    pub batch: usize,
    /// Learning rates that are tried, each with each decay, in one pass.
    pub lr: Vec<f64>,
    /// Weight decays that are tried.
    pub weight_decay: Vec<f64>,
}

impl Default for AttentiveSettings {
    fn default() -> Self {
        Self {
            blocks: 1,
            heads: Auto::Auto,
            epochs: Auto::Auto,
            batch: 128,
            lr: vec![3e-3, 1e-3, 3e-4],
            weight_decay: vec![0.4, 0.04],
        }
    }
}

/// What stands on a fine-tuned encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// A linear map of the mean of the tokens.
    #[default]
    Mean,
    /// The attentive probe of one block.
    Attentive,
}

/// Fine-tuning: AdamW with a rate that decays layer by layer (BEiT, MAE), linear warm-up, a cosine to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinetuneSettings {
    /// What stands on the encoder.
    pub head: Head,
    /// Passes over the training part.
    pub epochs: usize,
    /// Samples in a batch.
    pub batch: usize,
    /// Peak learning rate of the head.
    pub lr: f64,
    /// What a block's rate is of that of the block above it.
    pub layer_decay: f64,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// Share of the steps over which the rate rises.
    pub warmup: f64,
    /// Largest global norm of the gradient; 0 does not clip.
    pub clip: f64,
    /// Learning rate of a kept predictor as a share of the head's (IWM, arXiv 2403.00504, appendix A).
    pub predictor: f64,
    /// Parts of the encoder that stay as they are, by their parameters' names or what these begin with, such as `patch_embed`.
    pub freeze: Vec<String>,
}

impl Default for FinetuneSettings {
    fn default() -> Self {
        Self {
            head: Head::Mean,
            epochs: 5,
            batch: 64,
            lr: 1e-3,
            layer_decay: 0.75,
            weight_decay: 0.05,
            warmup: 0.1,
            clip: 3.0,
            predictor: 0.1,
            freeze: Vec::new(),
        }
    }
}

/// `judge.…` must be so, found that.
fn must(key: &str, expected: &str, found: impl std::fmt::Display) -> Result<(), String> {
    Err(format!("`judge.{key}` must be {expected}, found {found}"))
}

impl AttentiveSettings {
    /// An error if a setting is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let Self { blocks, heads, epochs, batch, lr, weight_decay } = self;
        if *blocks == 0 {
            return must("attentive.blocks", "1 (the query alone) or more", blocks);
        }
        for (key, value) in [("attentive.heads", *heads), ("attentive.epochs", *epochs)] {
            if value == Auto::Value(0) {
                return must(key, "at least 1, or \"auto\"", 0);
            }
        }
        if *batch == 0 {
            return must("attentive.batch", "at least 1", batch);
        }
        let positive = |values: &[f64], zero: bool| {
            !values.is_empty() && values.iter().all(|x| x.is_finite() && (*x > 0.0 || (zero && *x == 0.0)))
        };
        if !positive(lr, false) {
            return must("attentive.lr", "one or more numbers above 0", format_args!("{lr:?}"));
        }
        if !positive(weight_decay, true) {
            return must(
                "attentive.weight_decay",
                "one or more numbers of 0 or above",
                format_args!("{weight_decay:?}"),
            );
        }
        Ok(())
    }

    /// Heads for tokens of this width.
    pub(crate) fn heads_of(&self, width: usize) -> Result<usize, String> {
        match self.heads {
            Auto::Value(heads) if width.is_multiple_of(heads) => Ok(heads),
            Auto::Value(heads) => {
                Err(format!("`judge.attentive.heads` must divide the tokens' width, {width}, found {heads}"))
            }
            Auto::Auto => Ok((1..=width / 64).rev().find(|heads| width.is_multiple_of(*heads)).unwrap_or(1)),
        }
    }

    /// Passes for so many samples to learn from.
    pub(crate) fn epochs_of(&self, samples: usize) -> usize {
        let steps = samples.div_ceil(self.batch).max(1);
        if let Auto::Value(epochs) = self.epochs { epochs } else { 500_usize.div_ceil(steps).clamp(20, 200) }
    }
}

impl FinetuneSettings {
    /// An error if a setting is out of its range.
    pub fn check(&self) -> Result<(), String> {
        let Self { epochs, batch, lr, layer_decay, weight_decay, warmup, clip, predictor, .. } = self;
        for (key, value) in [("finetune.epochs", epochs), ("finetune.batch", batch)] {
            if *value == 0 {
                return must(key, "at least 1", value);
            }
        }
        if !(*lr > 0.0 && lr.is_finite()) {
            return must("finetune.lr", "a positive number", lr);
        }
        if !(*predictor > 0.0 && predictor.is_finite()) {
            return must("finetune.predictor", "a positive share", predictor);
        }
        if !(*layer_decay > 0.0 && *layer_decay <= 1.0) {
            return must("finetune.layer_decay", "above 0 and at most 1", layer_decay);
        }
        if !(0.0..1.0).contains(warmup) {
            return must("finetune.warmup", "in 0 ≤ x < 1", warmup);
        }
        for (key, value) in [("finetune.weight_decay", weight_decay), ("finetune.clip", clip)] {
            if !(*value >= 0.0 && value.is_finite()) {
                return must(key, "0 or more", value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_epochs_go_by_the_tokens_and_the_samples() {
        let auto = AttentiveSettings::default();
        let heads = |width| auto.heads_of(width).unwrap();
        assert_eq!([24, 64, 192, 256, 130, 1024].map(heads), [1, 1, 3, 4, 2, 16]);
        assert_eq!([1, 100, 1280, 60_000].map(|samples| auto.epochs_of(samples)), [200, 200, 50, 20]);
        let three = AttentiveSettings { heads: Auto::Value(3), epochs: Auto::Value(2), ..auto };
        assert_eq!((three.heads_of(24), three.epochs_of(9)), (Ok(3), 2));
        assert_eq!(
            three.heads_of(16).unwrap_err(),
            "`judge.attentive.heads` must divide the tokens' width, 16, found 3"
        );
    }

    #[test]
    fn settings_out_of_range_are_a_sentence() {
        assert_eq!((AttentiveSettings::default().check(), FinetuneSettings::default().check()), (Ok(()), Ok(())));
        let usual = AttentiveSettings::default;
        for (wrong, key) in [
            (AttentiveSettings { blocks: 0, ..usual() }, "blocks"),
            (AttentiveSettings { heads: Auto::Value(0), ..usual() }, "heads"),
            (AttentiveSettings { epochs: Auto::Value(0), ..usual() }, "epochs"),
            (AttentiveSettings { batch: 0, ..usual() }, "batch"),
            (AttentiveSettings { lr: vec![], ..usual() }, "lr"),
            (AttentiveSettings { lr: vec![1e-3, f64::NAN], ..usual() }, "lr"),
            (AttentiveSettings { weight_decay: vec![-1.0], ..usual() }, "weight_decay"),
        ] {
            let error = wrong.check().unwrap_err();
            assert!(error.contains(&format!("`judge.attentive.{key}` must be")), "{error}");
        }
        let usual = FinetuneSettings::default;
        for (wrong, key) in [
            (FinetuneSettings { epochs: 0, ..usual() }, "epochs"),
            (FinetuneSettings { batch: 0, ..usual() }, "batch"),
            (FinetuneSettings { lr: -1.0, ..usual() }, "lr"),
            (FinetuneSettings { layer_decay: 1.5, ..usual() }, "layer_decay"),
            (FinetuneSettings { predictor: 0.0, ..usual() }, "predictor"),
            (FinetuneSettings { warmup: 1.0, ..usual() }, "warmup"),
            (FinetuneSettings { weight_decay: f64::INFINITY, ..usual() }, "weight_decay"),
            (FinetuneSettings { clip: -0.5, ..usual() }, "clip"),
        ] {
            let error = wrong.check().unwrap_err();
            assert!(error.contains(&format!("`judge.finetune.{key}` must be")), "{error}");
        }
    }
}
