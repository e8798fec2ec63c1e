//! I-JEPA (Assran et al., 2023, arXiv 2301.08243): from one context block of an image, predict the teacher's features of
//! several target blocks. No view augmentation but a crop.
//!
//! The composition is [`Masked`]; here are the settings. The defaults are ours; the released code's are
//! `masks.kind = "official"`, `target_transform = "layer-norm"`, `sigreg = 0` and `ema.schedule = { kind = "ramp", start = 0.996 }`.

use std::sync::Arc;

use burn::module::Module;
use foretell_data::random::{Stream, rng};
use foretell_data::{Augment, Auto, Decision, Images, ImagesConfig};
use foretell_eval::{Card, Finding, Grid, Pictures, Tile};
use foretell_jepa::AntiCollapse;
use foretell_jepa::masked::{Keep, Masked, MaskedCollator, MaskedNetworks, Predicts};
use foretell_jepa::masks::MaskConfig;
use foretell_jepa::target::{EmaConfig, TargetKind, TargetTransform};
use foretell_nn::predictor::PredictorConfig;
use foretell_nn::vit::{Size, VitConfig};
use foretell_train::Learner;
use serde::{Deserialize, Serialize};

use crate::ablation::Ablation;
use crate::judges::{self, originals, rgb};
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::{check_patch, check_term, check_width, resolved, settle_average, usual_patch};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 2,
    name: "i-jepa",
    title: "I-JEPA",
    one_line: "image blocks predicted from one context block",
    papers: &["arXiv:2301.08243"],
    state: State::Trains,
};

/// Settings of I-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IJepaConfig {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a patch in pixels.
    pub patch: Auto<usize>,
    /// Token width.
    pub width: Auto<usize>,
    /// Blocks of the encoder.
    pub depth: Auto<usize>,
    /// Attention heads, of the predictor too (as released).
    pub heads: Auto<usize>,
    /// Width of the predictor.
    pub predictor_width: Auto<usize>,
    /// Blocks of the predictor; 0: there is none, and the mean of the context's tokens stands for every hidden one (an ablation).
    pub predictor_depth: Auto<usize>,
    /// Where targets come from.
    pub target: TargetKind,
    /// What is predicted of hidden tokens.
    pub predicts: Predicts,
    /// What becomes of the target's tokens before they are predicted.
    pub target_transform: TargetTransform,
    /// Weight of SIGReg on the context's tokens: keeps dimensions from following a few. The released code has none: 0.
    pub sigreg: f64,
    /// A term on the mean prediction and the mean target of each sample. VICReg makes it C-JEPA (arXiv 2410.19560).
    pub anti_collapse: AntiCollapse,
    /// Its weight.
    pub anti_collapse_weight: f64,
    /// Which encoder is kept.
    pub keep: Keep,
    /// Who sees which tokens.
    pub masks: MaskConfig,
    /// The clock of the moving average.
    pub ema: EmaConfig,
    /// How the view is made: the released code has a crop alone.
    pub augment: Augment,
}

impl Default for IJepaConfig {
    fn default() -> Self {
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            width: Auto::Auto,
            depth: Auto::Auto,
            heads: Auto::Auto,
            predictor_width: Auto::Auto,
            predictor_depth: Auto::Auto,
            target: TargetKind::Ema,
            predicts: Predicts::default(),
            target_transform: TargetTransform::default(),
            sigreg: 0.001,
            anti_collapse: AntiCollapse::None,
            anti_collapse_weight: 0.001,
            keep: Keep::Target,
            masks: MaskConfig::default(),
            ema: EmaConfig::default(),
            augment: Augment { crop_scale: (0.3, 1.0), crop_aspect: (0.75, 4.0 / 3.0), ..Augment::default() },
        }
    }
}

