//! Files that do not fit are refused, with everything that is wrong in one sentence.

use burn::tensor::{Device, Tensor};
use foretell_nn::released::official::{Release, Told};
use foretell_nn::released::preprocessing::Preprocessing;
use foretell_nn::released::{Model, Outline, ReleasedError};
use foretell_nn::weights::{Entry, Held, NamedTensor, NamedTensors, TensorStore, WeightsError};

use crate::golden::Golden;

fn open(config: &str, weights: NamedTensors) -> Result<Model, ReleasedError> {
    Model::open_config(config, &Held::from(weights), &Device::flex())
}

fn official(weights: NamedTensors, told: &Told) -> Result<Model, ReleasedError> {
    Model::open_official(&Held::from(weights), told, &Device::flex())
}

#[track_caller]
fn refused(model: Result<Model, ReleasedError>, words: &[&str]) {
    let message = model.expect_err("refused").to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

fn tensor(shape: &[usize]) -> NamedTensor {
    NamedTensor { shape: shape.to_vec(), values: vec![0.5; shape.iter().product()] }
}

/// A config with one key replaced.
fn with(config: &str, key: &str, value: serde_json::Value) -> String {
    let mut config: serde_json::Value = serde_json::from_str(config).unwrap();
    config[key] = value;
    config.to_string()
}

#[test]
fn every_fault_is_listed_at_once() {
    let golden = Golden::open("v-jepa-2");
    let mut weights = golden.weights();
    weights.remove("encoder.layer.1.norm2.bias").unwrap();
    weights.remove("predictor.embeddings.mask_tokens").unwrap();
    weights.remove("encoder.layer.0.attention.key.weight").unwrap();
    weights.insert("encoder.layernorm.weight".to_owned(), tensor(&[3]));
    weights.insert("encoder.layer.0.attention.query.weight".to_owned(), tensor(&[4, 5]));
    for name in ["encoder.layer.7.norm1.weight", "predictor.extra", "pos_embed", "predictor_pos_embed"] {
        weights.insert(name.to_owned(), tensor(&[1]));
    }
    refused(
        open(&golden.told, weights),
        &[
            "memory has 3 tensors missing",
            "`encoder.layer.1.norm2.bias`",
            "`predictor.embeddings.mask_tokens`",
            "`encoder.layer.0.attention.key.weight`",
            "2 tensors of another shape",
            "`encoder.layernorm.weight` ([3], where [28] was expected)",
            "`encoder.layer.0.attention.query.weight` ([4, 5], where [28, 28] was expected)",
            "4 tensors without a place",
            "`encoder.layer.7.norm1.weight`",
            "`predictor.extra`",
            "`pos_embed`",
        ],
    );
}

#[test]
fn a_config_that_contradicts_the_tensors_is_refused() {
    let golden = Golden::open("v-jepa-2");
    for (key, value, words) in [
        ("hidden_size", 56.into(), ["of another shape", "where [56] was expected"]),
        ("num_hidden_layers", 3.into(), ["missing", "encoder.layer.2.norm1.weight"]),
        ("num_hidden_layers", 1.into(), ["without a place", "encoder.layer.1.norm1.weight"]),
        ("pred_num_mask_tokens", 4.into(), ["`predictor.embeddings.mask_tokens`", "where [4, 1, 1, 24] was expected"]),
        ("mlp_ratio", 4.0.into(), ["of another shape", "mlp.fc1.weight"]),
        ("tubelet_size", 4.into(), ["of another shape", "patch_embeddings"]),
        // Nothing of such sizes is ever made.
        ("hidden_size", 2_000_000.into(), ["it describes a network of", "do not belong together"]),
        ("num_hidden_layers", 1_000_000_000_u64.into(), ["it describes a network of", "do not belong together"]),
        ("mlp_ratio", 1e12.into(), ["mlp_ratio is", "hidden layer"]),
        ("pred_num_mask_tokens", 1_000_000_000_u64.into(), ["it describes a network of", "do not belong together"]),
    ] {
        refused(open(&with(&golden.told, key, value), golden.weights()), &words);
    }
}

#[test]
fn other_architectures_and_broken_configs_are_refused() {
    let golden = Golden::open("i-jepa");
    let told = &golden.told;
    let cases = [
        (with(told, "architectures", serde_json::json!(["BertModel"])), "names `BertModel`; known are IJepaModel"),
        (with(told, "hidden_act", "relu".into()), "hidden_act is `relu`"),
        (with(told, "qkv_bias", false.into()), "qkv_bias is false"),
        (with(told, "num_attention_heads", 5.into()), "no multiple of num_attention_heads, 5"),
        (with(told, "num_attention_heads", 0.into()), "no multiple of num_attention_heads, 0"),
        (with(told, "patch_size", 0.into()), "no multiple of patch_size, 0"),
        (with(told, "patch_size", serde_json::json!([4, 8])), "patch_size is 4 × 8"),
        (with(told, "hidden_size", (-3).into()), "not what transformers writes"),
        (with(told, "image_size", serde_json::json!([16, 18])), "image_size is 18"),
        ("{}".to_owned(), "neither `architectures` nor `model_type`"),
        ("[1".to_owned(), "not what transformers writes"),
    ];
    for (config, word) in cases {
        refused(open(&config, golden.weights()), &[word]);
    }
    // Without the name of the architecture, the type says enough.
    assert!(open(&with(told, "architectures", serde_json::Value::Null), golden.weights()).is_ok());
}

#[test]
fn only_the_named_stale_tensors_may_be_left_over() {
    let golden = Golden::open("official-v-jepa-2");
    let told = golden.told("encoder");
    let prefix = "encoder.module.backbone.";
    let mut weights = golden.weights();
    assert!(weights.contains_key(&format!("{prefix}pos_embed")));
    weights.insert(format!("{prefix}pos_embed_2"), tensor(&[1]));
    weights.insert(format!("{prefix}blocks.0.attn.extra"), tensor(&[1]));
    refused(official(weights.clone(), &told), &["2 tensors without a place", "pos_embed_2`", "blocks.0.attn.extra`"]);
    // Where the predictor is not asked for, its tensors are no business of ours.
    let mut weights = golden.weights();
    weights.insert("predictor.module.backbone.extra".to_owned(), tensor(&[1]));
    refused(official(weights.clone(), &told), &["1 tensor without a place: `predictor.module.backbone.extra`"]);
    assert!(official(weights, &Told { predictor: false, ..told }).is_ok());
}

#[test]
fn what_tensors_cannot_say_has_to_be_said() {
    let golden = Golden::open("official-v-jepa-2");
    let told = golden.told("encoder");
    let refuse = |told: Told, words: &[&str]| refused(official(golden.weights(), &told), words);
    refuse(Told { heads: None, ..told.clone() }, &["a width of 24 is none of the released ones", "how many"]);
    refuse(Told { heads: Some(5), ..told.clone() }, &["5 heads"]);
    refuse(Told { encoder: Some("ema_encoder".to_owned()), ..told.clone() }, &["no ema_encoder", "encoder, predictor"]);
    refuse(Told { release: Some(Release::VJepa21), ..told.clone() }, &["V-JEPA 2's where V-JEPA 2.1 was asked for"]);
    // An encoder alone that has a table of codes may be either; without one it is V-JEPA 2's.
    let alone = |stale: bool| {
        let keep = |name: &String| name.starts_with("encoder.") && (stale || !name.ends_with("pos_embed"));
        golden.weights().into_iter().filter(|(name, _)| keep(name)).collect::<NamedTensors>()
    };
    let encoder = Told { predictor: false, ..told.clone() };
    refused(official(alone(true), &encoder), &["cannot be told apart"]);
    assert!(official(alone(true), &Told { release: Some(Release::VJepa2), ..encoder.clone() }).is_ok());
    assert!(official(alone(false), &encoder).is_ok());
    refused(official(alone(false), &told), &["there is no predictor"]);
}

/// Tensors of which nothing but names and shapes can be had.
struct Headers(Held);

impl TensorStore for Headers {
    fn entries(&self) -> &[Entry] {
        self.0.entries()
    }

    fn read(&self, name: &str) -> Result<NamedTensor, WeightsError> {
        panic!("`{name}` was read")
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

#[test]
fn an_outline_reads_no_tensor_and_refuses_what_does_not_fit() {
    let device = Device::flex();
    for (name, parts) in [
        ("i-jepa-classifier", &["IJepaForImageClassification: input 16 × 20", "classifier: 3 classes"][..]),
        ("v-jepa-2-classifier", &["VJEPA2ForVideoClassification: ", "predictor: ", "classifier: 4 classes"]),
    ] {
        let golden = Golden::open(name);
        let lines = Outline::of_config(&golden.told, &Headers(golden.store()), &device).unwrap().describe().join("\n");
        for part in parts {
            assert!(lines.contains(part), "`{part}` is not in: {lines}");
        }
        let deeper = with(&golden.told, "num_hidden_layers", 9.into());
        let message = Outline::of_config(&deeper, &Headers(golden.store()), &device).unwrap_err().to_string();
        assert!(message.contains("missing") && message.contains(".8."), "{message}");
    }
    for (name, encoder, release) in [
        ("official-v-jepa-2-1", "target_encoder", "V-JEPA 2.1 (target_encoder)"),
        ("official-v-jepa-2-ac", "encoder", "V-JEPA 2-AC (encoder)"),
    ] {
        let golden = Golden::open(name);
        let outline = Outline::of_official(&Headers(golden.store()), &golden.told(encoder), &device);
        let lines = outline.unwrap().describe();
        assert!(lines[0].starts_with(release) && lines.iter().any(|line| line.starts_with("predictor: ")), "{lines:?}");
    }
}

#[test]
fn a_file_of_one_network_needs_no_prefix() {
    let golden = Golden::open("official-v-jepa-2");
    let prefix = "encoder.module.backbone.";
    let bare = golden.weights().into_iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t)));
    let told = Told { encoder: None, release: Some(Release::VJepa2), predictor: false, ..golden.told("encoder") };
    let bare = official(bare.collect(), &told).unwrap();
    let whole = golden.official("encoder", Release::VJepa2);
    let features = |model: &Model| foretell_ops::values(model.features(golden.tensor("input.wide")).unwrap());
    assert_eq!(features(&bare), features(&whole));
}

