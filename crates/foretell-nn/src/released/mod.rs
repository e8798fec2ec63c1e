//! The published models: which network a folder or checkpoint holds, filled strictly, with the preprocessing that it wants.
//!
//! Hugging Face folders (`IJepaModel`, `IJepaForImageClassification`, `VJEPA2Model`, `VJEPA2ForVideoClassification`) say what they are
//! in `config.json`; official checkpoints show it in their tensors' [names and shapes](official).

pub mod config;
mod keys;
pub mod names;
pub mod official;
mod outline;
pub mod preprocessing;
mod processors;
pub mod sizes;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use foretell_ops::Precision;

use crate::Init;
use crate::ac_predictor::AcPredictor;
use crate::clip_vit::{ClipVit, Positions};
use crate::layers::Linear;
use crate::masked_predictor::{MaskedPredictor, MaskedPredictorConfig};
use crate::parameters::{Parameter, look};
use crate::pooler::{AttentiveClassifier, AttentiveConfig};
use crate::positions::{Grid, RopeStyle};
use crate::predictor::Predictor;
use crate::weights::strict::{Ledger, Naming, fill};
use crate::weights::{Bare, Outside, TensorStore, WeightsError};
use config::{Architecture, FolderConfig};
use names::IJepaLayout;
use official::{AnyPredictorConfig, Checkpoint, Release, Setting, Told, belongs, may_stay};
pub use outline::Outline;
use preprocessing::Preprocessing;

/// What can be wrong with a published model, or with what it is given.
#[derive(Debug, thiserror::Error)]
pub enum ReleasedError {
    /// Another model than those that are known.
    #[error(
        "config.json names `{0}`; known are IJepaModel, IJepaForImageClassification, VJEPA2Model and VJEPA2ForVideoClassification"
    )]
    Architecture(String),
    /// A config that no such model has.
    #[error("config.json is unusable: {0}")]
    Config(String),
    /// A processor's file that says nothing usable.
    #[error("the preprocessor's config is unusable: {0}")]
    Preprocessing(String),
    /// A checkpoint that is none of the released ones.
    #[error("this is no checkpoint of the released models: {0}")]
    Checkpoint(String),
    /// A checkpoint that has to be told something, or was told what its tensors contradict: the sentence ends with what to say.
    #[error("{what}")]
    Told {
        /// What is wrong and what to say.
        what: String,
        /// Of [`official::Told`], or the probe's heads.
        setting: Setting,
    },
    /// Fewer bits than the blocks can be held in there.
    #[error("blocks in {0} run on the processor alone")]
    Precision(Precision),
    /// Pixels that the network cannot take.
    #[error("the input does not fit the model: {0}")]
    Input(String),
    /// Tensors that do not fit, or cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// A predictor of any release.
#[derive(Debug)]
pub enum AnyPredictor {
    /// I-JEPA's.
    Image(Predictor),
    /// V-JEPA's, 2's and 2.1's.
    Masked(MaskedPredictor),
    /// 2-AC's.
    Ac(AcPredictor),
}

/// `IJepaForImageClassification`'s head: a linear map of the tokens' mean.
#[derive(Module, Debug)]
pub struct MeanClassifier {
    /// D → classes.
    pub classifier: Linear,
}

/// What classifies tokens.
#[derive(Debug)]
pub enum Head {
    /// A linear map of their mean.
    Mean(MeanClassifier),
    /// A learned query.
    Attentive(Box<AttentiveClassifier>),
}

impl Head {
    /// `[B, N, D]` → `[B, classes]`.
    pub fn forward(&self, tokens: Tensor<3>) -> Tensor<2> {
        match self {
            Head::Mean(head) => head.classifier.forward(tokens.mean_dim(1).squeeze_dim::<2>(1)),
            Head::Attentive(head) => head.forward(tokens),
        }
    }
}

/// A published model, ready to be used.
#[derive(Debug)]
pub struct Model {
    name: String,
    encoder: ClipVit,
    predictor: Option<AnyPredictor>,
    head: Option<Head>,
    labels: Vec<String>,
    preprocessing: Preprocessing,
    image: (usize, usize),
    frames: usize,
    notes: Vec<String>,
}

/// What becomes of a network after all of its tensors have their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// It is filled with them.
    Read,
    /// They stay where they are.
    Left,
}

