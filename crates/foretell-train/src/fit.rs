//! The loop: written once, for every system.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use foretell_data::{Demand, HeldOutDemand, Loader, Material};
use foretell_eval::{Features, Statistics};
use foretell_jepa::{Auto, Clock, Latents, Objective};
use foretell_nn::Encode;
use foretell_ops as ops;
use serde_json::json;

use crate::checkpoint::{Checkpoint, Progress};
use crate::config::TrainConfig;
use crate::events::EventWriter;
use crate::folder::{Lines, RunFolder};
use crate::health::{Health, HealthRecord, Probe};
use crate::optimiser::Optimiser;
use crate::{TrainError, stop_here};

/// What the loop works on besides the objective.
pub struct Fit<'a, S> {
    /// Where the run is kept.
    pub folder: &'a RunFolder,
    /// Resolved settings.
    pub config: &'a TrainConfig,
    /// What is learnt from and judged on.
    pub material: &'a dyn Material<Sample = S>,
    /// Of the run.
    pub seed: u64,
    /// Where the networks lie, without autodiff.
    pub device: Device,
    /// Share of the random initial teacher left after a number of steps, where there is a teacher.
    pub initial_teacher_left: Option<&'a dyn Fn(u64) -> f64>,
    /// Set from outside (Ctrl-C): save and stop.
    pub stop: &'a AtomicBool,
}

/// What the loop tells while it runs.
#[derive(Clone, Debug)]
pub struct Report {
    /// Steps taken.
    pub step: u64,
    /// All steps.
    pub steps: u64,
    /// Loss of this step.
    pub loss: f64,
    /// Samples a second since the start of this session.
    pub images_per_s: f64,
    /// Seconds to go.
    pub seconds_left: f64,
    /// The last judgement.
    pub verdict: Option<crate::Verdict>,
}

/// Watches a run.
pub trait Observer {
    /// After each step.
    fn step(&mut self, report: &Report);
    /// A line worth reading.
    fn note(&mut self, line: &str);
}

