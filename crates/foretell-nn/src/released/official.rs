//! What an official checkpoint holds, told from its tensors' names and shapes.

use std::collections::{BTreeMap, BTreeSet};

use super::ReleasedError;
use super::names::is_stale;
use super::sizes::Size;
use crate::ac_predictor::{AcPredictorConfig, Extrinsics};
use crate::causal::Foretells;
use crate::clip_vit::{ClipVitConfig, Code, Dense, Positions};
use crate::masked_predictor::MaskedPredictorConfig;
use crate::pooler::AttentiveConfig;
use crate::positions::{Grid, Order, Rope, RopeStyle};
use crate::predictor::PredictorConfig;
use crate::weights::{Bare, Outside, TensorStore, WeightsError};

/// The encoders of a checkpoint, by their names there.
pub const ENCODERS: [&str; 3] = ["encoder", "target_encoder", "ema_encoder"];

/// A checkpoint's tensors without what wrappers of the training code and dictionaries around them added to their names.
pub(super) fn bare(store: &dyn TensorStore) -> Result<Bare<'_>, WeightsError> {
    Bare::of(store, Some("patch_embed.proj.weight"), &ENCODERS, Outside::Dropped)
}

/// Which of its encoders a checkpoint has, whatever dictionaries and wrappers are around them.
///
/// # Errors
/// Several networks that are not those of one checkpoint.
pub fn encoders(store: &dyn TensorStore) -> Result<Vec<&'static str>, WeightsError> {
    let store = bare(store)?;
    Ok(ENCODERS.into_iter().filter(|name| holds(&store, name)).collect())
}

/// Whether a checkpoint has the network of this name, whatever is around it.
///
/// # Errors
/// As [`encoders`].
pub fn has(store: &dyn TensorStore, network: &str) -> Result<bool, WeightsError> {
    Ok(holds(&bare(store)?, network))
}

fn holds(store: &dyn TensorStore, network: &str) -> bool {
    let within = |name: &str| name.strip_prefix(network).is_some_and(|rest| rest.starts_with('.'));
    store.entries().iter().any(|entry| within(&entry.name))
}

/// Which release a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// arXiv 2301.08243.
    IJepa,
    /// arXiv 2404.08471.
    VJepa,
    /// arXiv 2506.09985.
    VJepa2,
    /// V-JEPA 2's encoder with the action-conditioned predictor.
    VJepa2Ac,
    /// arXiv 2603.14482.
    VJepa21,
}

impl Release {
    /// As its authors write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::IJepa => "I-JEPA",
            Self::VJepa => "V-JEPA",
            Self::VJepa2 => "V-JEPA 2",
            Self::VJepa2Ac => "V-JEPA 2-AC",
            Self::VJepa21 => "V-JEPA 2.1",
        }
    }
}

/// What the tensors of a checkpoint cannot say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Which encoder: `encoder`, which the hub and transformers read, or `target_encoder` (`ema_encoder` in the distilled 2.1),
    /// which every evaluation of the papers used. `None` where the file is one network's tensors alone.
    pub encoder: Option<String>,
    /// Which release, where the predictor does not show it.
    pub release: Option<Release>,
    /// The encoder's heads, where its width is none of the released ones.
    pub heads: Option<usize>,
    /// The predictor's heads, where they are not the released ones.
    pub predictor_heads: Option<usize>,
    /// Height and width of the input, where not the released ones.
    pub crop: Option<usize>,
    /// Whether the predictor is wanted too.
    pub predictor: bool,
}

/// What can be told of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// [`Told::release`].
    Release,
    /// [`Told::heads`].
    Heads,
    /// [`Told::predictor_heads`].
    PredictorHeads,
    /// [`Told::crop`].
    Crop,
    /// The attentive probe's heads.
    ProbeHeads,
}

impl Setting {
    /// What is wrong and what to say.
    fn wrong(self, what: String) -> ReleasedError {
        ReleasedError::Told { what, setting: self }
    }
}

/// A predictor of any release.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyPredictorConfig {
    /// I-JEPA's.
    Image(PredictorConfig),
    /// V-JEPA's, 2's and 2.1's.
    Masked(MaskedPredictorConfig),
    /// 2-AC's.
    Ac(AcPredictorConfig),
}

/// What a checkpoint holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Which release.
    pub release: Release,
    /// Before the encoder's names.
    pub encoder_prefix: String,
    /// Before the predictor's names.
    pub predictor_prefix: String,
    /// The encoder.
    pub encoder: ClipVitConfig,
    /// The predictor, where it was asked for.
    pub predictor: Option<AnyPredictorConfig>,
    /// Height and width of the input.
    pub crop: usize,
}

