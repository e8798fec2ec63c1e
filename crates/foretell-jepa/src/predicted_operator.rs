//! The objective of SAR-JEPA (Li et al., 2024, arXiv 2311.15153): from an image most of whose patches are replaced by mask tokens,
//! predict what a fixed operator makes of the hidden ones. No target network, so nothing to collapse into and no clock.
//!
//! It is the [masked](crate::masked) composition with an [operator](crate::operators) in the target encoder's place and mask tokens
//! that go through the encoder too. The defaults are ours; [`SarParts::official`] has the released code's.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Collate, DataError, Normalise, Sample};
use foretell_nn::decoder::{Decoder, DecoderConfig};
use foretell_nn::vit::{Vit, VitConfig};
use foretell_nn::{Frames, Init};
use foretell_ops as ops;
use serde::{Deserialize, Serialize};

use crate::masked::{chosen, flatten};
use crate::masks::{BatchMasks, Corners, Grid, HiddenConfig, HiddenWindows};
use crate::operators::{OperatorConfig, cut};
use crate::{Clock, Kept, Latents, Objective, Outcome};

/// What a step asks: which operator, what is hidden, how views are made.
///
/// The released code differs in two things that are not here whatever the settings: its attention has a learnt relative bias in
/// place of a position code (iRPE, Wu et al., 2021), and a class token goes through the encoder. Here tokens carry the fixed sine code
/// of their place in the whole image, and there is no class token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SarParts {
    /// The target.
    pub operator: OperatorConfig,
    /// Which tokens are hidden.
    pub masks: HiddenConfig,
    /// How the view is made. Contrast changes by its `jitter`; so does the target, which is of the view.
    pub augment: Augment,
}

impl Default for SarParts {
    fn default() -> Self {
        Self {
            operator: OperatorConfig::default(),
            masks: HiddenConfig::default(),
            augment: Augment {
                crop_scale: (0.2, 1.0),
                crop_aspect: (0.75, 4.0 / 3.0),
                flip: 0.5,
                jitter: 1.0,
                contrast: 0.5,
                ..Augment::default()
            },
        }
    }
}

impl SarParts {
    /// The released code's: windows of 7 × 7 tokens whose places a batch shares. Its networks are a ViT-B of 16 × 16 patches on
    /// 224 × 224 pixels and a decoder of 8 blocks, 512 wide.
    pub fn official() -> Self {
        let windows = HiddenWindows { corners: Corners::Batch, ..HiddenWindows::default() };
        Self { masks: HiddenConfig::Windows(windows), ..Self::default() }
    }
}

/// Seen patches and what is asked of the hidden ones, on the host. R rows: one for each sample, or for each of its windows.
pub struct SarBatch {
    /// `[R, V, C·p·p]`: the seen patches, each `[C, p, p]`.
    pub seen: Vec<f32>,
    /// `[R, H, K]`: the operator on the hidden ones.
    pub targets: Vec<f32>,
    /// Positions.
    pub masks: BatchMasks,
}

/// Makes [`SarBatch`]es: view, operator, normalise, draw masks.
pub struct SarCollator {
    /// Of the run.
    pub seed: u64,
    /// Side of the images in pixels.
    pub size: usize,
    /// Side of a patch.
    pub patch: usize,
    /// Operator, masks and views.
    pub parts: SarParts,
    /// Mean and standard deviation of the training images. The operator sees values in `[0, 1]`.
    pub normalise: Normalise,
}

impl SarCollator {
    /// Rows and columns of tokens.
    pub fn grid(&self) -> Grid {
        Grid { rows: self.size / self.patch, cols: self.size / self.patch }
    }
}

impl Collate for SarCollator {
    type Sample = Sample;
    type Batch = SarBatch;

