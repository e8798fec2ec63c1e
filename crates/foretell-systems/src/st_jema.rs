//! ST-JEMA (Choi et al., arXiv 2403.06432): of graphs that change, hidden regions and links are predicted from what is seen at the same
//! time and at other times.
//!
//! The objective is [`SpatioTemporal`]; here are the settings. No code was released; what is set as published is called `official`.

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::Tensor;
use foretell_data::connectomes::{Connectomes, ConnectomesConfig};
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::spatio_temporal::{
    BlocksConfig, Gap, PairsAsked, SpatioTemporal, SpatioTemporalNetworks, Targets, TimeCode, WindowsCollator,
};
use foretell_jepa::target::EmaConfig;
use foretell_nn::Init;
use foretell_nn::dynamic_graph::WindowEncoder;
use foretell_nn::layers::Linear;
use foretell_nn::mixer::Mixer;
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::judges::{self, connectomes};
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::resolved;
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 25,
    name: "st-jema",
    title: "ST-JEMA",
    one_line: "dynamic brain graphs, space and time",
    papers: &["arXiv:2403.06432"],
    state: State::Partial("trains; learns hidden links, tells states worse than correlations do"),
};

/// Settings of ST-JEMA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StJemaConfig {
    /// The dial that sets the width: 64, and from `small` on STAGIN's 128.
    pub size: Size,
    /// Width D.
    pub width: Auto<usize>,
    /// Layers of the graph network.
    pub layers: usize,
    /// Layers of either decoder.
    pub decoder_layers: usize,
    /// How regions are hidden.
    pub blocks: BlocksConfig,
    /// Moments of a recording in a step.
    pub moments: usize,
    /// The share of the loss that is of other moments, 1 − γ: 0 is space alone, 1 time alone.
    pub temporal: f64,
    /// How far those are.
    pub gap: Gap,
    /// Weight of hidden regions, λ_n.
    pub nodes: f64,
    /// Weight of links among them, λ_a.
    pub edges: f64,
    /// Which of them are asked.
    pub pairs: PairsAsked,
    /// What a window's time code is made of.
    pub time_code: TimeCode,
    /// What becomes of targets.
    pub targets: Targets,
    /// How fast the target encoder follows; the paper does not say.
    pub ema: EmaConfig,
}

impl Default for StJemaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            width: Auto::Auto,
            layers: 4,
            decoder_layers: 1,
            blocks: BlocksConfig::default(),
            moments: 1,
            temporal: 0.5,
            gap: Gap::default(),
            nodes: 1.0,
            edges: 1e-3,
            pairs: PairsAsked::default(),
            time_code: TimeCode::default(),
            targets: Targets::default(),
            ema: EmaConfig::default(),
        }
    }
}

impl StJemaConfig {
    fn check(&self, width: usize) -> Result<(), SystemError> {
        let refuse = |message: String| Err(SystemError::Setting(message));
        for (key, value) in [("width", width), ("layers", self.layers), ("moments", self.moments)] {
            if value == 0 {
                return refuse(format!("`model.{key}` is 0: at least 1 is needed"));
            }
        }
        if !(0.0..=1.0).contains(&self.temporal) {
            return refuse(format!("`model.temporal` is {}: expected a share from 0 to 1", self.temporal));
        }
        for (key, value) in [("nodes", self.nodes), ("edges", self.edges)] {
            if !(value >= 0.0 && value.is_finite()) {
                return refuse(format!("`model.{key}` is {value}: expected 0 or more"));
            }
        }
        if self.nodes == 0.0 && self.edges == 0.0 {
            return refuse("`model.nodes` and `model.edges` are both 0: nothing would be learnt".to_owned());
        }
        self.blocks.check("model.blocks").map_err(SystemError::Setting)
    }

    fn collator(&self, on: &On<'_, Connectomes>) -> Result<WindowsCollator, SystemError> {
        let collator = WindowsCollator {
            seed: on.seed,
            moments: self.moments,
            gap: self.gap,
            blocks: self.blocks,
            code: self.time_code,
            asked: self.pairs,
            links: self.edges > 0.0,
            between: self.temporal > 0.0,
        };
        if let Some(data) = on.data {
            let (fewest, sliding) = (data.fewest_windows(), data.sliding());
            let least = collator.least_windows(sliding.window, sliding.stride);
            if fewest < least {
                let tables = !on.config.path.is_empty() && on.config.atlas.is_empty();
                let turned = if tables {
                    format!(
                        " ({} regions were read of each; where that is the number of time points, `data.rows` says which axis is which)",
                        on.config.regions
                    )
                } else {
                    String::new()
                };
                return Err(SystemError::Setting(format!(
                    "the shortest recording has {fewest} windows, and {least} are needed to predict one from two around it{turned}: set a smaller `data.window` or `data.stride`, take longer recordings, or set `model.temporal` to 0"
                )));
            }
        }
        Ok(collator)
    }