/// How an encoder's values are read where its maps are to be held in fewer bits: block by block, so that there is never more than one
/// block in f32.
pub struct Leaner<'a> {
    /// In how many bits.
    pub precision: Precision,
    /// Is told every parameter of the encoder as it was read.
    pub seen: &'a mut dyn FnMut(Parameter<'_>, Tensor<1>),
}

impl Leaner<'_> {
    fn of(
        &mut self,
        mut encoder: ClipVit,
        store: &dyn TensorStore,
        naming: &Naming<'_>,
    ) -> Result<ClipVit, ReleasedError> {
        let blocks = std::mem::take(&mut encoder.blocks);
        let mut encoder = fill(encoder, store, naming)?;
        look(&encoder, self.seen);
        for (i, block) in blocks.into_iter().enumerate() {
            let name = |path: &str| format!("blocks.{i}.{path}");
            let mut block = fill(block, store, &|path: &str| naming(&name(path)))?;
            look(&block, &mut |parameter, values| {
                (self.seen)(Parameter { name: &name(parameter.name), ..parameter }, values);
            });
            if !block.pack(self.precision) {
                return Err(ReleasedError::Precision(self.precision));
            }
            encoder.blocks.push(block);
        }
        Ok(encoder)
    }
}

impl Values {
    fn of<M: Module>(self, module: M, store: &dyn TensorStore, naming: &Naming<'_>) -> Result<M, WeightsError> {
        match self {
            Self::Read => fill(module, store, naming),
            Self::Left => Ok(module),
        }
    }
}

impl Model {
    /// A Hugging Face folder's model from the text of its `config.json` and from its tensors, all of which must have a place.
    pub fn open_config(config: &str, store: &dyn TensorStore, device: &Device) -> Result<Self, ReleasedError> {
        Self::of_config(config, store, device, Values::Read, None)
    }

    /// The same with an encoder in fewer bits.
    pub fn open_config_leaner(
        config: &str,
        store: &dyn TensorStore,
        device: &Device,
        leaner: Leaner<'_>,
    ) -> Result<Self, ReleasedError> {
        Self::of_config(config, store, device, Values::Read, Some(leaner))
    }

    fn of_config(
        config: &str,
        store: &dyn TensorStore,
        device: &Device,
        values: Values,
        leaner: Option<Leaner<'_>>,
    ) -> Result<Self, ReleasedError> {
        let config = FolderConfig::read(config)?;
        let bare = Bare::of(store, Some(config.architecture.anchor()), &[], Outside::Kept)?;
        let store: &dyn TensorStore = &bare;
        let parts = [
            Some(config.encoder.parameters()),
            config.predictor.as_ref().map(MaskedPredictorConfig::parameters),
            config.attentive.as_ref().map(AttentiveConfig::parameters),
            Some(config.encoder.width as u128 * config.labels.len() as u128),
        ];
        if let Some((asked, held)) = excess(parts.into_iter().flatten(), store) {
            let place = store.place();
            return Err(ReleasedError::Config(format!(
                "it describes a network of {asked} parameters, and {place} holds {held}: they do not belong together"
            )));
        }
        let (architecture, prefix) = (config.architecture, config.architecture.prefix());
        let mut init = Init::undrawn(device);
        let encoder = config.encoder.build(&mut init);
        let predictor = config.predictor.as_ref().map(|predictor| predictor.build(&mut init));
        let attentive = config.attentive.as_ref().map(|attentive| attentive.build(&mut init));
        let mean = (architecture == Architecture::IJepaClassifier).then(|| MeanClassifier {
            classifier: Linear::vit(config.encoder.width, config.labels.len(), 0.02, &mut init),
        });
        let layout = IJepaLayout::of(store, prefix);
        let of_encoder = |path: &str| match architecture {
            Architecture::IJepa | Architecture::IJepaClassifier => names::i_jepa_in_transformers(path, prefix, layout),
            Architecture::VJepa2 | Architecture::VJepa2Classifier => names::v_jepa_2_encoder(path, prefix),
        };
        let mask_tokens = config.predictor.as_ref().map_or(0, |predictor| predictor.mask_tokens);
        let of_predictor = |path: &str| names::v_jepa_2_predictor(path, prefix, mask_tokens);
        let of_mean = |path: &str| names::official(path, "", false);
        let mut ledger = Ledger::of(store);
        ledger.look_up(&encoder, &of_encoder);
        if let Some(predictor) = &predictor {
            ledger.look_up(predictor, &of_predictor);
        }
        if let Some(head) = &attentive {
            ledger.look_up(head, &names::v_jepa_2_classifier);
        }
        if let Some(head) = &mean {
            ledger.look_up(head, &of_mean);
        }
        ledger.close(|_| true, |_| false)?;
        let encoder = match leaner {
            Some(mut leaner) => leaner.of(encoder, store, &of_encoder)?,
            None => values.of(encoder, store, &of_encoder)?,
        };
        let predictor = predictor.map(|predictor| values.of(predictor, store, &of_predictor)).transpose()?;
        let attentive = attentive.map(|head| values.of(head, store, &names::v_jepa_2_classifier)).transpose()?;
        let mean = mean.map(|head| values.of(head, store, &of_mean)).transpose()?;
        let preprocessing = match architecture {
            Architecture::IJepa | Architecture::IJepaClassifier => Preprocessing::squeezed(config.image),
            Architecture::VJepa2 | Architecture::VJepa2Classifier => Preprocessing::evaluation(config.image),
        };
        Ok(Self {
            name: architecture.name().to_owned(),
            encoder,
            predictor: predictor.map(AnyPredictor::Masked),
            head: attentive.map(|head| Head::Attentive(Box::new(head))).or(mean.map(Head::Mean)),
            labels: config.labels,
            preprocessing,
            image: config.image,
            frames: config.frames,
            notes: config.notes,
        })
    }

