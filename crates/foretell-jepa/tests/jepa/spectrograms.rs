//! The masked composition over spectrograms: batches, which of a teacher's branches is masked, losses and gradients against PyTorch, and
//! blocks in which some tokens attend to nothing.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_data::Collate;
use foretell_data::random::{Stream, rng};
use foretell_data::sound::{ShortSounds, SoundSample};
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::{Keep, Masked, MaskedBatch, MaskedNetworks, OnGrid, Predicts};
use foretell_jepa::masks::{BatchMasks, SpectrogramMasks};
use foretell_jepa::spectrograms::SpectrogramCollator;
use foretell_jepa::target::{EmaConfig, TargetKind, TargetTransform};
use foretell_jepa::{Clock, Objective};
use foretell_nn::layers::{Block, Pass};
use foretell_nn::parameters::gradients;
use foretell_nn::positions::gather_tokens;
use foretell_nn::predictor::PredictorConfig;
use foretell_nn::vit::{VitConfig, patchify};
use foretell_nn::{ImageNetwork, Init};
use foretell_ops as ops;

use crate::parity::{Golden, loaded};

const BANDS: usize = 12;
const FRAMES: usize = 20;
const CLOCK: Clock = Clock { step: 1, total: 10, batch: 2, health_due: false };

fn collator() -> SpectrogramCollator {
    SpectrogramCollator {
        seed: 5,
        steps: 10,
        bands: BANDS,
        frames: FRAMES,
        patch: 4,
        gain: 0.0,
        short: ShortSounds::Silence,
        masks: SpectrogramMasks::default(),
        together: true,
        width: 16,
        slices: 0,
    }
}

fn networks() -> MaskedNetworks {
    let device = Device::flex().autodiff();
    let vit = VitConfig { image: (BANDS, FRAMES), patch: 4, channels: 1, width: 16, depth: 1, heads: 2, hidden: 64 };
    let encoder = vit.init(&mut rng(9, Stream::Init, 0, 0), &device);
    let predictor = PredictorConfig { grid: vit.grid(), encoder_width: 16, width: 8, depth: 1, heads: 2, outputs: 16 };
    let predictor = predictor.init(&mut rng(9, Stream::Init, 0, 1), &device);
    MaskedNetworks { target_encoder: encoder.valid(), encoder, predictor, head: None, target_head: None }
}

fn objective(predicts: Predicts, loss: LatentLoss, collator: SpectrogramCollator) -> Masked<SpectrogramCollator> {
    Masked {
        target: TargetKind::Ema,
        predicts,
        transform: TargetTransform::LayerNorm,
        loss,
        neighbours: None,
        sigreg: 0.0,
        means: None,
        ema: EmaConfig::default(),
        keep: Keep::Target,
        keep_predictor: false,
        collator: Arc::new(collator),
        device: Device::flex(),
    }
}

/// `bench/peers/audio_jepa.py`: {the teacher's output, its input masked} × {smooth L1, L2, 2 − 2 cos}.
#[test]
fn losses_and_gradients_are_pytorchs() {
    let golden = Golden::open(&["audio-jepa.safetensors"]);
    let fresh = networks();
    golden.check("encoder.pos_embed", fresh.encoder.pos_embed.val());
    let networks = MaskedNetworks {
        encoder: loaded(fresh.encoder, golden.network("encoder.")),
        target_encoder: loaded(fresh.target_encoder, golden.network("target_encoder.")),
        predictor: loaded(fresh.predictor, golden.network("predictor.")),
        ..fresh
    };
    let patches = patchify(golden.tensor("input.images", &Device::flex()), 4);
    let masks = BatchMasks {
        batch: 2,
        context_len: 7,
        context: golden.indices("input.context"),
        targets: 1,
        target_len: 8,
        target: golden.indices("input.targets"),
    };
    let batch = MaskedBatch {
        context: ops::values(gather_tokens(patches.clone(), &masks.context)),
        patches: ops::values(patches),
        actions: Vec::new(),
        masks,
        directions: Vec::new(),
    };
    let mut checked = 0;
    for (teacher, predicts) in [("output", Predicts::Latents), ("input", Predicts::LatentsAlone)] {
        for (name, loss) in
            [("smooth-l1", LatentLoss::SmoothL1), ("l2", LatentLoss::L2), ("cosine", LatentLoss::Cosine)]
        {
            let outcome = objective(predicts, loss, collator()).loss(&networks, &batch, &CLOCK);
            golden.check(&format!("output.{teacher}.{name}"), outcome.loss.clone());
            let mut all = outcome.loss.backward();
            gradients(&networks, &mut all, &mut |parameter, gradient: Tensor<1>| {
                let key = format!("grad.{teacher}.{name}.{}", parameter.name);
                if golden.find(&key).is_some() {
                    golden.check(&key, gradient);
                    checked += 1;
                }
            });
        }
    }
    assert_eq!(checked, 18);
}

