//! Whole runs of the loop: what a stopped one goes on to, what is kept of the control, and how much is in memory at once.

use std::sync::atomic::{AtomicBool, Ordering};

use foretell_data::{Auto, Modality, Part};
use foretell_jepa::Clock;
use foretell_nn::NamedTensors;
use foretell_train::{
    Finished, Fit, HealthRecord, Learner, LoopObserver, RunFolder, Silent, StepReport, TrainConfig, Which, all_steps,
    checkpoint_steps, fit, kept_networks, kept_steps, load_control, settle,
};

use crate::points::{BATCH, FOLLOWS, Points, SECOND, learning, predicted};

/// Steps of the first stage.
const STEPS: u64 = 6;

fn config() -> TrainConfig {
    let mut config = TrainConfig {
        batch: BATCH,
        lr: 1e-2,
        checkpoint_every: Auto::Value(4),
        keep_checkpoints: 3,
        judge_every: Auto::Value(1),
        ..TrainConfig::default()
    };
    config.resolve(STEPS, 2, &mut Vec::new());
    config
}

fn clock(step: u64) -> Clock {
    Clock { step, total: STEPS, batch: BATCH, health_due: true }
}

fn folder(root: &tempfile::TempDir, name: &str) -> RunFolder {
    RunFolder::create(&root.path().join(name), "").unwrap()
}

/// Asks for a stop after a step.
struct StopsAfter<'a>(u64, &'a AtomicBool);

impl LoopObserver for StopsAfter<'_> {
    fn step(&mut self, report: &StepReport) {
        self.1.store(report.step >= self.0, Ordering::Relaxed);
    }
    fn note(&mut self, _: &str) {}
}

/// A session of a run in a folder, with fresh networks and up to a step.
fn session(folder: &RunFolder, until: u64) -> (Box<dyn Learner>, Finished) {
    let (config, stop) = (config(), AtomicBool::new(false));
    let mut learner = learning(Some(Points::new(40)), true);
    let fitting = Fit { folder, config: &config, stop: &stop };
    settle(&mut learner, &fitting).unwrap();
    let finished = fit(&mut learner, &fitting, &mut StopsAfter(until, &stop)).unwrap();
    (Box::new(learner), finished)
}

fn without(state: &NamedTensors, prefix: &str) -> NamedTensors {
    state.iter().filter(|(name, _)| !name.starts_with(prefix)).map(|(n, t)| (n.clone(), t.clone())).collect()
}

#[test]
fn a_run_that_was_stopped_in_either_stage_goes_on_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let whole_folder = folder(&root, "whole");
    let (whole, finished) = session(&whole_folder, u64::MAX);
    assert_eq!((finished.steps, finished.stopped, finished.health.step), (STEPS + SECOND, false, STEPS));
    let metrics = |folder: &RunFolder| std::fs::read_to_string(folder.metrics()).unwrap();
    let checkpoint = |folder: &RunFolder, file: &str| std::fs::read(folder.checkpoint(10).join(file)).unwrap();
    for stopped_at in [3, 7] {
        let folder = folder(&root, &stopped_at.to_string());
        let (_, first) = session(&folder, stopped_at);
        assert_eq!((first.steps, first.stopped), (stopped_at, true));
        assert_eq!(checkpoint_steps(&folder).last(), Some(&stopped_at), "a stop saves");
        let (again, second) = session(&folder, u64::MAX);
        assert_eq!((second.steps, second.stopped), (STEPS + SECOND, false));
        assert_eq!(again.state(Which::Trained), whole.state(Which::Trained));
        assert_eq!(again.moments(), whole.moments());
        for file in ["model.safetensors", "optimiser.safetensors"] {
            assert!(checkpoint(&folder, file) == checkpoint(&whole_folder, file), "{file} of {stopped_at}");
        }
        assert_eq!(metrics(&folder), metrics(&whole_folder));
        for step in [2, 4, STEPS] {
            let stage = |folder: &RunFolder| std::fs::read(folder.stage(step)).unwrap();
            assert!(stage(&folder) == stage(&whole_folder), "the networks of step {step} that stay");
        }
    }
    // Those that stay beside the checkpoints, which hold the last two and the best; and LiDAR with each judgement.
    let kept = kept_steps(&whole_folder);
    assert!([2, 4, STEPS].iter().all(|step| kept.contains(step)) && kept.len() <= 6, "{kept:?}");
    assert_eq!(kept_networks(&whole_folder, STEPS + SECOND).unwrap(), whole.state(Which::Trained));
    let judged: Vec<HealthRecord> =
        metrics(&whole_folder).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(judged.len() as u64 == STEPS + 1 && judged.iter().all(|record| record.lidar.is_some()), "{judged:?}");

    // Each stage's lines name its own loss, and the second stage's rate has a schedule of its own.
    let lines: Vec<serde_json::Value> =
        metrics(&whole_folder).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| -> Vec<u64> {
        lines.iter().filter(|line| line[name].is_f64()).map(|line| line["step"].as_u64().unwrap()).collect()
    };
    assert_eq!(of("loss"), (1..=STEPS).collect::<Vec<_>>());
    assert_eq!(of("head"), (STEPS + 1..=STEPS + SECOND).collect::<Vec<_>>());
}

