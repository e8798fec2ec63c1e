//! C-JEPA (Causal-JEPA, arXiv 2602.11389): a world model over objects. Each object is a slot; whole objects are hidden from the
//! predictor over the history, so that it must infer them from what they did to the others.
//!
//! The composition is [`dynamics::slots`](foretell_jepa::dynamics::slots); here are the settings.

use std::sync::Arc;

use foretell_data::Decision;
use foretell_eval::Finding;
use foretell_jepa::dynamics::{Hiding, LatentVariable, SlotNetworks, Slots, WindowCollator};
use foretell_nn::causal::Foretells;
use foretell_nn::slot_attention::SlotAttentionConfig;
use foretell_nn::slot_predictor::{Anchor, SlotPredictorConfig};
use foretell_nn::slots::{KnownSlots, SlotEncoder};
use foretell_train::{Learner, TrainConfig};
use foretell_world::{DiscView, Experience, ExperienceConfig, Form, PlaySettings, WorldConfig};
use serde::{Deserialize, Serialize};

use crate::actions::ActionScale;
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 15,
    name: "c-jepa",
    title: "C-JEPA",
    one_line: "masking of whole objects (slots) for causal dynamics",
    papers: &["arXiv:2602.11389"],
    state: State::Partial("trains and plans on known objects; short runs do not find objects in pictures"),
};

/// Where slots come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SlotSource {
    /// From the world, which says what its objects are: place, velocity and colour of each. Nothing is learnt of them.
    Known,
    /// From pictures, by slot attention: found in the first part of a run by drawing the pictures again, frozen in the second, in which
    /// the predictor learns.
    Learnt {
        /// Slots of a picture: one for each object and one for what is behind them.
        #[serde(default = "slots")]
        count: usize,
        /// Width of a slot.
        #[serde(default = "slot_width")]
        width: usize,
        /// Channels of the three convolutions before attention.
        #[serde(default = "channels")]
        channels: usize,
        /// Rounds of attention.
        #[serde(default = "rounds")]
        rounds: usize,
        /// Hidden width of what draws pictures again.
        #[serde(default = "decoder")]
        decoder: usize,
        /// Share of the run's steps in which slots are found.
        #[serde(default = "finding")]
        finding: f64,
    },
}

// For five discs of 32 pixels and minutes on a CPU.
fn slots() -> usize {
    6
}
fn slot_width() -> usize {
    32
}
fn channels() -> usize {
    24
}
fn rounds() -> usize {
    3
}
fn decoder() -> usize {
    48
}
fn finding() -> f64 {
    0.6
}

/// Settings of C-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CJepaConfig {
    /// Where slots come from.
    pub slots: SlotSource,
    /// Objects that are hidden in each window, |M|, other ones each time; 0 hides none.
    pub hidden: usize,
    /// Observations that the predictor looks back on, h; a hidden object is seen in the first of them alone.
    pub history: usize,
    /// Observations that it foretells at once, p.
    pub ahead: usize,
    /// Width of the predictor.
    pub width: usize,
    /// Its blocks.
    pub depth: usize,
    /// Their attention heads.
    pub heads: usize,
    /// Hidden width of their MLPs.
    pub mlp: usize,
    /// Which of an object's slots says who is asked for.
    pub anchor: Anchor,
    /// What its output says of a slot.
    pub foretells: Foretells,
    /// What the predictor is given of an action.
    pub actions: ActionScale,
}

impl SlotSource {
    /// Found in pictures, with our settings.
    pub fn learnt() -> Self {
        Self::Learnt {
            count: slots(),
            width: slot_width(),
            channels: channels(),
            rounds: rounds(),
            decoder: decoder(),
            finding: finding(),
        }
    }
}

impl Default for CJepaConfig {
    /// For five known objects and minutes on a CPU.
    fn default() -> Self {
        Self {
            slots: SlotSource::Known,
            hidden: 2,
            history: 6,
            ahead: 1,
            width: 64,
            depth: 2,
            heads: 4,
            mlp: 256,
            anchor: Anchor::LastSeen,
            foretells: Foretells::Change,
            actions: ActionScale::Standard,
        }
    }
}

impl System for CJepaConfig {
    type Data = Experience;
    const ROW: &'static Row = &ROW;

    /// The paper's rate, 5e-4, is for batches of 256.
    fn train() -> TrainConfig {
        TrainConfig {
            batch: 64,
            lr: 1e-3,
            weight_decay: 1e-5,
            final_weight_decay: 1e-5,
            clip: 1.0,
            ..TrainConfig::default()
        }
    }

    /// Discs in a box, cut into windows of what the predictor looks back on and what it foretells.
    fn data() -> ExperienceConfig {
        let Self { history, ahead, .. } = Self::default();
        ExperienceConfig::Play(PlaySettings {
            world: WorldConfig::discs(),
            window: history + ahead,
            ..PlaySettings::default()
        })
    }

    /// Recorded episodes say nothing of their objects.
    fn fitting(data: &ExperienceConfig) -> Self {
        let slots = match data {
            ExperienceConfig::Play(_) => SlotSource::Known,
            ExperienceConfig::Episodes(_) => SlotSource::learnt(),
        };
        Self { slots, ..Self::default() }
    }

