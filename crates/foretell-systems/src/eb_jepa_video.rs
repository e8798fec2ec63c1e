//! EB-JEPA, video (the library's `video_jepa` example, arXiv 2602.03604): a convolutional encoder gives a map of each frame, and a U-Net
//! predicts the next map from two, several steps on.
//!
//! The composition is [`MapRollout`]; here are the settings. The defaults are ours, for minutes on a CPU; the released ones are
//! [`EbJepaVideoConfig::official`].

use std::sync::Arc;

use foretell_data::{Auto, Clips, ClipsConfig, Decision};
use foretell_eval::Finding;
use foretell_jepa::clips::maps::{MapNetworks, MapRollout, MapWindows, Unroll};
use foretell_nn::frame_maps::FrameMapsConfig;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::unet::UNetConfig;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::resolved;
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 14,
    name: "eb-jepa-video",
    title: "EB-JEPA video",
    one_line: "maps of frames predicted several steps on, as detection maps",
    papers: &["arXiv:2602.03604"],
    state: State::Partial("trains; measured in short runs"),
};

/// Settings of EB-JEPA's video example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EbJepaVideoConfig {
    /// Width of the encoder's stem and of each of its blocks; the last one is the maps'.
    pub widths: Vec<usize>,
    /// Strides of the same: a map is smaller than a frame by all of them together.
    pub strides: Vec<usize>,
    /// Width of each level of the predictor's U-Net, the finest first; each further one halves the map.
    pub predictor: Vec<usize>,
    /// Whether the predictor says what changes of the last map, and not the next map itself.
    pub change: bool,
    /// Steps that a prediction is rolled out.
    pub rollout: usize,
    /// How it is rolled out in training.
    pub unroll: Unroll,
    /// Neighbouring frames of a clip that a step learns from: at least two more than `rollout`.
    pub window: Auto<usize>,
    /// Hidden widths of the projector.
    pub projector: Vec<usize>,
    /// Width of the codes.
    pub code_width: usize,
    /// Weight of the codes' variance; with both weights at 0 they collapse.
    pub variance: f64,
    /// Weight of their covariance.
    pub covariance: f64,
    /// Whether predictions are drawn to the maps and those not to them; as released both are.
    pub stop_gradient: bool,
}

impl Default for EbJepaVideoConfig {
    /// For 64 pixels and minutes on a CPU.
    fn default() -> Self {
        Self {
            widths: vec![16, 16, 16],
            strides: vec![2, 2, 1],
            predictor: vec![16, 32],
            change: true,
            rollout: 4,
            unroll: Unroll::Chain,
            window: Auto::Auto,
            projector: vec![64],
            code_width: 64,
            variance: 10.0,
            covariance: 100.0,
            stop_gradient: false,
        }
    }
}

/// Frames that a step learns from where nothing is said.
const WINDOW: usize = 8;
/// Deviation of the weights of the predictor's last layer where it says what changes: an untrained one says that little does.
const LITTLE: f64 = 2e-3;

impl EbJepaVideoConfig {
    /// The released sizes (for clips of 10 frames of 64 pixels, batch 64, Adam at 1e-3, 50 epochs): maps at the frame's own
    /// resolution, a U-Net of four levels, all frames predicted in each pass. One thing differs: a transposed convolution here has no
    /// bias.
    pub fn official() -> Self {
        Self {
            widths: vec![32, 32, 64, 16],
            strides: vec![1; 4],
            predictor: vec![32, 64, 128, 256],
            change: false,
            unroll: Unroll::Parallel,
            window: Auto::Value(10),
            ..Self::default()
        }
    }