#[test]
fn an_i_jepa_file_is_recognised_by_its_shapes() {
    let golden = Golden::open("i-jepa");
    let model = golden.folder();
    // Under the official names; the patch embedding is one of images.
    let mut weights = NamedTensors::new();
    for (name, mut t) in foretell_nn::weights::read(model.encoder(), "target_encoder.module.") {
        if name.ends_with("patch_embed.proj.weight") {
            t.shape.remove(2);
        }
        weights.insert(name, t);
    }
    let told = Told { encoder: Some("target_encoder".to_owned()), heads: Some(2), ..Told::default() };
    // Its grid of 4 × 5 places is no square, and the published ones are.
    refused(official(weights.clone(), &told), &["pos_embed` has 20 places, which are no 1 square frames"]);
    let codes = weights.get_mut("target_encoder.module.pos_embed").unwrap();
    codes.shape[1] = 16;
    codes.values.truncate(16 * codes.shape[2]);
    let model = official(weights, &told).unwrap();
    assert_eq!((model.name(), model.image(), model.frames()), ("I-JEPA (target_encoder)", (16, 16), 1));
    assert_eq!(*model.preprocessing(), Preprocessing::evaluation((16, 16)));
}

#[test]
fn lengths_that_no_file_of_this_size_can_have_are_refused() {
    let golden = Golden::open("official-v-jepa-2");
    let mut weights = golden.weights();
    weights.insert("encoder.module.backbone.patch_embed.proj.weight".to_owned(), tensor(&[200_000, 3, 2, 1, 1]));
    refused(official(weights, &golden.told("encoder")), &["of a network of", "all of them together hold"]);
    refused(
        official(golden.weights(), &Told { crop: Some(18), ..golden.told("encoder") }),
        &["an input of 18 × 18 pixels cannot be cut into patches of 4"],
    );
    let golden = Golden::open("i-jepa-classifier");
    let many =
        with(&with(&golden.told, "id2label", serde_json::Value::Null), "num_labels", 1_000_000_000_000_u64.into());
    refused(open(&many, golden.weights()), &["it has 1000000000000 classes"]);
}

