//! SAR-JEPA (Li et al., ISPRS 2024, arXiv 2311.15153): from a radar image most of whose patches are replaced by mask tokens, predict
//! the log-ratio gradients of the hidden ones at several scales: a target that speckle hardly moves.
//!
//! The objective is [`SarJepa`]; here are the settings. Other operators as targets (`model.operator.kind` `gradient`, `hog`,
//! `pixels`) are there to be compared. The released code's settings are `model.masks = { kind = "windows", corners = "batch" }`,
//! `data.image_size = 224`, `model.size = "base"`, `model.decoder_width = 512`, `model.decoder_depth = 8`.

use std::sync::Arc;

use foretell_data::{Augment, Auto, Decision, Images, Modality};
use foretell_eval::{Card, Finding, Grid, Pictures, Tile};
use foretell_jepa::masks::HiddenConfig;
use foretell_jepa::operators::OperatorConfig;
use foretell_jepa::predicted_operator::{SarCollator, SarJepa, SarNetworks, SarParts};
use foretell_nn::decoder::DecoderConfig;
use foretell_nn::vit::{Size, VitConfig};
use foretell_train::{Learner, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::judges::{self, originals, rgb};
use crate::judging::Judging;
use crate::row::{Row, State};
use crate::sizes::{check_patch, check_width, usual_patch};
use crate::system::{JudgeError, On, System, SystemError};

static ROW: Row = Row {
    number: 28,
    name: "sar-jepa",
    title: "SAR-JEPA",
    one_line: "gradient features as fixed targets for radar images",
    papers: &["arXiv:2311.15153"],
    state: State::Trains,
};

/// Settings of SAR-JEPA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SarJepaConfig {
    /// The dial that sets width, depth and heads.
    pub size: Size,
    /// Side of a patch in pixels.
    pub patch: Auto<usize>,
    /// Blocks of the encoder.
    pub depth: Auto<usize>,
    /// Width of the decoder.
    pub decoder_width: Auto<usize>,
    /// Blocks of the decoder.
    pub decoder_depth: usize,
    /// The fixed operator whose values are predicted.
    pub operator: OperatorConfig,
    /// Which tokens are hidden.
    pub masks: HiddenConfig,
    /// How the view is made. Contrast changes by its `jitter`; so does the target, which is of the view.
    pub augment: Augment,
}

impl Default for SarJepaConfig {
    fn default() -> Self {
        let SarParts { operator, masks, augment } = SarParts::default();
        Self {
            size: Size::Tiny,
            patch: Auto::Auto,
            depth: Auto::Auto,
            decoder_width: Auto::Auto,
            // A shallow decoder leaves the work to the encoder, which alone is kept.
            decoder_depth: 2,
            operator,
            masks,
            augment,
        }
    }
}

impl System for SarJepaConfig {
    type Data = Images;
    const ROW: &'static Row = &ROW;

    /// The released rate for a batch of 256, and its decay.
    fn train() -> TrainConfig {
        TrainConfig { lr: 1e-3, weight_decay: 0.05, final_weight_decay: 0.05, ..TrainConfig::default() }
    }

