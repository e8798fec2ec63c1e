//! A comparison for scripts, and as a page with curves.

use std::collections::{BTreeMap, BTreeSet};

use foretell_eval::{CONFIDENCE, OverSeeds};
use foretell_train::HealthRecord;
use serde_json::{Map, Value, json};

use super::{Compared, ComparedFigure, Comparison, FigureKind, SeedGroup, ShownFigure, last};
use crate::account::{Points, lines, logged};
use crate::report::{Curve, Sheet, SheetsPage, render_sheets};

impl Comparison {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_means_where_seeds_share_their_steps() {
        let (a, b) = (vec![(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)], vec![(1.0, 4.0), (3.0, 8.0)]);
        assert_eq!(mean(vec![&a, &b]), vec![(1.0, 3.0), (3.0, 7.0)]);
        assert_eq!(mean(vec![&a, &vec![(9.0, 1.0)]]), a);
    }
}
