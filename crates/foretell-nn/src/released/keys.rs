//! The keys of a `config.json` beside those that [`super::config`] takes lengths from: which have to be what the released models have,
//! which are of no consequence, and what becomes of those that nobody knows.
//!
//! Source: `IJepaConfig`, `VJEPA2Config` and `PreTrainedConfig` of transformers 5.24, `PretrainedConfig` of 4.57, and the drafts of
//! `VJEPA2Config`. transformers itself takes no heed of a key that it does not know.

use serde_json::{Map, Value};

use super::ReleasedError;
use super::config::Architecture;

/// What a key has to say.
#[derive(Clone, Copy)]
enum Must {
    Be(bool),
    /// One of these words.
    Read(&'static [&'static str]),
    /// Nothing: 0, false, "none", an empty list or object.
    BeNothing,
}

impl Must {
    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) => true,
            (Self::Be(expected), Value::Bool(found)) => expected == *found,
            (Self::Read(expected), Value::String(found)) => expected.contains(&found.as_str()),
            (Self::BeNothing, Value::Bool(found)) => !found,
            (Self::BeNothing, Value::Number(found)) => found.as_f64() == Some(0.0),
            (Self::BeNothing, Value::String(found)) => found.is_empty() || found == "none",
            (Self::BeNothing, Value::Array(found)) => found.is_empty(),
            (Self::BeNothing, Value::Object(found)) => found.is_empty(),
            _ => false,
        }
    }

    fn expected(self) -> String {
        match self {
            Self::Be(expected) => expected.to_string(),
            Self::Read(expected) => format!("`{}`", expected[0]),
            Self::BeNothing => "none".to_owned(),
        }
    }
}

/// Lengths, read in `config`.
const USED: [&str; 27] = [
    "architectures",
    "crop_size",
    "frames_per_clip",
    "hidden_size",
    "id2label",
    "image_size",
    "in_chans",
    "intermediate_size",
    "layer_norm_eps",
    "mlp_ratio",
    "model_type",
    "num_attention_heads",
    "num_channels",
    "num_hidden_layers",
    "num_labels",
    "num_pooler_layers",
    "patch_size",
    "pred_hidden_size",
    "pred_mlp_ratio",
    "pred_num_attention_heads",
    "pred_num_hidden_layers",
    "pred_num_mask_tokens",
    "tubelet_size",
    // The model's, as V-JEPA 2's drafts and transformers 4 wrote them beside those that count.
    "img_height",
    "img_width",
    "model_name",
    "num_frames",
];

/// Keys that would change what a network computes, and what the released models have.
const DECIDED: [(&str, Must); 42] = [
    ("hidden_act", Must::Read(&["gelu", "gelu_python"])),
    ("qkv_bias", Must::Be(true)),
    // V-JEPA 2's drafts, and the official code's settings.
    ("is_causal", Must::Be(false)),
    ("pred_is_causal", Must::Be(false)),
    ("pred_is_frame_causal", Must::Be(false)),
    ("use_SiLU", Must::Be(false)),
    ("use_silu", Must::Be(false)),
    ("pred_use_SiLU", Must::Be(false)),
    ("use_pred_silu", Must::Be(false)),
    ("use_mask_tokens", Must::Be(true)),
    ("pred_use_mask_tokens", Must::Be(true)),
    ("interpolate_rope", Must::Be(false)),
    ("modality_embedding", Must::Be(false)),
    ("n_registers", Must::BeNothing),
    ("n_registers_predictor", Must::BeNothing),
    ("has_cls_first", Must::Be(false)),
    ("chop_last_n_tokens", Must::BeNothing),
    // Relatives of the same kind of network: ViT, BEiT, DINOv2, Data2Vec.
    ("use_mask_token", Must::Be(false)),
    ("use_cls_token", Must::Be(false)),
    ("num_register_tokens", Must::BeNothing),
    ("use_swiglu_ffn", Must::Be(false)),
    ("use_gated_mlp", Must::Be(false)),
    ("layerscale_value", Must::BeNothing),
    ("layer_scale_init_value", Must::BeNothing),
    ("use_layer_scale", Must::Be(false)),
    ("use_relative_position_bias", Must::Be(false)),
    ("use_shared_relative_position_bias", Must::Be(false)),
    ("use_qk_norm", Must::Be(false)),
    ("qk_norm", Must::Be(false)),
    ("qk_layernorm", Must::Be(false)),
    ("norm_first", Must::Be(true)),
    ("pre_norm", Must::Be(true)),
    ("use_mean_pooling", Must::Be(true)),
    ("attention_bias", Must::Be(true)),
    ("mlp_bias", Must::Be(true)),
    ("query_bias", Must::Be(true)),
    ("key_bias", Must::Be(true)),
    ("value_bias", Must::Be(true)),
    // transformers' own.
    ("quantization_config", Must::BeNothing),
    ("per_layer_config", Must::BeNothing),
    ("pruned_heads", Must::BeNothing),
    ("head_dim", Must::BeNothing),
];

