//! Outputs within 1e-5 of those computed elsewhere, and what each released quirk changes.

use burn::tensor::Device;
use foretell_nn::Init;
use foretell_nn::ac_predictor::{AcPredictor, AcPredictorConfig, Extrinsics};
use foretell_nn::clip_vit::{ClipVit, ClipVitConfig, Positions};
use foretell_nn::masked_predictor::{Asked, MaskedPredictor, Modality};
use foretell_nn::positions::{Grid, Order, Rope, RopeStyle, sincos_2d_in, sincos_3d};
use foretell_nn::released::official::{Release, Told};
use foretell_nn::released::{AnyPredictor, Model, names};
use foretell_ops::Precision;

use crate::golden::{Golden, filled};

fn masked(model: &Model) -> &MaskedPredictor {
    match model.predictor() {
        Some(AnyPredictor::Masked(predictor)) => predictor,
        other => panic!("{other:?}"),
    }
}

fn rope(config: &ClipVitConfig) -> Rope {
    match config.positions {
        Positions::Turned(rope) => rope,
        Positions::Added(..) => panic!("codes are added"),
    }
}

/// The folder's encoder with other rotary codes.
fn turned_otherwise(golden: &Golden, model: &Model, rope: Rope) -> ClipVit {
    let config = ClipVitConfig { positions: Positions::Turned(rope), ..model.encoder().config().clone() };
    let fresh = config.build(&mut Init::undrawn(&Device::flex()));
    filled(fresh, &golden.store(), &|path| names::v_jepa_2_encoder(path, ""))
}

#[test]
fn i_jepa_is_transformers() {
    let golden = Golden::open("i-jepa");
    let model = golden.folder();
    assert!(!model.takes_clips());
    golden.check("output.tokens", model.features(golden.tensor("input.clips")).unwrap());
}

#[test]
fn the_classifier_of_images_is_transformers() {
    let golden = Golden::open("i-jepa-classifier");
    let model = golden.folder();
    assert_eq!(model.labels(), ["cat", "dog", "boat"]);
    golden.check("output.logits", model.classify(golden.tensor("input.clips")).unwrap());
}

#[test]
fn v_jepa_2_is_transformers() {
    let golden = Golden::open("v-jepa-2");
    let mut model = golden.folder();
    assert!(model.takes_clips());
    let clips = golden.tensor("input.clips");
    for prepared in [false, true] {
        if prepared {
            model.prepare(Precision::F32);
        }
        golden.check("output.tokens", model.features(clips.clone()).unwrap());
        golden.check("output.image_tokens", model.features(golden.tensor("input.image")).unwrap());
        golden.check("output.wide_tokens", model.features(golden.tensor("input.wide")).unwrap());
    }
    let last = model.encoder().blocks.len() - 1;
    let layers = model.layers(clips, &[last, 0]).unwrap();
    golden.check("output.tokens", layers[0].clone());
    golden.differs("output.tokens", layers[1].clone());
}

#[test]
fn its_predictor_is_transformers() {
    let golden = Golden::open("v-jepa-2");
    let model = golden.folder();
    let clips = golden.tensor::<5>("input.clips");
    let grid = model.grid(clips.dims()).unwrap();
    let tokens = model.features(clips).unwrap();
    let (context_at, targets_at) = (golden.indices("input.context"), golden.indices("input.targets"));
    let context = foretell_nn::positions::gather_tokens(tokens.clone(), context_at);
    let predict = |mask_token: usize| {
        let asked = Asked { grid, context_at, targets_at, mask_token, modality: Modality::Video };
        masked(&model).forward(context.clone(), asked)
    };
    golden.check("output.predicted", predict(1));
    golden.check("output.predicted_with_token_5", predict(5));
    // Another choice of the mask token says something else.
    golden.differs("output.predicted", predict(0));
    golden.differs("output.predicted", predict(5));
    let every: Vec<u32> = (0..tokens.dims()[0]).flat_map(|_| 0..grid.len() as u32).collect();
    let asked = Asked { grid, context_at: &every, targets_at: &every, mask_token: 1, modality: Modality::Video };
    golden.check("output.predicted_whole", masked(&model).forward(tokens, asked));
}

#[test]
fn rotary_codes_are_tiled_and_counted_by_the_crop() {
    let golden = Golden::open("v-jepa-2");
    let model = golden.folder();
    let released = rope(model.encoder().config());
    let clips = golden.tensor::<5>("input.clips");
    let same = turned_otherwise(&golden, &model, released);
    golden.check("output.tokens", same.encode(clips.clone(), None));
    let interleaved = Rope { style: RopeStyle::Interleaved, ..released };
    golden.differs("output.tokens", turned_otherwise(&golden, &model, interleaved).encode(clips.clone(), None));
    // By the input's own rows and columns, the crop is the same and a wider input is not.
    let own = turned_otherwise(&golden, &model, Rope { counted: None, ..released });
    golden.check("output.tokens", own.encode(clips, None));
    golden.differs("output.wide_tokens", own.encode(golden.tensor("input.wide"), None));
}

