//! LeJEPA (Balestriero and LeCun, 2025, arXiv 2511.08544): codes of all views pulled to the mean of the global ones,
//! while SIGReg forces their distribution to N(0, I). No moving average, no stop-gradient, no predictor.
//!
//! The composition is [`Views`](crate::views); here are the settings.

use std::sync::Arc;

use foretell_data::Augment;
use foretell_data::random::{Stream, rng};
use foretell_nn::Backbone;
use foretell_nn::conv::{ResNet, ResNetConfig};
use foretell_nn::mlp::{Activation, Projector};
use foretell_nn::vit::{Size, Vit, VitConfig};
use serde::{Deserialize, Serialize};

use super::{Setting, SystemError, check_patch, check_width, usual_patch};
use crate::views::{Views, ViewsCollator, ViewsNetworks};
use crate::{Auto, Decision};

/// The encoder's architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BackboneConfig {
    /// A small residual network, the better choice for minutes on a CPU.
    Resnet {
        /// The dial that sets the widths.
        #[serde(default)]
        size: Size,
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
        /// The dial that sets width, depth and heads.
        #[serde(default)]
        size: Size,
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
    /// λ in `(1 − λ) invariance + λ SIGReg`; 0 collapses.
    pub lambda: f64,
    /// Directions of SIGReg.
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
        let global = Augment {
            crop_scale: (0.2, 1.0),
            crop_aspect: (0.75, 4.0 / 3.0),
            flip: 0.5,
            jitter: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.2,
            hue: 0.1,
            grey: 0.2,
            ..Augment::default()
        };
        Self {
            lambda: 0.05,
            slices: 256,
            global_views: 2,
            local_views: 2,
            local_size: Auto::Auto,
            projector: vec![512],
            code_width: 64,
            backbone: BackboneConfig::Resnet {
                size: Size::Tiny,
                widths: Vec::new(),
                blocks: 1,
                stem_kernel: 3,
                stem_stride: 2,
            },
            local: Augment { crop_scale: (0.05, 0.3), ..global.clone() },
            global,
        }
    }
}

/// An objective over either backbone.
pub enum LeJepa {
    /// Over a [`ResNet`].
    Resnet(Views<ResNet>),
    /// Over a [`Vit`].
    Vit(Views<Vit>),
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

impl LeJepaConfig {
    /// Chooses what is open, and says why.
    pub fn resolve(&mut self, setting: &Setting, decisions: &mut Vec<Decision>) -> Result<(), SystemError> {
        let mut unit = 4;
        match &mut self.backbone {
            BackboneConfig::Resnet { size, widths, .. } => {
                if widths.is_empty() {
                    *widths = stages(*size);
                    decisions.push(Decision {
                        what: "model.backbone.widths".to_owned(),
                        value: format!("{widths:?}"),
                        reason: format!("size = {size:?}").to_lowercase(),
                    });
                }
            }
            BackboneConfig::Vit { size, patch, depth } => {
                let (_, full, _, _) = size.dimensions();
                unit = patch.resolve("model.backbone.patch", decisions, || usual_patch(setting.image_size));
                depth.resolve("model.backbone.depth", decisions, || {
                    if setting.on_cpu {
                        (full.min(6), "on a CPU: twice the images in the same time".to_owned())
                    } else {
                        (full, format!("size = {size:?}").to_lowercase())
                    }
                });
            }
        }
        self.local_size.resolve("model.local_size", decisions, || {
            let half = (setting.image_size / 2 / unit.max(1) * unit.max(1)).max(unit);
            (half, format!("half of {} pixels: a quarter of the work", setting.image_size))
        });
        Ok(())
    }

    /// The objective, with fresh networks. Everything must be resolved.
    pub fn init(&self, setting: &Setting) -> Result<LeJepa, SystemError> {
        for augment in [&self.global, &self.local] {
            augment.check().map_err(|e| SystemError::Setting(e.to_string()))?;
        }
        if self.global_views + self.local_views < 2 || self.global_views == 0 {
            return Err(SystemError::Setting(format!(
                "{} global and {} local views were asked for: at least one global view and two views in all are needed. Set `model.global_views` and `model.local_views`",
                self.global_views, self.local_views
            )));
        }
        if !(0.0..=1.0).contains(&self.lambda)
            || self.slices == 0
            || self.code_width == 0
            || self.projector.contains(&0)
        {
            return Err(SystemError::Setting(format!(
                "`model.lambda` must lie between 0 and 1 (found {}), and `model.slices`, `model.code_width` and every width of `model.projector` must be positive",
                self.lambda
            )));
        }
        let device = setting.device.clone().autodiff();
        let mut weights = rng(setting.seed, Stream::Init, 0, 0);
        let image = (setting.image_size, setting.image_size);
        match &self.backbone {
            BackboneConfig::Resnet { widths, blocks, stem_kernel, stem_stride, .. } => {
                if widths.is_empty() || widths.contains(&0) || *blocks == 0 || *stem_kernel == 0 || *stem_stride == 0 {
                    return Err(SystemError::Setting(
                        "`model.backbone` needs at least one positive width, and positive `blocks`, `stem_kernel` and `stem_stride`".to_owned(),
                    ));
                }
                let config = ResNetConfig {
                    image,
                    channels: setting.channels,
                    widths: widths.clone(),
                    blocks: *blocks,
                    stem_kernel: *stem_kernel,
                    stem_stride: *stem_stride,
                };
                Ok(LeJepa::Resnet(self.views(config.init(&mut weights, &device), setting)))
            }
            BackboneConfig::Vit { size, patch: Auto::Value(patch), depth: Auto::Value(depth) } => {
                check_patch(setting.image_size, *patch)?;
                let (width, _, heads, hidden) = size.dimensions();
                check_width("encoder", width, heads)?;
                let config =
                    VitConfig { image, patch: *patch, channels: setting.channels, width, depth: *depth, heads, hidden };
                if let Auto::Value(local) = self.local_size
                    && self.local_views > 0
                    && (local < *patch || !local.is_multiple_of(*patch))
                {
                    return Err(SystemError::Setting(format!(
                        "local views of {local} pixels do not split into patches of {patch}: choose another `model.local_size`"
                    )));
                }
                Ok(LeJepa::Vit(self.views(config.init(&mut weights, &device), setting)))
            }
            BackboneConfig::Vit { .. } => Err(SystemError::Setting("`model.backbone` is not resolved".to_owned())),
        }
    }

    fn views<B: Backbone>(&self, encoder: B, setting: &Setting) -> Views<B> {
        let device = setting.device.clone().autodiff();
        let widths: Vec<usize> =
            [encoder.width()].into_iter().chain(self.projector.iter().copied()).chain([self.code_width]).collect();
        let projector = Projector::new(&widths, Activation::Relu, &mut rng(setting.seed, Stream::Init, 0, 1), &device);
        let collator = ViewsCollator {
            seed: setting.seed,
            size: setting.image_size,
            local_size: if let Auto::Value(size) = self.local_size { size } else { setting.image_size },
            global_views: self.global_views,
            local_views: self.local_views,
            global: self.global.clone(),
            local: self.local.clone(),
            normalise: setting.normalise.clone(),
            code_width: self.code_width,
            slices: self.slices,
        };
        Views {
            networks: ViewsNetworks { encoder, projector },
            lambda: self.lambda,
            collator: Arc::new(collator),
            device: setting.device.clone(),
        }
    }
}
