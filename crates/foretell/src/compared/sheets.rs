//! A comparison as tables.

use std::collections::{BTreeMap, BTreeSet};

use foretell_eval::{CONFIDENCE, Cell, FEATURES, Figures, OverSeeds, TRAINED, UNTRAINED};
use toml::Table;

use super::{ComparedFigure, Comparison, FigureKind, SeedGroup, ShownFigure, last};
use crate::account::figure;
use crate::report::{Sheet, SheetLine};

impl Comparison {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_compared_leaf_by_leaf() {
        let table: Table = "a = 1\n[b]\nc = \"x\"\nd = { e = [1, 2] }".parse().unwrap();
        let found = leaves(&table);
        assert_eq!(found.get("b.d.e").map(String::as_str), Some("[1, 2]"));
        assert_eq!((found.len(), found["b.c"].as_str()), (3, "x"));
    }
}
