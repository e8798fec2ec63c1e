//! ACT-JEPA (arXiv 2501.14622): imitation of an expert, in which one encoder learns from the chunk of actions that follows an observation and
//! from the latents of what is seen behind them.
//!
//! The composition is [`dynamics::chunks`](foretell_jepa::dynamics::chunks); here are the settings.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::module::Module;
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::Second;
use foretell_jepa::dynamics::{ChunkCollator, ChunkNetworks, Chunks, Stages};
use foretell_jepa::target::{EmaConfig, EmaSchedule};
use foretell_nn::context::ContextConfig;
use foretell_nn::queries::QueriesConfig;
use foretell_nn::{Backbone, Init};
use foretell_train::{Learner, TrainConfig};
use foretell_world::{DemonstrationSettings, Experience, ExperienceConfig, Form, PlaySettings, PushT, WorldConfig};
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::actions::ActionScale;
use crate::frame_model::{FrameEncoder, FreshEncoder};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::{check_width, settle_average};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 9,
    name: "act-jepa",
    title: "ACT-JEPA",
    one_line: "action chunks and latent observations predicted together",
    papers: &["arXiv:2501.14622"],
    state: State::Partial("trains and imitates an expert; the table against ACT is not measured yet"),
};

/// Settings of ACT-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActJepaConfig {
    /// Actions of a chunk, n; windows are one observation longer.
    pub chunk: usize,
    /// Weight of the latents' error beside that of the actions; 0: ACT, and with chunks of one action behaviour cloning.
    pub latents: f64,
    /// When the two errors count.
    pub stages: Stages,
    /// Peak learning rate of the second stage, where there are two; the first has the run's.
    pub cloning_lr: f64,
    /// Whether the goal is told, as an observation through the same encoder.
    pub goal: Auto<bool>,
    /// Width of the tokens, of the decoder and of the predictor, D.
    pub width: usize,
    /// Blocks over the tokens of one observation.
    pub depth: usize,
    /// Layers of the decoder and of the predictor.
    pub layers: usize,
    /// Attention heads of all of them.
    pub heads: usize,
    /// What the networks are given of an action.
    pub actions: ActionScale,
    /// What looks at an observation.
    pub encoder: FrameEncoder,
    /// The clock of the encoder's moving average.
    pub ema: EmaConfig,
}

impl Default for ActJepaConfig {
    /// For 64 pixels and minutes on a CPU.
    fn default() -> Self {
        Self {
            chunk: 8,
            latents: 1.0,
            stages: Stages::Joint,
            cloning_lr: 1e-3,
            goal: Auto::Auto,
            width: 128,
            depth: 2,
            layers: 2,
            heads: 4,
            actions: ActionScale::Standard,
            encoder: FrameEncoder::Conv { widths: vec![16, 32, 64], features: 256 },
            ema: EmaConfig::default(),
        }
    }
}

impl System for ActJepaConfig {
    type Data = Experience;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig {
            batch: 64,
            lr: 1e-3,
            weight_decay: 1e-4,
            final_weight_decay: 1e-4,
            clip: 1.0,
            ..TrainConfig::default()
        }
    }

    /// Demonstrations of Push-T, whose expert takes up to 300 steps.
    fn data() -> ExperienceConfig {
        let demonstrations = DemonstrationSettings { episodes: 50, ..DemonstrationSettings::default() };
        ExperienceConfig::Play(PlaySettings {
            world: WorldConfig::named(PushT::NAME).unwrap_or_default(),
            episode: 300,
            window: Self::default().chunk + 1,
            demonstrations,
            ..PlaySettings::default()
        })
    }

    fn ask(&self, data: &mut ExperienceConfig, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        self.check()?;
        Ok(data.fit_chunks(self.chunk, decisions)?)
    }

    fn init(
        &mut self,
        on: &On<'_, Experience>,
        decisions: &mut Vec<Decision>,
    ) -> Result<Box<dyn Learner>, SystemError> {
        self.check()?;
        let (form, shows) = (on.config.form()?, on.config.shows_goal()?);
        let goal = self.goal.resolve("model.goal", decisions, || match shows {
            Some(true) => (false, "an observation shows it, or it is always the same".to_owned()),
            Some(false) => (true, "no observation shows it".to_owned()),
            None => (false, "recorded episodes do not say what was asked for".to_owned()),
        });
        if goal && shows.is_none() {
            return Err(SystemError::Setting(
                "`model.goal` is true, but recorded episodes do not say what was asked for: leave it `auto`, or learn from demonstrations in a world"
                    .to_owned(),
            ));
        }
        settle_average(&mut self.ema, on, decisions)?;
        Ok(match self.encoder.init(&form, on)? {
            FreshEncoder::Conv(encoder) => self.learner(encoder, &form, goal, on),
            FreshEncoder::Vit(encoder) => self.learner(encoder, &form, goal, on),
        })
    }

    /// What the paper holds itself against.
    fn ablations(&self) -> Vec<Ablation> {
        let own = |name, settings: &[&str], about| Ablation::new(name, ROW.name, settings, about);
        vec![
            own("joint", &[], "as it is set"),
            own("act", &["model.latents=0.0"], "ACT: the chunk of actions alone"),
            own("cloning", &["model.latents=0.0", "model.chunk=1"], "behaviour cloning: the next action alone"),
            own("two-stage", &["model.stages=two"], "the latents first, then the actions on a frozen encoder"),
        ]
    }

    fn judge(&self, run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
        judges::world::imitation(run, self.latents > 0.0)
    }
}

