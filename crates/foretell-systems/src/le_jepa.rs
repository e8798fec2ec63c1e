//! LeJEPA (Balestriero and LeCun, 2025, arXiv 2511.08544): codes of all views pulled to the mean of the global ones,
//! while SIGReg forces their distribution to N(0, I). No moving average, no stop-gradient, no predictor.
//!
//! The composition is [`Views`]; here are the settings. Any other term against collapse takes SIGReg's place by `model.anti_collapse`:
//! VICReg, Barlow Twins, VISReg, or none, on the same networks and views.

use std::marker::PhantomData;
use std::sync::Arc;

use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Auto, Decision, Images, ImagesConfig, Sample, fit};
use foretell_eval::{Card, Finding, Pictures, Strip, Tile};
use foretell_jepa::AntiCollapse;
use foretell_jepa::anti_collapse::{Scaling, SigregConfig, VicregConfig};
use foretell_jepa::views::{Views, ViewsCollator, ViewsNetworks};
use foretell_nn::Backbone;
use foretell_nn::conv::ResNetConfig;
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::vit::{Size, VitConfig};
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges::{self, originals, rgb};
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::{check_patch, check_term, check_width, settle_lambda, usual_patch};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 12,
    name: "le-jepa",
    title: "LeJEPA",
    one_line: "SIGReg instead of every heuristic",
    papers: &["arXiv:2511.08544"],
    state: State::Trains,
};

/// The encoder's architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BackboneConfig {
    /// A small residual network, the better choice for minutes on a CPU.
    Resnet {
        /// Width of each stage; each but the first halves the resolution. Empty: by the size.
        #[serde(default)]
        widths: Vec<usize>,
        /// Basic blocks in each stage.
        blocks: usize,
        /// Side of the stem's kernel.
        stem_kernel: usize,
        /// Stride of the stem.
        stem_stride: usize,
    },
    /// A vision transformer.
    Vit {
        /// Side of a patch in pixels.
        #[serde(default)]
        patch: Auto<usize>,
        /// Blocks.
        #[serde(default)]
        depth: Auto<usize>,
    },
}

/// Settings of LeJEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeJepaConfig {
    /// The dial that sets the encoder's widths, or its width, depth and heads.
    pub size: Size,
    /// What keeps codes apart.
    pub anti_collapse: AntiCollapse,
    /// λ in `(1 − λ) invariance + λ SIGReg`, and likewise of VISReg; 0 collapses. VICReg and Barlow Twins have weights of their own.
    pub lambda: Auto<f64>,
    /// Random directions of SIGReg and VISReg.
    pub slices: usize,
    /// Global views of each sample.
    pub global_views: usize,
    /// Local views of each sample.
    pub local_views: usize,
    /// Side of the local views in pixels.
    pub local_size: Auto<usize>,
    /// Hidden widths of the projector.
    pub projector: Vec<usize>,
    /// Width of the codes.
    pub code_width: usize,
    /// The encoder.
    pub backbone: BackboneConfig,
    /// How global views are made.
    pub global: Augment,
    /// How local views are made.
    pub local: Augment,
}

impl Default for LeJepaConfig {
    fn default() -> Self {
        let global = Augment { crop_scale: (0.2, 1.0), flip: 0.5, ..Augment::coloured() };
        Self {
            size: Size::Tiny,
            anti_collapse: AntiCollapse::default(),
            lambda: Auto::Auto,
            slices: 256,
            global_views: 2,
            local_views: 2,
            local_size: Auto::Auto,
            projector: vec![512],
            code_width: 64,
            backbone: BackboneConfig::Resnet { widths: Vec::new(), blocks: 1, stem_kernel: 3, stem_stride: 2 },
            local: Augment { crop_scale: (0.05, 0.3), ..global.clone() },
            global,
        }
    }
}

/// Widths of a residual network's stages. `tiny` is ours, for minutes on a CPU; `base` and up have the four stages of
/// ResNet-18 (He et al., 2016) and its multiples.
fn stages(size: Size) -> Vec<usize> {
    match size {
        Size::Tiny => vec![64, 128, 256],
        Size::Small => vec![96, 192, 384],
        Size::Base => vec![64, 128, 256, 512],
        Size::Large => vec![128, 256, 512, 1024],
        Size::Huge => vec![192, 384, 768, 1536],
        Size::Giant => vec![256, 512, 1024, 2048],
    }
}

