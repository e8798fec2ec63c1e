//! Audio-JEPA and A-JEPA: what they choose, what they refuse, their quirks by name, and what a short run learns of generated sounds.

use std::sync::Arc;

use foretell_data::sound::{SoundConfig, Sounds, TonesConfig};
use foretell_data::{Auto, Decision, Modality, Opening};
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masked::Predicts;
use foretell_jepa::masks::{Curriculum, Hidden, OfficialMasks, SpectrogramMasks};
use foretell_jepa::target::TargetKind;
use foretell_nn::NamedTensors;
use foretell_systems::a_jepa::AJepaConfig;
use foretell_systems::audio_jepa::AudioJepaConfig;
use foretell_systems::sound_model::{SoundModel, Weights};
use foretell_train::Which;

use crate::made::Bench;

/// Generated sounds, opened.
fn bench(steps: u64) -> Bench<Sounds> {
    let tones = TonesConfig { train: 64, held_out: 32, seed: 0 };
    let mut config = SoundConfig { tones, ..SoundConfig::default() };
    let mut opening = Opening { seed: 0, batch: 8, threads: 1, decisions: &mut Vec::new() };
    let sounds = Sounds::open(&mut config, &mut opening).unwrap();
    Bench::new(Some(Arc::new(sounds)), config, (steps, 8))
}

fn small(model: SoundModel) -> AudioJepaConfig {
    let model = SoundModel {
        width: Auto::Value(24),
        heads: Auto::Value(2),
        depth: Auto::Value(1),
        predictor_width: Auto::Value(12),
        predictor_depth: Auto::Value(1),
        ..model
    };
    AudioJepaConfig { model }
}

#[test]
fn lengths_follow_the_spectrogram() {
    let bench = bench(1000);
    let (mut model, mut decisions) = (SoundModel::default(), Vec::<Decision>::new());
    model.made(&bench.on(), &mut decisions).unwrap();
    // 64 bands and 64 moments: 8 × 8 tokens.
    assert_eq!(model.patch, Auto::Value(8));
    assert_eq!((model.width, model.predictor_width), (Auto::Value(192), Auto::Value(96)));
    assert!(decisions.iter().any(|decision| decision.what == "model.ema.schedule.samples"));
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let bench = bench(1000);
    let refused = |model: SoundModel| bench.refusal(&small(model));
    let open = SoundModel::default;
    assert!(refused(SoundModel { patch: Auto::Value(7), ..open() }).contains("`data.mel.bands` to 63"));
    assert!(refused(SoundModel { patch: Auto::Value(64), ..open() }).contains("at least two a side"));
    assert!(refused(SoundModel { gain: -1.0, ..open() }).contains("`model.gain`"));
    assert!(refused(SoundModel { spared: 1.0, ..open() }).contains("`model.spared`"));
    assert!(refused(SoundModel { sigreg: f64::NAN, ..open() }).contains("`model.sigreg`"));
    let masks = SpectrogramMasks::TimeOnly(Hidden { share: (0.5, 2.0) });
    assert!(refused(SoundModel { masks, ..open() }).contains("share"));
    let one = Bench::new(bench.data.clone(), bench.config.clone(), (1000, 1));
    assert!(one.refusal(&small(open())).contains("`train.batch`"));
    // As released, a random teacher would be left of so short a run.
    let short = Bench::new(bench.data.clone(), bench.config.clone(), (100, 8));
    assert!(short.refusal(&small(AudioJepaConfig::official().model)).contains("random initial teacher"));
}

/// The released initialisation never runs: biases are drawn, and maps are uniform.
#[test]
fn the_released_weights_are_pytorchs() {
    let bench = bench(100_000);
    let state = |weights| {
        let model = small(SoundModel { weights, ..SoundModel::default() });
        bench.learner(&model).state(Which::Trained)
    };
    let (ours, theirs): (NamedTensors, NamedTensors) = (state(Weights::Vit), state(Weights::Torch));
    let largest =
        |state: &NamedTensors, name: &str| state[name].values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (name, inputs) in
        [("encoder.blocks.0.attn.qkv", 24), ("encoder.patch_embed.proj", 64), ("predictor.predictor_proj", 12)]
    {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        assert_eq!(largest(&ours, &bias), 0.0);
        let bound = 1.0 / (inputs as f32).sqrt();
        for found in [largest(&theirs, &weight), largest(&theirs, &bias)] {
            assert!(found <= bound && found > 0.7 * bound, "{name}: {found} of {bound}");
        }
    }
    for same in ["encoder.norm.weight", "encoder.blocks.0.norm1.bias", "encoder.pos_embed"] {
        assert_eq!(ours[same], theirs[same]);
    }
    // The teacher begins as the student.
    assert_eq!(theirs["encoder.blocks.0.attn.qkv.bias"].values, theirs["target_encoder.blocks.0.attn.qkv.bias"].values);
    let official = AudioJepaConfig::official().model;
    assert_eq!((official.weights, official.loss), (Weights::Torch, LatentLoss::Cosine));
}

#[test]
fn every_cell_of_the_study_takes_a_step() {
    let bench = bench(4);
    let kinds = [
        SpectrogramMasks::default(),
        SpectrogramMasks::MultiBlock(<_>::default()),
        SpectrogramMasks::TimeOnly(Hidden::default()),
        SpectrogramMasks::Official(OfficialMasks { min_keep: 4, ..OfficialMasks::default() }),
        SpectrogramMasks::Curriculum(Curriculum::default()),
    ];
    for masks in kinds {
        for (predicts, loss) in [
            (Predicts::Latents, LatentLoss::SmoothL1),
            (Predicts::LatentsAlone, LatentLoss::Cosine),
            (Predicts::Pixels, LatentLoss::L2),
        ] {
            for together in [true, false] {
                let mut model = SoundModel { masks: masks.clone(), predicts, loss, together, ..SoundModel::default() };
                model.ema.initial_teacher_limit = 1.0;
                if predicts == Predicts::Pixels {
                    (model.target, model.sigreg) = (TargetKind::StopGradient, 0.0);
                }
                let (mut model, mut decisions) = (small(model).model, Vec::new());
                let (objective, networks) = model.made(&bench.on(), &mut decisions).unwrap();
                let collator = foretell_jepa::Objective::collator(&objective);
                let data = bench.data.as_ref().unwrap();
                let samples: Vec<_> = (0..8).map(|i| data.load_to_train(i).unwrap()).collect();
                let batch = collator.collate(1, &samples).unwrap();
                let clock = foretell_jepa::Clock { step: 1, total: 4, batch: 8, health_due: true };
                let outcome = foretell_jepa::Objective::loss(&objective, &networks, &batch, &clock);
                let loss = outcome.loss.into_scalar::<f32>();
                assert!(loss.is_finite() && loss > 0.0, "{masks:?} {predicts:?} {together}");
            }
        }
    }
    assert_eq!(AJepaConfig::published().model.predictor_depth, Auto::Value(16));
    assert!(matches!(AJepaConfig::default().model.masks, SpectrogramMasks::Curriculum(_)));
}
