//! Each member in a run of two steps, from its recipe to what is found: figures of features never stand without their controls.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foretell_data::{Auto, Dataset, Part, ScenesConfig};
use foretell_eval::{FEATURES, Finding, TRAINED, UNTRAINED};
use foretell_nn::weights;
use foretell_ops::Precision;
use foretell_systems::family::{find, members};
use foretell_systems::i_jepa::IJepaConfig;
use foretell_systems::recipe::{parse, set};
use foretell_systems::{JudgeConfig, Judged, Judging, Member, On, Probing, Session, System};
use foretell_train::{Fit, RunFolder, Silent, TrainConfig, Which, fit, load_control, settle};
use toml::Value;

use crate::made::{Bench, scenes};

const STEPS: u64 = 2;

/// What makes a member small enough for a test; its data are what comes with it, or the pictures at a path.
fn small(name: &str) -> &'static str {
    match name {
        "i-jepa" | "iwm" | "dmt-jepa" => {
            "data.image_size = 16\nmodel = { patch = 4, width = 24, depth = 1, heads = 2, predictor_width = 12, predictor_depth = 1 }"
        }
        "le-jepa" => {
            "data.image_size = 16\nmodel = { projector = [32], code_width = 16, slices = 16, backbone = { widths = [8, 16] } }"
        }
        "s-jea" => "data.image_size = 16\nmodel = { levels = [[8], [16]], projector = [32], code_width = 16 }",
        "sar-jepa" => "data.image_size = 16\nmodel = { patch = 4, depth = 1, decoder_depth = 1, decoder_width = 24 }",
        "eb-jepa" => {
            "data = { world = { kind = \"two-rooms\", resolution = 16 }, episode = 30, explore = { layouts = 4, episodes = 4, places = 4 } }\nmodel = { width = 16, hidden = [32], mixer = [16], inverse = 16, actor = { width = 16, steps = 1 }, reach = { width = 16 } }"
        }
        "le-wm" => {
            "data = { world = { kind = \"two-rooms\", resolution = 16 }, episode = 30, explore = { layouts = 4, episodes = 4, places = 4 } }\nmodel = { width = 16, projector = 16, slices = 16, actor = { width = 16, steps = 1 }, reach_head = { width = 16 } }"
        }
        "h-jepa" => {
            "data = { world = { kind = \"two-rooms\", resolution = 16 }, episode = 40, frameskip = 2 }\nmodel = { width = 16, projector = 16, slices = 16, actor = { width = 16, steps = 1 } }"
        }
        "act-jepa" => {
            "data = { world = { kind = \"two-rooms\", resolution = 16 }, episode = 40, demonstrations = { episodes = 4 } }\nmodel = { chunk = 3, width = 16, depth = 1, layers = 1, heads = 2, encoder = { widths = [4, 4], features = 16 } }"
        }
        "c-jepa" => "model = { width = 16, heads = 2, depth = 1, mlp = 16 }",
        "v-jepa-2-ac" => {
            "data = { world = { kind = \"two-rooms\", resolution = 16 }, episode = 30 }\nmodel = { width = 24, depth = 1, heads = 2, actor = { width = 16, steps = 1 } }"
        }
        "v-jepa" | "v-jepa-2" | "v-jepa-2.1" => {
            "data = { frames = 4, image_size = 24, scenes = { train = 64, held_out = 32 } }\nmodel = { patch = 6, width = 24, heads = 2, depth = 2, predictor_width = 16, predictor_heads = 2, predictor_depth = 1 }"
        }
        "le-v-jepa" => {
            "data = { frames = 4, image_size = 24, scenes = { train = 64, held_out = 32 } }\nmodel = { patch = 6, width = 24, heads = 2, depth = 2 }"
        }
        "nepa" => "data.image_size = 16\nmodel = { patch = 4, width = 24, depth = 1, heads = 2 }",
        "mc-jepa" => {
            "data = { frames = 3, image_size = 16, scenes = { train = 64, held_out = 32 } }\nmodel = { widths = [4, 6, 8], estimator = [8], finest = 1, projector = [16], code_width = 8 }"
        }
        "eb-jepa-video" => {
            "data = { frames = 4, image_size = 16, scenes = { train = 64, held_out = 32 } }\nmodel = { widths = [4, 4], strides = [2, 1], predictor = [4, 6], rollout = 2, projector = [8], code_width = 8 }"
        }
        "ts-jepa" | "le-nepa" => {
            "data.waves = { train = 120, held_out = 60, steps = 64 }\nmodel = { patch = 8, width = 16, depth = 1, heads = 2 }"
        }
        "lat-pfn" => {
            "data.waves = { train = 120, held_out = 60, steps = 64 }\nmodel = { width = 16, heads = 2, layers = 1, history = 32, horizon = 16, context = 2, held_out = 1 }"
        }
        "signal-jepa" => {
            "data = { seconds = 2.0, heads = { train = 64, held_out = 32 } }\nmodel = { width = 32, heads = 4, depth = 1, predictor_depth = 1 }"
        }
        "audio-jepa" | "a-jepa" => {
            "data.tones = { train = 64, held_out = 32 }\nmodel = { width = 24, depth = 1, predictor_width = 12, predictor_depth = 1 }"
        }
        "graph-jepa" => "model = { width = 16, depth = 1, heads = 2, layers = 1, parts = { count = 8 } }",
        "st-jema" => {
            "data = { window = 12, networks = { train = 40, held_out = 24, regions = 16, length = 80 } }\nmodel = { width = 8, layers = 1 }"
        }
        _ => "",
    }
}

