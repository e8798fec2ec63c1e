//! Where episodes end that lie one after the other in one file, as recorders say it.
//!
//! | key | what it holds | written by |
//! |---|---|---|
//! | `lengths`, `episode_len`, `episode_lengths`, `ep_len` | the length of each episode | |
//! | `episode_ends` | the row behind (or at) each episode's last | Diffusion Policy |
//! | `episode_index`, `episode_id`, `episode_ids`, `ep_idx` | for each row, the number of its episode | LeRobot |
//! | `is_first`, `episode_starts` | for each row, whether an episode begins with it | RLDS, Dreamer, Stable-Baselines3 |
//! | `is_last` | for each row, whether an episode ends with it | RLDS, Dreamer |
//! | `terminals`, `timeouts`, `dones`, `truncations`, … | the same; an episode ends where any of them says so | D4RL, OGBench, Minari |
//!
//! The first of these lines that a file has decides, unless `data.ends` names other keys.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use super::recording::bad;
use crate::DataError;
use crate::npy::{Array, Values};
use crate::npz::Npz;

/// What `data.ends` says where the rule of the module decides, and where each file is one episode.
pub(crate) const AUTO: &str = "auto";
const NONE: &str = "none";

const LENGTHS: [&str; 4] = ["lengths", "episode_len", "episode_lengths", "ep_len"];
const BEHIND: [&str; 1] = ["episode_ends"];
const NUMBERS: [&str; 4] = ["episode_index", "episode_id", "episode_ids", "ep_idx"];
const FIRST: [&str; 2] = ["is_first", "episode_starts"];
const LAST: [&str; 1] = ["is_last"];
const FLAGS: [&str; 12] = [
    "terminals",
    "terminal",
    "timeouts",
    "timeout",
    "dones",
    "done",
    "terminations",
    "terminated",
    "truncations",
    "truncated",
    "is_terminal",
    "is_truncated",
];
/// Those of the flags that say that time was up, and not that nothing could follow.
const TIMEOUTS: [&str; 5] = ["timeouts", "timeout", "truncations", "truncated", "is_truncated"];

/// How an episode ends, by the flags of its last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing could follow.
    Terminal,
    /// Time was up.
    Timeout,
    /// No flag is up: the recording stops.
    Unflagged,
}

/// The flags of a file, each for every action or every observation.
pub(crate) struct Flags {
    columns: Vec<(End, Vec<bool>)>,
    actions: usize,
}

impl Flags {
    /// Those that are as many as the actions, or as these and one more for each episode. Others say nothing.
    pub(crate) fn read(path: &Path, npz: &mut Npz, actions: usize, episodes: usize) -> Result<Self, DataError> {
        let mut columns = Vec::new();
        for wanted in FLAGS {
            let Some((key, array)) = npz.find(&[wanted])? else { continue };
            let end = if TIMEOUTS.contains(&wanted) { End::Timeout } else { End::Terminal };
            let Ok(Column { values, .. }) = Column::of(path, key, array) else { continue };
            if [actions, actions + episodes].contains(&values.len()) && values.iter().all(|x| matches!(x, 0 | 1)) {
                columns.push((end, values.into_iter().map(|x| x == 1).collect()));
            }
        }
        Ok(Self { columns, actions })
    }

    /// How an episode ends, by its number in the file and the rows of its actions; nothing where no flag tells.
    pub(crate) fn end(&self, number: usize, rows: &Range<usize>) -> Option<End> {
        if self.columns.is_empty() || rows.is_empty() {
            return None;
        }
        let last = |flags: &[bool]| rows.end - 1 + if flags.len() == self.actions { 0 } else { number + 1 };
        let up = |end: End| self.columns.iter().any(|(says, flags)| *says == end && flags[last(flags)]);
        Some([End::Terminal, End::Timeout].into_iter().find(|end| up(*end)).unwrap_or(End::Unflagged))
    }
}

/// What an array says of episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Lengths,
    Behind,
    Number,
    First,
    Last,
}

impl Says {
    /// By an array's key; of one that is not known, rows with which episodes end.
    fn of(key: &str) -> Self {
        let known = [
            (&LENGTHS[..], Self::Lengths),
            (&BEHIND[..], Self::Behind),
            (&NUMBERS[..], Self::Number),
            (&FIRST[..], Self::First),
        ];
        known.into_iter().find(|(keys, _)| keys.contains(&key)).map_or(Self::Last, |(_, says)| says)
    }
}

/// Episodes that lie one after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ends {
    /// The keys that say so, `terminals | timeouts`.
    pub(crate) keys: String,
    /// Actions of each episode.
    pub(crate) lengths: Vec<usize>,
    /// Whether the file counts observations, of which each episode then has one more.
    pub(crate) observed: bool,
}