/// Keys that no forward pass of an encoder depends on.
const HARMLESS: [&str; 71] = [
    // Of training, or of how the same numbers are computed.
    "initializer_range",
    "initializer_factor",
    "pred_zero_init_mask_tokens",
    "use_sdpa",
    "attn_implementation",
    "use_flash_attn",
    "use_predictor_loss",
    "predictor_loss_window",
    "use_activation_checkpointing",
    // Of a SiLU and of fixed codes, which these networks have not.
    "wide_SiLU",
    "wide_silu",
    "pred_wide_SiLU",
    "uniform_power",
    // A pooler that the released models leave out; where a file has one it is told among its tensors.
    "pooler_act",
    "pooler_output_size",
    "add_pooling_layer",
    "encoder_stride",
    // `PreTrainedConfig`.
    "transformers_version",
    "name_or_path",
    "dtype",
    "torch_dtype",
    "label2id",
    "problem_type",
    "output_hidden_states",
    "output_attentions",
    "return_dict",
    "use_return_dict",
    "chunk_size_feed_forward",
    "is_encoder_decoder",
    "is_decoder",
    "add_cross_attention",
    "cross_attention_hidden_size",
    "tie_word_embeddings",
    "tie_encoder_decoder",
    "tie_last_hidden_states",
    "torchscript",
    "use_bfloat16",
    "tf_legacy_loss",
    "finetuning_task",
    "tokenizer_class",
    "prefix",
    "task_specific_params",
    "auto_map",
    "custom_pipelines",
    "use_cache",
    // Of the writing of texts, which transformers 4 wrote into every config.
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "output_scores",
    "return_dict_in_generate",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "vocab_size",
];

/// Words of keys that are about what a network computes.
const OF_NETWORKS: [&str; 66] = [
    "act",
    "activation",
    "attention",
    "attn",
    "bias",
    "bidirectional",
    "block",
    "blocks",
    "causal",
    "cls",
    "cross",
    "decoder",
    "depth",
    "dilation",
    "dim",
    "downsample",
    "embed",
    "embedding",
    "embeddings",
    "encoder",
    "eps",
    "expert",
    "experts",
    "ffn",
    "gate",
    "gated",
    "gelu",
    "glu",
    "head",
    "heads",
    "hidden",
    "kernel",
    "kv",
    "layer",
    "layers",
    "layernorm",
    "layerscale",
    "lora",
    "mask",
    "mlp",
    "moe",
    "neck",
    "norm",
    "normalization",
    "padding",
    "patch",
    "pool",
    "pooler",
    "pooling",
    "pos",
    "position",
    "positional",
    "positions",
    "qk",
    "qkv",
    "register",
    "registers",
    "residual",
    "rms",
    "rope",
    "rotary",
    "scale",
    "silu",
    "swiglu",
    "tubelet",
    "window",
];

/// Whether a key is one of training alone, or of a program's own bookkeeping, by what it is called.
fn is_of_training(key: &str) -> bool {
    key.starts_with('_')
        || key.ends_with("_token_id")
        || ["dropout", "drop_path", "freeze", "frozen", "loss", "learning_rate"].iter().any(|word| key.contains(word))
}

/// `numLayers` and `num_layers` → `num`, `layers`.
fn words(key: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for letter in key.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.extend(letter.to_lowercase());
        before = letter;
    }
    let words: Vec<String> = spaced.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect();
    words.into_iter()
}

