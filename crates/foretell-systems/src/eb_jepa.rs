//! EB-JEPA, action-conditioned (arXiv 2602.03604): a latent and an action foretell the next latent, and four terms keep the
//! latents worth foretelling.
//!
//! Ours adds two terms ([`Terms::reach`]): plans need latents that know a wall, and in the minutes that a CPU has the four do not
//! bring that about. [`EbJepaConfig::official`] is without them.
//!
//! The composition is [`dynamics`](foretell_jepa::dynamics); here are the settings.

use std::sync::Arc;

use foretell_data::Decision;
use foretell_eval::Finding;
use foretell_jepa::dynamics::recurrent::Rollout;
use foretell_jepa::dynamics::{LatentVariable, Recurrent, RecurrentNetworks, Terms, WindowCollator};
use foretell_nn::Init;
use foretell_nn::gru::Gru;
use foretell_nn::layers::Linear;
use foretell_nn::observer::ObserverConfig;
use foretell_nn::pair::Pair;
use foretell_train::{Learner, TrainConfig};
use foretell_world::{Experience, ExperienceConfig};
use serde::{Deserialize, Serialize};

use crate::actions::ActionScale;
use crate::heads::{ActorConfig, ReachConfig};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 14,
    name: "eb-jepa",
    title: "EB-JEPA",
    one_line: "image, video and action-conditioned energy-based examples",
    papers: &["arXiv:2602.03604"],
    state: State::Partial("action-conditioned; trains and plans"),
};

/// Settings of action-conditioned EB-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EbJepaConfig {
    /// Width of the latents, D.
    pub width: usize,
    /// Width of each convolution of the encoder, stride 2.
    pub widths: Vec<usize>,
    /// Whether the hidden layers also get the largest value of each channel behind each convolution: whether the dot touches a wall is
    /// then learnt once and not at every place. With `terms.actor` it makes latents in which a search gets farther, and costs a half
    /// more time a step.
    pub maxima: bool,
    /// Whether convolutions begin with He's weights, and not with PyTorch's, which are 2.4 times smaller and learn walls sooner.
    pub he: bool,
    /// Width of each hidden layer of the encoder behind the convolutions: without one no number of a latent can depend on where
    /// the dot is and on where the wall is at once.
    pub hidden: Vec<usize>,
    /// Width of each layer that mixes action and latent before the GRU; none gives the GRU the action alone, as released.
    pub mixer: Vec<usize>,
    /// Hidden width of the inverse dynamics.
    pub inverse: usize,
    /// Steps that a prediction is rolled out.
    pub rollout: usize,
    /// Whether predictions are drawn to the latents and those not to them; as released both are. What is hard to foretell, where a
    /// wall bars the way, then stays in the latents.
    pub stop_gradient: bool,
    /// What the networks are given of an action.
    pub actions: ActionScale,
    /// What may decide what comes beside what is done, and is not told: `codes` or `continuous`; none as published.
    pub z: LatentVariable,
    /// Weights of the terms besides the prediction's.
    pub terms: Terms,
    /// How steps between places are told, where `terms.reach` is above 0.
    pub reach: ReachConfig,
    /// The actor, where `terms.reach` is above 0.
    pub actor: ActorConfig,
}

impl System for EbJepaConfig {
    type Data = Experience;
    const ROW: &'static Row = &ROW;

    /// The paper's loop for Two Rooms (arXiv 2602.03604): no decay to speak of, a tight clip.
    fn train() -> TrainConfig {
        TrainConfig {
            batch: 64,
            lr: 1e-3,
            weight_decay: 1e-5,
            final_weight_decay: 1e-5,
            clip: 2.0,
            ..TrainConfig::default()
        }
    }

    fn data() -> ExperienceConfig {
        ExperienceConfig::explored()
    }

    /// Nothing is explored in recorded episodes, so the terms that need it are off.
    fn fitting(data: &ExperienceConfig) -> Self {
        let config = Self::default();
        match data {
            ExperienceConfig::Play(_) => config,
            ExperienceConfig::Episodes(_) => {
                let terms = Terms { reach: 0.0, reach_ahead: 0.0, actor: 0.0, ..config.terms };
                Self { terms, ..config }
            }
        }
    }

    fn ask(&self, data: &mut ExperienceConfig, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let rollout = self.rollout;
        data.fit_windows((rollout + 1, format!("one and the {rollout} predicted from it")), 1, decisions)?;
        Ok(data.fit_exploration(self.terms.reach > 0.0, "model.terms.reach")?)
    }

    fn init(&mut self, on: &On<'_, Experience>, _: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (objective, networks) = self.build(on)?;
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
        judges::world::usual(run)
    }
}

