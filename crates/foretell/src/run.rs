//! A run from its recipe to its report: the same for every system and every kind of data.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use burn::tensor::Device;
use foretell_data::{DataError, Decision};
use foretell_jepa::Auto;
use foretell_nn::weights;
use foretell_systems::{Member, Session, recipe};
use foretell_train::{
    Finished, Fit, Learner, LoopObserver, RunFolder, TrainError, Which, all_steps, checkpoint_steps, fit, settle,
    time_steps, write_whole,
};
use toml::{Table, Value};

use crate::Error;
use crate::account::{data_facts, facts, read_decisions, trained, write_decisions, write_report};
use crate::device::described;
use crate::findings::{RUN, RunFindings};
use crate::kept::{of_run, steps};
use crate::output::{skipped_line, word};
use crate::progress::clock;
use crate::summary::Summary;
use crate::unreadable::{Lost, keep, list, reopen};

/// More than any run takes, and far inside what TOML can write.
pub const MOST_STEPS: u64 = 1_000_000_000_000;
/// Runs at least so long are timed before they begin, to say how long they will take.
const WORTH_TIMING: u64 = 200;
/// Judgements and checkpoints take the rest of the time.
const TRAINING_SHARE: f64 = 0.95;
/// Minutes of training if nothing is said.
const MINUTES: f64 = 10.0;

/// Where a run computes, who watches it, and what stops it.
pub struct Conduct<'a> {
    /// Without autodiff.
    pub device: Device,
    /// Is told what happens.
    pub observer: &'a mut dyn LoopObserver,
    /// Set from outside: save and stop.
    pub stop: &'a AtomicBool,
}

/// A run that is about to begin or to go on.
pub(crate) struct Prepared {
    session: Box<dyn Session>,
    learner: Box<dyn Learner>,
    /// Minutes that training should take, where that is known.
    expected_minutes: Option<f64>,
    /// Where it has begun before: samples that its data have lost since.
    lost: Option<Lost>,
}

/// Begins a run. `None` if it was stopped.
pub fn start(
    member: &dyn Member,
    recipe: Table,
    out: Option<PathBuf>,
    mut conduct: Conduct<'_>,
) -> Result<(RunFolder, Option<Summary>), Error> {
    if let Some(out) = &out {
        RunFolder::check_free(out)?;
    }
    let mut session = member.open(located(member, recipe)?, &conduct.device, true)?;
    let out = out.unwrap_or_else(|| free_folder(session.as_ref()));
    RunFolder::check_free(&out)?;
    let (steps, expected_minutes) = choose_steps(session.as_mut())?;
    // Built before anything is written: a setting that does not fit leaves no folder behind.
    let learner = session.learner(steps)?;
    let existed = out.exists();
    let config = toml::to_string(&session.recipe()).map_err(|error| Error::Failure(error.to_string()))?;
    let folder = RunFolder::create(&out, &config)?;
    let result = write_decisions(&folder, session.decisions())
        .and_then(|()| list(&folder, session.as_ref()))
        .and_then(|()| carry_out(&folder, Prepared { session, learner, expected_minutes, lost: None }, &mut conduct));
    if result.as_ref().is_err_and(|error| error.exit_code() == 2) && !foretell_train::has_checkpoint(&folder) {
        // Bad input leaves nothing half-written. The folder holds what this call put there, and no checkpoint.
        let _ = std::fs::remove_dir_all(&out);
        if existed {
            let _ = std::fs::create_dir(&out);
        }
    }
    Ok((folder, result?))
}

/// Goes on with a run. `None` if it was stopped.
pub fn resume(
    folder: &RunFolder,
    member: &dyn Member,
    recipe: Table,
    mut conduct: Conduct<'_>,
) -> Result<Option<Summary>, Error> {
    let prepared = again(folder, member, recipe, &conduct.device)?;
    if let Some(line) = prepared.lost.as_ref().and_then(|lost| lost.line(prepared.session.unit())) {
        conduct.observer.note(&line);
    }
    if !foretell_train::has_checkpoint(folder) {
        let path = folder.path().display();
        conduct.observer.note(&format!("{path} has no checkpoint yet: starting again from its stored config"));
    }
    carry_out(folder, prepared, &mut conduct)
}