/// Generated scenes as binaries in the layout of CIFAR-10, of two classes.
fn pictures(folder: &Path) {
    let scenes = Dataset::scenes(&ScenesConfig { size: 32, train: 96, held_out: 48, seed: 0 });
    for (name, part) in [("data_batch_1.bin", Part::Train), ("test_batch.bin", Part::HeldOut)] {
        let record = |index| {
            let image = scenes.load(part, index).unwrap().image;
            let plane = |channel| image.pixels.iter().skip(channel).step_by(3).copied();
            [index as u8 % 2].into_iter().chain((0..3).flat_map(plane)).collect::<Vec<u8>>()
        };
        std::fs::write(folder.join(name), (0..scenes.len(part)).flat_map(record).collect::<Vec<u8>>()).unwrap();
    }
}

/// A session of a member, small, on its own data or on the pictures.
fn session(member: &dyn Member, folder: &Path) -> Box<dyn Session> {
    let name = member.row().name;
    let mut asked = parse(small(name), name).unwrap();
    set(&mut asked, "train.batch", Value::Integer(8)).unwrap();
    set(&mut asked, "judge.train_samples", Value::Integer(200)).unwrap();
    if member.defaults()["model"].get("encoder").is_some_and(Value::is_str) {
        set(&mut asked, "model.encoder", Value::String(folder.join("encoder").display().to_string())).unwrap();
    }
    if member.recognises(folder) {
        set(&mut asked, "data.path", Value::String(folder.display().to_string())).unwrap();
    }
    let recipe = member.recipe(&asked, name).unwrap_or_else(|error| panic!("{name}: {error}"));
    member.open(recipe, &Device::flex(), true).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a run of images leaves for those that name it as their encoder.
fn encoder(folder: &Path) {
    let mut run = session(find("i-jepa").unwrap(), folder);
    let learner = run.learner(STEPS).unwrap();
    let folder = folder.join("encoder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), toml::to_string(&run.recipe()).unwrap()).unwrap();
    std::fs::write(folder.join("encoder.safetensors"), weights::to_bytes(&learner.encoder_state())).unwrap();
}

fn compares_features(finding: &Finding) -> bool {
    finding.as_figures().is_some_and(|figures| figures.dims.iter().any(|dim| dim == FEATURES))
}

#[track_caller]
fn check(name: &str, judged: &Judged) {
    assert_eq!(judged.skipped, [""; 0], "{name}");
    for finding in &judged.findings {
        assert_eq!(finding.missing_control(), None, "{name}");
        assert_eq!(finding.fault(), None, "{name}");
        assert!(!finding.title.is_empty() && !finding.lead.is_empty(), "{name}: {}", finding.key);
    }
    let mut keys: Vec<&str> = judged.findings.iter().map(|finding| finding.key.as_str()).collect();
    let found = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), found, "{name}: a key stands for one finding: {keys:?}");
    assert!(judged.findings.iter().any(compares_features), "{name}: nothing stands beside its control: {keys:?}");
}

