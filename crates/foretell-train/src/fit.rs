//! The loop: written and compiled once, for every system.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use foretell_data::Loader;
use foretell_jepa::{Auto, Clock, Second};
use foretell_nn::{NamedTensors, weights};
use foretell_ops as ops;
use serde_json::json;

use crate::checkpoint::{Checkpoint, Progress, checkpoint_steps, keep_stage};
use crate::config::TrainConfig;
use crate::events::EventWriter;
use crate::folder::{Lines, RunFolder, write_whole};
use crate::health::{Health, HealthRecord, Measured, lidar_of};
use crate::learner::{Learner, StepOutcome, Which};
use crate::{TrainError, stop_here};

/// What the loop works with besides the learner.
pub struct Fit<'a> {
    /// Where the run is kept.
    pub folder: &'a RunFolder,
    /// Resolved settings.
    pub config: &'a TrainConfig,
    /// Set from outside (Ctrl-C): save and stop.
    pub stop: &'a AtomicBool,
}

/// What the loop tells while it runs.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Steps taken.
    pub step: u64,
    /// All steps.
    pub steps: u64,
    /// Loss of this step.
    pub loss: f64,
    /// Samples a second since the start of this session.
    pub samples_per_s: f64,
    /// Seconds to go.
    pub seconds_left: f64,
    /// The last judgement.
    pub verdict: Option<crate::Verdict>,
}

/// Watches a run.
pub trait LoopObserver {
    /// After each step.
    fn step(&mut self, report: &StepReport);
    /// A line worth reading.
    fn note(&mut self, line: &str);
}

/// Watches nothing.
pub struct Silent;

impl LoopObserver for Silent {
    fn step(&mut self, _: &StepReport) {}
    fn note(&mut self, _: &str) {}
}

/// A run that ended, by itself or because it was stopped.
pub struct Finished {
    /// Steps taken, those of a second stage included.
    pub steps: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
    /// Seconds of training over all sessions.
    pub seconds: f64,
    /// The last judgement.
    pub health: HealthRecord,
    /// Names of samples that were passed over.
    pub skipped: Vec<String>,
    /// Share of this session's time that steps waited for data.
    pub waited: f64,
}

fn value(auto: Auto<u64>) -> u64 {
    if let Auto::Value(value) = auto { value.max(1) } else { 1 }
}

/// Steps of a run, those of a second stage included: a second stage is never longer than the first.
pub fn all_steps(steps: u64, second: Option<Second>) -> u64 {
    steps + second.map_or(0, |second| second.steps.min(steps))
}

/// The optimiser's numbers, and the norm at which gradients are cut, for each step of a run.
struct Rates<'a> {
    config: &'a TrainConfig,
    steps: u64,
    second: Option<Second>,
}

impl Rates<'_> {
    fn at(&self, step: u64) -> (ops::AdamW, f64) {
        let config = self.config;
        let Some(second) = self.second.filter(|_| step > self.steps) else {
            let (lr, weight_decay) = (config.lr_schedule(self.steps), config.weight_decay_schedule(self.steps));
            let hyper = ops::AdamW { lr: lr.at(step), weight_decay: weight_decay.at(step), ..config.adamw(step) };
            return (hyper, config.clip);
        };
        // Its own schedule, of the same form.
        let own = TrainConfig { lr: second.lr, ..config.clone() };
        let (step, steps) = (step - self.steps, second.steps.min(self.steps));
        let lr = own.lr_schedule(steps).at(step);
        (ops::AdamW { lr, weight_decay: second.weight_decay, ..own.adamw(step) }, second.clip)
    }
}

