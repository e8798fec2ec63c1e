//! `config.json` of the Hugging Face folders: the keys that say what the network computes.

use serde::Deserialize;
use serde_json::Value;

use super::{ReleasedError, keys};
use crate::clip_vit::{ClipVitConfig, Code, Positions};
use crate::masked_predictor::MaskedPredictorConfig;
use crate::pooler::AttentiveConfig;
use crate::positions::{Grid, Order, Rope, RopeStyle};

/// A folder's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// `IJepaModel`.
    IJepa,
    /// `IJepaForImageClassification`.
    IJepaClassifier,
    /// `VJEPA2Model`.
    VJepa2,
    /// `VJEPA2ForVideoClassification`.
    VJepa2Classifier,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::IJepa, Self::IJepaClassifier, Self::VJepa2, Self::VJepa2Classifier];

    /// What `config.json` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::IJepa => "IJepaModel",
            Self::IJepaClassifier => "IJepaForImageClassification",
            Self::VJepa2 => "VJEPA2Model",
            Self::VJepa2Classifier => "VJEPA2ForVideoClassification",
        }
    }

    /// A tensor that every one of its files has, by its bare name.
    pub(crate) fn anchor(self) -> &'static str {
        match self {
            Self::IJepa => "embeddings.patch_embeddings.projection.weight",
            Self::IJepaClassifier => "ijepa.embeddings.patch_embeddings.projection.weight",
            Self::VJepa2 => "encoder.embeddings.patch_embeddings.proj.weight",
            Self::VJepa2Classifier => "vjepa2.encoder.embeddings.patch_embeddings.proj.weight",
        }
    }

    /// Before the names of encoder and predictor.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::IJepa | Self::VJepa2 => "",
            Self::IJepaClassifier => "ijepa.",
            Self::VJepa2Classifier => "vjepa2.",
        }
    }
}

#[derive(Deserialize)]
struct Head {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
}

/// A side, or height and width.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Sides {
    One(usize),
    Two([usize; 2]),
}

impl Sides {
    fn both(self) -> [usize; 2] {
        match self {
            Sides::One(side) => [side, side],
            Sides::Two(sides) => sides,
        }
    }
}

/// Classes beyond which a config is not believed.
const MOST_CLASSES: usize = 1_000_000;

/// Keys that both families share; what is absent has transformers' default.
#[derive(Deserialize)]
struct Common {
    id2label: Option<serde_json::Map<String, Value>>,
    num_labels: Option<usize>,
}

impl Common {
    fn classes(&self) -> usize {
        self.id2label.as_ref().map(serde_json::Map::len).or(self.num_labels).unwrap_or(2)
    }

