//! V-JEPA 2.1 (2026, arXiv 2603.14482): every token is supervised, those of the context too, at several depths; single images learn
//! beside clips through a tokeniser of their own.
//!
//! The composition is [`MaskedClips`](foretell_jepa::clips::MaskedClips); here are the settings. The defaults are ours; the released
//! code's are [`VJepa21Config::official`].

use foretell_data::{Auto, Clips, ClipsConfig, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::{ClipTransform, ContextLoss, ImagesAmong, MaskToken};
use foretell_jepa::masks::tubes::{BlockTubes, OfficialTubes, TubeConfig, TubeSet};
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_nn::clip_vit::Dense;
use foretell_nn::positions::{Rope, RopeStyle};
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::clip_model::{ClipModel, Grow, Kind};
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::resolved;
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 16,
    name: "v-jepa-2.1",
    title: "V-JEPA 2.1",
    one_line: "every token supervised, at several depths",
    papers: &["arXiv:2603.14482"],
    state: State::Partial("trains; short runs learn little of motion"),
};

/// Settings of V-JEPA 2.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VJepa21Config {
    /// What it shares with V-JEPA.
    #[serde(flatten)]
    pub model: ClipModel,
    /// The side over which rows and columns are spread for the rotary codes: that of full clips, so that a place keeps its code when
    /// clips grow. 16 as released.
    pub spread: Auto<usize>,
    /// Which mask token stands for what is asked.
    pub mask_token: MaskToken,
    /// When clips grow to their full length and size, and what they are before.
    pub grow: Grow,
    /// Supervision of the context's tokens.
    pub context_loss: ContextLoss,
    /// Single images among the clips.
    pub images: ImagesAmong,
}

impl Default for VJepa21Config {
    fn default() -> Self {
        let images = BlockTubes { sets: vec![TubeSet::image()] };
        Self {
            model: ClipModel::default(),
            spread: Auto::Auto,
            mask_token: MaskToken::OfSet,
            grow: Grow::default(),
            context_loss: ContextLoss::default(),
            images: ImagesAmong { share: 0.25, masks: TubeConfig::Blocks(images) },
        }
    }
}

impl VJepa21Config {
    /// The released code's: half of what a step sees are images, codes spread over 16 tokens, the first mask token for all mask sets,
    /// the collator's cut, an average of constant momentum. Its networks are a ViT-G of 16 × 16 × 2 pixels and a predictor of 24 blocks,
    /// 384 wide.
    pub fn official() -> Self {
        Self {
            model: ClipModel {
                masks: TubeConfig::official(),
                target_transform: ClipTransform::LayerNorm,
                sigreg: 0.0,
                ema: EmaConfig { schedule: EmaSchedule::Constant { momentum: 0.99925 }, ..EmaConfig::default() },
                ..ClipModel::default()
            },
            spread: Auto::Value(16),
            mask_token: MaskToken::First,
            grow: Grow { at: 135.0 / 147.0, frames: 0.25, size: 2.0 / 3.0 },
            images: ImagesAmong { share: 0.5, masks: TubeConfig::Official(OfficialTubes::image()) },
            ..Self::default()
        }
    }

    fn kind(&self, on: &On<'_, Clips>) -> Result<Kind, SystemError> {
        if !(0.0..1.0).contains(&self.images.share) {
            return Err(SystemError::Setting(format!(
                "`model.images.share` must lie in 0 ≤ x < 1, so that clips are left, found {}",
                self.images.share
            )));
        }
        let spread = if let Auto::Value(side) = self.spread { Some(side) } else { None };
        Ok(Kind {
            rope: Some(Rope { style: RopeStyle::Interleaved, counted: None, spread }),
            dense: Some(Dense::spread(resolved(self.model.depth))),
            mask_token: self.mask_token,
            context_loss: Some(self.context_loss),
            images: Some(self.images.clone()),
            early: self.grow.early(on, &self.model)?,
            rescale: true,
        })
    }
}

impl System for VJepa21Config {
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
        let (_, size, _) = on.config.form()?;
        let side = size / resolved(self.model.patch).max(1);
        self.spread.resolve("model.spread", decisions, || (side, "the side of full clips in tokens".to_owned()));
        let (objective, networks) = self.model.build(on, &self.kind(on)?)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Clips>) -> Result<Vec<Finding>, JudgeError> {
        let kind = self.kind(&run.on).map_err(|error| JudgeError::Other(error.to_string()))?;
        self.model.judge(run, &kind)
    }
}
