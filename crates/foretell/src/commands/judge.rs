//! `foretell judge`: networks that runs have kept, judged without labels, and how well that agrees with a linear probe.

use std::collections::BTreeSet;
use std::path::PathBuf;

use foretell_eval::{Cell, FEATURES, Finding, TRAINED, spearman};
use foretell_jepa::Clock;
use foretell_systems::{Probing, family};
use foretell_train::{Health, LIDAR_DRAWS, Measured, RunFolder, Which, lidar_of, load_control, write_whole};
use serde::Serialize;
use serde_json::json;

use crate::account::figure;
use crate::kept::{KeptRun, of_run, steps};
use crate::output::{print, print_json, say};
use crate::report::{Sheet, SheetLine, SheetsPage, render_sheets};
use crate::{DeviceChoice, Error};

/// What `judge` was asked.
#[derive(Debug, clap::Args)]
pub struct JudgeArgs {
    /// Folders of runs, finished or not. Each is judged at every step whose networks it has: with
    /// `--set train.keep_checkpoints=N` a run keeps N of them, else the last two and the best.
    #[arg(required = true, num_args = 1.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Labelled data for the linear probe, of the kind that the runs learnt from; without it, those of each run.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Leave the linear probe out, and what it would be correlated with.
    #[arg(long, conflicts_with = "data")]
    no_probe: bool,
    /// Change a setting of the probe, such as `judge.train_samples=5000`; repeatable.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Write a page there, an HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print a JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// What is said of one network.
#[derive(Clone, Debug, Serialize)]
struct JudgedNetwork {
    run: String,
    system: String,
    step: u64,
    health: foretell_train::Verdict,
    /// `None` where it cannot be taken.
    lidar: Option<f64>,
    rankme: f64,
    effective_rank: f64,
    alpha: Option<f64>,
    /// The run's own, on held-out samples.
    loss: f64,
    /// Accuracy of the linear probe, the mean over factors; `None` without labels.
    probe: Option<f64>,
}

/// A measure that needs no label: its name, its key and where it stands.
type Free = (&'static str, &'static str, fn(&JudgedNetwork) -> Option<f64>);

const FREE: [Free; 5] = [
    ("LiDAR", "lidar", |of| of.lidar),
    ("RankMe", "rankme", |of| Some(of.rankme)),
    ("effective rank", "effective_rank", |of| Some(of.effective_rank)),
    ("α-ReQ", "alpha", |of| of.alpha),
    ("loss", "loss", |of| Some(of.loss)),
];

/// Runs the command.
pub fn judge(args: &JudgeArgs) -> Result<(), Error> {
    let device = args.device.open()?;
    let mut seen = BTreeSet::new();
    for run in &args.runs {
        if !seen.insert(run.canonicalize().unwrap_or_else(|_| run.clone())) {
            return Err(Error::Misuse(format!("{} was named twice: name every run once", run.display())));
        }
    }
    if let Some(out) = &args.out {
        // Hours later is too late to hear that there is no such folder.
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) || out.is_dir() {
            return Err(Error::Misuse(format!(
                "`--out` is {}, and a file in a folder that is there is wanted: make the folder, or name another file",
                out.display()
            )));
        }
    }
    fitting(args)?;
    let (mut all, mut notes, mut units) = (Vec::new(), Vec::new(), BTreeSet::new());
    for path in &args.runs {
        let run = path.display().to_string();
        let (mut kept, at) = KeptRun::stages(path, &device, &args.set)?;
        load_control(kept.learner.as_mut(), &kept.folder)?;
        kept.learner.ended();
        units.insert(kept.session.unit().many);
        let total = steps(kept.session.as_ref())?;
        let batch = kept.session.train().batch;
        let clock = |step: u64| Clock { step: step.clamp(1, total), total, batch, health_due: true };
        let (untrained, _) = kept.learner.measure(Which::Untrained, &clock(1))?;
        let mut probed = !args.no_probe;
        for step in at {
            kept.load(step)?;
            let (now, _): (Measured, _) = kept.learner.measure(Which::Trained, &clock(step))?;
            let lidar = lidar_of(kept.learner.as_ref(), Which::Trained);
            let lidar = lidar.unwrap_or_else(|error| {
                note(&mut notes, format!("{run}: no LiDAR: {error}"));
                None
            });
            let probe = if probed { probe(args, &kept)? } else { Ok(None) };
            let probe = probe.unwrap_or_else(|why| {
                note(&mut notes, format!("{run}: no linear probe: {why}"));
                probed = false;
                None
            });
            let health = Health::judge(&now, &untrained, None);
            let judged = JudgedNetwork {
                run: run.clone(),
                system: kept.session.row().name.to_owned(),
                step,
                health: health.verdict,
                lidar: lidar.map(|lidar| lidar.rank),
                rankme: health.rankme,
                effective_rank: health.effective_rank,
                alpha: health.alpha,
                loss: now.loss,
                probe,
            };
            say(format_args!("{run}, step {step}: {}", line(&judged).cells[3..].join("  ")));
            all.push(judged);
        }
    }
    if let [one, other, ..] = units.iter().collect::<Vec<_>>().as_slice() {
        note(&mut notes, format!("these runs learnt from {one} and {other}: their ranks are not one scale"));
    }
    let correlations = correlations(&all);
    let sheets = [networks(&all), correlation_sheet(&correlations)];
    if args.json {
        print_json(&json!({ "networks": all, "spearman": correlations, "draws": LIDAR_DRAWS, "notes": notes }))?;
    } else {
        for what in &notes {
            say(format_args!("note: {what}"));
        }
        let shown = sheets.iter().filter(|sheet| !sheet.lines.is_empty());
        print(shown.map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    }
    if let Some(out) = &args.out {
        let facts = [
            ("runs", args.runs.len().to_string()),
            ("networks", all.len().to_string()),
            ("version", format!("foretell {}", env!("CARGO_PKG_VERSION"))),
        ];
        let facts = facts.into_iter().chain(notes.iter().map(|what| ("note", what.clone())));
        let page = SheetsPage {
            kind: "Foretell judgement".to_owned(),
            title: "Networks judged without labels".to_owned(),
            facts: facts.map(|(label, value)| (label.to_owned(), value)).collect(),
            sheets: sheets.to_vec(),
            curves: Vec::new(),
        };
        write_whole(out, render_sheets(&page).as_bytes())?;
        if !args.json {
            print(format_args!("\npage  {}\n", out.display()))?;
        }
    }
    Ok(())
}

/// An error where `--data` hold another kind than a run learnt from, before the first is judged.
fn fitting(args: &JudgeArgs) -> Result<(), Error> {
    let Some(data) = &args.data else { return Ok(()) };
    for path in &args.runs {
        let (member, _) = of_run(&RunFolder::open(path)?)?;
        let other = family::members().find(|other| other.recognises(data));
        if let Some(other) = other.filter(|other| other.unit() != member.unit() && !member.recognises(data)) {
            return Err(Error::Misuse(format!(
                "{} learnt from {}, and `{}` holds {}: judge it by itself, on labelled data of its kind",
                path.display(),
                member.unit().many,
                data.display(),
                other.unit().many
            )));
        }
    }
    Ok(())
}

fn note(notes: &mut Vec<String>, what: String) {
    if !notes.contains(&what) {
        notes.push(what);
    }
}

/// Accuracy of a linear probe on the networks as they are, the mean over factors; why there is none, where labels are missing.
fn probe(args: &JudgeArgs, kept: &KeptRun) -> Result<Result<Option<f64>, String>, Error> {
    let asked = Probing { path: args.data.as_deref(), without_controls: true, ..Probing::default() };
    let probed = kept.session.probe(kept.learner.as_ref(), asked);
    match probed.map_err(Error::from) {
        Ok(judged) => Ok(Ok(accuracy(&judged.findings))),
        // Of the run's own data labels may be missing; of data that were named they may not.
        Err(Error::Misuse(what)) if args.data.is_none() => Ok(Err(what)),
        Err(error) => Err(error),
    }
}

/// The mean over factors of what the linear probe reads from the trained network.
fn accuracy(findings: &[Finding]) -> Option<f64> {
    let figures = findings.iter().find(|finding| finding.key == "probes")?.as_figures()?;
    let place = |dim: &str| figures.dims.iter().position(|other| other == dim);
    let (probe, features) = (place("probe")?, place(FEATURES)?);
    let is = |cells: &[Cell], at: usize, name: &str| cells.get(at) == Some(&Cell::from(name));
    let rows = figures.rows.iter().filter(|row| is(&row.cells, probe, "linear") && is(&row.cells, features, TRAINED));
    let values: Vec<f64> = rows.map(|row| row.value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn line(judged: &JudgedNetwork) -> SheetLine {
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), figure);
    let free = FREE.iter().map(|(_, _, of)| shown(of(judged)));
    let probe = judged.probe.map_or_else(|| "–".to_owned(), |share| format!("{:.1}", 100.0 * share));
    let names = [judged.run.clone(), judged.step.to_string(), judged.system.clone(), judged.health.word().to_owned()];
    SheetLine { cells: names.into_iter().chain(free).chain([probe]).collect(), bad: judged.health.word() == "collapse" }
}

fn networks(all: &[JudgedNetwork]) -> Sheet {
    let names = ["run", "step", "system", "health"].into_iter().chain(FREE.iter().map(|(name, _, _)| *name));
    Sheet {
        id: "networks".to_owned(),
        title: "Networks".to_owned(),
        lead: format!(
            "Each network that the runs have kept. LiDAR is of {LIDAR_DRAWS} draws of views or masks of each held-out sample; RankMe, \
             effective rank and α-ReQ are of one vector a sample; the loss is the run's own, on held-out samples; the probe is \
             logistic regression on the kept encoder's features, in %, the mean over factors."
        ),
        head: names.chain(["linear probe"]).map(str::to_owned).collect(),
        names: 4,
        lines: all.iter().map(line).collect(),
    }
}

/// How well a measure orders networks as the probe does.
#[derive(Clone, Debug, Serialize)]
struct Correlation {
    /// A system, or "all".
    of: String,
    measure: &'static str,
    n: usize,
    /// `None` of fewer than three networks, or of equal ones.
    rho: Option<f64>,
    #[serde(skip)]
    title: &'static str,
}

/// Over all networks, and within each system where there are several: ranks mean something within one method alone.
fn correlations(all: &[JudgedNetwork]) -> Vec<Correlation> {
    if all.iter().all(|judged| judged.probe.is_none()) {
        return Vec::new();
    }
    let systems: BTreeSet<&str> = all.iter().map(|judged| judged.system.as_str()).collect();
    let several = systems.len() > 1;
    let groups = std::iter::once(None).chain(systems.into_iter().filter(|_| several).map(Some));
    let of = |group: Option<&str>| {
        let chosen = || all.iter().filter(move |judged| group.is_none_or(|group| judged.system == group));
        FREE.map(|(title, measure, value)| {
            let pairs: Vec<(f64, f64)> = chosen().filter_map(|judged| Some((value(judged)?, judged.probe?))).collect();
            let of = group.unwrap_or("all").to_owned();
            Correlation { of, measure, n: pairs.len(), rho: spearman(&pairs), title }
        })
    };
    groups.flat_map(of).collect()
}

fn correlation_sheet(all: &[Correlation]) -> Sheet {
    let line = |found: &Correlation| SheetLine {
        cells: vec![
            found.of.clone(),
            found.title.to_owned(),
            found.rho.map_or_else(|| "–".to_owned(), |rho| format!("{rho:.3}").replace('-', "−")),
            found.n.to_string(),
        ],
        bad: false,
    };
    Sheet {
        id: "spearman".to_owned(),
        title: "Spearman's correlation with the linear probe".to_owned(),
        lead: "1: a measure orders the networks as the probe does; of a loss, −1. Networks of one run are no independent samples."
            .to_owned(),
        head: ["networks of", "measure", "ρ", "n"].map(str::to_owned).to_vec(),
        names: 2,
        lines: all.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_train::Verdict;

    fn judged(system: &str, lidar: f64, probe: Option<f64>) -> JudgedNetwork {
        JudgedNetwork {
            run: "r".to_owned(),
            system: system.to_owned(),
            step: 1,
            health: Verdict::Healthy,
            lidar: Some(lidar),
            rankme: 1.0,
            effective_rank: -lidar,
            alpha: None,
            loss: 0.0,
            probe,
        }
    }

    #[test]
    fn measures_are_correlated_over_all_and_within_each_system() {
        // Within each system LiDAR orders as the probe does; over both it does not.
        let all =
            [("a", 1.0, 0.7), ("a", 2.0, 0.8), ("a", 3.0, 0.9), ("b", 4.0, 0.1), ("b", 5.0, 0.2), ("b", 6.0, 0.3)];
        let all: Vec<JudgedNetwork> = all.map(|(system, lidar, probe)| judged(system, lidar, Some(probe))).into();
        let found = correlations(&all);
        let rho = |of: &str, measure: &str| {
            found.iter().find(|found| found.of == of && found.measure == measure).unwrap().rho
        };
        assert_eq!(
            (rho("a", "lidar"), rho("b", "lidar"), rho("b", "effective_rank")),
            (Some(1.0), Some(1.0), Some(-1.0))
        );
        assert!(rho("all", "lidar").unwrap() < 0.0);
        assert_eq!((rho("all", "rankme"), rho("all", "alpha")), (None, None), "constant, and missing");
        assert!(correlations(&[judged("a", 1.0, None)]).is_empty());
        assert!(correlations(&all[..3]).iter().all(|found| found.of == "all" && found.n <= 3));
    }
}
