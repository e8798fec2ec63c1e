//! A-JEPA (Fei et al., 2023, arXiv 2311.15830): Audio-JEPA's elder, whose masks follow a curriculum, from blocks to smaller ones that nothing
//! in the same moments or bands gives away; when it is fine-tuned, a tenth of the tokens attend to nothing.
//!
//! The composition is [`Masked`](foretell_jepa::masked::Masked); here are the settings. No code was published: what the paper leaves open
//! is named on the page, `docs/systems/a-jepa.md`.

use foretell_data::sound::{ShortSounds, SoundConfig, Sounds};
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::LatentLoss;
use foretell_jepa::masks::{Curriculum, SpectrogramMasks};
use foretell_jepa::target::TargetTransform;
use foretell_nn::vit::Size;
use foretell_train::Learner;
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sound_model::SoundModel;
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 6,
    name: "a-jepa",
    title: "A-JEPA",
    one_line: "a curriculum of masks over log-mel patches; regularised masking in fine-tuning",
    papers: &["arXiv:2311.15830"],
    state: State::Partial("trains; not measured yet"),
};

/// Settings of A-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AJepaConfig {
    /// What it shares with Audio-JEPA.
    #[serde(flatten)]
    pub model: SoundModel,
}

impl Default for AJepaConfig {
    fn default() -> Self {
        Self {
            model: SoundModel {
                masks: SpectrogramMasks::Curriculum(Curriculum::default()),
                together: false,
                loss: LatentLoss::L2,
                gain: 6.0,
                spared: 0.1,
                ..SoundModel::default()
            },
        }
    }
}

impl AJepaConfig {
    /// The paper's: ViT-B over 16 × 16 patches, a predictor of 16 blocks 512 wide, targets without a batch's statistics, no SIGReg.
    pub fn published() -> Self {
        Self {
            model: SoundModel {
                size: Size::Base,
                patch: Auto::Value(16),
                depth: Auto::Value(12),
                heads: Auto::Value(8),
                predictor_width: Auto::Value(512),
                predictor_depth: Auto::Value(16),
                target_transform: TargetTransform::LayerNorm,
                sigreg: 0.0,
                ..Self::default().model
            },
        }
    }
}

impl System for AJepaConfig {
    type Data = Sounds;
    const ROW: &'static Row = &ROW;

    /// Short recordings begin again, as the paper's cyclic crops do.
    fn data() -> SoundConfig {
        SoundConfig { short: ShortSounds::Repeat, ..SoundConfig::default() }
    }

    /// Two minutes on two cores, for the sounds that come with the program.
    fn usual_steps(data: &SoundConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Sounds>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (objective, networks) = self.model.made(on, decisions)?;
        Ok(on.learner(objective, networks))
    }

    /// The paper's table of the curriculum, and each of its ends for the whole run.
    fn ablations(&self) -> Vec<Ablation> {
        let own = |name, settings: &[&str], about| Ablation::new(name, ROW.name, settings, about);
        let always = |order| format!("model.masks={{ kind = \"curriculum\", order = \"{order}\", start = 1.0 }}");
        vec![
            own("a-jepa", &[], "from blocks to blocks that nothing beside gives away"),
            own("inverse", &["model.masks={ kind = \"curriculum\", order = \"falling\" }"], "the other way round"),
            own("blocks", &[&always("falling")], "blocks throughout, the paper's random masking"),
            own("aware", &[&always("rising")], "blocks that nothing beside gives away throughout"),
            own("unstructured", &["model.masks.kind=unstructured"], "scattered tokens throughout, as Audio-JEPA"),
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