    /// Class names in the order of their numbers.
    fn labels(&self) -> Vec<String> {
        let named = |i: usize| {
            let label = self.id2label.as_ref().and_then(|labels| labels.get(&i.to_string()));
            label.and_then(Value::as_str).map_or_else(|| format!("class {i}"), str::to_owned)
        };
        (0..self.classes()).map(named).collect()
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct IJepaKeys {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    layer_norm_eps: f64,
    image_size: Sides,
    patch_size: Sides,
    num_channels: usize,
}

impl Default for IJepaKeys {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            layer_norm_eps: 1e-12,
            image_size: Sides::One(224),
            patch_size: Sides::One(16),
            num_channels: 3,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct VJepa2Keys {
    patch_size: Sides,
    crop_size: usize,
    frames_per_clip: usize,
    tubelet_size: usize,
    hidden_size: usize,
    in_chans: usize,
    num_attention_heads: usize,
    num_hidden_layers: usize,
    mlp_ratio: f64,
    layer_norm_eps: f64,
    num_pooler_layers: usize,
    pred_hidden_size: usize,
    pred_num_attention_heads: usize,
    pred_num_hidden_layers: usize,
    pred_num_mask_tokens: usize,
    pred_mlp_ratio: f64,
}

impl Default for VJepa2Keys {
    fn default() -> Self {
        Self {
            patch_size: Sides::One(16),
            crop_size: 256,
            frames_per_clip: 64,
            tubelet_size: 2,
            hidden_size: 1024,
            in_chans: 3,
            num_attention_heads: 16,
            num_hidden_layers: 24,
            mlp_ratio: 4.0,
            layer_norm_eps: 1e-6,
            num_pooler_layers: 3,
            pred_hidden_size: 384,
            pred_num_attention_heads: 12,
            pred_num_hidden_layers: 12,
            pred_num_mask_tokens: 10,
            pred_mlp_ratio: 4.0,
        }
    }
}

/// What a `config.json` says.
#[derive(Clone, Debug)]
pub struct FolderConfig {
    /// Which model it is.
    pub architecture: Architecture,
    /// The encoder.
    pub encoder: ClipVitConfig,
    /// Height and width of the input in pixels.
    pub image: (usize, usize),
    /// Frames of a clip in pretraining, 1 of images.
    pub frames: usize,
    /// The predictor, where the model has one.
    pub predictor: Option<MaskedPredictorConfig>,
    /// The attentive classifier, where the model has one.
    pub attentive: Option<AttentiveConfig>,
    /// Class names, empty without a classifier.
    pub labels: Vec<String>,
    /// What a reader should know of it, such as keys that nobody knows.
    pub notes: Vec<String>,
}

impl FolderConfig {
    /// Reads the text of a `config.json`.
    pub fn read(text: &str) -> Result<Self, ReleasedError> {
        let broken = |e: serde_json::Error| ReleasedError::Config(format!("it is not what transformers writes: {e}"));
        let head: Head = serde_json::from_str(text).map_err(broken)?;
        let architecture = architecture(&head)?;
        let common: Common = serde_json::from_str(text).map_err(broken)?;
        if common.classes() > MOST_CLASSES {
            let found = common.classes();
            return Err(ReleasedError::Config(format!(
                "it has {found} classes where at most {MOST_CLASSES} were expected"
            )));
        }
        let notes = keys::check(&serde_json::from_str(text).map_err(broken)?, architecture)?;
        let mut config = match architecture {
            Architecture::IJepa | Architecture::IJepaClassifier => {
                Self::i_jepa(architecture, &serde_json::from_str(text).map_err(broken)?)?
            }
            Architecture::VJepa2 | Architecture::VJepa2Classifier => {
                Self::v_jepa_2(architecture, &serde_json::from_str(text).map_err(broken)?)?
            }
        };
        config.notes = notes;
        match architecture {
            Architecture::IJepaClassifier => config.labels = common.labels(),
            Architecture::VJepa2Classifier => {
                config.labels = common.labels();
                config.attentive = config.attentive.map(|head| AttentiveConfig { classes: common.classes(), ..head });
            }
            _ => {}
        }
        Ok(config)
    }

    fn i_jepa(architecture: Architecture, keys: &IJepaKeys) -> Result<Self, ReleasedError> {
        let ([height, width], patch) = (keys.image_size.both(), square(keys.patch_size)?);
        divides("patch_size", patch, "image_size", height)?;
        divides("patch_size", patch, "image_size", width)?;
        divides("num_attention_heads", keys.num_attention_heads, "hidden_size", keys.hidden_size)?;
        divides("4", 4, "hidden_size", keys.hidden_size)?;
        counts(&[("num_hidden_layers", keys.num_hidden_layers), ("num_channels", keys.num_channels)])?;
        let grid = Grid { frames: 1, rows: height / patch, cols: width / patch };
        let encoder = ClipVitConfig {
            patch,
            tubelet: 1,
            channels: keys.num_channels,
            width: keys.hidden_size,
            depth: keys.num_hidden_layers,
            heads: keys.num_attention_heads,
            hidden: keys.intermediate_size,
            eps: positive(keys.layer_norm_eps)?,
            positions: Positions::Added(grid, Code::Image(Order::ColumnFirst)),
            dense: None,
        };
        let image = (height, width);
        Ok(Self {
            architecture,
            encoder,
            image,
            frames: 1,
            predictor: None,
            attentive: None,
            labels: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn v_jepa_2(architecture: Architecture, keys: &VJepa2Keys) -> Result<Self, ReleasedError> {
        let patch = square(keys.patch_size)?;
        divides("patch_size", patch, "crop_size", keys.crop_size)?;
        divides("num_attention_heads", keys.num_attention_heads, "hidden_size", keys.hidden_size)?;
        divides("pred_num_attention_heads", keys.pred_num_attention_heads, "pred_hidden_size", keys.pred_hidden_size)?;
        counts(&[
            ("tubelet_size", keys.tubelet_size),
            ("in_chans", keys.in_chans),
            ("num_hidden_layers", keys.num_hidden_layers),
            ("pred_num_hidden_layers", keys.pred_num_hidden_layers),
            ("pred_num_mask_tokens", keys.pred_num_mask_tokens),
        ])?;
        // transformers counts rows and columns by the configured crop, whatever the input's size.
        let rope = Rope { style: RopeStyle::Tiled, counted: Some(keys.crop_size / patch), spread: None };
        let (width, heads, eps) = (keys.hidden_size, keys.num_attention_heads, positive(keys.layer_norm_eps)?);
        let encoder = ClipVitConfig {
            patch,
            tubelet: keys.tubelet_size,
            channels: keys.in_chans,
            width,
            depth: keys.num_hidden_layers,
            heads,
            hidden: hidden("mlp_ratio", width, keys.mlp_ratio)?,
            eps,
            positions: Positions::Turned(rope),
            dense: None,
        };
        let predictor = MaskedPredictorConfig {
            encoder_width: width,
            levels: 1,
            width: keys.pred_hidden_size,
            depth: keys.pred_num_hidden_layers,
            heads: keys.pred_num_attention_heads,
            hidden: hidden("pred_mlp_ratio", keys.pred_hidden_size, keys.pred_mlp_ratio)?,
            out: width,
            mask_tokens: keys.pred_num_mask_tokens,
            eps,
            positions: Positions::Turned(rope),
            context_head: false,
            modalities: false,
        };
        // The pooler's MLPs are four times as wide whatever mlp_ratio says.
        let attentive =
            AttentiveConfig { width, heads, hidden: 4 * width, depth: keys.num_pooler_layers, eps, classes: 0 };
        Ok(Self {
            architecture,
            encoder,
            image: (keys.crop_size, keys.crop_size),
            frames: keys.frames_per_clip.max(1),
            predictor: Some(predictor),
            attentive: (architecture == Architecture::VJepa2Classifier).then_some(attentive),
            labels: Vec::new(),
            notes: Vec::new(),
        })
    }
}

fn architecture(head: &Head) -> Result<Architecture, ReleasedError> {
    let named = head.architectures.as_ref().and_then(|names| names.first());
    let known = |name: &String| Architecture::ALL.into_iter().find(|known| known.name() == name);
    match (named, head.model_type.as_deref()) {
        (Some(name), _) => known(name).ok_or_else(|| ReleasedError::Architecture(name.clone())),
        (None, Some("ijepa")) => Ok(Architecture::IJepa),
        (None, Some("vjepa2")) => Ok(Architecture::VJepa2),
        (None, Some(other)) => Err(ReleasedError::Architecture(other.to_owned())),
        (None, None) => Err(ReleasedError::Config(
            "it has neither `architectures` nor `model_type`, which say what it is".to_owned(),
        )),
    }
}

/// The one side of a square patch.
fn square(sides: Sides) -> Result<usize, ReleasedError> {
    match sides.both() {
        [a, b] if a == b => Ok(a),
        [a, b] => Err(ReleasedError::Config(format!("patch_size is {a} × {b} where the released models have squares"))),
    }
}

fn counts(keys: &[(&str, usize)]) -> Result<(), ReleasedError> {
    match keys.iter().find(|(_, count)| *count == 0) {
        Some((key, _)) => Err(ReleasedError::Config(format!("{key} is 0 where at least 1 was expected"))),
        None => Ok(()),
    }
}

/// Of the layers' norms.
fn positive(eps: f64) -> Result<f64, ReleasedError> {
    if eps > 0.0 && eps.is_finite() {
        return Ok(eps);
    }
    Err(ReleasedError::Config(format!("layer_norm_eps is {eps} where a number above 0 was expected")))
}

fn divides(key: &str, divisor: usize, of: &str, number: usize) -> Result<(), ReleasedError> {
    if divisor > 0 && number > 0 && number.is_multiple_of(divisor) {
        return Ok(());
    }
    Err(ReleasedError::Config(format!("{of} is {number}, which is no multiple of {key}, {divisor}")))
}

/// `int(width · ratio)`.
fn hidden(key: &str, width: usize, ratio: f64) -> Result<usize, ReleasedError> {
    let hidden = width as f64 * ratio;
    if hidden.is_finite() && (1.0..1e9).contains(&hidden) {
        return Ok(hidden as usize);
    }
    Err(ReleasedError::Config(format!("{key} is {ratio}, which makes no hidden layer of a width of {width}")))
}