impl ActJepaConfig {
    /// What is published, as far as we know it: both errors at once and alike, and ACT's own sizes (arXiv 2304.13705: width 512, 8 heads,
    /// 4 blocks, 7 layers, chunks of 100 for 50 Hz), AdamW at 1e-5 on batches of 8. What differs: strided convolutions to one vector where a
    /// ResNet-18's map is read, MLPs four times as wide as the tokens where ACT has 3200, no joint angles beside the picture, no dropout
    /// where it drops 0.1, no latent of style.
    pub fn official() -> Self {
        Self {
            chunk: 100,
            width: 512,
            depth: 4,
            layers: 7,
            heads: 8,
            encoder: FrameEncoder::Conv { widths: vec![64, 64, 128, 256, 512], features: 512 },
            ema: EmaConfig { schedule: EmaSchedule::Constant { momentum: 0.996 }, ..EmaConfig::default() },
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), SystemError> {
        let wrong = |text: String| Err(SystemError::Setting(text));
        let Self { chunk, latents, cloning_lr, width, layers, heads, .. } = self;
        if [chunk, layers].into_iter().any(|length| *length == 0) {
            return wrong("`model.chunk` and `model.layers` must be at least 1".to_owned());
        }
        if !(*latents >= 0.0 && latents.is_finite()) {
            return wrong(format!("`model.latents` must be 0 or more, found {latents}"));
        }
        if self.stages == Stages::Two && *latents == 0.0 {
            return wrong(
                "`model.stages` is \"two\" and `model.latents` is 0: the first stage would learn nothing, so set one of them otherwise"
                    .to_owned(),
            );
        }
        if !(*cloning_lr > 0.0 && cloning_lr.is_finite()) {
            return wrong(format!("`model.cloning_lr` must be above 0, found {cloning_lr}"));
        }
        check_width("context", *width, *heads)
    }

    fn learner<B: Backbone + 'static>(
        &self,
        backbone: B,
        form: &Form,
        goal: bool,
        on: &On<'_, Experience>,
    ) -> Box<dyn Learner> {
        let Self { chunk, width, depth, layers, heads, .. } = *self;
        let device = on.learning();
        let encoder = ContextConfig { width, depth, heads }.init(backbone, &mut on.weights(1), &device);
        let queries = |outputs: usize, network: u64| {
            let config = QueriesConfig { places: chunk, width, layers, heads, outputs };
            config.init(&mut on.weights(network), &device)
        };
        let networks = ChunkNetworks {
            target_encoder: encoder.valid(),
            encoder,
            goal: goal.then(|| Init::new(&mut on.weights(4), &device).truncated_normal([1, 1, width], 0.02)),
            predictor: queries(width, 2),
            decoder: queries(form.action, 3),
        };
        let collator = ChunkCollator {
            observation: form.observation,
            normalise: form.normalise.clone(),
            actions: self.actions.of(form),
            goal,
        };
        // For as many steps as the first stage took.
        let cloning = Second { name: "actor", steps: u64::MAX, lr: self.cloning_lr, weight_decay: 1e-4, clip: 1.0 };
        let objective = Chunks::<B> {
            latents: self.latents,
            stages: self.stages,
            cloning: (self.stages == Stages::Two).then_some(cloning),
            ema: self.ema,
            collator: Arc::new(collator),
            device: on.device.clone(),
            backbone: PhantomData,
        };
        on.learner(objective, networks)
    }
}
