//! A table as it is opened: columns, the parts in time, and windows that no split lies in.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::opened::{WINDOW, changed, channels_of, fits, on_scale, scale_of, sentinels};
use super::set::{From, Listed, Series};
use crate::series::config::{SeriesConfig, Standardise};
use crate::series::raw::RawTable;
use crate::series::sample::SeriesSample;
use crate::series::statistics::standardised;
use crate::series::text::bad;
use crate::{Auto, DataError, Decision, Normalise};

/// Steps of the shortest window.
const LEAST: usize = 4;

/// A recording, and the windows of each part: columns and rows at which they begin.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) columns: Vec<String>,
    /// Of each column, `[R]`, on the scale of the config.
    pub(super) values: Vec<Vec<f32>>,
    pub(super) rows: [Range<usize>; 2],
    pub(super) starts: [Vec<(u32, u32)>; 2],
    pub(super) window: usize,
    pub(super) separate: bool,
}

impl Windows {
    /// Steps of a column, or of all where they are not separate.
    pub(super) fn cut(&self, column: usize, rows: Range<usize>) -> SeriesSample {
        if self.separate {
            return SeriesSample::new(1, self.values[column][rows].to_vec());
        }
        let step = |row: usize| self.values.iter().map(move |column| column[row]);
        SeriesSample::new(self.values.len(), rows.flat_map(step).collect())
    }

    /// Columns that windows are taken of: all of them together, or each.
    pub(super) fn taken(&self) -> usize {
        if self.separate { self.values.len() } else { 1 }
    }

    /// Windows within some rows of which at least half is known.
    pub(super) fn windows(&self, rows: &Range<usize>, stride: usize) -> Vec<(u32, u32)> {
        let mut windows = Vec::new();
        for column in 0..self.taken() {
            let columns = if self.separate { column..column + 1 } else { 0..self.values.len() };
            let mut known = vec![0_usize; rows.len() + 1];
            for (at, row) in rows.clone().enumerate() {
                let here = columns.clone().filter(|column| !self.values[*column][row].is_nan()).count();
                known[at + 1] = known[at] + here;
            }
            let all = self.window * columns.len();
            let mut start = 0;
            while start + self.window <= rows.len() {
                if 2 * (known[start + self.window] - known[start]) >= all {
                    windows.push((column as u32, (rows.start + start) as u32));
                }
                start += stride.max(1);
            }
        }
        windows
    }
}

/// The columns that are used: those that the config names, in its order; of a table that a run did not learn from those that it learnt
/// from, by their names and in their order, wherever they stand.
pub(super) fn chosen(config: &SeriesConfig, table: RawTable, path: &Path) -> Result<RawTable, DataError> {
    let place = |name: &String| table.columns.iter().position(|column| column == name);
    let (wanted, named) = if config.columns.is_empty() { (&config.measured, false) } else { (&config.columns, true) };
    let mut places = Vec::new();
    for (at, name) in wanted.iter().enumerate() {
        match place(name) {
            Some(_) if wanted[..at].contains(name) => {
                return Err(DataError::BadSetting {
                    name: "data.columns".into(),
                    expected: "each column once",
                    found: format!("`{name}` twice"),
                });
            }
            Some(place) => places.push(place),
            None if named => {
                let all = table.columns.join(", ");
                return Err(bad(path, format!("it has no column `{name}`, which `data.columns` names: it has {all}")));
            }
            // A table of other things: its columns are taken as they come, on a scale of their own.
            None => return Ok(table),
        }
    }
    if places.is_empty() {
        return Ok(table);
    }
    let values = places.iter().map(|place| table.values[*place].clone()).collect();
    Ok(RawTable { columns: wanted.clone(), values, ..table })
}