/// In the second stage the head alone learns, and it learns something.
#[test]
fn a_second_stage_leaves_what_has_learnt_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let (whole, first) = (folder(&root, "whole"), folder(&root, "first"));
    let (after, _) = session(&whole, u64::MAX);
    let (before, _) = session(&first, STEPS);
    let (before, after) = (before.state(Which::Trained), after.state(Which::Trained));
    assert_eq!(without(&before, "head.").keys().count(), before.len() - 2);
    for (name, tensor) in without(&before, "head.") {
        assert_eq!(tensor == after[&name], !name.starts_with("target_encoder."), "{name}: the teacher alone goes on");
    }
    assert_ne!(before["head.weight"], after["head.weight"]);
    // It is never longer than the first.
    let second = learning(None, true).second();
    assert_eq!((all_steps(STEPS, second), all_steps(3, second), all_steps(3, None)), (STEPS + SECOND, 6, 3));
}

/// After the optimiser's step the teacher moves towards what it made, running averages too.
#[test]
fn the_average_follows_what_the_step_made() {
    let mut learner = learning(Some(Points::new(40)), false);
    let old = learner.state(Which::Trained);
    let batch = learner.feed().unwrap().batch(1).unwrap();
    let hyper = foretell_ops::AdamW { lr: 0.1, ..config().adamw(1) };
    learner.step(batch, &clock(1), hyper, 1.0).unwrap();
    let new = learner.state(Which::Trained);
    let mut followed = 0;
    for (name, target) in new.iter().filter(|(name, _)| name.starts_with("target_encoder.")) {
        let leader = &new[name.strip_prefix("target_").unwrap()];
        for ((target, old), new) in target.values.iter().zip(&old[name].values).zip(&leader.values) {
            let expected = old + (new - old) * FOLLOWS as f32;
            assert!((target - expected).abs() < 1e-5, "{name}: {target} where {expected} was expected");
        }
        followed += 1;
    }
    assert_eq!(followed, 8, "two maps and a norm of four tensors");
    for name in ["encoder.layers.0.weight", "encoder.norms.0.running_mean", "encoder.norms.0.weight"] {
        assert_ne!(old[name], new[name], "{name}: the step moved something");
    }
}

