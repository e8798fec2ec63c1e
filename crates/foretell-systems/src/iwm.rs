//! IWM, Image World Models (Garrido et al., 2024, arXiv 2403.00504): I-JEPA whose predictor is told which photometric change lies between
//! what is seen and what it is to predict, and which is kept: a model of what such changes do.
//!
//! The composition is [`Masked`](foretell_jepa::masked::Masked); here are the settings. There is no released code; the paper's settings
//! are [`IwmConfig::published`].

use foretell_data::{Augment, Auto, Decision, Images, ImagesConfig};
use foretell_eval::Finding;
use foretell_jepa::clips::LatentLoss;
use foretell_nn::conditioner::Conditioning;
use foretell_train::Learner;
use serde::{Deserialize, Serialize};

use crate::image_model::{ImageModel, Kind};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 4,
    name: "iwm",
    title: "IWM",
    one_line: "the predictor is told which photometric transformation to apply",
    papers: &["arXiv:2403.00504"],
    state: State::Partial("trains; knows what changes of colours do in one short run"),
};

/// How the predictor is told the action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Beside each mask token, through three maps.
    #[default]
    Feature,
    /// As tokens before all others.
    Sequence,
    /// Not at all: the control, which cannot know what to predict.
    None,
}

/// Settings of IWM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IwmConfig {
    /// What it shares with I-JEPA. Crop and flip are those of source and target, jitter is drawn for each, and grey, blur and inversion
    /// happen to the source alone.
    #[serde(flatten)]
    pub model: ImageModel,
    /// How the predictor is told the action.
    pub action: Action,
    /// How predictions are held against targets.
    pub loss: LatentLoss,
}

impl Default for IwmConfig {
    fn default() -> Self {
        let augment = Augment { crop_scale: (0.3, 1.0), flip: 0.5, blur: 0.2, solarise: 0.2, ..Augment::coloured() };
        Self { model: ImageModel { augment, ..ImageModel::default() }, action: Action::Feature, loss: LatentLoss::L2 }
    }
}

impl IwmConfig {
    /// The paper's: I-JEPA's masks, targets and average, a predictor of 12 blocks, 384 wide, beside a ViT-B of 16 × 16 pixels.
    pub fn published() -> Self {
        let augment = Self::default().model.augment;
        let (predictor_width, predictor_depth) = (Auto::Value(384), Auto::Value(12));
        Self {
            model: ImageModel { predictor_width, predictor_depth, augment, ..ImageModel::official() },
            ..Self::default()
        }
    }

    fn kind(&self) -> Kind {
        Kind {
            loss: self.loss,
            coloured: true,
            condition: match self.action {
                Action::Feature => Some(Conditioning::Feature),
                Action::Sequence => Some(Conditioning::Sequence),
                Action::None => None,
            },
            together: true,
            neighbours: None,
            keep_predictor: true,
        }
    }
}

impl System for IwmConfig {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ImagesConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        if self.model.augment.speckle != 0.0 {
            return Err(SystemError::Setting(
                "`model.augment.speckle` must be 0: source and target are views of one picture, and noise is no number that an action could tell; `data.speckle` puts it on the picture".to_owned(),
            ));
        }
        let kind = self.kind();
        let (objective, networks) = self.model.made(on, &kind, decisions)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::views_told_apart(run, &self.model.augment, self.model.target_transform)?);
        findings.extend(judges::dense(run)?);
        findings.extend(self.model.masks(run, &self.kind())?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