impl System for LeJepaConfig {
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
        self.resolve(image_size, on.on_cpu(), decisions);
        settle_lambda(self.anti_collapse, &mut self.lambda, decisions)?;
        check_term(self.anti_collapse, on.batch)?;
        self.check()?;
        let image = (image_size, image_size);
        let (mut weights, device) = (on.weights(0), on.learning());
        match &self.backbone {
            BackboneConfig::Resnet { widths, blocks, stem_kernel, stem_stride } => {
                if widths.is_empty() || widths.contains(&0) || *blocks == 0 || *stem_kernel == 0 || *stem_stride == 0 {
                    return Err(SystemError::Setting(
                        "`model.backbone` needs at least one positive width, and positive `blocks`, `stem_kernel` and `stem_stride`".to_owned(),
                    ));
                }
                let config = ResNetConfig {
                    image,
                    channels,
                    widths: widths.clone(),
                    blocks: *blocks,
                    stem_kernel: *stem_kernel,
                    stem_stride: *stem_stride,
                };
                self.learner(config.init(&mut weights, &device), on)
            }
            BackboneConfig::Vit { patch: Auto::Value(patch), depth: Auto::Value(depth) } => {
                check_patch(image_size, *patch)?;
                let (width, _, heads, hidden) = self.size.dimensions();
                check_width("encoder", width, heads)?;
                let config = VitConfig { image, patch: *patch, channels, width, depth: *depth, heads, hidden };
                if let Auto::Value(local) = self.local_size
                    && self.local_views > 0
                    && (local < *patch || !local.is_multiple_of(*patch))
                {
                    return Err(SystemError::Setting(format!(
                        "local views of {local} pixels do not split into patches of {patch}: choose another `model.local_size`"
                    )));
                }
                self.learner(config.init(&mut weights, &device), on)
            }
            BackboneConfig::Vit { .. } => Err(SystemError::Setting("`model.backbone` is not resolved".to_owned())),
        }
    }

    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(self.views(run)?);
        findings.push(judges::lidar(run)?);
        Ok(findings)
    }
}

/// Images whose views are shown.
const VIEWED: usize = 4;
/// The step whose randomness draws them: no training step has this number.
const SHOWN: u64 = u64::MAX / 4;

impl LeJepaConfig {
    /// The image half of EB-JEPA (arXiv 2602.03604) as released, with SIGReg in its own scaling: two whole views, a ResNet-18 whose stem
    /// keeps the resolution (padded by 1, where the released one pads by 2), three maps to wide codes.
    pub fn eb_jepa() -> Self {
        let ours = Self::default();
        Self {
            size: Size::Base,
            anti_collapse: AntiCollapse::Sigreg(SigregConfig { scaling: Scaling::None }),
            lambda: Auto::Value(10.0),
            local_views: 0,
            projector: vec![2048, 2048],
            code_width: 128,
            backbone: BackboneConfig::Resnet { widths: stages(Size::Base), blocks: 2, stem_kernel: 3, stem_stride: 1 },
            global: Augment { solarise: 0.1, ..ours.global.clone() },
            ..ours
        }
    }

    /// The same with VICReg in its own convention, and codes as wide as the released ones.
    pub fn eb_jepa_vicreg() -> Self {
        Self {
            anti_collapse: AntiCollapse::Vicreg(VicregConfig::eb_jepa()),
            lambda: Auto::Auto,
            code_width: 2048,
            ..Self::eb_jepa()
        }
    }

    /// Chooses what is open, and says why.
    fn resolve(&mut self, image_size: usize, on_cpu: bool, decisions: &mut Vec<Decision>) {
        let (mut unit, size) = (4, self.size);
        match &mut self.backbone {
            BackboneConfig::Resnet { widths, .. } => {
                if widths.is_empty() {
                    *widths = stages(size);
                    decisions.push(Decision {
                        what: "model.backbone.widths".to_owned(),
                        value: format!("{widths:?}"),
                        reason: format!("size = {size:?}").to_lowercase(),
                    });
                }
            }
            BackboneConfig::Vit { patch, depth } => {
                let (_, full, _, _) = size.dimensions();
                unit = patch.resolve("model.backbone.patch", decisions, || usual_patch(image_size));
                depth.resolve("model.backbone.depth", decisions, || {
                    if on_cpu {
                        (full.min(6), "on a CPU: twice the images in the same time".to_owned())
                    } else {
                        (full, format!("size = {size:?}").to_lowercase())
                    }
                });
            }
        }
        self.local_size.resolve("model.local_size", decisions, || {
            let half = (image_size / 2 / unit.max(1) * unit.max(1)).max(unit);
            (half, format!("half of {image_size} pixels: a quarter of the work"))
        });
    }