#[test]
fn what_attends_to_nothing_is_pytorchs() {
    let golden = Golden::open(&["audio-jepa.safetensors"]);
    let device = Device::flex().autodiff();
    let block = Block::new(16, 2, 64, &mut Init::new(&mut rng(0, Stream::Init, 0, 0), &device));
    let block = loaded(block, golden.network("encoder.blocks.0."));
    let x = golden.tensor::<3>("spared.x", &device).require_grad();
    let out = block.forward_where(x.clone(), golden.tensor("spared.attends", &Device::flex()));
    golden.check("spared.output", out.clone());
    let mut all = (out * golden.tensor::<3>("spared.probe", &Device::flex())).mean().backward();
    golden.check("spared.grad.x", x.grad(&all).unwrap());
    gradients(&block, &mut all, &mut |parameter, gradient: Tensor<1>| {
        if parameter.name == "attn.qkv.weight" {
            golden.check("spared.grad.qkv", gradient);
        }
    });
}

fn samples() -> Vec<SoundSample> {
    let sample = |i: usize| {
        let frames = 15 + 10 * i;
        let values: Vec<f32> = (0..BANDS * frames).map(|at| (at / frames * 100 + at % frames) as f32).collect();
        SoundSample { bands: BANDS, frames, values: values.into(), heard: frames, silence: -1.0, decibel: 1.0 }
    };
    vec![sample(0), sample(1)]
}

#[test]
fn patches_are_bands_by_moments_of_any_part_of_a_recording() {
    let collator = collator();
    let grid = collator.grid();
    assert_eq!((grid.rows, grid.cols), (3, 5));
    let (mut starts, mut filled) = (std::collections::BTreeSet::new(), 0);
    for step in 1..=20 {
        let batch = collator.collate(step, &samples()).unwrap();
        assert_eq!(batch.patches.len(), 2 * 15 * 16);
        // The first sample is shorter: its first patch begins with its first moment, its last is silence from the fourth on.
        assert_eq!(batch.patches[..4], [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(batch.patches[4 * 16..][..4], [-1.0; 4]);
        filled += usize::from(batch.patches[3 * 16 + 3] == -1.0);
        // Row 4 begins the second row of patches.
        assert_eq!(batch.patches[5 * 16], 400.0);
        starts.insert(batch.patches[15 * 16] as u32);
        let (context, target) = (batch.masks.context_of(0), batch.masks.target_of(0, 0));
        assert_eq!(context.len() + target.len(), 15);
        let first = context[0] as usize;
        assert_eq!(batch.context[..16], batch.patches[first * 16..][..16]);
    }
    assert_eq!(filled, 20);
    assert!(starts.len() > 3 && starts.iter().all(|start| *start <= 5), "{starts:?}");
    let again = collator.collate(7, &samples()).unwrap();
    assert_eq!(again.patches, collator.collate(7, &samples()).unwrap().patches);
}

/// The teacher whose input is masked knows nothing of what is seen.
#[test]
fn a_masked_input_is_not_heard() {
    let networks = networks();
    for (predicts, hears) in [(Predicts::Latents, true), (Predicts::LatentsAlone, false)] {
        let objective = objective(predicts, LatentLoss::L2, collator());
        let batch = objective.collator.collate(3, &samples()).unwrap();
        let mut other = objective.collator.collate(3, &samples()).unwrap();
        let seen = other.masks.context_of(0)[0] as usize;
        other.patches[seen * 16..][..16].fill(7.0);
        let targets = |batch: &MaskedBatch| ops::values(objective.predict(&networks, batch).1);
        assert_eq!(targets(&batch) != targets(&other), hears, "{predicts:?}");
    }
}

#[test]
fn the_kept_encoder_hears_spectrograms_and_can_be_tuned() {
    let mut networks = networks();
    networks.target_encoder = networks.target_encoder.sparing(0.5, 3);
    let kept = objective(Predicts::Latents, LatentLoss::L2, collator()).kept(&networks);
    let samples: Vec<SoundSample> =
        samples().iter().map(|sample| sample.middle(FRAMES, ShortSounds::Silence)).collect();
    let samples: Vec<&SoundSample> = samples.iter().collect();
    let tokens = kept.encoder.tokens(&samples);
    assert_eq!((tokens.rows.dims(), tokens.grid), ([30, 16], Some((3, 5))));
    // Probes are given each row's mean over time: three rows of 16.
    let probed = kept.encoder.probed(&samples);
    let rows = tokens.rows.clone().reshape([2, 3, 5, 16]).mean_dim(2).reshape([2, 48]);
    assert_eq!(ops::values(probed), ops::values(rows));
    let tunable = kept.encoder.tunable().unwrap();
    let values = |tokens: foretell_nn::Tokens| ops::values(tokens.rows.inner());
    let plain = values(tokens);
    // In training each pass leaves other tokens without attention; in evaluation none.
    let first = values(tunable.learned(&samples, &mut Pass::Training(&mut Vec::new())));
    let second = values(tunable.learned(&samples, &mut Pass::Training(&mut Vec::new())));
    assert!(first != plain && second != first);
    assert_eq!(values(tunable.learned(&samples, &mut Pass::Evaluation)), plain);
    assert_eq!(values(tunable.tuned().tokens(&samples)), plain);
    // The same weights without: the same in both.
    let bare = self::networks().encoder;
    let images = Tensor::<4>::ones([1, 1, BANDS, FRAMES], &Device::flex().autodiff());
    let trained = bare.learned(images.clone(), &mut Pass::Training(&mut Vec::new())).tokens;
    let same = bare.learned(images, &mut Pass::Evaluation).tokens;
    assert_eq!(ops::values(trained.inner()), ops::values(same.inner()));
}
