//! A policy learns from demonstrations: what an expert does, what is seen then, and in two stages one after the other.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use foretell_data::{Auto, Modality, Opening};
use foretell_eval::{Finding, TRAINED, UNTRAINED};
use foretell_jepa::Clock;
use foretell_jepa::dynamics::Stages;
use foretell_nn::NamedTensors;
use foretell_systems::act_jepa::ActJepaConfig;
use foretell_systems::family::find;
use foretell_systems::frame_model::FrameEncoder;
use foretell_systems::recipe::{get, parse};
use foretell_systems::{JudgeConfig, Judging, System};
use foretell_train::{Fit, Learner, RunFolder, Silent, TrainConfig, Verdict, Which, fit, settle};
use foretell_world::{DemonstrationSettings, Experience, ExperienceConfig, PlaySettings, WorldConfig};
use toml::Value;

use crate::made::{Bench, recorded};

const BATCH: usize = 32;

fn small() -> ActJepaConfig {
    ActJepaConfig {
        chunk: 4,
        width: 32,
        depth: 1,
        layers: 1,
        heads: 2,
        encoder: FrameEncoder::Conv { widths: vec![8, 16], features: 64 },
        ..ActJepaConfig::default()
    }
}

/// Two Rooms of 16 pixels, where an expert shows the way.
fn bench(system: &ActJepaConfig, episodes: usize, steps: u64) -> Bench<Experience> {
    let mut config = ExperienceConfig::Play(PlaySettings {
        world: WorldConfig::two_rooms(16),
        episode: 60,
        demonstrations: DemonstrationSettings { episodes, ..DemonstrationSettings::default() },
        ..PlaySettings::default()
    });
    let mut decisions = Vec::new();
    system.ask(&mut config, &mut decisions).unwrap();
    let mut opening = Opening { seed: 1, batch: BATCH, threads: 1, decisions: &mut decisions };
    let data = Experience::open(&mut config, &mut opening).unwrap();
    Bench { seed: 1, ..Bench::new(Some(Arc::new(data)), config, (steps, BATCH)) }
}

fn figure(findings: &[Finding], key: &str, cells: &[&str]) -> f64 {
    let finding = findings.iter().find(|finding| finding.key == key).unwrap_or_else(|| panic!("no {key}"));
    let figures = finding.as_figures().unwrap();
    let is = |cell: &foretell_eval::Cell, name: &str| cell.to_string() == name;
    let row = figures.rows.iter().find(|row| row.cells.iter().zip(cells).all(|(cell, name)| is(cell, name)));
    row.unwrap_or_else(|| panic!("{key} has no {cells:?}")).value
}

#[test]
fn what_the_expert_does_and_what_is_seen_then_is_learnt_together() {
    let system = small();
    let bench = bench(&system, 300, 400);
    let mut train = TrainConfig { batch: BATCH, lr: 2e-3, health_every: Auto::Value(400), ..ActJepaConfig::train() };
    train.resolve(bench.steps, 2, &mut Vec::new());
    let root = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(&root.path().join("run"), "").unwrap();
    let stop = AtomicBool::new(false);
    let fitting = Fit { folder: &folder, config: &train, stop: &stop };
    let mut learner = bench.learner(&system);
    settle(learner.as_mut(), &fitting).unwrap();
    let finished = fit(learner.as_mut(), &fitting, &mut Silent).unwrap();
    assert_eq!(finished.health.health.verdict, Verdict::Healthy, "{:#?}", finished.health.health);
    assert!(finished.health.health.teacher_distance.is_some_and(|distance| distance > 0.0));

    let settings = JudgeConfig { episodes: 12, ..JudgeConfig::default() };
    let judging = Judging::new(bench.on(), bench.data.as_ref().unwrap(), &settings, learner.as_ref());
    let found = system.judge(&judging).unwrap();
    for ahead in ["1", "4"] {
        let error = |by| figure(&found, "imitated", &[ahead, by]);
        let (trained, mean) = (error(TRAINED), error("mean action"));
        assert!(trained < 0.8 * mean && trained < error(UNTRAINED), "{ahead}: {trained} and {mean}");
        let error = |by| figure(&found, "foretold_states", &[ahead, by]);
        let trained = error(TRAINED);
        assert!(trained < 0.8 * error(UNTRAINED) && trained < 0.8 * error("mean"), "{ahead}: {trained}");
    }
    // Four steps on, what was seen last says less than what is foretold.
    let error = |by| figure(&found, "foretold_states", &["4", by]);
    assert!(error(TRAINED) < error("last observation"), "{} and {}", error(TRAINED), error("last observation"));
    let success = |by| figure(&found, "imitation", &["at any step", by]);
    assert_eq!(success("the expert"), 1.0);
    assert!(success("random actions") < 0.5);
}

