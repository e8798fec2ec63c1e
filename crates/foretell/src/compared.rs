//! Finished runs side by side: grouped over seeds, every figure that they found with its difference from the first group's over
//! equal seeds, health beside. It needs neither data nor networks: all of it lies in the runs' folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use foretell_eval::{CONFIDENCE, Cell, FEATURES, Figures, OverSeeds, TRAINED, UNTRAINED};
use foretell_systems::recipe;
use foretell_train::{HealthRecord, RunFolder, Verdict};
use serde_json::{Map, Value, json};
use toml::Table;

use crate::Error;
use crate::account::{Points, figure, lines, logged};
use crate::asked::Asked;
use crate::findings::RunFindings;
use crate::report::{Curve, Sheet, SheetLine, SheetsPage, render_sheets};
use crate::summary::Summary;

/// One finished run.
pub(crate) struct Compared {
    folder: RunFolder,
    pub(crate) summary: Summary,
    found: RunFindings,
    /// What it follows from but for its seed.
    alike: Table,
    /// What tells its data from others.
    data: String,
}

impl Compared {
    /// Of a run's folder; an error if it is not finished.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let folder = RunFolder::open(path)?;
        let config = folder.config().display().to_string();
        let asked = Asked::of(&config)?;
        asked.check_version()?;
        let Some(summary) = Summary::read(&folder)? else {
            let run = path.display();
            return Err(Error::Misuse(format!(
                "{run} is not finished, so it has no figures to compare: finish it with `foretell train --resume {run}`"
            )));
        };
        let found = RunFindings::of_finished(&folder)?;
        let print = recipe::get(asked.table(), "data.fingerprint").and_then(|print| print.as_str()).unwrap_or_default();
        let data = if print.is_empty() { summary.data.clone() } else { print.to_owned() };
        Ok(Self { alike: asked.alike()?, data, folder, summary, found })
    }

    fn name(&self) -> String {
        self.folder.path().display().to_string()
    }
}

/// Runs that differ by the seed alone.
pub(crate) struct SeedGroup {
    /// As it is shown.
    pub(crate) name: String,
    /// By seed, each once.
    runs: BTreeMap<u64, Compared>,
}

impl SeedGroup {
    /// Of runs of these seeds.
    pub(crate) fn new(name: &str, runs: Vec<Compared>) -> Self {
        Self { name: name.to_owned(), runs: runs.into_iter().map(|run| (run.summary.seed, run)).collect() }
    }

    fn runs(&self) -> impl Iterator<Item = &Compared> {
        self.runs.values()
    }

    /// How many runs were judged so: "healthy", "collapse (2 of 3)".
    fn verdict(&self) -> (String, bool) {
        let count = |verdict| self.runs().filter(|run| run.summary.health.verdict == verdict).count();
        let all = [Verdict::Collapse, Verdict::PartialCollapse, Verdict::Healthy];
        let said = all.into_iter().filter(|verdict| count(*verdict) > 0).map(|verdict| match count(verdict) {
            whole if whole == self.runs.len() => verdict.word().to_owned(),
            some => format!("{} ({some} of {})", verdict.word(), self.runs.len()),
        });
        (said.collect::<Vec<_>>().join(", "), count(Verdict::Healthy) < self.runs.len())
    }

    /// Its name, with what is wrong with its runs' health.
    fn shown(&self) -> String {
        match self.verdict() {
            (verdict, true) => format!("{} [{verdict}]", self.name),
            (_, false) => self.name.clone(),
        }
    }

    fn over(&self, of: impl Fn(&Compared) -> Option<f64>) -> Option<OverSeeds> {
        OverSeeds::of(&self.runs().filter_map(of).collect::<Vec<_>>())
    }
}

/// Groups runs whose recipes differ by the seed alone, in the order of first appearance.
pub(crate) fn grouped(runs: Vec<Compared>) -> Result<Vec<SeedGroup>, Error> {
    let mut groups: Vec<Vec<Compared>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group[0].alike == run.alike && group[0].data == run.data) {
            Some(group) => {
                if let Some(other) = group.iter().find(|other| other.summary.seed == run.summary.seed) {
                    return Err(Error::Misuse(format!(
                        "{} and {} are runs of one recipe with one seed, {}: leave one of them out, or train one with another `--seed`",
                        other.name(),
                        run.name(),
                        run.summary.seed
                    )));
                }
                group.push(run);
            }
            None => groups.push(vec![run]),
        }
    }
    let short: Vec<String> = groups.iter().map(|group| common(group)).collect();
    let name = |(group, name): (Vec<Compared>, &String)| {
        let alone = !name.is_empty() && short.iter().filter(|other| *other == name).count() == 1;
        let name = if alone { name.clone() } else { group[0].name() };
        SeedGroup::new(&name, group)
    };
    Ok(groups.into_iter().zip(&short).map(name).collect())
}

