//! What every run's report says: verdict, curves, the facts of its training.

use std::path::Path;

use foretell_data::{Auto, Decision};
use foretell_systems::Session;
use foretell_train::{Health, HealthRecord, RunFolder, Verdict, write_whole};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;
use crate::findings::RunFindings;
use crate::kept::check_version;
use crate::output::word;
use crate::progress::clock;
use crate::report::{self, Curve, Measure, Report};
use crate::summary::Summary;

/// Keys of a line of metrics that are no term of the loss.
const NO_TERMS: [&str; 6] = ["step", "samples", "loss", "lr", "weight_decay", "gradient_norm"];

pub(crate) type Points = Vec<(f64, f64)>;

const DECISIONS: &str = "decisions.json";

/// Keeps what was chosen for a run, and why.
pub(crate) fn write_decisions(folder: &RunFolder, decisions: &[Decision]) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(decisions).map_err(|e| Error::Failure(e.to_string()))? + "\n";
    Ok(write_whole(&folder.path().join(DECISIONS), text.as_bytes())?)
}

/// What was chosen for a run, and why; nothing where that is not known any more.
pub(crate) fn read_decisions(folder: &RunFolder) -> Vec<Decision> {
    decisions_in(folder.path())
}

/// The same of a folder that may hold a run.
pub(crate) fn decisions_in(folder: &Path) -> Vec<Decision> {
    let bytes = std::fs::read(folder.join(DECISIONS)).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Writes `report.html` of a finished run, from what lies in its folder.
pub(crate) fn write_report(folder: &RunFolder) -> Result<(), Error> {
    let run = word(folder.path());
    check_version(folder)?;
    let Some(summary) = Summary::read(folder)? else {
        return Err(Error::Misuse(format!("{run} is not finished: finish it with `foretell train --resume {run}`")));
    };
    let found = RunFindings::of_finished(folder)?;
    let config = folder.config();
    let config_toml = std::fs::read_to_string(&config)
        .map_err(|e| Error::Misuse(format!("cannot read {}: {e}", config.display())))?;
    let metrics: Vec<Value> = lines(&folder.metrics());
    let judgements: Vec<HealthRecord> = lines(&folder.metrics());
    let decisions = read_decisions(folder);
    let page = Report {
        verdict: verdict(&summary.health, judgements.first()),
        curves: curves(&metrics, &judgements, &lines(&folder.timing()), &found.samples),
        decisions: decisions.into_iter().map(|d| (d.what, d.value, d.reason)).collect(),
        commands: found.commands(folder),
        title: found.title,
        facts: found.facts,
        findings: found.findings,
        config_toml,
    };
    Ok(write_whole(&folder.report(), report::render(&page).as_bytes())?)
}

/// The lines of a JSON-lines file that have this form.
pub(crate) fn lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// What is learnt from, and for how long, label → value.
pub(crate) fn data_facts(session: &dyn Session) -> Vec<(String, String)> {
    let (unit, batch) = (session.unit(), session.train().batch);
    let mut facts = Vec::new();
    if let Some(data) = session.description() {
        if data.train + data.held_out > 0 {
            let text = format!("{} ({})", data.parts(), data.split);
            facts.push((unit.many.to_owned(), text));
        }
        facts.extend(data.facts);
        facts.extend(data.notes.into_iter().map(|note| ("note".to_owned(), note)));
    }
    if let Auto::Value(steps) = session.train().steps {
        let epochs = session.train_len().map(|len| steps as f64 * batch as f64 / len.max(1) as f64);
        let epochs = epochs.map(|epochs| format!(", {epochs:.1} epochs")).unwrap_or_default();
        facts.push(("steps".to_owned(), format!("{steps} of {batch} {}{epochs}", unit.many)));
    }
    facts
}

/// The facts of a run's training, label → value.
pub(crate) fn facts(session: &dyn Session, summary: &Summary, device: &str) -> Vec<(String, String)> {
    let (unit, rate) = (session.unit(), summary.samples_per_s);
    let format = session.description().map(|data| format!(" ({})", data.format)).unwrap_or_default();
    let entry = |label: &str, value: String| (label.to_owned(), value);
    let mut facts =
        vec![entry("system", session.row().title.to_owned()), entry("data", format!("{}{format}", session.source()))];
    facts.extend(data_facts(session));
    facts.extend([
        entry("time", format!("{} of training, {rate:.0} {}/s", clock(summary.seconds), unit.many)),
        entry("parameters", trained(summary.parameters)),
        entry("device", device.to_owned()),
        entry("seed", session.seed().to_string()),
        entry("version", format!("foretell {}", env!("CARGO_PKG_VERSION"))),
    ]);
    if !summary.skipped.is_empty() {
        facts.push(entry("passed over", format!("{}, unreadable", unit.counted(summary.skipped.len()))));
    }
    facts
}

/// Numbers that learn, in words.
pub(crate) fn trained(parameters: usize) -> String {
    match parameters {
        0..100_000 => format!("{parameters} trained"),
        _ => format!("{:.2} million trained", parameters as f64 / 1e6),
    }
}

fn verdict(health: &Health, first: Option<&HealthRecord>) -> report::Verdict {
    let reading = match health.verdict {
        Verdict::Healthy => "No measure below speaks of collapse.",
        Verdict::PartialCollapse => "Much of the feature space is unused.",
        Verdict::Collapse => "The features hardly depend on what is seen.",
    };
    let mut sentences = vec![
        reading.to_owned(),
        format!(
            "The effective rank of held-out features is {:.1}; of the same network untrained it is {:.1}.",
            health.effective_rank, health.untrained_effective_rank
        ),
    ];
    let broken = health.thresholds.iter().filter(|rule| !rule.met);
    sentences
        .extend(broken.map(|rule| format!("{}: {} where {} is asked.", rule.measure, held(rule.value), rule.limit)));
    let ruled = health.thresholds.iter().map(|rule| Measure {
        name: rule.measure.clone(),
        trained: held(rule.value),
        untrained: held(rule.untrained),
        threshold: rule.limit.clone(),
        met: Some(rule.met),
    });
    let fresh = first.filter(|record| record.step == 0).map(|record| &record.health);
    let free = |name: &str, of: fn(&Health) -> Option<f64>| {
        of(health).map(|value| Measure {
            name: name.to_owned(),
            trained: figure(value),
            untrained: fresh.and_then(of).map_or("–".to_owned(), figure),
            threshold: String::new(),
            met: None,
        })
    };
    let others = [
        free("RankMe (samples)", |h| Some(h.rankme)),
        free("α-ReQ (samples)", |h| h.alpha),
        free("RankMe (tokens)", |h| Some(h.token_rankme)),
        free("standard deviation of targets", |h| Some(h.target_std)),
        free("standard deviation of predictions", |h| Some(h.prediction_std)),
        free("spread of pairwise cosines", |h| Some(h.cosine_std)),
        free("distance of the teacher", |h| h.teacher_distance),
        free("initial teacher left", |h| h.initial_teacher_left),
    ];
    report::Verdict { health: health.verdict, sentences, measures: ruled.chain(others.into_iter().flatten()).collect() }
}

/// A value as it stands beside a threshold, which has four decimals below 1.
fn held(value: f64) -> String {
    if value.abs() < 1.0 { format!("{value:.4}") } else { figure(value) }
}

/// Three or four digits that matter.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 1e-3 => format!("{value:.1e}"),
        size if size < 10.0 => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    }
}

