//! Probes that are trained: every kind of data with labels, its controls, and what figures do not depend on.

use std::sync::Arc;

use foretell_data::{Auto, Images, Modality, Part, Sample};
use foretell_eval::{FEATURES, TRAINED, UNTRAINED};
use foretell_jepa::Kept;
use foretell_nn::Encode;
use foretell_nn::causal_vit::Sight;
use foretell_ops as ops;
use foretell_systems::i_jepa::IJepaConfig;
use foretell_systems::le_jepa::LeJepaConfig;
use foretell_systems::nepa::NepaConfig;
use foretell_systems::recipe::{parse, set};
use foretell_systems::{JudgeConfig, Judged, Judging, On, ProbeKind, Probing, family, judges};
use foretell_train::probing::{AttentiveSettings, FinetuneSettings, Head};
use foretell_train::{Learner, Which};
use toml::Value;

use crate::made::{Bench, scenes};

fn settings() -> JudgeConfig {
    JudgeConfig {
        attentive: AttentiveSettings {
            epochs: Auto::Value(2),
            batch: 32,
            lr: vec![1e-3, 1e-4],
            weight_decay: vec![0.01],
            ..AttentiveSettings::default()
        },
        finetune: FinetuneSettings { epochs: 1, batch: 32, ..FinetuneSettings::default() },
        ..JudgeConfig::default()
    }
}

fn transformer() -> IJepaConfig {
    IJepaConfig {
        patch: Auto::Value(4),
        width: Auto::Value(24),
        depth: Auto::Value(2),
        heads: Auto::Value(2),
        predictor_width: Auto::Value(12),
        predictor_depth: Auto::Value(1),
        ..IJepaConfig::default()
    }
}

/// These probes of a learner over scenes.
fn probed(
    bench: &Bench<Images>,
    images: &Arc<Images>,
    learner: &dyn Learner,
    (settings, threads): (&JudgeConfig, usize),
    kinds: &[ProbeKind],
) -> Judged {
    let judging = Judging::new(On { threads, ..bench.on() }, images, settings, learner);
    let findings = judges::probed(&judging, kinds).unwrap();
    judging.outcome(findings)
}

#[track_caller]
fn controlled(judged: &Judged, keys: &[&str]) {
    assert_eq!(judged.findings.iter().map(|finding| finding.key.as_str()).collect::<Vec<_>>(), keys);
    for finding in &judged.findings {
        assert_eq!((finding.missing_control(), finding.fault()), (None, None));
        let figures = finding.as_figures().unwrap();
        assert!(
            figures.rows.iter().all(|row| (0.0..=1.0).contains(&row.value) && row.samples.is_some()),
            "{figures:?}"
        );
        assert!(figures.references.iter().any(|level| level.name == "chance"));
    }
}

#[test]
fn trained_probes_depend_on_neither_threads_nor_memory_and_leave_the_run_alone() {
    let (images, config) = scenes(16, 150, 70);
    let bench = Bench::new(Some(images.clone()), config, (2, 8));
    let learner = bench.learner(&transformer());
    let before = (learner.state(Which::Trained), learner.state(Which::Untrained));
    let kinds = [ProbeKind::Attentive, ProbeKind::Finetune, ProbeKind::Attentive];
    let with = |settings: &JudgeConfig, threads| probed(&bench, &images, learner.as_ref(), (settings, threads), &kinds);
    let once = with(&settings(), 1);
    controlled(&once, &["attentive", "finetune"]);
    assert_eq!(with(&settings(), 3).findings, once.findings, "with three threads");
    // Nothing kept, and a few of the blocks.
    for memory in [0, 1] {
        assert_eq!(with(&JudgeConfig { memory, ..settings() }, 1).findings, once.findings, "{memory} MiB");
    }
    assert_eq!((learner.state(Which::Trained), learner.state(Which::Untrained)), before);
    // Nothing was learnt: the trained network is the untrained one.
    for finding in &once.findings {
        let figures = finding.as_figures().unwrap();
        let place = figures.dims.iter().position(|dim| dim == FEATURES).unwrap();
        let of = |name: &str| -> Vec<f64> {
            figures.rows.iter().filter(|row| row.cells[place] == name.into()).map(|row| row.value).collect()
        };
        assert_eq!(of(TRAINED), of(UNTRAINED), "{}", finding.key);
    }
    let other = Bench { seed: 9, ..bench };
    let learner = other.learner(&transformer());
    let again = probed(&other, &images, learner.as_ref(), (&settings(), 1), &kinds);
    assert_ne!(again.findings, once.findings, "another seed");
}