    /// An official checkpoint's model, of the networks that were asked for; every tensor of those must have a place.
    pub fn open_official(store: &dyn TensorStore, told: &Told, device: &Device) -> Result<Self, ReleasedError> {
        Self::of_official(store, told, device, Values::Read, None)
    }

    /// The same with an encoder in fewer bits.
    pub fn open_official_leaner(
        store: &dyn TensorStore,
        told: &Told,
        device: &Device,
        leaner: Leaner<'_>,
    ) -> Result<Self, ReleasedError> {
        Self::of_official(store, told, device, Values::Read, Some(leaner))
    }

    fn of_official(
        store: &dyn TensorStore,
        told: &Told,
        device: &Device,
        values: Values,
        leaner: Option<Leaner<'_>>,
    ) -> Result<Self, ReleasedError> {
        let bare = official::bare(store)?;
        let store: &dyn TensorStore = &bare;
        let checkpoint = Checkpoint::recognise(store, told)?;
        let of_predictor = checkpoint.predictor.as_ref().map(|predictor| match predictor {
            AnyPredictorConfig::Image(config) => config.parameters(),
            AnyPredictorConfig::Masked(config) => config.parameters(),
            AnyPredictorConfig::Ac(config) => config.parameters(),
        });
        let parts = [Some(checkpoint.encoder.parameters()), of_predictor];
        not_beyond(excess(parts.into_iter().flatten(), store))?;
        let mut init = Init::undrawn(device);
        let encoder = checkpoint.encoder.build(&mut init);
        let predictor = checkpoint.predictor.as_ref().map(|predictor| match predictor {
            AnyPredictorConfig::Image(config) => AnyPredictor::Image(config.build(&mut init)),
            AnyPredictorConfig::Masked(config) => AnyPredictor::Masked(config.build(&mut init)),
            AnyPredictorConfig::Ac(config) => AnyPredictor::Ac(config.build(&mut init)),
        });
        let levels = matches!(&checkpoint.predictor, Some(AnyPredictorConfig::Masked(config)) if config.levels > 1);
        let of_encoder = |path: &str| names::official(path, &checkpoint.encoder_prefix, false);
        let of_predictor = |path: &str| names::official(path, &checkpoint.predictor_prefix, levels);
        let mut ledger = Ledger::of(store);
        ledger.look_up(&encoder, &of_encoder);
        match &predictor {
            Some(AnyPredictor::Image(predictor)) => ledger.look_up(predictor, &of_predictor),
            Some(AnyPredictor::Masked(predictor)) => ledger.look_up(predictor, &of_predictor),
            Some(AnyPredictor::Ac(predictor)) => ledger.look_up(predictor, &of_predictor),
            None => {}
        }
        let mut own = vec![checkpoint.encoder_prefix.as_str()];
        own.extend(predictor.is_some().then_some(checkpoint.predictor_prefix.as_str()));
        ledger.close(|name| belongs(name, &own), |name| may_stay(name, &own))?;
        let encoder = match leaner {
            Some(mut leaner) => leaner.of(encoder, store, &of_encoder)?,
            None => values.of(encoder, store, &of_encoder)?,
        };
        let predictor = match predictor {
            Some(AnyPredictor::Image(net)) => Some(AnyPredictor::Image(values.of(net, store, &of_predictor)?)),
            Some(AnyPredictor::Masked(net)) => Some(AnyPredictor::Masked(values.of(net, store, &of_predictor)?)),
            Some(AnyPredictor::Ac(net)) => Some(AnyPredictor::Ac(values.of(net, store, &of_predictor)?)),
            None => None,
        };
        let image = (checkpoint.crop, checkpoint.crop);
        let which = told.encoder.as_deref().map_or_else(String::new, |encoder| format!(" ({encoder})"));
        let frames = match (checkpoint.release, &checkpoint.encoder.positions) {
            (Release::IJepa, _) => 1,
            (_, Positions::Added(grid, _)) => grid.frames * checkpoint.encoder.tubelet,
            _ => 64,
        };
        Ok(Self {
            name: format!("{}{which}", checkpoint.release.name()),
            encoder,
            predictor,
            head: None,
            labels: Vec::new(),
            preprocessing: Preprocessing::evaluation(image),
            image,
            frames,
            notes: Vec::new(),
        })
    }

