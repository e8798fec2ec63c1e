//! Graph-JEPA (Skenderi et al., TMLR 2025, arXiv 2309.16014): from one patch of a graph and the random walks of others, the place
//! of those others on a hyperbola is predicted.
//!
//! The objective is [`GraphJepa`]; here are the settings. The defaults are ours; the released code's are `teacher = "official"`,
//! `codes = "official"`, `teacher_sees = "targets"`, `size = "base"`.

use std::sync::Arc;

use burn::module::Module;
use foretell_data::graphs::{Graphs, GraphsConfig, PartsConfig};
use foretell_data::{Auto, Decision};
use foretell_eval::Finding;
use foretell_jepa::geometry::Geometry;
use foretell_jepa::patches::{Codes, GraphCollator, GraphJepa, GraphJepaNetworks, Shapes, Teacher, TeacherSees};
use foretell_jepa::target::EmaConfig;
use foretell_nn::Init;
use foretell_nn::graph::{Dense, PatchNetworkConfig, PatchPredictor, PatchTransformer};
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 24,
    name: "graph-jepa",
    title: "Graph-JEPA",
    one_line: "subgraphs, hyperbolic target coordinates",
    papers: &["arXiv:2309.16014"],
    state: State::Trains,
};

/// Settings of Graph-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GraphJepaConfig {
    /// The dial that sets the width: 128, 256, and from `base` on the paper's 512.
    pub size: Size,
    /// Width D, a multiple of `heads`.
    pub width: Auto<usize>,
    /// Layers of the GNN over patches: 2 in the paper, 3 for DD.
    pub layers: usize,
    /// Blocks of either encoder.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// How graphs are cut into patches.
    pub parts: PartsConfig,
    /// Patches of a graph that are predicted: 2 for PROTEINS, 3 for MUTAG, 4 otherwise in the paper.
    pub targets: usize,
    /// Where predictions are compared with targets.
    pub geometry: Geometry,
    /// Where the target encoder comes from.
    pub teacher: Teacher,
    /// What it is given.
    pub teacher_sees: TeacherSees,
    /// How fast it follows; not for an `official` teacher.
    pub ema: EmaConfig,
    /// How patches come by their random walks.
    pub codes: Codes,
}

impl Default for GraphJepaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            width: Auto::Auto,
            layers: 2,
            depth: 4,
            heads: 8,
            parts: PartsConfig::default(),
            targets: 4,
            geometry: Geometry::default(),
            // A copy, by steps: the released clock leaves most of a random teacher in place.
            teacher: Teacher::Copied,
            teacher_sees: TeacherSees::Targets,
            ema: EmaConfig::default(),
            // One way of making codes: with two, the kept encoder meets numbers that it was not trained on.
            codes: Codes::Max,
        }
    }
}

impl GraphJepaConfig {
    /// Chooses what is open, and says why.
    fn resolve(&mut self, on: &On<'_, Graphs>, decisions: &mut Vec<Decision>) {
        let size = self.size;
        self.width.resolve("model.width", decisions, || {
            let width = match size {
                Size::Tiny => 128,
                Size::Small => 256,
                _ => 512,
            };
            (width, format!("size = {size:?}").to_lowercase())
        });
        if self.teacher == Teacher::Copied {
            self.ema.resolve(on.steps, on.batch, decisions);
        }
    }

    fn check(&self, width: usize) -> Result<(), SystemError> {
        let refuse = |message: String| Err(SystemError::Setting(message));
        if self.heads == 0 || width == 0 || !width.is_multiple_of(self.heads) {
            return refuse(format!(
                "a width of {width} does not split into {} heads: make `model.width` a multiple of `model.heads`",
                self.heads
            ));
        }
        for (key, value) in [("layers", self.layers), ("depth", self.depth), ("targets", self.targets)] {
            if value == 0 {
                return refuse(format!("`model.{key}` is 0: at least 1 is needed"));
            }
        }
        self.parts.check().map_err(|error| error.under("model"))?;
        match self.geometry {
            Geometry::Hyperbola { limit } if !(limit > 0.0 && limit <= 80.0) => refuse(format!(
                "`model.geometry.limit` is {limit}: it must be above 0 and at most 80, where cosh still fits into a single-precision number"
            )),
            _ => Ok(()),
        }
    }

    /// The objective, and fresh networks. Everything must be resolved.
    fn build(&self, on: &On<'_, Graphs>) -> Result<(GraphJepa, GraphJepaNetworks), SystemError> {
        let Auto::Value(width) = self.width else {
            return Err(SystemError::Setting("`model.width` is not resolved".to_owned()));
        };
        self.check(width)?;
        let shapes = Shapes { nodes: on.config.feature_width(), edges: on.config.edge_classes(), walk: on.config.walk };
        let patches = PatchNetworkConfig {
            node_features: shapes.nodes,
            edge_features: shapes.edges.max(1),
            width,
            depth: self.layers,
        };
        let device = on.learning();
        let encoder = PatchTransformer::new(width, self.depth, self.heads, &mut on.weights(2), &device);
        let target_encoder = match self.teacher {
            Teacher::Copied => encoder.valid(),
            Teacher::Official => PatchTransformer::new(width, self.depth, self.heads, &mut on.weights(3), on.device),
        };
        let widths = [width, width, width, self.geometry.width(width)];
        let networks = GraphJepaNetworks {
            patches: patches.init(&mut on.weights(0), &device),
            walks: Dense::new(shapes.walk, width, &mut Init::new(&mut on.weights(1), &device)),
            encoder,
            target_encoder,
            predictor: PatchPredictor::new(&widths, &mut on.weights(4), &device),
        };
        let graphs = on.train_len().unwrap_or(on.batch);
        let collator = GraphCollator { seed: on.seed, parts: self.parts.clone(), targets: self.targets, shapes };
        let objective = GraphJepa {
            geometry: self.geometry,
            teacher: self.teacher,
            teacher_sees: self.teacher_sees,
            ema: self.ema,
            codes: self.codes,
            epoch: (graphs.div_ceil(on.batch.max(1)) as u64).max(1),
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok((objective, networks))
    }
}

impl System for GraphJepaConfig {
    type Data = Graphs;
    const ROW: &'static Row = &ROW;

    /// The paper's: Adam at 5e-4 without decay. Its batches are of 128, or 32 where graphs are large; the smallest set has 170
    /// graphs to train on.
    fn train() -> TrainConfig {
        TrainConfig { batch: 64, lr: 5e-4, weight_decay: 0.0, final_weight_decay: 0.0, ..TrainConfig::default() }
    }

    /// Thirty epochs, of the paper's 5 to 50.
    fn usual_steps(_: &GraphsConfig, graphs: Option<usize>) -> Option<u64> {
        let batch = Self::train().batch;
        graphs.map(|graphs| (30 * graphs).div_ceil(batch) as u64)
    }

    fn init(&mut self, on: &On<'_, Graphs>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        self.resolve(on, decisions);
        let (objective, networks) = self.build(on)?;
        Ok(on.learner(objective, networks))
    }

    /// Linear and ridge heads, as the papers of this field have them, and neighbours.
    fn judge(&self, run: &Judging<'_, Graphs>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::ridge(run)?);
        findings.push(judges::lidar(run)?);
        Ok(findings)
    }
}