/// What was logged under a key, by step.
pub(crate) fn logged(lines: &[Value], key: &str) -> Points {
    lines.iter().filter_map(|line| Some((line.get("step")?.as_f64()?, line.get(key)?.as_f64()?))).collect()
}

fn curves(metrics: &[Value], judgements: &[HealthRecord], timing: &[Value], samples: &str) -> Vec<Curve> {
    let judged = |of: fn(&HealthRecord) -> f64| -> Points {
        judgements.iter().map(|record| (record.step as f64, of(record))).collect()
    };
    let level = judged(|record| record.health.untrained_effective_rank);
    let terms = metrics.iter().filter_map(Value::as_object).find(|line| line.contains_key("loss"));
    let terms = terms.into_iter().flat_map(|line| line.keys()).filter(|key| !NO_TERMS.contains(&key.as_str()));
    let curve = |title: &str, unit: &str, log_y: bool, series: Vec<(&str, Points)>| Curve {
        title: title.to_owned(),
        unit: unit.to_owned(),
        along: "step".to_owned(),
        series: series
            .into_iter()
            .filter(|(_, points)| !points.is_empty())
            .map(|(name, points)| (name.to_owned(), points))
            .collect(),
        log_y,
    };
    let all = [
        curve(
            "loss",
            "",
            true,
            vec![("training", logged(metrics, "loss")), ("held out", judged(|record| record.held_out_loss))],
        ),
        curve("terms of the loss", "", true, terms.map(|name| (name.as_str(), logged(metrics, name))).collect()),
        curve(
            "rank of held-out features",
            "dimensions",
            false,
            vec![
                ("effective rank", judged(|record| record.health.effective_rank)),
                ("RankMe", judged(|record| record.health.rankme)),
                ("effective rank, untrained", level),
                ("LiDAR", judgements.iter().filter_map(|record| Some((record.step as f64, record.lidar?))).collect()),
            ],
        ),
        curve(
            "spread of held-out latents",
            "standard deviation",
            false,
            vec![
                ("targets", judged(|record| record.health.target_std)),
                ("predictions", judged(|record| record.health.prediction_std)),
            ],
        ),
        curve(
            &format!("cosine between {samples}"),
            "",
            false,
            vec![("mean", judged(|record| record.health.cosine_mean))],
        ),
        curve("gradient norm", "", true, vec![("before clipping", logged(metrics, "gradient_norm"))]),
        curve("learning rate", "", false, vec![("learning rate", logged(metrics, "lr"))]),
        curve(
            "speed",
            &format!("{samples}/s"),
            false,
            vec![("since the start of the session", logged(timing, "samples_per_s"))],
        ),
    ];
    all.into_iter().filter(|curve| !curve.series.is_empty()).collect()
}
