//! Settings: the papers' sizes, and those that cannot be, refused in a sentence that names the key.

use foretell_data::eeg::{Eeg, EegConfig};
use foretell_data::graphs::{Graphs, GraphsConfig, NodeFeatures, PartsConfig};
use foretell_data::{Augment, Auto, Normalise};
use foretell_jepa::AntiCollapse;
use foretell_jepa::anti_collapse::{BarlowConfig, VicregConfig};
use foretell_jepa::geometry::Geometry;
use foretell_jepa::neighbours::Nearby;
use foretell_jepa::patches::Teacher;
use foretell_jepa::signals::{BallConfig, SignalTarget};
use foretell_nn::NamedTensors;
use foretell_nn::causal::Foretells;
use foretell_nn::signal::SignalNorm;
use foretell_systems::System;
use foretell_systems::dmt_jepa::DmtJepaConfig;
use foretell_systems::eb_jepa::EbJepaConfig;
use foretell_systems::frame_model::{FrameEncoder, PredictorSizes};
use foretell_systems::graph_jepa::GraphJepaConfig;
use foretell_systems::h_jepa::HJepaConfig;
use foretell_systems::heads::ActorConfig;
use foretell_systems::i_jepa::IJepaConfig;
use foretell_systems::iwm::IwmConfig;
use foretell_systems::le_jepa::LeJepaConfig;
use foretell_systems::le_wm::LeWmConfig;
use foretell_systems::nepa::{Keep, NepaConfig, PatchStart};
use foretell_systems::s_jea::SJeaConfig;
use foretell_systems::sar_jepa::SarJepaConfig;
use foretell_systems::signal_jepa::SignalJepaConfig;
use foretell_train::Which;
use foretell_world::{EpisodesSettings, Experience, ExperienceConfig, PlaySettings};

use crate::made::{Bench, recorded, scenes};

/// Episodes of observations `[3, side, side]` with so many numbers in an action block.
fn episodes(side: usize, action: usize) -> Bench<Experience> {
    Bench::new(None, recorded(side, action), (10, 6))
}

/// LeWorldModel at the size of a test.
fn small() -> LeWmConfig {
    LeWmConfig {
        width: 12,
        projector: 16,
        slices: 8,
        encoder: FrameEncoder::Conv { widths: vec![4, 4], features: 10 },
        predictor: PredictorSizes {
            depth: 2,
            heads: 2,
            head: 4,
            hidden: 16,
            action_width: 5,
            foretells: Foretells::Latent,
        },
        ..LeWmConfig::default()
    }
}

#[test]
fn the_official_sizes_are_the_papers() {
    let state = episodes(224, 10).learner(&LeWmConfig::official()).state(Which::Trained);
    let count = |prefix: &str| -> usize {
        state.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, t)| t.values.len()).sum()
    };
    // The paper: an encoder of about 5 million and a predictor of about 10 million parameters, projectors apart.
    let (encoder, predictor) = (count("encoder.backbone"), count("predictor.") - count("predictor.projector"));
    assert!((5_000_000..6_000_000).contains(&encoder), "{encoder}");
    assert!((10_000_000..11_500_000).contains(&predictor), "{predictor}");
    let state = episodes(65, 2).learner(&EbJepaConfig::official()).state(Which::Trained);
    assert_eq!((&state["predictor.weight_hh"].shape[..], EbJepaConfig::official().rollout), (&[1536, 512][..], 8));
}