/// Runs a learner from where the folder's newest checkpoint stands (or from the start) to its last step.
///
/// Its untrained networks, [settled](settle), are what held-out latents are judged against. A sample that cannot be read
/// is an error after a checkpoint has been written: what has been learnt is not lost with it.
pub fn fit(learner: &mut dyn Learner, fit: &Fit<'_>, observer: &mut dyn LoopObserver) -> Result<Finished, TrainError> {
    let config = fit.config;
    let steps = value(config.steps);
    let second = learner.second();
    let all = all_steps(steps, second);
    let clock = |step: u64, health_due: bool| Clock { step, total: steps, batch: config.batch, health_due };

    if checkpoint_steps(fit.folder).last() == Some(&all) {
        learner.ended();
    }
    let (untrained, unreadable) = learner.measure(Which::Untrained, &clock(1, true))?;

    // From here on the order matters: what is read from a checkpoint replaces what is fresh, and files are cut back to
    // what the checkpoint vouches for before anything is appended.
    let instruction_set = ops::InstructionSet::current().map_err(TrainError::Setting)?.name().to_owned();
    let mut progress = Progress {
        step: 0,
        metrics_bytes: 0,
        timing_bytes: 0,
        effective_rank: untrained.sample.effective_rank,
        seconds: 0.0,
        skipped: Vec::new(),
        health_due: false,
        instruction_set: instruction_set.clone(),
        checksums: [0; 2],
    };
    if let Some(checkpoint) = Checkpoint::newest(fit.folder)? {
        progress = checkpoint.progress;
        if progress.step > all {
            return Err(TrainError::Setting(format!(
                "the newest checkpoint is of step {}, and `train.steps` asks for {steps}{}: put the number back that the run began with",
                progress.step,
                if all > steps { format!(" and {} more of the second stage", all - steps) } else { String::new() }
            )));
        }
        learner.load(Which::Trained, checkpoint.model)?;
        learner.load_moments(checkpoint.optimiser)?;
        observer.note(&format!("going on from step {} of {all}", progress.step));
        let began = std::mem::replace(&mut progress.instruction_set, instruction_set);
        if !began.is_empty() && began != progress.instruction_set {
            observer.note(&format!(
                "the steps before were computed with {began}, these are with {}: the run goes on, and its bits may differ from those of a run on one machine",
                progress.instruction_set
            ));
        }
    }
    let mut metrics = Lines::open(&fit.folder.metrics(), progress.metrics_bytes)?;
    let mut timing = Lines::open(&fit.folder.timing(), progress.timing_bytes)?;
    let mut events = EventWriter::create(fit.folder.events()).map_err(TrainError::io("write", &fit.folder.events()))?;
    let judges = |step: u64| config.judges(step, (steps, value(config.health_every)));
    let record = |learner: &dyn Learner, step: u64, measured: &Measured| -> Result<HealthRecord, TrainError> {
        let which = if step == 0 { Which::Untrained } else { Which::Trained };
        let lidar = if judges(step) || (step == 0 && config.takes_lidar()) {
            lidar_of(learner, which).map_err(without_lidar)?.map(|lidar| lidar.rank)
        } else {
            None
        };
        let left = learner.initial_teacher_left(step, &clock(1, false));
        Ok(HealthRecord {
            step,
            held_out_loss: measured.loss,
            lidar,
            health: Health::judge(measured, &untrained, left),
        })
    };
    // Once the first stage has ended the encoder stays as it is, and so does what is said of it.
    let judged = |step: u64| clock(step.clamp(1, steps), true);
    let mut health = record(learner, 0, &untrained)?;
    if progress.step == 0 {
        metrics.append(&serde_json::to_value(&health).expect("a record"))?;
    } else {
        let (measured, unread) = learner.measure(Which::Trained, &judged(progress.step))?;
        progress.skipped.extend(unread);
        health = record(learner, progress.step.min(steps), &measured)?;
        if std::mem::take(&mut progress.health_due) {
            metrics.append(&serde_json::to_value(&health).expect("a record"))?;
            progress.effective_rank = health.health.effective_rank;
        }
    }

    let threads = if let Auto::Value(threads) = config.loader_threads { threads } else { 1 };
    let mut loader = Loader::new(learner.feed()?, threads, AHEAD, progress.step + 1);
    let rates = Rates { config, steps, second };
    let (started, before, first) = (Instant::now(), progress.seconds, progress.step);
    // Unreadable samples by name, whichever session met them: what a resumed run reports is what a whole one reports.
    let mut skipped: BTreeSet<String> = unreadable.iter().chain(&progress.skipped).cloned().collect();
    if !skipped.is_empty() {
        observer.note(&format!("{} unreadable samples passed over so far", skipped.len()));
    }
    let mut met = 0;
    let mut stopped = false;
    let mut unread = None;
    let mut step = progress.step;
    while step < all {
        if fit.stop.load(Ordering::Relaxed) {
            stopped = true;
            break;
        }
        let batch = match loader.next() {
            Ok(batch) => batch,
            Err(error) => {
                unread = Some(error.into());
                break;
            }
        };
        step += 1;
        if step == all {
            learner.ended();
        }
        let (hyper, clip) = rates.at(step);
        let StepOutcome { loss, terms, gradient_norm } = learner.step(batch, &clock(step, false), hyper, clip)?;

        let elapsed = started.elapsed().as_secs_f64();
        let rate = (step - first) as f64 * config.batch as f64 / elapsed;
        let last = step == steps || step == all;
        let stage = second.filter(|_| step > steps);
        if step.is_multiple_of(value(config.log_every)) || last {
            let mut line = json!({ "step": step, "samples": step * config.batch as u64 });
            line[stage.map_or("loss", |stage| stage.name)] = json!(loss);
            for (name, term) in terms {
                line[name] = json!(f64::from(term.into_scalar::<f32>()));
            }
            line["lr"] = json!(hyper.lr);
            line["weight_decay"] = json!(hyper.weight_decay);
            line["gradient_norm"] = json!(gradient_norm);
            metrics.append(&line)?;
            timing.append(&json!({ "step": step, "seconds": before + elapsed, "samples_per_s": rate, "waited_s": loader.waited().as_secs_f64() }))?;
            let scalars = [("loss", loss), ("lr", hyper.lr), ("gradient_norm", gradient_norm), ("samples_per_s", rate)];
            write_events(&mut events, fit.folder, step, &scalars)?;
        }
        if stage.is_none() && (step.is_multiple_of(value(config.health_every)) || last) {
            let measured = match learner.measure(Which::Trained, &judged(step)) {
                Ok((measured, unreadable)) => {
                    skipped.extend(unreadable);
                    measured
                }
                Err(error @ TrainError::Data(_)) => {
                    progress.health_due = true;
                    unread = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            };
            health = record(learner, step, &measured)?;
            metrics.append(&serde_json::to_value(&health).expect("a record"))?;
            progress.effective_rank = health.health.effective_rank;
            let h = &health.health;
            let scalars = [
                ("held_out_loss", health.held_out_loss),
                ("rankme", h.rankme),
                ("effective_rank", h.effective_rank),
                ("cosine_mean", h.cosine_mean),
            ];
            write_events(&mut events, fit.folder, step, &scalars)?;
        }
        if loader.skipped() > met {
            met = loader.skipped();
            skipped.extend(loader.skipped_names());
            observer.note(&format!("{} unreadable samples passed over so far", skipped.len()));
        }
        observer.step(&StepReport {
            step,
            steps: all,
            loss,
            samples_per_s: rate,
            seconds_left: elapsed / (step - first) as f64 * (all - step) as f64,
            verdict: (health.step > 0).then_some(health.health.verdict),
        });
        stop_here(format_args!("{step}:step"));
        if stage.is_none() && config.keeps(step, steps) {
            keep_stage(fit.folder, step, &learner.state(Which::Trained))?;
        }
        if step.is_multiple_of(value(config.checkpoint_every)) || last {
            let skipped = skipped.iter().cloned().collect();
            let now = Progress { step, seconds: before + elapsed, skipped, ..progress };
            progress = save(learner, fit, &now, &mut metrics, &mut timing)?;
        }
    }
    let seconds = if step == first { before } else { before + started.elapsed().as_secs_f64() };
    skipped.extend(loader.skipped_names());
    if (stopped || unread.is_some()) && progress.step != step {
        let progress = Progress { step, seconds, skipped: skipped.iter().cloned().collect(), ..progress };
        save(learner, fit, &progress, &mut metrics, &mut timing)?;
    }
    events.flush().map_err(TrainError::io("write", &fit.folder.events()))?;
    if let Some(error) = unread {
        return Err(error);
    }
    let waited = loader.waited().as_secs_f64() / started.elapsed().as_secs_f64().max(1e-9);
    Ok(Finished { steps: step, stopped, seconds, health, skipped: skipped.into_iter().collect(), waited })
}

/// An error of LiDAR with what to do about it.
fn without_lidar(error: TrainError) -> TrainError {
    match error {
        TrainError::Setting(what) => {
            TrainError::Setting(format!("{what}: LiDAR takes that, so set `train.judge_every` to 0"))
        }
        other => other,
    }
}

fn write_events(
    events: &mut EventWriter,
    folder: &RunFolder,
    step: u64,
    scalars: &[(&str, f64)],
) -> Result<(), TrainError> {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    for (tag, value) in scalars {
        events.scalar(tag, step, *value, wall).map_err(TrainError::io("write", &folder.events()))?;
    }
    Ok(())
}

/// Batches that the loader makes ahead.
const AHEAD: usize = 4;

/// Seconds of a training step: the lower quartile of as many as fit into `limit` (at least three), after one that is
/// not counted; other work on the machine only ever adds. The learner is used up.
pub fn time_steps(learner: &mut dyn Learner, config: &TrainConfig, limit: Duration) -> Result<f64, TrainError> {
    let mut loader = Loader::new(learner.feed()?, 1, AHEAD, 1);
    let (mut times, begun) = (Vec::new(), Instant::now());
    for step in 1.. {
        let started = Instant::now();
        let clock = Clock { step, total: 1_000_000, batch: config.batch, health_due: false };
        // A rate so small that nothing can diverge.
        let hyper = ops::AdamW { lr: 1e-6, weight_decay: 0.0, ..config.adamw(step) };
        learner.step(loader.next()?, &clock, hyper, 1.0)?;
        if step > 1 {
            times.push(started.elapsed().as_secs_f64());
        }
        if times.len() >= 3 && begun.elapsed() > limit {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 4])
}

/// Lets the running averages of the untrained networks see data: without this, a network with batch normalisation would be
/// judged on statistics that belong to no input, and training would look better than it is. The folder keeps them, so that
/// the control can be had again without the data.
pub fn settle(learner: &mut dyn Learner, fit: &Fit<'_>) -> Result<(), TrainError> {
    const BATCHES: u64 = 30;
    if load_control(learner, fit.folder)? {
        return Ok(());
    }
    let fresh = learner.state(Which::Untrained);
    let mut loader = Loader::new(learner.feed()?, 1, 1, 1);
    for step in 1..=BATCHES {
        let clock = Clock { step, total: BATCHES, batch: fit.config.batch, health_due: false };
        if !learner.settle(loader.next()?, &clock)? {
            break;
        }
    }
    let moved: NamedTensors = learner
        .state(Which::Untrained)
        .into_iter()
        .filter(|(name, tensor)| fresh.get(name).is_none_or(|fresh| fresh != tensor))
        .collect();
    write_whole(&fit.folder.control(), &weights::to_bytes(&moved))
}

/// Reads the running averages of the untrained networks that [`settle`] kept; whether they were there.
pub fn load_control(learner: &mut dyn Learner, folder: &RunFolder) -> Result<bool, TrainError> {
    if !folder.control().is_file() {
        return Ok(false);
    }
    let mut state = learner.state(Which::Untrained);
    state.extend(weights::read_file(&folder.control())?);
    learner.load(Which::Untrained, state)?;
    Ok(true)
}

fn save(
    learner: &dyn Learner,
    fit: &Fit<'_>,
    progress: &Progress,
    metrics: &mut Lines,
    timing: &mut Lines,
) -> Result<Progress, TrainError> {
    let progress = Progress { metrics_bytes: metrics.sync()?, timing_bytes: timing.sync()?, ..progress.clone() };
    Checkpoint::write(fit.folder, progress.clone(), &learner.state(Which::Trained), &learner.moments())?;
    Ok(progress)
}