impl System for IJepaConfig {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    /// Two minutes on two cores, for the scenes that come with the program.
    fn usual_steps(data: &ImagesConfig, _: Option<usize>) -> Option<u64> {
        data.path.is_empty().then_some(400)
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (image_size, channels) = on.config.form()?;
        self.resolve(on, image_size, decisions)?;
        let (objective, networks) = self.build(on, image_size, channels)?;
        Ok(on.learner(objective, networks))
    }

    /// The ablations of the paper (tables 5 to 7 and 10 to 13), those that must collapse, and baselines on the same encoder.
    fn ablations(&self) -> Vec<Ablation> {
        // A multiple of 4 and of the heads, as the predictor's width must be.
        let (usual, _, usual_heads, _) = self.size.dimensions();
        let value = |auto: Auto<usize>, usual: usize| if let Auto::Value(value) = auto { value } else { usual };
        let (width, heads) = (value(self.width, usual), value(self.heads, usual_heads).max(1));
        let unit = [1, 2, 4].into_iter().find(|part| (part * heads).is_multiple_of(4)).unwrap_or(4) * heads;
        let narrow = format!("model.predictor_width={}", (width / 4 / unit).max(1) * unit);
        let wide = format!("model.predictor_width={width}");
        let own = |name, settings: &[&str], about| Ablation::new(name, ROW.name, settings, about);
        let bare = ["model.sigreg=0.0", "model.target_transform=layer-norm"];
        let bared = |name, more: &[&str], about| own(name, &[&bare[..], more].concat(), about);
        let set = |key: &str, auto: Auto<usize>| match auto {
            Auto::Value(value) => Some(format!("model.{key}={value}")),
            Auto::Auto => None,
        };
        let size = format!("model.size={}", format!("{:?}", self.size).to_lowercase());
        let of_views = [set("backbone.patch", self.patch), set("backbone.depth", self.depth)];
        let of_labels = [("patch", self.patch), ("depth", self.depth), ("width", self.width), ("heads", self.heads)]
            .map(|(k, v)| set(k, v));
        let of_size = |settings: &[Option<String>]| -> Vec<String> {
            std::iter::once(size.clone()).chain(settings.iter().flatten().cloned()).collect()
        };
        let views = |name, term: &str, more: &[&str], about| {
            let term = format!("model.anti_collapse.kind={term}");
            let settings = [&["model.backbone.kind=vit", term.as_str()][..], more].concat();
            Ablation::new(name, "le-jepa", &settings, about).with(&of_size(&of_views))
        };
        let pair = ["model.local_views=0"];
        vec![
            own("i-jepa", &[], "block masks, four targets, latents, a predictor of half the width, a moving average"),
            own("random-masks", &["model.masks.kind=random"], "scattered tokens instead of blocks"),
            own("one-target", &["model.masks.targets=1"], "one target block"),
            own("two-targets", &["model.masks.targets=2"], "two target blocks"),
            own("three-targets", &["model.masks.targets=3"], "three target blocks"),
            own("pixel-target", &["model.predicts=pixels"], "pixels of the hidden patches instead of features"),
            own("input-masked", &["model.predicts=latents-alone"], "the teacher sees each target block alone"),
            own("narrow-predictor", &[&narrow], "a predictor of a quarter of the width"),
            own("wide-predictor", &[&wide], "a predictor of the encoder's width"),
            own("no-predictor", &["model.predictor_depth=0"], "the mean of the context stands for every target"),
            own("no-average", &["model.target=stop-gradient"], "the encoder itself as teacher, without gradient"),
            own("live-target", &["model.target=live"], "the encoder itself as teacher, with gradient"),
            bared("bare", &[], "as released: no SIGReg, layer norm instead of standardised targets"),
            bared("bare-no-average", &["model.target=stop-gradient"], "the same without a moving average"),
            bared("bare-live-target", &["model.target=live"], "the same with a target that learns: should collapse"),
            bared(
                "bare-no-predictor",
                &["model.predictor_depth=0", "model.target=stop-gradient"],
                "neither predictor nor moving average: should collapse",
            ),
            own(
                "mae",
                &[
                    "model.masks={ kind = \"random\", targets = 1, target_scale = [0.75, 0.75] }",
                    "model.predicts=pixels",
                    "model.target=stop-gradient",
                    "model.keep=context",
                    "model.sigreg=0.0",
                ],
                "a masked autoencoder: pixels of three quarters of the patches",
            ),
            views("vicreg", "vicreg", &pair, "two views, variance, invariance and covariance"),
            views("barlow-twins", "barlow-twins", &pair, "two views, their cross-correlation"),
            views("sigreg", "sigreg", &[], "two global and two local views, SIGReg"),
            views("visreg", "visreg", &[], "two global and two local views; centre, scale and shape apart"),
            views("no-term", "none", &[], "the same views and nothing against collapse: should collapse"),
            Ablation::new("supervised", "supervised", &[], "the labels are given").with(&of_size(&of_labels)),
        ]
    }

    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(self.masks(run)?);
        findings.push(judges::lidar(run)?);
        Ok(findings)
    }
}

