//! S-JEA (Manová, Durrant and Leontidis, 2023, arXiv 2305.11701): joint embeddings stacked. The second one sees what the first makes of
//! an image, and each has codes and a loss of its own.
//!
//! The composition is [`Stacked`]; here are the settings. There is no released code, and the abstract leaves the loss, the networks and
//! the gradient between levels open: what stands here is our reading, with each open question as a setting.

use std::sync::Arc;

use foretell_data::{Augment, Auto, Decision, Images, ImagesConfig};
use foretell_eval::{
    Better, Budget, FEATURES, Factor, FeatureRows, Features, Figures, Finding, Probed, Stored, TRAINED, UNTRAINED,
};
use foretell_jepa::AntiCollapse;
use foretell_jepa::anti_collapse::VicregConfig;
use foretell_jepa::stacked::{LEVELS, Stacked, StackedNetworks};
use foretell_jepa::views::ViewsCollator;
use foretell_nn::conv::ResNetConfig;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::stack::{Source, StackConfig};
use foretell_nn::vit::Size;
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges;
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::{check_term, settle_lambda};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 20,
    name: "s-jea",
    title: "S-JEA",
    one_line: "stacked joint embeddings",
    papers: &["arXiv:2305.11701"],
    state: State::Partial("trains; about as good as a flat network in one short run"),
};

/// What a level is given of the one below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureSource {
    /// Its feature map.
    #[default]
    Map,
    /// The map's mean over positions.
    Pooled,
}

/// Settings of S-JEA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SJeaConfig {
    /// The dial that sets the levels' widths.
    pub size: Size,
    /// Widths of each level, from the bottom: of the stages of a residual network, each of which but the first of all halves the
    /// resolution; with `feature_source = "pooled"` of affine maps from the second level on. Empty: by the size.
    pub levels: Vec<Vec<usize>>,
    /// Basic blocks in each stage.
    pub blocks: usize,
    /// Side of the stem's kernel.
    pub stem_kernel: usize,
    /// Stride of the stem.
    pub stem_stride: usize,
    /// What a level is given of the one below.
    pub feature_source: FeatureSource,
    /// Whether a level's loss leaves the levels below alone.
    pub detach_lower: bool,
    /// The control of equal size: the same network with one loss, that of the highest level, for all of it.
    pub flat: bool,
    /// Weight of each level's loss, from the bottom. Empty: 1 for each.
    pub level_weights: Vec<f64>,
    /// What keeps codes apart, at each level.
    pub anti_collapse: AntiCollapse,
    /// λ of SIGReg and VISReg; the others have weights of their own.
    pub lambda: Auto<f64>,
    /// Random directions of SIGReg and VISReg.
    pub slices: usize,
    /// Hidden widths of each level's projector.
    pub projector: Vec<usize>,
    /// Width of each level's codes.
    pub code_width: usize,
    /// How the two views are made.
    pub augment: Augment,
}

impl Default for SJeaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            levels: Vec::new(),
            blocks: 1,
            stem_kernel: 3,
            stem_stride: 2,
            feature_source: FeatureSource::Map,
            detach_lower: false,
            flat: false,
            level_weights: Vec::new(),
            anti_collapse: AntiCollapse::Vicreg(VicregConfig::default()),
            lambda: Auto::Auto,
            slices: 256,
            projector: vec![512],
            code_width: 128,
            augment: Augment { crop_scale: (0.2, 1.0), flip: 0.5, ..Augment::coloured() },
        }
    }
}

/// Widths of two levels. `tiny` is ours, for minutes on a CPU; `base` and up split the four stages of ResNet-18 (He et al., 2016) and
/// its multiples.
fn levels(size: Size) -> Vec<Vec<usize>> {
    match size {
        Size::Tiny => vec![vec![64, 128], vec![256]],
        Size::Small => vec![vec![96, 192], vec![384]],
        Size::Base => vec![vec![64, 128], vec![256, 512]],
        Size::Large => vec![vec![128, 256], vec![512, 1024]],
        Size::Huge => vec![vec![192, 384], vec![768, 1536]],
        Size::Giant => vec![vec![256, 512], vec![1024, 2048]],
    }
}