/// What the names of a group's folders begin with, "masks" of `masks-0` and `masks-1`.
fn common(group: &[Compared]) -> String {
    let names: Vec<String> = group
        .iter()
        .map(|run| run.folder.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
        .collect();
    let Some((first, others)) = names.split_first() else { return String::new() };
    if others.is_empty() {
        return first.clone();
    }
    let same = |name: &String| first.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    let length = others.iter().map(same).min().unwrap_or(0);
    first.chars().take(length).collect::<String>().trim_end_matches(['-', '_', '.', ' ']).to_owned()
}

/// A figure of each run of each group: `[groups]`, by seed.
struct ComparedFigure {
    cells: Vec<Cell>,
    values: Vec<BTreeMap<u64, f64>>,
}

/// One group's figure.
struct ShownFigure {
    over: Option<OverSeeds>,
    /// From the first group's, over seeds that both have; none of the first.
    difference: Option<OverSeeds>,
}

impl ComparedFigure {
    fn of(&self, group: usize) -> ShownFigure {
        let (own, reference) = (&self.values[group], &self.values[0]);
        let over = OverSeeds::of(&own.values().copied().collect::<Vec<_>>());
        let pairs = own.iter().filter_map(|(seed, value)| Some(value - reference.get(seed)?));
        let difference = if group == 0 { None } else { OverSeeds::of(&pairs.collect::<Vec<_>>()) };
        ShownFigure { over, difference }
    }
}

/// All figures of one kind.
struct FigureKind {
    key: String,
    title: String,
    lead: String,
    /// Of the first run that has them; its rows are all means, for how many digits are shown.
    figures: Figures,
    all: Vec<ComparedFigure>,
}

/// Groups and what they found.
pub(crate) struct Comparison {
    groups: Vec<SeedGroup>,
    kinds: Vec<FigureKind>,
    notes: Vec<String>,
}

impl Comparison {
    /// Of at least one group; the first is what the others are held against.
    pub(crate) fn of(groups: Vec<SeedGroup>) -> Self {
        let mut kinds: Vec<FigureKind> = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            for (seed, run) in &group.runs {
                for finding in &run.found.findings {
                    let Some(figures) = finding.as_figures() else { continue };
                    let same = |kind: &&mut FigureKind| {
                        kind.key == finding.key
                            && kind.figures.dims == figures.dims
                            && kind.figures.value == figures.value
                    };
                    let kind = if let Some(kind) = kinds.iter_mut().find(same) {
                        kind
                    } else {
                        let figures = Figures { rows: Vec::new(), ..figures.clone() };
                        let (key, title, lead) = (finding.key.clone(), finding.title.clone(), finding.lead.clone());
                        kinds.push(FigureKind { key, title, lead, figures, all: Vec::new() });
                        kinds.last_mut().expect("just pushed")
                    };
                    for row in figures.rows.iter().filter(|row| row.value.is_finite()) {
                        let place =
                            kind.all.iter().position(|compare| compare.cells == row.cells).unwrap_or_else(|| {
                                let values = groups.iter().map(|_| BTreeMap::new()).collect();
                                kind.all.push(ComparedFigure { cells: row.cells.clone(), values });
                                kind.all.len() - 1
                            });
                        kind.all[place].values[at].insert(*seed, row.value);
                        kind.figures.rows.push(row.clone());
                    }
                }
            }
        }
        let notes = notes(&groups);
        Self { groups, kinds, notes }
    }

    /// What a reader should know before any figure.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Health, a sheet for each kind of figure (all of them, or those of trained networks alone), and the settings that differ.
    pub(crate) fn sheets(&self, all: bool) -> Vec<Sheet> {
        let figures = self.kinds.iter().map(|kind| self.sheet(kind, all));
        let sheets = std::iter::once(self.health()).chain(figures).chain([self.differs()]);
        sheets.filter(|sheet| !sheet.lines.is_empty()).collect()
    }

    fn sheet(&self, kind: &FigureKind, all: bool) -> Sheet {
        let figures = &kind.figures;
        let features = figures.dims.iter().position(|dim| dim == FEATURES).filter(|_| !all);
        let control = |compare: &ComparedFigure| !all && compare.cells.contains(&Cell::from(UNTRAINED));
        let trained =
            |compare: &ComparedFigure| features.is_none_or(|at| compare.cells.get(at) == Some(&Cell::from(TRAINED)));
        let shown = |compare: &&ComparedFigure| trained(compare) && !control(compare);
        let names = figures.dims.iter().cloned().chain(["run".to_owned()]);
        let numbers = [figures.value.as_str(), "seeds", "difference", "95 % interval", "pairs"].map(str::to_owned);
        let mut lines = Vec::new();
        for compare in kind.all.iter().filter(shown) {
            for (at, group) in self.groups.iter().enumerate().filter(|(at, _)| !compare.values[*at].is_empty()) {
                let ShownFigure { over, difference } = compare.of(at);
                let cells = compare.cells.iter().map(ToString::to_string).chain([group.shown()]);
                let none = || "–".to_owned();
                let spread = over.and_then(|over| over.deviation).map(|x| format!(" ± {}", figures.digits(x)));
                let value = over.map_or_else(none, |over| figures.digits(over.mean) + &spread.unwrap_or_default());
                let n = over.map_or_else(none, |over| over.n.to_string());
                let by = difference.map_or_else(none, |difference| signed(figures, difference.mean));
                let interval =
                    difference.and_then(|found| found.half.map(|half| (found.mean - half, found.mean + half)));
                let interval =
                    interval.map_or_else(none, |(a, b)| format!("{} to {}", signed(figures, a), signed(figures, b)));
                let pairs = difference.map_or_else(none, |difference| difference.n.to_string());
                lines.push(SheetLine {
                    cells: cells.chain([value, n, by, interval, pairs]).collect(),
                    bad: group.verdict().1,
                });
            }
        }
        let reference = &self.groups[0].name;
        let levels: Vec<String> = figures
            .references
            .iter()
            .map(|level| {
                let cells: Vec<String> = level.cells.iter().flatten().map(ToString::to_string).collect();
                let of = if cells.is_empty() { String::new() } else { format!(" ({})", cells.join(", ")) };
                format!("{}{of} {}", level.name, figures.digits(level.value))
            })
            .collect();
        let levels =
            if levels.is_empty() { String::new() } else { format!(" Levels of the first run: {}.", levels.join("; ")) };
        let lead = &kind.lead;
        Sheet {
            id: kind.key.clone(),
            title: format!("{} ({})", kind.title, figures.measure()),
            lead: format!(
                "{lead} Mean ± standard deviation over so many seeds; differences from {reference} are of runs of equal seeds, with \
                 Student's {:.0} % interval of their mean, and none of a single pair.{levels}",
                100.0 * CONFIDENCE
            ),
            head: names.chain(numbers).collect(),
            names: figures.dims.len() + 1,
            lines,
        }
    }

    /// Health of each group.
    fn health(&self) -> Sheet {
        let head = [
            "run",
            "seeds",
            "health",
            "effective rank",
            "untrained",
            "RankMe",
            "α-ReQ",
            "cosine",
            "held-out loss",
            "steps",
            "minutes",
        ];
        let line = |group: &SeedGroup| {
            let shown = |over: Option<OverSeeds>| match over {
                None => "–".to_owned(),
                Some(OverSeeds { mean, deviation: None, .. }) => figure(mean),
                Some(OverSeeds { mean, deviation: Some(deviation), .. }) => {
                    format!("{} ± {}", figure(mean), figure(deviation))
                }
            };
            let (verdict, bad) = group.verdict();
            let seeds: Vec<String> = group.runs.keys().map(u64::to_string).collect();
            let cells = vec![
                group.name.clone(),
                seeds.join(", "),
                verdict,
                shown(group.over(|run| Some(run.summary.health.effective_rank))),
                shown(group.over(|run| Some(run.summary.health.untrained_effective_rank))),
                shown(group.over(|run| Some(run.summary.health.rankme))),
                shown(group.over(|run| run.summary.health.alpha)),
                shown(group.over(|run| Some(run.summary.health.cosine_mean))),
                shown(group.over(|run| last(run).map(|record| record.held_out_loss))),
                group
                    .over(|run| Some(run.summary.steps as f64))
                    .map_or_else(String::new, |over| format!("{:.0}", over.mean)),
                group
                    .over(|run| Some(run.summary.seconds / 60.0))
                    .map_or_else(String::new, |over| format!("{:.1}", over.mean)),
            ];
            SheetLine { cells, bad }
        };
        Sheet {
            id: "health".to_owned(),
            title: "Health".to_owned(),
            lead: "Without labels, on held-out samples: mean ± standard deviation over seeds. Ranks and losses of different methods \
                   are not one scale."
                .to_owned(),
            head: head.map(str::to_owned).to_vec(),
            names: 3,
            lines: self.groups.iter().map(line).collect(),
        }
    }

    /// The settings in which the groups differ.
    fn differs(&self) -> Sheet {
        let flat: Vec<BTreeMap<String, String>> = self
            .groups
            .iter()
            .map(|group| group.runs().next().map(|run| leaves(&run.alike)).unwrap_or_default())
            .collect();
        let keys: BTreeSet<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
        let mut lines = Vec::new();
        for (at, group) in self.groups.iter().enumerate().skip(1) {
            // Another system has settings of its own: those that both have are compared.
            let other = flat[at].get("system") != flat[0].get("system");
            let own = keys.iter().filter(|key| match (flat[at].get(**key), flat[0].get(**key)) {
                (Some(own), Some(first)) => own != first,
                (own, first) => own != first && !other,
            });
            let value = |of: usize, key: &String| flat[of].get(key).cloned().unwrap_or_else(|| "–".to_owned());
            lines.extend(own.map(|key| SheetLine {
                cells: vec![group.name.clone(), (*key).clone(), value(at, key), value(0, key)],
                bad: false,
            }));
        }
        let reference = &self.groups[0].name;
        Sheet {
            id: "settings".to_owned(),
            title: "Settings that differ".to_owned(),
            lead: format!("What each run was asked for that {reference} was not."),
            head: ["run", "setting", "value", &format!("of {reference}")].map(str::to_owned).to_vec(),
            names: 4,
            lines,
        }
    }

    /// The same for scripts.
    pub(crate) fn json(&self) -> Value {
        let over = |found: OverSeeds| json!({ "n": found.n, "mean": found.mean, "deviation": found.deviation });
        let group = |group: &SeedGroup| {
            let run = |(seed, run): (&u64, &Compared)| {
                json!({
                    "run": run.name(), "seed": seed, "steps": run.summary.steps, "seconds": run.summary.seconds,
                    "health": run.summary.health.verdict,
                })
            };
            let health = |of: &dyn Fn(&Compared) -> Option<f64>| group.over(of).map(over);
            json!({
                "name": group.name,
                "system": group.runs().next().map(|run| run.summary.system.clone()),
                "data": group.runs().next().map(|run| run.summary.data.clone()),
                "runs": group.runs.iter().map(run).collect::<Vec<_>>(),
                "effective_rank": health(&|run| Some(run.summary.health.effective_rank)),
                "rankme": health(&|run| Some(run.summary.health.rankme)),
                "alpha": health(&|run| run.summary.health.alpha),
                "held_out_loss": health(&|run| last(run).map(|record| record.held_out_loss)),
            })
        };
        let figures = |kind: &FigureKind| {
            let one = |compare: &ComparedFigure| {
                let mut record: Map<String, Value> = Map::new();
                for (dim, cell) in kind.figures.dims.iter().zip(&compare.cells) {
                    record.insert(dim.clone(), serde_json::to_value(cell).unwrap_or(Value::Null));
                }
                let of = |(at, group): (usize, &SeedGroup)| {
                    let ShownFigure { over: found, difference } = compare.of(at);
                    let difference = difference.map(|found| {
                        let end = |sign: f64| found.half.map(|half| found.mean + sign * half);
                        json!({ "n": found.n, "mean": found.mean, "low": end(-1.0), "high": end(1.0) })
                    });
                    let values: BTreeMap<String, f64> =
                        compare.values[at].iter().map(|(seed, value)| (seed.to_string(), *value)).collect();
                    json!({ "name": group.name, "figure": found.map(over), "by_seed": values, "difference": difference })
                };
                record.insert("of".to_owned(), self.groups.iter().enumerate().map(of).collect());
                Value::Object(record)
            };
            json!({
                "key": kind.key, "value": kind.figures.value, "unit": kind.figures.unit, "better": kind.figures.better,
                "all": kind.all.iter().map(one).collect::<Vec<_>>(),
            })
        };
        json!({
            "reference": self.groups[0].name,
            "confidence": CONFIDENCE,
            "notes": self.notes,
            "runs": self.groups.iter().map(group).collect::<Vec<_>>(),
            "figures": self.kinds.iter().map(figures).collect::<Vec<_>>(),
        })
    }

    /// The same on a page that needs nothing else, with the curves; `more` stands before the figures.
    pub(crate) fn page(&self, kind: &str, title: &str, more: Vec<Sheet>) -> String {
        let runs: usize = self.groups.iter().map(|group| group.runs.len()).sum();
        let fact = |label: &str, value: String| (label.to_owned(), value);
        let data: BTreeSet<&str> =
            self.groups.iter().flat_map(|group| group.runs().map(|run| run.summary.data.as_str())).collect();
        let mut facts = vec![
            fact("runs", format!("{runs} in {} groups", self.groups.len())),
            fact("held against", self.groups[0].name.clone()),
            fact("data", data.into_iter().collect::<Vec<_>>().join(", ")),
            fact("version", format!("foretell {}", env!("CARGO_PKG_VERSION"))),
        ];
        facts.extend(self.notes.iter().map(|note| fact("note", note.clone())));
        let sheets = more.into_iter().chain(self.sheets(true)).collect();
        render_sheets(&SheetsPage {
            kind: kind.to_owned(),
            title: title.to_owned(),
            facts,
            sheets,
            curves: self.curves(),
        })
    }

    /// Losses and ranks, a line for each group: the mean of its seeds where their steps are the same. As many in a chart as it has
    /// colours, the first group's in each.
    fn curves(&self) -> Vec<Curve> {
        const COLOURS: usize = 6;
        let read: Vec<[Points; 4]> = self
            .groups
            .iter()
            .map(|group| {
                let all: Vec<[Points; 4]> = group.runs().map(points).collect();
                std::array::from_fn(|i| mean(all.iter().map(|points| &points[i]).collect()))
            })
            .collect();
        let kinds = [
            ("loss", "", true),
            ("held-out loss", "", true),
            ("effective rank", "dimensions", false),
            ("RankMe", "dimensions", false),
        ];
        let others: Vec<usize> = (1..self.groups.len()).collect();
        let mut parts: Vec<Vec<usize>> = others.chunks(COLOURS - 1).map(|part| [&[0][..], part].concat()).collect();
        if parts.is_empty() {
            parts.push(vec![0]);
        }
        let curve = |part: &[usize], number: usize, (i, (title, unit, log_y)): (usize, (&str, &str, bool))| Curve {
            title: if parts.len() > 1 {
                format!("{title} ({} of {})", number + 1, parts.len())
            } else {
                title.to_owned()
            },
            unit: unit.to_owned(),
            along: "step".to_owned(),
            series: part
                .iter()
                .map(|at| (self.groups[*at].shown(), read[*at][i].clone()))
                .filter(|(_, points)| !points.is_empty())
                .collect(),
            log_y,
        };
        let all = kinds.into_iter().enumerate().flat_map(|kind| {
            parts.iter().enumerate().map(move |(number, part)| curve(part, number, kind)).collect::<Vec<_>>()
        });
        all.filter(|curve| !curve.series.is_empty()).collect()
    }
}