    fn collate(&self, step: u64, samples: &[Sample]) -> Result<SarBatch, DataError> {
        let SarParts { operator, masks, augment } = &self.parts;
        let channels = samples.first().map_or(1, |s| s.image.channels);
        let (size, tokens) = ((self.size, self.size), self.grid().tokens());
        let (width, outputs) = (channels * self.patch * self.patch, operator.width(channels, self.patch));
        let masks =
            masks.draw(self.grid(), samples.len(), self.seed, step).map_err(|e| DataError::Collate(e.to_string()))?;
        // Rows of masks that are this sample's: its windows.
        let windows = masks.batch / samples.len().max(1);
        let mut batch = SarBatch {
            seen: Vec::with_capacity(masks.context.len() * width),
            targets: Vec::with_capacity(masks.target.len() * outputs),
            masks,
        };
        let plain = Normalise::nothing(channels);
        let mut image = vec![0.0; channels * self.size * self.size];
        let mut patches = vec![0.0; tokens * width];
        for (i, sample) in samples.iter().enumerate() {
            let view = augment.apply(&sample.image, self.size, &mut rng(self.seed, Stream::Augment, step, i as u64));
            plain.apply(&view, &mut image);
            let targets = operator.patches(&image, size, self.patch);
            self.normalise.apply(&view, &mut image);
            cut(&image, size, self.patch, &mut patches);
            for row in i * windows..(i + 1) * windows {
                let (seen, hidden) = (batch.masks.context_of(row), batch.masks.target_of(row, 0));
                batch.seen.extend(chosen(&patches, width, tokens, seen, seen.len()));
                batch.targets.extend(chosen(&targets, outputs, tokens, hidden, hidden.len()));
            }
        }
        Ok(batch)
    }
}

/// All networks of a run.
#[derive(Module, Debug)]
pub struct SarNetworks {
    /// The encoder, which is kept.
    pub encoder: Vit,
    /// `[1, 1, D]`: what stands in a hidden patch's place.
    pub mask_token: Param<Tensor<3>>,
    /// From the encoder's tokens to the operator's numbers.
    pub decoder: Decoder,
}

impl SarNetworks {
    /// Fresh networks, a function of the seed.
    pub fn init(encoder: &VitConfig, decoder: &DecoderConfig, seed: u64, device: &Device) -> Self {
        let of = |index| rng(seed, Stream::Init, 0, index);
        Self {
            encoder: encoder.init(&mut of(0), device),
            mask_token: Init::new(&mut of(2), device).truncated_normal([1, 1, encoder.width], 0.02),
            decoder: decoder.init(&mut of(1), device),
        }
    }
}

/// The objective of SAR-JEPA.
pub struct SarJepa {
    /// Makes batches.
    pub collator: Arc<SarCollator>,
    /// Where the networks lie, without autodiff.
    pub device: Device,
}

impl SarJepa {
    /// Predictions and targets of a batch, both `[R, H, K]`.
    pub fn predict(&self, networks: &SarNetworks, batch: &SarBatch) -> (Tensor<3>, Tensor<3>) {
        let masks = &batch.masks;
        let tensor = |values: &[f32], tokens: usize| {
            let shape = [masks.batch, tokens, values.len() / (masks.batch * tokens)];
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &self.device)
        };
        let (seen_at, hidden_at) = (&masks.context, &masks.target);
        let seen = tensor(&batch.seen, masks.context_len);
        let tokens = networks.encoder.encode_masked(seen, networks.mask_token.val(), seen_at, hidden_at);
        (networks.decoder.forward(tokens, seen_at, hidden_at), tensor(&batch.targets, masks.target_len))
    }
}

impl Objective for SarJepa {
    type Sample = Sample;
    type Batch = SarBatch;
    type Networks = SarNetworks;

    fn collator(&self) -> Arc<dyn Collate<Sample = Sample, Batch = SarBatch>> {
        self.collator.clone()
    }

    /// The mean squared error on hidden tokens alone (section 3.3).
    fn loss(&self, networks: &SarNetworks, batch: &SarBatch, clock: &Clock) -> Outcome {
        let (predictions, targets) = self.predict(networks, batch);
        let latents = clock
            .health_due
            .then(|| Latents { predictions: flatten(predictions.clone()), targets: flatten(targets.clone()) });
        Outcome { loss: ops::l2(predictions, targets), terms: Vec::new(), latents, seen: Vec::new() }
    }