impl System for SJeaConfig {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    fn train() -> TrainConfig {
        TrainConfig { lr: 2e-3, weight_decay: 0.05, final_weight_decay: 0.05, ..TrainConfig::default() }
    }

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ImagesConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(300)
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (image_size, channels) = on.config.form()?;
        if self.levels.is_empty() {
            self.levels = levels(self.size);
            decisions.push(Decision {
                what: "model.levels".to_owned(),
                value: format!("{:?}", self.levels),
                reason: format!("size = {:?}", self.size).to_lowercase(),
            });
        }
        let lambda = settle_lambda(self.anti_collapse, &mut self.lambda, decisions)?;
        check_term(self.anti_collapse, on.batch)?;
        self.check()?;
        let config = StackConfig {
            first: ResNetConfig {
                image: (image_size, image_size),
                channels,
                widths: self.levels[0].clone(),
                blocks: self.blocks,
                stem_kernel: self.stem_kernel,
                stem_stride: self.stem_stride,
            },
            upper: self.levels[1..].to_vec(),
            source: match self.feature_source {
                FeatureSource::Map => Source::Map,
                FeatureSource::Pooled => Source::Pooled,
            },
        };
        let device = on.learning();
        let encoder = config.init(&mut on.weights(0), &device);
        // The flat control has the projector of the highest level, with the same weights at the start.
        let with_loss = if self.flat { self.levels.len() - 1..self.levels.len() } else { 0..self.levels.len() };
        let projector = |level: usize| {
            let below = self.levels[level].last().copied().unwrap_or(0);
            let widths: Vec<usize> =
                [below].into_iter().chain(self.projector.iter().copied()).chain([self.code_width]).collect();
            Projector::new(&widths, Activation::Relu, &mut on.weights(1 + level as u64), &device)
        };
        let projectors = with_loss.clone().map(projector).collect();
        let weights = with_loss.map(|level| self.level_weights.get(level).copied().unwrap_or(1.0)).collect();
        let collator = ViewsCollator {
            code_width: self.code_width,
            slices: self.anti_collapse.directions(self.slices),
            ..ViewsCollator::pairs(on.seed, image_size, self.augment.clone(), on.config.normalise.clone())
        };
        let objective = Stacked {
            anti_collapse: self.anti_collapse,
            lambda,
            weights,
            detached: self.detach_lower,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, StackedNetworks { encoder, projectors }))
    }

    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(self.by_level(run)?);
        findings.push(judges::lidar(run)?);
        Ok(findings)
    }
}

impl SJeaConfig {
    fn check(&self) -> Result<(), SystemError> {
        let wrong = |why: String| Err(SystemError::Setting(why));
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        let empty = self.levels.iter().any(|widths| widths.is_empty() || widths.contains(&0));
        if self.levels.len() > LEVELS || empty {
            return wrong(format!(
                "`model.levels` must name 1 to {LEVELS} levels with at least one positive width each, found {:?}",
                self.levels
            ));
        }
        let weights = &self.level_weights;
        let impossible = weights.iter().any(|weight| !(*weight >= 0.0 && weight.is_finite()))
            || weights.iter().all(|weight| *weight == 0.0);
        if !weights.is_empty() && (weights.len() != self.levels.len() || impossible) {
            return wrong(format!(
                "`model.level_weights` must have one number of 0 or more for each of the {} levels, not all of them 0, found {weights:?}",
                self.levels.len()
            ));
        }
        if self.flat && self.detach_lower {
            return wrong(
                "`model.flat` trains all levels by the highest one's loss, which `model.detach_lower` keeps from the lower ones: set one of them".to_owned(),
            );
        }
        if [self.blocks, self.stem_kernel, self.stem_stride, self.slices, self.code_width].contains(&0)
            || self.projector.contains(&0)
        {
            return wrong(
                "`model.blocks`, `model.stem_kernel`, `model.stem_stride`, `model.slices`, `model.code_width` and every width of `model.projector` must be positive".to_owned(),
            );
        }
        Ok(())
    }