impl Ends {
    /// What a file with so many actions says of its episodes, by the keys that `asked` names; nothing where it is one episode.
    /// Whatever else it says of them goes to `notes`.
    pub(crate) fn read(
        path: &Path,
        npz: &mut Npz,
        asked: &str,
        actions: usize,
        notes: &mut Vec<String>,
    ) -> Result<Option<Self>, DataError> {
        if asked == NONE {
            return Ok(None);
        }
        if asked != AUTO {
            let keys: Vec<&str> = asked.split(['|', ',']).map(str::trim).filter(|key| !key.is_empty()).collect();
            if let Some(missing) = keys.iter().find(|key| !npz.has(key)) {
                return Err(bad(
                    path,
                    format!(
                        "`data.ends` names `{missing}`, which it does not have: it holds {}; say `{AUTO}`, or `{NONE}` where each file is one episode",
                        npz.keys()
                    ),
                ));
            }
            return Self::of(path, npz, &keys, actions);
        }
        let (mut told, mut unusable): (Option<Self>, Vec<String>) = (None, Vec::new());
        let single = [&LENGTHS[..], &BEHIND, &NUMBERS, &FIRST].into_iter().flat_map(|keys| keys.chunks(1));
        for group in single.chain([&LAST[..], &FLAGS[..]]) {
            let keys: Vec<&str> = group.iter().copied().filter(|key| npz.has(key)).collect();
            match (&told, Self::of(path, npz, &keys, actions)) {
                (None, Ok(found)) => told = found,
                // An episode that is cut off ends without a flag: only one that is up where none ends says something else.
                (Some(ends), Ok(Some(other))) if *group == FLAGS && other.rows().is_subset(&ends.rows()) => {}
                (Some(ends), Ok(Some(other))) if other.lengths.len() != ends.lengths.len() => notes.push(format!(
                    "`{}` tells {} episodes and `{}` {}: the first is followed, unless `data.ends` names the second",
                    ends.keys,
                    ends.lengths.len(),
                    other.keys,
                    other.lengths.len()
                )),
                // Lengths and ends are there for this alone; anything else may mean something else.
                (None, Err(error)) if LENGTHS.contains(&group[0]) || BEHIND.contains(&group[0]) => return Err(error),
                (_, Err(DataError::BadEpisodes { reason, .. } | DataError::BadArrays { reason, .. })) => {
                    unusable.push(format!("`{}` does not say where episodes end: {reason}", keys.join(" | ")));
                }
                (_, Err(error)) => return Err(error),
                (Some(_), _) => {}
            }
        }
        // Where nothing else says it, others would silently be taken for the episodes.
        if let (None, Some(first)) = (&told, unusable.first()) {
            return Err(bad(
                path,
                format!(
                    "{first}; repair it, or set `data.ends` to the array that says it, or to `{NONE}` where each file is one episode"
                ),
            ));
        }
        notes.append(&mut unusable);
        Ok(told)
    }

    /// The rows behind each episode's last.
    fn rows(&self) -> BTreeSet<usize> {
        let sum = |end: &mut usize, length: &usize| {
            *end += length;
            Some(*end)
        };
        self.lengths.iter().scan(0, sum).collect()
    }

    fn of(path: &Path, npz: &mut Npz, keys: &[&str], actions: usize) -> Result<Option<Self>, DataError> {
        let mut arrays = Vec::new();
        for key in keys {
            let Some((key, array)) = npz.find(&[key])? else { continue };
            let says = Says::of(&key);
            // One flag, number or name for a whole file says nothing of its rows.
            let one = array.shape.iter().all(|length| *length == 1) && actions > 1;
            if !one || matches!(says, Says::Lengths | Says::Behind) {
                arrays.push((says, Column::of(path, key, array)?));
            }
        }
        let Some((says, column)) = arrays.first() else { return Ok(None) };
        if let Some((_, other)) = arrays.iter().find(|(other, _)| other != says) {
            let (one, other) = (&column.key, &other.key);
            return Err(bad(
                path,
                format!("`{one}` and `{other}` tell episodes in different ways: name one of them in `data.ends`"),
            ));
        }
        let rows = column.values.len();
        let lengths = match says {
            Says::Lengths => column.lengths(path)?,
            Says::Behind => column.behind(path)?,
            Says::Number => split(rows, |row| column.values[row] != column.values[row - 1]),
            Says::First | Says::Last => {
                arrays.iter().try_for_each(|(_, flags)| flags.check_flags(path, column))?;
                let back = usize::from(*says == Says::Last);
                split(rows, |row| arrays.iter().any(|(_, flags)| flags.values[row - back] != 0))
            }
        };
        // Rows at which episodes end, and not those behind them: the first episode has one more than was counted.
        let at = || {
            let mut lengths = lengths.clone();
            *lengths.first_mut()? += 1;
            of_actions(&lengths, actions)
        };
        let fitting = of_actions(&lengths, actions).or_else(|| (*says == Says::Behind).then(at).flatten());
        let keys = keys.join(" | ");
        match fitting {
            Some((lengths, observed)) => Ok(Some(Self { keys, lengths, observed })),
            None if *says == Says::Lengths || *says == Says::Behind => {
                let sum = lengths.iter().sum::<usize>();
                let ends = if *says == Says::Lengths { "adds up to" } else { "ends at row" };
                Err(bad(
                    path,
                    format!(
                        "`{keys}` {ends} {sum}, but there are {actions} actions: expected as many, or one more for each episode (`data.ends = {NONE}` leaves it out of account)"
                    ),
                ))
            }
            None => Err(bad(
                path,
                format!(
                    "`{keys}` has {rows} rows, but there are {actions} actions: expected one for each action or each observation"
                ),
            )),
        }
    }
}