    fn kept(&self, networks: &SarNetworks) -> Kept<Sample> {
        let encoder = Frames::new(networks.encoder.valid(), self.collator.normalise.clone(), &self.device);
        Kept { encoder: Box::new(encoder), model: None }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleMapper, ModuleVisitor};
    use burn::tensor::Gradients;
    use foretell_data::{Dataset, Part, ScenesConfig};

    use super::*;
    use crate::operators::OperatorConfig;

    const SIZE: usize = 16;
    const PATCH: usize = 4;

    fn samples(count: usize) -> Vec<Sample> {
        let scenes = Dataset::scenes(&ScenesConfig { size: SIZE, train: count, held_out: 0, seed: 0 });
        (0..count).map(|i| scenes.load(Part::Train, i).unwrap()).collect()
    }

    fn collator(parts: SarParts) -> SarCollator {
        let normalise = Normalise { mean: vec![0.5; 3], std: vec![0.25; 3] };
        SarCollator { seed: 3, size: SIZE, patch: PATCH, parts, normalise }
    }

    fn windows() -> HiddenConfig {
        HiddenConfig::Windows(HiddenWindows { windows: 2, side: 3, ..HiddenWindows::default() })
    }

    fn networks(outputs: usize) -> SarNetworks {
        let vit =
            VitConfig { image: (SIZE, SIZE), patch: PATCH, channels: 3, width: 32, depth: 1, heads: 2, hidden: 64 };
        let decoder = DecoderConfig { grid: vit.grid(), encoder_width: 32, width: 16, depth: 1, heads: 2, outputs };
        SarNetworks::init(&vit, &decoder, 1, &Device::flex().autodiff())
    }

    #[test]
    fn a_batch_holds_each_rows_own_patches_and_targets() {
        // Nothing is drawn but masks, so that every patch can be found again; pixels are their own target.
        for masks in [HiddenConfig::default(), windows()] {
            let parts =
                SarParts { operator: OperatorConfig::Pixels {}, masks: masks.clone(), augment: Augment::default() };
            let samples = samples(3);
            let batch = collator(parts).collate(5, &samples).unwrap();
            assert_eq!(batch.masks.batch, 3 * masks.windows());
            let width = 3 * PATCH * PATCH;
            for row in 0..batch.masks.batch {
                let image = &samples[row / masks.windows()].image;
                let pixel = |token: u32, within: usize| {
                    let (c, y, x) = (within / 16, within / PATCH % PATCH, within % PATCH);
                    let (y, x) = (token as usize / 4 * PATCH + y, token as usize % 4 * PATCH + x);
                    f32::from(image.pixels[(y * SIZE + x) * 3 + c]) / 255.0
                };
                for (place, &token) in batch.masks.target_of(row, 0).iter().enumerate() {
                    let found = &batch.targets[(row * batch.masks.target_len + place) * width..][..width];
                    assert!((0..width).all(|i| (found[i] - pixel(token, i)).abs() < 1e-6));
                }
                for (place, &token) in batch.masks.context_of(row).iter().enumerate() {
                    let found = &batch.seen[(row * batch.masks.context_len + place) * width..][..width];
                    assert!((0..width).all(|i| (found[i] - (pixel(token, i) - 0.5) / 0.25).abs() < 1e-5));
                }
            }
        }
    }

    #[test]
    fn a_batch_is_a_function_of_its_step() {
        let collator = collator(SarParts::default());
        let samples = samples(4);
        let batch = |step| collator.collate(step, &samples).unwrap();
        let (a, b, c) = (batch(2), batch(2), batch(3));
        assert!(a.seen == b.seen && a.targets == b.targets && a.masks == b.masks);
        assert!(a.targets != c.targets && a.masks != c.masks);
        assert!(a.targets.iter().chain(&a.seen).all(|x| x.is_finite()));
    }