#[test]
fn the_controls_running_averages_are_kept_and_come_back_without_the_data() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root, "run");
    let (config, stop) = (config(), AtomicBool::new(false));
    let fitting = Fit { folder: &folder, config: &config, stop: &stop };
    let fresh = learning(None, false).state(Which::Untrained);
    assert!(!load_control(&mut learning(None, false), &folder).unwrap(), "nothing is kept yet");

    let mut first = learning(Some(Points::new(40)), false);
    settle(&mut first, &fitting).unwrap();
    let settled = first.state(Which::Untrained);
    let moved: Vec<&String> = settled.keys().filter(|name| settled[*name] != fresh[*name]).collect();
    assert_eq!(moved, ["encoder.norms.0.running_mean", "encoder.norms.0.running_var"]);
    // The mean of 30 batches of data whose means are 0 to 7, not that of nothing.
    assert_eq!(first.state(Which::Trained), learning(None, false).state(Which::Trained));

    // With a feed these would settle; without data they can have them from the folder alone.
    for load in [
        |learner: &mut dyn Learner, fit: &Fit<'_>| load_control(learner, fit.folder).unwrap(),
        |learner: &mut dyn Learner, fit: &Fit<'_>| settle(learner, fit).is_ok(),
    ] {
        let mut again = learning(None, false);
        assert!(load(&mut again, &fitting));
        assert_eq!(again.state(Which::Untrained), settled);
        assert_eq!(again.state(Which::Trained), first.state(Which::Trained));
    }
    std::fs::remove_file(folder.control()).unwrap();
    let error = settle(&mut learning(None, false), &fitting).unwrap_err().to_string();
    assert!(error.contains("data"), "{error}");

    // A second stage's networks are no others; a control of other networks is refused.
    std::fs::write(folder.control(), foretell_nn::weights::to_bytes(&without(&settled, "encoder.layers"))).unwrap();
    assert!(load_control(&mut learning(None, true), &folder).unwrap());
    let mut odd = settled.clone();
    odd.insert("encoder.norms.7.running_mean".to_owned(), settled["encoder.norms.0.running_mean"].clone());
    std::fs::write(folder.control(), foretell_nn::weights::to_bytes(&odd)).unwrap();
    let error = load_control(&mut learning(None, false), &folder).unwrap_err().to_string();
    assert!(error.contains("encoder.norms.7.running_mean"), "{error}");
}

/// The control is judged with running averages of its data: with fresh ones its features are others.
#[test]
fn what_is_judged_against_has_seen_data() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(&root, "run");
    let (config, stop) = (config(), AtomicBool::new(false));
    let mut learner = learning(Some(Points::new(40)), false);
    let fresh = learner.measure(Which::Untrained, &clock(1)).unwrap().0;
    settle(&mut learner, &Fit { folder: &folder, config: &config, stop: &stop }).unwrap();
    let settled = learner.measure(Which::Untrained, &clock(1)).unwrap().0;
    assert_ne!(fresh.sample.effective_rank, settled.sample.effective_rank);
    let fitting = Fit { folder: &folder, config: &config, stop: &stop };
    let finished = fit(&mut learner, &fitting, &mut Silent).unwrap();
    assert_eq!(finished.health.health.untrained_effective_rank, settled.sample.effective_rank);
}

#[test]
fn held_out_samples_are_read_a_chunk_at_a_time() {
    let points = Points::new(1000);
    let mut learner = learning(Some(points.clone()), false);
    let measured = learner.measure(Which::Trained, &clock(1)).unwrap().0;
    assert_eq!(measured.sample.rows, 1000, "all of them are looked at");
    // The batch whose loss is taken, a chunk on its way through the encoder, and what the reader has ahead.
    assert!(points.counted.most() <= 320, "{} of 1000 samples were in memory at once", points.counted.most());
    // Evenly spread where there are more than are looked at.
    let many = Points::new(5000);
    let measured = learning(Some(many.clone()), false).measure(Which::Trained, &clock(1)).unwrap().0;
    assert_eq!(measured.sample.rows, 1024);
    assert!(many.counted.most() <= 320, "{}", many.counted.most());
}

#[test]
fn energies_are_of_each_sample_with_itself_and_with_the_next_one() {
    let points = Points::new(5);
    let values: Vec<f32> = (0..5).flat_map(|i| points.baseline(&points.load(Part::HeldOut, i).unwrap())).collect();
    let [codes, targets] = predicted(&values);
    let energy = |i: usize, j: usize| -> f32 {
        (0..4).map(|k| (codes[4 * i + k] - targets[4 * (j % 5) + k]).powi(2)).sum::<f32>() / 4.0
    };
    let found = learning(Some(points), false).pairs(Which::Untrained).unwrap().unwrap();
    assert_eq!((found.own.len(), found.of_another.len()), (5, 5));
    for i in 0..5 {
        assert!((found.own[i] - energy(i, i)).abs() < 1e-4, "{i}: {found:?}");
        assert!((found.of_another[i] - energy(i, i + 1)).abs() < 1e-4, "{i}: {found:?}");
    }
}
