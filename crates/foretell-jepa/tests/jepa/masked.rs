//! What the masked objective predicts, and of whom: latents of a target encoder that sees all or a region alone, pixels, and a
//! predictor that is not there.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, Image, Normalise, Sample};
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::{Keep, Masked, MaskedBatch, MaskedCollator, MaskedNetworks, Predicts};
use foretell_jepa::masks::MaskConfig;
use foretell_jepa::target::{EmaConfig, TargetKind, TargetTransform};
use foretell_jepa::{Clock, Objective};
use foretell_nn::predictor::PredictorConfig;
use foretell_nn::vit::VitConfig;
use foretell_ops as ops;
use rand::RngExt;

const SIDE: usize = 12;
const PATCH: usize = 2;
const TOKENS: usize = 36;
const VALUES: usize = 3 * PATCH * PATCH;

/// An objective over 6 × 6 tokens, its networks and a batch of four images.
fn made(predicts: Predicts, depth: usize) -> (Masked, MaskedNetworks, MaskedBatch) {
    let device = Device::flex().autodiff();
    let vit = VitConfig { image: (SIDE, SIDE), patch: PATCH, channels: 3, width: 24, depth: 1, heads: 2, hidden: 48 };
    let outputs = if predicts == Predicts::Pixels { VALUES } else { 24 };
    let predictor = PredictorConfig { grid: vit.grid(), encoder_width: 24, width: 12, depth, heads: 1, outputs };
    let mut random = rng(5, Stream::Init, 0, 0);
    let encoder = vit.init(&mut random, &device);
    let predictor = predictor.init(&mut random, &device);
    // A teacher of its own, so that it cannot be taken for the student.
    let target_encoder = vit.init(&mut random, &device).valid();
    let networks = MaskedNetworks { target_encoder, encoder, predictor, head: None, target_head: None };
    let collator = MaskedCollator {
        seed: 1,
        size: SIDE,
        patch: PATCH,
        augment: Augment::default(),
        normalise: Normalise { mean: vec![0.0; 3], std: vec![1.0; 3] },
        coloured: false,
        masks: MaskConfig::default(),
        together: false,
        width: 24,
        slices: 0,
    };
    let image = |index: usize| {
        let mut random = rng(6, Stream::Play, 0, index as u64);
        let pixels = (0..SIDE * SIDE * 3).map(|_| random.random_range(0..=255_u8)).collect();
        let image = Arc::new(Image { width: SIDE, height: SIDE, channels: 3, pixels });
        Sample { index, name: index.to_string(), image, labels: Vec::new() }
    };
    let batch = collator.collate(1, &(0..4).map(image).collect::<Vec<_>>()).unwrap();
    let objective = Masked {
        target: TargetKind::Ema,
        predicts,
        transform: TargetTransform::LayerNorm,
        loss: LatentLoss::SmoothL1,
        neighbours: None,
        sigreg: 0.0,
        means: None,
        ema: EmaConfig::default(),
        keep: Keep::Target,
        keep_predictor: false,
        collator: Arc::new(collator),
        device: Device::flex(),
    };
    (objective, networks, batch)
}

fn targets(predicts: Predicts, change: impl FnOnce(&mut MaskedBatch)) -> (Vec<f32>, [usize; 3]) {
    let (objective, networks, mut batch) = made(predicts, 1);
    change(&mut batch);
    let (predictions, targets, _) = objective.predict(&networks, &batch);
    assert_eq!(predictions.dims(), targets.dims());
    let shape = targets.dims();
    (values(targets), shape)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    ops::values(tensor.inner())
}

/// Changes every patch of the first image that is no target of its first region.
fn elsewhere(batch: &mut MaskedBatch) {
    let region = batch.masks.target_of(0, 0).to_vec();
    for token in (0..TOKENS).filter(|token| !region.contains(&(*token as u32))) {
        batch.patches[token * VALUES..][..VALUES].iter_mut().for_each(|value| *value = 0.5 - *value);
    }
}

#[test]
fn a_region_alone_does_not_hear_of_the_rest() {
    let first = |(found, [_, tokens, width]): (Vec<f32>, [usize; 3])| found[..tokens * width].to_vec();
    let nothing = |_: &mut MaskedBatch| {};
    let alone = first(targets(Predicts::LatentsAlone, nothing));
    assert_eq!(first(targets(Predicts::LatentsAlone, elsewhere)), alone);
    let whole = first(targets(Predicts::Latents, nothing));
    assert_ne!(whole, alone, "what is seen around a region tells of it");
    assert_ne!(first(targets(Predicts::Latents, elsewhere)), whole);
}

#[test]
fn pixel_targets_are_patches_of_mean_0_and_variance_1() {
    let (objective, networks, batch) = made(Predicts::Pixels, 1);
    let (_, targets, _) = objective.predict(&networks, &batch);
    let [regions, tokens, width] = targets.dims();
    assert_eq!((regions, width), (4 * batch.masks.targets, VALUES));
    let found = values(targets.clone());
    for (row, found) in found.chunks_exact(VALUES).enumerate() {
        let (sample, token) = (row / tokens / batch.masks.targets, batch.masks.target[row] as usize);
        let patch = &batch.patches[(sample * TOKENS + token) * VALUES..][..VALUES];
        let mean = patch.iter().sum::<f32>() / VALUES as f32;
        let variance = patch.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / VALUES as f32;
        for (found, value) in found.iter().zip(patch) {
            assert!((found - (value - mean) / (variance + 1e-5).sqrt()).abs() < 1e-4);
        }
    }
    // The loss is their mean squared error, and its gradient reaches the encoder.
    let clock = Clock { step: 1, total: 1, batch: 4, health_due: true };
    let outcome = objective.loss(&networks, &batch, &clock);
    let (predictions, ..) = objective.predict(&networks, &batch);
    let by_hand = values((predictions.inner() - targets).square().mean());
    assert!((outcome.loss.clone().into_scalar::<f32>() - by_hand[0]).abs() < 1e-5);
    let gradients = outcome.loss.backward();
    assert!(networks.encoder.patch_embed.proj.weight.grad(&gradients).is_some());
}

#[test]
fn without_a_predictor_the_context_stands_for_every_target() {
    let (objective, networks, batch) = made(Predicts::Latents, 0);
    let (predictions, targets, context) = objective.predict(&networks, &batch);
    let [regions, tokens, width] = predictions.dims();
    assert_eq!(predictions.dims(), targets.dims());
    let mean = values(context.mean_dim(1));
    for (row, found) in values(predictions).chunks_exact(width).enumerate() {
        let sample = row / tokens / (regions / 4);
        assert_eq!(found, &mean[sample * width..][..width], "row {row}");
    }
    let clock = Clock { step: 1, total: 1, batch: 4, health_due: false };
    let gradients = objective.loss(&networks, &batch, &clock).loss.backward();
    assert!(networks.encoder.norm.weight.grad(&gradients).is_some());
    assert!(networks.predictor.mask_token.grad(&gradients).is_none(), "nothing of it is used");
}