/// A run that ended, by itself or because it was stopped.
pub struct Finished<O> {
    /// The objective as it ended.
    pub objective: O,
    /// Steps taken.
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

/// Held-out observations that health looks at.
const HELD_OUT: usize = 1024;
/// Observations that go through an encoder at a time.
const CHUNK: usize = 64;
/// The step whose randomness the held-out batch uses: no training step has this number.
const HELD_OUT_STEP: u64 = u64::MAX / 2;

/// Runs the objective from where the folder's newest checkpoint stands (or from the start) to its last step.
///
/// `untrained` is the same network before any step, [settled](settle): what held-out latents are judged against.
pub fn fit<O: Objective>(
    objective: O,
    untrained: &O,
    fit: &Fit<'_, O::Sample>,
    observer: &mut dyn Observer,
) -> Result<Finished<O>, TrainError> {
    let value = |auto: Auto<u64>| if let Auto::Value(value) = auto { value.max(1) } else { 1 };
    let config = fit.config;
    let steps = value(config.steps);
    let clock = |step: u64, health_due: bool| Clock { step, total: steps, batch: config.batch, health_due };

    let held_out = HeldOut::gather(&objective, fit)?;
    let untrained = held_out.probe(untrained, fit, clock(1, true))?;

    // From here on the order matters: what is read from a checkpoint replaces what is fresh, and files are cut back to
    // what the checkpoint vouches for before anything is appended.
    let mut objective = objective;
    let mut optimiser = Optimiser::default();
    let mut progress = Progress {
        step: 0,
        metrics_bytes: 0,
        timing_bytes: 0,
        effective_rank: untrained.image.effective_rank,
        seconds: 0.0,
        skipped: Vec::new(),
        checksums: [0; 2],
    };
    if let Some(checkpoint) = Checkpoint::newest(fit.folder)? {
        progress = checkpoint.progress;
        objective = objective.with_state(checkpoint.model)?;
        optimiser = Optimiser::with_state(objective.trained(), checkpoint.optimiser)?;
        observer.note(&format!("going on from step {} of {steps}", progress.step));
    }
    let mut metrics = Lines::open(&fit.folder.metrics(), progress.metrics_bytes)?;
    let mut timing = Lines::open(&fit.folder.timing(), progress.timing_bytes)?;
    let mut events = EventWriter::create(fit.folder.events()).map_err(TrainError::io("write", &fit.folder.events()))?;
    let left = |step: u64| fit.initial_teacher_left.map(|left| left(step));
    let record = |step: u64, probe: &Probe| HealthRecord {
        step,
        held_out_loss: probe.loss,
        health: Health::judge(probe, &untrained, left(step)),
    };
    let mut health = record(progress.step, &untrained);
    if progress.step == 0 {
        metrics.append(&serde_json::to_value(&health).expect("a record"))?;
    } else {
        health = record(progress.step, &held_out.probe(&objective, fit, clock(progress.step, true))?);
    }

    let threads = if let Auto::Value(threads) = config.loader_threads { threads } else { 1 };
    let source = fit.material.training(&Demand { cache_bytes: 1 << 30, ..demand(&objective, config, fit.seed) })?;
    let mut loader = Loader::new(source, objective.collator(), threads, AHEAD, progress.step + 1);
    let lr = config.lr_schedule(steps);
    let weight_decay = config.weight_decay_schedule(steps);
    let (started, before, first) = (Instant::now(), progress.seconds, progress.step);
    // Unreadable samples by name, whichever session met them: what a resumed run reports is what a whole one reports.
    let mut skipped: BTreeSet<String> = held_out.skipped.iter().chain(&progress.skipped).cloned().collect();
    if !skipped.is_empty() {
        observer.note(&format!("{} unreadable images passed over so far", skipped.len()));
    }
    let mut met = 0;
    let mut stopped = false;
    let mut step = progress.step;
    while step < steps {
        if fit.stop.load(Ordering::Relaxed) {
            stopped = true;
            break;
        }
        step += 1;
        let hyper = ops::AdamW { lr: lr.at(step), weight_decay: weight_decay.at(step), ..config.adamw(step) };
        let taken = take_step(objective, &mut optimiser, &loader.next()?, &clock(step, false), config.clip, hyper)?;
        let Taken { loss, terms, gradient_norm } = taken.1;
        objective = taken.0;

        let elapsed = started.elapsed().as_secs_f64();
        if step.is_multiple_of(value(config.log_every)) || step == steps {
            let mut line = json!({ "step": step, "samples": step * config.batch as u64, "loss": loss });
            for (name, term) in terms {
                line[name] = json!(f64::from(term.into_scalar::<f32>()));
            }
            line["lr"] = json!(hyper.lr);
            line["weight_decay"] = json!(hyper.weight_decay);
            line["gradient_norm"] = json!(gradient_norm);
            metrics.append(&line)?;
            let rate = (step - first) as f64 * config.batch as f64 / elapsed;
            timing.append(&json!({ "step": step, "seconds": before + elapsed, "images_per_s": rate, "waited_s": loader.waited().as_secs_f64() }))?;
            let wall =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
            for (tag, value) in
                [("loss", loss), ("lr", hyper.lr), ("gradient_norm", gradient_norm), ("images_per_s", rate)]
            {
                events.scalar(tag, step, value, wall).map_err(TrainError::io("write", &fit.folder.events()))?;
            }
        }
        if step.is_multiple_of(value(config.health_every)) || step == steps {
            health = record(step, &held_out.probe(&objective, fit, clock(step, true))?);
            metrics.append(&serde_json::to_value(&health).expect("a record"))?;
            progress.effective_rank = health.health.effective_rank;
            let wall =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
            let h = &health.health;
            for (tag, value) in [
                ("held_out_loss", health.held_out_loss),
                ("rankme", h.rankme),
                ("effective_rank", h.effective_rank),
                ("cosine_mean", h.cosine_mean),
            ] {
                events.scalar(tag, step, value, wall).map_err(TrainError::io("write", &fit.folder.events()))?;
            }
        }
        if loader.skipped() > met {
            met = loader.skipped();
            skipped.extend(loader.skipped_names());
            observer.note(&format!("{} unreadable images passed over so far", skipped.len()));
        }
        observer.step(&Report {
            step,
            steps,
            loss,
            images_per_s: (step - first) as f64 * config.batch as f64 / elapsed,
            seconds_left: elapsed / (step - first) as f64 * (steps - step) as f64,
            verdict: (health.step > 0).then_some(health.health.verdict),
        });
        stop_here(format_args!("{step}:step"));
        if step.is_multiple_of(value(config.checkpoint_every)) || step == steps {
            progress = save(
                &objective,
                &optimiser,
                fit,
                &Progress { step, seconds: before + elapsed, skipped: skipped.iter().cloned().collect(), ..progress },
                &mut metrics,
                &mut timing,
            )?;
        }
    }
    let seconds = if step == first { before } else { before + started.elapsed().as_secs_f64() };
    if stopped && progress.step != step {
        let progress = Progress { step, seconds, skipped: skipped.iter().cloned().collect(), ..progress };
        save(&objective, &optimiser, fit, &progress, &mut metrics, &mut timing)?;
    }
    events.flush().map_err(TrainError::io("write", &fit.folder.events()))?;
    let waited = loader.waited().as_secs_f64() / started.elapsed().as_secs_f64().max(1e-9);
    let skipped = loader.skipped_names().into_iter().chain(held_out.skipped).collect();
    Ok(Finished { objective, steps: step, stopped, seconds, health, skipped, waited })
}

/// What a step found.
pub struct Taken {
    /// Finite.
    pub loss: f64,
    /// Its named terms, scalars `[1]`, untracked.
    pub terms: Vec<(&'static str, Tensor<1>)>,
    /// Global norm before clipping.
    pub gradient_norm: f64,
}

/// One optimiser step.
pub fn take_step<O: Objective>(
    objective: O,
    optimiser: &mut Optimiser,
    batch: &O::Batch,
    clock: &Clock,
    clip: f64,
    hyper: ops::AdamW,
) -> Result<(O, Taken), TrainError> {
    let outcome = objective.loss(batch, clock);
    let loss = f64::from(outcome.loss.clone().into_scalar::<f32>());
    if !loss.is_finite() {
        return Err(TrainError::Diverged { step: clock.step, value: loss });
    }
    let gradients = outcome.loss.backward();
    let mut gradient_norm = 0.0;
    let objective = objective.update(clock, |networks, average| {
        let (networks, length) = optimiser.step(networks, average, gradients, clip, hyper);
        gradient_norm = length;
        networks
    });
    Ok((objective.advance(&outcome.seen), Taken { loss, terms: outcome.terms, gradient_norm }))
}

/// Batches that the loader makes ahead.
const AHEAD: usize = 4;

/// Samples for training, nothing kept.
fn demand<O: Objective>(objective: &O, config: &TrainConfig, seed: u64) -> Demand {
    Demand { batch: config.batch, seed, image: objective.encoder().image(), cache_bytes: 0 }
}

/// Seconds of a training step: the lower quartile of as many as fit into `limit` (at least three), after one that is
/// not counted; other work on the machine only ever adds. The objective is used up.
pub fn time_steps<O: Objective>(
    mut objective: O,
    material: &dyn Material<Sample = O::Sample>,
    config: &TrainConfig,
    seed: u64,
    limit: Duration,
) -> Result<f64, TrainError> {
    let source = material.training(&demand(&objective, config, seed))?;
    let mut loader = Loader::new(source, objective.collator(), 1, AHEAD, 1);
    let mut optimiser = Optimiser::default();
    let (mut times, begun) = (Vec::new(), Instant::now());
    for step in 1.. {
        let started = Instant::now();
        let clock = Clock { step, total: 1_000_000, batch: config.batch, health_due: false };
        // A rate so small that nothing can diverge.
        let hyper = ops::AdamW { lr: 1e-6, weight_decay: 0.0, ..config.adamw(step) };
        (objective, _) = take_step(objective, &mut optimiser, &loader.next()?, &clock, 1.0, hyper)?;
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

/// An untrained objective whose running averages have seen data: without this, a network with batch normalisation
/// would be judged on statistics that belong to no input, and training would look better than it is.
pub fn settle<O: Objective>(mut objective: O, fit: &Fit<'_, O::Sample>) -> Result<O, TrainError> {
    const BATCHES: u64 = 30;
    let source = fit.material.training(&demand(&objective, fit.config, fit.seed))?;
    let mut loader = Loader::new(source, objective.collator(), 1, 1, 1);
    // Without gradients: a tape that no backward pass consumes would keep every activation.
    let clock = |step| Clock { step, total: BATCHES, batch: fit.config.batch, health_due: false };
    objective = objective.update(&clock(1), |networks, _| networks.valid());
    for step in 1..=BATCHES {
        let outcome = objective.loss(&loader.next()?, &clock(step));
        if outcome.seen.is_empty() {
            break;
        }
        objective = objective.advance(&outcome.seen);
    }
    Ok(objective)
}

fn save<O: Objective>(
    objective: &O,
    optimiser: &Optimiser,
    fit: &Fit<'_, O::Sample>,
    progress: &Progress,
    metrics: &mut Lines,
    timing: &mut Lines,
) -> Result<Progress, TrainError> {
    let progress = Progress { metrics_bytes: metrics.sync()?, timing_bytes: timing.sync()?, ..progress.clone() };
    Checkpoint::write(fit.folder, progress.clone(), &objective.state(), &optimiser.state(objective.trained()))?;
    Ok(progress)
}

/// Held-out observations, and one batch as the objective sees it.
struct HeldOut<B> {
    /// `[n, C, H, W]`, normalised.
    observations: Vec<f32>,
    count: usize,
    batch: B,
    /// Names of held-out samples that could not be read.
    skipped: Vec<String>,
}

impl<B: Send + 'static> HeldOut<B> {
    fn gather<O: Objective<Batch = B>>(objective: &O, fit: &Fit<'_, O::Sample>) -> Result<Self, TrainError> {
        let image = objective.encoder().image();
        let demand = HeldOutDemand { image, observations: HELD_OUT, samples: 2 * CHUNK };
        let held_out = fit.material.held_out(&demand)?;
        let batch = objective.collator().collate(HELD_OUT_STEP, &held_out.samples)?;
        let foretell_data::HeldOut { observations, count, skipped, .. } = held_out;
        Ok(Self { observations, count, batch, skipped })
    }

    fn probe<O: Objective<Batch = B>>(
        &self,
        objective: &O,
        fit: &Fit<'_, O::Sample>,
        clock: Clock,
    ) -> Result<Probe, TrainError> {
        let encoder = objective.encoder();
        let (image, token) = features_of(encoder.as_ref(), &self.observations, self.count, &fit.device)?;
        let outcome = objective.loss(&self.batch, &clock);
        let loss = f64::from(outcome.loss.clone().inner().into_scalar::<f32>());
        if outcome.loss.is_tracked() {
            // The tape keeps every activation until a backward pass consumes it.
            drop(outcome.loss.backward());
        }
        let matrix = |tensor: Tensor<2>| {
            let [rows, dim] = tensor.dims();
            Features::new(rows, dim, ops::values(tensor)).map(|features| thin(&features))
        };
        let Some(Latents { predictions, targets }) = outcome.latents else {
            return Err(TrainError::Setting("the objective gave no latents when they were due".to_owned()));
        };
        Ok(Probe {
            image: Statistics::of(&image)?,
            token: Statistics::of(&thin(&token))?,
            prediction: Statistics::of(&matrix(predictions)?)?,
            target: Statistics::of(&matrix(targets)?)?,
            loss,
            teacher_distance: objective.teacher_distance(),
        })
    }
}

/// At most 2048 rows, evenly spread: enough for a spectrum, cheap enough to look often.
fn thin(features: &Features) -> Features {
    const MOST: usize = 2048;
    if features.rows <= MOST {
        return features.clone();
    }
    features.select(&(0..MOST).map(|i| i * features.rows / MOST).collect::<Vec<_>>())
}

/// Features `[n, D]` and tokens `[n·N, D]` of normalised observations `[n, C, H, W]`.
pub fn features_of(
    encoder: &dyn Encode,
    observations: &[f32],
    count: usize,
    device: &Device,
) -> Result<(Features, Features), TrainError> {
    let ((height, width), channels) = (encoder.image(), encoder.channels());
    let values = (channels * height * width).max(1);
    let (mut image, mut token) = (Vec::new(), Vec::new());
    for chunk in observations.chunks(CHUNK * values) {
        let n = chunk.len() / values;
        let batch = Tensor::<4>::from_data(TensorData::new(chunk.to_vec(), [n, channels, height, width]), device);
        let map = encoder.tokens(batch);
        image.extend(ops::values(encoder.pool(&map)));
        token.extend(ops::values(map.tokens));
    }
    let dim = image.len() / count.max(1);
    Ok((
        Features::new(count, dim, image)?,
        Features::new(token.len() / encoder.width().max(1), encoder.width(), token)?,
    ))
}