#[test]
fn impossible_settings_of_h_jepa_are_refused_in_a_sentence() {
    let small = || HJepaConfig { frames: LeWmConfig { reach: 0.0, ..small() }, ..HJepaConfig::default() };
    let bench = episodes(8, 13);
    assert!(bench.refusal(&HJepaConfig { levels: 5, ..small() }).contains("`model.levels` is 1 to 4, found 5"));
    assert!(bench.refusal(&HJepaConfig { stride: 1, ..small() }).contains("`model.stride`"));
    assert!(bench.refusal(&HJepaConfig { macro_width: 0, ..small() }).contains("`model.macro_width`"));
    assert!(bench.refusal(&HJepaConfig { lambda_above: f64::NAN, ..small() }).contains("`model.lambda_above`"));
    // One step of the third level takes four of the first with a stride of two, nine with one of three.
    let asked = |config: &HJepaConfig, window: usize| {
        let play = PlaySettings { window, ..PlaySettings::default() };
        config.ask(&mut ExperienceConfig::Play(play), &mut Vec::new())
    };
    assert!(asked(&small(), 5).is_ok());
    assert!(asked(&small(), 4).unwrap_err().to_string().contains("windows must have 5 or more"));
    assert!(asked(&HJepaConfig { stride: 3, ..small() }, 9).unwrap_err().to_string().contains("10 or more"));
}

#[test]
fn impossible_settings_of_le_wm_are_refused_in_a_sentence() {
    let bench = episodes(8, 4);
    assert!(bench.refusal(&LeWmConfig { lambda: -1.0, ..small() }).contains("`model.lambda`"));
    assert!(bench.refusal(&LeWmConfig { history: 0, ..small() }).contains("`model.history`"));
    let encoder = FrameEncoder::Vit { patch: 3, tokens: 8, depth: 1, heads: 2 };
    assert!(bench.refusal(&LeWmConfig { encoder, ..small() }).contains("patches of 3"));
    let ExperienceConfig::Episodes(settings) = recorded(8, 4) else { panic!("they are recorded") };
    let grey = EpisodesSettings { normalise: Normalise::nothing(1), ..settings };
    let said = Bench { config: ExperienceConfig::Episodes(grey), ..episodes(8, 4) }.refusal(&small());
    assert!(said.contains("3 channels of an observation"), "{said}");
}

#[test]
fn impossible_settings_of_eb_jepa_are_refused_in_a_sentence() {
    let bench = episodes(8, 4);
    let wrong = ActorConfig { lr: -1.0, ..ActorConfig::default() };
    for (config, word) in [
        (EbJepaConfig { rollout: 0, ..EbJepaConfig::default() }, "`model.rollout`"),
        (EbJepaConfig { mixer: vec![8, 0], ..EbJepaConfig::default() }, "`model.mixer`"),
        (EbJepaConfig { actor: wrong, ..EbJepaConfig::default() }, "`model.actor.lr`"),
    ] {
        let said = bench.refusal(&config);
        assert!(said.contains(word), "{said}");
    }
    // Means of another action than the world's.
    let play = |actions| {
        let (normalise, actions) = (Normalise::nothing(2), Normalise::nothing(actions));
        let config = ExperienceConfig::Play(PlaySettings { normalise, actions, ..PlaySettings::default() });
        Bench::<Experience>::new(None, config, (10, 6))
    };
    play(2).learner(&EbJepaConfig { width: 8, ..EbJepaConfig::default() });
    let said = play(3).refusal(&EbJepaConfig::default());
    assert!(said.contains("2 numbers of an action, but 3 means"), "{said}");
}