/// Shapes by name, after a network's prefix.
struct Shapes<'a> {
    store: &'a dyn TensorStore,
    prefix: String,
    of: BTreeMap<&'a str, &'a [usize]>,
}

impl<'a> Shapes<'a> {
    /// Of the network `name`, or with `None` of a file of one network.
    fn of(store: &'a dyn TensorStore, name: Option<&str>) -> Option<Self> {
        let mut prefix = name.map_or_else(String::new, |name| format!("{name}."));
        let starts = |prefix: &str| store.entries().iter().any(|entry| entry.name.starts_with(prefix));
        if !starts(&prefix) {
            return None;
        }
        // What wrappers of the training code left in front: `module.`, `module.backbone.`.
        while let Some(wrapper) = ["module.", "backbone."].into_iter().find(|w| starts(&format!("{prefix}{w}"))) {
            prefix.push_str(wrapper);
        }
        let named = |name: &'a str| name.strip_prefix(prefix.as_str());
        let of = store.entries().iter().filter_map(|e| Some((named(&e.name)?, e.shape.as_slice()))).collect();
        Some(Self { store, prefix, of })
    }

    fn get(&self, name: &str) -> Option<&'a [usize]> {
        self.of.get(name).copied()
    }

    fn has(&self, name: &str) -> bool {
        self.of.contains_key(name)
    }

    /// The length of one axis of a tensor that has to be there.
    fn length(&self, name: &str, axis: usize) -> Result<usize, ReleasedError> {
        let shape = self.get(name).ok_or_else(|| {
            ReleasedError::Checkpoint(format!(
                "there is no `{}`, which would show the network's lengths",
                self.shown(name)
            ))
        })?;
        let length = shape.get(axis).copied().filter(|length| *length > 0);
        length.ok_or_else(|| {
            ReleasedError::Checkpoint(format!("`{}` is {shape:?}, which is no such map", self.shown(name)))
        })
    }

    /// The name of a tensor in the file.
    fn shown(&self, name: &str) -> String {
        self.store.shown(&format!("{}{name}", self.prefix))
    }

    /// Entries of a list `list.0`, `list.1` …
    fn list(&self, list: &str) -> usize {
        entries_of(self.of.keys().copied(), &format!("{list}."))
    }
}

/// How many entries a list has: as many as there are numbers behind `list`, whatever the largest of them claims.
fn entries_of<'a>(names: impl Iterator<Item = &'a str>, list: &str) -> usize {
    let number = |name: &'a str| name.strip_prefix(list)?.split('.').next()?.parse::<usize>().ok();
    names.filter_map(number).collect::<BTreeSet<_>>().len()
}

impl Checkpoint {
    /// Tells what a checkpoint holds.
    pub fn recognise(store: &dyn TensorStore, told: &Told) -> Result<Self, ReleasedError> {
        let wrong = |what: String| ReleasedError::Checkpoint(what);
        let Some(encoder) = Shapes::of(store, told.encoder.as_deref()) else {
            let mut networks: Vec<&str> =
                store.entries().iter().filter_map(|e| Some(e.name.split_once('.')?.0)).collect();
            networks.dedup();
            let asked = told.encoder.as_deref().unwrap_or("network");
            return Err(wrong(format!("there is no {asked}; it holds: {}", networks.join(", "))));
        };
        let predictor = Shapes::of(store, Some("predictor")).filter(|_| told.encoder.is_some());
        let release = release(&encoder, predictor.as_ref(), told)?;
        let config = encoder_config(&encoder, release, told)?;
        let (side, crop) = side(&config, release, told);
        if crop == 0 || crop % config.patch != 0 {
            return Err(Setting::Crop.wrong(format!(
                "an input of {crop} × {crop} pixels cannot be cut into patches of {}: say another height and width",
                config.patch
            )));
        }
        let predictor_prefix = predictor.as_ref().map_or_else(String::new, |predictor| predictor.prefix.clone());
        let wanted = match (told.predictor, predictor) {
            (false, _) => None,
            (true, None) => return Err(wrong("there is no predictor".to_owned())),
            (true, Some(shapes)) => Some(predictor_config(&shapes, &config, release, told, side)?),
        };
        let encoder_prefix = encoder.prefix;
        Ok(Self { release, encoder_prefix, predictor_prefix, encoder: config, predictor: wanted, crop })
    }
}