#[test]
fn the_classifier_of_clips_is_transformers() {
    let golden = Golden::open("v-jepa-2-classifier");
    let model = golden.folder();
    assert_eq!(model.labels(), ["fall", "roll", "jump", "rest"]);
    golden.check("output.logits", model.classify(golden.tensor("input.clips")).unwrap());
}

#[test]
fn an_official_i_jepa_agrees_with_its_predictor() {
    let golden = Golden::of_training(&["i-jepa", "i-jepa-target-predictor"]);
    let told = Told { encoder: Some("encoder".to_owned()), heads: Some(3), predictor: true, ..Told::default() };
    let model = Model::open_official(&golden.store(), &told, &Device::flex()).unwrap();
    assert_eq!(model.name(), "I-JEPA (encoder)");
    let images = golden.tensor::<4>("input.images").unsqueeze_dim::<5>(1);
    golden.check("output.encoder_full", model.features(images.clone()).unwrap());
    let (context_at, targets_at) = (golden.indices("input.context"), golden.indices("input.targets"));
    let context = model.encoder().encode(images, Some(context_at));
    golden.check("output.encoder_context", context.clone());
    let Some(AnyPredictor::Image(predictor)) = model.predictor() else { panic!("{:?}", model.predictor()) };
    let predictions = predictor.forward(context, context_at, targets_at, 2);
    let [rows, asked, width] = predictions.dims();
    golden.check("output.predictions", predictions.reshape([rows / 2, 2, asked, width]));
}

#[test]
fn v_jepa_agrees_and_the_encoders_are_two() {
    let golden = Golden::open("official-v-jepa");
    let (encoder, target) =
        (golden.official("encoder", Release::VJepa), golden.official("target_encoder", Release::VJepa));
    let clips = golden.tensor::<5>("input.clips");
    golden.check("output.tokens", encoder.features(clips.clone()).unwrap());
    golden.check("output.target_tokens", target.features(clips.clone()).unwrap());
    golden.differs("output.target_tokens", encoder.features(clips.clone()).unwrap());
    let (context_at, targets_at) = (golden.indices("input.context"), golden.indices("input.targets"));
    let context = encoder.encoder().encode(clips.clone(), Some(context_at));
    golden.check("output.context_tokens", context.clone());
    // Hidden tokens do not enter: it is another thing to choose among the tokens of the whole.
    let of_whole = encoder.encoder().encode(clips, None);
    golden.differs("output.context_tokens", foretell_nn::positions::gather_tokens(of_whole, context_at));
    let Positions::Added(grid, _) = encoder.encoder().config().positions else { panic!("codes are added") };
    for mask_token in [0, 1] {
        let asked = Asked { grid, context_at, targets_at, mask_token, modality: Modality::Video };
        golden.check(&format!("output.predicted_{mask_token}"), masked(&encoder).forward(context.clone(), asked));
    }
}

#[test]
fn official_v_jepa_2_agrees_and_its_sorted_tokens_are_in_order() {
    let golden = Golden::open("official-v-jepa-2");
    let model = golden.official("encoder", Release::VJepa2);
    let clips = golden.tensor::<5>("input.clips");
    let grid = model.grid(clips.dims()).unwrap();
    let (context_at, targets_at) = (golden.indices("input.context"), golden.indices("input.targets"));
    let context = model.encoder().encode(clips, Some(context_at));
    golden.check("output.context_tokens", context.clone());
    let asked = Asked { grid, context_at, targets_at, mask_token: 1, modality: Modality::Video };
    golden.check("output.predicted", masked(&model).forward(context.clone(), asked));
    golden.check("output.sorted", masked(&model).forward_sorted(context.clone(), asked, 0));
    golden.check("output.chopped", masked(&model).forward_sorted(context, asked, 3));
    // The official code counts by the input's own rows and columns.
    let wide = golden.tensor::<5>("input.wide");
    golden.check("output.wide_tokens", model.features(wide.clone()).unwrap());
    golden.differs("output.interleaved_wide_tokens", model.features(wide.clone()).unwrap());
    let style = Rope { style: RopeStyle::Interleaved, ..rope(model.encoder().config()) };
    let config = ClipVitConfig { positions: Positions::Turned(style), ..model.encoder().config().clone() };
    let prefix = "encoder.module.backbone.";
    let fresh = config.build(&mut Init::undrawn(&Device::flex()));
    let interleaved = filled(fresh, &golden.store(), &|path| names::official(path, prefix, false));
    golden.check("output.interleaved_wide_tokens", interleaved.encode(wide, None));
}

