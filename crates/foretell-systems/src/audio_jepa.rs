//! Audio-JEPA (Tuncay et al., ICME 2025, arXiv 2507.02915): scattered patches of a log-mel spectrogram are predicted from the others; the
//! teacher hears all of it. The settings of [`SoundModel`] span the design study of Riou et al. (2024, arXiv 2405.08679).
//!
//! The composition is [`Masked`](foretell_jepa::masked::Masked). The defaults are ours; the released code's are
//! [`AudioJepaConfig::official`].

use foretell_data::sound::{MelConfig, MelPreset, SoundConfig, Sounds};
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::target::{EmaConfig, EmaSchedule, TargetTransform};
use foretell_nn::vit::Size;
use foretell_train::Learner;
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sound_model::{SoundModel, Weights};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 6,
    name: "audio-jepa",
    title: "Audio-JEPA",
    one_line: "log-mel patches hidden at random; the general-audio design study as settings",
    papers: &["arXiv:2507.02915", "arXiv:2405.08679"],
    state: State::Partial("trains; not measured yet"),
};

/// Settings of Audio-JEPA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AudioJepaConfig {
    /// What it shares with A-JEPA.
    #[serde(flatten)]
    pub model: SoundModel,
}

impl AudioJepaConfig {
    /// The released code's, its quirks included: `2 − 2 cos` of layer-normalised targets, PyTorch's fresh weights since the ViT's are never
    /// drawn, and a clock of the average that runs over 3.75 times the steps that are taken.
    pub fn official() -> Self {
        let schedule = EmaSchedule::Cosine { start: 0.996, stretch: 3.75 };
        Self {
            model: SoundModel {
                size: Size::Base,
                patch: Auto::Value(16),
                depth: Auto::Value(12),
                predictor_width: Auto::Value(384),
                predictor_depth: Auto::Value(6),
                weights: Weights::Torch,
                target_transform: TargetTransform::LayerNorm,
                loss: LatentLoss::Cosine,
                sigreg: 0.0,
                ema: EmaConfig { schedule, ..EmaConfig::default() },
                ..SoundModel::default()
            },
        }
    }

    /// The spectrograms of the released code: 96 of Kaldi's bands, 512 moments, 32 kHz.
    pub fn official_data() -> SoundConfig {
        SoundConfig {
            rate: Auto::Value(32_000),
            mel: MelConfig { preset: MelPreset::KaldiAst, bands: 96, ..MelConfig::default() },
            frames: Auto::Value(512),
            ..SoundConfig::default()
        }
    }
}

impl System for AudioJepaConfig {
    type Data = Sounds;
    const ROW: &'static Row = &ROW;

    /// Two minutes on two cores, for the sounds that come with the program.
    fn usual_steps(data: &SoundConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Sounds>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (objective, networks) = self.model.made(on, decisions)?;
        Ok(on.learner(objective, networks))
    }

    /// The design study: masks × which branch is masked, then the loss, and what all of it owes to its parts.
    fn ablations(&self) -> Vec<Ablation> {
        let own = |name, settings: &[&str], about| Ablation::new(name, ROW.name, settings, about);
        let (blocks, time) = ("model.masks.kind=multi-block", "model.masks.kind=time-only");
        let input = "model.predicts=latents-alone";
        vec![
            own("audio-jepa", &[], "scattered tokens; the teacher hears all, its output is masked"),
            own("unstructured-input", &[input], "scattered tokens; the teacher hears the hidden ones alone"),
            own("multi-block-output", &[blocks], "four blocks; the teacher hears all"),
            own("multi-block-input", &[blocks, input], "four blocks; the teacher hears the blocks alone"),
            own("time-only-output", &[time], "whole moments; the teacher hears all"),
            own("time-only-input", &[time, input], "whole moments; the teacher hears the hidden ones alone"),
            own("squared", &["model.loss=l2"], "squared differences instead of smooth L1"),
            own("cosine", &["model.loss=cosine"], "directions alone, as released"),
            own("blocks-apart", &[blocks, "model.together=false"], "four blocks, each predicted by itself"),
            own(
                "mae",
                &["model.predicts=pixels", "model.target=stop-gradient", "model.keep=context", "model.sigreg=0.0"],
                "a masked autoencoder: the hidden patches themselves",
            ),
            own(
                "bare",
                &["model.sigreg=0.0", "model.target_transform=layer-norm"],
                "no SIGReg, layer norm instead of standardised targets",
            ),
            own("no-average", &["model.target=stop-gradient"], "the encoder itself as teacher, without gradient"),
        ]
    }

    fn judge(&self, run: &Judging<'_, Sounds>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(self.model.masks(run)?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