#[test]
fn impossible_settings_of_image_systems_are_refused_in_a_sentence() {
    let (_, config) = scenes(16, 8, 2);
    let alone = Bench::new(None, config.clone(), (1000, 1));
    let bench = Bench::new(None, config, (1000, 8));
    let barlow = AntiCollapse::BarlowTwins(BarlowConfig::default());
    let negative = AntiCollapse::Vicreg(VicregConfig { variance: -1.0, ..VicregConfig::default() });
    let flip = || Augment { flip: 3.0, ..Augment::default() };
    let said = [
        (bench.refusal(&IJepaConfig { patch: Auto::Value(5), ..IJepaConfig::default() }), "patches of 5"),
        (bench.refusal(&IJepaConfig { width: Auto::Value(16), heads: Auto::Value(3), ..IJepaConfig::default() }), "3"),
        (bench.refusal(&IJepaConfig { sigreg: f64::NAN, ..IJepaConfig::default() }), "`model.sigreg`"),
        (bench.refusal(&IJepaConfig { augment: flip(), ..IJepaConfig::default() }), "`model.augment.flip`"),
        (bench.refusal(&LeJepaConfig { lambda: Auto::Value(1.5), ..LeJepaConfig::default() }), "`model.lambda`"),
        (
            bench.refusal(&LeJepaConfig { lambda: Auto::Value(0.1), anti_collapse: barlow, ..LeJepaConfig::default() }),
            "has no λ",
        ),
        (
            bench.refusal(&LeJepaConfig { anti_collapse: negative, ..LeJepaConfig::default() }),
            "`model.anti_collapse.variance`",
        ),
        (alone.refusal(&LeJepaConfig::default()), "`train.batch` must be 2 or more"),
        (
            bench.refusal(&IJepaConfig { anti_collapse: negative, ..IJepaConfig::default() }),
            "`model.anti_collapse.variance`",
        ),
        (
            bench.refusal(&IJepaConfig { anti_collapse_weight: -1.0, ..IJepaConfig::default() }),
            "`model.anti_collapse_weight`",
        ),
        (bench.refusal(&SJeaConfig { levels: vec![vec![8], vec![]], ..SJeaConfig::default() }), "`model.levels`"),
        (bench.refusal(&SJeaConfig { level_weights: vec![1.0], ..SJeaConfig::default() }), "`model.level_weights`"),
        (
            bench.refusal(&SJeaConfig { flat: true, detach_lower: true, ..SJeaConfig::default() }),
            "`model.detach_lower`",
        ),
        (bench.refusal(&SJeaConfig { augment: flip(), ..SJeaConfig::default() }), "`model.augment.flip`"),
        (bench.refusal(&SJeaConfig { code_width: 0, ..SJeaConfig::default() }), "`model.code_width`"),
        (
            bench.refusal(&DmtJepaConfig {
                neighbours: Nearby { most: 9, ..Nearby::default() },
                ..DmtJepaConfig::default()
            }),
            "`model.neighbours.most`",
        ),
        (
            bench.refusal(&IwmConfig {
                model: IJepaConfig {
                    augment: Augment { speckle: 4.0, ..Augment::default() },
                    ..IJepaConfig::default()
                },
                ..IwmConfig::default()
            }),
            "`model.augment.speckle`",
        ),
        (
            bench.refusal(&IwmConfig {
                model: IJepaConfig { predictor_depth: Auto::Value(0), ..IJepaConfig::default() },
                ..IwmConfig::default()
            }),
            "`model.predictor_depth` 1 or more",
        ),
        (bench.refusal(&LeJepaConfig { global: flip(), ..LeJepaConfig::default() }), "`model.global.flip`"),
        (bench.refusal(&LeJepaConfig { local: flip(), ..LeJepaConfig::default() }), "`model.local.flip`"),
        (bench.refusal(&LeJepaConfig { global_views: 0, ..LeJepaConfig::default() }), "`model.global_views`"),
        (bench.refusal(&NepaConfig { augment: flip(), ..NepaConfig::default() }), "`model.augment.flip`"),
        (bench.refusal(&NepaConfig { stretch: 0.5, ..NepaConfig::default() }), "`model.stretch` must be 1 or more"),
        (bench.refusal(&NepaConfig { layer_scale: f64::NAN, ..NepaConfig::default() }), "`model.layer_scale`"),
        (bench.refusal(&NepaConfig { norm_eps: 0.0, ..NepaConfig::default() }), "`model.norm_eps` must be above 0"),
        (bench.refusal(&NepaConfig { depth: Auto::Value(0), ..NepaConfig::default() }), "`model.depth`"),
        (
            bench.refusal(&NepaConfig { width: Auto::Value(36), heads: Auto::Value(2), ..NepaConfig::default() }),
            "a head of 18",
        ),
        (bench.refusal(&SarJepaConfig { augment: flip(), ..SarJepaConfig::default() }), "`model.augment.flip`"),
        (bench.refusal(&SarJepaConfig { decoder_depth: 0, ..SarJepaConfig::default() }), "`model.decoder_depth`"),
        (bench.refusal(&SarJepaConfig { patch: Auto::Value(5), ..SarJepaConfig::default() }), "patches of 5"),
    ];
    for (said, expected) in said {
        assert!(said.contains(expected), "expected `{expected}` in: {said}");
    }
}