    /// With an official attentive probe for a head; `heads` where they are not the released sixteen.
    pub fn with_probe(
        mut self,
        store: &dyn TensorStore,
        heads: Option<usize>,
        device: &Device,
    ) -> Result<Self, ReleasedError> {
        let bare = Bare::of(store, None, &[], Outside::Kept)?;
        let store: &dyn TensorStore = &bare;
        let (prefix, config) = official::probe(store, heads)?;
        not_beyond(excess([config.parameters()], store))?;
        if config.width != self.encoder.config().width {
            let (probe, own) = (config.width, self.encoder.config().width);
            return Err(ReleasedError::Checkpoint(format!(
                "the probe reads tokens {probe} wide and the encoder's are {own}"
            )));
        }
        let head = config.build(&mut Init::undrawn(device));
        let naming = |path: &str| names::official(path, &prefix, false);
        let mut ledger = Ledger::of(store);
        ledger.look_up(&head, &naming);
        ledger.close(|name| belongs(name, &[&prefix]), |name| may_stay(name, &[&prefix]))?;
        self.head = Some(Head::Attentive(Box::new(fill(head, store, &naming)?)));
        self.labels = (0..config.classes).map(|i| format!("class {i}")).collect();
        Ok(self)
    }

    /// With the preprocessing of a `preprocessor_config.json` or `video_preprocessor_config.json`.
    pub fn with_preprocessing(mut self, text: &str) -> Result<Self, ReleasedError> {
        self.preprocessing = Preprocessing::read(text, self.preprocessing)?;
        Ok(self)
    }

    /// What it is: the architecture's name, and of a checkpoint which encoder was taken.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The encoder.
    pub fn encoder(&self) -> &ClipVit {
        &self.encoder
    }

    /// The predictor, where there is one.
    pub fn predictor(&self) -> Option<&AnyPredictor> {
        self.predictor.as_ref()
    }

    /// Class names in the order of the logits, empty where nothing classifies.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What a reader of its config should know.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What becomes of a frame before the network.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Height and width of the input in pixels.
    pub fn image(&self) -> (usize, usize) {
        self.image
    }

    /// Frames of a clip in pretraining, 1 where it takes images.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Whether it takes clips rather than images.
    pub fn takes_clips(&self) -> bool {
        self.encoder.config().tubelet > 1
    }

    /// Tokens in time, height and width of such clips `[B, T, C, H, W]`, or why there are none.
    pub fn grid(&self, shape: [usize; 5]) -> Result<Grid, ReleasedError> {
        let config = self.encoder.config();
        match config.objection(shape) {
            Some(why) => Err(ReleasedError::Input(why)),
            None => Ok(config.grid(shape[1], shape[3], shape[4])),
        }
    }

    /// Tokens of normalised clips `[B, T, C, H, W]`, of images with T = 1 → `[B, N, D]`, as transformers' `last_hidden_state`.
    pub fn features(&self, clips: Tensor<5>) -> Result<Tensor<3>, ReleasedError> {
        self.grid(clips.dims())?;
        Ok(self.encoder.encode(clips, None))
    }