#[test]
fn v_jepa_2_1_agrees_for_clips_and_images() {
    let golden = Golden::open("official-v-jepa-2-1");
    let model = golden.official("target_encoder", Release::VJepa21);
    let clips = golden.tensor::<5>("input.clips");
    golden.check("output.tokens", model.features(clips.clone()).unwrap());
    golden.check("output.layer_3", model.layers(clips.clone(), &[3]).unwrap().remove(0));
    let (context_at, targets_at) = (golden.indices("input.context"), golden.indices("input.targets"));
    let asked = Asked {
        grid: model.grid(clips.dims()).unwrap(),
        context_at,
        targets_at,
        mask_token: 1,
        modality: Modality::Video,
    };
    let levels = model.encoder().levels(clips, Some(context_at));
    golden.check("output.context_levels", levels.clone());
    let (targets, context) = masked(&model).forward_dense(levels, asked);
    golden.check("output.predicted", targets);
    golden.check("output.predicted_context", context);
    let image = golden.tensor::<5>("input.image");
    golden.check("output.image_tokens", model.features(image.clone()).unwrap());
    let (context_at, targets_at) = (golden.indices("input.image_context"), golden.indices("input.image_targets"));
    let grid = model.grid(image.dims()).unwrap();
    assert_eq!(grid.frames, 1);
    let levels = model.encoder().levels(image, Some(context_at));
    let of = |modality| {
        let asked = Asked { grid, context_at, targets_at, mask_token: 1, modality };
        masked(&model).forward_dense(levels.clone(), asked).0
    };
    golden.check("output.image_predicted", of(Modality::Image));
    golden.differs("output.image_predicted", of(Modality::Video));
}

#[test]
fn v_jepa_2_ac_agrees_with_extrinsics_and_without() {
    let golden = Golden::open("official-v-jepa-2-ac");
    let model = golden.official("encoder", Release::VJepa2Ac);
    let Some(AnyPredictor::Ac(predictor)) = model.predictor() else { panic!("{:?}", model.predictor()) };
    let (latents, actions, states) =
        (golden.tensor::<3>("input.latents"), golden.tensor::<3>("input.actions"), golden.tensor::<3>("input.states"));
    let predict = |predictor: &AcPredictor, actions, extrinsics| {
        predictor.forward(latents.clone(), actions, Some(states.clone()), extrinsics)
    };
    golden.check("output.predicted", predict(predictor, actions.clone(), None));
    let config = AcPredictorConfig { extrinsics: Extrinsics::Given, ..predictor.config().clone() };
    let fresh = config.build(&mut Init::undrawn(&Device::flex()));
    let prefix = "predictor.module.backbone.";
    let other = filled(fresh, &golden.store(), &|path| names::official(path, prefix, false));
    let extrinsics = Some(golden.tensor("input.extrinsics"));
    golden.check("output.predicted_with_extrinsics", predict(&other, actions.clone(), extrinsics));
    // The last action changes what follows it, and nothing before.
    let [b, steps, a] = actions.dims();
    let changed = actions.clone().slice_assign([0..b, steps - 1..steps, 0..a], actions.clone().narrow(1, 0, 1));
    let (before, after) = (predict(predictor, actions, None), predict(predictor, changed, None));
    let per_step = before.dims()[1] / steps;
    let part = |x: &burn::Tensor<3>, from: usize, n: usize| foretell_ops::values(x.clone().narrow(1, from, n));
    assert_eq!(part(&before, 0, per_step * (steps - 1)), part(&after, 0, per_step * (steps - 1)));
    assert_ne!(part(&before, per_step * (steps - 1), per_step), part(&after, per_step * (steps - 1), per_step));
}

#[test]
fn an_official_probe_agrees() {
    let golden = Golden::open("official-probe");
    let store = golden.store();
    let (prefix, config) = foretell_nn::released::official::probe(&store, golden.told("").heads).unwrap();
    assert_eq!(prefix, "classifiers.0.module.");
    let fresh = config.build(&mut Init::undrawn(&Device::flex()));
    let probe = filled(fresh, &store, &|path| names::official(path, &prefix, false));
    golden.check("output.logits", probe.forward(golden.tensor("input.tokens")));
}

#[test]
fn codes_agree_in_both_orders_and_with_either_power() {
    let golden = Golden::open("codes");
    let check = |name: String, got: Vec<f32>| {
        let expected = golden.values(&name);
        assert_eq!(got.len(), expected.len(), "{name}");
        let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-6, "{name} is off by {off:e}");
    };
    let grid = Grid { frames: 2, rows: 3, cols: 5 };
    for width in [8, 24, 32] {
        for (order, name) in [(Order::ColumnFirst, "column"), (Order::RowFirst, "row")] {
            check(format!("output.2d.3.5.{width}.{name}"), sincos_2d_in(order, 3, 5, width));
        }
        for uniform in [false, true] {
            check(format!("output.3d.2.3.5.{width}.{uniform}"), sincos_3d(grid, width, uniform));
        }
    }
    assert_ne!(golden.values("output.2d.3.5.24.column"), golden.values("output.2d.3.5.24.row"));
}