/// Opens a run again and keeps in its config what has changed since: where its data lie, and what becomes of samples that
/// cannot be read.
pub(crate) fn again(
    folder: &RunFolder,
    member: &dyn Member,
    recipe: Table,
    device: &Device,
) -> Result<Prepared, Error> {
    let (_, before) = of_run(folder)?;
    let stays = recipe::get(&before, "data.path") == recipe::get(&recipe, "data.path");
    let (mut session, lost) = reopen(folder, member, located(member, recipe)?, device).map_err(|error| match error {
        Error::Data(DataError::Missing { path }) if stays => Error::Misuse(format!(
            "there is nothing at `{}`, where the data of this run lay: put them back, or say where they are now with `foretell train --resume {} --data PATH`",
            path.display(),
            word(folder.path())
        )),
        other => other,
    })?;
    if !folder.samples().exists() {
        list(folder, session.as_ref())?;
    }
    let mut learner = session.learner(steps(session.as_ref())?)?;
    learner.lose(lost.places.clone());
    let now = session.recipe();
    let changed = |key: &String| recipe::get(&before, key) != recipe::get(&now, key);
    let kept = ["data.on_bad_sample", "data.fingerprint"].map(str::to_owned);
    if member.paths().iter().chain(&kept).any(changed) {
        let config = toml::to_string(&now).map_err(|error| Error::Failure(error.to_string()))?;
        write_whole(&folder.config(), config.as_bytes())?;
    }
    Ok(Prepared { session, learner, expected_minutes: None, lost: Some(lost) })
}

/// A recipe whose data are found from any folder.
fn located(member: &dyn Member, mut recipe: Table) -> Result<Table, Error> {
    for key in member.paths() {
        let Some(Value::String(path)) = recipe::get(&recipe, &key) else { continue };
        let whole = std::path::absolute(path).ok().and_then(|path| path.to_str().map(str::to_owned));
        if let Some(whole) = whole.filter(|whole| !path.is_empty() && Path::new(whole).is_absolute()) {
            recipe::set(&mut recipe, &key, Value::String(whole))?;
        }
    }
    Ok(recipe)
}

/// Steps as asked, or as is known to be good for the data, or from minutes after a calibration; and minutes, where known.
fn choose_steps(session: &mut dyn Session) -> Result<(u64, Option<f64>), Error> {
    let (minutes, epochs) = session.asked();
    let batch = session.train().batch as f64;
    let asked = match (session.train().steps, session.train_len()) {
        (Auto::Value(steps), _) => Some(steps as f64),
        (Auto::Auto, Some(len)) if epochs > 0.0 => Some(epochs * len as f64 / batch),
        (Auto::Auto, None) if epochs > 0.0 => {
            return Err(Error::Misuse(format!(
                "`epochs` is {epochs}, and {} are generated without end: set `train.steps` or `minutes`",
                session.unit().many
            )));
        }
        _ if minutes > 0.0 => None,
        _ => session.usual_steps().map(|steps| steps as f64),
    };
    let most = MOST_STEPS as f64;
    if let Some(steps) = asked {
        let steps = steps.ceil().clamp(1.0, most) as u64;
        let expected = (steps >= WORTH_TIMING)
            .then(|| seconds_a_step(session, Duration::ZERO))
            .transpose()?
            .map(|step| steps as f64 * step / 60.0 / TRAINING_SHARE);
        return Ok((steps, expected));
    }
    let minutes = if minutes > 0.0 { minutes } else { MINUTES };
    let step = seconds_a_step(session, Duration::from_secs(6))?;
    let steps = (TRAINING_SHARE * minutes * 60.0 / step).floor().clamp(1.0, most) as u64;
    session.decisions().push(Decision {
        what: "train.steps".to_owned(),
        value: steps.to_string(),
        reason: format!("{minutes} minutes at {:.0} ms a step, measured just now", step * 1e3),
    });
    session.set_minutes(minutes);
    Ok((steps, Some(minutes)))
}