#[test]
fn numbers_of_lists_claim_nothing() {
    let golden = Golden::open("official-v-jepa-2");
    let mut weights = golden.weights();
    weights.insert("encoder.module.backbone.blocks.4000000000.norm1.weight".to_owned(), tensor(&[24]));
    refused(official(weights, &golden.told("encoder")), &["blocks.1.norm1.weight", "blocks.4000000000.norm1.weight"]);
}

#[test]
fn pixels_that_do_not_fit_are_refused() {
    let image = Golden::open("i-jepa").folder();
    let clip = Golden::open("v-jepa-2").folder();
    let zeros = |shape: [usize; 5]| Tensor::<5>::zeros(shape, &Device::flex());
    for (model, shape, word) in [
        (&image, [1, 1, 3, 16, 16], "make 1 × 4 × 4 tokens where the position codes know 1 × 4 × 5"),
        (&image, [1, 2, 3, 16, 20], "bring the input to 16 × 20 pixels and at most 1 frames"),
        (&image, [1, 1, 1, 16, 20], "1 channels where the network takes 3"),
        (&clip, [1, 4, 3, 18, 16], "multiples of 4"),
        (&clip, [1, 0, 3, 16, 16], "0 frames"),
        (&clip, [1, 4, 3, 0, 16], "multiples of 4"),
    ] {
        let message = model.features(zeros(shape)).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
        assert!(model.classify(zeros(shape)).unwrap_err().to_string().contains("has no classifier"));
    }
    let message = clip.layers(zeros([1, 4, 3, 16, 16]), &[2]).unwrap_err().to_string();
    assert!(message.contains("layer 2 was asked for and the last one is 1"), "{message}");
}