#[test]
fn four_blocks_and_an_attentive_head() {
    let (images, config) = scenes(16, 120, 40);
    let bench = Bench::new(Some(images.clone()), config, (2, 8));
    let learner = bench.learner(&transformer());
    let mut settings = settings();
    settings.attentive.blocks = 4;
    settings.finetune.head = Head::Attentive;
    let kinds = [ProbeKind::Linear, ProbeKind::Attentive, ProbeKind::Finetune];
    let judged = probed(&bench, &images, learner.as_ref(), (&settings, 2), &kinds);
    controlled(&judged, &["probes", "attentive", "finetune"]);
    assert!(judged.findings[1].lead.contains("4 blocks") && judged.findings[2].lead.contains("attentive head"));
    // Six factors, three kinds of features.
    let chosen = judged.findings[1].notes.iter().filter(|note| note.contains("weight decay 0.01")).count();
    assert_eq!(chosen, 3 * judged.findings[1].as_figures().unwrap().references.len());
}

/// A few epochs of labels teach a residual network something: its batch statistics are absorbed on the way.
#[test]
fn a_residual_network_is_tuned() {
    let (images, config) = scenes(16, 400, 100);
    let bench = Bench::new(Some(images.clone()), config, (2, 8));
    let small = "projector = [32]\ncode_width = 16\nslices = 16\nbackbone = { kind = \"resnet\", widths = [8, 16], blocks = 1, stem_kernel = 3, stem_stride = 1 }";
    let learner = bench.learner(&toml::from_str::<LeJepaConfig>(small).unwrap());
    let mut settings = settings();
    settings.finetune = FinetuneSettings { epochs: 12, lr: 3e-3, ..settings.finetune };
    let judged = probed(&bench, &images, learner.as_ref(), (&settings, 2), &[ProbeKind::Finetune]);
    controlled(&judged, &["finetune"]);
    let figures = judged.findings[0].as_figures().unwrap();
    let of = |factor: &str| figures.get(&[factor.into(), TRAINED.into()]).unwrap();
    let chance =
        |factor: &str| figures.references.iter().find(|level| level.cells[0] == Some(factor.into())).unwrap().value;
    assert!(of("colour") > chance("colour") + 0.1, "{} and {}", of("colour"), chance("colour"));
}