    fn init(&mut self, on: &On<'_, Images>, decisions: &mut Vec<Decision>) -> Result<Box<dyn Learner>, SystemError> {
        let (image_size, channels) = on.config.form()?;
        let (width, depth, heads, hidden) = self.size.dimensions();
        let patch = self.patch.resolve("model.patch", decisions, || usual_patch(image_size));
        let size = self.size;
        let depth = self.depth.resolve("model.depth", decisions, || {
            if on.on_cpu() {
                (depth.min(6), "on a CPU: twice the images in the same time".to_owned())
            } else {
                (depth, format!("size = {size:?}").to_lowercase())
            }
        });
        let decoder_width = self
            .decoder_width
            .resolve("model.decoder_width", decisions, || (width / 2, "half the encoder's width".to_owned()));
        check_patch(image_size, patch)?;
        check_width("encoder", width, heads)?;
        check_width("decoder", decoder_width, heads)?;
        if depth == 0 || self.decoder_depth == 0 {
            return Err(SystemError::Setting("`model.depth` and `model.decoder_depth` must be at least 1".to_owned()));
        }
        let collator = self.collator(on, patch)?;
        let image = (image_size, image_size);
        let encoder = VitConfig { image, patch, channels, width, depth, heads, hidden };
        let decoder = DecoderConfig {
            grid: encoder.grid(),
            encoder_width: width,
            width: decoder_width,
            depth: self.decoder_depth,
            heads,
            outputs: self.operator.width(channels, patch),
        };
        let networks = SarNetworks::init(&encoder, &decoder, on.seed, &on.learning());
        Ok(on.learner(SarJepa { collator: Arc::new(collator), device: on.device.clone() }, networks))
    }

    /// The usual, and the probe from few labels by which radar data sets are judged.
    fn judge(&self, run: &Judging<'_, Images>) -> Result<Vec<Finding>, JudgeError> {
        let mut findings = judges::usual(run)?;
        findings.extend(judges::few_shot(run)?);
        findings.push(judges::lidar(run)?);
        findings.extend(judges::energy(run)?);
        findings.extend(self.hidden(run)?);
        Ok(findings)
    }
}

/// Images whose masks are shown.
const SHOWN_IMAGES: usize = 6;
/// The step whose randomness draws them: no training step has this number.
const SHOWN: u64 = u64::MAX / 4;

impl SarJepaConfig {
    fn parts(&self) -> SarParts {
        SarParts { operator: self.operator.clone(), masks: self.masks.clone(), augment: self.augment.clone() }
    }

    /// Makes batches.
    fn collator(&self, on: &On<'_, Images>, patch: usize) -> Result<SarCollator, SystemError> {
        self.augment.check().map_err(|error| error.under("model.augment"))?;
        let (size, _) = on.config.form()?;
        let normalise = on.config.normalise.clone();
        let collator = SarCollator { seed: on.seed, size, patch, parts: self.parts(), normalise };
        self.masks.check(collator.grid())?;
        self.operator.check().map_err(|error| SystemError::Setting(error.to_string()))?;
        Ok(collator)
    }

    /// Which tokens of some held-out images are hidden.
    fn hidden(&self, run: &Judging<'_, Images>) -> Result<Option<Finding>, JudgeError> {
        let Auto::Value(patch) = self.patch else { return Ok(None) };
        let other = |error: String| JudgeError::Other(error);
        let collator = self.collator(&run.on, patch).map_err(|error| other(error.to_string()))?;
        let (samples, grid) = (originals(run, SHOWN_IMAGES), collator.grid());
        let masks =
            self.masks.draw(grid, samples.len(), run.on.seed, SHOWN).map_err(|error| other(error.to_string()))?;
        let rows = masks.batch / samples.len().max(1);
        let card = |(i, sample): (usize, foretell_data::Sample)| {
            let image = run.data.prepare(sample).image;
            let classes = masks.picture(i * rows, grid);
            let grid = Grid { rows: grid.rows, columns: grid.cols, classes };
            Card { tiles: vec![Tile { grid: Some(grid), ..Tile::new(rgb(&image), "") }], strips: Vec::new() }
        };
        let cards: Vec<Card> = samples.into_iter().enumerate().map(card).collect();
        let legend = ["unused", "seen", "hidden"].map(str::to_owned).to_vec();
        Ok((!cards.is_empty()).then(|| {
            Finding::pictures(
                "masks",
                "What was hidden",
                "Left the sample, right its mask. The encoder sees the part without a tint, and a mask token in place of each \
                 hidden patch; the decoder predicts what the operator makes of those.",
                Pictures { legend, cards },
            )
        }))
    }
}