/// The released network: ViT-B of 14 × 14 pixels with a token before the patches and two scales in each block, and its average.
#[test]
fn the_official_nepa_is_the_released_one() {
    let config = NepaConfig { depth: Auto::Value(1), ..NepaConfig::official() };
    let bench = Bench::new(None, scenes(28, 8, 2).1, (100_000, 8));
    let state = bench.learner(&config).state(Which::Trained);
    let official = NepaConfig::official();
    assert_eq!((official.depth, official.stretch, official.norm_eps), (Auto::Value(12), 2.0, 1e-12));
    assert_eq!(
        (official.layer_scale, official.keep, official.patch_start),
        (1e-5, Keep::Average, PatchStart::Official)
    );
    for part in ["encoder", "average"] {
        let of = |name: &str| &state[&format!("{part}.{name}")];
        assert_eq!(of("patch_embed.proj.weight").shape, [768, 3, 14, 14]);
        assert_eq!(
            (&of("cls_token").shape[..], &of("blocks.0.attn.qkv.weight").shape[..]),
            (&[1, 1, 768][..], &[2304, 768][..])
        );
        assert!(of("blocks.0.ls1.gamma").values.iter().chain(&of("blocks.0.ls2.gamma").values).all(|x| *x == 1e-5));
        let patches = &of("patch_embed.proj.weight").values;
        let spread = (patches.iter().map(|x| x * x).sum::<f32>() / patches.len() as f32).sqrt();
        assert!((0.016..0.02).contains(&spread), "a normal of 0.02 cut at two deviations: {spread}");
    }
}

fn graph_jepa() -> GraphJepaConfig {
    GraphJepaConfig { width: Auto::Value(16), depth: 2, heads: 2, targets: 2, ..GraphJepaConfig::default() }
}

/// Graphs of three tags and four labels of edges that nobody opens.
fn graphs() -> Bench<Graphs> {
    let config = GraphsConfig {
        walk: 5,
        node_features: Auto::Value(NodeFeatures::Labels),
        attributes: Auto::Value(false),
        tags: vec![0, 1, 2],
        edge_labels: vec![0, 1, 2, 3],
        ..GraphsConfig::default()
    };
    Bench::new(None, config, (100, 4))
}

#[test]
fn impossible_settings_of_graph_jepa_are_refused_in_a_sentence() {
    let none = PartsConfig { count: 0, ..PartsConfig::default() };
    for (config, word) in [
        (GraphJepaConfig { heads: 3, ..graph_jepa() }, "`model.heads`"),
        (GraphJepaConfig { parts: none, ..graph_jepa() }, "`model.parts.count`"),
        (GraphJepaConfig { targets: 0, ..graph_jepa() }, "`model.targets`"),
        (GraphJepaConfig { geometry: Geometry::Hyperbola { limit: 100.0 }, ..graph_jepa() }, "`model.geometry.limit`"),
    ] {
        let said = graphs().refusal(&config);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_copied_teacher_begins_as_its_encoder_and_an_official_one_does_not() {
    let read = |teacher| {
        let state = graphs().learner(&GraphJepaConfig { teacher, ..graph_jepa() }).state(Which::Trained);
        ["encoder.", "target_encoder."].map(|prefix| {
            let own = state.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone())));
            own.collect::<NamedTensors>()
        })
    };
    let [encoder, target] = read(Teacher::Copied);
    assert!(!encoder.is_empty());
    assert_eq!(encoder, target);
    let [encoder, target] = read(Teacher::Official);
    assert_ne!(encoder["blocks.0.qkv.weight"], target["blocks.0.qkv.weight"]);
    assert_ne!(encoder["blocks.0.qkv.weight"].values[0], 0.0);
}