/// What there is to say of the keys of this architecture's config; an error names the one that asks for another network.
pub(super) fn check(keys: &Map<String, Value>, architecture: Architecture) -> Result<Vec<String>, ReleasedError> {
    let turned = matches!(architecture, Architecture::VJepa2 | Architecture::VJepa2Classifier);
    let mut unknown = Vec::new();
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_null()) {
        let shown = || value.to_string().replace('"', "`").chars().take(80).collect::<String>();
        let decided = match key.as_str() {
            "use_rope" => Some(Must::Be(turned)),
            key => DECIDED.iter().find(|(decided, _)| *decided == key).map(|(_, must)| *must),
        };
        if let Some(must) = decided {
            if must.holds(value) {
                continue;
            }
            return Err(ReleasedError::Config(format!(
                "{key} is {} where the released models have {}",
                shown(),
                must.expected()
            )));
        }
        if USED.contains(&key.as_str()) || HARMLESS.contains(&key.as_str()) || is_of_training(key) {
            continue;
        }
        if words(key).any(|word| OF_NETWORKS.contains(&word.as_str())) {
            return Err(ReleasedError::Config(format!(
                "it has `{key}`, {}, which no {} of transformers has and which by its name may change the network: remove the key, or set it to \
                 null, if it does not",
                shown(),
                architecture.name()
            )));
        }
        unknown.push(format!("`{key}`"));
    }
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    unknown.sort();
    Ok(vec![format!("config.json has keys that are not known and change nothing here: {}", unknown.join(", "))])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(value: Value, architecture: Architecture) -> Result<Vec<String>, String> {
        let Value::Object(keys) = value else { panic!("an object") };
        check(&keys, architecture).map_err(|e| e.to_string())
    }

    #[test]
    fn what_would_be_another_network_is_declined_by_name() {
        for (value, part) in [
            (json!({"use_rope": false}), "use_rope is false where the released models have true"),
            (json!({"hidden_act": "gelu_new"}), "hidden_act is `gelu_new` where the released models have `gelu`"),
            (json!({"qkv_bias": false}), "qkv_bias is false"),
            (json!({"use_mask_token": true}), "use_mask_token is true"),
            (json!({"n_registers": 4}), "n_registers is 4 where the released models have none"),
            (json!({"quantization_config": {"bits": 4}}), "quantization_config is"),
            (json!({"pruned_heads": {"0": [1]}}), "pruned_heads is"),
            (
                json!({"layer_norm_place": "post"}),
                "`layer_norm_place`, `post`, which no VJEPA2Model of transformers has",
            ),
            (json!({"numRegisters": 4}), "`numRegisters`, 4"),
            (json!({"rope_theta": 1e6}), "`rope_theta`"),
        ] {
            let error = checked(value, Architecture::VJepa2).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(checked(json!({"use_rope": true}), Architecture::IJepa).unwrap_err().contains("have false"));
        assert_eq!(checked(json!({"use_rope": false}), Architecture::IJepaClassifier), Ok(Vec::new()));
    }

    #[test]
    fn bookkeeping_is_accepted_and_what_is_unknown_is_told() {
        let all = json!({
            "_name_or_path": "x", "_attn_implementation_autoset": true, "torch_dtype": "float32", "attention_dropout": 0.1,
            "hidden_dropout_prob": 0.1, "drop_path_rate": 0.2, "image_size": 256, "use_SiLU": false, "wide_SiLU": true, "use_rope": true,
            "is_causal": false, "eos_token_id": 2, "layer_scale_init_value": null, "num_register_tokens": 0, "use_sdpa": true,
            "freeze_encoder": true, "pruned_heads": {},
        });
        assert_eq!(checked(all, Architecture::VJepa2Classifier), Ok(Vec::new()));
        let notes = checked(json!({"license": "mit", "learned_on": "x"}), Architecture::IJepa).unwrap();
        assert!(notes.len() == 1 && notes[0].ends_with("`learned_on`, `license`"), "{notes:?}");
    }

    /// A key is in one list, and the lists are not searched in vain.
    #[test]
    fn no_key_is_listed_twice() {
        let decided = DECIDED.iter().map(|(key, _)| *key);
        let mut all: Vec<&str> = USED.iter().chain(&HARMLESS).copied().chain(decided).collect();
        let listed = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), listed);
    }
}