fn release(encoder: &Shapes<'_>, predictor: Option<&Shapes<'_>>, told: &Told) -> Result<Release, ReleasedError> {
    let patch = encoder.get("patch_embed.proj.weight").map(<[usize]>::len);
    let found = if encoder.list("norms_block") > 0 {
        Some(Release::VJepa21)
    } else if patch == Some(4) {
        Some(Release::IJepa)
    } else if predictor.is_some_and(|p| p.has("action_encoder.weight")) {
        Some(Release::VJepa2Ac)
    } else if !encoder.has("pos_embed") {
        Some(Release::VJepa2)
    } else {
        // Both keep sincos codes in the file, though V-JEPA 2 does not use them; it has ten mask tokens, V-JEPA two.
        match predictor.map_or(0, |p| p.list("mask_tokens")) {
            2 => Some(Release::VJepa),
            0 => None,
            _ => Some(Release::VJepa2),
        }
    };
    match (told.release, found) {
        (Some(told), Some(found)) if told != found => {
            let (told, found) = (told.name(), found.name());
            Err(ReleasedError::Checkpoint(format!("its tensors are {found}'s where {told} was asked for")))
        }
        (told, found) => told.or(found).ok_or_else(|| {
            Setting::Release.wrong(
                "without a predictor, V-JEPA and V-JEPA 2 cannot be told apart: say which of the two it is".to_owned(),
            )
        }),
    }
}

fn encoder_config(shapes: &Shapes<'_>, release: Release, told: &Told) -> Result<ClipVitConfig, ReleasedError> {
    let patch_embed = "patch_embed.proj.weight";
    let (width, channels) = (shapes.length(patch_embed, 0)?, shapes.length(patch_embed, 1)?);
    let clip = release != Release::IJepa;
    let tubelet = if clip { shapes.length(patch_embed, 2)? } else { 1 };
    let patch = shapes.length(patch_embed, if clip { 3 } else { 2 })?;
    let depth = shapes.list("blocks");
    let heads = told.heads.or_else(|| Some(Size::of_width(width, release)?.heads)).ok_or_else(|| {
        Setting::Heads.wrong(format!(
            "a width of {width} is none of the released ones, and heads cannot be seen in the tensors: say how many there are"
        ))
    })?;
    if depth == 0 {
        return Err(ReleasedError::Checkpoint("its encoder has no blocks".to_owned()));
    }
    if heads == 0 || width % heads != 0 {
        return Err(Setting::Heads
            .wrong(format!("its encoder is {width} wide, which {heads} heads do not share: say how many there are")));
    }
    let turned = |style, spread| Positions::Turned(Rope { style, counted: None, spread });
    let positions = match release {
        Release::IJepa | Release::VJepa => {
            let tokens = shapes.length("pos_embed", 1)?;
            let frames = if clip { (FRAMES / tubelet).max(1) } else { 1 };
            let side = ((tokens / frames) as f64).sqrt().round() as usize;
            if frames * side * side != tokens {
                let what =
                    format!("`{}` has {tokens} places, which are no {frames} square frames", shapes.shown("pos_embed"));
                return Err(ReleasedError::Checkpoint(what));
            }
            let code = if clip { Code::Clip { uniform: true } } else { Code::Image(Order::ColumnFirst) };
            Positions::Added(Grid { frames, rows: side, cols: side }, code)
        }
        Release::VJepa2 | Release::VJepa2Ac => turned(RopeStyle::Tiled, None),
        // The grid of its pretraining: 256 pixels.
        Release::VJepa21 => turned(RopeStyle::Interleaved, Some(if patch == 14 { 252 / 14 } else { 256 / patch })),
    };
    let dense = match (release, Dense::of_depth(depth)) {
        (Release::VJepa21, None) => {
            return Err(ReleasedError::Checkpoint(format!(
                "V-JEPA 2.1 has 12, 24, 40 or 48 blocks, and this has {depth}"
            )));
        }
        (Release::VJepa21, dense) => dense,
        _ => None,
    };
    let hidden = shapes.length("blocks.0.mlp.fc1.weight", 0)?;
    Ok(ClipVitConfig { patch, tubelet, channels, width, depth, heads, hidden, eps: 1e-6, positions, dense })
}

/// Frames of V-JEPA's clips, which the table of codes covers.
const FRAMES: usize = 16;

/// Tokens on a side of the input, and its pixels.
fn side(encoder: &ClipVitConfig, release: Release, told: &Told) -> (usize, usize) {
    match &encoder.positions {
        Positions::Added(grid, _) => (grid.rows, grid.rows * encoder.patch),
        Positions::Turned(_) => {
            let crop = told.crop.unwrap_or(if release == Release::VJepa21 { 384 } else { 256 });
            (crop / encoder.patch, crop)
        }
    }
}