/// The control is the same network: what differs is that its lower level has no loss, and so no projector.
#[test]
fn the_flat_control_of_s_jea_begins_as_the_stack_does() {
    let (_, config) = scenes(16, 8, 2);
    let bench = Bench::new(None, config, (1000, 8));
    let ours = SJeaConfig { levels: vec![vec![8], vec![16]], ..SJeaConfig::default() };
    let stacked = bench.learner(&ours).state(Which::Trained);
    let flat = bench.learner(&SJeaConfig { flat: true, ..ours }).state(Which::Trained);
    let of = |state: &NamedTensors, prefix: &str| -> NamedTensors {
        let own = state.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone())));
        own.collect()
    };
    assert_eq!(of(&stacked, "encoder."), of(&flat, "encoder."));
    assert_eq!(of(&stacked, "projectors.1."), of(&flat, "projectors.0."));
    assert!(of(&flat, "projectors.1.").is_empty());
}

/// Windows of four electrodes that nobody opens.
fn eeg(seconds: f64, channels: &[&str]) -> Bench<Eeg> {
    let channels = channels.iter().map(|name| (*name).to_owned()).collect();
    Bench::new(None, EegConfig { seconds, channels, scale: 1.0, ..EegConfig::default() }, (100, 4))
}

#[test]
fn impossible_settings_of_signal_jepa_are_refused_in_a_sentence() {
    let small = || SignalJepaConfig { width: Auto::Value(32), heads: 4, ..SignalJepaConfig::default() };
    let ball = |diameter| BallConfig { diameter };
    let bench = eeg(2.0, &["Fp1", "C3", "Cz", "O2"]);
    for (config, word) in [
        (SignalJepaConfig { heads: 5, ..small() }, "`model.heads`"),
        (SignalJepaConfig { width: Auto::Value(24), ..small() }, "`model.width`"),
        (SignalJepaConfig { width: Auto::Value(36), ..small() }, "`model.width`"),
        (SignalJepaConfig { depth: Auto::Value(0), ..small() }, "`model.depth`"),
        (SignalJepaConfig { predictor_depth: Auto::Value(0), ..small() }, "`model.predictor_depth`"),
        (SignalJepaConfig { hidden: Auto::Value(0), ..small() }, "`model.hidden`"),
        (SignalJepaConfig { ball: ball(0.0), ..small() }, "`model.ball.diameter`"),
        (SignalJepaConfig { ball: ball(f64::NAN), ..small() }, "`model.ball.diameter`"),
    ] {
        let said = bench.refusal(&config);
        assert!(said.contains(word), "{said}");
    }
    let said = eeg(1.0, &["Fp1", "C3"]).refusal(&small());
    assert!(said.contains("`data.seconds`") && said.contains("152"), "{said}");
    let said = eeg(2.0, &["Fp1"]).refusal(&small());
    assert!(said.contains("`data.channels`"), "{said}");
}

/// The published network: its size, its hidden width, the norm that loses how strong a signal is, targets as they are.
#[test]
fn the_official_signal_jepa_has_the_published_size() {
    let state = eeg(4.0, &["Fp1", "C3", "Cz", "O2"]).learner(&SignalJepaConfig::official()).state(Which::Trained);
    assert_eq!(state["encoder.transformer.encoder.layers.7.linear1.weight"].shape, [2_048, 64]);
    assert_eq!(state["predictor.decoder.layers.3.multihead_attn.in_proj_weight"].shape, [192, 64]);
    assert_eq!(state["encoder.feature_encoder.0.weight"].shape, [8, 1, 32]);
    assert_eq!(state["encoder.pos_encoder.pos_encoder_spat.weight"].shape, [4, 30]);
    assert!(!state.contains_key("encoder.transformer.encoder.layers.8.linear1.weight"));
    let official = SignalJepaConfig::official();
    assert_eq!((official.norm, official.target), (SignalNorm::Electrode, SignalTarget::AsTheyAre));
}
