//! What the published files call the tensors that our networks name as the official code does.

use crate::weights::TensorStore;
use crate::weights::strict::Source;

/// Tensors of published files that no network has a place for, each with the reason. Nothing else may be left over.
///
/// Names are those after the network's prefix.
pub const STALE: [(&str, &str); 4] = [
    ("pos_embed", "V-JEPA 2's files kept the sincos codes of the encoder, which turns queries and keys instead"),
    ("predictor_pos_embed", "the same of its predictor"),
    (
        "pooler.cross_attention_block.xattn.proj.weight",
        "V-JEPA's probes have an output map that their forward pass leaves out",
    ),
    ("pooler.cross_attention_block.xattn.proj.bias", "the same map's bias"),
];

/// Whether a tensor of this name, after the network's prefix, may be left over in a network that has no such parameter.
pub fn is_stale(name: &str) -> bool {
    STALE.iter().any(|(stale, _)| *stale == name)
}

/// `blocks.3.rest` → `(3, rest)`.
fn block<'a>(path: &'a str, list: &str) -> Option<(&'a str, &'a str)> {
    path.strip_prefix(list)?.strip_prefix('.')?.split_once('.')
}

/// `attn.qkv.weight` → `(attn.qkv, weight)`.
fn kind(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or((path, ""))
}

/// Queries, keys and values in tensors of their own.
fn three(stem: &str, names: [&str; 3], kind: &str) -> Source {
    Source::Stacked(names.map(|name| format!("{stem}.{name}.{kind}")).to_vec())
}

/// How a folder of `IJepaModel` names its layers: as published, or as newer versions of transformers name them in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IJepaLayout {
    /// `encoder.layer.0.attention.attention.query`.
    Published,
    /// `layers.0.attention.q_proj`.
    Renamed,
}

impl IJepaLayout {
    /// Which of the two a file has.
    pub fn of(store: &dyn TensorStore, prefix: &str) -> Self {
        let renamed = format!("{prefix}layers.");
        let is = store.entries().iter().any(|entry| entry.name.starts_with(&renamed));
        if is { Self::Renamed } else { Self::Published }
    }
}

/// A parameter of I-JEPA's encoder in `IJepaModel`.
pub fn i_jepa_in_transformers(path: &str, prefix: &str, layout: IJepaLayout) -> Source {
    let Some((i, rest)) = block(path, "blocks") else {
        let (part, kind) = kind(path);
        return Source::Whole(match part {
            "patch_embed.proj" => format!("{prefix}embeddings.patch_embeddings.projection.{kind}"),
            "norm" => format!("{prefix}layernorm.{kind}"),
            _ => format!("{prefix}embeddings.position_embeddings"),
        });
    };
    let (part, kind) = kind(rest);
    let (layer, own): (String, [&str; 4]) = match layout {
        IJepaLayout::Published => {
            let names = ["attention.output.dense", "intermediate.dense", "output.dense", "attention.attention"];
            (format!("{prefix}encoder.layer.{i}"), names)
        }
        IJepaLayout::Renamed => {
            (format!("{prefix}layers.{i}"), ["attention.o_proj", "mlp.fc1", "mlp.fc2", "attention"])
        }
    };
    let name = match part {
        "attn.qkv" => {
            let names = match layout {
                IJepaLayout::Published => ["query", "key", "value"],
                IJepaLayout::Renamed => ["q_proj", "k_proj", "v_proj"],
            };
            return three(&format!("{layer}.{}", own[3]), names, kind);
        }
        "norm1" => "layernorm_before",
        "norm2" => "layernorm_after",
        "attn.proj" => own[0],
        "mlp.fc1" => own[1],
        _ => own[2],
    };
    Source::Whole(format!("{layer}.{name}.{kind}"))
}