/// A causal network is tuned with attention in both directions, and what is frozen stays.
#[test]
fn a_causal_network_is_tuned_in_both_directions() {
    let (images, config) = scenes(16, 60, 20);
    let bench = Bench::new(Some(images.clone()), config, (2, 8));
    let system = NepaConfig {
        patch: Auto::Value(4),
        width: Auto::Value(24),
        depth: Auto::Value(1),
        heads: Auto::Value(2),
        // So that one step's worth of attention is seen.
        layer_scale: 1.0,
        ..NepaConfig::default()
    };
    let samples: Vec<_> = (0..2).map(|i| images.load(Part::Train, i).unwrap()).collect();
    // The second image is the first but for its last patch.
    let mut other = (*samples[0].image).clone();
    let (width, channels) = (other.width, other.channels);
    let (middle, last) = (other.pixels.len() / 2, other.pixels.len());
    (middle..last).filter(|at| at / channels % width >= 12 && at / channels / width >= 12).for_each(|at| {
        other.pixels[at] = 255 - other.pixels[at];
    });
    let other = Sample { image: Arc::new(other), ..samples[0].clone() };
    let first_token = |encoder: &dyn Encode<Sample>| {
        let rows = ops::values(encoder.tokens(&[&samples[0], &other]).rows);
        let half = rows.len() / 2;
        (rows[..24].to_vec(), rows[half..half + 24].to_vec())
    };
    for tuned in [Sight::Both, Sight::Causal] {
        let learner = bench.learner(&NepaConfig { tuned, ..system.clone() });
        let kept: Kept<Sample> = *learner.kept(Which::Trained).downcast().unwrap();
        let (a, b) = first_token(kept.encoder.as_ref());
        assert_eq!(a, b, "as it learnt, the first token sees no last one");
        let (a, b) = first_token(kept.encoder.tunable().unwrap().tuned().as_ref());
        assert_eq!(a != b, tuned == Sight::Both, "{tuned:?}");
    }
    let learner = bench.learner(&system);
    let with = |freeze: &[&str]| {
        let freeze = freeze.iter().map(|part| (*part).to_owned()).collect();
        let mut settings = settings();
        settings.finetune = FinetuneSettings { freeze, ..settings.finetune };
        let judging = Judging::new(bench.on(), &images, &settings, learner.as_ref());
        judges::probed(&judging, &[ProbeKind::Finetune])
    };
    assert_eq!(with(&["patch_embed", "blocks.0.attn"]).unwrap().len(), 1);
    let said = with(&["patch_embed", "patch"]).unwrap_err().to_string();
    assert!(
        said.contains("`judge.finetune.freeze` names `patch`") && said.contains("patch_embed, cls_token, blocks, norm"),
        "{said}"
    );
}

#[test]
fn graphs_are_probed_and_tuned_as_images_are() {
    let member = family::find("graph-jepa").unwrap();
    let small = "model = { width = 16, depth = 1, heads = 2, layers = 1, parts = { count = 8 } }\njudge = { attentive = { epochs = 2, batch = 16, lr = [1e-3], weight_decay = [0.01] }, finetune = { epochs = 2, batch = 16 } }";
    let mut asked = parse(small, "small").unwrap();
    set(&mut asked, "train.batch", Value::Integer(8)).unwrap();
    set(&mut asked, "judge.train_samples", Value::Integer(100)).unwrap();
    let recipe = member.recipe(&asked, "small").unwrap();
    let mut run = member.open(recipe, &burn::tensor::Device::flex(), true).unwrap();
    let learner = run.learner(2).unwrap();
    let kinds = [ProbeKind::Attentive, ProbeKind::Finetune];
    let judged = run.probe(learner.as_ref(), Probing { probes: &kinds, ..Probing::default() }).unwrap();
    controlled(&judged, &["attentive", "finetune"]);
    assert_eq!(
        run.probe(learner.as_ref(), Probing { probes: &kinds, ..Probing::default() }).unwrap().findings,
        judged.findings
    );
}

#[test]
fn settings_of_probes_are_refused_in_a_sentence() {
    let member = family::find("i-jepa").unwrap();
    for (asked, parts) in [
        ("judge.probes = [\"magic\"]", &["magic", "linear", "attentive", "finetune"][..]),
        ("judge.probes = []", &["`judge.probes`", "at least one of linear"]),
        ("judge.attentive.blocks = 0", &["`judge.attentive.blocks` must be", "found 0"]),
        ("judge.attentive.lr = []", &["`judge.attentive.lr`"]),
        ("judge.finetune.layer_decay = 0.0", &["`judge.finetune.layer_decay`", "found 0"]),
        ("judge.finetune.head = \"tail\"", &["tail", "mean", "attentive"]),
        ("judge.attentive.depth = 2", &["judge.attentive.depth", "did you mean"]),
    ] {
        let error = member.recipe(&parse(asked, "asked").unwrap(), "asked").unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
}