#[test]
fn whatever_is_found_stands_beside_its_controls() {
    let root = tempfile::tempdir().unwrap();
    pictures(root.path());
    encoder(root.path());
    let machine = std::thread::available_parallelism().unwrap().get();
    let mut seen = 0;
    for member in members() {
        let name = member.row().name;
        let mut run = session(member, root.path());
        assert_eq!(run.threads(), machine, "{name} has all threads of the machine");
        let mut learner = run.learner(STEPS).unwrap_or_else(|error| panic!("{name}: {error}"));
        let folder = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(&folder.path().join("run"), &toml::to_string(&run.recipe()).unwrap()).unwrap();
        let stop = AtomicBool::new(false);
        let fitting = Fit { folder: &folder, config: run.train(), stop: &stop };
        settle(learner.as_mut(), &fitting).unwrap();
        let finished = fit(learner.as_mut(), &fitting, &mut Silent).unwrap();
        let second = learner.second().map_or(0, |second| second.steps.min(STEPS));
        assert_eq!((finished.steps, finished.stopped), (STEPS + second, false), "{name}");
        let judged = run.judge(learner.as_ref()).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(name, &judged);

        // The same networks from the folder alone, without any data: the same control, and the same recipe.
        let mut again = member.open(run.recipe(), &Device::flex(), false).unwrap();
        assert_eq!(again.threads(), machine, "{name}, without data");
        let mut reopened = again.learner(STEPS).unwrap_or_else(|error| panic!("{name}, without data: {error}"));
        assert_eq!(again.recipe(), run.recipe(), "{name}: a resolved recipe resolves to itself");
        assert!(load_control(reopened.as_mut(), &folder).unwrap(), "{name}");
        assert_eq!(reopened.state(Which::Untrained), learner.state(Which::Untrained), "{name}");
        reopened.load(Which::Trained, learner.state(Which::Trained)).unwrap();
        assert_eq!(reopened.encoder_state(), learner.encoder_state(), "{name}");
        let encoder = again.encoder(reopened.as_ref(), None, "mark", Precision::F32).unwrap().unwrap();
        assert_eq!(encoder.about()["system"], name);
        assert!(encoder.width() > 0);
        seen += 1;
    }
    assert_eq!(seen, members().count());
    assert!(seen >= 6, "{seen} members train");
}

/// Three threads read samples in another order than one does, and what is found is the same to the last bit.
#[test]
fn what_is_found_does_not_depend_on_the_threads() {
    // Enough that each of three threads has samples to read.
    let (images, config) = scenes(16, 400, 200);
    let bench = Bench::new(Some(images.clone()), config, (STEPS, 8));
    let mut system = IJepaConfig {
        patch: Auto::Value(4),
        width: Auto::Value(24),
        depth: Auto::Value(1),
        heads: Auto::Value(2),
        predictor_width: Auto::Value(12),
        predictor_depth: Auto::Value(1),
        ..IJepaConfig::default()
    };
    let mut learner = system.init(&bench.on(), &mut Vec::new()).unwrap();
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let (mut train, stop) = (TrainConfig { batch: 8, ..TrainConfig::default() }, AtomicBool::new(false));
    train.resolve(STEPS, 1, &mut Vec::new());
    let fitting = Fit { folder: &folder, config: &train, stop: &stop };
    settle(learner.as_mut(), &fitting).unwrap();
    fit(learner.as_mut(), &fitting, &mut Silent).unwrap();

    let settings = JudgeConfig::default();
    let judged = |threads| {
        let on = On { threads, ..bench.on() };
        let judging = Judging::new(on, &images, &settings, learner.as_ref());
        let findings = system.judge(&judging).unwrap();
        judging.outcome(findings)
    };
    let one = judged(1);
    check("i-jepa", &one);
    assert_eq!(judged(3).findings, one.findings);
}

/// Probes on other pictures need no data of the run's own.
#[test]
fn probes_of_other_data_need_none_of_the_runs_own() {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pictures(own.path());
    pictures(other.path());
    let member = find("i-jepa").unwrap();
    let mut run = session(member, own.path());
    let learner = run.learner(STEPS).unwrap();
    let by_itself = run.probe(learner.as_ref(), Probing::default()).unwrap();
    std::fs::remove_dir_all(own.path()).unwrap();
    let mut again = member.open(run.recipe(), &Device::flex(), false).unwrap();
    let reopened = again.learner(STEPS).unwrap();
    let elsewhere = again.probe(reopened.as_ref(), Probing { path: Some(other.path()), ..Probing::default() }).unwrap();
    check("i-jepa", &elsewhere);
    assert_eq!(elsewhere.findings, by_itself.findings, "the same pictures at another place");
    let error = again.probe(reopened.as_ref(), Probing::default()).err().expect("its own are not open").to_string();
    assert!(error.contains("not open"), "{error}");
    // With the untrained encoder's tensors in place of the trained one's both rows are the same.
    let figures = elsewhere.findings[0].as_figures().unwrap();
    let of = |name: &str| -> Vec<f64> {
        let place = figures.dims.iter().position(|dim| dim == FEATURES).unwrap();
        figures.rows.iter().filter(|row| row.cells[place] == name.into()).map(|row| row.value).collect()
    };
    assert_eq!(of(TRAINED), of(UNTRAINED), "nothing was learnt");
}