/// Lengths in actions, if these add up to so many actions, or, as is said then, to the observations of episodes that have one
/// more of those.
fn of_actions(lengths: &[usize], actions: usize) -> Option<(Vec<usize>, bool)> {
    let sum: usize = lengths.iter().sum();
    let episodes = lengths.iter().filter(|length| **length > 0).count();
    if sum == actions {
        return Some((lengths.to_vec(), false));
    }
    (sum == actions + episodes).then(|| (lengths.iter().map(|length| length.saturating_sub(1)).collect(), true))
}

/// Lengths of the stretches of so many rows, where `begins` says which of them, behind the first, begin one.
fn split(rows: usize, begins: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut starts: Vec<usize> = (0..rows).filter(|row| *row == 0 || begins(*row)).collect();
    starts.push(rows);
    starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Whole numbers in one column.
struct Column {
    key: String,
    values: Vec<i64>,
}

impl Column {
    fn of(path: &Path, key: String, Array { shape, values }: Array) -> Result<Self, DataError> {
        let whole = match values {
            Values::Bytes(bytes) => Some(bytes.into_iter().map(i64::from).collect()),
            Values::Whole(values) => Some(values),
            Values::Floats(values) => {
                let whole = |x: &f32| (x.fract() == 0.0 && x.abs() < 2.0_f32.powi(24)).then_some(*x as i64);
                values.iter().map(whole).collect::<Option<Vec<i64>>>()
            }
            Values::Text(_) => None,
        };
        match (whole, shape.as_slice()) {
            // What is beyond has become the largest: others would be told apart no more.
            (Some(values), _) if values.contains(&i64::MAX) => {
                Err(bad(path, format!("`{key}` holds numbers of 2^63 or more: save it as int64")))
            }
            (Some(values), [] | [_] | [_, 1]) => Ok(Self { key, values }),
            (Some(_), _) => Err(bad(path, format!("`{key}` must be one column of numbers, found the shape {shape:?}"))),
            (None, _) => Err(bad(path, format!("`{key}` must be whole numbers or bool, found others"))),
        }
    }

    fn lengths(&self, path: &Path) -> Result<Vec<usize>, DataError> {
        let lengths: Option<Vec<usize>> = self.values.iter().map(|x| usize::try_from(*x).ok()).collect();
        let counted =
            lengths.filter(|lengths| lengths.iter().try_fold(0_usize, |all, n| all.checked_add(*n)).is_some());
        let Some(lengths) = counted else {
            return Err(bad(path, format!("`{}` must hold positive numbers, one an episode", self.key)));
        };
        Ok(lengths)
    }

    /// Lengths up to these rows.
    fn behind(&self, path: &Path) -> Result<Vec<usize>, DataError> {
        let mut start = 0;
        let lengths = self.values.iter().map(|end| {
            let length = usize::try_from(*end - start).ok();
            start = *end;
            length
        });
        lengths.collect::<Option<Vec<usize>>>().ok_or_else(|| {
            bad(
                path,
                format!("`{}` must be rows in rising order, the last of each episode's or the one behind it", self.key),
            )
        })
    }

    /// An error unless these are as many as another column's, each 0 or 1.
    fn check_flags(&self, path: &Path, like: &Self) -> Result<(), DataError> {
        let Self { key, values } = self;
        if values.len() != like.values.len() {
            let (found, other, expected) = (values.len(), &like.key, like.values.len());
            return Err(bad(path, format!("`{key}` has {found} rows and `{other}` {expected}: expected as many")));
        }
        match values.iter().position(|x| !matches!(x, 0 | 1)) {
            None => Ok(()),
            Some(row) => {
                Err(bad(path, format!("`{key}` holds {} in row {row} where 0 or 1 was expected", values[row])))
            }
        }
    }
}
