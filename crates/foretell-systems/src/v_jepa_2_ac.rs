//! V-JEPA 2-AC (arXiv 2506.09985, section 3): what a frozen encoder sees next, predicted from what it saw, from actions and from
//! poses. Plans are sought by the distance between predicted tokens and those of a goal.
//!
//! The composition is [`dynamics`](foretell_jepa::dynamics); here are the settings. The encoder is named, not learnt: its weights
//! are in no checkpoint.

use std::sync::Arc;

use foretell_data::{Auto, Decision, Modality, Normalise, Part, spread};
use foretell_eval::Finding;
use foretell_jepa::dynamics::block_causal::RollOut;
use foretell_jepa::dynamics::{BlockCausal, BlockCausalNetworks, Forcing, LatentVariable, WindowCollator};
use foretell_nn::Init;
use foretell_nn::ac_predictor::{AcPredictorConfig, Extrinsics};
use foretell_nn::causal::Foretells;
use foretell_nn::frozen::FrozenFrames;
use foretell_nn::layers::Linear;
use foretell_nn::pair::Pair;
use foretell_nn::positions::RopeStyle;
use foretell_train::{Learner, TrainConfig};
use foretell_world::{Experience, ExperienceConfig, Form, PlaySettings};
use serde::{Deserialize, Serialize};

use crate::actions::ActionScale;
use crate::frozen;
use crate::heads::{ActorConfig, ReachConfig};
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 10,
    name: "v-jepa-2-ac",
    title: "V-JEPA 2-AC",
    one_line: "what a frozen encoder sees next, from actions; plans by its energy",
    papers: &["arXiv:2506.09985"],
    state: State::Partial("trains and predicts; its plans fail in Two Rooms so far"),
};

/// How a predicted pose comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoseStep {
    /// A linear map of what has become of the pose's token says how it changes.
    #[default]
    Learnt,
    /// The action is its change, as released.
    Action,
}

/// Settings of V-JEPA 2-AC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VJepa2AcConfig {
    /// Folder of the frozen encoder: a finished run of images (or of the same world), or a published model.
    pub encoder: String,
    /// Of that encoder when the run began, so that a resumed run notices another one; `auto` until taken.
    pub encoder_fingerprint: String,
    /// Memory for tokens of frames that come again, in MiB: no figure depends on it.
    pub kept_tokens: usize,
    /// Width of the predictor.
    pub width: usize,
    /// Its blocks.
    pub depth: usize,
    /// Its attention heads.
    pub heads: usize,
    /// How the values of a head share the angles of rotary codes: tiled as released, which is not quite a rotation.
    pub rope: RopeStyle,
    /// What its output says of the next tokens: themselves as released, or their change.
    pub foretells: Foretells,
    /// Frames that it looks back on when it plans or is judged.
    pub history: usize,
    /// Steps that are rolled out from a window's first frame; 1 for teacher forcing alone.
    pub rollout: usize,
    /// Weight of the roll-out's error beside teacher forcing's.
    pub rollout_weight: f64,
    /// Which steps of it count, and by which poses it goes.
    pub roll_out: RollOut,
    /// Numbers of the pose that is told beside each observation: those of the data's states; 0 for none.
    pub poses: Auto<usize>,
    /// How a predicted pose comes about.
    pub pose_step: PoseStep,
    /// Weight of the predicted pose's error.
    pub pose_weight: f64,
    /// What the networks are given of actions and of poses.
    pub scale: ActionScale,
    /// Weight of what is off in the steps between explored places that the frozen tokens tell; 0 for none, as released. Ours: a search then
    /// measures by steps.
    pub reach: f64,
    /// How steps between places are told.
    pub reach_head: ReachConfig,
    /// The actor, on frozen tokens: where steps are told it learns from what led nearer, elsewhere in hindsight from what was done on the way to each later frame of a window (arXiv 2605.08732).
    /// Ours.
    pub actor: ActorConfig,
    /// Mean and standard deviation of each number of a pose; empty until measured.
    pub pose_scale: Normalise,
}

impl Default for VJepa2AcConfig {
    /// For 32 to 64 pixels and minutes on a CPU.
    fn default() -> Self {
        Self {
            encoder: String::new(),
            encoder_fingerprint: OPEN.to_owned(),
            kept_tokens: 256,
            width: 128,
            depth: 4,
            heads: 4,
            rope: RopeStyle::Interleaved,
            foretells: Foretells::Change,
            history: 2,
            rollout: 2,
            rollout_weight: 1.0,
            roll_out: RollOut::Ours,
            poses: Auto::Auto,
            pose_step: PoseStep::Learnt,
            pose_weight: 1.0,
            scale: ActionScale::Standard,
            reach: 0.0,
            reach_head: ReachConfig::default(),
            actor: ActorConfig { steps: 0, ..ActorConfig::default() },
            pose_scale: Normalise::nothing(0),
        }
    }
}

