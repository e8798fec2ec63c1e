//! The loss of a classifier.

use burn::Tensor;
use burn::tensor::{TensorData, activation::log_softmax};

/// `−ln softmax(logits)[target]`, mean over the rows; the largest logit is taken away first, so that nothing overflows. Composed of
/// ordinary tensor calls: logits are few beside what they are made of.
///
/// # Shapes
/// - `logits`: `[B, C]`; `targets`: B numbers, each below C; output: `[1]`
///
/// # Panics
/// If targets are not as many as rows, or one is C or more.
pub fn cross_entropy(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    assert_eq!(rows, targets.len(), "rows and targets differ");
    let mut chosen = vec![0.0_f64; rows * classes];
    for (row, target) in targets.iter().enumerate() {
        assert!((*target as usize) < classes, "a class beyond the {classes}");
        chosen[row * classes + *target as usize] = -1.0 / rows as f64;
    }
    let place = (&logits.device().inner(), logits.dtype());
    let chosen = Tensor::<2>::from_data(TensorData::new(chosen, [rows, classes]), place);
    let chosen = if logits.device().is_autodiff() { chosen.autodiff() } else { chosen };
    (log_softmax(logits, 1) * chosen).sum()
}