    /// The objective, and fresh networks. Everything must be resolved.
    fn build(&self, on: &On<'_, Connectomes>) -> Result<(SpatioTemporal, SpatioTemporalNetworks), SystemError> {
        let (width, regions) = (resolved(self.width), on.config.regions);
        self.check(width)?;
        let device = on.learning();
        let encoder = |device| WindowEncoder::new(regions, width, self.layers, &mut on.weights(0), device);
        let (mut drawn, mut weights) = (on.weights(1), on.weights(2));
        let mixer = |network| Mixer::new(regions, width, self.decoder_layers, &mut on.weights(network), &device);
        let networks = SpatioTemporalNetworks {
            encoder: encoder(&device),
            // The same weights, drawn again: batch statistics find their network by its parameters.
            target_encoder: encoder(on.device),
            mask_token: mask_token(width, &mut Init::new(&mut drawn, &device)),
            between: Linear::uniform(2 * width, width, &mut Init::new(&mut weights, &device)),
            node_decoder: mixer(3),
            edge_decoder: mixer(4),
        };
        let objective = SpatioTemporal {
            temporal: self.temporal,
            nodes: self.nodes,
            edges: self.edges,
            targets: self.targets,
            ema: self.ema,
            collator: Arc::new(self.collator(on)?),
            device: on.device.clone(),
        };
        Ok((objective, networks))
    }
}

/// Small numbers, as mask tokens usually begin.
fn mask_token(width: usize, init: &mut Init<'_>) -> Param<Tensor<2>> {
    init.truncated_normal([1, width], 0.02)
}

impl System for StJemaConfig {
    type Data = Connectomes;
    const ROW: &'static Row = &ROW;

    /// The paper's batches of 16.
    fn train() -> TrainConfig {
        TrainConfig { batch: 16, lr: 1e-3, ..TrainConfig::default() }
    }

    /// The paper takes 10,000 steps over 40,000 subjects; here thirty epochs of what there is, at most as many.
    fn usual_steps(_: &ConnectomesConfig, recordings: Option<usize>) -> Option<u64> {
        let batch = Self::train().batch;
        recordings.map(|recordings| ((30 * recordings).div_ceil(batch) as u64).clamp(200, 10_000))
    }

    fn init(
        &mut self,
        on: &On<'_, Connectomes>,
        decisions: &mut Vec<Decision>,
    ) -> Result<Box<dyn Learner>, SystemError> {
        let size = self.size;
        self.width.resolve("model.width", decisions, || {
            (if size == Size::Tiny { 64 } else { 128 }, format!("size = {size:?}").to_lowercase())
        });
        self.ema.resolve(on.steps, on.batch, decisions);
        let (objective, networks) = self.build(on)?;
        Ok(on.learner(objective, networks))
    }

    /// The paper's ablation (its table of losses), and its masks, targets, time codes and distances.
    fn ablations(&self) -> Vec<Ablation> {
        let row = |name, settings: &[&str], about| Ablation::new(name, "st-jema", settings, about);
        vec![
            row("st-jema", &[], "space and time"),
            row("space-only", &["model.temporal=0.0"], "nothing is predicted from other moments"),
            row("time-only", &["model.temporal=1.0"], "nothing is predicted from the same moment alone"),
            row("no-links", &["model.edges=0.0"], "latents alone are predicted"),
            row("no-nodes", &["model.nodes=0.0", "model.edges=1.0"], "links alone are predicted"),
            row("official-blocks", &["model.blocks.by=official"], "blocks follow the order of the atlas"),
            row("official-time-code", &["model.time_code=official"], "time codes hear what is hidden"),
            row("official-targets", &["model.targets=official"], "targets as they are"),
            row("official-gap", &["model.gap=official"], "the other moments share time points with the one asked for"),
        ]
    }

    fn judge(&self, run: &Judging<'_, Connectomes>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(connectomes::states(run)?);
        findings.extend(connectomes::links(run)?);
        findings.extend(connectomes::sero(run)?);
        findings.extend(connectomes::over_time(run)?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        Ok(findings)
    }
}