    fn ask(&self, data: &mut ExperienceConfig, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let (history, ahead) = (self.history, self.ahead);
        let best = (history + ahead, format!("the {history} looked back on and the {ahead} foretold"));
        data.fit_windows(best, history, decisions)?;
        data.fit_exploration(false, "model")?;
        let (wanted, reason) = match self.slots {
            SlotSource::Known => (DiscView::Objects, "the known objects are the slots"),
            SlotSource::Learnt { .. } => (DiscView::Picture, "slots are found in pictures"),
        };
        match data {
            ExperienceConfig::Play(PlaySettings { world: WorldConfig::Discs { view, .. }, .. }) => {
                let found = view.resolve("data.world.view", decisions, || (wanted, reason.to_owned()));
                if found != wanted {
                    return Err(SystemError::Setting(format!(
                        "`data.world.view` is \"{found}\", but {reason}: leave it `auto`, or set `model.slots.kind`"
                    )));
                }
                Ok(())
            }
            _ if self.slots == SlotSource::Known => Err(SystemError::Setting(
                "`model.slots.kind` \"known\" needs a world that says what its objects are: set `data.world.kind` to \"discs\""
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn init(&mut self, on: &On<'_, Experience>, _: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        self.check()?;
        let form = on.config.form()?;
        let [features, objects, _] = form.observation;
        match &self.slots {
            SlotSource::Known => {
                self.check_hidden(objects)?;
                Ok(self.learner(KnownSlots::new(features, objects), &form, on))
            }
            SlotSource::Learnt { count, width, channels, rounds, decoder, finding } => {
                let [_, height, across] = form.observation;
                if [count, width, channels, rounds, decoder].into_iter().any(|length| *length == 0) {
                    return Err(SystemError::Setting(
                        "`count`, `width`, `channels`, `rounds` and `decoder` of `model.slots` must be at least 1"
                            .to_owned(),
                    ));
                }
                if !(*finding > 0.0 && *finding < 1.0) {
                    return Err(SystemError::Setting(format!(
                        "`model.slots.finding` is a share of the steps, above 0 and below 1, found {finding}"
                    )));
                }
                if height < 2 || !height.is_multiple_of(2) || !across.is_multiple_of(2) {
                    return Err(SystemError::Setting(format!(
                        "slots are found in pictures of an even height and width, found {height} × {across} pixels"
                    )));
                }
                self.check_hidden(*count)?;
                let config = SlotAttentionConfig {
                    observation: form.observation,
                    slots: *count,
                    width: *width,
                    channels: *channels,
                    iterations: *rounds,
                    decoder: *decoder,
                };
                Ok(self.learner(config.init(&mut on.weights(0), &on.learning()), &form, on))
            }
        }
    }

    fn judge(&self, run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
        judges::world::objects(run)
    }
}

impl CJepaConfig {
    /// The released sizes for Push-T: four slots of 128 numbers, one of which is hidden, a history of three, AdamW at 5e-4. What
    /// differs: slots are brought to the predictor's width by a map of their own; attention has a norm before it as the MLPs do;
    /// nothing is dropped out where it drops 0.1; and the hidden objects are others in each step, where its generator begins anew at
    /// each and always hides the same.
    pub fn official() -> Self {
        Self {
            hidden: 1,
            history: 3,
            ahead: 1,
            width: 128,
            depth: 6,
            heads: 16,
            mlp: 2048,
            anchor: Anchor::First,
            foretells: Foretells::Latent,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), SystemError> {
        let Self { history, ahead, width, heads, mlp, .. } = self;
        if [ahead, width, heads, mlp].into_iter().any(|length| *length == 0) {
            return Err(SystemError::Setting(
                "`model.ahead`, `model.width`, `model.heads` and `model.mlp` must be at least 1".to_owned(),
            ));
        }
        let least = if self.hidden > 0 { 2 } else { 1 };
        if *history < least {
            return Err(SystemError::Setting(format!(
                "`model.history` must be at least {least}, found {history}: a hidden object is seen in the first observation, and gone from the next on"
            )));
        }
        if !width.is_multiple_of(*heads) {
            return Err(SystemError::Setting(format!(
                "`model.width` must be a multiple of `model.heads`, found {width} and {heads}"
            )));
        }
        Ok(())
    }

    fn check_hidden(&self, objects: usize) -> Result<(), SystemError> {
        if self.hidden < objects {
            return Ok(());
        }
        Err(SystemError::Setting(format!(
            "`model.hidden` is {}, but there are {objects} objects, of which one at least must be seen: set it to {} or less",
            self.hidden,
            objects - 1
        )))
    }

    fn learner<E: SlotEncoder + 'static>(&self, encoder: E, form: &Form, on: &On<'_, Experience>) -> Box<dyn Learner> {
        let Self { hidden, history, ahead, width, depth, heads, mlp, anchor, foretells, .. } = *self;
        let predictor = SlotPredictorConfig {
            slot: encoder.width(),
            width,
            action: form.action,
            history,
            ahead,
            depth,
            heads,
            hidden: mlp,
            anchor,
            foretells,
        };
        let collator = WindowCollator {
            observation: form.observation,
            action: form.action,
            normalise: form.normalise.clone(),
            actions: self.actions.of(form),
            poses: None,
            slices: None,
            places: false,
        };
        let finding = match self.slots {
            SlotSource::Known => 0.0,
            SlotSource::Learnt { finding, .. } => finding,
        };
        let objective = Slots::<E> {
            variable: LatentVariable::None,
            setting: Hiding { seed: on.seed, objects: hidden, finding },
            actor: None,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        let predictor = predictor.init(&mut on.weights(1), &on.learning());
        on.learner(objective, SlotNetworks { encoder, predictor })
    }
}