/// Windows of a recording.
pub(super) fn of_table(
    config: &mut SeriesConfig,
    table: RawTable,
    path: &Path,
    decisions: &mut Vec<Decision>,
) -> Result<Series, DataError> {
    let table = chosen(config, table, path)?;
    let rows = table.values.first().map_or(0, Vec::len);
    let train = (rows as f64 * config.train) as usize;
    let test = ((rows as f64 * (config.train + config.validation)).ceil() as usize).min(rows);
    let parts = [0..train, test..rows];
    let smaller = train.min(rows - test);
    let window = config.window.resolve("data.window", decisions, || {
        let window = WINDOW.min(smaller / 2);
        let why = if window == WINDOW {
            "the paper's".to_owned()
        } else {
            format!("half of the smaller part, which has {smaller} rows")
        };
        (window, why)
    });
    if window < LEAST || window > smaller {
        let parts = format!("of its rows, {rows} in all, {train} are to train on and {} held out", rows - test);
        return Err(bad(
            path,
            if window < LEAST {
                format!(
                    "{parts}, and each part needs {} for a window of {LEAST} steps: give a longer recording",
                    2 * LEAST
                )
            } else {
                format!(
                    "{parts}, too few for a window of {window} steps: give a longer recording, or a shorter `data.window`"
                )
            },
        ));
    }
    let columns = table.columns.len();
    let separate = config.separate.resolve("data.separate", decisions, || match columns {
        1 => (false, "there is one channel".to_owned()),
        _ => (true, format!("{columns} columns of their own kinds: each is a series of its own")),
    });
    let mut hash = Xxh3::new();
    for (name, values) in table.columns.iter().zip(&table.values) {
        hash.update(name.as_bytes());
        for value in values {
            hash.update(&value.to_bits().to_le_bytes());
        }
    }
    for word in &[train, test, window] {
        hash.update(&(*word as u64).to_le_bytes());
    }
    let fingerprint = format!("{:016x}", hash.digest());
    if !config.fingerprint.is_empty() && config.fingerprint != fingerprint {
        return Err(changed(path));
    }
    config.fingerprint = fingerprint;
    let known = config.normalise.mean.len();
    if known > 0 && known != columns && !separate {
        return Err(bad(path, format!("it has {columns} columns, and the network was made for {known}")));
    }
    if known != columns || config.measured != table.columns {
        // Other columns than a run learnt from have a scale of their own.
        let measured = if config.standardise == Standardise::Official { 0..rows } else { 0..train };
        let of = |values: &Vec<f32>| scale_of(values[measured.clone()].iter().copied(), config.standardise);
        let (mean, std) = table.values.iter().map(of).unzip();
        config.normalise = Normalise { mean, std };
        config.measured.clone_from(&table.columns);
    }
    let mut notes = table.notes.clone();
    notes.extend(sentinels(table.columns.iter().zip(&table.values).map(|(name, values)| (name.clone(), &values[..]))));
    for (name, std) in table.columns.iter().zip(&config.normalise.std) {
        if *std == 0.0 {
            notes.push(format!("`{name}` never changes over the training part: it is 0"));
        }
    }
    let holes = table.values.iter().flatten().filter(|value| value.is_nan()).count();
    let scales = config.normalise.mean.iter().copied().zip(config.normalise.std.iter().copied());
    let values = table
        .values
        .into_iter()
        .zip(scales)
        .map(|(column, scale)| column.into_iter().map(|value| standardised(value, scale)).collect())
        .collect();
    let mut recording =
        Windows { columns: table.columns, values, rows: parts, starts: [Vec::new(), Vec::new()], window, separate };
    let strides = [config.stride, (window / 2).max(1)];
    recording.starts = [0, 1].map(|part| recording.windows(&recording.rows[part], strides[part]));
    if recording.starts[0].is_empty() {
        return Err(bad(
            path,
            format!("no window of {window} steps of its training part is known by half: there are too many holes"),
        ));
    }
    config.steps = (window, window);
    let mut facts = vec![
        ("channels".to_owned(), names(&recording.columns, separate)),
        ("rows".to_owned(), rows.to_string()),
        ("window".to_owned(), format!("{window} steps")),
    ];
    facts.extend(table.step.map(|step| ("time step".to_owned(), step)));
    let share = holes as f64 / (rows * columns).max(1) as f64;
    if holes > 0 {
        facts.push(("holes".to_owned(), format!("{:.2} % of all values", 100.0 * share)));
    }
    let numbers = BTreeMap::from([
        ("rows".to_owned(), rows.into()),
        ("channels".to_owned(), columns.into()),
        ("window".to_owned(), window.into()),
        ("holes".to_owned(), share.into()),
    ]);
    Ok(Series {
        config: config.clone(),
        split: format!(
            "by time: rows 0 to {} to train on, {test} to {} held out, no window across",
            train - 1,
            rows - 1
        ),
        from: From::Windows(recording),
        factors: Vec::new(),
        format: table.form.to_owned(),
        facts,
        numbers,
        notes,
    })
}

pub(super) fn names(columns: &[String], separate: bool) -> String {
    const SHOWN: usize = 8;
    let more = if columns.len() > SHOWN { ", …" } else { "" };
    let how = match (columns.len(), separate) {
        (1, _) => "",
        (_, true) => ", each a series of its own",
        (_, false) => ", together",
    };
    format!("{} ({}{more}){how}", columns.len(), columns.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
}

/// Windows of a recording beside each other, for `embed`.
pub(super) fn windows_of(
    config: &SeriesConfig,
    table: RawTable,
    path: &Path,
    name: &str,
) -> Result<Vec<Listed>, DataError> {
    let table = chosen(config, table, path)?;
    let scaled = matches!(config.standardise, Standardise::Training | Standardise::Official);
    let several = config.measured.len() > 1 || table.columns.len() > 1;
    if scaled && several && !config.measured.is_empty() && config.measured != table.columns {
        return Err(bad(
            path,
            format!(
                "its columns are {}, and the run learnt from {}, each on a scale of its own: give the columns those names, or train on this table",
                table.columns.join(", "),
                config.measured.join(", ")
            ),
        ));
    }
    fits(config, table.columns.len(), path)?;
    let window = if let Auto::Value(window) = config.window { window } else { WINDOW };
    let rows = table.values.first().map_or(0, Vec::len);
    let step = |row: usize| table.values.iter().map(move |column| column[row]);
    let mut listed = Vec::new();
    let mut start = 0;
    while start < rows && (start + window <= rows || start == 0) {
        let whole = (start..(start + window).min(rows)).flat_map(step).collect();
        let sample = SeriesSample::new(table.columns.len(), whole);
        for (place, own) in channels_of(&sample, config).into_iter().enumerate() {
            if own.count() > 0 {
                let of = if own.channels < sample.channels {
                    format!("{name}/{}/{start}", table.columns[place])
                } else {
                    format!("{name}/{start}")
                };
                listed.push(Listed { name: of, sample: on_scale(&own, place, config), label: None });
            }
        }
        start += window;
    }
    if listed.is_empty() {
        return Err(bad(path, "nothing in it is known: all of it is holes"));
    }
    Ok(listed)
}