/// A fingerprint that is still to be taken.
const OPEN: &str = "auto";
/// Steps of the model that a film's plans look ahead: the published planner looks one or two ahead, and each costs a pass over all
/// tokens.
const AHEAD: usize = 2;
/// Windows whose poses are measured.
const MEASURED: usize = 512;

impl System for VJepa2AcConfig {
    type Data = Experience;
    const ROW: &'static Row = &ROW;
    const MEASURED: &'static [&'static str] = &["pose_scale"];

    fn train() -> TrainConfig {
        TrainConfig { batch: 32, lr: 1e-3, final_weight_decay: 0.04, clip: 1.0, ..TrainConfig::default() }
    }

    /// A frame after every fourth action: what a frozen encoder sees changes little after one.
    fn data() -> ExperienceConfig {
        ExperienceConfig::Play(PlaySettings { window: 5, frameskip: 4, ..PlaySettings::explored() })
    }

    fn ask(&self, data: &mut ExperienceConfig, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let best = self.history + self.rollout + 1;
        let reason = format!("the {} looked back on, {} rolled out and the next", self.history, self.rollout);
        data.fit_windows((best, reason), self.history.max(self.rollout), decisions)?;
        Ok(data.fit_exploration(self.reach > 0.0, "model.reach")?)
    }

    fn init(
        &mut self,
        on: &On<'_, Experience>,
        decisions: &mut Vec<Decision>,
    ) -> Result<Box<dyn Learner>, SystemError> {
        self.check()?;
        let form = on.config.form()?;
        self.resolve_poses(on, &form, decisions)?;
        let opened = frozen::open(&self.encoder, form.observation, self.kept_tokens, on.device)?;
        if self.encoder_fingerprint != OPEN && self.encoder_fingerprint != opened.fingerprint {
            return Err(SystemError::Setting(format!(
                "the encoder at `{}` (`model.encoder`) is not the one that this run began with: its fingerprint is {} where `model.encoder_fingerprint` says {}; put that encoder back, or say `{OPEN}` there for a new run",
                self.encoder, opened.fingerprint, self.encoder_fingerprint
            )));
        }
        if self.encoder_fingerprint == OPEN {
            let frozen::Opened { name, frozen, .. } = &opened;
            let (rows, cols) = frozen.sight().grid;
            decisions.push(Decision {
                what: "model.encoder_fingerprint".to_owned(),
                value: opened.fingerprint.clone(),
                reason: format!("{name}'s encoder, frozen: {rows} × {cols} tokens of {} a frame", frozen.sight().width),
            });
        }
        self.encoder_fingerprint = opened.fingerprint;
        // Found from any folder when the run goes on.
        if let Some(whole) = std::path::absolute(&self.encoder).ok().and_then(|path| path.to_str().map(str::to_owned)) {
            self.encoder = whole;
        }
        let (objective, networks) = self.build(on, &form, FrozenFrames::new(opened.frozen));
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Experience>) -> Result<Vec<Finding>, JudgeError> {
        judges::world::looking_ahead(run, AHEAD * run.on.config.form()?.frameskip)
    }
}