    fn check(&self) -> Result<(), SystemError> {
        for (table, augment) in [("model.global", &self.global), ("model.local", &self.local)] {
            augment.check().map_err(|error| error.under(table))?;
        }
        if self.global_views + self.local_views < 2 || self.global_views == 0 {
            return Err(SystemError::Setting(format!(
                "{} global and {} local views were asked for: at least one global view and two views in all are needed. Set `model.global_views` and `model.local_views`",
                self.global_views, self.local_views
            )));
        }
        if self.slices == 0 || self.code_width == 0 || self.projector.contains(&0) {
            return Err(SystemError::Setting(
                "`model.slices`, `model.code_width` and every width of `model.projector` must be positive".to_owned(),
            ));
        }
        Ok(())
    }

    /// Makes batches.
    fn collator(&self, seed: u64, data: &ImagesConfig) -> Result<ViewsCollator, SystemError> {
        let (size, _) = data.form()?;
        Ok(ViewsCollator {
            seed,
            size,
            local_size: if let Auto::Value(local) = self.local_size { local } else { size },
            global_views: self.global_views,
            local_views: self.local_views,
            global: self.global.clone(),
            local: self.local.clone(),
            normalise: data.normalise.clone(),
            code_width: self.code_width,
            slices: self.anti_collapse.directions(self.slices),
        })
    }

    fn learner<B: Backbone + 'static>(&self, encoder: B, on: &On<'_, Images>) -> Result<Box<dyn Learner>, SystemError> {
        let widths: Vec<usize> =
            [encoder.width()].into_iter().chain(self.projector.iter().copied()).chain([self.code_width]).collect();
        let projector = Projector::new(&widths, Activation::Relu, &mut on.weights(1), &on.learning());
        let objective = Views::<B> {
            backbone: PhantomData,
            anti_collapse: self.anti_collapse,
            lambda: if let Auto::Value(lambda) = self.lambda { lambda } else { 0.0 },
            collator: Arc::new(self.collator(on.seed, on.config)?),
            device: on.device.clone(),
        };
        Ok(on.learner(objective, ViewsNetworks { encoder, projector }))
    }

    /// Some held-out images with the views made of them.
    fn views(&self, run: &Judging<'_, Images>) -> Result<Option<Finding>, JudgeError> {
        let other = |error: SystemError| JudgeError::Other(error.to_string());
        let collator = self.collator(run.on.seed, run.on.config).map_err(other)?;
        let samples = originals(run, VIEWED);
        let global = (0..collator.global_views).map(|_| (&collator.global, collator.size));
        let local = (0..collator.local_views).map(|_| (&collator.local, collator.local_size));
        let kinds: Vec<_> = global.chain(local).collect();
        let card = |(i, sample): (usize, &Sample)| {
            let view = |(view, (augment, size)): (usize, &(&Augment, usize))| {
                let place = (view * samples.len() + i) as u64;
                let mut rng = rng(collator.seed, Stream::Augment, SHOWN, place);
                Tile::new(rgb(&augment.apply(&sample.image, *size, &mut rng)), "view")
            };
            let strip = Strip { tiles: kinds.iter().enumerate().map(view).collect(), ..Strip::default() };
            let whole = fit(&sample.image, collator.size);
            Card { tiles: vec![Tile::new(rgb(&whole), "sample")], strips: vec![strip] }
        };
        let cards: Vec<Card> = samples.iter().enumerate().map(card).collect();
        Ok((!cards.is_empty()).then(|| {
            Finding::pictures(
                "views",
                "What was compared",
                "Each sample with the views made of it. Training pulls the codes of one sample's views together.",
                Pictures { legend: Vec::new(), cards },
            )
        }))
    }
}