fn predictor_config(
    shapes: &Shapes<'_>,
    encoder: &ClipVitConfig,
    release: Release,
    told: &Told,
    side: usize,
) -> Result<AnyPredictorConfig, ReleasedError> {
    let embed =
        if shapes.has("predictor_embed.0.weight") { "predictor_embed.2.weight" } else { "predictor_embed.weight" };
    let (width, depth) = (shapes.length(embed, 0)?, shapes.list("predictor_blocks"));
    let hidden = shapes.length("predictor_blocks.0.mlp.fc1.weight", 0)?;
    let heads = told.predictor_heads.unwrap_or(match release {
        Release::IJepa | Release::VJepa => encoder.heads,
        Release::VJepa2 | Release::VJepa21 => 12,
        Release::VJepa2Ac => 16,
    });
    if heads == 0 || width % heads != 0 {
        return Err(Setting::PredictorHeads.wrong(format!(
            "its predictor is {width} wide, which {heads} heads do not share: say how many there are"
        )));
    }
    if release == Release::IJepa {
        let (grid, encoder_width) = ((side, side), encoder.width);
        return Ok(AnyPredictorConfig::Image(PredictorConfig {
            grid,
            encoder_width,
            width,
            depth,
            heads,
            outputs: encoder_width,
        }));
    }
    if release == Release::VJepa2Ac {
        return Ok(AnyPredictorConfig::Ac(AcPredictorConfig {
            encoder_width: encoder.width,
            grid: (side, side),
            width,
            depth,
            heads,
            hidden,
            action: shapes.length("action_encoder.weight", 1)?,
            state: shapes.length("state_encoder.weight", 1)?,
            eps: 1e-6,
            rope: RopeStyle::Tiled,
            extrinsics: Extrinsics::Unused,
            foretells: Foretells::Latent,
        }));
    }
    let positions = match &encoder.positions {
        Positions::Added(..) => encoder.positions.clone(),
        // The published loader spreads the encoder's positions alone, not the predictor's.
        Positions::Turned(rope) => Positions::Turned(Rope { spread: None, ..*rope }),
    };
    let levels = match shapes.get("predictor_embed.0.weight") {
        Some([_, inputs]) => (inputs / encoder.width).max(1),
        _ => 1,
    };
    Ok(AnyPredictorConfig::Masked(MaskedPredictorConfig {
        encoder_width: encoder.width,
        levels,
        width,
        depth,
        heads,
        hidden,
        out: shapes.length("predictor_proj.weight", 0)?,
        mask_tokens: shapes.list("mask_tokens"),
        eps: 1e-6,
        positions,
        context_head: shapes.has("predictor_proj_context.weight"),
        modalities: shapes.has("video_mod_embed"),
    }))
}

/// An official attentive probe: its prefix and lengths.
pub fn probe(store: &dyn TensorStore, heads: Option<usize>) -> Result<(String, AttentiveConfig), ReleasedError> {
    let query = "pooler.query_tokens";
    let Some(entry) = store.entries().iter().find(|entry| entry.name.ends_with(query)) else {
        return Err(ReleasedError::Checkpoint(format!("there is no `{query}`, which every attentive probe has")));
    };
    let prefix = &entry.name[..entry.name.len() - query.len()];
    let named = |name: &'_ str| store.entries().iter().find(|entry| entry.name == format!("{prefix}{name}"));
    let length = |name: &str, axis: usize| {
        let length = named(name).and_then(|entry| entry.shape.get(axis).copied()).filter(|length| *length > 0);
        length.ok_or_else(|| {
            ReleasedError::Checkpoint(format!("there is no map `{prefix}{name}`, which every attentive probe has"))
        })
    };
    let width = length(query, 2)?;
    let depth = entries_of(store.entries().iter().map(|entry| entry.name.as_str()), &format!("{prefix}pooler.blocks."));
    // V-JEPA 2's probes have 16 heads at every width; V-JEPA's have the encoder's, which are 16 too.
    let heads = heads.unwrap_or(16);
    if heads == 0 || width % heads != 0 {
        return Err(Setting::ProbeHeads
            .wrong(format!("the probe is {width} wide, which {heads} heads do not share: say how many there are")));
    }
    let (hidden, classes) = (length("pooler.cross_attention_block.mlp.fc1.weight", 0)?, length("linear.weight", 0)?);
    Ok((prefix.to_owned(), AttentiveConfig { width, heads, hidden, depth, eps: 1e-5, classes }))
}

/// Whether a name belongs to one of these networks.
pub(crate) fn belongs(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a name may be left over in networks of these prefixes.
pub(crate) fn may_stay(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(is_stale))
}