fn seconds_a_step(session: &dyn Session, limit: Duration) -> Result<f64, Error> {
    Ok(time_steps(session.trial()?.as_mut(), session.train(), limit)?)
}

/// `runs/SYSTEM-SOURCE-N` with the first N that is free.
fn free_folder(session: &dyn Session) -> PathBuf {
    let (system, source) = (session.row().name, short(&session.source()));
    let place = |n: u32| PathBuf::from(format!("runs/{system}-{source}-{n}"));
    (1..u32::MAX).map(place).find(|p| !p.exists()).unwrap_or_else(|| place(0))
}

/// What is learnt from, in a word.
fn short(source: &str) -> String {
    let stem = std::path::Path::new(source).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    stem.unwrap_or_default().replace("built-in ", "")
}

/// Trains, judges and reports.
fn carry_out(folder: &RunFolder, prepared: Prepared, conduct: &mut Conduct<'_>) -> Result<Option<Summary>, Error> {
    let Conduct { device, observer, stop } = conduct;
    for line in header(folder, &prepared, device) {
        observer.note(&line);
    }
    let Prepared { session, mut learner, lost, .. } = prepared;
    let (config, unit) = (session.train().clone(), session.unit());
    let all = all_steps(steps(session.as_ref())?, learner.second());
    let fitting = Fit { folder, config: &config, stop };
    let trained: Result<Finished, TrainError> =
        settle(learner.as_mut(), &fitting).and_then(|()| fit(learner.as_mut(), &fitting, &mut **observer));
    let begun = lost.is_some();
    let lost = lost.unwrap_or_default();
    let finished = match trained {
        Err(TrainError::Data(DataError::BadSample { name, source }))
            if begun || foretell_train::has_checkpoint(folder) =>
        {
            keep(folder, std::iter::once(&name))?;
            return Err(saved(folder, all, &source));
        }
        trained => trained?,
    };
    keep(folder, finished.skipped.iter())?;
    if finished.stopped {
        let place = match finished.steps {
            0 => "before the first step".to_owned(),
            step => format!("at step {step} of {all} and saved"),
        };
        observer.note(&format!("stopped {place}. Go on with: foretell train --resume {}", word(folder.path())));
        return Ok(None);
    }
    write_whole(&folder.encoder(), &weights::to_bytes(&learner.encoder_state()))?;
    let keeps = session.keeps_model(learner.as_ref())? || session.keeps_more(learner.as_ref())?;
    if keeps || session.learnt(learner.as_ref())?.is_some() {
        write_whole(&folder.model(), &weights::to_bytes(&learner.state(Which::Trained)))?;
    }
    let judged = session.judge(learner.as_ref()).map_err(|error| match Error::from(error) {
        Error::Data(error) | Error::Train(TrainError::Data(error)) => Error::Misuse(format!(
            "{error} (the training has ended and is kept: `foretell train --resume {}` evaluates it)",
            word(folder.path())
        )),
        other => other,
    })?;
    keep(folder, judged.skipped.iter())?;
    let skipped: BTreeSet<String> =
        finished.skipped.into_iter().chain(judged.skipped).chain(lost.names.iter().cloned()).collect();
    let skipped: Vec<String> = skipped.into_iter().collect();
    if let Some(line) = skipped_line(&skipped, unit) {
        observer.note(&line);
    }
    let summary = Summary {
        system: session.row().name.to_owned(),
        data: session.source(),
        seed: session.seed(),
        steps: steps(session.as_ref())?,
        seconds: finished.seconds,
        samples_per_s: finished.steps as f64 * config.batch as f64 / finished.seconds.max(1e-9),
        parameters: learner.parameters(),
        waited_share: finished.waited,
        skipped,
        health: finished.health.health,
        figures: foretell_eval::records(&judged.findings),
    };
    let found = RunFindings {
        title: format!("{} on {}", session.row().title, short(&session.source())),
        samples: unit.many.to_owned(),
        facts: facts(session.as_ref(), &summary, &described(device, session.threads())),
        next: next(session.as_ref(), learner.as_ref())?,
        findings: judged.findings,
    };
    // A run with a summary is finished, so that comes after all that cannot be made again from the folder.
    found.write(folder)?;
    summary.write(folder)?;
    write_report(folder)?;
    Ok(Some(summary))
}