    fn check(&self, (frames, size): (usize, usize), batch: usize) -> Result<(), SystemError> {
        let wrong = |why: String| Err(SystemError::Setting(why));
        let positive = |values: &[usize]| !values.is_empty() && !values.contains(&0);
        if !positive(&self.widths) || !positive(&self.strides) || self.widths.len() != self.strides.len() {
            return wrong(format!(
                "`model.widths` and `model.strides` must name as many positive numbers, one for the stem and one for each block, found {:?} and {:?}",
                self.widths, self.strides
            ));
        }
        if !positive(&self.predictor) || self.predictor.len() > 10 {
            return wrong(format!(
                "`model.predictor` must name 1 to 10 levels, each of a positive width, found {:?}",
                self.predictor
            ));
        }
        if self.code_width == 0 || self.projector.contains(&0) {
            return wrong("`model.code_width` and every width of `model.projector` must be positive".to_owned());
        }
        // Both are bounded before they are multiplied.
        let strides = self.strides.iter().try_fold(1_usize, |all, stride| all.checked_mul(*stride));
        let multiple = strides.and_then(|strides| strides.checked_mul(1 << (self.predictor.len() - 1)));
        if multiple.is_none_or(|multiple| !size.is_multiple_of(multiple)) {
            return wrong(format!(
                "frames of {size} × {size} pixels do not split into `model.strides` {:?} and the {} levels of `model.predictor`: set `data.image_size` to a multiple of {}, or name smaller strides or fewer levels",
                self.strides,
                self.predictor.len(),
                multiple.map_or_else(|| "their product".to_owned(), |multiple| multiple.to_string())
            ));
        }
        let window = resolved(self.window);
        if self.rollout == 0 || window < self.rollout.saturating_add(2) || window > frames {
            return wrong(format!(
                "`model.rollout` must be 1 or more and `model.window` at least two more than it and at most the {frames} frames of `data.frames`, found {} and {window}",
                self.rollout
            ));
        }
        if batch < 2 {
            return wrong(format!(
                "`train.batch` must be 2 or more, for codes are kept apart over a batch, found {batch}"
            ));
        }
        let weights = [("variance", self.variance), ("covariance", self.covariance)];
        match weights.iter().find(|(_, weight)| !(*weight >= 0.0 && weight.is_finite())) {
            Some((key, found)) => wrong(format!("`model.{key}` must be 0 or more, found {found}")),
            None => Ok(()),
        }
    }
}

impl System for EbJepaVideoConfig {
    type Data = Clips;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 8, lr: 2e-3, weight_decay: 0.0, final_weight_decay: 0.0, ..TrainConfig::default() }
    }

    /// Some minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ClipsConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(600)
    }

    fn init(&mut self, on: &On<'_, Clips>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (frames, size, channels) = on.config.form()?;
        let rollout = self.rollout;
        self.window.resolve("model.window", decisions, || {
            let window = rollout.saturating_add(2).max(WINDOW.min(frames));
            (window, format!("two frames, the {rollout} predicted from them, and more to begin at"))
        });
        self.check((frames, size), on.batch)?;
        let window = resolved(self.window);
        let device = on.learning();
        let width = self.widths.last().copied().unwrap_or(0);
        let encoder = FrameMapsConfig { channels, widths: self.widths.clone(), strides: self.strides.clone() };
        let predictor = UNetConfig {
            inputs: 2 * width,
            outputs: width,
            widths: self.predictor.clone(),
            quiet: self.change.then_some(LITTLE),
        };
        let codes: Vec<usize> =
            [width].into_iter().chain(self.projector.iter().copied()).chain([self.code_width]).collect();
        let networks = MapNetworks {
            encoder: encoder.init(&mut on.weights(0), &device),
            predictor: predictor.init(&mut on.weights(1), &device),
            projector: Projector::new(&codes, Activation::Relu, &mut on.weights(2), &device),
        };
        let collator = MapWindows { seed: on.seed, window, size, normalise: on.config.normalise.clone() };
        let objective = MapRollout {
            steps: self.rollout,
            unroll: self.unroll,
            change: self.change,
            stop_gradient: self.stop_gradient,
            variance: self.variance,
            covariance: self.covariance,
            frames,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, networks))
    }

    fn ablations(&self) -> Vec<Ablation> {
        let own = |name, settings: &[&str], about| Ablation::new(name, "eb-jepa-video", settings, about);
        vec![
            own("rolled-out", &[], "as it is set"),
            own("one-step", &["model.rollout=1"], "only the next map is predicted in training"),
            own("two-steps", &["model.rollout=2"], "two maps on"),
            own("eight-steps", &["model.rollout=8", "model.window=10"], "eight maps on, as far as is judged"),
            own("parallel", &["model.unroll=parallel"], "all frames predicted in each pass, as released"),
            own(
                "whole-map",
                &["model.change=false"],
                "the predictor says the next map and not what changes, as released",
            ),
            own("stop-gradient", &["model.stop_gradient=true"], "maps are not drawn to predictions"),
            own("no-covariance", &["model.covariance=0.0"], "variance alone keeps codes apart"),
            own(
                "no-terms",
                &["model.variance=0.0", "model.covariance=0.0"],
                "nothing keeps codes apart: should collapse",
            ),
        ]
    }

    fn judge(&self, run: &Judging<'_, Clips>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::maps(run)?;
        findings.extend(judges::usual(run)?);
        Ok(findings)
    }
}
