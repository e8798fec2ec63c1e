//! V-JEPA (Bardes et al., 2024, arXiv 2404.08471): from the part of a clip that tubes leave, predict the teacher's features of the rest.
//!
//! The composition is [`MaskedClips`](foretell_jepa::clips::MaskedClips); here are the settings. The defaults are ours; the released
//! code's are [`VJepaConfig::official`].

use foretell_data::{Clips, ClipsConfig, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::ClipTransform;
use foretell_jepa::masks::tubes::TubeConfig;
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::clip_model::{ClipModel, Kind};
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 5,
    name: "v-jepa",
    title: "V-JEPA",
    one_line: "masked tubes of video, L1, attentive probe",
    papers: &["arXiv:2404.08471"],
    state: State::Partial("trains; short runs do not learn motion"),
};

/// Settings of V-JEPA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VJepaConfig(pub ClipModel);

impl VJepaConfig {
    /// The released code's: its collator with the cut that drops late frames, layer-normed targets, an average whose momentum rises
    /// from 0.998 to 1. Its networks are a ViT-L of 16 × 16 × 2 pixels and a predictor of 12 blocks, 384 wide.
    pub fn official() -> Self {
        Self(ClipModel {
            masks: TubeConfig::official(),
            target_transform: ClipTransform::LayerNorm,
            sigreg: 0.0,
            ema: EmaConfig { schedule: EmaSchedule::Ramp { start: 0.998 }, ..EmaConfig::default() },
            ..ClipModel::default()
        })
    }
}

impl System for VJepaConfig {
    type Data = Clips;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 16, ..TrainConfig::default() }
    }

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ClipsConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(300)
    }

    fn init(&mut self, on: &On<'_, Clips>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (objective, networks) = self.0.masked(on, decisions)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Clips>) -> Result<Vec<Finding>, JudgeError> {
        self.0.judge(run, &Kind::default())
    }
}
