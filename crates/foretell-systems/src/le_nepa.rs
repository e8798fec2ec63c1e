//! LeNEPA (Chemeris et al., 2026, arXiv 2607.00958): from the patches of a series up to one, the embedding of the next; SIGReg in place of
//! a teacher, a stop-gradient or masks.
//!
//! The objective is [`NextSeries`]; here are the settings. The released runs' are [`LeNepaConfig::official`].

use std::sync::Arc;

use foretell_data::series::{Series, SeriesConfig};
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::series::next::{NextSeries, NextSeriesCollator, NextSeriesNetworks};
use foretell_nn::mlp::{Activation, Projector};
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::series_model::{SeriesNetwork, usual_steps};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 33,
    name: "le-nepa",
    title: "LeNEPA",
    one_line: "the next embedding of a series from those before it, SIGReg, no masks and no teacher",
    papers: &["arXiv:2607.00958"],
    state: State::Partial("trains; not measured yet"),
};

/// Settings of LeNEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeNepaConfig {
    /// What it shares with the other systems over series.
    #[serde(flatten)]
    pub network: SeriesNetwork,
    /// Hidden widths of the projector, with batch normalisation and a rectifier behind each.
    pub projector: Vec<usize>,
    /// Width of its codes.
    pub code_width: usize,
    /// Weight of SIGReg over the batch, at each place.
    pub sigreg_batch: f64,
    /// Weight of SIGReg over time, in each series.
    pub sigreg_time: f64,
    /// Directions of SIGReg.
    pub slices: usize,
    /// Whether targets are without gradient: NEPA's way, an ablation.
    pub stop_gradient: bool,
}

impl Default for LeNepaConfig {
    /// Weights are those of the released objective.
    fn default() -> Self {
        Self {
            network: SeriesNetwork::default(),
            projector: vec![512],
            code_width: 64,
            sigreg_batch: 10.0,
            sigreg_time: 10.0,
            slices: 256,
            stop_gradient: false,
        }
    }
}

impl LeNepaConfig {
    /// The paper's runs on PTB-XL: a ViT-XS (192 wide, 8 deep, 3 heads), SIGReg over time alone at weight 20, a projector 1536 wide. They
    /// train with `train.lr = 1e-4` and weight decay 0.01 to 0.1 over 20,000 steps.
    pub fn official() -> Self {
        Self {
            network: SeriesNetwork {
                width: Auto::Value(192),
                depth: Auto::Value(8),
                heads: Auto::Value(3),
                holes: false,
                ..SeriesNetwork::default()
            },
            projector: vec![1536],
            sigreg_batch: 0.0,
            sigreg_time: 20.0,
            ..Self::default()
        }
    }

    fn check(&self, batch: usize) -> Result<(), SystemError> {
        let wrong = |message: String| Err(SystemError::Setting(message));
        for (key, value) in [("sigreg_batch", self.sigreg_batch), ("sigreg_time", self.sigreg_time)] {
            if !(value >= 0.0 && value.is_finite()) {
                return wrong(format!("`model.{key}` must be 0 or more, found {value}"));
            }
        }
        for (key, value) in [("code_width", self.code_width), ("slices", self.slices)] {
            if value == 0 {
                return wrong(format!("`model.{key}` is 0: at least 1 is needed"));
            }
        }
        if self.projector.contains(&0) {
            return wrong("`model.projector` has a layer of width 0: every layer must be at least 1 wide".to_owned());
        }
        if batch < 2 {
            return wrong(format!("`train.batch` must be 2 or more for batch normalisation, found {batch}"));
        }
        Ok(())
    }
}

impl System for LeNepaConfig {
    type Data = Series;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { batch: 64, ..TrainConfig::default() }
    }

    fn usual_steps(data: &SeriesConfig, series: Option<usize>) -> Option<u64> {
        usual_steps(data, series, Self::train().batch)
    }

    fn init(&mut self, on: &On<'_, Series>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let mut vit = self.network.settle(on, decisions)?;
        vit.causal = true;
        self.check(on.batch)?;
        let widths: Vec<usize> =
            [vit.width].into_iter().chain(self.projector.iter().copied()).chain([self.code_width]).collect();
        let networks = NextSeriesNetworks {
            encoder: vit.init(&mut on.weights(0), &on.learning()),
            projector: Projector::new(&widths, Activation::Relu, &mut on.weights(1), &on.learning()),
        };
        let collator = NextSeriesCollator { seed: on.seed, cut: vit.cut, codes: self.code_width, slices: self.slices };
        let objective = NextSeries {
            sigreg: [self.sigreg_batch, self.sigreg_time],
            stop_gradient: self.stop_gradient,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, networks))
    }

    /// The usual with random convolutions beside them, noise, forecasts, and LiDAR.
    fn judge(&self, run: &Judging<'_, Series>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::series(run)?;
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