/// Directions along which tokens are looked at.
const SLICES: usize = 256;
/// Images whose masks are shown.
const MASKED: usize = 6;
/// The step whose randomness draws them: no training step has this number.
const SHOWN: u64 = u64::MAX / 4;

impl IJepaConfig {
    /// Chooses what is open, and says why.
    fn resolve(
        &mut self,
        on: &On<'_, Images>,
        image_size: usize,
        decisions: &mut Vec<Decision>,
    ) -> Result<(), SystemError> {
        let (width, depth, heads, _) = self.size.dimensions();
        self.patch.resolve("model.patch", decisions, || usual_patch(image_size));
        let size = self.size;
        let of_size = move |value: usize| (value, format!("size = {size:?}").to_lowercase());
        let width = self.width.resolve("model.width", decisions, || of_size(width));
        let depth = self.depth.resolve("model.depth", decisions, || {
            if on.on_cpu() {
                (depth.min(6), "on a CPU: twice the images in the same time".to_owned())
            } else {
                of_size(depth)
            }
        });
        self.heads.resolve("model.heads", decisions, || of_size(heads));
        self.predictor_width.resolve("model.predictor_width", decisions, || {
            (width / 2, "half the encoder's width: the bottleneck".to_owned())
        });
        self.predictor_depth.resolve("model.predictor_depth", decisions, || {
            ((depth / 2).max(1), "half the encoder's depth".to_owned())
        });
        if self.target == TargetKind::Ema {
            return settle_average(&mut self.ema, on, decisions);
        }
        self.ema.resolve(on.steps, on.batch, decisions);
        Ok(())
    }

    /// Makes batches.
    fn collator(&self, seed: u64, data: &ImagesConfig) -> Result<MaskedCollator, SystemError> {
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        let (size, _) = data.form()?;
        let collator = MaskedCollator {
            seed,
            size,
            patch: resolved(self.patch),
            augment: self.augment.clone(),
            normalise: data.normalise.clone(),
            masks: self.masks.clone(),
            width: resolved(self.width),
            slices: if self.sigreg > 0.0 { SLICES } else { self.anti_collapse.directions(SLICES) },
        };
        self.masks.check(collator.grid())?;
        Ok(collator)
    }