/// A part of a block in `VJEPA2Model`.
fn v_jepa_2_layer(layer: &str, rest: &str) -> Source {
    let (part, kind) = kind(rest);
    match part {
        "attn.qkv" => three(&format!("{layer}.attention"), ["query", "key", "value"], kind),
        "attn.proj" => Source::Whole(format!("{layer}.attention.proj.{kind}")),
        _ => Source::Whole(format!("{layer}.{rest}")),
    }
}

/// A parameter of the encoder in `VJEPA2Model`.
pub fn v_jepa_2_encoder(path: &str, prefix: &str) -> Source {
    if let Some((i, rest)) = block(path, "blocks") {
        return v_jepa_2_layer(&format!("{prefix}encoder.layer.{i}"), rest);
    }
    let (part, kind) = kind(path);
    Source::Whole(match part {
        "norm" => format!("{prefix}encoder.layernorm.{kind}"),
        _ => format!("{prefix}encoder.embeddings.patch_embeddings.proj.{kind}"),
    })
}

/// A parameter of the predictor in `VJEPA2Model`, where the mask tokens are one tensor.
pub fn v_jepa_2_predictor(path: &str, prefix: &str, mask_tokens: usize) -> Source {
    if let Some((i, rest)) = block(path, "predictor_blocks") {
        return v_jepa_2_layer(&format!("{prefix}predictor.layer.{i}"), rest);
    }
    let (part, kind) = kind(path);
    Source::Whole(match part {
        "predictor_embed" => format!("{prefix}predictor.embeddings.predictor_embeddings.{kind}"),
        "predictor_norm" => format!("{prefix}predictor.layernorm.{kind}"),
        "predictor_proj" => format!("{prefix}predictor.proj.{kind}"),
        _ => {
            let index = kind.parse().unwrap_or_default();
            return Source::Part { name: format!("{prefix}predictor.embeddings.mask_tokens"), index, of: mask_tokens };
        }
    })
}

/// A parameter of the pooler and classifier in `VJEPA2ForVideoClassification`.
pub fn v_jepa_2_classifier(path: &str) -> Source {
    let (part, kind_of) = kind(path);
    if part == "linear" {
        return Source::Whole(format!("classifier.{kind_of}"));
    }
    if let Some((i, rest)) = block(path, "pooler.blocks") {
        let layer = format!("pooler.self_attention_layers.{i}");
        let (part, kind) = kind(rest);
        return Source::Whole(match part {
            "norm1" => format!("{layer}.layer_norm1.{kind}"),
            "norm2" => format!("{layer}.layer_norm2.{kind}"),
            "attn.qkv" => return three(&format!("{layer}.self_attn"), ["q_proj", "k_proj", "v_proj"], kind),
            "attn.proj" => format!("{layer}.self_attn.out_proj.{kind}"),
            _ => format!("{layer}.{rest}"),
        });
    }
    let layer = "pooler.cross_attention_layer";
    Source::Whole(match path.strip_prefix("pooler.cross_attention_block.").map(kind) {
        Some(("norm1", kind)) => format!("{layer}.layer_norm1.{kind}"),
        Some(("norm2", kind)) => format!("{layer}.layer_norm2.{kind}"),
        Some(("xattn.q", kind)) => format!("{layer}.cross_attn.q_proj.{kind}"),
        Some(("xattn.kv", kind)) => {
            let names = ["k_proj", "v_proj"].map(|name| format!("{layer}.cross_attn.{name}.{kind}"));
            return Source::Stacked(names.to_vec());
        }
        Some((part, kind)) => format!("{layer}.{part}.{kind}"),
        None => path.to_owned(),
    })
}

/// A parameter in the official files: our names are theirs, except that a predictor over several levels has its two first maps in a
/// list with the activation between.
pub fn official(path: &str, prefix: &str, levels: bool) -> Source {
    let name = match (path.strip_prefix("levels_embed."), path.strip_prefix("predictor_embed.")) {
        (Some(kind), _) => format!("predictor_embed.0.{kind}"),
        (_, Some(kind)) if levels => format!("predictor_embed.2.{kind}"),
        _ => path.to_owned(),
    };
    Source::Whole(format!("{prefix}{name}"))
}