/// The last judgement in a run's log.
fn last(run: &Compared) -> Option<HealthRecord> {
    lines(&run.folder.metrics()).pop()
}

/// A run's loss, held-out loss, effective rank and RankMe by step.
fn points(run: &Compared) -> [Points; 4] {
    let metrics: Vec<Value> = lines(&run.folder.metrics());
    let judged: Vec<HealthRecord> = lines(&run.folder.metrics());
    let of =
        |figure: fn(&HealthRecord) -> f64| judged.iter().map(|record| (record.step as f64, figure(record))).collect();
    [
        logged(&metrics, "loss"),
        of(|record| record.held_out_loss),
        of(|record| record.health.effective_rank),
        of(|record| record.health.rankme),
    ]
}

/// The mean of several lines where all of them have a point; the first line if they have none in common.
fn mean(all: Vec<&Points>) -> Points {
    let Some((first, others)) = all.split_first() else { return Points::new() };
    let at = |points: &Points, step: f64| points.iter().find(|(other, _)| *other == step).map(|(_, value)| *value);
    let mean = |(step, value): &(f64, f64)| {
        let values: Option<Vec<f64>> = others.iter().map(|points| at(points, *step)).collect();
        Some((*step, (value + values?.iter().sum::<f64>()) / all.len() as f64))
    };
    let common: Points = first.iter().filter_map(mean).collect();
    if common.is_empty() { (*first).clone() } else { common }
}