    /// The objective, and fresh networks. Everything must be resolved.
    fn build(
        &self,
        on: &On<'_, Images>,
        image_size: usize,
        channels: usize,
    ) -> Result<(Masked, MaskedNetworks), SystemError> {
        let (patch, width, heads) = (resolved(self.patch), resolved(self.width), resolved(self.heads));
        let predictor_width = resolved(self.predictor_width);
        check_patch(image_size, patch)?;
        check_width("encoder", width, heads)?;
        check_width("predictor", predictor_width, heads)?;
        if !(self.sigreg >= 0.0 && self.sigreg.is_finite()) {
            return Err(SystemError::Setting(format!("`model.sigreg` must be 0 or more, found {}", self.sigreg)));
        }
        if !(self.anti_collapse_weight >= 0.0 && self.anti_collapse_weight.is_finite()) {
            return Err(SystemError::Setting(format!(
                "`model.anti_collapse_weight` must be 0 or more, found {}",
                self.anti_collapse_weight
            )));
        }
        check_term(self.anti_collapse, on.batch)?;
        if self.predicts == Predicts::Pixels && self.predictor_depth == Auto::Value(0) {
            return Err(SystemError::Setting(
                "`model.predicts` is pixels and `model.predictor_depth` 0: without a predictor latents alone can be predicted".to_owned(),
            ));
        }
        let collator = self.collator(on.seed, on.config)?;
        let (w, _, _, hidden) = self.size.dimensions();
        let vit = VitConfig {
            image: (image_size, image_size),
            patch,
            channels,
            width,
            depth: resolved(self.depth),
            heads,
            hidden: if width == w { hidden } else { 4 * width },
        };
        let predictor = PredictorConfig {
            grid: vit.grid(),
            encoder_width: width,
            width: predictor_width,
            depth: resolved(self.predictor_depth),
            heads,
            outputs: if self.predicts == Predicts::Pixels { channels * patch * patch } else { width },
        };
        let device = on.learning();
        let encoder = vit.init(&mut on.weights(0), &device);
        let predictor = predictor.init(&mut on.weights(1), &device);
        let networks = MaskedNetworks { target_encoder: encoder.valid(), encoder, predictor };
        let objective = Masked {
            target: self.target,
            predicts: self.predicts,
            transform: self.target_transform,
            sigreg: self.sigreg,
            means: (self.anti_collapse != AntiCollapse::None)
                .then_some((self.anti_collapse, self.anti_collapse_weight)),
            ema: self.ema,
            keep: self.keep,
            collator: Arc::new(collator),
            device: on.device.clone(),
        };
        Ok((objective, networks))
    }

    /// Who sees which tokens of some held-out images.
    fn masks(&self, run: &Judging<'_, Images>) -> Result<Option<Finding>, JudgeError> {
        let other = |error: SystemError| JudgeError::Other(error.to_string());
        let collator = self.collator(run.on.seed, run.on.config).map_err(other)?;
        let (samples, grid) = (originals(run, MASKED), collator.grid());
        let drawn = collator.masks.draw(grid, samples.len(), collator.seed, SHOWN);
        let masks = drawn.map_err(|error| JudgeError::Other(error.to_string()))?;
        let card = |(i, sample): (usize, &foretell_data::Sample)| {
            let mut rng = rng(collator.seed, Stream::Augment, SHOWN, i as u64);
            let view = collator.augment.apply(&sample.image, collator.size, &mut rng);
            let grid = Grid { rows: grid.rows, columns: grid.cols, classes: masks.picture(i, grid) };
            Card { tiles: vec![Tile { grid: Some(grid), ..Tile::new(rgb(&view), "") }], strips: Vec::new() }
        };
        let cards: Vec<Card> = samples.iter().enumerate().map(card).collect();
        let tiles = cards.iter().flat_map(|card| &card.tiles);
        let most = tiles.filter_map(|tile| tile.grid.as_ref()?.classes.iter().max()).max();
        let targets = (1..=most.map_or(0, |most| most.saturating_sub(1))).map(|k| format!("target {k}"));
        let legend = ["unused".to_owned(), "context".to_owned()].into_iter().chain(targets).collect();
        Ok((!cards.is_empty()).then(|| {
            Finding::pictures(
                "masks",
                "What was hidden",
                "Left the sample, right its mask. The context encoder sees only the part without a tint; from it the \
                 predictor predicts the features of the targets.",
                Pictures { legend, cards },
            )
        }))
    }
}
