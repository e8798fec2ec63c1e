//! LeWorldModel (arXiv 2603.19312): frames to one vector each, the next foretold from a short history and the actions, and
//! SIGReg alone against collapse. No moving average, no stop-gradient, two terms and one weight.
//!
//! The composition is [`dynamics`](foretell_jepa::dynamics); the settings are those of [models of frames](crate::frame_model).

use std::sync::Arc;

use foretell_data::Decision;
use foretell_eval::Finding;
use foretell_jepa::dynamics::Causal;
use foretell_nn::Backbone;
use foretell_train::{Learner, TrainConfig};
use foretell_world::{Experience, ExperienceConfig, Form};

use crate::frame_model::{self, FrameModel, FreshEncoder};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 17,
    name: "le-wm",
    title: "LeWorldModel",
    one_line: "one vector a frame, two loss terms, plans fast",
    papers: &["arXiv:2603.19312"],
    state: State::Partial("trains and plans; reaches half of the goals in Two Rooms in short runs"),
};

/// Settings of LeWorldModel.
pub type LeWmConfig = FrameModel;

impl System for LeWmConfig {
    type Data = Experience;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        frame_model::train()
    }

    fn data() -> ExperienceConfig {
        ExperienceConfig::explored()
    }

    fn fitting(data: &ExperienceConfig) -> Self {
        Self::default().fitted(data)
    }

    fn ask(&self, data: &mut ExperienceConfig, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        data.fit_windows(self.window(), self.history.max(self.prefixes.horizon), decisions)?;
        Ok(data.fit_exploration(self.reach > 0.0, "model.reach")?)
    }

    fn init(&mut self, on: &On<'_, Experience>, _: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        self.check()?;
        let form = on.config.form()?;
        Ok(match self.encoder.init(&form, on)? {
            FreshEncoder::Conv(encoder) => self.learner(encoder, &form, on),
            FreshEncoder::Vit(encoder) => self.learner(encoder, &form, on),
        })
    }

    fn judge(&self, run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
        judges::world::usual(run)
    }
}

impl LeWmConfig {
    fn learner<B: Backbone + 'static>(&self, backbone: B, form: &Form, on: &On<'_, Experience>) -> Box<dyn Learner> {
        let networks = self.networks(backbone, form, on);
        let objective = Causal::<B> {
            variable: self.z,
            setting: self.terms(),
            actor: networks.actor.is_some().then(|| self.actor.second()),
            collator: Arc::new(self.collator(form, on.seed)),
            device: on.device.clone(),
        };
        on.learner(objective, networks)
    }
}