/// A difference with its sign.
fn signed(figures: &Figures, value: f64) -> String {
    let digits = figures.digits(value.abs());
    let nothing = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if nothing {
        ""
    } else if value < 0.0 {
        "−"
    } else {
        "+"
    };
    format!("{sign}{digits}")
}

/// Every setting that is no group, `key.path` → value.
fn leaves(table: &Table) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(group) => {
                found.extend(leaves(group).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            toml::Value::String(text) => {
                found.insert(key.clone(), text.clone());
            }
            other => {
                found.insert(key.clone(), other.to_string());
            }
        }
    }
    found
}

fn notes(groups: &[SeedGroup]) -> Vec<String> {
    let Some((reference, others)) = groups.split_first() else { return Vec::new() };
    let data = |group: &SeedGroup| group.runs().next().map(|run| (run.data.clone(), run.summary.data.clone()));
    let mut notes = Vec::new();
    for group in others {
        if let (Some((own, of)), Some((print, from))) = (data(group), data(reference))
            && own != print
        {
            notes.push(format!(
                "{} learnt from other data ({of}) than {} ({from}): their figures are of different samples",
                group.name, reference.name
            ));
        }
        let equal = group.runs.keys().filter(|seed| reference.runs.contains_key(seed)).count();
        if equal == 0 {
            notes.push(format!(
                "{} and {} have no seed in common, so there are no differences",
                group.name, reference.name
            ));
        }
    }
    if groups.iter().any(|group| group.runs.len() == 1) {
        notes.push("of a single seed there is no deviation, and of a single pair no interval".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(values: &[&[(u64, f64)]]) -> ComparedFigure {
        ComparedFigure {
            cells: Vec::new(),
            values: values.iter().map(|group| group.iter().copied().collect()).collect(),
        }
    }

    #[test]
    fn differences_are_of_equal_seeds() {
        // Seeds 0 to 2 differ by 1, 2 and 3; seed 7 has no partner.
        let both = compare(&[&[(0, 10.0), (1, 20.0), (2, 30.0)], &[(0, 11.0), (1, 22.0), (2, 33.0), (7, 1e6)]]);
        let found = both.of(1).difference.unwrap();
        assert_eq!((found.n, found.mean, found.deviation), (3, 2.0, Some(1.0)));
        assert!((found.half.unwrap() - 2.484_138).abs() < 1e-5);
        assert_eq!(both.of(1).over.unwrap().n, 4);
        assert!(both.of(0).difference.is_none());
        // One pair has no interval; none, no difference.
        let one = compare(&[&[(0, 1.0)], &[(0, 3.0)], &[(5, 3.0)]]);
        assert_eq!(one.of(1).difference.map(|found| (found.mean, found.half)), Some((2.0, None)));
        assert!(one.of(2).difference.is_none());
    }

    #[test]
    fn curves_are_means_where_seeds_share_their_steps() {
        let (a, b) = (vec![(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)], vec![(1.0, 4.0), (3.0, 8.0)]);
        assert_eq!(mean(vec![&a, &b]), vec![(1.0, 3.0), (3.0, 7.0)]);
        assert_eq!(mean(vec![&a, &vec![(9.0, 1.0)]]), a);
    }

    #[test]
    fn settings_are_compared_leaf_by_leaf() {
        let table: Table = "a = 1\n[b]\nc = \"x\"\nd = { e = [1, 2] }".parse().unwrap();
        let found = leaves(&table);
        assert_eq!(found.get("b.d.e").map(String::as_str), Some("[1, 2]"));
        assert_eq!((found.len(), found["b.c"].as_str()), (3, "x"));
    }
}
