//! Finished runs side by side: grouped over seeds, every figure that they found with its difference from the first group's over
//! equal seeds, health beside. It needs neither data nor networks: all of it lies in the runs' folders.

mod page;
mod sheets;

use std::collections::BTreeMap;
use std::path::Path;

use foretell_eval::{Cell, Figures, OverSeeds};
use foretell_systems::recipe;
use foretell_train::{HealthRecord, RunFolder, Verdict};
use toml::Table;

use crate::Error;
use crate::account::lines;
use crate::asked::Asked;
use crate::findings::RunFindings;
use crate::output::word;
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
            let run = word(path);
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

/// The last judgement in a run's log.
fn last(run: &Compared) -> Option<HealthRecord> {
    lines(&run.folder.metrics()).pop()
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
}
