//! What a table says of subjects: BIDS' `participants.tsv`, or one like it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::DataError;
use crate::connectomes::nifti::bad;
use crate::connectomes::table;
use crate::images::labels::{Factor, by_text};

/// Names under which the table is looked for.
const NAMES: [&str; 2] = ["participants.tsv", "participants.csv"];
/// Classes of a column that is taken for a label by itself.
const CLASSES: std::ops::RangeInclusive<usize> = 2..=20;

/// The rows of the table by subject.
#[derive(Debug)]
pub(crate) struct Participants {
    path: PathBuf,
    columns: Vec<String>,
    rows: BTreeMap<String, Vec<String>>,
}

/// What it says of each of some recordings.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) factors: Vec<Factor>,
    /// Of each recording a label of each factor.
    pub(crate) labels: Vec<Vec<u32>>,
    pub(crate) notes: Vec<String>,
}

/// A subject's name without BIDS' `sub-`.
fn plain(subject: &str) -> &str {
    subject.strip_prefix("sub-").unwrap_or(subject)
}

/// Whether a file is one of these tables, by its name.
pub(crate) fn is_table(name: &str) -> bool {
    NAMES.contains(&name)
}

impl Participants {
    /// The table in a folder, if there is one.
    pub(crate) fn find(folder: &Path) -> Result<Option<Self>, DataError> {
        let found = NAMES.map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
        found.map(|path| Self::read(&path)).transpose()
    }

    fn read(path: &Path) -> Result<Self, DataError> {
        let wrong = |reason: String| bad(path, reason);
        let mut lines = table::cells(&table::text(path)?).into_iter();
        let header = lines
            .next()
            .ok_or_else(|| wrong("it is empty: expected a line of names and one for each subject".to_owned()))?;
        if !["participant_id", "subject", "subject_id", "sub_id", "id"]
            .contains(&header[0].to_ascii_lowercase().as_str())
        {
            return Err(wrong(format!(
                "its first column is called `{}`: expected `participant_id`, and a row for each subject",
                table::short(&header[0])
            )));
        }
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (number, line) in (2..).zip(lines) {
            if line.len() != header.len() {
                return Err(wrong(format!(
                    "line {number} has {} cells and the first has {}: it was cut, or a cell holds what parts cells",
                    line.len(),
                    header.len()
                )));
            }
            let id = plain(&line[0]).to_owned();
            let row = line[1..].to_vec();
            if let Some(known) = rows.get(&id)
                && *known != row
            {
                return Err(wrong(format!("`{}` has two rows that differ: keep one", table::short(&line[0]))));
            }
            rows.insert(id, row);
        }
        if rows.is_empty() {
            return Err(wrong("it names no subject: expected a row for each".to_owned()));
        }
        Ok(Self { path: path.to_owned(), columns: header[1..].to_vec(), rows })
    }

    /// The subject of a recording among those of the table: as BIDS names it, by the file's name, or by what that begins with.
    pub(crate) fn subject(&self, bids: Option<&str>, stem: &str) -> Option<&str> {
        let known = |id: &str| self.rows.get_key_value(plain(id)).map(|(id, _)| id.as_str());
        bids.and_then(known).or_else(|| known(stem)).or_else(|| {
            let begins =
                |id: &&String| stem.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with(['_', '-', '.']));
            self.rows.keys().filter(begins).max_by_key(|id| id.len()).map(String::as_str)
        })
    }

    /// Labels of recordings, of which each has its name and its subject; `asked` names columns.
    pub(crate) fn labels(&self, recordings: &[(&str, Option<&str>)], asked: &[String]) -> Result<Told, DataError> {
        let without: Vec<&str> =
            recordings.iter().filter(|(_, subject)| subject.is_none()).map(|(name, _)| *name).collect();
        if let Some(first) = without.first() {
            return Err(bad(
                &self.path,
                format!(
                    "{} of {} recordings have no row in it, of which `{first}` is one: add a row for each, whose `participant_id` is in the file's name",
                    without.len(),
                    recordings.len()
                ),
            ));
        }
        if let Some(unknown) = asked.iter().find(|name| !self.columns.contains(name)) {
            return Err(bad(
                &self.path,
                format!("`data.labels` names `{unknown}`, and its columns are {}", self.columns.join(", ")),
            ));
        }
        let mut told = Told { labels: vec![Vec::new(); recordings.len()], ..Told::default() };
        for (at, name) in self.columns.iter().enumerate() {
            let value = |(_, subject): &(&str, Option<&str>)| {
                subject.and_then(|subject| Some(self.rows.get(subject)?[at].as_str()))
            };
            let texts: Vec<&str> = recordings.iter().filter_map(value).collect();
            let empty = |text: &&str| ["", "n/a", "na", "nan"].contains(&text.to_ascii_lowercase().as_str());
            let missing = texts.iter().filter(|text| empty(text)).count();
            let distinct: BTreeSet<&str> = texts.iter().copied().collect();
            let people: BTreeSet<_> = recordings.iter().filter_map(|(_, subject)| *subject).collect();
            if asked.is_empty() {
                // A measure is no class.
                let measure = distinct.iter().any(|text| text.parse::<f64>().is_ok_and(|x| x.fract() != 0.0));
                if measure || !CLASSES.contains(&distinct.len()) || distinct.len() * 2 > people.len() {
                    continue;
                }
                if missing > 0 {
                    told.notes.push(format!(
                        "`{name}` of `{}` is no label: {missing} recordings have nothing there",
                        self.path.display()
                    ));
                    continue;
                }
            } else if !asked.contains(name) {
                continue;
            } else if missing > 0 {
                return Err(bad(
                    &self.path,
                    format!(
                        "{missing} of {} recordings have nothing under `{name}`: fill it in, or take other columns for `data.labels`",
                        texts.len()
                    ),
                ));
            }
            let (factor, labels) = by_text(&texts);
            told.factors.push(Factor { name: name.clone(), ..factor });
            told.labels.iter_mut().zip(labels).for_each(|(own, label)| own.push(label));
        }
        let used: BTreeSet<&str> = recordings.iter().filter_map(|(_, subject)| *subject).collect();
        let unused = self.rows.len() - used.len();
        if unused > 0 {
            told.notes.push(format!("{unused} rows of `{}` have no recording", self.path.display()));
        }
        Ok(told)
    }
}
