//! H-JEPA (arXiv 2610.06805, after the position paper's §4.7): a model of frames as LeWorldModel's, and levels above it, each slower and
//! more abstract. A plan is made from above: what a level foretells first is the goal of the level below.
//!
//! The composition is [`levels`], plans from above are [`Above`](foretell_world::Above).

use std::sync::Arc;

use foretell_data::Decision;
use foretell_eval::Finding;
use foretell_jepa::dynamics::LevelledNetworks;
use foretell_jepa::dynamics::levels::{self, Hierarchy, Learning, Levelled};
use foretell_nn::Backbone;
use foretell_nn::causal::CausalConfig;
use foretell_nn::level::LevelConfig;
use foretell_train::{Learner, TrainConfig};
use foretell_world::{Experience, ExperienceConfig, Form, PlaySettings};
use serde::{Deserialize, Serialize};

use crate::frame_model::{self, FrameModel, FreshEncoder};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 1,
    name: "h-jepa",
    title: "JEPA / H-JEPA",
    one_line: "the frame itself: energies, latent z, several levels of abstraction and time",
    papers: &["OpenReview:BZ5a1r-kVsf", "arXiv:2610.06805", "arXiv:2604.03208"],
    state: State::Partial(
        "levels, energies and a latent z train, plans from above; its figures at long range are open",
    ),
};

/// Settings of H-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HJepaConfig {
    /// The level that acts: those of LeWorldModel.
    #[serde(flatten)]
    pub frames: FrameModel,
    /// Levels in all, 1 to 4.
    pub levels: usize,
    /// States of a level from one of the next to another.
    pub stride: usize,
    /// Numbers in a macro-action.
    pub macro_width: usize,
    /// Whether states above are a map of those below; `false`: they are the same, and have no SIGReg of their own (HWM).
    pub lift: bool,
    /// Weight of SIGReg at each level above the first.
    pub lambda_above: f64,
    /// Whether all learn at once, or one after the other.
    pub learning: Learning,
}

impl Default for HJepaConfig {
    /// For minutes on a CPU. The levels are on their own: no steps between places are told.
    fn default() -> Self {
        Self {
            frames: FrameModel { reach: 0.0, ..FrameModel::default() },
            levels: 3,
            stride: 2,
            macro_width: 4,
            lift: true,
            lambda_above: 0.1,
            learning: Learning::Together,
        }
    }
}

impl HJepaConfig {
    /// The released sizes and weights for Four Rooms (224 pixels, blocks of five actions, AdamW at 5e-5, upper levels at 1e-5, which here
    /// learn at the same rate). What differs besides what [LeWorldModel's](FrameModel::official) page says: a macro-action comes from a
    /// perceptron over the actions below where a transformer reads their embeddings.
    pub fn official() -> Self {
        let frames = FrameModel { lambda: 0.18, ..FrameModel::official() };
        Self { frames, lambda_above: 0.18, ..Self::default() }
    }

    /// Observations of a window in which the highest level has so many states.
    fn window(&self, states: usize) -> usize {
        (states - 1) * self.stride.pow(self.levels as u32 - 1) + 1
    }

    fn check(&self) -> Result<(), SystemError> {
        let setting = |text: String| Err(SystemError::Setting(text));
        if self.levels == 0 || self.levels > levels::MOST + 1 {
            return setting(format!("`model.levels` is 1 to {}, found {}", levels::MOST + 1, self.levels));
        }
        if self.stride < 2 || self.stride > 16 {
            return setting(format!("`model.stride` is 2 to 16, found {}", self.stride));
        }
        if self.macro_width == 0 {
            return setting("`model.macro_width` must be at least 1".to_owned());
        }
        if !(self.lambda_above >= 0.0 && self.lambda_above.is_finite()) {
            return setting(format!("`model.lambda_above` must be 0 or more, found {}", self.lambda_above));
        }
        self.frames.check()
    }

    fn learner<B: Backbone + 'static>(&self, backbone: B, form: &Form, on: &On<'_, Experience>) -> Box<dyn Learner> {
        let ground = self.frames.networks(backbone, form, on);
        let mut weights = on.weights(4);
        let device = on.learning();
        let above = (1..self.levels).map(|level| {
            let predictor =
                CausalConfig { action_width: 4 * self.macro_width, ..self.frames.predictor(self.macro_width) };
            let config = LevelConfig {
                stride: self.stride,
                action: if level == 1 { form.action } else { self.macro_width },
                hidden: 2 * self.frames.width,
                lift: self.lift,
                predictor,
            };
            config.init(&mut weights, &device)
        });
        let networks = LevelledNetworks { levels: above.collect(), ground };
        let objective = Hierarchy::<B> {
            variable: self.frames.z,
            setting: Levelled {
                ground: self.frames.terms(),
                lambda: if self.lift { self.lambda_above } else { 0.0 },
                learning: self.learning,
            },
            actor: networks.ground.actor.is_some().then(|| self.frames.actor.second()),
            collator: Arc::new(self.frames.collator(form, on.seed)),
            device: on.device.clone(),
        };
        on.learner(objective, networks)
    }
}

impl System for HJepaConfig {
    type Data = Experience;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { lr: 5e-4, ..frame_model::train() }
    }

    /// Blocks of four actions, so that states of levels 1, 2 and 3 are 4, 8 and 16 steps apart, and four of the highest in a window.
    fn data() -> ExperienceConfig {
        ExperienceConfig::Play(PlaySettings { frameskip: 4, window: 13, ..PlaySettings::default() })
    }

    fn fitting(data: &ExperienceConfig) -> Self {
        let config = Self::default();
        Self { frames: config.frames.fitted(data), ..config }
    }

    fn ask(&self, data: &mut ExperienceConfig, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        self.check()?;
        let best = self.window(self.frames.history + 1);
        let reason = format!("{} states of the highest of {} levels", self.frames.history + 1, self.levels);
        let least = self.frames.history.max(self.window(2) - 1);
        data.fit_windows((best, reason), least, decisions)?;
        Ok(data.fit_exploration(self.frames.reach > 0.0, "model.reach")?)
    }

    fn init(&mut self, on: &On<'_, Experience>, _: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        self.check()?;
        let form = on.config.form()?;
        Ok(match self.frames.encoder.init(&form, on)? {
            FreshEncoder::Conv(encoder) => self.learner(encoder, &form, on),
            FreshEncoder::Vit(encoder) => self.learner(encoder, &form, on),
        })
    }

    /// Beside what any model of a world is asked: how well each level foretells.
    fn judge(&self, run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
        let block = run.on.config.form()?.frameskip;
        let mut found = judges::world::looking_ahead(run, 24_usize.next_multiple_of(block))?;
        found.extend(judges::world::by_level(run)?);
        Ok(found)
    }
}