    /// Where each level's numbers stand in what probes are given.
    fn places(&self) -> Vec<std::ops::Range<usize>> {
        let mut from = 0;
        let place = |widths: &Vec<usize>| {
            let width = widths.last().copied().unwrap_or(0);
            from += width;
            from - width..from
        };
        self.levels.iter().map(place).collect()
    }

    /// What each level knows of each factor alone; `None` where there are no labels or nothing is held out.
    fn by_level(&self, run: &Judging<'_, Images>) -> Result<Option<Finding>, JudgeError> {
        let Some((probed, factors)) = judges::labelled(run)? else { return Ok(None) };
        let dims = ["factor", "probe", "level", FEATURES];
        let mut figures = Figures::new(&dims, "accuracy", Figures::PERCENT, Better::Higher);
        let budget = Budget::default();
        let baseline: Vec<&Probed> = probed.iter().filter(|p| p.name != TRAINED && p.name != UNTRAINED).collect();
        let networks = probed.iter().filter(|p| p.name == TRAINED || p.name == UNTRAINED);
        let beside = baseline
            .into_iter()
            .map(|p| Ok((p.name.as_str(), accuracies(&p.train, &p.test, factors, &budget)?)))
            .collect::<Result<Vec<_>, JudgeError>>()?;
        let mut of_networks = Vec::new();
        for Probed { name, train, test } in networks {
            for place in self.places() {
                let (train, test) = (columns(train, &place)?, columns(test, &place)?);
                of_networks.push((name.as_str(), accuracies(&train.into(), &test.into(), factors, &budget)?));
            }
        }
        let levels = self.levels.len();
        for (at, factor) in factors.iter().enumerate() {
            for (probe, name) in ["knn", "linear"].into_iter().enumerate() {
                for level in 0..levels {
                    let trained = of_networks.iter().skip(level).step_by(levels);
                    // What lies in the input is the same whatever the level: it stands beside each.
                    for (features, found) in trained.chain(&beside) {
                        let cells = [factor.name.as_str().into(), name.into(), (level + 1).into(), (*features).into()];
                        figures.push(cells, found[at][probe]);
                    }
                }
            }
            figures.refer("chance", [Some(factor.name.as_str().into()), None, None, None], factor.chance());
        }
        let lead = "The probes on each level's features alone, from the bottom (1). The network is the same, so a higher level has more \
                    of it below it; the control of equal size is a run with `model.flat = true`.";
        let rows = probed.first().map_or(0, |probed| probed.test.rows());
        Ok(Some(Finding::figures("levels", "What each level knows", lead, figures.over(rows))))
    }
}

/// Accuracies by nearest neighbours and of a linear probe, for each factor.
fn accuracies(train: &Stored, test: &Stored, factors: &[Factor], budget: &Budget) -> Result<Vec<[f64; 2]>, JudgeError> {
    let knn = budget.knn.accuracy(train, test, factors)?;
    let linear = budget.linear.probe(train, test, factors)?;
    Ok(knn.into_iter().zip(linear).map(|(knn, linear)| [knn, linear.accuracy]).collect())
}

/// Some columns of all rows.
fn columns(features: &Stored, place: &std::ops::Range<usize>) -> Result<Features, JudgeError> {
    let rows: Vec<usize> = (0..features.rows()).collect();
    let whole = features.select(&rows)?;
    let values = whole.values.chunks_exact(whole.dim).flat_map(|row| row[place.clone()].iter().copied()).collect();
    Ok(Features::new(rows.len(), place.len(), values)?)
}