impl VJepa2AcConfig {
    /// The released sizes and ways (for 256 pixels, batch 256 of clips of 8 frames at 4 a second, AdamW up to 4.25e-4 with decay
    /// 0.04, no clipping): the tokens themselves, tiled rotary codes, two steps rolled out by recorded poses and counted from the
    /// first, raw numbers, actions that are differences of poses (`data.differences`).
    pub fn official() -> Self {
        Self {
            width: 1024,
            depth: 24,
            heads: 16,
            rope: RopeStyle::Tiled,
            foretells: Foretells::Latent,
            history: 7,
            rollout: 2,
            roll_out: RollOut::Official,
            pose_step: PoseStep::Action,
            scale: ActionScale::Raw,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), SystemError> {
        let Self { width, depth, heads, history, rollout, .. } = *self;
        let refuse = |what: String| Err(SystemError::Setting(what));
        if [width, depth, heads, history, rollout].contains(&0) {
            return refuse(
                "`model.width`, `model.depth`, `model.heads`, `model.history` and `model.rollout` must be at least 1"
                    .to_owned(),
            );
        }
        // A third of each head for time, row and column, in pairs.
        if width % heads != 0 || width / heads < 6 || !(width / heads).is_multiple_of(2) {
            return refuse(format!(
                "`model.width` {width} must be a multiple of `model.heads` {heads} that leaves each head an even number of 6 or more (rotary codes of time, row and column)"
            ));
        }
        for (key, weight) in
            [("rollout_weight", self.rollout_weight), ("pose_weight", self.pose_weight), ("reach", self.reach)]
        {
            if !(weight >= 0.0 && weight.is_finite()) {
                return refuse(format!("`model.{key}` must be 0 or more, found {weight}"));
            }
        }
        if self.reach_head.width == 0 {
            return refuse("`model.reach_head.width` must be at least 1".to_owned());
        }
        self.actor.check("model.actor")
    }

    /// How many numbers a pose has, and their scale.
    fn resolve_poses(
        &mut self,
        on: &On<'_, Experience>,
        form: &Form,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), SystemError> {
        let states = || -> Result<Option<(usize, Vec<f32>)>, SystemError> {
            let Some(data) = on.data else { return Ok(None) };
            let (mut width, mut all) = (0, Vec::new());
            for index in spread(data.len(Part::Train), MEASURED) {
                let window = data.load(Part::Train, index)?;
                width = window.states.len() / window.frames.max(1);
                all.extend(window.states);
            }
            Ok(Some((width, all)))
        };
        if self.poses != Auto::Value(0) && self.pose_scale.mean.is_empty() {
            let generated = matches!(on.config, ExperienceConfig::Play(_)) && self.poses == Auto::Auto;
            let found = if generated { None } else { states()? };
            let width = found.as_ref().map_or(0, |(width, _)| *width);
            let poses = self.poses.resolve("model.poses", decisions, || match width {
                0 if generated => (0, "play is learnt from what is seen: plans are judged by its states".to_owned()),
                0 => (0, "the episodes have no states".to_owned()),
                _ => (width, "the episodes' states".to_owned()),
            });
            if poses != width && !generated {
                return Err(SystemError::Setting(format!(
                    "`model.poses` is {poses}, but the data's states have {width} numbers: leave it `auto`, or set it to 0 for none"
                )));
            }
            if let (Some((_, all)), true) = (found, poses > 0) {
                self.pose_scale = match self.scale {
                    ActionScale::Raw => Normalise::nothing(poses),
                    ActionScale::Standard => Normalise::of_columns(&all, poses),
                };
            }
        }
        let poses = self.pose_scale.mean.len();
        let single = form.action / form.frameskip.max(1);
        if poses > 0 && self.pose_step == PoseStep::Action && (single != poses || self.scale != ActionScale::Raw) {
            return Err(SystemError::Setting(format!(
                "`model.pose_step` \"action\" takes an action for the change of the pose: that needs `model.scale` \"raw\" and actions of as many numbers as a pose, {poses}, found {single} (`data.differences` makes such of recorded states)"
            )));
        }
        Ok(())
    }

    /// The objective, and a fresh predictor.
    fn build(&self, on: &On<'_, Experience>, form: &Form, encoder: FrozenFrames) -> (BlockCausal, BlockCausalNetworks) {
        let (device, sight) = (on.learning(), encoder.frozen().sight());
        let poses = self.pose_scale.mean.len();
        let predictor = AcPredictorConfig {
            encoder_width: sight.width,
            grid: sight.grid,
            width: self.width,
            depth: self.depth,
            heads: self.heads,
            hidden: 4 * self.width,
            action: form.action,
            state: poses,
            eps: 1e-6,
            rope: self.rope,
            extrinsics: Extrinsics::Absent,
            foretells: self.foretells,
        };
        let mut second = on.weights(1);
        let pose = (poses > 0 && self.pose_step == PoseStep::Learnt).then(|| {
            let mut init = Init::new(&mut second, &device);
            Linear { weight: init.constant([poses, self.width], 0.0), bias: init.constant([poses], 0.0) }
        });
        let predictor = predictor.init(&mut on.weights(0), &device);
        let collator = WindowCollator {
            observation: form.observation,
            action: form.action,
            // The encoder brings pictures to its own scale.
            normalise: Normalise::nothing(form.observation[0]),
            actions: self.scale.of(form),
            poses: (poses > 0).then(|| self.pose_scale.clone()),
            slices: None,
            places: self.reach > 0.0,
        };
        let setting = Forcing {
            steps: self.rollout,
            weight: self.rollout_weight,
            roll_out: self.roll_out,
            pose: self.pose_weight,
            reach: self.reach,
        };
        let (rows, cols) = sight.grid;
        let head = |network, width, numbers| {
            Pair::new(rows * cols * sight.width, width, numbers, &mut on.weights(network), &device)
        };
        let actor = (self.actor.steps > 0).then(|| head(2, self.actor.width, form.action));
        let reach = (self.reach > 0.0).then(|| head(3, self.reach_head.width, 1));
        let objective = BlockCausal {
            variable: LatentVariable::None,
            setting,
            actor: actor.is_some().then(|| self.actor.second()),
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        (objective, BlockCausalNetworks::new(encoder, predictor, pose, self.history).with_heads(actor, reach))
    }
}