impl Default for EbJepaConfig {
    /// For 32 pixels and minutes on a CPU.
    fn default() -> Self {
        Self {
            width: 128,
            widths: vec![16, 32, 32],
            maxima: false,
            he: false,
            hidden: vec![256, 256],
            mixer: vec![128],
            inverse: 256,
            rollout: 8,
            stop_gradient: true,
            actions: ActionScale::Raw,
            z: LatentVariable::None,
            terms: Terms {
                variance: 2.0,
                covariance: 2.0,
                time_similarity: 0.0,
                inverse_dynamics: 6.0,
                reach: 6.0,
                reach_ahead: 2.0,
                actor: 0.0,
            },
            reach: ReachConfig::default(),
            actor: ActorConfig::default(),
        }
    }
}

impl EbJepaConfig {
    /// The released sizes and weights (for 65 pixels, batch 384, AdamW at 1e-3 with decay 1e-5, clipped at 2): latents of 512,
    /// one GRU layer, inverse dynamics of 256, eight steps. One thing differs: its Impala encoder has two residual blocks
    /// behind each convolution and pools by maxima; here each of the three stages is its strided convolution alone.
    pub fn official() -> Self {
        Self {
            width: 512,
            hidden: Vec::new(),
            mixer: Vec::new(),
            stop_gradient: false,
            terms: Terms::default(),
            ..Self::default()
        }
    }

    /// The objective, and fresh networks.
    pub fn build(&self, on: &On<'_, Experience>) -> Result<(Recurrent, RecurrentNetworks), SystemError> {
        let widths = self.widths.iter().chain(&self.hidden).chain(&self.mixer).chain([
            &self.width,
            &self.inverse,
            &self.rollout,
        ]);
        if widths.chain([&self.reach.width, &self.actor.width]).any(|width| *width == 0) {
            return Err(SystemError::Setting(
                "`model.width`, `model.inverse`, `model.rollout`, `model.reach.width`, `model.actor.width` and every one of `model.widths`, `model.hidden` and `model.mixer` must be at least 1"
                    .to_owned(),
            ));
        }
        let tells_steps = self.terms.reach > 0.0;
        let Terms { variance, covariance, time_similarity, inverse_dynamics, reach, reach_ahead, actor } = self.terms;
        let weights = [variance, covariance, time_similarity, inverse_dynamics, reach, reach_ahead, actor];
        if let Some(bad) = weights.iter().find(|w| !(**w >= 0.0 && w.is_finite())) {
            return Err(SystemError::Setting(format!("the weights of `model.terms` must be 0 or more, found {bad}")));
        }
        self.actor.check("model.actor")?;
        self.z.check("model.z").map_err(SystemError::Setting)?;
        let form = on.config.form()?;
        let device = on.learning();
        let observer = ObserverConfig {
            observation: form.observation,
            widths: self.widths.clone(),
            maxima: self.maxima,
            he: self.he,
            hidden: self.hidden.clone(),
            width: self.width,
            norm: true,
        };
        let mut third = on.weights(2);
        let mut init = Init::new(&mut third, &device);
        let lengths = [2 * self.width, self.inverse, self.inverse, form.action];
        let inverse = lengths.windows(2).map(|w| Linear::uniform(w[0], w[1], &mut init)).collect();
        let taken = form.action + self.z.width();
        let mut inputs = if self.mixer.is_empty() { taken } else { taken + self.width };
        let mut mixer = Vec::new();
        for outputs in &self.mixer {
            mixer.push(Linear::uniform(inputs, *outputs, &mut init));
            inputs = *outputs;
        }
        let mut fourth = on.weights(3);
        let mut pair = |hidden, said| Pair::new(self.width, hidden, said, &mut fourth, &device);
        let reach = tells_steps.then(|| pair(self.reach.width, 1));
        let actor = (tells_steps && self.actor.steps > 0).then(|| pair(self.actor.width, form.action));
        let networks = RecurrentNetworks {
            reach,
            actor,
            encoder: observer.init(&mut on.weights(0), &device),
            mixer,
            predictor: Gru::new(inputs, self.width, &mut on.weights(1), &device),
            inverse,
        };
        let collator = WindowCollator {
            observation: form.observation,
            action: form.action,
            normalise: form.normalise.clone(),
            actions: self.actions.of(&form),
            poses: None,
            slices: None,
            places: tells_steps,
        };
        let second = networks.actor.is_some().then(|| self.actor.second());
        let objective = Recurrent {
            variable: self.z,
            setting: Rollout { terms: self.terms, steps: self.rollout, stop_gradient: self.stop_gradient },
            actor: second,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok((objective, networks))
    }
}