    /// The same after some blocks, counted from 0, each after the last norm (V-JEPA 2.1's levels after their own).
    pub fn layers(&self, clips: Tensor<5>, layers: &[usize]) -> Result<Vec<Tensor<3>>, ReleasedError> {
        self.grid(clips.dims())?;
        let depth = self.encoder.blocks.len();
        if let Some(layer) = layers.iter().find(|layer| **layer >= depth) {
            return Err(ReleasedError::Input(format!("layer {layer} was asked for and the last one is {}", depth - 1)));
        }
        Ok(self.encoder.layers(clips, None, layers))
    }

    /// Logits of normalised clips `[B, T, C, H, W]`, of images with T = 1 → `[B, classes]`.
    pub fn classify(&self, clips: Tensor<5>) -> Result<Tensor<2>, ReleasedError> {
        let Some(head) = &self.head else {
            let name = &self.name;
            return Err(ReleasedError::Input(format!(
                "{name} has no classifier; take a folder that has one, or a probe"
            )));
        };
        Ok(head.forward(self.features(clips)?))
    }

    /// Makes ready for many passes, in f32 at the cost of memory for the encoder's weights once more, in fewer bits in their place.
    /// Whether the encoder is at that precision now.
    pub fn prepare(&mut self, precision: Precision) -> bool {
        self.encoder.prepare(precision)
    }

    /// What it is and how long its parts are, a line each.
    pub fn describe(&self) -> Vec<String> {
        let c = self.encoder.config();
        let positions = match &c.positions {
            Positions::Added(grid, _) => {
                format!("fixed codes of {} × {} × {} places", grid.frames, grid.rows, grid.cols)
            }
            Positions::Turned(rope) => {
                let style = match rope.style {
                    RopeStyle::Tiled => "tiled, as V-JEPA 2 was trained",
                    RopeStyle::Interleaved => "interleaved",
                };
                format!("rotary codes ({style})")
            }
        };
        let mut lines = vec![
            format!("{}: input {} × {} pixels, {} frames", self.name, self.image.0, self.image.1, self.frames),
            format!(
                "encoder: {} blocks, {} wide, {} heads, MLP {}, patches of {} × {} × {}, {positions}",
                c.depth, c.width, c.heads, c.hidden, c.tubelet, c.patch, c.patch
            ),
        ];
        lines.extend(
            c.dense
                .as_ref()
                .map(|dense| format!("levels after blocks {:?}, a tokeniser for single images", dense.levels)),
        );
        lines.extend(self.predictor.as_ref().map(|predictor| match predictor {
            AnyPredictor::Image(p) => {
                format!("predictor: {} blocks, {} wide", p.predictor_blocks.len(), p.mask_token.dims()[2])
            }
            AnyPredictor::Masked(p) => {
                let c = p.config();
                let tokens = c.mask_tokens;
                format!("predictor: {} blocks, {} wide, {} heads, {tokens} mask tokens", c.depth, c.width, c.heads)
            }
            AnyPredictor::Ac(p) => {
                let c = p.config();
                format!("predictor: {} blocks, {} wide, {} heads, actions of {}", c.depth, c.width, c.heads, c.action)
            }
        }));
        lines.extend(self.head.as_ref().map(|head| match head {
            Head::Mean(_) => format!("classifier: {} classes from the tokens' mean", self.labels.len()),
            Head::Attentive(head) => {
                let blocks = head.pooler.blocks.len();
                format!("classifier: {} classes from a learned query after {blocks} blocks", self.labels.len())
            }
        }));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines
    }
}

/// What asks for far more than the file has is refused before anything of that size is made: both numbers, where that is so.
fn excess(asked: impl IntoIterator<Item = u128>, store: &dyn TensorStore) -> Option<(u128, u128)> {
    let asked = asked.into_iter().fold(0, u128::saturating_add);
    let held = |shape: &[usize]| shape.iter().fold(1_u128, |product, n| product.saturating_mul(*n as u128));
    let held = store.entries().iter().map(|entry| held(&entry.shape)).fold(0, u128::saturating_add);
    // Lengths that contradict each other by less are told tensor by tensor.
    (asked > held.saturating_mul(4)).then_some((asked, held))
}

/// The same of a checkpoint, whose own tensors say how long its networks are.
fn not_beyond(excess: Option<(u128, u128)>) -> Result<(), ReleasedError> {
    let Some((asked, held)) = excess else { return Ok(()) };
    Err(ReleasedError::Checkpoint(format!(
        "some of its tensors are of a network of {asked} parameters, and all of them together hold {held}"
    )))
}