#[test]
fn a_probe_belongs_to_encoders_of_its_width() {
    let golden = Golden::open("official-probe");
    let heads = golden.told("").heads;
    let encoder = || Golden::open("official-v-jepa-2").official("encoder", Release::VJepa2);
    let model = encoder().with_probe(&golden.store(), heads, &Device::flex()).unwrap();
    let clips = Golden::open("official-v-jepa-2").tensor::<5>("input.wide");
    assert_eq!(model.classify(clips).unwrap().dims(), [1, 5]);
    assert_eq!(model.labels().len(), 5);
    // The unused map of the released files may be there, and need not be.
    let mut weights = golden.weights();
    assert!(weights.remove("classifiers.0.module.pooler.cross_attention_block.xattn.proj.weight").is_some());
    weights.insert("classifiers.0.module.pooler.extra".to_owned(), tensor(&[1]));
    let refusal = encoder().with_probe(&Held::from(weights), heads, &Device::flex());
    refused(refusal, &["1 tensor without a place: `classifiers.0.module.pooler.extra`"]);
    let other = Golden::open("v-jepa-2").folder().with_probe(&golden.store(), heads, &Device::flex());
    refused(other, &["tokens 24 wide and the encoder's are 28"]);
}

#[test]
fn a_model_says_what_it_is() {
    let lines = Golden::open("v-jepa-2-classifier").folder().describe();
    for (line, word) in
        lines.iter().zip(["16 × 16 pixels, 4 frames", "rotary codes (tiled", "3 mask tokens", "4 classes"])
    {
        assert!(line.contains(word), "{line}");
    }
    assert_eq!(lines.len(), 4, "{lines:?}");
}

/// A store that counts what is read of it.
struct Counted(Held, std::cell::RefCell<Vec<String>>);

impl TensorStore for Counted {
    fn entries(&self) -> &[foretell_nn::weights::Entry] {
        self.0.entries()
    }
    fn read(&self, name: &str) -> Result<NamedTensor, foretell_nn::weights::WeightsError> {
        self.1.borrow_mut().push(name.to_owned());
        self.0.read(name)
    }
    fn place(&self) -> String {
        "a file".to_owned()
    }
}

#[test]
fn nothing_is_read_of_a_file_that_does_not_fit_and_everything_once_of_one_that_does() {
    let golden = Golden::open("i-jepa");
    let mut weights = golden.weights();
    let store = Counted(Held::from(weights.clone()), std::cell::RefCell::default());
    Model::open_config(&golden.told, &store, &Device::flex()).unwrap();
    let mut read = store.1.into_inner();
    read.sort();
    assert!(read.iter().eq(weights.keys()), "{read:?}");
    weights.insert("extra".to_owned(), tensor(&[1]));
    let store = Counted(Held::from(weights), std::cell::RefCell::default());
    refused(
        Model::open_config(&golden.told, &store, &Device::flex()),
        &["a file has 1 tensor without a place: `extra`"],
    );
    assert_eq!(store.1.into_inner().len(), 0);
}
