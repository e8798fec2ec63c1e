//! MC-JEPA (Bardes, Ponce and LeCun, 2023, arXiv 2307.12698): one encoder that learns optical flow between neighbouring frames without
//! anybody saying what moves, and content by VICReg, together.
//!
//! The composition is [`MotionContent`]; here are the settings. There is no released code, and the coefficients of the paper's terms are not
//! published: what stands here is ours.

use std::sync::Arc;

use foretell_data::{Augment, Auto, Clips, ClipsConfig, Decision};
use foretell_eval::Finding;
use foretell_jepa::AntiCollapse;
use foretell_jepa::anti_collapse::VicregConfig;
use foretell_jepa::flow::{
    FlowNetworks, FlowWeights, MotionContent, PairsCollator, Photometric, PhotometricLevels, Turns,
};
use foretell_nn::flow::FlowConfig;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::pyramid::PyramidConfig;
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 3,
    name: "mc-jepa",
    title: "MC-JEPA",
    one_line: "optical flow and content learned together in one encoder",
    papers: &["arXiv:2307.12698"],
    state: State::Partial("trains and finds what moves; its recipe is measured with one seed"),
};

/// Settings of MC-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct McJepaConfig {
    /// The dial that sets the pyramid's widths.
    pub size: Size,
    /// Width of each level, the finest first: it keeps the frame's resolution, each further one halves it. Empty: by the size.
    pub widths: Vec<usize>,
    /// Basic blocks at each level but the finest.
    pub blocks: usize,
    /// Whether content is learnt beside flow.
    pub content: bool,
    /// Weights of VICReg's terms, of two views of a frame.
    pub vicreg: VicregConfig,
    /// Hidden widths of the projector.
    pub projector: Vec<usize>,
    /// Width of the codes.
    pub code_width: usize,
    /// How views are made.
    pub augment: Augment,
    /// Weight of the flow's loss beside the content's.
    pub flow_weight: f64,
    /// Share of the steps before flow begins; without content it begins at once.
    pub flow_start: Auto<f64>,
    /// Whether the two losses share a step.
    pub turns: Turns,
    /// The finest level that has an estimator, from 1; below it flow is upsampled.
    pub finest: usize,
    /// Widths of an estimator's convolutions.
    pub estimator: Vec<usize>,
    /// How far the cost volume reaches, in pixels of its level.
    pub radius: usize,
    /// No pixel goes farther than this share of the frame's side.
    pub bound: f64,
    /// Weight of a warped frame's distance from the other one.
    pub reconstruction: f64,
    /// How that distance is taken.
    pub photometric: Photometric,
    /// At which levels.
    pub photometric_levels: PhotometricLevels,
    /// Weight of the warped features' distance, at each level.
    pub regression: f64,
    /// Weight of the flow's smoothness.
    pub smoothness: f64,
    /// How strongly an edge of the image lets flow change.
    pub edge: f64,
    /// Weight of the distance of features that are warped there and back, at each level.
    pub cycle: f64,
    /// Weight of the terms against collapse at the coarsest level; 0: none at any, and features collapse.
    pub level_variance: f64,
    /// The covariance's weight beside the variance's.
    pub level_covariance: f64,
    /// By how much the weight of those terms falls from a level to the next finer one.
    pub level_decay: f64,
}

impl Default for McJepaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            widths: Vec::new(),
            blocks: 1,
            content: true,
            vicreg: VicregConfig::default(),
            projector: vec![512],
            code_width: 128,
            augment: Augment { crop_scale: (0.2, 1.0), ..Augment::coloured() },
            flow_weight: 0.1,
            flow_start: Auto::Auto,
            turns: Turns::Sum,
            finest: 2,
            estimator: vec![32, 32],
            radius: 2,
            bound: 0.25,
            reconstruction: 5.0,
            photometric: Photometric::default(),
            photometric_levels: PhotometricLevels::All,
            regression: 1.0,
            smoothness: 0.5,
            edge: 10.0,
            cycle: 0.2,
            level_variance: 1.0,
            level_covariance: 0.04,
            level_decay: 0.5,
        }
    }
}

/// Six levels. `tiny` is ours, for minutes on a CPU.
fn widths(size: Size) -> Vec<usize> {
    match size {
        Size::Tiny => vec![16, 24, 32, 64, 96, 128],
        Size::Small => vec![16, 32, 64, 96, 128, 196],
        Size::Base => vec![32, 64, 96, 192, 384, 512],
        Size::Large => vec![48, 96, 192, 384, 768, 768],
        Size::Huge => vec![64, 128, 256, 512, 1024, 1024],
        Size::Giant => vec![96, 192, 384, 768, 1536, 1536],
    }
}