/// Tensors of a part of the networks.
fn part(learner: &dyn Learner, prefix: &str) -> NamedTensors {
    learner.state(Which::Trained).into_iter().filter(|(name, _)| name.starts_with(prefix)).collect()
}

#[test]
fn two_stages_leave_the_encoder_unmoved_in_the_second() {
    let system = ActJepaConfig { stages: Stages::Two, ..small() };
    let bench = bench(&system, 10, 2);
    let mut learner = bench.learner(&system);
    let second = learner.second().unwrap();
    assert_eq!(foretell_train::all_steps(bench.steps, Some(second)), 4, "as long as the first");
    let feed = learner.feed().unwrap();
    let train = TrainConfig { batch: BATCH, ..ActJepaConfig::train() };
    let mut parts = Vec::new();
    for step in 1..=3 {
        let before = ["encoder.", "target_encoder.", "predictor.", "decoder."].map(|name| part(learner.as_ref(), name));
        let clock = Clock { step, total: 2, batch: BATCH, health_due: false };
        let hyper = foretell_ops::AdamW { lr: 1e-3, weight_decay: 0.1, ..train.adamw(step) };
        learner.step(feed.batch(step).unwrap(), &clock, hyper, 1.0).unwrap();
        let after = ["encoder.", "target_encoder.", "predictor.", "decoder."].map(|name| part(learner.as_ref(), name));
        parts.push(before.iter().zip(&after).map(|(before, after)| before != after).collect::<Vec<_>>());
    }
    assert_eq!(parts, [[true, true, true, false], [true, true, true, false], [false, false, false, true]]);
}

/// What is asked for is told where no observation shows it.
#[test]
fn goals_are_told_where_they_must_be_and_what_cannot_be_is_refused_in_a_sentence() {
    let member = find("act-jepa").unwrap();
    let data = "train.batch = 8\ndata.episode = 40\ndata.demonstrations.episodes = 4\nmodel.width = 16\nmodel.encoder.features = 16\n";
    let opened = |text: &str| {
        let asked = parse(&format!("{data}{text}"), "asked").unwrap();
        let mut session = member
            .open(member.recipe(&asked, "asked")?, &Device::flex(), true)
            .map_err(|error| foretell_systems::RecipeError(error.to_string()))?;
        session.learner(10).map_err(|error| foretell_systems::RecipeError(error.to_string()))?;
        Ok::<_, foretell_systems::RecipeError>(session.recipe())
    };
    let rooms = "data.world = { kind = \"two-rooms\", resolution = 16 }\n";
    let recipe = opened(rooms).unwrap();
    assert_eq!(get(&recipe, "model.goal"), Some(&Value::Boolean(true)));
    assert_eq!(get(&recipe, "data.window"), Some(&Value::Integer(9)), "an observation and a chunk of eight");
    let recipe = opened("data.world = { kind = \"cart-pole\", resolution = 16 }\nmodel.chunk = 3").unwrap();
    assert_eq!(get(&recipe, "model.goal"), Some(&Value::Boolean(false)));
    assert_eq!(get(&recipe, "data.window"), Some(&Value::Integer(4)));
    for (text, words) in [
        ("data.demonstrations.hold = 0\nmodel.chunk = 0", &["`model.chunk`", "at least 1"][..]),
        ("model.latents = -1.0", &["`model.latents`", "found -1"]),
        ("model.latents = 0.0\nmodel.stages = \"two\"", &["`model.stages`", "`model.latents` is 0"]),
        ("model.cloning_lr = 0.0", &["`model.cloning_lr` must be above 0"]),
        ("model.heads = 3", &["width 16", "3 heads"]),
    ] {
        let said = opened(&format!("{rooms}{text}")).err().unwrap_or_else(|| panic!("{text} is taken")).to_string();
        assert!(words.iter().all(|word| said.contains(word)) && said.lines().count() == 1, "{text}: {said}");
    }
    let none = parse("data.demonstrations.episodes = 0", "asked").unwrap();
    let said = member.open(member.recipe(&none, "asked").unwrap(), &Device::flex(), true).err().unwrap().to_string();
    assert!(said.contains("`data.demonstrations.episodes` is 0") && said.lines().count() == 1, "{said}");
    let recorded = Bench::<Experience>::new(None, recorded(16, 2), (10, 6));
    assert!(recorded.refusal(&ActJepaConfig { goal: Auto::Value(true), ..small() }).contains("`model.goal` is true"));
    recorded.learner(&small());
    // ACT's sizes.
    let state = Bench::new(None, self::recorded(64, 14), (10_000, 8))
        .learner(&ActJepaConfig { depth: 1, layers: 1, ..ActJepaConfig::official() })
        .state(Which::Trained);
    assert_eq!(state["decoder.queries"].shape, [1, 100, 512]);
    assert_eq!(state["decoder.out.weight"].shape, [14, 512]);
}