    #[test]
    fn masks_that_do_not_fit_are_a_sentence() {
        let masks = HiddenConfig::Windows(HiddenWindows { side: 1, ..HiddenWindows::default() });
        let error = collator(SarParts { masks, ..SarParts::default() }).collate(1, &samples(2)).err().unwrap();
        assert!(error.to_string().contains("mask setting `side` is 1"), "{error}");
    }

    /// Plain gradient descent.
    struct Descend<'a>(&'a Gradients, f64);

    impl ModuleMapper for Descend<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match param.val().grad(self.0) {
                Some(gradient) => param.map(|value| (value.inner() - gradient * self.1).autodiff().require_grad()),
                None => param,
            }
        }
    }

    /// How many parameters have a gradient that is not zero, and how many want one and have none.
    struct Reached<'a>(&'a Gradients, usize, usize);

    impl ModuleVisitor for Reached<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let moved = |g: Tensor<D>| ops::values(g).iter().any(|x| *x != 0.0);
            if param.val().is_require_grad() {
                let reached = param.val().grad(self.0).is_some_and(moved);
                self.1 += usize::from(reached);
                self.2 += usize::from(!reached);
            }
        }
    }

    #[test]
    fn every_network_learns_and_the_loss_falls() {
        for (operator, masks) in [
            (OperatorConfig::default(), HiddenConfig::default()),
            (OperatorConfig::Hog { bins: 9, cells: 1 }, windows()),
        ] {
            let outputs = operator.width(3, PATCH);
            let parts = SarParts { operator, masks, augment: Augment::default() };
            let objective = SarJepa { collator: Arc::new(collator(parts)), device: Device::flex() };
            let batch = objective.collator.collate(1, &samples(8)).unwrap();
            let clock = Clock { step: 1, total: 40, batch: 8, health_due: true };
            let mut networks = networks(outputs);
            let loss = |networks: &SarNetworks| objective.loss(networks, &batch, &clock);
            let first = loss(&networks);
            let latents = first.latents.unwrap();
            assert_eq!(latents.predictions.dims(), [batch.masks.target.len(), outputs]);
            assert_eq!(ops::values(latents.targets), batch.targets);
            let before = first.loss.clone().into_scalar::<f32>();
            let mut reached = Reached(&first.loss.backward(), 0, 0);
            networks.visit(&mut reached);
            // Keys have a bias that no softmax sees, but queries, keys and values are one tensor here.
            assert!(reached.1 > 20 && reached.2 == 0, "{} learn, {} do not", reached.1, reached.2);
            for _ in 0..40 {
                let gradients = loss(&networks).loss.backward();
                networks = networks.map(&mut Descend(&gradients, 0.2));
            }
            let after = loss(&networks).loss.into_scalar::<f32>();
            assert!(after < 0.7 * before, "{before} to {after}");
        }
    }

    #[test]
    fn only_hidden_tokens_are_asked_for() {
        let parts = SarParts { augment: Augment::default(), ..SarParts::default() };
        let objective = SarJepa { collator: Arc::new(collator(parts)), device: Device::flex() };
        let mut batch = objective.collator.collate(1, &samples(2)).unwrap();
        let networks = networks(objective.collator.parts.operator.width(3, PATCH));
        let (predictions, targets) = objective.predict(&networks, &batch);
        assert_eq!(predictions.dims(), [2, 13, 3 * 4 * 16]);
        let by_hand = (predictions.inner() - targets).square().mean().into_scalar::<f32>();
        let clock = Clock { step: 1, total: 1, batch: 2, health_due: false };
        let loss = objective.loss(&networks, &batch, &clock);
        assert!(loss.latents.is_none());
        assert!((loss.loss.into_scalar::<f32>() - by_hand).abs() < 1e-6 * by_hand.max(1.0));
        // A target counts by its square: 13 hidden of 16 tokens, each 192 numbers.
        batch.targets[7] += 2.0;
        let more = objective.loss(&networks, &batch, &clock).loss.into_scalar::<f32>();
        assert!(more != by_hand);
    }
}
