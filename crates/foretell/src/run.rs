//! A run from its first step, or its last checkpoint, to its report: the same over images and over a world.

use std::collections::BTreeSet;

use burn::module::Module;
use foretell_jepa::{Decision, Objective};
use foretell_nn::weights;
use foretell_train::{RunFolder, fit, settle, write_whole};

use crate::Error;
use crate::account::{facts, write_report};
use crate::device::described;
use crate::findings::RunFindings;
use crate::output::{say, say_skipped};
use crate::progress::{Progress, clock};
use crate::session::{Concluded, Evaluated, Session, Subject};
use crate::summary::Summary;

/// Puts the objective and its untrained control together, and runs them. `None` if the run was stopped.
pub fn begin<S: Subject>(folder: &RunFolder, session: &Session<S>) -> Result<Option<Summary>, Error> {
    let steps = session.recipe.steps()?;
    S::run(session, [S::objective(session, steps)?, S::objective(session, steps)?], folder)
}

/// Trains an objective, judges it and reports.
pub fn run<S: Subject, O: Concluded<S>>(
    objective: O,
    untrained: O,
    folder: &RunFolder,
    session: &Session<S>,
) -> Result<Option<Summary>, Error> {
    let recipe = &session.recipe;
    let steps = recipe.steps()?;
    header(folder, session, &objective)?;
    let left = S::teacher_left(recipe, steps);
    let material = S::material(session);
    let fitting = session.fit(folder, material.as_ref(), left.as_deref());
    let untrained = settle(untrained, &fitting)?;
    let finished = fit(objective, &untrained, &fitting, &mut Progress::new(steps, "step", S::SAMPLES))?;
    let stopped = |where_: &str| {
        say(format_args!("stopped {where_}. Go on with: foretell train --resume {}", folder.path().display()));
    };
    if finished.stopped {
        match finished.steps {
            0 => stopped("before the first step"),
            step => stopped(&format!("at step {step} of {steps} and saved")),
        }
        return Ok(None);
    }
    let objective = &finished.objective;
    write_whole(&folder.encoder(), &weights::to_bytes(&objective.encoder_state()))?;
    let Some(Evaluated { findings, skipped: unreadable }) = objective.conclude(&untrained, session, folder)? else {
        stopped("after training, before the evaluation was finished");
        return Ok(None);
    };
    let skipped: BTreeSet<String> = finished.skipped.into_iter().chain(unreadable).collect();
    let skipped: Vec<String> = skipped.into_iter().collect();
    say_skipped(&skipped);
    let summary = Summary {
        system: recipe.over.system().to_owned(),
        data: recipe.over.source().to_owned(),
        seed: recipe.seed,
        steps: finished.steps,
        seconds: finished.seconds,
        samples_per_s: finished.steps as f64 * recipe.train.batch as f64 / finished.seconds.max(1e-9),
        parameters: parameters(objective),
        waited_share: finished.waited,
        skipped,
        health: finished.health.health,
        figures: foretell_eval::records(&findings),
    };
    let found = RunFindings {
        title: format!("{} on {}", recipe.over.title(), recipe.over.short_source()),
        samples: S::SAMPLES.to_owned(),
        facts: facts(session, &summary)?,
        findings,
        next: S::next(session),
    };
    // A run with a summary is finished, so that comes after all that cannot be made again from the folder.
    found.write(folder)?;
    summary.write(folder)?;
    write_report(folder)?;
    Ok(Some(summary))
}

fn parameters<O: Objective>(objective: &O) -> usize {
    objective.trained().num_params()
}

/// What will happen, before it does.
fn header<S: Subject, O: Objective>(folder: &RunFolder, session: &Session<S>, objective: &O) -> Result<(), Error> {
    let over = &session.recipe.over;
    say(format_args!("{} on {} ({})", over.title(), over.source(), S::format(session)));
    let line = |label: &str, value: String| say(format_args!("  {label:<10}  {value}"));
    for (label, value) in S::facts(session)? {
        line(label, value);
    }
    if let Some(minutes) = session.expected_minutes {
        line("expected", format!("{}, and the judgement at the end", clock(60.0 * minutes)));
    }
    line("parameters", format!("{:.2} million trained", parameters(objective) as f64 / 1e6));
    line("device", described(&session.device, session.cores));
    line("run", folder.path().display().to_string());
    for Decision { what, value, reason } in &session.decisions {
        say(format_args!("  {what} = {value}: {reason}"));
    }
    if let Some(warning) = S::warning(session) {
        say(format_args!("  {warning}"));
    }
    Ok(())
}
