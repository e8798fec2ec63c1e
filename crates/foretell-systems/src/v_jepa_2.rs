//! V-JEPA 2 (Assran et al., 2025, arXiv 2506.09985): V-JEPA with rotary codes, a rate that stays until it cools down, and longer and
//! larger clips at the end.
//!
//! The composition is [`MaskedClips`](foretell_jepa::clips::MaskedClips); here are the settings. The defaults are ours; the released
//! code's are [`VJepa2Config::official`]. Its action-conditioned predictor is a system of its own.

use foretell_data::{Clips, ClipsConfig, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::{ClipTransform, MaskToken};
use foretell_jepa::masks::tubes::TubeConfig;
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_nn::positions::{Rope, RopeStyle};
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::clip_model::{ClipModel, Grow, Kind};
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 10,
    name: "v-jepa-2",
    title: "V-JEPA 2",
    one_line: "RoPE, schedule with cool-down",
    papers: &["arXiv:2506.09985"],
    state: State::Partial("trains; short runs do not learn motion"),
};

/// Settings of V-JEPA 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VJepa2Config {
    /// What it shares with V-JEPA.
    #[serde(flatten)]
    pub model: ClipModel,
    /// How the values of a head share the angles of the rotary codes: `interleaved` turns each pair, `tiled` is what the released
    /// networks were trained with, by mistake.
    pub rope: RopeStyle,
    /// Which mask token stands for what is asked.
    pub mask_token: MaskToken,
    /// When clips grow to their full length and size, and what they are before.
    pub grow: Grow,
}

impl Default for VJepa2Config {
    fn default() -> Self {
        Self {
            model: ClipModel::default(),
            rope: RopeStyle::Interleaved,
            mask_token: MaskToken::OfSet,
            grow: Grow::default(),
        }
    }
}

impl VJepa2Config {
    /// The released code's: tiled angles, the first mask token for all mask sets, the collator's cut, an average of constant momentum;
    /// a quarter of the frames and two thirds of the side before the cool-down. Its networks are a ViT-g of 16 × 16 × 2 pixels and a
    /// predictor of 12 blocks, 384 wide.
    pub fn official() -> Self {
        Self {
            model: ClipModel {
                masks: TubeConfig::official(),
                target_transform: ClipTransform::LayerNorm,
                sigreg: 0.0,
                ema: EmaConfig { schedule: EmaSchedule::Constant { momentum: 0.99925 }, ..EmaConfig::default() },
                ..ClipModel::default()
            },
            rope: RopeStyle::Tiled,
            mask_token: MaskToken::First,
            grow: Grow { at: 20.0 / 21.0, frames: 0.25, size: 2.0 / 3.0 },
        }
    }

    fn kind(&self, on: &On<'_, Clips>) -> Result<Kind, SystemError> {
        Ok(Kind {
            rope: Some(Rope { style: self.rope, counted: None, spread: None }),
            mask_token: self.mask_token,
            early: self.grow.early(on, &self.model)?,
            rescale: true,
            ..Kind::default()
        })
    }
}

impl System for VJepa2Config {
    type Data = Clips;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 16, cooldown: 0.1, final_weight_decay: 0.04, ..TrainConfig::default() }
    }

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ClipsConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(500)
    }

    fn init(&mut self, on: &On<'_, Clips>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        self.model.resolve(on, decisions)?;
        let (objective, networks) = self.model.build(on, &self.kind(on)?)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Clips>) -> Result<Vec<Finding>, JudgeError> {
        let kind = self.kind(&run.on).map_err(|error| JudgeError::Other(error.to_string()))?;
        self.model.judge(run, &kind)
    }
}