/// The error of a sample that cannot be read where a run can go on, and how.
fn saved(folder: &RunFolder, all: u64, source: &DataError) -> Error {
    let run = word(folder.path());
    let place = match checkpoint_steps(folder).last() {
        Some(step) => format!("the run is saved at step {step} of {all}"),
        None => "the run stands before its first step".to_owned(),
    };
    Error::Misuse(format!(
        "{source} ({place}: when that is done go on with `foretell train --resume {run}`, or leave such samples out with `foretell train --resume {run} --on-bad-sample skip`)"
    ))
}

/// What one may do next: label → command.
fn next(session: &dyn Session, learner: &dyn Learner) -> Result<Vec<(String, String)>, Error> {
    let many = session.unit().many.to_uppercase();
    let acts = session.learnt(learner)?.is_some();
    let model = session.keeps_model(learner)?;
    let own: &[(&str, String)] = if acts {
        &[
            ("held-out episodes that it plays, beside controls", format!("foretell plan {RUN} --episodes 100")),
            ("one of them as a moving picture", format!("foretell play {RUN}")),
        ]
    } else if model {
        &[("a world to act in", format!("foretell train {} --world two-rooms", session.row().name))]
    } else {
        &[
            ("features of your own", format!("foretell embed {RUN} {many}… --out features.npz")),
            ("what the features know of other labels", format!("foretell probe {RUN} --data LABELLED")),
        ]
    };
    let predictor = session.keeps_predictor(learner)?;
    let taught =
        predictor.then(|| ("what its predictor learns from labels", format!("foretell probe {RUN} --probe predictor")));
    let all = [
        ("what this run holds", format!("foretell inspect {RUN}")),
        ("the same with another seed", format!("foretell train {RUN}/config.toml --seed 1")),
    ];
    Ok(own.iter().cloned().chain(taught).chain(all).map(|(label, command)| (label.to_owned(), command)).collect())
}

/// What will happen, before it does: a line each.
fn header(folder: &RunFolder, prepared: &Prepared, device: &Device) -> Vec<String> {
    let Prepared { session, learner, expected_minutes, .. } = prepared;
    let description = session.description();
    let format = description.as_ref().map(|data| format!(" ({})", data.format)).unwrap_or_default();
    let mut lines = vec![format!("{} on {}{format}", session.row().title, session.source())];
    let mut facts = data_facts(session.as_ref());
    let mut fact = |label: &str, value: String| facts.push((label.to_owned(), value));
    if let Some(minutes) = expected_minutes {
        fact("expected", format!("{}, and the evaluation at the end", clock(60.0 * minutes)));
    }
    fact("parameters", trained(learner.parameters()));
    fact("device", described(device, session.threads()));
    fact("run", folder.path().display().to_string());
    let widest = facts.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    lines.extend(facts.into_iter().map(|(label, value)| format!("  {label:<widest$}  {value}")));
    let decisions: Vec<Decision> = read_decisions(folder);
    lines.extend(decisions.into_iter().map(|Decision { what, value, reason }| format!("  {what} = {value}: {reason}")));
    let many = session.unit().many;
    let few = match description.filter(|data| data.train > 0).map(|data| data.held_out) {
        Some(0) => Some(format!("no {many} are held out to measure health on")),
        Some(1) => Some(format!("one {} is held out, too few to measure health on", session.unit().one)),
        _ => None,
    };
    lines.extend(few.map(|few| format!("  {few}: it is measured on the {many} to train on")));
    lines
}