impl System for McJepaConfig {
    type Data = Clips;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 32, lr: 2e-3, weight_decay: 0.01, final_weight_decay: 0.01, ..TrainConfig::default() }
    }

    /// Some minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ClipsConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(300)
    }

    fn init(&mut self, on: &On<'_, Clips>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (frames, size, channels) = on.config.form()?;
        self.resolve(decisions);
        self.check(frames, size, on.batch)?;
        let device = on.learning();
        let pyramid = PyramidConfig { channels, widths: self.widths.clone(), blocks: self.blocks };
        let head = FlowConfig {
            features: self.widths.clone(),
            finest: self.finest - 1,
            hidden: self.estimator.clone(),
            radius: self.radius,
            bound: self.bound * size as f64,
        };
        let top = self.widths.last().copied().unwrap_or(0);
        let codes: Vec<usize> =
            [top].into_iter().chain(self.projector.iter().copied()).chain([self.code_width]).collect();
        let networks = FlowNetworks {
            encoder: pyramid.init(&mut on.weights(0), &device),
            flow: head.init(&mut on.weights(1), &device),
            projector: self.content.then(|| Projector::new(&codes, Activation::Relu, &mut on.weights(2), &device)),
        };
        let collator = PairsCollator {
            seed: on.seed,
            size,
            views: self.content.then(|| self.augment.clone()),
            normalise: on.config.normalise.clone(),
        };
        let objective = MotionContent {
            weights: FlowWeights {
                reconstruction: self.reconstruction,
                regression: self.regression,
                smoothness: self.smoothness,
                cycle: self.cycle,
                level_variance: self.level_variance,
                level_covariance: self.level_covariance,
                level_decay: self.level_decay,
            },
            photometric: self.photometric,
            photometric_levels: self.photometric_levels,
            edge: self.edge,
            flow_weight: self.flow_weight,
            flow_start: if let Auto::Value(start) = self.flow_start { start } else { 0.0 },
            turns: self.turns,
            content: AntiCollapse::Vicreg(self.vicreg),
            frames,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, networks))
    }

    fn judge(&self, run: &Judging<'_, Clips>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings: Vec<Finding> = judges::flow(run)?.into_iter().collect();
        findings.extend(judges::deviations(run)?);
        findings.extend(judges::usual(run)?);
        Ok(findings)
    }
}

impl McJepaConfig {
    fn resolve(&mut self, decisions: &mut Vec<Decision>) {
        if self.widths.is_empty() {
            self.widths = widths(self.size);
            decisions.push(Decision {
                what: "model.widths".to_owned(),
                value: format!("{:?}", self.widths),
                reason: format!("size = {:?}", self.size).to_lowercase(),
            });
        }
        let content = self.content;
        self.flow_start.resolve("model.flow_start", decisions, || {
            if content {
                (0.1, "flow begins on features that tell things apart".to_owned())
            } else {
                (0.0, "there is no content to begin with".to_owned())
            }
        });
    }

    fn check(&self, frames: usize, size: usize, batch: usize) -> Result<(), SystemError> {
        let wrong = |why: String| Err(SystemError::Setting(why));
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        AntiCollapse::Vicreg(self.vicreg).check("model.vicreg").map_err(SystemError::Setting)?;
        if frames < 2 {
            return wrong(format!(
                "flow leads from a frame to the next: set `data.frames` to 2 or more, found {frames}"
            ));
        }
        if batch < 2 {
            return wrong(format!(
                "`train.batch` must be 2 or more, for features are kept apart over a batch, found {batch}"
            ));
        }
        let levels = self.widths.len();
        if !(2..=10).contains(&levels) || self.widths.contains(&0) {
            return wrong(format!(
                "`model.widths` must name 2 to 10 levels, each of a positive width, found {:?}",
                self.widths
            ));
        }
        let stride = 1 << (levels - 1);
        if !size.is_multiple_of(stride) {
            return wrong(format!(
                "frames of {size} × {size} pixels cannot be halved {} times for the {levels} levels of `model.widths`: set `data.image_size` to a multiple of {stride}, or name fewer levels",
                levels - 1
            ));
        }
        if !(1..=levels).contains(&self.finest) {
            return wrong(format!(
                "`model.finest` must be one of the {levels} levels, 1 to {levels}, found {}",
                self.finest
            ));
        }
        if !(1..=8).contains(&self.radius) {
            return wrong(format!("`model.radius` must be 1 to 8 pixels, found {}", self.radius));
        }
        if !(self.bound > 0.0 && self.bound <= 1.0) {
            return wrong(format!(
                "`model.bound` must be a share of the frame's side above 0 and at most 1, found {}",
                self.bound
            ));
        }
        match self.flow_start {
            Auto::Value(start) if !(0.0..=1.0).contains(&start) => {
                return wrong(format!("`model.flow_start` must be a share of the steps, 0 to 1, found {start}"));
            }
            _ => {}
        }
        let weights = [
            ("flow_weight", self.flow_weight),
            ("reconstruction", self.reconstruction),
            ("photometric.l1", self.photometric.l1),
            ("photometric.l2", self.photometric.l2),
            ("photometric.ssim", self.photometric.ssim),
            ("regression", self.regression),
            ("smoothness", self.smoothness),
            ("edge", self.edge),
            ("cycle", self.cycle),
            ("level_variance", self.level_variance),
            ("level_covariance", self.level_covariance),
            ("level_decay", self.level_decay),
        ];
        if let Some((key, found)) = weights.iter().find(|(_, weight)| !(*weight >= 0.0 && weight.is_finite())) {
            return wrong(format!("`model.{key}` must be 0 or more, found {found}"));
        }
        if self.blocks == 0 || self.code_width == 0 || self.projector.contains(&0) || self.estimator.contains(&0) {
            return wrong(
                "`model.blocks`, `model.code_width` and every width of `model.projector` and `model.estimator` must be positive".to_owned(),
            );
        }
        Ok(())
    }
}
